"""Stand-ins for what a test must control: time, and later whatever else the world decides."""

from __future__ import annotations


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

    def set_now(self, now_ms: int) -> None:
        """Set the wall clock, as an administrator might; the monotonic clock does not notice."""
        self._now_ms = now_ms
