"""The scripted server's rows against real servers: what they know, what they do not, and how they greet."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pymysql
import pytest

from tests.replay_server import PASSWORD, USER, BinlogFile, ReplayServer
from tests.server_versions import VERSIONS
from tests.tools.server_builds import KINDS

if TYPE_CHECKING:
    from tests.live_server import LiveServer

ROWS = {
    "mysql55": "mysql-5.5",
    "mysql56": "mysql-5.6",
    "mysql97": "mysql-9.6",
    "mariadb105": "mariadb-10.5",
    "mariadb1011": "mariadb-10.11",
}
"""Real servers, and the row that stands for their version."""

STATEMENTS = (
    "SHOW MASTER STATUS",
    "SHOW BINARY LOG STATUS",
    "SHOW SLAVE STATUS",
    "SHOW REPLICA STATUS",
    "SHOW SLAVE HOSTS",
    "SHOW REPLICAS",
    "SHOW BINARY LOGS",
    "SELECT UNIX_TIMESTAMP(NOW(6))",
    "SELECT @@GLOBAL.gtid_executed",
    "SELECT @@GLOBAL.gtid_binlog_pos",
    "SELECT @@GLOBAL.server_uuid",
    "SET @source_binlog_checksum = @@global.binlog_checksum",
    "SET SESSION net_write_timeout = 3600",
    "SHOW CREATE TABLE `nothing`.`t`",
    "SHOW CREATE DATABASE `nothing`",
    "nonsense",
)
NEVER_COUNTED = frozenset({"SHOW SLAVE STATUS", "SHOW REPLICA STATUS", "SHOW SLAVE HOSTS", "SHOW REPLICAS"})
"""Column counts of these differ between minor versions, and nobody counts them."""


def _marks(kind: str) -> list[pytest.MarkDecorator]:
    return [pytest.mark.server(kind), *([] if KINDS[kind].is_core else [pytest.mark.torture])]


@pytest.fixture(params=[pytest.param(kind, marks=_marks(kind)) for kind in ROWS])
def real(request: pytest.FixtureRequest) -> LiveServer:
    server: LiveServer = request.getfixturevalue(request.param)
    return server


def outcomes(connection: pymysql.Connection[Any]) -> dict[str, tuple[str, int]]:
    """What each statement comes to: an error's number, or how many columns a row has."""
    found = {}
    with connection.cursor() as cursor:
        for sql in STATEMENTS:
            try:
                cursor.execute(sql)
                found[sql] = ("columns", len(cursor.description or ()) if sql not in NEVER_COUNTED else 0)
            except pymysql.err.MySQLError as error:
                found[sql] = ("error", error.args[0])
    return found


async def test_a_row_answers_as_the_real_server_of_its_version(real: LiveServer) -> None:
    version = VERSIONS[ROWS[real.kind]]
    name = await asyncio.to_thread(lambda: real.binlog_files()[0][0])
    file = BinlogFile(name, await asyncio.to_thread(real.binlog_path(name).read_bytes))
    async with ReplayServer(version, [file]) as scripted:
        account = {"host": "127.0.0.1", "port": scripted.port, "user": USER, "password": PASSWORD.encode()}
        connection = await asyncio.to_thread(lambda: pymysql.connect(**account, autocommit=None))
        ours = await asyncio.to_thread(outcomes, connection)
        await asyncio.to_thread(connection.close)
    with real.connect() as connection:
        theirs = await asyncio.to_thread(outcomes, connection)
    assert ours == theirs


def test_a_row_has_the_variables_of_the_real_server_of_its_version(real: LiveServer) -> None:
    version = VERSIONS[ROWS[real.kind]]
    asked = sorted({name for row in VERSIONS.values() for name in row.variables})
    names = ", ".join(f"'{name}'" for name in asked)
    rows = real.execute(f"SHOW GLOBAL VARIABLES WHERE Variable_name IN ({names})")
    assert sorted(version.variables) == sorted(name for name, _ in rows)


def test_a_row_greets_as_the_real_server_of_its_version(real: LiveServer) -> None:
    version = VERSIONS[ROWS[real.kind]]
    with real.connect() as connection:
        capabilities, plugin = connection.server_capabilities, connection._auth_plugin_name
    tls = 0x0800
    assert capabilities & ~tls & 0x00FF_FFFF == version.capabilities & 0x00FF_FFFF, hex(capabilities)
    assert (plugin or "mysql_native_password") == version.plugin
