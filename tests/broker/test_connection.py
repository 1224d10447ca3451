"""The sans-IO core: framing, order and what each login state admits; no sockets, no handlers."""

from __future__ import annotations

import struct
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.apis import APIS, REQUEST_BYTES_MAX
from broker.apis.api_versions import ApiVersionsRequest, ApiVersionsResponse
from broker.apis.fetch import FetchPartitionResponse, FetchResponse, FetchTopicResponse
from broker.apis.heartbeat import HeartbeatResponse
from broker.apis.metadata import MetadataRequest
from broker.connection import (
    FRAME_BYTES_MAX,
    FRAME_BYTES_MAX_BEFORE_LOGIN,
    TOKEN_ACCEPTED,
    Connection,
    Request,
    RequestHeader,
    Token,
)
from broker.errors import WireError
from broker.sasl import AuthState, AuthStep, SaslExchange
from broker.wire import encode
from tests.broker.frames import frame, some_request

HEADER_BYTES = len(frame(18, 0, 1)) - 4
HEARTBEAT_V0 = bytes.fromhex("0000001c 000c 0000 00000005 0002 6964 0005 67726f7570 00000001 0003 6d6964")


def ready() -> Connection:
    return Connection(SaslExchange(needs_login=False))


def in_state(state: AuthState) -> Connection:
    sasl = SaslExchange(needs_login=True)
    sasl.state = state
    return Connection(sasl)


def next_request(connection: Connection) -> Request:
    event = connection.next_event()
    assert isinstance(event, Request)
    return event


def test_a_golden_request_is_read() -> None:
    connection = ready()
    connection.receive(HEARTBEAT_V0)
    request = next_request(connection)
    assert (request.api.name, request.api_version, request.correlation_id, request.client_id) == (
        "Heartbeat",
        0,
        5,
        "id",
    )
    assert repr(request.body) == "HeartbeatRequest(group_id='group', generation_id=1, member_id='mid')"
    assert connection.respond(request, HeartbeatResponse(error_code=27)) == [bytes.fromhex("00000006 00000005 001b")]


def test_one_byte_at_a_time_gives_the_request_at_the_last_byte() -> None:
    connection = ready()
    for byte in HEARTBEAT_V0[:-1]:
        connection.receive(bytes([byte]))
        assert connection.next_event() is None
    connection.receive(HEARTBEAT_V0[-1:])
    assert next_request(connection).correlation_id == 5
    assert connection.buffered_bytes == 0


@given(names=st.lists(st.sampled_from([None, "", "a", "b", "consumer-1", "größe"]), max_size=8), together=st.booleans())
def test_each_request_has_its_own_client_id(names: list[str | None], together: bool) -> None:
    connection = ready()
    frames = [encode(RequestHeader(api_key=18, api_version=0, correlation_id=7, client_id=name), 0) for name in names]
    sized = [struct.pack(">i", len(each)) + each for each in frames]
    seen: list[str | None] = []
    for data in [b"".join(sized)] if together else sized:
        connection.receive(data)
        while (request := connection.next_event()) is not None:
            assert isinstance(request, Request)
            seen.append(request.client_id)
            connection.respond(request, ApiVersionsResponse(api_versions=[]))
    assert seen == names


def test_a_frame_that_came_alone_waits_like_any_other() -> None:
    connection = ready()
    connection.receive(HEARTBEAT_V0)
    assert connection.buffered_bytes == len(HEARTBEAT_V0)
    connection.receive(HEARTBEAT_V0[:9])
    connection.receive(HEARTBEAT_V0[9:])
    assert connection.buffered_bytes == 2 * len(HEARTBEAT_V0)
    for left in (1, 0):
        request = next_request(connection)
        assert connection.buffered_bytes == left * len(HEARTBEAT_V0)
        connection.receive(b"")
        connection.respond(request, HeartbeatResponse())
    assert connection.next_event() is None


@given(cuts=st.lists(st.integers(0, 3 * len(HEARTBEAT_V0)), max_size=8))
def test_portions_do_not_matter(cuts: list[int]) -> None:
    stream = HEARTBEAT_V0 * 3
    connection = ready()
    seen = 0
    edges = [0, *sorted(cuts), len(stream)]
    for start, end in pairwise(edges):
        connection.receive(stream[start:end])
        while (event := connection.next_event()) is not None:
            assert isinstance(event, Request)
            connection.respond(event, HeartbeatResponse())
            seen += 1
    assert seen == 3


def test_pipelined_requests_are_given_one_by_one_in_order() -> None:
    connection = ready()
    connection.receive(b"".join(frame(18, 0, number) for number in (7, 8, 9)))
    for number in (7, 8, 9):
        request = next_request(connection)
        assert request.correlation_id == number
        assert connection.next_event() is None, "one request in flight"
        connection.respond(request, ApiVersionsResponse(api_versions=[]))
    assert connection.next_event() is None


def test_null_and_empty_client_ids_and_negative_correlation_ids_are_legal() -> None:
    connection = ready()
    connection.receive(frame(18, 0, -1, client_id=None) + frame(18, 0, 2, client_id=""))
    first = next_request(connection)
    assert (first.client_id, first.correlation_id) == (None, -1)
    assert connection.respond(first, ApiVersionsResponse(api_versions=[]))[0][4:8] == b"\xff" * 4
    assert next_request(connection).client_id == ""


def test_bytes_after_the_body_are_ignored() -> None:
    connection = ready()
    connection.receive(frame(18, 0, 1, b"\0\0\0\0"))  # librdkafka 0.9.5-1.3.0
    assert next_request(connection).body == ApiVersionsRequest()


@pytest.mark.parametrize("size", [-1, -(2**31), FRAME_BYTES_MAX + 1, 2**31 - 1])
def test_a_frame_size_out_of_bounds_closes_before_anything_is_kept(size: int) -> None:
    connection = ready()
    connection.receive(struct.pack(">i", size))
    with pytest.raises(WireError, match=f"a frame of {size} bytes"):
        connection.next_event()


@pytest.mark.parametrize("verb", [b"GET", b"HEAD", b"POST", b"PUT", b"OPTIONS"])
def test_a_browser_or_health_check_is_called_what_it_is(verb: bytes) -> None:
    connection = in_state(AuthState.AWAIT_HANDSHAKE)
    connection.receive(verb + b" / HTTP/1.1\r\n")
    with pytest.raises(WireError, match="it speaks HTTP; this is a listener for Kafka clients"):
        connection.next_event()


@pytest.mark.parametrize("state", [AuthState.AWAIT_HANDSHAKE, AuthState.AWAIT_RAW_TOKEN, AuthState.AWAIT_TOKEN])
def test_strangers_get_smaller_frames(state: AuthState) -> None:
    connection = in_state(state)
    connection.receive(struct.pack(">i", FRAME_BYTES_MAX_BEFORE_LOGIN + 1))
    with pytest.raises(WireError, match="are accepted in state"):
        connection.next_event()


@pytest.mark.parametrize("api", list(APIS.values()), ids=lambda api: api.name)
def test_each_api_has_its_largest_request_and_more_closes_before_it_is_kept(api) -> None:
    whole = some_request(api)
    padded = whole[4:] + bytes(api.request_bytes_max - len(whole) + 4)
    connection = ready()
    connection.receive(struct.pack(">i", len(padded)) + padded)
    assert next_request(connection).api is api
    connection = ready()
    connection.receive(struct.pack(">i", len(padded) + 1) + whole[4:6])
    with pytest.raises(WireError, match=rf"up to {api.request_bytes_max} are accepted"):
        connection.next_event()


def test_a_large_frame_of_no_api_closes_before_it_is_kept() -> None:
    connection = ready()
    connection.receive(struct.pack(">i", REQUEST_BYTES_MAX + 1))
    assert connection.next_event() is None
    connection.receive(struct.pack(">h", 99))
    with pytest.raises(WireError, match=r"^API key 99 is not served$"):
        connection.next_event()


@pytest.mark.parametrize("payload", [b"", b"\0", b"\0\x12\0\0\0\0\0\1", b"\0\x12\0\0\0\0\0\1\0\5ab"])
def test_a_header_that_ends_early_closes(payload: bytes) -> None:
    connection = ready()
    connection.receive(struct.pack(">i", len(payload)) + payload)
    with pytest.raises(WireError):
        connection.next_event()


@pytest.mark.parametrize(
    ("key", "version"), [(4, 0), (23, 0), (33, 0), (99, 0), (-1, 0), (0x6000, 0), (1, 8), (3, 6), (3, -1)]
)
def test_an_unknown_api_or_version_closes_without_an_answer(key: int, version: int) -> None:
    connection = ready()
    connection.receive(frame(key, version, 1, bytes(64)))
    with pytest.raises(WireError, match="not served"):
        connection.next_event()


@pytest.mark.parametrize("state", [AuthState.READY, AuthState.AWAIT_HANDSHAKE])
@pytest.mark.parametrize("version", [2, 3, 4, -1])
def test_an_unknown_version_of_api_versions_is_answered_in_v0_and_the_connection_lives(
    version: int, state: AuthState
) -> None:
    connection = in_state(state)
    flexible_body = b"\0\x07librdkafka\x01"
    connection.receive(frame(18, version, 7, flexible_body) + frame(18, 0, 8))
    request = next_request(connection)
    assert request.refusal is not None
    assert connection.respond(request, request.refusal) == [bytes.fromhex("0000000a 00000007 0023 00000000")]
    assert not request.close_after
    assert next_request(connection).correlation_id == 8


# What each state admits


@pytest.mark.parametrize("api", list(APIS.values()), ids=lambda api: api.name)
def test_before_the_handshake_only_two_apis_do_not_close(api) -> None:
    connection = in_state(AuthState.AWAIT_HANDSHAKE)
    connection.receive(some_request(api))
    if api.name in {"ApiVersions", "SaslHandshake"}:
        assert next_request(connection).refusal is None
    else:
        with pytest.raises(WireError, match=f"{api.name} before login; set its security protocol"):
            connection.next_event()


@pytest.mark.parametrize("api", list(APIS.values()), ids=lambda api: api.name)
def test_between_handshake_and_token_only_the_token_is_admitted_and_the_rest_is_34(api) -> None:
    connection = in_state(AuthState.AWAIT_TOKEN)
    connection.receive(some_request(api) + frame(18, 0, 2))
    request = next_request(connection)
    if api.name == "SaslAuthenticate":
        assert request.refusal is None
        return
    assert request.refusal is not None
    assert request.close_after
    answer = b"".join(connection.respond(request, request.refusal))
    assert len(answer) >= 8
    assert connection.next_event() is None, "nothing is read any more"
    if api.name == "Heartbeat":
        assert answer == bytes.fromhex("00000006 00000001 0022")


@pytest.mark.parametrize("api", list(APIS.values()), ids=lambda api: api.name)
def test_after_login_every_api_is_admitted(api) -> None:
    connection = in_state(AuthState.READY)
    connection.receive(some_request(api))
    assert next_request(connection).refusal is None


def test_a_raw_token_has_no_header_and_its_answer_neither() -> None:
    connection = in_state(AuthState.AWAIT_RAW_TOKEN)
    connection.receive(b"\0\0\0\x07\0user\0p" + HEARTBEAT_V0)
    assert connection.next_event() == Token(b"\0user\0p")
    assert connection.next_event() is None
    connection.sasl.step(AuthStep.ACCEPTED)
    assert connection.respond_token() == TOKEN_ACCEPTED == bytes(4)
    assert next_request(connection).api.name == "Heartbeat"


def test_a_raw_token_is_there_with_its_last_byte_and_not_before() -> None:
    connection = in_state(AuthState.AWAIT_RAW_TOKEN)
    for byte in bytes.fromhex("00000007 00750070617373")[:-1]:
        connection.receive(bytes([byte]))
        assert connection.next_event() is None
    connection.receive(b"s")
    assert connection.next_event() == Token(bytes.fromhex("00750070617373"))


def test_a_closed_connection_keeps_nothing() -> None:
    connection = in_state(AuthState.CLOSED)
    connection.receive(HEARTBEAT_V0)
    assert connection.buffered_bytes == 0
    assert connection.next_event() is None


def test_tokens_do_not_show_in_reprs() -> None:
    assert "secret" not in repr(Token(b"\0user\0secret"))
    connection = in_state(AuthState.AWAIT_TOKEN)
    connection.receive(frame(36, 0, 1, b"\0\0\0\x0c\0user\0secret"))
    assert "secret" not in repr(next_request(connection))


# Responses


def test_large_records_leave_as_views_between_joined_small_parts() -> None:
    records = memoryview(bytes(10_000))
    connection = ready()
    body = encode(APIS[1].request(max_wait_time=0, min_bytes=0, topics=[]), 4)
    connection.receive(frame(1, 4, 1, body))
    request = next_request(connection)
    partitions = [FetchPartitionResponse(partition=n, record_set=records) for n in (0, 1)]
    response = FetchResponse(responses=[FetchTopicResponse(topic="t", partition_responses=partitions)])
    parts = connection.respond(request, response)
    assert [part is records for part in parts] == [False, True, False, True]
    whole = b"".join(parts)
    assert struct.unpack(">ii", whole[:8]) == (len(whole) - 4, 1)


def test_a_response_without_its_request_is_our_bug() -> None:
    connection = ready()
    request = Request(APIS[18], 0, 1, None, ApiVersionsRequest())
    with pytest.raises(AssertionError):
        connection.respond(request, ApiVersionsResponse(api_versions=[]))
    with pytest.raises(AssertionError):
        connection.respond_token()


def test_a_body_that_ends_early_closes() -> None:
    connection = ready()
    body = encode(MetadataRequest(topics=["topic"]), 1)
    connection.receive(frame(3, 1, 1, body[:-1]))
    with pytest.raises(WireError, match=r"element|topics"):
        connection.next_event()
