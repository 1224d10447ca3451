"""Faults of a channel's data, by script."""

from __future__ import annotations

from binwire.testing.calls import AsyncSender, Sender


class DataFaults(Sender):
    """What goes wrong with what a channel holds."""


class AsyncDataFaults(AsyncSender):
    """The same, for asynchronous code."""
