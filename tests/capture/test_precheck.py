"""The precheck on real servers: what passes, what fails, and that the remedy given is the one that helps."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from capture import precheck, start
from capture.channel import ChannelSpec, State
from capture.errors import SourceUnavailable
from capture.source import SourceAddress, open_source
from storage.clock import SystemClock
from tests.capture.world import FedSource, World, running

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from capture.precheck import CheckResult
    from tests.live_server import LiveServer

PASSWORD = "Pr3check-only"
CLOCK = SystemClock()


async def check(server: LiveServer, *objects: str, url: str | None = None, **more: object) -> Sequence[CheckResult]:
    address = SourceAddress.parse(url or server.url())
    options = {"server_id": 4715, **more}
    spec = ChannelSpec(id="c", topic="t", address=address, objects=objects, **options)  # type: ignore[arg-type]
    source = open_source(address, spec.server_id, CLOCK)
    try:
        return await precheck.run(source, spec)
    finally:
        await source.close()


def failed(results: Sequence[CheckResult]) -> dict[str, CheckResult]:
    for result in results:
        assert result.passed == (result.remedy is None)
        assert result.found
    return {result.name: result for result in results if not result.passed}


async def test_everything_in_order(server: LiveServer) -> None:
    database = server.fresh_database()
    server.execute(f"CREATE TABLE {database}.t (id INT PRIMARY KEY)")
    results = await check(server, database, f"{database}.t")
    assert failed(results) == {}
    assert [result.name for result in results] == ["reachable", *(item.name for item in precheck.ITEMS)]
    assert server.version in results[0].found


async def test_missing_privileges_are_mended_by_their_remedies(server: LiveServer) -> None:
    database = server.fresh_database()
    server.execute(f"CREATE TABLE {database}.t (id INT PRIMARY KEY)")
    server.execute("CREATE USER bare@'%%' IDENTIFIED BY %s", (PASSWORD,))
    url = server.url("bare", PASSWORD)
    results = failed(await check(server, database, f"{database}.t", url=url))
    assert set(results) == {"REPLICATION SLAVE privilege", "REPLICATION CLIENT privilege", "SELECT privilege"}
    for result in results.values():
        assert result.remedy is not None
        for statement in filter(None, result.remedy.split(";")):
            server.execute(statement.strip())
    assert failed(await check(server, database, f"{database}.t", url=url)) == {}


async def test_a_privilege_on_single_tables_is_enough(server: LiveServer) -> None:
    database = server.fresh_database()
    server.execute(f"CREATE TABLE {database}.t (id INT PRIMARY KEY)")
    server.execute("CREATE USER narrow@'%%' IDENTIFIED BY %s", (PASSWORD,))
    server.execute("GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO narrow@'%'")
    server.execute(f"GRANT SELECT ON `{database}`.t TO narrow@'%'")
    url = server.url("narrow", PASSWORD)
    assert failed(await check(server, f"{database}.t", url=url)) == {}
    assert set(failed(await check(server, database, url=url))) == {"SELECT privilege"}


@pytest.mark.parametrize(
    ("variable", "value", "item"),
    [("binlog_format", "STATEMENT", "binlog_format"), ("binlog_row_image", "MINIMAL", "binlog_row_image")],
)
async def test_a_setting_that_is_wrong(server: LiveServer, variable: str, value: str, item: str) -> None:
    database = server.fresh_database()
    with server.global_variable(variable, value):
        results = failed(await check(server, database))
        assert set(results) == {item}
        assert results[item].found.startswith(f"{value}, not ")
        server.execute(results[item].remedy or "")
        assert failed(await check(server, database)) == {}


@pytest.mark.parametrize(
    ("variable", "value", "item"),
    [
        ("binlog_row_value_options", "PARTIAL_JSON", "partial JSON updates"),
        ("binlog_transaction_compression", "ON", "binlog compression"),
    ],
)
async def test_what_a_newer_server_may_have_on(mysql97: LiveServer, variable: str, value: str, item: str) -> None:
    database = mysql97.fresh_database()
    with mysql97.global_variable(variable, value):
        assert set(failed(await check(mysql97, database))) == {item}


async def test_binary_logging_that_is_off(server_factory: Callable[..., LiveServer]) -> None:
    server = await asyncio.to_thread(server_factory, "mysql97", "--skip-log-bin")
    results = failed(await check(server, server.fresh_database()))
    assert set(results) == {"binary logging"}
    assert results["binary logging"].remedy == "log_bin = binlog under [mysqld] in my.cnf, then restart the server"


async def test_objects_and_server_id_and_start(server: LiveServer) -> None:
    database = server.fresh_database()
    results = failed(
        await check(server, database, f"{database}.nothing", "nowhere", server_id=1, start="binlog.000900:4")
    )
    assert set(results) == {"objects", "server_id", "start position"}
    assert f"{database}.nothing, nowhere" in results["objects"].found
    assert "another server_id" in (results["server_id"].remedy or "")
    assert "does not exist" in results["start position"].found
    assert set(failed(await check(server))) == {"objects"}


async def test_a_source_that_cannot_be_reached(server: LiveServer) -> None:
    (result,) = await check(server, "d", url=server.url(password="wrong-one"))
    assert (result.name, result.passed) == ("reachable", False)
    assert "denies access" in result.found
    assert "wrong-one" not in result.found


async def test_a_source_without_a_server_is_reachable_or_not() -> None:
    spec = ChannelSpec("c", "t", SourceAddress.parse("file:///x.1"), 1, ("d",))
    source = FedSource()
    (result,) = await precheck.run(source, spec)
    assert result.passed


async def test_a_channel_begins_only_when_everything_is_in_order(tmp_path: Path, mysql97: LiveServer) -> None:
    world = World(tmp_path, CLOCK)
    url = mysql97.url()
    database = mysql97.fresh_database()

    def source() -> object:
        return open_source(SourceAddress.parse(url), 4715, CLOCK)

    channel = world.channel(source, database, url=url, start="now")  # type: ignore[arg-type]
    states: list[State] = []
    channel.subscribe(lambda: states.append(channel.status().state))
    with mysql97.global_variable("binlog_format", "MIXED"):
        async with running(channel, State.ERROR):
            reason = (await channel.wait_ended()).reason
    assert reason is not None
    assert reason.startswith(f"precheck of mysql://repl@127.0.0.1:{mysql97.port} failed: binlog_format: ")
    assert "SET GLOBAL binlog_format = ROW" in reason
    async with running(channel):
        assert states[-4:] == [State.NOT_STARTED, State.PRECHECKING, State.INITIAL, State.NORMAL]
    await world.close()


async def test_a_source_that_goes_away_while_its_start_is_looked_up_is_tried_again(
    tmp_path: Path, mysql97: LiveServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says nothing about the start: a channel that waited for somebody would wait for nothing."""
    world = World(tmp_path, CLOCK)
    url = mysql97.url()
    failures = [SourceUnavailable("the source is gone")]

    async def resolve_start(*arguments: object) -> object:
        if failures:
            raise failures.pop()
        return await start.resolve_start(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr("capture.precheck.resolve_start", resolve_start)
    channel = world.channel(
        lambda: open_source(SourceAddress.parse(url), 4715, CLOCK), mysql97.fresh_database(), url=url, start="now"
    )
    async with running(channel, State.ERROR):
        status = channel.status()
        assert status.reason == "the source is gone"
        assert status.retried_until_ms is not None
        assert (await channel.wait_for(State.NORMAL)).reason is None
    await world.close()
