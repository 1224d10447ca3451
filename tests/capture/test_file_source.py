"""Binlog files as a source: what a server would send of them; files in a row, files that grow, files cut short."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import pytest

from capture import file_source
from capture.binlog_files import binlog_names, find_files
from capture.encode import EventEncoder
from capture.errors import MalformedEvent, SourceRefused, SourceUnavailable, UnsupportedEvent
from capture.events import (
    BINLOG_MAGIC,
    Checksum,
    EventDecoder,
    EventType,
    RotateEvent,
    decode_header,
    iter_events,
)
from capture.file_source import FOLLOW_POLL_MS, BinlogFileReader, FileSource
from capture.position import BinlogPosition
from capture.source import Flavour, SourceAddress, open_source
from storage.clock import SystemClock
from tests.capture.world import WAIT_S, World, running, settle
from tests.fakes import ManualClock, ManualScheduler

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

TIME = 1_700_000_000


def statements(encoder: EventEncoder, *numbers: int) -> bytes:
    return b"".join(
        encoder.query(TIME + number, f"CREATE TABLE t{number} (a INT)", database="d", thread_id=1) for number in numbers
    )


def write_file(path: Path, *numbers: int, rotate_to: str | None = None) -> bytes:
    encoder = EventEncoder()
    data = BINLOG_MAGIC + encoder.format_description(TIME) + statements(encoder, *numbers)
    if rotate_to is not None:
        data += encoder.rotate(TIME, rotate_to)
    path.write_bytes(data)
    return data


async def read_all(source: FileSource) -> list[bytes]:
    events: list[bytes] = []
    async with asyncio.timeout(WAIT_S):
        while piece := await source.read():
            events += piece
    return events


def rotates(events: Sequence[bytes], checksum: Checksum = Checksum.NONE) -> list[tuple[str, int]]:
    """`checksum`: that of the stream before these events."""
    decoder = EventDecoder(checksum)
    decoded = [decoder.decode(raw)[1] for raw in events]
    return [(event.file, event.position) for event in decoded if isinstance(event, RotateEvent)]


def bodies(data: bytes) -> list[bytes]:
    return [raw for raw in iter_events(data) if raw[4] != EventType.ROTATE]


async def test_one_file_as_a_server_sends_it(tmp_path: Path) -> None:
    path = tmp_path / "mysql-bin.000042"
    data = write_file(path, 1, 2, 3)
    source = FileSource([path])
    info = await source.connect()
    assert (info.version, info.flavour, info.server_uuid) == ("8.0.36", Flavour.MYSQL, None)
    assert info.beginning == BinlogPosition("mysql-bin.000042", 4)
    await source.start(info.beginning)
    events = await read_all(source)
    assert rotates(events) == [("mysql-bin.000042", 4)]
    assert events[1:] == bodies(data)
    await source.close()


def test_a_file_that_begins_with_its_end(tmp_path: Path) -> None:
    path = tmp_path / "mysql-bin.000042"
    path.write_bytes(BINLOG_MAGIC + EventEncoder().rotate(TIME, "mysql-bin.000043"))
    with pytest.raises(MalformedEvent, match="does not begin with a whole format description"):
        BinlogFileReader(path)


def test_a_format_description_cut_before_its_lengths(tmp_path: Path) -> None:
    """The event says itself how long it is, so that none of its cuts is a file that ends early."""
    path = tmp_path / "mysql-bin.000042"
    head = EventEncoder().format_description(TIME)
    for size in range(19, 19 + 57 + 5):
        path.write_bytes(BINLOG_MAGIC + head[:9] + size.to_bytes(4, "little") + head[13:size])
        with pytest.raises(MalformedEvent, match="is cut short or damaged"):
            BinlogFileReader(path)


async def test_from_the_middle(tmp_path: Path) -> None:
    path = tmp_path / "mysql-bin.000042"
    data = write_file(path, 1, 2, 3)
    raw = bodies(data)
    source = FileSource([path])
    await source.start(BinlogPosition("mysql-bin.000042", decode_header(raw[1]).end_position))
    events = await read_all(source)
    assert decode_header(events[1]).end_position == 0, "the format description takes no room"
    assert events[2:] == raw[2:]
    await source.close()


async def test_one_file_after_the_other(tmp_path: Path) -> None:
    first, second = tmp_path / "mysql-bin.000042", tmp_path / "mysql-bin.000043"
    one, two = write_file(first, 1, rotate_to=second.name), write_file(second, 2)
    source = FileSource([first, second])
    await source.start(BinlogPosition(first.name, 4))
    events = await read_all(source)
    assert rotates(events) == [(first.name, 4), (second.name, 4)]
    assert [raw for raw in events if raw[4] != EventType.ROTATE] == bodies(one) + bodies(two)
    await source.start(BinlogPosition(second.name, 4))
    assert rotates(await read_all(source)) == [(second.name, 4)]
    await source.close()


def test_names_of_files_that_are_no_binlog_in_order(tmp_path: Path) -> None:
    def names(*files: str) -> list[str]:
        return binlog_names([tmp_path / file for file in files])

    assert names("a.000007", "a.000008") == ["a.000007", "a.000008"]
    assert names("crud.bin") == ["binlog.000001"]
    assert names("a.000007", "b.000008") == ["binlog.000001", "binlog.000002"]
    assert names("a.000007", "b") == ["binlog.000001", "binlog.000002"]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (("a.000007", "a.000009"), "between the binlog files a.000007 and a.000009 a.000008 is missing"),
        (("a.000008", "a.000007"), "a.000007 was written before a.000008"),
        (("a.000007", "a.000007"), "a.000007 was written before a.000007"),
        (("a.999999", "a.1000001"), "a.1000000 is missing"),
    ],
)
def test_files_of_one_binlog_are_in_order_and_without_gaps(tmp_path: Path, given: tuple[str, ...], words: str) -> None:
    with pytest.raises(SourceRefused, match=words):
        find_files([tmp_path / name for name in given])


def test_the_files_of_an_index(tmp_path: Path) -> None:
    """Relative names count from the index; files copied away from where the server had them are beside it."""
    folder, elsewhere = tmp_path / "copy", tmp_path / "elsewhere"
    folder.mkdir()
    elsewhere.mkdir()
    (elsewhere / "b.000002").touch()
    index = folder / "b.index"
    index.write_text(f"/var/lib/mysql/b.000001\n{elsewhere}/b.000002\n./b.000003\n\n")
    assert find_files([index]) == [folder / "b.000001", elsewhere / "b.000002", folder / "b.000003"]
    assert find_files([folder]) == find_files([index])
    index.write_text("\n")
    with pytest.raises(SourceRefused, match=r"b\.index names no binlog file"):
        find_files([index])
    with pytest.raises(SourceRefused, match=r"c\.index cannot be read: No such file"):
        find_files([tmp_path / "c.index"])


def test_the_files_of_a_folder_without_an_index(tmp_path: Path) -> None:
    for name in ("b.000010", "b.000009", "auto.cnf", "ibdata1"):
        (tmp_path / name).touch()
    assert [path.name for path in find_files([tmp_path])] == ["b.000009", "b.000010"]
    (tmp_path / "relay.000001").touch()
    with pytest.raises(SourceRefused, match="has the binlogs b, relay; name the files to read, or their index"):
        find_files([tmp_path])
    for name in ("b.index", "relay.index"):
        (tmp_path / name).touch()
    with pytest.raises(SourceRefused, match=r"several indexes \(b\.index, relay\.index\)"):
        find_files([tmp_path])
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceRefused, match="has no file with a number after its last dot"):
        find_files([tmp_path / "empty"])


async def test_a_file_that_grows_is_followed_into_the_next(tmp_path: Path) -> None:
    clock = ManualClock()
    scheduler = ManualScheduler(clock)
    path, following = tmp_path / "mysql-bin.000001", tmp_path / "mysql-bin.000002"
    encoder = EventEncoder()
    path.write_bytes(BINLOG_MAGIC + encoder.format_description(TIME))
    source = FileSource([path], follow=True, scheduler=scheduler)
    await source.start(BinlogPosition(path.name, 4))
    assert len(await source.read()) == 2
    reading = asyncio.ensure_future(source.read())

    async def polled() -> list[bytes]:
        async with asyncio.timeout(WAIT_S):
            while not reading.done():
                scheduler.advance(FOLLOW_POLL_MS)
                await settle(2)
        return reading.result()

    def append(data: bytes) -> None:
        with path.open("ab") as file:
            file.write(data)

    event = statements(encoder, 1)
    append(event[:10])
    scheduler.advance(FOLLOW_POLL_MS)
    await settle()
    assert not reading.done(), "an event that is not whole waits"
    append(event[10:])
    assert await polled() == [event]
    append(encoder.rotate(TIME, following.name))
    data = write_file(following, 2)
    reading = asyncio.ensure_future(source.read())
    assert rotates(await polled(), Checksum.CRC32) == [(following.name, 4)]
    assert await source.read() == bodies(data)[1:]
    await source.close()


@pytest.mark.parametrize("cut", [1, 18, 19, 20])
async def test_a_file_cut_within_an_event_says_so_behind_what_is_whole(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "mysql-bin.000001"
    data = write_file(path, 1, 2)
    (last,) = bodies(data)[-1:]
    path.write_bytes(data[: -len(last) + cut])
    source = FileSource([path])
    await source.start(BinlogPosition(path.name, 4))
    with pytest.raises(MalformedEvent, match=f"ends {cut} bytes into an event"):
        await read_all(source)
    await source.close()


@pytest.mark.parametrize(
    ("content", "error", "words"),
    [
        (b"", MalformedEvent, "starts with nothing"),
        (b"SQLite format 3", MalformedEvent, r"/x\.000001 starts with 53 51 4c 69"),
        (b"\xfdbin" + b"x" * 100, UnsupportedEvent, r"/x\.000001 is encrypted by MySQL"),
        (BINLOG_MAGIC, MalformedEvent, "does not begin with a whole format description"),
        (BINLOG_MAGIC + b"\0" * 40, MalformedEvent, "less than its header"),
    ],
)
async def test_what_is_no_binlog(tmp_path: Path, content: bytes, error: type[Exception], words: str) -> None:
    path = tmp_path / "x.000001"
    path.write_bytes(content)
    with pytest.raises(error, match=words):
        await FileSource([path]).connect()


async def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SourceRefused, match="No such file"):
        await FileSource([tmp_path / "x.000001"]).connect()


async def test_a_file_that_is_open_only_after_its_source_was_given_up_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "binlog.000001"
    path.write_bytes(BINLOG_MAGIC + EventEncoder().format_description(TIME))
    begun, proceed, readers = threading.Event(), threading.Event(), list[BinlogFileReader]()

    class Slow(BinlogFileReader):
        def __init__(self, path: Path) -> None:
            begun.set()
            proceed.wait()
            super().__init__(path)
            readers.append(self)

    monkeypatch.setattr(file_source, "BinlogFileReader", Slow)
    starting = asyncio.create_task(FileSource([path]).start(BinlogPosition(path.name, 4)))
    await asyncio.to_thread(begun.wait)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    proceed.set()
    while not readers or not readers[0]._file.closed:  # noqa: ASYNC110 - the thread's end is not ours to be told of
        await asyncio.sleep(0)


async def test_what_a_file_cannot_do(tmp_path: Path) -> None:
    path = tmp_path / "x.000001"
    write_file(path)
    source = FileSource([path])
    with pytest.raises(SourceRefused, match="no queries"):
        await source.query("SELECT 1")
    with pytest.raises(SourceRefused, match="in none of the files"):
        await source.start(BinlogPosition("x.000002", 4))
    with pytest.raises(SourceUnavailable, match="not open"):
        await source.read()


async def test_a_channel_of_files_ends_with_them(tmp_path: Path) -> None:
    path = tmp_path / "mysql-bin.000001"
    encoder = EventEncoder()
    head = BINLOG_MAGIC + encoder.format_description(TIME)
    path.write_bytes(
        head + encoder.query(TIME, "CREATE DATABASE d", database="d", thread_id=1) + statements(encoder, 1)
    )
    world = World(tmp_path, SystemClock())
    url = f"file://{path}"
    channel = world.channel(lambda: open_source(SourceAddress.parse(url), 1, SystemClock()), "d", url=url)
    async with running(channel):
        status = await channel.wait_ended()
    assert status.ended
    assert world.operations(heartbeats=True) == ["DDL", "DDL"]
    await world.close()
