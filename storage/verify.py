"""Reading a whole log for people: is every committed byte what was written?

Owns the walk that no request can afford: every batch's checksum, every position entry, every index slot, and that
offsets follow each other. Changes nothing, and may run beside the process that writes the log: only what was
committed when a segment was looked at is judged.

After damage the walk goes on at the next place where a commit says a batch ends.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from storage.errors import CorruptLog
from storage.files import Files
from storage.index import IndexReader
from storage.positions import Kind, PositionEntry, PositionFile
from storage.records import HEADER_BYTES, read_header, verify_crc
from storage.segment import log_path, source_path


@dataclass(frozen=True, slots=True)
class Problem:
    """One damaged place; `offset` is the first offset it concerns, -1 if that cannot be told."""

    path: Path
    position: int
    offset: int
    what: str

    def __str__(self) -> str:
        return f"{self.path}, byte {self.position}, offset {self.offset}: {self.what}"


@dataclass(slots=True)
class Verification:
    """What was looked at and what was found."""

    segments: int = 0
    batches: int = 0
    size_bytes: int = 0
    problems: list[Problem] = field(default_factory=list)


def verify(directory: Path, files: Files | None = None) -> Verification:
    """Verify the log in `directory`, that of one topic.

    Raises:
        OSError: the system refuses to read a file.
    """
    files = files or Files()
    result = Verification()
    next_offset: int | None = None
    for base_offset in sorted(int(path.stem) for path in directory.glob("*.source") if path.stem.isdigit()):
        path = log_path(directory, base_offset)
        result.segments += 1
        if next_offset is not None and base_offset != next_offset:
            what = f"the segment before it ends at offset {next_offset}"
            result.problems.append(Problem(path, 0, base_offset, what))
        next_offset = _verify_segment(files, path, base_offset, result)
    return result


def _verify_segment(files: Files, path: Path, base_offset: int, result: Verification) -> int | None:
    """Returns where the next segment must begin, None if that cannot be told."""
    try:
        file = PositionFile.open(files, source_path(path), write=False)
    except CorruptLog as error:
        result.problems.append(Problem(source_path(path), 0, base_offset, str(error)))
        return None
    with closing(file):
        entries = list(_verified_entries(file, result))
    ends = [entry for entry in entries if entry.kind is not Kind.PART]
    if not ends:
        return None
    with files.opened(path, write=False) as log:
        _verify_batches(files, log, path, base_offset, ends, result)
    _verify_indexes(files, path, ends[-1].log_position, result)
    return ends[-1].end_offset if ends[-1].kind is Kind.CLOSE else None


def _verified_entries(file: PositionFile, result: Verification) -> Iterator[PositionEntry]:
    for number in range(file.count):
        entry = file.entry(number)
        if entry is None:
            result.problems.append(Problem(file.path, number, -1, f"position entry {number} does not verify"))
        else:
            yield entry


def _verify_batches(
    files: Files, log: int, path: Path, base_offset: int, ends: list[PositionEntry], result: Verification
) -> None:
    position, offset = 0, base_offset
    for end in ends:
        while position < end.log_position:
            problem, size_bytes, next_offset = _verify_batch(files, log, position, offset, end.log_position)
            if problem:
                result.problems.append(Problem(path, position, offset, problem))
            if not size_bytes:
                break
            result.batches += 1
            result.size_bytes += size_bytes
            position, offset = position + size_bytes, next_offset
        if position != end.log_position or (offset != end.end_offset and end.kind is Kind.COMMIT):
            position, offset = end.log_position, end.end_offset


def _verify_batch(files: Files, log: int, position: int, offset: int, end: int) -> tuple[str, int, int]:
    """What is wrong (nothing: empty), the batch's size (0: no way to tell), the offset behind it."""
    try:
        header = read_header(files.read(log, HEADER_BYTES, position))
    except CorruptLog as error:
        return f"no record batch begins here ({error})", 0, offset
    if header.base_offset != offset or position + header.size_bytes > end:
        return f"a batch of offset {header.base_offset} and {header.size_bytes} bytes is out of place", 0, offset
    batch = files.read(log, header.size_bytes, position)
    problem = "" if verify_crc(batch, 0, header) else "the record batch does not match its checksum"
    return problem, header.size_bytes, header.next_offset


def _verify_indexes(files: Files, path: Path, end_position: int, result: Verification) -> None:
    index = IndexReader(files, path)
    try:
        count = index.count_slots(end_position)
    except FileNotFoundError as error:
        result.problems.append(Problem(path, 0, -1, f"an index is missing ({error}); it is rebuilt when needed"))
        return
    verified = index.count_verified()
    if verified != count:
        what = f"index slot {verified} does not verify; the indexes are rebuilt when needed"
        result.problems.append(Problem(path.with_suffix(".index"), verified, -1, what))
