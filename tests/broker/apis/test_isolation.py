"""What a login may see: for every API and version, over a real connection, another's group is refused and another's
topic is answered as one that does not exist.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from broker.apis import APIS, Api
from broker.context import Broker
from broker.errors import ErrorCode
from broker.listener import Address, Listener, Security
from broker.server import BrokerServer
from broker.topics import Topic
from broker.wire import BOOLEAN, Array, Fixed, Message, Sized, Type
from tests.broker.api_values import EVERY_VERSION, as_tuple, fields_of, name_of
from tests.broker.fakes import GROUP, PASSWORD, TOPIC, USERNAME, MemoryOffsets, make_broker
from tests.broker.raw_client import RawClient
from tests.fakes_log import MemoryLog

pytestmark = pytest.mark.timeout(60)

OTHERS_GROUP, OTHERS_TOPIC = "group-b", "cn_hangzhou_rm_other_dtstest_version2"
NO_TOPIC = OTHERS_TOPIC.replace("other", "never")
GROUP_FIELDS = {"group_id", "coordinator_key", "group_ids", "groups"}
TOPIC_FIELDS = {"topic", "topics", "resource_name"}
NUMBERS = {"acks": 1, "replica_id": -1, "resource_type": 2, "type": 2, "max_bytes": 1 << 20, "timestamp": -1}
SHARED = {"SaslHandshake", "SaslAuthenticate", "ApiVersions"}
VERSIONS = [(api, version) for api, version in EVERY_VERSION if api.name not in SHARED]


def request_for(cls: type[Message], version: int, group: str, topic: str) -> Message:
    """A request with one of everything, which names this group and this topic wherever it names any."""
    return cls(**{name: _value(name, type_, version, group, topic) for name, type_ in fields_of(cls, version)})


def _value(name: str, type_: Type, version: int, group: str, topic: str) -> Any:
    if isinstance(type_, Array):
        return [_value(name, type_.element, version, group, topic)]
    if isinstance(type_, type):
        return request_for(type_, version, group, topic)
    if type_ is BOOLEAN:
        return False
    if isinstance(type_, Fixed):
        return NUMBERS.get(name, 0)
    assert isinstance(type_, Sized)
    if not type_.text:
        return b""
    if name in GROUP_FIELDS:
        return group
    return topic if name in TOPIC_FIELDS else "x"


def has_field(cls: type[Message], version: int, names: set[str]) -> bool:
    """Whether a request names a group, or a topic, somewhere."""
    for name, type_ in fields_of(cls, version):
        element = type_.element if isinstance(type_, Array) else type_
        if isinstance(element, type):
            if has_field(element, version, names):
                return True
        elif name in names and isinstance(element, Sized):
            return True
    return False


def error_codes(message: Message, version: int) -> Iterator[int]:
    """Every error code in a response."""
    for name, _ in fields_of(type(message), version):
        value = getattr(message, name)
        if name == "error_code":
            yield value
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, Message):
                yield from error_codes(each, version)


@contextlib.asynccontextmanager
async def logged_in() -> AsyncIterator[tuple[Broker, RawClient]]:
    """A client of `GROUP` on a broker that has another's topic and commits too."""
    broker = make_broker()
    other = MemoryLog(OTHERS_TOPIC)
    other.append([b"secret"], [1_700_000_000_000])
    broker.topics.add(Topic(OTHERS_TOPIC, other, "other"))
    assert isinstance(broker.offsets, MemoryOffsets)
    await broker.offsets.commit(OTHERS_GROUP, [(OTHERS_TOPIC, 0, 5, "theirs")])
    listener = Listener("public", Address("127.0.0.1", 0), Security.SASL_PLAINTEXT)
    server = BrokerServer(broker, [listener])
    address = (await server.start())["public"]
    try:
        async with RawClient(address) as client:
            await client.log_in(USERNAME, PASSWORD)
            yield broker, client
    finally:
        await server.close()


@pytest.mark.parametrize(
    ("api", "version"), [row for row in VERSIONS if has_field(row[0].request, row[1], GROUP_FIELDS)], ids=name_of
)
async def test_another_group_is_invalid_on_every_group_api(api: Api, version: int) -> None:
    async with logged_in() as (broker, client):
        request = request_for(api.request, version, OTHERS_GROUP, TOPIC)
        answer = await client.ask(request, version, api.response)
        assert {*error_codes(answer, version)} == {ErrorCode.INVALID_GROUP_ID}
        described = broker.groups.describe(OTHERS_GROUP)
        assert described is None or not described.members


@pytest.mark.parametrize(
    ("api", "version"), [row for row in VERSIONS if has_field(row[0].request, row[1], TOPIC_FIELDS)], ids=name_of
)
async def test_another_topic_is_answered_as_one_that_does_not_exist(api: Api, version: int) -> None:
    answers = []
    async with logged_in() as (_, client):
        for topic in (OTHERS_TOPIC, NO_TOPIC):
            request = request_for(api.request, version, GROUP, topic)
            answer = as_tuple(await client.ask(request, version, api.response), version)
            answers.append(repr(answer).replace(topic, "the topic"))
    assert answers[0] == answers[1]
    assert "secret" not in answers[0]
    assert "theirs" not in answers[0]


@pytest.mark.parametrize(("api", "version"), VERSIONS, ids=name_of)
async def test_nothing_names_what_is_anothers_unasked(api: Api, version: int) -> None:
    async with logged_in() as (_, client):
        request = request_for(api.request, version, GROUP, TOPIC)
        if api.name == "Metadata":
            request = api.request(topics=None if version else [])
        answer = repr(as_tuple(await client.ask(request, version, api.response), version))
        for others in (OTHERS_GROUP, OTHERS_TOPIC, "secret", "theirs"):
            assert others not in answer


def test_the_tables_above_know_every_api_that_names_a_group_or_a_topic() -> None:
    named = {api.name for api in APIS.values() if has_field(api.request, api.max_version, GROUP_FIELDS | TOPIC_FIELDS)}
    assert {api.name for api in APIS.values()} - named == SHARED | {"ListGroups", "InitProducerId"}
