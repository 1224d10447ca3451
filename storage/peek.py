"""What a log says of its source, read beside the process that may be writing it, and without changing anything.

The last COMMIT that verifies tells where capture goes on. Unlike recovery, nothing is cut, repaired or locked, and
the batch that the COMMIT ends with is not looked at: after a loss of power the log may open a little further back.
"""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Final

from storage.errors import CorruptLog, StorageError
from storage.files import Files
from storage.intervals import IntervalChain
from storage.log import RecoveredSource
from storage.positions import Kind, PositionFile

if TYPE_CHECKING:
    from pathlib import Path

_SOURCE_FILES: Final = "*.source"


def last_source(directory: Path) -> RecoveredSource | None:
    """The source position of the last record in the log at `directory`; None if there is no log, or nothing in it.

    Its `timestamp_ms` is the greatest of the segment: the record's own is not read.

    Raises:
        StorageError: the system refuses to read it.
    """
    try:
        for path in sorted(directory.glob(_SOURCE_FILES), reverse=True):
            found = _last_commit(path)
            if found is not None:
                return found
    except OSError as error:
        raise StorageError(f"the log in {directory} cannot be read ({error.strerror})") from error
    return None


def _last_commit(path: Path) -> RecoveredSource | None:
    """By one segment; None if it has no commit, has just been begun, or retention took it away meanwhile."""
    try:
        file = PositionFile.open(Files(), path, write=False)
    except (CorruptLog, FileNotFoundError):
        return None
    with closing(file):
        number = file.count
        while number:
            for before, entry in file.entries_before(number):
                number = before
                if entry is not None and entry.kind is Kind.COMMIT:
                    intervals = IntervalChain.load(file, before).intervals
                    snapshot = file.header.snapshot
                    return RecoveredSource(
                        snapshot, entry.file_number, entry.position, intervals, entry.max_timestamp_ms
                    )
    return None
