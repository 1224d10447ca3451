"""Failover by GTID between live servers: what a replica that takes over goes on with, and which one is passed over."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from capture import precheck
from capture.channel import State
from capture.checking import Outcome
from capture.failover import known_point, reach
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


def on_both(world: World, pair: Pair | None, *objects: str, url: str = "", **more: Any) -> Channel:
    url = url or (pair.url if pair is not None else "")
    address = SourceAddress.parse(url)
    made = partial(open_source, address, 4711, CLOCK, identity="failover")
    return world.channel(made, *objects, url=url, **{"start": "now", **more})


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
        # In order once: MySQL takes nine seconds for that while somebody reads its binlog.
        await asyncio.to_thread(first.stop if pair.kind == "mysql97" else first.kill)
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
        await asyncio.to_thread(second.kill)
        await asyncio.to_thread(pair.stop_following, first)
        await asyncio.to_thread(write, first, database, 6)
        await rows_are(world, [2, 3, 4, 5, 6])
    assert world.operations().count("DDL") == 1


async def test_a_switch_under_load_loses_and_repeats_nothing(world: World, pair: Pair) -> None:
    """Transactions of several statements and tables, the last before the switch and the first behind it at once."""
    first, second = pair.first, pair.second
    database = "shop"
    first.execute_all(
        f"CREATE DATABASE {database}",
        f"CREATE TABLE {database}.t (id INT PRIMARY KEY)",
        f"CREATE TABLE {database}.u (id INT PRIMARY KEY)",
    )
    await asyncio.to_thread(pair.wait_equal, second, first)

    def load(server: LiveServer, numbers: range) -> None:
        with server.connect(autocommit=False) as connection, connection.cursor() as cursor:
            for number in numbers:
                cursor.execute(f"INSERT INTO {database}.t (id) VALUES ({number}), ({-number})")
                cursor.execute(f"INSERT INTO {database}.u (id) VALUES ({number})")
                if number % 5:
                    connection.commit()
                else:
                    connection.rollback()

    async with running(on_both(world, pair, database)):
        await asyncio.to_thread(load, first, range(1, 300))
        await asyncio.to_thread(pair.wait_equal, second, first)
        await asyncio.to_thread(pair.stop_following, second)
        await asyncio.gather(asyncio.to_thread(first.kill), asyncio.to_thread(load, second, range(300, 600)))
        wanted = [key for number in range(1, 600) if number % 5 for key in (number, -number, number)]
        await rows_are(world, wanted)
    operations = world.operations()
    assert operations == ["BEGIN", "INSERT", "INSERT", "INSERT", "COMMIT"] * (len(wanted) // 3)


async def test_a_replica_that_is_behind_is_waited_for_and_one_that_went_another_way_is_not(
    world: World, mysql_pair: Pair
) -> None:
    first, second = mysql_pair.first, mysql_pair.second
    first.execute_all("CREATE DATABASE shop", "CREATE TABLE shop.t (id INT PRIMARY KEY)")
    await asyncio.to_thread(mysql_pair.wait_equal, second, first)
    second.execute("STOP REPLICA")
    channel = on_both(world, mysql_pair, "shop")
    async with running(channel):
        await asyncio.to_thread(write, first, "shop", 1)
        await rows_are(world, [1])
        uuid = first.execute("SELECT @@server_uuid")[0][0]
        await asyncio.to_thread(first.kill)
        await fails(channel, f"does not have {uuid}:")
        assert channel.status().retried_until_ms is not None, "what is behind may come"
        await asyncio.to_thread(mysql_pair.stop_following, second)
        await asyncio.to_thread(write, second, "shop", 100)
        await fails(channel, "has gone another way")
        assert channel.status().retried_until_ms is not None, "the first server may come back"
        await asyncio.to_thread(first.start, "--server-id=11", *OPTIONS["mysql97"])
        await asyncio.to_thread(write, first, "shop", 2)
        await rows_are(world, [1, 2])
    await asyncio.to_thread(first.execute, "RESET BINARY LOGS AND GTIDS")
    async with running(channel, State.ERROR):
        status = await channel.wait_ended()
    assert status.retried_until_ms is None, "both servers answered, and neither can ever go on"
    assert "has gone another way" in (status.reason or "")
    assert world.operations() == ["BEGIN", "INSERT", "COMMIT"] * 2


async def test_what_the_replica_has_in_another_order_is_neither_lost_nor_repeated(
    world: World, mysql_pair: Pair
) -> None:
    first, second = mysql_pair.first, mysql_pair.second
    first.execute_all("CREATE DATABASE shop", "CREATE TABLE shop.t (id INT PRIMARY KEY)")
    async with running(on_both(world, mysql_pair, "shop")):
        await asyncio.to_thread(write, first, "shop", 1)
        await asyncio.to_thread(mysql_pair.wait_equal, second, first)
        await asyncio.to_thread(write, second, "shop", 50)  # of its own, between what it replicates
        await asyncio.to_thread(write, first, "shop", 2, 3)
        await rows_are(world, [1, 2, 3])
        await asyncio.to_thread(mysql_pair.wait_equal, second, first)
        await asyncio.to_thread(first.kill)
        await rows_are(world, [1, 2, 3, 50])
        await asyncio.to_thread(mysql_pair.stop_following, second)
        await asyncio.to_thread(write, second, "shop", 4)
        await rows_are(world, [1, 2, 3, 50, 4])
    channel = on_both(world, mysql_pair, "shop")
    known = known_point(world.log.recovered, world.catalog.channels()[0].start)
    source = open_source(channel.spec.address, 4712, CLOCK)
    items = {item.name: item for item in await precheck.run(source, channel.spec, known)}
    await source.close()
    assert items["start position"].outcome is Outcome.PASSED, items["start position"].found
    async with running(channel):
        await asyncio.to_thread(write, second, "shop", 5)
        await rows_are(world, [1, 2, 3, 50, 4, 5])


async def test_a_replica_that_purged_what_was_not_captured_is_passed_over(world: World, mysql_pair: Pair) -> None:
    first, second = mysql_pair.first, mysql_pair.second
    first.execute_all("CREATE DATABASE shop", "CREATE TABLE shop.t (id INT PRIMARY KEY)")
    channel = on_both(world, mysql_pair, "shop")
    async with running(channel):
        await asyncio.to_thread(write, first, "shop", 1)
        await rows_are(world, [1])
        await asyncio.to_thread(mysql_pair.wait_equal, second, first)
        await asyncio.to_thread(write, second, "shop", 2)
        second.execute("FLUSH BINARY LOGS")
        second.execute(f"PURGE BINARY LOGS TO '{second.binlog_files()[-1][0]}'")
        own = second.execute("SELECT @@server_uuid")[0][0]
        await asyncio.to_thread(first.kill)
        await fails(channel, f"has purged {own}:1 from its binlog, which were not captured")
        await asyncio.to_thread(first.start, "--server-id=11", *OPTIONS["mysql97"])
        await asyncio.to_thread(write, first, "shop", 3)
        await rows_are(world, [1, 3])


async def test_one_host_that_is_another_server_is_refused_whatever_its_gtids(world: World, mysql_pair: Pair) -> None:
    first, second = mysql_pair.first, mysql_pair.second
    first.execute_all("CREATE DATABASE shop", "CREATE TABLE shop.t (id INT PRIMARY KEY)")
    async with running(on_both(world, mysql_pair, "shop", url=first.url())):
        await asyncio.to_thread(write, first, "shop", 1)
        await rows_are(world, [1])
    await asyncio.to_thread(mysql_pair.wait_equal, second, first)
    channel = on_both(world, mysql_pair, "shop", url=second.url())
    async with running(channel, State.ERROR):
        status = await channel.wait_ended()
    assert "another server" in (status.reason or "")
    assert "names several hosts" in (status.reason or "")


async def test_a_kill_while_another_server_takes_over(tmp_path: Path, mysql_pair: Pair) -> None:
    """Between the catalog's transaction and the first record of the new server; with either server there afterwards."""
    first, second = mysql_pair.first, mysql_pair.second
    first.execute_all("CREATE DATABASE shop", "CREATE TABLE shop.t (id INT PRIMARY KEY)")
    ids = {first: 11, second: 12}
    world = World(tmp_path, CLOCK)
    async with running(on_both(world, mysql_pair, "shop")):
        await asyncio.to_thread(write, first, "shop", 1)
        first.execute("ALTER TABLE shop.t ADD v INT")
        await asyncio.to_thread(write, first, "shop", 2)
        await rows_are(world, [1, 2])
    await asyncio.to_thread(mysql_pair.wait_equal, second, first)
    for number, (there, gone, killed_on) in enumerate(
        [(second, first, second), (first, second, second), (second, first, first)], start=3
    ):
        """`gone` is down when the other takes over, which is killed in it; `there` is what is found afterwards."""
        taken = killed_on
        down = first if taken is second else second
        await asyncio.to_thread(down.kill)
        source = open_source(SourceAddress.parse(mysql_pair.url), 4711, CLOCK)
        chosen, info = await reach(source, world.log, world.catalog, "c")
        await chosen.close()
        assert info.server_id == ids[taken]
        await world.close(orderly=False)
        world = World(tmp_path, CLOCK)
        if there is down:
            await asyncio.to_thread(taken.kill)
            await asyncio.to_thread(down.start, f"--server-id={ids[down]}", *OPTIONS["mysql97"])
        await asyncio.to_thread(mysql_pair.stop_following, there)
        async with running(on_both(world, mysql_pair, "shop")):
            await asyncio.to_thread(write, there, "shop", number)
            await rows_are(world, [1, 2, *range(3, number + 1)])
        await asyncio.to_thread(gone.start, f"--server-id={ids[gone]}", *OPTIONS["mysql97"])
        await asyncio.to_thread(mysql_pair.follow, gone, there)
        await asyncio.to_thread(mysql_pair.wait_equal, gone, there)
    assert keys(world.records()) == [1, 2, 3, 4, 5]
    fields = [len(record.fields["fields"]) for record in world.records() if record.operation == "INSERT"]
    assert fields == [1, 2, 2, 2, 2]
    await world.close()


@pytest.mark.server("mariadb1011")
async def test_numbers_alone_do_not_prove_a_history(world: World, server_factory: Callable[..., LiveServer]) -> None:
    """A MariaDB that counted as far in the same domain, with transactions of its own."""
    first, second = [
        await asyncio.to_thread(server_factory, "mariadb1011", f"--server-id={number}") for number in (11, 12)
    ]
    for server in (first, second):
        server.execute_all("CREATE DATABASE shop", "CREATE TABLE shop.t (id INT PRIMARY KEY)")
        await asyncio.to_thread(write, server, "shop", 1, 2, 3)
    await asyncio.to_thread(write, second, "shop", 4, 5, 6, 7)
    url = f"{first.url()},{second.host}:{second.port}"
    channel = on_both(world, None, "shop", url=url)
    async with running(channel):
        await asyncio.to_thread(write, first, "shop", 10)
        await rows_are(world, [10])
        last = first.execute("SELECT @@gtid_binlog_pos")[0][0]
        await asyncio.to_thread(first.stop)
        await fails(channel, f"it lacks {last}, which were captured, and has other transactions of these numbers")
        assert channel.status().retried_until_ms is not None
    assert keys(world.records()) == [10]
