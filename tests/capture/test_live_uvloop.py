"""Live capture on uvloop, on which servers run: the same transactions, read the same as on asyncio's own loop."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import uvloop

from tests.capture import test_live_capture
from tests.capture.world import World

if TYPE_CHECKING:
    from pathlib import Path

    from tests.live_server import LiveServer


def test_records_are_those_of_the_binlog(tmp_path: Path, server: LiveServer) -> None:
    async def scenario() -> None:
        world = World(tmp_path, test_live_capture.CLOCK)
        try:
            await test_live_capture.test_records_are_those_of_the_binlog(world, server)
        finally:
            await world.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(scenario())
