"""ApiVersions (key 18, v0-v1): what the API table offers.

- A version above 1 is answered in the layout of v0 with UNSUPPORTED_VERSION (35) and an empty list; the connection
  stays open and the client asks again lower. Only key, version, correlation id and client id of such a request are
  read: they are where they always were, also in the flexible headers of v3 and later.
- Allowed before login, any number of times. librdkafka 0.9.5-1.3.0 sends four bytes of body where there should be
  none.
- v1: throttle_time_ms, last.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.errors import ErrorCode
from broker.wire import INT16, INT32, Array, Message, wire

if TYPE_CHECKING:
    from broker.context import RequestContext

KEY = 18


class ApiVersionsRequest(Message):
    """Nothing."""


class ApiVersion(Message):
    """An API and the versions served."""

    api_key: int = wire(INT16)
    min_version: int = wire(INT16)
    max_version: int = wire(INT16)


class ApiVersionsResponse(Message):
    """Every API of the table, in order of their keys."""

    error_code: int = wire(INT16, default=0)
    api_versions: list[ApiVersion] = wire(Array(ApiVersion))
    throttle_time_ms: int = wire(INT32, since=1, default=0)


def handle(context: RequestContext, request: ApiVersionsRequest) -> ApiVersionsResponse:
    """List the table."""
    from broker.apis import APIS, SERVICE_APIS  # the table's rows name this module

    apis = SERVICE_APIS if context.session.listener.dts_quirks else APIS
    return ApiVersionsResponse(
        api_versions=[
            ApiVersion(api_key=api.key, min_version=api.min_version, max_version=api.max_version)
            for api in apis.values()
        ]
    )


def error(
    version: int, request: ApiVersionsRequest, code: ErrorCode, message: str | None = None
) -> ApiVersionsResponse:
    """Answer with `code` and no list."""
    return ApiVersionsResponse(error_code=code, api_versions=[])


def unsupported_version() -> ApiVersionsResponse:
    """Answer a version that is not served; written in the layout of v0."""
    return ApiVersionsResponse(error_code=ErrorCode.UNSUPPORTED_VERSION, api_versions=[])
