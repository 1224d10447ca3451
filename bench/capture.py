"""How many rows per second go from a binlog into the log?

One process reads a binlog file and brings its row changes to where a consumer could have them: event decoding, schema
history from the file's own DDL, transcoding to Avro, record batches, checksums, segments, position entries, catalog.
The peer decodes the same file with mysql-replication and encodes the same records with fastavro, into memory. After
the clock has stopped, the rows of both are decoded and must say the same.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from bench import material, orders
from bench.harness import Benchmark, Measure, Outcome, Parameters, Prepared, Side
from bench.material import Material
from bench.peers import mysql_replication
from bench.records import content_hash, record_values

_TOPIC: Final = "cn_hangzhou_rm_bench_dtstest_version2"


@contextlib.contextmanager
def _prepare(parameters: Parameters, folder: Path) -> Iterator[Prepared]:
    binlog = material.write_binlog(
        folder / "mysql-bin.000001", parameters["transactions"], parameters["rows_per_transaction"]
    )
    yield Prepared(
        Side("binwire", lambda: _run(binlog, folder / "data")), Side(mysql_replication.NAME, lambda: _run_peer(binlog))
    )


def _run(binlog: Material, data_directory: Path) -> Outcome:
    data_directory.mkdir()
    seconds = asyncio.run(_capture(binlog, data_directory))
    segments = sorted((data_directory / _TOPIC).glob("*.log"))
    values = (value for segment in segments for value in record_values(segment.read_bytes()))
    outcome = _outcome(binlog, seconds, values)
    shutil.rmtree(data_directory)
    return outcome


async def _capture(binlog: Material, data_directory: Path) -> float:
    """Capture the file into a fresh log; the seconds until its last record was visible."""
    from capture.channel import Channel, ChannelSpec, State
    from capture.file_source import FileSource
    from capture.source import SourceAddress
    from storage.catalog import Catalog, ChannelRow
    from storage.clock import SystemClock
    from storage.config import LogConfig
    from storage.segment_log import SegmentLog

    clock, catalog = SystemClock(), Catalog.open(data_directory / "catalog.db")
    log = SegmentLog.open(data_directory / _TOPIC, _TOPIC, LogConfig(), clock)
    log.start()
    address = SourceAddress.parse(f"file://{binlog.path}")
    spec = ChannelSpec("bench", _TOPIC, address, 0, (orders.DATABASE,), frozenset({"dml", "ddl"}), "earliest")
    catalog.put_channel(
        ChannelRow(spec.id, spec.id, _TOPIC, str(address), 0, None, "[]", 0, clock.now_ms(), "Not Started", None)
    )
    channel = Channel(spec, log, catalog, lambda: FileSource([binlog.path]), clock)
    ended = asyncio.Event()

    def note() -> None:
        if log.high_watermark >= binlog.records or channel.status().state is State.ERROR:
            ended.set()

    log.subscribe(note)
    channel.subscribe(note)
    start = time.perf_counter()
    await channel.start()
    await ended.wait()
    seconds = time.perf_counter() - start
    if log.high_watermark < binlog.records:
        raise RuntimeError(f"the channel stopped at offset {log.high_watermark}: {channel.status().reason}")
    await channel.stop()
    await log.close(orderly=True)
    catalog.close()
    return seconds


def _run_peer(binlog: Material) -> Outcome:
    start = time.perf_counter()
    values = mysql_replication.transcode(binlog.path, material.SERVER_VERSION)
    return _outcome(binlog, time.perf_counter() - start, values)


def _outcome(binlog: Material, seconds: float, values: Iterable[bytes]) -> Outcome:
    return Outcome({"rows": binlog.rows / seconds}, content_hash(values))


BENCHMARK = Benchmark(
    name="capture",
    question="How many row changes per second go from a binlog file into the log (one process)?",
    measures=(Measure("rows", "rows/s"),),
    smoke={"transactions": 5, "rows_per_transaction": 20},
    full={"transactions": 160, "rows_per_transaction": 250},
    prepare=_prepare,
)
