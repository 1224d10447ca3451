"""Logs of any size that take little time and space to make: what restarts and seeks are asked about.

Owns the closed segments of such a log, and its state. They are what the store would have left, in all four files: every
index slot is true, every position entry verifies, every batch is whole and matches its checksum, so that `binwire
verify` finds nothing. What follows is appended by the store itself, which opens the directory and goes on behind them.

A log's batches differ in offset and time alone. Two kinds:

    sparse   one record, whose value is zeros that are not written: a hole in the file. A page per batch is on the disk
    dense    many records of 7 or 8 bytes each, null key and null value, so that a day's records fit into a few GB

The checksum of a sparse batch is computed without reading its zeros: CRC-32C over n zeros is an affine map of the CRC
before them (`_Zeros`). Batch i begins at FIRST_TIME_MS + i x STEP_MS; the second half of a dense batch is one step
later, as where a second of the binlog ends inside of a batch.
"""

from __future__ import annotations

import struct
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from storage.checksum import crc32c
from storage.encoding import encode_varint
from storage.files import Files
from storage.index import offset_index_path, time_index_path
from storage.positions import Kind, PositionEntry, PositionFile, PositionHeader
from storage.records import CRC_START, HEADER_BYTES, LENGTH_PREFIX_BYTES, MAGIC, NO_TIMESTAMP_MS
from storage.segment import log_path, source_path
from storage.state import LogState, write_state

FIRST_TIME_MS: Final = 1_709_284_500_000  # 2024-03-01 09:15:00 UTC
STEP_MS: Final = 1_000
INDEX_INTERVAL_BYTES: Final = 4096
_CRC_BITS: Final = 32
_WRITE_BYTES: Final = 1 << 20
_UNCHECKED: Final = struct.Struct(">qiibI")
_CHECKED: Final = struct.Struct(">hiqqqhii")
_NULL: Final = b"\1"
_OFFSET_SLOT: Final = struct.Struct(">II")
_TIME: Final = struct.Struct(">q")
_U32: Final = struct.Struct(">I")


class _Zeros:
    """CRC-32C over a number of zeros, as a function of the CRC before them."""

    def __init__(self, count: int) -> None:
        zeros = bytes(count)
        self._of_zero = crc32c(zeros, 0)
        self._of_bits = [crc32c(zeros, 1 << bit) ^ self._of_zero for bit in range(_CRC_BITS)]

    def after(self, crc: int) -> int:
        result = self._of_zero
        for bit, change in enumerate(self._of_bits):
            if crc >> bit & 1:
                result ^= change
        return result


@dataclass(frozen=True, slots=True)
class Template:
    """What all batches of a log have in common: their records, of which `hole_bytes` at the end are zeros."""

    records: bytes
    record_count: int
    span_ms: int
    hole_bytes: int
    zeros: _Zeros

    @classmethod
    def sparse(cls, value_bytes: int) -> Self:
        """One record of so many zeros; the last byte of the hole says that it has no headers."""
        head = bytes(3) + _NULL + encode_varint(value_bytes)
        records = encode_varint(len(head) + value_bytes + 1) + head
        return cls(records, 1, 0, value_bytes + 1, _Zeros(value_bytes + 1))

    @classmethod
    def dense(cls, record_count: int) -> Self:
        """Many records of nothing; the second half of them a step later."""
        records = []
        for number in range(record_count):
            delta_ms = STEP_MS if number >= record_count // 2 else 0
            record = b"\0" + encode_varint(delta_ms) + encode_varint(number) + _NULL + _NULL + b"\0"
            records.append(encode_varint(len(record)) + record)
        return cls(b"".join(records), record_count, STEP_MS, 0, _Zeros(0))

    @property
    def size_bytes(self) -> int:
        """Bytes of a batch, its hole included."""
        return HEADER_BYTES + len(self.records) + self.hole_bytes

    def batch(self, base_offset: int, first_ms: int) -> tuple[bytes, int]:
        """A batch without its hole, and its checksum."""
        count = self.record_count
        checked = _CHECKED.pack(0, count - 1, first_ms, first_ms + self.span_ms, -1, -1, -1, count) + self.records
        crc = crc32c(checked)
        if self.hole_bytes:
            crc = self.zeros.after(crc)
        return _UNCHECKED.pack(base_offset, self.size_bytes - LENGTH_PREFIX_BYTES, -1, MAGIC, crc) + checked, crc


assert _UNCHECKED.size == CRC_START
assert _UNCHECKED.size + _CHECKED.size == HEADER_BYTES


def first_ms(batch_number: int) -> int:
    """The time of the first record of a batch."""
    return FIRST_TIME_MS + batch_number * STEP_MS


def write_closed_segments(
    directory: Path, template: Template, batch_count: int, segment_bytes: int, *, append_ms: int | None = None
) -> int:
    """Write a log of closed segments, ended orderly; the offset behind it. But for its state nothing is flushed.

    All was appended at `append_ms`: now, unless told.
    """
    append_ms = time.time_ns() // 1_000_000 if append_ms is None else append_ms
    files = Files()
    directory.mkdir(parents=True)
    batches_per_segment = max(1, segment_bytes // template.size_bytes)
    for first in range(0, batch_count, batches_per_segment):
        numbers = range(first, min(first + batches_per_segment, batch_count))
        _write_segment(files, directory, template, numbers, append_ms)
    end_offset = batch_count * template.record_count
    write_state(files, directory, LogState(True, end_offset, end_offset, ""))
    return end_offset


def _write_segment(files: Files, directory: Path, template: Template, numbers: range, append_ms: int) -> None:
    base_offset = numbers.start * template.record_count
    path = log_path(directory, base_offset)
    earlier_ms = NO_TIMESTAMP_MS if not numbers.start else first_ms(numbers.start - 1) + template.span_ms
    last_crc = _write_batches(files, path, template, numbers)
    _write_indexes(files, path, template, numbers)
    end_offset = numbers.stop * template.record_count
    commit = PositionEntry(
        Kind.COMMIT, -1, end_offset, len(numbers) * template.size_bytes, template.size_bytes, last_crc, append_ms,
        first_ms(numbers[-1]) + template.span_ms, end_offset, 1, numbers.stop, None,
    )  # fmt: skip
    with closing(
        PositionFile.create(files, source_path(path), PositionHeader(base_offset, append_ms, earlier_ms, b""))
    ) as positions:
        positions.append([commit, commit._replace(kind=Kind.CLOSE, file_number=0, position=0)])


def _write_batches(files: Files, path: Path, template: Template, numbers: range) -> int:
    """Write the `.log`; the checksum of its last batch."""
    pending: list[bytes] = []
    pending_at = pending_bytes = position = crc = 0
    with files.opened(path, create=True) as log:
        files.truncate(log, len(numbers) * template.size_bytes)
        for number in numbers:
            batch, crc = template.batch(number * template.record_count, first_ms(number))
            pending.append(batch)
            pending_bytes += len(batch)
            position += template.size_bytes
            if template.hole_bytes or pending_bytes >= _WRITE_BYTES:
                files.write_many(log, pending, pending_at)
                pending, pending_at, pending_bytes = [], position, 0
        if pending:
            files.write_many(log, pending, pending_at)
    return crc


def _write_indexes(files: Files, path: Path, template: Template, numbers: range) -> None:
    """Write both indexes (storage.index): a slot for every batch that is far enough behind the one before."""
    batches_per_slot = -(-INDEX_INTERVAL_BYTES // template.size_bytes)
    slots, times = bytearray(), bytearray()
    for index in range(batches_per_slot, len(numbers), batches_per_slot):
        slot = _OFFSET_SLOT.pack(index * template.record_count, index * template.size_bytes)
        earlier = _TIME.pack(first_ms(numbers[index - 1]) + template.span_ms)
        slots += slot
        times += earlier + _U32.pack(crc32c(earlier, crc32c(slot)))
    for index_path, content in ((offset_index_path(path), slots), (time_index_path(path), times)):
        with files.opened(index_path, create=True) as descriptor:
            files.write(descriptor, bytes(content), 0)
