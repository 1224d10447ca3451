"""The accelerator's C sources in a folder of a test's own, so that building there changes nothing of the checkout."""

from __future__ import annotations

from pathlib import Path

import pytest

import hatch_build


def build_in(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Copy the sources, and have `hatch_build` work on the copies."""
    for module in hatch_build.MODULES:
        for source in module.sources:
            copy = folder / source
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes((hatch_build.ROOT / source).read_bytes())
    monkeypatch.setattr(hatch_build, "ROOT", folder)
