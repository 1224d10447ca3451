"""Makes the filters of closed segments, a little at a time, the newest segment first.

A segment with damage, or with records of a schema that is not known, gets none: it is read as it is, so that what is
wrong with it is told. Nobody waits for a filter; one that cannot be written is tried again by the next process.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from broker.search.records import note_compiled, note_in_python
from storage.errors import CorruptLog
from storage.records import Batch, records_of
from storage.search_filter import FilterWriter, enter
from storage.segment import filter_path, source_path

if TYPE_CHECKING:
    from broker.search.protocol import Log
    from broker.search.searching import Searcher
    from storage.files import Files
    from storage.log_scan import SegmentScan


class FilterMaker:
    """One filter at a time."""

    def __init__(self, searcher: Searcher, clock: Callable[[], float] = time.monotonic) -> None:
        self._searcher = searcher
        self._clock = clock
        self._without: set[str] = set()
        """Segments that get no filter from this process."""
        self._work: Iterator[None] = iter(())
        self._path = ""

    def run(self, log: Log, slice_s: float) -> bool:
        """Go on for so long; whether all closed segments have theirs, or get none."""
        until_s = self._clock() + slice_s
        while True:
            if next(self._work, _ENDED) is _ENDED and not self._begin(log):
                return True
            if self._clock() >= until_s:
                return False

    def _begin(self, log: Log) -> bool:
        for segment in reversed(self._searcher.segments(log, log.high_watermark)):
            path = str(segment.path)
            # What is not visible to its end may be taken back.
            is_closed = segment.next_base_offset is not None and segment.next_base_offset <= log.high_watermark
            if is_closed and path not in self._without and self._searcher.filter_of(segment) is None:
                self._path = path
                self._work = self._make(segment)
                return True
        return False

    def _make(self, segment: SegmentScan) -> Iterator[None]:
        try:
            yield from make_filter(self._searcher.files, segment)
        except (CorruptLog, OSError):
            self._without.add(self._path)
            return
        if self._searcher.filter_of(segment) is None:
            self._without.add(self._path)


_ENDED = object()


def make_filter(files: Files, segment: SegmentScan) -> Iterator[None]:
    """Make one segment's filter, a step at a time.

    Raises:
        CorruptLog: the segment is damaged, or has records of another schema.
        OSError: the system refuses.
    """
    assert segment.found is not None
    writer = FilterWriter()
    for stretch in reversed(list(segment.stretches(1 << 62))):
        damages: list[str] = []
        for batch in segment.read(stretch, 1 << 62, damages):
            header, start = batch.header, stretch.position + batch.position
            writer.add(
                start, start + header.size_bytes, header.base_offset, header.next_offset, header.first_timestamp_ms,
                _note(batch),
            )  # fmt: skip
        if damages:
            raise CorruptLog(damages[0])
        yield
    writer.write(files, segment.path, segment.found)
    if not source_path(segment.path).exists():
        # Retention came first.
        files.unlink(filter_path(segment.path))


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
