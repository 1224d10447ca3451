"""LeaveGroup (key 13, v0-v1): end a membership at once, so that a standby takes over. v1: throttle_time_ms."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.wire import INT16, INT32, STRING, Message, wire

if TYPE_CHECKING:
    from broker.context import RequestContext
    from broker.errors import ErrorCode


class LeaveGroupRequest(Message):
    """A member that goes."""

    group_id: str = wire(STRING)
    member_id: str = wire(STRING)


class LeaveGroupResponse(Message):
    """Whether it was one."""

    throttle_time_ms: int = wire(INT32, since=1, default=0)
    error_code: int = wire(INT16, default=0)


def handle(context: RequestContext, request: LeaveGroupRequest) -> LeaveGroupResponse:
    """Remove the member."""
    context.require_group(request.group_id)
    return LeaveGroupResponse(error_code=context.broker.groups.leave(request.group_id, request.member_id))


def error(version: int, request: LeaveGroupRequest, code: ErrorCode, message: str | None = None) -> LeaveGroupResponse:
    """Answer with `code`."""
    return LeaveGroupResponse(error_code=code)
