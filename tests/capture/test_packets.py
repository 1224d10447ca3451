"""The splitter of MySQL packets: golden bytes, one byte at a time, joins of 16 MB pieces, and what ends a stream."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import pytest
from asyncmy.errors import OperationalError
from asyncmy.protocol import MysqlPacket
from hypothesis import given
from hypothesis import strategies as st

from capture.errors import MalformedEvent
from capture.packets import PIECE_BYTES, EndOfStream, EventSplitter, ServerError


def packet(payload: bytes, sequence: int) -> bytes:
    return struct.pack("<I", len(payload))[:3] + bytes((sequence & 0xFF,)) + payload


def stream(events: list[bytes], sequence: int = 1) -> bytes:
    """What a server sends for these events, split at 16 MB as it does."""
    out = bytearray()
    for event in events:
        payload = b"\0" + event
        while True:
            piece, payload = payload[:PIECE_BYTES], payload[PIECE_BYTES:]
            out += packet(piece, sequence)
            sequence += 1
            if len(piece) < PIECE_BYTES:
                break
    return bytes(out)


def drain(splitter: EventSplitter, data: bytes, size: int) -> list[bytes]:
    events = []
    for start in range(0, len(data), size):
        events += splitter.feed(data[start : start + size])
    return events


def test_golden_bytes() -> None:
    data = bytes.fromhex("04000001 00414243 01000002 00 03000003 005a5a")
    assert EventSplitter().feed(data) == [b"ABC", b"", b"ZZ"]


@given(st.lists(st.binary(max_size=40), max_size=12), st.integers(1, 17))
def test_any_cut_gives_the_same_events(events: list[bytes], size: int) -> None:
    splitter = EventSplitter()
    assert drain(splitter, stream(events), size) == events
    assert splitter.waiting_bytes == 0
    assert splitter.failure is None


class Sliced(bytes):
    """Bytes that say how many of them were copied by slices."""

    copied_bytes = 0

    def __getitem__(self, key: Any) -> Any:
        found = super().__getitem__(key)
        if isinstance(key, slice):
            self.copied_bytes += len(found)
        return found


@given(st.lists(st.binary(max_size=300), min_size=20, max_size=60), st.integers(5, 2000), st.integers(1, 500))
def test_every_byte_is_copied_once_however_much_is_taken_at_a_time(
    events: list[bytes], chunk_bytes: int, piece_bytes: int
) -> None:
    data, splitter, found = stream(events), EventSplitter(), []
    for start in range(0, len(data), chunk_bytes):
        chunk, position = Sliced(data[start : start + chunk_bytes]), 0
        while position < len(chunk):
            taken, after = splitter.split(chunk, position, position + piece_bytes)
            assert after > position, "something is taken each time"
            assert after == len(chunk) or after < position + piece_bytes + 305, "no more than it takes to end a packet"
            position = after
            found += taken
        assert chunk.copied_bytes <= len(chunk)
    assert found == events


def test_a_large_event_is_gathered_without_copies_of_what_came_before() -> None:
    """Chunks that it fills are kept as they are; the last step joins them."""
    event, splitter = bytes(range(256)) * 4096, EventSplitter()
    data = stream([event, b"next"])
    chunks = [Sliced(data[start : start + (1 << 16)]) for start in range(0, len(data), 1 << 16)]
    found = [event for chunk in chunks for event in splitter.feed(chunk)]
    assert found == [event, b"next"]
    assert [chunk.copied_bytes for chunk in chunks[1:-1]] == [len(chunk) for chunk in chunks[1:-1]]


def test_nothing_before_the_last_byte() -> None:
    data, splitter = stream([b"binlog event"]), EventSplitter()
    for index in range(len(data) - 1):
        assert splitter.feed(data[index : index + 1]) == []
        assert splitter.waiting_bytes == index + 1
    assert splitter.feed(data[-1:]) == [b"binlog event"]


def test_the_sequence_number_wraps() -> None:
    events = [bytes((index & 0xFF,)) for index in range(600)]
    assert EventSplitter().feed(stream(events)) == events


@pytest.mark.parametrize("excess", [-2, -1, 0, 1])
def test_an_event_around_16_mb_is_joined(excess: int) -> None:
    event = bytes(range(256)) * (PIECE_BYTES // 256 + 1)
    event = event[: PIECE_BYTES + excess]
    splitter = EventSplitter()
    (found, after) = drain(splitter, stream([event, b"next"]), 1 << 18)
    assert zlib.crc32(found) == zlib.crc32(event)
    assert len(found) == len(event)
    assert after == b"next"


def test_an_event_of_three_pieces_is_joined() -> None:
    event = b"\xab" * (2 * PIECE_BYTES + 5)
    assert drain(EventSplitter(), stream([event, b"x"]), 1 << 20) == [event, b"x"]


def test_an_error_packet_ends_the_stream_behind_its_events() -> None:
    error = b"\xff" + struct.pack("<H", 1236) + b"#HY000Could not find first log file name"
    splitter = EventSplitter()
    assert splitter.feed(stream([b"one"]) + packet(error, 2)) == [b"one"]
    failure = splitter.failure
    assert isinstance(failure, ServerError)
    assert (failure.code, failure.sql_state, failure.message) == (1236, "HY000", "Could not find first log file name")
    assert splitter.feed(stream([b"two"], 3)) == []


def test_an_error_packet_reads_like_asyncmy_reads_it() -> None:
    payload = b"\xff" + struct.pack("<H", 2013) + b"#08S01gone away"
    splitter = EventSplitter()
    splitter.feed(packet(payload, 1))
    with pytest.raises(OperationalError) as raised:
        MysqlPacket(payload, "utf8").raise_for_error()
    assert isinstance(splitter.failure, ServerError)
    assert (splitter.failure.code, splitter.failure.message) == raised.value.args


def test_an_error_packet_without_state() -> None:
    splitter = EventSplitter()
    splitter.feed(packet(b"\xff\x10\x04Too many connections", 1))
    assert isinstance(splitter.failure, ServerError)
    assert splitter.failure.code == 1040
    assert splitter.failure.message == "Too many connections"


def test_an_eof_packet_ends_the_stream() -> None:
    splitter = EventSplitter()
    splitter.feed(packet(b"\xfe\0\0\2\0", 1))
    assert isinstance(splitter.failure, EndOfStream)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (packet(b"\0x", 2), "packet number 2 where 1 was due"),
        (packet(b"\x05abc", 1), "starts with 05"),
        (packet(b"", 1), "starts with nothing"),
        (packet(b"\xff", 1), "starts with ff"),
        (packet(b"\xfe" + b"x" * 20, 1), "starts with fe"),
    ],
)
def test_what_is_no_dump_stream_is_malformed(data: bytes, words: str) -> None:
    splitter = EventSplitter()
    assert splitter.feed(data) == []
    assert isinstance(splitter.failure, MalformedEvent)
    assert words in str(splitter.failure)


@given(st.binary(max_size=200))
def test_strangers_bytes_never_raise(data: bytes) -> None:
    whole, dripped = EventSplitter(), EventSplitter()
    assert whole.feed(data) == drain(dripped, data, 1)
    assert type(whole.failure) is type(dripped.failure)
