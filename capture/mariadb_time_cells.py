"""Code of TIME, DATETIME and TIMESTAMP columns with fractional seconds in MariaDB's own format of 5.3 to 10.0.

MariaDB had fractional seconds before MySQL, and writes them so still in tables that were made with
`mysql56_temporal_format=OFF` (`/* mariadb-5.3 */` in SHOW CREATE TABLE). The binlog says type 7, 11 or 12 and no more;
how many digits there are, and with them how many bytes, only the schema history knows. All are big-endian numbers
(`Field_timestamp_hires`, `Field_time_hires`, `Field_datetime_hires` of field.cc@10.0):

    TIMESTAMP(f)  Unix seconds in four bytes, then the fraction, in units of its last digit
    TIME(f)       units of the last digit since -839 hours
    DATETIME(f)   units of the last digit, in a calendar of 13 months of 32 days: ((year * 13 + month) * 32 + day) * 24
"""

from collections.abc import Callable
from functools import cache

from capture.avro_text import TextCache, zigzag
from capture.cells import TIMESTAMP, CellCode, ColumnShape, big_endian
from capture.errors import MalformedEvent
from capture.operation import Operation
from capture.temporal_cells import date_parts, part
from capture.time_cells import HOURS_MAX, NO_DATE, negative_time

_TIME_BYTES = (3, 4, 4, 5, 5, 5, 6)
_DATETIME_BYTES = (5, 6, 6, 7, 7, 7, 8)
_FRACTION_BYTES = (0, 1, 1, 2, 2, 3, 3)
"""Bytes by the digits of the fraction (`time_hires_bytes`, `datetime_hires_bytes`, `sec_part_bytes`)."""
_TIME_ZERO_US = (HOURS_MAX + 1) * 3_600_000_000
_YEAR_MAX = 9999

_Reader = Callable[[ColumnShape], CellCode]


def with_fraction(data_type: str, without: _Reader) -> _Reader:
    """The reader of a type's old format: `without` where the column has no fractional seconds."""
    return lambda shape: _READERS[data_type](shape) if shape.column.fsp else without(shape)


def _seconds_and_micros(microseconds: int) -> tuple[int, int, int, int]:
    """Hours, minutes, seconds and microseconds."""
    seconds, micros = divmod(microseconds, 1_000_000)
    minutes, second = divmod(seconds, 60)
    hour, minute = divmod(minutes, 60)
    return hour, minute, second, micros


@cache
def _times(fsp: int) -> TextCache[int]:
    def make(packed: int) -> str:
        microseconds = packed * 10 ** (6 - fsp) - _TIME_ZERO_US
        parts = _seconds_and_micros(abs(microseconds))
        if microseconds < 0:
            return negative_time(*parts)
        if parts[0] > HOURS_MAX:
            raise MalformedEvent(f"A TIME is {parts[0]} hours, which no server writes.")
        return NO_DATE + "".join(map(part, parts))

    return TextCache(make)


@cache
def _datetimes(fsp: int) -> TextCache[int]:
    def make(packed: int) -> str:
        hours, *rest = _seconds_and_micros(packed * 10 ** (6 - fsp))
        days, hour = divmod(hours, 24)
        months, day = divmod(days, 32)
        year, month = divmod(months, 13)
        if year > _YEAR_MAX:
            raise MalformedEvent(f"A DATETIME is in the year {year}, which no server writes.")
        return date_parts(year, month, day) + "".join(map(part, (hour, *rest)))

    return TextCache(make)


@cache
def _micros(fsp: int) -> TextCache[int]:
    def make(fraction: int) -> str:
        if fraction >= 10**fsp:
            raise MalformedEvent(f"A TIMESTAMP({fsp}) has the fraction {fraction}, which no server writes.")
        return zigzag(fraction * 10 ** (6 - fsp))

    return TextCache(make)


def _looked_up(shape: ColumnShape, name: str, cells: TextCache[int], size: int) -> CellCode:
    fixed, value = big_endian(shape.index, size)
    operation = Operation("mapped", size, big_endian=True, cells=cells)
    return CellCode(f"{{{name}[{value}]}}", fixed, objects={name: cells}, operation=operation)


def _time(shape: ColumnShape) -> CellCode:
    fsp = shape.column.fsp
    return _looked_up(shape, f"mariadb_times{fsp}", _times(fsp), _TIME_BYTES[fsp])


def _datetime(shape: ColumnShape) -> CellCode:
    fsp = shape.column.fsp
    return _looked_up(shape, f"mariadb_datetimes{fsp}", _datetimes(fsp), _DATETIME_BYTES[fsp])


def _timestamp(shape: ColumnShape) -> CellCode:
    i, fsp = shape.index, shape.column.fsp
    seconds, value = big_endian(i, 4)
    fraction, fraction_value = big_endian(i, _FRACTION_BYTES[fsp], len(seconds))
    micros = f"mariadb_micros{fsp}"
    objects: dict[str, object] = {"unix_seconds": _unix_seconds, micros: _micros(fsp)}
    return CellCode(f"{{unix_seconds[{value}]}}{{{micros}[{fraction_value}]}}", seconds + fraction, objects=objects)


_unix_seconds: TextCache[int] = TextCache(lambda seconds: TIMESTAMP + zigzag(seconds))
_READERS = {"time": _time, "datetime": _datetime, "timestamp": _timestamp}
