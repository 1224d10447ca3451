"""Makes the filters of segments, a little at a time, the newest segment first: of closed ones to their end, of the one
that is written to as far as groups are full.

A segment with damage, or with records of a schema that is not known, gets none: it is read as it is, so that what is
wrong with it is told. Nobody waits for a filter; one that cannot be written is tried again by the next process.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

from broker.search.records import note_compiled, note_in_python
from storage.errors import CorruptLog
from storage.log_scan import Stretch
from storage.records import Batch, records_of
from storage.search_filter import BatchPlace, FilterWriter, enter
from storage.segment import filter_path, source_path

if TYPE_CHECKING:
    from broker.search.protocol import Log
    from broker.search.searching import Searcher
    from storage.log_scan import SegmentScan

_ENDED: Final = object()


class FilterMaker:
    """One filter at a time."""

    def __init__(self, searcher: Searcher, clock: Callable[[], float] = time.monotonic) -> None:
        self._searcher = searcher
        self._clock = clock
        self._without: set[str] = set()
        """Segments that get no filter, or no more of one, from this process."""
        self._begun: dict[str, tuple[FilterWriter, int]] = {}
        """Of the segment of a log that is written to: the group that is not full, and how far it has come."""
        self._work: Iterator[object] = iter(())

    def run(self, log: Log, slice_s: float) -> bool:
        """Go on for so long; whether there is nothing more to do now."""
        until_s = self._clock() + slice_s
        while True:
            if next(self._work, _ENDED) is _ENDED and not self._begin(log):
                return True
            if self._clock() >= until_s:
                return False

    def _begin(self, log: Log) -> bool:
        segments = self._searcher.segments(log, log.high_watermark)
        known = {str(segment.path) for segment in segments}
        self._begun = {path: begun for path, begun in self._begun.items() if path in known or log.directory not in path}
        for segment in reversed(segments):
            path = str(segment.path)
            if path in self._without:
                continue
            # What is not visible to its end may be taken back.
            is_closed = segment.next_base_offset is not None and segment.next_base_offset <= log.high_watermark
            covered = self._searcher.filter_of(segment)
            if is_closed and (covered is None or covered.covered_end < segment.size_bytes):
                self._work = self._make(segment, 1 << 62, is_closed=True)
                return True
            if not is_closed and (path not in self._begun or self._begun[path][1] < log.high_watermark):
                self._work = self._make(segment, log.high_watermark, is_closed=False)
                return True
        return False

    def _make(self, segment: SegmentScan, until: int, *, is_closed: bool) -> Iterator[None]:
        path = str(segment.path)
        try:
            writer = self._begun.pop(path, (None, 0))[0]
            if writer is None or not writer.is_still_so(segment.path):
                writer = self._writer(segment)
            yield from add_batches(segment, writer, until)
            if is_closed:
                writer.end_group()
            else:
                self._begun[path] = writer, until
        except (CorruptLog, OSError):
            self._without.add(path)
            return
        if not source_path(segment.path).exists():
            # Retention came first.
            self._searcher.drop_filter(segment)
            self._without.add(path)
            return
        covered = self._searcher.filter_of(segment)
        if is_closed and (covered is None or covered.covered_end < segment.size_bytes):
            self._without.add(path)

    def _writer(self, segment: SegmentScan) -> FilterWriter:
        files, covered = self._searcher.files, self._searcher.filter_of(segment)
        if covered is None or not covered.groups_end:
            files.unlink(filter_path(segment.path))
            return FilterWriter(files, segment.path, segment.base_offset, 0, 0)
        return FilterWriter(files, segment.path, segment.base_offset, covered.covered_end, covered.groups_end)


def add_batches(segment: SegmentScan, writer: FilterWriter, until: int) -> Iterator[None]:
    """Enter the batches of a segment that are not in its filter, up to an offset, a step at a time.

    Raises:
        CorruptLog: the segment is damaged, or has records of another schema.
        OSError: the system refuses.
    """
    for stretch in _forwards(segment, writer.position, until):
        damages: list[str] = []
        for batch in segment.read(stretch, until, damages):
            header, start = batch.header, stretch.position + batch.position
            if header.next_offset > until:
                return
            if start < writer.position:
                continue
            place = BatchPlace(
                start, start + header.size_bytes, header.base_offset, header.next_offset, header.first_timestamp_ms,
                header.crc,
            )  # fmt: skip
            writer.add(place, _note(batch))
            if writer.is_full:
                writer.end_group()
        if damages:
            raise CorruptLog(damages[0])
        yield


def _forwards(segment: SegmentScan, position: int, until: int) -> list[Stretch]:
    return [stretch for stretch in reversed(list(segment.stretches(until))) if stretch.end > position]


def _note(batch: Batch) -> Callable[[bytearray, int], tuple[int, int, int]]:
    count, records = batch.header.record_count, records_of(batch)

    def note(rows: bytearray, bit: int) -> tuple[int, int, int]:
        if note_compiled is not None:
            noted = note_compiled(records, count, rows, bit)
            if noted is not None:
                return noted
        new: list[bool] = []
        times = note_in_python(records, count, lambda key: new.append(enter(rows, bit, key)))
        return sum(new), times.least, times.greatest

    return note
