"""The benchmarks there are: one row each, in the order they are run and listed.

Also owns which of them, and in what size, give a first table within a minute on an idle machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from bench.append import BENCHMARK as APPEND
from bench.backfill import BENCHMARK as BACKFILL
from bench.capture import BENCHMARK as CAPTURE
from bench.cold import BENCHMARK as COLD
from bench.console_load import BENCHMARK as CONSOLE_LOAD
from bench.downconversion import BENCHMARK as DOWNCONVERSION
from bench.fetch import BENCHMARK as FETCH
from bench.fixture import BENCHMARK as FIXTURE
from bench.flush import BENCHMARK as FLUSH
from bench.handoff import BENCHMARK as HANDOFF
from bench.harness import Benchmark, Parameters
from bench.idle import BENCHMARK as IDLE
from bench.latency import BENCHMARK as LATENCY
from bench.memory import BENCHMARK as MEMORY
from bench.read import BENCHMARK as READ
from bench.requests import BENCHMARK as REQUESTS
from bench.restart import BENCHMARK as RESTART
from bench.search import BENCHMARK as SEARCH
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
    FIXTURE,
    MEMORY,
    APPEND,
    READ,
    SEEK,
    SEARCH,
    CONSOLE_LOAD,
    RESTART,
    FLUSH,
)

QUICK: Final[Mapping[str, Parameters]] = {
    "capture": {"transactions": 80, "stream_files": 1},
    "fetch": {"rows": 100_000, "clients": ("raw",)},
    "handoff": {"transactions": 2_000},
    "start": {"transactions": 20},
    "append": {},
}
"""What `--quick` asks, and in which parameters it differs from the full size; none needs more than Python."""

QUICK_ROUNDS: Final = 2
