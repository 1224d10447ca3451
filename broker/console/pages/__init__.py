"""The console's pages: one file per group of pages, one template per page, and a fragment for what stays live.

    base.py       what every page is made with: words, times, numbers, layout, parts, refusals in forms, redirects
    channels.py   the list, and releasing channels
    wizard.py     from nothing to a running channel
    settings.py   a channel's settings, precheck and objects
    groups.py     consumer groups: create, change the password, delete
    consume.py    who has consumed how far
    login.py      in and out, language and appearance
    records.py    track data changes: the search, one record (values.py: how values are shown)
    monitoring.py states and plots (plot.py: their numbers)
    alerts.py     rules, who is told, incidents, tests
    samples.py    sample code and the Avro schema
    audit.py      the audit log

A page reaches the server through operations alone (`rendering.page_call`), does its work without JavaScript, and holds
nothing between two requests but the wizard's drafts. Another group of pages is one more file and one more name in
`ROUTES`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from broker.console.pages import (
    alerts,
    audit,
    base,
    channels,
    consume,
    groups,
    login,
    monitoring,
    records,
    samples,
    settings,
    wizard,
)

if TYPE_CHECKING:
    from starlette.routing import Route

ROUTES: Final[tuple[Route, ...]] = (
    *base.ROUTES,
    *login.ROUTES,
    *channels.ROUTES,
    *wizard.ROUTES,
    *settings.ROUTES,
    *groups.ROUTES,
    *consume.ROUTES,
    *records.ROUTES,
    *monitoring.ROUTES,
    *alerts.ROUTES,
    *samples.ROUTES,
    *audit.ROUTES,
)
