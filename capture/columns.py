"""MySQL's column types, one row each: what they are in the binlog and what they become in a record.

`number` is the record's dataTypeNumber, `avro_class` the class of its cells; a NULL is Avro null whatever the type.
`readers` has, for each FieldType a server may write the type as, the generator of the code that makes the cell; a type
without readers is refused, never guessed. `writer` is the way back, from values to row images. Rows are in the order of
dataTypeNumber; the service documents 0 to 19 and 245 to 255, and those that no column gets say why (`never_sent`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from capture.binary_cells import binary, binary_object, double, float_, string_length_bytes
from capture.cells import (
    CellCode,
    ColumnShape,
    bit,
    character,
    decimal,
    integer,
    mediumint,
    tinyint,
)
from capture.errors import SchemaMismatch, UnsupportedColumn
from capture.label_cells import enum, set_
from capture.mariadb_time_cells import with_fraction
from capture.object_cells import compressed_object, compressed_text, fixed_bytes, geometry, json
from capture.object_values import FIXED_BYTES_WRITER, GEOMETRY_WRITER, JSON_WRITER, VECTOR_WRITER, compressible
from capture.table import TableVersion
from capture.table_map import FieldType, TableMapEvent
from capture.temporal_cells import datetime2, datetime_before_56, timestamp2, timestamp_before_56
from capture.temporal_values import DATE_WRITER, DATETIME_WRITER, TIME_WRITER, TIMESTAMP_WRITER, YEAR_WRITER
from capture.text_values import (
    BINARY_WRITER,
    BLOB_WRITER,
    CHAR_WRITER,
    ENUM_WRITER,
    SET_WRITER,
    TEXT_WRITER,
    VARBINARY_WRITER,
    VARCHAR_WRITER,
)
from capture.time_cells import date, time2, time_before_56, year
from capture.values import (
    BIT_WRITER,
    DECIMAL_WRITER,
    DOUBLE_WRITER,
    FLOAT_WRITER,
    ValueWriter,
    integer_writer,
)

_F = FieldType
_Reader = Callable[[ColumnShape], CellCode]


@dataclass(frozen=True, slots=True)
class ColumnType:
    """One or more MySQL types that are the same to a consumer. `names` are the keywords of `Column.data_type`."""

    names: tuple[str, ...]
    number: int
    avro_class: str
    readers: Mapping[FieldType, _Reader] = field(default_factory=dict)
    writer: ValueWriter | None = None
    never_sent: str = ""


def _varchar_length_bytes(shape: ColumnShape) -> int:
    """VARCHAR's length takes one byte if no value can be longer than 255 bytes (metadata: the longest)."""
    return 1 if shape.metadata < 0x100 else 2


def _blob_length_bytes(shape: ColumnShape) -> int:
    """The TEXT and BLOB types' metadata is the size of the length itself."""
    return shape.metadata


_BLOB: Mapping[FieldType, _Reader] = {
    _F.BLOB: binary_object("BLOB", _blob_length_bytes),
    _F.BLOB_COMPRESSED: compressed_object("BLOB", _blob_length_bytes),
}
_BLOB_WRITER = compressible(BLOB_WRITER)

COLUMN_TYPES = (
    ColumnType((), 0, "Decimal", never_sent="DECIMAL as it was before MySQL 5.0, whose row images no server writes"),
    ColumnType(("tinyint",), 1, "Integer", {_F.TINY: tinyint}, integer_writer(_F.TINY, 1)),
    ColumnType(("smallint",), 2, "Integer", {_F.SHORT: integer(2)}, integer_writer(_F.SHORT, 2)),
    ColumnType(("int",), 3, "Integer", {_F.LONG: integer(4)}, integer_writer(_F.LONG, 4)),
    ColumnType(("float",), 4, "Float", {_F.FLOAT: float_}, FLOAT_WRITER),
    ColumnType(("double",), 5, "Float", {_F.DOUBLE: double}, DOUBLE_WRITER),
    ColumnType((), 6, "null", never_sent="the type of NULL, which no column has; a NULL is Avro null"),
    ColumnType(
        ("timestamp",),
        7,
        "Timestamp",
        {_F.TIMESTAMP2: timestamp2, _F.TIMESTAMP: with_fraction("timestamp", timestamp_before_56)},
        TIMESTAMP_WRITER,
    ),
    ColumnType(("bigint",), 8, "Integer", {_F.LONGLONG: integer(8)}, integer_writer(_F.LONGLONG, 8)),
    ColumnType(("mediumint",), 9, "Integer", {_F.INT24: mediumint}, integer_writer(_F.INT24, 3)),
    ColumnType(("date",), 10, "DateTime", {_F.DATE: date, _F.NEWDATE: date}, DATE_WRITER),
    ColumnType(
        ("time",), 11, "DateTime", {_F.TIME2: time2, _F.TIME: with_fraction("time", time_before_56)}, TIME_WRITER
    ),
    ColumnType(
        ("datetime",),
        12,
        "DateTime",
        {_F.DATETIME2: datetime2, _F.DATETIME: with_fraction("datetime", datetime_before_56)},
        DATETIME_WRITER,
    ),
    ColumnType(("year",), 13, "DateTime", {_F.YEAR: year}, YEAR_WRITER),
    ColumnType((), 14, "DateTime", never_sent="DATE in three bytes, the only one there is since MySQL 5.0: sent as 10"),
    ColumnType(
        ("tinytext", "text", "mediumtext", "longtext"),
        15,
        "Character",
        {_F.BLOB: character(_blob_length_bytes), _F.BLOB_COMPRESSED: compressed_text(_blob_length_bytes)},
        compressible(TEXT_WRITER),
    ),
    ColumnType(("bit",), 16, "Integer", {_F.BIT: bit}, BIT_WRITER),
    ColumnType((), 17, "Timestamp", never_sent="TIMESTAMP as stored since MySQL 5.6: sent as 7"),
    ColumnType((), 18, "DateTime", never_sent="DATETIME as stored since MySQL 5.6: sent as 12"),
    ColumnType((), 19, "DateTime", never_sent="TIME as stored since MySQL 5.6: sent as 11"),
    ColumnType(("json",), 245, "TextObject", {_F.JSON: json}, JSON_WRITER),
    ColumnType(("decimal",), 246, "Decimal", {_F.NEWDECIMAL: decimal}, DECIMAL_WRITER),
    ColumnType(("enum",), 247, "TextObject", {_F.ENUM: enum}, ENUM_WRITER),
    ColumnType(("set",), 248, "TextObject", {_F.SET: set_}, SET_WRITER),
    ColumnType(("tinyblob",), 249, "BinaryObject", _BLOB, _BLOB_WRITER),
    ColumnType(("mediumblob",), 250, "BinaryObject", _BLOB, _BLOB_WRITER),
    ColumnType(("longblob",), 251, "BinaryObject", _BLOB, _BLOB_WRITER),
    ColumnType(("blob",), 252, "BinaryObject", _BLOB, _BLOB_WRITER),
    ColumnType(("binary",), 252, "BinaryObject", {_F.STRING: binary}, BINARY_WRITER),
    ColumnType(
        ("varbinary",),
        252,
        "BinaryObject",
        {
            _F.VARCHAR: binary_object("BINARY", _varchar_length_bytes),
            _F.VARCHAR_COMPRESSED: compressed_object("BINARY", _varchar_length_bytes),
        },
        compressible(VARBINARY_WRITER),
    ),
    ColumnType(("vector",), 252, "BinaryObject", {_F.VECTOR: binary_object("BLOB", _blob_length_bytes)}, VECTOR_WRITER),
    ColumnType(("uuid", "inet4", "inet6"), 252, "BinaryObject", {_F.STRING: fixed_bytes}, FIXED_BYTES_WRITER),
    ColumnType(
        ("varchar",),
        253,
        "Character",
        {
            _F.VARCHAR: character(_varchar_length_bytes),
            _F.VARCHAR_COMPRESSED: compressed_text(_varchar_length_bytes),
        },
        compressible(VARCHAR_WRITER),
    ),
    ColumnType(("char",), 254, "Character", {_F.STRING: character(string_length_bytes)}, CHAR_WRITER),
    ColumnType(
        (
            *("geometry", "point", "linestring", "polygon", "multipoint", "multilinestring", "multipolygon"),
            *("geometrycollection", "geomcollection"),
        ),
        255,
        "BinaryGeometry",
        {_F.GEOMETRY: geometry},
        GEOMETRY_WRITER,
    ),
)

_BY_NAME = {name: row for row in COLUMN_TYPES for name in row.names}


def column_type(table: TableVersion, index: int) -> ColumnType:
    """The type of a column. Raises UnsupportedColumn, naming table and column, if it cannot be carried over."""
    column = table.columns[index]
    row = _BY_NAME.get(column.data_type)
    if row is None or not row.readers:
        raise UnsupportedColumn(
            f"Column {column.name} of {table.database}.{table.table} has the type "
            f"{column.data_type.upper()}, which is not supported yet; "
            "list the tables to track in the channel's objects, without this one."
        )
    return row


def column_codes(table: TableVersion, table_map: TableMapEvent) -> list[CellCode]:
    """The code of every column, in table order.

    Raises UnsupportedColumn as `column_type` does, and SchemaMismatch if the table map has other columns.
    """
    if len(table.columns) != table_map.column_count:
        raise SchemaMismatch(
            f"{table.database}.{table.table} has {len(table.columns)} columns in the schema history and "
            f"{table_map.column_count} in the binlog."
        )
    return [_column_code(table, table_map, index) for index in range(len(table.columns))]


def _column_code(table: TableVersion, table_map: TableMapEvent, index: int) -> CellCode:
    row, column = column_type(table, index), table.columns[index]
    field_type = table_map.column_types[index]
    reader = row.readers.get(FieldType(field_type)) if field_type in FieldType.__members__.values() else None
    if reader is None:
        raise SchemaMismatch(
            f"Column {column.name} of {table.database}.{table.table} is {column.data_type.upper()} in the schema "
            f"history and of the binlog type {field_type} in the binlog."
        )
    return reader(ColumnShape(index, column, field_type, table_map.column_metadata[index]))
