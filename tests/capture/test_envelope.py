"""Records of rows and control records, held to fastavro and to the service's captured records."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capture import avro
from capture.envelope import ControlRecords, RecordHead, object_name
from capture.query_event import QueryStatus

IDS = st.integers(0, 2**63 - 1)
SECONDS = st.integers(0, 2**32 - 1)
TEXTS = st.text(max_size=300)
UNSIGNED = st.integers(0, 2**64 - 1)
HEADS = st.builds(
    RecordHead,
    timestamp=SECONDS,
    source_position=st.text(max_size=80),
    safe_source_position=TEXTS,
    thread_id=st.none() | st.integers(0, 2**32 - 1),
    server_id=st.integers(0, 2**32 - 1),
    read_ms=st.integers(0, 2**53),
)
STATUSES = st.none() | st.builds(
    QueryStatus, flags2=st.none() | UNSIGNED, sql_mode=st.none() | UNSIGNED, charset_client=st.none() | UNSIGNED
)
GTIDS = st.none() | st.just("3e11fa47-71ca-11e1-9e33-c80aa9429562:23")


def control(version: str, record_id: int, head: RecordHead, operation: str, tags: dict[str, str]) -> dict[str, Any]:
    return {
        "version": 0,
        "id": record_id,
        "sourceTimestamp": head.timestamp,
        "sourcePosition": head.source_position,
        "safeSourcePosition": head.safe_source_position,
        "sourceTxid": "0",
        "source": {"sourceType": "MySQL", "version": version},
        "operation": operation,
        "objectName": None,
        "processTimestamps": None,
        "tags": tags,
        "fields": None,
        "beforeImages": None,
        "afterImages": None,
        "bornTimestamp": head.timestamp,
    }


def present(**tags: object) -> dict[str, str]:
    return {name: str(value) for name, value in tags.items() if value is not None}


def query_tags(status: QueryStatus | None) -> dict[str, str]:
    if status is None:
        return {}
    return present(Q_SQL_MODE_CODE=status.sql_mode, Q_CHARSET_CODE=status.charset_client, Q_FLAGS2_CODE=status.flags2)


@given(version=TEXTS, record_id=IDS, head=HEADS, gtid=GTIDS, status=STATUSES)
def test_begin(version: str, record_id: int, head: RecordHead, gtid: str | None, status: QueryStatus | None) -> None:
    record = ControlRecords(version).begin(record_id, head, gtid=gtid, status=status)
    tags = query_tags(status) | present(GTID=gtid, thread_id=head.thread_id, readerThroughoutTime=head.read_ms)
    assert record == avro.encode(control(version, record_id, head, "BEGIN", tags))


@given(version=TEXTS, record_id=IDS, head=HEADS, gtid=GTIDS)
def test_commit(version: str, record_id: int, head: RecordHead, gtid: str | None) -> None:
    record = ControlRecords(version).commit(record_id, head, gtid=gtid)
    tags = present(GTID=gtid, thread_id=head.thread_id, readerThroughoutTime=head.read_ms)
    assert record == avro.encode(control(version, record_id, head, "COMMIT", tags))


@given(
    version=TEXTS,
    record_id=IDS,
    head=HEADS,
    database=st.sampled_from(["", "shop", "a.b", "库"]),
    sql=TEXTS,
    gtid=GTIDS,
    status=STATUSES,
    commit_timestamp=st.none() | SECONDS,
    lower=st.booleans(),
)
def test_ddl(
    version: str,
    record_id: int,
    head: RecordHead,
    database: str,
    sql: str,
    gtid: str | None,
    status: QueryStatus | None,
    commit_timestamp: int | None,
    lower: bool,
) -> None:
    record = ControlRecords(version).ddl(
        record_id,
        head,
        database=database,
        sql=sql,
        gtid=gtid,
        gtid_set=gtid,
        status=status,
        commit_timestamp=commit_timestamp,
        lower_case_table_names=lower,
    )
    tags = present(GTID=gtid, GTID_SET=gtid) | query_tags(status)
    tags["commitTimestamp"] = str(head.timestamp if commit_timestamp is None else commit_timestamp)
    tags["lowerCaseTableNames"] = "true" if lower else "false"
    tags |= present(thread_id=head.thread_id, readerThroughoutTime=head.read_ms, server_id=head.server_id)
    wanted = control(version, record_id, head, "DDL", tags)
    wanted |= {"objectName": {"": None, "a.b": "a\\u002Eb"}.get(database, database), "afterImages": sql}
    assert record == avro.encode(wanted)


@given(version=TEXTS, record_id=IDS, timestamp=SECONDS, position=TEXTS, read_ms=st.integers(0, 2**53))
def test_heartbeat(version: str, record_id: int, timestamp: int, position: str, read_ms: int) -> None:
    record = ControlRecords(version).heartbeat(
        record_id, timestamp=timestamp, source_position=position, read_ms=read_ms
    )
    head = RecordHead(timestamp, position, position, None, 0, read_ms)
    tags = {"readerThroughoutTime": str(read_ms)}
    assert record == avro.encode(control(version, record_id, head, "HEARTBEAT", tags))


def test_a_heartbeat_byte_for_byte() -> None:
    record = ControlRecords("8.0.36").heartbeat(3, timestamp=64, source_position="4@1", read_ms=5)
    assert record == (
        b"\x00"  # version
        b"\x06"  # id
        b"\x80\x01"  # sourceTimestamp
        b"\x064@1\x064@1"  # sourcePosition, safeSourcePosition
        b"\x020"  # sourceTxid
        b"\x00\x0c8.0.36"  # source
        b"\x10"  # operation
        b"\x00\x00"  # objectName, processTimestamps
        b"\x02\x28readerThroughoutTime\x025\x00"  # tags
        b"\x00\x00\x00"  # fields, beforeImages, afterImages
        b"\x80\x01"  # bornTimestamp
    )


@pytest.mark.parametrize(
    ("names", "wanted"),
    [
        (("db", "t"), "db.t"),
        (("d.b", "t."), "d\\u002Eb.t\\u002E"),
        (("库", "表"), "库.表"),
        (("db",), "db"),
    ],
)
def test_object_names_escape_the_point(names: tuple[str, ...], wanted: str) -> None:
    assert object_name(*names) == wanted


def test_names_that_are_not_utf8_keep_their_bytes() -> None:
    head = RecordHead(1, "", "", None, 0, 0)
    name = b"\xb6\xa9".decode("utf-8", "surrogateescape")
    record = ControlRecords("5.6").ddl(
        1,
        head,
        database=name,
        sql="",
        gtid=None,
        gtid_set=None,
        status=None,
        commit_timestamp=None,
        lower_case_table_names=False,
    )
    assert b"\x02\x04\xb6\xa9\x00" in record
