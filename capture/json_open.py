"""An array or object of a document while parts of it change: opened, changed in places, closed to bytes again.

An `OpenJson` keeps the document and, beside it, only its tables, 5 bytes for each value and 6 for each key; new values
and keys are kept apart. So what a change costs is a few times the bytes of the arrays and objects on the way to it,
whatever these hold. Closed, it is laid out as a server would, as `capture.json_writer` does from all values at once.

The invariant: an OpenJson closes to a document of the same values but for those that were changed. Bounds are checked
where a value is reached; values that overlap are refused when it closes. Which changes are made is the business of
`capture.json_diff`.
"""

import sys
from array import array
from collections.abc import Iterator
from itertools import accumulate
from typing import TypeAlias

from capture.json_binary import (
    CONTAINER_LAST,
    COUNT_AND_SIZE,
    FIXED_BYTES,
    INLINED,
    KEY_ENTRY,
    NULL_DOCUMENT,
    VALUE_ENTRY,
    Budget,
    DamagedJson,
    JsonType,
    read_container,
    value_end,
)

_T = JsonType
_NEW = 0xFF
"""In place of a type: the value is one of the new ones."""
_SMALL_MAX = 0xFFFF

JsonNode: TypeAlias = "bytes | OpenJson"
"""A value: a document of its own, or an array or object that is open."""


class OpenJson:
    """The outermost array or object of a document. Raises DamagedJson if there is none."""

    def __init__(self, document: bytes) -> None:
        if not document or document[0] > CONTAINER_LAST:
            raise DamagedJson("it is neither an array nor an object")
        self._document = document
        self._container = found = read_container(document, document[0], 1, len(document))
        self.is_object = found.is_object
        large, count = found.large, found.values
        keys_at = found.start + COUNT_AND_SIZE[large].size
        self._table_end = found.values_at + count * VALUE_ENTRY[large].size
        table = document[found.values_at : self._table_end]
        self._kinds = bytearray(table[:: VALUE_ENTRY[large].size])
        self._places = _column(table, VALUE_ENTRY[large].size, 1, 4 if large else 2)
        key_table = document[keys_at : found.values_at]
        key_bytes = KEY_ENTRY[large].size
        self._key_places = _column(key_table, key_bytes, 0, key_bytes - 2)
        self._key_sizes = _column(key_table, key_bytes, key_bytes - 2, 2)
        if _NEW in self._kinds or max(self._key_places, default=0) >= len(document):
            raise DamagedJson("a type is unknown, or a key lies outside its object")
        if sum(self._key_sizes) > len(document):
            raise DamagedJson("its keys overlap")
        self._new: list[JsonNode] = []
        self._new_keys: list[bytes] = []

    def __len__(self) -> int:
        return len(self._kinds)

    def find(self, key: bytes) -> tuple[int, bool]:
        """Where the member is or would be, and whether it is there."""
        low, high = 0, len(self)
        while low < high:
            middle = (low + high) // 2
            found = self._key(middle)
            if (len(found), found) < (len(key), key):
                low = middle + 1
            else:
                high = middle
        return low, low < len(self) and self._key(low) == key

    def is_container(self, index: int) -> bool:
        """Whether the value at an index is an array or object."""
        kind = self._kinds[index]
        value = self._new[self._places[index]] if kind == _NEW else bytes([kind])
        return not isinstance(value, bytes) or (bool(value) and value[0] <= CONTAINER_LAST)

    def open(self, index: int) -> "OpenJson":
        """The array or object at an index, opened. Raises DamagedJson if there is none."""
        value = self._value(index)
        if isinstance(value, bytes):
            value = OpenJson(value)
            self.replace(index, value)
        return value

    def replace(self, index: int, value: JsonNode) -> None:
        """Put a value in the place of the one at an index."""
        self._new.append(value)
        self._kinds[index] = _NEW
        self._places[index] = len(self._new) - 1

    def insert(self, index: int, value: JsonNode, key: bytes | None = None) -> None:
        """Put a value before the one at an index; into an object with its key, at the index that `find` gave."""
        self._kinds.insert(index, _NEW)
        self._places.insert(index, 0)
        if key is not None:
            self._new_keys.append(key)
            self._key_places.insert(index, len(self._document) + len(self._new_keys) - 1)
            self._key_sizes.insert(index, len(key))
        self.replace(index, value)

    def remove(self, index: int) -> None:
        """Take a value away, with its key."""
        del self._kinds[index], self._places[index]
        if self.is_object:
            del self._key_places[index], self._key_sizes[index]

    def _key(self, index: int) -> bytes:
        place, size = self._key_places[index], self._key_sizes[index]
        if place >= len(self._document):
            return self._new_keys[place - len(self._document)]
        start = self._container.start + place
        if start < self._table_end or start + size > self._container.end:
            raise DamagedJson("a key lies outside its object")
        return self._document[start : start + size]

    def _value(self, index: int) -> JsonNode:
        kind, place = self._kinds[index], self._places[index]
        return self._new[place] if kind == _NEW else bytes([kind]) + self._body(kind, place)

    def _body(self, kind: int, place: int) -> bytes:
        """An old value without its type."""
        if kind in INLINED[self._container.large]:
            return place.to_bytes(4, "little")[: FIXED_BYTES[kind]]
        start = self._container.start + place
        if start < self._table_end:
            raise DamagedJson("a value lies outside its array or object")
        return self._document[start : value_end(self._document, kind, start, self._container.end)]

    def closed(self) -> bytes:
        """The document as it is now. Raises DamagedJson."""
        closed = [value if isinstance(value, bytes) else value.closed() for value in self._new]
        new = [value or NULL_DOCUMENT for value in closed]
        kinds = {*self._kinds, *(new[self._places[index]][0] for index in _where(self._kinds, _ONLY_NEW))}
        if not kinds & {_T.LARGE_ARRAY, _T.LARGE_OBJECT}:
            small = self._laid_out(new, large=False)
            if small is not None:
                return small
        found = self._laid_out(new, large=True)
        assert found is not None  # only the small form has a limit
        return found

    def _laid_out(self, new: list[bytes], *, large: bool) -> bytes | None:
        """The small or large form; None where something does not fit the small one."""
        head, limit = COUNT_AND_SIZE[large], 0xFFFFFFFF if large else _SMALL_MAX
        count, key_sizes = len(self), self._key_sizes
        keys_at = head.size + len(key_sizes) * KEY_ENTRY[large].size + count * VALUE_ENTRY[large].size
        values_at = keys_at + sum(key_sizes)
        if max(count, values_at) > limit:
            return None
        bodies = bytearray()
        placed = self._placed(new, bodies, values_at, limit, large=large)
        if placed is None or values_at + len(bodies) > limit:
            return None
        kinds, places = placed
        key_places = array("I", accumulate(key_sizes, initial=keys_at))[: len(key_sizes)]
        out = bytearray([(_T.SMALL_OBJECT if self.is_object else _T.SMALL_ARRAY) + large])
        out += head.pack(count, values_at + len(bodies))
        out += _table((_image(key_places), KEY_ENTRY[large].size - 2), (_image(key_sizes), 2))
        out += _table((_stretched(kinds), 1), (_image(places), VALUE_ENTRY[large].size - 1))
        for index in range(len(key_sizes)):
            out += self._key(index)
        out += bodies
        return bytes(out)

    def _placed(
        self, new: list[bytes], bodies: bytearray, values_at: int, limit: int, *, large: bool
    ) -> "tuple[bytearray, array[int]] | None":
        """Types and places of all values, and what stands behind them; None where something does not fit."""
        kinds, places, inlined = self._kinds[:], self._places[:], INLINED[large]
        stays = inlined if large == self._container.large else frozenset[int]()
        budget = Budget(len(self._document))
        for index in _where(kinds, bytes(kind == _NEW or kind not in stays for kind in range(0x100))):
            kind, place = kinds[index], places[index]
            if kind == _NEW:
                kind, body = new[place][0], new[place][1:]
                kinds[index] = kind
            else:
                body = self._body(kind, place)
                budget.spend(len(body))
            if kind in inlined:
                places[index] = _extended(kind, body, large=large)
            elif values_at + len(bodies) > limit:
                return None
            else:
                places[index] = values_at + len(bodies)
                bodies += body
        return kinds, places


_ONLY_NEW = bytes(kind == _NEW for kind in range(0x100))


def _where(kinds: bytearray, wanted: bytes) -> Iterator[int]:
    """The indexes of the types for which `wanted` has a 1."""
    marks = kinds.translate(wanted)
    index = marks.find(1)
    while index >= 0:
        yield index
        index = marks.find(1, index + 1)


def _table(*columns: tuple[bytes | bytearray, int]) -> bytearray:
    """Columns of integers of four bytes, little endian, side by side, each in so many bytes."""
    step = sum(size for _, size in columns)
    table, offset = bytearray(step * (len(columns[0][0]) // 4)), 0
    for image, size in columns:
        for byte in range(size):
            table[offset + byte :: step] = image[byte::4]
        offset += size
    return table


def _image(column: "array[int]") -> bytes:
    if sys.byteorder == "big":
        column = column[:]
        column.byteswap()
    return column.tobytes()


def _stretched(kinds: bytearray) -> bytearray:
    """Types as integers of four bytes."""
    image = bytearray(4 * len(kinds))
    image[::4] = kinds
    return image


def _column(table: bytes, step: int, offset: int, size: int) -> "array[int]":
    """One column of a table of little-endian integers."""
    column = bytearray(len(table) // step * 4)
    for byte in range(size):
        column[byte::4] = table[offset + byte :: step]
    found = array("I", bytes(column))
    if sys.byteorder == "big":
        found.byteswap()
    return found


def _extended(kind: int, body: bytes, *, large: bool) -> int:
    """A value in the place of an offset: 16-bit integers keep their sign in a place of 32."""
    value = int.from_bytes(body, "little", signed=kind == _T.INT16 and large)
    return value & (0xFFFFFFFF if large else _SMALL_MAX)
