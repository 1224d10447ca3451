"""Data consumption: each group of a channel, how far it has come, who reads and who stands by."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from starlette.routing import Route

from broker.console.pages.base import view
from broker.console.pages.settings import shown
from broker.console.rendering import page_call
from broker.group_rules import GROUPS_PER_CHANNEL_MAX

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

MEMBERS_SHOWN: Final = 5


async def consume(request: Request) -> Response:
    """The groups; those of a channel that shows nothing yet are none."""
    channel = await shown(request)
    groups = (await page_call(request, "list_groups", {"channel_id": channel.id})).groups
    return view(
        request,
        "consume.html",
        parts={"groups": "consume_groups.html"},
        channel=channel,
        tab="consume",
        groups=groups,
        groups_max=GROUPS_PER_CHANNEL_MAX,
        members_shown=MEMBERS_SHOWN,
    )


ROUTES: Final = (Route("/channels/{channel_id}/consume", consume),)
