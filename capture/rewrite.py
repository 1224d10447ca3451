"""Changing the header of an event that was already written: its time and its end position, the checksum made good.

Used where a stream is played again under other circumstances: a replay moves times, a dump from the middle of a file
carries a format description that takes no room in it. The body is never touched.
"""

from __future__ import annotations

import struct
import zlib

from capture.events import CHECKSUM_BYTES, EventType

_U32 = struct.Struct("<I")
_TIMESTAMP_OFFSET = 0
_TYPE_CODE_OFFSET = 4
_END_POSITION_OFFSET = 13
_FLAGS_OFFSET = 17
_BINLOG_IN_USE_FLAG = 0x01


def rewrite_header(
    raw: bytes, *, has_checksum: bool, timestamp: int | None = None, end_position: int | None = None
) -> bytes:
    """The event with another `timestamp` (Unix seconds) or `end_position` in its header.

    The mark of a file that is being written goes from a format description, as when a server sends it: it is the one
    bit that a checksum does not cover.
    """
    event = bytearray(raw)
    if event[_TYPE_CODE_OFFSET] == EventType.FORMAT_DESCRIPTION:
        event[_FLAGS_OFFSET] &= ~_BINLOG_IN_USE_FLAG
    if timestamp is not None:
        _U32.pack_into(event, _TIMESTAMP_OFFSET, timestamp)
    if end_position is not None:
        _U32.pack_into(event, _END_POSITION_OFFSET, end_position & 0xFFFFFFFF)
    if has_checksum:
        _U32.pack_into(event, len(event) - CHECKSUM_BYTES, zlib.crc32(memoryview(event)[:-CHECKSUM_BYTES]))
    return bytes(event)
