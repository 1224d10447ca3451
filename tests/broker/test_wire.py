"""The primitives and the compiler of field tables, apart from any API: bytes as literals."""

from __future__ import annotations

import linecache
import struct
import traceback

import pytest

from broker.errors import WireError
from broker.wire import (
    BOOLEAN,
    BYTES,
    ELEMENTS_MAX,
    INT8,
    INT16,
    INT32,
    INT64,
    NULLABLE_BYTES,
    NULLABLE_STRING,
    RECORDS,
    STRING,
    Array,
    Message,
    decode,
    decode_from,
    encode,
    encode_parts,
    minimum_bytes,
    wire,
)


class Inner(Message):
    number: int = wire(INT16)
    added: int = wire(INT8, since=2, default=-1)


class Everything(Message):
    early: int = wire(INT32, until=1, default=7)
    flag: bool = wire(BOOLEAN)
    tiny: int = wire(INT8)
    small: int = wire(INT16)
    middle: int = wire(INT32)
    large: int = wire(INT64)
    text: str = wire(STRING)
    no_text: str | None = wire(NULLABLE_STRING)
    data: bytes = wire(BYTES)
    no_data: bytes | None = wire(NULLABLE_BYTES)
    numbers: list[int] = wire(Array(INT32))
    names: list[str] | None = wire(Array(STRING, nullable_since=1))
    inners: list[Inner] = wire(Array(Inner))
    inner: Inner = wire(Inner)
    late: list[int] = wire(Array(INT64), since=2, default=[])


class Nothing(Message):
    pass


class Text(Message):
    text: str = wire(STRING)


class Numbers(Message):
    numbers: list[int] = wire(Array(INT64))


class Groups(Message):
    groups: list[Numbers] = wire(Array(Numbers))


class Carrier(Message):
    before: int = wire(INT16)
    records: bytes | memoryview = wire(RECORDS)
    after: int = wire(INT16)


VALUE = Everything(
    early=1,
    flag=True,
    tiny=-2,
    small=3,
    middle=-4,
    large=5,
    text="é",
    no_text=None,
    data=b"\xff",
    no_data=None,
    numbers=[1, -1],
    names=["a", ""],
    inners=[Inner(number=9)],
    inner=Inner(number=10),
)
V0 = bytes.fromhex(
    "00000001 01 fe 0003 fffffffc 0000000000000005 0002c3a9 ffff 00000001ff ffffffff 00000002 00000001 ffffffff"
    "00000002 000161 0000 00000001 0009 000a"
)


def test_every_primitive_has_kafkas_layout() -> None:
    assert encode(VALUE, 0) == V0
    assert decode(Everything, 0, V0) == VALUE


def test_fields_come_and_go_with_versions() -> None:
    v2 = encode(VALUE, 2)
    assert v2 == V0[4:-8] + bytes.fromhex("00000001 0009 ff 000a ff 00000000")
    read = decode(Everything, 2, v2)
    assert read.early == 7
    assert read.late == []


def test_absent_list_defaults_are_not_shared() -> None:
    first, second = decode(Everything, 0, V0), decode(Everything, 0, V0)
    first.late.append(1)
    assert second.late == []


def test_null_is_legal_only_where_and_when_the_type_says() -> None:
    value = decode(Everything, 0, V0)
    value.names = None
    with_null = encode(value, 1)
    assert decode(Everything, 1, with_null).names is None
    with pytest.raises(WireError, match=r"^names has length -1$"):
        decode(Everything, 0, with_null)


@pytest.mark.parametrize("length", ["ffff", "8000"])
def test_a_negative_length_is_refused(length: str) -> None:
    with pytest.raises(WireError, match=r"^text has length -\d+$"):
        decode(Text, 0, bytes.fromhex(length + "00" * 8))


def test_a_length_beyond_the_buffer_is_refused() -> None:
    with pytest.raises(WireError, match=r"^text needs 5 bytes, 4 are left$"):
        decode(Text, 0, bytes.fromhex("0005 61626364"))


def test_text_that_is_not_utf8_is_refused() -> None:
    with pytest.raises(WireError, match="not UTF-8"):
        decode(Text, 0, bytes.fromhex("0001 ff"))


def test_a_count_beyond_the_bytes_left_is_refused_before_anything_is_allocated() -> None:
    with pytest.raises(WireError, match=r"^numbers needs 17179869176 bytes, 8 are left$"):
        decode(Numbers, 0, bytes.fromhex("7fffffff") + bytes(8))


def test_a_count_that_no_client_needs_is_refused_though_its_bytes_are_there() -> None:
    def numbers(count: int) -> bytes:
        return struct.pack(">i", count) + bytes(8 * count)

    assert decode(Numbers, 0, numbers(ELEMENTS_MAX)).numbers == [0] * ELEMENTS_MAX
    with pytest.raises(WireError, match=r"^numbers has 2001 elements; up to 2000 in all are accepted$"):
        decode(Numbers, 0, numbers(ELEMENTS_MAX + 1))


def test_the_elements_of_nested_arrays_count_together() -> None:
    def groups(sizes: list[int]) -> bytes:
        return struct.pack(">i", len(sizes)) + b"".join(struct.pack(">i", size) + bytes(8 * size) for size in sizes)

    half = (ELEMENTS_MAX - 2) // 2
    assert len(decode(Groups, 0, groups([half, half])).groups) == 2
    with pytest.raises(WireError, match="numbers has 1000 elements; up to 2000 in all"):
        decode(Groups, 0, groups([half, half + 1]))


def test_every_prefix_fails_and_what_follows_is_left() -> None:
    for length in range(len(V0)):
        with pytest.raises(WireError):
            decode(Everything, 0, V0[:length])
    assert decode_from(Everything, 0, b"xx" + V0 + b"yy", 2) == (VALUE, 2 + len(V0))


def test_records_are_passed_on_without_a_copy() -> None:
    view = memoryview(b"batch")
    parts = encode_parts(Carrier(before=1, records=view, after=2), 0)
    assert any(part is view for part in parts)
    assert b"".join(parts) == bytes.fromhex("0001 00000005 6261746368 0002")


def test_an_empty_body_has_no_bytes() -> None:
    assert encode(Nothing(), 0) == b""
    assert decode(Nothing, 0, b"\0\0\0\0") == Nothing()


def test_minimum_sizes_follow_the_version() -> None:
    assert minimum_bytes(Inner, 1) == 2
    assert minimum_bytes(Inner, 2) == 3


def test_messages_compare_by_type_and_value_and_show_their_fields() -> None:
    assert Inner(number=1) == Inner(number=1)
    assert Inner(number=1) != Inner(number=2)
    assert Text(text="") != Nothing()
    assert repr(Inner(number=1)) == "Inner(number=1, added=-1)"
    with pytest.raises(TypeError, match="has no hash"):
        hash(Inner(number=1))


def test_the_generated_source_is_there_for_debuggers() -> None:
    try:
        decode(Text, 0, b"")
    except WireError as error:
        frames = traceback.extract_tb(error.__context__.__traceback__)  # type: ignore[union-attr]
    assert frames[-1].filename == "<binwire Text v0 reader>"
    assert "unpack" in linecache.getline(frames[-1].filename, 2) or "(b, p)" in str(frames[-1].line)
