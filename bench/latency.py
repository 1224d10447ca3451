"""How long after a commit in MySQL does a consumer have the record?

A process commits one-row transactions in a MySQL server at a steady pace, each stamped with the monotonic clock just
before it was sent; `binwire serve` captures the server; a client that long-polls, in a third process, notes when each
response arrived. Between the two lie the commit itself, the server's dump thread, decoding, log, wake-up, socket and
client. How long the commits alone took is told beside it. It is asked at two paces, alone and while a second channel of
the same process backfills binlog files that do not end; how fast it does is told too.

The peer is Debezium Server, which writes into a Kafka broker that the same client reads, from a server of its own with
the same table: in its default settings, and tuned for latency (`bench/peers/debezium_server.py`). It answers for alone.
Every order is to arrive once and in order, or there is no result.
"""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench import orders
from bench.client import LATEST, RawClient
from bench.database import STAMP_COLUMN, Database, Writer, last_coupon
from bench.harness import (
    Benchmark,
    Measure,
    Outcome,
    Parameters,
    Prepared,
    ResultHash,
    ResultMismatchError,
    Side,
    SoughtPeer,
    percentile,
)
from bench.material import write_binlog
from bench.peers import debezium_server, kafka
from bench.peers.debezium_server import DebeziumServer, Settings
from bench.peers.kafka import KAFKA_4, KafkaBroker
from bench.records import offset_after, record_values, rows, text_cell, whole_batches
from bench.served import TOPIC, ServedFolder

PACES: Final = {"100/s": 10_000, "1,000/s": 1_000}
"""Name and microseconds from one commit to the next."""

BESIDE: Final = ", beside a backfill"
_BACKFILL_TOPIC: Final = "cn_hangzhou_rm_backfill_dtstest_version2"
_BACKFILL_CONFIG: Final = """
[[listeners]]
name = "open"
bind = "127.0.0.1:0"
security = "PLAINTEXT"

[[channels]]
id = "backfill"
topic = "{topic}"
source = "file://{folder}"
objects = ["{database}"]
start = "earliest"
"""
_NS_PER_MS: Final = 1_000_000
_NS_PER_S: Final = 1_000_000_000
_FETCH_BYTES: Final = 1 << 20
_SILENCE_S_MAX: Final = 180.0


@dataclass(frozen=True, slots=True)
class Order:
    """An order as a consumer has it: its number, when it was sent to MySQL, and what it is called."""

    number: int
    stamp_ns: int
    title: str


Decode = Callable[[bytes], Iterator[Order]]


class Follower:
    """A client that long-polls a topic into which a database's orders come. `decode` reads them in batches."""

    def __init__(self, client: RawClient, topic: str, database: Database, decode: Decode) -> None:
        self._client = client
        self._topic = topic
        self._offset = 0
        self._database = database
        self._decode = decode

    def receive(self) -> tuple[int, bytes]:
        """The next records, as batches, and when they arrived. Raises RuntimeError when none come."""
        begun_s = time.monotonic()
        while time.monotonic() - begun_s < _SILENCE_S_MAX:
            records = whole_batches(self._client.fetch(self._topic, self._offset, max_bytes=_FETCH_BYTES).records)
            arrived_ns = time.monotonic_ns()
            if records:
                self._offset = offset_after(records)
                return arrived_ns, bytes(records)
        raise RuntimeError(f"no record of {self._topic} came for {_SILENCE_S_MAX:.0f} s, behind offset {self._offset}")

    def follow(self, writer: Writer, transactions: int, interval_us: int) -> Case:
        """Have orders committed, and receive them. Raises ResultMismatchError unless each comes once and in order."""
        numbers = self._database.next_numbers(transactions)
        last = last_coupon(numbers[-1]).encode()
        writer.send(first=numbers[0], count=transactions, interval_us=interval_us)
        arrivals = [self.receive()]
        while last not in arrivals[-1][1]:
            arrivals.append(self.receive())
        received = [(arrived_ns, order) for arrived_ns, batches in arrivals for order in self._decode(batches)]
        expected = [(number, orders.order(number)["title"]) for number in numbers]
        if [(order.number, order.title) for _, order in received] != expected:
            raise ResultMismatchError(
                f"benchmark latency: {len(received)} orders arrived where {transactions} were committed, or others"
            )
        return Case([(arrived_ns, order.stamp_ns) for arrived_ns, order in received], writer.result())


@dataclass(frozen=True, slots=True)
class Case:
    """What one pace gave: when each order arrived and when it was sent, and when its commit was acknowledged."""

    arrived_and_sent_ns: list[tuple[int, int]]
    returned_ns: list[int]

    def values(self, name: str) -> dict[str, float]:
        latencies = [(arrived_ns - sent_ns) / _NS_PER_MS for arrived_ns, sent_ns in self.arrived_and_sent_ns]
        sent = [sent_ns for _, sent_ns in self.arrived_and_sent_ns]
        commits = [
            (returned_ns - sent_ns) / _NS_PER_MS for returned_ns, sent_ns in zip(self.returned_ns, sent, strict=True)
        ]
        return {
            f"p50, {name}": percentile(latencies, 50),
            f"p99, {name}": percentile(latencies, 99),
            f"max, {name}": max(latencies),
            f"commit p50, {name}": percentile(commits, 50),
            f"commit p99, {name}": percentile(commits, 99),
            f"commits, {name}": (len(sent) - 1) * _NS_PER_S / (sent[-1] - sent[0]),
        }


def measure(follower: Follower, writer: Writer, transactions: Mapping[str, int], suffix: str = "") -> Outcome:
    """Follow the writer at every pace."""
    values: dict[str, float] = {}
    result = ResultHash()
    for pace, interval_us in PACES.items():
        case = follower.follow(writer, transactions[pace], interval_us)
        values |= case.values(pace + suffix)
        result.add(f"{pace}: {len(case.returned_ns)} in order".encode())
    return Outcome(values, result.hexdigest())


@contextlib.contextmanager
def _prepare(parameters: Parameters, folder: Path) -> Iterator[Prepared]:
    with contextlib.ExitStack() as stack:
        database = stack.enter_context(Database())
        writer = stack.enter_context(Writer(database, folder))
        binwire = _Binwire(folder, database, writer, parameters)
        broker = functools.cache(lambda: _started_broker(stack, folder / "kafka"))
        peers = [
            _debezium(stack, folder, parameters, broker, settings)
            for settings in (debezium_server.DEFAULT, debezium_server.TUNED)
        ]
        yield Prepared(Side("binwire", binwire.run), *peers)


class _Binwire:
    """`binwire serve` on the database, alone or beside a backfill."""

    def __init__(self, folder: Path, database: Database, writer: Writer, parameters: Parameters) -> None:
        self._folder = folder
        self._database = database
        self._writer = writer
        self._parameters = parameters
        self._backfill = folder / "backfill"
        self._backfill_records = _write_backfill(self._backfill, parameters)

    @contextlib.contextmanager
    def served(self, more: str = "") -> Iterator[tuple[Follower, ServedFolder]]:
        """A process that captures, and a client that has caught up with it, both warm."""
        folder = self._folder / "served"
        folder.mkdir()
        server = ServedFolder(folder)
        with server.started(self._database.url, start="now", more=more), server.logged_in() as client:
            follower = Follower(client, TOPIC, self._database, _decode)
            follower.receive()  # a heartbeat: from now on nothing that is committed is missed
            follower.follow(self._writer, self._parameters["warm_up_transactions"], min(PACES.values()))
            yield follower, server
        shutil.rmtree(folder)

    def run(self) -> Outcome:
        with self.served() as (follower, _):
            alone = measure(follower, self._writer, self._parameters["transactions"])
        return Outcome({**alone.values, **self._beside()}, alone.result_hash)

    def _beside(self) -> Mapping[str, float]:
        """The figures while the same process backfills. Raises ResultMismatchError when it did not all the time."""
        more = _BACKFILL_CONFIG.format(topic=_BACKFILL_TOPIC, folder=self._backfill, database=orders.DATABASE)
        with self.served(more) as (follower, server), RawClient(*server.address("open")) as client:
            _, first = client.list_offsets(_BACKFILL_TOPIC, LATEST)
            begun_s = time.monotonic()
            outcome = measure(follower, self._writer, self._parameters["transactions"], BESIDE)
            seconds = time.monotonic() - begun_s
            _, end = client.list_offsets(_BACKFILL_TOPIC, LATEST)
        if not first < end < self._backfill_records:
            raise ResultMismatchError(
                f"benchmark latency: the backfill went from offset {first} to {end} of {self._backfill_records} while "
                f"it was measured; it is to go on all the time"
            )
        return {**outcome.values, "backfill": (end - first) / seconds}


def _write_backfill(folder: Path, parameters: Parameters) -> int:
    """A folder of binlog files that are all the same one, and how many records they make."""
    files: int = parameters["backfill_files"]
    folder.mkdir()
    first = folder / "mysql-bin.000001"
    binlog = write_binlog(first, parameters["backfill_transactions"], parameters["backfill_rows_per_transaction"])
    for number in range(2, files + 1):
        os.link(first, folder / f"mysql-bin.{number:06}")
    return binlog.records * files


def _decode(batches: bytes) -> Iterator[Order]:
    for row in rows(record_values(batches)):
        names = [field["name"] for field in row["fields"]]
        number = int(row["afterImages"][names.index(orders.PRIMARY_KEY)]["value"]) - orders.FIRST_ID
        yield Order(number, int(text_cell(row, STAMP_COLUMN)), text_cell(row, "title"))


def _started_broker(stack: contextlib.ExitStack, folder: Path) -> KafkaBroker:
    broker = stack.enter_context(KafkaBroker(folder, kafka.class_path(KAFKA_4), KAFKA_4))
    stack.enter_context(broker.started())
    return broker


def _debezium(
    stack: contextlib.ExitStack,
    folder: Path,
    parameters: Parameters,
    broker: Callable[[], KafkaBroker],
    settings: Settings,
) -> SoughtPeer:
    """Debezium Server in one of its settings. It is started by its first run, and warm and warmer from then on."""

    @functools.cache
    def started() -> tuple[DebeziumServer, Follower, Writer]:
        own = folder / settings.prefix
        own.mkdir()
        database = stack.enter_context(Database())
        writer = stack.enter_context(Writer(database, own))
        broker().ask(lambda client: client.create_topic(settings.topic))
        broker().ask(lambda client: client.list_offsets(settings.topic, LATEST))  # until it has a leader
        server = stack.enter_context(DebeziumServer(own / "server", database, broker(), settings))
        client = stack.enter_context(RawClient(broker().host, broker().port))
        return server, Follower(client, settings.topic, database, _decode_debezium), writer

    @functools.cache
    def warmed_up() -> None:
        _, follower, writer = started()
        follower.follow(writer, parameters["warm_up_transactions"], min(PACES.values()))

    def run() -> Outcome:
        server, follower, writer = started()
        try:
            with server.awake():
                warmed_up()
                return measure(follower, writer, parameters["transactions"])
        except RuntimeError as error:
            raise RuntimeError(f"{settings.name}: {error}\n{server.shown()}") from error

    def find() -> Side:
        debezium_server.find()
        kafka.class_path(KAFKA_4)
        return Side(settings.name, run, rounds=parameters["peer_rounds"])

    return SoughtPeer(settings.name, find)


def _decode_debezium(batches: bytes) -> Iterator[Order]:
    for row in debezium_server.decode(batches):
        yield Order(row[orders.PRIMARY_KEY] - orders.FIRST_ID, int(row[STAMP_COLUMN]), row["title"])


def _measures() -> Iterator[Measure]:
    for suffix in ("", BESIDE):
        for pace in PACES:
            for name in ("p50", "p99", "max", "commit p50", "commit p99"):
                yield Measure(f"{name}, {pace}{suffix}", "ms", higher_is_better=False)
            yield Measure(f"commits, {pace}{suffix}", "commits/s")
    yield Measure("backfill", "records/s")


BENCHMARK = Benchmark(
    name="latency",
    question="How long after a commit in MySQL does a long-polling consumer have the record?",
    measures=tuple(_measures()),
    smoke={
        "transactions": {"100/s": 5, "1,000/s": 30},
        "warm_up_transactions": 20,
        "backfill_transactions": 20,
        "backfill_rows_per_transaction": 250,
        "backfill_files": 1_000,
        "peer_rounds": 1,
    },
    full={
        "transactions": {"100/s": 800, "1,000/s": 5_000},
        "warm_up_transactions": 2_000,
        "backfill_transactions": 160,
        "backfill_rows_per_transaction": 250,
        "backfill_files": 1_000,
        "peer_rounds": 3,
    },
    prepare=_prepare,
)
