"""How fast are record batches appended and committed, and what does that cost beyond writing their bytes?

Binwire's side is the log itself, without a server: append a group of batches, commit, publish, into a new segment, up
to the page cache (flushing is asked about in `flush`). The batches are made before the clock starts. Two peers write
the same bytes in the same groups: one `pwrite` per group into an empty file, and stores into a mapping of a file of the
whole size (the way to do without a system call; a full disk would be a SIGBUS). They keep no index and no positions.

What was written is read back and hashed after the clock has stopped; all sides must have the same bytes.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import itertools
import mmap
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from bench.harness import Benchmark, Measure, Outcome, Parameters, Prepared, ResultHash, Side
from storage.clock import SystemClock
from storage.config import LogConfig
from storage.encoding import encode_batch
from storage.log import GtidInterval, SourcePosition
from storage.segment_log import SegmentLog

_BYTES_PER_MB: Final = 1_000_000
_TIME_MS: Final = 1_709_284_500_000
_ROW_BYTES: Final = 248
"""With its framing a record of 256 bytes: a row of the order table, without what recurs."""
_RECORD_BYTES: Final = 256


class _Shape(NamedTuple):
    """How much is written at a time: batches of about so many bytes, so many in one append and commit."""

    name: str
    batch_bytes: int
    batches_per_commit: int


_SHAPES: Final = (
    _Shape("1 KiB", 1 << 10, 1),
    _Shape("64 x 1 KiB", 1 << 10, 64),
    _Shape("64 KiB", 1 << 16, 1),
    _Shape("1 MiB", 1 << 20, 1),
)

_Group = tuple[bytes, ...]
_Write = Callable[[Path, Sequence[_Group]], float]


@contextlib.contextmanager
def _prepare(parameters: Parameters, folder: Path) -> Iterator[Prepared]:
    material = {shape: _groups(shape, parameters["bytes"][shape.name]) for shape in _SHAPES}
    numbers = itertools.count()

    def side(name: str, write: _Write) -> Side:
        return Side(name, lambda: _run(write, material, folder / str(next(numbers))))

    yield Prepared(side("binwire", _write_log), side("pwrite", _write_file), side("mapped stores", _write_mapped))


def _groups(shape: _Shape, total_bytes: int) -> list[_Group]:
    rows = max(1, shape.batch_bytes // _RECORD_BYTES)
    value = os.urandom(_ROW_BYTES)
    offset = 0
    groups = []
    for _ in range(max(1, total_bytes // (shape.batch_bytes * shape.batches_per_commit))):
        group = []
        for _ in range(shape.batches_per_commit):
            group.append(encode_batch(offset, [value] * rows, [_TIME_MS] * rows))
            offset += rows
        groups.append(tuple(group))
    return groups


def _size_bytes(groups: Sequence[_Group]) -> int:
    return sum(map(len, itertools.chain.from_iterable(groups)))


def _run(write: _Write, material: dict[_Shape, list[_Group]], folder: Path) -> Outcome:
    values, result = {}, ResultHash()
    for shape, groups in material.items():
        size_bytes = _size_bytes(groups)
        rows = len(groups) * shape.batches_per_commit * max(1, shape.batch_bytes // _RECORD_BYTES)
        path = folder / shape.name
        path.parent.mkdir(exist_ok=True)
        seconds = write(path, groups)
        result.add(_hash_and_remove(path, size_bytes))
        values[f"rows, {shape.name}"] = rows / seconds
        values[f"bytes, {shape.name}"] = size_bytes / _BYTES_PER_MB / seconds
    folder.rmdir()
    return Outcome(values, result.hexdigest())


def _write_log(path: Path, groups: Sequence[_Group]) -> float:
    async def write() -> float:
        # One segment, which is begun within the clock, as every so many bytes of a log: it is preallocated.
        log = SegmentLog.open(path, "bench", LogConfig(segment_bytes=_size_bytes(groups)), SystemClock())
        log.attach(lambda: b"")
        number = 0
        begun_s = time.perf_counter()
        for group in groups:
            log.append(group)
            positions = []
            for _ in group:
                number += 1
                positions.append(SourcePosition(1, number, GtidInterval(b"0123456789abcdef", number, number)))
            log.commit(positions)
        seconds = time.perf_counter() - begun_s
        await log.close()
        return seconds

    return asyncio.run(write())


def _write_file(path: Path, groups: Sequence[_Group]) -> float:
    position = 0
    begun_s = time.perf_counter()
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL)
    for group in groups:
        position += (
            os.pwrite(descriptor, group[0], position) if len(group) == 1 else _pwritev(descriptor, group, position)
        )
    seconds = time.perf_counter() - begun_s
    os.close(descriptor)
    return seconds


def _pwritev(descriptor: int, group: _Group, position: int) -> int:
    return os.pwritev(descriptor, group, position)


def _write_mapped(path: Path, groups: Sequence[_Group]) -> float:
    size_bytes = _size_bytes(groups)
    position = 0
    begun_s = time.perf_counter()
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL)
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, size_bytes)
    else:
        os.ftruncate(descriptor, size_bytes)
    with mmap.mmap(descriptor, size_bytes) as mapped:
        for group in groups:
            for batch in group:
                end = position + len(batch)
                mapped[position:end] = batch
                position = end
        seconds = time.perf_counter() - begun_s
    os.close(descriptor)
    return seconds


def _hash_and_remove(path: Path, size_bytes: int) -> bytes:
    """The hash of what was written: a file, or the only segment of a log."""
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    (log,) = [file for file in files if file.suffix in {"", ".log"} and file.name != "state"]
    with log.open("rb") as content:
        digest = hashlib.sha256()
        while block := content.read(min(1 << 20, size_bytes)):
            digest.update(block)
            size_bytes -= len(block)
    for file in files:
        file.unlink()
    if path.is_dir():
        path.rmdir()
    return digest.digest()


_MIB: Final = 1 << 20

BENCHMARK = Benchmark(
    name="append",
    question="How fast are batches appended and committed, beside writing the same bytes (pwrite, mapped stores)?",
    measures=tuple(
        Measure(f"{what}, {shape.name}", unit)
        for shape in _SHAPES
        for what, unit in (("rows", "rows/s"), ("bytes", "MB/s"))
    ),
    smoke={"bytes": {"1 KiB": 1 << 17, "64 x 1 KiB": 1 << 18, "64 KiB": _MIB, "1 MiB": 4 * _MIB}},
    full={"bytes": {"1 KiB": 16 * _MIB, "64 x 1 KiB": 64 * _MIB, "64 KiB": 64 * _MIB, "1 MiB": 128 * _MIB}},
    prepare=_prepare,
)
