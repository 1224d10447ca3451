"""Records explained: what they were made of is found again, every byte of it is named, and it makes them again."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from capture.dissect import dissect
from capture.errors import UnsupportedEvent
from capture.events import BINLOG_MAGIC, EventDecoder, iter_events
from capture.explain import ROWS, explain
from capture.file_source import FileSource
from capture.position import SourceSnapshot
from capture.source import SourceAddress, open_source
from storage.clock import SystemClock
from storage.peek import snapshot_at
from tests.capture.world import World, running, until
from tests.tools.workplace import CHECKOUT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from pathlib import Path

    from capture.explain import Explanation, ShownEvent
    from capture.source import Source
    from storage.catalog import SchemaVersionRow
    from tests.capture.world import StoredRecord
    from tests.live_server import LiveServer

CLOCK = SystemClock()
DEMO = CHECKOUT / "broker/data/demo-shop.000001"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path, CLOCK)
    yield made
    await made.close()


def definitions(world: World, record: StoredRecord) -> list[SchemaVersionRow]:
    """What the catalog has of a record's table and database."""
    database, _, table = (record.fields["objectName"] or "").partition(".")
    rows = world.catalog.schema_versions("c")
    return [row for row in rows if row.database == database and row.table in ("", table)]


async def explained(world: World, record: StoredRecord, source: Source) -> Explanation:
    return await explain(source, server_of(world), record.fields, record.value, None, definitions(world, record))


def server_of(world: World) -> SourceSnapshot:
    """What the log's first segment says of its source."""
    found = snapshot_at(world.log.directory, world.log.log_start_offset)
    assert found is not None
    return SourceSnapshot.from_bytes(found)


def check_parts(event: ShownEvent) -> None:
    """Every byte has a name, and just one."""
    places = [(part.start, part.end) for part in event.parts]
    assert places[-1][1] == len(event.data)
    assert all(end == start for (_, end), (start, _) in pairwise(places)), places
    assert all(part.name for part in event.parts)
    assert all(part.rule for part in event.parts if part.column is not None)


def check_row(record: StoredRecord, found: Explanation) -> None:
    """The events end in one whose images have every cell of the record."""
    assert found.missing is None
    assert found.verdict is not None
    assert found.verdict.endswith(": these bytes make this record again, byte for byte"), found.verdict
    assert found.definition is not None
    assert str(found.definition.table.meta_version) == record.tags["metaVersion"]
    images = {"INSERT": ["after"], "DELETE": ["before"], "UPDATE": ["before", "after"]}[record.operation]
    columns = [(part.image, part.column) for part in found.events[-1].parts if part.column is not None]
    assert columns == [(image, index) for image in images for index in range(len(record.fields["fields"]))]
    nulls = [part for part in found.events[-1].parts if part.column is not None and part.start == part.end]
    for part in nulls:
        assert record.fields["beforeImages" if part.image == "before" else "afterImages"][part.column] is None


async def test_every_record_of_a_recorded_shop(world: World) -> None:
    channel = world.channel(lambda: FileSource([DEMO]), "shop")
    async with running(channel):
        await channel.wait_ended()
    records = world.records(heartbeats=True)
    assert {record.operation for record in records} >= {"INSERT", "UPDATE", "DELETE", "DDL", "BEGIN", "COMMIT"}
    for record in records:
        found = await explained(world, record, FileSource([DEMO]))
        if record.operation == "HEARTBEAT":
            assert (found.events, found.missing) == ([], None)
            continue
        for event in found.events:
            check_parts(event)
        if record.operation in ROWS:
            assert [event.name.partition("_")[0] for event in found.events] == [
                "TABLE",
                found.events[-1].name[:6].rstrip("_"),
            ]
            check_row(record, found)
        else:
            [event] = found.events
            assert event.name in {"DDL": ("QUERY",), "BEGIN": ("QUERY",), "COMMIT": ("XID", "QUERY")}[record.operation]


async def test_a_boundary_before_the_record_spares_reading_the_file_from_its_start(world: World) -> None:
    channel = world.channel(lambda: FileSource([DEMO]), "shop")
    async with running(channel):
        await channel.wait_ended()
    before, record = next(
        pair for pair in pairwise(world.records()) if pair[1].operation == "BEGIN" and pair[0].operation == "COMMIT"
    )
    boundary = int(before.fields["sourcePosition"].partition("@")[0])
    begun: list[int] = []

    class Noting(FileSource):
        async def start(self, position: object) -> None:
            begun.append(position.position)  # type: ignore[attr-defined]
            await super().start(position)  # type: ignore[arg-type]

    found = await explain(Noting([DEMO]), server_of(world), record.fields, record.value, boundary, [])
    assert begun == [boundary]
    assert found.events[0].name == "QUERY"


def test_every_event_of_a_recorded_file_is_taken_apart() -> None:
    decoder, seen = EventDecoder(), set[int]()
    data = DEMO.read_bytes()
    assert data.startswith(BINLOG_MAGIC)
    for raw in iter_events(data):
        header, event = decoder.decode(raw)
        parts = dissect(raw, header, event, decoder)
        places = [(part.start, part.end) for part in parts]
        assert places[0][0] == 0
        assert places[-1][1] == len(raw)
        assert all(end == start for (_, end), (start, _) in pairwise(places))
        seen.add(header.type_code)
    assert len(seen) >= 5


# ---- real servers ----

TABLE = (
    "CREATE TABLE t (id INT UNSIGNED PRIMARY KEY, tiny TINYINT, big BIGINT, f FLOAT, d DOUBLE, price DECIMAL(12,3), "
    "name VARCHAR(300) CHARACTER SET utf8mb4, code CHAR(5) CHARACTER SET latin1, day DATE, at TIME(3), "
    "moment DATETIME(6), stamp TIMESTAMP NULL, y YEAR, flags BIT(12), "
    "e ENUM('a','b'), s SET('x','y','z'), b BINARY(4), v VARBINARY(20), "
    "text TEXT CHARACTER SET utf8mb4, data BLOB, place POINT)"
)
ROW = (
    "-7, -9007199254740993, 0.1, 1e300, -12345.678, 'Börje', 'abc', '2026-01-31', '-12:34:56.789', "
    "'2026-01-31 01:02:03.000004', '2026-01-31 01:02:03', 2026, b'101', 'b', 'x,z', 'ab', 0x00ff, REPEAT('long ', 90), "
    "0x0001, POINT(1, 2)"
)


def live_source(server: LiveServer) -> Callable[[], Source]:
    address = SourceAddress.parse(server.url())
    return lambda: open_source(address, 4717, CLOCK)


async def carried(world: World, server: LiveServer, database: str, statements: Sequence[str]) -> list[StoredRecord]:
    """The records that statements give, captured while they run."""
    factory = live_source(server)
    channel = world.channel(factory, database, url=server.url(), start="now")
    async with running(channel):
        await asyncio.to_thread(server.execute_all, *statements, database=database)
        await asyncio.to_thread(server.execute, f"CREATE TABLE {database}.last_of_all (id INT PRIMARY KEY)")
        await until(world, lambda: any("last_of_all" in str(r.fields["afterImages"]) for r in world.records()))
    return world.records()


async def test_records_of_a_real_server(world: World, server: LiveServer) -> None:
    database = server.fresh_database()
    records = await carried(
        world,
        server,
        database,
        [
            TABLE,
            f"INSERT INTO t VALUES (1, {ROW}), (2, {ROW}), (3{', NULL' * 20})",
            "UPDATE t SET name = CONCAT(name, '!'), tiny = NULL WHERE id < 3",
            "ALTER TABLE t ADD COLUMN more INT DEFAULT 5 FIRST",
            "DELETE FROM t WHERE id = 2",
        ],
    )
    of_rows = [record for record in records if record.operation in ROWS]
    assert [record.operation for record in of_rows] == ["INSERT"] * 3 + ["UPDATE"] * 2 + ["DELETE"]
    for record in records:
        found = await explained(world, record, live_source(server)())
        assert found.missing is None
        for event in found.events:
            check_parts(event)
        if record in of_rows:
            check_row(record, found)
    altered = await explained(world, of_rows[-1], live_source(server)())
    assert altered.definition is not None
    assert altered.definition.statement == "ALTER TABLE t ADD COLUMN more INT DEFAULT 5 FIRST"


@pytest.mark.parametrize(
    ("kind", "setting"),
    [
        ("mysql97", "SET SESSION binlog_transaction_compression = ON"),
        ("mariadb1011", "SET GLOBAL log_bin_compress = ON"),
    ],
)
async def test_records_of_compressed_events(
    world: World, server_factory: Callable[..., LiveServer], kind: str, setting: str
) -> None:
    server = await asyncio.to_thread(server_factory, kind)
    database = server.fresh_database()
    rows = ", ".join(f"({number}, REPEAT('same ', 200))" for number in range(20))
    create = "CREATE TABLE t (id INT PRIMARY KEY, v TEXT)"
    records = await carried(world, server, database, [create, setting, f"INSERT INTO t VALUES {rows}", "DELETE FROM t"])
    of_rows = [record for record in records if record.operation in ROWS]
    assert len(of_rows) == 40
    for record in (of_rows[0], of_rows[19], of_rows[39]):
        found = await explained(world, record, live_source(server)())
        check_row(record, found)
        for event in found.events[:-1] if kind == "mariadb1011" else found.events:
            check_parts(event)
        assert any("uncompressed" in event.place or "uncompressed" in event.note for event in found.events)
    for operation in ("BEGIN", "COMMIT"):
        record = [record for record in records if record.operation == operation][-1]
        found = await explained(world, record, live_source(server)())
        assert found.missing is None
        assert found.events


async def test_a_partial_update_of_json(world: World, mysql97: LiveServer) -> None:
    database = mysql97.fresh_database()
    with mysql97.global_variable("binlog_row_value_options", "PARTIAL_JSON"):
        mysql97.disconnect()
        records = await carried(
            world,
            mysql97,
            database,
            [
                "CREATE TABLE t (id INT PRIMARY KEY, j JSON)",
                """INSERT INTO t VALUES (1, '{"a": 1, "b": "some text that is long enough"}')""",
                "UPDATE t SET j = JSON_SET(j, '$.a', 2)",
            ],
        )
    mysql97.disconnect()
    [update] = [record for record in records if record.operation == "UPDATE"]
    found = await explained(world, update, live_source(mysql97)())
    check_row(update, found)
    assert found.events[-1].name == "PARTIAL_UPDATE_ROWS"
    assert found.events[-1].note == "the images as they are with their differences applied"


async def test_a_row_of_an_xa_transaction(world: World, mysql97: LiveServer) -> None:
    database = mysql97.fresh_database()
    xid = f"'{database}'"
    records = await carried(
        world,
        mysql97,
        database,
        [
            "CREATE TABLE t (id INT PRIMARY KEY)",
            f"XA START {xid}",
            "INSERT INTO t VALUES (1)",
            f"XA END {xid}",
            f"XA PREPARE {xid}",
            f"XA COMMIT {xid}",
        ],
    )
    [insert] = [record for record in records if record.operation == "INSERT"]
    found = await explained(world, insert, live_source(mysql97)())
    assert found.verdict == "none here: its row was logged at XA PREPARE, kept, and published at this statement"
    assert "XA COMMIT" in found.events[-1].parts[-2].value


async def test_an_image_that_lacks_columns(world: World, mysql97: LiveServer) -> None:
    database = mysql97.fresh_database()
    factory = live_source(mysql97)
    channel = world.channel(factory, database, url=mysql97.url(), start="now", row_image="any")
    async with running(channel):
        with mysql97.connect(database=database) as connection, connection.cursor() as cursor:
            for statement in (
                "CREATE TABLE t (id INT PRIMARY KEY, a INT, b INT)",
                "INSERT INTO t VALUES (1, 2, 3)",
                "SET SESSION binlog_row_image = MINIMAL",
                "UPDATE t SET b = 4",
            ):
                await asyncio.to_thread(cursor.execute, statement)
        await until(world, lambda: "UPDATE" in world.operations())
    [update] = [record for record in world.records() if record.operation == "UPDATE"]
    found = await explained(world, update, factory())
    parts = [(part.image, part.name) for part in found.events[-1].parts if part.column is not None]
    assert parts == [("before", "id"), ("after", "b")]
    check_parts(found.events[-1])


async def test_a_binlog_that_was_purged(world: World, server_factory: Callable[..., LiveServer]) -> None:
    server = await asyncio.to_thread(server_factory, "mysql97")
    database = server.fresh_database()
    records = await carried(
        world, server, database, ["CREATE TABLE t (id INT PRIMARY KEY)", "INSERT INTO t VALUES (1)"]
    )
    server.execute_all("FLUSH BINARY LOGS", f"PURGE BINARY LOGS TO '{server.binlog_files()[-1][0]}'")
    server.execute("FLUSH BINARY LOGS")
    server.execute(f"PURGE BINARY LOGS TO '{server.binlog_files()[-1][0]}'")
    [insert] = [record for record in records if record.operation == "INSERT"]
    found = await explained(world, insert, live_source(server)())
    assert found.events == []
    name = server.binlog_files()[0][0]
    assert found.missing == (
        f"the binlog file binlog.000001 is no longer on mysql://repl@{server.host}:{server.port}, which has {name} to "
        f"{name}: the record stands, the bytes it was made of are gone"
    )
    assert found.definition is not None


async def test_a_record_that_this_binlog_did_not_make(world: World, mysql97: LiveServer) -> None:
    database = mysql97.fresh_database()
    records = await carried(
        world, mysql97, database, ["CREATE TABLE t (id INT PRIMARY KEY)", "INSERT INTO t VALUES (1)"]
    )
    [insert] = [record for record in records if record.operation == "INSERT"]
    server = server_of(world)
    other = {**insert.fields, "sourceTimestamp": insert.fields["sourceTimestamp"] + 1}
    found = await explain(live_source(mysql97)(), server, other, insert.value, None, definitions(world, insert))
    assert (
        found.verdict == "none of the rows of this event makes this record again: it is not what was captured from here"
    )
    assert [event.name for event in found.events] == ["TABLE_MAP", "WRITE_ROWS"]
    lost = await explain(live_source(mysql97)(), server, insert.fields, insert.value, None, [])
    assert lost.verdict == "the definition of the table at that position is not kept any more"
    nowhere = {**insert.fields, "sourcePosition": "4@900000", "safeSourcePosition": "4@900000"}
    missing = await explain(live_source(mysql97)(), server, nowhere, insert.value, None, [])
    assert missing.missing is not None
    assert "binlog.900000" in missing.missing


async def test_the_host_that_the_record_came_from(
    world: World, mysql97: LiveServer, server_factory: Callable[..., LiveServer]
) -> None:
    database = mysql97.fresh_database()
    records = await carried(
        world, mysql97, database, ["CREATE TABLE t (id INT PRIMARY KEY)", "INSERT INTO t VALUES (1)"]
    )
    [insert] = [record for record in records if record.operation == "INSERT"]
    other = await asyncio.to_thread(server_factory, "mysql97")
    account = f"mysql://{other.repl_user}:{other.repl_password}@"
    hosts = f"127.0.0.1:1,{other.host}:{other.port},{mysql97.host}:{mysql97.port}"
    found = await explained(world, insert, open_source(SourceAddress.parse(account + hosts), 4718, CLOCK))
    check_row(insert, found)
    alone = await explained(world, insert, live_source(other)())
    assert alone.missing == (
        f"mysql://repl@{other.host}:{other.port} is another server than the one this record was captured from"
    )


def test_an_unknown_event_is_named_by_its_number() -> None:
    decoder = EventDecoder()
    raw = next(iter(iter_events(DEMO.read_bytes())))
    decoder.decode(raw)
    with pytest.raises(UnsupportedEvent):
        decoder.decode(raw[:4] + b"\xc8" + raw[5:])
