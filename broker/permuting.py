"""Another value in place of a cell's, of the same type: what a mask by hash puts in.

Equal values become equal ones, and different values stay different, so that keys keep telling rows apart: all but
certainly those with more than `PERMUTED_CHARACTERS_MAX` characters or bytes, floating-point numbers and JSON, but not
surely texts with characters other than ASCII and Chinese ones. Which value becomes which depends on a key that is made
here and kept nowhere.

    Integer                 one that the column can have, with its sign
    Decimal                 as many digits, with its sign
    Float                   a number from 0 to 16384 that a FLOAT can have, too
    Character               letters and digits become others of their kind, Chinese characters such; what is neither
                            stays if it is ASCII and becomes a letter otherwise
    BinaryObject            as many bytes
    DateTime, Timestamp     a moment on the same side of 1970 and 2038, with its fraction of a second; YEAR a year; what
                            stands for no day or for every day stays: days in no calendar, 9999-12-31
    TextObject of JSON      a text of 16 hexadecimal digits

A permutation is a Feistel network of `_ROUNDS` rounds over an even number of bits, walked until it meets a value of the
range (Black and Rogaway, Ciphers with Arbitrary Finite Domains, 2002).
"""

from __future__ import annotations

import hashlib
import json
import secrets
from datetime import date, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from broker import charsets

if TYPE_CHECKING:
    from collections.abc import Callable

PERMUTED_CHARACTERS_MAX: Final = 64

_ROUNDS: Final = 8
_KEY_BYTES: Final = 32
_FLOAT_BITS: Final = 24
_FLOAT_DIVISOR: Final = 1024.0
_JSON_DIGITS: Final = 16
_DIGITS: Final = "0123456789"
_LOWER: Final = "abcdefghijklmnopqrstuvwxyz"
_CHINESE: Final = range(0x4E00, 0x9FA6)
"""CJK Unified Ideographs as of Unicode 1.1: those that gbk has."""
_WITH_CHINESE: Final = frozenset(
    ("utf-8", "utf_16_be", "utf_16_le", "utf_32_be", "gbk", "gb18030"),
)

_DAYS: Final = (date(1, 1, 1), date(1970, 1, 1), date(2038, 1, 1), date(9999, 12, 31))
_DAY_S: Final = 86_400
_TIMESTAMPS_S: Final = (1, 1 << 31, 1 << 32)
_TIMES_S: Final = (0, _DAY_S, 838 * 3600 + 59 * 60 + 60)
_YEARS: Final = (1901, 2156)


class Permuter:
    """Masks cells by one key."""

    def __init__(self, key: bytes | None = None) -> None:
        self._key = secrets.token_bytes(_KEY_BYTES) if key is None else key

    def masked(self, cell: dict[str, Any]) -> dict[str, Any]:
        """A cell of one of the classes above, with another value."""
        return _MASKED[cell["class"]](self, cell)

    def encoded(self, text: str, cell: dict[str, Any]) -> bytes:
        """ASCII text in the character set of a cell."""
        return text.encode(charsets.CODECS.get(cell["charset"], "ascii"), "replace")

    # ---- numbers ----

    def permuted(self, what: str, number: int, count: int) -> int:
        """The number below `count` that one below `count` becomes among those of `what`."""
        if count <= 1:
            return number
        half = (max((count - 1).bit_length(), 2) + 1) // 2
        mask, size = (1 << half) - 1, (half + 7) // 8
        prefix = self._key + f"{what} {count:x} ".encode()
        while True:
            left, right = number >> half, number & mask
            for turn in range(_ROUNDS):
                made = self._digest(prefix + bytes([turn]) + right.to_bytes(size, "big"), size)
                left, right = right, left ^ (int.from_bytes(made, "big") & mask)
            number = left << half | right
            if number < count:
                return number

    def permuted_between(self, what: str, number: int, bounds: tuple[int, ...]) -> int:
        """The same within the two neighbouring bounds between which a number is; others stay."""
        for low, high in pairwise(bounds):
            if low <= number < high:
                return low + self.permuted(f"{what} {low}", number - low, high - low)
        return number

    def _digest(self, data: bytes, size: int) -> bytes:
        return hashlib.shake_256(data).digest(size)

    def _integer(self, cell: dict[str, Any]) -> dict[str, Any]:
        number, half = int(cell["value"]), 1 << (8 * cell["precision"] - 1)
        if number < 0:
            masked = -1 - self.permuted("integer", -1 - number, half)
        else:
            masked = self.permuted_between("integer", number, (0, half, 2 * half))
        return {**cell, "value": str(masked)}

    def _decimal(self, cell: dict[str, Any]) -> dict[str, Any]:
        sign = "-" if cell["value"].startswith("-") else ""
        whole, dot, fraction = cell["value"].lstrip("-").partition(".")
        unscaled = int(whole + fraction)
        digits = len(str(unscaled))
        low = 0 if digits == 1 and not sign else 10 ** (digits - 1)
        masked = str(self.permuted_between("decimal" + sign, unscaled, (low, 10**digits)))
        masked = masked.rjust(len(whole + fraction), "0")
        return {**cell, "value": f"{sign}{masked[: len(whole)]}{dot}{masked[len(whole) :]}"}

    def _float(self, cell: dict[str, Any]) -> dict[str, Any]:
        made = self._digest(self._key + b"float " + cell["value"].hex().encode(), _FLOAT_BITS // 8)
        return {**cell, "value": int.from_bytes(made, "big") / _FLOAT_DIVISOR}

    # ---- moments ----

    def _timestamp(self, cell: dict[str, Any]) -> dict[str, Any]:
        return {**cell, "timestamp": self.permuted_between("timestamp", cell["timestamp"], _TIMESTAMPS_S)}

    def _date_time(self, cell: dict[str, Any]) -> dict[str, Any]:
        if cell["year"] is None:
            return {**cell, **self._time(cell)}
        if cell["month"] is None:
            return {**cell, "year": self.permuted_between("year", cell["year"], _YEARS)}
        try:
            day = date(cell["year"], cell["month"], cell["day"])
        except ValueError:
            return cell  # a day that is in no calendar is as little as NULL
        if cell["hour"] is None:
            bounds = tuple((bound - _DAYS[0]).days for bound in _DAYS)
            return {**cell, **_day(self.permuted_between("date", (day - _DAYS[0]).days, bounds))}
        bounds = tuple((bound - _DAYS[0]).days * _DAY_S for bound in _DAYS)
        second_of_day = cell["hour"] * 3600 + cell["minute"] * 60 + cell["second"]
        masked = self.permuted_between("datetime", (day - _DAYS[0]).days * _DAY_S + second_of_day, bounds)
        return {**cell, **_day(masked // _DAY_S), **_clock(masked % _DAY_S, 1)}

    def _time(self, cell: dict[str, Any]) -> dict[str, int]:
        seconds = cell["hour"] * 3600 + cell["minute"] * 60 + cell["second"]
        sign = -1 if seconds < 0 or (cell["millis"] or 0) < 0 else 1
        return _clock(self.permuted_between("time", abs(seconds), _TIMES_S), sign)

    # ---- texts and bytes ----

    def _character(self, cell: dict[str, Any]) -> dict[str, Any]:
        charset = cell["charset"]
        try:
            text = charsets.decode(cell["value"], charset)
        except (KeyError, UnicodeDecodeError):
            # Of a text that cannot be read the ASCII characters count; no other byte can stay.
            return {**cell, "value": self.text(cell["value"].decode("latin-1"), ()).encode("latin-1")}
        chinese = _CHINESE if charsets.CODECS[charset] in _WITH_CHINESE else ()
        return {**cell, "value": charsets.encode(self.text(text, chinese), charset)}

    def text(self, text: str, chinese: range | tuple[()]) -> str:
        """As many characters of the same kinds."""
        made = iter(self._digest(self._key + b"text " + text.encode("utf-8", "surrogatepass"), 4 * len(text)))
        alphabets: list[tuple[int, int]] = []
        """First character and count of those that may stand where a character is."""
        numbers: list[int] = []
        for character in text:
            first, count = _alphabet(character, chinese)
            alphabets.append((first, count))
            numbers.append(ord(character) - first if count > 1 and first <= ord(character) < first + count else 0)
        if len(text) > PERMUTED_CHARACTERS_MAX:
            numbers = [int.from_bytes(bytes(next(made) for _ in range(4)), "big") % count for _, count in alphabets]
        else:
            numbers = self._permuted_digits(text, alphabets, numbers)
        return "".join(chr(first + number) for (first, _), number in zip(alphabets, numbers, strict=True))

    def _permuted_digits(self, text: str, alphabets: list[tuple[int, int]], digits: list[int]) -> list[int]:
        """The digits of a number, each of a base of its own, as those of another below the product of the bases."""
        number, product = 0, 1
        for (_, base), digit in zip(alphabets, digits, strict=True):
            number, product = number * base + digit, product * base
        shape = "".join("." if base == 1 else chr(first) for first, base in alphabets)
        foreign = "".join(c for c in text if not c.isascii() and ord(c) not in _CHINESE)
        number = self.permuted(f"text {shape} {foreign}", number, product)
        found = []
        for _, base in reversed(alphabets):
            number, digit = divmod(number, base)
            found.append(digit)
        return found[::-1]

    def _binary(self, cell: dict[str, Any]) -> dict[str, Any]:
        data = cell["value"]
        if len(data) > PERMUTED_CHARACTERS_MAX:
            return {**cell, "value": self._digest(self._key + b"bytes " + data, len(data))}
        masked = self.permuted("bytes", int.from_bytes(data, "big"), 1 << (8 * len(data)))
        return {**cell, "value": masked.to_bytes(len(data), "big")}

    def _json(self, cell: dict[str, Any]) -> dict[str, Any]:
        made = self._digest(self._key + b"json " + cell["value"].encode(), _JSON_DIGITS // 2)
        return {**cell, "value": json.dumps(made.hex())}


def _alphabet(character: str, chinese: range | tuple[()]) -> tuple[int, int]:
    """The first character, and how many there are, of those that may stand in place of one."""
    if "0" <= character <= "9":
        return ord("0"), len(_DIGITS)
    if "a" <= character <= "z":
        return ord("a"), len(_LOWER)
    if "A" <= character <= "Z":
        return ord("A"), len(_LOWER)
    if character.isascii():
        return ord(character), 1
    if ord(character) in chinese:
        return _CHINESE.start, len(_CHINESE)
    return ord("a"), len(_LOWER)


def _day(number: int) -> dict[str, int]:
    day = _DAYS[0] + timedelta(days=number)
    return {"year": day.year, "month": day.month, "day": day.day}


def _clock(seconds: int, sign: int) -> dict[str, int]:
    return {"hour": sign * (seconds // 3600), "minute": sign * (seconds // 60 % 60), "second": sign * (seconds % 60)}


_MASKED: Final[dict[str, Callable[[Permuter, dict[str, Any]], dict[str, Any]]]] = {
    "Integer": Permuter._integer,
    "Decimal": Permuter._decimal,
    "Float": Permuter._float,
    "Character": Permuter._character,
    "Timestamp": Permuter._timestamp,
    "DateTime": Permuter._date_time,
    "BinaryObject": Permuter._binary,
    "TextObject": Permuter._json,
}
