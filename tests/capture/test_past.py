"""Starts in the past, with statements about tracked tables between the start and now: what is known, and how."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from capture.channel import State
from capture.selection import Selection
from capture.snapshot import definitions_now
from capture.source import SourceAddress, open_source
from storage.clock import SystemClock
from tests.capture.test_live_capture import caught_up, live, rows_of, run
from tests.capture.world import WAIT_S, World, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from capture.channel import Channel
    from tests.live_server import LiveServer


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path, SystemClock())
    yield made
    await made.close()


@pytest.fixture(params=["mysql97", "mysql56", "mariadb1011"])
async def server(request: pytest.FixtureRequest, server_factory: Callable[..., LiveServer]) -> LiveServer:
    return await asyncio.to_thread(server_factory, request.param)


@pytest.fixture(params=["mysql97", "mariadb1011"])
async def telling(request: pytest.FixtureRequest, server_factory: Callable[..., LiveServer]) -> LiveServer:
    """A server that writes all the metadata it can."""
    return await asyncio.to_thread(server_factory, request.param, "--binlog-row-metadata=FULL")


def here(server: LiveServer) -> str:
    file, position = server.binlog_position()
    return f"{file}:{position}"


async def captured(world: World, server: LiveServer, channel: Channel) -> list[tuple[str, list[str]]]:
    """(table, column names) of each row, once everything is captured."""
    async with running(channel):
        await caught_up(world, server, channel)
    return [
        (record.fields["objectName"].split(".")[1], [field["name"] for field in record.fields["fields"]])
        for record in rows_of(world.records())
    ]


async def refusal(channel: Channel) -> str:
    await channel.start()
    async with asyncio.timeout(WAIT_S):
        status = await channel.wait_ended()
    await channel.stop()
    assert status.state is State.ERROR
    assert status.reason is not None
    return status.reason


async def test_a_table_that_changed_twice_is_refused_with_the_ways_out(world: World, server: LiveServer) -> None:
    database = server.fresh_database()
    await run(server, f"CREATE TABLE {database}.t (id INT PRIMARY KEY)", f"CREATE TABLE {database}.u (id INT)")
    start = here(server)
    await run(
        server,
        f"INSERT INTO {database}.t VALUES (1)",
        f"INSERT INTO {database}.u VALUES (1)",
        f"ALTER TABLE {database}.t ADD a INT",
        f"ALTER TABLE {database}.u ADD a INT",
        f"DROP TABLE {database}.u",
    )
    reason = await refusal(live(world, server, database, start=start))
    assert f"statements after it changed {database}.t, {database}.u; start after those statements" in reason
    assert "schema_file" in reason
    assert "binlog_row_metadata=FULL" in reason
    assert world.records() == []


async def test_changes_before_the_first_row_need_nothing(world: World, server: LiveServer) -> None:
    database = server.fresh_database()
    await run(server, f"CREATE TABLE {database}.t (id INT PRIMARY KEY)", f"CREATE TABLE {database}.gone (id INT)")
    start = here(server)
    await run(
        server,
        f"ALTER TABLE {database}.t ADD a INT",
        f"ALTER TABLE {database}.t CHANGE a b BIGINT",
        f"DROP TABLE {database}.gone",
        f"INSERT INTO {database}.t VALUES (1, 2)",
        f"CREATE TABLE {database}.made (x INT)",
        f"INSERT INTO {database}.made VALUES (1)",
        f"ALTER TABLE {database}.made ADD y INT FIRST",
        f"INSERT INTO {database}.made VALUES (1, 2)",
    )
    found = await captured(world, server, live(world, server, database, start=start))
    assert found == [("t", ["id", "b"]), ("made", ["x"]), ("made", ["y", "x"])]


async def test_rows_of_a_dropped_table_are_refused(world: World, server: LiveServer) -> None:
    database = server.fresh_database()
    await run(server, f"CREATE TABLE {database}.t (id INT)")
    start = here(server)
    await run(server, f"INSERT INTO {database}.t VALUES (1)", f"DROP TABLE {database}.t")
    assert f"changed {database}.t;" in await refusal(live(world, server, database, start=start))
    only_ddl = live(world, server, database, start=start, data_types=frozenset({"ddl"}))
    assert await captured(world, server, only_ddl) == []


async def test_a_dropped_database_is_refused(world: World, server: LiveServer) -> None:
    database = server.fresh_database()
    await run(server, f"CREATE TABLE {database}.t (id INT)")
    start = here(server)
    await run(
        server,
        f"INSERT INTO {database}.t VALUES (1)",
        f"DROP DATABASE {database}",
        f"CREATE DATABASE {database}",
        f"CREATE TABLE {database}.t (other INT)",
        f"INSERT INTO {database}.t VALUES (1)",
    )
    assert f"changed {database}.t;" in await refusal(live(world, server, database, start=start))


SCHEMA = """-- what mysqldump --no-data writes
/*!40101 SET NAMES utf8mb4 */;
USE `{0}`;
DROP TABLE IF EXISTS `t`;
CREATE TABLE `t` (
  `id` int NOT NULL COMMENT 'semicolon ; here',
  `name` varchar(10) DEFAULT NULL,
  PRIMARY KEY (`id`)
) ENGINE=InnoDB DEFAULT CHARSET=latin1;
DELIMITER ;;
CREATE TRIGGER x BEFORE INSERT ON t FOR EACH ROW BEGIN SET @a = 1; END;;
DELIMITER ;
CREATE TABLE {0}.untouched (id INT);
"""


async def changed_twice(server: LiveServer, database: str) -> str:
    """A table whose first definition nobody tells any more; returns the place before its first row."""
    await run(server, f"CREATE TABLE {database}.t (id INT PRIMARY KEY, name VARCHAR(10)) CHARSET latin1")
    start = here(server)
    await run(
        server,
        f"INSERT INTO {database}.t VALUES (1, 'één')",
        f"ALTER TABLE {database}.t CHANGE name title VARCHAR(20), ADD UNIQUE u (title)",
        f"INSERT INTO {database}.t VALUES (2, 'two')",
        f"RENAME TABLE {database}.t TO {database}.renamed",
        f"INSERT INTO {database}.renamed VALUES (3, 'three')",
    )
    return start


EXPECTED = [("t", ["id", "name"]), ("t", ["id", "title"]), ("renamed", ["id", "title"])]


async def test_a_schema_file(world: World, server: LiveServer, tmp_path: Path) -> None:
    database = server.fresh_database()
    start = await changed_twice(server, database)
    file = tmp_path / "tables.sql"
    file.write_text(SCHEMA.format(database), "utf-8")
    channel = live(world, server, database, start=start, schema_file=str(file))
    assert await captured(world, server, channel) == EXPECTED
    tags = [json.loads(record.tags["pk_uk_info"]) for record in rows_of(world.records())]
    assert tags == [{"PRIMARY": ["id"]}, {"PRIMARY": ["id"], "u": ["title"]}, {"PRIMARY": ["id"], "u": ["title"]}]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("CREATE TABLE {0}.t (id BIGINT PRIMARY KEY, name VARCHAR(10)) CHARSET latin1;", "is LONG in the binlog and"),
        ("CREATE TABLE {0}.other (id INT);", "changed {0}."),
        (
            "DROP TABLE IF EXISTS `t`;\nCREATE TABLE `t` (id INT);",
            "sql does not say in which database t is; write a USE",
        ),
        ("\n\nCREATE TABEL {0}.t (id INT);", "line 3 of the schema_file "),
        ("CREATE TABLE {0}.t (id INT COMMENT 'open);", "line 1 of the schema_file "),
        ("ALTER TABLE {0}.t ADD x INT;", "it was altered, and the schema history did not have it before"),
        (None, "cannot be read: No such file or directory"),
    ],
)
async def test_a_schema_file_that_is_wrong(
    world: World, mysql97: LiveServer, tmp_path: Path, text: str | None, message: str
) -> None:
    database = mysql97.fresh_database()
    start = await changed_twice(mysql97, database)
    file = tmp_path / "tables.sql"
    if text is not None:
        file.write_text(text.format(database), "utf-8")
    reason = await refusal(live(world, mysql97, database, start=start, schema_file=str(file)))
    assert message.format(database) in reason
    assert world.records() == []


async def test_full_metadata(world: World, telling: LiveServer) -> None:
    database = telling.fresh_database()
    start = await changed_twice(telling, database)
    channel = live(world, telling, database, start=start)
    assert await captured(world, telling, channel) == EXPECTED
    assert await captured(world, telling, live(world, telling, database)) == EXPECTED, "again after a restart"


async def test_metadata_that_is_full_only_later(world: World, mysql97: LiveServer) -> None:
    database = mysql97.fresh_database()
    await run(mysql97, f"CREATE TABLE {database}.t (id INT PRIMARY KEY)")
    start = here(mysql97)
    with mysql97.global_variable("binlog_row_metadata", "FULL"):
        await run(mysql97, f"INSERT INTO {database}.t VALUES (1)", f"ALTER TABLE {database}.t ADD a INT")
    await run(mysql97, f"INSERT INTO {database}.t VALUES (2, 2)", f"ALTER TABLE {database}.t ADD b INT")
    assert f"changed {database}.t;" in await refusal(live(world, mysql97, database, start=start))


async def test_tables_that_change_while_they_are_read(mysql97: LiveServer) -> None:
    """The position moves behind the change, and only what changed is read again."""
    database = mysql97.fresh_database()
    names = [f"t{number}" for number in range(20)]
    await run(mysql97, *(f"CREATE TABLE {database}.{name} (id INT)" for name in names))
    source: Any = open_source(SourceAddress.parse(mysql97.url()), 4714, SystemClock())
    queries: list[str] = []
    ask = source.query
    changes = [
        [f"ALTER TABLE {database}.t3 ADD a INT", f"DROP TABLE {database}.t4", f"CREATE TABLE {database}.new (id INT)"],
        [f"RENAME TABLE {database}.t5 TO {database}.t6_new"],
    ]

    async def query(sql: str) -> list[tuple[str | None, ...]]:
        queries.append(sql)
        if ("t9" in sql or "t3" in sql) and changes and "SHOW CREATE TABLE" in sql and len(queries) > 12:
            await run(mysql97, *changes.pop(0))
        found: list[tuple[str | None, ...]] = await ask(sql)
        return found

    source.query = query
    try:
        info = await source.connect()
        position, _, definitions = await definitions_now(source, info, Selection([database]))
    finally:
        await source.close()
    assert not changes
    assert str(position) == here(mysql97)
    shown = {
        str(row[0]): str(mysql97.execute(f"SHOW CREATE TABLE {database}.{row[0]}")[0][1])
        for row in mysql97.execute(f"SHOW TABLES FROM {database}")
    }
    assert sorted(text for _, text in definitions.tables) == sorted(shown.values())
    assert sum("SHOW CREATE TABLE" in sql for sql in queries) == 20 + 2 + 1
