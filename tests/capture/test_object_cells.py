"""JSON, geometry, vector, UUID, INET and COMPRESSED columns: golden cells, written and read back, damaged values."""

from __future__ import annotations

import ipaddress
import struct
import uuid
import zlib
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from capture import avro
from capture.charsets import charsets
from capture.dialect import Dialect
from capture.encode import EventEncoder, RowMetadata
from capture.envelope import RecordHead
from capture.errors import MalformedEvent, ValueRefused
from capture.events import Checksum, EventDecoder, FieldType, RowsEvent, TableMapEvent, iter_events
from capture.object_cells import inflated
from capture.table import Column
from capture.table_check import mismatch
from capture.transcoder import Transcoder
from tests.capture.recorded import binlog
from tests.capture.row_cases import table_of, text_column

pytestmark = pytest.mark.usefixtures("way")

HEAD = RecordHead(1, "2@1", "1@1", None, 1, 0)
POINT = bytes.fromhex("01 01000000 000000000000f03f 0000000000000040")
EMPTY_COLLECTION = bytes.fromhex("01 07000000 00000000")


def events_of(column: Column, values: list[Any], metadata: RowMetadata) -> tuple[TableMapEvent, RowsEvent]:
    table, encoder, decoder = table_of(column), EventEncoder(row_metadata=metadata), EventDecoder(Checksum.CRC32)
    _, table_map = decoder.decode(encoder.table_map(1, table, 5))
    _, rows = decoder.decode(encoder.write_rows(1, table, 5, [[value] for value in values]))
    assert isinstance(table_map, TableMapEvent)
    assert isinstance(rows, RowsEvent)
    return table_map, rows


def cells_of(column: Column, values: list[Any], metadata: RowMetadata = RowMetadata.FULL) -> list[Any]:
    """The cells of values that were written; the table map agrees with the table."""
    table_map, rows = events_of(column, values, metadata)
    assert mismatch(table_of(column), table_map, charsets(Dialect.of("8.0.36"))) is None
    records = Transcoder(table_of(column), table_map, "8.0.36").transcode(rows, HEAD, 1)
    return [avro.decode(record)["afterImages"][0] for record in records]


def image_cell(column: Column, field_type: FieldType, metadata: int, image: bytes) -> Any:
    """The cell of one NOT NULL value's bytes."""
    table_map = TableMapEvent(5, 0, "db", "t", bytes([field_type]), (metadata,), (False,))
    _, rows = events_of(Column("c", "int"), [1], RowMetadata.NONE)
    data = b"\xfe" + image
    made = Transcoder(table_of(column), table_map, "8")
    (record,) = made.transcode(rows._replace(data=data, rows_start=0, rows_end=len(data)), HEAD, 1)
    return avro.decode(record)["afterImages"][0]


def binary_object(value: bytes, object_type: str = "BINARY") -> dict[str, Any]:
    return {"class": "BinaryObject", "type": object_type, "value": value}


# ---- JSON ----


def test_json_is_text() -> None:
    values = ['{"b": 1, "a": [1.0, "ä"]}', {"x": None}, [True], "null", None, b"", 1.5, '"x"']
    assert [cell and cell["value"] for cell in cells_of(Column("c", "json"), values)] == [
        *('{"a": [1.0, "ä"], "b": 1}', '{"x": null}', "[true]", "null", None, "null", "1.5", '"x"')
    ]
    assert cells_of(Column("c", "json"), ["1"]) == [{"class": "TextObject", "type": "JSON", "value": "1"}]


def test_damaged_json_names_its_column() -> None:
    with pytest.raises(MalformedEvent) as error:
        image_cell(Column("doc", "json", nullable=False), FieldType.JSON, 4, b"\x02\0\0\0\x0d\0")
    assert str(error.value) == "A JSON value of 2 bytes in column doc is damaged: the type 13 is unknown."


@pytest.mark.parametrize("value", ["hello", "[1", {"a": {1}}])
def test_what_is_no_json_is_refused(value: Any) -> None:
    with pytest.raises(ValueRefused, match=r"does not fit db\.t\.c JSON: "):
        cells_of(Column("c", "json"), [value])


# ---- geometry ----

GEOMETRIES = (
    *("geometry", "point", "linestring", "polygon", "multipoint", "multilinestring", "multipolygon"),
    *("geometrycollection", "geomcollection"),
)


@pytest.mark.parametrize("data_type", GEOMETRIES)
def test_a_geometry_is_its_wkb(data_type: str) -> None:
    column = Column("c", data_type, nullable=False)
    for wkb in (POINT, EMPTY_COLLECTION):
        image = (4 + len(wkb)).to_bytes(4, "little") + bytes(4) + wkb
        wanted = {"class": "BinaryGeometry", "type": "WKB", "value": wkb}
        assert image_cell(column, FieldType.GEOMETRY, 4, image) == wanted


def test_geometries_and_nulls_are_written() -> None:
    wanted = [{"class": "BinaryGeometry", "type": "WKB", "value": wkb} for wkb in (POINT, EMPTY_COLLECTION)]
    assert cells_of(Column("c", "geometry"), [POINT, EMPTY_COLLECTION, None]) == [*wanted, None]


def test_the_srid_is_left_out() -> None:
    image = b"\x19\0\0\0" + (4326).to_bytes(4, "little") + POINT
    column = Column("c", "point", nullable=False)
    assert image_cell(column, FieldType.GEOMETRY, 4, image)["value"] == POINT
    assert image_cell(column, FieldType.GEOMETRY, 4, b"\0\0\0\0")["value"] == b""


@pytest.mark.parametrize("size", [1, 2, 3])
def test_a_geometry_cut_within_its_srid_is_refused(size: int) -> None:
    with pytest.raises(MalformedEvent, match=f"A geometry of {size} bytes in column c is cut short"):
        image_cell(Column("c", "point", nullable=False), FieldType.GEOMETRY, 4, bytes([size, 0, 0, 0]) + bytes(size))


def test_table_maps_name_the_kind_of_geometry() -> None:
    for number, data_type in enumerate(GEOMETRIES[:8]):
        table_map, _ = events_of(Column("c", data_type), [], RowMetadata.MINIMAL)
        assert table_map.optional.geometry_types == (number,)


# ---- vectors ----


def test_a_vector_is_the_bytes_of_its_numbers() -> None:
    column = Column("c", "vector", length=3)
    numbers = bytes.fromhex("0000803f 00000040 00004040")
    assert cells_of(column, [[1, 2.0, 3], numbers, None]) == [binary_object(numbers, "BLOB")] * 2 + [None]
    for value in ([1, 2, 3, 4], b"12345", "text", ["x"], [1e300]):
        with pytest.raises(ValueRefused):
            cells_of(column, [value])


def test_recorded_vectors() -> None:
    """MySQL 9.0.1: the numbers that mysqlbinlog prints."""
    table = table_of(Column("id", "bigint", unsigned=True, nullable=False), Column("c", "vector", length=3), name="foo")
    decoder, found = EventDecoder(), []
    table_map: TableMapEvent | None = None
    for raw in iter_events(binlog("9.0.1_vector.bin")):
        _, event = decoder.decode(raw)
        table_map = event if isinstance(event, TableMapEvent) else table_map
        if isinstance(event, RowsEvent) and table_map is not None and table_map.table == "foo":
            records = Transcoder(table, table_map, "9.0.1").transcode(event, HEAD, 1)
            found += [avro.decode(record)["afterImages"][1] for record in records]
    assert [cell["type"] for cell in found] == ["BLOB"] * 4
    numbers = [struct.unpack("<3f", cell["value"]) for cell in found]
    assert numbers[:2] == [(pytest.approx(1.1), pytest.approx(2.2), pytest.approx(3.3)), (1, -1, 0)]


# ---- UUID, INET4, INET6 ----

FIXED = {
    "uuid": ["00000000-0000-0000-0000-000000000000", "d9f1f0a0-5b1b-11ee-8c99-0242ac120000", str(uuid.uuid4())],
    "inet4": ["0.0.0.0", "1.2.3.0", "255.255.255.255"],
    "inet6": ["::", "2001:db8::", "::ffff:1.2.3.4", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"],
}


@pytest.mark.parametrize("data_type", FIXED)
def test_fixed_bytes_are_all_there(data_type: str) -> None:
    texts = FIXED[data_type]
    packed = [uuid.UUID(text).bytes if data_type == "uuid" else ipaddress.ip_address(text).packed for text in texts]
    assert cells_of(Column("c", data_type), texts) == [binary_object(value) for value in packed]
    assert cells_of(Column("c", data_type), packed) == [binary_object(value) for value in packed]
    for wrong in ("text", b"123", "1.2.3.4.5"):
        with pytest.raises(ValueRefused):
            cells_of(Column("c", data_type), [wrong])


def test_mariadb_sends_no_zero_bytes_at_the_end() -> None:
    """As MariaDB 10.11 wrote the nil UUID, and one that ends with a zero byte."""
    column = Column("c", "uuid", nullable=False)
    assert image_cell(column, FieldType.STRING, 0xFE10, b"\0") == binary_object(bytes(16))
    sent = bytes.fromhex("0f d9f1f0a05b1b11ee8c990242ac1200")
    assert image_cell(column, FieldType.STRING, 0xFE10, sent) == binary_object(sent[1:] + b"\0")


# ---- COMPRESSED ----

COMPRESSED_GOLDEN = {
    "": "",
    "00 63 63": "cc",
    "8a 01 2c 4b 4c 1c 05 c4 02 00": "a" * 300,
    "8a 01 90 4b 49 19 05 83 09 00 00": "d" * 400,
    "00": "",
}
"""Values as MariaDB 10.11 stores them."""


@pytest.mark.parametrize("value", COMPRESSED_GOLDEN)
def test_golden_compressed_values(value: str) -> None:
    assert inflated(bytes.fromhex(value)) == COMPRESSED_GOLDEN[value].encode()


def test_a_zlib_header_may_be_there() -> None:
    assert inflated(b"\x81\x05" + zlib.compress(b"xxxxx")) == b"xxxxx"


DAMAGED = {
    "10 00": "the compression method 1 is unknown",
    "8a 01 2d 4b 4c 1c 05 c4 02 00": "it does not inflate to the 301 bytes it says",
    "8a 01 2b 4b 4c 1c 05 c4 02 00": "it does not inflate to the 299 bytes it says",
    "8a 01 2c 4b 4c 1c 05 c4 02": "it does not inflate to the 300 bytes it says",
    "8a 01 2c 4b 4c 1c 05 c4 02 00 00": "it does not inflate to the 300 bytes it says",
    "82 01 2c 4b 4c 1c 05 c4 02 00": "incorrect header check",
    "8a": "it does not inflate to the 0 bytes it says",
    "8a 01": "it does not inflate to the 1 bytes it says",
}


@pytest.mark.parametrize("value", DAMAGED)
def test_damaged_compressed_values_are_refused(value: str) -> None:
    with pytest.raises(ValueError, match=DAMAGED[value]):
        inflated(bytes.fromhex(value))
    data = bytes.fromhex(value)
    column = Column("body", "blob", compressed=True, nullable=False)
    with pytest.raises(MalformedEvent, match=f"A COMPRESSED value of {len(data)} bytes in column body is damaged: "):
        image_cell(column, FieldType.BLOB_COMPRESSED, 2, len(data).to_bytes(2, "little") + data)


@given(data=st.binary(max_size=40))
@settings(max_examples=300)
def test_any_bytes_inflate_or_are_refused(data: bytes) -> None:
    with suppress(ValueError):
        assert isinstance(inflated(data), bytes)


COMPRESSED = {
    "varchar": text_column("c", length=300, compressed=True),
    "short varchar": text_column("c", charset="latin1", length=254, compressed=True),
    "varchar of 255": text_column("c", charset="latin1", length=255, compressed=True),
    "tinytext": text_column("c", "tinytext", compressed=True),
    "text": text_column("c", "text", "gbk", compressed=True),
    "longtext": text_column("c", "longtext", compressed=True),
    "varbinary": Column("c", "varbinary", length=255, compressed=True),
    "tinyblob": Column("c", "tinyblob", compressed=True),
    "longblob": Column("c", "longblob", compressed=True),
}


@pytest.mark.parametrize("name", COMPRESSED)
def test_compressed_columns_give_the_cells_of_plain_ones(name: str) -> None:
    column = COMPRESSED[name]
    plain = replace(column, compressed=False)
    texts: list[Any] = ["", "x", "short", "x" * 99, "x" * 100, "xy" * 110, None]
    values = texts if column.charset else [None if text is None else text.encode() for text in texts]
    assert cells_of(column, values) == cells_of(plain, values)
