"""The schema history: what every tracked table looked like at every source position.

Per table the newest entry, with the position from which it holds: a definition, or "unresolved" with a sentence where a
statement could not be followed; a dropped table has none. What was before is in the catalog. `apply` carries out the
statements of a Query event, `check` compares a TABLE_MAP, and neither ever guesses: what is unresolved raises
SchemaMismatch when it is needed, and is mended with a definition read at a proven position (`resolve_table`) or by what
the TABLE_MAP says of itself (`take_metadata`).

What is kept: every table of a database of which something is tracked, so that a shadow table of gh-ost or
pt-online-schema-change is known when it is renamed into place. Tables of other databases are remembered, a bounded
number of them and in memory only, from their CREATE on, for a RENAME or LIKE that brings them in; one that is not
remembered makes the tracked table unresolved. The texts of tables that nobody touches stay in the catalog: what needs
one raises DefinitionsNotLoaded before anything has changed, and is asked again when it was loaded; it is parsed then.
Rows for the catalog are collected by `take_rows`; what `restore` is given is what they hold.

How a statement changes a definition is `capture/definition.py`'s business, whether it is understood `capture/ddl.py`'s;
both are loaded with the first statement. `Column`, `Key` and `TableVersion` are re-exported from `capture/table.py`.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from sys import intern
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from capture.charsets import Collation, charsets
from capture.errors import SchemaMismatch
from capture.selection import fold_name
from capture.table import Column, Key, TableVersion
from storage.catalog import SchemaVersionRow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from capture.dialect import Dialect
    from capture.query_event import QueryEvent
    from capture.resolution import Rules
    from capture.statements import Statement
    from capture.table_map import TableMapEvent
    from storage.catalog import SchemaEntryRow

__all__ = ["Change", "Column", "Key", "Position", "SchemaHistory", "Session", "TableVersion"]

FROM_METADATA = "-- read off the binlog's own metadata (binlog_row_metadata=FULL)"
"""In the place of a statement, with the versions that were made so."""

FOREIGN_TABLES_MAX = 1000  # tables of untracked databases remembered for RENAME and LIKE

_FLAGS2_EXPLICIT_DEFAULTS = 1 << 24  # MariaDB's OPTION_EXPLICIT_DEF_TIMESTAMP in a Query event's flags2
_FLAGS2_EXPLICIT_DEFAULTS_SINCE = (10, 10, 0)

Position = tuple[int, int]
"""Binlog file number and byte position."""

_Name = tuple[str, str]  # database and table as the server compares them


class Session(Struct, frozen=True):
    """What of the session that ran a statement decides its effect; from the status variables of the Query event.

    `collation_server` and `default_collation_for_utf8mb4` are collation ids; None: the server's own. `flags2` carries
    MariaDB's explicit_defaults_for_timestamp.
    """

    database: str | None
    sql_mode: int = 0
    collation_server: int | None = None
    default_collation_for_utf8mb4: int | None = None
    explicit_defaults_for_timestamp: bool | None = None
    flags2: int | None = None

    @classmethod
    def of(cls, event: QueryEvent) -> Session:
        status = event.status
        return cls(
            event.database or None,
            status.sql_mode or 0,
            status.collation_server,
            status.default_collation_for_utf8mb4,
            status.explicit_defaults_for_timestamp,
            status.flags2,
        )


class Change(Struct, frozen=True):
    """What a statement did to one table: `new` None: dropped, or unresolved.

    `unresolved` is a sentence: the table changed in a way that could not be followed.
    """

    database: str
    table: str
    new: TableVersion | None
    unresolved: str | None = None


class DefinitionsNotLoaded(Exception):
    """Definitions that are needed lie in the catalog under `sequences`: `load` them and ask again. No error."""

    def __init__(self, entries: Mapping[int, _Entry]) -> None:
        super().__init__("definitions are not in memory")
        self._entries = entries

    @property
    def sequences(self) -> tuple[int, ...]:
        return tuple(self._entries)

    def load(self, texts: Mapping[int, str], history: SchemaHistory) -> None:
        for sequence, entry in self._entries.items():
            entry.load(texts[sequence], history.read)


def is_unresolved(definition: str) -> bool:
    """Whether the catalog's text says why a table is not known."""
    return definition.startswith('{"unresolved"')


class _Entry:
    """A table from a position on: in the catalog under `sequence`, or as its text, parsed when `state` is asked for."""

    __slots__ = ("_read", "_state", "_text", "position", "sequence")

    def __init__(
        self,
        position: Position,
        text: str | None = None,
        read: Callable[[str], TableVersion | str] | None = None,
        state: TableVersion | str | None = None,
        sequence: int | None = None,
    ) -> None:
        self.position = position
        self.sequence = sequence
        self._text = text
        self._read = read
        self._state = state

    @property
    def state(self) -> TableVersion | str | None:
        """The version, a sentence that says why it is not known, or None for a table that is gone.

        Raises DefinitionsNotLoaded.
        """
        if self._text is not None and self._read is not None:
            self._state, self._text = self._read(self._text), None
        elif self.sequence is not None:
            raise DefinitionsNotLoaded({self.sequence: self})
        return self._state

    @property
    def exists(self) -> bool:
        return self.sequence is not None or self._text is not None or self._state is not None

    def load(self, text: str, read: Callable[[str], TableVersion | str]) -> None:
        self._text, self._read, self.sequence = text, read, None


class SchemaHistory:
    """Every tracked table, versioned by source position."""

    def __init__(
        self,
        dialect: Dialect,
        tracked: Callable[[str, str], bool],
        *,
        lower_case_table_names: int = 0,
        collation_server: str | None = None,
        explicit_defaults_for_timestamp: bool = True,
    ) -> None:
        """`tracked(database, table)` tells what is tracked; asked with table "": whether anything of a database is.

        `collation_server` and `explicit_defaults_for_timestamp` are the server's variables, for sessions whose events
        do not carry them; a `collation_server` left out is that of a server nobody configured.
        """
        self.dialect = dialect
        self._tracked = tracked
        self._lower_case_table_names = lower_case_table_names
        self._charsets = charsets(dialect)
        named = self._charsets.collation(collation_server) if collation_server is not None else None
        self._server_collation = named or self._charsets.server_default()
        self._explicit_defaults_for_timestamp = explicit_defaults_for_timestamp
        self._flags2_tells = dialect.is_mariadb and dialect.version >= _FLAGS2_EXPLICIT_DEFAULTS_SINCE
        self._tables: dict[_Name, list[_Entry]] = {}
        self._foreign: OrderedDict[_Name, TableVersion | str] = OrderedDict()
        self._databases: dict[str, Collation] = {}
        self._rows: list[SchemaVersionRow] = []

    # ---- names ----

    def _fold(self, name: str) -> str:
        return fold_name(name) if self._lower_case_table_names else name

    def name(self, database: str, table: str) -> _Name:
        """Return the names as the server stores them."""
        return (fold_name(database), fold_name(table)) if self._lower_case_table_names == 1 else (database, table)

    def _key(self, database: str, table: str) -> _Name:
        return self._fold(database), self._fold(table)

    # ---- definitions in ----

    def snapshot_database(self, create_sql: str, position: Position) -> None:
        """Take a database's default charset from its SHOW CREATE DATABASE text. Raises SchemaMismatch."""
        from capture.ddl import parse
        from capture.statements import CreateDatabase

        for statement in parse(create_sql, 0, self.dialect):
            if isinstance(statement, CreateDatabase):
                collation = self.rules(Session(None)).resolve(statement.charset, self._server_collation)
                self.set_database(statement.database, collation, position, create_sql)
                return
        raise SchemaMismatch(f"the database definition {create_sql!r} is not understood")

    def snapshot_table(self, database: str, create_sql: str, position: Position) -> None:
        """Take a table from its SHOW CREATE TABLE text; it is parsed when the table is first asked for."""
        table = self._name_in(create_sql)
        definition = json.dumps({"database": database, "table": table, "show_create": create_sql}, ensure_ascii=False)
        self._add(database, table, _Entry(position, definition, self.read), definition, None)

    resolve_table = snapshot_table
    """Mend an unresolved table with its SHOW CREATE TABLE text, proven to hold since `position`."""

    def _name_in(self, create_sql: str) -> str:
        """Read a table's name from the head of its SHOW CREATE TABLE text."""
        from capture.cursor import Cursor

        cursor = Cursor(create_sql, 0, self.dialect)
        while cursor.keyword() in {"CREATE", "TEMPORARY", "TABLE", "SEQUENCE"}:
            cursor.advance()
        return cursor.table_name().table

    def restore(self, rows: Iterable[SchemaVersionRow], upto: Position | None = None) -> None:
        """Take the catalog's rows back, in order of position, up to and with `upto`."""
        for row in sorted(rows, key=lambda row: (row.file_number, row.position)):
            position = (row.file_number, row.position)
            if upto is not None and position > upto:
                break
            if row.table:
                entry = _Entry(position, row.definition, self.read)
                self._tables.setdefault(self._key(row.database, row.table), []).append(entry)
            else:
                self._restore_database(row.database, row.definition)

    def restore_entries(self, rows: Iterable[SchemaEntryRow]) -> None:
        """Take back where the newest versions stand; their texts stay in the catalog until they are needed."""
        for row in rows:
            if not self.keeps(row.database):
                continue  # of objects that were removed: nobody follows what happens to it
            if not row.table:
                self._restore_database(row.database, row.definition)
            elif row.exists:
                entry = _Entry((row.file_number, row.position), sequence=row.sequence)
                self._tables[self._key(intern(row.database), row.table)] = [entry]

    def _restore_database(self, database: str, definition: str | None) -> None:
        if definition is None:
            self._databases.pop(self._fold(database), None)
        else:
            self._databases[self._fold(database)] = self._charsets.collation(json.loads(definition)["collation"])

    def take_rows(self, channel_id: str) -> list[SchemaVersionRow]:
        """Hand over the rows that came about since the last call, for the catalog, oldest first.

        Of several states that one statement gives a table (a RENAME that swaps two), the last one counts.
        """
        rows, self._rows = self._rows, []
        last = {(row.file_number, row.position, row.database, row.table): row for row in rows}
        return [replace(row, channel_id=channel_id) for row in last.values()]

    def read(self, definition: str) -> TableVersion | str:
        """Read a catalog definition: a table version, a SHOW CREATE TABLE text, or why there is neither."""
        body = json.loads(definition)
        if "unresolved" in body:
            return str(body["unresolved"])
        if "show_create" not in body:
            return TableVersion.from_json(definition)
        from capture.execution import read_show_create

        return read_show_create(self, body["database"], body["table"], body["show_create"])

    # ---- statements ----

    def apply(
        self, statements: Sequence[Statement], session: Session, position: Position, sql: str
    ) -> tuple[Change, ...]:
        """Carry out the statements of one Query event that ends at `position`; `sql` is kept with the versions.

        Returns what changed in databases of which something is tracked. What cannot be followed becomes an unresolved
        change; statements that change no table are passed over, and so is Unknown without tables: what to do about
        that is the channel's decision. Raises UnsupportedStatement for a tracked database's unknown default charset,
        and DefinitionsNotLoaded before anything is changed.
        """
        from capture.execution import execute, tables_read

        names = [name for statement in statements for name in tables_read(statement)]
        keys = {self._key(*self.name(name.database or session.database or "", name.table)) for name in names}
        entries = [entry for key in keys for entry in self._tables.get(key, ())[-1:]]
        if unloaded := {entry.sequence: entry for entry in entries if entry.sequence is not None}:
            raise DefinitionsNotLoaded(unloaded)
        return tuple(change for statement in statements for change in execute(self, statement, session, position, sql))

    def undecided_charset(self, statements: Sequence[Statement], default: str) -> str | None:
        """Say which column a CREATE TABLE leaves to a database's default charset that is not known."""
        from capture.execution import undecided_charset

        return undecided_charset(self, statements, default) if statements else None

    def rules(self, session: Session, database: str | None = None) -> Rules:
        """Return what decides beside a statement in this session and database."""
        from capture.resolution import Rules

        explicit = session.explicit_defaults_for_timestamp
        if explicit is None and session.flags2 is not None and self._flags2_tells:
            explicit = bool(session.flags2 & _FLAGS2_EXPLICIT_DEFAULTS)
        utf8mb4 = session.default_collation_for_utf8mb4
        return Rules(
            self.dialect,
            self._charsets,
            self.database_collation(database or ""),
            self.database_collation(session.database or ""),
            self._charsets.collation_by_id(utf8mb4) if utf8mb4 is not None else None,
            self._explicit_defaults_for_timestamp if explicit is None else explicit,
        )

    def server_collation(self, session: Session) -> Collation:
        """Return the collation that CREATE DATABASE falls back to."""
        found = self._charsets.collation_by_id(session.collation_server) if session.collation_server else None
        return found or self._server_collation

    def checkpoint(self) -> Callable[[], None]:
        """What takes the history back to now, for whoever makes statements that may not come about."""
        tables, foreign = self._tables.copy(), self._foreign.copy()
        databases, rows = self._databases.copy(), self._rows.copy()

        def restore() -> None:
            self._tables, self._foreign, self._databases, self._rows = tables, foreign, databases, rows

        return restore

    # ---- state, for `capture/execution.py` ----

    def keeps(self, database: str) -> bool:
        """Say whether the history keeps the tables of a database."""
        return self._tracked(database, "")

    def is_tracked(self, database: str, table: str) -> bool:
        return self._tracked(database, table)

    def exists(self, database: str, table: str) -> bool:
        """Say whether a table is known to be there, whatever it looks like."""
        key = self._key(database, table)
        return key in self._foreign or (key in self._tables and self._tables[key][-1].exists)

    def state(self, database: str, table: str) -> TableVersion | str | None:
        """Return the current version, why it is not known, or None: no such table, or never heard of."""
        key = self._key(database, table)
        entries = self._tables.get(key)
        return entries[-1].state if entries else self._foreign.get(key)

    def set_table(
        self, database: str, table: str, state: TableVersion | str | None, position: Position, sql: str
    ) -> Change | None:
        """Record what a table is from `position` on; returns the change if the history keeps it."""
        key = self._key(database, table)
        if not self.keeps(database):
            self._foreign.pop(key, None)
            if state is not None:
                self._foreign[key] = state
                if len(self._foreign) > FOREIGN_TABLES_MAX:
                    self._foreign.popitem(last=False)
            return None
        definition = state.to_json() if isinstance(state, TableVersion) else None
        if isinstance(state, str):
            definition = json.dumps({"unresolved": state}, ensure_ascii=False)
        self._add(database, table, _Entry(position, state=state), definition, sql)
        return Change(database, table, None, state) if isinstance(state, str) else Change(database, table, state)

    def _add(self, database: str, table: str, entry: _Entry, definition: str | None, sql: str | None) -> None:
        if entry.exists:
            self._tables[self._key(database, table)] = [entry]
        else:
            self._tables.pop(self._key(database, table), None)
        self._rows.append(SchemaVersionRow("", *entry.position, database, table, definition, sql))

    def knows_database(self, database: str) -> bool:
        return self._fold(database) in self._databases

    def database_collation(self, database: str) -> Collation:
        return self._databases.get(self._fold(database), self._server_collation)

    def set_database(self, database: str, collation: Collation | None, position: Position, sql: str) -> None:
        """Record a database's default charset, None for a dropped one."""
        definition = None
        if collation is None:
            self._databases.pop(self._fold(database), None)
        else:
            self._databases[self._fold(database)] = collation
            definition = json.dumps({"charset": collation.charset, "collation": collation.name})
        if self.keeps(database):
            self._rows.append(SchemaVersionRow("", *position, database, "", definition, sql))

    def tables_of(self, database: str) -> list[str]:
        """List the tables that a database has, by their names as compared."""
        folded = self._fold(database)
        kept = [table for (owner, table), entries in self._tables.items() if owner == folded and entries[-1].exists]
        return kept + [table for owner, table in self._foreign if owner == folded]

    # ---- questions ----

    def table(self, database: str, table: str) -> TableVersion:
        """Return the current version. Raises SchemaMismatch if there is none or it is unresolved."""
        return self._version(self.state(database, table), database, table)

    def table_at(self, database: str, table: str, position: Position) -> TableVersion:
        """Return the version that held for an event at `position`, of those that `restore` was given.

        Raises SchemaMismatch.
        """
        entries = self._tables.get(self._key(database, table), [])
        state = next((entry.state for entry in reversed(entries) if entry.position <= position), None)
        return self._version(state, database, table)

    def _version(self, state: TableVersion | str | None, database: str, table: str) -> TableVersion:
        if isinstance(state, TableVersion):
            return state
        raise SchemaMismatch(state or f"the schema history does not know the table {database}.{table}")

    def check(self, table_map: TableMapEvent) -> TableVersion:
        """Return the version that the event's rows have. Raises SchemaMismatch where history and event disagree."""
        version = self.table(table_map.database, table_map.table)
        found = self.disagreement(version, table_map)
        if found is not None:
            raise SchemaMismatch(
                f"the binlog disagrees with the schema history of {version.database}.{version.table}: {found}; the "
                f"table must have been changed without a statement in the binlog"
            )
        return version

    def disagreement(self, version: TableVersion, table_map: TableMapEvent) -> str | None:
        """What an event says otherwise than a version, as half a sentence."""
        from capture.table_check import mismatch

        return mismatch(version, table_map, self._charsets)

    def take_metadata(self, table_map: TableMapEvent, position: Position) -> None:
        """Mend a table with what its TABLE_MAP at `position` says of itself. Raises MetadataGap."""
        from capture.full_metadata import version_of

        version = version_of(table_map, self.dialect)
        self.set_table(version.database, version.table, version, position, FROM_METADATA)
