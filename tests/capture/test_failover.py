"""Which of log and catalog is the later where another server took over, and what the catalog keeps of it."""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

import capture.failover
from capture.binlog_files import BinlogFile
from capture.encode import EventEncoder
from capture.errors import SourceRefused
from capture.event_types import EventType
from capture.failover import known_point
from capture.identity import Recaptured
from capture.position import BinlogPosition, GtidSet, ResumePoint, SourceSnapshot, mysql_key
from capture.transactions import Gtid
from capture.xa import Xid
from storage.clock import SystemClock
from storage.log import RecoveredSource
from storage.prepared import PreparedStore
from storage.prepared_file import Place
from tests.capture.world import FILE, FedSource, World

if TYPE_CHECKING:
    from pathlib import Path

    from capture.source import Source

A, B = "3e11fa47-71ca-11e1-9e33-c80aa9429562", "4a11fa47-71ca-11e1-9e33-c80aa9429562"


def logged(server: str, position: int, gtid_set: str, file_number: int = 7) -> RecoveredSource:
    snapshot = SourceSnapshot("mysql", server, 1, "mysql-bin", gtid_set).to_bytes()
    return RecoveredSource(snapshot, file_number, position, (), -1)


def taken_over(server: str, position: int, gtid_set: str, file_number: int = 3) -> str:
    captured = GtidSet.parse(gtid_set)
    file = f"mysql-bin.{file_number:06d}"
    return ResumePoint(BinlogPosition(file, position), captured, server, 2, "mysql", captured).to_json()


def started(server: str, position: int, gtid_set: str) -> str:
    point = ResumePoint(BinlogPosition("mysql-bin.000001", position), GtidSet.parse(gtid_set), server, 1, "mysql")
    return point.to_json()


def test_what_an_earlier_version_wrote_reads_and_is_written_the_same() -> None:
    text = started(A, 4, f"{A}:1-5")
    assert "taken_over" not in json.loads(text)
    point = ResumePoint.from_json(text)
    assert point is not None
    assert point.taken_over is None
    assert point.to_json() == text


def test_a_point_of_a_server_that_took_over_goes_there_and_back() -> None:
    text = taken_over(B, 900, f"{A}:1-9")
    point = ResumePoint.from_json(text)
    assert point is not None
    assert point.taken_over == point.gtid_set == GtidSet.parse(f"{A}:1-9")
    assert point.to_json() == text


def test_a_new_channel_has_no_point_and_a_begun_one_its_start() -> None:
    assert known_point(None, None) is None
    assert known_point(None, started(A, 4, "")) == ResumePoint.from_json(started(A, 4, ""))


def test_without_a_failover_the_log_counts() -> None:
    point = known_point(logged(A, 500, f"{A}:1-9"), started(A, 4, f"{A}:1-5"))
    assert point is not None
    assert (str(point.position), point.taken_over) == ("mysql-bin.000007:500", None)


@pytest.mark.parametrize("gtid_set", [f"{A}:1-9", f"{A}:1-8"])
def test_until_the_new_server_is_in_the_log_the_catalog_counts(gtid_set: str) -> None:
    text = taken_over(B, 900, f"{A}:1-9")
    assert known_point(logged(A, 500, gtid_set), text) == ResumePoint.from_json(text)


def test_from_then_on_the_log_counts_and_remembers_what_is_passed_over() -> None:
    point = known_point(logged(B, 1200, f"{A}:1-9,{B}:1"), taken_over(B, 900, f"{A}:1-9", file_number=7))
    assert point is not None
    assert (str(point.position), str(point.gtid_set)) == ("mysql-bin.000007:1200", f"{A}:1-9,{B}:1")
    assert str(point.taken_over) == f"{A}:1-9"


def test_there_and_back_with_nothing_written_between() -> None:
    """The catalog names the server that the log names, and a position that is later on it."""
    text = taken_over(A, 700, f"{A}:1-9", file_number=7)
    assert known_point(logged(A, 500, f"{A}:1-9"), text) == ResumePoint.from_json(text)


def test_a_catalog_that_was_put_back_from_a_backup_does_not_take_a_log_back() -> None:
    point = known_point(logged(A, 500, f"{A}:1-20"), taken_over(B, 900, f"{A}:1-9"))
    assert point is not None
    assert point.position.position == 500


def test_what_was_captured_elsewhere_is_passed_over_and_what_comes_twice_here_is_refused() -> None:
    source = FedSource()
    source.queryable = True
    captured = GtidSet.parse(f"{A}:1-9")
    here = ResumePoint(BinlogPosition("b.000001", 4), GtidSet.parse(f"{A}:1-9,{B}:1-3"), B, 2, "mysql", captured)
    recaptured = Recaptured(source, here)

    def gtid(server: str, number: int) -> Gtid:
        return Gtid(mysql_key(bytes.fromhex(server.replace("-", ""))), number, f"{server}:{number}")

    assert not recaptured(None)
    assert recaptured(gtid(A, 9))
    assert not recaptured(gtid(A, 10))
    assert not recaptured(gtid(B, 4))
    with pytest.raises(SourceRefused, match=f"{B}:3 was captured before and comes again"):
        recaptured(gtid(B, 3))
    with pytest.raises(SourceRefused):
        Recaptured(source, replace(here, taken_over=None))(gtid(A, 9))


class Hosts(FedSource):
    """Two hosts, which are the same server."""

    def hosts(self) -> list[Source]:
        return [self, self]

    async def close(self) -> None:
        pass


async def test_prepared_transactions_stand_as_they_did_where_the_log_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Places of the server before mean nothing any more: what lay beyond the log's end there is put right first."""
    world = World(tmp_path, SystemClock())
    store = PreparedStore(world.log.directory, "topic")
    for xid, position in ((b"committed later", 400), (b"prepared later", 600)):
        store.prepare(store.begin(xid), Place(f"mysql {A}", 7, position), 0)
    store.finish(b"committed later", Place(f"mysql {A}", 7, 700), 0)
    store.sync()
    (row,) = world.catalog.channels()
    world.catalog.put_channel(replace(row, start=taken_over(A, 500, f"{A}:1-9", file_number=7)))
    point = ResumePoint.from_json(taken_over(B, 900, f"{A}:1-9"))
    source = Hosts()
    info = await source.connect()

    async def choose(*_: object) -> object:
        return source, info, point

    monkeypatch.setattr(capture.failover, "_choose", choose)
    await capture.failover.reach(source, world.log, world.catalog, "c")
    assert ResumePoint.from_json(world.catalog.channels()[0].start) == point
    found = PreparedStore(world.log.directory, "topic")
    found.recover(Place(f"mysql {B}", 3, 900), 0)
    assert found.xids == [b"committed later"]
    await world.close()


@pytest.mark.parametrize("events", [("XA COMMIT 'a'",), ("XA START 'a'", "XA END 'a'", None)])
async def test_xa_transactions_without_a_gtid_prove_nothing(events: tuple[str | None, ...]) -> None:
    source = FedSource()
    for sql in events:
        encoder = source.encoder
        source.feed(encoder.xa_prepare(1, Xid(1, b"a", b"")) if sql is None else encoder.query(1, sql, thread_id=1))
    file = BinlogFile(FILE, source.encoder.position)
    with pytest.raises(SourceRefused, match=f"a transaction without a GTID at {FILE}:"):
        await capture.failover._first_uncaptured(source, await source.connect(), file, file.end, GtidSet())


MariadbGtid = tuple[int, int, int]


@pytest.mark.parametrize(
    ("gtids", "captured", "new", "recaptured"),
    [
        ([(0, 1, 7), (0, 1, 8), (0, 1, 9)], "0-1-8", 2, ""),
        ([(0, 1, 7), (0, 1, 8)], "0-1-8", 2, ""),
        ([(0, 1, 7), (0, 1, 8), (0, 2, 6), (0, 1, 9)], "0-1-8", 2, ""),
        ([(0, 1, 8), (1, 1, 4), (1, 1, 5), (0, 1, 9)], "0-1-8,1-1-4", 2, ""),
        ([(1, 1, 4), (1, 1, 5), (0, 1, 8), (0, 1, 9)], "0-1-8,1-1-4", 1, "0-1-8"),
    ],
    ids=["behind the last", "nothing new", "a lower number behind the last", "two domains", "domains in another order"],
)
async def test_what_follows_the_last_of_a_mariadb_domain_is_new(
    gtids: list[MariadbGtid], captured: str, new: int, recaptured: str
) -> None:
    """`new` is the index of the first that was not captured."""
    source = FedSource()
    source.version = "10.11.6-MariaDB"
    boundaries = [source.encoder.position]
    for domain, server_id, sequence in gtids:
        encoder = EventEncoder(server_id=server_id, position=source.encoder.position)
        body = struct.pack("<QIB6x", sequence, domain, 0)
        source.feed(encoder.event(EventType.MARIADB_GTID, 1, body), encoder.xid(1, sequence))
        source.encoder.position = encoder.position
        boundaries.append(encoder.position)
    source.end()
    file = BinlogFile(FILE, source.encoder.position)
    info, known = await source.connect(), GtidSet.parse(captured)
    position, passed_over = await capture.failover._behind_captured(source, info, file, file.end, known, GtidSet())
    assert (position.position, str(passed_over)) == (boundaries[new], recaptured)
