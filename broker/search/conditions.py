"""What is asked of a column, in the three forms in which a search uses it.

    fits        a cell, by its bytes; what was judged once is remembered
    needles     bytes of which some must be in the records of a batch that has a fitting cell; None: nothing is known
    contents    of `=`: every content, with its family, that a fitting cell can have (keys of the filter); None as above

A value is compared as what the cell is: numbers as numbers (DECIMAL exactly), times as times (a TIMESTAMP is UTC unless
the value says otherwise), text by its characters, bytes by their hexadecimal digits behind `0x` or as UTF-8. A value
that cannot be one of the column's type equals nothing and is in no order to anything. `contains` and `starts with` look
at the text that is shown. NULL fits `is null` alone; a cell that the image lacks fits nothing.

Invariant: a cell that fits has one of the contents, and its record's bytes have one of the needles.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal, InvalidOperation
from functools import cached_property
from typing import Any, Final

from broker.search import cells
from broker.search.cells import Moment
from broker.search.records import CellClass, normalized

REMEMBERED_MAX: Final = 1 << 14
_OF_TIMES_AND_NUMBERS: Final = frozenset("0123456789:.- +eEUTCinfa")
"""Characters that the text of a time or a FLOAT may have, which do not stand in a record as they are shown."""
_MOMENT: Final = re.compile(
    r"(\d{1,4})-(\d{1,2})-(\d{1,2})(?:[ T](\d{1,2}):(\d{2})(?::(\d{2})(?:\.(\d{1,6}))?)?)?\s*(UTC|Z|[+-]\d{2}:?\d{2})?"
)
_TIME: Final = re.compile(r"(-?)(\d{1,3}):(\d{2})(?::(\d{2})(?:\.(\d{1,6}))?)?")
_HEX: Final = re.compile(r"0[xX]((?:[0-9a-fA-F]{2})*)")
_DOUBLE: Final = struct.Struct("<d")
_INTEGER, _DECIMAL = CellClass.INTEGER << 1, CellClass.DECIMAL << 1
"""The first byte of such a cell: a zigzag number."""

_ORDERS: Final[Mapping[str, Callable[[int], bool]]] = {
    "=": lambda order: order == 0,
    "!=": lambda order: order != 0,
    "<": lambda order: order < 0,
    "<=": lambda order: order <= 0,
    ">": lambda order: order > 0,
    ">=": lambda order: order >= 0,
}


class ColumnCondition:
    """One condition, of a column of this name (as the log has it: UTF-8)."""

    def __init__(self, column: str, operator: str, value: str | None) -> None:
        self.column = column.encode("utf-8", "surrogateescape")
        self.operator = operator
        self.value = value or ""
        self._remembered: dict[bytes, bool] = {}

    def fits(self, cell: bytes | None) -> bool:
        """Whether a cell fits; None is a column that is not there."""
        if cell is None:
            return False
        verdict = self._remembered.get(cell)
        if verdict is None:
            digits = _digits(cell)
            if digits is not None and self.operator in {"contains", "starts with"}:
                return digits.startswith(self.value) if self.operator == "starts with" else self.value in digits
            if digits is not None and self.operator in _ORDERS:
                order = _compared(Decimal(digits), self._decimal)
                return _ORDERS[self.operator](order) if order is not None else self.operator == "!="
            verdict = self._judge(cells.read_cell(cell))
            if len(self._remembered) < REMEMBERED_MAX and len(cell) <= REMEMBERED_MAX:
                self._remembered[cell] = verdict
        return verdict

    def _judge(self, cell: Mapping[str, Any] | None) -> bool:
        if cell is None:
            return self.operator == "is null"
        if cell["class"] == "EmptyObject" or self.operator == "is null":
            return False
        if self.operator == "is not null":
            return True
        if self.operator in {"contains", "starts with"}:
            return self._is_part(cell)
        order = self._order(cell)
        return _ORDERS[self.operator](order) if order is not None else self.operator == "!="

    def _is_part(self, cell: Mapping[str, Any]) -> bool:
        shown = cells.plain(cell)
        whole: str | bytes
        part: str | bytes
        if isinstance(shown, bytes):
            whole, part = shown, self._bytes
        else:
            whole, part = _text(cell, shown), self.value
        if self.operator == "starts with":
            return whole.startswith(part)  # type: ignore[arg-type]
        return part in whole  # type: ignore[operator]

    def _order(self, cell: Mapping[str, Any]) -> int | None:
        """Below, at or above zero as the cell is below, equal to or above the value; None where neither can be said."""
        kind = cell["class"]
        if kind in {"Integer", "Decimal"}:
            return _compared(Decimal(cell["value"]), self._decimal)
        if kind == "Float":
            return _compared(cell["value"], self._float)
        if kind == "Timestamp":
            return _compared(cells.moment(cell), self._moment_utc)
        if kind == "DateTime":
            if (time_us := cells.microseconds(cell)) is not None:
                return _compared(time_us, self._time_us)
            if (year := cells.year(cell)) is not None:
                return _compared(Decimal(year), self._decimal)
            return _compared(cells.moment(cell), self._moment_local)
        shown = cells.plain(cell)
        return _compared(shown, self._bytes if isinstance(shown, bytes) else self.value)

    # The value, as what it can be

    @cached_property
    def _decimal(self) -> Decimal | None:
        try:
            number = Decimal(self.value.strip())
        except InvalidOperation:
            return None
        return number if number.is_finite() and abs(number.adjusted()) < 500 else None

    @cached_property
    def _float(self) -> float | None:
        try:
            number = float(self.value.strip())
        except ValueError:
            return None
        return number if math.isfinite(number) else None

    @cached_property
    def _bytes(self) -> bytes:
        match = _HEX.fullmatch(self.value)
        return bytes.fromhex(match[1]) if match else self.value.encode("utf-8", "surrogateescape")

    @cached_property
    def _moment(self) -> tuple[Moment, str | None] | None:
        match = _MOMENT.fullmatch(self.value.strip())
        if match is None:
            return None
        *parts, fraction, zone = match.groups()
        year, month, day, hour, minute, second = (int(part or 0) for part in parts)
        return (year, month, day, hour, minute, second, int((fraction or "").ljust(6, "0"))), zone

    @cached_property
    def _moment_local(self) -> Moment | None:
        """For what has no zone; a value that has one is compared as it is written."""
        return self._moment[0] if self._moment else None

    @cached_property
    def _moment_utc(self) -> Moment | None:
        if self._moment is None:
            return None
        at, zone = self._moment
        if zone is None or zone in {"UTC", "Z"} or at == (0, 0, 0, 0, 0, 0, 0):
            return at
        digits = zone[1:].replace(":", "")
        offset = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
        try:
            moved = datetime(*at, tzinfo=timezone(-offset if zone[0] == "-" else offset)).astimezone(UTC)
        except (ValueError, OverflowError):
            return None
        return moved.year, moved.month, moved.day, moved.hour, moved.minute, moved.second, moved.microsecond

    @cached_property
    def _time_us(self) -> int | None:
        match = _TIME.fullmatch(self.value.strip())
        if match is None:
            return None
        sign, hour, minute, second, fraction = match.groups()
        seconds = (int(hour) * 60 + int(minute)) * 60 + int(second or 0)
        whole = seconds * 1_000_000 + int((fraction or "").ljust(6, "0"))
        return -whole if sign else whole

    # As bytes

    @cached_property
    def contents(self) -> list[tuple[bytes, bytes]] | None:
        """Families and contents; see above."""
        texts = cells.encodings(self.value) if self.operator == "=" else None
        if texts is None:
            return None
        found = {(b"b", content) for content in texts} | {(b"b", self._bytes)}
        if self._decimal is not None:
            found.add((b"n", normalized(_plain_digits(self._decimal))))
            if self._decimal == self._decimal.to_integral_value() and 0 <= self._decimal <= 9999:
                found.add((b"D", _datetime(int(self._decimal), *[None] * 6)))
        if self._float is not None:
            same = (0.0, -0.0) if self._float == 0 else (self._float,)
            found |= {(b"f", _DOUBLE.pack(value)) for value in same}
        if self._time_us is not None:
            found |= {(b"D", content) for content in _times(self._time_us)}
        if self._moment_local is not None:
            found |= {(b"D", content) for content in _moments(self._moment_local)}
        if self._moment_utc is not None and (timestamp := _timestamp(self._moment_utc)) is not None:
            found.add((b"T", timestamp))
        return sorted(found)

    @cached_property
    def needles(self) -> list[bytes] | None:
        """See above. A number is looked for without its sign and without zeros that need not be there."""
        found: set[bytes] | None = None
        if self.contents is not None:
            found = {content.lstrip(b"-") if family == b"n" else content for family, content in self.contents}
        elif self.operator in {"contains", "starts with"} and not _OF_TIMES_AND_NUMBERS.issuperset(self.value):
            texts = cells.encodings(self.value)
            found = None if texts is None else texts | {self._bytes}
        return None if found is None or b"" in found else _without_longer(found)


def _digits(cell: bytes) -> str | None:
    """The digits of an Integer or Decimal, as most are: lengths of one byte each. What else there is, others read."""
    if cell[0] == _INTEGER and cell[1] < 0x80 and cell[2] < 0x80:
        return cell[3:].decode("ascii")
    if cell[0] == _DECIMAL and cell[1] < 0x80:
        return cell[2 : 2 + (cell[1] >> 1)].decode("ascii")
    return None


def _without_longer(needles: set[bytes]) -> list[bytes]:
    """Those that have none of the others in them: who has the longer has the shorter."""
    kept: list[bytes] = []
    for needle in sorted(needles, key=len):
        if not any(shorter in needle for shorter in kept):
            kept.append(needle)
    return kept


def _compared(value: Any, other: Any) -> int | None:
    if value is None or other is None:
        return None
    return int(value > other) - int(value < other)


def _text(cell: Mapping[str, Any], shown: Decimal | float | str | None) -> str:
    return str(cell["value"]) if cell["class"] in {"Integer", "Decimal"} else str(shown)


def _plain_digits(number: Decimal) -> bytes:
    return format(number, "f").encode()


# ---- contents of times, as capture writes them ----


def _zigzag(value: int) -> bytes:
    rest, encoded = value << 1 if value >= 0 else (-value << 1) - 1, bytearray()
    while rest > 0x7F:
        encoded.append(rest & 0x7F | 0x80)
        rest >>= 7
    encoded.append(rest)
    return bytes(encoded)


def _datetime(*parts: int | None) -> bytes:
    return b"".join(b"\0" if part is None else b"\2" + _zigzag(part) for part in parts)


def _moments(at: Moment) -> list[bytes]:
    """A DATETIME, with and without a fraction that is none; a DATE."""
    found = [_datetime(*at)]
    if not at[6]:
        found.append(_datetime(*at[:6], None))
    if not any(at[3:]):
        found.append(_datetime(*at[:3], None, None, None, None))
    return found


def _times(time_us: int) -> list[bytes]:
    """A TIME; every part of a negative one is negative."""
    sign = -1 if time_us < 0 else 1
    seconds, fraction = divmod(abs(time_us), 1_000_000)
    minutes, second = divmod(seconds, 60)
    hour, minute = divmod(minutes, 60)
    parts = [sign * part for part in (hour, minute, second, fraction)]
    found = [_datetime(None, None, None, *parts)]
    if not fraction:
        found.append(_datetime(None, None, None, *parts[:3], None))
    return found


def _timestamp(at: Moment) -> bytes | None:
    if at == (0, 0, 0, 0, 0, 0, 0):
        return _zigzag(0) + _zigzag(0)
    try:
        moment = datetime(*at[:6], tzinfo=UTC)
    except ValueError:
        return None
    return _zigzag(int(moment.timestamp())) + _zigzag(at[6])
