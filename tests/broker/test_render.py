"""How records look to people and to programs."""

from __future__ import annotations

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.render import (
    COLOURED,
    PLAIN,
    clip,
    columns_of,
    json_line,
    lines,
    pad,
    plain_value,
    printable,
    style_for,
    table,
    value_text,
    width,
)


def integer(value, precision=8):
    return {"class": "Integer", "precision": precision, "value": str(value)}


def character(text, charset="utf8mb4", codec="utf-8"):
    return {"class": "Character", "charset": charset, "value": text.encode(codec)}


def datetime_value(**parts):
    absent = dict.fromkeys(("year", "month", "day", "hour", "minute", "second", "millis"))
    return {"class": "DateTime"} | absent | parts


def record(operation="UPDATE", **values):
    return {
        "version": 0,
        "id": 7,
        "sourceTimestamp": 1_700_000_000,
        "sourcePosition": "529@1",
        "safeSourcePosition": "407@1",
        "sourceTxid": "0",
        "source": {"sourceType": "MySQL", "version": "9.7.4"},
        "operation": operation,
        "objectName": "shop.orders",
        "processTimestamps": None,
        "tags": {"thread_id": "8"},
        "fields": None,
        "beforeImages": None,
        "afterImages": None,
        "bornTimestamp": 1_700_000_000,
    } | values


ORDER_FIELDS = [
    {"name": "id", "dataTypeNumber": 8},
    {"name": "状态", "dataTypeNumber": 253},
    {"name": "paid", "dataTypeNumber": 12},
]
BEFORE = [integer(1001), character("待付款"), None]
AFTER = [
    integer(1001),
    character("已付款"),
    datetime_value(year=2024, month=3, day=1, hour=9, minute=5, second=6, millis=7),
]
UPDATE = record(fields=ORDER_FIELDS, beforeImages=BEFORE, afterImages=AFTER)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "NULL"),
        (integer(18446744073709551615), "18446744073709551615"),
        (character("龙井茶"), "龙井茶"),
        (character("龙井茶", "gbk", "gbk"), "龙井茶"),
        (character("Köln €", "latin1", "cp1252"), "Köln €"),
        ({"class": "Character", "charset": "utf8mb4", "value": b"\xff\x00"}, "0xff00"),
        ({"class": "Character", "charset": "klingon", "value": b"ab"}, "0x6162"),
        ({"class": "Decimal", "value": "348.00", "precision": 5, "scale": 2}, "348.00"),
        ({"class": "Float", "value": 0.1, "precision": 8, "scale": 15}, "0.1"),
        ({"class": "Timestamp", "timestamp": 1_700_000_000, "millis": 0}, "2023-11-14 22:13:20 UTC"),
        ({"class": "Timestamp", "timestamp": 1_700_000_000, "millis": 250}, "2023-11-14 22:13:20.000250 UTC"),
        ({"class": "Timestamp", "timestamp": 0, "millis": 0}, "0000-00-00 00:00:00 UTC"),
        (datetime_value(year=2024, month=3, day=1, hour=9, minute=5, second=6, millis=7), "2024-03-01 09:05:06.000007"),
        (datetime_value(year=0, month=0, day=0, hour=0, minute=0, second=0, millis=0), "0000-00-00 00:00:00"),
        (datetime_value(year=2024, month=2, day=29), "2024-02-29"),
        (datetime_value(year=2024), "2024"),
        (datetime_value(hour=-838, minute=-59, second=-58, millis=0), "-838:59:58"),
        (datetime_value(hour=0, minute=0, second=0, millis=-5), "-00:00:00.000005"),
        ({"class": "BinaryObject", "type": "BINARY", "value": b"\x01\x02"}, "0x0102"),
        ({"class": "BinaryGeometry", "type": "WKB", "value": b"\x01"}, "0x01"),
        ({"class": "TextGeometry", "type": "WKT", "value": "POINT(1 2)"}, "POINT(1 2)"),
        ({"class": "TextObject", "type": "JSON", "value": '{"a": 1}'}, '{"a": 1}'),
        ({"class": "EmptyObject", "symbol": "NONE"}, "(absent)"),
        ({"class": "BinaryObject", "type": "BLOB", "value": b""}, "_binary ''"),
        ({"class": "BinaryObject", "type": "BLOB", "value": "订单 #7".encode()}, "_binary '订单 #7'"),
        ({"class": "BinaryObject", "type": "BLOB", "value": b"it's"}, "0x69742773"),
        ({"class": "BinaryObject", "type": "BLOB", "value": b"a\n"}, "0x610a"),
        ({"class": "BinaryObject", "type": "BINARY", "value": b"ab\x00\x00"}, "0x61620000"),
        ({"class": "TextObject", "type": "SET", "value": ""}, ""),
        ({"class": "Float", "value": -0.0, "precision": 8, "scale": 15}, "-0.0"),
        (datetime_value(year=0), "0000"),
        (datetime_value(year=2021, month=0, day=0), "2021-00-00"),
        (datetime_value(hour=-1, minute=0, second=0, millis=-500000), "-01:00:00.500000"),
        (character("abc", "dec8", "ascii"), "abc"),
        ({"class": "Character", "charset": "dec8", "value": b"\xe9"}, "0xe9"),
        ({"class": "Character", "charset": "swe7", "value": b"{"}, "0x7b"),
    ],
)
def test_every_class_of_value_has_a_text(value, text):
    assert value_text(value) == text


def test_an_absent_column_is_neither_null_nor_changed():
    absent = {"class": "EmptyObject", "symbol": "NONE"}
    fields = [{"name": name, "dataTypeNumber": 3} for name in ("id", "changed", "left out", "both")]
    minimal = record(
        fields=fields,
        beforeImages=[integer(1), absent, integer(3), absent],
        afterImages=[absent, integer(2), absent, None],
    )
    assert list(lines(1, minimal, PLAIN))[2:] == [
        "          id        1           (absent)",
        "          changed   (absent)    2",
        "          left out  3           (absent)",
        "          both      (absent)    NULL",
    ]
    shown = json.loads(json_line(1, minimal))
    assert shown["before"] == {"id": 1, "changed": {"empty": "NONE"}, "left out": 3, "both": {"empty": "NONE"}}
    assert shown["after"]["both"] is None


def test_a_time_with_a_zone():
    value = datetime_value(year=2024, month=2, day=29, hour=1, minute=2, second=3)
    cell = {"class": "TimestampWithTimeZone", "value": value, "timezone": "+08:00"}
    assert value_text(cell) == "2024-02-29 01:02:03 +08:00"


def test_integers_stay_integers_for_programs():
    assert plain_value(integer(-5)) == -5
    assert plain_value({"class": "Decimal", "value": "5.00", "precision": 3, "scale": 2}) == "5.00"


def test_an_update_is_shown_side_by_side():
    assert list(lines(42, UPDATE, PLAIN)) == [
        "22:13:20  UPDATE     shop.orders  529@1  offset 42",
        "          column  before    after",
        "          id      1001      1001",
        "          状态    待付款  ≠ 已付款",
        "          paid    NULL    ≠ 2024-03-01 09:05:06.000007",
    ]


def test_what_changed_is_marked_by_colour_too():
    shown = list(lines(42, UPDATE, COLOURED))
    assert shown[3] == "          \x1b[36m状态  \x1b[0m  \x1b[31m待付款\x1b[0m  ≠ \x1b[1;32m已付款\x1b[0m"
    assert shown[2] == "          \x1b[36mid    \x1b[0m  1001      1001"


def test_an_insert_has_no_before_and_a_delete_no_after():
    inserted = list(lines(1, record("INSERT", fields=ORDER_FIELDS, afterImages=AFTER), PLAIN))
    assert inserted[2] == "          id                1001"
    assert "≠" not in "".join(inserted)
    deleted = list(lines(1, record("DELETE", fields=ORDER_FIELDS, beforeImages=BEFORE), PLAIN))
    assert deleted[2] == "          id      1001"
    assert deleted[4] == "          paid    NULL"


def test_a_ddl_record_shows_its_statement_on_one_line():
    ddl = record("DDL", objectName="shop", afterImages="ALTER TABLE orders\n  ADD COLUMN `价` INT")
    assert list(lines(3, ddl, PLAIN)) == [
        "22:13:20  DDL        shop  529@1  offset 3",
        "          ALTER TABLE orders\\n  ADD COLUMN `价` INT",
    ]


def test_control_records_are_one_line():
    assert list(lines(9, record("HEARTBEAT", objectName=None), PLAIN)) == ["22:13:20  HEARTBEAT    529@1  offset 9"]


def test_a_dot_in_a_name_is_shown_as_a_dot():
    assert "my.db.t" in next(lines(1, record("BEGIN", objectName="my\\u002Edb.t"), PLAIN))


def test_hostile_values_are_shown_and_not_obeyed():
    hostile = [integer(1), character("\x1b[2J\x07\r\nrm \u202e-rf"), None]
    shown = "\n".join(lines(1, record("INSERT", fields=ORDER_FIELDS, afterImages=hostile), PLAIN))
    assert "\\x1b[2J\\x07\\r\\nrm \\u202e-rf" in shown
    assert "\x1b" not in shown


def test_long_values_are_clipped():
    long = [integer(1), character("茶" * 100), None]
    [_, _, _, line, _] = lines(1, record("DELETE", fields=ORDER_FIELDS, beforeImages=long), PLAIN)
    assert line.endswith("茶" * 23 + "…")


def test_a_column_whose_images_are_equal_is_not_marked():
    shown = columns_of(record(fields=ORDER_FIELDS, beforeImages=BEFORE, afterImages=BEFORE))
    assert [column.changed for column in shown] == [False, False, False]


def test_json_has_everything_a_program_needs():
    assert json.loads(json_line(42, UPDATE)) == {
        "offset": 42,
        "id": 7,
        "operation": "UPDATE",
        "objectName": "shop.orders",
        "sourceTimestamp": 1_700_000_000,
        "sourcePosition": "529@1",
        "safeSourcePosition": "407@1",
        "source": {"sourceType": "MySQL", "version": "9.7.4"},
        "tags": {"thread_id": "8"},
        "before": {"id": 1001, "状态": "待付款", "paid": None},
        "after": {"id": 1001, "状态": "已付款", "paid": "2024-03-01 09:05:06.000007"},
    }


def test_json_of_a_statement_and_of_bytes():
    assert json.loads(json_line(1, record("DDL", afterImages="DROP TABLE t")))["ddl"] == "DROP TABLE t"
    raw = record(
        "INSERT", fields=ORDER_FIELDS[:1], afterImages=[{"class": "BinaryObject", "type": "BLOB", "value": b"\x00\xff"}]
    )
    assert json.loads(json_line(1, raw))["after"] == {"id": {"hex": "00ff"}}


@pytest.mark.parametrize(
    ("text", "columns"), [("", 0), ("abc", 3), ("茶杯", 4), ("Zoë", 3), ("e\u0301", 1), ("ｆｕｌｌ", 8), ("🍵", 2)]
)
def test_width_is_that_of_a_terminal(text, columns):
    assert width(text) == columns


@given(st.text(), st.integers(1, 40))
def test_clipping_never_exceeds_and_padding_never_falls_short(text, columns):
    assert width(clip(text, columns)) <= max(columns, 1)
    assert width(pad(text, columns)) == max(width(text), columns)
    if width(text) <= columns:
        assert clip(text, columns) == text


@given(st.text())
def test_nothing_printable_acts_on_a_terminal(text):
    shown = printable(text)
    assert not [c for c in shown if unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") or c in "\u202a\u202e\u2066"]
    assert printable(shown) == shown


@pytest.mark.parametrize(
    ("terminal", "environment", "style"),
    [
        (True, {}, COLOURED),
        (True, {"NO_COLOR": ""}, COLOURED),
        (True, {"NO_COLOR": "1"}, PLAIN),
        (True, {"TERM": "dumb"}, PLAIN),
        (False, {}, PLAIN),
    ],
)
def test_when_there_are_colours(terminal, environment, style):
    assert style_for(terminal=terminal, environment=environment) is style


def test_tables_are_aligned_by_width():
    assert list(table(("name", "n"), [("茶", "1"), ("abcdef", "22")])) == ["name    n", "茶      1", "abcdef  22"]
