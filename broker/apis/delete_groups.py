"""DeleteGroups (key 42, v0): forget the commits of a group that has no members.

The configured group and its login stay; that is configuration, not the coordinator's. 68 with members, 69 unknown.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.errors import ErrorCode
from broker.wire import INT16, INT32, STRING, Array, Message, wire

if TYPE_CHECKING:
    from broker.context import RequestContext


class DeleteGroupsRequest(Message):
    """The groups to delete."""

    groups: list[str] = wire(Array(STRING))


class GroupErrorCode(Message):
    """Whether a group is deleted."""

    group_id: str = wire(STRING)
    error_code: int = wire(INT16, default=0)


class DeleteGroupsResponse(Message):
    """Which groups are deleted."""

    throttle_time_ms: int = wire(INT32, default=0)
    group_error_codes: list[GroupErrorCode] = wire(Array(GroupErrorCode))


async def handle(context: RequestContext, request: DeleteGroupsRequest) -> DeleteGroupsResponse:
    """Delete each; answered when durable."""
    codes = []
    for group_id in dict.fromkeys(request.groups):
        code = ErrorCode.INVALID_GROUP_ID
        if context.may_use_group(group_id):
            code = context.broker.groups.delete(group_id)
            if not code:
                await context.broker.offsets.delete(group_id)
        codes.append(GroupErrorCode(group_id=group_id, error_code=code))
    return DeleteGroupsResponse(group_error_codes=codes)


def error(
    version: int, request: DeleteGroupsRequest, code: ErrorCode, message: str | None = None
) -> DeleteGroupsResponse:
    """Answer every group with `code`."""
    return DeleteGroupsResponse(
        group_error_codes=[GroupErrorCode(group_id=group_id, error_code=code) for group_id in request.groups]
    )
