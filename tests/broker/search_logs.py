"""Logs for searches: records of every class of cell, in closed and open segments, with any codec.

Records are encoded by fastavro (`capture.avro`), so that what reads them is held against another implementation.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from broker.search.protocol import Log
from capture import avro
from storage.clock import SystemClock
from storage.compression import codec_named
from storage.config import LogConfig
from storage.encoding import encode_batch
from storage.log import SourcePosition
from storage.segment_log import SegmentLog

FIRST_S: Final = 1_709_284_500


class Row(NamedTuple):
    """A record, decoded, and where it is."""

    offset: int
    timestamp_ms: int
    record: dict[str, Any]


def integer(value: int, precision: int = 4) -> dict[str, Any]:
    return {"class": "Integer", "precision": precision, "value": str(value)}


def text(value: str | bytes, charset: str = "utf8mb4") -> dict[str, Any]:
    return {"class": "Character", "charset": charset, "value": value if isinstance(value, bytes) else value.encode()}


def decimal(value: str) -> dict[str, Any]:
    return {"class": "Decimal", "value": value, "precision": 12, "scale": 2}


def double(value: float) -> dict[str, Any]:
    return {"class": "Float", "value": value, "precision": 53, "scale": 0}


def timestamp(seconds: int, microseconds: int = 0) -> dict[str, Any]:
    return {"class": "Timestamp", "timestamp": seconds, "millis": microseconds}


def parts(*values: int | None) -> dict[str, Any]:
    """A DateTime of year, month, day, hour, minute, second, microseconds."""
    names = ("year", "month", "day", "hour", "minute", "second", "millis")
    return {"class": "DateTime", **dict(zip(names, values, strict=True))}


def binary(value: bytes) -> dict[str, Any]:
    return {"class": "BinaryObject", "type": "BLOB", "value": value}


def label(value: str) -> dict[str, Any]:
    return {"class": "TextObject", "type": "ENUM", "value": value}


ABSENT: Final[dict[str, Any]] = {"class": "EmptyObject", "symbol": "NONE"}
NUMBERS: Final = {
    "Integer": 3, "Character": 253, "Decimal": 246, "Float": 5, "Timestamp": 7, "DateTime": 12, "BinaryObject": 252,
    "TextObject": 247, "EmptyObject": 3,
}  # fmt: skip


def record(
    number: int,
    operation: str,
    name: str | None = None,
    *,
    before: dict[str, Any] | None = None,
    after: dict[str, Any] | None = None,
    seconds: int = FIRST_S,
    keys: dict[str, list[str]] | None = None,
    ddl: str | None = None,
    tags: dict[str, str] | None = None,
) -> dict[str, Any]:
    """A record in the form of `capture.avro`."""
    images = [image for image in (before, after) if image is not None]
    fields = None
    if images:
        fields = [
            {"name": column, "dataTypeNumber": NUMBERS[cell["class"]] if cell else 3}
            for column, cell in images[-1].items()
        ]
    return {
        "version": 0,
        "id": 1000 + number,
        "sourceTimestamp": seconds,
        "sourcePosition": f"{number}@7",
        "safeSourcePosition": f"{number}@7",
        "sourceTxid": "0",
        "source": {"sourceType": "MySQL", "version": "8.0.36"},
        "operation": operation,
        "objectName": name,
        "processTimestamps": None,
        "tags": {**({"pk_uk_info": json.dumps(keys)} if keys else {}), **(tags or {})},
        "fields": fields,
        "beforeImages": None if before is None else list(before.values()),
        "afterImages": ddl if ddl is not None else None if after is None else list(after.values()),
        "bornTimestamp": seconds,
    }


def write_log(
    directory: Path,
    records: Sequence[dict[str, Any]],
    *,
    codec: str = "none",
    batch_records: int = 3,
    segment_bytes: int = 4096,
) -> tuple[Log, list[Row]]:
    """A log of these records, ended orderly, and where each of them is."""
    rows = [Row(offset, each["sourceTimestamp"] * 1000, each) for offset, each in enumerate(records)]

    async def write() -> None:
        log = SegmentLog.open(directory, "t", LogConfig(segment_bytes=segment_bytes), SystemClock())
        log.attach(lambda: b"")
        for start in range(0, len(rows), batch_records):
            part = rows[start : start + batch_records]
            log.append(
                encode_batch(
                    log.end_offset,
                    [avro.encode(row.record) for row in part],
                    [row.timestamp_ms for row in part],
                    codec_named(codec),
                )
            )
            log.commit([SourcePosition(1, 100 + start)])
        await log.close()

    asyncio.run(write())
    return Log(str(directory), 0, len(rows)), rows


def orders(count: int) -> Iterator[dict[str, Any]]:
    """Inserts of orders, each with an id of its own."""
    for number in range(count):
        after = {"id": integer(number), "title": text(f"title {number % 5}"), "amount": decimal(f"{number % 7}.50")}
        yield record(number, "INSERT", "shop.orders", after=after, seconds=FIRST_S + number, keys={"PRIMARY": ["id"]})


def offsets(rows: Iterable[Any]) -> list[int]:
    """Of what was found."""
    return [row.offset for row in rows]
