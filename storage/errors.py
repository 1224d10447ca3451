"""What can go wrong in the store, as sentences for people.

    StorageError
    ├── DataDirectoryInUse   another process owns the directory
    ├── UnsupportedFormat    written by a version this one does not know
    ├── CorruptLog           bytes of a log do not verify; the partition stops, nothing of it is served
    ├── OffsetOutOfRange     a reader asked outside [log start, high watermark]
    ├── CatalogCorrupt       the SQLite catalog does not verify
    └── StorageUnavailable   the system refuses what it may allow later: it is asked again, and nothing is lost by that
        ├── LogReadError        the medium does not give back bytes of a log
        ├── LogWriteError       an append, commit or flush failed; what was visible and durable is untouched
        └── CatalogUnavailable  the catalog cannot be written now; what it holds is untouched

Every message is one sentence: what happened, with which value, what to do. `OffsetOutOfRange` is the only one a
client can cause; it carries the numbers so that a protocol answer needs no parsing.
"""

from __future__ import annotations

import errno
from typing import Final

_REMEDIES: Final = {
    errno.ENOSPC: "make room on its disk, or lower retention or retention_size",
    errno.EDQUOT: "raise the quota of this user, or lower retention or retention_size",
    errno.EROFS: "see why its file system is read-only, and mount it writable",
    errno.EACCES: "give this user the permission to write there",
    errno.EPERM: "give this user the permission to write there",
    errno.EMFILE: "raise the limit of open files (`ulimit -n`)",
    errno.ENFILE: "raise the system's limit of open files",
    errno.ENOMEM: "give the machine more memory",
}


def remedy(number: int | None) -> str:
    """What somebody may do about a system's refusal."""
    return _REMEDIES.get(number or 0, "see to its disk")


class StorageError(Exception):
    """Base of everything the store raises on purpose."""


class DataDirectoryInUse(StorageError):
    """Another process holds the lock of the data directory."""


class UnsupportedFormat(StorageError):
    """Files of a format version, or of a kind, that this version does not know."""


class CorruptLog(StorageError):
    """Bytes on disk are not what was written; the message names file and position."""


class OffsetOutOfRange(StorageError):
    """An offset outside [log_start_offset, high_watermark]."""

    def __init__(self, topic: str, offset: int, log_start_offset: int, high_watermark: int) -> None:
        super().__init__(
            f"offset {offset} of topic {topic} is outside the stored range {log_start_offset} to {high_watermark}; "
            f"seek to an offset or a time inside it"
        )
        self.offset = offset
        self.log_start_offset = log_start_offset
        self.high_watermark = high_watermark


class StorageUnavailable(StorageError):
    """The system refuses a call for a reason that may pass: a full disk, a missing permission, no descriptor, a fault
    of the medium. Whoever meets it tries again; the message names the place, the system's reason and what to do.
    """


class LogReadError(StorageUnavailable):
    """The system could not read bytes that were written; the message names the file and the system's reason."""


class LogWriteError(StorageUnavailable):
    """The system refused a write or a flush.

    The writer calls `Log.rollback()` and resumes its source at `Log.recovered`; `errno` is the system's reason.
    """

    def __init__(self, message: str, errno: int | None = None) -> None:
        super().__init__(message)
        self.errno = errno


class CatalogUnavailable(StorageUnavailable):
    """The system refused a write of the catalog; nothing of that transaction is in it."""


class CatalogCorrupt(StorageError):
    """The catalog is not a readable database; the message names the command that salvages it."""
