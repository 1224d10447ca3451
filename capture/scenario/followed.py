"""Tables and rows that calls made, taken over into a scenario's tables.

A row that a call changes or deletes need not be known; an unknown one that is changed is known from then on. Values are
brought into the form that a column makes of them; those that have none here, such as geometries, stay as they were
given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any

from capture.errors import CaptureError
from capture.row_journal import BYTES_MAX, ROWS_MAX, NotedRows
from capture.scenario.assigning import assigned
from capture.scenario.comparing import Json, Value
from capture.scenario.definitions import Definitions
from capture.scenario.session import Session
from capture.sql import SqlSyntaxError

if TYPE_CHECKING:
    from capture.embedded_source import EmbeddedSource
    from capture.scenario.tables import Row, StoredTable, Tables
    from capture.table import Column
    from storage.clock import Clock

_TOO_MANY = (
    f"more than {ROWS_MAX} of a channel's rows, or {BYTES_MAX} bytes of them, were changed by call; play scenarios on "
    f"a channel of their own"
)


def follow(source: EmbeddedSource, tables: Tables, clock: Clock) -> None:
    """Take over what was changed by call since the last time."""
    if not source.journal.has_news:
        return
    session = Session(clock, source.database, "utf8mb4_0900_ai_ci")
    session.modes = frozenset()
    session.begin_statement()
    definitions = Definitions(source, tables, session)
    for entry in source.journal.take():
        if isinstance(entry, NotedRows):
            stored = tables.stored.get(entry.table)
            if stored is not None:
                _change(stored, entry.kind, entry.rows, session)
            continue
        for statement in entry.statements:
            try:
                steps = definitions.steps(statement, entry.sql, entry.database)
            except (CaptureError, SqlSyntaxError) as error:
                _give_up(tables, str(error))
                continue
            for step in steps:
                step()
    if not source.journal.is_whole:
        _give_up(tables, _TOO_MANY)
    tables.undo.clear()


def _give_up(tables: Tables, why: str) -> None:
    """A change that could not be followed: no table's rows are certain any more."""
    for stored in tables.stored.values():
        stored.trouble = stored.trouble or why


def _change(stored: StoredTable, kind: str, rows: Sequence[Any], session: Session) -> None:
    for given in rows:
        before, after = given if kind == "update" else (None, given) if kind == "insert" else (given, None)
        try:
            if before is not None and (found := _find(stored, _stored_row(stored, before, session))) is not None:
                stored.delete(found)
            if after is not None:
                _add(stored, _stored_row(stored, after, session))
        except CaptureError as error:
            stored.trouble = stored.trouble or str(error)


def _add(stored: StoredTable, row: Row) -> None:
    """A row that calls gave twice is there once: the last one counts."""
    while (met := stored.conflict(row)) is not None:
        stored.delete(met[1])
    stored.insert(row)


def _find(stored: StoredTable, row: Row) -> int | None:
    for key in stored.unique_keys:
        found = key.row_with(row)
        if found is not None:
            return found
    return next((number for number, other in stored.rows.items() if other == row), None)


def _stored_row(stored: StoredTable, row: Sequence[Any], session: Session) -> Row:
    return [_stored(column, value, session) for column, value in zip(stored.version.columns, row, strict=True)]


def _stored(column: Column, value: Any, session: Session) -> Value:
    if value is None:
        return None
    try:
        return assigned(column, _in_words(column, value), session)
    except (CaptureError, ArithmeticError, ValueError):
        return value


def _in_words(column: Column, value: Any) -> Value:
    """A value by call in the form that a statement would have it."""
    if column.data_type == "json":
        return value if isinstance(value, str) else Json(value)
    if column.data_type == "set" and isinstance(value, Sequence | AbstractSet) and not isinstance(value, str | bytes):
        return ",".join(map(str, value))
    if column.data_type == "timestamp" and isinstance(value, int | float) and not isinstance(value, bool):
        return datetime(1970, 1, 1) + timedelta(seconds=value)  # noqa: DTZ001 — the session's zone is UTC
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.astimezone(UTC).replace(tzinfo=None)
    if isinstance(value, time):
        return timedelta(hours=value.hour, minutes=value.minute, seconds=value.second, microseconds=value.microsecond)
    if isinstance(value, date | str | bytes | timedelta | int | float) or not isinstance(value, Mapping):
        return value
    return Json(dict(value))
