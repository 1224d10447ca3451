"""One segment walked for people: is every committed byte of it what was written?

Owns the walk: every batch's checksum, every record's frame, every position entry, every index slot, and that offsets
follow each other; and what is found, in words. Files are read with `pread`, so that one that is cut meanwhile is no
SIGBUS. Only what is committed is judged, up to the end that the caller names.

After damage the walk goes on where readers can: where the damaged batch's own header leads, if a batch begins there,
else at the next place where a commit says that a batch ends, or where an index slot leads. Memory holds a block of
the log, the indexes of one segment (10 MiB for the largest) and one batch, once its checksum has proved that its length
is true.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Final, NamedTuple

from msgspec import Struct

from storage.checksum import crc32c
from storage.errors import CorruptLog
from storage.files import Files
from storage.index import OFFSET_SLOT_BYTES, TIME_SLOT_BYTES, is_whole, offset_index_path, time_index_path
from storage.peek import End
from storage.positions import Kind, PositionEntry, PositionFile
from storage.records import (
    CRC_START,
    HEADER_BYTES,
    NO_TIMESTAMP_MS,
    Batch,
    BatchHeader,
    iter_values,
    read_header,
    records_of,
)
from storage.segment import log_path, source_path

BLOCK_BYTES: Final = 4 << 20

Progress = Callable[[int], None]
"""Told how many bytes of logs were read, as they are."""


class Problem(Struct, frozen=True):
    """One damaged place. `offset` is the first offset it concerns and `next_offset` the first behind, -1 if none is."""

    path: Path
    position: int
    offset: int
    what: str
    next_offset: int = -1
    effect: str = ""
    """What it means for consumers."""
    remedy: str = ""

    def __str__(self) -> str:
        return f"{self.path}, byte {self.position}, offset {self.offset}: {self.what}"


class Verification(Struct):
    """What was looked at and what was found; offsets and times are -1 where there are none."""

    segments: int = 0
    batches: int = 0
    records: int = 0
    size_bytes: int = 0
    first_offset: int = -1
    next_offset: int = -1
    first_timestamp_ms: int = NO_TIMESTAMP_MS
    max_timestamp_ms: int = NO_TIMESTAMP_MS
    problems: list[Problem] = []
    torn_offset: int = -1
    """What lies from here on was not flushed when the machine lost its power, and something of it is missing."""

    def add(self, part: Verification) -> None:
        """Count what was found in the segment that follows."""
        self.segments += part.segments
        self.batches += part.batches
        self.records += part.records
        self.size_bytes += part.size_bytes
        if self.first_offset < 0:
            self.first_offset = part.first_offset
        if self.first_timestamp_ms < 0:
            self.first_timestamp_ms = part.first_timestamp_ms
        self.next_offset = max(self.next_offset, part.next_offset)
        self.max_timestamp_ms = max(self.max_timestamp_ms, part.max_timestamp_ms)
        self.problems += part.problems


def walk_segment(
    files: Files, directory: Path, base_offset: int, end: End | None, progress: Progress, *, records: bool = True
) -> Verification:
    """Verify one segment of a log that ends at `end`, as it is found.

    Without `records` what lies inside of batches is left to their checksums.
    """
    try:
        return _SegmentWalk(files, directory, base_offset, end, progress, records=records).run()
    except OSError as error:
        return _unreadable(Path(error.filename or log_path(directory, base_offset)), base_offset, error)


# ---- what is found, in words ----

RESTORE: Final = "restore a backup of the data directory"
NOTHING_TO_DO: Final = "nothing; it is written anew when it is used"


def _unserved(path: Path, position: int, offset: int, next_offset: int, what: str) -> Problem:
    return Problem(
        path,
        position,
        offset,
        what,
        next_offset,
        f"offsets {offset} to {next_offset - 1} are never served: a consumer gets KAFKA_STORAGE_ERROR there, and one "
        f"that goes on from offset {next_offset} reads what follows",
        f"{RESTORE}, or have consumers seek to offset {next_offset}",
    )


def _unreadable(path: Path, base_offset: int, error: OSError) -> Verification:
    problem = Problem(
        path,
        0,
        base_offset,
        f"the file cannot be read ({error.strerror})",
        -1,
        f"consumers of the segment that begins at offset {base_offset} get KAFKA_STORAGE_ERROR",
        "look at the disk and at the file's owner and mode",
    )
    return Verification(segments=1, problems=[problem])


# ---- the walk ----


class Slot(NamedTuple):
    """A slot of both indexes, as it lies in the files."""

    number: int
    relative_offset: int
    position: int
    max_timestamp_ms: int
    is_whole: bool


class _SegmentWalk:
    """One walk over one segment, as far as it is committed."""

    def __init__(
        self, files: Files, directory: Path, base_offset: int, end: End | None, progress: Progress, *, records: bool
    ) -> None:
        self._files = files
        self._base_offset = base_offset
        self._path = log_path(directory, base_offset)
        self._end = end
        self._progress = progress
        self._records = records
        self._result = Verification(segments=1, first_offset=base_offset)
        self._slots: Iterator[Slot] = iter(())
        self._slot: Slot | None = None
        self._is_time_known = True

    def run(self) -> Verification:
        """Raises OSError: a file is missing, or the system refuses to read it."""
        end, result = self._end, self._result
        is_behind = end is None or self._base_offset > end.base_offset
        if is_behind:
            self._result = result = Verification()
        try:
            file = PositionFile.open(self._files, source_path(self._path), write=False)
        except CorruptLog as error:
            self._note_header(error, is_behind=is_behind)
            if not is_behind:
                self._walk_whole_file()
            return result
        with closing(file):
            if end is None or is_behind:
                self._note_entries(file, 0, file.count)
                return result
            stop, close = self._stop(file, end)
            if stop is None:
                self._walk_whole_file()
                return result
            result.next_offset = (close or stop[1]).end_offset
            self._walk(self._ends(file, stop[0]), stop[1].log_position)
            if self._base_offset == end.base_offset:
                self._note_entries(file, end.number + 1, file.count)
        return result

    def _stop(self, file: PositionFile, end: End) -> tuple[tuple[int, PositionEntry] | None, PositionEntry | None]:
        """The entry up to which the segment counts, and the one that says where the next begins."""
        if self._base_offset == end.base_offset:
            return (end.number, end.commit), end.close
        number = file.count - 1
        close = file.entry(number)
        if close is not None and close.kind is Kind.CLOSE:
            return (number, close), close
        position = file.start_of(max(0, number))
        self._add(
            Problem(
                file.path,
                position,
                self._base_offset,
                f"position entry {number} does not verify or is not the segment's end, which is missing",
                -1,
                "its records are served as far as they can be read; retention goes by the file's time",
                RESTORE,
            )
        )
        return None, None

    def _note_header(self, error: CorruptLog, *, is_behind: bool) -> None:
        effect = (
            "the next start sets the segment aside and captures again what the source still has"
            if is_behind
            else "its records are served as far as they can be read; retention goes by the file's time"
        )
        self._add(Problem(source_path(self._path), 0, self._base_offset, str(error), -1, effect, RESTORE))

    def _ends(self, file: PositionFile, last: int) -> Iterator[PositionEntry]:
        """The entries by which something is committed or closed; what does not verify is noted and passed."""
        offset = self._base_offset
        for number, entry in file.entries_forwards(0, last + 1):
            if entry is None:
                self._note_entry(file, number, offset)
                continue
            offset = entry.end_offset
            if entry.kind is not Kind.PART:
                yield entry

    def _note_entries(self, file: PositionFile, first: int, count: int) -> None:
        """What does not verify behind the last commit: one that was, or what somebody else wrote there."""
        for number, entry in file.entries_forwards(first, count):
            if entry is None:
                self._note_entry(file, number, max(self._base_offset, self._result.next_offset))

    def _note_entry(self, file: PositionFile, number: int, offset: int) -> None:
        what = f"position entry {number} does not verify"
        effect = "capture goes on from the commit before it, if a start has to; some records may be captured twice"
        position = file.start_of(number)
        self._add(Problem(file.path, position, offset, what, -1, effect, RESTORE))

    def _walk_whole_file(self) -> None:
        """As readers do where positions are lost: everything in the file counts."""
        with self._files.opened(self._path, write=False) as log:
            size = self._files.size(log)
        # No offset is known at the end, so it is taken from the last batch.
        everything = PositionEntry(
            Kind.CLOSE, -1, -1, size, 0, 0, 0, NO_TIMESTAMP_MS, 0, 0, 0, None,
        )  # fmt: skip
        self._walk(iter([everything]), size)

    def _walk(self, ends: Iterator[PositionEntry], size: int) -> None:
        with self._files.opened(self._path, write=False) as log:
            self._log = _Blocks(self._files, log, size)
            self._open_slots(size)
            position, offset = 0, self._base_offset
            for end in ends:
                while position < end.log_position:
                    start = position
                    position, offset = self._step(position, offset, end)
                    self._progress(position - start)
                if end.kind is Kind.COMMIT and position == end.log_position and offset != end.end_offset:
                    what = f"the batches up to here end at offset {offset} and the commit says {end.end_offset}"
                    self._add(_unserved(self._path, position, offset, max(offset, end.end_offset), what))
                    offset = end.end_offset
            self._check_slots(size, offset)
            self._result.next_offset = max(self._result.next_offset, offset)

    def _step(self, position: int, offset: int, end: PositionEntry) -> tuple[int, int]:
        """Judge the batch at `position`; where the next one begins, and its offset."""
        header, what = self._header(position, offset, end)
        if header is not None and not what:
            what = self._content(position, header)
        self._check_slots(position, offset)
        if header is None or what:
            return self._pass(position, offset, header, end, what)
        result = self._result
        result.batches += 1
        result.records += header.record_count
        result.size_bytes += header.size_bytes
        if result.first_timestamp_ms < 0:
            result.first_timestamp_ms = header.first_timestamp_ms
        result.max_timestamp_ms = max(result.max_timestamp_ms, header.max_timestamp_ms)
        return position + header.size_bytes, header.next_offset

    def _header(self, position: int, offset: int, end: PositionEntry) -> tuple[BatchHeader | None, str]:
        """The header at `position`, None if it leads nowhere, and what is wrong with it."""
        try:
            header = read_header(self._log.at(position, HEADER_BYTES))
        except CorruptLog as error:
            return None, f"no record batch begins here ({error})"
        if header.base_offset != offset or position + header.size_bytes > end.log_position:
            return None, f"a batch of offset {header.base_offset} and {header.size_bytes} bytes is out of place"
        return header, ""

    def _content(self, position: int, header: BatchHeader) -> str:
        """What is wrong with the bytes behind a header; nothing: empty."""
        if not self._matches(position, header):
            return "the record batch does not match its checksum"
        if not self._records:
            return ""
        view = self._log.at(position, header.size_bytes)
        try:
            return _wrong_record(Batch(header, 0, view))
        except CorruptLog as error:
            return str(error)

    def _matches(self, position: int, header: BatchHeader) -> bool:
        """By pieces: a length is believed only once the checksum is right."""
        end, crc = position + header.size_bytes, 0
        position += CRC_START
        while position < end:
            size = min(BLOCK_BYTES, end - position)
            piece = self._log.at(position, size)
            if piece.nbytes < size:
                return False
            crc = crc32c(piece, crc)
            position += size
        return crc == header.crc

    def _pass(
        self, position: int, offset: int, header: BatchHeader | None, end: PositionEntry, what: str
    ) -> tuple[int, int]:
        """Note a damaged batch and find where the walk goes on: where readers get by it, if there is such a place."""
        behind = self._led_by_header(position, header, end)
        if behind is None:
            committed = [(end.log_position, end.end_offset)] if end.kind is Kind.COMMIT else []
            behind = min([*committed, *self._led_by_index(position)], default=None)
        if behind is None:
            behind = end.log_position, max(offset + 1, self._result.next_offset)
        self._skip_slots(behind[0])
        self._add(_unserved(self._path, position, offset, behind[1], what))
        return behind

    def _led_by_header(self, position: int, header: BatchHeader | None, end: PositionEntry) -> tuple[int, int] | None:
        """Where the batch behind a damaged one begins, if its own header is right about that."""
        if header is None:
            return None
        behind = position + header.size_bytes
        if behind == end.log_position:
            is_right = end.kind is not Kind.COMMIT or end.end_offset == header.next_offset
            return (behind, header.next_offset) if is_right else None
        return (behind, header.next_offset) if self._is_batch(behind, header.next_offset) else None

    def _led_by_index(self, position: int) -> Iterator[tuple[int, int]]:
        """The first batch behind a position that an index leads to, if one does."""
        self._skip_slots(position + 1)
        slot = self._slot
        while slot is not None and slot.is_whole:
            offset = self._base_offset + slot.relative_offset
            if self._is_batch(slot.position, offset):
                yield slot.position, offset
                return
            self._skip_slots(slot.position + 1)
            slot = self._slot

    def _is_batch(self, position: int, offset: int) -> bool:
        try:
            header = read_header(self._log.at(position, HEADER_BYTES))
        except CorruptLog:
            return False
        return header.base_offset == offset and self._matches(position, header)

    # Indexes

    def _open_slots(self, size: int) -> None:
        try:
            parts = []
            for path in (offset_index_path(self._path), time_index_path(self._path)):
                with self._files.opened(path, write=False) as descriptor:
                    parts.append(self._files.read(descriptor, self._files.size(descriptor), 0))
        except FileNotFoundError as error:
            effect = "no record is lost; readers wait once while it is written anew"
            what = f"an index is missing ({error}); it is rebuilt when needed"
            self._add(Problem(self._path, 0, self._base_offset, what, -1, effect, NOTHING_TO_DO))
            return
        self._slots = iter_slots(parts[0], parts[1], size)
        self._slot = next(self._slots, None)

    def _check_slots(self, position: int, offset: int) -> None:
        """Hold the slot of the batch at `position`, if there is one, against the batches before it."""
        slot = self._slot
        if slot is None or (slot.is_whole and slot.position > position):
            return
        is_true = slot.is_whole and slot.position == position and slot.relative_offset == offset - self._base_offset
        if is_true and (slot.max_timestamp_ms == self._result.max_timestamp_ms or not self._is_time_known):
            self._slot = next(self._slots, None)
            return
        path, at = offset_index_path(self._path), slot.number * OFFSET_SLOT_BYTES
        what = f"index slot {slot.number} does not verify; the indexes are rebuilt when needed"
        effect = "no record is lost; readers wait once while it is written anew"
        self._add(Problem(path, at, -1, what, -1, effect, NOTHING_TO_DO))
        self._slot, self._slots = None, iter(())

    def _skip_slots(self, position: int) -> None:
        """Pass the slots of batches that could not be read."""
        self._is_time_known = False
        while self._slot is not None and self._slot.is_whole and self._slot.position < position:
            self._slot = next(self._slots, None)

    def _add(self, problem: Problem) -> None:
        self._result.problems.append(problem)


class _Blocks:
    """The first bytes of a file, read in large blocks."""

    def __init__(self, files: Files, descriptor: int, size: int) -> None:
        self._files = files
        self._descriptor = descriptor
        self._size = size
        self._start = 0
        self._block = b""

    def at(self, position: int, size: int) -> memoryview:
        """`size` bytes at `position`, fewer at the end; more than a block is read on its own."""
        end = min(position + size, self._size)
        if position < self._start or end > self._start + len(self._block):
            wanted = min(max(size, BLOCK_BYTES), max(0, self._size - position))
            self._start, self._block = position, b""
            self._block = self._files.read(self._descriptor, wanted, position)
        start = position - self._start
        return memoryview(self._block)[start : start + max(0, end - position)]


def iter_slots(offsets: bytes, times: bytes, size: int) -> Iterator[Slot]:
    """The slots of batches before `size`; the first that is empty, or lies behind, ends them."""
    for number in range(len(offsets) // OFFSET_SLOT_BYTES):
        slot = offsets[number * OFFSET_SLOT_BYTES : (number + 1) * OFFSET_SLOT_BYTES]
        relative_offset, position = int.from_bytes(slot[:4], "big"), int.from_bytes(slot[4:], "big")
        if not any(slot) or position >= size:
            return
        time = times[number * TIME_SLOT_BYTES : (number + 1) * TIME_SLOT_BYTES]
        time_ms = int.from_bytes(time[:8], "big", signed=True)
        yield Slot(number, relative_offset, position, time_ms, is_whole(slot, time))


def _wrong_record(batch: Batch) -> str:
    """What is wrong with the records of a batch whose checksum is right; nothing: empty.

    Raises:
        CorruptLog: they cannot be read.
    """
    header, _, view = batch
    expected, max_timestamp_ms = header.base_offset, NO_TIMESTAMP_MS
    # Reading bytes is faster; of a large batch, views of it spare two copies.
    is_large = view.nbytes > BLOCK_BYTES and not header.compression
    records = view[HEADER_BYTES:] if is_large else records_of(batch)
    for offset, timestamp_ms, _, _ in iter_values(header, records):
        if offset != expected:
            return f"the record at offset {expected} says that it is {offset}"
        expected += 1
        max_timestamp_ms = max(max_timestamp_ms, timestamp_ms)
    if expected != header.next_offset or max_timestamp_ms != header.max_timestamp_ms:
        return (
            f"the header says offsets up to {header.next_offset} and times up to {header.max_timestamp_ms} where the "
            f"records end at {expected} and {max_timestamp_ms}"
        )
    return ""
