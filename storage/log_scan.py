"""A log read backwards beside the process that writes it: stretches of verified batches, the newest first.

Owns finding where a reader can begin (the slots of `.index`, or the headers of all batches where these err) and reading
from there to where the stretch behind begins. Files are read with `pread` only: one that is cut or deleted meanwhile is
an end or an error and no SIGBUS. What may be seen the caller says: offsets below the high watermark of its log.

A batch that does not match its checksum, or does not follow the one before, is left out and told of; reading goes on
where the damaged batch's own header leads, if a whole batch begins there, else with the next stretch. Between damage
and there nothing is shown, as consumers are served nothing there.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final, NamedTuple

from storage.closed_segment import Boundary, Found, boundary_behind, look_into, walk
from storage.errors import CorruptLog
from storage.files import Files
from storage.index import OFFSET_SLOT_BYTES, TIME_SLOT_BYTES, is_whole, offset_index_path, time_index_path
from storage.peek import base_offsets
from storage.positions import PositionFile
from storage.records import HEADER_BYTES, Batch, read_header, verify_crc
from storage.segment import log_path, source_path

STRETCH_BYTES: Final = 512 << 10
_UNKNOWN_OFFSET: Final = -1


class Stretch(NamedTuple):
    """Bytes of a segment that begin and end where batches do. `older_ms`: all before it in the segment is not newer."""

    position: int
    end: int
    base_offset: int
    older_ms: int | None = None


class SegmentScan:
    """One segment. `found` is None of the one that is written to."""

    def __init__(self, files: Files, directory: Path, base_offset: int, next_base_offset: int | None) -> None:
        self.base_offset = base_offset
        self.next_base_offset = next_base_offset
        self.path = log_path(directory, base_offset)
        self._files = files
        self.found: Found | None = None
        if next_base_offset is not None:
            self.found = look_into(files, self.path, base_offset, next_base_offset)

    @property
    def size_bytes(self) -> int:
        """Of a closed segment; of the other up to where its last commit ends, behind which the file is empty and large,
        or all of the file if that commit is damaged.
        """
        if self.found is not None:
            return self.found.size_bytes
        try:
            size_bytes = self.path.stat().st_size
            with closing(PositionFile.open(self._files, source_path(self.path), write=False)) as file:
                last = file.entry(file.count - 1) if file.count else None
                committed_bytes = 0 if not file.count else size_bytes if last is None else last.log_position
        except FileNotFoundError:
            return 0
        except CorruptLog:
            return size_bytes
        return min(size_bytes, committed_bytes)

    def stretches(self, before: int) -> Iterator[Stretch]:
        """Stretches that have offsets below `before`, the newest first, that of the highest offset included.

        Raises:
            OSError: the system refuses to read it; FileNotFoundError: it was deleted.
        """
        size = self.size_bytes
        if not size:
            return
        yielded = size
        try:
            for stretch in self._by_index(before, size):
                yield stretch
                yielded = stretch.position
        except CorruptLog:
            for stretch in self._by_walking(before, size):
                if stretch.position < yielded:
                    yield stretch._replace(end=min(stretch.end, yielded))

    def _by_index(self, before: int, size: int) -> Iterator[Stretch]:
        """Raises CorruptLog: a slot errs, or there is no index."""
        index = _Index(self._files, self.path, size)
        with self._files.opened(self.path, write=False) as log:
            number = index.behind_offset(before - self.base_offset)
            end = index.slot(number)[1] if number < index.count else size
            while end:
                number = min(number, index.behind_position(max(0, end - STRETCH_BYTES))) - 1
                stretch = Stretch(0, end, self.base_offset)
                if number >= 0:
                    relative, position, older_ms = index.slot(number)
                    stretch = Stretch(position, end, self.base_offset + relative, older_ms)
                    header = read_header(self._files.read(log, HEADER_BYTES, position))
                    if header.base_offset != stretch.base_offset or position >= end:
                        raise CorruptLog(f"{self.path}: slot {number} of its index leads astray")
                yield stretch
                end = stretch.position

    def _by_walking(self, before: int, size: int) -> Iterator[Stretch]:
        """By the headers of all batches, and behind damage by the next commit."""
        begins: list[Boundary] = []
        begin: Boundary | None = Boundary(0, self.base_offset)
        with self._files.opened(self.path, write=False) as log:
            while begin is not None and begin.offset < before:
                last = begin.position
                begins.append(begin)
                try:
                    for step in walk(self._files, log, self.path, begin, size):
                        if step.position - begins[-1].position >= STRETCH_BYTES:
                            begins.append(Boundary(step.position, step.base_offset))
                        last = step.next_position
                        if step.next_offset >= before:
                            break
                    break
                except CorruptLog:
                    begin = boundary_behind(self._files, self.path, last, size)
        end = size
        for position, offset in reversed(begins):
            yield Stretch(position, end, offset)
            end = position

    def read(self, stretch: Stretch, until: int, damages: list[str]) -> list[Batch]:
        """The batches of a stretch whose offsets begin below `until`; what is damaged is told.

        Raises:
            OSError: the system refuses to read it; FileNotFoundError: it was deleted.
        """
        with self._files.opened(self.path, write=False) as log:
            data = memoryview(self._files.read(log, stretch.end - stretch.position, stretch.position))
        batches: list[Batch] = []
        position, expected = 0, stretch.base_offset
        while position < data.nbytes and expected < until:
            batch, next_position = _batch_at(data, position, expected)
            if batch is not None:
                if batch.header.base_offset >= until:
                    break
                batches.append(batch)
                expected = batch.header.next_offset
            else:
                damages.append(
                    f"{self.path}, byte {stretch.position + position}: what was written there is damaged and was left "
                    f"out; `binwire verify` tells how far the damage goes"
                )
                if next_position is None:
                    break
                expected = _UNKNOWN_OFFSET
            assert next_position is not None
            position = next_position
        return batches


def _batch_at(data: memoryview, position: int, expected: int) -> tuple[Batch | None, int | None]:
    """The whole batch at a position, and where one begins behind it; None for what there is not."""
    try:
        header = read_header(data, position)
    except CorruptLog:
        return None, None
    end = position + header.size_bytes
    if end > data.nbytes:
        return None, None
    if expected in {_UNKNOWN_OFFSET, header.base_offset} and verify_crc(data, position, header):
        return Batch(header, position, data[position:end]), end
    try:
        behind = read_header(data, end)
    except CorruptLog:
        return None, None
    return None, end if verify_crc(data, end, behind) else None


class _Index:
    """Both indexes of a segment as they lie on the disk."""

    def __init__(self, files: Files, path: Path, size: int) -> None:
        try:
            with files.opened(offset_index_path(path), write=False) as descriptor:
                self._offsets = files.read(descriptor, files.size(descriptor), 0)
            with files.opened(time_index_path(path), write=False) as descriptor:
                self._times = files.read(descriptor, files.size(descriptor), 0)
        except FileNotFoundError as error:
            raise CorruptLog(f"{path} has no index") from error
        capacity = min(len(self._offsets) // OFFSET_SLOT_BYTES, len(self._times) // TIME_SLOT_BYTES)
        self.count = bisect_left(range(capacity), size, key=lambda number: self.position(number) or size)

    def position(self, number: int) -> int:
        start = number * OFFSET_SLOT_BYTES
        return int.from_bytes(self._offsets[start + 4 : start + OFFSET_SLOT_BYTES])

    def slot(self, number: int) -> tuple[int, int, int]:
        """Relative offset and position, and the greatest time before. Raises CorruptLog: it is not what was written."""
        start, time_start = number * OFFSET_SLOT_BYTES, number * TIME_SLOT_BYTES
        slot = self._offsets[start : start + OFFSET_SLOT_BYTES]
        time = self._times[time_start : time_start + TIME_SLOT_BYTES]
        if not is_whole(slot, time):
            raise CorruptLog(f"slot {number} of an index does not verify")
        return int.from_bytes(slot[:4]), int.from_bytes(slot[4:]), int.from_bytes(time[:8], signed=True)

    def behind_offset(self, relative_offset: int) -> int:
        """The first slot whose offset is at or behind one."""
        return bisect_left(
            range(self.count),
            relative_offset,
            key=lambda number: int.from_bytes(self._offsets[number * OFFSET_SLOT_BYTES :][:4]),
        )

    def behind_position(self, position: int) -> int:
        """The first slot behind a position."""
        return bisect_right(range(self.count), position, key=self.position)


class LogScan:
    """The segments of a log; what is known of closed ones is kept."""

    def __init__(self, directory: Path, files: Files | None = None) -> None:
        self.directory = directory
        self.files = files or Files()
        self._known: dict[int, SegmentScan] = {}

    def segments(self, end_offset: int) -> list[SegmentScan]:
        """Those that begin below an offset, oldest first.

        Raises:
            OSError: the system refuses to list or read them.
        """
        try:
            bases = base_offsets(self.files, self.directory)
        except FileNotFoundError:
            bases = []
        known, self._known = self._known, {}
        for number, base in enumerate(bases):
            following = bases[number + 1] if number + 1 < len(bases) else None
            before = known.get(base)
            if before is not None and before.next_base_offset == following:
                self._known[base] = before
            else:
                try:
                    self._known[base] = SegmentScan(self.files, self.directory, base, following)
                except FileNotFoundError:
                    continue
        return [segment for base, segment in self._known.items() if base < end_offset]
