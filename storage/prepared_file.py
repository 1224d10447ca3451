"""The files of prepared XA transactions: their bytes, and reading them.

    topics/<topic>-0/<number, 20 digits>.prepared      one transaction each; a larger number is younger

    0     "BWXA" | version u16 = 1 | size of the XA id u16 | the id, 140 bytes at most | CRC-32C u32 of all before
    256   slot PREPARED: where it was prepared
    512   slot FINISHED: where it was committed or rolled back; zeros until then
    1024  frames: size of the content u32 | kind u8 | CRC-32C u32 of size, kind and content | content

A slot is: bytes of all frames u64 | binlog file number u64 | position u64 | size of the server's name u16 | that name,
200 bytes at most | CRC-32C u32 of all before; all zeros where nothing was written. Numbers are little endian. What a
frame holds is the business of `capture/prepared.py`.

Invariant: what is read is what was written, or CorruptLog says which file is not. When a file counts, and when it goes,
is `storage/prepared.py`'s business.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from msgspec import Struct

from storage.checksum import crc32c
from storage.errors import CorruptLog
from storage.files import Files

SUFFIX: Final = ".prepared"
READ_BYTES: Final = 256 << 10
"""Frames that are read at a time, beside one that is larger."""

_MAGIC: Final = b"BWXA"
_VERSION: Final = 1
_HEAD: Final = struct.Struct("<4sHH")
_SLOT: Final = struct.Struct("<QQQH")
_CRC: Final = struct.Struct("<I")
_FRAME: Final = struct.Struct("<IB")
PREPARED_AT: Final = 256
FINISHED_AT: Final = 512
SLOT_BYTES: Final = 256
FRAMES_AT: Final = 1024
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


class PreparedFile(Struct):
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
        head, size = files.read(descriptor, FRAMES_AT, 0), files.size(descriptor)
    prepared = _slot(path, head, PREPARED_AT)
    if prepared is None:
        return None
    xid = _xid(path, head)
    size_bytes, place = prepared
    if size_bytes and FRAMES_AT + size_bytes > size:
        raise CorruptLog(f"{path} has {size} bytes where {FRAMES_AT + size_bytes} were written")
    finished = _slot(path, head, FINISHED_AT)
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
    slot = head[at : at + SLOT_BYTES]
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
    start, end = FRAMES_AT, FRAMES_AT + file.size_bytes
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


def prepared_paths(files: Files, directory: Path) -> list[Path]:
    """The files of prepared transactions in a log's directory, oldest first."""
    names = (name for name in files.list(directory) if name.endswith(SUFFIX))
    return sorted(directory / name for name in names if name.removesuffix(SUFFIX).isdigit())
