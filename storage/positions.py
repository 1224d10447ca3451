"""The `.source` file of a segment: where the source stood at every commit. Positions are the truth of what is visible.

    header  magic 8s "BWSOURCE", version u16 = 1, header_bytes u32 (header, snapshot), base_offset i64,
            created_ms i64 (append time at which the segment began),
            earlier_max_timestamp_ms i64 (greatest record timestamp of the whole log before this segment, -1 none),
            crc u32 (CRC-32C of the header before it, then the snapshot), then the snapshot, opaque
    entry   144 bytes, entry i at header_bytes + 144 i:
            kind u8, key_bytes u8, reserved u16 = 0,
            previous i32 (entry that carries the interval before this one, -1 none),
            end_offset i64, log_position i64 (first offset, and first byte of .log, behind what is committed),
            batch_bytes u32, batch_crc u32 (size and CRC of the last batch before log_position, 0 0 if none),
            append_ms i64, max_timestamp_ms i64 (greatest record timestamp of the segment so far, -1 none),
            durable_offset i64 (everything below it was flushed when this was written),
            file_number i64, position i64, first i64, last i64, key 52s, crc u32

All integers are big-endian. An entry's CRC-32C starts from base_offset + i, so it verifies in its own place only.

    COMMIT  everything up to log_position is visible and capture resumes here
    PART    belongs to the COMMIT that follows it; by itself it means nothing
    CLOSE   the segment's end; the next segment begins at end_offset (above the last record's when offsets skip).
            Not a commit: what lies between the last COMMIT and CLOSE belongs to a transaction that goes on

Invariants: an entry is written after the batches it speaks of and before they are published; every entry carries the
interval that its commit extended last; from any COMMIT the links reach every interval since the segment began in few
steps (`storage.intervals`).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from enum import IntEnum
from pathlib import Path
from typing import Final, NamedTuple

from storage.checksum import crc32c
from storage.errors import CorruptLog, UnsupportedFormat
from storage.files import TEMPORARY_SUFFIX, Files
from storage.log import GTID_KEY_BYTES_MAX, GtidInterval

MAGIC: Final = b"BWSOURCE"
VERSION: Final = 1
SNAPSHOT_BYTES_MAX: Final = 16 << 20
"""A GTID set of a million intervals; a length beyond it is damage, not a snapshot."""

_HEADER: Final = struct.Struct(">8sHIqqqI")
_ENTRY: Final = struct.Struct(f">BBHiqqIIqqqqqqq{GTID_KEY_BYTES_MAX}sI")
_CRC: Final = struct.Struct(">I")
ENTRY_BYTES: Final = _ENTRY.size
_BLOCK_ENTRIES: Final = 64
"""Entries read at once when walking back from the end: about two pages."""
_FORWARD_ENTRIES: Final = 4096
"""Entries read at once when all of them are wanted: 576 KiB."""


class Kind(IntEnum):
    """What an entry stands for; see the module's text."""

    COMMIT = 1
    PART = 2
    CLOSE = 3


_KINDS: Final = {kind.value: kind for kind in Kind}


class PositionHeader(NamedTuple):
    """The head of a `.source` file, snapshot included."""

    base_offset: int
    created_ms: int
    earlier_max_timestamp_ms: int
    snapshot: bytes


class PositionEntry(NamedTuple):
    """One entry, its fields as on disk."""

    kind: Kind
    previous: int
    end_offset: int
    log_position: int
    batch_bytes: int
    batch_crc: int
    append_ms: int
    max_timestamp_ms: int
    durable_offset: int
    file_number: int
    position: int
    interval: GtidInterval | None


def temporary_path(path: Path) -> Path:
    """The name of a `.source` file while its header is written."""
    return path.with_name(path.name + TEMPORARY_SUFFIX)


def encode_header(header: PositionHeader) -> bytes:
    """Header and snapshot.

    Raises:
        ValueError: the snapshot exceeds 16 MiB.
    """
    if len(header.snapshot) > SNAPSHOT_BYTES_MAX:
        raise ValueError(f"a source snapshot of {len(header.snapshot)} bytes exceeds {SNAPSHOT_BYTES_MAX}")
    header_bytes = _HEADER.size + len(header.snapshot)
    head = _HEADER.pack(MAGIC, VERSION, header_bytes, *header[:3], 0)[: -_CRC.size]
    return b"".join((head, _CRC.pack(crc32c(header.snapshot, crc32c(head))), header.snapshot))


def encode_entry(entry: PositionEntry, base_offset: int, number: int) -> bytes:
    """The 144 bytes of entry `number` of the segment at `base_offset`."""
    interval = entry.interval
    key, first, last = (interval.key, interval.first, interval.last) if interval else (b"", 0, 0)
    packed = _ENTRY.pack(entry.kind, len(key), 0, *entry[1:11], first, last, key, 0)[: -_CRC.size]
    return packed + _CRC.pack(crc32c(packed, _seed(base_offset, number)))


def decode_entry(data: bytes, base_offset: int, number: int) -> PositionEntry | None:
    """The entry, or None if it does not verify in this place."""
    if len(data) != ENTRY_BYTES:
        return None
    fields = _ENTRY.unpack(data)
    kind, key_bytes = fields[:2]
    first, last, key, crc = fields[-4:]
    if crc != crc32c(memoryview(data)[: -_CRC.size], _seed(base_offset, number)) or kind not in _KINDS:
        return None
    interval = GtidInterval(key[:key_bytes], first, last) if key_bytes else None
    return PositionEntry._make((_KINDS[kind], *fields[3:-4], interval))


def _seed(base_offset: int, number: int) -> int:
    return (base_offset + number) & 0xFFFF_FFFF


class PositionFile:
    """An open `.source` file. Not locked: one writer, which is also the reader."""

    def __init__(self, files: Files, path: Path, descriptor: int, header: PositionHeader, count: int) -> None:
        self._files = files
        self.path = path
        self.descriptor = descriptor
        self.header = header
        self.count = count
        """Whole entries in the file, whether they verify or not."""
        self._entries_start = _HEADER.size + len(header.snapshot)

    @classmethod
    def create(cls, files: Files, path: Path, header: PositionHeader) -> PositionFile:
        """Begin a file; under its name it is never seen without a whole header."""
        data = encode_header(header)
        temporary = temporary_path(path)
        files.unlink(temporary)
        descriptor = files.open(temporary, create=True)
        try:
            files.write(descriptor, data, 0)
            files.rename(temporary, path)
        except BaseException:
            files.close(descriptor)
            raise
        return cls(files, path, descriptor, header, 0)

    @classmethod
    def open(cls, files: Files, path: Path, *, write: bool) -> PositionFile:
        """Read the header; count the entries by the file's size.

        Raises:
            CorruptLog: the header does not verify.
            UnsupportedFormat: a later version of Binwire wrote it.
        """
        descriptor = files.open(path, write=write)
        try:
            header = _read_header(files, descriptor, path)
            size = files.size(descriptor)
        except BaseException:
            files.close(descriptor)
            raise
        return cls(files, path, descriptor, header, (size - _HEADER.size - len(header.snapshot)) // ENTRY_BYTES)

    def close(self) -> None:
        self._files.close(self.descriptor)

    def entry(self, number: int) -> PositionEntry | None:
        """Entry `number`, None if it does not verify or there is none."""
        if not 0 <= number < self.count:
            return None
        data = self._files.read(self.descriptor, ENTRY_BYTES, self.start_of(number))
        return decode_entry(data, self.header.base_offset, number)

    def entries_before(self, number: int) -> list[tuple[int, PositionEntry | None]]:
        """Up to 64 entries that come before `number`, latest first, with their numbers."""
        first = max(0, number - _BLOCK_ENTRIES)
        block = self._files.read(self.descriptor, (number - first) * ENTRY_BYTES, self.start_of(first))
        return [
            (first + index, decode_entry(block[start : start + ENTRY_BYTES], self.header.base_offset, first + index))
            for index, start in reversed(list(enumerate(range(0, (number - first) * ENTRY_BYTES, ENTRY_BYTES))))
        ]

    def entries_backwards(self, number: int) -> Iterator[tuple[int, PositionEntry | None]]:
        """All entries before `number` with their numbers, the last one first; None for one that does not verify."""
        while number:
            for number, entry in self.entries_before(number):  # noqa: B020 — the block ends where the next one goes on
                yield number, entry

    def entries_forwards(self, first: int, count: int) -> Iterator[tuple[int, PositionEntry | None]]:
        """The entries from `first` up to `count` with their numbers; None for one that does not verify."""
        for block_first in range(first, count, _FORWARD_ENTRIES):
            size = min(_FORWARD_ENTRIES, count - block_first) * ENTRY_BYTES
            block = self._files.read(self.descriptor, size, self.start_of(block_first))
            for number, at in enumerate(range(0, size, ENTRY_BYTES), block_first):
                yield number, decode_entry(block[at : at + ENTRY_BYTES], self.header.base_offset, number)

    def append(self, entries: list[PositionEntry]) -> None:
        """Write entries behind the last; they count only if all of them were written."""
        base_offset, count = self.header.base_offset, self.count
        data = b"".join([encode_entry(entry, base_offset, number) for number, entry in enumerate(entries, count)])
        self._files.write(self.descriptor, data, self.start_of(count))
        self.count = count + len(entries)

    def cut(self, count: int) -> None:
        """Keep `count` entries and nothing behind them."""
        self._files.truncate(self.descriptor, self.start_of(count))
        self.count = count

    def start_of(self, number: int) -> int:
        """The byte at which entry `number` begins."""
        return self._entries_start + number * ENTRY_BYTES


def _read_header(files: Files, descriptor: int, path: Path) -> PositionHeader:
    data = files.read(descriptor, _HEADER.size, 0)
    if len(data) < _HEADER.size:
        raise CorruptLog(f"{path} ends inside its header; the segment was never begun")
    magic, version, header_bytes, base_offset, created_ms, earlier_max_timestamp_ms, crc = _HEADER.unpack(data)
    snapshot_bytes = header_bytes - _HEADER.size
    if magic == MAGIC and version > VERSION and not _is_flipped(files, descriptor, data, snapshot_bytes):
        raise UnsupportedFormat(
            f"{path} is a position file of version {version} and this version of Binwire reads version {VERSION}; use "
            f"the version that wrote it, or a backup from before it"
        )
    if magic != MAGIC or version != VERSION or not 0 <= snapshot_bytes <= SNAPSHOT_BYTES_MAX:
        raise CorruptLog(f"{path} does not begin with the header of a position file of version {VERSION}")
    snapshot = files.read(descriptor, snapshot_bytes, _HEADER.size)
    if crc32c(snapshot, crc32c(data[: -_CRC.size])) != crc:
        raise CorruptLog(f"the header of {path} does not match its checksum")
    return PositionHeader(base_offset, created_ms, earlier_max_timestamp_ms, snapshot)


def _is_flipped(files: Files, descriptor: int, data: bytes, snapshot_bytes: int) -> bool:
    """Whether only the version is wrong: with this one the checksum is right."""
    if not 0 <= snapshot_bytes <= SNAPSHOT_BYTES_MAX:
        return False
    head = MAGIC + VERSION.to_bytes(2, "big") + data[len(MAGIC) + 2 :]
    snapshot = files.read(descriptor, snapshot_bytes, _HEADER.size)
    return crc32c(snapshot, crc32c(head[: -_CRC.size])) == int.from_bytes(head[-_CRC.size :], "big")
