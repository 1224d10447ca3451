"""What a TABLE_MAP says about a table against what the schema history holds: the first disagreement, in words.

A TABLE_MAP always carries column count, binlog types, their metadata (lengths, precision and scale, fractional digits)
and nullability. MySQL 8.0+ and MariaDB 10.5+ add signs and charsets, and with binlog_row_metadata=FULL names, labels,
visibility and the primary key. Everything that is there is compared; nothing is taken over.

`_TYPES` has one row per MySQL type: the binlog types it may come as, and what its metadata must be.
"""

from collections.abc import Callable

from capture.charsets import Charsets, certain_text, decode_text
from capture.table import Column, TableVersion
from capture.table_map import GEOMCOLLECTION, GEOMETRY_TYPES, FieldType, TableMapEvent, string_real_type

_F = FieldType
_Metadata = Callable[[Column, int, Charsets], int]  # (column, metadata found, charsets) -> metadata expected


def _none(_column: Column, _found: int, _charsets: Charsets) -> int:
    return 0


def _constant(value: int) -> _Metadata:
    return lambda _column, _found, _charsets: value


def _precision_and_scale(column: Column, _found: int, _charsets: Charsets) -> int:
    return (column.precision or 0) << 8 | (column.scale or 0)


def _fsp(column: Column, _found: int, _charsets: Charsets) -> int:
    return column.fsp


def _bytes(column: Column, charsets: Charsets) -> int:
    return (column.length or 0) * (charsets.bytes_per_character_max(column.charset) if column.charset else 1)


def _varchar(column: Column, _found: int, charsets: Charsets) -> int:
    return _bytes(column, charsets) + column.compressed  # one byte more names the compression method


def _string(column: Column, found: int, charsets: Charsets) -> int:
    """CHAR and BINARY: the real type and the length in bytes, folded into two bytes; compared unfolded."""
    length = _FIXED_BYTES.get(column.data_type, _bytes(column, charsets))
    return found if string_real_type(found) == (_F.STRING, length) else -1


def _bit(column: Column, found: int, _charsets: Charsets) -> int:
    """BIT: odd bits and whole bytes; engines without bit fields round up to bytes."""
    odd_bits, whole_bytes = found >> 8, found & 0xFF
    size = whole_bytes + bool(odd_bits)
    return found if odd_bits < 8 and size == ((column.length or 0) + 7) // 8 else -1


def _vector(column: Column, _found: int, _charsets: Charsets) -> int:
    return (column.length or 0) * _VECTOR_ELEMENT_BYTES


def _enum(column: Column, _found: int, _charsets: Charsets) -> int:
    return 1 if len(column.labels) < 256 else 2


def _set(column: Column, _found: int, _charsets: Charsets) -> int:
    size = (len(column.labels) + 7) // 8
    return size if size <= 4 else 8


_VECTOR_ELEMENT_BYTES = 4
_FIXED_BYTES = {"uuid": 16, "inet6": 16, "inet4": 4}
_BLOB_LENGTH_BYTES = (("tiny", 1), ("", 2), ("medium", 3), ("long", 4))
_Forms = dict[FieldType, _Metadata]

_TYPES: dict[str, _Forms] = {
    "tinyint": {_F.TINY: _none},
    "smallint": {_F.SHORT: _none},
    "int": {_F.LONG: _none},
    "float": {_F.FLOAT: _constant(4)},
    "double": {_F.DOUBLE: _constant(8)},
    "timestamp": {_F.TIMESTAMP2: _fsp, _F.TIMESTAMP: _none},
    "bigint": {_F.LONGLONG: _none},
    "mediumint": {_F.INT24: _none},
    "date": {_F.DATE: _none, _F.NEWDATE: _none},
    "time": {_F.TIME2: _fsp, _F.TIME: _none},
    "datetime": {_F.DATETIME2: _fsp, _F.DATETIME: _none},
    "year": {_F.YEAR: _none},
    "varchar": {_F.VARCHAR: _varchar, _F.VARCHAR_COMPRESSED: _varchar},
    "varbinary": {_F.VARCHAR: _varchar, _F.VARCHAR_COMPRESSED: _varchar},
    "bit": {_F.BIT: _bit},
    "vector": {_F.VECTOR: _constant(4), _F.VARCHAR: _vector},
    "json": {_F.JSON: _constant(4)},
    "decimal": {_F.NEWDECIMAL: _precision_and_scale},
    "enum": {_F.ENUM: _enum},
    "set": {_F.SET: _set},
    **{
        f"{size}{kind}": {_F.BLOB: _constant(length), _F.BLOB_COMPRESSED: _constant(length)}
        for size, length in _BLOB_LENGTH_BYTES
        for kind in ("text", "blob")
    },
    **{name: {_F.STRING: _string} for name in ("char", "binary", "uuid", "inet4", "inet6")},
    **{name: {_F.GEOMETRY: _constant(4)} for name in (*GEOMETRY_TYPES, GEOMCOLLECTION)},
}
_COMPRESSED = frozenset({_F.VARCHAR_COMPRESSED, _F.BLOB_COMPRESSED})
_SIGNED = frozenset({"tinyint", "smallint", "mediumint", "int", "bigint", "decimal", "float", "double"})


def mismatch(table: TableVersion, table_map: TableMapEvent, charsets: Charsets) -> str | None:
    """Return the first disagreement as half a sentence, None if there is none."""
    if table_map.column_count != len(table.columns):
        return f"the binlog has {table_map.column_count} columns, the history {len(table.columns)}"
    names = table_map.optional.names
    if names is not None and len(names) != table_map.column_count:
        return f"the binlog names {len(names)} of {table_map.column_count} columns"
    for index, column in enumerate(table.columns):
        found = _type_mismatch(column, index, table_map, charsets) or _optional_mismatch(
            column, index, table_map, charsets
        )
        if found is not None:
            return f"column {index + 1} ({column.name}) {found}"
    return _key_mismatch(table, table_map)


def _type_mismatch(column: Column, index: int, table_map: TableMapEvent, charsets: Charsets) -> str | None:
    code, metadata = table_map.column_types[index], table_map.column_metadata[index]
    forms = {int(form): expected for form, expected in _TYPES[column.data_type].items()}
    if code not in forms or (code in _COMPRESSED) != column.compressed:
        return f"is {_type_name(code)} in the binlog and {column.data_type} in the history"
    if forms[code](column, metadata, charsets) != metadata:
        return f"is {_type_name(code)} with type metadata {metadata} in the binlog and {_shown(column)} in the history"
    if table_map.nullable[index] != column.nullable:
        words = ("NOT NULL", "nullable")
        return f"is {words[not column.nullable]} in the binlog and {words[column.nullable]} in the history"
    return None


def _type_name(code: int) -> str:
    return FieldType(code).name if code in FieldType.__members__.values() else f"of the unknown type {code}"


def _shown(column: Column) -> str:
    """Name the type as people write it."""
    if column.data_type == "decimal":
        return f"decimal({column.precision},{column.scale})"
    number = column.length or column.fsp or len(column.labels)
    charset = f" {column.charset}" if column.charset else ""
    return f"{column.data_type}{f'({number})' if number else ''}{charset}"


def _optional_mismatch(column: Column, index: int, table_map: TableMapEvent, charsets: Charsets) -> str | None:
    optional = table_map.optional
    if optional.names is not None and optional.names[index].casefold() != column.name.casefold():
        return f"is called {optional.names[index]} in the binlog"
    unsigned = optional.unsigned[index] if optional.unsigned is not None else None
    if unsigned is not None and column.data_type in _SIGNED and unsigned != column.unsigned:
        words = ("signed", "unsigned")
        return f"is {words[unsigned]} in the binlog and {words[column.unsigned]} in the history"
    collation_id = optional.collations[index] if optional.collations is not None else None
    if collation_id is not None and column.collation is not None:
        collation = charsets.collation_by_id(collation_id)
        name = collation.name if collation is not None else f"collation {collation_id}"
        if name != column.collation:
            return f"has {name} in the binlog and {column.collation} in the history"
    labels = optional.labels[index] if optional.labels is not None else None
    if labels is not None and collation_id is not None:
        certain = [certain_text(label, collation_id) for label in labels]
        fits = len(labels) == len(column.labels) and all(
            one in (None, known) for one, known in zip(certain, column.labels, strict=True)
        )
        if not fits:
            shown = tuple(decode_text(label, collation_id) for label in labels)
            return f"has the labels {shown} in the binlog and {column.labels} in the history"
    return None


def _key_mismatch(table: TableVersion, table_map: TableMapEvent) -> str | None:
    parts = table_map.optional.primary_key
    if parts is None:
        return None
    found = tuple(table.columns[part.column_index].name for part in parts if part.column_index < len(table.columns))
    if table.primary_key is not None:
        expected: tuple[tuple[str, ...], ...] = (table.primary_key.columns,)
    else:  # the server promotes a unique key without nullable columns
        nullable = {column.name for column in table.columns if column.nullable}
        unique = (key.columns for key in table.keys if key.unique and not key.functional)
        expected = tuple(columns for columns in unique if not nullable.intersection(columns))
    if found not in expected:
        return f"the primary key is {found} in the binlog and {expected or 'missing'} in the history"
    return None
