"""Code of DATETIME and TIMESTAMP columns, of the formats since MySQL 5.6 and before.

As `capture.cells` for the other types. What repeats is looked up: dates, hours with minutes, seconds, and the two
halves of Unix times. A zero or partial date has zeros for its parts; a zero TIMESTAMP is 0 seconds.
"""

from functools import cache

from capture.avro_text import LOW_BITS, LOW_MASK, TextCache, high_varints, low_zigzags, small_zigzags, zigzag
from capture.cells import CODE_BYTES, DATETIME, TIMESTAMP, CellCode, ColumnShape, Fixed, literal
from capture.errors import MalformedEvent
from capture.operation import Operation

_SET = zigzag(1)
"""Union index of a DateTime part that is there."""
FRACTION_CODES = ("", "B", "B", "H", "H", "BH", "BH")
FRACTION_UNIT_US = (1, 10_000, 10_000, 100, 100, 1, 1)
"""Fractional seconds are stored in whole bytes: hundredths, hundreds of microseconds, microseconds (by fsp)."""
_MONTHS_OF_YEAR = 13
"""DATETIME2 counts 13 months to the year, so that month 0 has a place."""


def part(value: int) -> str:
    """A part of a DateTime that is there."""
    return _SET + zigzag(value)


def date_parts(year: int, month: int, day: int) -> str:
    """The start of a DateTime cell."""
    return DATETIME + part(year) + part(month) + part(day)


def _packed_date(packed: int) -> str:
    """Sign, year and month, day: the upper 23 bits of a DATETIME2."""
    if not packed >> 22:
        raise MalformedEvent("A DATETIME is negative, which no server writes.")
    year, month = divmod(packed >> 5 & 0x1FFFF, _MONTHS_OF_YEAR)
    return date_parts(year, month, packed & 0x1F)


packed_dates = TextCache(_packed_date)


@cache
def _hours_and_minutes() -> list[str]:
    parts = [part(value) for value in range(1 << 6)]
    return [hour + minute for hour in parts[: 1 << 5] for minute in parts]


@cache
def _seconds() -> list[str]:
    return [part(second) for second in range(1 << 6)]


def _fraction(i: int, k: int, fsp: int) -> tuple[tuple[Fixed, ...], str]:
    """The fields of fractional seconds and the expression of the microseconds."""
    fixed = tuple(Fixed(">", code, CODE_BYTES[code], f"v{i}_{k + n}") for n, code in enumerate(FRACTION_CODES[fsp]))
    names = [one.name for one in fixed]
    value = names[0] if len(names) == 1 else f"{names[0]} << 16 | {names[1]}"
    return fixed, value if FRACTION_UNIT_US[fsp] == 1 else f"{value} * {FRACTION_UNIT_US[fsp]}"


def split_zigzag(i: int, name: str, value: str) -> tuple[str, tuple[str, ...]]:
    """Pieces and lines of the zigzag of a number from 0 to 2^32, mostly above LOW_MASK."""
    lines = (
        f"{name}{i} = {value}",
        f"if {name}{i} > {LOW_MASK}:",
        f"    {name}{i}_0 = low_zigzags[{name}{i} & {LOW_MASK}]; {name}{i}_1 = high_varints[{name}{i} >> {LOW_BITS}]",
        "else:",
        f'    {name}{i}_0 = small_zigzags[{name}{i}]; {name}{i}_1 = ""',
    )
    return f"{{{name}{i}_0}}{{{name}{i}_1}}", lines


def zigzag_tables() -> dict[str, object]:
    """What the lines of `split_zigzag` refer to."""
    return {"low_zigzags": low_zigzags(), "small_zigzags": small_zigzags(), "high_varints": high_varints}


def datetime2(shape: ColumnShape) -> CellCode:
    """DATETIME from 5.6 on: sign 1 bit, year * 13 + month 17, day 5, hour 5, minute 6, second 6; then the fraction."""
    i, fsp = shape.index, shape.metadata
    fixed: tuple[Fixed, ...] = (Fixed(">", "B", 1, f"v{i}_0"), Fixed(">", "I", 4, f"v{i}_1"))
    objects: dict[str, object] = {
        "packed_dates": packed_dates,
        "hours_and_minutes": _hours_and_minutes(),
        "seconds": _seconds(),
    }
    low, operation = f"v{i}_1", Operation("datetime", fsp, start=DATETIME)
    cell = (
        f"{{packed_dates[v{i}_0 << 15 | {low} >> 17]}}{{hours_and_minutes[{low} >> 6 & 2047]}}{{seconds[{low} & 63]}}"
        f"{literal(_SET)}"
    )
    if not fsp:
        return CellCode(cell + literal(zigzag(0)), fixed, 0, (), objects, operation)
    fraction, micros = _fraction(i, 2, fsp)
    pieces, lines = split_zigzag(i, "u", micros)
    return CellCode(cell + pieces, fixed + fraction, 0, lines, objects | zigzag_tables(), operation)


def _decimal_date(number: int) -> str:
    """A date written YYYYMMDD."""
    year_and_month, day = divmod(number, 100)
    return date_parts(*divmod(year_and_month, 100), day)


def _decimal_time(number: int) -> str:
    """A time written hhmmss, and no microseconds."""
    hour_and_minute, second = divmod(number, 100)
    hour, minute = divmod(hour_and_minute, 100)
    return part(hour) + part(minute) + part(second) + part(0)


decimal_dates = TextCache(_decimal_date)
decimal_times = TextCache(_decimal_time)


def datetime_before_56(shape: ColumnShape) -> CellCode:
    """DATETIME before 5.6: the decimal number YYYYMMDDhhmmss in eight bytes, little endian."""
    value = f"v{shape.index}_0"
    cell = f"{{decimal_dates[{value} // 1000000]}}{{decimal_times[{value} % 1000000]}}"
    objects: dict[str, object] = {"decimal_dates": decimal_dates, "decimal_times": decimal_times}
    return CellCode(cell, (Fixed("<", "Q", 8, value),), objects=objects)


def timestamp2(shape: ColumnShape) -> CellCode:
    """TIMESTAMP from 5.6 on: Unix seconds, four bytes, big endian, 0 for the zero date; then the fraction."""
    i, fsp = shape.index, shape.metadata
    pieces, lines = split_zigzag(i, "s", f"v{i}_0")
    fixed: tuple[Fixed, ...] = (Fixed(">", "I", 4, f"v{i}_0"),)
    operation = Operation("timestamp", fsp, start=TIMESTAMP, big_endian=True)
    if not fsp:
        cell = literal(TIMESTAMP) + pieces + literal(zigzag(0))
        return CellCode(cell, fixed, 0, lines, zigzag_tables(), operation)
    fraction, micros = _fraction(i, 1, fsp)
    fraction_pieces, fraction_lines = split_zigzag(i, "u", micros)
    cell = literal(TIMESTAMP) + pieces + fraction_pieces
    return CellCode(cell, fixed + fraction, 0, lines + fraction_lines, zigzag_tables(), operation)


def timestamp_before_56(shape: ColumnShape) -> CellCode:
    """TIMESTAMP before 5.6: Unix seconds, four bytes, little endian."""
    i = shape.index
    pieces, lines = split_zigzag(i, "s", f"v{i}_0")
    cell = literal(TIMESTAMP) + pieces + literal(zigzag(0))
    operation = Operation("timestamp", start=TIMESTAMP)
    return CellCode(cell, (Fixed("<", "I", 4, f"v{i}_0"),), 0, lines, zigzag_tables(), operation)
