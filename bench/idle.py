"""How much memory of its own does the server hold for a connection that says nothing?

A fresh server; some connections come and go, so that what the first of them loads is there; then many log in and are
silent. What the server's anonymous memory (`Anonymous` of its smaps_rollup) has grown by, divided by their number, is
the answer. The kernel's socket buffers are not in it. Linux only. There is no peer: a JVM
takes its heap as it likes, whatever a connection needs of it.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from bench.harness import Benchmark, Measure, Outcome, Parameters, Prepared, ResultHash, Side
from bench.load import Target, allow_connections, idle
from bench.requests import binwire
from bench.server import BenchServer

_WARM_UP_CONNECTIONS: Final = 20


@contextlib.contextmanager
def _prepare(parameters: Parameters, folder: Path) -> Iterator[Prepared]:
    allow_connections(parameters["connections"])
    runs = itertools.count()

    def run() -> Outcome:
        # A server that has held so many before would take them into memory that it kept.
        own = folder / f"run-{next(runs)}"
        own.mkdir()
        with BenchServer(own) as server:
            return _measure(binwire(server), parameters["connections"])

    yield Prepared(Side("binwire", run))


def _measure(target: Target, connections: int) -> Outcome:
    with idle(target, _WARM_UP_CONNECTIONS):
        pass
    before = _anonymous_kib(target.pid)
    with idle(target, connections):
        grown = _anonymous_kib(target.pid) - before
    result = ResultHash()
    result.add(str(connections).encode())
    return Outcome({"per connection": grown / connections}, result.hexdigest())


def _anonymous_kib(pid: int) -> int:
    """Private memory of a process that no file stands behind."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
        name, _, value = line.partition(":")
        if name == "Anonymous":
            return int(value.split()[0])
    raise RuntimeError(f"the kernel does not say how much anonymous memory process {pid} has")


BENCHMARK = Benchmark(
    name="idle",
    question="How much private memory does a logged-in connection cost that says nothing?",
    measures=(Measure("per connection", "KiB", higher_is_better=False),),
    smoke={"connections": 200},
    full={"connections": 1_000},
    prepare=_prepare,
)
