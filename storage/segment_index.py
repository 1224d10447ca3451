"""Both indexes of one segment, held against the log: what they say is seen to be true, and what errs is written anew.

Owns the reader, the appender's writer while there is one, and the decision who errs. A slot must lead to a batch that
has the slot's offset. If it does not, and the batches before it lead there all the same, the log is damaged there; else
the index is wrong, and is rebuilt: that of a closed segment by a thread (`storage.closed_segment`), that of the active
one where the question was asked, by its writer.

Invariant: what an index says decides only where a reader begins to look.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from storage import closed_segment
from storage.closed_segment import no_batch
from storage.cold import WorkKind
from storage.errors import CorruptLog, LogReadError
from storage.index import DamagedIndex, IndexReader, IndexWriter, Slot, remove_index
from storage.segment_bytes import touch

if TYPE_CHECKING:
    from collections.abc import Callable

    from storage.files import Files
    from storage.mapping import MappedFile
    from storage.segment_bytes import Require, SegmentBytes


class SegmentIndex:
    """The indexes of the segment at `base_offset`, whose `.log` is `log`."""

    def __init__(self, files: Files, log: SegmentBytes, base_offset: int, interval_bytes: int) -> None:
        self.writer: IndexWriter | None = None
        """The appender's, while there is one."""
        self.written_bytes = 0
        """Of the log: what is visible, and of the active segment what is not yet."""
        self._files = files
        self._log = log
        self._base_offset = base_offset
        self._interval_bytes = interval_bytes
        self._reader = IndexReader(files, log.path)
        self._is_counted = False
        """Whether it is known how many slots there are; of a closed segment that is seen at the first lookup."""

    def wrote(self, slot_count: int, written_bytes: int) -> None:
        """Take how far the appender has come, or has gone back."""
        self._reader.count = slot_count
        self._is_counted = True
        self.written_bytes = written_bytes

    def forget(self) -> None:
        """Let go of the mappings."""
        self._reader.forget()

    # Lookups

    def before_offset(self, offset: int, require: Require) -> int:
        """The position of a batch at or before an offset."""
        return self._checked(self._reader.before_offset, max(0, offset - self._base_offset), require).position

    def before_position(self, position: int, require: Require) -> int:
        """The position of a batch at or before a position."""
        return self._checked(self._reader.before_position, position, require).position

    def before_time(self, timestamp_ms: int, require: Require) -> int:
        """The position of a batch before which every record is older than a time."""
        return self._checked(self._reader.before_time, timestamp_ms, require).position

    def _checked(self, lookup: Callable[[int], Slot], argument: int, require: Require) -> Slot:
        """What an index says, once it was seen to be true; an index that errs is rebuilt."""
        try:
            if not self._is_counted:
                self._require(self._reader.whole(), require)
                self._count()
            self._require(self._reader.pages(), require)
            slot = lookup(argument)
            if self._is_true(slot, require):
                return slot
            if self._leads_to(slot, require):
                raise no_batch(self._log.path, slot.position)
        except (DamagedIndex, OSError):
            pass
        self._rebuild(may_wait=require is touch)
        return lookup(argument)

    def _require(self, pages: tuple[tuple[MappedFile, int], ...], require: Require) -> None:
        """Return if these parts of the indexes may be touched by who asks `require` of the log."""
        cold = self._log.cold
        if cold is None or require is touch:
            return
        for file, size in pages:
            if size:
                mapping = file.mapping_of(size)
                cold.require(mapping, 0, min(size, mapping.view.nbytes))

    def _count(self) -> None:
        self._reader.count_slots(self.written_bytes)
        self._is_counted = True

    def _is_true(self, slot: Slot, require: Require) -> bool:
        if slot.position == 0:
            return True
        if slot.position >= self._log.visible_bytes:
            return slot.position < self.written_bytes
        return self._log.begins_with(slot.position, self._base_offset + slot.relative_offset, require)

    def _leads_to(self, slot: Slot, require: Require) -> bool:
        """Whether the batches before a slot lead to it: then it is the log that errs there, and not the index."""
        step = None
        try:
            for step in self._log.walk(self._reader.before_position(slot.position - 1).position, require=require):
                if step.next_position >= slot.position:
                    break
        except CorruptLog:
            return False
        found = (step.next_position, step.next_offset) if step is not None else None
        return found == (slot.position, self._base_offset + slot.relative_offset)

    # Writing anew

    def check(self) -> None:
        """Look at every slot of both indexes, as is needed after a loss of power: any page of them may be missing.

        Flushed on return: nobody looks at them again.
        """
        writer = self._reopen(check_all=True)
        try:
            writer.trim()
            for descriptor in writer.descriptors:
                self._files.sync(descriptor)
        finally:
            writer.close()

    def reopen(self, capacity_bytes: int) -> IndexWriter:
        """A writer that goes on behind the slots of what is written. A killed process can spoil the last one only."""
        writer = self._reopen(check_all=False)
        try:
            writer.trim()
            writer.reserve(capacity_bytes)
        except BaseException:
            writer.close()
            raise
        return writer

    def _reopen(self, *, check_all: bool) -> IndexWriter:
        reader, path = self._reader, self._log.path
        try:
            kept = reader.count_slots(self.written_bytes)
            writer = IndexWriter(self._files, path, self._interval_bytes, create=False)
        except OSError:
            kept = 0
            remove_index(self._files, path)
            writer = IndexWriter(self._files, path, self._interval_bytes, create=True)
        reader.count = kept
        if check_all:
            kept = reader.count_verified()
        if not self._is_true(reader.slot(kept - 1), touch) or not reader.verifies(kept - 1):
            kept = 0
        self._complete(writer, kept)
        return writer

    def _rebuild(self, *, may_wait: bool) -> None:
        written_bytes = self.written_bytes
        if self.writer is not None:
            self._complete(self.writer, 0)
            return

        def rebuild() -> None:
            closed_segment.rebuild_index(
                self._files, self._log.path, self._base_offset, written_bytes, self._interval_bytes
            )

        if may_wait:
            rebuild()
        else:
            self._log.require_work(WorkKind.REBUILD_INDEX, 0, rebuild)
        self._reader.forget()
        try:
            self._count()
        except FileNotFoundError as error:
            raise LogReadError(
                f"an index of {self._log.path} is gone again; it is written anew when it is asked for again"
            ) from error

    def _complete(self, writer: IndexWriter, kept: int) -> None:
        """Let `writer` keep the first `kept` slots and enter what follows them in the log.

        What lies between damage and the next commit stays without slots, as in `closed_segment.rebuild_index`.
        """
        slot, earlier_max_timestamp_ms = self._reader.slot_and_time(kept - 1)
        writer.keep(kept, slot.position)
        position: int | None = slot.position
        while position is not None:
            try:
                for step in self._log.walk(position, self.written_bytes):
                    if writer.is_due(step.position):
                        writer.enter(step.base_offset - self._base_offset, step.position, earlier_max_timestamp_ms)
                    earlier_max_timestamp_ms = max(earlier_max_timestamp_ms, step.max_timestamp_ms)
                    position = step.next_position
                break
            except CorruptLog:
                begin = closed_segment.boundary_behind(self._files, self._log.path, position, self.written_bytes)
                position = begin.position if begin is not None else None
        self._reader.forget()
        self.wrote(writer.count, self.written_bytes)
