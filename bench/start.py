"""How long after it is started does a server give a client its first record?

Each run starts a process and stops the clock when a client that logged in holds the first record. `serve`: `binwire
serve` over a data directory whose channel has a log; its source is a MySQL address where nobody answers, so that what
a live source loads is loaded and no database is needed. `fixture`: what a test waits for (`binwire.testing`): broker,
channel, table, one row. The peers of `serve` are Kafka brokers over the same log (`bench/peers/kafka.py`): one started
at the same moment as the ZooKeeper that it needs, one that is its own controller.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from bench import orders
from bench.client import KafkaError, RawClient
from bench.harness import Benchmark, Measure, Outcome, Parameters, Prepared, ResultHash, Side
from bench.material import write_binlog
from bench.peers import kafka
from bench.peers.kafka import KafkaBroker
from bench.records import content_hash, record_values
from bench.served import TOPIC, ServedFolder, bytecode_in
from binwire.testing import EmbeddedBroker

_FETCH_BYTES: Final = 1 << 16
_MS_PER_S: Final = 1_000


@contextlib.contextmanager
def _prepare(parameters: Parameters, folder: Path) -> Iterator[Prepared]:
    binlog = write_binlog(folder / "mysql-bin.000001", parameters["transactions"], parameters["rows_per_transaction"])
    server = ServedFolder(folder)
    with bytecode_in(folder / "bytecode"), socket.socket() as nobody, contextlib.ExitStack() as stack:
        with server.started(f"file://{binlog.path}"):
            log = server.read(binlog.records)
        nobody.bind(("127.0.0.1", 0))  # not listening: every connection is refused, and nobody else can have the port
        source = f"mysql://bench@127.0.0.1:{nobody.getsockname()[1]}"
        _run(server, source)
        peers = [kafka.ended_peer(stack, folder, TOPIC, log, _run_kafka, release) for release in kafka.RELEASES]
        yield Prepared(Side("binwire", lambda: _run(server, source)), *peers, same_result=False)


def _run_kafka(broker: KafkaBroker) -> Outcome:
    result = ResultHash()
    start = time.perf_counter()
    with broker.started():
        records = broker.ask(_first_records)
        serve_s = time.perf_counter() - start
    result.add(records)
    return Outcome({"serve": serve_s * _MS_PER_S}, result.hexdigest())


def _run(server: ServedFolder, source: str) -> Outcome:
    result = ResultHash()
    start = time.perf_counter()
    with server.started(source):
        records = server.read(1)
        serve_s = time.perf_counter() - start
    result.add(records)
    start = time.perf_counter()
    with EmbeddedBroker() as broker:
        channel = broker.channel()
        channel.table(orders.CREATE_TABLE).insert(orders.order(0))
        with RawClient(broker.host, broker.port) as client:
            client.login(channel.login, channel.password)
            records = bytes(client.fetch(channel.topic, 0, max_bytes=_FETCH_BYTES).records)
        fixture_s = time.perf_counter() - start
    result.add(content_hash(record_values(records)).encode())
    return Outcome({"serve": serve_s * _MS_PER_S, "fixture": fixture_s * _MS_PER_S}, result.hexdigest())


def _first_records(client: RawClient) -> bytes:
    records = bytes(client.fetch(TOPIC, 0, max_bytes=_FETCH_BYTES).records)
    if not records:
        raise KafkaError("there are no records yet")
    return records


BENCHMARK = Benchmark(
    name="start",
    question="How long after its start does a server give a client its first record?",
    measures=(Measure("serve", "ms", higher_is_better=False), Measure("fixture", "ms", higher_is_better=False)),
    smoke={"transactions": 5, "rows_per_transaction": 10},
    full={"transactions": 200, "rows_per_transaction": 100},
    prepare=_prepare,
)
