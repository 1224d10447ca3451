"""Java: Apache Kafka's own consumer in the newest patch of every line, and the service's SDK, which has one inside."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from tests.interop import java_clients
from tests.interop.client import INVALID_GROUP, KEEPS_TRYING, PURPOSES, Client, Command
from tests.tools.workplace import NotPublishedError

_NO_LOOKUP = "KafkaConsumer has no offsetsForTimes before 0.10.1"
_BEFORE_KIP_152 = ("0.10.0.1", "0.10.1.1", "0.10.2.2", "0.11.0.3")
_REFUSED = "SaslAuthenticationException: Authentication failed: Invalid username or password"


def _kafka(version: str) -> Client:
    """One version: 0.10.0 has no look-up by time and no Fetch 3; from 1.0 (KIP-152) a refused login is told why."""
    oldest = version == "0.10.0.1"
    return Client(
        f"java-{version}",
        "java",
        partial(java_clients.kafka_command, version),
        representative=version == "1.1.1",
        not_applicable={"seek_seconds": _NO_LOOKUP, "seek_milliseconds": _NO_LOOKUP} if oldest else {},
        too_large=r"RecordTooLargeException: .*max\.partition\.fetch\.bytes" if oldest else None,
        wrong_password=KEEPS_TRYING if version in _BEFORE_KIP_152 else _REFUSED,
        foreign_group="InvalidGroupIdException: The group id is invalid" if version == "4.4.0" else INVALID_GROUP,
    )


_LINES = ("0.10.0.1", "0.10.1.1", "0.10.2.2", "0.11.0.3", "1.0.2", "1.1.1", "2.0.1", "2.4.1", "2.8.2", "3.9.2", "4.4.0")
KAFKA_CLIENTS = (
    *map(_kafka, _LINES),
    # The service's own fork of Kafka 1.0's client, inside its SDK of the line 1.x.
    Client("togo-clients-1.0.0.45", "dts", partial(java_clients.togo_command, "1.0.0.45"), wrong_password=_REFUSED),
)

_DTS_NOT_APPLICABLE = {
    "tls": "the SDK sets security.protocol to SASL_PLAINTEXT itself",
    "topics": "the SDK does not list topics",
    "commit": "the SDK does not show a committed checkpoint",
    "seek_milliseconds": "the SDK's checkpoint is in seconds",
}


def _dts(version: str, command: Callable[[str], Command] = java_clients.dts_command) -> Client:
    return Client(
        f"dts-sdk-{version}",
        "dts",
        partial(command, version),
        not_applicable=_DTS_NOT_APPLICABLE,
        resumes_by_time=True,
        purposes=(*PURPOSES, "assign-resume", "assign-begin", "group-resume", "group-begin"),
        lookup_answer=(),
    )


def _not_public(version: str) -> Command:
    raise NotPublishedError(
        f"no public registry carries the DTS SDK {version}, and the public history of its line ends at 1.1.16, which "
        "needs packages that none carries; togo-clients is the Kafka client of that line"
    )


DTS_CLIENTS = (_dts("1.1.19", _not_public), *map(_dts, ("1.4.0", "2.0.0", "2.1.4")))
CLIENTS = (*KAFKA_CLIENTS, *DTS_CLIENTS)
