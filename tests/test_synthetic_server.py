"""The benchmarks' synthetic server: Binwire and mysql-replication get from it what the binlog file holds."""

from __future__ import annotations

import asyncio
import logging
import warnings
from typing import TYPE_CHECKING

import pymysql
import pytest

from bench import material, synthetic_server
from bench.material import Material
from bench.orders import DATABASE
from bench.prepared_binlog import Packets, first_rows
from bench.synthetic_server import SyntheticServer
from capture.channel import ChannelSpec, State
from capture.checking import CheckResult
from capture.events import Checksum, EventDecoder, EventType, GtidEvent, iter_events
from capture.mysql_source import MysqlSource
from capture.packets import EventSplitter
from capture.position import BinlogPosition, GtidSet
from capture.precheck import Outcome, check
from capture.source import ServerRefusal, SourceAddress
from storage.clock import SystemClock
from tests.capture.world import World, running, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from capture.source import Source

TRANSACTIONS, ROWS = 6, 7
FILES = 3


@pytest.fixture
def binlog(tmp_path: Path) -> Material:
    return material.write_binlog(tmp_path / "mysql-bin.000001", TRANSACTIONS, ROWS)


@pytest.fixture
def server(binlog: Material) -> Iterator[SyntheticServer]:
    with SyntheticServer(binlog) as running_server:
        yield running_server


def source_of(server: SyntheticServer) -> MysqlSource:
    return MysqlSource(SourceAddress.parse(server.url), 4711, SystemClock(), heartbeat_period_ms=20)


async def dumped(server: SyntheticServer, position: int) -> list[bytes]:
    """The events of a dump up to the heartbeat behind them."""
    source, events = source_of(server), list[bytes]()
    try:
        await source.start(BinlogPosition(server.file, position))
        while EventType.HEARTBEAT not in {raw[4] for raw in events}:
            events += await source.read()
    finally:
        await source.close()
    return events


def made(events: list[bytes]) -> list[bytes]:
    """Those that are in the file: without ROTATE, format description and heartbeats."""
    left_out = {EventType.ROTATE, EventType.FORMAT_DESCRIPTION, EventType.HEARTBEAT}
    return [raw for raw in events if raw[4] not in left_out]


async def test_a_dump_from_any_event_is_what_the_file_holds_from_there(
    server: SyntheticServer, binlog: Material
) -> None:
    data = binlog.path.read_bytes()
    assert server.start == first_rows(data)
    assert server.end == (binlog.path.name, len(data))
    positions = [4, server.start]
    at = 4
    for raw in iter_events(data):
        if raw[4] == EventType.GTID:
            positions.append(at)
        at += len(raw)
    for position in [*positions, len(data)]:
        expected = [*iter_events(data, start=position)] if position < len(data) else []
        assert made(await dumped(server, position)) == made(expected), position


async def test_a_place_within_an_event_is_refused(server: SyntheticServer) -> None:
    with pytest.raises(ServerRefusal, match="finds no event"):
        await dumped(server, server.start + 1)


async def test_a_file_sent_again_has_gtids_that_go_on_and_checksums_that_hold(binlog: Material) -> None:
    with SyntheticServer(binlog, files=FILES) as server:
        events = await dumped(server, server.start)
        assert server.end[0] == "mysql-bin.000003"
    decoder, executed, numbers, rows = EventDecoder(Checksum.CRC32), GtidSet(), [], 0
    for raw in events:
        _, event = decoder.decode(raw)
        rows += raw[4] in {EventType.WRITE_ROWS, EventType.UPDATE_ROWS, EventType.DELETE_ROWS}
        if isinstance(event, GtidEvent):
            numbers.append(event.gno)
            executed.add(event.sid, event.gno)
    assert numbers == list(range(3, 3 + FILES * TRANSACTIONS)), "1 and 2 made the table"
    assert rows == FILES * (3 * TRANSACTIONS - 3)


def test_packets_are_numbered_on_beyond_255(tmp_path: Path) -> None:
    data = material.write_binlog(tmp_path / "mysql-bin.000001", 70, 1).path.read_bytes()
    packets = Packets(data, first_rows(data))
    packets.stamp(250)
    splitter = EventSplitter(250)
    events = splitter.feed(bytes(packets.buffer))
    assert splitter.failure is None
    assert events == [*iter_events(data, start=first_rows(data))]
    packets.stamp(packets.next_sequence)
    assert splitter.feed(bytes(packets.buffer)) == events
    assert splitter.failure is None


async def test_a_channel_begins_now_is_held_and_gets_every_row(binlog: Material, tmp_path: Path) -> None:
    (tmp_path / "world").mkdir()
    world = World(tmp_path / "world", SystemClock())
    with SyntheticServer(binlog, files=2, held=True) as server:

        def source() -> Source:
            return source_of(server)

        channel = world.channel(source, DATABASE, url=server.url, start="now")
        assert all(item.outcome is not Outcome.FAILED for item in await _checked(server, channel.spec))
        async with running(channel, State.NORMAL):
            assert not world.records(), "held"
            await asyncio.to_thread(server.release)
            expected = server.rows + 2 * 2 * TRANSACTIONS  # BEGIN and COMMIT
            await until(world, lambda: len(world.operations()) >= expected)
        operations = world.operations()
        assert server.unanswered() == []
    assert len(operations) == expected
    assert sum(operation in {"INSERT", "UPDATE", "DELETE"} for operation in operations) == server.rows
    await world.close()


async def _checked(server: SyntheticServer, spec: ChannelSpec) -> list[CheckResult]:
    source = source_of(server)
    try:
        return [*await check(source, await source.connect(), spec)]
    finally:
        await source.close()


def test_mysql_replication_reads_every_row(server: SyntheticServer) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pymysqlreplication import BinLogStreamReader
        from pymysqlreplication.row_event import DeleteRowsEvent, UpdateRowsEvent, WriteRowsEvent

        logging.getLogger("pymysqlreplication").setLevel(logging.ERROR)
        account = {"user": synthetic_server.USER, "passwd": synthetic_server.PASSWORD}
        for begin in (
            {"log_file": server.file, "log_pos": server.start, "resume_stream": True},
            {"auto_position": f"{server.server_uuid}:1-2"},
        ):
            stream = BinLogStreamReader(
                connection_settings={"host": server.host, "port": server.port, **account},
                server_id=4712,
                only_events=[WriteRowsEvent, UpdateRowsEvent, DeleteRowsEvent],
                **begin,
            )
            assert sum(len(event.rows) for event in stream) == server.rows
            stream.close()
    assert server.unanswered() == []


async def test_a_wrong_password_is_refused(server: SyntheticServer) -> None:
    with pytest.raises(pymysql.err.OperationalError, match="1045"):
        await asyncio.to_thread(
            lambda: pymysql.connect(host=server.host, port=server.port, user=synthetic_server.USER, password="wrong")
        )


async def test_what_is_not_answered_is_told(server: SyntheticServer) -> None:
    source = source_of(server)
    try:
        with pytest.raises(ServerRefusal, match="1064"):
            await source.query("SELECT nonsense")
    finally:
        await source.close()
    assert server.unanswered() == ["SELECT nonsense"]
