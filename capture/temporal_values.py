"""Dates and times to what a server puts into a row image: the way back of DATE to TIMESTAMP.

As `capture.values` for numbers. Like MySQL, a TIME, DATETIME or TIMESTAMP is rounded to the digits of its column. A
TIMESTAMP without time zone counts as UTC. Zero and partial dates, which Python has not, are given as text.
"""

import math
import re
import struct
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal

from capture.cells import ColumnShape
from capture.table_map import FieldType
from capture.temporal_cells import FRACTION_UNIT_US
from capture.time_cells import HOURS_MAX
from capture.values import BinlogType, Misfit, Value, ValueWriter

_MOMENT = re.compile(r"(\d{4})-(\d\d)-(\d\d)(?:[ T](\d\d):(\d\d):(\d\d)(?:\.(\d{1,6}))?)?", re.ASCII)
_TIMESTAMP_MAX = datetime(2038, 1, 19, 3, 14, 7, 999999, tzinfo=UTC)
_TIMESTAMP_RANGE = "a TIMESTAMP holds 1970-01-01 00:00:01 to 2038-01-19 03:14:07 UTC"
_SECONDS_MAX = 1 << 32
"""Behind any TIMESTAMP."""
_UNIX_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _moment(value: Value, fsp: int) -> datetime | tuple[int, ...]:
    """A datetime rounded to `fsp` digits; zero and partial dates, which Python has not, as their seven numbers."""
    if isinstance(value, str):
        match = _MOMENT.fullmatch(value)
        if match is None:
            raise Misfit("a text of the form 'YYYY-MM-DD hh:mm:ss' is needed")
        *whole, fraction = match.groups()
        numbers = (*(int(part or 0) for part in whole), int((fraction or "").ljust(6, "0")))
        if numbers[3] > 23 or numbers[4] > 59 or numbers[5] > 59:
            raise Misfit("there is no such time of day")
        if 0 in numbers[:3]:
            return _partial_date(numbers, fsp)
        try:
            value = datetime(*numbers)  # type: ignore[arg-type]  # noqa: DTZ001  DATETIME has no time zone
        except ValueError:
            raise Misfit("there is no such date") from None
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime.combine(value, time())
    if not isinstance(value, datetime):
        raise Misfit("a datetime or a text of the form 'YYYY-MM-DD hh:mm:ss' is needed")
    unit = 10 ** (6 - fsp)
    try:
        rounded = value + timedelta(microseconds=unit // 2)
    except OverflowError:
        raise Misfit("it is after the year 9999 when rounded") from None
    return rounded.replace(microsecond=rounded.microsecond // unit * unit)


def cut_fraction(value: Value, fsp: int) -> Value:
    """A time with `fsp` digits of its second, the others dropped: what MariaDB does where MySQL rounds."""
    unit = 10 ** (6 - fsp)
    if isinstance(value, datetime | time):
        return value.replace(microsecond=value.microsecond // unit * unit)
    if isinstance(value, timedelta):
        count = value // timedelta(microseconds=1)
        return timedelta(microseconds=abs(count) // unit * unit * (-1 if count < 0 else 1))
    if isinstance(value, float) and abs(value) < _SECONDS_MAX:
        digits_unit = float(10**fsp)
        return math.floor(value * digits_unit) / digits_unit
    if isinstance(value, str):
        whole, _, digits = value.partition(".")
        return f"{whole}.{digits[:fsp]}" if digits[:fsp] else whole
    return value


def _partial_date(numbers: tuple[int, ...], fsp: int) -> tuple[int, ...]:
    if numbers[1] > 12 or numbers[2] > 31:
        raise Misfit("there is no such date")
    if numbers[6] % 10 ** (6 - fsp):
        raise Misfit(f"a date with zeros is not rounded to {fsp} digits")
    return numbers


def _fraction_image(microseconds: int, fsp: int) -> bytes:
    return (microseconds // FRACTION_UNIT_US[fsp]).to_bytes((fsp + 1) // 2, "big") if fsp else b""


def _write_datetime(shape: ColumnShape, value: Value) -> bytes:
    moment = _moment(value, shape.metadata)
    if isinstance(moment, datetime):
        if moment.tzinfo is not None:
            raise Misfit("a DATETIME has no time zone, give one without")
        moment = (*moment.timetuple()[:6], moment.microsecond)
    year, month, day, hour, minute, second, microseconds = moment
    packed = (year * 13 + month) << 22 | day << 17 | hour << 12 | minute << 6 | second
    return (1 << 39 | packed).to_bytes(5, "big") + _fraction_image(microseconds, shape.metadata)


def _write_timestamp(shape: ColumnShape, value: Value) -> bytes:
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            value = _UNIX_EPOCH + timedelta(microseconds=round(Decimal(repr(value)) * 1_000_000))
        except (OverflowError, ValueError):
            raise Misfit(_TIMESTAMP_RANGE) from None
    moment = _moment(value, shape.metadata)
    if isinstance(moment, tuple):
        if any(moment):
            raise Misfit("a TIMESTAMP holds no partial dates")
        return struct.pack(">I", 0) + _fraction_image(0, shape.metadata)
    try:
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except OverflowError:
        raise Misfit(_TIMESTAMP_RANGE) from None
    since = moment - _UNIX_EPOCH
    if since < timedelta(seconds=1) or moment > _TIMESTAMP_MAX:
        raise Misfit(_TIMESTAMP_RANGE)
    return struct.pack(">I", since // timedelta(seconds=1)) + _fraction_image(moment.microsecond, shape.metadata)


DATETIME_WRITER = ValueWriter(lambda column, charsets: BinlogType(FieldType.DATETIME2, column.fsp), _write_datetime)
TIMESTAMP_WRITER = ValueWriter(lambda column, charsets: BinlogType(FieldType.TIMESTAMP2, column.fsp), _write_timestamp)

# DATE, TIME and YEAR

_DATE = re.compile(r"(\d{4})-(\d\d)-(\d\d)", re.ASCII)


def _date_numbers(value: Value) -> tuple[int, int, int]:
    if isinstance(value, str):
        match = _DATE.fullmatch(value)
        if match is None:
            raise Misfit("a text of the form 'YYYY-MM-DD' is needed")
        year, month, day = map(int, match.groups())
        if month > 12 or day > 31:
            raise Misfit("there is no such date")
        if not (year and month and day):
            return year, month, day
        try:
            value = date(year, month, day)
        except ValueError:
            raise Misfit("there is no such date") from None
    if not isinstance(value, date) or isinstance(value, datetime):
        raise Misfit("a date or a text of the form 'YYYY-MM-DD' is needed")
    return value.year, value.month, value.day


def _write_date(shape: ColumnShape, value: Value) -> bytes:
    year, month, day = _date_numbers(value)
    return (year << 9 | month << 5 | day).to_bytes(3, "little")


_TIME = re.compile(r"(-?)(\d{2,3}):(\d\d):(\d\d)(?:\.(\d{1,6}))?", re.ASCII)
_TIME_RANGE = f"a TIME holds -{HOURS_MAX}:59:59 to {HOURS_MAX}:59:59"
_HOUR_US = 3_600_000_000


def _time_us(value: Value) -> int:
    """Microseconds of a TIME, with its sign."""
    if isinstance(value, str):
        match = _TIME.fullmatch(value)
        if match is None or int(match[3]) > 59 or int(match[4]) > 59:
            raise Misfit("a text of the form 'hhh:mm:ss' is needed")
        seconds = (int(match[2]) * 60 + int(match[3])) * 60 + int(match[4])
        microseconds = seconds * 1_000_000 + int((match[5] or "").ljust(6, "0"))
        return -microseconds if match[1] else microseconds
    if isinstance(value, time) and value.tzinfo is None:
        return ((value.hour * 60 + value.minute) * 60 + value.second) * 1_000_000 + value.microsecond
    if isinstance(value, timedelta):
        return value // timedelta(microseconds=1)
    raise Misfit("a timedelta, a time without time zone or a text of the form 'hhh:mm:ss' is needed")


def _write_time(shape: ColumnShape, value: Value) -> bytes:
    total_us, fsp = _time_us(value), shape.metadata
    unit = int(10 ** (6 - fsp))
    rounded: int = (abs(total_us) + unit // 2) // unit * unit
    if rounded >= (HOURS_MAX + 1) * _HOUR_US:
        raise Misfit(_TIME_RANGE)
    seconds, microseconds = divmod(rounded, 1_000_000)
    minutes, second = divmod(seconds, 60)
    fraction_bytes = (fsp + 1) // 2
    whole = minutes // 60 << 12 | minutes % 60 << 6 | second
    packed = whole << 8 * fraction_bytes | microseconds // FRACTION_UNIT_US[fsp]
    size = 3 + fraction_bytes
    return ((0x80 << 8 * (size - 1)) + (-packed if total_us < 0 else packed)).to_bytes(size, "big")


def _write_year(shape: ColumnShape, value: Value) -> bytes:
    if not isinstance(value, int) or not (value == 0 or 1901 <= value <= 2155):
        raise Misfit("a YEAR holds 0 and 1901 to 2155")
    return bytes([value and value - 1900])


DATE_WRITER = ValueWriter(lambda column, charsets: BinlogType(FieldType.DATE), _write_date)
TIME_WRITER = ValueWriter(lambda column, charsets: BinlogType(FieldType.TIME2, column.fsp), _write_time)
YEAR_WRITER = ValueWriter(lambda column, charsets: BinlogType(FieldType.YEAR), _write_year)
