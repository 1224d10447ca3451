"""How fast is the log read, and what does that cost beyond copying its bytes?

Binwire's side takes slices of the log as a server does, residency checks and all, and copies each to where a socket
would have taken it. Asked are slices one behind the other and slices at random offsets, of 64 KiB and 1 MiB; from a
log that was just opened, whose batches are looked into for the first time (`first pass`), and again from the same log.
All its pages are in memory. The peer copies the same ranges out of a mapping of the same file: memcpy of the page
cache, which looks for nothing and checks nothing; its first pass is that of a new mapping.

The copies are compared by the CRC-32C of all their bytes, taken after the clock has stopped.
"""

from __future__ import annotations

import asyncio
import contextlib
import mmap
import random
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from bench.harness import Benchmark, Measure, Outcome, Parameters, Prepared, ResultHash, Side
from bench.records import offset_after
from storage.checksum import crc32c
from storage.clock import SystemClock
from storage.cold import ColdReads
from storage.config import SEGMENT_BYTES_MAX, LogConfig
from storage.encoding import encode_batch
from storage.log import SourcePosition, resident
from storage.segment_log import SegmentLog

_BYTES_PER_MB: Final = 1_000_000
_TIME_MS: Final = 1_709_284_500_000
_ROW_BYTES: Final = 248
_SIZES: Final = {"64 KiB": 1 << 16, "1 MiB": 1 << 20}
_SEED: Final = 5
_CONFIG: Final = LogConfig(segment_bytes=SEGMENT_BYTES_MAX)


class _Slice(NamedTuple):
    """A slice that is asked for, and where it lies in the file."""

    offset: int
    position: int
    size_bytes: int


class _Pass(NamedTuple):
    """One way through the log."""

    name: str
    max_bytes: int
    slices: list[_Slice]


_Copy = Callable[[_Pass], Sequence[float]]


@contextlib.contextmanager
def _prepare(parameters: Parameters, folder: Path) -> Iterator[Prepared]:
    directory = folder / "log"
    passes = asyncio.run(_write(directory, parameters))
    (path,) = directory.glob("*.log")
    target = bytearray(max(sum(part.size_bytes for part in each.slices) for each in passes))
    yield Prepared(
        Side("binwire", lambda: asyncio.run(_run_log(directory, passes, target))),
        Side("memcpy", lambda: _run_memcpy(path, passes, target)),
    )


async def _write(directory: Path, parameters: Parameters) -> list[_Pass]:
    """Make the log; the ways through it that are measured."""
    value = random.Random(_SEED).randbytes(_ROW_BYTES)
    rows = parameters["rows_per_batch"]
    log = SegmentLog.open(directory, "bench", _CONFIG, SystemClock())
    log.attach(lambda: b"")
    size_bytes = number = 0
    while size_bytes < parameters["log_bytes"]:
        batch = encode_batch(log.end_offset, [value] * rows, [_TIME_MS] * rows)
        log.append(batch)
        log.commit([SourcePosition(1, number)])
        size_bytes += len(batch)
        number += 1
    randomly = random.Random(_SEED)
    passes = []
    for name, max_bytes in _SIZES.items():
        slices = list(_slices(log, max_bytes))
        at_random = [
            _slice_at(log, randomly.randrange(log.high_watermark), max_bytes, len(batch), rows) for _ in slices
        ]
        passes += [_Pass(f"in order, {name}", max_bytes, slices), _Pass(f"random, {name}", max_bytes, at_random)]
    await log.close()
    return passes


def _slices(log: SegmentLog, max_bytes: int) -> Iterator[_Slice]:
    offset = position = 0
    while offset < log.high_watermark:
        with log.read(offset, max_bytes) as part:
            yield _Slice(offset, position, len(part))
            position += len(part)
            offset = offset_after(part.view)


def _slice_at(log: SegmentLog, offset: int, max_bytes: int, batch_bytes: int, rows: int) -> _Slice:
    with log.read(offset, max_bytes) as part:
        return _Slice(offset, offset // rows * batch_bytes, len(part))


async def _run_log(directory: Path, passes: Sequence[_Pass], target: bytearray) -> Outcome:
    cold = ColdReads()
    values: dict[str, float] = {}
    result = ResultHash()
    for each in passes:
        log = SegmentLog.open(directory, "bench", _CONFIG, SystemClock(), cold=cold)
        # The end of the log is looked for once, before the clock: opening is asked about in `restart`.
        await resident(lambda: log.read(log.high_watermark - 1, 1))  # noqa: B023 — asked at once
        for state in ("first pass", "again"):
            seconds = await _copy_slices(log, each, target)
            _account(values, result, f"{each.name}, {state}", each, seconds, target)
        await log.close()
    cold.close()
    return Outcome(values, result.hexdigest())


async def _copy_slices(log: SegmentLog, each: _Pass, target: bytearray) -> float:
    position, max_bytes, copied = 0, each.max_bytes, memoryview(target)
    begun_s = time.perf_counter()
    for offset, _, _ in each.slices:
        part = await resident(lambda: log.read(offset, max_bytes))  # noqa: B023 — asked at once
        with part:
            end = position + len(part)
            copied[position:end] = part.view
            position = end
    return time.perf_counter() - begun_s


def _run_memcpy(path: Path, passes: Sequence[_Pass], target: bytearray) -> Outcome:
    values: dict[str, float] = {}
    result = ResultHash()
    for each in passes:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped:
            for state in ("first pass", "again"):
                with memoryview(mapped) as view:
                    seconds = _copy_ranges(view, each, target)
                _account(values, result, f"{each.name}, {state}", each, seconds, target)
    return Outcome(values, result.hexdigest())


def _copy_ranges(view: memoryview, each: _Pass, target: bytearray) -> float:
    position, copied = 0, memoryview(target)
    begun_s = time.perf_counter()
    for _, start, size_bytes in each.slices:
        with view[start : start + size_bytes] as part:
            end = position + size_bytes
            copied[position:end] = part
            position = end
    return time.perf_counter() - begun_s


def _account(
    values: dict[str, float], result: ResultHash, name: str, each: _Pass, seconds: float, target: bytearray
) -> None:
    size_bytes = sum(part.size_bytes for part in each.slices)
    values[name] = size_bytes / _BYTES_PER_MB / seconds
    with memoryview(target)[:size_bytes] as copied:
        result.add(crc32c(copied).to_bytes(4, "big"))
    target[:size_bytes] = bytes(size_bytes)


BENCHMARK = Benchmark(
    name="read",
    question="How fast are slices of the log read, in order and at random, beside copying them out of the page cache?",
    measures=tuple(
        Measure(f"{order}, {size}, {state}", "MB/s")
        for size in _SIZES
        for order in ("in order", "random")
        for state in ("first pass", "again")
    ),
    smoke={"log_bytes": 4 << 20, "rows_per_batch": 64},
    full={"log_bytes": 128 << 20, "rows_per_batch": 64},
    prepare=_prepare,
)
