"""The peers of the Kafka face: Kafka's own broker on the JVM, private to the benchmark, in two releases.

`KAFKA_1`, with its ZooKeeper, is the last that speaks exactly our versions. `KAFKA_4` is the newest that the Maven
registry has all jars of, as one process that is broker and controller (KRaft); its storage is formatted before it is
first started. Either holds the batches of a Binwire log, produced one by one, so that a client gets the same records
from both; it runs with the memory and the collector that Kafka's own start script gives it, with the defaults of its
configuration except for replication (there is one broker), retention (the records' times are old), the size of a batch
and the wait for a group's first members, which Binwire leaves out too. It has a listener without login and one with,
like `bench/server.py`.

Kafka is resolved by Maven for the tests of its command-line tools; where that, or Java, cannot be had, there is no
peer, and `class_path` says why.
"""

from __future__ import annotations

import contextlib
import functools
import shutil
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self, TypeVar

from bench.client import KafkaError, RawClient, string
from bench.harness import Outcome, PeerMissingError, Side, SoughtPeer
from bench.load import Target
from bench.peers import require_checkout
from bench.records import split_batches
from bench.server import GROUP, PASSWORD, USERNAME

_HOST: Final = "127.0.0.1"
_POLL_S: Final = 0.001
_TIMEOUT_S: Final = 180.0
_LOG_BYTES_SHOWN: Final = 4000
_PRODUCE, _FIND_COORDINATOR, _CREATE_TOPICS = 0, 10, 19
_TOPIC_EXISTS: Final = 36
_ACKS_LEADER: Final = 1
_THROTTLE_AND_COUNT_BYTES: Final = 8
_OFFSET_BYTES: Final = 8
_REQUEST_TIMEOUT_MS: Final = 10_000
_STORAGE_ID: Final = "Ymlud2lyZS1iZW5jaC0xMQ"  # 16 bytes in base64, as `kafka-storage.sh random-uuid` makes them
_BROKER: Final = (  # options of bin/kafka-server-start.sh and bin/kafka-run-class.sh, the same in both releases
    "-Xmx1G",
    "-Xms1G",
    "-server",
    "-XX:+UseG1GC",
    "-XX:MaxGCPauseMillis=20",
    "-XX:InitiatingHeapOccupancyPercent=35",
    "-Djava.awt.headless=true",
    "-Djava.security.auth.login.config=login.conf",
    "-Dzookeeper.sasl.client=false",
    "kafka.Kafka",
    "broker.properties",
)
_ZOOKEEPER: Final = (
    "-Xmx512M",
    "-Xms512M",
    "-Dzookeeper.jmx.log4j.disable=true",  # log4j is not among its jars
    "org.apache.zookeeper.server.quorum.QuorumPeerMain",
    "zookeeper.properties",
)
_FORMAT: Final = ("kafka.tools.StorageTool", "format", "-t", _STORAGE_ID, "-c", "broker.properties")
_LOGIN_FILE: Final = """
KafkaServer {{ org.apache.kafka.common.security.plain.PlainLoginModule required "user_{login}"="{password}"; }};
"""
_ZOOKEEPER_FILE: Final = """
dataDir={folder}/zookeeper
clientPort={metadata_port}
clientPortAddress={host}
"""
_BROKER_FILE: Final = """
sasl.enabled.mechanisms=PLAIN
log.dirs={folder}/logs
log.retention.ms=-1
message.max.bytes=100000000
offsets.topic.num.partitions=1
offsets.topic.replication.factor=1
group.initial.rebalance.delay.ms=0
"""
_WITH_ZOOKEEPER: Final = """
broker.id=1
listeners=PLAINTEXT://{host}:{port},SASL_PLAINTEXT://{host}:{login_port}
zookeeper.connect={host}:{metadata_port}
"""
_WITH_CONTROLLER: Final = """
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{host}:{metadata_port}
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://{host}:{port},SASL_PLAINTEXT://{host}:{login_port},CONTROLLER://{host}:{metadata_port}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT
"""


@dataclass(frozen=True, slots=True)
class Release:
    """A release of Kafka, the Scala it was made for, and who keeps its metadata: ZooKeeper, or the broker itself."""

    version: str
    scala: str
    files: Mapping[str, str]
    zookeeper: bool = False

    @property
    def name(self) -> str:
        return f"Kafka {self.version}"


KAFKA_1: Final = Release(
    "1.1.1",
    "2.12",
    {
        "zookeeper.properties": _ZOOKEEPER_FILE,
        "broker.properties": _WITH_ZOOKEEPER + _BROKER_FILE,
        "login.conf": _LOGIN_FILE,
    },
    zookeeper=True,
)
KAFKA_4: Final = Release(  # 4.4.0 is there without its kafka-tools-api, which the broker asks for
    "4.3.1", "2.13", {"broker.properties": _WITH_CONTROLLER + _BROKER_FILE, "login.conf": _LOGIN_FILE}
)
RELEASES: Final = (KAFKA_1, KAFKA_4)

AnswerT = TypeVar("AnswerT")


def class_path(release: Release) -> str:
    """The jars of a release, with those of its ZooKeeper. Raises PeerMissingError."""
    require_checkout(release.name)
    from tests.interop import java_clients
    from tests.tools.workplace import ToolError

    try:
        command = java_clients.tool_command(release.version, "kafka.Kafka", scala=release.scala)
    except ToolError as error:
        raise PeerMissingError(str(error)) from None
    return command[command.index("-cp") + 1]


def side(run: Callable[[str], Outcome], release: Release = KAFKA_1) -> SoughtPeer:
    """Kafka as a peer of a benchmark, whose runs are given the class path."""

    def find() -> Side:
        jars = class_path(release)
        return Side(release.name, lambda: run(jars))

    return SoughtPeer(release.name, find)


def peer(
    stack: contextlib.ExitStack,
    folder: Path,
    topic: str,
    log: bytes,
    run: Callable[[KafkaBroker], Outcome],
    release: Release = KAFKA_1,
) -> SoughtPeer:
    """The same with a broker that has the log; it starts with the first run and ends with `stack`."""

    @functools.cache
    def broker(jars: str) -> KafkaBroker:
        started = stack.enter_context(KafkaBroker(folder / release.name, jars, release))
        stack.enter_context(started.started())
        started.fill(topic, log)
        return started

    return side(lambda jars: run(broker(jars)), release)


def ended_peer(
    stack: contextlib.ExitStack,
    folder: Path,
    topic: str,
    log: bytes,
    run: Callable[[KafkaBroker], Outcome],
    release: Release,
) -> SoughtPeer:
    """The same with a broker that is ended when it has the log: every run starts it."""

    @functools.cache
    def broker(jars: str) -> KafkaBroker:
        filled = stack.enter_context(KafkaBroker(folder / release.name, jars, release))
        with filled.started():
            filled.fill(topic, log)
        return filled

    return side(lambda jars: run(broker(jars)), release)


class KafkaBroker:
    """One broker over one folder, whose log stays from one start to the next; a context manager around them all."""

    def __init__(self, folder: Path, jars: str, release: Release = KAFKA_1) -> None:
        folder.mkdir()
        self._release = release
        self._folder = folder
        self._saved_zookeeper = folder / "zookeeper.saved"
        self._jars = jars
        self._ports = contextlib.ExitStack()
        self._login = f"{USERNAME}-{GROUP}"
        self.host = _HOST
        self.port, self.login_port, metadata_port = (_reserved_port(self._ports) for _ in range(3))
        values = {"folder": folder, "host": _HOST, "port": self.port, "login_port": self.login_port}
        values |= {"metadata_port": metadata_port, "login": self._login, "password": PASSWORD}
        for name, text in release.files.items():
            (folder / name).write_text(text.format(**values), encoding="utf-8")
        if not release.zookeeper:
            self._format_storage()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._ports.close()

    @contextlib.contextmanager
    def started(self) -> Iterator[None]:
        """The broker and its ZooKeeper, from their start, which nobody waits for, to their orderly end."""
        with contextlib.ExitStack() as processes:
            if self._release.zookeeper:
                processes.enter_context(self._java("zookeeper", *_ZOOKEEPER))
            self._process = processes.enter_context(self._java("broker", *_BROKER))
            yield

    @property
    def credentials(self) -> tuple[str, str]:
        """Whose connections to `login_port` are taken."""
        return self._login, PASSWORD

    @property
    def pid(self) -> int:
        """The broker that was started last."""
        return self._process.pid

    def ask(self, question: Callable[[AdminClient], AnswerT]) -> AnswerT:
        """Log in and ask, until there is an answer: a broker that starts refuses at first. Raises RuntimeError."""
        deadline = time.monotonic() + _TIMEOUT_S
        while True:
            try:
                with self._logged_in() as client:
                    return question(client)
            except (ConnectionError, KafkaError) as error:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    name, shown = self._release.name, self._shown("broker")
                    raise RuntimeError(f"{name} does not answer ({error}):\n{shown}") from error
                time.sleep(_POLL_S)

    def fill(self, topic: str, batches: bytes) -> None:
        """Create a topic of one partition, and append batches to it as they are, which must begin with offset 0."""
        self.append(topic, iter(split_batches(batches)))

    def append(self, topic: str, batches: Iterator[bytes]) -> None:
        """The same with batches one by one."""
        first = next(batches)
        self.ask(lambda client: client.create_topic(topic))
        self.ask(lambda client: client.produce(topic, [first]))
        with self._logged_in() as client:
            client.produce(topic, batches)

    def kill(self) -> None:
        """End the broker as it stands, while ZooKeeper goes on."""
        self._process.kill()
        self._process.wait()

    def save_zookeeper(self) -> None:
        """Keep what ZooKeeper knows now that broker and ZooKeeper have ended."""
        shutil.rmtree(self._saved_zookeeper, ignore_errors=True)
        shutil.copytree(self._folder / "zookeeper", self._saved_zookeeper)

    def restore_zookeeper(self) -> None:
        """Have ZooKeeper know that again: it would not let a killed broker come back before its session has ended."""
        shutil.rmtree(self._folder / "zookeeper")
        shutil.copytree(self._saved_zookeeper, self._folder / "zookeeper")

    def target(self, topic: str) -> Target:
        """What a load generator asks; its group has a coordinator from now on."""
        self.ask(lambda client: client.find_coordinator(GROUP))
        return Target(self.host, self.login_port, self.pid, topic, GROUP, self._login, PASSWORD)

    @contextlib.contextmanager
    def _logged_in(self) -> Iterator[AdminClient]:
        with AdminClient(self.host, self.login_port) as client:
            client.login(self._login, PASSWORD)
            yield client

    def _format_storage(self) -> None:
        with self._java("format", *_FORMAT) as process:
            if process.wait():
                raise RuntimeError(f"{self._release.name} did not format its storage:\n{self._shown('format')}")

    def _shown(self, name: str) -> str:
        """The end of what a process has printed."""
        return (self._folder / f"{name}.log").read_text(encoding="utf-8", errors="replace")[-_LOG_BYTES_SHOWN:]

    @contextlib.contextmanager
    def _java(self, name: str, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
        with (self._folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                ["java", "-cp", self._jars, *arguments], cwd=self._folder, stdout=log, stderr=subprocess.STDOUT
            )
        try:
            yield process
        finally:
            process.terminate()
            process.wait()


class AdminClient(RawClient):
    """What fills a broker, besides what every client does. All raise KafkaError."""

    def create_topic(self, topic: str) -> None:
        body = struct.pack(">i", 1) + string(topic) + struct.pack(">ihiiib", 1, 1, 0, 0, _REQUEST_TIMEOUT_MS, 0)
        (error,) = struct.unpack_from(
            ">h", self._request(_CREATE_TOPICS, 2, body), _THROTTLE_AND_COUNT_BYTES + len(string(topic))
        )
        self._check("CreateTopics", 0 if error == _TOPIC_EXISTS else error)

    def produce(self, topic: str, batches: Iterable[bytes]) -> None:
        """Append batches as Kafka wants them: each in a request of its own, with an offset that it replaces."""
        head = struct.pack(">hhii", -1, _ACKS_LEADER, _REQUEST_TIMEOUT_MS, 1) + string(topic)
        for batch in batches:
            placed = bytes(_OFFSET_BYTES) + batch[_OFFSET_BYTES:]
            answer = self._request(_PRODUCE, 3, head + struct.pack(">iii", 1, 0, len(batch)) + placed)
            self._check("Produce", self._one_partition(answer).int16())

    def find_coordinator(self, group: str) -> None:
        """Have the group's coordinator ready; Kafka makes the topic of commits when it is first asked."""
        (error,) = struct.unpack_from(">h", self._request(_FIND_COORDINATOR, 0, string(group)))
        self._check("FindCoordinator", error)


def _reserved_port(stack: contextlib.ExitStack) -> int:
    """A port that is ours as long as the stack is open: bound and not listened on, which a server may still do."""
    holder = stack.enter_context(socket.socket())
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind((_HOST, 0))
    port: int = holder.getsockname()[1]
    return port
