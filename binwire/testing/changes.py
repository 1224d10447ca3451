"""Changes by call: statements, rows, transactions, heartbeats; and where in the binlog they stand.

Rows are mappings of column names to values, of the types that MySQL's have in Python (`values.py`). Every call is one
transaction, unless it is made inside `transaction()`, and returns when consumers can see it. `timestamp_s` (Unix
seconds) is its time at the source, by default now.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple, TypeVar

from binwire.testing.calls import AsyncSender, Call, Sender, nothing
from binwire.testing.process import EmbeddedBrokerError
from binwire.testing.values import plain

__tracebackhide__ = True  # pytest shows the line of the test

T = TypeVar("T")

Row = Mapping[str, Any]
"""A row by column name. A column left out of a row that is inserted has its default, NULL if it has none."""

_SHOWN_CHARACTERS_MAX = 60


class Changes(Sender):
    """What changes a channel."""

    def table(self, sql: str, *, timestamp_s: int | None = None) -> Table:
        """Run one CREATE TABLE statement, which arrives as a DDL record; the table, to change its rows by."""
        return Table(self, self._send(between(self, _table(self._name, sql, timestamp_s))))

    def ddl(self, sql: str, *, timestamp_s: int | None = None) -> None:
        """Run any statement that changes the schema; it arrives as a DDL record."""
        self._send(between(self, _ddl(self._name, sql, timestamp_s)))

    def insert(self, table: str, *rows: Row, timestamp_s: int | None = None) -> None:
        """Insert rows."""
        self._change(_rows_call("insert", self._name, table, rows, timestamp_s))

    def update(self, table: str, *pairs: tuple[Row, Row], timestamp_s: int | None = None) -> None:
        """Update rows, each given as it was and as it is; columns left out of what it is stay what they were."""
        self._change(_update(self._name, table, pairs, timestamp_s))

    def delete(self, table: str, *rows: Row, timestamp_s: int | None = None) -> None:
        """Delete rows, given as they were."""
        self._change(_rows_call("delete", self._name, table, rows, timestamp_s))

    @contextmanager
    def transaction(self, *, timestamp_s: int | None = None) -> Iterator[None]:
        """Make one transaction of everything that this thread or task inserts, updates and deletes inside.

        It is sent when the block ends; an exception in it drops it, and without changes there is none.
        """
        with _collected(self) as changes:
            yield
        if changes:
            self._send(_transaction(self._name, changes, timestamp_s))

    def heartbeat(self, *, timestamp_s: int | None = None) -> None:
        """Write one HEARTBEAT record."""
        self._send(between(self, _timed("heartbeat", self._name, timestamp_s)))

    def at(self, file: int, position: int) -> None:
        """Go on at this place of the binlog, a later one: the next change begins there.

        `file` is a binlog file's number, as records have it: `position@file`.
        """
        self._send(between(self, _at(self._name, file, position)))

    def rotate(self, *, timestamp_s: int | None = None) -> None:
        """Go on in the next binlog file, as FLUSH BINARY LOGS does."""
        self._send(between(self, _timed("rotate", self._name, timestamp_s)))

    def _change(self, call: Call[None]) -> None:
        if not _is_collected(self, call):
            self._send(call)


class AsyncChanges(AsyncSender):
    """The same, for asynchronous code."""

    async def table(self, sql: str, *, timestamp_s: int | None = None) -> AsyncTable:
        """As `Changes.table`."""
        return AsyncTable(self, await self._send(between(self, _table(self._name, sql, timestamp_s))))

    async def ddl(self, sql: str, *, timestamp_s: int | None = None) -> None:
        """As `Changes.ddl`."""
        await self._send(between(self, _ddl(self._name, sql, timestamp_s)))

    async def insert(self, table: str, *rows: Row, timestamp_s: int | None = None) -> None:
        """As `Changes.insert`."""
        await self._change(_rows_call("insert", self._name, table, rows, timestamp_s))

    async def update(self, table: str, *pairs: tuple[Row, Row], timestamp_s: int | None = None) -> None:
        """As `Changes.update`."""
        await self._change(_update(self._name, table, pairs, timestamp_s))

    async def delete(self, table: str, *rows: Row, timestamp_s: int | None = None) -> None:
        """As `Changes.delete`."""
        await self._change(_rows_call("delete", self._name, table, rows, timestamp_s))

    @asynccontextmanager
    async def transaction(self, *, timestamp_s: int | None = None) -> AsyncIterator[None]:
        """As `Changes.transaction`."""
        with _collected(self) as changes:
            yield
        if changes:
            await self._send(_transaction(self._name, changes, timestamp_s))

    async def heartbeat(self, *, timestamp_s: int | None = None) -> None:
        """As `Changes.heartbeat`."""
        await self._send(between(self, _timed("heartbeat", self._name, timestamp_s)))

    async def at(self, file: int, position: int) -> None:
        """As `Changes.at`."""
        await self._send(between(self, _at(self._name, file, position)))

    async def rotate(self, *, timestamp_s: int | None = None) -> None:
        """As `Changes.rotate`."""
        await self._send(between(self, _timed("rotate", self._name, timestamp_s)))

    async def _change(self, call: Call[None]) -> None:
        if not _is_collected(self, call):
            await self._send(call)


class Table:
    """A table of a channel. A row is given as a mapping, or as keyword arguments if there is only one."""

    def __init__(self, channel: Changes, name: str) -> None:
        self._channel = channel
        self.name = name
        """`table`, or `database.table` if the statement named the database."""

    def insert(self, *rows: Row, timestamp_s: int | None = None, **columns: Any) -> None:
        """Insert rows in one transaction."""
        self._channel.insert(self.name, *_all_rows(rows, columns), timestamp_s=timestamp_s)

    def update(self, *pairs: tuple[Row, Row], timestamp_s: int | None = None) -> None:
        """Update rows in one transaction, each given as it was and as it is."""
        self._channel.update(self.name, *pairs, timestamp_s=timestamp_s)

    def delete(self, *rows: Row, timestamp_s: int | None = None, **columns: Any) -> None:
        """Delete rows in one transaction, given as they were."""
        self._channel.delete(self.name, *_all_rows(rows, columns), timestamp_s=timestamp_s)


class AsyncTable:
    """The same of an asynchronous channel."""

    def __init__(self, channel: AsyncChanges, name: str) -> None:
        self._channel = channel
        self.name = name
        """`table`, or `database.table` if the statement named the database."""

    async def insert(self, *rows: Row, timestamp_s: int | None = None, **columns: Any) -> None:
        """As `Table.insert`."""
        await self._channel.insert(self.name, *_all_rows(rows, columns), timestamp_s=timestamp_s)

    async def update(self, *pairs: tuple[Row, Row], timestamp_s: int | None = None) -> None:
        """As `Table.update`."""
        await self._channel.update(self.name, *pairs, timestamp_s=timestamp_s)

    async def delete(self, *rows: Row, timestamp_s: int | None = None, **columns: Any) -> None:
        """As `Table.delete`."""
        await self._channel.delete(self.name, *_all_rows(rows, columns), timestamp_s=timestamp_s)


def _table(channel: str, sql: str, timestamp_s: int | None) -> Call[str]:
    return Call("table", {"channel": channel, "sql": sql, "timestamp_s": timestamp_s}, lambda result: result["table"])


def _ddl(channel: str, sql: str, timestamp_s: int | None) -> Call[None]:
    return Call("ddl", {"channel": channel, "sql": sql, "timestamp_s": timestamp_s}, nothing)


def _rows_call(name: str, channel: str, table: str, rows: tuple[Row, ...], timestamp_s: int | None) -> Call[None]:
    given = [_plain_row(row) for row in rows]
    return Call(name, {"channel": channel, "table": table, "rows": given, "timestamp_s": timestamp_s}, nothing)


def _update(channel: str, table: str, pairs: tuple[tuple[Row, Row], ...], timestamp_s: int | None) -> Call[None]:
    given = [_plain_pair(pair) for pair in pairs]
    return Call("update", {"channel": channel, "table": table, "rows": given, "timestamp_s": timestamp_s}, nothing)


def _transaction(channel: str, changes: list[dict[str, Any]], timestamp_s: int | None) -> Call[None]:
    return Call("transaction", {"channel": channel, "changes": changes, "timestamp_s": timestamp_s}, nothing)


def _timed(name: str, channel: str, timestamp_s: int | None) -> Call[None]:
    return Call(name, {"channel": channel, "timestamp_s": timestamp_s}, nothing)


def _at(channel: str, file: int, position: int) -> Call[None]:
    return Call("at", {"channel": channel, "file": file, "position": position}, nothing)


def _plain_pair(pair: tuple[Row, Row]) -> list[dict[str, Any]]:
    if not isinstance(pair, (tuple, list)) or len(pair) != 2:
        raise TypeError(f"an update takes pairs of a row as it was and as it is, not {_shown(pair)}")
    return [_plain_row(row) for row in pair]


def _plain_row(row: Row) -> dict[str, Any]:
    if not isinstance(row, Mapping):
        raise TypeError(f"a row is a mapping of column names to values, not {_shown(row)}")
    for name in row:
        if not isinstance(name, str):
            raise TypeError(f"the column name {name!r} is no text")
    return {name: plain(value) for name, value in row.items()}


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS_MAX else f"{text[: _SHOWN_CHARACTERS_MAX - 1]}…"


def _all_rows(rows: tuple[Row, ...], columns: Row) -> tuple[Row, ...]:
    return (*rows, columns) if columns else rows


class _Transaction(NamedTuple):
    """The transaction that is open on a channel, and what it has until now."""

    channel: Changes | AsyncChanges
    changes: list[dict[str, Any]]


_OPEN: ContextVar[tuple[_Transaction, ...]] = ContextVar("transactions", default=())
"""Those of this thread or task."""


@contextmanager
def _collected(channel: Changes | AsyncChanges) -> Iterator[list[dict[str, Any]]]:
    """Collect the changes that are made by this thread or task."""
    if _open(channel) is not None:
        raise EmbeddedBrokerError("transactions cannot be nested; call transaction() once")
    opened = _Transaction(channel, [])
    _OPEN.set((*_OPEN.get(), opened))
    try:
        yield opened.changes
    finally:
        _OPEN.set(tuple(other for other in _OPEN.get() if other is not opened))


def _open(channel: object) -> _Transaction | None:
    return next((one for one in _OPEN.get() if one.channel is channel), None)


def _is_collected(channel: Changes | AsyncChanges, call: Call[None]) -> bool:
    """Whether a call belongs to a transaction, which has it now."""
    opened = _open(channel)
    if opened is not None:
        part = {name: value for name, value in call.arguments.items() if name != "channel"}
        opened.changes.append({"call": call.name, **part})
    return opened is not None


def between(channel: object, call: Call[T]) -> Call[T]:
    """The call, which cannot stand in a transaction. Raises EmbeddedBrokerError."""
    if _open(channel) is not None:
        raise EmbeddedBrokerError(f"{call.name} stands between transactions; call it outside transaction()")
    return call
