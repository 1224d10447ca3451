"""The segments of a log as one range of offsets: which segment, and then what in it.

Owns the ordered list of segments and how many closed ones stay mapped. Bounds (what is visible, what may be asked) are
the log's; what lies in a segment is `storage.segment`'s.

Invariant: segments are in the order of their offsets and do not overlap; between two of them offsets may be missing.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from storage.cold import ColdReads, WorkKind
from storage.log import LogSlice
from storage.segment import Segment
from storage.segment_bytes import numbers

MAPPED_SEGMENTS_MAX: Final = 16
"""Closed segments kept mapped for their next reader; each holds an address range and descriptors."""


class Segments:
    """Oldest first."""

    def __init__(self, segments: Sequence[Segment], cold: ColdReads | None = None) -> None:
        self.ordered = list(segments)
        self._number = next(numbers)
        self._cold = cold
        for segment in segments:
            segment.read_by(cold)
        for segment, next_segment in pairwise(segments):
            segment.next_base_offset = next_segment.base_offset
        self._bases = [segment.base_offset for segment in segments]
        self._mapped: OrderedDict[Segment, None] = OrderedDict()

    @property
    def newest(self) -> Segment | None:
        return self.ordered[-1] if self.ordered else None

    def add(self, segment: Segment) -> None:
        """Take a segment behind the last."""
        segment.read_by(self._cold)
        if self.ordered:
            self.ordered[-1].next_base_offset = segment.base_offset
        self.ordered.append(segment)
        self._bases.append(segment.base_offset)

    def remove_newest(self) -> Segment:
        """Take the last segment away."""
        self._bases.pop()
        segment = self.ordered.pop()
        self._mapped.pop(segment, None)
        return segment

    def remove_oldest(self, count: int) -> list[Segment]:
        """Take the first segments away."""
        removed = self.ordered[:count]
        del self.ordered[:count], self._bases[:count]
        for segment in removed:
            self._mapped.pop(segment, None)
        return removed

    def locate(self, offset: int) -> tuple[int, int] | None:
        """Number of the segment and position of the batch that holds or follows `offset`, None if none is visible."""
        ordered = self.ordered
        for number in range(max(0, bisect_right(self._bases, offset) - 1), len(ordered)):
            segment = ordered[number]
            segment.require_visible()
            position = segment.locate(offset)
            if position < segment.visible.size_bytes:
                return number, position
        return None

    def read(self, offset: int, max_bytes: int, *, at_least_one: bool) -> LogSlice | None:
        """Whole batches of one segment, None if nothing is visible at or behind `offset`; see `Segment.read`."""
        ordered = self.ordered
        for number in range(max(0, bisect_right(self._bases, offset) - 1), len(ordered)):
            segment = ordered[number]
            segment.require_visible()
            part = segment.read(offset, max_bytes, at_least_one=at_least_one)
            if part is not None:
                self._keep_mapped(segment)
                return part
        return None

    def size_from(self, number: int, position: int, max_bytes: int) -> int:
        """Visible bytes behind a position, over all segments, counted up to `max_bytes`."""
        size_bytes = -position
        for later in range(number, len(self.ordered)):
            self.ordered[later].require_visible()
            size_bytes += self.ordered[later].visible.size_bytes
            if size_bytes >= max_bytes:
                return max_bytes
        return size_bytes

    def find_timestamp(self, timestamp_ms: int) -> tuple[int, int] | None:
        """Offset and timestamp of the first visible record at or after a time; looks into O(log n) segments.

        The first segment by which the log has seen the time holds the record. Only if deleted segments had seen it
        before may that one have none; then a later one has the first.
        """
        ordered = self.ordered
        first = bisect_left(ordered, timestamp_ms, key=_log_max_timestamp_ms)
        for number in range(first, len(ordered)):
            ordered[number].require_visible()
            found = ordered[number].find_timestamp(timestamp_ms)
            if found is not None:
                self._keep_mapped(ordered[number])
                return found
        return None

    def first_timestamp_ms(self) -> int | None:
        """The timestamp of the first visible record."""
        for segment in self.ordered:
            segment.require_visible()
            if (time_ms := segment.first_timestamp_ms()) is not None:
                return time_ms
        return None

    def last_timestamp_ms(self, *, may_wait: bool) -> int | None:
        """The timestamp of the last visible record."""
        for segment in reversed(self.ordered):
            if not may_wait:
                segment.require_visible()
            if (time_ms := segment.last_timestamp_ms(may_wait=may_wait)) is not None:
                return time_ms
        return None

    def stored_bytes(self) -> int:
        """What all of them take of retention by bytes.

        Raises:
            NotResident: some are to be measured first.
        """
        unknown = [segment for segment in self.ordered if segment.stored_bytes is None]
        if unknown:

            def measure() -> None:
                for segment in unknown:
                    segment.measure()

            if self._cold is None:
                measure()
            else:
                self._cold.require_work(WorkKind.MEASURE, self._number, 0, str(unknown[0].path.parent), measure)
        return sum(segment.stored_bytes or 0 for segment in self.ordered)

    def forget(self) -> None:
        """Let go of all mappings."""
        for segment in self.ordered:
            segment.forget()
        self._mapped.clear()

    def _keep_mapped(self, segment: Segment) -> None:
        mapped = self._mapped
        mapped[segment] = None
        mapped.move_to_end(segment)
        if len(mapped) > MAPPED_SEGMENTS_MAX:
            mapped.popitem(last=False)[0].forget()


def _log_max_timestamp_ms(segment: Segment) -> int:
    segment.require_visible()
    return segment.log_max_timestamp_ms
