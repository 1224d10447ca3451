"""TRANSACTION_PAYLOAD and MariaDB's compressed events: their bytes, every way they can be wrong, and bounded memory."""

from __future__ import annotations

import struct
import tracemalloc
import zlib

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from capture.compressed_events import uncompress
from capture.dialect import Dialect
from capture.encode import EventEncoder
from capture.errors import MalformedEvent, UnsupportedEvent
from capture.events import HEADER_BYTES, Checksum, EventDecoder, EventType, QueryEvent, TransactionPayloadEvent
from capture.payload import PIECE_BYTES, Compression, events_in
from capture.position import BinlogPosition
from capture.transactions import BinlogWalker, StepKind
from tests.capture.world import FILE, UUID

TIME = 1_700_000_000


def fields(compression: int, uncompressed_bytes: int, data: bytes, payload_bytes: int | None = None) -> bytes:
    size = len(data) if payload_bytes is None else payload_bytes
    return (
        bytes([2, 3, 0xFC])
        + struct.pack("<H", compression)
        + bytes([3, 9, 0xFE])
        + struct.pack("<Q", uncompressed_bytes)
        + bytes([1, 9, 0xFE])
        + struct.pack("<Q", size)
        + b"\0"
        + data
    )


def decoded(body: bytes) -> TransactionPayloadEvent:
    raw = EventEncoder(checksum=Checksum.NONE).event(EventType.TRANSACTION_PAYLOAD, TIME, body)
    _, event = EventDecoder().decode(raw)
    assert isinstance(event, TransactionPayloadEvent)
    return event


def unpacked(body: bytes) -> list[bytes]:
    return [raw for raw in events_in(decoded(body)) if raw is not None]


def an_event(size: int = 0) -> bytes:
    return EventEncoder(checksum=Checksum.NONE).query(TIME, b"x" * size, thread_id=1)


def test_golden_bytes() -> None:
    event = bytes.fromhex("05000000 10 07000000 1b000000 00000000 0000 0100000000000000")
    body = bytes.fromhex("02 03 fcff00 03 01 1b 01 01 1b 00") + event
    found = decoded(body)
    assert (found.compression, found.uncompressed_bytes) == (Compression.NONE, 27)
    assert unpacked(body) == [event]


@pytest.mark.parametrize("compression", Compression)
def test_every_cut_of_the_event_is_refused(compression: Compression) -> None:
    content = an_event(10) + an_event(200)
    data = zstandard.compress(content) if compression is Compression.ZSTD else content
    body = fields(compression, len(content), data)
    assert len(unpacked(body)) == 2
    for size in range(len(body)):
        with pytest.raises(MalformedEvent):
            unpacked(body[:size])


@pytest.mark.parametrize("compression", Compression)
@pytest.mark.parametrize("off_by", [-300, -1, 1, 1 << 40])
def test_a_size_that_lies_is_refused(compression: Compression, off_by: int) -> None:
    content = an_event(1000)
    data = zstandard.compress(content) if compression is Compression.ZSTD else content
    with pytest.raises(MalformedEvent, match="TRANSACTION_PAYLOAD"):
        unpacked(fields(compression, len(content) + off_by, data))


def test_sizes_of_events_within_that_lie_are_refused() -> None:
    for size in (0, 18, 100_000, 0xFFFFFFFF):
        content = bytearray(an_event(50))
        struct.pack_into("<I", content, 9, size)
        with pytest.raises(MalformedEvent, match="are left"):
            unpacked(fields(Compression.NONE, len(content), bytes(content)))
    with pytest.raises(MalformedEvent, match="ends within an event of which it has 7 bytes"):
        unpacked(fields(Compression.NONE, 7, b"seven b"))


def test_what_is_not_understood_is_refused() -> None:
    with pytest.raises(UnsupportedEvent, match="compression 7 is not known"):
        decoded(fields(7, 1, b"x"))
    with pytest.raises(MalformedEvent, match="cannot be uncompressed"):
        unpacked(fields(Compression.ZSTD, 100, b"no zstd frame at all"))
    with pytest.raises(MalformedEvent, match="does not say"):
        decoded(bytes([1, 1, 0, 0]))


@given(st.binary(max_size=200), st.integers(0, 400))
def test_garbage_is_refused_and_breaks_nothing(garbage: bytes, size: int) -> None:
    try:
        found = unpacked(fields(Compression.ZSTD, size, garbage))
    except MalformedEvent:
        return
    assert sum(map(len, found)) == size


@given(st.lists(st.integers(0, 5000), min_size=1, max_size=30))
def test_events_come_back_whatever_their_sizes(sizes: list[int]) -> None:
    events = [an_event(size) for size in sizes]
    content = b"".join(events)
    assert unpacked(fields(Compression.ZSTD, len(content), zstandard.compress(content))) == events
    assert unpacked(fields(Compression.NONE, len(content), content)) == events


def test_unknown_fields_are_passed_over() -> None:
    content = an_event()
    body = bytes([9, 2, 1, 1]) + fields(Compression.NONE, len(content), content)
    assert unpacked(body) == [content]


def test_memory_is_bounded_whatever_the_size() -> None:
    """200 MB of events in 20 KB: what is held is a piece and the event under way."""
    event = an_event(100_000)
    count = 2000
    compressor = zstandard.ZstdCompressor().compressobj(size=count * len(event))
    data = b"".join(compressor.compress(event) for _ in range(count)) + compressor.flush()
    payload = decoded(fields(Compression.ZSTD, count * len(event), data))
    tracemalloc.start()
    try:
        found = sum(len(raw) for raw in events_in(payload) if raw is not None)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found == count * len(event)
    assert peak < 8 * PIECE_BYTES


def test_a_large_event_lets_others_run_while_it_comes_together() -> None:
    event = an_event(10 * PIECE_BYTES)
    data = zstandard.compress(event)
    found = list(events_in(decoded(fields(Compression.ZSTD, len(event), data))))
    assert found[-1] == event
    assert found[:-1] == [None] * 10


# ---- in the stream ----


def walker(encoder: EventEncoder) -> BinlogWalker:
    made = BinlogWalker(BinlogPosition(FILE, 4), Dialect.of("8.0.36"), checksum=False)
    made.walk(encoder.format_description(TIME))
    return made


def test_a_payload_is_a_transaction_whose_events_share_its_place() -> None:
    encoder, inner = EventEncoder(), EventEncoder(checksum=Checksum.NONE)
    walking = walker(encoder)
    walking.walk(encoder.gtid(TIME, UUID, 1))
    before = walking.position
    raw = encoder.payload(TIME, [inner.query(TIME, "BEGIN", thread_id=1), inner.xid(TIME, 1)])
    step = walking.walk(raw)
    assert (step.kind, walking.position) == (StepKind.PAYLOAD, before)
    begin, commit = (inside for inside in walking.unpack(step) if inside is not None)
    assert (begin.kind, commit.kind) == (StepKind.BEGIN, StepKind.COMMIT)
    assert (begin.start, begin.end) == (commit.start, commit.end) == (step.start, step.end)
    assert walking.position.position == encoder.position
    assert walking.gtid is not None


@pytest.mark.parametrize(
    ("events", "words"),
    [
        (["BEGIN"], "ends within its transaction"),
        (["BEGIN", "COMMIT", "BEGIN"], "cannot stand where it does"),
        ([], "ends within its transaction"),
        (["heartbeat"], "cannot stand where it does"),
    ],
)
def test_what_is_no_whole_transaction_is_refused(events: list[str], words: str) -> None:
    encoder, inner = EventEncoder(), EventEncoder(checksum=Checksum.NONE)
    walking = walker(encoder)
    raws = [inner.heartbeat(FILE) if sql == "heartbeat" else inner.query(TIME, sql, thread_id=1) for sql in events]
    step = walking.walk(encoder.payload(TIME, raws))
    with pytest.raises(MalformedEvent, match=words):
        list(walking.unpack(step))


# ---- MariaDB ----


def compressed(content: bytes, length: int | None = None, head: int = 0x82) -> bytes:
    size = len(content) if length is None else length
    return bytes([head]) + size.to_bytes(2, "big") + zlib.compress(content)


def test_a_compressed_statement_reads_as_the_plain_one() -> None:
    encoder = EventEncoder(checksum=Checksum.NONE)
    sql = b"CREATE TABLE t (a INT) COMMENT '" + b"x" * 300 + b"'"
    plain = encoder.query(TIME, sql, database="shop", thread_id=8)
    body = plain[HEADER_BYTES : -len(sql)] + compressed(sql)
    _, wanted = EventDecoder().decode(plain)
    _, found = EventDecoder().decode(encoder.event(EventType.MARIADB_QUERY_COMPRESSED, TIME, body))
    assert isinstance(found, QueryEvent)
    assert found == wanted
    for size in range(len(body)):
        with pytest.raises((MalformedEvent, UnsupportedEvent)):
            EventDecoder().decode(encoder.event(EventType.MARIADB_QUERY_COMPRESSED, TIME, body[:size]))


def test_compressed_parts_that_lie_are_refused() -> None:
    content = b"some rows" * 50
    assert uncompress(compressed(content)) == content
    for length in (len(content) - 1, len(content) + 1, 0, 65535):
        with pytest.raises(MalformedEvent, match="bytes uncompressed, which is not so"):
            uncompress(compressed(content, length))
    for head in (0x02, 0x80, 0x85, 0x87):
        with pytest.raises(MalformedEvent):
            uncompress(compressed(content, head=head))
    with pytest.raises(UnsupportedEvent, match="algorithm 3 is not known"):
        uncompress(compressed(content, head=0xB2))
    with pytest.raises(MalformedEvent, match="which is not so"):
        uncompress(compressed(content) + b"more")


def test_a_small_part_that_would_fill_memory_is_stopped_at_its_length() -> None:
    bomb = bytes([0x82]) + (1000).to_bytes(2, "big") + zlib.compress(b"\0" * 50_000_000)
    tracemalloc.start()
    try:
        with pytest.raises(MalformedEvent):
            uncompress(bomb)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1 << 20
