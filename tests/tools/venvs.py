"""Private virtual environments of the checkout, beside its own ``.venv``: one for each set of pinned packages.

Used for Kafka clients of other versions than the one Binwire is developed with, and for tools that come as wheels. An
environment is made once for its list of requirements and kept until the list changes.
"""

from __future__ import annotations

import os
import shutil
import sys
from types import MappingProxyType
from typing import TYPE_CHECKING

from tests.tools.workplace import VENVS_DIRECTORY, ToolError, exclusive, run_quietly, say

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_PIP_TIMEOUT_S = 900


def ensure(name: str, requirements: Sequence[str], build: Mapping[str, str] = MappingProxyType({})) -> Path:
    """The folder of the environment ``name``, holding ``requirements`` (``package==version``) and what they need.

    ``build`` are environment variables for a package that comes as source and is compiled against something of ours.
    """
    target = VENVS_DIRECTORY / name
    stamp = "\n".join([sys.version, *requirements, *(f"{key}={value}" for key, value in build.items())])
    mark = target / ".stamp"
    with exclusive(target):
        if mark.is_file() and mark.read_text(encoding="utf-8") == stamp:
            return target
        say(f"{name}: installing {' '.join(requirements)} into .venvs/{name}")
        # An environment knows its own path, so it is made in place; the stamp, written last, says that it is whole.
        shutil.rmtree(target, ignore_errors=True)
        _run([sys.executable, "-m", "venv", str(target)])
        # What pip keeps of a build does not remember against what it was built.
        options = ("--no-cache-dir",) if build else ()
        _run([str(target / "bin" / "python"), "-m", "pip", "install", "--quiet", *options, *requirements], build)
        mark.write_text(stamp, encoding="utf-8")
    return target


def _run(command: list[str], more: Mapping[str, str] = MappingProxyType({})) -> None:
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")} | dict(more)
    done = run_quietly(command, env=environment, timeout_s=_PIP_TIMEOUT_S)
    if done.returncode:
        detail = (done.stderr.strip() or done.stdout.strip() or "no output").splitlines()[-1]
        raise ToolError(f"`{' '.join(command[1:4])} …` failed with status {done.returncode}: {detail}")
