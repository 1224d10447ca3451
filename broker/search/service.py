"""The server's side of searching: one process that reads, and who may ask it when.

The process is started by the first question and ended when nobody asked for `IDLE_S`, or with the server. It does one
thing at a time, in short slices; whoever wants more asks again, behind the others. Those who left are not asked for.
What it dies of, or does not answer for `ANSWER_S`, fails those who were waiting for that one answer, with a sentence;
the next question starts another process. Filters are made by a second one, for which nobody waits.

Invariant: no byte of a log is read by the server on behalf of a search.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from broker.operations.records import RecordRow
from broker.search.protocol import (
    FRAME_BYTES_MAX,
    LENGTH_BYTES,
    Answer,
    Failed,
    Found,
    Log,
    Made,
    MakeFilters,
    Question,
    ReadValue,
    Request,
    Search,
    Show,
    Shown,
    Value,
    framed,
    read_answer,
)
from storage.files import Files
from storage.log_scan import SegmentScan
from storage.segment import filter_path

IDLE_S: Final = 60.0
ANSWER_S: Final = 120.0
DYING_S: Final = 0.1
NICE_ASIDE: Final = 19
"""What the process that makes filters is started with (`process.py` has its own for searches)."""
SLICE_MS: Final = 150
BUDGET_S: Final = 1.5
WAITING_MAX: Final = 32
FILTERS_PERIOD_S: Final = 10.0
PIECE_BYTES: Final = 1 << 20
GROWN_BYTES_MIN: Final = 4 << 20
"""How much must have been written for it to be worth a look whether a filter goes on."""
_ROOT: Final = Path(__file__).resolve().parents[2]
_SOURCE_SUFFIX: Final = ".source"


class SearchError(Exception):
    """It could not be done; one sentence."""


class TooManySearches(SearchError):
    """So many are waiting that another would only wait longer."""


class SearchService:
    """Made with the server; costs nothing before the first question."""

    def __init__(self, *, command: tuple[str, ...] | None = None, idle_s: float = IDLE_S) -> None:
        self._command = command or (sys.executable, "-P", "-m", "broker.search.process")
        self._idle_s = idle_s
        self._process: asyncio.subprocess.Process | None = None
        self._waiting: deque[tuple[Request, asyncio.Future[Answer]]] = deque()
        self._came = asyncio.Event()
        self._worker: asyncio.Task[None] | None = None
        self._filters: asyncio.Task[None] | None = None
        self._maker: SearchService | None = None
        """Of a process that makes filters: nobody who searches stands behind it."""
        self._searching = 0

    @property
    def pid(self) -> int | None:
        """The process, while there is one."""
        return None if self._process is None else self._process.pid

    async def search(self, log: Log, question: Question, before: int, limit: int, budget_s: float = BUDGET_S) -> Found:
        """Look for records below an offset, until there are `limit`, everything was looked through, or time is spent.

        Raises:
            SearchError: it cannot be done now.
        """
        with self._turn():
            return await self._search(log, question, before, limit, time.monotonic() + budget_s)

    async def _search(self, log: Log, question: Question, before: int, limit: int, until_s: float) -> Found:
        records: list[RecordRow] = []
        damages: dict[str, None] = {}
        while True:
            answer = await self._ask(Search(log, question, before, limit - len(records), SLICE_MS))
            assert isinstance(answer, Found)
            records += answer.records
            damages |= dict.fromkeys(answer.damages)
            is_over = answer.before is None or len(records) >= limit or time.monotonic() >= until_s
            if is_over or answer.before is None:
                return msgspec.structs.replace(answer, records=tuple(records), damages=tuple(damages))
            before = answer.before

    async def show(self, log: Log, offset: int) -> Shown:
        """All of one record. Raises SearchError."""
        with self._turn():
            answer = await self._ask(Show(log, offset))
        assert isinstance(answer, Shown)
        return answer

    async def read_value(self, log: Log, offset: int, column: int, *, is_after: bool) -> AsyncIterator[Value]:
        """A value in pieces; the first tells how long it is. Nothing where there is none. Raises SearchError."""
        start = 0
        while True:
            with self._turn(goes_on=start > 0):
                answer = await self._ask(ReadValue(log, offset, column, is_after, start, PIECE_BYTES))
            assert isinstance(answer, Value)
            if answer.data is None or (start and not answer.data):
                return
            yield answer
            start += len(answer.data)
            if start >= answer.bytes_total:
                return

    def make_filters(self, logs: Callable[[], Iterable[Log]], period_s: float = FILTERS_PERIOD_S) -> None:
        """From now on have filters made as segments are closed; `logs` tells of which logs."""
        self._maker = SearchService(command=(*self._command, str(NICE_ASIDE)), idle_s=self._idle_s)
        self._filters = asyncio.create_task(self._maker.keep_filters(logs, period_s))

    async def close(self) -> None:
        """End the process and whoever waits for it."""
        for task in (self._filters, self._worker):
            if task is not None:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
        self._filters = self._worker = None
        if self._maker is not None:
            await self._maker.close()
        for _, future in self._waiting:
            future.cancel()
        self._waiting.clear()
        if self._process is not None:
            _kill(self._process)
        await self._end()

    # Taking turns

    @contextlib.contextmanager
    def _turn(self, *, goes_on: bool = False) -> Iterator[None]:
        """One of those who may ask. What has begun to be told, as a value of many pieces, `goes_on` to its end."""
        if self._searching >= WAITING_MAX and not goes_on:
            raise TooManySearches(f"{WAITING_MAX} searches are under way; try again in a moment")
        self._searching += 1
        try:
            yield
        finally:
            self._searching -= 1

    async def _ask(self, request: Request) -> Answer:
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((request, future))
        self._came.set()
        answer = await future
        if isinstance(answer, Failed):
            raise SearchError(answer.sentence)
        return answer

    async def _work(self) -> None:
        """Put one question after the other; end when none came for a while."""
        while True:
            self._came.clear()
            if not self._waiting:
                try:
                    async with asyncio.timeout(self._idle_s):
                        await self._came.wait()
                except TimeoutError:
                    if not self._waiting:
                        await self._end()
                        return
                continue
            request, future = self._waiting.popleft()
            if future.done():
                continue
            try:
                answer = await self._exchange(request)
            except Exception as error:  # whoever asked is told, the next one has his turn
                if not future.done():
                    future.set_exception(error)
            else:
                if not future.done():
                    future.set_result(answer)

    # The process

    async def _exchange(self, request: Request) -> Answer:
        try:
            process = await self._living()
        except OSError as error:
            raise SearchError(f"the search process cannot be started ({error.strerror}); try again") from error
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            async with asyncio.timeout(ANSWER_S):
                process.stdin.write(framed(request))
                await process.stdin.drain()
                length = int.from_bytes(await process.stdout.readexactly(LENGTH_BYTES))
                if length > FRAME_BYTES_MAX:
                    raise msgspec.DecodeError(f"a frame of {length} bytes")
                return read_answer(await process.stdout.readexactly(length))
        except TimeoutError:
            await self._end(kill=True)
            raise SearchError(f"the search process did not answer within {ANSWER_S:.0f} s and was ended") from None
        except (asyncio.IncompleteReadError, ConnectionError):
            status = await self._end(kill=True)
            raise SearchError(
                f"the search process ended while it searched ({_told(status)}); search again: it is started anew"
            ) from None
        except msgspec.MsgspecError as error:
            await self._end(kill=True)
            raise SearchError(f"the search process answered with something else ({error}) and was ended") from None
        except asyncio.CancelledError:
            await self._end(kill=True)
            raise

    async def _living(self) -> asyncio.subprocess.Process:
        """The process; another one if it died while nobody asked, as when the system ran out of memory."""
        process = self._process
        if process is not None:
            assert process.stdin is not None
            if process.returncode is not None or process.stdin.is_closing():
                await self._end(kill=True)
        return self._process or await self._start()

    async def _start(self) -> asyncio.subprocess.Process:
        paths = filter(None, (str(_ROOT), os.environ.get("PYTHONPATH")))
        self._process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        )
        return self._process

    async def _end(self, *, kill: bool = False) -> int | None:
        """End the process and wait for its end; its status."""
        process = self._process
        if process is None:
            return None
        if process.stdin is not None:
            process.stdin.close()
        if kill and process.returncode is None:
            # It may be dying by itself: what it dies of is told then.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(DYING_S):
                    await process.wait()
            _kill(process)
        try:
            return await process.wait()
        except asyncio.CancelledError:
            _kill(process)
            raise
        finally:
            if process.returncode is not None:
                self._process = None

    # Filters

    async def make_all_filters(self, log: Log) -> None:
        """Make what filters are missing now, a slice at a time. Raises SearchError."""
        while True:
            answer = await self._ask(MakeFilters(log, SLICE_MS))
            if isinstance(answer, Made) and answer.is_done:
                return

    async def keep_filters(self, logs: Callable[[], Iterable[Log]], period_s: float) -> None:
        """Make filters as segments are closed, and as the newest one grows."""
        done: dict[str, _Extent] = {}
        while True:
            for log in logs():
                with contextlib.suppress(SearchError):
                    now = await asyncio.to_thread(_extent, log.directory)
                    before = done.get(log.directory)
                    if now.is_more_than(before):
                        await self.make_all_filters(log)
                        done[log.directory] = now
            await asyncio.sleep(period_s)


class _Extent(NamedTuple):
    """Of a log's files: the segments, those that are closed and have no filter, and the size of the newest."""

    bases: frozenset[str]
    unfiltered: frozenset[str]
    newest_bytes: int

    def is_more_than(self, before: _Extent | None) -> bool:
        """Whether there is something to make, since it was made last."""
        if before is None:
            return bool(self.unfiltered) or self.newest_bytes >= GROWN_BYTES_MIN
        return bool(self.bases - before.bases) or self.newest_bytes - before.newest_bytes >= GROWN_BYTES_MIN


def _extent(directory: str) -> _Extent:
    files, folder = Files(), Path(directory)
    try:
        names = set(files.list(folder))
        bases = sorted(name.removesuffix(_SOURCE_SUFFIX) for name in names if name.endswith(_SOURCE_SUFFIX))
        newest_bytes = SegmentScan(files, folder, int(bases[-1]), None).size_bytes if bases else 0
    except OSError:
        return _Extent(frozenset(), frozenset(), 0)
    unfiltered = frozenset(base for base in bases[:-1] if filter_path(folder / f"{base}.log").name not in names)
    return _Extent(frozenset(bases), unfiltered, newest_bytes)


def _kill(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.kill()


def _told(status: int | None) -> str:
    if status is None:
        return "with no status"
    if status < 0:
        with contextlib.suppress(ValueError):
            return f"by {signal.Signals(-status).name}"
    return f"status {status}"
