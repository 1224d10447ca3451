"""Foreign keys of scenarios: a row that names none is refused, and so is a change of one that is named.

What ON DELETE and ON UPDATE would do to other rows is not played: a server writes no record of it before MySQL 9.6.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from capture.scenario.comparing import Value
from capture.scenario.refusal import StatementRefused
from capture.scenario.texts import are_equal

if TYPE_CHECKING:
    from capture.scenario.clauses import ForeignKey
    from capture.scenario.tables import StoredTable, Tables


def is_named(tables: Tables, stored: StoredTable) -> bool:
    """Whether a foreign key names the table."""
    name = (stored.version.database, stored.version.table)
    return any(
        (key.database or child.version.database, key.table) == name
        for child in tables.stored.values()
        for key in child.clauses.foreign_keys
    )


def refuse_orphan(tables: Tables, stored: StoredTable, row: Sequence[Value]) -> None:
    """Raise StatementRefused if a foreign key of the row names a row that is not there."""
    for key in stored.clauses.foreign_keys:
        values = _values(stored, key.columns, row)
        if None in values:
            continue
        parent = tables.stored.get((key.database or stored.version.database, key.table))
        if parent is stored and values == _values(stored, _referenced(stored, key), row):
            continue
        if parent is None or not _has(parent, _referenced(parent, key), values):
            shown = ", ".join(map(str, values))
            raise StatementRefused(
                f"the foreign key ({', '.join(key.columns)}) of {stored.name} names a row ({shown}) that is not in "
                f"{key.table}"
            )


def refuse_loss(tables: Tables, stored: StoredTable, before: Sequence[Value], after: Sequence[Value] | None) -> None:
    """Raise StatementRefused if another row names this one by what it had before, and has no longer."""
    for child in tables.stored.values():
        for key in child.clauses.foreign_keys:
            named = (key.database or child.version.database, key.table)
            if named != (stored.version.database, stored.version.table):
                continue
            columns = _referenced(stored, key)
            values = _values(stored, columns, before)
            if None in values or (after is not None and values == _values(stored, columns, after)):
                continue
            if _has(child, key.columns, values):
                raise StatementRefused(
                    f"rows of {child.name} name this row of {stored.name} by a foreign key, and what becomes of "
                    f"them is not played; change them first"
                )


def _referenced(parent: StoredTable, key: ForeignKey) -> Sequence[str]:
    primary = parent.version.primary_key
    return key.referenced or (primary.columns if primary is not None else ())


def _indexes(stored: StoredTable, columns: Sequence[str]) -> list[int]:
    names = [column.name.casefold() for column in stored.version.columns]
    return [names.index(name.casefold()) for name in columns]


def _values(stored: StoredTable, columns: Sequence[str], row: Sequence[Value]) -> list[Value]:
    return [row[index] for index in _indexes(stored, columns)]


def _has(stored: StoredTable, columns: Sequence[str], values: Sequence[Value]) -> bool:
    indexes = _indexes(stored, columns)
    for key in stored.unique_keys:
        if key.indexes == tuple(indexes) and key.is_whole:
            wanted: list[Value] = [None] * len(stored.version.columns)
            for index, value in zip(indexes, values, strict=True):
                wanted[index] = value
            return key.row_with(wanted) is not None
    collations = [stored.version.columns[index].collation or "binary" for index in indexes]
    return any(
        all(
            _are_same(row[index], value, collation)
            for index, value, collation in zip(indexes, values, collations, strict=True)
        )
        for row in stored.rows.values()
    )


def _are_same(first: Value, second: Value, collation: str) -> bool:
    if isinstance(first, str) and isinstance(second, str):
        return are_equal(first, second, collation)
    return bool(first == second)
