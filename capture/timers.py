"""Timers behind a seam, so that heartbeats, back-off and time-outs run on a clock that tests drive.

Left to others: what the time is (`storage.clock.Clock`).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable


class Timer(Protocol):
    """A scheduled callback."""

    def cancel(self) -> None:
        """Make sure the callback does not run; harmless when it already did."""


class Timers(Protocol):
    """Runs callbacks later, on the loop."""

    def call_later(self, delay_ms: int, callback: Callable[[], None]) -> Timer:
        """Run `callback` once, not before `delay_ms` milliseconds have passed."""
        ...


class LoopTimers:
    """The timers of the running asyncio loop."""

    __slots__ = ()

    def call_later(self, delay_ms: int, callback: Callable[[], None]) -> Timer:
        return asyncio.get_running_loop().call_later(delay_ms / 1000, callback)


async def sleep(timers: Timers, delay_ms: int) -> None:
    """Wait; being cancelled cancels the timer."""
    done = asyncio.get_running_loop().create_future()
    timer = timers.call_later(delay_ms, lambda: None if done.done() else done.set_result(None))
    try:
        await done
    finally:
        timer.cancel()
