"""Recorded binlog files played as if they happened now: a live source without a server, for the demo.

Every time in the recording is moved so that the first transaction happens now; distances between transactions are kept,
divided by `speed`, long pauses shortened. Recorded times are whole seconds unless the transactions carry commit times
(MySQL 8.0+); the transactions of one second are spread over it. Only event headers are rewritten (and checksums made
good): values in rows stay what they were. Where a server would be silent, heartbeats are sent as it sends them, so that
everything behind this is the live path.
"""

from __future__ import annotations

import asyncio
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

from msgspec import Struct

from capture.binlog_files import binlog_names
from capture.data_changes import DataChanges
from capture.dialect import Dialect
from capture.encode import EventEncoder
from capture.errors import SourceRefused
from capture.events import AnonymousGtidEvent, Checksum, GtidEvent
from capture.file_source import PIECE_BYTES, BinlogFileReader, FileSource, read_info
from capture.position import BINLOG_MAGIC_BYTES, BinlogPosition, file_name
from capture.rewrite import rewrite_header
from capture.transactions import BinlogWalker, Step, StepKind
from storage.scheduler import LoopScheduler, Scheduler, sleep

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from capture.source import ServerInfo, Source
    from storage.clock import Clock

HEARTBEAT_PERIOD_MS = 1_000

REPEAT_PAUSE_MS = 1_000
"""Between the end of a recording and its beginning when it comes again."""


class Group(NamedTuple):
    """The events up to a boundary: a transaction, or file heads, which have no time of their own.

    `time_ms` is when it happens on the recording's clock, which runs on when the recording comes again; `is_exact` says
    that it is better than whole seconds. `recorded_s` is the second in the headers. `end` is the boundary.
    """

    events: list[bytes]
    time_ms: int | None
    is_exact: bool
    recorded_s: int
    checksum: Checksum
    end: BinlogPosition


class _Due(NamedTuple):
    """A group with its times moved, to be handed over at `due_ms`."""

    due_ms: int
    group: Group


def recorded_groups(path: Path, start: BinlogPosition, dialect: Dialect, checksum: Checksum) -> Iterator[Group]:
    """The groups of one file from a boundary on; `checksum` is that of the stream so far. Reads as it is asked."""
    reader = BinlogFileReader(path)
    try:
        walker = BinlogWalker(
            start, dialect, checksum=checksum is Checksum.CRC32, decode_rows=False, changes=DataChanges(None)
        )
        pieces = iter(lambda: reader.read_piece(PIECE_BYTES), [])
        events: list[bytes] = []
        time_ms, is_exact = None, False
        announcement = reader.begin(start, checksum)
        for raw in chain(announcement, chain.from_iterable(pieces)):
            events.append(raw)
            for step in walker.steps(raw):
                if time_ms is None and step is not None and (found := _time_ms(step)) is not None:
                    time_ms, is_exact = found
            if not walker.is_open:
                used = checksum if raw is announcement[0] else reader.format.checksum
                yield Group(events, time_ms, is_exact, (time_ms or 0) // 1000, used, walker.position)
                events, time_ms, is_exact = [], None, False
    finally:
        reader.close()


def _time_ms(step: Step) -> tuple[int, bool] | None:
    """When a transaction happened, from the first of its events that says so."""
    if isinstance(step.event, GtidEvent | AnonymousGtidEvent) and step.event.immediate_commit_us:
        return step.event.immediate_commit_us // 1000, True
    if step.kind in (StepKind.BEGIN, StepKind.STATEMENT):
        return step.header.timestamp * 1000, False
    return None


def _whole_recording(
    paths: Sequence[Path], first: BinlogPosition, start: BinlogPosition, dialect: Dialect, *, repeat: bool
) -> Iterator[Group]:
    """The groups of all files from `start` on, with `repeat` again and again under the next file numbers."""
    number, checksum = first.number, Checksum.NONE
    first_ms = last_ms = None
    shift_ms = 0
    while True:
        for path in paths:
            if number >= start.number:
                position = start.position if number == start.number else BINLOG_MAGIC_BYTES
                at = BinlogPosition(file_name(first.base, number), position)
                for group in recorded_groups(path, at, dialect, checksum):
                    checksum = group.checksum
                    if group.time_ms is not None:
                        first_ms, last_ms = group.time_ms if first_ms is None else first_ms, group.time_ms
                        group = group._replace(time_ms=group.time_ms + shift_ms)
                    yield group
            number += 1
        if not repeat:
            return
        shift_ms += (last_ms or 0) - (first_ms or 0) + REPEAT_PAUSE_MS


def spread(groups: Iterator[Group]) -> Iterator[Group]:
    """Give the transactions of one second, where that is all that is known, even distances within it."""
    same: list[Group] = []
    for group in groups:
        if same and (group.is_exact or group.time_ms != same[0].time_ms):
            yield from _evenly(same)
            same = []
        if group.time_ms is None or group.is_exact:
            yield group
        else:
            same.append(group)
    yield from _evenly(same)


def _evenly(same: list[Group]) -> Iterator[Group]:
    for index, group in enumerate(same):
        assert group.time_ms is not None
        yield group._replace(time_ms=group.time_ms + 1000 * index // len(same))


class _Pace(Struct):
    """Recorded times to times of now."""

    speed: float
    gap_ms_max: int
    due_ms: float
    last_ms: int | None = None

    def due(self, time_ms: int | None) -> int:
        if time_ms is not None:
            if self.last_ms is not None:
                self.due_ms += min(max(0, time_ms - self.last_ms), self.gap_ms_max) / self.speed
            self.last_ms = max(time_ms, self.last_ms or time_ms)
        return int(self.due_ms)


def moved(group: Group, now_s: int) -> Group:
    """The group as if it had happened at `now_s`; within it, times keep their distance to its first."""
    base_s = None if group.time_ms is None else group.recorded_s
    events = []
    for raw in group.events:
        recorded_s = int.from_bytes(raw[:4], "little")
        if recorded_s:
            time_s = now_s if base_s is None else max(0, now_s + recorded_s - base_s)
            raw = rewrite_header(raw, has_checksum=group.checksum is Checksum.CRC32, timestamp=time_s)
        events.append(raw)
    return group._replace(events=events)


class ReplaySource:
    """Plays files at a live pace.

    `speed`: 1.0 is the recorded pace; pauses longer than `gap_ms_max` are shortened to it; with `repeat` the files come
    again at their end, under the next file numbers.
    """

    paced_heartbeats = True
    queryable = False
    heartbeat_period_ms = HEARTBEAT_PERIOD_MS

    def __init__(
        self,
        paths: Sequence[Path],
        clock: Clock,
        *,
        speed: float = 1.0,
        gap_ms_max: int = 1000,
        repeat: bool = False,
        scheduler: Scheduler | None = None,
    ) -> None:
        self._paths = list(paths)
        self._clock = clock
        self._speed = speed
        self._gap_ms_max = gap_ms_max
        self._repeat = repeat
        self._scheduler = scheduler or LoopScheduler()
        self._first = BinlogPosition(binlog_names(paths)[0], BINLOG_MAGIC_BYTES)
        self._info: ServerInfo | None = None
        self._recording: Iterator[Group] | None = None
        self._pace = _Pace(speed, gap_ms_max, 0)
        self._next: _Due | None = None
        self._checksum = Checksum.NONE
        self._reached = self._first
        self._said_ms = 0

    @property
    def address(self) -> str:
        return f"file://{','.join(map(str, self._paths))}"

    def hosts(self) -> list[Source]:
        return [self]

    def sibling(self) -> FileSource:
        return FileSource(self._paths)

    async def connect(self) -> ServerInfo:
        self._info = await read_info(self._paths)
        return self._info

    async def query(self, sql: str) -> list[tuple[str | None, ...]]:
        raise SourceRefused(f"{self.address} are files, which answer no queries")

    async def start(self, position: BinlogPosition) -> None:
        await self.close()
        info = self._info or await self.connect()
        dialect = Dialect.of(info.version)
        self._recording = spread(_whole_recording(self._paths, self._first, position, dialect, repeat=self._repeat))
        self._pace = _Pace(self._speed, self._gap_ms_max, self._clock.now_ms())
        self._checksum = Checksum.NONE
        self._said_ms = self._clock.monotonic_ms()

    async def read(self) -> list[bytes]:
        while True:
            due = self._next or await asyncio.to_thread(self._take_next)
            if due is None:
                return []
            self._next = due
            left_ms = due.due_ms - self._clock.now_ms()
            quiet_ms = self._said_ms + HEARTBEAT_PERIOD_MS - self._clock.monotonic_ms()
            if left_ms <= 0:
                return self._say(due)
            if quiet_ms <= 0:
                self._said_ms = self._clock.monotonic_ms()
                return [
                    EventEncoder(checksum=self._checksum, position=self._reached.position).heartbeat(self._reached.file)
                ]
            await sleep(self._scheduler, min(left_ms, quiet_ms))

    def _say(self, due: _Due) -> list[bytes]:
        self._next = None
        self._checksum, self._reached = due.group.checksum, due.group.end
        self._said_ms = self._clock.monotonic_ms()
        return due.group.events

    def _take_next(self) -> _Due | None:
        """The next group with its time of now; runs in a thread, one at a time."""
        group = None if self._recording is None else next(self._recording, None)
        if group is None:
            return None
        due_ms = self._pace.due(group.time_ms)
        return _Due(due_ms, moved(group, due_ms // 1000))

    def pending(self) -> bool:
        return self._next is not None and self._next.due_ms <= self._clock.now_ms()

    def committed(self, position: BinlogPosition) -> None:
        """Files stay where they are."""

    async def close(self) -> None:
        self._recording, self._next = None, None
