"""One stream of a channel, from a proven position until the source ends or something goes wrong.

Writing: everything that had arrived becomes one append and one commit (group commit); a transaction larger than
`FLUSH_BYTES` is appended piece by piece and committed at its end; of a compressed one a piece is opened at a time. A
disk slower than the source makes it wait (`Log.settle`). A schema version is durable in the catalog, and the rows of a
prepared XA transaction in their file, before the first record or position behind them becomes visible. The loop is
given back every `SLICE_MS`; a rows event that takes longer is taken by a thread.

Invariant: whatever ends a session, the log's visible part ends at a transaction boundary, and every transaction before
the offending event is visible. Nothing of a session is remembered by the next one but log and catalog.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any, TypeVar

from capture.assembler import Assembler
from capture.batches import FLUSH_BYTES, encode, spans
from capture.compressed_events import PLAIN_TYPES
from capture.data_changes import DataChanges
from capture.dialect import Dialect
from capture.errors import CaptureError, SchemaMismatch
from capture.events import HeartbeatEvent, RowsEvent, TableMapEvent
from capture.file_continuity import FileContinuity
from capture.full_metadata import MetadataGap
from capture.ghost import SERVICE
from capture.identity import Recaptured
from capture.lookback import LookBack
from capture.pacing import RECORD_PERIOD_MS, HeartbeatPacer
from capture.position import BinlogPosition, GtidSet, SourceSnapshot, file_name
from capture.schema import DefinitionsNotLoaded
from capture.snapshot import StatementsAhead
from capture.transactions import BinlogWalker, Step, StepKind
from capture.two_phase import UNSYNCED_MAX, TwoPhase, server_name
from storage.encoding import encode_batch
from storage.errors import StorageError
from storage.scheduler import SLICE_MS, give_way

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from capture.position import ResumePoint
    from capture.schema import SchemaHistory
    from capture.selection import Selection
    from capture.source import ServerInfo, Source
    from capture.task import Task
    from capture.transactions import Gtid
    from storage.scheduler import Timer

BEHIND_BYTES = 32 << 10
"""Who has so much to take at once is behind, and lets those go first that are not."""

LOOK_BYTES = 8 << 10
"""After so many bytes of events the clock is looked at: some 0.3 ms of work, a rows event as servers cut them."""

EVENT_WORK_BYTES = 512
"""What an event counts for beside its bytes: each takes about as long as so many bytes of rows."""

ASIDE_BYTES = 256 << 10
"""An event above this is taken by a thread: a JSON document of 32 MB takes four seconds, the checksum of a compressed
transaction of 1 GB one."""

UNCOMPRESSED_BYTES = 16 << 10
"""One of MariaDB's compressed events above this is opened by a thread: it may become a thousand times as large."""

_COMPRESSED, _TYPE_CODE_AT = frozenset(PLAIN_TYPES), 4
_Given = TypeVar("_Given")
_Made = TypeVar("_Made")

# Members of an Enum are looked up anew at each use, which counts where it is done for each event.
_FILE, _HEARTBEAT, _PAYLOAD, _ROWS = StepKind.FILE, StepKind.HEARTBEAT, StepKind.PAYLOAD, StepKind.ROWS


class Session:
    """Carries one stream over. `walker` and `pacer` may be looked at; `published` is the last boundary before which
    everything is visible.
    """

    def __init__(
        self,
        task: Task,
        source: Source,
        info: ServerInfo,
        selection: Selection,
        history: SchemaHistory,
        resume: ResumePoint,
    ) -> None:
        server = server_name(info.flavour, info.server_uuid, info.server_id)
        self.walker = BinlogWalker(
            resume.position, Dialect.of(info.version), checksum=info.has_checksums, changes=DataChanges(selection)
        )
        self.pacer = HeartbeatPacer(task.clock, info.clock_offset_ms, source.heartbeat_period_ms)
        self._task = task
        self._log = task.log
        self._codec = task.codec
        self._clock = task.clock
        self._source = source
        self._info = info
        self._history = history
        self._ahead = StatementsAhead(source, info, selection)
        self._resume = self.published = resume.position
        self._resume_offset = self._committed_offset = self._log.end_offset
        """Where the log ended at the last commit, the one before this session first: a flush may still have to come."""
        self._unseen: deque[tuple[int, BinlogPosition]] = deque()
        """Boundaries that were reached, and how far the log must be visible for them."""
        self._resume_order = resume.position.order
        self._committed = resume.gtid_set.copy()
        self._recaptured = Recaptured(source, resume)
        self._gtid: Gtid | None = None
        self._is_recaptured = False
        """Whether the transaction of `_gtid` was captured before."""
        self._files = FileContinuity(task.catalog, task.channel_id, info, source)
        self._busy = False
        self._streaming: asyncio.Task[Any] | None = None
        self._failure: StorageError | None = None
        self._timer: Timer | None = None
        self._slice_ends_ms = 0
        self._unlooked_bytes = 0
        """Work since the clock was looked at."""
        self._is_beyond_resume = False
        self._assembler = Assembler(
            self.walker,
            history,
            selection,
            source_version=info.version,
            data_types=task.data_types,
            next_offset=self._log.end_offset,
            record_bytes_max=task.record_bytes_max,
            partial_images=task.partial_images,
            id_base=task.id_base,
            gtid_set=resume.gtid_set.copy(),
            lower_case_table_names=info.lower_case_table_names,
            hides_ghosts=task.ghost_ddl == SERVICE,
            taken_back=task.taken_back.setdefault(server, {}),
        )
        self._xa = TwoPhase(
            self._log,
            resume,
            server,
            self.walker,
            self._assembler,
            LookBack(source, info, selection, history, self.walker, self._load),
        )
        self._log.attach(self._snapshot)

    def _snapshot(self) -> bytes:
        """The source as of the last commit; before the first one, what the file's head said counts too."""
        info = self._info
        gtid_set = self._committed or self.walker.previous_gtids or GtidSet()
        base = self.walker.position.base
        return SourceSnapshot(info.flavour, info.server_uuid, info.server_id, base, str(gtid_set)).to_bytes()

    def has_published(self, position: BinlogPosition) -> bool:
        """Whether everything before a boundary is visible, heartbeats that stand at it included."""
        if self._log.high_watermark < self._resume_offset:
            return False
        if self.published.order == position.order:
            return not self._busy and not self._source.pending() and not self._unseen
        return self.published.order > position.order

    # ---- the loop ----

    async def stream(self) -> None:
        """Carry over everything until the source ends or fails.

        Raises CaptureError, with the position where the binlog itself is the reason, and StorageError.
        """
        self._streaming = asyncio.current_task()
        await asyncio.to_thread(self._xa.recover)
        unsubscribe = self._log.subscribe(self._on_visible)
        if self._source.paced_heartbeats:
            self._timer = self._task.scheduler.call_later(RECORD_PERIOD_MS, self._on_timer)
        try:
            while events := await self._read():
                self._busy = True
                await self._take_all(events)
                while self._source.pending() and self._assembler.pending.size_bytes < FLUSH_BYTES:
                    await self._take_all(await self._source.read())
                await self._flush()
                if not self._source.pending():
                    self.pacer.drained()
                self._busy = False
                self._reach(self.walker.position)
                self._task.progressed()
            await self._log.shown()
        except asyncio.CancelledError:
            if self._failure is None or self._streaming is None or self._streaming.uncancel():
                raise
            raise self._failure from None
        finally:
            unsubscribe()
            if self._timer is not None:
                self._timer.cancel()
            self._xa.close()

    async def _read(self) -> Sequence[bytes]:
        """The next events; a slice begins where the loop was others' meanwhile."""
        if self._source.pending():
            return await self._source.read()
        events = await self._source.read()
        if sum(map(len, events)) >= BEHIND_BYTES:
            await give_way()
        self._begin_slice()
        return events

    async def _take_all(self, events: Sequence[bytes]) -> None:
        self.pacer.heard()
        self._assembler.read_ms = self._clock.now_ms()
        pending = self._assembler.pending
        for raw in events:
            try:
                waiting = self._take(raw)
                if waiting is not None:
                    await waiting
            except CaptureError as error:
                await self._flush()
                raise self._located(error) from None
            if pending.size_bytes >= FLUSH_BYTES:
                await self._flush()
            self._unlooked_bytes += EVENT_WORK_BYTES + len(raw)
            if self._unlooked_bytes >= LOOK_BYTES and self._is_slice_over():
                await self._give_way()

    async def _relieve(self) -> None:
        """Write what has come together, and let others run."""
        if self._assembler.pending.size_bytes >= FLUSH_BYTES:
            await self._flush()
        if self._is_slice_over():
            await self._give_way()

    def _begin_slice(self) -> None:
        self._unlooked_bytes = 0
        self._slice_ends_ms = self._clock.monotonic_ms() + SLICE_MS

    def _is_slice_over(self) -> bool:
        self._unlooked_bytes = 0
        return self._clock.monotonic_ms() >= self._slice_ends_ms

    def _take(self, raw: bytes) -> Awaitable[None] | None:
        """Take an event; what is returned is to be awaited, nothing for an event that needs nobody else."""
        if len(raw) > UNCOMPRESSED_BYTES and (len(raw) > ASIDE_BYTES or raw[_TYPE_CODE_AT] in _COMPRESSED):
            return self._take_large(raw)
        return self._take_walked(self.walker.walk(raw))

    async def _take_large(self, raw: bytes) -> None:
        """Take an event whose checksum, or compression, is work for a thread."""
        waiting = self._take_walked(await self._aside(self.walker.walk, raw))
        if waiting is not None:
            await waiting

    def _take_walked(self, step: Step) -> Awaitable[None] | None:
        """Take the step of an event; as `_take`."""
        kind = step.kind
        if kind is _HEARTBEAT:
            self._take_heartbeat(step)
            return None
        if kind is _FILE:
            return self._take_file(step)
        return self._take_payload(step) if kind is _PAYLOAD else self._take_step(step)

    async def _take_file(self, step: Step) -> None:
        await self._files.check(self.walker, step)
        waiting = self._take_step(step)
        if waiting is not None:
            await waiting

    async def _take_payload(self, step: Step) -> None:
        for inner in self.walker.unpack(step):
            waiting = None if inner is None else self._take_step(inner)
            if waiting is not None:
                await waiting
            await self._relieve()

    def _take_step(self, step: Step) -> Awaitable[None] | None:
        """Carry out a step; what is returned is to be awaited."""
        walker, header = self.walker, step.header
        if not self._is_beyond_resume:
            if walker.reached_order <= self._resume_order:
                return None
            self._is_beyond_resume = True
        if header.timestamp:
            self.pacer.read_event(header.timestamp)
        if walker.gtid is not self._gtid:
            self._gtid = walker.gtid
            self._is_recaptured = self._recaptured(walker.gtid)
        if self._is_recaptured and step.kind is not _FILE:
            return None
        if walker.xid is not None and self._xa.ends(step):
            return self._end_two_phase(step)
        if step.kind is _ROWS and isinstance(step.event, RowsEvent) and len(step.event.data) > ASIDE_BYTES:
            return self._take_aside(step)
        try:
            self._assembler.take(step)
        except (SchemaMismatch, DefinitionsNotLoaded) as lacking:
            return self._take_with_definitions(step, lacking)
        self._follow()
        return None

    async def _end_two_phase(self, step: Step) -> None:
        await self._xa.end(step, self._relieve)
        if self._xa.store.unsynced_count >= UNSYNCED_MAX:
            await self._flush()

    def _follow(self) -> None:
        """Do on disk what a step that was taken asks for."""
        if self._assembler.held is not None:
            self._xa.tend(self._assembler.held)
        if self._assembler.written_was_dropped:
            self._log.rollback()
            self._assembler.realign(self._log.end_offset)

    async def _take_aside(self, step: Step) -> None:
        """Take a step on a thread."""
        try:
            await self._aside(self._assembler.take, step)
        except (SchemaMismatch, DefinitionsNotLoaded) as lacking:
            await self._take_with_definitions(step, lacking)
        self._follow()

    async def _aside(self, work: Callable[[_Given], _Made], given: _Given) -> _Made:
        """Do a piece of work on a thread. Nothing else of the session goes on meanwhile, its end neither."""
        working = asyncio.get_running_loop().run_in_executor(None, work, given)
        try:
            return await asyncio.shield(working)
        except asyncio.CancelledError:
            await asyncio.wait([working])
            working.exception()
            raise

    def _located(self, error: CaptureError) -> CaptureError:
        """The error with the place in the binlog, unless it names the file itself."""
        file = self.walker.file
        if file in str(error):
            return error
        error.args = (f"{str(error).rstrip('.')} (binlog {self.walker.reached})",)
        return error

    async def _give_way(self) -> None:
        """Let others run: this slice is used up."""
        await give_way()
        self._begin_slice()
        if self._source.paced_heartbeats:
            self._write_heartbeat_if_due()

    # ---- heartbeats ----

    def _take_heartbeat(self, step: Step) -> None:
        event = step.event
        assert isinstance(event, HeartbeatEvent)
        reached = self.walker.reached
        self.pacer.read_heartbeat(at_end=event.file == reached.file and event.position <= reached.position)
        if not self._source.paced_heartbeats:
            self._assembler.heartbeat(step.header.timestamp or self.pacer.source_now_ms // 1000)

    def _on_timer(self) -> None:
        self._timer = self._task.scheduler.call_later(RECORD_PERIOD_MS, self._on_timer)
        if not self._busy and self._write_heartbeat_if_due():
            pending = self._assembler.pending
            try:
                batch = encode_batch(self._first(), pending.values, pending.timestamps_ms, self._codec)
                self._write([batch], len(pending.values))
                self._commit()
            except StorageError as error:
                self._fail(error)

    def _fail(self, failure: StorageError) -> None:
        """End the stream, which waits for its source, from a timer."""
        if self._failure is None and self._streaming is not None:
            self._failure = failure
            self._streaming.cancel()

    def _write_heartbeat_if_due(self) -> bool:
        if not self._is_between_transactions() or not self.pacer.due():
            return False
        self._assembler.read_ms = self._clock.now_ms()
        self._assembler.heartbeat(self.pacer.take())
        return True

    def _is_between_transactions(self) -> bool:
        """Whether the stream stands where a record may follow that belongs to none."""
        is_before_resume = self.walker.position.order < self._resume_order
        return not (self.walker.in_transaction or self._xa.publishing or is_before_resume)

    # ---- what no event stands for ----

    @property
    def next_id(self) -> int:
        """The id of the next record."""
        return self._assembler.next_id

    def interject(self, records: Sequence[bytes], timestamps_ms: Sequence[int], next_id: int) -> bool:
        """Write ready records where the stream stands, as `Assembler.take_ready`; False, and nothing done, while events
        are carried over.
        """
        if self._busy or not self._is_between_transactions():
            return False
        self._assembler.take_ready(records, timestamps_ms, next_id)
        base, codec = self._first(), self._codec
        batches = [
            encode_batch(base + start, records[start:end], timestamps_ms[start:end], codec)
            for start, end, _ in spans(records, len(records))
        ]
        self._write(batches, len(records))
        self._commit()
        return True

    # ---- writing ----

    async def _flush(self) -> None:
        """Write what is pending: definitions first, then records, then the positions that make them visible."""
        rows = self._history.take_rows(self._task.channel_id)
        if rows:
            await self._task.catalog.run(self._task.catalog.add_schema_versions, rows)
        if self._xa.store.needs_sync:
            await asyncio.to_thread(self._xa.store.sync)
        self._xa.store.delete_ended(self._log.durable_offset)
        await self._log.settle()
        pending = self._assembler.pending
        await self._append(pending.complete)
        self._commit()
        if pending.size_bytes >= FLUSH_BYTES:
            await self._append(len(pending.values))

    def _commit(self) -> None:
        """Make visible what was written of the transactions that have ended."""
        assembler, pending = self._assembler, self._assembler.pending
        if pending.positions:
            self._log.commit(pending.positions)
            self._committed_offset = self._log.end_offset
            last = pending.positions[-1]
            boundary = BinlogPosition(file_name(self._resume.base, last.file_number), last.position)
            self._reach(boundary)
            for position in pending.positions:
                if position.gtid is not None:
                    self._committed.add(position.gtid.key, position.gtid.first, position.gtid.last)
            self._task.counters.transactions += assembler.committed()
            self._source.committed(boundary)

    def _reach(self, boundary: BinlogPosition) -> None:
        """Note that everything before a boundary was committed."""
        if self._unseen and self._unseen[-1][0] == self._committed_offset:
            self._unseen.pop()
        self._unseen.append((self._committed_offset, boundary))
        self._see()

    def _see(self) -> None:
        while self._unseen and self._unseen[0][0] <= self._log.high_watermark:
            _, self.published = self._unseen.popleft()

    def _on_visible(self) -> None:
        self._see()
        self._task.progressed()

    async def _append(self, count: int) -> None:
        """Append the first `count` pending values; nothing else is added to them meanwhile."""
        if count:
            pending = self._assembler.pending
            self._write(await encode(self._first(), pending.values, pending.timestamps_ms, count, self._codec), count)

    def _first(self) -> int:
        """The offset of the first pending value."""
        base = self._log.end_offset
        assert base + len(self._assembler.pending.values) == self._assembler.next_offset
        return base

    def _write(self, batches: list[bytes], count: int) -> None:
        self._log.append(batches)
        self._task.counters.records += count
        self._assembler.written(count)

    # ---- definitions ----

    async def _take_with_definitions(self, step: Step, lacking: SchemaMismatch | DefinitionsNotLoaded) -> None:
        """Carry out a step once what it lacks was loaded from the catalog, or mended."""
        if isinstance(lacking, DefinitionsNotLoaded):
            await self._load(lacking)
            try:
                self._assembler.take(step)
            except SchemaMismatch as mismatch:
                lacking = mismatch
            else:
                self._follow()
                return
        await self._mend(step, lacking)
        self._assembler.take(step)
        self._follow()

    async def _load(self, lacking: DefinitionsNotLoaded) -> None:
        """Take definitions from the catalog."""
        catalog = self._task.catalog
        lacking.load(await catalog.run(catalog.schema_definitions, lacking.sequences), self._history)

    async def _mend(self, step: Step, mismatch: SchemaMismatch) -> None:
        """Make known the definition of the table that `step` announces: by the server's, if that can be proven to hold
        there, or by what the event says of itself. Raises SchemaMismatch if neither can be had.
        """
        event = step.event
        if not isinstance(event, TableMapEvent):
            raise mismatch
        since = BinlogPosition(self.walker.file, step.start)
        if self._source.queryable:
            try:
                text = await self._ahead.definition_since(event.database, event.table, self.walker.position, since)
                self._history.resolve_table(event.database, text, since.order)
                self._history.check(event)
            except SchemaMismatch as unproven:
                mismatch = unproven
            else:
                return
        try:
            self._history.take_metadata(event, since.order)
        except MetadataGap as gap:
            raise SchemaMismatch(f"{mismatch}; {gap}") from None
