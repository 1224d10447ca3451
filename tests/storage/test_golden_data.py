"""Data directories of every format ever written open unchanged and go on; what is newer is refused untouched."""

from __future__ import annotations

import hashlib
import json
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from random import Random
from typing import Any

import pytest

from storage.backup import back_up
from storage.catalog import Catalog
from storage.checksum import crc32c
from storage.compression import CODECS
from storage.directory import FORMAT_VERSION, DataDirectory
from storage.errors import UnsupportedFormat
from storage.files import Files
from storage.inspection import inspect
from storage.positions import ENTRY_BYTES, PositionFile
from storage.positions import MAGIC as POSITIONS_MAGIC
from storage.records import read_header
from storage.segment_log import SegmentLog
from tests.tools import golden_data

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
FORMATS = sorted(int(path.name.rpartition("-")[2]) for path in GOLDEN.glob("data-format-*"))
every_directory = pytest.mark.parametrize(
    ("version", "end"), [(version, end) for version in FORMATS for end in golden_data.ENDS]
)


def manifest(version: int) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((GOLDEN / f"data-format-{version}" / "manifest.json").read_text("utf-8"))
    return content


def copied(version: int, end: str, folder: Path) -> Path:
    return Path(shutil.copytree(GOLDEN / f"data-format-{version}" / end, folder / "data"))


def contents(directory: Path) -> dict[str, bytes]:
    return {str(p.relative_to(directory)): p.read_bytes() for p in directory.rglob("*") if p.is_file()}


@contextmanager
def opened(data: Path, boot: str) -> Iterator[tuple[Catalog, dict[str, SegmentLog]]]:
    """Everything in a data directory, as a server opens it, closed as the end of the process would."""
    with ExitStack() as stack:
        directory = DataDirectory.open(data, boot=boot)
        stack.callback(directory.close, orderly=False)
        catalog = stack.enter_context(closing(Catalog.open(directory.catalog_path)))
        logs = {}
        for topic in golden_data.TOPICS:
            logs[topic] = golden_data.open_topic(directory, topic, boot)
            stack.callback(logs[topic].release)
        yield catalog, logs


def as_json(value: object) -> Any:
    return json.loads(json.dumps(value))


def test_there_is_a_golden_directory_of_every_format() -> None:
    """Raising FORMAT_VERSION begins with keeping one of the format before: `python -m tests.tools.golden_data`."""
    assert list(range(1, FORMAT_VERSION + 1)) == FORMATS
    assert [manifest(version)["format"] for version in FORMATS] == FORMATS


@every_directory
def test_it_opens_with_everything_that_was_in_it(version: int, end: str, tmp_path: Path) -> None:
    expected = manifest(version)
    data = copied(version, end, tmp_path)
    with opened(data, expected["boot"]) as (catalog, logs):
        assert golden_data.what_is_kept(catalog) == expected[end]["catalog"]
        for topic, log in logs.items():
            assert as_json(golden_data.what_is_read(log, log.recovered)) == expected[end]["logs"][topic]
            assert log.notes == ()
    for name, digest in expected[end]["unchanged"].items():
        assert hashlib.sha256((data / name).read_bytes()).hexdigest() == digest, name


@every_directory
def test_it_goes_on(version: int, end: str, tmp_path: Path) -> None:
    expected = manifest(version)
    data = copied(version, end, tmp_path)
    with opened(data, expected["boot"]) as (_, logs):
        for topic, log in logs.items():
            golden_data.append_transactions(log, Random(1), CODECS, 100, 10)
            assert log.high_watermark > expected[end]["logs"][topic]["high_watermark"]
    with opened(data, expected["boot"]) as (_, logs):
        for topic, log in logs.items():
            found = as_json(golden_data.what_is_read(log, log.recovered))
            before = expected[end]["logs"][topic]["records"]
            assert found["records"][: len(before)] == before
            assert len(found["records"]) > len(before)
    assert inspect(data).problems == []


@every_directory
def test_after_a_loss_of_power_what_was_flushed_is_there(version: int, end: str, tmp_path: Path) -> None:
    expected = manifest(version)
    with opened(copied(version, end, tmp_path), "boot-3") as (_, logs):
        for topic, log in logs.items():
            known = expected[end]["logs"][topic]
            assert as_json(golden_data.what_is_read(log, log.recovered))["records"] == known["records"]
            assert log.high_watermark > known["high_watermark"] or end == "orderly"


@every_directory
def test_it_is_whole_and_so_is_a_backup_of_it(version: int, end: str, tmp_path: Path) -> None:
    expected = manifest(version)
    data = copied(version, end, tmp_path)
    assert inspect(data).problems == []
    assert back_up(data, tmp_path / "copy").problems == []
    with opened(tmp_path / "copy", expected["boot"]) as (catalog, logs):
        assert golden_data.what_is_kept(catalog) == expected[end]["catalog"]
        for topic, log in logs.items():
            records = as_json(golden_data.what_is_read(log, log.recovered))["records"]
            assert records == expected[end]["logs"][topic]["records"]


@every_directory
def test_it_has_what_it_is_for(version: int, end: str) -> None:
    """Several segments, every codec, a gap, two sources, a tagged GTID, definitions, offsets."""
    known = manifest(version)[end]
    for topic in golden_data.TOPICS:
        offsets = [offset for offset, _, _ in known["logs"][topic]["records"]]
        assert len(offsets) < offsets[-1] - offsets[0], "no gap"
        times = [timestamp_ms for _, timestamp_ms, _ in known["logs"][topic]["records"]]
        assert times != sorted(times)
        folder = GOLDEN / f"data-format-{version}" / end / "topics" / f"{topic}-0"
        assert len({key[:16] for path in folder.glob("*.source") for key in _gtid_keys(path)}) == 2
    folder = GOLDEN / f"data-format-{version}" / end / "topics" / "mixed-0"
    logs = [path.read_bytes() for path in folder.glob("*.log")]
    assert {codec for log in logs for codec in _codecs(log)} == {codec.number for codec in CODECS}
    assert len(logs) > 4
    assert known["catalog"]["offsets"]
    assert known["catalog"]["schema_versions"]


def _gtid_keys(path: Path) -> Iterator[bytes]:
    with closing(PositionFile.open(Files(), path, write=False)) as file:
        for _, entry in file.entries_forwards(0, file.count):
            assert entry is not None
            if entry.interval is not None:
                yield entry.interval.key


def _codecs(log: bytes) -> Iterator[int]:
    position = 0
    while position < len(log) and any(log[position : position + 61]):
        header = read_header(log, position)
        yield header.compression
        position += header.size_bytes


def test_the_same_run_writes_the_same_bytes_today(tmp_path: Path) -> None:
    """A change of what is written is a change of the format, also where it can still be read."""
    golden_data.write(tmp_path)
    golden = GOLDEN / f"data-format-{FORMAT_VERSION}"
    for end in golden_data.ENDS:
        topic = Path(end) / "topics" / "shop-0"
        written, kept = contents(tmp_path / topic), contents(golden / topic)
        assert written.keys() == kept.keys()
        for name, data in kept.items():
            # Behind what is in it the file that was being written is as long as the system cared to make it.
            assert _without_flushes(written[name]) == _without_flushes(data), f"{end}: {name}"


def _without_flushes(data: bytes) -> bytes:
    """A file without what it says of how far the log was flushed, and when that is is no matter of the format."""
    if not data.startswith(POSITIONS_MAGIC):
        return data.rstrip(b"\0")
    start = int.from_bytes(data[10:14], "big")
    entries = range(start, len(data) - ENTRY_BYTES + 1, ENTRY_BYTES)
    return data[:start] + b"".join(data[at : at + 48] + data[at + 56 : at + ENTRY_BYTES - 4] for at in entries)


# ---- what a later version wrote ----


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return copied(FORMAT_VERSION, "killed", tmp_path)


def refused(data: Path, sentence: str) -> None:
    """Opened, verified and backed up is nothing of it, and nothing is touched."""
    before = contents(data / "topics")
    with pytest.raises(UnsupportedFormat, match=sentence), opened(data, golden_data.LAST_BOOT):
        pass
    with pytest.raises(UnsupportedFormat, match=sentence):
        inspect(data)
    with pytest.raises(UnsupportedFormat, match=sentence):
        back_up(data, data.parent / "copy")
    assert contents(data / "topics") == before
    assert not (data.parent / "copy").exists()


def test_a_later_format_is_refused(data: Path) -> None:
    (data / "format").write_text(f"{FORMAT_VERSION + 1}\n")
    refused(data, rf"has format '{FORMAT_VERSION + 1}' and this version of Binwire reads format {FORMAT_VERSION}; use")


def test_positions_of_a_later_version_are_refused_and_not_set_aside(data: Path) -> None:
    path = max((data / "topics" / "shop-0").glob("*.source"))
    content = bytearray(path.read_bytes())
    header_bytes = int.from_bytes(content[10:14], "big")
    content[8:10] = (2).to_bytes(2, "big")
    content[38:42] = crc32c(bytes(content[42:header_bytes]), crc32c(bytes(content[:38]))).to_bytes(4, "big")
    path.write_bytes(content)
    refused(data, "is a position file of version 2 and this version of Binwire reads version 1; use the version that")


def test_a_state_of_a_later_version_is_refused(data: Path) -> None:
    path = data / "topics" / "shop-0" / "state"
    content = b"BWSTATE2" + path.read_bytes()[8:-4] + b"and more of it"
    path.write_bytes(content + crc32c(content).to_bytes(4, "big"))
    refused(data, "state is of version 2 and this version of Binwire reads version 1; use the version that wrote it")


def test_a_catalog_of_a_later_version_is_refused(data: Path) -> None:
    with closing(sqlite3.connect(data / "catalog.db")) as connection:
        connection.execute("PRAGMA user_version = 99")
    refused(data, "has version 99 and this version of Binwire reads up to")


@pytest.mark.parametrize(("name", "byte"), [("*.source", 9), ("state", 7)])
def test_a_version_that_is_damaged_is_damage_and_no_later_version(data: Path, name: str, byte: int) -> None:
    path = max((data / "topics" / "shop-0").glob(name))
    content = bytearray(path.read_bytes())
    content[byte] ^= 2
    path.write_bytes(content)
    assert [problem.path for problem in inspect(data, boot=golden_data.LAST_BOOT).problems] == [path]
    with opened(data, golden_data.LAST_BOOT) as (_, logs):
        assert logs["shop"].high_watermark > manifest(FORMAT_VERSION)["killed"]["logs"]["shop"]["high_watermark"]
