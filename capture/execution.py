"""Statements carried out on the schema history: which tables they touch, in which order, and what is left of them.

One function per kind of statement, in one table. `capture/definition.py` computes a single table's next version; this
module knows databases, names, and tables that come from where the history does not look. Statements that change no
table have no row in the table and no effect.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from capture.ddl import parse
from capture.definition import alter, create, create_sequence, renamed
from capture.errors import UnsupportedStatement
from capture.resolution import WITH_CHARSET, DefinitionError
from capture.statements import (
    AlterDatabase,
    AlterTable,
    CreateDatabase,
    CreateSequence,
    CreateTable,
    CreateTableLike,
    DropDatabase,
    DropTable,
    RenameTable,
    RenameTo,
    TableName,
    Unknown,
)
from capture.table import TableVersion

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from capture.charsets import Collation
    from capture.schema import Change, Position, SchemaHistory, Session
    from capture.statements import Statement

_State = TableVersion | str | None


class _Execution:
    """One statement on its way: where it happens, and the changes it has made."""

    def __init__(self, history: SchemaHistory, session: Session, position: Position, sql: str) -> None:
        self.history = history
        self.session = session
        self.position = position
        self.sql = sql
        self.changes: list[Change] = []

    def name(self, name: TableName) -> tuple[str, str]:
        """Return the names a statement means: the default database filled in, stored as the server stores them."""
        return self.history.name(name.database or self.session.database or "", name.table)

    def set(self, database: str, table: str, state: _State) -> None:
        change = self.history.set_table(database, table, state, self.position, self.sql)
        if change is not None:
            self.changes.append(change)

    def lost(self, database: str, table: str, reason: str) -> None:
        """Record that a table is not known any more, if anybody could care."""
        if self.history.is_tracked(database, table) or self.history.exists(database, table):
            self.set(database, table, self.sentence(database, table, reason))

    def sentence(self, database: str, table: str, reason: str) -> str:
        file_number, position = self.position
        return (
            f"the definition of {database}.{table} is not known since the statement that ends at position {position} "
            f"of binlog file {file_number}: {reason}"
        )


def execute(
    history: SchemaHistory, statement: Statement, session: Session, position: Position, sql: str
) -> list[Change]:
    """Carry out one statement; return the changes of tables that the history keeps."""
    execution = _Execution(history, session, position, sql)
    executor = _EXECUTORS.get(type(statement))
    if executor is not None:
        executor(execution, statement)
    return execution.changes


def tables_read(statement: Statement) -> Iterator[TableName]:
    """List the tables whose definition a statement needs; of all others it matters only whether they are there."""
    if isinstance(statement, AlterTable):
        yield statement.table
    elif isinstance(statement, CreateTableLike):
        yield statement.source
    elif isinstance(statement, RenameTable):
        for old, _ in statement.renames:
            yield old


def undecided_charset(history: SchemaHistory, statements: Iterable[Statement], default: str) -> str | None:
    """Say which column a CREATE TABLE leaves to its database's default charset where nobody has said that one.

    Happens where no server can be asked for it: files that begin behind the CREATE DATABASE.
    """
    for statement in statements:
        if not isinstance(statement, CreateTable) or statement.temporary or statement.charset is not None:
            continue
        database = statement.table.database or default
        if not history.is_tracked(database, statement.table.table) or history.knows_database(database):
            continue
        for column in statement.columns:
            kind = column.data_type
            if kind.name in WITH_CHARSET and not (kind.charset or kind.collation):
                return (
                    f"column {column.name} of {database}.{statement.table.table} has the default character set of its "
                    f"database, which is not known"
                )
    return None


def read_show_create(history: SchemaHistory, database: str, table: str, text: str) -> TableVersion | str:
    """Read a SHOW CREATE TABLE text; a sentence if it is not understood."""
    from capture.schema import Session

    statements = parse(text, 0, history.dialect)
    statement = statements[0] if statements else Unknown("the text is empty")
    rules = history.rules(Session(database, explicit_defaults_for_timestamp=True), database)
    reason = "it is no CREATE TABLE"
    try:
        if isinstance(statement, CreateTable):
            return create(statement, database, table, rules)
        if isinstance(statement, CreateSequence):
            return create_sequence(database, table, rules)
        if isinstance(statement, Unknown):
            reason = statement.reason
    except DefinitionError as error:
        reason = str(error)
    return f"the definition of {database}.{table} that the server shows is not understood: {reason}"


# ---- tables ----


def _create_table(execution: _Execution, statement: CreateTable) -> None:
    if statement.temporary:
        return
    database, table = execution.name(statement.table)
    if _may_exist(execution, database, table, if_not_exists=statement.if_not_exists):
        return
    try:
        state: _State = create(statement, database, table, execution.history.rules(execution.session, database))
    except DefinitionError as error:
        state = execution.sentence(database, table, str(error))
    execution.set(database, table, state)


def _create_sequence(execution: _Execution, statement: CreateSequence) -> None:
    database, table = execution.name(statement.table)
    if not statement.temporary and not _may_exist(execution, database, table, if_not_exists=statement.if_not_exists):
        execution.set(database, table, create_sequence(database, table, execution.history.rules(execution.session)))


def _create_like(execution: _Execution, statement: CreateTableLike) -> None:
    if statement.temporary:
        return
    database, table = execution.name(statement.table)
    if _may_exist(execution, database, table, if_not_exists=statement.if_not_exists):
        return
    source = execution.name(statement.source)
    state = execution.history.state(*source)
    if isinstance(state, TableVersion):
        execution.set(database, table, renamed(state, database, table))
    else:
        reason = state or f"it was made LIKE {'.'.join(source)}, whose definition the schema history does not have"
        _set_unknown(execution, database, table, reason)


def _may_exist(execution: _Execution, database: str, table: str, *, if_not_exists: bool) -> bool:
    """Say whether IF NOT EXISTS found a table, which the log does not tell: known ones did exist."""
    if not if_not_exists:
        return False
    if execution.history.exists(database, table):
        return True
    # A tracked table that existed would be known; of others nothing is.
    if execution.history.keeps(database) and not execution.history.is_tracked(database, table):
        _set_unknown(execution, database, table, "CREATE TABLE IF NOT EXISTS may have found it in place")
        return True
    return False


def _set_unknown(execution: _Execution, database: str, table: str, reason: str) -> None:
    execution.set(database, table, execution.sentence(database, table, reason))


def _drop_table(execution: _Execution, statement: DropTable) -> None:
    if statement.temporary:
        return
    for name in statement.tables:
        _forget(execution, *execution.name(name))


def _forget(execution: _Execution, database: str, table: str) -> None:
    if execution.history.exists(database, table):
        execution.set(database, table, None)


def _rename_table(execution: _Execution, statement: RenameTable) -> None:
    for old_name, new_name in statement.renames:
        _rename(execution, execution.name(old_name), execution.name(new_name))


def _rename(execution: _Execution, old: tuple[str, str], new: tuple[str, str]) -> None:
    state = execution.history.state(*old)
    if state is None and execution.history.is_tracked(*old):
        return  # were it a table, it would be known: views are renamed with this statement too
    if state is None:
        reason = f"it was {'.'.join(old)} before, whose definition the schema history does not have"
        execution.lost(*new, reason)
        return
    _forget(execution, *old)
    if isinstance(state, TableVersion):
        execution.set(*new, renamed(state, *new))
    else:
        execution.set(*new, state)


def _alter_table(execution: _Execution, statement: AlterTable) -> None:
    database, table = execution.name(statement.table)
    history = execution.history
    state = history.state(database, table)
    renames = [operation.name for operation in statement.operations if isinstance(operation, RenameTo)]
    operations = tuple(operation for operation in statement.operations if not isinstance(operation, RenameTo))
    if isinstance(state, TableVersion) and operations:
        try:
            new = alter(state, operations, history.rules(execution.session, database))
            if new != state:
                execution.set(database, table, new)
        except DefinitionError as error:
            execution.lost(database, table, str(error))
    elif state is None and operations and not statement.if_exists:
        execution.lost(database, table, "it was altered, and the schema history did not have it before")
    for name in renames:
        _rename(execution, (database, table), execution.name(name))


# ---- databases ----


def _create_database(execution: _Execution, statement: CreateDatabase) -> None:
    if statement.or_replace:
        _drop_database(execution, DropDatabase(statement.database))
    server = execution.history.server_collation(execution.session)
    _set_database(execution, statement.database, statement, server)


def _alter_database(execution: _Execution, statement: AlterDatabase) -> None:
    database = statement.database or execution.session.database or ""
    current = execution.history.database_collation(database)
    is_default = statement.charset is not None and (statement.charset.charset or "").lower() == "default"
    server = execution.history.server_collation(execution.session)
    _set_database(execution, database, statement, server if is_default else current)


def _set_database(
    execution: _Execution, name: str, statement: CreateDatabase | AlterDatabase, inherited: Collation
) -> None:
    database, _ = execution.history.name(name, "")
    if isinstance(statement, CreateDatabase) and statement.if_not_exists and execution.history.knows_database(database):
        return
    try:
        collation = execution.history.rules(execution.session).resolve(statement.charset, inherited)
    except DefinitionError as error:
        if execution.history.keeps(database):
            raise UnsupportedStatement(f"the default character set of database {database}: {error}") from None
        return
    execution.history.set_database(database, collation, execution.position, execution.sql)


def _drop_database(execution: _Execution, statement: DropDatabase) -> None:
    database, _ = execution.history.name(statement.database, "")
    for table in execution.history.tables_of(database):
        _forget(execution, database, table)
    execution.history.set_database(database, None, execution.position, execution.sql)


def _unknown(execution: _Execution, statement: Unknown) -> None:
    for name in statement.tables:
        database, table = execution.name(name)
        if table:
            execution.lost(database, table, statement.reason)
        elif execution.history.keeps(database):
            raise UnsupportedStatement(f"a statement about database {database} is not understood: {statement.reason}")


_EXECUTORS: dict[type, Callable[[_Execution, Any], None]] = {
    CreateTable: _create_table,
    CreateTableLike: _create_like,
    CreateSequence: _create_sequence,
    DropTable: _drop_table,
    RenameTable: _rename_table,
    AlterTable: _alter_table,
    CreateDatabase: _create_database,
    AlterDatabase: _alter_database,
    DropDatabase: _drop_database,
    Unknown: _unknown,
}
