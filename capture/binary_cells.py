"""Code of the columns that hold bytes without a character set, and of FLOAT and DOUBLE: BinaryObject and Float cells.

As `capture.cells` for the other types. BINARY(n) arrives without the zero bytes at its end and gets them back, so that
a cell has the n bytes that a SELECT shows. A DOUBLE's eight bytes are Avro's own; a FLOAT becomes the double that is
written with the fewest digits among those that the server would store as the same FLOAT (0.1, not 0.10000000149).
"""

import math
import struct
from collections.abc import Callable
from functools import cache

from capture.avro_text import TextCache, from_bytes, string, zigzag
from capture.cells import BINARY_OBJECT, FLOAT, TEXT_SLICE, CellCode, ColumnShape, Fixed, literal
from capture.errors import MalformedEvent
from capture.operation import Operation
from capture.table_map import string_real_type

FLOAT_DIGITS = zigzag(8) + zigzag(15)
"""Precision and scale of every Float: the constants that the service's own producer writes."""

_FLOAT32 = struct.Struct("<f")
_DOUBLE = struct.Struct("<d")
_EXACT_DIGITS = 6
"""FLT_DIG: a number of so many digits survives the way into a normal FLOAT and back; a subnormal one keeps fewer."""
_DIGITS_MAX = 9
_EXPONENT_MASK = 0x7F800000


def shortest_double(bits: int) -> float:
    """The double with the fewest decimal digits that rounds to the FLOAT of these 32 bits. Raises MalformedEvent."""
    exponent = bits & _EXPONENT_MASK
    if exponent == _EXPONENT_MASK:
        raise MalformedEvent(f"A FLOAT has the bits {bits:#010x}, which are no number.")
    image = bits.to_bytes(4, "little")
    (exact,) = _FLOAT32.unpack(image)
    for digits in range(_EXACT_DIGITS if exponent else 1, _DIGITS_MAX):
        short = float(f"{exact:.{digits}g}")
        if _packed(short) == image:
            return short
        beyond = _next_decimal(exact, digits)  # a power of two has more room above than below
        if _packed(beyond) == image:
            return beyond
    return float(f"{exact:.{_DIGITS_MAX}g}")


def _next_decimal(exact: float, digits: int) -> float:
    """The number of so many digits that comes after `exact`, away from zero."""
    mantissa, _, exponent = f"{abs(exact):.{digits - 1}e}".partition("e")
    whole = int(mantissa.replace(".", "")) + (float(f"{mantissa}e{exponent}") <= abs(exact))
    return math.copysign(float(f"{whole}e{int(exponent) - digits + 1}"), exact)


def _packed(value: float) -> bytes | None:
    try:
        return _FLOAT32.pack(value)
    except OverflowError:
        return None


def _float_cell(bits: int) -> str:
    return FLOAT + from_bytes(_DOUBLE.pack(shortest_double(bits))) + FLOAT_DIGITS


_float_cells = TextCache(_float_cell)


def float_(shape: ColumnShape) -> CellCode:
    """FLOAT: IEEE 754, four bytes, little endian."""
    value = f"v{shape.index}_0"
    operation = Operation("mapped", 4, cells=_float_cells)
    fixed = (Fixed("<", "I", 4, value),)
    return CellCode(f"{{floats[{value}]}}", fixed, objects={"floats": _float_cells}, operation=operation)


def double(shape: ColumnShape) -> CellCode:
    """DOUBLE: IEEE 754, eight bytes, little endian, as Avro has it."""
    value = f"v{shape.index}_0"
    cell = f"{literal(FLOAT)}{{{value}}}{literal(FLOAT_DIGITS)}"
    operation = Operation("copied", 8, start=FLOAT, end=FLOAT_DIGITS)
    return CellCode(cell, (Fixed(TEXT_SLICE, "", 8, value),), operation=operation)


@cache
def _object_starts(object_type: str) -> TextCache[int]:
    """What comes before the bytes of a BinaryObject, by their number."""
    start = BINARY_OBJECT + string(object_type)
    return TextCache(lambda length: start + zigzag(length))


def binary_object(object_type: str, length_bytes: Callable[[ColumnShape], int]) -> Callable[[ColumnShape], CellCode]:
    """VARBINARY and the BLOB types: a length of 1 to 4 bytes, little endian, and the bytes."""

    def generate(shape: ColumnShape) -> CellCode:
        i, starts = shape.index, f"{object_type.lower()}_object_starts"  # `binary` is a charset too
        objects: dict[str, object] = {starts: _object_starts(object_type)}
        operation = Operation("counted", length_bytes(shape), start=BINARY_OBJECT + string(object_type))
        cell = f"{{{starts}[n{i}]}}{{c{i}}}"
        return CellCode(cell, (), length_bytes(shape), objects=objects, operation=operation)

    return generate


def binary(shape: ColumnShape) -> CellCode:
    """BINARY(n): a length of one byte, two if n > 255, the bytes up to the last that is not zero, and none of the rest.

    Longer than n raises IndexError in the generated code.
    """
    i, (_, size) = shape.index, string_real_type(shape.metadata)
    start = BINARY_OBJECT + string("BINARY") + zigzag(size)
    objects: dict[str, object] = {f"zeros{size}": _zeros(size)}
    operation = Operation("padded", string_length_bytes(shape), size, start)
    cell = f"{literal(start)}{{c{i}}}{{zeros{size}[n{i}]}}"
    return CellCode(cell, (), string_length_bytes(shape), objects=objects, operation=operation)


@cache
def _zeros(size: int) -> list[str]:
    """What is missing to `size` bytes, by the bytes that are there."""
    return ["\0" * (size - length) for length in range(size + 1)]


def string_length_bytes(shape: ColumnShape) -> int:
    """The length of a CHAR or BINARY takes one byte if no value can be longer than 255 bytes."""
    return 1 if string_real_type(shape.metadata)[1] < 0x100 else 2
