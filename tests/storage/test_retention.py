"""Which segments go, when, and what those who still read them keep."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from random import Random

import pytest

from storage.errors import LogWriteError, OffsetOutOfRange
from storage.files import Files
from storage.segment_log import SegmentLog
from tests.fakes import ManualClock
from tests.storage.faults import FailingFiles
from tests.storage.samples import append, fill, open_log, position, read_all, reopen_copy, small

DAY_MS = 86_400_000


def deleted_mappings(directory: Path) -> int:
    """Mappings of deleted files of the log: what slices alone keep alive."""
    lines = Path("/proc/self/maps").read_text().splitlines()
    return sum(1 for line in lines if str(directory) in line and line.endswith(".log (deleted)"))


def retire(log: SegmentLog) -> None:
    log.flush()
    log.delete(log.retire())


def test_segments_go_by_the_time_of_their_last_append_oldest_first(tmp_path: Path) -> None:
    clock = ManualClock()
    log = open_log(tmp_path / "log", small(segment_bytes=1000, retention_ms=DAY_MS), clock=clock)
    random = Random(1)
    old = fill(log, random, 10)
    clock.advance(DAY_MS - 1)
    log.roll()
    new = fill(log, random, 10, first_number=11)
    retire(log)
    assert log.log_start_offset == 0
    clock.advance(1)
    retire(log)
    assert log.log_start_offset == len(old)
    assert read_all(log) == new
    assert min(int(path.stem) for path in (tmp_path / "log").glob("*.*")) == len(old)
    with pytest.raises(OffsetOutOfRange):
        log.read(0, 100)


def test_the_newest_position_stays_however_long_the_source_is_away(tmp_path: Path) -> None:
    clock = ManualClock()
    log = open_log(tmp_path / "log", small(segment_bytes=1000, retention_ms=DAY_MS, retention_bytes=0), clock=clock)
    fill(log, Random(2), 10)
    recovered = log.recovered
    clock.advance(3 * DAY_MS)
    retire(log)
    assert log.recovered == reopen_copy(log).recovered == recovered
    assert log.high_watermark == log.end_offset
    assert 1 <= len(list((tmp_path / "log").glob("*.log"))) <= 2
    assert read_all(log)


def test_a_transaction_in_progress_keeps_the_position_before_it(tmp_path: Path) -> None:
    clock = ManualClock()
    log = open_log(tmp_path / "log", small(segment_bytes=1000, retention_ms=DAY_MS), clock=clock)
    fill(log, Random(3), 5)
    recovered, end_offset = log.recovered, log.end_offset
    for _ in range(10):
        append(log, b"x" * 600)
    clock.advance(2 * DAY_MS)
    retire(log)
    log.rollback()
    assert (log.recovered, log.end_offset) == (recovered, end_offset)
    assert reopen_copy(log).recovered == recovered


def test_what_is_not_durable_stays(tmp_path: Path) -> None:
    log = open_log(tmp_path / "log", small(segment_bytes=1000, retention_ms=0, retention_bytes=0))
    fill(log, Random(4), 20)
    assert log.retire() == []
    retire(log)
    assert log.log_start_offset > 0


def test_segments_go_by_bytes_while_the_log_is_larger(tmp_path: Path) -> None:
    log = open_log(tmp_path / "log", small(segment_bytes=1000, retention_bytes=3000))
    fill(log, Random(4), 40)
    retire(log)
    size = log.size_between(log.log_start_offset, 10**9)
    assert 2000 < size <= 3000


def test_a_slice_outlives_its_segment(tmp_path: Path) -> None:
    clock = ManualClock()
    log = open_log(tmp_path / "log", small(segment_bytes=1000, retention_ms=DAY_MS), clock=clock)
    fill(log, Random(5), 20)
    first, second = log.read(0, 500), log.read(0, 700)
    part = second.view[10:20]
    expected = bytes(first.view), bytes(part)
    clock.advance(DAY_MS)
    log.roll()
    fill(log, Random(6), 1, first_number=21)
    retire(log)
    assert log.log_start_offset > 0
    assert (bytes(first.view), bytes(part)) == expected
    assert deleted_mappings(tmp_path) == 1
    first.close()
    second.close()
    assert deleted_mappings(tmp_path) == 1, "a part of the second slice is still held"
    assert bytes(part) == expected[1]
    part.release()
    assert deleted_mappings(tmp_path) == 0


def test_what_the_system_refuses_to_delete_is_tried_again(tmp_path: Path) -> None:
    clock = ManualClock()
    files = FailingFiles()
    log = open_log(tmp_path / "log", small(segment_bytes=1000, retention_ms=DAY_MS), clock=clock, files=files)
    fill(log, Random(7), 20)
    clock.advance(DAY_MS)
    log.flush()
    files.failing = {"unlink"}
    doomed = log.retire()
    with pytest.raises(OSError, match="No space"):
        log.delete(doomed)
    log.keep_doomed(doomed)
    files.failing = set()
    retire(log)
    assert min(int(path.stem) for path in (tmp_path / "log").glob("*.log")) == log.log_start_offset


def test_times_and_offsets_after_retention_and_a_restart(tmp_path: Path) -> None:
    clock = ManualClock()
    log = open_log(tmp_path / "log", small(segment_bytes=1000, retention_ms=DAY_MS), clock=clock)
    fill(log, Random(8), 10)
    clock.advance(DAY_MS)
    log.roll()
    records = fill(log, Random(9), 10, first_number=11)
    retire(log)
    for opened in (log, reopen_copy(log), reopen_copy(log, boot_id="boot-2")):
        assert read_all(opened) == records
        assert (opened.log_start_offset, opened.log_start_timestamp_ms) == (records[0].offset, records[0].timestamp_ms)
        for record in records:
            expected = next(r for r in records if r.timestamp_ms >= record.timestamp_ms)
            assert opened.offset_for_timestamp(record.timestamp_ms) == (expected.offset, expected.timestamp_ms)
    assert log.recovered is not None
    assert log.recovered.position == position(20).position


class WatchedFiles(Files):
    """Says when something was deleted."""

    def __init__(self) -> None:
        self.deleted = threading.Event()

    def unlink(self, path: Path) -> None:
        super().unlink(path)
        if path.suffix == ".log":
            self.deleted.set()


async def test_the_task_deletes_what_has_had_its_time(tmp_path: Path) -> None:
    clock = ManualClock()
    files = WatchedFiles()
    config = small(segment_bytes=1000, retention_ms=DAY_MS, flush_interval_ms=3_600_000)
    log = open_log(tmp_path / "log", config, clock=clock, files=files)
    fill(log, Random(10), 20)
    clock.advance(DAY_MS)
    files.deleted.clear()
    log.start()
    log.upkeep.wake()
    assert await asyncio.to_thread(files.deleted.wait, 30)
    await log.close()
    assert len(list((tmp_path / "log").glob("*.log"))) <= 2


async def test_a_task_that_ends_by_an_error_is_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = open_log(tmp_path / "log")
    fill(log, Random(11), 20)

    def mistaken() -> None:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(log, "retire", mistaken)
    log.start()
    log.upkeep.wake()
    while log.upkeep.is_running:
        await asyncio.sleep(0)
    with pytest.raises(ZeroDivisionError):
        await log.upkeep.stop()
    for call in (log.rollback, lambda: append(log, b"value")):
        with pytest.raises(LogWriteError, match=r"not flushed any more by a mistake in Binwire \(ZeroDivisionError"):
            call()
    log.release()


async def test_segments_that_cannot_be_looked_into_stay_and_the_rest_is_flushed(tmp_path: Path) -> None:
    log = open_log(tmp_path / "log", small(segment_bytes=500, retention_ms=0))
    fill(log, Random(11), 20)
    again = open_log(tmp_path / "log", small(segment_bytes=500, retention_ms=0, flush_interval_ms=3_600_000))
    kept = again.log_start_offset
    for path in (tmp_path / "log").glob("*.source"):
        if path.stat().st_size < 10_000 and path != max((tmp_path / "log").glob("*.source")):
            path.unlink()
            path.with_suffix(".log").unlink()
    again.start()
    records = fill(again, Random(12), 1, first_number=21)
    again.upkeep.wake()
    while again.flusher.durable_offset <= records[-1].offset:
        await again.upkeep.turn()
    assert again.log_start_offset == kept
    assert await again.upkeep.stop()
    again.release()
