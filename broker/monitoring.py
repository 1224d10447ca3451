"""How channels and groups went, in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from broker.operations.monitoring import ShownSeries


class Monitoring:
    """Series of every channel and group."""

    def shown(self, channel_id: str, minutes: int) -> ShownSeries | None:
        """The series of a channel; None if there is none with this id."""
        raise NotImplementedError
