"""Opening a log: find the last commit that is whole, cut off what lies behind it, and know where to go on.

What is read depends on how the last run ended, never on how much the log holds:

    orderly, or killed     the last position entries, the batch that the last COMMIT ends with, its interval chain.
                           A killed process leaves its writes in the page cache: what the entry says is there.
    machine lost power,    any page written since the last flush may be missing. The last COMMIT names the offset
    or a flush failed      below which everything was durable; from there on every entry and batch is verified.

Behind the last good COMMIT everything goes, in all files: an invisible transaction, a torn entry, later segments.
Where offsets that were served may have been lost (power, or bytes that do not verify), the segment is closed with a
gap: the log goes on at the reserved offset, so that no offset ever means two records. What lies before a damaged end is
kept. A log that ends below what its state knows to be durable is damaged, however it was left.

Invariant: recovery repeated after a crash inside recovery comes to the same log.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

from msgspec import Struct

from storage.appender import Appender
from storage.clock import Clock
from storage.config import LogConfig
from storage.errors import CorruptLog
from storage.files import DAMAGED_SUFFIX, TEMPORARY_SUFFIX, Files
from storage.positions import Kind, PositionEntry, PositionFile
from storage.records import HEADER_BYTES, read_header, verify_crc
from storage.segment import Extent, Segment, filter_path, log_path, segment_paths, source_path
from storage.state import UNKNOWN_OFFSETS, UNREADABLE, LogState, write_state

_SEGMENT_SUFFIXES: Final = frozenset({".source", ".index", ".timeindex", ".log", ".filter"})
_BASE_OFFSET_DIGITS: Final = 20


class Commit(Struct, frozen=True):
    """A COMMIT entry and where it stands."""

    segment: Segment
    number: int
    entry: PositionEntry

    @property
    def extent(self) -> Extent:
        """What of its segment is visible by it."""
        entry = self.entry
        return Extent(entry.log_position, entry.end_offset, entry.max_timestamp_ms, entry.append_ms)


class OpenedLog(Struct):
    """What recovery hands to the log."""

    segments: list[Segment]
    """Oldest first; the appender's is the last."""
    appender: Appender | None
    """None if the next append begins a segment."""
    commit: Commit | None
    """The last commit, None if nothing was ever committed."""
    end_offset: int
    durable_offset: int
    notes: list[str] = []
    """What was lost or cut, as sentences for the log."""


class _Tail(Struct):
    """The end of a log as it is found on disk."""

    commit: Commit | None
    close: PositionEntry | None
    """The CLOSE entry right behind the commit, if the segment was closed there."""
    is_damaged: bool
    """Bytes that a crash of the process alone cannot explain."""

    @property
    def end_offset(self) -> int:
        """Where the log would go on without a gap."""
        last = self.close or (self.commit.entry if self.commit is not None else None)
        return last.end_offset if last is not None else 0


def open_log(
    files: Files, directory: Path, config: LogConfig, clock: Clock, state: LogState | None, boot_id: str
) -> OpenedLog:
    """Bring the log in `directory` to its last good commit.

    Raises:
        CorruptLog: the position entries that capture would resume from do not verify.
        OSError: the system refuses to read or cut a file.
    """
    recovery = _Recovery(files, directory, config, clock)
    return recovery.run(state, boot_id)


def last_commit_until(file: PositionFile, durable_offset: int) -> int:
    """The number of the last COMMIT that a flush up to `durable_offset` covers for certain, -1 if there is none.

    Of several that end there it is the first: the others moved the position alone, perhaps after that flush. Reads
    O(log n) entries, and those of one commit.
    """

    def end_offset(number: int) -> int:
        entry = file.entry(number)
        # What does not verify counts as too far: the search then ends before it.
        return entry.end_offset if entry is not None else durable_offset + 1

    first = number = bisect_left(range(file.count), durable_offset, key=end_offset)
    while (entry := file.entry(number)) is not None and entry.end_offset == durable_offset:
        if entry.kind is Kind.COMMIT:
            return number
        number += 1
    for before, entry in file.entries_backwards(first):
        if entry is not None and entry.kind is Kind.COMMIT:
            return before
    return -1


class _Recovery:
    """One run over one directory."""

    def __init__(self, files: Files, directory: Path, config: LogConfig, clock: Clock) -> None:
        self._files = files
        self._directory = directory
        self._config = config
        self._clock = clock
        self._notes: list[str] = []
        self._unverified: list[Segment] = []
        """Segments whose indexes may miss pages."""

    def run(self, state: LogState | None, boot_id: str) -> OpenedLog:
        segments = self._scan()
        if state is None and segments:
            # It is durable before the first segment begins: it was lost.
            state = UNREADABLE
        is_orderly = state is None or state.orderly
        lost_power = not is_orderly and (not boot_id or state is None or state.boot_id != boot_id)
        first_offset = segments[0].base_offset if segments else None
        tail = self._find_tail(segments)
        if lost_power and tail.commit is not None:
            tail = self._verified_tail(segments, tail, state.durable_offset if state is not None else 0)
        if state is not None and segments:
            known_offset = state.reserved_offset if state.orderly else state.durable_offset
            # The last run said how far it had come, and that is no longer there.
            tail.is_damaged |= tail.end_offset < known_offset
        if lost_power:
            self._drop_behind(segments, tail.commit)
            return self._open_with_gap(segments, tail, state)
        if tail.is_damaged:
            return self._open_damaged(segments, tail, state)
        self._drop_behind(segments, tail.commit)
        if tail.commit is None:
            # Nothing was ever committed, so nothing was served. Without any segment the state alone knows where the
            # log stood when the last run began: earlier runs may have lost what they served.
            known = state.durable_offset if state is not None and first_offset is None else first_offset
            end_offset = max(0, known or 0)
            return OpenedLog([], None, None, end_offset, end_offset, self._notes)
        return self._open_without_gap(segments, tail.commit, tail.close, state)

    def _scan(self) -> list[Segment]:
        """The segments by name; files without their `.source` are what a crash left of a begin or an end.

        Not so between two segments: there nothing begins or ends. What is left of such a one is served.
        """
        bases: set[int] = set()
        others: list[Path] = []
        for name in self._files.list(self._directory):
            path = self._directory / name
            if name.endswith((".source" + TEMPORARY_SUFFIX, ".filter" + TEMPORARY_SUFFIX)):
                self._files.unlink(path)
            is_base_offset = len(path.stem) == _BASE_OFFSET_DIGITS and path.stem.isascii() and path.stem.isdecimal()
            if path.suffix not in _SEGMENT_SUFFIXES or not is_base_offset:
                continue
            if path.suffix == ".source":
                bases.add(int(path.stem))
            else:
                others.append(path)
        lost = {int(path.stem) for path in others if path.suffix == ".log"} - bases
        lost = {base for base in lost if bases and min(bases) < base < max(bases)}
        for base in sorted(lost):
            path = source_path(log_path(self._directory, base))
            self._notes.append(
                f"{path} is gone; the records beside it are served, and verify and backup leave them out"
            )
        bases |= lost
        for path in others:
            if int(path.stem) not in bases:
                self._files.unlink(path)
        interval_bytes = self._config.index_interval_bytes
        return [Segment(self._files, self._directory, base, interval_bytes) for base in sorted(bases)]

    def _find_tail(self, segments: list[Segment]) -> _Tail:
        is_damaged = False
        for segment in reversed(segments):
            try:
                file = PositionFile.open(self._files, source_path(segment.path), write=False)
            except FileNotFoundError:
                is_damaged = True
                continue
            except CorruptLog as error:
                is_damaged = True
                if _has_content(self._files, segment):
                    self._set_aside(segment, error)
                continue
            with closing(file):
                tail = self._last_commit(segment, file)
            if tail.commit is not None:
                tail.is_damaged |= is_damaged
                return tail
            is_damaged |= tail.is_damaged
        return _Tail(None, None, is_damaged)

    def _last_commit(self, segment: Segment, file: PositionFile) -> _Tail:
        close = None
        is_damaged = False
        for number, entry in file.entries_backwards(file.count):
            if entry is None:
                is_damaged = True
            elif entry.kind is Kind.CLOSE and number == file.count - 1:
                close = entry
            elif entry.kind is Kind.COMMIT:
                if self._ends_with_its_batch(segment, entry):
                    is_clean = close is not None and close.log_position == entry.log_position
                    return _Tail(Commit(segment, number, entry), close if is_clean else None, is_damaged)
                is_damaged = True
        return _Tail(None, None, is_damaged)

    def _ends_with_its_batch(self, segment: Segment, entry: PositionEntry) -> bool:
        """Whether the batch that a commit ends with is in the log, whole and the same."""
        if entry.batch_bytes == 0:
            return entry.log_position == 0
        try:
            with self._files.opened(segment.path, write=False) as log:
                batch = self._files.read(log, entry.batch_bytes, entry.log_position - entry.batch_bytes)
        except FileNotFoundError:
            return False
        return _verified_next_offset(batch, entry.batch_bytes, entry.batch_crc) == entry.end_offset

    def _verified_tail(self, segments: list[Segment], tail: _Tail, durable_offset: int) -> _Tail:
        """The last commit up to which everything since the last flush verifies.

        How far that flush reached the last COMMIT knows, or the state, whichever was written later.
        """
        target = tail.commit
        assert target is not None
        durable_offset = max(durable_offset, target.entry.durable_offset)
        candidates = segments[: segments.index(target.segment) + 1]
        first = max(0, bisect_right([segment.base_offset for segment in candidates], durable_offset) - 1)
        good = _Tail(None, None, is_damaged=True)
        if candidates[first].base_offset > durable_offset:
            # What followed the last flush is not there, name and all; retention takes nothing that is not durable.
            return good
        if candidates[first].base_offset == durable_offset and first > 0:
            # The flush may have come before its end was written, and left out its indexes.
            self._unverified.append(candidates[first - 1])
            good = self._closed_before(candidates[first - 1], durable_offset)
            if good.commit is not None and good.close is None:
                return good
        next_base = candidates[first].base_offset
        for segment in candidates[first:]:
            self._unverified.append(segment)
            if segment.base_offset != next_base:
                break
            end = self._verify_segment(segment, durable_offset)
            if end.commit is not None:
                good = _Tail(end.commit, end.close, is_damaged=True)
            if end.close is None and segment is not target.segment:
                break
            if end.close is not None:
                next_base = end.close.end_offset
        if good.commit is None:
            # Even what was flushed is not what it was; what lies before is closed and still stands.
            good = self._find_tail(candidates[:first])
            good.is_damaged = True
        return good

    def _closed_before(self, segment: Segment, next_offset: int) -> _Tail:
        """The end of a segment that was flushed up to where the next begins, but perhaps before its CLOSE was."""
        try:
            with closing(PositionFile.open(self._files, source_path(segment.path), write=False)) as file:
                tail = self._last_commit(segment, file)
        except (CorruptLog, FileNotFoundError):
            return _Tail(None, None, is_damaged=True)
        commit = tail.commit
        if commit is not None and tail.close is None and commit.entry.end_offset == next_offset:
            close = close_with_gap(self._files, commit, next_offset, self._clock.now_ms())
            return _Tail(commit, close, is_damaged=True)
        return _Tail(commit, tail.close, is_damaged=True)

    def _verify_segment(self, segment: Segment, durable_offset: int) -> _Tail:
        """Verify entries and batches of a segment behind what was durable, up to the first that fails.

        The close returned is the segment's, if everything verified up to it.
        """
        try:
            with (
                closing(PositionFile.open(self._files, source_path(segment.path), write=False)) as file,
                self._files.opened(segment.path, write=False) as log,
            ):
                return self._verify_entries(segment, file, log, last_commit_until(file, durable_offset))
        except (CorruptLog, FileNotFoundError):
            return _Tail(None, None, is_damaged=True)

    def _verify_entries(self, segment: Segment, file: PositionFile, log: int, start: int) -> _Tail:
        """`_verify_segment` behind entry `start`, which needs no look; -1 is the beginning."""
        entry = file.entry(start)
        good = Commit(segment, start, entry) if entry is not None else None
        position, offset = (entry.log_position, entry.end_offset) if entry else (0, segment.base_offset)
        for number in range(start + 1, file.count):
            entry = file.entry(number)
            if entry is None:
                break
            offset = self._verify_batches(log, position, entry.log_position, offset)
            position = entry.log_position
            if offset >= 0 and entry.kind is Kind.CLOSE and number == file.count - 1:
                return _Tail(good, entry, is_damaged=False)
            if offset < 0 or (entry.kind is not Kind.CLOSE and offset != entry.end_offset):
                break
            if entry.kind is Kind.COMMIT:
                good = Commit(segment, number, entry)
        return _Tail(good, None, is_damaged=True)

    def _verify_batches(self, log: int, position: int, end: int, offset: int) -> int:
        """The offset behind the batches from `position` to `end`; -1 if one of them does not verify."""
        while position < end and offset >= 0:
            try:
                header = read_header(self._files.read(log, HEADER_BYTES, position))
            except CorruptLog:
                return -1
            if header.base_offset != offset or position + header.size_bytes > end:
                return -1
            batch = self._files.read(log, header.size_bytes, position)
            offset = _verified_next_offset(batch, header.size_bytes, header.crc)
            position += header.size_bytes
        return offset

    def _drop_behind(self, segments: list[Segment], commit: Commit | None) -> None:
        """Delete the segments behind the last commit: an invisible transaction, or what does not verify."""
        while segments and (commit is None or segments[-1] is not commit.segment):
            delete_segment(self._files, segments.pop())

    def _open_without_gap(
        self, segments: list[Segment], commit: Commit, close: PositionEntry | None, state: LogState | None
    ) -> OpenedLog:
        appender = None
        end_offset = commit.entry.end_offset
        if close is not None:
            end_offset = close.end_offset
        else:
            appender = Appender.reopen(self._files, commit.segment, commit.number, self._config)
        durable_offset = end_offset
        if state is not None and not state.orderly:
            durable_offset = max(commit.entry.durable_offset, state.durable_offset)
        return OpenedLog(segments, appender, commit, end_offset, durable_offset, self._notes)

    def _open_damaged(self, segments: list[Segment], tail: _Tail, state: LogState | None) -> OpenedLog:
        """As `_open_with_gap`, where the state alone would not tell the next open that there must be one.

        A crash between the cut and the gap leaves no trace of what was cut; so the state is of no boot meanwhile.
        """
        if state is not None and not state.orderly:
            write_state(self._files, self._directory, state._replace(boot_id=""))
        self._drop_behind(segments, tail.commit)
        opened = self._open_with_gap(segments, tail, state)
        if state is not None and not state.orderly:
            write_state(self._files, self._directory, state)
        return opened

    def _open_with_gap(self, segments: list[Segment], tail: _Tail, state: LogState | None) -> OpenedLog:
        commit = tail.commit
        end_offset = tail.end_offset
        reserved_offset = state.reserved_offset if state is not None else -1
        end_offset = max(end_offset, reserved_offset if reserved_offset >= 0 else end_offset + UNKNOWN_OFFSETS)
        self._notes.append(
            f"the end of the log in {self._directory} was lost; what the source still has is captured again from "
            f"offset {end_offset} on, and consumers may see records twice"
        )
        # What was dropped must not come back beside what follows.
        self._files.sync_directory(self._directory)
        if commit is None:
            return OpenedLog([], None, None, end_offset, end_offset, self._notes)
        # What a killed process left may be in the page cache alone; behind the gap all counts as flushed.
        for path in unflushed_paths(segments, commit.entry.durable_offset):
            with suppress(FileNotFoundError), self._files.opened(path) as descriptor:
                self._files.sync(descriptor)
        close_with_gap(self._files, commit, end_offset, self._clock.now_ms())
        for segment in self._unverified:
            if segment in segments:
                segment.check_index()
        return OpenedLog(segments, None, commit, end_offset, end_offset, self._notes)

    def _set_aside(self, segment: Segment, error: CorruptLog) -> None:
        """Keep what may be worth salvaging out of the way."""
        self._notes.append(f"{error}; its segment is set aside under names that end in {DAMAGED_SUFFIX}")
        for path in segment_paths(segment.path):
            with suppress(FileNotFoundError):
                self._files.rename(path, path.with_name(path.name + DAMAGED_SUFFIX))


def find_commit(files: Files, segments: Sequence[Segment], durable_offset: int) -> Commit | None:
    """The last commit that a flush up to an offset covers for certain."""
    for segment in reversed(segments):
        if segment.base_offset > durable_offset:
            continue
        with closing(PositionFile.open(files, source_path(segment.path), write=False)) as file:
            number = last_commit_until(file, durable_offset)
            entry = file.entry(number)
        if entry is not None:
            return Commit(segment, number, entry)
    return None


def close_with_gap(files: Files, commit: Commit, end_offset: int, now_ms: int) -> PositionEntry:
    """Close a segment behind a commit so that the log goes on at `end_offset`; durable on return.

    Only positions are cut: the log's own bytes behind them may still be read by those who were given them.
    """
    with closing(PositionFile.open(files, source_path(commit.segment.path), write=True)) as file:
        file.cut(commit.number + 1)
        close = commit.entry._replace(
            kind=Kind.CLOSE, previous=-1, end_offset=end_offset, append_ms=now_ms, durable_offset=end_offset,
            file_number=0, position=0, interval=None,
        )  # fmt: skip
        file.append([close])
        files.sync(file.descriptor)
    return close


def delete_segment(files: Files, segment: Segment) -> None:
    """Unlink a segment's files; those who hold slices of it keep them."""
    segment.forget()
    for path in (*segment_paths(segment.path), filter_path(segment.path)):
        files.unlink(path)


def unflushed_paths(segments: Iterable[Segment], durable_offset: int) -> list[Path]:
    """The files that may hold what an earlier run of this boot wrote and did not flush."""
    ordered = list(segments)
    # The segment that ends there too: the flush may have come before its end was written, and left out its indexes.
    first = max(0, bisect_left([segment.base_offset for segment in ordered], durable_offset) - 1)
    return [path for segment in ordered[first:] for path in segment_paths(segment.path)]


def _has_content(files: Files, segment: Segment) -> bool:
    """Whether a `.source` whose header does not verify is more than a name that outlived a loss of power."""
    with files.opened(source_path(segment.path), write=False) as descriptor:
        return any(files.read(descriptor, 4096, 0))


def _verified_next_offset(batch: bytes, size_bytes: int, crc: int) -> int:
    """The offset behind a batch of this size and checksum, -1 if the bytes are not it."""
    try:
        header = read_header(batch)
    except CorruptLog:
        return -1
    if header.size_bytes != size_bytes or len(batch) != size_bytes or header.crc != crc:
        return -1
    return header.next_offset if verify_crc(batch, 0, header) else -1
