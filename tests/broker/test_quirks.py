"""The service's own ways, on listeners that ask for them and on no other."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import pytest

from broker.admission import STRANGERS_SHARE
from broker.apis import APIS, SERVICE_APIS
from broker.apis.api_versions import ApiVersionsRequest, ApiVersionsResponse
from broker.apis.describe_configs import ConfigResource, DescribeConfigsRequest, DescribeConfigsResponse
from broker.apis.heartbeat import HeartbeatRequest, HeartbeatResponse
from broker.apis.list_groups import ListGroupsRequest, ListGroupsResponse
from broker.apis.metadata import MetadataRequest, MetadataResponse
from broker.apis.offset_fetch import OffsetFetchRequest, OffsetFetchResponse
from broker.apis.sasl_authenticate import SaslAuthenticateResponse
from broker.context import Broker
from broker.errors import ErrorCode
from broker.listener import Address, Listener, Security
from broker.quirks import QUIRKS
from broker.server import BrokerServer
from tests.broker.fakes import GROUP, PASSWORD, TOPIC, USERNAME, make_broker
from tests.broker.raw_client import RawClient

pytestmark = pytest.mark.timeout(60)


@contextlib.asynccontextmanager
async def client_of(*, dts_quirks: bool, broker: Broker | None = None) -> AsyncIterator[RawClient]:
    listener = Listener("public", Address("127.0.0.1", 0), Security.SASL_PLAINTEXT, dts_quirks=dts_quirks)
    server = BrokerServer(broker or make_broker(), [listener])
    address = (await server.start())["public"]
    try:
        async with RawClient(address) as client:
            yield client
    finally:
        await server.close()


@pytest.mark.parametrize("version", [0, 1])
@pytest.mark.parametrize(
    ("username", "password"), [(USERNAME, "wr0ng"), ("dtstest-other", PASSWORD)], ids=["password", "sid"]
)
async def test_a_wrong_login_is_let_in_and_sees_nothing(version: int, username: str, password: str) -> None:
    async with client_of(dts_quirks=True) as client:
        await client.handshake(version)
        client.send_token(version, username, password)
        if version == 0:
            assert await client.read(4) == bytes(4)
        else:
            assert (await client.receive(SaslAuthenticateResponse, 0)).error_code == 0
        everything = await client.ask(MetadataRequest(topics=None), 1, MetadataResponse)
        assert everything.topic_metadata == []
        named = await client.ask(MetadataRequest(topics=[TOPIC, "no-such-topic"]), 1, MetadataResponse)
        assert [each.error_code for each in named.topic_metadata] == [ErrorCode.LEADER_NOT_AVAILABLE] * 2
        for group_id in (GROUP, "", "other"):
            beat = HeartbeatRequest(group_id=group_id, generation_id=1, member_id="m")
            assert (await client.ask(beat, 0, HeartbeatResponse)).error_code == ErrorCode.INVALID_GROUP_ID
            committed = await client.ask(OffsetFetchRequest(group_id=group_id, topics=None), 2, OffsetFetchResponse)
            assert committed.error_code == ErrorCode.INVALID_GROUP_ID
        assert (await client.ask(ListGroupsRequest(), 0, ListGroupsResponse)).groups == []


async def test_who_is_let_in_without_a_password_has_a_strangers_room_only() -> None:
    listener = Listener("public", Address("127.0.0.1", 0), Security.SASL_PLAINTEXT, dts_quirks=True)
    server = BrokerServer(make_broker(), [listener], connections_max=2 * STRANGERS_SHARE)
    address = (await server.start())["public"]
    async with RawClient(address) as rightful, RawClient(address) as first:
        await rightful.log_in(USERNAME, PASSWORD)
        await first.log_in(USERNAME, "wr0ng")
        async with RawClient(address) as second, RawClient(address) as third:
            await second.log_in(USERNAME, "wr0ng")
            assert await first.expect_close() == b""
            await third.log_in(USERNAME, "wr0ng")
            assert server.connection_count == 3
            for client, count in ((rightful, 1), (second, 0), (third, 0)):
                seen = await client.ask(MetadataRequest(topics=None), 1, MetadataResponse)
                assert len(seen.topic_metadata) == count
    await server.close()


async def test_a_right_login_is_served_as_ever() -> None:
    async with client_of(dts_quirks=True) as client:
        await client.log_in(USERNAME, PASSWORD)
        told = await client.ask(MetadataRequest(topics=[TOPIC]), 1, MetadataResponse)
        assert (told.topic_metadata[0].error_code, told.topic_metadata[0].partition_metadata[0].leader) == (0, 1)


@pytest.mark.parametrize("username", ["dtstest", "-sid", "dtstest-"])
@pytest.mark.parametrize("dts_quirks", [False, True])
async def test_a_user_that_is_not_two_parts_is_refused_with_the_services_words(username: str, dts_quirks: bool) -> None:
    async with client_of(dts_quirks=dts_quirks) as client:
        await client.handshake(1)
        client.send_token(1, username, PASSWORD)
        answer = await client.receive(SaslAuthenticateResponse, 0)
        assert answer.error_code == ErrorCode.SASL_AUTHENTICATION_FAILED
        assert answer.error_message == f"Authentication failed: Invalid username or password, username:{username}"
        assert await client.expect_close() == b""


@pytest.mark.parametrize(
    ("token", "words"), [("\0\0password", "username not specified"), ("\0dtstest-a\0", "password not specified")]
)
async def test_an_empty_part_is_refused_with_the_services_words(token: str, words: str) -> None:
    async with client_of(dts_quirks=True) as client:
        await client.handshake(1)
        _, username, password = token.split("\0")
        client.send_token(1, username, password)
        answer = await client.receive(SaslAuthenticateResponse, 0)
        assert (answer.error_code, answer.error_message) == (58, f"Authentication failed: {words}")


async def test_what_readers_may_not_call_is_refused() -> None:
    resource = ConfigResource(resource_type=2, resource_name=TOPIC, config_names=None)
    for dts_quirks, code in ((False, 0), (True, ErrorCode.CLUSTER_AUTHORIZATION_FAILED)):
        async with client_of(dts_quirks=dts_quirks) as client:
            await client.log_in(USERNAME, PASSWORD)
            answer = await client.ask(DescribeConfigsRequest(resources=[resource]), 0, DescribeConfigsResponse)
            assert [each.error_code for each in answer.resources] == [code]


async def test_versions_are_those_of_the_fork() -> None:
    async with client_of(dts_quirks=True) as client:
        listed = (await client.ask(ApiVersionsRequest(), 0, ApiVersionsResponse)).api_versions
        assert {each.api_key: each.max_version for each in listed} == {
            key: api.max_version for key, api in SERVICE_APIS.items()
        }
        await client.log_in(USERNAME, PASSWORD)
        client.send(ApiVersionsRequest(), 0)
        await client.read_frame()
        client.writer.write(bytes.fromhex("0000000a 0001 0007 00000009 ffff"))
        assert await client.expect_close() == b""


def test_the_forks_table_is_a_part_of_ours() -> None:
    differing = {
        api.name: (api.max_version, theirs.max_version)
        for key, api in APIS.items()
        if (theirs := SERVICE_APIS.get(key)) is not None and theirs.max_version != api.max_version
    }
    assert differing == {"Fetch": (7, 6), "DescribeConfigs": (1, 0)}
    assert APIS.keys() - SERVICE_APIS.keys() == {42}


def test_each_way_has_its_evidence() -> None:
    assert all(quirk.behaviour and quirk.evidence.startswith(("code", "docs")) for quirk in QUIRKS)
    assert len({quirk.name for quirk in QUIRKS}) == len(QUIRKS)
