"""One channel: its settings and precheck, its name, its source, its objects."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from msgspec.structs import asdict
from starlette.responses import RedirectResponse
from starlette.routing import Route

from broker.console.pages.base import Failure, address, go, view
from broker.console.rendering import environment, form_of, form_pairs, page_call
from broker.operations.operation import OperationError

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from broker.control import ChannelView

CONSOLE: Final = "console"
"""The name of the console's own address among those of the server."""


_TABLE: Final = re.compile(r"(?:`(?:[^`]|``)+`|[^`.]+)\..")
"""An entry of `objects` that is a database and a table: names with a dot stand in backticks."""


async def shown(request: Request) -> ChannelView:
    """The channel that the address names. Raises OperationError."""
    channel: ChannelView = await page_call(request, "show_channel", {"channel_id": request.path_params["channel_id"]})
    return channel


async def front(request: Request) -> Response:
    """A channel's address without a page."""
    return RedirectResponse(address("channels", request.path_params["channel_id"], "settings"), 307)


async def settings(request: Request) -> Response:
    """Everything there is to know about a channel."""
    channel = await shown(request)
    server = await page_call(request, "show_server")
    listeners = [listener for listener in server.listeners if listener.name != CONSOLE]
    return view(
        request,
        "settings.html",
        parts={"settings": "settings_live.html"},
        channel=channel,
        tab="settings",
        listeners=listeners,
    )


async def rename(request: Request) -> Response:
    """Give a channel another name."""
    channel = await shown(request)
    name, failure = channel.name, None
    if request.method == "POST":
        name = (await form_of(request)).get("name", "").strip()
        try:
            await page_call(request, "rename_channel", {"channel_id": channel.id, "name": name})
            return go(request, address("channels", channel.id, "settings", said="renamed"))
        except OperationError as error:
            failure = Failure.of(error)
    status = failure.status if failure else 200
    return view(request, "rename.html", status, channel=channel, name=name, failure=failure)


async def source(request: Request) -> Response:
    """Where a channel reads from, to be changed; the password is never in the page."""
    channel = await shown(request)
    parts, failure = channel.source_parts, None
    given: dict[str, Any] = (
        {"url": channel.source} if parts is None else {name: value or "" for name, value in asdict(parts).items()}
    )
    if request.method == "POST":
        form = await form_of(request)
        given = {name: form.get(name, "").strip() for name in given}
        asked = given if parts is None else {**given, "password": form.get("password", "")}
        try:
            await page_call(request, "change_source", {"channel_id": channel.id, "source": asked})
            return go(request, address("channels", channel.id, "settings", said="source"))
        except OperationError as error:
            failure = Failure.of_part(error)
    status = failure.status if failure else 200
    return view(request, "source.html", status, channel=channel, given=given, failure=failure)


async def objects(request: Request) -> Response:
    """What is tracked; to change it, a form with what is tracked ticked and what else the source has."""
    channel = await shown(request)
    chosen, data_types, added = list(channel.objects), list(channel.data_types), ""
    failure = None
    if request.method == "POST":
        pairs = await form_pairs(request)
        chosen = [value for name, value in pairs if name == "objects"]
        data_types = [value for name, value in pairs if name == "data_types"]
        added = dict(pairs).get("added", "")
        wanted = list(dict.fromkeys(chosen + [line.strip() for line in added.splitlines() if line.strip()]))
        given: dict[str, Any] = {"channel_id": channel.id, "objects": wanted, "data_types": data_types}
        try:
            await page_call(request, "change_objects", given)
            return go(request, address("channels", channel.id, "objects", said="objects"))
        except OperationError as error:
            failure = Failure.of(error)
    return await _objects_page(request, channel, failure, chosen=chosen, data_types=data_types, added=added)


async def _objects_page(request: Request, channel: ChannelView, failure: Failure | None, **values: Any) -> Response:
    search = request.query_params.get("search", "").strip()
    found, unread = None, None
    if "change_objects" in channel.operations:
        try:
            found = await page_call(request, "list_databases", {"channel_id": channel.id, "search": search})
        except OperationError as error:
            # What is tracked can be looked at and changed by name while the source is away.
            unread = Failure.of(error)
    return view(
        request,
        "objects.html",
        failure.status if failure else 200,
        parts={"databases": "create_databases.html"} if found is not None else None,
        channel=channel,
        tab="objects",
        found=found,
        unread=unread,
        search=search,
        given={"objects": request.query_params.getlist("objects")},
        tracked=channel.objects,
        tables_path=address("channels", channel.id, "tables"),
        failure=failure,
        **values,
    )


async def tables(request: Request) -> Response:
    """A page of the tables of a database of the channel's source."""
    channel = await shown(request)
    return await tables_of(request, {"channel_id": channel.id}, channel.objects)


async def tables_of(request: Request, of: dict[str, Any], tracked: tuple[str, ...]) -> Response:
    """A database's tables to choose from; those `tracked` are told and not offered."""
    database = request.query_params.get("database", "")
    search = request.query_params.get("within", "").strip()
    found = await page_call(request, "list_tables", {**of, "databases": [database], "search": search})
    shown_objects = {table.object for table in found.tables}
    chosen = [
        text
        for text in request.query_params.getlist("objects")
        if text not in shown_objects and text not in tracked and _is_table_of(text, database)
    ]
    return view(
        request,
        "create_tables.html",
        tables_path=request.url.path,
        database=database,
        search=search,
        found=found,
        tracked=tracked,
        ticked=request.query_params.getlist("objects"),
        chosen=chosen,
    )


def _is_table_of(text: str, database: str) -> bool:
    """Whether this entry of `objects` is a table of the database."""
    entry = database if re.fullmatch("[^`.]+", database) else "`" + database.replace("`", "``") + "`"
    return text.startswith(f"{entry}.")


def _is_table(text: str) -> bool:
    """Whether this entry of `objects` is a table."""
    return _TABLE.match(text) is not None


environment.tests["table_object"] = _is_table


ROUTES: Final = (
    Route("/channels/{channel_id}", front),
    Route("/channels/{channel_id}/settings", settings),
    Route("/channels/{channel_id}/rename", rename, methods=["GET", "POST"]),
    Route("/channels/{channel_id}/source", source, methods=["GET", "POST"]),
    Route("/channels/{channel_id}/objects", objects, methods=["GET", "POST"]),
    Route("/channels/{channel_id}/tables", tables),
)
