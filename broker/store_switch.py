"""A channel's topic moves to another store, as when the service switches between its own: for the test fixture.

What a consumer meets then: its connections are cut, the cluster id in Metadata is another (the service's SDK stops at
that), offsets are others, what its group committed is gone, and the records it comes by first are some that it had
before. They are the same records, with the same positions and times, under other ids.

Order: calls wait and capture stops behind a transaction; the new log is filled from the old one, which is still read;
then topic, channel, groups and connections change in one turn of the loop, so that nobody sees half of it; the old log
goes, and capture goes on where it was.

Left to others: what each part of a server does about it (`app.py`), the records (`capture/store_records.py`).
"""

from __future__ import annotations

import asyncio
import random
import shutil
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from broker.capturing import CallFailedError, begins_anew, moved_record, snapshot_behind
from broker.provision import ID_BASE_MAX, new_cluster_id
from broker.topics import PARTITION
from storage.encoding import encode_batch
from storage.errors import StorageError
from storage.log import SourcePosition, resident
from storage.records import iter_batches, iter_values, records_of
from storage.scheduler import give_way
from storage.state import begin_at

if TYPE_CHECKING:
    from broker.app import Application
    from broker.capturing import EmbeddedChannel
    from broker.channels import ServedChannel
    from storage.log import LogReader
    from storage.segment_log import SegmentLog

OFFSET_STEP: Final = 1_000_000
"""New offsets begin at a multiple of it, behind all that were: easy to tell from them."""


class _Stored(NamedTuple):
    """A record of a log."""

    offset: int
    timestamp_ms: int
    value: bytes


async def switch_store(
    app: Application, channel_id: str, embedded: EmbeddedChannel, *, duplicates: int | None, first_offset: int | None
) -> None:
    """Move a channel's topic. The new store begins `duplicates` records before the first that a group of the channel
    has not consumed, or with the transaction around it, the last at the latest; None: with all there is.

    Raises CallFailedError; everything is as it was then.
    """
    async with app.changing, embedded.still() as opened:
        served = app.channels.find(channel_id)
        assert served is not None
        assert served.config is not None
        first = await _first_kept(opened.log, _consumed(app, served), duplicates)
        begin = _behind(opened.log) if first_offset is None else first_offset
        folder, beside = app.topic_path(served.log.topic), app.folder_beside(served.log.topic)
        id_base = random.randrange(ID_BASE_MAX)
        try:
            begin_at(app.files, beside, begin)
            log, closers = app.open_beside(served, beside)
            try:
                await _copy(opened.log, first, log, id_base)
            except BaseException:
                await app.end(closers)
                raise
        except BaseException as error:
            shutil.rmtree(beside, ignore_errors=True)
            if isinstance(error, (StorageError, OSError)):
                raise CallFailedError(f"the new store cannot be filled: {error}") from None
            raise
        opening = embedded.opening(served.config, log, id_base, closers)
        embedded.go_on_with(app.take_over(served, opening, new_cluster_id()))
        await app.end_replaced(served)
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)


def _consumed(app: Application, served: ServedChannel) -> int:
    """Where the group that is furthest behind goes on: at the first record, if it committed nothing."""
    key = served.log.topic, PARTITION
    committed = [app.offsets.committed(group.id).get(key) for group in served.groups]
    return min((0 if found is None else found.offset for found in committed), default=0)


def _behind(log: LogReader) -> int:
    return (log.high_watermark // OFFSET_STEP + 1) * OFFSET_STEP


async def _first_kept(log: LogReader, consumed: int, duplicates: int | None) -> int:
    """The offset of the first record that the new store has."""
    start = log.log_start_offset
    if duplicates is None:
        return start
    wanted = look = min(max(start, min(consumed, log.high_watermark) - duplicates), log.high_watermark - 1)
    while look > start:
        batch = await resident(partial(_batch, log, look))
        begins = [offset for offset, _, value in batch if offset <= wanted and begins_anew(value)]
        if begins:
            return begins[-1]
        look = batch[0].offset - 1
    return start


async def _copy(old: SegmentLog, first: int, new: SegmentLog, id_base: int) -> None:
    """Fill a log with what another has from an offset on; capture can go on behind it as behind the other."""
    recovered, begun = old.recovered, new.end_offset
    if recovered is None:
        return
    snapshot = snapshot_behind(recovered)
    new.attach(lambda: snapshot)
    while first < old.high_watermark and (batch := await resident(partial(_batch, old, first))):
        kept = [stored for stored in batch if stored.offset >= first]
        first_id = new.end_offset + id_base
        values = [moved_record(stored.value, first_id + index) for index, stored in enumerate(kept)]
        new.append(encode_batch(new.end_offset, values, [stored.timestamp_ms for stored in kept]))
        first = batch[-1].offset + 1
        await new.settle()
        await give_way()
    if new.end_offset > begun:
        new.commit([SourcePosition(recovered.file_number, recovered.position)])


def _batch(log: LogReader, offset: int) -> list[_Stored]:
    """The records of the batch that has `offset`, those before it too."""
    with log.read(offset, 1) as part:
        return [
            _Stored(found, timestamp_ms, bytes(value or b""))
            for batch in iter_batches(part.view)
            for found, timestamp_ms, _, value in iter_values(batch.header, records_of(batch))
        ]
