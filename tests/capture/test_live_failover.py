"""Failover by GTID between live servers: what a replica that takes over goes on with, and which one is passed over."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from capture.channel import State
from capture.source import SourceAddress, open_source
from storage.clock import SystemClock
from tests.capture.world import WAIT_S, StoredRecord, World, running, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from capture.channel import Channel
    from tests.live_server import LiveServer

CLOCK = SystemClock()
OPTIONS = {
    "mysql97": ("--log-replica-updates=ON", "--replica-preserve-commit-order=ON"),
    "mysql56": ("--gtid-mode=ON", "--enforce-gtid-consistency=ON", "--log-slave-updates=ON"),
    "mariadb1011": ("--log-slave-updates=ON",),
}
KINDS = [pytest.param(kind, marks=pytest.mark.server(kind)) for kind in OPTIONS]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path, CLOCK)
    yield made
    await made.close()


class Pair:
    """Two servers, the second a replica of the first; `turn` makes the second a server of its own."""

    def __init__(self, kind: str, factory: Callable[..., LiveServer]) -> None:
        self.first = factory(kind, "--server-id=11", *OPTIONS[kind])
        self.second = factory(kind, "--server-id=12", *OPTIONS[kind])
        self.kind = kind
        self.follow(self.second, self.first)

    def follow(self, replica: LiveServer, source: LiveServer) -> None:
        account = f"'{source.repl_user}'", f"'{source.repl_password}'"
        if self.kind == "mysql97":
            replica.execute(
                f"CHANGE REPLICATION SOURCE TO SOURCE_HOST='{source.host}', SOURCE_PORT={source.port}, "
                f"SOURCE_USER={account[0]}, SOURCE_PASSWORD={account[1]}, SOURCE_AUTO_POSITION=1, "
                f"GET_SOURCE_PUBLIC_KEY=1"
            )
            replica.execute("START REPLICA")
        else:
            position = "MASTER_AUTO_POSITION=1" if self.kind == "mysql56" else "MASTER_USE_GTID=slave_pos"
            replica.execute(
                f"CHANGE MASTER TO MASTER_HOST='{source.host}', MASTER_PORT={source.port}, "
                f"MASTER_USER={account[0]}, MASTER_PASSWORD={account[1]}, {position}"
            )
            replica.execute("START SLAVE")

    def stop_following(self, replica: LiveServer) -> None:
        if self.kind == "mysql97":
            replica.execute_all("STOP REPLICA", "RESET REPLICA ALL")
        else:
            replica.execute_all("STOP SLAVE", "RESET SLAVE ALL")

    def executed(self, server: LiveServer) -> str:
        name = "gtid_binlog_pos" if self.kind == "mariadb1011" else "gtid_executed"
        return str(server.execute(f"SELECT @@GLOBAL.{name}")[0][0])

    def wait_equal(self, replica: LiveServer, source: LiveServer) -> None:
        """Until the replica has executed all that the source has."""
        wanted = self.executed(source)
        if self.kind == "mariadb1011":
            assert replica.execute("SELECT MASTER_GTID_WAIT(%s, 60)", (wanted,))[0][0] == 0
            while self.executed(replica) != wanted:
                """The transaction is applied a moment before its binlog says so."""
        elif self.kind == "mysql97":
            assert replica.execute("SELECT WAIT_FOR_EXECUTED_GTID_SET(%s, 60)", (wanted,))[0][0] == 0
        else:
            assert replica.execute("SELECT WAIT_UNTIL_SQL_THREAD_AFTER_GTIDS(%s, 60)", (wanted,))[0][0] is not None

    @property
    def url(self) -> str:
        return f"{self.first.url()},{self.second.host}:{self.second.port}"


@pytest.fixture(params=KINDS)
def pair(request: pytest.FixtureRequest, server_factory: Callable[..., LiveServer]) -> Pair:
    return Pair(request.param, server_factory)


@pytest.fixture
def mysql_pair(server_factory: Callable[..., LiveServer]) -> Pair:
    return Pair("mysql97", server_factory)


def on_both(world: World, pair: Pair, *objects: str, url: str | None = None, **more: Any) -> Channel:
    address = SourceAddress.parse(url or pair.url)
    made = lambda: open_source(address, 4711, CLOCK, identity="failover")  # noqa: E731
    return world.channel(made, *objects, url=url or pair.url, **{"start": "now", **more})


def keys(records: list[StoredRecord]) -> list[int]:
    return [
        int(record.fields["afterImages"][0]["value"]) for record in records if record.operation in ("INSERT", "UPDATE")
    ]


async def rows_are(world: World, wanted: list[int]) -> None:
    await until(world, lambda: len(keys(world.records())) >= len(wanted))
    assert keys(world.records()) == wanted


async def fails(channel: Channel, words: str) -> None:
    """Wait for Error with a reason that holds `words`."""
    async with asyncio.timeout(WAIT_S):
        while words not in ((await channel.wait_for(State.ERROR)).reason or ""):
            changed = asyncio.Event()
            end = channel.subscribe(changed.set)
            try:
                if words in (channel.status().reason or ""):
                    return
                await changed.wait()
            finally:
                end()


def write(server: LiveServer, database: str, *numbers: int) -> None:
    for number in numbers:
        server.execute(f"INSERT INTO {database}.t (id) VALUES ({number})")


async def test_a_replica_takes_over_and_gives_back(world: World, pair: Pair) -> None:
    first, second = pair.first, pair.second
    database = "shop"
    first.execute_all(f"CREATE DATABASE {database}", f"CREATE TABLE {database}.t (id INT PRIMARY KEY)")
    await asyncio.to_thread(write, first, database, 1)
    async with running(on_both(world, pair, database)) as channel:
        await asyncio.to_thread(write, first, database, 2, 3)
        await rows_are(world, [2, 3])
        await asyncio.to_thread(pair.wait_equal, second, first)
        await asyncio.to_thread(first.stop)
        await asyncio.to_thread(pair.stop_following, second)
        await asyncio.to_thread(write, second, database, 4)
        second.execute(f"ALTER TABLE {database}.t ADD v INT DEFAULT 7")
        await asyncio.to_thread(write, second, database, 5)
        await rows_are(world, [2, 3, 4, 5])
        assert channel.status().state is State.NORMAL
        inserts = [record for record in world.records() if record.operation == "INSERT"]
        assert [len(record.fields["fields"]) for record in inserts] == [1, 1, 1, 2]
        await asyncio.to_thread(first.start, "--server-id=11", *OPTIONS[pair.kind])
        await asyncio.to_thread(pair.follow, first, second)
        await asyncio.to_thread(pair.wait_equal, first, second)
        await asyncio.to_thread(second.stop)
        await asyncio.to_thread(pair.stop_following, first)
        await asyncio.to_thread(write, first, database, 6)
        await rows_are(world, [2, 3, 4, 5, 6])
    assert world.operations().count("DDL") == 1
