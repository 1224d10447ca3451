"""XA transactions and compressed ones through a whole channel: what is given out, and where it stands."""

from __future__ import annotations

import asyncio
from random import Random
from string import ascii_letters
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from capture.binlog_files import BinlogFile
from capture.channel import State
from capture.encode import EventEncoder
from capture.events import Checksum
from capture.payload import Compression
from capture.position import BinlogPosition
from capture.scan import scan
from capture.start import _first_transaction_at as first_transaction_at
from capture.transactions import StepKind
from capture.xa import Xid
from storage.files import Files
from storage.prepared_file import prepared_paths
from tests.capture.test_channel import CREATE_DATABASE, CREATE_OTHER, CREATE_TABLE, OTHER, TIME, Shop, T
from tests.capture.world import FILE, UUID, WAIT_S, FedSource, World, records_of_a_run, running, settle, until
from tests.fakes import ManualClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from storage.log import SourcePosition
    from tests.capture.world import StoredRecord

A, B = Xid(1, b"a", b""), Xid(7, b"b", b"branch")
LATER = TIME + 100


class Xa(Shop):
    """Writes XA and compressed transactions too."""

    def start(self, xid: Xid) -> None:
        self.number += 1
        self.source.feed(self.encoder.gtid(TIME, UUID, self.number))
        self.query(f"XA START {xid}")

    def prepare(self, xid: Xid, *, one_phase: bool = False) -> None:
        self.query(f"XA END {xid}")
        self.source.feed(self.encoder.xa_prepare(TIME, xid, one_phase=one_phase))

    def prepared(self, xid: Xid, *ids: int, note: str | None = None) -> None:
        self.start(xid)
        self.insert(*ids, note=note)
        self.prepare(xid)

    def end(self, verb: str, xid: Xid) -> None:
        self.say(f"XA {verb} {xid}", timestamp=LATER)

    def compressed(self, *ids: int, compression: Compression = Compression.ZSTD) -> None:
        self.number += 1
        inner = EventEncoder(checksum=Checksum.NONE)
        events = [
            inner.query(TIME, "BEGIN", database="shop", thread_id=9),
            inner.table_map(TIME, T, 100),
            *(inner.write_rows(TIME, T, 100, [{"id": number, "note": "n" * 1000}]) for number in ids),
            inner.xid(TIME, self.number),
        ]
        self.source.feed(self.encoder.gtid(TIME, UUID, self.number), self.encoder.payload(TIME, events, compression))


class Forked(FedSource):
    """A source whose siblings read what it has been fed beside it."""

    def sibling(self) -> Forked:
        made = Forked()
        made.events = self.events
        made.end()
        return made


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(now_ms=TIME * 1000)


@pytest.fixture
async def world(tmp_path: Path, clock: ManualClock) -> AsyncIterator[World]:
    made = World(tmp_path, clock)
    yield made
    await made.close()


@pytest.fixture
def source() -> Forked:
    return Forked()


@pytest.fixture
def xa(source: Forked) -> Xa:
    made = Xa(source)
    for sql in (CREATE_DATABASE, CREATE_TABLE, CREATE_OTHER):
        made.say(sql)
    return made


async def carried(world: World, source: FedSource, *objects: str) -> list[StoredRecord]:
    """Everything but the DDL, when the source has ended."""
    source.end()
    async with running(world.channel(lambda: source, *(objects or ("shop",)))) as channel, asyncio.timeout(WAIT_S):
        status = await channel.wait_ended()
        assert status.ended, status.reason
    return [record for record in world.records() if record.operation != "DDL"]


def ids(records: Sequence[StoredRecord]) -> list[str]:
    return [record.fields["afterImages"][0]["value"] for record in records if record.operation == "INSERT"]


async def test_rows_stand_where_they_are_committed(world: World, source: Forked, xa: Xa) -> None:
    xa.prepared(A, 1, 2)
    xa.prepared(B, 3)
    xa.transaction(4)
    xa.end("ROLLBACK", B)
    start = source.encoder.position
    xa.end("COMMIT", A)
    end = source.encoder.position
    xa.transaction(5)
    records = await carried(world, source)
    assert ids(records) == ["4", "1", "2", "5"]
    of_xa = records[3:7]
    assert [record.operation for record in of_xa] == ["BEGIN", "INSERT", "INSERT", "COMMIT"]
    assert {record.fields["sourcePosition"] for record in of_xa} == {f"{end}@7"}
    assert {record.timestamp_ms for record in of_xa} == {LATER * 1000}
    assert {record.fields["sourceTimestamp"] for record in of_xa} == {LATER}
    gtid_bytes = int(of_xa[1].fields["safeSourcePosition"].partition("@")[0]) - start
    assert 0 < gtid_bytes < 100
    assert [record.tags["thread_id"] for record in of_xa[:3]] == ["8"] * 3
    assert of_xa[0].tags["GTID"] == of_xa[3].tags["GTID"]
    assert [int(record.fields["id"]) for record in records] == [record.offset for record in records]


async def test_one_phase_is_a_commit_in_place(world: World, source: Forked, xa: Xa) -> None:
    xa.start(A)
    xa.insert(1)
    xa.query("SAVEPOINT s")
    xa.insert(2, table=OTHER)
    xa.query("ROLLBACK TO s")
    xa.insert(3)
    xa.prepare(A, one_phase=True)
    begin, first, second, commit = await carried(world, source)
    assert ids([first, second]) == ["1", "3"]
    positions = [int(one.fields["sourcePosition"].partition("@")[0]) for one in (begin, first, second, commit)]
    assert positions == sorted(set(positions))
    assert commit.fields["sourcePosition"] == f"{source.encoder.position}@7"


@pytest.mark.parametrize("one_phase", [False, True])
async def test_a_transaction_of_any_size(world: World, source: Forked, xa: Xa, one_phase: bool) -> None:
    xa.start(A)
    for number in range(60):
        if number == 30:
            xa.query("SAVEPOINT s")
        xa.insert(number, note="x" * 60_000)
        if number == 35:
            xa.query("ROLLBACK TO s")
    xa.prepare(A, one_phase=one_phase)
    if not one_phase:
        xa.end("COMMIT", A)
    records = await carried(world, source)
    assert ids(records) == [str(number) for number in (*range(30), *range(36, 60))]
    assert world.operations()[-1] == "COMMIT"
    if one_phase:
        assert not prepared_paths(Files(), world.log.directory)


async def test_untracked_tables_never_stop_and_leave_nothing(world: World, source: Forked, xa: Xa) -> None:
    xa.start(A)
    xa.insert(1, table=OTHER)
    xa.prepare(A)
    xa.end("COMMIT", A)
    records = await carried(world, source, "shop.t")
    assert [record.operation for record in records] == ["BEGIN", "COMMIT"]


async def test_the_definition_of_its_own_time_is_used(world: World, source: Forked, xa: Xa) -> None:
    xa.prepared(A, 1)
    xa.say("ALTER TABLE t ADD COLUMN more INT FIRST, RENAME TO t2")
    xa.end("COMMIT", A)
    (row,) = [record for record in await carried(world, source) if record.operation == "INSERT"]
    assert row.fields["objectName"] == "shop.t"
    assert [field["name"] for field in row.fields["fields"]] == ["id", "note"]


async def test_rows_left_out_are_read_again_once_they_are_wanted(world: World, source: Forked, xa: Xa) -> None:
    xa.start(A)
    xa.insert(1, table=OTHER)
    xa.insert(2)
    xa.prepare(A)
    channel = world.channel(lambda: source, "shop.t")
    async with running(channel):
        await until(world, lambda: world.log.recovered is not None)
        await settle()
    xa.end("COMMIT", A)
    assert ids(await carried(world, source)) == ["1", "2"]


async def test_a_damaged_file_is_replaced_by_what_the_binlog_says(world: World, source: Forked, xa: Xa) -> None:
    xa.prepared(A, 1, 2)
    xa.transaction(3)
    channel = world.channel(lambda: source, "shop")
    async with running(channel):
        await until(world, lambda: world.operations()[-1:] == ["COMMIT"])
    (path,) = prepared_paths(Files(), world.log.directory)
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    xa.end("COMMIT", A)
    assert ids(await carried(world, source)) == ["3", "1", "2"]


async def test_a_commit_of_what_cannot_be_found_stops(world: World, source: Forked, xa: Xa) -> None:
    xa.end("COMMIT", A)
    source.end()
    async with running(world.channel(lambda: source, "shop"), State.ERROR) as channel:
        reason = channel.status().reason
    assert reason is not None
    assert f"XA transaction {A} is committed at {FILE}:" in reason
    assert "start a new channel" in reason


async def test_no_position_moves_before_what_was_prepared_is_durable(
    world: World, source: Forked, xa: Xa, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(200):
        xid = Xid(1, str(number).encode(), b"")
        xa.prepared(xid, number)
        if number % 3:
            xa.end("COMMIT" if number % 2 else "ROLLBACK", xid)
    source.end()
    channel = world.channel(lambda: source, "shop")
    commit = world.log.commit
    waiting = []

    def observed(positions: Sequence[SourcePosition]) -> None:
        assert channel._session is not None
        waiting.append(channel._session._xa.store.unsynced_count)
        commit(positions)

    monkeypatch.setattr(world.log, "commit", observed)
    async with running(channel), asyncio.timeout(WAIT_S):
        assert (await channel.wait_ended()).ended
    assert set(waiting) == {0}
    assert len(waiting) > 3, "so many that they were made durable several times"
    assert ids(world.records()) == [str(number) for number in range(200) if number % 3 and number % 2]


async def test_a_loss_of_power_takes_the_commit_back_and_it_comes_again(
    tmp_path: Path, clock: ManualClock, source: Forked, xa: Xa
) -> None:
    """The log is as it was before XA COMMIT, the file says that it was reached."""
    folder = tmp_path / "topic-0"
    xa.prepared(A, 1, 2)
    xa.transaction(3)
    world = World(tmp_path, clock)
    async with running(world.channel(lambda: source, "shop")):
        await until(world, lambda: world.operations()[-1:] == ["COMMIT"])
    await world.close(orderly=False)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    xa.end("COMMIT", A)
    world = World(tmp_path, clock)
    async with running(world.channel(lambda: source, "shop")):
        await until(world, lambda: ids(world.records()) == ["3", "1", "2"])
    await world.close(orderly=False)
    (kept,) = prepared_paths(Files(), folder)
    assert kept.read_bytes() != before[kept.name], "its end stands in it"
    for name, content in before.items():
        if name != kept.name:
            (folder / name).write_bytes(content)
    world = World(tmp_path, clock)
    assert ids(world.records()) == ["3"]
    source.sibling = None  # type: ignore[method-assign, assignment]  # nothing is looked for in the binlog
    assert ids(await carried(world, source)) == ["3", "1", "2"]
    await world.close()


class FromTheStart(Forked):
    """Sends its file from the start whatever is asked, as servers do where a position has more than 32 bits."""

    def sibling(self) -> FromTheStart:
        made = FromTheStart()
        made.events = self.events
        made.end()
        return made

    async def start(self, position: BinlogPosition) -> None:
        await super().start(position.at(4))


async def test_looking_back_far_into_a_file_passes_over_what_lies_before(world: World) -> None:
    source = FromTheStart()
    xa = Xa(source)
    for sql in (CREATE_DATABASE, CREATE_TABLE):
        xa.say(sql)
    xa.prepared(A, 1)
    xa.end("COMMIT", A)
    for number in range(100, 180):
        xa.transaction(number, note="x" * 60_000)
    xa.prepared(A, 2)
    xa.transaction(3)
    async with running(world.channel(lambda: source, "shop")):
        await until(world, lambda: ids(world.records())[-1:] == ["3"] and world.operations()[-1] == "COMMIT")
    for path in prepared_paths(Files(), world.log.directory):
        path.unlink()
    xa.end("COMMIT", A)
    assert ids(await carried(world, source)) == ["1", *map(str, range(100, 180)), "3", "2"]


async def test_a_scan_far_into_a_file_begins_where_it_is_to() -> None:
    source = FromTheStart()
    xa = Xa(source)
    xa.say(CREATE_DATABASE)
    start = xa.position
    xa.say(CREATE_TABLE)
    end = xa.position
    steps = [(step.kind, step.end) async for _, step in scan(source, await source.connect(), start, end)]
    assert steps[-1] == (StepKind.STATEMENT, end.position)
    assert [kind for kind, _ in steps].count(StepKind.STATEMENT) == 1


class Asked(Forked):
    """Says where its log ends."""

    async def query(self, sql: str) -> list[tuple[str | None, ...]]:
        return [(FILE, str(self.encoder.position), "", "", "")]


async def test_a_time_finds_the_commit_as_the_beginning_of_a_transaction() -> None:
    source = Asked()
    xa = Xa(source)
    xa.prepared(A, 1)
    boundary = source.encoder.position
    xa.end("COMMIT", A)
    xa.transaction(2, timestamp=LATER + 1)
    info = await source.connect()
    file = BinlogFile(FILE, source.encoder.position)
    point = await first_transaction_at(source, info, file, LATER)
    assert point.position == BinlogPosition(FILE, boundary)


async def test_rows_of_a_prepared_transaction_that_came_compressed(world: World, source: Forked, xa: Xa) -> None:
    """Also one that is as large as all it came in: it has no checksum of its own."""
    inner = EventEncoder(checksum=Checksum.NONE)
    noise = "".join(Random(5).choices(ascii_letters, k=9000))
    xa.number += 1
    xa.source.feed(xa.encoder.gtid(TIME, UUID, xa.number))
    begin = [inner.query(TIME, f"XA START {A}", database="shop", thread_id=9), inner.table_map(TIME, T, 100)]
    rest = [
        inner.write_rows(TIME, T, 100, [{"id": 2, "note": noise}]),
        inner.query(TIME, f"XA END {A}", database="shop", thread_id=9),
        inner.xa_prepare(TIME, A),
    ]
    for size in range(1000, 9000):
        large = inner.write_rows(TIME, T, 100, [{"id": 1, "note": "n" * size}])
        payload = EventEncoder(position=xa.encoder.position).payload(TIME, [*begin, large, *rest], Compression.ZSTD)
        if len(payload) == len(large):
            break
    else:
        raise AssertionError("no row is as large as what it came in")
    xa.source.feed(xa.encoder.payload(TIME, [*begin, large, *rest], Compression.ZSTD))
    xa.end("COMMIT", A)
    rows = [record for record in await carried(world, source) if record.operation == "INSERT"]
    assert ids(rows) == ["1", "2"]
    assert [row.fields["afterImages"][1]["value"] for row in rows] == [b"n" * size, noise.encode()]


@pytest.mark.parametrize("compression", Compression)
async def test_compressed_transactions(world: World, source: Forked, xa: Xa, compression: Compression) -> None:
    xa.compressed(*range(600), compression=compression)
    start = source.encoder.position
    xa.compressed(1000, compression=compression)
    end = source.encoder.position
    records = await carried(world, source)
    assert ids(records) == [*map(str, range(600)), "1000"]
    assert [record.operation for record in records[-3:]] == ["BEGIN", "INSERT", "COMMIT"]
    assert {record.fields["sourcePosition"] for record in records[-3:]} == {f"{end}@7"}
    safe = int(records[-2].fields["safeSourcePosition"].partition("@")[0])
    assert start < safe < end
    assert records[-2].tags["thread_id"] == "9"


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 10_000), st.integers(0, 80), st.booleans())
async def test_wherever_it_is_killed_the_records_are_the_same(
    tmp_path_factory: pytest.TempPathFactory, cut: int, turns: int, orderly: bool
) -> None:
    clock = ManualClock(now_ms=TIME * 1000)
    source = Forked()
    xa = Xa(source)
    for sql in (CREATE_DATABASE, CREATE_TABLE):
        xa.say(sql)
    xa.prepared(A, 1, 2)
    xa.transaction(3)
    xa.prepared(B, 4, *range(20, 29), note="x" * 60_000)
    xa.compressed(5, 6)
    xa.end("COMMIT", A)
    xa.prepared(A, 7)
    xa.end("COMMIT", B)
    xa.transaction(8)
    xa.end("ROLLBACK", A)
    xa.prepared(A, 9)
    xa.end("COMMIT", A)

    async def captured(stop_at: int | None) -> list[bytes]:
        folder = tmp_path_factory.mktemp("log")
        records = await records_of_a_run(folder, clock, source, stop_at=stop_at, turns=turns, orderly=orderly)
        assert ids(records) == ["3", "5", "6", "1", "2", "4", *map(str, range(20, 29)), "8", "9"]
        return [record.value for record in records]

    assert await captured(cut % len(source.events)) == await captured(None)
