"""Fetches that wait: which, until when, and one look at all of them when a log has grown.

A publish costs the capture that made it one callback, however many fetches wait and however many publishes there are in
one turn of the loop: the look comes with the next turn, and gives the loop back every `SLICE_MS`. What is asked for by
several is looked at once, and a small answer is built once and sent to all of them. Who waits costs no timer: there is
one, for the earliest deadline.

Left to others: when a fetch is due, and what it is answered with (`apis/fetch.py`).
"""

from __future__ import annotations

import asyncio
import time
from functools import partial
from heapq import heapify, heappop, heappush
from itertools import count
from typing import TYPE_CHECKING, Any, Final, Protocol

from storage.scheduler import SLICE_MS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from broker.wire import Message
    from storage.clock import Clock
    from storage.log import LogReader
    from storage.scheduler import Scheduler, Timer

ENDED_MAX: Final = 1024
"""Deadlines of fetches that were answered before, beside as many as there are of those that wait."""


class Fetch(Protocol):
    """What can wait."""

    def look(self, known: dict[Any, Any]) -> Message | asyncio.Future[Message] | None:
        """Return the answer if it is due, or who brings it, else None. `known` is this look's, to keep what others
        would find too.
        """
        ...

    def answer(self) -> Message | asyncio.Future[Message]:
        """Return the answer with what there is."""
        ...


class PendingAnswer(asyncio.Future["Message"]):
    """An answer to come. `then` is called where the answer is given, and not a turn of the loop later: while a source
    is read as fast as it can be, each turn has a slice of that.
    """

    then: Callable[[PendingAnswer], None] | None = None

    def give(self, answer: Message | BaseException) -> None:
        """Have an answer, or what it failed with, unless nobody waits any more."""
        if self.done():
            return
        if isinstance(answer, BaseException):
            self.set_exception(answer)
        else:
            self.set_result(answer)
        if self.then is not None:
            self.then(self)


class _Waiting:
    __slots__ = ("answer", "fetch", "logs", "number")

    def __init__(self, number: int, fetch: Fetch, logs: Sequence[LogReader], answer: PendingAnswer) -> None:
        self.number = number
        self.fetch = fetch
        self.logs = logs
        self.answer = answer


class _Grown:
    """One log, and who waits for it."""

    __slots__ = ("is_due", "unsubscribe", "waiting")

    def __init__(self) -> None:
        self.waiting: dict[_Waiting, None] = {}
        self.is_due = False
        """Whether the log has grown since it was last looked at."""
        self.unsubscribe: Callable[[], None]


class Parked:
    """All fetches of a broker that wait."""

    def __init__(self) -> None:
        self._waiting: dict[int, _Waiting] = {}
        self._numbers = count()
        self._grown: dict[LogReader, _Grown] = {}
        self._deadlines: list[tuple[int, int]] = []
        """With the numbers of those who have them: nothing else is kept of who was answered before."""
        self._timer: Timer | None = None
        self._timer_ms = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def park(
        self, fetch: Fetch, logs: Sequence[LogReader], delay_ms: int, clock: Clock, scheduler: Scheduler
    ) -> PendingAnswer:
        """Have a fetch wait for its logs, and no longer than that; who cancels the answer does not wait any more."""
        answer = PendingAnswer()
        waiting = _Waiting(next(self._numbers), fetch, logs, answer)
        self._waiting[waiting.number] = waiting
        for log in logs:
            self._watch(log).waiting[waiting] = None
        deadline_ms = clock.monotonic_ms() + delay_ms
        heappush(self._deadlines, (deadline_ms, waiting.number))
        if self._timer is None or deadline_ms < self._timer_ms:
            self._set_timer(clock, scheduler)
        answer.add_done_callback(lambda done: self._leave(waiting) if done.cancelled() else None)
        return answer

    def wake_all(self) -> None:
        """Answer everything now."""
        for waiting in tuple(self._waiting.values()):
            self._answer(waiting, waiting.fetch.answer)

    # Growth

    def _watch(self, log: LogReader) -> _Grown:
        grown = self._grown.get(log)
        if grown is None:
            grown = self._grown[log] = _Grown()
            loop = asyncio.get_running_loop()

            def on_publish() -> None:
                if not grown.is_due:
                    grown.is_due = True
                    loop.call_soon(self._look, grown)

            grown.unsubscribe = log.subscribe(on_publish)
        return grown

    def _look(self, grown: _Grown) -> None:
        grown.is_due = False
        self._go_on(iter(tuple(grown.waiting)), {})

    def _go_on(self, each: Iterator[_Waiting], known: dict[Any, Any]) -> None:
        """Look at who is left; what grows meanwhile has a look of its own, at all."""
        slice_end = time.monotonic() + SLICE_MS / 1000
        for waiting in each:
            if waiting.number in self._waiting:
                self._answer(waiting, partial(waiting.fetch.look, known))
            if time.monotonic() > slice_end:
                asyncio.get_running_loop().call_soon(self._go_on, each, known)
                break

    # Time

    def _set_timer(self, clock: Clock, scheduler: Scheduler) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_ms = self._deadlines[0][0]

        def on_time() -> None:
            self._timer = None
            now_ms = clock.monotonic_ms()
            while self._deadlines and self._deadlines[0][0] <= now_ms:
                waiting = self._waiting.get(heappop(self._deadlines)[1])
                if waiting is not None:
                    self._answer(waiting, waiting.fetch.answer)
            while self._deadlines and self._deadlines[0][1] not in self._waiting:
                heappop(self._deadlines)
            if self._deadlines and self._timer is None:
                self._set_timer(clock, scheduler)

        self._timer = scheduler.call_later(max(self._timer_ms - clock.monotonic_ms(), 0), on_time)

    # Ends

    def _answer(self, waiting: _Waiting, ask: Callable[[], Message | asyncio.Future[Message] | None]) -> None:
        """Ask for an answer; if there is one that fetch waits no more. What fails is its own affair."""
        try:
            answer = ask()
        except Exception as error:
            self._leave(waiting)
            waiting.answer.give(error)
            return
        if answer is None:
            return
        self._leave(waiting)
        if isinstance(answer, asyncio.Future):
            answer.add_done_callback(lambda done: _pass_on(done, waiting.answer))
            waiting.answer.add_done_callback(lambda done: answer.cancel() if done.cancelled() else None)
        else:
            waiting.answer.give(answer)

    def _leave(self, waiting: _Waiting) -> None:
        if self._waiting.pop(waiting.number, None) is None:
            return
        for log in waiting.logs:
            grown = self._grown[log]
            del grown.waiting[waiting]
            if not grown.waiting:
                del self._grown[log]
                grown.unsubscribe()
        if not self._waiting:
            self._deadlines.clear()
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
        elif len(self._deadlines) > 2 * len(self._waiting) + ENDED_MAX:
            self._deadlines = [each for each in self._deadlines if each[1] in self._waiting]
            heapify(self._deadlines)


def _pass_on(done: asyncio.Future[Message], answer: PendingAnswer) -> None:
    """Give what a task has found."""
    if done.cancelled():
        answer.cancel()
    else:
        answer.give(done.exception() or done.result())
