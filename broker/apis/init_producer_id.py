"""InitProducerId (key 22, v0): refused, with 53 for a transactional producer and 31 for an idempotent one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.errors import ErrorCode
from broker.wire import INT16, INT32, INT64, NULLABLE_STRING, Message, wire

if TYPE_CHECKING:
    from broker.context import RequestContext


class InitProducerIdRequest(Message):
    """A producer that wants an id."""

    transactional_id: str | None = wire(NULLABLE_STRING)
    transaction_timeout_ms: int = wire(INT32)


class InitProducerIdResponse(Message):
    """Why it gets none."""

    throttle_time_ms: int = wire(INT32, default=0)
    error_code: int = wire(INT16)
    producer_id: int = wire(INT64, default=-1)
    producer_epoch: int = wire(INT16, default=-1)


def handle(context: RequestContext, request: InitProducerIdRequest) -> InitProducerIdResponse:
    """Refuse."""
    if request.transactional_id is None:
        return error(context.api_version, request, ErrorCode.CLUSTER_AUTHORIZATION_FAILED)
    return error(context.api_version, request, ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED)


def error(
    version: int, request: InitProducerIdRequest, code: ErrorCode, message: str | None = None
) -> InitProducerIdResponse:
    """Answer with `code`."""
    return InitProducerIdResponse(error_code=code)
