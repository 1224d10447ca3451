"""A real MySQL, a server capturing one of its databases, and a watcher: what the tests of faults play on.

The watcher runs all the while. At the end `verify` holds the whole stream against an independent reading of the binlog.
"""

from __future__ import annotations

import itertools
import json
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Self

from bench.client import EARLIEST, RawClient
from storage.verify import verify as verify_log
from tests.decoded import Record, Transaction, decode_identity, transactions
from tests.live_server import LiveServer
from tests.server_process import ServerProcess
from tests.torture.binlog_oracle import read_binlog
from tests.torture.load import CREATE_TABLE
from tests.torture.served import Served
from tests.torture.watcher import Watcher

TIMEOUT_S = 240.0

TOPIC = "cn_hangzhou_rm_torture_dtstest_version2"
USERNAME, GROUP_ID, PASSWORD = "dtstest", "dtstorture", "T0rture-secret"
LOGIN = f"{USERNAME}-{GROUP_ID}"
_FETCH_BYTES = 8 << 20
ROW_METADATA = "--binlog-row-metadata=FULL"
"""An option of the server: the independent reader knows column names from the row metadata only."""
USUAL_SETTINGS = 'segment_size = "1MiB"'


class Scene:
    """A context manager: inside it server and watcher run. `database` has the empty table of `load.py`.

    `settings` are lines for the channel, in TOML.
    """

    def __init__(
        self,
        server_factory: Callable[..., LiveServer],
        folder: Path,
        settings: str = USUAL_SETTINGS,
        server_class: Callable[[Path, str], ServerProcess] = ServerProcess,
    ) -> None:
        self.mysql = server_factory("mysql97", ROW_METADATA)
        self.database = self.mysql.fresh_database()
        self.mysql.execute(CREATE_TABLE, database=self.database)
        self._position = file, position = self.mysql.binlog_position()
        text = configuration(self.mysql.url(), [self.database], f"{file}:{position}", settings)
        self.server = server_class(folder, text)
        self._address: tuple[str, int] | None = None
        served = Served(folder / "served")
        self.watcher = Watcher(lambda: self._address, TOPIC, LOGIN, PASSWORD, served)
        self.starts = 0
        self.kills = 0
        self.compared = 0
        """Transactions and DDL statements that `verify` held against the binlog."""

    def __enter__(self) -> Self:
        self.start()
        self.watcher.start()
        # The first heartbeat tells that the schema is known and the binlog is read.
        self.watcher.wait_for_records(1, TIMEOUT_S)
        return self

    def __exit__(self, *_: object) -> None:
        with self.server:
            self.watcher.end()
        self.watcher.served.close()

    def start(self) -> None:
        """Start the server, also on a directory it had before."""
        self.server.start()
        self.starts += 1
        self._address = self.server.address()

    def end(self, *, kill: bool) -> None:
        """End the server, by SIGKILL or in order."""
        self._address = None
        if kill:
            self.server.kill()
            self.kills += 1
        else:
            assert self.server.stop() == 0

    def start_and_kill(self, wait: Callable[[], None]) -> None:
        """Start the server and kill it after `wait`, wherever it is by then."""
        self.server.launch()
        wait()
        self.end(kill=True)

    @property
    def log_directory(self) -> Path:
        """Where the log's files are."""
        return self.server.data_directory / "topics" / f"{TOPIC}-0"

    def segments(self) -> list[Path]:
        """The log's segment files, oldest first."""
        return sorted(self.log_directory.glob("*.log"))

    def verify(self) -> None:
        """Wait for the end of the binlog, then compare everything that was served, at any time, with it."""
        self._wait_for_end()
        self.watcher.stop()
        read_everything_again(self.server.address(), self.watcher.served)
        assert self.server.stop() == 0
        assert self.watcher.connections >= self.starts
        assert verify_log(self.log_directory).problems == []
        expected = read_binlog(self.mysql, self.database, self._position)
        self.compared = compare(self.watcher.served.records(), self.watcher.high_watermarks, expected)

    def _wait_for_end(self) -> None:
        """Commit a last row nobody else writes, and wait for its COMMIT: everything before it was served then."""
        last = uuid.uuid4().hex
        self.watcher.seek(last.encode())
        sql = "INSERT INTO items (account, name, at) VALUES (1, %s, NOW(6))"
        self.mysql.execute(sql, (last,), database=self.database)
        offset = self.watcher.wait_for_sought(TIMEOUT_S)
        self.watcher.wait_for_records(offset + 2, TIMEOUT_S)


def read_everything_again(address: tuple[str, int], served: Served) -> None:
    """From the log's beginning, by a client that has seen nothing before: what was `served` so far, and no more."""
    count = served.end_offset
    with RawClient(*address) as client:
        client.login(LOGIN, PASSWORD)
        position = client.list_offsets(TOPIC, EARLIEST)[1]
        while position < count:
            position = served.see(client.fetch(TOPIC, position, max_bytes=_FETCH_BYTES).records)


def configuration(source: str, objects: Sequence[str], start: str, settings: str) -> str:
    """A server with one channel and one group; `settings` are lines for the channel, in TOML."""
    return f"""
[[listeners]]
name = "public"
bind = "127.0.0.1:0"
security = "SASL_PLAINTEXT"

[[channels]]
id = "torture"
topic = "{TOPIC}"
source = "{source}"
objects = {json.dumps(objects)}
start = "{start}"
{settings}

[[channels.groups]]
name = "torture"
id = "{GROUP_ID}"
username = "{USERNAME}"
password = "{PASSWORD}"
"""


def compare(records: Iterable[Record], high_watermarks: set[int], expected: Iterable[Transaction]) -> int:
    """Assert that a stream says what the binlog says, and that every high watermark was a transaction's end.

    Returns how many transactions with rows, and DDL statements, it was.
    """
    boundaries = {0}
    served = _noting_ends(transactions(_with_ids_in_order(records)), boundaries)
    changes = (transaction for transaction in served if transaction.rows or transaction.ddl)
    number = 0
    for number, (ours, theirs) in enumerate(itertools.zip_longest(changes, expected), 1):
        if ours is None or theirs is None:
            raise AssertionError("transactions are missing or doubled at the end")
        assert ours.ddl == theirs.ddl, f"transaction {number - 1}"
        assert ours.rows == theirs.rows, f"transaction {number - 1}"
    torn = {mark for mark in high_watermarks if mark <= max(boundaries)} - boundaries
    assert not torn, f"half transactions were visible up to {sorted(torn)}"
    return number


def _noting_ends(stream: Iterable[Transaction], ends: set[int]) -> Iterator[Transaction]:
    for transaction in stream:
        ends.add(transaction.end_offset)
        yield transaction


def _with_ids_in_order(records: Iterable[Record]) -> Iterator[Record]:
    """The records, whose ids must follow each other as their offsets do."""
    first_id = None
    for number, record in enumerate(records):
        identity = decode_identity(record.value)
        first_id = identity if first_id is None else first_id
        assert identity - first_id == record.offset == number, f"the id {identity} at offset {record.offset}"
        yield record
