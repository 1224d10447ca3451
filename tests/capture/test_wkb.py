"""WKB by hand and at random: what is stored, in which byte order, and what is none."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capture.wkb import WkbError, stored_wkb

POINT = bytes.fromhex("01 01000000 000000000000f03f 0000000000000040")
"""POINT(1 2), as MySQL 9.7 prints it by HEX(ST_AsWKB(...))."""
POINT_BIG = bytes.fromhex("00 00000001 3ff0000000000000 4000000000000000")
LINE = bytes.fromhex("01 02000000 02000000") + POINT[5:] * 2
EMPTY_COLLECTION = bytes.fromhex("01 07000000 00000000")

coordinates = st.floats(allow_nan=False, allow_infinity=False)
points = st.tuples(coordinates, coordinates)
simple: st.SearchStrategy[Any] = st.one_of(
    st.tuples(st.just("point"), points),
    st.tuples(st.just("linestring"), st.lists(points, min_size=1, max_size=4)),
    st.tuples(st.just("polygon"), st.lists(st.lists(points, max_size=4), min_size=1, max_size=3)),
)


def of_kind(kind: str) -> st.SearchStrategy[Any]:
    return simple.filter(lambda one: one[0] == kind)


multi: st.SearchStrategy[Any] = st.one_of(
    *(
        st.tuples(st.just(f"multi{kind}"), st.lists(of_kind(kind), min_size=1, max_size=3))
        for kind in ("point", "linestring", "polygon")
    )
)
geometries = st.recursive(
    st.one_of(simple, multi), lambda inner: st.tuples(st.just("geometrycollection"), st.lists(inner, max_size=3))
)
NUMBERS = {
    name: number
    for number, name in enumerate(
        ("point", "linestring", "polygon", "multipoint", "multilinestring", "multipolygon", "geometrycollection"), 1
    )
}


def written(geometry: Any, orders: Any) -> bytes:
    """A second writer: `orders` gives the byte order of each geometry in turn."""
    kind, content = geometry
    sign = "<" if next(orders) else ">"
    head = struct.pack(f"{sign}BI", sign == "<", NUMBERS[kind])

    def pairs(listed: Any) -> bytes:
        return b"".join(struct.pack(f"{sign}dd", *point) for point in listed)

    def counted(listed: Any, parts: list[bytes]) -> bytes:
        return struct.pack(f"{sign}I", len(listed)) + b"".join(parts)

    if kind == "point":
        return head + pairs([content])
    if kind == "linestring":
        return head + counted(content, [pairs(content)])
    if kind == "polygon":
        return head + counted(content, [counted(ring, [pairs(ring)]) for ring in content])
    return head + counted(content, [written(one, orders) for one in content])


def repeated(values: list[bool]) -> Any:
    while True:
        yield from values


@given(geometries, st.lists(st.booleans(), min_size=1, max_size=5))
def test_any_byte_order_is_stored_little_endian(geometry: Any, orders: list[bool]) -> None:
    little = written(geometry, repeated([True]))
    assert stored_wkb(written(geometry, repeated(orders)), "geometry") == little
    assert stored_wkb(little, geometry[0]) == little


@given(geometries)
def test_every_prefix_and_trailing_bytes_are_refused(geometry: Any) -> None:
    data = written(geometry, repeated([True]))
    for size in range(len(data)):
        with pytest.raises(WkbError):
            stored_wkb(data[:size], "geometry")
    with pytest.raises(WkbError, match="1 bytes follow"):
        stored_wkb(data + b"\0", "geometry")


def test_golden_bytes() -> None:
    assert stored_wkb(POINT, "point") == POINT
    assert stored_wkb(POINT_BIG, "point") == POINT
    assert stored_wkb(EMPTY_COLLECTION, "geomcollection") == EMPTY_COLLECTION


@pytest.mark.parametrize(
    ("data", "data_type", "words"),
    [
        (LINE, "point", "the WKB of a POINT is needed, this is a LINESTRING's"),
        (b"\2" + POINT[1:], "point", "byte order is 0 or 1 and not 2"),
        (
            bytes.fromhex("01 01000020 e6100000") + POINT[5:],
            "point",
            "Z and M; this has the type 536870913",
        ),
        (bytes.fromhex("01 02000000 00000000"), "linestring", "a LINESTRING is not empty"),
        (bytes.fromhex("01 04000000 01000000") + LINE, "multipoint", "a MULTIPOINT has no LINESTRING in it"),
        (bytes.fromhex("01 01000000 000000000000f07f") + bytes(8), "point", "finite numbers"),
        (bytes.fromhex("01 07000000 01000000") * 102, "geometry", "nested up to 100 levels"),
        (bytes.fromhex("01 02000000 ffffffff"), "linestring", "ends after 9 bytes"),
    ],
)
def test_what_is_no_wkb_of_the_column_is_refused(data: bytes, data_type: str, words: str) -> None:
    with pytest.raises(WkbError, match=words):
        stored_wkb(data, data_type)
