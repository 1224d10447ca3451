"""librdkafka: kcat, the C library itself, and its Python binding."""

from __future__ import annotations

import sys

from tests.interop.client import Client, Command
from tests.tools import clients


def _kcat() -> Command:
    return (sys.executable, "-m", "tests.interop.kcat_scenarios", *clients.kcat_command())


CLIENTS = (
    Client(
        "kcat",
        "librdkafka",
        _kcat,
        representative=True,
        not_applicable={
            "topics": "to be written",
            "commit": "kcat has no option for commit metadata, nor for showing a committed offset",
            "takeover": "kcat ends when it has read what it was asked for, and its membership with it",
        },
        lookup_answer=(),
        shows_bounds=False,
        wrong_password="All broker connections are down",
        foreign_group="FindCoordinator response error: Broker: Invalid group.id",
    ),
)
