"""What columns left out get, by hand; `test_live_embedded.py` holds the same against real servers."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from capture.ddl import parse
from capture.errors import ValueRefused
from capture.row_defaults import RowDefaults
from capture.table import Column, TableVersion
from capture.whole_rows import WholeRows

TIME_S = 1_700_000_000


def table_of(*columns: Column) -> TableVersion:
    return TableVersion.of("shop", "t", columns, (), "utf8mb4", "utf8mb4_0900_ai_ci")


def default_of(column: Column) -> Any:
    """What the column gets in an INSERT that leaves it out."""
    (value,) = RowDefaults(table_of(column)).inserted({}, TIME_S, 1)
    return value


@pytest.mark.parametrize(
    ("column", "wanted"),
    [
        (Column("c", "int"), None),
        (Column("c", "int", default="'5'"), 5),
        (Column("c", "int", default="'2.5'"), 3),
        (Column("c", "int", default="x'ff'"), 255),
        (Column("c", "bit", length=3, default="b'101'"), 5),
        (Column("c", "bit", length=3, default="0b101"), 5),
        (Column("c", "decimal", precision=4, scale=2, default="'-1.5'"), Decimal("-1.5")),
        (Column("c", "double", default="'1e3'"), 1000.0),
        (Column("c", "year", default="'24'"), 2024),
        (Column("c", "year", default="'70'"), 1970),
        (Column("c", "year", default="'0000'"), 0),
        (Column("c", "varchar", length=9, default="'it''s \\\\ '"), "it's \\ "),
        (Column("c", "varchar", length=9, default="0x4142"), b"AB"),
        (Column("c", "varbinary", length=9, default="'ab'"), b"ab"),
        (Column("c", "text", default="('x')"), "x"),
        (Column("c", "enum", labels=("a", "B"), default="'b'"), "B"),
        (Column("c", "enum", labels=("a", "B"), nullable=False), "a"),
        (Column("c", "enum", labels=("a", "B")), None),
        (Column("c", "set", labels=("a", "B"), default="'b,A'"), ["B", "a"]),
        (Column("c", "set", labels=("a",), default="''"), []),
        (Column("c", "datetime", default="'2024-02-29'"), "2024-02-29 00:00:00"),
        (
            Column("c", "timestamp", default="CURRENT_TIMESTAMP(3)", fsp=3),
            datetime.fromtimestamp(TIME_S, UTC).replace(tzinfo=None),
        ),
    ],
    ids=lambda part: repr(part)[:60],
)
def test_defaults(column: Column, wanted: Any) -> None:
    assert default_of(column) == wanted


@pytest.mark.parametrize(
    ("column", "words"),
    [
        (Column("c", "char", default="(uuid())"), r"the default \(uuid\(\)\), which is not computed here"),
        (Column("c", "int", default="(1 + 1)"), r"the default \(1 \+ 1\), which is not computed here"),
        (Column("c", "year", default="'0'"), "the default '0', which is not computed here"),
        (Column("c", "int", default="'x'"), "the default 'x', which is not computed here"),
        (Column("c", "enum", labels=("ß", "SS"), default="'ss'"), "not computed here"),
        (Column("c", "int", generated="virtual"), "is GENERATED"),
        (Column("c", "bigint", hidden=True), "is GENERATED"),
    ],
    ids=lambda part: repr(part)[:60],
)
def test_what_is_not_certain_has_to_be_given(column: Column, words: str) -> None:
    with pytest.raises(ValueRefused, match=rf"^shop\.t\.c .*{words}"):
        default_of(column)
    assert RowDefaults(table_of(column)).inserted({"c": 1}, TIME_S, 1) == [1]


def test_a_row_as_it_was_needs_what_depends_on_its_insert() -> None:
    now = Column("at", "datetime", default="CURRENT_TIMESTAMP")
    number = Column("id", "int", nullable=False, auto_increment=True)
    for column, words in ((now, "the time of its INSERT"), (number, "AUTO_INCREMENT")):
        with pytest.raises(ValueRefused, match=words):
            RowDefaults(table_of(column)).before({})
    assert RowDefaults(table_of(Column("a", "int", default="'1'"))).before({}) == [1]


def test_columns_left_out_of_what_a_row_is_stay_what_they_were() -> None:
    defaults = RowDefaults(table_of(Column("id", "int"), Column("a", "int", default="'1'"), Column("b", "int")))
    before = defaults.before({"id": 1, "b": 5})
    assert before == [1, 1, 5]
    assert defaults.after({"a": 2}, before) == [1, 2, 5]
    assert defaults.after({"b": None}, before) == [1, 1, None]
    assert before == [1, 1, 5]
    with pytest.raises(ValueRefused, match=r"^shop\.t has no column c\.$"):
        defaults.after({"c": 2}, before)


def test_fractions_are_dropped_where_the_server_drops_them() -> None:
    columns = (Column("a", "datetime"), Column("b", "time", fsp=2), Column("c", "timestamp", fsp=1), Column("d", "int"))
    defaults = RowDefaults(table_of(*columns), cuts_fractions=True)
    moment = datetime.fromisoformat("2024-12-31T23:59:59.999")
    row: dict[str, Any] = {"a": moment, "b": "-00:00:00.019", "c": 1.96, "d": 5}
    assert defaults.inserted(row, TIME_S, 1) == [moment.replace(microsecond=0), "-00:00:00.01", 1.9, 5]


# ---- numbers ----

COUNTED = table_of(Column("id", "int", nullable=False, auto_increment=True), Column("a", "int"))


def numbers(rows: WholeRows, *given: Any, table: TableVersion = COUNTED) -> list[Any]:
    return [row[0] for row in rows.of("insert", table, [{"id": number} for number in given], TIME_S)]


def test_numbers_go_on_behind_the_largest() -> None:
    rows = WholeRows()
    assert numbers(rows, None, None) == [1, 2]
    assert numbers(rows, 10, None, 5, None) == [10, 11, 5, 12]
    assert [row[0] for row in rows.of("insert", COUNTED, [{}, {"a": 1}], TIME_S)] == [13, 14]
    assert rows.next_number(("shop", "t")) == 15
    rows.set_next_number(("shop", "t"), 100)
    assert numbers(rows, None) == [100]


def test_numbers_of_a_change_that_did_not_come_about_are_given_again() -> None:
    rows = WholeRows()
    numbers(rows, None)
    restore = rows.checkpoint()
    assert numbers(rows, None, None) == [2, 3]
    restore()
    assert numbers(rows, None) == [2]


@pytest.mark.parametrize(
    ("sql", "following"),
    [
        ("TRUNCATE TABLE t", 1),
        ("DROP TABLE shop.t", 1),
        ("CREATE TABLE t (id INT)", 1),
        ("DROP DATABASE shop", 1),
        ("DROP DATABASE other", 8),
        ("CREATE TABLE IF NOT EXISTS t (id INT)", 8),
        ("CREATE TEMPORARY TABLE t (id INT)", 8),
        ("ALTER TABLE t ADD b INT", 8),
        ("RENAME TABLE t TO u, u TO t", 8),
        ("RENAME TABLE t TO u", 1),
    ],
)
def test_numbers_follow_their_table(sql: str, following: int) -> None:
    rows = WholeRows()
    numbers(rows, 7)
    rows.follow(parse(sql), "shop")
    assert rows.next_number(("shop", "t")) == following


def test_a_renamed_table_goes_on_counting() -> None:
    rows = WholeRows()
    numbers(rows, 7)
    rows.follow(parse("ALTER TABLE t RENAME TO other.u"), "shop")
    assert (rows.next_number(("shop", "t")), rows.next_number(("other", "u"))) == (1, 8)
