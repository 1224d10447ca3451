r"""Binary JSON to the text MySQL prints of it: `SELECT j` byte for byte.

Keys come in stored order (by length, then bytes), `", "` and `": "` between them. A double has the fewest digits that
tell it apart, with `.0` where it would look like an integer; it is positional from 1e-15 to below 1e15 and where it has
digits behind the point, and has an exponent beyond (`my_gcvt` of strings/dtoa.cc). Decimals have all their digits;
dates and times are quoted, with six digits of a second; other opaque values are `"base64:type<FieldType>:…"`, in lines
of 76 characters whose ends are escaped. Strings escape `"`, `\` and what is below a space (`double_quote` of
json_dom.cc@9.7), nothing else.

Text is Latin-1 text of UTF-8 bytes, as in `capture.avro_text`. Work and memory are linear in the document: every byte
is looked at once, and text is put together in blocks. The layout is that of `capture.json_binary`.
"""

import base64
import re
import struct
from collections.abc import Callable, Iterator
from itertools import repeat
from math import isfinite

from capture.avro_text import TextCache
from capture.cells import decimal_text
from capture.errors import MalformedEvent
from capture.image_fields import decimal_bytes
from capture.json_binary import (
    CONTAINER_LAST,
    COUNT_AND_SIZE,
    DEPTH_MAX,
    FIXED_BYTES,
    INLINED,
    KEY_ENTRY,
    NULL_DOCUMENT,
    VALUE_ENTRY,
    Budget,
    Container,
    DamagedJson,
    JsonType,
    read_container,
    read_length,
)
from capture.table_map import FieldType

_T = JsonType
_F = FieldType
_BLOCK = 1024
"""Values of one array or object that are text of their own before they are joined."""

_KNOWN_KEYS_MAX = 1024
"""Keys of one document that are kept as text, as objects beside each other have the same."""
_UNSPENT_BYTES_MAX = 1 << 16
"""Bytes of keys that are known already, before the budget is asked."""
_STRING, _OPAQUE_VALUE = int(_T.STRING), int(_T.OPAQUE)

_LITERALS = ("null", "true", "false")
_SPECIAL = re.compile('[\x00-\x1f"\\\\]').search
_ESCAPES = {code: f"\\u{code:04x}" for code in range(0x20)} | {
    ord(character): "\\" + letter for character, letter in zip('\b\t\n\f\r"\\', 'btnfr"\\', strict=True)
}


def json_text(document: bytes) -> str:
    """The text of a document. Raises DamagedJson."""
    whole = _Document(document or NULL_DOCUMENT)
    text = whole.value(whole.data[0], 1, len(whole.data), 0)
    if not text.isascii():
        try:
            text.encode("latin-1").decode("utf-8")
        except UnicodeDecodeError as error:
            raise DamagedJson("a text is not UTF-8") from error
    return text


def quoted(text: str) -> str:
    """A string as it stands in JSON."""
    return f'"{text.translate(_ESCAPES)}"' if _SPECIAL(text) else f'"{text}"'


class _Document:
    """One document while its text is made."""

    __slots__ = ("_budget", "_known_keys", "data", "text")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.text = data.decode("latin-1")
        self._budget = Budget(len(data))
        self._known_keys: dict[str, str] = {}

    def value(self, kind: int, start: int, end: int, depth: int) -> str:
        """The value of type `kind` at `start` within what ends at `end`."""
        if kind == _STRING:
            length, at = read_length(self.data, start, end)
            self._budget.spend(length)
            return quoted(self.text[at : at + length])
        if kind <= CONTAINER_LAST:
            return self._container(read_container(self.data, kind, start, end), depth + 1)
        if kind == _OPAQUE_VALUE:
            return self._opaque(start, end)
        size = FIXED_BYTES.get(kind)
        if size is None:
            raise DamagedJson(f"the type {kind} is unknown")
        if start + size > end:
            raise DamagedJson("a number is cut short")
        return _NUMBERS[kind](self.data, start)

    def _container(self, found: Container, depth: int) -> str:
        if depth > DEPTH_MAX:
            raise DamagedJson(f"it is nested deeper than {DEPTH_MAX} levels")
        large, entry = found.large, VALUE_ENTRY[found.large]
        table_end = found.values_at + found.values * entry.size
        self._budget.spend(table_end - found.start)
        entries = memoryview(self.data)[found.values_at : table_end]
        keys = self._keys(found, table_end) if found.is_object else repeat("")
        inlined, value, base, end = INLINED[large], self.value, found.start, found.end
        blocks: list[str] = []
        texts: list[str] = []
        for key, place in zip(keys, entry.iter_unpack(entries), strict=False):
            kind, offset = place
            if kind in inlined:
                texts.append(key + _inlined_texts[place])
            elif base + offset < table_end:
                raise DamagedJson("a value lies outside its array or object")
            else:
                texts.append(key + value(kind, base + offset, end, depth))
            if len(texts) == _BLOCK:
                blocks.append(", ".join(texts))
                texts.clear()
        if texts:
            blocks.append(", ".join(texts))
        return f"{{{', '.join(blocks)}}}" if found.is_object else f"[{', '.join(blocks)}]"

    def _keys(self, found: Container, table_end: int) -> Iterator[str]:
        """What stands before each value of an object."""
        text, base, end, known = self.text, found.start, found.end, self._known_keys
        at = base + COUNT_AND_SIZE[found.large].size
        spent = 0
        for offset, length in KEY_ENTRY[found.large].iter_unpack(memoryview(self.data)[at : found.values_at]):
            start = base + offset
            if start < table_end or start + length > end:
                raise DamagedJson("a key lies outside its object")
            spent += length
            key = text[start : start + length]
            shown = known.get(key)
            if shown is None or spent > _UNSPENT_BYTES_MAX:
                self._budget.spend(spent)
                spent = 0
            if shown is None:
                shown = quoted(key) + ": "
                if len(known) < _KNOWN_KEYS_MAX:
                    known[key] = shown
            yield shown
        self._budget.spend(spent)

    def _opaque(self, start: int, end: int) -> str:
        if start >= end:
            raise DamagedJson("an opaque value is cut short")
        field_type = self.data[start]
        length, at = read_length(self.data, start + 1, end)
        self._budget.spend(length)
        if field_type == _F.VAR_STRING:
            return quoted(self.text[at : at + length])
        return _opaque_text(field_type, self.data[at : at + length])


def double_text(value: float) -> str:
    """A double as JSON text of MySQL has it."""
    shortest = repr(value)
    if 1e-4 <= abs(value) < 1e15 or not value:
        return shortest
    mantissa, _, exponent = shortest.lstrip("-").partition("e")
    whole, _, fraction = mantissa.partition(".")
    point = len(whole) + int(exponent or 0)
    digits = (whole + fraction.rstrip("0")).rstrip("0")
    if len(digits) > point > _POINT_MAX:
        return shortest
    if not _POINT_MIN <= point <= _POINT_MAX:
        text = f"{digits[0]}{'.' * (len(digits) > 1)}{digits[1:]}e{point - 1}"
    else:
        text = f"0.{'0' * -point}{digits}"
    return f"-{text}" if value < 0 else text


_POINT_MIN, _POINT_MAX = -14, 15
"""Digits before the point, zeros behind it counting down, where no exponent is written (`MAX_DECPT_FOR_F_FORMAT`)."""


def _literal(code: int) -> str:
    if code >= len(_LITERALS):
        raise DamagedJson(f"the literal {code} is unknown")
    return _LITERALS[code]


def _number(layout: str) -> Callable[[bytes, int], str]:
    unpack = struct.Struct(layout).unpack_from
    return lambda data, at: str(unpack(data, at)[0])


def _double(data: bytes, at: int) -> str:
    value = _DOUBLE.unpack_from(data, at)[0]
    if not isfinite(value):
        raise DamagedJson(f"it holds the double {value}")
    return double_text(value)


_DOUBLE = struct.Struct("<d")
_NUMBERS: dict[int, Callable[[bytes, int], str]] = {
    _T.LITERAL: lambda data, at: _literal(data[at]),
    _T.INT16: _number("<h"),
    _T.UINT16: _number("<H"),
    _T.INT32: _number("<i"),
    _T.UINT32: _number("<I"),
    _T.INT64: _number("<q"),
    _T.UINT64: _number("<Q"),
    _T.DOUBLE: _double,
}


def _inlined(kind: int, place: int) -> str:
    """A value that stands where others have their offset; shorter ones are extended there."""
    if kind == _T.LITERAL:
        return _literal(place & 0xFF)
    if kind == _T.INT16:
        return str((place + 0x8000 & 0xFFFF) - 0x8000)
    if kind == _T.UINT16:
        return str(place & 0xFFFF)
    if kind == _T.INT32:
        return str((place + 0x80000000 & 0xFFFFFFFF) - 0x80000000)
    return str(place)


_inlined_texts = TextCache[tuple[int, int]](lambda place: _inlined(*place))

# Opaque values


def _opaque_text(field_type: int, data: bytes) -> str:
    known = _OPAQUE.get(field_type)
    if known is not None:
        return known(data)
    encoded = base64.encodebytes(data).decode("ascii").rstrip("\n")
    return quoted(f"base64:type{field_type}:{encoded}")


def _decimal(data: bytes) -> str:
    """A DECIMAL: precision, scale, and its bytes as in a row image."""
    if len(data) < 2:
        raise DamagedJson("a decimal is cut short")
    precision, scale = data[0], data[1]
    if (
        not 0 < precision <= _DECIMAL_DIGITS_MAX
        or scale > precision
        or len(data) != 2 + decimal_bytes(precision, scale)
    ):
        raise DamagedJson(f"a DECIMAL({precision},{scale}) of {len(data)} bytes does not exist")
    try:
        return decimal_text(data[2:], precision, scale)
    except MalformedEvent as error:
        raise DamagedJson("the bytes of a decimal are no digits") from error


_DECIMAL_DIGITS_MAX = 81
"""Nine groups of nine digits (`DECIMAL_BUFF_LENGTH`)."""


def _moment(parts: Callable[[int], str]) -> Callable[[bytes], str]:
    """DATE, TIME, DATETIME and TIMESTAMP: eight bytes, microseconds in the lowest 24 bits (my_time.cc)."""

    def text(data: bytes) -> str:
        if len(data) != _PACKED_BYTES:
            raise DamagedJson(f"a date or time of {len(data)} bytes does not exist")
        packed = int.from_bytes(data, "little", signed=True)
        return f'"{"-" * (packed < 0)}{parts(abs(packed))}"'

    return text


_PACKED_BYTES = 8
_MICROSECONDS_BITS = 24
_TIME_OF_DAY_BITS = 17


def _time_of_day(packed: int) -> str:
    whole, microseconds = packed >> _MICROSECONDS_BITS, packed & (1 << _MICROSECONDS_BITS) - 1
    return f"{whole >> 12 & 0x3FF:02d}:{whole >> 6 & 0x3F:02d}:{whole & 0x3F:02d}.{microseconds:06d}"


def _date(packed: int) -> str:
    date = packed >> _MICROSECONDS_BITS + _TIME_OF_DAY_BITS
    year, month = divmod(date >> 5, 13)
    return f"{year:04d}-{month:02d}-{date & 0x1F:02d}"


def _datetime(packed: int) -> str:
    return f"{_date(packed)} {_time_of_day(packed & (1 << _MICROSECONDS_BITS + _TIME_OF_DAY_BITS) - 1)}"


_OPAQUE: dict[int, Callable[[bytes], str]] = {
    _F.NEWDECIMAL: _decimal,
    _F.DATE: _moment(_date),
    _F.TIME: _moment(_time_of_day),
    _F.DATETIME: _moment(_datetime),
    _F.TIMESTAMP: _moment(_datetime),
}
