"""Values to binlog events: what is written reads back, byte for byte; what a column cannot hold is refused."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from capture.charsets import charsets
from capture.dialect import Dialect
from capture.encode import DEFAULT_STATUS, EventEncoder, Row, RowMetadata, length_encoded
from capture.errors import UnsupportedColumn, ValueRefused
from capture.events import (
    BINLOG_MAGIC,
    Checksum,
    EventDecoder,
    FieldType,
    KeyPart,
    OptionalMetadata,
    QueryEvent,
    RotateEvent,
    RowsEvent,
    TableMapEvent,
    XidEvent,
    iter_events,
)
from capture.table import Column, Key, TableVersion
from capture.table_check import mismatch
from capture.table_map import read_length_encoded
from capture.values import type_name
from tests.capture.row_cases import Case, table_of, tables_with_rows, text_column

ALL = settings(suppress_health_check=[HealthCheck.too_slow])
UTC = dt.UTC
ORDERS = table_of(
    Column("id", "bigint", unsigned=True, nullable=False, auto_increment=True),
    Column("quantity", "int"),
    text_column("city", charset="gbk", length=10),
    text_column("note", "text", invisible=True),
    Column("price", "decimal", precision=10, scale=2),
    Column("at", "datetime", fsp=3),
    name="orders",
    keys=(Key("PRIMARY", ("id",), True),),
)


def table_map_of(table: TableVersion, metadata: RowMetadata, version: str = "8.0.36") -> TableMapEvent:
    encoder = EventEncoder(row_metadata=metadata, server_version=version)
    _, event = EventDecoder(Checksum.CRC32).decode(encoder.table_map(1, table, 77))
    assert isinstance(event, TableMapEvent)
    return event


def test_a_table_map_says_what_the_columns_are() -> None:
    event = table_map_of(ORDERS, RowMetadata.NONE)
    kinds = FieldType.LONGLONG, FieldType.LONG, FieldType.VARCHAR, FieldType.BLOB, FieldType.NEWDECIMAL
    assert event == TableMapEvent(
        table_id=77,
        flags=1,
        database="db",
        table="orders",
        column_types=bytes([*kinds, FieldType.DATETIME2]),
        column_metadata=(0, 0, 20, 2, 10 << 8 | 2, 3),
        nullable=(False, True, True, True, True, True),
        optional=OptionalMetadata(),
    )


def test_optional_metadata_says_signs_and_collations_and_in_full_names_and_keys() -> None:
    minimal = OptionalMetadata(
        unsigned=(True, False, None, None, False, None), collations=(None, None, 28, 255, None, None)
    )
    assert table_map_of(ORDERS, RowMetadata.MINIMAL).optional == minimal
    assert table_map_of(ORDERS, RowMetadata.FULL).optional == OptionalMetadata(
        unsigned=minimal.unsigned,
        collations=minimal.collations,
        names=("id", "quantity", "city", "note", "price", "at"),
        primary_key=(KeyPart(0),),
        visible=(True, True, True, False, True, True),
    )


def test_full_metadata_has_the_labels_in_the_charset_of_their_column() -> None:
    table = table_of(
        text_column("e", "enum", "gbk", labels=("a", "订单")),
        Column("n", "int"),
        text_column("s", "set", "utf8mb4", labels=("订单",)),
        text_column("f", "enum", "latin1", labels=("é", "")),
    )
    event = table_map_of(table, RowMetadata.FULL)
    assert event.optional.labels == ((b"a", "订单".encode("gbk")), None, ("订单".encode(),), (b"\xe9", b""))
    assert event.optional.collations == (28, None, 255, 8)
    assert mismatch(table, event, charsets(Dialect("mysql", (8, 0, 36)))) is None
    assert table_map_of(table, RowMetadata.MINIMAL).optional.labels is None


def test_labels_that_python_cannot_write_are_refused() -> None:
    table = table_of(Column("e", "enum", labels=("Ա",), charset="armscii8", collation="armscii8_general_ci"))
    with pytest.raises(ValueRefused, match=r"^The labels of e cannot be written: give bytes, as Python does not know"):
        table_map_of(table, RowMetadata.FULL)


@pytest.mark.parametrize("odd", [0, 1, 4])
def test_collations_read_back_however_they_are_listed(odd: int) -> None:
    columns = [text_column(f"c{index}", charset="latin1" if index < odd else "utf8mb4") for index in range(8)]
    table = table_of(Column("id", "int"), *columns)
    wanted = (None, *(8 if index < odd else 255 for index in range(8)))
    assert table_map_of(table, RowMetadata.MINIMAL).optional.collations == wanted


def test_a_table_without_numbers_or_texts_has_no_such_metadata() -> None:
    assert table_map_of(table_of(Column("at", "datetime")), RowMetadata.MINIMAL).optional == OptionalMetadata()


def test_a_whole_file_reads_back() -> None:
    encoder = EventEncoder(server_id=3)
    second: Row = {"id": 2, "at": dt.datetime.fromisoformat("2024-01-01")}
    rows: list[Row] = [{"id": 1, "city": "杭州", "price": "1.5"}, second]
    raws = [
        encoder.format_description(10),
        encoder.gtid(10, "3e11fa47-71ca-11e1-9e33-c80aa9429562", 1),
        encoder.query(10, "BEGIN", database="db", thread_id=8),
        encoder.table_map(10, ORDERS, 1),
        encoder.write_rows(10, ORDERS, 1, rows, ends_statement=False),
        encoder.update_rows(10, ORDERS, 1, [(rows[0], rows[1])]),
        encoder.delete_rows(10, ORDERS, 1, rows),
        encoder.xid(10, 5),
        encoder.rotate(10, "binlog.000002"),
    ]
    assert encoder.position == 4
    data = BINLOG_MAGIC + b"".join(raws)
    decoder, position = EventDecoder(), 4
    events = []
    for raw in iter_events(data):
        header, event = decoder.decode(raw)
        assert (header.start_position, header.server_id, header.timestamp) == (position, 3, 10)
        position = header.end_position
        events.append(event)
    assert position == len(data)
    assert events[2] == QueryEvent(8, 0, 0, DEFAULT_STATUS, "db", b"BEGIN")
    assert [event.ends_statement for event in events if isinstance(event, RowsEvent)] == [False, True, True]
    assert events[-2:] == [XidEvent(5), RotateEvent("binlog.000002", 4)]


def test_events_of_a_stream_only_are_in_no_file() -> None:
    encoder = EventEncoder()
    decoder = EventDecoder(Checksum.CRC32)
    header, _ = decoder.decode(encoder.artificial_rotate("binlog.000007", 1234))
    assert (header.end_position, header.is_artificial, header.timestamp) == (0, True, 0)
    assert encoder.position == 1234
    header, _ = decoder.decode(encoder.heartbeat("binlog.000007"))
    assert (header.end_position, encoder.position) == (1234, 1234)


@ALL
@given(case=tables_with_rows(rows_max=2))
def test_rows_by_name_and_in_order_are_the_same(case: Case) -> None:
    names = [column.name for column in case.table.columns]
    by_name = [dict(zip(names, row, strict=True)) for row in case.rows]
    without_nulls = [{name: value for name, value in row.items() if value is not None} for row in by_name]
    wanted = EventEncoder().write_rows(1, case.table, 1, case.rows)
    assert EventEncoder().write_rows(1, case.table, 1, by_name) == wanted
    assert EventEncoder().write_rows(1, case.table, 1, without_nulls) == wanted


REFUSALS: list[tuple[Column, Any, str]] = [
    (Column("c", "tinyint"), 128, "128 does not fit db.t.c: TINYINT holds -128 to 127."),
    (Column("c", "tinyint", unsigned=True), -1, "-1 does not fit db.t.c: TINYINT UNSIGNED holds 0 to 255."),
    (
        Column("c", "bigint"),
        2**63,
        "9223372036854775808 does not fit db.t.c: BIGINT holds -9223372036854775808 to 9223372036854775807.",
    ),
    (Column("c", "int"), "7", "'7' does not fit db.t.c: an integer is needed."),
    (Column("c", "int"), 1.0, "1.0 does not fit db.t.c: an integer is needed."),
    (
        Column("c", "decimal", precision=4, scale=2),
        "99.995",
        "'99.995' does not fit db.t.c: DECIMAL(4,2) has 2 digits before the point.",
    ),
    (
        Column("c", "decimal", precision=4, scale=2),
        Decimal("1E+3000000"),
        "Decimal('1E+3000000') does not fit db.t.c: DECIMAL(4,2) has 2 digits before the point.",
    ),
    (
        Column("c", "decimal", precision=4, scale=2, unsigned=True),
        -1,
        "-1 does not fit db.t.c: the column is UNSIGNED.",
    ),
    (Column("c", "decimal", precision=4, scale=2), "one", "'one' does not fit db.t.c: it is not a number."),
    (
        Column("c", "decimal", precision=4, scale=2),
        Decimal("NaN"),
        "Decimal('NaN') does not fit db.t.c: a finite number is needed.",
    ),
    (Column("c", "decimal", precision=4, scale=2), b"1", "b'1' does not fit db.t.c: a number is needed."),
    (text_column("c", length=2), "abc", "'abc' does not fit db.t.c: VARCHAR(2) holds 2 characters."),
    (text_column("c", length=2), b"123456789", "b'123456789' does not fit db.t.c: VARCHAR(2) holds 2 characters."),
    (text_column("c", charset="latin1"), "订", "'订' does not fit db.t.c: latin1 has no '订'."),
    (text_column("c"), 5, "5 does not fit db.t.c: a str is needed, or bytes in the column's character set."),
    (
        Column("c", "varchar", length=9, charset="utf8mb3", collation="utf8mb3_general_ci"),
        "a😀",
        "'a😀' does not fit db.t.c: utf8mb3 has no '😀'.",
    ),
    (
        Column("c", "varchar", length=9, charset="armscii8", collation="armscii8_general_ci"),
        "a",
        "'a' does not fit db.t.c: give bytes, as Python does not know the character set armscii8.",
    ),
    (text_column("c", "tinytext"), b"x" * 256, "… does not fit db.t.c: TINYTEXT holds 255 bytes."),
    (
        Column("c", "datetime"),
        "2024-02-30 00:00:00",
        "'2024-02-30 00:00:00' does not fit db.t.c: there is no such date.",
    ),
    (
        Column("c", "datetime"),
        "0000-13-00 00:00:00",
        "'0000-13-00 00:00:00' does not fit db.t.c: there is no such date.",
    ),
    (
        Column("c", "datetime"),
        "2024-01-01 24:00:00",
        "'2024-01-01 24:00:00' does not fit db.t.c: there is no such time of day.",
    ),
    (
        Column("c", "datetime"),
        "yesterday",
        "'yesterday' does not fit db.t.c: a text of the form 'YYYY-MM-DD hh:mm:ss' is needed.",
    ),
    (
        Column("c", "datetime"),
        7,
        "7 does not fit db.t.c: a datetime or a text of the form 'YYYY-MM-DD hh:mm:ss' is needed.",
    ),
    (
        Column("c", "datetime"),
        "0000-00-00 00:00:00.5",
        "'0000-00-00 00:00:00.5' does not fit db.t.c: a date with zeros is not rounded to 0 digits.",
    ),
    (
        Column("c", "datetime"),
        "9999-12-31 23:59:59.9",
        "'9999-12-31 23:59:59.9' does not fit db.t.c: it is after the year 9999 when rounded.",
    ),
    (
        Column("c", "datetime"),
        dt.datetime.fromtimestamp(0, UTC),
        "does not fit db.t.c: a DATETIME has no time zone, give one without.",
    ),
    (
        Column("c", "timestamp"),
        2**31,
        "2147483648 does not fit db.t.c: a TIMESTAMP holds 1970-01-01 00:00:01 to 2038-01-19 03:14:07 UTC.",
    ),
    (
        Column("c", "timestamp"),
        "1970-01-01 00:00:00",
        "does not fit db.t.c: a TIMESTAMP holds 1970-01-01 00:00:01 to 2038-01-19 03:14:07 UTC.",
    ),
    (
        Column("c", "timestamp"),
        "2024-00-00 00:00:00",
        "'2024-00-00 00:00:00' does not fit db.t.c: a TIMESTAMP holds no partial dates.",
    ),
    (Column("c", "timestamp"), float("nan"), "nan does not fit db.t.c: a TIMESTAMP holds 1970-01-01"),
    (Column("c", "timestamp"), 10**30, "does not fit db.t.c: a TIMESTAMP holds 1970-01-01"),
    (Column("c", "int", nullable=False), None, "db.t.c is NOT NULL and needs a value."),
    (Column("c", "float"), 1e39, "1e+39 does not fit db.t.c: a FLOAT holds up to 3.4028234663852886e+38."),
    (Column("c", "float"), "1", "'1' does not fit db.t.c: a number is needed."),
    (Column("c", "double"), float("inf"), "inf does not fit db.t.c: a finite number is needed."),
    (Column("c", "double"), 10**400, "does not fit db.t.c: a finite number is needed."),
    (Column("c", "double", unsigned=True), -0.5, "-0.5 does not fit db.t.c: the column is UNSIGNED."),
    (
        Column("c", "double", precision=4, scale=2),
        99.996,
        "99.996 does not fit db.t.c: the column has 2 digits before the point.",
    ),
    (Column("c", "bit", length=9), 512, "512 does not fit db.t.c: BIT(9) holds 0 to 511."),
    (Column("c", "bit", length=9), "1", "'1' does not fit db.t.c: an integer is needed, or its bytes."),
    (Column("c", "bit", length=9), b"\2\0", "does not fit db.t.c: BIT(9) holds 0 to 511."),
    (Column("c", "date"), "2023-02-29", "'2023-02-29' does not fit db.t.c: there is no such date."),
    (Column("c", "date"), "2023-13-00", "'2023-13-00' does not fit db.t.c: there is no such date."),
    (
        Column("c", "date"),
        dt.datetime.fromisoformat("2024-01-01"),
        "does not fit db.t.c: a date or a text of the form 'YYYY-MM-DD' is needed.",
    ),
    (Column("c", "date"), "1.1.2024", "'1.1.2024' does not fit db.t.c: a text of the form 'YYYY-MM-DD' is needed."),
    (
        Column("c", "time"),
        "838:59:59.5",
        "'838:59:59.5' does not fit db.t.c: a TIME holds -838:59:59 to 838:59:59.",
    ),
    (Column("c", "time"), dt.timedelta(hours=-839), "does not fit db.t.c: a TIME holds -838:59:59 to 838:59:59."),
    (Column("c", "time"), "12:60:00", "'12:60:00' does not fit db.t.c: a text of the form 'hhh:mm:ss' is needed."),
    (
        Column("c", "time"),
        3600,
        "3600 does not fit db.t.c: a timedelta, a time without time zone or a text of the form 'hhh:mm:ss' is needed.",
    ),
    (Column("c", "year"), 1900, "1900 does not fit db.t.c: a YEAR holds 0 and 1901 to 2155."),
    (Column("c", "year"), 2156, "2156 does not fit db.t.c: a YEAR holds 0 and 1901 to 2155."),
    (
        Column("c", "enum", labels=("a", "b")),
        "c",
        "'c' does not fit db.t.c: one of its labels is needed: 'a', 'b'.",
    ),
    (Column("c", "enum", labels=("a",)), 1, "1 does not fit db.t.c: one of its labels is needed: 'a'."),
    (Column("c", "set", labels=("a", "b")), "a,x", "'a,x' does not fit db.t.c: it has no label 'x', only 'a', 'b'."),
    (Column("c", "set", labels=("a", "b")), 3, "3 does not fit db.t.c: labels are needed, of 'a', 'b'."),
    (text_column("c", "char", length=2), "abc", "'abc' does not fit db.t.c: CHAR(2) holds 2 characters."),
    (Column("c", "binary", length=2), b"abc", "b'abc' does not fit db.t.c: BINARY(2) holds 2 bytes."),
    (Column("c", "binary", length=2), "ab", "'ab' does not fit db.t.c: bytes are needed."),
    (Column("c", "varbinary", length=2), b"ab\0", "does not fit db.t.c: VARBINARY(2) holds 2 bytes."),
    (Column("c", "tinyblob"), bytes(256), "… does not fit db.t.c: TINYBLOB holds 255 bytes."),
]


@pytest.mark.parametrize(("column", "value", "sentence"), REFUSALS, ids=lambda part: repr(part)[:50])
def test_what_does_not_fit_is_refused_naming_table_and_column(column: Column, value: Any, sentence: str) -> None:
    with pytest.raises(ValueRefused) as error:
        EventEncoder().write_rows(1, table_of(column), 1, [[value]])
    sentence = sentence.replace("db.t.c:", f"db.t.c {type_name(column)}:")
    assert str(error.value).endswith(sentence) or sentence in str(error.value)
    assert "\n" not in str(error.value)


def test_a_type_is_named_as_sql_has_it() -> None:
    columns = [
        Column("c", "int", unsigned=True),
        Column("c", "decimal", precision=8, scale=2),
        Column("c", "decimal", precision=8),
        Column("c", "double", precision=5, scale=1, unsigned=True),
        Column("c", "varchar", length=40, charset="latin1"),
        Column("c", "datetime", fsp=3),
        Column("c", "datetime"),
        Column("c", "enum", labels=("a",)),
    ]
    assert [type_name(column) for column in columns] == [
        *("INT UNSIGNED", "DECIMAL(8,2)", "DECIMAL(8,0)", "DOUBLE(5,1) UNSIGNED", "VARCHAR(40)", "DATETIME(3)"),
        *("DATETIME", "ENUM"),
    ]


def test_rows_of_another_shape_are_refused() -> None:
    encoder = EventEncoder()
    with pytest.raises(ValueRefused, match=r"^db\.orders has 6 columns, a row has 2 values\.$"):
        encoder.write_rows(1, ORDERS, 1, [[1, 2]])
    with pytest.raises(ValueRefused, match=r"^db\.orders has no column pirce\.$"):
        encoder.write_rows(1, ORDERS, 1, [{"id": 1, "pirce": 2}])
    assert encoder.position == 4, "a refused event takes no place in the file"


def test_columns_that_cannot_be_carried_cannot_be_written() -> None:
    with pytest.raises(UnsupportedColumn, match=r"Column j of db\.t has the type INTERVAL, which is not supported yet"):
        EventEncoder().table_map(1, table_of(Column("j", "interval")), 1)


@pytest.mark.parametrize("value", [0, 250, 251, 65535, 65536, 2**24 - 1, 2**24, 2**63])
def test_length_encoded_integers_read_back(value: int) -> None:
    encoded = length_encoded(value)
    assert read_length_encoded(encoded, 0) == (value, len(encoded))
    for size in range(len(encoded)):
        with pytest.raises(IndexError):
            read_length_encoded(encoded[:size], 0)
