"""Binlog events: golden bytes, every prefix, trailing bytes, made-up events read back, unknown ones refused."""

from __future__ import annotations

import re
import struct
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capture.encode import EventEncoder, RowMetadata
from capture.errors import CaptureError, MalformedEvent, UnsupportedEvent
from capture.event_types import EVENT_TYPES, LOG_EVENT_IGNORABLE_FLAG, EventType, Handling
from capture.events import (
    BINLOG_MAGIC,
    CHECKSUM_BYTES,
    HEADER_BYTES,
    AnonymousGtidEvent,
    Checksum,
    Event,
    EventDecoder,
    EventHeader,
    FormatDescriptionEvent,
    GtidEvent,
    HeartbeatEvent,
    MariadbGtidEvent,
    MariadbGtidListEvent,
    PreviousGtidsEvent,
    QueryEvent,
    QueryStatus,
    RotateEvent,
    RowsEvent,
    RowsKind,
    TableMapEvent,
    TransactionPayloadEvent,
    XaPrepareEvent,
    XidEvent,
    iter_events,
)
from capture.gtid import Interval, SidIntervals, decode_mariadb_gtid
from capture.payload import events_in
from capture.table import Column, Key, TableVersion
from capture.xa import Xid
from tests.capture.recorded import ABSENT, BINLOGS, Dumped, binlog, binlog_names, dump_text, dumped_events
from tests.capture.row_cases import table_of, text_column

REFUSED = {
    "4.1.26_v3": (UnsupportedEvent, "START_V3: the binlog is in the format of MySQL 4.1 or older"),
    "5.0.46_relay": (UnsupportedEvent, "Server 5.0.46-enterprise-gpl-log writes no row events of a released version"),
    "5.0.58_relay": (UnsupportedEvent, "Server 5.0.58-debug-log writes no row events of a released version"),
    "5.1.15-ndb_pre-ga-rows_bug": (UnsupportedEvent, "Server 5.1.15-ndb-6.1.24-debug-log writes no row events"),
    "5.1.15-ndb_pre-ga-rows_ver": (UnsupportedEvent, "Server 5.1.15-ndb-6.1.24-debug-log writes no row events"),
    "5.1.17_pre-ga": (UnsupportedEvent, "Server 5.1.17-beta-debug-log writes no row events of a released version"),
    "5.1.30_incident": (UnsupportedEvent, "INCIDENT: the source recorded that changes were lost"),
    "5.1.63-google_stmt_mdev-4645-binlog_group": (UnsupportedEvent, "event headers of 31 bytes"),
    "5.2.2-a_drop6_permuted-types_ver_5_1-wl2325_r": (UnsupportedEvent, "Server 5.2.2-a_drop6p13-debug-log writes no"),
    "5.2.2-a_drop6_permuted-types_ver_5_1-wl2325_s": (UnsupportedEvent, "Server 5.2.2-a_drop6p13-debug-log writes no"),
    "5.5.17_truncated": (MalformedEvent, "The binlog file ends at 8192, within the event of 65567 bytes at 316."),
    "5.7.2_truncated": (MalformedEvent, "The binlog file ends at 129, within the header of the event at 120."),
    "8.0.30_recovery_duplicate_xid_xa_prepare": (MalformedEvent, "An event's CRC-32 is"),
    "8.0.30_recovery_malformed_xid_xa": (MalformedEvent, "An event's CRC-32 is"),
    "mariadb-10.6.26_badcrc": (MalformedEvent, "An event's CRC-32 is 04e0a427 where the event says 00000000"),
    "mysql-8.0-encrypted": (UnsupportedEvent, "is encrypted by MySQL"),
    "mysql-neg_truncated_event_14bytes": (MalformedEvent, "The binlog file ends at 14, within the header of the event"),
}
"""Recorded files that stop a channel, by the start of their name: error and sentence."""

TOOL_GAVE_UP = {"mariadb-10.0.17_rows-v1_tiflow.bin"}
"""Files within which the servers' own tools end with an error, on rows they cannot read."""

WITHOUT_ANY = pytest.mark.skipif(not BINLOGS.exists(), reason=ABSENT)


def refusal(name: str) -> tuple[type[CaptureError], str] | None:
    found = [row for prefix, row in REFUSED.items() if name.startswith(prefix)]
    assert len(found) <= 1
    return found[0] if found else None


def decode_all(data: bytes) -> list[tuple[EventHeader, Event | None, bytes | None]]:
    """The events of a file, with their bytes; those within a payload behind it, without."""
    decoder = EventDecoder()
    found: list[tuple[EventHeader, Event | None, bytes | None]] = []
    for raw in iter_events(data):
        header, event = decoder.decode(raw)
        found.append((header, event, raw))
        if isinstance(event, TransactionPayloadEvent):
            inside = decoder.inside()
            found += [(*inside.decode(inner), None) for inner in events_in(event) if inner is not None]
    return found


@WITHOUT_ANY
@pytest.mark.parametrize("name", [name for name in binlog_names() if refusal(name)])
def test_recorded_files_out_of_scope_are_refused_with_one_sentence(name: str) -> None:
    kind, sentence = refusal(name) or (CaptureError, "")
    with pytest.raises(kind, match=re.escape(sentence)) as error:
        decode_all(binlog(name))
    assert type(error.value) is kind
    assert "\n" not in str(error.value)


@WITHOUT_ANY
@pytest.mark.parametrize("name", [name for name in binlog_names() if not refusal(name)])
def test_recorded_files_decode_as_the_servers_own_tools_do(name: str) -> None:
    data = binlog(name)
    raws = list(iter_events(data))
    assert BINLOG_MAGIC + b"".join(raws) == data
    dumped = dumped_events(dump_text(name))
    decoded = decode_all(data)
    assert len(decoded) == len(dumped) or (name in TOOL_GAVE_UP and len(decoded) > len(dumped) > 0)
    for (header, event, raw), printed in zip(decoded, dumped, strict=False):
        end = printed.end if raw is None else header.end_position  # what stands within a payload has none of its own
        assert (header.server_id, end) == (printed.server_id, printed.end), printed.text
        if printed.crc is not None and raw is not None:
            assert struct.unpack("<I", raw[-CHECKSUM_BYTES:])[0] == int(printed.crc, 16)
        if event is None:
            assert EVENT_TYPES[header.type_code].handling is Handling.SKIPPED
        else:
            assert_agrees(event, printed)


def assert_agrees(event: Event, printed: Dumped) -> None:
    """The event says what was printed of it."""
    agree: dict[type[Any], Any] = {
        FormatDescriptionEvent: agree_format,
        RotateEvent: agree_rotate,
        QueryEvent: agree_query,
        TransactionPayloadEvent: lambda event, printed: (
            f"payload_size={event.payload_end - event.payload_start}" in printed.text
            and f"uncompressed_size={event.uncompressed_bytes}" in printed.text
        ),
        XaPrepareEvent: lambda event, printed: printed.text == f"XA PREPARE {event.xid}",
        XidEvent: lambda event, printed: printed.text == f"Xid = {event.xid}",
        GtidEvent: agree_gtid,
        AnonymousGtidEvent: agree_gtid,
        PreviousGtidsEvent: agree_previous_gtids,
        MariadbGtidEvent: lambda event, printed: printed.text.startswith(f"GTID {event.text} "[:-1]),
        MariadbGtidListEvent: agree_gtid_list,
        TableMapEvent: lambda event, printed: (
            printed.text == f"Table_map: `{event.database}`.`{event.table}` mapped to number {event.table_id}"
        ),
        RowsEvent: agree_rows,
    }
    assert agree[type(event)](event, printed), (event, printed)


def agree_format(event: FormatDescriptionEvent, printed: Dumped) -> bool:
    return printed.text.startswith(f"Start: binlog v 4, server v {event.server_version} created")


def agree_rotate(event: RotateEvent, printed: Dumped) -> bool:
    return printed.text == f"Rotate to {event.file}  pos: {event.position}"


def agree_query(event: QueryEvent, printed: Dumped) -> bool:
    text = "\n".join(printed.lines)
    is_load = printed.text.startswith("Execute_load_query")
    assert printed.text.replace("Execute_load_query", "Query").startswith(
        f"Query\tthread_id={event.thread_id}\texec_time={event.execution_seconds}\terror_code={event.error_code}"
    ), (event, printed.text)
    status = event.status
    if printed_mode := re.search(r"sql_mode=(\d+)", text):
        assert status.sql_mode == int(printed_mode[1])
    if charset := re.search(r"character_set_client=(\w+),.*collation_connection=(\w+),.*collation_server=(\w+)", text):
        found = status.charset_client, status.collation_connection, status.collation_server
        if charset[1].isdigit():
            assert found == tuple(map(int, charset.groups()))
    if zone := re.search(r"time_zone='([^']*)'", text):
        assert status.time_zone == zone[1]
    if micros := re.search(r"SET TIMESTAMP=\d+\.(\d{6})", text):
        assert status.microseconds == int(micros[1])
    if collation := re.search(r"default_collation_for_utf8mb4=(\d+)", text):
        assert status.default_collation_for_utf8mb4 == int(collation[1])
    sql = event.sql.decode("utf-8", "surrogateescape").rstrip("\0")
    return sql.strip() in text or (is_load and sql.startswith("LOAD DATA"))  # the tools name another file


def agree_gtid(event: GtidEvent | AnonymousGtidEvent, printed: Dumped) -> bool:
    text = "\n".join([printed.text, *printed.lines])
    wanted = event.text if isinstance(event, GtidEvent) else "ANONYMOUS"
    assert f"SET @@SESSION.GTID_NEXT= '{wanted}'" in text
    clock = re.search(r"last_committed=(\d+)\tsequence_number=(\d+)\trbr_only=(\w+)", text)
    assert clock is not None
    assert (event.last_committed or 0, event.sequence_number or 0) == (int(clock[1]), int(clock[2]))
    assert event.may_have_statements == (clock[3] == "no")
    times = re.search(r"original_committed_timestamp=(\d+)\timmediate_commit_timestamp=(\d+)", text)
    assert times is not None
    return (event.original_commit_us or 0, event.immediate_commit_us or 0) == (int(times[1]), int(times[2]))


def agree_previous_gtids(event: PreviousGtidsEvent, printed: Dumped) -> bool:
    lines = [line for line in printed.lines if line.startswith("# ") and not line.startswith("# at ")]
    return printed.text == "Previous-GTIDs" and (event.text or "[empty]") == "".join(lines)[2:].replace("# ", "")


def agree_gtid_list(event: MariadbGtidListEvent, printed: Dumped) -> bool:
    text = "\n".join([printed.text, *printed.lines])
    return all(f"{domain}-{server}-{sequence}" in text for domain, server, sequence in event.gtids)


def agree_rows(event: RowsEvent, printed: Dumped) -> bool:
    name = {RowsKind.WRITE: "Write", RowsKind.UPDATE: "Update", RowsKind.DELETE: "Delete"}[event.kind]
    flags = " flags: STMT_END_F" if event.ends_statement else ""
    partial = "_partial" if event.is_partial else ""
    return printed.text.startswith(f"{name}_rows{partial}: table id {event.table_id}{flags}")


# Events of our own making


TABLE = table_of(
    Column("id", "bigint", unsigned=True, nullable=False),
    Column("n", "int"),
    text_column("name", charset="gbk", length=10),
    text_column("note", "text"),
    Column("price", "decimal", precision=10, scale=2),
    name="订单",
    keys=(Key("PRIMARY", ("id",), True),),
)
SID = "3e11fa47-71ca-11e1-9e33-c80aa9429562"
PREVIOUS = PreviousGtidsEvent(
    (SidIntervals(bytes.fromhex(SID.replace("-", "")), "", (Interval(1, 5), Interval(9, 9))),)
)


def golden() -> list[tuple[bytes, Event]]:
    encoder = EventEncoder(server_id=7, checksum=Checksum.NONE)
    status = QueryStatus(0, 1168113696, 33, 33, 8, "+08:00", 28, 999999, True, 255)
    row = [1, None, "订", "x", "1.50"]
    return [
        (encoder.previous_gtids(5, PREVIOUS), PREVIOUS),
        (
            encoder.gtid(5, SID, 6, commit_us=1700000000123456),
            GtidEvent(PREVIOUS.sets[0].sid, 6, "", False, 0, 1, 1700000000123456, 1700000000123456),
        ),
        (encoder.anonymous_gtid(5), AnonymousGtidEvent(False, 0, 1, 5_000_000, 5_000_000)),
        (
            encoder.query(5, "CREATE TABLE t (a int)", database="库", thread_id=3, status=status),
            QueryEvent(3, 0, 0, status, "库", b"CREATE TABLE t (a int)"),
        ),
        (encoder.xid(5, 2**63), XidEvent(2**63)),
        (encoder.artificial_rotate("binlog.000009", 2**33), RotateEvent("binlog.000009", 2**33)),
        (encoder.heartbeat("binlog.000009"), HeartbeatEvent("binlog.000009", 0)),
        (
            encoder.write_rows(5, TABLE, 2**33, [row]),
            RowsEvent(RowsKind.WRITE, 2**33, 1, 5, b"\x1f", b"\x1f", b"", 30, 30),
        ),
    ]


@pytest.mark.parametrize("raw_and_event", golden(), ids=lambda pair: type(pair[1]).__name__)
def test_events_read_back(raw_and_event: tuple[bytes, Event]) -> None:
    raw, wanted = raw_and_event
    _, event = EventDecoder().decode(raw)
    if isinstance(event, RowsEvent):
        assert isinstance(wanted, RowsEvent)
        assert event.data is raw
        event = event._replace(data=b"", rows_start=wanted.rows_start, rows_end=wanted.rows_end)
    assert event == wanted


GOLDEN_BYTES = {
    EventType.XID: ("05000000100700000 01b000000 1b000000 0000 0100000000000000", XidEvent(1)),
    EventType.ROTATE: (
        "05000000040700000 01d000000 1d000000 2000 0400000000000000 6162",
        RotateEvent("ab", 4),
    ),
    EventType.QUERY: (
        "05000000020700000 02f000000 2f000000 0000 03000000 02000000 01 0000 0500 00 04000000 64 00 424547494e",
        QueryEvent(3, 2, 0, QueryStatus(flags2=4), "d", b"BEGIN"),
    ),
    EventType.WRITE_ROWS_V1: (
        "05000000170700000 023000000 23000000 0000 090000000000 0100 02 03 00 01000000",
        RowsEvent(RowsKind.WRITE, 9, 1, 2, b"\x03", b"\x03", b"", 29, 34),
    ),
    EventType.UPDATE_ROWS: (
        "050000001f0700000 029000000 29000000 0000 090000000000 0000 0300ff 01 01 01 00 07000000 01",
        RowsEvent(RowsKind.UPDATE, 9, 0, 1, b"\x01", b"\x01", b"", 33, 39),
    ),
    EventType.MARIADB_GTID: (
        "05000000a20700000 026000000 26000000 0000 0a00000000000000 02000000 04 000000000000",
        MariadbGtidEvent(2, 7, 10, 4),
    ),
    EventType.MARIADB_GTID_LIST: (
        "05000000a30700000 027000000 27000000 0000 01000000 02000000 07000000 0a00000000000000",
        MariadbGtidListEvent(((2, 7, 10),)),
    ),
    EventType.HEARTBEAT_V2: (
        "05000000290700000 01e000000 00000000 0000 01 02 6162 02 03 fc0102 00",
        HeartbeatEvent("ab", 0x0201),
    ),
}


def golden_raw(digits: str) -> bytes:
    raw = bytearray(bytes.fromhex(digits.replace(" ", "")))
    struct.pack_into("<I", raw, 9, len(raw))
    return bytes(raw)


@pytest.mark.parametrize("event_type", GOLDEN_BYTES, ids=lambda event_type: event_type.name)
def test_golden_bytes(event_type: EventType) -> None:
    digits, wanted = GOLDEN_BYTES[event_type]
    raw = golden_raw(digits)
    header, event = EventDecoder().decode(raw)
    assert (header.timestamp, header.type_code, header.server_id) == (5, event_type, 7)
    if isinstance(event, RowsEvent):
        assert isinstance(wanted, RowsEvent)
        wanted = wanted._replace(data=raw, rows_end=len(raw), rows_start=event.rows_start)
    assert event == wanted


def without_header(raw: bytes, size: int) -> bytes:
    """The event cut to `size` bytes of body, its header saying so."""
    cut = bytearray(raw[: HEADER_BYTES + size])
    struct.pack_into("<I", cut, 9, len(cut))
    return bytes(cut)


@pytest.mark.parametrize("raw", [raw for raw, _ in golden()] + [golden_raw(row[0]) for row in GOLDEN_BYTES.values()])
def test_cut_events_are_refused_whole_or_read_to_their_end(raw: bytes) -> None:
    for size in range(len(raw)):
        with pytest.raises(MalformedEvent):
            EventDecoder().decode(raw[:size])
    fixed = {EventType.ROTATE: 8, EventType.HEARTBEAT: 0, EventType.QUERY: 13}
    needed = fixed.get(EventType(raw[4]))
    refused = 0
    for size in range(len(raw) - HEADER_BYTES):
        try:
            EventDecoder().decode(without_header(raw, size))
        except MalformedEvent:
            refused += 1
    assert refused or needed == 0


def decoded(raw: bytes, checksum: Checksum = Checksum.NONE) -> Event | CaptureError | None:
    """The event, or the error it is refused with."""
    try:
        return EventDecoder(checksum).decode(raw)[1]
    except CaptureError as error:
        return error


def test_every_prefix_of_a_table_map_is_refused_or_lacks_whole_optional_fields() -> None:
    raw = EventEncoder(checksum=Checksum.NONE).table_map(5, TABLE, 2)
    whole = decoded(raw)
    assert isinstance(whole, TableMapEvent)
    for size in range(len(raw) - HEADER_BYTES):
        event = decoded(without_header(raw, size))
        if isinstance(event, CaptureError):
            assert isinstance(event, MalformedEvent) or "no column metadata" in str(event)
            continue
        assert isinstance(event, TableMapEvent)
        assert event.column_types == whole.column_types
        assert event.optional != whole.optional, "only whole fields of the optional metadata may be missing"


@given(
    event_type=st.sampled_from([row.type for row in EVENT_TYPES.values()]),
    body=st.binary(max_size=200),
    checksum=st.sampled_from(Checksum),
)
def test_strange_bodies_raise_nothing_but_capture_errors(
    event_type: EventType, body: bytes, checksum: Checksum
) -> None:
    raw = struct.pack("<IBIIIH", 0, event_type, 1, HEADER_BYTES + len(body), 0, 0) + body
    event = decoded(raw, checksum)
    if isinstance(event, CaptureError):
        assert re.fullmatch(r"[^\n]+", str(event))


@given(position=st.integers(0, 10_000), bit=st.integers(0, 7), choice=st.integers(0, 3))
def test_a_flipped_bit_fails_the_checksum(position: int, bit: int, choice: int) -> None:
    encoder = EventEncoder()
    raws = [
        encoder.xid(5, 1),
        encoder.query(5, "BEGIN", thread_id=1),
        encoder.table_map(5, TABLE, 2),
        encoder.write_rows(5, TABLE, 2, [[1, 2, "a", "b", "3"]]),
    ]
    raw = bytearray(raws[choice])
    at = position % len(raw)
    raw[at] ^= 1 << bit
    if at == 4:
        return
    with pytest.raises(MalformedEvent):
        EventDecoder(Checksum.CRC32).decode(bytes(raw))


def test_the_same_begin_is_kept_and_no_long_statement_that_ends_like_one() -> None:
    encoder, decoder = EventEncoder(), EventDecoder(Checksum.CRC32)
    begins = [decoder.decode(encoder.query(seconds, "BEGIN", thread_id=1))[1] for seconds in (5, 6)]
    assert begins[0] is begins[1]
    sql = "DROP TABLE t -- " + "x" * 2000 + "\0BEGIN"
    first, second = (decoder.decode(encoder.query(5, sql, thread_id=1))[1] for _ in range(2))
    assert isinstance(first, QueryEvent)
    assert first.sql == sql.encode()
    assert first == second
    assert first is not second


def test_a_format_description_that_is_in_use_has_the_checksum_of_one_that_is_not() -> None:
    raw = bytearray(EventEncoder().format_description(5))
    raw[17] |= 1
    decoder = EventDecoder()
    header, event = decoder.decode(bytes(raw))
    assert header.flags == 1
    assert isinstance(event, FormatDescriptionEvent)
    assert decoder.checksum is Checksum.CRC32
    raw[30] ^= 1
    with pytest.raises(MalformedEvent, match="CRC-32"):
        EventDecoder().decode(bytes(raw))


@pytest.mark.parametrize(
    ("server_version", "checksum"),
    [("8.0.36", Checksum.CRC32), ("8.0.36", Checksum.NONE), ("5.6.24-log", Checksum.CRC32)],
)
def test_the_format_description_sets_the_checksum_of_what_follows(server_version: str, checksum: Checksum) -> None:
    encoder = EventEncoder(server_version=server_version, checksum=checksum)
    decoder = EventDecoder(Checksum.CRC32 if checksum is Checksum.NONE else Checksum.NONE)
    _, event = decoder.decode(encoder.format_description(5))
    assert isinstance(event, FormatDescriptionEvent)
    assert (event.server_version, event.checksum, event.is_mariadb) == (server_version, checksum, False)
    assert decoder.decode(encoder.xid(5, 77))[1] == XidEvent(77)


def test_unknown_checksum_algorithms_are_refused() -> None:
    raw = bytearray(EventEncoder(checksum=Checksum.NONE).format_description(5))
    raw[-5] = 9
    with pytest.raises(UnsupportedEvent, match="checksum algorithm 9"):
        EventDecoder().decode(bytes(raw))


def test_unknown_event_types_are_refused_unless_marked_ignorable() -> None:
    def event(flags: int) -> bytes:
        return struct.pack("<IBIIIH", 0, 99, 1, HEADER_BYTES, 500, flags)

    assert EventDecoder().decode(event(LOG_EVENT_IGNORABLE_FLAG))[1] is None
    with pytest.raises(UnsupportedEvent, match=r"an event of type 99, which is not known; .* \(event ends at 500\)"):
        EventDecoder().decode(event(0))


@pytest.mark.parametrize("flag", [64, 128])
def test_mariadbs_gtid_names_the_xa_transaction(flag: int) -> None:
    digits = (
        f"05000000a20700000 000000000 2f000000 0000 0a00000000000000 02000000 {4 | flag:02x} 07000000 03 01 6f6e6562 02"
    )
    _, event = EventDecoder().decode(golden_raw(digits))
    assert isinstance(event, MariadbGtidEvent)
    assert event.xid == Xid(7, b"one", b"b")
    assert event.alters_nothing


def test_an_encrypted_log_of_mariadb_is_read_from_its_server_and_refused_as_a_file() -> None:
    """The event as MariaDB 10.11 writes it with encrypt_binlog, and as it sends it."""

    def event(flags: int) -> bytes:
        return struct.pack("<IBIIIH", 0, EventType.MARIADB_START_ENCRYPTION, 1, HEADER_BYTES + 17, 296, flags) + bytes(
            17
        )

    assert EventDecoder().decode(event(LOG_EVENT_IGNORABLE_FLAG))[1] is None
    with pytest.raises(UnsupportedEvent, match="is encrypted by MariaDB; read it from the running server instead"):
        EventDecoder().decode(event(0))


def test_every_event_type_that_may_change_rows_is_decoded_or_refused() -> None:
    for event_type in EventType:
        row = EVENT_TYPES[event_type]
        assert row.type is event_type
        assert not (row.may_change_rows and row.handling is Handling.SKIPPED)
        assert (row.handling is Handling.DECODED) == (not row.reason)


def test_the_same_table_map_is_the_same_object() -> None:
    encoder, decoder = EventEncoder(), EventDecoder(Checksum.CRC32)
    first, second, other = (decoder.decode(encoder.table_map(5, TABLE, number))[1] for number in (2, 2, 3))
    assert first is second
    assert first is not other


def test_files_are_cut_into_events_and_what_is_no_binlog_is_refused() -> None:
    encoder = EventEncoder()
    raws = [encoder.format_description(5), encoder.xid(5, 1)]
    data = BINLOG_MAGIC + b"".join(raws)
    assert list(iter_events(data)) == raws
    assert list(iter_events(data, start=4 + len(raws[0]))) == raws[1:]
    for size in range(5, len(data)):
        if size != 4 + len(raws[0]):
            with pytest.raises(MalformedEvent, match=f"The binlog file ends at {size}"):
                list(iter_events(data[:size]))
    with pytest.raises(MalformedEvent, match=r"starts with 50 4b 03 04, a binlog starts with fe 62 69 6e$"):
        list(iter_events(b"PK\x03\x04"))
    with pytest.raises(MalformedEvent, match="starts with nothing"):
        list(iter_events(b""))
    with pytest.raises(MalformedEvent, match="says it has 0 bytes"):
        list(iter_events(BINLOG_MAGIC + bytes(30)))


def test_the_checksum_is_that_of_zlib() -> None:
    raw = EventEncoder().xid(5, 1)
    assert struct.unpack("<I", raw[-4:])[0] == zlib.crc32(raw[:-4])


def test_a_gtid_number_that_positions_cannot_keep() -> None:
    largest = struct.pack("<QIB", (1 << 63) - 1, 2, 0)
    assert decode_mariadb_gtid(largest, 7).sequence == (1 << 63) - 1
    with pytest.raises(UnsupportedEvent, match="the GTID 2-7-9223372036854775808 has a number of more than 63 bits"):
        decode_mariadb_gtid(struct.pack("<QIB", 1 << 63, 2, 0), 7)


def test_a_column_whose_name_is_no_text() -> None:
    """A record with such a name could be read by nobody."""
    encoder = EventEncoder(checksum=Checksum.NONE, row_metadata=RowMetadata.FULL)
    columns = (Column("idy", "int", nullable=False),)
    raw = encoder.table_map(5, TableVersion.of("d", "t", columns, (), "latin1", "latin1_swedish_ci"), 2)
    assert b"\x03idy" in raw
    with pytest.raises(MalformedEvent, match="is cut short or damaged"):
        EventDecoder().decode(raw.replace(b"\x03idy", b"\x03id\xfe"))
