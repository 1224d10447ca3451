"""Random statements, on a real MySQL and played: after each that both take, the tables have the same rows.

A server takes more than is played, and that is told; it refuses some senseless expressions that are played, because
what is wrong with them concerns no row.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any, Final

import pymysql
import pytest

from capture.embedded_source import EmbeddedSource
from capture.scenario.player import Player
from capture.scenario.refusal import StatementRefused
from storage.clock import SystemClock

if TYPE_CHECKING:
    from tests.live_server import LiveServer

DATABASE: Final = "random_scenario"
STATEMENTS: Final = 400
SENSELESS: Final = (1292, 1365)
"""A value that is none of a type, and a division by zero, where neither is used for any row."""
CLOCK: Final = "SET timestamp = 1700000000.5"
COLUMNS: Final = ("id", "a", "b", "v", "d", "dt", "e", "f", "st", "n")
TABLE: Final = (
    "CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, a INT DEFAULT 3, b DECIMAL(8,3), v VARCHAR(8), d DATE, "
    "dt DATETIME, e ENUM('a','B','x1'), f DOUBLE, st SET('c','d'), n TINYINT UNSIGNED, UNIQUE KEY (v))"
)
LITERALS: Final = (
    *("NULL", "0", "1", "2", "3", "-1", "7", "1.5", "'a'", "'B'", "'b '", "'x1'", "''", "'2'", "1e1", "TRUE", "x'41'"),
    *("'2024-01-31'", "'2024-02-29 10:11:12.6'", "b'11'", "20240301", "'c,d'"),
)
FORMS: Final = (
    *("({} + {})", "({} - {})", "({} * {})", "({} DIV {})", "({} / {})", "({} % {})", "({} | {})", "-{}", "ABS({})"),
    *("CONCAT({}, {})", "IFNULL({}, {})", "COALESCE({}, {})", "IF({} > 1, {}, 3)", "NULLIF({}, {})", "ROUND({}, 1)"),
    *("FLOOR({})", "UPPER({})", "LENGTH({})", "CASE WHEN {} = 1 THEN {} ELSE 0 END", "LEFT({}, 2)", "({} = {})"),
    *("SUBSTRING({}, 2)", "({} AND {})", "({} IS NULL)", "CAST({} AS SIGNED)", "CAST({} AS CHAR)", "TRIM({})"),
    *("CAST({} AS DECIMAL(10,3))", "({} + INTERVAL 1 MONTH)", "YEAR({})", "LPAD({}, 4, '0')", "TRUNCATE({}, 1)"),
)
CONDITIONS: Final = (
    *("{} = {}", "{} > {}", "{} <= {}", "{} IN ({}, 2)", "{} IS NOT NULL", "{} BETWEEN {} AND 5", "{} LIKE {}"),
    *("{} <=> {}", "NOT {} = {}", "{} <> {} OR a = 1"),
)
TAILS: Final = (
    "",
    "",
    " ON DUPLICATE KEY UPDATE a = VALUES(a)",
    " ON DUPLICATE KEY UPDATE v = CONCAT(v, 'z'), b = b + 1",
)


class Writer:
    """Writes statements."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def expression(self, depth: int = 0) -> str:
        if depth > 2 or self._random.random() < 0.4:
            return self._random.choice(COLUMNS + LITERALS)
        form = self._random.choice(FORMS)
        return form.format(*(self.expression(depth + 1) for _ in range(form.count("{}"))))

    def condition(self) -> str:
        form = self._random.choice(CONDITIONS)
        return form.format(*(self.expression(2) for _ in range(form.count("{}"))))

    def statement(self) -> str:
        kind = self._random.random()
        if kind < 0.4:
            columns = self._random.sample(COLUMNS, self._random.randint(1, 6))
            count = self._random.randint(1, 3)
            rows = ",".join(f"({','.join(self._random.choices(LITERALS, k=len(columns)))})" for _ in range(count))
            verb = self._random.choice(["INSERT INTO", "INSERT INTO", "REPLACE INTO", "INSERT IGNORE INTO"])
            tail = self._random.choice(TAILS) if verb == "INSERT INTO" else ""
            return f"{verb} t ({','.join(columns)}) VALUES {rows}{tail}"
        if kind < 0.85:
            columns = self._random.sample(COLUMNS[1:], self._random.randint(1, 2))
            pairs = ",".join(f"{column} = {self.expression()}" for column in columns)
            order = self._random.choice(["", " ORDER BY id LIMIT 2", " ORDER BY a, id"])
            return f"UPDATE t SET {pairs} WHERE {self.condition()}{order}"
        if kind < 0.92:
            return f"DELETE FROM t WHERE {self.condition()}"
        return f"INSERT INTO t (v, a) SELECT {self.expression(1)}, {self.expression(1)} FROM t ORDER BY id LIMIT 2"


@pytest.mark.torture
@pytest.mark.server("mysql97")
@pytest.mark.parametrize("seed", range(3))
def test_random_statements_leave_the_same_rows(mysql97: LiveServer, seed: int) -> None:
    mysql97.execute(f"CREATE DATABASE {DATABASE}")
    connection = mysql97.connect(database=DATABASE)
    source = EmbeddedSource(SystemClock(), database=DATABASE, server_version=mysql97.version)
    player, writer, both = Player(source, SystemClock()), Writer(seed), 0
    try:
        with connection.cursor() as cursor:
            cursor.execute("SET SESSION time_zone = '+00:00', sql_mode = DEFAULT")
            cursor.execute(CLOCK)
            cursor.execute(TABLE)
            play(player, TABLE)
            for _ in range(STATEMENTS):
                both += on_both(cursor, player, writer.statement())
    finally:
        connection.close()
        mysql97.execute(f"DROP DATABASE {DATABASE}")
    assert both > STATEMENTS // 4


def on_both(cursor: Any, player: Player, sql: str) -> bool:
    """Do a statement here and, if it is played, there; begin anew where only one of them took it."""
    try:
        play(player, f"{CLOCK}; {sql}")
    except StatementRefused:
        # It gave out numbers before it was refused, as on a server.
        return anew(cursor, player, "ALTER TABLE t AUTO_INCREMENT = 1")
    try:
        cursor.execute(sql)
    except pymysql.err.MySQLError as error:
        if error.args[0] not in SENSELESS:
            raise
        return anew(cursor, player, "TRUNCATE t")
    cursor.execute("SELECT * FROM t")
    assert shown(rows_of(player)) == shown(cursor.fetchall()), sql
    return True


def anew(cursor: Any, player: Player, sql: str) -> bool:
    cursor.execute(sql)
    play(player, sql)
    return False


def play(player: Player, text: str) -> None:
    for _ in player.play(text):
        pass


def rows_of(player: Player) -> list[Any]:
    return list(player.tables.stored[DATABASE, "t"].rows.values())


def shown(rows: Any) -> list[list[str | None]]:
    return sorted(
        ([None if value is None else str(value) for value in row] for row in rows), key=lambda row: int(row[0] or 0)
    )
