"""ListOffsets (key 2, v0-v2): the ends of a partition, and the offset for a time.

- -1 is the high watermark, -2 the log start; they are never answered with "unknown" (Java 0.10.1 fails on that).
- A time finds the first record at or after it. A time below 10^11 is in seconds, as the service's clients ask, any
  other in milliseconds; the answer's timestamp is in the unit of the question.
- Before the first record: the first record, or nothing by the topic's choice. After the last: nothing, which is
  timestamp -1, offset -1, error 0; `offsetsForTimes` then gives null. A negative time other than -1 and -2 has no
  meaning of its own before Kafka 3: it lies before the first record.
- v0: a list of offsets instead of a timestamp and an offset, newest first, at most max_num_offsets. On a time it
  gives the log start if the log had begun by then, else nothing: v0 asks for segments written before a time, not for
  records.
- A log that cannot be read there: NOT_LEADER_FOR_PARTITION, which clients of all versions ask again after.
- v2: isolation_level, without effect as there are no transactions; throttle_time_ms.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from broker.context import RequestContext
from broker.errors import ErrorCode
from broker.wire import INT8, INT16, INT32, INT64, STRING, Array, Message, wire
from storage.errors import StorageError
from storage.log import NotResident, resident

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from broker.topics import Topic

LATEST = -1
EARLIEST = -2
SECONDS_BELOW = 10**11
"""Times below this are seconds: as milliseconds they would lie before March 1973."""


class ListOffsetsPartition(Message):
    """A partition and the time asked for."""

    partition: int = wire(INT32)
    timestamp: int = wire(INT64)
    max_num_offsets: int = wire(INT32, until=0, default=1)


class ListOffsetsTopic(Message):
    """A topic asked for."""

    topic: str = wire(STRING)
    partitions: list[ListOffsetsPartition] = wire(Array(ListOffsetsPartition))


class ListOffsetsRequest(Message):
    """The times asked for."""

    replica_id: int = wire(INT32, default=-1)
    isolation_level: int = wire(INT8, since=2, default=0)
    topics: list[ListOffsetsTopic] = wire(Array(ListOffsetsTopic))


class ListOffsetsPartitionResponse(Message):
    """The offset found; v0: the offsets."""

    partition: int = wire(INT32)
    error_code: int = wire(INT16, default=0)
    offsets: list[int] = wire(Array(INT64), until=0, default=[])
    timestamp: int = wire(INT64, since=1, default=-1)
    offset: int = wire(INT64, since=1, default=-1)


class ListOffsetsTopicResponse(Message):
    """The offsets found in a topic."""

    topic: str = wire(STRING)
    partition_responses: list[ListOffsetsPartitionResponse] = wire(Array(ListOffsetsPartitionResponse))


class ListOffsetsResponse(Message):
    """The offsets found."""

    throttle_time_ms: int = wire(INT32, since=2, default=0)
    responses: list[ListOffsetsTopicResponse] = wire(Array(ListOffsetsTopicResponse))


def handle(
    context: RequestContext, request: ListOffsetsRequest
) -> ListOffsetsResponse | Awaitable[ListOffsetsResponse]:
    """Look up every partition; what that needs and is not in memory is brought there meanwhile."""
    try:
        return _look_up(context, request)
    except NotResident:
        return resident(lambda: _look_up(context, request))


def _look_up(context: RequestContext, request: ListOffsetsRequest) -> ListOffsetsResponse:
    """Answer; a partition asked for twice with INVALID_REQUEST (v1 and later, as by Kafka)."""
    doubled = _doubled(request.topics)

    def answer(name: str, partition: ListOffsetsPartition) -> ListOffsetsPartitionResponse:
        if context.api_version > 0 and (name, partition.partition) in doubled:
            return _error(partition, ErrorCode.INVALID_REQUEST)
        topic = context.broker.topics.find(context.session.principal, name, partition.partition)
        if isinstance(topic, ErrorCode):
            return _error(partition, topic)
        try:
            if context.api_version == 0:
                offsets = _offsets_before(topic, partition.timestamp)[: max(partition.max_num_offsets, 0)]
                return ListOffsetsPartitionResponse(partition=partition.partition, offsets=offsets)
            timestamp, offset = _first_at_or_after(topic, partition.timestamp)
        except StorageError:
            return _error(partition, ErrorCode.NOT_LEADER_FOR_PARTITION)
        return ListOffsetsPartitionResponse(partition=partition.partition, timestamp=timestamp, offset=offset)

    return ListOffsetsResponse(
        responses=[
            ListOffsetsTopicResponse(
                topic=topic.topic, partition_responses=[answer(topic.topic, each) for each in topic.partitions]
            )
            for topic in request.topics
        ]
    )


def _doubled(topics: list[ListOffsetsTopic]) -> set[tuple[str, int]]:
    """The partitions that are asked for twice."""
    if len(topics) == 1 and len(topics[0].partitions) == 1:
        return set()  # what clients of one topic ask
    asked = Counter((topic.topic, partition.partition) for topic in topics for partition in topic.partitions)
    return {each for each, count in asked.items() if count > 1}


def _offsets_before(topic: Topic, timestamp: int) -> list[int]:
    """Answer v0: the offsets "before" a time, newest first."""
    log = topic.log
    if timestamp == LATEST:
        return (
            [log.high_watermark]
            if log.high_watermark == log.log_start_offset
            else [log.high_watermark, log.log_start_offset]
        )
    if timestamp == EARLIEST:
        return [log.log_start_offset]
    begun = log.log_start_timestamp_ms
    return [log.log_start_offset] if begun is not None and _to_ms(timestamp) >= begun else []


def _first_at_or_after(topic: Topic, timestamp: int) -> tuple[int, int]:
    """Answer v1 and later: (timestamp in the unit asked in, offset), both -1 if there is none."""
    log = topic.log
    if timestamp == LATEST:
        return -1, log.high_watermark
    if timestamp == EARLIEST:
        return -1, log.log_start_offset
    first_ms = log.log_start_timestamp_ms
    if not topic.time_before_start_is_start and first_ms is not None and _to_ms(timestamp) < first_ms:
        return -1, -1
    found = log.offset_for_timestamp(_to_ms(timestamp))
    if found is None:
        return -1, -1
    offset, found_ms = found
    return (found_ms // 1000 if timestamp < SECONDS_BELOW else found_ms), offset


def _to_ms(timestamp: int) -> int:
    return timestamp * 1000 if timestamp < SECONDS_BELOW else timestamp


def _error(partition: ListOffsetsPartition, code: ErrorCode) -> ListOffsetsPartitionResponse:
    return ListOffsetsPartitionResponse(partition=partition.partition, error_code=code)


def error(
    version: int, request: ListOffsetsRequest, code: ErrorCode, message: str | None = None
) -> ListOffsetsResponse:
    """Answer every partition with `code`."""
    return ListOffsetsResponse(
        responses=[
            ListOffsetsTopicResponse(
                topic=topic.topic, partition_responses=[_error(partition, code) for partition in topic.partitions]
            )
            for topic in request.topics
        ]
    )
