"""Positions, GTID sets and snapshots; mysql-replication's GTID arithmetic is the oracle."""

from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymysqlreplication.gtid import GtidSet as OracleSet

from capture.position import (
    BinlogPosition,
    GtidSet,
    PositionError,
    ResumePoint,
    SourceSnapshot,
    file_name,
    format_gtid,
    mariadb_key,
    mysql_key,
)
from storage.log import GTID_KEY_BYTES_MAX, GtidInterval, RecoveredSource

UUID_A = "281c62dc-590c-11ee-a295-00163e390c7c"
UUID_B = "55778904-0299-11f1-b1b8-4ef0c4956feb"
A, B = UUID(UUID_A).bytes, UUID(UUID_B).bytes

runs = st.lists(st.tuples(st.integers(1, 60), st.integers(0, 9)), min_size=1, max_size=6)
sets = st.dictionaries(st.sampled_from([UUID_A, UUID_B]), runs, max_size=2)


def written(parts: dict[str, list[tuple[int, int]]]) -> str:
    return ",".join(
        f"{uuid}:" + ":".join(f"{first}-{first + length}" for first, length in parts[uuid]) for uuid in parts
    )


def members(gtid_set: GtidSet) -> set[tuple[bytes, int]]:
    return {(key, number) for key in (A, B) for number in range(1, 80) if gtid_set.contains(key, number)}


def test_position_of_a_capture() -> None:
    position = BinlogPosition.parse("mysql-bin.000078:72469")
    assert (position.base, position.number, position.position) == ("mysql-bin", 78, 72469)
    assert str(position) == "mysql-bin.000078:72469"
    assert position.at(4) == BinlogPosition("mysql-bin.000078", 4)
    assert position.order < BinlogPosition("mysql-bin.000079", 4).order


def test_file_names_grow_beyond_six_digits() -> None:
    assert file_name("mysql-bin", 999_999) == "mysql-bin.999999"
    assert BinlogPosition(file_name("a.b", 1_000_000), 4).number == 1_000_000
    assert BinlogPosition(file_name("a.b", 1_000_000), 4).base == "a.b"


@pytest.mark.parametrize("text", ["", "mysql-bin.000001", "mysql-bin.000001:", "mysql-bin.1:x", "mysql-bin:4", "a.1:3"])
def test_what_is_no_position_is_refused(text: str) -> None:
    with pytest.raises(PositionError):
        BinlogPosition.parse(text)


@given(sets)
def test_parse_and_print_like_the_oracle(parts: dict[str, list[tuple[int, int]]]) -> None:
    text = written(parts)
    mine = GtidSet.parse(text)
    assert GtidSet.parse(str(mine)) == mine
    theirs = OracleSet(",".join(f"{uuid}:{f}-{f + n}" for uuid, rs in parts.items() for f, n in merged(rs)))
    assert members(mine) == {
        (UUID(g.sid).bytes, number) for g in theirs.gtids for i in g.intervals for number in range(i[0], i[1])
    }


def merged(parts: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The oracle refuses overlapping intervals: give it disjoint ones."""
    numbers = sorted({number for first, length in parts for number in range(first, first + length + 1)})
    return [(number, 0) for number in numbers]


@given(sets, sets)
def test_algebra_is_that_of_sets(one: dict[str, list[tuple[int, int]]], two: dict[str, list[tuple[int, int]]]) -> None:
    a, b = GtidSet.parse(written(one)), GtidSet.parse(written(two))
    assert members(a.minus(b)) == members(a) - members(b)
    assert a.issubset(b) == (members(a) <= members(b))
    assert a.intersects(b) == bool(members(a) & members(b))


@given(st.lists(st.integers(1, 40), max_size=40))
def test_adding_one_by_one_keeps_the_runs_minimal(numbers: list[int]) -> None:
    gtid_set = GtidSet()
    for number in numbers:
        gtid_set.add(A, number)
    assert {n for key, n in members(gtid_set)} == set(numbers)
    expected = GtidSet.parse(f"{UUID_A}:" + ":".join(map(str, sorted(set(numbers))))) if numbers else GtidSet()
    assert gtid_set == expected


def test_golden_sets() -> None:
    gtid_set = GtidSet.parse(f"{UUID_B}:5,\n{UUID_A}:1-7:9")
    assert str(gtid_set) == f"{UUID_A}:1-7:9,{UUID_B}:5"
    gtid_set.add(A, 8)
    assert str(gtid_set) == f"{UUID_A}:1-9,{UUID_B}:5"
    assert str(GtidSet()) == ""
    assert not GtidSet()


def test_tagged_gtids() -> None:
    gtid_set = GtidSet.parse(f"{UUID_A}:1-13:mytag:1-2:other:7")
    gtid_set.add(mysql_key(A, "mytag"), 3)
    assert str(gtid_set) == f"{UUID_A}:1-13,{UUID_A}:mytag:1-3,{UUID_A}:other:7"
    assert gtid_set.contains(mysql_key(A, "mytag"), 3)
    assert not gtid_set.contains(mysql_key(A, "mytag"), 13)
    assert GtidSet.parse(str(gtid_set)) == gtid_set
    assert len(mysql_key(A, "t" * 32)) <= GTID_KEY_BYTES_MAX
    assert format_gtid(mysql_key(A, "mytag"), 3) == f"{UUID_A}:mytag:3"


def test_a_mariadb_position_is_the_last_of_each_domain() -> None:
    position = GtidSet.parse("0-1-100,7-2-5")
    position.add(mariadb_key(0, 3), 101)
    assert str(position) == "0-3-101,7-2-5"
    assert position.contains(mariadb_key(0, 1), 101)
    assert not position.contains(mariadb_key(0, 1), 102)
    assert GtidSet.parse("0-1-90").issubset(position)
    assert not position.issubset(GtidSet.parse("0-1-101"))
    assert format_gtid(mariadb_key(0, 3), 101) == "0-3-101"


@pytest.mark.parametrize(
    "text", ["x", "0-1", UUID_A, f"{UUID_A}:", f"{UUID_A}:0", f"{UUID_A}:7-3", f"{UUID_A}:{'t' * 33}:1"]
)
def test_what_is_no_set_is_refused(text: str) -> None:
    with pytest.raises(PositionError):
        GtidSet.parse(text)


def test_a_resume_point_is_the_snapshot_and_what_followed() -> None:
    snapshot = SourceSnapshot("mysql", UUID_A, 1, "mysql-bin", f"{UUID_A}:1-5")
    assert SourceSnapshot.from_bytes(snapshot.to_bytes()) == snapshot
    intervals = (GtidInterval(A, 6, 9), GtidInterval(B, 1, 1))
    resume = ResumePoint.from_recovered(RecoveredSource(snapshot.to_bytes(), 78, 1234, intervals, 0))
    assert resume.position == BinlogPosition("mysql-bin.000078", 1234)
    assert str(resume.gtid_set) == f"{UUID_A}:1-9,{UUID_B}:1"
    assert (resume.server_uuid, resume.flavour) == (UUID_A, "mysql")


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b'{"version":2}', b'{"version":1,"base":"x"}', b"\xff"])
def test_a_snapshot_that_cannot_be_read_says_so(data: bytes) -> None:
    with pytest.raises(PositionError, match="source snapshot"):
        SourceSnapshot.from_bytes(data)
