"""How far a long command is: one line on a terminal, written over and over, and nothing anywhere else."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, Self

from storage.words import shown_bytes

if TYPE_CHECKING:
    from typing import TextIO

_INTERVAL_S: Final = 0.2
_CLEAR: Final = "\r\x1b[K"


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
            self._stream.write(f"{_CLEAR}{self._verb} {shown_bytes(self._size_bytes)}, {shown_bytes(rate)}/s")
            self._stream.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._is_shown:
            self._stream.write(_CLEAR)
            self._stream.flush()
