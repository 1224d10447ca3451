"""One channel: what it is to do, in which state it is, and its sessions with back-off between them.

States, by the service's own names; `TRANSITIONS` is the whole of what may follow what:

    Prechecking                          a new channel's source is being checked
    Not Started                          nothing runs; start() begins
    Performing Initial Change Tracking   start position and snapshot are being made durable
    Normal                               the stream runs
    Error                                with a reason: retried with back-off until a time, or waiting for somebody

One session is: connect, prove that it is the same server, restore the history at the position where the log ends,
stream (`capture/session.py`). Whatever goes wrong ends the session; the log drops what belongs to no finished
transaction, and the next session begins where the log ends. What may pass by itself is tried again for seven days, as
the service does; what needs somebody waits. What the log or the catalog could not write is tried there, before the
source is asked again. A session that streamed for a minute, or carried a transaction, begins the seven days anew.

Nothing stops without a reason: a source of files that ended leaves its channel in Normal with the sentence that says
so, and what ends a channel's task otherwise is a mistake of ours and told as one.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import random
from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar

from msgspec import Struct
from msgspec.structs import replace

from capture.errors import CaptureError, ReadAgain, SourceRefused, SourceUnavailable
from capture.progress import Progress
from capture.record_limit import RECORD_BYTES_MAX
from capture.source import StreamEnded
from capture.task import DDL, DML, Counters, Task
from storage.compression import NONE, codec_named
from storage.errors import LogWriteError, StorageError, StorageUnavailable
from storage.scheduler import LoopScheduler

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from capture.checking import CheckResult
    from capture.position import BinlogPosition, ResumePoint
    from capture.session import Session
    from capture.source import ServerInfo, Source, SourceAddress
    from storage.catalog import Catalog
    from storage.clock import Clock
    from storage.log import Log
    from storage.scheduler import Scheduler

_log = logging.getLogger("binwire.capture")

BACKOFF_FIRST_MS = 250
BACKOFF_MAX_MS = 30_000
CONTENDED_MS = 60_000
"""Two readers with one server_id end each other's streams: what each carries in between does not make them faster."""
STORAGE_BACKOFF_MAX_MS = 5_000
"""For what log and catalog could not write: whoever made room on the disk need not wait, and no server is asked."""
RETRY_MS = 7 * 24 * 3_600_000
"""The service's rule: a broken channel resumes by itself for seven days."""


class State(StrEnum):
    """The service's own names."""

    PRECHECKING = "Prechecking"
    NOT_STARTED = "Not Started"
    INITIAL = "Performing Initial Change Tracking"
    NORMAL = "Normal"
    ERROR = "Error"


TRANSITIONS: dict[State, frozenset[State]] = {
    State.PRECHECKING: frozenset({State.NOT_STARTED, State.INITIAL, State.ERROR}),
    State.NOT_STARTED: frozenset({State.PRECHECKING, State.INITIAL, State.NORMAL, State.ERROR}),
    State.INITIAL: frozenset({State.NORMAL, State.ERROR, State.NOT_STARTED}),
    State.NORMAL: frozenset({State.ERROR, State.NOT_STARTED}),
    State.ERROR: frozenset({State.PRECHECKING, State.INITIAL, State.NORMAL, State.NOT_STARTED}),
}


FULL_IMAGES, ANY_IMAGES = "full", "any"
"""What `row_image` may be: whole rows only, or records with placeholders for the columns that an image lacks."""


class ChannelSpec(Struct, frozen=True):
    """What a channel is to do. `start` is the configured text: now, earliest, a timestamp, file:pos or a GTID set.

    `compression` names a codec of the store's; a record larger than `record_bytes_max` stops the channel. `schema_file`
    has the definitions at a start in the past (`capture/schema_file.py`). A replica or a read-only source is refused
    unless `allow_replica`, a row image that lacks columns unless `row_image` is any; `retention_ms` is how long the log
    keeps what was captured.
    """

    id: str
    topic: str
    address: SourceAddress
    server_id: int
    objects: tuple[str, ...]
    data_types: frozenset[str] = frozenset({DML, DDL})
    start: str = "now"
    id_base: int = 0
    compression: str = NONE.name
    record_bytes_max: int = RECORD_BYTES_MAX
    schema_file: str | None = None
    ghost_ddl: str = "follow"
    allow_replica: bool = False
    row_image: str = FULL_IMAGES
    retention_ms: int = 24 * 3_600_000


class ChannelStatus(Struct, frozen=True):
    """What is known of a channel now. Times are Unix epoch ms; `retried_until_ms` None beside a `reason` means: needs
    action. Normal has a reason only where the source ended.

    `source_time_ms` is up to when everything is known, in the source's time; `behind` says that there is more to read;
    `silent_ms` is how long the source has not been heard, None without a session; `ended` that a source of files ended;
    `progress` what a precheck or an initial change tracking does.
    """

    state: State
    reason: str | None
    retried_until_ms: int | None
    position: str | None
    source_time_ms: int | None
    silent_ms: int | None
    behind: bool
    records: int
    transactions: int
    reconnects: int
    ended: bool
    progress: Progress | None


class Channel:
    """Runs one channel on the running loop. The catalog must have a row for `spec.id`."""

    _can_read_a_source: ClassVar = False
    """Whether a channel of this process has loaded what reads a source."""

    def __init__(
        self,
        spec: ChannelSpec,
        log: Log,
        catalog: Catalog,
        source_factory: Callable[[], Source],
        clock: Clock,
        *,
        scheduler: Scheduler | None = None,
    ) -> None:
        self.spec = spec
        self._log = log
        self._catalog = catalog
        self._source_factory = source_factory
        self._clock = clock
        self._scheduler = scheduler or LoopScheduler()
        self._counters = Counters()
        self._work = Task(
            channel_id=spec.id,
            data_types=spec.data_types,
            id_base=spec.id_base,
            log=log,
            catalog=catalog,
            clock=clock,
            scheduler=self._scheduler,
            counters=self._counters,
            progressed=self._on_progress,
            codec=codec_named(spec.compression),
            record_bytes_max=spec.record_bytes_max,
            ghost_ddl=spec.ghost_ddl,
            partial_images=spec.row_image == ANY_IMAGES,
        )
        self._state = State.NOT_STARTED
        self._reason: str | None = None
        self._retried_until_ms: int | None = None
        self._session: Session | None = None
        self._task: asyncio.Task[None] | None = None
        self._turning = asyncio.Lock()
        """Held by who starts or ends the task: no second one begins while the first still ends."""
        self._subscribers: list[Callable[[], None]] = []
        self._waiting: list[tuple[BinlogPosition, asyncio.Future[None]]] = []
        self._needing_room: set[asyncio.Future[None]] = set()
        self.refused_objects: str | None = None
        """Why the objects of `spec` are not in force, once a session has begun without them."""
        self.prechecked: tuple[Sequence[CheckResult], int] | None = None
        """What the check at the beginning found, and when (Unix epoch ms)."""
        self._reconnects = 0
        self._is_over = False
        self._ended = False
        self._ended_at: str | None = None
        self._progress = Progress("")
        self.whitelist_addresses: tuple[str, ...] = ()
        """By which addresses the source knows this machine, the surest first; empty before it was asked."""
        self._again = asyncio.Event()
        """Set when the pause between two sessions is over."""
        self._is_storage_doubtful = False
        """Whether the last session ended because log or catalog could not be written."""

    # ---- for others ----

    async def start(self) -> None:
        """Begin, or go on where the log ends; `status` and `wait_for` tell how it goes. Does nothing if it runs."""
        async with self._turning:
            self._begin()

    def _begin(self) -> None:
        if not self._is_over and (self._task is None or self._task.done()):
            self._ended, self._ended_at = False, None
            self._task = asyncio.create_task(self._run(), name=f"channel {self.spec.id}")
            self._task.add_done_callback(self._require_reason)

    async def try_again(self) -> None:
        """Do now what a channel that waits would do later, or what needed action; a channel that streams goes on."""
        self._again.set()
        await self.start()

    @property
    def is_running(self) -> bool:
        """Whether it was started and goes on by itself."""
        return self._task is not None and not self._task.done()

    @property
    def objects(self) -> tuple[str, ...]:
        return self.spec.objects

    async def take_objects(self, objects: tuple[str, ...], data_types: frozenset[str] | None = None) -> None:
        """Ask for other objects, and other types of changes. A channel that runs takes them at its next boundary, and
        `refused_objects` says afterwards why it did not; another takes them when it starts.
        """
        async with self._turning:
            was_asked = self._task is not None
            await self._halt()
            self._ask_for(objects, data_types)
            if was_asked:
                self._begin()

    async def withdraw_objects(self, objects: tuple[str, ...], data_types: frozenset[str] | None = None) -> None:
        """Ask again for what is in force, after other objects were refused."""
        if data_types in (None, self.spec.data_types):
            self._ask_for(objects, None)
        else:
            await self.take_objects(objects, data_types)
        self.refused_objects = None

    async def take_source(self, address: SourceAddress) -> None:
        """Read from another address; a channel that was started goes on there, where its log ends."""
        async with self._turning:
            was_asked = self._task is not None
            await self._halt()
            self.spec, self.whitelist_addresses = replace(self.spec, address=address), ()
            if was_asked:
                self._begin()

    def _ask_for(self, objects: tuple[str, ...], data_types: frozenset[str] | None) -> None:
        self.spec = replace(self.spec, objects=objects, data_types=data_types or self.spec.data_types)
        self._work = replace(self._work, data_types=self.spec.data_types)

    async def stop(self) -> None:
        """End at the last finished transaction; what was appended behind it is dropped."""
        async with self._turning:
            await self._halt()

    async def _halt(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        if self._state is not State.NOT_STARTED:
            self._move(State.NOT_STARTED)

    async def end(self) -> None:
        """Stop for good: whoever was about to start it does not."""
        self._is_over = True
        await self.stop()
        self._refuse_waiting()

    def status(self) -> ChannelStatus:
        session = self._session
        return ChannelStatus(
            state=self._state,
            reason=self._reason,
            retried_until_ms=self._retried_until_ms,
            position=self._ended_at if session is None else str(session.walker.position),
            source_time_ms=None if session is None else session.pacer.time_s() * 1000 or None,
            silent_ms=None if session is None else session.pacer.silent_ms,
            behind=session is not None and not session.pacer.at_end,
            records=self._counters.records,
            transactions=self._counters.transactions,
            reconnects=self._reconnects,
            ended=self._ended,
            progress=self._progress if self._state in (State.PRECHECKING, State.INITIAL) else None,
        )

    def subscribe(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Have `callback` called on each change of state, on the loop; returns what ends that."""
        self._subscribers.append(callback)
        return lambda: self._subscribers.remove(callback)

    async def wait_for(self, *states: State) -> ChannelStatus:
        """Wait until the channel is in one of these states."""
        changed = asyncio.Event()
        end = self.subscribe(changed.set)
        try:
            while self._state not in states:
                changed.clear()
                await changed.wait()
            return self.status()
        finally:
            end()

    async def wait_ended(self) -> ChannelStatus:
        """Wait until the channel runs no more: its source ended, it was stopped, or it needs action."""
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)
        return self.status()

    async def wait_visible(self, position: BinlogPosition, *, waits_for_room: bool = True) -> None:
        """Wait until everything before a transaction boundary can be read from the log.

        Raises CaptureError with the reason if the channel comes to stand still before that; without `waits_for_room`
        also while the log cannot be written, which is tried again.
        """
        if self._has_published(position):
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((position, future))
        if not waits_for_room:
            self._needing_room.add(future)
            future.add_done_callback(self._needing_room.discard)
        self._refuse_waiting()
        await future

    @property
    def next_id(self) -> int:
        """The id of the next record."""
        return self._log.end_offset + self._work.id_base if self._session is None else self._session.next_id

    def interject(self, records: Sequence[bytes], timestamps_ms: Sequence[int], next_id: int) -> bool:
        """Write records that are made already, between two transactions; what comes later has ids from `next_id` on.
        False, and nothing done, while there is no stream or it carries something over.
        """
        if self._session is None or not self._session.interject(records, timestamps_ms, next_id):
            return False
        id_base = self._session.next_id - self._log.end_offset
        self.spec, self._work = replace(self.spec, id_base=id_base), replace(self._work, id_base=id_base)
        return True

    # ---- who waits ----

    def _has_published(self, position: BinlogPosition) -> bool:
        return self._session is not None and self._session.has_published(position)

    def _on_progress(self) -> None:
        if self._waiting:
            for position, future in self._waiting:
                if self._has_published(position) and not future.done():
                    future.set_result(None)
            self._waiting = [(position, future) for position, future in self._waiting if not future.done()]

    def _refuse_waiting(self) -> None:
        """Nothing more will become visible until somebody acts: tell those who wait why."""
        if self._is_over or (self._state is State.ERROR and self._retried_until_ms is None):
            reason = self._reason or ("the channel was closed" if self._is_over else "the channel stands still")
            waiting, self._waiting = self._waiting, []
            for _, future in waiting:
                if not future.done():
                    future.set_exception(CaptureError(reason))
        elif self._state is State.ERROR and self._is_storage_doubtful:
            for future in self._needing_room:
                if not future.done():
                    future.set_exception(CaptureError(self._reason or "the log cannot be written"))

    def _move(self, state: State, reason: str | None = None, retried_until_ms: int | None = None) -> None:
        assert state in TRANSITIONS[self._state] or state is self._state, f"{self._state} -> {state}"
        self._state, self._reason, self._retried_until_ms = state, reason, retried_until_ms
        self._refuse_waiting()
        for callback in tuple(self._subscribers):
            callback()

    # ---- sessions and what lies between them ----

    async def _run(self) -> None:
        try:
            if not Channel._can_read_a_source:
                # In a thread: consumers read while what reads a source is loaded.
                await asyncio.to_thread(importlib.import_module, "capture.session")
                Channel._can_read_a_source = True
        except Exception as error:
            self._stand_still(error)
            return
        failing_since_ms: int | None = None
        backoff_ms = BACKOFF_FIRST_MS
        while True:
            carried, begun_ms = self._counters.transactions, self._clock.now_ms()
            try:
                await self._run_session()
            except ReadAgain:
                if self._log.recovered is None:
                    self._move(State.NOT_STARTED)  # a channel without a record begins with a precheck
                continue
            except (SourceUnavailable, StorageUnavailable) as error:
                self._is_storage_doubtful = isinstance(error, StorageUnavailable)
                now_ms = self._clock.now_ms()
                has_lasted = now_ms - begun_ms >= CONTENDED_MS
                has_worked = self._counters.transactions > carried or (self._state is State.NORMAL and has_lasted)
                if failing_since_ms is None or has_worked:
                    failing_since_ms = now_ms
                    if not isinstance(error, StreamEnded) or has_lasted:
                        backoff_ms = BACKOFF_FIRST_MS
                until_ms = failing_since_ms + RETRY_MS
                if self._clock.now_ms() >= until_ms:
                    self._move(State.ERROR, f"{error}; tried again for seven days without success")
                    return
                self._move(State.ERROR, str(error), until_ms)
            except (CaptureError, StorageError) as error:
                self._move(State.ERROR, str(error))
                return
            except Exception as error:
                self._stand_still(error)
                return
            else:
                self._end()
                return
            if await self._pause(round(backoff_ms * random.uniform(0.5, 1.0))):
                backoff_ms = BACKOFF_FIRST_MS
            backoff_ms = min(2 * backoff_ms, STORAGE_BACKOFF_MAX_MS if self._is_storage_doubtful else BACKOFF_MAX_MS)
            self._reconnects += 1

    async def _pause(self, delay_ms: int) -> bool:
        """Wait, or until somebody wants it tried again; whether that was so."""
        self._again.clear()
        is_over = False

        def end() -> None:
            nonlocal is_over
            is_over = True
            self._again.set()

        timer = self._scheduler.call_later(delay_ms, end)
        try:
            await self._again.wait()
        finally:
            timer.cancel()
        return not is_over

    def _end(self) -> None:
        """The source has nothing more, which only somebody who gives it more can change."""
        self._ended = True
        self._move(
            State.NORMAL,
            f"the source ended at {self._ended_at}, and all that was in it is captured; if there is more in its files "
            "now, have the channel resumed",
        )

    def _require_reason(self, task: asyncio.Task[None]) -> None:
        """A channel whose task is over says why, whatever ended it."""
        if task is not self._task or self._ended or (self._state is State.ERROR and self._retried_until_ms is None):
            return
        found = None if task.cancelled() else task.exception()
        self._stand_still(found or RuntimeError("it was ended from outside"))

    def _stand_still(self, mistake: BaseException) -> None:
        """Tell of a mistake of ours: without that it would look like a source where nothing happens."""
        _log.error("capture failed by a mistake in Binwire", extra={"channel": self.spec.id}, exc_info=mistake)
        self._move(State.ERROR, f"capture failed by a mistake in Binwire ({type(mistake).__name__}: {mistake})")

    async def _run_session(self) -> None:
        from capture.failover import reach
        from capture.file_continuity import forget_files
        from capture.resume import prepare
        from capture.session import Session
        from capture.start import current_end

        self._log.rollback()
        if self._is_storage_doubtful:
            await self._catalog.run(self._catalog.probe)
        source = self._source_factory()
        try:
            source, info = await reach(source, self._log, self._catalog, self.spec.id)
            if self._log.recovered is None:
                await self._catalog.run(forget_files, self._catalog, self.spec.id)
                await self._precheck(source, info)
                self._move(State.INITIAL)
            resume, history, selection, refused = await prepare(
                source, info, self.spec, self._log, self._catalog, self._tell
            )
            self._tell_refused_objects(refused)
            session = Session(self._work, source, info, selection, history, resume)
            if source.queryable:
                end, _ = await current_end(source, info)
                session.pacer.read_heartbeat(at_end=resume.position.order >= end.order)
                await self._learn_whitelist_addresses(source)
            self._begin_segment_if_elsewhere(resume)
            self._tell(f"opening the stream at {resume.position}")
            await source.start(resume.position)
            self._session = session
            self._move(State.NORMAL)
            await session.stream()
            self._ended_at = str(session.walker.position)
        finally:
            self._session = None
            await source.close()
            self._drop_unfinished()

    def _tell(self, sentence: str, fraction: float | None = None) -> None:
        self._progress = Progress(sentence, fraction)

    async def _learn_whitelist_addresses(self, source: Source) -> None:
        from capture.whitelist import seen_from

        if not self.whitelist_addresses:
            self.whitelist_addresses = (await seen_from(source, self.spec.address)).admitted

    def _tell_refused_objects(self, refused: str | None) -> None:
        if refused is not None and refused != self.refused_objects:
            _log.warning("%s", refused, extra={"channel": self.spec.id})
        self.refused_objects = refused

    def _begin_segment_if_elsewhere(self, resume: ResumePoint) -> None:
        """A segment holds positions of the one server that its head names."""
        from capture.position import ResumePoint

        recovered = self._log.recovered
        if recovered is not None:
            point = ResumePoint.from_recovered(recovered)
            if point.server != resume.server or point.position.base != resume.position.base:
                self._log.roll()

    async def _precheck(self, source: Source, info: ServerInfo) -> None:
        """A channel without a record begins only on a source that can be captured. Raises SourceRefused."""
        self._tell("looking at the source")
        self._move(State.PRECHECKING)
        if not (source.queryable or info.files):
            return  # there is nothing to look at
        from capture.precheck import Outcome, check  # 5 ms of a start, which a channel that has a log does without

        items = await check(source, info, self.spec, tell=self._tell)
        self.prechecked = items, self._clock.now_ms()
        for item in items:
            if item.outcome is Outcome.WARNING:
                _log.warning("%s: %s; %s", item.name, item.found, item.means, extra={"channel": self.spec.id})
        failed = [item for item in items if item.failed]
        if failed:
            found = "; ".join(f"{item.name}: {item.found}" for item in failed)
            remedy = (failed[0].remedy or "").replace("\n", " ").removeprefix("-- ")
            told = remedy if len(failed) == 1 else "`binwire check` says what to do about each"
            raise SourceRefused(f"precheck of {source.address} failed: {found}; {told}")

    def _drop_unfinished(self) -> None:
        try:
            self._log.rollback()
        except LogWriteError:
            # The next session begins with a rollback of its own and reports it if it fails again.
            return
