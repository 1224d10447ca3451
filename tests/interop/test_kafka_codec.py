"""Our readers and writers against Kafka 1.1.1's own classes, in every API and version, both directions.

Method: made-up messages that we write and they read and write again, and bent ones, which both refuse or read alike.
The other independent codec is kafka-python's (`tests/broker/apis/test_against_kafka_python.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.apis import APIS
from broker.errors import WireError
from broker.fields import RECORDS
from broker.wire import NULLABLE_BYTES, Message, decode_from, encode
from tests.broker.api_values import EVERY_SHAPE, messages, name_of
from tests.broker.golden_messages import read_golden, values_of
from tests.interop import java_clients
from tests.interop.client import had
from tests.interop.kafka_codec import VERSION, CodecError, KafkaCodec

pytestmark = [pytest.mark.interop("kafka-clients-1.1.1"), pytest.mark.representative]

KEYS = {cls: (api.key, kind) for api in APIS.values() for cls, kind in ((api.request, "Q"), (api.response, "R"))}


@pytest.fixture(scope="module")
def codec() -> Iterator[KafkaCodec]:
    with KafkaCodec(had("kafka-clients-1.1.1", lambda: java_clients.messages_command(VERSION))) as running:
        yield running


def without_null_records(message: Any) -> None:
    """Kafka's classes know no null among records; its clients send empty ones."""
    for name, field in type(message).fields.items():
        value = getattr(message, name)
        if field.type in (RECORDS, NULLABLE_BYTES) and value is None:
            setattr(message, name, b"")
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, Message):
                without_null_records(item)


def test_the_golden_messages_are_those_of_kafkas_classes(codec: KafkaCodec) -> None:
    assert codec.made() == read_golden(), "renew them with python -m tests.interop.kafka_codec"


@pytest.mark.parametrize(("cls", "version"), EVERY_SHAPE, ids=name_of)
@given(data=st.data())
@settings(max_examples=10, deadline=None)
def test_both_read_and_write_the_same(codec: KafkaCodec, cls: type[Message], version: int, data: st.DataObject) -> None:
    message = data.draw(messages(cls, version))
    without_null_records(message)
    body = encode(message, version)
    assert codec.read(*KEYS[cls], version, body) == (body, values_of(message, version))


@pytest.mark.parametrize(("cls", "version"), EVERY_SHAPE, ids=name_of)
@given(data=st.data())
@settings(max_examples=10, deadline=None)
def test_what_both_read_of_bent_bytes_is_the_same(
    codec: KafkaCodec, cls: type[Message], version: int, data: st.DataObject
) -> None:
    message = data.draw(messages(cls, version))
    without_null_records(message)
    bent = bytearray(encode(message, version))
    if bent:
        bent[data.draw(st.integers(0, len(bent) - 1))] = data.draw(st.integers(0, 255))
    try:
        ours, end = decode_from(cls, version, bytes(bent))
    except WireError as refusal:
        # Java puts U+FFFD for bytes that are no text, and takes every negative length for null where null is legal.
        if "not UTF-8" not in str(refusal) and "has length -" not in str(refusal):
            with pytest.raises(CodecError):
                codec.read(*KEYS[cls], version, bytes(bent))
        return
    without_null_records(ours)
    again = encode(ours, version)
    assert codec.read(*KEYS[cls], version, again) == (again, values_of(ours, version))
    if end == len(bent) == len(again):
        assert codec.read(*KEYS[cls], version, bytes(bent)) == (again, values_of(ours, version))
