"""MariaDB's compressed events (log_bin_compress): a statement, or the images of rows events, behind a header of zlib.

Compressed part: head u8: 0x80 | algorithm << 4 (0 zlib) | bytes of the length, 1 to 4; length uncompressed, big endian;
a zlib stream to the end. In a QUERY_COMPRESSED (165) it is the statement, in the rows events (166 to 168 version 1,
169 to 171 version 2) the row images; all that comes before is as in the plain event (`binlog_buf_compress`,
`row_log_event_uncompress` in MariaDB's sql/log_event.cc).

Invariant: what comes out has exactly the announced length, and no memory is spent beyond it.
"""

from __future__ import annotations

import zlib

from capture.errors import MalformedEvent, UnsupportedEvent
from capture.event_types import EventType
from capture.query_event import QueryEvent
from capture.rows_event import RowsEvent, decode_rows

PLAIN_TYPES: dict[int, EventType] = {
    EventType.MARIADB_QUERY_COMPRESSED: EventType.QUERY,
    EventType.MARIADB_WRITE_ROWS_COMPRESSED_V1: EventType.WRITE_ROWS_V1,
    EventType.MARIADB_UPDATE_ROWS_COMPRESSED_V1: EventType.UPDATE_ROWS_V1,
    EventType.MARIADB_DELETE_ROWS_COMPRESSED_V1: EventType.DELETE_ROWS_V1,
    EventType.MARIADB_WRITE_ROWS_COMPRESSED: EventType.WRITE_ROWS,
    EventType.MARIADB_UPDATE_ROWS_COMPRESSED: EventType.UPDATE_ROWS,
    EventType.MARIADB_DELETE_ROWS_COMPRESSED: EventType.DELETE_ROWS,
}
"""The event each of them stands for."""

COMPRESSED_ROWS = frozenset(PLAIN_TYPES) - {EventType.MARIADB_QUERY_COMPRESSED}

_MARK = 0x80
_ALGORITHM_MASK, _ALGORITHM_SHIFT = 0x70, 4
_LENGTH_MASK = 0x07
_LENGTH_BYTES_MAX = 4
_ZLIB = 0


def uncompress(data: bytes | memoryview) -> bytes:
    """What a compressed part holds. Raises MalformedEvent, UnsupportedEvent."""
    head = data[0]
    length_bytes = head & _LENGTH_MASK
    if not head & _MARK or not 1 <= length_bytes <= _LENGTH_BYTES_MAX or len(data) <= 1 + length_bytes:
        raise MalformedEvent(f"byte {head:#04x} does not begin what log_bin_compress writes")
    algorithm = (head & _ALGORITHM_MASK) >> _ALGORITHM_SHIFT
    if algorithm != _ZLIB:
        raise UnsupportedEvent(
            f"log_bin_compress: algorithm {algorithm} is not known; Binwire needs an update to read this binlog"
        )
    length = int.from_bytes(data[1 : 1 + length_bytes], "big")
    opened = zlib.decompressobj()
    try:
        found = opened.decompress(data[1 + length_bytes :], length + 1)
    except zlib.error as error:
        raise MalformedEvent(f"a compressed event cannot be uncompressed: {error}") from error
    if len(found) != length or not opened.eof or opened.unused_data:
        raise MalformedEvent(f"a compressed event says it has {length} bytes uncompressed, which is not so")
    return found


def plain_query(event: QueryEvent) -> QueryEvent:
    """The statement that a QUERY_COMPRESSED stands for, of which `event` has the compressed text."""
    return event._replace(sql=uncompress(event.sql))


def decode_compressed_rows(raw: bytes, start: int, end: int, type_code: int, table_id_bytes: int) -> RowsEvent:
    """The body `raw[start:end]` of a compressed rows event, as the plain one. Its `data` is not the raw event."""
    event = decode_rows(raw, start, end, PLAIN_TYPES[type_code], table_id_bytes)
    head = raw[: event.rows_start]
    data = head + uncompress(memoryview(raw)[event.rows_start : end])
    return event._replace(data=data, rows_start=len(head), rows_end=len(data))
