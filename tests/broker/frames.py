"""Request frames as a client would write them, apart from the product's own writers of requests."""

from __future__ import annotations

import struct

from broker.apis import APIS, Api
from broker.wire import Array, Fixed, Message, Sized, Type, encode
from tests.broker.api_values import fields_of

KEYS = {api.name: api.key for api in APIS.values()}


def frame(key: int, version: int, correlation_id: int, body: bytes = b"", client_id: str | None = "test") -> bytes:
    """A whole request frame."""
    name = b"" if client_id is None else client_id.encode()
    head = struct.pack(">hhih", key, version, correlation_id, -1 if client_id is None else len(name)) + name
    return struct.pack(">i", len(head) + len(body)) + head + body


def request_frame(request: Message, version: int, correlation_id: int = 1) -> bytes:
    """The frame of a request message."""
    name = type(request).__name__.removesuffix("Request")
    return frame(KEYS[name], version, correlation_id, encode(request, version))


def some_request(api: Api) -> bytes:
    """A well-formed v0 request of the API, everything in it zero or empty but for one element per list."""
    return frame(api.key, 0, 1, encode(_blank(api.request, 0), 0))


def _blank(cls: type[Message], version: int) -> Message:
    return cls(**{name: _blank_value(type_, version) for name, type_ in fields_of(cls, version)})


def _blank_value(type_: Type, version: int) -> object:
    if isinstance(type_, Fixed):
        return 0
    if isinstance(type_, Sized):
        return "x" if type_.text else b""
    if isinstance(type_, Array):
        return [_blank_value(type_.element, version)]
    return _blank(type_, version)
