"""Values to binlog events: the way back of `capture.events`, for the embedded source, the demo's recordings and tests.

An `EventEncoder` writes one binlog file, or the stream a server sends of it: every event gets the header of
`capture.events` with the end position that follows from the events before, and a CRC-32 if the file has checksums. The
layout is that of MySQL 8.0 (rows events version 2, `log_bin_use_v1_row_events` on request). Table maps carry optional
metadata as `binlog_row_metadata` says. What is written reads back to the same events and values; which events make a
transaction is the caller's business.
"""

import struct
import zlib
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from typing import NamedTuple
from uuid import UUID

from capture.cells import ColumnShape
from capture.charsets import Charsets, charsets
from capture.columns import column_type
from capture.dialect import Dialect
from capture.errors import UnsupportedColumn, ValueRefused
from capture.event_types import EventType
from capture.events import BINLOG_MAGIC, CHECKSUM_BYTES, HEADER_BYTES, STATEMENT_END_FLAG, Checksum, RowsKind
from capture.gtid import PreviousGtidsEvent
from capture.payload import Compression
from capture.query_event import QueryStatus
from capture.table import Column, TableVersion
from capture.table_map import (
    CHARACTER,
    GEOMCOLLECTION,
    GEOMETRY_TYPES,
    METADATA_BYTES,
    NUMERIC,
    FieldType,
    MetadataField,
)
from capture.text_values import encoded_text
from capture.values import BinlogType, Misfit, Value, ValueWriter, write_value
from capture.xa import Xid

Row = Mapping[str, Value] | Sequence[Value]
"""A row's values by column name (columns left out are NULL), or all of them in table order."""

DEFAULT_STATUS = QueryStatus(
    flags2=0,
    sql_mode=1168113696,
    charset_client=45,
    collation_connection=45,
    collation_server=255,
)
"""A session of MySQL 8.0 as it is out of the box, with a utf8mb4 client."""

_ARTIFICIAL_FLAG = 0x0020
_COMMIT_TIME_BYTES = 7
_MARIADB_STATEMENT, _MARIADB_TRANSACTION = 1 | 8 | 32, 4 | 8
"""FL_STANDALONE, ALLOW_PARALLEL, DDL; FL_TRANSACTIONAL, ALLOW_PARALLEL of MariaDB's sql/log_event.h (10.11)."""


class GtidParts(Enum):
    """What a GTID event says besides the number; each also what those before it say."""

    NUMBER = "number"
    """MySQL 5.6."""
    LOGICAL_CLOCK = "logical clock"
    """MySQL 5.7."""
    COMMIT_TIME = "commit time"
    """MySQL 8.0 and later."""


class RowMetadata(Enum):
    """What table maps say beyond types: `binlog_row_metadata` of MySQL 8.0+; NONE as before 8.0."""

    NONE = "none"
    MINIMAL = "minimal"
    FULL = "full"


POST_HEADER_BYTES = bytes.fromhex("000d0008000000000400040000006200041a08000000080808020000000a0a0a2a2a001234000a2800")
"""Fixed parts of the event types 1 to 41, as MySQL 8.0 writes them."""

_ROWS_TYPES = {
    (RowsKind.WRITE, 1): EventType.WRITE_ROWS_V1,
    (RowsKind.UPDATE, 1): EventType.UPDATE_ROWS_V1,
    (RowsKind.DELETE, 1): EventType.DELETE_ROWS_V1,
    (RowsKind.WRITE, 2): EventType.WRITE_ROWS,
    (RowsKind.UPDATE, 2): EventType.UPDATE_ROWS,
    (RowsKind.DELETE, 2): EventType.DELETE_ROWS,
}


class EventEncoder:
    """Writes the events of one binlog file in order. `position` is where the next event starts.

    `timestamp` of each call is Unix seconds. Raises ValueRefused for values that do not fit their column,
    UnsupportedColumn for tables with columns that cannot be written.
    """

    def __init__(
        self,
        *,
        server_id: int = 1,
        server_version: str = "8.0.36",
        checksum: Checksum = Checksum.CRC32,
        rows_version: int = 2,
        row_metadata: RowMetadata = RowMetadata.MINIMAL,
        position: int = len(BINLOG_MAGIC),
        post_header_bytes: bytes = POST_HEADER_BYTES,
        gtid_parts: GtidParts = GtidParts.COMMIT_TIME,
    ) -> None:
        self.server_id = server_id
        self.server_version = server_version
        self.checksum = checksum
        self.rows_version = rows_version
        self.row_metadata = row_metadata
        self.position = position
        self._post_header_bytes = post_header_bytes
        self._gtid_parts = gtid_parts
        self._charsets = charsets(Dialect.of(server_version))
        self._layouts: dict[int, _Layout] = {}

    def event(self, event_type: EventType, timestamp: int, body: bytes, *, flags: int = 0) -> bytes:
        """Any event of the file, from its body."""
        raw = self._event(event_type, timestamp, body, flags, self.position)
        self.position += len(raw)
        return raw

    def _event(self, event_type: EventType, timestamp: int, body: bytes, flags: int, start: int | None) -> bytes:
        has_checksum = self.checksum is Checksum.CRC32 or event_type is EventType.FORMAT_DESCRIPTION
        size = HEADER_BYTES + len(body) + CHECKSUM_BYTES * has_checksum
        end = 0 if start is None else start + size & 0xFFFFFFFF
        raw = struct.pack("<IBIIIH", timestamp, event_type, self.server_id, size, end, flags) + body
        if not has_checksum:
            return raw
        return raw + struct.pack("<I", zlib.crc32(raw) if self.checksum is Checksum.CRC32 else 0)

    def format_description(self, timestamp: int) -> bytes:
        """FORMAT_DESCRIPTION, the first event of a file."""
        version = self.server_version.encode("ascii").ljust(50, b"\0")
        fixed = struct.pack("<H50sIB", 4, version, timestamp, HEADER_BYTES)
        body = fixed + self._post_header_bytes + bytes([self.checksum])
        return self.event(EventType.FORMAT_DESCRIPTION, timestamp, body)

    def previous_gtids(self, timestamp: int, previous: PreviousGtidsEvent) -> bytes:
        """PREVIOUS_GTIDS, the second event of a file; without tags."""
        body = struct.pack("<Q", len(previous.sets))
        for sid, _, intervals in previous.sets:
            body += sid + struct.pack("<Q", len(intervals))
            body += b"".join(struct.pack("<QQ", first, last + 1) for first, last in intervals)
        return self.event(EventType.PREVIOUS_GTIDS, timestamp, body)

    def rotate(self, timestamp: int, file: str, position: int = len(BINLOG_MAGIC)) -> bytes:
        """ROTATE at the end of a file: the log goes on in `file`. Later events count from `position` there."""
        raw = self.event(EventType.ROTATE, timestamp, struct.pack("<Q", position) + file.encode())
        self.position = position
        return raw

    def artificial_rotate(self, file: str, position: int) -> bytes:
        """The ROTATE a server puts in front of a dump, to say where it starts. It is in no file."""
        self.position = position
        body = struct.pack("<Q", position) + file.encode()
        return self._event(EventType.ROTATE, 0, body, _ARTIFICIAL_FLAG, None)

    def heartbeat(self, file: str) -> bytes:
        """HEARTBEAT: the source is alive and its log ends at `position`. It is in no file."""
        raw = bytearray(self._event(EventType.HEARTBEAT, 0, file.encode(), 0, None))
        struct.pack_into("<I", raw, 13, self.position & 0xFFFFFFFF)
        if self.checksum is Checksum.CRC32:
            struct.pack_into("<I", raw, len(raw) - CHECKSUM_BYTES, zlib.crc32(raw[:-CHECKSUM_BYTES]))
        return bytes(raw)

    def gtid(self, timestamp: int, server_uuid: str, number: int, *, commit_us: int | None = None) -> bytes:
        """GTID of the transaction that follows. `commit_us`: commit time, Unix microseconds."""
        return self._gtid(EventType.GTID, timestamp, UUID(server_uuid).bytes, number, commit_us)

    def anonymous_gtid(self, timestamp: int, *, commit_us: int | None = None) -> bytes:
        """ANONYMOUS_GTID: a transaction without GTID follows."""
        return self._gtid(EventType.ANONYMOUS_GTID, timestamp, bytes(16), 0, commit_us)

    def _gtid(self, event_type: EventType, timestamp: int, sid: bytes, number: int, commit_us: int | None) -> bytes:
        body = struct.pack("<B16sq", 0, sid, number)
        if self._gtid_parts is not GtidParts.NUMBER:
            body += struct.pack("<Bqq", 2, 0, 1)
        if self._gtid_parts is GtidParts.COMMIT_TIME:
            commit = timestamp * 1_000_000 if commit_us is None else commit_us
            body += commit.to_bytes(_COMMIT_TIME_BYTES, "little")
        return self.event(event_type, timestamp, body)

    def mariadb_gtid(self, timestamp: int, domain: int, sequence: int, *, standalone: bool) -> bytes:
        """MARIADB_GTID: what begins a transaction, or names the one statement that follows (`standalone`)."""
        body = struct.pack("<QIB6x", sequence, domain, _MARIADB_STATEMENT if standalone else _MARIADB_TRANSACTION)
        return self.event(EventType.MARIADB_GTID, timestamp, body)

    def query(
        self, timestamp: int, sql: str | bytes, *, database: str = "", thread_id: int, status: QueryStatus | None = None
    ) -> bytes:
        """QUERY: BEGIN, COMMIT or a statement. Text is sent as UTF-8, whatever charset `status` names."""
        statement = sql.encode() if isinstance(sql, str) else sql
        block = _status_block(DEFAULT_STATUS if status is None else status)
        name = database.encode()
        body = struct.pack("<IIBHH", thread_id, 0, len(name), 0, len(block)) + block + name + b"\0" + statement
        return self.event(EventType.QUERY, timestamp, body)

    def xid(self, timestamp: int, xid: int) -> bytes:
        """XID: commit of a transaction."""
        return self.event(EventType.XID, timestamp, struct.pack("<Q", xid))

    def xa_prepare(self, timestamp: int, xid: Xid, *, one_phase: bool = False) -> bytes:
        """XA_PREPARE: the rows behind XA START are prepared, or committed in one phase."""
        parts = xid.global_part + xid.branch_part
        sizes = struct.pack("<BiII", one_phase, xid.format, len(xid.global_part), len(xid.branch_part))
        return self.event(EventType.XA_PREPARE, timestamp, sizes + parts)

    def payload(self, timestamp: int, events: Iterable[bytes], compression: Compression = Compression.ZSTD) -> bytes:
        """TRANSACTION_PAYLOAD: a whole transaction, of which `events` are the raw events without checksums."""
        content = b"".join(events)
        data = content
        if compression is Compression.ZSTD:
            import zstandard

            data = zstandard.compress(content)
        fields = ((2, compression), (3, len(content)), (1, len(data)))
        encoded = ((kind, length_encoded(value)) for kind, value in fields)
        head = b"".join(bytes([kind, len(number)]) + number for kind, number in encoded)
        return self.event(EventType.TRANSACTION_PAYLOAD, timestamp, head + b"\0" + data)

    def table_map(self, timestamp: int, table: TableVersion, table_id: int) -> bytes:
        """TABLE_MAP: the rows events with `table_id` that follow are rows of `table`."""
        return self.event(
            EventType.TABLE_MAP, timestamp, table_id.to_bytes(6, "little") + self._layout(table).table_map
        )

    def _layout(self, table: TableVersion) -> "_Layout":
        """Made once per table version; keeps the table, so that its identity stays its own."""
        layout = self._layouts.get(id(table))
        if layout is None:
            columns = _column_writers(table, self._charsets)
            shapes = [shape for shape, _ in columns]
            layout = _Layout(table, columns, _table_map_body(table, shapes, self._charsets, self.row_metadata))
            self._layouts[id(table)] = layout
        return layout

    def write_rows(
        self, timestamp: int, table: TableVersion, table_id: int, rows: Iterable[Row], *, ends_statement: bool = True
    ) -> bytes:
        """Rows inserted."""
        return self._rows(RowsKind.WRITE, timestamp, table, table_id, rows, ends_statement)

    def update_rows(
        self,
        timestamp: int,
        table: TableVersion,
        table_id: int,
        rows: Iterable[tuple[Row, Row]],
        *,
        ends_statement: bool = True,
    ) -> bytes:
        """Rows updated: (before, after) each."""
        images = [image for pair in rows for image in pair]
        return self._rows(RowsKind.UPDATE, timestamp, table, table_id, images, ends_statement)

    def delete_rows(
        self, timestamp: int, table: TableVersion, table_id: int, rows: Iterable[Row], *, ends_statement: bool = True
    ) -> bytes:
        """Rows deleted."""
        return self._rows(RowsKind.DELETE, timestamp, table, table_id, rows, ends_statement)

    def _rows(
        self,
        kind: RowsKind,
        timestamp: int,
        table: TableVersion,
        table_id: int,
        rows: Iterable[Row],
        ends_statement: bool,
    ) -> bytes:
        columns = self._layout(table).columns
        count = len(columns)
        body = bytearray(table_id.to_bytes(6, "little"))
        body += struct.pack("<H", STATEMENT_END_FLAG * ends_statement)
        if self.rows_version == 2:
            body += struct.pack("<H", 2)
        body += length_encoded(count)
        present = ((1 << count) - 1).to_bytes((count + 7) // 8, "little")
        body += present * (2 if kind is RowsKind.UPDATE else 1)
        for row in rows:
            body += _row_image(table, columns, row)
        return self.event(_ROWS_TYPES[kind, self.rows_version], timestamp, bytes(body))


class _Layout(NamedTuple):
    """What is fixed about a table version: how to write its columns, and its TABLE_MAP body behind the table id."""

    table: TableVersion
    columns: list[tuple[ColumnShape, ValueWriter]]
    table_map: bytes


def _column_writers(table: TableVersion, names: Charsets) -> list[tuple[ColumnShape, ValueWriter]]:
    """The columns as a MySQL server would describe them in a table map. Raises UnsupportedColumn."""
    columns = []
    for index, column in enumerate(table.columns):
        writer = column_type(table, index).writer
        if writer is None:
            raise UnsupportedColumn(
                f"Column {column.name} of {table.database}.{table.table} has the type {column.data_type.upper()}, "
                f"for which values cannot be written yet."
            )
        columns.append((ColumnShape(index, column, *writer.describe(column, names)), writer))
    return columns


def _row_image(table: TableVersion, columns: Sequence[tuple[ColumnShape, ValueWriter]], row: Row) -> bytes:
    """Null bitmap and values of a row. Raises ValueRefused, naming table and column."""
    name = f"{table.database}.{table.table}"
    nulls, image = 0, bytearray()
    values = _in_table_order(name, [shape.column.name for shape, _ in columns], row)
    for (shape, writer), value in zip(columns, values, strict=True):
        if value is not None:
            image += write_value(writer, shape, value, name)
        elif shape.column.nullable:
            nulls |= 1 << shape.index
        else:
            raise ValueRefused(f"{name}.{shape.column.name} is NOT NULL and needs a value.")
    bitmap_bytes = (len(columns) + 7) // 8
    unused = (1 << 8 * bitmap_bytes) - (1 << len(columns))
    return (nulls | unused).to_bytes(bitmap_bytes, "little") + bytes(image)


def _in_table_order(table: str, names: Sequence[str], row: Row) -> Sequence[Value]:
    if isinstance(row, Mapping):
        unknown = row.keys() - set(names)
        if unknown:
            raise ValueRefused(f"{table} has no column {', '.join(sorted(unknown))}.")
        return [row.get(name) for name in names]
    if len(row) != len(names):
        raise ValueRefused(f"{table} has {len(names)} columns, a row has {len(row)} values.")
    return row


def length_encoded(value: int) -> bytes:
    """MySQL's length-encoded integer."""
    if value < 0xFB:
        return bytes([value])
    for lead, size in ((0xFC, 2), (0xFD, 3)):
        if value < 1 << 8 * size:
            return bytes([lead]) + value.to_bytes(size, "little")
    return b"\xfe" + value.to_bytes(8, "little")


def _status_block(status: QueryStatus) -> bytes:
    """The status variables MySQL 8.0 writes, those of them that are set."""
    block = b""
    if status.flags2 is not None:
        block += struct.pack("<BI", 0, status.flags2)
    if status.sql_mode is not None:
        block += struct.pack("<BQ", 1, status.sql_mode)
    block += b"\x06\x03std"
    if status.charset_client is not None:
        numbers = status.charset_client, status.collation_connection or 0, status.collation_server or 0
        block += struct.pack("<BHHH", 4, *numbers)
    if status.time_zone is not None:
        block += b"\x05" + bytes([len(status.time_zone)]) + status.time_zone.encode("ascii")
    if status.collation_database is not None:
        block += struct.pack("<BH", 8, status.collation_database)
    if status.microseconds is not None:
        block += b"\x0d" + status.microseconds.to_bytes(3, "little")
    if status.explicit_defaults_for_timestamp is not None:
        block += struct.pack("<B?", 16, status.explicit_defaults_for_timestamp)
    if status.default_collation_for_utf8mb4 is not None:
        block += struct.pack("<BH", 18, status.default_collation_for_utf8mb4)
    return block


_GEOMETRY_KINDS = {name: number for number, name in enumerate(GEOMETRY_TYPES)}
_GEOMETRY_KINDS[GEOMCOLLECTION] = len(GEOMETRY_TYPES) - 1


def _table_map_body(
    table: TableVersion, shapes: Sequence[ColumnShape], names: Charsets, metadata: RowMetadata
) -> bytes:
    """Everything of a TABLE_MAP behind the table id."""
    body = struct.pack("<H", 1)
    for name in (table.database.encode(), table.table.encode()):
        body += bytes([len(name)]) + name + b"\0"
    block = b"".join(_metadata_bytes(BinlogType(FieldType(shape.field_type), shape.metadata)) for shape in shapes)
    nullable = sum(1 << shape.index for shape in shapes if shape.column.nullable)
    body += length_encoded(len(shapes)) + bytes(shape.field_type for shape in shapes)
    body += length_encoded(len(block)) + block + nullable.to_bytes((len(shapes) + 7) // 8, "little")
    if metadata is not RowMetadata.NONE:
        body += _minimal_metadata(shapes, names)
    if metadata is RowMetadata.FULL:
        body += _full_metadata(table, names)
    return body


def _metadata_bytes(described: BinlogType) -> bytes:
    size = METADATA_BYTES.get(described.field_type, 0)
    little = described.field_type in {FieldType.VARCHAR, FieldType.VARCHAR_COMPRESSED}
    return described.metadata.to_bytes(size, "little" if little else "big")


def _field(kind: MetadataField, value: bytes) -> bytes:
    return bytes([kind]) + length_encoded(len(value)) + value


def _minimal_metadata(shapes: Sequence[ColumnShape], names: Charsets) -> bytes:
    """Signs of numeric columns, collations of character columns, kinds of geometries, each if there are any."""
    signs = [_is_unsigned(shape) for shape in shapes if shape.field_type in NUMERIC]
    collations = [
        names.collation(shape.column.collation or "binary").id
        for shape in shapes
        if shape.field_type in CHARACTER and not shape.column.labels
    ]
    geometries = [_GEOMETRY_KINDS[shape.column.data_type] for shape in shapes if shape.field_type == FieldType.GEOMETRY]
    metadata = (_field(MetadataField.SIGNEDNESS, _high_bits(signs)) if signs else b"") + _charset_field(collations)
    if geometries:
        metadata += _field(MetadataField.GEOMETRY_TYPE, b"".join(map(length_encoded, geometries)))
    return metadata


def _label_metadata(columns: Sequence[Column], names: Charsets) -> bytes:
    """Collations and labels of ENUM and SET columns, each if there are any; labels in the column's charset."""
    labelled = [column for column in columns if column.labels]
    collations = [names.collation(column.collation or "binary").id for column in labelled]
    kinds = MetadataField.ENUM_AND_SET_DEFAULT_CHARSET, MetadataField.ENUM_AND_SET_COLUMN_CHARSET
    metadata = _charset_field(collations, *kinds)
    for kind, data_type in ((MetadataField.SET_STR_VALUE, "set"), (MetadataField.ENUM_STR_VALUE, "enum")):
        lists = [_encoded_labels(one) for one in labelled if one.data_type == data_type]
        if lists:
            texts = (length_encoded(len(labels)) + b"".join(map(_text, labels)) for labels in lists)
            metadata += _field(kind, b"".join(texts))
    return metadata


def _encoded_labels(column: Column) -> list[bytes]:
    try:
        return [encoded_text(column, label) for label in column.labels]
    except Misfit as error:
        raise ValueRefused(f"The labels of {column.name} cannot be written: {error}.") from None


def _text(data: bytes) -> bytes:
    return length_encoded(len(data)) + data


def _is_unsigned(shape: ColumnShape) -> bool:
    """A YEAR is unsigned without saying so."""
    return shape.column.unsigned or shape.field_type == FieldType.YEAR


def _charset_field(
    collations: list[int],
    default_kind: MetadataField = MetadataField.DEFAULT_CHARSET,
    listed_kind: MetadataField = MetadataField.COLUMN_CHARSET,
) -> bytes:
    """The most frequent collation and the exceptions from it, or all of them where that is as short (as in MySQL)."""
    if not collations:
        return b""
    default = max(collations, key=collations.count)
    others = [(index, collation) for index, collation in enumerate(collations) if collation != default]
    if 2 * len(others) >= len(collations):
        return _field(listed_kind, b"".join(map(length_encoded, collations)))
    pairs = b"".join(length_encoded(index) + length_encoded(collation) for index, collation in others)
    return _field(default_kind, length_encoded(default) + pairs)


def _full_metadata(table: TableVersion, charset_names: Charsets) -> bytes:
    """Column names, labels, the primary key and which columns are visible."""
    names = [column.name.encode() for column in table.columns]
    fields = _field(MetadataField.COLUMN_NAME, b"".join(map(_text, names)))
    fields += _label_metadata(table.columns, charset_names)
    if table.primary_key is not None:
        indexes = [names.index(part.encode()) for part in table.primary_key.columns]
        fields += _field(MetadataField.SIMPLE_PRIMARY_KEY, b"".join(map(length_encoded, indexes)))
    return fields + _field(MetadataField.COLUMN_VISIBILITY, _high_bits([not one.invisible for one in table.columns]))


def _high_bits(flags: Sequence[bool]) -> bytes:
    """A bitmap, most significant bit of the first byte first."""
    bitmap = bytearray((len(flags) + 7) // 8)
    for index, flag in enumerate(flags):
        bitmap[index // 8] |= flag << (7 - index % 8)
    return bytes(bitmap)
