"""Where a channel of binlog files may start, and what it knows there: positions, times, GTID sets, definitions."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from capture.channel import State
from capture.encode import EventEncoder
from capture.errors import MalformedEvent, SourceRefused
from capture.events import BINLOG_MAGIC
from capture.file_source import FOLLOW_POLL_MS, FileSource
from capture.gtid import Interval, PreviousGtidsEvent, SidIntervals
from capture.position import BinlogPosition
from capture.source import SourceAddress, SourceAddressError, open_source
from capture.start import resolve_start
from storage.clock import SystemClock
from tests.capture.recorded import ABSENT, BINLOGS, binlog
from tests.capture.recorded_definitions import before
from tests.capture.recorded_rows import compared
from tests.capture.world import UUID, WAIT_S, World, running, settle
from tests.fakes import ManualClock, ManualScheduler

if TYPE_CHECKING:
    from pathlib import Path

TIME = 1_700_000_000
SID = bytes.fromhex(UUID.replace("-", ""))


def write(folder: Path, number: int, gtids: range, *, rotates: bool = True) -> Path:
    """A file with one statement per GTID, ten seconds apart from `TIME` on, behind all before it."""
    path = folder / f"b.{number:06d}"
    encoder = EventEncoder()
    data = BINLOG_MAGIC + encoder.format_description(TIME + 10 * gtids.start)
    known = (SidIntervals(SID, "", (Interval(1, gtids.start - 1),)),) if gtids.start > 1 else ()
    data += encoder.previous_gtids(TIME, PreviousGtidsEvent(known))
    for gtid in gtids:
        data += encoder.gtid(TIME + 10 * gtid, UUID, gtid)
        data += encoder.query(TIME + 10 * gtid, f"CREATE TABLE t{gtid} (a INT)", database="d", thread_id=1)
    if rotates:
        data += encoder.rotate(TIME + 10 * gtids.stop, f"b.{number + 1:06d}")
    path.write_bytes(data)
    return path


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """GTIDs 1 to 3, 4 to 6, 7 to 9."""
    return [write(tmp_path, n, range(3 * n - 2, 3 * n + 1), rotates=n < 3) for n in (1, 2, 3)]


async def start_of(files: list[Path], text: str) -> tuple[str, str]:
    source = FileSource(files)
    point = await resolve_start(source, await source.connect(), text)
    return str(point.position), str(point.gtid_set).removeprefix(f"{UUID}:")


def ends(path: Path) -> list[int]:
    """Where the file's head and its statements end."""
    data, positions, at = path.read_bytes(), list[int](), 4
    while at < len(data):
        kind, size = data[at + 4], int.from_bytes(data[at + 9 : at + 13], "little")
        at += size
        positions += [at] if kind in (2, 35) else []
    return positions


async def test_starts_in_files(files: list[Path]) -> None:
    head, *statements = ends(files[1])
    end = files[2].stat().st_size
    for text, position, gtids in (
        ("earliest", "b.000001:4", ""),
        ("now", f"b.000003:{end}", "1-9"),
        (f"b.000002:{statements[0]}", f"b.000002:{statements[0]}", "1-4"),
        ("b.000002:4", "b.000002:4", "1-3"),
        (str(TIME + 50), f"b.000002:{statements[0]}", "1-4"),
        (str(TIME + 45), f"b.000002:{statements[0]}", "1-4"),
        (str(TIME + 91), f"b.000003:{end}", "1-9"),
        (f"{UUID}:1-4", f"b.000002:{statements[0]}", "1-4"),
        (f"{UUID}:1-3", f"b.000002:{head}", "1-3"),
    ):
        assert await start_of(files, text) == (position, gtids), text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (str(TIME - 1), "is before the oldest binlog of"),
        ("b.000002:100", "is inside a transaction or an event; give the end of one"),
        ("b.000009:4", "there is no such file, and the binlog goes from b.000001:4 to b.000003:"),
        (f"{UUID}:1-2:5", "has a gap: behind b.000001:"),
        ("yesterday", "yesterday"),
    ],
)
async def test_starts_that_files_do_not_have(files: list[Path], text: str, words: str) -> None:
    with pytest.raises(Exception, match=words):  # PositionError or SourceRefused
        await start_of(files, text)


async def test_a_set_before_the_files_is_refused(files: list[Path]) -> None:
    with pytest.raises(SourceRefused, match="lacks transactions that"):
        await start_of(files[1:], f"{UUID}:1-2")


async def test_the_end_of_a_file_that_is_being_written(files: list[Path]) -> None:
    """An event that is not whole yet is behind the end."""
    whole = files[2].stat().st_size
    with files[2].open("ab") as file:
        file.write(b"\1" * 25)
    assert (await start_of(files, "now"))[0] == f"b.000003:{whole}"


async def read_all(source: FileSource) -> None:
    while await source.read():
        pass


async def test_a_file_cut_before_another_ends_the_stream(files: list[Path]) -> None:
    """The server would not have gone on within an event: something took the file's end."""
    data = files[1].read_bytes()
    files[1].write_bytes(data[:-20])
    source = FileSource(files)
    await source.start(BinlogPosition("b.000001", 4))
    with pytest.raises(MalformedEvent, match=r"b\.000002 ends \d+ bytes into an event"):
        await read_all(source)
    await source.close()


async def test_a_followed_file_whose_server_crashed_has_ended_once_there_is_a_next_one(tmp_path: Path) -> None:
    """No ROTATE tells it; what was written between the last look and the next file's beginning is not lost."""
    clock = ManualClock()
    scheduler = ManualScheduler(clock)
    first = write(tmp_path, 1, range(1, 3), rotates=False)
    data = first.read_bytes()
    late = ends(first)[-2]
    first.write_bytes(data[:late])
    source = FileSource([first], follow=True, scheduler=scheduler)
    await source.start(BinlogPosition(first.name, 4))
    events = await source.read() + await source.read()
    reading = asyncio.ensure_future(source.read())
    await settle()
    with first.open("ab") as file:
        file.write(data[late:])
    write(tmp_path, 2, range(3, 4))
    async with asyncio.timeout(WAIT_S):
        while len(events) < 12:
            if reading.done():
                events += reading.result()
                reading = asyncio.ensure_future(source.read())
            scheduler.advance(FOLLOW_POLL_MS)
            await settle(2)
    reading.cancel()
    await source.close()
    assert [raw[4] for raw in events] == [4, 15, 35, 33, 2, 33, 2, 4, 15, 35, 33, 2]


# ---- what files do not tell ----


def channel_of(world: World, url: str, *objects: str, **more: Any) -> Any:
    factory = partial(open_source, SourceAddress.parse(url), 1, SystemClock())
    return world.channel(factory, *objects, url=url, **more)


async def test_variables_of_the_server_stand_in_the_address(tmp_path: Path) -> None:
    path = write(tmp_path, 1, range(1, 2), rotates=False)
    url = f"file://{path}?lower_case_table_names=1&collation_server=utf8mb4_bin"
    source = open_source(SourceAddress.parse(url), 1, SystemClock())
    info = await source.connect()
    assert info.lower_case_table_names == 1
    assert info.variables == {"lower_case_table_names": "1", "collation_server": "utf8mb4_bin"}
    world = World(tmp_path, ManualClock())
    async with running(channel_of(world, url, "D"), *State) as channel:
        assert (await channel.wait_ended()).ended
    (record,) = world.records()
    assert record.tags["lowerCaseTableNames"] == "true"
    await world.close()
    with pytest.raises(SourceAddressError, match="lower_case_table_names='3' in the source address; allowed are"):
        SourceAddress.parse(f"file://{path}?lower_case_table_names=3")


@pytest.mark.skipif(not BINLOGS.is_dir(), reason=ABSENT)
@pytest.mark.parametrize(
    ("name", "rows"),
    [
        ("5.7.18_gtid-rows-v2_myflash-haha.000041.bin", 192),
        ("5.7.21_rows-v2_checksum-crc32.bin", 63),
        ("mariadb-10.5.15_annotate-fullmeta_mariadb-bin.000001.bin", 2),
    ],
)
async def test_definitions_from_a_schema_file(name: str, rows: int, tmp_path: Path) -> None:
    """Rows of tables that were there before the files."""
    known = before(binlog(name))
    schema = tmp_path / "schema.sql"
    statements = [text for _, text in known.databases]
    statements += [line for database, text in known.tables for line in (f"USE `{database}`", text)]
    schema.write_text(";\n".join(statements) + ";\n", "utf-8")
    world = World(tmp_path, ManualClock())
    objects = [f"`{database}`" for database, _ in known.databases]
    channel = channel_of(world, f"file://{BINLOGS / name}", *objects, schema_file=str(schema))
    async with running(channel, *State):
        status = await channel.wait_ended()
    assert status.ended, status.reason
    assert compared(world, name) == (rows, rows)
    await world.close()


@pytest.mark.skipif(not BINLOGS.is_dir(), reason=ABSENT)
async def test_definitions_from_full_metadata(tmp_path: Path) -> None:
    """Files whose table maps say everything need no other definitions."""
    name = "mariadb-10.5.15_annotate-fullmeta_mariadb-bin.000001.bin"
    known = before(binlog(name))
    assert len(known.tables) == 1, "its one table was made before it"
    world = World(tmp_path, ManualClock())
    async with running(channel_of(world, f"file://{BINLOGS / name}", known.databases[0][0]), *State) as channel:
        status = await channel.wait_ended()
    assert status.ended, status.reason
    assert compared(world, name) == (2, 2)
    await world.close()


@pytest.mark.skipif(not BINLOGS.is_dir(), reason=ABSENT)
async def test_rows_of_a_table_that_nobody_described_stop_the_channel(tmp_path: Path) -> None:
    name = "5.7.18_gtid-rows-v2_myflash-haha.000041.bin"
    world = World(tmp_path, ManualClock())
    known = before(binlog(name))
    url = f"file://{BINLOGS / name}"
    async with running(channel_of(world, url, *(f"`{name}`" for name, _ in known.databases)), *State) as channel:
        status = await channel.wait_ended()
    assert status.state is State.ERROR
    assert status.reason is not None
    assert "the schema history does not know the table" in status.reason
    await world.close()
