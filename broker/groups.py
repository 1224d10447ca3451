"""The group coordinator."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from broker.offsets import OffsetStore
    from broker.scheduler import Scheduler
    from storage.clock import Clock


class GroupCoordinator:
    """Consumer groups on one node; `min_session_ms`, `max_session_ms` and `initial_rebalance_ms` as Kafka's settings of these names."""

    def __init__(
        self,
        offsets: OffsetStore,
        clock: Clock,
        scheduler: Scheduler,
        *,
        min_session_ms: int = 6000,
        max_session_ms: int = 300_000,
        initial_rebalance_ms: int = 0,
    ) -> None:
        raise NotImplementedError

    def shut_down(self) -> None:
        """Answer everything parked with COORDINATOR_NOT_AVAILABLE and refuse new requests."""
