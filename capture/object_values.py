"""Values of JSON, geometry and vector columns and of MariaDB's UUID, INET and COMPRESSED ones to row images.

The way back of `capture.object_cells`. JSON takes its text or what JSON has in Python (`capture.json_writer`), and
bytes as a binary document; a geometry takes WKB (`capture/wkb.py`), to which SRID 0 is added; a vector takes its
numbers or their bytes; UUID and INET take text, Python's object or bytes in logical order. COMPRESSED columns take what
the same column takes without, and are deflated where that makes them shorter, as the server does from 100 bytes on.
"""

import ipaddress
import math
import struct
import uuid
import zlib
from collections.abc import Callable, Sequence

from msgspec.structs import replace

from capture.cells import ColumnShape
from capture.charsets import Charsets
from capture.table import Column
from capture.table_map import FieldType
from capture.values import BinlogType, Misfit, Value, ValueWriter

_F = FieldType
_LENGTH_BYTES = 4


def _long(body: bytes) -> bytes:
    return len(body).to_bytes(_LENGTH_BYTES, "little") + body


def _write_json(shape: ColumnShape, value: Value) -> bytes:
    from capture.json_writer import json_document  # a server that captures writes none

    return _long(value if isinstance(value, bytes) else json_document(value))


def _write_geometry(shape: ColumnShape, value: Value) -> bytes:
    from capture.wkb import WkbError, stored_wkb  # as above

    if not isinstance(value, bytes):
        raise Misfit("WKB is needed, as bytes")
    try:
        return _long(bytes(4) + stored_wkb(value, shape.column.data_type))
    except WkbError as error:
        raise Misfit(str(error)) from None


def _write_vector(shape: ColumnShape, value: Value) -> bytes:
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        try:
            finite = all(map(math.isfinite, value))
            value = struct.pack(f"<{len(value)}f", *value)
        except (struct.error, OverflowError, TypeError):
            finite = False
        if not finite:
            raise Misfit("the numbers of a VECTOR are finite FLOATs")
    size = 4 * (shape.column.length or 0)
    if not isinstance(value, bytes) or len(value) % 4 or len(value) > size:
        raise Misfit(f"VECTOR({shape.column.length}) holds as many numbers, or their bytes")
    return _long(value)


JSON_WRITER = ValueWriter(lambda column, charsets: BinlogType(_F.JSON, _LENGTH_BYTES), _write_json)
GEOMETRY_WRITER = ValueWriter(lambda column, charsets: BinlogType(_F.GEOMETRY, _LENGTH_BYTES), _write_geometry)
VECTOR_WRITER = ValueWriter(lambda column, charsets: BinlogType(_F.VECTOR, _LENGTH_BYTES), _write_vector)

_PACKED: dict[str, tuple[int, Callable[[str], bytes]]] = {
    "uuid": (16, lambda text: uuid.UUID(text).bytes),
    "inet4": (4, lambda text: ipaddress.IPv4Address(text).packed),
    "inet6": (16, lambda text: ipaddress.IPv6Address(text).packed),
}


def _write_fixed(shape: ColumnShape, value: Value) -> bytes:
    size, packed = _PACKED[shape.column.data_type]
    if not isinstance(value, bytes):
        try:
            value = packed(str(value))
        except ValueError:
            raise Misfit(f"it is no {shape.column.data_type.upper()}") from None
    if len(value) != size:
        raise Misfit(f"{shape.column.data_type.upper()} has {size} bytes")
    body = value.rstrip(b"\0")
    return bytes([len(body)]) + body


FIXED_BYTES_WRITER = ValueWriter(
    lambda column, charsets: BinlogType(_F.STRING, _F.STRING << 8 | _PACKED[column.data_type][0]), _write_fixed
)

# COMPRESSED

_COMPRESSED_TYPES = {_F.VARCHAR: _F.VARCHAR_COMPRESSED, _F.BLOB: _F.BLOB_COMPRESSED}
_THRESHOLD_BYTES = 100
"""MariaDB's column_compression_threshold as it is out of the box."""


def compressible(plain: ValueWriter) -> ValueWriter:
    """The writer of a VARCHAR, TEXT, VARBINARY or BLOB that may be COMPRESSED."""

    def describe(column: Column, charsets: Charsets) -> BinlogType:
        field_type, metadata = plain.describe(column, charsets)
        if not column.compressed:
            return BinlogType(field_type, metadata)
        return BinlogType(_COMPRESSED_TYPES[field_type], metadata + (field_type == _F.VARCHAR))

    def write(shape: ColumnShape, value: Value) -> bytes:
        if not shape.column.compressed:
            return plain.write(shape, value)
        is_varchar = shape.field_type == _F.VARCHAR_COMPRESSED
        inner = replace(shape, metadata=shape.metadata - is_varchar)
        body = _deflated(plain.write(inner, value)[_prefix_bytes(inner.metadata, is_varchar) :])
        return len(body).to_bytes(_prefix_bytes(shape.metadata, is_varchar), "little") + body

    return ValueWriter(describe, write)


def _prefix_bytes(metadata: int, is_varchar: bool) -> int:
    if not is_varchar:
        return metadata
    return 1 if metadata < 0x100 else 2


def _deflated(value: bytes) -> bytes:
    if not value:
        return b""
    length = len(value).to_bytes((len(value).bit_length() + 7) // 8, "big")
    stream = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    packed = bytes([0x80 | 8 | len(length)]) + length + stream.compress(value) + stream.flush()
    return packed if len(value) >= _THRESHOLD_BYTES and len(packed) < len(value) else b"\0" + value
