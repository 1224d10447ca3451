"""The types of the Kafka wire format, and messages as tables of typed fields.

    class FetchPartition(Message):
        partition: int = wire(INT32)
        log_start_offset: int = wire(INT64, since=5, default=-1)

Types (big-endian): INT8 … INT64, BOOLEAN 1 byte; STRING int16 length + UTF-8; BYTES int32 length; Array int32 count.
Length or count -1 is null, and is an error where the type is not nullable (as in Kafka's own Schema classes).

A message is an object with one slot per field and a keyword-only constructor, which is generated at its first use:
there are some eighty classes, of which a connection uses ten, and as dataclasses they would cost half a millisecond
each at every start. How messages become bytes is `wire.py`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, dataclass_transform

VERSION_MAX: Final = 32767
_MISSING: Final = object()


class Fixed:
    """A type of fixed size; `code` is its `struct` format character."""

    __slots__ = ("code", "size_bytes")

    def __init__(self, code: str, size_bytes: int) -> None:
        self.code = code
        self.size_bytes = size_bytes


class Sized:
    """A length-prefixed type. `text` values are str, others bytes, or any buffer for a writer, which passes it on."""

    __slots__ = ("nullable", "prefix", "text")

    def __init__(self, prefix: Fixed, *, text: bool = False, nullable: bool = False) -> None:
        self.prefix = prefix
        self.text = text
        self.nullable = nullable


class Array:
    """A counted list of primitives or messages; null is legal from version `nullable_since` on."""

    __slots__ = ("element", "nullable_since")

    def __init__(self, element: Type, nullable_since: int = VERSION_MAX) -> None:
        self.element = element
        self.nullable_since = nullable_since


INT8: Final = Fixed("b", 1)
INT16: Final = Fixed("h", 2)
INT32: Final = Fixed("i", 4)
INT64: Final = Fixed("q", 8)
BOOLEAN: Final = Fixed("?", 1)
STRING: Final = Sized(INT16, text=True)
NULLABLE_STRING: Final = Sized(INT16, text=True, nullable=True)
BYTES: Final = Sized(INT32)
NULLABLE_BYTES: Final = Sized(INT32, nullable=True)
RECORDS: Final = Sized(INT32)


class Field:
    """A field: its type, the versions that have it, and its value where it is absent or not given."""

    __slots__ = ("default", "since", "type", "until")

    def __init__(self, type_: Type, since: int, until: int, default: Any) -> None:
        self.type = type_
        self.since = since
        self.until = until
        self.default = default

    @property
    def has_default(self) -> bool:
        return self.default is not _MISSING

    def is_in(self, version: int) -> bool:
        """Tell whether `version` has the field."""
        return self.since <= version <= self.until


def wire(type_: Type, *, since: int = 0, until: int = VERSION_MAX, default: Any = _MISSING) -> Any:
    """Declare a field of versions `since` … `until`; absent, it reads as `default` (a list is copied each time)."""
    assert default is not _MISSING or (since, until) == (0, VERSION_MAX), "absent in a version, without a default"
    assert not isinstance(default, list) or getattr(type_, "nullable_since", 0) == VERSION_MAX, "None would be lost"
    return Field(type_, since, until, default)


@dataclass_transform(kw_only_default=True, eq_default=False, field_specifiers=(wire,))
class _MessageType(type):
    """Turns a class body's fields into slots and a table."""

    fields: Mapping[str, Field]

    def __new__(mcs, name: str, bases: tuple[type, ...], namespace: dict[str, Any]) -> _MessageType:
        fields = {key: value for key, value in namespace.items() if isinstance(value, Field)}
        for key in fields:
            del namespace[key]
        namespace["__slots__"] = tuple(fields)
        cls = super().__new__(mcs, name, bases, namespace)
        cls.fields = fields
        return cls


class Message(metaclass=_MessageType):
    """Base of all wire messages: equality and a readable form; one without fields is an empty body."""

    def __init__(self, **values: Any) -> None:
        cls = type(self)
        cls.__init__ = _make_init(cls)  # type: ignore[method-assign]
        cls.__init__(self, **values)

    def _values(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in type(self).fields}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Message) and type(self) is type(other) and self._values() == other._values()

    def __hash__(self) -> int:
        raise TypeError(f"{type(self).__name__} is mutable and has no hash")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self._values().items())})"


Type = Fixed | Sized | Array | type[Message]


def _make_init(cls: type[Message]) -> Any:
    """Generate the constructor of one class."""
    names: dict[str, Any] = {}
    parameters, lines = [], []
    for name, field in cls.fields.items():
        default = f"default_{name}"
        names[default] = field.default
        if isinstance(field.default, list):
            parameters.append(f"{name}=None")
            lines.append(f"    self.{name} = {default}.copy() if {name} is None else {name}")
        else:
            parameters.append(f"{name}={default}" if field.has_default else name)
            lines.append(f"    self.{name} = {name}")
    star = ", *, " if parameters else ""
    source = "\n".join([f"def __init__(self{star}{', '.join(parameters)}):", *lines, "    return"])
    exec(compile(source, f"<binwire {cls.__name__}>", "exec"), names)  # noqa: S102 - our own field tables
    return names["__init__"]
