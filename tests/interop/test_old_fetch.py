"""A client that is told it speaks with a broker from before Kafka 0.10: Fetch 0 and 1, so records of magic 0.

librdkafka 0.11.6 with ``api.version.request=false`` believes ``broker.version.fallback``, as its forebears did of their
own accord: it never asks for API versions and knows no SASL PLAIN, hence the open listener.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from tests.decoded import Record
from tests.interop.client import Client
from tests.interop.client_process import ClientProcess
from tests.interop.families.librdkafka import PROGRAM
from tests.interop.known_binlog import write_known_binlog
from tests.interop.known_log import SHORT_SESSION_TIMEOUT_MS, Channel, KnownLog, server_settings
from tests.server_process import ServerProcess
from tests.tools import librdkafka

_NO_TIMESTAMP = -1
_AMPLE_BYTES = 8 << 20  # more than the known log's largest record: before Fetch 3 the limit is hard
_LIBRDKAFKA = "0.11.6"


@dataclass(frozen=True, slots=True)
class Era:
    """A broker's version, and the Fetch that a client of its day sends."""

    version: str
    fetch: int

    @property
    def group_id(self) -> str:
        return "dtsera" + self.version.replace(".", "")


_BEFORE_GROUPS, _WITH_GROUPS = Era("0.8.2.1", 0), Era("0.9.0.1", 1)
_ERAS = (_BEFORE_GROUPS, _WITH_GROUPS)
pytestmark = pytest.mark.interop(f"librdkafka-{_LIBRDKAFKA}")


class OldClient:
    """The C program as a client of an era; its log tells what it sent."""

    def __init__(self, era: Era, server: ServerProcess, log: KnownLog, folder: Path) -> None:
        self.era = era
        self._log_file = folder / "client.log"
        settings = ("api.version.request=false", f"broker.version.fallback={era.version}", "debug=protocol")
        client = Client(f"librdkafka-{era.version}", "librdkafka", lambda: (*_command(), *settings))
        self._process = ClientProcess(client.start_command(), folder)
        self._login = {
            **log.login(era.group_id),
            "security": "PLAINTEXT",
            "bootstrap": server.bootstrap("open"),
            "partition_bytes": str(_AMPLE_BYTES),
            # As it closes, this librdkafka often forgets to leave: who comes next waits for the session to end.
            "session_timeout_ms": str(SHORT_SESSION_TIMEOUT_MS),
        }

    def run(self, scenario: str, **arguments: Any) -> list[Record]:
        return self._process.run(scenario, **{**self._login, **arguments}).records

    def fetched_with(self) -> set[str]:
        """The versions of Fetch it has sent."""
        lines = self._log_file.read_text(encoding="utf-8", errors="replace").splitlines()
        return {line.split("FetchRequest (v")[1].split(",")[0] for line in lines if "Sent FetchRequest (v" in line}

    def close(self) -> None:
        self._process.close()


def _command() -> tuple[str, ...]:
    return librdkafka.program(PROGRAM, _LIBRDKAFKA)


@pytest.fixture(scope="module")
def open_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ServerProcess, KnownLog]]:
    """A server with a listener that asks for no login."""
    folder = tmp_path_factory.mktemp("open")
    binlog = folder / "known-bin.000001"
    count = write_known_binlog(binlog)
    channel = Channel.of("open", [era.group_id for era in _ERAS])
    listener = '[[listeners]]\nname = "open"\nbind = "127.0.0.1:0"\nsecurity = "PLAINTEXT"\n'
    table = channel.table(f"file://{binlog}", ["shop"], "earliest")
    with ServerProcess(folder, server_settings() + listener + table).start() as server:
        server.wait_for(lambda: int(server.status()["channels"][0]["high_watermark"]) >= count, f"{count} records on")
        yield server, KnownLog(server, channel)


@pytest.fixture(params=_ERAS, ids=lambda era: f"as-to-{era.version}")
def old_client(
    request: pytest.FixtureRequest, open_server: tuple[ServerProcess, KnownLog], tmp_path: Path
) -> Iterator[OldClient]:
    client = OldClient(request.param, *open_server, tmp_path)
    yield client
    client.close()


@pytest.fixture
def expected(open_server: tuple[ServerProcess, KnownLog]) -> list[Record]:
    """The log as message format 0 has it: without timestamps."""
    return [replace(record, timestamp_ms=_NO_TIMESTAMP) for record in open_server[1].records]


def test_reads_all_by_assignment(old_client: OldClient, expected: list[Record]) -> None:
    assert old_client.run("assign", offset=expected[0].offset, count=len(expected)) == expected
    assert old_client.fetched_with() == {str(old_client.era.fetch)}


def test_reads_from_the_middle_of_a_batch(old_client: OldClient, expected: list[Record]) -> None:
    wanted = expected[len(expected) // 2 :]
    assert old_client.run("assign", offset=wanted[0].offset, count=len(wanted)) == wanted


@pytest.mark.parametrize("old_client", [_WITH_GROUPS], indirect=True, ids=lambda era: f"as-to-{era.version}")
def test_group_goes_on_behind_its_commit(old_client: OldClient, expected: list[Record]) -> None:
    half = len(expected) // 2
    assert old_client.run("group", count=half, metadata="half") == expected[:half]
    assert old_client.run("group", count=len(expected) - half) == expected[half:]
