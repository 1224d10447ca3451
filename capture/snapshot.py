"""Table definitions at a proven position: SHOW CREATE TABLE, and the proof that nothing changed in between.

A definition read from the server is that of *now*. It holds at an earlier position if the binlog between the two has
no statement about the table. So: read the definitions, then the binlog's end, then look through the binlog from the
wanted position to that end. For each tracked table the first statement about it in that stretch decides:

    none, or only CREATE … IF NOT EXISTS   the definition holds from the wanted position on
    CREATE TABLE                           the table did not exist; the stream will bring it
    DROP TABLE, DROP DATABASE              another table had the name; the stream will tell of its end
    anything else                          the definition at the wanted position is not known

Who starts at `now` may begin a moment later: the position moves behind the statements, and what they were about is read
again, nothing else. For a position that is given, `capture/past.py` looks for other ways to the definition. What a
definition means is `capture/schema.py`'s business, what a statement says about one `capture/effects.py`'s.
"""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

from msgspec import Struct

from capture.effects import Effect, effects
from capture.errors import SchemaMismatch, SourceRefused
from capture.events import QueryEvent
from capture.progress import quiet, through
from capture.scan import statements_between
from capture.source import ServerRefusal
from capture.sql import quote_identifier
from capture.start import current_end, set_before

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from capture.position import BinlogPosition, GtidSet
    from capture.progress import Tell
    from capture.selection import Selection
    from capture.source import ServerInfo, Source

NOT_THERE = frozenset({1049, 1051, 1146})
"""Errors by which a server says that a database or table does not exist."""

TABLES_NAMED_MAX = 10
"""How many tables an error text lists."""

SNAPSHOT_ROUNDS_MAX = 20
"""How often tables that change while they are being read are read again."""

_TABLE_TYPES = "'BASE TABLE', 'SYSTEM VERSIONED', 'SEQUENCE'"

_Name = tuple[str, str]
_Effects = dict[_Name, Effect]
_HELD = (None, Effect.CREATED_IF_MISSING)


class Definitions(Struct, frozen=True):
    """SHOW CREATE texts that hold at the position asked for: (name, text) of databases, (database, text) of tables.

    `unknown` are tracked tables that were something else there, a database with an empty table name, and `replaced`
    those that were another table, or none; named as the server compares names.
    """

    databases: tuple[tuple[str, str], ...]
    tables: tuple[tuple[str, str], ...]
    unknown: tuple[_Name, ...] = ()
    replaced: tuple[_Name, ...] = ()


class DefinitionsChanged(SourceRefused):
    """Statements behind the wanted position changed tables whose definition there nobody can tell."""

    def __init__(self, position: BinlogPosition, tables: Sequence[_Name], remedy: str) -> None:
        self.found = (
            f"the definitions that tables had at {position} are not known, because statements after it changed "
            f"{names_in_words(tables)}"
        )
        super().__init__(f"{self.found}; {remedy}")


def names_in_words(tables: Sequence[_Name]) -> str:
    """The tables as a list for people; an empty table name stands for the database."""
    names = [f"{database}.{table}" if table else f"database {database}" for database, table in sorted(tables)]
    more = f" and {len(names) - TABLES_NAMED_MAX} more" if len(names) > TABLES_NAMED_MAX else ""
    return ", ".join(names[:TABLES_NAMED_MAX]) + more


# ---- many tables ----


async def definitions_now(
    source: Source, info: ServerInfo, selection: Selection, tell: Tell = quiet
) -> tuple[BinlogPosition, GtidSet, Definitions]:
    """A position of about now, the transactions before it, and the definitions there.

    Raises DefinitionsChanged where tracked tables changed again whenever they were read.
    """
    position, _ = await current_end(source, info)
    reading = _Reading(source, selection, tell)
    await reading.read_all()
    for _ in range(SNAPSHOT_ROUNDS_MAX):
        end, _ = await current_end(source, info)
        found = await _effects_between(source, info, selection, position, end, tell)
        definitions = reading.definitions(found)
        if not definitions.unknown:
            return position, await set_before(source, info, position), definitions
        await reading.read_again(found)
        position = end
    raise DefinitionsChanged(
        position, definitions.unknown, "they change again whenever they are read; start when they rest"
    )


async def definitions_at(
    source: Source, info: ServerInfo, selection: Selection, position: BinlogPosition, tell: Tell = quiet
) -> Definitions:
    """The definitions at `position` of all tables in databases of which something is tracked, as far as they hold.

    A table that is not tracked and changed since is left out.
    """
    reading = _Reading(source, selection, tell)
    await reading.read_all()
    end, _ = await current_end(source, info)
    return reading.definitions(await _effects_between(source, info, selection, position, end, tell))


class _Reading(Struct):
    """What was read of the server, by the names it is listed under."""

    source: Source
    selection: Selection
    tell: Tell
    databases: dict[str, str] = {}
    tables: dict[_Name, str] = {}

    async def read_all(self) -> None:
        rows = await self.source.query("SELECT schema_name FROM information_schema.schemata")
        for database in sorted(name for (name,) in rows if name is not None and self.selection(name, "")):
            await self._read_database(database)
        names = await self._listed()
        for number, name in enumerate(names):
            self.tell(f"reading the definitions of tables: {number:,} of {len(names):,}", number / len(names))
            await self._read_table(*name)

    async def read_again(self, names: Iterable[_Name]) -> None:
        """Read what these names, as the server compares them, stand for now; a database stands for all its tables."""
        stale = set(names)
        databases = {database for database, table in stale if not table}
        for known in [known for known in self.databases if self.selection.name(known, "")[0] in databases]:
            del self.databases[known]
        for name in [name for name in self.tables if self._is_among(name, stale)]:
            del self.tables[name]
        for database in sorted(databases):
            await self._read_database(database)
        for name in await self._listed():
            if self._is_among(name, stale):
                await self._read_table(*name)

    def _is_among(self, name: _Name, stale: set[_Name]) -> bool:
        database, table = self.selection.name(*name)
        return (database, table) in stale or (database, "") in stale

    async def _listed(self) -> list[_Name]:
        rows = await self.source.query(
            f"SELECT table_schema, table_name FROM information_schema.tables WHERE table_type IN ({_TABLE_TYPES})"  # noqa: S608
        )
        return sorted(
            (database, table)
            for database, table in rows
            if database and table and self.selection.keeps(database, table)
        )

    async def _read_database(self, database: str) -> None:
        text = await show_create(self.source, "DATABASE", database)
        if text is not None:
            self.databases[database] = text

    async def _read_table(self, database: str, table: str) -> None:
        text = await show_create(self.source, "TABLE", database, table)
        if text is not None:
            self.tables[database, table] = text

    def definitions(self, found: _Effects) -> Definitions:
        """What holds at the beginning of a stretch in which these effects were found."""
        selection = self.selection

        def effect(database: str, table: str = "") -> Effect | None:
            return found.get(selection.name(database, table))

        def tracked(wanted: Effect) -> tuple[_Name, ...]:
            return tuple(sorted(name for name, found_ in found.items() if found_ is wanted and selection(*name)))

        # Another default charset leaves the tables of a database as they are.
        return Definitions(
            tuple((name, text) for name, text in self.databases.items() if effect(name) in _HELD),
            tuple(
                (database, text)
                for (database, table), text in self.tables.items()
                if effect(database) in (*_HELD, Effect.CHANGED) and effect(database, table) in _HELD
            ),
            tracked(Effect.CHANGED),
            tracked(Effect.DROPPED),
        )


async def show_create(source: Source, kind: str, *names: str) -> str | None:
    """A SHOW CREATE text, None if the thing is gone."""
    try:
        rows = await source.query(f"SHOW CREATE {kind} {'.'.join(map(quote_identifier, names))}")
    except ServerRefusal as refusal:
        if refusal.code in NOT_THERE:
            return None
        raise
    return rows[0][1]


async def _effects_between(
    source: Source,
    info: ServerInfo,
    selection: Selection,
    start: BinlogPosition,
    end: BinlogPosition,
    tell: Tell = quiet,
) -> _Effects:
    """The effect that decides for each tracked table (a database: empty table name), named as the server compares."""
    found: _Effects = {}
    sentence = f"looking for statements that changed definitions between {start} and {end}"
    tell(sentence, None)
    async for at, step in statements_between(source, info, start, end):
        tell(sentence, through(start, at, end))
        assert isinstance(step.event, QueryEvent)
        for database, table, effect in effects(step.statements, step.event.database):
            if not selection(database, ""):
                continue
            name = selection.name(database, table)
            before = found.get(name)
            if before is None:
                found[name] = effect
            elif before is Effect.CREATED_IF_MISSING and effect is not Effect.CREATED_IF_MISSING:
                found[name] = Effect.CHANGED
    return found


# ---- one table ----


class StatementsAhead:
    """What a stream will meet, as far as somebody looked ahead of it: the last statement about each table.

    Every look goes from where the last one ended to the binlog's end, so that the binlog is read once, however many
    tables need it.
    """

    def __init__(self, source: Source, info: ServerInfo, selection: Selection) -> None:
        self._source = source
        self._info = info
        self._selection = selection
        self._seen_to: BinlogPosition | None = None
        self._last: dict[_Name, BinlogPosition] = {}

    async def definition_since(self, database: str, table: str, boundary: BinlogPosition, since: BinlogPosition) -> str:
        """SHOW CREATE TABLE of one table, proven to hold since `since`, which the stream has reached; `boundary` is the
        transaction boundary before that.

        Raises SchemaMismatch if it cannot be proven or the table is gone.
        """
        text = await show_create(self._source, "TABLE", database, table)
        if text is None:
            raise SchemaMismatch(
                f"the table {database}.{table} is not on the source any more, so it cannot be read again"
            )
        await self._look(boundary)
        for name in ((database, table), (database, "")):
            last = self._last.get(self._selection.name(*name))
            if last is not None and last.order >= since.order:
                raise SchemaMismatch(
                    f"the definition of {database}.{table} at {since} is not known, and it changed again at {last}"
                )
        return text

    async def _look(self, boundary: BinlogPosition) -> None:
        end, _ = await current_end(self._source, self._info)
        start = boundary if self._seen_to is None or self._seen_to.order < boundary.order else self._seen_to
        async with aclosing(statements_between(self._source, self._info, start, end)) as statements:
            async for position, step in statements:
                assert isinstance(step.event, QueryEvent)
                for database, table, _ in effects(step.statements, step.event.database):
                    if self._selection(database, ""):
                        self._last[self._selection.name(database, table)] = position
        self._seen_to = max(start, end, key=lambda position: position.order)
