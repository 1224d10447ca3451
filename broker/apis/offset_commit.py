"""OffsetCommit (key 8, v0-v3): store a group's offsets, each with its metadata string.

- The coordinator decides by member, generation and state; a commit without generation (v0, or generation -1 and no
  member: assign mode) stands while the group is empty. Answered when durable. A topic that is unknown (3) or foreign
  (29) is refused alone, whatever the group.
- A commit that cannot be stored is answered COORDINATOR_NOT_AVAILABLE, which clients retry.
- Null metadata is stored as ""; longer than 4096 bytes gives OFFSET_METADATA_TOO_LARGE (12) for that partition.
- v1: generation, member, and a timestamp per partition; v2: retention_time instead of it. Both are accepted and
  ignored: offsets live until the group is deleted. v3: throttle_time_ms.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from broker.errors import ApiError, ErrorCode
from broker.offsets import METADATA_BYTES_MAX
from broker.wire import INT16, INT32, INT64, NULLABLE_STRING, STRING, Array, Message, wire
from storage.errors import StorageError

if TYPE_CHECKING:
    from broker.context import RequestContext

NO_GENERATION = -1

_log = logging.getLogger(__name__)


class OffsetCommitPartition(Message):
    """An offset to store."""

    partition: int = wire(INT32)
    offset: int = wire(INT64)
    timestamp: int = wire(INT64, since=1, until=1, default=-1)
    metadata: str | None = wire(NULLABLE_STRING, default="")


class OffsetCommitTopic(Message):
    """Offsets of a topic to store."""

    topic: str = wire(STRING)
    partitions: list[OffsetCommitPartition] = wire(Array(OffsetCommitPartition))


class OffsetCommitRequest(Message):
    """Offsets to store."""

    group_id: str = wire(STRING)
    generation_id: int = wire(INT32, since=1, default=NO_GENERATION)
    member_id: str = wire(STRING, since=1, default="")
    retention_time: int = wire(INT64, since=2, default=-1)
    topics: list[OffsetCommitTopic] = wire(Array(OffsetCommitTopic))


class OffsetCommitPartitionResponse(Message):
    """Whether an offset is stored."""

    partition: int = wire(INT32)
    error_code: int = wire(INT16, default=0)


class OffsetCommitTopicResponse(Message):
    """Which offsets of a topic are stored."""

    topic: str = wire(STRING)
    partition_responses: list[OffsetCommitPartitionResponse] = wire(Array(OffsetCommitPartitionResponse))


class OffsetCommitResponse(Message):
    """Which offsets are stored."""

    throttle_time_ms: int = wire(INT32, since=3, default=0)
    responses: list[OffsetCommitTopicResponse] = wire(Array(OffsetCommitTopicResponse))


async def handle(context: RequestContext, request: OffsetCommitRequest) -> OffsetCommitResponse:
    """Check the topics, then the group, then the metadata, as Kafka does; store what may be stored."""
    context.require_group(request.group_id)
    group_code: ErrorCode | None = None
    accepted: list[tuple[str, int, int, str]] = []

    def answer(topic: str, partition: OffsetCommitPartition) -> OffsetCommitPartitionResponse:
        nonlocal group_code
        found = context.broker.topics.find(context.session.principal, topic, partition.partition)
        if isinstance(found, ErrorCode):
            return OffsetCommitPartitionResponse(partition=partition.partition, error_code=found)
        if group_code is None:
            group_code = context.broker.groups.commit(request.group_id, request.member_id, request.generation_id)
        code = group_code or _check_metadata(partition.metadata)
        if not code:
            accepted.append((topic, partition.partition, partition.offset, partition.metadata or ""))
        return OffsetCommitPartitionResponse(partition=partition.partition, error_code=code)

    responses = [
        OffsetCommitTopicResponse(
            topic=topic.topic, partition_responses=[answer(topic.topic, each) for each in topic.partitions]
        )
        for topic in request.topics
    ]
    if accepted:
        await _store(context, request.group_id, accepted)
    return OffsetCommitResponse(responses=responses)


async def _store(context: RequestContext, group_id: str, accepted: list[tuple[str, int, int, str]]) -> None:
    try:
        await context.broker.offsets.commit(group_id, accepted)
    except StorageError as error:
        _log.error("a commit of group %s is not stored: %s", group_id, error)
        raise ApiError(ErrorCode.COORDINATOR_NOT_AVAILABLE) from error


def _check_metadata(metadata: str | None) -> ErrorCode:
    too_large = len((metadata or "").encode()) > METADATA_BYTES_MAX
    return ErrorCode.OFFSET_METADATA_TOO_LARGE if too_large else ErrorCode.NONE


def error(
    version: int, request: OffsetCommitRequest, code: ErrorCode, message: str | None = None
) -> OffsetCommitResponse:
    """Answer every partition with `code`."""
    return OffsetCommitResponse(
        responses=[
            OffsetCommitTopicResponse(
                topic=topic.topic,
                partition_responses=[
                    OffsetCommitPartitionResponse(partition=partition.partition, error_code=code)
                    for partition in topic.partitions
                ],
            )
            for topic in request.topics
        ]
    )
