"""An XA transaction that was prepared before the channel knew of it: its rows are read from the binlog.

Looked for from the place of its XA COMMIT backwards, a binlog file at a time: the last XA PREPARE of that id in front
of it. Its tables look today as they did then, because a prepared transaction keeps them locked; MariaDB does not after
a restart, so a statement about one of them in between is a reason to refuse. So is a binlog that was purged meanwhile:
rows that cannot be had are never left out in silence.
"""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

from capture.effects import effects
from capture.errors import NEW_CHANNEL, SourceRefused, SourceUnavailable
from capture.events import QueryEvent, TableMapEvent
from capture.position import BinlogPosition
from capture.prepared import HeldRows
from capture.scan import scan
from capture.schema import DefinitionsNotLoaded
from capture.start import binlog_files
from capture.transactions import StepKind, savepoint_name

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from capture.schema import SchemaHistory
    from capture.selection import Selection
    from capture.source import ServerInfo, Source
    from capture.table import TableVersion
    from capture.transactions import BinlogWalker, Step
    from capture.two_phase import TwoPhase
    from capture.xa import Xid

_ENDS = frozenset({StepKind.XA_COMMIT, StepKind.XA_ROLLBACK})


class LookBack:
    """Reads the rows of a transaction that is committed where `walker` stands."""

    def __init__(
        self,
        source: Source,
        info: ServerInfo,
        selection: Selection,
        history: SchemaHistory,
        walker: BinlogWalker,
        load: Callable[[DefinitionsNotLoaded], Awaitable[None]],
    ) -> None:
        self._source = source
        self._info = info
        self._selection = selection
        self._history = history
        self._walker = walker
        self._load = load

    async def __call__(self, two_phase: TwoPhase, xid: Xid) -> HeldRows:
        """The rows of `xid`; what is large is written by `two_phase.tend`. Raises SourceRefused if they are gone."""
        commit = self._walker.reached
        oldest, found = commit, None
        for oldest, end in await self._stretches(commit):
            found = await self._find(xid, oldest, end)
            if found is not None:
                break
        if found is None:
            raise SourceRefused(
                f"XA transaction {xid} is committed at {commit} and was prepared before {oldest}, where the binlog of "
                f"{self._source.address} begins by now: its rows cannot be had; {NEW_CHANNEL}"
            )
        start, end = found
        held = await self._read(xid, start, end, two_phase.tend)
        await self._require_unchanged(held, end, commit)
        return held

    async def _stretches(self, commit: BinlogPosition) -> list[tuple[BinlogPosition, BinlogPosition]]:
        """The binlog up to the commit, youngest file first."""
        if not self._source.queryable:
            assert self._info.beginning is not None
            return [(self._info.beginning, commit)]
        files = [file for file in await binlog_files(self._source) if file.beginning.order < commit.order]
        return [(file.beginning, min(file.end, commit, key=lambda at: at.order)) for file in reversed(files)]

    async def _find(
        self, xid: Xid, start: BinlogPosition, end: BinlogPosition
    ) -> tuple[BinlogPosition, BinlogPosition] | None:
        """Where the last transaction that prepares `xid` begins and ends. Raises SourceRefused if it ended before."""
        found, ended, boundary = None, None, start
        commit = self._walker.reached
        async with aclosing(scan(self._source, self._info, start, end)) as steps:
            async for walker, step in steps:
                if step.kind is StepKind.PREPARE and walker.xid == xid:
                    found, ended = (boundary, walker.position), None
                elif step.kind in _ENDS and walker.xid == xid and walker.position.order < commit.order:
                    found, ended = None, walker.position
                boundary = walker.position
        if ended is not None:
            raise SourceRefused(
                f"XA transaction {xid} is committed at {commit} and was ended before, at {ended}: the binlog does not "
                f"say which rows are meant; {NEW_CHANNEL}"
            )
        return found

    async def _read(
        self, xid: Xid, start: BinlogPosition, end: BinlogPosition, tend: Callable[[HeldRows], None]
    ) -> HeldRows:
        held: HeldRows | None = None
        reached = start
        async with aclosing(scan(self._source, self._info, start, end, decode_rows=True)) as steps:
            async for walker, step in steps:
                reached = walker.position
                if step.kind is StepKind.BEGIN and walker.xid == xid:
                    held = HeldRows(xid, step)
                elif held is not None and reached.order < end.order:
                    await self._hold(held, walker, step)
                    tend(held)
        if held is None or reached.order < end.order:
            raise SourceUnavailable(f"{self._source.address} ended before {end} while rows were read again there")
        return held

    async def _hold(self, held: HeldRows, walker: BinlogWalker, step: Step) -> None:
        event = step.event
        if step.kind is StepKind.TABLE_MAP:
            assert isinstance(event, TableMapEvent)
            version = await self._version(event)
            held.table_map(step, walker.without_checksum(step), walker.table_id_bytes, version)
        elif step.kind is StepKind.ROWS:
            held.rows(step, walker.without_checksum(step), walker.table_id_bytes)
        elif step.kind is StepKind.SAVEPOINT:
            held.savepoint(savepoint_name(step))
        elif step.kind is StepKind.ROLLBACK_TO:
            held.rollback_to(savepoint_name(step))

    async def _version(self, event: TableMapEvent) -> TableVersion | None:
        """The table's definition, None for one that is not tracked."""
        if not self._selection(event.database, event.table):
            return None
        try:
            return self._history.check(event)
        except DefinitionsNotLoaded as lacking:
            await self._load(lacking)
        return self._history.check(event)

    async def _require_unchanged(self, held: HeldRows, start: BinlogPosition, end: BinlogPosition) -> None:
        """Raises SourceRefused where a table of the transaction was changed before it was committed."""
        names = {self._selection.name(*name) for name in held.tables}
        async with aclosing(scan(self._source, self._info, start, end)) as steps:
            async for walker, step in steps:
                if step.kind is not StepKind.STATEMENT or not isinstance(step.event, QueryEvent):
                    continue
                for database, table, _ in effects(step.statements, step.event.database):
                    name = self._selection.name(database, table)
                    if name in names or (not table and any(name[0] == owner for owner, _ in names)):
                        raise SourceRefused(
                            f"{database}.{table} was changed at {walker.file}:{step.start}, between XA PREPARE and XA "
                            f"COMMIT of {held.xid}, which this channel did not see prepared; {NEW_CHANNEL}"
                        )
