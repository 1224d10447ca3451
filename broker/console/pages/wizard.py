"""From nothing to a running channel: source, objects, precheck, start; and the account to read the source with.

    /create                    where the source is and how to get in; it is asked for its databases before this is left
    /create/account            makes the least-privileged account from an administrator's credentials
    /create/{draft}/objects    what is tracked, and the channel's name; this makes the channel, which prechecks itself
    /channels/{id}/setup       the precheck, and the start, as they go on

What is entered on the first page is kept as a draft in this process until the channel is made, `DRAFT_LIFE_MS` at most:
so no password is ever written into a page. An administrator's credentials serve their one call and are in no draft.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct
from msgspec.structs import replace
from starlette.responses import RedirectResponse
from starlette.routing import Route

from broker.config import Secret
from broker.console import texts
from broker.console.access import access_of
from broker.console.pages.base import Failure, address, go, language_of, view
from broker.console.pages.settings import shown, tables_of
from broker.console.rendering import form_of, form_pairs, page_call, plane_of
from broker.operations.operation import OperationError, Refusal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request
    from starlette.responses import Response

DRAFTS_MAX: Final = 64
DRAFT_LIFE_MS: Final = 3_600_000
SOURCE_FIELDS: Final = ("kind", "host", "port", "username", "tls", "tls_ca", "tls_cert", "tls_key")
_EMPTY_SOURCE: Final = {**dict.fromkeys(SOURCE_FIELDS, ""), "kind": "mysql", "port": "3306", "tls": "preferred"}

_TICKED: Final = {"objects": "wizard.no_objects", "data_types": "wizard.no_data_types"}
"""What is chosen by ticks, and what is said where there is none: no tick is a choice, not the usual one."""


class Draft(Struct, frozen=True):
    """A source that somebody entered, and who: nobody else is led on with it."""

    by: str
    source: dict[str, str]
    password: Secret
    made_ms: int

    def arguments(self) -> dict[str, Any]:
        """The source as an operation takes it."""
        return {**self.source, "password": self.password.reveal()}


class Drafts:
    """The drafts of this process by unguessable keys; the oldest goes when there are too many."""

    def __init__(self) -> None:
        self._drafts: dict[str, Draft] = {}

    def keep(self, draft: Draft) -> str:
        while len(self._drafts) >= DRAFTS_MAX:
            del self._drafts[next(iter(self._drafts))]
        key = secrets.token_urlsafe(18)
        self._drafts[key] = draft
        return key

    def find(self, key: str, by: str, monotonic_ms: int) -> Draft | None:
        draft = self._drafts.get(key)
        if draft is None or draft.by != by:
            return None
        if monotonic_ms - draft.made_ms > DRAFT_LIFE_MS:
            del self._drafts[key]
            return None
        return draft

    def take(self, key: str) -> None:
        """Nobody finds it from now on: who sends its form twice makes one channel."""
        self._drafts.pop(key, None)

    def put_back(self, key: str, draft: Draft) -> None:
        self._drafts[key] = draft


def _drafts(request: Request) -> Drafts:
    state = request.app.state
    if not hasattr(state, "drafts"):
        state.drafts = Drafts()
    drafts: Drafts = state.drafts
    return drafts


def _keep(request: Request, source: dict[str, str], password: Secret) -> str:
    """A draft of this source; its key."""
    made_ms = plane_of(request).clock.monotonic_ms()
    return _drafts(request).keep(Draft(access_of(request).name, source, password, made_ms))


def _found(request: Request, key: str) -> Draft | None:
    return _drafts(request).find(key, access_of(request).name, plane_of(request).clock.monotonic_ms())


def _of_path(request: Request) -> tuple[str, Draft]:
    """The draft that the address names. Raises OperationError."""
    key = request.path_params["draft"]
    draft = _found(request, key)
    if draft is None:
        raise OperationError(
            Refusal.NOT_FOUND, "what was entered for this channel is kept for an hour and is gone; begin again"
        )
    return key, draft


# --- the source -----------------------------------------------------------------------------------------------------


async def source(request: Request) -> Response:
    """The first page: an address and a login that are tried before they are left."""
    earlier = _found(request, request.query_params.get("draft", ""))
    given, failure = (earlier.source if earlier else _EMPTY_SOURCE), None
    if request.method == "POST":
        form = await form_of(request)
        earlier = _found(request, form.get("draft", ""))
        given = {name: form.get(name, "").strip() for name in SOURCE_FIELDS}
        password = Secret(form.get("password", ""))
        if earlier is not None and not password.reveal():
            password = earlier.password
        try:
            await page_call(request, "list_databases", {"source": {**given, "password": password.reveal()}})
            return go(request, address("create", _keep(request, given, password), "objects"))
        except OperationError as error:
            failure = Failure.of_part(error)
    return view(
        request,
        "create_source.html",
        failure.status if failure else 200,
        given=given,
        failure=failure,
        draft=request.query_params.get("draft", "") if earlier else "",
    )


async def account(request: Request) -> Response:
    """Make the account: shown first as statements, then done, both with the credentials of this one request."""
    given, plan, failure = dict(_EMPTY_SOURCE), None, None
    given |= {"administrator": "", "username": "binwire"}
    if request.method == "POST":
        form = await form_of(request)
        given = {name: form.get(name, "").strip() for name in (*SOURCE_FIELDS, "administrator")}
        password = Secret(form.get("password", ""))
        source = {name: given[name] for name in SOURCE_FIELDS}
        asked: dict[str, Any] = {
            "source": {**source, "password": password.reveal()},
            "administrator": {"username": given["administrator"], "password": form.get("administrator_password", "")},
        }
        try:
            if form.get("step") == "create":
                await page_call(request, "create_account", asked)
                return go(request, address("create", _keep(request, source, password), "objects"))
            plan = await page_call(request, "preview_account", asked)
        except OperationError as error:
            failure = Failure.of_part(error)
    template = "create_account_plan.html" if request.headers.get("hx-target") == "plan" else "create_account.html"
    return view(request, template, failure.status if failure else 200, given=given, plan=plan, failure=failure)


# --- objects --------------------------------------------------------------------------------------------------------


async def objects(request: Request) -> Response:
    """The second page: what is tracked. Makes the channel."""
    key, draft = _of_path(request)
    given: dict[str, Any] = {"name": "", "region": "", "instance_id": "", "data_types": ["dml", "ddl"]}
    given["objects"] = request.query_params.getlist("objects")
    failure = None
    if request.method == "POST":
        pairs = await form_pairs(request)
        single = dict(pairs)
        given = {name: single.get(name, "").strip() for name in ("name", "region", "instance_id")}
        given |= {which: list(dict.fromkeys(value for name, value in pairs if name == which)) for which in _TICKED}
        asked = {name: value for name, value in given.items() if value or name in _TICKED}
        _drafts(request).take(key)
        try:
            channel = await page_call(request, "create_channel", {**asked, "source": draft.arguments()})
            return go(request, address("channels", channel.id, "setup"))
        except OperationError as error:
            _drafts(request).put_back(key, draft)
            failure = _unchosen(request, given, Failure.of(error))
    search = request.query_params.get("search", "").strip()
    found = await page_call(request, "list_databases", {"source": draft.arguments(), "search": search})
    return view(
        request,
        "create_objects.html",
        failure.status if failure else 200,
        parts={"databases": "create_databases.html"},
        draft=key,
        source=draft.source,
        given=given,
        found=found,
        search=search,
        tables_path=address("create", key, "tables"),
        tracked=(),
        failure=failure,
    )


def _unchosen(request: Request, given: Mapping[str, Any], failure: Failure) -> Failure:
    """The failure in words of the page where nothing was ticked, which the operation tells as an empty list."""
    if failure.field in _TICKED and not given[failure.field]:
        return replace(failure, sentence=texts.t(_TICKED[failure.field], language=language_of(request)))
    return failure


async def tables(request: Request) -> Response:
    """A page of a database's tables, for the place below its name."""
    _, draft = _of_path(request)
    return await tables_of(request, {"source": draft.arguments()}, ())


# --- precheck and start ---------------------------------------------------------------------------------------------


async def setup(request: Request) -> Response:
    """The last page: what the precheck found, the start, and how far it is."""
    channel = await shown(request)
    return view(request, "setup.html", parts={"setup": "setup_live.html"}, channel=channel)


async def begin(request: Request) -> Response:
    """A draft's address without a page."""
    return RedirectResponse(address("create", request.path_params["draft"], "objects"), 307)


ROUTES: Final = (
    Route("/create", source, methods=["GET", "POST"]),
    Route("/create/account", account, methods=["GET", "POST"]),
    Route("/create/{draft}", begin),
    Route("/create/{draft}/objects", objects, methods=["GET", "POST"]),
    Route("/create/{draft}/tables", tables),
    Route("/channels/{channel_id}/setup", setup),
)
