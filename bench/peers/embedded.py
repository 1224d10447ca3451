"""Peers of `fixture`: brokers that a test starts inside its own process, each here in a process of its own.

Spring's EmbeddedKafka is a Kafka broker with its controller in the JVM of the test, in its defaults, by the release of
Spring for Apache Kafka that Maven resolves (`spring/`). librdkafka's mock cluster is a part of that library, with
topics in memory, no logins and no times (`mock/`). Either is compiled by the tools of a checkout.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from bench.harness import PeerMissingError
from bench.peers import java_program, require_checkout

SPRING_VERSION: Final = "4.1.1"
LIBRDKAFKA_VERSION: Final = "2.16.0"
_WHEEL: Final = "2.16.1"  # of confluent-kafka, which carries it
_FOLDER: Final = Path(__file__).parent


class Embedded(NamedTuple):
    """A peer by its name, and what finds the command that runs it. `command` raises PeerMissingError."""

    name: str
    command: Callable[[], list[str]]


def _spring() -> list[str]:
    folder = _FOLDER / "spring"
    jars = java_program.class_path("spring-embedded-kafka", SPRING_VERSION, folder / "pom.xml", folder)
    return ["java", "-cp", jars, "EmbeddedBroker"]


def _mock_cluster() -> list[str]:
    name = f"librdkafka {LIBRDKAFKA_VERSION}'s mock cluster"
    require_checkout(name)
    from tests.tools import librdkafka
    from tests.tools.workplace import ToolError

    try:
        return list(librdkafka.program(_FOLDER / "mock" / "mock_cluster.c", _WHEEL))
    except (ToolError, OSError, subprocess.SubprocessError) as error:
        raise PeerMissingError(f"{name} cannot be had: {error}") from None


SPRING: Final = Embedded(f"Spring EmbeddedKafka {SPRING_VERSION}", _spring)
MOCK_CLUSTER: Final = Embedded(f"librdkafka {LIBRDKAFKA_VERSION} mock", _mock_cluster)
EMBEDDED: Final = (SPRING, MOCK_CLUSTER)
