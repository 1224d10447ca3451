"""Offsets set aside durably, so that none is used twice after the machine lost its power.

Owns the log's `state` file (storage.state) while the log is open: written before the first append of a run, extended
in steps before offsets run out, marked orderly at the end. Extending ahead is done on another thread; a lock keeps
the two ways apart, and who would wait for it longer than `LOCK_WAIT_S` gets an error instead: a disk that hangs there
must not hold the event loop.

Invariant: `reserved_offset`, durably, is above every offset that is visible.
"""

from __future__ import annotations

import errno
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from storage.files import TEMPORARY_SUFFIX, Files
from storage.state import STATE_BYTES, LogState, read_state, state_path, write_state

LOCK_WAIT_S: Final = 1.0


class Reservation:
    """The open state of one log."""

    def __init__(self, files: Files, directory: Path, boot_id: str, step: int, found: LogState | None) -> None:
        self.found = found
        """What the last run left."""
        self.boot_id = boot_id
        self._files = files
        self._directory = directory
        self._step = step
        self._written = found
        self._is_distrusted = False
        self._lock = threading.Lock()

    @classmethod
    def open(cls, files: Files, directory: Path, boot_id: str, step: int) -> Reservation:
        return cls(files, directory, boot_id, step, read_state(files, directory))

    @property
    def reserved_offset(self) -> int:
        return self._written.reserved_offset if self._written is not None else -1

    def begin(self, end_offset: int, durable_offset: int) -> None:
        """Say durably that this run appends; costs nothing once it is said."""
        with self._locked():
            written = self._written
            if written is None or written.orderly or written.boot_id != self.boot_id:
                self._reserve(end_offset, durable_offset)
            elif written is self.found:
                # Whoever wrote it may have been killed before its name was durable.
                self._files.sync_directory(self._directory)

    def ensure(self, end_offset: int, durable_offset: int) -> None:
        """Have every offset below `end_offset` reserved."""
        if end_offset > self.reserved_offset:
            self.extend(end_offset, durable_offset)

    def is_short(self, end_offset: int) -> bool:
        """Whether half of a step is used up: time to extend, aside."""
        written = self._written
        return written is not None and not written.orderly and end_offset > written.reserved_offset - self._step // 2

    def extend(self, end_offset: int, durable_offset: int) -> None:
        """Reserve another step above `end_offset`; may be called on any thread."""
        with self._locked():
            if end_offset > self.reserved_offset - self._step // 2:
                self._reserve(end_offset, durable_offset)

    def save_durable(self, durable_offset: int) -> None:
        """Say durably what is durable, before a segment below that is deleted; may be called on any thread."""
        with self._locked():
            if self._written is not None and self._written.durable_offset < durable_offset:
                self._replace(self._written._replace(durable_offset=durable_offset))

    def close(self, end_offset: int) -> None:
        """Say durably that the run ended orderly at `end_offset`, everything flushed; costs nothing if none began."""
        with self._locked():
            if self._written is not None and not self._written.orderly:
                self._replace(LogState(True, end_offset, end_offset, self.boot_id))

    def distrust(self) -> None:
        """Say durably that what is in the files may not be what was served, as after a loss of power.

        Costs nothing once it is said. Until `trust`, a killed process is recovered with a gap: the files are between
        two states. May be called on any thread.
        """
        with self._locked():
            self._is_distrusted = True
            if self._written is not None and self._written.boot_id:
                self._replace(self._written._replace(boot_id=""))

    def trust(self, durable_offset: int) -> None:
        """Take `distrust` back: what is left below `durable_offset` was flushed."""
        with self._locked():
            if self._written is not None:
                self._replace(self._written._replace(boot_id=self.boot_id, durable_offset=durable_offset))
            self._is_distrusted = False

    def probe(self) -> None:
        """See whether the state could be written. Not flushed: the event loop waits for this, and a disk may hang."""
        path = state_path(self._directory)
        temporary = path.with_name(path.name + TEMPORARY_SUFFIX)
        with self._locked():
            self._files.unlink(temporary)
            with self._files.opened(temporary, create=True) as descriptor:
                self._files.write(descriptor, bytes(STATE_BYTES), 0)
            self._files.unlink(temporary)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        if not self._lock.acquire(timeout=LOCK_WAIT_S):
            raise OSError(errno.ETIMEDOUT, "the disk does not answer", str(self._directory))
        try:
            yield
        finally:
            self._lock.release()

    def _reserve(self, end_offset: int, durable_offset: int) -> None:
        self._replace(
            LogState(
                orderly=False,
                reserved_offset=max(self.reserved_offset, end_offset + self._step),
                durable_offset=durable_offset,
                boot_id="" if self._is_distrusted else self.boot_id,
            )
        )

    def _replace(self, state: LogState) -> None:
        write_state(self._files, self._directory, state)
        self._written = state
