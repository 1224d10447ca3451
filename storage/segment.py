"""The reading side of one segment: from an offset or a time to a batch, from a batch to a range of bytes.

    <base offset, 20 digits>.log         record batches, one behind the other, offsets without gaps (storage.records)
                           .index .timeindex                                                        (storage.index)
                           .source       what of it is visible, and where the source stood       (storage.positions)

Invariants: batches lie from byte 0 to `written_bytes`; those up to `visible.size_bytes` are served and never change.
The file may be longer: behind the written bytes lie zeros, or what was rolled back. A segment that is closed keeps
nothing open and is looked into when asked: an open log costs a name per closed segment.

Everything read is checked as far as it steers: a batch must begin where the one before ended and carry the offset
that follows; and what is served or decides a lookup by time matches its checksum. Else `CorruptLog` names file and
byte, and what comes before the damage is served. Touching the bytes is `storage.segment_bytes`', the indexes are
`storage.segment_index`'s.

What the broker asks (`locate`, `read`, `find_timestamp`, `first_timestamp_ms`) waits for no disk once the
segment has its `cold` reads: `NotResident` comes before a page is touched that is not in memory, before a damaged index
of a closed segment is written anew, and before a large batch is verified. Only what happens to damage itself reads
where it stands: the way around it, and the repair of the active segment's index.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from storage import closed_segment
from storage.closed_segment import Step
from storage.cold import CHUNK_BYTES, ColdReads, WorkKind
from storage.errors import CorruptLog
from storage.files import Files
from storage.index import offset_index_path, time_index_path
from storage.log import LogSlice
from storage.records import HEADER_BYTES, NO_TIMESTAMP_MS, first_at_or_after, iter_times, read_header
from storage.segment_bytes import SegmentBytes, touch
from storage.segment_index import SegmentIndex

if TYPE_CHECKING:
    from storage.mapping import Mapping
    from storage.segment_bytes import Asked


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


def filter_path(path: Path) -> Path:
    """The `.filter` beside a `.log`, which searches may have made (storage.search_filter)."""
    return path.with_suffix(".filter")


def segment_paths(path: Path) -> tuple[Path, ...]:
    """The files of a segment in the order they go: without its `.source` a segment does not exist."""
    return source_path(path), offset_index_path(path), time_index_path(path), path


class Segment:
    """One segment as readers see it. The appender that writes it moves `visible`."""

    def __init__(self, files: Files, directory: Path, base_offset: int, index_interval_bytes: int) -> None:
        self.base_offset = base_offset
        self.next_base_offset: int | None = None
        """Where the segment behind this one begins, if there is one."""
        self._files = files
        self._directory = directory
        self._index_interval_bytes = index_interval_bytes
        self._cold: ColdReads | None = None
        self._visible: Extent | None = None
        self._occupied_bytes: int | None = None
        self._earlier_max_timestamp_ms = NO_TIMESTAMP_MS
        self._found: closed_segment.Found | None = None
        """What a thread found when it looked into the closed segment."""

    # Made when they are first asked for: most segments of a large log are never looked into.

    @cached_property
    def path(self) -> Path:
        """The `.log`."""
        return log_path(self._directory, self.base_offset)

    @cached_property
    def _log(self) -> SegmentBytes:
        log = SegmentBytes(self._files, self.path, self.base_offset)
        log.cold = self._cold
        return log

    @cached_property
    def index(self) -> SegmentIndex:
        """Both indexes."""
        return SegmentIndex(self._files, self._log, self.base_offset, self._index_interval_bytes)

    @property
    def visible(self) -> Extent:
        """What may be served; of a closed segment read from its `.source` at first use."""
        return self._visible or self._load()

    @property
    def log_max_timestamp_ms(self) -> int:
        """The greatest timestamp of the log up to the end of this segment, deleted segments included."""
        own = self.visible.max_timestamp_ms
        return max(own, self._earlier_max_timestamp_ms)

    def read_by(self, cold: ColdReads | None) -> None:
        """Have what is not in memory read by these; without them readers wait for the disk."""
        self._cold = cold
        if "_log" in self.__dict__:
            self._log.cold = cold

    def publish(self, extent: Extent) -> None:
        """Serve the segment up to here; less than before only when a flush failed."""
        before = self._visible
        if before is None or extent.size_bytes < before.size_bytes:
            self._log.places.clear()
            self._log.verified.forget_from(extent.size_bytes)
        else:
            self._log.places.note_commit(before.end_offset, before.size_bytes)
        self._show(extent)

    def begin(self, extent: Extent, earlier_max_timestamp_ms: int) -> None:
        """Take the state of a segment as it is found or begun; what was published of it before stands."""
        self._show(self._visible or extent)
        self.index.written_bytes = extent.size_bytes
        self._earlier_max_timestamp_ms = earlier_max_timestamp_ms

    def forget(self) -> None:
        """Let go of the mappings; those who hold slices keep theirs."""
        if "_log" in self.__dict__:
            self._log.forget()
            self.index.forget()

    def check_index(self) -> None:
        """Look at every slot of both indexes, up to where the segment ends."""
        self.visible  # noqa: B018 — what tells the indexes where that is
        self.index.check()

    def require_visible(self) -> None:
        """Return if `visible` is known or may be looked up here; else raise as `LogSlice.require` does."""
        if self._visible is None and self._cold is not None:
            self._log.require_work(WorkKind.LOOK_INTO, 0, self._look_into_cold)

    @property
    def stored_bytes(self) -> int | None:
        """What it takes of retention by bytes; None if it was neither looked into nor measured."""
        return self._visible.size_bytes if self._visible is not None else self._occupied_bytes

    def measure(self) -> None:
        """See what the system says that it takes; nothing if the file is gone. May be called on any thread."""
        try:
            self._occupied_bytes = self._files.occupied_bytes(self.path)
        except FileNotFoundError:
            self._occupied_bytes = 0

    def locate(self, offset: int) -> int:
        """The position of the visible batch that holds `offset` or is the first behind it; the end if there is none."""
        extent, log = self.visible, self._log
        if offset >= extent.end_offset:
            return extent.size_bytes
        position = log.places.find(offset)
        if position is not None and log.begins_with(position, offset, log.require):
            return position
        log.require_size(extent.size_bytes)
        position = 0
        try:
            position = self.index.before_offset(offset, log.require)
            for step in log.walk(position, require=log.require):
                if step.next_offset > offset:
                    return step.position
                position = step.next_position
        except CorruptLog:
            behind = self._locate_behind_damage(position, offset)
            if behind is None:
                raise
            return behind
        return extent.size_bytes

    def read(self, offset: int, max_bytes: int, *, at_least_one: bool) -> LogSlice | None:
        """Whole visible batches from the one on that holds `offset` or is the first behind it, at most `max_bytes`, or
        one if that is asked; None if there is none.
        """
        log, asked = self._log, (offset, max_bytes, at_least_one)
        known = log.places.find_range(asked)
        if known is not None:
            position, end = known
            log.require_range(position, end)
            mapping = log.mapping()
            return self._slice(mapping, position, log.verified_end(mapping, position, end))
        position = self.locate(offset)
        if position >= self.visible.size_bytes:
            return None
        return self._range_from(position, asked)

    def _range_from(self, position: int, asked: Asked) -> LogSlice:
        _, max_bytes, at_least_one = asked
        size, log = self.visible.size_bytes, self._log
        mapping = log.mapping()
        limit = min(position + max_bytes, size)
        reach = position + log.servable_bytes(mapping, position, limit)
        whole = reach if reach >= size else self._end_of_range(position, reach, None if at_least_one else limit)
        end = log.verified_end(mapping, position, whole)
        if reach == limit and end == whole:
            log.places.note_range(asked, position, end)
        if log.cold is not None and end < size and position // CHUNK_BYTES < end // CHUNK_BYTES:
            log.read_ahead(mapping, end)
        return self._slice(mapping, position, end)

    def _slice(self, mapping: Mapping, position: int, end: int) -> LogSlice:
        log = self._log
        if log.cold is None:
            return LogSlice(mapping.view[position:end])
        cold = log.cold

        def require(start: int, stop: int) -> None:
            cold.require_size(mapping, position + stop)
            log.require_mapped(mapping, position + start, position + stop)
            log.verify_again(mapping, position, position + start, position + stop)

        return LogSlice(mapping.view[position:end], require)

    def find_timestamp(self, timestamp_ms: int) -> tuple[int, int] | None:
        """Offset and timestamp of the first visible record at or after a time."""
        extent, log = self.visible, self._log
        if not extent.size_bytes or extent.max_timestamp_ms < timestamp_ms:
            return None
        log.require_size(extent.size_bytes)
        for step in log.walk(self.index.before_time(timestamp_ms, log.require), require=log.require):
            # A time that was changed in a header would send the reader past records that it asked for.
            log.require(step.position, step.next_position)
            log.verified_end(log.mapping(), step.position, step.next_position)
            if step.max_timestamp_ms >= timestamp_ms:
                found = first_at_or_after(log.batch(step.position), timestamp_ms)
                if found is not None:
                    return found
        return None

    def first_timestamp_ms(self) -> int | None:
        """The timestamp of the first visible record."""
        if not self.visible.size_bytes:
            return None
        self._log.require(0, HEADER_BYTES)
        return read_header(self._log.mapping().view).first_timestamp_ms

    def last_timestamp_ms(self, *, may_wait: bool) -> int | None:
        """The timestamp of the last visible record; reads one batch."""
        size, log = self.visible.size_bytes, self._log
        if not size:
            return None
        require = touch if may_wait else log.require
        *_, last = (step.position for step in log.walk(self.index.before_position(size - 1, require), require=require))
        require(last, size)
        return [time_ms for _, time_ms in iter_times(log.batch(last))][-1]

    # Inside

    def _show(self, extent: Extent) -> None:
        self._visible = extent
        self._log.visible_bytes = extent.size_bytes

    def _look_into_cold(self) -> None:
        """Look into a closed segment, in a thread."""
        self._found = self._look_into()

    def _look_into(self) -> closed_segment.Found:
        return closed_segment.look_into(self._files, self.path, self.base_offset, self.next_base_offset)

    def _load(self) -> Extent:
        """Look into a closed segment for the first time."""
        found = self._found or self._look_into()
        extent = Extent(*found[:4])
        self.begin(extent, found.earlier_max_timestamp_ms)
        return extent

    def _locate_behind_damage(self, position: int, offset: int) -> int | None:
        """`locate` from the first commit behind damage at `position`; None if the offset lies before that."""
        log = self._log
        begin = closed_segment.boundary_behind(self._files, self.path, position, log.visible_bytes)
        if begin is not None and begin.offset <= offset:
            for step in log.walk(begin.position, require=log.require):
                if step.next_offset > offset:
                    return step.position
        return None

    def _end_of_range(self, position: int, reach: int, limit: int | None) -> int:
        """Where the last whole batch before `reach` ends; if there is none the first one, unless beyond `limit`.

        From `position` to `reach` everything may be touched.
        """
        log = self._log

        def require(start: int, stop: int) -> None:
            if start < position or stop > reach:
                log.require(start, stop)

        first = next(log.walk(position, require=require))
        if first.next_position > reach:
            return self._end_of_first(first, reach, limit)
        end = max(self.index.before_position(reach, require), position)
        try:
            for step in log.walk(end, require=require):
                if step.next_position > reach:
                    log.places.note_served(step.base_offset, step.position)
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
        self._log.require_size(first.next_position)
        self._log.require(reach, first.next_position)
        self._log.places.note_served(first.next_offset, first.next_position)
        return first.next_position
