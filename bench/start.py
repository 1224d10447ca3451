"""How long after it is started does a server give a client its first record?

Each run starts a process and stops the clock when a client that logged in holds the first record. `serve`: `binwire
serve` over a data directory whose channel has a log; its source is a MySQL address where nobody answers, so that what
a live source loads is loaded and no database is needed. `fixture`: what a test waits for (`binwire.testing`): broker,
channel, table, one row. The peer of `serve` is a Kafka broker over the same log (`bench/kafka_broker.py`), started at
the same moment as the ZooKeeper that it needs.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from bench import kafka_broker, orders
from bench.client import KafkaError, RawClient
from bench.harness import Benchmark, Measure, Outcome, Parameters, Prepared, ResultHash, Side
from bench.kafka_broker import KafkaBroker
from bench.material import write_binlog
from bench.records import content_hash, offset_after, record_values
from binwire.testing import EmbeddedBroker

_TOPIC: Final = "cn_hangzhou_rm_bench_dtstest_version2"
_USERNAME: Final = "dtstest"
_GROUP: Final = "dtsbench01"
_PASSWORD: Final = "Bench-start1"  # noqa: S105 — of a server that lives for a second, on the loopback interface
_FETCH_BYTES: Final = 1 << 16
_POLL_S: Final = 0.001
_MS_PER_S: Final = 1_000
_CONFIG: Final = """
[[listeners]]
name = "public"
bind = "127.0.0.1:0"

[[channels]]
id = "bench"
topic = "{topic}"
source = "{source}"
objects = ["{database}"]
start = "earliest"

[[channels.groups]]
name = "bench"
id = "{group}"
username = "{username}"
password = "{password}"
"""


@contextlib.contextmanager
def _prepare(parameters: Parameters, folder: Path) -> Iterator[Prepared]:
    binlog = write_binlog(folder / "mysql-bin.000001", parameters["transactions"], parameters["rows_per_transaction"])
    server = _Server(folder)
    with _bytecode_in(folder / "bytecode"), socket.socket() as nobody, contextlib.ExitStack() as stack:
        with server.started(f"file://{binlog.path}"):
            log = server.read(binlog.records)
        nobody.bind(("127.0.0.1", 0))  # not listening: every connection is refused, and nobody else can have the port
        source = f"mysql://bench@127.0.0.1:{nobody.getsockname()[1]}"
        _run(server, source)
        kafka = functools.cache(lambda jars: _filled_kafka(stack, folder, jars, log))
        peer = functools.partial(kafka_broker.side, lambda jars: _run_kafka(kafka(jars)))
        yield Prepared(Side("binwire", lambda: _run(server, source)), peer, same_result=False)


def _filled_kafka(stack: contextlib.ExitStack, folder: Path, jars: str, log: bytes) -> KafkaBroker:
    """A broker that has the log and is ended."""
    broker = stack.enter_context(KafkaBroker(folder / "kafka", jars))
    with broker.started():
        broker.fill(_TOPIC, log)
    return broker


def _run_kafka(broker: KafkaBroker) -> Outcome:
    result = ResultHash()
    start = time.perf_counter()
    with broker.started():
        records = broker.ask(_first_records)
        serve_s = time.perf_counter() - start
    result.add(records)
    return Outcome({"serve": serve_s * _MS_PER_S}, result.hexdigest())


@contextlib.contextmanager
def _bytecode_in(folder: Path) -> Iterator[None]:
    """Have the processes that are started keep their bytecode, whatever the environment says."""
    before = os.environ.copy()
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PYTHONPYCACHEPREFIX"] = str(folder)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _run(server: _Server, source: str) -> Outcome:
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
    records = bytes(client.fetch(_TOPIC, 0, max_bytes=_FETCH_BYTES).records)
    if not records:
        raise KafkaError("there are no records yet")
    return records


class _Server:
    """`binwire serve` over one data directory, from one source or another."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._config = folder / "binwire.toml"
        self._log = folder / "server.log"
        self._front_door = Path(__file__).resolve().parent.parent / "binwire" / "__main__.py"

    @contextlib.contextmanager
    def started(self, source: str) -> Iterator[None]:
        """A process, from its start to its orderly end."""
        values = {"group": _GROUP, "username": _USERNAME, "password": _PASSWORD}
        self._config.write_text(
            _CONFIG.format(topic=_TOPIC, source=source, database=orders.DATABASE, **values), encoding="utf-8"
        )
        command = [sys.executable, "-P", str(self._front_door), "serve", "-c", str(self._config)]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(command, stderr=log)
        try:
            yield
        finally:
            self._process.terminate()
            self._process.wait()

    def read(self, count: int) -> bytes:
        """Record batches from the beginning of the log, by a client that logs in, until they have `count` records."""
        host, port = self._address()
        received = b""
        with RawClient(host, port) as client:
            client.login(f"{_USERNAME}-{_GROUP}", _PASSWORD)
            while (offset := offset_after(received)) < count:
                received += bytes(client.fetch(_TOPIC, offset, max_bytes=_FETCH_BYTES).records)
        return received

    def _address(self) -> tuple[str, int]:
        """Where it listens, as soon as it says so."""
        ready = self._folder / "data" / "ready.json"
        while not ready.is_file():
            if self._process.poll() is not None:
                log = self._log.read_text(encoding="utf-8", errors="replace")
                raise RuntimeError(f"the server ended with status {self._process.returncode}:\n{log[-4000:]}")
            time.sleep(_POLL_S)
        host, port = json.loads(ready.read_text(encoding="utf-8"))["listeners"]["public"].rsplit(":", 1)
        return host, int(port)


BENCHMARK = Benchmark(
    name="start",
    question="How long after its start does a server give a client its first record?",
    measures=(Measure("serve", "ms", higher_is_better=False), Measure("fixture", "ms", higher_is_better=False)),
    smoke={"transactions": 5, "rows_per_transaction": 10},
    full={"transactions": 200, "rows_per_transaction": 100},
    prepare=_prepare,
)
