"""Which segments go, when, and what those who still read them keep."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from random import Random

import pytest

from storage.errors import LogWriteError, OffsetOutOfRange
from storage.files import Files
from storage.retention import JUMP_GRACE_MS
from storage.segment import log_path, source_path
from storage.segment_log import SegmentLog
from tests.fakes import ManualClock
from tests.storage.faults import CountingFiles, FailingFiles
from tests.storage.samples import append, fill, open_log, position, read_all, reopen_copy, small

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS


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


def test_a_source_that_is_away_for_three_retention_periods_is_resumed_exactly(tmp_path: Path) -> None:
    """Days go by with a look every hour and restarts in between; then it sends on where the last commit was."""
    clock = ManualClock()
    config = small(segment_bytes=1000, retention_ms=DAY_MS)
    log = open_log(tmp_path / "log", config, clock=clock)
    records = fill(log, Random(2), 30)
    recovered = log.recovered
    for hour in range(3 * 24 + 2):
        clock.advance(HOUR_MS)
        retire(log)
        if hour % 20 == 0:
            log.release()
            log = open_log(tmp_path / "log", config, clock=clock, boot_id=f"boot-{hour // 40}")
        assert log.recovered == recovered
    start = log.log_start_offset
    assert start > 0
    assert read_all(log) == [record for record in records if record.offset >= start]
    records += fill(log, Random(3), 1, first_number=31)
    assert log.recovered is not None
    assert log.recovered.position == position(31).position
    assert log.recovered.intervals[-1].last == 31


@pytest.mark.parametrize("is_jump_back", [True, False], ids=["put right", "true"])
def test_a_clock_that_jumps_ahead_is_not_believed_at_once(tmp_path: Path, is_jump_back: bool) -> None:
    clock = ManualClock()
    log = open_log(tmp_path / "log", small(segment_bytes=1000, retention_ms=DAY_MS), clock=clock)
    fill(log, Random(2), 20)
    retire(log)
    clock.set_wall(400 * DAY_MS)
    for _ in range(JUMP_GRACE_MS // 1000):
        retire(log)
        assert log.log_start_offset == 0
        clock.advance(1000)
    if is_jump_back:
        clock.set_wall(-400 * DAY_MS)
    retire(log)
    assert (log.log_start_offset == 0) is is_jump_back


def test_time_that_passes_while_the_clock_is_not_believed_counts(tmp_path: Path) -> None:
    clock = ManualClock()
    log = open_log(tmp_path / "log", small(segment_bytes=1000, retention_ms=DAY_MS), clock=clock)
    fill(log, Random(2), 20)
    clock.advance(DAY_MS - 1000)
    retire(log)
    clock.set_wall(DAY_MS // 2)
    retire(log)
    assert log.log_start_offset == 0
    clock.advance(1000)
    retire(log)
    assert log.log_start_offset > 0


def test_what_was_appended_under_a_clock_ahead_goes_with_what_followed(tmp_path: Path) -> None:
    clock = ManualClock()
    clock.set_wall(400 * DAY_MS)
    log = open_log(tmp_path / "log", small(segment_bytes=1000, retention_ms=DAY_MS), clock=clock)
    early = fill(log, Random(2), 10)
    clock.set_wall(-400 * DAY_MS)
    log.roll()
    fill(log, Random(3), 10, first_number=11)
    retire(log)
    assert log.log_start_offset == 0
    clock.advance(DAY_MS - 1)
    retire(log)
    assert log.log_start_offset == 0
    clock.advance(1)
    retire(log)
    assert log.log_start_offset >= len(early)


def test_the_data_range_is_known_with_nothing_in_memory(tmp_path: Path) -> None:
    """Names tell where the log begins: nothing of the first segment is opened for that."""
    clock = ManualClock()
    log = open_log(tmp_path / "log", small(segment_bytes=1000, retention_ms=DAY_MS), clock=clock)
    fill(log, Random(2), 20)
    clock.advance(DAY_MS)
    fill(log, Random(3), 20, first_number=21)
    retire(log)
    files = CountingFiles()
    again = open_log(tmp_path / "log", log.config, clock=clock, files=files)
    first = source_path(log_path(tmp_path / "log", again.log_start_offset))
    assert again.log_start_offset == log.log_start_offset > 0
    assert again.high_watermark == log.high_watermark
    assert first not in files.ever_opened
    for offset in (0, again.log_start_offset - 1, again.high_watermark + 1):
        with pytest.raises(OffsetOutOfRange, match=f"outside the stored range {again.log_start_offset} to "):
            again.read(offset, 100)


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


def test_a_log_file_that_is_gone_takes_nothing_and_keeps_nothing_else(tmp_path: Path) -> None:
    log = open_log(tmp_path / "log", small(segment_bytes=500))
    records = fill(log, Random(8), 30)
    log.flush()
    log.release()
    gone = sorted((tmp_path / "log").glob("*.log"))[3]
    gone.unlink()
    log = open_log(tmp_path / "log", small(segment_bytes=500, retention_bytes=1000))
    retire(log)
    assert log.log_start_offset > int(gone.stem)
    assert read_all(log) == [record for record in records if record.offset >= log.log_start_offset]


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

    called = asyncio.Event()

    def mistaken() -> None:
        called.set()
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(log, "retire", mistaken)
    log.start()
    log.upkeep.wake()
    await called.wait()
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
