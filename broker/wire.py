"""Readers and writers of wire messages, compiled from their field tables (`fields.py`).

Field order is wire order; a field whose place differs between versions is declared where each of its versions has it.
For every (class, version) that is used, one straight-line reader and one writer are generated: neighbouring integers,
and the length of what follows them, become a single `struct.Struct`. The generated source is kept in `linecache` for
debuggers.

Invariants: a reader never allocates for more elements than the bytes left could hold or than `ELEMENTS_MAX`, and reads
nothing beyond the buffer; every malformed input raises `WireError`. Bytes after the last field are ignored, as brokers
do (librdkafka 0.9.5-1.3.0 sends four of them with ApiVersions v0). All versions served are older than Kafka's flexible
ones: no tagged fields, no varint lengths.
"""

from __future__ import annotations

import linecache
import struct
from functools import cache
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from broker.errors import WireError
from broker.fields import (
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
    Field,
    Fixed,
    Message,
    Sized,
    Type,
    wire,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    Buffer = bytes | bytearray | memoryview
    Reader = Callable[[bytes, int, int, list[int]], tuple[Any, int]]
    Writer = Callable[[Any, Callable[[Buffer], None]], None]

__all__ = [
    "BOOLEAN",
    "BYTES",
    "ELEMENTS_MAX",
    "INT8",
    "INT16",
    "INT32",
    "INT64",
    "NULLABLE_BYTES",
    "NULLABLE_STRING",
    "RECORDS",
    "STRING",
    "Array",
    "Encoded",
    "Fixed",
    "Message",
    "Sized",
    "Type",
    "decode",
    "decode_from",
    "encode",
    "encode_parts",
    "encoded",
    "wire",
]

VIEW_BYTES_MIN: Final = 4096
"""Parts from this size on go out uncopied; smaller ones are joined, which is cheaper than another write."""

ELEMENTS_MAX: Final = 2000
"""Elements of all arrays of one message that is read: a thousand topics with a partition each. A client here names a
topic or some hundred, and a group has at most a thousand members; a million, legal for Kafka, would hold the loop for
seconds.
"""

MessageT = TypeVar("MessageT", bound=Message)
FunctionT = TypeVar("FunctionT", bound="Callable[..., Any]")


def _once(function: FunctionT) -> FunctionT:
    """Remember results; `functools.cache` with the signature kept (mypy takes a class that defines `__hash__` for
    unhashable).
    """
    return cast("FunctionT", cache(function))


def decode(cls: type[MessageT], version: int, buffer: bytes, position: int = 0) -> MessageT:
    """Read one message of `version`; raise `WireError` if the bytes are not one. What follows it is ignored."""
    return decode_from(cls, version, buffer, position)[0]


def decode_from(cls: type[MessageT], version: int, buffer: bytes, position: int = 0) -> tuple[MessageT, int]:
    """Read one message of `version` and the position after it; raise `WireError` if the bytes are not one."""
    try:
        value, end = _reader(cls, version)(buffer, position, len(buffer), [ELEMENTS_MAX])
    except struct.error:
        raise WireError(f"{cls.__name__} v{version} ends early: {len(buffer) - position} bytes are too few") from None
    except UnicodeDecodeError as error:
        raise WireError(f"{cls.__name__} v{version} has text that is not UTF-8: {error.reason}") from None
    return value, end


def encode_parts(value: Message, version: int) -> list[Buffer]:
    """Write a message of `version` as buffers in wire order; `RECORDS` fields are passed on without a copy."""
    if isinstance(value, Encoded):
        return [value.data]
    parts: list[Buffer] = []
    _writer(type(value), version)(value, parts.append)
    return parts


class Encoded(Message):
    """A message that was written for several who are sent the same, in the version that all of them speak."""

    data: bytes = wire(BYTES)


def encoded(value: Message, version: int) -> Encoded | None:
    """Write a message of `version` once for several; None if it is too large to be worth a copy."""
    parts = encode_parts(value, version)
    return Encoded(data=b"".join(parts)) if sum(map(len, parts)) < VIEW_BYTES_MIN else None


def encode(value: Message, version: int) -> bytes:
    """Write a message of `version` as one string of bytes."""
    return b"".join(encode_parts(value, version))


def ends_early(name: str, wanted: int, left: int) -> WireError:
    """Build the error for a length or count that the remaining bytes cannot hold."""
    return WireError(f"{name} needs {wanted} bytes, {left} are left")


def illegal_null(name: str, length: int) -> WireError:
    """Build the error for a null or negative length where none is allowed."""
    return WireError(f"{name} has length {length}")


def too_many(name: str, count: int) -> WireError:
    """Build the error for the array with which a message has more elements than any client needs."""
    return WireError(f"{name} has {count} elements; up to {ELEMENTS_MAX} in all are accepted")


@_once
def minimum_bytes(type_: Type, version: int) -> int:
    """Return the fewest bytes that a value of this type takes."""
    if isinstance(type_, Fixed):
        return type_.size_bytes
    if isinstance(type_, Sized):
        return type_.prefix.size_bytes
    if isinstance(type_, Array):
        return INT32.size_bytes
    return sum(minimum_bytes(field.type, version) for field in type_.fields.values() if field.is_in(version))


class _Source:
    """Lines of one function under construction, and the objects that they name."""

    def __init__(self, name: str, head: str) -> None:
        self.name = name
        self.lines = [head]
        self.names: dict[str, Any] = {
            "ends_early": ends_early,
            "illegal_null": illegal_null,
            "too_many": too_many,
        }

    def add(self, *lines: str, depth: int = 1) -> None:
        self.lines.extend("    " * depth + line for line in lines)

    def bind(self, value: Any) -> str:
        name = f"_{len(self.names)}"
        self.names[name] = value
        return name

    def compile(self, entry: str) -> Any:
        text = "\n".join(self.lines) + "\n"
        filename = f"<binwire {self.name}>"
        linecache.cache[filename] = (len(text), None, text.splitlines(keepends=True), filename)
        exec(compile(text, filename, "exec"), self.names)  # noqa: S102 - our own field tables, never a peer's bytes
        return self.names[entry]


@_once
def _reader(cls: type[Message], version: int) -> Reader:
    """Generate `read(buffer, position, end, [elements left]) -> (message, position after it)`."""
    source = _Source(f"{cls.__name__} v{version} reader", "def read(b, p, end, left):")
    run: list[tuple[str, Fixed]] = []

    def flush() -> None:
        if run:
            unpacker = struct.Struct(">" + "".join(type_.code for _, type_ in run))
            targets = "".join(f"{name}, " for name, _ in run)
            source.add(f"{targets}= {source.bind(unpacker.unpack_from)}(b, p)", f"p += {unpacker.size}")
            run.clear()

    arguments = []
    for name, field in cls.fields.items():
        if not field.is_in(version):
            arguments.append(f"{name}={_absent(source, field)}")
            continue
        local = f"v_{name}"
        arguments.append(f"{name}={local}")
        if isinstance(field.type, Fixed):
            run.append((local, field.type))
        elif isinstance(field.type, Sized):
            run.append(("n", field.type.prefix))
            flush()
            _read_sized(source, field.type, name, local)
        elif isinstance(field.type, Array):
            run.append(("n", INT32))
            flush()
            _read_array(source, field.type, name, local, version)
        else:
            flush()
            source.add(f"{local}, p = {source.bind(_reader(field.type, version))}(b, p, end, left)")
    flush()
    source.add(f"return {source.bind(cls)}({', '.join(arguments)}), p")
    reader: Reader = source.compile("read")
    return reader


def _absent(source: _Source, field: Field) -> str:
    """Return the expression of an absent field's value."""
    default = source.bind(field.default)
    return f"{default}.copy()" if isinstance(field.default, list) else default


def _branch_on_null(source: _Source, nullable: bool, local: str) -> int:
    """Open the branch for values that are not null, where null is legal; return the depth of what follows."""
    if not nullable:
        return 1
    source.add(f"if n == -1: {local} = None", "else:")
    return 2


def _read_sized(source: _Source, type_: Sized, name: str, local: str) -> None:
    value = "b[p:e].decode()" if type_.text else "b[p:e]"
    depth = _branch_on_null(source, type_.nullable, local)
    source.add(f"if n < 0: raise illegal_null({name!r}, n)", "e = p + n", depth=depth)
    source.add(f"if e > end: raise ends_early({name!r}, n, end - p)", f"{local} = {value}", "p = e", depth=depth)


def _read_array(source: _Source, type_: Array, name: str, local: str, version: int) -> None:
    element = type_.element
    minimum = minimum_bytes(element, version)
    assert minimum > 0, f"{name}: elements of no bytes cannot be bounded"
    depth = _branch_on_null(source, version >= type_.nullable_since, local)
    source.add(f"if n < 0: raise illegal_null({name!r}, n)", depth=depth)
    source.add(f"if n * {minimum} > end - p: raise ends_early({name!r}, n * {minimum}, end - p)", depth=depth)
    source.add("left[0] -= n", f"if left[0] < 0: raise too_many({name!r}, n)", depth=depth)
    if isinstance(element, Fixed):
        unpack = source.bind(struct.unpack_from)
        source.add(f"{local} = list({unpack}(f'>{{n}}{element.code}', b, p))", f"p += n * {minimum}", depth=depth)
        return
    source.add(f"{local} = []", f"add = {local}.append", "for _ in range(n):", depth=depth)
    read = source.bind(_element_reader(element, version))
    source.add(f"item, p = {read}(b, p, end, left)", "add(item)", depth=depth + 1)


@_once
def _element_reader(type_: Type, version: int) -> Reader:
    """Return the reader of an array's elements: a message's, or one generated for a string or bytes."""
    if isinstance(type_, type):
        return _reader(type_, version)
    assert isinstance(type_, Sized), type_
    source = _Source(f"{type_} reader", "def read(b, p, end, left):")
    prefix = struct.Struct(">" + type_.prefix.code)
    source.add(f"n, = {source.bind(prefix.unpack_from)}(b, p)", f"p += {prefix.size}")
    _read_sized(source, type_, "element", "v")
    source.add("return v, p")
    reader: Reader = source.compile("read")
    return reader


@_once
def _writer(cls: type[Message], version: int) -> Writer:
    """Generate `write(message, add)`, which adds the message's bytes piece by piece."""
    source = _Source(f"{cls.__name__} v{version} writer", "def write(m, add):")
    run: list[tuple[str, Fixed]] = []

    def flush() -> None:
        if run:
            packer = struct.Struct(">" + "".join(type_.code for _, type_ in run))
            source.add(f"add({source.bind(packer.pack)}({', '.join(value for value, _ in run)}))")
            run.clear()

    for name, field in cls.fields.items():
        if not field.is_in(version):
            continue
        value = f"m.{name}"
        if isinstance(field.type, Fixed):
            run.append((value, field.type))
        elif isinstance(field.type, Sized):
            local = f"v{len(source.names)}"
            _write_sized(source, field.type, value, local)
            run.append((f"n{local}", field.type.prefix))
            flush()
            source.add(f"add({local})")
        elif isinstance(field.type, Array):
            nullable = version >= field.type.nullable_since
            run.append((f"-1 if {value} is None else len({value})" if nullable else f"len({value})", INT32))
            flush()
            _write_array(source, field.type, f"{value} or ()" if nullable else value, version)
        else:
            flush()
            source.add(f"{source.bind(_writer(field.type, version))}({value}, add)")
    flush()
    source.add("return")
    writer: Writer = source.compile("write")
    return writer


def _write_sized(source: _Source, type_: Sized, value: str, local: str) -> None:
    encoded = f"{value}.encode()" if type_.text else value
    if type_.nullable:
        source.add(f"if {value} is None: {local} = b''; n{local} = -1")
        source.add(f"else: {local} = {encoded}; n{local} = len({local})")
    else:
        source.add(f"{local} = {encoded}", f"n{local} = len({local})")


def _write_array(source: _Source, type_: Array, values: str, version: int) -> None:
    element = type_.element
    if isinstance(element, Fixed):
        pack = source.bind(struct.pack)
        source.add(f"add({pack}(f'>{{len({values})}}{element.code}', *({values})))")
        return
    source.add(f"for item in {values}:")
    if isinstance(element, type):
        source.add(f"{source.bind(_writer(element, version))}(item, add)", depth=2)
        return
    assert isinstance(element, Sized), element
    assert not element.nullable, "no API has an array of nullable strings"
    pack_length = source.bind(struct.Struct(">" + element.prefix.code).pack)
    source.add(f"v = {'item.encode()' if element.text else 'item'}", f"add({pack_length}(len(v)))", "add(v)", depth=2)
