"""Timers behind a seam, so that whatever waits (parked fetches, group members, heartbeats, back-off) runs on a clock
that tests drive.

Invariant: a timer never fires before its time; one that fires late because the loop stalled (a stopped process, a
blocked call) is put off once, by as long as the stall lasted and at most by its own length, so that what arrived
meanwhile is served before anybody is declared dead. The stall began after the timer was set, so no more than its
length was left of it: what fires each second does so again a second after a stall of an hour.

Left to others: what the time is (`storage.clock.Clock`).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

SLICE_MS = 2
"""How long a piece of work may hold the loop before others have their turn: a batch of rows, of requests, of bytes."""

TURNS = 5
"""In so many turns of the loop a packet of a source becomes an answer: it arrives, its channel takes it, the clients
that wait are looked at, theirs are made and sent; one more by asyncio's own loop.
"""

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
    """The timers of the running asyncio loop."""

    __slots__ = ()

    def call_later(self, delay_ms: int, callback: Callable[[], None]) -> Timer:
        return _LoopTimer(delay_ms, callback)


class _LoopTimer:
    __slots__ = ("_callback", "_delay_s", "_due", "_handle", "_loop")

    def __init__(self, delay_ms: int, callback: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._callback = callback
        self._delay_s = delay_ms / 1000
        self._due = self._loop.time() + self._delay_s
        self._handle = self._loop.call_at(self._due, self._fire)

    def _fire(self) -> None:
        late_s = self._loop.time() - self._due
        if late_s * 1000 > STALL_MS:
            self._handle = self._loop.call_later(min(late_s, self._delay_s), self._callback)
        else:
            self._callback()

    def cancel(self) -> None:
        self._handle.cancel()


async def give_way() -> None:
    """Let others run between two slices: what is ready, and what that makes ready, to the answer in a client's socket.

    After one turn alone a packet would wait for a slice at each of its steps. A turn costs a microsecond or two.
    """
    for _ in range(TURNS):
        await asyncio.sleep(0)


async def sleep(scheduler: Scheduler, delay_ms: int) -> None:
    """Wait; being cancelled cancels the timer."""
    done = asyncio.get_running_loop().create_future()
    timer = scheduler.call_later(delay_ms, lambda: None if done.done() else done.set_result(None))
    try:
        await done
    finally:
        timer.cancel()
