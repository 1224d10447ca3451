"""Which segments have had their time, and what time it is for that.

Owns the rule, nothing else: whole segments, oldest first, by the time of their last append and by bytes. The segment
with the newest source position stays, and everything behind it: a source that was away for longer than the retention
still resumes exactly. What is not durable yet stays too: after a loss of power a missing segment means a lost one.

Wall clocks jump: a laptop wakes, a virtual machine resumes, somebody sets the time. What jumps forward is not believed
for `JUMP_GRACE_MS`: a clock that is put right meanwhile deletes nothing, and consumers that slept with the machine can
read on first. What was appended while the clock was ahead carries times to come; such a segment is as old as the next
one that does not. A clock that was set back keeps segments longer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from storage.clock import Clock
from storage.config import LogConfig
from storage.segment import Segment
from storage.segments import Segments

JUMP_MS: Final = 60_000
"""How far the wall clock may run ahead of the monotonic one between two looks; they are a flush interval apart."""
JUMP_GRACE_MS: Final = 15 * 60_000


class RetentionClock:
    """The wall clock, as far as it is believed."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._now_ms = clock.now_ms()
        self._monotonic_ms = clock.monotonic_ms()
        """When `_now_ms` was believed."""
        self._jumped_ms: int | None = None
        """When, on the monotonic clock, the wall clock was first found too far ahead."""

    def now_ms(self) -> int:
        """The time that segments are judged by."""
        now_ms, monotonic_ms = self._clock.now_ms(), self._clock.monotonic_ms()
        expected_ms = self._now_ms + monotonic_ms - self._monotonic_ms
        if now_ms > expected_ms + JUMP_MS:
            if self._jumped_ms is None:
                self._jumped_ms = monotonic_ms
            if monotonic_ms - self._jumped_ms < JUMP_GRACE_MS:
                return expected_ms
        self._jumped_ms = None
        self._now_ms, self._monotonic_ms = now_ms, monotonic_ms
        return now_ms


def expired_count(segments: Segments, kept: Segment, durable_offset: int, now_ms: int, config: LogConfig) -> int:
    """How many of the oldest segments are to go; `kept` and what follows it are not counted.

    Raises:
        NotResident: how much they take together, or how far one reaches, is not known yet.
    """
    ordered = segments.ordered
    candidates = ordered[: ordered.index(kept)]
    excess_bytes = 0
    if config.retention_bytes is not None:
        excess_bytes = segments.stored_bytes() - config.retention_bytes
    count = 0
    for number, segment in enumerate(candidates):
        segment.require_visible()
        extent = segment.visible
        is_old = config.retention_ms is not None and _append_ms(ordered, number, now_ms) + config.retention_ms <= now_ms
        if (not is_old and excess_bytes <= 0) or extent.end_offset > durable_offset:
            break
        excess_bytes -= extent.size_bytes
        count += 1
    return count


def _append_ms(segments: Sequence[Segment], number: int, now_ms: int) -> int:
    """When a segment was appended to last, at the latest: no later than those behind it, whatever its clock said."""
    for segment in segments[number:]:
        segment.require_visible()
        append_ms = segment.visible.append_ms
        if append_ms <= now_ms:
            return append_ms
    return append_ms
