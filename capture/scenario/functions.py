"""Functions of scenarios' expressions, by name: what each makes of its arguments.

What a server would answer differently by version, locale or configuration is not here. Left to others: how calls are
read (`parsing.py`).
"""

from __future__ import annotations

import calendar
import hashlib
import math
import random
import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_CEILING, ROUND_DOWN, ROUND_FLOOR, ROUND_HALF_UP, Decimal
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from capture.scenario import json_paths, moments, operators
from capture.scenario.comparing import Json, Value, are_equal, as_bytes, as_text, compare, number, text_number
from capture.scenario.refusal import StatementRefused

if TYPE_CHECKING:
    from capture.scenario.session import Session

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_TEXT_CHARACTERS_MAX: Final = 1 << 24


class Function(Struct, frozen=True):
    """One function. Where `null_gives_null`, it is not asked with a NULL."""

    call: Callable[..., Value]
    arguments_min: int
    arguments_max: int
    null_gives_null: bool = True


# ---- texts ----


def _concat(session: Session, *parts: Value) -> Value:
    if any(isinstance(part, bytes) for part in parts):
        return b"".join(map(as_bytes, parts))
    return "".join(map(as_text, parts))


def _concat_with(session: Session, separator: Value, *parts: Value) -> Value:
    return None if separator is None else as_text(separator).join(as_text(part) for part in parts if part is not None)


def _substring(session: Session, text: Value, start: Value, length: Value = None) -> Value:
    whole = text if isinstance(text, bytes) else as_text(text)
    first = operators.integer(start)
    begin = first - 1 if first > 0 else len(whole) + first
    if first == 0 or begin < 0:
        return whole[:0]
    return whole[begin:] if length is None else whole[begin : begin + max(0, operators.integer(length))]


def _padded(session: Session, text: Value, size: Value, filling: Value, *, left: bool) -> Value:
    whole, length, fill = as_text(text), operators.integer(size), as_text(filling)
    if length < 0 or length > _TEXT_CHARACTERS_MAX or (length > len(whole) and not fill):
        return None if length < 0 else _refuse_size()
    missing = (fill * (length // max(1, len(fill)) + 1))[: max(0, length - len(whole))]
    return (missing + whole if left else whole + missing)[:length] if missing else whole[:length]


def _repeat(session: Session, text: Value, count: Value) -> Value:
    whole, times = as_text(text), max(0, operators.integer(count))
    return whole * times if len(whole) * times <= _TEXT_CHARACTERS_MAX else _refuse_size()


def _refuse_size() -> Value:
    raise StatementRefused(f"a text of more than {_TEXT_CHARACTERS_MAX} characters is not made here")


def _in_case(change: Callable[[str], str]) -> Callable[..., Value]:
    def call(session: Session, text: Value) -> Value:
        whole = as_text(text)
        if any(not character.isascii() and len(change(character)) != 1 for character in whole):
            raise StatementRefused(f"the upper and lower case of {whole[:40]!r} is not certain here")
        return change(whole)

    return call


def _hash(name: str) -> Callable[..., Value]:
    return lambda session, text: hashlib.new(name, as_bytes(text), usedforsecurity=False).hexdigest()


def _sha2(session: Session, text: Value, size: Value) -> Value:
    name = {224: "sha224", 256: "sha256", 0: "sha256", 384: "sha384", 512: "sha512"}.get(operators.integer(size))
    return None if name is None else hashlib.new(name, as_bytes(text)).hexdigest()


def _hexadecimal(session: Session, value: Value) -> Value:
    if isinstance(value, str | bytes | date):
        return as_bytes(value).hex().upper()
    return f"{operators.integer(value) & (1 << 64) - 1:X}"


def _unhexed(session: Session, text: Value) -> Value:
    digits = as_text(text)
    try:
        return bytes.fromhex(digits.zfill(len(digits) + len(digits) % 2))
    except ValueError:
        return None


# ---- numbers ----


def _rounded(session: Session, value: Value, digits: Value = 0) -> Value:
    return _to_digits(value, digits, ROUND_HALF_UP)


def _truncated(session: Session, value: Value, digits: Value) -> Value:
    return _to_digits(value, digits, ROUND_DOWN)


def _to_digits(value: Value, digits: Value, rounding: str) -> Value:
    found, places = number(value), operators.integer(digits)
    if isinstance(found, float):
        raise StatementRefused(
            "how a server rounds a double is not known here; make it a decimal by CAST(… AS DECIMAL)"
        )
    exact = Decimal(found)
    kept = min(places, operators.scale(exact)) if places >= 0 else places
    result = exact.quantize(Decimal(1).scaleb(-kept), rounding, operators.EXACT)
    if isinstance(found, int) or kept <= 0:
        whole = int(result)
        return whole if isinstance(found, int) else Decimal(whole)
    return result


def _whole(rounding: str, of_double: Callable[[float], int]) -> Callable[..., Value]:
    def call(session: Session, value: Value) -> Value:
        found = number(value)
        if isinstance(found, float):
            return float(of_double(found))
        return found if isinstance(found, int) else int(found.to_integral_value(rounding))

    return call


def _extreme(wanted: int) -> Callable[..., Value]:
    def call(session: Session, *values: Value) -> Value:
        kinds = {(isinstance(value, str), isinstance(value, date | timedelta)) for value in values}
        if len(kinds) > 1:
            raise StatementRefused("GREATEST and LEAST of values of several kinds are not played; make them one kind")
        best = values[0]
        for value in values[1:]:
            if compare(value, best, session.collation) == wanted:
                best = value
        return best

    return call


# ---- moments ----


def _moment(value: Value) -> datetime:
    found = moments.moment_of(value) if isinstance(value, str | date) else None
    if found is None:
        raise StatementRefused(f"{value!s} is no moment; write 'YYYY-MM-DD hh:mm:ss'")
    return found


def _part(name: str) -> Callable[..., Value]:
    return lambda session, value: getattr(_moment(value), name)


def moved(value: Value, count: Value, unit: str, direction: int) -> Value:
    """A moment moved by INTERVAL; of a date it stays one if the unit is a day or longer."""
    if value is None or count is None:
        return None
    moment, steps = _moment(value), direction * operators.integer(count)
    try:
        result = _by_months(moment, steps * _MONTHS[unit]) if unit in _MONTHS else moment + _LENGTHS[unit] * steps
    except KeyError:
        raise StatementRefused(f"INTERVAL in {unit} is not played; use {', '.join([*_LENGTHS, *_MONTHS])}") from None
    except (OverflowError, ValueError):
        raise StatementRefused("an INTERVAL reaches beyond the years that there are") from None
    if isinstance(value, datetime):
        return result
    keeps_date = unit in _MONTHS or _LENGTHS[unit] >= timedelta(days=1)
    if isinstance(value, date):
        return result.date() if keeps_date else result
    is_date = keeps_date and len(value.strip()) <= len("2000-01-01")
    return result.date().isoformat() if is_date else moments.text_of(result)


_LENGTHS: Final = {
    "MICROSECOND": timedelta(microseconds=1),
    "SECOND": timedelta(seconds=1),
    "MINUTE": timedelta(minutes=1),
    "HOUR": timedelta(hours=1),
    "DAY": timedelta(days=1),
    "WEEK": timedelta(weeks=1),
}
_MONTHS: Final = {"MONTH": 1, "QUARTER": 3, "YEAR": 12}


def _by_months(moment: datetime, months: int) -> datetime:
    year, month = divmod(moment.year * 12 + moment.month - 1 + months, 12)
    return moment.replace(year=year, month=month + 1, day=min(moment.day, calendar.monthrange(year, month + 1)[1]))


def _days_between(session: Session, one: Value, other: Value) -> Value:
    """What is no moment is refused beside a NULL, too."""
    dates = [None if value is None else _moment(value).date() for value in (one, other)]
    later, earlier = dates
    return None if later is None or earlier is None else (later - earlier).days


def _unix_timestamp(session: Session, value: Value = None) -> Value:
    if value is None:
        return session.timestamp_s
    seconds = (session.in_utc(_moment(value)) - _EPOCH) / timedelta(seconds=1)
    if seconds.is_integer():
        return int(seconds)
    exact = Decimal(repr(seconds))
    return exact.quantize(Decimal("1e-6")) if isinstance(value, str) else exact


def _from_unixtime(session: Session, seconds: Value) -> Value:
    microseconds = operators.integer(number(seconds) * 1_000_000)
    return session.local(_EPOCH + timedelta(microseconds=microseconds))


def _utc_now(session: Session, fsp: Value = 0) -> datetime:
    return session.in_utc(session.now(int(fsp))).replace(tzinfo=None)


def _time_of_day(moment: datetime) -> timedelta:
    return timedelta(hours=moment.hour, minutes=moment.minute, seconds=moment.second, microseconds=moment.microsecond)


# ---- conversions, JSON ----


def cast(value: Value, kind: str, numbers: Sequence[int]) -> Value:
    """CAST(value AS kind(numbers))."""
    if value is None:
        return None
    if kind in {"SIGNED", "UNSIGNED"}:
        return _cast_integer(value, kind)
    if kind in {"CHAR", "NCHAR"}:
        return as_text(value)[: numbers[0] if numbers else None]
    if kind == "BINARY" and not numbers:
        return as_bytes(value)
    if kind in {"DECIMAL", "DEC", "NUMERIC"}:
        scale = numbers[1] if len(numbers) > 1 else 0
        found = text_number(value) if isinstance(value, str) else number(value)
        exact = Decimal(repr(found)) if isinstance(found, float) else Decimal(found)
        result = exact.quantize(Decimal(1).scaleb(-scale), ROUND_HALF_UP, operators.EXACT)
        if result and result.adjusted() >= (numbers[0] if numbers else 10) - scale:
            raise StatementRefused(f"{value!s} is out of the range of {kind}({', '.join(map(str, numbers))})")
        return result
    if kind in {"FLOAT", "DOUBLE", "REAL"}:
        return float(number(value))
    if kind == "DATE":
        return _moment(value).date()
    if kind == "DATETIME":
        return moments.rounded(_moment(value), numbers[0] if numbers else 0)
    if kind == "TIME" and isinstance(value, str) and (found_time := moments.time_of(value)) is not None:
        return moments.rounded_time(found_time, numbers[0] if numbers else 0)
    if kind == "JSON":
        return value if isinstance(value, Json) else json_paths.document_of(as_text(value))
    raise StatementRefused(f"CAST of {as_text(value)[:40]!r} AS {kind} is not played")


def _cast_integer(value: Value, kind: str) -> int:
    found = text_number(value) if isinstance(value, str) else number(value)
    result = operators.integer(found)
    if isinstance(value, str) and result != found:
        raise StatementRefused(f"{value!s} is no integer, which is an error of a server in strict mode")
    first, last = (0, (1 << 64) - 1) if kind == "UNSIGNED" else (-1 << 63, (1 << 63) - 1)
    if not first <= result <= last:
        raise StatementRefused(f"{value!s} is out of the range of {kind}")
    return result


def _json_object(session: Session, *pairs: Value) -> Json:
    if len(pairs) % 2 or None in pairs[::2]:
        raise StatementRefused("JSON_OBJECT takes pairs of a key that is not NULL and a value")
    return Json(
        {as_text(key): json_paths.part_of_document(value) for key, value in zip(pairs[::2], pairs[1::2], strict=True)}
    )


def _json_changed(replaces: bool, adds: bool) -> Callable[..., Value]:
    def call(session: Session, document: Value, *pairs: Value) -> Value:
        for path, part in zip(pairs[::2], pairs[1::2], strict=True):
            document = json_paths.changed(document, path, part, replaces=replaces, adds=adds)
        return document

    return call


def _json_removed(session: Session, document: Value, *paths: Value) -> Value:
    for path in paths:
        document = json_paths.removed(document, path)
    return document


def _null_if(session: Session, first: Value, second: Value) -> Value:
    return None if are_equal(first, second, session.collation) else first


def _last_insert_id(session: Session, value: Value = None) -> int:
    if value is not None:
        session.last_insert_id = operators.integer(value)
    return session.last_insert_id


_MANY: Final = 1 << 16
_NOW: Final = Function(lambda session, fsp=0: session.now(int(fsp)), 0, 1)
_TODAY: Final = Function(lambda session: session.now().date(), 0, 0)
_TIME_NOW: Final = Function(lambda session, fsp=0: _time_of_day(session.now(int(fsp))), 0, 1)
_UTC_NOW: Final = Function(_utc_now, 0, 1)
_LENGTH: Final = Function(lambda session, text: len(as_bytes(text)), 1, 1)
_CHARACTERS: Final = Function(lambda session, text: len(text if isinstance(text, bytes) else as_text(text)), 1, 1)
_SUBSTRING: Final = Function(_substring, 2, 3)
_LOWER: Final = Function(_in_case(str.lower), 1, 1)
_UPPER: Final = Function(_in_case(str.upper), 1, 1)
_CEILING: Final = Function(_whole(ROUND_CEILING, math.ceil), 1, 1)
_POWER: Final = Function(lambda session, base, exponent: float(number(base)) ** float(number(exponent)), 2, 2)
_SHA1: Final = Function(_hash("sha1"), 1, 1)

FUNCTIONS: Final[dict[str, Function]] = {
    **dict.fromkeys(("NOW", "CURRENT_TIMESTAMP", "LOCALTIME", "LOCALTIMESTAMP"), _NOW),
    **dict.fromkeys(("CURDATE", "CURRENT_DATE"), _TODAY),
    **dict.fromkeys(("CURTIME", "CURRENT_TIME"), _TIME_NOW),
    "UTC_TIMESTAMP": _UTC_NOW,
    "UTC_DATE": Function(lambda session: _utc_now(session).date(), 0, 0),
    "UTC_TIME": Function(lambda session, fsp=0: _time_of_day(_utc_now(session, fsp)), 0, 1),
    "UNIX_TIMESTAMP": Function(_unix_timestamp, 0, 1),
    "FROM_UNIXTIME": Function(_from_unixtime, 1, 1),
    "DATE": Function(lambda session, value: _moment(value).date(), 1, 1),
    "TIME": Function(lambda session, value: _time_of_day(_moment(value)), 1, 1),
    **{
        name: Function(_part(name.lower()), 1, 1)
        for name in ("YEAR", "MONTH", "HOUR", "MINUTE", "SECOND", "MICROSECOND")
    },
    **dict.fromkeys(("DAY", "DAYOFMONTH"), Function(_part("day"), 1, 1)),
    "DATEDIFF": Function(_days_between, 2, 2, null_gives_null=False),
    "CONCAT": Function(_concat, 1, _MANY),
    "CONCAT_WS": Function(_concat_with, 2, _MANY, null_gives_null=False),
    **dict.fromkeys(("LOWER", "LCASE"), _LOWER),
    **dict.fromkeys(("UPPER", "UCASE"), _UPPER),
    **dict.fromkeys(("LENGTH", "OCTET_LENGTH"), _LENGTH),
    **dict.fromkeys(("CHAR_LENGTH", "CHARACTER_LENGTH"), _CHARACTERS),
    **dict.fromkeys(("SUBSTRING", "SUBSTR", "MID"), _SUBSTRING),
    "LEFT": Function(lambda session, text, count: as_text(text)[: max(0, operators.integer(count))], 2, 2),
    "RIGHT": Function(
        lambda session, text, count: as_text(text)[-size:] if (size := operators.integer(count)) > 0 else "", 2, 2
    ),
    "LPAD": Function(lambda session, *given: _padded(session, *given, left=True), 3, 3),
    "RPAD": Function(lambda session, *given: _padded(session, *given, left=False), 3, 3),
    "TRIM": Function(lambda session, text: as_text(text).strip(" "), 1, 1),
    "LTRIM": Function(lambda session, text: as_text(text).lstrip(" "), 1, 1),
    "RTRIM": Function(lambda session, text: as_text(text).rstrip(" "), 1, 1),
    "REPEAT": Function(_repeat, 2, 2),
    "REPLACE": Function(
        lambda session, text, old, new: as_text(text).replace(as_text(old), as_text(new)) if old else text, 3, 3
    ),
    "REVERSE": Function(lambda session, text: as_text(text)[::-1], 1, 1),
    "SPACE": Function(lambda session, count: _repeat(session, " ", count), 1, 1),
    "HEX": Function(_hexadecimal, 1, 1),
    "UNHEX": Function(_unhexed, 1, 1),
    "MD5": Function(_hash("md5"), 1, 1),
    **dict.fromkeys(("SHA", "SHA1"), _SHA1),
    "SHA2": Function(_sha2, 2, 2),
    "UUID": Function(lambda session: str(uuid.uuid1()), 0, 0),
    "UUID_TO_BIN": Function(lambda session, text: uuid.UUID(as_text(text)).bytes, 1, 1),
    "RAND": Function(lambda session: random.random(), 0, 0),
    "ABS": Function(lambda session, value: abs(number(value)), 1, 1),
    "SIGN": Function(lambda session, value: (number(value) > 0) - (number(value) < 0), 1, 1),
    "MOD": Function(lambda session, one, other: operators.arithmetic("%", one, other), 2, 2),
    "ROUND": Function(_rounded, 1, 2),
    "TRUNCATE": Function(_truncated, 2, 2),
    "FLOOR": Function(_whole(ROUND_FLOOR, math.floor), 1, 1),
    **dict.fromkeys(("CEIL", "CEILING"), _CEILING),
    **dict.fromkeys(("POW", "POWER"), _POWER),
    "SQRT": Function(lambda session, value: math.sqrt(found) if (found := number(value)) >= 0 else None, 1, 1),
    "GREATEST": Function(_extreme(1), 2, _MANY),
    "LEAST": Function(_extreme(-1), 2, _MANY),
    "COALESCE": Function(
        lambda session, *values: next((value for value in values if value is not None), None), 1, _MANY, False
    ),
    "IFNULL": Function(lambda session, value, other: other if value is None else value, 2, 2, False),
    "NULLIF": Function(_null_if, 2, 2, False),
    "ISNULL": Function(lambda session, value: value is None, 1, 1, False),
    "LAST_INSERT_ID": Function(_last_insert_id, 0, 1),
    "DATABASE": Function(lambda session: session.database or None, 0, 0),
    "JSON_OBJECT": Function(_json_object, 0, _MANY, False),
    "JSON_ARRAY": Function(
        lambda session, *values: Json([json_paths.part_of_document(value) for value in values]), 0, _MANY, False
    ),
    "JSON_EXTRACT": Function(lambda session, document, path: json_paths.extracted(document, path), 2, 2),
    "JSON_VALID": Function(lambda session, value: json_paths.is_document(value), 1, 1),
    "JSON_UNQUOTE": Function(lambda session, value: json_paths.unquoted(value), 1, 1),
    "JSON_SET": Function(_json_changed(replaces=True, adds=True), 3, _MANY, False),
    "JSON_INSERT": Function(_json_changed(replaces=False, adds=True), 3, _MANY, False),
    "JSON_REPLACE": Function(_json_changed(replaces=True, adds=False), 3, _MANY, False),
    "JSON_REMOVE": Function(_json_removed, 2, _MANY),
}
JSON_TEXTS: Final = frozenset({"JSON_UNQUOTE"})
"""Functions whose texts are of a document, which compares by code points."""
