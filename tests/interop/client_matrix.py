"""The unmodified clients the project is tested with: one row each, and what its public API can express.

A representative stands for its family in ``make test``; ``make interop`` runs every row. A client that cannot be had
here is skipped with the reason, and fails where ``CI=true``, so that a matrix with holes is never taken for a full one.
The one exception is a version that the Maven repository in use does not publish: no set-up of ours can change that.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import pytest
from _pytest.mark import ParameterSet

from tests.interop import java_clients
from tests.interop.java_clients import NotPublishedError
from tests.tools import clients
from tests.tools.workplace import ToolError

Command = tuple[str, ...]

_KEEPS_TRYING = "read 0 of 1 records before the deadline"


@dataclass(frozen=True, slots=True)
class Client:
    """One client library in one version.

    ``finds_times``: its API looks up offsets by time; ``shows_commits``: it can write commit metadata and read commits
    back; ``whole_records``: it gets a record that is larger than its partition limit. ``purposes`` are what it needs a
    consumer group each for, so that no test meets another's commits. ``wrong_password`` and ``foreign_group`` are what
    it says then (regular expressions): a client before Kafka 1.0 cannot be told why it was refused, and keeps trying.
    """

    name: str
    command: Callable[[], Command]
    representative: bool = False
    finds_times: bool = True
    shows_commits: bool = True
    whole_records: bool = True
    purposes: tuple[str, ...] = ("",)
    wrong_password: str = _KEEPS_TRYING
    foreign_group: str = "InvalidGroupIdException: The configured groupId is invalid"

    def group_id(self, purpose: str = "") -> str:
        """The id of the client's own group on every log of the tests."""
        assert purpose in self.purposes
        return "dts" + "".join(character for character in self.name + purpose if character.isalnum())

    @property
    def group_ids(self) -> list[str]:
        return [self.group_id(purpose) for purpose in self.purposes]

    def start_command(self) -> Command:
        """The command of the client's process; skips or fails the test when the client cannot be had."""
        try:
            return self.command()
        except NotPublishedError as error:
            pytest.skip(str(error))
        except ToolError as error:
            reason = f"{self.name} cannot be had: {error}"
            if os.environ.get("CI") == "true":
                pytest.fail(reason, pytrace=False)
            pytest.skip(reason)


def _kafka_python() -> Command:
    return (clients.kafka_python("2.0.2"), "-m", "tests.interop.kafka_python_scenarios")


def _kcat() -> Command:
    return (sys.executable, "-m", "tests.interop.kcat_scenarios", *clients.kcat_command())


KAFKA_CLIENTS = (
    Client("java-0.10.0.1", lambda: java_clients.kafka_command("0.10.0.1"), finds_times=False, whole_records=False),
    Client("java-0.10.2.2", lambda: java_clients.kafka_command("0.10.2.2")),
    Client(
        "java-1.1.1",
        lambda: java_clients.kafka_command("1.1.1"),
        representative=True,
        wrong_password="SaslAuthenticationException: Authentication failed: Invalid username or password",
    ),
    Client(
        "kcat",
        _kcat,
        representative=True,
        shows_commits=False,
        wrong_password="All broker connections are down",
        foreign_group="FindCoordinator response error: Broker: Invalid group.id",
    ),
    Client(
        "kafka-python-2.0.2",
        _kafka_python,
        representative=True,
        wrong_password="NoBrokersAvailable",
        foreign_group="InvalidGroupIdError",
    ),
)

_DTS_PURPOSES = ("assign-resume", "assign-begin", "subscribe-resume", "subscribe-begin")
DTS_CLIENTS = (
    Client("dts-sdk-2.0.0", lambda: java_clients.dts_command("2.0.0"), purposes=_DTS_PURPOSES),
    Client("dts-sdk-2.1.4", lambda: java_clients.dts_command("2.1.4"), purposes=_DTS_PURPOSES),
)


def cells(clients_wanted: Iterable[Client]) -> list[ParameterSet]:
    """Clients as test parameters, marked with their name and whether they are representative."""
    return [
        pytest.param(
            client,
            id=client.name,
            marks=[pytest.mark.interop(client.name), *([pytest.mark.representative] if client.representative else [])],
        )
        for client in clients_wanted
    ]
