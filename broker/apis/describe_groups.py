"""DescribeGroups (key 15, v0-v1): the state and the members of groups.

An unknown group is Dead with error 0; one that is not the principal's own gets INVALID_GROUP_ID; 15 while shutting
down. Protocol, metadata and assignments are told only while Stable. client_host is written as Java's InetAddress prints
it: `/127.0.0.1`. v1: throttle_time_ms.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.errors import ErrorCode
from broker.group import GroupState
from broker.wire import BYTES, INT16, INT32, STRING, Array, Message, wire

if TYPE_CHECKING:
    from broker.context import RequestContext


class DescribeGroupsRequest(Message):
    """The groups asked for."""

    group_ids: list[str] = wire(Array(STRING))


class DescribedMember(Message):
    """A member."""

    member_id: str = wire(STRING)
    client_id: str = wire(STRING)
    client_host: str = wire(STRING)
    member_metadata: bytes = wire(BYTES)
    member_assignment: bytes = wire(BYTES)


class DescribedGroup(Message):
    """A group."""

    error_code: int = wire(INT16, default=0)
    group_id: str = wire(STRING)
    state: str = wire(STRING, default="")
    protocol_type: str = wire(STRING, default="")
    protocol: str = wire(STRING, default="")
    members: list[DescribedMember] = wire(Array(DescribedMember), default=[])


class DescribeGroupsResponse(Message):
    """The groups."""

    throttle_time_ms: int = wire(INT32, since=1, default=0)
    groups: list[DescribedGroup] = wire(Array(DescribedGroup))


def handle(context: RequestContext, request: DescribeGroupsRequest) -> DescribeGroupsResponse:
    """Describe each group asked for, once: its members make the answer far larger than the question."""
    return DescribeGroupsResponse(
        groups=[_describe(context, group_id) for group_id in dict.fromkeys(request.group_ids)]
    )


def _describe(context: RequestContext, group_id: str) -> DescribedGroup:
    if not context.may_use_group(group_id):
        return DescribedGroup(error_code=ErrorCode.INVALID_GROUP_ID, group_id=group_id)
    if not context.broker.groups.is_active:
        return DescribedGroup(error_code=ErrorCode.COORDINATOR_NOT_AVAILABLE, group_id=group_id)
    group = context.broker.groups.describe(group_id)
    if group is None:
        return DescribedGroup(group_id=group_id, state=GroupState.DEAD.value)
    return DescribedGroup(
        group_id=group_id,
        state=group.state.value,
        protocol_type=group.protocol_type,
        protocol=group.protocol,
        members=[
            DescribedMember(
                member_id=member.member_id,
                client_id=member.client_id,
                client_host=f"/{member.client_host}",
                member_metadata=member.metadata,
                member_assignment=member.assignment,
            )
            for member in group.members
        ],
    )


def error(
    version: int, request: DescribeGroupsRequest, code: ErrorCode, message: str | None = None
) -> DescribeGroupsResponse:
    """Answer every group with `code`."""
    return DescribeGroupsResponse(
        groups=[DescribedGroup(error_code=code, group_id=group_id) for group_id in request.group_ids]
    )
