"""JSON diffs: golden bytes of MySQL 9.7, every operation against a model in Python, and what does not fit."""

from __future__ import annotations

import copy
import datetime as dt
import json
import tracemalloc
from contextlib import suppress
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from capture.encode import length_encoded
from capture.json_binary import DEPTH_MAX, DamagedJson
from capture.json_diff import (
    ArrayIndex,
    DiffOperation,
    JsonDiff,
    Leg,
    apply_diffs,
    parse_path,
    read_diffs,
)
from capture.json_text import json_text
from capture.json_writer import Opaque, document_of
from tests.capture.test_json_text import DOCUMENTS, nested

REPLACE, INSERT, REMOVE = DiffOperation.REPLACE, DiffOperation.INSERT, DiffOperation.REMOVE

PATHS: dict[str, tuple[Leg, ...]] = {
    "$": (),
    "$.a": (b"a",),
    "$.a.b": (b"a", b"b"),
    "$[0]": (ArrayIndex(0),),
    "$[12].a[3]": (ArrayIndex(12), b"a", ArrayIndex(3)),
    "$[last]": (ArrayIndex(0, from_end=True),),
    "$[last-2]": (ArrayIndex(2, from_end=True),),
    ' $ . "a b" [ last - 1 ] ': (b"a b", ArrayIndex(1, from_end=True)),
    '$."a.b[0]"': (b"a.b[0]",),
    r'$."say \"hi\" \\ \u00e4"': ('say "hi" \\ ä'.encode(),),
    '$.""': (b"",),
    "$.杭州": ("杭州".encode(),),
    "$.$x_1": (b"$x_1",),
}


@pytest.mark.parametrize("path", PATHS)
def test_paths(path: str) -> None:
    assert parse_path(path.encode()) == PATHS[path]


@pytest.mark.parametrize(
    "path", ["", "a", "$a", "$.", "$[", "$[]", "$[-1]", "$[*]", "$.*", "$**.a", '$."a', "$[1 to 2]"]
)
def test_what_names_no_single_place_is_refused(path: str) -> None:
    with pytest.raises(DamagedJson, match="is no path to one place"):
        parse_path(path.encode())


def test_a_path_that_is_not_utf8_is_refused() -> None:
    with pytest.raises(DamagedJson, match="is no path to one place"):
        parse_path(b"$.\xff")


# ---- bytes ----


def written(diffs: list[JsonDiff], paths: list[str]) -> bytes:
    """A diff vector without its length."""
    data = b""
    for diff, path in zip(diffs, paths, strict=True):
        data += bytes([diff.operation]) + length_encoded(len(path.encode())) + path.encode()
        if diff.operation is not REMOVE:
            data += length_encoded(len(diff.value)) + diff.value
    return data


GOLDEN = bytes.fromhex("00 03 24 2e 61 03 05 02 00 01 04 24 5b 30 5d 02 04 00 02 09 24 5b 6c 61 73 74 2d 31 5d")
GOLDEN_DIFFS = [
    JsonDiff(REPLACE, (b"a",), document_of(2)),
    JsonDiff(INSERT, (ArrayIndex(0),), document_of(None)),
    JsonDiff(REMOVE, (ArrayIndex(1, from_end=True),)),
]


def test_golden_diffs() -> None:
    assert read_diffs(GOLDEN) == GOLDEN_DIFFS
    assert written(GOLDEN_DIFFS, ["$.a", "$[0]", "$[last-1]"]) == GOLDEN
    assert read_diffs(b"") == []


def test_a_vector_cut_within_a_diff_is_refused() -> None:
    ends = {0, 9, 18, len(GOLDEN)}
    for end in range(len(GOLDEN) + 1):
        if end in ends:
            assert read_diffs(GOLDEN[:end]) == GOLDEN_DIFFS[: sorted(ends).index(end)]
            continue
        with pytest.raises(DamagedJson):
            read_diffs(GOLDEN[:end])


def test_a_value_followed_by_other_bytes_is_refused() -> None:
    with pytest.raises(DamagedJson, match="a value in a diff of it is followed by other bytes"):
        read_diffs(b"\x00\x03$.a\x03\x04\x00\x00")
    assert read_diffs(b"\x00\x03$.a\x00") == [JsonDiff(REPLACE, (b"a",), b"")]


def test_an_unknown_operation_is_refused() -> None:
    with pytest.raises(DamagedJson, match="a diff of it is cut short or of an unknown kind"):
        read_diffs(b"\x03\x03$.a")


# ---- changes ----

INTEGERS = [-1, -(2**31), 2**31 - 1, -(2**15), 2**15, 70_000, -70_000, 2**40, 1.5, None, True, "text", {"a": [-1]}]
"""Values that stand in place of their offset in small arrays, in large ones only, and in none."""

CHANGES: list[tuple[Any, DiffOperation, str, Any, Any]] = [
    ({"a": 1, "b": 2}, REPLACE, "$.a", [9], {"a": [9], "b": 2}),
    ({"a": {"b": [1, 2]}}, REPLACE, "$.a.b[last]", "x", {"a": {"b": [1, "x"]}}),
    ({"bb": 1}, INSERT, "$.a", None, {"a": None, "bb": 1}),
    ([1, 2], INSERT, "$[1]", 0, [1, 0, 2]),
    ([1, 2], INSERT, "$[7]", 0, [1, 2, 0]),
    ([1, 2], INSERT, "$[last]", 0, [1, 0, 2]),
    ([1, 2], INSERT, "$[last-9]", 0, [0, 1, 2]),
    ([], INSERT, "$[0]", 0, [0]),
    ({"a": 1, "b": 2}, REMOVE, "$.a", None, {"b": 2}),
    ([1, 2, 3], REMOVE, "$[0]", None, [2, 3]),
    ([1, 2, 3], REMOVE, "$[last-1]", None, [1, 3]),
    ({"a": ["x" * 70_000, 1]}, REMOVE, "$.a[0]", None, {"a": [1]}),
    ({"a": [1]}, REPLACE, "$.a[0]", "x" * 70_000, {"a": ["x" * 70_000]}),
    (INTEGERS, INSERT, "$[0]", "x" * 70_000, ["x" * 70_000, *INTEGERS]),
    (["x" * 70_000, *INTEGERS], REMOVE, "$[0]", None, INTEGERS),
    (["x" * 70_000, *INTEGERS], REPLACE, "$[1]", 2**31 - 1, ["x" * 70_000, 2**31 - 1, *INTEGERS[1:]]),
    ({"": 1, "b": 2}, INSERT, '$."a b"', 3, {"": 1, "b": 2, "a b": 3}),
    ({"b": 2}, INSERT, '$.""', 3, {"": 3, "b": 2}),
]


@pytest.mark.parametrize(("before", "operation", "path", "value", "after"), CHANGES)
def test_changes(before: Any, operation: DiffOperation, path: str, value: Any, after: Any) -> None:
    diff = JsonDiff(operation, parse_path(path.encode()), b"" if operation is REMOVE else document_of(value))
    assert apply_diffs(document_of(before), [diff]) == document_of(after)


def test_changes_follow_one_another() -> None:
    diffs = [
        JsonDiff(INSERT, (b"new",), document_of([1])),
        JsonDiff(INSERT, (b"new", ArrayIndex(1)), document_of({"x": 1})),
        JsonDiff(REPLACE, (b"new", ArrayIndex(1), b"x"), document_of(2)),
        JsonDiff(REMOVE, (b"old",)),
    ]
    assert apply_diffs(document_of({"old": 0}), diffs) == document_of({"new": [1, {"x": 2}]})


def test_no_change_is_the_same_document() -> None:
    assert apply_diffs(document_of({"a": 1}), []) == document_of({"a": 1})


MISFITS: list[tuple[Any, DiffOperation, str]] = [
    ({"a": 1}, REPLACE, "$.b"),
    ({"a": 1}, REPLACE, "$[0]"),
    ([1], REPLACE, "$[1]"),
    ([1], REPLACE, "$.a"),
    ([1], REPLACE, "$[last-1]"),
    ({"a": 1}, REPLACE, "$.a.b"),
    ("text", REPLACE, "$.a"),
    ({"a": 1}, INSERT, "$.a"),
    ({"a": 1}, INSERT, "$[0]"),
    ([1], INSERT, "$.a"),
    ({"a": 1}, INSERT, "$.b.c"),
    ({"a": 1}, REMOVE, "$.b"),
    ([1], REMOVE, "$[1]"),
    ({"a": [1]}, REMOVE, "$.a.b"),
]


@pytest.mark.parametrize(("before", "operation", "path"), MISFITS)
def test_a_change_that_does_not_fit_is_refused(before: Any, operation: DiffOperation, path: str) -> None:
    diff = JsonDiff(operation, parse_path(path.encode()), document_of(None))
    with pytest.raises(DamagedJson, match=f"{operation.name} at .* does not fit the document before it"):
        apply_diffs(document_of(before), [diff])


def test_the_refusal_says_where() -> None:
    diff = JsonDiff(REMOVE, (b"a b", ArrayIndex(2), ArrayIndex(0, from_end=True)))
    with pytest.raises(DamagedJson, match=r'^REMOVE at \$\."a b"\[2\]\[last-0\] does not fit'):
        apply_diffs(document_of({}), [diff])


def test_the_whole_document_is_never_changed_in_part() -> None:
    with pytest.raises(DamagedJson, match="REPLACE of the whole document is no partial update"):
        apply_diffs(document_of({}), [JsonDiff(REPLACE, (), document_of(1))])


@st.composite
def changed(draw: st.DrawFn) -> tuple[Any, list[JsonDiff], Any]:
    """A document, diffs that fit it one after the other, and what Python makes of them."""
    before: Any = draw(st.lists(DOCUMENTS, max_size=5) | st.dictionaries(st.text('ab. "', max_size=3), DOCUMENTS))
    after, diffs = copy.deepcopy(before), []
    for _ in range(draw(st.integers(0, 5))):
        path, here = _way(draw, after)
        value, operation = draw(DOCUMENTS), draw(st.sampled_from(DiffOperation)) if here else INSERT
        if operation is INSERT:
            key: Any = len(here) if isinstance(here, list) else draw(st.text(max_size=4)) + "new" * len(here)
            if isinstance(here, dict) and key in here:
                continue
            if isinstance(here, dict):
                here[key] = copy.deepcopy(value)
            else:
                here.append(copy.deepcopy(value))
        else:
            key = draw(st.sampled_from([key for key, _ in _items(here)]))
            if operation is REPLACE:
                here[key] = copy.deepcopy(value)
            else:
                del here[key]
        diffs.append(JsonDiff(operation, (*path, _leg(key)), b"" if operation is REMOVE else document_of(value)))
    return before, diffs, after


def _way(draw: st.DrawFn, here: Any) -> tuple[list[Leg], Any]:
    """Some way into a document, and the array or object at its end."""
    path: list[Leg] = []
    while inner := [key for key, one in _items(here) if isinstance(one, dict | list)]:
        if draw(st.sampled_from([True, False])):
            break
        key = draw(st.sampled_from(inner))
        path.append(_leg(key))
        here = here[key]
    return path, here


def _items(value: Any) -> list[tuple[Any, Any]]:
    return list(value.items() if isinstance(value, dict) else enumerate(value))


def _leg(key: str | int) -> Leg:
    return key.encode() if isinstance(key, str) else ArrayIndex(key)


@given(case=changed())
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_any_changes_are_what_python_makes_of_them(case: tuple[Any, list[JsonDiff], Any]) -> None:
    before, diffs, after = case
    document = apply_diffs(document_of(before), diffs)
    assert document == document_of(after)
    assert json.loads(json_text(document).encode("latin-1").decode()) == after
    paths = ["$" + "".join(_spelled(leg) for leg in diff.path) for diff in diffs]
    assert read_diffs(written(diffs, paths)) == diffs


def _spelled(leg: Leg) -> str:
    return f"[{leg.number}]" if isinstance(leg, ArrayIndex) else f".{json.dumps(leg.decode())}"


@pytest.mark.parametrize("document", ["02 01 00 07 00 ff 00 00", "00 01 00 0c 00 f0 00 01 00 05 01 00 61"])
def test_tables_that_point_elsewhere_are_refused(document: str) -> None:
    with pytest.raises(DamagedJson, match="a type is unknown, or a key lies outside its object"):
        apply_diffs(bytes.fromhex(document), [JsonDiff(REPLACE, (b"a",), document_of(1))])


@given(case=changed(), at=st.integers(0, 10_000), byte=st.integers(0, 255))
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_a_damaged_document_is_changed_or_refused(case: tuple[Any, list[JsonDiff], Any], at: int, byte: int) -> None:
    before, diffs, _ = case
    document = bytearray(document_of(before))
    document[at % len(document)] = byte
    with suppress(DamagedJson):
        assert apply_diffs(bytes(document), diffs)


def test_values_that_overlap_are_refused() -> None:
    with pytest.raises(DamagedJson, match="its values overlap"):
        apply_diffs(nested(3, document_of("x" * 100), copies=2), [JsonDiff(INSERT, (ArrayIndex(0),), document_of(1))])


def test_values_of_other_types_stay_beside_a_change() -> None:
    before = [Decimal("-1.50"), dt.date(2024, 2, 29), Opaque(16, b"\x01"), 1, 2.5]
    after = [*before[:3], "one", 2.5]
    assert apply_diffs(document_of(before), [JsonDiff(REPLACE, (ArrayIndex(3),), document_of("one"))]) == document_of(
        after
    )


@pytest.mark.parametrize(
    ("document", "why"),
    [
        ("02 02 00 0b 00 0d 0a 00 05 01 00 00", "the type 13 is unknown"),
        ("02 02 00 0b 00 0b 0a 00 05 01 00 00", "a number is cut short"),
        ("02 02 00 0c 00 0f 0a 00 05 01 00 fc 05", "a value of 5 bytes is cut short"),
    ],
)
def test_a_damaged_value_beside_a_change_is_refused(document: str, why: str) -> None:
    with pytest.raises(DamagedJson, match=why):
        apply_diffs(bytes.fromhex(document), [JsonDiff(REPLACE, (ArrayIndex(1),), document_of(2))])


def test_a_value_within_the_table_is_refused() -> None:
    """The text's offset is that of its own entry's last byte, which would be the length 0."""
    document = bytes.fromhex("02 02 00 0a 00 0c 06 00 05 01 00")
    with pytest.raises(DamagedJson, match="a value lies outside its array or object"):
        apply_diffs(document, [JsonDiff(REPLACE, (ArrayIndex(1),), document_of(2))])


def test_keys_that_overlap_are_refused() -> None:
    """Three members of one key: written out, the document would be larger than it was."""
    entries = b"\x19\x00\x20\x00" * 3 + b"\x04\x01\x00" * 3
    document = b"\x00\x03\x00\x39\x00" + entries + b"k" * 32
    with pytest.raises(DamagedJson, match="its keys overlap"):
        apply_diffs(document, [JsonDiff(REPLACE, (b"k" * 32,), document_of(1))])


@pytest.mark.parametrize("operation", [REPLACE, INSERT])
def test_a_path_deeper_than_any_document_is_refused(operation: DiffOperation) -> None:
    with pytest.raises(DamagedJson, match="has a path of 101 steps, deeper than any document"):
        apply_diffs(nested(5000), [JsonDiff(operation, (ArrayIndex(0),) * (DEPTH_MAX + 1), document_of(1))])


def test_the_deepest_value_can_change() -> None:
    path = (ArrayIndex(0),) * (DEPTH_MAX - 1)
    changed_in_depth = apply_diffs(nested(DEPTH_MAX), [JsonDiff(REPLACE, path, document_of(1))])
    assert json_text(changed_in_depth) == "[" * (DEPTH_MAX - 1) + "1" + "]" * (DEPTH_MAX - 1)


LONG = {
    "numbers": lambda: list(range(60_000)),
    "doubles": lambda: [number * 0.37 for number in range(6_000)],
    "objects": lambda: [{"id": number, "name": f"name {number}"} for number in range(6_000)],
    "empty ones": lambda: [[] for _ in range(6_000)],
    "members": lambda: {f"k{number}": number for number in range(15_000)},
}
PEAK_MAX = 8
"""Bytes of memory at the worst moment, per byte of the document."""


@pytest.mark.parametrize("name", LONG)
def test_memory_is_linear_in_the_document(name: str) -> None:
    document = document_of(LONG[name]())
    path: tuple[Leg, ...] = (b"k7",) if name == "members" else (ArrayIndex(7),)
    tracemalloc.start()
    apply_diffs(document, [JsonDiff(REPLACE, path, document_of("new"))])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < PEAK_MAX * len(document), peak / len(document)
