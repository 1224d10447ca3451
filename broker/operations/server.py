"""Operations on the server as a whole: what runs and where, its configuration, and the log of changes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

from msgspec import Meta, Struct

from broker.console.audit import AuditEntry
from broker.operations.operation import Done, NoArguments, Operation, OperationError, Refusal
from storage.log import resident

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


class AuditArguments(Struct, frozen=True, forbid_unknown_fields=True):
    """Entries before `before_id`, for the next page, that have the text `search` in them, of any case."""

    before_id: Annotated[int, Meta(ge=1, le=(1 << 63) - 1)] | None = None
    search: Annotated[str, Meta(max_length=200)] = ""
    limit: Annotated[int, Meta(ge=1, le=200)] = 50


class AuditList(Struct, frozen=True):
    """Changes that were asked for, newest first; `is_complete` False: there are older ones."""

    entries: tuple[AuditEntry, ...]
    is_complete: bool


async def show_server(plane: ControlPlane, arguments: NoArguments) -> ServerView:
    """What runs, and where."""
    from importlib.metadata import version

    listeners = tuple(ListenerView(name, address) for name, address in plane.listeners().items())
    return ServerView(version("binwire"), listeners, plane.clock.now_ms())


async def list_audit(plane: ControlPlane, arguments: AuditArguments) -> AuditList:
    """Who changed what, by which way, from where, and what came of it; sign-ins too."""
    found = await plane.audit_log.read(arguments.before_id, arguments.search, arguments.limit + 1)
    return AuditList(tuple(found[: arguments.limit]), len(found) <= arguments.limit)


async def reload(plane: ControlPlane, arguments: NoArguments) -> Done:
    """Read the configuration file again: groups, objects, the console's password and tokens, certificates."""
    told = await plane.reload()
    refused = [view.refused_objects for view in await resident(plane.channels.views) if view.refused_objects]
    if refused:
        raise OperationError(Refusal.NOT_ALLOWED_NOW, "; ".join((told, *refused)), details=refused)
    return Done(told)


ROWS: Final = (
    Operation(
        "show_server",
        "GET",
        "/server",
        "server",
        "Show version and addresses",
        NoArguments,
        ServerView,
        show_server,
    ),
    Operation(
        "list_audit",
        "GET",
        "/audit",
        "server",
        "List changes, newest first, and who asked for them",
        AuditArguments,
        AuditList,
        list_audit,
    ),
    Operation(
        "reload",
        "POST",
        "/reload",
        "server",
        "Read the configuration file again",
        NoArguments,
        Done,
        reload,
        is_change=True,
    ),
)
