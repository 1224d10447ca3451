"""One search: which stretches of a log are read, the newest first, and which of their records are wanted.

A stretch is passed by unread where the filter of its segment says that it has none of the wanted keys, where all of it
is older than the beginning of the time that is asked for, and, once it is read, batch by batch where none of the bytes
that a wanted record must have are in it. What is left is looked through record by record.

Source time may go backwards. So a segment is left out by its greatest time, which is exact, and by the least and the
greatest of its filter's blocks; without a filter what is newer than asked for is read, and left out record by record.

Invariant: what is found depends on the question and the log alone, never on filters, indexes or slices.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from broker.operations.records import RecordRow
from broker.search.conditions import ColumnCondition
from broker.search.protocol import Found, Log, Question
from broker.search.records import CONTENT_BYTES_MAX, Change, Wanted, cell_key, find, is_compiled, kind_key, name_keys
from broker.search.shown import row_of
from storage.errors import CorruptLog
from storage.files import Files
from storage.log_scan import LogScan, SegmentScan, Stretch
from storage.records import Batch, records_of
from storage.search_filter import DamagedFilter, SegmentFilter
from storage.segment import filter_path

ALL_KINDS: Final = (1 << 17) - 1
_DELTA_MAX: Final = 1 << 62
FILTERS_MAX: Final = 512
"""Tables of filters kept in memory: a few KB each."""


class Searcher:
    """What is known of logs between one search and the next."""

    def __init__(self, files: Files | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self.files = files or Files()
        self._clock = clock
        self._scans: dict[str, LogScan] = {}
        self._filters: dict[str, SegmentFilter] = {}

    def segments(self, log: Log, before: int) -> list[SegmentScan]:
        """The segments of a log that begin below an offset, oldest first."""
        if log.directory not in self._scans:
            from pathlib import Path

            self._scans[log.directory] = LogScan(Path(log.directory), self.files)
        segments = self._scans[log.directory].segments(min(before, log.high_watermark))
        first = log.start_offset
        return [each for each in segments if each.next_base_offset is None or each.next_base_offset > first]

    def filter_of(self, segment: SegmentScan) -> SegmentFilter | None:
        """The filter of a segment, None where there is none that can be used."""
        path = str(segment.path)
        found = self._filters.get(path)
        if found is None:
            if len(self._filters) >= FILTERS_MAX:
                self._filters.clear()
            found = self._filters[path] = SegmentFilter(self.files, segment.path, segment.base_offset)
        try:
            found.refresh(segment.size_bytes, is_closed=segment.found is not None)
        except (CorruptLog, OSError):
            self.drop_filter(segment)
            return None
        return found if found.covered_end else None

    def drop_filter(self, segment: SegmentScan) -> None:
        """Have it made again."""
        self._filters.pop(str(segment.path), None)
        try:
            self.files.unlink(filter_path(segment.path))
        except OSError:
            return

    def search(self, log: Log, question: Question, before: int, limit: int, slice_s: float) -> Found:
        """One slice of a search.

        Raises:
            OSError: the system refuses to read a file.
        """
        return _Slice(self, log, question, limit, self._clock() + slice_s, self._clock).run(
            min(before, log.high_watermark)
        )


class _Slice:
    def __init__(
        self, searcher: Searcher, log: Log, question: Question, limit: int, until_s: float, clock: Callable[[], float]
    ) -> None:
        self._searcher = searcher
        self._log = log
        self._question = question
        self._limit = limit
        self._until_s = until_s
        self._clock = clock
        self._test = Test(question)
        self._records: list[RecordRow] = []
        self._damages: list[str] = []

    def run(self, before: int) -> Found:
        segments = [each for each in self._searcher.segments(self._log, self._log.high_watermark) if self._may(each)]
        total = sum(segment.size_bytes for segment in segments)
        passed = sum(segment.size_bytes for segment in segments if segment.base_offset >= before)
        cursor: int | None = None
        for segment in reversed(segments):
            if segment.base_offset >= before:
                continue
            position = segment.size_bytes
            for stretch in self._stretches(segment, before):
                cursor = self._look_through(segment, stretch, before)
                position = stretch.position
                if cursor is None and self._clock() >= self._until_s:
                    cursor = stretch.base_offset
                if cursor is not None:
                    break
            if cursor is not None:
                passed += segment.size_bytes - position
                break
            passed += segment.size_bytes
            if self._clock() >= self._until_s:
                cursor = segment.base_offset
                break
        if cursor is not None and cursor <= self._log.start_offset:
            cursor = None
        searched = total if cursor is None else min(passed, total)
        return Found(tuple(self._records), cursor, searched, total, tuple(dict.fromkeys(self._damages)))

    def _may(self, segment: SegmentScan) -> bool:
        """Whether a segment may have records of the time that is asked for."""
        from_ms, found = self._question.from_ms, segment.found
        # -1: its end is lost, and its times with it.
        return from_ms is None or found is None or found.max_timestamp_ms < 0 or found.max_timestamp_ms >= from_ms

    def _stretches(self, segment: SegmentScan, before: int) -> Iterator[Stretch]:
        """The stretches of a segment that are to be read, the newest first."""
        try:
            covered = self._searcher.filter_of(segment)
            blocks: list[Stretch] | None = None
            if covered is not None:
                try:
                    blocks = self._filtered(covered, before)
                except DamagedFilter:
                    self._searcher.drop_filter(segment)
            if covered is None or blocks is None:
                yield from self._unfiltered(segment, before)
                return
            if before > covered.next_offset:
                yield from self._unfiltered(segment, before, covered.covered_end, covered.next_offset)
            yield from blocks
        except FileNotFoundError:
            return  # retention took it
        except OSError as error:
            self._damages.append(f"{segment.path} cannot be read ({error.strerror}); its records were left out")

    def _unfiltered(
        self, segment: SegmentScan, before: int, begin: int = 0, begin_offset: int | None = None
    ) -> Iterator[Stretch]:
        """The stretches behind a position, at which there is this offset."""
        from_ms = self._question.from_ms
        for stretch in segment.stretches(before):
            if stretch.end <= begin:
                return
            if begin_offset is not None and stretch.position < begin:
                yield Stretch(begin, stretch.end, begin_offset)
                return
            yield stretch
            if from_ms is not None and stretch.older_ms is not None and stretch.older_ms < from_ms:
                return

    def _filtered(self, segment_filter: SegmentFilter, before: int) -> list[Stretch]:
        from_ms, to_ms = self._question.from_ms, self._question.to_ms
        return [
            Stretch(block.position, block.end, block.base_offset)
            for block in reversed(segment_filter.blocks(self._test.keys))
            if block.base_offset < before
            and (from_ms is None or block.greatest_ms >= from_ms)
            and (to_ms is None or block.least_ms <= to_ms)
        ]

    def _look_through(self, segment: SegmentScan, stretch: Stretch, before: int) -> int | None:
        """Take what is wanted; where to go on if there is no room for more."""
        try:
            batches = segment.read(stretch, before, self._damages)
        except FileNotFoundError:
            return None
        except OSError as error:
            self._damages.append(f"{segment.path} cannot be read ({error.strerror}); its records were left out")
            return None
        for batch in reversed(batches):
            header = batch.header
            if self._question.from_ms is not None and header.max_timestamp_ms < self._question.from_ms:
                continue
            if header.next_offset <= self._log.start_offset:
                continue
            try:
                cursor = self._take(batch, before)
            except CorruptLog as error:
                self._damages.append(f"{segment.path}, offset {header.base_offset}: {error}; it was left out")
                continue
            if cursor is not None:
                return cursor
        return None

    def _take(self, batch: Batch, before: int) -> int | None:
        header = batch.header
        records = records_of(batch)
        for change in reversed(self._test.find(records, header.record_count, header.first_timestamp_ms)):
            offset = header.base_offset + change.offset_delta
            if not self._log.start_offset <= offset < before:
                continue
            if not self._test.fits(change):
                continue
            timestamp_ms = header.first_timestamp_ms + change.time_delta
            try:
                self._records.append(row_of(records, change.start, change.end, offset, timestamp_ms))
            except ValueError as error:
                raise CorruptLog(f"a record that is not of the known schema: {error}") from None
            if len(self._records) >= self._limit:
                return offset
        return None


class Test:
    """A question, made ready to be asked of records."""

    def __init__(self, question: Question) -> None:
        self._conditions = [ColumnCondition(each.column, each.operator, each.value) for each in question.conditions]
        columns = dict.fromkeys(condition.column for condition in self._conditions)
        self._places = [list(columns).index(condition.column) for condition in self._conditions]
        self._question = question
        self._database = _name(question.database)
        self._table = _name(question.table)
        self._columns = tuple(columns)
        self._contents = tuple(self._contents_of(column) for column in columns)
        self._needles = [
            condition.needles
            for condition in self._conditions
            # Compiled, to look at the cells takes less time than to look for several needles.
            if condition.needles is not None and not (is_compiled and condition.contents is not None)
        ]
        self.keys = self._keys()
        """Of each of these sets of keys a stretch must have one, or has nothing that is wanted."""

    def find(self, records: bytes, count: int, first_ms: int) -> Sequence[Change]:
        """The records of a batch that are wanted by all but their values."""
        for needles in self._needles:
            if not any(needle in records for needle in needles):
                return ()
        from_ms, to_ms = self._question.from_ms, self._question.to_ms
        wanted = Wanted(
            self._question.kinds,
            self._database,
            self._table,
            self._columns,
            self._contents,
            -_DELTA_MAX if from_ms is None else from_ms - first_ms,
            _DELTA_MAX if to_ms is None else to_ms - first_ms,
        )
        return find(records, count, wanted)

    def fits(self, change: Change) -> bool:
        """Whether the row before the change or the row after it fits all conditions."""
        return not self._conditions or self._image_fits(change.after) or self._image_fits(change.before)

    def _image_fits(self, image: tuple[bytes | None, ...] | None) -> bool:
        if image is None:
            return False
        pairs = zip(self._conditions, self._places, strict=True)
        return all(condition.fits(image[place]) for condition, place in pairs)

    def _contents_of(self, column: bytes) -> tuple[bytes, ...] | None:
        """What a wanted cell of a column can have, by the first condition that tells."""
        known = (each.contents for each in self._conditions if each.column == column)
        contents = next((contents for contents in known if contents is not None), None)
        return None if contents is None else tuple(family + content for family, content in contents)

    def _keys(self) -> list[list[int]]:
        keys: list[list[int]] = []
        for condition in self._conditions:
            contents = condition.contents
            if contents is None or any(len(content) > CONTENT_BYTES_MAX for _, content in contents):
                continue
            keys.append([key for content in contents if (key := cell_key(condition.column, *content)) is not None])
        if self._database is not None:
            keys.append(name_keys(self._database)[:1])
        if self._table is not None:
            keys.append(name_keys(b"." + self._table)[1:])
        if self._question.kinds != ALL_KINDS:
            keys.append([kind_key(kind) for kind in range(17) if self._question.kinds >> kind & 1])
        return keys


def _name(name: str | None) -> bytes | None:
    """A name as records have it."""
    return None if name is None else name.replace(".", "\\u002E").encode("utf-8", "surrogateescape")
