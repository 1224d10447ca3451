"""A record's cells as Python values, read from their Avro bytes.

    MySQL type                              class              Python
    integers, BIT, BOOLEAN                  Integer            int
    DECIMAL                                 Decimal            Decimal, with its declared scale
    FLOAT, DOUBLE                           Float              float
    CHAR, VARCHAR, TEXT                     Character          str; bytes if they are not valid in their charset, or
                                                               Python has no codec for it
    BINARY, VARBINARY, BLOB                 BinaryObject       bytes
    DATE, DATETIME, YEAR, TIME              DateTime           date, datetime without zone, int, timedelta
    TIMESTAMP                               Timestamp          datetime in UTC
    ENUM, SET                               TextObject         str, frozenset of str
    JSON                                    TextObject         what json.loads makes of it; a number that no float is
                                                               equal to is a Decimal
    spatial types                           BinaryGeometry     bytes: WKB

NULL is None, so JSON's null cannot be told from it here. A day that is in no calendar, as 0000-00-00, is its text. A
column that the row image lacks is `ABSENT`, an EmptyObject. What MySQL sources never send is read as plainly: a
TextGeometry as str, a TimestampWithTimeZone as str.

A reader takes all bytes and where the cell's begin, and returns its value and where they end; it raises ValueError,
ArithmeticError or IndexError.
"""

from __future__ import annotations

import json
import struct
from codecs import charmap_decode
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    Reader = Callable[[bytes, int], tuple[Any, int]]

ABSENT: Final = object()

_LONG_BITS: Final = 64
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_DOUBLE: Final = struct.Struct("<d")

# MySQL's character sets under the names of Python's codecs; its ucs2 and utf16 are big-endian.
CODECS: Final = {
    "ascii": "ascii",
    "big5": "big5",
    "cp1250": "cp1250",
    "cp1251": "cp1251",
    "cp1256": "cp1256",
    "cp1257": "cp1257",
    "cp850": "cp850",
    "cp852": "cp852",
    "cp866": "cp866",
    "cp932": "cp932",
    "eucjpms": "euc_jp",
    "euckr": "cp949",
    "gb18030": "gb18030",
    "gb2312": "gb2312",
    "gbk": "gbk",
    "greek": "iso8859_7",
    "hebrew": "iso8859_8",
    "hp8": "hp_roman8",
    "koi8r": "koi8_r",
    "koi8u": "koi8_u",
    "latin1": "latin1",
    "latin2": "iso8859_2",
    "latin5": "iso8859_9",
    "latin7": "iso8859_13",
    "macce": "mac_latin2",
    "macroman": "mac_roman",
    "sjis": "shift_jis",
    "tis620": "tis_620",
    "ucs2": "utf_16_be",
    "ujis": "euc_jp",
    "utf16": "utf_16_be",
    "utf16le": "utf_16_le",
    "utf32": "utf_32_be",
    "utf8": "utf-8",
    "utf8mb3": "utf-8",
    "utf8mb4": "utf-8",
}


# MySQL's latin1 is Windows-1252, and each of the five bytes that this has not is the control character of its number
# (strings/ctype-latin1.cc of MySQL 8.0.36).
_LATIN1: Final = "".join(
    chr(byte) if byte in (0x81, 0x8D, 0x8F, 0x90, 0x9D) else bytes([byte]).decode("cp1252") for byte in range(256)
)


class RecordError(ValueError):
    """Bytes are no record; the message says why."""


def boundary(at: int) -> ValueError:
    """What is wrong where the number of a class was expected."""
    return ValueError(f"no class of values has the number at byte {at}")


# ---- Avro's own types ----


def long(data: bytes, at: int) -> tuple[int, int]:
    """A number: seven bits a byte, the least significant ones first, the sign in the lowest bit."""
    byte = data[at]
    at += 1
    if byte < 0x80:
        return (byte >> 1) ^ -(byte & 1), at
    number, shift = byte & 0x7F, 7
    while byte >= 0x80:
        byte = data[at]
        at += 1
        number |= (byte & 0x7F) << shift
        shift += 7
        if shift > _LONG_BITS + 6:
            raise ValueError(f"the number that ends at byte {at} is too long")
    if number >> _LONG_BITS:
        raise ValueError(f"the number that ends at byte {at} has more than {_LONG_BITS} bits")
    return (number >> 1) ^ -(number & 1), at


def octets(data: bytes, at: int) -> tuple[bytes, int]:
    """Bytes with their length before them."""
    length, start = long(data, at)
    end = start + length
    if length < 0 or end > len(data):
        raise ValueError(f"{length} bytes cannot follow byte {start} of {len(data)}")
    return data[start:end], end


def text(data: bytes, at: int) -> tuple[str, int]:
    """A string."""
    content, at = octets(data, at)
    return content.decode(), at


# ---- cells ----


def _null(data: bytes, at: int) -> tuple[None, int]:
    return None, at


def _integer(data: bytes, at: int) -> tuple[int, int]:
    _, at = long(data, at)
    digits, at = octets(data, at)
    return int(digits), at


def _character(data: bytes, at: int) -> tuple[str | bytes, int]:
    charset, at = text(data, at)
    content, at = octets(data, at)
    codec = CODECS.get(charset)
    if codec is None:
        return content, at
    try:
        return (charmap_decode(content, "strict", _LATIN1)[0] if charset == "latin1" else content.decode(codec)), at
    except UnicodeDecodeError:
        return content, at


def _decimal(data: bytes, at: int) -> tuple[Decimal, int]:
    digits, at = text(data, at)
    _, at = long(data, at)
    _, at = long(data, at)
    return Decimal(digits), at


def _float(data: bytes, at: int) -> tuple[float, int]:
    end = at + _DOUBLE.size
    if end > len(data):
        raise IndexError
    (number,) = _DOUBLE.unpack_from(data, at)
    _, at = long(data, end)
    _, at = long(data, at)
    return number, at


def _timestamp(data: bytes, at: int) -> tuple[datetime | str, int]:
    seconds, at = long(data, at)
    microseconds, at = long(data, at)
    if seconds == 0 and microseconds == 0:
        return "0000-00-00 00:00:00", at
    return _EPOCH + timedelta(seconds=seconds, microseconds=microseconds), at


def _date_time(data: bytes, at: int) -> tuple[date | int | timedelta | str, int]:
    """DATE, DATETIME, TIME or YEAR, told apart by which parts are there; every part of a negative TIME is negative."""
    start, parts = at, []
    for _ in range(7):
        branch, at = long(data, at)
        part = None
        if branch == 1:
            part, at = long(data, at)
        elif branch:
            raise ValueError(f"the number {branch} before byte {at} stands for none of null, a part of a time")
        parts.append(part)
    year, month, day, hour, minute, second, microsecond = parts
    if hour is not None and minute is not None and second is not None:
        time = timedelta(hours=hour, minutes=minute, seconds=second, microseconds=microsecond or 0)
        if year is None and month is None and day is None:
            return time, at
        if year is not None and month is not None and day is not None:
            clock = (hour, minute, second, microsecond or 0)
            try:
                return datetime(year, month, day, *clock), at  # noqa: DTZ001 — a DATETIME has no zone
            except ValueError:
                return f"{year:04d}-{month:02d}-{day:02d} {_clock_text(*clock)}", at
    elif hour is None and minute is None and second is None and year is not None:
        if month is None and day is None:
            return year, at
        if month is not None and day is not None:
            try:
                return date(year, month, day), at
            except ValueError:
                return f"{year:04d}-{month:02d}-{day:02d}", at
    raise ValueError(f"the parts {parts} at byte {start} make neither a day nor a time")


def _clock_text(hour: int, minute: int, second: int, microsecond: int) -> str:
    return f"{hour:02d}:{minute:02d}:{second:02d}" + (f".{microsecond:06d}" if microsecond else "")


def _zoned(data: bytes, at: int) -> tuple[str, int]:
    moment, at = _date_time(data, at)
    zone, at = text(data, at)
    return f"{moment} {zone}", at


def _geometry_text(data: bytes, at: int) -> tuple[str, int]:
    _, at = text(data, at)
    return text(data, at)


def _binary(data: bytes, at: int) -> tuple[bytes, int]:
    _, at = text(data, at)
    return octets(data, at)


def _text_object(data: bytes, at: int) -> tuple[Any, int]:
    kind, at = text(data, at)
    content, at = text(data, at)
    kind = kind.upper()
    if kind == "JSON":
        return json.loads(content, parse_float=_json_number, parse_constant=_no_json_number), at
    if kind == "SET":
        return frozenset(content.split(",")) if content else frozenset(), at
    return content, at


def _json_number(digits: str) -> float | Decimal:
    exact = Decimal(digits)
    number = float(digits)
    return number if Decimal(repr(number)) == exact else exact


def _no_json_number(name: str) -> float:
    raise ValueError(f"{name} is no number of JSON's")


def _empty(data: bytes, at: int) -> tuple[object, int]:
    number, end = long(data, at)
    if number not in (0, 1):
        raise boundary(at)
    return (None, ABSENT)[number], end


# By their numbers in the union of a cell.
READERS: Final[tuple[Reader, ...]] = (
    _null,
    _integer,
    _character,
    _decimal,
    _float,
    _timestamp,
    _date_time,
    _zoned,
    _binary,
    _geometry_text,
    _binary,
    _text_object,
    _empty,
)
