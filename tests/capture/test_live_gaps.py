"""Sources that lost what was captured, or what comes next: the channel stops with the numbers, and never goes on."""

from __future__ import annotations

import asyncio
import os
import shutil
import threading
from typing import TYPE_CHECKING, Any

import pytest

from capture.channel import State
from capture.mysql_source import MysqlSource
from capture.selection import Selection
from capture.snapshot import definitions_now
from capture.source import SourceAddress
from capture.start import SCANNED_BYTES_MAX, gtid_set_at
from tests.capture.test_live_capture import CLOCK, caught_up, live, needs_action, run
from tests.capture.world import World, running

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.live_server import LiveServer

KINDS = [pytest.param(kind, marks=pytest.mark.server(kind)) for kind in ("mysql97", "mysql56", "mariadb1011")]
Factory = Any


@pytest.fixture(params=KINDS)
async def own(request: pytest.FixtureRequest, server_factory: Callable[..., LiveServer]) -> LiveServer:
    """A server of the test's own."""
    return await asyncio.to_thread(server_factory, request.param)


async def captured(folder: Path, server: LiveServer, rows: int = 2) -> str:
    """A log with some rows of the server's, and the database they are in."""
    database = server.fresh_database()
    await run(server, f"CREATE TABLE {database}.t (id INT PRIMARY KEY, v VARCHAR(2000))")
    world = World(folder, CLOCK)
    async with running(live(world, server, database)) as channel:
        for number in range(rows):
            await run(server, f"INSERT INTO {database}.t VALUES ({number}, 'x')")
        await caught_up(world, server, channel)
    await world.close()
    return database


async def refused(folder: Path, server: LiveServer, database: str) -> str:
    """Start again; why it stops. Nothing may have become visible."""
    world = World(folder, CLOCK)
    before = world.log.high_watermark
    async with running(live(world, server, database), State.ERROR) as channel:
        status = await needs_action(channel)
    assert world.log.high_watermark == before
    await world.close()
    assert status.reason is not None
    assert "start a new channel" in status.reason
    return status.reason


def next_second(server: LiveServer) -> None:
    """Binlog files tell their time in whole seconds."""
    now = server.execute("SELECT UNIX_TIMESTAMP()")
    while server.execute("SELECT UNIX_TIMESTAMP()") == now:
        """The server's clock is all there is to wait for."""


def reset(server: LiveServer) -> None:
    server.execute("RESET BINARY LOGS AND GTIDS" if server.kind == "mysql97" else "RESET MASTER")


async def test_a_binlog_that_was_reset_and_has_grown_beyond_the_position(tmp_path: Path, own: LiveServer) -> None:
    """The new file has the old one's name, and the position in it may even be a boundary."""
    database = await captured(tmp_path, own)
    await asyncio.to_thread(next_second, own)
    reset(own)
    for number in range(100, 140):
        await run(own, f"INSERT INTO {database}.t VALUES ({number}, REPEAT('x', 500))")
    reason = await refused(tmp_path, own, database)
    assert "its binlog was reset" in reason


async def test_a_reset_while_it_streams(tmp_path: Path, own: LiveServer) -> None:
    database = own.fresh_database()
    await run(own, f"CREATE TABLE {database}.t (id INT PRIMARY KEY)")
    world = World(tmp_path, CLOCK)
    async with running(live(world, own, database)) as channel:
        await run(own, f"INSERT INTO {database}.t VALUES (1)")
        await caught_up(world, own, channel)
        await asyncio.to_thread(next_second, own)
        reset(own)
        await run(own, "FLUSH BINARY LOGS" if own.kind == "mysql97" else "FLUSH LOGS")
        await run(own, f"INSERT INTO {database}.t VALUES (2)")
        try:
            status = await needs_action(channel)
        except TimeoutError:
            raise AssertionError(f"{channel.status()} {world.operations()} {own.binlog_files()}") from None
    assert "start a new channel" in (status.reason or "")
    assert world.operations() == ["BEGIN", "INSERT", "COMMIT"]
    await world.close()


async def test_a_server_restored_from_a_backup(tmp_path: Path, own: LiveServer) -> None:
    """Its data of before the capture, and other transactions since, as many as there were."""
    folder = tmp_path / "log"
    folder.mkdir()
    data = own.instance.data_directory
    await asyncio.to_thread(own.stop)
    await asyncio.to_thread(shutil.copytree, data, tmp_path / "backup")
    await asyncio.to_thread(own.start)
    database = await captured(folder, own, 5)
    await asyncio.to_thread(own.stop)
    await asyncio.to_thread(shutil.rmtree, data)
    await asyncio.to_thread(shutil.copytree, tmp_path / "backup", data)
    await asyncio.to_thread(own.start)
    await run(own, f"CREATE DATABASE {database}", f"CREATE TABLE {database}.t (id INT PRIMARY KEY, v VARCHAR(2000))")
    for number in range(100, 140):
        await run(own, f"INSERT INTO {database}.t VALUES ({number}, REPEAT('x', 500))")
    await refused(folder, own, database)


async def test_the_end_of_a_binlog_that_a_crash_lost(tmp_path: Path, own: LiveServer) -> None:
    """Without sync_binlog a power failure takes what was not written yet, and the server begins another file."""
    database = await captured(tmp_path, own)
    file, position = own.binlog_position()
    await asyncio.to_thread(own.kill)
    os.truncate(own.binlog_path(file), position - 200)
    await asyncio.to_thread(own.start)
    await run(own, f"REPLACE INTO {database}.t VALUES (7, 'x')")
    reason = await refused(tmp_path, own, database)
    assert f"{file}:{position}" in reason or "has lost the transactions" in reason


@pytest.mark.server("mysql97")
@pytest.mark.parametrize("scanned_bytes_max", [SCANNED_BYTES_MAX, 0])
async def test_the_transactions_before_a_start_on_a_busy_server(
    scanned_bytes_max: int, mysql97: LiveServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that stand in the binlog and are not counted as executed yet belong to it: a failover asks for the set."""
    monkeypatch.setattr("capture.start.SCANNED_BYTES_MAX", scanned_bytes_max)
    database = mysql97.fresh_database()
    await run(mysql97, f"CREATE TABLE {database}.t (id INT PRIMARY KEY AUTO_INCREMENT, v INT)")
    ended = threading.Event()

    def write() -> None:
        with mysql97.connect() as connection, connection.cursor() as cursor:
            while not ended.is_set():
                cursor.execute(f"INSERT INTO {database}.t (v) VALUES (1)")

    writers = [asyncio.create_task(asyncio.to_thread(write)) for _ in range(4)]
    source = MysqlSource(SourceAddress.parse(mysql97.url()), 4713, CLOCK)
    try:
        info = await source.connect()
        for _ in range(3):
            position, gtid_set, _ = await definitions_now(source, info, Selection((database,), 0))
            assert gtid_set == await gtid_set_at(source, info, position)
    finally:
        ended.set()
        await asyncio.gather(*writers)
        await source.close()
