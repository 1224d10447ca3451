"""Hundreds of cut connections on each kind of server, seeded: nothing missing, doubled or reordered."""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING

import pytest

from tests.torture.cuts import cut_again_and_again

if TYPE_CHECKING:
    from pathlib import Path

    from tests.live_server import LiveServer

_CUTS = 300


@pytest.mark.torture
@pytest.mark.timeout(3600)
async def test_many_cuts(server: LiveServer, tmp_path: Path) -> None:
    seed = int(os.environ.get("BINWIRE_SEED", random.SystemRandom().randrange(1 << 32)))
    cuts = int(os.environ.get("BINWIRE_CUTS", _CUTS))
    print(f"BINWIRE_SEED={seed}: {cuts} cuts")
    await cut_again_and_again(server, tmp_path, cuts, seed)
