"""The ASGI application: REST, pages, static files, metrics and health, and how what goes wrong is told.

The order of routes: the API's description, the API, static files, metrics and health, pages. What an operation refuses
is JSON below `/api/` and a page elsewhere; a fault of ours is one line in the log with its traceback and one sentence
without it for who asked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from broker.console import rest
from broker.console.access import FAILED, Guard, access_of
from broker.console.openapi import description
from broker.console.pages import ROUTES as PAGES
from broker.console.probes import ROUTES as PROBES
from broker.console.rendering import environment, render, static_file
from broker.console.sessions import Sessions
from broker.console.slices import SlicedResponse
from broker.operations.operation import HTTP_STATUS, OperationError, Refusal, encoded

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import Scope

    from broker.console.keys import Keys
    from broker.operations.plane import ControlPlane

ERROR_TEMPLATE: Final = "error.html"
_REFUSALS: Final = {status: refusal for refusal, status in reversed(HTTP_STATUS.items())}


def make_application() -> Starlette:
    """The application; it is told by `make_guard` what operations work on, as `app.state.plane`."""
    app = Starlette(
        routes=[
            Route(f"{rest.PREFIX}/openapi.json", _description),
            *rest.routes(),
            Route("/static/{name:path}", static_file),
            *PROBES,
            *PAGES,
        ],
        exception_handlers={OperationError: _refused, HTTPException: _not_served, Exception: _failed},
    )
    app.router.redirect_slashes = False
    return app


def make_guard(app: Starlette, plane: ControlPlane, keys: Keys) -> Guard:
    """The application with what stands before it."""
    app.state.plane = plane
    return Guard(app, keys, Sessions(plane.clock), plane.audit_log, _refused_outside(app))


def _refused_outside(app: Starlette) -> Callable[[Scope, OperationError], Response]:
    """What makes the answer for a request that does not reach the application."""

    def refuse(scope: Scope, error: OperationError) -> Response:
        scope["app"] = app
        return _refusal(Request(scope), error)

    return refuse


async def _description(request: Request) -> Response:
    document = description(needs_token=access_of(request).needs_login)
    return SlicedResponse(lambda: encoded(document))


def _is_api(request: Request) -> bool:
    return request.url.path.startswith("/api/")


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, OperationError)
    return _refusal(request, error)


def _refusal(request: Request, error: OperationError) -> Response:
    if _is_api(request):
        return rest.refused(error)
    return _error_page(request, HTTP_STATUS[error.refusal], str(error))


async def _not_served(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    told = {
        404: f"there is nothing at {request.url.path}",
        405: f"{request.url.path} does not take {request.method}",
    }.get(error.status_code, error.detail)
    if _is_api(request):
        refusal = _REFUSALS.get(error.status_code, Refusal.INVALID)
        document: dict[str, Any] = {"error": told, "refusal": refusal.value, "field": None, "details": None}
        response = rest.json_response(document, error.status_code)
    else:
        response = _error_page(request, error.status_code, told)
    response.headers.update(error.headers or {})
    return response


async def _failed(request: Request, error: Exception) -> Response:
    if _is_api(request):
        return rest.json_response(
            {"error": FAILED, "refusal": Refusal.FAILED.value, "field": None, "details": None}, 500
        )
    return _error_page(request, 500, FAILED)


def _error_page(request: Request, status: int, sentence: str) -> Response:
    if ERROR_TEMPLATE in environment.list_templates():
        return render(request, ERROR_TEMPLATE, status, sentence=sentence)
    return PlainTextResponse(sentence + "\n", status)
