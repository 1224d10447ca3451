"""The list of channels, what a button in it does, and releasing: one channel or several, named before they go.

Left to others: what is allowed when (`operations` of each channel), what goes with a channel (`preview_release`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from starlette.routing import Route

from broker.console.pages.base import PAGE_SIZE, Failure, address, go, page_number, view
from broker.console.rendering import form_of, form_pairs, page_call
from broker.operations.operation import OperationError

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

_DONE: Final = {
    "start": ("start_channel", "started"),
    "precheck": ("precheck_channel", "prechecking"),
    "resume": ("resume_channel", "resumed"),
}
"""What a button asks for: the operation, and what is said when it was done."""


async def channels(request: Request) -> Response:
    """The list, filtered and paged."""
    search = request.query_params.get("search", "").strip()
    region = request.query_params.get("region", "")
    asked: dict[str, Any] = {"page": page_number(request), "page_size": PAGE_SIZE}
    asked |= {name: value for name, value in (("search", search), ("region", region)) if value}
    found = await page_call(request, "list_channels", asked)
    return view(
        request,
        "channels.html",
        parts={"list": "channels_list.html"},
        search=search,
        region=region,
        regions=found.regions,
        channels=found.channels,
        total=found.total,
        page=asked["page"],
        page_size=PAGE_SIZE,
    )


async def do(request: Request) -> Response:
    """A button: start, precheck or try again; leads to where it can be seen going on."""
    channel_id = request.path_params["channel_id"]
    operation, said = _DONE[request.url.path.rpartition("/")[2]]
    await page_call(request, operation, {"channel_id": channel_id})
    page = "setup" if (await form_of(request)).get("from") == "setup" else "settings"
    return go(request, address("channels", channel_id, page, said=said))


async def release(request: Request) -> Response:
    """One channel: what goes and what to take back; then, with its id typed, its end."""
    channel_id = request.path_params["channel_id"]
    failure = None
    if request.method == "POST":
        confirm = (await form_of(request)).get("confirm", "").strip()
        try:
            released = await page_call(request, "release_channel", {"channel_id": channel_id, "confirm": confirm})
            return view(request, "released.html", released=[released])
        except OperationError as error:
            failure = Failure.of(error)
    preview = await page_call(request, "preview_release", {"channel_id": channel_id})
    status = failure.status if failure else 200
    return view(
        request, "release.html", status, previews=[preview], word=channel_id, failure=failure, channel_ids=[channel_id]
    )


async def release_several(request: Request) -> Response:
    """Those chosen in the list, all named on one page."""
    is_post = request.method == "POST"
    pairs = await form_pairs(request) if is_post else request.query_params.multi_items()
    channel_ids = list(dict.fromkeys(value for name, value in pairs if name == "channel_ids"))
    failure = None
    if is_post and channel_ids:
        confirm = dict(pairs).get("confirm", "").strip()
        try:
            done = await page_call(request, "release_channels", {"channel_ids": channel_ids, "confirm": confirm})
            return view(request, "released.html", released=done.channels)
        except OperationError as error:
            failure = Failure.of(error)
    previews = [await page_call(request, "preview_release", {"channel_id": one}) for one in channel_ids]
    status = failure.status if failure else 200
    return view(
        request,
        "release.html",
        status,
        previews=previews,
        word=f"release {len(channel_ids)} channels",
        failure=failure,
        channel_ids=channel_ids,
    )


ROUTES: Final = (
    Route("/channels", channels),
    Route("/release", release_several, methods=["GET", "POST"]),
    Route("/channels/{channel_id}/release", release, methods=["GET", "POST"]),
    *(Route(f"/channels/{{channel_id}}/{action}", do, methods=["POST"]) for action in _DONE),
)
