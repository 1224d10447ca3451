"""AUTO_INCREMENT numbers, as InnoDB gives them out (innodb_autoinc_lock_mode 2, increment 1).

A statement reserves a number for each of its rows with the first one that needs one, and goes on behind the largest
number that a row brings along (sql/handler.cc `update_auto_increment`, ha_innodb.cc `get_auto_increment` of MySQL 8.0).
What is reserved and not used is lost, also by a rollback.
"""

from __future__ import annotations

from typing import Protocol


class Numbering(Protocol):
    """A table's next number."""

    following: int

    def raise_above(self, number: int) -> None:
        """Have a number that a row has not be given again."""


class StatementNumbering:
    """Numbers for the rows of one INSERT, 0 where nobody knows how many there will be."""

    def __init__(self, table: Numbering, rows: int) -> None:
        self._table = table
        self._rows = rows
        self._reservations = 0
        self._remaining = 0
        self._next = 0
        self._end = 0
        self.first: int | None = None
        """The first number given: LAST_INSERT_ID()."""

    def give(self) -> int:
        """A number for a row that brings none along."""
        if self._next >= self._end:
            wanted = self._rows if self._rows and not self._reservations else 1 << self._reservations
            count = self._remaining or wanted
            self._remaining = count
            self._next = max(self._next, self._table.following)
            self._end = self._next + count
            self._table.following = max(self._table.following, self._end)
            self._reservations += 1
        number, self._next = self._next, self._next + 1
        if self.first is None:
            self.first = number
        return number

    def brought(self, number: int) -> None:
        """A row brings this number along."""
        if self._next and number >= self._next:
            self._next = number + 1

    @property
    def place(self) -> int:
        """The number that the next row would get, 0 before any."""
        return self._next

    def give_back(self, place: int, given: int | None) -> None:
        """A row was passed over: the next one gets the number that it was given."""
        self._next = place or given or 0

    def row_tried(self, number: int, *, counts: bool) -> None:
        """A row was written, or met another one; `counts`: its number is the table's from now on."""
        self._remaining = max(0, self._remaining - 1)
        if counts:
            self._table.raise_above(number)
