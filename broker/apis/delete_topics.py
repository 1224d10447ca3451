"""DeleteTopics (key 20, v0-v1): refused with TOPIC_AUTHORIZATION_FAILED. v1: throttle_time_ms."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.errors import ErrorCode
from broker.wire import INT16, INT32, STRING, Array, Message, wire

if TYPE_CHECKING:
    from broker.context import RequestContext


class DeleteTopicsRequest(Message):
    """Topics to delete."""

    topics: list[str] = wire(Array(STRING))
    timeout: int = wire(INT32)


class TopicErrorCode(Message):
    """Why a topic was not deleted."""

    topic: str = wire(STRING)
    error_code: int = wire(INT16)


class DeleteTopicsResponse(Message):
    """Why no topic was deleted."""

    throttle_time_ms: int = wire(INT32, since=1, default=0)
    topic_error_codes: list[TopicErrorCode] = wire(Array(TopicErrorCode))


def handle(context: RequestContext, request: DeleteTopicsRequest) -> DeleteTopicsResponse:
    """Refuse."""
    return error(context.api_version, request, ErrorCode.TOPIC_AUTHORIZATION_FAILED)


def error(
    version: int, request: DeleteTopicsRequest, code: ErrorCode, message: str | None = None
) -> DeleteTopicsResponse:
    """Answer every topic with `code`."""
    return DeleteTopicsResponse(
        topic_error_codes=[TopicErrorCode(topic=topic, error_code=code) for topic in request.topics]
    )
