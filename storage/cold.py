"""Cold reads: what is not in memory is brought there by a few threads, and the event loop goes on meanwhile.

How it goes. Code on the loop asks `require` before it touches pages of a mapping. If they are resident that is all. If
not, `NotResident` is raised through the lookup; whoever answers the client awaits its `bring_in` and looks up again.
A thread reads the pages with `pread`, which lets the interpreter go and *fails* where a touched page would kill the
process (SIGBUS): a medium's error, a file that was cut. What failed is raised by the next `require` as `LogReadError`.

Bounds. Reads are made in aligned chunks of `CHUNK_BYTES`, one chunk per thread at a time, first come first served: a
read that hangs holds one of `THREADS` threads. A chunk that is being read is shared by all who need it; one for which
nobody waits any more is not begun. A lookup asks for `COLD_READ_BYTES` at a time, also on its way to a larger batch,
so what waits is bounded by the connections and nobody stands in front of the others. Read-ahead is dropped while
`READS_AHEAD_MAX` chunks wait. Bytes that were read are not kept: they are in the page cache, where the mapping shows
them.

The warm path. The system is asked in blocks of `SEEN_BLOCK_BYTES`, and about one that was seen to be there not again
for `SEEN_MS`: an answer touches the same few places several times, and asking costs 2 to 5 µs.

What was read within `TRUST_MS`, or for somebody who still holds what `bring_in` gave, is believed to be there whatever
`residency` says: a lookup that needs several places comes to its end even where the system keeps none, or does not
tell.

Invariant: everything but the work itself runs on the loop's thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from enum import StrEnum
from typing import Final, NamedTuple
from weakref import WeakValueDictionary

from msgspec import Struct

from storage.clock import Clock, SystemClock
from storage.errors import LogReadError
from storage.log import NotResident
from storage.mapping import Mapping
from storage.residency import Residency, SystemResidency

THREADS: Final = 4
CHUNK_BYTES: Final = 1024 * 1024
COLD_READ_BYTES: Final = 4 * CHUNK_BYTES
"""What one answer waits for: enough for a disk to be busy with, little enough that the next consumer's turn comes."""
READ_AHEAD_BYTES: Final = 4 * CHUNK_BYTES
"""What is asked of the system behind a range that is served, while the client takes that range."""
READS_AHEAD_MAX: Final = 2 * THREADS
TRUST_MS: Final = 1000
SEEN_MS: Final = 100
SEEN_BLOCK_BYTES: Final = 1024 * 1024
TRUSTED_MAX: Final = 4096


_UNSEEN: Final = (-1, 0)


class WorkKind(StrEnum):
    """What a thread may be given."""

    CHUNK = "chunk"
    AHEAD = "ahead"
    LOOK_INTO = "look into"
    MEASURE = "measure"
    REBUILD_INDEX = "rebuild index"
    VERIFY = "verify"


class _Key(NamedTuple):
    """A chunk of a mapping, or other work, by number."""

    kind: WorkKind
    number: int
    part: int


class _Read(Struct, frozen=True, weakref=True, eq=False):
    """How the reading of a chunk ended, and when."""

    at_ms: int
    end: int
    error: Exception | None


class _Asking:
    """Who waits for `missing` more reads; `future` ends with all that were made for it."""

    __slots__ = ("future", "missing", "reads")

    def __init__(self, missing: int) -> None:
        self.future: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        self.missing = missing
        self.reads: list[_Read] = []

    def take(self, read: _Read) -> None:
        self.reads.append(read)
        self.missing -= 1
        if not self.missing and not self.future.done():
            self.future.set_result(self.reads)


class _Reading:
    """A read that waits for a thread or has one, and who waits for it."""

    __slots__ = ("asking", "work")

    def __init__(self) -> None:
        self.asking: set[_Asking] = set()
        self.work: Future[None] | None = None


class ColdReads:
    """The threads, and what they are reading. One for all logs of a process."""

    def __init__(self, *, residency: Residency | None = None, clock: Clock | None = None) -> None:
        self._residency = residency or SystemResidency()
        self._clock = clock or SystemClock()
        self._threads: ThreadPoolExecutor | None = None
        self._is_closed = False
        self._reading: dict[_Key, _Reading] = {}
        self._recent: dict[_Key, _Read] = {}
        self._seen: dict[tuple[int, int], tuple[int, int]] = {}
        """Mapping and block, to when that is to be asked again, and how far it was in memory."""
        self._held: WeakValueDictionary[_Key, _Read] = WeakValueDictionary()
        """What `_recent` holds, and what somebody who asked for it holds."""

    @property
    def waiting_count(self) -> int:
        """Chunks that are being read or wait for a thread."""
        return len(self._reading)

    def close(self) -> None:
        """Read no more: who waits gets an error. A thread whose read hangs is left to it."""
        self._is_closed = True
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)
        for key, reading in tuple(self._reading.items()):
            self._end(key, reading, 0, _closed())

    # Asked before pages are touched

    def require(self, mapping: Mapping, start: int, end: int) -> None:
        """Return if `start` to `end` may be touched.

        Raises:
            NotResident: not yet.
            LogReadError: not at all; it was tried just now.
        """
        until_ms, seen = self._seen.get((mapping.number, start // SEEN_BLOCK_BYTES), _UNSEEN)
        if end <= seen and self._clock.monotonic_ms() <= until_ms:
            return  # nearly always: within one block, that was seen to be there just now
        resident = self._resident_bytes(mapping, start, end)
        if resident < end - start:
            self._require_read(mapping, start + resident, end)

    def _resident_bytes(self, mapping: Mapping, start: int, end: int) -> int:
        """How many bytes from `start` on, up to `end`, are in memory or were just now."""
        now_ms, number = self._clock.monotonic_ms(), mapping.number
        position = start
        while position < end:
            block = position // SEEN_BLOCK_BYTES
            until_ms, seen = self._seen.get((number, block), _UNSEEN)
            block_end = (block + 1) * SEEN_BLOCK_BYTES
            if until_ms < now_ms:
                return position + self._look(mapping, position, end, now_ms + SEEN_MS) - start
            if seen < min(end, block_end):
                # What was written behind it since, or is not there.
                position = max(position, seen)
                return position + self._residency.resident_bytes(mapping.address, position, end) - start
            position = block_end
        return end - start

    def _look(self, mapping: Mapping, start: int, end: int, until_ms: int) -> int:
        """Ask the system; and about the blocks around, so that it need not be asked about them."""
        first = start // SEEN_BLOCK_BYTES
        stop = min(-(-end // SEEN_BLOCK_BYTES) * SEEN_BLOCK_BYTES, mapping.view.nbytes)
        block_start = first * SEEN_BLOCK_BYTES
        seen = block_start + self._residency.resident_bytes(mapping.address, block_start, stop)
        if seen <= start:
            return self._residency.resident_bytes(mapping.address, start, end)
        if len(self._seen) > TRUSTED_MAX:
            self._seen.clear()
        for block in range(first, -(-seen // SEEN_BLOCK_BYTES)):
            self._seen[mapping.number, block] = until_ms, min(seen, (block + 1) * SEEN_BLOCK_BYTES)
        return min(seen, end) - start

    def _require_read(self, mapping: Mapping, start: int, end: int) -> None:
        missing = []
        for chunk in range(start // CHUNK_BYTES, -(-end // CHUNK_BYTES)):
            key = _Key(WorkKind.CHUNK, mapping.number, chunk)
            read = self._recent_read(key)
            if read is None:
                missing.append((key, _chunk_reader(mapping, chunk)))
                if len(missing) * CHUNK_BYTES >= COLD_READ_BYTES:
                    break
                continue
            _raise_failure(str(mapping.path), read)
            _raise_shortage(mapping, read.end, min(end, (chunk + 1) * CHUNK_BYTES))
        if missing:
            raise NotResident(lambda: self._bring_in(missing))

    def require_size(self, mapping: Mapping, end: int) -> None:
        """Return if the file still has `end` bytes: a page behind the end of one that was cut may look resident.

        Raises:
            LogReadError: it has not.
        """
        _raise_shortage(mapping, mapping.files.size(mapping.descriptor), end)

    def require_work(self, kind: WorkKind, number: int, part: int, name: str, work: Callable[[], None]) -> None:
        """Return if `work` on a part of the numbered thing was done just now; else as `require`, or what it raised."""
        key = _Key(kind, number, part)
        read = self._recent_read(key)
        if read is None:
            raise NotResident(lambda: self._bring_in([(key, _ending_at_0(work))]))
        _raise_failure(name, read)

    def servable_bytes(self, mapping: Mapping, start: int, end: int) -> int:
        """How much of `start` to `end` to answer with: all if it is resident, else what is, if that is worth an answer.

        Raises as `require`.
        """
        resident = self._resident_bytes(mapping, start, end)
        if resident >= min(end - start, CHUNK_BYTES):
            return resident
        worth = min(end - start, COLD_READ_BYTES)
        self._require_read(mapping, start + resident, start + worth)
        return worth

    def read_ahead(self, mapping: Mapping, start: int, end: int) -> bool:
        """Ask the system for what comes next, if it is not there; whether it was not.

        One page is looked at: this is on the warm path.
        """
        probe = min(start + READ_AHEAD_BYTES // 4, end - 1)
        if self._residency.resident_bytes(mapping.address, probe, probe + 1):
            return False
        key = _Key(WorkKind.AHEAD, mapping.number, start // READ_AHEAD_BYTES)
        is_busy = key in self._reading or len(self._reading) >= READS_AHEAD_MAX
        if not is_busy and self._recent_read(key) is None:
            size = min(READ_AHEAD_BYTES, end - start)
            self._begin(key, _ending_at_0(lambda: mapping.files.advise(mapping.descriptor, start, size)))
        return True

    # Reading

    def _bring_in(self, jobs: Sequence[tuple[_Key, Callable[[], int]]]) -> asyncio.Future[object]:
        """Begin what is not begun yet; the future ends when all of it has."""
        asking = _Asking(len(jobs))
        keys = [key for key, _ in jobs]
        for key, job in jobs:
            reading = self._reading.get(key) or self._begin(key, job)
            if reading is None:
                asking.take(self._held[key])
            else:
                reading.asking.add(asking)
        asking.future.add_done_callback(lambda done: self._give_up(asking, keys) if done.cancelled() else None)
        return asking.future

    def _give_up(self, asking: _Asking, keys: Sequence[_Key]) -> None:
        """Who asked has gone: what waits for a thread for nobody else is not read."""
        for key in keys:
            reading = self._reading.get(key)
            if reading is None or asking not in reading.asking:
                continue
            reading.asking.discard(asking)
            if not reading.asking and reading.work is not None and reading.work.cancel():
                del self._reading[key]

    def _begin(self, key: _Key, job: Callable[[], int]) -> _Reading | None:
        """Give a thread its work; None if there are no threads any more, and that is how the read has ended."""
        reading = _Reading()
        if self._is_closed:
            self._end(key, reading, 0, _closed())
            return None
        loop = asyncio.get_running_loop()
        if self._threads is None:
            self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="cold-read")

        def run() -> None:
            end, failure = 0, None
            try:
                end = job()
            except Exception as error:
                failure = error
            with suppress(RuntimeError):  # the loop has ended, and with it whoever waited
                loop.call_soon_threadsafe(self._end, key, reading, end, failure)

        self._reading[key] = reading
        reading.work = self._threads.submit(run)
        return reading

    def _end(self, key: _Key, reading: _Reading, end: int, error: Exception | None) -> None:
        if self._reading.get(key) is reading:
            del self._reading[key]
        read = _Read(self._clock.monotonic_ms(), end, error)
        self._remember(key, read)
        for asking in reading.asking:
            asking.take(read)
        reading.asking.clear()

    # What was read just now

    def _recent_read(self, key: _Key) -> _Read | None:
        read = self._recent.get(key)
        if read is not None and read.at_ms + TRUST_MS >= self._clock.monotonic_ms():
            return read
        if read is not None:
            del self._recent[key], read
        return self._held.get(key)

    def _remember(self, key: _Key, read: _Read) -> None:
        self._recent.pop(key, None)
        self._recent[key] = self._held[key] = read
        while len(self._recent) > TRUSTED_MAX:
            del self._recent[next(iter(self._recent))]


def _chunk_reader(mapping: Mapping, chunk: int) -> Callable[[], int]:
    """What reads a chunk, and returns where the file's bytes in it end."""
    start = chunk * CHUNK_BYTES
    size = min(CHUNK_BYTES, mapping.view.nbytes - start)
    return lambda: start + len(mapping.files.read(mapping.descriptor, size, start))


def _ending_at_0(work: Callable[[], None]) -> Callable[[], int]:
    def run() -> int:
        work()
        return 0

    return run


def _raise_shortage(mapping: Mapping, found: int, needed: int) -> None:
    if found < needed:
        raise LogReadError(f"{mapping.path} ends at byte {found} where {needed} bytes were written; restore the file")


def _raise_failure(name: str, read: _Read) -> None:
    if isinstance(read.error, OSError):
        reason = read.error.strerror or read.error
        raise LogReadError(f"{name} could not be read ({reason}); check the disk it lies on") from read.error
    if read.error is not None:
        raise read.error


def _closed() -> LogReadError:
    return LogReadError("the log is not read any more: the server is closing")
