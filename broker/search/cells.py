"""A cell's bytes as a value: what conditions compare and people are shown.

A cell is as `records.py` keeps it: the number of its class in the union and its fields, in Avro. Text is decoded only
here, by MySQL's name of its character set; what is not valid in it stays bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from itertools import product
from typing import Any, Final

from broker.charsets import CODECS, encode
from broker.render import plain_value
from broker.search.records import CellClass, Reader

_DOUBLE: Final = struct.Struct("<d")
_DATETIME_PARTS: Final = ("year", "month", "day", "hour", "minute", "second", "millis")

Moment = tuple[int, int, int, int, int, int, int]
"""Year to microsecond."""


def read_cell(cell: bytes) -> dict[str, Any] | None:
    """A cell as `broker/render.py` takes it: None for NULL, else its fields by name, with its `class`."""
    reader = Reader(cell)
    kind = CellClass(reader.number())
    if kind is CellClass.NULL:
        return None
    match kind:
        case CellClass.INTEGER:
            fields: dict[str, Any] = {"precision": reader.number(), "value": reader.take().decode()}
        case CellClass.CHARACTER:
            fields = {"charset": reader.take().decode(), "value": reader.take()}
        case CellClass.DECIMAL:
            fields = {"value": reader.take().decode(), "precision": reader.number(), "scale": reader.number()}
        case CellClass.FLOAT:
            start, _ = reader.span(_DOUBLE.size)
            fields = {"value": _DOUBLE.unpack_from(cell, start)[0]}
        case CellClass.TIMESTAMP:
            fields = {"timestamp": reader.number(), "millis": reader.number()}
        case CellClass.DATETIME:
            fields = {part: _optional(reader) for part in _DATETIME_PARTS}
        case CellClass.BINARY_GEOMETRY | CellClass.BINARY_OBJECT:
            fields = {"type": reader.take().decode(), "value": reader.take()}
        case CellClass.TEXT_GEOMETRY | CellClass.TEXT_OBJECT:
            fields = {"type": reader.take().decode(), "value": reader.take().decode("utf-8", "surrogateescape")}
        case CellClass.EMPTY_OBJECT:
            fields = {"symbol": ("NULL", "NONE")[reader.number()]}
        case _:
            raise ValueError(f"a cell of class {kind.name}, which no MySQL value has")
    return {"class": _CLASS_NAMES[kind], **fields}


def _optional(reader: Reader) -> int | None:
    is_there = reader.number()
    return reader.number() if is_there else None


_CLASS_NAMES: Final[Mapping[CellClass, str]] = {
    CellClass.INTEGER: "Integer",
    CellClass.CHARACTER: "Character",
    CellClass.DECIMAL: "Decimal",
    CellClass.FLOAT: "Float",
    CellClass.TIMESTAMP: "Timestamp",
    CellClass.DATETIME: "DateTime",
    CellClass.BINARY_GEOMETRY: "BinaryGeometry",
    CellClass.TEXT_GEOMETRY: "TextGeometry",
    CellClass.BINARY_OBJECT: "BinaryObject",
    CellClass.TEXT_OBJECT: "TextObject",
    CellClass.EMPTY_OBJECT: "EmptyObject",
}


def plain(cell: Mapping[str, Any] | None) -> Decimal | float | str | bytes | None:
    """A value: numbers exactly, times as people write them, bytes where they are no text."""
    if cell is None:
        return None
    if cell["class"] in {"Integer", "Decimal"}:
        return Decimal(cell["value"])
    value = plain_value(cell)
    return without_surrogates(value) if isinstance(value, str) else value


def without_surrogates(text: str) -> str | bytes:
    """Text, or the bytes that it was decoded from where they are no UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogateescape")
    return text


def encodings(text: str) -> set[bytes] | None:
    """Text in every character set that has it; None if one of them writes a character of it in more than one way."""
    found = {text.encode("utf-8", "surrogateescape")}
    for codec, charset in _CHARSETS.items():
        try:
            found.add(encode(text, charset))
        except UnicodeEncodeError:
            continue
        if codec in _AMBIGUOUS_CODECS and not _ambiguous(codec).isdisjoint(text):
            return None
    return found


_CHARSETS: Final = {codec: charset for charset, codec in CODECS.items()}
"""One character set for each codec: what is written the same is written once."""
_AMBIGUOUS_CODECS: Final = frozenset({"big5", "cp932", "euc_jp"})
"""In which two byte sequences are one character; of the codecs of CODECS no others are so."""


@cache
def _ambiguous(codec: str) -> frozenset[str]:
    """The characters that more than one byte sequence is decoded to."""
    found = set()
    for first, second in product(range(0x80, 0x100), range(0x100)):
        pair = bytes((first, second))
        for data in (pair, b"\x8f" + pair) if codec == "euc_jp" else (pair,):
            try:
                character = data.decode(codec)
                if len(character) == 1 and character.encode(codec) != data:
                    found.add(character)
            except UnicodeDecodeError:
                continue
    return frozenset(found)


def moment(cell: Mapping[str, Any]) -> Moment | None:
    """A TIMESTAMP (UTC), DATETIME or DATE as one kind of thing; None for what is none of them."""
    if cell["class"] == "Timestamp":
        seconds, microseconds = cell["timestamp"], cell["millis"]
        if not seconds and not microseconds:
            return (0, 0, 0, 0, 0, 0, 0)
        at = datetime.fromtimestamp(seconds, UTC)
        return at.year, at.month, at.day, at.hour, at.minute, at.second, microseconds
    if cell["class"] == "DateTime" and cell["year"] is not None and cell["month"] is not None:
        year, month, day, hour, minute, second, fraction = (cell[part] or 0 for part in _DATETIME_PARTS)
        return year, month, day, hour, minute, second, fraction
    return None


def microseconds(cell: Mapping[str, Any]) -> int | None:
    """A TIME in microseconds, None for what is none."""
    if cell["class"] != "DateTime" or cell["year"] is not None or cell["hour"] is None:
        return None
    hour, minute, second, fraction = (cell[part] or 0 for part in _DATETIME_PARTS[3:])
    found: int = ((hour * 60 + minute) * 60 + second) * 1_000_000 + fraction
    return found


def year(cell: Mapping[str, Any]) -> int | None:
    """A YEAR, None for what is none."""
    is_year = cell["class"] == "DateTime" and cell["year"] is not None and cell["month"] is None
    return cell["year"] if is_year else None
