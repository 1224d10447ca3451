"""Operations on the server as a whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import Struct

from broker.operations.operation import NoArguments, Operation

if TYPE_CHECKING:
    from broker.operations.plane import ControlPlane


class ListenerView(Struct, frozen=True):
    """An address at which clients connect."""

    name: str
    address: str


class ServerView(Struct, frozen=True):
    """The running server. `listeners` has the console's own address under the name `console`."""

    version: str
    listeners: tuple[ListenerView, ...]
    now_ms: int


async def show_server(plane: ControlPlane, arguments: NoArguments) -> ServerView:
    """What runs, and where."""
    from importlib.metadata import version

    listeners = tuple(ListenerView(name, address) for name, address in plane.listeners().items())
    return ServerView(version("binwire"), listeners, plane.clock.now_ms())


ROWS: Final = (
    Operation("show_server", "GET", "/server", "server", "Version and addresses", NoArguments, ServerView, show_server),
)
