"""Cold reads: what is not in memory is brought there by a few threads, and the event loop goes on meanwhile.

How it goes. Code on the loop asks `require` before it touches pages of a mapping. If they are resident that is all. If
not, `NotResident` is raised through the lookup; whoever answers the client awaits its `bring_in` and looks up again.
A thread reads the pages with `pread`, which lets the interpreter go and *fails* where a touched page would kill the
process (SIGBUS): a medium's error, a file that was cut. What failed is raised by the next `require` as `LogReadError`.

Bounds. Reads are made in aligned chunks of `CHUNK_BYTES`, one chunk per thread at a time, first come first served: a
read that hangs holds one of `THREADS` threads. A chunk that is being read is shared by all who need it. One lookup
asks for `COLD_READ_BYTES` at most (or for one batch, if that is larger), so waiting reads are bounded by the
connections. Read-ahead is dropped while `READS_AHEAD_MAX` chunks wait. Bytes that were read are not kept: they are in
the page cache, where the mapping shows them.

What was read within `TRUST_MS` is believed to be there, whatever `residency` says: a lookup that needs two places at
once comes to its end even where the system keeps neither, or does not tell.

Invariant: everything but the work itself runs on the loop's thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Final, NamedTuple

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
TRUSTED_MAX: Final = 4096


class _Key(NamedTuple):
    """A chunk of a mapping, or other work, by number."""

    kind: str
    number: int
    part: int


class _Read(NamedTuple):
    """How the reading of a chunk ended, and when."""

    at_ms: int
    end: int
    error: OSError | None


class ColdReads:
    """The threads, and what they are reading. One for all logs of a process."""

    def __init__(self, *, residency: Residency | None = None, clock: Clock | None = None) -> None:
        self._residency = residency or SystemResidency()
        self._clock = clock or SystemClock()
        self._threads: ThreadPoolExecutor | None = None
        self._reading: dict[_Key, asyncio.Future[_Read]] = {}
        self._recent: dict[_Key, _Read] = {}

    @property
    def waiting_count(self) -> int:
        """Chunks that are being read or wait for a thread."""
        return len(self._reading)

    def close(self) -> None:
        """Let the threads end behind what they are doing. Nobody may wait for a read any more."""
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)

    # Asked before pages are touched

    def require(self, mapping: Mapping, start: int, end: int) -> None:
        """Return if `start` to `end` may be touched.

        Raises:
            NotResident: not yet.
            LogReadError: not at all; it was tried just now.
        """
        resident = self._residency.resident_bytes(mapping.address, start, end)
        if resident < end - start:
            self._require_read(mapping, start + resident, end)

    def _require_read(self, mapping: Mapping, start: int, end: int) -> None:
        missing = []
        for chunk in range(start // CHUNK_BYTES, -(-end // CHUNK_BYTES)):
            key = _Key("chunk", mapping.number, chunk)
            read = self._recent_read(key)
            if read is None:
                missing.append((key, _chunk_reader(mapping, chunk)))
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

    def require_work(self, number: int, name: str, work: Callable[[], None]) -> None:
        """Return if `work`, which makes files warm, was done just now; else as `require`."""
        key = _Key("work", number, 0)
        read = self._recent_read(key)
        if read is None:
            raise NotResident(lambda: self._bring_in([(key, _ending_at_0(work))]))
        _raise_failure(name, read)

    def servable_bytes(self, mapping: Mapping, start: int, end: int) -> int:
        """How much of `start` to `end` to answer with: all if it is resident, else what is, if that is worth an answer.

        Raises as `require`.
        """
        resident = self._residency.resident_bytes(mapping.address, start, end)
        if resident >= min(end - start, CHUNK_BYTES):
            return resident
        worth = min(end - start, COLD_READ_BYTES)
        self._require_read(mapping, start + resident, start + worth)
        return worth

    def read_ahead(self, mapping: Mapping, start: int, end: int) -> None:
        """Ask the system for what comes next, if it is not there. One page is looked at: this is on the warm path."""
        probe = min(start + READ_AHEAD_BYTES // 4, end - 1)
        if self._residency.resident_bytes(mapping.address, probe, probe + 1):
            return
        key = _Key("ahead", mapping.number, start // READ_AHEAD_BYTES)
        if key in self._reading or len(self._reading) >= READS_AHEAD_MAX or self._recent_read(key) is not None:
            return
        size = min(READ_AHEAD_BYTES, end - start)
        self._begin(key, _ending_at_0(lambda: mapping.files.advise(mapping.descriptor, start, size)))

    # Reading

    def _bring_in(self, jobs: Sequence[tuple[_Key, Callable[[], int]]]) -> asyncio.Future[None]:
        """Begin what is not begun yet; the future ends, without a result, when all of it has."""
        everything: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        pending = {self._reading.get(key) or self._begin(key, job) for key, job in jobs}

        def ended(one: asyncio.Future[_Read]) -> None:
            pending.discard(one)
            if not pending and not everything.done():
                everything.set_result(None)

        for one in tuple(pending):
            one.add_done_callback(ended)
        return everything

    def _begin(self, key: _Key, job: Callable[[], int]) -> asyncio.Future[_Read]:
        loop = asyncio.get_running_loop()
        if self._threads is None:
            self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="cold-read")
        reading: asyncio.Future[_Read] = loop.create_future()
        self._reading[key] = reading

        def end(position: int, error: OSError | None) -> None:
            read = _Read(self._clock.monotonic_ms(), position, error)
            del self._reading[key]
            self._remember(key, read)
            if not reading.done():
                reading.set_result(read)

        def run() -> None:
            position, error = 0, None
            try:
                position = job()
            except OSError as failure:
                error = failure
            with suppress(RuntimeError):  # the loop has ended, and with it whoever waited
                loop.call_soon_threadsafe(end, position, error)

        self._threads.submit(run)
        return reading

    # What was read just now

    def _recent_read(self, key: _Key) -> _Read | None:
        read = self._recent.get(key)
        if read is None or read.at_ms + TRUST_MS < self._clock.monotonic_ms():
            return None
        return read

    def _remember(self, key: _Key, read: _Read) -> None:
        self._recent.pop(key, None)
        self._recent[key] = read
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
    if read.error is not None:
        reason = read.error.strerror or read.error
        raise LogReadError(f"{name} could not be read ({reason}); check the disk it lies on") from read.error
