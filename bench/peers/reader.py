"""A process that reads the orders from a server's binlog: run to its end, and held against what is in there.

It prints JSON as its last line:

    {"inserts", "updates", "deletes", "ids"}      the row changes it saw, by kind, and the sum of their rows' ids
    {"timed_rows", "seconds", "cpu_seconds"}      by its own clock

The clock starts when the stream runs, or, where a program cannot know that, behind the first rows it is handed, which
then do not count; what it has read ahead by then is to its advantage. So starting, connecting and reading definitions,
which takes programs on the JVM seconds, costs nobody anything. Private memory is what has no file behind it (RssAnon of
proc(5)); the most that was seen counts.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from bench.harness import Measure, Outcome, ResultHash, ResultMismatchError
from bench.shop_server import History

DUMP: Final = "dump"
STREAM: Final = "stream"

_LOOK_S: Final = 0.05
_TIMEOUT_LOOKS: Final = 12_000
_LOG_BYTES_SHOWN: Final = 4000


class Origin(Protocol):
    """A server with orders in its binlog, from `file`:`position` on, and an account that reads them."""

    @property
    def host(self) -> str: ...
    @property
    def port(self) -> int: ...
    @property
    def user(self) -> str: ...
    @property
    def password(self) -> str: ...
    @property
    def file(self) -> str: ...
    @property
    def position(self) -> int: ...
    @property
    def history(self) -> History: ...


@dataclass(frozen=True, slots=True)
class Reading:
    """What a reader printed, in lines, and the most private memory it had."""

    lines: tuple[str, ...]
    anonymous_kib: int

    @property
    def said(self) -> dict[str, Any]:
        """The last line."""
        answer: dict[str, Any] = json.loads(self.lines[-1])
        return answer


def read(name: str, command: Sequence[str], folder: Path, environment: Mapping[str, str] | None = None) -> Reading:
    """Run a reader to its end, which it does not outlive us. Raises RuntimeError with what it printed if it fails."""
    output, log = folder / "output", folder / "log"
    with output.open("wb") as standard_output, log.open("wb") as standard_error:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=standard_output,
            stderr=standard_error,
        )
        try:
            anonymous_kib = _watch(process)
        finally:
            process.kill()
            process.wait()
    lines = output.read_text(encoding="utf-8").splitlines()
    if process.returncode or not lines:
        shown = log.read_text(encoding="utf-8", errors="replace")[-_LOG_BYTES_SHOWN:]
        raise RuntimeError(f"{name} ended with status {process.returncode}:\n{shown}")
    return Reading(tuple(lines), anonymous_kib)


def _watch(process: subprocess.Popen[bytes]) -> int:
    """Wait for the end; the most private memory seen meanwhile, in KiB."""
    most = 0
    for _ in range(_TIMEOUT_LOOKS):
        most = max(most, _anonymous_kib(process.pid))
        try:
            process.wait(_LOOK_S)
        except subprocess.TimeoutExpired:
            continue
        return most
    raise RuntimeError("a reader did not come to an end")


def _anonymous_kib(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace")
    for line in status.splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1])
    return 0  # it has ended


def measures(source: str) -> tuple[Measure, ...]:
    """What is measured of the readers of a server, DUMP or STREAM."""
    return (
        Measure(source, "rows/s"),
        Measure(f"{source}-cpu", "CPU s/million rows", higher_is_better=False),
        Measure(f"{source}-memory", "MiB private", higher_is_better=False),
    )


def outcome(name: str, reading: Reading, history: History, source: str = DUMP) -> Outcome:
    """What a reader answers. Raises ResultMismatchError unless it saw just what is in the binlog."""
    said = reading.said
    seen = History(*(said[kind] for kind in asdict(history)))
    require(name, seen, history)
    return answer(source, history, said["timed_rows"], said["seconds"], said["cpu_seconds"], reading.anonymous_kib)


def require(name: str, seen: History, history: History) -> None:
    """Hold what a reader saw against what is there. Raises ResultMismatchError."""
    if seen != history:
        raise ResultMismatchError(f"{name} saw {seen} in a binlog that holds {history}; the figures mean nothing")


def answer(
    source: str, history: History, timed_rows: int, seconds: float, cpu_seconds: float, anonymous_kib: int
) -> Outcome:
    """The measures of a reader that saw everything."""
    result = ResultHash()
    result.add(json.dumps(asdict(history)).encode())
    values = timed_rows / seconds, cpu_seconds / timed_rows * 1_000_000, anonymous_kib / 1024
    names = (measure.name for measure in measures(source))
    return Outcome(dict(zip(names, values, strict=True)), result.hexdigest())
