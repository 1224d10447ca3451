"""A log's source position read beside its writer: the same that the log itself resumes from, and nothing changes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from msgspec.structs import replace

from storage.errors import StorageError
from storage.peek import last_source
from storage.segment_log import SegmentLog
from tests.storage.samples import append, fill, open_log, position, release_all


@pytest.fixture(autouse=True)
def released() -> Iterator[None]:
    yield
    release_all()


def assert_same_source(log: SegmentLog) -> None:
    expected, found = log.recovered, last_source(log.directory)
    assert expected is not None
    assert found is not None
    assert replace(found, timestamp_ms=0) == replace(expected, timestamp_ms=0)


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def test_no_log_and_an_empty_log_have_none(tmp_path: Path) -> None:
    assert last_source(tmp_path / "nothing") is None
    assert last_source(open_log(tmp_path / "log").directory) is None


def test_every_commit_is_seen_at_once(tmp_path: Path) -> None:
    """Over several segments; an open transaction is not counted."""
    log, random = open_log(tmp_path / "log"), Random(5)
    for number in range(1, 60):
        fill(log, random, 1, number)
        assert_same_source(log)
    append(log, b"a row of a transaction that goes on")
    before = contents(log.directory)
    assert len(before) > 8
    assert_same_source(log)
    assert contents(log.directory) == before


def test_a_torn_last_entry_is_passed_over(tmp_path: Path) -> None:
    log = open_log(tmp_path / "log")
    append(log, b"one")
    log.commit([position(1)])
    first = last_source(log.directory)
    append(log, b"two")
    log.commit([position(2)])
    [path] = log.directory.glob("*.source")
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    assert last_source(log.directory) == first


def test_a_segment_without_a_whole_header_is_passed_over(tmp_path: Path) -> None:
    log = open_log(tmp_path / "log")
    append(log, b"one")
    log.commit([position(1)])
    (log.directory / f"{9:020}.source").write_bytes(b"BWSO")
    assert_same_source(log)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_log_that_may_not_be_read(tmp_path: Path) -> None:
    log = open_log(tmp_path / "log")
    append(log, b"one")
    log.commit([position(1)])
    [path] = log.directory.glob("*.source")
    path.chmod(0)
    with pytest.raises(StorageError, match="cannot be read"):
        last_source(log.directory)
