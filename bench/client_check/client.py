"""Somebody's consumer: its command with what it is to know, its process, its output with the moment it came, its end.

In the arguments of a command `{bootstrap}`, `{host}`, `{port}`, `{topic}`, `{group}`, `{username}`, `{password}`,
`{records}` and `{config}` are replaced; other braces stay. The same stands in the environment as `BINWIRE_BOOTSTRAP`
and so on, so that a password need not be an argument, where everybody may read it. `{config}` is a file in the form of
librdkafka's settings, which kcat also finds by itself.

The command has a process group of its own, which is ended as a whole. Its standard error stays the user's.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

_CHUNK_BYTES: Final = 1 << 16
_ORDERLY_END_S: Final = 5.0
_POLL_S: Final = 0.01
_CONFIG: Final = """\
bootstrap.servers={bootstrap}
security.protocol=SASL_PLAINTEXT
sasl.mechanisms=PLAIN
sasl.username={username}
sasl.password={password}
group.id={group}
auto.offset.reset=earliest
"""


class CommandError(Exception):
    """The command cannot be started; the message says why."""


def write_config(path: Path, values: Mapping[str, str]) -> None:
    """Settings of librdkafka, for nobody else to read."""
    path.touch(mode=0o600)
    path.write_text(_CONFIG.format(**values), encoding="utf-8")


def filled_in(command: Sequence[str], values: Mapping[str, str]) -> list[str]:
    """The command with its placeholders replaced."""
    filled = list(command)
    for name, value in values.items():
        filled = [argument.replace(f"{{{name}}}", value) for argument in filled]
    return filled


class Client:
    """A running command. `output` has what it wrote since it was last emptied."""

    def __init__(self, command: Sequence[str], values: Mapping[str, str]) -> None:
        """Raises CommandError."""
        environment = {f"BINWIRE_{name.upper()}": value for name, value in values.items()}
        environment |= {"KCAT_CONFIG": values["config"], "PYTHONUNBUFFERED": "1"}
        self.output: deque[tuple[int, bytes]] = deque()
        self.started_ns = time.monotonic_ns()
        self.cpu_s = 0.0
        self.status: int | None = None
        try:
            self._process = subprocess.Popen(
                filled_in(command, values),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                env={**os.environ, **environment},
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise CommandError(f"{command[0]!r} cannot be started: {reason}") from None
        self._reader = threading.Thread(target=self._read, name="client-output", daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        output = self._process.stdout.fileno()
        while chunk := os.read(output, _CHUNK_BYTES):
            self.output.append((time.monotonic_ns(), chunk))

    def has_ended(self) -> bool:
        """Whether the command has ended by itself; how, and what CPU it and those it waited for used, is known then."""
        if self.status is None:
            pid, status, usage = os.wait4(self._process.pid, os.WNOHANG)
            if pid:
                self.status = self._process.returncode = os.waitstatus_to_exitcode(status)
                self.cpu_s = usage.ru_utime + usage.ru_stime
        return self.status is not None

    def end(self) -> None:
        """End what runs of it, in good order if it can, and take the rest of its output."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)
            deadline = time.monotonic() + _ORDERLY_END_S
            while not self.has_ended() and time.monotonic() < deadline:
                time.sleep(_POLL_S)
        self._reader.join(_ORDERLY_END_S)
        if not self._reader.is_alive():  # else somebody who left its process group still has the other end
            assert self._process.stdout is not None
            self._process.stdout.close()
