"""MySQL packets, sans-IO: the byte stream of a binlog dump in, whole binlog events out.

Each packet is a 3-byte little-endian payload length, a sequence number and the payload. A payload of 2^24-1 bytes or
more is sent in pieces of 2^24-1; the first shorter piece (it may be empty) ends it. The payload's first byte says what
it is:

    00  a binlog event (header, body, checksum) behind it
    ff  an error: code (u16 LE), `#`, 5 bytes of SQL state, message
    fe  the end of the stream (shorter than 9 bytes)

A packet costs one slice. A large packet is gathered without searching again what was searched before.
Whoever feeds owns the socket and its flow control; who decodes the events is not known here.
"""

from __future__ import annotations

from capture.errors import CaptureError, MalformedEvent, SourceUnavailable

HEADER_BYTES = 4
PIECE_BYTES = (1 << 24) - 1
"""Payload length of a piece that is followed by another (MySQL internals, 'sending more than 16 MB')."""

EVENT_BYTES_MAX = 1 << 30
"""The largest event a server sends: MySQL's own upper limit of max_allowed_packet."""

_EVENT = 0x00
_ERROR = 0xFF
_END = 0xFE
_END_BYTES_MAX = 8


class ServerError(SourceUnavailable):
    """An error packet in the dump stream: `code` is the server's error number, `message` its text."""

    def __init__(self, code: int, sql_state: str, message: str) -> None:
        super().__init__(f"the server ended the binlog stream with error {code} ({sql_state}): {message}")
        self.code = code
        self.sql_state = sql_state
        self.message = message


class EndOfStream(SourceUnavailable):
    """The server ended the stream in good order, as it does when it shuts down or the dump thread is killed."""

    def __init__(self) -> None:
        super().__init__("the server ended the binlog stream")


class EventSplitter:
    """Splits the bytes of a dump stream into events; keeps what is not whole yet."""

    __slots__ = ("_buffer", "_needed_bytes", "_pieces", "_pieces_bytes", "_sequence", "failure")

    def __init__(self, sequence: int = 1) -> None:
        """`sequence`: the number the next packet carries; 1 after a command."""
        self.failure: CaptureError | None = None
        self._sequence = sequence
        self._buffer = bytearray()
        self._needed_bytes = 0
        self._pieces: list[bytes] = []
        self._pieces_bytes = 0

    @property
    def waiting_bytes(self) -> int:
        """Bytes of packets that are not whole yet."""
        return len(self._buffer) + self._pieces_bytes

    def feed(self, data: bytes) -> list[bytes]:
        """Take what the socket had and return the events that are whole.

        A packet that ends the stream sets `failure` (ServerError, EndOfStream; MalformedEvent when the bytes are not a
        dump stream) once the events before it are returned; whatever is fed after that is dropped.
        """
        if self.failure is not None:
            return []
        if self._buffer:
            self._buffer += data
            if len(self._buffer) < self._needed_bytes:
                return []
            data = bytes(self._buffer)
            self._buffer = bytearray()
        events: list[bytes] = []
        try:
            rest = self._split(data, events)
        except (SourceUnavailable, MalformedEvent) as error:
            self.failure = error
            return events
        if rest < len(data):
            self._buffer += memoryview(data)[rest:]
        return events

    def _split(self, data: bytes, events: list[bytes]) -> int:
        """Append the whole events of `data`; return where the first packet starts that is not whole."""
        position, size, sequence = 0, len(data), self._sequence
        while size - position >= HEADER_BYTES:
            length = data[position] | data[position + 1] << 8 | data[position + 2] << 16
            end = position + HEADER_BYTES + length
            if end > size:
                self._needed_bytes = end - position
                return position
            if data[position + 3] != sequence:
                raise MalformedEvent(
                    f"the binlog stream carries packet number {data[position + 3]} where {sequence} was due"
                )
            self._sequence = sequence = sequence + 1 & 0xFF
            start = position + HEADER_BYTES
            position = end
            if length == PIECE_BYTES or self._pieces:
                self._join(data[start:end], events)
            elif length and data[start] == _EVENT:
                events.append(data[start + 1 : end])
            else:
                self._refuse(data[start:end])
        self._needed_bytes = HEADER_BYTES
        return position

    def _join(self, piece: bytes, events: list[bytes]) -> None:
        self._pieces.append(piece)
        self._pieces_bytes += len(piece)
        if self._pieces_bytes > EVENT_BYTES_MAX + 1:
            raise MalformedEvent(f"the binlog stream carries an event of more than {EVENT_BYTES_MAX} bytes")
        if len(piece) == PIECE_BYTES:
            return
        payload = b"".join(self._pieces)
        self._pieces, self._pieces_bytes = [], 0
        if payload[0] != _EVENT:
            self._refuse(payload)
        events.append(payload[1:])

    def _refuse(self, payload: bytes) -> None:
        """Raise what a payload that is no event means."""
        if payload[:1] == bytes((_ERROR,)) and len(payload) >= 3:
            code = int.from_bytes(payload[1:3], "little")
            has_state = payload[3:4] == b"#"
            state = payload[4:9].decode("ascii", "replace") if has_state else "HY000"
            raise ServerError(code, state, payload[9 if has_state else 3 :].decode("utf-8", "replace"))
        if payload[:1] == bytes((_END,)) and len(payload) <= _END_BYTES_MAX:
            raise EndOfStream
        raise MalformedEvent(f"the binlog stream carries a packet that starts with {payload[:1].hex() or 'nothing'}")
