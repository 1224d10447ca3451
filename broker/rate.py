"""How fast an offset moves, over a short window, without a timer.

Samples are taken when something is published, at most once a second; asking works the rate out from the oldest sample
that lies inside the window. An offset that stands still therefore decays to 0 as the window moves on.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from storage.clock import Clock

RATE_WINDOW_MS: Final = 10_000
SAMPLE_INTERVAL_MS: Final = 1_000


class Rate:
    """Records per second over the last `RATE_WINDOW_MS`, from samples of an offset taken when it moves."""

    def __init__(self, offset: Callable[[], int], clock: Clock) -> None:
        self._offset = offset
        self._clock = clock
        self._samples = deque([(clock.monotonic_ms(), offset())])

    def sample(self) -> None:
        """Note where the offset stands, at most once a second."""
        now_ms = self._clock.monotonic_ms()
        if now_ms - self._samples[-1][0] >= SAMPLE_INTERVAL_MS:
            self._samples.append((now_ms, self._offset()))
            self._forget(now_ms)

    def per_second(self) -> float:
        now_ms = self._clock.monotonic_ms()
        self._forget(now_ms)
        then_ms, then = self._samples[0]
        return (self._offset() - then) * 1000 / max(SAMPLE_INTERVAL_MS, now_ms - then_ms)

    def _forget(self, now_ms: int) -> None:
        while len(self._samples) > 1 and self._samples[1][0] <= now_ms - RATE_WINDOW_MS:
            self._samples.popleft()
