"""`record_bytes_max` on a real server: a larger row stops its channel before anything of its transaction is visible.

With the limit raised and the server started again the channel goes on there, and nothing is lost, doubled or changed.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest

from tests.decoded import Record, decode_batches, decode_value, row_of, split_batches
from tests.interop.known_log import Channel, KnownLog, server_settings
from tests.interop.large_rows import DATABASE, LARGE_ID, write_binlog
from tests.server_process import ServerProcess
from tests.tools.workplace import CHECKOUT

_LIMIT, _RAISED = "1MiB", "4MiB"
_LARGE_BYTES = 3 << 20
_SENTENCE = "the row of shop.documents with primary key id = 77 makes a record of 31"


class Limited:
    """A server whose one channel reads a binlog with a row of 3 MiB; what its transaction has before it is on disk."""

    def __init__(self, folder: Path, compression: str) -> None:
        self._binlog = folder / "large-bin.000001"
        self._folder = folder
        self._channel = Channel.of("limited", [])
        self._compression = compression
        self.count = write_binlog(self._binlog, large_bytes=_LARGE_BYTES, rows_beside=10_000)
        self.server = self._configured(_LIMIT)

    def _configured(self, limit: str) -> ServerProcess:
        options = {"compression": self._compression, "record_bytes_max": limit}
        table = self._channel.table(f"file://{self._binlog}", [DATABASE], "earliest", **options)
        return ServerProcess(self._folder, server_settings() + table)

    def __enter__(self) -> Self:
        self.server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.__exit__()

    def start_with(self, limit: str) -> None:
        self.server = self._configured(limit).start()

    @property
    def log(self) -> KnownLog:
        return KnownLog(self.server, self._channel)

    def wait_for_error(self) -> str:
        """Until the channel stands still; the sentence it says."""
        self.server.wait_for(lambda: self._status()["state"] == "Error", "stopped at the row")
        return str(self._status()["reason"])

    def wait_for_all(self) -> None:
        self.server.wait_for(lambda: int(str(self._status()["high_watermark"])) >= self.count, f"at {self.count}")

    def shown(self) -> str:
        """What `binwire status` prints."""
        command = [sys.executable, "-m", "binwire", "status", "-c", str(self._folder / "binwire.toml")]
        return subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False).stdout

    def _status(self) -> dict[str, object]:
        (channel,) = self.server.status()["channels"]
        status: dict[str, object] = channel
        return status

    def visible(self) -> tuple[int, bytes]:
        """The high watermark, and every batch that a client is given."""
        batches = bytearray()
        with self.log.raw_client(self.log.spare_group_id) as raw:
            fetched = raw.fetch(self.log.topic, 0, max_bytes=32 << 20, max_wait_ms=0)
            while fetched.records:
                batches += fetched.records
                offset = len(decode_all(bytes(batches)))
                fetched = raw.fetch(self.log.topic, offset, max_bytes=32 << 20, max_wait_ms=0)
            return fetched.high_watermark, bytes(batches)


def decode_all(batches: bytes) -> list[Record]:
    return [record for batch in split_batches(batches) for record in decode_batches(batch)]


def operations(records: list[Record]) -> list[tuple[str, int | None]]:
    """Each record's operation and, of an INSERT, the row's id."""
    decoded = [decode_value(record.value) for record in records]
    return [
        (each["operation"], (row_of(each).after or {})["id"] if each["operation"] == "INSERT" else None)
        for each in decoded
    ]


@pytest.fixture(params=["none", "lz4"])
def limited(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Limited]:
    with Limited(tmp_path, request.param) as limited:
        yield limited


def test_a_row_above_the_limit_stops_its_channel_until_the_limit_is_raised(limited: Limited) -> None:
    reason = limited.wait_for_error()
    assert _SENTENCE in reason
    assert "record_bytes_max is 1048576: raise record_bytes_max of this channel" in reason
    assert _SENTENCE in " ".join(limited.shown().split())
    before = limited.visible()
    assert operations(decode_all(before[1])) == [("DDL", None)] * 2 + [
        each for number in range(3) for each in (("BEGIN", None), ("INSERT", number), ("COMMIT", None))
    ]
    assert before[0] == 11

    limited.server.kill()
    limited.start_with(_LIMIT)
    assert limited.wait_for_error() == reason
    assert limited.visible() == before

    assert limited.server.stop() == 0
    limited.start_with(_RAISED)
    limited.wait_for_all()
    high_watermark, batches = limited.visible()
    assert high_watermark == limited.count
    assert batches.startswith(before[1])
    records = decode_all(batches)
    assert [record.offset for record in records] == list(range(limited.count))
    rows = [identity for operation, identity in operations(records) if operation == "INSERT"]
    assert rows == [*range(3), *range(100, 5100), LARGE_ID, *range(5100, 10_100), 200]
    (large,) = (row_of(decode_value(r.value)) for r in records if len(r.value or b"") > _LARGE_BYTES)
    assert large.after == {"id": LARGE_ID, "body": "x" * _LARGE_BYTES}
