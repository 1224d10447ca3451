"""What a server's processes use, seen from outside: CPU seconds and memory, as the kernel accounts them. Linux only."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.harness import UnavailableError

_PROC: Final = Path("/proc")
_SCHEDULER_CLOCK: Final = 2  # CPUCLOCK_SCHED of include/linux/posix-timers.h
_PARENT_FIELD: Final = 1  # behind the name, whose parentheses may hold anything


@dataclass(frozen=True, slots=True)
class Memory:
    """KiB in use. `anonymous` has no file behind it and is a process's own; `file` is mapped, and the page cache's."""

    anonymous: int
    file: int


def cpu_seconds(pid: int) -> float:
    """CPU time of a process, of all the threads it ever had, in nanoseconds' resolution (clock_getcpuclockid(3))."""
    return time.clock_gettime(~pid << 3 | _SCHEDULER_CLOCK)


def memory(pid: int) -> Memory:
    """Memory of a process and of all that it started. Raises UnavailableError."""
    anonymous = file = 0
    for each in _tree(pid):
        found = _rollup(each)
        anonymous += found["Anonymous"]
        file += found["Rss"] - found["Anonymous"]
    return Memory(anonymous, file)


def _rollup(pid: int) -> dict[str, int]:
    """The sums over a process's mappings, in KiB."""
    try:
        lines = (_PROC / str(pid) / "smaps_rollup").read_text(encoding="ascii").splitlines()[1:]
    except FileNotFoundError:
        raise UnavailableError(f"the kernel does not say how much memory process {pid} has") from None
    return {name: int(value.split()[0]) for name, _, value in (line.partition(":") for line in lines)}


def _tree(pid: int) -> list[int]:
    """A process and its descendants."""
    parents = {each: _parent(each) for each in (int(path.name) for path in _PROC.iterdir() if path.name.isdecimal())}
    found = [pid]
    for each in found:  # grows as it is walked
        found += [child for child, parent in parents.items() if parent == each]
    return found


def _parent(pid: int) -> int | None:
    """The process that started another, unless that has ended."""
    try:
        text = (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    return int(text.rpartition(")")[2].split()[_PARENT_FIELD])
