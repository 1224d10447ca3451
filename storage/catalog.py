"""The catalog: everything that is not a record, in one SQLite database in WAL mode.

Owns channels, consumer groups, committed offsets, schema versions and single settings, one table each, and the way
their changes become durable. Rows are opaque here: what a state, a verifier or a definition means is the caller's.

    settings         key, value
    channels         one per channel, keyed by id
    groups           one per consumer group, keyed by its group id
    offsets          one per (group_id, topic, partition)
    schema_versions  one per table and source position, in the order of the source

Invariants: a write is one transaction and durable (synchronous = FULL) when its call, or its `run`, returns; deleting
a channel deletes its groups and schema versions, deleting a group its offsets; `user_version` counts the migrations.
Methods are plain calls for start-up. While serving they go through `run`, which executes them on one thread and makes
what is waiting durable with one commit.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import astuple, dataclass, field, fields
from pathlib import Path
from typing import Any, Final, ParamSpec, TypeVar

from storage.commits import CommitThread
from storage.errors import CatalogCorrupt, CatalogUnavailable, StorageError, UnsupportedFormat
from storage.files import FILE_MODE

P = ParamSpec("P")
R = TypeVar("R")

_MIGRATIONS: Final = (
    (
        "CREATE TABLE settings (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID, STRICT",
        """CREATE TABLE channels (
            id TEXT PRIMARY KEY, name TEXT NOT NULL, topic TEXT NOT NULL UNIQUE, source TEXT NOT NULL,
            server_id INTEGER NOT NULL, start TEXT, objects TEXT NOT NULL, id_base INTEGER NOT NULL,
            created_ms INTEGER NOT NULL, state TEXT NOT NULL, reason TEXT
        ) WITHOUT ROWID, STRICT""",
        """CREATE TABLE groups (
            id TEXT PRIMARY KEY, channel_id TEXT NOT NULL, name TEXT NOT NULL, username TEXT NOT NULL, verifier TEXT
        ) WITHOUT ROWID, STRICT""",
        "CREATE INDEX groups_by_channel ON groups (channel_id)",
        """CREATE TABLE offsets (
            group_id TEXT NOT NULL, topic TEXT NOT NULL, partition INTEGER NOT NULL, offset INTEGER NOT NULL,
            metadata TEXT NOT NULL, commit_timestamp_ms INTEGER NOT NULL, PRIMARY KEY (group_id, topic, partition)
        ) WITHOUT ROWID, STRICT""",
        """CREATE TABLE schema_versions (
            sequence INTEGER PRIMARY KEY, channel_id TEXT NOT NULL, file_number INTEGER NOT NULL,
            position INTEGER NOT NULL, database TEXT NOT NULL, table_name TEXT NOT NULL, definition TEXT, ddl TEXT
        ) STRICT""",
        "CREATE INDEX schema_versions_by_position ON schema_versions (channel_id, file_number, position)",
    ),
)
"""One entry per `user_version`; an entry that was released is never changed."""
VERSION: Final = len(_MIGRATIONS)

_PRAGMAS: Final = ("journal_mode = WAL", "synchronous = FULL", "busy_timeout = 5000")


@dataclass(frozen=True, slots=True)
class ChannelRow:
    """A channel. `source` carries no password; `start` and `objects` are JSON."""

    id: str
    name: str
    topic: str
    source: str
    server_id: int
    start: str | None
    objects: str
    id_base: int
    created_ms: int
    state: str
    reason: str | None


@dataclass(frozen=True, slots=True)
class GroupRow:
    """A consumer group and its account; `verifier` is what a password is checked against."""

    id: str
    channel_id: str
    name: str
    username: str
    verifier: str | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class OffsetRow:
    """What a group committed for one partition."""

    group_id: str
    topic: str
    partition: int
    offset: int
    metadata: str
    commit_timestamp_ms: int


@dataclass(frozen=True, slots=True)
class SchemaVersionRow:
    """A table's definition (JSON, None once dropped) from a source position on, and the statement that made it."""

    channel_id: str
    file_number: int
    position: int
    database: str
    table: str
    definition: str | None
    ddl: str | None


class Catalog:
    """An open catalog; made by `open`, ended by `close`."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection = connection
        self._lock = threading.RLock()
        self._commits = CommitThread(self._transaction, self._savepoint)

    @classmethod
    def open(cls, path: Path) -> Catalog:
        """Create the database if there is none, check it, bring it to the current version.

        Raises:
            CatalogCorrupt: it is not a database, or its pages do not verify.
            UnsupportedFormat: a newer version of Binwire wrote it.
            StorageError: the system refuses to create or read it.
        """
        try:
            path.touch(mode=FILE_MODE)
            connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        except (OSError, sqlite3.Error) as error:
            raise StorageError(f"the catalog {path} cannot be opened ({error})") from error
        try:
            for pragma in _PRAGMAS:
                connection.execute(f"PRAGMA {pragma}").fetchall()
            found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
            if found != "ok":
                raise _corrupt(path, found)
            catalog = cls(path, connection)
            catalog._migrate()
        except sqlite3.DatabaseError as error:
            connection.close()
            if isinstance(error, sqlite3.OperationalError):
                raise StorageError(f"the catalog {path} cannot be used ({error})") from error
            raise _corrupt(path, str(error)) from error
        except StorageError:
            connection.close()
            raise
        return catalog

    def close(self) -> None:
        """Finish what was given to `run`, then close; a closed catalog takes nothing more."""
        self._commits.close()
        with self._lock:
            self._connection.close()

    async def run(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """`function(...)` on the catalog's thread; returns its result once what it wrote is durable.

        Calls waiting together share one commit; one that raises undoes only itself.
        """
        return await self._commits.run(lambda: function(*args, **kwargs))

    def probe(self) -> None:
        """Write without changing anything.

        Raises:
            CatalogUnavailable: it cannot be written.
        """
        with self._transaction():
            self._connection.execute(f"PRAGMA user_version = {len(_MIGRATIONS)}")

    def setting(self, key: str) -> str | None:
        rows = self._select("SELECT value FROM settings WHERE key = ?", key)
        return rows[0][0] if rows else None

    def set_setting(self, key: str, value: str) -> None:
        self._change("INSERT OR REPLACE INTO settings VALUES (?, ?)", [(key, value)])

    def channels(self) -> list[ChannelRow]:
        """All channels, oldest first."""
        return [ChannelRow(*row) for row in self._select(f"{_select(ChannelRow, 'channels')} ORDER BY created_ms, id")]

    def put_channel(self, row: ChannelRow) -> None:
        self._change(_put(ChannelRow, "channels", "id"), [astuple(row)])

    def delete_channel(self, channel_id: str) -> None:
        """Delete the channel with its groups, their offsets, and its schema versions."""
        with self._transaction():
            for group in self.groups(channel_id):
                self.delete_group(group.id)
            self._change("DELETE FROM schema_versions WHERE channel_id = ?", [(channel_id,)])
            self._change("DELETE FROM channels WHERE id = ?", [(channel_id,)])

    def groups(self, channel_id: str | None = None) -> list[GroupRow]:
        """The groups of a channel, or all, by id."""
        query = _select(GroupRow, "groups")
        if channel_id is None:
            return [GroupRow(*row) for row in self._select(f"{query} ORDER BY id")]
        return [GroupRow(*row) for row in self._select(f"{query} WHERE channel_id = ? ORDER BY id", channel_id)]

    def put_group(self, row: GroupRow) -> None:
        self._change(_put(GroupRow, "groups", "id"), [astuple(row)])

    def delete_group(self, group_id: str) -> None:
        """Delete the group with its committed offsets."""
        with self._transaction():
            self.delete_offsets(group_id)
            self._change("DELETE FROM groups WHERE id = ?", [(group_id,)])

    def offsets(self) -> list[OffsetRow]:
        """Everything every group committed."""
        query = f"{_select(OffsetRow, 'offsets')} ORDER BY group_id, topic, partition"
        return [OffsetRow(*row) for row in self._select(query)]

    def put_offsets(self, rows: Iterable[OffsetRow]) -> None:
        self._change(_put(OffsetRow, "offsets", "group_id, topic, partition"), [astuple(row) for row in rows])

    def delete_offsets(self, group_id: str) -> None:
        self._change("DELETE FROM offsets WHERE group_id = ?", [(group_id,)])

    def schema_versions(self, channel_id: str) -> list[SchemaVersionRow]:
        """The versions of a channel's tables in the order of the source; at one position in the order added."""
        rows = self._select(
            "SELECT channel_id, file_number, position, database, table_name, definition, ddl FROM schema_versions "
            "WHERE channel_id = ? ORDER BY file_number, position, sequence",
            channel_id,
        )
        return [SchemaVersionRow(*row) for row in rows]

    def add_schema_versions(self, rows: Iterable[SchemaVersionRow]) -> None:
        self._change(
            "INSERT INTO schema_versions (channel_id, file_number, position, database, table_name, definition, ddl) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            [astuple(row) for row in rows],
        )

    def drop_schema_versions_after(self, channel_id: str, file_number: int, position: int) -> None:
        """Forget what lies beyond a position: the log resumes there and the source will say it again."""
        self._change(
            "DELETE FROM schema_versions WHERE channel_id = ? AND (file_number, position) > (?, ?)",
            [(channel_id, file_number, position)],
        )

    def _select(self, query: str, *parameters: object) -> list[Any]:
        with self._lock:
            try:
                return self._connection.execute(query, parameters).fetchall()
            except sqlite3.OperationalError as error:
                raise CatalogUnavailable(
                    f"the catalog {self.path} cannot be read ({error}); see to the disk and the permissions of its "
                    f"folder, and it goes on by itself"
                ) from error

    def _change(self, statement: str, rows: list[tuple[Any, ...]]) -> None:
        with self._transaction():
            self._connection.executemany(statement, rows)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """One durable transaction; inside another one of the same thread, a part of it."""
        with self._lock:
            if self._connection.in_transaction:
                yield
                return
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                yield
                self._require_transaction()
                self._connection.execute("COMMIT")
            except BaseException as error:
                self._roll_back()
                if isinstance(error, sqlite3.OperationalError):
                    raise self._unwritable(str(error)) from error
                raise

    def _roll_back(self) -> None:
        # SQLite ends a transaction itself when the disk is full or a page cannot be read.
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    def _require_transaction(self) -> None:
        """Whoever shares a transaction that SQLite ended (`_roll_back` says when) has written nothing."""
        if not self._connection.in_transaction:
            raise self._unwritable("another write of the same transaction failed")

    def _unwritable(self, reason: str) -> CatalogUnavailable:
        return CatalogUnavailable(
            f"the catalog {self.path} cannot be written ({reason}); see to the disk and the permissions of its folder, "
            f"and it goes on by itself"
        )

    @contextmanager
    def _savepoint(self) -> Iterator[None]:
        self._require_transaction()  # without one the savepoint would commit on its own
        self._connection.execute("SAVEPOINT job")
        try:
            yield
        except BaseException as error:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK TO job")
            if isinstance(error, sqlite3.OperationalError):
                raise self._unwritable(str(error)) from error
            raise
        finally:
            if self._connection.in_transaction:
                self._connection.execute("RELEASE job")

    def _migrate(self) -> None:
        version = self._select("PRAGMA user_version")[0][0]
        if version > len(_MIGRATIONS):
            raise UnsupportedFormat(
                f"the catalog {self.path} has version {version} and this version of Binwire reads up to "
                f"{len(_MIGRATIONS)}; use the version that wrote it"
            )
        for number, statements in enumerate(_MIGRATIONS[version:], version + 1):
            with self._transaction():
                for statement in (*statements, f"PRAGMA user_version = {number}"):
                    self._connection.execute(statement)


def _columns(row: type) -> str:
    return ", ".join(column.name for column in fields(row))


def _select(row: type, table: str) -> str:
    return f"SELECT {_columns(row)} FROM {table}"  # noqa: S608 — both are names of this module


def _put(row: type, table: str, key: str) -> str:
    """A row goes in or takes the place of the one with its key; any other row it collides with is an error, where
    INSERT OR REPLACE would delete that one.
    """
    marks = ", ".join("?" for _ in fields(row))
    changes = ", ".join(f"{field.name} = excluded.{field.name}" for field in fields(row))
    return f"INSERT INTO {table} ({_columns(row)}) VALUES ({marks}) ON CONFLICT ({key}) DO UPDATE SET {changes}"  # noqa: S608 — as above


def stored_start(path: Path, channel_id: str) -> str | None:
    """The `start` of a channel in a catalog that another process may have open; None if it has none, or there is none.

    Raises:
        StorageError: it is there and cannot be read.
    """
    if not path.exists():
        return None
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            row: tuple[str | None] | None = connection.execute(
                "SELECT start FROM channels WHERE id = ?", (channel_id,)
            ).fetchone()
    except sqlite3.Error as error:
        raise StorageError(f"the catalog {path} cannot be read ({error})") from error
    return None if row is None else row[0]


def _corrupt(path: Path, found: str) -> CatalogCorrupt:
    what = " ".join(found.split())
    return CatalogCorrupt(
        f"the catalog {path} is damaged ({what}); stop Binwire, put a backup in its place, or salvage it with: "
        f"sqlite3 {path} .recover | sqlite3 {path}.recovered"
    )
