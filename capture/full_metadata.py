"""A table version made of its TABLE_MAP, where the server wrote all it can (binlog_row_metadata=FULL).

MySQL 8.0+ and MariaDB 10.5+ then send names, signs, collations, labels, geometry types, visibility and the primary key
beside the types. That is everything the rows need. What it leaves out, and what is done about it:

    secondary unique keys               unknown: `pk_uk_info` names the primary key alone
    a table without a primary key       the server sends a unique key without nullable columns in its place
    defaults, the table's charset       unknown; no record has them
    MariaDB's UUID, INET6 and INET4     look like BINARY(16) and BINARY(4) there: refused, nothing tells them apart
    MariaDB's VECTOR                    looks like VARBINARY of as many bytes: refused
    MariaDB's formats before MySQL 5.6  may have fractional seconds that no table map tells of: refused
    MariaDB's row period                hidden columns look like others; records have both

So such a version is `partial`: it reads rows, follows a RENAME, and is no ground to carry out an ALTER on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from capture.charsets import certain_text, charsets
from capture.table import PRIMARY, Column, Key, TableVersion
from capture.table_map import GEOMCOLLECTION, GEOMETRY_TYPES, FieldType, TableMapEvent, string_real_type

if TYPE_CHECKING:
    from capture.charsets import Charsets
    from capture.dialect import Dialect

_F = FieldType

_BINARY_COLLATION = 63
_PLAIN = {
    _F.TINY: "tinyint",
    _F.SHORT: "smallint",
    _F.INT24: "mediumint",
    _F.LONG: "int",
    _F.LONGLONG: "bigint",
    _F.FLOAT: "float",
    _F.DOUBLE: "double",
    _F.DATE: "date",
    _F.NEWDATE: "date",
    _F.YEAR: "year",
    _F.TIMESTAMP: "timestamp",
    _F.DATETIME: "datetime",
    _F.TIME: "time",
    _F.JSON: "json",
    _F.VECTOR: "vector",
}
_FRACTIONAL = {_F.TIMESTAMP2: "timestamp", _F.DATETIME2: "datetime", _F.TIME2: "time"}
_BLOB_SIZES = {1: "tiny", 2: "", 3: "medium", 4: "long"}
_GEOMCOLLECTION_SINCE = (8, 0, 0)
_BEFORE_56 = frozenset({_F.TIMESTAMP, _F.DATETIME, _F.TIME})
_LOOKALIKES = {16: ((10, 5, 0), "INET6 or UUID"), 4: ((10, 10, 0), "INET4")}
"""MariaDB: length of a BINARY column, since when and what else it may be (plugin/type_inet, plugin/type_uuid)."""
_VECTOR_SINCE_MARIADB = (11, 7, 0)
_VECTOR_UNIT_BYTES = 4
_FRACTION_DIGITS_MAX = 6
_DECIMAL_DIGITS_MAX = 65
_BITS_MAX = 64


class MetadataGap(ValueError):
    """A TABLE_MAP from which no version can be made; the message is half a sentence."""


def version_of(table_map: TableMapEvent, dialect: Dialect) -> TableVersion:
    """The version that the rows of a TABLE_MAP have. Raises MetadataGap."""
    names = table_map.optional.names
    if names is None:
        raise MetadataGap(
            "the binlog does not name its columns either: it was written without binlog_row_metadata=FULL"
        )
    if len(names) != table_map.column_count:
        raise MetadataGap(f"its table map names {len(names)} of {table_map.column_count} columns")
    if any("\udc80" <= character <= "\udcff" for character in "".join(names)):
        raise MetadataGap("its table map has column names that are not UTF-8")
    reader = _Reader(table_map, dialect, charsets(dialect))
    columns = tuple(reader.column(index, name) for index, name in enumerate(names))
    return TableVersion.of(table_map.database, table_map.table, columns, _keys(table_map, names), "", "", partial=True)


def _keys(table_map: TableMapEvent, names: tuple[str, ...]) -> tuple[Key, ...]:
    parts = table_map.optional.primary_key
    if not parts:
        return ()
    if any(part.column_index >= len(names) for part in parts):
        raise MetadataGap(f"its table map has a primary key of more than its {len(names)} columns")
    prefixes = tuple(part.prefix_length for part in parts)
    key_columns = tuple(names[part.column_index] for part in parts)
    return (Key(PRIMARY, key_columns, unique=True, prefixes=prefixes if any(prefixes) else ()),)


def _is_possible(code: int, metadata: int) -> bool:
    """False for a size that no column has: the event is damaged."""
    first, second = metadata >> 8, metadata & 0xFF
    if code in _FRACTIONAL:
        return metadata <= _FRACTION_DIGITS_MAX
    if code == _F.NEWDECIMAL:
        return 0 < first <= _DECIMAL_DIGITS_MAX and second <= first
    if code == _F.BIT:
        return first < 8 and 0 < second * 8 + first <= _BITS_MAX
    return True


class _Reader:
    """One table map, column by column."""

    def __init__(self, table_map: TableMapEvent, dialect: Dialect, known: Charsets) -> None:
        self._map = table_map
        self._dialect = dialect
        self._charsets = known

    def column(self, index: int, name: str) -> Column:
        visible = self._map.optional.visible
        is_hidden = visible is not None and not visible[index]
        return replace(self._typed(index, name), nullable=self._map.nullable[index], invisible=is_hidden)

    def _typed(self, index: int, name: str) -> Column:
        table_map, optional = self._map, self._map.optional
        code, metadata = table_map.column_types[index], table_map.column_metadata[index]
        unsigned = optional.unsigned is not None and bool(optional.unsigned[index])
        if not _is_possible(code, metadata):
            raise MetadataGap(f"column {name} is {FieldType(code).name} with type metadata {metadata}, which none has")
        if code in _BEFORE_56 and self._dialect.is_mariadb:
            raise MetadataGap(
                f"column {name} has the {_PLAIN[FieldType(code)].upper()} format before MySQL 5.6, and MariaDB's table "
                "maps do not tell how many fractional digits that has"
            )
        if code in _PLAIN:
            return Column(name, _PLAIN[FieldType(code)], unsigned=unsigned and code != _F.YEAR)
        if code in _FRACTIONAL:
            return Column(name, _FRACTIONAL[FieldType(code)], fsp=metadata)
        if code == _F.NEWDECIMAL:
            precision, scale = metadata >> 8, metadata & 0xFF
            return Column(name, "decimal", unsigned=unsigned, precision=precision, scale=scale)
        if code == _F.BIT:
            return Column(name, "bit", length=(metadata & 0xFF) * 8 + (metadata >> 8))
        if code == _F.GEOMETRY:
            return Column(name, self._geometry(index))
        if code in (_F.ENUM, _F.SET):
            return self._labelled(index, name, "enum" if code == _F.ENUM else "set")
        return self._text(index, name, code, metadata)

    def _geometry(self, index: int) -> str:
        kinds = self._map.optional.geometry_types
        kind = kinds[index] if kinds is not None else None
        if kind is None or kind >= len(GEOMETRY_TYPES):
            return "geometry"  # any kind's value says itself which it is
        is_renamed = not self._dialect.is_mariadb and self._dialect.version >= _GEOMCOLLECTION_SINCE
        return GEOMCOLLECTION if kind == len(GEOMETRY_TYPES) - 1 and is_renamed else GEOMETRY_TYPES[kind]

    def _labelled(self, index: int, name: str, data_type: str) -> Column:
        labels = self._map.optional.labels
        found = labels[index] if labels is not None else None
        if found is None:
            raise MetadataGap(f"its table map has no labels for column {name}")
        collation_id = self._collation_id(index, name)
        collation = self._charsets.collation_by_id(collation_id)
        if collation is None:
            raise MetadataGap(f"column {name} has the unknown collation {collation_id}")
        shown = tuple(text for label in found if (text := certain_text(label, collation_id)) is not None)
        if len(shown) != len(found):
            raise MetadataGap(f"the labels of column {name} cannot be read as {collation.charset} for certain")
        return Column(name, data_type, labels=shown, charset=collation.charset, collation=collation.name)

    def _text(self, index: int, name: str, code: int, metadata: int) -> Column:
        """CHAR, VARCHAR, TEXT and their binary sisters, which differ by their collation alone."""
        is_compressed = code in (_F.VARCHAR_COMPRESSED, _F.BLOB_COMPRESSED)
        collation_id = self._collation_id(index, name)
        collation = self._charsets.collation_by_id(collation_id)
        if collation is None:
            raise MetadataGap(f"column {name} has the unknown collation {collation_id}")
        is_binary = collation_id == _BINARY_COLLATION
        charset, named = (None, None) if is_binary else (collation.charset, collation.name)
        if code in (_F.BLOB, _F.BLOB_COMPRESSED) and metadata in _BLOB_SIZES:
            data_type = _BLOB_SIZES[metadata] + ("blob" if is_binary else "text")
            return Column(name, data_type, charset=charset, collation=named, compressed=is_compressed)
        if code in (_F.VARCHAR, _F.VARCHAR_COMPRESSED):
            data_type, size_bytes = ("varbinary" if is_binary else "varchar"), metadata - is_compressed
        elif code == _F.STRING:
            data_type, size_bytes = ("binary" if is_binary else "char"), string_real_type(metadata)[1]
        else:
            raise MetadataGap(f"column {name} has the type {code}, which its table map does not tell enough about")
        self._refuse_lookalike(name, data_type, size_bytes)
        length = size_bytes // (1 if is_binary else self._charsets.bytes_per_character_max(collation.charset))
        return Column(name, data_type, length=length, charset=charset, collation=named, compressed=is_compressed)

    def _refuse_lookalike(self, name: str, data_type: str, size_bytes: int) -> None:
        """Raises MetadataGap for bytes that may be another type of MariaDB's."""
        since, what = _LOOKALIKES.get(size_bytes, ((), "")) if data_type == "binary" else ((), "")
        if data_type == "varbinary" and size_bytes and not size_bytes % _VECTOR_UNIT_BYTES:
            since, what = _VECTOR_SINCE_MARIADB, "VECTOR"
        if self._dialect.is_mariadb and what and self._dialect.version >= since:
            shown = f"{data_type.upper()}({size_bytes})"
            raise MetadataGap(f"column {name} may be {shown}, {what}, which no table map tells apart")

    def _collation_id(self, index: int, name: str) -> int:
        collations = self._map.optional.collations
        found = collations[index] if collations is not None else None
        if found is None:
            raise MetadataGap(f"its table map has no character set for column {name}")
        return found
