"""What the parts that operations work on are made of, loaded ahead of them: some tens of milliseconds that a thread
takes and the loop does not.
"""

from __future__ import annotations

import importlib
from typing import Final

MODULES: Final = (
    "broker.operations.table",
    "broker.endpoints",
    "broker.group_register",
    "broker.managed",
    "broker.search.service",
    "broker.watching",
)


def load() -> None:
    """Load them. Called in a thread."""
    for name in MODULES:
        importlib.import_module(name)
