"""Table definitions at a proven position: SHOW CREATE TABLE, and the proof that nothing changed in between.

A definition read from the server is that of *now*. It holds at an earlier position if the binlog between the two has
no statement about the table. So: read the definitions, then the binlog's end, then look through the binlog from the
wanted position to that end. For each tracked table the first statement about it in that stretch decides:

    none, or only CREATE … IF NOT EXISTS   the definition holds from the wanted position on
    CREATE TABLE                           the table did not exist; the stream will bring it
    DROP TABLE, DROP DATABASE              another table had the name; rows of it would stop the channel
    anything else                          the definition at the wanted position is not known: refused, with the list

The same rule serves a channel's start and a single table whose history was lost. What a definition means is
`capture/schema.py`'s business.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from capture.errors import SchemaMismatch, SourceRefused
from capture.events import QueryEvent
from capture.position import BinlogPosition
from capture.scan import statements_between
from capture.source import ServerRefusal
from capture.start import current_end
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

    from capture.selection import Selection
    from capture.source import ServerInfo, Source

NOT_THERE = frozenset({1049, 1051, 1146})
"""Errors by which a server says that a database or table does not exist."""

TABLES_NAMED_MAX = 10
"""How many tables an error text lists."""

_TABLE_TYPES = "'BASE TABLE', 'SYSTEM VERSIONED', 'SEQUENCE'"


class Effect(Enum):
    """What a statement says about a table's definition before it."""

    CREATED = "did not exist"
    CREATED_IF_MISSING = "did not exist, or was not touched"
    DROPPED = "was another table"
    CHANGED = "was something else"


@dataclass(frozen=True, slots=True)
class Definitions:
    """SHOW CREATE texts that hold at the position asked for: (name, text) of databases, (database, text) of tables."""

    databases: tuple[tuple[str, str], ...]
    tables: tuple[tuple[str, str], ...]


async def definitions_at(
    source: Source, info: ServerInfo, selection: Selection, position: BinlogPosition
) -> Definitions:
    """The definitions at `position` of all tables in databases of which something is tracked.

    A table that is not tracked and changed since is left out. Raises DefinitionsChanged with the tracked ones that did.
    """
    databases = [(name, await _show(source, "DATABASE", name)) for name in await _databases(source, selection)]
    tables = [(database, table) for database, table in await _tables(source, selection)]
    texts = [(database, table, await _show(source, "TABLE", database, table)) for database, table in tables]
    end, _ = await current_end(source, info)
    effects = await _effects_between(source, info, selection, position, end)
    unknown = sorted(key for key, effect in effects.items() if effect is Effect.CHANGED and selection(*key))
    if unknown:
        raise DefinitionsChanged(position, unknown)

    def holds(database: str, table: str = "") -> bool:
        return effects.get(selection.name(database, table)) in (Effect.CREATED_IF_MISSING, None)

    return Definitions(
        tuple((name, text) for name, text in databases if text is not None and holds(name)),
        tuple(
            (database, text)
            for database, table, text in texts
            if text is not None and holds(database) and holds(database, table)
        ),
    )


class DefinitionsChanged(SourceRefused):
    """Statements between the wanted position and now changed tables whose earlier definition nobody knows."""

    def __init__(self, position: BinlogPosition, tables: list[tuple[str, str]]) -> None:
        names = [f"{database}.{table}" if table else database for database, table in tables]
        more = f" and {len(names) - TABLES_NAMED_MAX} more" if len(names) > TABLES_NAMED_MAX else ""
        self.found = (
            f"the definitions that tables had at {position} are not known, because statements after it changed "
            f"{', '.join(names[:TABLES_NAMED_MAX])}{more}"
        )
        super().__init__(f"{self.found}; start after those statements")


async def definition_since(
    source: Source,
    info: ServerInfo,
    selection: Selection,
    database: str,
    table: str,
    boundary: BinlogPosition,
    since: BinlogPosition,
) -> str:
    """SHOW CREATE TABLE of one table, proven to hold since `since`; `boundary` is a transaction boundary before that.

    Raises SchemaMismatch if it cannot be proven or the table is gone.
    """
    text = await _show(source, "TABLE", database, table)
    if text is None:
        raise SchemaMismatch(f"the table {database}.{table} is not on the source any more, so it cannot be read again")
    end, _ = await current_end(source, info)
    async for position, step in statements_between(source, info, boundary, end):
        if position.order < since.order:
            continue
        assert isinstance(step.event, QueryEvent)
        for effect_database, effect_table, _ in _effects(step.statements, step.event.database):
            if selection.same(effect_database, database) and (not effect_table or selection.same(effect_table, table)):
                raise SchemaMismatch(
                    f"the definition of {database}.{table} at {since} is not known, and it changed again at {position}"
                )
    return text


# ---- what the server has ----


async def _databases(source: Source, selection: Selection) -> list[str]:
    rows = await source.query("SELECT schema_name FROM information_schema.schemata")
    return sorted(name for (name,) in rows if name is not None and selection(name, ""))


async def _tables(source: Source, selection: Selection) -> list[tuple[str, str]]:
    rows = await source.query(
        f"SELECT table_schema, table_name FROM information_schema.tables WHERE table_type IN ({_TABLE_TYPES})"  # noqa: S608
    )
    return sorted((database, table) for database, table in rows if database and table and selection(database, ""))


async def _show(source: Source, kind: str, *names: str) -> str | None:
    """A SHOW CREATE text, None if the thing is gone."""
    quoted = ".".join(f"`{name.replace('`', '``')}`" for name in names)
    try:
        rows = await source.query(f"SHOW CREATE {kind} {quoted}")
    except ServerRefusal as refusal:
        if refusal.code in NOT_THERE:
            return None
        raise
    return rows[0][1]


# ---- what the binlog says ----


async def _effects_between(
    source: Source, info: ServerInfo, selection: Selection, start: BinlogPosition, end: BinlogPosition
) -> dict[tuple[str, str], Effect]:
    """The effect that decides for each tracked table (a database: empty table name), named as the server compares."""
    found: dict[tuple[str, str], Effect] = {}
    async for _, step in statements_between(source, info, start, end):
        assert isinstance(step.event, QueryEvent)
        for database, table, effect in _effects(step.statements, step.event.database):
            if not selection(database, ""):
                continue
            name = selection.name(database, table)
            before = found.get(name)
            if before is None:
                found[name] = effect
            elif before is Effect.CREATED_IF_MISSING and effect is not Effect.CREATED_IF_MISSING:
                found[name] = Effect.CHANGED
    return found


def _effects(statements: Iterable[Statement], default: str) -> Iterator[tuple[str, str, Effect]]:
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
