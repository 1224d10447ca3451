"""Who may ask over HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from broker.operations.operation import Caller

if TYPE_CHECKING:
    from starlette.requests import Request

OPEN_NAME: Final = "anybody"


class Access:
    """Who asks by one request."""

    def __init__(self, name: str, origin: str, csrf_token: str) -> None:
        self.name = name
        self.origin = origin
        self.csrf_token = csrf_token

    def caller(self, way: str) -> Caller:
        return Caller(self.name, way, self.origin)


def access_of(request: Request) -> Access:
    """Who asks by this request."""
    found = request.scope.get("binwire.access")
    if found is None:
        host = "" if request.client is None else request.client.host
        found = request.scope["binwire.access"] = Access(OPEN_NAME, host, "")
    assert isinstance(found, Access)
    return found
