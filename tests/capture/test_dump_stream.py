"""What arrives of a dump: how much is taken at a time, and when the socket is left alone."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

from capture.dump_stream import PIECE_BYTES, WAITING_BYTES_MAX, DumpStream
from capture.packets import EndOfStream, ServerError
from storage.clock import SystemClock
from tests.capture.test_packets import packet, stream

if TYPE_CHECKING:
    from collections.abc import Iterator

CHUNK_BYTES = 256 << 10
"""What a loop reads at a time."""


class Transport:
    """Counts how often it is paused."""

    def __init__(self) -> None:
        self.is_paused = False
        self.pauses = 0

    def pause_reading(self) -> None:
        assert not self.is_paused
        self.is_paused = True
        self.pauses += 1

    def resume_reading(self) -> None:
        assert self.is_paused
        self.is_paused = False

    def is_closing(self) -> bool:
        return False


def connected() -> tuple[DumpStream, Transport]:
    dump, transport = DumpStream(SystemClock()), Transport()
    dump.connection_made(cast("asyncio.Transport", transport))
    return dump, transport


def chunks(data: bytes) -> Iterator[bytes]:
    for start in range(0, len(data), CHUNK_BYTES):
        yield data[start : start + CHUNK_BYTES]


def test_what_a_read_brought_is_split_before_more_is_read() -> None:
    events = [bytes([number & 0xFF]) * (500 + number % 7) for number in range(4000)]
    dump, transport = connected()
    found: list[bytes] = []
    waiting = list(chunks(stream(events)))
    for chunk in waiting:
        assert not transport.is_paused
        dump.data_received(chunk)
        assert transport.is_paused == (len(chunk) > WAITING_BYTES_MAX)
        takes = 0
        while dump.pending:
            taken = dump.take()
            takes += 1
            assert sum(map(len, taken)) <= PIECE_BYTES + 600, "a piece, whatever waits"
            found += taken
        assert takes <= CHUNK_BYTES // PIECE_BYTES + 1
    assert found == events
    assert transport.pauses == sum(len(chunk) > WAITING_BYTES_MAX for chunk in waiting)


def test_a_small_event_is_there_at_once_and_pauses_nothing() -> None:
    dump, transport = connected()
    dump.data_received(stream([b"commit"]))
    assert dump.take() == [b"commit"]
    assert not dump.pending
    assert not transport.pauses


def test_an_event_larger_than_all_limits_comes_whole() -> None:
    event = bytes(range(256)) * 20_000
    dump, transport = connected()
    found: list[bytes] = []
    for chunk in chunks(stream([event, b"next"])):
        dump.data_received(chunk)
        found += dump.take()
        assert not transport.is_paused, "what is gathered waits for more"
    found += dump.take()
    assert found == [event, b"next"]


def test_what_came_before_the_end_is_taken_first_whatever_waits() -> None:
    events = [b"x" * 1000] * 200
    dump, _ = connected()
    error = packet(b"\xff\xd4\x04#HY000gone", 1 + len(events))
    dump.data_received(stream(events) + error + stream([b"never"]))
    dump.fail(EndOfStream())
    found = []
    while not dump.exhausted:
        found += dump.take()
    assert found == events
    assert isinstance(dump.failure, ServerError)
