"""What a statement says about the tables it names, as far as it concerns the definition they had *before* it.

Read backwards from a definition that is known: whether it also held before a statement. What statements make of a
definition, forwards, is `capture/execution.py`'s business.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

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
    Statement,
    TableName,
    Unknown,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class Effect(Enum):
    """What a statement says about a table's definition before it."""

    CREATED = "did not exist"
    CREATED_IF_MISSING = "did not exist, or was not touched"
    DROPPED = "was another table"
    CHANGED = "was something else"


def effects(statements: Iterable[Statement], default: str) -> Iterator[tuple[str, str, Effect]]:
    """(database, table, effect) of each table a Query event is about; an empty table name means the whole database."""
    for statement in statements:
        for name, effect in _statement_effects(statement):
            database = default if name.database is None else name.database
            yield database, name.table, effect


def _statement_effects(statement: Statement) -> Iterator[tuple[TableName, Effect]]:
    if getattr(statement, "temporary", False):
        return
    if isinstance(statement, CreateTable | CreateTableLike | CreateSequence):
        yield statement.table, _creation(statement)
    elif isinstance(statement, DropTable):
        for table in statement.tables:
            yield table, Effect.DROPPED
    elif isinstance(statement, RenameTable):
        for old, new in statement.renames:
            yield old, Effect.CHANGED
            yield new, Effect.CREATED
    elif isinstance(statement, AlterTable):
        if statement.operations:  # others leave columns and keys as they are
            yield statement.table, Effect.CHANGED
    elif isinstance(statement, CreateDatabase):
        yield TableName(statement.database, ""), _creation(statement)
    elif isinstance(statement, DropDatabase):
        yield TableName(statement.database, ""), Effect.DROPPED
    elif isinstance(statement, AlterDatabase):
        yield TableName(statement.database, ""), Effect.CHANGED
    elif isinstance(statement, Unknown):
        for table in statement.tables:
            yield table, Effect.CHANGED


def _creation(statement: CreateTable | CreateTableLike | CreateSequence | CreateDatabase) -> Effect:
    if statement.or_replace:
        return Effect.DROPPED
    return Effect.CREATED_IF_MISSING if statement.if_not_exists else Effect.CREATED
