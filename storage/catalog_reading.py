"""The catalog read beside the process that may be writing it: checked, and copied, never changed.

A catalog that nobody has open has no `-wal` beside it and is read as an immutable file, so that not even SQLite's own
side files are made. Otherwise it is read in a transaction of the write-ahead log, which sees one moment of it and
makes no writer wait.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from storage.catalog import VERSION, SchemaVersionRow, later_version
from storage.catalog_failures import OPENED, corrupt, failure_of
from storage.errors import CatalogCorrupt
from storage.files import FILE_MODE

_FINDINGS_MAX: Final = 10


class CatalogContent(NamedTuple):
    """What of a catalog concerns the logs, and what is wrong with its pages."""

    damages: tuple[str, ...]
    topics: dict[str, str]
    """Topic by channel id."""
    offsets: tuple[tuple[str, str, int], ...]
    """Group id, topic, committed offset."""
    orphans: tuple[str, ...]
    """Sentences about rows whose channel or group is not there."""


def read_catalog(path: Path) -> CatalogContent:
    """Check every page of the catalog and every reference in it.

    Raises:
        CatalogCorrupt: it is no database, or too damaged to be read at all.
        UnsupportedFormat: a later version of Binwire wrote it.
        StorageError: the system refuses to read it.
    """
    is_in_use = _is_in_use(path)
    try:
        content = _read(path)
    except CatalogCorrupt:
        content = None
    if content is not None and not content.damages:
        return content
    # Somebody may have opened it meanwhile, and what was read as immutable was not.
    return content if content is not None and is_in_use == _is_in_use(path) else _read(path)


def _read(path: Path) -> CatalogContent:
    with _opened(path) as connection:
        found = connection.execute(f"PRAGMA integrity_check({_FINDINGS_MAX})").fetchall()
        damages = tuple(" ".join(row[0].split()) for row in found if row[0] != "ok")
        if not damages and not connection.execute("SELECT 1 FROM sqlite_master").fetchall():
            return CatalogContent((), {}, (), ())  # it was just begun, or a start was cut short there
        topics = dict(connection.execute("SELECT id, topic FROM channels ORDER BY id").fetchall())
        [(version,)] = connection.execute("PRAGMA user_version")
        orphans = [*_orphans(connection, _ORPHANS), *(_orphans(connection, _ORPHANS_2) if version > 1 else ())]
        offsets = connection.execute("SELECT group_id, topic, offset FROM offsets ORDER BY 1, 2").fetchall()
        return CatalogContent(damages, topics, tuple(offsets), tuple(orphans))


def read_schema_versions(path: Path, channel_id: str, database: str, table: str) -> list[SchemaVersionRow]:
    """What is kept of a table's definitions and of its database's, oldest first; none without a catalog.

    Raises: as `read_catalog`.
    """
    if not path.exists():
        return []
    with _opened(path) as connection:
        rows = connection.execute(
            "SELECT channel_id, file_number, position, database, table_name, definition, ddl FROM schema_versions "
            "WHERE channel_id = ? AND database = ? AND table_name IN ('', ?) ORDER BY sequence",
            (channel_id, database, table),
        ).fetchall()
    return [SchemaVersionRow(*row) for row in rows]


def copy_catalog(path: Path, target: Path) -> None:
    """Make `target` the catalog as it is at one moment; it must not exist yet. Nothing waits for it.

    Raises: as `read_catalog`.
    """
    target.touch(mode=FILE_MODE, exist_ok=False)
    with _opened(path) as connection, closing(sqlite3.connect(target, isolation_level=None)) as copy:
        connection.backup(copy)


@contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    mode = "mode=ro" if _is_in_use(path) else "immutable=1"
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?{mode}", uri=True)) as connection:
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if version > VERSION:
                raise later_version(path, version)
            yield connection
    except (sqlite3.Error, UnicodeDecodeError) as error:
        raise failure_of(path, error, OPENED) or corrupt(path, str(error)) from error


def _is_in_use(path: Path) -> bool:
    """Whether somebody has it open, or had when its process was killed."""
    return path.with_name(path.name + "-wal").exists()


_ORPHANS: Final = (
    ("SELECT id FROM groups WHERE channel_id NOT IN (SELECT id FROM channels)", "group {} belongs to no channel"),
    ("SELECT DISTINCT group_id FROM offsets WHERE group_id NOT IN (SELECT id FROM groups)", "offsets of no group: {}"),
    (
        "SELECT DISTINCT channel_id FROM schema_versions WHERE channel_id NOT IN (SELECT id FROM channels)",
        "schema versions of no channel: {}",
    ),
)


_ORPHANS_2: Final = (
    (
        "SELECT channel_id FROM documents WHERE channel_id NOT IN (SELECT id FROM channels)",
        "a configuration of no channel: {}",
    ),
    (
        "SELECT channel_id FROM source_passwords WHERE channel_id NOT IN (SELECT channel_id FROM documents)",
        "a source's password of no channel: {}",
    ),
)
"""Of tables of the catalog's second version."""


def _orphans(connection: sqlite3.Connection, queries: tuple[tuple[str, str], ...]) -> Iterator[str]:
    for query, sentence in queries:
        for (name,) in connection.execute(query):
            yield sentence.format(name)
