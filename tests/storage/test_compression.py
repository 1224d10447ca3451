"""Compressed batches: other projects' codecs read and write the same, and no damage costs more than a sentence."""

from __future__ import annotations

import random
import struct
import tracemalloc
import zlib
from contextlib import suppress

import aiokafka.record.default_records as aiokafka_records
import pytest
from cramjam import lz4 as cramjam_lz4
from cramjam import snappy as cramjam_snappy
from hypothesis import given, settings
from hypothesis import strategies as st
from kafka import codec as kafka_codec
from kafka.record import MemoryRecords
from kafka.record.default_records import DefaultRecordBatchBuilder

from storage import compression
from storage.checksum import crc32c
from storage.compression import CODECS, NONE, Codec, codec_named
from storage.encoding import encode_batch
from storage.errors import CorruptLog
from storage.records import (
    CRC_START,
    HEADER_BYTES,
    Record,
    iter_batches,
    iter_records,
    iter_times,
    read_header,
    records_of,
    verify_crc,
)

COMPRESSING = CODECS[1:]
SENTENCE = b"a row of a shop's orders, and another row of a shop's orders; "
MANY = [SENTENCE + b"%d" % number for number in range(200)]
every_codec = pytest.mark.parametrize("codec", COMPRESSING, ids=lambda codec: codec.name)


def repeated(length: int) -> bytes:
    return (SENTENCE * (length // len(SENTENCE) + 1))[:length]


def with_records(batch: bytes, records: bytes) -> bytes:
    """`batch` with other bytes where its records are, length and checksum made right: what a stranger may send."""
    changed = bytearray(batch[:HEADER_BYTES] + records)
    changed[8:12] = struct.pack(">i", len(changed) - 12)
    changed[17:21] = struct.pack(">I", crc32c(bytes(changed[CRC_START:])))
    return bytes(changed)


def decoded(data: bytes, bytes_max: int = 1 << 20) -> list[Record]:
    return [record for batch in iter_batches(data) for record in iter_records(batch, bytes_max)]


def opened(codec: Codec, data: bytes, bytes_max: int = 1 << 24) -> bytes:
    return codec.decompress(memoryview(data), bytes_max)


# What goes in comes out


@every_codec
@pytest.mark.parametrize("length", [0, 1, 100, 1 << 15, (1 << 15) + 1, 1 << 16, (1 << 16) + 1, 300_000])
def test_what_is_compressed_is_decompressed(codec: Codec, length: int) -> None:
    for data in (repeated(length), random.Random(length).randbytes(length)):
        assert opened(codec, codec.compress(data), length) == data
        assert opened(codec, codec.compress(memoryview(data)), length) == data


@given(
    codec=st.sampled_from(COMPRESSING),
    pieces=st.lists(st.tuples(st.binary(max_size=90), st.integers(1, 3000)), max_size=8),
)
@settings(max_examples=150)
def test_any_bytes_come_back(codec: Codec, pieces: list[tuple[bytes, int]]) -> None:
    data = b"".join(piece * times for piece, times in pieces)
    assert opened(codec, codec.compress(data)) == data


@every_codec
def test_a_compressed_batch_holds_the_same_records(codec: Codec) -> None:
    times = [1_500_000_000_000 + number % 3 for number in range(len(MANY))]
    plain, small = encode_batch(7, MANY, times), encode_batch(7, MANY, times, codec)
    assert len(small) < len(plain) / 3
    [batch] = iter_batches(small)
    assert batch.header.compression == codec.number
    assert verify_crc(small, 0, batch.header)
    assert batch.header._replace(attributes=0, batch_length=0, crc=0) == read_header(plain)._replace(
        batch_length=0, crc=0
    )
    assert list(iter_records(batch)) == decoded(plain)
    assert list(iter_times(batch)) == list(enumerate(times, 7))


@every_codec
def test_a_batch_that_gets_no_smaller_stays_as_it_is(codec: Codec) -> None:
    value = random.Random(1).randbytes(5000)
    assert encode_batch(0, [value], [1], codec) == encode_batch(0, [value], [1])
    assert encode_batch(0, [b""], [1], codec) == encode_batch(0, [b""], [1])


@given(
    codec=st.sampled_from(CODECS),
    records=st.lists(st.tuples(st.binary(max_size=300), st.integers(0, 2**45)), min_size=1, max_size=40),
)
def test_batches_of_every_codec_come_back(codec: Codec, records: list[tuple[bytes, int]]) -> None:
    contents, times = zip(*records, strict=True)
    assert [(r.value, r.timestamp_ms) for r in decoded(encode_batch(3, contents, times, codec))] == records


def test_the_time_of_a_single_record_needs_no_decompression() -> None:
    batch = encode_batch(9, [repeated(10_000)], [77], codec_named("lz4"))
    [damaged] = iter_batches(with_records(batch, b"\0" * 50))
    assert list(iter_times(damaged)) == [(9, 77)]


# What others write and read


@every_codec
@pytest.mark.parametrize("length", [10, 1 << 15, 200_000])
def test_kafka_python_opens_what_we_compress(codec: Codec, length: int) -> None:
    decode = {"gzip": kafka_codec.gzip_decode, "snappy": kafka_codec.snappy_decode, "lz4": kafka_codec.lz4_decode}
    data = repeated(length)
    assert decode[codec.name](codec.compress(data)) == data


@every_codec
@pytest.mark.parametrize("length", [10, 1 << 15, 200_000])
def test_we_open_what_kafka_python_compresses(codec: Codec, length: int) -> None:
    encode = {"gzip": kafka_codec.gzip_encode, "snappy": kafka_codec.snappy_encode, "lz4": kafka_codec.lz4_encode}
    data = repeated(length)
    assert opened(codec, encode[codec.name](data)) == data


def test_we_open_lz4_frames_with_checksums_and_larger_blocks() -> None:
    data = repeated(3 << 20)
    lz4 = codec_named("lz4")
    for options in (
        {"block_checksum": True},
        {"content_checksum": True, "store_size": False},
        {"block_size": 7, "block_checksum": True, "content_checksum": True},
    ):
        assert opened(lz4, kafka_codec.lz4_encode(data, **options)) == data


@every_codec
def test_kafka_python_reads_our_batches_and_we_read_its(codec: Codec) -> None:
    times = [5 + number % 2 for number in range(len(MANY))]
    theirs = MemoryRecords(encode_batch(40, MANY, times, codec)).next_batch()
    assert theirs.validate_crc()
    assert theirs.compression_type == codec.number
    assert [(r.offset, r.timestamp, r.value) for r in theirs] == [
        (40 + number, times[number], value) for number, value in enumerate(MANY)
    ]
    builder = DefaultRecordBatchBuilder(
        magic=2, compression_type=codec.number, is_transactional=False, producer_id=-1, producer_epoch=-1,
        base_sequence=-1, batch_size=1 << 30,
    )  # fmt: skip
    for offset, value in enumerate(MANY):
        assert builder.append(offset, times[offset], None, value, [])
    ours = decoded(bytes(builder.build()))
    assert [(r.offset, r.timestamp_ms, r.value) for r in ours] == list(zip(range(200), times, MANY, strict=True))


@every_codec
def test_aiokafka_reads_our_batches_and_we_read_its(codec: Codec) -> None:
    batch = encode_batch(40, MANY, [5] * len(MANY), codec)
    theirs = aiokafka_records.DefaultRecordBatch(bytearray(batch))
    assert theirs.validate_crc()
    assert [(r.offset, r.value) for r in theirs] == list(enumerate(MANY, 40))
    builder = aiokafka_records.DefaultRecordBatchBuilder(2, codec.number, 0, -1, -1, -1, 1 << 30)
    for offset, value in enumerate(MANY):
        assert builder.append(offset, 5, None, value, []) is not None
    assert [(r.offset, r.value) for r in decoded(bytes(builder.build()))] == list(enumerate(MANY))


def test_lz4_frames_begin_as_javas_do() -> None:
    """KafkaLZ4BlockOutputStream@1.1: independent blocks of 64 KiB, no checksums, the header checksum without magic."""
    assert codec_named("lz4").compress(b"x").startswith(bytes.fromhex("04224d18604082"))


def test_snappy_begins_as_javas_does() -> None:
    """SnappyOutputStream of snappy-java: magic, version 1, compatible version 1, chunks of 32 KiB."""
    data = codec_named("snappy").compress(repeated(40_000))
    assert data.startswith(bytes.fromhex("82534e415050590000000001" + "00000001"))
    first = struct.unpack_from(">i", data, 16)[0]
    assert bytes(cramjam_snappy.decompress_raw(data[20 : 20 + first])) == repeated(1 << 15)


@pytest.mark.parametrize("length", range(16))
def test_the_checksum_of_frame_headers_is_xxh32(length: int) -> None:
    known = {0: 0x02CC5D05, 1: 0x550D7456, 3: 0x32D153FF, 4: 0xA3643705}  # of "", "a", "abc", "abcd"
    data = b"abcdefghijklmnop"[:length]
    value = compression._xxh32_short(data)
    assert value == known.get(length, value)
    assert 0 <= value < 1 << 32


# Damage


@every_codec
def test_every_prefix_is_refused(codec: Codec) -> None:
    data = codec.compress(repeated(70_000))
    snappy_ends = set()
    if codec.name == "snappy":  # has no end mark: a cut between two chunks is found by the count of records
        position = 16
        while position < len(data):
            snappy_ends.add(position)
            position += 4 + struct.unpack_from(">i", data, position)[0]
    for length in range(len(data)):
        if length not in snappy_ends:
            with pytest.raises(ValueError, match=r"\w"):
                opened(codec, data[:length])
    batch = encode_batch(0, MANY * 10, [1] * 2000, codec)
    for length in range(HEADER_BYTES, len(batch), 7):
        with pytest.raises(CorruptLog, match="record batch at offset 0"):
            decoded(with_records(batch, batch[HEADER_BYTES:length]))


@every_codec
def test_bytes_behind_the_end_are_refused(codec: Codec) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        opened(codec, codec.compress(repeated(1000)) + b"\0")


@every_codec
def test_a_changed_byte_is_found_before_anything_is_decompressed(codec: Codec) -> None:
    batch = encode_batch(5, MANY, [1] * len(MANY), codec)
    for position in range(HEADER_BYTES, len(batch), 3):
        changed = bytearray(batch)
        changed[position] ^= 0x04
        with pytest.raises(CorruptLog, match=f"{codec.name} record batch at offset 5 does not match its checksum"):
            decoded(bytes(changed))


@given(
    codec=st.sampled_from(COMPRESSING),
    position=st.integers(0, 10_000),
    flip=st.integers(1, 255),
)
@settings(max_examples=400)
def test_changed_bytes_of_a_true_checksum_give_a_sentence_or_records(codec: Codec, position: int, flip: int) -> None:
    batch = encode_batch(0, MANY, [1] * len(MANY), codec)
    records = bytearray(batch[HEADER_BYTES:])
    records[position % len(records)] ^= flip
    with suppress(CorruptLog):
        assert len(decoded(with_records(batch, bytes(records)))) == len(MANY)


@given(codec=st.sampled_from(COMPRESSING), data=st.binary(max_size=300), is_behind_a_header=st.booleans())
@settings(max_examples=400)
def test_any_bytes_are_opened_or_refused(codec: Codec, data: bytes, is_behind_a_header: bool) -> None:
    header = {"gzip": codec.compress(b"")[:10], "snappy": codec.compress(b""), "lz4": codec.compress(b"")[:7]}
    with suppress(ValueError):
        assert len(opened(codec, (header[codec.name] if is_behind_a_header else b"") + data, 10_000)) <= 10_000


@pytest.mark.parametrize("number", [4, 5, 6, 7])
def test_an_unknown_codec_is_named(number: int) -> None:
    batch = bytearray(encode_batch(3, [b"value"], [1]))
    batch[22] |= number
    with pytest.raises(CorruptLog, match=f"offset 3 is compressed with codec {number}"):
        decoded(bytes(batch))


# Memory: what a length declares costs nothing, and nothing beyond the bound comes out


@every_codec
def test_more_than_the_bound_is_refused(codec: Codec) -> None:
    data = codec.compress(bytes(1000))
    assert opened(codec, data, 1000) == bytes(1000)
    with pytest.raises(ValueError, match="more than the 999 bytes"):
        opened(codec, data, 999)
    batch = encode_batch(0, [bytes(5000)], [1], codec)
    with pytest.raises(CorruptLog, match="offset 0 is damaged: more than the 4000 bytes"):
        decoded(batch, 4000)


@every_codec
def test_a_bomb_costs_no_more_memory_than_the_bound(codec: Codec) -> None:
    bomb = codec.compress(bytes(64 << 20))
    assert len(bomb) < 4 << 20
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="more than"):
            opened(codec, bomb, 1 << 20)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 8 << 20


def test_a_length_that_snappy_declares_is_not_believed() -> None:
    declared = bytes([0xFF, 0xFF, 0xFF, 0xFF, 0x0F])
    chunk = declared + b"\0" * 10
    data = codec_named("snappy").compress(b"") + struct.pack(">i", len(chunk)) + chunk
    with pytest.raises(ValueError, match="a snappy block of 15 bytes cannot make 4294967295"):
        opened(codec_named("snappy"), data, 1 << 40)


def test_a_snappy_block_that_makes_less_than_it_says_is_refused() -> None:
    chunk = b"\x14" + bytes(cramjam_snappy.compress_raw(b"ten bytes!"))[1:]
    data = codec_named("snappy").compress(b"") + struct.pack(">i", len(chunk)) + chunk
    with pytest.raises(ValueError, match="snappy block"):
        opened(codec_named("snappy"), data)


@pytest.mark.parametrize(
    ("frame", "sentence"),
    [
        ("04224d18604083", "does not match its checksum"),
        ("04224d184040c0", "linked blocks"),
        ("04224d18a04082", "is not known"),
        ("04224d18614082", "is not known"),
        ("04224d18603082", "is not known"),
        ("04224d186c40", "no LZ4 frame"),
        ("04224d186c400000", "does not match its checksum"),
        ("184d2204604082", "no LZ4 frame"),
        ("04224d18604082ffffff7f00", "a block of 2147483647 bytes"),
        ("04224d18604082ffffffff00", "a block of 2147483647 bytes"),
        ("04224d18604082010000", "length is cut off"),
        ("04224d1860408200000000", ""),
    ],
)
def test_lz4_frames_that_kafka_does_not_allow(frame: str, sentence: str) -> None:
    data = bytes.fromhex(frame)
    if not sentence:
        assert opened(codec_named("lz4"), data) == b""
        return
    with pytest.raises(ValueError, match=sentence):
        opened(codec_named("lz4"), data)


def test_an_lz4_block_larger_than_its_frame_says_is_refused() -> None:
    block = bytes(cramjam_lz4.compress_block(bytes(1 << 17), store_size=False))
    frame = bytes.fromhex("04224d18604082") + struct.pack("<I", len(block)) + block + bytes(4)
    with pytest.raises(ValueError, match="damaged LZ4 block"):
        opened(codec_named("lz4"), frame)
    stored = bytes(1 << 17)
    frame = bytes.fromhex("04224d18604082") + struct.pack("<I", len(stored) | 1 << 31) + stored + bytes(4)
    with pytest.raises(ValueError, match="131072 bytes, where 65536"):
        opened(codec_named("lz4"), frame)


def test_gzip_with_a_wrong_trailer_is_refused() -> None:
    data = bytearray(codec_named("gzip").compress(repeated(1000)))
    data[-1] ^= 1
    with pytest.raises(ValueError, match="no gzip stream"):
        opened(codec_named("gzip"), bytes(data))
    with pytest.raises(ValueError, match="bytes follow"):
        opened(codec_named("gzip"), 2 * codec_named("gzip").compress(b"x"))


# The table


def test_codecs_stand_at_their_numbers() -> None:
    assert [(codec.number, codec.name) for codec in CODECS] == [(0, "none"), (1, "gzip"), (2, "snappy"), (3, "lz4")]
    assert codec_named("none") is NONE
    with pytest.raises(KeyError):
        codec_named("zstd")


def test_none_leaves_the_bytes_as_they_are() -> None:
    assert opened(NONE, NONE.compress(b"abc")) == b"abc"
    with pytest.raises(ValueError, match="more than the 2 bytes"):
        opened(NONE, b"abc", 2)
    [batch] = iter_batches(encode_batch(0, [b"abc"], [1]))
    assert records_of(batch) == bytes(batch.view[HEADER_BYTES:])


def test_the_window_of_zlib_is_gzips() -> None:
    assert zlib.decompress(codec_named("gzip").compress(SENTENCE), 31) == SENTENCE
