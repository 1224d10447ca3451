"""Real consumers as measured clients: kcat, which is librdkafka, Kafka's Java consumer of 1.1.1, librdkafka alone.

A reading starts some of them at once, each on its own connection, and ends when every one has read the whole of a
topic's one partition. They run in their defaults. Owns their start, and the proof, after the clock has stopped, that
each got every record once, in order and in full length: kcat writes offset and size of each, the Java consumer (its
program is `Consume.java`) compares offsets itself and sums up sizes. Both compare the checksum of every batch. So does
the program on librdkafka, `consume.c`, which counts the row changes of a log that is still being written.

They are fetched by the tools of a checkout; where they cannot be had, PeerMissingError says why.
"""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from bench.harness import PeerMissingError, ResultMismatchError
from bench.peers import kafka, require_checkout

_JAVA_PROGRAM: Final = Path(__file__).with_name("Consume.java")
_C_PROGRAM: Final = Path(__file__).with_name("consume.c")
_HEAP: Final = "-Xmx512M"  # as bin/kafka-consumer-perf-test.sh has it
_NS_PER_S: Final = 1_000_000_000
_LISTED: Final = "%o %S\\n"


class Topic(NamedTuple):
    """A topic, where it is, and how many records (or row changes) are to be read from its beginning."""

    host: str
    port: int
    name: str
    records: int
    login: tuple[str, str] | None = None

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"


Read = Callable[[Topic, Sequence[int], int], float]
"""Read a topic, whose values have these sizes, with so many consumers at once; the seconds it took.

Raises ResultMismatchError.
"""


class Kcat:
    """kcat: a process per consumer. Its files lie in `folder`. Raises PeerMissingError when it is made."""

    def __init__(self, folder: Path) -> None:
        require_checkout("kcat")
        from tests.tools import librdkafka
        from tests.tools.workplace import ToolError

        try:
            self._command = librdkafka.kcat_command()
        except ToolError as error:
            raise PeerMissingError(str(error)) from None
        self._folder = folder

    def read(self, topic: Topic, value_bytes: Sequence[int], consumers: int) -> float:
        """A Read; its time is from the start of the processes to the end of the last."""
        with contextlib.ExitStack() as stack:
            begun_s = time.perf_counter()
            all_ended = [stack.enter_context(self.started(topic, number)) for number in range(consumers)]
            for ended in all_ended:
                ended()
            seconds = time.perf_counter() - begun_s
        for number in range(consumers):
            self.require(topic, value_bytes, number)
        return seconds

    @contextlib.contextmanager
    def started(self, topic: Topic, number: int = 0) -> Iterator[Callable[[], None]]:
        """A process that lists the records as they come, and ends with the last; given is what waits for that."""
        where = ("-b", topic.address, "-t", topic.name, "-p", "0", "-o", "0", "-c", str(topic.records))
        command = [*self._command, "-C", "-q", *where, "-X", "check.crcs=true", "-f", _LISTED]
        with self._list(number).open("wb") as output, subprocess.Popen(command, stdout=output) as process:

            def ended() -> None:
                if process.wait():
                    raise ResultMismatchError(f"kcat ended with status {process.returncode}")

            try:
                yield ended
            finally:
                process.kill()

    def require(self, topic: Topic, value_bytes: Sequence[int], number: int = 0) -> None:
        """Have a process have listed every record, with its size. Raises ResultMismatchError."""
        if self._list(number).read_bytes() != b"".join(b"%d %d\n" % each for each in enumerate(value_bytes)):
            raise ResultMismatchError(f"kcat did not get the {topic.records} records of {topic.name}, each once")

    def _list(self, number: int) -> Path:
        return self._folder / f"kcat-{number}"


class LastRow(NamedTuple):
    """The last row change that was waited for, and when the consumer had it, by the monotonic clock."""

    received_ns: int
    offset: int
    value: bytes


def librdkafka_command() -> tuple[str, ...]:
    """The command of `consume.c`, compiled. Raises PeerMissingError."""
    require_checkout("librdkafka")
    from tests.tools import librdkafka
    from tests.tools.workplace import ToolError

    try:
        return librdkafka.program(_C_PROGRAM, librdkafka.DEBIAN_VERSION)
    except ToolError as error:
        raise PeerMissingError(str(error)) from None


@contextlib.contextmanager
def reading_rows(command: tuple[str, ...], topic: Topic) -> Iterator[Callable[[], LastRow]]:
    """A process that reads until it has as many row changes; given is what waits for the last one."""
    assert topic.login is not None
    arguments = (topic.address, topic.name, *topic.login, str(topic.records))
    with subprocess.Popen([*command, *arguments], stdout=subprocess.PIPE) as process:

        def ended() -> LastRow:
            assert process.stdout is not None
            words = process.stdout.readline().split()
            if process.wait() or not words:
                raise ResultMismatchError(f"the consumer ended with status {process.returncode}")
            return LastRow(int(words[0]), int(words[1]), bytes.fromhex(words[2].decode()))

        try:
            yield ended
        finally:
            process.kill()


@contextlib.contextmanager
def java() -> Iterator[Read]:
    """Kafka's Java consumer: a JVM per topic, kept, with a thread per consumer. Raises PeerMissingError."""
    jars = kafka.class_path(kafka.KAFKA_1)
    with contextlib.ExitStack() as stack:
        processes: dict[str, subprocess.Popen[bytes]] = {}

        def read(topic: Topic, value_bytes: Sequence[int], consumers: int) -> float:
            if topic.address not in processes:
                processes[topic.address] = stack.enter_context(_java(jars, topic))
            process = processes[topic.address]
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(b"%d\n" % consumers)
            process.stdin.flush()
            nanoseconds, *sums = (int(word) for word in process.stdout.readline().split() or [b"0"])
            if sums != [sum(value_bytes)] * consumers:
                raise ResultMismatchError(f"Kafka's Java consumer did not get the records of {topic.name}")
            return nanoseconds / _NS_PER_S

        yield read


@contextlib.contextmanager
def _java(jars: str, topic: Topic) -> Iterator[subprocess.Popen[bytes]]:
    command = ["java", _HEAP, "-cp", jars, str(_JAVA_PROGRAM), topic.address, topic.name, str(topic.records)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.kill()
