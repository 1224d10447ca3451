"""The golden messages, written by Kafka 1.1.1's own classes, and our messages in the notation of their values."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final, NamedTuple

from broker.wire import Array, Fixed, Message, Sized, Type
from tests.broker.api_values import as_tuple, fields_of

FILE: Final = Path(__file__).parents[1] / "golden" / "kafka-1.1.1-messages.txt"
ELEMENTS: Final = (0, 1, 2)
"""There is a message with so many elements in each of its arrays; with 1, what may be null is."""
_HEAD: Final = """\
# Messages of every API and version that Binwire serves or refuses, written by Kafka 1.1.1's own classes:
# key, Q (request) or R (response), version, elements of each array (1: null where legal), bytes of the body, values.
"""


class Golden(NamedTuple):
    """A message as Kafka's classes write it. `values` are nested lists, bytes in hexadecimal."""

    key: int
    kind: str
    version: int
    elements: int
    body: bytes
    values: Any


def write_golden(messages: list[Golden]) -> str:
    """The content of the file."""
    lines = (
        " ".join([*map(str, each[:4]), each.body.hex(), json.dumps(each.values, separators=(",", ":"))])
        for each in messages
    )
    return _HEAD + "".join(f"{line}\n" for line in lines)


def read_golden() -> list[Golden]:
    """The messages of the file."""
    found = []
    for line in FILE.read_text(encoding="ascii").splitlines():
        if not line.startswith("#"):
            *head, body, values = line.split(" ", 5)
            key, kind, version, elements = head
            found.append(Golden(int(key), kind, int(version), int(elements), bytes.fromhex(body), json.loads(values)))
    return found


def values_of(message: Message, version: int) -> Any:
    """A message's values as Kafka's classes tell them."""
    return _plain(as_tuple(message, version))


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    return value.hex() if isinstance(value, bytes) else value


def count_positions(message: Message, version: int) -> list[int]:
    """Where in a message's bytes the counts of its arrays stand; counted here, apart from the product's writer."""
    found: list[int] = []
    _walk(type(message), message, version, 0, found)
    return found


def _walk(type_: Type, value: Any, version: int, position: int, found: list[int]) -> int:
    """The position behind a value."""
    if isinstance(type_, Fixed):
        return position + type_.size_bytes
    if isinstance(type_, Sized):
        content = b"" if value is None else value.encode() if type_.text else value
        return position + type_.prefix.size_bytes + len(content)
    if isinstance(type_, Array):
        found.append(position)
        position += 4
        for each in value or ():
            position = _walk(type_.element, each, version, position, found)
        return position
    for name, field_type in fields_of(type_, version):
        position = _walk(field_type, getattr(value, name), version, position, found)
    return position
