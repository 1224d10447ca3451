"""A MySQL, MariaDB or PolarDB server as a source: queries, and the binlog dump as raw events.

asyncmy opens the connections: TLS, authentication (`capture/authentication.py`), queries. For the dump its transport is
then handed over to a protocol of our own (`_hand_over`, `capture/dump_stream.py`). asyncmy's private parts are touched
in `_connect`, `_rows`, `_hand_over` and where it logs in, and nowhere else.

The connection for queries lives while it is used and a little longer; an idle channel holds one connection, its dump.
A dump that is silent for three heartbeat periods is dead (servers that send none: `capture/proof_of_life.py`), one that
is not read for ten minutes is closed; what had arrived of it is handed over all the same. Decoding events is not known
here.

Session variables of a dump (sql/rpl_source.cc, rpl_binlog_sender.cc; MariaDB sql/sql_repl.cc):

    @source_heartbeat_period, @master_heartbeat_period   nanoseconds of silence after which the server says it lives
    @source_binlog_checksum, @master_binlog_checksum     the checksum the first ROTATE is to have
    @replica_uuid, @slave_uuid                           a dump of the same reader ends the one it left behind
    @mariadb_slave_capability = 4                        MariaDB: send GTID events as they are
"""

from __future__ import annotations

import asyncio
import importlib
import random
import struct
from typing import TYPE_CHECKING, Any
from uuid import NAMESPACE_URL, uuid4, uuid5

from msgspec.structs import replace

from capture.authentication import answer
from capture.connecting import (
    PROTOCOL_VERSION,
    NotMysql,
    failure_to_connect,
    greeting_failure,
    tls_context,
)
from capture.dump_stream import DumpStream
from capture.errors import CaptureError, SourceRefused, SourceUnavailable
from capture.packets import EndOfStream
from capture.position import BINLOG_MAGIC_BYTES, BinlogPosition
from capture.proof_of_life import ProofOfLife, keep_alive, sends_heartbeats
from capture.server_errors import is_lost, translate
from capture.source import HEARTBEAT_PERIOD_MS, MISSED_HEARTBEATS_MAX, Flavour, ServerInfo, Tls
from storage.scheduler import LoopScheduler, Scheduler

if TYPE_CHECKING:
    from collections.abc import Iterator

    from capture.source import Source, SourceAddress
    from storage.clock import Clock
    from storage.scheduler import Timer

CONNECT_TIMEOUT_S = 10
"""For the whole of name look-up, TCP, TLS and authentication."""

CLOSE_TIMEOUT_S = 1
QUERY_TIMEOUT_S = 60
IDLE_QUERY_CONNECTION_MS = 30_000
NET_WRITE_TIMEOUT_S = 3_600
"""How long the server waits for a reader that is busy; its default of 60 s cuts readers that stop for a slow disk."""

WAIT_TIMEOUT_S = 3_600
"""How long the server keeps a connection for queries between two of them; some are set to a few seconds."""

PAUSED_MAX_MS = 600_000
"""A dump that nobody has read from for so long is closed: before its server does, which holds a thread for it."""

DUMP_POSITION_MAX = (1 << 32) - 1
"""COM_BINLOG_DUMP carries 32 bits of position."""

_COM_BINLOG_DUMP = 0x12
_CLIENT_SSL = 1 << 11

_VARIABLES = (
    "version",
    "server_id",
    "server_uuid",
    "lower_case_table_names",
    "log_bin",
    "binlog_format",
    "binlog_row_image",
    "binlog_checksum",
    "binlog_row_value_options",
    "binlog_transaction_compression",
    "log_bin_compress",
    "gtid_mode",
    "collation_server",
    "explicit_defaults_for_timestamp",
)
_ALWAYS_THERE = ("version", "server_id", "lower_case_table_names")


class MysqlSource:
    """One server. `identity` and `server_id` make the reader's UUID the same each time; without identity it is random.

    Not the identity alone: it is the channel's id, which the channel of another data directory may have as well, and a
    server ends the dump of a reader whose UUID comes again.
    """

    paced_heartbeats = True
    queryable = True

    def __init__(
        self,
        address: SourceAddress,
        server_id: int,
        clock: Clock,
        *,
        identity: str = "",
        scheduler: Scheduler | None = None,
        heartbeat_period_ms: int = HEARTBEAT_PERIOD_MS,
    ) -> None:
        self.heartbeat_period_ms = heartbeat_period_ms
        self._address = address
        self._server_id = server_id
        self._clock = clock
        self._scheduler = scheduler or LoopScheduler()
        self._reader_uuid = str(uuid5(NAMESPACE_URL, f"binwire:{identity}:{server_id}") if identity else uuid4())
        self._info: ServerInfo | None = None
        self._queries: Any = None
        self._idle: Timer | None = None
        self._dump: Any = None
        self._stream: DumpStream | None = None
        self._watchdog: Timer | None = None
        self._proof: ProofOfLife | None = None
        self._asking: asyncio.Future[None] | None = None
        self._position: BinlogPosition | None = None
        self._closing: list[asyncio.Future[None]] = []

    @property
    def address(self) -> str:
        return str(self._address)

    def sibling(self) -> MysqlSource:
        return MysqlSource(self._address, random.randrange(1 << 31, 1 << 32), self._clock, scheduler=self._scheduler)

    def hosts(self) -> list[Source]:
        if len(self._address.hosts) < 2:
            return [self]
        return [self._at(host) for host in self._address.hosts]

    def _at(self, host: tuple[str, int]) -> MysqlSource:
        source = MysqlSource(
            replace(self._address, hosts=(host,)),
            self._server_id,
            self._clock,
            scheduler=self._scheduler,
            heartbeat_period_ms=self.heartbeat_period_ms,
        )
        source._reader_uuid = self._reader_uuid
        return source

    # ---- queries ----

    async def connect(self) -> ServerInfo:
        names = ",".join(f"'{name}'" for name in _VARIABLES)
        rows = await self.query(f"SHOW GLOBAL VARIABLES WHERE Variable_name IN ({names})")
        variables = {name: value for name, value in rows if name is not None and value is not None}
        if missing := [name for name in _ALWAYS_THERE if name not in variables]:
            raise SourceUnavailable(
                f"the source {self.address} does not tell its {' and '.join(missing)}, which every MySQL server does; "
                f"check what answers there"
            )
        mariadb = "mariadb" in variables["version"].lower()
        self._info = ServerInfo(
            version=variables["version"],
            flavour=Flavour.MARIADB if mariadb else Flavour.MYSQL,
            server_id=int(variables["server_id"]),
            server_uuid=variables.get("server_uuid"),
            lower_case_table_names=int(variables["lower_case_table_names"]),
            clock_offset_ms=await self._clock_offset_ms(),
            variables=variables,
        )
        return self._info

    async def _clock_offset_ms(self) -> int:
        before_ms = self._clock.now_ms()
        rows = await self.query("SELECT UNIX_TIMESTAMP(NOW(6))")
        middle_ms = (before_ms + self._clock.now_ms()) // 2
        return round(float(rows[0][0] or 0) * 1000) - middle_ms

    async def query(self, sql: str) -> list[tuple[str | None, ...]]:
        self._keep_queries()
        if self._queries is None:
            self._queries = await self._open()
        try:
            async with asyncio.timeout(QUERY_TIMEOUT_S):
                return await _rows(self._queries, sql)
        except Exception as error:
            if is_lost(error):
                self._close_queries()
            raise self._translate(error) from None

    def _translate(self, error: Exception) -> CaptureError:
        return translate(error, self.address, self._position, self._server_id)

    def _keep_queries(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
        self._idle = self._scheduler.call_later(IDLE_QUERY_CONNECTION_MS, self._close_queries)

    def _close_queries(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        if self._queries is not None:
            self._drop(self._queries)
            self._queries = None

    def _drop(self, connection: Any) -> None:
        """Close without waiting for the peer; `close` waits until the sockets are gone."""
        self._closing = [closed for closed in self._closing if not closed.done()] + [_abort(connection)]

    async def _open(self) -> Any:
        """A connection to the first host that takes one, its session set up; later ones are to the same host."""
        failure: CaptureError = SourceUnavailable(f"the source {self.address} names no host")
        for host, port in self._address.hosts:
            try:
                async with asyncio.timeout(CONNECT_TIMEOUT_S):
                    connection = await _connect(self._address, host, port)
            except TimeoutError:
                failure = SourceUnavailable(
                    f"the source {self.address} did not answer within {CONNECT_TIMEOUT_S} s; "
                    f"check host, port and firewall"
                )
            except Exception as error:
                failure = failure_to_connect(self._address, host, port, error) or self._translate(error)
            else:
                self._address = replace(self._address, hosts=((host, port),))
                return connection
        raise failure

    # ---- the dump ----

    async def start(self, position: BinlogPosition) -> None:
        self._end_dump()
        info = self._info or await self.connect()
        self._position = position
        try:
            dump = await self._open()
            await _rows(dump, "SET " + ", ".join(self._dump_session(info)))
        except CaptureError:
            raise
        except Exception as error:
            raise self._translate(error) from None
        self._dump = dump
        self._stream = DumpStream(self._clock)
        self._proof = None if sends_heartbeats(info) else ProofOfLife(self._stream, self.query)
        if self._proof is not None:
            keep_alive(dump._transport.get_extra_info("socket"))
        _hand_over(dump, self._stream, self._dump_command(position))
        self._watchdog = self._scheduler.call_later(self.heartbeat_period_ms, self._watch)

    def _dump_session(self, info: ServerInfo) -> Iterator[str]:
        yield f"SESSION net_write_timeout = {NET_WRITE_TIMEOUT_S}"
        for role, reader in (("master", "slave"), ("source", "replica")):
            yield f"@{role}_heartbeat_period = {self.heartbeat_period_ms * 1_000_000}"
            yield f"@{reader}_uuid = '{self._reader_uuid}'"
            if info.has_checksums:
                yield f"@{role}_binlog_checksum = 'CRC32'"
        if info.flavour is Flavour.MARIADB:
            yield "@mariadb_slave_capability = 4"

    def _dump_command(self, position: BinlogPosition) -> bytes:
        """COM_BINLOG_DUMP; a position beyond 32 bits is reached from the file's start, and `channel` drops the rest."""
        start = position.position if position.position <= DUMP_POSITION_MAX else BINLOG_MAGIC_BYTES
        return struct.pack("<BIHI", _COM_BINLOG_DUMP, start, 0, self._server_id) + position.file.encode()

    async def read(self) -> list[bytes]:
        stream = self._stream
        if stream is None:
            raise SourceUnavailable(f"the binlog stream of {self.address} is not open")
        while True:
            if events := stream.take():
                return events
            if stream.exhausted:
                raise self._translate(stream.failure or EndOfStream())
            await stream.wait()

    def pending(self) -> bool:
        return self._stream is not None and self._stream.pending

    def committed(self, position: BinlogPosition) -> None:
        """The server keeps its binlog by its own rules."""

    def _watch(self) -> None:
        """Once per heartbeat period; a stall of our own loop counts as one missed period however long it was."""
        stream = self._stream
        if stream is None:
            return
        if stream.paused_since_ms is not None and self._clock.monotonic_ms() - stream.paused_since_ms >= PAUSED_MAX_MS:
            stream.abort()
            stream.fail(
                SourceUnavailable(
                    f"the binlog stream of {self.address} was not read for {PAUSED_MAX_MS // 60_000} minutes and was "
                    f"closed"
                )
            )
            return
        stream.missed += 1
        if self._proof is not None and (self._asking is None or self._asking.done()):
            self._asking = asyncio.ensure_future(self._proof.ask())
        if stream.missed > MISSED_HEARTBEATS_MAX and not stream.pending:
            silent_s = stream.missed * self.heartbeat_period_ms / 1000
            stream.fail(
                SourceUnavailable(f"the source {self.address} was silent for {silent_s:.0f} s, three heartbeats")
            )
            return
        self._watchdog = self._scheduler.call_later(self.heartbeat_period_ms, self._watch)

    def _end_dump(self) -> None:
        if self._watchdog is not None:
            self._watchdog.cancel()
            self._watchdog = None
        if self._asking is not None:
            self._asking.cancel()
            self._asking = None
        if self._dump is not None:
            self._drop(self._dump)
            self._dump = self._stream = None

    async def close(self) -> None:
        self._end_dump()
        self._close_queries()
        closing, self._closing = self._closing, []
        if closing:
            await asyncio.wait(closing, timeout=CLOSE_TIMEOUT_S)


# ---- asyncmy ----


async def _connect(address: SourceAddress, host: str, port: int) -> Any:
    """Open an asyncmy connection. TLS is decided once the server has said whether it can, in asyncmy's own hook."""
    # It takes 50 ms to load, in which clients of a server that starts would wait for their first record.
    driver = await asyncio.to_thread(importlib.import_module, "asyncmy.connection")
    base: Any = driver.Connection

    class _Connection(base):  # type: ignore[misc]
        async def _get_server_information(self: Any) -> None:
            try:
                await super()._get_server_information()
            except Exception as error:
                raise greeting_failure(host, port, error) from None
            if self.protocol_version != PROTOCOL_VERSION:
                raise NotMysql(host, port)
            if self._ssl_context is not None and not self.server_capabilities & _CLIENT_SSL:
                if address.tls is not Tls.PREFERRED:
                    raise SourceRefused(f"the source {address} does not offer TLS, and tls={address.tls} asks for it")
                self._ssl_context = None
                self._client_flag &= ~_CLIENT_SSL

        async def _process_auth(self: Any, plugin_name: bytes, packet: Any) -> Any:
            asked = plugin_name.decode("ascii", "replace")
            return await answer(self, address, asked, packet, super()._process_auth)

    connection: Any = _Connection(
        host=host,
        port=port,
        user=address.user,
        password=address.password.encode(),
        charset="utf8mb4",
        conv={},
        autocommit=None,
        program_name="binwire",
        init_command="SET time_zone = '+00:00', sql_mode = '', sql_quote_show_create = 1, "
        f"wait_timeout = {WAIT_TIMEOUT_S}",
        ssl=tls_context(address),
    )
    # `_open` limits the time. With a limit of asyncmy's own, a connection refused in the moment of a cancellation hides
    # it: `asyncio.wait_for` before Python 3.12 answers with the refusal, and the channel never stops.
    connection._connect_timeout = None
    try:
        await connection.connect()
    except BaseException:
        connection.close()
        if connection._proto is not None:
            await asyncio.wait([connection._proto._closed_waiter], timeout=CLOSE_TIMEOUT_S)
        raise
    return connection


async def _rows(connection: Any, sql: str) -> list[tuple[str | None, ...]]:
    await connection.query(sql)
    rows = connection._result.rows or ()
    return [tuple(_text(value) for value in row) for row in rows]


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return bytes(value).decode("utf-8", "surrogateescape")


def _abort(connection: Any) -> asyncio.Future[None]:
    """Cut the connection; what is returned is done when its socket is closed."""
    transport, connection._transport, connection._connected = connection._transport, None, False
    if transport is not None:
        transport.abort()
    closed: asyncio.Future[None] = connection._proto._closed_waiter
    return closed


def _hand_over(connection: Any, protocol: DumpStream, command: bytes) -> None:
    """Give the connection's transport to `protocol`, then send the command: nothing can arrive in between."""
    transport = connection._transport
    protocol.closed = connection._proto._closed_waiter
    transport.set_protocol(protocol)
    protocol.connection_made(transport)
    transport.write(len(command).to_bytes(3, "little") + b"\0" + command)
