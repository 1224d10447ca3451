"""The compiled modules, which are optional: where they are wanted and there, and which way is taken.

Each has a pure Python twin that makes the same bytes and that everything else is judged by. `BINWIRE_ACCELERATOR=off`
in the environment has the twins do the work. How the modules are built is the business of `hatch_build.py`; one that
was built from other sources than those beside it belongs to another version of Binwire, and is not used.
"""

from __future__ import annotations

import importlib
import os
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from types import ModuleType

VARIABLE: Final = "BINWIRE_ACCELERATOR"
OFF: Final = frozenset({"off", "0", "no", "false"})
_HEADER: Final = Path(__file__).with_name("_zigzag.h")
"""What all modules include."""


def load(name: str) -> ModuleType | None:
    """A compiled module, None where it was not built for this Python and these sources, or is not wanted."""
    if is_off():
        return None
    module = _imported(name)
    return None if module is None or _is_out_of_date(module) else module


def is_off() -> bool:
    """Whether the environment says that they are not wanted."""
    return os.environ.get(VARIABLE, "").lower() in OFF


def state(*names: str) -> str:
    """For people: whether these compiled modules are at work."""
    if is_off():
        return f"off, as {VARIABLE} says"
    modules = [_imported(name) for name in names]
    if None in modules:
        return "not built, pure Python does its work"
    if any(module is not None and _is_out_of_date(module) for module in modules):
        return "out of date, pure Python does its work; make setup compiles it anew"
    return "active"


def _imported(name: str) -> ModuleType | None:
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def _is_out_of_date(module: ModuleType) -> bool:
    """Whether the sources beside a module are others than it says, as after a pull without `make setup`."""
    try:
        source = Path(module.__file__ or "").with_name(module.__name__.rpartition(".")[2] + ".c").read_bytes()
        crc = zlib.crc32(_HEADER.read_bytes(), zlib.crc32(source))
    except OSError:
        return False
    return getattr(module, "SOURCES", None) != f"binwire sources {crc:08x}"
