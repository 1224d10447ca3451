"""Looking through a stretch of binlog without capturing it: for statements, for positions, for a file's own head.

Every scan runs on a sibling of the channel's source, so that it may happen while the channel streams. Rows are never
decoded, table maps where they are asked for. Left to others: what the statements mean for a snapshot
(`capture/snapshot.py`) and which position is looked for (`capture/start.py`).
"""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

from capture.data_changes import DataChanges
from capture.dialect import Dialect
from capture.events import HeartbeatEvent
from capture.position import BinlogPosition
from capture.transactions import BinlogWalker, Step, StepKind
from storage.scheduler import give_way

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from capture.source import ServerInfo, Source


async def scan(
    source: Source, info: ServerInfo, start: BinlogPosition, end: BinlogPosition, *, decode_rows: bool = False
) -> AsyncGenerator[tuple[BinlogWalker, Step], None]:
    """Every step of the binlog from `start`, a transaction boundary, up to `end`; heartbeats and file heads included.
    With `decode_rows` table maps and rows are decoded. What a server sends from before `start` (its file from the
    beginning, where the position has more than 32 bits) is passed over.

    Raises what the source and the walker raise.
    """
    walker = BinlogWalker(
        start, Dialect.of(info.version), checksum=info.has_checksums, decode_rows=decode_rows, changes=DataChanges(None)
    )
    if start.order >= end.order:
        return
    sibling = source.sibling()
    try:
        await sibling.connect()
        await sibling.start(start)
        while walker.reached.order < end.order:
            events = await sibling.read()
            if not events:
                return
            for raw in events:
                step: Step | None = None
                for step in walker.steps(raw):
                    if walker.reached.order > end.order:
                        return
                    if step is None:
                        await give_way()
                    elif (walker.number, step.start) >= start.order:
                        yield walker, step
                if walker.reached.order == end.order or (step is not None and _is_at_end(walker, step)):
                    return
    finally:
        await sibling.close()


def _is_at_end(walker: BinlogWalker, step: Step) -> bool:
    """Whether the server says, by a heartbeat, that there is no more."""
    return (
        step.kind is StepKind.HEARTBEAT
        and isinstance(step.event, HeartbeatEvent)
        and walker.reached.position >= (step.event.position)
    )


async def statements_between(
    source: Source, info: ServerInfo, start: BinlogPosition, end: BinlogPosition
) -> AsyncGenerator[tuple[BinlogPosition, Step], None]:
    """The statements that are no transaction control, with the position where each begins."""
    async with aclosing(scan(source, info, start, end)) as steps:
        async for walker, step in steps:
            if step.kind is StepKind.STATEMENT:
                yield BinlogPosition(walker.file, step.start), step
