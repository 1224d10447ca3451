"""Record batches: Kafka's own bytes, another project's decoder, and every way to cut or bend them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from aiokafka.record.memory_records import MemoryRecords as AiokafkaRecords
from hypothesis import given, settings
from hypothesis import strategies as st
from kafka.record import MemoryRecords
from kafka.record.default_records import DefaultRecordBatchBuilder

from storage.encoding import encode_batch, encode_varint
from storage.errors import CorruptLog
from storage.records import (
    CRC_START,
    HEADER_BYTES,
    LENGTH_PREFIX_BYTES,
    Batch,
    Record,
    first_at_or_after,
    iter_batches,
    iter_records,
    iter_times,
    iter_values,
    read_header,
    records_of,
    verify_crc,
)

# Three records at offset 100 as Kafka 1.1's MemoryRecordsBuilder writes them: with headers, without key, without value.
GOLDEN = bytes.fromhex(
    "000000000000006400000055ffffffff020255caea0000000000020000015d3ef798000000015d3ef79807"
    "ffffffffffffffffffffffffffff0000000322000000026b047631040268040102026e0110000e02010476320010000604046b330100"
)
GOLDEN_RECORDS = [
    Record(100, 1500000000000, b"k", b"v1", (("h", b"\1\2"), ("n", None))),
    Record(101, 1500000000007, None, b"v2", ()),
    Record(102, 1500000000003, b"k3", None, ()),
]
REFERENCE = Path(__file__).resolve().parents[3] / "shared" / "reference" / "kafka-golden-records.txt"


def decoded(data: bytes) -> list[Record]:
    return [record for batch in iter_batches(data) for record in iter_records(batch)]


def found_by_all(batch: Batch, time_ms: int) -> tuple[int, int] | str | None:
    """What `first_at_or_after` finds, or says; seen to be what going through the times of all records finds."""

    def outcome(find: Callable[[], tuple[int, int] | None]) -> tuple[int, int] | str | None:
        try:
            return find()
        except CorruptLog as error:
            return str(error)

    found = outcome(lambda: first_at_or_after(batch, time_ms))
    assert found == outcome(lambda: next((each for each in iter_times(batch) if each[1] >= time_ms), None))
    return found


@given(
    times=st.lists(st.integers(0, 2**45) | st.integers(1_500_000_000_000, 1_500_000_000_200), min_size=1, max_size=40),
    sizes=st.lists(st.integers(0, 300), min_size=40, max_size=40),
    chosen=st.integers(0, 39),
    near=st.integers(-2, 2),
)
def test_a_time_is_found_as_by_going_through_all(times: list[int], sizes: list[int], chosen: int, near: int) -> None:
    [batch] = iter_batches(encode_batch(7, [bytes(size) for size in sizes[: len(times)]], times))
    found_by_all(batch, times[chosen % len(times)] + near)


def test_a_time_in_a_golden_batch_is_found() -> None:
    [batch] = iter_batches(GOLDEN)
    assert [found_by_all(batch, 1500000000000 + ms) for ms in (-1, 0, 1, 7, 8)] == [
        (100, 1500000000000),
        (100, 1500000000000),
        (101, 1500000000007),
        (101, 1500000000007),
        None,
    ]


def test_a_time_in_a_damaged_batch_is_found_or_refused_as_by_going_through_all() -> None:
    """Every byte of the records changed in every bit, and every prefix of them."""
    [batch] = iter_batches(GOLDEN)
    outcomes = Counter[str]()
    for position in range(HEADER_BYTES, len(GOLDEN)):
        before, behind = GOLDEN[:position], GOLDEN[position + 1 :]
        for data in (before, *(before + bytes([GOLDEN[position] ^ 1 << bit]) + behind for bit in range(8))):
            for ms in (0, 5, 8):
                outcomes[type(found_by_all(batch._replace(view=memoryview(data)), 1500000000000 + ms)).__name__] += 1
    assert set(outcomes) == {"tuple", "NoneType", "str"}


def test_the_time_of_appending_is_that_of_every_record() -> None:
    [batch] = iter_batches(GOLDEN)
    header = batch.header._replace(attributes=batch.header.attributes | 0x08)
    assert found_by_all(batch._replace(header=header), 1500000000001) == (100, 1500000000007)
    assert found_by_all(batch._replace(header=header), 1500000000008) is None


def test_golden_batch_of_kafka_is_decoded() -> None:
    [batch] = iter_batches(GOLDEN)
    assert list(iter_records(batch)) == GOLDEN_RECORDS
    assert list(iter_times(batch)) == [(record.offset, record.timestamp_ms) for record in GOLDEN_RECORDS]
    assert verify_crc(GOLDEN, 0, batch.header)
    assert (batch.header.next_offset, batch.header.size_bytes) == (103, len(GOLDEN))


@pytest.mark.skipif(not REFERENCE.exists(), reason="the reference vectors are not beside the checkout")
def test_golden_batch_is_the_one_of_the_reference() -> None:
    vectors = dict(line.split() for line in REFERENCE.read_text().splitlines() if line.strip())
    assert bytes.fromhex(vectors["m2_none"]) == GOLDEN


@pytest.mark.skipif(not REFERENCE.exists(), reason="the reference vectors are not beside the checkout")
def test_other_formats_of_the_reference_are_refused() -> None:
    vectors = dict(line.split() for line in REFERENCE.read_text().splitlines() if line.strip())
    older = [vector for name, vector in vectors.items() if not name.startswith("m2")]
    assert older
    for vector in older:
        with pytest.raises(CorruptLog, match=r"no record batch|cut off"):
            decoded(bytes.fromhex(vector))


@pytest.mark.skipif(not REFERENCE.exists(), reason="the reference vectors are not beside the checkout")
def test_compressed_batch_of_the_reference_is_decoded() -> None:
    vectors = dict(line.split() for line in REFERENCE.read_text().splitlines() if line.strip())
    assert decoded(bytes.fromhex(vectors["m2_gzip"])) == GOLDEN_RECORDS


@pytest.mark.parametrize("length", range(len(GOLDEN)))
def test_every_prefix_of_a_batch_is_refused(length: int) -> None:
    if length == 0:
        assert list(iter_batches(b"")) == []
        return
    with pytest.raises(CorruptLog):
        list(iter_batches(GOLDEN[:length]))


@pytest.mark.parametrize("length", range(HEADER_BYTES, len(GOLDEN)))
def test_every_prefix_of_the_records_is_refused(length: int) -> None:
    shortened = bytearray(GOLDEN[:length])
    shortened[8:12] = (length - 12).to_bytes(4, "big")
    with pytest.raises(CorruptLog):
        decoded(bytes(shortened))


def test_bytes_behind_the_last_record_are_refused() -> None:
    longer = bytearray(GOLDEN + b"\0")
    longer[8:12] = (len(longer) - 12).to_bytes(4, "big")
    with pytest.raises(CorruptLog, match="1 bytes follow"):
        decoded(bytes(longer))


@pytest.mark.parametrize("position", range(CRC_START, len(GOLDEN)))
def test_checksum_finds_every_changed_byte(position: int) -> None:
    changed = bytearray(GOLDEN)
    changed[position] ^= 0x10
    assert not verify_crc(changed, 0, read_header(GOLDEN))


def test_header_counts_larger_than_the_bytes_left_are_refused() -> None:
    batch = bytearray(encode_batch(0, [b"value"], [0]))
    batch[-1] = 0x7E
    with pytest.raises(CorruptLog, match="header count of 63"):
        decoded(bytes(batch))


@pytest.mark.parametrize("count", [4, 1 << 16, (1 << 31) - 1])
def test_record_counts_larger_than_the_bytes_left_are_refused(count: int) -> None:
    batch = bytearray(GOLDEN)
    batch[57:61] = count.to_bytes(4, "big")
    with pytest.raises(CorruptLog):
        decoded(bytes(batch))
    assert values_of(bytes(batch)) is None


@pytest.mark.parametrize("count", [-1, 0, 2])
def test_record_counts_smaller_than_what_is_there_are_refused(count: int) -> None:
    batch = bytearray(GOLDEN)
    batch[57:61] = count.to_bytes(4, "big", signed=True)
    with pytest.raises(CorruptLog, match="bytes follow"):
        decoded(bytes(batch))
    assert values_of(bytes(batch)) is None


def test_batch_that_needs_more_than_is_there_does_not_verify() -> None:
    assert not verify_crc(GOLDEN[:-1], 0, read_header(GOLDEN))


@pytest.mark.parametrize(
    ("value", "encoded"),
    [(0, "00"), (-1, "01"), (1, "02"), (63, "7e"), (64, "8001"), (-65, "8101"), (2**63 - 1, "feffffffffffffffff01")],
)
def test_varints_are_zigzag(value: int, encoded: str) -> None:
    assert encode_varint(value).hex() == encoded


def test_encoding_needs_values_and_as_many_timestamps() -> None:
    with pytest.raises(ValueError, match="at least one"):
        encode_batch(0, [], [])
    with pytest.raises(ValueError, match="as many timestamps"):
        encode_batch(0, [b"a", b"b"], [1])


@given(
    base_offset=st.integers(0, 2**62),
    records=st.lists(st.tuples(st.binary(max_size=300), st.integers(0, 2**45)), min_size=1, max_size=40),
)
def test_what_is_encoded_is_decoded(base_offset: int, records: list[tuple[bytes, int]]) -> None:
    contents, times = zip(*records, strict=True)
    data = encode_batch(base_offset, contents, times)
    [batch] = iter_batches(data)
    assert verify_crc(data, 0, batch.header)
    assert batch.header.max_timestamp_ms == max(times)
    assert list(iter_records(batch)) == [
        Record(base_offset + i, time_ms, None, value, ())
        for i, (value, time_ms) in enumerate(zip(contents, times, strict=True))
    ]


@given(
    base_offset=st.integers(0, 2**40),
    runs=st.lists(st.tuples(st.integers(1, 30), st.integers(0, 2**40)), min_size=1, max_size=5),
    size=st.sampled_from([0, 1, 55, 63, 64, 120, 8190, 16390]),
)
@settings(max_examples=50)
def test_kafka_python_decodes_what_is_encoded_and_builds_the_same_bytes(
    base_offset: int, runs: list[tuple[int, int]], size: int
) -> None:
    times = [time_ms for count, time_ms in runs for _ in range(count)]
    contents = [bytes([i % 251]) * (size + i % 3) for i in range(len(times))]
    data = encode_batch(base_offset, contents, times)
    theirs = MemoryRecords(data).next_batch()
    assert theirs.validate_crc()
    assert [(r.offset, r.timestamp, r.key, r.value, r.headers) for r in theirs] == [
        (base_offset + i, time_ms, None, value, [])
        for i, (value, time_ms) in enumerate(zip(contents, times, strict=True))
    ]
    assert data[LENGTH_PREFIX_BYTES:] == _built_by_kafka_python(contents, times)


@given(
    base_offset=st.integers(0, 2**40),
    records=st.lists(st.tuples(st.binary(max_size=300), st.integers(0, 2**40)), min_size=1, max_size=40),
)
@settings(max_examples=50)
def test_aiokafka_decodes_what_is_encoded(base_offset: int, records: list[tuple[bytes, int]]) -> None:
    contents, times = zip(*records, strict=True)
    theirs = AiokafkaRecords(encode_batch(base_offset, contents, times)).next_batch()
    assert theirs is not None
    assert theirs.validate_crc()
    assert [(r.offset, r.timestamp, r.key, r.value) for r in theirs] == [
        (base_offset + i, time_ms, None, value) for i, (value, time_ms) in enumerate(records)
    ]


def test_kafkas_own_batch_is_the_same_to_three_readers() -> None:
    plain = [(each.offset, each.timestamp_ms, each.key, each.value, each.headers) for each in decoded(GOLDEN)]
    for reader in (MemoryRecords, AiokafkaRecords):
        theirs = reader(GOLDEN).next_batch()
        assert [(r.offset, r.timestamp, r.key, r.value, tuple(map(tuple, r.headers))) for r in theirs] == plain


def _built_by_kafka_python(contents: list[bytes], times: list[int]) -> bytes:
    """Its batch always starts at offset 0; what comes behind base offset and length does not depend on that."""
    builder = DefaultRecordBatchBuilder(
        magic=2, compression_type=0, is_transactional=False, producer_id=-1, producer_epoch=-1, base_sequence=-1,
        batch_size=1 << 30,
    )  # fmt: skip
    for offset, (value, time_ms) in enumerate(zip(contents, times, strict=True)):
        assert builder.append(offset, time_ms, None, value, [])
    data = bytearray(builder.build())
    # kafka-python writes 0 where nobody led the partition; Kafka's own clients write -1, as we do.
    data[12:16] = b"\xff" * 4
    return bytes(data[LENGTH_PREFIX_BYTES:])


@pytest.mark.parametrize("count", [63, 64, 65, 8191, 8192, 8193, 20_000])
def test_offset_deltas_of_every_width(count: int) -> None:
    data = encode_batch(7, [b"v"] * count, [5] * count)
    assert [record.offset for record in MemoryRecords(data).next_batch()] == list(range(7, 7 + count))


@given(st.binary(max_size=200))
def test_any_bytes_are_decoded_or_refused(data: bytes) -> None:
    batch = bytearray(GOLDEN[:HEADER_BYTES] + data)
    batch[8:12] = (len(batch) - 12).to_bytes(4, "big")
    records = None
    with suppress(CorruptLog):
        records = decoded(bytes(batch))
    assert records is None or len(records) == 3
    assert values_of(bytes(batch)) == (None if records is None else [record[:4] for record in records])


def values_of(data: bytes) -> list[tuple[int, int, bytes | None, bytes | None]] | None:
    """What the fast reader says, from bytes and from a view, which must agree; None if it refuses."""
    [batch] = iter_batches(data)
    read = []
    for records in (records_of(batch), memoryview(records_of(batch))):
        try:
            found = [
                (offset, time_ms, None if key is None else bytes(key), None if value is None else bytes(value))
                for offset, time_ms, key, value in iter_values(batch.header, records)
            ]
        except CorruptLog:
            found = None
        read.append(found)
    assert read[0] == read[1]
    return read[0]


@given(st.integers(0, len(GOLDEN) - HEADER_BYTES - 1), st.binary(min_size=1, max_size=12))
def test_both_readers_agree_about_damage(position: int, damage: bytes) -> None:
    batch = bytearray(GOLDEN)
    position += HEADER_BYTES
    batch[position : position + len(damage)] = damage[: len(batch) - position]
    records = None
    with suppress(CorruptLog):
        records = decoded(bytes(batch))
    assert values_of(bytes(batch)) == (None if records is None else [record[:4] for record in records])


@given(records=st.lists(st.tuples(st.binary(max_size=300), st.integers(0, 2**45)), min_size=1, max_size=40))
def test_both_readers_agree_about_what_is_whole(records: list[tuple[bytes, int]]) -> None:
    contents, times = zip(*records, strict=True)
    data = encode_batch(11, contents, times)
    assert values_of(data) == [record[:4] for record in decoded(data)]
    assert values_of(GOLDEN) == [record[:4] for record in GOLDEN_RECORDS]
