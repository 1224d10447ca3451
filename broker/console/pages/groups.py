"""Consumer groups as forms: create one, change its password, delete it for good.

What is typed as a password is never put out again: a form that comes back has its password fields empty.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from starlette.routing import Route

from broker.console.pages.base import Failure, address, go, view
from broker.console.pages.settings import shown
from broker.console.rendering import form_of, page_call
from broker.operations.operation import OperationError, Refusal

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from broker.control import ChannelView, GroupView

_NEW: Final = ("name", "username", "password", "password_again")
_CHANGED: Final = ("old_password", "password", "password_again")


async def create(request: Request) -> Response:
    """A new group with its login."""
    channel = await shown(request)
    given, failure = dict.fromkeys(_NEW, ""), None
    if request.method == "POST":
        form = await form_of(request)
        given = {name: form.get(name, "") for name in _NEW}
        failure = await _refused(request, "create_group", {"channel_id": channel.id, **given})
        if failure is None:
            return go(request, address("channels", channel.id, "consume", said="group_created"))
    return view(
        request,
        "group_form.html",
        failure.status if failure else 200,
        channel=channel,
        group=None,
        action=address("channels", channel.id, "create-group"),
        given={"name": given["name"], "username": given["username"]},
        failure=failure,
    )


async def password(request: Request) -> Response:
    """Another password for a group's login."""
    channel, group = await _group(request)
    failure = None
    if request.method == "POST":
        form = await form_of(request)
        given = {name: form.get(name, "") for name in _CHANGED}
        asked = {"channel_id": channel.id, "group_id": group.id, **given}
        failure = await _refused(request, "change_password", asked)
        if failure is None:
            return go(request, address("channels", channel.id, "consume", said="password_changed"))
    return view(
        request,
        "group_form.html",
        failure.status if failure else 200,
        channel=channel,
        group=group,
        action=address("channels", channel.id, "groups", group.id, "password"),
        failure=failure,
    )


async def delete(request: Request) -> Response:
    """The end of a group, with its id typed."""
    channel, group = await _group(request)
    failure = None
    if request.method == "POST":
        confirm = (await form_of(request)).get("confirm", "").strip()
        asked = {"channel_id": channel.id, "group_id": group.id, "confirm": confirm}
        failure = await _refused(request, "delete_group", asked)
        if failure is None:
            return go(request, address("channels", channel.id, "consume", said="group_deleted"))
    status = failure.status if failure else 200
    return view(request, "group_delete.html", status, channel=channel, group=group, failure=failure)


async def _group(request: Request) -> tuple[ChannelView, GroupView]:
    channel = await shown(request)
    group_id = request.path_params["group_id"]
    for group in (await page_call(request, "list_groups", {"channel_id": channel.id})).groups:
        if group.id == group_id:
            return channel, group
    raise OperationError(Refusal.NOT_FOUND, f"the channel {channel.id} has no consumer group {group_id!r}")


async def _refused(request: Request, operation: str, given: dict[str, Any]) -> Failure | None:
    try:
        await page_call(request, operation, given)
    except OperationError as error:
        return Failure.of(error)
    return None


ROUTES: Final = (
    Route("/channels/{channel_id}/create-group", create, methods=["GET", "POST"]),
    Route("/channels/{channel_id}/groups/{group_id}/password", password, methods=["GET", "POST"]),
    Route("/channels/{channel_id}/groups/{group_id}/delete", delete, methods=["GET", "POST"]),
)
