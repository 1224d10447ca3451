"""What SQLite refuses, in the words of the store, and the sentences that go with it.

    damaged pages, text that is not UTF-8       CatalogCorrupt: somebody has to act
    full, read-only, failing, locked, no memory CatalogUnavailable: the same call may succeed later
    everything else                             stays what it is, a mistake of ours

`binwire salvage` (storage/salvage.py) is the way out of the first where there is no backup: unlike the sqlite3 command
it is always there, and it knows what a catalog must not guess.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Final

from storage.errors import CatalogCorrupt, CatalogUnavailable, StorageError

_CORRUPT: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_PASSING: Final = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_READONLY,
    }
)
_LOCKED: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL})
_SEE_TO: Final = "see to the disk and the permissions of its folder"
OPENED: Final = "opened"
CLOSED: Final = "closed"
_PRIMARY_CODE_MASK: Final = 0xFF  # the rest of an extended error code says where it happened


def check_pages(path: Path, connection: sqlite3.Connection) -> None:
    """Read every page. Raises CatalogCorrupt, and sqlite3's own errors."""
    found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if found != "ok":
        raise corrupt(path, found)


def read_only(path: Path) -> str:
    """The address by which SQLite opens a database without changing it."""
    return f"{path.absolute().as_uri()}?mode=ro"


def raise_failure(path: Path, error: BaseException, what: str) -> None:
    """Raise it as `failure_of` says; return if it is no such thing."""
    failure = failure_of(path, error, what)
    if failure is not None:
        raise failure from error


def failure_of(path: Path, error: BaseException, what: str) -> StorageError | None:
    """What a refusal of SQLite's means to those above; None if it is no such thing."""
    code = getattr(error, "sqlite_errorcode", 0) & _PRIMARY_CODE_MASK
    if code in _CORRUPT or _is_undecodable(error):
        return corrupt(path, str(error))
    return unavailable(path, what, str(error), code) if code in _PASSING else None


def _is_undecodable(error: BaseException) -> bool:
    """Whether a text, or the text of SQLite's own complaint with a damaged name in it, is not UTF-8: no code then."""
    is_uncoded = isinstance(error, sqlite3.OperationalError) and not hasattr(error, "sqlite_errorcode")
    return is_uncoded or isinstance(error, UnicodeDecodeError)


def unavailable(path: Path, what: str, reason: str, code: int = 0) -> CatalogUnavailable:
    """The catalog cannot be read or written now."""
    remedy = "end the program that keeps it locked" if code in _LOCKED else _SEE_TO
    then = "start again" if what in (OPENED, CLOSED) else "it goes on by itself"
    return CatalogUnavailable(f"the catalog {path} cannot be {what} ({reason}); {remedy}, and {then}")


def lost_channel(path: Path, topic: str, folder: Path) -> CatalogCorrupt:
    """What to say of records in a log whose channel the catalog at `path` does not know, or has not started yet."""
    return CatalogCorrupt(
        f"the log in {folder} has records of the topic {topic!r} that the catalog {path} knows nothing of: it was "
        f"lost, or is older than the log; {_way_out(path)}"
    )


def corrupt(path: Path, found: str) -> CatalogCorrupt:
    """The catalog is not what was written."""
    what = " ".join(found.split())
    return CatalogCorrupt(f"the catalog {path} is damaged ({what}); stop Binwire, then {_way_out(path)}")


def _way_out(path: Path) -> str:
    return (
        f"put back a backup of the whole data directory, or save what can be read with: "
        f"binwire salvage --data-dir {path.parent}"
    )
