"""SyncGroup (key 14, v0-v1): the leader hands in the assignment, every member gets its part.

Followers are parked until the leader's request comes. A member that the leader left out gets empty bytes; so does any
error (never null). v1: throttle_time_ms.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from broker.group import SyncResult
from broker.wire import BYTES, INT16, INT32, STRING, Array, Message, wire

if TYPE_CHECKING:
    from broker.context import RequestContext
    from broker.errors import ErrorCode


class MemberAssignment(Message):
    """A member's part."""

    member_id: str = wire(STRING)
    member_assignment: bytes = wire(BYTES)


class SyncGroupRequest(Message):
    """The assignment, from the leader; empty from others."""

    group_id: str = wire(STRING)
    generation_id: int = wire(INT32)
    member_id: str = wire(STRING)
    group_assignment: list[MemberAssignment] = wire(Array(MemberAssignment))


class SyncGroupResponse(Message):
    """The member's part."""

    throttle_time_ms: int = wire(INT32, since=1, default=0)
    error_code: int = wire(INT16, default=0)
    member_assignment: bytes = wire(BYTES, default=b"")


async def handle(context: RequestContext, request: SyncGroupRequest) -> SyncGroupResponse:
    """Hand in or wait for the assignment."""
    context.require_group(request.group_id)
    answer: asyncio.Future[SyncResult] = asyncio.get_running_loop().create_future()

    def reply(result: SyncResult) -> None:
        if not answer.done():
            answer.set_result(result)

    context.broker.groups.sync(
        request.group_id,
        request.member_id,
        request.generation_id,
        assignments={each.member_id: each.member_assignment for each in request.group_assignment},
        reply=reply,
    )
    result = await answer
    return SyncGroupResponse(error_code=result.error_code, member_assignment=result.assignment)


def error(version: int, request: SyncGroupRequest, code: ErrorCode, message: str | None = None) -> SyncGroupResponse:
    """Answer with `code`."""
    return SyncGroupResponse(error_code=code)
