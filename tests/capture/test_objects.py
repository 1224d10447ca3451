"""Objects that are changed: from where the log ends on, with proven definitions, across kills, or refused."""

from __future__ import annotations

import asyncio
import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from capture.channel import State
from capture.grants import grant_place
from capture.objects import objects_in_force
from storage.clock import SystemClock
from tests.capture.test_live_capture import caught_up, live, rows_of, run
from tests.capture.world import WAIT_S, World, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from capture.channel import Channel
    from tests.live_server import LiveServer


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path, SystemClock())
    yield made
    await made.close()


def captured(world: World) -> list[tuple[str, int, list[str]]]:
    """(table, first value, column names) of each row."""
    return [
        (
            record.fields["objectName"].split(".")[1],
            int(record.fields["afterImages"][0]["value"]),
            [field["name"] for field in record.fields["fields"]],
        )
        for record in rows_of(world.records())
    ]


def in_force(world: World) -> tuple[str, ...]:
    return objects_in_force(world.catalog.channels()[0])


def since(world: World) -> str | None:
    body = json.loads(world.catalog.channels()[0].objects)
    return body["since"] if isinstance(body, dict) else None


async def insert(world: World, server: LiveServer, channel: Channel, number: int, *tables: str) -> None:
    await run(server, *(f"INSERT INTO {table} (id) VALUES ({number})" for table in tables))
    await caught_up(world, server, channel)


async def test_tables_are_added_and_removed_by_a_restart(world: World, server: LiveServer) -> None:
    one, two = server.fresh_database(), server.fresh_database()
    tables = [f"{one}.a", f"{one}.b", f"{two}.c"]
    await run(server, *(f"CREATE TABLE {table} (id INT, x INT)" for table in tables))
    async with running(live(world, server, f"{one}.a")) as channel:
        await insert(world, server, channel, 1, *tables)
        assert since(world) is None
        await run(server, f"ALTER TABLE {one}.b ADD y INT", f"ALTER TABLE {two}.c ADD y INT")
        await insert(world, server, channel, 2, *tables)
    await run(server, *(f"INSERT INTO {table} (id) VALUES (3)" for table in tables))
    async with running(live(world, server, f"{one}.b", two)) as channel:
        assert channel.refused_objects is None
        await caught_up(world, server, channel)
        await run(server, f"ALTER TABLE {two}.c DROP x")
        await insert(world, server, channel, 4, *tables)
    assert set(in_force(world)) == {f"{one}.b", two}
    assert since(world) is not None
    assert captured(world) == [
        ("a", 1, ["id", "x"]),
        ("a", 2, ["id", "x"]),
        ("b", 3, ["id", "x", "y"]),
        ("c", 3, ["id", "x", "y"]),
        ("b", 4, ["id", "x", "y"]),
        ("c", 4, ["id", "y"]),
    ]


async def test_objects_change_while_a_channel_runs(world: World, server: LiveServer) -> None:
    one, two = server.fresh_database(), server.fresh_database()
    tables = [f"{one}.a", f"{two}.b"]
    await run(server, *(f"CREATE TABLE {table} (id INT)" for table in tables))
    async with running(live(world, server, one)) as channel:
        await insert(world, server, channel, 1, *tables)
        for number, objects in ((2, (two,)), (3, (one, two)), (4, (one,))):
            await channel.take_objects(objects)
            async with asyncio.timeout(WAIT_S):
                await channel.wait_for(State.NORMAL)
            await insert(world, server, channel, number, *tables)
    rows = [(table, number) for table, number, _ in captured(world)]
    assert rows == [("a", 1), ("b", 2), ("a", 3), ("b", 3), ("a", 4)]


async def test_what_left_and_comes_back_has_its_new_definition(world: World, mysql97: LiveServer) -> None:
    one, two = mysql97.fresh_database(), mysql97.fresh_database()
    await run(
        mysql97, f"CREATE TABLE {one}.a (id INT)", f"CREATE TABLE {two}.b (id INT)", f"CREATE TABLE {two}.g (g INT)"
    )
    async with running(live(world, mysql97, one, two)) as channel:
        await insert(world, mysql97, channel, 1, f"{two}.b")
    async with running(live(world, mysql97, one)) as channel:
        await run(mysql97, f"ALTER TABLE {two}.b ADD x INT", f"DROP TABLE {two}.g")
        await insert(world, mysql97, channel, 2, f"{two}.b")
        await run(mysql97, f"RENAME TABLE {two}.b TO {one}.moved, {one}.moved TO {two}.b")
        await caught_up(world, mysql97, channel)
    async with running(live(world, mysql97, one, two)) as channel:
        await insert(world, mysql97, channel, 3, f"{two}.b")
        await run(mysql97, f"CREATE TABLE IF NOT EXISTS {two}.g (id INT, other INT)")
        await insert(world, mysql97, channel, 4, f"{two}.g")
    assert captured(world) == [("b", 1, ["id"]), ("b", 3, ["id", "x"]), ("g", 4, ["id", "other"])]


async def test_a_refused_change_leaves_the_old_objects(world: World, server: LiveServer) -> None:
    one, two = server.fresh_database(), server.fresh_database()
    await run(server, f"CREATE TABLE {one}.a (id INT)", f"CREATE TABLE {two}.b (id INT)")
    async with running(live(world, server, one)) as channel:
        await insert(world, server, channel, 1, f"{one}.a")
    await run(
        server,
        f"INSERT INTO {two}.b VALUES (1)",
        f"ALTER TABLE {two}.b ADD x INT",
        f"INSERT INTO {one}.a VALUES (2)",
    )
    before = world.catalog.channels()[0]
    async with running(live(world, server, one, two)) as channel:
        await caught_up(world, server, channel)
        told = channel.refused_objects or ""
        assert told.startswith(f"the objects stay {one}: the definitions that tables had at ")
        assert f"{two}.b; start after" in told
        assert replace(world.catalog.channels()[0], start=before.start) == before
        await insert(world, server, channel, 3, f"{one}.a", f"{two}.b")
        await channel.take_objects((two, one))
        async with asyncio.timeout(WAIT_S):
            await channel.wait_for(State.NORMAL)
        assert channel.refused_objects is None, "the log ends behind the statements now"
        await insert(world, server, channel, 4, f"{two}.b")
    assert [(table, number) for table, number, _ in captured(world)] == [("a", 1), ("a", 2), ("a", 3), ("b", 4)]


async def test_what_the_account_cannot_see_is_refused_and_the_old_objects_go_on(
    world: World, server: LiveServer
) -> None:
    """Taken, the first row of it would stop the channel: nobody can read what its columns are."""
    one, two = server.fresh_database(), server.fresh_database()
    await run(server, f"CREATE TABLE {one}.a (id INT)", f"CREATE TABLE {two}.b (id INT)")
    await run(server, f"CREATE USER 'u{one[-8:]}'@'%' IDENTIFIED BY 'Some-Pass-1'")
    for what in ("REPLICATION SLAVE, REPLICATION CLIENT ON *.*", f"SELECT ON {one}.*"):
        await run(server, f"GRANT {what} TO 'u{one[-8:]}'@'%'")
    url = server.url(f"u{one[-8:]}", "Some-Pass-1")
    async with running(live(world, server, one, url=url)) as channel:
        await insert(world, server, channel, 1, f"{one}.a")
        whole = grant_place(two, None, patterns=True)
        for objects, words in (
            ((one, f"{two}.b"), f"SELECT privilege: not granted on `{two}`.`b`; GRANT SELECT ON `{two}`.`b` TO "),
            ((one, two), f"SELECT privilege: not granted on `{two}`.*; GRANT SELECT ON {whole} TO "),
            ((one, f"{one}.a", f"{two}.nix"), "SELECT privilege: not granted on "),
        ):
            await channel.take_objects(objects)
            async with asyncio.timeout(WAIT_S):
                await channel.wait_for(State.NORMAL)
            assert (channel.refused_objects or "").startswith(f"the objects stay {one}: {words}")
            assert in_force(world) == (one,)
        await insert(world, server, channel, 2, f"{one}.a", f"{two}.b")
        await run(server, f"GRANT SELECT ON {two}.* TO 'u{one[-8:]}'@'%'")
        await channel.take_objects((one, f"{two}.nix"))
        async with asyncio.timeout(WAIT_S):
            await channel.wait_for(State.NORMAL)
        assert f"objects: not found, or not visible to this account: {two}.nix; " in (channel.refused_objects or "")
        await channel.take_objects((one, f"{two}.b"))
        async with asyncio.timeout(WAIT_S):
            await channel.wait_for(State.NORMAL)
        assert channel.refused_objects is None
        await insert(world, server, channel, 3, f"{one}.a", f"{two}.b")
    assert [(table, number) for table, number, _ in captured(world)] == [("a", 1), ("a", 2), ("a", 3), ("b", 3)]


@contextmanager
def killed_at(world: World, call: str, *, after: bool) -> Iterator[None]:
    """Have a session end at a call of the catalog or the log: before anything of it happened, or all."""
    run_on_catalog, flush = world.catalog.run, world.log.flushed

    async def killing_run(function: Callable[..., Any], *arguments: Any) -> Any:
        if function.__name__ != call:
            return await run_on_catalog(function, *arguments)
        if after:
            await run_on_catalog(function, *arguments)
        raise RuntimeError("killed here")

    async def killing_flush() -> None:
        if call == "flushed":
            if after:
                await flush()
            raise RuntimeError("killed here")
        await flush()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(world.catalog, "run", killing_run)
        patch.setattr(world.log, "flushed", killing_flush)
        yield


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("call", ["drop_schema_versions_after", "schema_entries", "flushed", "change_objects"])
async def test_a_kill_at_any_point_of_the_change(
    tmp_path: Path, mysql97: LiveServer, call: str, *, after: bool
) -> None:
    one, two = mysql97.fresh_database(), mysql97.fresh_database()
    await run(mysql97, f"CREATE TABLE {one}.a (id INT)", f"CREATE TABLE {two}.b (id INT)")
    world = World(tmp_path, SystemClock())
    async with running(live(world, mysql97, one)) as channel:
        await insert(world, mysql97, channel, 1, f"{one}.a")
    await run(mysql97, f"INSERT INTO {two}.b VALUES (2)")
    with killed_at(world, call, after=after):
        channel = live(world, mysql97, one, two)
        await channel.start()
        async with asyncio.timeout(WAIT_S):
            await channel.wait_ended()
    await world.close(orderly=False)
    world = World(tmp_path, SystemClock())
    is_changed = after and call == "change_objects"
    assert in_force(world) == ((one, two) if is_changed else (one,))
    try:
        async with running(live(world, mysql97, one, two)) as channel:
            await insert(world, mysql97, channel, 3, f"{one}.a", f"{two}.b")
        assert captured(world) == [("a", 1, ["id"]), ("b", 2, ["id"]), ("a", 3, ["id"]), ("b", 3, ["id"])]
        assert in_force(world) == (one, two)
    finally:
        await world.close()
