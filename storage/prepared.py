"""Prepared XA transactions: what was changed and is neither committed nor rolled back, kept beside the log.

Owns when a file counts and when it goes; its bytes are those of `storage/prepared_file.py`. The order that makes a
transaction survive: frames and slot are made durable (`sync`) before the log's position moves behind the place in the
slot; a file is deleted when the log is durable behind the place in FINISHED. So after a crash (`recover`, given where
the log goes on) a file that is not prepared, or only beyond that place, goes: the source brings it again; a FINISHED
beyond it is taken back. Places of another server lie before it: before a log changes its server, it is flushed and the
files are brought to its end. A file that cannot be read is set aside (`.damaged`); the rows are read from the binlog
again.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from storage import write_failures
from storage.errors import CorruptLog
from storage.files import DAMAGED_SUFFIX, Files
from storage.prepared_file import (
    FINISHED_AT,
    FRAMES_AT,
    PREPARED_AT,
    SLOT_BYTES,
    SUFFIX,
    Frame,
    Place,
    PreparedFile,
    encode_head,
    encode_slot,
    prepared_paths,
    read_frames,
    read_head,
)


class PreparedWriter:
    """Writes the frames of one transaction into a file that does not count yet."""

    def __init__(self, files: Files, path: Path, xid: bytes) -> None:
        self.path = path
        self.xid = xid
        self.size_bytes = 0
        self._files = files
        self.descriptor = files.open(path, create=True)
        files.write(self.descriptor, encode_head(xid), 0)

    def write(self, frames: list[bytes]) -> None:
        """Add encoded frames."""
        self._files.write_many(self.descriptor, frames, FRAMES_AT + self.size_bytes)
        self.size_bytes += sum(map(len, frames))

    def cut(self, size_bytes: int) -> None:
        """Take back what was written behind the first `size_bytes` of frames."""
        self.size_bytes = min(self.size_bytes, size_bytes)
        self._files.truncate(self.descriptor, FRAMES_AT + self.size_bytes)


class PreparedStore:
    """The prepared transactions of one log. `topic` is for messages; system errors become LogWriteError."""

    def __init__(self, directory: Path, topic: str, files: Files | None = None) -> None:
        self._directory = directory
        self._topic = topic
        self._files = files or Files()
        self._known: dict[bytes, PreparedFile] = {}
        self._ended: list[tuple[int, Path]] = []
        """Files to be deleted once the log is durable beyond an offset."""
        self._unsynced: dict[Path, int | None] = {}
        """Files written since the last `sync`, with their descriptors where they are open."""
        self._next_number = 0
        self.notes: list[str] = []
        """What `recover` set aside, as sentences."""

    # ---- when a session begins ----

    def recover(self, reached: Place, end_offset: int) -> None:
        """Find what is there, as of the place where the log goes on and its end offset. Raises LogWriteError."""
        self._known, self._ended, self._unsynced, self.notes = {}, [], {}, []
        with self._using("read"):
            for path in prepared_paths(self._files, self._directory):
                self._next_number = int(path.name.removesuffix(SUFFIX)) + 1
                self._recover_file(path, reached, end_offset)

    def _recover_file(self, path: Path, reached: Place, end_offset: int) -> None:
        try:
            found = read_head(self._files, path)
        except CorruptLog as damage:
            self._set_aside(path, str(damage))
            return
        if found is None or _is_behind(found.prepared, reached):
            self._files.unlink(path)
            return
        if found.finished is not None and not _is_behind(found.finished, reached):
            self._ended.append((end_offset, path))
            return
        if found.finished is not None:
            with self._files.opened(path) as descriptor:
                self._files.write(descriptor, bytes(SLOT_BYTES), FINISHED_AT)
            found.finished = None
            self._unsynced[path] = None
        if (older := self._known.get(found.xid)) is not None:
            self._ended.append((end_offset, older.path))
        self._known[found.xid] = found

    def _set_aside(self, path: Path, why: str) -> None:
        self._files.rename(path, path.with_name(path.name + DAMAGED_SUFFIX))
        self.notes.append(f"{why}; it was set aside, and the rows will be read from the binlog again")

    # ---- writing ----

    def begin(self, xid: bytes) -> PreparedWriter:
        """A file for the frames of a transaction. Raises LogWriteError."""
        with self._using("written"):
            path = self._directory / f"{self._next_number:020d}{SUFFIX}"
            self._next_number += 1
            return PreparedWriter(self._files, path, xid)

    def write(self, writer: PreparedWriter, frames: list[bytes]) -> None:
        with self._using("written"):
            writer.write(frames)

    def cut(self, writer: PreparedWriter, size_bytes: int) -> None:
        with self._using("written"):
            writer.cut(size_bytes)

    def prepare(self, writer: PreparedWriter, place: Place, end_offset: int) -> None:
        """The transaction is prepared at `place`: after the next `sync` the file counts, and an older one of that id
        goes when the log is durable beyond `end_offset`.
        """
        with self._using("written"):
            self._files.write(writer.descriptor, encode_slot(writer.size_bytes, place), PREPARED_AT)
        older = self._known.get(writer.xid)
        if older is not None:
            self._ended.append((end_offset, older.path))
        self._known[writer.xid] = PreparedFile(writer.path, writer.xid, writer.size_bytes, place)
        self._unsynced[writer.path] = writer.descriptor

    def whole(self, writer: PreparedWriter) -> PreparedFile:
        """What a writer has written so far, to be read back."""
        return PreparedFile(writer.path, writer.xid, writer.size_bytes, Place("", 0, 0))

    def drop(self, writer: PreparedWriter) -> None:
        """The transaction came to nothing, or needs no file any more."""
        with self._using("deleted"):
            self._files.close(writer.descriptor)
            self._files.unlink(writer.path)

    # ---- what is known ----

    @property
    def xids(self) -> list[bytes]:
        """The transactions that are prepared."""
        return list(self._known)

    def find(self, xid: bytes) -> PreparedFile | None:
        return self._known.get(xid)

    def read(self, file: PreparedFile) -> Iterator[list[Frame]]:
        """See `read_frames`; the pieces may be read on any thread, one at a time."""
        return read_frames(self._files, file)

    def finish(self, xid: bytes, place: Place, end_offset: int) -> None:
        """Committed or rolled back at `place`: the file goes when the log is durable beyond `end_offset`."""
        found = self._known.pop(xid)
        with self._using("written"), self._files.opened(found.path) as descriptor:
            self._files.write(descriptor, encode_slot(found.size_bytes, place), FINISHED_AT)
        self._unsynced.setdefault(found.path, None)
        self._ended.append((end_offset, found.path))

    def forget(self, xid: bytes, why: str) -> None:
        """Set aside a file that cannot be used."""
        with self._using("written"):
            self._set_aside(self._known.pop(xid).path, why)

    # ---- when the log moves ----

    @property
    def unsynced_count(self) -> int:
        """How many files were written since the last `sync`."""
        return len(self._unsynced)

    @property
    def needs_sync(self) -> bool:
        return bool(self._unsynced)

    def sync(self) -> None:
        """Make everything durable; may be called on any thread, which from then on has the files that are open: a
        session that ends meanwhile closes none of them. Raises LogWriteError.
        """
        unsynced, self._unsynced = self._unsynced, {}
        with self._using("flushed"):
            try:
                while unsynced:
                    path, descriptor = unsynced.popitem()
                    self._sync_file(path, descriptor)
                self._files.sync_directory(self._directory)
            finally:
                self._close_all(unsynced)

    def _sync_file(self, path: Path, descriptor: int | None) -> None:
        if descriptor is None:
            with self._files.opened(path) as opened:
                self._files.sync(opened)
            return
        try:
            self._files.sync(descriptor)
        finally:
            self._files.close(descriptor)

    def delete_ended(self, durable_offset: int) -> None:
        """Delete what has ended before the log was durable up to an offset."""
        if not self._ended or self._ended[0][0] >= durable_offset:
            return
        with self._using("deleted"):
            kept = []
            for end_offset, path in self._ended:
                if end_offset < durable_offset and path not in self._unsynced:
                    self._files.unlink(path)
                else:
                    kept.append((end_offset, path))
            self._ended = kept

    def close(self) -> None:
        """Give back what is open; what is not durable is found, or dropped, by the next `recover`."""
        unsynced, self._unsynced = self._unsynced, {}
        self._close_all(unsynced)

    def _close_all(self, unsynced: dict[Path, int | None]) -> None:
        for descriptor in unsynced.values():
            if descriptor is not None:
                self._files.close(descriptor)

    @contextmanager
    def _using(self, what: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise write_failures.refused(self._topic, self._directory, what, error) from error


class PreparedCopy:
    """The files of a log that is copied while it is written to. Made before the log's end is looked for, and told to
    `look` again then: what is finished and deleted later is still prepared in the copy, what ended before says so.
    """

    def __init__(self, files: Files, source: Path) -> None:
        self._files = files
        self._source = source
        self._opened: dict[str, int] = {}
        self.look()

    def look(self) -> None:
        """Open the files that have come since."""
        for path in prepared_paths(self._files, self._source):
            if path.name not in self._opened:
                with suppress(FileNotFoundError):
                    self._opened[path.name] = self._files.open(path, write=False)

    @property
    def size_bytes(self) -> int:
        """Of all that is to be copied."""
        return sum(map(self._files.size, self._opened.values()))

    def run(self, target: Path) -> None:
        """Copy them, and those that have come since; durable when the directory's names are."""
        self.look()
        for name, descriptor in self._opened.items():
            with self._files.opened(target / name, create=True) as copy:
                self._files.copy(descriptor, copy, self._files.size(descriptor))
                self._files.sync(copy)

    def close(self) -> None:
        while self._opened:
            self._files.close(self._opened.popitem()[1])


def _is_behind(place: Place, reached: Place) -> bool:
    return place.server == reached.server and (place.number, place.position) > (reached.number, reached.position)
