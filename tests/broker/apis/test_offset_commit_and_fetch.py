"""OffsetCommit and OffsetFetch: who may, what is kept, and how each version says that there is nothing."""

from __future__ import annotations

import asyncio

import pytest

from broker.apis import offset_commit, offset_fetch
from broker.apis.offset_commit import OffsetCommitPartition, OffsetCommitRequest, OffsetCommitTopic
from broker.apis.offset_fetch import (
    OffsetFetchPartition,
    OffsetFetchPartitionResponse,
    OffsetFetchRequest,
    OffsetFetchResponse,
    OffsetFetchTopic,
)
from broker.context import Broker
from broker.errors import ApiError, ErrorCode
from broker.principal import ANONYMOUS, Principal
from broker.topics import Topic
from tests.broker.fakes import GROUP, TOPIC, USERNAME, MemoryOffsets, make_broker, make_context
from tests.fakes_log import MemoryLog

OWN = Principal(USERNAME, GROUP, frozenset({TOPIC}))
COMMIT_VERSIONS = range(4)
FETCH_VERSIONS = range(4)


@pytest.fixture
async def broker() -> Broker:
    return make_broker()


async def commit(
    broker: Broker,
    offset: int,
    metadata: str | None = "",
    *,
    version: int = 2,
    topic: str = TOPIC,
    partition: int = 0,
    group: str = GROUP,
    generation: int = -1,
    member: str = "",
    who: Principal = OWN,
) -> int:
    partitions = [OffsetCommitPartition(partition=partition, offset=offset, metadata=metadata)]
    asked = OffsetCommitRequest(
        group_id=group,
        generation_id=generation,
        member_id=member,
        topics=[OffsetCommitTopic(topic=topic, partitions=partitions)],
    )
    response = await offset_commit.handle(make_context(broker, version, who), asked)
    (answered,) = response.responses
    assert answered.topic == topic
    (code,) = answered.partition_responses
    assert code.partition == partition
    return code.error_code


def fetch(
    broker: Broker, version: int, topics: dict[str, list[int]] | None, *, group: str = GROUP, who: Principal = OWN
) -> OffsetFetchResponse:
    asked = OffsetFetchRequest(
        group_id=group,
        topics=None
        if topics is None
        else [
            OffsetFetchTopic(topic=topic, partitions=[OffsetFetchPartition(partition=each) for each in partitions])
            for topic, partitions in topics.items()
        ],
    )
    return offset_fetch.handle(make_context(broker, version, who), asked)


def fetched(broker: Broker, version: int, partition: int = 0) -> OffsetFetchPartitionResponse:
    return fetch(broker, version, {TOPIC: [partition]}).responses[0].partition_responses[0]


@pytest.mark.parametrize("commit_version", COMMIT_VERSIONS)
@pytest.mark.parametrize("fetch_version", FETCH_VERSIONS)
async def test_an_offset_and_its_metadata_come_back(broker: Broker, commit_version: int, fetch_version: int) -> None:
    assert await commit(broker, 17, "1700000000|中文", version=commit_version) == 0
    found = fetched(broker, fetch_version)
    assert (found.offset, found.metadata, found.error_code) == (17, "1700000000|中文", 0)


async def test_a_lower_offset_stands_and_null_metadata_becomes_empty(broker: Broker) -> None:
    await commit(broker, 17, "old")
    await commit(broker, 3, None)
    found = fetched(broker, 1)
    assert (found.offset, found.metadata) == (3, "")


@pytest.mark.parametrize(("version", "code"), [(0, 3), (1, 0), (2, 0), (3, 0)])
async def test_nothing_committed_is_3_only_in_v0(broker: Broker, version: int, code: int) -> None:
    found = fetched(broker, version)
    assert (found.offset, found.metadata, found.error_code) == (-1, "", code)
    assert fetched(broker, version, partition=5).error_code == code


async def test_null_topics_give_all_and_empty_none_from_v2_on(broker: Broker) -> None:
    await commit(broker, 17)
    for version in (2, 3):
        (everything,) = fetch(broker, version, None).responses
        assert [each.offset for each in everything.partition_responses] == [17]
        assert fetch(broker, version, {}).responses == []


async def test_metadata_may_be_4096_bytes_and_no_more(broker: Broker) -> None:
    assert await commit(broker, 1, "x" * 4096) == 0
    assert await commit(broker, 2, "x" * 4097) == ErrorCode.OFFSET_METADATA_TOO_LARGE
    assert await commit(broker, 2, "é" * 2049) == ErrorCode.OFFSET_METADATA_TOO_LARGE
    assert fetched(broker, 1).offset == 1


async def test_unknown_and_foreign_topics_are_refused_alone(broker: Broker) -> None:
    broker.topics.add(Topic("foreign", MemoryLog("foreign"), "crm"))
    assert await commit(broker, 1, topic="foreign") == ErrorCode.TOPIC_AUTHORIZATION_FAILED
    assert await commit(broker, 1, topic="unknown", who=ANONYMOUS) == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    assert await commit(broker, 1, partition=1) == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    foreign = fetch(broker, 1, {"foreign": [0]}).responses[0].partition_responses[0]
    assert foreign.error_code == ErrorCode.TOPIC_AUTHORIZATION_FAILED


async def test_somebody_elses_group_is_24_everywhere(broker: Broker) -> None:
    with pytest.raises(ApiError) as raised:
        await commit(broker, 1, group="other")
    assert raised.value.code is ErrorCode.INVALID_GROUP_ID
    with pytest.raises(ApiError):
        fetch(broker, 2, None, group="other")


async def test_an_anonymous_client_may_use_configured_groups_only(broker: Broker) -> None:
    assert await commit(broker, 1, group="any", who=ANONYMOUS) == 0
    broker.group_ids = {GROUP}
    assert await commit(broker, 1, group=GROUP, who=ANONYMOUS) == 0
    with pytest.raises(ApiError):
        await commit(broker, 1, group="any", who=ANONYMOUS)


@pytest.mark.parametrize(("version", "has_partitions"), [(0, True), (1, True), (2, False), (3, False)])
async def test_a_group_error_stands_where_the_version_has_it(version: int, has_partitions: bool) -> None:
    asked = OffsetFetchRequest(
        group_id="g", topics=[OffsetFetchTopic(topic=TOPIC, partitions=[OffsetFetchPartition(partition=0)])]
    )
    response = offset_fetch.error(version, asked, ErrorCode.INVALID_GROUP_ID)
    assert bool(response.responses) is has_partitions
    assert (response.error_code == 24) is not has_partitions


async def test_a_group_code_stands_at_every_partition_and_nothing_is_stored(broker: Broker) -> None:
    assert await commit(broker, 1, generation=3, member="ghost") == ErrorCode.ILLEGAL_GENERATION
    assert fetched(broker, 1).offset == -1


async def test_topics_are_checked_before_the_group_and_the_group_before_the_metadata(broker: Broker) -> None:
    async def ghost(metadata: str = "", topic: str = TOPIC) -> int:
        return await commit(broker, 1, metadata, topic=topic, generation=3, member="ghost")

    assert await ghost(topic="foreign") == ErrorCode.TOPIC_AUTHORIZATION_FAILED
    assert await ghost("x" * 4097) == ErrorCode.ILLEGAL_GENERATION


@pytest.mark.parametrize("version", COMMIT_VERSIONS)
async def test_many_partitions_in_one_commit_are_answered_one_by_one(broker: Broker, version: int) -> None:
    broker.topics.add(Topic("second", MemoryLog("second"), "crm"))

    def topic(name: str, *partitions: tuple[int, int, str | None]) -> OffsetCommitTopic:
        return OffsetCommitTopic(
            topic=name,
            partitions=[
                OffsetCommitPartition(partition=partition, offset=offset, metadata=metadata)
                for partition, offset, metadata in partitions
            ],
        )

    asked = OffsetCommitRequest(
        group_id=GROUP,
        topics=[
            topic(TOPIC, (0, 5, "first"), (1, 6, ""), (0, 4, "the last of a partition stands")),
            topic("unknown", (0, 1, "")),
            topic("second", (0, 2**63 - 1, None)),
            topic("second", (0, 9, "x" * 4097)),
        ],
    )
    response = await offset_commit.handle(make_context(broker, version), asked)
    codes = [(each.topic, [code.error_code for code in each.partition_responses]) for each in response.responses]
    assert codes == [(TOPIC, [0, 3, 0]), ("unknown", [3]), ("second", [0]), ("second", [12])]
    found = fetch(broker, 2, None, who=ANONYMOUS)
    assert [
        (each.topic, part.partition, part.offset, part.metadata)
        for each in found.responses
        for part in each.partition_responses
    ] == [(TOPIC, 0, 4, "the last of a partition stands"), ("second", 0, 2**63 - 1, "")]


@pytest.mark.parametrize("offset", [-1, 0, 10**12, 2**63 - 1, -(2**63)])
async def test_any_offset_may_be_committed(broker: Broker, offset: int) -> None:
    assert await commit(broker, offset) == 0
    assert fetched(broker, 1).offset == offset


async def test_offsets_are_answered_while_shutting_down(broker: Broker) -> None:
    """Java takes 15 here for a fatal error, in every release."""
    await commit(broker, 7)
    broker.groups.shut_down()
    assert fetched(broker, 1).offset == 7
    assert await commit(broker, 8) == ErrorCode.COORDINATOR_NOT_AVAILABLE


async def test_a_commit_is_answered_when_it_is_durable(broker: Broker) -> None:
    assert isinstance(broker.offsets, MemoryOffsets)
    broker.offsets.gate = asyncio.Event()
    task = asyncio.create_task(commit(broker, 5))
    for _ in range(5):
        await asyncio.sleep(0)
    assert not task.done()
    assert fetched(broker, 1).offset == -1
    broker.offsets.gate.set()
    assert await task == 0
    assert fetched(broker, 1).offset == 5


async def test_a_commit_that_cannot_be_stored_is_retriable(broker: Broker) -> None:
    assert isinstance(broker.offsets, MemoryOffsets)
    broker.offsets.fails = True
    with pytest.raises(ApiError) as raised:
        await commit(broker, 5)
    assert raised.value.code is ErrorCode.COORDINATOR_NOT_AVAILABLE
