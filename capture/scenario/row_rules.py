"""What a table's definition does to each of its rows: defaults, values on update, generated columns, checks.

Expressions are read when a row first needs them; one that is not understood refuses the row by a sentence.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from capture.cursor import Cursor
from capture.scenario import assigning
from capture.scenario.comparing import Value, is_true
from capture.scenario.nodes import Node, Scope
from capture.scenario.parsing import Names, Parser
from capture.scenario.refusal import StatementRefused
from capture.sql import Kind, SqlSyntaxError

if TYPE_CHECKING:
    from capture.dialect import Dialect
    from capture.scenario.clauses import Clauses
    from capture.scenario.session import Session
    from capture.table import TableVersion


class RowRules:
    """Of one table as it is now."""

    def __init__(self, version: TableVersion, clauses: Clauses, dialect: Dialect) -> None:
        self._version = version
        self._clauses = clauses
        self._dialect = dialect
        self._names = Names(version, frozenset({version.table.casefold()}))
        self._read: dict[str, Node] = {}
        indexes = {column.name.casefold(): index for index, column in enumerate(version.columns)}
        self.generated = frozenset(indexes[name] for name in clauses.generated)
        self._generated = [(indexes[name], sql) for name, sql in clauses.generated.items()]
        self._generated.sort()
        self.computed = tuple(index for index, column in enumerate(version.columns) if _is_computed(column.default))
        """Columns whose default is an expression, which may name columns that stand in the row by then."""
        self._on_update = [(indexes[name], sql) for name, sql in clauses.on_update.items()]

    def _node(self, sql: str, what: str) -> Node:
        node = self._read.get(sql)
        if node is None:
            cursor = Cursor(sql, 0, self._dialect)
            try:
                node = Parser(cursor, self._names).expression()
                if cursor.peek().kind is not Kind.END:
                    raise cursor.unexpected()
            except SqlSyntaxError as error:
                raise StatementRefused(
                    f"{what} of {self._version.database}.{self._version.table} is not played: {error}"
                ) from None
            self._read[sql] = node
        return node

    def initial(self, index: int, session: Session) -> Value:
        """What the values of a row find in a column before it has its own (`restore_record` in sql/sql_insert.cc)."""
        column = self._version.columns[index]
        if index in self.computed or index in self.generated or column.auto_increment:
            return None
        if column.default is not None:
            return self.default(index, session)
        if column.nullable:
            return None
        try:
            return assigning.assigned(column, assigning.implicit_default(column), session)
        except StatementRefused:
            return None

    def default(self, index: int, session: Session, row: Sequence[Value] = ()) -> Value:
        """What a column holds that a row says nothing of, beside what it says. Raises StatementRefused if it must say
        something.
        """
        column = self._version.columns[index]
        if column.default is None:
            if column.nullable or index in self.generated or column.auto_increment:
                return None
            if column.data_type == "enum":
                return assigning.assigned(column, assigning.implicit_default(column), session)
            raise StatementRefused(f"the column {column.name} is NOT NULL and has no default; give it a value")
        value = self._node(column.default, f"the default of {column.name}").evaluate(Scope(session, row))
        return None if value is None else assigning.assigned(column, value, session)

    def updated(self, row: list[Value], named: Collection[int], session: Session) -> None:
        """Give the columns that are ON UPDATE CURRENT_TIMESTAMP their value, but those that the statement named."""
        for index, sql in self._on_update:
            if index not in named:
                value = self._node(sql, "ON UPDATE").evaluate(Scope(session))
                row[index] = assigning.assigned(self._version.columns[index], value, session)

    def completed(self, row: list[Value], session: Session) -> None:
        """Compute the generated columns; refuse a NULL that must not be, and a row that a CHECK refuses."""
        scope = Scope(session, row)
        for index, sql in self._generated:
            column = self._version.columns[index]
            value = self._node(sql, f"the generated column {column.name}").evaluate(scope)
            row[index] = None if value is None else assigning.assigned(column, value, session)
        for column, value in zip(self._version.columns, row, strict=True):
            if value is None and not column.nullable:
                raise StatementRefused(f"the column {column.name} is NOT NULL and needs a value")
        for check in self._clauses.checks:
            if is_true(self._node(check.sql, "a CHECK").evaluate(scope)) is False:
                raise StatementRefused(f"the row does not meet CHECK ({check.sql})")


def _is_computed(default: str | None) -> bool:
    """Whether a default is an expression; a literal is quoted, a number, or bytes such as b'101' (`Cursor`)."""
    if default is None or default.startswith("CURRENT_TIMESTAMP"):
        return False
    return default[0] == "(" or (default[0] not in "'0123456789" and default[1:2] != "'")


def encoded(row: Sequence[Value]) -> tuple[Value, ...]:
    """A row as the event encoder takes it."""
    return tuple(map(assigning.written, row))
