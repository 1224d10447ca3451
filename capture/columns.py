"""MySQL's column types, one row each: what they are in the binlog and what they become in a record.

`number` is the record's dataTypeNumber, `avro_class` the class of its cells; a NULL is Avro null whatever the type.
`readers` has, for each FieldType a server may write the type as, the generator of the code that makes the cell; a type
without readers is refused, never guessed. `writer` is the way back, from values to row images. Rows are in the order of
dataTypeNumber; the service documents 0 to 19 and 245 to 255, and those that no column gets say why (`never_sent`).
`rule` tells people how bytes become the cell.
"""

from collections.abc import Callable, Mapping

from msgspec import Struct

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
from capture.table_map import GEOMCOLLECTION, GEOMETRY_TYPES, FieldType, TableMapEvent
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


class ColumnType(Struct, frozen=True):
    """One or more MySQL types that are the same to a consumer. `names` are the keywords of `Column.data_type`.

    A number that is only documented has no names, and `never_sent` says what it would be and what is sent instead.
    """

    names: tuple[str, ...]
    number: int
    avro_class: str
    readers: Mapping[FieldType, _Reader] = {}
    writer: ValueWriter | None = None
    never_sent: str = ""
    rule: str = ""


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

_LENGTH = "1 to 4 bytes of length (the metadata says how many), little endian"
_LENGTH_OF_255 = "1 byte of length, 2 where values may be longer than 255 bytes"

COLUMN_TYPES = (
    ColumnType((), 0, "Decimal", never_sent="DECIMAL as it was before MySQL 5.0, whose row images no server writes"),
    ColumnType(
        ("tinyint",),
        1,
        "Integer",
        {_F.TINY: tinyint},
        integer_writer(_F.TINY, 1),
        rule="1 byte, two's complement unless UNSIGNED; precision 1, the bytes of the type",
    ),
    ColumnType(
        ("smallint",),
        2,
        "Integer",
        {_F.SHORT: integer(2)},
        integer_writer(_F.SHORT, 2),
        rule="2 bytes, little endian, two's complement unless UNSIGNED; precision 2, the bytes of the type",
    ),
    ColumnType(
        ("int",),
        3,
        "Integer",
        {_F.LONG: integer(4)},
        integer_writer(_F.LONG, 4),
        rule="4 bytes, little endian, two's complement unless UNSIGNED; precision 4, the bytes of the type",
    ),
    ColumnType(
        ("float",),
        4,
        "Float",
        {_F.FLOAT: float_},
        FLOAT_WRITER,
        rule="4 bytes, little endian, IEEE 754; the shortest decimal that reads back as this float",
    ),
    ColumnType(
        ("double",), 5, "Float", {_F.DOUBLE: double}, DOUBLE_WRITER, rule="8 bytes, little endian, IEEE 754, as it is"
    ),
    ColumnType((), 6, "null", never_sent="the type of NULL, which no column has; a NULL is Avro null"),
    ColumnType(
        ("timestamp",),
        7,
        "Timestamp",
        {_F.TIMESTAMP2: timestamp2, _F.TIMESTAMP: with_fraction("timestamp", timestamp_before_56)},
        TIMESTAMP_WRITER,
        rule="4 bytes, big endian (before MySQL 5.6 little), seconds since 1970 in UTC, then 0 to 3 bytes of fraction",
    ),
    ColumnType(
        ("bigint",),
        8,
        "Integer",
        {_F.LONGLONG: integer(8)},
        integer_writer(_F.LONGLONG, 8),
        rule="8 bytes, little endian, two's complement unless UNSIGNED; precision 8, the bytes of the type",
    ),
    ColumnType(
        ("mediumint",),
        9,
        "Integer",
        {_F.INT24: mediumint},
        integer_writer(_F.INT24, 3),
        rule="3 bytes, little endian, two's complement unless UNSIGNED; precision 3, the bytes of the type",
    ),
    ColumnType(
        ("date",),
        10,
        "DateTime",
        {_F.DATE: date, _F.NEWDATE: date},
        DATE_WRITER,
        rule="3 bytes, little endian: 15 bits year, 4 month, 5 day; parts that are zero stay zero",
    ),
    ColumnType(
        ("time",),
        11,
        "DateTime",
        {_F.TIME2: time2, _F.TIME: with_fraction("time", time_before_56)},
        TIME_WRITER,
        rule="3 bytes, big endian, less 0x800000: 10 bits hour, 6 minute, 6 second, then 0 to 3 bytes of fraction",
    ),
    ColumnType(
        ("datetime",),
        12,
        "DateTime",
        {_F.DATETIME2: datetime2, _F.DATETIME: with_fraction("datetime", datetime_before_56)},
        DATETIME_WRITER,
        rule="5 bytes, big endian: 1 bit set, 17 year * 13 + month, 5 day, 5 hour, 6 minute, 6 second, then fraction",
    ),
    ColumnType(
        ("year",), 13, "DateTime", {_F.YEAR: year}, YEAR_WRITER, rule="1 byte: years since 1900, 0 is the year 0000"
    ),
    ColumnType((), 14, "DateTime", never_sent="DATE in three bytes, the only one there is since MySQL 5.0: sent as 10"),
    ColumnType(
        ("tinytext", "text", "mediumtext", "longtext"),
        15,
        "Character",
        {_F.BLOB: character(_blob_length_bytes), _F.BLOB_COMPRESSED: compressed_text(_blob_length_bytes)},
        compressible(TEXT_WRITER),
        rule=f"{_LENGTH}, then the bytes in the column's character set, unchanged",
    ),
    ColumnType(
        ("bit",),
        16,
        "Integer",
        {_F.BIT: bit},
        BIT_WRITER,
        rule="a byte for each 8 bits begun, big endian, an unsigned number; precision: these bytes",
    ),
    ColumnType((), 17, "Timestamp", never_sent="TIMESTAMP as stored since MySQL 5.6: sent as 7"),
    ColumnType((), 18, "DateTime", never_sent="DATETIME as stored since MySQL 5.6: sent as 12"),
    ColumnType((), 19, "DateTime", never_sent="TIME as stored since MySQL 5.6: sent as 11"),
    ColumnType(
        ("json",),
        245,
        "TextObject",
        {_F.JSON: json},
        JSON_WRITER,
        rule="4 bytes of length, then MySQL's binary JSON; written as MySQL writes it, character for character",
    ),
    ColumnType(
        ("decimal",),
        246,
        "Decimal",
        {_F.NEWDECIMAL: decimal},
        DECIMAL_WRITER,
        rule="4 bytes for each 9 digits, big endian, the first bit inverted, all if negative; precision: its digits",
    ),
    ColumnType(
        ("enum",),
        247,
        "TextObject",
        {_F.ENUM: enum},
        ENUM_WRITER,
        rule="the number of the label, from 1, in 1 or 2 bytes, little endian; 0 is the empty text",
    ),
    ColumnType(
        ("set",),
        248,
        "TextObject",
        {_F.SET: set_},
        SET_WRITER,
        rule="a bit for each label, in 1 to 8 bytes, little endian; the labels with a comma between",
    ),
    ColumnType(("tinyblob",), 249, "BinaryObject", _BLOB, _BLOB_WRITER, rule=f"{_LENGTH}, then the bytes"),
    ColumnType(("mediumblob",), 250, "BinaryObject", _BLOB, _BLOB_WRITER, rule=f"{_LENGTH}, then the bytes"),
    ColumnType(("longblob",), 251, "BinaryObject", _BLOB, _BLOB_WRITER, rule=f"{_LENGTH}, then the bytes"),
    ColumnType(("blob",), 252, "BinaryObject", _BLOB, _BLOB_WRITER, rule=f"{_LENGTH}, then the bytes"),
    ColumnType(
        ("binary",),
        252,
        "BinaryObject",
        {_F.STRING: binary},
        BINARY_WRITER,
        rule=f"{_LENGTH_OF_255}, then the bytes, the zeros that the server cuts at the end put back",
    ),
    ColumnType(
        ("varbinary",),
        252,
        "BinaryObject",
        {
            _F.VARCHAR: binary_object("BINARY", _varchar_length_bytes),
            _F.VARCHAR_COMPRESSED: compressed_object("BINARY", _varchar_length_bytes),
        },
        compressible(VARBINARY_WRITER),
        rule=f"{_LENGTH_OF_255}, then the bytes",
    ),
    ColumnType(
        ("vector",),
        252,
        "BinaryObject",
        {
            _F.VECTOR: binary_object("BLOB", _blob_length_bytes),
            _F.VARCHAR: binary_object("BLOB", _varchar_length_bytes),
        },
        VECTOR_WRITER,
        rule="1 to 4 bytes of length, little endian, then 4-byte floats, little endian, as they are",
    ),
    ColumnType(
        ("uuid", "inet4", "inet6"),
        252,
        "BinaryObject",
        {_F.STRING: fixed_bytes},
        FIXED_BYTES_WRITER,
        rule="1 byte of length, then the bytes in the order of the text, the zeros that the server cuts put back",
    ),
    ColumnType(
        ("varchar",),
        253,
        "Character",
        {
            _F.VARCHAR: character(_varchar_length_bytes),
            _F.VARCHAR_COMPRESSED: compressed_text(_varchar_length_bytes),
        },
        compressible(VARCHAR_WRITER),
        rule=f"{_LENGTH_OF_255}, then the bytes in the column's character set, unchanged",
    ),
    ColumnType(
        ("char",),
        254,
        "Character",
        {_F.STRING: character(string_length_bytes)},
        CHAR_WRITER,
        rule=f"{_LENGTH_OF_255}, then the bytes, without the spaces at the end that the server cuts",
    ),
    ColumnType(
        (*GEOMETRY_TYPES, GEOMCOLLECTION),
        255,
        "BinaryGeometry",
        {_F.GEOMETRY: geometry},
        GEOMETRY_WRITER,
        rule=f"{_LENGTH}, then 4 bytes of SRID, left out, and well-known binary (WKB)",
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
    odd = next((label for label in column.labels if not label.isascii() and not _is_text(label)), None)
    if odd is not None:
        raise UnsupportedColumn(
            f"Column {column.name} of {table.database}.{table.table} has the label x'{_bytes(odd).hex()}', which is no "
            "text that a record could hold; list the tables to track in the channel's objects, without this one."
        )
    return row


def _is_text(label: str) -> bool:
    """False for a label with bytes that the server could not show as UTF-8."""
    return not any("\ud800" <= one <= "\udfff" for one in label)


def _bytes(label: str) -> bytes:
    return label.encode("utf-8", "surrogateescape")


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
