"""From what a person asks for to a position: every way to ask, on real servers, and every refusal."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING
from uuid import UUID

import pytest

from capture.errors import SourceRefused
from capture.position import BinlogPosition, GtidSet, PositionError
from capture.selection import Selection
from capture.snapshot import definitions_at
from capture.source import Flavour, SourceAddress, open_source
from capture.start import _time_s, binlog_files, current_end, require_position, resolve_start
from storage.clock import SystemClock
from tests.capture.world import WAIT_S

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from capture.source import ServerInfo, Source
    from tests.live_server import LiveServer


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2026-11-20T08:00:00Z", 1795161600),
        ("2026-11-20 16:00:00+08:00", 1795161600),
        ("2026-11-20T08:00:00", 1795161600),
        ("2026-11-20T08:00:00.5Z", 1795161601),
        ("2026-11-20", 1795132800),
        ("1795161600", 1795161600),
        ("1795161600001", 1795161601),
        ("mysql-bin.000001:4", None),
        ("0-1-7", None),
        ("never", None),
    ],
)
def test_times(text: str, seconds: int | None) -> None:
    """A fraction rounds up: the first transaction at or after that moment."""
    assert _time_s(text) == seconds


class Probe:
    """A server with three binlog files and what was done in them."""

    def __init__(self, server: LiveServer) -> None:
        self.server = server
        self.database = server.fresh_database()
        self.boundaries: list[BinlogPosition] = []
        self.sets: list[str] = []

    def do(self, *statements: str) -> None:
        for sql in statements:
            self.server.execute(sql)
        self.boundaries.append(BinlogPosition(*self.server.binlog_position()))
        self.sets.append(self.executed())

    def executed(self) -> str:
        if self.server.kind == "mysql56":
            return ""
        name = "gtid_binlog_pos" if self.server.flavour == "mariadb" else "GLOBAL.gtid_executed"
        return "".join(str(self.server.execute(f"SELECT @@{name}")[0][0]).split())

    def purge_to(self, file: str) -> None:
        """Purge older files; MariaDB keeps what dumps it has not found dead yet may need, so they are killed first."""
        while self.server.binlog_files()[0][0] != file:
            for row in self.server.execute("SHOW PROCESSLIST"):
                if str(row[4]).startswith("Binlog Dump"):
                    self.server.execute(f"KILL {row[0]}")
            self.server.execute(f"PURGE BINARY LOGS TO '{file}'")


@pytest.fixture(params=["mysql97", "mysql56", "mariadb1011"])
async def probe(request: pytest.FixtureRequest, server_factory: Callable[..., LiveServer]) -> Probe:
    made = Probe(await asyncio.to_thread(server_factory, request.param))
    made.do(f"CREATE TABLE {made.database}.t (id INT PRIMARY KEY)")
    made.do(f"INSERT INTO {made.database}.t VALUES (1)")
    made.do("FLUSH BINARY LOGS")
    made.do(f"INSERT INTO {made.database}.t VALUES (2)")
    made.do(
        "START TRANSACTION", f"INSERT INTO {made.database}.t VALUES (3)", f"DELETE FROM {made.database}.t", "COMMIT"
    )
    made.do("FLUSH BINARY LOGS")
    made.do(f"INSERT INTO {made.database}.t VALUES (4)")
    return made


@pytest.fixture
async def source(probe: Probe) -> AsyncIterator[Source]:
    made = open_source(SourceAddress.parse(probe.server.url()), 4714, SystemClock())
    async with asyncio.timeout(WAIT_S):
        yield made
    await made.close()


@pytest.fixture
async def info(source: Source) -> ServerInfo:
    return await source.connect()


async def test_every_way_to_ask(probe: Probe, source: Source, info: ServerInfo) -> None:
    now = await resolve_start(source, info, "now")
    assert (now.position, str(now.gtid_set)) == (probe.boundaries[-1], probe.sets[-1])
    assert (now.server_uuid, now.server_id, now.flavour) == (info.server_uuid, info.server_id, info.flavour)
    earliest = await resolve_start(source, info, "earliest")
    assert (earliest.position, str(earliest.gtid_set)) == (BinlogPosition("binlog.000001", 4), "")
    for boundary, gtid_set in zip(probe.boundaries, probe.sets, strict=True):
        point = await resolve_start(source, info, str(boundary))
        assert (point.position, str(point.gtid_set)) == (boundary, gtid_set)
    beginning = await resolve_start(source, info, "binlog.000002:4")
    assert (beginning.position, str(beginning.gtid_set)) == (BinlogPosition("binlog.000002", 4), probe.sets[1])


async def test_a_gtid_set(probe: Probe, source: Source, info: ServerInfo) -> None:
    if not probe.sets[-1]:
        pytest.skip("MySQL 5.6 runs without GTIDs here")
    for index in (0, 1, 3, 4, 6):
        point = await resolve_start(source, info, probe.sets[index])
        assert str(point.gtid_set) == probe.sets[index]
        follows = await resolve_start(source, info, str(point.position))
        assert follows.gtid_set == point.gtid_set
        # Behind what has no GTID it may lie: a rotation, and the checkpoint event that MariaDB writes when it likes.
        later = zip(probe.boundaries[index:], probe.sets[index:], strict=True)
        assert all(point.position.order < end.order for end, gtid_set in later if gtid_set != probe.sets[index])


async def test_a_gtid_set_with_a_gap_is_refused(probe: Probe, source: Source, info: ServerInfo) -> None:
    if info.flavour is not Flavour.MYSQL or not probe.sets[-1]:
        pytest.skip("only MySQL's sets can have gaps")
    uuid = probe.sets[-1].partition(":")[0]
    with pytest.raises(SourceRefused, match="has a gap"):
        await resolve_start(source, info, f"{uuid}:1-3:5")


async def test_a_gtid_set_of_another_history_is_refused(probe: Probe, source: Source, info: ServerInfo) -> None:
    """Passed over, it would begin at the oldest file, or at the end and with transactions that the set names."""
    other = "00000000-e5be-11f1-b5c3-02fc00000001:1-5"
    for asked in (other, "7-1-2", "0-1-99999", f"{info.server_uuid or UUID(int=1)}:1-99999"):
        with pytest.raises(SourceRefused, match=f"the GTID set {asked} names transactions that .* does not have; its"):
            await resolve_start(source, info, asked)


async def test_a_time(probe: Probe, source: Source, info: ServerInfo) -> None:
    before = BinlogPosition(*probe.server.binlog_position())
    later = int(time.time()) + 2
    probe.do(f"SET timestamp = {later}", f"INSERT INTO {probe.database}.t VALUES (5)", "SET timestamp = DEFAULT")
    probe.do(f"SET timestamp = {later + 1}", f"INSERT INTO {probe.database}.t VALUES (6)", "SET timestamp = DEFAULT")
    ahead = ServerInfoAhead(info)
    assert (await resolve_start(source, ahead(10), str(later))).position == before
    assert (await resolve_start(source, ahead(10), str(later + 1))).position == probe.boundaries[-2]
    end = (await resolve_start(source, ahead(10), str(later + 2))).position
    # MariaDB writes a checkpoint event of 40 bytes when it has time to.
    assert end in (probe.boundaries[-1], BinlogPosition(*probe.server.binlog_position()))
    with pytest.raises(SourceRefused, match="in the future"):
        await resolve_start(source, info, str(later + 3600))
    with pytest.raises(SourceRefused, match="before the oldest binlog"):
        await resolve_start(source, info, "2001-01-01T00:00:00Z")


class ServerInfoAhead:
    """The same server with a clock that is ahead of ours."""

    def __init__(self, info: ServerInfo) -> None:
        self._info = info

    def __call__(self, seconds: int) -> ServerInfo:
        from msgspec.structs import replace

        return replace(self._info, clock_offset_ms=seconds * 1000)


async def test_positions_that_are_none(probe: Probe, source: Source, info: ServerInfo) -> None:
    inside = probe.boundaries[4].at(probe.boundaries[4].position - 10)
    with pytest.raises(SourceRefused, match="inside a transaction"):
        await resolve_start(source, info, str(inside))
    with pytest.raises(SourceRefused, match="does not exist on"):
        await resolve_start(source, info, "binlog.000099:4")
    with pytest.raises(SourceRefused, match="does not exist on"):
        await resolve_start(source, info, "binlog.000001:999999")
    with pytest.raises(PositionError, match="is not a GTID set"):
        await resolve_start(source, info, "tomorrow")
    probe.purge_to("binlog.000003")
    with pytest.raises(SourceRefused, match=r"was purged, and the binlog goes from binlog\.000003:4 to "):
        await resolve_start(source, info, str(probe.boundaries[0]))
    if probe.sets[-1]:
        with pytest.raises(SourceRefused, match="has purged from its binlog"):
            await resolve_start(source, info, probe.sets[0])


async def test_the_binlogs_that_are_there(probe: Probe, source: Source, info: ServerInfo) -> None:
    files = await binlog_files(source)
    assert [(file.name, file.size_bytes) for file in files] == probe.server.binlog_files()
    end, gtid_set = await current_end(source, info)
    assert (end, gtid_set) == (probe.boundaries[-1], GtidSet.parse(probe.sets[-1]))
    assert require_position(source, files, end) == files[-1]


async def test_binary_logging_that_is_off(server_factory: Callable[..., LiveServer]) -> None:
    server = await asyncio.to_thread(server_factory, "mysql97", "--skip-log-bin")
    source = open_source(SourceAddress.parse(server.url()), 4714, SystemClock())
    try:
        info = await source.connect()
        for text in ("now", "earliest"):
            with pytest.raises(SourceRefused, match="binary logging is off"):
                await resolve_start(source, info, text)
    finally:
        await source.close()


# ---- the snapshot that goes with a start ----


async def definitions(probe: Probe, source: Source, info: ServerInfo, since: int) -> dict[str, str]:
    found = await definitions_at(source, info, Selection([probe.database]), probe.boundaries[since])
    return {text.split("`")[1]: text for _, text in found.tables}


async def test_what_holds_at_a_past_position(probe: Probe, source: Source, info: ServerInfo) -> None:
    database = probe.database
    assert set(await definitions(probe, source, info, 0)) == {"t"}
    probe.do(f"CREATE TABLE {database}.later (id INT)", f"CREATE TABLE IF NOT EXISTS {database}.t (other INT)")
    assert set(await definitions(probe, source, info, 0)) == {"t"}, "what was created since did not exist"
    assert set(await definitions(probe, source, info, -1)) == {"t", "later"}
    probe.do(f"DROP TABLE {database}.later", f"CREATE TABLE {database}.later (id BIGINT)")
    assert set(await definitions(probe, source, info, -2)) == {"t"}, "another table had the name"
    probe.do("CREATE DATABASE elsewhere", "CREATE TABLE elsewhere.t (a INT)", "ALTER TABLE elsewhere.t ADD b INT")
    assert set(await definitions(probe, source, info, 0)) == {"t"}, "untracked tables harm nobody"


@pytest.mark.parametrize(
    "statement", ["ALTER TABLE {0}.t ADD x INT", "RENAME TABLE {0}.t TO {0}.u", "CREATE INDEX i ON {0}.t (id)"]
)
async def test_a_definition_that_changed_since_is_not_taken(
    probe: Probe, source: Source, info: ServerInfo, statement: str
) -> None:
    probe.do(statement.format(probe.database))
    found = await definitions_at(source, info, Selection([probe.database]), probe.boundaries[1])
    assert found.unknown == ((probe.database, "t"),)
    assert found.tables == ()
    assert await definitions(probe, source, info, -1)


async def test_statements_that_leave_columns_and_keys_alone(probe: Probe, source: Source, info: ServerInfo) -> None:
    for change in ("ENGINE=InnoDB", "COMMENT='x'", "FORCE", "AUTO_INCREMENT=7"):
        probe.do(f"ALTER TABLE {probe.database}.t {change}")
    probe.do(f"TRUNCATE TABLE {probe.database}.t", f"ANALYZE TABLE {probe.database}.t")
    assert set(await definitions(probe, source, info, 0)) == {"t"}


async def test_a_table_untracked_beside_a_tracked_one_may_change(
    probe: Probe, source: Source, info: ServerInfo
) -> None:
    database = probe.database
    probe.do(f"CREATE TABLE {database}.side (id INT)")
    since = probe.boundaries[-1]
    probe.do(f"ALTER TABLE {database}.side ADD a INT")
    found = await definitions_at(source, info, Selection([f"{database}.t"]), since)
    assert [text.split("`")[1] for _, text in found.tables] == ["t"]
    assert [name for name, _ in found.databases] == [database]
