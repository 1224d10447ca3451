"""Magic 2 to magic 1 and 0: golden bytes of Kafka 1.1.1's own writer, kafka-python as reader, and the cache."""

from __future__ import annotations

import asyncio
from pathlib import Path
from random import Random
from typing import Any

import pytest
from aiokafka.record.legacy_records import _LegacyRecordBatchPy as LegacyRecordBatch
from hypothesis import given
from hypothesis import strategies as st
from kafka.record.default_records import DefaultRecordBatchBuilder
from kafka.record.memory_records import MemoryRecords

from broker import downconvert
from broker.downconvert import CONVERSIONS_MAX, NO_MESSAGES, DownConverter, Messages, message_span
from storage.compression import CODECS, Codec
from storage.encoding import encode_batch
from storage.errors import CorruptLog
from storage.log import LogSlice
from storage.records import Batch, read_header
from tests.fakes_log import MemoryLog

GOLDEN = {
    name: bytes.fromhex(data)
    for name, data in (
        line.split()
        for line in (Path(__file__).parents[1] / "golden" / "kafka-1.1.1-records.txt").read_text().splitlines()
    )
}


async def messages(batches: bytes, magic: int, converter: DownConverter | None = None) -> list[Messages]:
    converter = converter or DownConverter()
    return [each async for each in converter.convert("topic", memoryview(batches), magic)]


async def converted(batches: bytes, magic: int, converter: DownConverter | None = None) -> list[bytes]:
    return [bytes(each.data) for each in await messages(batches, magic, converter)]


@pytest.mark.parametrize("magic", [0, 1])
async def test_the_golden_batch_becomes_the_golden_messages(magic: int) -> None:
    assert await converted(GOLDEN["m2_none"], magic) == [GOLDEN[f"m{magic}_none"]]


@pytest.mark.parametrize("magic", [0, 1])
async def test_compressed_batches_become_messages_without_compression(magic: int) -> None:
    assert await converted(GOLDEN["m2_gzip"], magic) == [GOLDEN[f"m{magic}_none"]]


@pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.name)
async def test_batches_of_every_codec_become_the_same_messages(codec: Codec) -> None:
    values, times = [b"value %d " % n * 20 for n in range(500)], [1_500_000_000_000 + n % 5 for n in range(500)]
    plain, stored = encode_batch(70, values, times), encode_batch(70, values, times, codec)
    assert read_header(stored).compression == codec.number
    for magic in (0, 1):
        assert await converted(stored, magic) == await converted(plain, magic)


@pytest.mark.parametrize("codec", CODECS[1:], ids=lambda codec: codec.name)
async def test_damaged_compressed_batches_are_refused_with_a_sentence(codec: Codec) -> None:
    batch = bytearray(encode_batch(5, [b"value " * 100], [1], codec))
    batch[-1] ^= 1
    with pytest.raises(CorruptLog, match=f"the {codec.name} record batch at offset 5 does not match its checksum"):
        await converted(bytes(batch), 1)


async def test_offsets_and_times_that_no_message_can_have_are_refused() -> None:
    batch = bytearray(encode_batch(5, [b"a", b"b"], [1, 2]))
    batch[0:8] = (2**63 - 1).to_bytes(8, "big")
    with pytest.raises(CorruptLog, match="beyond 64 bits"):
        await converted(bytes(batch), 1)


async def test_control_batches_are_dropped() -> None:
    batch = bytearray(encode_batch(5, [b"control"], [1]))
    batch[22] |= 0x20
    assert await converted(bytes(batch), 1) == [b""]


@given(values=st.lists(st.tuples(st.binary(max_size=50), st.integers(0, 2**45)), min_size=1, max_size=20))
def test_kafka_python_reads_the_same_records(values: list[tuple[bytes, int]]) -> None:
    batch = encode_batch(1000, [value for value, _ in values], [timestamp for _, timestamp in values])
    for magic in (0, 1):
        (messages,) = asyncio.run(converted(batch, magic))
        records = MemoryRecords(messages)
        read = []
        while (each := records.next_batch()) is not None:
            assert each.validate_crc()
            read += [(record.offset, record.value, record.timestamp if magic else None) for record in each]
        expected = [(1000 + n, value, timestamp if magic else None) for n, (value, timestamp) in enumerate(values)]
        assert read == expected


def _in_kafka_python(messages: bytes) -> list[tuple[int, int | None, bytes | None, bytes | None]]:
    records, found = MemoryRecords(messages), []
    while (batch := records.next_batch()) is not None:
        assert batch.validate_crc()
        found += [(record.offset, record.timestamp, record.key, record.value) for record in batch]
    return found


def _in_aiokafka(messages: bytes, magic: int) -> list[tuple[int, int | None, bytes | None, bytes | None]]:
    """With its own decoder in Python, message by message: that one takes no sets."""
    found, position = [], 0
    while position < len(messages):
        end = position + 12 + int.from_bytes(messages[position + 8 : position + 12], "big")
        one = LegacyRecordBatch(bytearray(messages[position:end]), magic)
        assert one.validate_crc()
        found += [(record.offset, record.timestamp, record.key, record.value) for record in one]
        position = end
    return found


optional_bytes = st.none() | st.binary(max_size=40)
header_lists = st.lists(st.tuples(st.text(max_size=5), st.none() | st.binary(max_size=5)), max_size=3)


@pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.name)
@given(
    written=st.lists(
        st.tuples(st.integers(0, 2**45), optional_bytes, optional_bytes, header_lists), min_size=1, max_size=12
    ),
    base_offset=st.integers(0, 2**60),
)
def test_two_decoders_read_what_kafka_pythons_writer_wrote(
    codec: Codec, written: list[tuple[int, bytes | None, bytes | None, list[Any]]], base_offset: int
) -> None:
    """Keys, nulls and headers too, which no record of ours has: headers are dropped, nulls stay."""
    builder = DefaultRecordBatchBuilder(2, codec.number, False, -1, -1, -1, 1 << 20)
    for number, (timestamp, key, value, headers) in enumerate(written):
        assert builder.append(number, timestamp, key, value, headers) is not None
    stored = base_offset.to_bytes(8, "big") + bytes(builder.build())[8:]
    for magic in (0, 1):
        (made,) = asyncio.run(converted(stored, magic))
        expected = [
            (base_offset + number, timestamp if magic else None, key, value)
            for number, (timestamp, key, value, _) in enumerate(written)
        ]
        assert _in_kafka_python(made) == expected
        assert _in_aiokafka(made, magic) == expected


def batches(count: int, records: int = 10) -> bytes:
    log = MemoryLog()
    return b"".join(log.append([b"value"] * records, [n] * records) for n in range(count))


async def test_the_cache_keeps_what_was_used_last_within_its_bytes() -> None:
    (one,) = await messages(batches(1), 1)
    converter = DownConverter(cache_bytes_max=3 * one.size_bytes)
    data = batches(4)
    await converted(data, 1, converter)
    assert converter.cached_bytes == 3 * one.size_bytes
    await converted(data, 0, converter)
    assert converter.cached_bytes <= 3 * one.size_bytes


class Counted:
    """Conversions that were really done: (base offset, magic) in order."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.done: list[tuple[int, int]] = []
        convert = downconvert._convert

        async def counting(batch: Batch, magic: int) -> Messages:
            self.done.append((batch.header.base_offset, magic))
            return await convert(batch, magic)

        monkeypatch.setattr(downconvert, "_convert", counting)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counted:
    return Counted(monkeypatch)


async def test_a_batch_is_converted_once_for_each_magic(counted: Counted) -> None:
    converter, data = DownConverter(), batches(5)
    for _ in range(3):
        for magic in (0, 1):
            await converted(data, magic, converter)
    assert counted.done == [(offset, magic) for magic in (0, 1) for offset in range(0, 50, 10)]
    kept = [each for magic in (0, 1) for each in await messages(data, magic, converter)]
    assert converter.cached_bytes == sum(each.data.nbytes + 16 * len(each.ends) for each in kept)


async def test_clients_that_want_the_same_batches_at_once_convert_them_once(counted: Counted) -> None:
    converter = DownConverter()
    data = encode_batch(0, [b"v"] * 3000, [1] * 3000, CODECS[3]) + encode_batch(3000, [b"w"] * 3000, [1] * 3000)
    made = await asyncio.gather(*(messages(data, 1, converter) for _ in range(20)))
    assert counted.done == [(0, 1), (3000, 1)]
    assert {id(each.data) for every in made for each in every} == {id(each.data) for each in made[0]}, "nothing copied"


async def test_what_was_not_used_longest_goes_first_and_is_converted_again(counted: Counted) -> None:
    first, second, third, fourth = (encode_batch(number, [b"value"], [1]) for number in range(4))
    (one,) = await messages(first, 1)
    converter = DownConverter(cache_bytes_max=3 * one.size_bytes)
    counted.done.clear()
    for data in (first, second, third, first, fourth, first, third, second):
        await converted(data, 1, converter)
        assert converter.cached_bytes <= 3 * one.size_bytes
    assert [offset for offset, _ in counted.done] == [0, 1, 2, 3, 1]


async def test_the_cache_never_holds_more_than_its_bytes(counted: Counted) -> None:
    random = Random(7)
    counts = [random.randrange(1, 60) for _ in range(40)]
    stored = [encode_batch(n, [bytes(random.randrange(2000))] * count, [1] * count) for n, count in enumerate(counts)]
    converter = DownConverter(cache_bytes_max=300_000)
    most = 0
    for _ in range(300):
        await converted(random.choice(stored), random.randrange(2), converter)
        most = max(most, converter.cached_bytes)
    assert 200_000 < most <= 300_000
    assert len(counted.done) > len(set(counted.done)), "some were evicted and wanted again"


async def test_a_conversion_that_fails_is_not_remembered(counted: Counted) -> None:
    converter = DownConverter()
    damaged = bytearray(encode_batch(5, [b"value " * 100], [1], CODECS[1]))
    damaged[-1] ^= 1
    for _ in range(2):
        asked = [messages(bytes(damaged), 1, converter) for _ in range(3)]
        outcomes = await asyncio.gather(*asked, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [CorruptLog] * 3
    assert counted.done == [(5, 1), (5, 1)]
    assert converter.cached_bytes == 0


async def test_a_batch_larger_than_the_cache_is_converted_and_not_kept() -> None:
    converter = DownConverter(cache_bytes_max=10)
    assert len((await converted(batches(1), 1, converter))[0]) > 10
    assert converter.cached_bytes == 0


async def test_another_batch_at_the_same_offset_is_not_mistaken() -> None:
    converter = DownConverter()
    first = await converted(encode_batch(0, [b"one"], [1]), 1, converter)
    second = await converted(encode_batch(0, [b"two"], [1]), 1, converter)
    assert first != second


async def test_converting_a_large_batch_gives_the_loop_back() -> None:
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counter = asyncio.create_task(count())
    await asyncio.sleep(0)
    await converted(encode_batch(0, [b"v"] * 20_000, [1] * 20_000), 1)
    counter.cancel()
    assert turns > 3


async def test_one_client_that_goes_away_does_not_end_the_conversion_others_wait_for() -> None:
    converter = DownConverter()
    data = encode_batch(0, [b"v"] * 5000, [1] * 5000)
    first = asyncio.create_task(converted(data, 1, converter))
    second = asyncio.create_task(converted(data, 1, converter))
    await asyncio.sleep(0)
    first.cancel()
    assert len((await second)[0]) > 5000
    with pytest.raises(asyncio.CancelledError):
        await first


@pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.name)
async def test_a_large_row_is_converted_in_slices(codec: Codec) -> None:
    value = b"a row of a document " * ((6 << 20) // 20)
    data = encode_batch(9, [value], [5], codec)
    looks = 0

    async def look() -> None:
        nonlocal looks
        while True:
            looks += 1
            await asyncio.sleep(0)

    looking = asyncio.create_task(look())
    for magic in (0, 1):
        ((message,),) = [list(MemoryRecords(each).next_batch()) for each in await converted(data, magic)]
        assert (message.offset, message.value) == (9, value)
    looking.cancel()
    assert looks > 4


async def test_few_conversions_are_under_way_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    under_way = most = 0

    async def slow(batch: Batch, magic: int) -> Messages:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        for _ in range(5):
            await asyncio.sleep(0)
        under_way -= 1
        return NO_MESSAGES

    monkeypatch.setattr("broker.downconvert._convert", slow)
    converter = DownConverter()
    data = [encode_batch(number, [b"value"], [1]) for number in range(30)]
    await asyncio.gather(*(converted(each, 1, converter) for each in data))
    assert most == CONVERSIONS_MAX


async def test_a_batch_outlives_the_slice_it_was_cut_from() -> None:
    converter = DownConverter()
    stored = LogSlice(memoryview(encode_batch(0, [b"v"] * 5000, [1] * 5000)))

    async def first_client() -> None:
        with stored:
            async for _ in converter.convert("topic", stored.view, 1):
                pass

    data = bytes(stored.view)
    first = asyncio.create_task(first_client())
    second = asyncio.create_task(converted(data, 1, converter))
    await asyncio.sleep(0)
    first.cancel()
    assert len((await second)[0]) > 5000
    assert len(stored) == 0


# Cutting


@pytest.mark.parametrize(
    ("from_offset", "room", "expected"),
    [
        (0, 1000, (0, 109, 37)),
        (100, 109, (0, 109, 37)),
        (100, 108, (0, 73, 37)),
        (101, 1000, (37, 109, 73)),
        (101, 35, (37, 37, 73)),
        (102, 36, (73, 109, 109)),
        (103, 1000, (109, 109, 109)),
        (100, 0, (0, 0, 37)),
    ],
)
async def test_a_span_begins_and_ends_at_messages(from_offset: int, room: int, expected: tuple[int, int, int]) -> None:
    """Offsets 100, 101 and 102, of 37, 36 and 36 bytes."""
    (messages,) = [each async for each in DownConverter().convert("topic", memoryview(GOLDEN["m2_none"]), 1)]
    assert bytes(messages.data) == GOLDEN["m1_none"]
    assert message_span(messages, from_offset, room) == expected


def test_an_empty_run_has_an_empty_span() -> None:
    assert message_span(NO_MESSAGES, 5, 100) == (0, 0, 0)
