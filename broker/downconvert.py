"""Record batches of magic 2 as messages of magic 1 and 0, for Fetch v0-v3.

    entry   offset i64, size i32 (bytes after this field), crc u32, magic i8, attributes i8 = 0,
            [timestamp i64, magic 1 only], key i32 length (-1 null) + bytes, value i32 length (-1 null) + bytes

The CRC is CRC-32 of magic to the end. Entries follow each other without a count; offsets and timestamps (CreateTime)
stay; headers and control batches are dropped, as in Kafka's `AbstractRecords.downConvert`.

Nothing is compressed, whatever the stored batch is: that spares old clients the wrong header checksum that magic 0
wants of LZ4 and the framing of snappy, kafka-node its belief that offsets in a wrapper are contiguous, and lets an
answer begin at the very message that was asked for.

Invariants: a batch is converted once, however many clients ask at the same time, into a cache bounded in bytes; at most
`CONVERSIONS_MAX` are under way, each with its batch and what becomes of it. Conversion gives the loop back every
`SLICE_MS`, inside a large record too; decompression runs on a worker thread. What a client gets of a conversion is
found by `message_span` and never copied before it is put together with others. Such copies are counted as long as they
are held: clients that do not read cost `ANSWERS_BYTES_MAX` together and the messages of one batch each.
"""

from __future__ import annotations

import asyncio
import mmap
import struct
import time
import weakref
import zlib
from array import array
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from itertools import accumulate
from typing import TYPE_CHECKING, Final, NamedTuple

from storage.errors import CorruptLog
from storage.records import HEADER_BYTES, Batch, iter_batches, iter_values, records_of
from storage.scheduler import SLICE_MS, give_way

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

CACHE_BYTES_MAX: Final = 64 * 1024 * 1024
ANSWERS_BYTES_MAX: Final = 64 * 1024 * 1024
"""What all answers that their clients have not read yet hold together; beyond it each has the messages of one batch."""
CONVERSIONS_MAX: Final = 4
RECORDS_PER_LOOK: Final = 64
"""Records converted between two looks at the time: well below a slice even for large records."""
LARGE_BYTES: Final = 1 << 20
"""Values and conversions beyond this are checked and copied a piece of this size at a time."""

_CONTROL_BATCH: Final = 0x20
_MAGIC_0: Final = struct.Struct(">bbi")
_MAGIC_1: Final = struct.Struct(">bbqi")
_LENGTH: Final = struct.Struct(">i")
_OFFSET_SIZE_CRC: Final = struct.Struct(">qiI")


class Messages(NamedTuple):
    """The entries of one batch: their bytes, and of each the offset and where it ends."""

    data: memoryview
    offsets: Sequence[int]
    ends: Sequence[int]

    @property
    def size_bytes(self) -> int:
        """What keeping it costs."""
        return self.data.nbytes + 16 * len(self.ends)


NO_MESSAGES: Final = Messages(memoryview(b""), (), ())


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
        self._cache: OrderedDict[_Key, Messages] = OrderedDict()
        self._cached_bytes = 0
        self._running: dict[_Key, asyncio.Task[Messages]] = {}
        self._slots = asyncio.Semaphore(CONVERSIONS_MAX)
        self._answers_bytes = 0

    @property
    def cached_bytes(self) -> int:
        """Bytes the cache holds now."""
        return self._cached_bytes

    def answer(self, messages: Sequence[memoryview]) -> memoryview:
        """Put the messages of one answer, a piece of each batch, together: as many pieces as there is room for, and
        the first. What this returns is counted as long as somebody holds it.
        """
        room = ANSWERS_BYTES_MAX - self._answers_bytes
        count = max(bisect_right([*accumulate(map(len, messages))], room), 1)
        view = messages[0] if count == 1 else memoryview(b"".join(messages[:count]))
        self._count_answer(view.nbytes)
        weakref.finalize(view, self._count_answer, -view.nbytes).atexit = False
        return view

    def _count_answer(self, size_bytes: int) -> None:
        self._answers_bytes += size_bytes

    async def convert(self, topic: str, batches: memoryview, magic: int) -> AsyncIterator[Messages]:
        """Yield the messages of each batch in turn; a batch with nothing to show yields `NO_MESSAGES`.

        Raises:
            CorruptLog: the bytes are not batches, or not what was written.
        """
        for batch in iter_batches(batches):
            key = _Key(topic, batch.header.base_offset, batch.header.crc, magic)
            converted = self._cache.get(key)
            if converted is None:
                converted = await self._convert_once(key, batch)
            else:
                self._cache.move_to_end(key)
            yield converted

    async def _convert_once(self, key: _Key, batch: Batch) -> Messages:
        """Convert, or wait for the conversion under way. A client that goes away does not end what others wait for."""
        task = self._running.get(key)
        if task is None:
            # The batch's view keeps its mapping alive although the slice it was cut from may be closed meanwhile.
            task = asyncio.create_task(self._convert_in_turn(batch, key.magic))
            self._running[key] = task
            task.add_done_callback(lambda done: self._keep(key, done))
        return await asyncio.shield(task)

    async def _convert_in_turn(self, batch: Batch, magic: int) -> Messages:
        async with self._slots:
            try:
                return await _convert(batch, magic)
            except (struct.error, OverflowError):
                raise CorruptLog(
                    f"the record batch at offset {batch.header.base_offset} has offsets or times beyond 64 bits"
                ) from None

    def _keep(self, key: _Key, done: asyncio.Task[Messages]) -> None:
        del self._running[key]
        if done.cancelled() or done.exception() is not None:
            return
        converted = done.result()
        if converted.size_bytes > self._cache_bytes_max:
            return
        self._cache[key] = converted
        self._cached_bytes += converted.size_bytes
        while self._cached_bytes > self._cache_bytes_max:
            self._cached_bytes -= self._cache.popitem(last=False)[1].size_bytes


class _Slice:
    """The time that is left before the loop must have its turn."""

    __slots__ = ("_end",)

    def __init__(self) -> None:
        self._end = time.monotonic() + SLICE_MS / 1000

    async def give_way(self) -> None:
        """Let others run if the slice is used up."""
        if time.monotonic() > self._end:
            await give_way()
            self._end = time.monotonic() + SLICE_MS / 1000


async def _convert(batch: Batch, magic: int) -> Messages:
    if batch.header.attributes & _CONTROL_BATCH:
        return NO_MESSAGES
    data = await _decompressed(batch) if batch.header.compression else _stored_records(batch)
    head = _MAGIC_1 if magic else _MAGIC_0
    parts: list[bytes | memoryview] = []
    offsets, ends = array("q"), array("q")
    end = 0
    time_slice = _Slice()
    for count, (offset, timestamp_ms, key, value) in enumerate(iter_values(batch.header, data), start=1):
        key_bytes = -1 if key is None else len(key)
        message = head.pack(1, 0, timestamp_ms, key_bytes) if magic else head.pack(0, 0, key_bytes)
        if key:
            message += key
        if value is None:
            value, value_length = b"", _LENGTH.pack(-1)
        else:
            value_length = _LENGTH.pack(len(value))
        message += value_length
        crc = zlib.crc32(message)
        crc = zlib.crc32(value, crc) if len(value) <= LARGE_BYTES else await _crc32(value, crc, time_slice)
        size = 4 + len(message) + len(value)
        parts += (_OFFSET_SIZE_CRC.pack(offset, size, crc), message, value)
        end += 12 + size
        offsets.append(offset)
        ends.append(end)
        if count % RECORDS_PER_LOOK == 0:
            await time_slice.give_way()
    return Messages(await _joined(parts, end, time_slice), offsets, ends)


async def _decompressed(batch: Batch) -> bytes | memoryview:
    """The records of a compressed batch; of many bytes a view, because each value would be a copy made in one go."""
    data = await asyncio.to_thread(records_of, batch)
    return data if len(data) <= LARGE_BYTES else memoryview(data)


def _stored_records(batch: Batch) -> bytes | memoryview:
    """The records of an uncompressed batch: their bytes, or where they lie if copying them would take long."""
    return records_of(batch) if batch.view.nbytes <= LARGE_BYTES else batch.view[HEADER_BYTES:]


async def _crc32(value: bytes | memoryview, crc: int, time_slice: _Slice) -> int:
    with memoryview(value) as view:
        for start in range(0, view.nbytes, LARGE_BYTES):
            crc = zlib.crc32(view[start : start + LARGE_BYTES], crc)
            await time_slice.give_way()
    return crc


async def _joined(parts: Sequence[bytes | memoryview], size_bytes: int, time_slice: _Slice) -> memoryview:
    if size_bytes <= LARGE_BYTES:
        return memoryview(b"".join(parts))
    # Memory that the system hands out as it is written to: nothing clears all of it in one go.
    joined = memoryview(mmap.mmap(-1, size_bytes))
    position = 0
    for part in parts:
        for start in range(0, len(part), LARGE_BYTES):
            piece = part[start : start + LARGE_BYTES]
            joined[position : position + len(piece)] = piece
            position += len(piece)
            await time_slice.give_way()
    return joined.toreadonly()


def message_span(messages: Messages, from_offset: int, room_bytes: int) -> tuple[int, int, int]:
    """Find what to send of a batch's entries: (start, end, end of the first).

    `start` is the first entry at or after `from_offset` (the end of all if there is none); `end` is where the last
    entry ends that fits into `room_bytes` after `start`, and is `start` if not even the first fits.
    """
    _, offsets, ends = messages
    first = bisect_left(offsets, from_offset)
    start = ends[first - 1] if first else 0
    if first == len(offsets):
        return start, start, start
    behind = bisect_right(ends, start + room_bytes, lo=first)
    return start, ends[behind - 1] if behind > first else start, ends[first]
