"""The REST interface: one route per operation, below `/api/v1`.

Fields of the path and, of GET and DELETE, of the query are text and read as what the operation's arguments want; a
list is given by its name again and again. Other methods have a JSON object as their body. An answer is the operation's
result as JSON, a refusal `{"error": "one sentence", "refusal": "…", "field": …, "details": …}` with the status of
`HTTP_STATUS`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, get_origin, get_type_hints

import msgspec
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.routing import Route

from broker.console.access import access_of
from broker.console.slices import JSON, DownloadResponse, SlicedResponse
from broker.operations.operation import (
    HTTP_STATUS,
    Download,
    OperationError,
    Refusal,
    call,
    encoded,
    read_text,
    refusal_document,
)
from broker.operations.table import OPERATIONS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from starlette.requests import Request

    from broker.operations.operation import Operation

PREFIX: Final = "/api/v1"
WITHOUT_BODY: Final = ("GET", "DELETE")


def routes() -> list[Route]:
    """The routes of all operations. Fixed paths come before those with a name in their place."""
    ordered = sorted(OPERATIONS, key=lambda each: [step.startswith("{") for step in each.path.split("/")])
    return [Route(PREFIX + each.path, _endpoint(each), methods=[each.method], name=each.name) for each in ordered]


def _endpoint(operation: Operation) -> Callable[[Request], Awaitable[Response]]:
    kinds = get_type_hints(operation.arguments)
    lists = {name for name, kind in kinds.items() if _is_list(kind)}

    async def answer(request: Request) -> Response:
        texts: dict[str, Any] = {}
        given: Mapping[str, Any] = {}
        if operation.method in WITHOUT_BODY:
            for name, value in request.query_params.multi_items():
                if name in lists:
                    texts.setdefault(name, []).append(value)
                elif name in texts:
                    raise OperationError(Refusal.INVALID, f"{name}: found more than once", field=name)
                else:
                    texts[name] = value
        else:
            given = await _body(request)
        texts |= request.path_params
        read = {name: read_text(name, kinds[name], text) if name in kinds else text for name, text in texts.items()}
        caller = access_of(request).caller("api")
        result = await call(request.app.state.plane, operation, {**given, **read}, caller)
        return DownloadResponse(result) if isinstance(result, Download) else SlicedResponse(lambda: encoded(result))

    return answer


def _is_list(kind: Any) -> bool:
    return get_origin(kind) in (list, tuple, set, frozenset)


async def _body(request: Request) -> Mapping[str, Any]:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != JSON:
        raise OperationError(Refusal.UNSUPPORTED_TYPE, f"the body is JSON, sent as Content-Type: {JSON}")
    try:
        body = await request.body()
    except ClientDisconnect:
        raise OperationError(Refusal.INVALID, "the connection ended within the body") from None
    try:
        found = msgspec.json.decode(body or b"{}")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise OperationError(Refusal.INVALID, f"the body is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise OperationError(Refusal.INVALID, "the body is not a JSON object")
    return found


def json_response(document: Any, status: int = 200) -> Response:
    """A document as JSON."""
    return Response(msgspec.json.encode(document), status, media_type=JSON)


def refused(error: OperationError) -> Response:
    """The answer for what was refused."""
    return json_response(refusal_document(error), HTTP_STATUS[error.refusal])
