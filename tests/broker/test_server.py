"""Listeners and connections over real sockets: login, order, slow readers, limits, timeouts, closing."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import socket
import struct
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest
import uvloop

from broker import admission
from broker import client as client_module
from broker.accounts import Account, Accounts
from broker.apis.api_versions import ApiVersionsRequest, ApiVersionsResponse
from broker.apis.fetch import FetchPartition, FetchRequest, FetchResponse, FetchTopic
from broker.apis.heartbeat import HeartbeatRequest, HeartbeatResponse
from broker.apis.join_group import GroupProtocol, JoinGroupRequest, JoinGroupResponse
from broker.apis.leave_group import LeaveGroupRequest, LeaveGroupResponse
from broker.apis.metadata import MetadataRequest, MetadataResponse
from broker.apis.produce import ProduceRequest
from broker.apis.sasl_authenticate import SaslAuthenticateRequest, SaslAuthenticateResponse
from broker.apis.sasl_handshake import SaslHandshakeRequest, SaslHandshakeResponse
from broker.apis.sync_group import MemberAssignment, SyncGroupRequest, SyncGroupResponse
from broker.brake import BRAKE_DELAY_MS, NAME_LIMIT
from broker.connection import FRAME_BYTES_MAX_BEFORE_LOGIN, Connection
from broker.context import Broker
from broker.errors import ErrorCode
from broker.group import GroupState, JoinResult
from broker.listener import Address, Listener, Security, address_range
from broker.outgoing import WRITE_BYTES
from broker.principal import AuthFailure, Principal
from broker.sasl import AuthState
from broker.server import BrokerServer, ListenError
from tests.broker.fakes import (
    GROUP,
    PASSWORD,
    TOPIC,
    USERNAME,
    LoginBook,
    MemoryOffsets,
    make_broker,
)
from tests.broker.frames import frame, request_frame
from tests.broker.raw_client import RawClient
from tests.fakes import ManualClock, ManualScheduler
from tests.fakes_log import MemoryLog

pytestmark = pytest.mark.timeout(60)
ANY_PORT = Address("127.0.0.1", 0)
T0 = 1_700_000_000_000


class Running:
    """A server with one listener per kind of security, on ports the system chose."""

    def __init__(self, broker: Broker, **settings: int) -> None:
        self.broker = broker
        self.server = BrokerServer(
            broker,
            [
                Listener("plain", ANY_PORT, Security.PLAINTEXT),
                Listener("public", ANY_PORT, Security.SASL_PLAINTEXT),
                Listener("vpc", ANY_PORT, Security.SASL_PLAINTEXT, advertised=Address("db.example", 18003)),
            ],
            **settings,
        )
        self.addresses: dict[str, Address] = {}

    def client(self, listener: str = "plain", *, receive_bytes: int | None = None) -> RawClient:
        return RawClient(self.addresses[listener], receive_bytes=receive_bytes)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Let the loop run until something is so; fails by the test's timeout."""
        while not condition():  # noqa: ASYNC110 - conditions are those of both ends of real sockets
            await asyncio.sleep(0.001)


@contextlib.asynccontextmanager
async def running(broker: Broker | None = None, **settings: int) -> AsyncIterator[Running]:
    run = Running(broker or make_broker(), **settings)
    run.addresses = await run.server.start()
    yield run
    await run.server.close(1000)
    assert run.server.connection_count == 0


def fetch_request(offset: int, max_wait_time: int = 0, max_bytes: int = 1 << 26) -> FetchRequest:
    partition = FetchPartition(partition=0, fetch_offset=offset, max_bytes=max_bytes)
    topic = FetchTopic(topic=TOPIC, partitions=[partition])
    return FetchRequest(max_wait_time=max_wait_time, min_bytes=1, max_bytes=max_bytes, topics=[topic])


# Addresses


async def test_each_listener_tells_its_own_address() -> None:
    async with running() as run:
        for name, expected in (
            ("plain", run.addresses["plain"]),
            ("public", run.addresses["public"]),
            ("vpc", Address("db.example", 18003)),
        ):
            async with run.client(name) as client:
                if name != "plain":
                    await client.log_in(USERNAME, PASSWORD)
                told = await client.ask(MetadataRequest(topics=None), 1, MetadataResponse)
                assert (told.brokers[0].host, told.brokers[0].port) == (expected.host, expected.port)


async def test_a_wildcard_bind_tells_the_accepted_connections_address() -> None:
    listener = Listener("all", Address("0.0.0.0", 0), Security.PLAINTEXT, allow_anonymous=True)
    server = BrokerServer(make_broker(), [listener])
    bound = (await server.start())["all"]
    assert bound.host == "0.0.0.0"
    async with RawClient(Address("127.0.0.2", bound.port)) as client:
        told = await client.ask(MetadataRequest(topics=None), 1, MetadataResponse)
        assert (told.brokers[0].host, told.brokers[0].port) == ("127.0.0.2", bound.port)
    await server.close()


async def test_an_occupied_port_is_one_sentence_and_nothing_keeps_listening() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        free = Listener("free", ANY_PORT, Security.PLAINTEXT)
        second = Listener("public", Address("127.0.0.1", port), Security.SASL_PLAINTEXT)
        server = BrokerServer(make_broker(), [free, second])
        with pytest.raises(ListenError, match=rf"^listener public cannot use 127\.0\.0\.1:{port}: it is in use; stop "):
            await server.start()


async def test_a_listener_that_cannot_begin_gives_its_address_back(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[socket.socket] = []

    async def refused(_factory: object, *, sock: socket.socket, backlog: int) -> None:
        taken.append(sock)
        raise OSError(errno.ENOBUFS, os.strerror(errno.ENOBUFS))

    monkeypatch.setattr(asyncio.get_running_loop(), "create_server", refused)
    server = BrokerServer(make_broker(), [Listener("public", ANY_PORT, Security.PLAINTEXT)])
    with pytest.raises(ListenError, match=f"^listener public cannot use {ANY_PORT}: {os.strerror(errno.ENOBUFS)}$"):
        await server.start()
    assert [each.fileno() for each in taken] == [-1]


async def test_an_address_of_another_machine_is_one_sentence() -> None:
    server = BrokerServer(make_broker(), [Listener("public", Address("192.0.2.1", 0), Security.SASL_PLAINTEXT)])
    with pytest.raises(ListenError, match="it is not an address of this machine"):
        await server.start()


async def test_plaintext_is_for_loopback_only() -> None:
    server = BrokerServer(make_broker(), [Listener("open", Address("0.0.0.0", 0), Security.PLAINTEXT)])
    with pytest.raises(ListenError, match="only a loopback address is allowed"):
        await server.start()


# Login


async def test_a_raw_token_logs_in_and_only_ones_own_group_answers() -> None:
    async with running() as run, run.client("public") as client:
        await client.log_in(USERNAME, PASSWORD)
        told = await client.ask(MetadataRequest(topics=None), 1, MetadataResponse)
        assert [topic.topic for topic in told.topic_metadata] == [TOPIC]
        foreign = HeartbeatRequest(group_id="other", generation_id=1, member_id="m")
        assert (await client.ask(foreign, 0, HeartbeatResponse)).error_code == ErrorCode.INVALID_GROUP_ID
        own = HeartbeatRequest(group_id=GROUP, generation_id=1, member_id="m")
        assert (await client.ask(own, 0, HeartbeatResponse)).error_code == ErrorCode.UNKNOWN_MEMBER_ID


async def test_api_versions_then_handshake_then_sasl_authenticate() -> None:
    async with running() as run, run.client("public") as client:
        client.send(ApiVersionsRequest(), 0)
        assert len((await client.receive(ApiVersionsResponse, 0)).api_versions) == 23
        await client.handshake(1)
        token = SaslAuthenticateRequest(sasl_auth_bytes=f"\0{USERNAME}\0{PASSWORD}".encode())
        answer = await client.ask(token, 0, SaslAuthenticateResponse)
        assert (answer.error_code, answer.error_message, answer.sasl_auth_bytes) == (0, None, b"")
        again = await client.ask(token, 0, SaslAuthenticateResponse)
        assert again.error_code == ErrorCode.ILLEGAL_SASL_STATE
        shake = await client.ask(SaslHandshakeRequest(mechanism="PLAIN"), 1, SaslHandshakeResponse)
        assert (shake.error_code, shake.enabled_mechanisms) == (ErrorCode.ILLEGAL_SASL_STATE, [])
        assert (await client.ask(MetadataRequest(topics=None), 1, MetadataResponse)).controller_id == 1


async def test_a_wrong_password_is_58_with_words_and_then_the_end(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with running() as run, run.client("public") as client:
        await client.handshake(1)
        token = SaslAuthenticateRequest(sasl_auth_bytes=f"\0{USERNAME}\0wr0ng".encode())
        answer = await client.ask(token, 0, SaslAuthenticateResponse)
        assert answer.error_code == ErrorCode.SASL_AUTHENTICATION_FAILED
        assert answer.error_message == f"Authentication failed: Invalid username or password, username:{USERNAME}"
        assert await client.expect_close() == b""
    assert USERNAME in caplog.text
    assert "wr0ng" not in caplog.text


async def test_a_wrong_raw_token_closes_without_a_byte_after_a_delay() -> None:
    broker, timers = on_manual_time()
    async with running(broker) as run, run.client("public") as client:
        await client.handshake(0)
        waiting = timers.pending
        client.writer.write(b"\0\0\0\x04\0x\0y")
        await run.until(lambda: timers.pending > waiting)
        timers.advance(client_module.FAILED_LOGIN_DELAY_MS - 1)
        assert run.server.connection_count == 1
        timers.advance(1)
        assert await client.expect_close() == b""


async def test_another_mechanism_is_33_with_the_list_and_then_the_end() -> None:
    async with running() as run, run.client("public") as client:
        answer = await client.ask(SaslHandshakeRequest(mechanism="SCRAM-SHA-256"), 1, SaslHandshakeResponse)
        assert (answer.error_code, answer.enabled_mechanisms) == (ErrorCode.UNSUPPORTED_SASL_MECHANISM, ["PLAIN"])
        assert await client.expect_close() == b""


async def test_a_request_before_login_closes() -> None:
    async with running() as run, run.client("public") as client:
        client.send(MetadataRequest(topics=None), 1)
        assert await client.expect_close() == b""


async def test_a_token_may_be_pipelined_with_what_follows() -> None:
    async with running() as run, run.client("public") as client:
        token = f"\0{USERNAME}\0{PASSWORD}".encode()
        client.send(SaslHandshakeRequest(mechanism="PLAIN"), 0)
        client.writer.write(struct.pack(">i", len(token)) + token)
        client.send(MetadataRequest(topics=None), 1)
        await client.read_frame()
        assert await client.read(4) == bytes(4)
        assert (await client.receive(MetadataResponse, 1)).controller_id == 1


async def test_disconnect_cuts_the_connections_of_a_principal() -> None:
    async with running() as run, run.client("public") as concerned, run.client("plain") as other:
        await concerned.log_in(USERNAME, PASSWORD)
        await other.ask(ApiVersionsRequest(), 0, ApiVersionsResponse)
        assert run.server.disconnect(lambda principal: principal.group_id == GROUP, "why") == 1
        assert await concerned.expect_close() == b""
        await other.ask(ApiVersionsRequest(), 0, ApiVersionsResponse)


# Requests


async def test_pipelined_requests_are_answered_in_order_also_behind_a_waiting_one() -> None:
    log = MemoryLog(TOPIC)
    async with running(make_broker(log)) as run, run.client() as client:
        client.send(fetch_request(0, max_wait_time=30_000), 4)
        for _ in range(50):
            client.send(ApiVersionsRequest(), 0)
        await run.until(lambda: len(log.subscribers) == 1)
        log.append([b"value"], [T0])
        correlation_ids = [struct.unpack_from(">i", await client.read_frame())[0] for _ in range(51)]
        assert correlation_ids == list(range(1, 52))


async def test_a_flood_of_requests_is_read_only_so_far_ahead() -> None:
    log = MemoryLog(TOPIC)
    async with running(make_broker(log)) as run, run.client() as client:
        client.send(fetch_request(0, max_wait_time=30_000), 4)
        flood = 40_000
        client.writer.write(b"".join(frame(18, 0, number) for number in range(2, flood + 2)))
        await run.until(lambda: len(log.subscribers) == 1)
        (connection,) = run.server._clients
        await run.until(lambda: not connection._is_reading)
        assert connection._core.buffered_bytes < 1 << 20
        log.append([b"value"], [T0])
        last = b""
        for _ in range(flood + 1):
            last = await client.read_frame()
        assert struct.unpack_from(">i", last) == (flood + 1,)


async def test_a_flood_that_never_waits_is_not_read_faster_than_it_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    peak_bytes = 0
    receive = Connection.receive

    def watched(self: Connection, data: bytes) -> None:
        nonlocal peak_bytes
        receive(self, data)
        peak_bytes = max(peak_bytes, self.buffered_bytes)

    monkeypatch.setattr(Connection, "receive", watched)
    flood = 30_000
    beat = HeartbeatRequest(group_id="group" * 20, generation_id=1, member_id="member")
    async with running() as run, run.client() as client:
        sending = request_frame(beat, 0) * flood
        client.writer.write(sending)
        await client.read(flood * 10)
    assert len(sending) > 3 << 20
    assert peak_bytes < 1 << 20


async def test_produce_without_acks_closes() -> None:
    async with running() as run, run.client() as client:
        client.send(ProduceRequest(acks=0, timeout=0, topic_data=[]), 2)
        assert await client.expect_close() == b""


async def test_wrong_bytes_close_and_other_connections_live() -> None:
    async with running() as run, run.client() as bad, run.client() as good:
        bad.writer.write(b"GET / HTTP/1.1\r\n\r\n")
        assert await bad.expect_close() == b""
        await good.ask(ApiVersionsRequest(), 0, ApiVersionsResponse)


async def test_a_handler_that_fails_is_answered_minus_1_and_the_connection_lives(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    broker, timers = on_manual_time()
    monkeypatch.setattr(type(broker.topics), "visible_to", lambda *_: 1 // 0)
    async with running(broker) as run, run.client() as client:
        await client.ask(ApiVersionsRequest(), 0, ApiVersionsResponse)
        waiting = timers.pending
        client.send(MetadataRequest(topics=None), 1)
        await run.until(lambda: timers.pending > waiting)
        timers.advance(client_module.INTERNAL_ERROR_DELAY_MS)
        await client.receive(MetadataResponse, 1)
        await client.ask(ApiVersionsRequest(), 0, ApiVersionsResponse)
    assert "Metadata v1 failed" in caplog.text


async def test_a_connection_whose_answer_cannot_be_written_is_cut_and_not_left_hanging(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    broker = make_broker()
    too_long = JoinResult(member_id="m" * (1 << 15))
    monkeypatch.setattr(type(broker.groups), "join", lambda *_, reply, **__: reply(too_long))
    async with running(broker) as run, run.client() as client:
        client.send(join_request(), 2)
        assert await client.expect_close() == b""
    assert "a request was not answered" in caplog.text


async def test_a_login_that_fails_by_a_fault_of_ours_is_cut_and_not_left_hanging(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    broker = make_broker()
    monkeypatch.setattr(broker.authenticator, "authenticate", lambda *_: 1 // 0)
    async with running(broker) as run, run.client("public") as client:
        await client.handshake(0)
        client.send_token(0, USERNAME, PASSWORD)
        assert await client.expect_close() == b""
    assert PASSWORD not in caplog.text


# Groups over the wire


def join_request(member_id: str = "") -> JoinGroupRequest:
    return JoinGroupRequest(
        group_id=GROUP,
        session_timeout=6000,
        rebalance_timeout=60_000,
        member_id=member_id,
        protocol_type="consumer",
        group_protocols=[GroupProtocol(protocol_name="range", protocol_metadata=b"topics")],
    )


async def join_and_lead(client: RawClient) -> str:
    joined = await client.ask(join_request(), 2, JoinGroupResponse)
    assert (joined.error_code, joined.leader_id) == (0, joined.member_id)
    assignment = [MemberAssignment(member_id=joined.member_id, member_assignment=b"partition 0")]
    sync = SyncGroupRequest(
        group_id=GROUP, generation_id=joined.generation_id, member_id=joined.member_id, group_assignment=assignment
    )
    assert (await client.ask(sync, 1, SyncGroupResponse)).member_assignment == b"partition 0"
    return joined.member_id


async def test_join_sync_heartbeat_leave() -> None:
    async with running() as run, run.client() as client:
        member = await join_and_lead(client)
        assert member.startswith("test-")
        beat = HeartbeatRequest(group_id=GROUP, generation_id=1, member_id=member)
        assert (await client.ask(beat, 1, HeartbeatResponse)).error_code == 0
        leave = LeaveGroupRequest(group_id=GROUP, member_id=member)
        assert (await client.ask(leave, 1, LeaveGroupResponse)).error_code == 0
        described = run.broker.groups.describe(GROUP)
        assert described is not None
        assert described.state is GroupState.EMPTY


async def test_a_first_join_whose_socket_closes_leaves_no_ghost() -> None:
    async with running() as run, run.client() as leader:
        await join_and_lead(leader)
        async with run.client() as standby:
            standby.send(join_request(), 2)
            await run.until(lambda: members(run) == 2)
        await run.until(lambda: members(run) == 1)


def members(run: Running) -> int:
    described = run.broker.groups.describe(GROUP)
    return len(described.members) if described else 0


# Slow readers


def megabytes(count: int) -> MemoryLog:
    log = MemoryLog(TOPIC)
    for number in range(count):
        log.append([bytes([number % 251]) * (1 << 20)], [T0])
    return log


async def test_a_slow_reader_costs_one_piece_of_memory_and_its_lease_ends_with_the_last() -> None:
    log = megabytes(32)
    async with running(make_broker(log)) as run, run.client(receive_bytes=4096) as slow:
        slow.send(fetch_request(0), 4)
        slow.reader._transport.pause_reading()  # type: ignore[attr-defined]
        await run.until(lambda: any(each._outgoing.is_paused for each in run.server._clients))
        (connection,) = run.server._clients
        assert connection._transport.get_write_buffer_size() <= WRITE_BYTES
        assert log.leased == 1
        async with run.client() as fast:
            whole = await fast.ask(fetch_request(31), 4, FetchResponse)
            assert len(whole.responses[0].partition_responses[0].record_set) > 1 << 20
        slow.reader._transport.resume_reading()  # type: ignore[attr-defined]
        answer = await slow.receive(FetchResponse, 4)
        expected = b"".join(batch for _, _, batch in log.batches)
        assert bytes(answer.responses[0].partition_responses[0].record_set) == expected
        await run.until(lambda: log.leased == 0)


async def test_a_reader_that_goes_away_in_the_middle_gives_its_lease_back() -> None:
    log = megabytes(16)
    async with running(make_broker(log)) as run:
        async with run.client(receive_bytes=4096) as slow:
            slow.send(fetch_request(0), 4)
            await run.until(lambda: log.leased == 1)
        await run.until(lambda: log.leased == 0 and run.server.connection_count == 0)


async def test_a_fetch_whose_client_goes_away_unsubscribes() -> None:
    log = MemoryLog(TOPIC)
    async with running(make_broker(log)) as run:
        async with run.client() as client:
            client.send(fetch_request(0, max_wait_time=30_000), 4)
            await run.until(lambda: len(log.subscribers) == 1)
        await run.until(lambda: log.subscribers == [])


# Limits and timeouts


async def test_one_connection_too_many_is_closed_at_once() -> None:
    async with running(connections_max=2) as run, run.client() as first, run.client() as second:
        for client in (first, second):
            await client.ask(ApiVersionsRequest(), 0, ApiVersionsResponse)
        async with run.client() as third:
            assert await third.expect_close() == b""
        await first.ask(ApiVersionsRequest(), 0, ApiVersionsResponse)
    assert run.server.connection_count == 0


async def test_strangers_make_way_for_who_comes_after_them_and_not_who_is_inside() -> None:
    async with running(connections_max=8) as run, run.client("public") as inside:
        await inside.log_in(USERNAME, PASSWORD)
        async with run.client("public") as first, run.client("public") as second, run.client("public") as third:
            assert await first.expect_close() == b""
            await third.log_in(USERNAME, PASSWORD)
            await second.log_in(USERNAME, PASSWORD)
        await inside.ask(MetadataRequest(topics=None), 1, MetadataResponse)


@pytest.mark.parametrize("version", [0, 1])
async def test_a_group_has_a_quota_over_all_listeners_and_is_told_in_the_log(
    version: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    broker, timers = on_manual_time()
    assert isinstance(broker.authenticator, LoginBook)
    broker.authenticator.principal = Principal(USERNAME, GROUP, frozenset({TOPIC}), connections_max=2)
    async with (
        running(broker) as run,
        run.client("public") as first,
        run.client("vpc") as second,
        run.client("public") as third,
    ):
        await first.log_in(USERNAME, PASSWORD)
        await second.log_in(USERNAME, PASSWORD)
        await third.handshake(version)
        waiting = timers.pending
        third.send_token(version, USERNAME, PASSWORD)
        await run.until(lambda: timers.pending > waiting)
        timers.advance(client_module.FAILED_LOGIN_DELAY_MS)
        assert await third.expect_close() == b""
        assert f"current connection number is 3, limit is 2, too many connection for {GROUP}" in caplog.text
        await first.ask(ApiVersionsRequest(), 0, ApiVersionsResponse)
        async with run.client("public") as again:
            second.writer.transport.abort()
            await run.until(lambda: run.server.connection_count == 2)
            await again.log_in(USERNAME, PASSWORD)


async def test_a_login_that_was_not_looked_at_is_not_told_that_it_is_wrong() -> None:
    broker, timers = on_manual_time()

    class Busy:
        async def authenticate(self, username: str, password: str, origin: str) -> AuthFailure:
            return AuthFailure("too many logins wait already", is_final=False)

    broker.authenticator = Busy()
    async with running(broker) as run, run.client("public") as client:
        await client.handshake(1)
        waiting = timers.pending
        client.send_token(1, USERNAME, PASSWORD)
        await run.until(lambda: timers.pending > waiting)
        timers.advance(client_module.FAILED_LOGIN_DELAY_MS)
        assert await client.expect_close() == b""


async def test_who_guesses_makes_every_login_under_that_name_wait() -> None:
    broker, timers = on_manual_time()
    username, _, group_id = USERNAME.partition("-")
    accounts = Accounts(broker.clock, timers)
    accounts.put(Account(username, group_id, TOPIC), PASSWORD)
    broker.authenticator = accounts
    async with running(broker) as run:
        for number in range(NAME_LIMIT.failures_free):
            async with run.client("public") as guesser:
                await guesser.handshake(1)
                guesser.send_token(1, USERNAME, f"guess-{number}")
                assert (await guesser.receive(SaslAuthenticateResponse, 0)).error_code == 58
        await run.until(lambda: run.server.connection_count == 0)
        async with run.client("public") as rightful:
            await rightful.handshake(1)
            waiting = timers.pending
            rightful.send_token(1, USERNAME, PASSWORD)
            await run.until(lambda: timers.pending > waiting)
            timers.advance(BRAKE_DELAY_MS)
            assert (await rightful.receive(SaslAuthenticateResponse, 0)).error_code == 0


async def test_only_few_strangers_may_send_large_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "HOARDERS_MAX", 1)
    large = struct.pack(">i", FRAME_BYTES_MAX_BEFORE_LOGIN) + bytes(admission.HOARD_BYTES)
    async with running() as run, run.client("public") as first, run.client("public") as second:
        first.writer.write(large)
        await run.until(lambda: len(run.server._admission._hoarders) == 1)
        second.writer.write(large)
        assert await second.expect_close() == b""
        assert run.server.connection_count == 1


async def test_who_is_not_in_the_ranges_of_a_listener_is_closed_at_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    listener = Listener(
        "ranged", ANY_PORT, Security.SASL_PLAINTEXT, allow_from=(address_range("127.0.0.2"), address_range("::1"))
    )
    server = BrokerServer(make_broker(), [listener])
    bound = (await server.start())["ranged"]
    for _ in range(3):
        async with RawClient(bound) as refused:
            assert await refused.expect_close() == b""
    async with RawClient(bound, local_host="127.0.0.2") as welcome:
        await welcome.log_in(USERNAME, PASSWORD)
    await server.close()
    refusals = [message for message in caplog.messages if "allow_from" in message]
    assert len(refusals) == 1
    assert refusals[0].endswith("on listener ranged is closed: allow_from does not have its address")


async def test_tls_bytes_on_a_plain_port_are_told_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with running() as run:
        for _ in range(3):
            async with run.client("public") as client:
                client.writer.write(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
                assert await client.expect_close() == b""
    assert caplog.text.count("it speaks TLS; set its security protocol to SASL_PLAINTEXT") == 1


async def test_passwords_in_clear_text_on_a_public_address_are_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    told = Address("8.8.8.8", 18001)
    server = BrokerServer(make_broker(), [Listener("public", ANY_PORT, Security.SASL_PLAINTEXT, advertised=told)])
    await server.start()
    await server.close()
    [record] = caplog.records
    assert (record.levelname, record.message.partition(";")[0]) == (
        "WARNING",
        "listener public sends passwords and data in clear text to whoever reaches 8.8.8.8",
    )


async def test_a_stranger_may_not_send_large_frames() -> None:
    async with running() as run, run.client("public") as client:
        client.writer.write(struct.pack(">i", FRAME_BYTES_MAX_BEFORE_LOGIN + 1))
        assert await client.expect_close() == b""


def on_manual_time() -> tuple[Broker, ManualScheduler]:
    broker = make_broker()
    clock = ManualClock()
    timers = ManualScheduler(clock)
    broker.clock, broker.scheduler = clock, timers
    return broker, timers


async def test_a_stranger_has_so_long_to_log_in() -> None:
    broker, timers = on_manual_time()
    async with running(broker) as run, run.client("public") as client:
        await client.ask(ApiVersionsRequest(), 0, ApiVersionsResponse)
        timers.advance(client_module.AUTHENTICATE_MS_MAX - 1)
        await client.ask(ApiVersionsRequest(), 0, ApiVersionsResponse)
        timers.advance(1)
        assert await client.expect_close() == b""


async def test_an_idle_connection_is_closed_and_a_busy_one_is_not() -> None:
    broker, timers = on_manual_time()
    async with running(broker) as run, run.client("public") as client:
        await client.log_in(USERNAME, PASSWORD)
        for _ in range(3):
            timers.advance(client_module.IDLE_MS_MAX - 1)
            await client.ask(ApiVersionsRequest(), 0, ApiVersionsResponse)
        timers.advance(client_module.IDLE_MS_MAX)
        assert await client.expect_close() == b""


async def test_a_request_in_flight_is_not_idle() -> None:
    broker, timers = on_manual_time()
    async with running(broker) as run, run.client() as client:
        assert isinstance(broker.offsets, MemoryOffsets)
        await client.ask(ApiVersionsRequest(), 0, ApiVersionsResponse)
        client.send(fetch_request(0, max_wait_time=200_000), 4)
        await run.until(lambda: len(broker.parked) == 1)
        timers.advance(199_000)
        timers.advance(1000)
        await client.receive(FetchResponse, 4)
        await client.ask(ApiVersionsRequest(), 0, ApiVersionsResponse)


# Closing


async def test_closing_answers_what_is_parked_and_then_closes() -> None:
    log = MemoryLog(TOPIC)
    run = Running(make_broker(log))
    run.addresses = await run.server.start()
    async with run.client() as fetching, run.client() as leading, run.client() as joining, run.client() as idle:
        await idle.ask(ApiVersionsRequest(), 0, ApiVersionsResponse)
        await join_and_lead(leading)
        joining.send(join_request(), 2)
        fetching.send(fetch_request(0, max_wait_time=300_000), 4)
        await run.until(lambda: members(run) == 2 and len(log.subscribers) == 1)
        await run.server.close(5000)
        assert (await fetching.receive(FetchResponse, 4)).responses[0].partition_responses[0].error_code == 0
        joined = await joining.receive(JoinGroupResponse, 2)
        assert joined.error_code == ErrorCode.COORDINATOR_NOT_AVAILABLE
        for client in (fetching, joining, leading, idle):
            assert await client.expect_close() == b""
    assert run.server.connection_count == 0
    with pytest.raises(ConnectionRefusedError):
        await run.client().__aenter__()


async def test_a_commit_right_before_the_end_of_its_connection_is_stored() -> None:
    from broker.apis.offset_commit import OffsetCommitPartition, OffsetCommitRequest, OffsetCommitTopic

    broker = make_broker()
    async with running(broker) as run, run.client() as client:
        await client.ask(ApiVersionsRequest(), 0, ApiVersionsResponse)
        (connection,) = run.server._clients
        topics = [OffsetCommitTopic(topic=TOPIC, partitions=[OffsetCommitPartition(partition=0, offset=5)])]
        connection.data_received(request_frame(OffsetCommitRequest(group_id=GROUP, topics=topics), 2))
        connection.connection_lost(None)  # in the same turn of the loop
        await run.until(lambda: (TOPIC, 0) in broker.offsets.committed(GROUP))


@pytest.mark.parametrize("password", [PASSWORD, "wr0ng"])
@pytest.mark.parametrize("version", [0, 1])
async def test_a_token_right_before_the_end_of_its_connection_lets_nobody_in(
    version: int, password: str, caplog: pytest.LogCaptureFixture
) -> None:
    class Remembering(LoginBook):
        """Knows the answer without a wait, as for a password that was right a moment ago."""

        async def authenticate(self, username: str, password: str, origin: str) -> Principal | AuthFailure:
            return self.principal if password == PASSWORD else AuthFailure("wrong")

    broker = make_broker()
    broker.authenticator = Remembering()
    async with running(broker) as run, run.client("public") as client:
        await client.handshake(version)
        (connection,) = run.server._clients
        token = f"\0{USERNAME}\0{password}".encode()
        if version == 0:
            connection.data_received(struct.pack(">i", len(token)) + token)
        else:
            connection.data_received(request_frame(SaslAuthenticateRequest(sasl_auth_bytes=token), 0))
        task = connection._task
        connection.connection_lost(None)  # in the same turn of the loop
        assert task is not None
        await asyncio.wait([task])
        assert connection.session.sasl.state is AuthState.CLOSED
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_closing_lets_a_commit_in_flight_finish() -> None:
    from broker.apis.offset_commit import (
        OffsetCommitPartition,
        OffsetCommitRequest,
        OffsetCommitResponse,
        OffsetCommitTopic,
    )

    broker = make_broker()
    assert isinstance(broker.offsets, MemoryOffsets)
    broker.offsets.gate = asyncio.Event()
    run = Running(broker)
    run.addresses = await run.server.start()
    async with run.client() as client:
        topics = [OffsetCommitTopic(topic=TOPIC, partitions=[OffsetCommitPartition(partition=0, offset=5)])]
        client.send(OffsetCommitRequest(group_id=GROUP, topics=topics), 2)
        await run.until(lambda: any(each._task is not None for each in run.server._clients))
        closing = asyncio.create_task(run.server.close(5000))
        await asyncio.sleep(0)
        broker.offsets.gate.set()
        answer = await client.receive(OffsetCommitResponse, 2)
        assert answer.responses[0].partition_responses[0].error_code == 0
        await closing


async def test_closing_cuts_who_does_not_read_at_the_deadline() -> None:
    log = megabytes(16)
    run = Running(make_broker(log))
    run.addresses = await run.server.start()
    async with run.client(receive_bytes=4096) as slow:
        slow.send(fetch_request(0), 4)
        slow.reader._transport.pause_reading()  # type: ignore[attr-defined]
        await run.until(lambda: log.leased == 1)
        await run.server.close(20)
        await run.until(lambda: log.leased == 0 and run.server.connection_count == 0)


# The other event loop


@pytest.mark.parametrize(
    "scenario",
    [
        test_pipelined_requests_are_answered_in_order_also_behind_a_waiting_one,
        test_a_flood_of_requests_is_read_only_so_far_ahead,
        test_a_slow_reader_costs_one_piece_of_memory_and_its_lease_ends_with_the_last,
        test_a_reader_that_goes_away_in_the_middle_gives_its_lease_back,
        test_closing_answers_what_is_parked_and_then_closes,
        test_closing_cuts_who_does_not_read_at_the_deadline,
    ],
)
def test_it_is_the_same_on_uvloop(scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(scenario())
