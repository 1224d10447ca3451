"""What is durable when: flushes beside the loop, flushes that fail, and publishing only what is safe."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import threading
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from storage.errors import LogWriteError
from storage.log import GtidInterval
from storage.segment_log import UNFLUSHED_FLUSHES_MAX, UNFLUSHED_SEGMENTS_MAX
from storage.state import read_state
from storage.upkeep import LATE_MS
from tests.fakes import ManualClock
from tests.storage.faults import FailingFiles, RecordingFiles
from tests.storage.samples import append, append_random, fill, open_log, position, read_all, reopen_copy, small

if TYPE_CHECKING:
    from storage.segment_log import SegmentLog
    from tests.storage.samples import Sample


class GatedFiles(FailingFiles):
    """Every flush waits until the test lets it go."""

    def __init__(self) -> None:
        super().__init__()
        self.entered = threading.Event()
        self.gate = threading.Event()

    def sync(self, descriptor: int) -> None:
        self.entered.set()
        assert self.gate.wait(30)
        super().sync(descriptor)


class OneFailingSync(FailingFiles):
    """Told to fail syncs, it fails the next one alone."""

    def sync(self, descriptor: int) -> None:
        try:
            super().sync(descriptor)
        finally:
            self.failing -= {"sync"}


class ProbedFiles(FailingFiles):
    """Keeps what a kill would leave while it is tried whether a refused write goes now."""

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self.left = directory.with_name("left")
        self._directory = directory

    def write(self, descriptor: int, data: bytes, position: int) -> None:
        super().write(descriptor, data, position)
        if self.open_paths[descriptor].suffix == ".log":
            shutil.copytree(self._directory, self.left)


def io_error(files: FailingFiles, *calls: str) -> None:
    files.failing = set(calls)
    files.number = errno.EIO


def test_a_flush_covers_every_file_and_new_names(tmp_path: Path) -> None:
    files = RecordingFiles()
    log = open_log(tmp_path / "log", files=files)
    fill(log, Random(1), 20)
    start = len(files.steps)
    log.flush()
    flushed = files.steps[start:]
    names = {path.name for path in (tmp_path / "log").iterdir()} - {"state"}
    active = max(names).partition(".")[0]
    assert {step.name for step in flushed if step.call == "sync"} == names - {f"{active}.index", f"{active}.timeindex"}
    assert flushed[-1].call == "sync_directory"
    log.flush()
    assert len(files.steps) == start + len(flushed), "there was nothing to flush again"


def test_to_see_whether_the_disk_takes_more_nothing_is_flushed(tmp_path: Path) -> None:
    """A disk may hang in a flush, and the event loop waits for the rollback."""
    files = FailingFiles()
    log = open_log(tmp_path / "log", files=files)
    records = fill(log, Random(1), 3)
    log.flush()
    for refusing in ({"write"}, {"write", "create"}):
        files.failing = refusing
        with pytest.raises(LogWriteError, match="could not be appended to"):
            append(log, b"refused")
        synced = files.calls["sync"]
        with pytest.raises(LogWriteError, match="could not be appended to"):
            log.rollback()
        files.failing = set()
        log.rollback()
        assert files.calls["sync"] == synced
    assert read_all(log) == records
    assert {path.suffix for path in (tmp_path / "log").iterdir()} == {"", ".log", ".source", ".index", ".timeindex"}


def test_names_that_a_rollback_deleted_are_flushed(tmp_path: Path) -> None:
    """Those of an unfinished transaction must not come back with the power, below what is durable by then."""
    files = RecordingFiles()
    log = open_log(tmp_path / "log", files=files)
    fill(log, Random(1), 3)
    log.flush()
    while len(list((tmp_path / "log").glob("*.log"))) < 4:
        append(log, bytes(1000))
    log.rollback()
    start = len(files.steps)
    append(log, b"value")
    log.commit([position(4)])
    log.flush()
    assert [step.call for step in files.steps[start:]][-1] == "sync_directory"


def test_segments_closed_before_a_flush_are_let_go_after_it(tmp_path: Path) -> None:
    files = RecordingFiles()
    log = open_log(tmp_path / "log", files=files)
    fill(log, Random(2), 20)
    log.flush()
    fill(log, Random(3), 1, first_number=21)
    start = len(files.steps)
    log.flush()
    assert [Path(step.name).suffix for step in files.steps[start:] if step.call == "sync"] == [".log", ".source"]
    start = len(files.steps)
    log.flush(is_last=True)
    last = [Path(step.name).suffix for step in files.steps[start:] if step.call == "sync"]
    assert last == [".log", ".source", ".index", ".timeindex"]


async def test_the_loop_goes_on_while_a_flush_waits_for_the_disk(tmp_path: Path) -> None:
    files = GatedFiles()
    log = open_log(tmp_path / "log", small(flush_interval_ms=1), files=files)
    files.gate.set()
    records = fill(log, Random(4), 3)
    files.gate.clear()
    files.entered.clear()
    log.start()
    await asyncio.to_thread(files.entered.wait, 30)
    records += fill(log, Random(5), 40, first_number=4)
    for _ in range(30):
        append_random(log, Random(6))
    log.rollback()
    assert read_all(log) == records
    files.gate.set()
    await log.close()
    assert read_all(open_log(tmp_path / "log")) == records


async def test_enough_bytes_are_flushed_before_the_interval_is_over(tmp_path: Path) -> None:
    files = GatedFiles()
    files.gate.set()
    log = open_log(tmp_path / "log", small(flush_interval_ms=3_600_000, flush_bytes=2000), files=files)
    append(log, b"small")
    log.commit([position(1)])
    log.start()
    files.entered.clear()
    append(log, b"x" * 2000)
    log.commit([position(2)])
    assert await asyncio.to_thread(files.entered.wait, 30)
    await log.close()


async def test_before_visible_publishes_what_is_durable(tmp_path: Path) -> None:
    files = GatedFiles()
    files.gate.set()
    log = open_log(tmp_path / "log", small(flush_before_visible=True, flush_interval_ms=3_600_000), files=files)
    first = append(log, b"first")
    log.commit([position(1)])
    assert read_all(log) == first, "without a task the flush is part of the commit"
    files.gate.clear()
    log.start()
    published = asyncio.Event()
    log.subscribe(published.set)
    second = append(log, b"second")
    log.commit([position(2)])
    await asyncio.to_thread(files.entered.wait, 30)
    assert (log.high_watermark, log.end_offset) == (1, 2)
    assert read_all(log) == first
    append(log, b"x" * 5000)
    log.rollback()
    assert (log.high_watermark, log.end_offset) == (1, 2)
    files.gate.set()
    await asyncio.wait_for(published.wait(), 30)
    assert read_all(log) == first + second
    await log.close()


async def hanging(
    tmp_path: Path, files: GatedFiles, clock: ManualClock, **changes: Any
) -> tuple[SegmentLog, list[Sample]]:
    """A log with its task, one transaction durable, and one of which the flush hangs."""
    log = open_log(tmp_path / "log", small(flush_interval_ms=3_600_000, **changes), files=files, clock=clock)
    files.gate.set()
    records = fill(log, Random(21), 1)
    log.flush()
    files.gate.clear()
    files.entered.clear()
    records += fill(log, Random(22), 1, first_number=2)
    log.start()
    log.upkeep.wake()
    await asyncio.to_thread(files.entered.wait, 30)
    return log, records


async def test_a_flush_that_hangs_stops_writing_and_not_reading_until_it_returns(tmp_path: Path) -> None:
    files, clock = GatedFiles(), ManualClock()
    log, records = await hanging(tmp_path, files, clock)
    began = f"{datetime.fromtimestamp(clock.now_ms() / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"
    clock.advance(LATE_MS - 1)
    records += fill(log, Random(23), 1, first_number=3)
    clock.advance(1)
    for call in (lambda: append(log, b"v"), lambda: log.commit([position(4)]), log.rollback):
        with pytest.raises(LogWriteError, match=f"that began at {began} has not returned; see to the disk of") as late:
            call()
        assert str(log.directory) in str(late.value)
    clock.advance(60_000)
    with pytest.raises(LogWriteError, match=began):
        log.rollback()
    assert read_all(log) == records
    files.gate.set()
    await log.upkeep.turn()
    log.rollback()
    assert log.recovered is not None
    records += fill(log, Random(24), 1, first_number=4)
    assert read_all(log) == records, "the flush came to its end: nothing was lost, nothing comes again"
    await log.close()
    assert read_all(open_log(tmp_path / "log")) == records


async def test_the_end_of_the_process_does_not_wait_for_a_flush_that_hangs(tmp_path: Path) -> None:
    files, clock = GatedFiles(), ManualClock()
    log, records = await hanging(tmp_path, files, clock)
    clock.advance(LATE_MS)
    with pytest.raises(LogWriteError, match="has not returned"):
        await log.close()
    again = open_log(tmp_path / "log")
    assert read_all(again) == records, "as after a kill"
    state = read_state(files, tmp_path / "log")
    assert state is not None
    assert not state.orderly
    files.gate.set()


async def test_a_writer_ahead_of_the_disk_waits_and_goes_on(tmp_path: Path) -> None:
    files, clock = GatedFiles(), ManualClock()
    log, records = await hanging(tmp_path, files, clock, flush_bytes=100)
    records += append(log, b"x" * 100 * UNFLUSHED_FLUSHES_MAX)
    log.commit([position(3)])
    waiting = asyncio.create_task(log.settle())
    for _ in range(50):
        await asyncio.sleep(0)
    assert not waiting.done()
    assert read_all(log) == records
    files.gate.set()
    await waiting
    assert log.flusher.unflushed_bytes < 100 * UNFLUSHED_FLUSHES_MAX
    await log.close()


async def test_a_writer_that_begins_many_segments_while_the_disk_is_slow_waits_too(tmp_path: Path) -> None:
    files, clock = GatedFiles(), ManualClock()
    log, _ = await hanging(tmp_path, files, clock)
    waiting = asyncio.create_task(log.settle())
    await asyncio.sleep(0)
    assert waiting.done()
    for number in range(3, UNFLUSHED_SEGMENTS_MAX + 4):
        log.roll()
        append(log, b"v")
        log.commit([position(number)])
    waiting = asyncio.create_task(log.settle())
    for _ in range(50):
        await asyncio.sleep(0)
    assert not waiting.done()
    files.gate.set()
    await waiting
    assert len(files.open_paths) < 4 * UNFLUSHED_SEGMENTS_MAX
    await log.close()


async def test_a_writer_waits_for_no_disk_that_hangs_and_for_none_that_failed(tmp_path: Path) -> None:
    files, clock = GatedFiles(), ManualClock()
    log, _ = await hanging(tmp_path, files, clock, flush_bytes=1)
    append(log, b"x" * UNFLUSHED_FLUSHES_MAX)
    log.commit([position(3)])
    waiting = asyncio.create_task(log.settle())
    await asyncio.sleep(0)
    io_error(files, "sync")
    files.gate.set()
    await waiting
    with pytest.raises(LogWriteError, match="could not be flushed"):
        append(log, b"v")
    files.failing = set()
    log.rollback()
    files.gate.clear()
    files.entered.clear()
    append(log, b"x" * UNFLUSHED_FLUSHES_MAX)
    log.commit([position(2)])
    log.upkeep.wake()
    await asyncio.to_thread(files.entered.wait, 30)
    clock.advance(LATE_MS)
    await log.settle()
    with pytest.raises(LogWriteError, match="has not returned"):
        append(log, b"v")
    files.gate.set()
    await log.upkeep.turn()
    await log.close()


async def test_before_visible_on_a_slow_disk_keeps_the_order_and_ends(tmp_path: Path) -> None:
    """Each flush is let go only when more has been committed behind it."""
    files = GatedFiles()
    config = small(flush_before_visible=True, flush_interval_ms=3_600_000)
    log = open_log(tmp_path / "log", config, files=files)
    seen: list[int] = []
    log.subscribe(lambda: seen.append(log.high_watermark))
    files.gate.set()
    ends, records = [], append(log, b"first")
    log.commit([position(100)])
    ends.append(log.end_offset)
    log.start()
    for number in range(1, 30):
        files.gate.clear()
        records += append(log, b"v%d" % number)
        log.commit([position(number)])
        ends.append(log.end_offset)
        await asyncio.to_thread(files.entered.wait, 30)
        files.entered.clear()
        records += append(log, b"w%d" % number, b"x" * 500)
        log.commit([position(100 + number)])
        ends.append(log.end_offset)
        files.gate.set()
        while log.high_watermark < ends[-2]:
            await log.upkeep.turn()
    await log.close()
    assert seen == sorted(seen)
    assert set(seen) <= set(ends)
    assert read_all(open_log(tmp_path / "log")) == records


@pytest.mark.parametrize("lost", ["files of an earlier run", "the directory"])
@pytest.mark.parametrize("number", [errno.EMFILE, errno.EACCES])
async def test_a_flush_that_cannot_open_its_files_lost_nothing_and_is_made_later(
    tmp_path: Path, lost: str, number: int
) -> None:
    clock = ManualClock()
    records = fill(open_log(tmp_path / "log"), Random(31), 5)
    files = FailingFiles()
    log = open_log(tmp_path / "log", files=files, clock=clock)
    records += append(log, b"this run has begun")
    log.commit([position(6)])
    if lost == "the directory":
        log.flush()
        records += fill(log, Random(32), 20, first_number=7)
    before = log.flusher.durable_offset
    files.failing, files.number = {"open"}, number
    log.flush()
    assert (log.flusher.durable_offset, log.needs_flush) == (before, True)
    records += append(log, b"goes on")
    log.commit([position(27)])
    clock.advance(LATE_MS)
    with pytest.raises(LogWriteError, match=rf"flushed since .* UTC \({os.strerror(number)}, {log.directory}\); "):
        append(log, b"v")
    files.failing = set()
    log.flush()
    log.rollback()
    records += append(log, b"and on")
    log.commit([position(28)])
    assert log.flusher.durable_offset == records[-1].offset
    assert read_all(log) == read_all(reopen_copy(log)) == records


def test_before_visible_shows_nothing_of_a_flush_that_failed(tmp_path: Path) -> None:
    files = FailingFiles()
    log = open_log(tmp_path / "log", small(flush_before_visible=True), files=files)
    records = append(log, b"first")
    log.commit([position(1)])
    io_error(files, "sync")
    append(log, b"lost")
    with pytest.raises(LogWriteError, match="could not be flushed"):
        log.commit([position(2)])
    assert (log.high_watermark, read_all(log)) == (1, records)
    files.failing = set()
    log.rollback()
    assert log.end_offset == 1, "an offset that was never visible may be used"
    records += append(log, b"second")
    log.commit([position(2)])
    assert read_all(log) == records
    assert read_all(reopen_copy(log, boot_id="boot-2")) == records


@pytest.mark.parametrize("lost_transactions", [1, 3, 40])
def test_a_failed_flush_takes_back_what_it_covered_and_offsets_go_on(tmp_path: Path, lost_transactions: int) -> None:
    files = FailingFiles()
    log = open_log(tmp_path / "log", files=files)
    random = Random(7)
    kept = fill(log, random, 12)
    log.flush()
    durable = log.recovered
    lost = fill(log, random, lost_transactions, first_number=13)
    append_random(log, random)
    reading = log.read(lost[0].offset, 10**6)
    seen = bytes(reading.view)
    high_watermark = log.high_watermark
    io_error(files, "sync")
    log.flush()
    assert log.high_watermark == high_watermark
    assert read_all(log) == kept
    assert log.offset_for_timestamp(lost[-1].timestamp_ms + 10**9) is None
    for call in (lambda: append(log, b"v"), lambda: log.commit([position(99)])):
        with pytest.raises(LogWriteError, match="could not be flushed"):
            call()
    with pytest.raises(LogWriteError):
        log.rollback()
    assert read_all(log) == kept
    files.failing = set()
    log.rollback()
    assert log.recovered == durable
    assert log.end_offset == high_watermark
    again = append(log, *(record.value for record in lost))
    log.commit([position(13)])
    assert again[0].offset == high_watermark
    assert bytes(reading.view) == seen, "what was being sent is not touched"
    reading.close()
    for opened in (log, reopen_copy(log), reopen_copy(log, boot_id="boot-2")):
        assert read_all(opened)[: len(kept)] == kept
        assert read_all(opened, offset=lost[0].offset)[:1] in ([again[0]], [])
    assert read_all(log) == kept + again
    assert read_all(reopen_copy(log)) == kept + again


@pytest.mark.parametrize("files_of", [OneFailingSync, FailingFiles], ids=["one sync fails", "every sync fails"])
def test_a_kill_after_a_failed_flush_gives_no_offset_again(tmp_path: Path, files_of: type[FailingFiles]) -> None:
    """Nobody has rolled back yet: what is on disk has what was served, and stays until a gap stands in its place."""
    files = files_of()
    log = open_log(tmp_path / "log", small(segment_bytes=600), files=files)
    kept = fill(log, Random(9), 2)
    log.flush()
    served = kept + fill(log, Random(10), 10, first_number=3)
    io_error(files, "sync")
    log.flush()
    assert read_all(log) == kept
    assert log.retire() == []
    left = reopen_copy(log)
    assert read_all(left) == served
    # Where it could be said that the flush failed, memory that may be forgotten is no reason to go on without a gap.
    assert (left.end_offset > log.high_watermark) is (files_of is OneFailingSync)


def test_what_a_kill_left_of_a_log_without_anything_durable_is_shown_once_it_is_durable(tmp_path: Path) -> None:
    files = FailingFiles()
    log = open_log(tmp_path / "log", files=files)
    append(log, b"never flushed")
    io_error(files, "sync")
    with pytest.raises(LogWriteError, match="could not be flushed"):
        log.commit([position(1)])
    left = reopen_copy(log)
    assert left.durable_offset == left.high_watermark == 1


def test_a_kill_while_a_refused_first_write_is_tried_leaves_out_no_offsets(tmp_path: Path) -> None:
    files = ProbedFiles(tmp_path / "log")
    log = open_log(tmp_path / "log", files=files)
    files.failing = {"rename"}
    with pytest.raises(LogWriteError):
        append(log, b"the state cannot be written")
    files.failing = set()
    log.rollback()
    assert list(files.left.glob("*.source"))
    assert open_log(files.left).end_offset == 0


def test_of_a_log_without_anything_durable_nothing_is_shown(tmp_path: Path) -> None:
    """After a loss of power it would begin behind what its readers have seen."""
    files = FailingFiles()
    log = open_log(tmp_path / "log", files=files)
    append(log, b"never seen")
    io_error(files, "sync")
    with pytest.raises(LogWriteError, match="could not be flushed"):
        log.commit([position(1)])
    assert (log.high_watermark, read_all(log)) == (0, [])
    files.failing = set()
    log.rollback()
    assert log.recovered is None
    assert (log.log_start_offset, log.end_offset) == (0, 0)
    records = append(log, b"seen")
    log.commit([position(1)])
    assert log.flusher.durable_offset == log.high_watermark == 1
    assert read_all(log) == read_all(reopen_copy(log)) == records
    more = append(log, b"and what follows is not waited for")
    log.commit([position(2)])
    assert (log.flusher.durable_offset, log.high_watermark) == (1, 2)
    assert read_all(log) == records + more


async def test_what_was_committed_during_the_first_flush_is_shown_after_it_in_order(tmp_path: Path) -> None:
    files = GatedFiles()
    files.gate.set()
    log = open_log(tmp_path / "log", small(flush_interval_ms=1), files=files)
    log.start()
    seen: list[int] = []
    log.subscribe(lambda: seen.append(log.high_watermark))
    append(log, b"first")
    files.gate.clear()
    files.entered.clear()
    log.commit([position(1)])
    await asyncio.to_thread(files.entered.wait, 30)
    for number in range(2, 5):
        append(log, b"more")
        log.commit([position(number)])
    assert seen == []
    files.gate.set()
    while log.high_watermark < 4:  # noqa: ASYNC110 - a thread's condition
        await asyncio.sleep(0.001)
    assert seen == [1, 2, 3, 4]
    await log.close()


async def test_a_failed_flush_of_the_task_reaches_the_writer(tmp_path: Path) -> None:
    files = FailingFiles()
    log = open_log(tmp_path / "log", small(flush_interval_ms=3_600_000, flush_bytes=1), files=files)
    kept = fill(log, Random(9), 1)
    log.flush()
    append(log, b"lost")
    log.commit([position(2)])
    io_error(files, "sync")
    log.start()
    while log.flusher.durable_offset == len(kept) and read_all(log) != kept:
        log.upkeep.wake()
        await asyncio.sleep(0)
    files.failing = set()
    log.upkeep.wake()
    for _ in range(50):
        await asyncio.sleep(0)
    assert log.flusher.durable_offset == len(kept), "a flush that failed is not tried again"
    with pytest.raises(LogWriteError, match="could not be flushed"):
        append(log, b"value")
    log.rollback()
    again = append(log, b"again")
    log.commit([position(2)])
    await log.close()
    assert read_all(open_log(tmp_path / "log")) == kept + again


async def test_an_orderly_end_needs_a_flush_that_succeeds(tmp_path: Path) -> None:
    files = FailingFiles()
    log = open_log(tmp_path / "log", files=files)
    records = fill(log, Random(13), 3)
    io_error(files, "sync")
    with pytest.raises(LogWriteError, match="could not be flushed"):
        await log.close()
    state = read_state(files, tmp_path / "log")
    assert state is not None
    assert state.orderly is False
    assert read_all(open_log(tmp_path / "log")) == records


def test_after_a_killed_process_the_next_one_flushes_what_it_left(tmp_path: Path) -> None:
    log = open_log(tmp_path / "log")
    fill(log, Random(10), 30)
    files = RecordingFiles()
    again = open_log(tmp_path / "log", files=files)
    assert again.flusher.durable_offset < again.high_watermark
    start = len(files.steps)
    again.flush()
    assert again.flusher.durable_offset == again.high_watermark
    flushed = {step.name for step in files.steps[start:] if step.call == "sync"}
    assert flushed == {path.name for path in (tmp_path / "log").iterdir()} - {"state"}


def test_offsets_are_reserved_before_they_are_served(tmp_path: Path) -> None:
    log = open_log(tmp_path / "log", small(reserve_offsets=20))
    for number in range(1, 60):
        append_random(log, Random(number))
        log.commit([position(number)])
        state = read_state(log._files, tmp_path / "log")
        assert state is not None
        assert log.high_watermark <= state.reserved_offset <= log.high_watermark + 40
        assert (state.orderly, state.boot_id) == (False, "boot-1")


def test_after_a_loss_of_power_offsets_go_on_above_the_reserved_ones(tmp_path: Path) -> None:
    log = open_log(tmp_path / "log", small(reserve_offsets=500))
    records = fill(log, Random(11), 10)
    log.flush()
    again = open_log(tmp_path / "log", log.config, boot_id="boot-2")
    assert again.end_offset == again.high_watermark == 500
    assert "captured again from offset 500 on" in again.notes[0]
    assert read_all(again) == records
    assert len(again.read(records[-1].offset + 1, 100)) == 0
    added = append(again, b"again")
    again.commit([position(11, key=b"source-uuid-0001")])
    assert again.recovered is not None
    assert again.recovered.intervals == (GtidInterval(b"source-uuid-0001", 11, 11),)
    assert read_all(again, offset=records[-1].offset + 1) == added


def test_a_reservation_that_cannot_be_read_skips_far(tmp_path: Path) -> None:
    log = open_log(tmp_path / "log")
    records = fill(log, Random(12), 3)
    log.flush()
    (tmp_path / "log" / "state").write_bytes(b"not a state")
    again = open_log(tmp_path / "log")
    assert read_all(again) == records
    assert again.end_offset == len(records) + (1 << 40)
