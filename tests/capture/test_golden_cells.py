"""Bytes that servers wrote for one value, and the cell they must become; every cut of them is refused.

The images are from MySQL 9.7 and, the formats before 5.6, from MariaDB 10.11 with mysql56_temporal_format=OFF.
"""

from __future__ import annotations

import struct
from typing import Any

import pytest

from capture import avro
from capture.binary_cells import shortest_double
from capture.columns import COLUMN_TYPES
from capture.envelope import RecordHead
from capture.errors import MalformedEvent
from capture.image_fields import field_end
from capture.rows_event import RowsEvent, RowsKind
from capture.table import Column
from capture.table_map import FieldType as F
from capture.table_map import TableMapEvent
from capture.transcoder import IMAGES_BEFORE_SPECIALIZED, Transcoder
from tests.capture.row_cases import DATETIME_PARTS, table_of, text_column

pytestmark = pytest.mark.usefixtures("way")

HEAD = RecordHead(1, "2@1", "1@1", None, 1, 0)
NO_DATE, NO_TIME = (None,) * 3, (None,) * 4


def real(value: float) -> dict[str, Any]:
    return {"class": "Float", "value": value, "precision": 8, "scale": 15}


def integer(value: int, precision: int) -> dict[str, Any]:
    return {"class": "Integer", "precision": precision, "value": str(value)}


def moment(*parts: int | None) -> dict[str, Any]:
    return {"class": "DateTime", **dict(zip(DATETIME_PARTS, parts, strict=True))}


def stamp(seconds: int, micros: int) -> dict[str, Any]:
    return {"class": "Timestamp", "timestamp": seconds, "millis": micros}


def text(value: bytes) -> dict[str, Any]:
    return {"class": "Character", "charset": "utf8mb4", "value": value}


def blob(value: bytes, object_type: str = "BLOB") -> dict[str, Any]:
    return {"class": "BinaryObject", "type": object_type, "value": value}


def label(object_type: str, value: str) -> dict[str, Any]:
    return {"class": "TextObject", "type": object_type, "value": value}


def column(data_type: str, **facts: Any) -> Column:
    return Column("c", data_type, **facts)


ABC = ("a", "b", "c")
GOLDEN: list[tuple[Column, F, int, str, dict[str, Any]]] = [
    (column("float"), F.FLOAT, 4, "cd cc cc 3d", real(0.1)),
    (column("float"), F.FLOAT, 4, "00 00 00 80", real(-0.0)),
    (column("float"), F.FLOAT, 4, "ff ff 7f 7f", real(3.4028235e38)),
    (column("float"), F.FLOAT, 4, "01 00 00 00", real(1e-45)),
    (column("float"), F.FLOAT, 4, "00 00 80 35", real(9.536743e-07)),
    (column("double"), F.DOUBLE, 8, "9a 99 99 99 99 99 b9 bf", real(-0.1)),
    (column("bit", length=1), F.BIT, 0x100, "01", integer(1, 1)),
    (column("bit", length=10), F.BIT, 0x201, "02 01", integer(513, 2)),
    (column("bit", length=24), F.BIT, 3, "01 02 03", integer(0x010203, 3)),
    (column("bit", length=40), F.BIT, 5, "01 02 03 04 05", integer(0x0102030405, 5)),
    (column("bit", length=48), F.BIT, 6, "01 02 03 04 05 06", integer(0x010203040506, 6)),
    (column("bit", length=56), F.BIT, 7, "01 02 03 04 05 06 07", integer(0x01020304050607, 7)),
    (column("bit", length=64), F.BIT, 8, "ff ff ff ff ff ff ff ff", integer(2**64 - 1, 8)),
    (column("date"), F.DATE, 0, "00 00 00", moment(0, 0, 0, *NO_TIME)),
    (column("date"), F.DATE, 0, "00 ca 0f", moment(2021, 0, 0, *NO_TIME)),
    (column("date"), F.DATE, 0, "9f 1f 4e", moment(9999, 12, 31, *NO_TIME)),
    (column("date"), F.NEWDATE, 0, "5d d0 0f", moment(2024, 2, 29, *NO_TIME)),
    (column("year"), F.YEAR, 0, "00", moment(0, *[None] * 6)),
    (column("year"), F.YEAR, 0, "01", moment(1901, *[None] * 6)),
    (column("year"), F.YEAR, 0, "ff", moment(2155, *[None] * 6)),
    (column("time"), F.TIME2, 0, "80 c8 b8", moment(*NO_DATE, 12, 34, 56, 0)),
    (column("time"), F.TIME2, 0, "4b 91 05", moment(*NO_DATE, -838, -59, -59, 0)),
    (column("time", fsp=1), F.TIME2, 1, "7f ff ff f6", moment(*NO_DATE, 0, 0, 0, -100_000)),
    (column("time", fsp=2), F.TIME2, 2, "7f ef ff e7", moment(*NO_DATE, -1, 0, 0, -250_000)),
    (column("time", fsp=3), F.TIME2, 3, "b4 6e fa 27 06", moment(*NO_DATE, 838, 59, 58, 999_000)),
    (column("time", fsp=4), F.TIME2, 4, "7f 37 47 fb 2e", moment(*NO_DATE, -12, -34, -56, -123_400)),
    (column("time", fsp=5), F.TIME2, 5, "80 c8 b8 01 e2 3a", moment(*NO_DATE, 12, 34, 56, 123_450)),
    (column("time", fsp=6), F.TIME2, 6, "4b 91 05 f0 bd c1", moment(*NO_DATE, -838, -59, -58, -999_999)),
    (column("time"), F.TIME, 0, "40 e2 01", moment(*NO_DATE, 12, 34, 56, 0)),
    (column("time"), F.TIME, 0, "c0 1d fe", moment(*NO_DATE, -12, -34, -56, 0)),
    (column("time"), F.TIME, 0, "59 0a 80", moment(*NO_DATE, -838, -59, -59, 0)),
    (column("time", fsp=1), F.TIME, 0, "01 c5 f6 ff", moment(*NO_DATE, -12, -34, -56, -100_000)),
    (column("time", fsp=2), F.TIME, 0, "12 45 e1 8c", moment(*NO_DATE, 12, 34, 56, 120_000)),
    (column("time", fsp=3), F.TIME, 0, "00 b6 ba cf 7b", moment(*NO_DATE, 12, 34, 56, 123_000)),
    (column("time", fsp=6), F.TIME, 0, "00 00 00 00 00 01", moment(*NO_DATE, -838, -59, -59, -999_999)),
    (column("datetime"), F.DATETIME, 0, "af 65 fe 93 61 12 00 00", moment(2021, 3, 4, 5, 6, 7, 0)),
    (column("datetime", fsp=1), F.DATETIME, 0, "00 a9 25 bb 09 77", moment(2021, 3, 4, 5, 6, 7, 100_000)),
    (column("datetime", fsp=3), F.DATETIME, 0, "00 00 00 00 00 00 00", moment(0, 0, 0, 0, 0, 0, 0)),
    (column("datetime", fsp=6), F.DATETIME, 0, "01 02 11 52 96 6c 00 01", moment(2021, 0, 0, 0, 0, 0, 1)),
    (column("timestamp"), F.TIMESTAMP, 0, "bf 6a 40 60", stamp(0x60406ABF, 0)),
    (column("timestamp", fsp=1), F.TIMESTAMP, 0, "60 40 6a bf 01", stamp(0x60406ABF, 100_000)),
    (column("timestamp", fsp=4), F.TIMESTAMP, 0, "60 40 6a bf 04 d2", stamp(0x60406ABF, 123_400)),
    (column("timestamp", fsp=6), F.TIMESTAMP, 0, "60 40 6a bf 01 e2 40", stamp(0x60406ABF, 123_456)),
    (column("enum", labels=("a", "订")), F.ENUM, 1, "02", label("ENUM", "订")),
    (column("enum", labels=("a", "b")), F.ENUM, 1, "00", label("ENUM", "")),
    (column("enum", labels=tuple(map(str, range(300)))), F.ENUM, 2, "2c 01", label("ENUM", "299")),
    (column("set", labels=ABC), F.SET, 1, "00", label("SET", "")),
    (column("set", labels=ABC), F.SET, 1, "05", label("SET", "a,c")),
    (column("set", labels=tuple(map(str, range(24)))), F.SET, 3, "01 00 80", label("SET", "0,23")),
    (text_column("c", "char", length=5), F.STRING, 0xFE14, "02 61 62", text(b"ab")),
    (text_column("c", "char", length=255), F.STRING, 0xCEFC, "03 00 e8 ae a2", text("订".encode())),
    (column("binary", length=4), F.STRING, 0xFE04, "01 61", blob(b"a\0\0\0", "BINARY")),
    (column("binary", length=3), F.STRING, 0xFE03, "00", blob(b"\0\0\0", "BINARY")),
    (column("varbinary", length=300), F.VARCHAR, 300, "02 00 61 00", blob(b"a\0", "BINARY")),
    (column("tinyblob"), F.BLOB, 1, "02 00 ff", blob(b"\0\xff")),
    (column("blob"), F.BLOB, 2, "02 00 61 62", blob(b"ab")),
    (column("mediumblob"), F.BLOB, 3, "02 00 00 61 62", blob(b"ab")),
    (column("longblob"), F.BLOB, 4, "00 00 00 00", blob(b"")),
]


def transcoder(one: Column, field_type: F, metadata: int) -> Transcoder:
    """Of a table with one such column and a number behind it, which shows a wrong length."""
    types = bytes([field_type, F.TINY])
    table_map = TableMapEvent(1, 0, "db", "t", types, (metadata, 0), (True, False))
    return Transcoder(table_of(one, Column("n", "tinyint", nullable=False)), table_map, "8")


def rows_of(data: bytes, count: int = 2) -> RowsEvent:
    present = ((1 << count) - 1).to_bytes(1, "little")
    return RowsEvent(RowsKind.WRITE, 1, 1, count, present, present, data, 0, len(data))


@pytest.mark.parametrize(("one", "field_type", "metadata", "image", "cell"), GOLDEN, ids=lambda part: repr(part)[:40])
def test_bytes_of_servers(one: Column, field_type: F, metadata: int, image: str, cell: dict[str, Any]) -> None:
    made = transcoder(one, field_type, metadata)
    whole = b"\xfc" + bytes.fromhex(image) + b"\x2a"
    (record,) = made.transcode(rows_of(whole), HEAD, 1)
    shown = avro.decode(record)["afterImages"]
    assert shown == [cell, {"class": "Integer", "precision": 1, "value": "42"}]
    assert repr(shown[0]) == repr(cell), "0.0 is not -0.0"
    for size in range(1, len(whole)):
        with pytest.raises(MalformedEvent):
            made.transcode(rows_of(whole[:size]), HEAD, 1)
    with pytest.raises(MalformedEvent):
        made.transcode(rows_of(whole + b"\xfc"), HEAD, 1)


TOLD = {(field_type, metadata, image) for one, field_type, metadata, image, _ in GOLDEN if metadata or not one.fsp}
"""Without MariaDB's own formats, of which a table map does not tell enough."""


@pytest.mark.parametrize(("field_type", "metadata", "image"), sorted(TOLD), ids=lambda part: repr(part)[:40])
def test_a_value_ends_where_its_table_map_says(field_type: F, metadata: int, image: str) -> None:
    whole = bytes.fromhex(image)
    assert field_end(field_type, metadata)(b"\x2a" + whole + b"\x2a", 1) == 1 + len(whole)


def test_a_value_under_the_bit_of_a_null_that_cannot_be_is_malformed() -> None:
    made = transcoder(column("int"), F.LONG, 0)
    for _ in range(IMAGES_BEFORE_SPECIALIZED + 1):
        with pytest.raises(MalformedEvent):
            made.transcode(rows_of(b"\xfe" + b"\x01\0\0\0" + b"\x2a"), HEAD, 1)


MALFORMED: list[tuple[Column, F, int, str]] = [
    (column("float"), F.FLOAT, 4, "00 00 80 7f"),
    (column("float"), F.FLOAT, 4, "00 00 c0 ff"),
    (column("enum", labels=("a", "b")), F.ENUM, 1, "03"),
    (column("set", labels=ABC), F.SET, 1, "08"),
    (column("binary", length=3), F.STRING, 0xFE03, "04 61 61 61 61"),
    (column("time"), F.TIME2, 0, "b4 70 00"),
    (column("time"), F.TIME2, 0, "4b 80 00"),
    (column("time", fsp=1), F.TIME, 0, "ff ff ff ff"),
    (column("datetime", fsp=6), F.DATETIME, 0, "ff ff ff ff ff ff ff ff"),
    (column("timestamp", fsp=1), F.TIMESTAMP, 0, "60 40 6a bf 0a"),
    *((column("decimal", precision=4, scale=2), F.NEWDECIMAL, 0x0402, image) for image in ("85 64", "e4 00", "80 64")),
    (column("decimal", precision=2, scale=2), F.NEWDECIMAL, 0x0202, "e4"),
    (column("decimal", precision=4, scale=2), F.NEWDECIMAL, 0x0402, "7a 9b"),
    (column("decimal", precision=18, scale=0), F.NEWDECIMAL, 0x1200, "80 00 00 01 3b 9a ca 00"),
    (column("decimal", precision=18, scale=9), F.NEWDECIMAL, 0x1209, "80 00 00 01 3b 9a ca 00"),
]
"""Among them DECIMALs with a group that has more digits than its bytes are for."""


@pytest.mark.parametrize(("one", "field_type", "metadata", "image"), MALFORMED, ids=lambda part: repr(part)[:40])
def test_values_that_no_server_writes_are_malformed(one: Column, field_type: F, metadata: int, image: str) -> None:
    with pytest.raises(MalformedEvent):
        transcoder(one, field_type, metadata).transcode(rows_of(b"\xfc" + bytes.fromhex(image) + b"\x2a"), HEAD, 1)


def test_all_documented_numbers_stand_in_the_table_and_those_never_sent_say_why() -> None:
    numbers = {row.number for row in COLUMN_TYPES}
    assert numbers == {*range(20), *range(245, 256)}
    for row in COLUMN_TYPES:
        assert bool(row.never_sent) == (not row.names)
    assert {row.number for row in COLUMN_TYPES if row.never_sent} == {0, 6, 14, 17, 18, 19}


@pytest.mark.parametrize(
    ("bits", "shortest"), [(0x0F800000, 1.2621775e-29), (0x6B000000, 1.5474251e26), (0x6C800000, 1.2379401e27)]
)
def test_a_float_that_is_a_power_of_two_may_be_farther_from_its_shortest_decimal(bits: int, shortest: float) -> None:
    """The nearest decimal of as many digits is another FLOAT: there is more room above a power of two than below."""
    assert shortest_double(bits) == shortest
    assert struct.unpack("<I", struct.pack("<f", shortest)) == (bits,)


@pytest.mark.parametrize("exponent", range(255))
def test_a_float_is_the_shortest_decimal_that_it_stands_for(exponent: int) -> None:
    """Both ends of each power of two, where the room below and above differs."""
    for bits in (exponent << 23, (exponent << 23) + 1, (exponent + 1 << 23) - 1):
        (exact,) = struct.unpack("<f", struct.pack("<I", bits))
        shortest = shortest_double(bits)
        assert struct.unpack("<I", struct.pack("<f", shortest)) == (bits,)
        digits = len(f"{shortest!r}".partition("e")[0].replace(".", "").strip("0")) or 1
        for fewer in range(1, digits):
            near = float(f"{exact:.{fewer - 1}e}")
            assert struct.pack("<f", min(near, 3.4e38)) != struct.pack("<I", bits) or not bits
        assert shortest_double(bits | 1 << 31) == -shortest
