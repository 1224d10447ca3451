"""FindCoordinator (key 10, v0-v1): the one broker coordinates every group; the client opens a second connection to
it.

Node id, host and port are those of Metadata: the listener the client came in on. On error the coordinator is node -1,
host "" (never null), port -1. v1: coordinator_type (0 group, 1 transaction: refused with 53), throttle_time_ms,
error_message.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.errors import ErrorCode
from broker.wire import INT8, INT16, INT32, NULLABLE_STRING, STRING, Message, wire

if TYPE_CHECKING:
    from broker.context import RequestContext

GROUP = 0
TRANSACTION = 1


class FindCoordinatorRequest(Message):
    """The group (v0: group_id) or transactional id asked for."""

    coordinator_key: str = wire(STRING)
    coordinator_type: int = wire(INT8, since=1, default=GROUP)


class Coordinator(Message):
    """A broker's address."""

    node_id: int = wire(INT32, default=-1)
    host: str = wire(STRING, default="")
    port: int = wire(INT32, default=-1)


class FindCoordinatorResponse(Message):
    """The coordinator."""

    throttle_time_ms: int = wire(INT32, since=1, default=0)
    error_code: int = wire(INT16, default=0)
    error_message: str | None = wire(NULLABLE_STRING, since=1, default=None)
    coordinator: Coordinator = wire(Coordinator)


def handle(context: RequestContext, request: FindCoordinatorRequest) -> FindCoordinatorResponse:
    """Name the broker, for a group that the client may use."""
    if request.coordinator_type == TRANSACTION:
        return error(context.api_version, request, ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED)
    if request.coordinator_type != GROUP:
        return error(context.api_version, request, ErrorCode.INVALID_REQUEST)
    context.require_group(request.coordinator_key)
    address = context.session.address
    node = Coordinator(node_id=context.broker.node_id, host=address.host, port=address.port)
    return FindCoordinatorResponse(coordinator=node)


def error(
    version: int, request: FindCoordinatorRequest, code: ErrorCode, message: str | None = None
) -> FindCoordinatorResponse:
    """Answer with no coordinator."""
    return FindCoordinatorResponse(error_code=code, error_message=message, coordinator=Coordinator())
