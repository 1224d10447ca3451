"""Every single system call of a run fails, each in turn: once, or from then on until the cause is gone; with nothing
done, with half of it done, or with all of it done. Whatever fails, the log comes to hold what it would hold without:
nothing lost, doubled or changed, for a consumer that reads all the way, and for whoever opens what a kill left then.
"""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from storage.encoding import encode_batch
from storage.errors import LogReadError, LogWriteError, StorageUnavailable
from storage.files import Files
from storage.segment_log import SegmentLog
from storage.verify import verify
from tests.fakes import ManualClock
from tests.storage.samples import FIRST_TIME_MS, TOPIC, position, read_all, small

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from storage.log import LogReader

CAUSES = (errno.ENOSPC, errno.EIO, errno.EROFS, errno.EACCES, errno.EDQUOT, errno.EMFILE)
SYNCS = {"sync", "sync_names"}
COMPOSITE = {"opened", "replace_durably", "sync_directory"}
"""Made of the others."""
NEVER_FAIL = {"close", "advise", "space", "occupied_bytes"}
TRANSACTIONS, BATCHES = 12, 2
CONFIG = small(
    segment_bytes=700, index_interval_bytes=150, reserve_offsets=12, retention_ms=6_500_000, flush_bytes=10**9
)
FLUSH_EVERY, CUT_EVERY, STEP_MS = 3, 5, 1_000_000
TRIES_UNTIL_CURED = 3


class UnsyncedFiles(Files):
    """Waits for no medium: no test here takes away the power."""

    def sync(self, descriptor: int) -> None:
        """There is nothing to wait for."""

    def sync_names(self, descriptor: int) -> None:
        """As `sync`."""


class FaultyFiles(UnsyncedFiles):
    """Numbers the calls, and fails one of them, or all from that one on, until `cure`."""

    def __init__(self, first: int = 10**9, *, number: int = 0, lasts: bool = False, is_late: bool = False) -> None:
        self.calls: list[str] = []
        self.failed: set[str] = set()
        self._first = first
        self._number = number
        self._lasts = lasts
        self._is_late = is_late
        self._is_cured = False
        self._depth = 0

    def cure(self) -> None:
        self._is_cured = True

    def fails(self, call: str) -> bool:
        here = len(self.calls)
        self.calls.append(call)
        if self._is_cured or here < self._first or (here > self._first and not self._lasts):
            return False
        self.failed.add(call)
        return True

    def error(self) -> OSError:
        return OSError(self._number, os.strerror(self._number))

    def write(self, descriptor: int, data: bytes, position: int) -> None:
        if not self.fails("write"):
            super().write(descriptor, data, position)
            return
        os.pwrite(descriptor, data if self._is_late else data[: len(data) // 2], position)
        raise self.error()

    def write_many(self, descriptor: int, parts: Sequence[bytes], position: int) -> None:
        if not self.fails("write_many"):
            super().write_many(descriptor, parts, position)
            return
        os.pwrite(descriptor, b"".join(parts) if self._is_late else parts[0], position)
        raise self.error()

    def open(self, path: Path, *, create: bool = False, write: bool = True) -> int:
        if not self.fails("open"):
            return super().open(path, create=create, write=write)
        if self._is_late:
            os.close(super().open(path, create=create, write=write))
        raise self.error()


def _failing(name: str) -> Callable[..., Any]:
    made = getattr(UnsyncedFiles, name)

    def call(self: FaultyFiles, *args: Any, **kwargs: Any) -> Any:
        if not self.fails(name):
            return made(self, *args, **kwargs)
        if self._is_late:
            made(self, *args, **kwargs)
        raise self.error()

    return call


for _name in vars(Files):
    if not (_name.startswith("_") or _name in COMPOSITE | NEVER_FAIL | set(vars(FaultyFiles))):
        setattr(FaultyFiles, _name, _failing(_name))


def value(number: int, batch: int, record: int) -> bytes:
    return b"%d/%d/%d " % (number, batch, record) + b"x" * (40 * (number % 3))


def values_of(number: int) -> list[list[bytes]]:
    return [[value(number, batch, record) for record in range(1 + number % 2)] for batch in range(BATCHES)]


EXPECTED = [each for number in range(TRANSACTIONS) for batch in values_of(number) for each in batch]


@dataclass
class Consumer:
    """Reads on where it is, whenever it may, and forgets nothing."""

    seen: dict[int, bytes] = field(default_factory=dict)
    offset: int = 0

    def read(self, log: LogReader) -> None:
        try:
            for record in read_all(log, offset=max(self.offset, log.log_start_offset)):
                assert record.offset not in self.seen
                self.seen[record.offset] = record.value
                self.offset = record.offset + 1
        except (LogReadError, OSError):
            return  # asked again the next time

    def missed_nothing(self, *, may_repeat: bool) -> None:
        """What it read is everything in order; where a flush failed, parts of it again."""
        values = list(self.seen.values())
        if not may_repeat:
            assert values == EXPECTED
            return
        at = 0
        for each in values:
            if at == len(EXPECTED) or each != EXPECTED[at]:
                back = EXPECTED.index(each)
                assert back < at, "something was left out"
                at = back
            at += 1
        assert at == len(EXPECTED)


class Run:
    """One log, written as capture writes it, read as a consumer reads."""

    def __init__(self, directory: Path, files: FaultyFiles, clock: ManualClock) -> None:
        self.directory = directory
        self.files = files
        self.clock = clock
        self.consumer = Consumer()
        self.failures = 0
        self.on_failure: Callable[[Run], None] = lambda run: None
        self.log: SegmentLog | None = None

    def failed(self) -> None:
        self.failures += 1
        self.on_failure(self)
        if self.failures >= TRIES_UNTIL_CURED:
            self.files.cure()
        assert self.failures < 10 * TRIES_UNTIL_CURED, "it does not get over it"

    def open(self) -> SegmentLog:
        while True:
            try:
                log = SegmentLog.open(self.directory, TOPIC, CONFIG, self.clock, boot_id="boot-1", files=self.files)
            except StorageUnavailable:
                self.failed()
                continue
            log.attach(lambda: b"snapshot")
            self.log = log
            return log

    def resumed(self, log: SegmentLog) -> int:
        """Roll back until it works; the transaction to go on with."""
        while True:
            log.flush()  # as the task does that flushes every second
            try:
                log.rollback()
                recovered = log.recovered
            except StorageUnavailable:
                self.failed()
                continue
            return 0 if recovered is None else recovered.position - position(0).position + 1

    def write(self, until: int = TRANSACTIONS) -> None:
        log = self.open()
        number = self.resumed(log)
        while number < until:
            try:
                self.transaction(log, number)
            except LogWriteError:
                self.failed()
                self.consumer.read(log)
                number = self.resumed(log)
            else:
                number += 1
            self.consumer.read(log)
            if number == until:
                log.flush()
                number = self.resumed(log)

    def append(self, log: SegmentLog, number: int) -> None:
        """The batches of a transaction: of every other one together."""
        batches, offset = [], log.end_offset
        for values in values_of(number):
            batches.append(encode_batch(offset, values, [FIRST_TIME_MS + offset] * len(values)))
            offset += len(values)
        for together in [batches] if number % 2 else [[batch] for batch in batches]:
            log.append(together)

    def transaction(self, log: SegmentLog, number: int) -> None:
        self.append(log, number)
        if number % CUT_EVERY == 0:
            log.rollback()
            self.append(log, number)
        log.commit([position(number)])
        self.consumer.read(log)
        if number % FLUSH_EVERY == 0:
            log.flush()
        self.clock.advance(STEP_MS)
        try:
            doomed = log.retire()
        except (LogReadError, OSError):
            return
        try:
            log.delete(doomed)
        except OSError:
            log.keep_doomed(doomed)

    def close(self) -> None:
        assert self.log is not None
        try:
            asyncio.run(self.log.close())
        except LogWriteError:
            self.failures += 1

    def whole(self) -> None:
        """What is stored is the end of what was to be stored, verifies, and the consumer has read it all."""
        assert self.log is not None
        self.consumer.read(self.log)
        self.consumer.missed_nothing(may_repeat=bool(self.files.failed & SYNCS))
        stored = read_all(self.log)
        assert [record.value for record in stored] == EXPECTED[len(EXPECTED) - len(stored) :]
        assert stored
        for record in stored:
            assert self.consumer.seen[record.offset] == record.value


def prepared(directory: Path, clock: ManualClock) -> None:
    """What a killed run left: a few transactions, some of them flushed, and one unfinished."""
    run = Run(directory, FaultyFiles(), clock)
    run.write(6)
    assert run.log is not None
    run.log.append(encode_batch(run.log.end_offset, [b"unfinished"], [0]))
    run.log.release()


@pytest.fixture(scope="module")
def beginning(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("faults") / "log"
    prepared(directory, ManualClock())
    return directory


@pytest.fixture(scope="module")
def calls(beginning: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The calls of a run in which nothing fails."""
    directory = tmp_path_factory.mktemp("faults") / "log"
    shutil.copytree(beginning, directory)
    clock = ManualClock()
    clock.advance(6 * STEP_MS)
    run = Run(directory, FaultyFiles(), clock)
    run.write()
    run.whole()
    run.close()
    return run.files.calls


def test_the_run_makes_every_call_that_there_is(calls: list[str]) -> None:
    made = {name for name, each in vars(Files).items() if callable(each) and name[0] != "_"} - COMPOSITE - NEVER_FAIL
    assert {"write_many", "allocate", "sync_names", "unlink"} <= set(calls)
    assert made - set(calls) <= {"copy", "make_directory", "modified_ms"}, "a new call needs its place in the run"


@pytest.mark.parametrize("how", ["once", "once, done all the same", "until cured"])
def test_whatever_call_fails_nothing_is_lost_doubled_or_changed(
    how: str, beginning: Path, calls: list[str], tmp_path: Path
) -> None:
    for first in range(len(calls)):
        number = CAUSES[first % len(CAUSES)]
        files = FaultyFiles(first, number=number, lasts=how == "until cured", is_late=how == "once, done all the same")
        folder = tmp_path / str(first)
        try:
            survive(files, beginning, folder)
        except BaseException as error:
            error.add_note(f"call {first} of {len(calls)}, {calls[first]}, {os.strerror(number)}, {how}")
            raise
        shutil.rmtree(folder)


def survive(files: FaultyFiles, beginning: Path, folder: Path) -> None:
    """A run with these files, the next one on what it left, and one on what a kill at each failure would have left."""
    clock = ManualClock()
    clock.advance(6 * STEP_MS)
    directory = folder / "log"
    shutil.copytree(beginning, directory)
    run = Run(directory, files, clock)
    killed: list[Run] = []

    def kill(run: Run) -> None:
        copy = folder / f"copy-{len(killed)}"
        shutil.copytree(directory, copy)
        killed.append(successor(run, copy))

    run.on_failure = kill
    run.write()
    run.whole()
    run.close()
    again = successor(run, directory)
    for each in (again, *killed):
        each.write()
        each.whole()
    # A flush that failed leaves a segment closed where it is: its indexes are made anew when they are needed.
    spared = {".index", ".timeindex"} if files.failed & SYNCS else set()
    assert [str(each) for each in verify(directory).problems if each.path.suffix not in spared] == []
    for each in (run, again, *killed):
        if each.log is not None:
            each.log.release()


def successor(run: Run, directory: Path) -> Run:
    """The next process on a directory, with the same consumer."""
    made = Run(directory, FaultyFiles(), run.clock)
    made.files.failed = set(run.files.failed)
    made.consumer = Consumer(dict(run.consumer.seen), run.consumer.offset)
    return made
