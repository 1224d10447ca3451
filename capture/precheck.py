"""Whether a source can be captured, item by item: what was looked at, what was found, and what mends it.

`ITEMS` is the whole list, in the order in which people read it: what an item needs comes before it. An item looks at
the source and changes nothing; one that cannot be looked at because an earlier one failed is left out. A new channel
begins only if none failed; warnings stop nothing. What an item is made of is `capture/checking.py`; the items are those
of `check_settings.py`, `check_privileges.py` and `check_tables.py`. Binlog files have fewer of them (`FILE_ITEMS`);
other sources without a server are checked by reading their beginning.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from capture import check_settings, check_tables
from capture.account import PLACEHOLDER, account_name
from capture.check_hosts import other_hosts, whitelist
from capture.check_privileges import account, global_privilege, object_privilege, read_grants
from capture.check_settings import option_read
from capture.checking import CheckResult, Finding, Item, Look, Outcome, channel_key, failed, passed
from capture.errors import NEW_CHANNEL, CaptureError, SourceRefused, SourceUnavailable
from capture.failover import rehearse
from capture.grants import Grants
from capture.identity import require_same_source
from capture.progress import quiet
from capture.resume import rehearse_definitions
from capture.schema import SchemaHistory
from capture.schema_file import apply_schema_file
from capture.server_errors import ACCOUNT_LOCKED, HOST_NOT_ADMITTED, LOGIN_DENIED, PASSWORD_EXPIRED
from capture.snapshot import DefinitionsChanged
from capture.source import ServerRefusal, open_source
from capture.sql import quote_string
from capture.start import NOW, binlog_files, resolve_start
from capture.whitelist import SeenFrom, denied_from
from storage.clock import SystemClock
from storage.words import shown_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from capture.binlog_files import BinlogFile
    from capture.channel import ChannelSpec
    from capture.position import BinlogPosition, ResumePoint
    from capture.progress import Tell
    from capture.source import ServerInfo, Source

GONE_THROUGH_BYTES_MAX = 1 << 30
"""Of the binlog behind a start in the past: some ten seconds."""

__all__ = ["ITEMS", "CheckResult", "Outcome", "check", "run"]


async def run(source: Source, spec: ChannelSpec, resume: ResumePoint | None = None) -> Sequence[CheckResult]:
    """Check every item that can be looked at. Changes nothing; never raises for what the source says.

    `resume` is where a channel goes on that has captured before: its `start` is of no account then.
    """
    try:
        info = await source.connect()
        results = list(await check(source, info, spec, resume))
        if source.queryable and resume is None and spec.start != NOW and not any(result.failed for result in results):
            results.append(CheckResult("definitions", *await _definitions(source, info, spec)))
    except CaptureError as error:
        seen = await denied_from(str(error), spec.address) if source.queryable else SeenFrom(None, ())
        remedy, means = _remedy_of_no_connection(source, spec, error, seen), "nothing else can be looked at"
        return [CheckResult("reachable", Outcome.FAILED, str(error), means, remedy, seen.admitted)]
    return [CheckResult("reachable", Outcome.PASSED, f"{source.address}"), *results]


def _remedy_of_no_connection(source: Source, spec: ChannelSpec, error: CaptureError, seen: SeenFrom) -> str:
    """What to look at, by what the source said: nothing, that it does not know us, or something else."""
    if not source.queryable:
        return "-- name binlog files that this user may read in the channel's source"
    user = spec.address.user
    account = account_name(user, seen.host or "…")
    created = f"CREATE USER {account} IDENTIFIED BY '{PLACEHOLDER}';"
    if (code := error.code if isinstance(error, ServerRefusal) else 0) == HOST_NOT_ADMITTED:
        return f"{created} -- no account of the source admits {seen}"
    known = f"SELECT user, host FROM mysql.user WHERE user = {quote_string(user)};"  # noqa: S608  shown, never run
    if code in LOGIN_DENIED:
        return f"{known} -- is there one for {seen}? If so, correct the password; if not:\n{created}"
    if code in ACCOUNT_LOCKED:
        which = "" if seen.host is not None else f"{known} -- the host of the account\n"
        return f"{which}ALTER USER {account} ACCOUNT UNLOCK;"
    if code in PASSWORD_EXPIRED:
        return f"ALTER USER {account} IDENTIFIED BY '{PLACEHOLDER}';"
    admit = f"have the source's whitelist and firewall admit {seen}, this machine's address on the way there"
    return f"-- check host, port and TLS in the channel's source, and {admit}"


async def check(
    source: Source, info: ServerInfo, spec: ChannelSpec, resume: ResumePoint | None = None, tell: Tell = quiet
) -> Sequence[CheckResult]:
    """The items behind "reachable", for a source that is connected. Raises SourceUnavailable if it goes away."""
    if source.queryable:
        return await _results(ITEMS, await _look(source, info, spec, resume), tell)
    if info.files:
        return await _results(FILE_ITEMS, Look(source, spec, info, {}, Grants(), Grants(), "", resume))
    return ()


async def require_objects(source: Source, info: ServerInfo, spec: ChannelSpec) -> None:
    """Raises SourceRefused unless the objects of `spec` are there and this account may read them."""
    items = [item for item in ITEMS if item.name in _READS]
    for result in await _results(items, await _look(source, info, spec, None)):
        if result.failed:
            remedy = (result.remedy or "").replace("\n", " ")
            raise SourceRefused(f"{result.name}: {result.found}; {remedy}")


async def _results(items: Sequence[Item], look: Look, tell: Tell = quiet) -> Sequence[CheckResult]:
    results: list[CheckResult] = []
    lacking: set[str] = set()
    for number, item in enumerate(items):
        if lacking & set(item.needs):
            continue
        tell(f"looking at {item.name}: item {number + 1} of {len(items)}", number / len(items))
        try:
            finding = await item.look(look)
        except SourceUnavailable:
            raise
        except CaptureError as error:
            finding = failed(str(error), "this item could not be looked at", _remedy_of(item, look))
        result = CheckResult(item.name, *finding)
        results.append(result)
        if result.failed:
            lacking.add(item.name)
    return results


def _remedy_of(item: Item, look: Look) -> str:
    """For what nobody foresaw: who may ask everything, sees whether it is the account's or the server's doing."""
    return (
        f"SHOW GRANTS FOR {look.account}; -- does it lack a privilege? `binwire init` shows what it needs ({item.name})"
    )


async def _look(source: Source, info: ServerInfo, spec: ChannelSpec, resume: ResumePoint | None) -> Look:
    names = ",".join(f"'{name}'" for name in check_settings.VARIABLES)
    rows = await source.query(f"SHOW GLOBAL VARIABLES WHERE Variable_name IN ({names})")
    variables = {name: value for name, value in rows if name is not None and value is not None}
    granted, dormant = await read_grants(source, info, variables)
    return Look(source, spec, info, variables, granted, dormant, await account(source), resume)


# ---- where it begins ----


async def _start(look: Look) -> Finding:
    if look.resume is not None:
        return await _resume(look, look.resume)
    try:
        point = await resolve_start(look.source, look.info, look.spec.start)
    except SourceUnavailable:
        raise
    except CaptureError as error:
        oldest = (list(look.info.files) or await binlog_files(look.source))[0]
        remedy = (
            f'start = "earliest"  # in this channel\'s [[channels]]; or "now", or a position from {oldest.beginning} on'
        )
        return failed(str(error), "there is no place to begin at", remedy)
    return passed(f"{look.spec.start} is {point.position}")


async def _definitions(source: Source, info: ServerInfo, spec: ChannelSpec) -> Finding:
    """Whether the definitions that held at a start in the past are known: a new channel sees to it when it begins, so
    that it is looked at by `run` alone.
    """
    position = (await resolve_start(source, info, spec.start)).position
    size_bytes = _bytes_behind(await binlog_files(source), position)
    if size_bytes > GONE_THROUGH_BYTES_MAX:
        return passed(f"not looked at: {shown_bytes(size_bytes)} behind {position} are gone through when it begins")
    try:
        await rehearse_definitions(source, info, spec, position)
    except SourceRefused as error:
        remedy = channel_key('schema_file = "schema.sql"') + ": the CREATE TABLE statements that held there"
        found = error.found if isinstance(error, DefinitionsChanged) else str(error)
        return failed(found, "rows behind the start could not be read", remedy)
    return passed(f"those that held at {position} are known")


def _bytes_behind(files: Sequence[BinlogFile], position: BinlogPosition) -> int:
    later = [file for file in files if file.beginning.number >= position.number]
    return sum(file.size_bytes for file in later) - position.position


async def _files(look: Look) -> Finding:
    """Which binlog files there are; that the first can be read is "reachable"."""
    files = look.info.files
    if not look.spec.objects:
        return await check_tables.objects(look)
    size_bytes = sum(file.size_bytes for file in files)
    return passed(f"{len(files):,} from {files[0].name} on, {size_bytes:,} bytes, written by {look.info.version}")


async def _schema_file(look: Look) -> Finding:
    """Whether the file of definitions can be read, statement by statement."""
    path = look.spec.schema_file
    if path is None:
        return passed("none is named")
    history = SchemaHistory(look.dialect, look.selection)
    try:
        await asyncio.to_thread(apply_schema_file, path, history, (0, 0))
    except CaptureError as error:
        remedy = channel_key('schema_file = "schema.sql"') + ": what mysqldump --no-data --databases writes"
        return failed(str(error), "definitions of the past would not be known", remedy)
    return passed(f"{path} is understood")


async def _resume(look: Look, resume: ResumePoint) -> Finding:
    address, position = look.source.address, resume.position
    files = [file.name for file in look.info.files]
    if files and position.file not in files:
        return failed(
            f"the position {position}, where this channel's data ends, is in none of the files, which go from "
            f"{files[0]} to {files[-1]}",
            "what follows cannot be joined to what was captured",
            f"-- name the files from {position.file} on in the channel's source, or {NEW_CHANNEL}",
        )
    try:
        if len(look.spec.address.hosts) > 1:
            every = open_source(look.spec.address, look.info.server_id + 1, SystemClock())
            address, position = await rehearse(every, resume)
        else:
            await require_same_source(look.source, look.info, resume)
    except SourceRefused as error:
        found = str(error).removesuffix(f"; {NEW_CHANNEL}")
        return failed(found, "what follows cannot be joined to what was captured", f"-- {NEW_CHANNEL}")
    if position != resume.position:
        return passed(f"goes on at {position} of {address}, which has all that was captured")
    return passed(f"goes on at {position}, where this channel's data ends")


_REPLICATES = ("binary logging", "REPLICATION SLAVE privilege", "REPLICATION CLIENT privilege")
_READS = ("SELECT privilege", "objects")

ITEMS = (
    Item("version", check_settings.version),
    Item("clock", check_settings.clock),
    Item("whitelist address", whitelist),
    Item(
        "REPLICATION SLAVE privilege",
        global_privilege("REPLICATION SLAVE", "the server sends its binlog to nobody without it"),
    ),
    Item(
        "REPLICATION CLIENT privilege",
        global_privilege("REPLICATION CLIENT", "the server does not say without it where its binlog begins and ends"),
    ),
    Item(
        "SELECT privilege",
        object_privilege("SELECT", Outcome.FAILED, "definitions of tables are shown to nobody without it"),
    ),
    Item(
        "SHOW VIEW privilege",
        object_privilege(
            "SHOW VIEW",
            Outcome.WARNING,
            "definitions of views cannot be read; no row is missing, the service asks for it",
        ),
    ),
    Item("binary logging", check_settings.binary_logging),
    Item("binlog_format", check_settings.row_format),
    Item("binlog_row_image", check_settings.row_image),
    Item("binlog filters", check_settings.filters, needs=_REPLICATES),
    Item("binlog retention", check_settings.retention, needs=("binary logging",)),
    Item("binlog checksum", check_settings.checksum),
    Item("binlog compression", option_read("binlog_transaction_compression", "log_bin_compress")),
    Item("partial JSON updates", option_read("binlog_row_value_options")),
    Item("server_id", check_settings.server_id),
    Item("GTIDs", check_settings.gtid_mode),
    Item("primary", check_settings.primary),
    Item("failover hosts", other_hosts),
    Item("objects", check_tables.objects, needs=("SELECT privilege",)),
    Item("views", check_tables.views, needs=_READS),
    Item("keys", check_tables.keys, needs=_READS),
    Item("cascading foreign keys", check_tables.cascades, needs=_READS),
    Item("column types", check_tables.column_types, needs=_READS),
    Item("schema_file", _schema_file),
    Item("start position", _start, needs=_REPLICATES),
)

FILE_ITEMS = (
    Item("binlog files", _files),
    Item("schema_file", _schema_file),
    Item("start position", _start),
)
