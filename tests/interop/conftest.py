"""Fixtures of the interop tests: the known log on a running server, one process per client for a whole session."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.interop import known_log as known
from tests.interop.client_matrix import DTS_CLIENTS, KAFKA_CLIENTS, Client
from tests.interop.client_process import ClientProcess, Outcome
from tests.interop.known_log import KnownLog


class Session:
    """One client logged in as its own group on one log; scenarios take what is particular to them."""

    def __init__(self, process: ClientProcess, login: dict[str, Any]) -> None:
        self._process = process
        self._login = login

    def run(self, scenario: str, **arguments: object) -> Outcome:
        return self._process.run(scenario, **{**self._login, **arguments})


class ClientProcesses:
    """The client processes of the session, started on first use."""

    def __init__(self, paths: pytest.TempPathFactory) -> None:
        self._paths = paths
        self._running: dict[str, ClientProcess] = {}

    def of(self, client: Client) -> ClientProcess:
        if client.name not in self._running:
            command = client.start_command()
            self._running[client.name] = ClientProcess(command, self._paths.mktemp(client.name))
        return self._running[client.name]

    def close(self) -> None:
        for process in self._running.values():
            process.close()


@pytest.fixture(scope="session")
def client_processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClientProcesses]:
    processes = ClientProcesses(tmp_path_factory)
    yield processes
    processes.close()


@pytest.fixture
def client(request: pytest.FixtureRequest) -> Client:
    """The client of this cell; tests are parametrised with `cells(…)`."""
    wanted: Client = request.param
    return wanted


@pytest.fixture(scope="session")
def known_log(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KnownLog]:
    """A server over recorded binlog files, caught up to their end."""
    group_ids = [*(client.group_id for client in (*KAFKA_CLIENTS, *DTS_CLIENTS)), known.SPARE_GROUP_ID]
    with known.serve(tmp_path_factory.mktemp("known-log"), group_ids) as log:
        yield log


@pytest.fixture
def session(client: Client, client_processes: ClientProcesses, known_log: KnownLog) -> Session:
    """The cell's client, logged in to the known log as its own group."""
    return Session(client_processes.of(client), known_log.login(client.group_id))
