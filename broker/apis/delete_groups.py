"""DeleteGroups (key 42, v0): forget the commits of a group that has no members.

The configured group and its login stay; that is configuration, not the coordinator's. 68 with members, 69 unknown; 15
if the catalog cannot be written, and then the commits stand.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from broker.errors import ErrorCode
from broker.wire import INT16, INT32, STRING, Array, Message, wire
from storage.errors import StorageError

if TYPE_CHECKING:
    from broker.context import RequestContext

_log = logging.getLogger(__name__)


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
    codes = [
        GroupErrorCode(group_id=group_id, error_code=await _delete(context, group_id))
        for group_id in dict.fromkeys(request.groups)
    ]
    return DeleteGroupsResponse(group_error_codes=codes)


async def _delete(context: RequestContext, group_id: str) -> ErrorCode:
    if not context.may_use_group(group_id):
        return ErrorCode.INVALID_GROUP_ID
    code = context.broker.groups.delete(group_id)
    if code:
        return code
    try:
        await context.broker.offsets.delete(group_id)
    except StorageError as error:
        _log.error("the commits of group %s are not deleted: %s", group_id, error)
        return ErrorCode.COORDINATOR_NOT_AVAILABLE
    return ErrorCode.NONE


def error(
    version: int, request: DeleteGroupsRequest, code: ErrorCode, message: str | None = None
) -> DeleteGroupsResponse:
    """Answer every group with `code`."""
    return DeleteGroupsResponse(
        group_error_codes=[GroupErrorCode(group_id=group_id, error_code=code) for group_id in request.groups]
    )
