"""DeleteRecords (key 21, v0): refused with TOPIC_AUTHORIZATION_FAILED; what is deleted is the retention's business."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.errors import ErrorCode
from broker.wire import INT16, INT32, INT64, STRING, Array, Message, wire

if TYPE_CHECKING:
    from broker.context import RequestContext


class DeleteRecordsPartition(Message):
    """A partition, and the offset before which to delete."""

    partition: int = wire(INT32)
    offset: int = wire(INT64)


class DeleteRecordsTopic(Message):
    """A topic to delete from."""

    topic: str = wire(STRING)
    partitions: list[DeleteRecordsPartition] = wire(Array(DeleteRecordsPartition))


class DeleteRecordsRequest(Message):
    """Records to delete."""

    topics: list[DeleteRecordsTopic] = wire(Array(DeleteRecordsTopic))
    timeout: int = wire(INT32)


class DeleteRecordsPartitionResponse(Message):
    """Why nothing was deleted."""

    partition: int = wire(INT32)
    low_watermark: int = wire(INT64, default=-1)
    error_code: int = wire(INT16)


class DeleteRecordsTopicResponse(Message):
    """Why nothing of a topic was deleted."""

    topic: str = wire(STRING)
    partitions: list[DeleteRecordsPartitionResponse] = wire(Array(DeleteRecordsPartitionResponse))


class DeleteRecordsResponse(Message):
    """Why nothing was deleted."""

    throttle_time_ms: int = wire(INT32, default=0)
    topics: list[DeleteRecordsTopicResponse] = wire(Array(DeleteRecordsTopicResponse))


def handle(context: RequestContext, request: DeleteRecordsRequest) -> DeleteRecordsResponse:
    """Refuse."""
    return error(context.api_version, request, ErrorCode.TOPIC_AUTHORIZATION_FAILED)


def error(
    version: int, request: DeleteRecordsRequest, code: ErrorCode, message: str | None = None
) -> DeleteRecordsResponse:
    """Answer every partition with `code`."""
    return DeleteRecordsResponse(
        topics=[
            DeleteRecordsTopicResponse(
                topic=topic.topic,
                partitions=[
                    DeleteRecordsPartitionResponse(partition=each.partition, error_code=code)
                    for each in topic.partitions
                ],
            )
            for topic in request.topics
        ]
    )
