"""The sparse indexes of a segment: offset to position, and time to position.

    .index      8 bytes per slot: relative_offset u32, position u32 of a batch (offset counted from the segment's base)
    .timeindex  12 bytes per slot: max_timestamp_ms i64, check u32

Slot i of both speaks of the same batch: max_timestamp_ms is the greatest timestamp of all records of the segment
*before* that batch, check is the CRC-32C of the slot's 8 and then 8 bytes. A slot is written for the first batch at
least index_interval_bytes behind the one before; never for the first batch of the segment, so a slot of zeros is an
empty one. Big-endian.

Invariants: relative_offset and position grow strictly, max_timestamp_ms never falls. Files of the active segment are
longer than what is in them and full of zeros there; slots at or behind the segment's end are not looked at. Indexes
only say where to begin: they can be rebuilt from the log at any time, and are when a slot that was used is wrong.
"""

from __future__ import annotations

import struct
from bisect import bisect_left, bisect_right
from contextlib import ExitStack
from pathlib import Path
from typing import Final, NamedTuple

from storage.checksum import crc32c
from storage.errors import CorruptLog
from storage.files import TEMPORARY_SUFFIX, Files
from storage.mapping import MappedFile
from storage.records import NO_TIMESTAMP_MS

OFFSET_SLOT_BYTES: Final = 8
TIME_SLOT_BYTES: Final = 12

_OFFSET_SLOT: Final = struct.Struct(">II")
_U32: Final = struct.Struct(">I")
_TIME: Final = struct.Struct(">q")
_POSITION_IN_SLOT: Final = 4


class DamagedIndex(CorruptLog):
    """Slots that do not verify; the index is rebuilt, and nobody is told."""


class Slot(NamedTuple):
    """Where a batch lies, relative to its segment."""

    relative_offset: int
    position: int


START: Final = Slot(0, 0)


def offset_index_path(log_path: Path) -> Path:
    """The `.index` beside a `.log`."""
    return log_path.with_suffix(".index")


def time_index_path(log_path: Path) -> Path:
    """The `.timeindex` beside a `.log`."""
    return log_path.with_suffix(".timeindex")


def remove_index(files: Files, log_path: Path) -> None:
    """Delete both indexes of a segment, as far as they are there."""
    files.unlink(offset_index_path(log_path))
    files.unlink(time_index_path(log_path))


class IndexReader:
    """Lookups in both indexes of a segment; `count` slots are valid."""

    def __init__(self, files: Files, log_path: Path) -> None:
        self._offsets = MappedFile(files, offset_index_path(log_path))
        self._times = MappedFile(files, time_index_path(log_path))
        self.count = 0

    def forget(self) -> None:
        self._offsets.forget()
        self._times.forget()

    def pages(self) -> tuple[tuple[MappedFile, int], ...]:
        """The files that lookups touch, and how much of them. Slots lie apart: a lookup touches many pages."""
        return (self._offsets, self.count * OFFSET_SLOT_BYTES), (self._times, self.count * TIME_SLOT_BYTES)

    def whole(self) -> tuple[tuple[MappedFile, int], ...]:
        """The files that `count_slots` touches, and how long they are.

        Raises:
            FileNotFoundError: an index is missing.
        """
        return (self._offsets, self._offsets.covering(1).nbytes), (self._times, self._times.covering(1).nbytes)

    def count_slots(self, end_position: int) -> int:
        """Set `count` to the slots of batches before `end_position`: the first that is empty or behind ends them.

        Raises:
            FileNotFoundError: an index is missing.
        """
        offsets, times = self._offsets.covering(1), self._times.covering(1)
        capacity = min(offsets.nbytes // OFFSET_SLOT_BYTES, times.nbytes // TIME_SLOT_BYTES)

        def position(number: int) -> int:
            found: int = _U32.unpack_from(offsets, number * OFFSET_SLOT_BYTES + _POSITION_IN_SLOT)[0]
            return found or end_position

        self.count = bisect_left(range(capacity), end_position, key=position)
        return self.count

    def slot(self, number: int) -> Slot:
        """Slot `number`; -1 is the segment's start."""
        if number < 0:
            return START
        return Slot(*_OFFSET_SLOT.unpack_from(self._mapped_offsets(), number * OFFSET_SLOT_BYTES))

    def slot_and_time(self, number: int) -> tuple[Slot, int]:
        """Slot `number` and the greatest timestamp before it."""
        if number < 0:
            return START, NO_TIMESTAMP_MS
        times = self._times.covering(self.count * TIME_SLOT_BYTES)
        return self.slot(number), _TIME.unpack_from(times, number * TIME_SLOT_BYTES)[0]

    def before_offset(self, relative_offset: int) -> Slot:
        """The last slot at or before an offset."""
        view = self._mapped_offsets()

        def offset(number: int) -> int:
            found: int = _U32.unpack_from(view, number * OFFSET_SLOT_BYTES)[0]
            return found

        return self.slot(bisect_right(range(self.count), relative_offset, key=offset) - 1)

    def before_position(self, position: int) -> Slot:
        """The last slot at or before a byte position."""
        view = self._mapped_offsets()

        def slot_position(number: int) -> int:
            found: int = _U32.unpack_from(view, number * OFFSET_SLOT_BYTES + _POSITION_IN_SLOT)[0]
            return found

        return self.slot(bisect_right(range(self.count), position, key=slot_position) - 1)

    def before_time(self, timestamp_ms: int) -> Slot:
        """The last slot before which every record is older than `timestamp_ms`.

        Raises:
            DamagedIndex: the slots that decide do not verify.
        """
        view = self._times.covering(self.count * TIME_SLOT_BYTES)

        def time(number: int) -> int:
            found: int = _TIME.unpack_from(view, number * TIME_SLOT_BYTES)[0]
            return found

        after = bisect_left(range(self.count), timestamp_ms, key=time)
        if not self.verifies(after - 1) or not self.verifies(after):
            raise DamagedIndex(f"the time index has a damaged slot near {after}")
        return self.slot(after - 1)

    def verifies(self, number: int) -> bool:
        """Whether slot `number` is what was written; true of the ends, which have no slot."""
        if not 0 <= number < self.count:
            return True
        times = self._times.covering(self.count * TIME_SLOT_BYTES)
        start, time_start = number * OFFSET_SLOT_BYTES, number * TIME_SLOT_BYTES
        slot = bytes(self._mapped_offsets()[start : start + OFFSET_SLOT_BYTES])
        return is_whole(slot, bytes(times[time_start : time_start + TIME_SLOT_BYTES]))

    def count_verified(self) -> int:
        """The slots before the first one that does not verify; looks at all of them."""
        return next((number for number in range(self.count) if not self.verifies(number)), self.count)

    def _mapped_offsets(self) -> memoryview:
        return self._offsets.covering(self.count * OFFSET_SLOT_BYTES)


class SlotWriter:
    """Makes all slots of a segment in memory, by the batches that it is told of in order."""

    def __init__(self, interval_bytes: int) -> None:
        self.offsets = bytearray()
        self.times = bytearray()
        self._interval_bytes = interval_bytes
        self._last_position = 0
        self._max_timestamp_ms = NO_TIMESTAMP_MS

    def pass_by(self, relative_offset: int, position: int, max_timestamp_ms: int) -> None:
        """Note the next batch."""
        if position - self._last_position >= self._interval_bytes:
            slot, time = _encode_slot(relative_offset, position, self._max_timestamp_ms)
            self.offsets += slot
            self.times += time
            self._last_position = position
        self._max_timestamp_ms = max(self._max_timestamp_ms, max_timestamp_ms)


def replace_index(files: Files, log_path: Path, slots: SlotWriter) -> None:
    """Put both indexes in place of those that are there. Not flushed: what is lost is rebuilt."""
    for path, data in ((time_index_path(log_path), slots.times), (offset_index_path(log_path), slots.offsets)):
        temporary = path.with_name(path.name + TEMPORARY_SUFFIX)
        files.unlink(temporary)
        with files.opened(temporary, create=True) as descriptor:
            files.write(descriptor, bytes(data), 0)
        files.rename(temporary, path)


def _encode_slot(relative_offset: int, position: int, earlier_max_timestamp_ms: int) -> tuple[bytes, bytes]:
    slot = _OFFSET_SLOT.pack(relative_offset, position)
    time = _TIME.pack(earlier_max_timestamp_ms)
    return slot, time + _U32.pack(crc32c(time, crc32c(slot)))


def is_whole(slot: bytes, time: bytes) -> bool:
    """Whether the bytes of a slot in the two indexes are what was written; zeros are an empty slot."""
    if len(time) != TIME_SLOT_BYTES or not any(slot):
        return False
    check: int = _U32.unpack_from(time, _TIME.size)[0]
    return check == crc32c(time[: _TIME.size], crc32c(slot))


class IndexWriter:
    """Appends slots to both indexes of the active segment."""

    def __init__(self, files: Files, log_path: Path, interval_bytes: int, *, create: bool) -> None:
        self._files = files
        self._interval_bytes = interval_bytes
        with ExitStack() as opened:
            offsets = files.open(offset_index_path(log_path), create=create)
            opened.callback(files.close, offsets)
            self._descriptors = (offsets, files.open(time_index_path(log_path), create=create))
            opened.pop_all()
        self.count = 0
        self.last_position = 0

    @property
    def descriptors(self) -> tuple[int, int]:
        return self._descriptors

    def reserve(self, log_bytes: int) -> None:
        """Make both files long enough for a log of `log_bytes`, so that one mapping of them lasts."""
        slots = log_bytes // self._interval_bytes + 1
        self._files.truncate(self._descriptors[0], slots * OFFSET_SLOT_BYTES)
        self._files.truncate(self._descriptors[1], slots * TIME_SLOT_BYTES)

    def is_due(self, position: int) -> bool:
        """Whether a batch at `position` is to be entered."""
        return position - self.last_position >= self._interval_bytes

    def enter(self, relative_offset: int, position: int, earlier_max_timestamp_ms: int) -> None:
        """Write the next slot."""
        slot, time = _encode_slot(relative_offset, position, earlier_max_timestamp_ms)
        number = self.count
        self._files.write(self._descriptors[0], slot, number * OFFSET_SLOT_BYTES)
        self._files.write(self._descriptors[1], time, number * TIME_SLOT_BYTES)
        self.count = number + 1
        self.last_position = position

    def keep(self, count: int, last_position: int) -> None:
        """Clear what was written behind `count` slots, the last of them at `last_position`."""
        dropped = self.count - count
        self.count = count
        self.last_position = last_position
        if dropped > 0:
            # Zeros, not a shorter file: another process may have it mapped.
            self._files.write(self._descriptors[0], bytes(dropped * OFFSET_SLOT_BYTES), count * OFFSET_SLOT_BYTES)
            self._files.write(self._descriptors[1], bytes(dropped * TIME_SLOT_BYTES), count * TIME_SLOT_BYTES)

    def trim(self) -> None:
        """Cut both files to what is in them."""
        self._files.truncate(self._descriptors[0], self.count * OFFSET_SLOT_BYTES)
        self._files.truncate(self._descriptors[1], self.count * TIME_SLOT_BYTES)

    def close(self) -> None:
        for descriptor in self._descriptors:
            self._files.close(descriptor)
