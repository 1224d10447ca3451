"""How fast does a client read the log? Raw Fetch requests over the loopback interface, batches as they lie on disk.

The client asks on one connection and does not decode; what it received is compared with the log's own segment files
after the clock has stopped. The peer is a Kafka broker with the same batches (`bench/peers/kafka.py`).
"""

from __future__ import annotations

import contextlib
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
)
from bench.peers import kafka
from bench.peers.kafka import KafkaBroker
from bench.records import offset_after, split_batches, whole_batches, without_leader_epochs
from bench.server import TOPIC, BenchServer

_BYTES_PER_MB: Final = 1_000_000


@contextlib.contextmanager
def _prepare(parameters: Parameters, folder: Path) -> Iterator[Prepared]:
    with BenchServer(folder) as server, contextlib.ExitStack() as stack:
        high_watermark = server.ask(fill=parameters["rows"], rows_per_transaction=parameters["rows_per_transaction"])
        segments = sorted((folder / "data" / "topics" / f"{TOPIC}-0").glob("*.log"))
        # A segment file is longer than what was written into it.
        files = b"".join(segment.read_bytes() for segment in segments)
        log = without_leader_epochs(b"".join(split_batches(files, before=high_watermark)))

        def read(broker: BenchServer | KafkaBroker) -> Outcome:
            return _read(broker, high_watermark, parameters["fetch_bytes"], log)

        peer = kafka.peer(stack, folder, TOPIC, log, read)
        yield Prepared(Side("binwire", lambda: read(server)), peer)


def _read(broker: BenchServer | KafkaBroker, high_watermark: int, fetch_bytes: int, log: bytes) -> Outcome:
    received: list[bytes] = []
    with RawClient(broker.host, broker.port) as client:
        start = time.perf_counter()
        offset = 0
        while offset < high_watermark:
            records = whole_batches(client.fetch(TOPIC, offset, max_bytes=fetch_bytes).records)
            offset = offset_after(records)
            received.append(bytes(records))
        seconds = time.perf_counter() - start
    data = without_leader_epochs(b"".join(received))
    if data != log:
        raise ResultMismatchError("benchmark fetch: what was received is not what lies in the segment files")
    result = ResultHash()
    result.add(data)
    return Outcome({"throughput": len(data) / _BYTES_PER_MB / seconds, "records": offset / seconds}, result.hexdigest())


BENCHMARK = Benchmark(
    name="fetch",
    question="How fast does one client read the log (raw Fetch requests, one connection, loopback)?",
    measures=(Measure("throughput", "MB/s"), Measure("records", "records/s")),
    smoke={"rows": 2_000, "rows_per_transaction": 100, "fetch_bytes": 1 << 16},
    full={"rows": 300_000, "rows_per_transaction": 500, "fetch_bytes": 1 << 20},
    prepare=_prepare,
)
