"""Python values to the bytes a server puts into a row image: the way back of `capture.cells`; here for numbers.

Written are the formats of MySQL 5.6 and later. What a column cannot hold is refused with one sentence naming table and
column; nothing is cut, wrapped or guessed. Like MySQL, a number is rounded to the digits of its column. Texts and bytes
are in `capture.text_values`, dates and times in `capture.temporal_values`.
"""

import math
import struct
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import date, time, timedelta
from decimal import ROUND_HALF_UP, Context, Decimal, InvalidOperation
from itertools import pairwise
from typing import Any, NamedTuple

from msgspec import Struct

from capture.cells import DECIMAL_GROUP_BYTES, DECIMAL_GROUP_DIGITS, ColumnShape
from capture.charsets import Charsets
from capture.errors import ValueRefused
from capture.table import Column
from capture.table_map import FieldType

Value = (
    int
    | float
    | str
    | bytes
    | Decimal
    | date
    | time
    | timedelta
    | Sequence[Any]
    | AbstractSet[str]
    | Mapping[str, Any]
    | None
)
"""What callers may give for a column: a datetime is a date, a SET takes its labels as a sequence or set too, and JSON
text or any value that JSON has."""


class BinlogType(NamedTuple):
    """How TABLE_MAP describes a column: type code and metadata, as in TableMapEvent."""

    field_type: FieldType
    metadata: int = 0


class ValueWriter(Struct, frozen=True):
    """The two halves of writing a column type: its description, and a value's bytes. `write` raises Misfit."""

    describe: Callable[[Column, Charsets], BinlogType]
    write: Callable[[ColumnShape, Value], bytes]


class Misfit(ValueError):
    """Why a value does not fit, as half a sentence; `write_value` adds which column and which value."""


def write_value(writer: ValueWriter, shape: ColumnShape, value: Value, table: str) -> bytes:
    """The bytes of a value that is not None. Raises ValueRefused."""
    try:
        return writer.write(shape, value)
    except (Misfit, InvalidOperation) as error:
        why = str(error) if isinstance(error, Misfit) else "it is not a number"
        name = f"{table}.{shape.column.name} {type_name(shape.column)}"
        raise ValueRefused(f"{shown_value(value)} does not fit {name}: {why}.") from None


def type_name(column: Column) -> str:
    """A column's type as SQL has it, without labels and character set."""
    name = column.data_type.upper()
    if column.precision is not None:
        name += f"({column.precision},{column.scale or 0})"
    elif column.length is not None or column.fsp:
        name += f"({column.length or column.fsp})"
    return f"{name} UNSIGNED" if column.unsigned else name


def shown_value(value: object) -> str:
    """A value in a message, cut where it is long; of one that has no text, its type."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):
        return f"this {type(value).__name__}"
    return text if len(text) <= 60 else f"{text[:57]}…"


# Integers


def integer_writer(field_type: FieldType, size: int) -> ValueWriter:
    """TINYINT to BIGINT: `size` bytes, little endian."""

    def write(shape: ColumnShape, value: Value) -> bytes:
        if not isinstance(value, int):
            raise Misfit("an integer is needed")
        unsigned = shape.column.unsigned
        first, last = (0, (1 << 8 * size) - 1) if unsigned else (-1 << 8 * size - 1, (1 << 8 * size - 1) - 1)
        if not first <= value <= last:
            raise Misfit(f"{shape.column.data_type.upper()}{' UNSIGNED' * unsigned} holds {first} to {last}")
        return value.to_bytes(size, "little", signed=not unsigned)

    return ValueWriter(lambda column, charsets: BinlogType(field_type), write)


# DECIMAL


def _write_decimal(shape: ColumnShape, value: Value) -> bytes:
    if not isinstance(value, int | float | str | Decimal):
        raise Misfit("a number is needed")
    precision, scale = shape.metadata >> 8, shape.metadata & 0xFF
    number = Decimal(repr(value) if isinstance(value, float) else value)
    if not number.is_finite():
        raise Misfit("a finite number is needed")
    if number and number.adjusted() >= precision - scale:
        raise Misfit(f"DECIMAL({precision},{scale}) has {precision - scale} digits before the point")
    exact = Context(prec=200)
    unscaled = int(number.quantize(Decimal(1).scaleb(-scale), ROUND_HALF_UP, exact).scaleb(scale, exact))
    if abs(unscaled) >= 10**precision:
        raise Misfit(f"DECIMAL({precision},{scale}) has {precision - scale} digits before the point")
    if unscaled < 0 and shape.column.unsigned:
        raise Misfit("the column is UNSIGNED")
    return decimal_image(unscaled, precision, scale)


def decimal_image(unscaled: int, precision: int, scale: int) -> bytes:
    """The bytes of a DECIMAL of so many digits, given without its point."""
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


# FLOAT, DOUBLE and BIT


def _real(shape: ColumnShape, value: Value) -> float:
    """A finite number that the column takes, rounded as it does."""
    if not isinstance(value, int | float | Decimal):
        raise Misfit("a number is needed")
    try:
        number = float(value)
    except (OverflowError, ValueError):
        number = math.inf
    if not math.isfinite(number):
        raise Misfit("a finite number is needed")
    column = shape.column
    if number < 0 and column.unsigned:
        raise Misfit("the column is UNSIGNED")
    return rounded_real(column, number)


def rounded_real(column: Column, number: float) -> float:
    """A finite number as FLOAT(m,d) or DOUBLE(m,d) has it; as it is where the column has no digits. Raises Misfit."""
    if column.precision is None or column.scale is None:
        return number
    unit, whole = 10.0**column.scale, math.floor(number)
    rounded = whole + round((number - whole) * unit) / unit
    if abs(rounded) >= 10.0 ** (column.precision - column.scale):
        raise Misfit(f"the column has {column.precision - column.scale} digits before the point")
    return rounded


def _write_float(shape: ColumnShape, value: Value) -> bytes:
    number = _real(shape, value)
    try:
        return struct.pack("<f", number)
    except OverflowError:
        raise Misfit("a FLOAT holds up to 3.4028234663852886e+38") from None


FLOAT_WRITER = ValueWriter(lambda column, charsets: BinlogType(FieldType.FLOAT, 4), _write_float)
DOUBLE_WRITER = ValueWriter(
    lambda column, charsets: BinlogType(FieldType.DOUBLE, 8),
    lambda shape, value: struct.pack("<d", _real(shape, value)),
)


def _bits(column: Column) -> int:
    return 1 if column.length is None else column.length


def _write_bit(shape: ColumnShape, value: Value) -> bytes:
    if not isinstance(value, int | bytes):
        raise Misfit("an integer is needed, or its bytes")
    bits = _bits(shape.column)
    if isinstance(value, bytes):
        value = int.from_bytes(value, "big")
    if not 0 <= value < 1 << bits:
        raise Misfit(f"BIT({bits}) holds 0 to {(1 << bits) - 1}")
    return value.to_bytes((bits + 7) // 8, "big")


BIT_WRITER = ValueWriter(
    lambda column, charsets: BinlogType(FieldType.BIT, _bits(column) % 8 << 8 | _bits(column) // 8), _write_bit
)
