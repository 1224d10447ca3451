"""Clients that take the broker for one from before Kafka 0.10: Fetch 0 and 1, so records of magic 0.

librdkafka 0.11.6 with ``api.version.request=false`` believes ``broker.version.fallback``, as its forebears did of their
own accord; pykafka 2.8.0 never knew later brokers. Neither has SASL PLAIN then, hence the listener without login.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.decoded import Record
from tests.interop.client import Client, Command
from tests.interop.client_process import ClientProcess
from tests.interop.families.librdkafka import PROGRAM
from tests.interop.known_binlog import write_known_binlog
from tests.interop.known_log import SHORT_SESSION_TIMEOUT_MS, Channel, KnownLog, server_settings
from tests.server_process import ServerProcess
from tests.tools import librdkafka, venvs

_NO_TIMESTAMP = -1
_AMPLE_BYTES = 8 << 20  # more than the known log's largest record: before Fetch 3 the limit is hard
# pykafka installs its own tests as a package `tests`, which hides the checkout's.
_BESIDE_ITS_TESTS = (
    "import os, runpy, tests; tests.__path__.insert(0, os.path.join(os.environ['PYTHONPATH'], 'tests'));"
    "runpy.run_module('tests.interop.python.pykafka_scenarios', run_name='__main__')"
)
_PYKAFKA = ("pykafka==2.8.0", "kazoo==2.5.0", "six==1.17.0", "tabulate==0.10.0")


def _librdkafka(broker_version: str) -> Command:
    settings = ("api.version.request=false", f"broker.version.fallback={broker_version}", "debug=protocol")
    return (*librdkafka.program(PROGRAM, "0.11.6"), *settings)


def _pykafka() -> Command:
    python = venvs.ensure("pykafka-2.8.0", _PYKAFKA) / "bin" / "python"
    return (str(python), "-c", _BESIDE_ITS_TESTS)


@dataclass(frozen=True, slots=True)
class OldClient:
    """A client, how it starts, and the version of Fetch that its log shows, if it shows it."""

    name: str
    command: Callable[[], Command]
    fetch: int | None = None

    @property
    def group_id(self) -> str:
        return Client(self.name, "old", self.command).group_id()


_BEFORE_GROUPS = OldClient("librdkafka-0.11.6-as-to-0.8.2.1", partial(_librdkafka, "0.8.2.1"), 0)
_WITH_GROUPS = (
    OldClient("librdkafka-0.11.6-as-to-0.9.0.1", partial(_librdkafka, "0.9.0.1"), 1),
    OldClient("pykafka-2.8.0", _pykafka),
)
_OLD_CLIENTS = (_BEFORE_GROUPS, *_WITH_GROUPS)


def _cells(*clients: OldClient) -> list[Any]:
    return [pytest.param(client, id=client.name, marks=pytest.mark.interop(client.name)) for client in clients]


class Running:
    """An old client's process on the log."""

    def __init__(self, client: OldClient, server: ServerProcess, log: KnownLog, folder: Path) -> None:
        self.client = client
        self._log_file = folder / "client.log"
        self._process = ClientProcess(Client(client.name, "old", client.command).start_command(), folder)
        self._login = {
            **log.login(client.group_id),
            "security": "PLAINTEXT",
            "bootstrap": server.bootstrap("open"),
            "partition_bytes": str(_AMPLE_BYTES),
            # As it closes, this librdkafka often forgets to leave: who comes next waits for the session to end.
            "session_timeout_ms": str(SHORT_SESSION_TIMEOUT_MS),
        }

    def run(self, scenario: str, **arguments: Any) -> list[Record]:
        return self._process.run(scenario, **{**self._login, **arguments}).records

    def fetched_with(self) -> set[int]:
        """The versions of Fetch it says it has sent."""
        lines = self._log_file.read_text(encoding="utf-8", errors="replace").splitlines()
        return {int(line.split("FetchRequest (v")[1].split(",")[0]) for line in lines if "Sent FetchRequest (v" in line}

    def close(self) -> None:
        self._process.close()


@pytest.fixture(scope="module")
def open_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ServerProcess, KnownLog]]:
    """A server with a listener that asks for no login."""
    folder = tmp_path_factory.mktemp("open")
    binlog = folder / "known-bin.000001"
    count = write_known_binlog(binlog)
    channel = Channel.of("open", [client.group_id for client in _OLD_CLIENTS])
    listener = '[[listeners]]\nname = "open"\nbind = "127.0.0.1:0"\nsecurity = "PLAINTEXT"\n'
    table = channel.table(f"file://{binlog}", ["shop"], "earliest")
    with ServerProcess(folder, server_settings() + listener + table).start() as server:
        server.wait_for(lambda: int(server.status()["channels"][0]["high_watermark"]) >= count, f"{count} records on")
        yield server, KnownLog(server, channel)


@pytest.fixture
def running(
    request: pytest.FixtureRequest, open_server: tuple[ServerProcess, KnownLog], tmp_path: Path
) -> Iterator[Running]:
    running = Running(request.param, *open_server, tmp_path)
    yield running
    running.close()


@pytest.fixture
def expected(open_server: tuple[ServerProcess, KnownLog]) -> list[Record]:
    """The log as message format 0 has it: without timestamps."""
    return [replace(record, timestamp_ms=_NO_TIMESTAMP) for record in open_server[1].records]


@pytest.mark.parametrize("running", _cells(*_OLD_CLIENTS), indirect=True)
def test_reads_all_by_assignment(running: Running, expected: list[Record]) -> None:
    assert running.run("assign", offset=expected[0].offset, count=len(expected)) == expected
    if running.client.fetch is not None:
        assert running.fetched_with() == {running.client.fetch}


@pytest.mark.parametrize("running", _cells(*_OLD_CLIENTS), indirect=True)
def test_reads_from_the_middle_of_a_batch(running: Running, expected: list[Record]) -> None:
    wanted = expected[len(expected) // 2 :]
    assert running.run("assign", offset=wanted[0].offset, count=len(wanted)) == wanted


@pytest.mark.parametrize("running", _cells(*_WITH_GROUPS), indirect=True)
def test_group_goes_on_behind_its_commit(running: Running, expected: list[Record]) -> None:
    half = len(expected) // 2
    assert running.run("group", count=half, metadata="half") == expected[:half]
    assert running.run("group", count=len(expected) - half) == expected[half:]
