"""What a log does beside being read and written: flush, reserve offsets, retire segments.

Owns one task of the event loop and one thread. The task decides and keeps the books, the thread makes the system
calls that may block; so the log's state is only ever touched on the loop's thread.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, ParamSpec, Protocol

from storage.errors import LogReadError
from storage.log import NotResident

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from storage.config import LogConfig
    from storage.flushing import Flusher, FlushJob
    from storage.reservation import Reservation
    from storage.segment import Segment

P = ParamSpec("P")


class Maintained(Protocol):
    """What upkeep asks of a log."""

    config: LogConfig
    end_offset: int
    flusher: Flusher
    reservation: Reservation

    @property
    def needs_flush(self) -> bool: ...
    def begin_flush(self) -> FlushJob: ...
    def end_flush(self, job: FlushJob, error: OSError | None) -> None: ...
    def retire(self) -> list[Segment]: ...
    def delete(self, segments: Sequence[Segment]) -> None: ...
    def keep_doomed(self, segments: Sequence[Segment]) -> None: ...
    def fail(self, error: BaseException) -> None: ...


class Upkeep:
    """Runs `flush_interval_ms` after `flush_interval_ms`, and at once when woken."""

    def __init__(self, log: Maintained) -> None:
        self._log = log
        self._woken = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._thread: ThreadPoolExecutor | None = None
        self._looking: asyncio.Future[object] | None = None
        """Brings in what `retire` needs to see, and holds it until that has looked."""
        self._is_stopping = False

    @property
    def is_running(self) -> bool:
        return self._task is not None and not self._task.done()

    def start(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="log-upkeep")
        self._task = asyncio.create_task(self._run(), name="log-upkeep")
        self._task.add_done_callback(self._ended)

    def wake(self) -> None:
        """Flush now rather than when the interval ends."""
        self._woken.set()

    async def stop(self) -> None:
        """End the task; a flush that is running is waited for. An error of the task is raised here."""
        if self._task is None or self._thread is None:
            return
        self._is_stopping = True
        self._woken.set()
        if self._looking is not None:
            self._looking.cancel()
        try:
            await self._task
        finally:
            self._thread.shutdown()
            self._task = self._thread = None

    def _ended(self, task: asyncio.Task[None]) -> None:
        """A task that ended by an error flushes no more: the writer must know."""
        if not task.cancelled() and (error := task.exception()) is not None:
            self._log.fail(error)

    async def _run(self) -> None:
        interval_s = self._log.config.flush_interval_ms / 1000
        while not self._is_stopping:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._woken.wait(), interval_s)
            self._woken.clear()
            await self._once()

    async def _once(self) -> None:
        log = self._log
        if log.needs_flush:
            job = log.begin_flush()
            error = await self._in_thread(log.flusher.run, job)
            log.end_flush(job, error)
        if log.reservation.is_short(log.end_offset):
            # A failure shows again, to the writer, when the offsets have run out.
            await self._in_thread(log.reservation.extend, log.end_offset, log.flusher.durable_offset)
        if self._looking is not None and not self._looking.done():
            return  # a slow medium delays what retires, and no flush
        try:
            doomed = log.retire()
        except NotResident as cold:
            self._looking = asyncio.ensure_future(cold.bring_in())
            self._looking.add_done_callback(lambda _: self._woken.set())
            return
        except LogReadError:
            return  # a segment of which nothing can be read stays; it is tried again
        if doomed and await self._in_thread(log.delete, doomed) is not None:
            log.keep_doomed(doomed)

    async def _in_thread(self, call: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> OSError | None:
        """Run a call that may block; returns the system's error, if it refused."""
        try:
            await asyncio.get_running_loop().run_in_executor(self._thread, lambda: call(*args, **kwargs))
        except OSError as error:
            return error
        return None
