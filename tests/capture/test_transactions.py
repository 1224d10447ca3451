"""The walker: what each event is for capture, and that every position it calls a boundary is one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from msgspec.structs import astuple

from capture.dialect import Dialect
from capture.encode import EventEncoder
from capture.errors import MalformedEvent, SourceRefused, UnsupportedEvent, UnsupportedStatement
from capture.events import Checksum, EventType, iter_events
from capture.position import BinlogPosition
from capture.rewrite import rewrite_header
from capture.transactions import BinlogWalker, Step, StepKind
from tests.capture.recorded import ABSENT, BINLOGS
from tests.capture.world import FILE, UUID

if TYPE_CHECKING:
    from collections.abc import Sequence

MYSQL = Dialect.of("8.0.36")
TIME = 1_700_000_000


@pytest.fixture
def encoder() -> EventEncoder:
    return EventEncoder()


def walker(
    position: int = 4, version: str = "8.0.36", *, checksum: bool = False, decode_rows: bool = True
) -> BinlogWalker:
    return BinlogWalker(BinlogPosition(FILE, position), Dialect.of(version), checksum=checksum, decode_rows=decode_rows)


def begun(encoder: EventEncoder) -> BinlogWalker:
    """A walker that has read the head of a file."""
    made = walker()
    made.walk(EventEncoder(checksum=Checksum.NONE).artificial_rotate(FILE, 4))
    made.walk(encoder.format_description(TIME))
    return made


def query(encoder: EventEncoder, sql: str) -> bytes:
    return encoder.query(TIME, sql, database="shop", thread_id=8)


def kinds(walker: BinlogWalker, events: Sequence[bytes]) -> list[StepKind]:
    return [walker.walk(raw).kind for raw in events]


def test_a_transaction_with_a_gtid(encoder: EventEncoder) -> None:
    walking = begun(encoder)
    start = walking.position
    assert start == BinlogPosition(FILE, encoder.position)
    gtid = walking.walk(encoder.gtid(TIME, UUID, 5))
    begin = walking.walk(query(encoder, "BEGIN"))
    assert (gtid.kind, begin.kind) == (StepKind.NOTHING, StepKind.BEGIN)
    assert not gtid.ends_transaction
    assert not begin.ends_transaction
    assert walking.in_transaction
    assert walking.position == start
    end = walking.walk(encoder.xid(TIME, 1))
    assert (end.kind, end.ends_transaction) == (StepKind.COMMIT, True)
    assert walking.gtid is not None
    assert walking.gtid.text == f"{UUID}:5"
    assert walking.position == BinlogPosition(FILE, encoder.position) == BinlogPosition(FILE, end.end)
    assert begin.start == gtid.end


def test_a_transaction_without_gtid_does_not_keep_the_last_ones(encoder: EventEncoder) -> None:
    walking = begun(encoder)
    for raw in (encoder.gtid(TIME, UUID, 5), query(encoder, "BEGIN"), encoder.xid(TIME, 1)):
        walking.walk(raw)
    walking.walk(query(encoder, "BEGIN"))
    assert walking.gtid is None
    walking.walk(encoder.xid(TIME, 1))
    assert walking.gtid is None
    walking.walk(encoder.anonymous_gtid(TIME))
    walking.walk(query(encoder, "CREATE TABLE t (a INT)"))
    assert walking.gtid is None


@pytest.mark.parametrize(
    ("sql", "kind", "ends"),
    [
        ("COMMIT", StepKind.COMMIT, True),
        ("commit", StepKind.COMMIT, True),
        ("ROLLBACK", StepKind.ROLLBACK, True),
        ("ROLLBACK /* added by mysqlbinlog */", StepKind.ROLLBACK, True),
        ("SAVEPOINT `s`", StepKind.SAVEPOINT, False),
        ("ROLLBACK TO `s`", StepKind.ROLLBACK_TO, False),
        ("ROLLBACK TO SAVEPOINT s", StepKind.ROLLBACK_TO, False),
        ("RELEASE SAVEPOINT s", StepKind.NOTHING, False),
        ("CREATE TABLE t (a INT) START TRANSACTION", StepKind.STATEMENT, False),
    ],
)
def test_statements_inside_a_transaction(encoder: EventEncoder, sql: str, kind: StepKind, ends: bool) -> None:
    walking = begun(encoder)
    walking.walk(query(encoder, "BEGIN"))
    step = walking.walk(query(encoder, sql))
    assert (step.kind, step.ends_transaction, walking.in_transaction) == (kind, ends, not ends)


@pytest.mark.parametrize(
    "sql", ["CREATE TABLE t (a INT)", "GRANT SELECT ON *.* TO x", "FLUSH TABLES", "ANALYZE TABLE t"]
)
def test_a_statement_outside_is_a_transaction_of_its_own(encoder: EventEncoder, sql: str) -> None:
    walking = begun(encoder)
    walking.walk(encoder.gtid(TIME, UUID, 1))
    step = walking.walk(query(encoder, sql))
    assert (step.kind, step.ends_transaction) == (StepKind.STATEMENT, True)
    assert walking.position.position == encoder.position


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("INSERT INTO t VALUES (1)", "logged as a statement"),
        ("REPLACE INTO t SELECT 1", "logged as a statement"),
        ("DELETE FROM t", "logged as a statement"),
        ("CALL p()", "logged as a statement"),
        ("FROBNICATE EVERYTHING", "not understood"),
        ("XA PREPARE 'a'", "does not belong there"),
        ("XA COMMIT a", "XA id 'a' is not understood"),
        ("UPDATE t SET a = '" + "x" * 500 + "'", "…"),
    ],
)
def test_what_may_have_changed_rows_stops(encoder: EventEncoder, sql: str, words: str) -> None:
    walking = begun(encoder)
    walking.walk(query(encoder, "BEGIN"))
    start = encoder.position
    with pytest.raises(UnsupportedStatement, match=words) as raised:
        walking.walk(query(encoder, sql))
    assert f"{FILE}:{start}" in str(raised.value)
    assert len(str(raised.value)) < 400


def test_a_format_description_in_a_transaction_ends_it_without_effect(encoder: EventEncoder) -> None:
    walking = begun(encoder)
    walking.walk(query(encoder, "BEGIN"))
    step = walking.walk(encoder.format_description(TIME + 1))
    assert (step.kind, step.ends_transaction, walking.in_transaction) == (StepKind.ROLLBACK, True, False)


def test_a_begin_in_a_transaction_is_malformed(encoder: EventEncoder) -> None:
    walking = begun(encoder)
    walking.walk(query(encoder, "BEGIN"))
    with pytest.raises(MalformedEvent, match="inside another"):
        walking.walk(query(encoder, "BEGIN"))
    with pytest.raises(MalformedEvent, match="inside another"):
        walking.walk(encoder.gtid(TIME, UUID, 2))


def test_rows_outside_a_transaction_stop(encoder: EventEncoder) -> None:
    walking = begun(encoder)
    with pytest.raises(UnsupportedEvent, match="outside a transaction"):
        walking.walk(
            encoder.event(EventType.TABLE_MAP, TIME, bytes.fromhex("010000000000 0100 0161 00 0162 00 01 03 00 00"))
        )


# ---- files and positions ----


def test_a_dump_from_the_middle_of_a_file(encoder: EventEncoder) -> None:
    head = encoder.format_description(TIME)
    encoder.position = 5000
    walking = walker(5000)
    walking.walk(EventEncoder(checksum=Checksum.NONE).artificial_rotate(FILE, 5000))
    step = walking.walk(rewrite_header(head, has_checksum=True, end_position=0))
    assert (step.kind, step.start, step.end) == (StepKind.FILE, 5000, 5000)
    walking.walk(query(encoder, "BEGIN"))
    walking.walk(encoder.xid(TIME, 1))
    assert walking.position == BinlogPosition(FILE, encoder.position)


def test_the_next_file_begins_at_its_beginning(encoder: EventEncoder) -> None:
    walking = begun(encoder)
    following = "mysql-bin.000008"
    walking.walk(encoder.rotate(TIME, following))
    assert walking.position == BinlogPosition(following, 4)
    walking.walk(EventEncoder().artificial_rotate(following, 4))
    assert walking.position == BinlogPosition(following, 4)
    walking.walk(encoder.format_description(TIME))
    assert (walking.number, walking.position.position) == (8, encoder.position)


@pytest.mark.parametrize("file", ["mysql-bin.000006", "other.000008"])
def test_a_binlog_that_was_reset_or_renamed_stops(encoder: EventEncoder, file: str) -> None:
    walking = begun(encoder)
    with pytest.raises(SourceRefused, match=f"from file {FILE} to {file}"):
        walking.walk(encoder.rotate(TIME, file))


def test_positions_go_beyond_32_bits(encoder: EventEncoder) -> None:
    walking = begun(encoder)
    walking.walk(query(encoder, "BEGIN"))
    base = (1 << 32) - 100
    encoder.position = base
    walking._end = base
    for _ in range(4):
        step = walking.walk(query(encoder, "SAVEPOINT s"))
        assert (step.start, step.end) == (base, encoder.position)
        base = encoder.position
    walking.walk(encoder.xid(TIME, 1))
    assert walking.position.position == encoder.position > 1 << 32


def test_previous_gtids_are_what_the_head_of_a_file_says() -> None:
    from capture.gtid import Interval, PreviousGtidsEvent, SidIntervals

    encoder = EventEncoder()
    walking = begun(encoder)
    sets = (SidIntervals(bytes.fromhex(UUID.replace("-", "")), "", (Interval(1, 5), Interval(7, 7))),)
    step = walking.walk(encoder.previous_gtids(TIME, PreviousGtidsEvent(sets)))
    assert step.ends_transaction
    assert str(walking.previous_gtids) == f"{UUID}:1-5:7"


def test_a_heartbeat_moves_nothing(encoder: EventEncoder) -> None:
    walking = begun(encoder)
    walking.walk(query(encoder, "BEGIN"))
    reached = walking.reached
    step = walking.walk(encoder.heartbeat(FILE))
    assert step.kind is StepKind.HEARTBEAT
    assert walking.reached == reached
    assert walking.in_transaction


# ---- recorded files ----


RECORDED = (
    "5.5.27_rows-v1_sakila.bin",
    "5.6.35_rows-v2_zalora-01.bin",
    "5.7.18_gtid-rows-v2_myflash-haha.000041.bin",
    "5.7.21_rows-v2_checksum-crc32.bin",
    "8.0.46_full-metadata_01-crud.bin",
    "8.0.46_full-metadata_02-multi-stmt.bin",
    "9.6.0_gtid-tagged_binlog_transaction_with_GTID_TAG.bin",
    "mariadb-10.0.11_rows-v1_mdev6020-mysql-bin.000001.bin",
    "mariadb-10.5.15_annotate-fullmeta_mariadb-bin.000001.bin",
)


@pytest.mark.skipif(not BINLOGS.is_dir(), reason=ABSENT)
@pytest.mark.parametrize("name", RECORDED)
def test_every_boundary_of_a_recorded_file_is_one(name: str) -> None:
    """A second walker that begins at any boundary sees the same steps from there on."""
    data = (BINLOGS / name).read_bytes()
    events = [raw for raw in iter_events(data) if raw[4] != EventType.ROTATE]
    version = "10.5.15-MariaDB" if name.startswith("mariadb") else "8.0.36"

    def walk_from(index: int, position: BinlogPosition) -> list[Step]:
        walking = walker(position.position, version)
        first = [] if index == 0 else [rewrite_header(events[0], has_checksum=has_checksum, end_position=0)]
        for raw in first:
            walking.walk(raw)
        return [walking.walk(raw) for raw in events[index:]]

    whole = walker(4, version)
    boundaries, steps = [], []
    for raw in events:
        steps.append(whole.walk(raw))
        boundaries.append(whole.position)
    has_checksum = whole._decoder.checksum is Checksum.CRC32
    ends = [index for index, step in enumerate(steps) if step.ends_transaction]
    assert len(ends) > 1
    for index in ends[1 : len(ends) : max(1, len(ends) // 12)]:
        if index + 1 < len(events) and boundaries[index].file == FILE:
            again = walk_from(index + 1, boundaries[index])
            assert [astuple(step)[:5] for step in again] == [astuple(step)[:5] for step in steps[index + 1 :]]
    assert steps[-1].ends_transaction


def test_a_transaction_cut_by_the_servers_death_has_no_gtid(encoder: EventEncoder) -> None:
    walking = begun(encoder)
    for raw in (encoder.gtid(TIME, UUID, 5), query(encoder, "BEGIN")):
        walking.walk(raw)
    step = walking.walk(encoder.format_description(TIME))
    assert (step.kind, step.ends_transaction) == (StepKind.ROLLBACK, True)
    assert walking.gtid is None, "it was not executed; its number is given to another"
