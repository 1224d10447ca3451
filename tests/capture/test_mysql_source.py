"""The server source: the ways to log in, with and without TLS, the raw hand-over, and what goes wrong in words."""

from __future__ import annotations

import asyncio
import itertools
import socket
import subprocess
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import uvloop

from capture.dump_stream import WAITING_BYTES_MAX
from capture.errors import SourceRefused, SourceUnavailable
from capture.events import EventType, decode_header
from capture.mysql_source import DUMP_POSITION_MAX, PAUSED_MAX_MS, MysqlSource
from capture.packets import PIECE_BYTES
from capture.position import BinlogPosition
from capture.source import Flavour, ServerRefusal, SourceAddress, StreamEnded
from storage.clock import SystemClock
from tests.capture.test_packets import packet
from tests.capture.world import WAIT_S, settle
from tests.fakes import ManualClock, ManualScheduler

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.live_server import LiveServer

PASSWORD = "Gehe1m-ü:@/?"


def source_at(url: str, server_id: int = 4713, **options: object) -> MysqlSource:
    return MysqlSource(SourceAddress.parse(url), server_id, SystemClock(), **options)  # type: ignore[arg-type]


@asynccontextmanager
async def closing(source: MysqlSource) -> AsyncIterator[MysqlSource]:
    try:
        async with asyncio.timeout(WAIT_S):
            yield source
    finally:
        await source.close()


async def read_until(source: MysqlSource, event_type: EventType) -> list[bytes]:
    """Everything up to the first event of a type."""
    events: list[bytes] = []
    while not events or decode_header(events[-1]).type_code != event_type:
        events += await source.read()
    return events


# ---- who is there ----


async def test_who_the_server_is(server: LiveServer) -> None:
    async with closing(source_at(server.url())) as source:
        info = await source.connect()
    assert info.version == server.version
    assert info.flavour == Flavour(server.flavour)
    assert (info.server_uuid is None) == (server.flavour == "mariadb")
    assert abs(info.clock_offset_ms) < 2000
    assert info.variables["binlog_format"] == "ROW"
    assert info.has_checksums


async def test_queries_answer_in_text_with_the_time_zone_fixed(server: LiveServer) -> None:
    async with closing(source_at(server.url())) as source:
        rows = await source.query("SELECT @@time_zone, 7, NULL, '茶', _binary x'ff', FROM_UNIXTIME(0)")
        assert rows == [("+00:00", "7", None, "茶", "\udcff", "1970-01-01 00:00:00")]
        with pytest.raises(ServerRefusal, match="error 1109: ") as raised:
            await source.query("SELECT * FROM information_schema.nothing")
        assert raised.value.code == 1109
        assert await source.query("SELECT 1") == [("1",)], "an error leaves the connection usable"


# ---- logging in ----


@pytest.mark.parametrize("tls", ["disabled", "preferred", "required"])
async def test_caching_sha2_full_then_fast(mysql97: LiveServer, tls: str) -> None:
    user = f"sha2_{tls}"
    mysql97.execute(f"CREATE USER {user}@'%%' IDENTIFIED WITH caching_sha2_password BY %s", (PASSWORD,))
    for _ in ("full", "fast"):
        async with closing(source_at(mysql97.url(user, PASSWORD) + f"?tls={tls}")) as source:
            rows = await source.query("SHOW SESSION STATUS LIKE 'Ssl_cipher'")
            assert bool(rows[0][1]) == (tls != "disabled")


async def test_sha256_password(mysql97: LiveServer) -> None:
    mysql97.execute("CREATE USER sha256@'%%' IDENTIFIED WITH sha256_password BY %s", (PASSWORD,))
    for tls in ("disabled", "required"):
        async with closing(source_at(mysql97.url("sha256", PASSWORD) + f"?tls={tls}")) as source:
            assert await source.query("SELECT 1") == [("1",)]


@pytest.mark.parametrize("kind", ["mysql56", "mariadb1011"])
async def test_native_password(kind: str, request: pytest.FixtureRequest) -> None:
    server: LiveServer = request.getfixturevalue(kind)
    server.execute("CREATE USER native@'%%' IDENTIFIED BY %s", (PASSWORD,))
    async with closing(source_at(server.url("native", PASSWORD))) as source:
        assert await source.query("SELECT 1") == [("1",)]


async def long_row_is_dumped(mysql97: LiveServer, tls: str) -> None:
    file, position = mysql97.binlog_position()
    database = mysql97.fresh_database()
    mysql97.execute(f"CREATE TABLE {database}.t (a LONGTEXT)")
    mysql97.execute(f"INSERT INTO {database}.t VALUES (REPEAT('x', {PIECE_BYTES + 100}))")
    async with closing(source_at(f"{mysql97.url()}?tls={tls}")) as source:
        await source.connect()
        await source.start(BinlogPosition(file, position))
        events = await read_until(source, EventType.XID)
    sizes = [len(raw) for raw in events if decode_header(raw).type_code == EventType.WRITE_ROWS]
    assert len(sizes) == 1
    assert sizes[0] > PIECE_BYTES, "joined from several packets"


async def test_the_dump_comes_over_tls_too(mysql97: LiveServer) -> None:
    """The hand-over of the transport, which is not part of asyncmy's public face, on the encrypted one."""
    await long_row_is_dumped(mysql97, "required")


@pytest.mark.parametrize("tls", ["disabled", "required"])
def test_the_dump_comes_over_uvloop_too(mysql97: LiveServer, tls: str) -> None:
    """Its transports, encrypted or not, are others than asyncio's, and are handed over all the same."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(long_row_is_dumped(mysql97, tls))


async def test_a_certificate_is_verified_when_asked(mysql97: LiveServer, tmp_path: Path) -> None:
    directory = mysql97.instance.data_directory
    url = mysql97.url()
    async with closing(source_at(f"{url}?tls=verify-ca&tls_ca={directory / 'ca.pem'}")) as source:
        assert await source.query("SELECT 1") == [("1",)]
    async with closing(source_at(f"{url}?tls=verify-identity&tls_ca={directory / 'ca.pem'}")) as source:
        with pytest.raises(SourceRefused, match=r"not valid for '127\.0\.0\.1'; name the host as its certificate does"):
            await source.query("SELECT 1")
    other = tmp_path / "other.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=other"]
    command += ["-keyout", str(tmp_path / "key.pem"), "-out", str(other)]
    await asyncio.to_thread(subprocess.run, command, check=True, capture_output=True)
    async with closing(source_at(f"{url}?tls=verify-ca&tls_ca={other}")) as source:
        with pytest.raises(SourceRefused, match="not trusted"):
            await source.query("SELECT 1")


# ---- what goes wrong ----


async def test_a_wrong_password_is_refused_without_repeating_it(server: LiveServer) -> None:
    async with closing(source_at(server.url(password="wr0ng-secret"))) as source:
        with pytest.raises(SourceRefused, match="denies access") as raised:
            await source.connect()
    assert "wr0ng-secret" not in str(raised.value)
    assert "repl@" in str(raised.value)


async def test_tls_that_the_server_does_not_have_is_refused(mysql56: LiveServer) -> None:
    async with closing(source_at(mysql56.url() + "?tls=required")) as source:
        with pytest.raises(SourceRefused, match="does not offer TLS"):
            await source.connect()


async def test_a_position_the_server_does_not_have(server: LiveServer) -> None:
    file, _ = server.binlog_position()
    for position, words in (
        (BinlogPosition("binlog.000999", 4), "binlog.000999 is no longer on"),
        (BinlogPosition(file, 1 << 31), "past the end of that binlog file"),
    ):
        async with closing(source_at(server.url())) as source:
            await source.start(position)
            with pytest.raises(SourceRefused, match=words):
                await read_until(source, EventType.XID)


async def test_a_missing_privilege_is_named(server: LiveServer) -> None:
    server.execute("CREATE USER nobody@'%%' IDENTIFIED BY %s", (PASSWORD,))
    async with closing(source_at(server.url("nobody", PASSWORD))) as source:
        await source.start(BinlogPosition(*server.binlog_position()))
        with pytest.raises(SourceRefused, match="REPLICATION SLAVE"):
            await source.read()


async def test_two_readers_with_one_identity_notice_each_other(server: LiveServer) -> None:
    file, position = server.binlog_position()
    one = source_at(server.url(), identity="same")
    two = source_at(server.url(), identity="same")
    async with closing(one), closing(two):
        await one.start(BinlogPosition(file, position))
        await one.read()
        await two.start(BinlogPosition(file, position))
        with pytest.raises((SourceRefused, StreamEnded), match="another reader with server_id 4713") as raised:
            await read_until(one, EventType.XID)
    assert isinstance(raised.value, StreamEnded) == (server.kind == "mysql56"), "5.6 does not say why it ends a stream"


async def test_channels_of_one_id_in_two_data_directories_leave_each_other_alone(server: LiveServer) -> None:
    database = server.fresh_database()
    server.execute(f"CREATE TABLE {database}.t (id INT PRIMARY KEY) ENGINE = InnoDB")
    position = BinlogPosition(*server.binlog_position())
    one, two = (source_at(server.url(), server_id, identity="shop") for server_id in (4713, 4714))
    async with closing(one), closing(two):
        await one.start(position)
        await one.read()
        await two.start(position)
        await two.read()
        server.execute(f"INSERT INTO {database}.t VALUES (1)")
        for source in (two, one):
            assert await read_until(source, EventType.XID)


async def test_nobody_listens() -> None:
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    async with closing(source_at(f"mysql://u:secret@127.0.0.1:{port}")) as source:
        with pytest.raises(SourceUnavailable, match="cannot be reached") as raised:
            await source.connect()
    assert "secret" not in str(raised.value)


async def test_a_refused_connection_does_not_hide_that_it_is_cancelled() -> None:
    """At whichever turn of the loop the cancellation comes."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        address = f"mysql://u:p@127.0.0.1:{nobody.getsockname()[1]}"
        for turns in itertools.count():
            async with closing(source_at(address)) as source:
                connecting = asyncio.create_task(source.connect())
                for _ in range(turns):
                    await asyncio.sleep(0)
                ended = not connecting.cancel()
                with pytest.raises(SourceUnavailable if ended else asyncio.CancelledError):
                    await connecting
            if ended:
                break


async def test_the_next_host_is_tried(mysql97: LiveServer) -> None:
    url = mysql97.url().replace("@", "@127.0.0.1:1,")
    async with closing(source_at(url)) as source:
        assert (await source.connect()).version == mysql97.version


# ---- silence and cuts, played by a server of the test's own ----


class ScriptedServer:
    """Answers every query with nothing or with the variables asked for, and a dump with what it is told."""

    def __init__(self) -> None:
        self.port = 0
        self.commands: list[bytes] = []
        self.dump: asyncio.StreamWriter | None = None
        self.dumping = asyncio.Event()
        self.connections = 0
        self._writers: list[asyncio.StreamWriter] = []

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[ScriptedServer]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for writer in self._writers:
                writer.close()
            await server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        self.connections += 1
        greeting = b"\x0a5.7.44\0" + b"\1\0\0\0" + b"12345678\0" + b"\x0f\xa2" + b"\x21\2\0" + b"\x08\0" + b"\x15"
        writer.write(packet(greeting + b"\0" * 10 + b"123456789012\0mysql_native_password\0", 0))
        await self._packet(reader)
        writer.write(packet(b"\0\0\0\2\0\0\0", 2))
        while command := await self._packet(reader):
            self.commands.append(command)
            if command[0] == 0x12:
                self.dump = writer
                self.dumping.set()
                await reader.read()
                return
            self._answer(writer, command)

    @staticmethod
    async def _packet(reader: asyncio.StreamReader) -> bytes:
        try:
            head = await reader.readexactly(4)
            return await reader.readexactly(int.from_bytes(head[:3], "little"))
        except (asyncio.IncompleteReadError, ConnectionError):
            return b""

    @staticmethod
    def _answer(writer: asyncio.StreamWriter, command: bytes) -> None:
        answers: dict[bytes, list[tuple[bytes, ...]]] = {
            b"SHOW GLOBAL": [(b"version", b"5.7.44"), (b"server_id", b"9"), (b"lower_case_table_names", b"0")],
            b"SELECT UNIX": [(b"1700000000.5",)],
        }
        rows = answers.get(command[1:12])
        if rows is None:
            writer.write(packet(b"\0\0\0\2\0\0\0", 1))
            return
        column = b"\3def\0\0\0\1a\0\x0c\x21\0\xff\0\0\0\xfd\0\0\0\0\0"
        payloads = [bytes([len(rows[0])]), *[column] * len(rows[0]), b"\xfe\0\0\2\0"]
        payloads += [b"".join(bytes([len(cell)]) + cell for cell in row) for row in rows]
        payloads.append(b"\xfe\0\0\2\0")
        writer.write(b"".join(packet(payload, number) for number, payload in enumerate(payloads, start=1)))


@pytest.fixture
async def scripted() -> AsyncIterator[ScriptedServer]:
    async with ScriptedServer().listening() as server:
        yield server


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def dumping(scripted: ScriptedServer, clock: ManualClock) -> AsyncIterator[tuple[MysqlSource, ManualScheduler]]:
    scheduler = ManualScheduler(clock)
    address = SourceAddress.parse(f"mysql://u:p@127.0.0.1:{scripted.port}")
    source = MysqlSource(address, 4713, clock, scheduler=scheduler, heartbeat_period_ms=1000)
    async with closing(source):
        await source.start(BinlogPosition("bin.000007", 120))
        await scripted.dumping.wait()
        yield source, scheduler


Dumping = tuple[MysqlSource, ManualScheduler]


async def test_what_answers_must_say_which_server_it_is(clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> None:
    async def answered(_: str) -> list[tuple[str | None, ...]]:
        return [("server_id", "9")]

    source = MysqlSource(SourceAddress.parse("mysql://u:p@h"), 4713, clock)
    monkeypatch.setattr(source, "query", answered)
    with pytest.raises(SourceUnavailable, match="does not tell its version and lower_case_table_names"):
        await source.connect()


async def test_what_a_dump_asks_for(dumping: Dumping, scripted: ScriptedServer) -> None:
    session = next(command for command in scripted.commands if b"heartbeat_period" in command)
    assert b"@master_heartbeat_period = 1000000000" in session
    assert b"@source_heartbeat_period = 1000000000" in session
    assert b"@slave_uuid = '" in session
    assert b"binlog_checksum" not in session, "a server without that variable is not asked for it"
    assert b"mariadb" not in session
    assert (
        scripted.commands[-1]
        == b"\x12" + (120).to_bytes(4, "little") + b"\0\0" + (4713).to_bytes(4, "little") + b"bin.000007"
    )


def test_a_position_beyond_32_bits_is_reached_from_the_start_of_the_file(clock: ManualClock) -> None:
    source = MysqlSource(SourceAddress.parse("mysql://u@h"), 1, clock)
    command = source._dump_command(BinlogPosition("bin.000007", DUMP_POSITION_MAX + 1))
    assert command[1:5] == (4).to_bytes(4, "little")


async def test_three_silent_heartbeat_periods_are_death(dumping: Dumping, scripted: ScriptedServer) -> None:
    source, scheduler = dumping
    assert scripted.dump is not None
    reading = asyncio.ensure_future(source.read())
    scheduler.advance(3000)
    await settle()
    assert not reading.done()
    scripted.dump.write(packet(b"\0" + b"event", 1))
    assert await reading == [b"event"]
    reading = asyncio.ensure_future(source.read())
    scheduler.advance(4001)
    with pytest.raises(SourceUnavailable, match="silent for 4 s"):
        await reading


async def test_a_stall_of_our_own_is_one_missed_period(dumping: Dumping, clock: ManualClock) -> None:
    """A laptop that slept for an hour finds its scheduler late, once; the source gets its chance to be heard."""
    source, scheduler = dumping
    clock.advance(3_600_000)
    scheduler.advance(0)
    assert source._stream is not None
    assert source._stream.missed == 1
    assert source._stream.failure is None


async def test_what_arrived_before_a_cut_is_handed_over(dumping: Dumping, scripted: ScriptedServer) -> None:
    source, _ = dumping
    assert scripted.dump is not None
    scripted.dump.write(packet(b"\0one", 1) + packet(b"\0two", 2) + packet(b"\0cut", 3)[:5])
    scripted.dump.close()
    assert await source.read() == [b"one", b"two"]
    with pytest.raises(SourceUnavailable, match="cut"):
        await source.read()


async def test_a_fast_server_waits_for_a_slow_reader(dumping: Dumping, scripted: ScriptedServer) -> None:
    source, _ = dumping
    assert scripted.dump is not None
    events = [bytes([number & 0xFF]) * 4000 for number in range(5000)]
    stream = b"".join(packet(b"\0" + event, number + 1) for number, event in enumerate(events))
    scripted.dump.write(stream)
    stream_of = source._stream
    assert stream_of is not None
    read: list[bytes] = []
    while len(read) < len(events):
        read += await source.read()
        assert stream_of._waiting_bytes <= 3 << 20, "what waits in memory is bounded"
    assert read == events


def test_the_socket_is_not_kept_by_a_reader_that_was_never_opened(clock: ManualClock) -> None:
    source = MysqlSource(SourceAddress.parse("mysql://u@h"), 1, clock)
    with pytest.raises(SourceUnavailable, match="not open"):
        asyncio.run(source.read())
    assert not source.pending()


async def test_a_dump_that_nobody_reads_is_closed_and_what_had_arrived_is_handed_over(
    dumping: Dumping, scripted: ScriptedServer
) -> None:
    """A disk that takes nothing for long: the server's thread is let go before its own patience ends."""
    source, scheduler = dumping
    dump, stream = scripted.dump, source._stream
    assert dump is not None
    assert stream is not None
    event = bytes(100_000)
    dump.write(b"".join(packet(b"\0" + event, number + 1) for number in range(40)))
    while stream.paused_since_ms is None:
        await settle(1)
    scheduler.advance(PAUSED_MAX_MS - 1)
    assert stream.failure is None
    scheduler.advance(1001)
    await settle()
    read: list[bytes] = []
    with pytest.raises(SourceUnavailable, match="not read for 10 minutes"):
        await read_all(source, read)
    assert WAITING_BYTES_MAX // len(event) <= len(read) <= 40
    assert set(read) == {event}


async def read_all(source: MysqlSource, into: list[bytes]) -> None:
    while True:
        into += await source.read()


async def test_idle_days_cost_one_connection_and_no_reconnect(scripted: ScriptedServer, clock: ManualClock) -> None:
    """Nothing is written for three days of a fake clock; the server says once in a period that it lives."""
    scheduler, period_ms = ManualScheduler(clock), 600_000
    address = SourceAddress.parse(f"mysql://u:p@127.0.0.1:{scripted.port}")
    source = MysqlSource(address, 4713, clock, scheduler=scheduler, heartbeat_period_ms=period_ms)
    async with closing(source):
        await source.start(BinlogPosition("bin.000007", 120))
        await scripted.dumping.wait()
        assert scripted.dump is not None
        assert source._queries is not None
        for number in range(3 * 24 * 6):
            scripted.dump.write(packet(b"\0beat", number + 1 & 0xFF))
            assert await source.read() == [b"beat"]
            scheduler.advance(period_ms)
        assert source._queries is None, "the connection for queries is closed when nobody asks"
        assert scripted.connections == 2
        await source.query("SET @a = 1")
        assert scripted.connections == 3, "and opened again on demand"
