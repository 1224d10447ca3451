"""The rows of a scenario's tables, and what undoes their changes.

A row is a list of values by the table's columns, under a number that it keeps. Unique keys are looked up by values that
are certainly equal where their collation says so; what may be equal by a collation is compared one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cmp_to_key

from msgspec import Struct

from capture.scenario import texts
from capture.scenario.clauses import Clauses
from capture.scenario.comparing import Value, compare
from capture.scenario.counting import Numbering
from capture.scenario.refusal import StatementRefused
from capture.table import PRIMARY, Key, TableVersion
from capture.table_names import shown_table_name

Row = list[Value]
Undo = Callable[[], object]


class UniqueKey:
    """The rows of a table by the values of one unique key."""

    def __init__(self, table: TableVersion, key: Key) -> None:
        self.name = key.name
        names = [column.name.casefold() for column in table.columns]
        self.indexes = tuple(names.index(name.casefold()) for name in key.columns)
        self._prefixes = key.prefixes or (0,) * len(key.columns)
        self._collations = [table.columns[index].collation or "binary" for index in self.indexes]
        self.is_whole = not any(self._prefixes)
        """Of whole columns, not of their beginnings."""
        self.has_nulls = any(table.columns[index].nullable for index in self.indexes)
        self._rows: dict[tuple[Value, ...], int] = {}
        self._uncertain: set[tuple[Value, ...]] = set()

    def values(self, row: Sequence[Value]) -> tuple[Value, ...] | None:
        """The key of a row; None if a NULL in it makes it unlike any other."""
        found = []
        for index, prefix, collation in zip(self.indexes, self._prefixes, self._collations, strict=True):
            value = row[index]
            if value is None:
                return None
            if prefix and isinstance(value, str | bytes):
                value = value[:prefix]
            found.append(texts.folded_text(value, collation) if isinstance(value, str) else value)
        return tuple(found)

    def row_with(self, row: Sequence[Value]) -> int | None:
        """The number of the row that has the same key. Raises StatementRefused where that is not certain."""
        values = self.values(row)
        if values is None:
            return None
        found = self._rows.get(values)
        if found is not None:
            return found
        for other in self._rows if self._is_uncertain(values) else self._uncertain:
            if all(self._are_equal(*pair) for pair in zip(values, other, self._collations, strict=True)):
                return self._rows[other]
        return None

    def _are_equal(self, first: Value, second: Value, collation: str) -> bool:
        if isinstance(first, str) and isinstance(second, str):
            return texts.are_equal(first, second, collation)
        return bool(first == second)

    def _is_uncertain(self, values: tuple[Value, ...]) -> bool:
        return any(
            isinstance(value, str) and not texts.collating(collation).is_binary and not texts.is_certain(value)
            for value, collation in zip(values, self._collations, strict=True)
        )

    def add(self, row: Sequence[Value], number: int) -> None:
        values = self.values(row)
        if values is not None:
            self._rows[values] = number
            if self._is_uncertain(values):
                self._uncertain.add(values)

    def remove(self, row: Sequence[Value]) -> None:
        values = self.values(row)
        if values is not None:
            self._rows.pop(values, None)
            self._uncertain.discard(values)


class StoredTable:
    """A table with its rows. `trouble`, half a sentence, says why its rows cannot be played."""

    def __init__(self, version: TableVersion, clauses: Clauses, numbering: Numbering) -> None:
        self.version = version
        self.clauses = clauses
        self.numbering = numbering
        self.rows: dict[int, Row] = {}
        self.trouble: str | None = clauses.trouble
        self._last_number = 0
        if any(key.unique and key.functional for key in version.keys):
            self.trouble = self.trouble or "it has a unique key over an expression"
        self.unique_keys = [UniqueKey(version, key) for key in version.keys if key.unique and not key.functional]

    @property
    def name(self) -> str:
        return shown_table_name(self.version.database, self.version.table)

    @property
    def counted(self) -> int | None:
        """The column that has AUTO_INCREMENT."""
        return next((index for index, column in enumerate(self.version.columns) if column.auto_increment), None)

    def conflict(self, row: Sequence[Value], except_number: int | None = None) -> tuple[UniqueKey, int] | None:
        """The first key by which another row is the same, and that row's number."""
        for key in self.unique_keys:
            found = key.row_with(row)
            if found is not None and found != except_number:
                return key, found
        return None

    def refuse_conflict(self, row: Sequence[Value], except_number: int | None = None) -> None:
        """Raise StatementRefused if another row has one of the unique keys."""
        found = self.conflict(row, except_number)
        if found is not None:
            key, _ = found
            values = "-".join(str(row[index]) for index in key.indexes)
            raise StatementRefused(f"a row of {self.name} has {values!r} already in the key {key.name}")

    def insert(self, row: Row) -> Undo:
        self._last_number += 1
        number = self._last_number
        self._put(number, row)
        return lambda: self._take(number)

    def delete(self, number: int) -> Undo:
        row = self._take(number)
        return lambda: self._put(number, row)

    def update(self, number: int, row: Row) -> Undo:
        before = self._take(number)
        self._put(number, row)

        def undo() -> None:
            self._take(number)
            self._put(number, before)

        return undo

    def _put(self, number: int, row: Row) -> None:
        self.rows[number] = row
        for key in self.unique_keys:
            key.add(row, number)

    def _take(self, number: int) -> Row:
        row = self.rows.pop(number)
        for key in self.unique_keys:
            key.remove(row)
        return row

    def clear(self) -> None:
        """TRUNCATE."""
        self.rows.clear()
        self.numbering.following = 1
        self.unique_keys = [
            UniqueKey(self.version, key) for key in self.version.keys if key.unique and not key.functional
        ]

    def in_order(self, numbers: Sequence[int]) -> list[int]:
        """Rows as a server finds them that goes through the table: by primary key, or the first key without NULL."""
        key = next((key for key in self.unique_keys if key.name == PRIMARY or not key.has_nulls), None)
        if key is None:
            return sorted(numbers)
        collations = [self.version.columns[index].collation or "binary" for index in key.indexes]

        def order(first: int, second: int) -> int:
            one, other = self.rows[first], self.rows[second]
            for index, collation in zip(key.indexes, collations, strict=True):
                found = clustered_order(one[index], other[index], collation)
                if found:
                    return found
            return 0

        return sorted(numbers, key=cmp_to_key(order))

    def loaded(self, rows: Iterable[Row]) -> None:
        """Take rows as they are; raises StatementRefused for two that are the same by a unique key."""
        for row in rows:
            self.refuse_conflict(row)
            self.insert(row)


def clustered_order(first: Value, second: Value, collation: str) -> int:
    """The order of two key values; texts whose order is not known, by their characters."""
    try:
        return compare(first, second, collation) or 0
    except StatementRefused:
        return -1 if str(first) < str(second) else 1


class Tables(Struct):
    """All tables by database and name, and what undoes what the open transaction did."""

    stored: dict[tuple[str, str], StoredTable]
    undo: list[Undo] = []

    def found(self, database: str, table: str) -> StoredTable:
        """A table whose rows can be played. Raises StatementRefused."""
        stored = self.stored.get((database, table))
        if stored is None:
            raise StatementRefused(f"there is no table {database}.{table}")
        if stored.trouble is not None:
            raise StatementRefused(f"rows of {database}.{table} are not played: {stored.trouble}")
        return stored

    def roll_back(self, to: int = 0) -> None:
        """Undo everything behind a number of steps."""
        while len(self.undo) > to:
            self.undo.pop()()
