"""Settings of clients, each with its real client; Java's are tried in `tests/interop/test_examples.py`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping

import pytest
from aiokafka import AIOKafkaConsumer
from kafka import KafkaConsumer

from binwire.record import decode
from binwire.testing import Channel, EmbeddedBroker
from binwire.testing.settings import Settings
from tests.interop.client import had
from tests.tools import librdkafka
from tests.tools.workplace import CHECKOUT

CONFLUENT = "2.16.1"
SHOWN = ["DDL", "DDL", "BEGIN", "INSERT", "COMMIT"]


@pytest.fixture(scope="module")
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker() as started:
        yield started


@pytest.fixture
def channel(broker: EmbeddedBroker) -> Channel:
    """One with a table and a row."""
    channel = broker.channel("CREATE TABLE t (id INT PRIMARY KEY)")
    channel.insert("t", {"id": 1})
    return channel


def test_kafka_python(channel: Channel) -> None:
    consumer = KafkaConsumer(channel.topic, group_id=channel.sid, consumer_timeout_ms=30_000, **channel.kafka_python())
    try:
        assert [decode(next(consumer).value).operation for _ in SHOWN] == SHOWN
    finally:
        consumer.close()


async def test_aiokafka(channel: Channel) -> None:
    consumer = AIOKafkaConsumer(channel.topic, group_id=channel.sid, **channel.aiokafka())
    await consumer.start()
    try:
        assert [decode((await consumer.getone()).value).operation for _ in SHOWN] == SHOWN
    finally:
        await consumer.stop()


_CONFLUENT_PROGRAM = """
import json, sys
from confluent_kafka import Consumer
topic, count, settings = json.load(sys.stdin)
consumer = Consumer(settings)
consumer.subscribe([topic])
messages = []
while len(messages) < count:
    messages += consumer.consume(count - len(messages), 1.0)
assert not any(message.error() for message in messages)
print(*(message.value().hex() for message in messages))
consumer.close()
"""


def test_confluent(channel: Channel) -> None:
    python = had("confluent-kafka", lambda: (librdkafka.confluent_kafka(CONFLUENT),))
    given = json.dumps([channel.topic, len(SHOWN), channel.confluent()])
    said = _run([*python, "-c", _CONFLUENT_PROGRAM], {}, given)
    assert [decode(bytes.fromhex(value)).operation for value in said.split()] == SHOWN


_PROGRAM_OF_ITS_ENVIRONMENT = """
import os
from kafka import KafkaConsumer
consumer = KafkaConsumer(
    os.environ["BINWIRE_TOPIC"], group_id=os.environ["BINWIRE_GROUP"], auto_offset_reset="earliest",
    bootstrap_servers=os.environ["BINWIRE_BOOTSTRAP"], security_protocol="SASL_PLAINTEXT", sasl_mechanism="PLAIN",
    sasl_plain_username=os.environ["BINWIRE_USERNAME"], sasl_plain_password=os.environ["BINWIRE_PASSWORD"],
    consumer_timeout_ms=30_000,
)
print(next(consumer).topic)
consumer.close()
"""


def test_the_environment_of_a_process(channel: Channel) -> None:
    """A consumer that `binwire bench client` measures takes the same."""
    assert _run([sys.executable, "-c", _PROGRAM_OF_ITS_ENVIRONMENT], channel.env()) == f"{channel.topic}\n"
    host, port = channel.env()["BINWIRE_HOST"], channel.env()["BINWIRE_PORT"]
    assert f"{host}:{port}" == channel.bootstrap_servers


def test_a_password_in_java_properties_is_one_value() -> None:
    settings = Settings()
    settings.bootstrap_servers, settings.topic, settings.sid, settings.username = "127.0.0.1:1", "t", "dts1", "user"
    settings.password = 'q" b\\ ü😀'
    [line] = [line for line in settings.java_properties().splitlines() if line.startswith("sasl.jaas.config=")]
    # A quotation mark and a backslash are escaped once for JAAS, and all backslashes once more for the file.
    assert line.endswith(r'password="q\\" b\\\\ \u00fc\ud83d\ude00";')
    assert 'username="user-dts1"' in line


def _run(command: list[str], environment: Mapping[str, str], given: str = "") -> str:
    done = subprocess.run(
        command,
        cwd=CHECKOUT,
        env={**os.environ, **environment},
        input=given,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
