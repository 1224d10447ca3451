"""Go: sarama, whose requests follow the version that its user sets, franz-go and kafka-go."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from tests.interop import go_clients
from tests.interop.client import KEEPS_TRYING, Client

_NO_GROUP = "sarama's ConsumerGroup requires Config.Version to be V0_10_2_0 or later"
_NO_TIMES = "with Config.Version below V0_10_1_0 sarama asks for times with ListOffsets 0, which knows segments only"

_REFUSED = "SASL Authentication failed: Authentication failed: Invalid username or password"
_NO_BROKERS = "kafka: client has run out of available brokers to talk to"

# What Config.Version a user sets, and what sarama does not offer with it.
_NO_GROUPS: Mapping[str, str] = {"subscribe": _NO_GROUP, "takeover": _NO_GROUP}
_SARAMA_VERSIONS: Mapping[str, Mapping[str, str]] = {
    "0.10.0.0": {**_NO_GROUPS, "seek_seconds": _NO_TIMES, "seek_milliseconds": _NO_TIMES},
    "0.10.1.0": _NO_GROUPS,
    "0.10.2.0": {},
    "0.11.0.0": {},
    "1.0.0": {},
    "1.1.0": {},
}


def _sarama(release: str, version: str, pinned_by: str, *, representative: bool = False) -> Client:
    setting = "V" + "_".join((version + ".0").split(".")[:4])
    return Client(
        f"sarama-{release}-{setting}",
        "go",
        partial(go_clients.command, f"sarama-{release}", "sarama", version, pinned_by=pinned_by),
        representative=representative,
        not_applicable=_SARAMA_VERSIONS[version],
        foreign_group=KEEPS_TRYING if release == "1.29.1" else "kafka server: The provided group id was empty",
        wrong_password=_REFUSED if release == "1.61.1" and version in ("1.0.0", "1.1.0") else _NO_BROKERS,
    )


CLIENTS = (
    *(_sarama("1.29.1", version, "shopify.mod") for version in ("0.10.2.0", "0.11.0.0", "1.0.0")),
    *(_sarama("1.61.1", version, "go.mod", representative=version == "1.0.0") for version in _SARAMA_VERSIONS),
    Client(
        "franz-go-1.22.2",
        "go",
        partial(go_clients.command, "franz-go-1.22.2", "franz-go"),
        foreign_group="INVALID_GROUP_ID: The configured groupID is invalid",
    ),
    Client(
        "kafka-go-0.4.51",
        "go",
        partial(go_clients.command, "kafka-go-0.4.51", "kafka-go"),
        lookup_answer=("offset",),
        foreign_group=r"\[24\] Invalid Group ID: the group id is empty or null",
    ),
)
