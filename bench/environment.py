"""What a figure was measured on: machine, versions, commit. A number without them is not a result."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

_PACKAGES = ("binwire", "asyncmy", "mysql-replication", "fastavro", "crc32c", "uvloop")
_PROGRAMS = {"java": ("java", "-version"), "go": ("go", "version")}
_ANSWER_S = 30.0
_BYTES_PER_GIB = 1 << 30


def environment() -> dict[str, Any]:
    """Machine, versions, commit and whether the tree is its, and which code rows go through, in JSON's own types."""
    commit, clean = _commit()
    return {
        "machine": _machine(),
        "versions": _versions(),
        "commit": commit,
        "clean": clean,
        "accelerator": _accelerator(),
    }


def _machine() -> dict[str, Any]:
    return {
        "cpu": _first_field(Path("/proc/cpuinfo"), "model name") or platform.processor() or platform.machine(),
        "cpu_count": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / _BYTES_PER_GIB, 1),
        "system": f"{platform.system()} {platform.release()}",
    }


def _first_field(path: Path, name: str) -> str | None:
    if not path.is_file():
        return None
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return None


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    for name, command in _PROGRAMS.items():
        if said := _said(command):
            versions[name] = said
    return versions


def _said(command: tuple[str, ...]) -> str | None:
    """The first line of what a program says of its version; None where it is not there."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=_ANSWER_S)
    except (OSError, subprocess.SubprocessError):
        return None
    return (done.stdout or done.stderr).strip().partition("\n")[0] or None


def _commit() -> tuple[str | None, bool]:
    """The checkout's commit, and whether the tree is that commit's; None outside a checkout."""
    root = Path(__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return None, True
    commit = _git(root, "rev-parse", "HEAD")
    # Results of another run change no figure.
    changed = _git(root, "status", "--porcelain", "--untracked-files=no", "--", ".", ":!bench/results")
    return commit, not changed


def _accelerator() -> str:
    from storage import compiled

    return compiled.state()


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip() or None
