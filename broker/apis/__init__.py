"""The API table: one row per Kafka API, in key order, and one file per API beside it.

A row gives ApiVersions its entry, the connection its reader, writer and size limit, the server its handler, login its
rules and the README its table. An API without a row, or a version outside the row's range, closes the connection
without an answer, as Kafka does (kafka-python's version probe relies on it); only ApiVersions answers a version that
it does not know.

Versions are a subset of what a Kafka 1.1 broker advertises, from 0 on: clients judge a broker by the low versions too
(librdkafka's feature map, kafka-python's inference). What is missing, and why, stands in `SKIPPED`.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

from broker import quirks
from broker.apis import (
    api_versions,
    create_topics,
    delete_groups,
    delete_records,
    delete_topics,
    describe_acls,
    describe_configs,
    describe_groups,
    fetch,
    find_coordinator,
    heartbeat,
    init_producer_id,
    join_group,
    leave_group,
    list_groups,
    list_offsets,
    metadata,
    offset_commit,
    offset_fetch,
    produce,
    sasl_authenticate,
    sasl_handshake,
    sync_group,
)
from broker.sasl import AuthState

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from broker.wire import Message


REQUEST_BYTES_MAX: Final = 256 * 1024
"""Largest request of an API: a thousand topics (`wire.ELEMENTS_MAX`) with the longest names there are. Kafka takes
100 MiB of everything, because it is written to."""
PRODUCE_BYTES_MAX: Final = 4 * 1024 * 1024
"""Room for a Java producer's request (`max.request.size`, 1 MiB) and its neighbours, to be refused politely."""
SYNC_GROUP_BYTES_MAX: Final = 1024 * 1024
"""The leader's request, with an assignment for every member: a thousand of 1 KiB; with one partition, 100 bytes do."""


class Service(Enum):
    """Whether an API does its work here or only says no in the right layout."""

    SERVED = "served"
    REFUSED = "refused"


class Api(Struct, frozen=True):
    """One row.

    `handle(context, request)` returns the response or an awaitable of it; it raises `ApiError` to answer a code
    everywhere, which `error(version, request, code, message)` lays out, and `CloseConnection` where there is no
    answer.
    """

    key: int
    name: str
    min_version: int
    max_version: int
    service: Service
    admitted: frozenset[AuthState]
    request_bytes_max: int
    request: type[Message]
    response: type[Message]
    handle: Callable[[Any, Any], Any]
    error: Callable[[int, Any, Any, str | None], Message]

    @property
    def refuses(self) -> bool:
        return self.service is Service.REFUSED


def _row(
    key: int,
    name: str,
    max_version: int,
    module: ModuleType,
    service: Service = Service.SERVED,
    *also_admitted: AuthState,
    request_bytes_max: int = REQUEST_BYTES_MAX,
) -> Api:
    return Api(
        key=key,
        name=name,
        min_version=0,
        max_version=max_version,
        service=service,
        admitted=frozenset({AuthState.READY, *also_admitted}),
        request_bytes_max=request_bytes_max,
        request=getattr(module, f"{name}Request"),
        response=getattr(module, f"{name}Response"),
        handle=module.handle,
        error=module.error,
    )


_SERVED, _REFUSED = Service.SERVED, Service.REFUSED
_AWAIT_HANDSHAKE, _AWAIT_TOKEN = AuthState.AWAIT_HANDSHAKE, AuthState.AWAIT_TOKEN

_ROWS: Final = (
    _row(0, "Produce", 5, produce, _REFUSED, request_bytes_max=PRODUCE_BYTES_MAX),
    _row(1, "Fetch", 7, fetch),
    _row(2, "ListOffsets", 2, list_offsets),
    _row(3, "Metadata", 5, metadata),
    _row(8, "OffsetCommit", 3, offset_commit),
    _row(9, "OffsetFetch", 3, offset_fetch),
    _row(10, "FindCoordinator", 1, find_coordinator),
    _row(11, "JoinGroup", 2, join_group),
    _row(12, "Heartbeat", 1, heartbeat),
    _row(13, "LeaveGroup", 1, leave_group),
    _row(14, "SyncGroup", 1, sync_group, request_bytes_max=SYNC_GROUP_BYTES_MAX),
    _row(15, "DescribeGroups", 1, describe_groups),
    _row(16, "ListGroups", 1, list_groups),
    _row(17, "SaslHandshake", 1, sasl_handshake, _SERVED, _AWAIT_HANDSHAKE),
    _row(18, "ApiVersions", 1, api_versions, _SERVED, _AWAIT_HANDSHAKE),
    _row(19, "CreateTopics", 2, create_topics, _REFUSED),
    _row(20, "DeleteTopics", 1, delete_topics, _REFUSED),
    _row(21, "DeleteRecords", 0, delete_records, _REFUSED),
    _row(22, "InitProducerId", 0, init_producer_id, _REFUSED),
    _row(29, "DescribeAcls", 0, describe_acls, _REFUSED),
    _row(32, "DescribeConfigs", 1, describe_configs),
    _row(36, "SaslAuthenticate", 0, sasl_authenticate, _SERVED, _AWAIT_TOKEN),
    _row(42, "DeleteGroups", 0, delete_groups),
)

APIS: Final = {row.key: row for row in _ROWS}
SERVICE_APIS: Final = quirks.as_the_service(APIS)
"""The table of listeners with `dts_quirks`."""
assert list(APIS) == sorted(row.key for row in _ROWS), "rows stand in key order, each key once"


class Skipped(Struct, frozen=True):
    """APIs of Kafka 1.1 that have no row, and the reason."""

    keys: tuple[int, ...]
    names: str
    reason: str


SKIPPED: Final = (
    Skipped(
        (4, 5, 6, 7),
        "LeaderAndIsr, StopReplica, UpdateMetadata, ControlledShutdown",
        "spoken between brokers; there is one",
    ),
    Skipped(
        (23,), "OffsetForLeaderEpoch", "followers ask it in v0; consumers that ask want v2 or later and do without"
    ),
    Skipped(
        (24, 25, 26, 27, 28),
        "AddPartitionsToTxn, AddOffsetsToTxn, EndTxn, WriteTxnMarkers, TxnOffsetCommit",
        "nothing is produced here",
    ),
    Skipped((30, 31), "CreateAcls, DeleteAcls", "access follows from the login; DescribeAcls says so"),
    Skipped((33, 37), "AlterConfigs, CreatePartitions", "a topic has one partition and is configured with its channel"),
    Skipped(
        (34, 35),
        "AlterReplicaLogDirs, DescribeLogDirs",
        "there is one copy of each log, and it stays where it is",
    ),
    Skipped(
        (38, 39, 40, 41),
        "CreateDelegationToken, RenewDelegationToken, ExpireDelegationToken, DescribeDelegationToken",
        "logins are those of consumer groups",
    ),
)
"""What a Kafka 1.1 broker serves and this one does not. Versions above a row's are those of later Kafkas; their clients
negotiate down."""
