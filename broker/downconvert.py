"""Record batches of magic 2 as messages of magic 1 and 0, for Fetch v0-v3.

    entry   offset i64, size i32 (bytes after this field), crc u32, magic i8, attributes i8 = 0,
            [timestamp i64, magic 1 only], key i32 length (-1 null) + bytes, value i32 length (-1 null) + bytes

The CRC is CRC-32 of magic to the end. Entries follow each other without a count; offsets and timestamps (CreateTime)
stay; headers and control batches are dropped, as in Kafka's `AbstractRecords.downConvert`. Nothing is compressed,
which spares old clients the framing bugs of LZ4 and snappy, and kafka-node its belief that offsets in a wrapper are
contiguous.

Invariants: a batch is converted once, however many clients ask at the same time, into a cache bounded in bytes;
conversion gives the loop back every `SLICE_MS`. What a client gets of a conversion is cut by `message_span`, never
converted again.
"""

from __future__ import annotations

import asyncio
import struct
import time
import zlib
from collections import OrderedDict
from typing import TYPE_CHECKING, Final, NamedTuple

from storage.records import Batch, iter_batches, iter_records

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from storage.records import Record

CACHE_BYTES_MAX: Final = 64 * 1024 * 1024
SLICE_MS: Final = 2
RECORDS_PER_LOOK: Final = 64
"""Records converted between two looks at the time: well below a slice even for large records."""

ENTRY_HEAD_BYTES: Final = 12
_CONTROL_BATCH: Final = 0x20
_ENTRY_HEAD: Final = struct.Struct(">qi")
_MAGIC_0: Final = struct.Struct(">bbi")
_MAGIC_1: Final = struct.Struct(">bbqi")
_LENGTH: Final = struct.Struct(">i")
_OFFSET_SIZE_CRC: Final = struct.Struct(">qiI")


class _Key(NamedTuple):
    """Names one conversion. The CRC keeps apart what stood at the same offset of a topic that was deleted and made
    anew.
    """

    topic: str
    base_offset: int
    crc: int
    magic: int


class DownConverter:
    """Converts batches, and keeps the conversions used last, up to `cache_bytes_max` bytes."""

    def __init__(self, cache_bytes_max: int = CACHE_BYTES_MAX) -> None:
        self._cache_bytes_max = cache_bytes_max
        self._cache: OrderedDict[_Key, bytes] = OrderedDict()
        self._cached_bytes = 0
        self._running: dict[_Key, asyncio.Task[bytes]] = {}

    @property
    def cached_bytes(self) -> int:
        """Bytes the cache holds now."""
        return self._cached_bytes

    async def convert(self, topic: str, batches: memoryview, magic: int) -> AsyncIterator[bytes]:
        """Yield the messages of each batch in turn; a batch with nothing to show yields b"".

        Raises:
            CorruptLog: the bytes are not uncompressed batches.
        """
        for batch in iter_batches(batches):
            key = _Key(topic, batch.header.base_offset, batch.header.crc, magic)
            converted = self._cache.get(key)
            if converted is None:
                converted = await self._convert_once(key, batch)
            else:
                self._cache.move_to_end(key)
            yield converted

    async def _convert_once(self, key: _Key, batch: Batch) -> bytes:
        """Convert, or wait for the conversion under way. A client that goes away does not end what others wait for."""
        task = self._running.get(key)
        if task is None:
            owned = batch._replace(view=memoryview(bytes(batch.view)))
            task = asyncio.create_task(_convert(owned, key.magic))
            self._running[key] = task
            task.add_done_callback(lambda done: self._keep(key, done))
        return await asyncio.shield(task)

    def _keep(self, key: _Key, done: asyncio.Task[bytes]) -> None:
        del self._running[key]
        if done.cancelled() or done.exception() is not None:
            return
        converted = done.result()
        if len(converted) > self._cache_bytes_max:
            return
        self._cache[key] = converted
        self._cached_bytes += len(converted)
        while self._cached_bytes > self._cache_bytes_max:
            self._cached_bytes -= len(self._cache.popitem(last=False)[1])


async def _convert(batch: Batch, magic: int) -> bytes:
    if batch.header.attributes & _CONTROL_BATCH:
        return b""
    parts: list[bytes] = []
    slice_end = time.monotonic() + SLICE_MS / 1000
    for count, record in enumerate(iter_records(batch), start=1):
        parts += encode_message(record, magic)
        if count % RECORDS_PER_LOOK == 0 and time.monotonic() > slice_end:
            await asyncio.sleep(0)
            slice_end = time.monotonic() + SLICE_MS / 1000
    return b"".join(parts)


def encode_message(record: Record, magic: int) -> tuple[bytes, bytes, bytes, bytes, bytes]:
    """Return the pieces of one uncompressed entry of magic 0 or 1."""
    key = record.key or b""
    value = record.value or b""
    key_length = -1 if record.key is None else len(key)
    head = _MAGIC_1.pack(1, 0, record.timestamp_ms, key_length) if magic else _MAGIC_0.pack(0, 0, key_length)
    value_length = _LENGTH.pack(-1 if record.value is None else len(value))
    crc = zlib.crc32(value, zlib.crc32(value_length, zlib.crc32(key, zlib.crc32(head))))
    size = 4 + len(head) + len(key) + 4 + len(value)
    return _OFFSET_SIZE_CRC.pack(record.offset, size, crc), head, key, value_length, value


def message_span(messages: bytes, from_offset: int, room_bytes: int) -> tuple[int, int, int]:
    """Find what to send of a run of entries: (start, end, end of the first).

    `start` is the first entry at or after `from_offset` (the end of all if there is none); `end` is where the last
    entry ends that fits into `room_bytes` after `start`, and is `start` if not even the first fits.
    """
    position = 0
    total = len(messages)
    while position < total:
        offset, size = _ENTRY_HEAD.unpack_from(messages, position)
        if offset >= from_offset:
            break
        position += ENTRY_HEAD_BYTES + size
    start = end = position
    first_end = start
    while position < total:
        position += ENTRY_HEAD_BYTES + _ENTRY_HEAD.unpack_from(messages, position)[1]
        if first_end == start:
            first_end = position
        if position - start > room_bytes:
            break
        end = position
    return start, end, first_end
