"""Python values to the bytes a server puts into a row image: the way back of `capture.cells`.

Written are the formats of MySQL 5.6 and later. What a column cannot hold is refused with one sentence naming table and
column; nothing is cut, wrapped or guessed. Like MySQL, a DECIMAL, DATETIME or TIMESTAMP is rounded to the digits of
its column. A TIMESTAMP without time zone counts as UTC. Bytes given for a text column are taken as they are.
"""

import codecs
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Context, Decimal, InvalidOperation
from itertools import pairwise
from typing import NamedTuple

from capture.cells import DECIMAL_GROUP_BYTES, DECIMAL_GROUP_DIGITS, ColumnShape
from capture.charsets import Charsets
from capture.errors import ValueRefused
from capture.table import Column
from capture.table_map import FieldType
from capture.temporal_cells import FRACTION_UNIT_US

Value = int | float | str | bytes | Decimal | datetime | None
"""What callers may give for a column."""


class BinlogType(NamedTuple):
    """How TABLE_MAP describes a column: type code and metadata, as in TableMapEvent."""

    field_type: FieldType
    metadata: int = 0


@dataclass(frozen=True, slots=True)
class ValueWriter:
    """The two halves of writing a column type: its description, and a value's bytes. `write` raises _Misfit."""

    describe: Callable[[Column, Charsets], BinlogType]
    write: Callable[[ColumnShape, Value], bytes]


class _Misfit(ValueError):
    """Why a value does not fit; `write_value` adds which column and which value."""


def write_value(writer: ValueWriter, shape: ColumnShape, value: Value, table: str) -> bytes:
    """The bytes of a value that is not None. Raises ValueRefused."""
    try:
        return writer.write(shape, value)
    except (_Misfit, InvalidOperation) as error:
        why = str(error) if isinstance(error, _Misfit) else "it is not a number"
        raise ValueRefused(f"{_shown(value)} does not fit {table}.{shape.column.name}: {why}.") from None


def _shown(value: Value) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


# Integers


def integer_writer(field_type: FieldType, size: int) -> ValueWriter:
    """TINYINT to BIGINT: `size` bytes, little endian."""

    def write(shape: ColumnShape, value: Value) -> bytes:
        if not isinstance(value, int):
            raise _Misfit("an integer is needed")
        unsigned = shape.column.unsigned
        first, last = (0, (1 << 8 * size) - 1) if unsigned else (-1 << 8 * size - 1, (1 << 8 * size - 1) - 1)
        if not first <= value <= last:
            raise _Misfit(f"{shape.column.data_type.upper()}{' UNSIGNED' * unsigned} holds {first} to {last}")
        return value.to_bytes(size, "little", signed=not unsigned)

    return ValueWriter(lambda column, charsets: BinlogType(field_type), write)


# DECIMAL


def _write_decimal(shape: ColumnShape, value: Value) -> bytes:
    if not isinstance(value, int | float | str | Decimal):
        raise _Misfit("a number is needed")
    precision, scale = shape.metadata >> 8, shape.metadata & 0xFF
    number = Decimal(repr(value) if isinstance(value, float) else value)
    if not number.is_finite():
        raise _Misfit("a finite number is needed")
    exact = Context(prec=max(200, number.adjusted() + scale + 2))
    unscaled = int(number.quantize(Decimal(1).scaleb(-scale), ROUND_HALF_UP, exact).scaleb(scale, exact))
    if abs(unscaled) >= 10**precision:
        raise _Misfit(f"DECIMAL({precision},{scale}) has {precision - scale} digits before the point")
    if unscaled < 0 and shape.column.unsigned:
        raise _Misfit("the column is UNSIGNED")
    return _decimal_image(unscaled, precision, scale)


def _decimal_image(unscaled: int, precision: int, scale: int) -> bytes:
    digits = f"{abs(unscaled):0{precision}d}"
    point = precision - scale
    first = point % DECIMAL_GROUP_DIGITS
    cuts = [0, *range(first, point, DECIMAL_GROUP_DIGITS), *range(point, precision, DECIMAL_GROUP_DIGITS), precision]
    image = bytearray()
    for start, end in pairwise(cuts):
        image += int(digits[start:end] or 0).to_bytes(DECIMAL_GROUP_BYTES[end - start], "big")
    image[0] ^= 0x80
    return bytes(byte ^ 0xFF for byte in image) if unscaled < 0 else bytes(image)


def _describe_decimal(column: Column, charsets: Charsets) -> BinlogType:
    precision = 10 if column.precision is None else column.precision
    return BinlogType(FieldType.NEWDECIMAL, precision << 8 | (column.scale or 0))


DECIMAL_WRITER = ValueWriter(_describe_decimal, _write_decimal)


# Text

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


def _encoded(column: Column, value: Value) -> bytes:
    if isinstance(value, bytes):
        return value
    if not isinstance(value, str):
        raise _Misfit("a str is needed, or bytes in the column's character set")
    charset = column.charset or "binary"
    try:
        encoded = value.encode(codecs.lookup(_CODECS.get(charset, charset)).name)
    except LookupError:
        raise _Misfit(f"give bytes, as Python does not know the character set {charset}") from None
    except UnicodeEncodeError as error:
        raise _Misfit(f"{charset} has no {value[error.start]!r}") from None
    beyond = next((one for one in value if one > "\uffff"), None) if charset in _THREE_BYTE_CHARSETS else None
    if beyond is not None:
        raise _Misfit(f"{charset} has no {beyond!r}")
    return encoded


def _describe_varchar(column: Column, charsets: Charsets) -> BinlogType:
    characters = 0 if column.length is None else column.length
    return BinlogType(FieldType.VARCHAR, characters * charsets.bytes_per_character_max(column.charset or "binary"))


def _write_varchar(shape: ColumnShape, value: Value) -> bytes:
    encoded = _encoded(shape.column, value)
    length = shape.column.length or 0
    if len(encoded) > shape.metadata or (isinstance(value, str) and len(value) > length):
        raise _Misfit(f"VARCHAR({length}) holds {length} characters")
    return len(encoded).to_bytes(1 if shape.metadata < 0x100 else 2, "little") + encoded


VARCHAR_WRITER = ValueWriter(_describe_varchar, _write_varchar)

_TEXT_LENGTH_BYTES = {"tinytext": 1, "text": 2, "mediumtext": 3, "longtext": 4}


def _write_text(shape: ColumnShape, value: Value) -> bytes:
    encoded, size = _encoded(shape.column, value), shape.metadata
    if len(encoded) >= 1 << 8 * size:
        raise _Misfit(f"{shape.column.data_type.upper()} holds {(1 << 8 * size) - 1} bytes")
    return len(encoded).to_bytes(size, "little") + encoded


TEXT_WRITER = ValueWriter(
    lambda column, charsets: BinlogType(FieldType.BLOB, _TEXT_LENGTH_BYTES[column.data_type]), _write_text
)


# DATETIME and TIMESTAMP

_MOMENT = re.compile(r"(\d{4})-(\d\d)-(\d\d)[ T](\d\d):(\d\d):(\d\d)(?:\.(\d{1,6}))?")
_TIMESTAMP_MAX = datetime(2038, 1, 19, 3, 14, 7, 999999, tzinfo=UTC)
_TIMESTAMP_RANGE = "a TIMESTAMP holds 1970-01-01 00:00:01 to 2038-01-19 03:14:07 UTC"
_UNIX_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _moment(value: Value, fsp: int) -> datetime | tuple[int, ...]:
    """A datetime rounded to `fsp` digits; zero and partial dates, which Python has not, as their seven numbers."""
    if isinstance(value, str):
        match = _MOMENT.fullmatch(value)
        if match is None:
            raise _Misfit("a text of the form 'YYYY-MM-DD hh:mm:ss' is needed")
        *whole, fraction = match.groups()
        numbers = (*map(int, whole), int((fraction or "").ljust(6, "0")))
        if numbers[3] > 23 or numbers[4] > 59 or numbers[5] > 59:
            raise _Misfit("there is no such time of day")
        if 0 in numbers[:3]:
            return _partial_date(numbers, fsp)
        try:
            value = datetime(*numbers)  # type: ignore[arg-type]  # noqa: DTZ001  DATETIME has no time zone
        except ValueError:
            raise _Misfit("there is no such date") from None
    if not isinstance(value, datetime):
        raise _Misfit("a datetime or a text of the form 'YYYY-MM-DD hh:mm:ss' is needed")
    unit = 10 ** (6 - fsp)
    try:
        rounded = value + timedelta(microseconds=unit // 2)
    except OverflowError:
        raise _Misfit("it is after the year 9999 when rounded") from None
    return rounded.replace(microsecond=rounded.microsecond // unit * unit)


def _partial_date(numbers: tuple[int, ...], fsp: int) -> tuple[int, ...]:
    if numbers[1] > 12 or numbers[2] > 31:
        raise _Misfit("there is no such date")
    if numbers[6] % 10 ** (6 - fsp):
        raise _Misfit(f"a date with zeros is not rounded to {fsp} digits")
    return numbers


def _fraction_image(microseconds: int, fsp: int) -> bytes:
    return (microseconds // FRACTION_UNIT_US[fsp]).to_bytes((fsp + 1) // 2, "big") if fsp else b""


def _write_datetime(shape: ColumnShape, value: Value) -> bytes:
    moment = _moment(value, shape.metadata)
    if isinstance(moment, datetime):
        if moment.tzinfo is not None:
            raise _Misfit("a DATETIME has no time zone, give one without")
        moment = (*moment.timetuple()[:6], moment.microsecond)
    year, month, day, hour, minute, second, microseconds = moment
    packed = (year * 13 + month) << 22 | day << 17 | hour << 12 | minute << 6 | second
    return (1 << 39 | packed).to_bytes(5, "big") + _fraction_image(microseconds, shape.metadata)


def _write_timestamp(shape: ColumnShape, value: Value) -> bytes:
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            value = _UNIX_EPOCH + timedelta(microseconds=round(Decimal(repr(value)) * 1_000_000))
        except (OverflowError, ValueError):
            raise _Misfit(_TIMESTAMP_RANGE) from None
    moment = _moment(value, shape.metadata)
    if isinstance(moment, tuple):
        if any(moment):
            raise _Misfit("a TIMESTAMP holds no partial dates")
        return struct.pack(">I", 0) + _fraction_image(0, shape.metadata)
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    since = moment - _UNIX_EPOCH
    if since < timedelta(seconds=1) or moment > _TIMESTAMP_MAX:
        raise _Misfit(_TIMESTAMP_RANGE)
    return struct.pack(">I", since // timedelta(seconds=1)) + _fraction_image(moment.microsecond, shape.metadata)


DATETIME_WRITER = ValueWriter(lambda column, charsets: BinlogType(FieldType.DATETIME2, column.fsp), _write_datetime)
TIMESTAMP_WRITER = ValueWriter(lambda column, charsets: BinlogType(FieldType.TIMESTAMP2, column.fsp), _write_timestamp)
