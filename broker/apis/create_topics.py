"""CreateTopics (key 19, v0-v2): refused. A topic comes with its channel.

POLICY_VIOLATION (44) with a sentence where the layout has one and the client knows the code (v1 and later, 0.10.2);
CLUSTER_AUTHORIZATION_FAILED (31) in v0. v1: validate_only, error_message; v2: throttle_time_ms.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.errors import ErrorCode
from broker.wire import BOOLEAN, INT16, INT32, NULLABLE_STRING, STRING, Array, Message, wire

if TYPE_CHECKING:
    from broker.context import RequestContext

REASON = "topics are made by channels; add a channel to the configuration instead"


class ReplicaAssignment(Message):
    """Where a partition's replicas should be."""

    partition: int = wire(INT32)
    replicas: list[int] = wire(Array(INT32))


class ConfigEntry(Message):
    """A setting of the new topic."""

    config_name: str = wire(STRING)
    config_value: str | None = wire(NULLABLE_STRING)


class CreateTopic(Message):
    """A topic to create."""

    topic: str = wire(STRING)
    num_partitions: int = wire(INT32)
    replication_factor: int = wire(INT16)
    replica_assignment: list[ReplicaAssignment] = wire(Array(ReplicaAssignment))
    config_entries: list[ConfigEntry] = wire(Array(ConfigEntry))


class CreateTopicsRequest(Message):
    """Topics to create."""

    create_topic_requests: list[CreateTopic] = wire(Array(CreateTopic))
    timeout: int = wire(INT32)
    validate_only: bool = wire(BOOLEAN, since=1, default=False)


class CreateTopicError(Message):
    """Why a topic was not created."""

    topic: str = wire(STRING)
    error_code: int = wire(INT16)
    error_message: str | None = wire(NULLABLE_STRING, since=1, default=None)


class CreateTopicsResponse(Message):
    """Why no topic was created."""

    throttle_time_ms: int = wire(INT32, since=2, default=0)
    topic_errors: list[CreateTopicError] = wire(Array(CreateTopicError))


def handle(context: RequestContext, request: CreateTopicsRequest) -> CreateTopicsResponse:
    """Refuse."""
    if context.api_version == 0:
        return error(0, request, ErrorCode.CLUSTER_AUTHORIZATION_FAILED)
    return error(context.api_version, request, ErrorCode.POLICY_VIOLATION, REASON)


def error(
    version: int, request: CreateTopicsRequest, code: ErrorCode, message: str | None = None
) -> CreateTopicsResponse:
    """Answer every topic with `code`."""
    return CreateTopicsResponse(
        topic_errors=[
            CreateTopicError(topic=each.topic, error_code=code, error_message=message)
            for each in request.create_topic_requests
        ]
    )
