"""Binlog events: raw bytes to immutable values.

Every event is a 19-byte header — timestamp u32 | type u8 | server id u32 | size u32 | end position u32 | flags u16,
little endian —, a body, and, where the file's format description says so, a CRC-32 of all before it. The table of event
types is in `capture.event_types`; the bodies that are a subject of their own are in `capture.format_description`,
`capture.gtid`, `capture.query_event`, `capture.rows_event`, `capture.table_map`, `capture.xa`, `capture.payload`
(MySQL's compressed transactions) and `capture.compressed_events` (MariaDB's).

The invariant: what `EventDecoder.decode` returns is complete and its checksum holds; what it cannot read exactly it
refuses (UnsupportedEvent) or calls broken (MalformedEvent). Row data is not copied: a RowsEvent points into the raw
event, one that was compressed into its plain form. What the events mean for tables, transactions and records is left to
schema, channel and transcoder.
"""

import struct
from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeAlias
from zlib import crc32

from capture.compressed_events import COMPRESSED_ROWS, decode_compressed_rows, plain_query
from capture.errors import CaptureError, MalformedEvent, UnsupportedEvent
from capture.event_types import EVENT_TYPES, LOG_EVENT_IGNORABLE_FLAG, EventType, Handling
from capture.format_description import (
    CHECKSUM_BYTES,
    HEADER_BYTES,
    Checksum,
    FormatDescriptionEvent,
    decode_format_description,
    verify_crc32,
)
from capture.gtid import (
    AnonymousGtidEvent,
    GtidEvent,
    Interval,
    MariadbGtidEvent,
    MariadbGtidListEvent,
    PreviousGtidsEvent,
    SidIntervals,
    decode_anonymous_gtid,
    decode_gtid,
    decode_gtid_tagged,
    decode_mariadb_gtid,
    decode_mariadb_gtid_list,
    decode_previous_gtids,
)
from capture.payload import TransactionPayloadEvent, decode_payload
from capture.query_event import QueryEvent, QueryStatus, decode_execute_load, decode_query
from capture.rows_event import ROWS_EVENTS, STATEMENT_END_FLAG, RowsEvent, RowsKind, decode_rows
from capture.table_map import FieldType, KeyPart, OptionalMetadata, TableMapEvent, decode_table_map, read_length_encoded
from capture.xa import XaPrepareEvent, decode_xa_prepare

__all__ = [
    "ARTIFICIAL_FLAG",
    "BINLOG_MAGIC",
    "CHECKSUM_BYTES",
    "HEADER_BYTES",
    "STATEMENT_END_FLAG",
    "AnonymousGtidEvent",
    "Checksum",
    "Event",
    "EventDecoder",
    "EventHeader",
    "EventType",
    "FieldType",
    "FormatDescriptionEvent",
    "GtidEvent",
    "HeartbeatEvent",
    "Interval",
    "KeyPart",
    "MariadbGtidEvent",
    "MariadbGtidListEvent",
    "OptionalMetadata",
    "PreviousGtidsEvent",
    "QueryEvent",
    "QueryStatus",
    "RotateEvent",
    "RowsEvent",
    "RowsKind",
    "SidIntervals",
    "TableMapEvent",
    "TransactionPayloadEvent",
    "XaPrepareEvent",
    "XidEvent",
    "check_magic",
    "decode_header",
    "iter_events",
]

BINLOG_MAGIC = b"\xfebin"
_ENCRYPTED_MAGIC = b"\xfdbin"

ARTIFICIAL_FLAG = 0x0020
"""Header flag of events the server makes for a reader; they are in no file."""

_HEADER = struct.Struct("<IBIIIH")
_U32 = struct.Struct("<I")
_U64 = struct.Struct("<Q")
_SIZE_AT = 9
_new_header = tuple.__new__
"""Makes a NamedTuple of a tuple: what `_make` does, without its own call, for each event."""


class EventHeader(NamedTuple):
    """The first 19 bytes of every event. Timestamp in Unix seconds; positions and size in bytes of the binlog file."""

    timestamp: int
    type_code: int
    server_id: int
    size_bytes: int
    end_position: int
    flags: int

    @property
    def start_position(self) -> int:
        """Where the event starts in its file; meaningless for artificial events and where end_position is 0."""
        return self.end_position - self.size_bytes

    @property
    def is_artificial(self) -> bool:
        """True for events the server makes up for a reader (the first ROTATE of a dump)."""
        return bool(self.flags & ARTIFICIAL_FLAG)


class RotateEvent(NamedTuple):
    """The log goes on in the file `file` at `position`."""

    file: str
    position: int


class XidEvent(NamedTuple):
    """COMMIT of a transaction in a transactional engine."""

    xid: int


class HeartbeatEvent(NamedTuple):
    """The source is alive and its binlog ends at (file, position)."""

    file: str
    position: int


Event: TypeAlias = (
    FormatDescriptionEvent
    | RotateEvent
    | QueryEvent
    | XidEvent
    | GtidEvent
    | AnonymousGtidEvent
    | PreviousGtidsEvent
    | MariadbGtidEvent
    | MariadbGtidListEvent
    | TableMapEvent
    | RowsEvent
    | HeartbeatEvent
    | TransactionPayloadEvent
    | XaPrepareEvent
)
"""What `EventDecoder.decode` returns."""


def decode_header(raw: bytes) -> EventHeader:
    """The header of a raw event. Raises MalformedEvent if it is cut short or its size is not that of `raw`."""
    if len(raw) < HEADER_BYTES:
        raise MalformedEvent(f"An event of {len(raw)} bytes is shorter than the 19 bytes of its header.")
    header = _new_header(EventHeader, _HEADER.unpack_from(raw))
    if header.size_bytes != len(raw):
        raise MalformedEvent(f"An event of {len(raw)} bytes says in its header that it has {header.size_bytes}.")
    return header


def iter_events(buffer: bytes, *, start: int = 4) -> Iterator[bytes]:
    """The raw events of a binlog file, each a slice of `buffer`, from the file position `start` on.

    Raises MalformedEvent for what is not a binlog file or is cut within an event, naming the position; UnsupportedEvent
    for a file encrypted by MySQL.
    """
    check_magic(buffer[:4])
    position, end = start, len(buffer)
    while position < end:
        if position + HEADER_BYTES > end:
            raise MalformedEvent(f"The binlog file ends at {end}, within the header of the event at {position}.")
        (size,) = _U32.unpack_from(buffer, position + 9)
        if size < HEADER_BYTES:
            raise MalformedEvent(f"The event at {position} says it has {size} bytes, less than its header.")
        if position + size > end:
            raise MalformedEvent(f"The binlog file ends at {end}, within the event of {size} bytes at {position}.")
        yield buffer[position : position + size]
        position += size


def check_magic(magic: bytes, file: str = "the file") -> None:
    """Raises MalformedEvent or UnsupportedEvent unless these are the first four bytes of a readable binlog file."""
    if magic == _ENCRYPTED_MAGIC:
        raise UnsupportedEvent(
            f"{file} is encrypted by MySQL (binlog_encryption=ON); read it from the running server instead"
        )
    if magic != BINLOG_MAGIC:
        raise MalformedEvent(f"{file} starts with {magic.hex(' ') or 'nothing'}, a binlog starts with fe 62 69 6e")


class EventDecoder:
    """Raw events of one binlog stream to values. Keeps the format description and the table maps seen, nothing else.

    `checksum` says how events before the first format description end: what the dump session agreed on with the
    server, CRC32 or NONE; in a file there are none.
    """

    def __init__(self, checksum: Checksum = Checksum.NONE) -> None:
        self.checksum = checksum
        self._has_checksum = checksum is not Checksum.NONE
        self.format: FormatDescriptionEvent | None = None
        self.table_id_bytes = 6
        self._table_maps: dict[bytes, TableMapEvent] = {}
        self._begins: dict[bytes, QueryEvent] = {}

    def decode(self, raw: bytes) -> tuple[EventHeader, Event | None]:
        """One whole event, header included; None in place of an event that means nothing to capture.

        Raises MalformedEvent (size, checksum, contents) and UnsupportedEvent (valid, but cannot be carried over).
        """
        header = decode_header(raw)
        type_code = header.type_code
        decode_body = _DECODERS.get(type_code)
        if decode_body is None:
            self._check_skippable(header)
            return header, None
        try:
            end = header.size_bytes
            if self._has_checksum and type_code != _FORMAT_DESCRIPTION:
                end -= CHECKSUM_BYTES
                if crc32(raw) != _CRC_WITH_ITSELF or end < HEADER_BYTES:
                    _refuse_checksum(raw, end)
            return header, decode_body(self, raw, end, header)
        except (IndexError, struct.error, UnicodeDecodeError, ValueError) as error:
            name = EventType(header.type_code).name
            raise MalformedEvent(
                f"The {name} event that ends at {header.end_position} is cut short or damaged."
            ) from error
        except CaptureError as error:
            raise type(error)(f"{_sentence(error)} ({_where(header)})") from None

    def inside(self) -> "EventDecoder":
        """The decoder of events within a TRANSACTION_PAYLOAD: they have no checksums and share the table maps."""
        decoder = EventDecoder()
        decoder.format, decoder.table_id_bytes = self.format, self.table_id_bytes
        decoder._table_maps = self._table_maps
        return decoder

    def without_checksum(self, raw: bytes) -> bytes:
        """The event as it would be in a log without checksums."""
        if self.checksum is Checksum.NONE:
            return raw
        end = len(raw) - CHECKSUM_BYTES
        return b"".join((raw[:_SIZE_AT], _U32.pack(end), raw[_SIZE_AT + _U32.size : end]))

    @staticmethod
    def _check_skippable(header: EventHeader) -> None:
        """Refuse what is not decoded unless it is known, or marked by the server, to change nothing."""
        row = EVENT_TYPES.get(header.type_code)
        if row is None and not header.flags & LOG_EVENT_IGNORABLE_FLAG:
            raise UnsupportedEvent(
                f"The source wrote an event of type {header.type_code}, which is not known; "
                f"Binwire needs an update to read this server's binlog ({_where(header)})."
            )
        if row is not None and row.handling is Handling.REFUSED and not _is_decrypted(header):
            raise UnsupportedEvent(f"{row.type.name}: {row.reason} ({_where(header)}).")

    def _format_description(self, raw: bytes, end: int, header: EventHeader) -> FormatDescriptionEvent:
        self.format = decode_format_description(raw)
        self.checksum = self.format.checksum
        self._has_checksum = self.checksum is not Checksum.NONE
        lengths = self.format.post_header_bytes
        self.table_id_bytes = 4 if lengths[EventType.TABLE_MAP - 1] == 6 else 6
        self._table_maps.clear()
        return self.format

    def _table_map(self, raw: bytes, end: int, header: EventHeader) -> TableMapEvent:
        """The same bytes give the same object, so that callers may compare table maps by identity first."""
        body = raw[HEADER_BYTES:end]
        found = self._table_maps.get(body)
        if found is None:
            found = decode_table_map(body, self.table_id_bytes)
            if len(self._table_maps) >= _TABLE_MAPS_KEPT:
                self._table_maps.clear()
            self._table_maps[body] = found
        return found


_FORMAT_DESCRIPTION = int(EventType.FORMAT_DESCRIPTION)
_CRC_WITH_ITSELF = 0x2144DF1C
"""The CRC-32 of anything with its own CRC-32, little endian, behind it: the polynomial's residue. One call checks an
event where it lies, and whatever else stands in the last four bytes gives another value.
"""


def _refuse_checksum(raw: bytes, end: int) -> None:
    """Raise what is wrong with an event whose checksum does not hold, or leaves no room for a header."""
    if end < HEADER_BYTES:
        raise IndexError
    verify_crc32(memoryview(raw)[:end], _U32.unpack_from(raw, end)[0])


def _is_decrypted(header: EventHeader) -> bool:
    """MariaDB's START_ENCRYPTION as a server sends it: marked as ignorable, because what follows is decrypted."""
    return header.type_code == EventType.MARIADB_START_ENCRYPTION and bool(header.flags & LOG_EVENT_IGNORABLE_FLAG)


_BEGIN = b"\0BEGIN"
_BEGIN_BYTES_MAX = 1 << 10
_BEGINS_KEPT = 4096
"""As many as table maps, and none of more than `_BEGIN_BYTES_MAX`: any statement may end so, however long it is."""
_TABLE_MAPS_KEPT = 4096
"""Table maps kept by their bytes; beyond it all are forgotten and decoded again."""


def _where(header: EventHeader) -> str:
    return f"event ends at {header.end_position}"


def _sentence(error: CaptureError) -> str:
    text = str(error).rstrip(".")
    return text[:1].upper() + text[1:]


def _rows(decoder: EventDecoder, raw: bytes, end: int, header: EventHeader) -> RowsEvent:
    return decode_rows(raw, HEADER_BYTES, end, header.type_code, decoder.table_id_bytes)


def _compressed_rows(decoder: EventDecoder, raw: bytes, end: int, header: EventHeader) -> RowsEvent:
    return decode_compressed_rows(raw, HEADER_BYTES, end, header.type_code, decoder.table_id_bytes)


def _payload(decoder: EventDecoder, raw: bytes, end: int, header: EventHeader) -> TransactionPayloadEvent:
    return decode_payload(raw, HEADER_BYTES, end)


def _compressed_query(decoder: EventDecoder, raw: bytes, end: int, header: EventHeader) -> QueryEvent:
    return plain_query(decode_query(raw, HEADER_BYTES, end))


def _query(decoder: EventDecoder, raw: bytes, end: int, header: EventHeader) -> QueryEvent:
    """The same BEGIN of the same session gives the same object: transactions of few rows are mostly that."""
    if end > _BEGIN_BYTES_MAX or not raw.endswith(_BEGIN, HEADER_BYTES, end):
        return decode_query(raw, HEADER_BYTES, end)
    body = raw[HEADER_BYTES:end]
    found = decoder._begins.get(body)
    if found is None:
        found = decode_query(raw, HEADER_BYTES, end)
        if len(decoder._begins) >= _BEGINS_KEPT:
            decoder._begins.clear()
        decoder._begins[body] = found
    return found


def _execute_load(decoder: EventDecoder, raw: bytes, end: int, header: EventHeader) -> QueryEvent:
    return decode_execute_load(raw, HEADER_BYTES, end)


def _rotate(decoder: EventDecoder, raw: bytes, end: int, header: EventHeader) -> RotateEvent:
    (position,) = _U64.unpack_from(raw, HEADER_BYTES)
    return RotateEvent(raw[HEADER_BYTES + 8 : end].decode("utf-8", "surrogateescape"), position)


def _xid(decoder: EventDecoder, raw: bytes, end: int, header: EventHeader) -> XidEvent:
    if end < HEADER_BYTES + 8:
        raise IndexError
    return XidEvent(_U64.unpack_from(raw, HEADER_BYTES)[0])


def _heartbeat(decoder: EventDecoder, raw: bytes, end: int, header: EventHeader) -> HeartbeatEvent:
    return HeartbeatEvent(raw[HEADER_BYTES:end].decode("utf-8", "surrogateescape"), header.end_position)


_HEARTBEAT_FILE, _HEARTBEAT_POSITION = 1, 2


def _heartbeat_v2(decoder: EventDecoder, raw: bytes, end: int, header: EventHeader) -> HeartbeatEvent:
    """HEARTBEAT_V2: (type u8, length, value) fields up to a type 0; positions beyond 4 GiB fit here."""
    body, at = raw[HEADER_BYTES:end], 0
    file, position = "", header.end_position
    while at < len(body) and body[at]:
        kind = body[at]
        size, at = read_length_encoded(body, at + 1)
        value, at = body[at : at + size], at + size
        if kind == _HEARTBEAT_FILE:
            file = value.decode("utf-8", "surrogateescape")
        elif kind == _HEARTBEAT_POSITION:
            position = read_length_encoded(value, 0)[0]
    return HeartbeatEvent(file, position)


_BodyDecoder: TypeAlias = Callable[[EventDecoder, bytes, int, EventHeader], Event]


def _of_body(decode: Callable[[bytes], Event]) -> _BodyDecoder:
    """A decoder of the body alone."""
    return lambda decoder, raw, end, header: decode(raw[HEADER_BYTES:end])


_DECODERS: dict[int, _BodyDecoder] = {
    EventType.QUERY: _query,
    EventType.ROTATE: _rotate,
    EventType.FORMAT_DESCRIPTION: EventDecoder._format_description,
    EventType.XID: _xid,
    EventType.TABLE_MAP: EventDecoder._table_map,
    **dict.fromkeys(ROWS_EVENTS, _rows),
    **dict.fromkeys(COMPRESSED_ROWS, _compressed_rows),
    EventType.MARIADB_QUERY_COMPRESSED: _compressed_query,
    EventType.EXECUTE_LOAD_QUERY: _execute_load,
    EventType.TRANSACTION_PAYLOAD: _payload,
    EventType.XA_PREPARE: _of_body(decode_xa_prepare),
    EventType.HEARTBEAT: _heartbeat,
    EventType.GTID: _of_body(decode_gtid),
    EventType.ANONYMOUS_GTID: _of_body(decode_anonymous_gtid),
    EventType.PREVIOUS_GTIDS: _of_body(decode_previous_gtids),
    EventType.HEARTBEAT_V2: _heartbeat_v2,
    EventType.GTID_TAGGED: _of_body(decode_gtid_tagged),
    EventType.MARIADB_GTID: lambda decoder, raw, end, header: decode_mariadb_gtid(
        raw[HEADER_BYTES:end], header.server_id
    ),
    EventType.MARIADB_GTID_LIST: _of_body(decode_mariadb_gtid_list),
}
