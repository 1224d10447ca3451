"""Logs and records for the storage tests: small segments, so that every boundary is met within a few kilobytes."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from storage.config import LogConfig
from storage.encoding import encode_batch
from storage.log import GtidInterval, SourcePosition
from storage.records import Batch, iter_batches, iter_records
from storage.segment_log import SegmentLog
from tests.fakes import ManualClock

if TYPE_CHECKING:
    from pathlib import Path
    from random import Random

    from storage.files import Files
    from storage.log import LogReader

TOPIC = "cn_hangzhou_rm_test_version2"
FIRST_TIME_MS = 1_700_000_000_000
SMALL = LogConfig(
    segment_bytes=4000,
    segment_ms=10**12,
    index_interval_bytes=300,
    retention_ms=None,
    flush_bytes=10**9,
    reserve_offsets=1000,
)


_opened: list[SegmentLog] = []


@dataclass(frozen=True)
class Sample:
    """A record as a test knows it."""

    offset: int
    timestamp_ms: int
    value: bytes


def small(**changes: Any) -> LogConfig:
    return replace(SMALL, **changes)


def open_log(
    directory: Path,
    config: LogConfig = SMALL,
    *,
    clock: ManualClock | None = None,
    boot_id: str = "boot-1",
    files: Files | None = None,
    snapshot: bytes = b"snapshot",
) -> SegmentLog:
    """A log ready to be appended to."""
    log = SegmentLog.open(directory, TOPIC, config, clock or ManualClock(), boot_id=boot_id, files=files)
    log.attach(lambda: snapshot)
    _opened.append(log)
    return log


def release_all() -> None:
    """Give back the descriptors of every log a test opened: most of them play processes that were killed."""
    while _opened:
        _opened.pop().release()


def reopen_copy(log: SegmentLog, *, boot_id: str = "boot-1", files: Files | None = None) -> SegmentLog:
    """What a new process would find if this one were killed now; the log itself stays as it is."""
    number = sum(1 for path in log.directory.parent.iterdir() if path.name.startswith(log.directory.name))
    copy = log.directory.with_name(f"{log.directory.name}-copy-{number}")
    shutil.copytree(log.directory, copy)
    return open_log(copy, log.config, boot_id=boot_id, files=files)


def position(number: int, key: bytes = b"source-uuid-0001") -> SourcePosition:
    """The position of transaction `number` of one source."""
    return SourcePosition(1, 1000 + number, GtidInterval(key, number, number))


def append(log: SegmentLog, *values: bytes, timestamps_ms: list[int] | None = None) -> list[Sample]:
    """Append one batch; returns its records."""
    times = timestamps_ms or [FIRST_TIME_MS + log.end_offset * 1000] * len(values)
    first = log.end_offset
    log.append(encode_batch(first, values, times))
    return [Sample(first + i, time_ms, value) for i, (value, time_ms) in enumerate(zip(values, times, strict=True))]


def append_random(log: SegmentLog, random: Random, spread_ms: int = 50_000) -> list[Sample]:
    """Append one batch of a few records of random sizes, at times that jump to and fro."""
    count = random.randrange(1, 5)
    around_ms = FIRST_TIME_MS + log.end_offset * 1000
    times = [around_ms + random.randrange(-spread_ms, spread_ms) for _ in range(count)]
    return append(log, *(random.randbytes(random.randrange(150)) for _ in range(count)), timestamps_ms=times)


def fill(log: SegmentLog, random: Random, transactions: int, first_number: int = 1) -> list[Sample]:
    """Append and commit transactions of one to three batches; returns their records."""
    records = []
    for number in range(first_number, first_number + transactions):
        for _ in range(random.randrange(1, 4)):
            records += append_random(log, random)
        log.commit([position(number)])
    return records


def samples_of(batch: Batch) -> list[Sample]:
    """The records of a batch."""
    return [Sample(record.offset, record.timestamp_ms, record.value or b"") for record in iter_records(batch)]


def read_all(log: LogReader, max_bytes: int = 1 << 20, offset: int | None = None) -> list[Sample]:
    """Every visible record from `offset` on, as a consumer would read them."""
    records = []
    offset = log.log_start_offset if offset is None else offset
    while offset < log.high_watermark:
        with log.read(offset, max_bytes) as part:
            data = bytes(part.view)
        if not data:
            break
        for batch in iter_batches(data):
            records += [record for record in samples_of(batch) if record.offset >= offset]
            offset = batch.header.next_offset
    return records
