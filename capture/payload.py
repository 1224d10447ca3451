"""TRANSACTION_PAYLOAD: a whole transaction in one event, compressed (MySQL 8.0.20 on, binlog_transaction_compression).

Body: fields (type, length, value), numbers in MySQL's length-encoded form, up to type 0; what follows is the payload.

    1  size of the payload, bytes
    2  compression: 0 zstd, 255 none
    3  size uncompressed, bytes

(`Transaction_payload_event` in MySQL's control_events.h, codecs/binary.cpp.) Uncompressed it is binlog events, one
behind the other, as they would stand in the file: without checksums, and with positions that mean nothing.

It is uncompressed a piece at a time: what is held is a piece, the event under way and zstd's window, whatever the
transaction's size. Invariant: the events fill the announced size exactly; anything else is MalformedEvent. What the
events mean is the business of `capture/transactions.py`.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import TYPE_CHECKING, NamedTuple

from capture.errors import MalformedEvent, UnsupportedEvent
from capture.table_map import read_length_encoded

if TYPE_CHECKING:
    from collections.abc import Iterator

PIECE_BYTES = 256 << 10
"""What is uncompressed at a time, some 0.2 ms of work."""

WINDOW_BYTES_MAX = 128 << 20
"""How far back a payload may refer: zstd's level 22, the highest that binlog_transaction_compression_level_zstd allows,
needs as much; a frame that asks for more is refused before anything is set aside for it."""

_HEADER_BYTES = 19
_SIZE_AT = 9
_U32 = struct.Struct("<I")

_END, _PAYLOAD_BYTES, _COMPRESSION, _UNCOMPRESSED_BYTES = 0, 1, 2, 3


class Compression(IntEnum):
    """How a payload is compressed, by MySQL's numbers."""

    ZSTD = 0
    NONE = 255


class TransactionPayloadEvent(NamedTuple):
    """A compressed transaction: `data[payload_start:payload_end]` of the raw event."""

    compression: Compression
    uncompressed_bytes: int
    data: bytes
    payload_start: int
    payload_end: int


def decode_payload(raw: bytes, start: int, end: int) -> TransactionPayloadEvent:
    """The body `raw[start:end]` of a TRANSACTION_PAYLOAD. Raises IndexError where it is cut short."""
    body = raw[start : min(end, start + _FIELDS_BYTES_MAX)]
    fields: dict[int, int] = {}
    position = 0
    while (field := body[position]) != _END:
        kind, position = read_length_encoded(body, position)
        size, position = read_length_encoded(body, position)
        if position + size > len(body):
            raise IndexError
        if kind in _KNOWN_FIELDS:
            fields[kind], after = read_length_encoded(body, position)
            if after != position + size:
                raise MalformedEvent(f"field {field} of a TRANSACTION_PAYLOAD has {size} bytes")
        position += size
    payload_start = start + position + 1
    if _PAYLOAD_BYTES not in fields or _COMPRESSION not in fields:
        raise MalformedEvent("a TRANSACTION_PAYLOAD does not say its size or its compression")
    if fields[_PAYLOAD_BYTES] != end - payload_start:
        raise MalformedEvent(
            f"a TRANSACTION_PAYLOAD says it has {fields[_PAYLOAD_BYTES]} bytes and has {end - payload_start}"
        )
    if fields[_COMPRESSION] not in Compression.__members__.values():
        raise UnsupportedEvent(
            f"TRANSACTION_PAYLOAD: compression {fields[_COMPRESSION]} is not known; Binwire needs an update to read it"
        )
    compression = Compression(fields[_COMPRESSION])
    if compression is Compression.ZSTD and _UNCOMPRESSED_BYTES not in fields:
        raise MalformedEvent("a compressed TRANSACTION_PAYLOAD does not say its uncompressed size")
    uncompressed_bytes = fields.get(_UNCOMPRESSED_BYTES, fields[_PAYLOAD_BYTES])
    return TransactionPayloadEvent(compression, uncompressed_bytes, raw, payload_start, end)


_KNOWN_FIELDS = frozenset({_PAYLOAD_BYTES, _COMPRESSION, _UNCOMPRESSED_BYTES})
_FIELDS_BYTES_MAX = 1024
"""More than the fields take, of which there are three of at most 11 bytes each; unknown ones have room beside them."""


def events_in(payload: TransactionPayloadEvent) -> Iterator[bytes | None]:
    """The raw events of a payload, one by one; None after a piece that completed none, where others may run.

    Raises MalformedEvent for what is not whole events of the announced size.
    """
    left_bytes = payload.uncompressed_bytes
    splitter = _Splitter()
    for piece in _pieces(payload):
        left_bytes -= len(piece)
        if left_bytes < 0:
            raise _lies(payload, "more")
        yield from splitter.feed(piece, left_bytes)
    if left_bytes:
        raise _lies(payload, str(payload.uncompressed_bytes - left_bytes))
    if splitter.waiting_bytes:
        raise MalformedEvent(
            f"a TRANSACTION_PAYLOAD ends within an event of which it has {splitter.waiting_bytes} bytes"
        )


def _lies(payload: TransactionPayloadEvent, found: str) -> MalformedEvent:
    return MalformedEvent(
        f"a TRANSACTION_PAYLOAD says it has {payload.uncompressed_bytes} bytes uncompressed and has {found}"
    )


def _pieces(payload: TransactionPayloadEvent) -> Iterator[bytes]:
    """What a payload is uncompressed, `PIECE_BYTES` at a time."""
    if payload.compression is Compression.NONE:
        for start in range(payload.payload_start, payload.payload_end, PIECE_BYTES):
            yield payload.data[start : min(start + PIECE_BYTES, payload.payload_end)]
        return
    import zstandard  # 5 ms, for the first compressed transaction

    decompressor = zstandard.ZstdDecompressor(max_window_size=WINDOW_BYTES_MAX)
    source = memoryview(payload.data)[payload.payload_start : payload.payload_end]
    try:
        with decompressor.stream_reader(source, read_across_frames=True) as reader:
            while piece := reader.read(PIECE_BYTES):
                yield piece
    except zstandard.ZstdError as error:
        raise MalformedEvent(f"a TRANSACTION_PAYLOAD cannot be uncompressed: {error}") from error


class _Splitter:
    """Pieces to whole events. An event larger than a piece is gathered in parts and joined once."""

    def __init__(self) -> None:
        self.waiting_bytes = 0
        self._parts: list[bytes] = []
        self._needed_bytes = 0
        """Of the event under way; 0 while its header is not whole."""

    def feed(self, piece: bytes, left_bytes: int) -> Iterator[bytes | None]:
        """The events that a piece completes, or None; `left_bytes` are still to come behind it."""
        self._parts.append(piece)
        self.waiting_bytes += len(piece)
        if self.waiting_bytes < max(self._needed_bytes, _HEADER_BYTES):
            yield None
            return
        buffer = piece if len(self._parts) == 1 else b"".join(self._parts)
        self._parts.clear()
        start, end = 0, len(buffer)
        self._needed_bytes = 0
        while end - start >= _HEADER_BYTES:
            (size,) = _U32.unpack_from(buffer, start + _SIZE_AT)
            if size < _HEADER_BYTES or size > end - start + left_bytes:
                left = end - start + left_bytes
                raise MalformedEvent(
                    f"an event in a TRANSACTION_PAYLOAD says it has {size} bytes, where {left} are left"
                )
            if size > end - start:
                self._needed_bytes = size
                break
            yield buffer[start : start + size]
            start += size
        self.waiting_bytes = end - start
        if self.waiting_bytes:
            self._parts.append(buffer[start:])
        if not start:
            yield None
