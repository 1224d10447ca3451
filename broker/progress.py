"""How far a long command is: one line on a terminal, written over and over, and nothing anywhere else."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from typing import TextIO

_INTERVAL_S: Final = 0.2
_CLEAR: Final = "\r\x1b[K"
_UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def size_text(size_bytes: float) -> str:
    """A number of bytes with the unit that keeps it short."""
    unit = 0
    while size_bytes >= 1024 and unit < len(_UNITS) - 1:
        size_bytes /= 1024
        unit += 1
    return f"{size_bytes:.0f} {_UNITS[unit]}" if unit == 0 else f"{size_bytes:.1f} {_UNITS[unit]}"


class Meter:
    """Counts bytes and shows them with their rate; a context manager that takes its line away at the end."""

    def __init__(self, stream: TextIO, verb: str) -> None:
        self._stream = stream
        self._verb = verb
        self._is_shown = stream.isatty()
        self._started_s = self._told_s = time.monotonic()
        self._size_bytes = 0

    def add(self, size_bytes: int) -> None:
        self._size_bytes += size_bytes
        if not self._is_shown:
            return
        now_s = time.monotonic()
        if now_s - self._told_s >= _INTERVAL_S:
            self._told_s = now_s
            rate = self._size_bytes / (now_s - self._started_s)
            self._stream.write(f"{_CLEAR}{self._verb} {size_text(self._size_bytes)}, {size_text(rate)}/s")
            self._stream.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._is_shown:
            self._stream.write(_CLEAR)
            self._stream.flush()
