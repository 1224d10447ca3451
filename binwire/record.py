"""The records of a change-tracking topic as Python values: `decode(message.value)`.

A record is Avro binary without header, of the schema that `binwire schema` prints, its fields in this order:

    version int | id long | sourceTimestamp long (s) | sourcePosition, safeSourcePosition, sourceTxid strings |
    source (type enum, version string) | operation enum | objectName null/string | processTimestamps null/longs |
    tags map of strings | fields null/string/array of (name string, dataTypeNumber int) |
    beforeImages, afterImages null/string/array of cells | bornTimestamp long, missing before 2023

Whatever is written so can be read, those of the service as those of Binwire; bytes that are anything else raise
RecordError. The standard library is enough, and nothing of the server is imported: the file may be copied elsewhere
together with `record_values.py`, which says what Python value a cell is.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, TypeVar

from binwire.record_values import ABSENT, READERS, RecordError, boundary, long, text

__all__ = ["OPERATIONS", "Column", "Record", "RecordError", "decode"]

T = TypeVar("T")

SOURCE_TYPES: Final = (
    *("MySQL", "Oracle", "SQLServer", "PostgreSQL", "MongoDB", "Redis", "DB2", "PPAS", "DRDS", "HBASE", "HDFS"),
    *("FILE", "OTHER"),
)
OPERATIONS: Final = (
    *("INSERT", "UPDATE", "DELETE", "DDL", "BEGIN", "COMMIT", "ROLLBACK", "ABORT", "HEARTBEAT", "CHECKPOINT"),
    *("COMMAND", "FILL", "FINISH", "CONTROL", "RDB", "NOOP", "INIT"),
)
TYPE_NAMES: Final = {
    1: "TINYINT",
    2: "SMALLINT",
    3: "INT",
    4: "FLOAT",
    5: "DOUBLE",
    7: "TIMESTAMP",
    8: "BIGINT",
    9: "MEDIUMINT",
    10: "DATE",
    11: "TIME",
    12: "DATETIME",
    13: "YEAR",
    15: "TEXT",
    16: "BIT",
    245: "JSON",
    246: "DECIMAL",
    247: "ENUM",
    248: "SET",
    249: "TINYBLOB",
    250: "MEDIUMBLOB",
    251: "LONGBLOB",
    252: "BLOB",
    253: "VARCHAR",
    254: "CHAR",
    255: "GEOMETRY",
}
"""dataTypeNumber -> the MySQL type that columns with it have. 252 is BINARY and VARBINARY, too, and 15 every TEXT."""

_COLUMNS_KEPT: Final = 4096


class Column(NamedTuple):
    """A column of a changed row."""

    name: str
    type_number: int
    """The service's dataTypeNumber."""

    @property
    def type_name(self) -> str:
        """The MySQL type in capitals, as `BIGINT`; the number's digits where it is none of MySQL's."""
        return TYPE_NAMES.get(self.type_number) or str(self.type_number)


@dataclass(frozen=True, slots=True)
class Record:
    """One record. Rows are dictionaries in column order; `record_values.py` says which Python type a cell is."""

    id: int
    """Rises with each record of a stream, heartbeats included."""
    operation: str
    """INSERT, UPDATE, DELETE, DDL, BEGIN, COMMIT, HEARTBEAT, or another of `OPERATIONS`."""
    database: str | None
    table: str | None
    before: dict[str, Any] | None
    """The row as it was; None for an INSERT and for everything that is no row change."""
    after: dict[str, Any] | None
    """The row as it is; None for a DELETE and for everything that is no row change."""
    ddl: str | None
    """The statement of a DDL record."""
    timestamp_s: int
    """The time at the source, in Unix seconds."""
    position: str
    """Where the change ends in the source's binlog: `102420@188` is byte 102420 of the file number 188."""
    safe_position: str
    """Where to read again for not missing the change."""
    columns: tuple[Column, ...]
    tags: dict[str, str]
    source_type: str
    source_version: str
    offset: int | None = None
    """Where in the topic the record was read, if it was told."""

    @property
    def keys(self) -> dict[str, tuple[str, ...]]:
        """The columns of the table's primary key, called PRIMARY, and of its unique keys."""
        return {name: tuple(columns) for name, columns in json.loads(self.tags.get("pk_uk_info", "{}")).items()}

    @property
    def primary_key(self) -> tuple[str, ...]:
        """The columns of the primary key; empty where there is none."""
        return self.keys.get("PRIMARY", ())

    def __str__(self) -> str:
        """One line: `12 UPDATE shop.orders 4711@3 {'id': 1} -> {'id': 2}`."""
        name = ".".join(part for part in (self.database, self.table) if part is not None)
        rows = " -> ".join(str(row) for row in (self.before, self.after) if row is not None)
        parts = ("" if self.offset is None else str(self.offset), self.operation, name, self.position, rows, self.ddl)
        return " ".join(part for part in parts if part)


def decode(value: bytes | bytearray | memoryview, *, offset: int | None = None) -> Record:
    """The record that a Kafka message's value is; raises RecordError for anything else."""
    data = bytes(value)
    try:
        return _decode(data, offset)
    except IndexError:
        raise RecordError(f"{len(data)} bytes are no whole record: they end too early") from None
    except (ArithmeticError, RecursionError, ValueError) as error:
        raise RecordError(f"{len(data)} bytes are no record: {error}") from None


def _decode(data: bytes, offset: int | None) -> Record:
    _, at = long(data, 0)
    number, at = long(data, at)
    timestamp_s, at = long(data, at)
    position, at = text(data, at)
    safe_position, at = text(data, at)
    _, at = text(data, at)
    source_type, at = _symbol(SOURCE_TYPES, data, at)
    source_version, at = text(data, at)
    operation, at = _symbol(OPERATIONS, data, at)
    name, at = _name(data, at)
    at = _skip_process_timestamps(data, at)
    tags, at = _blocks(data, at, _tag)
    columns, at = _columns(name, data, at)
    before, at = _image(columns, data, at)
    after, at = _image(columns, data, at)
    if at < len(data):
        _, at = long(data, at)
    if at < len(data):
        raise ValueError(f"it ends at byte {at}, and others follow")
    parts = [part.replace("\\u002E", ".") for part in name.split(".")] if name else []
    return Record(
        number,
        operation,
        parts[0] if parts else None,
        ".".join(parts[1:]) if len(parts) > 1 else None,
        before if isinstance(before, dict) else None,
        after if isinstance(after, dict) else None,
        after if isinstance(after, str) else None,
        timestamp_s,
        position,
        safe_position,
        columns,
        dict(tags),
        source_type,
        source_version,
        offset,
    )


def _symbol(symbols: tuple[str, ...], data: bytes, at: int) -> tuple[str, int]:
    number, end = long(data, at)
    if not 0 <= number < len(symbols):
        raise ValueError(f"the number {number} at byte {at} stands for none of {', '.join(symbols)}")
    return symbols[number], end


def _branch(data: bytes, at: int, *branches: str) -> tuple[int, int]:
    """Which branch of a union follows."""
    number, end = long(data, at)
    if not 0 <= number < len(branches):
        raise ValueError(f"the number {number} at byte {at} stands for none of {', '.join(branches)}")
    return number, end


def _name(data: bytes, at: int) -> tuple[str | None, int]:
    branch, at = _branch(data, at, "null", "a name")
    return text(data, at) if branch else (None, at)


def _skip_process_timestamps(data: bytes, at: int) -> int:
    branch, at = _branch(data, at, "null", "times")
    return _blocks(data, at, long)[1] if branch else at


def _blocks(data: bytes, at: int, item: Callable[[bytes, int], tuple[T, int]]) -> tuple[list[T], int]:
    """The items of an Avro array or map."""
    items: list[T] = []
    while True:
        count, at = long(data, at)
        if count == 0:
            return items, at
        if count < 0:  # followed by the block's size, for those who skip it
            count = -count
            _, at = long(data, at)
        for _ in range(count):
            value, at = item(data, at)
            items.append(value)


def _tag(data: bytes, at: int) -> tuple[tuple[str, str], int]:
    name, at = text(data, at)
    value, at = text(data, at)
    return (name, value), at


_known_columns: dict[str, tuple[bytes, tuple[Column, ...]]] = {}
"""The columns of a table and the bytes that say so: those of one definition are the same in every record."""


def _columns(name: str | None, data: bytes, at: int) -> tuple[tuple[Column, ...], int]:
    known = _known_columns.get(name or "")
    if known is not None and data.startswith(known[0], at):
        return known[1], at + len(known[0])
    start = at
    branch, at = _branch(data, at, "null", "a text", "columns")
    if branch == 0:
        return (), at
    if branch == 1:
        raise ValueError(f"fields is a text at byte {start}, which only other sources write")
    items, at = _blocks(data, at, _column)
    columns = tuple(items)
    if len(_known_columns) >= _COLUMNS_KEPT:
        _known_columns.clear()
    _known_columns[name or ""] = (data[start:at], columns)
    return columns, at


def _column(data: bytes, at: int) -> tuple[Column, int]:
    name, at = text(data, at)
    number, at = long(data, at)
    return Column(name, number), at


def _image(columns: tuple[Column, ...], data: bytes, at: int) -> tuple[dict[str, Any] | str | None, int]:
    """A row by column name, the text of a DDL record, or None. A column that the image lacks is left out."""
    start = at
    branch, at = _branch(data, at, "null", "a text", "a row")
    if branch == 0:
        return None, at
    if branch == 1:
        return text(data, at)
    cells, at = _blocks(data, at, _cell)
    if len(cells) != len(columns):
        raise ValueError(f"the row at byte {start} has {len(cells)} cells for {len(columns)} columns")
    return {column.name: cell for column, cell in zip(columns, cells, strict=True) if cell is not ABSENT}, at


def _cell(data: bytes, at: int) -> tuple[Any, int]:
    kind = data[at]
    if kind & 1 or kind >= 2 * len(READERS):
        raise boundary(at)
    return READERS[kind >> 1](data, at + 1)
