"""Commits, waiting for them, groups and records of an embedded channel."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import kafka
import pytest
from kafka.structs import OffsetAndMetadata, TopicPartition

from binwire.testing import AsyncEmbeddedBroker, Channel, Committed, EmbeddedBroker, EmbeddedBrokerError, Group

ORDERS = "CREATE TABLE orders (id BIGINT PRIMARY KEY, note VARCHAR(40))"
NOW_S = "1700000000"


@pytest.fixture
def channel(broker: EmbeddedBroker) -> Iterator[Channel]:
    with broker.channel(ORDERS) as channel:
        yield channel


def commit(group: Channel | Group, offset: int, metadata: str = "") -> None:
    """Commit as a consumer that assigns the partition to itself."""
    consumer = kafka.KafkaConsumer(group_id=group.sid, enable_auto_commit=False, **group.kafka_python())
    try:
        consumer.commit({TopicPartition(group.topic, 0): OffsetAndMetadata(offset, metadata)})
    finally:
        consumer.close()


def test_what_a_group_committed(channel):
    assert channel.committed() is None
    commit(channel, 1, NOW_S)
    assert channel.committed() == Committed(1, NOW_S)
    assert channel.committed(channel.sid) == channel.committed()


def test_records_are_what_consumers_get(channel):
    channel.insert("orders", {"id": 1, "note": "first"})
    channel.heartbeat()
    records = channel.records()
    assert [record.operation for record in records] == ["DDL", "DDL", "BEGIN", "INSERT", "COMMIT", "HEARTBEAT"]
    assert [record.offset for record in records] == [*range(6)]
    assert records[3].after == {"id": 1, "note": "first"}


@pytest.mark.parametrize(
    ("offset", "metadata", "is_consumed"),
    [(3, NOW_S, True), (3, f"{NOW_S}|x", True), (4, "", True), (5, "", True), (3, "", False), (2, NOW_S, False)],
)
def test_consumed_is_the_last_change_by_either_convention(channel, offset, metadata, is_consumed):
    channel.insert("orders", {"id": 1})  # offset 3, its COMMIT 4
    commit(channel, offset, metadata)
    if is_consumed:
        channel.wait_consumed()
    else:
        with pytest.raises(EmbeddedBrokerError, match=rf"change is at offset 3, and it committed offset {offset}"):
            channel.wait_consumed(timeout_s=0)


def test_nothing_written_is_consumed(broker):
    with broker.channel() as empty:
        empty.heartbeat()
        empty.wait_consumed(timeout_s=0)


def test_a_heartbeat_that_is_the_first_record_can_be_read_when_it_was_called(broker):
    for _ in range(5):  # the first ones were made ahead, so that the channel streams already
        with broker.channel() as empty:
            empty.heartbeat()
            assert [record.operation for record in empty.records()] == ["HEARTBEAT"]


def test_a_wait_ends_with_the_commit(channel):
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(channel.wait_consumed, timeout_s=60)
        assert channel.committed() is None  # calls behind one that waits are answered
        assert not waiting.done()
        commit(channel, 2)
        assert waiting.result() is None


def test_a_wait_ends_when_the_channel_is_closed(channel):
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(channel.wait_consumed, timeout_s=60)
        channel.committed()
        channel.close()
        with pytest.raises(EmbeddedBrokerError, match="there is no channel"):
            waiting.result()


def test_a_group_of_its_own(channel):
    audit = channel.group("audit")
    assert (audit.topic, audit.name) == (channel.topic, "audit")
    assert audit.sid != channel.sid
    commit(audit, 2)
    audit.wait_consumed()
    channel.wait_consumed(audit)
    channel.wait_consumed("audit")
    assert audit.committed() == Committed(2, "")
    assert channel.committed() is None
    with pytest.raises(EmbeddedBrokerError, match="has a group 'audit'; give this one another name"):
        channel.group("audit")
    with pytest.raises(EmbeddedBrokerError, match=r"channel 'c\d+' has no group 'nobody'; it has 'c\d+', 'audit'"):
        channel.committed("nobody")
    assert channel.group().name != channel.group().name


def test_groups_without_a_name_get_one_that_is_free(channel):
    last = int(channel.group().name.removeprefix("g"))
    taken = {channel.group(f"g{last + further}").name for further in range(1, 4)}
    assert channel.group().name not in taken


@pytest.mark.parametrize("timeout_s", [-1, float("nan"), float("inf")])
def test_a_time_that_nobody_can_wait_for_is_refused(channel, timeout_s):
    fault = channel.faults.watch()
    for wait in (channel.wait_consumed, fault.wait):
        with pytest.raises(EmbeddedBrokerError, match=rf"timeout_s is {timeout_s:g}; give seconds from 0 to"):
            wait(timeout_s=timeout_s)


def test_a_channel_by_name(broker):
    with broker.channel(name="shop-1") as channel:
        assert channel.topic == "cn_hangzhou_rm_shop-1_dtstest_version2"
        with pytest.raises(EmbeddedBrokerError, match="there is a channel 'shop-1' already"):
            broker.channel(name="shop-1")
    broker.channel(name="shop-1").close()
    with pytest.raises(EmbeddedBrokerError, match=r"a channel cannot be named 'a\.b'; allowed are"):
        broker.channel(name="a.b")
    # Whether one is there, made ahead, would be chance.
    with pytest.raises(
        EmbeddedBrokerError, match=r"cannot be named 'c2'; those without a name of their own are called"
    ):
        broker.channel(name="c2")


def test_the_source_is_of_the_version_asked_for(broker):
    with broker.channel(ORDERS, server_version="5.7.44") as channel:
        assert {record.source_version for record in channel.records()} == {"5.7.44"}


def test_other_languages_get_records_decoded(channel):
    channel.insert("orders", {"id": 1, "note": "龙井茶"}, timestamp_s=1_700_000_000)
    process = channel._process
    told = process.result(process.begin("records", {"channel": channel.name, "first_offset": 3, "last": 2}))
    assert [record["operation"] for record in told] == ["INSERT", "COMMIT"]
    inserted = told[0]
    assert (inserted["offset"], inserted["database"], inserted["table"]) == (3, "test", "orders")
    assert (inserted["before"], inserted["after"]) == (None, {"id": 1, "note": "龙井茶"})
    assert (inserted["columns"], inserted["timestamp_s"]) == ({"id": "BIGINT", "note": "VARCHAR"}, 1_700_000_000)


def test_the_last_records(channel):
    channel.insert("orders", {"id": 1}, {"id": 2})
    assert [record.operation for record in channel.records(last=2)] == ["INSERT", "COMMIT"]
    assert channel.records(last=0) == []
    assert channel.records(last=100) == channel.records()


async def test_a_change_of_a_channel_that_is_closed_meanwhile_is_refused():
    async with AsyncEmbeddedBroker() as broker:
        channel = await broker.channel(ORDERS)
        process = channel._process
        rows = [{"id": number} for number in range(20_000)]
        insert = process.begin("insert", {"channel": channel.name, "table": "orders", "rows": rows})
        await channel.close()
        outcome = await asyncio.gather(asyncio.wrap_future(insert), return_exceptions=True)
        assert "the channel was closed" in str(outcome[0]) or outcome[0] == {"high_watermark": 20_004}
