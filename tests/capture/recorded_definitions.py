"""Definitions of tables that a recorded binlog has rows of and no CREATE for, made of its table maps.

A table map tells types, lengths and nullability; names, signs, charsets, labels and the primary key only where its
server sends them. What it does not tell is chosen so that values can be compared with what the servers' own tools
print: columns are called c1 …, numbers are signed, bytes are latin1 or BLOB, and a label is its number: member 7 of an
ENUM, bit 7 of a SET.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from capture.charsets import Charsets, charsets, decode_text
from capture.dialect import Dialect
from capture.errors import CaptureError
from capture.events import Checksum, EventDecoder, FormatDescriptionEvent, QueryEvent, TableMapEvent, iter_events
from capture.payload import TransactionPayloadEvent, events_in
from capture.position import BINLOG_MAGIC_BYTES, GtidSet, ResumePoint
from capture.schema import SchemaHistory
from capture.table_map import FieldType, string_real_type

if TYPE_CHECKING:
    from collections.abc import Iterator

    from capture.source import ServerInfo
    from tests.capture.world import World

_F = FieldType
_BINARY, _LATIN1 = 63, 8
_PLAIN = {
    _F.TINY: "tinyint",
    _F.SHORT: "smallint",
    _F.INT24: "mediumint",
    _F.LONG: "int",
    _F.LONGLONG: "bigint",
    _F.FLOAT: "float",
    _F.DOUBLE: "double",
    _F.DATE: "date",
    _F.YEAR: "year",
    _F.TIMESTAMP: "timestamp",
    _F.DATETIME: "datetime",
    _F.TIME: "time",
    _F.JSON: "json",
    _F.GEOMETRY: "geometry",
    _F.VECTOR: "vector(2048)",
}
_FRACTIONAL = {_F.TIMESTAMP2: "timestamp", _F.DATETIME2: "datetime", _F.TIME2: "time"}
_NUMBERS = frozenset({_F.TINY, _F.SHORT, _F.INT24, _F.LONG, _F.LONGLONG, _F.FLOAT, _F.DOUBLE, _F.NEWDECIMAL})
_BLOB_SIZES = ("", "tiny", "", "medium", "long")


def show_create(table_map: TableMapEvent, known: Charsets) -> str:
    """What SHOW CREATE TABLE would say, as far as the table map tells it."""
    columns = [_column(table_map, index, known) for index in range(table_map.column_count)]
    if table_map.optional.primary_key:
        names = [_name(table_map, part.column_index) for part in table_map.optional.primary_key]
        columns.append(f"PRIMARY KEY ({', '.join(names)})")
    return f"CREATE TABLE `{table_map.table}` ({', '.join(columns)}) ENGINE=InnoDB DEFAULT CHARSET=latin1"


def _name(table_map: TableMapEvent, index: int) -> str:
    names = table_map.optional.names
    return f"`{names[index] if names is not None else f'c{index + 1}'}`"


def _column(table_map: TableMapEvent, index: int, known: Charsets) -> str:
    unsigned = (table_map.optional.unsigned or {index: False})[index]
    words = [_name(table_map, index), _type(table_map, index, known)]
    if unsigned and table_map.column_types[index] in _NUMBERS:
        words.append("unsigned")
    collations = table_map.optional.collations
    collation = known.collation_by_id(collations[index] or _BINARY) if collations is not None else None
    if collation is not None and collation.id != _BINARY:
        words.append(f"CHARACTER SET {collation.charset} COLLATE {collation.name}")
    words.append("NULL" if table_map.nullable[index] else "NOT NULL")
    visible = table_map.optional.visible
    if visible is not None and not visible[index]:
        words.append("/*!80023 INVISIBLE */")
    return " ".join(words)


def _type(table_map: TableMapEvent, index: int, known: Charsets) -> str:
    code, metadata = FieldType(table_map.column_types[index]), table_map.column_metadata[index]
    collations = table_map.optional.collations
    collation_id = collations[index] if collations is not None else None
    width = _width(collation_id, known)
    if code in _PLAIN:
        return _PLAIN[code]
    if code in _FRACTIONAL:
        return f"{_FRACTIONAL[code]}({metadata})"
    if code == _F.NEWDECIMAL:
        return f"decimal({metadata >> 8},{metadata & 0xFF})"
    if code == _F.BIT:
        return f"bit({(metadata & 0xFF) * 8 + (metadata >> 8)})"
    if code == _F.VARCHAR:
        return f"varbinary({metadata})" if collation_id == _BINARY else f"varchar({metadata // width})"
    if code == _F.STRING:
        _, size = string_real_type(metadata)
        return f"binary({size})" if collation_id == _BINARY else f"char({size // width})"
    if code == _F.BLOB:
        return _BLOB_SIZES[metadata] + ("blob" if collation_id in (None, _BINARY) else "text")
    assert code in (_F.ENUM, _F.SET), code
    return f"{code.name}({', '.join(_labels(table_map, index))})"


def _labels(table_map: TableMapEvent, index: int) -> Iterator[str]:
    sent = table_map.optional.labels
    if sent is not None and sent[index] is not None:
        collations = table_map.optional.collations or {index: None}
        for label in sent[index] or ():
            yield "'" + decode_text(label, collations[index] or _BINARY).replace("'", "''") + "'"
        return
    size = table_map.column_metadata[index]
    count = size * 8 if table_map.column_types[index] == _F.SET else 255 + (size > 1)
    for number in range(1, count + 1):
        yield f"'{number}'"


def _width(collation_id: int | None, known: Charsets) -> int:
    collation = None if collation_id is None else known.collation_by_id(collation_id)
    return 1 if collation is None else known.bytes_per_character_max(collation.charset)


# ---- of a whole file ----


class Before(NamedTuple):
    """What there was before a file: (name, SHOW CREATE) of databases, (database, SHOW CREATE TABLE) of tables."""

    databases: list[tuple[str, str]]
    tables: list[tuple[str, str]]


def before(data: bytes) -> Before:
    """What a file is about and does not create itself, read as far as its events can be.

    Databases have the charset of the server, which the first statement's session tells.
    """
    found, databases = dict[tuple[str, str], str](), set[str]()
    history: SchemaHistory | None = None
    collation = None
    for event in _events(data):
        if isinstance(event, FormatDescriptionEvent):
            history = history or SchemaHistory(Dialect.of(event.server_version), lambda *_: True)
        elif isinstance(event, QueryEvent) and history is not None:
            databases.add(event.database)
            collation = collation or event.status.collation_server
            _follow(history, event)
        elif isinstance(event, TableMapEvent) and history is not None:
            databases.add(event.database)
            key = event.database, event.table
            if history.state(*key) is None and key not in found:
                found[key] = show_create(event, charsets(history.dialect))
    known = charsets(history.dialect) if history is not None else None
    server = known.collation_by_id(collation or _LATIN1) if known is not None else None
    charset = f" DEFAULT CHARACTER SET {server.charset} COLLATE {server.name}" if server is not None else ""
    return Before(
        [(name, f"CREATE DATABASE `{name}`{charset}") for name in sorted(databases - {""})],
        [(database, text) for (database, _), text in found.items()],
    )


def _events(data: bytes) -> Iterator[object]:
    """The events that can be read, those of compressed transactions included."""
    decoder, inner = EventDecoder(), EventDecoder(Checksum.NONE)
    with suppress(CaptureError):
        for raw in iter_events(data):
            with suppress(CaptureError):
                _, event = decoder.decode(raw)
                yield event
                if isinstance(event, TransactionPayloadEvent):
                    for one in filter(None, events_in(event)):
                        yield inner.decode(one)[1]


def _follow(history: SchemaHistory, event: QueryEvent) -> None:
    from capture.ddl import parse
    from capture.schema import Session
    from capture.transactions import statement_text

    text = statement_text(event)
    session = Session(event.database or None, event.status.sql_mode or 0, event.status.collation_server)
    history.apply(parse(text, event.status.sql_mode or 0, history.dialect), session, (1, 4), text)


def give(world: World, info: ServerInfo, known: Before, position: int = BINLOG_MAGIC_BYTES) -> None:
    """Have the world's channel know this from a position in the first file on, as if it had captured up to there."""
    assert info.beginning is not None
    start = info.beginning.at(position)
    history = SchemaHistory(Dialect.of(info.version), lambda *_: True)
    for _, text in known.databases:
        history.snapshot_database(text, start.order)
    for database, text in known.tables:
        history.snapshot_table(database, text, start.order)
    point = ResumePoint(start, GtidSet(), info.server_uuid, info.server_id, info.flavour)
    (row,) = world.catalog.channels()
    world.catalog.renew_definitions(replace(row, start=point.to_json()), history.take_rows(row.id))
