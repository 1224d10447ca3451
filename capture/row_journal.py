"""What was changed by call since scenarios last looked: statements and rows, for those who keep tables.

Kept are the changes themselves, up to ROWS_MAX rows or BYTES_MAX of them; behind that statements alone, and `is_whole`
says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from capture.statements import Statement

ROWS_MAX: Final = 100_000
BYTES_MAX: Final = 1 << 25
"""As the binlog has them: a row of 16 MiB, which tests have on purpose, and as much again."""


class NotedRows(NamedTuple):
    """Whole rows of one table, of an update pairs; `kind` is insert, update or delete."""

    kind: str
    table: tuple[str, str]
    rows: Sequence[Any]


class NotedStatements(NamedTuple):
    """Statements that changed the schema, and their default database."""

    statements: Sequence[Statement]
    sql: str
    database: str


class RowJournal:
    """In the order in which the changes were made."""

    def __init__(self) -> None:
        self.is_whole = True
        self._entries: list[NotedRows | NotedStatements] = []
        self._rows = self._bytes = 0
        self._notes = True

    def rows(self, kind: str, table: tuple[str, str], rows: Sequence[Any], size_bytes: int) -> None:
        if self._notes and self.is_whole:
            self._rows += len(rows)
            self._bytes += size_bytes
            self._entries.append(NotedRows(kind, table, rows))
            if self._rows > ROWS_MAX or self._bytes > BYTES_MAX:
                self.is_whole = False
                self._entries = [entry for entry in self._entries if isinstance(entry, NotedStatements)]

    def statements(self, statements: Sequence[Statement], sql: str, database: str) -> None:
        if self._notes:
            self._entries.append(NotedStatements(statements, sql, database))

    @property
    def has_news(self) -> bool:
        """Whether there is anything to take, or too much was noted."""
        return bool(self._entries) or not self.is_whole

    def take(self) -> list[NotedRows | NotedStatements]:
        """What was noted since the last time."""
        entries, self._entries = self._entries, []
        self._rows = self._bytes = 0
        return entries

    def checkpoint(self) -> Callable[[], None]:
        """What takes back everything that is noted from now on."""
        entries, count, is_whole = self._entries, len(self._entries), self.is_whole
        rows, size_bytes = self._rows, self._bytes

        def restore() -> None:
            del entries[count:]
            self._entries, self.is_whole = entries, is_whole
            self._rows, self._bytes = rows, size_bytes

        return restore

    @contextmanager
    def unnoted(self) -> Iterator[None]:
        """Changes that whoever keeps the tables makes itself."""
        before, self._notes = self._notes, False
        try:
            yield
        finally:
            self._notes = before
