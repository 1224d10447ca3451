"""Crashes of a recorded run on real files: what a new process finds must be a log that lost nothing it showed.

Goal: after any crash the log holds a prefix of the committed transactions, byte for byte and at the same offsets;
after a killed process all that were published; after a loss of power all that were flushed, and no offset that was
ever served means anything else. Method: the files seam records every write, flush, rename and deletion of a run;
prefixes are laid out in a fresh directory and opened. Every prefix, and what it may leave, is tried on files in memory
(`test_crash_states`).
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import pytest

from storage.verify import verify
from tests.storage.faults import RecordingFiles, ReplayedDisk, Step
from tests.storage.samples import Sample, append, append_random, open_log, position, read_all, release_all, small

if TYPE_CHECKING:
    from storage.config import LogConfig
    from storage.segment_log import SegmentLog

CHECKOUT = Path(__file__).resolve().parents[2]
CONFIG = small(segment_bytes=5000, index_interval_bytes=300, reserve_offsets=50)


@dataclass
class Moment:
    """What was true when so many steps had been made."""

    steps: int
    published: int
    """Transactions that were visible."""
    high_watermark: int
    durable: int
    """Transactions that a flush had covered."""


@dataclass
class Run:
    """A recorded run."""

    steps: list[Step] = field(default_factory=list)
    transactions: list[list[Sample]] = field(default_factory=list)
    moments: list[Moment] = field(default_factory=list)

    def at(self, count: int) -> Moment:
        """The last moment within the first `count` steps."""
        return max((m for m in self.moments if m.steps <= count), key=lambda m: m.steps, default=Moment(0, 0, 0, 0))


class Recorder:
    """Drives a log and writes down what it showed."""

    def __init__(self, directory: Path, run: Run, config: LogConfig) -> None:
        self.run = run
        self.files = RecordingFiles()
        self.log = open_log(directory, config, files=self.files)
        self._durable = 0

    def transaction(self, random: Random, batches: int) -> None:
        records = []
        for _ in range(batches):
            records += append_random(self.log, random)
        self.run.transactions.append(records)
        self.log.commit([position(len(self.run.transactions))])
        self._mark()

    def rolled_back(self, random: Random, batches: int) -> None:
        for _ in range(batches):
            append_random(self.log, random)
        self.log.rollback()
        self._mark()

    def flush(self) -> None:
        published = len(self.run.transactions)
        self.log.flush()
        self._durable = published
        self._mark()

    def _mark(self) -> None:
        run = self.run
        run.moments.append(Moment(len(self.files.steps), len(run.transactions), self.log.high_watermark, self._durable))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Transactions within a segment and across several, rollbacks of both, flushes in between."""
    random = Random(4711)
    run = Run()
    recorder = Recorder(tmp_path_factory.mktemp("run") / "log", run, CONFIG)
    for number in range(20):
        recorder.transaction(random, random.choice((1, 1, 2, 24)))
        if number % 7 == 3:
            recorder.rolled_back(random, random.choice((1, 2, 30)))
        if number % 5 == 2:
            recorder.flush()
    run.steps = recorder.files.steps
    return run


def check_prefix(log: SegmentLog, run: Run, at_least: int) -> int:
    """The log holds the first transactions, at least so many, and resumes behind the last of them. Returns how many."""
    recovered = log.recovered
    count = recovered.position - 1000 if recovered else 0
    assert count >= at_least
    records = [record for transaction in run.transactions[:count] for record in transaction]
    assert read_all(log, max_bytes=700) == records
    if recovered is not None:
        assert recovered.snapshot == b"snapshot"
        assert recovered.intervals[-1].last == count
        assert recovered.timestamp_ms == records[-1].timestamp_ms
    return count


def check_goes_on(log: SegmentLog, directory: Path, run: Run, count: int) -> None:
    """The log takes further records, and has them after another start."""
    before = read_all(log)
    added = append(log, b"one", b"two")
    log.commit([position(count + 1)])
    assert read_all(log) == before + added
    again = open_log(directory, CONFIG)
    assert read_all(again) == before + added
    assert again.recovered is not None
    assert again.recovered.position == 1000 + count + 1
    for record in (*before[:: max(1, len(before) // 7)], *added):
        expected = next(r for r in before + added if r.timestamp_ms >= record.timestamp_ms)
        assert again.offset_for_timestamp(record.timestamp_ms) == (expected.offset, expected.timestamp_ms)


def killed_at(run: Run, steps: int, share: float, directory: Path) -> None:
    """Lay out the directory as a process that is killed there leaves it."""
    disk = ReplayedDisk()
    for step in run.steps[:steps]:
        disk.apply(step)
    if share < 1 and steps < len(run.steps):
        disk.apply(run.steps[steps], share)
    directory.mkdir()
    disk.write_to(directory)


def test_a_killed_process_loses_nothing(run: Run, tmp_path: Path) -> None:
    for steps in range(0, len(run.steps) + 1, 7):
        is_write = steps < len(run.steps) and run.steps[steps].call == "write"
        for share in (1.0, 0.4) if is_write else (1.0,):
            directory = tmp_path / f"{steps}-{share}"
            killed_at(run, steps, share, directory)
            log = open_log(directory, CONFIG)
            moment = run.at(steps)
            count = check_prefix(log, run, moment.published)
            assert not log.notes
            # One commit more may be whole on disk than was published before the kill.
            assert count <= moment.published + 1
            assert log.high_watermark >= moment.high_watermark
            if steps % 3 == 0:
                check_goes_on(log, directory, run, count)
            release_all()
            shutil.rmtree(directory)


def test_a_process_killed_while_it_recovers_is_recovered_again(run: Run, tmp_path: Path) -> None:
    random = Random(7)
    for number in range(25):
        steps = random.randrange(len(run.steps) + 1)
        first = tmp_path / f"{number}"
        killed_at(run, steps, 0.5, first)
        start = ReplayedDisk()
        for path in first.iterdir():
            start.apply(Step("create", path.name))
            start.apply(Step("write", path.name, path.read_bytes()))
        files = RecordingFiles()
        open_log(first, CONFIG, files=files)
        for step_count, step in enumerate(files.steps):
            start.apply(step)
            again = tmp_path / f"{number}-{step_count}"
            again.mkdir()
            start.write_to(again)
            log = open_log(again, CONFIG)
            check_prefix(log, run, run.at(steps).published)
            release_all()


def test_a_loss_of_power_loses_nothing_that_was_flushed(run: Run, tmp_path: Path) -> None:
    random = Random(20)
    for number in range(120):
        steps = random.randrange(len(run.steps) + 1)
        disk = ReplayedDisk()
        for step in run.steps[:steps]:
            disk.apply(step)
        directory = tmp_path / str(number)
        directory.mkdir()
        disk.write_after_power_loss(directory, random)
        moment = run.at(steps)
        log = open_log(directory, CONFIG, boot_id="boot-2")
        count = check_prefix(log, run, moment.durable)
        assert log.end_offset >= moment.high_watermark, "an offset that was served would be used again"
        assert log.high_watermark == log.end_offset
        assert log.read(log.high_watermark, 100).view.nbytes == 0
        if number % 5 == 0:
            check_goes_on_after_power_loss(log, directory, run, count)
        release_all()
        shutil.rmtree(directory)


def random_run(directory: Path, random: Random) -> tuple[Run, LogConfig]:
    """A short run under settings that put the boundaries of segments, slots and reservations anywhere."""
    config = small(
        segment_bytes=random.choice((600, 1500, 5000, 10**6)),
        index_interval_bytes=random.choice((100, 300)),
        reserve_offsets=random.choice((20, 500)),
        flush_before_visible=random.random() < 0.2,
    )
    run = Run()
    recorder = Recorder(directory, run, config)
    for _ in range(random.randrange(1, 25)):
        recorder.transaction(random, random.choice((1, 1, 2, 15)))
        if random.random() < 0.2:
            recorder.rolled_back(random, random.choice((1, 2, 20)))
        if random.random() < 0.2 or config.flush_before_visible:
            recorder.flush()
    recorder.log.release()
    run.steps = recorder.files.steps
    return run, config


@pytest.mark.parametrize(
    "seed", [*range(6), *(pytest.param(seed, marks=pytest.mark.torture) for seed in range(6, 300))]
)
def test_random_runs_lose_no_flushed_record_with_the_power(tmp_path: Path, seed: int) -> None:
    random = Random(seed)
    run, config = random_run(tmp_path / "run", random)
    for number in range(30):
        steps = random.randrange(len(run.steps) + 1)
        disk = ReplayedDisk()
        for step in run.steps[:steps]:
            disk.apply(step)
        directory = tmp_path / str(number)
        directory.mkdir()
        disk.write_after_power_loss(directory, random)
        moment = run.at(steps)
        log = open_log(directory, config, boot_id="boot-2")
        count = check_prefix(log, run, moment.durable)
        assert log.end_offset >= moment.high_watermark
        if number % 3 == 0:
            check_goes_on_after_power_loss(log, directory, run, count)
        release_all()


def check_goes_on_after_power_loss(log: SegmentLog, directory: Path, run: Run, count: int) -> None:
    before = read_all(log)
    lost_offset = log.high_watermark - 1
    added = append(log, b"again")
    log.commit([position(count + 1)])
    log.flush()
    assert read_all(log, offset=lost_offset if lost_offset >= log.log_start_offset else None)[-1:] == added
    again = open_log(directory, log.config, boot_id="boot-3")
    assert read_all(again) == before + added
    assert again.end_offset > added[0].offset


WRITER = """
import random, sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from tests.storage.samples import append_random, open_log, position, small
log = open_log(Path(sys.argv[2]), small(segment_bytes=20_000, index_interval_bytes=1000))
number = log.recovered.position - 1000 if log.recovered else 0
source = random.Random(number)
while True:
    number += 1
    for _ in range(source.choice((1, 2, 60))):
        append_random(log, source)
    log.commit([position(number)])
    print(number, log.high_watermark, flush=True)
"""


def test_a_writer_that_is_killed_again_and_again_loses_nothing_it_said(tmp_path: Path) -> None:
    random = Random(5)
    directory = tmp_path / "log"
    records: list[Sample] = []
    for _ in range(6):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(CHECKOUT), str(directory)], stdout=subprocess.PIPE, text=True
        ) as writer:
            assert writer.stdout is not None
            lines = [writer.stdout.readline() for _ in range(random.randrange(1, 60))]
            writer.kill()
            lines += writer.stdout.read().splitlines(keepends=True)
        number, high_watermark = map(int, [line for line in lines if line.endswith("\n")][-1].split())
        log = open_log(directory, small(segment_bytes=20_000, index_interval_bytes=1000))
        now = read_all(log)
        assert log.recovered is not None
        assert log.recovered.position >= 1000 + number
        assert log.high_watermark >= high_watermark
        assert [record.offset for record in now] == list(range(log.high_watermark))
        assert now[: len(records)] == records, "what was served before is served again, unchanged"
        assert verify(directory).problems == []
        assert not log.notes
        records = now
    assert len(records) > 100
