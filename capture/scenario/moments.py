"""Dates and times of scenarios: read from text and numbers, and written, as MySQL does.

Read are `YYYY-MM-DD`, `YYYY-MM-DD hh:mm[:ss[.fraction]]` (also with T), the same in digits alone, and a TIME as
`[-]hhh:mm[:ss[.fraction]]`; what is written otherwise is None, for the caller to refuse.
"""

from __future__ import annotations

import re
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Final

_MOMENT: Final = re.compile(r"(\d{4})-(\d{1,2})-(\d{1,2})(?:[ T](\d{1,2}):(\d{1,2})(?::(\d{1,2})(?:\.(\d{0,6}))?)?)?")
_DIGITS: Final = re.compile(r"(\d{4})(\d\d)(\d\d)(?:(\d\d)(\d\d)(\d\d)(?:\.(\d{0,6}))?)?")
_TIME: Final = re.compile(r"(-?)(\d{1,3}):(\d\d)(?::(\d\d)(?:\.(\d{0,6}))?)?")
_TIME_DIGITS: Final = re.compile(r"(-?)(\d{1,3}?)(\d\d)(\d\d)(?:\.(\d{0,6}))?")
TIME_MAX: Final = timedelta(hours=839)
ZERO_DATE: Final = "0000-00-00"


def parts_of(text: str) -> tuple[int, ...] | None:
    """Year to microsecond as written, whether or not there is such a moment."""
    text = text.strip()
    found = _MOMENT.fullmatch(text) or _DIGITS.fullmatch(text)
    if found is None:
        return None
    *whole, fraction = found.groups()
    return (*(int(part or 0) for part in whole), int((fraction or "").ljust(6, "0")))


def moment_of(value: str | date) -> datetime | None:
    """A moment that exists."""
    if isinstance(value, datetime):
        return value
    if isinstance(value, date):
        return datetime.combine(value, time())
    parts = parts_of(value)
    if parts is None:
        return None
    try:
        return datetime(*parts)  # type: ignore[arg-type]  # noqa: DTZ001  of the session's time zone, or of none
    except ValueError:
        return None


def time_of(text: str) -> timedelta | None:
    """A TIME of a text."""
    found = _TIME.fullmatch(text.strip()) or _TIME_DIGITS.fullmatch(text.strip())
    if found is None or int(found[3]) > 59 or int(found[4] or 0) > 59:
        return None
    length = timedelta(
        hours=int(found[2]),
        minutes=int(found[3]),
        seconds=int(found[4] or 0),
        microseconds=int((found[5] or "").ljust(6, "0")),
    )
    return -length if found[1] else length


def rounded(value: datetime, fsp: int) -> datetime:
    """A moment with so many digits of a second; raises OverflowError behind the year 9999."""
    unit = int(10 ** (6 - fsp))
    later = value + timedelta(microseconds=unit // 2)
    return later.replace(microsecond=later.microsecond // unit * unit)


def rounded_time(value: timedelta, fsp: int) -> timedelta:
    """A TIME with so many digits of a second."""
    unit = int(10 ** (6 - fsp))
    count = abs(value) // timedelta(microseconds=1)
    length = timedelta(microseconds=(count + unit // 2) // unit * unit)
    return -length if value < timedelta() else length


def number_of(value: date | timedelta) -> int | Decimal:
    """A moment as MySQL has it in arithmetic: its digits."""
    digits = re.sub(r"[-: ]", "", text_of(value).removeprefix("-"))
    number = Decimal(digits) if "." in digits else int(digits)
    return -number if isinstance(value, timedelta) and value < timedelta() else number


def text_of(value: date | timedelta) -> str:
    """A moment as MySQL writes it."""
    if isinstance(value, datetime):
        return value.isoformat(" ")
    if isinstance(value, date):
        return value.isoformat()
    seconds, microseconds = divmod(abs(value) // timedelta(microseconds=1), 1_000_000)
    fraction = f".{microseconds:06d}" if microseconds else ""
    sign = "-" if value < timedelta() else ""
    return f"{sign}{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}{fraction}"
