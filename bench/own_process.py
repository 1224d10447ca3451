"""A process that runs a module of the benchmarks' own, and the JSON lines by which it is asked and answers.

Owns how it finds the code, its pipes and its end; what the lines say is the module's business. A process that is a
context manager's (`OwnProcess`) does not outlive it.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Final, Self

_ROOT: Final = Path(__file__).resolve().parent.parent
_LOG_BYTES_SHOWN: Final = 4_000


def command(module: str, *arguments: object) -> list[str]:
    """What runs a module, to be started in `environment`."""
    # -P: a `bench` in the directory we are called in must not be taken for this one.
    return [sys.executable, "-P", "-m", module, *map(str, arguments)]


def environment(**more: str) -> dict[str, str]:
    """Our environment, in which our code is found, and `more` variables."""
    paths = filter(None, (str(_ROOT), os.environ.get("PYTHONPATH")))
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), **more}


class OwnProcess:
    """The process, seen from who started it. `name` is what messages call it; `log` takes its standard error."""

    def __init__(
        self,
        name: str,
        module: str,
        *arguments: object,
        log: Path | None = None,
        variables: dict[str, str] | None = None,
        start_new_session: bool = False,
    ) -> None:
        self._name = name
        self._log = log
        with contextlib.ExitStack() as stack:
            self._process = subprocess.Popen(
                command(module, *arguments),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=None if log is None else stack.enter_context(log.open("wb")),
                env=environment(**variables or {}),
                start_new_session=start_new_session,
            )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._questions, self._answers = self._process.stdin, self._process.stdout

    @property
    def pid(self) -> int:
        return self._process.pid

    def send(self, request: object) -> None:
        """Send one request; that the process has ended shows at its answer."""
        with contextlib.suppress(BrokenPipeError):
            self._questions.write(json.dumps(request).encode() + b"\n")
            self._questions.flush()

    def answer(self) -> Any:
        """The next line it says. Raises RuntimeError if it has ended, with the end of its log."""
        line = self._answers.readline()
        if line:
            return json.loads(line)
        sentence = f"{self._name} ended with status {self._process.wait()}"
        if self._log is not None:
            log = self._log.read_text(encoding="utf-8", errors="replace")
            sentence += f":\n{log[-_LOG_BYTES_SHOWN:]}"
        raise RuntimeError(sentence)

    def ask(self, request: object) -> Any:
        """Send one request; its answer. Raises RuntimeError."""
        self.send(request)
        return self.answer()

    def kill(self) -> None:
        """End it as it stands, whatever it is at."""
        self._process.kill()

    def end(self) -> None:
        """End its input, which ends it, and wait."""
        with contextlib.suppress(BrokenPipeError):
            self._questions.close()
        self._process.wait()
        self._answers.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()
