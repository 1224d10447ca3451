"""The history of a channel that starts in the past, where some definitions of today do not hold yet.

What the snapshot (`capture/snapshot.py`) proves is taken. Of the other tracked tables the definition at the start comes
from the first of these that has it:

    the statements of `schema_file`, which say what held there
    the table's own TABLE_MAPs, where they carry all metadata (`capture/full_metadata.py`)
    a CREATE TABLE before the first row, or no row before a statement behind which it is known again

Whether one of them has it is found out by going through the stretch once without capturing: a table with a row that
nothing could read is refused, with all the others of its kind, before anything is captured.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING

from capture.effects import effects
from capture.errors import SourceRefused
from capture.events import QueryEvent, TableMapEvent
from capture.full_metadata import MetadataGap
from capture.scan import scan
from capture.schema import Session
from capture.snapshot import Definitions, DefinitionsChanged
from capture.start import current_end
from capture.table import TableVersion
from capture.transactions import StepKind, statement_text

if TYPE_CHECKING:
    from capture.position import BinlogPosition
    from capture.schema import SchemaHistory
    from capture.selection import Selection
    from capture.source import ServerInfo, Source
    from capture.transactions import Step

_Name = tuple[str, str]

WAYS_OUT = (
    "start after those statements, or name a file of the CREATE TABLE statements that held there as schema_file; a "
    "source that wrote its binlog with binlog_row_metadata=FULL would have told them itself"
)


async def history_at(
    position: BinlogPosition,
    definitions: Definitions | None,
    schema_file: str | None,
    history: SchemaHistory,
) -> SchemaHistory:
    """Fill an empty history with what holds at a position; `definitions` None: there is no server to ask.

    Raises SourceRefused for a file that is wrong.
    """
    if definitions is None and schema_file is None:
        return history
    return await asyncio.to_thread(_made, position, definitions or Definitions((), ()), schema_file, history)


def _made(
    position: BinlogPosition, definitions: Definitions, schema_file: str | None, history: SchemaHistory
) -> SchemaHistory:
    """What is proven goes over what the file says."""
    for _, text in definitions.databases:
        history.snapshot_database(text, position.order)
    if schema_file is not None:
        from capture.schema_file import apply_schema_file  # with the grammar 10 ms of a start

        apply_schema_file(schema_file, history, position.order)
        for _, text in definitions.databases:
            history.snapshot_database(text, position.order)
    for database, text in definitions.tables:
        history.snapshot_table(database, text, position.order)
    for database, table in definitions.unknown:
        if table and history.state(database, table) is None:
            why = f"the definition that {database}.{table} had at {position} is not known"
            history.set_table(database, table, why, position.order, "")
    return history


async def require_readable(
    source: Source,
    info: ServerInfo,
    selection: Selection,
    position: BinlogPosition,
    definitions: Definitions,
    history: SchemaHistory,
) -> None:
    """See that the rows from a position to the binlog's end could be read. `history` is that at the position, and used
    up. Raises DefinitionsChanged with the tables of rows that could not, SourceRefused for a file that is wrong.
    """
    rehearsal = _Rehearsal(selection, history, {*definitions.unknown, *definitions.replaced})
    end, _ = await current_end(source, info)
    async with aclosing(scan(source, info, position, end, decode_rows=True)) as steps:
        async for walker, step in steps:
            rehearsal.take(step, walker.file, walker.number)
    if rehearsal.unread:
        raise DefinitionsChanged(position, sorted(rehearsal.unread), WAYS_OUT)


class _Rehearsal:
    """Goes through a stretch of binlog with a history of its own. `unread` are tables with rows that nobody can read.

    A table whose definition nobody knows is still known again if no statement about it follows: then it is what the
    server has now.
    """

    def __init__(self, selection: Selection, history: SchemaHistory, doubtful: set[_Name]) -> None:
        self.unread: set[_Name] = set()
        self._selection = selection
        self._history = history
        self._doubtful = doubtful
        self._waiting: set[_Name] = set()
        self._checked: dict[_Name, TableMapEvent] = {}

    def take(self, step: Step, file: str, number: int) -> None:
        if step.kind is StepKind.STATEMENT:
            self._statement(step, file, number)
        elif step.kind is StepKind.TABLE_MAP and isinstance(step.event, TableMapEvent):
            self._table_map(step.event, f"{file}:{step.start}", (number, step.start))

    def _statement(self, step: Step, file: str, number: int) -> None:
        event = step.event
        assert isinstance(event, QueryEvent)
        for database, table, _ in effects(step.statements, event.database):
            concerned = self._selection.name(database, table)
            self.unread |= {name for name in self._waiting if _is_about(concerned, name)}
            for name in [name for name in self._checked if _is_about(concerned, name)]:
                del self._checked[name]
        undecided = self._history.undecided_charset(step.statements, event.database)
        if undecided is not None:
            raise SourceRefused(f"{undecided} (binlog {file}:{step.start}); {WAYS_OUT}")
        session = Session.of(event)
        self._history.apply(step.statements, session, (number, step.end), statement_text(event))

    def _table_map(self, event: TableMapEvent, place: str, position: tuple[int, int]) -> None:
        name = self._selection.name(event.database, event.table)
        if self._checked.get(name) is event or not self._selection(event.database, event.table):
            return
        self._checked[name] = event
        state = self._history.state(event.database, event.table)
        found = self._history.disagreement(state, event) if isinstance(state, TableVersion) else state or "unknown"
        if found is None:
            return
        try:
            self._history.take_metadata(event, position)
        except MetadataGap:
            if not isinstance(state, TableVersion):
                self._waiting.add(name)
            elif name in self._doubtful:
                raise SourceRefused(
                    f"the definition of {event.database}.{event.table} in schema_file is not the one that held at the "
                    f"start: at {place} {found}; {WAYS_OUT}"
                ) from None


def _is_about(concerned: _Name, name: _Name) -> bool:
    """Whether what concerns a table, or with an empty name a whole database, concerns this table."""
    return concerned == name or (not concerned[1] and concerned[0] == name[0])
