"""The server's process, and the calls that go to it: JSON lines over its standard input and output.

Many calls may be under way at once, from any thread; a thread of this file's own reads the answers, which have the
numbers of their calls. The server ends when it is told to, when its standard input does, and when this process is gone,
however that ended: a process forked from this one may hold the pipe open for long, but the server looks at ours.

A broker belongs to the process that started it. One forked from that is refused, and closes nothing.
"""

from __future__ import annotations

import atexit
import itertools
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

from binwire.testing import values

if TYPE_CHECKING:
    from collections.abc import Mapping

__tracebackhide__ = True  # pytest shows the line of the test

START_TIMEOUT_S: Final = 60.0
_END_TIMEOUT_S: Final = 10.0
_END: Final = b'{"end": true}\n'
_ERROR_BYTES_SHOWN: Final = 4096


class EmbeddedBrokerError(Exception):
    """The server did not start, ended, or refused a call; the message says which and why."""


class ServerProcess:
    """A server that takes calls; it is ready when the constructor returns."""

    def __init__(self) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 — open as long as the server is
        self._owner = os.getpid()
        self._writing = threading.Lock()
        self._numbers = itertools.count(1)
        self._waiting: dict[int, Future[Any]] = {}
        self._has_ended = False
        self._is_torn = False
        """Whether the last line may not be whole: an exception came while it was written."""
        self.folder: str | None = None
        self.is_closed = False
        ready: Future[Any] = Future()
        self._waiting[0] = ready
        self._reader = threading.Thread(target=self._read, name="binwire-testing", daemon=True)
        self._process = _start(self._errors)
        atexit.register(self.close)
        try:
            self._reader.start()
            told = self.result(ready, START_TIMEOUT_S)
        except BaseException:
            self.close()
            raise
        self.host: str = told["host"]
        self.port: int = told["port"]
        self.folder = told["folder"]

    @property
    def pid(self) -> int:
        """Of the server."""
        return self._process.pid

    def begin(self, name: str, arguments: Mapping[str, Any]) -> Future[Any]:
        """Send a call; its result, or EmbeddedBrokerError, comes to the future."""
        self._require_owner()
        number, answer = next(self._numbers), Future[Any]()
        answer.set_running_or_notify_cancel()  # who waits may be cancelled, the call cannot
        line = values.dumps({"id": number, "call": name, "with": arguments})
        self._waiting[number] = answer
        try:
            self._write(line)
        except (OSError, ValueError):
            self._waiting.pop(number, None)
            raise self._ended() from None
        except BaseException:  # such as of a Ctrl-C, or of a test that has run out of its time
            self._waiting.pop(number, None)
            raise
        if self._has_ended:
            self._fail_all()
        return answer

    def result(self, answer: Future[Any], timeout_s: float | None = None) -> Any:
        """Wait for an answer. A server that is silent for `timeout_s` is ended, which ends the wait."""
        try:
            error = answer.exception(timeout_s)
        except TimeoutError:
            if not answer.done():
                self._process.kill()
            error = answer.exception()
        if error is not None:
            raise error
        return answer.result()

    def close(self) -> None:
        """End the server and wait until it is gone, and with it what it kept; closing twice is harmless, and so is
        closing it in a process that was forked from its owner, where it goes on.
        """
        if os.getpid() != self._owner:
            return
        self.is_closed = True
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with suppress(OSError, ValueError):  # the server is gone, or was told before
            self._write(_END)
        _close_quietly(self._process.stdin)
        try:
            self._process.wait(_END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._reader.ident is not None:
            self._reader.join()
        _close_quietly(self._process.stdout)
        self._errors.close()
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)
        atexit.unregister(self.close)

    def _require_owner(self) -> None:
        """Refuse a forked process, in which nobody reads the answers."""
        if os.getpid() != self._owner:
            raise EmbeddedBrokerError(
                f"the embedded broker belongs to process {self._owner}, and process {os.getpid()} was forked from it; "
                f"make calls there, or start a broker of its own here"
            )

    def _write(self, line: bytes) -> None:
        """Write a whole line, with nothing left in a buffer that a forked process would have a copy of."""
        assert self._process.stdin is not None
        with self._writing:
            if self._is_torn:
                line = b"\n" + line
            self._is_torn = True
            written = self._process.stdin.write(line)
            while written < len(line):
                written += self._process.stdin.write(line[written:])
            self._is_torn = False

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in open(self._process.stdout.fileno(), "rb", closefd=False):  # noqa: SIM115 — the pipe's, unbuffered
            try:
                told = values.loads(line)
            except ValueError:
                continue  # somebody's sitecustomize prints
            if not (isinstance(told, dict) and told.keys() & {"ready", "result", "error"}):
                continue  # and in JSON
            answer = self._waiting.pop(told.get("id", 0), None)
            if answer is None:
                continue
            if "error" in told:
                answer.set_exception(EmbeddedBrokerError(told["error"]))
            else:
                answer.set_result(told["ready"] if "ready" in told else told["result"])
        self._has_ended = True
        self._fail_all()

    def _fail_all(self) -> None:
        with suppress(KeyError):  # there are no more: another thread may be at it, too
            while True:
                _, answer = self._waiting.popitem()
                answer.set_exception(self._ended())

    def _ended(self) -> EmbeddedBrokerError:
        if self.is_closed:
            return EmbeddedBrokerError("the embedded broker is closed")
        status = self._process.wait(_END_TIMEOUT_S)
        size = self._errors.seek(0, 2)
        self._errors.seek(max(0, size - _ERROR_BYTES_SHOWN))
        said = self._errors.read().decode("utf-8", "replace").strip()
        return EmbeddedBrokerError(f"the embedded broker ended with status {status}: {said or 'it said nothing'}")


def _start(errors: IO[bytes]) -> subprocess.Popen[bytes]:
    """The server, by the path of its entry point: it needs no name on anybody's import path."""
    entry_point = Path(__file__).resolve().parent.parent / "__main__.py"
    return subprocess.Popen(  # noqa: S603 — this interpreter and our own file
        [sys.executable, "-P", str(entry_point), "fixture", "--pipe", str(os.getpid())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        bufsize=0,
        stderr=errors,
    )


def _close_quietly(pipe: IO[bytes]) -> None:
    try:
        pipe.close()
    except OSError:
        # The server is gone and with it what was not read: there is nothing left to close.
        return
