"""A `binwire serve` process as tests see it: started from a configuration, asked where it listens, stopped, killed."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from tests.tools.workplace import CHECKOUT

# Bounds for a machine under load; nothing waits this long unless it has failed.
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 30.0
_POLL_S = 0.005
_LOG_TAIL_BYTES = 4000


class ServerFailedError(AssertionError):
    """The server did not do what the test needs; the message ends with its log."""


class ServerProcess:
    """One data directory and the server on it; a context manager that ends it. It may be started again and again."""

    prefix: tuple[str, ...] = ()
    """What runs the command of the server, and becomes it."""

    def __init__(self, folder: Path, configuration: str) -> None:
        """``configuration`` is the TOML without ``data_dir``, which is ``folder/data``."""
        self.folder = folder
        self.data_directory = folder / "data"
        self._configuration = folder / "binwire.toml"
        self._configuration.write_text(f'data_dir = "{self.data_directory}"\n{configuration}', encoding="utf-8")
        self._log = folder / "server.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        """Start and wait until it serves. Raises ServerFailedError if it ends instead."""
        self.launch()
        self.wait_for(lambda: self._ready() is not None, "serving")
        return self

    def launch(self) -> None:
        """Start, and wait for nothing."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*self.prefix, sys.executable, "-m", "binwire", "serve", "-c", str(self._configuration)],
                cwd=CHECKOUT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def address(self, listener: str = "public") -> tuple[str, int]:
        """Where a listener can be reached."""
        ready = self._ready()
        if ready is None:
            raise ServerFailedError(f"the server is not serving{self.log_tail()}")
        host, port = ready["listeners"][listener].rsplit(":", 1)
        return host.strip("[]"), int(port)

    def bootstrap(self, listener: str = "public") -> str:
        host, port = self.address(listener)
        return f"{host}:{port}"

    def status(self) -> dict[str, Any]:
        """What `binwire status` is told on the control socket."""
        with socket.socket(socket.AF_UNIX) as control:
            control.settimeout(START_TIMEOUT_S)
            control.connect(str(self.data_directory / "control.sock"))
            control.sendall(b'{"request": "status"}\n')
            answer = json.loads(control.makefile("rb").readline())
        status: dict[str, Any] = answer["status"]
        return status

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def wait_for(self, condition: Callable[[], bool], what: str, timeout_s: float = START_TIMEOUT_S) -> None:
        """Wait until ``condition`` holds. Raises ServerFailedError when the server ends first or it never does."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            if self._process is not None and self._process.poll() is not None:
                raise ServerFailedError(
                    f"the server ended with status {self._process.returncode} before {what}{self.log_tail()}"
                )
            if time.monotonic() > deadline:
                raise ServerFailedError(f"the server is not {what} after {timeout_s:.0f} s{self.log_tail()}")
            time.sleep(_POLL_S)

    def stop(self) -> int:
        """End it in order; return its exit status."""
        assert self._process is not None
        self._process.terminate()
        status = self._process.wait(STOP_TIMEOUT_S)
        self._process = None
        return status

    def kill(self) -> None:
        """End it with SIGKILL, at once."""
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        self._process = None

    def log_tail(self) -> str:
        """The end of its log, for messages."""
        if not self._log.is_file():
            return ""
        with self._log.open("rb") as log:
            log.seek(max(0, os.fstat(log.fileno()).st_size - _LOG_TAIL_BYTES))
            return "\n" + log.read().decode("utf-8", "replace")

    def _ready(self) -> dict[str, dict[str, str]] | None:
        """The contents of ready.json if they are this process's own."""
        if self._process is None:
            return None
        try:
            ready = json.loads((self.data_directory / "ready.json").read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return None
        return ready if ready.get("pid") == self._process.pid else None

    def __enter__(self) -> Self:
        return self if self._process is not None else self.start()

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
