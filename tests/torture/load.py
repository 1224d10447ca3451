"""A load of small and large transactions against a real MySQL, endless, from one seed.

Beside plain inserts, updates and deletes: transactions of thousands of rows, rollbacks that must leave nothing,
savepoints, schema changes, and new binlog files in the middle.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pymysql

    from tests.live_server import LiveServer

CREATE_TABLE = (
    "CREATE TABLE items (id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, account INT NOT NULL, "
    "amount DECIMAL(12,2), name VARCHAR(60) NOT NULL, note TEXT, at DATETIME(6) NOT NULL) CHARACTER SET utf8mb4"
)
_INSERT = "INSERT INTO items (account, amount, name, note, at) VALUES (%s, %s, %s, %s, '2024-03-01 09:15:00.123456')"
_NAMES = ("张伟", "Zoë Müller", "O'Brien", "smörgås ☎", "x")
LARGE_TRANSACTION = (
    "INSERT INTO items (account, amount, name, note, at) "
    "WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < %s) "
    "SELECT i %% 50, i / 100, 'large', REPEAT('x', 200), '2024-03-01 09:15:00.5' FROM n"
)
"""One statement, one transaction, as many rows as asked for (`cte_max_recursion_depth` must allow it)."""

_LARGE_TRANSACTION_ROWS = (500, 1000, 4000)
_MULTI_INSERT_ROWS = 500


class Load(threading.Thread):
    """Runs until stopped, as far as it is allowed. What goes wrong inside is raised by `stop`.

    `transactions` counts what was committed.
    """

    def __init__(self, server: LiveServer, database: str, seed: int) -> None:
        super().__init__(name="load", daemon=True)
        self.transactions = 0
        self._connection: pymysql.Connection[Any] = server.connect(database=database, autocommit=False)
        self._random = random.Random(seed)
        self._stopping = threading.Event()
        self._failure: BaseException | None = None
        self._allowed = threading.Condition()
        self._rows_left = 0
        self._extra_columns = 0

    def allow(self, rows: int) -> None:
        """Let it make so many more records, and what else belongs to the last transaction."""
        with self._allowed:
            self._rows_left = rows
            self._allowed.notify()

    def stop(self) -> None:
        """End behind the current transaction."""
        self._stopping.set()
        self.allow(0)
        self.join()
        self._connection.close()
        if self._failure is not None:
            raise self._failure

    def run(self) -> None:
        # Each returns how many records it makes at the least.
        kinds: list[tuple[Callable[[Any], int], int]] = [
            (self._small, 60),
            (self._change, 25),
            (self._large, 2),
            (self._rolled_back, 6),
            (self._with_savepoint, 4),
            (self._schema_change, 1),
            (self._new_file, 1),
        ]
        weights = [weight for _, weight in kinds]
        try:
            while self._is_to_go_on():
                (kind,) = self._random.choices([run for run, _ in kinds], weights)
                with self._connection.cursor() as cursor:
                    rows = kind(cursor)
                self._connection.commit()
                self.transactions += 1
                with self._allowed:
                    self._rows_left -= rows
        except BaseException as failure:
            self._failure = failure

    def _is_to_go_on(self) -> bool:
        with self._allowed:
            self._allowed.wait_for(lambda: self._rows_left > 0 or self._stopping.is_set())
        return not self._stopping.is_set()

    def _rows(self, count: int) -> list[tuple[Any, ...]]:
        return [
            (
                self._random.randrange(50),
                None if self._random.random() < 0.1 else f"{self._random.randrange(-(10**9), 10**9) / 100:.2f}",
                self._random.choice(_NAMES),
                None if self._random.random() < 0.3 else "n" * self._random.choice((0, 5, 300)),
            )
            for _ in range(count)
        ]

    def _small(self, cursor: Any) -> int:
        return self._insert(cursor, self._random.randint(1, 5))

    def _change(self, cursor: Any) -> int:
        account = self._random.randrange(50)
        update = "UPDATE items SET amount = amount + 1, name = %s WHERE account = %s LIMIT 20"
        changed: int = cursor.execute(update, ("改", account))
        deleted: int = cursor.execute("DELETE FROM items WHERE account = %s LIMIT 5", (self._random.randrange(50),))
        return changed + deleted

    def _large(self, cursor: Any) -> int:
        rows = self._random.choice(_LARGE_TRANSACTION_ROWS)
        for _ in range(rows // _MULTI_INSERT_ROWS):
            self._insert(cursor, _MULTI_INSERT_ROWS)
        cursor.execute("UPDATE items SET note = 'large' WHERE account < 25 LIMIT %s", (rows // 4,))
        cursor.execute("DELETE FROM items ORDER BY id LIMIT %s", (rows * 7 // 8,))
        return rows

    def _rolled_back(self, cursor: Any) -> int:
        self._insert(cursor, 50)
        self._connection.rollback()
        return 0

    def _with_savepoint(self, cursor: Any) -> int:
        self._insert(cursor, 2)
        cursor.execute("SAVEPOINT half")
        self._insert(cursor, 200)
        cursor.execute("ROLLBACK TO SAVEPOINT half")
        return 2 + self._insert(cursor, 1)

    def _insert(self, cursor: Any, rows: int) -> int:
        cursor.executemany(_INSERT, self._rows(rows))
        return rows

    def _schema_change(self, cursor: Any) -> int:
        if self._extra_columns < 3:
            self._extra_columns += 1
            cursor.execute(f"ALTER TABLE items ADD COLUMN extra{self._extra_columns} INT NULL DEFAULT 7")
        else:
            cursor.execute(f"ALTER TABLE items DROP COLUMN extra{self._extra_columns}")
            self._extra_columns -= 1
        return 0

    def _new_file(self, cursor: Any) -> int:
        cursor.execute("FLUSH BINARY LOGS")
        return 0
