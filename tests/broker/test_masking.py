"""Masks: what stays as it is, what does not, and what ends a recording rather than let a value through."""

from __future__ import annotations

import copy
import json
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from binwire.record import decode
from broker.charsets import CODECS
from broker.masking import Mask, Masks
from broker.permuting import Permuter
from broker.recording import RecordingError
from capture import avro

KEY = b"k" * 32
DATE_PARTS = ("year", "month", "day")
CLOCK_PARTS = ("hour", "minute", "second", "millis")


def integer(value: int, precision: int = 8) -> dict[str, Any]:
    return {"class": "Integer", "precision": precision, "value": str(value)}


def character(text: str, charset: str = "utf8mb4") -> dict[str, Any]:
    return {"class": "Character", "charset": charset, "value": text.encode(CODECS[charset])}


def moment(*parts: int | None) -> dict[str, Any]:
    return {"class": "DateTime", **dict(zip(DATE_PARTS + CLOCK_PARTS, parts, strict=True))}


def row(table: str = "d.t", number: int = 8, **cells: Any) -> dict[str, Any]:
    """A decoded record with the same cells before and after."""
    image = list(cells.values())
    return {
        "version": 0,
        "id": 1,
        "sourceTimestamp": 2,
        "sourcePosition": "9@1",
        "safeSourcePosition": "4@1",
        "sourceTxid": "0",
        "source": {"sourceType": "MySQL", "version": "8"},
        "operation": "UPDATE",
        "objectName": table,
        "processTimestamps": None,
        "tags": {"pk_uk_info": '{"PRIMARY":["id"]}'},
        "fields": [{"name": name, "dataTypeNumber": number} for name in cells],
        "beforeImages": copy.deepcopy(image),
        "afterImages": copy.deepcopy(image),
        "bornTimestamp": 2,
    }


def statement(sql: str) -> dict[str, Any]:
    return {**row(), "operation": "DDL", "fields": None, "beforeImages": None, "afterImages": sql}


def masks(*asked: str) -> Masks:
    return Masks(map(Mask.parse, asked))


# ---- which columns ----


def test_only_the_named_column_changes_and_both_images_alike():
    wanted = masks("d.t.phone")
    given = row(id=integer(1), phone=character("13812345678"), note=character("13812345678"))
    found = copy.deepcopy(given)
    assert wanted.apply(found)
    assert found["beforeImages"] == found["afterImages"]
    assert found["afterImages"][1] != given["afterImages"][1]
    assert [found["afterImages"][index] for index in (0, 2)] == [given["afterImages"][index] for index in (0, 2)]
    assert {name: found[name] for name in found if "Images" not in name} == {
        name: given[name] for name in given if "Images" not in name
    }
    assert not wanted.apply(row("d.other", id=integer(1)))


def test_null_and_what_the_image_lacks_stay():
    found = row(phone=None)
    masks("d.t.phone").apply(found)
    assert found["afterImages"] == [None]
    lacking = {"class": "EmptyObject", "symbol": "NONE"}
    found = row(phone=lacking)
    masks("d.t.phone=text").apply(found)
    assert found["afterImages"] == [lacking]
    found = {**row(phone=character("1")), "beforeImages": None}
    masks("d.t.phone").apply(found)
    assert found["beforeImages"] is None


def test_equal_values_become_equal_ones_in_every_masked_column():
    wanted = masks("d.users.id", "d.orders.user_id")
    users, orders = row("d.users", id=integer(7)), row("d.orders", user_id=integer(7))
    wanted.apply(users)
    wanted.apply(orders)
    assert users["afterImages"] == orders["afterImages"] != [integer(7)]
    another = row("d.users", id=integer(7))
    masks("d.users.id").apply(another)
    assert another["afterImages"] != users["afterImages"], "each recording has a key of its own"


def test_null_and_text_are_put_in():
    found = row(
        a=character("x", "gbk"), b=character("y", "utf16"), c={"class": "TextObject", "type": "JSON", "value": "{}"}
    )
    masks("d.t.a=text", "d.t.b=text:no: one", 'd.t.c=text:"q"').apply(found)
    assert found["afterImages"] == [
        character("masked", "gbk"),
        character("no: one", "utf16"),
        {"class": "TextObject", "type": "JSON", "value": json.dumps('"q"')},
    ]
    found = row(a=character("x"), b={"class": "BinaryGeometry", "type": "WKB", "value": b"\x01"})
    masks("d.t.a=null", "d.t.b=null").apply(found)
    assert found["afterImages"] == [None, None]


def test_helper_tables_of_a_schema_change_have_the_masks_of_their_table():
    wanted = masks("d._users.phone")
    for table in ("_users", "__users_gho", "__users_del", "__users_new", "___users_old", "__users_20260131080000_del"):
        found = row(f"d.{table}", phone=character("13812345678"))
        assert wanted.apply(found), table
        assert found["afterImages"] != [character("13812345678")]
    assert not wanted.apply(row("d.users", phone=character("13812345678")))
    assert not wanted.apply(row("e._users", phone=character("13812345678")))


def test_names_with_dots_are_written_in_backticks():
    found = row("d\\u002Ex.t", phone=character("13812345678"))
    assert masks("`d.x`.t.phone").apply(found)


@pytest.mark.parametrize(
    "asked", ["", "t.c", "d.t.c=", "d.t.c=other", "d.t.c=null:x", "d.t.c.e", "d..c", "`d.t.c", "d.t.c=hash:x"]
)
def test_what_is_no_mask_is_refused(asked):
    with pytest.raises(RecordingError, match=r"is no mask; write database\.table\.column"):
        masks(asked)


def test_two_masks_for_a_column_are_refused():
    with pytest.raises(RecordingError, match=r"d\.t\.c has two masks; leave one of them out"):
        masks("d.t.c", "d.t.c=null")


@pytest.mark.parametrize(
    ("asked", "record", "sentence"),
    [
        ("d.t.fone", row(phone=character("1")), r"d\.t has no column 'fone' at 9@1.*its columns are phone"),
        ("d.t.id=null", row(id=integer(1)), "a primary key cannot be NULL; mask it by hash"),
        ("d.t.a", row(a={"class": "TextObject", "type": "ENUM", "value": "x"}), "for one of ENUM; mask it by null"),
        ("d.t.a", row(a={"class": "TextObject", "type": "SET", "value": "x"}), "put in for one of SET"),
        ("d.t.a", row(a={"class": "BinaryGeometry", "type": "WKB", "value": b""}), "for one of BinaryGeometry"),
        ("d.t.a", row(number=16, a=integer(1, 1)), "put in for one of BIT; mask it by null"),
        ("d.t.a=text", row(a=integer(1)), "put in for one of Integer"),
        ("d.t.a", statement("RENAME TABLE t TO u"), "rows of d.t under another name, where d.t.a would hide nothing"),
        ("d.t.a", statement("alter table `t` rename to u"), "may have rows of d.t under another name"),
        ("d.users.a", statement("RENAME TABLE users TO _users_del"), r"rows of d\.users under another name"),
        ("d.t.a", statement("ALTER TABLE t EXCHANGE PARTITION p WITH TABLE u"), r"rows of d\.t under another name"),
    ],
)  # fmt: skip
def test_what_could_let_a_value_through_ends_the_recording(asked, record, sentence):
    with pytest.raises(RecordingError, match=sentence):
        masks(asked).apply(record)


def test_statements_that_rename_something_else_are_recorded():
    wanted = masks("d.users.a")
    for sql in (
        "RENAME TABLE `d`.`users` TO `d`.`_users_del`, `d`.`_users_gho` TO `d`.`users`",
        "RENAME TABLE superusers TO u",
        "CREATE TABLE users (a INT)",
    ):
        assert not wanted.apply(statement(sql))


def test_a_mask_that_met_no_table_is_told():
    wanted = masks("d.t.a", "d.u.b", "d.u.c")
    wanted.apply(row("d.t", a=character("1")))
    with pytest.raises(
        RecordingError, match=r"no row of d\.u was there, for which d\.u\.b, d\.u\.c was given; .* are d\.t"
    ):
        wanted.require_met(["d.t"])


# ---- by hash ----


def masked(cell: dict[str, Any]) -> dict[str, Any]:
    return Permuter(KEY).masked(cell)


@given(st.integers(1, 10**40), st.data())
@settings(max_examples=60)
def test_a_permutation_stays_in_its_range(count, data):
    number = data.draw(st.integers(0, count - 1))
    assert 0 <= Permuter(KEY).permuted("x", number, count) < count


@pytest.mark.parametrize("count", [1, 2, 3, 10, 26, 255, 1000])
def test_different_values_stay_different(count):
    permuter = Permuter(KEY)
    assert sorted(permuter.permuted("x", number, count) for number in range(count)) == list(range(count))


def test_integers_keep_their_type_and_their_sign():
    signed = {int(masked(integer(number, 1))["value"]) for number in range(-128, 128)}
    assert signed == set(range(-128, 128))
    unsigned = {int(masked(integer(number, 1))["value"]) for number in range(256)}
    assert unsigned == set(range(256))
    for number in (-(2**63), -1, 0, 2**63 - 1, 2**63, 2**64 - 1):
        found = int(masked(integer(number))["value"])
        assert (found < 0, found >= 2**63) == (number < 0, number >= 2**63)


@pytest.mark.parametrize(
    "text", ["348.00", "-0.05", "0.00", "7", "-7", "1" + "0" * 64, "0.000000000000000000000000000001"]
)
def test_decimals_keep_digits_scale_and_sign(text):
    found = masked({"class": "Decimal", "value": text, "precision": 1, "scale": 2})
    given, made = Decimal(text), Decimal(found["value"])
    assert found["value"].partition(".")[2].__len__() == text.partition(".")[2].__len__()
    assert len(made.as_tuple().digits) == len(given.as_tuple().digits)
    assert made.is_signed() == given.is_signed()
    assert (made == 0 and given < 0) is False


def test_single_digits_of_a_decimal_stay_different():
    values = [f"{sign}0.0{digit}" for sign in ("", "-") for digit in range(10) if sign == "" or digit]
    made = {masked({"class": "Decimal", "value": text, "precision": 1, "scale": 2})["value"] for text in values}
    assert len(made) == len(values)


def test_a_float_can_be_in_a_float_column():
    found = masked({"class": "Float", "value": 3.14, "precision": 8, "scale": 15})["value"]
    assert found * 1024 == int(found * 1024) < 2**24


def kind(character: str) -> str:
    if character.isascii():
        return "9" if character.isdigit() else "a" if character.islower() else "A" if character.isupper() else character
    return "中" if "一" <= character <= "\u9fa5" else "a"


@given(st.text(st.sampled_from("0129azAZ @._-é龙茶😀"), max_size=90))
def test_texts_keep_length_and_kinds_of_characters(text):
    found = masked(character(text))["value"].decode()
    assert [kind(each) for each in found] == [kind(each) for each in text]


def test_texts_of_ascii_and_chinese_stay_different():
    texts = [f"{a}{b}" for a in "0123456789" for b in "0123456789"] + [
        "龙",
        "茶",
        "",
        "a",
        "b",
        "A",
        "-",
        "13812345678",
    ]
    assert len({masked(character(text))["value"] for text in texts}) == len(texts)


@pytest.mark.parametrize("charset", sorted(CODECS))
def test_a_masked_text_is_one_of_its_character_set(charset):
    content = character("Az19 x", charset)
    found = masked(content)
    assert [kind(each) for each in found["value"].decode(CODECS[charset])] == [*"Aa99 a"]
    broken = masked({**content, "value": b"\xffsecret\xfe1"})["value"]
    assert b"secret" not in broken
    assert len(broken) == 9


def test_chinese_stays_chinese_where_the_character_set_has_all_of_it():
    assert "\u4e00" <= masked(character("龙", "gbk"))["value"].decode("gbk") <= "\u9fa5"
    assert masked(character("茶", "big5"))["value"].isalpha()


@pytest.mark.parametrize("size", [0, 1, 16, 64, 65, 1000])
def test_bytes_keep_their_length(size):
    found = masked({"class": "BinaryObject", "type": "BLOB", "value": bytes(size)})["value"]
    assert len(found) == size
    assert not size or found != bytes(size)


@given(st.dates(), st.times(), st.booleans())
def test_moments_are_of_the_calendar_and_keep_their_side_of_1970_and_2038(day, time, is_date):
    clock = (None,) * 4 if is_date else (time.hour, time.minute, time.second, time.microsecond)
    found = masked(moment(day.year, day.month, day.day, *clock))
    made = date(*(found[part] for part in DATE_PARTS))
    assert (made < date(1970, 1, 1), made < date(2038, 1, 1)) == (day < date(1970, 1, 1), day < date(2038, 1, 1))
    assert found["millis"] == clock[3]
    assert (found["hour"] is None) == is_date


@pytest.mark.parametrize(
    ("cell", "fits"),
    [
        (moment(*[None] * 3, -838, -59, -59, -1), lambda c: -838 <= c["hour"] < -23 and c["millis"] == -1),
        (moment(*[None] * 3, 12, 0, 0, 0), lambda c: 0 <= c["hour"] < 24),
        (moment(2026, *[None] * 6), lambda c: 1901 <= c["year"] <= 2155 and c["year"] != 2026),
        (moment(0, *[None] * 6), lambda c: c["year"] == 0),
        (moment(0, 0, 0, 0, 0, 0, 0), lambda c: c == moment(0, 0, 0, 0, 0, 0, 0)),
        ({"class": "Timestamp", "timestamp": 0, "millis": 0}, lambda c: c["timestamp"] == 0),
        ({"class": "Timestamp", "timestamp": 1_800_000_000, "millis": 5}, lambda c: 0 < c["timestamp"] < 2**31),
        ({"class": "TextObject", "type": "JSON", "value": '{"a": 1}'}, lambda c: len(json.loads(c["value"])) == 16),
    ],
)  # fmt: skip
def test_other_values_keep_their_type(cell, fits):
    assert fits(masked(cell))


def test_a_masked_record_is_a_record():
    found = row(a=character("Zoë"), b=moment(2026, 1, 31, 8, 0, 0, 0), c=integer(-5, 4))
    masks("d.t.a", "d.t.b", "d.t.c").apply(found)
    after = decode(avro.encode(found)).after
    assert after is not None
    assert [type(value).__name__ for value in after.values()] == ["str", "datetime", "int"]
