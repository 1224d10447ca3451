"""The instructions of `deploy/Containerfile`, for tests that run what is in them without a container."""

from __future__ import annotations

import re

from tests.tools.workplace import CHECKOUT


def instructions() -> list[tuple[str, str]]:
    """Each with its arguments."""
    text = re.sub(r"\\\n\s*", "", (CHECKOUT / "deploy" / "Containerfile").read_text("utf-8"))
    lines = [line.split(maxsplit=1) for line in text.splitlines() if line and not line.startswith("#")]
    return [(name, argument) for name, argument in lines]


def of(name: str) -> list[str]:
    """The arguments of all instructions of this name."""
    return [argument for each, argument in instructions() if each == name]
