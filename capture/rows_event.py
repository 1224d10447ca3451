"""Rows events: what happened to which rows of which table, the rows themselves still undecoded.

Body: table id (6 bytes, 4 in early 5.1) | flags u16 | version 2: size u16 of the extra information, itself included,
and that | column count (length-encoded) | bitmap of the columns present, UPDATE: a second one for the images after the
change | row images to the end. The images are read by `capture.transcoder`, with the table map of the same table id.
"""

import struct
from enum import Enum
from typing import NamedTuple

from capture.event_types import EventType
from capture.table_map import read_length_encoded

STATEMENT_END_FLAG = 0x0001
"""RowsEvent flag STMT_END_F: the last rows event of its statement; its table ids are used up."""
_DUMMY_TABLE_ID = 0xFFFFFF
"""A rows event with this table id and no rows only ends a statement (`DUMMY_TABLE_ID`)."""

_SIX_BYTE_ID_AND_FLAGS = struct.Struct("<IHH")
_FOUR_BYTE_ID_AND_FLAGS = struct.Struct("<IH")
_U16 = struct.Struct("<H")


class RowsKind(Enum):
    """What happened to the rows of a rows event."""

    __hash__ = object.__hash__  # that of Enum is written in Python, and kinds are looked up for each event

    WRITE = "write"
    UPDATE = "update"
    DELETE = "delete"


class RowsEvent(NamedTuple):
    """Row images, undecoded: `data[rows_start:rows_end]` of the raw event.

    WRITE and DELETE have one image per row, UPDATE two, before and after. `columns` and `columns_after` (UPDATE; the
    same as `columns` otherwise) are bitmaps of the columns present in the images, least significant bit first. The
    after images of `is_partial` events hold changes of JSON values, see `capture.partial_rows`.
    """

    kind: RowsKind
    table_id: int
    flags: int
    column_count: int
    columns: bytes
    columns_after: bytes
    data: bytes
    rows_start: int
    rows_end: int
    is_partial: bool = False

    @property
    def ends_statement(self) -> bool:
        return bool(self.flags & STATEMENT_END_FLAG)

    @property
    def is_dummy(self) -> bool:
        """True for the event without rows that only ends a statement."""
        return self.table_id == _DUMMY_TABLE_ID and self.rows_start == self.rows_end


ROWS_EVENTS: dict[int, tuple[RowsKind, bool]] = {
    EventType.WRITE_ROWS_V1: (RowsKind.WRITE, False),
    EventType.UPDATE_ROWS_V1: (RowsKind.UPDATE, False),
    EventType.DELETE_ROWS_V1: (RowsKind.DELETE, False),
    EventType.WRITE_ROWS: (RowsKind.WRITE, True),
    EventType.UPDATE_ROWS: (RowsKind.UPDATE, True),
    EventType.DELETE_ROWS: (RowsKind.DELETE, True),
    EventType.PARTIAL_UPDATE_ROWS: (RowsKind.UPDATE, True),
}
"""Kind of change, and whether extra row information follows the flags (version 2)."""


def decode_rows(raw: bytes, start: int, end: int, type_code: int, table_id_bytes: int) -> RowsEvent:
    """The body `raw[start:end]` of a rows event. Raises IndexError or struct.error where it is cut short."""
    kind, has_extra = ROWS_EVENTS[type_code]
    if table_id_bytes == 6:
        low, high, flags = _SIX_BYTE_ID_AND_FLAGS.unpack_from(raw, start)
        table_id = low | high << 32
    else:
        table_id, flags = _FOUR_BYTE_ID_AND_FLAGS.unpack_from(raw, start)
    position = start + table_id_bytes + 2
    if has_extra:
        (extra_bytes,) = _U16.unpack_from(raw, position)
        if extra_bytes < _U16.size:
            raise IndexError
        position += extra_bytes
    count, position = read_length_encoded(raw, position)
    bitmap_bytes = (count + 7) // 8
    columns = columns_after = raw[position : position + bitmap_bytes]
    position += bitmap_bytes
    if kind is RowsKind.UPDATE:
        columns_after = raw[position : position + bitmap_bytes]
        position += bitmap_bytes
    if position > end:
        raise IndexError
    is_partial = type_code == EventType.PARTIAL_UPDATE_ROWS
    return RowsEvent(kind, table_id, flags, count, columns, columns_after, raw, position, end, is_partial)
