"""How many small requests does the server answer in a second?

Heartbeats of one member, and fetches that find one record batch of a few hundred bytes, over logged-in connections on
the loopback interface: over one, where each request waits for the answer to the one before, and over many (1,000), each
with one request in flight. Server and load generator (`bench/load.py`) share the machine: with two CPUs, one each. All
answers are compared, byte by byte, with the first. The peer is a Kafka broker that has the same log
(`bench/peers/kafka.py`).
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from bench.client import RawClient, fetch_frame, heartbeat_frame
from bench.harness import Benchmark, Measure, Outcome, Parameters, Prepared, ResultHash, Side
from bench.load import Target, allow_connections, run
from bench.peers import kafka
from bench.peers.kafka import KafkaBroker
from bench.records import without_leader_epochs
from bench.server import GROUP, PASSWORD, TOPIC, USERNAME, BenchServer

_SESSION_MS: Final = 300_000
_FETCH_BYTES: Final = 1  # one batch comes whatever its size
_RECORDS_OF_CREATION: Final = 2
_RESPONSE_HEAD_BYTES: Final = 8  # size and correlation id
_HEARTBEATS: Final = "heartbeats"
_FETCHES: Final = "fetches"


@contextlib.contextmanager
def _prepare(parameters: Parameters, folder: Path) -> Iterator[Prepared]:
    allow_connections(parameters["connections"])
    with BenchServer(folder) as server, contextlib.ExitStack() as stack:
        server.ask(fill=1, rows_per_transaction=1)
        with RawClient(server.host, server.port) as client:
            log = bytes(client.fetch(TOPIC, 0).records)
        ours = binwire(server)

        def ask_kafka(broker: KafkaBroker) -> Outcome:
            return _ask(broker.target(TOPIC), parameters)

        peer = kafka.peer(stack, folder, TOPIC, log, ask_kafka)
        yield Prepared(Side("binwire", lambda: _ask(ours, parameters)), peer)


def binwire(server: BenchServer) -> Target:
    """A Binwire server, as what the generator sends its requests to."""
    login = f"{USERNAME}-{GROUP}"
    return Target(server.host, server.login_port, server.pid, TOPIC, GROUP, login, PASSWORD)


@functools.cache
def _frames(target: Target) -> dict[str, bytes]:
    """The requests: heartbeats of a member that joins for that, and fetches of the first row."""
    with RawClient(target.host, target.port) as member:
        member.login(target.username, target.password)
        generation, member_id = member.join_alone(target.group, session_ms=_SESSION_MS)
    return {
        _HEARTBEATS: heartbeat_frame(target.group, generation, member_id),
        _FETCHES: fetch_frame(target.topic, _RECORDS_OF_CREATION, _FETCH_BYTES),
    }


def _ask(target: Target, parameters: Parameters) -> Outcome:
    result = ResultHash()
    values: dict[str, float] = {}
    for name, frame in _frames(target).items():
        for width, connections in (("one connection", 1), ("many connections", parameters["connections"])):
            load = run(target, frame, connections=connections, requests=parameters["requests"])
            values[f"{name}, {width}"] = parameters["requests"] / load.seconds
            result.add(load.response if name == _HEARTBEATS else _records(load.response))
    return Outcome(values, result.hexdigest())


def _records(response: bytes) -> bytes:
    """What a fetch brought; the rest of the answer may differ between brokers."""
    return without_leader_epochs(bytes(RawClient.fetched(memoryview(response)[_RESPONSE_HEAD_BYTES:]).records))


BENCHMARK = Benchmark(
    name="requests",
    question="How many heartbeats and small fetches does the server answer in a second, on one connection and on many?",
    measures=(
        Measure("heartbeats, one connection", "requests/s"),
        Measure("heartbeats, many connections", "requests/s"),
        Measure("fetches, one connection", "requests/s"),
        Measure("fetches, many connections", "requests/s"),
    ),
    smoke={"connections": 20, "requests": 200},
    full={"connections": 1_000, "requests": 50_000},
    prepare=_prepare,
)
