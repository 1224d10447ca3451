"""Values of scenarios: what they are, compared, as numbers, as truth.

A value is None, int, Decimal, float, str, bytes, date, datetime (in the session's time zone), timedelta (TIME), Label
(of an ENUM or SET), HexLiteral or Json; a bool is what a comparison gives. Zero and partial dates are text.

Comparisons are MySQL's ("Type Conversion in Expression Evaluation"): with NULL they give NULL, of texts by their
collation, of a moment and a text as moments, of a number and a text as numbers.
"""

from __future__ import annotations

import re
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, Final, NamedTuple, Self

from capture.scenario import moments, texts
from capture.scenario.refusal import StatementRefused

Value = Any
_EXPONENT_FROM: Final = 1e15
"""From here on a server writes some doubles with an exponent (my_gcvt of mysys/dtoa.c)."""
_EXPONENT_MAX: Final = 400
"""Of a number in a text: more than a DOUBLE has, and few enough to count with."""
_NUMBER: Final = re.compile(r"\s*([+-]?(?:\d+(?:\.\d*)?|\.\d+))([eE][+-]?\d+)?\s*")


class Label(str):
    """The text of an ENUM or SET value; `number` is its index, or the bits of its labels."""

    __slots__ = ("number",)
    number: int

    def __new__(cls, text: str, number: int) -> Self:
        made = super().__new__(cls, text)
        made.number = number
        return made


class HexLiteral(bytes):
    """x'…', 0x… or b'…': bytes that are a number where one is needed."""

    __slots__ = ()


class Json(NamedTuple):
    """A JSON document, as Python has it."""

    document: Any


def compare(first: Value, second: Value, collation: str) -> int | None:
    """-1, 0 or 1, or None if either is NULL."""
    if first is None or second is None:
        return None
    if isinstance(first, Json) or isinstance(second, Json):
        raise StatementRefused("JSON documents are not compared here; compare a part of one with ->>")
    if isinstance(first, str) and isinstance(second, str):
        return texts.order(first, second, collation) if first != second else 0
    if _is_moment(first) or _is_moment(second):
        return _compare_moments(first, second)
    if isinstance(first, str | bytes) and isinstance(second, str | bytes):
        return _sign(as_bytes(first), as_bytes(second))
    return _sign(*_numbers(first, second))


def are_equal(first: Value, second: Value, collation: str) -> bool | None:
    """As `compare`, where the order of texts need not be known."""
    if isinstance(first, str) and isinstance(second, str):
        return texts.are_equal(first, second, collation)
    order = compare(first, second, collation)
    return None if order is None else order == 0


def _sign(first: Any, second: Any) -> int:
    return int(first > second) - int(first < second)


def _is_moment(value: Value) -> bool:
    return isinstance(value, date | timedelta)


def _compare_moments(first: Value, second: Value) -> int:
    """A moment with anything: as moments if the other one can be read so, else as numbers."""
    if isinstance(first, timedelta) or isinstance(second, timedelta):
        pair = [moments.time_of(value) if isinstance(value, str) else value for value in (first, second)]
        if all(isinstance(value, timedelta) for value in pair):
            return _sign(*pair)
    else:
        found = [moments.moment_of(value if isinstance(value, date) else as_text(value)) for value in (first, second)]
        if None in found:
            raise StatementRefused(f"{first!s} and {second!s} are not both moments; write 'YYYY-MM-DD hh:mm:ss'")
        return _sign(*found)
    return _sign(*_numbers(first, second))


def _numbers(first: Value, second: Value) -> tuple[Any, Any]:
    left, right = (_exact(value) for value in (first, second))
    if isinstance(left, float) or isinstance(right, float):
        return float(left), float(right)
    return left, right


def _exact(value: Value) -> int | float | Decimal:
    """A number; a text as a decimal one, so that digits beyond a double's are compared too."""
    if isinstance(value, str) and not isinstance(value, Label):
        return text_number(value)
    return number(value)


def number(value: Value) -> int | float | Decimal:
    """What a value is in arithmetic; a text is a double."""
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, int | float | Decimal):
        return value
    if isinstance(value, Label):
        return value.number
    if isinstance(value, HexLiteral):
        return int.from_bytes(value, "big")
    if isinstance(value, str):
        return float(text_number(value))
    if isinstance(value, bytes):
        return float(text_number(value.decode("latin-1")))
    if isinstance(value, date | timedelta):
        return moments.number_of(value)
    raise StatementRefused("a JSON document is no number; take a part of it with ->>")


def text_number(text: str) -> Decimal:
    """The number that a text is. Raises StatementRefused for one that is none, as strict mode does."""
    found = _NUMBER.fullmatch(text)
    if found is None:
        raise StatementRefused(f"{text[:40]!r} is no number, which is an error of a server in strict mode")
    exact = Decimal(found[1] + (found[2] or ""))
    if abs(exact.adjusted()) > _EXPONENT_MAX:
        raise StatementRefused(f"{text[:40]!r} is out of the range of numbers")
    return exact


def is_true(value: Value) -> bool | None:
    """A condition: NULL is None, any number but 0 is true."""
    return None if value is None else number(value) != 0


def as_text(value: Value) -> str:
    """A value as a string function has it."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, int):
        return str(value)
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, float):
        return _float_text(value)
    if isinstance(value, date | timedelta):
        return moments.text_of(value)
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            raise StatementRefused("bytes that are no UTF-8 cannot be a text") from None
    raise StatementRefused("a JSON document is not made a text here; take a part of it with ->>")


def as_bytes(value: Value) -> bytes:
    """A value in a context of bytes."""
    return value if isinstance(value, bytes) else as_text(value).encode()


def _float_text(value: float) -> str:
    text = repr(value)
    if "e" in text or "n" in text or abs(value) >= _EXPONENT_FROM:
        raise StatementRefused(f"how a server writes {text} as a text is not known here")
    return text.removesuffix(".0")
