"""A column as the server holds it, made of a definition as written: types, sizes, charsets, all inheritance resolved.

A charset is inherited from database to table to column. In charset `binary` a character type becomes its binary
sister. TEXT(n), BLOB(n) and a VARCHAR too long for one become the smallest type that holds n. CONVERT TO changes
every character column but binary ones, and a TEXT type grows when its characters need more bytes. What is not in the
manual follows the server's source (field.cc `Create_field`, sql_table.cc `prepare_blob_field`) and what servers did.
"""

from collections.abc import Iterable

from msgspec import Struct
from msgspec.structs import replace

from capture.charsets import Charsets, Collation
from capture.dialect import Dialect
from capture.statements import (
    AddColumn,
    AlterOperation,
    ChangeColumn,
    CharsetClause,
    ColumnDefinition,
    DataType,
)
from capture.table import Column

_VARCHAR_BYTES_MAX = 65535
_TEXT_BYTES_MAX = {"tinytext": 255, "text": 65535, "mediumtext": 2**24 - 1, "longtext": 2**32 - 1}
_BLOBS = {"tinytext": "tinyblob", "text": "blob", "mediumtext": "mediumblob", "longtext": "longblob"}
_BINARY = {**_BLOBS, "char": "binary", "varchar": "varbinary"}
WITH_CHARSET = frozenset({*_BINARY, "enum", "set"})
"""Types whose columns have a character set."""
_WITH_LENGTH = frozenset({"char", "varchar", "binary", "varbinary", "bit", "vector"})
_CONVERT_RESIZES_SINCE = (5, 7, 0)
_GEOMCOLLECTION_SINCE = (8, 0, 0)


class DefinitionError(ValueError):
    """A statement that cannot have succeeded on the table as it is known; the message is half a sentence."""


class Rules(Struct, frozen=True):
    """What decides beside statement and table: the server, the session, the database's default charset."""

    dialect: Dialect
    charsets: Charsets
    database_collation: Collation
    session_collation: Collation  # of the session's default database
    utf8mb4_collation: Collation | None = None  # default_collation_for_utf8mb4 of the session
    explicit_defaults_for_timestamp: bool = True

    def default_collation(self, charset: str) -> Collation:
        if charset.lower() == "utf8mb4" and self.utf8mb4_collation is not None:
            return self.utf8mb4_collation
        try:
            return self.charsets.default_collation(charset)
        except KeyError:
            raise DefinitionError(f"character set {charset} is not known") from None

    def collation(self, name: str, charset: str) -> Collation:
        """Find a collation; MariaDB's `uca1400_…` names leave the charset to the context."""
        if name.lower() == "default":
            return self.default_collation(charset)
        full_name = f"{charset}_{name}" if name.lower().startswith("uca1400_") else name
        try:
            return self.charsets.collation(full_name)
        except KeyError:
            raise DefinitionError(f"collation {name} is not known") from None

    def resolve(self, clause: CharsetClause | None, inherited: Collation) -> Collation:
        """Resolve a DEFAULT CHARACTER SET clause of a table or database."""
        if clause is None:
            return inherited
        charset = clause.charset
        if charset is None or charset.lower() == "default":
            if charset is not None and self.dialect.is_mariadb:
                inherited = self.default_collation(inherited.charset)
            return inherited if clause.collation is None else self.collation(clause.collation, inherited.charset)
        return (
            self.default_collation(charset) if clause.collation is None else self.collation(clause.collation, charset)
        )

    @property
    def convert_default(self) -> Collation:
        """Return what DEFAULT stands for in ALTER TABLE: the session's default database, MariaDB's: the table's."""
        return self.database_collation if self.dialect.is_mariadb else self.session_collation


def resolve_column(definition: ColumnDefinition, table_collation: Collation, rules: Rules) -> Column:
    """Make a column of its definition: synonyms, inherited charset, sizes, implied NOT NULL."""
    data_type = _resolve_json(definition.data_type, rules)
    name = data_type.name
    nullable = definition.nullable
    if nullable is None:
        nullable = name != "timestamp" or rules.explicit_defaults_for_timestamp
    column = Column(
        definition.name,
        _shown_name(name, rules.dialect),
        unsigned=data_type.unsigned,
        length=data_type.length if name in _WITH_LENGTH else None,
        precision=data_type.precision,
        scale=data_type.scale,
        fsp=data_type.fsp,
        labels=data_type.labels,
        nullable=nullable,
        default=definition.default,
        auto_increment=definition.auto_increment,
        generated=definition.generated,
        invisible=definition.invisible,
        compressed=data_type.compressed,
    )
    if name in WITH_CHARSET:
        column = _with_collation(column, _column_collation(data_type, table_collation, rules))
    return _sized(column, data_type.length, rules.charsets)


def _resolve_json(data_type: DataType, rules: Rules) -> DataType:
    """MariaDB's JSON is LONGTEXT in utf8mb4_bin."""
    if data_type.name != "json" or not rules.dialect.is_mariadb:
        return data_type
    return replace(data_type, name="longtext", charset="utf8mb4", collation=data_type.collation or "utf8mb4_bin")


def _shown_name(name: str, dialect: Dialect) -> str:
    if name == "geometrycollection" and not dialect.is_mariadb and dialect.version >= _GEOMCOLLECTION_SINCE:
        return "geomcollection"
    return name


def _column_collation(data_type: DataType, table_collation: Collation, rules: Rules) -> Collation:
    charset = data_type.charset or table_collation.charset
    if data_type.collation is not None:
        return rules.collation(data_type.collation, charset)
    if data_type.binary_collation:
        return rules.charsets.binary_collation(charset)
    return rules.default_collation(charset) if data_type.charset is not None else table_collation


def _with_collation(column: Column, collation: Collation) -> Column:
    """Give a character column its charset; in charset `binary` the type becomes its binary sister."""
    if collation.charset == "binary" and column.data_type in _BINARY:
        return replace(column, data_type=_BINARY[column.data_type], charset=None, collation=None)
    return replace(column, charset=collation.charset, collation=collation.name)


def _sized(column: Column, length: int | None, charsets: Charsets) -> Column:
    """Choose the type that a length needs: TEXT(n) and BLOB(n), and VARCHAR too long for one."""
    if length is None or column.data_type not in {"varchar", "varbinary", "text", "blob"}:
        return column
    size_bytes = length * (charsets.bytes_per_character_max(column.charset) if column.charset else 1)
    if column.data_type in {"varchar", "varbinary"} and size_bytes <= _VARCHAR_BYTES_MAX:
        return column
    text = _text_for(size_bytes)
    return replace(column, data_type=text if column.charset else _BLOBS[text], length=None)


def _text_for(size_bytes: int) -> str:
    return next((name for name, limit in _TEXT_BYTES_MAX.items() if size_bytes <= limit), "longtext")


def convert_columns(
    columns: Iterable[Column], operations: Iterable[AlterOperation], collation: Collation, rules: Rules
) -> list[Column]:
    """Carry out CONVERT TO CHARACTER SET. Columns the same statement defines take the charset and keep their type."""
    defined: set[str] = set()
    for operation in operations:
        if isinstance(operation, AddColumn | ChangeColumn):
            defined.add(operation.column.name.casefold())
            unclear = isinstance(operation, ChangeColumn) and operation.column.data_type.name in _TEXT_BYTES_MAX
            if unclear and not rules.dialect.is_mariadb and rules.dialect.version >= _CONVERT_RESIZES_SINCE:
                # The server sizes the new type by the old column, by rules that differ between versions.
                raise DefinitionError(f"it redefines column {operation.column.name} and converts the charset at once")
    return [
        _convert_column(column, collation, rules.charsets, resize=column.name.casefold() not in defined)
        for column in columns
    ]


def _convert_column(column: Column, collation: Collation, charsets: Charsets, *, resize: bool) -> Column:
    """Convert one column; `binary` ones have no charset and stay."""
    if column.charset is None or column.charset == "binary":
        return column
    limit = _TEXT_BYTES_MAX.get(column.data_type)
    if resize and limit is not None and column.data_type != "longtext":
        # The server keeps the number of characters that certainly fit, and sizes the type for them again.
        length = limit // charsets.bytes_per_character_max(column.charset)
        size_bytes = length * charsets.bytes_per_character_max(collation.charset)
        column = replace(column, data_type=_text_for(size_bytes))
    converted = _with_collation(column, collation)
    return _sized(converted, column.length, charsets) if converted.data_type == "varchar" else converted
