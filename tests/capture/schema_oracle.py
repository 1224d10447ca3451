"""A real server as the oracle of the schema history: statements run there, their binlog applied here, both compared.

`Follower` reads the server's binlog file after each statement, applies every Query event to a SchemaHistory, holds
every TABLE_MAP against it, and then compares each table of the scenario's databases with two accounts of the server:
the version parsed from SHOW CREATE TABLE, and information_schema's columns and statistics.
"""

from __future__ import annotations

import pprint
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from capture.charsets import decode_sql
from capture.ddl import parse
from capture.dialect import Dialect
from capture.events import EventDecoder, iter_events
from capture.full_metadata import MetadataGap, version_of
from capture.query_event import QueryEvent
from capture.schema import Change, SchemaHistory, Session
from capture.statements import DataChange, Unknown
from capture.table import PRIMARY, Column, Key, TableVersion
from capture.table_map import TableMapEvent
from tests.live_server import LiveServer

SCENARIOS = Path(__file__).parents[1] / "scenarios" / "ddl"
_ON = re.compile(r"-- on: (.*)\n")
_SYSTEM = ("mysql", "sys", "information_schema", "performance_schema")


@dataclass(frozen=True)
class Scenario:
    """A file of statements, each for all kinds of server or for those an `-- on:` line names."""

    name: str
    statements: tuple[tuple[frozenset[str] | None, str], ...]

    def on(self, kind: str) -> Iterator[str]:
        return (sql for kinds, sql in self.statements if kinds is None or kind in kinds)


def load(path: Path) -> Scenario:
    """Read a scenario: statements end with `;` at the end of a line, the first line says what it is about."""
    statements = []
    for text in re.split(r";[ \t]*\n", path.read_text(encoding="utf-8").partition("\n")[2]):
        directive = _ON.match(text.lstrip())
        sql = text.lstrip()[directive.end() :] if directive else text.strip()
        if sql:
            statements.append((frozenset(directive[1].split()) if directive else None, sql))
    return Scenario(path.stem, tuple(statements))


class Follower:
    """Runs statements on a server, follows its binlog, compares."""

    def __init__(self, server: LiveServer) -> None:
        self.server = server
        self.database = server.fresh_database("utf8mb4" if server.kind != "mysql56" else "latin1")
        self.connection = server.connect(database=self.database)
        self.connection.cursor().execute("SET SESSION sql_mode = 'NO_ENGINE_SUBSTITUTION'")
        self.observer = server.connect()  # sees no temporary tables, and names quoted in the usual way
        variables = self.rows("SELECT @@version, @@lower_case_table_names, @@collation_server")[0]
        explicit = bool(self.rows("SELECT @@GLOBAL.explicit_defaults_for_timestamp")[0][0])
        self.settings: dict[str, Any] = {
            "lower_case_table_names": variables[1],
            "collation_server": variables[2],
            "explicit_defaults_for_timestamp": explicit,
        }
        self.dialect = Dialect.of(variables[0])
        self.history = self.new_history()
        self.file, self.position = server.binlog_position()
        self.history.snapshot_database(self.rows(f"SHOW CREATE DATABASE `{self.database}`")[0][1], (1, self.position))
        self.decoder = EventDecoder()
        self.table_maps = 0

    def new_history(self) -> SchemaHistory:
        return SchemaHistory(self.dialect, lambda database, _: database not in _SYSTEM, **self.settings)

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        with self.connection.cursor() as cursor:
            cursor.execute(sql)
            return list(cursor.fetchall())

    def ask(self, sql: str, *arguments: str) -> list[tuple[Any, ...]]:
        with self.observer.cursor() as cursor:
            cursor.execute(sql, arguments)
            return list(cursor.fetchall())

    def run(self, sql: str) -> list[Change]:
        """Run a statement, follow the binlog, compare everything. Raises AssertionError with the statement."""
        self.rows(sql)
        changes = self.follow()
        unresolved = [change.unresolved for change in changes if change.unresolved]
        assert not unresolved, f"{sql}\n{unresolved}"
        self.compare(sql)
        return changes

    def follow(self) -> list[Change]:
        """Apply what the binlog has got since the last call."""
        data = self.server.binlog_path(self.file).read_bytes()
        changes: list[Change] = []
        position = 4
        for raw in iter_events(data):
            position += len(raw)
            if position <= self.position and self.decoder.format is not None:
                continue
            _, event = self.decoder.decode(raw)
            if position <= self.position:
                continue
            if isinstance(event, QueryEvent):
                changes += self.apply(event, position)
            elif isinstance(event, TableMapEvent) and event.database not in _SYSTEM:
                version = self.history.check(event)
                self.table_maps += 1
                if event.optional.names is not None:
                    compare_metadata(event, version, self.dialect)
        self.position = position
        return changes

    def apply(self, event: QueryEvent, position: int) -> tuple[Change, ...]:
        status = event.status
        text = decode_sql(event.sql, status.charset_client or 0)
        statements = parse(text, status.sql_mode or 0, self.dialect)
        assert not any(isinstance(statement, DataChange | Unknown) for statement in statements), (text, statements)
        return self.history.apply(statements, Session.of(event), (1, position), text)

    def compare(self, sql: str) -> None:
        """Hold the history against the server, table by table."""
        databases = [row[0] for row in self.ask("SHOW DATABASES") if row[0] in self.databases_of_scenario()]
        for database in databases:
            tables = [
                table
                for table, kind in self.ask(f"SHOW FULL TABLES FROM `{database.replace('`', '``')}`")
                if kind in {"BASE TABLE", "SYSTEM VERSIONED", "SEQUENCE"}
            ]
            assert sorted(self.history.tables_of(database)) == sorted(tables), sql
            for table in tables:
                self.compare_table(database, table, sql)

    def databases_of_scenario(self) -> set[str]:
        return {self.database, *(database for database, _ in self.history._tables)}

    def compare_table(self, database: str, table: str, sql: str) -> None:
        ours = self.history.table(database, table)
        quoted = ".".join(f"`{name.replace('`', '``')}`" for name in (database, table))
        text = self.ask(f"SHOW CREATE TABLE {quoted}")[0][1]
        shown = self.new_history()
        shown.snapshot_table(database, text, (1, 0))
        same(comparable(ours), comparable(shown.table(database, table)), sql, text)
        if not text.startswith("CREATE SEQUENCE"):
            columns, keys = self.accounts(database, table)
            same([described(column) for column in ours.columns if not column.hidden], columns, sql, text)
            named = {key.name: (key.unique, list(key.columns)) for key in ours.keys if not key.functional}
            plain = {name: key for name, key in keys.items() if None not in key[1] and "WITHOUT OVERLAPS" not in text}
            same(named, plain, sql, text)

    def accounts(self, database: str, table: str) -> tuple[list[tuple[Any, ...]], dict[str, tuple[bool, list[Any]]]]:
        """What information_schema says: columns in order, keys by name."""
        rows = self.ask(
            "SELECT column_name, column_type, character_set_name, collation_name, is_nullable, extra "
            "FROM information_schema.columns WHERE table_schema = %s AND table_name = %s ORDER BY ordinal_position",
            database,
            table,
        )
        columns = [_account(row) for row in rows]
        rows = self.ask(
            "SELECT index_name, non_unique, column_name FROM information_schema.statistics "
            "WHERE table_schema = %s AND table_name = %s ORDER BY index_name, seq_in_index",
            database,
            table,
        )
        keys: dict[str, tuple[bool, list[Any]]] = {}
        for name, non_unique, column in rows:
            keys.setdefault(name, (not non_unique, []))[1].append(column)
        return columns, keys


LOOKALIKES = {"uuid", "inet4", "inet6", "binary", "vector", "varbinary"}
"""Types that MariaDB's table maps do not tell apart."""


def compare_metadata(event: TableMapEvent, version: TableVersion, dialect: Dialect) -> None:
    """Hold the version that a TABLE_MAP tells of itself against the history's, as far as it can know."""
    found: TableVersion | None
    try:
        found = version_of(event, dialect)
    except MetadataGap as gap:
        reason = str(gap)
        found = None
    if found is None:
        odd = {column.data_type for column in version.columns}
        assert (dialect.is_mariadb and LOOKALIKES & odd) or "labels" in reason, (reason, version)
        return
    told = [_told(column, dialect) for column in found.columns]
    same(told, [_told(column, dialect) for column in version.columns], version.table, "")
    if version.primary_key is not None:
        assert found.primary_key is not None
        assert found.primary_key.columns == version.primary_key.columns


def _told(column: Column, dialect: Dialect) -> Column:
    """What of a column a table map can tell."""
    length = None if column.data_type == "vector" else column.length
    if column.data_type in {"float", "double"}:
        column = replace(column, precision=None, scale=None)
    if dialect.is_mariadb:
        column = replace(column, invisible=False)
    return replace(column, default=None, auto_increment=False, generated=None, hidden=False, length=length)


def same(ours: Any, servers: Any, sql: str, text: str) -> None:
    """Assert equality, and show only what differs."""
    if ours != servers:
        lines = zip(*(pprint.pformat(value, width=400).splitlines() for value in (ours, servers)), strict=False)
        differing = "\n".join(f"history {line}\nserver  {other}" for line, other in lines if line != other)
        raise AssertionError(f"{sql}\n{text}\n{differing or (ours, servers)}")


def comparable(table: TableVersion) -> TableVersion:
    """Leave out what SHOW CREATE TABLE does not tell, or tells in other words: defaults, and keys made for others."""
    columns = tuple(replace(column, default=None) for column in table.columns)
    primary = [key for key in table.keys if key.name == PRIMARY]
    others = sorted((replace(key, implicit=False) for key in table.keys if key not in primary), key=_key_name)
    return TableVersion.of(table.database, table.table, columns, (*primary, *others), table.charset, table.collation)


def _key_name(key: Key) -> str:
    return key.name


def described(column: Column) -> tuple[Any, ...]:
    """A column in information_schema's words."""
    extra = {"auto_increment"} if column.auto_increment else set()
    if column.generated:
        extra.add(f"{column.generated} generated")
    if column.invisible:
        extra.add("invisible")
    # MySQL 9's information_schema has no charset for ENUM and SET in charset binary
    charset, collation = (None, None) if column.charset == "binary" else (column.charset, column.collation)
    return column.name, _column_type(column), charset, collation, column.nullable, frozenset(extra)


def _column_type(column: Column) -> str:
    name = column.data_type
    if column.labels:
        name += "(" + ",".join("'" + label.replace("'", "''") + "'" for label in column.labels) + ")"
    elif column.precision is not None:
        name += f"({column.precision},{column.scale})"
    elif column.length is not None:
        name += f"({column.length})"
    elif column.fsp:
        name += f"({column.fsp})"
    return name + (" unsigned" if column.unsigned else "")


def _account(row: tuple[Any, ...]) -> tuple[Any, ...]:
    name, kind, charset, collation, nullable, extra = row
    known = {"auto_increment", "virtual generated", "stored generated", "invisible"}
    words = {word for word in known if word in extra.lower()}
    if charset == "binary":
        charset, collation = None, None
    return name, _type(kind), charset, collation, nullable == "YES", frozenset(words)


def _type(text: str) -> str:
    """Strip what is for display only: widths of integers and YEAR, zerofill, notes in comments."""
    text = re.sub(r"^((?:tiny|small|medium|big)?int|year)\(\d+\)", r"\1", text)
    text = text.replace(" zerofill", "").replace("\\\\", "\\")
    return re.sub(r" /\*.*\*/", "", text)
