"""JoinGroup (key 11, v0-v2): become a member; answered when the rebalance is complete, which may be minutes.

Only the leader is told the members and their metadata. A member without id gets one here. If the connection of a
first join closes while it is parked, the member is dropped: nobody would ever learn its id. v1: rebalance_timeout
(v0: the session timeout stands for it); v2: throttle_time_ms.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from broker.group import JoinResult, MemberProtocol
from broker.wire import BYTES, INT16, INT32, STRING, Array, Message, wire

if TYPE_CHECKING:
    from broker.context import RequestContext
    from broker.errors import ErrorCode


class GroupProtocol(Message):
    """An assignment strategy that the member supports, and what it says to the leader about it."""

    protocol_name: str = wire(STRING)
    protocol_metadata: bytes = wire(BYTES)


class JoinGroupRequest(Message):
    """A member that joins or rejoins."""

    group_id: str = wire(STRING)
    session_timeout: int = wire(INT32)
    rebalance_timeout: int | None = wire(INT32, since=1, default=None)
    member_id: str = wire(STRING)
    protocol_type: str = wire(STRING)
    group_protocols: list[GroupProtocol] = wire(Array(GroupProtocol))


class JoinGroupMember(Message):
    """A member, as the leader sees it."""

    member_id: str = wire(STRING)
    member_metadata: bytes = wire(BYTES)


class JoinGroupResponse(Message):
    """The generation joined."""

    throttle_time_ms: int = wire(INT32, since=2, default=0)
    error_code: int = wire(INT16, default=0)
    generation_id: int = wire(INT32)
    group_protocol: str = wire(STRING)
    leader_id: str = wire(STRING)
    member_id: str = wire(STRING)
    members: list[JoinGroupMember] = wire(Array(JoinGroupMember))


async def handle(context: RequestContext, request: JoinGroupRequest) -> JoinGroupResponse:
    """Join, and wait for the rebalance."""
    context.require_group(request.group_id)
    answer: asyncio.Future[JoinResult] = asyncio.get_running_loop().create_future()

    def reply(result: JoinResult) -> None:
        if not answer.done():
            answer.set_result(result)

    rebalance_ms = request.session_timeout if request.rebalance_timeout is None else request.rebalance_timeout
    context.broker.groups.join(
        request.group_id,
        request.member_id,
        client_id=context.client_id or "",
        client_host=context.session.client_host,
        session_ms=request.session_timeout,
        rebalance_ms=rebalance_ms,
        protocol_type=request.protocol_type,
        protocols=[MemberProtocol(each.protocol_name, each.protocol_metadata) for each in request.group_protocols],
        reply=reply,
    )
    try:
        result = await answer
    except asyncio.CancelledError:
        context.broker.groups.abandon_join(request.group_id, reply)
        raise
    return JoinGroupResponse(
        error_code=result.error_code,
        generation_id=result.generation_id,
        group_protocol=result.protocol,
        leader_id=result.leader_id,
        member_id=result.member_id,
        members=[JoinGroupMember(member_id=member_id, member_metadata=data) for member_id, data in result.members],
    )


def error(version: int, request: JoinGroupRequest, code: ErrorCode, message: str | None = None) -> JoinGroupResponse:
    """Answer with `code`, the member id echoed."""
    return JoinGroupResponse(
        error_code=code, generation_id=-1, group_protocol="", leader_id="", member_id=request.member_id, members=[]
    )
