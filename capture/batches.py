"""Values to record batches: where they are cut, and which thread does the work.

A batch holds record values up to `BATCH_BYTES_MAX` together, or one that is larger, alone: so no answer of the broker
exceeds one row and what frames it, whatever came beside the row. A batch that cannot be made well within a slice of the
loop (`Codec.inline_bytes`) is made on a worker thread, one at a time: copying, compressing and reckoning checksums of
much data let the loop run meanwhile. Small transactions never wait for a thread.

Left to others: the bytes of a batch (`storage/encoding.py`), and when to write (`capture/session.py`).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from storage.encoding import encode_batch

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from storage.compression import Codec

FLUSH_BYTES = 256 << 10
"""Record values that are written without waiting for more: enough to amortize a batch's cost."""

BATCH_BYTES_MAX = 320 << 10
"""Record values per batch: room for the event that exceeds `FLUSH_BYTES`, below every client's default fetch size."""


def spans(values: Sequence[bytes], count: int) -> Iterator[tuple[int, int, int]]:
    """Start, end and size of each batch of the first `count` values."""
    total = sum(map(len, values if count == len(values) else values[:count]))
    if total <= BATCH_BYTES_MAX or count == 1:
        yield 0, count, total
        return
    start = size = 0
    for index in range(count):
        length = len(values[index])
        if size + length > BATCH_BYTES_MAX and index > start:
            yield start, index, size
            start = index
            size = 0
        size += length
    yield start, count, size


async def encode(
    base_offset: int, values: Sequence[bytes], timestamps_ms: Sequence[int], count: int, codec: Codec
) -> list[bytes]:
    """The batches of the first `count` values, the first of them at `base_offset`."""
    batches = []
    for start, end, size in spans(values, count):
        part = (base_offset + start, values[start:end], timestamps_ms[start:end], codec)
        batches.append(
            encode_batch(*part) if size <= codec.inline_bytes else await asyncio.to_thread(encode_batch, *part)
        )
    return batches
