"""OffsetFetch (key 9, v0-v3): a group's committed offsets and their metadata, in every state of the group.

- Nothing committed: offset -1, metadata "", error 0; v0 answers UNKNOWN_TOPIC_OR_PARTITION instead, as then it stood
  for that. (Java from 0.10.1 on throws on code 3 here, so it is never sent from v1 on.)
- What is asked for twice is answered once, as by Kafka: a commit's metadata is a thousand times as large as a question.
- v2: topics null asks for everything committed; a group-level error code, last. Before v2 such an error stands at
  every partition.
- v3: throttle_time_ms.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.errors import ErrorCode
from broker.wire import INT16, INT32, INT64, NULLABLE_STRING, STRING, Array, Message, wire

if TYPE_CHECKING:
    from broker.context import RequestContext

NO_OFFSET = -1
GROUP_ERROR_SINCE = 2


class OffsetFetchPartition(Message):
    """A partition asked for."""

    partition: int = wire(INT32)


class OffsetFetchTopic(Message):
    """A topic asked for."""

    topic: str = wire(STRING)
    partitions: list[OffsetFetchPartition] = wire(Array(OffsetFetchPartition))


class OffsetFetchRequest(Message):
    """The partitions asked for; null: all that the group committed."""

    group_id: str = wire(STRING)
    topics: list[OffsetFetchTopic] | None = wire(Array(OffsetFetchTopic, nullable_since=2))


class OffsetFetchPartitionResponse(Message):
    """A committed offset."""

    partition: int = wire(INT32)
    offset: int = wire(INT64, default=NO_OFFSET)
    metadata: str | None = wire(NULLABLE_STRING, default="")
    error_code: int = wire(INT16, default=0)


class OffsetFetchTopicResponse(Message):
    """Committed offsets of a topic."""

    topic: str = wire(STRING)
    partition_responses: list[OffsetFetchPartitionResponse] = wire(Array(OffsetFetchPartitionResponse))


class OffsetFetchResponse(Message):
    """Committed offsets."""

    throttle_time_ms: int = wire(INT32, since=3, default=0)
    responses: list[OffsetFetchTopicResponse] = wire(Array(OffsetFetchTopicResponse))
    error_code: int = wire(INT16, since=2, default=0)


def handle(context: RequestContext, request: OffsetFetchRequest) -> OffsetFetchResponse:
    """Look the offsets up."""
    context.require_group(request.group_id)
    asked: dict[str, dict[int, None]] = {}
    for topic in _all_committed(context, request.group_id) if request.topics is None else request.topics:
        asked.setdefault(topic.topic, {}).update(dict.fromkeys(each.partition for each in topic.partitions))
    return OffsetFetchResponse(
        responses=[
            OffsetFetchTopicResponse(
                topic=topic,
                partition_responses=[_look_up(context, request.group_id, topic, each) for each in partitions],
            )
            for topic, partitions in asked.items()
        ]
    )


def _all_committed(context: RequestContext, group_id: str) -> list[OffsetFetchTopic]:
    """List the partitions the group committed, of the topics that the client may see."""
    visible = context.session.principal.topics
    partitions: dict[str, list[OffsetFetchPartition]] = {}
    for topic, partition in sorted(context.broker.offsets.committed(group_id)):
        if visible is None or topic in visible:
            partitions.setdefault(topic, []).append(OffsetFetchPartition(partition=partition))
    return [OffsetFetchTopic(topic=topic, partitions=each) for topic, each in partitions.items()]


def _look_up(context: RequestContext, group_id: str, topic: str, partition: int) -> OffsetFetchPartitionResponse:
    visible = context.session.principal.topics
    if visible is not None and topic not in visible:
        return OffsetFetchPartitionResponse(partition=partition, error_code=ErrorCode.TOPIC_AUTHORIZATION_FAILED)
    committed = context.broker.offsets.committed(group_id).get((topic, partition))
    if committed is None:
        none = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION if context.api_version == 0 else ErrorCode.NONE
        return OffsetFetchPartitionResponse(partition=partition, error_code=none)
    return OffsetFetchPartitionResponse(partition=partition, offset=committed.offset, metadata=committed.metadata)


def error(
    version: int, request: OffsetFetchRequest, code: ErrorCode, message: str | None = None
) -> OffsetFetchResponse:
    """Answer with `code`: for the group from v2 on, before that at every partition asked for."""
    if version >= GROUP_ERROR_SINCE:
        return OffsetFetchResponse(error_code=code, responses=[])
    return OffsetFetchResponse(
        responses=[
            OffsetFetchTopicResponse(
                topic=topic.topic,
                partition_responses=[
                    OffsetFetchPartitionResponse(partition=each.partition, error_code=code) for each in topic.partitions
                ],
            )
            for topic in request.topics or ()
        ],
    )
