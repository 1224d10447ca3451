"""The optional accelerator, compiled where a C compiler and Python's headers are at hand; nothing is missed where not.

Owns which C sources become which modules, and the command. Hatchling runs the hook for wheels and editable installs;
the modules are made beside their sources, and a wheel that has them is for this Python and platform only. What cannot
be compiled leaves a pure Python installation that makes the same bytes, more slowly. `make setup` runs this file to
say so. Whether they are used is asked when Binwire runs (`storage/compiled.py`).

A module knows the checksum of its sources, so that one that is out of date is compiled anew, told by a test, and never
used.
"""

from __future__ import annotations

import importlib.machinery
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import zlib
from pathlib import Path
from typing import Any, NamedTuple

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ROOT = Path(__file__).resolve().parent
FLAGS = ("-O2", "-std=c11", "-shared", "-fPIC", "-Wall", "-Wextra", "-Wno-missing-field-initializers")
_SUFFIX = importlib.machinery.EXTENSION_SUFFIXES[0]


class Module(NamedTuple):
    """A compiled module: its dotted name, its C source and what that includes."""

    name: str
    sources: tuple[str, ...]

    @property
    def path(self) -> Path:
        return ROOT / (self.name.replace(".", "/") + _SUFFIX)

    @property
    def mark(self) -> str:
        """What a module that is made from the sources as they are has in it."""
        crc = 0
        for source in self.sources:
            crc = zlib.crc32((ROOT / source).read_bytes(), crc)
        return f"binwire sources {crc:08x}"

    def is_current(self) -> bool:
        """Whether it is there, and made from the sources as they are."""
        return self.path.exists() and self.mark.encode() in self.path.read_bytes()


MODULES = (
    Module("capture._rows", ("capture/_rows.c", "storage/_zigzag.h")),
    Module("storage._framing", ("storage/_framing.c", "storage/_zigzag.h")),
    Module("broker.search._scan", ("broker/search/_scan.c", "storage/_zigzag.h")),
)


class NotCompiledError(Exception):
    """A compiler is here and did not do it, or its folder takes no files; the text is a sentence."""


def _compiler() -> list[str] | None:
    """The command of a C compiler, None where it, the headers or the platform are not there."""
    if not sys.platform.startswith("linux"):
        return None
    if not (Path(sysconfig.get_path("include")) / "Python.h").is_file():
        return None
    for command in (os.environ.get("CC"), "cc", "gcc", "clang"):
        words = shlex.split(command or "")
        if words and shutil.which(words[0]):
            return words
    return None


def compile_modules(flags: tuple[str, ...] = FLAGS) -> bool:
    """Compile what is not up to date; whether all modules are there. Raises NotCompiledError."""
    compiler = _compiler()
    for module in MODULES:
        if module.is_current():
            continue
        try:
            module.path.unlink(missing_ok=True)
            if compiler is not None:
                _compile(module, [*compiler, *flags])
        except OSError as error:
            raise NotCompiledError(
                f"the accelerator was not compiled, pure Python does its work: {error.strerror} ({error.filename})"
            ) from error
    return all(module.is_current() for module in MODULES)


def _compile(module: Module, command: list[str]) -> None:
    include = sysconfig.get_path("include")
    with tempfile.TemporaryDirectory(dir=module.path.parent, prefix=".compiling-") as folder:
        made = Path(folder) / module.path.name
        define = f'-DBINWIRE_SOURCES="{module.mark}"'
        done = subprocess.run(  # noqa: S603  the compiler that this Python or CC names
            [*command, define, f"-I{include}", str(ROOT / module.sources[0]), "-o", str(made)],
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        if done.returncode:
            first = next((line for line in done.stderr.splitlines() if "error" in line), f"status {done.returncode}")
            raise NotCompiledError(
                f"the accelerator was not compiled, pure Python does its work: {command[0]} said “{first.strip()}”"
            )
        made.replace(module.path)


class AcceleratorHook(BuildHookInterface):  # type: ignore[type-arg]
    """Makes the modules before files are collected, and the wheel one of this platform if they are there."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        try:
            compiled = compile_modules()
        except NotCompiledError as error:
            self.app.display_warning(str(error))
            compiled = False
        if compiled and version == "standard":
            build_data["pure_python"] = False
            build_data["infer_tag"] = True


def main() -> int:
    """Compile in place. What cannot be had is no failure."""
    try:
        compile_modules()
    except NotCompiledError as error:
        print(f"[setup] {error}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
