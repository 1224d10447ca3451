"""A real MySQL or MariaDB server as tests see it: statements, accounts, binlog files, restarts.

:class:`LiveServer` looks the same whether the server was started by us (``tests/tools/servers.py``) or is somebody's
own, named by ``BINWIRE_TEST_<KIND>=mysql://user:password@host:port``; only a server of ours can be restarted and read
as files.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import subprocess
import urllib.parse
import uuid
from typing import TYPE_CHECKING, Any, Self

import pymysql
import pytest

from tests.tools import server_builds, servers
from tests.tools.server_builds import KINDS
from tests.tools.workplace import ToolError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

_ACCOUNT_EXISTS = 1396
_names = itertools.count(1)
_unavailable: dict[str, str] = {}  # kind -> why; tried once in a run, because a mirror out of reach answers slowly


class LiveServer:
    """A running server with an administrator's account and one that may only replicate (``repl_user``)."""

    def __init__(
        self, kind: str, host: str, port: int, user: str, password: str, instance: servers.Instance | None
    ) -> None:
        self.kind = kind
        self.flavour = KINDS[kind].flavour
        self.host = host
        self.port = port
        self.root_user = user
        self.root_password = password
        self.repl_user = servers.REPL_USER
        self.repl_password = servers.REPL_PASSWORD
        self._instance = instance
        self._connection: pymysql.Connection[Any] | None = None
        self._databases: list[str] = []
        self.version = str(self.execute("SELECT VERSION()")[0][0])

    @classmethod
    def launch(cls, kind: str, options: Sequence[str] = ()) -> Self:
        """Start a server of ours with these options beside the usual ones; ToolError when it cannot be had."""
        instance = servers.Instance.launch(kind, options)
        return cls(kind, instance.host, instance.port, servers.ROOT_USER, servers.ROOT_PASSWORD, instance)

    @classmethod
    def at_address(cls, kind: str, address: str) -> Self:
        """Use the server at ``mysql://user:password@host:port``, whose account must be an administrator's."""
        url = urllib.parse.urlsplit(address)
        user, password = urllib.parse.unquote(url.username or "root"), urllib.parse.unquote(url.password or "")
        server = cls(kind, url.hostname or "127.0.0.1", url.port or 3306, user, password, None)
        try:
            server.execute("CREATE USER %s@'%%' IDENTIFIED BY %s", (server.repl_user, server.repl_password))
        except pymysql.err.OperationalError as error:
            if error.args[0] != _ACCOUNT_EXISTS:
                raise
        server.execute("GRANT SELECT, REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO %s@'%%'", (server.repl_user,))
        return server

    def connect(self, **options: Any) -> pymysql.Connection[Any]:
        """A new PyMySQL connection as administrator (autocommit, utf8mb4), unless ``options`` say otherwise."""
        account = {"user": self.root_user, "password": self.root_password}
        usual = {"host": self.host, "port": self.port, "charset": "utf8mb4", "autocommit": True, **account}
        return pymysql.connect(**{**usual, **options})

    def execute(self, sql: str, args: Any = None, *, database: str | None = None) -> list[tuple[Any, ...]]:
        """Run one statement on the administrator's standing connection and return its rows."""
        if self._connection is None or not self._connection.open:
            self._connection = self.connect()
        if database is not None:
            self._connection.select_db(database)
        with self._connection.cursor() as cursor:
            cursor.execute(sql, args)
            return list(cursor.fetchall())

    def execute_all(self, *statements: str, database: str | None = None) -> None:
        """Run statements one after the other."""
        for sql in statements:
            self.execute(sql, database=database)

    def fresh_database(self, charset: str = "utf8mb4") -> str:
        """Create a database no other test has, and return its name."""
        name = f"test_{next(_names)}_{uuid.uuid4().hex[:8]}"
        self.execute(f"CREATE DATABASE `{name}` CHARACTER SET {charset}")
        self._databases.append(name)
        return name

    def url(self, user: str | None = None, password: str | None = None) -> str:
        """The source address for a configuration; by default with the replication account."""
        name = urllib.parse.quote(self.repl_user if user is None else user, safe="")
        secret = urllib.parse.quote(self.repl_password if password is None else password, safe="")
        return f"{self.flavour}://{name}:{secret}@{self.host}:{self.port}"

    @contextlib.contextmanager
    def global_variable(self, name: str, value: str | int) -> Iterator[None]:
        """Have a dynamic global variable at another value; new connections of the block see it."""
        before = self.execute(f"SELECT @@GLOBAL.{name}")[0][0]
        self.execute(f"SET GLOBAL {name} = %s", (value,))
        try:
            yield
        finally:
            self.execute(f"SET GLOBAL {name} = %s", (before,))

    def binlog_files(self) -> list[tuple[str, int]]:
        """(name, size in bytes) of each binlog file, oldest first."""
        return [(str(row[0]), int(row[1])) for row in self.execute("SHOW BINARY LOGS")]

    def binlog_position(self) -> tuple[str, int]:
        """(file name, position) where the next event will be written."""
        renamed = self.kind == "mysql97"
        row = self.execute("SHOW BINARY LOG STATUS" if renamed else "SHOW MASTER STATUS")[0]
        return str(row[0]), int(row[1])

    def binlog_path(self, name: str) -> Path:
        """The binlog file ``name`` on disk; skips the test when the server is not ours."""
        return self.instance.data_directory / name

    @property
    def binlog_reader(self) -> tuple[str, ...] | None:
        """The command of this server's own mysqlbinlog or mariadb-binlog; None where it brings none (MySQL 5.6)."""
        return self.instance.build.binlog_reader

    @property
    def instance(self) -> servers.Instance:
        """The process behind the server; skips the test when the server is not ours."""
        if self._instance is None:
            pytest.skip(f"{KINDS[self.kind].address_variable} names a server that is not ours to stop or read as files")
        return self._instance

    def stop(self) -> None:
        """Shut down in order; :meth:`start` brings it back on the same port."""
        self.disconnect()
        self.instance.stop()

    def kill(self) -> None:
        """End the server with SIGKILL."""
        self.disconnect()
        self.instance.kill()

    def start(self, *options: str) -> None:
        """Start again after :meth:`stop` or :meth:`kill`, with ``options`` beside the usual ones."""
        self.instance.start(options)

    def restart(self, *options: str) -> None:
        """Stop and start again."""
        self.stop()
        self.start(*options)

    def disconnect(self) -> None:
        """Close the standing connection."""
        if self._connection is not None:
            with contextlib.suppress(pymysql.err.Error):
                self._connection.close()
            self._connection = None

    def close(self) -> None:
        """End the server if it is ours; else drop the databases that tests made on it."""
        if self._instance is None:
            for name in self._databases:
                self.execute(f"DROP DATABASE IF EXISTS `{name}`")
        self.disconnect()
        if self._instance is not None:
            self._instance.close()


def open_server(kind: str, options: Sequence[str] = ()) -> LiveServer:
    """A server of this kind; where none can be had the test is skipped with the reason, and fails in CI."""
    address = os.environ.get(KINDS[kind].address_variable)
    if address and options:
        pytest.skip(f"{KINDS[kind].address_variable} names a server that cannot be started with {' '.join(options)}")
    if not address and kind not in _unavailable:
        try:
            servers.base_directory(server_builds.build(kind))
        except (ToolError, OSError, subprocess.SubprocessError) as error:
            _unavailable[kind] = f"{KINDS[kind].title} cannot be had: {error}"
    if kind in _unavailable:
        if os.environ.get("CI") == "true":
            pytest.fail(_unavailable[kind], pytrace=False)
        pytest.skip(_unavailable[kind])
    return LiveServer.at_address(kind, address) if address else LiveServer.launch(kind, options)
