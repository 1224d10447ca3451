"""Binary JSON as text: golden bytes and texts of MySQL 9.7, any document against a second decoder, and damaged ones."""

from __future__ import annotations

import json
import math
import struct
import tracemalloc
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pymysqlreplication.json_binary import parse_json

from capture.json_binary import DEPTH_MAX, DamagedJson
from capture.json_text import double_text, json_text
from capture.json_writer import Opaque, document_of

GOLDEN = {
    "": "null",
    "04 00": "null",
    "04 01": "true",
    "04 02": "false",
    "05 ff ff": "-1",
    "06 ff ff": "65535",
    "07 00 00 01 00": "65536",
    "08 00 00 00 80": "2147483648",
    "09 00 00 00 00 00 00 00 80": "-9223372036854775808",
    "0a ff ff ff ff ff ff ff ff": "18446744073709551615",
    "0b 00 00 00 00 00 00 f8 3f": "1.5",
    "0c 05 61 22 5c 0a 7f": r'"a\"\\\n' + '\x7f"',
    "00 00 00 04 00": "{}",
    "02 00 00 04 00": "[]",
    "00 01 00 0c 00 0b 00 01 00 05 01 00 61": '{"a": 1}',
    "02 03 00 0d 00 05 ff ff 04 01 00 06 ff ff": "[-1, true, 65535]",
    "03 02 00 00 00 12 00 00 00 07 ff ff ff ff 05 fe ff ff ff": "[-1, -2]",
    "03 01 00 00 00 0d 00 00 00 08 ff ff ff ff": "[4294967295]",
    "0f f6 04 02 01 81 05": "1.5",
    "0f 0f 03 61 62 63": '"base64:type15:YWJj"',
    "0f fd 03 61 62 63": '"abc"',
    "0f 0c 08 00 00 00 05 31 44 a5 19": '"2020-01-02 03:04:05.000000"',
}
"""Documents as MySQL 9.7 stores and prints them, and the empty one of an old server."""


@pytest.mark.parametrize("document", GOLDEN)
def test_golden_documents(document: str) -> None:
    assert json_text(bytes.fromhex(document)) == GOLDEN[document]


DOUBLES = {
    0.0: "0.0",
    1.0: "1.0",
    0.1: "0.1",
    -2.5e-5: "-0.000025",
    1e-14: "0.00000000000001",
    1e-15: "0.000000000000001",
    1e-16: "1e-16",
    -1.5e-16: "-1.5e-16",
    1e14: "100000000000000.0",
    1e15: "1e15",
    1e16: "1e16",
    -123456789012345680.0: "-1.2345678901234568e17",
    1920806496009562.5: "1920806496009562.5",
    999999999999999.9: "999999999999999.9",
    5e-324: "5e-324",
    1.7976931348623157e308: "1.7976931348623157e308",
}
"""As MySQL 9.7 prints them."""


@pytest.mark.parametrize("value", DOUBLES)
def test_golden_doubles(value: float) -> None:
    assert double_text(value) == DOUBLES[value]


def test_minus_zero_keeps_its_sign() -> None:
    assert double_text(-0.0) == "-0.0"


def test_strings_escape_what_mysql_escapes() -> None:
    everything = "".join(map(chr, range(0x80))) + "ä杭😀"
    text = json_text(document_of(everything)).encode("latin-1").decode()
    letters = {8: "b", 9: "t", 10: "n", 12: "f", 13: "r", 34: '"', 92: "\\"}
    escaped = [
        f"\\{letters[code]}" if code in letters else f"\\u{code:04x}" if code < 0x20 else chr(code)
        for code in range(0x80)
    ]
    assert text == f'"{"".join(escaped)}ä杭😀"'


OPAQUE = {
    Opaque(10, (((2020 * 13 + 1) << 5 | 2) << 41).to_bytes(8, "little")): '"2020-01-02"',
    Opaque(11, (-((838 << 12 | 59 << 6 | 59) << 24)).to_bytes(8, "little", signed=True)): '"-838:59:59.000000"',
    Opaque(11, ((1 << 12) << 24 | 456000).to_bytes(8, "little")): '"01:00:00.456000"',
    Opaque(7, (((1999 * 13 + 12) << 22 | 31 << 17 | 23 << 12) << 24 | 1).to_bytes(8, "little")): (
        '"1999-12-31 23:00:00.000001"'
    ),
    Opaque(12, bytes(8)): '"0000-00-00 00:00:00.000000"',
    Opaque(246, bytes.fromhex("05 02 80 00 7b 2d")[:2] + bytes.fromhex("80 7b 2d")): "123.45",
    Opaque(252, b""): '"base64:type252:"',
    Opaque(252, b"b" * 57): '"base64:type252:' + "YmJi" * 19 + '"',
    Opaque(252, b"b" * 58): '"base64:type252:' + "YmJi" * 19 + '\\nYg=="',
}


@pytest.mark.parametrize("value", OPAQUE)
def test_opaque_values(value: Opaque) -> None:
    assert json_text(document_of([value])) == f"[{OPAQUE[value]}]"


# ---- any document ----

KEYS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
DOCUMENTS = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=300),
    lambda inner: st.lists(inner, max_size=8) | st.dictionaries(KEYS, inner, max_size=8),
    max_leaves=40,
)


@given(value=DOCUMENTS)
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_any_document_reads_back(value: Any) -> None:
    document = document_of(value)
    text = json_text(document).encode("latin-1").decode()
    assert exactly(json.loads(text)) == exactly(value)
    assert exactly(second_opinion(document)) == exactly(value)
    assert text == spelled(value)


def exactly(value: Any) -> Any:
    """The value, with 1, 1.0 and True told apart, and objects without their order."""
    if isinstance(value, dict):
        return {key: exactly(one) for key, one in value.items()}
    if isinstance(value, list):
        return [exactly(one) for one in value]
    return type(value).__name__, repr(value)


def second_opinion(document: bytes) -> Any:
    """What mysql-replication reads."""
    return _as_text(parse_json(document[0], document[1:]))


def _as_text(value: Any) -> Any:
    if isinstance(value, dict):
        return {key.decode() if isinstance(key, bytes) else key: _as_text(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_as_text(one) for one in value]
    return value.decode() if isinstance(value, bytes) else value


def spelled(value: Any) -> str:
    """MySQL's text said a second time: Python's own JSON, but for doubles and the order of keys."""
    if isinstance(value, dict):
        keys = sorted(value, key=lambda key: (len(key.encode()), key.encode()))
        return "{" + ", ".join(f"{spelled(key)}: {spelled(value[key])}" for key in keys) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(spelled, value)) + "]"
    return double_text(value) if isinstance(value, float) else json.dumps(value, ensure_ascii=False)


@given(value=st.floats(allow_nan=False, allow_infinity=False))
def test_any_double_reads_back(value: float) -> None:
    text = double_text(value)
    assert float(text) == value
    assert math.copysign(1, float(text)) == math.copysign(1, value)
    assert "." in text or "e" in text


# ---- damaged documents ----


@given(value=DOCUMENTS)
@example(value="ab")
@example(value="x" * 200)
@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
def test_no_prefix_of_a_document_is_one(value: Any) -> None:
    document = document_of(value)
    for end in range(1, len(document)):
        with pytest.raises(DamagedJson):
            json_text(document[:end])


@given(data=st.binary(min_size=1, max_size=200))
@settings(max_examples=300)
def test_any_bytes_are_text_or_damaged(data: bytes) -> None:
    read(data)


@given(value=DOCUMENTS, at=st.integers(0, 10_000), byte=st.integers(0, 255))
@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
def test_a_document_with_any_byte_changed_is_text_or_damaged(value: Any, at: int, byte: int) -> None:
    document = bytearray(document_of(value))
    document[at % len(document)] = byte
    read(bytes(document))


def read(document: bytes) -> None:
    """Fails for any other error than the one that says what is wrong."""
    with suppress(DamagedJson):
        json_text(document).encode("latin-1").decode()


DAMAGED = {
    "0d 00": "the type 13 is unknown",
    "04 03": "the literal 3 is unknown",
    "02 01 00 07 00 04 07 00": "the literal 7 is unknown",
    "0b 00 00 00 00 00 00 f0 7f": "it holds the double inf",
    "0c 02 c3 28": "a text is not UTF-8",
    "0c ff ff ff ff ff ff 00": "a length is cut short",
    "0f": "an opaque value is cut short",
    "0f f6 01 05": "a decimal is cut short",
    "0f f6 03 02 03 81": r"a DECIMAL\(2,3\) of 3 bytes does not exist",
    "0f f6 03 02 00 ff": "the bytes of a decimal are no digits",
    "0f 0a 01 00": "a date or time of 1 bytes does not exist",
    "02 01 00 07 00 0c 04 00": "a value lies outside its array or object",
    "00 01 00 0c 00 02 00 01 00 05 01 00 61": "a key lies outside its object",
    "00 01 00 0c 00 0b 00 02 00 05 01 00 61": "a key lies outside its object",
    "02 ff 00 07 00 05 00 00": "an array or object of 255 values and 7 bytes is cut short",
}


@pytest.mark.parametrize("document", DAMAGED)
def test_damage_is_named(document: str) -> None:
    with pytest.raises(DamagedJson, match=DAMAGED[document]):
        json_text(bytes.fromhex(document))


def nested(depth: int, innermost: bytes = b"\x02\x00\x00\x04\x00", copies: int = 1) -> bytes:
    """Arrays within each other, each holding the next one, which is stored once, so many times."""
    document = innermost
    for _ in range(depth - 1):
        size = 4 + 3 * copies + len(document) - 1
        entries = struct.pack("<BH", document[0], 4 + 3 * copies) * copies
        document = b"\x02" + struct.pack("<HH", copies, size) + entries + document[1:]
    return document


def test_documents_are_nested_as_deep_as_mysql_has_them() -> None:
    assert json_text(nested(DEPTH_MAX)) == "[" * DEPTH_MAX + "]" * DEPTH_MAX
    with pytest.raises(DamagedJson, match="nested deeper than 100 levels"):
        json_text(nested(DEPTH_MAX + 1))
    with pytest.raises(DamagedJson, match="nested deeper than 100 levels"):
        json_text(nested(5000))


@pytest.mark.parametrize("document", [nested(60, copies=2), nested(2, b"\x0c\x01x", copies=9)])
def test_values_that_overlap_do_not_multiply(document: bytes) -> None:
    """Two references to the same array on each of 60 levels would be 2^60 values."""
    with pytest.raises(DamagedJson, match="its values overlap"):
        json_text(document)


def test_keys_that_overlap_do_not_multiply() -> None:
    """20,000 members with one key of 60 kB: 280 kB that would be 1.2 GB of text."""
    count, key = 20_000, b"k" * 60_000
    keys_at = 8 + 11 * count
    entries = struct.pack("<IH", keys_at, len(key)) * count + struct.pack("<BI", 4, 1) * count
    document = b"\x01" + struct.pack("<II", count, keys_at + len(key)) + entries + key
    tracemalloc.start()
    with pytest.raises(DamagedJson, match="its values overlap"):
        json_text(document)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < PEAK_MAX * len(document)


# ---- size ----

LONG = {
    "numbers": lambda: document_of(list(range(60_000))),
    "text": lambda: document_of("x" * 1_000_000),
    "controls": lambda: document_of("\x01" * 200_000),
    "objects": lambda: document_of([{"id": number, "name": f"name {number}"} for number in range(6_000)]),
    "nested": lambda: nested(50, document_of("y" * 60_000)),
}
"""Documents of 60 kB to 1 MB."""
PEAK_MAX = 6
"""Bytes of memory at the worst moment, per byte of document and text together."""


@pytest.mark.parametrize("name", LONG)
def test_memory_is_linear_in_document_and_text(name: str) -> None:
    document = LONG[name]()
    tracemalloc.start()
    text = json_text(document)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < PEAK_MAX * (len(document) + len(text)), peak / (len(document) + len(text))
