"""The log and the catalog after a crash of both: whatever each of them had reached, they agree.

Goal: after any crash every record is in the log exactly once, named by the definition that held when it was written;
the catalog has nothing that lies beyond the log once capture goes on; a group that resumes at what it committed misses
nothing. Method: one run of a real channel over a log whose file calls are recorded and a catalog whose files are kept
at every commit. Each prefix of the log's calls is laid out with each state that the catalog can have had at that
moment: the last commit that had returned, the one under way, and that one cut anywhere. Then the channel is opened as
a server opens it and reads its source to the end.
"""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from broker.offsets import OffsetStore
from capture.channel import State
from storage.catalog import Catalog, ChannelRow, GroupRow
from storage.segment_log import SegmentLog
from tests.capture.test_channel import CREATE_DATABASE, CREATE_TABLE, TIME, Shop, table_version
from tests.capture.world import UUID, WAIT_S, FedSource, World, running, settle
from tests.fakes import ManualClock
from tests.storage.faults import RecordingFiles, ReplayedDisk, Step
from tests.storage.samples import small

if TYPE_CHECKING:
    from pathlib import Path

CONFIG = small(segment_bytes=1500, index_interval_bytes=300, reserve_offsets=50)
ROW = ChannelRow("c", "c", "topic", "", 1, None, "[]", 5000, 0, State.NOT_STARTED, None)
CHANGES = (
    ("ALTER TABLE t RENAME COLUMN note TO remark", "CREATE TABLE t (id INT PRIMARY KEY, remark TEXT)"),
    ("ALTER TABLE t ADD COLUMN more INT", "CREATE TABLE t (id INT PRIMARY KEY, remark TEXT, more INT)"),
    ("ALTER TABLE t RENAME COLUMN more TO less", "CREATE TABLE t (id INT PRIMARY KEY, remark TEXT, less INT)"),
)
"""Renamed columns: a definition that is missing would name the values of old and new rows wrongly, silently."""


@dataclass(frozen=True)
class CatalogState:
    """The catalog's files behind one commit, and how many of the log's steps had been made around it."""

    steps_before: int
    steps_after: int
    database: bytes
    wal: bytes


@dataclass(frozen=True)
class Commit:
    """What a group committed, having read so many records."""

    group_id: str
    offset: int
    records: int


@dataclass(repr=False)
class Run:
    """What a run did and showed."""

    events: list[bytes] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    catalogs: list[CatalogState] = field(default_factory=list)
    commits: list[Commit] = field(default_factory=list)
    records: list[tuple[int, dict[str, Any]]] = field(default_factory=list)

    def catalogs_at(self, steps: int) -> list[tuple[CatalogState, CatalogState]]:
        """Each state that the catalog can have had then, with the one before it: commits between two steps of the log
        may have been made or not.
        """
        certain = max(i for i, each in enumerate(self.catalogs) if each.steps_after < steps or i == 0)
        return [
            (each, self.catalogs[max(0, i - 1)])
            for i, each in enumerate(self.catalogs)
            if i == certain or (i > certain and each.steps_before <= steps)
        ]


class RecordedCatalog(Catalog):
    """Keeps its files as they are behind every commit."""

    recorder: Recorder | None = None

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        recorder, is_outermost = self.recorder, not self._depth
        steps = len(recorder.files.steps) if recorder is not None else 0
        with super()._transaction():
            yield
        if recorder is not None and is_outermost:
            recorder.keep(steps)


class Recorder(World):
    """A world that is written down."""

    def __init__(self, folder: Path, run: Run) -> None:
        self.folder, self.clock, self.config, self.run = folder, ManualClock(now_ms=TIME * 1000), CONFIG, run
        self.files = RecordingFiles()
        run.catalogs.append(CatalogState(0, 0, b"", b""))  # what a crash within the very first opening leaves
        self.catalog = RecordedCatalog.open(folder / "catalog.db")
        assert isinstance(self.catalog, RecordedCatalog)
        self.catalog.recorder = self
        self.keep(0)
        self.log = SegmentLog.open(folder / "topic-0", "topic", CONFIG, self.clock, boot_id="boot-1", files=self.files)
        self.catalog.put_channel(ROW)
        self.catalog.put_group(GroupRow("g1", "c", "one", "u", None))

    def keep(self, steps_before: int) -> None:
        wal = self.folder / "catalog.db-wal"
        state = CatalogState(
            steps_before,
            len(self.files.steps),
            (self.folder / "catalog.db").read_bytes(),
            wal.read_bytes() if wal.exists() else b"",
        )
        self.run.catalogs.append(state)


class Recovered(World):
    """A world as the next process finds it."""

    def __init__(self, folder: Path, boot_id: str) -> None:
        self.folder, self.clock, self.config = folder, ManualClock(now_ms=TIME * 1000), CONFIG
        self.catalog = Catalog.open(folder / "catalog.db")
        self.log = SegmentLog.open(folder / "topic-0", "topic", CONFIG, self.clock, boot_id=boot_id)


def contents(world: World) -> list[tuple[int, dict[str, Any]]]:
    """Offset and content of every record; the id follows from the offset and is checked by that."""
    found = []
    for record in world.records():
        assert record.fields.pop("id") == record.offset + ROW.id_base
        found.append((record.offset, record.fields))
    return found


async def recorded(folder: Path) -> Run:
    run = Run()
    world = Recorder(folder, run)
    source = FedSource()
    shop, offsets = Shop(source), OffsetStore(world.catalog, world.clock)
    table = table_version(CREATE_TABLE)
    for sql in (CREATE_DATABASE, CREATE_TABLE):
        shop.say(sql)
    channel = world.channel(lambda: source, "shop", id_base=ROW.id_base)
    key = 0

    async def committed(group_id: str) -> None:
        async with asyncio.timeout(WAIT_S):
            await channel.wait_visible(shop.position)
        offset = world.log.high_watermark
        await offsets.commit(group_id, [("topic", 0, offset, "")])
        run.commits.append(Commit(group_id, offset, len(world.records())))

    async with running(channel):
        for change, create in (*CHANGES, (None, "")):
            for _ in range(2):
                key += 1
                shop.begin()
                rows: list[list[Any]] = [[key, f"text {key}", key][: len(table.columns)]]
                source.feed(
                    shop.encoder.table_map(TIME, table, 100 + len(run.commits)),
                    shop.encoder.write_rows(TIME, table, 100 + len(run.commits), rows),
                )
                shop.commit()
                await committed("g1" if key % 2 else "g2")
            if key == 4:
                world.log.flush()
                world.catalog._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                world.keep(len(world.files.steps))
            if change is not None:
                shop.say(change)
                await settle()
                table = table_version(create)
    run.events, run.steps, run.records = source.events, world.files.steps, contents(world)
    await world.close(orderly=False)
    return run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    run = asyncio.run(recorded(tmp_path_factory.mktemp("run")))
    assert [fields["operation"] for _, fields in run.records].count("INSERT") == 8
    assert len(run.catalogs) > 15
    return run


def lay_out(folder: Path, run: Run, steps: int, state: CatalogState, *, lost_power: Random | None = None) -> None:
    log = folder / "topic-0"
    log.mkdir(parents=True)
    disk = ReplayedDisk()
    for step in run.steps[:steps]:
        disk.apply(step)
    if lost_power is None:
        disk.write_to(log)
    else:
        disk.write_after_power_loss(log, lost_power)
    (folder / "catalog.db").write_bytes(state.database)
    if state.wal:
        (folder / "catalog.db-wal").write_bytes(state.wal)


async def check(folder: Path, run: Run, *, boot_id: str) -> None:
    """Open what was laid out as a server does, read the source to its end, and hold it against the whole run."""
    world = Recovered(folder, boot_id)
    offsets = OffsetStore(world.catalog, world.clock)
    rows = world.catalog.channels()
    has_records = world.log.log_start_offset < world.log.high_watermark
    assert not has_records or (rows and rows[0].start is not None), "a log has a channel that was started"
    if not rows:
        world.catalog.put_channel(ROW)
    for group_id in offsets.group_ids():
        # Whatever was committed can be answered, before anything is captured again.
        committed = offsets.committed(group_id)["topic", 0].offset
        assert committed <= world.log.high_watermark
        assert committed >= world.log.log_start_offset
    source = FedSource()
    source.events = list(run.events)
    source.end()
    channel = world.channel(lambda: source, "shop", id_base=ROW.id_base)
    resumed = world.log.recovered
    await channel.start()
    async with asyncio.timeout(WAIT_S):
        status = await channel.wait_ended()
    assert status.ended, status.reason
    now = contents(world)
    is_same = [fields for _, fields in now] == [fields for _, fields in run.records]
    assert is_same, [(offset, fields["operation"]) for offset, fields in now]
    if boot_id == "boot-1":
        is_same = now == run.records
        assert is_same, "a killed process changes no offset either"
    if resumed is not None:
        versions = world.catalog.schema_versions("c")
        assert len(versions) == len({(row.file_number, row.position, row.table) for row in versions}), "none twice"
    for commit in run.commits:
        mine = offsets.committed(commit.group_id).get(("topic", 0))
        if mine is not None and mine.offset == commit.offset:
            rest = [fields for offset, fields in now if offset >= commit.offset]
            assert len(rest) >= len(run.records) - commit.records, "a group that resumes misses nothing"
            is_rest = rest == [fields for _, fields in run.records[len(run.records) - len(rest) :]]
            assert is_rest
    await world.close(orderly=False)
    shutil.rmtree(folder)


async def test_a_killed_process_at_any_step_with_any_state_of_the_catalog(run: Run, tmp_path: Path) -> None:
    tried = set()
    for steps in range(len(run.steps) + 1):
        for state, _ in run.catalogs_at(steps):
            lay_out(tmp_path / "data", run, steps, state)
            await check(tmp_path / "data", run, boot_id="boot-1")
            tried.add(id(state))
    assert len(tried) == len(run.catalogs)


async def test_a_loss_of_power_at_any_step_with_any_state_of_the_catalog(run: Run, tmp_path: Path) -> None:
    random = Random(11)
    for steps in range(0, len(run.steps) + 1, 2):
        state, _ = random.choice(run.catalogs_at(steps))
        lay_out(tmp_path / "data", run, steps, state, lost_power=random)
        await check(tmp_path / "data", run, boot_id="boot-2")


async def test_a_commit_of_the_catalog_that_is_cut_anywhere_is_there_or_not(run: Run, tmp_path: Path) -> None:
    """Any byte of the write-ahead log at which the last commit stopped, and any mixture of its pages."""
    random = Random(12)
    for steps in range(len(run.steps) + 1):
        for state, before in run.catalogs_at(steps):
            if state.wal == before.wal or state.database != before.database or state.steps_after < steps:
                continue
            for torn in (cut_anywhere(before.wal, state.wal, random), mixed(before.wal, state.wal, random)):
                lay_out(tmp_path / "data", run, steps, replace(state, database=before.database, wal=torn))
                await check(tmp_path / "data", run, boot_id=random.choice(("boot-1", "boot-2")))


def cut_anywhere(before: bytes, after: bytes, random: Random) -> bytes:
    size = random.randrange(len(after) + 1)
    return after[:size] + before[size:]


def mixed(before: bytes, after: bytes, random: Random) -> bytes:
    """Pages of both; where one of them ends, the file does or has a hole."""
    size = random.choice((len(before), len(after)))
    pages = [random.choice((before, after))[start : start + 512] for start in range(0, size, 512)]
    return b"".join(page.ljust(512, b"\0") for page in pages)[:size]


async def test_a_checkpoint_that_is_cut_anywhere_changes_nothing(run: Run, tmp_path: Path) -> None:
    """Pages of the write-ahead log are copied into the database; it is cut only when they are durable there."""
    random = Random(13)
    number, after = next((i, each) for i, each in enumerate(run.catalogs) if i and not each.wal)
    before = run.catalogs[number - 1]
    for _ in range(30):
        database = mixed(before.database, after.database, random)
        lay_out(tmp_path / "data", run, before.steps_after, replace(before, database=database))
        await check(tmp_path / "data", run, boot_id=random.choice(("boot-1", "boot-2")))


def test_a_write_ahead_log_cut_at_any_byte_holds_the_commits_before_it(run: Run, tmp_path: Path) -> None:
    """What no crash does and a bad medium may: the catalog is an earlier one, never a mixture."""
    last = run.catalogs[-1]
    earlier = [each.wal for each in run.catalogs if each.database == last.database]
    assert len(earlier) > 5
    expected = [found_in(tmp_path, last.database, wal) for wal in earlier]
    for size in (*range(0, len(last.wal), 997), *(len(wal) + 1 for wal in earlier[:-1])):
        whole = [found for found, wal in zip(expected, earlier, strict=True) if len(wal) <= size]
        assert found_in(tmp_path, last.database, last.wal[:size]) == (whole or expected)[-1 if whole else 0]


def found_in(folder: Path, database: bytes, wal: bytes) -> tuple[object, ...]:
    path = folder / "catalog.db"
    path.write_bytes(database)
    path.with_name("catalog.db-wal").write_bytes(wal)
    with closing(Catalog.open(path)) as catalog:
        found = catalog.channels(), catalog.groups(), catalog.offsets(), catalog.schema_versions("c")
    path.unlink()
    return found


def test_the_start_is_in_the_catalog_before_the_log_has_anything(run: Run) -> None:
    """By the order of the recorded steps, not by what a state happens to show."""
    first_write = next(i for i, step in enumerate(run.steps) if step.call == "write")
    started = next(each for each in run.catalogs if b"server_uuid" in each.wal)
    assert started.steps_after <= first_write
    assert json.dumps(UUID).encode() in started.wal


async def test_a_catalog_that_fails_while_it_runs_stops_the_channel_with_its_sentence(tmp_path: Path) -> None:
    """And with nothing visible that has no definition."""
    world = World(tmp_path, ManualClock(now_ms=TIME * 1000))
    source = FedSource()
    shop = Shop(source)
    for sql in (CREATE_DATABASE, CREATE_TABLE):
        shop.say(sql)
    channel = world.channel(lambda: source, "shop")
    async with running(channel), asyncio.timeout(WAIT_S):
        await channel.wait_visible(shop.position)
        visible = world.log.high_watermark
        world.catalog._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        world.catalog._connection.execute("PRAGMA shrink_memory")
        with (tmp_path / "catalog.db").open("r+b") as file:
            size = file.seek(0, 2)
            file.seek(4096)
            file.write(b"\xff" * (size - 4096))
        shop.say(CHANGES[0][0])
        status = await channel.wait_for(State.ERROR)
        assert status.retried_until_ms is None
        assert status.reason is not None
        assert status.reason.startswith(f"the catalog {tmp_path}/catalog.db is damaged (")
        assert "binwire salvage" in status.reason
        assert world.log.high_watermark == visible
    await world.close()
