"""A question asked a thousand times over in one request is answered once, so that no answer dwarfs its request."""

from __future__ import annotations

import pytest

from broker.apis import describe_configs, describe_groups, fetch, metadata, offset_fetch
from broker.apis.describe_configs import ConfigResource, DescribeConfigsRequest
from broker.apis.describe_groups import DescribeGroupsRequest
from broker.apis.fetch import FetchPartition, FetchRequest, FetchResponse, FetchTopic
from broker.apis.metadata import MetadataRequest
from broker.apis.offset_fetch import OffsetFetchPartition, OffsetFetchRequest, OffsetFetchTopic
from broker.wire import encode
from tests.broker.fakes import GROUP, TOPIC, make_broker, make_context
from tests.fakes_log import MemoryLog

REPEATS = 1000


@pytest.mark.parametrize("version", range(4))
async def test_a_commits_metadata_is_told_once(version: int) -> None:
    context = make_context(make_broker(), version)
    await context.broker.offsets.commit(GROUP, [(TOPIC, 0, 5, "m" * 4096)])
    topic = OffsetFetchTopic(topic=TOPIC, partitions=[OffsetFetchPartition(partition=0)] * REPEATS)
    response = offset_fetch.handle(context, OffsetFetchRequest(group_id=GROUP, topics=[topic] * 3))
    assert [(each.topic, len(each.partition_responses)) for each in response.responses] == [(TOPIC, 1)]
    assert len(encode(response, version)) < 5000


async def test_a_group_is_described_once() -> None:
    response = describe_groups.handle(
        make_context(make_broker(), 1), DescribeGroupsRequest(group_ids=[GROUP, "other", GROUP])
    )
    assert [each.group_id for each in response.groups] == [GROUP, "other"]


async def test_a_resource_is_described_once_and_a_setting_too() -> None:
    broker = ConfigResource(resource_type=4, resource_name="1", config_names=["num.partitions"] * REPEATS)
    request = DescribeConfigsRequest(resources=[broker] * REPEATS)
    (described,) = describe_configs.handle(make_context(make_broker(), 1), request).resources
    assert [each.config_name for each in described.config_entries] == ["num.partitions"]


async def test_a_topic_is_told_once() -> None:
    response = metadata.handle(make_context(make_broker(), 5), MetadataRequest(topics=[TOPIC, "x", TOPIC]))
    assert [each.topic for each in response.topic_metadata] == [TOPIC, "x"]


async def test_a_partition_is_read_once_as_last_asked_for() -> None:
    log = MemoryLog(TOPIC)
    log.append([b"value"], [0])
    partitions = [FetchPartition(partition=number, fetch_offset=0, max_bytes=1) for number in (0, 7)]
    last = FetchPartition(partition=0, fetch_offset=1, max_bytes=1)
    topics = [
        FetchTopic(topic=TOPIC, partitions=partitions * 3),
        FetchTopic(topic="x", partitions=[]),
        FetchTopic(topic=TOPIC, partitions=[last]),
    ]
    response = fetch.handle(
        make_context(make_broker(log), 4), FetchRequest(max_wait_time=0, min_bytes=0, topics=topics)
    )
    assert isinstance(response, FetchResponse)
    assert [each.topic for each in response.responses] == [TOPIC, "x"]
    read, unknown = response.responses[0].partition_responses
    assert (read.partition, read.error_code, len(read.record_set)) == (0, 0, 0)
    assert (unknown.partition, unknown.error_code) == (7, 3)
