"""Python values and JSON text as binary JSON: golden bytes of MySQL 9.7, limits of the small form, what is refused."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from typing import Any

import pytest

from capture.json_binary import JsonType
from capture.json_text import json_text
from capture.json_writer import Opaque, document_of, document_of_text, json_document
from capture.values import Misfit

GOLDEN = {
    "null": "04 00",
    "true": "04 01",
    "false": "04 02",
    "-32768": "05 00 80",
    "32768": "07 00 80 00 00",
    "-32769": "07 ff 7f ff ff",
    "2147483648": "09 00 00 00 80 00 00 00 00",
    "4294967295": "09 ff ff ff ff 00 00 00 00",
    "4294967296": "0a 00 00 00 00 01 00 00 00",
    "-4294967297": "09 ff ff ff ff fe ff ff ff",
    "18446744073709551615": "0a ff ff ff ff ff ff ff ff",
    "18446744073709551616": "0b 00 00 00 00 00 00 f0 43",
    "1.5": "0b 00 00 00 00 00 00 f8 3f",
    '"ä"': "0c 02 c3 a4",
    "[]": "02 00 00 04 00",
    "{}": "00 00 00 04 00",
    "[1, 70000]": "02 02 00 0e 00 05 01 00 07 0a 00 70 11 01 00",
    '{"bb": 1, "a": 2, "c": 3, "a": 4}': (
        "00 03 00 1d 00 19 00 01 00 1a 00 01 00 1b 00 02 00 05 04 00 05 03 00 05 01 00 61 63 62 62"
    ),
    '{"a": {"b": [null]}}': (
        "00 01 00 1f 00 0b 00 01 00 00 0c 00 61 01 00 13 00 0b 00 01 00 02 0c 00 62 01 00 07 00 04 00 00"
    ),
}
"""JSON text and the document MySQL 9.7 makes of it."""


@pytest.mark.parametrize("text", GOLDEN)
def test_golden_documents(text: str) -> None:
    assert document_of_text(text) == bytes.fromhex(GOLDEN[text])
    assert json_document(text) == bytes.fromhex(GOLDEN[text])


def test_lengths_go_on_in_the_next_byte() -> None:
    for size, prefix in ((127, "7f"), (128, "80 01"), (16383, "ff 7f"), (16384, "80 80 01"), (2097152, "80 80 80 01")):
        assert document_of("x" * size) == b"\x0c" + bytes.fromhex(prefix) + b"x" * size


def test_an_array_is_small_while_everything_fits_16_bits() -> None:
    """4 bytes of head, 3 for the entry, 3 for the length: 65,525 letters make 65,535 bytes."""
    assert document_of(["x" * 65_525])[0] == JsonType.SMALL_ARRAY
    assert document_of(["x" * 65_526])[0] == JsonType.LARGE_ARRAY
    assert document_of([None] * 21_843)[0] == JsonType.SMALL_ARRAY
    assert document_of([None] * 21_844)[0] == JsonType.LARGE_ARRAY
    assert document_of({"x" * 65_524: 1})[0] == JsonType.SMALL_OBJECT
    assert document_of({"x" * 65_525: 1})[0] == JsonType.LARGE_OBJECT


def test_what_holds_a_large_one_is_large_and_the_others_stay_small() -> None:
    document = document_of([[1], ["x" * 70_000]])
    kinds = [document[9], document[14]]
    assert (document[0], *kinds) == (JsonType.LARGE_ARRAY, JsonType.SMALL_ARRAY, JsonType.LARGE_ARRAY)


VALUES: dict[Any, str] = {
    Decimal("12.340"): "12.340",
    Decimal("-0.50"): "-0.50",
    Decimal("1E+3"): "1000",
    Decimal("0.00"): "0.00",
    dt.date(2020, 1, 2): '"2020-01-02"',
    dt.time(1, 2, 3, 4): '"01:02:03.000004"',
    -dt.timedelta(hours=838, minutes=59, seconds=59): '"-838:59:59.000000"',
    dt.timedelta(microseconds=-1): '"-00:00:00.000001"',
    dt.datetime.fromisoformat("9999-12-31T23:59:59.999999"): '"9999-12-31 23:59:59.999999"',
    Opaque(252, b"abc"): '"base64:type252:YWJj"',
}


@pytest.mark.parametrize("value", VALUES)
def test_values_of_other_types_are_printed_as_mysql_prints_them(value: Any) -> None:
    assert json_text(document_of(value)) == VALUES[value]


REFUSED: list[tuple[Any, str]] = [
    ("", "it is no JSON text: Expecting value at character 1"),
    ("hello", "it is no JSON text: Expecting value at character 1"),
    ('{"a": 1', "it is no JSON text: Expecting ',' delimiter at character 8"),
    ("[NaN]", "JSON has no NaN"),
    ("[-Infinity]", "JSON has no -Infinity"),
    ("1e400", "JSON has no inf"),
    ("[-" + "9" * 5000 + "]", "JSON has no -inf"),
    ('"\\ud800"', "a text in JSON is UTF-8, which has no lone surrogates"),
    ("[" * 101 + "]" * 101, "JSON is nested up to 100 levels"),
    ("[" * 100_000, "JSON is nested up to 100 levels"),
    ([float("nan")], "JSON has no nan"),
    ([2**64], "an integer in JSON is from -9223372036854775808 to 18446744073709551615"),
    ([-(2**63) - 1], "an integer in JSON is from"),
    ({1: 2}, "the keys of a JSON object are texts"),
    ({"x" * 65_536: 1}, "a key in JSON has up to 65535 bytes"),
    ([b"bytes"], "JSON has no bytes"),
    ([{1, 2}], "JSON has no set"),
    ([Decimal("NaN")], "JSON has no NaN"),
    ([Decimal("1E+65")], "a DECIMAL has up to 65 digits"),
    ([dt.datetime.now(dt.UTC)], "a DATETIME has no time zone"),
    ([dt.time(1, tzinfo=dt.UTC)], "a TIME has no time zone"),
    ([dt.timedelta(hours=839)], "a TIME holds -838:59:59 to 838:59:59"),
    ([dt.timedelta(hours=-1025)], "a TIME holds -838:59:59 to 838:59:59"),
]


@pytest.mark.parametrize(("value", "why"), REFUSED, ids=[why[:40] for _, why in REFUSED])
def test_what_json_has_not_is_refused(value: Any, why: str) -> None:
    with pytest.raises(Misfit, match=why):
        json_document(value)


def test_100_levels_are_written() -> None:
    text = "[" * 100 + "]" * 100
    assert json_text(document_of_text(text)) == text
    assert json_text(document_of(json.loads(text))) == text
