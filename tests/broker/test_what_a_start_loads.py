"""A start is as long as what it loads: modules, and classes that are dear to build."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from bench.client import RawClient
from binwire.testing import EmbeddedBroker
from tests.server_process import ServerProcess
from tests.tools.workplace import CHECKOUT

BEFORE_IT_LISTENS_MODULES_MAX = 320
"""Of `binwire serve`, the standard library's and the libraries' among them."""
FIXTURE_MODULES_MAX = 420
"""Of a fixture with a table and a row."""
NEVER_NEEDED = {"structlog", "fastavro", "kafka"}
READING_A_SOURCE = {"capture.session", "capture.assembler", "capture.mysql_source", "asyncmy", "cryptography"}
CONTROL_PLANE = ("broker.console.", "broker.operations", "starlette", "uvicorn", "jinja2", "h11", "prometheus_client")
_LOADED = re.compile(r"^import time:\s+\d+ \|\s+\d+ \|\s+(\S+)$", re.MULTILINE)

_SERVED_WITHOUT_CAPTURE = """
import asyncio, sys
from pathlib import Path
from bench.client import RawClient
from broker import event_loop
from broker.app import Application
from broker.config import load

class WithoutCapture(Application):
    async def _start_channels(self, plan):
        pass

def ask(host, port):
    with RawClient(host, port) as client:
        client.login("dtstest-dtsstart01", "Start-1234")
        client.fetch("cn_hangzhou_rm_start_dtstest_version2", 0, max_bytes=1024, max_wait_ms=0)

async def main():
    app = WithoutCapture(load(Path(sys.argv[1])))
    await app.start()
    address = app.addresses["public"]
    await asyncio.to_thread(ask, address.host, address.port)
    await app.close()

event_loop.run(main())
print(*sys.modules)
"""
_CONFIGURATION = """
[[listeners]]
name = "public"
bind = "127.0.0.1:0"

[[channels]]
id = "start"
topic = "cn_hangzhou_rm_start_dtstest_version2"
source = "mysql://nobody@127.0.0.1:9"
objects = ["shop"]

[[channels.groups]]
name = "start"
id = "dtsstart01"
username = "dtstest"
password = "Start-1234"
"""


def test_a_client_is_answered_without_anything_that_reads_a_source(tmp_path: Path) -> None:
    configuration = tmp_path / "binwire.toml"
    configuration.write_text(f'data_dir = "{tmp_path}/data"\n{_CONFIGURATION}', encoding="utf-8")
    command = [sys.executable, "-c", _SERVED_WITHOUT_CAPTURE, str(configuration)]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "broker.apis.fetch" in loaded
    assert not loaded & (READING_A_SOURCE | NEVER_NEEDED)
    assert [name for name in loaded if name.startswith(CONTROL_PLANE)] == []


def test_a_server_loads_no_more_than_it_needs_before_it_listens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPROFILEIMPORTTIME", "1")
    with ServerProcess(tmp_path, _CONFIGURATION).start() as server, RawClient(*server.address()) as client:
        client.login("dtstest-dtsstart01", "Start-1234")
    loaded = _LOADED.findall((tmp_path / "server.log").read_text(encoding="utf-8"))
    assert not set(loaded) & NEVER_NEEDED
    before_it_listens = loaded[: loaded.index("broker.app") + 1]
    assert len(before_it_listens) <= BEFORE_IT_LISTENS_MODULES_MAX
    assert not {"asyncmy", "capture.session", "capture.ddl"} & set(before_it_listens)


def test_a_console_is_loaded_when_kafka_clients_are_served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPROFILEIMPORTTIME", "1")
    configuration = f'{_CONFIGURATION}\n[console]\nbind = "127.0.0.1:0"\n'
    with ServerProcess(tmp_path, configuration).start() as server:
        url = "http://{}:{}/api/v1/server".format(*server.address("console"))
        assert json.loads(urllib.request.urlopen(url).read())["listeners"][0]["name"] == "public"
    loaded = _LOADED.findall((tmp_path / "server.log").read_text(encoding="utf-8"))
    before_it_listens = loaded[: loaded.index("broker.app") + 1]
    assert [name for name in before_it_listens if name.startswith(CONTROL_PLANE)] == []
    # Any of the package's modules: threads load at the same time, and one's line may break another's.
    of_the_console = [place for place, name in enumerate(loaded) if name.startswith("starlette")]
    assert loaded.index("broker.apis") < min(of_the_console)


def test_a_fixture_loads_no_more_than_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPROFILEIMPORTTIME", "1")
    with EmbeddedBroker() as broker:
        channel = broker.channel()
        channel.table("CREATE TABLE t (id INT PRIMARY KEY, at DATETIME)").insert(id=1, at="2026-01-31 08:00:00")
        broker._process._errors.seek(0)
        loaded = _LOADED.findall(broker._process._errors.read().decode())
    assert "capture.embedded_source" in loaded
    assert len(loaded) <= FIXTURE_MODULES_MAX
    assert not set(loaded) & (NEVER_NEEDED | {"asyncmy", "cryptography", "tomllib", "argparse", "capture.precheck"})
    assert not set(loaded) & {"h11", "broker.fixture.http"}


def test_no_class_of_the_server_is_a_dataclass() -> None:
    """A struct of msgspec takes 11 µs to build where a frozen dataclass takes 570."""
    files = [file for floor in ("broker", "capture", "storage") for file in (CHECKOUT / floor).rglob("*.py")]
    assert len(files) > 100
    found = [str(file) for file in files if re.search(r"^(from|import) dataclasses\b", file.read_text(), re.MULTILINE)]
    assert found == []
