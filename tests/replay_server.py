"""A scripted server: it speaks the MySQL protocol as a version of `tests/server_versions.py` and dumps recorded files.

What a capture asks for is answered as that version would: the greeting with its capabilities and authentication, its
variables, the words of its statements, errors with its codes for what it does not know, SHOW CREATE from a script. A
dump sends what the version's server sends: an artificial ROTATE, the format description (from the middle of a file one
that takes no room), the events as they were recorded, the next file, heartbeats at the end; error 1236 for what it
refuses. Nothing of `capture` is used here but to tell which GTIDs a file has.

Statements that no row answers are syntax errors and stand in `unanswered`, which tests look at.
"""

from __future__ import annotations

import asyncio
import re
import struct
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from bench import mysql_protocol
from bench.mysql_protocol import SqlError
from capture.events import EventDecoder, GtidEvent, MariadbGtidEvent, MariadbGtidListEvent, PreviousGtidsEvent
from capture.position import GtidSet, mariadb_key, mysql_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from tests.server_versions import ServerVersion

USER, PASSWORD = "repl", "s3cret-ö"

_FORMAT_DESCRIPTION = 15
_HEADS = frozenset({_FORMAT_DESCRIPTION, 163})
_TELL_GTIDS = frozenset({_FORMAT_DESCRIPTION, 33, 35, 42, 162, 163})

Rows = list[tuple[str | None, ...]]


@dataclass
class BinlogFile:
    """One file of the server: its name and bytes."""

    name: str
    data: bytes

    def events(self, start: int = 4) -> Iterable[tuple[int, bytes]]:
        """(position, raw event) of each event from a position on."""
        while start + 19 <= len(self.data):
            size = int.from_bytes(self.data[start + 9 : start + 13], "little")
            yield start, self.data[start : start + size]
            start += size

    @property
    def head(self) -> bytes:
        return next(raw for _, raw in self.events())

    @property
    def server_id(self) -> int:
        return int.from_bytes(self.head[5:9], "little")

    @property
    def has_checksums(self) -> bool:
        """Whether the format description names CRC-32; one without an algorithm byte does not."""
        version = self.head[21:71].rstrip(b"\0").decode()
        numbers = tuple(int(part) for part in re.findall(r"\d+", version)[:3])
        knows = numbers >= ((5, 3, 0) if "MariaDB" in version else (5, 6, 1))
        return knows and self.head[-5] == 1


@dataclass
class Script:
    """What is on the server beside its binlog: SHOW CREATE texts as they are now."""

    databases: Sequence[tuple[str, str]] = ()
    tables: Sequence[tuple[str, str]] = ()
    grants: Sequence[str] = (f"GRANT SELECT, REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO `{USER}`@`%`",)


def name_in(create: str) -> str:
    found = re.match(r"CREATE (?:TABLE|DATABASE) `((?:[^`]|``)*)`", create)
    assert found is not None, create
    return found[1].replace("``", "`")


@dataclass
class ReplayServer:
    """A running server.

    `cut_after`: how many events the next dump to the reader `cut_reader` has before its connection is cut.
    """

    version: ServerVersion
    files: list[BinlogFile]
    script: Script = field(default_factory=Script)
    cut_after: int | None = None
    cut_reader: int = 0
    port: int = 0
    unanswered: list[str] = field(default_factory=list)
    dumps: list[tuple[str, int]] = field(default_factory=list)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        self._sessions: set[asyncio.Task[None]] = set()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for session in self._sessions:
            session.cancel()
        await asyncio.gather(*self._sessions, return_exceptions=True)

    @property
    def url(self) -> str:
        from urllib.parse import quote

        return f"{self.version.scheme}://{USER}:{quote(PASSWORD)}@127.0.0.1:{self.port}?tls=disabled"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._sessions.add(task)
        try:
            with suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
                await Session(self, reader, writer).run()
        finally:
            self._sessions.discard(task)
            writer.transport.abort()

    # ---- what the binlog says ----

    def variables(self) -> dict[str, str]:
        return {
            "server_id": str(self.files[-1].server_id),
            **self.version.variables,
            "version": self.version.version,
        }

    def executed(self, file: str | None = None, position: int = 1 << 40) -> str:
        """The GTIDs in the binlog up to a place, those before its first file included, as the server writes a set."""
        found, decoder = GtidSet(), EventDecoder()
        for one in self.files:
            for start, raw in one.events():
                if file == one.name and start >= position and raw[4] not in _HEADS:
                    break  # BINLOG_GTID_POS counts a file's list also at its beginning (sql/sql_repl.cc)
                _, event = decoder.decode(raw) if raw[4] in _TELL_GTIDS else (None, None)
                if isinstance(event, PreviousGtidsEvent):
                    for sid, tag, intervals in event.sets:
                        for first, last in intervals:
                            found.add(mysql_key(sid, tag), first, last)
                elif isinstance(event, MariadbGtidListEvent):
                    for domain, server_id, sequence in event.gtids:
                        found.add(mariadb_key(domain, server_id), sequence)
                elif isinstance(event, GtidEvent):
                    found.add(mysql_key(event.sid, event.tag), event.gno)
                elif isinstance(event, MariadbGtidEvent):
                    found.add(mariadb_key(event.domain_id, event.server_id), event.sequence)
            if file == one.name:
                break
        return str(found)


class Session:
    """One connection."""

    def __init__(self, server: ReplayServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._server, self._version = server, server.version
        self._reader, self._writer = reader, writer
        self._sequence = 0
        self._user_variables: dict[str, str] = {}
        self._ends_rows_with_ok = False

    async def run(self) -> None:
        if not await self._login():
            return
        while True:
            self._sequence = 0
            command = await self._receive()
            if command[0] == mysql_protocol.COM_QUIT:
                return
            if command[0] == mysql_protocol.COM_BINLOG_DUMP:
                await self._dump(command)
                return
            try:
                await self._command(command)
            except SqlError as error:
                self._error(error)
            await self._writer.drain()

    # ---- packets ----

    async def _receive(self) -> bytes:
        header = await self._reader.readexactly(4)
        self._sequence = header[3] + 1
        return await self._reader.readexactly(int.from_bytes(header[:3], "little"))

    def _send(self, payload: bytes) -> None:
        packets, self._sequence = mysql_protocol.framed(payload, self._sequence)
        self._writer.write(packets)

    def _ok(self) -> None:
        self._send(mysql_protocol.OK)

    def _error(self, error: SqlError) -> None:
        self._send(error.payload)

    def _rows(self, count: int, rows: Rows) -> None:
        names = [f"c{number}" for number in range(count)]
        for payload in mysql_protocol.rows_answer(names, rows, ends_with_ok=self._ends_rows_with_ok):
            self._send(payload)

    # ---- logging in ----

    async def _login(self) -> bool:
        version = self._version
        words, plugin = version.greeting or version.version, version.plugin
        self._send(
            mysql_protocol.greeting(words, capabilities=version.capabilities, charset=version.charset, plugin=plugin)
        )
        capabilities, user, answer = mysql_protocol.read_login(await self._receive())
        self._ends_rows_with_ok = bool(capabilities & version.capabilities & mysql_protocol.DEPRECATE_EOF)
        if user != USER or answer != mysql_protocol.scrambled(PASSWORD, plugin):
            self._error(SqlError(1045, "28000", f"Access denied for user '{user}'@'127.0.0.1'"))
            return False
        if plugin == mysql_protocol.CACHING_SHA2:
            self._send(b"\x01\x03")  # fast authentication: the password was seen before
        self._ok()
        return True

    # ---- statements ----

    async def _command(self, command: bytes) -> None:
        if command[0] in (mysql_protocol.COM_PING, mysql_protocol.COM_INIT_DB, mysql_protocol.COM_REGISTER_SLAVE):
            self._ok()
            return
        assert command[0] == mysql_protocol.COM_QUERY, command
        sql = command[1:].decode()
        if sql.upper().startswith(("SET ", "BEGIN", "COMMIT", "START ", "ROLLBACK")):
            self._set(sql)
            self._ok()
            return
        rows = self._answer(sql)
        self._rows(max([len(row) for row in rows] or [1]), rows)

    def _set(self, sql: str) -> None:
        known = self._server.variables()
        for name in re.findall(r"@@(?:global\.)?(\w+)", sql, re.IGNORECASE):
            self._require(name in known, name)
        session = {"net_write_timeout", "wait_timeout", "sql_mode", "time_zone", "sql_quote_show_create"}
        for name in re.findall(r"(?:SESSION|SET|,) (\w+) =", sql):
            self._require(name in known or name in session, name)
        for name, value in re.findall(r"(?<!@)@(\w+) = ('[^']*'|[\w@.]+)", sql):
            variable = re.fullmatch(r"@@global\.(\w+)", value)
            self._user_variables[name] = known[variable[1]] if variable else value.strip("'")

    @staticmethod
    def _require(condition: bool, name: str) -> None:
        if not condition:
            raise SqlError(1193, "HY000", f"Unknown system variable '{name}'")

    def _answer(self, sql: str) -> Rows:
        if any(sql.startswith(unknown) for unknown in self._version.unknown_statements):
            raise _syntax_error(sql)
        for pattern, answer in _ANSWERS:
            if found := re.fullmatch(pattern, sql, re.IGNORECASE | re.DOTALL):
                return answer(self, found)
        self._server.unanswered.append(sql)
        raise _syntax_error(sql)

    def _show_variables(self, found: re.Match[str]) -> Rows:
        names = re.findall(r"'(\w+)'", found[1])
        return [(name, value) for name, value in self._server.variables().items() if name in names]

    def _select_variables(self, found: re.Match[str]) -> Rows:
        names = re.findall(r"@@(?:global\.|session\.)?(\w+)", found[1], re.IGNORECASE)
        known = self._server.variables()
        if "gtid_mode" in known:
            known |= {"gtid_executed": self._server.executed(), "gtid_purged": ""}
        elif "gtid_domain_id" in known:
            known["gtid_binlog_pos"] = self._server.executed()
        for name in names:
            self._require(name in known, name)
        return [tuple(known[name] for name in names)]

    def _binlog_status(self, _: re.Match[str]) -> Rows:
        last = self._server.files[-1]
        if self._server.variables()["log_bin"] != "ON":
            return []
        end = (last.name, str(len(last.data)), "", "")
        return [(*end, self._server.executed())] if self._version.has_gtids else [end]

    def _binary_logs(self, _: re.Match[str]) -> Rows:
        if self._server.variables()["log_bin"] != "ON":
            raise SqlError(1381, "HY000", "You are not using binary logging")
        encrypted = ("No",) if "binlog_encryption" in self._server.variables() else ()
        return [(file.name, str(len(file.data)), *encrypted) for file in self._server.files]

    def _gtid_position(self, found: re.Match[str]) -> Rows:
        if "gtid_domain_id" not in self._server.variables():
            raise SqlError(1305, "42000", "FUNCTION BINLOG_GTID_POS does not exist")
        return [(self._server.executed(found[1], int(found[2])),)]

    def _show_create(self, found: re.Match[str]) -> Rows:
        kind = found[1].upper()
        names = [name.replace("``", "`") for name in re.findall(r"`((?:[^`]|``)*)`", found[2])]
        databases = self._server.script.databases
        if kind == "DATABASE":
            texts = [text for _, text in databases if name_in(text) == names[0]]
            missing = SqlError(1049, "42000", f"Unknown database '{names[0]}'")
        else:
            texts = [text for owner, text in self._server.script.tables if [owner, name_in(text)] == names]
            missing = SqlError(1146, "42S02", f"Table '{'.'.join(names)}' doesn't exist")
            if self._version.has_atomic_ddl and names[0] not in {name_in(text) for _, text in databases}:
                missing = SqlError(1049, "42000", f"Unknown database '{names[0]}'")
        if not texts:
            raise missing
        return [(names[-1], texts[0])]

    def _tables(self, _: re.Match[str]) -> Rows:
        return [(owner, name_in(text)) for owner, text in self._server.script.tables]

    def _databases(self, _: re.Match[str]) -> Rows:
        return [(name_in(text),) for _, text in self._server.script.databases]

    # ---- the dump ----

    async def _dump(self, command: bytes) -> None:
        position, _, reader = struct.unpack_from("<IHI", command, 1)
        name = command[11:].decode()
        self._server.dumps.append((name, position))
        try:
            await self._stream(name, position, self._server.cut_after if reader == self._server.cut_reader else None)
        except SqlError as error:
            self._error(error)
        await self._writer.drain()

    async def _stream(self, name: str, position: int, left: int | None) -> None:
        files = self._server.files
        numbers = [number for number, file in enumerate(files) if file.name == name]
        if self._server.variables()["log_bin"] != "ON":
            raise _fatal("Binary log is not open")
        if not numbers:
            raise _fatal("Could not find first log file name in binary log index file")
        first = files[numbers[0]]
        if position > len(first.data):
            raise _fatal("Client requested master to start replication from position > file size")
        if position not in {4, len(first.data), *(start for start, _ in first.events())}:
            raise _fatal("bogus data in log event; the first event starts inside another")
        crc = self._checksum_agreed()
        for file in files[numbers[0] :]:
            rotate = mysql_protocol.artificial_rotate(file.name, position, server_id=file.server_id, crc=crc)
            self._event(rotate)
            crc = file.has_checksums
            self._event(mysql_protocol.format_description_as_sent(file.head, position, crc=crc))
            for start, raw in file.events(position):
                if start == 4:
                    continue
                if left == 0:
                    self._server.cut_after = None
                    await self._writer.drain()
                    return
                left = None if left is None else left - 1
                self._event(raw)
                await self._writer.drain()
            position = 4
        await self._heartbeats(files[-1], crc)

    def _checksum_agreed(self) -> bool:
        """Whether the first ROTATE has one: as the reader said, who must know what the server is set to."""
        server = self._server.variables().get("binlog_checksum", "NONE")
        reader = self._user_variables.get("master_binlog_checksum", self._user_variables.get("source_binlog_checksum"))
        if server != "NONE" and reader is None:
            raise _fatal("Slave can not handle replication events with the checksum that master is configured to log")
        if self._version.is_mariadb and "gtid_domain_id" in self._server.variables():
            assert self._user_variables.get("mariadb_slave_capability") == "4", "else MariaDB sends no GTID events"
        return reader == "CRC32"

    async def _heartbeats(self, file: BinlogFile, crc: bool) -> None:
        """At the end of the binlog, once a period, for as long as the reader stays."""
        period_s = int(self._user_variables.get("master_heartbeat_period", "0")) / 1e9
        while True:
            if not period_s or not self._version.has_heartbeats:
                await self._reader.read()
                return
            await asyncio.sleep(period_s)
            end = len(file.data)
            self._event(mysql_protocol.heartbeat(file.name, end, server_id=file.server_id, crc=crc))
            await self._writer.drain()

    def _event(self, raw: bytes) -> None:
        self._send(b"\0" + raw)


_ANSWERS: tuple[tuple[str, Callable[[Session, re.Match[str]], Rows]], ...] = (
    (r"SHOW GLOBAL VARIABLES WHERE Variable_name IN \((.*)\)", Session._show_variables),
    (r"SELECT ((?:@@[\w.]+,? ?)+)", Session._select_variables),
    (r"SELECT UNIX_TIMESTAMP\(NOW\(6\)\)", lambda _, found: [(f"{time.time():.6f}",)]),
    (r"SELECT CURRENT_USER\(\)", lambda _, found: [(f"{USER}@%",)]),
    (r"SELECT USER\(\)", lambda _, found: [(f"{USER}@localhost",)]),
    (r"SHOW GRANTS.*", lambda session, found: [(grant,) for grant in session._server.script.grants]),
    (r"SHOW (?:MASTER|BINARY LOG) STATUS", Session._binlog_status),
    (r"SHOW BINARY LOGS", Session._binary_logs),
    (r"SELECT BINLOG_GTID_POS\('(.*)', (\d+)\)", Session._gtid_position),
    (r"SHOW CREATE (DATABASE|TABLE) (.*)", Session._show_create),
    (r"SELECT table_schema, table_name FROM information_schema\.tables.*", Session._tables),
    (r"SELECT schema_name FROM information_schema\.schemata", Session._databases),
    (r"SHOW (?:SLAVE HOSTS|REPLICAS|SLAVE STATUS|REPLICA STATUS|ALL SLAVES STATUS)", lambda _, found: []),
    (r"SHOW GLOBAL STATUS LIKE 'Slave_running'", lambda _, found: [("Slave_running", "OFF")]),
    (r"SELECT .* FROM information_schema\.\w+ .*", lambda _, found: []),
    (r"SELECT .* FROM mysql\.rds_configuration .*", lambda _, found: []),
)


def _syntax_error(sql: str) -> SqlError:
    return SqlError(1064, "42000", f"You have an error in your SQL syntax; … near '{sql[:80]}' at line 1")


def _fatal(message: str) -> SqlError:
    return SqlError(1236, "HY000", message)
