"""INSERT, REPLACE, UPDATE and DELETE of one table: read, and done to its rows as a server does.

Each row that changes is told to `emit`, in the server's order. A REPLACE that meets a row deletes it, or updates it in
place where only the last unique key meets and no foreign key names the table (sql/sql_insert.cc `write_record`); an
UPDATE that changes nothing gives nothing. A statement that is refused half-way is undone by the caller.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from capture.cursor import Cursor
from capture.scenario import references
from capture.scenario.assigning import assigned
from capture.scenario.comparing import Json, Value
from capture.scenario.counting import StatementNumbering
from capture.scenario.json_paths import are_same_documents
from capture.scenario.nodes import Node, Scope
from capture.scenario.parsing import Names, Parser
from capture.scenario.refusal import StatementRefused
from capture.scenario.row_rules import RowRules
from capture.scenario.selecting import chosen, selection
from capture.scenario.tables import Row, StoredTable, Tables
from capture.sql import SqlSyntaxError

if TYPE_CHECKING:
    from capture.dialect import Dialect
    from capture.scenario.session import Session
    from capture.statements import TableName

Emit = Callable[[str, StoredTable, Any], None]
"""Takes `insert`, `update` or `delete`, the table, and a row or (before, after)."""

_MODIFIERS = frozenset({"LOW_PRIORITY", "HIGH_PRIORITY", "DELAYED", "QUICK"})
Source = Node | None
"""Of a value: an expression, or DEFAULT."""


class _Insert(Struct):
    """An INSERT or REPLACE as read. `sources` are one list per row, in the order of `columns`."""

    stored: StoredTable
    columns: list[int]
    sources: list[list[Source]]
    is_whole: bool = True
    """No columns are named: all are meant."""
    selected: Iterable[Sequence[Value]] | None = None
    ignores: bool = False
    replaces: bool = False
    on_duplicate: list[tuple[int, Source]] | None = None


class Changes:
    """Does one statement after the other."""

    def __init__(self, tables: Tables, session: Session, dialect: Dialect, emit: Emit) -> None:
        self._tables = tables
        self._session = session
        self._dialect = dialect
        self._emit = emit
        self._rules: dict[int, tuple[StoredTable, RowRules]] = {}

    def run(self, sql: str) -> None:
        """Do a statement. Raises StatementRefused, or SqlSyntaxError where it is not understood."""
        cursor = Cursor(sql, 0, self._dialect)
        verb = cursor.identifier().upper()
        if verb in {"INSERT", "REPLACE"}:
            self._write(self._read_insert(cursor, replaces=verb == "REPLACE"))
        elif verb == "UPDATE":
            self._update(cursor)
        else:
            self._delete(cursor)

    def _rules_of(self, stored: StoredTable) -> RowRules:
        found = self._rules.get(id(stored))
        if found is None or found[0] is not stored:
            found = self._rules[id(stored)] = (stored, RowRules(stored.version, stored.clauses, self._dialect))
        return found[1]

    def _table(self, cursor: Cursor) -> StoredTable:
        name: TableName = cursor.table_name()
        if cursor.sees("PARTITION"):
            raise cursor.unexpected()
        return self._tables.found(name.database or self._session.database, name.table)

    # ---- INSERT and REPLACE: reading ----

    def _read_insert(self, cursor: Cursor, *, replaces: bool) -> _Insert:
        ignores = self._modifiers(cursor)
        cursor.accept("INTO")
        stored = self._table(cursor)
        names = Names(stored.version, _qualifiers(stored), incoming="")
        parser = Parser(cursor, names)
        insert = _Insert(stored, list(range(len(stored.version.columns))), [], ignores=ignores, replaces=replaces)
        if cursor.sees_punctuation("(") and cursor.keyword(1) != "SELECT":
            named = self._column_list(parser)
            insert.columns, insert.is_whole = named or insert.columns, not named
        if cursor.accept("SET"):
            pairs = self._assignments(parser)
            insert.columns, insert.sources = [index for index, _ in pairs], [[source for _, source in pairs]]
            insert.is_whole = False
        elif cursor.accept("VALUES") or cursor.accept("VALUE"):
            insert.sources = self._rows(parser)
        else:
            insert.selected = self._read_select(cursor)
        if not cursor.at_end() and cursor.accept("AS"):
            names.incoming = cursor.identifier()
            if cursor.accept_punctuation("("):
                names.incoming_columns = _incoming_columns(cursor, insert)
        if cursor.accept("ON", "DUPLICATE", "KEY", "UPDATE"):
            if replaces:
                raise cursor.unexpected()
            names.incoming = names.incoming or " "
            insert.on_duplicate = self._assignments(parser)
        _end(cursor)
        return insert

    def _modifiers(self, cursor: Cursor) -> bool:
        ignores = False
        while cursor.accept_one_of(_MODIFIERS) or cursor.sees("IGNORE"):
            ignores = cursor.accept("IGNORE") or ignores
        return ignores

    def _column_list(self, parser: Parser) -> list[int]:
        cursor, found = parser.cursor, list[int]()
        cursor.expect_punctuation("(")
        if cursor.accept_punctuation(")"):
            return found
        while True:
            found.append(self._target(parser))
            if cursor.accept_punctuation(")"):
                break
            cursor.expect_punctuation(",")
        if len(set(found)) < len(found):
            raise SqlSyntaxError("a column is named twice")
        return found

    def _target(self, parser: Parser) -> int:
        names = [parser.cursor.identifier()]
        while parser.cursor.accept_punctuation("."):
            names.append(parser.cursor.identifier())
        index = parser.column(names).column
        assert index is not None
        return index

    def _assignments(self, parser: Parser) -> list[tuple[int, Source]]:
        found: list[tuple[int, Source]] = []
        while True:
            index = self._target(parser)
            parser.cursor.accept_punctuation(":")
            parser.cursor.expect_punctuation("=")
            found.append((index, self._source(parser)))
            if not parser.cursor.accept_punctuation(","):
                return found

    def _source(self, parser: Parser) -> Source:
        if parser.cursor.sees("DEFAULT") and not parser.cursor.sees_punctuation("(", 1):
            parser.cursor.advance()
            return None
        return parser.expression()

    def _rows(self, parser: Parser) -> list[list[Source]]:
        cursor, rows = parser.cursor, list[list[Source]]()
        while True:
            cursor.accept("ROW")
            cursor.expect_punctuation("(")
            row: list[Source] = []
            while not cursor.accept_punctuation(")"):
                if row:
                    cursor.expect_punctuation(",")
                row.append(self._source(parser))
            rows.append(row)
            if not cursor.accept_punctuation(","):
                return rows

    def _read_select(self, cursor: Cursor) -> list[list[Value]]:
        """SELECT of one table, or of none: its rows as they are now."""
        has_parenthesis = cursor.accept_punctuation("(")
        cursor.expect("SELECT")
        if cursor.sees("DISTINCT"):
            raise cursor.unexpected()
        ahead = self._source_table(cursor)
        parser = Parser(cursor, Names() if ahead is None else ahead[1])
        nodes = self._selected(parser, None if ahead is None else ahead[0])
        found: list[list[Value]] = []
        if ahead is None:
            found.append([node.evaluate(Scope(self._session)) for node in nodes])
        else:
            cursor.expect("FROM")
            cursor.table_name()
            self._alias(cursor)
            wanted = selection(parser, skips=True)
            scopes = (Scope(self._session, ahead[0].rows[number]) for number in chosen(ahead[0], wanted, self._session))
            found += [[node.evaluate(scope) for node in nodes] for scope in scopes]
        if has_parenthesis:
            cursor.expect_punctuation(")")
        return found

    def _source_table(self, cursor: Cursor) -> tuple[StoredTable, Names] | None:
        """Look ahead for FROM: what is selected are columns of that table."""
        distance, depth = 0, 0
        while cursor.peek(distance + 1) is not cursor.peek(distance):
            depth += cursor.sees_punctuation("(", distance) - cursor.sees_punctuation(")", distance)
            if depth < 0:
                return None
            if depth == 0 and cursor.keyword(distance) == "FROM":
                behind = Cursor(cursor.sql[cursor.peek(distance).end :], 0, self._dialect)
                stored = self._table(behind)
                alias = self._alias(behind)
                if behind.sees_punctuation(",") or behind.keyword() in _JOINS or behind.sees("GROUP"):
                    raise SqlSyntaxError("a SELECT of several tables, or of groups, is not played")
                return stored, Names(stored.version, _qualifiers(stored, alias))
            distance += 1
        return None

    def _selected(self, parser: Parser, stored: StoredTable | None) -> list[Node]:
        nodes: list[Node] = []
        while True:
            if parser.cursor.accept_punctuation("*") and stored is not None:
                nodes += [parser.column([column.name]) for column in stored.version.columns]
            else:
                nodes.append(parser.expression())
                if parser.cursor.accept("AS"):
                    parser.cursor.name_or_string()
            if not parser.cursor.accept_punctuation(","):
                return nodes

    # ---- INSERT and REPLACE: doing ----

    def _write(self, insert: _Insert) -> None:
        stored, counted = insert.stored, insert.stored.counted
        rows: Sequence[Sequence[Any]] = insert.sources if insert.selected is None else list(insert.selected)
        numbers = StatementNumbering(stored.numbering, len(rows) if insert.selected is None else 0)
        first: int | None = None
        for sources in rows:
            if insert.selected is None and not sources and insert.is_whole:
                sources = [None] * len(insert.columns)
            if len(sources) != len(insert.columns):
                raise SqlSyntaxError(f"a row has {len(sources)} values for {len(insert.columns)} columns")
            row = self._row(insert, sources)
            given, place = False, numbers.place
            if counted is not None:
                given = self._number(stored, row, counted, numbers)
            self._rules_of(stored).completed(row, self._session)
            is_new = self._write_row(insert, row)
            if not is_new:
                numbers.give_back(place, row[counted] if given and counted is not None else None)
            if counted is not None and isinstance(row[counted], int):
                numbers.row_tried(row[counted], counts=is_new or insert.replaces or insert.selected is not None)
                if given and is_new and first is None:
                    first = row[counted]
        if first is not None:
            self._session.last_insert_id = first

    def _row(self, insert: _Insert, sources: Sequence[Any]) -> Row:
        """A row of its values, each seen by those behind it; defaults for the rest."""
        stored, session, rules = insert.stored, self._session, self._rules_of(insert.stored)
        columns = stored.version.columns
        named = set(insert.columns)
        if insert.selected is not None or all(source is None or source.constant for source in sources):
            initial: Callable[[int, Session], Value] = _nothing
        else:
            initial = rules.initial
        row: Row = [
            initial(index, session) if index in named or index in rules.computed else rules.default(index, session)
            for index in range(len(columns))
        ]
        scope = Scope(session, row)
        for index, source in zip(insert.columns, sources, strict=True):
            if source is None and insert.selected is None:
                row[index] = rules.default(index, session, row)
                continue
            if index in rules.generated:
                raise StatementRefused(f"the column {columns[index].name} is generated and takes no value")
            value = source if insert.selected is not None else source.evaluate(scope)
            row[index] = None if value is None else assigned(columns[index], value, session)
        for index in rules.computed:
            if index not in named:
                row[index] = rules.default(index, session, row)
        return row

    def _number(self, stored: StoredTable, row: Row, counted: int, numbers: StatementNumbering) -> bool:
        """Give the row its AUTO_INCREMENT number, or take note of the one it brings along."""
        brought = row[counted]
        if brought is not None and (brought != 0 or "NO_AUTO_VALUE_ON_ZERO" in self._session.modes):
            numbers.brought(int(brought))
            return False
        row[counted] = assigned(stored.version.columns[counted], numbers.give(), self._session)
        return True

    def _write_row(self, insert: _Insert, row: Row) -> bool:
        """Add a row, or do what the statement says about the one it meets; whether it was added."""
        stored = insert.stored
        while (met := stored.conflict(row)) is not None:
            key, number = met
            if insert.on_duplicate is not None:
                self._update_met(insert, insert.on_duplicate, number, row)
                return False
            if insert.ignores and not insert.replaces:
                return False
            if not insert.replaces:
                stored.refuse_conflict(row)
            before = stored.rows[number]
            if key is stored.unique_keys[-1] and not references.is_named(self._tables, stored):
                self._change_row(stored, number, row)
                return True
            if self._session.checks_foreign_keys:
                references.refuse_loss(self._tables, stored, before, None)
            self._tables.undo.append(stored.delete(number))
            self._emit("delete", stored, before)
        self._check_references(stored, row)
        self._tables.undo.append(stored.insert(row))
        self._emit("insert", stored, row)
        return True

    def _update_met(self, insert: _Insert, pairs: list[tuple[int, Source]], number: int, incoming: Row) -> None:
        after = self._assigned(insert.stored, insert.stored.rows[number], pairs, incoming)
        if after is not None:
            insert.stored.refuse_conflict(after, number)
            self._change_row(insert.stored, number, after)

    # ---- UPDATE and DELETE ----

    def _update(self, cursor: Cursor) -> None:
        ignores = self._modifiers(cursor)
        stored = self._table(cursor)
        alias = self._alias(cursor)
        if ignores or cursor.sees_punctuation(",") or cursor.keyword() in _JOINS:
            raise SqlSyntaxError("an UPDATE of several tables, or with IGNORE, is not played")
        parser = Parser(cursor, Names(stored.version, _qualifiers(stored, alias)))
        cursor.expect("SET")
        pairs = self._assignments(parser)
        wanted = selection(parser)
        _end(cursor)
        for number in chosen(stored, wanted, self._session):
            after = self._assigned(stored, stored.rows[number], pairs, ())
            if after is not None:
                stored.refuse_conflict(after, number)
                self._change_row(stored, number, after)

    def _assigned(
        self, stored: StoredTable, before: Row, pairs: list[tuple[int, Source]], incoming: Sequence[Value]
    ) -> Row | None:
        """The row after its assignments, each seen by those behind it; None if nothing changes."""
        rules, columns, session = self._rules_of(stored), stored.version.columns, self._session
        row = list(before)
        scope = Scope(session, row, incoming)
        for index, source in pairs:
            if index in rules.generated:
                if source is None:
                    continue
                raise StatementRefused(f"the column {columns[index].name} is generated and takes no value")
            value = rules.default(index, session, row) if source is None else source.evaluate(scope)
            row[index] = value if value is None or source is None else assigned(columns[index], value, session)
            if value is None and not columns[index].nullable:
                raise StatementRefused(f"the column {columns[index].name} is NOT NULL and needs a value")
        if all(_is_same(*pair) for pair in zip(before, row, strict=True)):
            return None
        rules.updated(row, {index for index, _ in pairs}, session)
        rules.completed(row, session)
        return row

    def _change_row(self, stored: StoredTable, number: int, after: Row) -> None:
        before = stored.rows[number]
        if all(_is_same(*pair) for pair in zip(before, after, strict=True)):
            return
        self._check_references(stored, after)
        if self._session.checks_foreign_keys:
            references.refuse_loss(self._tables, stored, before, after)
        self._tables.undo.append(stored.update(number, after))
        if stored.counted is not None and isinstance(after[stored.counted], int):
            stored.numbering.raise_above(after[stored.counted])
        self._emit("update", stored, (before, after))

    def _check_references(self, stored: StoredTable, row: Row) -> None:
        if self._session.checks_foreign_keys:
            references.refuse_orphan(self._tables, stored, row)

    def _delete(self, cursor: Cursor) -> None:
        self._modifiers(cursor)
        if not cursor.accept("FROM"):
            raise SqlSyntaxError("a DELETE of several tables is not played; it says DELETE FROM and one table")
        stored = self._table(cursor)
        alias = self._alias(cursor)
        if cursor.sees_punctuation(",") or cursor.sees("USING"):
            raise SqlSyntaxError("a DELETE of several tables is not played; it says DELETE FROM and one table")
        parser = Parser(cursor, Names(stored.version, _qualifiers(stored, alias)))
        wanted = selection(parser)
        _end(cursor)
        for number in chosen(stored, wanted, self._session):
            before = stored.rows[number]
            if self._session.checks_foreign_keys:
                references.refuse_loss(self._tables, stored, before, None)
            self._tables.undo.append(stored.delete(number))
            self._emit("delete", stored, before)

    def _alias(self, cursor: Cursor) -> str | None:
        if cursor.accept("AS"):
            return cursor.identifier()
        is_word = cursor.keyword() not in _CLAUSES and not cursor.at_end() and not cursor.sees_punctuation(",")
        if not is_word or cursor.sees_punctuation("(") or cursor.sees_punctuation(")"):
            return None
        return cursor.identifier()


_CLAUSES = frozenset({"SET", "WHERE", "ORDER", "LIMIT", "USING", "ON", "GROUP", "HAVING", "FOR"})
_JOINS = frozenset({"JOIN", "INNER", "LEFT", "RIGHT", "CROSS", "NATURAL", "STRAIGHT_JOIN"})
_CLAUSES |= _JOINS


def _qualifiers(stored: StoredTable, alias: str | None = None) -> frozenset[str]:
    """What may stand before a column's name."""
    if alias is not None:
        return frozenset({alias.casefold()})
    table = stored.version.table
    return frozenset({table.casefold(), f"{stored.version.database}.{table}".casefold()})


def _incoming_columns(cursor: Cursor, insert: _Insert) -> tuple[str, ...]:
    """Read the names of VALUES … AS new (a, b), by the table's columns."""
    aliases = [cursor.identifier()]
    while cursor.accept_punctuation(","):
        aliases.append(cursor.identifier())
    cursor.expect_punctuation(")")
    if len(aliases) != len(insert.columns):
        raise SqlSyntaxError(f"{len(aliases)} names are given to {len(insert.columns)} columns")
    names = [""] * len(insert.stored.version.columns)
    for index, alias in zip(insert.columns, aliases, strict=True):
        names[index] = alias
    return tuple(names)


def _nothing(index: int, session: Session) -> Value:
    return None


def _end(cursor: Cursor) -> None:
    if not cursor.at_end():
        raise cursor.unexpected()


def _is_same(first: Value, second: Value) -> bool:
    if isinstance(first, Json) and isinstance(second, Json):
        return are_same_documents(first.document, second.document)
    return type(first) is type(second) and bool(first == second)
