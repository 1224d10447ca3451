"""Well-known binary (WKB) as a server stores it: checked, and little endian throughout.

    geometry := byte order u8 (0 big, 1 little) | type u32 | content
    point: x f64 | y f64            linestring: count u32 | points         polygon: count u32 | rings (as linestrings)
    multipoint, multilinestring, multipolygon, geometrycollection: count u32 | geometries

Types 1 to 7 (OGC 06-103r4, clause 8); what MySQL has besides, an SRID, stands in front of it and is not WKB's.
"""

import math
import struct

from capture.table_map import GEOMCOLLECTION, GEOMETRY_TYPES

_DEPTH_MAX = 100
_LITTLE = 1
_POINT_BYTES = 16
_POINT, _LINESTRING, _POLYGON, _COLLECTION = 1, 2, 3, 7
_MEMBERS = {4: frozenset({_POINT}), 5: frozenset({_LINESTRING}), 6: frozenset({_POLYGON}), 7: frozenset(range(1, 8))}


class WkbError(ValueError):
    """Why bytes are no WKB of a column's type, as half a sentence."""


def stored_wkb(data: bytes, data_type: str) -> bytes:
    """The WKB that a column of this type holds. Raises WkbError."""
    number, made, end = _geometry(data, 0, 0)
    if end != len(data):
        raise WkbError(f"WKB is needed, and {len(data) - end} bytes follow it")
    name = GEOMETRY_TYPES[number]
    wanted = "geometrycollection" if data_type == GEOMCOLLECTION else data_type
    if wanted not in ("geometry", name):
        raise WkbError(f"the WKB of a {wanted.upper()} is needed, this is a {name.upper()}'s")
    return made


def _geometry(data: bytes, start: int, depth: int) -> tuple[int, bytes, int]:
    """Type, bytes and end of the geometry at `start`."""
    if depth > _DEPTH_MAX:
        raise WkbError(f"a geometry is nested up to {_DEPTH_MAX} levels")
    order = _numbers(data, start, "B", 1)[0]
    if order > _LITTLE:
        raise WkbError(f"WKB is needed, whose byte order is 0 or 1 and not {order}")
    sign = "<" if order == _LITTLE else ">"
    (number,) = _numbers(data, start + 1, sign + "I", 4)
    if not _POINT <= number <= _COLLECTION:
        raise WkbError(f"WKB of the types 1 to 7 is needed, without SRID, Z and M; this has the type {number}")
    made, end = _content(data, start + 5, sign, number, depth)
    return number, struct.pack("<BI", _LITTLE, number) + made, end


def _content(data: bytes, start: int, sign: str, number: int, depth: int) -> tuple[bytes, int]:
    if number == _POINT:
        return _points(data, start, sign, 1)
    (count,) = _numbers(data, start, sign + "I", 4)
    if count == 0 and number != _COLLECTION:
        raise WkbError(f"a {GEOMETRY_TYPES[number].upper()} is not empty")
    made, end = bytearray(struct.pack("<I", count)), start + 4
    if number == _LINESTRING:
        points, end = _points(data, end, sign, count)
        return bytes(made) + points, end
    for _ in range(count):
        if number == _POLYGON:
            (points_count,) = _numbers(data, end, sign + "I", 4)
            part, end = _points(data, end + 4, sign, points_count)
            part = struct.pack("<I", points_count) + part
        else:
            member, part, end = _geometry(data, end, depth + 1)
            if member not in _MEMBERS[number]:
                raise WkbError(f"a {GEOMETRY_TYPES[number].upper()} has no {GEOMETRY_TYPES[member].upper()} in it")
        made += part
    return bytes(made), end


def _points(data: bytes, start: int, sign: str, count: int) -> tuple[bytes, int]:
    size = count * _POINT_BYTES
    if len(data) < start + size:
        raise WkbError(f"WKB is needed, and this one ends after {len(data)} bytes")
    numbers = struct.unpack_from(f"{sign}{2 * count}d", data, start)
    if not all(map(math.isfinite, numbers)):
        raise WkbError("the coordinates of a geometry are finite numbers")
    return struct.pack(f"<{2 * count}d", *numbers), start + size


def _numbers(data: bytes, start: int, layout: str, size: int) -> tuple[int, ...]:
    if len(data) < start + size:
        raise WkbError(f"WKB is needed, and this one ends after {len(data)} bytes")
    return struct.unpack_from(layout, data, start)
