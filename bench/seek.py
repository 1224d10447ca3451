"""How long does it take to find the offset of a time, in a log of a million records and of a thousand times as many?

The logs are synthetic (bench/synthetic.py): batches of 500 minimal records, in segments of 256 MiB like a channel's, a
thousand million records in 8.5 GB. All of it is there and true, so a lookup does what it does in a log of rows: halves
the segments, halves the slots of one index, walks to a batch, checks it, and reads the records before the one asked
for, here half a batch. The times asked for are random, every answer is held against what it must be, and all answers
together are hashed. `first` is the first lookup of a log that was just opened and has not been looked into; p50 and p99
are taken when as many lookups have been made as are measured then. The logs are in memory, as far as that holds them.

`request` is one ListOffsets request after the other to a whole server, over the loopback interface, for the smallest
log; only that has a peer, a Kafka broker with the same batches (`bench/peers/kafka.py`).
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from bench.client import RawClient
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
from bench.peers import kafka
from bench.peers.kafka import KafkaBroker
from bench.server import HISTORY_TOPIC, BenchServer, topic_path
from bench.synthetic import STEP_MS, Template, first_ms, write_closed_segments
from storage.clock import SystemClock
from storage.cold import ColdReads
from storage.config import LogConfig
from storage.log import resident
from storage.segment_log import SegmentLog

_SEGMENT_BYTES: Final = 256 << 20
_CONFIG: Final = LogConfig(segment_bytes=_SEGMENT_BYTES, retention_ms=None)
_NAMES: Final = ("small", "middle", "large")
_US_PER_S: Final = 1_000_000
_SEED: Final = 7

_Answer = tuple[int, int]


@contextlib.contextmanager
def _prepare(parameters: Parameters, folder: Path) -> Iterator[Prepared]:
    template = Template.dense(parameters["records_per_batch"])
    counts = {name: parameters["records"][name] // template.record_count for name in _NAMES}
    for name, batch_count in counts.items():
        write_closed_segments(folder / name, template, batch_count, _SEGMENT_BYTES)
    served = folder / "served"
    served.mkdir()
    with BenchServer(served) as server, contextlib.ExitStack() as stack:
        history = topic_path(served, HISTORY_TOPIC)
        write_closed_segments(history, template, counts["small"], _SEGMENT_BYTES)
        log = b"".join(path.read_bytes() for path in sorted(history.glob("*.log")))
        server.ask(serve_history=1)

        def run() -> Outcome:
            result = ResultHash()
            values: dict[str, float] = {}
            for name, batch_count in counts.items():
                values |= asyncio.run(
                    _look_up(folder / name, name, template, batch_count, parameters["lookups"], result)
                )
            return Outcome({**values, **ask(server).values}, result.hexdigest())

        def ask(broker: BenchServer | KafkaBroker) -> Outcome:
            return _request(broker, template, counts["small"], parameters["lookups"])

        peer = kafka.peer(stack, folder, HISTORY_TOPIC, log, ask)
        yield Prepared(Side("binwire", run), peer, same_result=False)


def _asked(template: Template, batch_count: int, lookups: int) -> list[tuple[int, _Answer]]:
    """Random times, whole seconds and others, and the offset and time that each must find."""
    randomly = random.Random(_SEED)
    half = template.record_count // 2
    asked = []
    for _ in range(lookups):
        step = randomly.randrange(1, batch_count)
        # A batch's second half has the time at which the next batch begins.
        found = (step - 1) * template.record_count + half, first_ms(step)
        asked.append((first_ms(step) - randomly.randrange(STEP_MS), found))
    return asked


async def _look_up(
    directory: Path, name: str, template: Template, batch_count: int, lookups: int, result: ResultHash
) -> dict[str, float]:
    cold = ColdReads()
    log = SegmentLog.open(directory, "bench", _CONFIG, SystemClock(), cold=cold)
    taken_us = []
    for time_ms, expected in _asked(template, batch_count, 2 * lookups):
        begun_s = time.perf_counter()
        found = await resident(lambda: log.offset_for_timestamp(time_ms))  # noqa: B023 — asked at once
        taken_us.append((time.perf_counter() - begun_s) * _US_PER_S)
        _require(found, expected)
        result.add(b"%d %d" % expected)
    await log.close()
    cold.close()
    warm_us = taken_us[lookups:]
    return {
        f"first, {name}": taken_us[0],
        f"p50, {name}": percentile(warm_us, 50),
        f"p99, {name}": percentile(warm_us, 99),
    }


def _request(broker: BenchServer | KafkaBroker, template: Template, batch_count: int, lookups: int) -> Outcome:
    result = ResultHash()
    taken_us = []
    with RawClient(broker.host, broker.port) as client:
        for time_ms, expected in _asked(template, batch_count, 2 * lookups):
            begun_s = time.perf_counter()
            found_ms, offset = client.list_offsets(HISTORY_TOPIC, time_ms)
            taken_us.append((time.perf_counter() - begun_s) * _US_PER_S)
            _require((offset, found_ms), expected)
            result.add(b"%d %d" % expected)
    values = {f"request p{percent}, small": percentile(taken_us[lookups:], percent) for percent in (50, 99)}
    return Outcome(values, result.hexdigest())


def _require(found: _Answer | None, expected: _Answer) -> None:
    if found != expected:
        raise ResultMismatchError(f"benchmark seek: {found} was found where {expected} is the first at that time")


BENCHMARK = Benchmark(
    name="seek",
    question="How long does it take to find the offset of a time (full size: 10^6, 10^8 and 10^9 records)?",
    measures=(
        *(
            Measure(f"{what}, {name}", "µs", higher_is_better=False)
            for name in _NAMES
            for what in ("first", "p50", "p99")
        ),
        Measure("request p50, small", "µs", higher_is_better=False),
        Measure("request p99, small", "µs", higher_is_better=False),
    ),
    smoke={
        "records": {"small": 1_000, "middle": 10_000, "large": 100_000},
        "records_per_batch": 50,
        "lookups": 50,
    },
    full={
        "records": {"small": 10**6, "middle": 10**8, "large": 10**9},
        "records_per_batch": 500,
        "lookups": 2_000,
    },
    prepare=_prepare,
)
