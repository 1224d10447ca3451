"""Prepared XA transactions: what was changed and is neither committed nor rolled back, kept beside the log.

    topics/<topic>-0/<number, 20 digits>.prepared      one transaction each; a larger number is younger

    0     "BWXA" | version u16 = 1 | size of the XA id u16 | the id, 140 bytes at most | CRC-32C u32 of all before
    256   slot PREPARED: where it was prepared
    512   slot FINISHED: where it was committed or rolled back; zeros until then
    1024  frames: size of the content u32 | kind u8 | CRC-32C u32 of size, kind and content | content

A slot is: bytes of all frames u64 | binlog file number u64 | position u64 | size of the server's name u16 | that name,
200 bytes at most | CRC-32C u32 of all before; all zeros where nothing was written. Numbers are little endian. What a
frame holds is the business of `capture/prepared.py`.

The order that makes a transaction survive: frames and slot are made durable (`sync`) before the log's position moves
behind the place in the slot; a file is deleted when the log is durable behind the place in FINISHED. So after a crash
(`recover`, given where the log goes on) a file that is not prepared, or only beyond that place, goes: the source brings
it again; a FINISHED beyond it is taken back. Places of another server lie before it: a log that changes its server is
flushed first. A file that cannot be read is set aside (`.damaged`); the rows are read from the binlog again.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from storage import write_failures
from storage.checksum import crc32c
from storage.errors import CorruptLog
from storage.files import DAMAGED_SUFFIX, Files

SUFFIX: Final = ".prepared"
READ_BYTES: Final = 256 << 10
"""Frames that are read at a time, beside one that is larger."""

_MAGIC: Final = b"BWXA"
_VERSION: Final = 1
_HEAD: Final = struct.Struct("<4sHH")
_SLOT: Final = struct.Struct("<QQQH")
_CRC: Final = struct.Struct("<I")
_FRAME: Final = struct.Struct("<IB")
_PREPARED_AT: Final = 256
_FINISHED_AT: Final = 512
_SLOT_BYTES: Final = 256
_FRAMES_AT: Final = 1024
_XID_BYTES_MAX: Final = 140
_SERVER_BYTES_MAX: Final = 200
FRAME_OVERHEAD_BYTES: Final = _FRAME.size + _CRC.size


class Place(NamedTuple):
    """A place in a server's binlog: its name, binlog file number and position."""

    server: str
    number: int
    position: int


class Frame(NamedTuple):
    """A piece of a prepared transaction."""

    kind: int
    content: bytes


@dataclass(slots=True)
class PreparedFile:
    """One transaction on disk, as far as its head tells."""

    path: Path
    xid: bytes
    size_bytes: int
    """Of its frames."""
    prepared: Place
    finished: Place | None = None


# ---- bytes ----


def encode_head(xid: bytes) -> bytes:
    """The first part of a file. Raises ValueError for an id that is too long."""
    if len(xid) > _XID_BYTES_MAX:
        raise ValueError(f"an XA id of {len(xid)} bytes")
    return _with_crc(_HEAD.pack(_MAGIC, _VERSION, len(xid)) + xid)


def encode_slot(size_bytes: int, place: Place) -> bytes:
    """A slot of the head."""
    server = place.server.encode()[:_SERVER_BYTES_MAX]
    return _with_crc(_SLOT.pack(size_bytes, place.number, place.position, len(server)) + server)


def encode_frame(kind: int, content: bytes) -> bytes:
    """A frame with its checksum."""
    head = _FRAME.pack(len(content), kind)
    return b"".join((head, _CRC.pack(crc32c(content, crc32c(head))), content))


def _with_crc(data: bytes) -> bytes:
    return data + _CRC.pack(crc32c(data))


def decode_frames(data: bytes) -> tuple[list[Frame], int]:
    """The whole frames at the beginning of `data`, and how many bytes they take. Raises CorruptLog."""
    frames, position = [], 0
    while len(data) - position >= FRAME_OVERHEAD_BYTES:
        size, kind = _FRAME.unpack_from(data, position)
        start = position + FRAME_OVERHEAD_BYTES
        if start + size > len(data):
            break
        content = data[start : start + size]
        (crc,) = _CRC.unpack_from(data, position + _FRAME.size)
        if crc != crc32c(content, crc32c(data[position : position + _FRAME.size])):
            raise CorruptLog("a frame of a prepared transaction does not match its checksum")
        frames.append(Frame(kind, content))
        position = start + size
    return frames, position


def read_head(files: Files, path: Path) -> PreparedFile | None:
    """What the head of a file says; None for one that is not prepared. Raises CorruptLog."""
    with files.opened(path, write=False) as descriptor:
        head, size = files.read(descriptor, _FRAMES_AT, 0), files.size(descriptor)
    prepared = _slot(path, head, _PREPARED_AT)
    if prepared is None:
        return None
    xid = _xid(path, head)
    size_bytes, place = prepared
    if size_bytes and _FRAMES_AT + size_bytes > size:
        raise CorruptLog(f"{path} has {size} bytes where {_FRAMES_AT + size_bytes} were written")
    finished = _slot(path, head, _FINISHED_AT)
    return PreparedFile(path, xid, size_bytes, place, None if finished is None else finished[1])


def _xid(path: Path, head: bytes) -> bytes:
    if len(head) >= _HEAD.size:
        magic, version, size = _HEAD.unpack_from(head)
        end = _HEAD.size + size
        if magic == _MAGIC and size <= _XID_BYTES_MAX and head[end : end + _CRC.size] == _CRC.pack(crc32c(head[:end])):
            if version != _VERSION:
                raise CorruptLog(f"{path} has version {version}; this version of Binwire knows {_VERSION}")
            return head[_HEAD.size : end]
    raise CorruptLog(f"the head of {path} does not match its checksum")


def _slot(path: Path, head: bytes, at: int) -> tuple[int, Place] | None:
    slot = head[at : at + _SLOT_BYTES]
    if not any(slot):
        return None
    if len(slot) >= _SLOT.size:
        size_bytes, number, position, server_bytes = _SLOT.unpack_from(slot)
        end = _SLOT.size + server_bytes
        if server_bytes <= _SERVER_BYTES_MAX and slot[end : end + _CRC.size] == _CRC.pack(crc32c(slot[:end])):
            return size_bytes, Place(slot[_SLOT.size : end].decode(), number, position)
    raise CorruptLog(f"a slot in the head of {path} does not match its checksum")


def read_frames(files: Files, file: PreparedFile) -> Iterator[list[Frame]]:
    """The frames of a file, about `READ_BYTES` at a time. Raises CorruptLog where they are not what was written."""
    start, end = _FRAMES_AT, _FRAMES_AT + file.size_bytes
    wanted = READ_BYTES
    while start < end:
        with files.opened(file.path, write=False) as descriptor:
            data = files.read(descriptor, min(wanted, end - start), start)
        try:
            frames, taken = decode_frames(data)
        except CorruptLog as damage:
            raise CorruptLog(f"{damage} ({file.path}, behind byte {start})") from None
        if not taken:
            size = FRAME_OVERHEAD_BYTES + (_FRAME.unpack_from(data)[0] if len(data) >= _FRAME.size else 0)
            if size > end - start or len(data) >= size:
                raise CorruptLog(f"{file.path} ends within a frame that begins at byte {start}")
            wanted = size
            continue
        yield frames
        start, wanted = start + taken, READ_BYTES


# ---- one that is being written ----


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
        self._files.write_many(self.descriptor, frames, _FRAMES_AT + self.size_bytes)
        self.size_bytes += sum(map(len, frames))

    def cut(self, size_bytes: int) -> None:
        """Take back what was written behind the first `size_bytes` of frames."""
        self.size_bytes = min(self.size_bytes, size_bytes)
        self._files.truncate(self.descriptor, _FRAMES_AT + self.size_bytes)


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
                self._files.write(descriptor, bytes(_SLOT_BYTES), _FINISHED_AT)
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
            self._files.write(writer.descriptor, encode_slot(writer.size_bytes, place), _PREPARED_AT)
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
            self._files.write(descriptor, encode_slot(found.size_bytes, place), _FINISHED_AT)
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


def damages(files: Files, directory: Path) -> Iterator[tuple[Path, str]]:
    """Every file of a directory that is not what was written, with a sentence; beside the process that writes, too."""
    for path in prepared_paths(files, directory):
        for last in (False, True):  # a slot that is being written is whole the second time
            try:
                file = read_head(files, path)
                for _ in read_frames(files, file) if file is not None else ():
                    pass
            except FileNotFoundError:
                break
            except CorruptLog as damage:
                if last:
                    yield path, str(damage)
            else:
                break


def _is_behind(place: Place, reached: Place) -> bool:
    return place.server == reached.server and (place.number, place.position) > (reached.number, reached.position)


def prepared_paths(files: Files, directory: Path) -> list[Path]:
    """The files of prepared transactions in a log's directory, oldest first."""
    names = (name for name in files.list(directory) if name.endswith(SUFFIX))
    return sorted(directory / name for name in names if name.removesuffix(SUFFIX).isdigit())
