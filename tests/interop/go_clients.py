"""Go clients: one module per library, built by the Go of the machine into ``.clients/``.

What is pinned is in the modules' ``go.mod`` and ``go.sum`` (or in files of another name, which is also a build tag, for
another release behind the same source). Modules come from the proxy that Go is configured for and lie in the user's
ordinary module cache. A program is built again when a source, a pinned version or the Go changes.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from pathlib import Path

from tests.tools.workplace import CLIENTS_DIRECTORY, NotPublishedError, ToolError, installed_once, run_quietly, say

_GO = Path(__file__).parent / "go"
_BUILD_TIMEOUT_S = 900
_NOT_PUBLISHED = re.compile(r"unknown revision|404 Not Found|no matching versions|module not found")
# No version control stamp (a source archive has none), no other toolchain downloaded, nothing of C, no workspace.
_ENVIRONMENT = {"GOFLAGS": "-buildvcs=false -trimpath", "GOTOOLCHAIN": "local", "CGO_ENABLED": "0", "GOWORK": "off"}


def command(name: str, module: str, *arguments: str, pinned_by: str = "go.mod") -> tuple[str, ...]:
    """The command of the program of ``go/<module>``, built as ``.clients/<name>``; ToolError when it cannot be had."""
    return (str(program(name, _GO / module, _GO / "scenarios", pinned_by=pinned_by)), *arguments)


def built(name: str, folder: Path, module: Path) -> tuple[str, ...]:
    """The command of the program in ``folder``, with the pinned modules of ``go/<module>``; raises ToolError."""
    go = shutil.which("go")
    if go is None:
        raise ToolError(f"go is not on the PATH: install Go (https://go.dev/dl) to run {name}")
    for file in ("go.mod", "go.sum"):
        shutil.copy(_GO / module / file, folder)
    _run([go, "build", "-o", name, "."], folder)
    return (str(folder / name),)


def program(name: str, module: Path, *beside: Path, pinned_by: str = "go.mod") -> Path:
    """The program of a module, which may need modules ``beside`` it, built as ``.clients/<name>``; raises ToolError."""
    go = shutil.which("go")
    if go is None:
        raise ToolError(f"go is not on the PATH: install Go (https://go.dev/dl) to run {name}")
    target = CLIENTS_DIRECTORY / name
    digest = hashlib.sha256(_run([go, "version"], module).encode())
    for source in sorted(path for folder in (*beside, module) for path in folder.iterdir()):
        digest.update(source.read_bytes())
    installed_once(target, digest.hexdigest(), lambda fresh: _build(fresh / "scenarios", go, name, module, pinned_by))
    return target / "scenarios"


def _build(path: Path, go: str, name: str, module: Path, pinned_by: str) -> None:
    say(f"{name}: building with Go")
    _run([go, "build", f"-modfile={pinned_by}", f"-tags={Path(pinned_by).stem}", "-o", str(path), "."], module)


def _run(command: list[str], folder: Path) -> str:
    done = run_quietly(command, cwd=folder, env={**os.environ, **_ENVIRONMENT}, timeout_s=_BUILD_TIMEOUT_S)
    if not done.returncode:
        return done.stdout
    trouble = (done.stderr.strip() or "no output").splitlines()[-1]
    error = NotPublishedError if _NOT_PUBLISHED.search(done.stderr) else ToolError
    raise error(f"`go {command[1]}` failed: {trouble}")
