"""TLS over real sockets on both event loops: login, slow readers, strangers of every kind, renewed certificates."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import uvloop
from cryptography.hazmat.primitives.serialization import Encoding

from broker import client as client_module
from broker import outgoing
from broker.apis.api_versions import ApiVersionsRequest, ApiVersionsResponse
from broker.apis.fetch import FetchPartition, FetchRequest, FetchResponse, FetchTopic
from broker.apis.metadata import MetadataRequest, MetadataResponse
from broker.apis.offset_commit import OffsetCommitPartition, OffsetCommitRequest, OffsetCommitTopic
from broker.apis.sasl_authenticate import SaslAuthenticateRequest
from broker.apis.sasl_handshake import SaslHandshakeRequest
from broker.certificate import LOOK_MS, ServerCertificate
from broker.context import Broker
from broker.listener import Address, Listener, Security
from broker.server import CERTIFICATE_LOOK_MS, BrokerServer
from broker.tls import NotTlsError, TlsError, TlsSession
from tests import certificates
from tests.broker.fakes import GROUP, PASSWORD, TOPIC, USERNAME, make_broker
from tests.broker.frames import request_frame
from tests.broker.raw_client import RawClient
from tests.certificates import Authority, Certificates
from tests.fakes import ManualClock, ManualScheduler
from tests.fakes_log import MemoryLog

pytestmark = pytest.mark.timeout(60)
ANY_PORT = Address("127.0.0.1", 0)
T0 = 1_700_000_000_000


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture
def files(authority: Authority, tmp_path: Path) -> Certificates:
    return certificates.make_with(authority, tmp_path)


class Running:
    """A server with a TLS listener and a plain one."""

    def __init__(self, broker: Broker, files: Certificates) -> None:
        self.broker = broker
        self.files = files
        self.certificate = ServerCertificate(files.cert, files.key, broker.clock)
        self.server = BrokerServer(
            broker,
            [
                Listener("tls", ANY_PORT, Security.SASL_SSL, certificate=self.certificate),
                Listener("public", ANY_PORT, Security.SASL_PLAINTEXT),
            ],
        )
        self.addresses: dict[str, Address] = {}

    def client(self, *, receive_bytes: int | None = None, tls: ssl.SSLContext | None = None) -> RawClient:
        context = tls or self.files.client_context()
        return RawClient(self.addresses["tls"], receive_bytes=receive_bytes, tls=context)

    def stranger(self, listener: str = "tls") -> RawClient:
        """A connection without TLS of its own."""
        return RawClient(self.addresses[listener])

    async def until(self, condition: Callable[[], bool]) -> None:
        while not condition():  # noqa: ASYNC110 - conditions are those of both ends of real sockets
            await asyncio.sleep(0.001)


@contextlib.asynccontextmanager
async def running(files: Certificates, broker: Broker | None = None) -> AsyncIterator[Running]:
    run = Running(broker or make_broker(), files)
    run.addresses = await run.server.start()
    try:
        yield run
    finally:
        await run.server.close(1000)
    assert run.server.connection_count == 0


def fetch_request(offset: int) -> FetchRequest:
    partition = FetchPartition(partition=0, fetch_offset=offset, max_bytes=1 << 26)
    topic = FetchTopic(topic=TOPIC, partitions=[partition])
    return FetchRequest(max_wait_time=0, min_bytes=1, max_bytes=1 << 26, topics=[topic])


def megabytes(count: int) -> MemoryLog:
    log = MemoryLog(TOPIC)
    for number in range(count):
        log.append([bytes([number % 251]) * (1 << 20)], [T0])
    return log


def on_manual_time() -> tuple[Broker, ManualScheduler]:
    broker = make_broker()
    clock = ManualClock(now_ms=broker.clock.now_ms())
    timers = ManualScheduler(clock)
    broker.clock, broker.scheduler = clock, timers
    return broker, timers


def shake_hands(address: Address, context: ssl.SSLContext) -> None:
    """A handshake on a blocking socket, which sends its alert before it raises (asyncio's does not)."""
    with (
        socket.create_connection((address.host, address.port)) as plain,
        context.wrap_socket(plain, server_hostname="localhost"),
    ):
        pass


# Clients that are welcome


async def test_a_client_logs_in_and_is_told_the_address_it_came_in_on(files: Certificates) -> None:
    async with running(files) as run, run.client() as client:
        await client.log_in(USERNAME, PASSWORD)
        told = await client.ask(MetadataRequest(topics=None), 1, MetadataResponse)
        assert (told.brokers[0].host, told.brokers[0].port) == ("127.0.0.1", run.addresses["tls"].port)
        assert [topic.topic for topic in told.topic_metadata] == [TOPIC]


async def test_a_client_of_the_age_of_java_8_gets_in(files: Certificates) -> None:
    context = files.client_context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ECDHE-RSA-AES128-SHA256")
    async with running(files) as run, run.client(tls=context) as client:
        assert client.writer.get_extra_info("cipher")[:2] == ("ECDHE-RSA-AES128-SHA256", "TLSv1.2")
        await client.log_in(USERNAME, PASSWORD)


async def test_a_slow_reader_costs_one_piece_and_its_seal_and_reads_everything(files: Certificates) -> None:
    log = megabytes(32)
    async with running(files, make_broker(log)) as run, run.client(receive_bytes=4096) as slow:
        await slow.log_in(USERNAME, PASSWORD)
        transport = slow.writer.transport
        transport.pause_reading()  # type: ignore[attr-defined]
        slow.send(fetch_request(0), 4)
        await run.until(lambda: log.leased == 1)
        (connection,) = run.server._clients
        assert connection._transport.get_write_buffer_size() <= outgoing.WRITE_BYTES * 11 // 10
        async with run.client() as fast:
            await fast.log_in(USERNAME, PASSWORD)
            whole = await fast.ask(fetch_request(31), 4, FetchResponse)
            assert len(whole.responses[0].partition_responses[0].record_set) > 1 << 20
        assert log.leased == 1
        transport.resume_reading()  # type: ignore[attr-defined]
        answer = await slow.receive(FetchResponse, 4)
        expected = b"".join(batch for _, _, batch in log.batches)
        assert bytes(answer.responses[0].partition_responses[0].record_set) == expected
        await run.until(lambda: log.leased == 0)


async def test_a_client_that_says_good_bye_gives_its_lease_back(files: Certificates) -> None:
    log = megabytes(16)
    async with running(files, make_broker(log)) as run:
        async with run.client(receive_bytes=4096) as slow:
            await slow.log_in(USERNAME, PASSWORD)
            slow.send(fetch_request(0), 4)
            await run.until(lambda: log.leased == 1)
            slow.writer.close()
        await run.until(lambda: log.leased == 0 and run.server.connection_count == 0)


async def test_a_commit_that_comes_with_the_good_bye_is_stored(files: Certificates) -> None:
    broker = make_broker()
    async with running(files, broker) as run, run.stranger() as plain:
        gets, sends = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = files.client_context().wrap_bio(gets, sends, server_hostname="localhost")

        async def until_done(step: Callable[[], object]) -> None:
            while True:
                try:
                    step()
                    return
                except ssl.SSLWantReadError:
                    plain.writer.write(sends.read())
                    gets.write(await plain.reader.read(1 << 16))

        await until_done(tls.do_handshake)
        tls.write(request_frame(SaslHandshakeRequest(mechanism="PLAIN"), 1))
        await until_done(lambda: tls.read(1 << 16))
        token = f"\0{USERNAME}\0{PASSWORD}".encode()
        tls.write(request_frame(SaslAuthenticateRequest(sasl_auth_bytes=token), 0))
        await until_done(lambda: tls.read(1 << 16))
        topics = [OffsetCommitTopic(topic=TOPIC, partitions=[OffsetCommitPartition(partition=0, offset=5)])]
        tls.write(request_frame(OffsetCommitRequest(group_id=GROUP, topics=topics), 2))
        with contextlib.suppress(ssl.SSLWantReadError):
            tls.unwrap()
        (connection,) = run.server._clients
        connection.data_received(sends.read())
        await run.until(lambda: (TOPIC, 0) in broker.offsets.committed(GROUP))
        await run.until(lambda: run.server.connection_count == 0)


async def test_the_end_of_the_server_says_good_bye(files: Certificates) -> None:
    async with running(files) as run, run.client() as client:
        await client.ask(ApiVersionsRequest(), 0, ApiVersionsResponse)
        await run.server.close(1000)
        assert await client.expect_close() == b""


async def test_a_renewed_certificate_is_in_force_for_new_connections_and_cuts_no_old_one(
    files: Certificates, authority: Authority
) -> None:
    broker, timers = on_manual_time()
    async with running(files, broker) as run, run.client() as old:
        await old.log_in(USERNAME, PASSWORD)
        renewed = authority.issue(files.cert, files.key)
        timers.advance(LOOK_MS)
        async with run.client() as new:
            shown = new.writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
            assert shown == renewed.public_bytes(Encoding.DER)
            await new.log_in(USERNAME, PASSWORD)
            assert old.writer.get_extra_info("ssl_object").getpeercert(binary_form=True) != shown
            await old.ask(ApiVersionsRequest(), 0, ApiVersionsResponse)


async def test_a_new_certificate_that_cannot_be_used_changes_nothing(files: Certificates) -> None:
    broker, timers = on_manual_time()
    async with running(files, broker) as run:
        files.cert.write_text("half a file", "utf-8")
        timers.advance(LOOK_MS)
        async with run.client() as client:
            await client.log_in(USERNAME, PASSWORD)


async def test_the_certificate_is_looked_at_though_nobody_connects(
    files: Certificates, authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    broker, timers = on_manual_time()
    async with running(files, broker):
        assert caplog.messages == []
        authority.issue(files.cert, files.key, valid_for=timedelta(days=5))
        for _ in range(2):
            timers.advance(CERTIFICATE_LOOK_MS)
        renewed, near_its_end = caplog.messages
        assert renewed.startswith(f"the certificate {files.cert} was renewed, valid until ")
        assert near_its_end.endswith(", in 4 days; renew it")
    assert timers.pending == 0


async def test_who_asks_for_many_keys_and_reads_nothing_is_cut(
    files: Certificates, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    reply = bytes(1 << 20)
    async with running(files) as run, run.client(receive_bytes=4096) as client:
        await client.log_in(USERNAME, PASSWORD)
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        # What TLS answers to a peer is a few bytes at a time; here it is many at once.
        monkeypatch.setattr(TlsSession, "take", lambda session: reply)
        while run.server.connection_count:  # how many arrive together, and what the kernel takes, is not ours to say
            client.send(ApiVersionsRequest(), 0)
            await asyncio.sleep(0.001)
    assert "it makes TLS answer and does not read" in caplog.text


# Strangers


async def test_a_stalled_handshake_is_cut_and_counts_as_a_connection(files: Certificates) -> None:
    broker, timers = on_manual_time()
    async with running(files, broker) as run, run.stranger() as silent, run.stranger() as stalled:
        stalled.writer.write(b"\x16\x03\x01\x02\x00\x01")
        await run.until(lambda: run.server.connection_count == 2)
        timers.advance(client_module.AUTHENTICATE_MS_MAX)
        assert await silent.expect_close() == b""
        assert await stalled.expect_close() == b""


@pytest.mark.parametrize(
    "garbage",
    [
        b"\0\0\0\x15\0\x12\0\0\0\0\0\x01\0\x0bconsumer-1",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x00\x05hello",
        b"\x16\x03\x01\xff\xff" + bytes(70_000),
        b"\x15\x03\x01\x00\x02\x02\x28",
    ],
)
async def test_garbage_closes_without_a_traceback(
    files: Certificates, garbage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with running(files) as run, run.client() as good, run.stranger() as bad:
        bad.writer.write(garbage)
        await bad.expect_close()
        await good.log_in(USERNAME, PASSWORD)
    assert "is closed: " in caplog.text
    assert [record for record in caplog.records if record.exc_info or record.levelno >= logging.ERROR] == []


async def test_a_client_that_does_not_trust_us_is_told_of(
    files: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with running(files) as run:
        with pytest.raises(ssl.SSLCertVerificationError):
            await asyncio.to_thread(shake_hands, run.addresses["tls"], ssl.create_default_context())
        await run.until(lambda: run.server.connection_count == 0)
    assert "it does not trust the certificate" in caplog.text


async def test_a_client_of_tls_1_1_is_refused_with_words(files: Certificates, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    context = files.client_context()
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    async with running(files) as run:
        with pytest.raises(ssl.SSLError):
            await run.client(tls=context).__aenter__()
        await run.until(lambda: run.server.connection_count == 0)
    assert "it offers no TLS version from 1.2 on" in caplog.text


# The session without a socket


def shaken(files: Certificates) -> tuple[TlsSession, ssl.SSLObject, ssl.MemoryBIO, ssl.MemoryBIO]:
    """A session, and a client that has shaken hands with it byte by byte: its object, what it gets, what it sends."""
    clock = ManualClock(now_ms=make_time())
    session = TlsSession(ServerCertificate(files.cert, files.key, clock).context())
    gets, sends = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = files.client_context().wrap_bio(gets, sends, server_hostname="localhost")
    while not session.is_established:
        with contextlib.suppress(ssl.SSLWantReadError):
            client.do_handshake()
        for byte in sends.read():
            assert session.receive(bytes([byte])) == b""
            gets.write(session.take())
    return session, client, gets, sends


def make_time() -> int:
    return time.time_ns() // 1_000_000


def test_a_session_takes_its_bytes_one_by_one_and_gives_back_what_they_say(files: Certificates) -> None:
    session, client, gets, sends = shaken(files)
    client.write(b"request")
    sealed = sends.read()
    assert b"".join(session.receive(bytes([byte])) for byte in sealed) == b"request"
    answer = bytes(range(256)) * 1000
    gets.write(session.seal(memoryview(answer)))
    read = b""
    while len(read) < len(answer):
        read += client.read(1 << 20)
    assert read == answer
    with contextlib.suppress(ssl.SSLWantReadError):
        client.unwrap()
    assert session.receive(sends.read()) == b""
    assert session.is_ended


def test_a_record_that_was_changed_on_the_way_ends_the_session_with_an_alert(files: Certificates) -> None:
    session, client, gets, sends = shaken(files)
    client.write(b"request")
    sealed = bytearray(sends.read())
    sealed[-1] ^= 1
    with pytest.raises(TlsError, match="TLS: "):
        session.receive(bytes(sealed))
    gets.write(session.take())
    with pytest.raises(ssl.SSLError, match=r"BAD_RECORD_MAC|bad record mac"):
        client.read(1)


def test_what_is_not_tls_is_said_at_its_first_byte(files: Certificates) -> None:
    session = TlsSession(ServerCertificate(files.cert, files.key, ManualClock(now_ms=make_time())).context())
    assert session.receive(b"") == b""
    with pytest.raises(NotTlsError, match="set its security protocol to SASL_SSL"):
        session.receive(b"\0")


# The other event loop


@pytest.mark.parametrize(
    "scenario",
    [
        test_a_client_logs_in_and_is_told_the_address_it_came_in_on,
        test_a_slow_reader_costs_one_piece_and_its_seal_and_reads_everything,
        test_a_client_that_says_good_bye_gives_its_lease_back,
        test_a_commit_that_comes_with_the_good_bye_is_stored,
        test_the_end_of_the_server_says_good_bye,
        test_a_new_certificate_that_cannot_be_used_changes_nothing,
        test_a_stalled_handshake_is_cut_and_counts_as_a_connection,
    ],
)
def test_it_is_the_same_on_uvloop(
    scenario: Callable[[Certificates], Coroutine[Any, Any, None]], files: Certificates
) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(scenario(files))
