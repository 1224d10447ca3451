"""Rows of the recorded binlogs through the transcoder, against what the servers' own tools printed of them."""

from __future__ import annotations

from typing import Any

import pytest

from capture import avro
from capture.envelope import RecordHead
from capture.errors import UnsupportedColumn
from capture.events import EventDecoder, FieldType, RowsEvent, TableMapEvent, iter_events
from capture.table import Column, TableVersion
from capture.transcoder import Transcoder
from tests.capture.recorded import ABSENT, BINLOGS, binlog, dump_text, dumped_events, printed

WITHOUT_ANY = pytest.mark.skipif(not BINLOGS.exists(), reason=ABSENT)

ROWS = {
    "5.5.27_rows-v1_sakila.bin": 46267,
    "5.6.35_rows-v2_zalora-01.bin": 10,
    "5.7.18_gtid-rows-v2_myflash-haha.000041.bin": 192,
    "5.7.18_rows-v2_myflash-haha.000009.bin": 1,
    "5.7.19_canal-tsdb_mysql-bin.000003.bin": 21,
    "5.7.21_rows-v2_checksum-crc32.bin": 32,
    "5.7.24-percona_rows-v2-decimal_easypost.bin": 2,
    "5.7.32_gtid-rows_zalora-gtid-01.bin": 10,
    "8.0.32_gipk_full_metadata.bin": 2,
    "8.0.45_rows-v2_percona-position_binlog.000001.bin": 6,
    "8.0.46_full-metadata_01-crud.bin": 8,
    "8.0.46_full-metadata_02-multi-stmt.bin": 4,
    "8.2.0_write_ints_mysql-cdc-rs.bin": 1,
    "9.6.0_gtid-tagged_binlog_transaction_with_GTID_TAG.bin": 1,
}
"""Files and how many of their rows have supported columns only."""

_DATA_TYPES = {
    FieldType.TINY: "tinyint",
    FieldType.SHORT: "smallint",
    FieldType.INT24: "mediumint",
    FieldType.LONG: "int",
    FieldType.LONGLONG: "bigint",
    FieldType.NEWDECIMAL: "decimal",
    FieldType.VARCHAR: "varchar",
    FieldType.DATETIME: "datetime",
    FieldType.DATETIME2: "datetime",
    FieldType.TIMESTAMP: "timestamp",
    FieldType.TIMESTAMP2: "timestamp",
}
_TEXTS = ("", "tinytext", "text", "mediumtext", "longtext")


def table_of_map(table_map: TableMapEvent) -> TableVersion:
    """A table as far as a table map tells it; numbers count as signed, as the tools print them."""
    columns = []
    for index, (code, metadata) in enumerate(zip(table_map.column_types, table_map.column_metadata, strict=True)):
        data_type = (
            _TEXTS[metadata] if code == FieldType.BLOB else _DATA_TYPES.get(FieldType(code), FieldType(code).name)
        )
        fsp = metadata if code in {FieldType.DATETIME2, FieldType.TIMESTAMP2} else 0
        columns.append(Column(f"c{index}", data_type, charset="utf8mb4", fsp=fsp))
    return TableVersion.of(table_map.database, table_map.table, tuple(columns), (), "utf8mb4", "utf8mb4_bin")


@WITHOUT_ANY
@pytest.mark.parametrize("name", ROWS)
def test_rows_are_what_the_servers_own_tools_print(name: str) -> None:
    decoder = EventDecoder()
    table_maps: dict[int, TableMapEvent] = {}
    compared, records = 0, list[bytes]()
    for raw, printed_event in zip(iter_events(binlog(name)), dumped_events(dump_text(name)), strict=True):
        header, event = decoder.decode(raw)
        if isinstance(event, TableMapEvent):
            table_maps[event.table_id] = event
        if not isinstance(event, RowsEvent):
            continue
        records += transcoded(table_maps[event.table_id], event, header.timestamp)
        if not printed_event.rows:
            continue  # mariadb-binlog prints the rows of a statement behind its last event
        for record, (kind, where, changed) in zip(records, printed_event.rows, strict=True) if records else ():
            fields = avro.decode(record)
            assert fields["operation"] == kind
            assert_image(fields["beforeImages"], where)
            assert_image(fields["afterImages"], changed)
            compared += 1
        records = []
    assert compared == ROWS[name]


def transcoded(table_map: TableMapEvent, event: RowsEvent, timestamp: int) -> list[bytes]:
    """Records, none where a column is not supported."""
    head = RecordHead(timestamp, "2@1", "1@1", None, 1, 0)
    try:
        return Transcoder(table_of_map(table_map), table_map, "8").transcode(event, head, 1)
    except UnsupportedColumn:
        return []


def assert_image(cells: list[Any] | None, wanted: list[str]) -> None:
    assert len(cells or []) == len(wanted)
    for cell, text in zip(cells or [], wanted, strict=True):
        assert printed(cell, text) == text
