"""How records become batches: where they are cut, what a codec makes of them, and which record stops a channel."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capture import batches as batches_module
from capture.batches import BATCH_BYTES_MAX, FLUSH_BYTES, encode, spans
from capture.channel import ChannelStatus, State
from capture.ddl import parse
from capture.dialect import Dialect
from capture.position import BinlogPosition
from capture.record_limit import RECORD_BYTES_MAX
from capture.schema import SchemaHistory, Session
from storage.compression import CODECS, NONE, Codec, codec_named
from storage.encoding import encode_batch
from storage.records import iter_batches, iter_records
from storage.verify import verify
from tests.capture.world import FILE, UUID, WAIT_S, FedSource, World, running
from tests.fakes import ManualClock, ManualScheduler

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from capture.channel import Channel
    from capture.table import TableVersion

TIME = 1_700_000_000
TABLES = {
    name: f"CREATE TABLE {name} ({columns})"
    for name, columns in (
        (
            "docs",
            "id INT, lang VARCHAR(8), body LONGTEXT, PRIMARY KEY (id, lang)",
        ),
        ("notes", "body LONGTEXT"),
        ("days", "day DATETIME PRIMARY KEY, body LONGTEXT"),
    )
}
SETUP = ("CREATE DATABASE shop CHARACTER SET utf8mb4", *TABLES.values())
RESPONSE_BYTES_MAX = 100_000_000
"""librdkafka's receive.message.max.bytes; sarama.MaxResponseSize is 100 MiB."""


def table_version(sql: str) -> TableVersion:
    history = SchemaHistory(Dialect.of("8.0.36"), lambda database, table: True)
    history.apply(parse(SETUP[0]), Session(None, 0, 255), (1, 1), SETUP[0])
    (change,) = history.apply(parse(sql), Session("shop", 0, 255), (1, 2), sql)
    assert change.new is not None
    return change.new


VERSIONS = {name: table_version(sql) for name, sql in TABLES.items()}


class Documents:
    """Writes a binlog of documents into a fed source."""

    def __init__(self, source: FedSource) -> None:
        self.source = source
        self.encoder = source.encoder
        self.number = 0
        for sql in SETUP:
            self.say(sql)

    def say(self, sql: str) -> None:
        self.number += 1
        self.source.feed(
            self.encoder.gtid(TIME, UUID, self.number), self.encoder.query(TIME, sql, database="shop", thread_id=8)
        )

    def transaction(self, *events: bytes) -> None:
        self.number += 1
        self.source.feed(
            self.encoder.gtid(TIME, UUID, self.number),
            self.encoder.query(TIME, "BEGIN", database="shop", thread_id=8),
        )
        for event in events:
            self.source.feed(event)
        self.source.feed(self.encoder.xid(TIME, self.number))

    def insert(self, table: str, *rows: dict[str, Any]) -> None:
        """One transaction of rows, each in an event of its own."""
        version, encoder = VERSIONS[table], self.encoder
        events = []
        for row in rows:
            events += [encoder.table_map(TIME, version, 100), encoder.write_rows(TIME, version, 100, [row])]
        self.transaction(*events)

    def update(self, before: dict[str, Any], after: dict[str, Any]) -> None:
        version, encoder = VERSIONS["docs"], self.encoder
        self.transaction(
            encoder.table_map(TIME, version, 100), encoder.update_rows(TIME, version, 100, [(before, after)])
        )

    @property
    def position(self) -> BinlogPosition:
        return BinlogPosition(FILE, self.encoder.position)


def doc(number: int, body: str, lang: str = "en") -> dict[str, Any]:
    return {"id": number, "lang": lang, "body": body}


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(now_ms=TIME * 1000)


@pytest.fixture
def source() -> FedSource:
    return FedSource()


@pytest.fixture
def documents(source: FedSource) -> Documents:
    return Documents(source)


@pytest.fixture
async def world(tmp_path: Path, clock: ManualClock) -> AsyncIterator[World]:
    made = World(tmp_path, clock)
    yield made
    await made.close()


def make_channel(world: World, source: FedSource, clock: ManualClock, **options: Any) -> Channel:
    return world.channel(lambda: source, "shop", scheduler=ManualScheduler(clock), **options)


async def carry(channel: Channel, documents: Documents) -> None:
    async with running(channel), asyncio.timeout(WAIT_S):
        await channel.wait_visible(documents.position)


async def failed(channel: Channel) -> ChannelStatus:
    async with running(channel, State.ERROR):
        return channel.status()


def stored(world: World) -> bytes:
    with world.log.read(world.log.log_start_offset, 1 << 30) as piece:
        return bytes(piece.view)


# ---- cutting ----


@given(
    sizes=st.lists(st.sampled_from([0, 1, 100, FLUSH_BYTES, BATCH_BYTES_MAX, BATCH_BYTES_MAX + 1, 3 << 20]), min_size=1)
)
def test_batches_hold_a_bound_or_one_value(sizes: list[int]) -> None:
    values = [bytes(size) for size in sizes]
    cut = list(spans(values, len(values)))
    assert [index for start, end, _ in cut for index in range(start, end)] == list(range(len(values)))
    for start, end, size in cut:
        assert size == sum(sizes[start:end])
        assert size <= BATCH_BYTES_MAX or end == start + 1


def test_no_answer_exceeds_the_largest_row_and_what_frames_it() -> None:
    values = [bytes(BATCH_BYTES_MAX - 1), bytes(RECORD_BYTES_MAX), b"small"]
    assert [(start, end) for start, end, _ in spans(values, 3)] == [(0, 1), (1, 2), (2, 3)]
    alone = encode_batch(1 << 40, [values[1]], [TIME * 1000])
    assert len(alone) < RECORD_BYTES_MAX + 200
    assert len(alone) + (1 << 20) < RESPONSE_BYTES_MAX


@pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.name)
async def test_much_data_is_encoded_beside_the_loop(codec: Codec, monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[bool] = []

    def noting(base_offset: int, values: Sequence[bytes], times: Sequence[int], codec: Codec) -> bytes:
        threads.append(threading.current_thread() is threading.main_thread())
        return encode_batch(base_offset, values, times, codec)

    monkeypatch.setattr(batches_module, "encode_batch", noting)
    values = [bytes(1000), bytes(codec.inline_bytes), bytes(codec.inline_bytes + 1)]
    for value in values:
        (batch,) = await encode(5, [value], [1], 1, codec)
        assert batch == encode_batch(5, [value], [1], codec)
    assert threads == [True, True, False]


async def test_batches_follow_each_other() -> None:
    values = [bytes(100_000)] * 10
    made = await encode(7, values, list(range(10)), 9, codec_named("lz4"))
    records = [record for data in made for batch in iter_batches(data) for record in iter_records(batch)]
    assert [(record.offset, record.timestamp_ms) for record in records] == [(7 + n, n) for n in range(9)]
    assert len(made) == 3


# ---- compression ----


@pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.name)
async def test_a_channel_compresses_its_batches_once(
    codec: Codec, world: World, source: FedSource, documents: Documents, clock: ManualClock
) -> None:
    for number in range(5):
        documents.insert("docs", *(doc(number * 100 + row, f"text {row} " * 400) for row in range(60)))
    await carry(make_channel(world, source, clock, compression=codec.name), documents)
    headers = [batch.header for batch in iter_batches(stored(world))]
    assert {header.compression for header in headers if header.record_count > 3} == {codec.number}
    inserted = [record for record in world.records() if record.operation == "INSERT"]
    assert [record.fields["afterImages"][2]["value"] for record in inserted] == [
        b"text %d " % (number % 60) * 400 for number in range(300)
    ]
    assert verify(world.folder / "topic-0").problems == []


async def test_the_option_may_change_on_a_log_that_has_records(
    world: World, source: FedSource, documents: Documents, clock: ManualClock
) -> None:
    for number, codec in enumerate(("none", "gzip", "lz4", "none", "snappy")):
        documents.insert("docs", doc(number, "text " * 1000))
        await carry(make_channel(world, source, clock, compression=codec), documents)
    used = [batch.header.compression for batch in iter_batches(stored(world))]
    assert set(used) == {0, 1, 2, 3}
    assert len([record for record in world.records() if record.operation == "INSERT"]) == 5


# ---- the largest record ----


async def test_a_row_above_the_limit_stops_the_channel_with_table_key_and_size(
    world: World, source: FedSource, documents: Documents, clock: ManualClock
) -> None:
    documents.insert("docs", doc(1, "a"))
    documents.insert("docs", doc(2, "b"), doc(7, "x" * 20_000, "de"), doc(8, "c"))
    documents.insert("docs", doc(9, "d"))
    status = await failed(make_channel(world, source, clock, record_bytes_max=16 << 10))
    assert status.retried_until_ms is None
    assert status.reason is not None
    assert "the row of shop.docs with primary key id = 7, lang = 'de' makes a record of 20" in status.reason
    assert "record_bytes_max is 16384: raise record_bytes_max of this channel" in status.reason
    assert f"(binlog {FILE}:" in status.reason
    assert [r.fields["afterImages"][0]["value"] for r in world.records() if r.operation == "INSERT"] == ["1"]
    assert world.operations()[-1] == "COMMIT"


async def test_with_a_higher_limit_the_channel_goes_on_exactly_there(
    world: World, source: FedSource, documents: Documents, clock: ManualClock
) -> None:
    documents.insert("docs", doc(1, "a"))
    documents.insert("docs", doc(2, "b"), *(doc(row, "y" * 9000) for row in range(100, 160)), doc(7, "x" * 20_000))
    documents.insert("docs", doc(9, "d"))
    await failed(make_channel(world, source, clock, record_bytes_max=16 << 10))
    stopped_at, before = world.log.high_watermark, stored(world)
    await failed(make_channel(world, source, clock, record_bytes_max=16 << 10))
    assert world.log.high_watermark == world.log.end_offset == stopped_at
    await carry(make_channel(world, source, clock, record_bytes_max=32 << 10), documents)
    assert stored(world).startswith(before)
    records = world.records()
    assert [record.offset for record in records] == list(range(len(records)))
    inserted = [int(r.fields["afterImages"][0]["value"]) for r in records if r.operation == "INSERT"]
    assert inserted == [1, 2, *range(100, 160), 7, 9]
    assert len(set(source.starts)) == 2


async def test_both_images_of_an_update_count(
    world: World, source: FedSource, documents: Documents, clock: ManualClock
) -> None:
    documents.insert("docs", doc(3, "x" * 9000))
    documents.update(doc(3, "x" * 9000), doc(4, "y" * 9000))
    status = await failed(make_channel(world, source, clock, record_bytes_max=16 << 10))
    assert status.reason is not None
    assert "shop.docs with primary key id = 3, lang = 'en' makes a record of 18" in status.reason


@pytest.mark.parametrize(
    ("table", "row", "key"),
    [
        ("notes", {"body": "x" * 20_000}, "no primary key"),
        ("days", {"day": "2024-03-01 09:15:07", "body": "x" * 20_000}, "primary key day = 2024, 3, 1, 9, 15, 7, 0"),
        ("docs", doc(1, "x" * 20_000, "ü\n"), "primary key id = 1, lang = 'ü\\n'"),
    ],
)
async def test_keys_of_all_kinds_are_named(
    table: str, row: dict[str, Any], key: str, world: World, source: FedSource, documents: Documents, clock: ManualClock
) -> None:
    documents.insert(table, row)
    status = await failed(make_channel(world, source, clock, record_bytes_max=16 << 10))
    assert status.reason is not None
    assert f"the row of shop.{table} with {key} makes a record" in status.reason


async def test_a_statement_above_the_limit_is_named(
    world: World, source: FedSource, documents: Documents, clock: ManualClock
) -> None:
    documents.say(f"CREATE TABLE long (id INT COMMENT '{'x' * 900}', body INT COMMENT '{'y' * 900}')")
    status = await failed(make_channel(world, source, clock, record_bytes_max=1 << 10))
    assert status.reason is not None
    assert "the statement CREATE TABLE long (id INT COMMENT 'xxx" in status.reason
    assert "x" * 100 not in status.reason
    assert world.operations() == ["DDL"] * 4


async def test_many_rows_of_one_event_may_exceed_the_limit_together(
    world: World, source: FedSource, documents: Documents, clock: ManualClock
) -> None:
    rows = [doc(number, "x" * 1000) for number in range(50)]
    encoder = documents.encoder
    documents.transaction(
        encoder.table_map(TIME, VERSIONS["docs"], 100), encoder.write_rows(TIME, VERSIONS["docs"], 100, rows)
    )
    await carry(make_channel(world, source, clock, record_bytes_max=16 << 10), documents)
    assert world.operations().count("INSERT") == 50


def test_nothing_is_compressed_unless_it_was_asked() -> None:
    assert codec_named("none") is NONE
