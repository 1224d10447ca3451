"""Code of DATE, TIME and YEAR columns: DateTime cells with only the parts that the type has, the others null.

As `capture.cells` for the other types. A negative TIME has every part negative, so that each can be read alone. Zero
and partial dates have zeros for their parts; YEAR 0 is the year 0000, not 1900.
"""

from functools import cache

from capture.avro_text import TextCache, to_bytes, zigzag
from capture.cells import CODE_BYTES, DATETIME, CellCode, ColumnShape, Fixed, literal
from capture.errors import MalformedEvent
from capture.operation import Operation
from capture.temporal_cells import (
    FRACTION_CODES,
    FRACTION_UNIT_US,
    part,
    split_zigzag,
    zigzag_tables,
)

_UNSET = zigzag(0)
"""Union index of a DateTime part that the type has not."""
_FIRST_YEAR = 1900
"""What a YEAR's byte counts from, unless it is 0."""
HOURS_MAX = 838
_NO_TIME_OF_DAY = 4 * _UNSET
NO_DATE = DATETIME + 3 * _UNSET


@cache
def _months_and_days() -> list[str]:
    return [part(packed >> 5) + part(packed & 0x1F) + _NO_TIME_OF_DAY for packed in range(1 << 9)]


_date_years: TextCache[int] = TextCache(lambda year: DATETIME + part(year))


def date(shape: ColumnShape) -> CellCode:
    """DATE: year 15 bits, month 4, day 5; three bytes, little endian."""
    i = shape.index
    fixed = Fixed("<", "H", 2, f"v{i}_0"), Fixed("<", "B", 1, f"v{i}_1")
    cell = f"{{date_years[v{i}_1 << 7 | v{i}_0 >> 9]}}{{months_and_days[v{i}_0 & 511]}}"
    objects: dict[str, object] = {"date_years": _date_years, "months_and_days": _months_and_days()}
    return CellCode(cell, fixed, objects=objects, operation=Operation("date", start=DATETIME, end=_NO_TIME_OF_DAY))


@cache
def _years() -> list[str]:
    return [DATETIME + part(byte and _FIRST_YEAR + byte) + 6 * _UNSET for byte in range(0x100)]


def year(shape: ColumnShape) -> CellCode:
    """YEAR: one byte, the years since 1900; 0 is the year 0000."""
    value = f"v{shape.index}_0"
    operation = Operation("label", 1, cells=tuple(map(to_bytes, _years())))
    return CellCode(
        f"{{years[{value}]}}", (Fixed("<", "B", 1, value),), objects={"years": _years()}, operation=operation
    )


@cache
def _hours() -> list[str]:
    return [NO_DATE + part(hour) for hour in range(HOURS_MAX + 1)]


@cache
def _minutes_and_seconds() -> list[str]:
    return [part(packed >> 6) + part(packed & 0x3F) for packed in range(1 << 12)]


def negative_time(hour: int, minute: int, second: int, microseconds: int) -> str:
    """The cell of a negative TIME, from its parts without sign."""
    if hour > HOURS_MAX:
        raise MalformedEvent(f"A TIME is -{hour} hours, which no server writes.")
    return NO_DATE + part(-hour) + part(-minute) + part(-second) + part(-microseconds)


@cache
def _negative_times(fsp: int) -> TextCache[int]:
    """Cells of negative TIMEs by the distance of the packed number from that of 0."""
    fraction_bits = 8 * ((fsp + 1) // 2)

    def make(packed: int) -> str:
        whole, fraction = packed >> fraction_bits, packed & (1 << fraction_bits) - 1
        return negative_time(whole >> 12, whole >> 6 & 0x3F, whole & 0x3F, fraction * FRACTION_UNIT_US[fsp])

    return TextCache(make)


def time2(shape: ColumnShape) -> CellCode:
    """TIME from 5.6 on: a big-endian number of 3 to 6 bytes, its first bit inverted, in two's complement.

    Without the sign: 1 bit unused, hour 10, minute 6, second 6; then the fraction in 0 to 3 bytes (`my_time_packed_*`
    of MySQL's my_time.cc).
    """
    i, fsp = shape.index, shape.metadata
    fraction_codes = FRACTION_CODES[fsp]
    fixed = tuple(Fixed(">", code, CODE_BYTES[code], f"v{i}_{k}") for k, code in enumerate("BH" + fraction_codes))
    whole = f"v{i}_0 << 16 | v{i}_1"
    objects: dict[str, object] = {
        "hours": _hours(),
        "minutes_and_seconds": _minutes_and_seconds(),
        f"negative_times{fsp}": _negative_times(fsp),
    }
    fraction, fraction_bits = f"v{i}_2", 8 * ((fsp + 1) // 2)
    if len(fraction_codes) == 2:
        fraction = f"(v{i}_2 << 16 | v{i}_3)"
    packed = f"(t{i} << {fraction_bits} | {fraction})" if fsp else f"t{i}"
    common = f"{{hours[t{i} >> 12]}}{{minutes_and_seconds[t{i} & 4095]}}"
    if fsp:
        unit = FRACTION_UNIT_US[fsp]
        micros = fraction if unit == 1 else f"{fraction} * {unit}"
        pieces, lines = split_zigzag(i, "u", micros)
        lines = (*lines, f'c{i} = f"{common}{literal(part(0)[:1])}{pieces}"')
        objects |= zigzag_tables()
    else:
        lines = (f'c{i} = f"{common}{literal(part(0))}"',)
    return CellCode(
        f"{{c{i}}}",
        fixed,
        0,
        (
            f"t{i} = ({whole}) - 0x800000",
            f"if t{i} >= 0:",
            *(f"    {line}" for line in lines),
            "else:",
            f"    c{i} = negative_times{fsp}[-{packed}]",
        ),
        objects,
        Operation("time", fsp, start=NO_DATE),
    )


def _decimal_time(number: int) -> str:
    """A TIME written hhmmss, as the number it was read as: 24 bits without a sign."""
    hhmmss = number - (1 << 24) if number >> 23 else number
    hour_and_minute, second = divmod(abs(hhmmss), 100)
    hour, minute = divmod(hour_and_minute, 100)
    if hhmmss < 0:
        return negative_time(hour, minute, second, 0)
    return NO_DATE + part(hour) + part(minute) + part(second) + part(0)


_decimal_times = TextCache(_decimal_time)


def time_before_56(shape: ColumnShape) -> CellCode:
    """TIME before 5.6: the decimal number hhmmss with its sign, three bytes, little endian."""
    i = shape.index
    fixed = Fixed("<", "H", 2, f"v{i}_0"), Fixed("<", "B", 1, f"v{i}_1")
    cell = f"{{decimal_hhmmss[v{i}_0 | v{i}_1 << 16]}}"
    operation = Operation("mapped", 3, cells=_decimal_times)
    return CellCode(cell, fixed, objects={"decimal_hhmmss": _decimal_times}, operation=operation)
