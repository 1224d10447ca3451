"""No batch is served that is not what was written, whichever byte of it was changed and whenever.

Files are changed behind the log's back; mappings show it at once, as they show what a medium gives back.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from functools import partial
from itertools import pairwise
from random import Random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage import closed_segment, verified
from storage.checksum import crc32c
from storage.cold import ColdReads
from storage.errors import CorruptLog, LogReadError
from storage.files import Files
from storage.log import LogSlice, resident
from storage.records import HEADER_BYTES, iter_batches
from storage.segment_log import SegmentLog
from storage.verified import BATCHES_MAX, INLINE_BYTES_MAX, VerifiedRanges
from tests.fakes import ManualClock
from tests.storage.faults import FailingFiles
from tests.storage.samples import FIRST_TIME_MS, TOPIC, append, fill, open_log, position, read_all, samples_of, small
from tests.storage.test_cold import Cold

if TYPE_CHECKING:
    from pathlib import Path

    from storage.config import LogConfig
    from tests.storage.samples import Sample

ONE_SEGMENT = small(segment_bytes=64 << 20)


def flip(path: Path, place: int, bit: int = 0) -> None:
    with path.open("r+b") as file:
        file.seek(place)
        byte = file.read(1)[0]
        file.seek(place)
        file.write(bytes([byte ^ 1 << bit]))


def first_log(directory: Path) -> Path:
    return directory / f"{0:020d}.log"


@given(
    steps=st.lists(st.tuples(st.sampled_from(("add", "forget")), st.integers(0, 60), st.integers(1, 20)), max_size=40)
)
def test_ranges_are_those_of_a_plain_set(steps: list[tuple[str, int, int]]) -> None:
    """Every place stands for a batch whose offset is a hundred times its position."""
    ranges, places = VerifiedRanges(), set[int]()
    for kind, start, size in steps:
        if kind == "add":
            ranges.add(start, start + size, 100 * (start + size))
            places |= set(range(start, start + size))
        else:
            ranges.forget_from(start)
            while start - 1 in places and start in places:
                start -= 1
            places = {each for each in places if each < start}
        for place in range(90):
            reach = place
            while reach in places:
                reach += 1
            is_known = reach > place or place - 1 in places
            assert ranges.reach(place) == (reach, 100 * reach if is_known else None)


def test_many_ranges_are_forgotten_rather_than_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verified, "RANGES_MAX", 3)
    ranges = VerifiedRanges()
    for start in (0, 10, 20, 30):
        ranges.add(start, start + 5, 7)
    assert [ranges.reach(start) for start in (0, 10, 20, 30)] == [(start, None) for start in (0, 10, 20, 30)]
    ranges.add(40, 45, 7)
    assert ranges.reach(40) == (45, 7)


def a_log_of_batches(directory: Path, config: LogConfig, count: int) -> list[Sample]:
    """A log with one batch a transaction; what it holds."""
    log = open_log(directory, config)
    records = []
    for number in range(1, count + 1):
        records += append(log, b"first %d" % number, b"second %d" % number)
        log.commit([position(number)])
    log.release()
    return records


def read_until_damage(log: SegmentLog, max_bytes: int) -> tuple[list[Sample], CorruptLog]:
    """What a consumer gets from the beginning, and what stops it."""
    records: list[Sample] = []
    while True:
        try:
            part = log.read(len(records), max_bytes)
        except CorruptLog as damage:
            return records, damage
        assert part.view.nbytes, "the end was reached and no damage met"
        for batch in iter_batches(bytes(part.view)):
            records += samples_of(batch)
        part.close()


@pytest.mark.parametrize("max_bytes", [1, 1 << 20])
def test_no_byte_of_a_batch_can_be_changed_unnoticed(tmp_path: Path, max_bytes: int) -> None:
    """A bit of every byte, those of the header that no checksum covers included; what lies around it is served."""
    config = small(segment_bytes=64 << 20, index_interval_bytes=1)
    records = a_log_of_batches(tmp_path / "log", config, 5)
    path = first_log(tmp_path / "log")
    data = path.read_bytes()
    chosen = list(iter_batches(memoryview(data)[: data.rindex(b"second 5") + 9]))[2]
    behind = chosen.header.next_offset
    for place in range(chosen.position, chosen.position + chosen.header.size_bytes):
        flip(path, place, place % 8)
        log = open_log(tmp_path / "log", config)
        served, damage = read_until_damage(log, max_bytes)
        assert served == records[: chosen.header.base_offset]
        assert f"{path}, byte {chosen.position}" in str(damage)
        assert read_all(log, max_bytes, offset=behind) == records[behind:]
        assert log.damages == (str(damage),)
        log.release()
        flip(path, place, place % 8)
    assert read_all(open_log(tmp_path / "log", config)) == records


def test_damage_is_told_of_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    a_log_of_batches(tmp_path / "log", ONE_SEGMENT, 3)
    flip(first_log(tmp_path / "log"), HEADER_BYTES)
    log = open_log(tmp_path / "log", ONE_SEGMENT)
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            with pytest.raises(CorruptLog, match="offset 0: the record batch does not match its checksum"):
                log.read(0, 1000)
    assert [record.message.startswith(f"the log of topic {TOPIC} is damaged") for record in caplog.records] == [True]


def test_a_time_that_was_changed_sends_nobody_past_his_records(tmp_path: Path) -> None:
    """A greatest timestamp that became smaller would hide its batch from a lookup."""
    records = a_log_of_batches(tmp_path / "log", ONE_SEGMENT, 3)
    path = first_log(tmp_path / "log")
    with path.open("r+b") as file:
        file.seek(35)
        file.write(bytes(8))
    log = open_log(tmp_path / "log", ONE_SEGMENT)
    with pytest.raises(CorruptLog, match="byte 0, offset 0"):
        log.offset_for_timestamp(records[0].timestamp_ms)


def test_what_was_verified_is_not_verified_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[int] = []

    def noted(data: memoryview) -> int:
        checked.append(len(data))
        return crc32c(data)

    monkeypatch.setattr(verified, "crc32c", noted)
    log = open_log(tmp_path / "log", ONE_SEGMENT)
    written = fill(log, Random(1), 5)
    for again in (log, open_log(tmp_path / "log", ONE_SEGMENT)):
        assert read_all(again, max_bytes=500) == written
        count = len(checked)
        assert count > 0
        assert read_all(again, max_bytes=900) == written
        assert len(checked) == count
        checked.clear()
    log.release()
    added = fill(again, Random(2), 5, first_number=6)
    assert read_all(again) == written + added
    assert 0 < len(checked) <= len(added)


def test_what_was_just_written_is_verified_before_it_is_served(tmp_path: Path) -> None:
    """Memory errs too, and so do other programs."""
    log = open_log(tmp_path / "log", ONE_SEGMENT)
    append(log, b"value")
    log.commit([position(1)])
    flip(first_log(tmp_path / "log"), HEADER_BYTES + 5)
    with pytest.raises(CorruptLog, match="byte 0, offset 0"):
        log.read(0, 1000)


def test_one_answer_verifies_so_many_batches_and_no_more(tmp_path: Path) -> None:
    records = a_log_of_batches(tmp_path / "log", ONE_SEGMENT, BATCHES_MAX + 100)
    log = open_log(tmp_path / "log", ONE_SEGMENT)
    with log.read(0, 1 << 20) as part:
        assert len(list(iter_batches(bytes(part.view)))) == BATCHES_MAX
    assert read_all(log) == records
    with log.read(0, 1 << 20) as part:
        assert len(list(iter_batches(bytes(part.view)))) == BATCHES_MAX + 100


def cold_log(directory: Path, config: LogConfig, cold: ColdReads, files: Files | None = None) -> SegmentLog:
    log = SegmentLog.open(directory, TOPIC, config, ManualClock(), boot_id="boot-1", cold=cold, files=files)
    log.attach(lambda: b"snapshot")
    return log


async def test_a_large_batch_is_verified_by_a_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[str] = []
    verify = verified.verify_by_reading

    def noted(*arguments) -> None:
        threads.append(threading.current_thread().name)
        verify(*arguments)

    monkeypatch.setattr("storage.segment_bytes.verify_by_reading", noted)
    first = open_log(tmp_path / "log", ONE_SEGMENT)
    records = append(first, b"x" * (INLINE_BYTES_MAX + 1)) + append(first, b"small")
    first.commit([position(1)])
    first.release()
    residency = Cold()
    residency.warm = True
    cold = ColdReads(residency=residency)
    log = cold_log(tmp_path / "log", ONE_SEGMENT, cold)
    with await resident(lambda: log.read(0, 1)) as part:
        assert bytes(part.view).count(b"x") >= INLINE_BYTES_MAX
    assert len(threads) == 1
    assert threads[0].startswith("cold-read")
    with log.read(0, 1):
        assert len(threads) == 1
    assert read_all(log) == records
    log.release()
    flip(first_log(tmp_path / "log"), INLINE_BYTES_MAX // 2)
    log = cold_log(tmp_path / "log", ONE_SEGMENT, cold)
    with pytest.raises(CorruptLog, match="byte 0, offset 0"):
        await resident(lambda: log.read(0, 1))
    with await resident(lambda: log.read(1, 1)) as part:
        assert b"small" in bytes(part.view)
    log.release()
    cold.close()


async def test_what_left_memory_is_verified_again_when_it_comes_back(tmp_path: Path) -> None:
    clock, residency = ManualClock(), Cold()
    residency.warm = True
    cold = ColdReads(residency=residency, clock=clock)
    log = cold_log(tmp_path / "log", ONE_SEGMENT, cold)
    append(log, b"x" * 1000)
    append(log, b"y" * 1000)
    log.commit([position(1)])
    log.read(0, 10**6).close()
    flip(first_log(tmp_path / "log"), 1500)
    log.read(0, 10**6).close()  # what is in memory is not looked at again
    residency.warm = False
    clock.advance(10_000)
    with await resident(lambda: log.read(0, 10**6)) as part:
        assert b"x" in bytes(part.view)
        assert b"y" not in bytes(part.view)
    with pytest.raises(CorruptLog, match="offset 1"):
        await resident(lambda: log.read(1, 10**6))
    log.release()
    cold.close()


async def test_a_slow_client_is_not_sent_what_came_back_changed(tmp_path: Path) -> None:
    """A slice was whole when it was made; half of it was sent when the system took the rest out of memory."""
    clock, residency = ManualClock(), Cold()
    residency.warm = True
    cold = ColdReads(residency=residency, clock=clock)
    log = cold_log(tmp_path / "log", ONE_SEGMENT, cold)
    for value in (b"x", b"y", b"z"):
        append(log, value * 5000)
    log.commit([position(1)])
    part: LogSlice = log.read(0, 10**6)
    part.require(0, 5000)
    flip(first_log(tmp_path / "log"), 12_000)
    residency.warm = False
    clock.advance(10_000)
    await resident(lambda: part.require(5000, 10_000))
    with pytest.raises(CorruptLog, match="offset 2"):
        await resident(lambda: part.require(10_000, len(part)))
    part.close()
    log.release()
    cold.close()


# Closed segments


async def test_a_damaged_index_of_a_closed_segment_is_written_anew_by_a_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = open_log(tmp_path / "log", small(segment_bytes=3000, index_interval_bytes=300))
    records = fill(log, Random(3), 40)
    await log.close()
    indexes = sorted((tmp_path / "log").glob("*.index"))
    good = [path.read_bytes() for path in indexes]
    for path in indexes[:-1]:
        path.write_bytes(bytes(len(path.read_bytes())))
    indexes[0].unlink()
    threads: list[str] = []
    rebuild = closed_segment.rebuild_index

    def noted(*arguments) -> None:
        threads.append(threading.current_thread().name)
        rebuild(*arguments)

    monkeypatch.setattr(closed_segment, "rebuild_index", noted)
    cold = ColdReads()
    again = cold_log(tmp_path / "log", log.config, cold)
    for record in records:
        with await resident(partial(again.read, record.offset, 1)) as part:
            assert part.view.nbytes
        expected = next(r for r in records if r.timestamp_ms >= record.timestamp_ms)
        found = await resident(partial(again.offset_for_timestamp, record.timestamp_ms))
        assert found == (expected.offset, expected.timestamp_ms)
    assert threads
    assert all(name.startswith("cold-read") for name in threads)
    assert len(threads) < len(indexes)
    assert indexes[0].read_bytes() == good[0]
    assert not list((tmp_path / "log").glob("*.tmp"))
    again.release()
    cold.close()


@pytest.mark.parametrize("damaged", [False, True])
def test_a_closed_segment_without_its_end_is_served_as_far_as_its_batches_go(tmp_path: Path, damaged: bool) -> None:
    log = open_log(tmp_path / "log", small(segment_bytes=3000, index_interval_bytes=300))
    records = fill(log, Random(3), 40)
    log.release()
    source = sorted((tmp_path / "log").glob("*.source"))[1]
    data = bytearray(source.read_bytes())
    data[-10] ^= 1
    source.write_bytes(data)
    first, last = int(source.stem), int(sorted((tmp_path / "log").glob("*.source"))[2].stem)
    again = open_log(tmp_path / "log", log.config)
    if not damaged:
        assert read_all(again) == records
        return
    flip(source.with_suffix(".log"), 9)  # the first length: nothing behind it can be found
    for path in (source.with_suffix(".index"), source.with_suffix(".timeindex")):
        path.unlink()
    again = open_log(tmp_path / "log", log.config)
    served, damage = read_until_damage(again, 700)
    assert served == records[:first]
    assert f"{source.with_suffix('.log')}, byte 0" in str(damage)
    assert read_all(again, offset=last - 1) == records[last - 1 :], "behind the next commit everything is there"


# Space and descriptors


def test_space_is_set_aside_ahead_and_given_back(tmp_path: Path) -> None:
    class Allocating(Files):
        def __init__(self) -> None:
            self.ranges: list[tuple[int, int]] = []

        def allocate(self, descriptor: int, start: int, size: int) -> None:
            self.ranges.append((start, start + size))
            super().allocate(descriptor, start, size)

    files = Allocating()
    log = open_log(tmp_path / "log", small(segment_bytes=1 << 20), files=files)
    for number in range(1, 200):
        append(log, b"x" * 8000)
        log.commit([position(number)])
    begins = [number for number, (start, _) in enumerate(files.ranges) if start == 0]
    assert len(begins) == len(list((tmp_path / "log").glob("*.log"))) == 2
    first = files.ranges[: begins[1]]
    assert all(before[1] == after[0] for before, after in pairwise(first))
    assert first[-1][1] == 1 << 20
    assert len(first) < 12
    closed = min((tmp_path / "log").glob("*.log")).stat()
    assert closed.st_size <= 1 << 20
    assert closed.st_blocks * 512 < closed.st_size + 8192


def test_the_last_of_a_disk_is_used_up(tmp_path: Path) -> None:
    class NearlyFull(Files):
        left = 20_000

        def allocate(self, descriptor: int, start: int, size: int) -> None:
            if size > self.left:
                raise OSError(28, "No space left on device")
            self.left -= size

    log = open_log(tmp_path / "log", ONE_SEGMENT, files=NearlyFull())
    records = append(log, b"x" * 15_000)
    log.commit([position(1)])
    assert read_all(log) == records


def test_without_descriptors_a_reader_is_told_and_nothing_is_rebuilt(tmp_path: Path) -> None:
    log = open_log(tmp_path / "log", small(segment_bytes=3000, index_interval_bytes=300))
    records = fill(log, Random(3), 40)
    log.release()
    files = FailingFiles()
    files.number = 24
    again = open_log(tmp_path / "log", log.config, files=files)
    index = min((tmp_path / "log").glob("*.index"))
    inode = index.stat().st_ino
    files.failing = {"open"}
    for ask in (lambda: again.read(0, 1), lambda: again.offset_for_timestamp(FIRST_TIME_MS)):
        with pytest.raises((LogReadError, OSError), match="Too many open files"):
            ask()
    files.failing = set()
    assert read_all(again) == records
    assert index.stat().st_ino == inode


async def test_asking_for_what_is_damaged_does_not_hold_the_others(tmp_path: Path) -> None:
    """Damage is an answer each time: no wait, no thread, no second rebuild."""
    a_log_of_batches(tmp_path / "log", ONE_SEGMENT, 3)
    flip(first_log(tmp_path / "log"), HEADER_BYTES)
    cold = ColdReads()
    log = cold_log(tmp_path / "log", ONE_SEGMENT, cold)
    for _ in range(5):
        with pytest.raises(CorruptLog):
            await resident(lambda: log.read(0, 1000))
    await asyncio.sleep(0)
    assert not cold.waiting_count
    log.release()
    cold.close()


def test_records_whose_positions_are_gone_are_served_and_that_is_told(tmp_path: Path) -> None:
    log = open_log(tmp_path / "log", small(segment_bytes=3000, index_interval_bytes=300))
    records = fill(log, Random(3), 40)
    log.release()
    lost = sorted((tmp_path / "log").glob("*.source"))[1]
    lost.unlink()
    again = open_log(tmp_path / "log", log.config)
    assert read_all(again) == records
    assert again.notes == (f"{lost} is gone; the records beside it are served, and verify and backup leave them out",)
    added = fill(again, Random(4), 3, first_number=41)
    assert read_all(again) == records + added
