"""Fixtures of the interop tests: the known log on a running server, one process per client for a whole session.

Also holds what a run finds against the committed matrix (``matrix_file.py``): a cell that differs fails the run.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator

import pytest

from tests.interop import known_log as known
from tests.interop import matrix_file
from tests.interop.client import COLUMNS, Client
from tests.interop.client_matrix import CLIENTS
from tests.interop.client_process import ClientProcess, Outcome
from tests.interop.known_log import KnownLog, KnownServer


class Session:
    """One client on one log; scenarios take what is particular to them, and the purpose that names its group."""

    def __init__(self, client: Client, process: ClientProcess, log: KnownLog) -> None:
        self._client = client
        self._process = process
        self._log = log

    def run(
        self, scenario: str, *, purpose: str = "", security: str = "SASL_PLAINTEXT", **arguments: object
    ) -> Outcome:
        """Run a scenario; ``arguments`` also take the place of what the login says."""
        login = self._log.login(self._client.group_id(purpose), security)
        return self._process.run(scenario, **{**login, **arguments})


class ClientProcesses:
    """The client processes of the session, started on first use."""

    def __init__(self, paths: pytest.TempPathFactory) -> None:
        self._paths = paths
        self._running: dict[str, ClientProcess] = {}

    def of(self, client: Client) -> ClientProcess:
        """The process that runs the client's scenarios, one after the other; a new one if it has ended."""
        running = self._running.get(client.name)
        if running is None or running.ended:
            if running is not None:
                running.close()
            running = self._running[client.name] = self.another(client)
        return running

    def another(self, client: Client) -> ClientProcess:
        """A further process of the client, which is the caller's to end."""
        return ClientProcess(client.start_command(), self._paths.mktemp(client.name))

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
    """The client of this cell; tests are parametrised with `cells(…)` or `clients_of(…)`."""
    wanted: Client = request.param
    return wanted


@pytest.fixture(scope="session")
def known_server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KnownServer]:
    """A server over recorded binlog files, caught up to their end, with groups for the clients of this run."""
    wanted = {_client_of(item) for item in request.session.items}
    clients = [client for client in CLIENTS if client in wanted]
    with known.serve(tmp_path_factory.mktemp("known-log"), clients) as server:
        yield server


@pytest.fixture
def known_log(request: pytest.FixtureRequest, known_server: KnownServer) -> KnownLog:
    """The log that the test's client reads; in a test without one, a log of nobody's."""
    return known_server.log_of(_client_of(request.node))


@pytest.fixture
def session(client: Client, client_processes: ClientProcesses, known_log: KnownLog) -> Session:
    """The cell's client on the known log."""
    return Session(client, client_processes.of(client), known_log)


def _client_of(item: pytest.Item) -> Client | None:
    callspec = getattr(item, "callspec", None)
    client: Client | None = callspec.params.get("client") if callspec is not None else None
    return client


def _noted(result: str, left_out: str | None) -> str:
    return f"{result}: {left_out}" if result == matrix_file.PASSES and left_out else result


_found = pytest.StashKey[matrix_file.Cells]()
_differences = pytest.StashKey[list[str]]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    marker, client = item.get_closest_marker("cell"), _client_of(item)
    if marker is not None and client is not None:
        result = _result(report)
        columns = marker.args or COLUMNS
        if result is not None:
            found = item.config.stash.setdefault(_found, {})
            found.update({(client.name, column): _noted(result, client.leaves_out(column)) for column in columns})
    return report


def _result(report: pytest.TestReport) -> str | None:
    """What a test says of its cells; None if nothing: it failed, or its client could not be had here."""
    if report.passed and report.when == "call":
        return str(dict(report.user_properties).get("cell", matrix_file.PASSES))
    if report.skipped and isinstance(report.longrepr, tuple):
        reason = report.longrepr[2].removeprefix("Skipped: ")
        return reason if reason.startswith(matrix_file.UNTESTED) else None
    return None


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    found = session.config.stash.get(_found, {})
    session.config.stash[_differences] = matrix_file.settle(CLIENTS, found)
    if session.config.stash[_differences] and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for sentence in terminalreporter.config.stash.get(_differences, []):
        terminalreporter.write_line(sentence, red=True)
