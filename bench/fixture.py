"""How long does a test wait for its broker, for a channel of its own, and for the first row in it?

Each run starts an embedded broker (`binwire.testing`) and does what a session of tests does. `first record`: from the
start of the process until a client that logged in has listed the topics and holds the first record. `fresh channel`:
another channel, made by one call, right behind a client's last answer. `after a rest`: the same behind `_REST_S` in
which nobody asked anything of the broker, as there is while a real consumer joins its group. `row in it`: all that a
test with a channel of its own waits for: the channel, a table, a row, and a client that logs in, lists the topics and
holds the row's record. `private memory`: what the server's process has for itself (anonymous memory) once all those
channels are there, none of them closed.

The peers are brokers as tests have them: Kafka in its newest KRaft form (`bench/peers/kafka.py`; its storage is
formatted before the clock starts), Spring's EmbeddedKafka and librdkafka's mock cluster (`bench/peers/embedded.py`).
There a channel is a topic, made by what each has for it, and a row is a batch that is produced; the client is the same.
It logs in where there are logins: Binwire and Kafka.
"""

from __future__ import annotations

import contextlib
import itertools
import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple, Protocol, TypeVar

from bench import orders
from bench.client import KafkaError, RawClient
from bench.harness import Benchmark, Measure, Outcome, Parameters, Prepared, ResultHash, Side, SoughtPeer
from bench.peers import kafka
from bench.peers.embedded import EMBEDDED, Embedded
from bench.peers.kafka import KAFKA_4, AdminClient, KafkaBroker
from bench.peers.line_broker import LineBroker
from bench.records import split_batches
from bench.served import bytecode_in
from bench.usage import memory
from binwire.testing import Channel, EmbeddedBroker

_FETCH_BYTES: Final = 1 << 16
_MS_PER_S: Final = 1_000
_KIB_PER_MIB: Final = 1_024
_POLL_S: Final = 0.001
_TIMEOUT_S: Final = 120.0
_REST_S: Final = 0.02

AnswerT = TypeVar("AnswerT")


class _Place(NamedTuple):
    """Where a topic is, and who may read it."""

    host: str
    port: int
    topic: str
    login: tuple[str, str] | None = None


class _Broker(Protocol):
    """A broker whose process has been started. All wait until they are done."""

    @property
    def pid(self) -> int: ...

    def make(self) -> None:
        """Have one more channel."""

    def write(self) -> _Place:
        """Have one row in the channel that was made last."""


@contextlib.contextmanager
def _prepare(parameters: Parameters, folder: Path) -> Iterator[Prepared]:
    runs = itertools.count()
    with bytecode_in(folder / "bytecode"):
        batch = _batch()  # of a run whose bytecode is kept

        def ours() -> Outcome:
            return _measure(_Ours, parameters["channels"])

        def in_kafka(jars: str) -> Outcome:
            with KafkaBroker(folder / f"kafka-{next(runs)}", jars, KAFKA_4) as broker:
                return _measure(lambda stack: _Kafka(stack, broker, batch), parameters["channels"])

        def sought(peer: Embedded) -> SoughtPeer:
            def find() -> Side:
                command = peer.command()

                def run() -> Outcome:
                    log = folder / f"embedded-{next(runs)}.log"
                    begin = partial(LineBroker, peer.name, command, log)
                    return _measure(lambda stack: _InLines(stack, begin, batch), parameters["channels"])

                return Side(peer.name, run)

            return SoughtPeer(peer.name, find)

        yield Prepared(Side("binwire", ours), kafka.side(in_kafka, KAFKA_4), *map(sought, EMBEDDED), same_result=False)


def _measure(start: Callable[[contextlib.ExitStack], _Broker], channels: int) -> Outcome:
    """Start a broker, which ends with the stack that it is given, and do what a session of tests does."""
    result, made_s, rested_s, rows_s = ResultHash(), [], [], []
    begun = time.perf_counter()
    with contextlib.ExitStack() as stack:
        broker = start(stack)
        broker.make()
        result.add(_first_record(broker.write()))
        first_s = time.perf_counter() - begun
        for _ in range(channels):
            begun = time.perf_counter()
            broker.make()
            made_s.append(time.perf_counter() - begun)
            result.add(_first_record(broker.write()))
            rows_s.append(time.perf_counter() - begun)
        for _ in range(channels):
            time.sleep(_REST_S)
            begun = time.perf_counter()
            broker.make()
            rested_s.append(time.perf_counter() - begun)
            result.add(_first_record(broker.write()))
        private = memory(broker.pid).anonymous / _KIB_PER_MIB
    values = {"first record": first_s * _MS_PER_S, "private memory": private}
    values |= {
        "fresh channel": statistics.median(made_s) * _MS_PER_S,
        "fresh channel, after a rest": statistics.median(rested_s) * _MS_PER_S,
        "row in it": statistics.median(rows_s) * _MS_PER_S,
    }
    return Outcome(values, result.hexdigest())


def _first_record(place: _Place) -> bytes:
    """Have a client hold the first record; how many topics it saw, and whether that is one of them."""

    def look() -> bytes:
        with RawClient(place.host, place.port) as client:
            if place.login:
                client.login(*place.login)
            topics = client.topics()
            if not client.fetch(place.topic, 0, max_bytes=_FETCH_BYTES).records:
                raise KafkaError("there are no records yet")
            return b"seen" if place.topic in topics else b"not listed"

    return _answered(look)


def _answered(ask: Callable[[], AnswerT]) -> AnswerT:
    """An answer, asked for until there is one: a broker that has just begun, or has a new topic, refuses at first."""
    deadline = time.monotonic() + _TIMEOUT_S
    while True:
        try:
            return ask()
        except (ConnectionError, KafkaError):
            if time.monotonic() > deadline:
                raise
            time.sleep(_POLL_S)


class _Ours:
    """The embedded broker as a test has it."""

    def __init__(self, stack: contextlib.ExitStack) -> None:
        self._broker = stack.enter_context(EmbeddedBroker())
        self._channel: Channel | None = None
        self.pid = self._broker._process.pid

    def make(self) -> None:
        self._channel = self._broker.channel()

    def write(self) -> _Place:
        channel = self._channel
        assert channel is not None
        channel.table(orders.CREATE_TABLE).insert(orders.order(0))
        return _Place(self._broker.host, self._broker.port, channel.topic, (channel.login, channel.password))


class _Kafka:
    """Kafka in a process of its own, with a connection that makes topics and produces."""

    def __init__(self, stack: contextlib.ExitStack, broker: KafkaBroker, batch: bytes) -> None:
        self._broker = broker
        self._batch = batch
        self._names = map("channel-{}".format, itertools.count())
        self._topic = ""
        stack.enter_context(broker.started())
        self._client = stack.enter_context(contextlib.closing(_answered(self._connected)))
        self.pid = broker.pid

    def make(self) -> None:
        self._topic = next(self._names)
        _answered(lambda: self._client.create_topic(self._topic))

    def write(self) -> _Place:
        _answered(lambda: self._client.produce(self._topic, [self._batch]))
        return _Place(self._broker.host, self._broker.login_port, self._topic, self._broker.credentials)

    def _connected(self) -> AdminClient:
        client = AdminClient(self._broker.host, self._broker.login_port)
        client.login(*self._broker.credentials)
        return client


class _InLines:
    """A broker that is part of a library, driven by lines."""

    def __init__(self, stack: contextlib.ExitStack, begin: Callable[[], LineBroker], batch: bytes) -> None:
        self._broker = stack.enter_context(begin())
        self._batch = batch
        self._names = map("channel-{}".format, itertools.count())
        self._topic = ""
        self._address = self._broker.address()
        self._client = stack.enter_context(AdminClient(*self._address))
        self.pid = self._broker.pid

    def make(self) -> None:
        self._topic = next(self._names)
        self._broker.make(self._topic)

    def write(self) -> _Place:
        _answered(lambda: self._client.produce(self._topic, [self._batch]))
        return _Place(*self._address, self._topic)


def _batch() -> bytes:
    """A batch with one order, as it is stored."""
    with contextlib.ExitStack() as stack:
        broker = _Ours(stack)
        broker.make()
        place = broker.write()
        with RawClient(place.host, place.port) as client:
            assert place.login is not None
            client.login(*place.login)
            *_, last = split_batches(bytes(client.fetch(place.topic, 0, max_bytes=_FETCH_BYTES).records))
    return last


BENCHMARK = Benchmark(
    name="fixture",
    question="How long does a test wait for its broker, for a channel of its own, and for the first row in it?",
    measures=(
        Measure("first record", "ms", higher_is_better=False),
        Measure("fresh channel", "ms", higher_is_better=False),
        Measure("fresh channel, after a rest", "ms", higher_is_better=False),
        Measure("row in it", "ms", higher_is_better=False),
        Measure("private memory", "MiB", higher_is_better=False),
    ),
    smoke={"channels": 3},
    full={"channels": 50},
    prepare=_prepare,
)
