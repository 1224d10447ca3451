"""The binlog that `capture` reads: a file as MySQL writes it, made from the orders alone, the same for both sides.

Per transaction: rows are inserted; those of the transaction before are paid; those of the one before that are deleted.
Row metadata is FULL, without which the peer would not know column names, and a rows event holds about as many rows as
MySQL puts into its 8 KiB.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench import orders
from capture.encode import EventEncoder, RowMetadata
from capture.events import BINLOG_MAGIC
from capture.gtid import PreviousGtidsEvent
from capture.table import Column, Key, TableVersion

SERVER_VERSION: Final = "8.0.36"
_SERVER_UUID: Final = "6f4f1b2e-0c1d-11ee-8a5b-0242ac120002"
_FIRST_SECOND: Final = 1_709_284_500  # 2024-03-01 09:15:00 UTC
_TRANSACTIONS_PER_SECOND: Final = 200
_ROWS_PER_EVENT: Final = 80
_THREAD_ID: Final = 8
_TABLE_ID: Final = 108


@dataclass(frozen=True, slots=True)
class Material:
    """A binlog file, its row changes, and the records it makes: these, a BEGIN and COMMIT each, and two DDLs."""

    path: Path
    rows: int
    records: int


def write_binlog(path: Path, transactions: int, rows_per_transaction: int) -> Material:
    """Write the file; `rows_per_transaction` rows are inserted by each transaction."""
    encoder = EventEncoder(server_version=SERVER_VERSION, row_metadata=RowMetadata.FULL)
    rows = 0
    with path.open("wb") as file:
        file.write(BINLOG_MAGIC)
        file.write(encoder.format_description(_FIRST_SECOND))
        file.write(encoder.previous_gtids(_FIRST_SECOND, PreviousGtidsEvent(sets=())))
        for number, sql in enumerate((f"CREATE DATABASE {orders.DATABASE}", orders.CREATE_TABLE), start=1):
            file.write(encoder.gtid(_FIRST_SECOND, _SERVER_UUID, number))
            file.write(encoder.query(_FIRST_SECOND, sql, database=orders.DATABASE, thread_id=_THREAD_ID))
        for number in range(transactions):
            timestamp = _FIRST_SECOND + number // _TRANSACTIONS_PER_SECOND
            file.write(encoder.gtid(timestamp, _SERVER_UUID, number + 3))
            file.write(encoder.query(timestamp, "BEGIN", database=orders.DATABASE, thread_id=_THREAD_ID))
            for event, changed in _rows_events(encoder, timestamp, number, rows_per_transaction):
                file.write(event)
                rows += changed
            file.write(encoder.xid(timestamp, number + 1))
    return Material(path, rows, rows + 2 * transactions + 2)


def _rows_events(encoder: EventEncoder, timestamp: int, number: int, count: int) -> Iterator[tuple[bytes, int]]:
    """The events of one transaction, each with the number of rows it changes (none for a table map)."""
    table_map = encoder.table_map(timestamp, TABLE, _TABLE_ID)
    yield table_map, 0
    for chunk, ends in _chunks(number * count, count):
        rows = map(orders.order, chunk)
        yield encoder.write_rows(timestamp, TABLE, _TABLE_ID, rows, ends_statement=ends), len(chunk)
    if number >= 1:
        yield encoder.table_map(timestamp, TABLE, _TABLE_ID), 0
        for chunk, ends in _chunks((number - 1) * count, count):
            pairs = [(orders.order(order), orders.paid(orders.order(order))) for order in chunk]
            yield encoder.update_rows(timestamp, TABLE, _TABLE_ID, pairs, ends_statement=ends), len(chunk)
    if number >= 2:
        yield encoder.table_map(timestamp, TABLE, _TABLE_ID), 0
        for chunk, ends in _chunks((number - 2) * count, count):
            paid = [orders.paid(orders.order(order)) for order in chunk]
            yield encoder.delete_rows(timestamp, TABLE, _TABLE_ID, paid, ends_statement=ends), len(chunk)


def _chunks(first: int, count: int) -> Iterator[tuple[range, bool]]:
    """The rows of each event of a statement, and whether it is the last one: readers forget the table map behind it."""
    for start in range(first, first + count, _ROWS_PER_EVENT):
        stop = min(start + _ROWS_PER_EVENT, first + count)
        yield range(start, stop), stop == first + count


def _text(name: str, data_type: str, length: int | None = None, *, nullable: bool = False) -> Column:
    return Column(name, data_type, charset="utf8mb4", collation="utf8mb4_0900_ai_ci", length=length, nullable=nullable)


TABLE: Final = TableVersion.of(
    database=orders.DATABASE,
    table="orders",
    columns=(
        Column("id", "bigint", unsigned=True, nullable=False),
        Column("customer_id", "int", nullable=False),
        Column("status", "tinyint", nullable=False),
        Column("quantity", "int", nullable=False),
        Column("amount", "decimal", precision=12, scale=2, nullable=False),
        _text("currency", "varchar", 3),
        _text("title", "varchar", 120),
        _text("note", "text", nullable=True),
        _text("coupon", "varchar", 20, nullable=True),
        Column("placed_at", "datetime", nullable=False),
        Column("paid_at", "timestamp", nullable=True),
    ),
    keys=(Key("PRIMARY", ("id",), unique=True),),
    charset="utf8mb4",
    collation="utf8mb4_0900_ai_ci",
)
"""What orders.CREATE_TABLE makes on a MySQL 8.0."""
