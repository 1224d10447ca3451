"""One record beside what it came from: the events in the source's binlog, the table's definition then, and the proof.

The events are read again from the source, by the positions that the record carries: of a row's statement from its first
TABLE_MAP (safeSourcePosition) to the end of its rows event (sourcePosition), of a compressed transaction the one event
that holds it all. The rows of that event are made into records again, and the record is the one of them with the same
bytes, ids apart: so what is shown is what it was made of, or it is said that nothing of it is. Nothing is written.

Left to others: where records, definitions and file names come from and how all this is shown (`broker/explain.py`),
what the parts of an event are (`capture/dissect.py`, `capture/row_parts.py`).
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from msgspec import Struct

from capture.dialect import Dialect
from capture.dissect import Part, dissect, event_name
from capture.envelope import RecordHead
from capture.errors import NEW_CHANNEL, CaptureError, SchemaMismatch, SourceRefused
from capture.event_types import EventType
from capture.events import (
    Checksum,
    EventDecoder,
    HeartbeatEvent,
    QueryEvent,
    RotateEvent,
    RowsEvent,
    TableMapEvent,
    TransactionPayloadEvent,
)
from capture.partial_rows import plain_update
from capture.payload import events_in
from capture.position import BINLOG_MAGIC_BYTES, BinlogPosition, file_name
from capture.row_parts import RowParts
from capture.schema import SchemaHistory
from capture.start import binlog_files
from capture.transcoder import Transcoder

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from capture.events import Event, EventHeader
    from capture.position import SourceSnapshot
    from capture.source import ServerInfo, Source
    from capture.table import TableVersion
    from storage.catalog import SchemaVersionRow

READ_TIMEOUT_S: Final = 30
"""For one piece of the binlog; a source that has nothing there sends heartbeats, or nothing."""
ROWS: Final = frozenset({"INSERT", "UPDATE", "DELETE"})
_CONTEXT: Final = frozenset({EventType.ROWS_QUERY, EventType.MARIADB_ANNOTATE_ROWS})


class Definition(NamedTuple):
    """The table's definition that a record was made with, since when it holds, and the statement that made it."""

    table: TableVersion
    since: str
    statement: str | None


class ShownEvent(Struct, frozen=True):
    """An event of the source, taken apart. `data` is what the parts' places count in: the event, or what it holds
    uncompressed; `place` is where it stands in the binlog.
    """

    name: str
    place: str
    data: bytes
    parts: Sequence[Part]
    note: str = ""


class Explanation(Struct):
    """What is known of a record. `missing` says why there are no events, `verdict` what their comparison came to."""

    origin: str
    position: str
    definition: Definition | None = None
    events: list[ShownEvent] = []
    missing: str | None = None
    verdict: str | None = None


class _Found(NamedTuple):
    """An event between the two positions, decoded, and the decoder as it was then."""

    raw: bytes
    header: EventHeader
    event: Event | None
    start: int
    end: int


_ORIGINS: Final = {
    "INSERT": "a row of a rows event",
    "UPDATE": "two images, before and after, of a rows event",
    "DELETE": "a row of a rows event",
    "DDL": "a statement that changes definitions: its Query event",
    "BEGIN": "the start of a transaction: the Query event BEGIN, of MariaDB the GTID event",
    "COMMIT": "the end of a transaction: its XID event, or the Query event COMMIT",
    "HEARTBEAT": "no event: the source was heard, and up to this position nothing is missing",
}


async def explain(
    source: Source,
    server: SourceSnapshot,
    record: dict[str, Any],
    value: bytes,
    before: int | None,
    rows: Sequence[SchemaVersionRow],
) -> Explanation:
    """Explain a record, decoded and as bytes.

    `server` is the one it was captured from; `before` a boundary in the same file before the record, None if none is
    known; `rows` the definitions of its table and of its database, oldest first.
    """
    operation = record["operation"]
    end = _position(record["sourcePosition"], server.base)
    found = Explanation(_ORIGINS[operation], str(end))
    try:
        found.definition = definition(record, rows) if operation in ROWS else None
    except CaptureError as error:
        found.verdict = str(error)
    if operation == "HEARTBEAT":
        return found
    at_statement = operation in ROWS
    begin = (
        _position(record["safeSourcePosition"], server.base) if at_statement else end.at(before or BINLOG_MAGIC_BYTES)
    )
    hosts = source.hosts()
    try:
        home, info = await _home(source, hosts, server)
        await _require_file(home, info, begin)
        await _read(home, info, begin, end, record, value, found)
    except CaptureError as error:
        # What is gone stops nobody here: the record stands, and so does its channel.
        found.missing = str(error).partition(f"; {NEW_CHANNEL}")[0]
    except TimeoutError:
        found.missing = f"{source.address} sent nothing of {end.file} for {READ_TIMEOUT_S} s"
    finally:
        for host in hosts:
            await host.close()
    return found


async def _home(source: Source, hosts: Sequence[Source], server: SourceSnapshot) -> tuple[Source, ServerInfo]:
    """The host that is the server, connected. Raises CaptureError: positions mean something there and nowhere else."""
    failure: CaptureError | None = None
    for host in hosts:
        try:
            info = await host.connect()
        except CaptureError as error:
            failure = error
            continue
        is_same = info.server_uuid == server.server_uuid and info.flavour == server.flavour
        if is_same and (info.server_uuid is not None or info.server_id == server.server_id):
            return host, info
        failure = failure or SourceRefused(
            f"{source.address} is another server than the one this record was captured from"
        )
    assert failure is not None
    raise failure


async def _require_file(source: Source, info: ServerInfo, position: BinlogPosition) -> None:
    files = await binlog_files(source) if source.queryable else info.files
    if files and position.file not in {file.name for file in files}:
        raise SourceRefused(
            f"the binlog file {position.file} is no longer on {source.address}, which has {files[0].name} to "
            f"{files[-1].name}: the record stands, the bytes it was made of are gone"
        )


def _position(text: str, base: str) -> BinlogPosition:
    position, _, number = text.partition("@")
    return BinlogPosition(file_name(base, int(number)), int(position))


# ---- definitions ----


def definition(record: dict[str, Any], rows: Sequence[SchemaVersionRow]) -> Definition | None:
    """The definition with the record's own metaVersion; None if it is not kept. Raises CaptureError."""
    wanted = record["tags"].get("metaVersion")
    position, _, number = record["safeSourcePosition"].partition("@")
    here = int(number), int(position)
    for row in reversed([row for row in rows if row.table and row.definition is not None]):
        if (row.file_number, row.position) > here:
            continue
        upto = row.file_number, row.position
        history = SchemaHistory(Dialect.of(record["source"]["version"]), lambda database, table: True)
        history.restore(rows, upto)
        try:
            version = history.table_at(row.database, row.table, upto)
        except SchemaMismatch:
            continue
        if str(version.meta_version) == wanted:
            return Definition(version, f"{row.position}@{row.file_number}", _statement(row))
    return None


def _statement(row: SchemaVersionRow) -> str | None:
    """The statement that made a definition; a snapshot's is what the server showed."""
    is_shown = row.definition is not None and "show_create" in json.loads(row.definition)
    return "SHOW CREATE TABLE, as the source answered for that position" if is_shown else row.ddl


# ---- events ----


async def _read(
    source: Source,
    info: ServerInfo,
    begin: BinlogPosition,
    end: BinlogPosition,
    record: dict[str, Any],
    value: bytes,
    found: Explanation,
) -> None:
    """Read the record's events from the source. Raises CaptureError, TimeoutError."""
    decoder = EventDecoder(Checksum.CRC32 if info.has_checksums else Checksum.NONE)
    table_maps: dict[int, _Found] = {}
    context: list[_Found] = []
    async for one in _events(source, decoder, begin, end):
        if isinstance(one.event, TableMapEvent):
            table_maps[one.event.table_id] = one
        elif one.header.type_code in _CONTEXT:
            context = [one]
        if one.end != end.position:
            continue
        if isinstance(one.event, RowsEvent):
            table_map = table_maps.get(one.event.table_id)
            shown = [*context, *([] if table_map is None else [table_map])]
            found.events += [_shown(each, decoder, end.file) for each in shown]
            found.events.append(_shown_rows(one, table_map, decoder, end.file, record, value, found))
        else:
            found.events.append(_shown(one, decoder, end.file))
            if isinstance(one.event, TransactionPayloadEvent):
                await _look_into(one.event, decoder, record, value, found)
            elif record["operation"] in ROWS and isinstance(one.event, QueryEvent):
                found.verdict = "none here: its row was logged at XA PREPARE, kept, and published at this statement"
        return
    found.missing = f"no event of {source.address} ends at {end}"


async def _events(
    source: Source, decoder: EventDecoder, begin: BinlogPosition, end: BinlogPosition
) -> AsyncIterator[_Found]:
    """The events of one file between two positions."""
    await source.start(begin)
    reached = begin.position
    while True:
        async with asyncio.timeout(READ_TIMEOUT_S):
            events = await source.read()
        if not events:
            return
        for raw in events:
            header, event = decoder.decode(raw)
            if isinstance(event, HeartbeatEvent):
                if event.file == end.file and event.position < end.position and event.position <= reached:
                    return
                continue
            if isinstance(event, RotateEvent) and not header.is_artificial:
                return
            if isinstance(event, RotateEvent) and event.file != end.file:
                return
            if header.is_artificial or header.end_position == 0:
                continue
            reached += header.size_bytes if header.type_code != EventType.FORMAT_DESCRIPTION else 0
            reached = (reached & ~0xFFFFFFFF) | header.end_position
            if reached > end.position:
                return
            yield _Found(raw, header, event, reached - header.size_bytes, reached)


def _shown(one: _Found, decoder: EventDecoder, file: str) -> ShownEvent:
    return ShownEvent(
        event_name(one.header.type_code),
        f"{file}:{one.start}",
        one.raw,
        dissect(one.raw, one.header, one.event, decoder),
    )


async def _look_into(
    payload: TransactionPayloadEvent, outer: EventDecoder, record: dict[str, Any], value: bytes, found: Explanation
) -> None:
    """The events inside a compressed transaction that a record came from."""
    decoder = EventDecoder(Checksum.NONE)
    decoder.format, decoder.table_id_bytes = outer.format, outer.table_id_bytes
    table_maps: dict[int, _Found] = {}
    at = 0
    for raw in events_in(payload):
        if raw is None:
            await asyncio.sleep(0)
            continue
        header, event = decoder.decode(raw)
        one = _Found(raw, header, event, at, at := at + len(raw))
        if isinstance(event, TableMapEvent):
            table_maps[event.table_id] = one
        if not _is_origin(event, header, record):
            continue
        if not isinstance(event, RowsEvent):
            found.events.append(_inside(_shown(one, decoder, ""), one))
            return
        table_map = table_maps.get(event.table_id)
        if found.definition is None or table_map is None or _row_number(event, table_map, record, value, found) is None:
            continue
        found.events.append(_inside(_shown(table_map, decoder, ""), table_map))
        rows = _shown_rows(one, table_map, decoder, "", record, value, found)
        found.events.append(_inside(rows, one))
        return
    found.verdict = found.verdict or "nothing inside this transaction makes this record"


def _inside(shown: ShownEvent, one: _Found) -> ShownEvent:
    return ShownEvent(
        shown.name, f"byte {one.start:,} of the payload, uncompressed", shown.data, shown.parts, shown.note
    )


def _is_origin(event: Event | None, header: EventHeader, record: dict[str, Any]) -> bool:
    operation = record["operation"]
    if operation in ROWS:
        return isinstance(event, RowsEvent)
    if operation == "BEGIN":
        return isinstance(event, QueryEvent)
    return header.type_code == EventType.XID or (isinstance(event, QueryEvent) and event.sql == b"COMMIT")


# ---- rows ----


def _shown_rows(
    one: _Found,
    table_map: _Found | None,
    decoder: EventDecoder,
    file: str,
    record: dict[str, Any],
    value: bytes,
    found: Explanation,
) -> ShownEvent:
    """A rows event, the record's row of it taken apart if it can be told."""
    shown = _shown(one, decoder, file)
    event = one.event
    assert isinstance(event, RowsEvent)
    if found.definition is None or table_map is None:
        found.verdict = found.verdict or "the definition of the table at that position is not kept any more"
        return shown
    number = _row_number(event, table_map, record, value, found)
    if number is None:
        return shown
    announced = table_map.event
    assert isinstance(announced, TableMapEvent)
    plain = plain_update(event, announced) if event.is_partial else event
    row = RowParts(found.definition.table, announced).row(plain, number)
    if plain.data is one.raw:
        parts = [part for part in shown.parts if part.image != "all"]
        at = next(index for index, part in enumerate(shown.parts) if part.image == "all")
        return ShownEvent(shown.name, shown.place, shown.data, [*parts[:at], *row, *parts[at:]])
    note = "the images as they are with their differences applied" if event.is_partial else "the images uncompressed"
    found.events.append(shown)
    return ShownEvent(shown.name, shown.place, plain.data, row, note)


def _row_number(
    event: RowsEvent, table_map: _Found, record: dict[str, Any], value: bytes, found: Explanation
) -> int | None:
    """Which row of the event the record is, by making the records of all its rows again."""
    assert found.definition is not None
    announced = table_map.event
    assert isinstance(announced, TableMapEvent)
    table = found.definition.table
    if (announced.database, announced.table) != (table.database, table.table):
        return None
    tags = record["tags"]
    thread_id = tags.get("thread_id")
    head = RecordHead(
        record["sourceTimestamp"],
        record["sourcePosition"],
        record["safeSourcePosition"],
        None if thread_id is None else int(thread_id),
        int(tags["server_id"]),
        int(tags["readerThroughoutTime"]),
    )
    try:
        transcoder = Transcoder(table, announced, record["source"]["version"], partial_images=True)
        made = transcoder.transcode(event, head, 0)
    except CaptureError as error:
        found.verdict = str(error)
        return None
    wanted = _without_id(value)
    for number, candidate in enumerate(made):
        if _without_id(candidate) == wanted:
            found.verdict = f"row {number + 1:,} of {len(made):,}: these bytes make this record again, byte for byte"
            return number
    found.verdict = "none of the rows of this event makes this record again: it is not what was captured from here"
    return None


def _without_id(value: bytes) -> bytes:
    """A record without its second field, a variable-length number: the id is the log's, not the source's."""
    at = 1
    while value[at] & 0x80:
        at += 1
    return value[:1] + value[at + 1 :]
