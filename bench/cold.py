"""Is a warm consumer delayed while another reads a day that is not in memory?

A log of real batches (rows captured once, their batches copied behind each other at new offsets) lies on the disk, and
the page cache is told to drop it. One topic takes small transactions at a steady pace, and a consumer follows it; its
latency is that of `handoff`. It is measured three times: alone; while another consumer, in a process of its own, reads
the whole log from the disk; and while that one reads the end of it again, which is in memory then. The last tells what
a fast neighbour costs by its CPU time alone: what is beyond that is the disk's.

What the other consumer received is compared with what was written, by length and checksum. How much of the log stayed
in memory when it was dropped is checked too: a temporary folder in memory (tmpfs) has no cold pages. There is no peer.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import mmap
import os
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bench import own_process
from bench.client import LATEST, RawClient
from bench.handoff import follow, latencies_ms
from bench.harness import (
    Benchmark,
    Measure,
    Outcome,
    Parameters,
    Prepared,
    ResultHash,
    ResultMismatchError,
    Side,
    percentile,
)
from bench.records import offset_after, record_values, rows, text_cell
from bench.server import HISTORY_TOPIC, TOPIC, BenchServer, topic_path
from storage.clock import SystemClock
from storage.config import LogConfig
from storage.log import SourcePosition
from storage.records import Batch, iter_batches
from storage.residency import SystemResidency, address_of
from storage.segment_log import SegmentLog

_BYTES_PER_MB: Final = 1_000_000
_APPEND_BYTES: Final = 1 << 20
_FLUSH_BYTES: Final = 1 << 28
_OFFSET: Final = struct.Struct(">q")


@dataclass(frozen=True, slots=True)
class _History:
    """A log that lies on the disk: where it ends and where its last part begins, its bytes and their CRC-32C."""

    end_offset: int
    tail_offset: int
    size_bytes: int
    crc: int


@contextlib.contextmanager
def _prepare(parameters: Parameters, folder: Path) -> Iterator[Prepared]:
    material, log = folder / "material", folder / "history"
    material.mkdir()
    with BenchServer(material) as server:
        server.ask(fill=parameters["rows"], rows_per_transaction=parameters["rows_per_transaction"])
    history = asyncio.run(_write(material, log, parameters))
    runs = itertools.count()

    def run() -> Outcome:
        # Pages that a server has mapped are not dropped: each round has a new one.
        own = folder / f"run-{next(runs)}"
        own.mkdir()
        with BenchServer(own) as server:
            served = topic_path(own, HISTORY_TOPIC)
            log.rename(served)
            try:
                server.ask(serve_history=1)
                return _measure(server, served, history, parameters)
            finally:
                served.rename(log)

    yield Prepared(Side("binwire", run))


async def _write(material: Path, directory: Path, parameters: Parameters) -> _History:
    """Copy the batches of a captured log into a new one until it is large enough."""
    from crc32c import crc32c

    data = b"".join(path.read_bytes() for path in sorted(topic_path(material, TOPIC).glob("*.log")))
    groups = list(_groups(data))
    log = SegmentLog.open(directory, HISTORY_TOPIC, LogConfig(), SystemClock())
    log.attach(lambda: b"")
    size_bytes = crc = flushed_bytes = tail_offset = 0
    for number, group in enumerate(itertools.cycle(groups)):
        if size_bytes >= parameters["log_bytes"]:
            break
        if size_bytes < parameters["log_bytes"] - parameters["tail_bytes"]:
            tail_offset = log.end_offset
        copied = _copied(group, log.end_offset)
        log.append(copied)
        log.commit([SourcePosition(1, number)])
        for batch in copied:
            size_bytes += len(batch)
            crc = crc32c(batch, crc)
        if size_bytes - flushed_bytes >= _FLUSH_BYTES:
            log.flush()
            flushed_bytes = size_bytes
    end_offset = log.high_watermark
    await log.close()
    return _History(end_offset, tail_offset, size_bytes, crc)


def _groups(data: bytes) -> Iterator[list[Batch]]:
    """The batches of a log, as many together as are worth one append."""
    group: list[Batch] = []
    for batch in iter_batches(data):
        group.append(batch)
        if sum(each.view.nbytes for each in group) >= _APPEND_BYTES:
            yield group
            group = []
    if group:
        yield group


def _copied(group: list[Batch], offset: int) -> list[bytes]:
    """The batches at other offsets: a batch's checksum does not cover its first offset."""
    copies = []
    for batch in group:
        copies.append(_OFFSET.pack(offset) + batch.view[_OFFSET.size :])
        offset += batch.header.last_offset_delta + 1
    return copies


def _measure(server: BenchServer, directory: Path, history: _History, parameters: Parameters) -> Outcome:
    transactions, interval_us = parameters["transactions"], parameters["interval_us"]
    resident = _drop(directory)
    if resident > parameters["resident_share_max"]:
        raise ResultMismatchError(
            f"benchmark cold: {resident:.0%} of the log stayed in memory; let TMPDIR name a folder on a disk"
        )
    alone = follow(server, transactions, interval_us)
    cold, cold_read = _beside(server, 0, history, parameters)
    if (cold_read["bytes"], cold_read["crc"]) != (history.size_bytes, history.crc):
        raise ResultMismatchError("benchmark cold: what was received is not what was written")
    warm, warm_read = _beside(server, history.tail_offset, history, parameters)
    result = ResultHash()
    for _, batches in alone:
        for row in rows(record_values(batches)):
            result.add(text_cell(row, "title").encode())
    result.add(_OFFSET.pack(history.crc))
    values = {"cold reader": _speed(cold_read), "warm reader": _speed(warm_read)}
    for name, arrivals in (("alone", alone), ("beside the cold reader", cold), ("beside a warm reader", warm)):
        latencies = latencies_ms(arrivals)
        values |= {f"p{percent}, {name}": percentile(latencies, percent) for percent in (50, 99)}
    return Outcome(values, result.hexdigest())


def _speed(read: dict[str, Any]) -> float:
    return float(read["bytes"]) / _BYTES_PER_MB / float(read["seconds"])


def _beside(
    server: BenchServer, offset: int, history: _History, parameters: Parameters
) -> tuple[list[tuple[int, bytes]], dict[str, Any]]:
    """What the warm consumer received while the log was read from `offset` to its end, and what that reading took."""
    arrivals: list[tuple[int, bytes]] = []
    with _reader(server, offset, history.end_offset, parameters["fetch_bytes"]) as process:
        assert process.stdout is not None
        process.stdout.readline()
        while not arrivals or process.poll() is None:
            arrivals += follow(server, parameters["transactions"], parameters["interval_us"])
        return arrivals, json.loads(process.stdout.readline())


def _drop(directory: Path) -> float:
    """Ask the system to forget the files of a log; the share of their bytes that is in memory all the same."""
    total = resident = 0
    for path in directory.iterdir():
        with path.open("rb") as file:
            os.fdatasync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            size = os.fstat(file.fileno()).st_size
            total += size
            resident += _resident_bytes(file.fileno(), size)
    return resident / total


def _resident_bytes(descriptor: int, size: int) -> int:
    """How much of a file is in memory, asked of every sixteenth page."""
    if not size:
        return 0
    with mmap.mmap(descriptor, size, prot=mmap.PROT_READ) as mapped:
        address, system = address_of(mapped), SystemResidency()
        asked = range(0, size, 16 * mmap.PAGESIZE)
        return size * sum(system.resident_bytes(address, start, start + 1) for start in asked) // len(asked)


@contextlib.contextmanager
def _reader(server: BenchServer, offset: int, end: int, fetch_bytes: int) -> Iterator[subprocess.Popen[bytes]]:
    arguments = (server.host, server.port, offset, end, fetch_bytes)
    with subprocess.Popen(
        own_process.command("bench.cold", *arguments), stdout=subprocess.PIPE, env=own_process.environment()
    ) as process:
        yield process


BENCHMARK = Benchmark(
    name="cold",
    question="Is a consumer that follows the log delayed while another reads a day of it that is not in memory?",
    measures=(
        Measure("p50, alone", "ms", higher_is_better=False),
        Measure("p99, alone", "ms", higher_is_better=False),
        Measure("p50, beside the cold reader", "ms", higher_is_better=False),
        Measure("p99, beside the cold reader", "ms", higher_is_better=False),
        Measure("p50, beside a warm reader", "ms", higher_is_better=False),
        Measure("p99, beside a warm reader", "ms", higher_is_better=False),
        Measure("cold reader", "MB/s"),
        Measure("warm reader", "MB/s"),
    ),
    smoke={
        "rows": 2_000,
        "rows_per_transaction": 100,
        "log_bytes": 8 << 20,
        "tail_bytes": 2 << 20,
        "transactions": 50,
        "interval_us": 1_000,
        "fetch_bytes": 1 << 20,
        "resident_share_max": 1.0,
    },
    full={
        "rows": 200_000,
        "rows_per_transaction": 500,
        "log_bytes": 20 * 1000**3,
        "tail_bytes": 4 * 1000**3,
        "transactions": 2_000,
        "interval_us": 1_000,
        "fetch_bytes": 1 << 20,
        "resident_share_max": 0.01,
    },
    prepare=_prepare,
)


# --- the process that reads -----------------------------------------------------------------------------------------


def _main(host: str, port: str, *numbers: str) -> None:
    """Read from an offset to another, and tell how much it was, its CRC-32C, and the seconds it took."""
    from crc32c import crc32c

    offset, end, fetch_bytes = map(int, numbers)
    size_bytes = crc = 0
    with RawClient(host, int(port)) as client:
        client.list_offsets(HISTORY_TOPIC, LATEST)
        print(json.dumps({"reads": end - offset}), flush=True)
        begun_s = time.perf_counter()
        while offset < end:
            records = client.fetch(HISTORY_TOPIC, offset, max_bytes=fetch_bytes).records
            offset = offset_after(records) or offset
            size_bytes += len(records)
            crc = crc32c(records, crc)
        seconds = time.perf_counter() - begun_s
    print(json.dumps({"bytes": size_bytes, "crc": crc, "seconds": seconds}), flush=True)


if __name__ == "__main__":
    _main(*sys.argv[1:])
