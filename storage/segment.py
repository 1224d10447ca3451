"""The reading side of one segment: from an offset or a time to a batch, from a batch to a range of bytes.

    <base offset, 20 digits>.log         record batches, one behind the other, offsets without gaps (storage.records)
                           .index .timeindex                                                        (storage.index)
                           .source       what of it is visible, and where the source stood       (storage.positions)

Invariants: batches lie from byte 0 to `written_bytes`; those up to `visible.size_bytes` are served and never change.
The file may be longer: behind the written bytes lie zeros, or what was rolled back. A segment that is closed keeps
nothing open and is looked into when asked: an open log costs a name per closed segment.

Everything read is checked as far as it steers: a batch must begin where the one before ended and carry the offset
that follows, else `CorruptLog` names file and position. Payload checksums are `storage.verify`'s.

What the broker asks (`locate`, `range_from`, `find_timestamp`, `first_timestamp_ms`) waits for no disk once the
segment has its `cold` reads: `NotResident` comes before a page is touched that is not in memory. The rest, and the
repair of what is damaged, reads where it stands.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from itertools import count
from pathlib import Path
from typing import Final, NamedTuple

from storage.cold import CHUNK_BYTES, ColdReads
from storage.errors import CorruptLog
from storage.files import Files
from storage.index import IndexReader, IndexWriter, Slot, offset_index_path, remove_index, time_index_path
from storage.log import LogSlice
from storage.mapping import MappedFile
from storage.positions import Kind, PositionFile
from storage.records import HEADER_BYTES, LENGTH_PREFIX_BYTES, NO_TIMESTAMP_MS, Batch, iter_times, read_header

_STEP: Final = struct.Struct(">qi11xi8xq")
"""What walking needs of a batch header: base_offset, batch_length, last_offset_delta, max_timestamp."""
BOUNDARIES_MAX: Final = 128
_SOURCE_HEAD_BYTES: Final = 64 * 1024
"""More than the header of a `.source` takes with all but the longest GTID sets."""
_numbers: Final = count()

Require = Callable[[int, int], None]
"""Returns if a range of the `.log` may be touched, else raises `NotResident`."""


class Extent(NamedTuple):
    """How far a segment reaches: bytes, the offset behind them, the greatest timestamp (-1 none), the last append."""

    size_bytes: int
    end_offset: int
    max_timestamp_ms: int
    append_ms: int


class Step(NamedTuple):
    """A batch met while walking."""

    position: int
    base_offset: int
    next_offset: int
    next_position: int
    max_timestamp_ms: int


def log_path(directory: Path, base_offset: int) -> Path:
    """The `.log` of the segment at `base_offset`."""
    return directory / f"{base_offset:020d}.log"


def source_path(path: Path) -> Path:
    """The `.source` beside a `.log`."""
    return path.with_suffix(".source")


def segment_paths(path: Path) -> tuple[Path, ...]:
    """The files of a segment in the order they go: without its `.source` a segment does not exist."""
    return source_path(path), offset_index_path(path), time_index_path(path), path


class Segment:
    """One segment as readers see it. The appender that writes it moves `visible` and `written_bytes`."""

    def __init__(self, files: Files, directory: Path, base_offset: int, index_interval_bytes: int) -> None:
        self.base_offset = base_offset
        self.path = log_path(directory, base_offset)
        self.index = IndexReader(files, self.path)
        self.index_writer: IndexWriter | None = None
        """The appender's, while there is one."""
        self._number = next(_numbers)
        self.cold: ColdReads | None = None
        """Reads what is not in memory; without it readers wait for the disk."""
        self.written_bytes = 0
        self._boundaries: dict[int, int] = {}
        """Offset to position where recent commits began: where readers at the end of the log ask."""
        self._served: dict[int, int] = {}
        """The same where ranges ended that were served lately: where their readers go on."""
        self._files = files
        self._log = MappedFile(files, self.path)
        self._visible: Extent | None = None
        self._earlier_max_timestamp_ms = NO_TIMESTAMP_MS
        self._index_interval_bytes = index_interval_bytes

    @property
    def visible(self) -> Extent:
        """What may be served; of a closed segment read from its `.source` at first use."""
        return self._visible or self._load()

    @property
    def log_max_timestamp_ms(self) -> int:
        """The greatest timestamp of the log up to the end of this segment, deleted segments included."""
        own = self.visible.max_timestamp_ms
        return max(own, self._earlier_max_timestamp_ms)

    def publish(self, extent: Extent) -> None:
        """Serve the segment up to here; less than before only when a flush failed."""
        before = self._visible
        boundaries = self._boundaries
        if before is None or extent.size_bytes < before.size_bytes:
            boundaries.clear()
            self._served.clear()
        else:
            _note(boundaries, before.end_offset, before.size_bytes)
        self._visible = extent

    def begin(self, extent: Extent, earlier_max_timestamp_ms: int) -> None:
        """Take the state of a segment as it is found or begun; what was published of it before stands."""
        self._visible = self._visible or extent
        self.written_bytes = extent.size_bytes
        self._earlier_max_timestamp_ms = earlier_max_timestamp_ms

    def forget(self) -> None:
        """Let go of the mappings; those who hold slices keep theirs."""
        self._log.forget()
        self.index.forget()

    def locate(self, offset: int) -> int:
        """The position of the visible batch that holds `offset` or is the first behind it; the end if there is none."""
        extent = self.visible
        if offset >= extent.end_offset:
            return extent.size_bytes
        position = self._boundaries.get(offset, self._served.get(offset))
        if position is not None:
            return position
        self._require_size(extent.size_bytes)
        slot = self._checked(self.index.before_offset, max(0, offset - self.base_offset), self._require)
        for step in self._walk_from(slot.position, require=self._require):
            if step.next_offset > offset:
                return step.position
        return extent.size_bytes

    def range_from(self, position: int, max_bytes: int, *, at_least_one: bool) -> LogSlice:
        """Whole visible batches from the one at `position` on, at most `max_bytes`, or one if that is asked."""
        size = self.visible.size_bytes
        view = self._log.covering(size)
        cold = self.cold
        limit = min(position + max_bytes, size)
        reach = limit
        if cold is not None:
            mapping = self._log.mapping_of(size)
            cold.require_size(mapping, limit)
            reach = position + cold.servable_bytes(mapping, position, limit)
        end = reach if reach >= size else self._end_of_range(position, reach, None if at_least_one else limit)
        if cold is None:
            return LogSlice(view[position:end])
        if end < size and position // CHUNK_BYTES < end // CHUNK_BYTES:
            cold.read_ahead(mapping, end, size)

        def require(start: int, stop: int) -> None:
            cold.require_size(mapping, position + stop)
            cold.require(mapping, position + start, position + stop)

        return LogSlice(view[position:end], require)

    def _end_of_range(self, position: int, reach: int, limit: int | None) -> int:
        """Where the last whole batch before `reach` ends; if there is none the first one, unless beyond `limit`.

        From `position` to `reach` everything may be touched.
        """

        def require(start: int, stop: int) -> None:
            if start < position or stop > reach:
                self._require(start, stop)

        first = next(self._walk_from(position, require=require))
        if first.next_position > reach:
            return self._end_of_first(first, reach, limit)
        slot = self._checked(self.index.before_position, reach, require)
        for step in self._walk_from(max(slot.position, position), require=require):
            if step.next_position > reach:
                _note(self._served, step.base_offset, step.position)
                return step.position
        return position

    def _end_of_first(self, first: Step, reach: int, limit: int | None) -> int:
        """Where the batch ends, seen to be there behind `reach`; where it begins if it goes beyond `limit`."""
        if limit is not None and first.next_position > limit:
            return first.position
        self._require_size(first.next_position)
        self._require(reach, first.next_position)
        _note(self._served, first.next_offset, first.next_position)
        return first.next_position

    def find_timestamp(self, timestamp_ms: int) -> tuple[int, int] | None:
        """Offset and timestamp of the first visible record at or after a time."""
        extent = self.visible
        if not extent.size_bytes or extent.max_timestamp_ms < timestamp_ms:
            return None
        self._require_size(extent.size_bytes)
        slot = self._checked(self.index.before_time, timestamp_ms, self._require)
        for step in self._walk_from(slot.position, require=self._require):
            if step.max_timestamp_ms >= timestamp_ms:
                self._require(step.position, step.next_position)
                for offset, time_ms in iter_times(self._batch(step.position)):
                    if time_ms >= timestamp_ms:
                        return offset, time_ms
        return None

    def first_timestamp_ms(self) -> int | None:
        """The timestamp of the first visible record."""
        size = self.visible.size_bytes
        if not size:
            return None
        self._require(0, HEADER_BYTES)
        return read_header(self._log.covering(size), 0).first_timestamp_ms

    def last_timestamp_ms(self, *, may_wait: bool) -> int | None:
        """The timestamp of the last visible record; reads one batch."""
        extent = self.visible
        if not extent.size_bytes:
            return None
        require = _touch if may_wait else self._require
        slot = self._checked(self.index.before_position, extent.size_bytes - 1, require)
        *_, last = (step.position for step in self._walk_from(slot.position, require=require))
        require(last, extent.size_bytes)
        return [time_ms for _, time_ms in iter_times(self._batch(last))][-1]

    def require_visible(self) -> None:
        """Return if `visible` is known or may be looked up here; else raise as `LogSlice.require` does."""
        if self._visible is None and self.cold is not None:
            self.cold.require_work(self._number, str(self.path), self._warm)

    def check_index(self) -> None:
        """Look at every slot of both indexes, as is needed after a loss of power: any page of them may be missing."""
        writer = self._reopen_index(check_all=True)
        writer.trim()
        writer.close()

    def reopen_index(self, capacity_bytes: int) -> IndexWriter:
        """A writer that goes on behind the slots of the written bytes. A killed process can spoil the last one only."""
        writer = self._reopen_index(check_all=False)
        try:
            writer.trim()
            writer.reserve(capacity_bytes)
        except BaseException:
            writer.close()
            raise
        return writer

    def _reopen_index(self, *, check_all: bool) -> IndexWriter:
        assert self.visible.size_bytes == self.written_bytes
        try:
            kept = self.index.count_slots(self.written_bytes)
            writer = IndexWriter(self._files, self.path, self._index_interval_bytes, create=False)
        except OSError:
            kept = 0
            remove_index(self._files, self.path)
            writer = IndexWriter(self._files, self.path, self._index_interval_bytes, create=True)
        self.index.count = kept
        if check_all:
            kept = self.index.count_verified()
        if not self._is_true(self.index.slot(kept - 1), _touch) or not self.index.verifies(kept - 1):
            kept = 0
        self.complete_index(writer, kept)
        return writer

    def rebuild_index(self) -> None:
        """Write both indexes anew from the log."""
        writer = self.index_writer
        if writer is not None:
            self.complete_index(writer, 0)
            return
        remove_index(self._files, self.path)
        writer = IndexWriter(self._files, self.path, self._index_interval_bytes, create=True)
        try:
            self.complete_index(writer, 0)
        finally:
            writer.close()

    def complete_index(self, writer: IndexWriter, kept: int) -> None:
        """Let `writer` keep the first `kept` slots and enter what follows them in the log.

        What lies behind a damaged batch stays without slots: its readers come by the damage and stop there.
        """
        slot, earlier_max_timestamp_ms = self.index.slot_and_time(kept - 1)
        writer.keep(kept, slot.position)
        try:
            for step in self._walk_from(slot.position, self.written_bytes):
                if writer.is_due(step.position):
                    writer.enter(step.base_offset - self.base_offset, step.position, earlier_max_timestamp_ms)
                earlier_max_timestamp_ms = max(earlier_max_timestamp_ms, step.max_timestamp_ms)
        except CorruptLog:
            pass
        self.index.forget()
        self.index.count = writer.count

    def _require(self, start: int, end: int) -> None:
        """Return if a range of the log may be touched here; else raise as `LogSlice.require` does."""
        if self.cold is not None:
            mapping = self._log.mapping_of(self.visible.size_bytes)
            self.cold.require(mapping, start, min(end, mapping.view.nbytes))

    def _require_size(self, size: int) -> None:
        if self.cold is not None:
            self.cold.require_size(self._log.mapping_of(size), size)

    def _require_index(self) -> None:
        if self.cold is not None:
            for file, size in self.index.pages():
                if size:
                    mapping = file.mapping_of(size)
                    self.cold.require(mapping, 0, min(size, mapping.view.nbytes))

    def _warm(self) -> None:
        """Read what looking into a closed segment touches. Runs in a thread: it leaves its traces in the page cache."""
        source, *indexes, log = segment_paths(self.path)
        parts = [(source, _SOURCE_HEAD_BYTES), *((path, None) for path in indexes), (log, HEADER_BYTES)]
        for path, head_bytes in parts:
            with suppress(FileNotFoundError), self._files.opened(path, write=False) as descriptor:
                size = self._files.size(descriptor)
                self._files.read(descriptor, size if head_bytes is None else min(size, head_bytes), 0)
                self._files.read(descriptor, min(size, mmap.PAGESIZE), max(size - mmap.PAGESIZE, 0))

    def _checked(self, lookup: Callable[[int], Slot], argument: int, require: Require) -> Slot:
        """What an index says, once it was seen to be true; an index that errs is rebuilt."""
        try:
            if require is not _touch:
                self._require_index()
            slot = lookup(argument)
            if self._is_true(slot, require):
                return slot
        except (CorruptLog, OSError):
            pass
        self.rebuild_index()
        return lookup(argument)

    def _is_true(self, slot: Slot, require: Require) -> bool:
        size = self.visible.size_bytes
        if slot.position == 0 or slot.position >= size:
            return slot.position == 0 or slot.position < self.written_bytes
        if slot.position + HEADER_BYTES > size:
            return False
        require(slot.position, slot.position + HEADER_BYTES)
        base_offset: int = _STEP.unpack_from(self._log.covering(size), slot.position)[0]
        return base_offset == self.base_offset + slot.relative_offset

    def _walk_from(self, position: int, size: int | None = None, *, require: Require | None = None) -> Iterator[Step]:
        size = self.visible.size_bytes if size is None else size
        view = self._log.covering(size)
        if view.nbytes < size:
            raise CorruptLog(f"{self.path} has {view.nbytes} bytes where {size} were written")
        expected = self.base_offset if position == 0 else None
        required = 0 if require is not None else size
        while position < size:
            header_end = position + HEADER_BYTES
            if header_end > size:
                raise self._corrupt(position)
            if header_end > required and require is not None:
                require(position, header_end)
                required = -(-header_end // mmap.PAGESIZE) * mmap.PAGESIZE
            base_offset, length, last_offset_delta, max_timestamp_ms = _STEP.unpack_from(view, position)
            next_position = position + LENGTH_PREFIX_BYTES + length
            is_batch = length >= HEADER_BYTES - LENGTH_PREFIX_BYTES and last_offset_delta >= 0
            if not is_batch or next_position > size or expected not in {None, base_offset}:
                raise self._corrupt(position)
            expected = base_offset + last_offset_delta + 1
            yield Step(position, base_offset, expected, next_position, max_timestamp_ms)
            position = next_position

    def _batch(self, position: int) -> Batch:
        view = self._log.covering(self.visible.size_bytes)
        header = read_header(view, position)
        return Batch(header, position, view[position : position + header.size_bytes])

    def _corrupt(self, position: int) -> CorruptLog:
        return CorruptLog(f"{self.path} is damaged at byte {position}: no record batch begins there")

    def _load(self) -> Extent:
        """Look into a closed segment for the first time."""
        try:
            with closing(PositionFile.open(self._files, source_path(self.path), write=False)) as file:
                close = file.entry(file.count - 1)
        except CorruptLog:
            close = None
        if close is not None and close.kind is Kind.CLOSE:
            self._earlier_max_timestamp_ms = file.header.earlier_max_timestamp_ms
            extent = Extent(close.log_position, close.end_offset, close.max_timestamp_ms, close.append_ms)
        else:
            extent = self._measured()
        self.begin(extent, self._earlier_max_timestamp_ms)
        try:
            self.index.count_slots(extent.size_bytes)
        except OSError:
            self.rebuild_index()
        return extent

    def _measured(self) -> Extent:
        """The extent of a closed segment whose `.source` is lost: the whole file is batches, or it is damaged."""
        with self._files.opened(self.path, write=False) as descriptor:
            size = self._files.size(descriptor)
        end_offset, max_timestamp_ms = self.base_offset, NO_TIMESTAMP_MS
        for step in self._walk_from(0, size):
            end_offset, max_timestamp_ms = step.next_offset, max(max_timestamp_ms, step.max_timestamp_ms)
        append_ms = int(self.path.stat().st_mtime * 1000)
        return Extent(size, end_offset, max_timestamp_ms, append_ms)


def _note(positions: dict[int, int], offset: int, position: int) -> None:
    """Keep the position of an offset, and forget the oldest one."""
    positions[offset] = position
    if len(positions) > BOUNDARIES_MAX:
        del positions[next(iter(positions))]


def _touch(start: int, end: int) -> None:
    """Touch a range as it is, and wait for the disk if it comes to that."""
