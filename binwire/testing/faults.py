"""`channel.faults`: everything that can be made to go wrong, as one object.

What each does, and what a correct consumer does about it, is the table of `broker/fixture/fault_kinds.py`, which the
server also serves as `GET /faults`. Faults last until they are used up or cleared, or the channel is closed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from binwire.testing.calls import AsyncSender, Sender
from binwire.testing.data_faults import AsyncDataFaults, DataFaults
from binwire.testing.wire_faults import AsyncWireFaults, WireFaults

if TYPE_CHECKING:
    from binwire.testing.calls import Call

T = TypeVar("T")


class Faults(WireFaults, DataFaults):
    """The faults of one channel."""

    def __init__(self, channel: Sender) -> None:
        self._channel = channel
        self._name = channel._name

    def _send(self, call: Call[T]) -> T:
        return self._channel._send(call)


class AsyncFaults(AsyncWireFaults, AsyncDataFaults):
    """As `Faults`, with its calls awaited."""

    def __init__(self, channel: AsyncSender) -> None:
        self._channel = channel
        self._name = channel._name

    async def _send(self, call: Call[T]) -> T:
        return await self._channel._send(call)


class FaultyChannel(Sender):
    """A channel as far as it has faults."""

    @property
    def faults(self) -> Faults:
        """What can be made to go wrong with this channel."""
        return Faults(self)


class AsyncFaultyChannel(AsyncSender):
    """The same, for asynchronous code."""

    @property
    def faults(self) -> AsyncFaults:
        """As `FaultyChannel.faults`."""
        return AsyncFaults(self)
