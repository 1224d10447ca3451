"""librdkafka: kcat, the C library itself, and confluent-kafka, its Python binding.

The name of a row says which librdkafka it runs on. 2.0.2 is Debian 12's, 0.11.6 and 1.9.2 those of confluent-kafka's
wheels.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

from tests.interop.client import Client, Command
from tests.tools import librdkafka

PROGRAM = Path(__file__).parents[1] / "c" / "scenarios.c"

_SHOWS_OFFSET = ("offset",)
_INVALID_GROUP = "Broker: Invalid group.id"
_REFUSED = "Authentication failed: Invalid username or password"


def _kcat() -> Command:
    return (sys.executable, "-m", "tests.interop.kcat_scenarios", *librdkafka.kcat_command())


def _confluent_kafka(version: str) -> Command:
    return (librdkafka.confluent_kafka(version), "-m", "tests.interop.python.confluent_kafka_scenarios")


def _confluent_kafka_compiled(version: str) -> Command:
    return (librdkafka.confluent_kafka_compiled(version), "-m", "tests.interop.python.confluent_kafka_scenarios")


CLIENTS = (
    Client(
        "kcat",
        "librdkafka",
        _kcat,
        representative=True,
        not_applicable={
            "commit": "kcat has no option for commit metadata, nor for showing a committed offset",
            "takeover": "kcat ends when it has read what it was asked for, and its membership with it",
        },
        lookup_answer=_SHOWS_OFFSET,
        wrong_password="All broker connections are down",
        foreign_group=_INVALID_GROUP,
    ),
    Client(
        "c-librdkafka-0.11.6",
        "librdkafka",
        partial(librdkafka.program, PROGRAM, "0.11.6"),
        not_applicable={"commit": "rd_kafka_committed of 0.11 leaves out the metadata that the broker told it"},
        lookup_answer=_SHOWS_OFFSET,
        wrong_password="Disconnected: check client PLAIN credentials and broker logs",
        foreign_group=_INVALID_GROUP,
    ),
    Client(
        "c-librdkafka-2.0.2",
        "librdkafka",
        partial(librdkafka.program, PROGRAM, "2.0.2"),
        lookup_answer=_SHOWS_OFFSET,
        wrong_password=_REFUSED,
        foreign_group=_INVALID_GROUP,
    ),
    Client(
        "confluent-kafka-1.9.2-librdkafka-1.9.2",
        "librdkafka",
        partial(_confluent_kafka_compiled, "1.9.2"),
        not_applicable={"commit": "TopicPartition of confluent-kafka 1 has no metadata"},
        lookup_answer=_SHOWS_OFFSET,
        wrong_password=_REFUSED,
        foreign_group=_INVALID_GROUP,
    ),
    Client(
        "confluent-kafka-2.16.1-librdkafka-2.16.0",
        "librdkafka",
        partial(_confluent_kafka, "2.16.1"),
        lookup_answer=_SHOWS_OFFSET,
        wrong_password=_REFUSED,
        foreign_group=_INVALID_GROUP,
    ),
)
