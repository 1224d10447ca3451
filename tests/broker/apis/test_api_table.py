"""The API table against what Kafka 1.1.1 says of itself, and every shape of every version against itself.

Goal: no field, type, order or version differs from the Schema objects of the Kafka 1.1.1 classes. Method: print our
field tables in the notation of their dump, names aside (they changed between Kafka releases; the bytes did not).
"""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.apis import APIS, SKIPPED, Service
from broker.connection import RequestHeader
from broker.errors import ErrorCode, WireError
from broker.sasl import AuthState
from broker.wire import decode, encode
from tests.broker.api_values import EVERY_SHAPE, EVERY_VERSION, messages, name_of
from tests.broker.schema_dump import our_fields, read_dump

SCHEMAS = Path(__file__).parents[2] / "golden" / "kafka-1.1.1-schemas.txt"

# reference: section 7 of the protocol notes; the ranges that old clients' version inference needs
ADVERTISED = (
    "0:0-5 1:0-7 2:0-2 3:0-5 8:0-3 9:0-3 10:0-1 11:0-2 12:0-1 13:0-1 14:0-1 15:0-1 16:0-1 17:0-1 18:0-1 19:0-2 20:0-1 "
    "21:0-0 22:0-0 29:0-0 32:0-1 36:0-0 42:0-0"
)
# ApiKeys.java of Kafka 1.1.1, in order from key 0
KAFKA_APIS = (
    "Produce",
    "Fetch",
    "ListOffsets",
    "Metadata",
    "LeaderAndIsr",
    "StopReplica",
    "UpdateMetadata",
    "ControlledShutdown",
    "OffsetCommit",
    "OffsetFetch",
    "FindCoordinator",
    "JoinGroup",
    "Heartbeat",
    "LeaveGroup",
    "SyncGroup",
    "DescribeGroups",
    "ListGroups",
    "SaslHandshake",
    "ApiVersions",
    "CreateTopics",
    "DeleteTopics",
    "DeleteRecords",
    "InitProducerId",
    "OffsetForLeaderEpoch",
    "AddPartitionsToTxn",
    "AddOffsetsToTxn",
    "EndTxn",
    "WriteTxnMarkers",
    "TxnOffsetCommit",
    "DescribeAcls",
    "CreateAcls",
    "DeleteAcls",
    "DescribeConfigs",
    "AlterConfigs",
    "AlterReplicaLogDirs",
    "DescribeLogDirs",
    "SaslAuthenticate",
    "CreatePartitions",
    "CreateDelegationToken",
    "RenewDelegationToken",
    "ExpireDelegationToken",
    "DescribeDelegationToken",
    "DeleteGroups",
)
REFERENCE = Path(__file__).resolve().parents[4] / "shared" / "reference" / "kafka-schemas"
DUMPS = sorted(REFERENCE.glob("kafka-schemas-*.txt"))


def test_the_table_advertises_the_recommended_ranges() -> None:
    ours = " ".join(f"{api.key}:{api.min_version}-{api.max_version}" for api in APIS.values())
    assert ours == ADVERTISED


@pytest.mark.parametrize(("api", "version"), EVERY_VERSION, ids=name_of)
def test_every_shape_is_kafkas(api, version) -> None:
    kafka = read_dump(SCHEMAS).shapes
    # Fetch: the aborted transactions of v4 and later are nullable in both; CreateTopics v0: nullable values since 0.11
    assert our_fields(api.request, version) == kafka[api.key, "Q", version]
    assert our_fields(api.response, version) == kafka[api.key, "R", version]


def test_the_comparison_sees_a_difference() -> None:
    kafka = read_dump(SCHEMAS).shapes
    assert our_fields(APIS[2].response, 1) != kafka[2, "R", 0]
    assert len(kafka) == 2 * len(EVERY_VERSION)


def test_every_api_of_kafka_has_a_row_or_a_reason() -> None:
    skipped = {key: name for each in SKIPPED for key, name in zip(each.keys, each.names.split(", "), strict=True)}
    assert not set(skipped) & set(APIS)
    ours = {key: api.name for key, api in APIS.items()} | skipped
    assert ours == dict(enumerate(KAFKA_APIS))


@pytest.mark.skipif(not DUMPS, reason=f"there are no schema dumps in {REFERENCE}")
@pytest.mark.parametrize("path", DUMPS, ids=lambda path: path.stem)
def test_every_release_of_kafka_has_our_shapes(path: Path) -> None:
    """Of each release the versions that it has; between releases only CreateTopics differs, in one null."""
    kafka = read_dump(path)
    compared = 0
    for (key, kind, version), shape in kafka.shapes.items():
        if key not in APIS or version > APIS[key].max_version:
            continue
        cls = APIS[key].request if kind == "Q" else APIS[key].response
        ours = our_fields(cls, version)
        if "0.10." in path.name:
            ours = ours.replace("[{string, nullable_string}]}], int32", "[{string, string}]}], int32")
        assert ours == shape, f"{APIS[key].name} {kind}{version}"
        compared += 1
    assert compared > 40, "0.10.0 has the fewest"
    if kafka.header is not None:
        assert our_fields(RequestHeader, 0) == kafka.header


@pytest.mark.skipif(not DUMPS, reason=f"there are no schema dumps in {REFERENCE}")
def test_names_and_codes_are_those_of_kafka_1_1() -> None:
    kafka = read_dump(REFERENCE / "kafka-schemas-1.1.1.txt")
    assert kafka.errors == {int(code): code.name for code in ErrorCode}
    assert [name.replace("_", "") for name in kafka.names.values()] == [name.upper() for name in KAFKA_APIS]
    assert len(kafka.names) == len(KAFKA_APIS)


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
@settings(max_examples=15)
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
@settings(max_examples=5)
def test_every_request_can_be_answered_with_an_error(api, version, data) -> None:
    request = data.draw(messages(api.request, version))
    response = api.error(version, request, ErrorCode.INVALID_GROUP_ID, "why")
    assert decode(api.response, version, encode(response, version)) is not None
