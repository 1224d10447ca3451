"""Recordings played as if they happened now: order, pace and times, and that only times differ from the recording."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from capture.encode import EventEncoder
from capture.errors import SourceRefused
from capture.events import BINLOG_MAGIC, EventDecoder, EventType, HeartbeatEvent, decode_header, iter_events
from capture.position import BinlogPosition
from capture.replay_source import ReplaySource
from tests.capture.world import UUID, WAIT_S, World, running, settle
from tests.fakes import ManualClock, ManualScheduler

if TYPE_CHECKING:
    from pathlib import Path

RECORDED = 1_600_000_000
NOW_MS = 1_700_000_000_000
NAME = "mysql-bin.000001"


def transaction(encoder: EventEncoder, time_s: int, number: int, *, commit_us: int | None = None) -> bytes:
    """A transaction of three events; `commit_us` 0 leaves whole seconds as all that is known."""
    return (
        encoder.gtid(time_s, UUID, number, commit_us=commit_us)
        + encoder.query(time_s, "BEGIN", database="d", thread_id=1)
        + encoder.xid(time_s, number)
    )


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(now_ms=NOW_MS)


class Player:
    """Plays a recording and notes what came when, in ms after the start."""

    def __init__(self, clock: ManualClock, *paths: Path, **options: float) -> None:
        self.scheduler = ManualScheduler(clock)
        self.clock = clock
        self.source = ReplaySource(paths, clock, scheduler=self.scheduler, **options)  # type: ignore[arg-type]
        self.decoder = EventDecoder()
        self.heard: list[tuple[int, bytes]] = []
        self.ended = False

    async def play(self, ms: int) -> None:
        """Let this much time pass."""
        reading = asyncio.create_task(self._read())
        for _ in range(ms // 10 + 1):
            await self._idle()
            self.scheduler.advance(10)
        await self._idle()
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)

    async def _idle(self) -> None:
        """Until the reader waits for time to pass: the recording is read in a thread."""
        async with asyncio.timeout(WAIT_S):
            while not self.scheduler.pending and not self.ended:
                await settle(1)

    async def _read(self) -> None:
        while events := await self.source.read():
            self.heard += [(self.clock.now_ms() - NOW_MS, raw) for raw in events]
        self.ended = True

    @property
    def commits(self) -> list[int]:
        """When transactions came, in tenths of a second."""
        return [ms // 100 for ms, raw in self.heard if raw[4] == EventType.XID]

    async def start(self, position: int = 4, file: str = NAME) -> None:
        await self.source.connect()
        await self.source.start(BinlogPosition(file, position))


def record(path: Path, *transactions: tuple[int, int | None]) -> bytes:
    """A file of transactions at (second, commit time in microseconds)."""
    encoder = EventEncoder()
    data = BINLOG_MAGIC + encoder.format_description(RECORDED - 5000)
    for number, (second, commit_us) in enumerate(transactions, start=1):
        data += transaction(encoder, RECORDED + second, number, commit_us=commit_us)
    path.write_bytes(data)
    return data


async def test_distances_are_kept_and_times_are_now(tmp_path: Path, clock: ManualClock) -> None:
    path = tmp_path / NAME
    micro = RECORDED * 1_000_000
    data = record(path, (0, micro), (0, micro + 700_000), (1, micro + 1_900_000), (4, micro + 4_000_000))
    player = Player(clock, path, gap_ms_max=60_000)
    await player.start()
    await player.play(5000)
    assert player.commits == [0, 7, 19, 40]
    assert player.ended
    played = [raw for _, raw in player.heard if raw[4] not in (EventType.ROTATE, EventType.HEARTBEAT)]
    recorded = list(iter_events(data))
    assert [raw[4:13] + raw[13:-4] for raw in played] == [raw[4:13] + raw[13:-4] for raw in recorded]
    for ms, raw in player.heard:
        player.decoder.decode(raw)  # checksums hold
        if raw[4] == EventType.XID:
            assert decode_header(raw).timestamp == (NOW_MS + ms) // 1000


async def test_long_pauses_are_shortened_and_speed_divides(tmp_path: Path, clock: ManualClock) -> None:
    path = tmp_path / NAME
    record(path, *((second, (RECORDED + second) * 1_000_000) for second in (0, 3600, 3602)))
    player = Player(clock, path, gap_ms_max=3000, speed=2.0)
    await player.start()
    await player.play(4000)
    assert player.commits == [0, 15, 25]


async def test_the_transactions_of_one_second_are_spread_over_it(tmp_path: Path, clock: ManualClock) -> None:
    path = tmp_path / NAME
    record(path, (0, 0), (0, 0), (0, 0), (0, 0), (1, 0), (1, 0))
    player = Player(clock, path)
    await player.start()
    await player.play(2000)
    assert player.commits == [0, 2, 5, 7, 10, 15]


async def test_silence_is_filled_with_heartbeats(tmp_path: Path, clock: ManualClock) -> None:
    path = tmp_path / NAME
    record(path, (0, 0), (4, 0))
    player = Player(clock, path, gap_ms_max=10_000)
    await player.start()
    await player.play(4500)
    kinds = [(ms // 1000, raw[4]) for ms, raw in player.heard if raw[4] in (EventType.XID, EventType.HEARTBEAT)]
    assert kinds == [(0, 16), (1, 27), (2, 27), (3, 27), (4, 16)]
    ends = [decode_header(raw).end_position for _, raw in player.heard if raw[4] == EventType.XID]
    beats = [event for _, raw in player.heard if isinstance(event := player.decoder.decode(raw)[1], HeartbeatEvent)]
    assert {(beat.file, beat.position) for beat in beats} == {(NAME, ends[0])}


async def test_it_comes_again_under_the_next_numbers(tmp_path: Path, clock: ManualClock) -> None:
    first, second = tmp_path / NAME, tmp_path / "mysql-bin.000002"
    record(first, (0, 0))
    record(second, (1, 0))
    player = Player(clock, first, second, repeat=True)
    await player.start()
    await player.play(5500)
    rotates = [raw[27:43].decode() for _, raw in player.heard if raw[4] == EventType.ROTATE]
    assert rotates[:4] == [f"mysql-bin.{number:06d}" for number in (1, 2, 3, 4)]
    assert player.commits == [0, 10, 20, 30, 40, 50]
    assert not player.ended
    times = [decode_header(raw).timestamp - NOW_MS // 1000 for _, raw in player.heard if raw[4] == EventType.XID]
    assert times == [0, 1, 2, 3, 4, 5]


async def test_it_begins_where_it_is_told_to(tmp_path: Path, clock: ManualClock) -> None:
    path = tmp_path / NAME
    data = record(path, (0, 0), (1, 0), (2, 0))
    ends = [decode_header(raw).end_position for raw in iter_events(data) if raw[4] == EventType.XID]
    player = Player(clock, path)
    await player.start(ends[0])
    await player.play(1500)
    assert [decode_header(raw).end_position for _, raw in player.heard if raw[4] == EventType.XID] == ends[1:]


async def test_a_channel_takes_it_for_a_live_source(tmp_path: Path, clock: ManualClock) -> None:
    path = tmp_path / NAME
    record(path, (0, 0), (0, 0), (3, 0))
    world = World(tmp_path, clock)
    scheduler = ManualScheduler(clock)
    source = ReplaySource([path], clock, scheduler=scheduler, gap_ms_max=10_000)
    channel = world.channel(lambda: source, "d", scheduler=scheduler)
    async with running(channel):
        async with asyncio.timeout(WAIT_S):
            while not channel.status().ended:
                if scheduler.pending == 2:  # the channel's heartbeats, and the source for its next transaction
                    scheduler.advance(50)
                await settle(1)
    operations = world.operations(heartbeats=True)
    assert [operation for operation in operations if operation != "HEARTBEAT"] == ["BEGIN", "COMMIT"] * 3
    assert 1 <= operations.count("HEARTBEAT") <= 3
    assert abs(world.records()[-1].timestamp_ms - clock.now_ms()) <= 2000
    await world.close()


async def test_what_it_cannot_do(tmp_path: Path, clock: ManualClock) -> None:
    path = tmp_path / NAME
    record(path)
    source = ReplaySource([path], clock)
    with pytest.raises(SourceRefused):
        await source.query("SELECT 1")
    assert source.address == f"file://{path}"
    assert not source.pending()
    assert source.sibling().address == source.address
