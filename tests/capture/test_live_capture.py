"""Live capture on real servers, held against what was written there and mysql-replication's reading of the binlog."""

from __future__ import annotations

import asyncio
import warnings
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from pymysql.err import IntegrityError
from pymysqlreplication import BinLogStreamReader
from pymysqlreplication.event import QueryEvent, XidEvent
from pymysqlreplication.row_event import DeleteRowsEvent, UpdateRowsEvent, WriteRowsEvent

from capture.channel import State
from capture.source import SourceAddress, open_source
from storage.clock import SystemClock
from tests.capture.world import WAIT_S, StoredRecord, World, running, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from pathlib import Path

    from capture.channel import Channel, ChannelStatus
    from capture.source import Source
    from tests.live_server import LiveServer

CLOCK = SystemClock()
ROW_EVENTS = {WriteRowsEvent: "INSERT", UpdateRowsEvent: "UPDATE", DeleteRowsEvent: "DELETE"}


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path, CLOCK)
    yield made
    await made.close()


def factory(server: LiveServer, url: str | None = None) -> Callable[[], Source]:
    address = SourceAddress.parse(url or server.url())
    return lambda: open_source(address, 4711, CLOCK, identity="live-test")


def live(world: World, server: LiveServer, *objects: str, url: str | None = None, **more: Any) -> Channel:
    return world.channel(factory(server, url), *objects, url=url or server.url(), **{"start": "now", **more})


async def run(server: LiveServer, *statements: str) -> None:
    """Statements on the server, without holding the loop."""
    for sql in statements:
        await asyncio.to_thread(server.execute, sql)


async def caught_up(world: World, server: LiveServer, channel: Channel) -> None:
    """Wait until everything the server has written so far is visible."""
    file, position = await asyncio.to_thread(server.binlog_position)
    number = int(file.rpartition(".")[2])

    def reached() -> bool:
        found = world.log.recovered
        return found is not None and (found.file_number, found.position) >= (number, position)

    await until(world, reached)


async def needs_action(channel: Channel) -> ChannelStatus:
    async with asyncio.timeout(WAIT_S):
        status = await channel.wait_ended()
    assert status.state is State.ERROR
    assert status.retried_until_ms is None
    return status


def rows_of(records: Sequence[StoredRecord]) -> list[StoredRecord]:
    return [record for record in records if record.operation in ("INSERT", "UPDATE", "DELETE")]


def independent_reading(server: LiveServer, database: str, file: str, position: int) -> list[tuple[str, str, int]]:
    """(operation, table, end position) of each row of the binlog from a position on; transactions' ends as COMMIT."""
    reader = BinLogStreamReader(
        connection_settings={
            "host": server.host,
            "port": server.port,
            "user": server.root_user,
            "passwd": server.root_password,
            "charset": "utf8mb4",
        },
        server_id=4712,
        log_file=file,
        log_pos=position,
        resume_stream=True,
        blocking=False,
        only_events=[*ROW_EVENTS, QueryEvent, XidEvent],
        ignore_decode_errors=True,
    )
    found = []
    with warnings.catch_warnings(), closing(reader):
        warnings.simplefilter("ignore")  # the reader uses what PyMySQL has deprecated
        for event in reader:
            operation = ROW_EVENTS.get(type(event))
            if operation is not None and event.schema == database:
                found += [(operation, event.table, event.packet.log_pos)] * len(event.rows)
            elif isinstance(event, XidEvent) or (isinstance(event, QueryEvent) and event.query == "COMMIT"):
                found.append(("COMMIT", "", event.packet.log_pos))
    return found


def as_read(records: Sequence[StoredRecord]) -> list[tuple[str, str, int]]:
    """The same of captured records."""
    return [
        (
            record.operation,
            (record.fields["objectName"] or ".").partition(".")[2],
            int(record.fields["sourcePosition"].partition("@")[0]),
        )
        for record in records
        if record.operation in ("INSERT", "UPDATE", "DELETE", "COMMIT")
    ]


# ---- values ----

COLUMNS: tuple[tuple[str, dict[str, Any]], ...] = (
    (
        "BIGINT",
        {"-9223372036854775808": (8, "-9223372036854775808"), "9223372036854775807": (8, "9223372036854775807")},
    ),
    ("BIGINT UNSIGNED", {"0": (8, "0"), "18446744073709551615": (8, "18446744073709551615")}),
    ("INT", {"-2147483648": (4, "-2147483648"), "2147483647": (4, "2147483647")}),
    ("INT UNSIGNED", {"4294967295": (4, "4294967295"), "0": (4, "0")}),
    ("TINYINT", {"-128": (1, "-128"), "127": (1, "127")}),
    ("TINYINT UNSIGNED", {"255": (1, "255"), "128": (1, "128")}),
    ("DECIMAL(20,6)", {"-99999999999999.999999": "-99999999999999.999999", "0.5": "0.500000"}),
    ("VARCHAR(40) CHARACTER SET utf8mb4", {"'订单 🚚'": ("utf8mb4", "订单 🚚".encode()), "''": ("utf8mb4", b"")}),
    ("VARCHAR(40) CHARACTER SET gbk", {"'订单'": ("gbk", "订单".encode("gbk")), "'a'": ("gbk", b"a")}),
    ("VARCHAR(300) CHARACTER SET latin1", {"'Größe'": ("latin1", "Größe".encode("latin-1")), "' '": ("latin1", b" ")}),
    ("TEXT CHARACTER SET utf8mb4", {"REPEAT('茶', 900)": ("utf8mb4", "茶".encode() * 900), "'x'": ("utf8mb4", b"x")}),
    ("TEXT CHARACTER SET gbk", {"'茶'": ("gbk", "茶".encode("gbk")), "'y'": ("gbk", b"y")}),
    ("TEXT CHARACTER SET latin1", {"'é'": ("latin1", b"\xe9"), "'z'": ("latin1", b"z")}),
    (
        "DATETIME",
        {"'1000-01-01 00:00:00'": (1000, 1, 1, 0, 0, 0, 0), "'9999-12-31 23:59:59'": (9999, 12, 31, 23, 59, 59, 0)},
    ),
    (
        "DATETIME(6)",
        {
            "'2024-02-29 12:34:56.789012'": (2024, 2, 29, 12, 34, 56, 789012),
            "'2000-01-01 00:00:00.000001'": (2000, 1, 1, 0, 0, 0, 1),
        },
    ),
    ("TIMESTAMP NULL", {"'1970-01-01 00:00:01'": (1, 0), "'2038-01-19 03:14:07'": (2147483647, 0)}),
    ("TIMESTAMP(3) NULL", {"'2024-02-29 12:34:56.789'": (1709210096, 789000), "'2001-09-09 01:46:40'": (10**9, 0)}),
)
"""Column type, and for each SQL literal what its cell must say."""


def said(cell: dict[str, Any] | None) -> Any:
    """A cell in the form of COLUMNS."""
    if cell is None:
        return None
    kind = cell["class"]
    if kind == "Integer":
        return cell["precision"], cell["value"]
    if kind == "Decimal":
        return cell["value"]
    if kind == "Character":
        return cell["charset"], cell["value"]
    if kind == "Timestamp":
        return cell["timestamp"], cell["millis"]
    assert kind == "DateTime"
    return tuple(cell[name] for name in ("year", "month", "day", "hour", "minute", "second", "millis"))


async def test_values_arrive_as_they_were_written(world: World, server: LiveServer) -> None:
    database = server.fresh_database()
    columns = ", ".join(f"c{number} {kind}" for number, (kind, _) in enumerate(COLUMNS))
    await run(server, f"CREATE TABLE {database}.t (id INT PRIMARY KEY, {columns})", "SET time_zone = '+00:00'")
    first, second = ([list(values)[index] for _, values in COLUMNS] for index in (0, 1))
    assignments = ", ".join(f"c{number} = {literal}" for number, literal in enumerate(second))
    async with running(live(world, server, database)) as channel:
        await run(
            server,
            f"INSERT INTO {database}.t VALUES (1, {', '.join(first)})",
            f"UPDATE {database}.t SET {assignments}",
            f"INSERT INTO {database}.t (id) VALUES (2)",
            f"DELETE FROM {database}.t WHERE id = 1",
        )
        await caught_up(world, server, channel)
    insert, update, empty, delete = (record.fields for record in rows_of(world.records()))
    expected_first, expected_second = ([list(values.values())[index] for _, values in COLUMNS] for index in (0, 1))
    assert [said(cell) for cell in insert["afterImages"][1:]] == expected_first
    assert [said(cell) for cell in update["beforeImages"][1:]] == expected_first
    assert [said(cell) for cell in update["afterImages"][1:]] == expected_second
    assert empty["afterImages"][1:] == [None] * len(COLUMNS)
    assert [said(cell) for cell in delete["beforeImages"][1:]] == expected_second
    assert delete["afterImages"] is None
    assert insert["source"]["version"] == server.version


# ---- structure ----


async def test_records_are_those_of_the_binlog(world: World, server: LiveServer) -> None:
    """Small, mixed, empty, rolled back and non-transactional transactions, against the independent reading."""
    database = server.fresh_database()
    await run(
        server,
        f"CREATE TABLE {database}.a (id INT PRIMARY KEY, v INT) ENGINE=InnoDB",
        f"CREATE TABLE {database}.b (id INT PRIMARY KEY, v INT) ENGINE=InnoDB",
        f"CREATE TABLE {database}.m (id INT PRIMARY KEY) ENGINE=MyISAM",
        f"CREATE TABLE {database}.untracked (id INT PRIMARY KEY) ENGINE=InnoDB",
    )
    file, position = server.binlog_position()
    objects = [f"{database}.{table}" for table in ("a", "b", "m")]
    async with running(live(world, server, *objects)) as channel:
        await run(
            server,
            f"INSERT INTO {database}.a VALUES (1,1),(2,2),(3,3)",
            f"INSERT INTO {database}.untracked VALUES (1)",
            "START TRANSACTION",
            f"INSERT INTO {database}.b SELECT * FROM {database}.a",
            f"UPDATE {database}.a JOIN {database}.b USING (id) SET a.v = 9, b.v = 8 WHERE a.id > 1",
            "SAVEPOINT s1",
            f"DELETE FROM {database}.a",
            "ROLLBACK TO SAVEPOINT s1",
            f"INSERT INTO {database}.untracked VALUES (2)",
            "COMMIT",
            "START TRANSACTION",
            f"DELETE FROM {database}.b",
            "ROLLBACK",
            f"INSERT INTO {database}.m VALUES (1),(2)",
            "START TRANSACTION",
            f"INSERT INTO {database}.m VALUES (3)",
            f"INSERT INTO {database}.a VALUES (7,7)",
            "ROLLBACK",
            f"DELETE FROM {database}.a WHERE id < 3",
        )
        await caught_up(world, server, channel)
    reading = await asyncio.to_thread(independent_reading, server, database, file, position)
    expected = [item for item in reading if item[1] != "untracked"]
    assert as_read(world.records()) == expected
    operations = world.operations()
    assert operations.count("BEGIN") == operations.count("COMMIT") == [item[0] for item in expected].count("COMMIT")
    join = [record for record in rows_of(world.records()) if record.operation == "UPDATE"]
    assert len({record.fields["safeSourcePosition"] for record in join}) == 1, "first TABLE_MAP of the statement"
    assert len({record.fields["objectName"] for record in join}) == 2


async def test_definitions_follow_ddl(world: World, server: LiveServer) -> None:
    """After each statement a row is inserted; its fields must be the columns that the server has then."""
    database = server.fresh_database()
    await run(server, f"USE {database}", "CREATE TABLE t (id INT PRIMARY KEY, a VARCHAR(10))")
    steps = (
        ("ALTER TABLE t ADD COLUMN b INT FIRST, ADD c TEXT AFTER id", "t"),
        ("ALTER TABLE t CHANGE a renamed VARCHAR(20) CHARACTER SET gbk", "t"),
        ("ALTER TABLE t MODIFY b BIGINT UNSIGNED AFTER renamed", "t"),
        ("ALTER TABLE t DROP COLUMN c", "t"),
        ("CREATE TABLE copy LIKE t", "copy"),
        ("RENAME TABLE t TO t_old, copy TO t", "t"),
        ("ALTER TABLE t_old CONVERT TO CHARACTER SET latin1", "t_old"),
        ("CREATE UNIQUE INDEX u ON t (renamed)", "t"),
        ("TRUNCATE TABLE t", "t"),
        ("ALTER TABLE t RENAME TO again", "again"),
        ("DROP TABLE IF EXISTS t_old, t_older", "again"),
        ("CREATE TABLE t (id INT PRIMARY KEY, n TINYINT, d DECIMAL(6,3) DEFAULT 1.5)", "t"),
    )
    expected = []
    async with running(live(world, server, database)) as channel:
        for number, (statement, table) in enumerate(steps):
            await run(server, statement, f"INSERT INTO {table} (id) VALUES ({100 + number})")
            columns = await asyncio.to_thread(server.execute, f"SHOW COLUMNS FROM {table}")
            expected.append((f"{database}.{table}", [row[0] for row in columns]))
        await caught_up(world, server, channel)
    records = world.records()
    rows = [record.fields for record in rows_of(records)]
    assert [(row["objectName"], [field["name"] for field in row["fields"]]) for row in rows] == expected
    ids = [
        [cell["value"] for cell in row["afterImages"] if cell and cell["value"] == str(100 + n)]
        for n, row in enumerate(rows)
    ]
    assert ids == [[str(100 + number)] for number in range(len(steps))]
    ddl = [record.fields["afterImages"] for record in records if record.operation == "DDL"]
    normalized = [" ".join(text.replace("`", "").replace(" /* generated by server */", "").split()) for text in ddl]
    assert [text.replace(",t_older", ", t_older") for text in normalized] == [statement for statement, _ in steps]
    versions = [record.tags["metaVersion"] for record in rows_of(records) if record.fields["objectName"].endswith(".t")]
    assert len(set(versions[:4])) == 4


async def test_an_alter_in_two_phases_counts_when_it_is_committed(
    world: World, server_factory: Callable[..., LiveServer]
) -> None:
    server = await asyncio.to_thread(server_factory, "mariadb1011", "--binlog-alter-two-phase=ON")
    database = server.fresh_database()
    await run(server, f"USE {database}", "CREATE TABLE t (id INT PRIMARY KEY, a INT)")
    async with running(live(world, server, database)) as channel:
        await run(server, "INSERT INTO t VALUES (1, 7), (2, 7)", "ALTER TABLE t ADD b INT FIRST")
        with pytest.raises(IntegrityError):
            await run(server, "ALTER TABLE t ADD UNIQUE u (a), ADD c INT")
        await run(server, "INSERT INTO t VALUES (5, 6, 7)")
        await caught_up(world, server, channel)
    ddl = [record.fields["afterImages"] for record in world.records() if record.operation == "DDL"]
    assert ddl == ["ALTER TABLE t ADD b INT FIRST"]
    last = rows_of(world.records())[-1].fields
    assert [field["name"] for field in last["fields"]] == ["b", "id", "a"]


async def test_a_sessions_way_with_timestamps_decides_their_definition(world: World, mariadb1011: LiveServer) -> None:
    """The table is changed again before its row is read, so that reading it again would prove nothing."""
    server, database = mariadb1011, mariadb1011.fresh_database()
    file, position = server.binlog_position()
    connection = await asyncio.to_thread(server.connect, database=database)
    with closing(connection), connection.cursor() as cursor:
        cursor.execute("SET explicit_defaults_for_timestamp = OFF")
        cursor.execute("CREATE TABLE t (id INT PRIMARY KEY, moment TIMESTAMP)")
        cursor.execute("INSERT INTO t (id) VALUES (1)")
        cursor.execute("ALTER TABLE t ADD c INT")
    async with running(live(world, server, database, start=f"{file}:{position}")) as channel:
        await caught_up(world, server, channel)
    assert world.operations() == ["DDL", "BEGIN", "INSERT", "COMMIT", "DDL"]


async def test_a_large_transaction_is_visible_only_when_it_ended(world: World, server: LiveServer) -> None:
    database = server.fresh_database()
    await run(
        server,
        f"CREATE TABLE {database}.t (id INT PRIMARY KEY AUTO_INCREMENT, v VARCHAR(200))",
        f"CREATE TABLE {database}.digits (d INT PRIMARY KEY)",
        f"INSERT INTO {database}.digits VALUES (0),(1),(2),(3),(4),(5),(6),(7),(8),(9)",
    )
    file, position = server.binlog_position()
    seen: list[int] = []
    end = world.log.subscribe(lambda: seen.append(world.log.high_watermark))
    tables = ", ".join(f"{database}.digits d{number}" for number in range(4))
    async with running(live(world, server, f"{database}.t")) as channel:
        await run(
            server,
            "START TRANSACTION",
            f"INSERT INTO {database}.t (v) SELECT REPEAT('x', 150) FROM {tables}",
            f"UPDATE {database}.t SET v = 'y'",
            "COMMIT",
            f"INSERT INTO {database}.t (v) VALUES ('after')",
        )
        await caught_up(world, server, channel)
    end()
    reading = await asyncio.to_thread(independent_reading, server, database, file, position)
    captured = as_read(world.records())
    differs = next((pair for pair in zip(captured, reading, strict=False) if pair[0] != pair[1]), None)
    assert (differs, len(captured)) == (None, len(reading)), "compared item by item: a diff of 20,000 takes minutes"
    assert len(reading) == 20_000 + 1 + 2
    ends_of_transactions = {
        record.offset + 1
        for record in world.records(heartbeats=True)
        if record.operation in ("COMMIT", "HEARTBEAT", "DDL")
    }
    assert set(seen) <= ends_of_transactions, "only whole transactions ever became visible"


# ---- cuts ----


async def kill_dumps(server: LiveServer) -> int:
    rows = await asyncio.to_thread(server.execute, "SHOW PROCESSLIST")
    dumps = [row[0] for row in rows if str(row[4]).startswith("Binlog Dump")]
    for thread in dumps:
        await run(server, f"KILL {thread}")
    return len(dumps)


async def test_a_killed_dump_is_taken_up_again(world: World, server: LiveServer) -> None:
    database = server.fresh_database()
    await run(server, f"CREATE TABLE {database}.t (id INT PRIMARY KEY)")
    file, position = server.binlog_position()
    channel = live(world, server, database)
    reasons: list[str | None] = []
    channel.subscribe(lambda: reasons.append(channel.status().reason))
    async with running(channel):
        for round_ in range(3):
            values = ",".join(f"({round_ * 1000 + number})" for number in range(500))
            await run(server, f"INSERT INTO {database}.t VALUES {values}")
            while not await kill_dumps(server):
                """The server has not begun the dump it was asked for."""
            async with asyncio.timeout(WAIT_S):
                await channel.wait_for(State.ERROR)
                assert channel.status().retried_until_ms is not None
                await channel.wait_for(State.NORMAL)
        await caught_up(world, server, channel)
    reading = await asyncio.to_thread(independent_reading, server, database, file, position)
    assert as_read(world.records()) == reading
    assert any("ended the binlog stream" in (reason or "") or "cut" in (reason or "") for reason in reasons)


# MySQL takes nine seconds to end in order while somebody reads its binlog.
@pytest.mark.parametrize("kind", ["mysql97", pytest.param("mysql56", marks=pytest.mark.torture), "mariadb1011"])
async def test_a_server_that_restarts_is_followed_into_its_next_file(
    world: World, kind: str, server_factory: Callable[..., LiveServer]
) -> None:
    server = await asyncio.to_thread(server_factory, kind)
    database = server.fresh_database()
    await run(server, f"CREATE TABLE {database}.t (id INT PRIMARY KEY)")
    channel = live(world, server, database)
    async with running(channel):
        await run(server, f"INSERT INTO {database}.t VALUES (1)")
        await caught_up(world, server, channel)
        await asyncio.to_thread(server.restart)
        await run(server, f"INSERT INTO {database}.t VALUES (2)")
        await caught_up(world, server, channel)
        assert channel.status().state is State.NORMAL
    files = [record.fields["sourcePosition"].partition("@")[2] for record in rows_of(world.records())]
    assert files == ["1", "2"]


async def test_a_log_goes_on_after_every_kind_of_stop(tmp_path: Path, server: LiveServer) -> None:
    database = server.fresh_database()
    await run(server, f"CREATE TABLE {database}.t (id INT PRIMARY KEY)")
    file, position = server.binlog_position()
    for round_ in range(4):
        world = World(tmp_path, CLOCK)
        async with running(live(world, server, database)) as channel:
            await run(
                server,
                f"INSERT INTO {database}.t (id) VALUES ({round_})",
                f"ALTER TABLE {database}.t ADD c{round_} INT",
            )
            await caught_up(world, server, channel)
        await run(server, f"INSERT INTO {database}.t (id) VALUES ({100 + round_})")
        await world.close(orderly=round_ % 2 == 0)
    world = World(tmp_path, CLOCK)
    async with running(live(world, server, database)) as channel:
        await caught_up(world, server, channel)
    reading = await asyncio.to_thread(independent_reading, server, database, file, position)
    assert as_read(world.records()) == reading
    assert [len(record.fields["fields"]) for record in rows_of(world.records())] == [1, 2, 2, 3, 3, 4, 4, 5]
    await world.close()


async def test_a_transaction_that_waits_for_a_replica_is_not_lost(
    world: World, server_factory: Callable[..., LiveServer]
) -> None:
    """Semi-synchronous replication: the binlog has a transaction, and gives it out, before it is executed."""
    server = await asyncio.to_thread(server_factory, "mysql97")
    database = server.fresh_database()
    await run(
        server,
        f"CREATE TABLE {database}.t (id INT PRIMARY KEY)",
        "INSTALL PLUGIN rpl_semi_sync_source SONAME 'semisync_source.so'",
        "SET GLOBAL rpl_semi_sync_source_timeout = 3600000",
        "SET GLOBAL rpl_semi_sync_source_enabled = ON",
    )
    connection = await asyncio.to_thread(server.connect)
    with closing(connection), connection.cursor() as cursor:
        async with running(live(world, server, database)) as channel:
            waiting = asyncio.create_task(asyncio.to_thread(cursor.execute, f"INSERT INTO {database}.t VALUES (1)"))
            await until(world, lambda: world.operations() == ["BEGIN", "INSERT", "COMMIT"])
            while not await kill_dumps(server):
                """The server has not begun the dump it was asked for."""
            async with asyncio.timeout(WAIT_S):
                await channel.wait_for(State.ERROR)
                status = await channel.wait_for(State.NORMAL)
            assert not waiting.done()
            await run(server, "SET GLOBAL rpl_semi_sync_source_enabled = OFF")
            await waiting
            await run(server, f"INSERT INTO {database}.t VALUES (2)")
            await caught_up(world, server, channel)
            assert status.reconnects == 1
    assert world.operations() == ["BEGIN", "INSERT", "COMMIT"] * 2


# ---- stops ----


async def test_rows_logged_as_a_statement_stop_the_channel(world: World, server: LiveServer) -> None:
    database = server.fresh_database()
    await run(server, f"CREATE TABLE {database}.t (id INT PRIMARY KEY)")
    channel = live(world, server, database)
    async with running(channel):
        await run(server, f"INSERT INTO {database}.t VALUES (1)")
        connection = await asyncio.to_thread(server.connect)
        with closing(connection), connection.cursor() as cursor:
            cursor.execute("SET SESSION binlog_format = STATEMENT")
            cursor.execute(f"INSERT INTO {database}.t VALUES (2)")
        status = await needs_action(channel)
    assert status.reason is not None
    assert f"'INSERT INTO {database}.t VALUES (2)'" in status.reason
    assert "logged as a statement" in status.reason
    assert world.operations() == ["BEGIN", "INSERT", "COMMIT"], "what came before is visible, nothing of it after"


async def test_a_minimal_row_image_stops_the_channel(world: World, server: LiveServer) -> None:
    database = server.fresh_database()
    await run(server, f"CREATE TABLE {database}.t (id INT PRIMARY KEY, a INT, b INT)")
    channel = live(world, server, database)
    async with running(channel):
        connection = await asyncio.to_thread(server.connect)
        with closing(connection), connection.cursor() as cursor:
            cursor.execute(f"INSERT INTO {database}.t VALUES (1, 1, 1)")
            cursor.execute("SET SESSION binlog_row_image = MINIMAL")
            cursor.execute(f"UPDATE {database}.t SET a = 2")
        status = await needs_action(channel)
    assert status.reason is not None
    assert "binlog_row_image" in status.reason
    assert f"{database}.t" in status.reason
    assert world.operations() == ["BEGIN", "INSERT", "COMMIT"]


async def test_an_unsupported_column_stops_the_channel_only_where_it_is_tracked(
    world: World, mysql97: LiveServer
) -> None:
    """A label that is no text: of all columns that servers have today the one that a record cannot hold."""
    server, database = mysql97, mysql97.fresh_database()
    odd = "ENUM('a', x'FF') CHARACTER SET binary"
    await run(
        server,
        f"CREATE TABLE {database}.ok (id INT PRIMARY KEY)",
        f"CREATE TABLE {database}.untracked (id INT PRIMARY KEY, odd {odd})",
        f"CREATE TABLE {database}.tracked (id INT PRIMARY KEY, odd {odd})",
    )
    channel = live(world, server, f"{database}.ok", f"{database}.tracked")
    async with running(channel):
        await run(
            server,
            f"INSERT INTO {database}.untracked VALUES (1, NULL)",
            f"INSERT INTO {database}.ok VALUES (1)",
            f"INSERT INTO {database}.tracked VALUES (1, NULL)",
        )
        status = await needs_action(channel)
    assert status.reason is not None
    assert f"Column odd of {database}.tracked has the label x'ff', which is no text" in status.reason
    assert f"{database}.tracked" in status.reason
    assert world.operations() == ["BEGIN", "COMMIT", "BEGIN", "INSERT", "COMMIT"]


async def test_a_change_without_a_statement_is_read_again_or_stops(world: World, server: LiveServer) -> None:
    """ALTER TABLE that is not in the binlog: the server's definition is proven to hold, or the channel stops."""
    database = server.fresh_database()
    await run(server, f"CREATE TABLE {database}.t (id INT PRIMARY KEY)")
    channel = live(world, server, database)
    async with running(channel):
        await run(
            server,
            f"INSERT INTO {database}.t VALUES (1)",
            "SET sql_log_bin = 0",
            f"ALTER TABLE {database}.t ADD COLUMN hidden BIGINT UNSIGNED DEFAULT 7",
            "SET sql_log_bin = 1",
            f"INSERT INTO {database}.t (id) VALUES (2)",
        )
        await caught_up(world, server, channel)
        first, second = rows_of(world.records())
        assert [field["name"] for field in second.fields["fields"]] == ["id", "hidden"]
        assert second.fields["afterImages"][1]["value"] == "7"
        assert first.tags["metaVersion"] != second.tags["metaVersion"]
    await run(
        server,
        "SET sql_log_bin = 0",
        f"ALTER TABLE {database}.t ADD COLUMN another INT",
        "SET sql_log_bin = 1",
        f"INSERT INTO {database}.t (id) VALUES (3)",
        f"ALTER TABLE {database}.t ADD COLUMN last INT",
    )
    async with running(channel, State.NORMAL, State.ERROR):
        status = await needs_action(channel)
    assert status.reason is not None
    assert f"{database}.t" in status.reason
    assert "changed again" in status.reason
    assert len(rows_of(world.records())) == 2


async def test_names_in_another_case_are_the_same_table_where_the_server_says_so(
    world: World, server_factory: Callable[..., LiveServer]
) -> None:
    """The row is that of a table which was replaced since: today's column names are not its own."""
    server = await asyncio.to_thread(server_factory, "mariadb1011", "--lower-case-table-names=1")
    database = server.fresh_database()
    await run(server, f"USE {database}", "CREATE TABLE t (id INT PRIMARY KEY, a INT)")
    file, position = server.binlog_position()
    await run(
        server,
        "INSERT INTO t VALUES (1, 1)",
        "CREATE OR REPLACE TABLE T (id INT PRIMARY KEY, something_else INT)",
    )
    channel = live(world, server, database, start=f"{file}:{position}")
    async with running(channel, State.ERROR):
        status = await needs_action(channel)
    assert f"statements after it changed {database}.t;" in (status.reason or "")
    assert rows_of(world.records()) == []


async def test_a_purged_position_stops_with_the_numbers(tmp_path: Path, server: LiveServer) -> None:
    database = server.fresh_database()
    await run(server, f"CREATE TABLE {database}.t (id INT PRIMARY KEY)")
    world = World(tmp_path, CLOCK)
    async with running(live(world, server, database)) as channel:
        await run(server, f"INSERT INTO {database}.t VALUES (1)")
        await caught_up(world, server, channel)
    file, _ = server.binlog_position()
    await run(server, "FLUSH BINARY LOGS", f"INSERT INTO {database}.t VALUES (2)", "FLUSH BINARY LOGS")
    newest = server.binlog_files()[-1][0]
    await kill_dumps(server)  # MariaDB keeps what a dump it has not found dead yet may need
    while server.binlog_files()[0][0] != newest:
        await run(server, f"PURGE BINARY LOGS TO '{newest}'")
    channel = live(world, server, database)
    async with running(channel, State.ERROR):
        status = await needs_action(channel)
    assert status.reason is not None
    assert f"the binlog file {file} was purged" in status.reason
    assert newest in status.reason
    await world.close()


async def test_another_server_stops_the_channel(tmp_path: Path, mysql97: LiveServer, mysql56: LiveServer) -> None:
    database = mysql97.fresh_database()
    await run(mysql97, f"CREATE TABLE {database}.t (id INT PRIMARY KEY)")
    await run(mysql56, f"CREATE DATABASE {database}")
    world = World(tmp_path, CLOCK)
    async with running(live(world, mysql97, database)) as channel:
        await run(mysql97, f"INSERT INTO {database}.t VALUES (1)")
        await caught_up(world, mysql97, channel)
    channel = live(world, mysql56, database)
    async with running(channel, State.ERROR):
        status = await needs_action(channel)
    assert status.reason is not None
    assert "another server" in status.reason
    assert mysql97.execute("SELECT @@server_uuid")[0][0] in status.reason
    await world.close()
