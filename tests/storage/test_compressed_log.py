"""A log of compressed batches, codecs mixed as when the option changes: read, looked up, recovered, verified."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

import pytest

from storage.compression import CODECS, Codec
from storage.encoding import encode_batch
from storage.errors import CorruptLog
from storage.records import iter_batches
from storage.verify import verify
from tests.storage.samples import FIRST_TIME_MS, Sample, open_log, position, read_all, reopen_copy, small

if TYPE_CHECKING:
    from pathlib import Path

    from storage.segment_log import SegmentLog

CONFIG = small(segment_bytes=6000)
COMPRESSING = CODECS[1:]
every_codec = pytest.mark.parametrize("codec", COMPRESSING, ids=lambda codec: codec.name)


def fill(log: SegmentLog, random: Random, transactions: int, codecs: tuple[Codec, ...]) -> list[Sample]:
    """Transactions of one to three batches that can be compressed, at times that jump to and fro."""
    records = []
    for _ in range(transactions):
        for _ in range(random.randrange(1, 4)):
            first, count = log.end_offset, random.randrange(1, 12)
            around_ms = FIRST_TIME_MS + first * 1000
            times = [around_ms + random.randrange(-50_000, 50_000) for _ in range(count)]
            values = [b"a row of a shop, " * random.randrange(1, 20) + b"%d" % (first + i) for i in range(count)]
            log.append(encode_batch(first, values, times, random.choice(codecs)))
            records += [Sample(first + i, times[i], values[i]) for i in range(count)]
        log.commit([position(log.end_offset)])
    return records


@pytest.fixture(params=[*((codec,) for codec in COMPRESSING), CODECS], ids=["gzip", "snappy", "lz4", "mixed"])
def codecs(request: pytest.FixtureRequest) -> tuple[Codec, ...]:
    chosen: tuple[Codec, ...] = request.param
    return chosen


def test_compressed_records_are_read_and_found_by_time(tmp_path: Path, codecs: tuple[Codec, ...]) -> None:
    random = Random(1)
    log = open_log(tmp_path / "log", CONFIG)
    records = fill(log, random, 60, codecs)
    assert len(list(log.directory.glob("*.log"))) > 3
    assert read_all(log) == records
    assert read_all(log, 100, records[7].offset) == records[7:]
    assert log.last_timestamp_ms == records[-1].timestamp_ms
    assert log.log_start_timestamp_ms == records[0].timestamp_ms
    for _ in range(200):
        asked = random.choice(records).timestamp_ms + random.randrange(-3, 4)
        found = next(((r.offset, r.timestamp_ms) for r in records if r.timestamp_ms >= asked), None)
        assert log.offset_for_timestamp(asked) == found
    used = {batch.header.compression for batch in iter_batches(bytes(log.read(0, 10**6).view))}
    assert used - {0} == {codec.number for codec in codecs} - {0}


def test_compressed_logs_survive_a_kill_a_loss_of_power_and_lost_indexes(
    tmp_path: Path, codecs: tuple[Codec, ...]
) -> None:
    log = open_log(tmp_path / "log", CONFIG)
    records = fill(log, Random(2), 40, codecs)
    killed = reopen_copy(log)
    assert read_all(killed) == records
    records += fill(killed, Random(3), 3, codecs)
    without_power = reopen_copy(killed, boot_id="boot-2")
    assert read_all(without_power) == records
    for path in [*killed.directory.glob("*.index"), *killed.directory.glob("*.timeindex")]:
        path.unlink()
    rebuilt = reopen_copy(killed)
    assert read_all(rebuilt) == records
    latest = max(records, key=lambda record: record.timestamp_ms)
    assert rebuilt.offset_for_timestamp(latest.timestamp_ms) == (latest.offset, latest.timestamp_ms)
    assert verify(rebuilt.directory).problems == []


@every_codec
def test_damage_in_a_compressed_batch_is_found_and_named(tmp_path: Path, codec: Codec) -> None:
    log = open_log(tmp_path / "log", CONFIG)
    fill(log, Random(4), 3, (codec,))
    path = log.directory / "00000000000000000000.log"
    data = bytearray(path.read_bytes())
    batches = [batch for batch in iter_batches(bytes(log.read(0, 10**6).view)) if batch.header.record_count > 1]
    chosen = next(batch for batch in batches if batch.header.compression)
    data[chosen.position + chosen.header.size_bytes - 1] ^= 1
    path.write_bytes(data)
    (problem,) = verify(log.directory).problems
    assert problem.position == chosen.position
    assert problem.offset == chosen.header.base_offset
    again = open_log(log.directory, CONFIG)
    damaged = f"byte {chosen.position}, offset {chosen.header.base_offset}: the record batch does not match"
    with pytest.raises(CorruptLog, match=damaged):
        read_all(again)
