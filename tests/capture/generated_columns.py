"""Columns of numbers and times, drawn at random with values that like boundaries: see `tests.capture.generated`."""

from __future__ import annotations

import ctypes
import datetime as dt
import decimal
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.capture.row_cases import EPOCH, expected_decimal

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

Cell = tuple[str, dict[str, Any]] | None

_FRACTIONS_SINCE = {"mysql55"}
"""Kinds of server that store whole seconds only."""


@dataclass(frozen=True, slots=True)
class Column:
    """One drawn column. `select` and `update` have `{}` where the column's name goes."""

    definition: str
    select: str
    literal: Callable[[], str]
    cell: Callable[[str], Cell]
    update: str = ""
    is_generated: bool = False


def null(random: Random) -> str:
    return random.choice((" NULL", " NULL", " NOT NULL"))


def literal_or_null(random: Random, definition: str, draw: Callable[[], str]) -> Callable[[], str]:
    can_be_null = not definition.endswith("NOT NULL")
    return lambda: "NULL" if can_be_null and random.random() < 0.15 else draw()


# ---- numbers ----


def integer(random: Random, _: str) -> Column:
    name, size = random.choice((("TINYINT", 1), ("SMALLINT", 2), ("MEDIUMINT", 3), ("INT", 4), ("BIGINT", 8)))
    is_unsigned = random.random() < 0.5
    low, high = (0, 256**size - 1) if is_unsigned else (-(256**size) // 2, 256**size // 2 - 1)
    definition = name + " UNSIGNED" * is_unsigned + random.choice(("", " ZEROFILL") if is_unsigned else ("",))
    definition += null(random)

    def draw() -> str:
        near = random.choice((low, low + 1, high - 1, high, 0, 1, high // 2, high // 2 + 1, random.randint(low, high)))
        return str(near)

    return Column(
        definition,
        "CAST({} AS CHAR)",
        literal_or_null(random, definition, draw),
        lambda text: ("Integer", {"precision": size, "value": str(int(text))}),
    )


def bit(random: Random, _: str) -> Column:
    bits = random.choice((1, 2, 7, 8, 9, 15, 16, 33, 63, 64))
    definition = f"BIT({bits}){null(random)}"
    top = 2**bits - 1
    return Column(
        definition,
        "CAST({} + 0 AS CHAR)",
        literal_or_null(random, definition, lambda: f"b'{random.choice((0, 1, top, random.randint(0, top))):b}'"),
        lambda text: ("Integer", {"precision": (bits + 7) // 8, "value": text}),
    )


def exact(random: Random, _: str) -> Column:
    precision = random.choice((1, 2, 8, 9, 10, 18, 19, 27, 64, 65, random.randint(1, 65)))
    scale = random.choice((0, min(30, precision), random.randint(0, min(30, precision))))
    is_unsigned = random.random() < 0.3
    definition = f"DECIMAL({precision},{scale}){' UNSIGNED' * is_unsigned}{null(random)}"

    def draw() -> str:
        top = 10 ** random.randint(1, precision) - 1
        unscaled = random.choice((0, 1, top, random.randint(0, top)))
        sign = "" if is_unsigned else random.choice(("", "-"))
        return f"{sign}{decimal.Decimal(unscaled).scaleb(-scale, decimal.Context(prec=100)):f}"

    def cell(text: str) -> Cell:
        content = expected_decimal(decimal.Decimal(text), scale)
        return content.pop("class"), content

    return Column(definition, "CAST({} AS CHAR)", literal_or_null(random, definition, draw), cell)


def as_float(value: float) -> float:
    """The 4-byte float nearest to a value."""
    return ctypes.c_float(value).value


def shortest_float(value: float) -> float:
    """The shortest decimal that is this 4-byte float."""
    return next(float(text) for digits in range(1, 18) if as_float(float(text := f"{value:.{digits}g}")) == value)


def floating(random: Random, _: str) -> Column:
    is_double = random.random() < 0.5
    definition = random.choice(("DOUBLE", "REAL", "DOUBLE") if is_double else ("FLOAT", "FLOAT(20)")) + null(random)
    top = 1.7976931348623157e308 if is_double else 3.4028234663852886e38
    small = 5e-324 if is_double else 1.4e-45

    def draw() -> str:
        number = random.choice(
            (0.0, 0.1, 1 / 3, top, small, 2.0**24 + 1, 2.0**53 + 1, 1e15, 123456.789, random.random())
        )
        if random.random() < 0.3:
            number = math.ldexp(random.random(), random.randint(-100, 100))
        return repr(random.choice((1, -1)) * number)

    def cell(text: str) -> Cell:
        value = float(text)
        return "Float", {
            "value": value if is_double else shortest_float(as_float(value)),
            "precision": 8,
            "scale": 15,
        }

    # The server shows 22 characters of a double: its sign apart, so that no digit is lost.
    shown = "CONCAT(IF({} < 0, '-', ''), ABS({} + 0e0))"
    return Column(definition, shown, literal_or_null(random, definition, draw), cell)


# ---- time ----

_DATES = (
    "1000-01-01",
    "9999-12-31",
    "2024-02-29",
    "1970-01-01",
    "0000-00-00",
    "2024-00-00",
    "2023-12-00",
    "0001-01-01",
)
_PARTS = ("year", "month", "day", "hour", "minute", "second", "millis")


def _parts(first: int, *numbers: int) -> Cell:
    """A DateTime with some parts set, the first of them by its index."""
    content: dict[str, int | None] = dict.fromkeys(_PARTS)
    content.update(zip(_PARTS[first:], numbers, strict=False))
    return "DateTime", content


def _numbers(text: str) -> list[int]:
    """`2024-02-29 12:34:56.7` as seven numbers, the last in microseconds."""
    date, _, time = text.partition(" ")
    whole, _, fraction = time.partition(".")
    return [*map(int, date.split("-")), *map(int, whole.split(":")), int(f"{fraction:0<6}")]


def date_time(text: str) -> Cell:
    """The cell of a DATETIME."""
    return _parts(0, *_numbers(text))


def _digits(random: Random, kind: str) -> int:
    return 0 if kind in _FRACTIONS_SINCE else random.randint(0, 6)


def _fraction(random: Random, digits: int) -> str:
    return f".{random.choice((0, 1, 10**digits - 1, random.randrange(10**digits))):0{digits}d}" if digits else ""


def _clock(random: Random) -> str:
    return random.choice(("00:00:00", "23:59:59", f"{random.randrange(24):02d}:{random.randrange(60):02d}:00"))


def date(random: Random, _: str) -> Column:
    definition = f"DATE{null(random)}"
    return Column(
        definition,
        "CAST({} AS CHAR)",
        literal_or_null(random, definition, lambda: f"'{random.choice(_DATES)}'"),
        lambda text: _parts(0, *map(int, text.split("-"))),
    )


def moment(random: Random, kind: str) -> Column:
    digits = _digits(random, kind)
    definition = f"DATETIME({digits}){null(random)}" if digits else f"DATETIME{null(random)}"
    return Column(
        definition,
        "CAST({} AS CHAR)",
        literal_or_null(
            random, definition, lambda: f"'{random.choice(_DATES)} {_clock(random)}{_fraction(random, digits)}'"
        ),
        date_time,
    )


def clock_time(random: Random, kind: str) -> Column:
    digits = _digits(random, kind)
    definition = f"TIME({digits}){null(random)}" if digits else f"TIME{null(random)}"

    def draw() -> str:
        hour = random.choice((0, 0, 1, 23, 24, 837, random.randrange(838)))
        sign = random.choice(("", "-"))
        clock = f"{hour}:{random.choice((0, 59)):02d}:{random.choice((0, 1, 59)):02d}{_fraction(random, digits)}"
        return random.choice((f"'{sign}{clock}'", f"'{sign}838:59:59'"))

    def cell(text: str) -> Cell:
        sign = -1 if text.startswith("-") else 1
        whole, _, fraction = text.lstrip("-").partition(".")
        return _parts(3, *(sign * int(part) for part in [*whole.split(":"), f"{fraction:0<6}"]))

    return Column(definition, "CAST({} AS CHAR)", literal_or_null(random, definition, draw), cell)


def timestamp(random: Random, kind: str) -> Column:
    digits = _digits(random, kind)
    definition = f"TIMESTAMP({digits}) NULL" if digits else "TIMESTAMP NULL"
    # Around the nights on which New York's and, until 1991, Shanghai's clocks are set.
    moments = (1, 2**31 - 2, 10**9, 1710054000, 1710057599, 1730610000, 1730613600, 640292400, 653597999)

    def draw() -> str:
        moment = EPOCH + dt.timedelta(seconds=random.choice((*moments, random.randrange(1, 2**31 - 2))))
        return f"'{moment:%Y-%m-%d %H:%M:%S}{_fraction(random, digits)}'"

    def cell(text: str) -> Cell:
        whole, _, fraction = text.partition(".")
        is_zero = whole.startswith("0000")
        seconds = 0 if is_zero else (dt.datetime.fromisoformat(whole) - EPOCH) // dt.timedelta(seconds=1)
        return "Timestamp", {"timestamp": seconds, "millis": int(f"{fraction:0<6}")}

    return Column(definition, "CAST({} AS CHAR)", literal_or_null(random, definition, draw), cell)


def year(random: Random, _: str) -> Column:
    definition = f"YEAR{null(random)}"
    return Column(
        definition,
        "CAST({} AS CHAR)",
        literal_or_null(random, definition, lambda: random.choice(("0", "1901", "1970", "2024", "2155"))),
        lambda text: _parts(0, int(text)),
    )
