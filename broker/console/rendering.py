"""What pages are made with: templates, static files, the fields of a form, and calls of operations.

A page is `async def page(request) -> Response` with a `Route` in `broker.console.pages.ROUTES`. It reaches the server
by `page_call` alone, in process, and answers with `render`. What an operation refuses may be caught and shown in the
form (`OperationError.field` names the input) or left to `application.py`, which shows it as a page of its own.

Invariants: whatever a template puts out is escaped; a template that uses an unknown name fails; a form's fields are
text, at most `FIELDS_MAX` of them.
"""

from __future__ import annotations

import asyncio
import hashlib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import Response

from broker.console.access import access_of
from broker.console.slices import SlicedResponse
from broker.operations.operation import OperationError, Refusal, call
from broker.operations.table import BY_NAME

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request

    from broker.operations.operation import Caller
    from broker.operations.plane import ControlPlane

FOLDER: Final = Path(__file__).parent
FIELDS_MAX: Final = 20_000
HTML: Final = "text/html; charset=utf-8"
STATIC_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/x-icon",
    ".json": "application/json",
    ".txt": "text/plain; charset=utf-8",
    ".woff2": "font/woff2",
}
_FOR_GOOD: Final = "public, max-age=31536000, immutable"

environment: Final = Environment(
    loader=FileSystemLoader(FOLDER / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    auto_reload=False,
    trim_blocks=True,
    lstrip_blocks=True,
)


def plane_of(request: Request) -> ControlPlane:
    """The parts that operations work on."""
    plane: ControlPlane = request.app.state.plane
    return plane


def caller_of(request: Request) -> Caller:
    """Who asks, by the console."""
    return access_of(request).caller("console")


async def page_call(request: Request, name: str, given: Mapping[str, Any] | None = None) -> Any:
    """Do the operation `name` for a page; values that are text are taken as what its arguments want.

    Raises OperationError.
    """
    return await call(plane_of(request), BY_NAME[name], given or {}, caller_of(request), typed=False)


def render(request: Request, template: str, status: int = 200, **values: Any) -> Response:
    """A page or a fragment of one, from `templates/`. Templates have `request`, `status`, `csrf_token` and
    `static(name)` too.
    """
    found = environment.get_template(template)
    values |= {"request": request, "status": status, "csrf_token": access_of(request).csrf_token, "static": static_url}
    return SlicedResponse(lambda: (piece.encode() for piece in found.generate(values)), status, HTML)


async def form_of(request: Request) -> dict[str, str]:
    """The fields of a form, the last of each name, without its token. Raises OperationError."""
    return dict(await form_pairs(request))


async def form_pairs(request: Request) -> list[tuple[str, str]]:
    """The fields of a form in their order, those with several values too, without its token. Raises OperationError."""
    return [(name, value) for name, value in await _fields(request) if name != "csrf_token"]


async def _fields(request: Request) -> list[tuple[str, str]]:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise OperationError(Refusal.INVALID, "a form comes as application/x-www-form-urlencoded")
    try:
        text = (await request.body()).decode("utf-8")
        # A long one takes a while, which a thread can be interrupted in.
        return await asyncio.to_thread(
            parse_qsl, text, keep_blank_values=True, max_num_fields=FIELDS_MAX, errors="strict"
        )
    except ValueError:
        raise OperationError(
            Refusal.INVALID, "the form cannot be read: it is not UTF-8, or has too many fields"
        ) from None


def prepare() -> None:
    """Compile all templates and read all static files, so that no request waits for it."""
    for name in environment.list_templates():
        environment.get_template(name)
    _static_files()


# --- static files ---------------------------------------------------------------------------------------------------


@cache
def _static_files() -> dict[str, tuple[bytes, str]]:
    """All files below `static/` by their names, with what tells one version of each from another."""
    folder = FOLDER / "static"
    files = {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    return {name: (data, hashlib.sha256(data).hexdigest()[:16]) for name, data in files.items()}


def static_url(name: str) -> str:
    """The address of a static file, another one for every version; KeyError if there is no such file."""
    return f"/static/{name}?v={_static_files()[name][1]}"


async def static_file(request: Request) -> Response:
    """Serve one; what is asked for by its version is kept for good, other copies are asked about each time.

    The name is looked up among the files that there were at the start, so no name leads anywhere else.
    """
    name = request.path_params["name"]
    found = _static_files().get(name)
    if found is None:
        return Response("there is no such file\n", 404, media_type="text/plain")
    data, version = found
    headers = {
        "Cache-Control": _FOR_GOOD if request.query_params.get("v") == version else "no-cache",
        "ETag": f'"{version}"',
        "Content-Type": STATIC_TYPES.get(Path(name).suffix, "application/octet-stream"),
    }
    if request.headers.get("if-none-match") == headers["ETag"]:
        return Response(status_code=304, headers=headers)
    return Response(data, headers=headers)
