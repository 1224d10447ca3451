"""Faults of a channel's data, by script: what each does is told by `broker/fixture/fault_kinds.py`."""

from __future__ import annotations

from typing import Any, Literal

from binwire.testing.calls import AsyncSender, Call, Sender, nothing
from binwire.testing.changes import Row
from binwire.testing.values import plain

__tracebackhide__ = True  # pytest shows the line of the test

GhostTool = Literal["gh-ost", "pt-online-schema-change"]

LARGE_ROW_BYTES = 16 << 20


class DataFaults(Sender):
    """What goes wrong with what a channel holds."""

    def store_switch(self, *, duplicates: int | None = None, first_offset: int | None = None) -> None:
        """Have the topic move to another store, as when the service switches: another cluster id, other offsets from
        `first_offset` on (by default behind all that were), other ids, no commits, every connection cut.

        The new store begins `duplicates` records before the first that a group of the channel has not consumed, or
        with the transaction around it, the last at the latest; None: with everything that the old one had.
        """
        self._send(_store_switch(self._name, duplicates, first_offset))

    def noop(self, count: int = 1, *, timestamp_s: int | None = None) -> None:
        """Write NOOP records: fewer than 48 bytes, without position, object or tags."""
        self._send(_noop(self._name, count, timestamp_s))

    def empty_transaction(self, count: int = 1, *, timestamp_s: int | None = None) -> None:
        """Write transactions of which nothing is tracked: BEGIN and COMMIT, nothing between."""
        self._send(_empty_transaction(self._name, count, timestamp_s))

    def untracked(self, table: str, *rows: Row, timestamp_s: int | None = None) -> None:
        """Insert rows, and have records of them come whether the channel tracks the table or not."""
        self._send(_untracked(self._name, table, rows, timestamp_s))

    def ghost_alter(
        self, table: str, change: str, *rows: Row, tool: GhostTool = "gh-ost", timestamp_s: int | None = None
    ) -> None:
        """Change a table as gh-ost or pt-online-schema-change do: by a helper table beside it that takes its place.

        `change` is what follows ALTER TABLE and the name; `rows` are those the tool copies, in their new form. No DDL
        record tells of it, as on the service.
        """
        self._send(_ghost_alter(self._name, table, change, rows, tool, timestamp_s))

    def large_row(self, size_bytes: int = LARGE_ROW_BYTES, *, timestamp_s: int | None = None) -> str:
        """Insert a row with a value of so many bytes into a table made for it; its name."""
        return self._send(_large_row(self._name, size_bytes, timestamp_s))

    def silence(self) -> None:
        """Write no HEARTBEAT records any more: as `Channel.silence`."""
        self._send(Call("fault_silence", {"channel": self._name}, nothing))


class AsyncDataFaults(AsyncSender):
    """The same, for asynchronous code."""

    async def store_switch(self, *, duplicates: int | None = None, first_offset: int | None = None) -> None:
        """As `DataFaults.store_switch`."""
        await self._send(_store_switch(self._name, duplicates, first_offset))

    async def noop(self, count: int = 1, *, timestamp_s: int | None = None) -> None:
        """As `DataFaults.noop`."""
        await self._send(_noop(self._name, count, timestamp_s))

    async def empty_transaction(self, count: int = 1, *, timestamp_s: int | None = None) -> None:
        """As `DataFaults.empty_transaction`."""
        await self._send(_empty_transaction(self._name, count, timestamp_s))

    async def untracked(self, table: str, *rows: Row, timestamp_s: int | None = None) -> None:
        """As `DataFaults.untracked`."""
        await self._send(_untracked(self._name, table, rows, timestamp_s))

    async def ghost_alter(
        self, table: str, change: str, *rows: Row, tool: GhostTool = "gh-ost", timestamp_s: int | None = None
    ) -> None:
        """As `DataFaults.ghost_alter`."""
        await self._send(_ghost_alter(self._name, table, change, rows, tool, timestamp_s))

    async def large_row(self, size_bytes: int = LARGE_ROW_BYTES, *, timestamp_s: int | None = None) -> str:
        """As `DataFaults.large_row`."""
        return await self._send(_large_row(self._name, size_bytes, timestamp_s))

    async def silence(self) -> None:
        """As `DataFaults.silence`."""
        await self._send(Call("fault_silence", {"channel": self._name}, nothing))


def _store_switch(channel: str, duplicates: int | None, first_offset: int | None) -> Call[None]:
    arguments = {"channel": channel, "duplicates": duplicates, "first_offset": first_offset}
    return Call("fault_store_switch", arguments, nothing)


def _noop(channel: str, count: int, timestamp_s: int | None) -> Call[None]:
    return Call("fault_noop", {"channel": channel, "count": count, "timestamp_s": timestamp_s}, nothing)


def _empty_transaction(channel: str, count: int, timestamp_s: int | None) -> Call[None]:
    return Call("fault_empty_transaction", {"channel": channel, "count": count, "timestamp_s": timestamp_s}, nothing)


def _untracked(channel: str, table: str, rows: tuple[Row, ...], timestamp_s: int | None) -> Call[None]:
    arguments = {"channel": channel, "table": table, "rows": _plain(rows), "timestamp_s": timestamp_s}
    return Call("fault_untracked", arguments, nothing)


def _ghost_alter(
    channel: str, table: str, change: str, rows: tuple[Row, ...], tool: str, timestamp_s: int | None
) -> Call[None]:
    arguments = {"channel": channel, "table": table, "change": change, "rows": _plain(rows), "tool": tool}
    return Call("fault_ghost_alter", {**arguments, "timestamp_s": timestamp_s}, nothing)


def _large_row(channel: str, size_bytes: int, timestamp_s: int | None) -> Call[str]:
    arguments = {"channel": channel, "size_bytes": size_bytes, "timestamp_s": timestamp_s}
    return Call("fault_large_row", arguments, lambda result: result["table"])


def _plain(rows: tuple[Row, ...]) -> list[dict[str, Any]]:
    return [{name: plain(value) for name, value in row.items()} for row in rows]
