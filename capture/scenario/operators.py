"""Operators of scenarios' expressions: arithmetic, bits, LIKE.

Numbers are MySQL's: integers of 64 bits, exact decimals (division gives four more digits), doubles as soon as one
operand is a double or a text. NULL gives NULL. What overflows, and a division by zero, is refused as in strict mode.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable
from decimal import ROUND_DOWN, ROUND_HALF_UP, Context, Decimal, localcontext
from typing import Final

from capture.scenario import texts
from capture.scenario.comparing import Value, as_text, number
from capture.scenario.refusal import StatementRefused

_DIGITS: Final = 130
_SCALE_MAX: Final = 30
_DIVISION_DIGITS: Final = 4
_GROUP_DIGITS: Final = 9
"""Of which decimals are made in a server: a division goes on to the end of one (decimal.c)."""
_BITS: Final = (1 << 64) - 1
EXACT: Final = Context(prec=_DIGITS)


def arithmetic(sign: str, first: Value, second: Value, *, unsigned: bool = False) -> Value:
    """`+ - * / % DIV`; of an unsigned column the result must not be negative."""
    if first is None or second is None:
        return None
    left, right = number(first), number(second)
    if sign in {"/", "%", "DIV"} and not right:
        raise StatementRefused("a division by zero is an error of a server in strict mode; leave it out")
    if isinstance(left, float) or isinstance(right, float):
        return _of_doubles(sign, float(left), float(right))
    if isinstance(left, int) and isinstance(right, int) and sign != "/":
        return _of_integers(sign, left, right, unsigned=unsigned)
    return _of_decimals(sign, Decimal(left), Decimal(right))


def _of_integers(sign: str, left: int, right: int, *, unsigned: bool) -> int:
    if sign in {"%", "DIV"}:
        whole, rest = divmod(abs(left), abs(right))
        if sign == "%":
            return -rest if left < 0 else rest
        result = -whole if (left < 0) != (right < 0) else whole
    else:
        result = _INTEGER_OPERATORS[sign](left, right)
    first, last = (0, _BITS) if unsigned else (-1 << 63, _BITS if max(left, right) >= 1 << 63 else (1 << 63) - 1)
    if not first <= result <= last:
        raise StatementRefused(f"{left} {sign} {right} is out of the range of BIGINT{' UNSIGNED' * unsigned}")
    return result


_INTEGER_OPERATORS: Final[dict[str, Callable[[int, int], int]]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
}


def _of_doubles(sign: str, left: float, right: float) -> float | int:
    results: dict[str, Callable[[], float | int]] = {
        "+": lambda: left + right,
        "-": lambda: left - right,
        "*": lambda: left * right,
        "/": lambda: left / right,
        "%": lambda: math.fmod(left, right),
        "DIV": lambda: math.trunc(left / right),
    }
    result = results[sign]()
    if not math.isfinite(result):
        raise StatementRefused(f"{left} {sign} {right} is out of the range of DOUBLE")
    return result


def _of_decimals(sign: str, left: Decimal, right: Decimal) -> Decimal | int:
    with localcontext(EXACT):
        if sign == "/":
            return _quotient(left, right)
        if sign == "DIV":
            return int(left / right)
        results = {"+": left + right, "-": left - right, "*": left * right, "%": left % right}
        result = results[sign]
    if sign == "%" and not result:
        return Decimal(0)
    if scale(result) > _SCALE_MAX:
        raise StatementRefused(f"{left} {sign} {right} has more than {_SCALE_MAX} digits behind the point")
    return result


def _quotient(left: Decimal, right: Decimal) -> Decimal:
    """Rounded to its digits, behind which a division is cut off: as MySQL 9.7 does (earlier ones go on with all)."""
    kept = min(scale(left) + _DIVISION_DIGITS, _SCALE_MAX)
    groups = -(-scale(left) // _GROUP_DIGITS) + -(-scale(right) // _GROUP_DIGITS)
    missing = max(0, _DIVISION_DIGITS - (groups * _GROUP_DIGITS - scale(left) - scale(right)))
    digits = (groups + -(-missing // _GROUP_DIGITS)) * _GROUP_DIGITS
    cut = (left / right).quantize(Decimal(1).scaleb(-digits), ROUND_DOWN)
    return cut.quantize(Decimal(1).scaleb(-kept), ROUND_HALF_UP)


def scale(value: Decimal) -> int:
    """Digits behind the point."""
    exponent = value.as_tuple().exponent
    assert isinstance(exponent, int)
    return max(0, -exponent)


def negated(value: Value) -> Value:
    """`-value`."""
    if value is None:
        return None
    return -number(value)


def bits(sign: str, first: Value, second: Value) -> int | None:
    """`& | ^ << >>`, unsigned as always."""
    if first is None or second is None:
        return None
    left, right = integer(first) & _BITS, integer(second) & _BITS
    if sign in {"<<", ">>"}:
        moved = 0 if right > 63 else left << right if sign == "<<" else left >> right
        return moved & _BITS
    return {"&": left & right, "|": left | right, "^": left ^ right}[sign]


def integer(value: Value) -> int:
    """A value where an integer is needed: rounded, halves away from zero (a double's to the even number)."""
    found = number(value)
    if isinstance(found, float):
        return round(found)
    return int(found.to_integral_value(ROUND_HALF_UP)) if isinstance(found, Decimal) else found


def is_like(value: Value, pattern: Value, escape: str, collation: str) -> bool | None:
    """LIKE. Refused where it depends on what a collation thinks of a character."""
    if value is None or pattern is None:
        return None
    rules = texts.collating(collation)
    text, wanted = as_text(value), as_text(pattern)
    expression, plain = _pattern(wanted, escape)
    flags = re.DOTALL | (re.IGNORECASE if rules.ignores_case else re.NOFLAG)
    if re.fullmatch(expression, text, flags) is not None:
        return True
    if not rules.is_binary and not (texts.is_certain(plain.lower()) and texts.is_certain(text.lower())):
        raise StatementRefused(f"whether {text!r} is LIKE {wanted!r} in {collation} is not known here")
    return False


def _pattern(pattern: str, escape: str) -> tuple[str, str]:
    """A regular expression, and the pattern's own characters. What stands between two `%` is taken where it is first
    found, once and for all: else some patterns would take for ever.
    """
    parts, plain = [""], ""
    characters = iter(pattern)
    for character in characters:
        if character == "%" != escape:
            parts.append("")
            continue
        if character == "_" != escape:
            parts[-1] += "."
            continue
        if character == escape:
            character = next(characters, escape)
        parts[-1] += re.escape(character)
        plain += character
    first, *between, last = parts if len(parts) > 1 else (parts[0], "")
    found = "".join(f"(?>.*?{part})" for part in between)
    return f"{first}{found}{f'.*{last}' * (len(parts) > 1)}", plain
