"""MySQL's binary JSON: how a document is laid out, and where the values in it begin and end.

A document is a type byte and a value. A scalar's value is its bytes, little endian: LITERAL one byte, integers 2, 4 or
8, DOUBLE 8, STRING a length (base 128, low bits first) and UTF-8, OPAQUE a FieldType byte, a length and bytes. An
array or object, small or large (sizes of 2 or 4 bytes), is: number of elements | size in bytes | objects: per key its
offset and length u16 | per value its type u8 and offset | keys | values. What is no longer than an offset stands in
the offset's place: literals and 16-bit integers, in large ones 32-bit integers too. Offsets count from the
number of elements. Keys are sorted by length, then bytes. (sql-common/json_binary.h@9.7, as since 5.7.8.)

The invariant: nothing outside a value is read for it, and no document is worked on for longer than its bytes allow:
`Budget` refuses one whose values overlap, which no server writes. No bytes at all are the literal null, as old servers
stored where a NOT NULL column had no default. As text: `capture.json_text`; made: `capture.json_writer`; changed:
`capture.json_open`.
"""

import struct
from enum import IntEnum
from typing import NamedTuple

DEPTH_MAX = 100
"""Arrays and objects within each other (`JSON_DOCUMENT_MAX_DEPTH`)."""


class JsonType(IntEnum):
    """The type byte (`JSONB_TYPE_*` of json_binary.cc)."""

    SMALL_OBJECT = 0
    LARGE_OBJECT = 1
    SMALL_ARRAY = 2
    LARGE_ARRAY = 3
    LITERAL = 4
    INT16 = 5
    UINT16 = 6
    INT32 = 7
    UINT32 = 8
    INT64 = 9
    UINT64 = 10
    DOUBLE = 11
    STRING = 12
    OPAQUE = 15


_T = JsonType

NULL_LITERAL, TRUE_LITERAL, FALSE_LITERAL = 0, 1, 2
NULL_DOCUMENT = bytes([_T.LITERAL, NULL_LITERAL])

CONTAINER_LAST = int(_T.LARGE_ARRAY)
"""Types up to this one are arrays and objects."""
FIXED_BYTES: dict[int, int] = {
    _T.LITERAL: 1,
    _T.INT16: 2,
    _T.UINT16: 2,
    _T.INT32: 4,
    _T.UINT32: 4,
    _T.INT64: 8,
    _T.UINT64: 8,
    _T.DOUBLE: 8,
}
INLINED: tuple[frozenset[int], frozenset[int]] = (
    frozenset({_T.LITERAL, _T.INT16, _T.UINT16}),
    frozenset({_T.LITERAL, _T.INT16, _T.UINT16, _T.INT32, _T.UINT32}),
)
"""Types whose values stand in the offset's place, in small and in large arrays and objects."""

COUNT_AND_SIZE = (struct.Struct("<HH"), struct.Struct("<II"))
KEY_ENTRY = (struct.Struct("<HH"), struct.Struct("<IH"))
VALUE_ENTRY = (struct.Struct("<BH"), struct.Struct("<BI"))
"""Of small and of large arrays and objects."""

_LENGTH_BYTES_MAX = 5


class DamagedJson(ValueError):
    """Why bytes are no JSON document, as half a sentence; whoever knows the column makes a MalformedEvent of it."""


class Container(NamedTuple):
    """An array or object within a document: positions there, `values` is how many it has."""

    is_object: bool
    large: bool
    values: int
    start: int
    end: int
    values_at: int


class Budget:
    """How many bytes of a document are not accounted for yet."""

    __slots__ = ("_left",)

    def __init__(self, size_bytes: int) -> None:
        self._left = size_bytes

    def spend(self, size_bytes: int) -> None:
        """Count bytes as belonging to one value. Raises DamagedJson when there are more than the document has."""
        self._left -= size_bytes
        if self._left < 0:
            raise DamagedJson("its values overlap")


def read_container(data: bytes, kind: int, start: int, end: int) -> Container:
    """The array or object of type `kind` at `start`. Raises DamagedJson unless its tables lie before `end`."""
    large, is_object = bool(kind & 1), kind < _T.SMALL_ARRAY
    head = COUNT_AND_SIZE[large]
    if start + head.size > end:
        raise DamagedJson("it is cut short")
    count, size_bytes = head.unpack_from(data, start)
    keys_bytes = count * KEY_ENTRY[large].size if is_object else 0
    values_at = start + head.size + keys_bytes
    if start + size_bytes > end or values_at + count * VALUE_ENTRY[large].size > start + size_bytes:
        raise DamagedJson(f"an array or object of {count} values and {size_bytes} bytes is cut short")
    return Container(is_object, large, count, start, start + size_bytes, values_at)


def read_length(data: bytes, position: int, end: int) -> tuple[int, int]:
    """The length of a string or opaque value: (length, where its bytes start). Raises DamagedJson."""
    if position < end and data[position] < 0x80:
        length, start = data[position], position + 1
        if start + length > end:
            raise DamagedJson(f"a value of {length} bytes is cut short")
        return length, start
    length = shift = 0
    for at in range(position, min(end, position + _LENGTH_BYTES_MAX)):
        length |= (data[at] & 0x7F) << shift
        if data[at] < 0x80:
            if at + 1 + length > end:
                raise DamagedJson(f"a value of {length} bytes is cut short")
            return length, at + 1
        shift += 7
    raise DamagedJson("a length is cut short")


def value_end(data: bytes, kind: int, start: int, end: int) -> int:
    """Where the value of type `kind` at `start` ends. Raises DamagedJson."""
    if kind <= CONTAINER_LAST:
        return read_container(data, kind, start, end).end
    if kind == _T.STRING:
        length, at = read_length(data, start, end)
        return at + length
    if kind == _T.OPAQUE:
        length, at = read_length(data, start + 1, end)
        return at + length
    size = FIXED_BYTES.get(kind)
    if size is None:
        raise DamagedJson(f"the type {kind} is unknown")
    if start + size > end:
        raise DamagedJson("a number is cut short")
    return start + size


def is_object(document: bytes) -> bool:
    """Whether a document is an object."""
    return bool(document) and document[0] in {_T.SMALL_OBJECT, _T.LARGE_OBJECT}


def is_array(document: bytes) -> bool:
    """Whether a document is an array."""
    return bool(document) and document[0] in {_T.SMALL_ARRAY, _T.LARGE_ARRAY}
