"""A real server's binlog files against a live capture of the same server: the same records."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from capture.source import SourceAddress, open_source
from storage.clock import SystemClock
from tests.capture.world import WAIT_S, World, running, until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.live_server import LiveServer

CLOCK = SystemClock()
VOLATILE_TAGS = ("readerThroughoutTime",)


def workload(database: str) -> list[str]:
    return [
        (
            f"CREATE TABLE {database}.t (id INT PRIMARY KEY, a VARCHAR(20), d DATETIME(3), n DECIMAL(8,2), b BLOB,"
            " e ENUM('x','y'), s SET('p','q'), f DOUBLE) CHARACTER SET utf8mb4"
        ),
        (
            f"INSERT INTO {database}.t VALUES (1, '茶', '2024-02-29 12:00:00.123', -1.5, x'00ff', 'y', 'p,q', 0.1),"
            " (2, NULL, NULL, NULL, NULL, NULL, NULL, NULL)"
        ),
        f"UPDATE {database}.t SET a = 'b'",
        f"ALTER TABLE {database}.t ADD COLUMN k BIGINT UNSIGNED NOT NULL DEFAULT 18446744073709551615",
        "FLUSH LOGS",
        f"INSERT INTO {database}.t (id) VALUES (3)",
        f"CREATE TABLE {database}.untracked (id INT)",
        f"DELETE FROM {database}.t WHERE id = 1",
        f"RENAME TABLE {database}.t TO {database}.u",
        f"INSERT INTO {database}.u (id) VALUES (4)",
    ]


def comparable(world: World) -> list[dict[str, Any]]:
    """Records without what no two readings have in common: ids, because of heartbeats, and when they were read."""
    return [
        {
            **{name: value for name, value in record.fields.items() if name not in ("id", "tags")},
            "tags": {name: value for name, value in record.tags.items() if name not in VOLATILE_TAGS},
        }
        for record in world.records()
    ]


async def run(server: LiveServer, statements: list[str]) -> None:
    for sql in statements:
        await asyncio.to_thread(server.execute, sql)


async def reached(world: World, server: LiveServer) -> None:
    file, position = await asyncio.to_thread(server.binlog_position)
    end = int(file.rpartition(".")[2]), position
    await until(world, lambda: _recovered(world) >= end)


def _recovered(world: World) -> tuple[int, int]:
    found = world.log.recovered
    return (0, 0) if found is None else (found.file_number, found.position)


async def test_files_give_the_records_of_a_live_capture(server: LiveServer, tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("live", "index", "followed")]
    for folder in folders:
        folder.mkdir()
    worlds = [World(folder, CLOCK) for folder in folders]
    live, index, followed = worlds
    database = server.fresh_database()
    start = "{}:{}".format(*server.binlog_position())
    binlogs = server.binlog_path(".")
    (index_file,) = [path for path in binlogs.glob("*.index") if "relay" not in path.name]

    def channel(world: World, url: str) -> Any:
        return world.channel(lambda: open_source(SourceAddress.parse(url), 4720, CLOCK), database, url=url, start=start)

    statements = workload(database)
    following = channel(followed, f"file://{index_file}?follow=true")
    async with running(channel(live, server.url())):
        await run(server, statements[:3])
        async with running(following):
            await reached(followed, server)
            await run(server, statements[3:])
            await reached(live, server)
            await reached(followed, server)
    async with running(channel(index, f"file://{index_file}")) as ended, asyncio.timeout(WAIT_S):
        assert (await ended.wait_ended()).ended
    wanted = comparable(live)
    assert [record["operation"] for record in wanted].count("INSERT") == 4
    assert comparable(index) == wanted
    assert comparable(followed) == wanted
    for world in worlds:
        await world.close()


@pytest.mark.parametrize("start", ["earliest", "now", "time", "set", "before"])
async def test_a_start_in_files_is_that_of_the_server(start: str, mysql97: LiveServer, tmp_path: Path) -> None:
    """The same position and GTID set, whichever way it is asked for."""
    from capture.start import resolve_start

    database = mysql97.fresh_database()
    mysql97.execute("FLUSH LOGS")
    await run(mysql97, workload(database)[:4])
    executed = str(mysql97.execute("SELECT @@GLOBAL.gtid_executed")[0][0]).replace("\n", "")
    file, position = mysql97.binlog_position()
    asked = {
        "time": str(int(mysql97.execute("SELECT UNIX_TIMESTAMP()")[0][0])),
        "set": executed,
        "before": f"{file}:{position}",
    }.get(start, start)
    found = []
    for url in (mysql97.url(), f"file://{mysql97.binlog_path('.')}"):
        source = open_source(SourceAddress.parse(url), 4721, CLOCK)
        try:
            async with asyncio.timeout(WAIT_S):
                point = await resolve_start(source, await source.connect(), asked)
        finally:
            await source.close()
        found.append((point.position, str(point.gtid_set)))
    assert found[0] == found[1]
