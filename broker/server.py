"""The server: listeners, connections, flow control, orderly close."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from broker.context import Broker
    from broker.listener import Address, Listener
    from broker.principal import Principal


class BrokerServer:
    """Serves a `Broker` on listeners."""

    def __init__(self, broker: Broker, listeners: Sequence[Listener]) -> None:
        raise NotImplementedError

    async def start(self) -> dict[str, Address]:
        """Listen; return each listener's bound address by name. Raises `ListenError` (one sentence) if an address cannot be had."""
        raise NotImplementedError

    async def close(self, deadline_ms: int = 5000) -> None:
        """Stop accepting, answer what is in flight, close everything; cut what is still open after `deadline_ms`."""

    def disconnect(self, matches: Callable[[Principal], bool]) -> int:
        """Close the connections whose principal `matches` (changed password, deleted group); return how many."""
        raise NotImplementedError
