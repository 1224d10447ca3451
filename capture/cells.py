"""Code of one column: row image bytes in, the Avro cell of its value out, as lines of Python source.

A row image is a null bitmap and the values of the columns that are not NULL, back to back. For each column a
`CellCode` says which fixed-size fields to unpack, whether a length and bytes follow, which lines compute the cell from
them, and the pieces of f-string text that are the cell. `capture.transcoder` puts the columns together.

Names: `v<i>_<k>` are the unpacked fields of column i, `n<i>` its length, `c<i>` its bytes as Latin-1 text. Formats are
those of MySQL's field.cc, decimal.cc and my_time.cc; what each value becomes is §2 of the record format: an
Integer has the bytes of its type as precision, a Decimal the digits of its value, a DateTime and a Timestamp
microseconds in `millis`.
"""

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

from msgspec import Struct

from capture.avro_text import (
    TextCache,
    string,
    to_bytes,
    zigzag,
)
from capture.errors import MalformedEvent
from capture.operation import Operation
from capture.table import Column

INTEGER, CHARACTER, DECIMAL, FLOAT, TIMESTAMP, DATETIME = (zigzag(index) for index in (1, 2, 3, 4, 5, 6))
BINARY_OBJECT, TEXT_OBJECT = zigzag(10), zigzag(11)
"""Union indexes of an image's cell."""
NULL_CELL = zigzag(0)
ABSENT_CELL = zigzag(12) + zigzag(1)
"""EmptyObject NONE: the row image has no such column."""

DECIMAL_GROUP_DIGITS = 9
DECIMAL_GROUP_BYTES = (0, 1, 1, 2, 2, 3, 3, 4, 4, 4)
"""Bytes of a DECIMAL's group of 0 to 9 digits (`dig2bytes` of decimal.cc)."""


class ColumnShape(Struct, frozen=True):
    """A column as the binlog carries it: index in the table, definition, FieldType code and metadata of TABLE_MAP."""

    index: int
    column: Column
    field_type: int
    metadata: int


TEXT_SLICE = "text"
"""Byte order of a Fixed that is not unpacked: its bytes are taken as Latin-1 text."""


class Fixed(NamedTuple):
    """A field of fixed size: byte order (`<`, `>` or TEXT_SLICE), struct code, size in bytes, the name it goes into."""

    order: str
    code: str
    size: int
    name: str


class CellCode(Struct, frozen=True):
    """How to make one cell. `objects` are what the generated source refers to by name; `operation` is the accelerator's
    way, None where there is no other than this code.
    """

    cell: str
    fixed: tuple[Fixed, ...] = ()
    length_bytes: int = 0
    lines: tuple[str, ...] = ()
    objects: dict[str, object] = {}
    operation: Operation | None = None


def literal(text: str) -> str:
    """Text as the body of an f-string literal in double quotes."""
    return "".join(
        character if " " < character < "~" and character not in '"\\{}' else f"\\x{ord(character):02x}"
        for character in text
    )


_INTEGER_CODES = {1: "b", 2: "h", 4: "i", 8: "q"}
_INTEGER_DIGITS_MAX = 20


@cache
def _integer_starts(size: int) -> list[str]:
    """What comes before the digits of an Integer, by the length of the digits.

    The precision is the bytes of the type; 3 for MEDIUMINT and (n+7)/8 for BIT(n) are choices, no capture shows them.
    """
    precision = zigzag(size)
    return [INTEGER + precision + zigzag(length) for length in range(_INTEGER_DIGITS_MAX + 1)]


def _integer_cell(value: int, size: int) -> str:
    digits = str(value)
    return _integer_starts(size)[len(digits)] + digits


@cache
def _tinyint_cells(unsigned: bool) -> list[str]:
    """The cell of every TINYINT, by its byte."""
    return [_integer_cell(byte if unsigned or byte < 0x80 else byte - 0x100, 1) for byte in range(0x100)]


@cache
def _tinyint_labels(unsigned: bool) -> tuple[bytes, ...]:
    return tuple(map(to_bytes, _tinyint_cells(unsigned)))


def _byte(unsigned: bool) -> Operation:
    return Operation("label", 1, cells=_tinyint_labels(unsigned))


def tinyint(shape: ColumnShape) -> CellCode:
    """TINYINT: one byte, looked up."""
    table, value = f"tinyints{'_unsigned' * shape.column.unsigned}", f"v{shape.index}_0"
    objects: dict[str, object] = {table: _tinyint_cells(shape.column.unsigned)}
    operation = _byte(shape.column.unsigned)
    return CellCode(f"{{{table}[{value}]}}", (Fixed("<", "B", 1, value),), objects=objects, operation=operation)


def integer(size: int) -> Callable[[ColumnShape], CellCode]:
    """SMALLINT, INT and BIGINT: `size` bytes, little endian, two's complement unless UNSIGNED."""

    def generate(shape: ColumnShape) -> CellCode:
        i, code = shape.index, _INTEGER_CODES[size]
        fixed = Fixed("<", code.upper() if shape.column.unsigned else code, size, f"v{i}_0")
        return _digits(i, size, (fixed,), f"v{i}_0", signed=not shape.column.unsigned)

    return generate


def mediumint(shape: ColumnShape) -> CellCode:
    """MEDIUMINT: three bytes, little endian."""
    i = shape.index
    high = Fixed("<", "B" if shape.column.unsigned else "b", 1, f"v{i}_1")
    fixed = Fixed("<", "H", 2, f"v{i}_0"), high
    return _digits(i, 3, fixed, f"v{i}_0 | v{i}_1 << 16", signed=not shape.column.unsigned)


_BIG_ENDIAN_CODES = {1: "B", 2: "H", 3: "BH", 4: "I", 5: "BI", 6: "HI", 7: "BHI", 8: "Q"}
CODE_BYTES = {"B": 1, "H": 2, "I": 4, "Q": 8}


def big_endian(i: int, size: int, first: int = 0) -> tuple[tuple[Fixed, ...], str]:
    """An unsigned number of `size` bytes: its fields, named from `first` on, and the expression of its value."""
    codes = enumerate(_BIG_ENDIAN_CODES[size], first)
    fixed = tuple(Fixed(">", code, CODE_BYTES[code], f"v{i}_{k}") for k, code in codes)
    pieces, shift = [], 8 * size
    for one in fixed:
        shift -= 8 * one.size
        pieces.append(f"{one.name} << {shift}" if shift else one.name)
    return fixed, " | ".join(pieces)


def bit(shape: ColumnShape) -> CellCode:
    """BIT(n): (n + 7) / 8 bytes, big endian, as the unsigned number they are. Metadata: n % 8 and n / 8."""
    i, odd_bits, whole_bytes = shape.index, shape.metadata >> 8, shape.metadata & 0xFF
    size = whole_bytes + bool(odd_bits)
    if size == 1:
        objects: dict[str, object] = {"tinyints_unsigned": _tinyint_cells(True)}
        fields = (Fixed("<", "B", 1, f"v{i}_0"),)
        return CellCode(f"{{tinyints_unsigned[v{i}_0]}}", fields, objects=objects, operation=_byte(unsigned=True))
    fixed, value = big_endian(i, size)
    return _digits(i, size, fixed, value, signed=False)


def _digits(i: int, size: int, fixed: tuple[Fixed, ...], value: str, *, signed: bool) -> CellCode:
    starts = f"integer{size}_starts"
    big = any(one.order == ">" for one in fixed)
    return CellCode(
        f"{{{starts}[len(t{i})]}}{{t{i}}}",
        fixed,
        0,
        (f"t{i} = str({value})",),
        {starts: _integer_starts(size)},
        Operation("integer", size, int(signed), INTEGER + zigzag(size), big_endian=big),
    )


@cache
def _character_starts(charset: str) -> TextCache[int]:
    """What comes before the bytes of a Character, by their number."""
    start = CHARACTER + string(charset)
    return TextCache(lambda length: start + zigzag(length))


def character(length_bytes: Callable[[ColumnShape], int]) -> Callable[[ColumnShape], CellCode]:
    """CHAR, VARCHAR and the TEXT types: a length of 1 to 4 bytes, little endian, the bytes in the column's charset.

    A CHAR is in the binlog, and stays, without the spaces that fill it up.
    """

    def generate(shape: ColumnShape) -> CellCode:
        i, charset = shape.index, shape.column.charset or "binary"
        starts = f"{_identifier(charset)}_starts"
        objects: dict[str, object] = {starts: _character_starts(charset)}
        operation = Operation("counted", length_bytes(shape), start=CHARACTER + string(charset))
        return CellCode(f"{{{starts}[n{i}]}}{{c{i}}}", (), length_bytes(shape), (), objects, operation)

    return generate


def _identifier(name: str) -> str:
    """A charset's name as part of a Python name."""
    return "".join(character if character.isalnum() else "_" for character in name)


# DECIMAL


class _Group(NamedTuple):
    """Up to nine decimal digits of a DECIMAL: how many, and the fields they are unpacked from."""

    digits: int
    fixed: tuple[Fixed, ...]

    @property
    def value(self) -> str:
        """The expression of the group's number."""
        names = [one.name for one in self.fixed]
        return names[0] if len(names) == 1 else f"({names[0]} << 16 | {names[1]})"


def _groups(i: int, integer_digits: int, scale: int) -> tuple[list[_Group], list[_Group]]:
    """The groups before and after the decimal point: only the outermost of each side has less than nine digits."""
    full, rest = divmod(integer_digits, DECIMAL_GROUP_DIGITS)
    before = [rest] * bool(rest) + [DECIMAL_GROUP_DIGITS] * full
    full, rest = divmod(scale, DECIMAL_GROUP_DIGITS)
    after = [DECIMAL_GROUP_DIGITS] * full + [rest] * bool(rest)
    groups, k = [], 0
    for digits in before + after:
        codes = {1: "B", 2: "H", 3: "BH", 4: "I"}[DECIMAL_GROUP_BYTES[digits]]
        fixed = []
        for code in codes:
            fixed.append(Fixed(">", code, CODE_BYTES[code], f"v{i}_{k}"))
            k += 1
        groups.append(_Group(digits, tuple(fixed)))
    return groups[: len(before)], groups[len(before) :]


def decimal_text(image: bytes, precision: int, scale: int) -> str:
    """A DECIMAL's bytes as MySQL prints the value. The plain way, for what the generated code does not unroll."""
    negative = not image[0] & 0x80
    flipped = bytes(byte ^ 0xFF for byte in image) if negative else image
    groups_before, groups_after = _groups(0, precision - scale, scale)
    numbers, position = [], 0
    for group in (*groups_before, *groups_after):
        size = DECIMAL_GROUP_BYTES[group.digits]
        number = int.from_bytes(flipped[position : position + size], "big")
        if position == 0:
            number ^= 0x80 << 8 * (size - 1)
        position += size
        if number >= 10**group.digits:
            raise MalformedEvent(f"A DECIMAL({precision},{scale}) has the bytes {image.hex(' ')}, which are no digits.")
        numbers.append(f"{number:0{group.digits}d}")
    before = "".join(numbers[: len(groups_before)]).lstrip("0") or "0"
    after = "".join(numbers[len(groups_before) :])
    return f"{'-' * negative}{before}{'.' * bool(after)}{after}"


def decimal_cell(text: str, scale: int) -> str:
    """The Decimal cell of a number in MySQL's plain notation; precision = digits of the value, at least 1."""
    digits = text.lstrip("-").replace(".", "").lstrip("0")
    return DECIMAL + string(text) + zigzag(len(digits) or 1) + zigzag(scale)


def decimal(shape: ColumnShape) -> CellCode:
    """DECIMAL: big-endian groups of nine digits, the first bit inverted, all bits inverted if negative.

    Unrolled for values of 1 and more; negative ones and those below 1 are made from the groups the plain way, and kept.
    """
    i, precision, scale = shape.index, shape.metadata >> 8, shape.metadata & 0xFF
    before, after = _groups(i, precision - scale, scale)
    groups = [group.value for group in (*before, *after)]
    fixed = tuple(one for group in (*before, *after) for one in group.fixed)
    name = f"decimal{precision}_{scale}"
    operation = Operation("decimal", precision, scale, DECIMAL)
    objects: dict[str, object] = {f"{name}_rare": _rare_decimals(precision, scale)}
    rare = f"c{i} = {name}_rare[{', '.join(groups)},]"
    if not before:
        return CellCode(f"{{c{i}}}", fixed, 0, (rare,), objects, operation)
    starts, ends = _decimal_frame(precision, scale)
    objects |= {f"{name}_starts": starts, f"{name}_ends": ends}
    number = f"{before[0].value} - {_sign(before)}"
    for group in before[1:]:
        number = f"({number}) * {10**DECIMAL_GROUP_DIGITS} + {group.value}"
    conditions = [f"{before[0].value} >= {_sign(before)}", f"(v{i} := {number})"]
    conditions += [f"{group.value} < {10**group.digits}" for group in (*before[1:], *after)]
    fraction = "".join(f"{{{group.value}:0{group.digits}d}}" for group in after)
    if len(after) == 1 and after[0].digits == 2:
        fraction, objects["two_digits"] = f"{{two_digits[{after[0].value}]}}", _two_digits()
    point = "." * bool(after)
    common = f'f"{{{name}_starts[n{i}]}}{{t{i}}}{point}{fraction}{{{name}_ends[n{i}]}}"'
    lines = (
        f"if {' and '.join(conditions)}:",
        f"    t{i} = str(v{i}); n{i} = len(t{i})",
        f"    c{i} = {common}",
        "else:",
        f"    {rare}",
    )
    return CellCode(f"{{c{i}}}", fixed, 0, lines, objects, operation)


def _sign(before: list[_Group]) -> int:
    """The first bit of a DECIMAL, in the number of its first group."""
    return 0x80 << 8 * (DECIMAL_GROUP_BYTES[before[0].digits] - 1)


@cache
def _two_digits() -> list[str]:
    return [f"{number:02d}" for number in range(100)]


@cache
def _decimal_frame(precision: int, scale: int) -> tuple[list[str], list[str]]:
    """What comes before and after the text of a Decimal of 1 or more, by its digits before the point."""
    point_and_fraction = scale + bool(scale)
    lengths = range(precision - scale + 1)
    starts = [DECIMAL + zigzag(length + point_and_fraction) for length in lengths]
    return starts, [zigzag(length + scale) + zigzag(scale) for length in lengths]


@cache
def _rare_decimals(precision: int, scale: int) -> TextCache[tuple[int, ...]]:
    """Cells by the numbers of their groups, as unpacked."""
    before, after = _groups(0, precision - scale, scale)
    sizes = [DECIMAL_GROUP_BYTES[group.digits] for group in (*before, *after)]

    def make(numbers: tuple[int, ...]) -> str:
        image = b"".join(number.to_bytes(size, "big") for number, size in zip(numbers, sizes, strict=True))
        return decimal_cell(decimal_text(image, precision, scale), scale)

    return TextCache(make)
