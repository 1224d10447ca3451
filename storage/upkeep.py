"""What a log does beside being read and written: flush, reserve offsets, retire segments, measure its disk.

Owns one task of the event loop and one thread. The task decides and keeps the books, the thread makes the system
calls that may block; so the log's state is only ever touched on the loop's thread.

Of a log whose files are volatile no call blocks, and nobody asks for room: it needs no thread.

A call that hangs holds the thread and nothing else: since when is told (`waiting_since_ms`), and the log refuses writes
after `LATE_MS`. The end of the process does not wait for it longer than that, either: the thread is given up, and what
was not flushed is found by the next start as after a kill. (The system may still hold the process, and with it the
lock of the data directory, until the medium answers.)
"""

from __future__ import annotations

import asyncio
import queue
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Final, ParamSpec, Protocol

from storage.disk_meter import FIRST_INTERVAL_MS, FIRST_LOOKS, MEASURE_INTERVAL_MS
from storage.errors import StorageError
from storage.log import NotResident

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from storage.clock import Clock
    from storage.config import LogConfig
    from storage.flushing import Flusher, FlushJob
    from storage.reservation import Reservation
    from storage.segment import Segment

P = ParamSpec("P")

LATE_MS: Final = 30_000
"""How long a flush may take before capture stops: longer than a busy disk needs, shorter than anybody's patience."""


class Maintained(Protocol):
    """What upkeep asks of a log."""

    config: LogConfig
    is_volatile: bool
    end_offset: int
    flusher: Flusher
    reservation: Reservation

    @property
    def needs_flush(self) -> bool: ...
    def begin_flush(self) -> FlushJob: ...
    def run_flush(self, job: FlushJob) -> None: ...
    def end_flush(self, job: FlushJob, error: OSError | None) -> None: ...
    def retire(self) -> list[Segment]: ...
    def delete(self, segments: Sequence[Segment]) -> None: ...
    def keep_doomed(self, segments: Sequence[Segment]) -> None: ...
    def measure_disk(self) -> Callable[[], None]: ...
    def fail(self, error: BaseException) -> None: ...


class Upkeep:
    """Runs `flush_interval_ms` after `flush_interval_ms`, and at once when woken."""

    def __init__(self, log: Maintained, clock: Clock) -> None:
        self._log = log
        self._clock = clock
        self._woken = asyncio.Event()
        self._flushed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._thread: _Thread | None = None
        self._call_since_ms: int | None = None
        self._measured_ms: int | None = None
        self._looks = 0
        self._looking: asyncio.Future[object] | None = None
        """Brings in what `retire` needs to see, and holds it until that has looked."""
        self._is_stopping = False

    @property
    def is_running(self) -> bool:
        return self._task is not None and not self._task.done()

    @property
    def waiting_since_ms(self) -> int | None:
        """Since when a call is under way, or a flush could not be begun; on the monotonic clock."""
        times = (self._call_since_ms, self._log.flusher.waiting_since_ms)
        return min((time_ms for time_ms in times if time_ms is not None), default=None)

    @property
    def is_late(self) -> bool:
        since_ms = self.waiting_since_ms
        return since_ms is not None and self._clock.monotonic_ms() - since_ms >= LATE_MS

    def start(self) -> None:
        self._thread = None if self._log.is_volatile else _Thread()
        self._task = asyncio.create_task(self._run(), name="log-upkeep")
        self._task.add_done_callback(self._ended)

    def wake(self) -> None:
        """Flush now rather than when the interval ends."""
        self._woken.set()

    async def turn(self) -> None:
        """Wait until a flush has ended, or for an interval."""
        self._flushed.clear()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._flushed.wait(), self._log.config.flush_interval_ms / 1000)

    async def stop(self) -> bool:
        """End the task; a flush that is running is waited for until it is late. Whether it ended.

        An error of the task is raised here.
        """
        if self._task is None:
            return True
        task, thread = self._task, self._thread
        self._is_stopping = True
        self._woken.set()
        if self._looking is not None:
            self._looking.cancel()
        since_ms = self.waiting_since_ms if self._call_since_ms is not None else None
        waited_ms = 0 if since_ms is None else self._clock.monotonic_ms() - since_ms
        await asyncio.wait((task,), timeout=max(0, LATE_MS - waited_ms) / 1000)
        self._task = self._thread = None
        if thread is not None:
            thread.end()
        if not task.done():
            task.cancel()
            return False
        await task
        return True

    def _ended(self, task: asyncio.Task[None]) -> None:
        """A task that ended by an error flushes no more: the writer must know."""
        if not task.cancelled() and (error := task.exception()) is not None:
            self._log.fail(error)

    async def _run(self) -> None:
        interval_s = self._log.config.flush_interval_ms / 1000
        await self._measure()
        while not self._is_stopping:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._woken.wait(), interval_s)
            self._woken.clear()
            await self._once()
            await self._measure()

    async def _measure(self) -> None:
        """Look at the disk, if it is time."""
        if self._is_stopping or self._log.is_volatile:
            return
        now_ms = self._clock.monotonic_ms()
        interval_ms = FIRST_INTERVAL_MS if self._looks < FIRST_LOOKS else MEASURE_INTERVAL_MS
        if self._measured_ms is None or now_ms - self._measured_ms >= interval_ms:
            self._measured_ms = now_ms
            self._looks += 1
            # Where the system does not let us look, what was seen before stands.
            await self._in_thread(self._log.measure_disk())

    async def _once(self) -> None:
        log = self._log
        if log.needs_flush:
            job = log.begin_flush()
            error = await self._in_thread(log.run_flush, job)
            log.end_flush(job, error)
            self._flushed.set()
        if log.reservation.is_short(log.end_offset):
            # A failure shows again, to the writer, when the offsets have run out.
            await self._in_thread(log.reservation.extend, log.end_offset, log.flusher.durable_offset)
        doomed = self._retired()
        if doomed and await self._in_thread(log.delete, doomed) is not None:
            log.keep_doomed(doomed)

    def _retired(self) -> Sequence[Segment]:
        """What is to be deleted, as far as it can be told now: a slow medium delays what retires, and no flush."""
        if self._looking is not None and not self._looking.done():
            return ()
        # Not kept beyond this look: of what failed to be read the failure would stand for as long.
        looked, self._looking = self._looking, None
        try:
            return self._log.retire()
        except NotResident as cold:
            self._looking = asyncio.ensure_future(cold.bring_in())
            self._looking.add_done_callback(lambda _: self._woken.set())
        except (StorageError, OSError):
            pass  # a segment that cannot be read, or is damaged, stays; it is tried again, and the rest goes on
        finally:
            del looked
        return ()

    async def _in_thread(self, call: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> OSError | None:
        """Run a call that may block, in the thread if there is one; returns the system's error, if it refused."""
        self._call_since_ms = self._clock.monotonic_ms()
        try:
            if self._thread is None:
                call(*args, **kwargs)
            else:
                await self._thread.run(lambda: call(*args, **kwargs))
        except OSError as error:
            return error
        finally:
            self._call_since_ms = None
        return None


class _Thread:
    """Makes calls one after the other. A daemon: the end of the process does not wait for a call that hangs."""

    def __init__(self) -> None:
        self._calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        threading.Thread(target=self._work, name="log-upkeep", daemon=True).start()

    async def run(self, call: Callable[[], None]) -> None:
        """Make a call; what it raises is raised here."""
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[None] = loop.create_future()

        def end(error: BaseException | None) -> None:
            if ended.cancelled():
                return
            if error is None:
                ended.set_result(None)
            else:
                ended.set_exception(error)

        def work() -> None:
            failure: BaseException | None = None
            try:
                call()
            except Exception as error:
                failure = error
            with suppress(RuntimeError):  # the loop has ended, and with it whoever waited
                loop.call_soon_threadsafe(end, failure)

        self._calls.put(work)
        await ended

    def end(self) -> None:
        """Make what was given, and no more."""
        self._calls.put(None)

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            call()
