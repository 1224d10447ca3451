"""Time as a parameter: the store and what stands on it never ask the system for the time behind a test's back."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Wall clock for what people see and for retention, monotonic clock for durations; both in milliseconds."""

    def now_ms(self) -> int:
        """Milliseconds since the Unix epoch; may jump either way when the system's clock is set."""
        ...

    def monotonic_ms(self) -> int:
        """Milliseconds since an arbitrary start; never goes back."""
        ...


class SystemClock:
    """The machine's clocks."""

    __slots__ = ()

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic_ms(self) -> int:
        return time.monotonic_ns() // 1_000_000
