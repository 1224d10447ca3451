"""The example projects as somebody has them who copied one: `binwire` on the PATH, run by the project's own tools. When
they are done, so are the fixtures that they started.

Also the settings for Java, which its own tools are given.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

import pytest

from binwire.testing import EmbeddedBroker
from tests.interop import java_clients
from tests.interop.client import Command, had
from tests.tools.workplace import CHECKOUT, ToolError

pytestmark = [pytest.mark.interop("examples"), pytest.mark.timeout(600)]

EXAMPLES = CHECKOUT / "tests" / "examples"
_NPM_CI = ("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline", "--silent")
_PYTEST = (sys.executable, "-m", "pytest", "-p", "no:cacheprovider")
_TOOLS_VERSION = "1.1.1"
_BINWIRE = """#!/bin/sh
exec 9>>"{lock}"
flock --shared 9
exec "{binwire}" "$@"
"""
"""Holds the lock as long as the process is there, which is longer than the programs that started it wait."""


class Project:
    """A copy of an example."""

    def __init__(self, name: str, folder: Path) -> None:
        self.folder = folder / name
        shutil.copytree(EXAMPLES / name, self.folder, ignore=shutil.ignore_patterns("__pycache__"))
        self._lock, self._temporary = folder / "lock", folder / "temporary"
        command = folder / "bin" / "binwire"
        for made in (command.parent, self._temporary):
            made.mkdir()
        installed = Path(sys.executable).parent / "binwire"
        command.write_text(_BINWIRE.format(lock=self._lock, binwire=installed), encoding="utf-8")
        command.chmod(0o755)
        ours = ("BINWIRE_", "PYTHONPATH", "PYTEST_")
        self._environment = {key: value for key, value in os.environ.items() if not key.startswith(ours)}
        self._environment |= {
            "PATH": os.pathsep.join((str(command.parent), os.environ["PATH"])),
            "TMPDIR": str(self._temporary),
            "GOFLAGS": "-buildvcs=false",
            "GOTOOLCHAIN": "local",
            "GOWORK": "off",
        }

    def require_nothing_left(self) -> None:
        """Its fixtures have ended, or do, by themselves, and took their folders with them."""
        with self._lock.open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
        assert list(self._temporary.glob("binwire-*")) == []

    def run(self, *command: str, fails: bool = False) -> str:
        """What a command prints that succeeds, or that fails."""
        had(command[0], lambda: _found(command))
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert bool(done.returncode) is fails, done.stdout
        return done.stdout


def _found(command: Sequence[str]) -> Command:
    if shutil.which(command[0]) is None:
        raise ToolError(f"{command[0]} is not on the PATH: install it to run this example")
    return tuple(command)


def test_python(tmp_path: Path) -> None:
    project = Project("python", tmp_path)
    assert re.search(r"^4 passed", project.run(*_PYTEST, "-q"), re.MULTILINE)
    project.require_nothing_left()


def test_python_is_run_with_the_client_it_names() -> None:
    from kafka.version import __version__

    project = tomllib.loads((EXAMPLES / "python" / "pyproject.toml").read_text("utf-8"))["project"]
    assert f"kafka-python=={__version__}" in project["dependencies"]


def test_a_consumer_that_forgets_a_deletion_is_found(tmp_path: Path) -> None:
    """What the examples' tests are for; and the report shows what the channel held."""
    project = Project("python", tmp_path)
    program = project.folder / "orders.py"
    text = program.read_text("utf-8")
    broken = text.replace('self.amounts.pop(record.before["id"], None)', "pass")
    assert broken != text
    program.write_text(broken, "utf-8")
    told = project.run(*_PYTEST, "-q", "-k", "come_change_and_go", fails=True)
    assert "1 failed" in told
    assert "DELETE" in told


def test_java(tmp_path: Path) -> None:
    project = Project("java", tmp_path)
    project.run("mvn", "-q", "-B", "-Dstyle.color=never", "test")
    [report] = (project.folder / "target" / "surefire-reports").glob("*.txt")
    assert "Tests run: 3, Failures: 0, Errors: 0, Skipped: 0" in report.read_text("utf-8")
    project.require_nothing_left()


def test_go(tmp_path: Path) -> None:
    project = Project("go", tmp_path)
    project.run("go", "generate")
    assert project.run("go", "test", "-count=1", "-v").count("--- PASS: ") == 3
    project.require_nothing_left()
    project.run("go", "vet")
    assert project.run("gofmt", "-l", ".") == ""


def test_node(tmp_path: Path) -> None:
    project = Project("node", tmp_path)
    project.run(*_NPM_CI)
    project.run("npm", "run", "--silent", "schema")
    assert "# pass 3\n" in project.run("npm", "test", "--silent", "--", "--test-reporter=tap")
    project.require_nothing_left()


def test_kafkas_own_consumer_takes_the_properties(tmp_path: Path) -> None:
    tool = had("kafka-tools", lambda: java_clients.tool_command(_TOOLS_VERSION, "kafka.tools.ConsoleConsumer"))
    with EmbeddedBroker() as broker:
        channel = broker.channel("CREATE TABLE t (id INT PRIMARY KEY)")
        file = tmp_path / "consumer.properties"
        file.write_text(channel.java_properties(), encoding="utf-8")
        address = ("--bootstrap-server", channel.bootstrap_servers, "--topic", channel.topic)
        shown = ("--max-messages", "2", "--property", "print.timestamp=true", "--property", "print.value=false")
        command = [*tool, *address, "--consumer.config", str(file), *shown]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"(CreateTime:\d+\n){2}", done.stdout)
