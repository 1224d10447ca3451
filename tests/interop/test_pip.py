"""pip itself installs what was built: by `pipx run`, and by the steps of the container's recipe."""

from __future__ import annotations

import os
import subprocess

import pytest

from tests import containerfile, installed

pytestmark = pytest.mark.interop("pip")


def test_it_runs_by_pipx(distribution, tmp_path):
    pipx = installed.tool("pipx", installed.PIPX) / "pipx"
    command = [str(pipx), "run", "--spec", str(distribution.wheel), "binwire", "version"]
    variables = installed.clean_environment(tmp_path / "home")
    assert installed.from_the_index(command, tmp_path, variables).startswith("binwire 0.1.0\n")


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
        installed.from_the_index(["sh", "-c", step], tmp_path, environment)
    shown = subprocess.run([target / "bin" / "binwire", "version"], capture_output=True, text=True, check=True).stdout
    assert shown.startswith("binwire 0.1.0\naccelerator: active")
