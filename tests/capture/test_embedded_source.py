"""Changes by call: the records they become, all or nothing, and that a channel may begin again at any time."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from capture import embedded_source
from capture.embedded_source import EmbeddedSource
from capture.errors import SchemaMismatch, SourceRefused, SourceUnavailable, UnsupportedStatement, ValueRefused
from capture.position import BinlogPosition
from capture.scenario.player import Player
from tests.capture.world import WAIT_S, World, running
from tests.fakes import ManualClock

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from capture.channel import Channel

ORDERS = "CREATE TABLE orders (id BIGINT UNSIGNED PRIMARY KEY, item VARCHAR(40), price DECIMAL(10,2) NULL)"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def source(clock: ManualClock) -> EmbeddedSource:
    made = EmbeddedSource(clock, database="shop")
    made.statement(ORDERS)
    return made


async def visible(channel: Channel, source: EmbeddedSource) -> None:
    async with asyncio.timeout(WAIT_S):
        await channel.wait_visible(source.position)


async def test_a_transaction_becomes_its_records(tmp_path: Path, clock: ManualClock, source: EmbeddedSource) -> None:
    world = World(tmp_path, clock)
    with source.transaction(timestamp_s=1_700_000_100):
        source.insert("orders", {"id": 1, "item": "茶", "price": "3.50"}, {"id": 2**64 - 1})
        source.update("orders", ({"id": 1, "item": "茶"}, {"id": 1, "item": "coffee"}))
        source.delete("shop.orders", {"id": 1, "item": "coffee"})
    source.heartbeat(timestamp_s=1_700_000_200)
    async with running(world.channel(lambda: source, "shop", id_base=5000)) as channel:
        await visible(channel, source)
    records = world.records(heartbeats=True)
    assert [record.operation for record in records] == [
        *("DDL", "DDL", "BEGIN", "INSERT", "INSERT", "UPDATE", "DELETE", "COMMIT", "HEARTBEAT")
    ]
    assert [record.fields["id"] for record in records] == [5000 + record.offset for record in records]
    assert [record.offset for record in records] == list(range(9))
    assert all(record.timestamp_ms == record.fields["sourceTimestamp"] * 1000 for record in records)
    assert [record.fields["sourceTimestamp"] for record in records[2:]] == [1_700_000_100] * 6 + [1_700_000_200]
    first, second = records[3].fields["afterImages"], records[4].fields["afterImages"]
    assert [cell["value"] for cell in first] == ["1", "茶".encode(), "3.50"]
    assert second[0]["value"] == "18446744073709551615"
    assert second[1:] == [None, None]
    assert records[6].fields["beforeImages"][1]["value"] == b"coffee"
    await world.close()


@pytest.mark.parametrize(
    "sql",
    [ORDERS, "CREATE TABLE shop.orders (a INT)", "CREATE TABLE orders LIKE others", "CREATE TABLE a (b INT); " * 2],
)
def test_a_table_is_created_once(source: EmbeddedSource, sql: str) -> None:
    source.statement("CREATE TABLE others (note TEXT)")
    before = source.position
    with pytest.raises(SourceRefused, match=r"^table shop\.(orders|a) already exists; "):
        source.statement(sql)
    assert source.position == before
    source.insert("orders", {"id": 1, "item": "as it was"})


def test_a_table_may_be_created_where_there_is_none_left(source: EmbeddedSource) -> None:
    source.statement("CREATE TABLE IF NOT EXISTS orders (note TEXT)")
    source.insert("orders", {"id": 1, "item": "as it was"})
    source.statement("CREATE TEMPORARY TABLE orders (note TEXT)")
    source.insert("orders", {"id": 2, "item": "as it was"})
    source.statement("DROP TABLE orders; CREATE TABLE orders (note TEXT)")
    source.insert("orders", {"note": "new"})
    source.statement("DROP TABLE orders")
    source.statement(ORDERS)
    source.insert("orders", {"id": 1})


async def test_positions_follow_the_events(tmp_path: Path, clock: ManualClock, source: EmbeddedSource) -> None:
    """A row's position is the end of its rows event, the safe one the start of its statement's first TABLE_MAP."""
    world = World(tmp_path, clock)
    with source.transaction():
        source.insert("orders", *({"id": number} for number in range(embedded_source.ROWS_PER_EVENT + 1)))
    async with running(world.channel(lambda: source, "shop")) as channel:
        await visible(channel, source)
    records = world.records()[2:]
    begin, *rows, commit = records
    assert begin.fields["sourcePosition"] == begin.fields["safeSourcePosition"]
    assert {row.fields["safeSourcePosition"] for row in rows} == {begin.fields["sourcePosition"]}
    ends = [int(row.fields["sourcePosition"].partition("@")[0]) for row in rows]
    assert ends == sorted(ends)
    assert len(set(ends)) == 2, "two rows events of one statement"
    assert commit.fields["sourcePosition"] == f"{source.position.position}@1"
    await world.close()


async def test_an_exception_in_a_transaction_leaves_nothing(
    tmp_path: Path, clock: ManualClock, source: EmbeddedSource
) -> None:
    world = World(tmp_path, clock)
    before = source.position
    with pytest.raises(ValueRefused), source.transaction():
        source.insert("orders", {"id": 1}, {"id": 2, "item": 5})
    assert source.position == before
    with pytest.raises(ValueRefused, match=r"shop\.orders\.id"):
        source.insert("orders", {"id": -1})
    assert source.position == before
    source.insert("orders", {"id": 7})
    async with running(world.channel(lambda: source, "shop")) as channel:
        await visible(channel, source)
    assert world.operations() == ["DDL", "DDL", "BEGIN", "INSERT", "COMMIT"]
    assert [record.tags["GTID"].rpartition(":")[2] for record in world.records() if "GTID" in record.tags][-1] == "3"
    await world.close()


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("INSERT INTO orders VALUES (1)", "not understood as DDL"),
        ("GRANT ALL ON *.* TO x", "not understood as DDL"),
        ("ALTER TABLE orders ADD COLUMN (", "not understood as DDL"),
        ("", "is no statement"),
        ("CREATE TABLE \udc80 (a INT)", r"no '\\udc80' \(character 14\)"),
    ],
)
def test_what_is_no_ddl_is_refused_and_leaves_nothing(source: EmbeddedSource, sql: str, words: str) -> None:
    before = source.position
    with pytest.raises(UnsupportedStatement, match=words):
        source.statement(sql)
    assert source.position == before


@pytest.mark.parametrize(
    "sql",
    [
        "ALTER TABLE nowhere ADD COLUMN a INT",
        "DROP TABLE orders; ALTER TABLE nowhere ADD COLUMN a INT",
        "RENAME TABLE orders TO old, nowhere TO orders",
        "DROP TABLE orders, nowhere",
        "TRUNCATE TABLE nowhere",
        "CREATE TABLE other LIKE nowhere",
        "CREATE TABLE two (a INT, A INT)",
        "CREATE TABLE other.two (a INT, A INT)",
        "ALTER TABLE orders ADD COLUMN Item INT",
        "ALTER TABLE orders DROP COLUMN nothing",
        "ALTER TABLE orders CHANGE nothing something INT",
        "ALTER TABLE orders RENAME TO orders2, ADD COLUMN id INT",
        "CREATE DATABASE shop",
        "CREATE TABLE two (a INT, PRIMARY KEY (b))",
        "ALTER TABLE orders ADD UNIQUE KEY (nothing)",
        "CREATE INDEX i ON orders (nothing)",
        "DROP DATABASE nowhere",
        f"CREATE DATABASE {'d' * 65}",
        f"CREATE TABLE {'t' * 65} (a INT)",
        f"CREATE TABLE two ({'c' * 65} INT)",
        f"RENAME TABLE orders TO {'t' * 65}",
        f"ALTER TABLE orders ADD COLUMN {'c' * 65} INT",
        f"ALTER TABLE orders RENAME COLUMN id TO {'c' * 65}",
    ],
)
def test_what_a_server_would_refuse_is_refused_and_leaves_nothing(source: EmbeddedSource, sql: str) -> None:
    before, kept = source.position, len(source._events)
    with pytest.raises((SourceRefused, UnsupportedStatement)):
        source.statement(sql)
    assert (source.position, len(source._events)) == (before, kept)
    assert [column.name for column in source.table("orders").columns] == ["id", "item", "price"]
    with pytest.raises(SchemaMismatch):
        source.table("nowhere")
    source.statement("CREATE TABLE other.nowhere (a INT)")


@pytest.mark.parametrize(
    "written",
    [
        *("BIT(65)", "CHAR(256)", "BINARY(256)", "VARCHAR(65536)", "DECIMAL(66,1)", "DECIMAL(5,9)", "DECIMAL(40,31)"),
        *("FLOAT(256,2)", "DATETIME(7)", "TIME(999)", "VECTOR(16384)", f"VARCHAR({'9' * 30})"),
    ],
)
def test_a_size_that_no_type_has_is_refused(source: EmbeddedSource, written: str) -> None:
    before = source.position
    for sql in (f"CREATE TABLE sizes (a {written})", f"ALTER TABLE orders ADD a {written}"):
        with pytest.raises((SourceRefused, UnsupportedStatement)):
            source.statement(sql)
    assert source.position == before


def test_a_decimal_of_mariadb_has_more_digits_behind_the_point(clock: ManualClock) -> None:
    mariadb = EmbeddedSource(clock, database="shop", server_version="10.11.6-MariaDB")
    mariadb.statement("CREATE TABLE sizes (a DECIMAL(40,38))")
    with pytest.raises(SourceRefused, match="up to 38 are allowed"):
        mariadb.statement("ALTER TABLE sizes ADD b DECIMAL(40,39)")


def nested() -> Any:
    found: list[Any] = []
    for _ in range(5000):
        found = [found]
    return found


@pytest.mark.parametrize(
    ("column", "make", "words"),
    [
        ("TINYINT", lambda: 10**5000, "this int does not fit"),
        ("TINYINT", nested, "this list does not fit"),
        ("SET('x')", lambda: [nested()], "it has no label this list"),
        ("DOUBLE", lambda: Decimal("sNaN"), "a finite number is needed"),
        ("TIMESTAMP", lambda: datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14))), "a TIMESTAMP holds"),
        ("TIMESTAMP", lambda: datetime(9999, 12, 31, tzinfo=timezone(-timedelta(hours=14))), "a TIMESTAMP holds"),
    ],
)
def test_what_cannot_even_be_shown_is_refused_by_a_sentence(
    source: EmbeddedSource, column: str, make: Callable[[], Any], words: str
) -> None:
    source.statement(f"CREATE TABLE t (a {column} NULL)")
    with pytest.raises(ValueRefused, match=words):
        source.insert("t", {"a": make()})


def test_a_number_that_is_no_moment_is_refused_where_fractions_are_cut(clock: ManualClock) -> None:
    mariadb = EmbeddedSource(clock, database="shop", server_version="10.11.6-MariaDB")
    mariadb.statement("CREATE TABLE t (a TIMESTAMP(3) NULL, b DATETIME(3))")
    for row in ({"a": 1e308}, {"b": 1e308}, {"a": float("nan")}):
        with pytest.raises(ValueRefused):
            mariadb.insert("t", row)


@pytest.mark.parametrize(
    ("version", "order"), [("9.7.0", "`b`,`a`"), ("5.6.51-log", "`a`,`b`"), ("10.11.6-MariaDB", "`a`,`b`")]
)
def test_a_scenario_drops_tables_as_its_server_does(clock: ManualClock, version: str, order: str) -> None:
    source = EmbeddedSource(clock, database="shop", server_version=version)
    for _ in Player(source, clock).play("CREATE TABLE b (id INT); DROP TABLE IF EXISTS a, b"):
        pass
    assert any(f"DROP TABLE IF EXISTS {order} /*".encode() in kept.raw for kept in source._events)


def test_a_column_may_be_dropped_and_made_anew_at_once(source: EmbeddedSource) -> None:
    source.statement("ALTER TABLE orders DROP COLUMN item, ADD COLUMN item INT, RENAME COLUMN price TO cost")
    assert [column.name for column in source.table("orders").columns] == ["id", "cost", "item"]
    source.statement("RENAME TABLE orders TO old")
    source.statement("CREATE TABLE orders (a INT)")
    source.statement("RENAME TABLE orders TO new, old TO orders, new TO old")
    assert source.table("orders").column("cost") is not None


@pytest.mark.parametrize("table", ["a.b", "`", "a`.`b", "t"])
@pytest.mark.parametrize("database", ["shop", "x.y", "`x`"])
def test_any_name_is_named_again(source: EmbeddedSource, database: str, table: str) -> None:
    quoted = [f"`{name.replace('`', '``')}`" for name in (database, table)]
    name = source.create_table(f"CREATE TABLE {'.'.join(quoted)} (a INT)")
    assert source.table_name(name) == (database, table)
    assert source.table_name(".".join(quoted)) == (database, table)
    source.insert(name, {"a": 1})


@pytest.mark.parametrize(
    ("name", "wanted"),
    [("t", ("shop", "t")), ("a.t", ("a", "t")), ("a.b.t", ("a.b", "t")), ("", ("shop", "")), ("`a", ("shop", "`a"))],
)
def test_names_that_are_not_quoted(source: EmbeddedSource, name: str, wanted: tuple[str, str]) -> None:
    assert source.table_name(name) == wanted


async def test_a_channel_begins_again_wherever_the_binlog_went(
    tmp_path: Path, clock: ManualClock, source: EmbeddedSource
) -> None:
    moves = [lambda: source.at(7, 5_000_000_000), source.rotate, lambda: source.at(8, 4000), lambda: source.at(8, 9000)]
    wanted: list[str] = []
    for number, move in enumerate(moves):
        for before in (True, False):
            world = World(tmp_path, clock)
            if before:
                move()
            async with running(world.channel(lambda: source, "shop")) as channel:
                source.insert("orders", {"id": 10 * number + before})
                wanted.append(str(10 * number + before))
                await visible(channel, source)
            rows = [record for record in world.records() if record.operation == "INSERT"]
            assert [row.fields["afterImages"][0]["value"] for row in rows] == wanted
            await world.close(orderly=before)
    places = [tuple(map(int, row.fields["sourcePosition"].split("@")[::-1])) for row in rows]
    assert places == sorted(places)
    assert [place[0] for place in places] == [7, 7, 8, 8, 8, 8, 8, 8]
    assert places[-2][1] > 9000


async def test_a_file_may_be_left_within_a_channels_run(
    tmp_path: Path, clock: ManualClock, source: EmbeddedSource
) -> None:
    world = World(tmp_path, clock)
    async with running(world.channel(lambda: source, "shop")) as channel:
        await visible(channel, source)
        for move in (source.rotate, lambda: source.at(2, 5000), lambda: source.at(9, 4), source.rotate):
            move()
            await visible(channel, source)
            source.heartbeat()
            await visible(channel, source)
    found = [record.fields["sourcePosition"] for record in world.records(heartbeats=True)[2:]]
    assert [position.partition("@")[2] for position in found] == ["2", "2", "9", "10"]
    assert found[1:3] == ["5000@2", "4@9"]
    await world.close()


def test_the_last_file_is_not_left(source: EmbeddedSource) -> None:
    source.at(embedded_source.FILE_NUMBER_MAX, 4)
    with pytest.raises(SourceRefused, match=r"embedded\.2147483647 is the last file"):
        source.rotate()
    source.insert("orders", {"id": 1})


def test_an_unknown_table_or_a_nested_call_is_refused(source: EmbeddedSource) -> None:
    with pytest.raises(SchemaMismatch, match=r"shop\.nothing"):
        source.insert("nothing", {"id": 1})
    with source.transaction():
        with pytest.raises(UnsupportedStatement, match="ends the transaction"):
            source.statement("DROP TABLE orders")
        with pytest.raises(UnsupportedStatement, match="nested"), source.transaction():
            pass
        with pytest.raises(UnsupportedStatement, match="between transactions"):
            source.heartbeat()


async def test_calls_reach_a_channel_that_waits(tmp_path: Path, clock: ManualClock, source: EmbeddedSource) -> None:
    world = World(tmp_path, clock)
    async with running(world.channel(lambda: source, "shop")) as channel:
        for number in range(5):
            source.insert("orders", {"id": number})
            await visible(channel, source)
            assert world.operations()[-2:] == ["INSERT", "COMMIT"]
        source.heartbeat()
        await visible(channel, source)
        assert world.operations(heartbeats=True)[-1] == "HEARTBEAT"
        source.statement("ALTER TABLE orders ADD COLUMN note VARCHAR(10)")
        source.insert("orders", {"id": 9, "note": "x"})
        await visible(channel, source)
    assert [field["name"] for field in world.records()[-2].fields["fields"]] == ["id", "item", "price", "note"]
    await world.close()


async def test_a_heartbeat_between_two_sessions_comes_once(
    tmp_path: Path, clock: ManualClock, source: EmbeddedSource
) -> None:
    world = World(tmp_path, clock)
    for _ in range(3):
        async with running(world.channel(lambda: source, "shop")) as channel:
            source.heartbeat()
            await visible(channel, source)
        source.heartbeat()
    async with running(world.channel(lambda: source, "shop")) as channel:
        await visible(channel, source)
    assert world.operations(heartbeats=True) == ["DDL", "DDL", *["HEARTBEAT"] * 6]
    await world.close()


async def test_a_channel_begins_again_where_its_log_ends(
    tmp_path: Path, clock: ManualClock, source: EmbeddedSource
) -> None:
    for number in range(4):
        world = World(tmp_path, clock)
        source.insert("orders", {"id": number})
        async with running(world.channel(lambda: source, "shop")) as channel:
            await visible(channel, source)
            source.insert("orders", {"id": 100 + number})
            await visible(channel, source)
        ids = [record.fields["afterImages"][0]["value"] for record in world.records() if record.operation == "INSERT"]
        assert ids == [str(value) for n in range(number + 1) for value in (n, 100 + n)]
        await world.close(orderly=number % 2 == 0)


async def test_the_next_file_follows_a_large_one(
    tmp_path: Path, clock: ManualClock, source: EmbeddedSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path, clock)
    monkeypatch.setattr(embedded_source, "FILE_BYTES", 1500)
    async with running(world.channel(lambda: source, "shop")) as channel:
        for number in range(12):
            source.insert("orders", {"id": number})
            await visible(channel, source)
    files = [int(record.fields["sourcePosition"].partition("@")[2]) for record in world.records()]
    assert files == sorted(files)
    assert files[-1] == BinlogPosition(source.position.file, 4).number >= 2
    await world.close()


async def test_events_are_let_go_once_they_are_in_the_log(
    tmp_path: Path, clock: ManualClock, source: EmbeddedSource
) -> None:
    world = World(tmp_path, clock)
    async with running(world.channel(lambda: source, "shop")) as channel:
        for number in range(50):
            source.insert("orders", {"id": number})
        await visible(channel, source)
    assert len(source._events) == 0
    await world.close()


async def test_it_answers_no_queries_and_reads_only_when_open(source: EmbeddedSource) -> None:
    with pytest.raises(SourceRefused):
        await source.query("SELECT 1")
    with pytest.raises(SourceUnavailable):
        await source.read()
    with pytest.raises(SourceRefused):
        source.sibling()
