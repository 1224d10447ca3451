"""Scenarios played without a server: the records are those that the same statements on a real MySQL give."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pymysql
import pytest

from capture.dialect import MYSQL_NEWEST
from capture.embedded_source import EmbeddedSource
from capture.position import BinlogPosition
from capture.scenario import script
from capture.scenario.player import Player
from capture.scenario.refusal import StatementRefused
from capture.source import SourceAddress, open_source
from storage.clock import SystemClock
from tests.capture.world import WAIT_S, World, running
from tests.tools.workplace import CHECKOUT

if TYPE_CHECKING:
    from pathlib import Path

    from tests.live_server import LiveServer

FOLDER = CHECKOUT / "tests" / "scenarios" / "played"
FILES = sorted(FOLDER.glob("*.sql"))
DATABASE = "scenario"
OBJECTS = (DATABASE, "scenario_other")
SETTINGS = "SET SESSION time_zone = '+00:00', sql_mode = DEFAULT"
NOT_COMPARED = {"id", "version", "sourcePosition", "safeSourcePosition", "sourceTxid", "source"}
TAGS_NOT_COMPARED = {"GTID", "GTID_SET", "readerThroughoutTime", "thread_id", "server_id"}
TAGS_NOT_COMPARED |= {"Q_CHARSET_CODE", "Q_SQL_MODE_CODE", "Q_FLAGS2_CODE"}


def compared(records: list[Any]) -> list[dict[str, Any]]:
    """What two servers say alike of the same statements."""
    found = []
    for record in records:
        fields = {name: value for name, value in record.fields.items() if name not in NOT_COMPARED}
        fields["tags"] = {name: value for name, value in record.tags.items() if name not in TAGS_NOT_COMPARED}
        found.append(fields)
    return found


@pytest.mark.server("mysql97")
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
async def test_what_is_played_gives_the_records_of_a_server(path: Path, mysql97: LiveServer, tmp_path: Path) -> None:
    text = await asyncio.to_thread(path.read_text, "utf-8")
    (tmp_path / "real").mkdir()
    real = await run_for_real(text, mysql97, tmp_path / "real")
    (tmp_path / "played").mkdir()
    played = await play(text, mysql97.version, tmp_path / "played")
    assert len(real) > 3
    for number, (wanted, found) in enumerate(zip(real, played, strict=False)):
        assert found == wanted, f"record {number} of {path.name}"
    assert len(played) == len(real)


async def run_for_real(text: str, server: LiveServer, folder: Path) -> list[dict[str, Any]]:
    for name in OBJECTS:
        await asyncio.to_thread(server.execute_all, f"DROP DATABASE IF EXISTS {name}", f"CREATE DATABASE {name}")
    world = World(folder, SystemClock())
    address = SourceAddress.parse(server.url())
    channel = world.channel(
        lambda: open_source(address, 4713, world.clock, identity="played"),
        *OBJECTS,
        url=server.url(),
        start="now",
    )
    try:
        async with running(channel):
            await asyncio.to_thread(run_statements, text, server)
            file, position = await asyncio.to_thread(server.binlog_position)
            async with asyncio.timeout(WAIT_S):
                await channel.wait_visible(BinlogPosition(file, position))
        return compared(world.records())
    finally:
        await world.close()
        for name in OBJECTS:
            await asyncio.to_thread(server.execute, f"DROP DATABASE IF EXISTS {name}")


def run_statements(text: str, server: LiveServer) -> None:
    connection = server.connect(database=DATABASE)
    try:
        with connection.cursor() as cursor:
            cursor.execute(SETTINGS)
            for statement in script.statements(text, MYSQL_NEWEST):
                try:
                    cursor.execute(statement.sql)
                except Exception as error:
                    raise AssertionError(f"line {statement.line}: {error}") from error
    finally:
        connection.close()


async def play(text: str, version: str, folder: Path) -> list[dict[str, Any]]:
    world = World(folder, SystemClock())
    source = EmbeddedSource(world.clock, database=DATABASE, server_version=version)
    for name in OBJECTS:
        source.statement(f"CREATE DATABASE {name}", timestamp_s=1)
    play_all(Player(source, world.clock), text)
    try:
        async with running(world.channel(lambda: source, *OBJECTS)) as channel, asyncio.timeout(WAIT_S):
            await channel.wait_visible(source.position)
        return compared(world.records()[len(OBJECTS) :])
    finally:
        await world.close()


@pytest.mark.server("mysql97")
def test_what_a_server_refuses_is_refused(mysql97: LiveServer) -> None:
    """Each statement alone, on the tables that stand before the line of dashes; nothing of it is left."""
    made, _, refused = (CHECKOUT / "tests" / "scenarios" / "refused.sql").read_text("utf-8").partition("-- ----\n")
    mysql97.execute(f"CREATE DATABASE {DATABASE}")
    connection = mysql97.connect(database=DATABASE)
    source = EmbeddedSource(SystemClock(), database=DATABASE, server_version=mysql97.version)
    player = Player(source, SystemClock())
    try:
        with connection.cursor() as cursor:
            cursor.execute(SETTINGS)
            for statement in script.statements(made, MYSQL_NEWEST):
                cursor.execute(statement.sql)
            play_all(player, made)
            before = source.position
            for statement in script.statements(refused, MYSQL_NEWEST):
                with pytest.raises(pymysql.err.MySQLError):
                    cursor.execute(statement.sql)
                with pytest.raises(StatementRefused):
                    play_all(player, statement.sql)
                assert source.position == before, statement.sql
    finally:
        connection.close()
        mysql97.execute(f"DROP DATABASE {DATABASE}")


def play_all(player: Player, text: str) -> None:
    for _ in player.play(text):
        pass
