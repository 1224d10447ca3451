"""When bytes reach the medium: what is not durable yet, one flush of it, and the offset below which all is.

Owns the list of files to flush and their descriptors from the moment a segment is begun until it was flushed closed.
A flush is begun and ended on the loop's thread, where the state is; only `run` may happen on another one.

Invariant: `durable_offset` moves only after log and positions of all that lies below it were flushed without an error,
older segments first; indexes once their segment is closed, or the log. A flush that failed is never repeated: the
system may have dropped the pages and forgotten; what the failed flush covered counts as lost (`storage.segment_log`).
Failed is a flush of which a sync failed. One that could not open what it was to sync has lost nothing: it is deferred,
and made again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct

from storage.appender import Appender
from storage.files import Files
from storage.segment import Segment


class FlushDeferred(OSError):
    """A file could not be opened, so nothing was asked of the medium; made of the system's error."""


class FlushJob(Struct, frozen=True):
    """One flush: everything written before it was begun."""

    descriptors: tuple[int, ...]
    paths: tuple[Path, ...]
    """Files written by an earlier run, opened for the flush."""
    is_directory_changed: bool
    end_offset: int
    """The durable offset once the flush succeeded."""
    covered_bytes: int
    finished: tuple[Appender, ...]
    """Segments that were closed before: after this flush they are done with."""


class Flusher:
    """Knows what a flush must cover."""

    def __init__(self, files: Files, directory: Path, durable_offset: int, unflushed: Sequence[Path]) -> None:
        self.durable_offset = durable_offset
        self.unflushed_bytes = 0
        self._files = files
        self._directory = directory
        self._unflushed_paths = list(unflushed)
        self._appenders: list[Appender] = []
        self._retired: list[Appender] = []
        self._is_directory_changed = bool(unflushed)
        """Names of the directory may not be durable; those of files that a killed run began are not, either."""
        self._is_positions_changed = False
        self._job: FlushJob | None = None
        self.waiting_since_ms: int | None = None
        """When the flush that is under way or deferred was first begun, on the monotonic clock."""
        self.deferred_by: FlushDeferred | None = None

    @property
    def is_needed(self) -> bool:
        """Whether anything was written since the last flush began."""
        return bool(
            self.unflushed_bytes or self._is_directory_changed or self._is_positions_changed or self._unflushed_paths
        )

    @property
    def segment_count(self) -> int:
        """How many segments keep their files open for a flush."""
        return len(self._appenders)

    def track(self, appender: Appender, *, is_new: bool) -> None:
        """Flush this segment too, from now until it is retired."""
        self._appenders.append(appender)
        self._is_directory_changed |= is_new

    def removed(self) -> None:
        """Flush the names too: a file was deleted that must not come back."""
        self._is_directory_changed = True

    def wrote(self, size_bytes: int) -> None:
        """Count bytes of the log, or with 0 a change of positions alone."""
        self.unflushed_bytes += size_bytes
        self._is_positions_changed = True

    def retire(self, appender: Appender) -> None:
        """Close a segment that needs no flush any more, as soon as no flush uses its descriptors."""
        if appender in self._appenders:
            self._appenders.remove(appender)
        if self._job is not None:
            self._retired.append(appender)
        else:
            appender.close()

    def retire_all(self) -> None:
        """Close every segment."""
        for appender in list(self._appenders):
            self.retire(appender)
        self._unflushed_paths = []

    def begin(self, end_offset: int, monotonic_ms: int, *, is_last: bool = False) -> FlushJob:
        """Begin a flush of everything written so far, which reaches to `end_offset`; one at a time.

        The indexes of a segment that is written to are left out, unless this flush `is_last`: after a loss of power
        they are looked at slot by slot.
        """
        assert self._job is None
        if self.waiting_since_ms is None:
            self.waiting_since_ms = monotonic_ms
        descriptors = tuple(
            descriptor
            for appender in self._appenders
            for descriptor in (appender.descriptors if is_last or appender.is_finished else appender.truth_descriptors)
        )
        paths = tuple(self._unflushed_paths)
        finished = tuple(appender for appender in self._appenders if appender.is_finished)
        self._job = FlushJob(descriptors, paths, self._is_directory_changed, end_offset, self.unflushed_bytes, finished)
        self._is_directory_changed = False
        self._is_positions_changed = False
        return self._job

    def run(self, job: FlushJob) -> None:
        """Flush; may be called on any thread.

        Raises:
            FlushDeferred: a file could not be opened.
            OSError: the system could not make the bytes durable.
        """
        for path in job.paths:
            with self._opened(path) as descriptor:
                if descriptor is not None:
                    self._files.sync(descriptor)
        for descriptor in job.descriptors:
            self._files.sync(descriptor)
        if job.is_directory_changed:
            with self._opened(self._directory, write=False) as descriptor:
                if descriptor is not None:
                    self._files.sync_names(descriptor)

    @contextmanager
    def _opened(self, path: Path, *, write: bool = True) -> Iterator[int | None]:
        """What is to be flushed; None if it is gone: retired, or taken away with all that is in it."""
        try:
            descriptor = self._files.open(path, write=write)
        except FileNotFoundError:
            yield None
            return
        except OSError as error:
            raise FlushDeferred(error.errno, error.strerror, str(path)) from error
        try:
            yield descriptor
        finally:
            self._files.close(descriptor)

    def end(self, job: FlushJob, error: OSError | None) -> None:
        """Account for a flush that returned."""
        self._job = None
        for appender in self._retired:
            appender.close()
        self._retired = []
        if isinstance(error, FlushDeferred):
            self.deferred_by = error
            self._is_directory_changed |= job.is_directory_changed
            self._is_positions_changed = True
            return
        self.waiting_since_ms = self.deferred_by = None
        if error is not None:
            return
        self.durable_offset = max(self.durable_offset, job.end_offset)
        self.unflushed_bytes -= job.covered_bytes
        self._unflushed_paths = self._unflushed_paths[len(job.paths) :]
        for appender in job.finished:
            if appender in self._appenders:
                self.retire(appender)

    def appenders_of(self, segment: Segment) -> list[Appender]:
        """Those that write, or wrote, a segment."""
        return [appender for appender in self._appenders if appender.segment is segment]

    def restart(self, durable_offset: int, unflushed: Sequence[Path]) -> None:
        """After a failed flush was cut off: nothing of it is left to flush but these files."""
        self._unflushed_paths = list(unflushed)
        self.durable_offset = durable_offset
        self.unflushed_bytes = 0
        self._is_directory_changed = False
        self._is_positions_changed = False
