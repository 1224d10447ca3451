"""The record schema as shipped, and decoding by it: what people and tests read is what was written."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from capture import avro
from capture.envelope import ControlRecords, RecordHead
from capture.errors import MalformedEvent

EVERY_CELL: list[dict[str, Any] | None] = [
    None,
    {"class": "Integer", "precision": 8, "value": "1"},
    {"class": "Character", "charset": "gbk", "value": b"\xb6\xa9"},
    {"class": "Decimal", "value": "348.00", "precision": 5, "scale": 2},
    {"class": "Float", "value": 0.1, "precision": 8, "scale": 15},
    {"class": "Timestamp", "timestamp": 1, "millis": 2},
    {
        "class": "DateTime",
        **dict.fromkeys(("hour", "minute", "second", "millis")),
        "year": 2024,
        "month": 2,
        "day": 29,
    },
    {"class": "BinaryGeometry", "type": "WKB", "value": b"\x01"},
    {"class": "TextGeometry", "type": "WKT", "value": "POINT(1 1)"},
    {"class": "BinaryObject", "type": "BLOB", "value": b"\x00\xff"},
    {"class": "TextObject", "type": "JSON", "value": "{}"},
    {"class": "EmptyObject", "symbol": "NONE"},
]


def heartbeat() -> bytes:
    return ControlRecords("8.0.36").heartbeat(3, timestamp=64, source_position="4@1", read_ms=5)


def test_every_cell_class_reads_back() -> None:
    record = avro.decode(heartbeat())
    record["fields"] = [{"name": "名", "dataTypeNumber": 8}]
    record["beforeImages"] = EVERY_CELL
    record["afterImages"] = EVERY_CELL[::-1]
    encoded = avro.encode(record)
    assert avro.decode(encoded) == record
    for size in range(len(encoded) - 1):
        with pytest.raises(MalformedEvent, match=f"^{size} bytes are not a DTS record of the known schema"):
            avro.decode(encoded[:size])
    with pytest.raises(MalformedEvent, match=rf"A DTS record of {len(encoded)} bytes is followed by 2 others\."):
        avro.decode(encoded + b"\x00\x00")


def test_the_text_of_a_ddl_stays_a_text() -> None:
    head = RecordHead(1, "2@3", "2@3", 4, 5, 6)
    record = ControlRecords("8").ddl(
        7,
        head,
        database="d",
        sql="CREATE TABLE 订单 (a INT)",
        gtid=None,
        gtid_set=None,
        status=None,
        commit_timestamp=8,
        lower_case_table_names=True,
    )
    decoded = avro.decode(record)
    assert decoded["afterImages"] == "CREATE TABLE 订单 (a INT)"
    assert avro.encode(decoded) == record


def test_fastavro_is_not_loaded_before_it_is_needed() -> None:
    code = "import sys, capture.transcoder, capture.avro; print('fastavro' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=".")
    assert shown.stdout == "False\n"
