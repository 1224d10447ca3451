"""A client process as a test sees it: ask for a scenario, get records and a result back.

One process per client library and version runs every scenario of the session (a JVM costs a second to start). What the
library logs goes to a file in the client's own working directory and is shown when a scenario fails.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.decoded import Record
from tests.tools.workplace import CHECKOUT

# Far more than a scenario takes on a loaded machine: one that hangs ends with its own message, not the suite's.
DEADLINE_MS = 90_000
_LOG_TAIL_BYTES = 4000


class ClientError(AssertionError):
    """The scenario failed inside the client; the message is the client's own."""


@dataclass(slots=True)
class Outcome:
    """What a scenario gave: raw records, decoded rows (the DTS SDK), and its closing values."""

    records: list[Record] = field(default_factory=list)
    rows: list[list[Any]] = field(default_factory=list)
    values: Mapping[str, Any] = field(default_factory=dict)


class ClientProcess:
    """A running client program that speaks the line protocol of `scenario_loop.py`."""

    def __init__(self, command: Sequence[str], folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._log = folder / "client.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command,
                cwd=folder,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
                start_new_session=True,
            )

    def run(self, scenario: str, **arguments: object) -> Outcome:
        """Run one scenario to its end. Raises ClientError with the client's own message."""
        given = {"deadline_ms": DEADLINE_MS, **arguments}
        self._ask(scenario, given)
        watchdog = threading.Timer(2 * int(str(given["deadline_ms"])) / 1000, self.kill)
        watchdog.start()
        try:
            return self._collect(scenario)
        finally:
            watchdog.cancel()

    def follow(self, scenario: str, **arguments: object) -> Iterator[Record]:
        """The records of a scenario as they come, nothing kept, until it ends or the process does.

        Raises ClientError with the client's own message.
        """
        self._ask(scenario, arguments)
        for kind, content in self._answers(scenario):
            if kind == "done":
                return
            yield _record(*content)

    def _ask(self, scenario: str, arguments: Mapping[str, object]) -> None:
        assert self._process.stdin is not None
        line = "\t".join([scenario, *(f"{key}={value}" for key, value in arguments.items())])
        try:
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise ClientError(f"{scenario}: the client process ended before\n{self._log_tail()}") from None

    def _collect(self, scenario: str) -> Outcome:
        outcome = Outcome()
        for kind, content in self._answers(scenario):
            if kind == "record":
                outcome.records.append(_record(*content))
            elif kind == "row":
                outcome.rows.append(content)
            else:
                outcome.values = content
        return outcome

    def _answers(self, scenario: str) -> Iterator[tuple[str, Any]]:
        """What the client says of a scenario, its "done" last."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            ((kind, content),) = json.loads(line).items()
            if kind == "error":
                raise ClientError(f"{scenario}: {content}\n{self._log_tail()}")
            yield kind, content
            if kind == "done":
                return
        raise ClientError(f"{scenario}: the client process ended\n{self._log_tail()}")

    def _log_tail(self) -> str:
        with self._log.open("rb") as log:
            log.seek(max(0, self._log.stat().st_size - _LOG_TAIL_BYTES))
            return log.read().decode("utf-8", "replace")

    @property
    def ended(self) -> bool:
        """Whether it is gone: it broke down, or a scenario that hung had to be ended."""
        return self._process.poll() is not None

    def close(self) -> None:
        """End the process; a client that ignores the end of its input is killed."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.kill()
        self._process.stdout.close()

    def kill(self) -> None:
        """End the process and whatever it started with SIGKILL, at once."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


def _record(offset: int, timestamp_ms: int, key: str | None, value: str | None) -> Record:
    return Record(offset, timestamp_ms, _bytes(key), _bytes(value))


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else base64.b64decode(text)
