"""Whether a source can be captured, item by item: what was looked at, what was found, and what mends it.

`ITEMS` is the whole list, in the order in which people read it: what an item needs comes before it. An item looks at
the source and changes nothing; one that cannot be looked at because an earlier one failed is left out. The remedy is
the statement or my.cnf line itself, ready to paste: what a statement cannot do stands behind it as its comment. Sources
without a server are checked by reading their beginning.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from capture.errors import NEW_CHANNEL, CaptureError, SourceRefused, SourceUnavailable
from capture.identity import require_same_source
from capture.selection import Selection, parse_object
from capture.source import Flavour
from capture.start import binlog_files, resolve_start

if TYPE_CHECKING:
    from collections.abc import Sequence

    from capture.channel import ChannelSpec
    from capture.position import ResumePoint
    from capture.source import ServerInfo, Source

OBJECTS_NAMED_MAX = 5
"""How many missing objects an item lists."""

_GRANT = re.compile(r"GRANT (?P<privileges>.+?) ON (?P<object>.+?) TO ", re.DOTALL)
_MARIADB_ALIASES = {"BINLOG MONITOR": "REPLICATION CLIENT", "REPLICATION MASTER ADMIN": "REPLICATION SLAVE"}


@dataclass(frozen=True, slots=True)
class CheckResult:
    """`remedy` is the statement or my.cnf line that mends it, None when the item passed."""

    name: str
    passed: bool
    found: str
    remedy: str | None


@dataclass(frozen=True, slots=True)
class _Look:
    """What an item may look at."""

    source: Source
    spec: ChannelSpec
    info: ServerInfo
    grants: Sequence[str]
    account: str
    resume: ResumePoint | None

    def variable(self, name: str) -> str:
        return self.info.variables.get(name, "")


@dataclass(frozen=True, slots=True)
class _Item:
    """One row of the precheck; `needs` names earlier items without which this one cannot be looked at."""

    name: str
    look: Callable[[_Look], Awaitable[tuple[str, str | None]]]
    needs: tuple[str, ...] = ()


async def run(source: Source, spec: ChannelSpec, resume: ResumePoint | None = None) -> Sequence[CheckResult]:
    """Check every item that can be looked at. Changes nothing; never raises for what the source says.

    `resume` is where a channel goes on that has captured before: its `start` is of no account then.
    """
    try:
        info = await source.connect()
        results = await check(source, info, spec, resume)
    except CaptureError as error:
        server = "check host, port, user, password and TLS of the source"
        remedy = server if source.queryable else "name binlog files that this user may read in source"
        return [CheckResult("reachable", False, str(error), remedy)]
    return [CheckResult("reachable", True, f"{info.flavour} {info.version}", None), *results]


async def check(
    source: Source, info: ServerInfo, spec: ChannelSpec, resume: ResumePoint | None = None
) -> Sequence[CheckResult]:
    """The items behind "reachable", for a source that is connected. Raises SourceUnavailable if it goes away."""
    if not source.queryable:
        return ()
    look = _Look(source, spec, info, await _grants(source), await _account(source), resume)
    results: list[CheckResult] = []
    failed: set[str] = set()
    for item in ITEMS:
        if failed & set(item.needs):
            continue
        try:
            found, remedy = await item.look(look)
        except SourceUnavailable:
            raise
        except CaptureError as error:
            found, remedy = str(error), "see the reason"
        results.append(CheckResult(item.name, remedy is None, found, remedy))
        if remedy is not None:
            failed.add(item.name)
    return results


async def _grants(source: Source) -> Sequence[str]:
    """What the account may do, roles that are active included, as the server prints it."""
    return [row[0] for row in await source.query("SHOW GRANTS") if row[0] is not None]


# ---- privileges ----


def _granted(grants: Sequence[str], privilege: str, database: str = "", table: str = "") -> bool:
    """Whether a privilege is granted globally, on the database, or on the table."""
    places = {"*.*", f"`{database}`.*", f"`{_escaped_pattern(database)}`.*", f"`{database}`.`{table}`"}
    for grant in grants:
        match = _GRANT.match(grant)
        if match is None or match["object"] not in places:
            continue
        names = {name.strip().upper() for name in match["privileges"].split(",")}
        names |= {_MARIADB_ALIASES[name] for name in names & _MARIADB_ALIASES.keys()}
        if privilege in names or "ALL PRIVILEGES" in names:
            return True
    return False


def _escaped_pattern(database: str) -> str:
    """How a grant names a database whose `_` and `%` are no wildcards."""
    return database.replace("_", "\\_").replace("%", "\\%")


async def _account(source: Source) -> str:
    """The account the server took this reader for, as a GRANT names it."""
    rows = await source.query("SELECT CURRENT_USER()")
    user, _, host = (rows[0][0] or "").rpartition("@")
    return "@".join("'" + name.replace("'", "''") + "'" for name in (user, host))


def _privilege(name: str) -> Callable[[_Look], Awaitable[tuple[str, str | None]]]:
    async def check(look: _Look) -> tuple[str, str | None]:
        if _granted(look.grants, name):
            return "granted", None
        return "not granted", f"GRANT {name} ON *.* TO {look.account};"

    return check


async def _select(look: _Look) -> tuple[str, str | None]:
    lacking = []
    for database, table in map(parse_object, look.spec.objects):
        if not _granted(look.grants, "SELECT", database, table or ""):
            lacking.append(f"`{database}`.*" if table is None else f"`{database}`.`{table}`")
    if not lacking:
        return "granted on all objects", None
    statements = [f"GRANT SELECT ON {place} TO {look.account};" for place in lacking]
    return f"not granted on {', '.join(lacking)}", " ".join(statements)


# ---- settings ----


def _setting(name: str, wanted: str, *, dynamic: bool) -> Callable[[_Look], Awaitable[tuple[str, str | None]]]:
    """A global variable that must have a value, given the way it is set. A dynamic one is its item's name."""

    async def check(look: _Look) -> tuple[str, str | None]:
        found = look.variable(name)
        if found.upper() == wanted:
            return found if dynamic else f"{name} = {found}", None
        if dynamic:
            return f"{found}, not {wanted}", _set_global(name, wanted)
        return f"{name} = {found}", f"{name} = binlog under [mysqld] in my.cnf, then restart the server"

    return check


def _set_global(name: str, value: str) -> str:
    """The statement for now, and what makes it last: sessions that are open keep the value they have."""
    return f"SET GLOBAL {name} = {value}; -- and {name} = {value} under [mysqld] in my.cnf; reconnect its clients"


async def _row_image(look: _Look) -> tuple[str, str | None]:
    if "binlog_row_image" not in look.info.variables:
        return "the server always writes full row images", None
    return await _setting("binlog_row_image", "FULL", dynamic=True)(look)


async def _server_id(look: _Look) -> tuple[str, str | None]:
    found = f"source {look.info.server_id}, this channel {look.spec.server_id or 'chosen at start'}"
    if look.info.server_id == 0:
        return found, "server_id = 1 under [mysqld] in my.cnf, then restart the server"
    if look.info.server_id == look.spec.server_id:
        return found, "give the channel another server_id, or 0 to have one chosen"
    return found, None


async def _partial_json(look: _Look) -> tuple[str, str | None]:
    found = look.variable("binlog_row_value_options")
    if not found:
        return "off", None
    return f"binlog_row_value_options = {found}", _set_global("binlog_row_value_options", "''")


async def _compression(look: _Look) -> tuple[str, str | None]:
    name = "log_bin_compress" if look.info.flavour is Flavour.MARIADB else "binlog_transaction_compression"
    found = look.variable(name)
    if found.upper() in ("", "OFF"):
        return "off", None
    return f"{name} = {found}", _set_global(name, "OFF")


# ---- objects and start ----


async def _objects(look: _Look) -> tuple[str, str | None]:
    if not look.spec.objects:
        return "no object is selected", "name databases or tables in objects"
    rows = await look.source.query("SELECT table_schema, table_name FROM information_schema.tables")
    schemata = await look.source.query("SELECT schema_name FROM information_schema.schemata")
    selection = Selection((), look.info.lower_case_table_names)
    missing = []
    for database, table in map(parse_object, look.spec.objects):
        if table is None:
            exists = any(selection.same(name or "", database) for (name,) in schemata)
        else:
            exists = any(selection.same(d or "", database) and selection.same(t or "", table) for d, t in rows)
        if not exists:
            missing.append(database if table is None else f"{database}.{table}")
    if not missing:
        count = len(look.spec.objects)
        return f"{count} of {count} found", None
    shown = ", ".join(missing[:OBJECTS_NAMED_MAX])
    return f"not found, or not visible to this account: {shown}", "check the names, and the SELECT privilege on them"


async def _start(look: _Look) -> tuple[str, str | None]:
    if look.resume is not None:
        return await _resume(look, look.resume)
    try:
        point = await resolve_start(look.source, look.info, look.spec.start)
    except SourceUnavailable:
        raise
    except CaptureError as error:
        oldest = (await binlog_files(look.source))[0]
        return str(error), f"start = now, earliest, or a position from {oldest.beginning} on"
    return f"{look.spec.start} is {point.position}", None


async def _resume(look: _Look, resume: ResumePoint) -> tuple[str, str | None]:
    try:
        await require_same_source(look.source, look.info, resume)
    except SourceRefused as error:
        return str(error).removesuffix(f"; {NEW_CHANNEL}"), NEW_CHANNEL
    return f"goes on at {resume.position}, where this channel's data ends", None


ITEMS = (
    _Item("REPLICATION SLAVE privilege", _privilege("REPLICATION SLAVE")),
    _Item("REPLICATION CLIENT privilege", _privilege("REPLICATION CLIENT")),
    _Item("SELECT privilege", _select),
    _Item("binary logging", _setting("log_bin", "ON", dynamic=False)),
    _Item("binlog_format", _setting("binlog_format", "ROW", dynamic=True)),
    _Item("binlog_row_image", _row_image),
    _Item("partial JSON updates", _partial_json),
    _Item("binlog compression", _compression),
    _Item("server_id", _server_id),
    _Item("objects", _objects, needs=("SELECT privilege",)),
    _Item(
        "start position",
        _start,
        needs=("binary logging", "REPLICATION SLAVE privilege", "REPLICATION CLIENT privilege"),
    ),
)
