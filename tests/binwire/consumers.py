"""Consumers of a fixture's channel for tests of its faults: kafka-python in this process, librdkafka in its own."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from kafka import KafkaConsumer

from binwire.testing.settings import Settings
from tests.interop.client import had
from tests.tools import librdkafka

CONFLUENT: Final = "2.16.1"
PATIENCE_MS: Final = 30_000
# Fast enough for tests: who reads learns of a rebalance by its heartbeat.
KAFKA_PYTHON: Final = {
    "heartbeat_interval_ms": 50,
    "fetch_max_wait_ms": 100,
    "retry_backoff_ms": 10,
    "reconnect_backoff_ms": 10,
    "enable_auto_commit": False,
    "consumer_timeout_ms": PATIENCE_MS,
}
LIBRDKAFKA: Final = {
    "heartbeat.interval.ms": 50,
    "fetch.wait.max.ms": 100,
    "retry.backoff.ms": 10,
    "reconnect.backoff.ms": 10,
    "topic.metadata.refresh.fast.interval.ms": 10,
    "fetch.error.backoff.ms": 10,
}


@contextmanager
def kafka_python(of: Settings, **settings: Any) -> Iterator[KafkaConsumer]:
    """A subscribed member of the group, or with `group_id` None a reader without any."""
    consumer = KafkaConsumer(of.topic, **{**of.kafka_python(), **KAFKA_PYTHON, "group_id": of.sid, **settings})
    try:
        yield consumer
    finally:
        consumer.close(autocommit=False)


def offsets(consumer: KafkaConsumer, count: int) -> list[int]:
    """The offsets of the next records."""
    return [record.offset for _, record in zip(range(count), consumer, strict=False)]


class Librdkafka:
    """A member of the group, and what it has said so far."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.events: list[list[Any]] = []

    def until(self, kind: str, count: int = 1) -> list[Any]:
        """What the first `count` events of a kind say; what else happens meanwhile is kept in `events`."""
        assert self._process.stdout is not None
        while len(found := self.of(kind)) < count:
            line = self._process.stdout.readline()
            assert line, f"librdkafka's consumer ended behind {self.events}"
            self.events.append(json.loads(line))
        return found[:count]

    def of(self, kind: str) -> list[Any]:
        """What the events of a kind have said so far."""
        return [event[1] for event in self.events if event[0] == kind]

    def commit(self) -> None:
        """Have it commit what it has read; what came of it is an event."""
        assert self._process.stdin is not None
        self._process.stdin.write("commit\n")
        self._process.stdin.flush()


@contextmanager
def on_librdkafka(of: Settings, **settings: Any) -> Iterator[Librdkafka]:
    """A subscribed member of the group."""
    python = had("confluent-kafka", lambda: (librdkafka.confluent_kafka(CONFLUENT),))
    program = Path(__file__).parent / "librdkafka_consumer.py"
    given = json.dumps({"topic": of.topic, "settings": {**of.confluent(), **LIBRDKAFKA, **settings}})
    with subprocess.Popen(
        [*python, str(program), given], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield Librdkafka(process)
        finally:
            assert process.stdin is not None
            process.stdin.close()
            try:
                process.wait(PATIENCE_MS / 1000)
            finally:
                process.kill()
