"""The API table against what Kafka 1.1.1 says of itself, and every shape of every version against itself.

Goal: no field, type, order or version differs from the Schema objects of the Kafka 1.1.1 classes. Method: print our
field tables in the notation of their dump, names aside (they changed between Kafka releases; the bytes did not).
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.apis import APIS, Service
from broker.errors import ErrorCode, WireError
from broker.sasl import AuthState
from broker.wire import (
    BOOLEAN,
    BYTES,
    INT8,
    INT16,
    INT32,
    INT64,
    NULLABLE_BYTES,
    NULLABLE_STRING,
    RECORDS,
    STRING,
    Array,
    Message,
    Type,
    decode,
    encode,
)
from tests.broker.api_values import EVERY_SHAPE, EVERY_VERSION, fields_of, messages, name_of

SCHEMAS = Path(__file__).parents[2] / "golden" / "kafka-1.1.1-schemas.txt"

# reference: section 7 of the protocol notes; the ranges that old clients' version inference needs
ADVERTISED = (
    "0:0-5 1:0-7 2:0-2 3:0-5 8:0-3 9:0-3 10:0-1 11:0-2 12:0-1 13:0-1 14:0-1 15:0-1 16:0-1 17:0-1 18:0-1 19:0-2 20:0-1 "
    "21:0-0 22:0-0 29:0-0 32:0-1 36:0-0 42:0-0"
)
PRINTED = {
    BOOLEAN: "boolean",
    INT8: "int8",
    INT16: "int16",
    INT32: "int32",
    INT64: "int64",
    STRING: "string",
    NULLABLE_STRING: "nullable_string",
    BYTES: "bytes",
    NULLABLE_BYTES: "records",
    RECORDS: "records",
}


def kafka_shapes() -> dict[tuple[int, str, int], str]:
    """(key, Q or R, version) -> shape without names, defaults and groupings that take no bytes."""
    shapes: dict[tuple[int, str, int], str] = {}
    key = -1
    for line in SCHEMAS.read_text().splitlines():
        if line.startswith("#"):
            continue
        if line.startswith("API "):
            key = int(line.split()[1])
            continue
        kind, version, shape = re.fullmatch(r"  ([QR])(\d+) ?(.*)", line).groups()  # type: ignore[union-attr]
        shape = re.sub(r"=-?\d+", "", shape)
        shape = shape.replace("partition_header:{", "").replace("}, record_set", ", record_set")
        shapes[key, kind, int(version)] = re.sub(r"\w+:", "", shape)
    return shapes


def our_shape(type_: Type, version: int) -> str:
    if isinstance(type_, Array):
        return f"[{our_shape(type_.element, version)}]" + ("?" if version >= type_.nullable_since else "")
    if isinstance(type_, type):
        return "{" + our_fields(type_, version) + "}"
    return PRINTED[type_]


def our_fields(cls: type[Message], version: int) -> str:
    return ", ".join(our_shape(type_, version) for _, type_ in fields_of(cls, version))


def test_the_table_advertises_the_recommended_ranges() -> None:
    ours = " ".join(f"{api.key}:{api.min_version}-{api.max_version}" for api in APIS.values())
    assert ours == ADVERTISED


@pytest.mark.parametrize(("api", "version"), EVERY_VERSION, ids=name_of)
def test_every_shape_is_kafkas(api, version) -> None:
    kafka = kafka_shapes()
    # Fetch: the aborted transactions of v4 and later are nullable in both; CreateTopics v0: nullable values since 0.11
    assert our_fields(api.request, version) == kafka[api.key, "Q", version]
    assert our_fields(api.response, version) == kafka[api.key, "R", version]


def test_the_comparison_sees_a_difference() -> None:
    kafka = kafka_shapes()
    assert our_fields(APIS[2].response, 1) != kafka[2, "R", 0]
    assert len(kafka) == 2 * len(EVERY_VERSION)


def test_refused_apis_are_those_that_write_or_manage() -> None:
    refused = {api.name for api in APIS.values() if api.service is Service.REFUSED}
    assert refused == {"Produce", "CreateTopics", "DeleteTopics", "DeleteRecords", "InitProducerId", "DescribeAcls"}


def test_before_login_only_three_apis_are_admitted() -> None:
    admitted = {
        state: {api.name for api in APIS.values() if state in api.admitted}
        for state in (AuthState.AWAIT_HANDSHAKE, AuthState.AWAIT_RAW_TOKEN, AuthState.AWAIT_TOKEN, AuthState.CLOSED)
    }
    assert admitted == {
        AuthState.AWAIT_HANDSHAKE: {"SaslHandshake", "ApiVersions"},
        AuthState.AWAIT_RAW_TOKEN: set(),
        AuthState.AWAIT_TOKEN: {"SaslAuthenticate"},
        AuthState.CLOSED: set(),
    }
    assert all(AuthState.READY in api.admitted for api in APIS.values())


@pytest.mark.parametrize(("cls", "version"), EVERY_SHAPE, ids=name_of)
@given(data=st.data())
@settings(max_examples=15, deadline=None)
def test_every_version_round_trips_and_no_prefix_passes(cls, version, data) -> None:
    value = data.draw(messages(cls, version))
    encoded = encode(value, version)
    assert decode(cls, version, encoded) == value
    assert decode(cls, version, encoded + b"\0\0\0\0") == value
    for length in range(len(encoded)):
        with pytest.raises(WireError):
            decode(cls, version, encoded[:length])


@pytest.mark.parametrize(("api", "version"), EVERY_VERSION, ids=name_of)
@given(data=st.data())
@settings(max_examples=5, deadline=None)
def test_every_request_can_be_answered_with_an_error(api, version, data) -> None:
    request = data.draw(messages(api.request, version))
    response = api.error(version, request, ErrorCode.INVALID_GROUP_ID, "why")
    assert decode(api.response, version, encode(response, version)) is not None
