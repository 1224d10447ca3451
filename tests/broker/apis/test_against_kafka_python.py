"""Our readers and writers against those of kafka-python, an independent implementation, in every API and version.

Method: made-up messages, written by one side and read by the other, both directions, compared as nested tuples. What
kafka-python lacks, or has wrong, is taken from aiokafka. The other independent codec is Kafka's own
(`golden_messages.py`, `tests/interop/test_kafka_codec.py`).
"""

from __future__ import annotations

from io import BytesIO
from typing import Any

import pytest
from aiokafka.protocol import admin as aiokafka_admin
from aiokafka.protocol import coordination as aiokafka_coordination
from aiokafka.protocol import fetch as aiokafka_fetch
from aiokafka.protocol import transaction as aiokafka_transaction
from hypothesis import given, settings
from hypothesis import strategies as st
from kafka.protocol import admin, commit, fetch, group, metadata, offset, produce

from broker.apis import Api
from broker.wire import decode, encode
from tests.broker.api_values import EVERY_VERSION, as_tuple, messages, name_of

# our API name -> where kafka-python keeps its classes, and under which name
THEIRS: dict[str, tuple[Any, str]] = {
    "Produce": (produce, "Produce"),
    "Fetch": (fetch, "Fetch"),
    "ListOffsets": (offset, "Offset"),
    "Metadata": (metadata, "Metadata"),
    "OffsetCommit": (commit, "OffsetCommit"),
    "OffsetFetch": (commit, "OffsetFetch"),
    "FindCoordinator": (commit, "GroupCoordinator"),
    "JoinGroup": (group, "JoinGroup"),
    "Heartbeat": (group, "Heartbeat"),
    "LeaveGroup": (group, "LeaveGroup"),
    "SyncGroup": (group, "SyncGroup"),
    "DescribeGroups": (admin, "DescribeGroups"),
    "ListGroups": (admin, "ListGroups"),
    "CreateTopics": (admin, "CreateTopics"),
    "DeleteTopics": (admin, "DeleteTopics"),
    "ApiVersions": (admin, "ApiVersion"),
    "SaslAuthenticate": (admin, "SaslAuthenticate"),
    "DescribeAcls": (admin, "DescribeAcls"),
    "DescribeConfigs": (admin, "DescribeConfigs"),
    "SaslHandshake": (admin, "SaslHandShake"),
    "DeleteGroups": (admin, "DeleteGroups"),
}
# (our message, version) -> aiokafka's class of its own, where kafka-python has none or, in the first two, a wrong one
AIOKAFKA: dict[tuple[str, int], Any] = {
    ("FetchRequest", 7): aiokafka_fetch.FetchRequest_v7,
    ("FindCoordinatorResponse", 1): aiokafka_coordination.FindCoordinatorResponse_v1,
    ("DeleteRecordsRequest", 0): aiokafka_admin.DeleteRecordsRequest_v0,
    ("DeleteRecordsResponse", 0): aiokafka_admin.DeleteRecordsResponse_v0,
    ("InitProducerIdRequest", 0): aiokafka_transaction.InitProducerIdRequest_v0,
    ("InitProducerIdResponse", 0): aiokafka_transaction.InitProducerIdResponse_v0,
}


def their_class(api: Api, kind: str, version: int) -> Any:
    """Their class of a message; a row or version added to our table must find its own."""
    theirs = AIOKAFKA.get((f"{api.name}{kind}", version))
    if theirs is not None:
        return theirs
    module, name = THEIRS[api.name]
    return getattr(module, f"{name}{kind}")[version]


PAIRS = [
    (ours, version, their_class(api, kind, version))
    for api, version in EVERY_VERSION
    for kind, ours in (("Request", api.request), ("Response", api.response))
]


def their_tuple(value: Any) -> Any:
    """kafka-python's lists and tuples as nested tuples."""
    return tuple(their_tuple(each) for each in value) if isinstance(value, list | tuple) else value


@pytest.mark.parametrize(("ours", "version", "theirs"), PAIRS, ids=name_of)
@given(data=st.data())
@settings(max_examples=10)
def test_both_read_and_write_the_same_bytes(ours, version, theirs, data) -> None:
    value = data.draw(messages(ours, version))
    written = encode(value, version)
    stream = BytesIO(written)
    read = tuple(field.decode(stream) for field in theirs.SCHEMA.fields)
    assert stream.read() == b"", "kafka-python left bytes over"
    expected = as_tuple(value, version)
    assert their_tuple(read) == expected
    assert theirs.SCHEMA.encode(expected) == written
    assert as_tuple(decode(ours, version, theirs.SCHEMA.encode(expected)), version) == expected
