"""Every scenario on every server: the records of a real channel are those that stand beside the statements, exactly."""

from __future__ import annotations

import asyncio
import difflib
from typing import TYPE_CHECKING, Any

import pymysql
import pytest

from capture.channel import State
from capture.position import BinlogPosition
from capture.source import SourceAddress, open_source
from storage.clock import SystemClock
from tests.capture import scenario
from tests.capture.scenario import DATABASE, ELSEWHERE, LAST, Scenario
from tests.capture.world import WAIT_S, World
from tests.decoded import decode_value
from tests.tools.server_builds import CORE_KINDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from capture.channel import Channel
    from tests.live_server import LiveServer

FILES = sorted(scenario.FOLDER.glob("*.sql"))
SERVER_ID = 4711


def _runs() -> Iterator[Any]:
    for path in FILES:
        for kind in scenario.servers_of(path):
            marks = [pytest.mark.server(kind), *([] if kind in CORE_KINDS else [pytest.mark.torture])]
            yield pytest.param(path, kind, marks=marks, id=f"{path.stem}-{kind}")


@pytest.mark.parametrize(("path", "kind"), list(_runs()))
async def test_a_scenario_gives_its_records(
    path: Path,
    kind: str,
    request: pytest.FixtureRequest,
    server_factory: Callable[..., LiveServer],
    tmp_path: Path,
) -> None:
    read = scenario.read(path, kind)
    if read.server_options:
        server = await asyncio.to_thread(server_factory, kind, *read.server_options)
    else:
        server = request.getfixturevalue(kind)
    found = await Run(read, server, tmp_path).records()
    difference = difflib.unified_diff(read.expected, found, "expected", f"found on {kind}", lineterm="")
    assert found == read.expected, "\n" + "\n".join(difference)


class Run:
    """One scenario on one server: its connections, its channel, and the records that became visible."""

    def __init__(self, read: Scenario, server: LiveServer, folder: Path) -> None:
        self._read = read
        self._server = server
        self._folder = folder
        self._sessions: dict[str, pymysql.Connection[Any]] = {}

    async def records(self) -> list[str]:
        """Run the scenario and return its records as lines. Raises what the channel stopped with, if it should not."""
        await asyncio.to_thread(self._empty_databases)
        world = World(self._folder, SystemClock())
        try:
            await self._run(world)
            records = world.records()
        finally:
            for connection in self._sessions.values():
                connection.close()
            self._server.execute_all(*(f"DROP DATABASE IF EXISTS {name}" for name in (DATABASE, ELSEWHERE, LAST)))
            await world.close()
        assert [record.fields["id"] for record in records] == sorted(record.fields["id"] for record in records)
        lines = [scenario.rendered(decode_value(record.value), self._read.shown) for record in records]
        if self._read.stops is None:
            assert lines[-2:] == ["BEGIN", "COMMIT"], "the last transaction is ours, and nothing of it is tracked"
            del lines[-2:]
        return lines

    def _empty_databases(self) -> None:
        for name in (DATABASE, ELSEWHERE, LAST):
            self._server.execute_all(f"DROP DATABASE IF EXISTS {name}", f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
        self._server.execute_all(*(f"CREATE TABLE {name}.t (id INT PRIMARY KEY)" for name in (ELSEWHERE, LAST)))

    async def _run(self, world: World) -> None:
        statements = self._read.statements
        channel = self._channel(world)
        if not any(statement.action == "start" for statement in statements):
            await self._start(channel)
        try:
            for statement in statements:
                await self._do(statement, channel)
            await self._end(channel)
        finally:
            await channel.stop()

    async def _do(self, statement: scenario.Statement, channel: Channel) -> None:
        if not statement.action:
            await asyncio.to_thread(self._execute, statement)
        elif statement.action == "crash":
            await asyncio.to_thread(self._crash)
        else:
            if statement.action == "restart":
                await self._caught_up(channel)
                await channel.stop()
            await self._start(channel)

    def _crash(self) -> None:
        self._sessions.clear()
        self._server.kill()
        self._server.start(*self._read.server_options)

    def _channel(self, world: World) -> Channel:
        address = SourceAddress.parse(self._server.url())
        return world.channel(
            lambda: open_source(address, SERVER_ID, world.clock, identity="scenario"),
            *self._read.objects,
            url=self._server.url(),
            start="now",
            data_types=self._read.data,
            **self._read.settings,
        )

    async def _start(self, channel: Channel) -> None:
        await channel.start()
        async with asyncio.timeout(WAIT_S):
            status = await channel.wait_for(State.NORMAL, State.ERROR)
        assert status.state is State.NORMAL, status.reason

    async def _end(self, channel: Channel) -> None:
        if self._read.stops is None:
            await asyncio.to_thread(self._server.execute, f"INSERT INTO {LAST}.t VALUES (1)")
            await self._caught_up(channel)
            return
        async with asyncio.timeout(WAIT_S):
            status = await channel.wait_ended()
        assert status.state is State.ERROR
        assert status.retried_until_ms is None
        assert self._read.stops in (status.reason or "")

    async def _caught_up(self, channel: Channel) -> None:
        file, position = await asyncio.to_thread(self._server.binlog_position)
        async with asyncio.timeout(WAIT_S):
            await channel.wait_visible(BinlogPosition(file, position))

    def _execute(self, statement: scenario.Statement) -> None:
        with self._session(statement.session).cursor() as cursor:
            if statement.error is None:
                cursor.execute(statement.sql.replace("{folder}", str(self._folder)))
                while cursor.nextset():
                    pass
                return
            with pytest.raises(pymysql.err.Error) as caught:
                cursor.execute(statement.sql)
            assert caught.value.args[0] == statement.error, statement.sql

    def _session(self, name: str) -> pymysql.Connection[Any]:
        if name not in self._sessions:
            connection = self._server.connect(database=DATABASE, local_infile=True)
            self._sessions[name] = connection
            with connection.cursor() as cursor:
                cursor.execute("SET SESSION time_zone = '+00:00', sql_mode = 'STRICT_ALL_TABLES'")
        return self._sessions[name]


# ---- the files themselves ----

EXAMPLE = """\
-- What it is about.
-- objects: scenario.t elsewhere
-- channel: row_image=any

CREATE TABLE t (a INT,
  b INT);
-- => DDL CREATE TABLE t
-- only: mysql97
INSERT INTO t VALUES (1);
-- => INSERT t (a=1)
-- => COMMIT
-- => INSERT t (a=2)
-- mariadb => INSERT t (a=3)
-- session: b
-- error: 1062
INSERT INTO u VALUES (1);
-- !mysql55 !mariadb => BEGIN COMMIT
-- crash
-- stops: a sentence: with colons
"""


def test_a_scenario_is_read_for_each_server(tmp_path: Path) -> None:
    path = tmp_path / "example.sql"
    path.write_text(EXAMPLE, encoding="utf-8")
    newest, oldest, mariadb = (scenario.read(path, kind) for kind in ("mysql97", "mysql55", "mariadb118"))
    rows = ["BEGIN", "INSERT t (a=1)", "COMMIT", "BEGIN", "INSERT t (a=2)", "COMMIT"]
    assert newest.expected == ["DDL CREATE TABLE t", *rows, "BEGIN", "COMMIT"]
    assert oldest.expected == mariadb.expected == ["DDL CREATE TABLE t"]
    assert [(one.sql, one.session, one.error, one.action) for one in mariadb.statements] == [
        ("CREATE TABLE t (a INT,\n  b INT)", "a", None, ""),
        ("INSERT INTO u VALUES (1)", "b", 1062, ""),
        ("", "b", None, "crash"),
    ]
    assert (newest.objects, newest.settings) == (("scenario.t", "elsewhere"), {"row_image": "any"})
    assert newest.stops == "a sentence: with colons"


@pytest.mark.parametrize(
    "text",
    [
        "-- => INSERT t (a=1)\n",
        "INSERT INTO t\n",
        "SELECT 1;\n-- mysql80 => BEGIN COMMIT\n",
        "SELECT\n-- x\n1;\n",
        "-- ony: mysql97\nSELECT 1;\n",
    ],
)
def test_a_scenario_with_a_mistake_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "mistake.sql"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(AssertionError):
        scenario.read(path, "mysql97")
