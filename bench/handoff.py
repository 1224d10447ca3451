"""How long after a change was handed over by call does a consumer have the record?

A paced source takes one-row transactions by call, each stamped with the monotonic clock at that moment; a client that
long-polls in another process notes when its response arrived. Between the two lie decoding, log, wake-up, socket and
client; what lies before (the database's own commit and its dump thread) does not, because the source is embedded: that
is asked by `bench/latency.py`. There is no peer.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from bench.client import LATEST, RawClient
from bench.harness import Benchmark, Measure, Outcome, Parameters, Prepared, ResultHash, Side, percentile
from bench.records import offset_after, record_values, rows, text_cell
from bench.server import STAMP_COLUMN, TOPIC, BenchServer

_NS_PER_MS: Final = 1_000_000
_FETCH_BYTES: Final = 1 << 20
_RECORDS_PER_TRANSACTION: Final = 3  # BEGIN, INSERT, COMMIT


@contextlib.contextmanager
def _prepare(parameters: Parameters, folder: Path) -> Iterator[Prepared]:
    with BenchServer(folder) as server:
        yield Prepared(Side("binwire", lambda: _run(server, parameters["transactions"], parameters["interval_us"])))


def _run(server: BenchServer, transactions: int, interval_us: int) -> Outcome:
    arrivals = follow(server, transactions, interval_us)
    latencies, result = latencies_ms(arrivals), ResultHash()
    for _, batches in arrivals:
        for row in rows(record_values(batches)):
            result.add(text_cell(row, "title").encode())
    values = {"p50": percentile(latencies, 50), "p99": percentile(latencies, 99), "max": max(latencies)}
    return Outcome(values, result.hexdigest())


def follow(server: BenchServer, transactions: int, interval_us: int) -> list[tuple[int, bytes]]:
    """Let the server make stamped transactions, and receive them: nanoseconds of the monotonic clock, and batches."""
    arrivals: list[tuple[int, bytes]] = []
    with RawClient(server.host, server.port) as client:
        _, offset = client.list_offsets(TOPIC, LATEST)
        end = offset + transactions * _RECORDS_PER_TRANSACTION
        server.send(pace=transactions, interval_us=interval_us)
        while offset < end:
            records = client.fetch(TOPIC, offset, max_bytes=_FETCH_BYTES).records
            if records:
                arrivals.append((time.monotonic_ns(), bytes(records)))
                offset = offset_after(records)
        server.result()
    return arrivals


def latencies_ms(arrivals: Iterable[tuple[int, bytes]]) -> list[float]:
    """How long each stamped row was on its way."""
    return [
        (arrived_ns - int(text_cell(row, STAMP_COLUMN))) / _NS_PER_MS
        for arrived_ns, batches in arrivals
        for row in rows(record_values(batches))
    ]


BENCHMARK = Benchmark(
    name="handoff",
    question="How long after a change by call does a long-polling consumer have the record (embedded source)?",
    measures=(
        Measure("p50", "ms", higher_is_better=False),
        Measure("p99", "ms", higher_is_better=False),
        Measure("max", "ms", higher_is_better=False),
    ),
    smoke={"transactions": 50, "interval_us": 1_000},
    full={"transactions": 5_000, "interval_us": 1_000},
    prepare=_prepare,
)
