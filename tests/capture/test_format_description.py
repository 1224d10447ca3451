"""Format descriptions that servers wrote, all others refused, and events as the oldest of them lay them out."""

from __future__ import annotations

import struct
import zlib

import pytest

from capture.encode import EventEncoder, RowMetadata
from capture.errors import MalformedEvent, UnsupportedEvent
from capture.events import Checksum, EventDecoder, EventType, RowsEvent, TableMapEvent
from capture.format_description import decode_format_description
from tests.capture.row_cases import table_of
from tests.capture.test_service_captures import T1

TIME = 1_700_000_000

# What follows the header size in the format descriptions of released servers: fixed parts of event types 1, 2 …
LENGTHS = {
    "5.0.58": "380d0008001200040404041200004b00041a",
    "5.1.15-ndb": "380d0008001200040404041200004f00041a08080808",
    "5.2.2-alpha": "380d0008001200040404041200004f0606060600041a",
    "5.1.34": "380d0008001200040404041200005300041a0800000008080802",
    "5.5.27": "380d0008001200040404041200005400041a080000000808080200",
    "5.6.35": "380d0008001200040404041200005c00041a08000000080808020000000a0a0a191900",
    "5.7.44": "380d0008001200040404041200005f00041a08000000080808020000000a0a0a2a2a00123400",
    "8.0.13": "000d0008000000000400040000006000041a08000000080808020000000a0a0a2a2a001234000a",
    "8.0.46": "000d0008000000000400040000006200041a08000000080808020000000a0a0a2a2a001234000a2800",
    "9.6.0": "000d0008000000000400040000006300041a08000000000000020000000a0a0a2a2a001234000a280000",
    "10.0.15-MariaDB": "380d000800120004040404120000dc00041a08000000080808020000000a0a0a" + "00" * 131 + "0413",
}
READABLE = ("5.1.34", "5.5.27", "5.6.35", "5.7.44", "8.0.13", "8.0.46", "9.6.0", "10.0.15-MariaDB")
CHECKED = {
    EventType.QUERY: {13},
    EventType.ROTATE: {8},
    EventType.TABLE_MAP: {6, 8},
    EventType.WRITE_ROWS_V1: {0, 6, 8},
    EventType.UPDATE_ROWS_V1: {0, 6, 8},
    EventType.DELETE_ROWS_V1: {0, 6, 8},
    EventType.WRITE_ROWS: {10},
    EventType.UPDATE_ROWS: {10},
    EventType.DELETE_ROWS: {10},
}


def description(
    version: str, lengths: bytes, *, binlog_version: int = 4, header_bytes: int = 19, algorithm: int | None = None
) -> bytes:
    """The event; servers that know checksums add the algorithm and a CRC-32."""
    body = struct.pack("<H50sIB", binlog_version, version.encode(), 0, header_bytes) + lengths
    knows = algorithm is not None or version.startswith(("5.6", "5.7", "8.", "9.")) or "MariaDB" in version
    size = 19 + len(body) + 5 * knows
    raw = struct.pack("<IBIIIH", TIME, EventType.FORMAT_DESCRIPTION, 1, size, 4 + size, 0) + body
    if not knows:
        return raw
    raw += bytes([1 if algorithm is None else algorithm])
    return raw + struct.pack("<I", zlib.crc32(raw))


@pytest.mark.parametrize("version", LENGTHS)
def test_the_format_of_every_released_version_that_writes_rows_is_read(version: str) -> None:
    lengths = bytes.fromhex(LENGTHS[version])
    if version not in READABLE:
        with pytest.raises(UnsupportedEvent, match=f"server {version} writes no row events of a released version"):
            decode_format_description(description(version, lengths))
        return
    found = decode_format_description(description(version, lengths))
    assert (found.server_version, found.post_header_bytes) == (version, lengths)
    assert found.checksum is (Checksum.NONE if version.startswith(("5.1", "5.5")) else Checksum.CRC32)


@pytest.mark.parametrize(
    ("version", "kind"),
    [(version, kind) for version in READABLE for kind in CHECKED if kind <= len(bytes.fromhex(LENGTHS[version]))],
)
def test_no_other_fixed_part_is_read(version: str, kind: EventType) -> None:
    lengths = bytearray.fromhex(LENGTHS[version])
    for size in set(range(20)) - CHECKED[kind]:
        lengths[kind - 1] = size
        with pytest.raises(UnsupportedEvent, match=f"has {size} fixed bytes in {kind.name} events"):
            decode_format_description(description(version, bytes(lengths)))


def test_permuted_event_types_are_refused() -> None:
    """An alpha of 5.2 gave TABLE_MAP the number 16 and the row events 17 to 19; with more types it stays refused."""
    permuted = bytes.fromhex(LENGTHS["5.2.2-alpha"]) + bytes.fromhex("0800000000")
    with pytest.raises(UnsupportedEvent, match="otherwise than in rows events, which no released server does"):
        decode_format_description(description("5.2.2-alpha", permuted))


def test_tables_numbered_in_two_ways_are_refused() -> None:
    lengths = bytearray.fromhex(LENGTHS["5.5.27"])
    lengths[EventType.UPDATE_ROWS_V1 - 1] = 6
    with pytest.raises(UnsupportedEvent, match="numbers tables in TABLE_MAP events otherwise than in rows events"):
        decode_format_description(description("5.5.27", bytes(lengths)))


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"binlog_version": 3}, "format version 3"),
        ({"header_bytes": 31}, "event headers of 31 bytes"),
        ({"algorithm": 2}, "checksum algorithm 2, only 0"),
        ({"algorithm": 255}, "checksum algorithm 255"),
    ],
)
def test_what_else_is_refused(changed: dict[str, int], words: str) -> None:
    with pytest.raises(UnsupportedEvent, match=words):
        decode_format_description(description("5.7.44", bytes.fromhex(LENGTHS["5.7.44"]), **changed))


@pytest.mark.parametrize("version", READABLE)
def test_a_description_cut_within_what_is_read_of_it_fails(version: str) -> None:
    """Behind that, one of fewer event types may be that of an older server."""
    whole = description(version, bytes.fromhex(LENGTHS[version]))
    for size in range(19, 19 + 57 + EventType.DELETE_ROWS_V1):
        raw = bytearray(whole[:size])
        raw[9:13] = struct.pack("<I", size)
        with pytest.raises((MalformedEvent, UnsupportedEvent)):
            EventDecoder().decode(bytes(raw))


# ---- events of the oldest layout ----


def with_short_ids(raw: bytes) -> bytes:
    """The same event with its table id in 4 bytes, as where the fixed part has 6."""
    return raw[:9] + struct.pack("<I", len(raw) - 2) + raw[13:23] + raw[25:]


def decoder_of(lengths: bytes) -> EventDecoder:
    decoder = EventDecoder()
    decoder.decode(description("5.1.34", lengths))
    return decoder


def test_table_ids_of_four_bytes() -> None:
    """Fixed parts of 6 bytes: TABLE_MAP and row events of version 1 number their tables with 4 bytes."""
    encoder = EventEncoder(
        server_version="5.1.34", checksum=Checksum.NONE, rows_version=1, row_metadata=RowMetadata.NONE
    )
    events = [encoder.table_map(TIME, T1, 0x01020304), encoder.write_rows(TIME, T1, 0x01020304, [[1, "x"], [2, None]])]
    lengths = bytes.fromhex(LENGTHS["5.1.34"])
    short_lengths = bytes(6 if number in (19, 23, 24, 25) else size for number, size in enumerate(lengths, start=1))
    long, short = decoder_of(lengths), decoder_of(short_lengths)
    for raw in events:
        (_, wanted), (_, found) = long.decode(raw), short.decode(with_short_ids(raw))
        if isinstance(wanted, TableMapEvent):
            assert found == wanted
        else:
            assert isinstance(wanted, RowsEvent)
            assert isinstance(found, RowsEvent)
            assert (found.table_id, found.kind) == (wanted.table_id, wanted.kind)
            assert found.data[found.rows_start : found.rows_end] == wanted.data[wanted.rows_start : wanted.rows_end]
        for size in range(19, len(raw) - 2):
            cut = bytearray(with_short_ids(raw)[:size])
            cut[9:13] = struct.pack("<I", size)
            if isinstance(wanted, TableMapEvent):
                with pytest.raises((MalformedEvent, UnsupportedEvent)):
                    short.decode(bytes(cut))


def test_a_table_map_without_metadata_is_refused() -> None:
    """Betas of 5.1 ended it behind the column types."""
    encoder = EventEncoder(server_version="5.1.34", checksum=Checksum.NONE, row_metadata=RowMetadata.NONE)
    raw = encoder.table_map(TIME, table_of(T1.columns[0], name="t"), 1)
    types_end = raw.index(b"\x00\x01\x08") + 3  # the table's name ends; one column; BIGINT
    cut = bytearray(raw[:types_end])
    cut[9:13] = struct.pack("<I", types_end)
    with pytest.raises(UnsupportedEvent, match=r"t has no column metadata, as only betas of MySQL 5\.1 wrote it"):
        decoder_of(bytes.fromhex(LENGTHS["5.1.34"])).decode(bytes(cut))
