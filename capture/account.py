"""The account that a channel reads its source with: the least it must be granted, by statements that can be read first.

    CREATE USER 'binwire'@'10.0.0.5' IDENTIFIED BY '…'              every server since 5.0
    GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO …         the binlog, and where it begins and ends
    GRANT SELECT, SHOW VIEW ON `shop`.* TO …                        definitions: of the tracked objects, or everywhere
                                                                    as long as none are chosen

MariaDB has other names for REPLICATION CLIENT since 10.5.2 and takes this one too. The host of the account is the one
that the server sees this machine as. Beside the account, the lines of my.cnf that the server lacks.

Invariant: the password is in nothing that is shown, logged or raised; what is shown has `PLACEHOLDER` in its place.
MySQL before 5.7.6 and MariaDB get its hash, IDENTIFIED BY PASSWORD '*…': some of them write statements into their logs
as they come. Later servers get the password itself, and only where it does not cross a network in clear text. An
administrator's session ends with the call. Left to others: whether the account suffices (`capture/precheck.py` looks at
what is granted).
"""

from __future__ import annotations

import hashlib
import ipaddress
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from msgspec import Struct
from msgspec.structs import replace

from capture.dialect import Dialect
from capture.errors import CaptureError, SourceRefused
from capture.grants import grant_place
from capture.selection import parse_object
from capture.server_errors import HOST_NOT_ADMITTED, LOGIN_DENIED
from capture.source import Flavour, ServerRefusal, SourceAddress, open_source
from capture.sql import quote_string
from capture.whitelist import SeenFrom, denied_from, seen_from
from storage.clock import SystemClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from capture.source import Source

PLACEHOLDER: Final = "<password>"
"""Stands for the password in what is shown."""

GLOBAL_PRIVILEGES: Final = "REPLICATION SLAVE, REPLICATION CLIENT"
OBJECT_PRIVILEGES: Final = "SELECT, SHOW VIEW"
_USER_EXISTS: Final = 1396
_OPTION_PREVENTS_STATEMENT: Final = 1290
_HASHES_UNKNOWN: Final = (5, 7, 6)
"""From here on IDENTIFIED BY PASSWORD is deprecated, then gone; passwords are kept out of logs since 5.6.3."""
_LOOKER_ID: Final = 0  # nothing is dumped: a server never learns it
_VARIABLES: Final = ("partial_revokes", "binlog_expire_logs_seconds", "expire_logs_days", "polar_log_bin")


class _Setting(Struct, frozen=True):
    """A line of my.cnf that a server needs, and the values of its variable that will do; `since` which version of each
    flavour there is such a variable.
    """

    name: str
    line: str
    enough: frozenset[str]
    since: Mapping[Flavour, tuple[int, ...]]


_ALWAYS: Final = {Flavour.MYSQL: (5, 1), Flavour.MARIADB: (5, 1)}
_SETTINGS: Final = (
    _Setting("server_id", "server_id = 1  # any number that no other server has", frozenset(), _ALWAYS),
    _Setting("log_bin", "log_bin = binlog", frozenset({"ON", "1"}), _ALWAYS),
    _Setting("binlog_format", "binlog_format = ROW", frozenset({"ROW"}), _ALWAYS),
    _Setting(
        "binlog_row_image",
        "binlog_row_image = FULL",
        frozenset({"FULL"}),
        {Flavour.MYSQL: (5, 6, 2), Flavour.MARIADB: (10, 1, 6)},
    ),
)
_EXPIRE_SECONDS: Final = {Flavour.MYSQL: (8, 0, 1), Flavour.MARIADB: (10, 6, 1)}
_DAY_S: Final = 86_400


class AccountPlan(Struct, frozen=True):
    """An account as it would be made: `statements` with a placeholder for the password, and the lines of my.cnf that
    the server lacks; those it needs in any case where it did not let anybody look (`is_server_known` False).
    """

    account: str
    exists: bool
    version: str
    statements: tuple[str, ...]
    my_cnf: tuple[str, ...]
    is_server_known: bool
    seen_from: SeenFrom


async def plan(
    address: SourceAddress,
    objects: Sequence[str],
    *,
    administrator: SourceAddress | None = None,
    host: str | None = None,
) -> AccountPlan:
    """How the account of `address` would be made. Looks with the administrator's credentials, else with its own, which
    the server may refuse: that tells enough. Raises SourceUnavailable, SourceRefused, SelectionError.
    """
    for text in objects:
        parse_object(text)
    looker = address if administrator is None else administrator
    source = open_source(looker, _LOOKER_ID, SystemClock())
    try:
        info = await source.connect()
        variables = {**info.variables, **await _variables(source)}
        seen = await seen_from(source, looker)
        if administrator is None:
            account, exists = await _own_account(source), True
        else:
            admitted = host or seen.host or "%"
            account, exists = account_name(address.user, admitted), await _exists(source, address.user, admitted)
    except ServerRefusal as refusal:
        if administrator is not None or refusal.code not in (HOST_NOT_ADMITTED, *LOGIN_DENIED):
            raise
        return _unseen(address, objects, host, await denied_from(str(refusal), looker))
    finally:
        await source.close()
    grants = _grants(account, objects, patterns=variables.get("partial_revokes", "OFF") != "ON")
    return AccountPlan(
        account=account,
        exists=exists,
        version=info.version,
        statements=grants if exists else (_create_user(account, PLACEHOLDER), *grants),
        my_cnf=_my_cnf(info.flavour, Dialect.of(info.version).version, variables),
        is_server_known=True,
        seen_from=seen,
    )


async def create(
    address: SourceAddress, objects: Sequence[str], *, administrator: SourceAddress, host: str | None = None
) -> AccountPlan:
    """Make the account and see that it can log in; all of it or nothing. Raises as `plan` does."""
    planned = await plan(address, objects, administrator=administrator, host=host)
    if planned.exists:
        raise SourceRefused(
            f"the account {planned.account} exists already at {address}; take another user name, or grant it what it "
            f"lacks: {' '.join(planned.statements)}"
        )
    if not address.password:
        raise SourceRefused(f"the account {planned.account} needs a password; give one with the source")
    async with _opened(administrator) as source:
        await _run(source, planned, address)
        try:
            await _log_in(address)
        except CaptureError as error:
            await source.query(f"DROP USER {planned.account}")
            raise SourceRefused(
                f"the account {planned.account} was created and cannot log in from here, so it was dropped again: "
                f"{error}"
            ) from None
    return planned


def drop_statement(user: str, host: str) -> str:
    """What takes an account away again."""
    return f"DROP USER {account_name(user, host)};"


def account_name(user: str, host: str) -> str:
    """An account as statements name it."""
    return f"{quote_string(user)}@{quote_string(host)}"


# ---- what is granted ----


def _unseen(address: SourceAddress, objects: Sequence[str], host: str | None, seen: SeenFrom) -> AccountPlan:
    """For a server that lets nobody look: what every server takes."""
    account = account_name(address.user, host or (seen.admitted or ("%",))[0])
    return AccountPlan(
        account=account,
        exists=False,
        version="",
        statements=(_create_user(account, PLACEHOLDER), *_grants(account, objects, patterns=True)),
        my_cnf=("[mysqld]", *(setting.line for setting in _SETTINGS)),
        is_server_known=False,
        seen_from=seen,
    )


def _create_user(account: str, password: str) -> str:
    return f"CREATE USER {account} IDENTIFIED BY {quote_string(password)};"


def _grants(account: str, objects: Sequence[str], *, patterns: bool) -> tuple[str, ...]:
    parsed = sorted({parse_object(text) for text in objects}, key=lambda one: (one[0], one[1] or ""))
    whole = {database for database, table in parsed if table is None}
    places = [
        grant_place(database, table, patterns=patterns)
        for database, table in parsed
        if table is None or database not in whole
    ] or ["*.*"]
    return (
        f"GRANT {GLOBAL_PRIVILEGES} ON *.* TO {account};",
        *(f"GRANT {OBJECT_PRIVILEGES} ON {place} TO {account};" for place in places),
    )


# ---- what the server lacks ----


def _my_cnf(flavour: Flavour, version: tuple[int, ...], variables: Mapping[str, str]) -> tuple[str, ...]:
    lines = [
        setting.line
        for setting in _SETTINGS
        if version >= setting.since[flavour] and not _is_enough(setting, variables.get(setting.name))
    ]
    if "polar_log_bin" in variables and "log_bin = binlog" in lines:
        lines[lines.index("log_bin = binlog")] = "loose_polar_log_bin = ON  # a parameter of the PolarDB cluster"
    lines += _retention(flavour, version, variables)
    return ("[mysqld]", *lines) if lines else ()


def _is_enough(setting: _Setting, found: str | None) -> bool:
    """No such variable: the server always does what the line says. A server's id only must not be 0."""
    if found is None:
        return True
    return found.upper() in setting.enough if setting.enough else found != "0"


def _retention(flavour: Flavour, version: tuple[int, ...], variables: Mapping[str, str]) -> list[str]:
    """A binlog of a day at least."""
    kept_s = float(variables.get("binlog_expire_logs_seconds") or 0)
    kept_s = kept_s or float(variables.get("expire_logs_days") or 0) * _DAY_S
    if not kept_s or kept_s >= _DAY_S:
        return []
    in_seconds = version >= _EXPIRE_SECONDS[flavour]
    return [f"binlog_expire_logs_seconds = {_DAY_S}" if in_seconds else "expire_logs_days = 1"]


# ---- at the server ----


@asynccontextmanager
async def _opened(address: SourceAddress) -> AsyncIterator[Source]:
    source = open_source(address, _LOOKER_ID, SystemClock())
    try:
        yield source
    finally:
        await source.close()


async def _variables(source: Source) -> dict[str, str]:
    names = ",".join(map(quote_string, _VARIABLES))
    rows = await source.query(f"SHOW GLOBAL VARIABLES WHERE Variable_name IN ({names})")
    return {name: value for name, value in rows if name is not None and value is not None}


async def _exists(source: Source, user: str, host: str) -> bool:
    """Raises SourceRefused where the administrator may not look: who cannot see accounts cannot make one."""
    rows = await source.query(
        f"SELECT COUNT(*) FROM mysql.user WHERE user = {quote_string(user)} AND host = {quote_string(host)}"  # noqa: S608
    )
    return rows[0][0] != "0"


async def _own_account(source: Source) -> str:
    """The account that the server took this session for."""
    rows = await source.query("SELECT CURRENT_USER()")
    user, _, host = (rows[0][0] or "").rpartition("@")
    return account_name(user, host)


async def _run(source: Source, planned: AccountPlan, address: SourceAddress) -> None:
    try:
        await _run_create_user(source, planned, address)
    except CaptureError as error:
        raise _without(address.password, error) from None
    try:
        for statement in planned.statements[1:]:
            await source.query(statement.removesuffix(";"))
    except CaptureError:
        # Made by us a moment ago, and of use to nobody.
        await source.query(f"DROP USER {planned.account}")
        raise


async def _run_create_user(source: Source, planned: AccountPlan, address: SourceAddress) -> None:
    dialect, account, password = Dialect.of(planned.version), planned.account, address.password
    rows = await source.query("SHOW SESSION STATUS LIKE 'Ssl_cipher'")
    is_private = bool(rows and rows[0][1]) or all(_is_loopback(host) for host, _ in address.hosts)
    if dialect.is_mariadb or dialect.version < _HASHES_UNKNOWN:
        try:
            await source.query(f"CREATE USER {account} IDENTIFIED BY PASSWORD '{_hash(password)}'")
            return
        except ServerRefusal as refusal:
            # MariaDB with a plugin that judges passwords wants to see them (strict_password_validation).
            if refusal.code != _OPTION_PREVENTS_STATEMENT:
                raise
    if not is_private:
        raise SourceRefused(
            f"the password of {account} would cross the network in clear text; have TLS with the source "
            f"(tls=required), or run the statements yourself: {' '.join(planned.statements)}"
        )
    await source.query(_create_user(account, password).removesuffix(";"))


def _hash(password: str) -> str:
    """What mysql_native_password keeps of a password."""
    return "*" + hashlib.sha1(hashlib.sha1(password.encode()).digest()).hexdigest().upper()  # noqa: S324  MySQL's choice


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _without(password: str, error: CaptureError) -> CaptureError:
    """The same error, of whose sentence a server may have made its statement a part."""
    text = str(error)
    for form in (quote_string(password), password):
        text = text.replace(form, PLACEHOLDER)
    if isinstance(error, ServerRefusal):
        why = "; another administrator made it meanwhile" if error.code == _USER_EXISTS else ""
        return ServerRefusal(f"{text}{why}", error.code)
    return type(error)(text)


async def _log_in(address: SourceAddress) -> None:
    async with _opened(replace(address)) as source:
        await source.query("SELECT 1")
