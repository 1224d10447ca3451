"""Verifying a whole log: what is whole is called whole, what is not is named with file and offset."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import pytest

from storage.checksum import crc32c
from storage.errors import CorruptLog
from storage.files import Files
from storage.records import iter_batches, read_header
from storage.segment_walk import BLOCK_BYTES
from storage.verify import verify
from tests.storage.faults import FailingFiles
from tests.storage.samples import append, append_random, fill, open_log, position, read_all, small

if TYPE_CHECKING:
    from storage.segment_log import SegmentLog

CONFIG = small(segment_bytes=2000)


@pytest.fixture
def log(tmp_path: Path) -> SegmentLog:
    log = open_log(tmp_path / "log", CONFIG)
    fill(log, Random(1), 40)
    return log


def flip(path: Path, position: int) -> None:
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.write_bytes(data)


def test_a_whole_log_has_no_problems_while_it_is_written(log: SegmentLog) -> None:
    for _ in range(5):
        append_random(log, Random(2))
    found = verify(log.directory)
    assert found.problems == []
    assert found.segments == len(list(log.directory.glob("*.log")))
    assert found.size_bytes == log.size_between(0, 10**9)
    assert found.batches > 40


async def test_a_whole_log_has_no_problems_after_an_orderly_end_and_a_loss_of_power(log: SegmentLog) -> None:
    again = open_log(log.directory, CONFIG, boot_id="boot-2")
    fill(again, Random(3), 3, first_number=41)
    await again.close()
    assert verify(log.directory).problems == []


def test_every_flipped_byte_of_a_log_is_found_where_it_is(log: SegmentLog) -> None:
    path = sorted(log.directory.glob("*.log"))[1]
    base_offset = int(path.stem)
    whole = verify(log.directory).batches
    size = log.size_between(base_offset, 10**9) - log.size_between(log.high_watermark, 1)
    for byte in Random(4).sample(range(min(1800, size)), 60):
        flip(path, byte)
        found = verify(log.directory)
        flip(path, byte)
        if not found.problems:
            # The leader's epoch is outside the checksum, and nobody reads it.
            assert found.batches == whole
            continue
        [problem] = found.problems
        assert problem.path == path
        assert problem.position <= byte
        assert base_offset <= problem.offset < log.high_watermark
        assert str(path) in str(problem)


def test_damage_is_passed_so_that_later_damage_is_found_too(log: SegmentLog) -> None:
    first, second, *_ = sorted(log.directory.glob("*.log"))
    flip(first, 8)
    flip(first, 1700)
    flip(second, 100)
    found = verify(log.directory)
    assert [problem.path for problem in found.problems] == [first, first, second]


@pytest.mark.parametrize(
    ("suffix", "what"),
    [(".source", "does not match its checksum"), (".index", "does not verify"), (".timeindex", "does not verify")],
)
def test_damage_beside_the_log_is_found(log: SegmentLog, suffix: str, what: str) -> None:
    path = min(log.directory.glob(f"*{suffix}"))
    flip(path, 44 if suffix == ".source" else 9)
    assert what in verify(log.directory).problems[0].what


def test_a_damaged_position_entry_and_a_missing_segment_are_found(log: SegmentLog) -> None:
    source = min(log.directory.glob("*.source"))
    flip(source, 42 + len(b"snapshot") + 144 + 30)
    assert [p.what for p in verify(log.directory).problems] == ["position entry 1 does not verify"]
    flip(source, 42 + len(b"snapshot") + 144 + 30)
    for path in log.directory.glob(f"{sorted(log.directory.glob('*.log'))[1].stem}.*"):
        path.unlink()
    [problem] = verify(log.directory).problems
    assert "the segment before it ends at offset" in problem.what
    for path in log.directory.glob("*.index"):
        path.unlink()
    assert any("an index is missing" in p.what for p in verify(log.directory).problems)


# ---- what is told of a damage ----


def test_it_is_told_which_offsets_are_not_served_and_where_to_go_on(log: SegmentLog) -> None:
    with log.read(log.log_start_offset, 10**6) as part:
        second = list(iter_batches(bytes(part.view)))[1]
    path = min(log.directory.glob("*.log"))
    flip(path, second.position + second.header.size_bytes - 1)
    [problem] = verify(log.directory).problems
    assert (problem.position, problem.offset) == (second.position, second.header.base_offset)
    assert problem.next_offset == second.header.next_offset
    assert f"goes on from offset {second.header.next_offset} reads what follows" in problem.effect
    assert f"seek to offset {second.header.next_offset}" in problem.remedy
    again = open_log(log.directory, CONFIG)
    assert read_all(again, offset=problem.next_offset)[0].offset == problem.next_offset


def test_readers_meet_what_it_tells(tmp_path: Path) -> None:
    """Wherever a byte is changed: what is said not to be served is not, and what follows is."""
    log = open_log(tmp_path / "log", CONFIG)
    fill(log, Random(10), 12)
    path, random = min(log.directory.glob("*.log")), Random(11)
    content = path.read_bytes()
    for _ in range(60):
        flip(path, random.randrange(len(content)))
        problems = verify(log.directory).problems
        assert problems
        for problem in problems:
            again = open_log(log.directory, CONFIG)
            for offset in range(problem.offset, problem.next_offset):
                with pytest.raises(CorruptLog):
                    again.read(offset, 1)
            with again.read(problem.next_offset, 1) as part:
                assert read_header(part.view).base_offset == problem.next_offset
            again.release()
        path.write_bytes(content)


def test_records_inside_a_batch_are_looked_at(log: SegmentLog) -> None:
    """A batch whose checksum is right and whose records are not: no medium does this, a defect of a writer does."""
    path = min(log.directory.glob("*.log"))
    data = bytearray(path.read_bytes())
    data[60] ^= 1  # record_count
    header = read_header(data)
    data[17:21] = crc32c(memoryview(data)[21 : header.size_bytes]).to_bytes(4, "big")
    path.write_bytes(data)
    [problem] = verify(log.directory).problems
    assert (problem.position, problem.offset) == (0, 0)
    assert "record" in problem.what


def test_an_index_that_verifies_and_leads_astray_is_found(log: SegmentLog) -> None:
    index = min(log.directory.glob("*.index"))
    times = index.with_suffix(".timeindex")
    slot, time = bytearray(index.read_bytes()), bytearray(times.read_bytes())
    slot[3] += 1
    time[8:12] = crc32c(bytes(time[:8]), crc32c(bytes(slot[:8]))).to_bytes(4, "big")
    index.write_bytes(slot)
    times.write_bytes(time)
    assert [(p.path, p.position) for p in verify(log.directory).problems] == [(index, 0)]


def test_a_state_that_cannot_be_read_and_a_lost_end_are_found(log: SegmentLog) -> None:
    log.flush()
    log.reservation.save_durable(log.flusher.durable_offset)
    assert verify(log.directory).problems == []
    *_, newest = sorted(log.directory.glob("*.source"))
    for path in log.directory.glob(f"{newest.stem}.*"):
        path.unlink()
    [problem] = verify(log.directory).problems
    assert (problem.offset, problem.next_offset) == (int(newest.stem), log.high_watermark)
    flip(log.directory / "state", 20)
    assert "does not match its checksum" in verify(log.directory).problems[-1].what


def test_a_log_file_that_is_gone_is_found(log: SegmentLog) -> None:
    path = sorted(log.directory.glob("*.log"))[1]
    path.unlink()
    [problem] = verify(log.directory).problems
    assert (problem.path, problem.offset) == (path, int(path.stem))
    assert "No such file" in problem.what


# ---- beside a running server ----


class MeddlingFiles(Files):
    """Does something the moment before a file is opened for the first time."""

    def __init__(self, name: str, meddle: Callable[[], None]) -> None:
        self._name = name
        self._meddle: Callable[[], None] | None = meddle

    def open(self, path: Path, *, create: bool = False, write: bool = True) -> int:
        if path.name == self._name and self._meddle is not None:
            meddle, self._meddle = self._meddle, None
            meddle()
        return super().open(path, create=create, write=write)


@pytest.mark.parametrize("suffix", [".source", ".log", ".index"])
def test_what_retention_takes_meanwhile_is_no_damage(log: SegmentLog, suffix: str) -> None:
    first, second, third, *_ = sorted(path.stem for path in log.directory.glob("*.log"))

    def retire() -> None:
        for stem in (first, second):
            for path in log.directory.glob(f"{stem}.*"):
                path.unlink()

    found = verify(log.directory, MeddlingFiles(second + suffix, retire))
    assert found.problems == []
    assert found.next_offset == log.high_watermark
    assert verify(log.directory).first_offset == int(third)


@pytest.mark.parametrize("suffix", [".source", ".log"])
def test_what_a_failed_flush_takes_back_meanwhile_is_no_damage(tmp_path: Path, suffix: str) -> None:
    files = FailingFiles()
    log = open_log(tmp_path / "log", CONFIG, files=files)
    fill(log, Random(5), 10)
    log.flush()
    durable = log.high_watermark
    fill(log, Random(6), 30, first_number=11)
    newest = max(log.directory.glob("*.source"))

    def take_back() -> None:
        files.failing = {"sync"}
        log.flush()
        files.failing = set()
        log.rollback()
        for path in log.directory.glob("*.log"):  # what the failed flush did not save
            if int(path.stem) >= durable:
                path.write_bytes(bytes(path.stat().st_size))

    found = verify(log.directory, MeddlingFiles(newest.stem + suffix, take_back))
    assert found.problems == []
    assert verify(log.directory).problems == []


def test_an_open_transaction_and_its_rollback_are_no_damage(log: SegmentLog) -> None:
    newest = max(log.directory.glob("*.source"))
    for _ in range(20):
        append_random(log, Random(7))
    assert verify(log.directory, MeddlingFiles(newest.name, log.rollback)).problems == []


class MeasuringFiles(Files):
    """Remembers the largest read."""

    largest_bytes = 0

    def read(self, descriptor: int, size: int, position: int) -> bytes:
        self.largest_bytes = max(self.largest_bytes, size)
        return super().read(descriptor, size, position)


def test_no_damaged_length_makes_it_hold_more_than_a_block(tmp_path: Path) -> None:
    config = small(segment_bytes=64 << 20)
    log = open_log(tmp_path / "log", config)
    for _ in range(12):
        append(log, bytes(1 << 20))
    log.commit([position(1)])
    path = min(log.directory.glob("*.log"))
    with path.open("r+b") as file:
        file.seek(8)
        file.write((11 << 20).to_bytes(4, "big"))
    files = MeasuringFiles()
    [problem] = verify(log.directory, files).problems
    assert (problem.position, problem.offset, problem.next_offset) == (0, 0, 1)
    assert files.largest_bytes == BLOCK_BYTES


def test_batches_larger_than_a_block_and_many_small_ones_are_whole(tmp_path: Path) -> None:
    log = open_log(tmp_path / "log", small(segment_bytes=64 << 20))
    random, progress = Random(8), [0]
    append(log, random.randbytes(2 * BLOCK_BYTES))
    fill(log, random, 400)
    append(log, random.randbytes(BLOCK_BYTES - 70))
    fill(log, random, 40, first_number=401)

    def count(size_bytes: int) -> None:
        progress[0] += size_bytes

    found = verify(log.directory, progress=count)
    assert found.problems == []
    assert found.size_bytes == log.size_between(0, 10**9) == progress[0]
    assert found.records == log.high_watermark == found.next_offset


def test_after_a_loss_of_power_what_was_not_flushed_is_no_damage(log: SegmentLog) -> None:
    log.flush()
    durable = log.high_watermark
    fill(log, Random(9), 2, first_number=41)
    newest = max(log.directory.glob("*.log"))
    content = newest.read_bytes()
    at = log.size_between(int(newest.stem), 10**9) - 10
    newest.write_bytes(content[:at] + bytes(len(content) - at))
    assert verify(log.directory, boot_id="boot-1").problems
    found = verify(log.directory, boot_id="boot-2")
    assert found.problems == []
    assert durable <= found.torn_offset < log.high_watermark
    flip(min(log.directory.glob("*.log")), 100)
    assert len(verify(log.directory, boot_id="boot-2").problems) == 1


def test_a_damaged_newest_segment_and_a_damaged_last_entry_are_found(log: SegmentLog) -> None:
    newest = max(log.directory.glob("*.source"))
    size = newest.stat().st_size
    flip(newest, size - 20)
    [problem] = verify(log.directory).problems
    assert (problem.path, problem.position) == (newest, size - 144)
    flip(newest, size - 20)
    flip(newest, 30)
    assert verify(log.directory).problems[0].path == newest


class UnreadableFiles(Files):
    """The medium does not give back what lies in one file."""

    def __init__(self, path: Path, call: str) -> None:
        self._path = path
        self._call = call
        self._descriptors: set[int] = set()

    def open(self, path: Path, *, create: bool = False, write: bool = True) -> int:
        if path == self._path and self._call == "open":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        descriptor = super().open(path, create=create, write=write)
        self._descriptors.discard(descriptor)
        if path == self._path:
            self._descriptors.add(descriptor)
        return descriptor

    def read(self, descriptor: int, size: int, position: int) -> bytes:
        if descriptor in self._descriptors and self._call == "read":
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return super().read(descriptor, size, position)


@pytest.mark.parametrize(
    ("suffix", "call", "reason"),
    [
        (".log", "read", "Input/output error"),
        (".log", "open", "Permission denied"),
        (".source", "open", "Permission denied"),
        (".index", "open", "Permission denied"),
    ],
)
def test_what_cannot_be_read_is_told_and_the_rest_is_verified(
    log: SegmentLog, suffix: str, call: str, reason: str
) -> None:
    path = sorted(log.directory.glob(f"*{suffix}"))[1]
    whole = verify(log.directory)
    found = verify(log.directory, UnreadableFiles(path, call))
    [problem] = found.problems
    assert reason in problem.what
    assert problem.offset == int(path.stem)
    assert whole.segments == found.segments
    assert whole.batches > found.batches > whole.batches // 2
