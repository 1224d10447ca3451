"""What opening a log reads, in bytes and files, and where it goes on: counted, never timed."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from storage.positions import ENTRY_BYTES
from storage.verify import verify
from tests.storage.faults import CountingFiles
from tests.storage.samples import append, fill, open_log, position, read_all, small

CONFIG = small(segment_bytes=20_000, index_interval_bytes=1000, reserve_offsets=10_000)
_FIXED_BYTES = 64 * ENTRY_BYTES + 4096
"""A block of entries, a batch, headers: what an open reads whatever the log holds."""


def bytes_read_to_open(directory: Path, boot_id: str = "boot-1") -> CountingFiles:
    files = CountingFiles()
    open_log(directory, CONFIG, boot_id=boot_id, files=files)
    return files


@pytest.mark.parametrize("transactions", [50, 800])
@pytest.mark.parametrize("is_orderly", [True, False], ids=["stopped", "killed"])
async def test_after_a_stop_or_a_kill_nothing_is_scanned(tmp_path: Path, is_orderly: bool, transactions: int) -> None:
    log = open_log(tmp_path / "log", CONFIG)
    fill(log, Random(1), transactions)
    await log.close(orderly=is_orderly)
    files = bytes_read_to_open(tmp_path / "log")
    assert files.read_bytes < _FIXED_BYTES
    assert len(files.ever_opened) <= 8


@pytest.mark.parametrize("transactions", [50, 800])
def test_after_a_loss_of_power_only_what_was_not_flushed_is_read(tmp_path: Path, transactions: int) -> None:
    log = open_log(tmp_path / "log", CONFIG)
    fill(log, Random(1), transactions)
    log.flush()
    fill(log, Random(2), 3, first_number=transactions + 1)
    log.flush()
    flushed = log.end_offset
    fill(log, Random(3), 20, first_number=transactions + 4)
    tail_bytes = log.size_between(flushed, 1 << 30) + 20 * ENTRY_BYTES
    files = bytes_read_to_open(tmp_path / "log", "boot-2")
    # Entry by entry, and each batch once more for its header.
    assert files.read_bytes < 2 * tail_bytes + 2 * _FIXED_BYTES


def test_after_a_loss_of_power_offsets_go_on_above_all_that_were_reserved(tmp_path: Path) -> None:
    log = open_log(tmp_path / "log", CONFIG)
    fill(log, Random(1), 5)
    end_offset, reserved_offset = log.end_offset, log.reservation.reserved_offset
    again = open_log(tmp_path / "log", CONFIG, boot_id="boot-2")
    assert end_offset < reserved_offset == again.end_offset
    third = open_log(tmp_path / "log", CONFIG, boot_id="boot-3")
    assert third.end_offset == reserved_offset, "nothing was appended by the second"


def test_a_state_that_is_gone_is_no_orderly_stop(tmp_path: Path) -> None:
    """It may have gone with the end of the log: what was served is unknown, so its offsets are skipped."""
    log = open_log(tmp_path / "log", CONFIG)
    records = fill(log, Random(1), 5)
    log.flush()
    (tmp_path / "log" / "state").unlink()
    again = open_log(tmp_path / "log", CONFIG)
    assert read_all(again) == records
    assert again.end_offset > log.reservation.reserved_offset
    assert len(again.notes) == 1


def test_a_killed_run_that_began_nothing_skips_no_offset(tmp_path: Path) -> None:
    log = open_log(tmp_path / "log", CONFIG)
    log.reservation.begin(0, 0)
    again = open_log(tmp_path / "log", CONFIG)
    assert again.end_offset == 0


@pytest.mark.parametrize(("boot_id", "is_cut"), [("boot-1", False), ("boot-2", True)])
def test_damage_in_the_tail_is_cut_after_a_loss_of_power_and_else_left_to_readers(
    tmp_path: Path, boot_id: str, is_cut: bool
) -> None:
    log = open_log(tmp_path / "log", CONFIG)
    before = append(log, b"before")
    log.commit([position(1)])
    log.flush()
    log_size = log.size_between(0, 1 << 20)
    append(log, b"damaged")
    log.commit([position(2)])
    append(log, b"behind")
    log.commit([position(3)])
    flip(tmp_path / "log", log_size + 70)
    again = open_log(tmp_path / "log", CONFIG, boot_id=boot_id)
    assert again.recovered is not None
    assert again.recovered.position == position(1 if is_cut else 3).position
    assert bool(verify(tmp_path / "log").problems) is not is_cut
    if is_cut:
        assert read_all(again) == before


def test_damage_in_the_middle_is_not_looked_for_and_not_served(tmp_path: Path) -> None:
    log = open_log(tmp_path / "log", CONFIG)
    fill(log, Random(1), 30)
    log.flush()
    fill(log, Random(2), 2, first_number=31)
    flip(tmp_path / "log", 100)
    again = open_log(tmp_path / "log", CONFIG, boot_id="boot-2")
    assert again.recovered is not None
    assert again.recovered.position == position(32).position
    (problem,) = verify(tmp_path / "log").problems
    assert problem.position <= 100
    assert read_all(again, offset=10)[-1].offset == log.high_watermark - 1


def flip(directory: Path, place: int) -> None:
    path = min(directory.glob("*.log"))
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)
