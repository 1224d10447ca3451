"""The reading side of one segment: from an offset or a time to a batch, from a batch to a range of bytes.

    <base offset, 20 digits>.log         record batches, one behind the other, offsets without gaps (storage.records)
                           .index .timeindex                                                        (storage.index)
                           .source       what of it is visible, and where the source stood       (storage.positions)

Invariants: batches lie from byte 0 to `written_bytes`; those up to `visible.size_bytes` are served and never change.
The file may be longer: behind the written bytes lie zeros, or what was rolled back. A segment that is closed keeps
nothing open and is looked into when asked: an open log costs a name per closed segment.

Everything read is checked as far as it steers: a batch must begin where the one before ended and carry the offset
that follows; and what is served or decides a lookup by time matches its checksum (`storage.verified`). Else
`CorruptLog` names file and byte, and what comes before the damage is served.

What the broker asks (`locate`, `range_from`, `find_timestamp`, `first_timestamp_ms`) waits for no disk once the
segment has its `cold` reads: `NotResident` comes before a page is touched that is not in memory, before a damaged index
of a closed segment is written anew, and before a large batch is verified. Only the repair of the active segment's
index reads where it stands.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Final, NamedTuple

from storage import closed_segment
from storage.closed_segment import Step, is_step, no_batch, step_at
from storage.cold import CHUNK_BYTES, ColdReads, WorkKind
from storage.errors import CorruptLog
from storage.files import Files
from storage.index import DamagedIndex, IndexReader, IndexWriter, Slot, offset_index_path, remove_index, time_index_path
from storage.log import LogSlice, NotResident
from storage.mapping import MappedFile, Mapping
from storage.records import HEADER_BYTES, NO_TIMESTAMP_MS, Batch, iter_times, read_header
from storage.verified import VerifiedRanges, verify_batches, verify_by_reading

BOUNDARIES_MAX: Final = 128
_numbers: Final = count()

Require = Callable[[int, int], None]
"""Returns if a range of the `.log` may be touched, else raises `NotResident`."""


class Extent(NamedTuple):
    """How far a segment reaches: bytes, the offset behind them, the greatest timestamp (-1 none), the last append."""

    size_bytes: int
    end_offset: int
    max_timestamp_ms: int
    append_ms: int


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
        self.next_base_offset: int | None = None
        """Where the segment behind this one begins, if there is one."""
        self._verified = VerifiedRanges()
        self._found: closed_segment.Found | None = None
        """What a thread found when it looked into the closed segment."""
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
            self._verified.forget_from(extent.size_bytes)
        else:
            _note(boundaries, before.end_offset, before.size_bytes)
            self._verified.add(before.size_bytes, extent.size_bytes, extent.end_offset)
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
        if position is not None and self._begins(position, offset):
            return position
        self._require_size(extent.size_bytes)
        position = 0
        try:
            position = self._checked(
                self.index.before_offset, max(0, offset - self.base_offset), self._require
            ).position
            for step in self._walk_from(position, require=self._require):
                if step.next_offset > offset:
                    return step.position
                position = step.next_position
        except CorruptLog:
            behind = self._locate_behind_damage(position, offset)
            if behind is None:
                raise
            return behind
        return extent.size_bytes

    def _locate_behind_damage(self, position: int, offset: int) -> int | None:
        """`locate` from the first commit behind damage at `position`; None if the offset lies before that."""
        begin = closed_segment.boundary_behind(self._files, self.path, position, self.visible.size_bytes)
        if begin is None or begin.offset > offset:
            return None
        for step in self._walk_from(begin.position, require=self._require):
            if step.next_offset > offset:
                return step.position
        return None

    def range_from(self, position: int, max_bytes: int, *, at_least_one: bool) -> LogSlice:
        """Whole visible batches from the one at `position` on, at most `max_bytes`, or one if that is asked."""
        size = self.visible.size_bytes
        view = self._log.covering(size)
        cold = self.cold
        limit = min(position + max_bytes, size)
        reach = limit
        mapping = self._log.mapping_of(size)
        if cold is not None:
            try:
                cold.require_size(mapping, limit)
                reach = position + cold.servable_bytes(mapping, position, limit)
            except NotResident:
                self._forget_from(position)
                raise
        end = reach if reach >= size else self._end_of_range(position, reach, None if at_least_one else limit)
        end = self._verified_end(mapping, position, end)
        if cold is None:
            return LogSlice(view[position:end])
        if end < size and position // CHUNK_BYTES < end // CHUNK_BYTES and cold.read_ahead(mapping, end, size):
            self._verified.forget_from(end)

        def require(start: int, stop: int) -> None:
            cold.require_size(mapping, position + stop)
            self._require_mapped(mapping, position + start, position + stop)
            self._verify_again(mapping, position, position + start, position + stop)

        return LogSlice(view[position:end], require)

    def _begins(self, position: int, offset: int) -> bool:
        """Whether the batch at `position` says that it has `offset` first; no checksum covers that."""
        self._require(position, position + HEADER_BYTES)
        view = self._log.covering(self.visible.size_bytes)
        return view.nbytes >= position + HEADER_BYTES and step_at(view, position, position).base_offset == offset

    def _require_mapped(self, mapping: Mapping, start: int, end: int) -> None:
        """`_require` for the mapping that a slice holds."""
        if self.cold is not None:
            try:
                self.cold.require(mapping, start, end)
            except NotResident:
                self._forget_from(start)
                raise

    def _forget_from(self, position: int) -> None:
        """What the system took out of memory may come back from the medium as something else."""
        self._verified.forget_from(position)
        self._boundaries.clear()
        self._served.clear()

    def _verified_end(self, mapping: Mapping, position: int, end: int) -> int:
        """How far up to `end` the batches from `position` on may be served: all are whole, and seen to be.

        Raises:
            CorruptLog: the first is damaged.
            NotResident: the first is large and not verified yet.
        """
        verified = self._verified
        reached, next_offset = start, expected = verified.reach(position)
        if reached < end:
            try:
                reached, next_offset = verify_batches(mapping.view, self.path, start, end, expected)
            except CorruptLog:
                if start == position:
                    raise
            if reached == position < end:
                reached, next_offset = self._verify_large(mapping, position)
            if next_offset is not None:
                verified.add(start, reached, next_offset)
        return min(reached, end)

    def _verify_large(self, mapping: Mapping, position: int) -> tuple[int, int]:
        """The end of a batch that is too large to be verified between two other things, and the offset behind it."""
        header = read_header(mapping.view, position)
        end = position + header.size_bytes

        def verify() -> None:
            verify_by_reading(mapping.files, mapping.descriptor, self.path, position, end)

        if self.cold is None:
            verify()
        else:
            self.cold.require_work(WorkKind.VERIFY, self._number, position, str(self.path), verify)
        return end, header.next_offset

    def _verify_again(self, mapping: Mapping, position: int, start: int, end: int) -> None:
        """Verify the batches that lie between `start` and `end`, of a slice that begins at `position`, if they left
        memory since they were.
        """
        while position < end and self._verified.reach(max(position, start))[0] < end:
            self._require_mapped(mapping, position, position + HEADER_BYTES)
            next_position = position + read_header(mapping.view, position).size_bytes
            if next_position > start:
                self._require_mapped(mapping, position, next_position)
                self._verified_end(mapping, position, next_position)
            position = next_position

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
        end = max(slot.position, position)
        try:
            for step in self._walk_from(end, require=require):
                if step.next_position > reach:
                    _note(self._served, step.base_offset, step.position)
                    return step.position
                end = step.next_position
        except CorruptLog:
            # What comes before the damage is served; the next to ask comes by it.
            if end == position:
                raise
        return end

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
            # A time that was changed in a header would send the reader past records that it asked for.
            self._require(step.position, step.next_position)
            self._verified_end(self._log.mapping_of(extent.size_bytes), step.position, step.next_position)
            if step.max_timestamp_ms >= timestamp_ms:
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
            self.cold.require_work(WorkKind.LOOK_INTO, self._number, 0, str(self.path), self._look_into_cold)

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
        if self.index_writer is not None:
            self.complete_index(self.index_writer, 0)
            return
        size_bytes = self.visible.size_bytes

        def rebuild() -> None:
            closed_segment.rebuild_index(
                self._files, self.path, self.base_offset, size_bytes, self._index_interval_bytes
            )

        if self.cold is None:
            rebuild()
        else:
            self.cold.require_work(WorkKind.REBUILD_INDEX, self._number, 0, str(self.path), rebuild)
        self.index.forget()
        self.index.count_slots(size_bytes)

    def complete_index(self, writer: IndexWriter, kept: int) -> None:
        """Let `writer` keep the first `kept` slots and enter what follows them in the log.

        What lies between damage and the next commit stays without slots, as in `closed_segment.rebuild_index`.
        """
        slot, earlier_max_timestamp_ms = self.index.slot_and_time(kept - 1)
        writer.keep(kept, slot.position)
        position: int | None = slot.position
        while position is not None:
            try:
                for step in self._walk_from(position, self.written_bytes):
                    if writer.is_due(step.position):
                        writer.enter(step.base_offset - self.base_offset, step.position, earlier_max_timestamp_ms)
                    earlier_max_timestamp_ms = max(earlier_max_timestamp_ms, step.max_timestamp_ms)
                    position = step.next_position
                break
            except CorruptLog:
                begin = closed_segment.boundary_behind(self._files, self.path, position, self.written_bytes)
                position = begin.position if begin is not None else None
        self.index.forget()
        self.index.count = writer.count

    def _require(self, start: int, end: int) -> None:
        """Return if a range of the log may be touched here; else raise as `LogSlice.require` does."""
        if self.cold is not None:
            mapping = self._log.mapping_of(self.visible.size_bytes)
            self._require_mapped(mapping, start, min(end, mapping.view.nbytes))

    def _require_size(self, size: int) -> None:
        if self.cold is not None:
            self.cold.require_size(self._log.mapping_of(size), size)

    def _require_index(self) -> None:
        if self.cold is not None:
            for file, size in self.index.pages():
                if size:
                    mapping = file.mapping_of(size)
                    self.cold.require(mapping, 0, min(size, mapping.view.nbytes))

    def _look_into_cold(self) -> None:
        """Look into a closed segment in a thread, and leave in memory what its first reader touches."""
        self._look_into()
        closed_segment.warm(self._files, self.path)

    def _look_into(self) -> None:
        self._found = closed_segment.look_into(
            self._files, self.path, self.base_offset, self.next_base_offset, self._index_interval_bytes
        )

    def _checked(self, lookup: Callable[[int], Slot], argument: int, require: Require) -> Slot:
        """What an index says, once it was seen to be true; an index that errs is rebuilt."""
        try:
            if require is not _touch:
                self._require_index()
            slot = lookup(argument)
            if self._is_true(slot, require):
                return slot
            if self._leads_to(slot, require):
                raise no_batch(self.path, slot.position)
        except (DamagedIndex, OSError):
            pass
        self.rebuild_index()
        return lookup(argument)

    def _leads_to(self, slot: Slot, require: Require) -> bool:
        """Whether the batches before a slot lead to it: then it is the log that errs there, and not the index."""
        step = None
        try:
            for step in self._walk_from(self.index.before_position(slot.position - 1).position, require=require):
                if step.next_position >= slot.position:
                    break
        except CorruptLog:
            return False
        found = (step.next_position, step.next_offset) if step is not None else None
        return found == (slot.position, self.base_offset + slot.relative_offset)

    def _is_true(self, slot: Slot, require: Require) -> bool:
        size = self.visible.size_bytes
        if slot.position == 0 or slot.position >= size:
            return slot.position == 0 or slot.position < self.written_bytes
        if slot.position + HEADER_BYTES > size:
            return False
        require(slot.position, slot.position + HEADER_BYTES)
        step = step_at(self._log.covering(size), slot.position, slot.position)
        return step.base_offset == self.base_offset + slot.relative_offset

    def _walk_from(self, position: int, size: int | None = None, *, require: Require | None = None) -> Iterator[Step]:
        size = self.visible.size_bytes if size is None else size
        view = self._log.covering(size)
        if view.nbytes < size:
            raise CorruptLog(f"{self.path} has {view.nbytes} bytes where {size} were written; restore the file")
        expected = self.base_offset if position == 0 else None
        required = 0 if require is not None else size
        while position < size:
            header_end = position + HEADER_BYTES
            if header_end > size:
                raise no_batch(self.path, position)
            if header_end > required and require is not None:
                require(position, header_end)
                required = -(-header_end // mmap.PAGESIZE) * mmap.PAGESIZE
            step = step_at(view, position, position)
            if not is_step(step) or step.next_position > size or expected not in {None, step.base_offset}:
                raise no_batch(self.path, position)
            expected = step.next_offset
            yield step
            position = step.next_position

    def _batch(self, position: int) -> Batch:
        view = self._log.covering(self.visible.size_bytes)
        header = read_header(view, position)
        return Batch(header, position, view[position : position + header.size_bytes])

    def _load(self) -> Extent:
        """Look into a closed segment for the first time."""
        if self._found is None:
            self._look_into()
        found = self._found
        assert found is not None
        extent = Extent(*found[:4])
        self.begin(extent, found.earlier_max_timestamp_ms)
        self.index.count_slots(extent.size_bytes)
        return extent


def _note(positions: dict[int, int], offset: int, position: int) -> None:
    """Keep the position of an offset, and forget the oldest one."""
    positions[offset] = position
    if len(positions) > BOUNDARIES_MAX:
        del positions[next(iter(positions))]


def _touch(start: int, end: int) -> None:
    """Touch a range as it is, and wait for the disk if it comes to that."""
