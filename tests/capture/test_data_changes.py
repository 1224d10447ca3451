"""Statements that change rows and are logged as statements: which stop a channel, and which provably need not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from capture.channel import State
from capture.data_changes import HARMLESS, DataChanges, emptied_table
from capture.ddl import parse
from capture.dialect import Dialect
from capture.encode import EventEncoder
from capture.errors import UnsupportedStatement
from capture.events import Checksum, EventDecoder, EventType, QueryEvent
from capture.position import BinlogPosition
from capture.query_event import QueryStatus
from capture.selection import Selection
from capture.statements import DataChange, TableName, TruncateTable
from capture.transactions import BinlogWalker, StepKind
from storage.clock import SystemClock
from tests.capture.test_live_capture import caught_up, live, needs_action, run
from tests.capture.world import FILE, World, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.live_server import LiveServer

TIME = 1_700_000_000
CLOCK = SystemClock()
MYSQL = Dialect.of("8.0.36")


def query(sql: str, *databases: str, database: str = "shop", thread_id: int = 8) -> QueryEvent:
    status = QueryStatus(updated_databases=databases or None)
    return QueryEvent(thread_id, 0, 0, status, database, sql.encode())


def harmless(changes: DataChanges, event: QueryEvent) -> list[str]:
    """The exceptions that let a statement pass."""
    (change,) = parse(event.sql.decode(), 0, MYSQL)
    assert isinstance(change, DataChange)
    found = [exception.name for exception in HARMLESS if exception.holds(changes, change, event)]
    assert changes.are_harmless(change, event) == bool(found)
    return found


@pytest.fixture
def changes() -> DataChanges:
    return DataChanges(Selection(["shop", "crm.customer"]))


@pytest.mark.parametrize(
    ("databases", "passes"),
    [
        (("mysql",), True),
        (("logs", "mysql"), True),
        (("shop",), False),
        (("logs", "shop"), False),
        (("crm",), False),
        ((), False),
    ],
)
@pytest.mark.parametrize(
    "sql", ["INSERT INTO t VALUES (1)", "UPDATE t JOIN u SET a = 1", "CALL p()", "SELECT f()", "DELETE FROM logs.t"]
)
def test_what_changed_other_databases_only_passes(
    changes: DataChanges, sql: str, databases: tuple[str, ...], passes: bool
) -> None:
    assert harmless(changes, query(sql, *databases)) == (["other databases"] if passes else [])


def test_names_are_compared_as_the_server_compares_them() -> None:
    assert not harmless(DataChanges(Selection(["shop"], 1)), query("DELETE FROM t", "SHOP"))
    assert harmless(DataChanges(Selection(["shop"], 0)), query("DELETE FROM t", "SHOP"))


@pytest.mark.parametrize(
    ("sql", "passes"),
    [
        ("INSERT INTO tmp VALUES (1), (2)", True),
        ("INSERT INTO shop.tmp (a, b) VALUES (1, 2)", True),
        ("INSERT INTO `tmp` (a) SELECT a FROM orders WHERE a IN (1, 2)", True),
        ("INSERT INTO TMP VALUES (1)", False),
        ("UPDATE tmp SET a = 2", True),
        ("DELETE FROM tmp", True),
        ("INSERT INTO tmp VALUES (f(1))", False),
        ("INSERT INTO tmp SELECT shop.f (a) FROM orders", False),
        ("INSERT INTO tmp VALUES (f/* */(1))", False),
        ("INSERT INTO tmp VALUES (f -- \n (1))", False),
        ("INSERT INTO tmp VALUES (f # \n (1))", False),
        ("UPDATE tmp, orders SET orders.a = 1", False),
        ("UPDATE tmp JOIN orders SET orders.a = 1", False),
        ("UPDATE tmp INNER JOIN orders SET orders.a = 1", False),
        ("UPDATE tmp LEFT JOIN orders ON 1 SET orders.a = 1", False),
        ("UPDATE tmp x, orders SET orders.a = 1", False),
        ("UPDATE tmp AS x STRAIGHT_JOIN orders SET orders.a = 1", False),
        ("UPDATE tmp USE INDEX (a), orders SET orders.a = 1", False),
        ("UPDATE tmp PARTITION (p), orders SET orders.a = 1", False),
        ("DELETE tmp, orders FROM tmp JOIN orders", False),
        ("DELETE tmp FROM orders AS tmp", False),
        ("DELETE FROM tmp USING orders AS tmp", False),
        ("DELETE FROM tmp.*, orders.* USING tmp JOIN orders", False),
        ("DELETE LOW_PRIORITY FROM tmp WHERE a = 1", True),
        ("DELETE FROM orders", False),
        ("INSERT INTO crm.tmp VALUES (1)", False),
    ],
)
def test_what_fills_a_temporary_table_of_its_session_passes(changes: DataChanges, sql: str, passes: bool) -> None:
    create = query("CREATE TEMPORARY TABLE tmp (a INT, b INT)")
    changes.follow(parse(create.sql.decode(), 0, MYSQL), create)
    assert harmless(changes, query(sql)) == (["temporary table"] if passes else [])
    assert not harmless(changes, query(sql, thread_id=9)), "another session's name is another table's"
    drop = query("DROP TEMPORARY TABLE IF EXISTS shop.tmp")
    changes.follow(parse(drop.sql.decode(), 0, MYSQL), drop)
    assert not harmless(changes, query(sql))


def test_a_temporary_table_has_its_own_name_where_the_server_tells_cases_apart() -> None:
    """A table that is not temporary may differ by case alone."""
    for folding, passes in ((0, False), (1, True)):
        changes = DataChanges(Selection(["shop"], folding))
        create = query("CREATE TEMPORARY TABLE tmp (a INT)")
        changes.follow(parse(create.sql.decode(), 0, MYSQL), create)
        assert bool(harmless(changes, query("INSERT INTO TMP VALUES (1)"))) == passes


@pytest.mark.parametrize("sql", ["ALTER TABLE tmp RENAME TO other", "RENAME TABLE tmp TO other"])
def test_a_temporary_table_that_was_renamed_leaves_its_name_to_another(changes: DataChanges, sql: str) -> None:
    for event in (query("CREATE TEMPORARY TABLE tmp (a INT)"), query("ALTER TABLE tmp ADD b INT")):
        changes.follow(parse(event.sql.decode(), 0, MYSQL), event)
    assert harmless(changes, query("INSERT INTO tmp VALUES (1)"))
    rename = query(sql)
    changes.follow(parse(rename.sql.decode(), 0, MYSQL), rename)
    assert not harmless(changes, query("INSERT INTO tmp VALUES (1)"))


def test_whoever_only_looks_passes_everything() -> None:
    assert DataChanges(None).are_harmless(DataChange("CALL"), query("CALL p()"))


@pytest.mark.parametrize(
    ("sql", "table"),
    [
        ("DELETE FROM `shop`.`m`", TableName("shop", "m")),
        ("DELETE FROM `a``b`.`c.d`", TableName("a`b", "c.d")),
        ("DELETE FROM `shop`.`m` WHERE a = 1", None),
        ("DELETE FROM shop.m", None),
        ("DELETE FROM `m`", None),
    ],
)
def test_the_implicit_delete_of_a_memory_table(sql: str, table: TableName | None) -> None:
    assert emptied_table(query(sql)) == (None if table is None else TruncateTable(table))


def walker(encoder: EventEncoder) -> BinlogWalker:
    made = BinlogWalker(BinlogPosition(FILE, 4), MYSQL, checksum=False, changes=DataChanges(Selection(["shop"])))
    made.walk(encoder.format_description(TIME))
    return made


def test_an_implicit_delete_is_one_only_outside_a_transaction() -> None:
    encoder = EventEncoder()
    walking = walker(encoder)
    step = walking.walk(encoder.query(TIME, "DELETE FROM `shop`.`m`", thread_id=1))
    assert (step.kind, step.ends_transaction) == (StepKind.STATEMENT, True)
    walking.walk(encoder.query(TIME, "BEGIN", thread_id=1))
    with pytest.raises(UnsupportedStatement, match="logged as a statement"):
        walking.walk(encoder.query(TIME, "DELETE FROM `shop`.`m`", thread_id=1))


def test_load_data_is_judged_by_its_statement() -> None:
    encoder = EventEncoder()
    walking = walker(encoder)
    walking.walk(encoder.query(TIME, "BEGIN", thread_id=1))
    content = encoder.event(EventType.BEGIN_LOAD_QUERY, TIME, b"\1\0\0\0rows")
    assert walking.walk(content).kind is StepKind.NOTHING
    plain = EventEncoder(checksum=Checksum.NONE).query(TIME, "LOAD DATA INFILE 'f' INTO TABLE t", thread_id=1)
    body = plain[19:32] + bytes(13) + plain[32:]
    _, event = EventDecoder().decode(
        EventEncoder(checksum=Checksum.NONE).event(EventType.EXECUTE_LOAD_QUERY, TIME, body)
    )
    assert isinstance(event, QueryEvent)
    assert event.sql == b"LOAD DATA INFILE 'f' INTO TABLE t"
    with pytest.raises(UnsupportedStatement, match="LOAD DATA"):
        walking.walk(encoder.event(EventType.EXECUTE_LOAD_QUERY, TIME, body))


@pytest.mark.parametrize("clean", [False, True])
def test_sessions_end_with_their_server(clean: bool) -> None:
    """Threads are counted anew behind a restart: another session has the number, and may mean a table of that name."""
    encoder = EventEncoder()
    walking = walker(encoder)
    walking.walk(encoder.query(TIME, "CREATE TEMPORARY TABLE tmp (a INT)", database="shop", thread_id=8))
    insert = encoder.query(TIME, "INSERT INTO tmp VALUES (1)", database="shop", thread_id=8)
    assert walking.walk(insert).kind is StepKind.STATEMENT
    walking.walk(encoder.event(EventType.STOP, TIME, b"") if clean else encoder.format_description(TIME))
    with pytest.raises(UnsupportedStatement, match="logged as a statement"):
        walking.walk(insert)


def test_sessions_outlive_a_new_file() -> None:
    encoder = EventEncoder()
    walking = walker(encoder)
    walking.walk(encoder.query(TIME, "CREATE TEMPORARY TABLE tmp (a INT)", database="shop", thread_id=8))
    walking.walk(encoder.rotate(TIME, FILE))
    plain = EventEncoder(checksum=Checksum.NONE).format_description(TIME)
    created_at = 19 + 2 + 50
    body = plain[19:created_at] + bytes(4) + plain[created_at + 4 : -4]
    walking.walk(EventEncoder(checksum=Checksum.NONE).event(EventType.FORMAT_DESCRIPTION, TIME, body + bytes(4)))
    insert = EventEncoder(checksum=Checksum.NONE).query(
        TIME, "INSERT INTO tmp VALUES (1)", database="shop", thread_id=8
    )
    assert walking.walk(insert).kind is StepKind.STATEMENT


# ---- real servers ----


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path, CLOCK)
    yield made
    await made.close()


def as_statements(server: LiveServer, *statements: str) -> None:
    """Run statements in a session that logs them as statements."""
    connection = server.connect()
    try:
        with connection.cursor() as cursor:
            for sql in ("SET SESSION binlog_format = STATEMENT", *statements):
                cursor.execute(sql)
    finally:
        connection.close()


async def test_temporary_tables_and_other_databases_go_by(world: World, server: LiveServer) -> None:
    ours, other = server.fresh_database(), server.fresh_database()
    await run(server, f"CREATE TABLE {ours}.t (a INT PRIMARY KEY)", f"CREATE TABLE {other}.t (a INT PRIMARY KEY)")
    channel = live(world, server, ours)
    async with running(channel):
        as_statements(
            server,
            f"CREATE TEMPORARY TABLE {ours}.tmp (a INT)",
            f"INSERT INTO {ours}.tmp VALUES (1)",
            f"DROP TEMPORARY TABLE {ours}.tmp",
        )
        if server.flavour == "mysql":
            as_statements(server, f"INSERT INTO {other}.t VALUES (1)")
        await run(server, f"INSERT INTO {ours}.t VALUES (7)")
        await caught_up(world, server, channel)
        assert world.operations().count("INSERT") == 1
        assert channel.status().state is State.NORMAL


async def test_a_trigger_into_a_tracked_table_stops(world: World, server: LiveServer) -> None:
    """The statement names another database's table only."""
    ours, other = server.fresh_database(), server.fresh_database()
    await run(server, f"CREATE TABLE {ours}.t (a INT PRIMARY KEY)", f"CREATE TABLE {other}.u (a INT PRIMARY KEY)")
    await run(
        server, f"CREATE TRIGGER {other}.tr AFTER INSERT ON {other}.u FOR EACH ROW INSERT INTO {ours}.t VALUES (1)"
    )
    channel = live(world, server, ours)
    async with running(channel):
        as_statements(server, f"INSERT INTO {other}.u VALUES (1)")
        status = await needs_action(channel)
        assert "was logged as a statement" in (status.reason or "")
