"""Binwire as somebody has it who installed it: built from this checkout, in an environment of its own.

Owns the built wheel and sdist of a test run, and environments in which nothing is but the wheel and what it requires,
from the package index. Where the index cannot be reached the test is skipped with the reason, and fails in CI.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pytest

from tests.tools import venvs
from tests.tools.workplace import CHECKOUT, ToolError, run_quietly

BUILDER: Final = ("hatchling==1.27.0",)
UV: Final = ("uv==0.13.8",)
PIPX: Final = ("pipx==1.8.0",)
_OURS: Final = ("PYTHON", "BINWIRE_", "VIRTUAL_ENV", "COVERAGE_", "PYTEST_")
_TIMEOUT_S: Final = 280
_PINNED: Final = re.compile(r"^[A-Za-z0-9._-]+==[^ \\;]+", re.MULTILINE)


def unavailable(reason: str) -> None:
    """Skip the test, loudly: in CI it fails."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def tool(name: str, requirements: Sequence[str]) -> Path:
    """A command of a Python package, in an environment of its own."""
    try:
        return venvs.ensure(name, requirements) / "bin"
    except ToolError as error:
        unavailable(f"{requirements[0]} cannot be had: {error}")
        raise


def clean_environment(home: Path, *, path: Path | None = None) -> dict[str, str]:
    """Variables of a user who has nothing of ours: how the index is reached stays, home and temporary files are new."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
    temporary = home / "tmp"
    temporary.mkdir(parents=True, exist_ok=True)
    search = [*([str(path)] if path else []), "/usr/local/bin", "/usr/bin", "/bin"]
    constraints = temporary / "constraints.txt"
    constraints.write_text(known_versions(), "utf-8")
    return variables | {
        "PIP_CONSTRAINT": str(constraints),
        "UV_CONSTRAINT": str(constraints),
        "HOME": str(home),
        "TMPDIR": str(temporary),
        "PATH": os.pathsep.join(search),
        "LANG": "C.UTF-8",
        "COLUMNS": "80",
        "PIP_CACHE_DIR": str(Path.home() / ".cache" / "pip"),
    }


def known_versions() -> str:
    """The versions that the development environment has, as constraints: what a test finds is not for the index to say
    on the day it runs.
    """
    return "\n".join(_PINNED.findall((CHECKOUT / "tests/tools/requirements-dev.txt").read_text("utf-8"))) + "\n"


class Distribution:
    """The wheel and the sdist, built from this checkout once in a run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        builder = tool("wheel-builder", BUILDER)
        self._python = builder / "python"
        self._build(CHECKOUT, "wheel", "sdist")
        [self.wheel] = folder.glob("*.whl")
        [self.sdist] = folder.glob("*.tar.gz")

    def _build(self, sources: Path, *targets: str) -> None:
        options = [option for target in targets for option in ("-t", target)]
        command = [str(self._python), "-m", "hatchling", "build", *options, "-d", str(self.folder)]
        done = run_quietly(command, cwd=sources, timeout_s=_TIMEOUT_S)
        assert done.returncode == 0, done.stderr

    def wheel_of(self, sources: Path, folder: Path) -> Path:
        """The wheel of other sources, such as the unpacked sdist."""
        command = [str(self._python), "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
        done = run_quietly(command, cwd=sources, timeout_s=_TIMEOUT_S)
        assert done.returncode == 0, done.stderr
        [built] = folder.glob("*.whl")
        return built


def environment(folder: Path, *requirements: str) -> Path:
    """A new virtual environment with these requirements and no other packages; its folder of commands."""
    uv = str(tool("uv", UV) / "uv")
    from_the_index([uv, "venv", "--quiet", "--python", str(Path(sys.executable).resolve()), str(folder)])
    constraints = folder / "constraints.txt"
    constraints.write_text(known_versions(), "utf-8")
    install = [uv, "pip", "install", "--quiet", "--constraint", str(constraints)]
    from_the_index([*install, "--python", str(folder / "bin" / "python"), *requirements])
    return folder / "bin"


def from_the_index(command: list[str], folder: Path | None = None, variables: dict[str, str] | None = None) -> str:
    """Run what needs the index; what it printed."""
    shown = f"`{Path(command[0]).name} {' '.join(command[1:3])} …`"
    try:
        done = run_quietly(command, cwd=folder, env=variables, timeout_s=_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        unavailable(f"{shown} did not end within {_TIMEOUT_S} s")
        raise
    if done.returncode:
        reason = (done.stderr.strip() or "it said nothing").splitlines()[-1]
        unavailable(f"{shown} failed: {reason}")
    return done.stdout
