"""The console's pages, by subject; `ROUTES` has the routes of all."""

from __future__ import annotations

from typing import Final

from starlette.routing import Route

ROUTES: Final[tuple[Route, ...]] = ()
