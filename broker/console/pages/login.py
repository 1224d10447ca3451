"""In and out of the console.

Left to others: what a session is, whether the password is right, how often one may try (`access.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec.structs import replace
from starlette.responses import RedirectResponse
from starlette.routing import Route

from broker.console.access import access_of, local_target
from broker.console.pages.base import Failure, address, view
from broker.console.rendering import form_of
from broker.operations.operation import OperationError, Refusal

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response


async def login(request: Request) -> Response:
    """Ask for the password, or begin a session and lead to what was asked for before."""
    access = access_of(request)
    target, failure = local_target(request.query_params.get("next", "/")), None
    if request.method == "POST":
        form = await form_of(request)
        target = local_target(form.get("next", "/"))
        try:
            await access.sign_in(form.get("password", ""))
            return RedirectResponse(target, 303)
        except OperationError as error:
            failure = Failure.of(error)
            if error.refusal is Refusal.UNAUTHENTICATED:
                failure = replace(failure, title_key="login.wrong")
    elif not access.needs_login or access.is_signed_in:
        return RedirectResponse(target, 303)
    return view(request, "login.html", failure.status if failure else 200, failure=failure, target=target, bare=True)


async def logout(request: Request) -> Response:
    """End the session."""
    await access_of(request).sign_out()
    return RedirectResponse(address("login", said="logged_out"), 303)


ROUTES: Final = (
    Route("/login", login, methods=["GET", "POST"]),
    Route("/logout", logout, methods=["POST"]),
)
