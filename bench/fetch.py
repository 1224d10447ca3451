"""How fast do clients read the log, and what does that cost the server? Fetch requests over the loopback interface.

Three clients, one at a time or 20 at once, each on its own connection: `raw` sends its requests on a blocking socket
and does not decode; what it received is compared with the log's own segment files after the clock has stopped. `kcat`
and `Java` are consumers that people use, in their defaults (`bench/consumers`). The CPU is that of the server's
process, per GB served; on two CPUs, 20 consumers leave it little, and what they need themselves decides how fast they
are. The peer is a Kafka broker with the same batches (`bench/peers/kafka.py`).
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from bench.client import RawClient
from bench.consumers import Kcat, Read, Topic, java
from bench.harness import (
    Benchmark,
    Measure,
    Outcome,
    Parameters,
    PeerMissingError,
    Prepared,
    ResultHash,
    ResultMismatchError,
    Side,
)
from bench.peers import kafka
from bench.peers.kafka import KafkaBroker
from bench.records import offset_after, record_values, split_batches, whole_batches, without_leader_epochs
from bench.server import TOPIC, BenchServer
from bench.usage import cpu_seconds

_BYTES_PER_MB: Final = 1_000_000
_BYTES_PER_GB: Final = 1_000_000_000
_RAW, _KCAT, _JAVA = "raw", "kcat", "Java"
_READERS: Final = ((_RAW, 1), (_KCAT, 1), (_KCAT, 20), (_JAVA, 1), (_JAVA, 20))


@contextlib.contextmanager
def _prepare(parameters: Parameters, folder: Path) -> Iterator[Prepared]:
    with BenchServer(folder) as server, contextlib.ExitStack() as stack:
        high_watermark = server.ask(fill=parameters["rows"], rows_per_transaction=parameters["rows_per_transaction"])
        segments = sorted((folder / "data" / "topics" / f"{TOPIC}-0").glob("*.log"))
        # A segment file is longer than what was written into it.
        files = b"".join(segment.read_bytes() for segment in segments)
        log = without_leader_epochs(b"".join(split_batches(files, before=high_watermark)))
        sizes = tuple(len(value) for value in record_values(log))

        clients: dict[str, Read] = {_RAW: lambda topic, *_: _read_raw(topic, parameters["fetch_bytes"], log)}
        missing = []
        consumers: dict[str, Callable[[], Read]] = {
            _KCAT: lambda: Kcat(folder).read,
            _JAVA: lambda: stack.enter_context(java()),
        }
        for name, consumer in consumers.items():
            if name in parameters["clients"]:
                try:
                    clients[name] = consumer()
                except PeerMissingError as error:
                    missing.append(str(error))

        def read(broker: BenchServer | KafkaBroker) -> Outcome:
            return _read(broker, clients, sizes, log)

        peer = kafka.peer(stack, folder, TOPIC, log, read)
        yield Prepared(Side("binwire", lambda: read(server)), peer, missing=missing)


def _read(broker: BenchServer | KafkaBroker, clients: dict[str, Read], sizes: Sequence[int], log: bytes) -> Outcome:
    topic = Topic(broker.host, broker.port, TOPIC, len(sizes))
    values: dict[str, float] = {}
    for name, count in _READERS:
        if name in clients:
            before_s = cpu_seconds(broker.pid)
            seconds = clients[name](topic, sizes, count)
            used_s = cpu_seconds(broker.pid) - before_s
            values[f"throughput, {name} × {count}"] = count * len(log) / _BYTES_PER_MB / seconds
            values[f"records, {name} × {count}"] = count * len(sizes) / seconds
            values[f"CPU, {name} × {count}"] = used_s / (count * len(log) / _BYTES_PER_GB)
    result = ResultHash()
    result.add(log)
    return Outcome(values, result.hexdigest())


def _read_raw(topic: Topic, fetch_bytes: int, log: bytes) -> float:
    received: list[bytes] = []
    with RawClient(topic.host, topic.port) as client:
        begun_s = time.perf_counter()
        offset = 0
        while offset < topic.records:
            records = whole_batches(client.fetch(topic.name, offset, max_bytes=fetch_bytes).records)
            offset = offset_after(records)
            received.append(bytes(records))
        seconds = time.perf_counter() - begun_s
    if without_leader_epochs(b"".join(received)) != log:
        raise ResultMismatchError("benchmark fetch: what was received is not what lies in the segment files")
    return seconds


def _measures() -> tuple[Measure, ...]:
    forms = (("throughput", "MB/s", True), ("records", "records/s", True), ("CPU", "s/GB", False))
    readers = [f"{name} × {count}" for name, count in _READERS]
    return tuple(Measure(f"{what}, {reader}", unit, better) for reader in readers for what, unit, better in forms)


BENCHMARK = Benchmark(
    name="fetch",
    question="How fast do clients read the log over the loopback interface, and at what CPU of the server?",
    measures=_measures(),
    smoke={"rows": 2_000, "rows_per_transaction": 100, "fetch_bytes": 1 << 16, "clients": (_RAW,)},
    full={"rows": 300_000, "rows_per_transaction": 500, "fetch_bytes": 1 << 20, "clients": (_RAW, _KCAT, _JAVA)},
    prepare=_prepare,
)
