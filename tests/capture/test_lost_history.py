"""A channel whose catalog was lost or is too old: definitions read anew where the log ends, proven, or refused."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from capture.channel import State
from storage.clock import SystemClock
from tests.capture.test_live_capture import caught_up, live, run
from tests.capture.world import WAIT_S, World, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from tests.live_server import LiveServer


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path, SystemClock())
    yield made
    await made.close()


@pytest.fixture(params=["mysql97", "mariadb1011"])
async def server(request: pytest.FixtureRequest, server_factory: Callable[..., LiveServer]) -> LiveServer:
    return await asyncio.to_thread(server_factory, request.param)


def column_names(world: World) -> list[list[str]]:
    return [
        [field["name"] for field in record.fields["fields"]] for record in world.records() if record.fields["fields"]
    ]


async def captured(world: World, server: LiveServer, database: str) -> None:
    """One row, with the second definition of its table."""
    await run(server, f"CREATE TABLE {database}.t (id INT PRIMARY KEY, note TEXT)")
    await capture(world, server, database, "CHANGE note remark TEXT", "(1, 'one')")


async def capture(world: World, server: LiveServer, database: str, change: str, row: str) -> None:
    """A change of the table, and a row behind it."""
    channel = live(world, server, database)
    async with running(channel):
        await run(server, f"ALTER TABLE {database}.t {change}", f"INSERT INTO {database}.t VALUES {row}")
        await caught_up(world, server, channel)


async def test_definitions_are_read_anew_where_the_log_ends(world: World, server: LiveServer) -> None:
    database = server.fresh_database()
    await captured(world, server, database)
    world.catalog.drop_schema_versions_after("c", 0, 0)
    world.catalog.lose_definitions("c")
    await run(server, f"INSERT INTO {database}.t VALUES (2, 'two')")
    await capture(world, server, database, "CHANGE remark last TEXT", "(3, 'three')")
    assert column_names(world) == [["id", "remark"], ["id", "remark"], ["id", "last"]]
    assert not world.catalog.has_lost_definitions("c")
    async with running(live(world, server, database)):
        pass


async def test_definitions_that_changed_behind_the_log_are_refused(world: World, server: LiveServer) -> None:
    """Without the mark the rows between would be named by the definition of now, or stop the channel if it is lucky."""
    database = server.fresh_database()
    await captured(world, server, database)
    world.catalog.lose_definitions("c")
    await run(
        server,
        f"INSERT INTO {database}.t VALUES (2, 'two')",
        f"ALTER TABLE {database}.t CHANGE remark last TEXT",
    )
    channel = live(world, server, database)
    await channel.start()
    async with asyncio.timeout(WAIT_S):
        status = await channel.wait_ended()
    assert status.state is State.ERROR
    assert status.reason is not None
    assert status.reason.startswith("the catalog was lost, and the definitions that tables had at")
    assert f"{database}.t; start a new channel" in status.reason
    assert world.catalog.has_lost_definitions("c")
    assert column_names(world) == [["id", "remark"]]
