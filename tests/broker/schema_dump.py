"""Dumps of Kafka's Schema objects, made by reflection, and our field tables in the same notation.

    API 2 LIST_OFFSETS 0-2                        key, name, versions
      Q1 replica_id:int32, topics:[{…}]           a request's fields; R: a response's; [..]? is nullable, =n a default
    ERR 3 UNKNOWN_TOPIC_OR_PARTITION RETRIABLE …  an error code and its name

Shapes are compared without names, which changed between Kafka releases; the bytes did not.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from broker.wire import (
    BOOLEAN,
    BYTES,
    INT8,
    INT16,
    INT32,
    INT64,
    NULLABLE_BYTES,
    NULLABLE_STRING,
    RECORDS,
    STRING,
    Array,
    Message,
    Type,
)
from tests.broker.api_values import fields_of

_PRINTED = {
    BOOLEAN: "boolean",
    INT8: "int8",
    INT16: "int16",
    INT32: "int32",
    INT64: "int64",
    STRING: "string",
    NULLABLE_STRING: "nullable_string",
    BYTES: "bytes",
    NULLABLE_BYTES: "records",
    RECORDS: "records",
}


@dataclass(slots=True)
class Dump:
    """`shapes`: (key, Q or R, version) to fields; `names`, `errors`: by number; `header`: of requests."""

    shapes: dict[tuple[int, str, int], str] = field(default_factory=dict)
    names: dict[int, str] = field(default_factory=dict)
    errors: dict[int, str] = field(default_factory=dict)
    header: str | None = None


def read_dump(path: Path) -> Dump:
    dump, key = Dump(), -1
    for line in path.read_text(encoding="utf-8").splitlines():
        match line.split():
            case ["API", number, name, _]:
                key = int(number)
                dump.names[key] = name
            case ["ERR", code, name, *_]:
                dump.errors[int(code)] = name
            case ["REQHDR", *_]:
                dump.header = _shape(line.removeprefix("REQHDR "))
            case [version, *_] if re.fullmatch(r"[QR]\d+", version):
                dump.shapes[key, version[0], int(version[1:])] = _shape(line.strip().removeprefix(version).strip())
    return dump


def _shape(text: str) -> str:
    """Fields without names, defaults and groupings that take no bytes."""
    text = text.replace("record_set:bytes", "record_set:records")  # the type's name since 0.10.2
    text = re.sub(r'=(-?\d+|"")', "", text)
    text = text.replace("partition_header:{", "").replace("}, record_set", ", record_set")
    return re.sub(r"\w+:", "", text)


def our_shape(type_: Type, version: int) -> str:
    if isinstance(type_, Array):
        return f"[{our_shape(type_.element, version)}]" + ("?" if version >= type_.nullable_since else "")
    if isinstance(type_, type):
        return "{" + our_fields(type_, version) + "}"
    return _PRINTED[type_]


def our_fields(cls: type[Message], version: int) -> str:
    return ", ".join(our_shape(type_, version) for _, type_ in fields_of(cls, version))
