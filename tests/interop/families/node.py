"""Node.js: kafkajs in its releases 1 and 2, and kafka-node."""

from __future__ import annotations

from functools import partial

from tests.interop import node_clients
from tests.interop.client import Client

_NO_ASSIGNMENT = "a consumer of kafkajs always joins its group: it has no reading by assignment"
_NO_TIMES = "kafka-node asks for times with ListOffsets 0, which knows segments only"


def _kafkajs(version: str, *, representative: bool = False) -> Client:
    return Client(
        f"kafkajs-{version}",
        "node",
        partial(node_clients.command, f"kafkajs-{version}", "kafkajs_scenarios.js"),
        representative=representative,
        not_applicable={"assign": _NO_ASSIGNMENT},
        lookup_answer=("offset",),
        foreign_group="KafkaJSGroupCoordinatorNotFound: Failed to find group coordinator",
        wrong_password="SASL PLAIN authentication failed: Authentication failed: Invalid username or password",
    )


CLIENTS = (
    _kafkajs("1.16.0"),
    _kafkajs("2.2.4", representative=True),
    Client(
        "kafka-node-5.0.0",
        "node",
        partial(node_clients.command, "kafka-node-5.0.0", "kafka_node_scenarios.js"),
        not_applicable={
            "commit": "kafka-node does not show the metadata of a committed offset",
            "seek_seconds": _NO_TIMES,
            "seek_milliseconds": _NO_TIMES,
        },
        lookup_answer=(),
        wrong_password="SaslAuthenticationError: Authentication failed: Invalid username or password",
        foreign_group=r"(?m)^group: Error: $",
        too_large=r"read \d+ of \d+ records before the deadline",
        no_assigned_times="without times: kafka-node's Consumer asks with Fetch 0, whose records have none",
    ),
)
