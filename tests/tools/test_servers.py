"""The servers tests run on: accounts, binlogs and restarts are what the fixtures promise."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import sys
import urllib.parse
from typing import TYPE_CHECKING

import pymysql
import pytest

from tests.tools.workplace import CHECKOUT

if TYPE_CHECKING:
    from tests.conftest import ServerFactory
    from tests.live_server import LiveServer


def test_rows_are_logged_in_row_format(server: LiveServer) -> None:
    database = server.fresh_database()
    server.execute_all("CREATE TABLE t (a INT)", "INSERT INTO t VALUES (1)", database=database)
    name, position = server.binlog_position()
    assert server.execute("SELECT @@GLOBAL.binlog_format, @@GLOBAL.binlog_row_image") == [("ROW", "FULL")]
    assert (name, position) == server.binlog_files()[-1]
    assert server.binlog_path(name).stat().st_size == position


def test_replication_account_may_read_and_not_write(every_server: LiveServer) -> None:
    database = every_server.fresh_database()
    every_server.execute("CREATE TABLE t (a INT)", database=database)
    url = urllib.parse.urlsplit(every_server.url())
    account = {"user": urllib.parse.unquote(str(url.username)), "password": urllib.parse.unquote(str(url.password))}
    with every_server.connect(**account, database=database) as connection, connection.cursor() as cursor:
        assert cursor.execute("SELECT * FROM t") == 0
        with pytest.raises(pymysql.err.OperationalError, match="denied"):
            cursor.execute("INSERT INTO t VALUES (1)")


def test_global_variable_is_put_back(server: LiveServer) -> None:
    before = server.execute("SELECT @@GLOBAL.binlog_row_image")
    with server.global_variable("binlog_row_image", "MINIMAL"):
        assert server.execute("SELECT @@GLOBAL.binlog_row_image") == [("MINIMAL",)]
    assert server.execute("SELECT @@GLOBAL.binlog_row_image") == before


@pytest.mark.parametrize("kind", ["mysql97", "mariadb1011"])
def test_binlog_reader_reads_the_servers_own_log(kind: str, request: pytest.FixtureRequest) -> None:
    server: LiveServer = request.getfixturevalue(kind)
    database = server.fresh_database()
    server.execute_all("CREATE TABLE t (a INT)", "INSERT INTO t VALUES (42)", database=database)
    assert server.binlog_reader is not None
    command = [*server.binlog_reader, "--no-defaults", "-vv", str(server.binlog_path(server.binlog_position()[0]))]
    printed = subprocess.run(command, capture_output=True, check=True).stdout
    inserted = printed[printed.index(f"### INSERT INTO `{database}`.`t`".encode()) :]
    assert b"@1=42" in inserted


@pytest.mark.parametrize("kind", ["mysql97", "mysql56", "mariadb1011"])
def test_restart_keeps_port_and_rows(kind: str, server_factory: ServerFactory) -> None:
    server = server_factory(kind, "--binlog-checksum=NONE")
    assert server.execute("SELECT @@GLOBAL.binlog_checksum") == [("NONE",)]
    database = server.fresh_database()
    server.execute_all("CREATE TABLE t (a INT) ENGINE=InnoDB", "INSERT INTO t VALUES (1)", database=database)
    server.kill()
    with pytest.raises(OSError, match="refused"):
        socket.create_connection((server.host, server.port)).close()
    server.start("--binlog-checksum=CRC32")
    assert server.execute("SELECT a, @@GLOBAL.binlog_checksum FROM t", database=database) == [(1, "CRC32")]


def test_a_closed_server_leaves_nothing(server_factory: ServerFactory) -> None:
    instance = server_factory("mariadb1011").instance
    states = [(instance.running, instance.data_directory.is_dir())]
    instance.close()
    states.append((instance.running, instance.directory.exists()))
    assert states == [(True, True), (False, False)]


def test_a_server_dies_with_a_killed_test_run() -> None:
    program = (
        "from tests.tools.servers import Instance; i = Instance.launch('mariadb1011');"
        "print(i.port, i.directory, flush=True); input()"
    )
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, cwd=CHECKOUT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout
        port, directory = run.stdout.readline().split()
        with socket.create_connection(("127.0.0.1", int(port))) as connection:
            connection.settimeout(60)
            run.kill()
            with contextlib.suppress(ConnectionResetError):
                while connection.recv(4096):
                    pass
    shutil.rmtree(directory)


def test_every_instance_has_its_own_uuid(mysql97: LiveServer, server_factory: ServerFactory) -> None:
    other = server_factory("mysql97")
    assert other.execute("SELECT @@server_uuid") != mysql97.execute("SELECT @@server_uuid")
