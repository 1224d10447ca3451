"""Write a golden data directory: one of each format that Binwire ever wrote, which every later version must open.

    python -m tests.tools.golden_data FOLDER

writes FOLDER/orderly and FOLDER/killed, two data directories as one ended in order and one that was killed leave them,
and FOLDER/manifest.json, what a reader of them must find. `tests/golden/data-format-<version>` was written so, once,
by the version that had the format; it is never written again. When the format changes, the first thing is to see that
the folder of the version before is there.

Both hold two topics. `shop` is uncompressed, so that the same program writes the same bytes everywhere; `mixed` has
batches of every codec. Each has several segments, transactions over more than one, a rolled-back tail, times that go
back, GTIDs of two sources, and a gap where a loss of power was got over.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any, Final

from msgspec.structs import asdict

from capture.position import SourceSnapshot, mysql_key
from storage.catalog import VERSION as CATALOG_VERSION
from storage.catalog import Catalog, ChannelRow, GroupRow, OffsetRow, SchemaVersionRow
from storage.compression import CODECS, Codec
from storage.config import LogConfig
from storage.directory import FORMAT_VERSION, DataDirectory
from storage.encoding import encode_batch
from storage.log import GtidInterval, LogReader, RecoveredSource, SourcePosition
from storage.records import iter_batches, iter_records
from storage.segment_log import SegmentLog
from tests.fakes import ManualClock

CONFIG: Final = LogConfig(
    segment_bytes=2500, segment_ms=10**12, index_interval_bytes=400, retention_ms=None, reserve_offsets=1000
)
TOPICS: Final[dict[str, tuple[Codec, ...]]] = {"shop": CODECS[:1], "mixed": CODECS}
ENDS: Final = ("orderly", "killed")
LAST_BOOT: Final = "boot-2"
"""The boot that the killed run belonged to: opened as of the same, nothing is missing."""
_FIRST_TIME_MS: Final = 1_700_000_000_000
_SOURCES: Final = (bytes(range(16)), bytes(range(16, 32)))
_SNAPSHOT: Final = SourceSnapshot(
    "mysql", "00010203-0405-0607-0809-0a0b0c0d0e0f", 7, "binlog", "00010203-0405-0607-0809-0a0b0c0d0e0f:1-1000"
).to_bytes()


def write(folder: Path) -> None:
    """Write both directories and the manifest."""
    manifest = {
        "format": FORMAT_VERSION,
        "catalog": CATALOG_VERSION,
        "boot": LAST_BOOT,
        **{end: _write_directory(folder, end) for end in ENDS},
    }
    (folder / "manifest.json").write_text(_one_line_each(manifest), "utf-8")


def open_topic(directory: DataDirectory, topic: str, boot: str) -> SegmentLog:
    """The log of a topic, ready to be appended to."""
    log = SegmentLog.open(directory.topic_path(topic), topic, CONFIG, ManualClock(), boot_id=boot)
    log.attach(lambda: _SNAPSHOT)
    return log


def append_transactions(log: SegmentLog, random: Random, codecs: tuple[Codec, ...], first: int, count: int) -> None:
    """Transactions `first` to `first + count - 1`; every other of another source, one of ten over two segments."""
    for number in range(first, first + count):
        for _ in range(12 if number % 10 == 0 else random.randrange(1, 4)):
            _append_batch(log, random, random.choice(codecs))
        source = _SOURCES[number % 2]
        key = mysql_key(source, "tag" if number % 9 == 0 else "")
        log.commit([SourcePosition(1 + number // 20, 1000 + number * 100, GtidInterval(key, number, number))])


def what_is_read(log: LogReader, recovered: RecoveredSource | None) -> dict[str, Any]:
    """What a manifest says of a log: enough to find a record that differs, little enough to be kept."""
    records = list(_records(log))
    asked = [records[index][1] + ahead for index in range(0, len(records), 13) for ahead in (-1, 0, 1)]
    assert recovered is not None
    return {
        "log_start_offset": log.log_start_offset,
        "high_watermark": log.high_watermark,
        "records": [[offset, timestamp_ms, _digest(value)[:8]] for offset, timestamp_ms, value in records],
        "times": [[timestamp_ms, log.offset_for_timestamp(timestamp_ms)] for timestamp_ms in asked],
        "recovered": [
            recovered.file_number,
            recovered.position,
            recovered.snapshot.decode(),
            [[interval.key.hex(), interval.first, interval.last] for interval in recovered.intervals],
            recovered.timestamp_ms,
        ],
    }


def what_is_kept(catalog: Catalog) -> dict[str, Any]:
    """The rows of a catalog."""
    return {
        "channels": [asdict(row) for row in catalog.channels()],
        "groups": [asdict(row) for row in catalog.groups()],
        "offsets": [asdict(row) for row in catalog.offsets()],
        "schema_versions": [asdict(row) for row in catalog.schema_versions("shop")],
        "setting": catalog.setting("golden"),
    }


def _write_directory(folder: Path, end: str) -> dict[str, Any]:
    work = folder / f"{end}.work"
    directory = DataDirectory.open(work, boot=LAST_BOOT)
    catalog = Catalog.open(directory.catalog_path)
    logs = {topic: _fill(directory, topic, codecs) for topic, codecs in TOPICS.items()}
    _fill_catalog(catalog, logs)
    found = {
        "logs": {topic: what_is_read(log, log.recovered) for topic, log in logs.items()},
        "catalog": what_is_kept(catalog),
    }
    if end == "orderly":
        for log in logs.values():
            asyncio.run(log.close())
        catalog.close()
        directory.close(orderly=True)
        work.rename(folder / end)
    else:
        for log in logs.values():
            _append_batch(log, Random(9), CODECS[0])
        # As it lies there at this moment; SQLite's shared memory is made anew by whoever opens the catalog.
        shutil.copytree(work, folder / end, ignore=shutil.ignore_patterns("*-shm"))
        for log in logs.values():
            log.release()
        catalog.close()
        directory.close(orderly=False)
        shutil.rmtree(work)
    found["unchanged"] = dict(sorted(_closed_files(folder / end)))
    return found


def _fill(directory: DataDirectory, topic: str, codecs: tuple[Codec, ...]) -> SegmentLog:
    random = Random(topic)
    log = open_topic(directory, topic, "boot-1")
    append_transactions(log, random, codecs, 1, 6)
    log.flush()
    append_transactions(log, random, codecs, 7, 3)
    log.release()
    log = open_topic(directory, topic, LAST_BOOT)  # not orderly, another boot: a gap
    append_transactions(log, random, codecs, 10, 11)
    for _ in range(10):
        _append_batch(log, random, random.choice(codecs))
    log.rollback()
    append_transactions(log, random, codecs, 21, 5)
    return log


def _append_batch(log: SegmentLog, random: Random, codec: Codec) -> None:
    first, count = log.end_offset, random.randrange(1, 6)
    around_ms = _FIRST_TIME_MS + (first % 1000) * 1000
    times = [around_ms + random.randrange(-30_000, 30_000) for _ in range(count)]
    values = [b"a row of a shop, " * random.randrange(9) + b"%d" % (first + index) for index in range(count)]
    log.append(encode_batch(first, values, times, codec))


def _fill_catalog(catalog: Catalog, logs: dict[str, SegmentLog]) -> None:
    for number, topic in enumerate(logs):
        start = '{"file": "binlog.000001", "position": 4}'
        row = ChannelRow(
            topic, f"通道 {topic}", topic, "mysql://h:3306", 70 + number, start, '["shop"]', 5, number, "x", None
        )
        catalog.put_channel(row)
    catalog.put_group(GroupRow("dtsgolden01", "shop", "analytics", "dtstest", "scram$not-a-password"))
    catalog.put_group(GroupRow("dtsgolden02", "mixed", "搜索", "dtstest", None))
    committed = logs["shop"].high_watermark - 3
    catalog.put_offsets([OffsetRow("dtsgolden01", "shop", 0, committed, "1700000000", 1_700_000_000_000)])
    catalog.put_offsets([OffsetRow("dtsgolden02", "mixed", 0, 5, "", 1_700_000_000_001)])
    catalog.add_schema_versions(
        [
            SchemaVersionRow("shop", 1, 4, "shop", "orders", '{"columns": []}', None),
            SchemaVersionRow("shop", 1, 1900, "shop", "orders", '{"columns": [1]}', "ALTER TABLE orders ADD c INT"),
            SchemaVersionRow("shop", 2, 900, "shop", "orders", None, "DROP TABLE orders"),
        ]
    )
    catalog.set_setting("golden", "kept")


def _one_line_each(manifest: dict[str, Any], indent: str = "") -> str:
    """JSON with one line for each name, down to what is no object."""
    lines = []
    for name, value in manifest.items():
        nested = isinstance(value, dict) and any(isinstance(part, dict) for part in value.values())
        text = _one_line_each(value, indent + " ") if nested else json.dumps(value, separators=(",", ":"))
        lines.append(f'{indent} "{name}": {text.strip()}')
    return "{\n" + ",\n".join(lines) + f"\n{indent}}}\n"


def _records(log: LogReader) -> Iterator[tuple[int, int, bytes]]:
    offset = log.log_start_offset
    while offset < log.high_watermark:
        with log.read(offset, 1 << 20) as part:
            data = bytes(part.view)
        if not data:
            return
        for batch in iter_batches(data):
            offset = batch.header.next_offset
            yield from ((record.offset, record.timestamp_ms, record.value or b"") for record in iter_records(batch))


def _closed_files(directory: Path) -> Iterator[tuple[str, str]]:
    """The files that nobody writes any more, with their digests."""
    for topic in TOPICS:
        *closed, _ = sorted((directory / "topics" / f"{topic}-0").glob("*.log"))
        for log in closed:
            for path in log.parent.glob(f"{log.stem}.*"):
                yield str(path.relative_to(directory)), _digest(path.read_bytes())
    yield "format", _digest((directory / "format").read_bytes())


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def main() -> int:
    """Write and say where."""
    [name] = sys.argv[1:] or [f"tests/golden/data-format-{FORMAT_VERSION}"]
    folder = Path(name)
    folder.mkdir(parents=True)
    write(folder)
    print(f"wrote {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
