"""Which segments have had their time.

Owns the rule, nothing else: whole segments, oldest first, by the time of their last append and by bytes. The segment
with the newest source position stays, and everything behind it: a source that was away for longer than the retention
still resumes exactly. What is not durable yet stays too: after a loss of power a missing segment means a lost one.
"""

from __future__ import annotations

from collections.abc import Sequence

from storage.config import LogConfig
from storage.segment import Segment


def expired_count(
    segments: Sequence[Segment], kept: Segment, durable_offset: int, now_ms: int, config: LogConfig
) -> int:
    """How many of the oldest segments are to go; `kept` and what follows it are not counted."""
    candidates = segments[: segments.index(kept)]
    excess_bytes = 0
    if config.retention_bytes is not None:
        for segment in segments:
            segment.require_visible()
        excess_bytes = sum(segment.visible.size_bytes for segment in segments) - config.retention_bytes
    count = 0
    for segment in candidates:
        segment.require_visible()
        extent = segment.visible
        is_old = config.retention_ms is not None and extent.append_ms + config.retention_ms <= now_ms
        if (not is_old and excess_bytes <= 0) or extent.end_offset > durable_offset:
            break
        excess_bytes -= extent.size_bytes
        count += 1
    return count
