"""A MySQL server of a benchmark's own, and a process that commits small transactions in it at a steady pace.

The server is the newest MySQL that the tests run on, started by their tools with their options: binlog in row format,
GTIDs, nothing synced at a commit, so that a commit takes as little as it can. It has the table of `bench/orders.py`.
It needs a checkout; where none is, or the server cannot be had, `Database` says why.

The writer commits one order per transaction (autocommit). STAMP_COLUMN of an order is the monotonic clock in
nanoseconds just before its statement was sent; on Linux that clock is the same for all processes. It is asked by JSON
lines on standard input, and answers on standard output:

    {"first": number, "count": n, "interval_us": n}   -> {"returned_ns": […]}   when each commit was acknowledged

The last order of a request has `last_coupon(number)` in COUPON_COLUMN, by which a reader knows it among bytes that it
has not decoded. End of input ends the process.
"""

from __future__ import annotations

import contextlib
import gc
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from bench import orders
from bench.harness import UnavailableError
from bench.own_process import OwnProcess

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.tools.servers import Instance

KIND: Final = "mysql97"
USER: Final = "bench"
PASSWORD: Final = "Bench-commits1"  # noqa: S105 — of a server that lives for minutes, on the loopback interface
STAMP_COLUMN: Final = "note"
COUPON_COLUMN: Final = "coupon"
_CHECKOUT: Final = Path(__file__).resolve().parent.parent
_STAMP: Final = "<stamp>"


class Database:
    """The server, from its start to its end; a context manager. Raises UnavailableError."""

    def __init__(self) -> None:
        self._instance = _launched()
        self.host, self.port = self._instance.host, self._instance.port
        self.version = self._instance.build.version
        self.url = f"mysql://{USER}:{PASSWORD}@{self.host}:{self.port}"
        self._written = 0

    def __enter__(self) -> Self:
        try:
            self._execute(
                f"CREATE USER {USER} IDENTIFIED BY '{PASSWORD}'",
                f"GRANT ALL ON *.* TO {USER}",
                f"CREATE DATABASE {orders.DATABASE}",
                f"USE {orders.DATABASE}",
                orders.CREATE_TABLE,
            )
        except BaseException:
            self._instance.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._instance.close()

    def next_numbers(self, count: int) -> range:
        """The numbers of orders that nobody has committed yet."""
        self._written += count
        return range(self._written - count, self._written)

    def _execute(self, *statements: str) -> None:
        import pymysql

        with (
            contextlib.closing(pymysql.connect(host=self.host, port=self.port, user="root")) as connection,
            connection.cursor() as cursor,
        ):
            for sql in statements:
                cursor.execute(sql)


def _launched() -> Instance:
    # Looked for before it is imported: where we are installed, `tests` is somebody else's.
    if not (_CHECKOUT / "tests" / "tools" / "servers.py").is_file():
        raise UnavailableError("it needs a MySQL server, which is fetched by the tools of a checkout, and this is none")
    from tests.tools.servers import Instance
    from tests.tools.workplace import ToolError

    try:
        return Instance.launch(KIND)
    except (ToolError, OSError, subprocess.SubprocessError) as error:
        raise UnavailableError(f"it needs a MySQL server, which cannot be had: {error}") from None


def last_coupon(number: int) -> str:
    """What marks the order `number` as the last of those that were asked for together."""
    return f"LAST{number:08}"


class Writer:
    """The process that commits, seen from the benchmark; a context manager that ends it."""

    def __init__(self, database: Database, folder: Path) -> None:
        self._process = OwnProcess(
            "the writer", "bench.database", database.host, database.port, log=folder / "writer.log"
        )

    def send(self, *, first: int, count: int, interval_us: int) -> None:
        """Have it commit the orders from `first` on."""
        self._process.send({"first": first, "count": count, "interval_us": interval_us})

    def result(self) -> list[int]:
        """When each commit was acknowledged, in nanoseconds of the monotonic clock. Raises RuntimeError."""
        returned_ns: list[int] = self._process.answer()["returned_ns"]
        return returned_ns

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # It may still be at work for a reader that gave up, and would end at its next answer only.
        self._process.kill()
        self._process.end()


# --- the process that commits ---------------------------------------------------------------------------------------


def _statements(connection: Any, first: int, count: int) -> Iterator[tuple[str, str]]:
    """The INSERT of each order, up to its stamp and behind it."""
    for number in range(first, first + count):
        row = orders.order(number) | {STAMP_COLUMN: _STAMP, COUPON_COLUMN: None}
        if number == first + count - 1:
            row[COUPON_COLUMN] = last_coupon(number)
        values = ", ".join(connection.escape(value) for value in row.values())
        head, tail = f"INSERT INTO {orders.TABLE} VALUES ({values})".split(_STAMP)
        yield head, tail


def _commit(connection: Any, first: int, count: int, interval_us: int) -> list[int]:
    statements = list(_statements(connection, first, count))
    returned_ns = []
    due_ns = time.monotonic_ns()
    for head, tail in statements:
        due_ns += interval_us * 1_000
        ahead_ns = due_ns - time.monotonic_ns()
        if ahead_ns > 0:
            time.sleep(ahead_ns / 1_000_000_000)
        connection.query(f"{head}{time.monotonic_ns()}{tail}")
        returned_ns.append(time.monotonic_ns())
    return returned_ns


def _main(host: str, port: str) -> None:
    import pymysql

    gc.disable()  # what it counts as slow is to be the server, never itself
    account = {"user": USER, "password": PASSWORD, "charset": "utf8mb4", "autocommit": True}
    with contextlib.closing(pymysql.connect(host=host, port=int(port), **account)) as connection:
        for line in sys.stdin:
            print(json.dumps({"returned_ns": _commit(connection, **json.loads(line))}), flush=True)


if __name__ == "__main__":
    _main(*sys.argv[1:])
