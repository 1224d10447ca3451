"""The settings of one log, with their units and the Kafka defaults they copy where there is one."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

HOUR_MS: Final = 3_600_000
SEGMENT_BYTES_MAX: Final = 1 << 31
"""Index positions are 32 bits, and one append may go beyond a segment's end."""


class LogConfig(Struct, frozen=True):
    """How a log is cut into segments, flushed and kept.

    segment_bytes: a segment is closed before a batch that would make it larger (Kafka: log.segment.bytes, 1 GiB);
        at most 2 GiB, because index positions are 32 bits.
    segment_ms: a segment older than this is closed before the next append, so that retention by time can delete it.
    index_interval_bytes: log bytes between two index entries (Kafka: index.interval.bytes).
    retention_ms: a closed segment goes when its last append is older; None keeps it.
    retention_bytes: closed segments go, oldest first, while the log is larger; None keeps them.
    flush_interval_ms, flush_bytes: what may be lost with the machine's power (never with the process), whichever
        comes first. It is captured again at higher offsets.
    flush_before_visible: nothing is served that is not durable; costs an fsync per publish.
    reserve_offsets: offsets durably set aside at a time, so that none is used twice after a loss of power.
    """

    segment_bytes: int = 1 << 30
    segment_ms: int = HOUR_MS
    index_interval_bytes: int = 4096
    retention_ms: int | None = 24 * HOUR_MS
    retention_bytes: int | None = None
    flush_interval_ms: int = 1000
    flush_bytes: int = 64 << 20
    flush_before_visible: bool = False
    reserve_offsets: int = 1 << 24

    def __post_init__(self) -> None:
        if not 0 < self.segment_bytes <= SEGMENT_BYTES_MAX:
            raise ValueError(f"segment_bytes is {self.segment_bytes}; it must be 1 to {SEGMENT_BYTES_MAX}")
        if self.index_interval_bytes <= 0 or self.reserve_offsets <= 0 or self.flush_interval_ms <= 0:
            raise ValueError("index_interval_bytes, reserve_offsets and flush_interval_ms must be positive")
