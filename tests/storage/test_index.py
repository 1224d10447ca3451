"""Both indexes of a segment: their bytes, their lookups against a plain list, and what they notice."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.checksum import crc32c
from storage.errors import CorruptLog
from storage.files import Files
from storage.index import START, IndexReader, IndexWriter, Slot

if TYPE_CHECKING:
    from pathlib import Path

    from storage.index import IndexWriter as Writer


def make(directory: Path, slots: list[tuple[int, int, int]], *, trim: bool = True) -> tuple[Writer, IndexReader]:
    path = directory / "00000000000000000000.log"
    writer = IndexWriter(Files(), path, 10, create=True)
    writer.reserve(10_000)
    for slot in slots:
        writer.enter(*slot)
    if trim:
        writer.trim()
    return writer, IndexReader(Files(), path)


def test_slots_are_laid_out_as_described(tmp_path: Path) -> None:
    make(tmp_path, [(3, 400, 1_700_000_000_000), (9, 900, 1_700_000_005_000)])
    offsets = (tmp_path / "00000000000000000000.index").read_bytes()
    times = (tmp_path / "00000000000000000000.timeindex").read_bytes()
    assert offsets.hex() == "00000003" + "00000190" + "00000009" + "00000384"
    first_time = (1_700_000_000_000).to_bytes(8, "big")
    assert times[:12] == first_time + crc32c(offsets[:8] + first_time).to_bytes(4, "big")
    assert len(times) == 24


def test_crc32c_is_castagnolis() -> None:
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(b"6789", crc32c(b"12345")) == 0xE3069283


@given(
    gaps=st.lists(st.tuples(st.integers(1, 9), st.integers(10, 90), st.integers(0, 50)), max_size=40),
    asked=st.lists(st.integers(0, 2500), min_size=1, max_size=10),
)
@settings(max_examples=60)
def test_lookups_are_those_of_a_plain_list(
    tmp_path_factory: pytest.TempPathFactory, gaps: list[tuple[int, int, int]], asked: list[int]
) -> None:
    slots, offset, position, time_ms = [], 0, 0, 0
    for offset_gap, position_gap, time_gap in gaps:
        offset, position, time_ms = offset + offset_gap, position + position_gap, time_ms + time_gap
        slots.append((offset, position, time_ms))
    _, index = make(tmp_path_factory.mktemp("index"), slots, trim=False)
    for value in asked:
        kept = [slot for slot in slots if slot[1] < value]
        assert index.count_slots(value) == len(kept)
        assert index.before_offset(value) == last(slot for slot in kept if slot[0] <= value)
        assert index.before_position(value) == last(slot for slot in kept if slot[1] <= value)
        assert index.before_time(value) == last(slot for slot in kept if slot[2] < value)
        assert index.count_verified() == len(kept)


def last(slots) -> Slot:
    return ([START] + [Slot(offset, position) for offset, position, _ in slots])[-1]


def test_what_is_taken_back_is_zeros_again(tmp_path: Path) -> None:
    writer, index = make(tmp_path, [(1, 10, 5), (2, 20, 6), (3, 30, 7)], trim=False)
    writer.keep(1, 10)
    assert index.count_slots(1000) == 1
    assert writer.is_due(20)
    assert not writer.is_due(19)
    writer.enter(2, 25, 8)
    assert index.count_slots(1000) == 2
    assert index.slot(1) == Slot(2, 25)


@pytest.mark.parametrize("suffix", [".index", ".timeindex"])
def test_a_damaged_slot_is_noticed_by_a_time_lookup_that_meets_it(tmp_path: Path, suffix: str) -> None:
    writer, _ = make(tmp_path, [(number, number * 10, number * 100) for number in range(1, 40)])
    writer.close()
    path = tmp_path / f"00000000000000000000{suffix}"
    data = bytearray(path.read_bytes())
    slot_bytes = len(data) // 39
    data[20 * slot_bytes + 3] ^= 0x01
    path.write_bytes(data)
    index = IndexReader(Files(), tmp_path / "00000000000000000000.log")
    index.count = 39
    assert index.count_verified() == 20
    with pytest.raises(CorruptLog, match="time index has a damaged slot"):
        index.before_time(2100)
