"""The bytes of one `.log` as readers may touch them: in memory, where a batch begins, and what was written.

Owns the mapping of the file, what of it was verified, and walking from batch to batch. Before a byte is touched it is
asked whether it is in memory (`storage.cold`, if the segment has it: else readers wait for the disk); what left memory
counts as unverified, and as begun with no known offset. Which batch to look for is `storage.segment`'s and
`storage.segment_index`'s.

Invariant: nobody touches a byte behind `visible_bytes`, except who walks what was written to index it.
"""

from __future__ import annotations

import mmap
from itertools import count
from typing import TYPE_CHECKING, Final, TypeVar

from storage.closed_segment import Step, is_step, no_batch, step_at
from storage.cold import ColdReads, WorkKind
from storage.errors import CorruptLog, LogReadError
from storage.log import NotResident
from storage.mapping import MappedFile, Mapping
from storage.records import HEADER_BYTES, Batch, read_header
from storage.verified import VerifiedRanges, verify_batches, verify_by_reading

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from storage.files import Files

    Asked = tuple[int, int, bool]
    """What a reader asks of a segment: offset, how much at most, and whether one batch at least."""

    Require = Callable[[int, int], None]
    """Returns if a range of the `.log` may be touched, else raises `NotResident`."""

KeyT = TypeVar("KeyT")
ValueT = TypeVar("ValueT")

PLACES_MAX: Final = 128
numbers: Final = count()
"""Names for what a thread may be given work on (`ColdReads.require_work`)."""


class KnownPlaces:
    """Offsets that batches were lately seen to begin with, and where: what most readers ask for. And whole answers:
    many readers that follow the log ask for the same.
    """

    __slots__ = ("_commits", "_ranges", "_served")

    def __init__(self) -> None:
        self._commits: dict[int, int] = {}
        """Where commits began: readers at the end of the log ask there."""
        self._served: dict[int, int] = {}
        """Where ranges ended that were served: their readers go on there."""
        self._ranges: dict[Asked, tuple[int, int]] = {}
        """Where what was asked for lies, as long as nothing was written behind it."""

    def find(self, offset: int) -> int | None:
        """The position of a batch that begins with an offset, if it is known."""
        position = self._commits.get(offset)
        return self._served.get(offset) if position is None else position

    def note_commit(self, offset: int, position: int) -> None:
        """Keep where a commit began: there is more to answer with now."""
        _note(self._commits, offset, position)
        self._ranges.clear()

    def note_served(self, offset: int, position: int) -> None:
        """Keep where a range ended."""
        _note(self._served, offset, position)

    def find_range(self, asked: Asked) -> tuple[int, int] | None:
        """Where the range lies that answers a reader, if it is known."""
        return self._ranges.get(asked)

    def note_range(self, asked: Asked, start: int, end: int) -> None:
        """Keep the range that answers a reader: whole batches that were verified."""
        _note(self._ranges, asked, (start, end))

    def clear(self) -> None:
        """Know nothing any more."""
        self._ranges.clear()
        self._commits.clear()
        self._served.clear()


def _note(known: dict[KeyT, ValueT], key: KeyT, value: ValueT) -> None:
    """Keep what is known of a key, and forget the oldest one."""
    known[key] = value
    if len(known) > PLACES_MAX:
        del known[next(iter(known))]


class SegmentBytes:
    """One `.log`."""

    def __init__(self, files: Files, path: Path, base_offset: int) -> None:
        self.path = path
        self.cold: ColdReads | None = None
        self.visible_bytes = 0
        self.verified = VerifiedRanges()
        self.number = next(numbers)
        """Names the segment among all there ever were in this process."""
        self._base_offset = base_offset
        self.places = KnownPlaces()
        self._log = MappedFile(files, path)

    def mapping(self) -> Mapping:
        """A mapping of all that is visible."""
        return self._mapping_of(self.visible_bytes)

    def forget(self) -> None:
        """Let go of the mapping, and of what is known of its places, which takes memory for each segment that was ever
        read; those who hold slices keep theirs.
        """
        self.places.clear()
        self._log.forget()

    # In memory

    def require(self, start: int, end: int) -> None:
        """Return if a range may be touched here; else raise as `LogSlice.require` does."""
        if self.cold is not None:
            mapping = self.mapping()
            self.require_mapped(mapping, start, min(end, mapping.view.nbytes))

    def require_mapped(self, mapping: Mapping, start: int, end: int) -> None:
        """`require` for a mapping that a slice holds."""
        if self.cold is not None:
            try:
                self.cold.require(mapping, start, end)
            except NotResident:
                self._forget_from(start)
                raise

    def require_range(self, start: int, end: int) -> None:
        """`require` for a range that was served before: the file may have been cut since."""
        if self.cold is not None:
            self.cold.require_size(self.mapping(), end)
            self.require(start, end)

    def require_size(self, size: int) -> None:
        """Return if the file still has so many bytes."""
        if self.cold is not None:
            self.cold.require_size(self._mapping_of(size), size)

    def servable_bytes(self, mapping: Mapping, start: int, end: int) -> int:
        """How much of a range to answer with; see `ColdReads.servable_bytes`."""
        if self.cold is None:
            return end - start
        try:
            self.cold.require_size(mapping, end)
            return self.cold.servable_bytes(mapping, start, end)
        except NotResident:
            self._forget_from(start)
            raise

    def read_ahead(self, mapping: Mapping, start: int) -> None:
        """Have the system read what comes next, if it is not in memory."""
        if self.cold is not None and self.cold.read_ahead(mapping, start, self.visible_bytes):
            self.verified.forget_from(start)

    def require_work(self, kind: WorkKind, part: int, work: Callable[[], None]) -> None:
        """Have work on the segment done by a thread; see `ColdReads.require_work`. Without one it is done here."""
        if self.cold is None:
            work()
        else:
            self.cold.require_work(kind, self.number, part, str(self.path), work)

    def _forget_from(self, position: int) -> None:
        """What the system took out of memory may come back from the medium as something else."""
        self.verified.forget_from(position)
        self.places.clear()

    def _mapping_of(self, size: int) -> Mapping:
        try:
            return self._log.mapping_of(size)
        except FileNotFoundError as error:
            raise self._gone() from error

    def _covering(self, size: int) -> memoryview:
        try:
            return self._log.covering(size)
        except FileNotFoundError as error:
            raise self._gone() from error

    def _gone(self) -> LogReadError:
        return LogReadError(f"{self.path} is gone, and what it held is not served; restore the file")

    # From batch to batch

    def walk(self, position: int, size: int | None = None, *, require: Require | None = None) -> Iterator[Step]:
        """The batches from `position` on, up to `size` (what is visible, unless said), by their headers.

        `require` is asked before a page is touched.

        Raises:
            CorruptLog: where a batch must begin none does.
        """
        size = self.visible_bytes if size is None else size
        view = self._covering(size)
        if view.nbytes < size:
            raise CorruptLog(f"{self.path} has {view.nbytes} bytes where {size} were written; restore the file")
        expected = self._base_offset if position == 0 else None
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

    def begins_with(self, position: int, offset: int, require: Require) -> bool:
        """Whether there is a header at `position` that has `offset` first; no checksum covers that."""
        if position + HEADER_BYTES > self.visible_bytes:
            return False
        require(position, position + HEADER_BYTES)
        view = self._covering(self.visible_bytes)
        return view.nbytes >= position + HEADER_BYTES and step_at(view, position, position).base_offset == offset

    def batch(self, position: int) -> Batch:
        """The batch at a position."""
        view = self._covering(self.visible_bytes)
        header = read_header(view, position)
        return Batch(header, position, view[position : position + header.size_bytes])

    # What was written

    def verified_end(self, mapping: Mapping, position: int, end: int) -> int:
        """How far up to `end` the batches from `position` on may be served: all are whole, and seen to be.

        Raises:
            CorruptLog: the first is damaged.
            NotResident: the first is large and not verified yet.
        """
        reached, next_offset = start, expected = self.verified.reach(position)
        if reached < end:
            try:
                reached, next_offset = verify_batches(mapping.view, self.path, start, end, expected)
            except CorruptLog:
                if start == position:
                    raise
            if reached == position < end:
                reached, next_offset = self._verify_large(mapping, position)
            if next_offset is not None:
                self.verified.add(start, reached, next_offset)
        return min(reached, end)

    def verify_again(self, mapping: Mapping, position: int, start: int, end: int) -> None:
        """Verify the batches that lie between `start` and `end`, of a slice that begins at `position`, if they left
        memory since they were.
        """
        while position < end and self.verified.reach(max(position, start))[0] < end:
            self.require_mapped(mapping, position, position + HEADER_BYTES)
            next_position = position + read_header(mapping.view, position).size_bytes
            if next_position > start:
                self.require_mapped(mapping, position, next_position)
                self.verified_end(mapping, position, next_position)
            position = next_position

    def _verify_large(self, mapping: Mapping, position: int) -> tuple[int, int]:
        """The end of a batch that is too large to be verified between two other things, and the offset behind it."""
        header = read_header(mapping.view, position)
        end = position + header.size_bytes

        def verify() -> None:
            verify_by_reading(mapping.files, mapping.descriptor, self.path, position, end)

        self.require_work(WorkKind.VERIFY, position, verify)
        return end, header.next_offset


def touch(start: int, end: int) -> None:
    """Touch a range as it is, and wait for the disk if it comes to that."""
