"""JSON text and Python values to binary JSON, as a server writes them: the way back of `capture.json_text`.

Keys are sorted by length, then bytes; of a key that is there twice the last one counts, as since MySQL 8.0.3. Integers
take the smallest of 16, 32 and 64 bits, signed up to 32 bits and unsigned above; an integer in text that has no room in
64 bits is a double.
An array or object is small unless an offset, its size or a large one within it does not fit. Decimal, date, time,
timedelta and datetime become what MySQL's types of these names become, `Opaque` stands for any other. The layout is
that of `capture.json_binary`; work is linear in the document, times its depth for the bytes that are copied.
"""

import json
import math
import struct
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

from capture.json_binary import (
    COUNT_AND_SIZE,
    DEPTH_MAX,
    FALSE_LITERAL,
    INLINED,
    KEY_ENTRY,
    NULL_DOCUMENT,
    TRUE_LITERAL,
    VALUE_ENTRY,
    JsonType,
)
from capture.table_map import FieldType
from capture.time_cells import HOURS_MAX
from capture.values import Misfit, decimal_image

_T = JsonType
_SMALL_MAX = 0xFFFF
_KEY_BYTES_MAX = 0xFFFF
_DECIMAL_DIGITS_MAX = 65
_INTEGER_CHARACTERS_MAX = 20
"""Of the longest integers of 64 bits, with their sign."""


class Opaque(NamedTuple):
    """A value of another MySQL type in a document: FieldType and bytes."""

    field_type: int
    data: bytes


def json_document(value: Any) -> bytes:
    """The document of a Python value; a str is JSON text. Raises Misfit."""
    return document_of_text(value) if isinstance(value, str) else document_of(value)


def document_of_text(text: str) -> bytes:
    """The document of JSON text. Raises Misfit."""
    try:
        value = json.loads(text, parse_int=_parsed_integer, parse_constant=_refused_constant)
    except json.JSONDecodeError as error:
        raise Misfit(f"it is no JSON text: {error.msg} at character {error.pos + 1}") from None
    except RecursionError:
        raise Misfit(f"JSON is nested up to {DEPTH_MAX} levels") from None
    return document_of(value)


def document_of(value: Any) -> bytes:
    """The document of a Python value, strings included. Raises Misfit."""
    return _document(value, 0)


def _parsed_integer(digits: str) -> int | float:
    value = int(digits) if len(digits) <= _INTEGER_CHARACTERS_MAX else None
    return value if value is not None and -1 << 63 <= value < 1 << 64 else float(digits)


def _refused_constant(name: str) -> None:
    raise Misfit(f"JSON has no {name}")


def _document(value: Any, depth: int) -> bytes:
    if value is None:
        return NULL_DOCUMENT
    if isinstance(value, bool):
        return bytes([_T.LITERAL, TRUE_LITERAL if value else FALSE_LITERAL])
    if isinstance(value, Mapping | Sequence) and not isinstance(value, str | bytes | Opaque):
        if depth >= DEPTH_MAX:
            raise Misfit(f"JSON is nested up to {DEPTH_MAX} levels")
        if isinstance(value, Mapping):
            return object_document({_key(key): _document(one, depth + 1) for key, one in value.items()})
        return array_document([_document(one, depth + 1) for one in value])
    for python_type, write in _SCALARS:
        if isinstance(value, python_type):
            return write(value)
    raise Misfit(f"JSON has no {type(value).__name__}")


def _key(key: object) -> bytes:
    if not isinstance(key, str):
        raise Misfit("the keys of a JSON object are texts")
    encoded = _utf8(key)
    if len(encoded) > _KEY_BYTES_MAX:
        raise Misfit(f"a key in JSON has up to {_KEY_BYTES_MAX} bytes")
    return encoded


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise Misfit("a text in JSON is UTF-8, which has no lone surrogates") from None


def _length(size: int) -> bytes:
    encoded = bytearray()
    while size > 0x7F:
        encoded.append(size & 0x7F | 0x80)
        size >>= 7
    encoded.append(size)
    return bytes(encoded)


def _string(text: str) -> bytes:
    encoded = _utf8(text)
    return bytes([_T.STRING]) + _length(len(encoded)) + encoded


_SIGNED = ((_T.INT16, 2), (_T.INT32, 4), (_T.INT64, 8))


def _integer(value: int) -> bytes:
    for kind, size in _SIGNED if value < 1 << 32 else ():
        if -1 << 8 * size - 1 <= value < 1 << 8 * size - 1:
            return bytes([kind]) + value.to_bytes(size, "little", signed=True)
    if not 0 <= value < 1 << 64:
        raise Misfit(f"an integer in JSON is from {-1 << 63} to {(1 << 64) - 1}")
    return bytes([_T.UINT64]) + value.to_bytes(8, "little")


def _double(value: float) -> bytes:
    if not math.isfinite(value):
        raise Misfit(f"JSON has no {value}")
    return struct.pack("<Bd", _T.DOUBLE, value)


def _opaque(value: Opaque) -> bytes:
    return bytes([_T.OPAQUE, value.field_type]) + _length(len(value.data)) + value.data


def _decimal(value: Decimal) -> bytes:
    sign, digits, exponent = value.as_tuple()
    if not isinstance(exponent, int):
        raise Misfit(f"JSON has no {value}")
    scale = max(0, -exponent)
    precision = max(len(digits) + max(0, exponent), scale, 1)
    if precision > _DECIMAL_DIGITS_MAX:
        raise Misfit(f"a DECIMAL has up to {_DECIMAL_DIGITS_MAX} digits")
    unscaled = int("".join(map(str, digits))) * 10 ** max(0, exponent)
    image = decimal_image(-unscaled if sign else unscaled, precision, scale)
    return _opaque(Opaque(FieldType.NEWDECIMAL, bytes([precision, scale]) + image))


def _packed_date(value: date) -> int:
    return ((value.year * 13 + value.month) << 5 | value.day) << 17


def _packed_time(hours: int, minutes: int, seconds: int) -> int:
    return hours << 12 | minutes << 6 | seconds


def _moment(field_type: FieldType, whole: int, microseconds: int, negative: bool = False) -> bytes:
    packed = whole << 24 | microseconds
    return _opaque(Opaque(field_type, (-packed if negative else packed).to_bytes(8, "little", signed=True)))


def _datetime(value: datetime) -> bytes:
    if value.tzinfo is not None:
        raise Misfit("a DATETIME has no time zone, give one without")
    whole = _packed_date(value) | _packed_time(value.hour, value.minute, value.second)
    return _moment(FieldType.DATETIME, whole, value.microsecond)


def _timedelta(value: timedelta) -> bytes:
    seconds, microseconds = divmod(abs(value) // timedelta(microseconds=1), 1_000_000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    if hours > HOURS_MAX:
        raise Misfit(f"a TIME holds -{HOURS_MAX}:59:59 to {HOURS_MAX}:59:59")
    return _moment(FieldType.TIME, _packed_time(hours, minutes, seconds), microseconds, value < timedelta(0))


def _time(value: time) -> bytes:
    if value.tzinfo is not None:
        raise Misfit("a TIME has no time zone, give one without")
    return _moment(FieldType.TIME, _packed_time(value.hour, value.minute, value.second), value.microsecond)


_SCALARS: tuple[tuple[type, Callable[[Any], bytes]], ...] = (
    (str, _string),
    (int, _integer),
    (float, _double),
    (Opaque, _opaque),
    (Decimal, _decimal),
    (datetime, _datetime),
    (date, lambda value: _moment(FieldType.DATE, _packed_date(value), 0)),
    (time, _time),
    (timedelta, _timedelta),
)


# Arrays and objects


def array_document(values: Sequence[bytes]) -> bytes:
    """An array of documents."""
    return _container(_T.SMALL_ARRAY, (), values)


def object_document(members: Mapping[bytes, bytes]) -> bytes:
    """An object of documents, its keys brought into order."""
    keys = sorted(members, key=lambda key: (len(key), key))
    return _container(_T.SMALL_OBJECT, keys, [members[key] for key in keys])


def _container(kind: JsonType, keys: Sequence[bytes], values: Sequence[bytes]) -> bytes:
    if not any(one[0] in _LARGE for one in values):
        small = _laid_out(kind, keys, values, large=False)
        if small is not None:
            return small
    found = _laid_out(kind, keys, values, large=True)
    if found is None:
        raise Misfit("a JSON document has less than 4 GiB")
    return found


_LARGE = frozenset({_T.LARGE_ARRAY, _T.LARGE_OBJECT})


def _laid_out(kind: JsonType, keys: Sequence[bytes], values: Sequence[bytes], *, large: bool) -> bytes | None:
    """The array or object in its small or large form; None where an offset or the size does not fit."""
    entry_bytes, offset_max = VALUE_ENTRY[large].size, 0xFFFFFFFF if large else _SMALL_MAX
    count = len(values)
    offset = COUNT_AND_SIZE[large].size + len(keys) * KEY_ENTRY[large].size + count * entry_bytes
    key_entries, value_entries, bodies = bytearray(), bytearray(), []
    if count > offset_max or offset + sum(map(len, keys)) > offset_max:
        return None
    for key in keys:
        key_entries += KEY_ENTRY[large].pack(offset, len(key))
        offset += len(key)
    inlined = INLINED[large]
    for value in values:
        if value[0] in inlined:
            value_entries += value if len(value) == entry_bytes else _extended(value, entry_bytes)
            continue
        if offset > offset_max:
            return None
        value_entries += VALUE_ENTRY[large].pack(value[0], offset)
        bodies.append(memoryview(value)[1:])
        offset += len(value) - 1
    if offset > offset_max:
        return None
    head = bytes([kind + large]) + COUNT_AND_SIZE[large].pack(count, offset)
    return b"".join((head, key_entries, value_entries, *keys, *bodies))


def _extended(value: bytes, size: int) -> bytes:
    """A short value in a longer place: integers keep their sign."""
    negative = value[0] == _T.INT16 and value[2] & 0x80
    return value.ljust(size, b"\xff" if negative else b"\0")
