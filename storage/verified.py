"""What of a segment's bytes was seen to be what was written: no batch is served whose checksum does not match.

Owns the ranges of one `.log` that were verified, and the verifying. Batches that this process appended count from the
start; everything else is looked at when it is first served, and again after the system had taken it out of memory: what
comes back from the medium need not be what went there. (What the system takes out and brings back unnoticed, by reading
ahead, is not looked at again.)

A look at a batch takes 1 µs, and 40 µs for each MiB of it on the machine this was made on; so one answer verifies at
most `BATCHES_MAX` batches and `INLINE_BYTES_MAX` bytes, and ends there. A larger batch is read by a thread.

Invariant: ranges begin and end where batches do, are in order and do not touch.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from typing import TYPE_CHECKING, Final

from storage.checksum import crc32c
from storage.errors import CorruptLog
from storage.records import CRC_START, HEADER_BYTES, LENGTH_PREFIX_BYTES, MAGIC

if TYPE_CHECKING:
    from pathlib import Path

    from storage.files import Files

BATCHES_MAX: Final = 1024
INLINE_BYTES_MAX: Final = 8 << 20
RANGES_MAX: Final = 1024
"""Beyond it all are forgotten and looked at again: many readers at random places."""
_READ_BYTES: Final = 1 << 20
_CHECKED: Final = struct.Struct(">qi4xbI2xi")
"""What verifying needs of a batch header: base_offset, batch_length, magic, crc, last_offset_delta."""


class VerifiedRanges:
    """The verified ranges of one file."""

    __slots__ = ("_ends", "_starts")

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []

    def reach(self, position: int) -> int:
        """Where the verified range ends that `position` lies in; `position` itself if it lies in none."""
        number = bisect_right(self._starts, position) - 1
        return max(position, self._ends[number]) if number >= 0 else position

    def add(self, start: int, end: int) -> None:
        """Take a range, joined with those it touches."""
        if start >= end:
            return
        starts, ends = self._starts, self._ends
        if ends and ends[-1] == start:
            ends[-1] = end  # the usual case: the log grows
            return
        first = bisect_right(starts, start)
        if first and ends[first - 1] >= start:
            first -= 1
            start = starts[first]
        last = bisect_right(starts, end)
        end = max([end, *ends[first:last]])
        starts[first:last] = [start]
        ends[first:last] = [end]
        if len(starts) > RANGES_MAX:
            starts.clear()
            ends.clear()

    def forget_from(self, position: int) -> None:
        """Let go of everything at or behind the range that `position` lies in or comes before."""
        number = bisect_right(self._starts, position)
        if number and self._ends[number - 1] > position:
            number -= 1
        del self._starts[number:], self._ends[number:]


def verify_batches(view: memoryview, path: Path, start: int, end: int) -> int:
    """Verify the batches from `start` on, not beyond `end`, as many as one answer may; where the last of them ends.

    That is `start` if the first batch is larger than may be verified here. A damaged batch ends the range too.

    Raises:
        CorruptLog: the first batch is damaged.
    """
    position, limit = start, min(end, start + INLINE_BYTES_MAX)
    expected = None
    for _ in range(BATCHES_MAX):
        if position + HEADER_BYTES > end:
            break
        base_offset, length, magic, crc, last_delta = _CHECKED.unpack_from(view, position)
        next_position = position + LENGTH_PREFIX_BYTES + length
        if magic != MAGIC or next_position > end or expected not in {None, base_offset}:
            return _stopped(path, start, position, base_offset)
        if next_position > limit:
            break
        if crc32c(view[position + CRC_START : next_position]) != crc:
            return _stopped(path, start, position, base_offset)
        expected = base_offset + last_delta + 1
        position = next_position
    return position


def verify_by_reading(files: Files, descriptor: int, path: Path, start: int, end: int) -> None:
    """Verify one batch, from `start` to `end`, without touching a mapping of it. For threads.

    Raises:
        CorruptLog: it is damaged.
        OSError: the system refuses to read it.
    """
    base_offset, _, _, crc, _ = _CHECKED.unpack_from(files.read(descriptor, HEADER_BYTES, start))
    found, position = 0, start + CRC_START
    while position < end:
        block = files.read(descriptor, min(_READ_BYTES, end - position), position)
        if not block:
            break
        found = crc32c(block, found)
        position += len(block)
    if found != crc or position != end:
        _stopped(path, start, start, base_offset)


def _stopped(path: Path, start: int, position: int, base_offset: int) -> int:
    """What is whole before the damage may be served; damage at the start is all there is to tell."""
    if position > start:
        return position
    raise CorruptLog(
        f"{path}, byte {position}, offset {base_offset}: the record batch does not match its checksum and is not "
        f"served; `binwire verify` tells how far the damage goes and where consumers go on behind it"
    )
