"""A real MySQL, a server capturing one of its databases, and a watcher: what the tests of faults play on.

The watcher runs all the while. At the end `verify` holds the whole stream against an independent reading of the binlog.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Self

from bench.client import RawClient
from tests.decoded import Record, Transaction, decode_batches, decode_value, transactions
from tests.live_server import LiveServer
from tests.server_process import ServerProcess
from tests.torture.binlog_oracle import read_binlog
from tests.torture.load import CREATE_TABLE
from tests.torture.watcher import Watcher

TIMEOUT_S = 240.0

_TOPIC = "cn_hangzhou_rm_torture_dtstest_version2"
_USERNAME, _GROUP_ID, _PASSWORD = "dtstest", "dtstorture", "T0rture-secret"
_FETCH_BYTES = 8 << 20


class Scene:
    """A context manager: inside it server and watcher run. `database` has the empty table of `load.py`."""

    def __init__(self, server_factory: Callable[..., LiveServer], folder: Path) -> None:
        # The independent reader knows column names from the row metadata only.
        self.mysql = server_factory("mysql97", "--binlog-row-metadata=FULL")
        self.database = self.mysql.fresh_database()
        self.mysql.execute(CREATE_TABLE, database=self.database)
        self._position = self.mysql.binlog_position()
        self.server = ServerProcess(folder, self._configuration())
        self._running = threading.Event()
        address = lambda: self.server.address() if self._running.is_set() else None  # noqa: E731
        self.watcher = Watcher(address, _TOPIC, f"{_USERNAME}-{_GROUP_ID}", _PASSWORD)
        self.starts = 0

    def __enter__(self) -> Self:
        self.start()
        self.watcher.start()
        # The first heartbeat tells that the schema is known and the binlog is read.
        self.watcher.wait_for_records(1, TIMEOUT_S)
        return self

    def __exit__(self, *_: object) -> None:
        with self.server:
            self.watcher.end()

    def start(self) -> None:
        """Start the server, also on a directory it had before."""
        self.server.start()
        self.starts += 1
        self._running.set()

    def end(self, *, kill: bool) -> None:
        """End the server, by SIGKILL or in order."""
        self._running.clear()
        if kill:
            self.server.kill()
        else:
            assert self.server.stop() == 0

    def segments(self) -> list[Path]:
        """The log's segment files, oldest first."""
        return sorted((self.server.data_directory / "topics" / f"{_TOPIC}-0").glob("*.log"))

    def verify(self) -> None:
        """Wait for the end of the binlog, then compare everything that was served, at any time, with it."""
        self._wait_for_end()
        self.watcher.stop()
        again = self._read_everything(len(self.watcher.records))
        expected = list(read_binlog(self.mysql, self.database, self._position))
        assert self.server.stop() == 0
        assert again == self.watcher.records
        assert self.watcher.connections >= self.starts
        compare(self.watcher.records, self.watcher.high_watermarks, expected)

    def _wait_for_end(self) -> None:
        """Commit a last row nobody else writes, and wait for its COMMIT: everything before it was served then."""
        last = uuid.uuid4().hex
        sql = "INSERT INTO items (account, name, at) VALUES (1, %s, NOW(6))"
        self.mysql.execute(sql, (last,), database=self.database)
        offset = self.watcher.wait_for_value(last.encode(), TIMEOUT_S)
        self.watcher.wait_for_records(offset + 2, TIMEOUT_S)

    def _read_everything(self, count: int) -> list[Record]:
        """The first `count` records, from the log's beginning, by a client that has seen nothing before."""
        records: list[Record] = []
        with RawClient(*self.server.address()) as client:
            client.login(f"{_USERNAME}-{_GROUP_ID}", _PASSWORD)
            while len(records) < count:
                batches = client.fetch(_TOPIC, len(records), max_bytes=_FETCH_BYTES).records
                records += [record for record in decode_batches(batches) if record.offset >= len(records)]
        return records[:count]

    def _configuration(self) -> str:
        file, position = self._position
        return f"""
[[listeners]]
name = "public"
bind = "127.0.0.1:0"
security = "SASL_PLAINTEXT"

[[channels]]
id = "torture"
topic = "{_TOPIC}"
source = "{self.mysql.url()}"
objects = ["{self.database}"]
start = "{file}:{position}"
segment_size = "1MiB"

[[channels.groups]]
name = "torture"
id = "{_GROUP_ID}"
username = "{_USERNAME}"
password = "{_PASSWORD}"
"""


def compare(records: list[Record], high_watermarks: set[int], expected: list[Transaction]) -> None:
    """Assert that a stream says what the binlog says, and that every high watermark was a transaction's end."""
    served = list(transactions(records))
    boundaries = {0, *(transaction.end_offset for transaction in served)}
    torn = {mark for mark in high_watermarks if mark <= len(records)} - boundaries
    assert not torn, f"half transactions were visible up to {sorted(torn)}"
    changes = [transaction for transaction in served if transaction.rows or transaction.ddl]
    for number, (ours, theirs) in enumerate(zip(changes, expected, strict=False)):
        assert ours.ddl == theirs.ddl, f"transaction {number}"
        assert ours.rows == theirs.rows, f"transaction {number}"
    assert len(changes) == len(expected), "transactions are missing or doubled at the end"
    first_id = decode_value(records[0].value)["id"]
    assert [decode_value(record.value)["id"] - first_id for record in records] == list(range(len(records)))
