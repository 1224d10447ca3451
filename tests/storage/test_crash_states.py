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

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable
from hashlib import blake2b
from pathlib import Path
from random import Random
from typing import NamedTuple

import pytest

from storage.config import LogConfig
from storage.log import GtidInterval
from tests.storage.medium import Medium, MemoryFiles
from tests.storage.samples import Sample, read_all
from tests.storage.story import STORIES, Driver, History, Story, random_config, random_story

BOUND = 5
_BOUND_LONG = 9
_RANDOM_STORIES = 4
_RANDOM_STORIES_LONG = 200


class Effort(NamedTuple):
    """How much is tried: see `Medium.states`; `again` states of a run are crashed a second time."""

    bound: int
    samples: int
    again: int


SHORT = Effort(BOUND, samples=1, again=2)
LONG = Effort(_BOUND_LONG, samples=20, again=20)
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
        (shown,) = before.moments
        if not is_kill:
            # What is found after a loss of power came from the medium; the rest is known to be lost.
            before.is_exact = False
            shown = shown._replace(visible=driver.count, flushed=driver.count)
        if driver.count == 0:
            shown = shown._replace(log_start_offset=driver.log.log_start_offset)
        before.moments = [shown]
        for _ in range(2):
            driver.deliver(self._random.choice((1, 2, 7)))
        if not is_kill or before.is_taken_back:
            before.trusted_from = _first_state(files)
        second = Crashes(self._directory, self._config, self._random, _SECOND)
        second.of_run(medium, before, files, boot)
        self.tried["second"] += second.tried["kill"] + second.tried["power"]


def _first_state(files: MemoryFiles) -> int:
    """How many steps it took to make a state of this boot durable."""
    renamed = next((number for number, step in enumerate(files.steps) if step.data == b"state"), len(files.steps))
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
        self.config = config
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
        is_once = is_exact or (self.config.flush_before_visible and not self.before.is_taken_back)
        self._consumers([record.offset for record in records], is_exact=is_exact, is_once=is_once)
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

    def _consumers(self, offsets: list[int], *, is_exact: bool, is_once: bool) -> None:
        source, driver = self.before.source, self.driver
        gone = sum(len(delivery.values) for delivery in source[: driver.count]) - len(offsets)
        if is_exact:
            assert offsets == list(range(self.log.log_start_offset, self.log.log_start_offset + len(offsets)))
        for _, mark, read in self.before.marks:
            if mark < max(self.log.log_start_offset, self.shown.log_start_offset):
                continue
            index = bisect_left(offsets, mark)
            owed = sum(len(delivery.values) for delivery in source[:read]) - gone
            assert index <= owed, f"who had read up to {mark} misses records"
            assert not is_once or index == owed, f"who had read up to {mark} gets records twice"

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
