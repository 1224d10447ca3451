"""An event taken apart for people: every byte of it has a name, and most have their value in words.

`dissect` gives the parts of one raw event in order, without gap or overlap: the 19 bytes of the header, the body by the
layout of its type (`capture/table_map.py`, `rows_event.py`, `query_event.py` and `events.py` describe them), and the
checksum. The values are those that `capture/events.py` decoded; here is only where they stand. A body whose layout is
not told here is one part. Row images are taken apart by `capture/row_parts.py`, which knows the table.
"""

from __future__ import annotations

import struct
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, NamedTuple

from capture.event_types import EVENT_TYPES, EventType
from capture.events import (
    CHECKSUM_BYTES,
    HEADER_BYTES,
    AnonymousGtidEvent,
    Checksum,
    GtidEvent,
    MariadbGtidEvent,
    QueryEvent,
    RowsEvent,
    RowsKind,
    TableMapEvent,
    TransactionPayloadEvent,
    XidEvent,
)
from capture.rows_event import ROWS_EVENTS
from capture.table_map import METADATA_BYTES, FieldType, MetadataField, read_length_encoded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from capture.events import Event, EventDecoder, EventHeader

_HEADER: Final = (("timestamp", 4), ("type", 1), ("server id", 4), ("event size", 4), ("end position", 4), ("flags", 2))
_QUERY: Final = (
    ("thread id", 4),
    ("seconds it took", 4),
    ("database length", 1),
    ("error code", 2),
    ("status length", 2),
)
_TWO_FACTS: Final = frozenset({FieldType.NEWDECIMAL, FieldType.BIT})
_U16: Final = struct.Struct("<H")
_STATEMENT_SHOWN_CHARACTERS: Final = 200


class Part(NamedTuple):
    """Bytes `start` to `end` of an event: what they are called, and what they say.

    For a column of a row image `column` is its index, `image` "before" or "after", and `rule` how its bytes become a
    cell; `start` and `end` are equal for a NULL, which has no bytes.
    """

    start: int
    end: int
    name: str
    value: str = ""
    rule: str = ""
    image: str = ""
    column: int | None = None


def event_name(type_code: int) -> str:
    """The servers' own name of an event type."""
    row = EVENT_TYPES.get(type_code)
    return f"event type {type_code}" if row is None else row.type.name


def dissect(raw: bytes, header: EventHeader, event: Event | None, decoder: EventDecoder) -> list[Part]:
    """The parts of an event that `decoder` has decoded; its row images, if it has any, are one part."""
    end = len(raw) - (CHECKSUM_BYTES if decoder.checksum is Checksum.CRC32 else 0)
    parts = list(_header(header))
    if isinstance(event, TableMapEvent):
        parts += _table_map(raw, end, event, decoder.table_id_bytes)
    elif isinstance(event, RowsEvent):
        parts += _rows(raw, end, header, event, decoder.table_id_bytes)
    elif isinstance(event, QueryEvent) and header.type_code == EventType.QUERY:
        parts += _query(raw, end, event)
    elif end > HEADER_BYTES:
        parts.append(Part(HEADER_BYTES, end, _body_name(event), _body_value(event)))
    if end < len(raw):
        (crc,) = struct.unpack_from("<I", raw, end)
        parts.append(Part(end, len(raw), "checksum", f"CRC-32 {crc:#010x}, which holds"))
    return parts


def _header(header: EventHeader) -> Iterator[Part]:
    moment = f"{datetime.fromtimestamp(header.timestamp, UTC):%Y-%m-%d %H:%M:%S} UTC"
    shown = (moment, event_name(header.type_code), header.server_id, header.size_bytes, header.end_position)
    values = (*map(str, shown), f"{header.flags:#06x}")
    return _fixed(_HEADER, 0, values)


def _fixed(fields: tuple[tuple[str, int], ...], start: int, values: tuple[str, ...]) -> Iterator[Part]:
    for (name, size), value in zip(fields, values, strict=True):
        yield Part(start, start + size, name, value)
        start += size


def _body_name(event: Event | None) -> str:
    if isinstance(event, XidEvent):
        return "xid"
    return "GTID" if isinstance(event, GtidEvent | MariadbGtidEvent | AnonymousGtidEvent) else "body"


def _body_value(event: Event | None) -> str:
    if isinstance(event, GtidEvent | MariadbGtidEvent):
        return event.text
    if isinstance(event, XidEvent):
        return str(event.xid)
    if isinstance(event, TransactionPayloadEvent):
        return f"{event.compression.name}, {event.uncompressed_bytes:,} bytes uncompressed"
    return "a statement, compressed" if isinstance(event, QueryEvent) else ""


# ---- statements ----


def _query(raw: bytes, end: int, event: QueryEvent) -> Iterator[Part]:
    start = HEADER_BYTES
    sizes = [int.from_bytes(raw[start + at : start + at + size], "little") for at, size in _offsets(_QUERY)]
    yield from _fixed(_QUERY, start, tuple(map(str, sizes)))
    start += sum(size for _, size in _QUERY)
    if sizes[4]:
        yield Part(start, start + sizes[4], "status variables", "the session's settings: sql_mode, character sets …")
    start += sizes[4]
    yield Part(start, start + sizes[2] + 1, "default database", event.database or "none")
    text = " ".join(event.sql.decode("utf-8", "replace").split())
    yield Part(start + sizes[2] + 1, end, "statement", text[:_STATEMENT_SHOWN_CHARACTERS])


def _offsets(fields: tuple[tuple[str, int], ...]) -> Iterator[tuple[int, int]]:
    at = 0
    for _, size in fields:
        yield at, size
        at += size


# ---- table maps ----


def _table_map(raw: bytes, end: int, event: TableMapEvent, table_id_bytes: int) -> Iterator[Part]:
    at = HEADER_BYTES
    yield Part(at, at := at + table_id_bytes, "table id", str(event.table_id))
    yield Part(at, at := at + 2, "flags", f"{event.flags:#06x}")
    for name, text in (("database", event.database), ("table", event.table)):
        yield Part(at, at := at + raw[at] + 2, name, text)
    count, after = read_length_encoded(raw, at)
    yield Part(at, at := after, "columns", str(count))
    types = ", ".join(_type_name(raw[at + index]) for index in range(count))
    yield Part(at, at := at + count, "types", types)
    size, after = read_length_encoded(raw, at)
    yield Part(at, at := after, "metadata length", str(size))
    if size:
        yield Part(at, at := at + size, "metadata", ", ".join(_metadata(event)))
    nullable = [str(index + 1) for index, may_be_null in enumerate(event.nullable) if may_be_null]
    yield Part(at, at := at + (count + 7) // 8, "may be NULL", f"column {', '.join(nullable)}" if nullable else "none")
    while at < end:
        kind = raw[at]
        size, after = read_length_encoded(raw, at + 1)
        name = MetadataField(kind).name if kind in MetadataField.__members__.values() else f"field {kind}"
        yield Part(at, at := after + size, "more metadata", name)


def _type_name(code: int) -> str:
    return FieldType(code).name if code in FieldType.__members__.values() else str(code)


def _metadata(event: TableMapEvent) -> Iterator[str]:
    for index, (code, value) in enumerate(zip(event.column_types, event.column_metadata, strict=True)):
        if METADATA_BYTES.get(code):
            shown = f"({value >> 8},{value & 0xFF})" if code in _TWO_FACTS else str(value)
            yield f"{_type_name(code)} {index + 1}: {shown}"


# ---- rows ----


def _rows(raw: bytes, end: int, header: EventHeader, event: RowsEvent, table_id_bytes: int) -> Iterator[Part]:
    at = HEADER_BYTES
    yield Part(at, at := at + table_id_bytes, "table id", str(event.table_id))
    ends = "the statement ends here" if event.ends_statement else "the statement goes on"
    yield Part(at, at := at + 2, "flags", f"{event.flags:#06x}: {ends}")
    if ROWS_EVENTS.get(header.type_code, (None, header.type_code not in _COMPRESSED_V1))[1]:
        (size,) = _U16.unpack_from(raw, at)
        yield Part(at, at := at + size, "extra data", f"{size} bytes with this length")
    count, after = read_length_encoded(raw, at)
    yield Part(at, at := after, "columns", str(count))
    bitmap_bytes = (count + 7) // 8
    bitmaps = [("columns sent", event.columns)]
    if event.kind is RowsKind.UPDATE:
        bitmaps = [("columns before", event.columns), ("columns after", event.columns_after)]
    for name, bitmap in bitmaps:
        present = (int.from_bytes(bitmap, "little") & ((1 << count) - 1)).bit_count()
        yield Part(at, at := at + bitmap_bytes, name, "all" if present == count else f"{present} of {count}")
    if at < end:
        compressed = event.data is not raw
        yield Part(at, end, "row images", "compressed" if compressed else "", image="all")


_COMPRESSED_V1: Final = frozenset(
    {
        EventType.MARIADB_WRITE_ROWS_COMPRESSED_V1,
        EventType.MARIADB_UPDATE_ROWS_COMPRESSED_V1,
        EventType.MARIADB_DELETE_ROWS_COMPRESSED_V1,
    }
)
