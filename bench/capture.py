"""How many rows per second go from a binlog into the log?

One process brings the row changes of a binlog to where a consumer could have them: event decoding, schema history,
transcoding to Avro, record batches, checksums, segments, position entries, catalog. It reads them

    rows      from a file, from its beginning (`bench/material.py`), in this process
    stream    over a socket from a server that sends the same as fast as it is read (`bench/synthetic_server.py`), as a
              process of its own
    dump      from a MySQL server (`bench/shop_server.py`), likewise

Beside `rows`, mysql-replication decodes the same file and fastavro encodes the same records, into memory. After the
clock has stopped, the rows of both are decoded and must say the same.

Beside `stream` and `dump`, other readers of a server's binlog (`bench/peers/reader.py`: whose clock that is) get the
same row changes of it: go-mysql's canal decodes them; Debezium and Maxwell, which the synthetic server does not
understand, make JSON of them; nobody but Binwire keeps them. Each must have seen all that was written. Where no peer
that reads from a real server is wanted or to be had, `dump` is not asked. mysql-replication has no part in either: from
a file it is faster than over a socket.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from bench import captured, material, orders, own_process
from bench.harness import Benchmark, Measure, Outcome, Parameters, PeerMissingError, Prepared, Side, SoughtPeer
from bench.material import Material
from bench.peers import canal, debezium, maxwell, mysql_replication, reader
from bench.records import content_hash, record_values, rows
from bench.shop_server import NEWEST, OLDEST, History, ShopServer, history, shop_server
from bench.synthetic_server import PASSWORD, USER, SyntheticServer

_ROWS: Final = Measure("rows", "rows/s")
_CPU: Final = Measure("rows-cpu", "CPU s/million rows", higher_is_better=False)
_BINWIRE: Final = "binwire"
_VERSION_NAMES: Final = {NEWEST: "dump_server", OLDEST: "maxwell_server"}

_READ_TIME: Final = b"\x28readerThroughoutTime\x1a"
"""The tag that alone differs from one capture of a binlog to the next, up to its value: when it was read, in ms."""
_READ_TIME_DIGITS: Final = 13

_ANSWERS: Final[dict[tuple[Callable[[list[bytes]], Any], bytes], Any]] = {}

AnswerT = TypeVar("AnswerT")
_Run = Callable[[str, ShopServer, Path], Outcome]


@contextlib.contextmanager
def _prepare(parameters: Parameters, folder: Path) -> Iterator[Prepared]:
    count = parameters["rows_per_transaction"]
    binlog = material.write_binlog(folder / "mysql-bin.000001", parameters["transactions"], count)
    with contextlib.ExitStack() as stack:
        servers = _Servers(stack, parameters["server_transactions"], count)
        files = parameters["stream_files"]
        synthetic = stack.enter_context(SyntheticServer(binlog, files=files))
        stream = _Stream(synthetic, history(parameters["transactions"], count).times(files))

        def sought(name: str, kind: str, find: Callable[[], str], run: _Run) -> SoughtPeer:
            return SoughtPeer(name, lambda: _reader(name, servers, kind, find(), run, folder))

        yield Prepared(
            Side(_BINWIRE, lambda: _run(binlog, stream, servers, folder)),
            Side(mysql_replication.NAME, lambda: _run_peer(binlog)),
            SoughtPeer(canal.NAME, lambda: _stream_reader(stream, canal.program(), folder)),
            sought(canal.NAME, NEWEST, canal.program, canal.run),
            sought(debezium.NAME, NEWEST, debezium.class_path, debezium.run),
            sought(maxwell.NAME, OLDEST, maxwell.class_path, maxwell.run),
            versions=servers.versions,
        )


class _Servers:
    """The servers with the orders in their binlogs: started for the first peer that reads there, and tried once."""

    def __init__(self, stack: contextlib.ExitStack, transactions: int, rows_per_transaction: int) -> None:
        self._stack = stack
        self._size = transactions, rows_per_transaction
        self.running: dict[str, ShopServer] = {}
        self.versions = {"stream_server": f"MySQL {material.SERVER_VERSION} (synthetic)"}
        self._missing: dict[str, str] = {}

    def get(self, kind: str) -> ShopServer:
        """Raises PeerMissingError."""
        if kind in self._missing:
            raise PeerMissingError(self._missing[kind])
        if kind not in self.running:
            try:
                server = self._stack.enter_context(shop_server(kind, *self._size))
            except PeerMissingError as error:
                self._missing[kind] = str(error)
                raise
            self.running[kind] = server
            self.versions[_VERSION_NAMES[kind]] = f"MySQL {server.version}"
        return self.running[kind]


@dataclass(frozen=True, slots=True)
class _Stream:
    """The synthetic server, as a reader sees it."""

    server: SyntheticServer
    history: History
    user: str = USER
    password: str = PASSWORD

    @property
    def host(self) -> str:
        return self.server.host

    @property
    def port(self) -> int:
        return self.server.port

    @property
    def file(self) -> str:
        return self.server.file

    @property
    def position(self) -> int:
        return self.server.start

    @property
    def end(self) -> tuple[str, int]:
        return self.server.end

    @property
    def url(self) -> str:
        return self.server.url


def _stream_reader(stream: _Stream, program: str, folder: Path) -> Side:
    return Side(canal.NAME, lambda: canal.run(program, stream, folder, reader.STREAM), same_result=False)


def _reader(name: str, servers: _Servers, kind: str, program: str, run: _Run, folder: Path) -> Side:
    """A peer that reads from a server. Raises PeerMissingError."""
    server = servers.get(kind)
    servers.get(NEWEST)  # where Binwire reads
    return Side(name, lambda: run(program, server, folder), same_result=False)


def _run(binlog: Material, stream: _Stream, servers: _Servers, folder: Path) -> Outcome:
    """From the file, from the synthetic server, and from the real one, if there is one."""
    from_file = _run_file(binlog, folder / "data")
    values = {**from_file.values, **run_server(stream, folder / "data", reader.STREAM).values}
    if NEWEST in servers.running:
        values |= run_server(servers.running[NEWEST], folder / "data", reader.DUMP).values
    return Outcome(values, from_file.result_hash)


def _run_file(binlog: Material, data_directory: Path) -> Outcome:
    with _fresh(data_directory):
        end = binlog.path.name, binlog.path.stat().st_size
        took, _ = asyncio.run(captured.capture(data_directory, f"file://{binlog.path}", "earliest", *end))
        return _outcome(binlog, took.seconds, took.cpu_seconds, list(_values(data_directory)))


def run_server(server: _Stream | ShopServer, data_directory: Path, source: str) -> Outcome:
    """Capture a server's orders by a process of its own. Raises ResultMismatchError."""
    with _fresh(data_directory):
        start, end = f"{server.file}:{server.position}", map(str, server.end)
        command = own_process.command("bench.captured", data_directory, server.url, start, *end)
        reading = reader.read(_BINWIRE, command, data_directory, own_process.environment())
        reader.require(_BINWIRE, _asked_once(_history, list(_values(data_directory))), server.history)
        took = captured.Took(**reading.said)
        times = took.seconds, took.cpu_seconds
        return reader.answer(source, server.history, server.history.rows, *times, reading.anonymous_kib)


def _asked_once(question: Callable[[list[bytes]], AnswerT], values: list[bytes]) -> AnswerT:
    """What records say, decoded once for all runs that made the same: decoding takes longer than capturing."""
    digest = hashlib.sha256()
    for value in values:
        time_at = value.find(_READ_TIME) + len(_READ_TIME)
        same = value if time_at < len(_READ_TIME) else value[:time_at] + value[time_at + _READ_TIME_DIGITS :]
        digest.update(len(same).to_bytes(4, "big") + same)
    key = question, digest.digest()
    if key not in _ANSWERS:
        _ANSWERS[key] = question(values)
    answer: AnswerT = _ANSWERS[key]
    return answer


def _history(values: list[bytes]) -> History:
    counts = {"INSERT": 0, "UPDATE": 0, "DELETE": 0}
    ids = 0
    for row in rows(values):
        counts[row["operation"]] += 1
        position = [field["name"] for field in row["fields"]].index(orders.PRIMARY_KEY)
        ids += int((row["afterImages"] or row["beforeImages"])[position]["value"])
    return History(counts["INSERT"], counts["UPDATE"], counts["DELETE"], ids)


@contextlib.contextmanager
def _fresh(data_directory: Path) -> Iterator[None]:
    data_directory.mkdir()
    try:
        yield
    finally:
        shutil.rmtree(data_directory)


def _values(data_directory: Path) -> Iterator[bytes]:
    for segment in captured.segments(data_directory):
        yield from record_values(segment.read_bytes())


def _run_peer(binlog: Material) -> Outcome:
    start, start_cpu = time.perf_counter(), time.process_time()
    values = mysql_replication.transcode(binlog.path, material.SERVER_VERSION)
    return _outcome(binlog, time.perf_counter() - start, time.process_time() - start_cpu, values)


def _outcome(binlog: Material, seconds: float, cpu_seconds: float, values: list[bytes]) -> Outcome:
    measured = {_ROWS.name: binlog.rows / seconds, _CPU.name: cpu_seconds / binlog.rows * 1_000_000}
    return Outcome(measured, _asked_once(content_hash, values))


BENCHMARK = Benchmark(
    name="capture",
    question="How many row changes per second go from a binlog into the log (one process)?",
    measures=(_ROWS, _CPU, *reader.measures(reader.STREAM), *reader.measures(reader.DUMP)),
    smoke={"transactions": 5, "rows_per_transaction": 20, "stream_files": 2, "server_transactions": 160},
    full={"transactions": 160, "rows_per_transaction": 250, "stream_files": 2, "server_transactions": 276},
    prepare=_prepare,
)
