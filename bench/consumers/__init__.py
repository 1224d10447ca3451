"""Real consumers as measured clients: kcat, which is librdkafka, and Kafka's Java consumer of 1.1.1.

A reading starts some of them at once, each on its own connection, and ends when every one has read the whole of a
topic's one partition. They run in their defaults. Owns their start, and the proof, after the clock has stopped, that
each got every record once, in order and in full length: kcat writes offset and size of each, the Java consumer (its
program is `Consume.java`) compares offsets itself and sums up sizes. Both compare the checksum of every batch.

They are fetched by the tools of a checkout; where they cannot be had, PeerMissingError says why.
"""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from bench.harness import PeerMissingError, ResultMismatchError
from bench.peers import kafka, require_checkout

_PROGRAM: Final = Path(__file__).with_name("Consume.java")
_HEAP: Final = "-Xmx512M"  # as bin/kafka-consumer-perf-test.sh has it
_NS_PER_S: Final = 1_000_000_000
_LISTED: Final = "%o %S\\n"


class Topic(NamedTuple):
    """What is read, where, and the sizes of its values, which are what every consumer must get."""

    host: str
    port: int
    name: str
    value_bytes: tuple[int, ...]

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"


Read = Callable[[Topic, int], float]
"""Read a topic with so many consumers at once; the seconds it took. Raises ResultMismatchError."""


@contextlib.contextmanager
def kcat(folder: Path) -> Iterator[Read]:
    """kcat: a process per consumer, from its start to its end. Raises PeerMissingError."""
    command = _kcat_command()

    def read(topic: Topic, consumers: int) -> float:
        with contextlib.ExitStack() as stack:
            lists = [stack.enter_context((folder / f"kcat-{number}").open("w+b")) for number in range(consumers)]
            begun_s = time.perf_counter()
            started = [stack.enter_context(_kcat(command, topic, listed.fileno())) for listed in lists]
            statuses = [process.wait() for process in started]
            seconds = time.perf_counter() - begun_s
            expected = b"".join(b"%d %d\n" % each for each in enumerate(topic.value_bytes))
            for status, listed in zip(statuses, lists, strict=True):
                listed.seek(0)
                if status or listed.read() != expected:
                    raise ResultMismatchError(f"kcat (status {status}) did not get the records of {topic.name}")
        return seconds

    yield read


@contextlib.contextmanager
def _kcat(command: tuple[str, ...], topic: Topic, output: int) -> Iterator[subprocess.Popen[bytes]]:
    """A process that lists offsets and sizes of as many records as the topic has, and ends."""
    where = ("-b", topic.address, "-t", topic.name, "-p", "0", "-o", "0", "-c", str(len(topic.value_bytes)))
    options = ("-C", "-q", *where, "-X", "check.crcs=true", "-f", _LISTED)
    with subprocess.Popen([*command, *options], stdout=output) as process:
        try:
            yield process
        finally:
            process.kill()


def _kcat_command() -> tuple[str, ...]:
    require_checkout("kcat")
    from tests.tools import librdkafka
    from tests.tools.workplace import ToolError

    try:
        return librdkafka.kcat_command()
    except ToolError as error:
        raise PeerMissingError(str(error)) from None


@contextlib.contextmanager
def java() -> Iterator[Read]:
    """Kafka's Java consumer: a JVM per topic, kept, with a thread per consumer. Raises PeerMissingError."""
    jars = kafka.class_path(kafka.KAFKA_1)
    with contextlib.ExitStack() as stack:
        processes: dict[str, subprocess.Popen[bytes]] = {}

        def read(topic: Topic, consumers: int) -> float:
            if topic.address not in processes:
                processes[topic.address] = stack.enter_context(_java(jars, topic))
            process = processes[topic.address]
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(b"%d\n" % consumers)
            process.stdin.flush()
            nanoseconds, *sums = (int(word) for word in process.stdout.readline().split() or [b"0"])
            if sums != [sum(topic.value_bytes)] * consumers:
                raise ResultMismatchError(f"Kafka's Java consumer did not get the records of {topic.name}")
            return nanoseconds / _NS_PER_S

        yield read


@contextlib.contextmanager
def _java(jars: str, topic: Topic) -> Iterator[subprocess.Popen[bytes]]:
    command = ["java", _HEAP, "-cp", jars, str(_PROGRAM), topic.address, topic.name, str(len(topic.value_bytes))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.kill()
