"""What CREATE TABLE and ALTER TABLE make of a table: statements carried out on a TableVersion, as the server does it.

The statement stands in the binlog, so it succeeded: nothing here checks what the server has checked. Rules that are not
in the manual follow the server's source (sql_table.cc `mysql_prepare_alter_table` and `mysql_prepare_create_table`):

- columns: dropped and changed in place first; those with a place (FIRST, AFTER) and added ones then, one by one, AFTER
  meaning names after the statement
- a single column, its charset and CONVERT TO are `capture/resolution.py`'s, keys `capture/keys.py`'s

DefinitionError: the statement does not fit what is known of the table, so what is known is wrong.
"""

from collections.abc import Iterable, Sequence

from msgspec.structs import replace

from capture.charsets import Collation
from capture.dialect import Dialect
from capture.keys import arrange_keys, column_keys
from capture.resolution import DefinitionError, Rules, convert_columns, resolve_column
from capture.statements import (
    AddColumn,
    AddKey,
    AlterOperation,
    ChangeColumn,
    ConvertCharset,
    CreateTable,
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

_SEQUENCE_COLUMNS = (
    *("next_not_cached_value", "minimum_value", "maximum_value", "start_value", "increment"),
    *("cache_size", "cycle_option", "cycle_count"),
)


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
    charset, collation = table.charset, table.collation
    return TableVersion.of(database, name, table.columns, table.keys, charset, collation, partial=table.partial)


def _period_columns() -> list[Column]:
    return [Column(name, "timestamp", fsp=6, nullable=False, invisible=True, hidden=True) for name in _PERIOD]


# ---- ALTER ----


def alter(table: TableVersion, operations: Sequence[AlterOperation], rules: Rules) -> TableVersion:
    """Carry out the operations of ALTER TABLE but RENAME TO. Raises DefinitionError."""
    if table.partial:
        raise DefinitionError("it was altered, and what it was before is known from the binlog's metadata alone")
    collation = _altered_collation(table, operations, rules)
    columns, names = _altered_columns(table, operations, collation, rules)
    if any(isinstance(operation, ConvertCharset) for operation in operations):
        columns = convert_columns(columns, operations, collation, rules)
        if len(operations) == 1 and columns == list(table.columns):
            collation = _collation_of_unchanged(table, collation, rules)
    kept, added = _altered_keys(table, operations, names, rules.dialect)
    arranged, keys = arrange_keys(columns, kept, added, rules.charsets, rules.dialect)
    return TableVersion.of(table.database, table.table, arranged, keys, collation.charset, collation.name)


def _altered_collation(table: TableVersion, operations: Sequence[AlterOperation], rules: Rules) -> Collation:
    collation = rules.collation(table.collation, table.charset)
    for operation in operations:
        if isinstance(operation, SetCharset | ConvertCharset):
            is_default = (operation.charset.charset or "").lower() == "default"
            collation = rules.resolve(operation.charset, rules.convert_default if is_default else collation)
    return collation


def _collation_of_unchanged(table: TableVersion, collation: Collation, rules: Rules) -> Collation:
    """Return the table's collation after a CONVERT TO that has no column to convert: 5.6 takes it for no change."""
    if rules.dialect.is_mariadb or rules.dialect.version >= (8, 0, 0) or collation.name == table.collation:
        return collation
    if rules.dialect.version >= (5, 7, 0):
        raise DefinitionError(
            "what CONVERT TO CHARACTER SET does without a column to convert is not known of MySQL 5.7"
        )
    return rules.collation(table.collation, table.charset)


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
