"""A source, a log on files in memory, and a consumer at its end: what tests of crashes and of damage play with.

The source is a list of deliveries, one commit each, that can be sent again from any of them; `Driver` plays a run on
it and `History` keeps what was shown. `STORIES` hold what a log can go through, one by one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import NamedTuple

from storage.config import LogConfig
from storage.encoding import encode_batch
from storage.errors import LogWriteError
from storage.log import GtidInterval, SourcePosition
from storage.segment_log import SegmentLog
from tests.fakes import ManualClock
from tests.storage.medium import MemoryFiles
from tests.storage.samples import FIRST_TIME_MS, TOPIC, Sample, read_all, small

_KEYS = (b"source-uuid-0001", b"source-uuid-0002", b"source-uuid-0003")
DAY_MS = 86_400_000
CONFIG = small(segment_bytes=1100, index_interval_bytes=200, reserve_offsets=12)


@dataclass(frozen=True)
class Delivery:
    """One commit of the source: batches of values, and the GTIDs that it completes."""

    number: int
    batches: tuple[tuple[bytes, ...], ...]
    gtids: tuple[GtidInterval, ...]

    @property
    def timestamp_ms(self) -> int:
        """Source time goes back now and then."""
        return FIRST_TIME_MS + self.number * 1000 - (5000 if self.number % 4 == 3 else 0)

    @property
    def values(self) -> list[bytes]:
        return [value for batch in self.batches for value in batch]

    @property
    def positions(self) -> list[SourcePosition]:
        return [SourcePosition(1, 1000 + self.number, gtid) for gtid in self.gtids]


class Shown(NamedTuple):
    """What was true when so many steps had been made. Counts are of deliveries, from the first on."""

    steps: int
    high_watermark: int
    visible: int
    flushed: int
    log_start_offset: int


@dataclass
class History:
    """What a log showed, and what its source has."""

    source: list[Delivery] = field(default_factory=list)
    seen: dict[int, Sample] = field(default_factory=dict)
    """Every record that was ever visible."""
    moments: list[Shown] = field(default_factory=lambda: [Shown(0, 0, 0, 0, 0)])
    marks: list[tuple[int, int, int]] = field(default_factory=lambda: [(0, 0, 0)])
    """Steps, high watermark, and the deliveries read by who had read up to it."""
    is_exact: bool = True
    """Nothing was taken back: what is visible stays, at its place, while the machine has its power."""
    is_taken_back: bool = False
    """A flush failed."""
    trusted_from: int = 0
    """The step from which on the log's state names this boot: until then a kill counts as the loss of power before."""

    def at(self, steps: int) -> Shown:
        """The last moment within the first `steps`."""
        return next(moment for moment in reversed(self.moments) if moment.steps <= steps)

    def until(self, steps: int) -> History:
        """The same as of the first `steps`, as what a next run begins with."""
        moment = self.at(steps)._replace(steps=0)
        marks = [(0, mark, count) for before, mark, count in self.marks if before <= steps]
        seen = {offset: record for offset, record in self.seen.items() if offset < moment.high_watermark}
        return History(list(self.source), seen, [moment], marks, self.is_exact, self.is_taken_back)


class Driver:
    """Source, log and consumer of a story."""

    def __init__(
        self, directory: Path, files: MemoryFiles, history: History, config: LogConfig, *, boot_id: str, random: Random
    ) -> None:
        self.files = files
        self.history = history
        self.config = config
        self.clock = ManualClock()
        self.random = random
        self._directory = directory
        self._boot_id = boot_id
        self._flushed = history.moments[-1].flushed
        self.log = self._open()

    def deliver(self, batches: int = 1, sources: int = 1, value_bytes: int = 60) -> None:
        """Let the source send its next commit, again or for the first time, and the log take it."""
        source = self.history.source
        if self.count == len(source):
            source.append(_delivery(len(source), batches, sources, value_bytes, self.random))
        delivery = source[self.count]
        for batch in delivery.batches:
            self._append(batch, delivery.timestamp_ms)
        self.log.commit(delivery.positions)
        self.count += 1
        if self.log.reservation.is_short(self.log.end_offset):
            self.log.reservation.extend(self.log.end_offset, self.log.flusher.durable_offset)
        if self.config.flush_before_visible:
            self._flushed = self.count
        self.show()

    def roll_back(self, batches: int) -> None:
        """Append what never comes to its commit."""
        for number in range(batches):
            self._append((b"dropped %d" % number,) * 2, FIRST_TIME_MS)
        self.log.rollback()
        self.show()

    def flush(self) -> None:
        self.log.flush()
        self._flushed = self.count
        self.show()

    def fail_to_flush(self) -> None:
        """The medium refuses: what is not durable is taken back, and comes again at other offsets."""
        history, steps = self.history, len(self.files.steps)
        history.is_exact, history.is_taken_back = False, True
        self.files.failing = {"sync"}
        with suppress(LogWriteError):
            self.log.flush()
        self.files.failing = set()
        self.log.rollback()
        self.count = recovered_count(self.log)
        # Of what a killed process had flushed the next one knows the flush before the last commit alone.
        self._flushed = min(self._flushed, self.count)
        history.moments.append(history.moments[-1]._replace(steps=steps, visible=self.count, flushed=self._flushed))
        if self.count == 0:
            # Nothing is left: the log begins where it goes on.
            self._note()

    def retire(self) -> None:
        self.flush()
        doomed = self.log.retire()
        # Readers are told at once; the files go after.
        self.show()
        self.log.delete(doomed)

    def stop_and_start(self) -> None:
        """An orderly end, and a new process."""
        asyncio.run(self.log.close())
        self._flushed = self.count
        self.show()
        self.log = self._open()

    def die_and_start(self, lost: str = "") -> None:
        """A kill and a new process of the same boot; `lost` ends the names of files that are gone by then."""
        for name in [name for name in self.files.files if lost and name.endswith(lost)]:
            self.files.unlink(self._directory / name)
        self.log = self._open()

    def show(self) -> None:
        """Look at the log as a consumer at its end does."""
        log, history = self.log, self.history
        before = history.moments[-1]
        for record in read_all(log, offset=max(before.high_watermark, log.log_start_offset)):
            assert record.offset not in history.seen
            history.seen[record.offset] = record
        self._note()
        if log.high_watermark != before.high_watermark:
            history.marks.append((len(self.files.steps), log.high_watermark, self.count))

    def _note(self) -> None:
        log, steps = self.log, len(self.files.steps)
        self.history.moments.append(Shown(steps, log.high_watermark, self.count, self._flushed, log.log_start_offset))

    def _open(self) -> SegmentLog:
        log = SegmentLog.open(self._directory, TOPIC, self.config, self.clock, boot_id=self._boot_id, files=self.files)
        log.attach(lambda: b"%d" % self.count)
        self.count = recovered_count(log)
        return log

    def _append(self, values: tuple[bytes, ...], timestamp_ms: int) -> None:
        self.log.append(encode_batch(self.log.end_offset, values, [timestamp_ms] * len(values)))


def _delivery(number: int, batches: int, sources: int, value_bytes: int, random: Random) -> Delivery:
    values = tuple(
        tuple(b"%d.%d.%d " % (number, batch, item) + random.randbytes(value_bytes) for item in range(1 + batch % 2))
        for batch in range(batches)
    )
    gtids = tuple(GtidInterval(key, number * 2 + 1, number * 2 + 1 + index % 2) for index, key in enumerate(_KEYS))
    return Delivery(number, values, gtids[number % 2 :][:sources] if sources > 1 else gtids[:1])


def recovered_count(log: SegmentLog) -> int:
    """How many deliveries the log has: where the source goes on."""
    recovered = log.recovered
    return recovered.position - 1000 + 1 if recovered is not None else 0


# Stories

Story = Callable[[Driver], None]


def in_one_segment(driver: Driver) -> None:
    for batches in (1, 2):
        driver.deliver(batches)
    driver.flush()
    driver.deliver(1)
    driver.roll_back(2)
    driver.deliver(3)
    driver.flush()
    driver.deliver(1)


def over_several_segments(driver: Driver) -> None:
    driver.deliver(2)
    driver.flush()
    driver.deliver(11)
    driver.roll_back(14)
    driver.deliver(1)
    driver.flush()
    driver.roll_back(1)
    driver.deliver(12)


def rolled_by_time_and_on_demand(driver: Driver) -> None:
    driver.deliver(1)
    driver.log.roll()
    driver.deliver(1)
    driver.flush()
    driver.clock.advance(DAY_MS)
    driver.deliver(1)
    driver.log.roll()
    driver.roll_back(1)
    driver.deliver(2)


def stopped_in_order(driver: Driver) -> None:
    driver.deliver(2)
    driver.stop_and_start()
    driver.deliver(1)
    driver.deliver(1)
    driver.stop_and_start()
    driver.stop_and_start()
    driver.deliver(9)


def with_retention(driver: Driver) -> None:
    for _ in range(3):
        driver.deliver(5)
    driver.clock.advance(DAY_MS)
    driver.deliver(1)
    driver.retire()
    driver.deliver(6)
    driver.clock.advance(2 * DAY_MS)
    driver.deliver(1)
    driver.retire()


def flushed_before_visible(driver: Driver) -> None:
    driver.deliver(1)
    driver.deliver(2)
    driver.roll_back(1)
    driver.deliver(9)
    driver.deliver(1)


def of_several_sources(driver: Driver) -> None:
    for sources in (2, 3, 1, 2):
        driver.deliver(1, sources=sources)
    driver.flush()
    driver.deliver(1, sources=3)
    driver.deliver(8, sources=2)


def after_a_failed_flush(driver: Driver) -> None:
    driver.deliver(2)
    driver.flush()
    driver.deliver(1)
    driver.deliver(2)
    driver.fail_to_flush()
    driver.deliver()
    driver.deliver()
    driver.flush()
    driver.deliver(9)
    driver.fail_to_flush()
    driver.deliver()


def killed_and_without_indexes(driver: Driver) -> None:
    driver.deliver(4)
    driver.flush()
    driver.die_and_start(".timeindex")
    driver.deliver(4)
    driver.die_and_start()
    driver.deliver(2)
    driver.flush()
    driver.die_and_start(".index")
    driver.deliver(1)


def of_positions_alone(driver: Driver) -> None:
    driver.deliver(1)
    driver.deliver(0)
    driver.flush()
    driver.deliver(0)
    driver.log.roll()
    driver.deliver(0)
    driver.deliver(1)
    driver.deliver(0, sources=2)


STORIES: dict[str, tuple[Story, LogConfig]] = {
    "one-segment": (in_one_segment, CONFIG),
    "several-segments": (over_several_segments, CONFIG),
    "rolled": (rolled_by_time_and_on_demand, small(segment_bytes=4000, segment_ms=DAY_MS, reserve_offsets=3)),
    "stopped": (stopped_in_order, CONFIG),
    "retention": (with_retention, small(segment_bytes=700, index_interval_bytes=200, retention_ms=DAY_MS)),
    "before-visible": (flushed_before_visible, small(segment_bytes=900, flush_before_visible=True, reserve_offsets=4)),
    "sources": (of_several_sources, CONFIG),
    "failed-flush": (after_a_failed_flush, CONFIG),
    "indexes": (killed_and_without_indexes, CONFIG),
    "positions": (of_positions_alone, CONFIG),
}


def random_story(random: Random) -> Story:
    """Anything in any order."""

    def play(driver: Driver) -> None:
        acts: list[tuple[Callable[[], None], int]] = [
            (lambda: driver.deliver(random.choice((0, 1, 1, 2, 9)), random.choice((1, 1, 2, 3))), 8),
            (lambda: driver.roll_back(random.choice((1, 2, 12))), 2),
            (driver.flush, 4),
            (driver.log.roll, 1),
            (driver.retire, 1),
            (lambda: driver.clock.advance(DAY_MS // 2), 1),
            (driver.stop_and_start, 1),
            (driver.die_and_start, 1),
            (driver.fail_to_flush, 1),
        ]
        for _ in range(random.randrange(4, 16)):
            (act,) = random.choices([act for act, _ in acts], [weight for _, weight in acts])
            act()

    return play


def random_config(random: Random) -> LogConfig:
    return small(
        segment_bytes=random.choice((500, 1100, 4000)),
        index_interval_bytes=random.choice((100, 300)),
        reserve_offsets=random.choice((3, 12, 100)),
        retention_ms=random.choice((None, DAY_MS)),
        flush_before_visible=random.random() < 0.2,
    )
