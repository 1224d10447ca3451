"""FORMAT_DESCRIPTION: how the events of a binlog file are laid out, and whether they end with a CRC-32.

Body: format version u16 | server version 50 bytes, NUL padded | created u32, Unix seconds | header size u8 | one byte
per event type, the size of the fixed part of its body | from servers that know checksums: algorithm u8 | CRC-32. The
CRC-32 field is there whatever the algorithm. Formats whose fixed parts are not those the decoders read are refused
here, so that no decoder has to ask again.
"""

import struct
import zlib
from enum import IntEnum
from typing import NamedTuple

from capture.errors import MalformedEvent, UnsupportedEvent
from capture.event_types import EventType

HEADER_BYTES = 19
CHECKSUM_BYTES = 4

_FIXED = struct.Struct("<H50sIB")
_U32 = struct.Struct("<I")
_FLAGS_LOW_BYTE = HEADER_BYTES - 2
_BINLOG_IN_USE_FLAG = 0x01
"""Header flag, set in a file while it is being written, and not part of the checksum."""


class Checksum(IntEnum):
    """Checksum algorithms of the format description."""

    NONE = 0
    CRC32 = 1


class FormatDescriptionEvent(NamedTuple):
    """How the events that follow are laid out. `post_header_bytes[type - 1]` is the fixed part of a type's body."""

    binlog_version: int
    server_version: str
    created: int
    header_bytes: int
    post_header_bytes: bytes
    checksum: Checksum

    @property
    def is_mariadb(self) -> bool:
        return "MariaDB" in self.server_version


def verify_crc32(covered: memoryview | bytes, expected: int) -> None:
    """Raises MalformedEvent unless the CRC-32 (that of zlib) of `covered` is `expected`."""
    found = zlib.crc32(covered)
    if found != expected:
        raise MalformedEvent(
            f"an event's CRC-32 is {found:08x} where the event says {expected:08x}: its bytes are damaged"
        )


def decode_format_description(raw: bytes) -> FormatDescriptionEvent:
    """The format description; it says itself whether it, and all that follows, ends with a checksum."""
    version, name, created, header_bytes = _FIXED.unpack_from(raw, HEADER_BYTES)
    server_version = name.rstrip(b"\0").decode("latin-1")
    if version != 4 or header_bytes != HEADER_BYTES:
        raise UnsupportedEvent(
            f"the binlog of server {server_version} has format version {version} and event headers of "
            f"{header_bytes} bytes; only version 4 with headers of {HEADER_BYTES} bytes can be read"
        )
    lengths = raw[HEADER_BYTES + _FIXED.size :]
    checksum = Checksum.NONE
    if _knows_checksums(server_version):
        if len(lengths) < CHECKSUM_BYTES + 1:
            raise IndexError
        algorithm = lengths[-CHECKSUM_BYTES - 1]
        lengths = lengths[: -CHECKSUM_BYTES - 1]
        if algorithm not in {Checksum.NONE, Checksum.CRC32}:
            raise UnsupportedEvent(
                f"the binlog has checksum algorithm {algorithm}, only 0 (none) and 1 (CRC32) are known"
            )
        checksum = Checksum(algorithm)
        if checksum is Checksum.CRC32:
            unflagged = bytearray(raw[:-CHECKSUM_BYTES])
            unflagged[_FLAGS_LOW_BYTE] &= ~_BINLOG_IN_USE_FLAG
            verify_crc32(bytes(unflagged), _U32.unpack_from(raw, len(raw) - CHECKSUM_BYTES)[0])
    _check_post_header_bytes(server_version, lengths)
    return FormatDescriptionEvent(version, server_version, created, header_bytes, lengths, checksum)


def _knows_checksums(server_version: str) -> bool:
    """Checksums came with MySQL 5.6.1 and MariaDB 5.3.0; older format descriptions end with the lengths."""
    numbers = []
    for part in server_version.split("-", maxsplit=1)[0].split(".")[:3]:
        digits = "".join(character for character in part if character.isdigit())
        numbers.append(int(digits or 0))
    return tuple(numbers) >= ((5, 3, 0) if "MariaDB" in server_version else (5, 6, 1))


_ROWS_V1 = (EventType.WRITE_ROWS_V1, EventType.UPDATE_ROWS_V1, EventType.DELETE_ROWS_V1)
_POST_HEADER_BYTES = {
    EventType.QUERY: frozenset({13}),
    EventType.ROTATE: frozenset({8}),
    EventType.TABLE_MAP: frozenset({6, 8}),
    **dict.fromkeys(_ROWS_V1, frozenset({0, 6, 8})),
    **dict.fromkeys((EventType.WRITE_ROWS, EventType.UPDATE_ROWS, EventType.DELETE_ROWS), frozenset({10})),
}
"""Fixed parts the decoders can read. MySQL 9 gives 0 for the row events of version 1, which it no longer knows."""


def _check_post_header_bytes(server_version: str, lengths: bytes) -> None:
    """Refuse other formats: alphas of MySQL 5.2 permuted their event types, 5.0 has no row events at all."""
    if len(lengths) < EventType.DELETE_ROWS_V1:
        raise UnsupportedEvent(
            f"server {server_version} writes no row events of a released version; MySQL 5.1.20 or later is needed"
        )
    for event_type, known in _POST_HEADER_BYTES.items():
        if event_type <= len(lengths) and lengths[event_type - 1] not in known:
            raise UnsupportedEvent(
                f"the binlog of server {server_version} has {lengths[event_type - 1]} fixed bytes in {event_type.name} "
                f"events, which no released server writes"
            )
    table_map = lengths[EventType.TABLE_MAP - 1]
    if any(lengths[event_type - 1] not in (0, table_map) for event_type in _ROWS_V1):
        raise UnsupportedEvent(
            f"the binlog of server {server_version} numbers tables in TABLE_MAP events otherwise than in rows events, "
            f"which no released server does"
        )
