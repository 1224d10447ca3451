"""A binlog of documents with one row that is large, in the middle of a transaction, and transactions around it."""

from __future__ import annotations

from pathlib import Path

from capture.encode import EventEncoder
from capture.events import BINLOG_MAGIC
from capture.gtid import PreviousGtidsEvent
from capture.table import Column, Key, TableVersion

DATABASE = "shop"
LARGE_ID = 77
_FIRST_SECOND = 1_709_284_500  # 2024-03-01 09:15:00 UTC
_SERVER_UUID = "6f4f1b2e-0c1d-11ee-8a5b-0242ac120003"
_TABLE_ID, _THREAD_ID = 108, 12
_CREATE = "CREATE TABLE documents (id BIGINT NOT NULL, body LONGTEXT, PRIMARY KEY (id)) CHARACTER SET utf8mb4"
_DOCUMENTS = TableVersion.of(
    database=DATABASE,
    table="documents",
    columns=(
        Column("id", "bigint", nullable=False),
        Column("body", "longtext", charset="utf8mb4", collation="utf8mb4_0900_ai_ci"),
    ),
    keys=(Key("PRIMARY", ("id",), unique=True),),
    charset="utf8mb4",
    collation="utf8mb4_0900_ai_ci",
)


def write_binlog(path: Path, *, large_bytes: int, rows_before: int = 3, rows_beside: int = 3) -> int:
    """Write the file: transactions of one row, one of `rows_beside` rows around the large one, one row more.

    The number of records it makes.
    """
    beside = list(range(100, 100 + rows_beside))
    half = rows_beside // 2
    transactions = [[(number, "before")] for number in range(rows_before)]
    transactions.append([(number, "beside") for number in beside[:half]])
    transactions[-1].append((LARGE_ID, "x" * large_bytes))
    transactions[-1] += [(number, "beside") for number in beside[half:]]
    transactions.append([(200, "after")])
    encoder = EventEncoder()
    with path.open("wb") as file:
        file.write(BINLOG_MAGIC)
        file.write(encoder.format_description(_FIRST_SECOND))
        file.write(encoder.previous_gtids(_FIRST_SECOND, PreviousGtidsEvent(sets=())))
        for number, sql in enumerate((f"CREATE DATABASE {DATABASE}", _CREATE), start=1):
            file.write(encoder.gtid(_FIRST_SECOND, _SERVER_UUID, number))
            file.write(encoder.query(_FIRST_SECOND, sql, database=DATABASE, thread_id=_THREAD_ID))
        for number, rows in enumerate(transactions, start=3):
            time = _FIRST_SECOND + number
            file.write(encoder.gtid(time, _SERVER_UUID, number))
            file.write(encoder.query(time, "BEGIN", database=DATABASE, thread_id=_THREAD_ID))
            for identity, body in rows:
                file.write(encoder.table_map(time, _DOCUMENTS, _TABLE_ID))
                file.write(encoder.write_rows(time, _DOCUMENTS, _TABLE_ID, [{"id": identity, "body": body}]))
            file.write(encoder.xid(time, number))
    return 2 + sum(len(rows) + 2 for rows in transactions)
