"""zsh and fish, unpacked privately where they are not installed: completion is tested in the shells themselves."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.tools import debian
from tests.tools.debian import PackageSet
from tests.tools.workplace import CLIENTS_DIRECTORY

# fish comes alone: what it requires besides is for its pages of help.
SHELL_PACKAGES = PackageSet(
    "shells", "bookworm", ("zsh", "libpcre2-32-0", "libstdc++6", "libtinfo6"), alone=("fish", "fish-common")
)


def zsh() -> tuple[tuple[str, ...], str]:
    """The command of zsh without anybody's settings, and what a script says first. Raises ToolError."""
    installed = shutil.which("zsh")
    if installed:
        return (installed, "-f"), ""
    root = _unpacked()
    [modules] = (root / "usr" / "lib").glob("*/zsh/*")
    folders = sorted({str(path.parent) for path in (root / "usr" / "share" / "zsh" / "functions").rglob("*")})
    return (*debian.program(root, "bin/zsh"), "-f"), f"module_path=({modules}); fpath=({' '.join(folders)})\n"


def fish() -> tuple[tuple[str, ...], str]:
    """The same of fish."""
    installed = shutil.which("fish")
    if installed:
        return (installed, "--no-config"), ""
    root = _unpacked()
    functions = root / "usr" / "share" / "fish" / "functions"
    return (*debian.program(root, "usr/bin/fish"), "--no-config"), f"set -p fish_function_path {functions}\n"


def _unpacked() -> Path:
    return debian.unpack(SHELL_PACKAGES, CLIENTS_DIRECTORY / "shells")
