"""What a closed segment is found to be when it is first looked into, and the repair of its indexes.

Owns reading a segment's files with `pread`, never by touching a mapping: all of it may run in a thread, and a medium
that fails is an error. How far the segment reaches its CLOSE entry says; if that is lost, the log itself is walked.
Indexes that are missing or wrong are written anew beside the old ones and take their names at once, so that readers see
all of an index or none.

Invariant: what is found does not depend on whether the indexes are there.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Final, NamedTuple

from storage.errors import CorruptLog
from storage.index import SlotWriter, replace_index
from storage.positions import Kind, PositionFile
from storage.records import HEADER_BYTES, LENGTH_PREFIX_BYTES, NO_TIMESTAMP_MS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from storage.files import Files

STEP: Final = struct.Struct(">qi11xi8xq")
"""What walking needs of a batch header: base_offset, batch_length, last_offset_delta, max_timestamp."""
_BLOCK_BYTES: Final = 1 << 20


class Step(NamedTuple):
    """A batch met while walking."""

    position: int
    base_offset: int
    next_offset: int
    next_position: int
    max_timestamp_ms: int


class Boundary(NamedTuple):
    """A place where a batch begins, and its first offset."""

    position: int
    offset: int


class Found(NamedTuple):
    """How far a closed segment reaches, and the greatest timestamp of the log before it (-1 none)."""

    size_bytes: int
    end_offset: int
    max_timestamp_ms: int
    append_ms: int
    earlier_max_timestamp_ms: int


def look_into(files: Files, path: Path, base_offset: int, next_base_offset: int | None) -> Found:
    """Look into the closed segment whose `.log` is at `path`.

    `next_base_offset` is where the segment behind it begins, if there is one.

    Raises:
        OSError: the system refuses to read it.
    """
    return _by_its_end(files, path) or _by_walking(files, path, base_offset, next_base_offset)


def rebuild_index(files: Files, path: Path, base_offset: int, size_bytes: int, interval_bytes: int) -> None:
    """Write both indexes of the `.log` at `path` anew from its first `size_bytes`.

    What lies between damage and the next commit stays without slots: its readers come by the damage and stop there.

    Raises:
        OSError: the system refuses.
    """
    slots = SlotWriter(interval_bytes)
    begin: Boundary | None = Boundary(0, base_offset)
    with files.opened(path, write=False) as log:
        while begin is not None:
            last = begin.position
            try:
                for step in walk(files, log, path, begin, size_bytes):
                    last = step.next_position
                    slots.pass_by(step.base_offset - base_offset, step.position, step.max_timestamp_ms)
                break
            except CorruptLog:
                begin = boundary_behind(files, path, last, size_bytes)
    replace_index(files, path, slots)


def boundary_behind(files: Files, path: Path, position: int, size_bytes: int) -> Boundary | None:
    """Where, behind damage at `position`, the next commit says that a batch begins; None if there is none.

    Raises:
        OSError: the system refuses to read the `.source` beside the `.log` at `path`.
    """
    try:
        file = PositionFile.open(files, path.with_suffix(".source"), write=False)
    except (CorruptLog, FileNotFoundError):
        return None
    with closing(file):

        def log_position(number: int) -> int:
            entry = file.entry(number)
            return entry.log_position if entry is not None else position

        for number in range(bisect_right(range(file.count), position, key=log_position), file.count):
            entry = file.entry(number)
            if entry is not None and entry.log_position < size_bytes:
                return Boundary(entry.log_position, entry.end_offset)
    return None


def walk(files: Files, log: int, path: Path, begin: Boundary, size_bytes: int) -> Iterator[Step]:
    """The batches of an open `.log`, one behind the other, by their headers.

    Raises:
        CorruptLog: where a batch must begin none does.
    """
    position, expected = begin
    block, block_start = b"", 0
    while position < size_bytes:
        if position + HEADER_BYTES > block_start + len(block):
            block, block_start = files.read(log, _BLOCK_BYTES, position), position
        if position + HEADER_BYTES > min(block_start + len(block), size_bytes):
            raise no_batch(path, position)
        step = step_at(block, position - block_start, position)
        if step.base_offset != expected or step.next_position > size_bytes or not is_step(step):
            raise no_batch(path, position)
        yield step
        position, expected = step.next_position, step.next_offset


def step_at(buffer: bytes | memoryview, index: int, position: int) -> Step:
    """The header at `index` of a buffer, which is that at `position` of the file."""
    base_offset, length, last_offset_delta, max_timestamp_ms = STEP.unpack_from(buffer, index)
    next_position = position + LENGTH_PREFIX_BYTES + length
    return Step(position, base_offset, base_offset + last_offset_delta + 1, next_position, max_timestamp_ms)


def is_step(step: Step) -> bool:
    """Whether a header's numbers can be those of a batch."""
    return step.next_position - step.position >= HEADER_BYTES and step.next_offset > step.base_offset


def no_batch(path: Path, position: int) -> CorruptLog:
    """The damage of a place where a batch should begin."""
    return CorruptLog(
        f"{path}, byte {position}: no record batch begins there, and up to the next commit nothing is served; "
        f"`binwire verify` tells how far the damage goes and where consumers go on behind it"
    )


def _by_its_end(files: Files, path: Path) -> Found | None:
    """By the CLOSE entry; None if it does not verify."""
    try:
        with closing(PositionFile.open(files, path.with_suffix(".source"), write=False)) as file:
            close = file.entry(file.count - 1)
            earlier_max_timestamp_ms = file.header.earlier_max_timestamp_ms
    except (CorruptLog, FileNotFoundError):
        return None
    if close is None or close.kind is not Kind.CLOSE:
        return None
    return Found(
        close.log_position, close.end_offset, close.max_timestamp_ms, close.append_ms, earlier_max_timestamp_ms
    )


def _by_walking(files: Files, path: Path, base_offset: int, next_base_offset: int | None) -> Found:
    """By the log, all of which is batches; what lies behind damage is counted in, so that its readers are told."""
    end_offset, max_timestamp_ms = base_offset, NO_TIMESTAMP_MS
    with files.opened(path, write=False) as log:
        size_bytes, append_ms = files.size(log), files.modified_ms(log)
        with suppress(CorruptLog):
            for step in walk(files, log, path, Boundary(0, base_offset), size_bytes):
                end_offset, max_timestamp_ms = step.next_offset, max(max_timestamp_ms, step.max_timestamp_ms)
    return Found(size_bytes, max(end_offset, next_base_offset or 0), max_timestamp_ms, append_ms, NO_TIMESTAMP_MS)
