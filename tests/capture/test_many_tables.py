"""Many tables: each costs one query of a snapshot and its text on disk, and nothing until it is touched."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from capture.source import SourceAddress, open_source
from storage.clock import SystemClock
from tests.capture.test_live_capture import caught_up, run
from tests.capture.world import World, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from capture.channel import Channel
    from tests.live_server import LiveServer

TABLES = 300
COMMENT = "x" * 1000
"""Of each table, so that a text in memory shows."""


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path, SystemClock())
    yield made
    await made.close()


def watched(world: World, server: LiveServer, queries: list[str], *objects: str) -> Channel:
    """A channel whose queries are written down."""

    def factory() -> Any:
        source: Any = open_source(SourceAddress.parse(server.url()), 4711, SystemClock(), identity="many")
        ask = source.query

        async def query(sql: str) -> Any:
            queries.append(sql)
            return await ask(sql)

        source.query = query
        return source

    return world.channel(factory, *objects, url=server.url(), start="now")


async def test_tables_that_nobody_touches(world: World, mysql97: LiveServer, monkeypatch: pytest.MonkeyPatch) -> None:
    database = mysql97.fresh_database()
    names = [f"{database}.t{number}" for number in range(TABLES)]
    await run(mysql97, *(f"CREATE TABLE {name} (id INT) COMMENT '{COMMENT}'" for name in names))
    loaded: list[int] = []
    load = world.catalog.schema_definitions

    def count(sequences: Any) -> dict[int, str]:
        found = load(sequences)
        loaded.extend(found)
        return found

    monkeypatch.setattr(world.catalog, "schema_definitions", count)

    queries: list[str] = []
    async with running(watched(world, mysql97, queries, database)) as channel:
        first = list(queries)
        await run(mysql97, f"INSERT INTO {names[1]} VALUES (1)", f"INSERT INTO {names[1]} VALUES (2)")
        await caught_up(world, mysql97, channel)
        assert texts_in_memory(channel) <= 1
    assert sum("SHOW CREATE TABLE" in sql for sql in first) == TABLES
    assert len(first) < TABLES + 50, "one query for each table, and a few for all"
    assert len(loaded) == 1, "the one table that has rows, once"

    queries.clear()
    async with running(watched(world, mysql97, queries, database)) as channel:
        assert not any("SHOW CREATE" in sql for sql in queries), "definitions are in the catalog"
        assert len(loaded) == 1
        await run(mysql97, f"ALTER TABLE {names[2]} ADD x INT", f"INSERT INTO {names[2]} VALUES (1, 2)")
        await run(mysql97, f"DROP TABLE {names[3]}, {names[4]}", f"TRUNCATE TABLE {names[5]}")
        await caught_up(world, mysql97, channel)
        assert len(loaded) == 2, "what is dropped or emptied is not read"
        assert texts_in_memory(channel) <= 1
    assert [len(record.fields["fields"]) for record in world.records() if record.operation == "INSERT"] == [1, 1, 2]


def texts_in_memory(channel: Channel) -> int:
    """How many definitions the running session holds as texts."""
    session = channel._session
    assert session is not None
    entries = [entries[-1] for entries in session._history._tables.values()]
    return sum(entry._text is not None for entry in entries)


async def test_texts_are_stored_once(world: World, mysql97: LiveServer) -> None:
    database = mysql97.fresh_database()
    await run(mysql97, *(f"CREATE TABLE {database}.t{number} (id INT) COMMENT '{COMMENT}'" for number in range(10)))
    async with running(watched(world, mysql97, [], database)):
        pass
    rows = await asyncio.to_thread(world.catalog.schema_versions, "c")
    stored = sum(len(row.definition or "") + len(row.ddl or "") for row in rows)
    assert 10 * len(COMMENT) < stored < 20 * len(COMMENT)
