"""Verifying a whole log: what is whole is called whole, what is not is named with file and offset."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

import pytest

from storage.verify import verify
from tests.storage.samples import append_random, fill, open_log, small

if TYPE_CHECKING:
    from pathlib import Path

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
    for position in Random(4).sample(range(min(1800, size)), 60):
        flip(path, position)
        found = verify(log.directory)
        flip(path, position)
        if not found.problems:
            # The leader's epoch is outside the checksum, and nobody reads it.
            assert found.batches == whole
            continue
        [problem] = found.problems
        assert problem.path == path
        assert problem.position <= position
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
