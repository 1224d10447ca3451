"""What a test can have happen to a channel's data, as consumers see it: records, offsets, commits, connections."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaConsumer, TopicPartition
from kafka.errors import OffsetOutOfRangeError

from binwire.record import Record
from binwire.testing import AsyncEmbeddedBroker, Channel, EmbeddedBroker, EmbeddedBrokerError
from broker.apis.metadata import MetadataRequest, MetadataResponse
from broker.listener import Address
from tests.binwire.consumers import kafka_python, on_librdkafka
from tests.broker.raw_client import RawClient

T = "CREATE TABLE t (id INT PRIMARY KEY, note VARCHAR(40))"
MADE = 2
"""Records of making it: its database, itself."""
NEW = 1_000_000
"""Where the offsets of a new store begin, if the old ones are below."""


@pytest.fixture
def channel(broker: EmbeddedBroker) -> Iterator[Channel]:
    with broker.channel(T) as channel:
        yield channel


def operations(channel: Channel, first: int = 0) -> list[str]:
    return [record.operation for record in channel.records()[first:]]


def ids(records: list[Record]) -> list[int]:
    """The column `id` of the rows inserted."""
    return [record.after["id"] for record in records if record.after is not None]


def distances(records: list[Record]) -> set[int]:
    """Of ids from offsets: one, in one store."""
    return {record.id - record.offset for record in records if record.offset is not None}


def stays(record: Record) -> tuple[Any, ...]:
    """What a record says of the source: all but its id and offset, when it was read there, and which source that is."""
    tags = {
        name: value.rpartition(":")[2] if name.startswith("GTID") else value
        for name, value in record.tags.items()
        if name != "readerThroughoutTime"
    }
    parts = (record.operation, record.table, record.before, record.after, record.ddl, tags)
    return (*parts, record.position, record.safe_position, record.timestamp_s)


async def metadata(channel: Channel) -> MetadataResponse:
    """What a client of the channel's group is told."""
    async with logged_in(channel) as client:
        await client.log_in(channel.login, channel.password)
        return await client.ask(MetadataRequest(topics=[channel.topic]), 5, MetadataResponse)


def logged_in(channel: Channel) -> RawClient:
    host, _, port = channel.bootstrap_servers.rpartition(":")
    return RawClient(Address(host, int(port)))


# Records


def test_noops(channel: Channel) -> None:
    channel.faults.noop(count=2, timestamp_s=1_700_000_000)
    channel.insert("t", {"id": 1})
    found = channel.records()
    assert operations(channel, MADE) == ["NOOP", "NOOP", "BEGIN", "INSERT", "COMMIT"]
    assert [record.offset for record in found] == [*range(len(found))]
    assert distances(found) == {found[0].id}
    assert [(record.timestamp_s, record.position, record.tags) for record in found[2:4]] == [
        (1_700_000_000, "", {})
    ] * 2
    with kafka_python(channel) as consumer:
        values = [message.value for _, message in zip(found, consumer, strict=False)]
    assert [len(value) < 48 for value in values] == [record.operation == "NOOP" for record in found]


def test_noops_stand_between_the_changes_of_others(channel: Channel) -> None:
    """Calls at the same time: each change comes whole, and none is lost."""

    def insert(number: int) -> None:
        channel.insert("t", {"id": number})

    with ThreadPoolExecutor(4) as pool:
        inserting = pool.map(insert, range(20))
        for _ in range(5):
            channel.faults.noop()
        assert len([*inserting]) == 20
    found = [operation for operation in operations(channel, MADE) if operation != "NOOP"]
    assert found == ["BEGIN", "INSERT", "COMMIT"] * 20
    assert sorted(ids(channel.records())) == [*range(20)]
    assert len(channel.records()) == MADE + 60 + 5


def test_empty_transactions(channel: Channel) -> None:
    channel.faults.empty_transaction(count=2, timestamp_s=1_700_000_000)
    begin, commit, *_ = pairs = channel.records()[MADE:]
    assert [record.operation for record in pairs] == ["BEGIN", "COMMIT"] * 2
    assert begin.tags["GTID"] == commit.tags["GTID"]
    assert {record.timestamp_s for record in pairs} == {1_700_000_000}


def test_rows_that_are_not_tracked(broker: EmbeddedBroker) -> None:
    """They are what a channel that tracks them gives; without being asked for they do not come."""
    tables = ("CREATE TABLE a.t (id INT PRIMARY KEY, note TEXT)", "CREATE TABLE b.t (id INT)")
    rows = {"id": 2, "note": "x" * 60_000}, {"id": 3}
    with broker.channel(*tables) as wide, broker.channel(*tables, objects=["b"]) as narrow:
        for each in (wide, narrow):
            each.insert("a.t", {"id": 1, "note": "silent"}, timestamp_s=1_700_000_000)
        wide.insert("a.t", *rows, timestamp_s=1_700_000_001)
        narrow.faults.untracked("a.t", *rows, timestamp_s=1_700_000_001)
        for each in (wide, narrow):
            each.insert("b.t", {"id": 4}, timestamp_s=1_700_000_002)
        everything, found = ([each for each in channel.records() if not each.ddl] for channel in (wide, narrow))
    assert ids(everything) == [1, 2, 3, 4]
    assert [stays(record) for record in found] == [stays(each) for each in everything if ids([each]) != [1]]
    assert len(distances(found)) == 1


def test_untracked_rows_are_refused_as_others(channel: Channel) -> None:
    before = channel.records()
    for table, row, why in (("nowhere", {"id": 1}, "nowhere"), ("t", {"id": "x"}, "id"), ("t", {"other": 1}, "other")):
        with pytest.raises(EmbeddedBrokerError, match=why):
            channel.faults.untracked(table, row)
    with pytest.raises(EmbeddedBrokerError, match="there is nothing to insert into t; give a row"):
        channel.faults.untracked("t")
    assert channel.records() == before
    channel.insert("t", {"id": 1})
    assert ids(channel.records()) == [1]


@pytest.mark.parametrize(
    ("tool", "helpers"), [("gh-ost", {"_t_gho", "_t_ghc"}), ("pt-online-schema-change", {"_t_new"})]
)
def test_a_table_changed_by_a_tool(channel: Channel, tool: Any, helpers: set[str]) -> None:
    channel.insert("t", {"id": 1, "note": "x"})
    before = channel.records()[-2].tags["metaVersion"]
    channel.faults.ghost_alter("t", "ADD COLUMN extra INT AFTER id", {"id": 1, "extra": 7, "note": "x"}, tool=tool)
    channel.insert("t", {"id": 2, "extra": 8, "note": "y"})
    rows = [record for record in channel.records() if record.after is not None]
    assert [record.ddl for record in channel.records() if record.ddl] == ["CREATE DATABASE `test`", T], "nothing else"
    assert {record.table for record in rows} == {"t", *helpers}
    assert rows[-2].after == {"id": 1, "extra": 7, "note": "x"}
    assert (rows[-1].table, rows[-1].after) == ("t", {"id": 2, "extra": 8, "note": "y"})
    assert rows[-1].tags["metaVersion"] != before


def test_only_rows_of_the_table_come_where_only_it_is_tracked(broker: EmbeddedBroker) -> None:
    with broker.channel(T, objects=["test.t"]) as channel:
        channel.faults.ghost_alter("t", "DROP COLUMN note", {"id": 1})
        channel.insert("t", {"id": 2})
        assert [(record.table, record.after) for record in channel.records() if record.after] == [("t", {"id": 2})]


def test_a_change_that_a_tool_cannot_make_leaves_nothing(channel: Channel) -> None:
    for change, rows in (("ADD COLUMN extra", [{"id": 1}]), ("ADD extra INT", [{"id": "x"}])):
        with pytest.raises(EmbeddedBrokerError):
            channel.faults.ghost_alter("t", change, *rows)
    with pytest.raises(EmbeddedBrokerError, match="nowhere"):
        channel.faults.ghost_alter("nowhere", "ADD extra INT")
    assert "extra" not in str([record.after for record in channel.records()])
    channel.insert("t", {"id": 1, "note": "x"})
    channel.faults.ghost_alter("t", "ADD extra INT", {"id": 1, "extra": 2})
    channel.insert("t", {"id": 2, "extra": 3})
    assert channel.records()[-2].after == {"id": 2, "note": None, "extra": 3}


def test_a_large_row_is_no_end_of_scenarios(channel: Channel) -> None:
    channel.faults.large_row()
    assert channel.play("INSERT INTO t (id) VALUES (100)") == 1


def test_a_large_row(broker: EmbeddedBroker) -> None:
    with broker.channel(T, objects=["test.t"]) as channel:
        table = channel.faults.large_row()
        channel.insert("t", {"id": 1})
        assert channel.faults.large_row(size_bytes=10) == table == "large_rows"
        with kafka_python(channel) as consumer:
            sizes = [len(message.value) for _, message in zip(channel.records(), consumer, strict=False)]
        assert [size > 16 << 20 for size in sizes] == [False] * 4 + [True] + [False] * 7
        rows = [record for record in channel.records() if record.after is not None]
        assert [record.table for record in rows] == ["large_rows", "t", "large_rows"]
        with pytest.raises(EmbeddedBrokerError, match=r"size_bytes is 83886081; allowed are 0 to 83886080"):
            channel.faults.large_row(size_bytes=(80 << 20) + 1)


# Heartbeats


def test_heartbeats_come_until_there_is_silence(channel: Channel) -> None:
    channel.heartbeats(1)
    with kafka_python(channel) as consumer:
        for _ in range(MADE + 3):
            next(consumer)
    channel.faults.store_switch()  # they go on behind it
    with kafka_python(channel) as consumer:
        beats = [next(consumer).offset for _ in range(MADE + 6)]
    channel.silence()
    count = len(channel.records())
    assert len(beats) == MADE + 6 <= count
    assert set(operations(channel, MADE)) == {"HEARTBEAT"}
    channel.insert("t", {"id": 1})
    assert operations(channel, count) == ["BEGIN", "INSERT", "COMMIT"]
    channel.heartbeats(3_600_000)
    assert operations(channel, count + 3) == ["HEARTBEAT"]
    channel.faults.silence()
    channel.silence()
    with pytest.raises(EmbeddedBrokerError, match="interval_ms is 0; it has to be at least 1"):
        channel.heartbeats(0)
    with pytest.raises(EmbeddedBrokerError, match="interval_ms is 2147483648; it has to be at most 2147483647"):
        channel.heartbeats(1 << 31)
    with pytest.raises(EmbeddedBrokerError, match="offset is 9223372036854775808; it has to be at most"):
        channel.faults.move_checkpoint(1 << 63)


def test_closing_a_channel_ends_its_heartbeats(broker: EmbeddedBroker) -> None:
    with broker.channel(name="paced") as channel:
        channel.heartbeats(1)
    with broker.channel(name="paced") as again:
        assert again.records() == []


# Store switch


async def test_a_store_switch(broker: EmbeddedBroker, channel: Channel) -> None:
    channel.insert("t", {"id": 1}, {"id": 2})
    before, told = channel.records(), await metadata(channel)
    with broker.channel(T) as other, kafka_python(other) as untouched, kafka_python(channel) as consumer:
        for _ in before:
            next(consumer)
        consumer.commit()
        assert next(untouched).offset == 0
        committed_elsewhere = untouched.committed(TopicPartition(other.topic, 0))
        connections = {each: each.last_attempt for each in untouched._client._conns.values()}
        assert channel.committed() is not None
        channel.faults.store_switch()
        assert channel.committed() is None
        after, now = channel.records(), await metadata(channel)
        assert [stays(record) for record in after] == [stays(record) for record in before]
        assert [record.offset for record in after] == [*range(NEW, NEW + len(before))]
        assert len(distances(after) | distances(before)) == 2
        assert now.cluster_id != told.cluster_id
        assert (await metadata(other)).cluster_id == told.cluster_id
        other.insert("t", {"id": 9})
        for _ in range(MADE + 3 - 1):
            next(untouched)
        assert {each: each.last_attempt for each in untouched._client._conns.values()} == connections, "not cut"
        assert untouched.committed(TopicPartition(other.topic, 0)) == committed_elsewhere
    channel.insert("t", {"id": 3})
    assert ids(channel.records()) == [1, 2, 3]
    assert [record.offset for record in channel.records()[-3:]] == [*range(NEW + len(before), NEW + len(before) + 3)]
    channel.faults.store_switch()
    assert channel.records()[0].offset == 2 * NEW
    assert (await metadata(channel)).cluster_id not in (told.cluster_id, now.cluster_id)


def test_a_consumer_is_cut_off_and_begins_with_what_it_had(channel: Channel) -> None:
    """Told to begin at the earliest: it has lost its place, and loses nothing."""
    for number in range(5):
        channel.insert("t", {"id": number})
    settings = {**channel.kafka_python(), "auto_offset_reset": "earliest", "consumer_timeout_ms": 30_000}
    consumer = KafkaConsumer(group_id=channel.sid, enable_auto_commit=False, **settings)
    try:
        consumer.assign([TopicPartition(channel.topic, 0)])
        for _ in range(MADE + 15):
            next(consumer)
        consumer.commit()
        channel.wait_consumed()
        channel.faults.store_switch(duplicates=4)
        channel.insert("t", {"id": 5})
        again = [next(consumer) for _ in range(6 + 3)]
    finally:
        consumer.close(autocommit=False)
    # Four records before the end lie in the fourth transaction.
    assert [message.offset for message in again] == [*range(NEW, NEW + 9)]
    assert ids(channel.records()) == [3, 4, 5]


def test_librdkafka_is_cut_off_and_begins_with_what_it_had(channel: Channel) -> None:
    for number in range(5):
        channel.insert("t", {"id": number})
    with on_librdkafka(channel, **{"auto.offset.reset": "earliest"}) as consumer:
        consumer.until("record", MADE + 15)
        consumer.commit()
        consumer.until("committed")
        channel.faults.store_switch(duplicates=1)
        channel.insert("t", {"id": 5})
        assert consumer.until("record", MADE + 15 + 6)[MADE + 15 :] == [*range(NEW, NEW + 6)]


def test_a_consumer_with_its_own_checkpoint_goes_on_by_time(broker: EmbeddedBroker) -> None:
    channel = broker.channel()
    channel.table(T, timestamp_s=1_700_000_000)
    for number in range(5):
        channel.insert("t", {"id": number}, timestamp_s=1_700_000_000 + 10 * number)
    settings = {**channel.kafka_python(), "auto_offset_reset": "none", "consumer_timeout_ms": 30_000}
    consumer, partition = KafkaConsumer(group_id=None, **settings), TopicPartition(channel.topic, 0)
    try:
        consumer.assign([partition])
        consumer.seek(partition, MADE)
        done = [next(consumer) for _ in range(3 * 3)][-1]
        channel.faults.store_switch()
        with pytest.raises(OffsetOutOfRangeError):
            deque(consumer)  # behind what it had fetched before
        found = consumer.offsets_for_times({partition: done.timestamp // 1000})[partition]
        assert found.timestamp == 1_700_000_020
        consumer.seek(partition, found.offset)
        channel.insert("t", {"id": 5})
        last = [next(consumer).offset for _ in range(4 * 3)][-1]
    finally:
        consumer.close(autocommit=False)
    assert last == NEW + MADE + 6 * 3 - 1


def test_no_record_is_lost_by_who_consumed_less(channel: Channel) -> None:
    """Of two groups the one that is further behind decides; one without a commit has consumed nothing."""
    for number in range(5):
        channel.insert("t", {"id": number})
    behind = channel.group()
    with kafka_python(channel) as ahead:
        for _ in range(MADE + 15):
            next(ahead)
        ahead.commit()
    with kafka_python(behind) as slow:
        for _ in range(MADE + 7):
            next(slow)
        slow.commit()
    channel.faults.store_switch(duplicates=0)
    assert ids(channel.records()) == [2, 3, 4], "all of the transaction in which the slower one stands"
    assert behind.committed() is None
    channel.faults.store_switch(duplicates=0)
    assert ids(channel.records()) == [2, 3, 4], "nobody has committed there"


def test_new_offsets_may_be_those_of_other_records_before(channel: Channel) -> None:
    channel.insert("t", {"id": 1})
    with kafka_python(channel) as consumer:
        for _ in range(MADE + 3):
            next(consumer)
        consumer.commit()
    channel.faults.store_switch(duplicates=0, first_offset=0)
    assert [(record.offset, record.operation) for record in channel.records()] == [
        (0, "BEGIN"),
        (1, "INSERT"),
        (2, "COMMIT"),
    ]
    for name, value in (("duplicates", -1), ("first_offset", -1), ("first_offset", (1 << 62) + 1)):
        with pytest.raises(EmbeddedBrokerError, match=f"{name} is {value}; allowed are 0 to {1 << 62}"):
            channel.faults.store_switch(**{name: value})
    channel.faults.store_switch(first_offset=1 << 62)
    channel.insert("t", {"id": 2})
    assert channel.records()[0].offset == 1 << 62
    assert ids(channel.records()) == [1, 2]


def test_a_store_switch_of_what_has_nothing(broker: EmbeddedBroker) -> None:
    with broker.channel() as channel:
        channel.faults.store_switch()
        assert channel.records() == []
        table = channel.table("CREATE TABLE t (id INT)")
        table.insert(id=1)
        assert [record.offset for record in channel.records()] == [*range(NEW, NEW + 5)]


@pytest.mark.parametrize("version", ["5.6.51-log", "9.7.0", "10.11.18-MariaDB"])
def test_one_after_the_other_with_a_source_of_any_version(broker: EmbeddedBroker, version: str) -> None:
    tables = (T, "CREATE TABLE other.u (id INT)")
    with broker.channel(*tables, server_version=version, objects=["test.t"]) as channel:
        channel.insert("t", {"id": 1})
        channel.faults.untracked("other.u", {"id": 2})
        channel.faults.noop()
        channel.at(5, 10_000)
        channel.faults.store_switch(duplicates=1)
        channel.heartbeat()
        channel.rotate()
        channel.faults.store_switch()
        channel.faults.ghost_alter("t", "ADD extra INT")
        channel.faults.empty_transaction()
        channel.faults.store_switch(first_offset=0)
        channel.insert("t", {"id": 3, "extra": 4})
        channel.faults.untracked("other.u", {"id": 5})
        channel.ddl("DROP TABLE other.u")
        found = channel.records()
    row, nothing = ["BEGIN", "INSERT", "COMMIT"], ["BEGIN", "COMMIT"]
    operations = [*row, *row, "NOOP", "HEARTBEAT", *nothing * 2, *row, *row, "DDL"]
    assert [record.operation for record in found[4:]] == operations, "the journal of gh-ost and nothing, untracked"
    assert ids(found) == [1, 2, 3, 5]
    assert len(distances(found)) == 1
    assert [record.offset for record in found] == [*range(len(found))]
    if "GTID_SET" in (told := found[-1].tags) and ":" in told["GTID_SET"]:
        first, _, last = told["GTID_SET"].rpartition(":")[2].partition("-")
        assert (first, last) == ("1", told["GTID"].rpartition(":")[2]), "those of the stores before, too"


def test_what_others_write_meanwhile_comes_once(channel: Channel) -> None:
    """Switches in the midst of inserts from other threads, read by a member that commits nothing."""
    done = threading.Event()

    def insert(first: int) -> int:
        number = first
        while not done.is_set():
            channel.insert("t", {"id": number})
            number += 10
        return (number - first) // 10

    with ThreadPoolExecutor(3) as pool:
        inserting = [pool.submit(insert, first) for first in range(3)]
        for _ in range(4):
            channel.faults.store_switch()
        done.set()
        counts = [each.result() for each in inserting]
    written = [first + 10 * number for first, count in enumerate(counts) for number in range(count)]
    found = channel.records()
    assert sorted(ids(found)) == sorted(written)
    assert [record.operation for record in found[MADE:]] == ["BEGIN", "INSERT", "COMMIT"] * len(written)
    assert [record.offset for record in found] == [*range(4 * NEW, 4 * NEW + len(found))]


def test_who_waits_for_a_group_waits_for_the_same_change(channel: Channel) -> None:
    channel.insert("t", {"id": 1})
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(channel.wait_consumed, timeout_s=30)
        channel.faults.store_switch(first_offset=1)  # the change is at 4 there, and was at 3 before
        with kafka_python(channel) as consumer:
            read = [next(consumer) for _ in range(MADE + 2)]
            consumer.commit()
            waiting.result()
        assert read[-1].offset == 4


def test_a_closed_channel_leaves_nothing_of_any_of_its_stores() -> None:
    with EmbeddedBroker() as broker:
        folder = broker._process.folder
        assert folder is not None
        topics = Path(folder) / "data" / "topics"
        channel = broker.channel(T)
        for _ in range(3):
            channel.faults.store_switch()
        assert len([path for path in topics.iterdir() if path.name.startswith(channel.topic)]) == 1
        channel.close()
        assert [path for path in topics.iterdir() if path.name.startswith(channel.topic)] == []


async def test_all_of_it_for_asynchronous_code() -> None:
    async with AsyncEmbeddedBroker() as broker:
        channel = await broker.channel(T)
        await channel.faults.noop()
        await channel.faults.empty_transaction()
        await channel.faults.untracked("t", {"id": 1})
        await channel.faults.ghost_alter("t", "ADD extra INT", tool="pt-online-schema-change")
        assert await channel.faults.large_row(size_bytes=1) == "large_rows"
        await channel.heartbeats(3_600_000)
        await channel.silence()
        await channel.faults.silence()
        await channel.faults.store_switch()
        found = [record.operation for record in await channel.records()]
    row = ["BEGIN", "INSERT", "COMMIT"]
    assert found == ["DDL", "DDL", "NOOP", "BEGIN", "COMMIT", *row, "DDL", *row, "HEARTBEAT"]
