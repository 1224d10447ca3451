"""Records of objects that a channel does not track, as the service may send them: for embedded channels.

The same walker, assembler and transcoder as in a session, over the same events, but everything is selected and the
definitions are those the source itself keeps: a channel follows only what it tracks. Whoever asks has stopped the
channel, and writes what comes back where its log ends.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from capture.assembler import Assembler, Pending
from capture.dialect import Dialect
from capture.position import GtidSet
from capture.selection import EVERYTHING, Selection
from capture.task import DDL, DML
from capture.transactions import BinlogWalker

if TYPE_CHECKING:
    from capture.channel import ChannelSpec
    from capture.embedded_source import EmbeddedSource
    from capture.position import BinlogPosition
    from storage.clock import Clock


async def everything_since(
    source: EmbeddedSource, since: BinlogPosition, spec: ChannelSpec, next_offset: int, clock: Clock
) -> Pending:
    """What a channel that tracks everything would write of the events behind `since`, from `next_offset` on.

    Raises CaptureError.
    """
    info = await source.connect()
    walker = BinlogWalker(since, Dialect.of(info.version), checksum=info.has_checksums)
    assembler = Assembler(
        walker,
        source.history,
        Selection((EVERYTHING,), info.lower_case_table_names),
        source_version=info.version,
        data_types=frozenset({DML, DDL}),
        next_offset=next_offset,
        record_bytes_max=spec.record_bytes_max,
        partial_images=False,
        id_base=spec.id_base,
        gtid_set=GtidSet(),
        lower_case_table_names=info.lower_case_table_names,
    )
    assembler.read_ms = clock.now_ms()
    await source.start(since)
    try:
        while source.pending():
            for raw in await source.read():
                step = walker.walk(raw)
                if walker.reached_order > since.order:
                    assembler.take(step)
    finally:
        await source.close()
    return assembler.pending
