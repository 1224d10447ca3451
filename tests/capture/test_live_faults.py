"""A channel on a network that breaks: cut anywhere, half-open, slow, refused; exactly once all the same."""

from __future__ import annotations

import asyncio
import gc
import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from capture.channel import State
from capture.mysql_source import MysqlSource
from capture.source import SourceAddress
from storage.clock import SystemClock
from tests.capture.fault_proxy import FaultProxy, Way
from tests.capture.test_live_capture import as_read, caught_up, independent_reading, run
from tests.capture.world import WAIT_S, World, running
from tests.tools.server_builds import CORE_KINDS
from tests.torture.cuts import HastyScheduler, cut_again_and_again

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from capture.channel import Channel
    from tests.live_server import LiveServer

CLOCK = SystemClock()


async def test_a_connection_may_be_cut_at_any_byte(server: LiveServer, tmp_path: Path) -> None:
    await cut_again_and_again(server, tmp_path, cuts=12, seed=5)


@pytest.fixture
async def proxy(server: LiveServer) -> AsyncIterator[FaultProxy]:
    made = FaultProxy(server.host, server.port)
    await made.accept()
    yield made
    await made.close()


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path, CLOCK)
    yield made
    await made.close()


def through(proxy: FaultProxy, server: LiveServer, world: World, database: str) -> Channel:
    """A channel behind the proxy whose heartbeats and back-off take a hundredth of the time."""
    address = SourceAddress.parse(server.url().replace(str(server.port), str(proxy.port)))
    scheduler = HastyScheduler()

    def made() -> MysqlSource:
        return MysqlSource(address, 4711, CLOCK, identity="faults", heartbeat_period_ms=200)

    return world.channel(made, database, start="now", scheduler=scheduler)


async def test_a_half_open_socket_is_noticed_and_left(proxy: FaultProxy, server: LiveServer, world: World) -> None:
    database = server.fresh_database()
    await run(server, f"CREATE TABLE {database}.t (id INT PRIMARY KEY)")
    channel = through(proxy, server, world, database)
    reasons: list[str] = []
    channel.subscribe(lambda: reasons.append(channel.status().reason or ""))
    async with running(channel):
        await run(server, f"INSERT INTO {database}.t VALUES (1)")
        await caught_up(world, server, channel)
        proxy.break_all(Way.STALL)
        await run(server, f"INSERT INTO {database}.t VALUES (2)")
        await caught_up(world, server, channel)
    assert any("three heartbeats" in reason for reason in reasons)
    assert world.operations() == ["BEGIN", "INSERT", "COMMIT"] * 2


async def test_a_port_that_refuses_is_tried_until_it_opens(proxy: FaultProxy, server: LiveServer, world: World) -> None:
    database = server.fresh_database()
    await run(server, f"CREATE TABLE {database}.t (id INT PRIMARY KEY)")
    channel = through(proxy, server, world, database)
    async with running(channel):
        proxy.refuse()
        proxy.break_all(Way.RESET)
        async with asyncio.timeout(WAIT_S):
            status = await channel.wait_for(State.ERROR)
        assert status.retried_until_ms is not None
        await run(server, f"INSERT INTO {database}.t VALUES (1)")
        await proxy.accept()
        await caught_up(world, server, channel)
    assert world.operations() == ["BEGIN", "INSERT", "COMMIT"]


async def test_reconnecting_leaves_no_socket_and_no_task(proxy: FaultProxy, server: LiveServer, world: World) -> None:
    database = server.fresh_database()
    channel = through(proxy, server, world, database)
    rounds = int(os.environ.get("BINWIRE_RECONNECTS", "15"))

    def in_use() -> tuple[int, int]:
        gc.collect()
        return len(list(Path("/proc/self/fd").iterdir())), len(asyncio.all_tasks())

    async with running(channel):
        first = None
        for number in range(rounds):
            proxy.break_all(Way.RESET if number % 2 else Way.CLOSE)
            async with asyncio.timeout(WAIT_S):
                await channel.wait_for(State.ERROR)
                await channel.wait_for(State.NORMAL)
            if number == 4:
                first = in_use()
        assert channel.status().reconnects == rounds
        last = in_use()
    assert first is not None
    assert last[0] <= first[0] + 4
    assert last[1] <= first[1] + 4


@pytest.mark.parametrize("kind", [pytest.param(kind, marks=pytest.mark.server(kind)) for kind in CORE_KINDS])
async def test_a_server_that_is_killed_is_followed_into_its_next_file(
    kind: str, server_factory: Callable[..., LiveServer], world: World
) -> None:
    """Its file ends without a ROTATE, perhaps inside a transaction; while it streams, and before it is read."""
    server = await asyncio.to_thread(server_factory, kind)
    database = server.fresh_database()
    await run(server, f"CREATE TABLE {database}.t (id INT PRIMARY KEY)")
    file, position = server.binlog_position()
    address = SourceAddress.parse(server.url())

    def channel_of() -> Channel:
        made = partial(MysqlSource, address, 4711, CLOCK, identity="killed")
        return world.channel(made, database, start=f"{file}:{position}", scheduler=HastyScheduler())

    async with running(channel_of()) as channel:
        for number in range(3):
            await run(server, f"INSERT INTO {database}.t VALUES ({number})")
            await asyncio.to_thread(server.kill)
            await asyncio.to_thread(server.start)
        await caught_up(world, server, channel)
    await run(server, f"INSERT INTO {database}.t VALUES (10)")
    await asyncio.to_thread(server.kill)
    await asyncio.to_thread(server.start)
    await run(server, f"INSERT INTO {database}.t VALUES (11)")
    async with running(channel_of()) as channel:
        await caught_up(world, server, channel)
        assert channel.status().state is State.NORMAL
    reading = await asyncio.to_thread(independent_reading, server, database, file, position)
    assert as_read(world.records()) == reading
    assert len(reading) == 10
