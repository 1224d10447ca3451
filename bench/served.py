"""`binwire serve` as a user starts it, over a data directory that stays: what is asked about starts and restarts.

Owns the process, its configuration (one channel, one group) and a client of that group.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import binwire
from bench import orders
from bench.client import RawClient
from bench.records import offset_after
from storage.catalog import Catalog

TOPIC: Final = "cn_hangzhou_rm_bench_dtstest_version2"
_CHANNEL: Final = "bench"
_USERNAME: Final = "dtstest"
_GROUP: Final = "dtsbench01"
_PASSWORD: Final = "Bench-start1"  # noqa: S105 — of a server that lives for a second, on the loopback interface
LOGIN: Final = (f"{_USERNAME}-{_GROUP}", _PASSWORD)
_FETCH_BYTES: Final = 1 << 16
_POLL_S: Final = 0.001
_CONFIG: Final = """
[[listeners]]
name = "public"
bind = "127.0.0.1:0"

[[channels]]
id = "{channel}"
topic = "{topic}"
source = "{source}"
objects = ["{database}"]
start = "{start}"

[[channels.groups]]
name = "bench"
id = "{group}"
username = "{username}"
password = "{password}"
"""


@contextlib.contextmanager
def bytecode_in(folder: Path) -> Iterator[None]:
    """Have the processes that are started keep their bytecode, whatever the environment says."""
    before = os.environ.copy()
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PYTHONPYCACHEPREFIX"] = str(folder)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


class ServedFolder:
    """`binwire serve` over one data directory, from one source or another."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._config = folder / "binwire.toml"
        self._log = folder / "server.log"
        self._ready = folder / "data" / "ready.json"
        self._front_door = Path(binwire.__file__).resolve().with_name("__main__.py")  # in a wheel not beside us

    @contextlib.contextmanager
    def started(self, source: str, *, start: str = "earliest", more: str = "") -> Iterator[None]:
        """A process, from its start to its orderly end; `more` is what else its configuration says."""
        values = {"channel": _CHANNEL, "group": _GROUP, "username": _USERNAME, "password": _PASSWORD}
        text = _CONFIG.format(topic=TOPIC, source=source, database=orders.DATABASE, start=start, **values)
        self._config.write_text(text + more, encoding="utf-8")
        self._ready.unlink(missing_ok=True)  # of one that was killed
        command = [sys.executable, "-P", str(self._front_door), "serve", "-c", str(self._config)]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(command, stderr=log)
        try:
            yield
        finally:
            self._process.terminate()
            self._process.wait()

    def adopt_log(self, channel: str = _CHANNEL) -> None:
        """Have the next process serve a log that was put there: the catalog has no definitions for its records."""
        catalog = Catalog.open(self._folder / "data" / "catalog.db")
        try:
            catalog.lose_definitions(channel)
        finally:
            catalog.close()

    @property
    def pid(self) -> int:
        """The process that was started last."""
        return self._process.pid

    def kill(self) -> None:
        """End the process as it stands."""
        self._process.kill()
        self._process.wait()

    def read(self, count: int) -> bytes:
        """Record batches from the beginning of the log, by a client that logs in, until they have `count` records."""
        received = b""
        with self.logged_in() as client:
            while (offset := offset_after(received)) < count:
                received += bytes(client.fetch(TOPIC, offset, max_bytes=_FETCH_BYTES).records)
        return received

    @contextlib.contextmanager
    def logged_in(self) -> Iterator[RawClient]:
        """A client, as soon as the server listens."""
        with RawClient(*self.address()) as client:
            client.login(*LOGIN)
            yield client

    def address(self, listener: str = "public") -> tuple[str, int]:
        """Where a listener is, as soon as the process says so."""
        while not self._ready.is_file():
            if self._process.poll() is not None:
                log = self._log.read_text(encoding="utf-8", errors="replace")
                raise RuntimeError(f"the server ended with status {self._process.returncode}:\n{log[-4000:]}")
            time.sleep(_POLL_S)
        host, port = json.loads(self._ready.read_text(encoding="utf-8"))["listeners"][listener].rsplit(":", 1)
        return host, int(port)
