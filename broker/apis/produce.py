"""Produce (key 0, v0-v5): refused with TOPIC_AUTHORIZATION_FAILED, which producers do not retry.

Listed in ApiVersions because clients judge a broker by it: librdkafka falls back to Fetch v0 without Produce,
franz-go takes ApiVersions for not loaded.

- v1: throttle_time_ms, last; v2: log_append_time; v3: transactional_id; v5: log_start_offset.
- acks=0 promises the client no response: nothing is sent and the connection is closed
  (KafkaApis.produceResponseCallback).
"""

from __future__ import annotations

from broker.context import RequestContext
from broker.errors import CloseConnection, ErrorCode
from broker.wire import INT16, INT32, INT64, NULLABLE_BYTES, NULLABLE_STRING, STRING, Array, Message, wire


class ProducePartition(Message):
    """Records for one partition; never looked at."""

    partition: int = wire(INT32)
    record_set: bytes | None = wire(NULLABLE_BYTES)


class ProduceTopic(Message):
    """Records for one topic."""

    topic: str = wire(STRING)
    data: list[ProducePartition] = wire(Array(ProducePartition))


class ProduceRequest(Message):
    """Records to append."""

    transactional_id: str | None = wire(NULLABLE_STRING, since=3, default=None)
    acks: int = wire(INT16)
    timeout: int = wire(INT32)
    topic_data: list[ProduceTopic] = wire(Array(ProduceTopic))


class ProducePartitionResponse(Message):
    """What became of the records of one partition."""

    partition: int = wire(INT32)
    error_code: int = wire(INT16)
    base_offset: int = wire(INT64, default=-1)
    log_append_time: int = wire(INT64, since=2, default=-1)
    log_start_offset: int = wire(INT64, since=5, default=-1)


class ProduceTopicResponse(Message):
    """What became of the records of one topic."""

    topic: str = wire(STRING)
    partition_responses: list[ProducePartitionResponse] = wire(Array(ProducePartitionResponse))


class ProduceResponse(Message):
    """What became of the records."""

    responses: list[ProduceTopicResponse] = wire(Array(ProduceTopicResponse))
    throttle_time_ms: int = wire(INT32, since=1, default=0)


def handle(context: RequestContext, request: ProduceRequest) -> ProduceResponse:
    """Refuse."""
    if request.acks == 0:
        raise CloseConnection("a Produce with acks=0 was refused; it has no response")
    return error(context.api_version, request, ErrorCode.TOPIC_AUTHORIZATION_FAILED)


def error(version: int, request: ProduceRequest, code: ErrorCode, message: str | None = None) -> ProduceResponse:
    """Answer every partition with `code`."""
    return ProduceResponse(
        responses=[
            ProduceTopicResponse(
                topic=topic.topic,
                partition_responses=[
                    ProducePartitionResponse(partition=data.partition, error_code=code) for data in topic.data
                ],
            )
            for topic in request.topic_data
        ]
    )
