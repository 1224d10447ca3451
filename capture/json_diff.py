"""JSON diffs: what a partial update changed in a document, and the document after it.

A diff vector is its length u32 and the diffs, each: operation u8 | path (length-encoded) | value, not for REMOVE
(length-encoded, a binary document). Paths name one place each: `$.key`, `$."any key"`, `$[0]`, `$[last-1]`. REPLACE
wants the place to be there, INSERT a key not to be there, and moves the elements of an array behind it; REMOVE moves
them back (sql-common/json_diff.cc@9.7).

The invariant: a diff that does not fit the document is refused, never passed over. Only arrays and objects on the way
to a change are taken apart, by `capture.json_open`. Which rows have diffs is the business of `capture.partial_rows`.
"""

import json
import re
from collections.abc import Sequence
from enum import IntEnum
from typing import NamedTuple, TypeAlias

from capture.errors import MalformedEvent
from capture.json_binary import DEPTH_MAX, DamagedJson, is_array, is_object, value_end
from capture.json_open import OpenJson
from capture.table_map import read_length_encoded


class DiffOperation(IntEnum):
    """`enum_json_diff_operation`."""

    REPLACE = 0
    INSERT = 1
    REMOVE = 2


class ArrayIndex(NamedTuple):
    """An element of an array, counted from its start or, `last` being 0, from its end."""

    number: int
    from_end: bool = False

    def position(self, length: int) -> int:
        """Where the element is in an array of so many; the end or start of it where it is beyond."""
        if self.from_end:
            return max(0, length - self.number - 1)
        return min(self.number, length)

    def is_within(self, length: int) -> bool:
        return self.number < length


Leg: TypeAlias = bytes | ArrayIndex
"""One step of a path: the key of a member, in UTF-8, or an element."""


class JsonDiff(NamedTuple):
    """One change. `value` is a document, no bytes for REMOVE."""

    operation: DiffOperation
    path: tuple[Leg, ...]
    value: bytes = b""


_LEG = re.compile(
    r'\s*(?:\[\s*(?:(?P<number>\d+)|last(?:\s*-\s*(?P<last>\d+))?)\s*\]|\.\s*(?:(?P<quoted>"(?:[^"\\]|\\.)*")'
    r'|(?P<plain>[^\s.\[*"]+)))\s*',
    re.DOTALL,
)


def parse_path(path: bytes) -> tuple[Leg, ...]:
    """The steps of a path without wildcards. Raises DamagedJson."""
    try:
        text = path.decode().strip()
        if not text.startswith("$"):
            raise ValueError
        legs, position = [], 1
        while position < len(text):
            match = _LEG.match(text, position)
            if match is None:
                raise ValueError
            legs.append(_leg(match))
            position = match.end()
    except ValueError as error:
        raise DamagedJson(f"{path!r} is no path to one place") from error
    return tuple(legs)


def _leg(match: re.Match[str]) -> Leg:
    name = match["quoted"] or (match["plain"] and f'"{match["plain"]}"')
    if name:
        return str(json.loads(name, strict=False)).encode()
    if match["number"]:
        return ArrayIndex(int(match["number"]))
    return ArrayIndex(int(match["last"] or 0), from_end=True)


def read_diffs(data: bytes) -> list[JsonDiff]:
    """The diffs of a diff vector, its length removed. Raises DamagedJson."""
    diffs, position = [], 0
    try:
        while position < len(data):
            operation = DiffOperation(data[position])
            path, position = _sized(data, position + 1)
            value = b""
            if operation is not DiffOperation.REMOVE:
                value, position = _sized(data, position)
                _check_document(value)
            diffs.append(JsonDiff(operation, parse_path(path), value))
    except DamagedJson:
        raise
    except (IndexError, ValueError, MalformedEvent) as error:
        raise DamagedJson("a diff of it is cut short or of an unknown kind") from error
    return diffs


def _check_document(value: bytes) -> None:
    """Raises DamagedJson unless these are the bytes of one value; no bytes are null."""
    if value and value_end(value, value[0], 1, len(value)) != len(value):
        raise DamagedJson("a value in a diff of it is followed by other bytes")


def _sized(data: bytes, position: int) -> tuple[bytes, int]:
    size, position = read_length_encoded(data, position)
    if position + size > len(data):
        raise IndexError
    return data[position : position + size], position + size


def apply_diffs(document: bytes, diffs: Sequence[JsonDiff]) -> bytes:
    """The document after all changes, in order. Raises DamagedJson where one does not fit."""
    if not diffs:
        return document
    root = OpenJson(document) if is_array(document) or is_object(document) else None
    for diff in diffs:
        if not diff.path:
            raise DamagedJson(f"{diff.operation.name} of the whole document is no partial update")
        if len(diff.path) > DEPTH_MAX:
            raise DamagedJson(f"{diff.operation.name} has a path of {len(diff.path)} steps, deeper than any document")
        if root is None:
            raise _misfit(diff)
        *way, last = diff.path
        here = root
        for leg in way:
            here = _opened(here, _place(here, leg, diff), diff)
        _APPLY[diff.operation](here, last, diff)
    assert root is not None  # else the first diff was refused
    return root.closed()


def _opened(container: OpenJson, index: int, diff: JsonDiff) -> OpenJson:
    if not container.is_container(index):
        raise _misfit(diff)
    return container.open(index)


def _place(container: OpenJson, leg: Leg, diff: JsonDiff) -> int:
    """The index of what is there. Raises DamagedJson where nothing is."""
    if isinstance(leg, ArrayIndex) and not container.is_object and leg.is_within(len(container)):
        return leg.position(len(container))
    if isinstance(leg, bytes) and container.is_object:
        index, is_there = container.find(leg)
        if is_there:
            return index
    raise _misfit(diff)


def _misfit(diff: JsonDiff) -> DamagedJson:
    return DamagedJson(f"{diff.operation.name} at {_shown(diff.path)} does not fit the document before it")


def _shown(path: Sequence[Leg]) -> str:
    return "$" + "".join(
        f".{json.dumps(leg.decode(errors='replace'), ensure_ascii=False)}"
        if isinstance(leg, bytes)
        else f"[{f'last-{leg.number}' if leg.from_end else leg.number}]"
        for leg in path
    )


def _replace(container: OpenJson, leg: Leg, diff: JsonDiff) -> None:
    container.replace(_place(container, leg, diff), diff.value)


def _insert(container: OpenJson, leg: Leg, diff: JsonDiff) -> None:
    if isinstance(leg, ArrayIndex) and not container.is_object:
        container.insert(leg.position(len(container)), diff.value)
        return
    if isinstance(leg, bytes) and container.is_object:
        index, is_there = container.find(leg)
        if not is_there:
            container.insert(index, diff.value, leg)
            return
    raise _misfit(diff)


def _remove(container: OpenJson, leg: Leg, diff: JsonDiff) -> None:
    container.remove(_place(container, leg, diff))


_APPLY = {DiffOperation.REPLACE: _replace, DiffOperation.INSERT: _insert, DiffOperation.REMOVE: _remove}
