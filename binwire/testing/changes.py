"""Changes by call: statements, rows, heartbeats, transactions.

Rows are mappings of column names to values: int, float, str, bytes, Decimal, datetime, date, time, timedelta, a set of
labels, None. Zero dates and a time of day beyond 24 hours can be given as text. Columns left out are NULL. Every call
is one transaction and returns when consumers can see it; `timestamp_s` (Unix seconds) is its time at the source, by
default now.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from binwire.testing.calls import AsyncSender, Call, Sender, nothing

Row = Mapping[str, Any]


class Changes(Sender):
    """What changes a channel."""

    def table(self, sql: str, *, timestamp_s: int | None = None) -> Table:
        """Run one CREATE TABLE statement, which arrives as a DDL record; the table, to change its rows by."""
        return Table(self, self._send(_table(self._name, sql, timestamp_s)))

    def ddl(self, sql: str, *, timestamp_s: int | None = None) -> None:
        """Run any statement that changes the schema; it arrives as a DDL record."""
        self._send(_statement(self._name, sql, timestamp_s))

    def insert(self, table: str, *rows: Row, timestamp_s: int | None = None) -> None:
        """Insert rows."""
        self._send(_rows_call("insert", self._name, table, rows, timestamp_s))

    def update(self, table: str, *pairs: tuple[Row, Row], timestamp_s: int | None = None) -> None:
        """Update rows, each given as it was and as it is."""
        self._send(_update(self._name, table, pairs, timestamp_s))

    def delete(self, table: str, *rows: Row, timestamp_s: int | None = None) -> None:
        """Delete rows, given as they were."""
        self._send(_rows_call("delete", self._name, table, rows, timestamp_s))

    def heartbeat(self, *, timestamp_s: int | None = None) -> None:
        """Write one HEARTBEAT record."""
        self._send(_heartbeat(self._name, timestamp_s))


class AsyncChanges(AsyncSender):
    """The same, for asynchronous code."""

    async def table(self, sql: str, *, timestamp_s: int | None = None) -> AsyncTable:
        """As `Changes.table`."""
        return AsyncTable(self, await self._send(_table(self._name, sql, timestamp_s)))

    async def ddl(self, sql: str, *, timestamp_s: int | None = None) -> None:
        """As `Changes.ddl`."""
        await self._send(_statement(self._name, sql, timestamp_s))

    async def insert(self, table: str, *rows: Row, timestamp_s: int | None = None) -> None:
        """As `Changes.insert`."""
        await self._send(_rows_call("insert", self._name, table, rows, timestamp_s))

    async def update(self, table: str, *pairs: tuple[Row, Row], timestamp_s: int | None = None) -> None:
        """As `Changes.update`."""
        await self._send(_update(self._name, table, pairs, timestamp_s))

    async def delete(self, table: str, *rows: Row, timestamp_s: int | None = None) -> None:
        """As `Changes.delete`."""
        await self._send(_rows_call("delete", self._name, table, rows, timestamp_s))

    async def heartbeat(self, *, timestamp_s: int | None = None) -> None:
        """As `Changes.heartbeat`."""
        await self._send(_heartbeat(self._name, timestamp_s))


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


def _statement(channel: str, sql: str, timestamp_s: int | None) -> Call[None]:
    return Call("statement", {"channel": channel, "sql": sql, "timestamp_s": timestamp_s}, nothing)


def _rows_call(name: str, channel: str, table: str, rows: tuple[Row, ...], timestamp_s: int | None) -> Call[None]:
    given = [dict(row) for row in rows]
    return Call(name, {"channel": channel, "table": table, "rows": given, "timestamp_s": timestamp_s}, nothing)


def _update(channel: str, table: str, pairs: tuple[tuple[Row, Row], ...], timestamp_s: int | None) -> Call[None]:
    given = [[dict(before), dict(after)] for before, after in pairs]
    return Call("update", {"channel": channel, "table": table, "rows": given, "timestamp_s": timestamp_s}, nothing)


def _heartbeat(channel: str, timestamp_s: int | None) -> Call[None]:
    return Call("heartbeat", {"channel": channel, "timestamp_s": timestamp_s}, nothing)


def _all_rows(rows: tuple[Row, ...], columns: Row) -> tuple[Row, ...]:
    return (*rows, columns) if columns else rows
