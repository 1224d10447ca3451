"""Fixtures of the interop tests: the known log on a running server, one process per client for a whole session."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.interop import known_log as known
from tests.interop.client_matrix import DTS_CLIENTS, KAFKA_CLIENTS, Client
from tests.interop.client_process import ClientProcess, Outcome
from tests.interop.known_log import KnownLog


class Session:
    """One client on one log; scenarios take what is particular to them, and the purpose that names its group."""

    def __init__(self, client: Client, process: ClientProcess, log: KnownLog) -> None:
        self._client = client
        self._process = process
        self._log = log

    def run(self, scenario: str, *, purpose: str = "", **arguments: object) -> Outcome:
        """Run a scenario; ``arguments`` also take the place of what the login says."""
        return self._process.run(scenario, **{**self._log.login(self._client.group_id(purpose)), **arguments})


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
    group_ids = [group_id for client in (*KAFKA_CLIENTS, *DTS_CLIENTS) for group_id in client.group_ids]
    with known.serve(tmp_path_factory.mktemp("known-log"), [*group_ids, known.SPARE_GROUP_ID]) as log:
        yield log


@pytest.fixture
def session(client: Client, client_processes: ClientProcesses, known_log: KnownLog) -> Session:
    """The cell's client on the known log."""
    return Session(client, client_processes.of(client), known_log)
