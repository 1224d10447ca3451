"""A live source behind a proxy that cuts, a load of every kind of transaction, and the comparison that must hold.

One run has a seed: the load, where each connection breaks and how, and after how many cuts the capture side is dropped
as a kill leaves it. At the end what was captured must be, event by event, what mysql-replication reads.
"""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

from capture.channel import State
from capture.source import SourceAddress, open_source
from storage.clock import SystemClock
from storage.scheduler import LoopScheduler
from tests.capture.fault_proxy import Direction, Fault, FaultProxy, Way
from tests.capture.test_live_capture import as_read, caught_up, independent_reading
from tests.capture.world import WAIT_S, World

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from capture.channel import Channel
    from capture.source import Source
    from storage.scheduler import Timer
    from tests.live_server import LiveServer

CLOCK = SystemClock()
_HANDSHAKE_BYTES = 6_000
"""About what a session says before its dump: many cuts are to come behind that."""
_KILL_SHARE = 0.15


class HastyScheduler(LoopScheduler):
    """Waits a hundredth of what it is asked to, so that back-off costs no time."""

    def call_later(self, delay_ms: int, callback: Callable[[], None]) -> Timer:
        return super().call_later(delay_ms // 100, callback)


class MixedLoad:
    """Transactions of every kind on three tables, from one seed; `step` runs one."""

    def __init__(self, server: LiveServer, database: str, seed: int) -> None:
        self._random = random.Random(seed)
        self._connection = server.connect(database=database, autocommit=False)
        self._cursor = self._connection.cursor()
        for table in "abc":
            self._cursor.execute(f"CREATE TABLE {table} (id INT PRIMARY KEY AUTO_INCREMENT, n INT, v LONGTEXT)")
        self._columns = 0

    def steps(self, count: int) -> None:
        """Run so many transactions."""
        kinds = (self._small, self._small, self._small, self._several, self._rolled_back, self._savepoint)
        rare = (self._large, self._large_row, self._schema, self._rotate)
        for _ in range(count):
            self._random.choice(rare if self._random.random() < 0.1 else kinds)()

    def close(self) -> None:
        self._connection.close()

    def _insert(self, table: str, rows: int = 1, size_bytes: int = 10) -> None:
        values = ", ".join(f"({self._random.randrange(1000)}, REPEAT('x', {size_bytes}))" for _ in range(rows))
        self._cursor.execute(f"INSERT INTO {table} (n, v) VALUES {values}")

    def _small(self) -> None:
        self._insert(self._random.choice("abc"))
        self._connection.commit()

    def _several(self) -> None:
        for table in "abc":
            self._insert(table, self._random.randrange(1, 20))
        self._cursor.execute("UPDATE a SET n = n + 1 ORDER BY id DESC LIMIT 5")
        self._cursor.execute("DELETE FROM b ORDER BY id LIMIT 2")
        self._connection.commit()

    def _rolled_back(self) -> None:
        self._insert("a", 5)
        self._connection.rollback()

    def _savepoint(self) -> None:
        self._insert("a")
        self._cursor.execute("SAVEPOINT s")
        self._insert("b", 3)
        self._cursor.execute("ROLLBACK TO SAVEPOINT s")
        self._connection.commit()

    def _large(self) -> None:
        self._insert("b", 3000, 100)
        self._connection.commit()

    def _large_row(self) -> None:
        self._insert("c", 1, 300_000)
        self._connection.commit()

    def _schema(self) -> None:
        self._columns += 1
        self._cursor.execute(f"ALTER TABLE {self._random.choice('abc')} ADD COLUMN c{self._columns} INT")

    def _rotate(self) -> None:
        self._cursor.execute("FLUSH BINARY LOGS")


async def cut_again_and_again(server: LiveServer, folder: Path, cuts: int, seed: int) -> None:
    """Capture a load through `cuts` broken connections, compare."""
    chance = random.Random(seed)
    database = server.fresh_database()
    load = await asyncio.to_thread(MixedLoad, server, database, seed)
    file, position = server.binlog_position()
    is_begun = False

    def plan() -> Fault | None:
        if not is_begun or proxy.broken >= cuts:
            return None
        direction = Direction.DOWN if chance.random() < 0.85 else Direction.UP
        scale = _HANDSHAKE_BYTES if direction is Direction.UP or chance.random() < 0.2 else 200_000
        return Fault(chance.randrange(1, scale), chance.choice((Way.CLOSE, Way.RESET)), direction)

    proxy = FaultProxy(server.host, server.port, plan)
    await proxy.accept()
    address = SourceAddress.parse(server.url().replace(str(server.port), str(proxy.port)) + "?tls=disabled")

    def made() -> Source:
        return open_source(address, 4711, CLOCK, identity="cuts")

    def channel_of(world: World) -> Channel:
        return world.channel(made, database, start=f"{file}:{position}", scheduler=HastyScheduler())

    world = World(folder, CLOCK)
    channel = channel_of(world)
    await channel.start()
    try:
        async with asyncio.timeout(WAIT_S):
            await channel.wait_for(State.NORMAL)
        is_begun = True
        proxy.break_all(Way.RESET)
        while proxy.broken < cuts:
            before = proxy.broken
            await asyncio.to_thread(load.steps, chance.randrange(1, 12))
            if proxy.broken == before and chance.random() < 0.2:
                proxy.break_all(chance.choice((Way.CLOSE, Way.RESET)))
            proxy.trickle_bytes = chance.choice((0, 0, 0, 500))
            if chance.random() < _KILL_SHARE:
                await channel.stop()
                await world.close(orderly=False)
                world = World(folder, CLOCK)
                channel = channel_of(world)
                await channel.start()
            status = channel.status()
            assert status.reason is None or status.retried_until_ms is not None, status.reason
        proxy.trickle_bytes = 0
        await asyncio.to_thread(load.steps, 5)
        try:
            await caught_up(world, server, channel)
        except TimeoutError:
            raise AssertionError(f"{channel.status()}, log at {world.log.recovered}") from None
        reading = await asyncio.to_thread(independent_reading, server, database, file, position)
        captured = as_read(world.records())
        differs = next((pair for pair in zip(captured, reading, strict=False) if pair[0] != pair[1]), None)
        assert (differs, len(captured)) == (None, len(reading))
    finally:
        await channel.stop()
        await world.close()
        await proxy.close()
        load.close()
