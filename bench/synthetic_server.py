"""A MySQL server that streams a prepared binlog as fast as it is read, in a process of its own.

It removes MySQL as the limit: whoever reads is measured, not who writes. It speaks as much as Binwire and its precheck,
mysql-replication and go-mysql (BinlogSyncer and canal) ask of a server with the orders table: logging in by
mysql_native_password, variables, definitions, COM_BINLOG_DUMP and COM_BINLOG_DUMP_GTID. The packets of the whole file
are made once; a dump is one large write after the other. Behind the last event come heartbeats, or, for a reader that
asked not to wait, the end of the dump.

To its readers the binlog ends at `start`, where the first transaction with rows begins, so that a reader that begins
"now" begins there and finds the definitions proven; what follows is as if it were committed afterwards. With `held` a
dump from there is given nothing until `release`, so that logging in and prechecks stand outside of what is measured;
dumps from before it are never held. Readers that leave and come again are not foreseen: the status never moves.

With `files` the transactions are sent so many times, each time in the next binlog file and under GTIDs that go on.
Statements that no row answers are syntax errors; `unanswered` tells them.

Lines on standard input and output, JSON:

    -> {"port", "start", "end", "server_uuid"}   once it listens
    {"release": 1}                   -> {"released_ns": monotonic clock}, as soon as a reader waits; it goes on
    {"unanswered": 1}                -> {"unanswered": [statement, …]}
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import re
import select
import socket
import struct
import subprocess
import sys
import threading
import time
import zlib
from bisect import bisect_left
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, Self
from uuid import UUID

from bench import mysql_protocol as protocol
from bench import orders
from bench.material import SERVER_VERSION, Material
from bench.mysql_protocol import SqlError

USER: Final = "repl"
PASSWORD: Final = "Bench-synthetic1"  # noqa: S105 — of a server that lives for a minute, on the loopback interface

_CAPABILITIES: Final = 0x00FF_F7FF & ~protocol.DEPRECATE_EOF
_CHARSET: Final = 45
_MAGIC_BYTES: Final = 4
_SIZE_AT: Final = 9
_TYPE_AT: Final = 4
_UUID_BYTES: Final = 16
_NUMBER_AT: Final = 19 + 1 + _UUID_BYTES
"""A GTID event's transaction number: behind header, flags and UUID."""
_PACKET_HEADER: Final = 5
"""Length, sequence number, and the byte that says: an event."""
_TABLE_MAP, _GTID = 19, 33
_FIRST_SEQUENCE: Final = 3
"""Behind the artificial ROTATE and the format description."""
_NON_BLOCK: Final = 0x01
_HEARTBEAT_PERIOD_S: Final = 30.0
_ANSWER_TIMEOUT_S: Final = 60

_VARIABLES: Final = {
    "binlog_checksum": "CRC32",
    "binlog_encryption": "OFF",
    "binlog_expire_logs_auto_purge": "ON",
    "binlog_expire_logs_seconds": "2592000",
    "binlog_format": "ROW",
    "binlog_row_image": "FULL",
    "binlog_row_metadata": "FULL",
    "binlog_row_value_options": "",
    "binlog_transaction_compression": "OFF",
    "collation_server": "utf8mb4_0900_ai_ci",
    "enforce_gtid_consistency": "ON",
    "explicit_defaults_for_timestamp": "ON",
    "gtid_mode": "ON",
    "gtid_purged": "",
    "log_bin": "ON",
    "log_replica_updates": "ON",
    "lower_case_table_names": "0",
    "partial_revokes": "OFF",
    "read_only": "OFF",
    "sql_mode": "",
    "super_read_only": "OFF",
    "time_zone": "SYSTEM",
    "version": SERVER_VERSION,
    "version_comment": "Binwire's synthetic server",
}
_DATABASE: Final = orders.DATABASE
_TABLE: Final = orders.TABLE.partition(".")[2]
_SHOW_CREATE_DATABASE: Final = (
    f"CREATE DATABASE `{_DATABASE}` /*!40100 DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_ai_ci */"
)
_SHOW_CREATE_TABLE: Final = """CREATE TABLE `orders` (
  `id` bigint unsigned NOT NULL,
  `customer_id` int NOT NULL,
  `status` tinyint NOT NULL,
  `quantity` int NOT NULL,
  `amount` decimal(12,2) NOT NULL,
  `currency` varchar(3) NOT NULL,
  `title` varchar(120) NOT NULL,
  `note` text,
  `coupon` varchar(20) DEFAULT NULL,
  `placed_at` datetime NOT NULL,
  `paid_at` timestamp NULL DEFAULT NULL,
  PRIMARY KEY (`id`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci"""
"""What a MySQL 8.0 shows of orders.CREATE_TABLE."""


class SyntheticServer:
    """The process, seen from the benchmark; a context manager that ends it.

    `material` is what it streams. `rows` are those of all `files` together; `end` is file and position of its end.
    """

    def __init__(self, material: Material, *, files: int = 1, held: bool = False) -> None:
        root = str(Path(__file__).resolve().parent.parent)
        # -P: a `bench` in the directory we are called in must not be taken for this one.
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "bench.synthetic_server", str(material.path), str(files), str(int(held))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))},
        )
        try:
            ready = self._answer()
        except BaseException:
            self._end()
            raise
        self.host = "127.0.0.1"
        self.port: int = ready["port"]
        self.file = material.path.name
        self.start: int = ready["start"]
        self.end: tuple[str, int] = (ready["end"][0], ready["end"][1])
        self.rows = material.rows * files
        self.server_uuid: str = ready["server_uuid"]
        self.pid = self._process.pid

    @property
    def url(self) -> str:
        """The source of a channel."""
        return f"mysql://{USER}:{PASSWORD}@{self.host}:{self.port}?tls=disabled"

    def release(self) -> int:
        """Let the reader go on that waits at `start`, the next one that comes if none does; when, by the monotonic
        clock in nanoseconds, which is the same for all processes.
        """
        return int(self._ask("release")["released_ns"])

    def unanswered(self) -> list[str]:
        """Statements that nothing answered."""
        return list(self._ask("unanswered")["unanswered"])

    def _ask(self, name: str) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({name: 1}).encode() + b"\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the synthetic server ended with status {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise RuntimeError(f"the synthetic server: {answer['error']}")
        return answer

    def _end(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()


# ---- the binlog ----


class Packets:
    """The packets of a binlog file from an event on, and where each of them and each GTID event begins."""

    def __init__(self, data: bytes, start: int) -> None:
        parts: list[bytes] = []
        self._packets_at: list[int] = []
        self._gtids_at: list[int] = []
        at = 0
        for event_start, end in _events(data, start):
            packet, _ = protocol.framed(b"\0" + data[event_start:end], 0)
            if len(packet) > protocol.PACKET_BYTES_MAX:
                raise ValueError(f"the event at {event_start} is larger than a packet")
            if data[event_start + _TYPE_AT] == _GTID:
                self._gtids_at.append(at)
            self._packets_at.append(at)
            parts.append(packet)
            at += len(packet)
        self.buffer = bytearray(b"".join(parts))

    @property
    def next_sequence(self) -> int:
        return self._first_sequence + len(self._packets_at) & 0xFF

    def stamp(self, first_sequence: int) -> None:
        """Number the packets from there on."""
        self._first_sequence = first_sequence
        buffer = self.buffer
        for sequence, at in enumerate(self._packets_at, first_sequence):
            buffer[at + 3] = sequence & 0xFF

    def renumber(self, added: int) -> None:
        """Give each transaction the number that is so much higher."""
        buffer = self.buffer
        for at in self._gtids_at:
            event = at + _PACKET_HEADER
            (number,) = struct.unpack_from("<q", buffer, event + _NUMBER_AT)
            struct.pack_into("<q", buffer, event + _NUMBER_AT, number + added)
            end = event + int.from_bytes(buffer[event + _SIZE_AT : event + _SIZE_AT + 4], "little")
            struct.pack_into("<I", buffer, end - 4, zlib.crc32(buffer[event : end - 4]))

    @property
    def transactions(self) -> int:
        return len(self._gtids_at)


def _events(data: bytes, start: int) -> list[tuple[int, int]]:
    """Start and end of the events of a file from `start` on."""
    found = []
    while start < len(data):
        end = start + int.from_bytes(data[start + _SIZE_AT : start + _SIZE_AT + 4], "little")
        found.append((start, end))
        start = end
    return found


def first_rows(data: bytes) -> int:
    """Where the first transaction with rows begins."""
    gtid = _MAGIC_BYTES
    for start, _ in _events(data, _MAGIC_BYTES):
        if data[start + _TYPE_AT] == _GTID:
            gtid = start
        elif data[start + _TYPE_AT] == _TABLE_MAP:
            return gtid
    raise ValueError("the binlog has no rows")


class _Binlog:
    """What is streamed: a file, sent once or several times."""

    def __init__(self, path: Path, files: int) -> None:
        self.data = path.read_bytes()
        self.name, self.files = path.name, files
        self.start = first_rows(self.data)
        self.starts = [start for start, _ in _events(self.data, _MAGIC_BYTES)]
        self.head = self.data[_MAGIC_BYTES : self.starts[1]]
        self.server_id = int.from_bytes(self.head[5:9], "little")
        self._prepared = {start: self._prepare(start) for start in {self.start, self.starts[1]}}
        self._lock = threading.Lock()

    def file_name(self, number: int) -> str:
        stem, _, digits = self.name.rpartition(".")
        return f"{stem}.{int(digits) + number:0{len(digits)}d}"

    def _prepare(self, start: int) -> Packets:
        packets = Packets(self.data, start)
        packets.stamp(_FIRST_SEQUENCE)
        return packets

    def packets(self, start: int) -> Packets:
        """The packets of the events from `start` on, of which the format description is none."""
        start = max(start, self.starts[1])
        with self._lock:
            if start not in self._prepared:
                self._prepared[start] = self._prepare(start)
            return self._prepared[start]

    def beginning(self, name: str, position: int) -> int:
        """The event at which a dump begins. Raises SqlError as a server refuses."""
        if name not in ("", self.name):
            raise _fatal("Could not find first log file name in binary log index file")
        at = bisect_left(self.starts, position)
        if position != len(self.data) and (at == len(self.starts) or self.starts[at] != position):
            raise _fatal("bogus data in log event; the first event starts inside another")
        return position

    def behind_set(self, payload: bytes) -> int:
        """Where a reader begins that has a GTID set: this server's transactions up to a number, or none."""
        (count,) = struct.unpack_from("<Q", payload)
        if not count:
            return _MAGIC_BYTES
        number = struct.unpack_from("<Q", payload, 8 + 16 + 8 + 8)[0]
        for start in self.starts:
            if self.data[start + _TYPE_AT] == _GTID:
                (found,) = struct.unpack_from("<q", self.data, start + _NUMBER_AT)
                if found >= number:
                    return start
        return len(self.data)

    @property
    def executed(self) -> str:
        """The GTIDs before `start`."""
        (number,) = struct.unpack_from("<q", self.data, self.start + _NUMBER_AT)
        return f"{self.server_uuid}:1-{number - 1}" if number > 1 else ""

    @property
    def server_uuid(self) -> str:
        """Whose transactions they are."""
        uuid_at = self.start + _NUMBER_AT - _UUID_BYTES
        return str(UUID(bytes=self.data[uuid_at : uuid_at + _UUID_BYTES]))

    @property
    def variables(self) -> dict[str, str]:
        return {**_VARIABLES, "server_id": str(self.server_id), "server_uuid": self.server_uuid}


def _fatal(message: str) -> SqlError:
    return SqlError(1236, "HY000", message)


# ---- connections ----


class _Server:
    """What all connections share."""

    def __init__(self, binlog: _Binlog, *, held: bool) -> None:
        self.binlog = binlog
        self.held = held
        self.waiting: queue.Queue[threading.Event] = queue.Queue()
        self.unanswered: list[str] = []

    def serve(self, listener: socket.socket) -> None:
        while True:
            connection, _ = listener.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._run, args=(connection,), daemon=True).start()

    def _run(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(ConnectionError, EOFError):
            _Connection(self, connection).run()


class _Connection:
    """One reader."""

    def __init__(self, server: _Server, connection: socket.socket) -> None:
        self._server, self._binlog = server, server.binlog
        self._socket = connection
        self._sequence = 0
        self._ends_with_ok = False
        self._user_variables: dict[str, str] = {}

    def run(self) -> None:
        if not self._login():
            return
        while True:
            command = self._receive()
            if command[0] == protocol.COM_QUIT:
                return
            try:
                if command[0] in (protocol.COM_BINLOG_DUMP, protocol.COM_BINLOG_DUMP_GTID):
                    self._dump(command)
                    return
                self._command(command)
            except SqlError as error:
                self._send(error.payload)

    def _receive(self) -> bytes:
        header = self._exactly(4)
        self._sequence = header[3] + 1
        return self._exactly(int.from_bytes(header[:3], "little"))

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            piece = self._socket.recv(size - len(data))
            if not piece:
                raise EOFError
            data += piece
        return data

    def _send(self, *payloads: bytes) -> None:
        packets = []
        for payload in payloads:
            packet, self._sequence = protocol.framed(payload, self._sequence)
            packets.append(packet)
        self._socket.sendall(b"".join(packets))

    def _login(self) -> bool:
        plugin = protocol.NATIVE
        self._send(protocol.greeting(SERVER_VERSION, capabilities=_CAPABILITIES, charset=_CHARSET, plugin=plugin))
        _, user, answer = protocol.read_login(self._receive())
        if user != USER or answer != protocol.scrambled(PASSWORD, plugin):
            self._send(SqlError(1045, "28000", f"Access denied for user '{user}'@'127.0.0.1'").payload)
            return False
        self._send(protocol.OK)
        return True

    # ---- statements ----

    def _command(self, command: bytes) -> None:
        if command[0] != protocol.COM_QUERY:
            self._send(protocol.OK)
            return
        sql = command[1:].decode().strip().rstrip(";")
        if sql.upper().startswith(("SET ", "BEGIN", "COMMIT", "START ", "ROLLBACK", "KILL ", "USE ")):
            self._user_variables.update(re.findall(r"(?<!@)@(\w+) *= *('[^']*'|[\w@.]+)", sql))
            self._send(protocol.OK)
            return
        names, rows = self._answer(sql)
        self._send(*protocol.rows_answer(names, rows, ends_with_ok=self._ends_with_ok))

    def _answer(self, sql: str) -> Answer:
        for pattern, answer in _ANSWERS:
            if found := re.fullmatch(pattern, sql, re.IGNORECASE | re.DOTALL):
                return answer(self, found)
        self._server.unanswered.append(sql)
        raise SqlError(1064, "42000", f"You have an error in your SQL syntax; … near '{sql[:80]}' at line 1")

    def show_variables(self, found: re.Match[str]) -> Answer:
        names = {name.lower() for name in re.findall(r"'(\w+)'", found[1])}
        rows = [(name, value) for name, value in self._binlog.variables.items() if name in names]
        return ("Variable_name", "Value"), rows

    def select_variables(self, found: re.Match[str]) -> Answer:
        known = {**self._binlog.variables, "gtid_executed": self._binlog.executed}
        names = re.findall(r"@@(?:global\.|session\.)?(\w+)", found[1].lower())
        for name in names:
            if name not in known:
                raise SqlError(1193, "HY000", f"Unknown system variable '{name}'")
        return [f"@@{name}" for name in names], [[known[name] for name in names]]

    def binlog_status(self, _: re.Match[str]) -> Answer:
        row = (self._binlog.name, str(self._binlog.start), "", "", self._binlog.executed)
        return ("File", "Position", "Binlog_Do_DB", "Binlog_Ignore_DB", "Executed_Gtid_Set"), [row]

    def binary_logs(self, _: re.Match[str]) -> Answer:
        """All that will be sent: Binwire asks for the sizes at the end of a file."""
        binlog = self._binlog
        rows = [(binlog.file_name(number), str(len(binlog.data)), "No") for number in range(binlog.files)]
        return ("Log_name", "File_size", "Encrypted"), rows

    # ---- the dump ----

    def _dump(self, command: bytes) -> None:
        binlog = self._binlog
        if command[0] == protocol.COM_BINLOG_DUMP:
            position, flags = struct.unpack_from("<IH", command, 1)
            start = binlog.beginning(command[11:].decode(), position)
        else:
            flags, _, name_bytes = struct.unpack_from("<HII", command, 1)
            start = binlog.behind_set(command[11 + name_bytes + 12 :])
        crc = "CRC32" in self._checksum()
        for number in range(binlog.files):
            self._file(number, start, crc)
            start, crc = binlog.start, True
        if flags & _NON_BLOCK:
            self._send(protocol.END_OF_DUMP)
        else:
            self._heartbeats()

    def _checksum(self) -> str:
        """What the reader said; `@@global.binlog_checksum` is CRC32 here."""
        said = [self._user_variables.get(f"{role}_binlog_checksum", "") for role in ("master", "source")]
        return " ".join(said).upper().replace("@@GLOBAL.BINLOG_CHECKSUM", "CRC32")

    def _file(self, number: int, start: int, crc: bool) -> None:
        """Send the binlog file from `start` on, the `number`-th time."""
        binlog = self._binlog
        shown = _MAGIC_BYTES if number else start
        self._send(
            b"\0" + protocol.artificial_rotate(binlog.file_name(number), shown, server_id=binlog.server_id, crc=crc),
            b"\0" + protocol.format_description_as_sent(binlog.head, shown, crc=True),
        )
        if not number and self._server.held and start == binlog.start:
            self._wait()
        packets = binlog.packets(start)
        if number:
            packets = Packets(binlog.data, start)
            packets.stamp(self._sequence)
            packets.renumber(number * packets.transactions)
        self._socket.sendall(packets.buffer)
        self._sequence = packets.next_sequence

    def _wait(self) -> None:
        released = threading.Event()
        self._server.waiting.put(released)
        released.wait()

    def _heartbeats(self) -> None:
        """At the end of the binlog, once a period, for as long as the reader stays."""
        binlog = self._binlog
        period_s = max(int(self._user_variables.get(f"{role}_heartbeat_period", "0")) for role in ("master", "source"))
        name = binlog.file_name(binlog.files - 1)
        while not select.select([self._socket], [], [], period_s / 1e9 or _HEARTBEAT_PERIOD_S)[0]:
            self._send(b"\0" + protocol.heartbeat(name, len(binlog.data), server_id=binlog.server_id, crc=True))


Answer = tuple[Sequence[str], Sequence[protocol.Row]]


def _fixed(names: Sequence[str], *rows: protocol.Row) -> Callable[[_Connection, re.Match[str]], Answer]:
    return lambda _, found: (names, rows)


def _column_rows() -> list[protocol.Row]:
    """SHOW FULL COLUMNS, as the definition says: `name` type … [NOT NULL]."""
    rows: list[protocol.Row] = []
    for line in _SHOW_CREATE_TABLE.splitlines():
        if found := re.match(r"  `(\w+)` (\w+(?:\([\d,]+\))?(?: unsigned)?)", line):
            collation = "utf8mb4_0900_ai_ci" if re.match("varchar|text", found[2]) else None
            null, key = "NO" if "NOT NULL" in line else "YES", "PRI" if found[1] == orders.PRIMARY_KEY else ""
            rows.append((found[1], found[2], collation, null, key, None, "", "select", ""))
    return rows


_COLUMN_NAMES: Final = ("Field", "Type", "Collation", "Null", "Key", "Default", "Extra", "Privileges", "Comment")
_INDEX_NAMES: Final = (
    *("Table", "Non_unique", "Key_name", "Seq_in_index", "Column_name", "Collation", "Cardinality", "Sub_part"),
    *("Packed", "Null", "Index_type", "Comment", "Index_comment", "Visible", "Expression"),
)
_INDEX_ROW: Final = (
    *(_TABLE, "0", "PRIMARY", "1", orders.PRIMARY_KEY, "A", "0", None),
    *(None, "", "BTREE", "", "", "YES", None),
)
_GRANTED: Final = "SELECT, SHOW VIEW, REPLICATION SLAVE, REPLICATION CLIENT"
_NAMED: Final = rf"`?{_DATABASE}`?\.`?{_TABLE}`?"

_ANSWERS: Final[tuple[tuple[str, Callable[[_Connection, re.Match[str]], Answer]], ...]] = (
    (r"SHOW (?:GLOBAL |SESSION )?VARIABLES (?:WHERE Variable_name IN|LIKE) (.*)", _Connection.show_variables),
    (r"SELECT ((?:@@[\w.]+(?: AS \w+)?,? ?)+)", _Connection.select_variables),
    (r"SELECT UNIX_TIMESTAMP\(NOW\(6\)\)", lambda _, found: (("now",), [(f"{time.time():.6f}",)])),
    (r"SELECT VERSION\(\)", _fixed(("version",), (SERVER_VERSION,))),
    (r"SELECT CURRENT_USER\(\)", _fixed(("user",), (f"{USER}@%",))),
    (
        r"SHOW GRANTS.*",
        _fixed(("Grants",), (f"GRANT {_GRANTED} ON *.* TO `{USER}`@`%`",)),
    ),
    (r"SHOW MASTER STATUS", _Connection.binlog_status),
    (r"SHOW (?:BINARY|MASTER) LOGS", _Connection.binary_logs),
    (
        rf"SHOW CREATE DATABASE (?:IF NOT EXISTS )?`?{_DATABASE}`?",
        _fixed(("Database", "Create Database"), (_DATABASE, _SHOW_CREATE_DATABASE)),
    ),
    (rf"SHOW CREATE TABLE {_NAMED}", _fixed(("Table", "Create Table"), (_TABLE, _SHOW_CREATE_TABLE))),
    (rf"SHOW FULL COLUMNS FROM {_NAMED}", _fixed(_COLUMN_NAMES, *_column_rows())),
    (rf"SHOW INDEX FROM {_NAMED}", _fixed(_INDEX_NAMES, _INDEX_ROW)),
    (
        r"SELECT (?:table_schema, table_name|\*) FROM information_schema\.(?:tables|statistics).*",
        _fixed(("TABLE_SCHEMA", "TABLE_NAME"), (_DATABASE, _TABLE)),
    ),
    (r"SELECT schema_name FROM information_schema\.schemata", _fixed(("SCHEMA_NAME",), (_DATABASE,))),
    (r"SHOW (?:SLAVE HOSTS|REPLICAS|SLAVE STATUS|REPLICA STATUS)", _fixed(("Server_Id",))),
    (r"SELECT .* FROM information_schema\.\w+.*", _fixed(("c0",))),
)


# ---- the process ----


def _main(path: Path, files: int, held: bool) -> None:
    binlog = _Binlog(path, files)
    server = _Server(binlog, held=held)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=server.serve, args=(listener,), daemon=True).start()
        end = (binlog.file_name(files - 1), len(binlog.data))
        port = listener.getsockname()[1]
        _write({"port": port, "start": binlog.start, "end": end, "server_uuid": binlog.server_uuid})
        for line in sys.stdin:
            _write(_handle(server, json.loads(line)))
        os._exit(0)  # connections are of no interest any more, and their threads may wait for ever


def _handle(server: _Server, request: dict[str, int]) -> dict[str, Any]:
    if "unanswered" in request:
        return {"unanswered": server.unanswered}
    try:
        released = server.waiting.get(timeout=_ANSWER_TIMEOUT_S)
    except queue.Empty:
        return {"error": f"no reader came within {_ANSWER_TIMEOUT_S} s; unanswered were {server.unanswered}"}
    now_ns = time.monotonic_ns()
    released.set()
    return {"released_ns": now_ns}


def _write(answer: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    _main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "1")
