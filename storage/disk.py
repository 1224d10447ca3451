"""How much disk a retention needs at the rate at which its log grows, and whether that will be there.

Owns the arithmetic, nothing else: no file is touched here, and no clock asked. What is measured comes from
`storage.disk_meter`.

The rate is that of the last hour, or of the log's life if that is shorter. What lies on a disk counts together: several
logs that grow there fill it together.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple

from storage.config import LogConfig
from storage.words import shown_bytes

RATE_WINDOW_MS: Final = 3_600_000
RATE_SPAN_MS_MIN: Final = 60_000
"""A log that is younger has grown for as long: its first second says little of the next day."""
UNBOUNDED_WARNING_S: Final = 24 * 3600
"""A log that is kept for ever fills any disk some day: that is said a day before."""
_OVER_SHARE: Final = 1.1
"""A warning is over when there is a tenth more than it needs, so that it does not come and go."""
_ROUNDING_BYTES: Final = 1e-3
"""Far above what the sums of floats are off by, far below a byte."""


class LogDisk(NamedTuple):
    """What one log has and needs. `needed_bytes` None: it is kept for ever. Rates are of bytes on disk."""

    device: int
    """Names the file system."""
    free_bytes: int
    used_bytes: int
    needed_bytes: int | None
    bytes_per_s: float

    @property
    def growth_bytes(self) -> float:
        """What it will take of what is free."""
        return float("inf") if self.needed_bytes is None else max(0, self.needed_bytes - self.used_bytes)


class AppendRate:
    """How fast a count of bytes grows, from samples of it; times are Unix epoch ms, oldest first."""

    def __init__(self, samples: Iterable[tuple[int, int]] = ()) -> None:
        self._samples = deque(samples)

    def note(self, now_ms: int, total_bytes: int) -> None:
        samples = self._samples
        while samples and samples[-1][0] >= now_ms:
            samples.pop()  # the clock was set back: what it said of then is not comparable
        samples.append((now_ms, total_bytes))
        while len(samples) > 1 and samples[1][0] <= now_ms - RATE_WINDOW_MS:
            samples.popleft()

    def per_second(self) -> float:
        if not self._samples:
            return 0.0
        then_ms, then = self._samples[0]
        now_ms, now = self._samples[-1]
        return max(0, now - then) * 1000 / max(RATE_SPAN_MS_MIN, now_ms - then_ms)


def needed_bytes(config: LogConfig, bytes_per_s: float) -> int | None:
    """What a log holds at most that keeps growing at a rate; None if nothing bounds it.

    Segments go as a whole, so the oldest stays until its last byte has had its time.
    """
    bounds = []
    if config.retention_ms is not None:
        segment_bytes = min(config.segment_bytes, bytes_per_s * config.segment_ms / 1000)
        bounds.append(bytes_per_s * config.retention_ms / 1000 + segment_bytes)
    if config.retention_bytes is not None:
        bounds.append(max(config.retention_bytes, config.segment_bytes))
    return round(min(bounds)) if bounds else None


def seconds_until_full(logs: Sequence[LogDisk], free_bytes: int) -> float | None:
    """When the logs of a disk will have filled it; None if each has what it needs before."""
    growing = sorted((log.growth_bytes / log.bytes_per_s, log.bytes_per_s) for log in logs if log.bytes_per_s > 0)
    rate, then_s, left = sum(rate for _, rate in growing), 0.0, float(free_bytes)
    for until_s, own_rate in growing:
        taken = (until_s - then_s) * rate
        if taken > left + _ROUNDING_BYTES:
            return then_s + left / rate
        rate, then_s, left = rate - own_rate, until_s, left - taken
    return None


def warning(logs: Sequence[LogDisk], where: str, now_ms: int, *, is_standing: bool) -> str | None:
    """The sentence about a disk that these logs will fill, None if they will not. `where` names the disk by a path.

    `is_standing` says that there was one the last time.
    """
    free = min(log.free_bytes for log in logs)
    full_s = seconds_until_full(logs, round(free / _OVER_SHARE) if is_standing else free)
    used = sum(log.used_bytes for log in logs)
    needed = sum(log.needed_bytes for log in logs if log.needed_bytes is not None)
    is_bounded = all(log.needed_bytes is not None for log in logs)
    if full_s is None or (not is_bounded and full_s > UNBOUNDED_WARNING_S):
        return None
    moment = f"{datetime.fromtimestamp(now_ms / 1000 + full_s, UTC):%Y-%m-%d %H:%M} UTC"
    rate = shown_bytes(sum(log.bytes_per_s for log in logs))
    needs = f"retention needs {shown_bytes(needed)}" if is_bounded else "nothing bounds what is kept"
    when = f"will be full about {moment} (in {_shown_time(full_s)})" if full_s >= 1 else "is full"
    return (
        f"the disk of {where} {when} at the current rate of {rate}/s: "
        f"{needs}, {shown_bytes(used)} are used and {shown_bytes(free)} free; make room, or lower retention or "
        f"retention_size"
    )


def _shown_time(seconds: float) -> str:
    for unit, length in (("days", 86_400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} seconds"
