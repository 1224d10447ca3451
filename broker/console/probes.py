"""Metrics and health over HTTP."""

from __future__ import annotations

from typing import Final

from starlette.routing import Route

ROUTES: Final[tuple[Route, ...]] = ()
