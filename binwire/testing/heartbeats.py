"""HEARTBEAT records at a pace of their own: the service writes about one a second, a channel here none until asked."""

from __future__ import annotations

from binwire.testing.calls import AsyncSender, Call, Sender, nothing
from binwire.testing.changes import between

__tracebackhide__ = True  # pytest shows the line of the test

INTERVAL_MS = 1000


class Heartbeats(Sender):
    """What a channel says while nothing changes."""

    def heartbeats(self, interval_ms: int = INTERVAL_MS) -> None:
        """Write a HEARTBEAT record now, and then one every so often, until `silence`; asked again, at that pace."""
        self._send(between(self, _heartbeats(self._name, interval_ms)))

    def silence(self) -> None:
        """Write no more of them: when this returns the last one can be read."""
        self._send(_silence(self._name))


class AsyncHeartbeats(AsyncSender):
    """The same, for asynchronous code."""

    async def heartbeats(self, interval_ms: int = INTERVAL_MS) -> None:
        """As `Heartbeats.heartbeats`."""
        await self._send(between(self, _heartbeats(self._name, interval_ms)))

    async def silence(self) -> None:
        """As `Heartbeats.silence`."""
        await self._send(_silence(self._name))


def _heartbeats(channel: str, interval_ms: int) -> Call[None]:
    return Call("heartbeats", {"channel": channel, "interval_ms": interval_ms}, nothing)


def _silence(channel: str) -> Call[None]:
    return Call("silence", {"channel": channel}, nothing)
