"""What lies in `deploy/`: every command in it is run, as far as it goes without systemd, containers and CI services."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from tests import containerfile, installed
from tests.installed import Distribution
from tests.server_process import START_TIMEOUT_S, STOP_TIMEOUT_S
from tests.tools.workplace import CHECKOUT

DEPLOY = CHECKOUT / "deploy"
UNIT = (DEPLOY / "binwire.service").read_text("utf-8")
INSTALLED_AT = "/opt/binwire/bin"

THEIR_TEST = """
    from kafka import KafkaConsumer

    def test_orders(binwire_channel):
        binwire_channel.table("CREATE TABLE orders (id INT PRIMARY KEY)").insert(id=1)
        settings = binwire_channel.kafka_python()
        consumer = KafkaConsumer(binwire_channel.topic, group_id=binwire_channel.sid, **settings)
        assert len([message for _, message in zip(range(5), consumer)]) == 5
        consumer.close()
"""
THEIR_PROGRAM = """\
    #!/usr/bin/env python3
    import json, os, urllib.request

    ready = json.loads(os.environ["FIXTURE"])["ready"]
    call = urllib.request.Request(
        ready["url"] + "/channel",
        json.dumps({"statements": ["CREATE TABLE orders (id INT PRIMARY KEY)"]}).encode(),
        {"Content-Type": "application/json"},
    )
    print(json.load(urllib.request.urlopen(call))["topic"], "at", ready["bootstrap_servers"])
"""


@pytest.fixture(scope="module")
def commands(distribution: Distribution, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the commands are of an environment with the wheel, pip and pytest."""
    return installed.environment(tmp_path_factory.mktemp("deploy") / "venv", str(distribution.wheel), "pip", "pytest")


# --- the service ------------------------------------------------------------------------------------------------------


def settings(name: str) -> list[str]:
    return re.findall(rf"^{name}=(.*)$", UNIT, re.MULTILINE)


def test_systemd_takes_the_unit_and_finds_it_confined(commands, tmp_path):
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not on the PATH: install systemd to have the unit verified")
    unit = tmp_path / "binwire.service"
    unit.write_text(UNIT.replace(INSTALLED_AT, str(commands)), "utf-8")
    verified = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False)
    assert (verified.returncode, verified.stderr) == (0, "")
    command = ["systemd-analyze", "security", "--offline=yes", "--threshold=20", unit]  # tenths of 10, which is open
    judged = subprocess.run(command, capture_output=True, text=True, check=False)
    assert judged.returncode == 0, judged.stdout


def test_the_service_begins_reloads_and_ends_as_its_unit_says(commands, tmp_path):
    """By its own commands, its own configuration and what it tells the manager, but for where files are."""
    state = tmp_path / "state"
    state.mkdir()
    config = tmp_path / "binwire.toml"
    text = (DEPLOY / "binwire.toml").read_text("utf-8").replace("/var/lib/binwire", str(state))
    config.write_text(re.sub(r'(?<=")127\.0\.0\.1:\d+(?=")', "127.0.0.1:0", text), "utf-8")
    places = {INSTALLED_AT: str(commands), "/etc/binwire/binwire.toml": str(config)}
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(START_TIMEOUT_S)
        environment = installed.clean_environment(tmp_path) | {"NOTIFY_SOCKET": str(tmp_path / "notify")}
        options: dict[str, Any] = {"cwd": state, "env": environment, "stdin": subprocess.DEVNULL}
        with subprocess.Popen(_command("ExecStart", places), **options) as process:
            try:
                assert manager.recv(64) == b"READY=1"
                assert json.loads((state / "ready.json").read_text("utf-8"))["pid"] == process.pid
                reloaded = subprocess.run(_command("ExecReload", places), capture_output=True, check=False, **options)
                assert reloaded.returncode == 0, reloaded.stderr
                process.terminate()
                assert manager.recv(64) == b"STOPPING=1"
                assert process.wait(STOP_TIMEOUT_S) == 0
            finally:
                process.kill()


def _command(setting: str, places: dict[str, str]) -> list[str]:
    (line,) = settings(setting)
    for place, here in places.items():
        line = line.replace(place, here)
    return shlex.split(line)


def test_the_service_keeps_its_data_where_its_configuration_says():
    assert settings("StateDirectory") == ["binwire"]
    assert settings("WorkingDirectory") == ["/var/lib/binwire"]
    assert 'data_dir = "/var/lib/binwire"' in (DEPLOY / "binwire.toml").read_text("utf-8")


def test_a_manager_that_is_gone_keeps_nobody_from_serving(monkeypatch, tmp_path, caplog):
    from broker import service_manager

    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "gone"))
    service_manager.tell(service_manager.READY)
    assert "the service manager cannot be told" in caplog.text


def test_a_manager_may_have_a_name_without_a_file(monkeypatch):
    from broker import service_manager

    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("")  # the kernel chooses one
        name = manager.getsockname()
        monkeypatch.setenv("NOTIFY_SOCKET", f"@{name[1:].decode()}")
        service_manager.tell(service_manager.READY)
        assert manager.recv(64) == b"READY=1"


# --- the container ----------------------------------------------------------------------------------------------------


def test_the_container_runs_what_it_has(commands, tmp_path):
    """Its command finds itself by its PATH, and says that its configuration is to be given to it. Its steps:
    `tests/interop/test_pip.py`.
    """
    assert containerfile.instructions()[0] == ("FROM", "python:3.11-slim-bookworm AS build")
    (path,) = (argument.removeprefix("PATH=") for argument in containerfile.of("ENV"))
    environment = {"PATH": path.replace(INSTALLED_AT, str(commands)), "HOME": str(tmp_path)}
    command = [*json.loads(containerfile.of("ENTRYPOINT")[0]), *json.loads(containerfile.of("CMD")[0])]
    assert shutil.which(command[0], path=environment["PATH"]) == str(commands / "binwire")
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "/etc/binwire/binwire.toml" in done.stderr


# --- CI ---------------------------------------------------------------------------------------------------------------


def _github(job: str) -> list[list[str]]:
    """The scripts of a job's steps, each run in a shell of its own."""
    document = yaml.safe_load((DEPLOY / "ci" / "github-actions.yml").read_text("utf-8"))
    assert document["env"] == {"BINWIRE": "binwire"}
    steps = document["jobs"][job]["steps"]
    assert all(set(step) <= {"uses", "with", "run"} for step in steps)
    return [[step["run"]] for step in steps if "run" in step]


def _gitlab(job: str) -> list[list[str]]:
    """A job's script, which is run in one shell."""
    document = yaml.safe_load((DEPLOY / "ci" / "gitlab-ci.yml").read_text("utf-8"))
    assert document["variables"] == {"BINWIRE": "binwire"}
    return [document[job]["script"]]


@pytest.fixture
def runner(commands: Path, distribution: Distribution, tmp_path: Path) -> Iterator[Any]:
    """Runs scripts as such a service does, in somebody's project; what they leave behind is ended."""
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "test_orders.py").write_text(textwrap.dedent(THEIR_TEST), "utf-8")
    (folder / "run-tests").write_text(textwrap.dedent(THEIR_PROGRAM), "utf-8")
    (folder / "run-tests").chmod(0o755)
    variables = tmp_path / "variables"
    variables.touch()
    environment = installed.clean_environment(tmp_path / "home", path=commands)
    environment |= {"GITHUB_ENV": str(variables), "BINWIRE": str(distribution.wheel)}
    sessions: list[int] = []

    def run(scripts: list[list[str]]) -> str:
        printed = ""
        for lines in scripts:
            known = dict(line.split("=", 1) for line in variables.read_text("utf-8").splitlines())
            output = tmp_path / f"output-{len(sessions)}"
            with (
                output.open("wb") as file,
                subprocess.Popen(
                    ["bash", "-e", "-o", "pipefail", "-c", "\n".join(lines)],
                    cwd=folder,
                    env=environment | known,
                    stdin=subprocess.DEVNULL,
                    stdout=file,
                    stderr=file,
                    start_new_session=True,
                ) as process,
            ):
                sessions.append(process.pid)
                process.wait()
            printed += output.read_text("utf-8")
            assert process.returncode == 0, printed
        return printed

    yield run
    for session in sessions:
        try:
            os.killpg(session, signal.SIGTERM)
        except ProcessLookupError:
            continue


@pytest.mark.parametrize("service", [_github, _gitlab])
def test_a_job_of_pytest(service, runner):
    assert "1 passed" in runner(service("python"))


@pytest.mark.parametrize("service", [_github, _gitlab])
def test_a_job_of_any_other_language(service, runner):
    assert re.search(r"_version2 at 127\.0\.0\.1:\d+$", runner(service("other")), re.MULTILINE)
