"""TABLE_MAP: the shape of the row images that follow it.

Body: table id (6 bytes, 4 in early 5.1) | flags u16 | length + database + NUL | length + table + NUL | column count
(length-encoded) | one type byte per column | metadata (length-encoded block) | null bitmap | optional metadata
(type u8, length-encoded length, value)*, as `Table_map_event` of MySQL's rows_event.h describes it. All integers are
little endian. A table map is small and repeats for every statement: decode it once and keep it by its body.

The optional metadata lists facts only for the columns they can apply to (signedness for numeric columns, collations
for character columns …); here they are spread out again, one entry per column of the table. What the schema history
makes of them is not decided here.
"""

import struct
from collections.abc import Collection, Iterator
from enum import IntEnum
from typing import Literal

from msgspec import Struct, field

from capture.errors import MalformedEvent, UnsupportedEvent


class FieldType(IntEnum):
    """Column type codes of TABLE_MAP (`enum enum_field_types`); 140 and 141 are MariaDB's."""

    DECIMAL = 0
    TINY = 1
    SHORT = 2
    LONG = 3
    FLOAT = 4
    DOUBLE = 5
    NULL = 6
    TIMESTAMP = 7
    LONGLONG = 8
    INT24 = 9
    DATE = 10
    TIME = 11
    DATETIME = 12
    YEAR = 13
    NEWDATE = 14
    VARCHAR = 15
    BIT = 16
    TIMESTAMP2 = 17
    DATETIME2 = 18
    TIME2 = 19
    TYPED_ARRAY = 20
    BLOB_COMPRESSED = 140
    VARCHAR_COMPRESSED = 141
    VECTOR = 242
    JSON = 245
    NEWDECIMAL = 246
    ENUM = 247
    SET = 248
    TINY_BLOB = 249
    MEDIUM_BLOB = 250
    LONG_BLOB = 251
    BLOB = 252
    VAR_STRING = 253
    STRING = 254
    GEOMETRY = 255


_F = FieldType

METADATA_BYTES: dict[int, int] = {
    **dict.fromkeys((_F.FLOAT, _F.DOUBLE, _F.TIMESTAMP2, _F.DATETIME2, _F.TIME2), 1),
    **dict.fromkeys((_F.TINY_BLOB, _F.MEDIUM_BLOB, _F.LONG_BLOB, _F.BLOB, _F.BLOB_COMPRESSED), 1),
    **dict.fromkeys((_F.JSON, _F.GEOMETRY, _F.VECTOR), 1),
    **dict.fromkeys((_F.VARCHAR, _F.VARCHAR_COMPRESSED, _F.BIT, _F.NEWDECIMAL), 2),
    **dict.fromkeys((_F.ENUM, _F.SET, _F.VAR_STRING, _F.STRING), 2),
}
"""Bytes of metadata a column type has in TABLE_MAP; 0 for the types not listed."""

GEOMETRY_TYPES = (
    *("geometry", "point", "linestring", "polygon", "multipoint", "multilinestring", "multipolygon"),
    "geometrycollection",
)
"""The kinds of GEOMETRY by their number in the metadata: `Field::geometry_type` of sql/field.h."""
GEOMCOLLECTION = "geomcollection"
"""What MySQL 8.0 calls the last of them."""

_LITTLE_ENDIAN_METADATA = frozenset({_F.VARCHAR, _F.VARCHAR_COMPRESSED})
NUMERIC = frozenset({_F.TINY, _F.SHORT, _F.INT24, _F.LONG, _F.LONGLONG, _F.FLOAT, _F.DOUBLE, _F.NEWDECIMAL, _F.YEAR})
CHARACTER = frozenset(
    {_F.STRING, _F.VAR_STRING, _F.VARCHAR, _F.VARCHAR_COMPRESSED, _F.VECTOR}
    | {_F.BLOB, _F.TINY_BLOB, _F.MEDIUM_BLOB, _F.LONG_BLOB, _F.BLOB_COMPRESSED}
)
"""Columns of which the metadata has signs, and those of which it has collations."""
_ENUM_AND_SET = frozenset({_F.ENUM, _F.SET})


class KeyPart(Struct, frozen=True):
    """One column of the primary key: its index in the table and the prefix length in characters, 0 for all of it."""

    column_index: int
    prefix_length: int = 0


class OptionalMetadata(Struct, frozen=True):
    """What MySQL 8.0+ and MariaDB 10.5+ add. A tuple has one entry per column of the table; None = not sent.

    `unsigned` holds None for columns that are not numeric, `collations` (numbers of the server's collation table, 63 =
    binary) None for columns without one, `labels` None for columns that are neither ENUM nor SET.
    """

    unsigned: tuple[bool | None, ...] | None = None
    collations: tuple[int | None, ...] | None = None
    names: tuple[str, ...] | None = None
    labels: tuple[tuple[bytes, ...] | None, ...] | None = None
    primary_key: tuple[KeyPart, ...] | None = None
    visible: tuple[bool, ...] | None = None
    geometry_types: tuple[int | None, ...] | None = None


class TableMapEvent(Struct, frozen=True):
    """The columns of the rows events that carry `table_id`, until the next TABLE_MAP with the same id.

    `column_types` holds one FieldType code per column, with STRING resolved to ENUM and SET where metadata says so.
    `column_metadata` holds one integer per column: for VARCHAR the length in bytes; for types with two one-byte facts
    (DECIMAL precision and scale, CHAR and BIT) `first << 8 | second`; 0 where a type has none.
    """

    table_id: int
    flags: int
    database: str
    table: str
    column_types: bytes
    column_metadata: tuple[int, ...]
    nullable: tuple[bool, ...]
    optional: OptionalMetadata = field(default_factory=OptionalMetadata)

    @property
    def column_count(self) -> int:
        return len(self.column_types)


def read_length_encoded(data: bytes, position: int) -> tuple[int, int]:
    """MySQL's length-encoded integer at `position`: (value, position after it). Raises IndexError past the end."""
    first = data[position]
    if first < 0xFB:
        return first, position + 1
    size = {0xFC: 2, 0xFD: 3, 0xFE: 8}.get(first)
    if size is None:
        raise MalformedEvent(f"byte {first:#04x} does not start a length-encoded integer")
    end = position + 1 + size
    if end > len(data):
        raise IndexError
    return int.from_bytes(data[position + 1 : end], "little"), end


def string_real_type(metadata: int) -> tuple[int, int]:
    """(real type, length in bytes) of a STRING column's metadata `first << 8 | second`.

    Lengths above 255 borrow two inverted bits of the type byte, see `Field_string::do_save_field_metadata`.
    """
    first, second = metadata >> 8, metadata & 0xFF
    if first & 0x30 == 0x30:
        return first, second
    return first | 0x30, second | ((first & 0x30) ^ 0x30) << 4


def bits(bitmap: bytes, count: int) -> tuple[bool, ...]:
    """The first `count` bits of a bitmap, least significant bit of the first byte first."""
    value = int.from_bytes(bitmap, "little")
    return tuple(bool(value >> index & 1) for index in range(count))


def decode_table_map(body: bytes, table_id_bytes: int = 6) -> TableMapEvent:
    """A TABLE_MAP body (header and checksum removed). `table_id_bytes` is 4 where the post header has 6 bytes.

    Raises IndexError or struct.error where the body ends early; the caller makes a MalformedEvent of them.
    """
    table_id = int.from_bytes(body[:table_id_bytes], "little")
    (flags,) = struct.unpack_from("<H", body, table_id_bytes)
    database, position = _read_name(body, table_id_bytes + 2)
    table, position = _read_name(body, position)
    count, position = read_length_encoded(body, position)
    types = _take(body, position, count)
    position += count
    if position == len(body):
        raise UnsupportedEvent(
            f"The table map of {database}.{table} has no column metadata, as only betas of MySQL 5.1 wrote it"
        )
    size, position = read_length_encoded(body, position)
    types, metadata = _resolve_metadata(types, _take(body, position, size))
    position += size
    null_bytes = (count + 7) // 8
    nullable = bits(_take(body, position, null_bytes), count)
    optional = _decode_optional(body, position + null_bytes, types)
    return TableMapEvent(table_id, flags, database, table, types, metadata, nullable, optional)


def _take(data: bytes, position: int, size: int) -> bytes:
    if position + size > len(data):
        raise IndexError
    return data[position : position + size]


def _read_name(body: bytes, position: int) -> tuple[str, int]:
    """A name: length u8, bytes, NUL."""
    size, position = body[position], position + 1
    name = _take(body, position, size + 1)
    if name[-1]:
        raise MalformedEvent("a name in a table map does not end with NUL")
    return name[:-1].decode("utf-8", "surrogateescape"), position + size + 1


def _resolve_metadata(types: bytes, block: bytes) -> tuple[bytes, tuple[int, ...]]:
    """Split the metadata block by column; STRING columns that are really ENUM or SET get their real type."""
    resolved, metadata, position = bytearray(types), [], 0
    for index, code in enumerate(types):
        size = METADATA_BYTES.get(code, 0)
        order: Literal["little", "big"] = "little" if code in _LITTLE_ENDIAN_METADATA else "big"
        value = int.from_bytes(_take(block, position, size), order)
        position += size
        if code == _F.STRING:
            real_type, length = string_real_type(value)
            if real_type in _ENUM_AND_SET:
                resolved[index], value = real_type, length
        metadata.append(value)
    if position != len(block):
        raise MalformedEvent(f"a table map has {len(block)} bytes of column metadata, its column types need {position}")
    return bytes(resolved), tuple(metadata)


class MetadataField(IntEnum):
    """Types of the optional metadata's fields (`enum Optional_metadata_field_type`)."""

    SIGNEDNESS = 1
    DEFAULT_CHARSET = 2
    COLUMN_CHARSET = 3
    COLUMN_NAME = 4
    SET_STR_VALUE = 5
    ENUM_STR_VALUE = 6
    GEOMETRY_TYPE = 7
    SIMPLE_PRIMARY_KEY = 8
    PRIMARY_KEY_WITH_PREFIX = 9
    ENUM_AND_SET_DEFAULT_CHARSET = 10
    ENUM_AND_SET_COLUMN_CHARSET = 11
    COLUMN_VISIBILITY = 12
    VECTOR_DIMENSIONALITY = 13


_M = MetadataField


def _decode_optional(body: bytes, position: int, types: bytes) -> OptionalMetadata:
    """The type-length-value fields at the end of a TABLE_MAP; fields of unknown type are passed over."""
    fields: dict[int, bytes] = {}
    while position < len(body):
        kind = body[position]
        size, position = read_length_encoded(body, position + 1)
        fields[kind] = _take(body, position, size)
        position += size
    if not fields:
        return OptionalMetadata()
    return OptionalMetadata(
        unsigned=_unsigned(fields.get(_M.SIGNEDNESS), types),
        collations=_collations(fields, types),
        names=_names(fields.get(_M.COLUMN_NAME)),
        labels=_labels(fields, types),
        primary_key=_primary_key(fields),
        visible=_visible(fields.get(_M.COLUMN_VISIBILITY), len(types)),
        geometry_types=_geometry_types(fields.get(_M.GEOMETRY_TYPE), types),
    )


def _spread(values: list[int], types: bytes, kinds: Collection[int]) -> tuple[int | None, ...]:
    """Values listed for the columns of some types only, put at those columns' indexes."""
    indexes = [index for index, code in enumerate(types) if code in kinds]
    if len(values) != len(indexes):
        raise MalformedEvent(f"a table map lists {len(values)} facts for {len(indexes)} columns")
    spread: list[int | None] = [None] * len(types)
    for index, value in zip(indexes, values, strict=True):
        spread[index] = value
    return tuple(spread)


def _high_bits(bitmap: bytes, count: int) -> list[int]:
    """The first `count` bits of a bitmap, most significant bit of the first byte first."""
    if len(bitmap) != (count + 7) // 8:
        raise MalformedEvent(f"a table map has a bitmap of {len(bitmap)} bytes for {count} columns")
    return [bitmap[index // 8] >> (7 - index % 8) & 1 for index in range(count)]


def _unsigned(bitmap: bytes | None, types: bytes) -> tuple[bool | None, ...] | None:
    if bitmap is None:
        return None
    count = sum(code in NUMERIC for code in types)
    flags = _spread(_high_bits(bitmap, count), types, NUMERIC)
    return tuple(None if flag is None else bool(flag) for flag in flags)


def _visible(bitmap: bytes | None, count: int) -> tuple[bool, ...] | None:
    return None if bitmap is None else tuple(map(bool, _high_bits(bitmap, count)))


def _integers(block: bytes) -> list[int]:
    """A run of length-encoded integers."""
    values, position = [], 0
    while position < len(block):
        value, position = read_length_encoded(block, position)
        values.append(value)
    return values


def _strings(block: bytes, position: int, count: int) -> tuple[tuple[bytes, ...], int]:
    strings = []
    for _ in range(count):
        size, position = read_length_encoded(block, position)
        strings.append(_take(block, position, size))
        position += size
    return tuple(strings), position


def _names(block: bytes | None) -> tuple[str, ...] | None:
    return None if block is None else tuple(name.decode() for name in _string_run(block))


def _string_run(block: bytes) -> Iterator[bytes]:
    position = 0
    while position < len(block):
        (text,), position = _strings(block, position, 1)
        yield text


def _collations(fields: dict[int, bytes], types: bytes) -> tuple[int | None, ...] | None:
    """Collation numbers of character columns and of ENUM and SET columns, from either way of listing them."""
    character = _charset_field(fields.get(_M.DEFAULT_CHARSET), fields.get(_M.COLUMN_CHARSET), types, CHARACTER)
    labelled = _charset_field(
        fields.get(_M.ENUM_AND_SET_DEFAULT_CHARSET), fields.get(_M.ENUM_AND_SET_COLUMN_CHARSET), types, _ENUM_AND_SET
    )
    if character is None or labelled is None:
        return character if labelled is None else labelled
    return tuple(one if one is not None else other for one, other in zip(character, labelled, strict=True))


def _charset_field(
    default: bytes | None, listed: bytes | None, types: bytes, kinds: Collection[int]
) -> tuple[int | None, ...] | None:
    if listed is not None:
        return _spread(_integers(listed), types, kinds)
    if default is None:
        return None
    first, *pairs = _integers(default)
    values = [first] * sum(code in kinds for code in types)
    for index, collation in zip(pairs[::2], pairs[1::2], strict=True):
        values[index] = collation
    return _spread(values, types, kinds)


def _labels(fields: dict[int, bytes], types: bytes) -> tuple[tuple[bytes, ...] | None, ...] | None:
    labels: list[tuple[bytes, ...] | None] = [None] * len(types)
    for kind, code in ((_M.ENUM_STR_VALUE, _F.ENUM), (_M.SET_STR_VALUE, _F.SET)):
        block, position = fields.get(kind, b""), 0
        for index in (index for index, column_code in enumerate(types) if column_code == code and block):
            count, position = read_length_encoded(block, position)
            labels[index], position = _strings(block, position, count)
    return tuple(labels) if any(labels) else None


def _primary_key(fields: dict[int, bytes]) -> tuple[KeyPart, ...] | None:
    if _M.SIMPLE_PRIMARY_KEY in fields:
        return tuple(map(KeyPart, _integers(fields[_M.SIMPLE_PRIMARY_KEY])))
    if _M.PRIMARY_KEY_WITH_PREFIX in fields:
        flat = _integers(fields[_M.PRIMARY_KEY_WITH_PREFIX])
        return tuple(map(KeyPart, flat[::2], flat[1::2]))
    return None


def _geometry_types(block: bytes | None, types: bytes) -> tuple[int | None, ...] | None:
    return None if block is None else _spread(_integers(block), types, {_F.GEOMETRY})
