"""What operations work on: the parts of a running server, each under one name.

Made by `broker/app.py` when the server has started. Holds no logic.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from pathlib import Path

    from msgspec import Struct

    from broker.alerts.watch import Alerts
    from broker.console.audit import AuditLog
    from broker.control import ChannelControl
    from broker.endpoints import Endpoint
    from broker.group_register import GroupRegister
    from broker.managed import ManagedChannels
    from broker.monitoring import Monitoring
    from broker.operations.operation import Caller, OperationError
    from broker.operations.sources import SourceDesk
    from broker.search.service import SearchService
    from broker.watching import Watching
    from storage.catalog import Catalog
    from storage.clock import Clock


_log = logging.getLogger("binwire.audit")


class Audit(Protocol):
    """Is told of every change that was asked for."""

    async def note(self, operation: str, arguments: Struct, caller: Caller, refusal: OperationError | None) -> None:
        """`refusal` None: it was done. Nothing of a `Secret` is kept."""


class LoggedAudit:
    """Tells changes to the server's log only."""

    async def note(self, operation: str, arguments: Struct, caller: Caller, refusal: OperationError | None) -> None:
        facts = {"operation": operation, "by": caller.name, "way": caller.way, "origin": caller.origin}
        _log.info("%s", "done" if refusal is None else f"refused: {refusal}", extra=facts)


class ControlPlane:
    """The parts; one attribute each."""

    listeners: Callable[[], Mapping[str, str]]
    """The bound addresses by name."""
    reload: Callable[[], Awaitable[str]]
    """Read the configuration again."""
    audit_log: AuditLog
    """The same as `audit`, for who reads it and for what is no operation."""
    endpoints: Callable[[], Sequence[Endpoint]]
    """The Kafka listeners, as clients configure them."""
    record_schema: Callable[[], dict[str, Any]]
    """The Avro schema of a record's value."""
    groups: GroupRegister
    managed: ManagedChannels
    monitoring: Monitoring
    alerts: Alerts
    watching: Watching
    """Of which those two are parts; health and metrics."""
    sources: SourceDesk
    catalog: Catalog
    search: SearchService
    topic_directory: Callable[[str], Path]
    """Where the log of a topic lies."""

    def __init__(self, *, clock: Clock, channels: ChannelControl, audit: Audit) -> None:
        self.clock = clock
        self.channels = channels
        self.audit = audit
