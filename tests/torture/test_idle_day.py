"""A day on which nothing is written at the source: hours of heartbeats, and nothing that grows.

Time is simulated, everything else is real: session, log, retention, catalog. What an idle channel may cost over a day
is one record a second, a segment an hour, and no more memory, timers, tasks or files at its end than at its beginning.
"""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
from pathlib import Path
from typing import Final

import pytest

from storage.config import HOUR_MS, LogConfig
from tests.capture.test_channel import TIME, Shop
from tests.capture.world import FILE, FedSource, World, running, settle, until
from tests.fakes import ManualClock, ManualScheduler

_HEARTBEAT_PERIOD_MS: Final = 5_000
_STEPS_PER_HOUR: Final = HOUR_MS // _HEARTBEAT_PERIOD_MS
_STEPS_PER_LOOK: Final = 60_000 // _HEARTBEAT_PERIOD_MS
_GROWTH_BYTES: Final = 256 << 10
"""What the allocator's own books and caches that fill once may add within hours."""


@pytest.mark.parametrize(
    ("retention_hours", "hours"),
    [(1, 4), pytest.param(24, 50, marks=[pytest.mark.torture, pytest.mark.timeout(3600)])],
)
async def test_an_idle_day_costs_its_records_and_nothing_that_grows(
    retention_hours: int, hours: int, tmp_path: Path
) -> None:
    clock = ManualClock(now_ms=TIME * 1000)
    scheduler = ManualScheduler(clock)
    live = FedSource(paced_heartbeats=True, heartbeat_period_ms=_HEARTBEAT_PERIOD_MS)
    world = World(tmp_path, clock, LogConfig(retention_ms=retention_hours * HOUR_MS))
    shop = Shop(live)
    shop.say("CREATE DATABASE shop")
    async with running(world.channel(lambda: live, "shop", scheduler=scheduler)) as channel:
        await until(world, lambda: world.log.high_watermark > 0)
        seen: list[dict[str, int]] = []
        tracemalloc.start()
        try:
            for _ in range(hours):
                await _idle_hour(world, live, scheduler)
                seen.append(_costs(tmp_path, scheduler))
        finally:
            tracemalloc.stop()
        assert not channel.status().behind
    # A record a second; the hour's first heartbeat is the one due when it begins.
    assert abs(world.log.high_watermark - hours * 3600) <= 2
    records = world.records(heartbeats=True)
    assert [record.offset for record in records] == list(range(world.log.log_start_offset, world.log.high_watermark))
    kept_hours = len(records) / 3600
    assert retention_hours <= kept_hours <= retention_hours + 2, "kept is what retention says and the hour at hand"
    # From where retention deletes as much as comes.
    settled = seen[retention_hours + 1 :]
    for name in ("tasks", "timers", "descriptors", "segments"):
        assert max(cost[name] for cost in settled) <= settled[0][name] + 1, name
    assert settled[-1]["bytes"] - settled[0]["bytes"] < _GROWTH_BYTES
    await world.close()


async def _idle_hour(world: World, live: FedSource, scheduler: ManualScheduler) -> None:
    """The server says every few seconds that it lives; upkeep looks at the log every minute."""
    for step in range(_STEPS_PER_HOUR):
        live.feed(live.encoder.heartbeat(FILE))
        live.events.pop()  # it is no part of the binlog
        await settle(10)
        scheduler.advance(_HEARTBEAT_PERIOD_MS)
        if step % _STEPS_PER_LOOK == 0:
            world.log.flush()
            world.log.delete(world.log.retire())
    await settle()


def _costs(folder: Path, scheduler: ManualScheduler) -> dict[str, int]:
    gc.collect()
    return {
        "tasks": len(asyncio.all_tasks()),
        "timers": scheduler.pending,
        "descriptors": len(list(Path("/proc/self/fd").iterdir())),
        "segments": len(list(folder.glob("topic-0/*.log"))),
        "bytes": tracemalloc.get_traced_memory()[0],
    }
