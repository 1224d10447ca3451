"""Every state that a crash can leave opens to a correct log, and each consumer goes on without loss or change.

A *story* drives a log on files in memory (`tests.storage.medium`), which record every write, flush, rename and
deletion. Each prefix of the record is a moment at which the process is killed, in the middle of a write too, or at
which the power goes. Then, of the unflushed pages, sizes and names, every subset is tried if these make at most
2 to the power of `BOUND` disks; else some of them, and random ones with earlier and torn pages. Disks that are equal
byte for byte are tried once, with what had been shown last. Some are crashed a second time, at each moment of recovery
and of what follows it.

What is asked of each. The log opens, without a note after a kill, and ends at a transaction: after a kill at least the
last that was visible, after a loss of power at least the last that was flushed. No offset that was visible is given to
another record. The source sends again from `recovered` on; then whoever had read up to *any* offset that was ever the
high watermark and is not behind the retention reads on: in order, nothing left out, after a kill nothing twice.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from random import Random
from typing import NamedTuple

import pytest

from storage.config import LogConfig
from storage.encoding import encode_batch
from storage.errors import LogWriteError
from storage.log import GtidInterval, SourcePosition
from storage.segment_log import SegmentLog
from tests.fakes import ManualClock
from tests.storage.medium import Medium, MemoryFiles
from tests.storage.samples import FIRST_TIME_MS, TOPIC, Sample, read_all, small

BOUND = 6
_BOUND_LONG = 10
_RANDOM_STORIES = 4
_RANDOM_STORIES_LONG = 200
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
        return History(list(self.source), seen, [moment], marks, self.is_exact)


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
        history = self.history
        history.is_exact = False
        history.moments.append(history.moments[-1]._replace(steps=len(self.files.steps), visible=self._flushed))
        self.files.failing = {"sync"}
        with suppress(LogWriteError):
            self.log.flush()
        self.files.failing = set()
        self.log.rollback()
        self.count = recovered_count(self.log)
        assert self.count >= self._flushed

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
        steps = len(self.files.steps)
        history.moments.append(Shown(steps, log.high_watermark, self.count, self._flushed, log.log_start_offset))
        if log.high_watermark != before.high_watermark:
            history.marks.append((steps, log.high_watermark, self.count))

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


# Crashes


class Effort(NamedTuple):
    """How much is tried: see `Medium.states`; `again` states of a run are crashed a second time."""

    bound: int
    samples: int
    again: int


SHORT = Effort(BOUND, samples=4, again=2)
LONG = Effort(_BOUND_LONG, samples=40, again=40)
_SECOND = Effort(bound=3, samples=1, again=0)


class Crashes:
    """Tries the states of one recorded run."""

    def __init__(self, directory: Path, config: LogConfig, random: Random, effort: Effort) -> None:
        self._directory = directory
        self._config = config
        self._random = random
        self._effort = effort
        self.tried: Counter[str] = Counter()

    def of_run(self, start: Medium, history: History, files: MemoryFiles, boot: int) -> None:
        """Every moment of a run that began on `start`."""
        moments = len(files.steps) + 1
        again = set(self._random.sample(range(moments), min(moments, self._effort.again)))
        self._kills(start.clone(), history, files, boot, again)
        states = self._losses_of_power(start.clone(), files)
        again = set(self._random.sample(range(len(states)), min(len(states), self._effort.again)))
        for number, (steps, contents) in enumerate(states):
            self._try(Medium(contents), history, steps, boot, "power", is_again=number in again)

    def _kills(self, medium: Medium, history: History, files: MemoryFiles, boot: int, again: set[int]) -> None:
        for number in range(len(files.steps) + 1):
            step = files.steps[number] if number < len(files.steps) else None
            if step is not None and step.call == "write":
                torn = medium.clone_in_place()
                torn.apply(step, self._random.random())
                self._try(torn, history, number, boot, "kill", is_again=False)
            self._try(medium, history, number, boot, "kill", is_again=number in again)
            if step is not None:
                medium.apply(step)

    def _losses_of_power(self, medium: Medium, files: MemoryFiles) -> list[tuple[int, dict[str, bytes]]]:
        """Number of steps and what is left. Of disks that are equal the last stays: by then the most had been shown."""
        states: dict[bytes, tuple[int, dict[str, bytes]]] = {}
        for number in range(len(files.steps) + 1):
            left, is_all = medium.states(self._effort.bound, self._random, self._effort.samples)
            self.tried["moments"] += 1
            self.tried["moments with every subset"] += is_all
            for contents in left:
                states[_digest(contents)] = number, contents
            if number < len(files.steps):
                medium.apply(files.steps[number])
        return list(states.values())

    def _try(self, medium: Medium, history: History, steps: int, boot: int, crash: str, *, is_again: bool) -> None:
        self.tried[crash] += 1
        is_kill = crash == "kill" and steps >= history.trusted_from
        next_boot = boot + (crash == "power")
        before = history.until(steps)
        is_thorough = self.tried[crash] % 5 == 0
        try:
            Check(self._directory, medium, before, self._config, next_boot).run(
                is_kill=is_kill, is_thorough=is_thorough
            )
            if is_again:
                self._crash_again(medium.clone(), before, next_boot, is_kill=is_kill)
        except BaseException as error:
            error.add_note(f"{crash} after {steps} steps, boot {next_boot}")
            raise

    def _crash_again(self, medium: Medium, before: History, boot: int, *, is_kill: bool) -> None:
        """Let a next process recover and go on for a while, and crash it at every moment of that."""
        files = MemoryFiles(medium.seen())
        driver = Driver(self._directory, files, before, self._config, boot_id=f"boot-{boot}", random=self._random)
        if not is_kill:
            # What is found after a loss of power came from the medium; the rest is known to be lost.
            before.is_exact = False
            (shown,) = before.moments
            start = shown.log_start_offset if driver.count else driver.log.log_start_offset
            before.moments = [shown._replace(visible=driver.count, flushed=driver.count, log_start_offset=start)]
        for _ in range(2):
            driver.deliver(self._random.choice((1, 2, 7)))
        if not is_kill:
            before.trusted_from = _first_state(files)
        second = Crashes(self._directory, self._config, self._random, _SECOND)
        second.of_run(medium, before, files, boot)
        self.tried["second"] += second.tried["kill"] + second.tried["power"]


def _first_state(files: MemoryFiles) -> int:
    """How many steps it took to make a state of this boot durable."""
    renamed = next(number for number, step in enumerate(files.steps) if step.data == b"state")
    return renamed + 1


def _digest(contents: dict[str, bytes]) -> bytes:
    digest = blake2b(digest_size=16)
    for name in sorted(contents):
        digest.update(b"%s %d " % (name.encode(), len(contents[name])))
        digest.update(contents[name])
    return digest.digest()


class Check:
    """What is asked of one state."""

    def __init__(self, directory: Path, medium: Medium, before: History, config: LogConfig, boot: int) -> None:
        (self.shown,) = before.moments
        self.before = before
        self._open = lambda contents: Driver(
            directory, MemoryFiles(contents), History(before.source), config, boot_id=f"boot-{boot}", random=Random(0)
        )
        self.driver = self._open(medium.seen())
        self.log = self.driver.log

    def run(self, *, is_kill: bool, is_thorough: bool) -> None:
        """Look at what was found, let the source send again, and read on from every offset that was ever shown."""
        driver, shown, source = self.driver, self.shown, self.before.source
        is_exact = is_kill and self.before.is_exact
        self._found(is_kill=is_kill)
        assert not (is_exact and self.log.notes)
        self._source()
        while driver.count < min(shown.visible + 1, len(source)):
            driver.deliver()
        driver.deliver()
        records = self._records()
        self._consumers([record.offset for record in records], is_exact=is_exact)
        if is_thorough:
            self._times(records)
            again = self._open({name: file.content for name, file in driver.files.files.items()})
            assert again.log.recovered == self.log.recovered
            assert read_all(again.log, max_bytes=300) == records

    def _found(self, *, is_kill: bool) -> None:
        log, shown, count = self.log, self.shown, self.driver.count
        least = shown.visible if is_kill else shown.flushed
        lost = self.before.source[count:least]
        assert not any(delivery.batches for delivery in lost), f"{count} transactions of {least} are left"
        assert log.high_watermark == log.end_offset >= shown.high_watermark, "an offset would be used again"
        # Of a log that lost all it ever had, the start is where it goes on.
        if (is_kill and self.before.is_exact) or count:
            assert log.log_start_offset <= shown.log_start_offset, "more is gone than had its time"

    def _source(self) -> None:
        """What capture resumes from: the snapshot, and exactly what was committed behind it."""
        recovered = self.log.recovered
        if recovered is None:
            return
        since = self.before.source[int(recovered.snapshot) : self.driver.count]
        assert _numbers(recovered.intervals) == _numbers(gtid for delivery in since for gtid in delivery.gtids)

    def _records(self) -> list[Sample]:
        """The log is what the source sent, in order, and what was seen of it stands where it stood."""
        expected = [
            (value, delivery.timestamp_ms)
            for delivery in self.before.source[: self.driver.count]
            for value in delivery.values
        ]
        records = read_all(self.log)
        gone = len(expected) - len(records)
        assert gone == 0 or self.log.log_start_offset > 0
        assert [(record.value, record.timestamp_ms) for record in records] == expected[gone:]
        for record in records:
            if record.offset < self.shown.high_watermark:
                assert self.before.seen[record.offset] == record, f"offset {record.offset} changed"
        return records

    def _consumers(self, offsets: list[int], *, is_exact: bool) -> None:
        source, driver = self.before.source, self.driver
        gone = sum(len(delivery.values) for delivery in source[: driver.count]) - len(offsets)
        if is_exact:
            assert offsets == list(range(offsets[0], offsets[0] + len(offsets)))
        for _, mark, read in self.before.marks:
            if mark < max(self.log.log_start_offset, self.shown.log_start_offset):
                continue
            index = bisect_left(offsets, mark)
            owed = sum(len(delivery.values) for delivery in source[:read]) - gone
            assert index <= owed, f"who had read up to {mark} misses records"
            assert not is_exact or index == owed, f"who had read up to {mark} gets records twice"

    def _times(self, records: list[Sample]) -> None:
        for record in records[:: max(1, len(records) // 4)]:
            first = next(one for one in records if one.timestamp_ms >= record.timestamp_ms)
            assert self.log.offset_for_timestamp(record.timestamp_ms) == (first.offset, first.timestamp_ms)


def _numbers(intervals: Iterable[GtidInterval]) -> set[tuple[bytes, int]]:
    return {(one.key, number) for one in intervals for number in range(one.first, one.last + 1)}


def play(directory: Path, story: Story, config: LogConfig, random: Random, effort: Effort) -> Counter[str]:
    """Record a story, and try what its crashes leave; how much that was."""
    directory.mkdir()
    files, history = MemoryFiles(), History()
    story(Driver(directory, files, history, config, boot_id="boot-1", random=random))
    crashes = Crashes(directory, config, random, effort)
    crashes.of_run(Medium(), history, files, boot=1)
    print(dict(crashes.tried))
    return crashes.tried


@pytest.mark.parametrize("name", STORIES)
def test_every_state_a_crash_can_leave_opens_to_a_correct_log(tmp_path: Path, name: str) -> None:
    story, config = STORIES[name]
    tried = play(tmp_path / "log", story, config, Random(name), SHORT)
    assert tried["moments with every subset"] > 10
    assert min(tried["kill"], tried["power"], tried["second"]) > 30


@pytest.mark.parametrize("seed", range(_RANDOM_STORIES))
def test_random_stories(tmp_path: Path, seed: int) -> None:
    play_random(tmp_path, seed, SHORT)


@pytest.mark.torture
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", STORIES)
def test_every_state_up_to_a_larger_bound(tmp_path: Path, name: str) -> None:
    story, config = STORIES[name]
    play(tmp_path / "log", story, config, Random(name), LONG)


@pytest.mark.torture
@pytest.mark.parametrize("seed", range(_RANDOM_STORIES, _RANDOM_STORIES_LONG))
def test_more_random_stories(tmp_path: Path, seed: int) -> None:
    play_random(tmp_path, seed, SHORT)


def play_random(directory: Path, seed: int, effort: Effort) -> None:
    random = Random(seed)
    play(directory / "log", random_story(random), random_config(random), random, effort)
