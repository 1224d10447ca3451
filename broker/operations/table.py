"""All operations, in the order in which the description shows them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from broker.operations import alerts, channels, groups, monitoring, records, server, sources

if TYPE_CHECKING:
    from broker.operations.operation import Operation

OPERATIONS: Final[tuple[Operation, ...]] = (
    *channels.ROWS,
    *groups.ROWS,
    *sources.ROWS,
    *records.ROWS,
    *monitoring.ROWS,
    *alerts.ROWS,
    *server.ROWS,
)

BY_NAME: Final = {operation.name: operation for operation in OPERATIONS}
