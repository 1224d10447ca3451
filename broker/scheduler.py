"""Timers behind a seam, so that the group coordinator and parked fetches run on a clock that tests drive.

Invariant: a timer never fires before its time; one that fires late because the loop stalled (a stopped process, a
blocked call) is put off once by as long as the stall lasted, so that what clients sent meanwhile is served before
anybody is declared dead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

STALL_MS = 250
"""A timer later than this was stalled. Below the shortest deadline that matters: clients heartbeat every 3 s by
default."""


class Timer(Protocol):
    """A scheduled callback."""

    def cancel(self) -> None:
        """Make sure the callback does not run; harmless when it already did."""


class Scheduler(Protocol):
    """Runs callbacks later, on the loop."""

    def call_later(self, delay_ms: int, callback: Callable[[], None]) -> Timer:
        """Run `callback` once, not before `delay_ms` milliseconds have passed."""
        ...


class LoopScheduler:
    """The timers of a running asyncio loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def call_later(self, delay_ms: int, callback: Callable[[], None]) -> Timer:
        return _LoopTimer(self._loop, delay_ms, callback)


class _LoopTimer:
    __slots__ = ("_callback", "_due", "_handle", "_loop")

    def __init__(self, loop: asyncio.AbstractEventLoop, delay_ms: int, callback: Callable[[], None]) -> None:
        self._loop = loop
        self._callback = callback
        self._due = loop.time() + delay_ms / 1000
        self._handle = loop.call_at(self._due, self._fire)

    def _fire(self) -> None:
        late_s = self._loop.time() - self._due
        if late_s * 1000 > STALL_MS:
            self._handle = self._loop.call_later(late_s, self._callback)
        else:
            self._callback()

    def cancel(self) -> None:
        self._handle.cancel()
