"""What does each way of flushing cost, and when is a small transaction visible?

Binwire's side is the log itself with its own upkeep (a task and a thread), on the file system of the temporary folder:
transactions of one batch of about 1 KiB. `rows`: as many as go, the loop being given back every 2 ms as capture does,
until all of them are visible. `p50` and `p99`: from the commit to the moment subscribers are told, at a steady pace. By
default a transaction is visible at its commit and on the medium within a second; `before-visible` turns that around.

The peer is what a log without any of this would do: write the same bytes, fsync, and go on, one transaction after the
other. It is the same whatever the policy; compare it with `before-visible`, which promises as much.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from bench.harness import Benchmark, Measure, Outcome, Parameters, Prepared, ResultHash, Side, percentile
from storage.clock import SystemClock
from storage.config import LogConfig
from storage.encoding import encode_batch
from storage.log import SourcePosition
from storage.segment_log import SegmentLog

_TIME_MS: Final = 1_709_284_500_000
_ROWS: Final = 4
_ROW: Final = bytes(248)
_SLICE_S: Final = 0.002
_MS_PER_S: Final = 1_000
_US_PER_S: Final = 1_000_000
_DEFAULT: Final = LogConfig()
_POLICIES: Final = {
    "interval 1 s": _DEFAULT,
    "interval 100 ms": replace(_DEFAULT, flush_interval_ms=100),
    "size 1 MiB": replace(_DEFAULT, flush_bytes=1 << 20),
    "before-visible": replace(_DEFAULT, flush_before_visible=True),
}


@contextlib.contextmanager
def _prepare(parameters: Parameters, folder: Path) -> Iterator[Prepared]:
    numbers = itertools.count()
    fast, paced = parameters["transactions"], parameters["paced_transactions"]
    pace_s = parameters["interval_us"] / _US_PER_S

    def run() -> Outcome:
        values: dict[str, float] = {}
        result = ResultHash()
        for name, config in _POLICIES.items():
            directory = folder / str(next(numbers))
            rows_per_s, latencies_ms = asyncio.run(_run_log(directory, config, fast, paced, pace_s, result))
            values |= _values(name, rows_per_s, latencies_ms)
            shutil.rmtree(directory)
        return Outcome(values, result.hexdigest())

    def run_peer() -> Outcome:
        result = ResultHash()
        path = folder / str(next(numbers))
        rows_per_s, latencies_ms = _run_fsync(path, paced)
        for _ in _POLICIES:
            result.add(b"%d" % (fast * _ROWS))
            result.add(b"%d" % (paced * _ROWS))
        path.unlink()
        values: dict[str, float] = {}
        for name in _POLICIES:
            values |= _values(name, rows_per_s, latencies_ms)
        return Outcome(values, result.hexdigest())

    yield Prepared(Side("binwire", run), Side("fsync per commit", run_peer), same_result=False)


def _values(policy: str, rows_per_s: float, latencies_ms: list[float]) -> dict[str, float]:
    values = {f"p{percent}, {policy}": percentile(latencies_ms, percent) for percent in (50, 99)}
    return {f"rows, {policy}": rows_per_s, **values}


async def _run_log(
    directory: Path, config: LogConfig, fast: int, paced: int, pace_s: float, result: ResultHash
) -> tuple[float, list[float]]:
    """Rows a second, and how long each paced transaction took to be visible."""
    log = SegmentLog.open(directory, "bench", config, SystemClock())
    log.attach(lambda: b"")
    log.start()
    writer = _Writer(log)
    rows_per_s = await writer.write(fast)
    result.add(b"%d" % log.high_watermark)
    latencies_ms = await writer.write_paced(paced, pace_s)
    result.add(b"%d" % (log.high_watermark - fast * _ROWS))
    await log.close()
    return rows_per_s, latencies_ms


class _Writer:
    """Appends and commits transactions, and hears when they are visible."""

    def __init__(self, log: SegmentLog) -> None:
        self._log = log
        self._number = 0
        self._grown = asyncio.Event()
        self._waiting: dict[int, float] = {}
        self._latencies_ms: list[float] = []
        log.subscribe(self._grow)

    async def write(self, count: int) -> float:
        """Transactions without a pause; rows a second until the last is visible."""
        begun_s = slice_s = time.perf_counter()
        for _ in range(count):
            self._commit()
            if time.perf_counter() - slice_s > _SLICE_S:
                await asyncio.sleep(0)
                slice_s = time.perf_counter()
        await self._visible()
        return count * _ROWS / (time.perf_counter() - begun_s)

    async def write_paced(self, count: int, pace_s: float) -> list[float]:
        """Transactions at a steady pace; milliseconds until each was visible."""
        self._latencies_ms = []
        loop = asyncio.get_running_loop()
        due_s = loop.time()
        for _ in range(count):
            due_s += pace_s
            await asyncio.sleep(due_s - loop.time())
            self._waiting[self._log.end_offset + _ROWS] = time.perf_counter()
            self._commit()
        await self._visible()
        return self._latencies_ms

    def _commit(self) -> None:
        self._number += 1
        self._log.append(_transaction(self._log.end_offset))
        self._log.commit([SourcePosition(1, self._number)])

    def _grow(self) -> None:
        now_s, end = time.perf_counter(), self._log.high_watermark
        for offset in [offset for offset in self._waiting if offset <= end]:
            self._latencies_ms.append((now_s - self._waiting.pop(offset)) * _MS_PER_S)
        self._grown.set()

    async def _visible(self) -> None:
        while self._log.high_watermark < self._log.end_offset:
            self._grown.clear()
            await self._grown.wait()


def _run_fsync(path: Path, count: int) -> tuple[float, list[float]]:
    """Rows a second and milliseconds a transaction, each on the medium before the next is written."""
    taken_ms = []
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL)
    position = offset = 0
    begun_s = time.perf_counter()
    for _ in range(count):
        batch = _transaction(offset)
        start_s = time.perf_counter()
        position += os.pwrite(descriptor, batch, position)
        os.fsync(descriptor)
        taken_ms.append((time.perf_counter() - start_s) * _MS_PER_S)
        offset += _ROWS
    seconds = time.perf_counter() - begun_s
    os.close(descriptor)
    return count * _ROWS / seconds, taken_ms


def _transaction(offset: int) -> bytes:
    return encode_batch(offset, [_ROW] * _ROWS, [_TIME_MS] * _ROWS)


BENCHMARK = Benchmark(
    name="flush",
    question="What does each flush policy cost: rows a second, and commit to visible, of small transactions?",
    measures=tuple(
        measure
        for policy in _POLICIES
        for measure in (
            Measure(f"rows, {policy}", "rows/s"),
            Measure(f"p50, {policy}", "ms", higher_is_better=False),
            Measure(f"p99, {policy}", "ms", higher_is_better=False),
        )
    ),
    smoke={"transactions": 500, "paced_transactions": 50, "interval_us": 1_000},
    full={"transactions": 40_000, "paced_transactions": 1_500, "interval_us": 1_000},
    prepare=_prepare,
)
