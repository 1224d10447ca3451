"""Records as an outsider sees them: decoded by fastavro with the published schema, cells as plain Python values.

Nothing of Binwire's own code is used here, so that what these helpers say about a record is a second opinion.
"""

from __future__ import annotations

import datetime as dt
import decimal
import functools
import io
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import fastavro
from kafka.record import MemoryRecords

from tests.tools.workplace import CHECKOUT

CHARSETS = {"utf8mb4": "utf-8", "utf8mb3": "utf-8", "utf8": "utf-8", "latin1": "cp1252", "gbk": "gbk", "ascii": "ascii"}
_LENGTH_AT, _LENGTH_END = 8, 12  # batch_length of a record batch counts what follows it
_ROW_OPERATIONS = ("INSERT", "UPDATE", "DELETE")


@dataclass(frozen=True, slots=True, order=True)
class Record:
    """A Kafka record."""

    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None


@dataclass(frozen=True, slots=True)
class Row:
    """A row change: cells by column name, None for an image the operation does not have."""

    operation: str
    table: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None


@dataclass(slots=True)
class Transaction:
    """What lay between a BEGIN and its COMMIT, or the one DDL statement; `end_offset` follows its last record."""

    rows: list[Row] = field(default_factory=list)
    ddl: str | None = None
    end_offset: int = -1


def decode_batches(data: bytes | memoryview) -> list[Record]:
    """The records of concatenated record batches, by kafka-python; each batch's checksum is verified."""
    batches, records = MemoryRecords(bytes(data)), []
    while batches.has_next():
        batch = batches.next_batch()
        assert batch.validate_crc(), "a record batch has a wrong checksum"
        records += [Record(record.offset, record.timestamp, record.key, record.value) for record in batch]
    return records


def has_right_checksum(batch: bytes) -> bool:
    """Whether one record batch is whole."""
    return bool(MemoryRecords(batch).next_batch().validate_crc())


def split_batches(data: bytes) -> list[bytes]:
    """The batches at the front of a segment file; an active one is longer than what is written so far."""
    batches, position = [], 0
    while length := int.from_bytes(data[position + _LENGTH_AT : position + _LENGTH_END], "big"):
        batches.append(data[position : position + _LENGTH_END + length])
        position += _LENGTH_END + length
    return batches


@functools.cache
def record_schema() -> Any:
    """The schema of the record values, parsed."""
    return fastavro.parse_schema(json.loads((CHECKOUT / "capture" / "record.avsc").read_text(encoding="utf-8")))


def decode_value(value: bytes | None) -> dict[str, Any]:
    """A record value as a dictionary; fails when bytes are left over."""
    assert value is not None
    stream = io.BytesIO(value)
    decoded = fastavro.schemaless_reader(stream, record_schema(), None, return_record_name=True)
    assert stream.tell() == len(value), "bytes are left behind the record"
    assert isinstance(decoded, dict)
    return decoded


@functools.cache
def _identity_schema() -> Any:
    """The schema's first two fields: version and id."""
    fields = json.loads((CHECKOUT / "capture" / "record.avsc").read_text(encoding="utf-8"))["fields"][:2]
    return fastavro.parse_schema({"type": "record", "name": "Identity", "fields": fields})


def decode_identity(value: bytes | None) -> int:
    """The `id` of a record value, without decoding the rest."""
    assert value is not None
    identity = fastavro.schemaless_reader(io.BytesIO(value), _identity_schema(), None)
    assert isinstance(identity, dict)
    number: int = identity["id"]
    return number


def row_of(decoded: dict[str, Any]) -> Row:
    """The row change in a decoded record."""
    names = [entry["name"] for entry in decoded["fields"]]
    return Row(
        decoded["operation"],
        decoded["objectName"],
        _image(names, decoded["beforeImages"]),
        _image(names, decoded["afterImages"]),
    )


def transactions(records: Iterable[Record]) -> Iterator[Transaction]:
    """The transactions of a stream, in order, empty ones and heartbeats included (a heartbeat is empty).

    Asserts the grammar: row changes only between BEGIN and COMMIT, everything else only outside.
    """
    current: Transaction | None = None
    for record in records:
        decoded = decode_value(record.value)
        operation = decoded["operation"]
        if operation == "BEGIN":
            assert current is None, f"BEGIN at offset {record.offset} inside a transaction"
            current = Transaction()
        elif operation in _ROW_OPERATIONS:
            assert current is not None, f"{operation} at offset {record.offset} outside a transaction"
            current.rows.append(row_of(decoded))
        elif operation == "COMMIT":
            assert current is not None, f"COMMIT at offset {record.offset} without BEGIN"
            current.end_offset = record.offset + 1
            yield current
            current = None
        else:
            assert current is None, f"{operation} at offset {record.offset} inside a transaction"
            ddl = decoded["afterImages"] if operation == "DDL" else None
            yield Transaction(ddl=ddl, end_offset=record.offset + 1)
    assert current is None, "the stream ends inside a transaction"


def _image(names: list[str], image: Any) -> dict[str, Any] | None:
    if image is None:
        return None
    return {name: cell(value) for name, value in zip(names, image, strict=True)}


_PARTS = ("year", "month", "day", "hour", "minute", "second", "millis")


def _moment(parts: list[int | None]) -> Any:
    """YEAR as int, DATE as date, TIME as timedelta, DATETIME as naive datetime; zero and partial dates as parts."""
    year, month, day, hour, minute, second, micros = parts
    if month is None and hour is None:
        return year
    if year is None:
        return dt.timedelta(hours=hour or 0, minutes=minute or 0, seconds=second or 0, microseconds=micros or 0)
    try:
        date = dt.date(year, month or 0, day or 0)
    except ValueError:
        return tuple(parts)
    if hour is None:
        return date
    return dt.datetime.combine(date, dt.time(hour, minute or 0, second or 0, micros or 0))


def cell(value: Any) -> Any:
    """A cell as a plain value: int, Decimal, str, bytes, float, what `_moment` says, or a UTC datetime for TIMESTAMP.

    A column that the image lacks is Ellipsis.
    """
    if value is None:
        return None
    if isinstance(value, str) or isinstance(value[1], str):
        return ...
    name, content = value
    match name.rpartition(".")[2]:
        case "Integer":
            return int(content["value"])
        case "Decimal":
            return decimal.Decimal(content["value"])
        case "Character":
            return content["value"].decode(CHARSETS[content["charset"]])
        case "DateTime":
            return _moment([content[part] for part in _PARTS])
        case "Float" | "TextObject" | "BinaryObject" | "BinaryGeometry":
            return content["value"]
        case "Timestamp":
            whole = dt.datetime.fromtimestamp(content["timestamp"], dt.UTC)
            return whole.replace(microsecond=content["millis"])
        case other:
            raise AssertionError(f"a cell of class {other}")
