"""What a column makes of a value that is assigned to it, as a server in strict mode: `assigned`, by type.

Kept are an int, Decimal, float, str (bytes where it is not in the column's character set), date, aware datetime
(TIMESTAMP) or one without time zone, timedelta, Label, Json, bytes; zero dates are text. What does not fit is refused;
what a server cuts or rounds with a note only is cut and rounded. `written` is what the event encoder takes for it.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from datetime import date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import TYPE_CHECKING, Any, Final

from capture.json_writer import document_of
from capture.scenario import moments, operators, texts
from capture.scenario.comparing import HexLiteral, Json, Label, Value, as_bytes, as_text, number, text_number
from capture.scenario.json_paths import document_of as parsed_document
from capture.scenario.refusal import StatementRefused

if TYPE_CHECKING:
    from capture.scenario.session import Session
    from capture.table import Column

_INTEGER_BYTES: Final = {"tinyint": 1, "smallint": 2, "mediumint": 3, "int": 4, "bigint": 8}
_TEXT_BYTES_MAX: Final = {"tinytext": 255, "text": 65535, "mediumtext": 2**24 - 1, "longtext": 2**32 - 1}
_BLOB_BYTES_MAX: Final = {"tinyblob": 255, "blob": 65535, "mediumblob": 2**24 - 1, "longblob": 2**32 - 1}
_GEOMETRIES: Final = frozenset(
    {
        *("geometry", "point", "linestring", "polygon", "multipoint", "multilinestring", "multipolygon"),
        *("geomcollection", "geometrycollection"),
    }
)


class Unfit(ValueError):
    """Why a value does not fit, as half a sentence."""


def assigned(column: Column, value: Value, session: Session) -> Value:
    """What the column holds then; a value that is not NULL. Raises StatementRefused."""
    make = _MAKERS.get(column.data_type)
    if make is None:
        raise StatementRefused(f"values of {column.name}, a {column.data_type.upper()}, are not played")
    try:
        return make(column, value, session)
    except Unfit as error:
        raise StatementRefused(f"{_shown(value)} does not fit the column {column.name}: {error}") from None


def _shown(value: Value) -> str:
    text = repr(value.document if isinstance(value, Json) else bytes(value) if isinstance(value, bytes) else value)
    text = f"'{value}'" if isinstance(value, str) else str(value) if isinstance(value, Decimal | date) else text
    return text if len(text) <= 60 else f"{text[:57]}…"


def written(value: Value) -> Any:
    """A kept value as the event encoder takes it."""
    if isinstance(value, Label):
        return str(value)
    return document_of(value.document) if isinstance(value, Json) else value


def implicit_default(column: Column) -> Value:
    """What ALTER TABLE gives rows in a NOT NULL column without a default. Raises StatementRefused."""
    kind = column.data_type
    if kind in _INTEGER_BYTES or kind in {"bit", "year", "decimal", "float", "double"}:
        return 0
    if kind in _TEXT_BYTES_MAX or kind in {"char", "varchar", "set"}:
        return ""
    if kind in _BLOB_BYTES_MAX or kind in {"binary", "varbinary"}:
        return b""
    if kind == "enum":
        return column.labels[0]
    if kind == "time":
        return timedelta()
    raise StatementRefused(f"the column {column.name} needs a DEFAULT, as the table has rows")


# ---- numbers ----


def _as_number(value: Value) -> Decimal | int | float:
    if isinstance(value, str) and not isinstance(value, Label):
        try:
            return text_number(value)
        except StatementRefused:
            raise Unfit("it is no number") from None
    if isinstance(value, bytes) and not isinstance(value, HexLiteral):
        return _as_number(as_text(value))
    return number(_scalar(value))


def _scalar(value: Value) -> Value:
    """The value of a document that is a number or a string alone."""
    if not isinstance(value, Json):
        return value
    if isinstance(value.document, bool | int | float | str | Decimal):
        return value.document
    raise Unfit("a JSON array, object or null is no such value")


def _integer(column: Column, value: Value, session: Session) -> int:
    found = operators.integer(_as_number(value))
    size, unsigned = 8 * _INTEGER_BYTES[column.data_type], column.unsigned
    first, last = (0, (1 << size) - 1) if unsigned else (-1 << size - 1, (1 << size - 1) - 1)
    if not first <= found <= last:
        raise Unfit(f"{column.data_type.upper()}{' UNSIGNED' * unsigned} holds {first} to {last}")
    return found


def _decimal(column: Column, value: Value, session: Session) -> Decimal:
    found, scale = _as_number(value), column.scale or 0
    exact = Decimal(repr(found)) if isinstance(found, float) else Decimal(found)
    digits = (10 if column.precision is None else column.precision) - scale
    if exact and exact.adjusted() > digits:
        raise Unfit(f"it has more than {digits} digits before the point")
    result = exact.quantize(Decimal(1).scaleb(-scale), ROUND_HALF_UP, operators.EXACT)
    if result and result.adjusted() >= digits:
        raise Unfit(f"it has more than {digits} digits before the point")
    if result < 0 and column.unsigned:
        raise Unfit("the column is UNSIGNED")
    return result or abs(result)


def _real(column: Column, value: Value, session: Session) -> float:
    from capture.values import Misfit, rounded_real

    found = float(_as_number(value))
    if found < 0 and column.unsigned:
        raise Unfit("the column is UNSIGNED")
    if not math.isfinite(found):
        raise Unfit(f"it is out of the range of {column.data_type.upper()}")
    try:
        found = rounded_real(column, found)
    except Misfit as error:
        raise Unfit(str(error)) from None
    if column.data_type == "double":
        return found
    try:
        return float(struct.unpack("<f", struct.pack("<f", found))[0])
    except OverflowError:
        raise Unfit("a FLOAT holds up to 3.402823466E+38") from None


def _bit(column: Column, value: Value, session: Session) -> int:
    plain = isinstance(value, str | bytes) and not isinstance(value, HexLiteral | Label)
    found = int.from_bytes(as_bytes(value), "big") if plain else operators.integer(number(value))
    if not 0 <= found < 1 << (column.length or 1):
        raise Unfit(f"BIT({column.length or 1}) holds 0 to {(1 << (column.length or 1)) - 1}")
    return found


def _year(column: Column, value: Value, session: Session) -> int:
    if isinstance(value, date):
        return value.year
    found = operators.integer(_as_number(value))
    if isinstance(value, str) and found == 0 and len(value.strip()) < 4:
        return 2000
    if 0 < found < 100:
        found += 2000 if found < 70 else 1900
    if found != 0 and not 1901 <= found <= 2155:
        raise Unfit("a YEAR holds 0 and 1901 to 2155")
    return found


# ---- texts and bytes ----


def _text(column: Column, value: Value, session: Session) -> str | bytes:
    from capture.text_values import encoded_text
    from capture.values import Misfit

    value = value.decode("utf-8", "strict") if _is_utf8(value) and "utf8" in (column.charset or "") else value
    text = value if isinstance(value, bytes) else str(as_text(value))
    try:
        encoded = encoded_text(column, text)
    except Misfit as error:
        raise Unfit(str(error)) from None
    if isinstance(text, bytes):
        raise Unfit(f"bytes are not taken for a text of {column.charset} here; write it as a text")
    if column.data_type in _TEXT_BYTES_MAX:
        if len(encoded) > _TEXT_BYTES_MAX[column.data_type]:
            raise Unfit(f"{column.data_type.upper()} holds {_TEXT_BYTES_MAX[column.data_type]} bytes")
        return text
    length = 1 if column.length is None else column.length
    if column.data_type == "char":
        text = text.rstrip(" ")
    elif len(text) > length:
        text = text.rstrip(" ").ljust(length)  # spaces too many go with a note
    if len(text) > length:
        raise Unfit(f"{column.data_type.upper()}({length}) holds {length} characters")
    return text


def _is_utf8(value: Value) -> bool:
    if not isinstance(value, bytes):
        return False
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def _bytes(column: Column, value: Value, session: Session) -> bytes:
    data, kind = bytes(as_bytes(value)), column.data_type
    limit = _BLOB_BYTES_MAX.get(kind, 1 if column.length is None else column.length)
    if len(data) > limit:
        raise Unfit(f"{kind.upper()} holds {limit} bytes")
    return data.ljust(limit, b"\0") if kind == "binary" else data


def _enum(column: Column, value: Value, session: Session) -> Label:
    labels = column.labels
    if isinstance(value, int | float | Decimal):
        index = int(value)
        if not 1 <= index <= len(labels):
            raise Unfit(f"there is no label {index}")
        return Label(labels[index - 1], index)
    index = _label_index(column, as_text(value))
    return Label(labels[index], index + 1)


def _set(column: Column, value: Value, session: Session) -> Label:
    labels = column.labels
    if isinstance(value, int | float | Decimal):
        numbers = int(value)
        if not 0 <= numbers < 1 << len(labels):
            raise Unfit("it has no such labels")
    else:
        text = as_text(value)
        numbers = 0
        for part in text.split(",") if text else []:
            numbers |= 1 << _label_index(column, part)
    chosen = [label for index, label in enumerate(labels) if numbers >> index & 1]
    return Label(",".join(chosen), numbers)


def _label_index(column: Column, text: str) -> int:
    text, collation = text.rstrip(" "), column.collation or "binary"
    exact = [index for index, label in enumerate(column.labels) if label == text]
    found = exact or [index for index, label in enumerate(column.labels) if texts.are_equal(label, text, collation)]
    if not found:
        raise Unfit(f"its labels are {', '.join(map(repr, column.labels))}"[:160])
    return found[0]


# ---- moments ----


def _moment(column: Column, value: Value, session: Session) -> datetime | str:
    """A moment rounded to the column's digits, or a zero or partial date as text."""
    if isinstance(value, timedelta):
        raise Unfit("a TIME is not made a date here")
    given = value if isinstance(value, date | str) else str(_as_number(value))
    found = moments.moment_of(given)
    if found is None:
        return _zero_date(given, session)
    try:
        return moments.rounded(found, column.fsp)
    except OverflowError:
        raise Unfit("it is after the year 9999 when rounded") from None


def _zero_date(given: str | date, session: Session) -> str:
    parts = moments.parts_of(given) if isinstance(given, str) else None
    if given == "0" and "NO_ZERO_DATE" not in session.modes:
        parts = (0,) * 7
    if parts is None or (any(parts[:3]) and (0 not in parts[1:3] or parts[1] > 12 or parts[2] > 31)):
        raise Unfit("there is no such moment")
    if not any(parts) and "NO_ZERO_DATE" in session.modes:
        raise Unfit("sql_mode has NO_ZERO_DATE")
    if any(parts[:3]) and (parts[0] == 0 or "NO_ZERO_IN_DATE" in session.modes):
        raise Unfit("sql_mode has NO_ZERO_IN_DATE")
    return f"{parts[0]:04d}-{parts[1]:02d}-{parts[2]:02d} {parts[3]:02d}:{parts[4]:02d}:{parts[5]:02d}"


def _date(column: Column, value: Value, session: Session) -> date | str:
    found = _moment(column, value, session)
    return found.date() if isinstance(found, datetime) else found[: len(moments.ZERO_DATE)]


def _timestamp(column: Column, value: Value, session: Session) -> datetime | str:
    found = _moment(column, value, session)
    if isinstance(found, str):
        if any(character in "123456789" for character in found):
            raise Unfit("a TIMESTAMP holds no partial dates")
        return found
    moment = session.in_utc(found)
    if not 0 < moment.timestamp() < 1 << 31:
        raise Unfit("a TIMESTAMP holds 1970-01-01 00:00:01 to 2038-01-19 03:14:07 UTC")
    return moment


def _time(column: Column, value: Value, session: Session) -> timedelta:
    if isinstance(value, datetime):
        value = timedelta(hours=value.hour, minutes=value.minute, seconds=value.second, microseconds=value.microsecond)
    if not isinstance(value, timedelta):
        text = value if isinstance(value, str) else str(_as_number(value)).zfill(6)
        found = moments.time_of(text)
        moment = moments.moment_of(text) if found is None else None
        if found is None and moment is None:
            raise Unfit("a text of the form 'hhh:mm:ss' is needed")
        value = found if found is not None else moment - datetime.combine(moment.date(), datetime.min.time())  # type: ignore[union-attr, operator]
    result = moments.rounded_time(value, column.fsp)
    if abs(result) >= moments.TIME_MAX:
        raise Unfit("a TIME holds -838:59:59 to 838:59:59")
    return result


# ---- the rest ----


def _json(column: Column, value: Value, session: Session) -> Json:
    if isinstance(value, Json):
        return value
    if not isinstance(value, str):
        raise Unfit("a JSON column takes JSON text, or what a JSON function gives")
    return parsed_document(value)


def _geometry(column: Column, value: Value, session: Session) -> bytes:
    raise Unfit("geometries are not played; insert them by call, as WKB")


_MAKERS: Final[dict[str, Callable[[Column, Value, Session], Value]]] = {
    **dict.fromkeys(_INTEGER_BYTES, _integer),
    "decimal": _decimal,
    "float": _real,
    "double": _real,
    "bit": _bit,
    "year": _year,
    **dict.fromkeys(("char", "varchar", *_TEXT_BYTES_MAX), _text),
    **dict.fromkeys(("binary", "varbinary", *_BLOB_BYTES_MAX), _bytes),
    "enum": _enum,
    "set": _set,
    "date": _date,
    "datetime": _moment,
    "timestamp": _timestamp,
    "time": _time,
    "json": _json,
    **dict.fromkeys(_GEOMETRIES, _geometry),
}
