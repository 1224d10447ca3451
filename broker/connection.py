"""The sans-IO core of a connection: bytes in, requests out; responses in, bytes out.

    frame      size i32 (bytes after this field), then the request or response
    request    api_key i16, api_version i16, correlation_id i32, client_id i16 length (-1 null) + UTF-8, body
    response   correlation_id i32, body

`receive()` takes bytes in any portions; `next_event()` gives one `Request` or `Token`, None if more bytes are needed,
or raises `CloseConnection`. What mostly comes is one whole frame: it is read where it lies. There is one request in
flight: after an event the next is only given when the response of the first was taken with `respond()` or
`respond_token()`. So responses are in order however many requests a client pipelines.

What an auth state admits stands in the API table, the states in `sasl.py`. Frame sizes are checked before anything is
kept. No clock, no transport, no handler here.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from broker.apis import APIS, REQUEST_BYTES_MAX, api_versions
from broker.errors import ErrorCode, WireError
from broker.sasl import BEFORE_LOGIN, AuthState, SaslExchange
from broker.wire import INT16, INT32, NULLABLE_STRING, VIEW_BYTES_MIN, Message, decode_from, encode_parts, wire

if TYPE_CHECKING:
    from collections.abc import Mapping

    from broker.apis import Api
    from broker.wire import Buffer

FRAME_BYTES_MAX: Final = max(api.request_bytes_max for api in APIS.values())
"""Largest request after login; each API has its own limit below it."""

FRAME_BYTES_MAX_BEFORE_LOGIN: Final = 524_288
"""Largest request or token of a stranger, as in Kafka; a PLAIN login needs a few hundred bytes."""

TOKEN_ACCEPTED: Final = b"\0\0\0\0"
"""The answer to an accepted raw token: an empty token, in one write (Java would misread the rest of a split one)."""

_READY: Final = AuthState.READY
_CLOSED: Final = AuthState.CLOSED
_SIZE: Final = struct.Struct(">i")
_SIZE_AND_KEY: Final = struct.Struct(">ih")
# What a browser or a health check begins with; as sizes of frames these are far beyond every limit.
_HTTP: Final = (b"GET ", b"HEAD", b"POST", b"PUT ", b"OPTI")
_REQUEST_HEAD: Final = struct.Struct(">hhih")
"""What stands before a client id: api_key, api_version, correlation_id, and its length."""
_BEFORE_CLIENT_ID: Final = _SIZE.size + _REQUEST_HEAD.size
_RESPONSE_HEAD: Final = struct.Struct(">ii")


class RequestHeader(Message):
    """What stands before every request."""

    api_key: int = wire(INT16)
    api_version: int = wire(INT16)
    correlation_id: int = wire(INT32)
    client_id: str | None = wire(NULLABLE_STRING)


class Request(Struct):
    """A request, which nobody changes (a frozen object would cost a microsecond more to make). `refusal` is
    its answer if no handler is to see it; `close_after` ends the connection with the answer.
    """

    api: Api
    api_version: int
    correlation_id: int
    client_id: str | None
    body: Message
    refusal: Message | None = None
    close_after: bool = False


class Token(Struct, frozen=True):
    """A SASL token without Kafka headers."""

    token: bytes

    def __repr__(self) -> str:
        return "Token(…)"


class Connection:
    """One connection's framing, order and login state."""

    def __init__(self, sasl: SaslExchange, apis: Mapping[int, Api] = APIS) -> None:
        self.sasl = sasl
        self._apis = apis
        self._whole: bytes | None = None
        """One frame that came alone, with its size; nothing else waits then."""
        self._buffer = bytearray()
        self._in_flight: Request | Token | None = None
        self._client_id = ""
        self._client_id_bytes = b""
        """Of the request before: clients do not change it."""

    @property
    def client_id(self) -> str:
        """What the peer called itself in its last request, "" before the first."""
        return self._client_id

    @property
    def buffered_bytes(self) -> int:
        """Bytes received and not yet taken."""
        return len(self._buffer) + (len(self._whole) if self._whole is not None else 0)

    def receive(self, data: bytes) -> None:
        """Take bytes from the peer."""
        if self.sasl.state is _CLOSED:
            return
        if self._whole is not None:
            self._buffer += self._whole
            self._whole = None
        if not self._buffer and _is_one_frame(data):
            self._whole = data
        else:
            self._buffer += data

    def next_event(self) -> Request | Token | None:
        """Return the next request or token, or None: more bytes are needed, or one is in flight.

        Raises:
            CloseConnection: the peer sent what cannot be answered.
        """
        if self._in_flight is not None or self.sasl.state is _CLOSED:
            return None
        frame = self._next_frame()
        if frame is None:
            return None
        if self.sasl.state is AuthState.AWAIT_RAW_TOKEN:
            self._in_flight = Token(frame[_SIZE.size :])
        else:
            self._in_flight = self._parse(frame)
        return self._in_flight

    def _next_frame(self) -> bytes | None:
        """The next frame, with its size."""
        whole = self._whole
        if whole is not None:
            self._whole = None
            return whole
        if len(self._buffer) < _SIZE.size:
            return None
        (size,) = _SIZE.unpack_from(self._buffer)
        limit = FRAME_BYTES_MAX_BEFORE_LOGIN if self.sasl.state in BEFORE_LOGIN else FRAME_BYTES_MAX
        if not 0 <= size <= limit:
            if self._buffer.startswith(_HTTP):
                raise WireError("it speaks HTTP; this is a listener for Kafka clients")
            raise WireError(f"a frame of {size} bytes; up to {limit} are accepted in state {self.sasl.state.value!r}")
        if size > REQUEST_BYTES_MAX:
            self._check_size(size)
        end = _SIZE.size + size
        if len(self._buffer) < end:
            return None
        with memoryview(self._buffer) as view:
            frame = bytes(view[:end])
        del self._buffer[:end]
        return frame

    def _check_size(self, size: int) -> None:
        """Refuse a request that is too large for its API as soon as that is known, before it is kept."""
        if self.sasl.state is AuthState.AWAIT_RAW_TOKEN or len(self._buffer) < _SIZE_AND_KEY.size:
            return
        _, key = _SIZE_AND_KEY.unpack_from(self._buffer)
        api = self._apis.get(key)
        if api is None:
            raise WireError(f"API key {key} is not served")
        if size > api.request_bytes_max:
            raise WireError(f"{api.name} with {size} bytes; up to {api.request_bytes_max} are accepted")

    def _parse(self, frame: bytes) -> Request:
        key, version, correlation_id, client_id, position = self._header(frame)
        api = self._apis.get(key)
        if api is None:
            raise WireError(f"API key {key} is not served")
        state = self.sasl.state
        if state is AuthState.AWAIT_HANDSHAKE and state not in api.admitted:
            raise WireError(f"{api.name} before login; set its security protocol to that of the listener")
        if not api.min_version <= version <= api.max_version:
            return self._refuse_version(api, version, correlation_id, client_id)
        body, _ = decode_from(api.request, version, frame, position)
        if state is _READY or state in api.admitted:
            return Request(api, version, correlation_id, client_id, body)
        refusal = api.error(version, body, ErrorCode.ILLEGAL_SASL_STATE, None)
        self.sasl.close()
        return Request(api, version, correlation_id, client_id, body, refusal, close_after=True)

    def _header(self, frame: bytes) -> tuple[int, int, int, str | None, int]:
        """The fields of a frame's `RequestHeader`, and where its body begins."""
        if len(frame) >= _BEFORE_CLIENT_ID:
            key, version, correlation_id, size = _REQUEST_HEAD.unpack_from(frame, _SIZE.size)
            end = _BEFORE_CLIENT_ID + size
            if size == len(self._client_id_bytes) and frame[_BEFORE_CLIENT_ID:end] == self._client_id_bytes:
                return key, version, correlation_id, self._client_id, end
        header, end = decode_from(RequestHeader, 0, frame, _SIZE.size)
        if header.client_id is not None:
            self._client_id, self._client_id_bytes = header.client_id, frame[_BEFORE_CLIENT_ID:end]
        return header.api_key, header.api_version, header.correlation_id, header.client_id, end

    @staticmethod
    def _refuse_version(api: Api, version: int, correlation_id: int, client_id: str | None) -> Request:
        if api.key != api_versions.KEY:
            raise WireError(f"{api.name} v{version} is not served, only v{api.min_version}-v{api.max_version}")
        refusal = api_versions.unsupported_version()
        body = api_versions.ApiVersionsRequest()
        return Request(api, 0, correlation_id, client_id, body, refusal)

    def respond(self, request: Request, response: Message) -> list[Buffer]:
        """Return the frame that answers the request in flight, as buffers to write in order; large ones are views."""
        assert self._in_flight is request, "a response without its request in flight"
        self._in_flight = None
        parts = encode_parts(response, request.api_version)
        size = INT32.size_bytes + sum(map(len, parts))
        parts.insert(0, _RESPONSE_HEAD.pack(size, request.correlation_id))
        return [b"".join(parts)] if size < VIEW_BYTES_MIN else _join_small(parts)

    def respond_token(self) -> bytes:
        """Return the frame that accepts the raw token in flight."""
        assert isinstance(self._in_flight, Token), "no token in flight"
        self._in_flight = None
        return TOKEN_ACCEPTED


def _is_one_frame(data: bytes) -> bool:
    """Whether bytes are one frame, of a size that every connection may send whatever it asks."""
    return _SIZE.size <= len(data) <= REQUEST_BYTES_MAX and _SIZE.unpack_from(data)[0] == len(data) - _SIZE.size


def _join_small(parts: list[Buffer]) -> list[Buffer]:
    """Join neighbouring small buffers, and keep large ones as they are."""
    joined: list[Buffer] = []
    small: list[Buffer] = []
    for part in parts:
        if len(part) < VIEW_BYTES_MIN:
            small.append(part)
            continue
        joined += (b"".join(small), part)
        small = []
    if small:
        joined.append(b"".join(small))
    return joined
