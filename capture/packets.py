"""MySQL packets, sans-IO: the byte stream of a binlog dump in, whole binlog events out.

Each packet is a 3-byte little-endian payload length, a sequence number and the payload. A payload of 2^24-1 bytes or
more is sent in pieces of 2^24-1; the first shorter piece (it may be empty) ends it. The payload's first byte says what
it is:

    00  a binlog event (header, body, checksum) behind it
    ff  an error: code (u16 LE), `#`, 5 bytes of SQL state, message
    fe  the end of the stream (shorter than 9 bytes)

A packet costs one look and one slice, of what the socket gave, where it lies; only a packet that began in what came
before is joined. A large one is gathered without searching again what was searched before.
Whoever feeds owns the socket and its flow control; who decodes the events is not known here.
"""

from __future__ import annotations

import struct

from capture.errors import CaptureError, MalformedEvent, SourceUnavailable

HEADER_BYTES = 4
PIECE_BYTES = (1 << 24) - 1
"""Payload length of a piece that is followed by another (MySQL internals, 'sending more than 16 MB')."""

EVENT_BYTES_MAX = 1 << 30
"""The largest event a server sends: MySQL's own upper limit of max_allowed_packet."""

_HEAD_AND_KIND = struct.Struct("<IB").unpack_from
"""Length and sequence number in one, and the payload's first byte."""
_NO_LENGTH = bytes(3)
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

    __slots__ = ("_needed_bytes", "_parts", "_parts_bytes", "_pieces", "_pieces_bytes", "_sequence", "failure")

    def __init__(self, sequence: int = 1) -> None:
        """`sequence`: the number the next packet carries; 1 after a command."""
        self.failure: CaptureError | None = None
        self._sequence = sequence
        self._parts: list[bytes] = []
        self._parts_bytes = 0
        """The packet under way, as it came."""
        self._needed_bytes = 0
        """Its size; of one whose header is not whole, the header's."""
        self._pieces: list[bytes] = []
        self._pieces_bytes = 0

    @property
    def waiting_bytes(self) -> int:
        """Bytes of packets that are not whole yet."""
        return self._parts_bytes + self._pieces_bytes

    def feed(self, data: bytes) -> list[bytes]:
        """Take what the socket had and return the events that are whole, as `split` does."""
        return self.split(data, 0, len(data))[0]

    def split(self, data: bytes, start: int, until: int) -> tuple[list[bytes], int]:
        """Split `data` from `start` on until a packet ends at `until` or behind it; the events, and where to go on. All
        of `data` is taken when that is its end: what is not whole is kept.

        A packet that ends the stream sets `failure` (ServerError, EndOfStream; MalformedEvent when the bytes are not a
        dump stream) once the events before it are returned; whatever comes after that is dropped.
        """
        events: list[bytes] = []
        if self.failure is not None:
            return events, len(data)
        try:
            if self._parts:
                start = self._complete(data, start, events)
            return events, self._split(data, start, until, events)
        except (SourceUnavailable, MalformedEvent) as error:
            self.failure = error
            return events, len(data)

    def _split(self, data: bytes, position: int, until: int, events: list[bytes]) -> int:
        size, sequence, append = len(data), self._sequence, events.append
        stop = min(until, size - HEADER_BYTES)
        while position < stop:
            head, kind = _HEAD_AND_KIND(data, position)
            length = head & PIECE_BYTES
            end = position + HEADER_BYTES + length
            if end > size:
                self._sequence = sequence
                self._keep(data[position:], HEADER_BYTES + length)
                return size
            if kind or head >> 24 != sequence or not length or length == PIECE_BYTES or self._pieces:
                self._sequence = sequence
                self._take(data[position:end], events)
                sequence = self._sequence
            else:
                append(data[position + HEADER_BYTES + 1 : end])
                sequence = sequence + 1 & 0xFF
            position = end
        self._sequence = sequence
        if position >= until or position == size:
            return position
        rest = data[position:]
        if rest[:3] == _NO_LENGTH and len(rest) == HEADER_BYTES:
            self._take(rest, events)
        else:
            self._keep(rest, HEADER_BYTES)
        return size

    def _keep(self, rest: bytes, needed_bytes: int) -> None:
        self._parts, self._parts_bytes, self._needed_bytes = [rest], len(rest), needed_bytes

    def _complete(self, data: bytes, position: int, events: list[bytes]) -> int:
        """Add to the packet under way what `data` has of it; where the next one starts."""
        while True:
            stop = position + self._needed_bytes - self._parts_bytes
            if stop > len(data):
                self._parts.append(data[position:])
                self._parts_bytes += len(data) - position
                return len(data)
            first, *others = self._parts
            rest: list[bytes | memoryview] = [*others, memoryview(data)[position:stop]]
            position = stop
            if self._needed_bytes > HEADER_BYTES + 1 and len(first) > HEADER_BYTES and self._is_event(first):
                events.append(b"".join((memoryview(first)[HEADER_BYTES + 1 :], *rest)))
                self._parts, self._parts_bytes = [], 0
                return position
            packet = b"".join((first, *rest))
            needed_bytes = HEADER_BYTES + int.from_bytes(packet[:3], "little")
            if len(packet) == needed_bytes:
                self._parts, self._parts_bytes = [], 0
                self._take(packet, events)
                return position
            self._parts, self._parts_bytes, self._needed_bytes = [packet], len(packet), needed_bytes

    def _is_event(self, first: bytes) -> bool:
        """Whether a packet that begins so is a whole event, as nearly all are, and the one that is due; it is then."""
        head, kind = _HEAD_AND_KIND(first)
        if head >> 24 != self._sequence or kind or head & PIECE_BYTES == PIECE_BYTES or self._pieces:
            return False
        self._sequence = self._sequence + 1 & 0xFF
        return True

    def _take(self, packet: bytes, events: list[bytes]) -> None:
        """Take a whole packet, whatever it holds."""
        if packet[3] != self._sequence:
            raise MalformedEvent(f"the binlog stream carries packet number {packet[3]} where {self._sequence} was due")
        self._sequence = self._sequence + 1 & 0xFF
        length = len(packet) - HEADER_BYTES
        if length == PIECE_BYTES or self._pieces:
            self._join(packet[HEADER_BYTES:], events)
        elif length and packet[HEADER_BYTES] == _EVENT:
            events.append(packet[HEADER_BYTES + 1 :])
        else:
            self._refuse(packet[HEADER_BYTES:])

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
