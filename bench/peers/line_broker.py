"""A peer that is a broker inside a test's own process, given a process of its own and driven by lines.

It says `ready HOST:PORT`, makes a topic for each name it is sent and answers `made`, and ends with its input, or with
its reason on standard error. What else it prints is its libraries'. Brokers of this kind have no logins.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Self

_LOG_BYTES_SHOWN = 4_000


class LineBroker:
    """The process, from the moment of its making to its orderly end by `close`; a context manager."""

    def __init__(self, name: str, command: Sequence[str], log: Path) -> None:
        self._name = name
        self._log = log
        with log.open("wb") as errors:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True
            )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._names, self._answers = self._process.stdin, self._process.stdout

    @property
    def pid(self) -> int:
        return self._process.pid

    def address(self) -> tuple[str, int]:
        """Where it listens; waits until it does. Raises RuntimeError."""
        host, _, port = self._answer("ready ").rpartition(":")
        return host, int(port)

    def make(self, topic: str) -> None:
        """Have a new topic of one partition. Raises RuntimeError."""
        self._names.write(f"{topic}\n")
        self._names.flush()
        self._answer("made")

    def close(self) -> None:
        """End its input, which ends it, and wait."""
        self._names.close()
        self._process.wait()
        self._answers.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _answer(self, beginning: str) -> str:
        for line in self._answers:
            if line.startswith(beginning):
                return line.removeprefix(beginning).strip()
        log = self._log.read_text(encoding="utf-8", errors="replace")[-_LOG_BYTES_SHOWN:]
        raise RuntimeError(f"{self._name} ended with status {self._process.wait()}:\n{log}")
