"""Avro's primitive encodings, as text of one character per byte (Latin-1).

Records are put together as Latin-1 text and encoded once at the end: f-strings and slices of text are what CPython
does fastest, and Latin-1 maps every byte to the character of the same number. Everything here returns such text;
`to_bytes` ends it. Only what a DTS record needs is here; decoding is `capture.avro`.
"""

from collections.abc import Callable
from functools import cache
from typing import TypeVar

_KeyT = TypeVar("_KeyT")

CACHED_TEXTS_MAX = 4096
"""Entries a TextCache keeps; what comes later is computed each time."""


class TextCache(dict[_KeyT, str]):
    """A table filled on demand: `cache[key]` is `make(key)`, kept while there is room. A hit costs one lookup."""

    __slots__ = ("_make",)

    def __init__(self, make: Callable[[_KeyT], str]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, key: _KeyT) -> str:
        text = self._make(key)
        if len(self) < CACHED_TEXTS_MAX:
            self[key] = text
        return text


def to_bytes(text: str) -> bytes:
    """The bytes the text stands for."""
    return text.encode("latin-1")


def from_bytes(data: bytes) -> str:
    """The text that stands for these bytes."""
    return data.decode("latin-1")


def varint(value: int) -> str:
    """Base-128, low bits first, of a number >= 0."""
    if value < 0x80:
        return chr(value)
    if value < 0x4000:
        return chr(value & 0x7F | 0x80) + chr(value >> 7)
    text = ""
    while value > 0x7F:
        text += chr(value & 0x7F | 0x80)
        value >>= 7
    return text + chr(value)


def zigzag(value: int) -> str:
    """Avro int or long."""
    return varint(value << 1 if value >= 0 else (-value << 1) - 1)


LOW_BITS = 13
LOW_MASK = (1 << LOW_BITS) - 1
"""A zigzag number of n > LOW_MASK is `low_zigzags()[n & LOW_MASK]`, two bytes, and then `varint(n >> LOW_BITS)`."""

_EVEN_FIRSTS = [chr(value | 0x80) for value in range(0, 0x80, 2)]
"""The first byte of even numbers that take two. Made of these, a table takes a third of the time."""


@cache
def low_zigzags() -> list[str]:
    """The first two bytes of the zigzag numbers above LOW_MASK, by their low bits."""
    return [first + chr(second) for second in range(0x80, 0x100) for first in _EVEN_FIRSTS]


@cache
def small_zigzags() -> list[str]:
    """Zigzag of 0 to LOW_MASK."""
    long = [first + chr(second) for second in range(1, 0x80) for first in _EVEN_FIRSTS]
    return [chr(value) for value in range(0, 0x80, 2)] + long


high_varints: TextCache[int] = TextCache(varint)
"""What follows `low_zigzags`, by the high bits."""


def data(value: bytes) -> str:
    """Avro bytes."""
    return zigzag(len(value)) + from_bytes(value)


def string(value: str) -> str:
    """Avro string. Names that were not UTF-8 at the source keep their bytes."""
    if value.isascii():  # its bytes are its characters
        return zigzag(len(value)) + value
    return data(value.encode("utf-8", "surrogateescape"))


def string_map(entries: dict[str, str]) -> str:
    """Avro map of strings: one block, in the order given."""
    if not entries:
        return zigzag(0)
    parts = [zigzag(len(entries))]
    for key, value in entries.items():
        parts += string(key), string(value)
    parts.append(zigzag(0))
    return "".join(parts)
