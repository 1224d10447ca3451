"""Random rows of every type as mysql-replication decodes them from a file of ours, against the cells of our records."""

from __future__ import annotations

import datetime as dt
import struct
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings

from bench.peers.mysql_replication import row_events
from capture import avro
from capture.encode import EventEncoder, RowMetadata
from capture.envelope import RecordHead
from capture.events import BINLOG_MAGIC, EventDecoder, RowsEvent, TableMapEvent, iter_events
from capture.transcoder import Transcoder
from tests.capture.row_cases import CODECS, Case, tables_with_rows

if TYPE_CHECKING:
    from pathlib import Path

    from capture.table import Column, TableVersion

pytestmark = pytest.mark.usefixtures("way")

HEAD = RecordHead(1, "2@1", "1@1", None, 1, 0)
PARTS = ("year", "month", "day", "hour", "minute", "second", "millis")


def from_cell(column: Column, cell: dict[str, Any] | None) -> Any:
    """A cell as the Python value that mysql-replication makes of the column."""
    if cell is None:
        return None
    kind = column.data_type
    if kind == "bit":
        return f"{int(cell['value']):0{column.length or 1}b}"
    if cell["class"] == "Integer":
        return int(cell["value"])
    if cell["class"] == "Decimal":
        return Decimal(cell["value"])
    if kind == "float":
        return struct.unpack("<f", struct.pack("<f", cell["value"]))[0]
    if kind == "double":
        return cell["value"]
    if kind == "timestamp":
        at = dt.datetime.fromtimestamp(cell["timestamp"], dt.UTC).replace(tzinfo=None)
        return at.replace(microsecond=cell["millis"])
    if cell["class"] == "DateTime":
        return _from_parts(kind, [cell[part] for part in PARTS])
    if kind == "set":
        return {label for label in cell["value"].split(",") if label}
    if kind == "enum":
        return cell["value"]
    if cell["class"] == "Character":
        return cell["value"].decode(CODECS[column.charset or ""])
    return cell["value"]


def _from_parts(kind: str, parts: list[int]) -> Any:
    if kind == "year":
        return parts[0]
    if kind == "date":
        return dt.date(*parts[:3])
    if kind == "time":
        return dt.timedelta(hours=parts[3], minutes=parts[4], seconds=parts[5], microseconds=parts[6])
    return dt.datetime(*parts)  # type: ignore[arg-type]  # noqa: DTZ001  DATETIME has no time zone


def comparable(column: Column, ours: Any, theirs: Any) -> Any:
    """Theirs, or ours where theirs is known to be wrong; tests/capture/test_live_types.py asks servers about those."""
    if column.data_type == "year" and ours == 0:
        assert theirs == 1900, "0000 is the year 1900 there"
        return 0
    if column.data_type == "time" and ours is not None and ours < dt.timedelta() and ours.microseconds:
        return ours  # it takes the fraction of a negative TIME for that of a positive one
    if column.labels and column.charset != "utf8mb4" and not "".join(column.labels).isascii():
        return ours  # it takes every label for UTF-8
    if column.data_type == "set" and ours == set() and theirs is None:
        return ours  # it has no empty SET
    if column.data_type in {"binary", "varbinary"} or column.data_type.endswith("blob"):
        return _bytes(column, theirs)
    return theirs


def _bytes(column: Column, theirs: Any) -> Any:
    data = theirs.encode() if isinstance(theirs, str) else theirs
    return data.ljust(column.length or 1, b"\0") if column.data_type == "binary" and data is not None else data


def records_and_values(table: TableVersion, rows: list[list[Any]], path: Path) -> tuple[list[Any], list[Any]]:
    encoder = EventEncoder(row_metadata=RowMetadata.FULL)
    raws = [encoder.format_description(1), encoder.query(1, "BEGIN", thread_id=1), encoder.table_map(1, table, 5)]
    raws.append(encoder.write_rows(1, table, 5, rows))
    path.write_bytes(BINLOG_MAGIC + b"".join(raws))
    decoder, records = EventDecoder(), list[bytes]()
    for raw in iter_events(path.read_bytes()):
        _, event = decoder.decode(raw)
        if isinstance(event, TableMapEvent):
            made = Transcoder(table, event, "8.0.36")
        if isinstance(event, RowsEvent):
            records += made.transcode(event, HEAD, 1)
    cells = [avro.decode(record)["afterImages"] for record in records]
    return cells, [list(row["values"].values()) for event in row_events(path) for row in event.rows]


@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(case=tables_with_rows(columns_max=12))
def test_an_independent_decoder_reads_the_same_rows(case: Case, tmp_path_factory: pytest.TempPathFactory) -> None:
    images, theirs = records_and_values(case.table, case.rows, tmp_path_factory.mktemp("binlog") / "binlog.000001")
    assert len(images) == len(theirs) == len(case.rows)
    for image, row in zip(images, theirs, strict=True):
        ours = list(map(from_cell, case.table.columns, image))
        assert list(map(comparable, case.table.columns, ours, row)) == ours
