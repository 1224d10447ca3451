"""The writing side of the active segment: append batches, commit them, take them back, close the segment.

Owns the open descriptors of one segment's four files and the order of writes: batch, index slots, position entry.
Publishing is the log's. Errors are the system's `OSError`, unchanged: state moves only after a write succeeded, so
that a failed call can be repeated; what it left in a file lies behind the end and is written over.

Invariant: bytes of .log before `size_bytes`, slots before the index's count and entries before the position file's
count are what was appended; everything up to `committed` is never written again.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final, NamedTuple

from storage.config import LogConfig
from storage.files import Files
from storage.index import IndexWriter
from storage.intervals import IntervalChain
from storage.log import GtidInterval, SourcePosition
from storage.positions import Kind, PositionEntry, PositionFile, PositionHeader
from storage.records import HEADER_BYTES, LENGTH_PREFIX_BYTES, MAGIC, NO_TIMESTAMP_MS
from storage.segment import Extent, Segment, segment_paths, source_path

_APPENDED: Final = struct.Struct(">qi4xbI2xi8xq")
"""What appending needs of a batch header: base_offset, batch_length, magic, crc, last_offset_delta, max_timestamp."""
POSITION_BYTES_MAX: Final = (1 << 32) - 1
"""Index positions are unsigned 32-bit: no segment may be longer."""
ALLOCATE_BYTES_MIN: Final = 64 * 1024
ALLOCATE_BYTES_MAX: Final = 4 << 20
"""Space set aside ahead of the end; what is not used is given back when the segment is closed."""


class Appended(NamedTuple):
    """Where a segment ends, and its last batch (size and CRC; 0 0 if it has none)."""

    size_bytes: int
    end_offset: int
    max_timestamp_ms: int
    batch_bytes: int
    batch_crc: int


class Committed(NamedTuple):
    """Where the log and the indexes of the segment ended at a commit."""

    appended: Appended
    slot_count: int
    slot_position: int


class Append(NamedTuple):
    """Batches that were checked against each other and the end of the log, ready to be written."""

    batches: Sequence[bytes]
    heads: list[tuple[int, int, int, int]]
    """base_offset, size_bytes, crc, max_timestamp_ms of each."""
    size_bytes: int
    end_offset: int


def check_batches(batches: Sequence[bytes], end_offset: int) -> Append:
    """Read the headers of batches that are to be appended at `end_offset`.

    Raises:
        ValueError: they are not whole magic 2 batches that follow each other from there.
    """
    if not batches:
        raise ValueError("nothing was given to append")
    heads = []
    next_offset = end_offset
    size_bytes = 0
    for batch in batches:
        if len(batch) < HEADER_BYTES:
            raise ValueError(f"a record batch of {len(batch)} bytes cannot be appended")
        base_offset, length, magic, crc, last_delta, max_timestamp_ms = _APPENDED.unpack_from(batch)
        if base_offset != next_offset or length + LENGTH_PREFIX_BYTES != len(batch) or magic != MAGIC or last_delta < 0:
            raise ValueError(
                f"a batch at offset {base_offset}, magic {magic}, of {length + LENGTH_PREFIX_BYTES} bytes in "
                f"{len(batch)}, cannot be appended at {next_offset}"
            )
        heads.append((base_offset, len(batch), crc, max_timestamp_ms))
        next_offset += last_delta + 1
        size_bytes += len(batch)
    return Append(batches, heads, size_bytes, next_offset)


class Appender:
    """The open active segment."""

    def __init__(
        self,
        files: Files,
        segment: Segment,
        log: int,
        index: IndexWriter,
        positions: PositionFile,
        capacity_bytes: int,
    ) -> None:
        self.segment = segment
        self.positions = positions
        self.appended = Appended(0, segment.base_offset, NO_TIMESTAMP_MS, 0, 0)
        self.committed = Committed(self.appended, 0, 0)
        self._files = files
        self._log = log
        self._index = index
        self._capacity_bytes = capacity_bytes
        self._allocated_bytes = 0
        """Up to here the file system has set space aside."""
        self._chain = IntervalChain()
        self.is_finished = False
        segment.index.writer = index

    @classmethod
    def create(cls, files: Files, directory: Path, header: PositionHeader, config: LogConfig) -> Appender:
        """Begin a segment. What a crash left of a segment of this name, without a `.source`, is removed first."""
        segment = Segment(files, directory, header.base_offset, config.index_interval_bytes)
        for path in segment_paths(segment.path):
            files.unlink(path)
        with ExitStack() as opened:
            opened.callback(_unlink_what_can_be, files, segment.path)
            log = files.open(segment.path, create=True)
            opened.callback(files.close, log)
            files.truncate(log, config.segment_bytes)
            index = IndexWriter(files, segment.path, config.index_interval_bytes, create=True)
            opened.callback(index.close)
            index.reserve(config.segment_bytes)
            positions = PositionFile.create(files, source_path(segment.path), header)
            opened.pop_all()
        segment.begin(
            Extent(0, header.base_offset, NO_TIMESTAMP_MS, header.created_ms), header.earlier_max_timestamp_ms
        )
        return cls(files, segment, log, index, positions, config.segment_bytes)

    @classmethod
    def reopen(cls, files: Files, segment: Segment, number: int, config: LogConfig) -> Appender:
        """Go on in a segment behind COMMIT `number`; everything behind it is cut off, in all files.

        Raises:
            CorruptLog: the entry, or one that it links to, does not verify.
        """
        with ExitStack() as opened:
            positions = PositionFile.open(files, source_path(segment.path), write=True)
            opened.callback(positions.close)
            chain = IntervalChain.load(positions, number)
            entry = positions.entry(number)
            assert entry is not None
            positions.cut(number + 1)
            log = files.open(segment.path)
            opened.callback(files.close, log)
            extent = Extent(entry.log_position, entry.end_offset, entry.max_timestamp_ms, entry.append_ms)
            segment.begin(extent, positions.header.earlier_max_timestamp_ms)
            capacity_bytes = max(config.segment_bytes, entry.log_position)
            files.truncate(log, entry.log_position)
            files.truncate(log, capacity_bytes)
            index = segment.index.reopen(capacity_bytes)
            opened.pop_all()
        appender = cls(files, segment, log, index, positions, capacity_bytes)
        appender._chain = chain
        appender.appended = Appended(*extent[:3], entry.batch_bytes, entry.batch_crc)
        appender._remember_commit()
        return appender

    @property
    def created_ms(self) -> int:
        return self.positions.header.created_ms

    @property
    def extent(self) -> tuple[int, int, int]:
        """Size, end offset and greatest timestamp of what was appended."""
        return self.appended[:3]

    @property
    def descriptors(self) -> tuple[int, ...]:
        """All four files, in the order in which they are to be flushed."""
        return (*self.truth_descriptors, *self._index.descriptors)

    @property
    def truth_descriptors(self) -> tuple[int, int]:
        """The two files that cannot be made from others."""
        return self._log, self.positions.descriptor

    def append(self, append: Append) -> None:
        """Write batches behind the last."""
        position = self.appended.size_bytes
        end = position + append.size_bytes
        if end > self._capacity_bytes:
            self._files.truncate(self._log, end)
            self._capacity_bytes = end
        if end > self._allocated_bytes:
            self._allocate(end)
        if len(append.batches) == 1:
            self._files.write(self._log, append.batches[0], position)
        else:
            self._files.write_many(self._log, append.batches, position)
        max_timestamp_ms = self.appended.max_timestamp_ms
        index, segment = self._index, self.segment
        for base_offset, size_bytes, _, batch_max_timestamp_ms in append.heads:
            if index.is_due(position):
                index.enter(base_offset - segment.base_offset, position, max_timestamp_ms)
            position += size_bytes
            if batch_max_timestamp_ms > max_timestamp_ms:
                max_timestamp_ms = batch_max_timestamp_ms
        _, batch_bytes, batch_crc, _ = append.heads[-1]
        self.appended = Appended(end, append.end_offset, max_timestamp_ms, batch_bytes, batch_crc)
        segment.index.wrote(index.count, end)

    def commit(self, positions: Sequence[SourcePosition], append_ms: int, durable_offset: int) -> PositionEntry:
        """Write the position entries that make everything appended part of the log; returns the COMMIT."""
        end_offset, stamp = self.appended.end_offset, (append_ms, durable_offset)

        def make(kind: Kind, previous: int, position: SourcePosition, interval: GtidInterval | None) -> PositionEntry:
            return self._entry(kind, previous, end_offset, stamp, position, interval)

        number = self.positions.count
        try:
            entries = self._chain.entries(positions, number, make)
            self.positions.append(entries)
        except BaseException:
            with suppress(OSError):
                self.positions.cut(number)
            self._chain = IntervalChain.load(self.positions, number - 1) if number else IntervalChain()
            raise
        self._remember_commit()
        return entries[-1]

    def rollback(self) -> None:
        """Take back what was appended since the last commit."""
        committed = self.committed
        self._index.keep(committed.slot_count, committed.slot_position)
        self.segment.index.wrote(committed.slot_count, committed.appended.size_bytes)
        self.appended = committed.appended

    def finish(self, next_base_offset: int, append_ms: int, durable_offset: int) -> None:
        """Write the CLOSE entry and cut the files to what is in them. The descriptors stay open for the flush."""
        stamp = (append_ms, durable_offset)
        self.positions.append([self._entry(Kind.CLOSE, -1, next_base_offset, stamp, SourcePosition(0, 0), None)])
        # What stays behind the end is never read; space is given back where the system lets us.
        with suppress(OSError):
            self.trim()
        self.segment.index.writer = None
        self.is_finished = True

    def trim(self) -> None:
        """Cut the files to what is in them: nobody reads behind it."""
        self._files.truncate(self._log, self.appended.size_bytes)
        self._index.trim()

    def close(self) -> None:
        for descriptor in self.descriptors:
            self._files.close(descriptor)
        if self.segment.index.writer is self._index:
            self.segment.index.writer = None

    def _allocate(self, end: int) -> None:
        """Set space aside up to `end` and beyond: as much again as there is, so that a small log stays small."""
        start = max(self._allocated_bytes, self.appended.size_bytes)
        ahead = end + min(max(end, ALLOCATE_BYTES_MIN), ALLOCATE_BYTES_MAX)
        ahead = max(min(ahead, self._capacity_bytes), end)
        try:
            self._files.allocate(self._log, start, ahead - start)
            self._allocated_bytes = ahead
        except OSError:
            # The last of a disk is used up too.
            self._files.allocate(self._log, start, end - start)
            self._allocated_bytes = end

    def _entry(
        self,
        kind: Kind,
        previous: int,
        end_offset: int,
        stamp: tuple[int, int],
        position: SourcePosition,
        interval: GtidInterval | None,
    ) -> PositionEntry:
        """An entry for where the segment ends now; `stamp` is append_ms and durable_offset."""
        size_bytes, _, max_timestamp_ms, batch_bytes, batch_crc = self.appended
        return PositionEntry(
            kind,
            previous,
            end_offset,
            size_bytes,
            batch_bytes,
            batch_crc,
            stamp[0],
            max_timestamp_ms,
            stamp[1],
            position.file_number,
            position.position,
            interval,
        )

    def _remember_commit(self) -> None:
        index = self._index
        self.committed = Committed(self.appended, index.count, index.last_position)


def _unlink_what_can_be(files: Files, path: Path) -> None:
    """Leave nothing of a segment that could not be begun: the log may go on beyond its offset in another one."""
    for file in segment_paths(path):
        with suppress(OSError):
            files.unlink(file)
