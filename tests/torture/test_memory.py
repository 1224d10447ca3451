"""Memory of capture does not grow with what a transaction holds, and little with what a row holds.

Held is, whatever comes: private memory of the serving process stays under `MULTIPLE` times `record_bytes_max`. What
costs most is one row: its event, its image, its record, the batch around it. The core suite holds the same at a
`record_bytes_max` of 8 MiB and with less of everything, beside what does not depend on it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import pytest

from tests.torture.memory import Captured, Peak

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.live_server import LiveServer

MULTIPLE: Final = 8
FULL_BYTES, SMALL_BYTES = 90 << 20, 8 << 20
AT_REST_BYTES: Final = 64 << 20
"""A process that does nothing, and the events that wait between the socket and capture."""
_TABLES = (
    "CREATE TABLE numbers (id BIGINT PRIMARY KEY, a INT)",
    "CREATE TABLE texts (id INT PRIMARY KEY, a LONGTEXT CHARACTER SET latin1)",
    "CREATE TABLE documents (id INT PRIMARY KEY, a JSON)",
    "SET SESSION cte_max_recursion_depth = 1000000000",
)
_LESS_THAN_AROUND_THE_TEXT_BYTES = 1000
_THOUSAND = "(WITH RECURSIVE s AS (SELECT 0 n UNION ALL SELECT n + 1 FROM s WHERE n < 999) SELECT n FROM s)"
_COUNT = "(WITH RECURSIVE s AS (SELECT 0 n UNION ALL SELECT n + 1 FROM s WHERE n < {last}) SELECT n FROM s)"


@dataclass(frozen=True, slots=True)
class Load:
    """One transaction: its statements, with `{size}` for how much of it."""

    small: int
    full: int
    statements: tuple[str, ...]

    def write(self, captured: Captured, size: int) -> None:
        for statement in self.statements:
            sql = statement.replace("{size}", str(size)).replace("{thousands}", str(size // 1000 - 1))
            captured.mysql.execute(sql, database=captured.database)


_ROWS = f"INSERT INTO numbers SELECT a.n * 1000 + b.n, 1 FROM {_COUNT.format(last='{thousands}')} a, {_THOUSAND} b"
_LOADS: Final[dict[str, Load]] = {
    "many rows": Load(300_000, 5_000_000, (_ROWS,)),
    "rows of a prepared transaction": Load(
        100_000, 1_000_000, ("XA START 'x'", _ROWS, "XA END 'x'", "XA PREPARE 'x'", "XA COMMIT 'x'")
    ),
    "a row": Load(
        SMALL_BYTES - _LESS_THAN_AROUND_THE_TEXT_BYTES,
        FULL_BYTES - _LESS_THAN_AROUND_THE_TEXT_BYTES,
        ("INSERT INTO texts VALUES (1, REPEAT('x', {size}))",),
    ),
    "an update of a row": Load(
        SMALL_BYTES // 2 - _LESS_THAN_AROUND_THE_TEXT_BYTES,
        FULL_BYTES // 2 - _LESS_THAN_AROUND_THE_TEXT_BYTES,
        ("INSERT INTO texts VALUES (1, REPEAT('x', {size}))", "UPDATE texts SET a = CONCAT(a, 'y')"),
    ),
    "a document of one text": Load(
        3_000_000, 32_000_000, ("INSERT INTO documents VALUES (1, JSON_OBJECT('k', REPEAT('x', {size})))",)
    ),
    "a document of numbers": Load(
        300_000, 10_666_000, ("INSERT INTO documents VALUES (1, CONCAT('[', REPEAT('1,', {size}), '1]'))",)
    ),
    "a partial update of a document": Load(
        100_000,
        4_000_000,
        (
            "INSERT INTO documents VALUES (1, CONCAT('[', REPEAT('1,', {size}), '1]'))",
            "SET SESSION binlog_row_value_options = 'PARTIAL_JSON'",
            "UPDATE documents SET a = JSON_SET(a, '$[5]', 2)",
        ),
    ),
    "a compressed transaction": Load(
        120,
        1_100,
        (
            "SET SESSION binlog_transaction_compression = ON",
            f"INSERT INTO texts SELECT s.n, REPEAT(CHAR(65 + s.n % 50), 1000000) FROM {_COUNT.format(last='{size}')} s",
        ),
    ),
}


@pytest.fixture
def mysql(server_factory: Callable[..., LiveServer]) -> LiveServer:
    """One that takes rows of any size, and many of them in bearable time."""
    ample = ("--max-allowed-packet=1G", "--innodb-redo-log-capacity=1G", "--innodb-buffer-pool-size=512M")
    return server_factory("mysql97", *ample)


def _peak(mysql: LiveServer, folder: Path, name: str, size: int, record_bytes_max: int) -> Peak:
    with Captured(mysql, folder, f'record_bytes_max = "{record_bytes_max >> 20}MiB"') as captured:
        mysql.execute_all(*_TABLES, database=captured.database)
        return captured.peak(lambda: _LOADS[name].write(captured, size))


@pytest.mark.parametrize("name", _LOADS)
def test_private_memory_stays_bounded_where_records_are_small(name: str, mysql: LiveServer, tmp_path: Path) -> None:
    peak = _peak(mysql, tmp_path, name, _LOADS[name].small, SMALL_BYTES)
    assert peak.bytes < MULTIPLE * SMALL_BYTES + AT_REST_BYTES


@pytest.mark.torture
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", _LOADS)
def test_private_memory_stays_under_the_stated_multiple(name: str, mysql: LiveServer, tmp_path: Path) -> None:
    peak = _peak(mysql, tmp_path, name, _LOADS[name].full, FULL_BYTES)
    print(f"{name}: {peak.before / 1e6:.0f} MB at rest, {peak.bytes / 1e6:.0f} MB at most", flush=True)
    assert peak.bytes < MULTIPLE * FULL_BYTES
