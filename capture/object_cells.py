"""Code of JSON, geometry and vector columns and of MariaDB's own: UUID, INET4, INET6 and COMPRESSED ones.

As `capture.cells` for the other types. JSON becomes the text that MySQL prints of it. A geometry is stored as its
SRID, four bytes, and WKB, in the axis order x, y whatever the SRID; the cell has the WKB alone. MariaDB sends UUID and
the INET types in their logical order, as `CAST(… AS BINARY)` gives them, without the zero bytes at the end. A
COMPRESSED value is a byte, method << 4, and the value itself, or for zlib (method 8, flag 8: without its header) the
original length in 1 to 7 bytes, big endian, and the deflated bytes (sql/field.cc@10.11); an empty value has no bytes.

These values are made by functions that the generated code calls for each cell.
"""

import zlib
from collections.abc import Callable

from capture.avro_text import data, string, to_bytes, zigzag
from capture.binary_cells import binary
from capture.cells import BINARY_OBJECT, CHARACTER, TEXT_OBJECT, CellCode, ColumnShape
from capture.errors import MalformedEvent

BINARY_GEOMETRY = zigzag(8)
"""Union index of an image's cell."""

_JSON_START = TEXT_OBJECT + string("JSON")
_WKB_START = BINARY_GEOMETRY + string("WKB")
_SRID_BYTES = 4

_ZLIB = 8
_WITHOUT_HEADER_FLAG = 8
_LENGTH_BYTES_MASK = 0x07


def _called(shape: ColumnShape, name: str, length_bytes: int, cell: Callable[[str], str]) -> CellCode:
    """Code that has a function make the cell of a value's bytes, given as Latin-1 text."""
    function = f"{name}{shape.index}"
    return CellCode(f"{{{function}(c{shape.index})}}", (), length_bytes, objects={function: cell})


def json(shape: ColumnShape) -> CellCode:
    """JSON: a length of 4 bytes and a binary document."""
    name = shape.column.name

    from capture.json_binary import DamagedJson  # 3 ms of a start, for tables that have such a column
    from capture.json_text import json_text

    def cell(value: str) -> str:
        try:
            text = json_text(to_bytes(value))
        except DamagedJson as error:
            raise MalformedEvent(f"A JSON value of {len(value)} bytes in column {name} is damaged: {error}.") from error
        return f"{_JSON_START}{zigzag(len(text))}{text}"

    return _called(shape, "json", shape.metadata, cell)


def geometry(shape: ColumnShape) -> CellCode:
    """GEOMETRY and its subtypes: a length of 4 bytes, the SRID and WKB; no bytes at all where a default was missing."""
    name = shape.column.name

    def cell(value: str) -> str:
        if 0 < len(value) < _SRID_BYTES:
            raise MalformedEvent(f"A geometry of {len(value)} bytes in column {name} is cut short.")
        wkb = value[_SRID_BYTES:]
        return f"{_WKB_START}{zigzag(len(wkb))}{wkb}"

    return _called(shape, "geometry", shape.metadata, cell)


fixed_bytes = binary
"""UUID, INET4 and INET6: like a BINARY of their size."""


def inflated(value: bytes) -> bytes:
    """The bytes of a COMPRESSED column's value. Raises ValueError with half a sentence."""
    if not value:
        return b""
    method, flags = value[0] >> 4, value[0] & 0x0F
    if not method:
        return value[1:]
    if method != _ZLIB:
        raise ValueError(f"the compression method {method} is unknown")
    start = 1 + (flags & _LENGTH_BYTES_MASK)
    length = int.from_bytes(value[1:start], "big")
    stream = zlib.decompressobj(-zlib.MAX_WBITS if flags & _WITHOUT_HEADER_FLAG else zlib.MAX_WBITS)
    try:
        found = stream.decompress(memoryview(value)[start:], length + 1)
    except zlib.error as error:
        raise ValueError(str(error)) from error
    if not stream.eof or stream.unused_data or len(found) != length:
        raise ValueError(f"it does not inflate to the {length} bytes it says")
    return found


def compressed_text(length_bytes: Callable[[ColumnShape], int]) -> Callable[[ColumnShape], CellCode]:
    """VARCHAR and TEXT types COMPRESSED."""

    def generate(shape: ColumnShape) -> CellCode:
        start = CHARACTER + string(shape.column.charset or "binary")
        return _called(shape, "inflated", length_bytes(shape), _inflated_cell(shape, start))

    return generate


def compressed_object(
    object_type: str, length_bytes: Callable[[ColumnShape], int]
) -> Callable[[ColumnShape], CellCode]:
    """VARBINARY and BLOB types COMPRESSED."""

    def generate(shape: ColumnShape) -> CellCode:
        start = BINARY_OBJECT + string(object_type)
        return _called(shape, "inflated", length_bytes(shape), _inflated_cell(shape, start))

    return generate


def _inflated_cell(shape: ColumnShape, start: str) -> Callable[[str], str]:
    name = shape.column.name

    def cell(value: str) -> str:
        try:
            return start + data(inflated(to_bytes(value)))
        except ValueError as error:
            raise MalformedEvent(
                f"A COMPRESSED value of {len(value)} bytes in column {name} is damaged: {error}."
            ) from error

    return cell
