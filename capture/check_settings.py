"""What the server must be, and what it must be set to.

Sources of the names: MySQL's sql/sys_vars.cc (5.6 to 9.7), MariaDB's (10.5 to 12.3), Percona Server's documentation for
binlog_space_limit and max_binlog_files, Amazon's for `mysql.rds_configuration`, PolarDB's for loose_polar_log_bin.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from capture.checking import Finding, channel_key, failed, my_cnf, named, passed, set_global, warning
from capture.source import Flavour, ServerRefusal
from capture.start import status_statement

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from capture.checking import Look

VARIABLES: Final = (
    *("version_comment", "basedir", "aurora_version", "polardb_version", "polar_log_bin"),
    *("log_bin", "binlog_storage_engine", "binlog_format", "binlog_row_image", "binlog_checksum", "partial_revokes"),
    *("binlog_expire_logs_seconds", "binlog_expire_logs_auto_purge", "expire_logs_days"),
    *("max_binlog_total_size", "binlog_space_limit", "max_binlog_files"),
    *("gtid_mode", "enforce_gtid_consistency", "server_id"),
    *("read_only", "super_read_only", "innodb_read_only", "log_replica_updates", "log_slave_updates"),
    *("binlog_row_value_options", "binlog_transaction_compression", "log_bin_compress", "innodb_native_foreign_keys"),
)

RETENTION_S_MIN: Final = 24 * 3600
"""The service asks for a binlog of a day at least."""
CLOCK_DIFFERENCE_MS_MAX: Final = 1000

_OLDEST: Final = {Flavour.MYSQL: (5, 1, 20), Flavour.MARIADB: (5, 1, 20)}
_NEWEST: Final = {Flavour.MYSQL: (9, 7), Flavour.MARIADB: (12, 3)}
_FORKS: Final = ("tidb", "oceanbase", "vitess", "dolt", "singlestore", "starrocks", "doris", "databend", "clickhouse")
"""What speaks MySQL's protocol and says in its version what it is; none of them has MySQL's binlog."""

_REPLICA_STATUS: Final = (8, 0, 22)  # SHOW REPLICA STATUS and SHOW REPLICAS
_NAMED_CONNECTIONS: Final = (10, 0, 1)  # of MariaDB: SHOW SLAVE STATUS tells of the one without a name alone
_LOG_REPLICA_UPDATES: Final = (8, 0, 26)
_GTIDS_ONLINE: Final = (5, 7, 6)
_GTIDS: Final = (5, 6, 5)
_EXPIRE_SECONDS: Final = {Flavour.MYSQL: (8, 0, 1), Flavour.MARIADB: (10, 6, 1)}
_GTID_STEPS: Final = ("OFF", "OFF_PERMISSIVE", "ON_PERMISSIVE", "ON")


# ---- the server ----


async def version(look: Look) -> Finding:
    """Old enough to be known, new enough to have row events, and no stranger."""
    comment = look.variable("version_comment")
    found = f"{look.info.version}{f' {_in_brackets(comment)}' if comment else ''}"
    flavour, known = look.info.flavour, f"{look.info.version} {comment}".lower()
    if any(fork in known for fork in _FORKS):
        return warning(
            found,
            "it speaks MySQL's protocol and is not known to have MySQL's binlog; what it sends is read exactly "
            "or stops the channel",
            "-- name a MySQL, MariaDB or PolarDB server in source",
        )
    if look.dialect.version < _OLDEST[flavour]:
        oldest = ".".join(map(str, _OLDEST[flavour]))
        return failed(found, f"row changes are in the binlog from {oldest} on", f"-- upgrade the server to {oldest}")
    if look.dialect.version[:2] > _NEWEST[flavour]:
        newest = ".".join(map(str, _NEWEST[flavour]))
        return warning(
            found,
            f"it is newer than what was tried ({newest}); events that are not known stop the channel",
            "-- see the release notes of Binwire for a newer version",
        )
    return passed(found)


def _in_brackets(comment: str) -> str:
    """Debian's is in brackets already, "MySQL Community Server (GPL)" only ends with one."""
    return comment if comment.startswith("(") and comment.endswith(")") else f"({comment})"


async def clock(look: Look) -> Finding:
    """The source's clock against ours; a query's way there and back blurs it by less than what is let pass."""
    off_ms = look.info.clock_offset_ms
    if abs(off_ms) <= CLOCK_DIFFERENCE_MS_MAX:
        return passed(f"{off_ms / 1000:+.3f} s")
    return warning(
        f"the source's clock is {abs(off_ms) / 1000:.1f} s {'ahead of' if off_ms > 0 else 'behind'} this machine's",
        "records carry the source's time: a consumer that starts at a time finds another place than it meant",
        "timedatectl set-ntp true  # in a shell of the machine whose clock is wrong",
    )


# ---- the binlog ----


async def binary_logging(look: Look) -> Finding:
    """Whether there is a binlog, made of files."""
    means = "without a binlog there is nothing to capture"
    if look.is_on("log_bin"):
        if engine := look.variable("binlog_storage_engine"):
            return failed(
                f"binlog_storage_engine = {engine}",
                "a binlog inside a storage engine has no files and positions, by which this reader asks for it",
                my_cnf("binlog_storage_engine ="),
            )
        return passed("log_bin = ON")
    found = f"log_bin = {look.variable('log_bin') or 'OFF'}"
    if look.spec.address.scheme == "polardb" or look.variable("polardb_version"):
        switch = (
            "loose_polar_log_bin = ON  # among the cluster's parameters in the PolarDB console; the cluster restarts"
        )
        return failed(found, f"PolarDB writes none unless it is told to, and {means}", switch)
    return failed(found, means, my_cnf("log_bin = binlog"))


async def row_format(look: Look) -> Finding:
    """`binlog_format`, which servers may come to do without."""
    found = look.variable("binlog_format")
    if found in ("", "ROW"):
        return passed(found or "the server writes nothing but rows")
    return failed(
        f"{found}, not ROW",
        "changes would be in the binlog as statements, from which rows cannot be told",
        set_global("binlog_format", "ROW"),
    )


async def row_image(look: Look) -> Finding:
    """`binlog_row_image`, which servers before 5.6 and 10.1 do not have."""
    found = look.variable("binlog_row_image")
    if found in ("", "FULL"):
        return passed(found or "the server always writes full row images")
    means = "columns that were not changed would be missing from the records"
    remedy = set_global("binlog_row_image", "FULL")
    if look.spec.row_image == "any":
        return warning(f"{found}, not FULL; allowed by row_image", means, remedy)
    return failed(f"{found}, not FULL", means, remedy)


async def checksum(look: Look) -> Finding:
    """`binlog_checksum`, which servers before 5.6 and 5.3 do not have."""
    found = look.variable("binlog_checksum")
    if found == "NONE":
        return warning(
            "NONE",
            "bytes that are damaged on the source's disk or on the way are taken for data",
            set_global("binlog_checksum", "CRC32"),
        )
    return passed(found or "the server has none")


def option_read(name: str, mariadb_name: str | None = None) -> Callable[[Look], Awaitable[Finding]]:
    """A setting that changes how events are written, all ways of which are read."""

    async def look_at(look: Look) -> Finding:
        variable = mariadb_name if mariadb_name and look.info.flavour is Flavour.MARIADB else name
        found = look.variable(variable)
        return passed(f"{variable} = {found}, which is read" if found.upper() not in ("", "OFF") else "off")

    return look_at


async def filters(look: Look) -> Finding:
    """`binlog_do_db` and `binlog_ignore_db`: what the server leaves out of its binlog."""
    rows = await look.source.query(status_statement(look.info))
    only, without = (_names(look, rows[0][column] or "") for column in (2, 3))
    means = "changes of these databases are in no binlog: they would be missing without a word"
    databases = sorted({database for database, _ in look.objects})
    if only and (lacking := [database for database in databases if database not in only]):
        settings = [f"binlog_do_db = {database}" for database in lacking]
        return failed(f"binlog_do_db leaves out {named(lacking)}", means, my_cnf(*settings))
    if ignored := [database for database in databases if database in without]:
        remedy = "\n".join(f"# binlog_ignore_db = {database}" for database in ignored)
        return failed(
            f"binlog_ignore_db leaves out {named(ignored)}",
            means,
            f"{remedy}  # take this from [mysqld] in my.cnf, then restart the server",
        )
    return passed("none that concerns the objects")


def _names(look: Look, listed: str) -> list[str]:
    """Databases with commas between, as the server compares names."""
    names = [name.strip() for name in listed.split(",") if name.strip()]
    return [look.selection.name(name, "")[0] for name in names]


# ---- how long the binlog is kept ----

_TOO_SHORT: Final = (
    "a channel that stands still for longer than that finds its place gone and has to be started anew, with a gap"
)


async def retention(look: Look) -> Finding:
    """How long the server keeps its binlog, against a day and against what this channel keeps."""
    wanted_s = max(RETENTION_S_MIN, look.spec.retention_ms // 1000)
    if look.variable("basedir").startswith("/rdsdbbin"):
        return await _retention_at_rds(look, math.ceil(wanted_s / 3600))
    for name in ("max_binlog_total_size", "binlog_space_limit", "max_binlog_files"):
        if look.number(name):
            return warning(f"{name} = {look.variable(name)}: by size, not by time", _TOO_SHORT, set_global(name, "0"))
    kept_s = _kept_s(look)
    if kept_s is None:
        return passed("kept until somebody deletes them")
    if kept_s >= wanted_s:
        return passed(_hours(kept_s))
    why = "the channel's retention" if wanted_s > RETENTION_S_MIN else "what the service asks for"
    remedy = set_global("expire_logs_days", str(math.ceil(wanted_s / 86400)))
    if look.dialect.version >= _EXPIRE_SECONDS[look.info.flavour]:
        remedy = set_global("binlog_expire_logs_seconds", str(wanted_s))
    return warning(f"{_hours(kept_s)}, less than {_hours(wanted_s)}, {why}", _TOO_SHORT, remedy)


def _kept_s(look: Look) -> float | None:
    """How long the server keeps its binlog, None for ever. Seconds, where they are set, come before days."""
    if look.variable("binlog_expire_logs_auto_purge") == "OFF":
        return None
    return look.number("binlog_expire_logs_seconds") or look.number("expire_logs_days") * 86400 or None


async def _retention_at_rds(look: Look, wanted_hours: int) -> Finding:
    """At Amazon a procedure sets it, and the server's own variables mean nothing."""
    remedy = f"CALL mysql.rds_set_configuration('binlog retention hours', {wanted_hours});"
    try:
        rows = await look.source.query(
            "SELECT value FROM mysql.rds_configuration WHERE name = 'binlog retention hours'"
        )
    except ServerRefusal:
        return warning(
            "not known: this account may not read mysql.rds_configuration, which decides at Amazon RDS",
            f"unless somebody has set it, the binlog is deleted as soon as possible; {_TOO_SHORT}",
            remedy,
        )
    hours = int(rows[0][0] or 0) if rows else 0
    if hours >= wanted_hours:
        return passed(f"{hours} h (mysql.rds_configuration)")
    found = f"{hours} h" if hours else "as short as possible"
    return warning(f"{found} (mysql.rds_configuration), less than {wanted_hours} h", _TOO_SHORT, remedy)


def _hours(seconds: float) -> str:
    return f"{seconds / 86400:g} days" if seconds % 86400 == 0 and seconds > 86400 else f"{seconds / 3600:g} h"


# ---- who else there is ----


async def server_id(look: Look) -> Finding:
    """The id under which the source knows this reader: nobody else's."""
    own = look.spec.server_id
    found = f"source {look.info.server_id}, this channel {own or 'chosen at start'}"
    if look.info.server_id == 0:
        return failed(found, "a server without an id serves no readers", set_global("server_id", "1"))
    another = channel_key("server_id = 0") + "; one is chosen then"
    if look.info.server_id == own:
        return failed(found, "a reader with the source's own id is refused", another)
    others = await _replicas(look)
    if others is None:
        return passed(f"{found}; other replicas are not shown to this account")
    if own and (host := others.get(own)) is not None:
        return failed(
            f"{found}, and so has the replica {host}",
            "two readers with one id cut each other's stream again and again",
            another,
        )
    return passed(f"{found}; {len(others)} other replica{'s' * (len(others) != 1)}")


async def _replicas(look: Look) -> dict[int, str] | None:
    """The registered replicas of the source by their ids, None if this account may not see them."""
    is_renamed = look.info.flavour is Flavour.MYSQL and look.dialect.version >= _REPLICA_STATUS
    try:
        rows = await look.source.query("SHOW REPLICAS" if is_renamed else "SHOW SLAVE HOSTS")
    except ServerRefusal:
        return None
    return {int(row[0] or 0): f"{row[1] or 'of unknown host'}:{row[2]}" for row in rows}


async def gtid_mode(look: Look) -> Finding:
    """Whether transactions have names that another server knows too."""
    if look.info.flavour is Flavour.MARIADB:
        return passed("MariaDB always has GTIDs")
    found = look.variable("gtid_mode")
    if found == "ON":
        return passed("ON")
    means = (
        "the channel cannot go on at another server when this one is gone: positions differ, only GTIDs are the same"
    )
    if look.dialect.version < _GTIDS:
        return warning("the server has none", means, "-- upgrade the server to MySQL 5.6 or later")
    if look.dialect.version < _GTIDS_ONLINE:
        remedy = my_cnf("gtid_mode = ON", "enforce_gtid_consistency = ON", "log_slave_updates = ON")
        return warning(found, means, remedy)
    if found not in _GTID_STEPS:
        return warning(f"gtid_mode = {found or 'not there'}", means, "-- see what this server has for GTIDs")
    steps = [f"SET GLOBAL gtid_mode = {step};" for step in _GTID_STEPS[_GTID_STEPS.index(found) + 1 :]]
    if look.variable("enforce_gtid_consistency") != "ON":
        steps.insert(0, "SET GLOBAL enforce_gtid_consistency = ON;")
    steps[-1] += " -- and gtid_mode = ON, enforce_gtid_consistency = ON under [mysqld] in my.cnf"
    return warning(found, means, "\n".join(steps))


async def primary(look: Look) -> Finding:
    """A replica, or a server that nobody writes to, is captured only by those who want that."""
    upstream = await _upstream(look)
    names = ("read_only", "super_read_only", "innodb_read_only")
    read_only = [name for name in names if look.variable(name).upper() not in ("", "OFF", "0")]
    if upstream is not None:
        name = "log_replica_updates" if "log_replica_updates" in look.variables else "log_slave_updates"
        if not look.is_on(name):
            return failed(
                f"a replica of {upstream} with {name} = OFF",
                "what it takes from there is not in its own binlog",
                my_cnf(f"{name} = ON"),
            )
        found = f"a replica of {upstream}"
    elif read_only:
        found = f"{read_only[-1]} = {look.variable(read_only[-1])}"
    else:
        return passed("takes writes, and is no replica")
    if look.spec.allow_replica:
        return passed(f"{found}; allowed by allow_replica")
    return failed(
        found,
        "it may lag behind its primary or change places with it; the service captures primaries only",
        f"{channel_key('allow_replica = true')}, or name the primary in source",
    )


async def _upstream(look: Look) -> str | None:
    """The server whose replica this is, the first one of several, as far as this account may know."""
    version, host, port = look.dialect.version, 1, 3
    if look.info.flavour is Flavour.MARIADB and version >= _NAMED_CONNECTIONS:
        statement, host, port = "SHOW ALL SLAVES STATUS", 3, 5
    elif look.info.flavour is Flavour.MYSQL and version >= _REPLICA_STATUS:
        statement = "SHOW REPLICA STATUS"
    else:
        statement = "SHOW SLAVE STATUS"
    try:
        rows = await look.source.query(statement)
    except ServerRefusal:
        rows = await look.source.query("SHOW GLOBAL STATUS WHERE Variable_name IN ('Slave_running', 'Slaves_running')")
        return "another server" if any(value not in ("OFF", "0") for _, value in rows) else None
    return f"{rows[0][host]}:{rows[0][port]}" if rows else None
