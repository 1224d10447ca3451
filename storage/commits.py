"""One thread that runs writes of the catalog and makes those that wait together durable with one commit.

Owns the queue, the grouping and the way results come back to their event loops. What a transaction is, is given.

Invariant: a caller is answered after the commit that holds its write returned, or with the error that undid it. Jobs
run in the order they were given.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Final, TypeVar

from msgspec import Struct

from storage.errors import StorageError

R = TypeVar("R")

GROUP_JOBS_MAX: Final = 1000
"""Jobs of one commit: bounds how long the first of them waits for the last."""


class _Job(Struct):
    function: Callable[[], Any]
    future: asyncio.Future[Any]
    loop: asyncio.AbstractEventLoop
    result: Any = None
    error: BaseException | None = None

    def answer(self) -> None:
        if self.future.cancelled():
            return
        if self.error is not None:
            self.future.set_exception(self.error)
        else:
            self.future.set_result(self.result)


class CommitThread:
    """Started by the first `run`, ended by `close`."""

    def __init__(
        self,
        transaction: Callable[[], AbstractContextManager[None]],
        savepoint: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self._transaction = transaction
        self._savepoint = savepoint
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._closed = False

    async def run(self, function: Callable[[], R]) -> R:
        """The result of `function`, run inside a transaction, once that is committed.

        Raises:
            StorageError: the thread is closed, or the commit failed.
        """
        if self._closed:
            raise StorageError("the catalog is closed; nothing more can be written to it")
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="catalog", daemon=True)
            self._thread.start()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[R] = loop.create_future()
        self._jobs.put(_Job(function, future, loop))
        return await future

    def close(self, wait_s: float) -> bool:
        """Run what is queued, then end the thread; whether that was done in time. What was not is never answered."""
        self._closed = True
        thread, self._thread = self._thread, None
        if thread is None:
            return True
        self._jobs.put(None)
        thread.join(wait_s)
        return not thread.is_alive()

    def _work(self) -> None:
        while True:
            group, is_last = self._next_group()
            if group:
                self._commit(group)
                _answer(group)
            if is_last:
                return

    def _next_group(self) -> tuple[list[_Job], bool]:
        group: list[_Job] = []
        while len(group) < GROUP_JOBS_MAX:
            try:
                job = self._jobs.get(block=not group)
            except queue.Empty:
                break
            if job is None:
                return group, True
            group.append(job)
        return group, False

    def _commit(self, group: list[_Job]) -> None:
        try:
            with self._transaction():
                for job in group:
                    self._run_one(job)
        except Exception as error:  # it belongs to those who wait, not to this thread
            for job in group:
                job.error = job.error or error

    def _run_one(self, job: _Job) -> None:
        try:
            with self._savepoint():
                job.result = job.function()
        except Exception as error:  # as above
            job.error = error


def _answer(group: list[_Job]) -> None:
    """Wake each loop once, however many of its calls were answered."""
    for loop in dict.fromkeys(job.loop for job in group):
        answered = [job for job in group if job.loop is loop]
        try:
            loop.call_soon_threadsafe(_answer_all, answered)
        except RuntimeError:
            # The loop is closed: its callers are gone, their writes are not.
            continue


def _answer_all(jobs: list[_Job]) -> None:
    for job in jobs:
        job.answer()
