"""What of a segment's bytes was seen to be what was written: no batch is served whose checksum does not match.

Owns the ranges of one `.log` that were verified, and the verifying. Everything is looked at when it is first served,
and again after the system had taken it out of memory: what comes back from the medium need not be what went there.
(What the system takes out and brings back unnoticed, by reading ahead, is not looked at again, and neither is what
another program writes over what was; clients look at checksums too.)

A look at a batch takes 1 µs, and 40 µs for each MiB of it on the machine this was made on; so one answer verifies at
most `BATCHES_MAX` batches and `INLINE_BYTES_MAX` bytes, and ends there. A larger batch is read by a thread.

Invariant: ranges begin and end where batches do, are in order and do not touch. Offsets follow each other in a range;
that the first of a range is right its reader has seen (`Segment.locate`).
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from typing import TYPE_CHECKING, Final

from storage.checksum import crc32c
from storage.errors import CorruptLog
from storage.records import CRC_START, HEADER_BYTES, LENGTH_PREFIX_BYTES, MAGIC, NO_LEADER_EPOCH

if TYPE_CHECKING:
    from pathlib import Path

    from storage.files import Files

BATCHES_MAX: Final = 1024
INLINE_BYTES_MAX: Final = 8 << 20
RANGES_MAX: Final = 1024
"""Beyond it all are forgotten and looked at again: many readers at random places."""
_READ_BYTES: Final = 1 << 20
_CHECKED: Final = struct.Struct(">qiibI2xi")
"""What verifying needs of a batch header: base_offset, batch_length, leader epoch, magic, crc, last_offset_delta."""


class VerifiedRanges:
    """The verified ranges of one file, each with the offset that follows it."""

    __slots__ = ("_ends", "_next_offsets", "_starts")

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []
        self._next_offsets: list[int] = []

    def reach(self, position: int) -> tuple[int, int | None]:
        """Where the verified range ends that `position` lies in, and the offset that follows.

        If it lies in none that is `position` itself, and None.
        """
        number = bisect_right(self._starts, position) - 1
        if number < 0 or self._ends[number] < position:
            return position, None
        return self._ends[number], self._next_offsets[number]

    def add(self, start: int, end: int, next_offset: int) -> None:
        """Take a range, joined with those it touches."""
        if start >= end:
            return
        starts, ends = self._starts, self._ends
        if ends and ends[-1] == start:
            ends[-1], self._next_offsets[-1] = end, next_offset  # the usual case: the log grows
            return
        first = bisect_right(starts, start)
        if first and ends[first - 1] >= start:
            first -= 1
            start = starts[first]
        last = bisect_right(starts, end)
        end, next_offset = max(
            [(end, next_offset), *zip(ends[first:last], self._next_offsets[first:last], strict=True)]
        )
        starts[first:last] = [start]
        ends[first:last] = [end]
        self._next_offsets[first:last] = [next_offset]
        if len(starts) > RANGES_MAX:
            self.forget_from(0)

    def forget_from(self, position: int) -> None:
        """Let go of everything at or behind the range that `position` lies in or comes before."""
        number = bisect_right(self._starts, position)
        if number and self._ends[number - 1] > position:
            number -= 1
        del self._starts[number:], self._ends[number:], self._next_offsets[number:]


def verify_batches(view: memoryview, path: Path, start: int, end: int, expected: int | None) -> tuple[int, int | None]:
    """Verify the batches from `start` on, not beyond `end`, as many as one answer may.

    `expected` is the offset of the first, None if that is known to be right. Returns where the last of them ends, and
    the offset behind it; that is where it began if the first batch is larger than may be verified here. A damaged
    batch ends the range too.

    Raises:
        CorruptLog: the first batch is damaged.
    """
    position, limit = start, min(end, start + INLINE_BYTES_MAX)
    for _ in range(BATCHES_MAX):
        if position + HEADER_BYTES > end:
            break
        base_offset, length, epoch, magic, crc, last_delta = _CHECKED.unpack_from(view, position)
        next_position = position + LENGTH_PREFIX_BYTES + length
        # These the checksum does not cover.
        is_batch = magic == MAGIC and epoch == NO_LEADER_EPOCH and expected in {None, base_offset}
        if is_batch and limit < next_position <= end:
            break
        if not is_batch or next_position > end or crc32c(view[position + CRC_START : next_position]) != crc:
            if position > start:
                break  # what is whole before the damage may be served
            raise _damage(path, position, base_offset if expected is None else expected)
        expected = base_offset + last_delta + 1
        position = next_position
    return position, expected


def verify_by_reading(files: Files, descriptor: int, path: Path, start: int, end: int) -> None:
    """Verify one batch, from `start` to `end`, without touching a mapping of it. For threads.

    What of its header the checksum does not cover was looked at before.

    Raises:
        CorruptLog: it is damaged.
        OSError: the system refuses to read it.
    """
    base_offset, _, _, _, crc, _ = _CHECKED.unpack_from(files.read(descriptor, HEADER_BYTES, start))
    found, position = 0, start + CRC_START
    while position < end:
        block = files.read(descriptor, min(_READ_BYTES, end - position), position)
        if not block:
            break
        found = crc32c(block, found)
        position += len(block)
    if found != crc or position != end:
        raise _damage(path, start, base_offset)


def _damage(path: Path, position: int, offset: int) -> CorruptLog:
    return CorruptLog(
        f"{path}, byte {position}, offset {offset}: the record batch does not match its checksum and is not served; "
        f"`binwire verify` tells how far the damage goes and where consumers go on behind it"
    )
