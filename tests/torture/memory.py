"""How much memory a serving process needs of its own while it captures: a server, a source, and the peak.

Counted is what is anonymous in ``/proc/PID/smaps_rollup`` (the log's mapped files are the system's, and given back when
somebody else needs them), the looked at every few milliseconds.
"""

from __future__ import annotations

import re
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Self

from tests.server_process import ServerProcess
from tests.torture.scene import configuration

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.live_server import LiveServer

TIMEOUT_S = 900.0
_LOOK_S, _ASK_S = 0.01, 0.1
_ANONYMOUS = re.compile(rb"^(?:Anonymous|Swap): +(\d+) kB", re.MULTILINE)


def private_bytes(pid: int) -> int:
    """Memory of a process that is backed by no file, in memory and swapped; 0 when it has ended."""
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return 1024 * sum(map(int, _ANONYMOUS.findall(rollup)))


class Peak:
    """A context manager: the most that a process had at once while it was inside."""

    def __init__(self, pid: int) -> None:
        self.before = self.bytes = private_bytes(pid)
        self._pid = pid
        self._is_over = threading.Event()
        self._watcher = threading.Thread(target=self._watch)

    def _watch(self) -> None:
        while not self._is_over.wait(_LOOK_S):
            self.bytes = max(self.bytes, private_bytes(self._pid))

    def __enter__(self) -> Self:
        self._watcher.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._watcher.join()


class Captured:
    """`binwire serve` with one channel on a database of a server; a context manager."""

    def __init__(self, mysql: LiveServer, folder: Path, settings: str = "") -> None:
        self.mysql = mysql
        self.database = mysql.fresh_database()
        self.server = ServerProcess(folder, configuration(mysql.url(), [self.database], "now", settings))
        self._asked = threading.Event()

    def __enter__(self) -> Self:
        self.server.start()
        self.server.wait_for(lambda: self.channel()["state"] == "Normal", "capturing", TIMEOUT_S)
        return self

    def __exit__(self, *exception: object) -> None:
        self.server.__exit__(*exception)

    def channel(self) -> dict[str, object]:
        (channel,) = self.server.status()["channels"]
        found: dict[str, object] = channel
        return found

    def peak(self, write: Callable[[], None]) -> Peak:
        """Have `write` write one transaction, and watch the process until its records are visible."""
        with Peak(self.server.pid) as peak:
            write()
            position = "{}:{}".format(*self.mysql.binlog_position())
            self.server.wait_for(lambda: self._is_at(position), "through", TIMEOUT_S)
        return peak

    def _is_at(self, position: str) -> bool:
        """Ask seldom: what the process does for whoever asks is not what is measured."""
        self._asked.wait(_ASK_S)
        return self.channel()["position"] == position
