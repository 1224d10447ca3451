"""A source whose changes come by call: statements and rows are encoded as binlog events and read like a server's."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any


class EmbeddedSource:
    """A source without a server, for fixtures and tests. Times are Unix epoch seconds; default: the clock's now."""

    def statement(self, sql: str, database: str = "", *, timestamp_s: int | None = None) -> None:
        """A DDL statement; its tables are known to insert, update and delete from then on."""
        raise NotImplementedError

    def insert(self, table: str, *rows: dict[str, Any], timestamp_s: int | None = None) -> None:
        """Rows by column name; columns left out are NULL. Outside `transaction()` it is a transaction of its own."""
        raise NotImplementedError

    def update(self, table: str, *pairs: tuple[dict[str, Any], dict[str, Any]], timestamp_s: int | None = None) -> None:
        """Pairs of (before, after)."""
        raise NotImplementedError

    def delete(self, table: str, *rows: dict[str, Any], timestamp_s: int | None = None) -> None:
        """Rows as they were."""
        raise NotImplementedError

    def transaction(self, *, timestamp_s: int | None = None) -> AbstractContextManager[None]:
        """Everything called inside is one transaction; an exception inside drops it."""
        raise NotImplementedError

    def heartbeat(self, *, timestamp_s: int | None = None) -> None:
        """One HEARTBEAT record."""
        raise NotImplementedError
