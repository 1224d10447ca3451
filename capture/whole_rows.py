"""Rows given by people to whole rows in table order, as the embedded source writes them, and the numbers they count by.

Of each table the next AUTO_INCREMENT is kept, by name: a table that is new or emptied begins at 1 again, one that is
renamed goes on. As on a server it never goes back by itself; `checkpoint` is for changes that did not come about.
Left to others: what a column left out gets (`capture/row_defaults.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from capture.row_defaults import RowDefaults
from capture.statements import (
    AlterTable,
    CreateTable,
    CreateTableLike,
    DropDatabase,
    DropTable,
    RenameTable,
    RenameTo,
    TruncateTable,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from capture.statements import Statement, TableName
    from capture.table import TableVersion

_Name = tuple[str, str]


class WholeRows:
    """Completes the rows of a source's tables."""

    def __init__(self, *, cuts_fractions: bool = False) -> None:
        self._defaults: dict[_Name, tuple[TableVersion, RowDefaults]] = {}
        self._next_numbers: dict[_Name, int] = {}
        self._cuts_fractions = cuts_fractions

    def of(self, kind: str, table: TableVersion, rows: Sequence[Any], time_s: int) -> Sequence[Any]:
        """Rows of an insert or delete, or pairs of an update, with every column. Raises ValueRefused."""
        key = (table.database, table.table)
        known = self._defaults.get(key)
        if known is None or known[0] is not table:
            known = self._defaults[key] = (table, RowDefaults(table, cuts_fractions=self._cuts_fractions))
        return _COMPLETE[kind](self, known[1], key, rows, time_s)

    def next_number(self, name: _Name) -> int:
        """The AUTO_INCREMENT that the next row of a table would get."""
        return self._next_numbers.get(name, 1)

    def set_next_number(self, name: _Name, number: int) -> None:
        """Have AUTO_INCREMENT go on there, as ALTER TABLE … AUTO_INCREMENT does."""
        self._next_numbers[name] = number

    def follow(self, statements: Sequence[Statement], database: str) -> None:
        """Take note of tables that are made, emptied, dropped or renamed."""
        for statement in statements:
            if isinstance(statement, DropDatabase):
                for name in [name for name in self._next_numbers if name[0] == statement.database]:
                    del self._next_numbers[name]
            for table in _emptied(statement):
                self._next_numbers.pop(_name(table, database), None)
            for old, new in _renamed(statement):
                number = self._next_numbers.pop(_name(old, database), None)
                if number is not None:
                    self._next_numbers[_name(new, database)] = number

    def checkpoint(self) -> Callable[[], None]:
        """What takes the numbers back to those of now."""
        numbers = self._next_numbers.copy()

        def restore() -> None:
            self._next_numbers = numbers

        return restore

    def _inserted(self, defaults: RowDefaults, name: _Name, rows: Sequence[Any], time_s: int) -> Sequence[Any]:
        if defaults.auto_increment is None:
            return [defaults.inserted(row, time_s, 0) for row in rows]
        following, whole = self.next_number(name), []
        for row in rows:
            whole.append(defaults.inserted(row, time_s, following))
            following = max(following, defaults.number_of(whole[-1]) + 1)
        self._next_numbers[name] = following
        return whole

    def _updated(self, defaults: RowDefaults, name: _Name, pairs: Sequence[Any], time_s: int) -> Sequence[Any]:
        befores = [defaults.before(before) for before, _ in pairs]
        return [(before, defaults.after(pair[1], before)) for before, pair in zip(befores, pairs, strict=True)]

    def _deleted(self, defaults: RowDefaults, name: _Name, rows: Sequence[Any], time_s: int) -> Sequence[Any]:
        return [defaults.before(row) for row in rows]


def _name(table: TableName, database: str) -> _Name:
    return table.database or database, table.table


def _emptied(statement: Statement) -> Sequence[TableName]:
    """The tables that a statement makes, empties or drops."""
    match statement:
        case DropTable(temporary=False):
            return statement.tables
        case CreateTable(temporary=False, if_not_exists=False) | CreateTableLike(temporary=False, if_not_exists=False):
            return (statement.table,)
        case TruncateTable():
            return (statement.table,)
    return ()


def _renamed(statement: Statement) -> Sequence[tuple[TableName, TableName]]:
    """The tables that a statement gives another name, and that."""
    match statement:
        case RenameTable():
            return statement.renames
        case AlterTable():
            return [(statement.table, one.name) for one in statement.operations if isinstance(one, RenameTo)]
    return ()


_COMPLETE: dict[str, Callable[[WholeRows, RowDefaults, _Name, Any, int], Sequence[Any]]] = {
    "insert": WholeRows._inserted,
    "update": WholeRows._updated,
    "delete": WholeRows._deleted,
}
