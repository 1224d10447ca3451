"""The audit log: every change that was asked for, by whom, from where, and what came of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from msgspec import json
from starlette.responses import Response
from starlette.routing import Route

from broker.console.pages.base import view
from broker.console.rendering import environment, page_call

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from starlette.requests import Request

    from broker.operations.server import AuditList

SEARCH_CHARACTERS_MAX: Final = 200
ID_DIGITS_MAX: Final = 18


def told(arguments: Mapping[str, Any], within: str = "") -> Iterator[tuple[str, str]]:
    """What an operation was told, by its names: what was left out or empty is not there."""
    for name, value in arguments.items():
        if isinstance(value, dict):
            yield from told(value, f"{within}{name}.")
        elif value not in (None, "", [], ()):
            yield f"{within}{name}", value if isinstance(value, str) else json.encode(value).decode()


environment.filters["told"] = told


async def audit(request: Request) -> Response:
    """A page of entries, newest first."""
    query = request.query_params
    before, search = query.get("before", ""), query.get("search", "")[:SEARCH_CHARACTERS_MAX]
    given: dict[str, Any] = {"search": search}
    is_first = not (before.isascii() and before.isdigit() and 0 < len(before) <= ID_DIGITS_MAX and int(before))
    if not is_first:
        given["before_id"] = int(before)
    found: AuditList = await page_call(request, "list_audit", given)
    return view(request, "audit.html", found=found, search=search, is_first=is_first)


ROUTES: Final = (Route("/audit", audit),)
