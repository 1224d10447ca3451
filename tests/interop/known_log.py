"""A log whose every byte is known: a real `binwire serve` over recorded binlog files, and its segments read back.

The records are taken from the segment files by kafka-python's decoder, not by ours: what a client must see is what lies
on disk. What the files say (the decoded rows the DTS SDK must show) comes out of fastavro.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fastavro
from kafka.record import MemoryRecords

from tests.interop.client_process import Record

PASSWORD = "Inter0p-secret"
USERNAME = "dtstest"
TOPIC = "cn_hangzhou_rm_known_dtstest_version2"
SPARE_GROUP_ID = "dtsspare"


def read_segments(data_directory: Path, topic: str) -> list[Record]:
    """Every record in a topic's segment files, in order of their file names."""
    records = []
    for segment in sorted((data_directory / "topics" / f"{topic}-0").glob("*.log")):
        records += decode_batches(segment.read_bytes())
    return records


def decode_batches(data: bytes) -> list[Record]:
    """The records of concatenated record batches, by kafka-python; what follows the last whole batch is left out."""
    batches, records = MemoryRecords(data), []
    while batches.has_next():
        batch = batches.next_batch()
        assert batch.validate_crc()
        records += [Record(record.offset, record.timestamp, record.key, record.value) for record in batch]
    return records


def configuration(source: str, group_ids: Sequence[str], *, topic: str = TOPIC, start: str = "earliest") -> str:
    """A server with one channel over ``source`` and a group for each id."""
    groups = "".join(
        f'[[channels.groups]]\nname = "{group_id}"\nid = "{group_id}"\nusername = "{USERNAME}"\npassword = "{PASSWORD}"\n'
        for group_id in group_ids
    )
    return (
        '[[listeners]]\nname = "public"\nbind = "127.0.0.1:0"\nsecurity = "SASL_PLAINTEXT"\n'
        f'[[channels]]\nid = "known"\ntopic = "{topic}"\nsource = "{source}"\nobjects = ["shop"]\nstart = "{start}"\n'
        f"{groups}"
    )


@dataclass(frozen=True, slots=True)
class KnownLog:
    """What a client needs to read the log, and what it must find there."""

    bootstrap: str
    records: list[Record]
    schema: Any
    topic: str = TOPIC
    username: str = USERNAME
    password: str = PASSWORD
    spare_group_id: str = SPARE_GROUP_ID
    decoded: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        for record in self.records:
            assert record.value is not None
            self.decoded.append(fastavro.schemaless_reader(io.BytesIO(record.value), self.schema))  # type: ignore[arg-type]

    def from_time(self, timestamp_ms: int) -> list[Record]:
        """What a client reads that seeks to a time: from the first record at or after it on, whatever follows."""
        first = next(number for number, record in enumerate(self.records) if record.timestamp_ms >= timestamp_ms)
        return self.records[first:]

    @property
    def interesting_times_ms(self) -> list[int]:
        """Whole seconds: before the first record, at it, between, at the last."""
        times = [record.timestamp_ms for record in self.records]
        return [times[0] - 3_600_000, times[0], times[len(times) // 3] + 1000, times[2 * len(times) // 3], max(times)]
