"""Java: Apache Kafka's own consumer in every line, and the service's SDK, which has one inside."""

from __future__ import annotations

from functools import partial

from tests.interop import java_clients
from tests.interop.client import PURPOSES, Client

_NO_LOOKUP = "KafkaConsumer has no offsetsForTimes before 0.10.1"
_REFUSED = "SaslAuthenticationException: Authentication failed: Invalid username or password"

KAFKA_CLIENTS = (
    Client(
        "java-0.10.0.1",
        "java",
        partial(java_clients.kafka_command, "0.10.0.1"),
        not_applicable={"seek_seconds": _NO_LOOKUP, "seek_milliseconds": _NO_LOOKUP},
        whole_records=False,
    ),
    Client("java-0.10.2.2", "java", partial(java_clients.kafka_command, "0.10.2.2")),
    Client(
        "java-1.1.1",
        "java",
        partial(java_clients.kafka_command, "1.1.1"),
        representative=True,
        wrong_password=_REFUSED,
    ),
)

_DTS_NOT_APPLICABLE = {
    "tls": "the SDK sets security.protocol to SASL_PLAINTEXT itself",
    "topics": "the SDK does not list topics",
    "commit": "the SDK does not show a committed checkpoint",
    "seek_milliseconds": "the SDK's checkpoint is in seconds",
}


def _dts(version: str) -> Client:
    return Client(
        f"dts-sdk-{version}",
        "dts",
        partial(java_clients.dts_command, version),
        not_applicable=_DTS_NOT_APPLICABLE,
        resumes_by_time=True,
        purposes=(*PURPOSES, "assign-resume", "assign-begin", "group-resume", "group-begin"),
        lookup_answer=(),
    )


DTS_CLIENTS = tuple(map(_dts, ("2.0.0", "2.1.4")))
CLIENTS = (*KAFKA_CLIENTS, *DTS_CLIENTS)
