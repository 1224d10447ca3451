"""What a log says of itself, read beside the process that may be writing it, and without changing anything.

The last COMMIT that verifies tells where the log ends and where capture goes on. Unlike recovery, nothing is cut,
repaired or locked, and the batch that the COMMIT ends with is not looked at: after a loss of power the log may open a
little further back.

A segment can vanish at any moment: retention unlinks the oldest, a rollback or a failed flush the newest.
"""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Final, NamedTuple

from storage.errors import CorruptLog, StorageError
from storage.files import Files
from storage.intervals import IntervalChain
from storage.log import RecoveredSource
from storage.positions import Kind, PositionEntry, PositionFile
from storage.segment import log_path, source_path

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

SOURCE_SUFFIX: Final = ".source"


class End(NamedTuple):
    """The last COMMIT of a log: its segment, its number there, and what it says."""

    base_offset: int
    number: int
    commit: PositionEntry
    close: PositionEntry | None
    """The CLOSE right behind it, if the segment ends with this commit."""

    @property
    def next_offset(self) -> int:
        """Where the log goes on."""
        return (self.close or self.commit).end_offset


def base_offsets(files: Files, directory: Path) -> list[int]:
    """The segments in a directory, oldest first."""
    stems = [name.removesuffix(SOURCE_SUFFIX) for name in files.list(directory) if name.endswith(SOURCE_SUFFIX)]
    return sorted(int(stem) for stem in stems if stem.isascii() and stem.isdecimal())


def find_end(files: Files, directory: Path, bases: Sequence[int]) -> End | None:
    """The last COMMIT among these segments that verifies; None if there is none.

    Raises:
        OSError: the system refuses to read a file.
    """
    for base_offset in reversed(bases):
        try:
            file = PositionFile.open(files, source_path(log_path(directory, base_offset)), write=False)
        except (CorruptLog, FileNotFoundError):
            continue
        with closing(file):
            close = None
            for number, entry in file.entries_backwards(file.count):
                if entry is None:
                    continue
                if entry.kind is Kind.CLOSE and number == file.count - 1:
                    close = entry
                elif entry.kind is Kind.COMMIT:
                    is_clean = close is not None and close.log_position == entry.log_position
                    return End(base_offset, number, entry, close if is_clean else None)
    return None


def snapshot_at(directory: Path, offset: int) -> bytes | None:
    """What the segment that holds an offset keeps of its source; None without such a segment.

    Raises:
        StorageError: the system refuses to read it.
    """
    files = Files()
    try:
        bases = [base for base in base_offsets(files, directory) if base <= offset]
        if not bases:
            return None
        with closing(PositionFile.open(files, source_path(log_path(directory, bases[-1])), write=False)) as file:
            return bytes(file.header.snapshot)
    except (CorruptLog, FileNotFoundError):
        return None
    except OSError as error:
        raise StorageError(f"the log in {directory} cannot be read ({error.strerror})") from error


def last_source(directory: Path) -> RecoveredSource | None:
    """The source position of the last record in the log at `directory`; None if there is no log, or nothing in it.

    Its `timestamp_ms` is the greatest of the segment: the record's own is not read.

    Raises:
        StorageError: the system refuses to read it.
    """
    files = Files()
    try:
        bases = base_offsets(files, directory)
        while (end := find_end(files, directory, bases)) is not None:
            bases = bases[: bases.index(end.base_offset)]
            try:
                file = PositionFile.open(files, source_path(log_path(directory, end.base_offset)), write=False)
            except (CorruptLog, FileNotFoundError):
                continue
            with closing(file):
                commit = end.commit
                intervals = IntervalChain.load(file, end.number).intervals
                return RecoveredSource(
                    file.header.snapshot, commit.file_number, commit.position, intervals, commit.max_timestamp_ms
                )
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StorageError(f"the log in {directory} cannot be read ({error.strerror})") from error
    return None
