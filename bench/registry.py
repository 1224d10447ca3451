"""The benchmarks there are: one row each, in the order they are run and listed.

Also owns which of them give a first table within a minute: Python only, the server's own work in full size, few rounds.
"""

from __future__ import annotations

from typing import Final

from bench.append import BENCHMARK as APPEND
from bench.backfill import BENCHMARK as BACKFILL
from bench.capture import BENCHMARK as CAPTURE
from bench.cold import BENCHMARK as COLD
from bench.downconversion import BENCHMARK as DOWNCONVERSION
from bench.fetch import BENCHMARK as FETCH
from bench.flush import BENCHMARK as FLUSH
from bench.handoff import BENCHMARK as HANDOFF
from bench.harness import Benchmark
from bench.idle import BENCHMARK as IDLE
from bench.latency import BENCHMARK as LATENCY
from bench.read import BENCHMARK as READ
from bench.requests import BENCHMARK as REQUESTS
from bench.restart import BENCHMARK as RESTART
from bench.seek import BENCHMARK as SEEK
from bench.start import BENCHMARK as START

BENCHMARKS: tuple[Benchmark, ...] = (
    CAPTURE,
    BACKFILL,
    FETCH,
    DOWNCONVERSION,
    LATENCY,
    HANDOFF,
    COLD,
    REQUESTS,
    IDLE,
    START,
    APPEND,
    READ,
    SEEK,
    RESTART,
    FLUSH,
)

QUICK: Final = ("capture", "fetch", "handoff", "start", "append")
"""What `--quick` asks; none of them needs a server or a peer."""

QUICK_ROUNDS: Final = 2
