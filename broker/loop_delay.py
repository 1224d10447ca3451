"""How late the event loop is: how long whatever is ready waits for its turn.

Once a second a timer of the loop's own is looked at: how much later than its time it fired. That is what a fetch that
came at that moment waited, too. One wake-up a second, nothing else; counts in the buckets of a histogram, in seconds.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from typing import Final

INTERVAL_S: Final = 1.0
BUCKETS_S: Final = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class LoopDelay:
    """Measures the running loop between `start` and `stop`."""

    def __init__(self) -> None:
        self.counts = [0] * (len(BUCKETS_S) + 1)
        """Of delays up to each bucket's bound and above the one before; the last of all that are longer."""
        self.sum_s = 0.0
        self._loop = asyncio.get_running_loop()
        self._handle: asyncio.TimerHandle | None = None

    def start(self) -> None:
        due_s = self._loop.time() + INTERVAL_S
        self._handle = self._loop.call_at(due_s, self._fire, due_s)

    def stop(self) -> None:
        if self._handle is not None:
            self._handle.cancel()

    def _fire(self, due_s: float) -> None:
        self.note(self._loop.time() - due_s)
        self.start()

    def note(self, late_s: float) -> None:
        """A timer fired so much late; a loop's clock is coarser than its timers, so it may be early."""
        late_s = max(0.0, late_s)
        self.counts[bisect_left(BUCKETS_S, late_s)] += 1
        self.sum_s += late_s
