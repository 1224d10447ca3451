"""DescribeAcls (key 29, v0): answered SECURITY_DISABLED (54), as by a Kafka 1.1 without authorizer. There are no ACLs
to show.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.errors import ErrorCode
from broker.wire import INT8, INT16, INT32, NULLABLE_STRING, STRING, Array, Message, wire

if TYPE_CHECKING:
    from broker.context import RequestContext

REASON = "access follows from the consumer group a client logs in for; there are no ACLs"


class DescribeAclsRequest(Message):
    """A filter of ACLs."""

    resource_type: int = wire(INT8)
    resource_name: str | None = wire(NULLABLE_STRING)
    principal: str | None = wire(NULLABLE_STRING)
    host: str | None = wire(NULLABLE_STRING)
    operation: int = wire(INT8)
    permission_type: int = wire(INT8)


class Acl(Message):
    """An ACL."""

    principal: str = wire(STRING)
    host: str = wire(STRING)
    operation: int = wire(INT8)
    permission_type: int = wire(INT8)


class AclResource(Message):
    """A resource and its ACLs."""

    resource_type: int = wire(INT8)
    resource_name: str = wire(STRING)
    acls: list[Acl] = wire(Array(Acl))


class DescribeAclsResponse(Message):
    """The ACLs: none."""

    throttle_time_ms: int = wire(INT32, default=0)
    error_code: int = wire(INT16)
    error_message: str | None = wire(NULLABLE_STRING, default=None)
    resources: list[AclResource] = wire(Array(AclResource), default=[])


def handle(context: RequestContext, request: DescribeAclsRequest) -> DescribeAclsResponse:
    """Refuse."""
    return error(context.api_version, request, ErrorCode.SECURITY_DISABLED, REASON)


def error(
    version: int, request: DescribeAclsRequest, code: ErrorCode, message: str | None = None
) -> DescribeAclsResponse:
    """Answer with `code`."""
    return DescribeAclsResponse(error_code=code, error_message=message)
