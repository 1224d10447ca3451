"""The REST interface: one route per operation, below `/api/v1`.

Fields of the path and, of GET and DELETE, of the query are text and read as what the operation's arguments want; other
methods have a JSON object as their body. An answer is the operation's result as JSON, a refusal
`{"error": "one sentence", "refusal": "…", "field": … , "details": …}` with the status of `HTTP_STATUS`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec
from starlette.responses import Response
from starlette.routing import Route

from broker.console.access import access_of
from broker.operations.operation import HTTP_STATUS, OperationError, Refusal, builtins, call, refusal_document
from broker.operations.table import OPERATIONS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request

    from broker.operations.operation import Operation

PREFIX: Final = "/api/v1"
WITHOUT_BODY: Final = ("GET", "DELETE")


def routes() -> list[Route]:
    """The routes of all operations, and of their description. Fixed paths come before those with a name in them."""
    ordered = sorted(OPERATIONS, key=lambda each: [step.startswith("{") for step in each.path.split("/")])
    return [Route(PREFIX + each.path, _endpoint(each), methods=[each.method], name=each.name) for each in ordered]


def _endpoint(operation: Operation) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        given: dict[str, Any] = dict(request.query_params) if operation.method in WITHOUT_BODY else await _body(request)
        given |= request.path_params
        caller = access_of(request).caller("api")
        result = await call(request.app.state.plane, operation, given, caller, typed=False)
        return json_response(builtins(result))

    return answer


async def _body(request: Request) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(await request.body() or b"{}")
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise OperationError(Refusal.INVALID, f"the body is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise OperationError(Refusal.INVALID, "the body is not a JSON object")
    return found


def json_response(document: Any, status: int = 200) -> Response:
    """A document as JSON."""
    return Response(msgspec.json.encode(document), status, media_type="application/json")


def refused(error: OperationError) -> Response:
    """The answer for what was refused."""
    return json_response(refusal_document(error), HTTP_STATUS[error.refusal])
