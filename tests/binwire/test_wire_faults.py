"""Faults of requests, connections and groups, and what clients do: kafka-python, librdkafka, and one in the raw."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from kafka import TopicPartition
from kafka.errors import CommitFailedError, OffsetOutOfRangeError

from binwire.testing import AsyncEmbeddedBroker, Channel, EmbeddedBroker, EmbeddedBrokerError
from broker.apis.describe_groups import DescribeGroupsRequest, DescribeGroupsResponse
from broker.apis.fetch import FetchPartition, FetchRequest, FetchResponse, FetchTopic
from broker.apis.find_coordinator import FindCoordinatorRequest, FindCoordinatorResponse
from broker.apis.heartbeat import HeartbeatRequest, HeartbeatResponse
from broker.apis.list_offsets import (
    ListOffsetsPartition,
    ListOffsetsRequest,
    ListOffsetsResponse,
    ListOffsetsTopic,
)
from broker.apis.metadata import MetadataRequest, MetadataResponse
from broker.apis.offset_commit import OffsetCommitPartition, OffsetCommitRequest, OffsetCommitTopic
from broker.errors import ErrorCode
from broker.listener import Address
from tests.binwire.consumers import kafka_python, offsets, on_librdkafka
from tests.broker.raw_client import RawClient

RECORDS = 2 + 3 * 3
"""DDL, and its DDL of the database; three transactions of one row each, with BEGIN and COMMIT."""
NOWHERE = ("nowhere.invalid", 9092)


@pytest.fixture
def channel(broker: EmbeddedBroker) -> Iterator[Channel]:
    """One with RECORDS records."""
    channel = broker.channel("CREATE TABLE t (id INT PRIMARY KEY)")
    for number in range(3):
        channel.insert("t", {"id": number})
    yield channel
    channel.close()


def logged_in(channel: Channel) -> RawClient:
    host, _, port = channel.bootstrap_servers.rpartition(":")
    return RawClient(Address(host, int(port)))


def fetch(channel: Channel, offset: int = 0, max_wait_ms: int = 0) -> FetchRequest:
    partition = FetchPartition(partition=0, fetch_offset=offset, max_bytes=1 << 20)
    topics = [FetchTopic(topic=channel.topic, partitions=[partition])]
    return FetchRequest(max_wait_time=max_wait_ms, min_bytes=1, topics=topics)


# Refusals


def test_a_refused_fetch_is_repeated(channel: Channel) -> None:
    fault = channel.faults.fail("Fetch", "NOT_LEADER_FOR_PARTITION", times=2, after=1)
    with kafka_python(channel) as consumer:
        assert offsets(consumer, RECORDS) == [*range(RECORDS)]
        channel.insert("t", {"id": 3})
        assert offsets(consumer, 3) == [RECORDS, RECORDS + 1, RECORDS + 2]
        assert fault.wait(2) == 2


def test_librdkafka_repeats_a_refused_fetch(channel: Channel) -> None:
    fault = channel.faults.fail("Fetch", ErrorCode.NOT_LEADER_FOR_PARTITION.value, times=2)
    with on_librdkafka(channel) as consumer:
        assert consumer.until("record", RECORDS) == [*range(RECORDS)]
    assert fault.met() == 2


def test_a_refused_commit_is_not_stored(channel: Channel) -> None:
    fault = channel.faults.fail("OffsetCommit", "ILLEGAL_GENERATION")
    with kafka_python(channel) as consumer:
        offsets(consumer, RECORDS)
        with pytest.raises(CommitFailedError):
            consumer.commit()
        assert (fault.met(), channel.committed()) == (1, None)


@pytest.mark.parametrize("code", ["ILLEGAL_GENERATION", "UNKNOWN_MEMBER_ID"])
async def test_who_is_told_to_be_no_member_is_none(channel: Channel, code: str) -> None:
    ask = DescribeGroupsRequest(group_ids=[channel.sid])
    channel.faults.fail("OffsetCommit", code)
    async with logged_in(channel) as client:
        await client.log_in(channel.login, channel.password)
        with kafka_python(channel) as consumer:
            offsets(consumer, RECORDS)
            before = await client.ask(ask, 0, DescribeGroupsResponse)
            with pytest.raises(CommitFailedError):
                consumer.commit()
            after = await client.ask(ask, 0, DescribeGroupsResponse)
    assert [len(response.groups[0].members) for response in (before, after)] == [1, 0]


def test_librdkafka_tells_of_a_refused_commit(channel: Channel) -> None:
    channel.faults.fail("OffsetCommit", "ILLEGAL_GENERATION")
    with on_librdkafka(channel) as consumer:
        consumer.until("record", RECORDS)
        consumer.commit()
        assert consumer.until("commit_failed") == ["ILLEGAL_GENERATION"]
        assert channel.committed() is None


def test_a_commit_that_the_coordinator_cannot_take_yet_is_repeated(channel: Channel) -> None:
    fault = channel.faults.fail("OffsetCommit", "COORDINATOR_LOAD_IN_PROGRESS", times=2)
    with kafka_python(channel) as consumer:
        offsets(consumer, RECORDS)
        consumer.commit()
        channel.wait_consumed()
        assert fault.met() == 2


# Lost answers


@pytest.mark.parametrize("after_bytes", [0, 3, 4, 100])
def test_an_answer_that_breaks_off_is_asked_for_again(channel: Channel, after_bytes: int) -> None:
    fault = channel.faults.cut("Fetch", after_bytes)
    with kafka_python(channel) as consumer:
        assert offsets(consumer, RECORDS) == [*range(RECORDS)]
    assert fault.met() == 1


def test_librdkafka_asks_again_for_an_answer_that_breaks_off(channel: Channel) -> None:
    fault = channel.faults.cut("Fetch", 100)
    with on_librdkafka(channel) as consumer:
        assert consumer.until("record", RECORDS) == [*range(RECORDS)]
    assert fault.met() == 1


@pytest.mark.parametrize("after_bytes", [0, 1, 8, 70])
async def test_exactly_so_many_bytes_are_sent(channel: Channel, after_bytes: int) -> None:
    async with logged_in(channel) as client:
        await client.log_in(channel.login, channel.password)
        client.send(fetch(channel), 4)
        size = await client.read(4)
        whole = size + await client.read(int.from_bytes(size, "big"))
    channel.faults.cut("Fetch", after_bytes)
    async with logged_in(channel) as client:
        await client.log_in(channel.login, channel.password)
        # The correlation id is that of the first request again, behind the two of the login.
        client.send(fetch(channel), 4)
        assert await client.expect_close() == whole[:after_bytes]


def test_a_commit_whose_answer_is_lost_is_stored(channel: Channel) -> None:
    channel.faults.cut("OffsetCommit")
    refused = channel.faults.fail("OffsetCommit", "ILLEGAL_GENERATION", after=1)
    with kafka_python(channel) as consumer:
        offsets(consumer, RECORDS)
        with pytest.raises(CommitFailedError):
            consumer.commit()  # which repeats it
        assert refused.met() == 1
    assert channel.committed() == (RECORDS, "")


async def test_a_commit_that_is_answered_too_late_is_stored(channel: Channel) -> None:
    """Whoever waits no longer than its request timeout knows nothing of it."""
    channel.faults.delay("OffsetCommit", 3_600_000)
    async with logged_in(channel) as client:
        await client.log_in(channel.login, channel.password)
        partition = OffsetCommitPartition(partition=0, offset=RECORDS)
        topic = OffsetCommitTopic(topic=channel.topic, partitions=[partition])
        client.send(OffsetCommitRequest(group_id=channel.sid, topics=[topic]), 2)
        channel.wait_consumed()
    assert channel.committed() == (RECORDS, "")


async def test_a_late_answer_holds_up_its_connection_only(channel: Channel) -> None:
    async with logged_in(channel) as late, logged_in(channel) as other:
        await late.log_in(channel.login, channel.password)
        await other.log_in(channel.login, channel.password)
        names = {each.connection for each in channel.faults.connections()}
        host, port = late.writer.get_extra_info("sockname")
        assert len(names) == 2
        assert f"{host}:{port}" in names
        fault = channel.faults.delay("Fetch", 50, connection=f"{host}:{port}")
        late.send(fetch(channel), 4)
        late.send(MetadataRequest(topics=[]), 1)
        assert (await other.ask(fetch(channel), 4, FetchResponse)).responses[0].partition_responses[0].record_set
        assert (await late.receive(FetchResponse, 4)).responses[0].partition_responses[0].record_set
        assert (await late.receive(MetadataResponse, 1)).brokers
        assert fault.met() == 1


# Throttling


def test_a_throttled_client_sees_it_in_its_metrics(channel: Channel) -> None:
    channel.faults.throttle(20, api="Fetch")
    with kafka_python(channel) as consumer:
        assert offsets(consumer, RECORDS) == [*range(RECORDS)]
        assert consumer.metrics()["consumer-fetch-manager-metrics"]["fetch-throttle-time-max"] == 20


def test_librdkafka_is_told_that_it_is_throttled(channel: Channel) -> None:
    channel.faults.throttle(20)
    with on_librdkafka(channel) as consumer:
        assert consumer.until("throttle") == [20]
        assert consumer.until("record", RECORDS) == [*range(RECORDS)]


async def test_an_answer_made_for_several_is_throttled_for_one(channel: Channel) -> None:
    async with logged_in(channel) as throttled, logged_in(channel) as other:
        await throttled.log_in(channel.login, channel.password)
        await other.log_in(channel.login, channel.password)
        host, port = throttled.writer.get_extra_info("sockname")
        fault = channel.faults.throttle(5, connection=f"{host}:{port}")
        for client in (throttled, other):
            client.send(fetch(channel, RECORDS, max_wait_ms=60_000), 7)
        fault.wait()
        channel.insert("t", {"id": 9})
        answers = [await client.receive(FetchResponse, 7) for client in (throttled, other)]
        assert [answer.throttle_time_ms for answer in answers] == [5, 0]
        first, second = (bytes(answer.responses[0].partition_responses[0].record_set) for answer in answers)
        assert first == second != b""


# Connections


async def test_idle_connections_are_closed_and_a_waiting_fetch_is_not_idle(channel: Channel) -> None:
    async with logged_in(channel) as idle, logged_in(channel) as waiting:
        await idle.log_in(channel.login, channel.password)
        await waiting.log_in(channel.login, channel.password)
        fault = channel.faults.throttle(1)
        waiting.send(fetch(channel, RECORDS, max_wait_ms=60_000), 4)
        fault.wait()
        assert sorted(each.is_idle for each in channel.faults.connections()) == [False, True]
        assert channel.faults.close_idle() == 1
        assert await idle.expect_close() == b""
        channel.insert("t", {"id": 9})
        assert (await waiting.receive(FetchResponse, 4)).responses[0].partition_responses[0].record_set


def test_clients_connect_again(channel: Channel) -> None:
    with kafka_python(channel, client_id="mine") as consumer:
        assert offsets(consumer, RECORDS) == [*range(RECORDS)]
        assert channel.faults.disconnect(client_id="another") == 0
        assert channel.faults.disconnect(client_id="mine") > 0
        channel.insert("t", {"id": 3})
        assert offsets(consumer, 3) == [RECORDS, RECORDS + 1, RECORDS + 2]
        consumer.commit()
        channel.wait_consumed()


def test_librdkafka_connects_again(channel: Channel) -> None:
    with on_librdkafka(channel) as consumer:
        consumer.until("record", RECORDS)
        assert channel.faults.disconnect() > 0
        channel.insert("t", {"id": 3})
        assert consumer.until("record", RECORDS + 3) == [*range(RECORDS + 3)]


def test_librdkafka_comes_back_when_the_address_is_right(channel: Channel) -> None:
    fault = channel.faults.advertise(*NOWHERE)
    with on_librdkafka(channel) as consumer:
        while NOWHERE[0] not in consumer.until("said", len(consumer.of("said")) + 1)[-1]:
            pass
        assert consumer.of("record") == []
        fault.clear()
        assert consumer.until("record", RECORDS) == [*range(RECORDS)]


async def test_both_who_tell_addresses_tell_the_wrong_one(channel: Channel) -> None:
    channel.faults.advertise("kafka.internal", 19092, times=2)
    async with logged_in(channel) as client:
        await client.log_in(channel.login, channel.password)
        metadata = await client.ask(MetadataRequest(topics=[]), 1, MetadataResponse)
        assert [(each.host, each.port) for each in metadata.brokers] == [("kafka.internal", 19092)]
        ask = FindCoordinatorRequest(coordinator_key=channel.sid)
        found = await client.ask(ask, 1, FindCoordinatorResponse)
        assert (found.coordinator.host, found.coordinator.port) == ("kafka.internal", 19092)
        found = await client.ask(ask, 1, FindCoordinatorResponse)
        assert f"{found.coordinator.host}:{found.coordinator.port}" == channel.bootstrap_servers


# Checkpoints out of range


@pytest.mark.parametrize("side", ["before", "behind"])
def test_a_checkpoint_out_of_range(channel: Channel, side: str) -> None:
    with kafka_python(channel) as consumer:
        offsets(consumer, 3)
        consumer.commit()
    if side == "before":
        start = channel.faults.expire()
        assert start == RECORDS
    else:
        assert channel.faults.move_checkpoint() > RECORDS
        start = 0
    with kafka_python(channel, auto_offset_reset="none") as consumer, pytest.raises(OffsetOutOfRangeError):
        offsets(consumer, 1)
    with kafka_python(channel) as consumer:
        assert offsets(consumer, 1) == [start]


def test_librdkafka_is_told_of_a_checkpoint_out_of_range(channel: Channel) -> None:
    assert channel.faults.move_checkpoint(4711, metadata="4711") == 4711
    with on_librdkafka(channel, **{"auto.offset.reset": "error"}) as consumer:
        assert consumer.until("error") == ["_AUTO_OFFSET_RESET"]
        assert consumer.of("record") == []


def test_times_on_either_side_of_the_range(channel: Channel) -> None:
    start = channel.faults.expire()
    assert start == RECORDS == channel.records()[0].offset
    partition = TopicPartition(channel.topic, 0)
    with kafka_python(channel) as consumer:
        last_ms = channel.records()[-1].timestamp_s * 1000
        found = consumer.offsets_for_times({partition: last_ms - 86_400_000})[partition]
        assert found.offset == start
        assert consumer.offsets_for_times({partition: last_ms + 86_400_000})[partition] is None
        assert consumer.beginning_offsets([partition]) == {partition: start}


async def test_what_has_expired_is_gone_for_a_reader_that_was_in_it(channel: Channel) -> None:
    async with logged_in(channel) as client:
        await client.log_in(channel.login, channel.password)
        assert (await client.ask(fetch(channel, 3), 4, FetchResponse)).responses[0].partition_responses[0].record_set
        channel.faults.expire()
        [answer] = (await client.ask(fetch(channel, 3), 4, FetchResponse)).responses[0].partition_responses
        assert answer.error_code == ErrorCode.OFFSET_OUT_OF_RANGE
        partition = ListOffsetsPartition(partition=0, timestamp=-2)
        ask = ListOffsetsRequest(topics=[ListOffsetsTopic(topic=channel.topic, partitions=[partition])])
        [found] = (await client.ask(ask, 1, ListOffsetsResponse)).responses[0].partition_responses
        assert found.offset == RECORDS


# Groups


def test_a_coordinator_that_moves_is_looked_for(channel: Channel) -> None:
    with kafka_python(channel) as consumer:
        offsets(consumer, RECORDS)
        fault = channel.faults.move_coordinator(unavailable_times=2)
        consumer.commit()
        channel.wait_consumed()
        assert fault.met() >= 1


def test_librdkafka_looks_for_a_coordinator_that_moves(channel: Channel) -> None:
    with on_librdkafka(channel) as consumer:
        consumer.until("record", RECORDS)
        fault = channel.faults.move_coordinator()
        fault.wait()  # a heartbeat
        channel.insert("t", {"id": 3})
        consumer.until("record", RECORDS + 3)
        consumer.commit()
        assert consumer.until("committed") == [RECORDS + 3]
        channel.wait_consumed()


async def test_a_coordinator_is_away_until_it_was_looked_for_and_found(channel: Channel) -> None:
    channel.faults.move_coordinator(unavailable_times=2)
    beat = HeartbeatRequest(group_id=channel.sid, generation_id=1, member_id="nobody")
    ask = FindCoordinatorRequest(coordinator_key=channel.sid)
    async with logged_in(channel) as client:
        await client.log_in(channel.login, channel.password)
        codes = [
            (await client.ask(ask, 0, FindCoordinatorResponse)).error_code,
            (await client.ask(beat, 0, HeartbeatResponse)).error_code,
            (await client.ask(ask, 0, FindCoordinatorResponse)).error_code,
            (await client.ask(beat, 0, HeartbeatResponse)).error_code,
            (await client.ask(ask, 0, FindCoordinatorResponse)).error_code,
            (await client.ask(beat, 0, HeartbeatResponse)).error_code,
        ]
    assert codes == [
        ErrorCode.COORDINATOR_NOT_AVAILABLE,
        ErrorCode.NOT_COORDINATOR,
        ErrorCode.COORDINATOR_NOT_AVAILABLE,
        ErrorCode.NOT_COORDINATOR,
        ErrorCode.NONE,
        ErrorCode.UNKNOWN_MEMBER_ID,
    ]


def test_a_storm_of_rebalances(channel: Channel) -> None:
    with kafka_python(channel) as consumer:
        assert offsets(consumer, RECORDS) == [*range(RECORDS)]
        consumer.commit()
        fault = channel.faults.rebalance_storm(3)
        while fault.met() < 3:
            consumer.poll(20)
        channel.insert("t", {"id": 3})
        assert offsets(consumer, 3) == [RECORDS, RECORDS + 1, RECORDS + 2]
        consumer.commit()
        channel.wait_consumed()


def test_librdkafka_in_a_storm_of_rebalances(channel: Channel) -> None:
    with on_librdkafka(channel) as consumer:
        consumer.until("record", RECORDS)
        consumer.commit()
        consumer.until("committed")
        channel.faults.rebalance_storm(2)
        assert consumer.until("revoked", 2) == [1, 1]
        assert consumer.until("assigned", 3) == [1, 1, 1]
        channel.insert("t", {"id": 3})
        assert consumer.until("record", RECORDS + 3) == [*range(RECORDS + 3)]


# Whose requests


def test_a_fault_that_was_cleared_is_never_taken_for_a_later_one(channel: Channel) -> None:
    cleared = channel.faults.fail("Fetch", "NOT_LEADER_FOR_PARTITION")
    cleared.clear()
    later = channel.faults.fail("Fetch", "NOT_LEADER_FOR_PARTITION")
    for use in (cleared.met, cleared.clear):
        with pytest.raises(EmbeddedBrokerError, match="it was cleared"):
            use()
    assert later.met() == 0


def test_a_fault_of_one_group_leaves_the_others(channel: Channel) -> None:
    other = channel.group()
    fault = channel.faults.fail("Fetch", "NOT_LEADER_FOR_PARTITION", times=None, group=other)
    with kafka_python(channel) as consumer:
        assert offsets(consumer, RECORDS) == [*range(RECORDS)]
    assert fault.met() == 0
    with kafka_python(other) as consumer:
        while fault.met() == 0:
            assert consumer.poll(10) == {}
        channel.faults.clear()
        assert offsets(consumer, RECORDS) == [*range(RECORDS)]


def test_a_fault_of_one_client_id_leaves_the_others(channel: Channel) -> None:
    fault = channel.faults.fail("Fetch", "NOT_LEADER_FOR_PARTITION", times=None, client_id="a")
    with kafka_python(channel, client_id="b") as consumer:
        assert offsets(consumer, RECORDS) == [*range(RECORDS)]
    assert fault.met() == 0


def test_a_fault_of_one_channel_leaves_the_others(broker: EmbeddedBroker, channel: Channel) -> None:
    other = broker.channel()
    fault = other.faults.fail("Fetch", "NOT_LEADER_FOR_PARTITION", times=None)
    with kafka_python(channel) as consumer:
        assert offsets(consumer, RECORDS) == [*range(RECORDS)]
    assert fault.met() == 0
    other.close()
    with pytest.raises(EmbeddedBrokerError, match="there is no channel"):
        fault.met()


# Watching


def test_a_test_waits_until_its_consumer_has_asked(broker: EmbeddedBroker, channel: Channel) -> None:
    commits = channel.faults.watch("OffsetCommit", client_id="mine")
    everything = channel.faults.watch()
    before = broker.requests().get("OffsetCommit", 0)
    with kafka_python(channel, client_id="mine", enable_auto_commit=True, auto_commit_interval_ms=20) as consumer:
        assert offsets(consumer, RECORDS) == [*range(RECORDS)]
        while commits.met() < 2:
            consumer.poll(10)
        assert commits.wait(2) >= 2
    channel.wait_consumed()
    assert broker.requests()["OffsetCommit"] - before == commits.met() < everything.met()


# What cannot be done


def test_a_wait_ends_when_its_time_is_over(channel: Channel) -> None:
    fault = channel.faults.fail("Fetch", "NOT_LEADER_FOR_PARTITION")
    with pytest.raises(
        EmbeddedBrokerError, match=r"has met 0 requests within 0\.01 s, not 2; its clients asked nothing"
    ):
        fault.wait(2, timeout_s=0.01)
    fault.clear()
    with pytest.raises(EmbeddedBrokerError, match="it was cleared, or is another channel's"):
        fault.met()


def test_what_cannot_be_scripted_is_told_in_a_sentence(channel: Channel) -> None:
    faults = channel.faults
    for make, sentence in (
        (lambda: faults.fail("Fetsch", 6), "there is no API 'Fetsch'; there are ApiVersions, "),
        (lambda: faults.fail("SaslAuthenticate", 58), "SaslAuthenticate comes before the login"),
        (lambda: faults.fail("Fetch", "NOT_LEADER"), "there is no error code 'NOT_LEADER' in Kafka 1.1"),
        (lambda: faults.fail("Fetch", 99), "there is no error code 99 in Kafka 1.1"),
        (lambda: faults.fail("Fetch", "NONE"), "error code NONE is no failure"),
        (lambda: faults.fail("Fetch", 6, times=0), "times is 0; it has to be at least 1"),
        (lambda: faults.fail("Fetch", 6, after=-1), "after is -1; it has to be at least 0"),
        (lambda: faults.fail("Fetch", 6, group="g9"), "has no group 'g9'"),
        (lambda: faults.delay("Fetch", 0), "delay_ms is 0; it has to be at least 1"),
        (lambda: faults.throttle(-5), "throttle_ms is -5; it has to be at least 1"),
        (lambda: faults.cut("Fetch", -1), "after_bytes is -1; it has to be at least 0"),
        (lambda: faults.advertise("h", 0), "port is 0; a port is a number from 1 to 65535"),
        (lambda: faults.rebalance_storm(0), "times is 0; it has to be at least 1"),
        (lambda: faults.move_checkpoint(-3), "offset is -3; it has to be at least 0"),
    ):
        with pytest.raises(EmbeddedBrokerError) as caught:
            make()
        assert sentence in str(caught.value)


# Asynchronous code


async def test_what_expires_ends_between_transactions() -> None:
    async with AsyncEmbeddedBroker() as broker:
        channel = await broker.channel()
        table = await channel.table("CREATE TABLE t (id INT PRIMARY KEY, note MEDIUMTEXT)")
        inserted = [
            table.insert(*({"id": 10 * number + row, "note": "x" * 100_000} for row in range(5)))
            for number in range(20)
        ]
        started = [asyncio.ensure_future(each) for each in inserted]
        starts = [await channel.faults.expire() for _ in range(5)]
        await asyncio.gather(*started)
        last = await channel.faults.expire()
        assert starts == sorted(starts)
        assert [record.offset for record in await channel.records()] == [last]
        assert last == 2 + 20 * 7 + 5


async def test_every_fault_can_be_awaited() -> None:
    async with AsyncEmbeddedBroker() as broker:
        channel = await broker.channel("CREATE TABLE t (id INT PRIMARY KEY)")
        faults = channel.faults
        scripted = [
            await faults.fail("Fetch", 6),
            await faults.delay("Fetch", 1),
            await faults.throttle(1),
            await faults.cut("Fetch"),
            await faults.advertise(*NOWHERE),
            await faults.move_coordinator(),
            await faults.rebalance_storm(),
        ]
        assert [await each.met() for each in scripted] == [0] * 7
        await scripted[0].clear()
        with pytest.raises(EmbeddedBrokerError, match="it was cleared"):
            await scripted[0].wait()
        await faults.clear()
        assert await faults.expire() == 2
        assert await faults.move_checkpoint(7) == 7
        assert await (await faults.watch()).met() == 0
        assert "Fetch" not in await broker.requests()
        assert (await faults.connections(), await faults.close_idle(), await faults.disconnect()) == ([], 0, 0)
