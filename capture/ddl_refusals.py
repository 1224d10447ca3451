"""Statements that a server refuses by what there is: what no binlog has, a source that makes its own must not write.

The schema history takes each statement of a binlog for one that worked. `refuse` asks before: whether tables, columns
and databases are there that a statement needs, and are not there that it makes. `why_no_ddl` has the words for what
is no DDL at all. Left to others: syntax (`capture/ddl.py`), types and keys (`capture/definition.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from capture.errors import SourceRefused
from capture.statements import (
    TABLE_STATEMENTS,
    AddColumn,
    Administration,
    AlterTable,
    ChangeColumn,
    ColumnDefinition,
    CreateDatabase,
    CreateTable,
    CreateTableLike,
    DataChange,
    DropColumn,
    DropDatabase,
    DropTable,
    RenameColumn,
    RenameTable,
    RenameTo,
    TableName,
    TransactionControl,
    TruncateTable,
    Unknown,
)
from capture.table import TableVersion

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from capture.schema import SchemaHistory
    from capture.statements import Statement


NAME_CHARACTERS_MAX = 64
"""NAME_CHAR_LEN of MySQL's mysql_com.h."""

_SHOWN_CHARACTERS = 80


class _Look:
    """What there is, for one statement."""

    def __init__(self, history: SchemaHistory, database: str) -> None:
        self.history = history
        self.database = database

    def name(self, table: TableName) -> tuple[str, str]:
        return self.history.name(table.database or self.database, table.table)

    def needs(self, table: TableName) -> None:
        name = self.name(table)
        if not self.history.exists(*name):
            raise SourceRefused(no_table(*name))

    def needs_room(self, table: TableName) -> None:
        name = self.name(table)
        if self.history.exists(*name):
            raise SourceRefused(
                f"table {'.'.join(name)} already exists; give the new one another name, change it with ALTER TABLE or "
                f"drop it first"
            )


def no_table(database: str, table: str) -> str:
    """What to say where a table is needed that is not there."""
    return f"there is no table {database}.{table}; make it by CREATE TABLE first"


def why_no_ddl(sql: str, statements: Sequence[Statement]) -> str | None:
    """Why a text is not only DDL of tables and databases, in a sentence; None if it is."""
    if not statements:
        return f"{sql[:_SHOWN_CHARACTERS]!r} is no statement"
    wrong = next((statement for statement in statements if not isinstance(statement, TABLE_STATEMENTS)), None)
    if wrong is None:
        return None
    match wrong:
        case Unknown(reason=reason):
            why = reason
        case DataChange(verb=verb):
            why = f"{verb} is about rows"
        case TransactionControl(verb=verb):
            why = f"{verb} is about transactions"
        case Administration(verb=verb):
            why = f"{verb} changes no table"
    return f"{sql[:_SHOWN_CHARACTERS]!r} is not understood as DDL of tables or databases: {why}"


def refuse(history: SchemaHistory, statement: Statement, database: str) -> None:
    """Raise SourceRefused where a server with these tables would carry nothing out."""
    for name in _new_names(statement):
        if len(name) > NAME_CHARACTERS_MAX:
            raise SourceRefused(f"the name {name[:20]}… has {len(name)} characters; {NAME_CHARACTERS_MAX} are allowed")
    for column in _new_columns(statement):
        _refuse_size(column, MARIADB_SCALE_MAX if history.dialect.is_mariadb else SCALE_MAX)
    check = _CHECKS.get(type(statement))
    if check is not None:
        check(_Look(history, database), statement)


def refuse_keys(table: TableVersion) -> None:
    """Raise SourceRefused for a definition that a server has not: keys of columns that are not there."""
    names = {column.name.casefold() for column in table.columns}
    for key in table.keys:
        for column in key.columns:
            if column.casefold() not in names:
                raise SourceRefused(
                    f"the key {key.name} of {table.database}.{table.table} names the column {column}, which it has not"
                )


def _new_names(statement: Statement) -> Iterator[str]:
    """The names that a statement gives to databases, tables and columns."""
    match statement:
        case CreateDatabase(database=name):
            yield name
        case CreateTable(table=table, columns=columns):
            yield table.table
            yield from (column.name for column in columns)
        case CreateTableLike(table=table):
            yield table.table
        case RenameTable(renames=renames):
            yield from (new.table for _, new in renames)
        case AlterTable(operations=operations):
            for operation in operations:
                match operation:
                    case AddColumn(column=column) | ChangeColumn(column=column):
                        yield column.name
                    case RenameColumn(new_name=name):
                        yield name
                    case RenameTo(name=new):
                        yield new.table


def _new_columns(statement: Statement) -> Iterator[ColumnDefinition]:
    match statement:
        case CreateTable(columns=columns):
            yield from columns
        case AlterTable(operations=operations):
            for operation in operations:
                if isinstance(operation, AddColumn | ChangeColumn):
                    yield operation.column


def _refuse_size(column: ColumnDefinition, scale_max: int) -> None:
    """Sizes in parentheses that no type has (sql/parse_tree_column_attrs.h and `Create_field::init`)."""
    kind = column.data_type
    for size, size_max, what in (
        (kind.length, _LENGTHS_MAX.get(kind.name), "size"),
        (kind.precision, _DIGITS_MAX.get(kind.name), "digits"),
        (kind.scale, min(scale_max, kind.precision or scale_max), "digits behind the point"),
        (kind.fsp, FSP_MAX, "digits of a second"),
    ):
        if size is not None and size_max is not None and size > size_max:
            raise SourceRefused(
                f"the column {column.name} {kind.name.upper()} would have {size} as its {what}; up to {size_max} are "
                f"allowed"
            )


_LENGTHS_MAX = {"bit": 64, "char": 255, "binary": 255, "varchar": 65535, "varbinary": 65535, "vector": 16383}
_DIGITS_MAX = {"decimal": 65, "float": 255, "double": 255}
SCALE_MAX = 30
MARIADB_SCALE_MAX = 38
FSP_MAX = 6


def _create(look: _Look, statement: CreateTable | CreateTableLike) -> None:
    if isinstance(statement, CreateTable):
        _refuse_twice(look.name(statement.table), (column.name for column in statement.columns))
    if not (statement.temporary or statement.if_not_exists or statement.or_replace):
        look.needs_room(statement.table)


def _refuse_twice(table: tuple[str, str], names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name.casefold() in seen:
            raise SourceRefused(f"{'.'.join(table)} would have the column {name} twice; give one another name")
        seen.add(name.casefold())


def _drop(look: _Look, statement: DropTable) -> None:
    if not (statement.temporary or statement.if_exists):
        for table in statement.tables:
            look.needs(table)


def _rename(look: _Look, statement: RenameTable) -> None:
    there: dict[tuple[str, str], bool] = {}
    for old, new in statement.renames:
        if not there.get(look.name(old), False):
            look.needs(old)
        if there.get(look.name(new), True):
            look.needs_room(new)
        there[look.name(old)], there[look.name(new)] = False, True


def _alter(look: _Look, statement: AlterTable) -> None:
    name = look.name(statement.table)
    if statement.if_exists and not look.history.exists(*name):
        return
    look.needs(statement.table)
    table = look.history.state(*name)
    if not isinstance(table, TableVersion):
        return
    columns = [column.name for column in table.columns]
    for operation in statement.operations:
        match operation:
            case DropColumn(name=column, if_exists=False) | RenameColumn(old_name=column, if_exists=False):
                _need_column(table, name, column)
            case ChangeColumn(old_name=column, if_exists=False):
                _need_column(table, name, column)
            case RenameTo(name=new) if look.name(new) != name:
                look.needs_room(new)
    _refuse_twice(name, _columns_after(columns, statement))


def _need_column(table: TableVersion, name: tuple[str, str], column: str) -> None:
    if table.column(column) is None:
        raise SourceRefused(
            f"{'.'.join(name)} has no column {column}; it has {', '.join(c.name for c in table.columns)}"
        )


def _columns_after(columns: list[str], statement: AlterTable) -> list[str]:
    """The columns' names as ALTER TABLE would leave them; those that IF NOT EXISTS adds do not count."""
    gone: set[str] = set()
    new: list[str] = []
    for operation in statement.operations:
        match operation:
            case AddColumn(column=column, if_not_exists=False):
                new.append(column.name)
            case ChangeColumn(old_name=old, column=column):
                gone.add(old.casefold())
                new.append(column.name)
            case RenameColumn(old_name=old, new_name=column_name):
                gone.add(old.casefold())
                new.append(column_name)
            case DropColumn(name=old):
                gone.add(old.casefold())
    return [name for name in columns if name.casefold() not in gone] + new


def _create_database(look: _Look, statement: CreateDatabase) -> None:
    if not (statement.if_not_exists or statement.or_replace) and look.history.knows_database(statement.database):
        raise SourceRefused(f"database {statement.database} already exists; drop it first, or give it another name")


def _drop_database(look: _Look, statement: DropDatabase) -> None:
    if not statement.if_exists and not look.history.knows_database(statement.database):
        raise SourceRefused(f"there is no database {statement.database}; make it by CREATE DATABASE first")


_CHECKS: dict[type, Callable[[_Look, Any], None]] = {
    CreateTable: _create,
    CreateTableLike: _create,
    DropTable: _drop,
    RenameTable: _rename,
    AlterTable: _alter,
    TruncateTable: lambda look, statement: look.needs(statement.table),
    CreateDatabase: _create_database,
    DropDatabase: _drop_database,
}
