"""Backups of a server under load, and a server on each of them: no record changed, none missing, none twice.

A real MySQL commits small and large transactions, a consumer reads all the while, and `binwire backup` and `binwire
verify` run beside the server, with segments that are rolled and, in the second case, deleted meanwhile. Then the same
configuration serves the copy: up to its end it must give the original's bytes at the original's offsets, behind that
every transaction that the source has, once.
"""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import tomllib
import uuid
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.client import EARLIEST, RawClient
from storage.state import UNKNOWN_OFFSETS
from tests.decoded import Record, Transaction, decode_batches, decode_identity, decode_value, transactions
from tests.live_server import LiveServer
from tests.server_process import ServerProcess
from tests.tools.workplace import CHECKOUT
from tests.torture.binlog_oracle import read_binlog
from tests.torture.load import Load
from tests.torture.scene import TIMEOUT_S, Scene

_SETTINGS = {
    "rolled": 'segment_size = "64KiB"\nflush_interval = "50ms"',
    "retired": 'segment_size = "64KiB"\nretention_size = "1MiB"\nflush_interval = "50ms"\ncompression = "lz4"',
    "before-visible": 'segment_size = "1MiB"\nflush = "before-visible"',
}
_ROUNDS = 2
_RECORDS_BETWEEN = 3000


@pytest.mark.parametrize(
    "settings", ["rolled", *(pytest.param(each, marks=pytest.mark.torture) for each in ("retired", "before-visible"))]
)
def test_a_backup_of_a_server_under_load_is_served(
    settings: str, server_factory: Callable[..., LiveServer], tmp_path: Path
) -> None:
    scene = Scene(server_factory, tmp_path, _SETTINGS[settings])
    load = Load(scene.mysql, scene.database, seed=11)
    ends = []
    with scene:
        load.start()
        for number in range(_ROUNDS):
            load.allow(2 * _RECORDS_BETWEEN)
            scene.watcher.wait_for_records(scene.watcher.end_offset + _RECORDS_BETWEEN, TIMEOUT_S)
            committed = scene.watcher.end_offset - 1
            _commit(scene, committed)
            _run("backup", str(tmp_path / f"backup-{number}"), "-c", str(tmp_path / "binwire.toml"))
            verified = json.loads(_run("verify", "--json", "-c", str(tmp_path / "binwire.toml")))
            assert verified["whole"]
            ends.append((committed, json.loads(_verified(tmp_path / f"backup-{number}"))["topics"][0]["next_offset"]))
        load.stop()
        last = uuid.uuid4().hex
        scene.watcher.seek(last.encode())
        sql = "INSERT INTO items (account, name, at) VALUES (1, %s, NOW(6))"
        scene.mysql.execute(sql, (last,), database=scene.database)
        scene.watcher.wait_for_records(scene.watcher.wait_for_sought(TIMEOUT_S) + 2, TIMEOUT_S)
        scene.watcher.stop()
        read_to = scene.watcher.end_offset
        assert scene.server.stop() == 0
        assert (int(scene.segments()[0].stem) > 0) == ("retention" in _SETTINGS[settings])
        expected = list(read_binlog(scene.mysql, scene.database, scene._position))
        original = {record.offset: record for record in scene.watcher.served.records()}
        for number, (committed, end_offset) in enumerate(ends):
            served = _Restored(tmp_path / f"backup-{number}", tmp_path / "binwire.toml", tmp_path / f"again-{number}")
            with served.server:
                assert served.server.status()["channels"][0]["groups"][0]["offset"] == committed
                _compare(list(served.records(EARLIEST, last)), original, end_offset, expected)
                if "retention" not in _SETTINGS[settings]:
                    # Else what is behind the copied end may be gone again, and a consumer is told so.
                    ahead = list(transactions(served.records(read_to, last)))
                    assert _changes(ahead) == _changes(expected)[-len(_changes(ahead)) :] != []
                assert _modes(served.server.data_directory) == []


def _compare(records: list[Record], original: dict[int, Record], end_offset: int, expected: list[Transaction]) -> None:
    """What a restored server serves from its beginning on."""
    for record in records:
        assert record.offset >= UNKNOWN_OFFSETS or (record.offset < end_offset and record == original[record.offset])
    assert len({decode_identity(record.value) - record.offset for record in records}) == 1
    is_cut = records[0].offset > 0
    start = next(number for number, record in enumerate(records) if _is_commit(record)) + 1 if is_cut else 0
    changes = _changes(transactions(records[start:]))
    assert len(changes) > 1
    assert changes == _changes(expected)[-len(changes) :]
    if not is_cut:
        assert len(changes) == len(expected)
        assert sum(record.offset < end_offset for record in records) == end_offset


def _changes(stream: Iterable[Transaction]) -> list[Any]:
    return [(each.ddl, each.rows) for each in stream if each.rows or each.ddl]


def _is_commit(record: Record) -> bool:
    operation: str = decode_value(record.value)["operation"]
    return operation == "COMMIT"


class _Restored:
    """A server on a backup, put where the configuration names its data."""

    def __init__(self, backup: Path, configuration: Path, folder: Path) -> None:
        folder.mkdir()
        backup.rename(folder / "data")
        _, _, rest = configuration.read_text("utf-8").partition("\n")
        self.server = ServerProcess(folder, rest)
        content = tomllib.loads(rest)["channels"][0]
        group = content["groups"][0]
        self._topic = content["topic"]
        self._login = (f"{group['username']}-{group['id']}", group["password"])

    def records(self, start: int, last: str) -> Iterator[Record]:
        """From an offset, or the earliest, to the end of the transaction that has `last`, as a consumer reads."""
        is_found = False
        with RawClient(*self.server.address()) as client:
            client.login(*self._login)
            offset = client.list_offsets(self._topic, EARLIEST)[1] if start == EARLIEST else start
            while True:
                fetched = client.fetch(self._topic, offset, max_bytes=4 << 20, max_wait_ms=100)
                for record in decode_batches(fetched.records):
                    if record.offset >= offset:
                        yield record
                        offset = record.offset + 1
                        is_found |= last.encode() in (record.value or b"")
                        if is_found and _is_commit(record):
                            return


def _commit(scene: Scene, offset: int) -> None:
    from kafka import KafkaConsumer, TopicPartition
    from kafka.structs import OffsetAndMetadata

    content = tomllib.loads((scene.server.folder / "binwire.toml").read_text("utf-8"))["channels"][0]
    group = content["groups"][0]
    consumer = KafkaConsumer(
        bootstrap_servers=scene.server.bootstrap(),
        group_id=group["id"],
        enable_auto_commit=False,
        security_protocol="SASL_PLAINTEXT",
        sasl_mechanism="PLAIN",
        sasl_plain_username=f"{group['username']}-{group['id']}",
        sasl_plain_password=group["password"],
    )
    partition = TopicPartition(content["topic"], 0)
    consumer.assign([partition])
    consumer.commit({partition: OffsetAndMetadata(offset, "")})
    consumer.close()


def _run(*arguments: str) -> str:
    command = [sys.executable, "-m", "binwire", *arguments]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    return done.stdout


def _verified(data: Path) -> str:
    return _run("verify", "--json", "--data-dir", str(data))


def _modes(directory: Path) -> list[str]:
    """What a running server keeps that others might read."""
    wrong = []
    for path in (directory, *directory.rglob("*")):
        mode = stat.S_IMODE(os.lstat(path).st_mode)
        if mode != (0o700 if path.is_dir() else 0o600):
            wrong.append(f"{path} {mode:o}")
    return wrong
