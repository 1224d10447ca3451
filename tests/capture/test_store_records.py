"""Records as a store makes and moves them: what stays, what changes, and what a reader of the schema finds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capture import avro
from capture.envelope import ControlRecords, RecordHead
from capture.errors import MalformedEvent
from capture.position import SourceSnapshot
from capture.store_records import NOOP_BYTES_MAX, head, noop, snapshot_behind, with_id
from storage.log import GtidInterval, RecoveredSource

LONGS = st.integers(-(1 << 63), (1 << 63) - 1)
CONTROL = ControlRecords("8.0.36")
AT = RecordHead(1_700_000_000, "72469@78", "72347@78", 4, 5, 1_700_000_000_123)
BEGIN = CONTROL.begin(300, AT, gtid=None, status=None)
COMMIT = CONTROL.commit(301, AT, gtid=None)


@given(LONGS, LONGS)
def test_a_moved_record_is_the_same_but_for_its_id(before: int, after: int) -> None:
    record = CONTROL.begin(before, AT, gtid="5e2a:7", status=None)
    moved = with_id(record, after)
    assert head(moved).record_id == after
    assert avro.decode(moved) == {**avro.decode(record), "id": after}
    assert with_id(moved, before) == record


def test_the_head_of_a_record() -> None:
    # version 0, id 300 in two bytes, the operation's number: BEGIN.
    assert head(BEGIN) == (300, 4)
    assert BEGIN[:3] == b"\x00\xd8\x04"
    assert with_id(BEGIN, 1) == b"\x00\x02" + BEGIN[3:]


def test_a_consumer_may_begin_where_no_transaction_is_open() -> None:
    beat = CONTROL.heartbeat(1, timestamp=1, source_position="4@1", read_ms=1)
    assert [head(record).begins for record in (BEGIN, COMMIT, beat, noop(1, 1))] == [True, False, True, True]
    row = avro.decode(BEGIN)
    for operation, begins in (("INSERT", False), ("UPDATE", False), ("DELETE", False), ("DDL", True)):
        assert head(avro.encode({**row, "operation": operation})).begins == begins


def test_a_head_that_is_cut_short_is_refused() -> None:
    operation_end = len(BEGIN) - len(BEGIN.split(b"\x0c8.0.36\x08", 1)[1])
    assert head(BEGIN[:operation_end]).operation == 4
    for size in range(3):
        with pytest.raises(MalformedEvent, match=f"^{size} bytes are not a DTS record"):
            with_id(BEGIN[:size], 1)
    for size in range(operation_end):
        with pytest.raises(MalformedEvent, match=f"^{size} bytes are not a DTS record"):
            head(BEGIN[:size])


@given(st.integers(0, (1 << 62) + (1 << 28)), st.integers(1, (1 << 32) - 1))
def test_a_noop_is_a_record_that_is_short_enough_to_be_skipped_unread(record_id: int, time_s: int) -> None:
    value = noop(record_id, time_s)
    assert 2 < len(value) <= NOOP_BYTES_MAX
    assert avro.decode(value) == {
        "version": 0,
        "id": record_id,
        "sourceTimestamp": time_s,
        "sourcePosition": "",
        "safeSourcePosition": "",
        "sourceTxid": "0",
        "source": {"sourceType": "MySQL", "version": ""},
        "operation": "NOOP",
        "objectName": None,
        "processTimestamps": None,
        "tags": {},
        "fields": None,
        "beforeImages": None,
        "afterImages": None,
        "bornTimestamp": time_s,
    }


def test_the_snapshot_behind_a_log_has_what_its_segments_added() -> None:
    uuid = "00000000-0000-0000-0000-000000000001"
    before = SourceSnapshot("mysql", uuid, 7, "mysql-bin", f"{uuid}:1-5")
    added = GtidInterval(bytes.fromhex(uuid.replace("-", "")), 6, 9)
    behind = snapshot_behind(RecoveredSource(before.to_bytes(), 3, 4, (added,), -1))
    assert SourceSnapshot.from_bytes(behind) == SourceSnapshot("mysql", uuid, 7, "mysql-bin", f"{uuid}:1-9")
