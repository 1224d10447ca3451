"""Stand-ins for what a test must control: time, and later whatever else the world decides."""

from __future__ import annotations

import heapq
from itertools import count
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class ManualClock:
    """A `storage.clock.Clock` that moves only when told."""

    def __init__(self, now_ms: int = 1_700_000_000_000, monotonic_ms: int = 1_000_000) -> None:
        self._now_ms = now_ms
        self._monotonic_ms = monotonic_ms

    def now_ms(self) -> int:
        return self._now_ms

    def monotonic_ms(self) -> int:
        return self._monotonic_ms

    def advance(self, ms: int) -> None:
        """Let `ms` milliseconds pass on both clocks."""
        self._now_ms += ms
        self._monotonic_ms += ms

    def set_wall(self, ms: int) -> None:
        """Let the wall clock alone jump by `ms` milliseconds, ahead or back."""
        self._now_ms += ms


class ManualTimer:
    """A timer of `ManualScheduler`."""

    def __init__(self, due_ms: int, callback: Callable[[], None]) -> None:
        self.due_ms = due_ms
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        self.callback = None


class ManualScheduler:
    """A `storage.scheduler.Scheduler` on a manual clock: timers fire, in order, while `advance` moves it."""

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock
        self._timers: list[tuple[int, int, ManualTimer]] = []
        self._order = count()

    def call_later(self, delay_ms: int, callback: Callable[[], None]) -> ManualTimer:
        timer = ManualTimer(self._clock.monotonic_ms() + delay_ms, callback)
        heapq.heappush(self._timers, (timer.due_ms, next(self._order), timer))
        return timer

    @property
    def pending(self) -> int:
        """How many timers are set."""
        return sum(timer.callback is not None for _, _, timer in self._timers)

    def advance(self, ms: int) -> None:
        """Let `ms` milliseconds pass; what falls due meanwhile runs at its own time."""
        until = self._clock.monotonic_ms() + ms
        while self._timers and self._timers[0][0] <= until:
            due_ms, _, timer = heapq.heappop(self._timers)
            self._clock.advance(max(due_ms - self._clock.monotonic_ms(), 0))
            if timer.callback is not None:
                callback, timer.callback = timer.callback, None
                callback()
        self._clock.advance(until - self._clock.monotonic_ms())
