"""The catalog: everything that is not a record, in one SQLite database in WAL mode.

Owns channels, consumer groups, committed offsets, schema versions and single settings, one table each, and the way
their changes become durable. Rows are opaque here: what a state, a verifier or a definition means is the caller's.

    settings         key, value
    channels         one per channel, keyed by id
    groups           one per consumer group, keyed by its group id
    offsets          one per (group_id, topic, partition)
    schema_versions  one per table and source position, in the order of the source
    documents        one per channel made by an operation: its configuration as JSON, and whether it is started
    source_passwords one per such channel; in nobody's sight but the source's
    releases         topics whose logs are to be deleted: what was released, or begun and not finished
    alert_rules      one per rule, as JSON
    incidents        what rules were broken by, as JSON

Invariants: a write is one transaction and durable (synchronous = FULL) when its call, or its `run`, returns; deleting
a channel deletes its groups, schema versions and document, deleting a group its offsets; `user_version` counts the
migrations. The file is readable by its owner only (`FILE_MODE`), as are its copies: it has passwords of sources.
Methods are plain calls and may wait for the medium. A server makes them through `run`, which executes them on one
thread and makes what is waiting durable with one commit; its event loop never waits for the lock of a commit.

A catalog of up to `CHECKED_BYTES_MAX` has all its pages checked when it is opened. A larger one only has its tables
looked for then, and `verify` checks the rest beside what goes on: an open takes no longer the more there is.

What SQLite refuses comes as one of three: `CatalogCorrupt` (somebody has to act), `CatalogUnavailable` (full,
read-only, failing or locked: the same call may succeed later), or sqlite3's own error, which is a mistake of ours.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, Final, ParamSpec, TypeVar

from msgspec import Struct
from msgspec.structs import astuple

from storage.catalog_control import CONTROL_TABLES, SALVAGED, ControlTables, putting, selecting
from storage.catalog_failures import (
    CLOSED,
    OPENED,
    check_pages,
    corrupt,
    failure_of,
    raise_failure,
    read_only,
    unavailable,
)
from storage.commits import CommitThread
from storage.errors import StorageError, UnsupportedFormat
from storage.files import FILE_MODE, Files

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
    CONTROL_TABLES,
)
"""One entry per `user_version`; an entry that was released is never changed."""
VERSION: Final = len(_MIGRATIONS)

WAL_BYTES_MAX: Final = 16 << 20
"""What the write-ahead log is cut to once a reader that kept it from being used again is gone."""

CHECKED_BYTES_MAX: Final = 16 << 20
"""Up to this size every page is checked when the catalog is opened: 12 ms where 105 MB took 65 ms."""

CLOSE_S: Final = 30
"""How long the end of the process waits for a medium that hangs."""

_PRAGMAS: Final = (
    "journal_mode = WAL",
    "fullfsync = ON",  # macOS: flush the medium's own cache too; nothing elsewhere
    "checkpoint_fullfsync = ON",
    "busy_timeout = 5000",
    "secure_delete = ON",  # the password of a released channel's source is not to stay in a free page
    f"journal_size_limit = {WAL_BYTES_MAX}",
)

_DEFINITIONS_LOST: Final = "definitions lost: "
"""Begins the key of a setting; the channel's id ends it."""
_UNCLAIMED: Final = "log without a channel: "
"""The same, with the topic."""


class ChannelRow(Struct, frozen=True):
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


class GroupRow(Struct, frozen=True):
    """A consumer group and its account; `verifier` is what a password is checked against."""

    id: str
    channel_id: str
    name: str
    username: str
    verifier: str | None

    def __repr__(self) -> str:
        return f"GroupRow({self.id!r}, {self.channel_id!r}, {self.name!r}, {self.username!r})"


class OffsetRow(Struct, frozen=True):
    """What a group committed for one partition."""

    group_id: str
    topic: str
    partition: int
    offset: int
    metadata: str
    commit_timestamp_ms: int


class SchemaVersionRow(Struct, frozen=True):
    """A table's definition (JSON, None once dropped) from a source position on, and the statement that made it."""

    channel_id: str
    file_number: int
    position: int
    database: str
    table: str
    definition: str | None
    ddl: str | None


class SchemaEntryRow(Struct, frozen=True):
    """Where a schema version stands, without its text: `definition` is that of a database, None for a table.

    `exists` is 0 for what was dropped.
    """

    sequence: int
    file_number: int
    position: int
    database: str
    table: str
    definition: str | None
    exists: int


class Catalog(ControlTables):
    """An open catalog; made by `open`, ended by `close`."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self.is_verified = False
        """Whether every page was checked when it was opened; if not, `verify` is to be called."""
        self._connection = connection
        self._lock = threading.RLock()
        self._depth = 0
        """Blocks of `_transaction` that are open; only the outermost begins and commits."""
        self._checking: sqlite3.Connection | None = None
        self._is_closed = False
        self._commits = CommitThread(self._transaction, self._savepoint)

    @classmethod
    def open(cls, path: Path, files: Files | None = None, *, is_volatile: bool = False) -> Catalog:
        """Create the database if there is none, check it, bring it to the current version.

        With `is_volatile` nothing is asked of the medium: a machine that loses its power loses the catalog.

        Raises:
            CatalogCorrupt: it is not a database, or its pages do not verify.
            UnsupportedFormat: a newer version of Binwire wrote it, or another program.
            StorageError: the system refuses to create or read it.
        """
        try:
            path.touch(mode=FILE_MODE)
            is_new = path.stat().st_size == 0
            connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        except (OSError, sqlite3.Error) as error:
            raise StorageError(f"the catalog {path} cannot be opened ({error})") from error
        try:
            catalog = cls(path, connection)
            catalog._set_up("OFF" if is_volatile else "FULL")
            if is_new:
                (files or Files()).sync_directory(path.parent)
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
            connection.close()
            raise failure_of(path, error, OPENED) or corrupt(path, str(error)) from error
        except OSError as error:
            connection.close()
            raise StorageError(f"the catalog {path} cannot be made durable ({error.strerror})") from error
        except StorageError:
            connection.close()
            raise
        return catalog

    def close(self) -> None:
        """Finish what was given to `run`, then close; a closed catalog takes nothing more.

        Raises:
            CatalogUnavailable: a write did not come to its end, as on a medium that hangs; whoever waits for it still
                waits, and the next open finds it whole or not at all.
        """
        self._is_closed = True
        checking = self._checking
        if checking is not None:
            with suppress(sqlite3.ProgrammingError):  # it has just ended
                checking.interrupt()
        if not self._commits.close(CLOSE_S):
            raise unavailable(self.path, CLOSED, f"a write has not ended within {CLOSE_S} s")
        with self._lock:
            self._connection.close()

    def verify(self) -> None:
        """Check every page, on a connection of its own and on any thread; ended early by `close`.

        Raises:
            CatalogCorrupt: a page does not verify.
            StorageError: the system refuses to read it.
        """
        try:
            with closing(sqlite3.connect(read_only(self.path), uri=True, check_same_thread=False)) as connection:
                self._checking = connection
                try:
                    if not self._is_closed:
                        check_pages(self.path, connection)
                finally:
                    self._checking = None
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
                raise failure_of(self.path, error, "read") or corrupt(self.path, str(error)) from error
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
            raise failure_of(self.path, error, "read") or corrupt(self.path, str(error)) from error

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

    def lose_definitions(self, channel_id: str) -> None:
        """Say that the schema versions of a channel are not what its log was written by: they are read anew."""
        self.set_setting(_DEFINITIONS_LOST + channel_id, "")

    def has_lost_definitions(self, channel_id: str) -> bool:
        return self.setting(_DEFINITIONS_LOST + channel_id) is not None

    def renew_definitions(self, row: ChannelRow, versions: Iterable[SchemaVersionRow]) -> None:
        """Start and definitions of a channel become durable in one transaction, so that neither is ever found without
        the other; what was there before goes.
        """
        with self._transaction():
            self._change("DELETE FROM schema_versions WHERE channel_id = ?", [(row.id,)])
            self.add_schema_versions(versions)
            self.put_channel(row)
            self._forget_setting(_DEFINITIONS_LOST + row.id)

    def change_objects(self, row: ChannelRow, versions: Iterable[SchemaVersionRow]) -> None:
        """The objects of a channel and the definitions of what they add become durable in one transaction."""
        with self._transaction():
            self.add_schema_versions(versions)
            self.put_channel(row)

    def offer_log(self, topic: str) -> None:
        """Say that somebody wants the log of a topic to go on although its channel is not known any more."""
        self.set_setting(_UNCLAIMED + topic, "")

    def is_log_offered(self, topic: str) -> bool:
        return self.setting(_UNCLAIMED + topic) is not None

    def claim_log(self, row: ChannelRow) -> None:
        """Give an offered log to the channel `row`, which knows none of the definitions that it was written by."""
        with self._transaction():
            self.put_channel(row)
            self.lose_definitions(row.id)
            self._forget_setting(_UNCLAIMED + row.topic)

    def restore(
        self,
        settings: Mapping[str, str],
        channels: Iterable[ChannelRow],
        groups: Iterable[GroupRow],
        offsets: Iterable[OffsetRow],
        others: Mapping[str, Iterable[tuple[Any, ...]]] | None = None,
    ) -> int:
        """Put back rows that were read from a damaged catalog; returns how many of them no catalog can have had.
        `others` has rows of the tables of `SALVAGED`, in the order of their columns.
        """
        refused = 0
        writes: list[tuple[Callable[..., None], tuple[Any, ...]]] = [
            *((self.set_setting, item) for item in settings.items()),
            *((self.put_channel, (row,)) for row in channels),
            *((self.put_group, (row,)) for row in groups),
            *((self.put_offsets, ([row],)) for row in offsets),
            *((self._put_back, (table, row)) for table, rows in (others or {}).items() for row in rows),
        ]
        with self._transaction():
            for write, arguments in writes:
                try:
                    write(*arguments)
                except (sqlite3.IntegrityError, sqlite3.ProgrammingError):
                    refused += 1
        return refused

    def _put_back(self, table: str, row: tuple[Any, ...]) -> None:
        self._change(f"INSERT OR REPLACE INTO {table} VALUES ({', '.join('?' * len(row))})", [row])  # noqa: S608 — a name of this module

    def channels(self) -> list[ChannelRow]:
        """All channels, oldest first."""
        return [
            ChannelRow(*row) for row in self._select(f"{selecting(ChannelRow, 'channels')} ORDER BY created_ms, id")
        ]

    def channel(self, channel_id: str) -> ChannelRow | None:
        """One channel, if it is there."""
        rows = self._select(f"{selecting(ChannelRow, 'channels')} WHERE id = ?", channel_id)
        return ChannelRow(*rows[0]) if rows else None

    def channels_of(self, channel_id: str, topic: str) -> list[ChannelRow]:
        """Those that have the id or the topic: two, where they are of different channels."""
        rows = self._select(f"{selecting(ChannelRow, 'channels')} WHERE id = ? OR topic = ?", channel_id, topic)
        return [ChannelRow(*row) for row in rows]

    def put_channel(self, row: ChannelRow) -> None:
        self._change(putting(ChannelRow, "channels", "id"), [astuple(row)])

    def delete_channel(self, channel_id: str) -> None:
        """Delete the channel with its groups, their offsets, and its schema versions."""
        with self._transaction():
            for group in self.groups(channel_id):
                self.delete_group(group.id)
            self._change("DELETE FROM schema_versions WHERE channel_id = ?", [(channel_id,)])
            self._change("DELETE FROM channels WHERE id = ?", [(channel_id,)])
            self._forget_setting(_DEFINITIONS_LOST + channel_id)
            self.delete_document(channel_id)

    def release_channel(self, channel_id: str, topic: str) -> None:
        """Delete the channel with all that belongs to it, and note that its log goes too, in one transaction."""
        with self._transaction():
            self.delete_channel(channel_id)
            self._change("DELETE FROM offsets WHERE topic = ?", [(topic,)])
            self._forget_setting(_UNCLAIMED + topic)
            self.note_release(topic)

    # Groups and what they committed

    def groups(self, channel_id: str | None = None) -> list[GroupRow]:
        """The groups of a channel, or all, by id."""
        query = selecting(GroupRow, "groups")
        if channel_id is None:
            return [GroupRow(*row) for row in self._select(f"{query} ORDER BY id")]
        return [GroupRow(*row) for row in self._select(f"{query} WHERE channel_id = ? ORDER BY id", channel_id)]

    def group(self, group_id: str) -> GroupRow | None:
        """One group, if it is there."""
        rows = self._select(f"{selecting(GroupRow, 'groups')} WHERE id = ?", group_id)
        return GroupRow(*rows[0]) if rows else None

    def put_group(self, row: GroupRow) -> None:
        self.put_groups([row])

    def put_groups(self, rows: Iterable[GroupRow]) -> None:
        self._change(putting(GroupRow, "groups", "id"), [astuple(row) for row in rows])

    def delete_group(self, group_id: str) -> None:
        """Delete the group with its committed offsets."""
        with self._transaction():
            self.delete_offsets(group_id)
            self._change("DELETE FROM groups WHERE id = ?", [(group_id,)])

    def offsets(self) -> list[OffsetRow]:
        """Everything every group committed."""
        query = f"{selecting(OffsetRow, 'offsets')} ORDER BY group_id, topic, partition"
        return [OffsetRow(*row) for row in self._select(query)]

    def put_offsets(self, rows: Iterable[OffsetRow]) -> None:
        self._change(putting(OffsetRow, "offsets", "group_id, topic, partition"), [astuple(row) for row in rows])

    def delete_offsets(self, group_id: str) -> None:
        self._change("DELETE FROM offsets WHERE group_id = ?", [(group_id,)])

    def schema_versions(self, channel_id: str) -> list[SchemaVersionRow]:
        """The versions of a channel's tables in the order of the source; at one position in the order added."""
        rows = self._select(
            f"{_SCHEMA_VERSIONS} WHERE channel_id = ? ORDER BY file_number, position, sequence",
            channel_id,
        )
        return [SchemaVersionRow(*row) for row in rows]

    def newest_schema_versions(self, channel_id: str) -> list[SchemaVersionRow]:
        """The last version of each of a channel's tables, in the order of the source: what a resumed stream needs, of
        however long a history.
        """
        return [SchemaVersionRow(*row) for row in self._select(_NEWEST_SCHEMA_VERSIONS, channel_id)]

    def schema_entries(self, channel_id: str) -> list[SchemaEntryRow]:
        """The newest versions again, without the texts of tables: there may be very many, of which few are needed."""
        rows = self._select(_NEWEST_SCHEMA_ENTRIES, channel_id)
        return [SchemaEntryRow(*row) for row in rows]

    def schema_definitions(self, sequences: Iterable[int]) -> dict[int, str]:
        """The texts of versions of tables, by the number of their entry."""
        found = {}
        for sequence in sequences:
            for row in self._select("SELECT definition FROM schema_versions WHERE sequence = ?", sequence):
                found[sequence] = row[0]
        return found

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
            except (sqlite3.Error, UnicodeDecodeError) as error:
                raise_failure(self.path, error, "read")
                raise

    def _change(self, statement: str, rows: list[tuple[Any, ...]]) -> None:
        with self._transaction():
            self._connection.executemany(statement, rows)

    def _forget_setting(self, key: str) -> None:
        self._change("DELETE FROM settings WHERE key = ?", [(key,)])

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """One durable transaction; inside another one of the same thread, a part of it."""
        with self._lock:
            if self._depth:
                yield
                return
            try:
                self._depth = 1
                self._roll_back()  # what a failed one could not
                self._connection.execute("BEGIN IMMEDIATE")
                yield
                self._require_transaction()
                self._connection.execute("COMMIT")
            except BaseException as error:
                with suppress(sqlite3.Error):  # the next one tries again, before it begins
                    self._roll_back()
                raise_failure(self.path, error, "written")
                raise
            finally:
                self._depth = 0

    def _roll_back(self) -> None:
        # SQLite ends a transaction itself when the disk is full or a page cannot be read.
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    def _require_transaction(self) -> None:
        """Whoever shares a transaction that SQLite ended (`_roll_back` says when) has written nothing."""
        if not self._connection.in_transaction:
            raise unavailable(self.path, "written", "another write of the same transaction failed")

    @contextmanager
    def _savepoint(self) -> Iterator[None]:
        self._require_transaction()  # without one the savepoint would commit on its own
        self._connection.execute("SAVEPOINT job")
        try:
            yield
        except BaseException as error:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK TO job")
            raise_failure(self.path, error, "written")
            raise
        finally:
            if self._connection.in_transaction:
                self._connection.execute("RELEASE job")

    # Opening

    def _set_up(self, synchronous: str) -> None:
        """What `open` does once there is a connection."""
        for pragma in (*_PRAGMAS, f"synchronous = {synchronous}"):
            self._connection.execute(f"PRAGMA {pragma}").fetchall()
        version = self._require_ours()
        if self._size_bytes() <= CHECKED_BYTES_MAX:
            check_pages(self.path, self._connection)
            self.is_verified = True
        self._migrate(version)
        for query in _QUERIES:
            try:
                self._connection.execute(f"{query} LIMIT 0")
            except (sqlite3.OperationalError, UnicodeDecodeError) as error:
                # Where the page of the table list is damaged, tables are missing, which SQLite calls a plain error.
                raise failure_of(self.path, error, "read") or corrupt(self.path, str(error)) from error

    def _size_bytes(self) -> int:
        """With what is still in the write-ahead log."""
        [(pages,)] = self._connection.execute("PRAGMA page_count")
        [(page_bytes,)] = self._connection.execute("PRAGMA page_size")
        return int(pages * page_bytes)

    def _require_ours(self) -> int:
        """The catalog's version, refused if it is another program's database or a newer one's."""
        [(version,)] = self._connection.execute("PRAGMA user_version").fetchall()
        if version > VERSION:
            raise later_version(self.path, version)
        if version < 0:
            raise corrupt(self.path, f"its version is {version}")
        found = self._connection.execute("SELECT name FROM sqlite_master LIMIT 1").fetchone()
        if version == 0 and found is not None:
            raise UnsupportedFormat(
                f"the database {self.path} is not a catalog of Binwire: it has no version and a table {found[0]!r}; "
                f"move it away, and put back the catalog of a backup if there was one"
            )
        return int(version)

    def _migrate(self, version: int) -> None:
        for number, statements in enumerate(_MIGRATIONS[version:], version + 1):
            with self._transaction():
                for statement in (*statements, f"PRAGMA user_version = {number}"):
                    self._connection.execute(statement)


def later_version(path: Path, version: int) -> UnsupportedFormat:
    """A catalog that a later version of Binwire wrote."""
    return UnsupportedFormat(
        f"the catalog {path} has version {version} and this version of Binwire reads up to {VERSION}; use the version "
        f"that wrote it, or put back a backup of the whole data directory that was made before it was upgraded"
    )


_SCHEMA_VERSIONS: Final = (
    "SELECT channel_id, file_number, position, database, table_name, definition, ddl FROM schema_versions"
)
_NEWEST: Final = """WHERE sequence IN (
    SELECT sequence FROM (
        SELECT sequence, row_number() OVER (
            PARTITION BY database, table_name ORDER BY file_number DESC, position DESC, sequence DESC
        ) AS age FROM schema_versions WHERE channel_id = ?
    ) WHERE age = 1
) ORDER BY file_number, position, sequence"""
_NEWEST_SCHEMA_VERSIONS: Final = f"{_SCHEMA_VERSIONS} {_NEWEST}"
_NEWEST_SCHEMA_ENTRIES: Final = f"""SELECT sequence, file_number, position, database, table_name,
    CASE table_name WHEN '' THEN definition END, definition IS NOT NULL FROM schema_versions {_NEWEST}"""  # noqa: S608
_QUERIES: Final = (
    "SELECT key, value FROM settings",
    selecting(ChannelRow, "channels"),
    selecting(GroupRow, "groups"),
    selecting(OffsetRow, "offsets"),
    _SCHEMA_VERSIONS,
    *(f"SELECT {names} FROM {table}" for table, names, _ in SALVAGED),  # noqa: S608 — names of this module
)
"""Every table with its columns, to be found when it is opened."""


def stored_start(path: Path, channel_id: str) -> str | None:
    """The `start` of a channel in a catalog that another process may have open; None if it has none, or there is none.

    Raises:
        StorageError: it is there and cannot be read.
    """
    if not path.exists():
        return None
    try:
        with closing(sqlite3.connect(read_only(path), uri=True)) as connection:
            row: tuple[str | None] | None = connection.execute(
                "SELECT start FROM channels WHERE id = ?", (channel_id,)
            ).fetchone()
    except sqlite3.Error as error:
        raise StorageError(f"the catalog {path} cannot be read ({error})") from error
    return None if row is None else row[0]
