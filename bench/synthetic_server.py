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
Statements that no row answers (`bench/synthetic_answers.py`) are syntax errors; `unanswered` tells them.

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
import sys
import threading
import time
from pathlib import Path
from typing import Any, Final, Self

from bench import mysql_protocol as protocol
from bench.material import SERVER_VERSION, Material
from bench.mysql_protocol import SqlError
from bench.own_process import OwnProcess
from bench.prepared_binlog import MAGIC_BYTES, Binlog, Packets
from bench.synthetic_answers import USER, answer

__all__ = ["PASSWORD", "USER", "SyntheticServer"]

PASSWORD: Final = "Bench-synthetic1"  # noqa: S105 — of a server that lives for a minute, on the loopback interface

_CAPABILITIES: Final = 0x00FF_F7FF & ~protocol.DEPRECATE_EOF
_CHARSET: Final = 45
_NON_BLOCK: Final = 0x01
_HEARTBEAT_PERIOD_S: Final = 30.0
_ANSWER_TIMEOUT_S: Final = 60


class SyntheticServer:
    """The process, seen from the benchmark; a context manager that ends it.

    `material` is what it streams. `rows` are those of all `files` together; `end` is file and position of its end.
    """

    def __init__(self, material: Material, *, files: int = 1, held: bool = False) -> None:
        self._process = OwnProcess("the synthetic server", "bench.synthetic_server", material.path, files, int(held))
        try:
            ready = self._answered(self._process.answer())
        except BaseException:
            self._process.end()
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
        return self._answered(self._process.ask({name: 1}))

    @staticmethod
    def _answered(answer: dict[str, Any]) -> dict[str, Any]:
        if "error" in answer:
            raise RuntimeError(f"the synthetic server: {answer['error']}")
        return answer

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.end()


# ---- connections ----


class _Server:
    """What all connections share."""

    def __init__(self, binlog: Binlog, *, held: bool) -> None:
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
        found = answer(self._binlog, sql)
        if found is None:
            self._server.unanswered.append(sql)
            raise SqlError(1064, "42000", f"You have an error in your SQL syntax; … near '{sql[:80]}' at line 1")
        names, rows = found
        self._send(*protocol.rows_answer(names, rows, ends_with_ok=self._ends_with_ok))

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
        shown = MAGIC_BYTES if number else start
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


# ---- the process ----


def _main(path: Path, files: int, held: bool) -> None:
    binlog = Binlog(path, files)
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
