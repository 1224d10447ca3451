"""What is not in memory is read beside the loop, shared, bounded, and fails as an error.

A residency that says "no" stands for pages that were dropped; one test drops real ones.
"""

from __future__ import annotations

import asyncio
import ctypes
import errno
import mmap
import os
import threading
from collections import Counter
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from storage import residency
from storage.cold import CHUNK_BYTES, COLD_READ_BYTES, SEEN_MS, THREADS, TRUST_MS, ColdReads, WorkKind
from storage.errors import LogReadError
from storage.files import Files
from storage.log import LogSlice, NotResident, resident
from storage.mapping import Mapping
from storage.residency import SystemResidency
from storage.segment_log import SegmentLog
from tests.fakes import ManualClock
from tests.storage.faults import CountingFiles
from tests.storage.samples import FIRST_TIME_MS, TOPIC, append, position, small

pytestmark = pytest.mark.timeout(60)


class Cold:
    """A residency that knows nothing to be in memory until told otherwise."""

    def __init__(self) -> None:
        self.warm = False
        self.asked = 0

    def resident_bytes(self, address: int, start: int, end: int) -> int:
        self.asked += 1
        return end - start if self.warm else 0


class GatedFiles(CountingFiles):
    """Reads of chunks wait for `gate`; `most` is how many did at the same time. `failing` makes them fail."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()
        self.gate.set()
        self.failing = False
        self.ranges: Counter[tuple[int, int]] = Counter()
        self.advised: list[tuple[int, int]] = []
        self.running = self.most = 0
        self._lock = threading.Lock()

    def read(self, descriptor: int, size: int, position: int) -> bytes:
        if threading.current_thread().name.startswith("cold-read"):
            with self._lock:
                self.running += 1
                self.most = max(self.most, self.running)
                self.ranges[position, size] += 1
            self.gate.wait()
            with self._lock:
                self.running -= 1
            if self.failing:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
        return super().read(descriptor, size, position)

    def advise(self, descriptor: int, start: int, size: int) -> None:
        self.advised.append((start, size))


@pytest.fixture
def files():
    made = GatedFiles()
    yield made
    made.gate.set()


def a_file(directory: Path, size: int) -> Path:
    path = directory / "data"
    path.write_bytes(bytes(size))
    return path


def a_chunk(number: int) -> tuple[int, int]:
    return number * CHUNK_BYTES, (number + 1) * CHUNK_BYTES


async def until(condition) -> None:
    while not condition():  # noqa: ASYNC110 - conditions are those of threads
        await asyncio.sleep(0.001)


# The threads


async def test_a_read_is_shared_by_all_who_wait_for_it(tmp_path: Path, files: GatedFiles) -> None:
    cold, mapping = ColdReads(residency=Cold()), Mapping(files, a_file(tmp_path, 3 * CHUNK_BYTES))
    files.gate.clear()
    ask = lambda: cold.require(mapping, 10, 2 * CHUNK_BYTES + 1)  # noqa: E731
    waiting = [asyncio.create_task(resident(ask)) for _ in range(20)]
    await until(lambda: files.running == 3)
    assert cold.waiting_count == 3
    waiting.pop().cancel()  # who goes away takes nothing from the others
    files.gate.set()
    await asyncio.gather(*waiting)
    assert files.ranges == {(number * CHUNK_BYTES, CHUNK_BYTES): 1 for number in range(3)}
    cold.close()


async def test_many_reads_take_few_threads_and_one_that_hangs_holds_one(tmp_path: Path, files: GatedFiles) -> None:
    cold, mapping = ColdReads(residency=Cold()), Mapping(files, a_file(tmp_path, 40 * CHUNK_BYTES))
    hanging = GatedFiles()
    hanging.gate.clear()
    (tmp_path / "other").mkdir()
    hung = Mapping(hanging, a_file(tmp_path / "other", CHUNK_BYTES))
    stuck = asyncio.create_task(resident(lambda: cold.require(hung, 0, 1)))
    await until(lambda: hanging.running == 1)

    def ask(chunk: int) -> None:
        cold.require(mapping, chunk * CHUNK_BYTES, chunk * CHUNK_BYTES + 1)

    await asyncio.gather(*(resident(partial(ask, chunk)) for chunk in range(40)))
    assert not stuck.done()
    assert files.most <= THREADS - 1
    assert len(files.ranges) == 40
    hanging.gate.set()
    await stuck
    cold.close()


async def test_a_read_that_fails_is_an_error_until_it_is_tried_again(tmp_path: Path, files: GatedFiles) -> None:
    clock = ManualClock()
    cold, mapping = ColdReads(residency=Cold(), clock=clock), Mapping(files, a_file(tmp_path, 100))
    files.failing = True
    with pytest.raises(LogReadError, match=r"data could not be read \(Input/output error\); check the disk"):
        await resident(lambda: cold.require(mapping, 0, 100))
    files.failing = False
    with pytest.raises(LogReadError):
        cold.require(mapping, 0, 100)
    clock.advance(TRUST_MS + 1)
    await asyncio.sleep(0)  # who asked has gone, with what it held
    await resident(lambda: cold.require(mapping, 0, 100))
    cold.close()


async def test_a_file_that_was_cut_is_an_error_and_not_the_end_of_the_process(tmp_path: Path) -> None:
    path = a_file(tmp_path, 2 * CHUNK_BYTES)
    mapping = Mapping(Files(), path)
    os.truncate(path, 4096)
    cold = ColdReads()
    cold.require_size(mapping, 4096)
    with pytest.raises(LogReadError, match="data ends at byte 4096 where 8192 bytes were written"):
        cold.require_size(mapping, 8192)
    never = ColdReads(residency=Cold())
    await resident(lambda: never.require(mapping, 0, 4096))
    with pytest.raises(LogReadError, match="data ends at byte 4096 where 8192 bytes were written"):
        await resident(lambda: never.require(mapping, 0, 8192))
    never.close()
    cold.close()


async def test_a_file_without_a_name_is_read_all_the_same(tmp_path: Path, files: GatedFiles) -> None:
    path = a_file(tmp_path, 100)
    mapping = Mapping(files, path)
    path.unlink()
    cold = ColdReads(residency=Cold())
    await resident(lambda: cold.require(mapping, 0, 100))
    cold.close()


def test_the_descriptor_goes_with_the_mapping(tmp_path: Path) -> None:
    files = CountingFiles()
    mapping = Mapping(files, a_file(tmp_path, 100))
    view = mapping.view[10:20]
    assert list(files.open_paths.values()) == [tmp_path / "data"]
    del mapping
    assert files.open_paths == {}
    assert bytes(view) == bytes(10)


async def test_what_was_just_read_is_trusted_and_no_longer(tmp_path: Path, files: GatedFiles) -> None:
    clock = ManualClock()
    cold, mapping = ColdReads(residency=Cold(), clock=clock), Mapping(files, a_file(tmp_path, 100))
    await resident(lambda: cold.require(mapping, 0, 100))
    cold.require(mapping, 0, 100)
    clock.advance(TRUST_MS + 1)
    await asyncio.sleep(0)  # who asked has gone, with what it held
    with pytest.raises(NotResident):
        cold.require(mapping, 0, 100)
    cold.close()


async def test_what_comes_next_is_read_ahead_once_and_not_while_much_waits(tmp_path: Path, files: GatedFiles) -> None:
    cold, mapping = ColdReads(residency=Cold()), Mapping(files, a_file(tmp_path, 40 * CHUNK_BYTES))
    for _ in range(3):
        cold.read_ahead(mapping, 5, 40 * CHUNK_BYTES)
    await until(lambda: not cold.waiting_count)
    assert files.advised == [(5, 4 * CHUNK_BYTES)]
    files.gate.clear()
    waiting = [asyncio.create_task(resident(partial(cold.require, mapping, *a_chunk(number)))) for number in range(20)]
    await until(lambda: cold.waiting_count == 20)
    cold.read_ahead(mapping, 30 * CHUNK_BYTES, 40 * CHUNK_BYTES)
    files.gate.set()
    await asyncio.gather(*waiting)
    await until(lambda: not cold.waiting_count)
    assert len(files.advised) == 1
    cold.close()


# What the system says


def drop(path: Path) -> bool:
    """Drop a file's pages from the page cache; tell whether that worked, by its last page: asking may read it again."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        with suppress(BlockingIOError):
            return os.preadv(descriptor, [bytearray(1)], os.fstat(descriptor).st_size - 1, os.RWF_NOWAIT) == 0
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)


async def test_dropped_pages_are_seen_to_be_gone_and_come_back_by_a_cold_read(tmp_path: Path) -> None:
    path = tmp_path / "data"
    path.write_bytes(os.urandom(3 * CHUNK_BYTES))
    if not hasattr(os, "posix_fadvise") or not drop(path):
        pytest.skip("the file system of the temporary folder does not drop pages on request")
    system, mapping, cold = SystemResidency(), Mapping(Files(), path), ColdReads()
    size = mapping.view.nbytes
    assert system.resident_bytes(mapping.address, 5000, 5001) == 0
    with pytest.raises(NotResident):
        cold.require(mapping, 5000, size)
    await resident(lambda: cold.require(mapping, 5000, size))
    assert system.resident_bytes(mapping.address, 5000, size) == size - 5000
    assert bytes(mapping.view) == path.read_bytes()
    cold.close()


# The log


def fill(directory: Path, files: Files, cold: ColdReads | None, **config) -> SegmentLog:
    log = SegmentLog.open(directory, TOPIC, small(**config), ManualClock(), boot_id="boot-1", files=files, cold=cold)
    log.attach(lambda: b"snapshot")
    for number in range(60):
        append(log, *[bytes(100)] * 5, timestamps_ms=[FIRST_TIME_MS + number] * 5)
        log.commit([position(number)])
    return log


async def everything(log: SegmentLog, max_bytes: int) -> bytes:
    data, offset = b"", log.log_start_offset
    while offset < log.high_watermark:
        with await resident(partial(log.read, offset, max_bytes)) as part:
            data += bytes(part.view)
        offset = next_offset(data)
    return data


def next_offset(data: bytes) -> int:
    from storage.records import iter_batches

    *_, last = iter_batches(data)
    return last.header.next_offset


@pytest.mark.parametrize("max_bytes", [1, 700, 5000])
async def test_a_log_of_which_nothing_is_in_memory_reads_like_any_other(
    tmp_path: Path, files: GatedFiles, max_bytes: int
) -> None:
    warm = fill(tmp_path / "log", files, None)
    await warm.close()
    expected = b"".join(path.read_bytes() for path in sorted(warm.directory.glob("*.log")))
    clock = ManualClock()
    cold = ColdReads(residency=Cold(), clock=clock)
    log = SegmentLog.open(tmp_path / "log", TOPIC, small(), clock, boot_id="boot-1", files=files, cold=cold)
    data = await everything(log, max_bytes)
    assert data == expected
    for number in (0, 1, 30, 59):
        found = await resident(partial(log.offset_for_timestamp, FIRST_TIME_MS + number))
        assert found == (number * 5, FIRST_TIME_MS + number)
    assert await resident(lambda: log.size_between(0, 1 << 30)) == len(expected)
    assert await resident(lambda: log.log_start_timestamp_ms) == FIRST_TIME_MS
    assert await resident(lambda: log.last_timestamp_ms) == FIRST_TIME_MS + 59
    await log.close()
    cold.close()


async def test_no_page_of_a_cold_log_is_touched_on_the_loop(tmp_path: Path, files: GatedFiles) -> None:
    """Every call that a client can cause says `NotResident` first; nothing is looked up before."""
    await fill(tmp_path / "log", files, None).close()
    cold = ColdReads(residency=Cold())
    log = SegmentLog.open(tmp_path / "log", TOPIC, small(), ManualClock(), boot_id="boot-1", files=files, cold=cold)
    before = files.calls["open"], files.calls["read"]
    for call in (
        lambda: log.read(0, 1000),
        lambda: log.size_between(7, 1000),
        lambda: log.offset_for_timestamp(FIRST_TIME_MS + 3),
        lambda: log.log_start_timestamp_ms,
    ):
        with pytest.raises(NotResident):
            call()
    assert (files.calls["open"], files.calls["read"]) == before
    log.release()
    cold.close()


async def test_where_capture_goes_on_is_found_without_an_index(tmp_path: Path, files: GatedFiles) -> None:
    log = fill(tmp_path / "t-0", files, None)
    expected = log.recovered
    log.release()
    # After a loss of power the segment of the last commit is closed.
    log = SegmentLog.open(log.directory, log.topic, log.config, ManualClock(), boot_id="another", cold=ColdReads())
    for path in log.directory.glob("*index"):
        path.unlink()
    assert log.recovered == expected
    log.release()


async def test_an_index_that_goes_again_when_it_was_written_anew_is_an_error_of_the_medium(
    tmp_path: Path, files: GatedFiles
) -> None:
    log = fill(tmp_path / "t-0", files, ColdReads())
    log.roll()
    append(log, b"v")
    log.commit([position(60)])
    log.release()
    log = SegmentLog.open(log.directory, log.topic, small(), ManualClock(), boot_id="boot-1", cold=ColdReads())
    [path, *_] = sorted(log.directory.glob("*.timeindex"))
    path.unlink()
    while not path.exists():
        with pytest.raises(NotResident) as cold:
            log.read(5, 1000)
        await cold.value.bring_in()
    path.unlink()
    with pytest.raises(LogReadError, match="is gone again; it is written anew when it is asked for again"):
        log.read(5, 1000)
    log.release()


async def test_what_is_warm_is_answered_at_once(tmp_path: Path, files: GatedFiles) -> None:
    known = Cold()
    known.warm = True
    cold = ColdReads(residency=known)
    log = fill(tmp_path / "log", files, cold, segment_bytes=1 << 20)
    with log.read(0, 10_000) as part:
        assert len(part) > 5000
    assert log.offset_for_timestamp(FIRST_TIME_MS + 30) == (150, FIRST_TIME_MS + 30)
    assert files.ranges == {}
    await log.close()
    cold.close()


async def test_a_slice_asks_again_before_it_is_touched_later(tmp_path: Path, files: GatedFiles) -> None:
    clock, known = ManualClock(), Cold()
    known.warm = True
    cold = ColdReads(residency=known, clock=clock)
    log = fill(tmp_path / "log", files, cold, segment_bytes=1 << 20)
    part = log.read(0, 10_000)
    part.require(0, len(part))
    known.warm = False
    part.require(0, len(part))  # it was seen just now
    clock.advance(SEEN_MS + 1)
    with pytest.raises(NotResident):
        part.require(0, len(part))
    files.failing = True
    with pytest.raises(LogReadError):
        await resident(lambda: part.require(0, len(part)))
    part.close()
    part.require(0, 1)  # nothing is left to be touched
    await log.close()
    cold.close()


async def test_an_error_of_the_medium_is_the_answer_of_every_call(tmp_path: Path, files: GatedFiles) -> None:
    await fill(tmp_path / "log", files, None).close()
    cold = ColdReads(residency=Cold(), clock=ManualClock())
    log = SegmentLog.open(tmp_path / "log", TOPIC, small(), ManualClock(), boot_id="boot-1", files=files, cold=cold)
    files.failing = True
    with pytest.raises(LogReadError):
        await resident(lambda: log.read(0, 1000))
    with pytest.raises(LogReadError):
        await resident(lambda: log.offset_for_timestamp(FIRST_TIME_MS))
    log.release()
    cold.close()


async def test_a_cold_answer_is_bounded_and_never_less_than_a_batch(tmp_path: Path, files: GatedFiles) -> None:
    cold = ColdReads(residency=Cold(), clock=ManualClock())
    log = SegmentLog.open(
        tmp_path / "log", TOPIC, small(segment_bytes=1 << 30), ManualClock(), boot_id="boot-1", files=files, cold=cold
    )
    log.attach(lambda: b"snapshot")
    for number in range(4):
        append(log, bytes(CHUNK_BYTES))
        log.commit([position(number)])
    append(log, bytes(2 * COLD_READ_BYTES))
    log.commit([position(4)])
    append(log, bytes(10))
    log.commit([position(5)])
    lengths = []
    offset = 0
    while offset < 6:
        with await resident(partial(log.read, offset, 1 << 29)) as part:
            lengths.append(len(part))
            offset = next_offset(bytes(part.view))
    assert CHUNK_BYTES < lengths[0] <= COLD_READ_BYTES
    assert max(lengths) < 2 * COLD_READ_BYTES + 4096
    await log.close()
    cold.close()


def test_a_slice_of_no_file_may_always_be_touched() -> None:
    LogSlice(memoryview(b"abc")).require(0, 3)


# Ends


async def test_what_nobody_waits_for_any_more_is_not_begun(tmp_path: Path, files: GatedFiles) -> None:
    cold, mapping = ColdReads(residency=Cold()), Mapping(files, a_file(tmp_path, 40 * CHUNK_BYTES))
    files.gate.clear()
    waiting = [asyncio.create_task(resident(partial(cold.require, mapping, *a_chunk(number)))) for number in range(40)]
    await until(lambda: files.running == THREADS and cold.waiting_count == 40)
    begun = set(files.ranges)
    for task in waiting[:-1]:
        task.cancel()
    await until(lambda: cold.waiting_count == THREADS + 1)
    files.gate.set()
    await waiting[-1]
    assert set(files.ranges) == begun | {(39 * CHUNK_BYTES, CHUNK_BYTES)}
    cold.close()


async def test_closing_ends_every_wait_also_for_a_read_that_hangs(tmp_path: Path, files: GatedFiles) -> None:
    cold, mapping = ColdReads(residency=Cold()), Mapping(files, a_file(tmp_path, 40 * CHUNK_BYTES))
    files.gate.clear()
    waiting = [asyncio.create_task(resident(partial(cold.require, mapping, *a_chunk(number)))) for number in range(40)]
    await until(lambda: files.running == THREADS and cold.waiting_count == 40)
    cold.close()
    for task in waiting:
        with pytest.raises(LogReadError, match="the server is closing"):
            await task
    with pytest.raises(LogReadError, match="the server is closing"):
        await resident(lambda: cold.require_work(WorkKind.LOOK_INTO, 1, 0, "a log", lambda: None))
    assert cold.waiting_count == 0
    files.gate.set()


async def test_an_error_that_is_no_mediums_reaches_who_waits(tmp_path: Path) -> None:
    def fail() -> None:
        raise ValueError("a bug")

    cold = ColdReads(residency=Cold())
    with pytest.raises(ValueError, match="a bug"):
        await resident(lambda: cold.require_work(WorkKind.LOOK_INTO, 1, 0, "a log", fail))
    cold.close()


async def test_a_large_range_is_asked_for_in_parts_so_that_others_come_between(
    tmp_path: Path, files: GatedFiles
) -> None:
    cold, mapping = ColdReads(residency=Cold()), Mapping(files, a_file(tmp_path, 40 * CHUNK_BYTES))
    files.gate.clear()
    large = asyncio.create_task(resident(lambda: cold.require(mapping, 0, 30 * CHUNK_BYTES)))
    await until(lambda: files.running == THREADS)
    assert cold.waiting_count * CHUNK_BYTES == COLD_READ_BYTES
    small = asyncio.create_task(resident(lambda: cold.require(mapping, *a_chunk(39))))
    files.gate.set()
    await small
    assert not large.done()
    await large
    cold.close()


async def test_a_lookup_ends_though_each_place_takes_longer_than_trust_lasts(tmp_path: Path, files: GatedFiles) -> None:
    clock = ManualClock()
    cold, mapping = ColdReads(residency=Cold(), clock=clock), Mapping(files, a_file(tmp_path, 8 * CHUNK_BYTES))

    def ask() -> None:
        clock.advance(2 * TRUST_MS)
        for number in range(8):
            cold.require(mapping, *a_chunk(number))

    await resident(ask)
    assert set(files.ranges.values()) == {1}
    cold.close()


# Where the system does not tell


@pytest.mark.parametrize("answer", [None, lambda address, size, vector: -1])
async def test_without_mincore_everything_counts_as_resident(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: object
) -> None:
    monkeypatch.setattr(residency, "_mincore", answer)
    mapping, cold = Mapping(Files(), a_file(tmp_path, 2 * CHUNK_BYTES)), ColdReads()
    assert SystemResidency().resident_bytes(mapping.address, 5000, 2 * CHUNK_BYTES) == 2 * CHUNK_BYTES - 5000
    cold.require(mapping, 0, 2 * CHUNK_BYTES)
    cold.close()


async def test_only_the_lowest_bit_of_an_answer_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """macOS tells more of a page in the other bits."""

    def mincore(address: int, size: int, vector: ctypes.Array[ctypes.c_char]) -> int:
        for number, told in enumerate(b"\x1d\x03\x1c"):
            vector[number] = told.to_bytes()
        return 0

    monkeypatch.setattr(residency, "_mincore", mincore)
    mapping = Mapping(Files(), a_file(tmp_path, CHUNK_BYTES))
    page = mmap.PAGESIZE
    assert SystemResidency().resident_bytes(mapping.address, 10, 3 * page) == 2 * page - 10


def test_without_fadvise_nothing_is_read_ahead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "posix_fadvise", raising=False)
    mapping = Mapping(Files(), a_file(tmp_path, 100))
    Files().advise(mapping.descriptor, 0, 100)


async def test_a_medium_that_hangs_delays_what_retires_and_neither_a_flush_nor_the_end(
    tmp_path: Path, files: GatedFiles
) -> None:
    await fill(tmp_path / "log", files, None).close()
    cold, clock = ColdReads(residency=Cold()), ManualClock()
    settings = small(retention_bytes=100, flush_before_visible=True)
    log = SegmentLog.open(tmp_path / "log", TOPIC, settings, clock, boot_id="boot-1", files=files, cold=cold)
    log.attach(lambda: b"snapshot")
    files.gate.clear()
    log.start()
    log.upkeep.wake()
    await until(lambda: files.running == 1)
    append(log, bytes(100))
    log.commit([position(60)])
    await until(lambda: log.high_watermark == log.end_offset)
    assert files.running == 1
    await log.close()
    files.gate.set()
    cold.close()


async def test_what_has_to_be_looked_into_retires_when_it_was_read(tmp_path: Path, files: GatedFiles) -> None:
    await fill(tmp_path / "log", files, None).close()
    cold, clock = ColdReads(residency=Cold()), ManualClock()
    settings = small(retention_bytes=100)
    log = SegmentLog.open(tmp_path / "log", TOPIC, settings, clock, boot_id="boot-1", files=files, cold=cold)
    log.start()
    log.upkeep.wake()
    await until(lambda: log.log_start_offset > 0 and len(list(log.directory.glob("*.log"))) == 1)
    await log.close()
    cold.close()


async def test_what_could_not_be_looked_into_once_is_looked_into_again(tmp_path: Path, files: GatedFiles) -> None:
    await fill(tmp_path / "log", files, None).close()
    clock = ManualClock()
    cold = ColdReads(residency=Cold(), clock=clock)
    settings = small(retention_bytes=100)
    log = SegmentLog.open(tmp_path / "log", TOPIC, settings, clock, boot_id="boot-1", files=files, cold=cold)
    log.attach(lambda: b"snapshot")
    files.failing = True
    log.start()
    log.upkeep.wake()
    await until(lambda: files.ranges and not cold.waiting_count)
    for number in (60, 61):  # a turn of the task each, the first of which meets the failure
        append(log, bytes(100))
        log.commit([position(number)])
        log.upkeep.wake()
        await until(lambda: log.flusher.durable_offset == log.end_offset)
    assert log.log_start_offset == 0
    files.failing = False
    clock.advance(TRUST_MS + 1)
    log.upkeep.wake()
    await until(lambda: log.log_start_offset > 0)
    await log.close()
    cold.close()
