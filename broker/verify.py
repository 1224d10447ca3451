"""`binwire verify`: whether everything in a data directory is what was written, for people or as one JSON object.

Owns the words and their layout; what is looked at is `storage.inspection`'s. Progress goes to standard error, and only
to a terminal.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from typing import TYPE_CHECKING, Any

from broker.progress import Meter
from broker.render import Style, counted, fact, printable, style_for
from storage.inspection import Inspection, inspect
from storage.words import shown_bytes, shown_moment

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from storage.segment_walk import Problem, Verification


def run(data_directory: Path, topics: Sequence[str], *, as_json: bool) -> int:
    """Verify and print; the exit status: 0 whole, 1 damage found."""
    started_s = time.monotonic()
    with Meter(sys.stderr, "verified") as meter:
        found = inspect(data_directory, topics, progress=meter.add)
    seconds = time.monotonic() - started_s
    if as_json:
        print(json.dumps(document(data_directory, found, seconds), ensure_ascii=False, indent=2))
    else:
        style = style_for(terminal=sys.stdout.isatty(), environment=os.environ)
        columns = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
        print(*lines(found, seconds, style, columns), sep="\n")
    return 1 if found.problems else 0


def lines(found: Inspection, seconds: float, style: Style, columns: int | None = None) -> Iterator[str]:
    """The lines that show what was found; sentences are laid out for a terminal of `columns`."""
    for topic, log in found.logs.items():
        yield from _part(f"topic {printable(topic)}", log.problems, style)
        for name, text in _facts(log):
            yield from fact(name, text, style)
        yield from damage_lines(log.problems, style, columns)
    yield from _part("catalog", found.catalog, style)
    yield from damage_lines(found.catalog, style, columns)
    for note in found.notes:
        yield from fact("note", printable(note), style, columns)
    size_bytes = sum(log.size_bytes for log in found.logs.values())
    verdict = counted(len(found.problems), "damaged place") if found.problems else "everything is whole"
    yield f"{verdict}: {shown_bytes(size_bytes)} in {seconds:.1f} s, {shown_bytes(size_bytes / max(seconds, 1e-3))}/s"


def document(data_directory: Path, found: Inspection, seconds: float) -> dict[str, Any]:
    """What was found, for programs. Offsets and times that there are none of are null."""
    return {
        "data_dir": str(data_directory),
        "whole": not found.problems,
        "seconds": round(seconds, 3),
        "topics": [_log_document(topic, log) for topic, log in found.logs.items()],
        "catalog": {"damages": [_problem_document(problem) for problem in found.catalog]},
        "notes": found.notes,
    }


def _log_document(topic: str, log: Verification) -> dict[str, Any]:
    return {
        "topic": topic,
        "segments": log.segments,
        "batches": log.batches,
        "records": log.records,
        "bytes": log.size_bytes,
        "first_offset": _known(log.first_offset),
        "next_offset": _known(log.next_offset),
        "first_timestamp_ms": _known(log.first_timestamp_ms),
        "max_timestamp_ms": _known(log.max_timestamp_ms),
        "damages": [_problem_document(problem) for problem in log.problems],
    }


def _problem_document(problem: Problem) -> dict[str, Any]:
    return {
        "file": str(problem.path),
        "byte": problem.position,
        "offset": _known(problem.offset),
        "next_offset": _known(problem.next_offset),
        "what": problem.what,
        "effect": problem.effect,
        "remedy": problem.remedy,
    }


def _known(number: int) -> int | None:
    return number if number >= 0 else None


def _part(name: str, problems: Sequence[Problem], style: Style) -> Iterator[str]:
    state = f"{style.before}DAMAGED{style.end}" if problems else "whole"
    yield f"{style.bold}{name}{style.end}  {state}"


def _facts(log: Verification) -> Iterator[tuple[str, str]]:
    batches = counted(log.batches, "batch", "batches")
    segments = counted(log.segments, "segment")
    yield "holds", f"{counted(log.records, 'record')}, {batches}, {segments}, {shown_bytes(log.size_bytes)}"
    if log.batches:
        yield "offsets", f"{log.first_offset} to {log.next_offset - 1}"
        yield "time", f"{shown_moment(log.first_timestamp_ms)} to {shown_moment(log.max_timestamp_ms)}"


def damage_lines(problems: Sequence[Problem], style: Style, columns: int | None) -> Iterator[str]:
    """What is damaged, what it means, what to do."""
    for problem in problems:
        place = f"{problem.path}, byte {problem.position}"
        place += f", offset {problem.offset}" if problem.offset >= 0 else ""
        yield f"  {style.before}damage{style.end}    {printable(place)}"
        for name, text in (("", problem.what), ("means", problem.effect), ("to do", problem.remedy)):
            yield from fact(name, printable(text), style, columns)
