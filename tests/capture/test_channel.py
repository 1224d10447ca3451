"""The channel: what it writes and when, what it does when something breaks, and what it never shows."""

from __future__ import annotations

import asyncio
import errno
import os
import sys
import threading
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from capture.assembler import Assembler
from capture.channel import (
    BACKOFF_FIRST_MS,
    BACKOFF_MAX_MS,
    RETRY_MS,
    STORAGE_BACKOFF_MAX_MS,
    TRANSITIONS,
    ChannelStatus,
    State,
)
from capture.dialect import Dialect
from capture.encode import EventEncoder
from capture.errors import CaptureError, SourceRefused, SourceUnavailable
from capture.events import HEADER_BYTES, Checksum, EventType
from capture.position import BinlogPosition
from capture.rows_event import decode_rows
from capture.schema import SchemaHistory, Session
from capture.session import ASIDE_BYTES, EVENT_WORK_BYTES, LOOK_BYTES, UNCOMPRESSED_BYTES
from capture.session import Session as CaptureSession
from capture.source import StreamEnded
from capture.transactions import BinlogWalker, StepKind
from storage.config import LogConfig
from storage.errors import CatalogUnavailable, CorruptLog, LogWriteError
from storage.scheduler import SLICE_MS
from storage.segment_log import SegmentLog
from tests.capture.world import FILE, UUID, WAIT_S, FedSource, World, records_of_a_run, running, settle, until
from tests.fakes import ManualClock, ManualScheduler

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from pathlib import Path

    from capture.channel import Channel
    from capture.table import TableVersion
    from capture.transactions import Step
    from storage.flushing import FlushJob
    from storage.log import SourcePosition
    from tests.fakes import ManualTimer

TIME = 1_700_000_000
CREATE_DATABASE = "CREATE DATABASE shop"
CREATE_TABLE = "CREATE TABLE t (id INT PRIMARY KEY, note TEXT)"
CREATE_OTHER = "CREATE TABLE other (id INT PRIMARY KEY)"


def table_version(sql: str) -> TableVersion:
    from capture.ddl import parse

    history = SchemaHistory(Dialect.of("8.0.36"), lambda database, table: True)
    history.apply(parse(CREATE_DATABASE), Session(None, 0, 255), (1, 1), CREATE_DATABASE)
    (change,) = history.apply(parse(sql), Session("shop", 0, 255), (1, 2), sql)
    assert change.new is not None
    return change.new


T, OTHER = table_version(CREATE_TABLE), table_version(CREATE_OTHER)


class Shop:
    """Writes a shop's binlog into a fed source."""

    def __init__(self, source: FedSource) -> None:
        self.source = source
        self.encoder = source.encoder
        self.number = 0

    def say(self, sql: str, *, timestamp: int = TIME) -> None:
        """A statement with a GTID of its own."""
        self.number += 1
        self.source.feed(
            self.encoder.gtid(timestamp, UUID, self.number),
            self.encoder.query(timestamp, sql, database="shop", thread_id=8),
        )

    def begin(self, *, timestamp: int = TIME) -> None:
        self.number += 1
        self.source.feed(self.encoder.gtid(timestamp, UUID, self.number))
        self.query("BEGIN", timestamp=timestamp)

    def query(self, sql: str, *, timestamp: int = TIME) -> None:
        self.source.feed(self.encoder.query(timestamp, sql, database="shop", thread_id=8))

    def insert(self, *ids: int, table: TableVersion = T, note: str | None = None, timestamp: int = TIME) -> None:
        rows: list[dict[str, Any]] = [{"id": number, "note": note} if table is T else {"id": number} for number in ids]
        table_id = 100 if table is T else 101
        self.source.feed(
            self.encoder.table_map(timestamp, table, table_id),
            self.encoder.write_rows(timestamp, table, table_id, rows),
        )

    def commit(self, *, timestamp: int = TIME) -> None:
        self.source.feed(self.encoder.xid(timestamp, self.number))

    def transaction(self, *ids: int, note: str | None = None, timestamp: int = TIME) -> None:
        self.begin(timestamp=timestamp)
        self.insert(*ids, note=note, timestamp=timestamp)
        self.commit(timestamp=timestamp)

    @property
    def position(self) -> BinlogPosition:
        return BinlogPosition(FILE, self.encoder.position)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(now_ms=TIME * 1000)


@pytest.fixture
def scheduler(clock: ManualClock) -> ManualScheduler:
    return ManualScheduler(clock)


@pytest.fixture
def source() -> FedSource:
    return FedSource()


@pytest.fixture
def shop(source: FedSource) -> Shop:
    made = Shop(source)
    for sql in (CREATE_DATABASE, CREATE_TABLE, CREATE_OTHER):
        made.say(sql)
    return made


@pytest.fixture
async def world(tmp_path: Path, clock: ManualClock) -> AsyncIterator[World]:
    made = World(tmp_path, clock)
    yield made
    await made.close()


@pytest.fixture
def channel(world: World, source: FedSource, scheduler: ManualScheduler) -> Channel:
    return world.channel(lambda: source, "shop.t", scheduler=scheduler)


async def visible(channel: Channel, shop: Shop) -> None:
    async with asyncio.timeout(WAIT_S):
        await channel.wait_visible(shop.position)


def ids(world: World) -> list[int]:
    return [int(record.fields["afterImages"][0]["value"]) for record in world.records() if record.operation == "INSERT"]


# ---- what is written ----


async def test_a_transaction_without_tracked_rows_is_an_empty_pair(world: World, channel: Channel, shop: Shop) -> None:
    shop.begin()
    shop.insert(1, 2, table=OTHER)
    shop.commit()
    async with running(channel):
        await visible(channel, shop)
    assert world.operations() == ["DDL", "DDL", "DDL", "BEGIN", "COMMIT"]


async def test_administration_moves_the_position_and_writes_nothing(world: World, channel: Channel, shop: Shop) -> None:
    shop.transaction(1)
    shop.say("GRANT SELECT ON *.* TO someone")
    async with running(channel):
        await visible(channel, shop)
    assert world.operations()[3:] == ["BEGIN", "INSERT", "COMMIT"]
    assert world.log.recovered is not None
    assert world.log.recovered.position == shop.position.position
    assert [(run.first, run.last) for run in world.log.recovered.intervals] == [(1, shop.number)]


@pytest.mark.parametrize(
    ("data_types", "expected"),
    [
        ({"dml", "ddl"}, ["DDL", "DDL", "DDL", "BEGIN", "INSERT", "COMMIT", "DDL"]),
        ({"dml"}, ["BEGIN", "INSERT", "COMMIT"]),
        ({"ddl"}, ["DDL", "DDL", "DDL", "BEGIN", "COMMIT", "DDL"]),
    ],
)
async def test_data_types(
    world: World, source: FedSource, shop: Shop, data_types: set[str], expected: list[str]
) -> None:
    """DDL is that of the whole instance, rows only those of tracked tables."""
    shop.transaction(1)
    shop.say("CREATE TABLE elsewhere.x (a INT)")
    channel = world.channel(lambda: source, "shop.t", data_types=frozenset(data_types))
    async with running(channel):
        await visible(channel, shop)
    assert world.operations() == expected


async def test_ddl_names_its_target_and_the_whole_set(world: World, channel: Channel, shop: Shop) -> None:
    shop.say("CREATE TABLE elsewhere.x (a INT)", timestamp=TIME + 5)
    async with running(channel):
        await visible(channel, shop)
    record = world.records()[-1]
    assert record.fields["objectName"] == "elsewhere"
    assert record.fields["afterImages"] == "CREATE TABLE elsewhere.x (a INT)"
    assert record.tags["GTID"] == f"{UUID}:4"
    assert record.tags["GTID_SET"] == f"{UUID}:1-4"
    assert record.tags["commitTimestamp"] == str(TIME + 5)
    assert record.fields["sourcePosition"] == record.fields["safeSourcePosition"] == f"{shop.position.position}@7"


async def test_several_tables_of_one_statement_share_the_safe_position(
    world: World, source: FedSource, shop: Shop
) -> None:
    shop.begin()
    first_map = shop.encoder.position
    source.feed(
        shop.encoder.table_map(TIME, T, 100),
        shop.encoder.table_map(TIME, OTHER, 101),
        shop.encoder.write_rows(TIME, T, 100, [{"id": 1}], ends_statement=False),
        shop.encoder.write_rows(TIME, OTHER, 101, [{"id": 2}]),
    )
    second_map = shop.encoder.position
    shop.insert(3)
    shop.commit()
    channel = world.channel(lambda: source, "shop")
    async with running(channel):
        await visible(channel, shop)
    rows = [record.fields for record in world.records() if record.operation == "INSERT"]
    assert [row["safeSourcePosition"] for row in rows] == [f"{first_map}@7", f"{first_map}@7", f"{second_map}@7"]
    assert [row["objectName"] for row in rows] == ["shop.t", "shop.other", "shop.t"]


async def test_everything_that_waited_is_one_commit(world: World, channel: Channel, shop: Shop) -> None:
    """Group commit: one wake-up, one publish; and a single small transaction is not delayed for more."""
    published: list[int] = []
    world.log.subscribe(lambda: published.append(world.log.high_watermark))
    for number in range(20):
        shop.transaction(number)
    async with running(channel):
        await visible(channel, shop)
        assert published == [63]
        shop.transaction(99)
        await visible(channel, shop)
    assert published == [63, 66]


# ---- transactions that end otherwise ----


async def test_rollback_to_a_savepoint_takes_its_rows_back(world: World, channel: Channel, shop: Shop) -> None:
    shop.begin()
    shop.insert(1)
    shop.query("SAVEPOINT `a`")
    shop.insert(2)
    shop.query("SAVEPOINT b")
    shop.insert(3, 4)
    shop.query("ROLLBACK TO `b`")
    shop.insert(5)
    shop.query("ROLLBACK TO SAVEPOINT A")
    shop.insert(6)
    shop.commit()
    shop.transaction(7)
    async with running(channel):
        await visible(channel, shop)
    assert ids(world) == [1, 6, 7]
    assert [record.fields["id"] for record in world.records()] == list(range(len(world.records())))


@pytest.mark.parametrize("data_types", [{"dml"}, {"dml", "ddl"}])
async def test_rows_that_the_log_has_already_are_taken_back_too(
    world: World, source: FedSource, shop: Shop, data_types: set[str]
) -> None:
    """The transaction is read again without them, as often as it takes; also if it gives the first records of all."""
    channel = world.channel(lambda: source, "shop", data_types=frozenset(data_types))
    shop.begin()
    shop.insert(1)
    shop.query("SAVEPOINT a")
    shop.insert(2, table=OTHER)
    for number in range(10, 40):
        shop.insert(number, note="x" * 60_000)
    shop.query("ROLLBACK TO a")
    shop.insert(3)
    shop.query("SAVEPOINT b")
    for number in range(50, 80):
        shop.insert(number, note="x" * 60_000)
    shop.query("SAVEPOINT c")
    for number in range(80, 110):
        shop.insert(number, note="x" * 60_000)
    shop.query("ROLLBACK TO c")
    shop.insert(4, note="x" * 60_000)
    shop.commit()
    shop.transaction(5)
    async with running(channel):
        await visible(channel, shop)
        assert channel.status().reconnects == 0
    assert ids(world) == [1, 3, *range(50, 80), 4, 5]
    assert world.operations().count("BEGIN") == 2
    assert [record.fields["id"] for record in world.records()] == list(range(len(world.records())))


@pytest.mark.parametrize("ending", ["ROLLBACK", "server died"])
@pytest.mark.parametrize("rows", [3, 4000])
async def test_a_rolled_back_transaction_leaves_its_position_only(
    world: World, channel: Channel, shop: Shop, source: FedSource, ending: str, rows: int
) -> None:
    """Also when it was so large that most of it had been appended to the log already."""
    shop.transaction(1)
    shop.begin()
    for start in range(0, rows, 100):
        shop.insert(*range(start, min(start + 100, rows)), note="x" * 200)
    if ending == "ROLLBACK":
        shop.query("ROLLBACK")
    else:
        source.feed(shop.encoder.format_description(TIME))
    shop.transaction(2)
    async with running(channel):
        await visible(channel, shop)
    assert ids(world) == [1, 2]
    assert world.operations()[3:] == ["BEGIN", "INSERT", "COMMIT"] * 2
    assert [record.fields["id"] for record in world.records()] == [record.offset for record in world.records()]


async def test_a_large_transaction_streams_through_and_shows_at_its_end(
    world: World, channel: Channel, shop: Shop
) -> None:
    shop.begin()
    for start in range(0, 5000, 50):
        shop.insert(*range(start, start + 50), note="y" * 300)
    async with running(channel):
        async with asyncio.timeout(WAIT_S):
            while world.log.end_offset < 4000:
                await settle(1)
        assert world.log.high_watermark == 3, "only the DDL before it"
        shop.commit()
        await visible(channel, shop)
    assert ids(world) == list(range(5000))


async def test_a_cut_inside_a_transaction_shows_nothing_of_it_and_repeats_nothing(
    world: World, channel: Channel, shop: Shop, source: FedSource, scheduler: ManualScheduler
) -> None:
    shop.transaction(1)
    shop.begin()
    for start in range(0, 3000, 100):
        shop.insert(*range(start, start + 100), note="z" * 300)
    async with running(channel):
        async with asyncio.timeout(WAIT_S):
            while world.log.end_offset < 2000:
                await settle(1)
        source.fail(SourceUnavailable("the line was cut"))
        status = await channel.wait_for(State.ERROR)
        assert (status.reason, world.log.high_watermark) == ("the line was cut", 6)
        shop.commit()
        scheduler.advance(BACKOFF_FIRST_MS)
        await visible(channel, shop)
    assert ids(world) == [1, *range(3000)]
    assert len(source.starts) == 2
    assert source.starts[1].position > 4


async def test_a_boundary_is_told_when_it_is_visible_and_not_when_it_is_committed(
    tmp_path: Path,
    clock: ManualClock,
    source: FedSource,
    shop: Shop,
    scheduler: ManualScheduler,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nor by the next session, which goes on behind what waits for its flush."""
    world = World(tmp_path, clock, LogConfig(flush_before_visible=True))
    gate = threading.Event()
    run_flush = world.log.run_flush

    def gated(job: FlushJob) -> None:
        assert gate.wait(WAIT_S)
        run_flush(job)

    monkeypatch.setattr(world.log, "run_flush", gated)
    world.log.start()
    shop.transaction(1)
    channel = world.channel(lambda: source, "shop.t", scheduler=scheduler)
    async with running(channel):
        told = asyncio.ensure_future(visible(channel, shop))
        async with asyncio.timeout(WAIT_S):
            while not world.log.end_offset:
                await settle(1)
            await settle()
            assert not told.done()
            source.fail(SourceUnavailable("the line was cut"))
            await channel.wait_for(State.ERROR)
            scheduler.advance(BACKOFF_FIRST_MS)
            await channel.wait_for(State.NORMAL)
            await settle()
            assert (world.log.high_watermark, told.done()) == (0, False)
            gate.set()
            await told
        assert world.log.high_watermark == world.log.end_offset > 0
    await world.close()


# ---- stops ----


async def needs_action(channel: Channel) -> ChannelStatus:
    async with asyncio.timeout(WAIT_S):
        status = await channel.wait_ended()
    assert status.state is State.ERROR
    assert status.retried_until_ms is None
    return status


async def test_what_came_before_a_stop_is_visible(world: World, channel: Channel, shop: Shop) -> None:
    shop.transaction(1)
    shop.begin()
    shop.insert(2)
    shop.query("UPDATE t SET note = 'statement'")
    async with running(channel):
        status = await needs_action(channel)
    assert status.reason is not None
    assert "logged as a statement" in status.reason
    assert FILE in status.reason
    assert ids(world) == [1]


async def test_a_table_nobody_announced_stops_where_there_is_no_server_to_ask(world: World, source: FedSource) -> None:
    shop = Shop(source)
    shop.say(CREATE_DATABASE)
    shop.transaction(1)
    channel = world.channel(lambda: source, "shop.t")
    async with running(channel):
        status = await needs_action(channel)
    assert status.reason is not None
    assert "shop.t" in status.reason
    assert FILE in status.reason


@pytest.mark.parametrize(
    ("definition", "refused"),
    [
        ("(id INT PRIMARY KEY, note TEXT)", True),
        ("(id INT, note TEXT CHARACTER SET gbk)", False),
        ("(id INT, n DECIMAL(5,2))", False),
        ("(id INT, note TEXT) DEFAULT CHARSET=latin1", False),
    ],
)
async def test_a_default_charset_nobody_has_said_is_not_guessed(
    world: World, source: FedSource, definition: str, refused: bool
) -> None:
    """Files that begin behind CREATE DATABASE do not say what its text columns are."""
    shop = Shop(source)
    shop.say(f"CREATE TABLE t {definition}")
    source.end()
    channel = world.channel(lambda: source, "shop.t")
    async with running(channel):
        status = await channel.wait_ended()
    assert status.ended != refused
    if refused:
        assert "column note of shop.t has the default character set of its database" in (status.reason or "")


async def test_waiting_for_a_channel_that_stands_still_ends_with_its_reason(channel: Channel, shop: Shop) -> None:
    shop.query("DELETE FROM t")
    async with running(channel):
        with pytest.raises(Exception, match="logged as a statement"):
            await visible(channel, shop)


async def test_another_server_is_refused(tmp_path: Path, clock: ManualClock, source: FedSource, shop: Shop) -> None:
    world = World(tmp_path, clock)
    async with running(world.channel(lambda: source, "shop")) as channel:
        shop.transaction(1)
        await visible(channel, shop)
    source.server_uuid = UUID.replace("2", "3")
    channel = world.channel(lambda: source, "shop")
    async with running(channel, State.ERROR):
        status = await needs_action(channel)
    assert status.reason is not None
    assert "another server" in status.reason
    assert UUID in status.reason
    await world.close()


async def test_a_start_that_needs_a_server_is_refused_without_one(world: World, source: FedSource) -> None:
    channel = world.channel(lambda: source, "shop", start="now")
    async with running(channel, State.ERROR):
        status = await needs_action(channel)
    assert status.reason is not None
    assert "'now' needs a binlog" in status.reason


async def test_an_end_of_files_ends_the_channel_in_peace(
    world: World, channel: Channel, shop: Shop, source: FedSource
) -> None:
    shop.transaction(1)
    source.end()
    async with running(channel):
        async with asyncio.timeout(WAIT_S):
            status = await channel.wait_ended()
        assert (status.state, status.ended) == (State.NORMAL, True)
        assert ids(world) == [1]
        assert status.position is not None
        assert status.reason is not None
        assert status.reason.startswith(f"the source ended at {status.position}, and all that was in it is captured")
        assert status.retried_until_ms is None
        source.ended = False
        shop.transaction(2)
        await channel.try_again()
        await visible(channel, shop)
        assert ids(world) == [1, 2]
        assert (channel.status().state, channel.status().reason) == (State.NORMAL, None)


# ---- trying again ----


async def test_backing_off_doubles_up_to_a_limit_and_ends_after_seven_days(
    channel: Channel, source: FedSource, scheduler: ManualScheduler, clock: ManualClock
) -> None:
    source.connect_failure = SourceUnavailable("nobody answers")
    began_ms = clock.now_ms()
    await channel.start()
    await settle()
    status = channel.status()
    assert (status.state, status.reason) == (State.ERROR, "nobody answers")
    assert status.retried_until_ms == began_ms + RETRY_MS
    waits = []
    for _ in range(12):
        before, tried = clock.monotonic_ms(), source.closed
        while source.closed == tried:
            scheduler.advance(25)
            await settle(5)
        waits.append(clock.monotonic_ms() - before)
    limits = [min(BACKOFF_FIRST_MS * 2**n, BACKOFF_MAX_MS) for n in range(12)]
    assert all(limit / 2 <= wait <= limit + 25 for wait, limit in zip(waits, limits, strict=True))
    assert channel.status().reconnects == 12
    clock.advance(RETRY_MS)
    scheduler.advance(BACKOFF_MAX_MS)
    status = await needs_action(channel)
    assert status.reason == "nobody answers; tried again for seven days without success"
    source.connect_failure = None
    await channel.start()
    await channel.wait_for(State.NORMAL)
    await channel.stop()
    assert channel.status().state is State.NOT_STARTED


async def test_who_streamed_for_a_while_has_seven_days_again_though_nothing_happened(
    channel: Channel, source: FedSource, scheduler: ManualScheduler, clock: ManualClock
) -> None:
    """An idle source that drops its connections now and then: never once is it away for seven days."""
    await channel.start()
    for _ in range(3):
        await channel.wait_for(State.NORMAL)
        clock.advance(RETRY_MS // 2)
        source.fail(SourceUnavailable("the connection is lost"))
        status = await channel.wait_for(State.ERROR)
        assert status.retried_until_ms == clock.now_ms() + RETRY_MS
        await settle()
        scheduler.advance(BACKOFF_MAX_MS)
    await channel.wait_for(State.NORMAL)
    await channel.stop()


async def test_somebody_who_wants_it_tried_again_need_not_wait(
    channel: Channel, source: FedSource, scheduler: ManualScheduler
) -> None:
    source.connect_failure = SourceUnavailable("nobody answers")
    await channel.start()
    await channel.wait_for(State.ERROR)
    for tried in range(2, 6):
        await settle()
        await channel.try_again()
        await settle()
        assert source.closed == tried
    assert scheduler.pending == 1
    source.connect_failure = None
    await channel.try_again()
    await channel.wait_for(State.NORMAL)
    streams = len(source.starts)
    await channel.try_again()
    await settle()
    assert len(source.starts) == streams, "a channel that streams goes on"
    await channel.stop()


async def test_what_needed_action_is_tried_again_by_whoever_has_acted(channel: Channel, source: FedSource) -> None:
    source.connect_failure = SourceRefused("the password is wrong")
    await channel.start()
    await needs_action(channel)
    source.connect_failure = None
    await channel.try_again()
    await channel.wait_for(State.NORMAL)
    await channel.stop()


async def test_who_is_tried_again_while_other_objects_are_taken_begins_once_and_with_them(
    channel: Channel, source: FedSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two tasks on one log would take each other's unfinished transactions back."""
    await channel.start()
    await channel.wait_for(State.NORMAL)
    first, closing, may_close = channel._task, asyncio.Event(), asyncio.Event()
    close = source.close

    async def close_slowly() -> None:
        closing.set()
        await may_close.wait()
        await close()

    monkeypatch.setattr(source, "close", close_slowly)
    taking = asyncio.create_task(channel.take_objects(("shop.t",)))
    await closing.wait()
    trying = asyncio.create_task(channel.try_again())
    await settle()
    assert first is not None
    assert not first.done()
    assert not channel.is_running, "the next one waits for the end of this one"
    may_close.set()
    await asyncio.gather(taking, trying)
    assert channel.spec.objects == ("shop.t",)
    await channel.wait_for(State.NORMAL)
    assert len(source.starts) == 2
    await channel.stop()


async def test_a_task_that_was_ended_from_outside_is_no_channel_in_peace(channel: Channel) -> None:
    await channel.start()
    await channel.wait_for(State.NORMAL)
    assert channel._task is not None
    channel._task.cancel()
    status = await channel.wait_for(State.ERROR)
    assert (status.reason, status.retried_until_ms) == (
        "capture failed by a mistake in Binwire (RuntimeError: it was ended from outside)",
        None,
    )


async def test_a_refusal_waits_for_somebody(channel: Channel, source: FedSource, scheduler: ManualScheduler) -> None:
    source.connect_failure = SourceRefused("the password is wrong")
    await channel.start()
    status = await needs_action(channel)
    assert status.reason == "the password is wrong"
    assert scheduler.pending == 0


async def test_a_log_that_cannot_be_written_is_tried_again(
    world: World, channel: Channel, shop: Shop, scheduler: ManualScheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    append, failures = world.log.append, [LogWriteError("no space left on device"), None]

    def failing(batch: bytes | Sequence[bytes]) -> None:
        failure = failures.pop(0) if failures else None
        if failure is not None:
            raise failure
        append(batch)

    shop.transaction(1)
    monkeypatch.setattr(world.log, "append", failing)
    await channel.start()
    status = await channel.wait_for(State.ERROR)
    assert status.reason == "no space left on device"
    assert status.retried_until_ms is not None
    with pytest.raises(CaptureError, match="no space left on device"):
        await channel.wait_visible(shop.position, waits_for_room=False)
    scheduler.advance(BACKOFF_FIRST_MS)
    await visible(channel, shop)
    await channel.stop()
    assert ids(world) == [1]


async def test_on_a_full_disk_the_source_is_left_alone_until_there_is_room(
    world: World, channel: Channel, shop: Shop, source: FedSource, scheduler: ManualScheduler
) -> None:
    shop.transaction(1)
    async with running(channel):
        await visible(channel, shop)
        with pytest.MonkeyPatch.context() as disk:
            for call in ("write", "write_many"):
                disk.setattr(world.log._files, call, full)
            shop.transaction(2)
            async with asyncio.timeout(WAIT_S):
                status = await channel.wait_for(State.ERROR)
            assert status.reason is not None
            assert f"(No space left on device, {world.log.directory}); make room on its disk" in status.reason
            assert status.retried_until_ms is not None
            asked, states = len(source.starts), []
            end = channel.subscribe(lambda: states.append(channel.status().state))
            for _ in range(20):
                scheduler.advance(STORAGE_BACKOFF_MAX_MS)
                await settle()
            end()
            assert (len(source.starts), set(states)) == (asked, {State.ERROR})
            assert len(states) >= 20, "each time it was looked whether there is room"
            assert ids(world) == [1], "readers go on"
        scheduler.advance(STORAGE_BACKOFF_MAX_MS)
        await visible(channel, shop)
    assert ids(world) == [1, 2]


async def test_what_was_written_of_an_unfinished_transaction_is_no_progress(
    channel: Channel, shop: Shop, scheduler: ManualScheduler, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A transaction larger than the room that is left: its first pieces are written each time, its last one never."""
    call_later, delays = scheduler.call_later, list[int]()

    def noting(delay_ms: int, callback: Callable[[], None]) -> ManualTimer:
        delays.append(delay_ms)
        return call_later(delay_ms, callback)

    def refusing(_positions: Sequence[SourcePosition]) -> None:
        raise LogWriteError("no space left on device")

    monkeypatch.setattr(scheduler, "call_later", noting)
    async with running(channel):
        await visible(channel, shop)
        with monkeypatch.context() as patch:
            patch.setattr(world.log, "commit", refusing)
            shop.transaction(1)
            async with asyncio.timeout(WAIT_S):
                while len(delays) < 8:
                    scheduler.advance(STORAGE_BACKOFF_MAX_MS)
                    await asyncio.sleep(0.001)
        assert all(STORAGE_BACKOFF_MAX_MS / 2 <= delay_ms <= STORAGE_BACKOFF_MAX_MS for delay_ms in delays[5:])
        scheduler.advance(STORAGE_BACKOFF_MAX_MS)
        await visible(channel, shop)
    assert ids(world) == [1]


def full(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


async def test_a_full_catalog_is_tried_again_and_no_definition_is_missing(
    world: World, channel: Channel, shop: Shop, source: FedSource, scheduler: ManualScheduler
) -> None:
    shop.transaction(1)
    async with running(channel):
        await visible(channel, shop)
        world.catalog._connection.execute("PRAGMA query_only = 1")
        shop.say("ALTER TABLE t ADD COLUMN more INT")
        async with asyncio.timeout(WAIT_S):
            status = await channel.wait_for(State.ERROR)
        assert "catalog.db cannot be written (attempt to write a readonly database)" in (status.reason or "")
        assert status.retried_until_ms is not None
        asked = len(source.starts)
        for _ in range(5):
            scheduler.advance(STORAGE_BACKOFF_MAX_MS)
            await settle()
            with pytest.raises(CatalogUnavailable):
                await world.catalog.run(int)  # behind the channel's own try
            await settle()
        assert (channel.status().state, len(source.starts)) == (State.ERROR, asked)
        world.catalog._connection.execute("PRAGMA query_only = 0")
        scheduler.advance(STORAGE_BACKOFF_MAX_MS)
        await visible(channel, shop)
    assert world.operations().count("DDL") == 4
    assert len(world.catalog.schema_versions("c")) == 4


async def test_a_damaged_log_waits_for_somebody(
    world: World, channel: Channel, shop: Shop, scheduler: ManualScheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    def damaged(_batch: bytes | Sequence[bytes]) -> None:
        raise CorruptLog("0.source is damaged at byte 0")

    shop.transaction(1)
    monkeypatch.setattr(world.log, "append", damaged)
    await channel.start()
    status = await needs_action(channel)
    assert status.reason == "0.source is damaged at byte 0"
    assert scheduler.pending == 0


async def test_a_heartbeat_that_cannot_be_written_ends_the_session(
    world: World, live: FedSource, scheduler: ManualScheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing comes from the source that could find out."""
    shop = Shop(live)
    shop.say(CREATE_DATABASE)
    channel = world.channel(lambda: live, "shop", scheduler=scheduler)
    async with running(channel):
        await visible(channel, shop)

        def failing(_batch: bytes | Sequence[bytes]) -> None:
            raise LogWriteError("no space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(world.log, "append", failing)
            scheduler.advance(1000)
            async with asyncio.timeout(WAIT_S):
                status = await channel.wait_for(State.ERROR)
        assert status.reason == "no space left on device"
        assert status.retried_until_ms is not None
        scheduler.advance(BACKOFF_FIRST_MS)
        shop.say("CREATE TABLE again (id INT PRIMARY KEY)")
        await visible(channel, shop)
    assert world.operations() == ["DDL", "DDL"]


async def test_a_mistake_of_ours_is_told_and_waits_for_somebody(
    channel: Channel, source: FedSource, caplog: pytest.LogCaptureFixture
) -> None:
    source.connect_failure = ZeroDivisionError("division by zero")
    await channel.start()
    status = await needs_action(channel)
    assert status.reason == "capture failed by a mistake in Binwire (ZeroDivisionError: division by zero)"
    [logged] = caplog.records
    assert logged.exc_info is not None
    assert logged.exc_info[1] is source.connect_failure, "with the way there, which a report of it needs"


async def test_what_reads_a_source_and_cannot_be_loaded_is_told(
    channel: Channel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "capture.session", None)
    await channel.start()
    status = await needs_action(channel)
    assert status.reason is not None
    assert "ModuleNotFoundError" in status.reason
    assert "capture.session" in status.reason


def test_the_states_are_those_of_the_table() -> None:
    assert set(TRANSITIONS) == set(State)
    for state, following in TRANSITIONS.items():
        assert state not in following
        assert following


# ---- schema versions and restarts ----


async def test_a_definition_is_durable_before_a_record_that_uses_it_is_visible(
    world: World, channel: Channel, shop: Shop
) -> None:
    known: list[int] = []
    world.log.subscribe(lambda: known.append(len(world.catalog.schema_versions("c"))))
    shop.transaction(1)
    async with running(channel):
        await visible(channel, shop)
        shop.say("ALTER TABLE t ADD COLUMN more INT")
        await visible(channel, shop)
    assert known == [3, 4]


async def test_definitions_beyond_the_logs_end_are_dropped_and_come_again(
    tmp_path: Path, clock: ManualClock, source: FedSource, shop: Shop
) -> None:
    from storage.catalog import SchemaVersionRow

    world = World(tmp_path, clock)
    shop.transaction(1)
    async with running(world.channel(lambda: source, "shop")) as channel:
        await visible(channel, shop)
    beyond = SchemaVersionRow("c", 7, shop.position.position + 1, "shop", "t", None, "DROP TABLE t")
    world.catalog.add_schema_versions([beyond])
    shop.transaction(2)
    async with running(world.channel(lambda: source, "shop")) as channel:
        await visible(channel, shop)
    assert ids(world) == [1, 2]
    assert beyond not in world.catalog.schema_versions("c")
    await world.close()


async def test_a_start_is_resolved_once_and_kept(
    tmp_path: Path, clock: ManualClock, source: FedSource, shop: Shop
) -> None:
    """A channel that was stopped before its first record begins where it was told to, not at a later now."""
    start = f"{FILE}:{shop.position.position}"
    world = World(tmp_path, clock)
    async with running(world.channel(lambda: source, "shop", start=start)):
        pass
    (row,) = world.catalog.channels()
    assert row.start is not None
    assert str(shop.position.position) in row.start
    async with running(world.channel(lambda: source, "shop", start="earliest")):
        assert source.starts[-1] == shop.position
    await world.close()


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(1, 4), min_size=1, max_size=12), st.integers(0, 10_000), st.integers(0, 60), st.booleans())
async def test_wherever_it_is_stopped_the_records_are_the_same(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], cut: int, turns: int, orderly: bool
) -> None:
    """One uninterrupted channel and one that was stopped anywhere leave the same bytes, offsets and all."""
    clock = ManualClock(now_ms=TIME * 1000)
    source = FedSource()
    shop = Shop(source)
    for sql in (CREATE_DATABASE, CREATE_TABLE):
        shop.say(sql)
    for number, size in enumerate(sizes):
        shop.transaction(*range(10 * number, 10 * number + size))

    async def captured(stop_at: int | None) -> list[bytes]:
        folder = tmp_path_factory.mktemp("log")
        records = await records_of_a_run(folder, clock, source, stop_at=stop_at, turns=turns, orderly=orderly)
        return [record.value for record in records]

    assert await captured(cut % len(source.events)) == await captured(None)


# ---- heartbeats ----


@pytest.fixture
def live() -> FedSource:
    return FedSource(paced_heartbeats=True, heartbeat_period_ms=5000)


async def test_heartbeats_come_once_a_second_between_transactions(
    world: World, live: FedSource, scheduler: ManualScheduler, clock: ManualClock
) -> None:
    shop = Shop(live)
    for sql in (CREATE_DATABASE, CREATE_TABLE):
        shop.say(sql)
    shop.transaction(1)
    channel = world.channel(lambda: live, "shop", scheduler=scheduler)
    async with running(channel):
        await visible(channel, shop)
        scheduler.advance(3000)
        shop.begin(timestamp=TIME + 3)
        shop.insert(2, timestamp=TIME + 3)
        await settle()
        scheduler.advance(2000)
        assert world.operations(heartbeats=True)[5:] == ["HEARTBEAT"] * 3, "none inside a transaction"
        shop.commit(timestamp=TIME + 5)
        await until(world, lambda: world.operations().count("COMMIT") == 2)
        scheduler.advance(1000)
    records = world.records(heartbeats=True)
    beats = [record for record in records if record.operation == "HEARTBEAT"]
    assert [beat.fields["sourceTimestamp"] for beat in beats[:3]] == [TIME + 1, TIME + 2, TIME + 3]
    assert beats[-1].fields["sourceTimestamp"] == TIME + 6
    assert [beat.fields["id"] for beat in beats] == [beat.offset for beat in beats]
    commit = next(record for record in records if record.operation == "COMMIT")
    assert beats[0].fields["sourcePosition"] == commit.fields["sourcePosition"]
    assert set(beats[0].tags) == {"readerThroughoutTime"}


async def test_a_silent_source_gives_no_heartbeats_and_one_that_is_heard_does(
    world: World, live: FedSource, scheduler: ManualScheduler
) -> None:
    shop = Shop(live)
    shop.say(CREATE_DATABASE)
    channel = world.channel(lambda: live, "shop", scheduler=scheduler)
    async with running(channel):
        await visible(channel, shop)
        scheduler.advance(20_000)
        beats = world.operations(heartbeats=True).count("HEARTBEAT")
        assert 5 <= beats <= 6, "for one heartbeat period, then the source is not known to live"
        assert channel.status().silent_ms == 20_000
        live.feed(shop.encoder.heartbeat(FILE))
        await settle()
        scheduler.advance(1000)
        assert world.operations(heartbeats=True).count("HEARTBEAT") > beats
        assert not channel.status().behind


async def test_a_heartbeat_resumes_like_any_record(
    tmp_path: Path, clock: ManualClock, live: FedSource, scheduler: ManualScheduler
) -> None:
    world = World(tmp_path, clock)
    shop = Shop(live)
    shop.say(CREATE_DATABASE)
    async with running(world.channel(lambda: live, "shop", scheduler=scheduler)) as channel:
        await visible(channel, shop)
        scheduler.advance(2000)
    await world.close(orderly=False)
    world = World(tmp_path, clock)
    assert world.operations(heartbeats=True) == ["DDL", "HEARTBEAT", "HEARTBEAT"]
    async with running(world.channel(lambda: live, "shop", scheduler=scheduler)):
        assert live.starts[-1] == shop.position
    await world.close()


# ---- the loop ----


async def test_the_loop_is_given_back_between_slices(
    world: World, channel: Channel, shop: Shop, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However much waits, others run every slice: here each look at the clock costs a millisecond."""
    monkeypatch.setattr("capture.session.LOOK_BYTES", 1)
    for number in range(300):
        shop.transaction(number)
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    monotonic = clock.monotonic_ms

    def ticking() -> int:
        clock.advance(1)
        return monotonic()

    monkeypatch.setattr(clock, "monotonic_ms", ticking)
    bystander = asyncio.create_task(other())
    async with running(channel):
        await visible(channel, shop)
    bystander.cancel()
    events = 300 * 5
    assert turns > events / (2 * SLICE_MS)


@dataclass
class Written:
    """What a session asked of its log, and how often it gave the loop back."""

    appends: int = 0
    commits: int = 0
    slices: int = 0


@pytest.fixture
def written(world: World, monkeypatch: pytest.MonkeyPatch) -> Written:
    counts = Written()

    def counting(owner: type, name: str, field: str) -> None:
        original = getattr(owner, name)

        def counted(*arguments: Any) -> Any:
            setattr(counts, field, getattr(counts, field) + 1)
            return original(*arguments)

        monkeypatch.setattr(owner, name, counted)

    counting(SegmentLog, "append", "appends")
    counting(SegmentLog, "commit", "commits")
    counting(CaptureSession, "_give_way", "slices")
    return counts


async def test_all_that_waits_is_one_append_and_one_commit(
    world: World, channel: Channel, shop: Shop, written: Written
) -> None:
    for number in range(40):
        shop.transaction(number)
    async with running(channel):
        await visible(channel, shop)
    assert (written.appends, written.commits) == (1, 1)
    assert ids(world) == list(range(40))


async def test_a_transaction_that_comes_alone_waits_for_none_and_for_no_slice(
    world: World, channel: Channel, shop: Shop, clock: ManualClock, written: Written
) -> None:
    """However long ago the last one was: a slice begins where the loop was others' meanwhile."""
    async with running(channel):
        for number in range(25):
            clock.advance(10_000)
            shop.transaction(number)
            await visible(channel, shop)
    assert (written.appends, written.commits) == (25, 25)
    assert written.slices == 0


async def test_the_clock_is_looked_at_once_per_so_much_work(
    world: World, channel: Channel, shop: Shop, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not at each event: small ones count for their number, large ones for their bytes; nothing waits, so no slice."""
    for number in range(300):
        shop.transaction(number)
    looks = 0
    is_slice_over = CaptureSession._is_slice_over

    def counted(session: CaptureSession) -> bool:
        nonlocal looks
        looks += 1
        return is_slice_over(session)

    monkeypatch.setattr(CaptureSession, "_is_slice_over", counted)
    async with running(channel):
        await visible(channel, shop)
    work_bytes = sum(len(raw) + EVENT_WORK_BYTES for raw in shop.source.events)
    largest_bytes = max(len(raw) + EVENT_WORK_BYTES for raw in shop.source.events)
    assert work_bytes // (LOOK_BYTES + largest_bytes) <= looks <= work_bytes // LOOK_BYTES
    assert looks * 10 < len(shop.source.events)


async def test_a_rows_event_of_many_bytes_is_taken_beside_the_loop(
    world: World, channel: Channel, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A large JSON document takes seconds; small events are not worth a thread."""
    takers: list[tuple[bool, bool]] = []
    take = Assembler.take

    def noted(self: Assembler, step: Step) -> None:
        if step.kind is StepKind.ROWS:
            is_loop = threading.current_thread() is threading.main_thread()
            takers.append((step.header.size_bytes > ASIDE_BYTES, is_loop))
        take(self, step)

    monkeypatch.setattr(Assembler, "take", noted)
    shop.transaction(1)
    shop.transaction(*range(2, 8), note="x" * (ASIDE_BYTES // 5))
    shop.transaction(8)
    async with running(channel):
        await visible(channel, shop)
    assert takers == [(False, True), (True, False), (False, True)]
    assert ids(world) == list(range(1, 9))


async def test_a_large_event_is_checked_and_uncompressed_beside_the_loop(
    world: World, channel: Channel, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of few bytes that becomes many (log_bin_compress), and one that has many to check."""
    walked_by_loop: dict[int, bool] = {}
    walk = BinlogWalker.walk

    def noted(self: BinlogWalker, raw: bytes) -> Step:
        walked_by_loop[len(raw)] = threading.current_thread() is threading.main_thread()
        return walk(self, raw)

    monkeypatch.setattr(BinlogWalker, "walk", noted)
    shop.begin()
    shop.source.feed(shop.encoder.table_map(TIME, T, 100))
    rows: list[dict[str, Any]] = [{"id": number, "note": "x" * 60_000} for number in range(400)]
    plain = EventEncoder(checksum=Checksum.NONE).write_rows(TIME, T, 100, rows)
    event = decode_rows(plain, HEADER_BYTES, len(plain), plain[4], 6)
    images = plain[event.rows_start :]
    body = plain[HEADER_BYTES : event.rows_start] + b"\x84" + len(images).to_bytes(4, "big") + zlib.compress(images)
    compressed = shop.encoder.event(EventType.MARIADB_WRITE_ROWS_COMPRESSED, TIME, body)
    more: list[dict[str, Any]] = [{"id": number, "note": "y" * 60_000} for number in range(400, 405)]
    large = shop.encoder.write_rows(TIME, T, 100, more)
    shop.source.feed(compressed, large)
    shop.commit()
    async with running(channel):
        await visible(channel, shop)
    assert len(compressed) * 500 < len(images)
    assert UNCOMPRESSED_BYTES < len(compressed) < ASIDE_BYTES < len(large)
    assert [size for size, by_loop in walked_by_loop.items() if not by_loop] == [len(compressed), len(large)]
    assert ids(world) == list(range(405))


async def test_who_stops_a_channel_waits_for_the_rows_that_a_thread_takes(
    world: World, channel: Channel, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    taking, go_on, ended = threading.Event(), threading.Event(), []
    take = Assembler.take

    def held(self: Assembler, step: Step) -> None:
        if step.kind is StepKind.ROWS:
            taking.set()
            go_on.wait(WAIT_S)
            ended.append(step)
        take(self, step)

    monkeypatch.setattr(Assembler, "take", held)
    shop.transaction(*range(6), note="x" * (ASIDE_BYTES // 5))
    async with running(channel):
        await asyncio.to_thread(taking.wait, WAIT_S)
        stopping = asyncio.create_task(channel.stop())
        await settle()
        assert not stopping.done()
        go_on.set()
        await stopping
        assert ended
    assert ids(world) == []


@pytest.mark.parametrize("how", ["cut", "ended"])
async def test_a_stream_that_the_server_ends_again_and_again_is_asked_for_ever_more_slowly(
    channel: Channel, shop: Shop, source: FedSource, scheduler: ManualScheduler, clock: ManualClock, how: str
) -> None:
    """As two readers with one server_id do to each other; what is carried over in between does not hide it."""
    waits = []
    async with running(channel):
        for number in range(9):
            shop.transaction(number)
            await visible(channel, shop)
            source.fail(StreamEnded(how) if how == "ended" else SourceUnavailable(how))
            async with asyncio.timeout(WAIT_S):
                await channel.wait_for(State.ERROR)
            before_ms = clock.monotonic_ms()
            while channel.status().state is State.ERROR:
                scheduler.advance(25)
                await settle(5)
                await asyncio.sleep(0.001)
            waits.append(clock.monotonic_ms() - before_ms)
    if how == "cut":
        assert max(waits) < 4 * BACKOFF_FIRST_MS
    else:
        assert waits[-1] >= BACKOFF_MAX_MS / 2
