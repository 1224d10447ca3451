"""Reading a whole log for people: is every committed byte what was written?

Owns the walk that no request can afford, over all segments (`storage.segment_walk` is over one), that offsets follow
each other from one to the next, and that nothing is missing which the log's own state knows of. Changes nothing, locks
nothing and maps nothing.

It may run beside the process that writes the log. Only what is committed is judged, up to the last COMMIT found when
the walk began. What is found wrong is told only if the segment is still there and a second walk finds the same: else
retention took it, or a failed flush was taken back. After a loss of power what was not flushed is not judged.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from storage.files import Files
from storage.peek import base_offsets, find_end
from storage.prepared_file import damages
from storage.segment import log_path
from storage.segment_walk import NOTHING_TO_DO, RESTORE, Problem, Progress, Verification, walk_segment
from storage.state import UNREADABLE, LogState, read_state, state_path

_TRIES_MAX: Final = 4
"""How often a segment that changes while it is walked is walked again."""


class _Vanished(Exception):
    """The segment is not there any more."""


def verify(
    directory: Path,
    files: Files | None = None,
    progress: Progress = lambda size_bytes: None,
    boot_id: str | None = None,
) -> Verification:
    """Verify the log in `directory`, that of one topic. With `boot_id`, that of the machine, what a run of another boot
    had not flushed is not judged.

    Raises:
        OSError: the system refuses to list the directory.
        UnsupportedFormat: a later version wrote a file of it.
    """
    files = files or Files()
    result = Verification()
    result.problems += _prepared_problems(files, directory)
    state = read_state(files, directory)  # before the walk: what it says is durable, the walk must find
    bases = base_offsets(files, directory)
    end = find_end(files, directory, bases)
    expected: int | None = None
    for base_offset in bases:
        try:
            part = _verify_segment(files, directory, bases, base_offset, progress)
        except _Vanished:
            expected = None
            continue
        if expected is not None and expected != base_offset and part.segments:
            result.problems.append(_missing(log_path(directory, base_offset), expected, base_offset))
        expected = part.next_offset if base_offset != bases[-1] and part.next_offset >= 0 else None
        result.add(part)
    if state is UNREADABLE and read_state(files, directory) is UNREADABLE:
        result.problems.append(_unreadable_state(directory, result.next_offset))
    elif state is not None and 0 <= result.next_offset < state.durable_offset and _is_quiet(files, directory, bases):
        result.problems.append(_missing(log_path(directory, bases[-1]), result.next_offset, state.durable_offset))
    if state is not None and _has_lost_power(state, boot_id):
        _excuse(result, max(state.durable_offset, end.commit.durable_offset if end else 0))
    return result


def _has_lost_power(state: LogState, boot_id: str | None) -> bool:
    if boot_id is None or state.orderly or state is UNREADABLE:
        return False
    return not boot_id or state.boot_id != boot_id


def _excuse(result: Verification, durable_offset: int) -> None:
    """What was not flushed when the power went may be missing, and the next start does what is needed."""
    torn = [problem for problem in result.problems if problem.offset >= durable_offset]
    if torn:
        result.problems = [problem for problem in result.problems if problem.offset < durable_offset]
        result.torn_offset = min(problem.offset for problem in torn)


def _verify_segment(
    files: Files, directory: Path, bases: list[int], base_offset: int, progress: Progress
) -> Verification:
    """Verify one segment of those in `directory`; nothing of it counts if it lies behind the log's end.

    Raises:
        _Vanished: it is not there any more.
    """
    problems: list[Problem] | None = None
    for _ in range(_TRIES_MAX):
        result = walk_segment(files, directory, base_offset, find_end(files, directory, bases), progress)
        if not result.problems or result.problems == problems:
            break
        _require_segment(files, directory, base_offset)
        problems = result.problems
    return result


def _require_segment(files: Files, directory: Path, base_offset: int) -> None:
    if base_offset not in base_offsets(files, directory):
        raise _Vanished


def _is_quiet(files: Files, directory: Path, bases: list[int]) -> bool:
    """Whether no segment was begun since the directory was listed."""
    return base_offsets(files, directory)[-1:] == bases[-1:]


# ---- what is found, in words ----


def _prepared_problems(files: Files, directory: Path) -> list[Problem]:
    effect = "no record is lost; when the transaction is committed its rows are read from the source's binlog again"
    return [
        Problem(path, 0, -1, what, -1, effect, "keep the binlog since XA PREPARE, or restore a backup")
        for path, what in damages(files, directory)
    ]


def _missing(path: Path, offset: int, next_offset: int) -> Problem:
    return Problem(
        path,
        0,
        offset,
        f"the segment before it ends at offset {offset}, and what was stored up to {next_offset} is not there",
        next_offset,
        f"offsets {offset} to {next_offset - 1} are gone; consumers that ask for them get what follows",
        RESTORE,
    )


def _unreadable_state(directory: Path, next_offset: int) -> Problem:
    return Problem(
        state_path(directory),
        0,
        next_offset,
        "the file does not match its checksum",
        -1,
        "no record is lost; the next start leaves out 2^40 offsets, so that none gets a second meaning",
        NOTHING_TO_DO,
    )
