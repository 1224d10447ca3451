"""Events beyond plain rows as real servers write them: XA, compressed transactions and events, switched checksums."""

from __future__ import annotations

import asyncio
import itertools
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from capture.channel import State
from capture.dialect import Dialect
from capture.errors import UnsupportedEvent
from capture.events import EventDecoder, iter_events
from capture.mysql_source import MysqlSource
from capture.position import BinlogPosition
from capture.source import SourceAddress
from capture.transactions import BinlogWalker, StepKind
from storage.clock import SystemClock
from storage.files import Files
from storage.prepared_file import prepared_paths
from tests.capture.test_live_capture import caught_up, live, needs_action, rows_of, run
from tests.capture.test_live_login import MARIADB_PLUGINS
from tests.capture.world import World, running
from tests.tools import debian
from tests.tools.server_builds import CORE_KINDS
from tests.tools.workplace import SERVERS_DIRECTORY, ToolError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from tests.capture.world import StoredRecord
    from tests.live_server import LiveServer

CLOCK = SystemClock()
XAER_NOTA = 1397
LOGS_PREPARE = ("mysql97", "mariadb1011", "mariadb105", "mariadb118")
"""Servers that log XA PREPARE; MySQL 5.6 logs such transactions when they are committed."""


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path, CLOCK)
    yield made
    await made.close()


def marks(kind: str) -> list[pytest.MarkDecorator]:
    return [pytest.mark.server(kind), *([] if kind in CORE_KINDS else [pytest.mark.torture])]


@pytest.fixture(params=[pytest.param(kind, marks=marks(kind)) for kind in LOGS_PREPARE])
def preparing(request: pytest.FixtureRequest) -> LiveServer:
    server: LiveServer = request.getfixturevalue(request.param)
    return server


def in_session(server: LiveServer, *statements: str) -> None:
    """Statements of one session of their own, which ends behind them."""
    with closing(server.connect(autocommit=False)) as connection, connection.cursor() as cursor:
        for sql in statements:
            cursor.execute(sql)


def prepare(server: LiveServer, xid: str, *statements: str) -> None:
    in_session(server, f"XA START {xid}", *statements, f"XA END {xid}", f"XA PREPARE {xid}")


async def finish(server: LiveServer, verb: str, xid: str) -> None:
    """XA COMMIT or ROLLBACK from another session, once the server has let go of the one that prepared."""
    while True:
        try:
            await run(server, f"XA {verb} {xid}")
        except Exception as error:
            if error.args[0] != XAER_NOTA:
                raise
            await asyncio.sleep(0.01)
        else:
            return


def values(records: Sequence[StoredRecord], number: int = 0) -> list[Any]:
    return [record.fields["afterImages"][number]["value"] for record in rows_of(records)]


def of_transaction(world: World) -> list[tuple[str, str]]:
    return [(record.operation, record.fields["sourcePosition"]) for record in world.records()]


def kept(world: World) -> int:
    return len(prepared_paths(Files(), world.log.directory))


async def test_xa_transactions_count_when_they_are_committed(world: World, preparing: LiveServer) -> None:
    database = await asyncio.to_thread(preparing.fresh_database)
    await run(preparing, f"CREATE TABLE {database}.t (a INT PRIMARY KEY, b VARCHAR(20))")
    channel = live(world, preparing, database)
    async with running(channel):
        insert = f"INSERT INTO {database}.t VALUES"
        await asyncio.to_thread(prepare, preparing, "'one','b',7", f"{insert} (1,'x')", f"{insert} (2,'y')")
        await asyncio.to_thread(prepare, preparing, "'two'", f"{insert} (3,'x')")
        await run(preparing, f"{insert} (4,'between')")
        await caught_up(world, preparing, channel)
        assert values(world.records()) == ["4"]
        await finish(preparing, "ROLLBACK", "'two'")
        before = await asyncio.to_thread(preparing.binlog_position)
        await finish(preparing, "COMMIT", "'one','b',7")
        file, end = await asyncio.to_thread(preparing.binlog_position)
        await caught_up(world, preparing, channel)
        assert values(world.records()) == ["4", "1", "2"]
        number = int(file.rpartition(".")[2])
        last = world.records()[-4:]
        assert [record.operation for record in last] == ["BEGIN", "INSERT", "INSERT", "COMMIT"]
        assert {record.fields["sourcePosition"] for record in last} == {f"{end}@{number}"}
        safe = [int(record.fields["safeSourcePosition"].partition("@")[0]) for record in last]
        assert before[1] < safe[1] == safe[2] < end
        assert safe[0] == safe[3] == end
        assert len({record.fields["sourceTimestamp"] for record in last}) == 1
        assert len({record.tags.get("thread_id") for record in last if record.operation != "COMMIT"}) == 1


async def test_one_phase_and_a_session_that_ends_before_it_prepares(world: World, preparing: LiveServer) -> None:
    database = await asyncio.to_thread(preparing.fresh_database)
    await run(preparing, f"CREATE TABLE {database}.t (a INT PRIMARY KEY)")
    channel = live(world, preparing, database)
    async with running(channel):
        insert = f"INSERT INTO {database}.t VALUES"
        one = ("XA START 'o'", f"{insert} (1)", "SAVEPOINT s", f"{insert} (2)", "ROLLBACK TO s", f"{insert} (3)")
        await asyncio.to_thread(in_session, preparing, *one, "XA END 'o'", "XA COMMIT 'o' ONE PHASE")
        await asyncio.to_thread(in_session, preparing, "XA START 'p'", f"{insert} (4)", "XA END 'p'")
        await asyncio.to_thread(in_session, preparing, "XA START 'q'", f"{insert} (5)", "XA END 'q'", "XA ROLLBACK 'q'")
        await caught_up(world, preparing, channel)
        assert values(world.records()) == ["1", "3"]
        assert kept(world) == 0
        first, second = rows_of(world.records())
        assert first.fields["sourcePosition"] != second.fields["sourcePosition"]


async def test_what_is_prepared_outlives_restarts_of_both(world: World, tmp_path: Path, server_factory: Any) -> None:
    server: LiveServer = await asyncio.to_thread(server_factory, "mysql97")
    await run(server, "CREATE DATABASE shop", "CREATE TABLE shop.t (a INT PRIMARY KEY, b LONGTEXT)")
    channel = live(world, server, "shop")
    async with running(channel):
        await run(server, "INSERT INTO shop.t VALUES (0, '')")
        await asyncio.to_thread(
            prepare, server, "'big'", "INSERT INTO shop.t VALUES (1, REPEAT('a', 2000000)), (2, '')"
        )
        await caught_up(world, server, channel)
        assert kept(world) == 1
    await world.close(orderly=False)
    await asyncio.to_thread(server.kill)
    await asyncio.to_thread(server.start)
    again = World(tmp_path, CLOCK)
    channel = live(again, server, "shop")
    async with running(channel):
        await finish(server, "COMMIT", "'big'")
        await run(server, "INSERT INTO shop.t VALUES (3, '')")
        await caught_up(again, server, channel)
        assert values(again.records()) == ["0", "1", "2", "3"]
        assert [
            len(value["value"]) for value in (row.fields["afterImages"][1] for row in rows_of(again.records()))
        ] == [
            0,
            2000000,
            0,
            0,
        ]
    await again.close()


async def test_a_channel_that_begins_in_between_reads_the_rows_in_the_binlog(
    world: World, preparing: LiveServer
) -> None:
    database = await asyncio.to_thread(preparing.fresh_database)
    insert = f"INSERT INTO {database}.t VALUES"
    await run(preparing, f"CREATE TABLE {database}.t (a INT PRIMARY KEY)")
    await asyncio.to_thread(prepare, preparing, "'early'", f"{insert} (1), (2)", "SAVEPOINT s", f"{insert} (3)")
    await run(preparing, "FLUSH LOGS", f"{insert} (9)")
    channel = live(world, preparing, database)
    async with running(channel):
        await finish(preparing, "COMMIT", "'early'")
        await caught_up(world, preparing, channel)
        assert values(world.records()) == ["1", "2", "3"]


async def test_rows_that_were_purged_stop_the_channel(world: World, preparing: LiveServer) -> None:
    database = await asyncio.to_thread(preparing.fresh_database)
    await run(preparing, f"CREATE TABLE {database}.t (a INT PRIMARY KEY)")
    await asyncio.to_thread(prepare, preparing, "'gone'", f"INSERT INTO {database}.t VALUES (1)")
    prepared_in, _ = await asyncio.to_thread(preparing.binlog_position)
    while prepared_in in dict(preparing.binlog_files()):  # MariaDB keeps what it might need after a crash a little
        await run(preparing, "FLUSH LOGS")
        file, _ = await asyncio.to_thread(preparing.binlog_position)
        await run(preparing, f"PURGE BINARY LOGS TO '{file}'")
    channel = live(world, preparing, database)
    async with running(channel):
        await finish(preparing, "COMMIT", "'gone'")
        status = await needs_action(channel)
        assert status.reason is not None
        assert "X'676f6e65',X'',1" in status.reason
        assert "start a new channel" in status.reason


async def test_xa_on_a_server_that_logs_it_at_commit(world: World, mysql56: LiveServer) -> None:
    database = await asyncio.to_thread(mysql56.fresh_database)
    await run(mysql56, f"CREATE TABLE {database}.t (a INT PRIMARY KEY)")
    channel = live(world, mysql56, database)
    async with running(channel):
        insert = f"INSERT INTO {database}.t VALUES"
        await asyncio.to_thread(
            in_session, mysql56, "XA START 'a'", f"{insert} (1)", "XA END 'a'", "XA PREPARE 'a'", "XA COMMIT 'a'"
        )
        await asyncio.to_thread(
            in_session, mysql56, "XA START 'b'", f"{insert} (2)", "XA END 'b'", "XA PREPARE 'b'", "XA ROLLBACK 'b'"
        )
        await caught_up(world, mysql56, channel)
        assert world.operations() == ["BEGIN", "INSERT", "COMMIT"]


# ---- compressed ----


async def test_compressed_transactions(world: World, mysql97: LiveServer) -> None:
    database = await asyncio.to_thread(mysql97.fresh_database)
    await run(
        mysql97, f"CREATE TABLE {database}.t (a INT PRIMARY KEY, b LONGTEXT)", f"CREATE TABLE {database}.u (a INT)"
    )
    channel = live(world, mysql97, f"{database}.t")
    async with running(channel):
        on = "SET SESSION binlog_transaction_compression = ON"
        before = await asyncio.to_thread(mysql97.binlog_position)
        await asyncio.to_thread(
            in_session,
            mysql97,
            on,
            f"INSERT INTO {database}.t VALUES (1, REPEAT('x', 3000000)), (2, 'y')",
            f"INSERT INTO {database}.u VALUES (1)",
            f"UPDATE {database}.t SET b = 'z' WHERE a = 2",
            "COMMIT",
        )
        after = await asyncio.to_thread(mysql97.binlog_position)
        await asyncio.to_thread(in_session, mysql97, on, f"INSERT INTO {database}.u VALUES (2)", "COMMIT")
        await asyncio.to_thread(in_session, mysql97, on, f"DELETE FROM {database}.t WHERE a = 1", "COMMIT")
        await caught_up(world, mysql97, channel)
        wanted = ["BEGIN", "INSERT", "INSERT", "UPDATE", "COMMIT", "BEGIN", "COMMIT", "BEGIN", "DELETE", "COMMIT"]
        assert world.operations() == wanted
        assert after[1] - before[1] < 100_000
        number = int(after[0].rpartition(".")[2])
        first = world.records()[:5]
        assert {record.fields["sourcePosition"] for record in first} == {f"{after[1]}@{number}"}
        assert len({record.fields["safeSourcePosition"] for record in first[1:4]}) == 1
        await asyncio.to_thread(
            in_session,
            mysql97,
            on,
            "XA START 'z'",
            f"INSERT INTO {database}.t VALUES (7, REPEAT('p', 100000))",
            "XA END 'z'",
            "XA PREPARE 'z'",
        )
        await finish(mysql97, "COMMIT", "'z'")
        await caught_up(world, mysql97, channel)
        assert world.operations()[len(wanted) :] == ["BEGIN", "INSERT", "COMMIT"]


async def test_statements_in_compressed_transactions_are_seen(world: World, mysql97: LiveServer) -> None:
    database = await asyncio.to_thread(mysql97.fresh_database)
    await run(mysql97, f"CREATE TABLE {database}.t (a INT PRIMARY KEY)")
    channel = live(world, mysql97, database)
    async with running(channel):
        await asyncio.to_thread(
            in_session,
            mysql97,
            "SET SESSION binlog_transaction_compression = ON",
            "SET SESSION binlog_format = STATEMENT",
            f"INSERT INTO {database}.t VALUES (1)",
            "COMMIT",
        )
        status = await needs_action(channel)
        assert "logged as a statement" in (status.reason or "")


async def test_mariadbs_compressed_events(world: World, mariadb1011: LiveServer) -> None:
    database = await asyncio.to_thread(mariadb1011.fresh_database)
    await run(mariadb1011, "SET GLOBAL log_bin_compress = ON", "SET GLOBAL log_bin_compress_min_len = 10")
    channel = live(world, mariadb1011, database)
    async with running(channel):
        await asyncio.to_thread(
            in_session,
            mariadb1011,
            f"CREATE TABLE {database}.t (a INT PRIMARY KEY, b LONGTEXT COMMENT '{'long ' * 100}')",
            f"INSERT INTO {database}.t VALUES (1, REPEAT('x', 300000)), (2, 'y')",
            f"UPDATE {database}.t SET b = REPEAT('z', 1000)",
            f"DELETE FROM {database}.t",
            "COMMIT",
        )
        await run(mariadb1011, "SET GLOBAL log_bin_compress = OFF")
        await caught_up(world, mariadb1011, channel)
        codes = {row[2] for row in mariadb1011.execute(f"SHOW BINLOG EVENTS IN '{mariadb1011.binlog_position()[0]}'")}
        assert {"Query_compressed", "Write_rows_compressed_v1", "Update_rows_compressed_v1"} <= codes
        rows = ["INSERT", "INSERT", "UPDATE", "UPDATE", "DELETE", "DELETE"]
        assert world.operations() == ["DDL", "BEGIN", *rows, "COMMIT"]
        update = rows_of(world.records())[2].fields
        assert [update[image][1]["value"] for image in ("beforeImages", "afterImages")] == [b"x" * 300000, b"z" * 1000]


# ---- checksums ----


async def test_checksums_are_switched_while_it_runs(world: World, server: LiveServer) -> None:
    database = await asyncio.to_thread(server.fresh_database)
    await run(server, f"CREATE TABLE {database}.t (a INT PRIMARY KEY)")
    channel = live(world, server, database)
    async with running(channel):
        for number, checksum in enumerate(("NONE", "CRC32", "NONE", "CRC32")):
            await run(server, f"SET GLOBAL binlog_checksum = {checksum}", f"INSERT INTO {database}.t VALUES ({number})")
        await caught_up(world, server, channel)
        assert values(world.records()) == ["0", "1", "2", "3"]
        assert channel.status().state is State.NORMAL
        assert channel.status().reconnects == 0


@pytest.mark.parametrize("checksum", ["NONE", "CRC32"])
async def test_checksums_are_switched_before_a_dump_begins(checksum: str, server: LiveServer) -> None:
    """What a channel knows of the server was asked a while before: definitions and what is prepared lie between."""
    other = {"NONE": "CRC32", "CRC32": "NONE"}[checksum]
    before = server.execute("SELECT @@GLOBAL.binlog_checksum")[0][0]
    source = MysqlSource(SourceAddress.parse(server.url()), 4711, CLOCK)
    try:
        await run(server, f"SET GLOBAL binlog_checksum = {checksum}")
        info = await source.connect()
        await run(server, f"SET GLOBAL binlog_checksum = {other}")
        database = await asyncio.to_thread(server.fresh_database)
        file, position = server.binlog_position()
        await run(server, f"CREATE TABLE {database}.t (a INT)")
        # Asked before or after, the answer is the same.
        for known in (info, await source.connect()):
            await source.start(BinlogPosition(file, position))
            walker = BinlogWalker(
                BinlogPosition(file, position), Dialect.of(info.version), checksum=known.has_checksums
            )
            kinds: list[StepKind] = []
            while StepKind.STATEMENT not in kinds:
                kinds += [step.kind for raw in await source.read() for step in walker.steps(raw) if step is not None]
            assert kinds[:2] == [StepKind.FILE, StepKind.FILE]
    finally:
        await source.close()
        await run(server, f"SET GLOBAL binlog_checksum = {before}")


# ---- encrypted, emptied ----


async def test_an_encrypted_log_is_read_from_its_server(world: World, server_factory: Any, tmp_path: Path) -> None:
    try:
        root = await asyncio.to_thread(debian.unpack, MARIADB_PLUGINS, SERVERS_DIRECTORY / MARIADB_PLUGINS.name)
    except ToolError as error:
        pytest.skip(f"MariaDB's key plugin cannot be had: {error}")
    keys = tmp_path / "keys"
    keys.write_text(f"1;{'a1' * 16}\n")
    server: LiveServer = await asyncio.to_thread(
        server_factory,
        "mariadb1011",
        f"--plugin-dir={root / 'usr/lib/mysql/plugin'}",
        "--plugin-load-add=file_key_management",
        f"--loose-file-key-management-filename={keys}",
        "--encrypt-binlog=1",
    )
    await run(server, "CREATE DATABASE shop", "CREATE TABLE shop.t (a INT PRIMARY KEY)")
    channel = live(world, server, "shop")
    async with running(channel):
        await run(server, "INSERT INTO shop.t VALUES (1)", "FLUSH LOGS", "INSERT INTO shop.t VALUES (2)")
        await caught_up(world, server, channel)
        assert values(world.records()) == ["1", "2"]
        file, _ = await asyncio.to_thread(server.binlog_position)
    data = server.binlog_path(file).read_bytes()
    first, second = itertools.islice(iter_events(data), 2)
    decoder = EventDecoder()
    decoder.decode(first)
    with pytest.raises(UnsupportedEvent, match="is encrypted by MariaDB"):
        decoder.decode(second)


@pytest.mark.parametrize("kind", ["mysql97", "mysql56", "mariadb1011"])
async def test_a_memory_table_that_a_restart_emptied_gives_a_ddl(world: World, server_factory: Any, kind: str) -> None:
    server: LiveServer = await asyncio.to_thread(server_factory, kind)
    await run(server, "CREATE DATABASE shop", "CREATE TABLE shop.m (a INT PRIMARY KEY) ENGINE = MEMORY")
    channel = live(world, server, "shop")
    async with running(channel):
        await run(server, "INSERT INTO shop.m VALUES (1)")
        await caught_up(world, server, channel)
    await asyncio.to_thread(server.stop)
    await asyncio.to_thread(server.start)
    async with running(live(world, server, "shop")) as channel:
        await run(server, "SELECT * FROM shop.m", "INSERT INTO shop.m VALUES (2)")
        await caught_up(world, server, channel)
    (ddl,) = [record for record in world.records() if record.operation == "DDL"]
    verb = "DELETE FROM" if kind == "mysql56" else "TRUNCATE TABLE"
    assert ddl.fields["afterImages"].startswith(f"{verb} `shop`.`m`")
    assert values(world.records()) == ["1", "2"]


async def test_create_table_select_gives_a_ddl_and_rows(world: World, server: LiveServer) -> None:
    database = await asyncio.to_thread(server.fresh_database)
    await run(server, f"CREATE TABLE {database}.t (a INT PRIMARY KEY)", f"INSERT INTO {database}.t VALUES (1), (2)")
    channel = live(world, server, database)
    async with running(channel):
        await run(server, f"CREATE TABLE {database}.u AS SELECT a, a + 1 AS b FROM {database}.t")
        await run(server, f"INSERT INTO {database}.u VALUES (3, 4)")
        await caught_up(world, server, channel)
    records = world.records()
    assert [record.operation for record in records if record.operation not in ("BEGIN", "COMMIT")] == [
        "DDL",
        *["INSERT"] * 3,
    ]
    assert values(records, 1) == ["2", "3", "4"]
