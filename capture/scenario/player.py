"""Playing a scenario: statements one after the other, in one session, as transactions of an embedded source.

A transaction's rows reach the source when it commits, all or none. A statement that is refused changes nothing and ends
the scenario with one sentence and its line; what was committed before it stays, as with the mysql client. Tables and
their rows stay from one scenario to the next; rows that were changed by call in between count too.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from capture.cursor import Cursor
from capture.ddl import parse
from capture.errors import CaptureError
from capture.scenario import script
from capture.scenario.changes import Changes
from capture.scenario.definitions import Definitions
from capture.scenario.followed import follow
from capture.scenario.refusal import StatementRefused
from capture.scenario.row_rules import encoded
from capture.scenario.session import Session
from capture.scenario.tables import StoredTable, Tables
from capture.scenario.variables import run_set
from capture.sql import SqlSyntaxError
from capture.statements import TABLE_STATEMENTS, TransactionControl

if TYPE_CHECKING:
    from capture.dialect import Dialect
    from capture.embedded_source import EmbeddedSource
    from capture.scenario.script import ScriptStatement
    from storage.clock import Clock

_CHANGES: Final = frozenset({"INSERT", "REPLACE", "UPDATE", "DELETE"})
_READING: Final = frozenset({"SELECT", "SHOW", "DESCRIBE", "DESC", "EXPLAIN", "HELP", "TABLE", "VALUES"})
_TRANSACTIONS: Final = frozenset({"BEGIN", "START", "COMMIT", "ROLLBACK", "SAVEPOINT", "RELEASE", "XA"})


class _Change(NamedTuple):
    """Rows of one table that one statement changed in one way."""

    statement: int
    kind: str
    table: str
    rows: list[Any]
    timestamp_s: int


class _Savepoint(NamedTuple):
    changes: int
    undo: int


class Player:
    """The tables of one source, and whoever plays scenarios on them."""

    def __init__(self, source: EmbeddedSource, clock: Clock) -> None:
        self._source = source
        self._clock = clock
        self._dialect = source.history.dialect
        self.tables = Tables({})
        self._statement = 0

    def play(self, text: str) -> Generator[int, None, None]:
        """Play a scenario; a step is one statement, and gives its characters. Raises StatementRefused with the line."""
        run = _Run(self._source, self._clock, self.tables)
        began: int | None = None
        try:
            for statement in script.statements(text, self._dialect):
                if not run.is_open:
                    follow(self._source, self.tables, self._clock)
                _at_line(statement.line, run.statement, statement)
                began = None if not run.is_open else began if began is not None else statement.line
                yield len(statement.sql)
        finally:
            run.abandon()
        if began is not None:
            raise StatementRefused(
                f"line {began}: the transaction that begins there does not end; write COMMIT or ROLLBACK"
            )


def _at_line(line: int, run: Callable[[ScriptStatement], None], statement: ScriptStatement) -> None:
    try:
        run(statement)
    except (CaptureError, SqlSyntaxError) as error:
        raise StatementRefused(f"line {line}: {error}") from None
    except RecursionError:
        raise StatementRefused(f"line {line}: the statement is nested too deeply") from None
    except (ArithmeticError, ValueError) as error:
        raise StatementRefused(f"line {line}: a value is beyond what is computed here ({error})") from None


class _Run:
    """One scenario on its way: its session and its open transaction."""

    def __init__(self, source: EmbeddedSource, clock: Clock, tables: Tables) -> None:
        self._source = source
        self._tables = tables
        self._dialect = source.history.dialect
        self._session = Session(clock, source.database, source.history.database_collation("").name)
        self._changes = Changes(tables, self._session, self._dialect, self._emit)
        self._definitions = Definitions(source, tables, self._session)
        self._pending: list[_Change] = []
        self._savepoints: dict[str, _Savepoint] = {}
        self._has_begun = False
        self._number = 0

    @property
    def is_open(self) -> bool:
        """Whether a transaction waits for its end."""
        return self._has_begun or bool(self._pending)

    def statement(self, statement: ScriptStatement) -> None:
        """Run one statement; what it did is undone if it is refused."""
        self._number += 1
        self._session.begin_statement()
        before = _Savepoint(len(self._pending), len(self._tables.undo))
        try:
            self._run(statement.sql)
        except BaseException:
            self._return_to(before)
            raise
        if not self._has_begun and self._session.autocommits:
            self._commit()

    def abandon(self) -> None:
        """Roll back what is not committed."""
        self._return_to(_Savepoint(0, 0))

    def _run(self, sql: str) -> None:
        cursor = Cursor(sql, 0, self._dialect)
        word = cursor.keyword()
        if word in _CHANGES:
            self._changes.run(sql)
        elif word == "SET":
            cursor.advance()
            run_set(cursor, self._session)
        elif word == "USE":
            cursor.advance()
            self._session.database = cursor.identifier()
        elif word in {"LOCK", "UNLOCK"}:
            self._commit()
        elif word in _READING or cursor.sees_punctuation("("):
            self._refuse_reading_into(cursor)
        elif word in _TRANSACTIONS:
            self._control(sql)
        else:
            self._define(sql)

    def _refuse_reading_into(self, cursor: Cursor) -> None:
        """A query changes no rows; where its result goes into a variable or a file is not played."""
        distance = 0
        while cursor.peek(distance + 1) is not cursor.peek(distance):
            if cursor.keyword(distance) == "INTO":
                raise StatementRefused("SELECT … INTO is not played; SET @name = value is")
            distance += 1

    # ---- transactions ----

    def _control(self, sql: str) -> None:
        statement = parse(sql, 0, self._dialect)[-1]
        if not isinstance(statement, TransactionControl):
            raise StatementRefused(
                f"{sql[:60]!r} is not played: {getattr(statement, 'reason', 'it is not understood')}"
            )
        match statement.verb:
            case "BEGIN":
                self._commit()
                self._has_begun = True
            case "COMMIT":
                chains = _chains(sql, self._dialect)
                self._commit()
                self._has_begun = chains
            case "ROLLBACK":
                chains = _chains(sql, self._dialect)
                self._return_to(_Savepoint(0, 0))
                self._has_begun = chains
            case "SAVEPOINT":
                self._savepoints[_folded(statement)] = _Savepoint(len(self._pending), len(self._tables.undo))
            case "ROLLBACK TO":
                self._return_to(self._savepoint(statement))
            case "RELEASE SAVEPOINT":
                self._savepoint(statement)
                del self._savepoints[_folded(statement)]
            case _:
                raise StatementRefused("XA transactions are not played; BEGIN and COMMIT are")

    def _savepoint(self, statement: TransactionControl) -> _Savepoint:
        found = self._savepoints.get(_folded(statement))
        if found is None:
            raise StatementRefused(f"there is no savepoint {statement.name}")
        return found

    def _return_to(self, place: _Savepoint) -> None:
        self._tables.roll_back(place.undo)
        del self._pending[place.changes :]
        self._savepoints = {name: one for name, one in self._savepoints.items() if one.changes <= place.changes}

    def _commit(self) -> None:
        """Write the open transaction. Raises what the source refuses, with everything undone."""
        pending, self._pending = self._pending, []
        self._savepoints, self._has_begun = {}, False
        try:
            with self._source.journal.unnoted():
                self._source.change_rows(
                    [(change.kind, change.table, change.rows, change.timestamp_s) for change in pending],
                    timestamp_s=pending[0].timestamp_s if pending else None,
                    committed_s=self._session.timestamp_s,
                )
        except BaseException:
            self._tables.roll_back()
            raise
        self._tables.undo.clear()

    def _emit(self, kind: str, stored: StoredTable, row: Any) -> None:
        given = (encoded(row[0]), encoded(row[1])) if kind == "update" else encoded(row)
        last = self._pending[-1] if self._pending else None
        if last is not None and (last.statement, last.kind, last.table) == (self._number, kind, stored.name):
            last.rows.append(given)
        else:
            self._pending.append(_Change(self._number, kind, stored.name, [given], self._session.timestamp_s))

    # ---- definitions ----

    def _define(self, sql: str) -> None:
        statements = parse(sql, 0, self._dialect)
        for statement in statements:
            if not isinstance(statement, TABLE_STATEMENTS):
                reason = getattr(statement, "reason", None)
                raise StatementRefused(f"{sql[:60]!r} is not played{': ' + reason if reason else ''}")
        self._commit()
        database = self._session.database
        steps = [step for statement in statements for step in self._definitions.steps(statement, sql, database)]
        with self._source.journal.unnoted():
            self._source.statement(sql, database, timestamp_s=self._session.timestamp_s)
        for step in steps:
            step()


def _chains(sql: str, dialect: Dialect) -> bool:
    """Whether the end of a transaction begins the next one. Raises StatementRefused if it ends the session, too."""
    cursor = Cursor(sql, 0, dialect)
    cursor.advance()
    cursor.accept("WORK")
    chains = cursor.accept("AND", "CHAIN")
    cursor.accept("AND", "NO", "CHAIN")
    if cursor.sees("RELEASE"):
        raise StatementRefused(f"{sql[:60]!r} ends the session, and nothing could follow; leave RELEASE out")
    return chains


def _folded(statement: TransactionControl) -> str:
    return (statement.name or "").casefold()
