"""Recorded binlogs through a whole dump session with servers of the versions that wrote them.

`CASES` is what the README's table of versions tested by replay rests on: one row per version, with the recorded files
that its scripted server (`tests/replay_server.py`) sends. Values are held against the files' independent decodes.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from capture.channel import State
from capture.ddl import parse
from capture.dialect import Dialect
from capture.encode import EventEncoder, RowMetadata
from capture.errors import SourceUnavailable
from capture.events import BINLOG_MAGIC, Checksum, EventDecoder, EventType, HeartbeatEvent
from capture.mysql_source import MysqlSource
from capture.position import BinlogPosition
from capture.source import HEARTBEAT_PERIOD_MS, SourceAddress, open_source
from capture.table import Column, Key, TableVersion
from storage.clock import SystemClock
from tests.capture.recorded import ABSENT, BINLOGS, binlog
from tests.capture.recorded_definitions import before
from tests.capture.recorded_rows import compared
from tests.capture.world import WAIT_S, World, running, settle
from tests.fakes import ManualClock, ManualScheduler
from tests.replay_server import BinlogFile, ReplayServer, Script
from tests.server_versions import VERSIONS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from capture.channel import Channel, ChannelStatus
    from tests.server_versions import ServerVersion

CLOCK = SystemClock()


READER = 4730
MADE = "made"
"""In place of a recorded file, where there is none of a version: events as its server writes them."""


@dataclass(frozen=True)
class Case:
    """A version's server and a file it sends; `rows` is how many there are in it."""

    version: str
    file: str
    rows: int

    def __str__(self) -> str:
        return f"{self.version}-{self.file.removesuffix('.bin')}"


CASES = (
    Case("mysql-5.1", "5.1.34_rows-v1-timestamp_canal_mysql-bin.000002.bin", 1),
    Case("mysql-5.5", "5.5.27_rows-v1_sakila.bin", 47273),
    Case("mysql-5.6", "5.6.35_rows-v2_zalora-01.bin", 10),
    Case("mysql-5.6", "5.6.35_rows-v2_zalora-02.bin", 1),
    Case("mysql-5.7", "5.7.32_gtid-rows_zalora-gtid-01.bin", 10),
    Case("mysql-5.7", "5.7.21_rows-v2_checksum-crc32.bin", 63),
    Case("mysql-5.7", "5.7.44_rows-v2_binlogviz_minimal.bin", 4),
    Case("mysql-8.0", "8.0.46_full-metadata_01-crud.bin", 8),
    Case("mysql-8.0", "8.0.45_rows-v2_percona-gtid_binlog.000002.bin", 6),
    Case("mysql-8.4", "8.2.0_write_ints_mysql-cdc-rs.bin", 1),
    Case("mysql-9.6", "9.6.0_gtid-tagged_binlog_transaction_with_GTID_TAG.bin", 1),
    Case("mysql-9.6", "9.0.1_vector.bin", 10),
    Case("mariadb-5.5", MADE, 8),
    Case("aurora-3", MADE, 8),
    Case("mariadb-10.0", "mariadb-10.0.15_rows-v1_zalora-07.bin", 2),
    Case("mariadb-10.0", "mariadb-10.0.11_rows-v1_mdev6020-mysql-bin.000001.bin", 8006),
    Case("mariadb-10.5", "mariadb-10.5.15_annotate-fullmeta_mariadb-bin.000001.bin", 2),
    Case("mariadb-10.11", "mariadb-10.5.15_annotate-fullmeta_mariadb-bin.000001.bin", 2),
    Case("mariadb-11.4", "mariadb-10.5.15_annotate-fullmeta_mariadb-bin.000001.bin", 2),
    Case("percona-5.7", "5.7.24-percona_rows-v2-decimal_easypost.bin", 2),
    Case("percona-8.0", "8.0.45_rows-v2_percona-position_binlog.000001.bin", 6),
    Case("polardb-8.0.1", "8.0.40_time-negative_time_issue.bin", 1),
)

pytestmark = pytest.mark.skipif(not BINLOGS.is_dir(), reason=ABSENT)


def server_of(case: Case) -> tuple[ReplayServer, list[str]]:
    """The server with the recorded file in its binlog, and the objects to track."""
    version = VERSIONS[case.version]
    data = made(version) if case.file == MADE else binlog(case.file)
    known = before(data)
    server = ReplayServer(version, files_of(data), Script(known.databases, known.tables))
    if "binlog_checksum" in version.variables:
        server.version = version.with_variables(binlog_checksum="CRC32" if server.files[0].has_checksums else "NONE")
    return server, [f"`{database}`" for database, _ in known.databases]


TIME = 1_700_000_000
MADE_OPERATIONS = ["DDL", *["BEGIN", "INSERT", "UPDATE", "DELETE", "COMMIT"] * 2, "DDL", "BEGIN", "INSERT", "COMMIT"]


def made(version: ServerVersion) -> bytes:
    """A binlog of a version that nobody recorded: rows of version 1 without GTIDs, or with Aurora's padding in between.

    Padding is of the types 100 and 101, marked ignorable (osheroff/mysql-binlog-connector-java#23).
    """
    is_aurora = "aurora_version" in version.variables
    encoder = EventEncoder(
        server_id=7,
        server_version=version.version,
        checksum=Checksum.CRC32 if is_aurora else Checksum.NONE,
        rows_version=2 if is_aurora else 1,
        row_metadata=RowMetadata.MINIMAL if is_aurora else RowMetadata.NONE,
    )
    columns = (Column("id", "int", nullable=False), Column("a", "bigint"))
    table = TableVersion.of("d", "t", columns, (Key("PRIMARY", ("id",), True),), "latin1", "latin1_swedish_ci")
    wider = TableVersion.of("d", "t", (*columns, Column("b", "int")), table.keys, "latin1", "latin1_swedish_ci")

    def padding() -> bytes:
        if not is_aurora:
            return b""
        size = encoder.position % 7
        return b"".join(encoder.event(kind, TIME, bytes(size), flags=0x80) for kind in (100, 101))  # type: ignore[arg-type]

    def statement(sql: str, database: str = "d") -> bytes:
        head = encoder.anonymous_gtid(TIME) if is_aurora else b""
        return head + encoder.query(TIME, sql, database=database, thread_id=5) + padding()

    def transaction(number: int, of: TableVersion, row: list[int]) -> bytes:
        events = [statement("BEGIN"), encoder.table_map(TIME, of, number), encoder.write_rows(TIME, of, number, [row])]
        if of is table:
            events += [padding(), encoder.update_rows(TIME, of, number, [(row, [row[0], -1])])]
            events.append(encoder.delete_rows(TIME, of, number, [[row[0], -1]]))
        return b"".join([*events, encoder.xid(TIME, number), padding()])

    head = BINLOG_MAGIC + encoder.format_description(TIME) + padding()
    create = statement("CREATE TABLE t (id INT PRIMARY KEY, a BIGINT) DEFAULT CHARSET=latin1")
    rows = transaction(1, table, [1, 2]) + transaction(2, table, [3, 4])
    alter = statement("ALTER TABLE t ADD b INT")
    return head + create + rows + alter + transaction(3, wider, [5, 6, 7])


def files_of(data: bytes) -> list[BinlogFile]:
    """The file under the name its ROTATE tells, with a next file that has begun, or under a name of ours."""
    file = BinlogFile("mysql-bin.000007", data)
    last = list(file.events())[-1][1]
    if last[4] != 4:
        return [file]
    following = last[27 : len(last) - 4 * file.has_checksums].decode()
    base, _, number = following.rpartition(".")
    file.name = f"{base}.{int(number) - 1:06d}"
    return [file, BinlogFile(following, data[:4] + file.head)]


def channel_of(world: World, server: ReplayServer, objects: list[str], **more: Any) -> Channel:
    factory = partial(open_source, SourceAddress.parse(server.url), READER, CLOCK, identity="replay")
    return world.channel(factory, *objects, url=server.url, **more)


@asynccontextmanager
async def captured(world: World, server: ReplayServer, objects: list[str], **more: Any) -> AsyncIterator[ChannelStatus]:
    """A channel that has everything of the server's binlog, or stands still."""
    channel = channel_of(world, server, objects, **more)
    end = f"{server.files[-1].name}:{len(server.files[-1].data)}"
    changed = asyncio.Event()
    ends = [world.log.subscribe(changed.set), channel.subscribe(changed.set)]
    async with running(channel, State.NORMAL, State.ERROR), asyncio.timeout(WAIT_S):
        while (status := channel.status()).state is State.NORMAL and status.position != end:
            changed.clear()
            await changed.wait()
        yield status
    for stop in ends:
        stop()


@pytest.mark.parametrize("case", CASES, ids=str)
async def test_a_recorded_binlog_by_its_versions_server(case: Case, tmp_path: Path) -> None:
    server, objects = server_of(case)
    world = World(tmp_path, CLOCK)
    async with server, captured(world, server, objects) as status:
        assert status.state is State.NORMAL, status.reason
    if case.file == MADE:
        assert world.operations() == MADE_OPERATIONS
    else:
        assert compared(world, case.file) == (case.rows, case.rows)
    assert server.unanswered == []
    await world.close()


# ---- what is of one version only ----


async def test_polardb_with_its_binlog_switched_off(tmp_path: Path) -> None:
    """PolarDB writes none until loose_polar_log_bin is set; the precheck names the switch, not my.cnf."""
    server, objects = server_of(Case("polardb-8.0.1", "8.0.40_time-negative_time_issue.bin", 0))
    server.version = server.version.with_variables(log_bin="OFF", polar_log_bin="OFF")
    world = World(tmp_path, CLOCK)
    async with server, captured(world, server, objects) as status:
        assert status.state is State.ERROR
        assert status.reason is not None
        assert "loose_polar_log_bin = ON" in status.reason
        assert "my.cnf" not in status.reason
    await world.close()


def test_polardbs_own_syntax_is_a_comment_to_everybody_else() -> None:
    """`/*!99990 <its own version> …*/` in definitions and DDL ("Kernel versions 5.6, 5.7, and 8.0")."""
    plain = "CREATE TABLE `t` (`a` int DEFAULT NULL, KEY `a` (`a`){}) DEFAULT CHARSET=utf8mb4"
    dialect = Dialect.of(VERSIONS["polardb-8.0.1"].version)
    assert parse(plain.format(" /*!99990 800020200 GLOBAL */"), 0, dialect) == parse(plain.format(""), 0, dialect)


async def test_a_server_without_heartbeats_is_asked_for_signs_of_life(tmp_path: Path) -> None:
    """MySQL 5.1: an idle dump is not dead, and HEARTBEAT events come all the same."""
    server, _ = server_of(CASES[0])
    clock = ManualClock()
    scheduler = ManualScheduler(clock)
    async with server, asyncio.timeout(WAIT_S):
        source = MysqlSource(SourceAddress.parse(server.url), READER, clock, scheduler=scheduler)
        try:
            end = server.files[-1].name, len(server.files[-1].data)
            await source.start(BinlogPosition(end[0], 4))
            events: list[bytes] = []
            for _ in range(10):
                events += await next_heartbeat(source, scheduler)
            heartbeats = [raw for raw in events if raw[4] == EventType.HEARTBEAT]
            assert len(heartbeats) == 10
            for raw in heartbeats:
                assert EventDecoder().decode(raw)[1] == HeartbeatEvent(*end)
            server.files[-1].data += bytes(100)  # the server goes on, and its dump does not say so
            with pytest.raises(SourceUnavailable, match="was silent for 20 s, three heartbeats"):
                await next_heartbeat(source, scheduler)
        finally:
            await source.close()


async def next_heartbeat(source: MysqlSource, scheduler: ManualScheduler) -> list[bytes]:
    """Everything up to a heartbeat, time moving on whenever nothing happens by itself."""
    events: list[bytes] = []
    while not events or events[-1][4] != EventType.HEARTBEAT:
        reading = asyncio.ensure_future(source.read())
        while not reading.done():
            await settle()
            if not reading.done() and (source._asking is None or source._asking.done()):
                scheduler.advance(HEARTBEAT_PERIOD_MS)
        events += reading.result()
    return events


# ---- kills and cuts ----

RESUMED = tuple(
    case
    for case in CASES
    if case.version in ("mysql-5.1", "mysql-5.6", "aurora-3", "mariadb-5.5", "mariadb-10.0", "mysql-9.6")
    and case.rows <= 10
) + tuple(case for case in CASES if case.file.startswith(("5.7.32", "8.0.46", "mariadb-10.5")))


def comparable(world: World) -> list[dict[str, Any]]:
    """Records without their ids, which count heartbeats too, and without when they were read."""
    return [
        {
            **{name: value for name, value in record.fields.items() if name not in ("id", "tags")},
            "tags": {name: value for name, value in record.tags.items() if name != "readerThroughoutTime"},
        }
        for record in world.records()
    ]


@pytest.mark.torture
@pytest.mark.parametrize("case", RESUMED, ids=str)
async def test_a_dump_cut_and_a_process_killed_behind_any_event(case: Case, tmp_path: Path) -> None:
    await cut_and_killed(case, tmp_path, 1)


@pytest.mark.parametrize("case", RESUMED, ids=str)
async def test_a_dump_cut_and_a_process_killed_behind_some_events(case: Case, tmp_path: Path) -> None:
    await cut_and_killed(case, tmp_path, 5)


async def cut_and_killed(case: Case, tmp_path: Path, step: int) -> None:
    """What was captured goes on from the last boundary: the records are those of a run that was never disturbed."""
    server, objects = server_of(case)
    server.cut_reader = READER
    async with server:
        wanted = await undisturbed(server, objects, World(tmp_path, CLOCK))
        events = sum(1 for file in server.files for _ in file.events()) - len(server.files)
        for count in range(0, events, step):
            folder = tmp_path / str(count)
            folder.mkdir()
            world = World(folder, CLOCK)
            server.cut_after = count
            async with captured(world, server, objects) as status:
                assert status.state is State.ERROR
                assert status.retried_until_ms is not None, status.reason
            await world.close(orderly=False)
            world = World(folder, CLOCK)
            async with captured(world, server, objects) as status:
                assert status.state is State.NORMAL, status.reason
            assert comparable(world) == wanted, f"cut behind event {count}"
            await world.close()
    assert server.unanswered == []


async def undisturbed(server: ReplayServer, objects: list[str], world: World) -> list[dict[str, Any]]:
    async with captured(world, server, objects) as status:
        assert status.state is State.NORMAL, status.reason
    records = comparable(world)
    await world.close()
    assert records
    return records
