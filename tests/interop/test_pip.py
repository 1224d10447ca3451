"""pip itself installs what was built: by `pipx run`, and by the steps of the container's recipe."""

from __future__ import annotations

import os
import subprocess

import pytest

from tests import containerfile, installed
from tests.tools.workplace import run_quietly

pytestmark = pytest.mark.interop("pip")

_TIMEOUT_S = 280


def test_it_runs_by_pipx(distribution, tmp_path):
    pipx = installed.tool("pipx", installed.PIPX) / "pipx"
    command = [str(pipx), "run", "--spec", str(distribution.wheel), "binwire", "version"]
    environment = installed.clean_environment(tmp_path / "home")
    done = run_quietly(command, cwd=tmp_path, env=environment, timeout_s=_TIMEOUT_S)
    assert (done.returncode, done.stdout.splitlines()[:1]) == (0, ["binwire 0.1.0"]), done.stderr


def test_the_containers_steps_make_an_installation(distribution, tmp_path):
    """Those of the build that need no root, on the sources that the sdist has."""
    source, target = tmp_path / "source", tmp_path / "opt"
    source.mkdir()
    subprocess.run(["tar", "-xzf", distribution.sdist, "-C", source, "--strip-components=1"], check=True)
    places = {"/source": str(source), "/opt/binwire": str(target), "--no-cache-dir ": ""}
    steps = [step for step in containerfile.of("RUN") if "/opt/binwire" in step]
    assert steps
    environment = installed.clean_environment(tmp_path / "home") | {"PATH": os.environ["PATH"]}
    for step in steps:
        for place, here in places.items():
            step = step.replace(place, here)
        subprocess.run(["sh", "-c", step], env=environment, cwd=tmp_path, check=True)
    shown = subprocess.run([target / "bin" / "binwire", "version"], capture_output=True, text=True, check=True).stdout
    assert shown.startswith("binwire 0.1.0\naccelerator: active")
