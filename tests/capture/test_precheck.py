"""The precheck on real servers: what passes, what fails, and that the remedy given is the one that helps."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import TYPE_CHECKING

import pytest

from capture import check_tables, precheck, start
from capture.channel import ChannelSpec, State
from capture.checking import Outcome
from capture.columns import COLUMN_TYPES
from capture.errors import SourceRefused, SourceUnavailable
from capture.position import BinlogPosition, GtidSet
from capture.source import Flavour, ServerInfo, ServerRefusal, SourceAddress, open_source
from capture.start import point_at
from storage.clock import SystemClock
from tests.capture.world import WAIT_S, FedSource, World, running
from tests.tools.workplace import CHECKOUT

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from capture.precheck import CheckResult
    from storage.clock import Clock
    from tests.live_server import LiveServer

PASSWORD = "Pr3check-only"
CLOCK = SystemClock()
KINDS_HERE = ["mysql97", "mysql56", "mariadb1011"]


async def check(
    server: LiveServer, *objects: str, url: str | None = None, clock: Clock = CLOCK, **more: object
) -> Sequence[CheckResult]:
    address = SourceAddress.parse(url or server.url())
    keys = {"server_id": 4715, **more}
    spec = ChannelSpec(id="c", topic="t", address=address, objects=objects, **keys)  # type: ignore[arg-type]
    source = open_source(address, spec.server_id, clock)
    try:
        return await precheck.run(source, spec)
    finally:
        await source.close()


def found(results: Sequence[CheckResult], outcome: Outcome = Outcome.FAILED) -> dict[str, CheckResult]:
    """The items that came out so; those that passed say only what was found, the others all there is to say."""
    for result in results:
        assert result.found
        assert (result.means is None) == (result.remedy is None) == (result.outcome is Outcome.PASSED)
    return {result.name: result for result in results if result.outcome is outcome}


def failed(results: Sequence[CheckResult]) -> dict[str, CheckResult]:
    return found(results)


def warned(results: Sequence[CheckResult]) -> dict[str, CheckResult]:
    return found(results, Outcome.WARNING)


def outcome(results: Sequence[CheckResult], name: str) -> Outcome:
    [result] = [result for result in results if result.name == name]
    return result.outcome


def statements(remedy: str | None) -> list[str]:
    """The SQL of a remedy, as a client takes it: comments gone."""
    assert remedy is not None
    text = "\n".join(line.partition(" -- ")[0] for line in remedy.splitlines())
    return [statement.strip() for statement in text.split(";") if statement.strip()]


def options(remedy: str | None) -> list[str]:
    """The lines of my.cnf in a remedy, as options of the server's command line."""
    assert remedy is not None
    assert remedy.endswith("  # under [mysqld] in my.cnf, then restart the server")
    settings = [line.partition("#")[0].split("=") for line in remedy.splitlines()]
    return [f"--{name.strip().replace('_', '-')}={value.strip()}" for name, value in settings]


async def test_everything_in_order(server: LiveServer) -> None:
    database = server.fresh_database()
    server.execute(f"CREATE TABLE {database}.t (id INT PRIMARY KEY)")
    server.execute(f"GRANT SHOW VIEW ON {database}.* TO {server.repl_user}@'%'")
    results = await check(server, database, f"{database}.t")
    assert failed(results) == {}
    assert set(warned(results)) == ({"GTIDs"} if server.kind == "mysql56" else set())
    assert [result.name for result in results] == ["reachable", *(item.name for item in precheck.ITEMS)]
    assert server.version in results[1].found


# ---- privileges ----


@pytest.fixture
def account(server: LiveServer) -> str:
    """An account without any privilege."""
    name = f"bare_{server.fresh_database()[-8:]}"
    server.execute(f"CREATE USER {name}@'%%' IDENTIFIED BY %s", (PASSWORD,))
    return name


async def test_missing_privileges_are_mended_by_their_remedies(server: LiveServer, account: str) -> None:
    database = server.fresh_database()
    server.execute(f"CREATE TABLE {database}.t (id INT PRIMARY KEY)")
    url = server.url(account, PASSWORD)
    results = await check(server, database, f"{database}.t", url=url)
    assert set(failed(results)) == {"REPLICATION SLAVE privilege", "REPLICATION CLIENT privilege", "SELECT privilege"}
    assert "SHOW VIEW privilege" in warned(results)
    for result in (*failed(results).values(), warned(results)["SHOW VIEW privilege"]):
        server.execute_all(*statements(result.remedy))
    mended = await check(server, database, f"{database}.t", url=url)
    assert failed(mended) == {}
    assert "SHOW VIEW privilege" not in warned(mended)


async def test_a_privilege_on_single_tables_is_enough(server: LiveServer, account: str) -> None:
    database = server.fresh_database()
    server.execute(f"CREATE TABLE {database}.t (id INT PRIMARY KEY)")
    server.execute(f"GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO {account}@'%'")
    server.execute(f"GRANT SELECT ON `{database}`.t TO {account}@'%'")
    url = server.url(account, PASSWORD)
    assert failed(await check(server, f"{database}.t", url=url)) == {}
    assert set(failed(await check(server, database, url=url))) == {"SELECT privilege"}


async def test_a_privilege_on_columns_is_none_on_the_table(server: LiveServer, account: str) -> None:
    database = server.fresh_database()
    server.execute(f"CREATE TABLE {database}.t (id INT PRIMARY KEY, a INT)")
    server.execute(f"GRANT SELECT (id), INSERT ON `{database}`.t TO {account}@'%'")
    assert "SELECT privilege" in failed(await check(server, f"{database}.t", url=server.url(account, PASSWORD)))


async def test_a_pattern_grants_databases(server: LiveServer, account: str) -> None:
    database = server.fresh_database()
    server.execute(f"GRANT SELECT ON `{database[:-1]}_`.* TO {account}@'%'")
    url = server.url(account, PASSWORD)
    assert outcome(await check(server, database, url=url), "SELECT privilege") is Outcome.PASSED
    assert outcome(await check(server, database + "x", url=url), "SELECT privilege") is Outcome.FAILED


@pytest.mark.parametrize("kind", ["mysql97", "mariadb1011"])
async def test_a_role_that_is_not_active_is_made_a_default(request: pytest.FixtureRequest, kind: str) -> None:
    server: LiveServer = request.getfixturevalue(kind)
    database = server.fresh_database()
    account, role = f"with_{database[-8:]}", f"role_{database[-8:]}"
    server.execute(f"CREATE USER {account}@'%%' IDENTIFIED BY %s", (PASSWORD,))
    server.execute_all(
        f"CREATE ROLE {role}",
        f"GRANT REPLICATION SLAVE, REPLICATION CLIENT, SELECT, SHOW VIEW ON *.* TO {role}",
        f"GRANT {role} TO {account}@'%'",
    )
    url = server.url(account, PASSWORD)
    results = failed(await check(server, database, url=url))
    assert set(results) == {"REPLICATION SLAVE privilege", "REPLICATION CLIENT privilege", "SELECT privilege"}
    assert {result.remedy for result in results.values()} == {results["SELECT privilege"].remedy}
    assert "to a role that is not active" in results["SELECT privilege"].found
    server.execute_all(*statements(results["SELECT privilege"].remedy))
    assert failed(await check(server, database, url=url)) == {}


async def test_mariadb_sends_its_binlog_to_replication_slave_alone(mariadb1011: LiveServer) -> None:
    """Its privilege for administrators of a primary is another one, and is refused the dump."""
    database = mariadb1011.fresh_database()
    name = f"admin_{database[-8:]}"
    mariadb1011.execute(f"CREATE USER {name}@'%%' IDENTIFIED BY %s", (PASSWORD,))
    mariadb1011.execute(f"GRANT REPLICATION MASTER ADMIN, BINLOG MONITOR, SELECT ON *.* TO {name}@'%'")
    url = mariadb1011.url(name, PASSWORD)
    assert set(failed(await check(mariadb1011, database, url=url))) == {"REPLICATION SLAVE privilege"}
    address = SourceAddress.parse(url)
    source = open_source(address, 4716, CLOCK)
    try:
        info = await source.connect()
        end, _ = await start.current_end(source, info)
        await source.start(end)
        with pytest.raises(SourceRefused, match="REPLICATION SLAVE"):
            await source.read()
    finally:
        await source.close()


async def test_a_partial_revoke_is_lifted(server_factory: Callable[..., LiveServer]) -> None:
    server = await asyncio.to_thread(server_factory, "mysql97", "--partial-revokes=ON")
    database = server.fresh_database()
    server.execute("CREATE USER some@'%%' IDENTIFIED BY %s", (PASSWORD,))
    server.execute_all(
        "GRANT REPLICATION SLAVE, REPLICATION CLIENT, SELECT ON *.* TO some@'%'",
        f"REVOKE SELECT ON {database}.* FROM some@'%'",
    )
    url = server.url("some", PASSWORD)
    results = failed(await check(server, database, url=url))
    assert results["SELECT privilege"].found == f"taken away (partial revoke) on `{database}`.*"
    server.execute_all(*statements(results["SELECT privilege"].remedy))
    assert failed(await check(server, database, url=url)) == {}


# ---- settings ----


@pytest.mark.parametrize(
    ("variable", "value", "item", "expected"),
    [
        ("binlog_format", "STATEMENT", "binlog_format", Outcome.FAILED),
        ("binlog_row_image", "MINIMAL", "binlog_row_image", Outcome.FAILED),
        ("binlog_checksum", "NONE", "binlog checksum", Outcome.WARNING),
    ],
)
async def test_a_setting_that_is_wrong(
    server: LiveServer, variable: str, value: str, item: str, expected: Outcome
) -> None:
    database = server.fresh_database()
    with server.global_variable(variable, value):
        results = found(await check(server, database), expected)
        assert item in results
        server.execute_all(*statements(results[item].remedy))
        assert outcome(await check(server, database), item) is Outcome.PASSED


@pytest.mark.parametrize("kind", ["mysql97", "mysql56"])
async def test_a_server_without_an_id(request: pytest.FixtureRequest, kind: str) -> None:
    """MariaDB has always one."""
    server: LiveServer = request.getfixturevalue(kind)
    database = server.fresh_database()
    with server.global_variable("server_id", 0):
        result = failed(await check(server, database))["server_id"]
        server.execute_all(*statements(result.remedy))
        assert outcome(await check(server, database), "server_id") is Outcome.PASSED


async def test_binlogs_that_are_not_kept_for_a_day_or_for_the_channels_retention(server: LiveServer) -> None:
    database = server.fresh_database()
    variable, value = ("expire_logs_days", 1) if server.kind == "mysql56" else ("binlog_expire_logs_seconds", 7200)
    week_ms = 7 * 86_400_000
    with server.global_variable(variable, value):
        results = warned(await check(server, database, retention_ms=week_ms))
        assert ", less than 7 days, the channel's retention" in results["binlog retention"].found
        server.execute_all(*statements(results["binlog retention"].remedy))
        assert outcome(await check(server, database, retention_ms=week_ms), "binlog retention") is Outcome.PASSED
    if server.kind != "mysql56":
        with server.global_variable(variable, value):
            results = warned(await check(server, database, retention_ms=60_000))
            assert results["binlog retention"].found == "2 h, less than 24 h, what the service asks for"
            server.execute_all(*statements(results["binlog retention"].remedy))
            assert outcome(await check(server, database), "binlog retention") is Outcome.PASSED


async def test_what_a_newer_server_may_have_on_is_read(mysql97: LiveServer, mariadb1011: LiveServer) -> None:
    for server, variable, value, item in (
        (mysql97, "binlog_row_value_options", "PARTIAL_JSON", "partial JSON updates"),
        (mysql97, "binlog_transaction_compression", "ON", "binlog compression"),
        (mariadb1011, "log_bin_compress", "ON", "binlog compression"),
    ):
        database = server.fresh_database()
        with server.global_variable(variable, value):
            results = await check(server, database)
            assert outcome(results, item) is Outcome.PASSED
            assert f"{variable} = {value}, which is read" in [result.found for result in results]


@pytest.mark.parametrize("kind", KINDS_HERE)
async def test_binary_logging_that_is_off(server_factory: Callable[..., LiveServer], kind: str) -> None:
    off = {"mysql97": "--skip-log-bin", "mysql56": "--skip-log-bin", "mariadb1011": "--skip-log-bin"}[kind]
    server = await asyncio.to_thread(server_factory, kind, off)
    database = server.fresh_database()
    results = failed(await check(server, database))
    assert set(results) == {"binary logging"}
    await asyncio.to_thread(server.restart, *options(results["binary logging"].remedy))
    assert failed(await check(server, database)) == {}


@pytest.mark.parametrize("kind", KINDS_HERE)
async def test_a_database_that_is_left_out_of_the_binlog(server_factory: Callable[..., LiveServer], kind: str) -> None:
    server = await asyncio.to_thread(server_factory, kind, "--binlog-ignore-db=shop")
    server.execute("CREATE DATABASE shop")
    result = failed(await check(server, "shop"))["binlog filters"]
    assert result.found == "binlog_ignore_db leaves out shop"
    assert (result.remedy or "").startswith("# binlog_ignore_db = shop")
    await asyncio.to_thread(server.restart)
    assert failed(await check(server, "shop")) == {}
    await asyncio.to_thread(server.restart, "--binlog-do-db=other")
    result = failed(await check(server, "shop"))["binlog filters"]
    await asyncio.to_thread(server.restart, "--binlog-do-db=other", *options(result.remedy))
    assert failed(await check(server, "shop")) == {}


async def test_gtids_are_switched_on_in_steps(server_factory: Callable[..., LiveServer]) -> None:
    server = await asyncio.to_thread(server_factory, "mysql97", "--gtid-mode=OFF", "--enforce-gtid-consistency=OFF")
    database = server.fresh_database()
    result = warned(await check(server, database))["GTIDs"]
    assert result.found == "OFF"
    server.execute_all(*statements(result.remedy))
    assert outcome(await check(server, database), "GTIDs") is Outcome.PASSED


async def test_gtids_of_an_older_server_need_a_restart(server_factory: Callable[..., LiveServer]) -> None:
    server = await asyncio.to_thread(server_factory, "mysql56")
    database = server.fresh_database()
    result = warned(await check(server, database))["GTIDs"]
    await asyncio.to_thread(server.restart, *options(result.remedy))
    assert outcome(await check(server, database), "GTIDs") is Outcome.PASSED


# ---- who else there is ----


def make_replica(server: LiveServer, of: LiveServer) -> None:
    """Tell a server to take its changes from another; whether it gets any does not matter here."""
    host = {"host": of.host, "port": of.port, "user": of.repl_user, "password": of.repl_password}
    if server.kind == "mysql97":
        server.execute_all(
            "CHANGE REPLICATION SOURCE TO SOURCE_HOST='{host}', SOURCE_PORT={port}, SOURCE_USER='{user}', "
            "SOURCE_PASSWORD='{password}', GET_SOURCE_PUBLIC_KEY=1".format(**host),
            "START REPLICA IO_THREAD",
        )
    else:
        server.execute_all(
            "CHANGE MASTER TO MASTER_HOST='{host}', MASTER_PORT={port}, MASTER_USER='{user}', "
            "MASTER_PASSWORD='{password}'".format(**host),
            "START SLAVE",
        )


def wait_until_it_runs(replica: LiveServer) -> None:
    """Without SLAVE MONITOR, all that MariaDB says of a replica is whether it is connected, which it is in a moment."""
    deadline = time.monotonic() + WAIT_S
    while replica.kind == "mariadb1011":
        if replica.execute("SHOW GLOBAL STATUS LIKE 'Slaves_running'")[0][1] != "0":
            return
        assert time.monotonic() < deadline, "the replica never connected to its primary"


@pytest.mark.parametrize("kind", KINDS_HERE)
async def test_a_replica_is_captured_by_those_who_want_that(
    request: pytest.FixtureRequest, server_factory: Callable[..., LiveServer], kind: str
) -> None:
    primary: LiveServer = request.getfixturevalue(kind)
    name = "log-replica-updates" if kind == "mysql97" else "log-slave-updates"
    replica = await asyncio.to_thread(server_factory, kind, f"--skip-{name}", "--server-id=2")
    database = replica.fresh_database()
    make_replica(replica, primary)
    await asyncio.to_thread(wait_until_it_runs, replica)
    result = failed(await check(replica, database, allow_replica=True))["primary"]
    upstream = "another server" if kind == "mariadb1011" else f"{primary.host}:{primary.port}"
    assert result.found == f"a replica of {upstream} with {name.replace('-', '_')} = OFF"
    await asyncio.to_thread(replica.restart, "--server-id=2", *options(result.remedy))
    await asyncio.to_thread(wait_until_it_runs, replica)
    result = failed(await check(replica, database))["primary"]
    assert result.found == f"a replica of {upstream}"
    assert (result.remedy or "").startswith("allow_replica = true  # in this channel's [[channels]]")
    assert failed(await check(replica, database, allow_replica=True)) == {}


async def test_a_replica_by_a_connection_with_a_name_is_one_too(server_factory: Callable[..., LiveServer]) -> None:
    """MariaDB may be the replica of several; `SHOW SLAVE STATUS` tells of the one without a name alone."""
    replica = await asyncio.to_thread(server_factory, "mariadb1011", "--log-slave-updates", "--server-id=2")
    database = replica.fresh_database()
    replica.execute_all("CHANGE MASTER 'east' TO MASTER_HOST='127.0.0.1', MASTER_PORT=1, MASTER_USER='nobody'")
    administrator = replica.url(replica.root_user, replica.root_password)
    assert failed(await check(replica, database, url=administrator))["primary"].found == "a replica of 127.0.0.1:1"
    assert outcome(await check(replica, database), "primary") is Outcome.PASSED
    replica.execute("START SLAVE 'east' SQL_THREAD")
    assert failed(await check(replica, database))["primary"].found == "a replica of another server"


async def test_another_reader_with_the_same_id(
    request: pytest.FixtureRequest, server_factory: Callable[..., LiveServer]
) -> None:
    primary: LiveServer = request.getfixturevalue("mysql97")
    replica = await asyncio.to_thread(server_factory, "mysql97", "--server-id=4715", "--report-host=elsewhere")
    make_replica(replica, primary)
    async with asyncio.timeout(WAIT_S):
        while not await asyncio.to_thread(primary.execute, "SHOW REPLICAS"):
            continue
    database = primary.fresh_database()
    result = failed(await check(primary, database, server_id=4715))["server_id"]
    assert f"and so has the replica elsewhere:{replica.port}" in result.found
    assert (result.remedy or "").startswith("server_id = 0  # in this channel's [[channels]]")
    assert failed(await check(primary, database, server_id=0)) == {}
    replica.execute("STOP REPLICA")


async def test_other_hosts_that_cannot_take_over(
    mysql97: LiveServer, mariadb1011: LiveServer, server_factory: Callable[..., LiveServer]
) -> None:
    account = f"mysql://{mysql97.repl_user}:{mysql97.repl_password}@{mysql97.host}:{mysql97.port}"
    database = mysql97.fresh_database()
    other = await asyncio.to_thread(
        server_factory, "mysql97", "--gtid-mode=OFF", "--enforce-gtid-consistency=OFF", "--skip-log-replica-updates"
    )
    address = f"{other.host}:{other.port}"
    results = await check(
        mysql97, database, url=f"{account},{address},127.0.0.1:1,{mariadb1011.host}:{mariadb1011.port}"
    )
    found = warned(results)["failover hosts"].found
    assert f"{address}: gtid_mode = OFF, log_replica_updates = OFF" in found
    assert "127.0.0.1:1: the source mysql://" in found
    assert "it is mariadb, and the one that was reached first is mysql" in found
    await asyncio.to_thread(other.restart)
    results = await check(mysql97, database, url=f"{account},{address}")
    assert outcome(results, "failover hosts") is Outcome.PASSED


async def test_a_server_that_takes_no_writes(server: LiveServer) -> None:
    database = server.fresh_database()
    with server.global_variable("read_only", "ON"):
        result = failed(await check(server, database))["primary"]
        assert result.found == "read_only = ON"
        results = await check(server, database, allow_replica=True)
        assert outcome(results, "primary") is Outcome.PASSED
        assert "read_only = ON; allowed by allow_replica" in [result.found for result in results]


async def test_a_clock_that_goes_wrong(mysql97: LiveServer) -> None:
    class Behind(SystemClock):
        def now_ms(self) -> int:
            return super().now_ms() - 5000

    result = warned(await check(mysql97, mysql97.fresh_database(), clock=Behind()))["clock"]
    assert result.found == "the source's clock is 5.0 s ahead of this machine's"


# ---- tables ----


async def test_tables_without_a_key_get_one(server: LiveServer) -> None:
    database = server.fresh_database()
    server.execute_all(
        "CREATE TABLE fine (id INT PRIMARY KEY)",
        "CREATE TABLE fine_too (a INT NOT NULL, UNIQUE KEY (a))",
        "CREATE TABLE nothing (x INT)",
        "CREATE TABLE has_id (id INT)",
        "CREATE TABLE may_be_null (a INT, UNIQUE KEY (a))",
        "CREATE TABLE counted (n INT AUTO_INCREMENT, KEY (n))",
        database=database,
    )
    result = warned(await check(server, database))["keys"]
    assert result.found == "4 of 6: " + ", ".join(
        f"{database}.{name}" for name in ("counted", "has_id", "may_be_null", "nothing")
    )
    server.execute_all(*statements(result.remedy))
    assert outcome(await check(server, database), "keys") is Outcome.PASSED
    assert warned(await check(server, f"{database}.fine")).keys() <= {"SHOW VIEW privilege", "GTIDs"}


async def test_few_of_many_tables_are_named(mysql97: LiveServer) -> None:
    database = mysql97.fresh_database()
    mysql97.execute_all(*(f"CREATE TABLE t{number} (x INT)" for number in range(7)), database=database)
    result = warned(await check(mysql97, database))["keys"]
    assert result.found.startswith("7 of 7: ")
    assert result.found.endswith(f"{database}.t4 and 2 more")
    assert len(statements(result.remedy)) == 5


CHILD = (
    "CREATE TABLE child (id INT PRIMARY KEY, a INT, b INT, CONSTRAINT fk FOREIGN KEY (a, b) REFERENCES parent (a, b)"
)
CASCADE = (
    "CREATE TABLE parent (a INT, b INT, PRIMARY KEY (a, b))",
    f"{CHILD} ON DELETE CASCADE)",
    "CREATE TABLE strict (id INT PRIMARY KEY, a INT, b INT, FOREIGN KEY (a, b) REFERENCES parent (a, b))",
)


@pytest.mark.parametrize("kind", ["mysql56", "mariadb1011"])
async def test_cascades_that_are_not_logged(request: pytest.FixtureRequest, kind: str) -> None:
    server: LiveServer = request.getfixturevalue(kind)
    database = server.fresh_database()
    server.execute_all(*CASCADE, database=database)
    result = warned(await check(server, database))["cascading foreign keys"]
    if kind == "mariadb1011":
        assert result.found == "not known: this account sees 2 foreign keys and not what they do"
        server.execute_all(*statements(result.remedy))
        result = warned(await check(server, database))["cascading foreign keys"]
    assert result.found == f"1: fk of {database}.child"
    server.execute_all(*statements(result.remedy))
    results = await check(server, database)
    assert outcome(results, "cascading foreign keys") is Outcome.PASSED
    shown = server.execute(f"SHOW CREATE TABLE {database}.child")[0][1]
    assert "CONSTRAINT `fk` FOREIGN KEY (`a`, `b`) REFERENCES `parent` (`a`, `b`)" in shown
    assert "CASCADE" not in shown


async def test_cascades_that_a_newer_server_logs_unless_told_otherwise(
    server_factory: Callable[..., LiveServer],
) -> None:
    server = await asyncio.to_thread(server_factory, "mysql97", "--innodb-native-foreign-keys=ON")
    database = server.fresh_database()
    server.execute_all(*CASCADE, database=database)
    result = warned(await check(server, database))["cascading foreign keys"]
    await asyncio.to_thread(server.restart, *options(result.remedy))
    results = await check(server, database)
    assert "1, whose changes this server logs" in [result.found for result in results]


async def test_an_object_that_is_a_view(server: LiveServer) -> None:
    database = server.fresh_database()
    server.execute_all("CREATE TABLE t (id INT PRIMARY KEY)", "CREATE VIEW v AS SELECT * FROM t", database=database)
    assert warned(await check(server, f"{database}.t", f"{database}.v"))["views"].found == f"{database}.v"
    assert "views" not in warned(await check(server, database))


async def test_a_column_type_that_is_not_carried_over(mysql97: LiveServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every type of this server is; one less stands for a plugin's."""
    database = mysql97.fresh_database()
    mysql97.execute(f"CREATE TABLE {database}.t (id INT PRIMARY KEY, y YEAR)")
    rows = tuple(row for row in COLUMN_TYPES if "year" not in row.names)
    monkeypatch.setattr(check_tables, "COLUMN_TYPES", rows)
    assert warned(await check(mysql97, database))["column types"].found == f"{database}.t.y (year)"


# ---- what no server here is ----


Answers = dict[str, list[tuple[str | None, ...]]]


class ToldSource:
    """A server that answers as it is told: of versions and services that cannot be had."""

    queryable = True
    address = "mysql://repl@told:3306"

    def __init__(self, version: str, answers: Answers | None = None, **variables: str):
        self.info = ServerInfo(version, Flavour.MYSQL, 1, None, 0)
        self.variables = {"log_bin": "ON", "binlog_format": "ROW", "gtid_mode": "ON", **variables}
        self.answers = answers or {}

    async def connect(self) -> ServerInfo:
        return self.info

    async def query(self, sql: str) -> list[tuple[str | None, ...]]:
        if sql.startswith("SHOW GLOBAL VARIABLES"):
            return list(self.variables.items())
        if sql == "SELECT CURRENT_USER()":
            return [("repl@%",)]
        for start_of, rows in self.answers.items():
            if sql.startswith(start_of):
                return rows
        raise ServerRefusal(f"{sql} is refused", 1142)

    async def close(self) -> None:
        """Nothing is open."""


async def told(source: ToldSource, url: str = "mysql://repl:x@told") -> dict[str, CheckResult]:
    spec = ChannelSpec("c", "t", SourceAddress.parse(url), 4715, ("shop",))
    results = await precheck.run(source, spec)  # type: ignore[arg-type]
    return {result.name: result for result in results}


GRANTED: Answers = {"SHOW GRANTS": [("GRANT ALL PRIVILEGES ON *.* TO `repl`@`%`",)]}


@pytest.mark.parametrize(
    ("version", "comment", "expected"),
    [
        ("5.0.96-log", "MySQL Community Server (GPL)", Outcome.FAILED),
        ("5.1.73-log", "Source distribution", Outcome.PASSED),
        ("8.0.11-TiDB-v7.5.0", "TiDB Server (Apache License 2.0)", Outcome.WARNING),
        ("8.0.33", "Dolt", Outcome.WARNING),
        ("8.0.36-28", "Percona Server (GPL), Release 28", Outcome.PASSED),
        ("9.8.0", "MySQL Community Server - GPL", Outcome.WARNING),
    ],
)
async def test_versions(version: str, comment: str, expected: Outcome) -> None:
    items = await told(ToldSource(version, GRANTED, version_comment=comment))
    assert items["version"].outcome is expected
    assert version in items["version"].found


@pytest.mark.parametrize(
    ("comment", "found"),
    [
        ("(Debian)", "9.7.4-2 (Debian)"),
        ("MySQL Community Server (GPL)", "9.7.4-2 (MySQL Community Server (GPL))"),
        ("Percona", "9.7.4-2 (Percona)"),
        ("", "9.7.4-2"),
    ],
)
async def test_the_comment_of_a_version_keeps_its_brackets(comment: str, found: str) -> None:
    items = await told(ToldSource("9.7.4-2", GRANTED, version_comment=comment))
    assert items["version"].found == found


@pytest.mark.parametrize(("mode", "found"), [("", "gtid_mode = not there"), ("UUID", "gtid_mode = UUID")])
async def test_a_gtid_mode_that_is_not_known_is_told(mode: str, found: str) -> None:
    items = await told(ToldSource("8.0.33", GRANTED, gtid_mode=mode))
    assert (items["GTIDs"].outcome, items["GTIDs"].found) == (Outcome.WARNING, found)


async def test_polardb_writes_a_binlog_when_it_is_told_to() -> None:
    items = await told(ToldSource("8.0.13", GRANTED, log_bin="OFF"), "polardb://repl:x@told")
    result = items["binary logging"]
    assert result.outcome is Outcome.FAILED
    assert (result.remedy or "").startswith("loose_polar_log_bin = ON  # ")
    items = await told(ToldSource("8.0.13", GRANTED, log_bin="OFF", polardb_version="8.0.1"))
    assert items["binary logging"].remedy == result.remedy


async def test_a_binlog_inside_a_storage_engine_has_no_positions() -> None:
    items = await told(ToldSource("12.3.1-MariaDB", GRANTED, binlog_storage_engine="innodb"))
    assert items["binary logging"].outcome is Outcome.FAILED


@pytest.mark.parametrize(("value", "expected"), [("NO_LOCK", Outcome.FAILED), ("OFF", Outcome.PASSED)])
async def test_the_ways_of_mariadb_to_take_no_writes(value: str, expected: Outcome) -> None:
    answers: Answers = {**GRANTED, "SHOW SLAVE STATUS": [], "SHOW REPLICA STATUS": []}
    items = await told(ToldSource("12.0.2-MariaDB", answers, read_only=value))
    assert items["primary"].outcome is expected


@pytest.mark.parametrize(
    ("value", "expected", "text"),
    [(None, Outcome.WARNING, "as short as possible"), ("12", Outcome.WARNING, "12 h"), ("24", Outcome.PASSED, "24 h")],
)
async def test_retention_at_amazon_is_set_by_a_procedure(value: str | None, expected: Outcome, text: str) -> None:
    answers: Answers = {**GRANTED, "SELECT value FROM mysql.rds_configuration": [(value,)]}
    items = await told(ToldSource("8.0.40", answers, basedir="/rdsdbbin/mysql-8.0.40.R1/"))
    assert items["binlog retention"].outcome is expected
    assert items["binlog retention"].found.startswith(text)
    if expected is Outcome.WARNING:
        remedy = items["binlog retention"].remedy
        assert remedy == "CALL mysql.rds_set_configuration('binlog retention hours', 24);"


async def test_retention_at_amazon_that_the_account_may_not_see() -> None:
    items = await told(ToldSource("8.0.40", GRANTED, basedir="/rdsdbbin/mysql-8.0.40.R1/"))
    assert items["binlog retention"].found.startswith("not known: ")


@pytest.mark.parametrize("name", ["max_binlog_total_size", "binlog_space_limit", "max_binlog_files"])
async def test_a_binlog_that_is_deleted_by_size(name: str) -> None:
    items = await told(ToldSource("8.0.36-28", GRANTED, **{name: "1073741824"}))
    assert items["binlog retention"].outcome is Outcome.WARNING
    assert (items["binlog retention"].remedy or "").startswith(f"SET GLOBAL {name} = 0;")


# ---- objects, start, and a source that goes away ----


async def test_objects_and_server_id_and_start(server: LiveServer) -> None:
    database = server.fresh_database()
    results = failed(
        await check(server, database, f"{database}.nothing", "nowhere", server_id=1, start="binlog.000900:4")
    )
    assert set(results) == {"objects", "server_id", "start position"}
    assert f"{database}.nothing, nowhere" in results["objects"].found
    assert "server_id = 0" in (results["server_id"].remedy or "")
    assert "does not exist" in results["start position"].found
    assert set(failed(await check(server))) == {"objects"}


async def test_definitions_at_a_start_in_the_past(server: LiveServer, tmp_path: Path) -> None:
    """What a new channel would be refused for when it begins."""
    database = server.fresh_database()
    server.execute(f"CREATE TABLE {database}.t (id INT PRIMARY KEY)")
    start = "{}:{}".format(*server.binlog_position())
    results = found(await check(server, database, start=start), Outcome.PASSED)
    assert results["definitions"].found == f"those that held at {start} are known"
    server.execute(f"INSERT INTO {database}.t VALUES (1)")
    server.execute(f"ALTER TABLE {database}.t ADD x INT")
    (result,) = failed(await check(server, database, start=start)).values()
    assert (result.name, result.found.partition(", because ")[2]) == (
        "definitions",
        f"statements after it changed {database}.t",
    )
    assert (result.remedy or "").startswith('schema_file = "schema.sql"  # ')
    file = tmp_path / "schema.sql"
    file.write_text(f"CREATE TABLE {database}.t (id INT PRIMARY KEY)", "utf-8")
    assert not failed(await check(server, database, start=start, schema_file=str(file)))
    assert "definitions" not in {result.name for result in await check(server, database)}


async def test_definitions_far_in_the_past_are_left_to_the_start(
    mysql97: LiveServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = mysql97.fresh_database()
    mysql97.execute(f"CREATE TABLE {database}.t (id INT PRIMARY KEY)")
    monkeypatch.setattr(precheck, "GONE_THROUGH_BYTES_MAX", 100)
    results = found(await check(mysql97, database, start="earliest"), Outcome.PASSED)
    assert results["definitions"].found.startswith("not looked at: ")


async def test_a_source_that_cannot_be_reached(server: LiveServer) -> None:
    (result,) = await check(server, "d", url=server.url(password="wrong-one"))
    assert (result.name, result.outcome) == ("reachable", Outcome.FAILED)
    assert "denies access" in result.found
    assert "wrong-one" not in result.found


async def test_a_source_without_a_server_is_reachable_or_not() -> None:
    spec = ChannelSpec("c", "t", SourceAddress.parse("file:///x.1"), 1, ("d",))
    source = FedSource()
    (result,) = await precheck.run(source, spec)
    assert result.outcome is Outcome.PASSED


async def test_binlog_files(tmp_path: Path) -> None:
    demo = CHECKOUT / "broker/data/demo-shop.000001"

    async def look(**more: object) -> Sequence[CheckResult]:
        address = SourceAddress.parse(f"file://{demo}")
        keys = {"objects": ("shop",), "start": "earliest", **more}
        source = open_source(address, 1, CLOCK)
        try:
            return await precheck.run(source, ChannelSpec("c", "t", address, 1, **keys))  # type: ignore[arg-type]
        finally:
            await source.close()

    results = await look()
    assert failed(results) == warned(results) == {}
    assert [result.name for result in results] == ["reachable", *(item.name for item in precheck.FILE_ITEMS)]
    assert results[1].found.startswith(f"1 from demo-shop.000001 on, {demo.stat().st_size:,} bytes, written by 9.7")
    result = failed(await look(start="demo-shop.000009:4"))["start position"]
    assert (result.remedy or "").startswith('start = "earliest"')
    assert set(failed(await look(objects=()))) == {"binlog files"}
    definitions = tmp_path / "schema.sql"
    assert "cannot be read" in failed(await look(schema_file=str(definitions)))["schema_file"].found
    definitions.write_text("CREATE TABLE shop.t (id INT, ;", "utf-8")
    assert "line 1" in failed(await look(schema_file=str(definitions)))["schema_file"].found
    definitions.write_text("CREATE DATABASE shop; USE shop; CREATE TABLE t (id INT);", "utf-8")
    assert failed(await look(schema_file=str(definitions))) == {}


async def test_binlog_files_that_lack_the_place_where_a_channel_goes_on() -> None:
    demo = CHECKOUT / "broker/data/demo-shop.000001"
    address = SourceAddress.parse(f"file://{demo}")
    spec = ChannelSpec("c", "t", address, 1, ("shop",))

    async def look(position: BinlogPosition) -> CheckResult:
        async with asyncio.timeout(WAIT_S):
            source = open_source(address, 1, CLOCK)
            try:
                info = await source.connect()
                results = await precheck.run(source, spec, point_at(info, position, GtidSet()))
            finally:
                await source.close()
        return next(result for result in results if result.name == "start position")

    assert (await look(BinlogPosition("demo-shop.000001", 4))).outcome is Outcome.PASSED
    result = await look(BinlogPosition("demo-shop.000007", 4))
    assert result.outcome is Outcome.FAILED
    assert result.found.endswith("none of the files, which go from demo-shop.000001 to demo-shop.000001")
    assert (result.remedy or "").startswith("-- name the files from demo-shop.000007 on ")


async def test_a_channel_begins_only_when_everything_is_in_order(tmp_path: Path, mysql97: LiveServer) -> None:
    world = World(tmp_path, CLOCK)
    url = mysql97.url()
    database = mysql97.fresh_database()

    def source() -> object:
        return open_source(SourceAddress.parse(url), 4715, CLOCK)

    channel = world.channel(source, database, url=url, start="now")  # type: ignore[arg-type]
    states: list[State] = []
    channel.subscribe(lambda: states.append(channel.status().state))
    with mysql97.global_variable("binlog_format", "MIXED"):
        async with running(channel, State.ERROR):
            reason = (await channel.wait_ended()).reason
    assert reason is not None
    assert reason.startswith(f"precheck of mysql://repl@127.0.0.1:{mysql97.port} failed: binlog_format: ")
    assert "SET GLOBAL binlog_format = ROW" in reason
    async with running(channel):
        assert states[-4:] == [State.NOT_STARTED, State.PRECHECKING, State.INITIAL, State.NORMAL]
    await world.close()


async def test_a_source_that_goes_away_while_its_start_is_looked_up_is_tried_again(
    tmp_path: Path, mysql97: LiveServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says nothing about the start: a channel that waited for somebody would wait for nothing."""
    world = World(tmp_path, CLOCK)
    url = mysql97.url()
    failures = [SourceUnavailable("the source is gone")]

    async def resolve_start(*arguments: object) -> object:
        if failures:
            raise failures.pop()
        return await start.resolve_start(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr("capture.precheck.resolve_start", resolve_start)
    channel = world.channel(
        lambda: open_source(SourceAddress.parse(url), 4715, CLOCK), mysql97.fresh_database(), url=url, start="now"
    )
    async with running(channel, State.ERROR):
        status = channel.status()
        assert status.reason == "the source is gone"
        assert status.retried_until_ms is not None
        assert (await channel.wait_for(State.NORMAL)).reason is None
    await world.close()


async def test_a_new_channel_on_a_replica_begins_only_if_it_may(tmp_path: Path, mysql97: LiveServer) -> None:
    """The same items at the start as on the command line: what failed stops it, what warns is logged."""
    database = mysql97.fresh_database()
    mysql97.execute(f"CREATE TABLE {database}.nothing (x INT)")
    url = mysql97.url()
    source = partial(open_source, SourceAddress.parse(url), 4715, CLOCK)
    world = World(tmp_path, CLOCK)
    with mysql97.global_variable("read_only", "ON"):
        refused = world.channel(source, database, url=url, start="now")
        async with running(refused, State.ERROR):
            reason = (await refused.wait_ended()).reason
        assert reason == (
            f"precheck of mysql://repl@127.0.0.1:{mysql97.port} failed: primary: read_only = ON; "
            "allow_replica = true  # in this channel's [[channels]], or name the primary in source"
        )
        async with running(world.channel(source, database, url=url, start="now", allow_replica=True)):
            pass
    await world.close()


async def test_warnings_are_told_when_a_new_channel_begins(
    tmp_path: Path, mysql97: LiveServer, caplog: pytest.LogCaptureFixture
) -> None:
    database = mysql97.fresh_database()
    mysql97.execute(f"CREATE TABLE {database}.nothing (x INT)")
    url = mysql97.url()
    world = World(tmp_path, CLOCK)
    channel = world.channel(partial(open_source, SourceAddress.parse(url), 4715, CLOCK), database, url=url, start="now")
    async with running(channel):
        told = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert [text for text in told if text.startswith(f"keys: 1 of 1: {database}.nothing; ")]
    await world.close()
