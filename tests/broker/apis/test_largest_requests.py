"""The limits on strangers' bytes leave room for what clients send: a thousand topics, a group of a thousand members.

Method: the largest requests that a client or an admin tool makes of a server with a thousand channels, with names in
the service's pattern, through the sans-IO core with all its limits.
"""

from __future__ import annotations

import pytest

from broker.apis.delete_groups import DeleteGroupsRequest
from broker.apis.describe_configs import ConfigResource, DescribeConfigsRequest
from broker.apis.describe_groups import DescribeGroupsRequest
from broker.apis.fetch import FetchPartition, FetchRequest, FetchTopic
from broker.apis.join_group import GroupProtocol, JoinGroupRequest
from broker.apis.list_offsets import ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic
from broker.apis.metadata import MetadataRequest
from broker.apis.offset_commit import OffsetCommitPartition, OffsetCommitRequest, OffsetCommitTopic
from broker.apis.offset_fetch import OffsetFetchPartition, OffsetFetchRequest, OffsetFetchTopic
from broker.apis.sync_group import MemberAssignment, SyncGroupRequest
from broker.connection import Connection, Request
from broker.groups import MEMBERS_MAX
from broker.sasl import SaslExchange
from broker.wire import ELEMENTS_MAX, Message
from tests.broker.api_values import name_of
from tests.broker.frames import request_frame

CHANNELS = 1000
TOPICS = [f"cn_hangzhou_vpc_rm_bp1{number:016d}_dtstest_version2" for number in range(CHANNELS)]
GROUPS = [f"dts{number:015d}" for number in range(CHANNELS)]
ASSIGNMENT = b"\0" * 200

LARGEST: list[tuple[Message, int]] = [
    (MetadataRequest(topics=TOPICS), 5),
    (
        FetchRequest(
            max_wait_time=500,
            min_bytes=1,
            topics=[
                FetchTopic(topic=topic, partitions=[FetchPartition(partition=0, fetch_offset=0, max_bytes=1 << 20)])
                for topic in TOPICS
            ],
        ),
        7,
    ),
    (
        ListOffsetsRequest(
            topics=[
                ListOffsetsTopic(topic=topic, partitions=[ListOffsetsPartition(partition=0, timestamp=-1)])
                for topic in TOPICS
            ]
        ),
        2,
    ),
    (
        OffsetFetchRequest(
            group_id=GROUPS[0],
            topics=[OffsetFetchTopic(topic=topic, partitions=[OffsetFetchPartition(partition=0)]) for topic in TOPICS],
        ),
        3,
    ),
    (
        OffsetCommitRequest(
            group_id=GROUPS[0],
            topics=[
                OffsetCommitTopic(
                    topic=topic, partitions=[OffsetCommitPartition(partition=0, offset=1 << 40, metadata="1700000000")]
                )
                for topic in TOPICS
            ],
        ),
        3,
    ),
    (
        JoinGroupRequest(
            group_id=GROUPS[0],
            session_timeout=10_000,
            rebalance_timeout=300_000,
            member_id="",
            protocol_type="consumer",
            group_protocols=[
                GroupProtocol(protocol_name=name, protocol_metadata="".join(TOPICS).encode())
                for name in ("range", "roundrobin", "sticky")
            ],
        ),
        2,
    ),
    (
        SyncGroupRequest(
            group_id=GROUPS[0],
            generation_id=1,
            member_id="m",
            group_assignment=[
                MemberAssignment(member_id=f"consumer-{number}-{'0' * 36}", member_assignment=ASSIGNMENT)
                for number in range(MEMBERS_MAX)
            ],
        ),
        1,
    ),
    (DescribeGroupsRequest(group_ids=GROUPS), 1),
    (DeleteGroupsRequest(groups=GROUPS), 0),
    (
        DescribeConfigsRequest(
            resources=[ConfigResource(resource_type=2, resource_name=topic, config_names=None) for topic in TOPICS]
        ),
        1,
    ),
]


@pytest.mark.parametrize(("message", "version"), LARGEST, ids=lambda value: name_of(type(value)))
def test_what_a_client_of_a_thousand_channels_asks_is_read(message: Message, version: int) -> None:
    connection = Connection(SaslExchange(needs_login=False))
    connection.receive(request_frame(message, version))
    request = connection.next_event()
    assert isinstance(request, Request)
    assert request.body == message


def test_a_topic_and_its_partition_are_two_elements() -> None:
    assert max(2 * CHANNELS, MEMBERS_MAX) <= ELEMENTS_MAX
