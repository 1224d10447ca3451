"""When a HEARTBEAT record is due and which time it carries.

One record about once a second, only while the source is heard: nothing has to be known to say "nothing up to here is
missing", except that the source still talks. Its time is
    behind       the last event's: what lies between it and now has not been read yet
    at the end   our clock, corrected by the measured difference to the source's
At the end means: the source said so itself (its heartbeat stands at our position), or everything that had arrived was
read and the last of it was young. Left to others: the record (`capture/envelope.py`), the timer that asks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from storage.clock import Clock

RECORD_PERIOD_MS = 1_000
"""One HEARTBEAT a second, the rate seen from the service (ids of its captures)."""

YOUNG_S = 1
"""Binlog times are whole seconds: an event of this second or the last one is as new as can be told."""


class HeartbeatPacer:
    """Follows what is heard from one source."""

    def __init__(self, clock: Clock, clock_offset_ms: int, heartbeat_period_ms: int) -> None:
        self.at_end = False
        self.last_event_s: int | None = None
        self._is_event_newest = False
        self._clock = clock
        self._clock_offset_ms = clock_offset_ms
        self._silence_allowed_ms = heartbeat_period_ms + RECORD_PERIOD_MS
        self._heard_ms = clock.monotonic_ms()
        self._written_ms = self._heard_ms

    def heard(self) -> None:
        """Something came from the source."""
        self._heard_ms = self._clock.monotonic_ms()

    @property
    def silent_ms(self) -> int:
        return self._clock.monotonic_ms() - self._heard_ms

    @property
    def source_now_ms(self) -> int:
        """What the source's clock shows now."""
        return self._clock.now_ms() + self._clock_offset_ms

    def read_event(self, timestamp_s: int) -> None:
        """An event of the binlog was read: until all that arrived with it is, there may be more."""
        self.at_end = False
        self.last_event_s = timestamp_s
        self._is_event_newest = True

    def read_heartbeat(self, *, at_end: bool) -> None:
        """The source said where its binlog ends: at our position or beyond it."""
        self.at_end = at_end
        self._is_event_newest = False

    def drained(self) -> None:
        """Everything that had arrived has been read; a heartbeat behind the last event knows better than its age."""
        if self._is_event_newest and self.last_event_s is not None:
            self.at_end = self.source_now_ms // 1000 - self.last_event_s <= YOUNG_S

    def due(self) -> bool:
        """Whether a record is to be written now, if no transaction is open."""
        if self.silent_ms > self._silence_allowed_ms or (self.last_event_s is None and not self.at_end):
            return False
        return self._clock.monotonic_ms() - self._written_ms >= RECORD_PERIOD_MS

    def take(self) -> int:
        """The time of the record that is written now, in seconds."""
        now_ms = self._clock.monotonic_ms()
        late_ms = now_ms - self._written_ms - RECORD_PERIOD_MS
        self._written_ms = now_ms - late_ms if late_ms < RECORD_PERIOD_MS else now_ms
        return self.time_s()

    def time_s(self) -> int:
        """Up to when everything is known, in seconds of the source's clock."""
        last_s = self.last_event_s or 0
        return max(last_s, self.source_now_ms // 1000) if self.at_end else last_s
