"""Clients of further languages, and a REST proxy: what public registries carry of them, and what they do not."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import partial
from typing import Final

from tests.interop import java_clients
from tests.interop.client import Client, Command

# What the matrix has no row for, and why; the README names it.
UNTESTED: Final[Mapping[str, str]] = {
    "Ruby (ruby-kafka, rdkafka-ruby)": "published on RubyGems, and not packaged by Debian",
    "Erlang (brod)": "published on Hex, and not packaged by Debian",
    ".NET (Confluent.Kafka)": "published on NuGet, and neither it nor .NET is packaged by Debian",
    "Confluent's REST Proxy, Karapace, Kafka-Pixy": "not carried by the Maven repository, Python index and Go proxy in "
    "use; Strimzi's bridge stands for such proxies",
}


def _bridge(version: str) -> Command:
    return (sys.executable, "-m", "tests.interop.bridge_scenarios", *java_clients.bridge_command(version))


_NO_TIMES = "the bridge's HTTP API has no look-up by time"

CLIENTS: tuple[Client, ...] = (
    Client(
        "strimzi-bridge-0.30.0",
        "rest",
        partial(_bridge, "0.30.0"),
        not_applicable={
            "commit": "the bridge's HTTP API takes no metadata with a commit, and shows no committed offset",
            "seek_seconds": _NO_TIMES,
            "seek_milliseconds": _NO_TIMES,
        },
        wrong_password="Authentication failed: Invalid username or password",
    ),
)
