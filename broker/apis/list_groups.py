"""ListGroups (key 16, v0-v1): the groups that have members or commits, of those that the client may use. v1:
throttle_time_ms.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.errors import ErrorCode
from broker.wire import INT16, INT32, STRING, Array, Message, wire

if TYPE_CHECKING:
    from broker.context import RequestContext


class ListGroupsRequest(Message):
    """All groups."""


class ListedGroup(Message):
    """A group; its protocol type is "" while nobody ever joined it."""

    group_id: str = wire(STRING)
    protocol_type: str = wire(STRING)


class ListGroupsResponse(Message):
    """The groups."""

    throttle_time_ms: int = wire(INT32, since=1, default=0)
    error_code: int = wire(INT16, default=0)
    groups: list[ListedGroup] = wire(Array(ListedGroup))


def handle(context: RequestContext, request: ListGroupsRequest) -> ListGroupsResponse:
    """List; 15 while shutting down."""
    if not context.broker.groups.is_active:
        return error(context.api_version, request, ErrorCode.COORDINATOR_NOT_AVAILABLE)
    return ListGroupsResponse(
        groups=[
            ListedGroup(group_id=group_id, protocol_type=protocol_type)
            for group_id, protocol_type in context.broker.groups.list_groups()
            if context.may_use_group(group_id)
        ]
    )


def error(version: int, request: ListGroupsRequest, code: ErrorCode, message: str | None = None) -> ListGroupsResponse:
    """Answer with `code`."""
    return ListGroupsResponse(error_code=code, groups=[])
