"""Texts, bytes and labels to what a server puts into a row image: the way back of CHAR to LONGBLOB, ENUM and SET.

As `capture.values` for numbers. A CHAR loses the spaces at its end and a BINARY the zero bytes, as in a server's
binlog; bytes given for a text column are taken as they are. An ENUM takes one of its labels, or '' for what MySQL keeps
in place of a refused value; a SET takes labels joined by commas, or a sequence or set of them.
"""

import codecs
from collections.abc import Sequence
from collections.abc import Set as AbstractSet

from capture.cells import ColumnShape
from capture.charsets import Charsets
from capture.table import Column
from capture.table_map import FieldType, string_real_type
from capture.values import BinlogType, Misfit, Value, ValueWriter, shown_value

_CODECS = {
    "utf8": "utf-8",
    "utf8mb3": "utf-8",
    "utf8mb4": "utf-8",
    "latin1": "cp1252",
    "ucs2": "utf-16-be",
    "utf16": "utf-16-be",
    "utf16le": "utf-16-le",
    "utf32": "utf-32-be",
}
"""Python's names of charsets, where it does not know MySQL's name or means something else by it."""
_THREE_BYTE_CHARSETS = frozenset({"utf8", "utf8mb3", "ucs2"})


def encoded_text(column: Column, value: Value) -> bytes:
    """A text in the charset of a column. Raises Misfit."""
    if isinstance(value, bytes):
        return value
    if not isinstance(value, str):
        raise Misfit("a str is needed, or bytes in the column's character set")
    charset = column.charset or "binary"
    try:
        encoded = value.encode(codecs.lookup(_CODECS.get(charset, charset)).name)
    except LookupError:
        raise Misfit(f"give bytes, as Python does not know the character set {charset}") from None
    except UnicodeEncodeError as error:
        raise Misfit(f"{charset} has no {value[error.start]!r}") from None
    beyond = next((one for one in value if one > "\uffff"), None) if charset in _THREE_BYTE_CHARSETS else None
    if beyond is not None:
        raise Misfit(f"{charset} has no {beyond!r}")
    return encoded


def _describe_varchar(column: Column, charsets: Charsets) -> BinlogType:
    characters = 0 if column.length is None else column.length
    return BinlogType(FieldType.VARCHAR, characters * charsets.bytes_per_character_max(column.charset or "binary"))


def _write_varchar(shape: ColumnShape, value: Value) -> bytes:
    encoded = encoded_text(shape.column, value)
    length = shape.column.length or 0
    if len(encoded) > shape.metadata or (isinstance(value, str) and len(value) > length):
        raise Misfit(f"VARCHAR({length}) holds {length} characters")
    return len(encoded).to_bytes(1 if shape.metadata < 0x100 else 2, "little") + encoded


VARCHAR_WRITER = ValueWriter(_describe_varchar, _write_varchar)

_TEXT_LENGTH_BYTES = {"tinytext": 1, "text": 2, "mediumtext": 3, "longtext": 4}


def _write_text(shape: ColumnShape, value: Value) -> bytes:
    encoded, size = encoded_text(shape.column, value), shape.metadata
    if len(encoded) >= 1 << 8 * size:
        raise Misfit(f"{shape.column.data_type.upper()} holds {(1 << 8 * size) - 1} bytes")
    return len(encoded).to_bytes(size, "little") + encoded


TEXT_WRITER = ValueWriter(
    lambda column, charsets: BinlogType(FieldType.BLOB, _TEXT_LENGTH_BYTES[column.data_type]), _write_text
)

# CHAR

_STRING_LENGTH_MASK = 0x300


def _describe_string(length: int) -> BinlogType:
    """The length of a STRING in bytes: its upper two bits are inverted in the type byte."""
    return BinlogType(FieldType.STRING, (FieldType.STRING ^ (length & _STRING_LENGTH_MASK) >> 4) << 8 | length & 0xFF)


def _length(column: Column) -> int:
    return 1 if column.length is None else column.length


def _describe_char(column: Column, charsets: Charsets) -> BinlogType:
    return _describe_string(_length(column) * charsets.bytes_per_character_max(column.charset or "binary"))


def _write_char(shape: ColumnShape, value: Value) -> bytes:
    encoded = encoded_text(shape.column, value.rstrip(" ") if isinstance(value, str) else value)
    length, (_, bytes_max) = _length(shape.column), string_real_type(shape.metadata)
    if len(encoded) > bytes_max or (isinstance(value, str) and len(value.rstrip(" ")) > length):
        raise Misfit(f"CHAR({length}) holds {length} characters")
    return len(encoded).to_bytes(1 if bytes_max < 0x100 else 2, "little") + encoded


CHAR_WRITER = ValueWriter(_describe_char, _write_char)

# Bytes


def _as_bytes(value: Value) -> bytes:
    if not isinstance(value, bytes):
        raise Misfit("bytes are needed")
    return value


def _write_binary(shape: ColumnShape, value: Value) -> bytes:
    data, length = _as_bytes(value).rstrip(b"\0"), _length(shape.column)
    if len(data) > length:
        raise Misfit(f"BINARY({length}) holds {length} bytes")
    return len(data).to_bytes(1 if length < 0x100 else 2, "little") + data


def _write_varbinary(shape: ColumnShape, value: Value) -> bytes:
    data, length = _as_bytes(value), shape.metadata
    if len(data) > length:
        raise Misfit(f"VARBINARY({length}) holds {length} bytes")
    return len(data).to_bytes(1 if length < 0x100 else 2, "little") + data


def _write_blob(shape: ColumnShape, value: Value) -> bytes:
    data, size = _as_bytes(value), shape.metadata
    if len(data) >= 1 << 8 * size:
        raise Misfit(f"{shape.column.data_type.upper()} holds {(1 << 8 * size) - 1} bytes")
    return len(data).to_bytes(size, "little") + data


_BLOB_LENGTH_BYTES = {"tinyblob": 1, "blob": 2, "mediumblob": 3, "longblob": 4}
BINARY_WRITER = ValueWriter(lambda column, charsets: _describe_string(_length(column)), _write_binary)
VARBINARY_WRITER = ValueWriter(
    lambda column, charsets: BinlogType(FieldType.VARCHAR, column.length or 0), _write_varbinary
)
BLOB_WRITER = ValueWriter(
    lambda column, charsets: BinlogType(FieldType.BLOB, _BLOB_LENGTH_BYTES[column.data_type]), _write_blob
)

# ENUM and SET


def _describe_enum(column: Column, charsets: Charsets) -> BinlogType:
    return BinlogType(FieldType.STRING, FieldType.ENUM << 8 | (1 if len(column.labels) < 0x100 else 2))


def _write_enum(shape: ColumnShape, value: Value) -> bytes:
    labels = shape.column.labels
    if not isinstance(value, str) or (value and value not in labels):
        raise Misfit(f"one of its labels is needed: {_listed(labels)}")
    return (labels.index(value) + 1 if value in labels else 0).to_bytes(shape.metadata & 0xFF, "little")


def _describe_set(column: Column, charsets: Charsets) -> BinlogType:
    size = (len(column.labels) + 7) // 8
    return BinlogType(FieldType.STRING, FieldType.SET << 8 | (size if size <= 4 else 8))


def _write_set(shape: ColumnShape, value: Value) -> bytes:
    labels = shape.column.labels
    if not isinstance(value, str | Sequence | AbstractSet) or isinstance(value, bytes):
        raise Misfit(f"labels are needed, of {_listed(labels)}")
    members = [one for one in value.split(",") if one] if isinstance(value, str) else list(value)
    unknown = [one for one in members if one not in labels]
    if unknown:
        raise Misfit(f"it has no label {shown_value(unknown[0])}, only {_listed(labels)}")
    bits = sum({1 << labels.index(one) for one in members})
    return bits.to_bytes(shape.metadata & 0xFF, "little")


def _listed(labels: tuple[str, ...]) -> str:
    text = ", ".join(map(repr, labels))
    return text if len(text) <= _LABELS_SHOWN_MAX else f"{text[: _LABELS_SHOWN_MAX - 1]}…"


_LABELS_SHOWN_MAX = 120
ENUM_WRITER = ValueWriter(_describe_enum, _write_enum)
SET_WRITER = ValueWriter(_describe_set, _write_set)
