"""A new catalog from what can be read of a damaged one, and from the logs that nobody knows any more.

Kept are settings, channels, groups, committed offsets, and what operations made (`SALVAGED`): each table is read from
its beginning and from its end, as far as its pages go. Schema versions are not: a history that may have a hole would
name columns wrongly without saying so. Every channel is marked instead, and reads its definitions anew at the position
where its log ends, if it can be proven that they hold there; the same goes for a log whose channel is lost
(`Catalog.offer_log`). So a whole catalog that is older than its logs, as from a backup of that file alone, becomes
exact again by this too.

Invariant: the old catalog stays beside the new one, under a name that ends in .damaged. Whoever calls holds the lock
of the data directory.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any

from msgspec import Struct

from storage.catalog import VERSION, Catalog, ChannelRow, GroupRow, OffsetRow
from storage.catalog_control import SALVAGED, columns
from storage.errors import StorageError
from storage.files import DAMAGED_SUFFIX, FILE_MODE, Files


class Salvage(Struct, frozen=True):
    """What a new catalog was made of."""

    channels: tuple[ChannelRow, ...]
    groups: int
    offsets: int
    logs_offered: tuple[str, ...]
    """Topics that have a log and no channel."""
    is_complete: bool
    """Whether every row of the old one could be read and put back."""
    kept_as: Path | None
    """Where the old one is now, None if there was none."""


def salvage(path: Path, topics: Iterable[str], files: Files | None = None) -> Salvage:
    """Put a new catalog in the place of the one at `path`; `topics` are those that have a log.

    Raises:
        StorageError: the system refuses to write it; the old one is as it was.
    """
    files = files or Files()
    try:
        kept_as = _keep(files, path)
        old = _Reading(kept_as)
        settings = dict(old.rows("settings", "key, value", "key"))
        channels = [ChannelRow(*row) for row in old.rows("channels", columns(ChannelRow), "id")]
        groups = [GroupRow(*row) for row in old.rows("groups", columns(GroupRow), "id")]
        offsets = [OffsetRow(*row) for row in old.rows("offsets", columns(OffsetRow), "group_id, topic, partition")]
        others = {table: old.rows(table, names, key) for table, names, key in SALVAGED if old.version > 1}
        new = path.with_name(path.name + ".salvaged")
        _unlink_with_companions(files, new)
        with closing(Catalog.open(new, files)) as catalog:
            refused = catalog.restore(settings, channels, groups, offsets, others)
            restored = tuple(catalog.channels())
            offered = tuple(sorted(set(topics) - {row.topic for row in restored}))
            for row in restored:
                catalog.lose_definitions(row.id)
            for topic in offered:
                catalog.offer_log(topic)
            counts = len(catalog.groups()), len(catalog.offsets())
        # The old log of changes must be gone before the new database has its name: it would be applied to that.
        _unlink_with_companions(files, path, ("-wal", "-shm"))
        files.sync_directory(path.parent)
        files.rename(new, path)
        files.sync_directory(path.parent)
    except OSError as error:
        raise StorageError(f"the catalog {path} cannot be replaced ({error.strerror or error})") from error
    return Salvage(restored, *counts, offered, old.is_whole and not refused, kept_as)


def _keep(files: Files, path: Path) -> Path | None:
    """Copy the catalog with its log of changes under a name that is free."""
    if not path.exists():
        return None
    names = (path.with_name(f"{path.name}{number or ''}{DAMAGED_SUFFIX}") for number in count())
    copy = next(name for name in names if not name.exists())
    for end in ("-wal", ""):
        source = path.with_name(path.name + end)
        if source.exists():
            target = Path(shutil.copyfile(source, copy.with_name(copy.name + end)))
            target.chmod(FILE_MODE)
            with files.opened(target) as descriptor:
                files.sync(descriptor)
    files.sync_directory(path.parent)
    return copy


def _unlink_with_companions(files: Files, path: Path, ends: Iterable[str] = ("", "-wal", "-shm")) -> None:
    for end in ends:
        files.unlink(path.with_name(path.name + end))


class _Reading:
    """A damaged catalog, read as far as it goes."""

    def __init__(self, path: Path | None) -> None:
        self.is_whole = path is not None
        self._path = path

    @property
    def version(self) -> int:
        """The catalog's version; the newest if that cannot be read."""
        if self._path is None:
            return VERSION
        try:
            with closing(sqlite3.connect(self._path)) as connection:
                found: int = connection.execute("PRAGMA user_version").fetchone()[0]
        except (sqlite3.Error, UnicodeDecodeError):
            return VERSION
        return found

    def rows(self, table: str, names: str, key: str) -> list[tuple[Any, ...]]:
        """The rows of a table, from both of its ends up to where it cannot be read."""
        found: dict[tuple[Any, ...], tuple[Any, ...]] = {}
        if self._path is not None:
            keys = key.split(", ")
            for order in ("ASC", "DESC"):
                by = ", ".join(f"{name} {order}" for name in keys)
                self._read(self._path, f"SELECT {key}, {names} FROM {table} ORDER BY {by}", len(keys), found)  # noqa: S608 — names of this module
        return list(found.values())

    def _read(self, path: Path, query: str, keys: int, found: dict[tuple[Any, ...], tuple[Any, ...]]) -> None:
        try:
            with closing(sqlite3.connect(path)) as connection:
                for row in connection.execute(query):
                    found[row[:keys]] = row[keys:]
        except (sqlite3.Error, UnicodeDecodeError):
            self.is_whole = False
