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
        new = [value if isinstance(value, bytes) else value.closed() for value in self._new]
        new = [value or NULL_DOCUMENT for value in new]
        self._check_overlap()
        kinds = {*self._kinds} | {new[place][0] for kind, place in self._entries() if kind == _NEW}
        if not kinds & {_T.LARGE_ARRAY, _T.LARGE_OBJECT}:
            small = self._laid_out(new, large=False)
            if small is not None:
                return small
        found = self._laid_out(new, large=True)
        assert found is not None  # only the small form has a limit
        return found

    def _entries(self) -> "zip[tuple[int, int]]":
        return zip(self._kinds, self._places, strict=True)

    def _check_overlap(self) -> None:
        budget, inlined = Budget(len(self._document)), INLINED[self._container.large]
        for kind, place in self._entries():
            if kind != _NEW and kind not in inlined:
                budget.spend(len(self._body(kind, place)))

    def _laid_out(self, new: list[bytes], *, large: bool) -> bytes | None:
        """The small or large form; None where something does not fit the small one."""
        head, key_entry, value_entry = COUNT_AND_SIZE[large], KEY_ENTRY[large], VALUE_ENTRY[large]
        count, inlined = len(self), INLINED[large]
        offset = head.size + len(self._key_places) * key_entry.size + count * value_entry.size
        out = bytearray(1 + offset)
        keys = bytearray()
        for index in range(len(self._key_places)):
            key = self._key(index)
            if not large and offset > _SMALL_MAX:
                return None
            key_entry.pack_into(out, 1 + head.size + index * key_entry.size, offset, len(key))
            keys += key
            offset += len(key)
        out += keys
        at = 1 + head.size + len(self._key_places) * key_entry.size
        for kind, place in self._entries():
            document = new[place] if kind == _NEW else None
            kind = kind if document is None else document[0]
            body = self._body(kind, place) if document is None else document[1:]
            if kind in inlined:
                value_entry.pack_into(out, at, kind, _extended(kind, body, large=large))
            elif not large and len(out) - 1 + len(body) > _SMALL_MAX:
                return None
            else:
                value_entry.pack_into(out, at, kind, len(out) - 1)
                out += body
            at += value_entry.size
        if not large and max(count, len(out) - 1) > _SMALL_MAX:
            return None
        out[0] = (_T.SMALL_OBJECT if self.is_object else _T.SMALL_ARRAY) + large
        head.pack_into(out, 1, count, len(out) - 1)
        return bytes(out)


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
