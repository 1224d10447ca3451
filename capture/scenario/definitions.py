"""What statements that change tables make of their rows: one function per kind, which looks before anything is changed.

`steps` gives what is to be done once the statement stands in the binlog; it raises StatementRefused where a server
would refuse the statement because of the rows there are, or where what becomes of them is not known.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from capture.definition import alter, create, renamed
from capture.resolution import DefinitionError
from capture.scenario.assigning import assigned, implicit_default
from capture.scenario.clauses import Clauses, clauses_of_alter, clauses_of_create, counter_of
from capture.scenario.comparing import Value
from capture.scenario.refusal import StatementRefused
from capture.scenario.row_rules import RowRules
from capture.scenario.tables import Row, StoredTable, Tables
from capture.schema import Session as HistorySession
from capture.statements import (
    AddColumn,
    AlterTable,
    ChangeColumn,
    CreateTable,
    CreateTableLike,
    DropColumn,
    DropDatabase,
    DropTable,
    RenameColumn,
    RenameTable,
    RenameTo,
    Statement,
    TableName,
    TruncateTable,
)

if TYPE_CHECKING:
    from capture.embedded_source import EmbeddedSource
    from capture.resolution import Rules
    from capture.scenario.session import Session
    from capture.table import Column, TableVersion

Step = Callable[[], None]
_Name = tuple[str, str]


class SourceNumbering:
    """A table's next number, which rows by call count by too."""

    def __init__(self, source: EmbeddedSource, name: _Name) -> None:
        self._source = source
        self.name = name

    @property
    def following(self) -> int:
        return self._source.rows.next_number(self.name)

    @following.setter
    def following(self, number: int) -> None:
        self._source.rows.set_next_number(self.name, number)

    def raise_above(self, number: int) -> None:
        self.following = max(self.following, number + 1)


class Definitions:
    """Follows statements over the tables of a source."""

    def __init__(self, source: EmbeddedSource, tables: Tables, session: Session) -> None:
        self._source = source
        self._tables = tables
        self._session = session
        self._dialect = source.history.dialect

    def steps(self, statement: Statement, sql: str, database: str) -> list[Step]:
        """What is to be done with the rows once the statement is written."""
        follow = _FOLLOW.get(type(statement))
        return [] if follow is None else follow(self, statement, sql, database)

    def _name(self, name: TableName, database: str) -> _Name:
        return self._source.history.name(name.database or database, name.table)

    def _stored(self, name: _Name) -> StoredTable:
        stored = self._tables.stored.get(name)
        if stored is None:
            raise StatementRefused(f"there is no table {'.'.join(name)}")
        return stored

    def _rules(self, database: str) -> Rules:
        return self._source.history.rules(HistorySession(database), database)

    def _put(self, name: _Name, version: TableVersion, clauses: Clauses, counter: int | None = None) -> None:
        stored = StoredTable(version, clauses, SourceNumbering(self._source, name))
        uses_timestamps = any(column.data_type == "timestamp" for column in version.columns)
        if uses_timestamps and not self._dialect.explicit_defaults_for_timestamp:
            stored.trouble = "what this version of the server does with a TIMESTAMP by itself is not known here"
        self._tables.stored[name] = stored
        if counter is not None:
            stored.numbering.following = max(1, counter)

    # ---- CREATE, DROP, RENAME, TRUNCATE ----

    def _create(self, statement: CreateTable, sql: str, database: str) -> list[Step]:
        if statement.temporary:
            raise StatementRefused("temporary tables are not played")
        name = self._name(statement.table, database)
        if statement.if_not_exists and name in self._tables.stored:
            return []
        try:
            version = create(statement, *name, self._rules(name[0]))
        except DefinitionError as error:
            raise StatementRefused(str(error)) from None
        clauses = clauses_of_create(sql, self._dialect)
        return [lambda: self._put(name, version, clauses, counter_of(sql, self._dialect))]

    def _create_like(self, statement: CreateTableLike, sql: str, database: str) -> list[Step]:
        if statement.temporary:
            raise StatementRefused("temporary tables are not played")
        name = self._name(statement.table, database)
        if statement.if_not_exists and name in self._tables.stored:
            return []
        source = self._stored(self._name(statement.source, database))
        clauses = replace(source.clauses, foreign_keys=())
        return [lambda: self._put(name, renamed(source.version, *name), clauses)]

    def _drop(self, statement: DropTable, sql: str, database: str) -> list[Step]:
        names = [self._name(table, database) for table in statement.tables]
        missing = [".".join(name) for name in names if name not in self._tables.stored]
        if missing and not statement.if_exists:
            raise StatementRefused(f"there is no table {', '.join(missing)}")
        self._refuse_loss(set(names))
        return [lambda: self._forget(names)]

    def _refuse_loss(self, names: set[_Name]) -> None:
        """A table that others name by a foreign key stays, as on a server."""
        for other, child in self._tables.stored.items():
            for key in child.clauses.foreign_keys if other not in names else ():
                if self._session.checks_foreign_keys and (key.database or other[0], key.table) in names:
                    raise StatementRefused(f"{child.name} names {key.table} by a foreign key; drop that first")

    def _forget(self, names: Sequence[_Name]) -> None:
        for name in names:
            self._tables.stored.pop(name, None)

    def _drop_database(self, statement: DropDatabase, sql: str, database: str) -> list[Step]:
        names = [name for name in self._tables.stored if name[0] == statement.database]
        self._refuse_loss(set(names))
        return [lambda: self._forget(names)]

    def _rename(self, statement: RenameTable, sql: str, database: str) -> list[Step]:
        pairs = [(self._name(old, database), self._name(new, database)) for old, new in statement.renames]
        return [lambda: self._move(pairs)]

    def _move(self, pairs: Sequence[tuple[_Name, _Name]]) -> None:
        for old, new in pairs:
            stored = self._stored(old)
            del self._tables.stored[old]
            stored.version = renamed(stored.version, *new)
            stored.numbering = SourceNumbering(self._source, new)
            self._tables.stored[new] = stored

    def _truncate(self, statement: TruncateTable, sql: str, database: str) -> list[Step]:
        name = self._name(statement.table, database)
        stored = self._stored(name)
        self._refuse_loss({name})
        return [stored.clear]

    # ---- ALTER ----

    def _alter(self, statement: AlterTable, sql: str, database: str) -> list[Step]:
        name = self._name(statement.table, database)
        stored = self._stored(name)
        operations = [operation for operation in statement.operations if not isinstance(operation, RenameTo)]
        moves = [operation.name for operation in statement.operations if isinstance(operation, RenameTo)]
        try:
            version = alter(stored.version, operations, self._rules(name[0]))
        except DefinitionError as error:
            raise StatementRefused(str(error)) from None
        clauses = clauses_of_alter(stored.clauses, sql, self._dialect)
        next_number = stored.numbering.following
        changed = StoredTable(version, clauses, stored.numbering)
        changed.trouble = changed.trouble or stored.trouble
        if stored.rows:
            _refuse_repeated(operations)
            if changed.trouble is None:
                changed.loaded(self._converted(stored, changed, operations))
        counter = counter_of(sql, self._dialect)
        counted = changed.counted
        highest = max((row[counted] for row in changed.rows.values()), default=0) if counted is not None else 0

        def put() -> None:
            self._tables.stored[name] = changed
            changed.numbering.following = max(next_number if counter is None else counter, highest + 1)

        new_names = [self._name(new, database) for new in moves]
        return [put, *(lambda new=new: self._move([(name, new)]) for new in new_names)]

    def _converted(self, stored: StoredTable, changed: StoredTable, operations: Sequence[Any]) -> list[Row]:
        """The rows as the new columns have them."""
        sources = _sources(stored.version, changed.version, operations)
        rules = RowRules(changed.version, changed.clauses, self._dialect)
        rows: list[Row] = []
        for number in stored.in_order(list(stored.rows)):
            row = [
                self._cell(stored, source, stored.rows[number], column, rules, index, len(rows) + 1)
                for index, (source, column) in enumerate(zip(sources, changed.version.columns, strict=True))
            ]
            for index in rules.computed:
                if sources[index] is None:
                    row[index] = rules.default(index, self._session, row)
            rules.completed(row, self._session)
            rows.append(row)
        return rows

    def _cell(
        self,
        stored: StoredTable,
        source: int | None,
        row: Row,
        column: Column,
        rules: RowRules,
        index: int,
        place: int,
    ) -> Value:
        if index in rules.generated or (source is None and index in rules.computed):
            return None
        if source is None:
            if column.default is None and not column.nullable:
                value = place if column.auto_increment else implicit_default(column)
                return assigned(column, value, self._session)
            return rules.default(index, self._session)
        value, before = row[source], stored.version.columns[source]
        if value is None or _same_type(before, column):
            return value
        if before.data_type == "timestamp" and not isinstance(value, str):
            value = self._session.local(value)
        return assigned(column, value, self._session)


def _same_type(before: Column, after: Column) -> bool:
    """Whether values of one column are values of the other as they are."""
    kept = {"name": "", "default": None, "nullable": True, "invisible": False, "auto_increment": False}
    return replace(before, **kept) == replace(after, **kept)


def _sources(before: TableVersion, after: TableVersion, operations: Sequence[Any]) -> list[int | None]:
    """For each new column the old one whose values it has."""
    places: dict[str, int | None] = {column.name.casefold(): index for index, column in enumerate(before.columns)}
    names: dict[str, int | None] = dict(places)
    for operation in operations:
        if isinstance(operation, DropColumn):
            names.pop(operation.name.casefold(), None)
        elif isinstance(operation, ChangeColumn | RenameColumn):
            names.pop(operation.old_name.casefold(), None)
    for operation in operations:
        if isinstance(operation, ChangeColumn):
            names[operation.column.name.casefold()] = places.get(operation.old_name.casefold())
        elif isinstance(operation, RenameColumn):
            names[operation.new_name.casefold()] = places.get(operation.old_name.casefold())
        elif isinstance(operation, AddColumn) and operation.column.name.casefold() not in names:
            names[operation.column.name.casefold()] = None
    return [names.get(column.name.casefold()) for column in after.columns]


def _refuse_repeated(operations: Sequence[Any]) -> None:
    """One column changed twice by one statement: which change counts for its values is not known here."""
    named = [
        (operation.name if isinstance(operation, DropColumn) else operation.old_name).casefold()
        for operation in operations
        if isinstance(operation, DropColumn | ChangeColumn | RenameColumn)
    ]
    if len(set(named)) < len(named):
        raise StatementRefused("a column is changed twice by one statement; change it by one statement after the other")


_FOLLOW: dict[type[Any], Callable[..., list[Step]]] = {
    CreateTable: Definitions._create,
    CreateTableLike: Definitions._create_like,
    DropTable: Definitions._drop,
    DropDatabase: Definitions._drop_database,
    RenameTable: Definitions._rename,
    TruncateTable: Definitions._truncate,
    AlterTable: Definitions._alter,
}
