"""A log in memory: what the broker's tests read from, filled through the real record batch encoder."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from storage.encoding import encode_batch
from storage.errors import OffsetOutOfRange
from storage.log import LogSlice
from storage.records import iter_batches, iter_records


class MemoryLog:
    """A `storage.log.LogReader`. `leased` counts the slices handed out and not closed."""

    def __init__(self, topic: str = "shop", first_offset: int = 0) -> None:
        self.topic = topic
        self.log_start_offset = first_offset
        self.high_watermark = first_offset
        self.batches: list[tuple[int, int, bytes]] = []  # first offset, next offset, bytes
        self.records: list[tuple[int, int, bytes | None]] = []  # offset, timestamp, value
        self.subscribers: list[Callable[[], None]] = []
        self.slices: list[LogSlice] = []

    def append(self, values: Sequence[bytes], timestamps_ms: Sequence[int], *, gap: int = 0) -> bytes:
        """Add one batch, `gap` offsets after the last, and publish it."""
        batch = encode_batch(self.high_watermark + gap, values, timestamps_ms)
        self.append_batch(batch)
        return batch

    def append_batch(self, batch: bytes) -> None:
        """Add a batch made elsewhere, and publish it."""
        (parsed,) = iter_batches(batch)
        self.batches.append((parsed.header.base_offset, parsed.header.next_offset, batch))
        if not parsed.header.compression:
            self.records += [(each.offset, each.timestamp_ms, each.value) for each in iter_records(parsed)]
        self.high_watermark = parsed.header.next_offset
        for callback in tuple(self.subscribers):
            callback()

    @property
    def log_start_timestamp_ms(self) -> int | None:
        return next((timestamp for offset, timestamp, _ in self.records if offset >= self.log_start_offset), None)

    @property
    def last_timestamp_ms(self) -> int | None:
        return self.records[-1][1] if self.records else None

    @property
    def leased(self) -> int:
        return sum(len(each) > 0 for each in self.slices)

    def _check(self, offset: int) -> None:
        if not self.log_start_offset <= offset <= self.high_watermark:
            raise OffsetOutOfRange(self.topic, offset, self.log_start_offset, self.high_watermark)

    def read(self, offset: int, max_bytes: int, *, at_least_one: bool = True) -> LogSlice:
        self._check(offset)
        found = b""
        for _, next_offset, batch in self.batches:
            if next_offset <= offset:
                continue
            if len(found) + len(batch) > max_bytes and not (at_least_one and not found):
                break
            found += batch
        self.slices.append(LogSlice(memoryview(found)))
        return self.slices[-1]

    def size_between(self, offset: int, max_bytes: int) -> int:
        self._check(offset)
        return min(sum(len(batch) for _, next_offset, batch in self.batches if next_offset > offset), max_bytes)

    def offset_for_timestamp(self, timestamp_ms: int) -> tuple[int, int] | None:
        visible = (each for each in self.records if each[0] >= self.log_start_offset)
        return next(((offset, timestamp) for offset, timestamp, _ in visible if timestamp >= timestamp_ms), None)

    def subscribe(self, callback: Callable[[], None]) -> Callable[[], None]:
        self.subscribers.append(callback)
        return lambda: self.subscribers.remove(callback)
