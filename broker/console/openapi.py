"""The OpenAPI 3.1 description of the REST interface, made from the operations."""

from __future__ import annotations

from functools import cache
from importlib.metadata import version
from typing import Any


@cache
def description() -> dict[str, Any]:
    """The document."""
    return {
        "openapi": "3.1.0",
        "info": {"title": "Binwire", "version": version("binwire")},
        "paths": {},
    }
