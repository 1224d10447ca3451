"""Our readers and writers against those of kafka-python, an independent implementation, for every version that it has.

Method: made-up messages, written by one side and read by the other, both directions, compared as nested tuples.
"""

from __future__ import annotations

from io import BytesIO
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kafka.protocol import admin, commit, fetch, group, metadata, offset, produce

from broker.apis import APIS
from broker.wire import decode, encode
from tests.broker.api_values import as_tuple, messages, name_of

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
    "DeleteRecords": (admin, "DeleteRecords"),
    "DescribeAcls": (admin, "DescribeAcls"),
    "DescribeConfigs": (admin, "DescribeConfigs"),
    "SaslHandshake": (admin, "SaslHandshake"),
    "DeleteGroups": (admin, "DeleteGroups"),
}
# kafka-python's own mistakes, which its clients never meet: (message, version) -> what is wrong there
THEIR_MISTAKES = {
    ("GroupCoordinatorResponse", 1): "no throttle_time_ms",
    ("FetchRequest", 7): "forgotten topics name the class String, not a string of some encoding",
}


def pairs() -> list[tuple[Any, int, Any]]:
    found = []
    for api in APIS.values():
        module, name = THEIRS.get(api.name, (None, ""))
        for kind, ours in (("Request", api.request), ("Response", api.response)):
            for version, theirs in enumerate(getattr(module, f"{name}{kind}", ())):
                if version <= api.max_version and (f"{name}{kind}", version) not in THEIR_MISTAKES:
                    found.append((ours, version, theirs))
    return found


def their_tuple(value: Any) -> Any:
    """kafka-python's lists and tuples as nested tuples."""
    return tuple(their_tuple(each) for each in value) if isinstance(value, list | tuple) else value


@pytest.mark.parametrize(("ours", "version", "theirs"), pairs(), ids=name_of)
@given(data=st.data())
@settings(max_examples=10, deadline=None)
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


def test_most_of_the_table_is_compared() -> None:
    assert len(pairs()) > 80
