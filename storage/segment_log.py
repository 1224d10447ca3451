"""The default home of a log: segment files in one directory, written by one process, read by anyone in it.

    topics/<topic>-0/<base offset>.log .index .timeindex .source    storage.segment, storage.index, storage.positions
                     state                                          storage.state

Owns the order of things: append to the active segment, commit, publish, wake; roll; roll back; retire. What a
segment's bytes mean is below; when they reach the medium is `storage.flushing`'s and `storage.upkeep`'s; how a log is
found again after a crash is `storage.recovery`'s; how a refusal is told is `storage.write_failures`'.

Invariants: offsets below `high_watermark` are served and never change, `end_offset` is where the next batch must
start, segments follow each other in offsets (a gap lies only between two of them). All calls are made on one thread,
the event loop's; what may be called on any thread says so, and works on files, not on state.

A failed flush: what it covered is distrusted on disk, then no longer served, though the high watermark stays. The log
refuses writes until `rollback`, which closes the segment behind what is durable with a gap up to the high watermark.
Then the source is read again from `recovered` on, and the records come back at new offsets.

A flush that does not return, or that cannot open its files: after `upkeep.LATE_MS` writes are refused, readers go on,
and it is over when the flush has returned. Until then what is not flushed is bounded by `settle`, which holds a writer
that is faster than the disk.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

from storage import write_failures
from storage.appender import POSITION_BYTES_MAX, Append, Appender, check_batches
from storage.clock import Clock
from storage.cold import ColdReads
from storage.config import LogConfig
from storage.directory import boot_id as machine_boot_id
from storage.disk import LogDisk
from storage.disk_meter import DiskMeter
from storage.errors import CorruptLog, LogWriteError, OffsetOutOfRange
from storage.files import Files
from storage.flushing import FlushDeferred, Flusher, FlushJob
from storage.intervals import IntervalChain
from storage.log import EMPTY_SLICE, LogSlice, RecoveredSource, SourcePosition
from storage.positions import PositionFile, PositionHeader
from storage.records import NO_TIMESTAMP_MS
from storage.recovery import Commit, OpenedLog, close_with_gap, delete_segment, find_commit, open_log, unflushed_paths
from storage.reservation import Reservation
from storage.retention import RetentionClock, expired_count
from storage.segment import Extent, Segment, segment_paths, source_path
from storage.segments import Segments
from storage.upkeep import Upkeep

UNFLUSHED_FLUSHES_MAX: Final = 8
"""How many times `flush_bytes` a writer may be ahead of the disk before `settle` holds it."""
UNFLUSHED_SEGMENTS_MAX: Final = 64
"""And by how many segments: each keeps four files open until it is flushed, of the 1024 that a process often may."""
_PROBE_BYTES_MIN: Final = 64 * 1024
_PROBE_BYTES_MAX: Final = 4 << 20
DAMAGES_MAX: Final = 100
"""Places that are told of; the log's whole state is `storage.verify`'s."""

_log = logging.getLogger("binwire.log")


class _Publication(NamedTuple):
    """What one commit makes visible."""

    end_offset: int
    extents: tuple[tuple[Segment, Extent], ...]


class SegmentLog:
    """Implements `storage.log.Log`. Made by `open`; `start` gives it a task that flushes and retires."""

    def __init__(
        self,
        directory: Path,
        topic: str,
        config: LogConfig,
        clock: Clock,
        files: Files,
        reservation: Reservation,
        opened: OpenedLog,
        cold: ColdReads | None,
    ) -> None:
        self.topic = topic
        self.directory = directory
        self.config = config
        self.high_watermark = opened.end_offset
        self.end_offset = opened.end_offset
        self.notes: tuple[str, ...] = tuple(opened.notes)
        """What recovery lost or cut, as sentences for the process's log."""
        self.reservation = reservation
        self.is_volatile = files.is_volatile
        self._files = files
        self._clock = clock
        self._retention_clock = RetentionClock(clock)
        self._segments = Segments(opened.segments, cold)
        self._active = opened.appender
        self._commit = opened.commit
        self._committed_end_offset = opened.end_offset
        self._rolled: list[tuple[Segment, Extent]] = []
        """Segments closed since the last commit, with what they hold once that comes."""
        self._awaiting: list[_Publication] = []
        """Commits that become visible when they are durable."""
        self._snapshot: Callable[[], bytes] | None = None
        self._is_roll_asked = False
        self._is_begun = False
        self._failure: LogWriteError | None = None
        self._is_unattended = False
        """Whether the task that flushes has ended by a mistake of ours."""
        self._refused: tuple[str, int] | None = None
        """What could not be done by a write that the system refused, and how many bytes it needs; `rollback` sees
        whether it could now, and says the same as long as it could not.
        """
        self._is_poisoned = False
        self._damages: dict[str, None] = {}
        self._serves_unflushed = False
        """Whether what a failed flush covered is still to be taken back."""
        self._doomed: list[Segment] = []
        """Segments that are gone from the log and not yet from the disk."""
        self._subscribers: dict[object, Callable[[], None]] = {}
        was_killed = reservation.found is not None and not reservation.found.orderly
        unflushed = unflushed_paths(opened.segments, opened.durable_offset) if was_killed else []
        self.flusher = Flusher(files, directory, opened.durable_offset, unflushed)
        self.upkeep = Upkeep(self, clock)
        self._meter = DiskMeter(files, directory, config)
        self.committed_bytes = 0
        """Of this run."""
        self._uncommitted_bytes = 0
        if opened.appender is not None:
            self.flusher.track(opened.appender, is_new=False)

    @classmethod
    def open(
        cls,
        directory: Path,
        topic: str,
        config: LogConfig,
        clock: Clock,
        *,
        boot_id: str | None = None,
        files: Files | None = None,
        cold: ColdReads | None = None,
    ) -> SegmentLog:
        """Open the log in `directory`, or create it. Reads a bounded tail, however much the log holds.

        `boot_id` names the machine's boot; None asks the machine. With `cold` readers get `NotResident` where they
        would wait for the disk; without, they wait.

        Raises:
            CorruptLog: the newest source position does not verify beyond what recovery can cut.
            LogWriteError: the system refuses to read or write the directory.
        """
        files = files or Files()
        try:
            if not directory.exists():
                files.make_directory(directory)
                files.sync_directory(directory.parent)
            boot_id = machine_boot_id() if boot_id is None else boot_id
            reservation = Reservation.open(files, directory, boot_id, config.reserve_offsets)
            opened = open_log(files, directory, config, clock, reservation.found, reservation.boot_id)
        except OSError as error:
            raise write_failures.refused(topic, directory, "opened", error) from error
        log = cls(directory, topic, config, clock, files, reservation, opened, cold)
        if log._waits_for_flush:
            # A killed process leaves commits that it had not flushed, and nobody was shown.
            log.flush()
            log._raise_failure()
        return log

    def start(self) -> None:
        """Flush, reserve offsets and retire segments in a task of the running event loop."""
        self.upkeep.start()

    async def close(self, *, orderly: bool = True) -> None:
        """Drop what is uncommitted and close; when orderly, flush everything first so that the next open reads nothing.

        Raises:
            LogWriteError: the flush failed, or does not return; the log is closed, and the next open recovers it as
                after a crash.
        """
        try:
            if not await self.upkeep.stop():
                raise self._lateness()
            if orderly:
                with self._writing("closed"):
                    self._take_back()
                    if self._active is not None:
                        self._active.trim()
                    self.flush(is_last=True)
                    self._raise_failure()
                    self.reservation.close(self.end_offset)
        finally:
            self.release()

    def release(self) -> None:
        """Close the files as they are, as the end of the process would."""
        self.flusher.retire_all()
        self._active = None
        self._segments.forget()

    # Reading

    @property
    def log_start_offset(self) -> int:
        ordered = self._segments.ordered
        return ordered[0].base_offset if ordered else self.high_watermark

    @property
    def log_start_timestamp_ms(self) -> int | None:
        return self._segments.first_timestamp_ms()

    @property
    def last_timestamp_ms(self) -> int | None:
        return self._segments.last_timestamp_ms(may_wait=False)

    def read(self, offset: int, max_bytes: int, *, at_least_one: bool = True) -> LogSlice:
        try:
            self._check_bounds(offset)
            if offset == self.high_watermark:
                return EMPTY_SLICE
            part = self._segments.read(offset, max_bytes, at_least_one=at_least_one)
            return part if part is not None else EMPTY_SLICE
        except CorruptLog as damage:
            self._note_damage(damage)
            raise

    def size_between(self, offset: int, max_bytes: int) -> int:
        self._check_bounds(offset)
        found = self._segments.locate(offset) if offset < self.high_watermark else None
        return self._segments.size_from(*found, max_bytes) if found is not None else 0

    def offset_for_timestamp(self, timestamp_ms: int) -> tuple[int, int] | None:
        try:
            return self._segments.find_timestamp(timestamp_ms)
        except CorruptLog as damage:
            self._note_damage(damage)
            raise

    @property
    def durable_offset(self) -> int:
        """Everything below was flushed."""
        return self.flusher.durable_offset

    @property
    def disk(self) -> LogDisk | None:
        """What the log takes of its disk and needs there, as it was some seconds ago; None before the first look."""
        return self._meter.latest

    @property
    def damages(self) -> tuple[str, ...]:
        """What readers came by that is not what was written, a sentence for each place."""
        return tuple(self._damages)

    def subscribe(self, callback: Callable[[], None]) -> Callable[[], None]:
        key = object()
        self._subscribers[key] = callback

        def unsubscribe() -> None:
            self._subscribers.pop(key, None)

        return unsubscribe

    # Writing

    @property
    def recovered(self) -> RecoveredSource | None:
        commit = self._commit
        if commit is None:
            return None
        with self._writing("read"):
            with closing(PositionFile.open(self._files, source_path(commit.segment.path), write=False)) as file:
                intervals = IntervalChain.load(file, commit.number).intervals
            timestamp_ms = self._segments.last_timestamp_ms(may_wait=True)
        return RecoveredSource(
            file.header.snapshot,
            commit.entry.file_number,
            commit.entry.position,
            intervals,
            NO_TIMESTAMP_MS if timestamp_ms is None else timestamp_ms,
        )

    def attach(self, snapshot: Callable[[], bytes]) -> None:
        self._snapshot = snapshot

    def roll(self) -> None:
        self._is_roll_asked = True

    def append(self, batch: bytes | Sequence[bytes]) -> None:
        self._raise_failure()
        append = check_batches((batch,) if isinstance(batch, bytes) else batch, self.end_offset)
        with self._writing("appended to", self._uncommitted_bytes + append.size_bytes):
            self._begin_run()
            appender = self._appender_for(append)
            appender.append(append)
        self.end_offset = append.end_offset
        self._uncommitted_bytes += append.size_bytes
        self.flusher.wrote(append.size_bytes)
        if self.flusher.unflushed_bytes >= self.config.flush_bytes:
            self.upkeep.wake()

    def commit(self, positions: Sequence[SourcePosition]) -> None:
        self._raise_failure()
        if not positions:
            raise ValueError("a commit needs the position of at least one transaction")
        appender = self._active
        if appender is None or appender.appended.size_bytes == 0 or self._is_roll_asked:
            # A position without any record in its segment is not worth a segment: resuming before it is as exact.
            assert self.end_offset == self._committed_end_offset
            return
        now_ms = self._clock.now_ms()
        with self._writing("committed to", _PROBE_BYTES_MIN):
            self._begin_run()
            self.reservation.ensure(self.end_offset, self.flusher.durable_offset)
            entry = appender.commit(positions, now_ms, self.flusher.durable_offset)
        self._commit = Commit(appender.segment, appender.positions.count - 1, entry)
        self._committed_end_offset = self.end_offset
        self.committed_bytes += self._uncommitted_bytes
        self._uncommitted_bytes = 0
        extent = Extent(*appender.extent, now_ms)
        publication = _Publication(self.end_offset, (*self._rolled, (appender.segment, extent)))
        self._rolled = []
        self.flusher.wrote(0)
        if not self._waits_for_flush:
            self._publish(publication)
            return
        self._awaiting.append(publication)
        if self.upkeep.is_running:
            self.upkeep.wake()
        else:
            self.flush()
            self._raise_failure()

    def rollback(self) -> None:
        with self._writing("rolled back"):
            self._take_back()
        if self._refused is not None:
            what, size_bytes = self._refused
            with self._writing(what):
                self._probe(min(max(size_bytes, _PROBE_BYTES_MIN), _PROBE_BYTES_MAX))
            self._refused = None
        self._raise_failure()

    async def settle(self) -> None:
        while self._is_ahead and self.upkeep.is_running and self._may_write:
            self.upkeep.wake()
            await self.upkeep.turn()

    async def flushed(self) -> None:
        while self.needs_flush and self.upkeep.is_running and self._may_write:
            self.upkeep.wake()
            await self.upkeep.turn()
        if not self.upkeep.is_running:
            self.flush()
        self._raise_failure()

    async def shown(self) -> None:
        while self._awaiting and self.upkeep.is_running and self._may_write:
            self.upkeep.wake()
            await self.upkeep.turn()
        self._raise_failure()

    # Flushing and retiring: called by `storage.upkeep`, and by tests that want no task

    @property
    def needs_flush(self) -> bool:
        """Whether something was written since the last flush that succeeded; what one lost is not flushed again."""
        return self.flusher.is_needed and not self._is_poisoned

    def flush(self, *, is_last: bool = False) -> None:
        """Make everything committed so far durable, here and now; a failure is kept for the next write to raise.

        With `is_last` indexes too, whatever was written since the last flush.
        """
        if self._is_poisoned or not (self.flusher.is_needed or is_last):
            return
        job = self.begin_flush(is_last=is_last)
        try:
            self.run_flush(job)
        except OSError as error:
            self.end_flush(job, error)
        else:
            self.end_flush(job, None)

    def begin_flush(self, *, is_last: bool = False) -> FlushJob:
        return self.flusher.begin(self._committed_end_offset, self._clock.monotonic_ms(), is_last=is_last)

    def run_flush(self, job: FlushJob) -> None:
        """Flush; may be called on any thread. What a failed flush covered is distrusted before anybody is told of it:
        a process that is killed then must not be believed to have left it in memory.

        Raises:
            FlushDeferred: as `Flusher.run`.
            OSError: as `Flusher.run`.
        """
        try:
            self.flusher.run(job)
        except FlushDeferred:
            raise
        except OSError:
            with suppress(OSError):  # `rollback` tries again and says so
                self.reservation.distrust()
            raise

    def end_flush(self, job: FlushJob, error: OSError | None) -> None:
        """Account for a flush; publish what waited for it, or stop serving what it did not save."""
        self.flusher.end(job, error)
        if isinstance(error, FlushDeferred):
            return
        if error is not None:
            self._poison(error)
            return
        while self._awaiting and (self._awaiting[0].end_offset <= job.end_offset or not self._waits_for_flush):
            self._publish(self._awaiting.pop(0))

    def measure_disk(self) -> Callable[[], None]:
        """What looks at the disk, to be called on any thread; see `disk`."""
        return partial(self._meter.measure, self._clock.now_ms(), self.committed_bytes)

    def fail(self, error: BaseException) -> None:
        """Refuse writes: the task that flushes has ended."""
        self._is_unattended = True
        self._failure = write_failures.unattended(self.topic, error)

    def retire(self) -> list[Segment]:
        """Take the segments whose time is over out of the log, and return all that are still to be deleted.

        Raises:
            NotResident: how far one reaches is not in memory.
        """
        if self._is_poisoned:
            # What was taken back goes once the gap is certain (`_cut_off_unflushed`): its offsets were served.
            return []
        if self._commit is not None:
            durable_offset, now_ms = self.flusher.durable_offset, self._retention_clock.now_ms()
            count = expired_count(self._segments, self._commit.segment, durable_offset, now_ms, self.config)
            self._doomed += self._segments.remove_oldest(count)
        doomed, self._doomed = self._doomed, []
        return doomed

    def expire(self) -> None:
        """Take everything before the newest segment out of the log, as if its time were over."""
        self._doomed += self._segments.remove_oldest(len(self._segments.ordered) - 1)
        self.upkeep.wake()

    def keep_doomed(self, segments: Sequence[Segment]) -> None:
        """Try again later to delete what the system refused to."""
        self._doomed += segments

    def delete(self, segments: Sequence[Segment]) -> None:
        """Unlink segments; may be called on any thread.

        Raises:
            OSError: the system refuses; they come back at the next open.
        """
        self.reservation.save_durable(self.flusher.durable_offset)
        for segment in segments:
            delete_segment(self._files, segment)

    # Inside

    def _note_damage(self, damage: CorruptLog) -> None:
        sentence = str(damage)
        if sentence not in self._damages and len(self._damages) < DAMAGES_MAX:
            self._damages[sentence] = None
            _log.error("the log of topic %s is damaged: %s", self.topic, sentence)

    def _check_bounds(self, offset: int) -> None:
        if not self.log_start_offset <= offset <= self.high_watermark:
            raise OffsetOutOfRange(self.topic, offset, self.log_start_offset, self.high_watermark)

    def _publish(self, publication: _Publication) -> None:
        for segment, extent in publication.extents:
            segment.publish(extent)
        if publication.end_offset == self.high_watermark:
            return
        self.high_watermark = publication.end_offset
        for callback in tuple(self._subscribers.values()):
            callback()

    def _begin_run(self) -> None:
        """Say durably, once, that this run writes."""
        if not self._is_begun:
            self.reservation.begin(self.end_offset, self.flusher.durable_offset)
            self._is_begun = True

    def _appender_for(self, append: Append) -> Appender:
        """The active segment, rolled first if it is full, old, or asked to."""
        active = self._active
        if active is not None:
            size_bytes = active.appended.size_bytes
            is_full = size_bytes > 0 and size_bytes + append.size_bytes > self.config.segment_bytes
            is_old = size_bytes > 0 and self._clock.now_ms() - active.created_ms >= self.config.segment_ms
            if not (is_full or is_old or self._is_roll_asked):
                return active
            self._finish_active(active)
        if append.size_bytes > POSITION_BYTES_MAX:
            raise ValueError(f"an append of {append.size_bytes} bytes exceeds {POSITION_BYTES_MAX}")
        assert self._snapshot is not None, "attach before the first append"
        return self._begin_segment(self._snapshot())

    def _finish_active(self, active: Appender) -> None:
        if active.appended.size_bytes == 0:
            self._remove_newest()
        else:
            now_ms = self._clock.now_ms()
            active.finish(self.end_offset, now_ms, self.flusher.durable_offset)
            if self.end_offset != self._committed_end_offset:
                self._rolled.append((active.segment, Extent(*active.extent, now_ms)))
        self._active = None

    def _begin_segment(self, snapshot: bytes) -> Appender:
        header = PositionHeader(self.end_offset, self._clock.now_ms(), self._earlier_max_timestamp_ms(), snapshot)
        appender = Appender.create(self._files, self.directory, header, self.config)
        self._active = appender
        self._is_roll_asked = False
        self._segments.add(appender.segment)
        self.flusher.track(appender, is_new=True)
        return appender

    def _earlier_max_timestamp_ms(self) -> int:
        newest = self._segments.newest
        times = [extent.max_timestamp_ms for _, extent in self._rolled]
        return max([newest.log_max_timestamp_ms, *times] if newest is not None else [NO_TIMESTAMP_MS])

    def _remove_newest(self) -> None:
        segment = self._segments.newest
        assert segment is not None
        # Its files first: those of a segment that is forgotten would be taken for a part of the log by the next start.
        delete_segment(self._files, segment)
        self._segments.remove_newest()
        self.flusher.removed()
        for appender in self.flusher.appenders_of(segment):
            self.flusher.retire(appender)

    def _take_back(self) -> None:
        """Bring the log to its last commit that is not lost."""
        self._uncommitted_bytes = 0
        if self._is_poisoned:
            self._cut_off_unflushed()
        else:
            self._drop_uncommitted()
        if not self._is_unattended:
            self._failure = None

    def _probe(self, size_bytes: int) -> None:
        """Do what a write needs that was refused, and leave nothing of it: whoever asks the source again is sure then
        that there is a place for what it gives.
        """
        self._begin_run()
        self.reservation.probe()
        active = self._active
        appender = active or self._begin_segment(b"")
        try:
            # Behind the end, where nobody reads and the next append writes.
            self._files.write(appender.descriptors[0], bytes(size_bytes), appender.appended.size_bytes)
        finally:
            if active is None:
                self._active = None
                self._remove_newest()

    def _drop_uncommitted(self) -> None:
        commit, active = self._commit, self._active
        if active is not None and commit is not None and active.segment is commit.segment:
            active.rollback()
        else:
            self._active = None
            while self._segments.newest is not (commit.segment if commit is not None else None):
                self._remove_newest()
            if commit is not None and self._rolled and self._rolled[0][0] is commit.segment:
                self._reopen(commit)
        self._rolled = []
        self.end_offset = self._committed_end_offset

    def _reopen(self, commit: Commit) -> None:
        """Go on in a segment that was closed inside the transaction that is dropped."""
        for appender in self.flusher.appenders_of(commit.segment):
            self.flusher.retire(appender)
        self._active = Appender.reopen(self._files, commit.segment, commit.number, self.config)
        self.flusher.track(self._active, is_new=False)

    def _poison(self, error: OSError) -> None:
        """A flush failed: from now on serve and accept nothing that it should have saved."""
        self._failure = write_failures.refused(self.topic, self.directory, "flushed", error)
        self._is_poisoned = True
        self._active = None
        self._awaiting = []
        self._rolled = []
        self.flusher.retire_all()
        self._serves_unflushed = True
        with suppress(OSError, CorruptLog):  # out of file descriptors, damage: `rollback` tries again and says so
            self._take_back_unflushed()

    def _take_back_unflushed(self) -> None:
        """Serve nothing behind what is durable."""
        self._commit = commit = find_commit(self._files, self._segments.ordered, self.flusher.durable_offset)
        while self._segments.newest is not (commit.segment if commit is not None else None):
            self._doomed.append(self._segments.remove_newest())
        if commit is not None:
            commit.segment.publish(commit.extent)
        self.end_offset = self._committed_end_offset = self.high_watermark
        self._serves_unflushed = False

    def _cut_off_unflushed(self) -> None:
        """Make on disk what `_poison` made in memory. Files that slices may be read from are not cut."""
        if self._serves_unflushed:
            self._take_back_unflushed()
        self.reservation.distrust()
        self.delete(self._doomed)
        self._doomed = []
        if self._commit is not None:
            close_with_gap(self._files, self._commit, self.high_watermark, self._clock.now_ms())
        self._files.sync_directory(self.directory)
        self.reservation.trust(self.high_watermark)
        unflushed = segment_paths(self._commit.segment.path) if self._commit is not None else ()
        self.flusher.restart(self.high_watermark, unflushed)
        self._is_poisoned = False

    @property
    def _waits_for_flush(self) -> bool:
        """Whether commits become visible when they are durable. Those of a log of which nothing is durable always do:
        after a loss of power such a log has no beginning, and who had read of it would be told so.
        """
        if self.config.flush_before_visible or not self._segments.ordered:
            return True
        return self.flusher.durable_offset <= self._segments.ordered[0].base_offset

    @property
    def _is_ahead(self) -> bool:
        """Whether more is unflushed than a writer may be ahead of the disk."""
        flusher = self.flusher
        return (
            flusher.unflushed_bytes >= UNFLUSHED_FLUSHES_MAX * self.config.flush_bytes
            or flusher.segment_count > UNFLUSHED_SEGMENTS_MAX
        )

    @property
    def _may_write(self) -> bool:
        return self._failure is None and not self.upkeep.is_late

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure
        if self.upkeep.is_late:
            raise self._lateness()

    def _lateness(self) -> LogWriteError:
        """The error for a flush that does not end."""
        monotonic_ms = self._clock.monotonic_ms()
        since_ms = self.upkeep.waiting_since_ms or monotonic_ms
        moment_ms = self._clock.now_ms() - monotonic_ms + since_ms
        return write_failures.late(self.topic, self.directory, moment_ms, self.flusher.deferred_by)

    def _writing(self, what: str, refused_bytes: int = 0) -> _Writing:
        return _Writing(self, what, refused_bytes)

    def note_refusal(self, what: str, refused_bytes: int, error: OSError) -> LogWriteError:
        """The error for a write that the system refused."""
        if refused_bytes:
            self._refused = what, refused_bytes
        return write_failures.refused(self.topic, self.directory, what, error)


class _Writing:
    """Tells what the system refuses within it in the log's words. A class, as every small transaction enters two."""

    __slots__ = ("_log", "_refused_bytes", "_what")

    def __init__(self, log: SegmentLog, what: str, refused_bytes: int) -> None:
        self._log, self._what, self._refused_bytes = log, what, refused_bytes

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError):
            raise self._log.note_refusal(self._what, self._refused_bytes, error) from error
