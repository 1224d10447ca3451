"""The compiled modules, which are optional: where they are wanted and there, and which way is taken.

Each has a pure Python twin that makes the same bytes and that everything else is judged by. `BINWIRE_ACCELERATOR=off`
in the environment has the twins do the work. How the modules are built is the business of `hatch_build.py`.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from types import ModuleType

VARIABLE: Final = "BINWIRE_ACCELERATOR"
OFF: Final = "off"


def load(name: str) -> ModuleType | None:
    """A compiled module, None where it was not built for this Python or is not wanted."""
    if os.environ.get(VARIABLE) == OFF:
        return None
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def state(*names: str) -> str:
    """For people: whether these compiled modules are at work."""
    if os.environ.get(VARIABLE) == OFF:
        return f"off, as {VARIABLE} says"
    return "active" if all(load(name) for name in names) else "not built, pure Python does its work"
