"""kill -9 in the middle of a load: nothing missing, doubled or reordered; no half transaction, no changed offset.

The server is killed at moments chosen by chance while a real MySQL commits small and large transactions, and started
again on the same data directory. All the while a consumer polls and remembers every byte. At the end the stream must
equal an independent reading of the binlog, transaction by transaction. A seed and a number of kills make a run;
`make test` has a short one, `make torture` long ones (`BINWIRE_KILLS`, `BINWIRE_SEED`).
"""

from __future__ import annotations

import os
import random
import threading
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.client import RawClient
from tests.decoded import Record, Transaction, decode_batches, decode_value, transactions
from tests.live_server import LiveServer
from tests.server_process import ServerProcess
from tests.torture.binlog_oracle import read_binlog
from tests.torture.load import CREATE_TABLE, Load
from tests.torture.watcher import Watcher

_TOPIC = "cn_hangzhou_rm_torture_dtstest_version2"
_USERNAME, _GROUP_ID, _PASSWORD = "dtstest", "dtstorture", "T0rture-secret"
_CATCH_UP_TIMEOUT_S = 240.0
_KILLS_SHORT = 4
_KILLS_LONG = 40
_RECORDS_BETWEEN_KILLS = (1_000, 15_000)
_KILL_DELAY_MAX_S = 0.15


def test_few_kills(server_factory: Callable[..., LiveServer], tmp_path: Path) -> None:
    _kill_again_and_again(server_factory("mysql97", "--binlog-row-metadata=FULL"), tmp_path, _KILLS_SHORT, seed=1)


@pytest.mark.torture
@pytest.mark.timeout(3600)
def test_many_kills(server_factory: Callable[..., LiveServer], tmp_path: Path) -> None:
    kills = int(os.environ.get("BINWIRE_KILLS", _KILLS_LONG))
    seed = int(os.environ.get("BINWIRE_SEED", random.SystemRandom().randrange(1 << 32)))
    print(f"BINWIRE_KILLS={kills} BINWIRE_SEED={seed}")
    _kill_again_and_again(server_factory("mysql97", "--binlog-row-metadata=FULL"), tmp_path, kills, seed)


def _kill_again_and_again(mysql: LiveServer, folder: Path, kills: int, seed: int) -> None:
    chance = random.Random(seed)
    database = mysql.fresh_database()
    mysql.execute(CREATE_TABLE, database=database)
    position = mysql.binlog_position()
    server = ServerProcess(folder, _configuration(mysql, database, position))
    running = threading.Event()
    watcher = Watcher(
        lambda: server.address() if running.is_set() else None, _TOPIC, f"{_USERNAME}-{_GROUP_ID}", _PASSWORD
    )
    load = Load(mysql, database, seed)
    with server.start():
        running.set()
        watcher.start()
        watcher.wait_for_records(1, _CATCH_UP_TIMEOUT_S)
        load.start()
        for _ in range(kills):
            _keep_going(watcher, load, chance.randint(*_RECORDS_BETWEEN_KILLS))
            threading.Event().wait(chance.uniform(0, _KILL_DELAY_MAX_S))
            running.clear()
            server.kill()
            server.start()
            running.set()
        _keep_going(watcher, load, 1)
        load.stop()
        _wait_for_end(watcher, mysql, database)
        watcher.stop()
        expected = list(read_binlog(mysql, database, position))
        again = _read_everything(server.address(), len(watcher.records))
        assert server.stop() == 0
    assert again == watcher.records
    assert watcher.connections > kills
    _check(watcher, expected)


def _configuration(mysql: LiveServer, database: str, position: tuple[str, int]) -> str:
    return f"""
[[listeners]]
name = "public"
bind = "127.0.0.1:0"
security = "SASL_PLAINTEXT"

[[channels]]
id = "torture"
topic = "{_TOPIC}"
source = "{mysql.url()}"
objects = ["{database}"]
start = "{position[0]}:{position[1]}"
segment_size = "1MiB"

[[channels.groups]]
name = "torture"
id = "{_GROUP_ID}"
username = "{_USERNAME}"
password = "{_PASSWORD}"
"""


def _keep_going(watcher: Watcher, load: Load, records: int) -> None:
    """Let the load run until so many more records were served, and the load not run away from the server."""
    load.release()
    watcher.wait_for_records(len(watcher.records) + records, _CATCH_UP_TIMEOUT_S)


def _wait_for_end(watcher: Watcher, mysql: LiveServer, database: str) -> None:
    """Commit a last row nobody else writes, and wait for its COMMIT: everything before it was served then."""
    last = uuid.uuid4().hex
    mysql.execute("INSERT INTO items (account, name, at) VALUES (1, %s, NOW(6))", (last,), database=database)
    offset = watcher.wait_for_value(last.encode(), _CATCH_UP_TIMEOUT_S)
    watcher.wait_for_records(offset + 2, _CATCH_UP_TIMEOUT_S)


def _read_everything(address: tuple[str, int], count: int) -> list[Record]:
    """The first ``count`` records, from the log's beginning, by a client that has seen nothing before."""
    records: list[Record] = []
    with RawClient(*address) as client:
        client.login(f"{_USERNAME}-{_GROUP_ID}", _PASSWORD)
        while len(records) < count:
            batches = client.fetch(_TOPIC, len(records), max_bytes=8 << 20).records
            records += [record for record in decode_batches(batches) if record.offset >= len(records)]
    return records[:count]


def _check(watcher: Watcher, expected: list[Transaction]) -> None:
    served = list(transactions(watcher.records))
    boundaries = {0, *(transaction.end_offset for transaction in served)}
    torn = {mark for mark in watcher.high_watermarks if mark <= len(watcher.records)} - boundaries
    assert not torn, f"half transactions were visible up to {sorted(torn)}"
    changes = [transaction for transaction in served if transaction.rows or transaction.ddl]
    for number, (ours, theirs) in enumerate(zip(changes, expected, strict=False)):
        assert ours.ddl == theirs.ddl, f"transaction {number}"
        assert ours.rows == theirs.rows, f"transaction {number}"
    assert len(changes) == len(expected)
    first = decode_value(watcher.records[0].value)["id"]
    for offset, record in enumerate(watcher.records):
        assert decode_value(record.value)["id"] == first + offset
