"""A real server whose binlog holds the life of the orders: inserted, paid, deleted, as `bench/material.py` writes it.

The servers are those of the tests (`tests/tools/servers.py`), private to the benchmark and gone after it. Row metadata
is FULL where the server has it. `history` says what every reader of that binlog must have seen.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bench import orders
from bench.harness import PeerMissingError

if TYPE_CHECKING:
    from tests.live_server import LiveServer

NEWEST: Final = "mysql97"
OLDEST: Final = "mysql56"
_CHECKOUT: Final = Path(__file__).resolve().parent.parent
_OPTIONS: Final = {NEWEST: ("--binlog-row-metadata=FULL",), OLDEST: ()}
_ROWS_PER_STATEMENT: Final = 250


@dataclass(frozen=True, slots=True)
class History:
    """The row changes in a binlog, by kind, and the sum of the ids of their rows."""

    inserts: int
    updates: int
    deletes: int
    ids: int

    @property
    def rows(self) -> int:
        return self.inserts + self.updates + self.deletes

    def times(self, count: int) -> History:
        """The same changes so many times."""
        return History(self.inserts * count, self.updates * count, self.deletes * count, self.ids * count)


def history(transactions: int, rows_per_transaction: int) -> History:
    """What so many transactions make: the last two keep rows that are not deleted, the last one some not paid."""
    inserts, updates, deletes = (max(0, transactions - behind) * rows_per_transaction for behind in range(3))
    first_id = orders.order(0)[orders.PRIMARY_KEY]
    ids = sum(count * first_id + count * (count - 1) // 2 for count in (inserts, updates, deletes))
    return History(inserts, updates, deletes, ids)


@dataclass(frozen=True, slots=True)
class ShopServer:
    """A running server with the orders in its binlog, from `file`:`position` to `end`, and an account that reads it."""

    live: LiveServer
    file: str
    position: int
    gtids_before: str
    end: tuple[str, int]
    history: History

    @property
    def host(self) -> str:
        return self.live.host

    @property
    def port(self) -> int:
        return self.live.port

    @property
    def user(self) -> str:
        return self.live.repl_user

    @property
    def password(self) -> str:
        return self.live.repl_password

    @property
    def url(self) -> str:
        """The source of a channel, without TLS, as the others read."""
        return f"{self.live.url()}?tls=disabled"

    @property
    def version(self) -> str:
        return self.live.version

    @property
    def binlog(self) -> Path:
        """The file itself."""
        return self.live.binlog_path(self.file)


@contextlib.contextmanager
def shop_server(kind: str, transactions: int, rows_per_transaction: int) -> Iterator[ShopServer]:
    """Start a server and have the orders written. Raises PeerMissingError where it cannot be had."""
    if not (_CHECKOUT / "tests" / "tools" / "servers.py").is_file():
        raise PeerMissingError("a MySQL server is fetched by the tools of a checkout, and this is none")
    from tests.live_server import LiveServer
    from tests.tools.workplace import ToolError

    try:
        live = LiveServer.launch(kind, [*_OPTIONS[kind], "--max-binlog-size=1G"])
    except (ToolError, OSError, subprocess.SubprocessError) as error:
        raise PeerMissingError(f"no {kind} server: {error}") from None
    with contextlib.closing(live):
        live.execute(f"CREATE DATABASE {orders.DATABASE}")
        live.execute(orders.CREATE_TABLE, database=orders.DATABASE)
        file, position = live.binlog_position()
        gtids = str(live.execute("SELECT @@GLOBAL.gtid_executed")[0][0]).replace("\n", "")
        _write(live, transactions, rows_per_transaction)
        yield ShopServer(
            live, file, position, gtids, live.binlog_position(), history(transactions, rows_per_transaction)
        )


def _write(live: LiveServer, transactions: int, count: int) -> None:
    connection = live.connect(database=orders.DATABASE, autocommit=False)
    with contextlib.closing(connection), connection.cursor() as cursor:
        cursor.execute("SET time_zone = '+00:00'")
        for number in range(transactions):
            for chunk in _chunks(number * count, count):
                cursor.execute(_insert([orders.order(each) for each in chunk]))
            if number >= 1:
                changed = "status = 1, paid_at = placed_at + INTERVAL 5 MINUTE"
                cursor.execute(f"UPDATE orders SET {changed} WHERE {_ids((number - 1) * count, count)}")
            if number >= 2:
                cursor.execute(f"DELETE FROM orders WHERE {_ids((number - 2) * count, count)}")
            connection.commit()


def _chunks(first: int, count: int) -> Iterator[range]:
    for start in range(first, first + count, _ROWS_PER_STATEMENT):
        yield range(start, min(start + _ROWS_PER_STATEMENT, first + count))


def _insert(rows: Sequence[dict[str, Any]]) -> str:
    return "INSERT INTO orders VALUES " + ", ".join(f"({', '.join(map(_literal, row.values()))})" for row in rows)


def _literal(value: Any) -> str:
    """A value of the orders, which have no quotes in their texts."""
    match value:
        case None:
            return "NULL"
        case str() | dt.datetime():
            return f"'{value}'"
        case int() | Decimal():
            return str(value)
        case other:
            raise AssertionError(f"an order's value of type {type(other)}")


def _ids(first: int, count: int) -> str:
    first_id, last_id = (orders.order(number)[orders.PRIMARY_KEY] for number in (first, first + count - 1))
    return f"{orders.PRIMARY_KEY} BETWEEN {first_id} AND {last_id}"
