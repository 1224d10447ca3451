"""A backup made while the log moves: a server opens it, its records are the same, no offset gets a second meaning."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import stat
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from random import Random

import pytest

from storage import backup as backup_module
from storage.backup import back_up
from storage.catalog import Catalog, ChannelRow, GroupRow, OffsetRow, SchemaVersionRow
from storage.directory import DataDirectory
from storage.errors import StorageError, UnsupportedFormat
from storage.files import Files
from storage.inspection import inspect
from storage.log import LogReader
from storage.peek import End, find_end
from storage.prepared import PreparedStore
from storage.prepared_file import Place, prepared_paths
from storage.segment_log import SegmentLog
from storage.state import UNKNOWN_OFFSETS, read_state
from tests.storage.faults import FailingFiles
from tests.storage.samples import (
    TOPIC,
    Sample,
    append,
    append_random,
    fill,
    open_log,
    position,
    read_all,
    release_all,
    small,
)

CONFIG = small(segment_bytes=2000)
CHANNEL = ChannelRow("shop", "Shop", TOPIC, "mysql://h:3306", 7, '{"file": "b.000001"}', "[]", 0, 1, "running", None)


@pytest.fixture(autouse=True)
def released() -> Iterator[None]:
    yield
    release_all()


@pytest.fixture
def data(tmp_path: Path) -> Iterator[Path]:
    """A data directory in use: a channel, a group, and an empty log."""
    directory = DataDirectory.open(tmp_path / "data")
    catalog = Catalog.open(directory.catalog_path)
    catalog.put_channel(CHANNEL)
    catalog.put_group(GroupRow("dtsgroup01", "shop", "a", "dtstest", None))
    catalog.add_schema_versions([SchemaVersionRow("shop", 1, 4, "shop", "orders", "{}", None)])
    yield directory.path
    catalog.close()
    directory.close(orderly=False)


def log_in(data: Path, files: Files | None = None, **changes: object) -> SegmentLog:
    return open_log(data / "topics" / f"{TOPIC}-0", small(segment_bytes=2000, **changes), files=files)


def restored(target: Path) -> SegmentLog:
    """The log as a server of the same boot opens the copy."""
    DataDirectory.open(target).close(orderly=False)
    return log_in(target)


def contents(directory: Path) -> dict[str, bytes]:
    """All files but the one by which SQLite's readers and writers agree, which is not data."""
    files = [path for path in directory.rglob("*") if path.is_file() and path.name != "catalog.db-shm"]
    return {str(path.relative_to(directory)): path.read_bytes() for path in files}


def bytes_of(log: LogReader, end_offset: int) -> bytes:
    """The wire bytes of everything before an offset."""
    parts, offset = [], log.log_start_offset
    while offset < end_offset:
        with log.read(offset, 1) as part:
            parts.append(bytes(part.view))
        offset = _next_offset(parts[-1])
    return b"".join(parts)


def _next_offset(batch: bytes) -> int:
    return int.from_bytes(batch[:8], "big") + int.from_bytes(batch[23:27], "big") + 1


# ---- what the copy is ----


def test_a_copy_holds_every_record_at_its_offset_and_goes_on_far_above(data: Path, tmp_path: Path) -> None:
    log = log_in(data)
    fill(log, Random(1), 40)
    log.commit([position(41)])  # of a transaction without records
    append(log, b"of a transaction that goes on")
    before = contents(data)
    end_offset, served = log.high_watermark, log.reservation.reserved_offset
    found = back_up(data, tmp_path / "copy")
    assert contents(data) == before, "a backup changes nothing"
    assert found.problems == []
    assert found.logs[TOPIC].next_offset == end_offset
    copy = restored(tmp_path / "copy")
    assert bytes_of(copy, end_offset) == bytes_of(log, end_offset)
    assert copy.recovered == log.recovered
    assert copy.high_watermark == served + UNKNOWN_OFFSETS
    fill(copy, Random(2), 3, first_number=42)
    assert all(record.offset >= served + UNKNOWN_OFFSETS for record in read_all(copy, offset=end_offset))


def test_times_are_found_in_a_copy_as_in_the_original(data: Path, tmp_path: Path) -> None:
    log = log_in(data)
    records = fill(log, Random(3), 30)
    back_up(data, tmp_path / "copy")
    copy = restored(tmp_path / "copy")
    for record in records:
        assert copy.offset_for_timestamp(record.timestamp_ms) == log.offset_for_timestamp(record.timestamp_ms)


def test_a_consumer_that_is_ahead_of_the_copy_goes_on_with_what_comes_again(data: Path, tmp_path: Path) -> None:
    log = log_in(data)
    fill(log, Random(1), 10)
    back_up(data, tmp_path / "copy")
    fill(log, Random(2), 5, first_number=11)
    committed = log.high_watermark
    copy = restored(tmp_path / "copy")
    again = fill(copy, Random(2), 5, first_number=11)
    assert read_all(copy, offset=committed) == again


@pytest.mark.parametrize("orderly", [True, False])
async def test_a_data_directory_that_nobody_uses_is_copied_too(data: Path, tmp_path: Path, *, orderly: bool) -> None:
    log = log_in(data)
    fill(log, Random(1), 20)
    expected = read_all(log)
    await log.close(orderly=orderly)
    back_up(data, tmp_path / "copy")
    assert read_all(restored(tmp_path / "copy")) == expected


def test_a_transaction_over_many_segments_is_in_it_once_it_is_committed(data: Path, tmp_path: Path) -> None:
    log = log_in(data)
    fill(log, Random(1), 3)
    random = Random(2)
    for _ in range(40):
        append_random(log, random)
    back_up(data, tmp_path / "before")
    log.commit([position(4)])
    back_up(data, tmp_path / "behind")
    expected = read_all(log)
    assert read_all(restored(tmp_path / "behind")) == expected
    before = read_all(restored(tmp_path / "before"))
    assert before == expected[: len(before)]
    assert len(before) < len(expected) - 40


def test_what_was_left_out_by_a_loss_stays_left_out(data: Path, tmp_path: Path) -> None:
    fill(log_in(data), Random(1), 10)
    log = open_log(data / "topics" / f"{TOPIC}-0", CONFIG, boot_id="boot-2")
    fill(log, Random(2), 10, first_number=11)
    back_up(data, tmp_path / "copy")
    assert read_all(restored(tmp_path / "copy")) == read_all(log)


def test_a_topic_without_a_log_begins_above_what_the_original_may_serve_meanwhile(data: Path, tmp_path: Path) -> None:
    back_up(data, tmp_path / "copy")
    copy = restored(tmp_path / "copy")
    assert copy.high_watermark == UNKNOWN_OFFSETS
    log_in(data)
    back_up(data, tmp_path / "copy2")
    assert restored(tmp_path / "copy2").high_watermark == UNKNOWN_OFFSETS


def test_a_copy_of_a_copy_goes_on_above_both(data: Path, tmp_path: Path) -> None:
    log = log_in(data)
    fill(log, Random(1), 5)
    back_up(data, tmp_path / "copy")
    copy = restored(tmp_path / "copy")
    fill(copy, Random(2), 5, first_number=6)
    back_up(tmp_path / "copy", tmp_path / "again")
    again = restored(tmp_path / "again")
    assert again.high_watermark > copy.reservation.reserved_offset
    assert read_all(again) == read_all(copy)


def test_groups_offsets_and_definitions_are_those_of_the_end(data: Path, tmp_path: Path) -> None:
    log = log_in(data)
    fill(log, Random(1), 5)
    with closing(Catalog.open(data / "catalog.db")) as catalog:
        catalog.put_offsets([OffsetRow("dtsgroup01", TOPIC, 0, 3, "m", 5)])
    back_up(data, tmp_path / "copy")
    with closing(Catalog.open(tmp_path / "copy" / "catalog.db")) as copy:
        assert copy.channels() == [CHANNEL]
        assert [group.id for group in copy.groups()] == ["dtsgroup01"]
        assert copy.offsets() == [OffsetRow("dtsgroup01", TOPIC, 0, 3, "m", 5)]
        assert len(copy.schema_versions("shop")) == 1
    assert inspect(tmp_path / "copy").problems == []


def test_the_catalog_is_copied_while_somebody_writes_it(data: Path, tmp_path: Path) -> None:
    with closing(sqlite3.connect(data / "catalog.db", isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("DELETE FROM channels")
        back_up(data, tmp_path / "copy")
        writer.execute("ROLLBACK")
    with closing(Catalog.open(tmp_path / "copy" / "catalog.db")) as copy:
        assert copy.channels() == [CHANNEL]


def test_everything_in_it_is_private(data: Path, tmp_path: Path) -> None:
    fill(log_in(data), Random(1), 20)
    umask = os.umask(0)
    try:
        back_up(data, tmp_path / "copy")
    finally:
        os.umask(umask)
    for path in (tmp_path / "copy", *(tmp_path / "copy").rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path
    assert {path.name for path in (tmp_path / "copy").iterdir()} == {"catalog.db", "format", "topics"}


@pytest.mark.parametrize("number", [None, errno.EXDEV, errno.ENOSYS, errno.EOPNOTSUPP])
def test_where_the_system_does_not_copy_bytes_are_read_and_written(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int | None
) -> None:
    def refuse(*_: object) -> int:
        assert number is not None
        raise OSError(number, os.strerror(number))

    if number is None:
        monkeypatch.delattr(os, "copy_file_range")
    else:
        monkeypatch.setattr(os, "copy_file_range", refuse)
    log = log_in(data)
    fill(log, Random(1), 20)
    back_up(data, tmp_path / "copy")
    assert read_all(restored(tmp_path / "copy")) == read_all(log)


# ---- what happens to the original meanwhile ----


class MeddlingFiles(Files):
    """Calls `meddle` with the number of the copy that comes next."""

    def __init__(self, meddle: Callable[[int], None]) -> None:
        self._meddle = meddle
        self._count = 0

    def copy(self, source: int, target: int, size: int) -> int:
        self._meddle(self._count)
        self._count += 1
        return super().copy(source, target, size)


@pytest.mark.parametrize("moment", [0, 1, 3, 4, 9, 17])
def test_what_retention_takes_meanwhile_is_not_in_it(data: Path, tmp_path: Path, moment: int) -> None:
    log = log_in(data)
    fill(log, Random(1), 40)

    def retire(number: int) -> None:
        if number == moment:
            for stem in sorted({path.stem for path in log.directory.glob("*.log")})[:4]:
                for path in log.directory.glob(f"{stem}.*"):
                    path.unlink()

    expected = read_all(log)
    found = back_up(data, tmp_path / "copy", MeddlingFiles(retire))
    assert found.problems == []
    copied = read_all(restored(tmp_path / "copy"))
    assert copied == expected[-len(copied) :]
    assert inspect(tmp_path / "copy").problems == []


def test_what_is_appended_rolled_and_rolled_back_meanwhile_does_not_disturb_it(data: Path, tmp_path: Path) -> None:
    log = log_in(data)
    expected = fill(log, Random(1), 20)
    random = Random(2)

    def go_on(number: int) -> None:
        append_random(log, random)
        if number % 3 == 0:
            log.rollback()
        else:
            fill(log, random, 2, first_number=100 + 2 * number)

    back_up(data, tmp_path / "copy", MeddlingFiles(go_on))
    assert read_all(restored(tmp_path / "copy")) == expected


def test_an_xa_transaction_that_is_prepared_before_the_end_and_done_behind_it_is_in_it(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = log_in(data)
    fill(log, Random(1), 5)
    store = PreparedStore(log.directory, TOPIC)

    def prepare_first(files: Files, source: Path, bases: list[int]) -> End | None:
        if not store.xids:
            store.prepare(store.begin(b"x"), Place("s", 1, 100), 0)
            store.sync()
        return find_end(files, source, bases)

    def finish(number: int) -> None:
        if number == 0:
            store.finish(b"x", Place("s", 1, 200), 0)
            store.sync()
            store.delete_ended(1)

    monkeypatch.setattr(backup_module, "find_end", prepare_first)
    back_up(data, tmp_path / "copy", MeddlingFiles(finish))
    assert not prepared_paths(Files(), log.directory)
    assert len(prepared_paths(Files(), tmp_path / "copy" / "topics" / f"{TOPIC}-0")) == 1


@pytest.mark.parametrize("moment", range(0, 20, 3))
@pytest.mark.parametrize("goes_on", [False, True])
def test_what_a_failed_flush_takes_back_meanwhile_is_not_in_it(
    data: Path, tmp_path: Path, moment: int, *, goes_on: bool
) -> None:
    """Our own flush succeeded; that of the server, on the same files, did not. It may append again before we notice."""
    failing = FailingFiles()
    log = log_in(data, failing)
    kept = fill(log, Random(1), 5)
    log.flush()
    taken_back = fill(log, Random(2), 10, first_number=6)
    again: list[Sample] = []

    def fail(number: int) -> None:
        if number == moment:
            failing.failing = {"sync"}
            log.flush()
            failing.failing = set()
            log.rollback()
            if goes_on:
                again.extend(fill(log, Random(2), 10, first_number=6))

    back_up(data, tmp_path / "copy", MeddlingFiles(fail))
    copied = read_all(restored(tmp_path / "copy"))
    assert read_all(log) == kept + again
    assert copied == (kept + again)[: len(copied)]
    assert len(copied) >= len(kept)
    assert not set(taken_back) & set(copied)


def test_a_log_whose_end_never_stays_is_given_up_with_a_sentence(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(log_in(data), Random(1), 5)

    def move(*_: object) -> None:
        raise backup_module._Moved

    monkeypatch.setattr(backup_module._LogCopy, "_copy", move)
    with pytest.raises(StorageError, match="was taken back 5 times while it was copied"):
        back_up(data, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


class UnflushedFiles(Files):
    """Files that cannot be flushed where they are only read."""

    def __init__(self) -> None:
        self._readers: set[int] = set()

    def open(self, path: Path, *, create: bool = False, write: bool = True) -> int:
        descriptor = super().open(path, create=create, write=write)
        self._readers.discard(descriptor)
        if not write:
            self._readers.add(descriptor)
        return descriptor

    def sync(self, descriptor: int) -> None:
        if descriptor in self._readers:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        super().sync(descriptor)


def test_what_cannot_be_flushed_is_left_out_as_far_as_it_is_not_known_to_be_durable(data: Path, tmp_path: Path) -> None:
    log = log_in(data)
    kept = fill(log, Random(1), 5)
    log.flush()
    fill(log, Random(2), 3, first_number=6)
    back_up(data, tmp_path / "copy", UnflushedFiles())
    assert read_all(restored(tmp_path / "copy")) == kept


# ---- damage and refusals ----


def test_damage_is_copied_and_told(data: Path, tmp_path: Path) -> None:
    log = log_in(data)
    fill(log, Random(1), 20)
    path = sorted(log.directory.glob("*.log"))[1]
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)
    [problem] = back_up(data, tmp_path / "copy").problems
    assert problem.path == path
    assert problem.offset == int(path.stem)
    assert inspect(tmp_path / "copy").problems[0].offset == problem.offset


def test_a_file_that_is_missing_in_the_original_is_told(data: Path, tmp_path: Path) -> None:
    log = log_in(data)
    fill(log, Random(1), 20)
    index, path = min(log.directory.glob("*.index")), sorted(log.directory.glob("*.log"))[1]
    index.unlink()
    path.unlink()
    assert {problem.path for problem in back_up(data, tmp_path / "copy").problems} == {index.with_suffix(".log"), path}


@pytest.mark.parametrize("call", ["create", "write", "sync", "rename"])
def test_a_copy_that_cannot_be_written_leaves_nothing(data: Path, tmp_path: Path, call: str) -> None:
    class RefusingFiles(FailingFiles):
        """Fails in the copy alone."""

        def open(self, path: Path, *, create: bool = False, write: bool = True) -> int:
            return super().open(path, create=create, write=write)

        def sync(self, descriptor: int) -> None:
            if tmp_path / "copy.partial" in self.open_paths.get(descriptor, Path()).parents:
                super().sync(descriptor)

        def copy(self, source: int, target: int, size: int) -> int:
            self._fail("write")
            return super().copy(source, target, size)

    fill(log_in(data), Random(1), 5)
    files = RefusingFiles()
    files.failing = {call}
    with pytest.raises(StorageError, match=rf"the backup {tmp_path}/copy could not be made \(No space left on device"):
        back_up(data, tmp_path / "copy", files)
    assert [path.name for path in tmp_path.iterdir()] == ["data"]
    back_up(data, tmp_path / "copy")


def test_too_little_space_is_said_before_anything_is_written(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(log_in(data), Random(1), 5)
    real = os.statvfs(tmp_path)
    monkeypatch.setattr(os, "statvfs", lambda path: os.statvfs_result((*real[:4], 1, *real[5:])))
    with pytest.raises(StorageError, match=rf"the backup needs \S+ KiB and {tmp_path} has 4.0 KiB free"):
        back_up(data, tmp_path / "copy")
    assert not (tmp_path / "copy.partial").exists()


def test_places_that_are_refused(data: Path, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    (tmp_path / "link").symlink_to(data)
    (tmp_path / "cut.partial").mkdir()
    for target, sentence in (
        (tmp_path / "full", "is there and is not an empty directory"),
        (tmp_path / "full" / "x", "is there and is not an empty directory"),
        (data / "copy", "would lie in the data directory"),
        (tmp_path / "link" / "copy", "would lie in the data directory"),
        (data, "would lie in the data directory"),
        (tmp_path, "or around it"),
        (tmp_path / "nowhere" / "copy", "make it first"),
        (tmp_path / "cut", "delete it in the second case"),
    ):
        with pytest.raises(StorageError, match=sentence):
            back_up(data, target)
    with pytest.raises(UnsupportedFormat, match="is not a data directory"):
        back_up(tmp_path / "full", tmp_path / "copy")
    with pytest.raises(StorageError, match="No such file or directory"):
        back_up(tmp_path / "nothing", tmp_path / "copy")


def test_an_empty_directory_is_taken(data: Path, tmp_path: Path) -> None:
    (tmp_path / "copy").mkdir(mode=0o755)
    back_up(data, tmp_path / "copy")
    assert stat.S_IMODE((tmp_path / "copy").stat().st_mode) == 0o700


def test_one_that_is_interrupted_leaves_nothing(data: Path, tmp_path: Path) -> None:
    fill(log_in(data), Random(1), 5)

    def interrupt(number: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        back_up(data, tmp_path / "copy", MeddlingFiles(interrupt))
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_half_a_copy_is_never_taken_for_one(data: Path, tmp_path: Path) -> None:
    """Whatever moment a kill hits: what is there by then has no name that was asked for, and no server opens it."""
    fill(log_in(data), Random(1), 5)
    partial = tmp_path / "copy.partial"
    seen = []

    def look(number: int) -> None:
        assert not (tmp_path / "copy").exists()
        cut = tmp_path / f"cut-{number}"
        shutil.copytree(partial, cut)
        with pytest.raises(UnsupportedFormat):
            DataDirectory.open(cut)
        seen.append(number)

    back_up(data, tmp_path / "copy", MeddlingFiles(look))
    assert len(seen) > 3


def test_a_reservation_that_cannot_be_read_is_passed_over_twice(data: Path, tmp_path: Path) -> None:
    log = log_in(data)
    fill(log, Random(1), 5)
    (log.directory / "state").write_bytes(b"nonsense")
    back_up(data, tmp_path / "copy")
    state = read_state(Files(), tmp_path / "copy" / "topics" / f"{TOPIC}-0")
    assert state is not None
    assert state.reserved_offset == log.high_watermark + 2 * UNKNOWN_OFFSETS


def test_a_catalog_that_cannot_be_read_is_copied_as_it_is_and_told(data: Path, tmp_path: Path) -> None:
    fill(log_in(data), Random(1), 5)
    catalog = data / "catalog.db"
    garbage = b"no database at all" * 300
    catalog.write_bytes(garbage)
    for beside in ("-wal", "-shm"):
        catalog.with_name(catalog.name + beside).unlink(missing_ok=True)
    made = back_up(data, tmp_path / "copy")
    assert len(made.catalog) == 1
    assert "salvage" in str(made.catalog[0])
    assert (tmp_path / "copy" / "catalog.db").read_bytes() == garbage
    assert [log.problems for log in inspect(tmp_path / "copy").logs.values()] == [[]]


def test_the_log_of_changes_is_in_it(data: Path, tmp_path: Path) -> None:
    written = {"audit.1.jsonl": b'{"id": 1}\n', "audit.jsonl": b'{"id": 2}\n{"id": 3}\n'}
    for name, lines in written.items():
        (data / name).write_bytes(lines)
    back_up(data, tmp_path / "copy")
    assert {file.name: file.read_bytes() for file in (tmp_path / "copy").glob("audit*")} == written
    assert {stat.S_IMODE(file.stat().st_mode) for file in (tmp_path / "copy").glob("audit*")} == {0o600}
