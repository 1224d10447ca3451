"""A log whose every byte is known: a real `binwire serve` over a binlog file, and its segments read back.

The records are taken from the segment files by kafka-python's decoder, not by ours: what a client must see is what lies
on disk.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.decoded import Record, decode_batches, split_batches
from tests.interop.known_binlog import write_known_binlog
from tests.server_process import ServerProcess

TOPIC = "cn_hangzhou_rm_known_dtstest_version2"
USERNAME = "dtstest"
PASSWORD = "Inter0p-secret"
SPARE_GROUP_ID = "dtsspare"


@dataclass(frozen=True, slots=True)
class KnownLog:
    """What a client needs to read the log, and what it must find there."""

    bootstrap: str
    topic: str
    records: list[Record]

    def login(self, group_id: str) -> dict[str, str]:
        """The arguments by which a client's scenarios log in as a group."""
        return {
            "bootstrap": self.bootstrap,
            "topic": self.topic,
            "group": group_id,
            "account": USERNAME,
            "username": f"{USERNAME}-{group_id}",
            "password": PASSWORD,
        }

    def from_time(self, timestamp_ms: int) -> list[Record]:
        """What a client reads that seeks to a time: from the first record at or after it on, whatever follows."""
        first = next(number for number, record in enumerate(self.records) if record.timestamp_ms >= timestamp_ms)
        return self.records[first:]

    @property
    def interesting_times_ms(self) -> list[int]:
        """Whole seconds: before the first record, at it, between, at the last."""
        times = [record.timestamp_ms for record in self.records]
        return [times[0] - 3_600_000, times[0], times[len(times) // 3] + 1000, times[2 * len(times) // 3], max(times)]


@contextlib.contextmanager
def serve(folder: Path, group_ids: Sequence[str]) -> Iterator[KnownLog]:
    """Serve the known binlog, read to its end."""
    binlog = folder / "known-bin.000001"
    count = write_known_binlog(binlog)
    with ServerProcess(folder, configuration(f"file://{binlog}", ["shop"], group_ids)).start() as server:
        server.wait_for(lambda: _high_watermark(server) >= count, f"{count} records on")
        records = read_segments(server.data_directory)
        assert len(records) == count
        yield KnownLog(server.bootstrap(), TOPIC, records)


def _high_watermark(server: ServerProcess) -> int:
    (channel,) = server.status()["channels"]
    return int(channel["high_watermark"])


def configuration(source: str, objects: Sequence[str], group_ids: Sequence[str], *, start: str = "earliest") -> str:
    """A server with one channel over ``source`` and a group for each id."""
    groups = "".join(
        f'[[channels.groups]]\nname = "{group_id}"\nid = "{group_id}"\n'
        f'username = "{USERNAME}"\npassword = "{PASSWORD}"\n'
        for group_id in group_ids
    )
    return (
        '[[listeners]]\nname = "public"\nbind = "127.0.0.1:0"\nsecurity = "SASL_PLAINTEXT"\n'
        f'[[channels]]\nid = "known"\ntopic = "{TOPIC}"\nsource = "{source}"\n'
        f'objects = {list(objects)}\nstart = "{start}"\n{groups}'
    )


def read_segments(data_directory: Path) -> list[Record]:
    """Every record in the topic's segment files, in order of their names."""
    segments = sorted((data_directory / "topics" / f"{TOPIC}-0").glob("*.log"))
    return [
        record
        for segment in segments
        for batch in split_batches(segment.read_bytes())
        for record in decode_batches(batch)
    ]
