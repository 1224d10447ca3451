"""Heartbeat (key 12, v0-v1): keep a member alive, and let it learn of a rebalance. v1: throttle_time_ms."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.wire import INT16, INT32, STRING, Message, wire

if TYPE_CHECKING:
    from broker.context import RequestContext
    from broker.errors import ErrorCode


class HeartbeatRequest(Message):
    """A member's sign of life."""

    group_id: str = wire(STRING)
    generation_id: int = wire(INT32)
    member_id: str = wire(STRING)


class HeartbeatResponse(Message):
    """Whether the member still is one; REBALANCE_IN_PROGRESS asks it to rejoin."""

    throttle_time_ms: int = wire(INT32, since=1, default=0)
    error_code: int = wire(INT16, default=0)


def handle(context: RequestContext, request: HeartbeatRequest) -> HeartbeatResponse:
    """Refresh the member's session."""
    context.require_group(request.group_id)
    code = context.broker.groups.heartbeat(request.group_id, request.member_id, request.generation_id)
    return HeartbeatResponse(error_code=code)


def error(version: int, request: HeartbeatRequest, code: ErrorCode, message: str | None = None) -> HeartbeatResponse:
    """Answer with `code`."""
    return HeartbeatResponse(error_code=code)
