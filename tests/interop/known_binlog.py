"""A binlog file with what is hard on clients: a large transaction, a record of megabytes, time that runs backwards.

Also NULLs, gbk and Chinese text, updates and deletes, empty transactions, several changes within one second and pauses.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from bench import orders
from bench.material import TABLE as ORDERS
from capture.encode import EventEncoder
from capture.events import BINLOG_MAGIC
from capture.gtid import PreviousGtidsEvent
from capture.table import Column, Key, TableVersion

_FIRST_SECOND = 1_709_284_500  # 2024-03-01 09:15:00 UTC
_SERVER_UUID = "6f4f1b2e-0c1d-11ee-8a5b-0242ac120003"
_THREAD_ID = 12
_ORDERS_ID, _LETTERS_ID = 108, 109
_TRANSACTIONS = 90
_LARGE_TRANSACTION, _LARGE_TRANSACTION_ROWS = 40, 3_000
_LONG_LETTER, _LONG_LETTER_BYTES = 60, 3 << 20
_CLOCK_SET_BACK = range(50, 54)
_CLOCK_SET_BACK_S = 25
_ROWS_PER_EVENT = 100

_CREATE_LETTERS = (
    "CREATE TABLE letters (id BIGINT NOT NULL, subject VARCHAR(60) CHARACTER SET gbk, body LONGTEXT, PRIMARY KEY (id)) "
    "CHARACTER SET utf8mb4"
)
_LETTERS = TableVersion.of(
    database=orders.DATABASE,
    table="letters",
    columns=(
        Column("id", "bigint", nullable=False),
        Column("subject", "varchar", charset="gbk", collation="gbk_chinese_ci", length=60),
        Column("body", "longtext", charset="utf8mb4", collation="utf8mb4_0900_ai_ci"),
    ),
    keys=(Key("PRIMARY", ("id",), unique=True),),
    charset="utf8mb4",
    collation="utf8mb4_0900_ai_ci",
)


def write_known_binlog(path: Path) -> int:
    """Write the file; the number of records it makes."""
    records = 0
    encoder = EventEncoder()
    with path.open("wb") as file:
        file.write(BINLOG_MAGIC)
        file.write(encoder.format_description(_FIRST_SECOND))
        file.write(encoder.previous_gtids(_FIRST_SECOND, PreviousGtidsEvent(sets=())))
        statements = (f"CREATE DATABASE {orders.DATABASE}", orders.CREATE_TABLE, _CREATE_LETTERS)
        for number, sql in enumerate(statements, start=1):
            file.write(encoder.gtid(_FIRST_SECOND, _SERVER_UUID, number))
            file.write(encoder.query(_FIRST_SECOND, sql, database=orders.DATABASE, thread_id=_THREAD_ID))
            records += 1
        for number in range(_TRANSACTIONS):
            records += _write_transaction(file, encoder, number, len(statements) + 1 + number)
    return records


def _write_transaction(file: BinaryIO, encoder: EventEncoder, number: int, gtid_number: int) -> int:
    """Write one transaction; the number of its records, BEGIN and COMMIT included."""
    timestamp = _timestamp(number)
    file.write(encoder.gtid(timestamp, _SERVER_UUID, gtid_number))
    file.write(encoder.query(timestamp, "BEGIN", database=orders.DATABASE, thread_id=_THREAD_ID))
    records = 2
    for event, changed in _events(encoder, timestamp, number):
        file.write(event)
        records += changed
    file.write(encoder.xid(timestamp, gtid_number))
    return records


def _timestamp(number: int) -> int:
    """Three transactions a second, a pause of seven seconds after every tenth, and one clock set back for a while."""
    forward = _FIRST_SECOND + number // 3 + 7 * (number // 10)
    return forward - _CLOCK_SET_BACK_S if number in _CLOCK_SET_BACK else forward


def _events(encoder: EventEncoder, timestamp: int, number: int) -> Iterator[tuple[bytes, int]]:
    """Events, each with the number of rows it changes; none for an empty transaction."""
    if number % 15 == 14:
        return
    count = _LARGE_TRANSACTION_ROWS if number == _LARGE_TRANSACTION else 1 + number % 4
    rows = [orders.order(1000 * number + row) for row in range(count)]
    yield encoder.table_map(timestamp, ORDERS, _ORDERS_ID), 0
    for first in range(0, count, _ROWS_PER_EVENT):
        chunk = rows[first : first + _ROWS_PER_EVENT]
        yield encoder.write_rows(timestamp, ORDERS, _ORDERS_ID, chunk), len(chunk)
    if number % 2:
        pairs = [(row, orders.paid(row)) for row in rows[:2]]
        yield encoder.table_map(timestamp, ORDERS, _ORDERS_ID), 0
        yield encoder.update_rows(timestamp, ORDERS, _ORDERS_ID, pairs), len(pairs)
    if number % 3 == 0:
        yield encoder.table_map(timestamp, ORDERS, _ORDERS_ID), 0
        yield encoder.delete_rows(timestamp, ORDERS, _ORDERS_ID, rows[-1:]), 1
    if number % 5 == 0:
        yield encoder.table_map(timestamp, _LETTERS, _LETTERS_ID), 0
        yield encoder.write_rows(timestamp, _LETTERS, _LETTERS_ID, [_letter(number)]), 1


def _letter(number: int) -> dict[str, Any]:
    body = "信" * (_LONG_LETTER_BYTES // 3) if number == _LONG_LETTER else f"第{number}封信"
    return {"id": number, "subject": "景德镇瓷厂" if number % 2 else None, "body": body}
