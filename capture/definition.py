"""What CREATE TABLE and ALTER TABLE make of a table: statements carried out on a TableVersion, as the server does it.

The statement stands in the binlog, so it succeeded: nothing here checks what the server has checked. Rules that are not
in the manual follow the server's source (sql_table.cc `mysql_prepare_alter_table` and `mysql_prepare_create_table`):

- columns: dropped and changed in place first; those with a place (FIRST, AFTER) and added ones then, one by one, AFTER
  meaning names after the statement
- a charset is inherited from database to table to column; CONVERT TO changes every character column but binary ones,
  and a TEXT type grows when its characters need more bytes
- keys are `capture/keys.py`'s

DefinitionError: the statement does not fit what is known of the table, so what is known is wrong.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from capture.charsets import Charsets, Collation
from capture.keys import arrange_keys, column_keys
from capture.sql import Dialect
from capture.statements import (
    AddColumn,
    AddKey,
    AlterOperation,
    ChangeColumn,
    CharsetClause,
    ColumnDefinition,
    ConvertCharset,
    CreateTable,
    DataType,
    DropColumn,
    DropConstraint,
    DropKey,
    KeyDefinition,
    Placement,
    RenameColumn,
    RenameKey,
    SetCharset,
    SetColumnDefault,
    SetColumnVisibility,
    SetSystemVersioning,
)
from capture.table import Column, Key, TableVersion

_VARCHAR_BYTES_MAX = 65535
_TEXT_BYTES_MAX = {"tinytext": 255, "text": 65535, "mediumtext": 2**24 - 1, "longtext": 2**32 - 1}
_BLOBS = {"tinytext": "tinyblob", "text": "blob", "mediumtext": "mediumblob", "longtext": "longblob"}
_BINARY = {**_BLOBS, "char": "binary", "varchar": "varbinary"}
_WITH_CHARSET = frozenset({*_BINARY, "enum", "set"})
_WITH_LENGTH = frozenset({"char", "varchar", "binary", "varbinary", "bit", "vector"})
_GEOMCOLLECTION_SINCE = (8, 0, 0)
_SEQUENCE_COLUMNS = (
    *("next_not_cached_value", "minimum_value", "maximum_value", "start_value", "increment"),
    *("cache_size", "cycle_option", "cycle_count"),
)


class DefinitionError(ValueError):
    """A statement that cannot have succeeded on the table as it is known; the message is half a sentence."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What decides beside statement and table: the server, the session, the database's default charset."""

    dialect: Dialect
    charsets: Charsets
    database_collation: Collation
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
        charset = inherited.charset
        if clause.charset is not None and clause.charset.lower() != "default":
            charset = clause.charset
        if clause.collation is not None:
            return self.collation(clause.collation, charset)
        return (
            inherited
            if clause.charset is None or clause.charset.lower() == "default"
            else self.default_collation(charset)
        )


# ---- columns ----


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
    if name in _WITH_CHARSET:
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


def _convert_column(column: Column, collation: Collation, charsets: Charsets) -> Column:
    """Carry out CONVERT TO CHARACTER SET on a column; `binary` ones have no charset and stay."""
    if column.charset is None or column.charset == "binary":
        return column
    limit = _TEXT_BYTES_MAX.get(column.data_type)
    length = column.length
    if limit is not None and column.data_type != "longtext":
        # The server keeps the number of characters that certainly fit, and sizes the type for them again.
        length = limit // charsets.bytes_per_character_max(column.charset)
        size_bytes = length * charsets.bytes_per_character_max(collation.charset)
        column = replace(column, data_type=_text_for(size_bytes))
    converted = _with_collation(column, collation)
    return _sized(converted, length, charsets) if converted.data_type == "varchar" else converted


# ---- CREATE ----

_PERIOD = ("row_start", "row_end")  # of MariaDB's system-versioned tables


def create(statement: CreateTable, database: str, table: str, rules: Rules) -> TableVersion:
    """Carry out CREATE TABLE. Raises DefinitionError."""
    collation = rules.resolve(statement.charset, rules.database_collation)
    columns = [resolve_column(definition, collation, rules) for definition in statement.columns]
    if statement.versioned and not any(definition.row_period for definition in statement.columns):
        columns += _period_columns()
    arranged, keys = arrange_keys(columns, (), statement.keys, rules.charsets, rules.dialect)
    return TableVersion.of(database, table, arranged, keys, collation.charset, collation.name)


def create_sequence(database: str, table: str, rules: Rules) -> TableVersion:
    """Carry out MariaDB's CREATE SEQUENCE: a table of fixed columns."""
    unsigned = {"cache_size", "cycle_option"}
    columns = tuple(
        Column(name, "tinyint" if name == "cycle_option" else "bigint", unsigned=name in unsigned, nullable=False)
        for name in _SEQUENCE_COLUMNS
    )
    collation = rules.database_collation
    return TableVersion.of(database, table, columns, (), collation.charset, collation.name)


def renamed(table: TableVersion, database: str, name: str) -> TableVersion:
    """Return the table under another name."""
    return TableVersion.of(database, name, table.columns, table.keys, table.charset, table.collation)


def _period_columns() -> list[Column]:
    return [Column(name, "timestamp", fsp=6, nullable=False, invisible=True, hidden=True) for name in _PERIOD]


# ---- ALTER ----


def alter(table: TableVersion, operations: Sequence[AlterOperation], rules: Rules) -> TableVersion:
    """Carry out the operations of ALTER TABLE but RENAME TO. Raises DefinitionError."""
    collation = _altered_collation(table, operations, rules)
    columns, names = _altered_columns(table, operations, collation, rules)
    if any(isinstance(operation, ConvertCharset) for operation in operations):
        columns = [_convert_column(column, collation, rules.charsets) for column in columns]
    kept, added = _altered_keys(table, operations, names, rules.dialect)
    arranged, keys = arrange_keys(columns, kept, added, rules.charsets, rules.dialect)
    return TableVersion.of(table.database, table.table, arranged, keys, collation.charset, collation.name)


def _altered_collation(table: TableVersion, operations: Sequence[AlterOperation], rules: Rules) -> Collation:
    collation = rules.collation(table.collation, table.charset)
    for operation in operations:
        if isinstance(operation, SetCharset | ConvertCharset):
            clause = operation.charset
            is_default = clause.charset is not None and clause.charset.lower() == "default"
            collation = rules.resolve(clause, rules.database_collation if is_default else collation)
    return collation


def _altered_columns(
    table: TableVersion, operations: Sequence[AlterOperation], collation: Collation, rules: Rules
) -> tuple[list[Column], dict[str, str]]:
    """Return the columns after the statement, and the new name of each old column that stays (old one folded)."""
    changes = _column_changes(table, operations)
    names: dict[str, str] = {}
    columns: list[Column] = []
    for old in table.columns:
        folded = old.name.casefold()
        change = changes.get(folded)
        if isinstance(change, DropColumn):
            continue
        new = _changed(old, change, collation, rules)
        names[folded] = new.name
        if not (isinstance(change, ChangeColumn) and change.placement is not None):
            columns.append(_with_settings(new, folded, operations))
    for operation in operations:
        if isinstance(operation, ChangeColumn) and operation.placement is not None:
            if operation.if_exists and table.column(operation.old_name) is None:
                continue
            placed = resolve_column(operation.column, collation, rules)
            _place(columns, placed, operation.placement, table)
        elif isinstance(operation, AddColumn) and not _exists_already(operation, table, columns):
            _place(columns, resolve_column(operation.column, collation, rules), operation.placement, table)
        elif isinstance(operation, SetSystemVersioning):
            columns = [column for column in columns if column.name not in _PERIOD or not column.hidden]
            columns += _period_columns() if operation.versioned else []
    return columns, names


_ColumnChange = DropColumn | ChangeColumn | RenameColumn


def _column_changes(table: TableVersion, operations: Iterable[AlterOperation]) -> dict[str, _ColumnChange]:
    """Index the operations on existing columns by folded old name."""
    changes: dict[str, _ColumnChange] = {}
    for operation in operations:
        if not isinstance(operation, _ColumnChange):
            continue
        name = operation.name if isinstance(operation, DropColumn) else operation.old_name
        if table.column(name) is not None:
            changes[name.casefold()] = operation
        elif not operation.if_exists:
            raise DefinitionError(f"column {name} is not known")
    return changes


def _changed(old: Column, change: _ColumnChange | None, collation: Collation, rules: Rules) -> Column:
    if isinstance(change, ChangeColumn):
        return resolve_column(change.column, collation, rules)
    return replace(old, name=change.new_name) if isinstance(change, RenameColumn) else old


def _with_settings(column: Column, old_name: str, operations: Iterable[AlterOperation]) -> Column:
    """Carry out ALTER COLUMN SET …, which names columns as they were."""
    for operation in operations:
        if isinstance(operation, SetColumnDefault) and operation.name.casefold() == old_name:
            column = replace(column, default=operation.default)
        elif isinstance(operation, SetColumnVisibility) and operation.name.casefold() == old_name:
            column = replace(column, invisible=operation.invisible)
    return column


def _exists_already(operation: AddColumn, table: TableVersion, columns: Sequence[Column]) -> bool:
    if not operation.if_not_exists:
        return False
    name = operation.column.name.casefold()
    return table.column(name) is not None or any(column.name.casefold() == name for column in columns)


def _place(columns: list[Column], column: Column, placement: Placement, table: TableVersion) -> None:
    """Insert a column; hidden ones stay behind what is added last."""
    if placement == "first":
        columns.insert(0, column)
    elif placement == "last":
        hidden = sum(1 for candidate in columns if candidate.hidden)
        columns.insert(len(columns) - hidden, column)
    else:
        wanted = placement[1].casefold()
        index = next((index for index, other in enumerate(columns) if other.name.casefold() == wanted), None)
        if index is None:
            raise DefinitionError(f"column {placement[1]} is not known in {table.database}.{table.table}")
        columns.insert(index + 1, column)


def _altered_keys(
    table: TableVersion, operations: Sequence[AlterOperation], names: dict[str, str], dialect: Dialect
) -> tuple[list[Key], list[KeyDefinition]]:
    """Return the keys that stay, their columns renamed, and the definitions of those that come."""
    dropped: set[str] = set()
    renames: dict[str, str] = {}
    added: list[KeyDefinition] = []
    known = {key.name.casefold() for key in table.keys}
    unique = {key.name.casefold() for key in table.keys if key.unique}
    for operation in operations:
        if isinstance(operation, DropKey):
            dropped.add(operation.name.casefold())
        elif isinstance(operation, DropConstraint):
            dropped |= {operation.name.casefold()} & unique
        elif isinstance(operation, RenameKey):
            renames[operation.old_name.casefold()] = operation.new_name
        elif isinstance(operation, AddColumn | ChangeColumn):
            added += _keys_of_column(operation, table, dialect)
        elif isinstance(operation, AddKey):
            name = (operation.key.name or "").casefold()
            if operation.replace:
                dropped.add(name)
            if not (operation.key.if_not_exists and name in known - dropped):
                added.append(operation.key)
    kept = [_with_columns(key, names) for key in table.keys if key.name.casefold() not in dropped]
    kept = [replace(key, name=renames.get(key.name.casefold(), key.name)) for key in kept]
    return [key for key in kept if key.columns or key.functional], added


def _keys_of_column(operation: AddColumn | ChangeColumn, table: TableVersion, dialect: Dialect) -> list[KeyDefinition]:
    existed = (
        table.column(operation.column.name if isinstance(operation, AddColumn) else operation.old_name) is not None
    )
    if isinstance(operation, AddColumn):
        ignored = operation.if_not_exists and existed
    else:
        ignored = operation.if_exists and not existed
    return [] if ignored else column_keys(operation.column, dialect)


def _with_columns(key: Key, names: dict[str, str]) -> Key:
    """Follow renamed and dropped columns."""
    prefixes = key.prefixes or (0,) * len(key.columns)
    parts = [
        (names[name.casefold()], prefix)
        for name, prefix in zip(key.columns, prefixes, strict=True)
        if name.casefold() in names
    ]
    kept_prefixes = tuple(prefix for _, prefix in parts)
    return replace(key, columns=tuple(name for name, _ in parts), prefixes=kept_prefixes if any(kept_prefixes) else ())
