"""Faults of requests, connections and groups, by script."""

from __future__ import annotations

from binwire.testing.calls import AsyncSender, Sender


class WireFaults(Sender):
    """What goes wrong between a channel and its consumers."""


class AsyncWireFaults(AsyncSender):
    """The same, for asynchronous code."""
