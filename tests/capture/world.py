"""A channel in its world: a real log and catalog in a temporary folder, time that moves when told, records decoded."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from capture.avro import decode
from capture.channel import Channel, ChannelSpec, State
from capture.encode import EventEncoder
from capture.events import Checksum, decode_header
from capture.position import BinlogPosition
from capture.rewrite import rewrite_header
from capture.source import Flavour, ServerInfo, SourceAddress
from storage.catalog import Catalog, ChannelRow
from storage.config import LogConfig
from storage.records import iter_batches, iter_records
from storage.segment_log import SegmentLog

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from capture.source import Source
    from storage.clock import Clock
    from storage.scheduler import Scheduler

WAIT_S = 30
"""A wait that never ends is a failure; nothing that works takes this long."""


async def settle(turns: int = 50) -> None:
    """Let everything that is ready run."""
    for _ in range(turns):
        await asyncio.sleep(0)


@dataclass
class StoredRecord:
    """One record of the log, decoded; `fields` are those of the Avro record."""

    offset: int
    timestamp_ms: int
    value: bytes
    fields: dict[str, Any]

    @property
    def operation(self) -> str:
        return str(self.fields["operation"])

    @property
    def tags(self) -> dict[str, str]:
        found: dict[str, str] = self.fields["tags"]
        return found


class World:
    """One data folder; channels come and go in it."""

    def __init__(self, folder: Path, clock: Clock, config: LogConfig | None = None) -> None:
        self.folder = folder
        self.clock = clock
        self.config = config or LogConfig()
        self.log = SegmentLog.open(folder / "topic-0", "topic", self.config, clock)
        self.catalog = Catalog.open(folder / "catalog.db")
        if not self.catalog.channels():
            row = ChannelRow("c", "c", "topic", "", 1, None, "[]", 0, 0, State.NOT_STARTED, None)
            self.catalog.put_channel(row)

    def channel(
        self,
        source_factory: Callable[[], Source],
        *objects: str,
        scheduler: Scheduler | None = None,
        url: str = "file:///embedded.000001",
        **more: Any,
    ) -> Channel:
        """A channel that tracks these objects, from the beginning unless told otherwise."""
        options = {"start": "earliest", "server_id": 4711, **more}
        spec = ChannelSpec(id="c", topic="topic", address=SourceAddress.parse(url), objects=objects, **options)
        return Channel(spec, self.log, self.catalog, source_factory, self.clock, scheduler=scheduler)

    def records(self, *, heartbeats: bool = False) -> list[StoredRecord]:
        """Everything visible."""
        found = []
        offset = self.log.log_start_offset
        while offset < self.log.high_watermark:
            with self.log.read(offset, 1 << 20) as piece:
                if not piece:
                    break  # a gap that nothing follows yet
                for batch in iter_batches(bytes(piece.view)):
                    offset = batch.header.next_offset
                    for record in iter_records(batch):
                        assert record.value is not None
                        fields = decode(record.value)
                        found.append(StoredRecord(record.offset, record.timestamp_ms, record.value, fields))
        return [record for record in found if heartbeats or record.operation != "HEARTBEAT"]

    def operations(self, *, heartbeats: bool = False) -> list[str]:
        return [record.operation for record in self.records(heartbeats=heartbeats)]

    async def close(self, *, orderly: bool = True) -> None:
        """Close, orderly or as a killed process leaves it."""
        await self.log.close(orderly=orderly)
        self.catalog.close()


@asynccontextmanager
async def running(channel: Channel, *states: State) -> AsyncIterator[Channel]:
    """A started channel that has reached Normal (or one of `states`); stopped at the end."""
    await channel.start()
    try:
        async with asyncio.timeout(WAIT_S):
            status = await channel.wait_for(*(states or (State.NORMAL, State.ERROR)))
        if not states:
            assert status.state is State.NORMAL, status.reason
        yield channel
    finally:
        await channel.stop()


async def records_of_a_run(
    folder: Path, clock: Clock, source: FedSource, *, stop_at: int | None, turns: int, orderly: bool
) -> list[StoredRecord]:
    """The log's records of a source that ends; with `stop_at`, of two runs, the first stopped behind so many events at
    some turn of the loop.
    """
    whole = source.events
    world = World(folder, clock)
    if stop_at is not None:
        source.events = whole[: 1 + stop_at]
        async with running(world.channel(lambda: source, "shop")):
            await settle(turns)
        await world.close(orderly=orderly)
        world = World(folder, clock)
    source.events = list(whole)
    source.end()
    async with running(world.channel(lambda: source, "shop")) as channel, asyncio.timeout(WAIT_S):
        await channel.wait_ended()
    records = world.records()
    await world.close()
    source.ended = False
    return records


async def until(world: World, condition: Callable[[], bool]) -> None:
    """Wait until a condition holds, looking again whenever something becomes visible."""
    grown = asyncio.Event()
    end = world.log.subscribe(grown.set)
    try:
        async with asyncio.timeout(WAIT_S):
            while not condition():
                grown.clear()
                await grown.wait()
    finally:
        end()


FILE = "mysql-bin.000007"
UUID = "281c62dc-590c-11ee-a295-00163e390c7c"


class FedSource:
    """A source without a server that says what it is fed, and again from wherever a new stream begins."""

    queryable = False

    def __init__(self, *, paced_heartbeats: bool = False, heartbeat_period_ms: int = 5000) -> None:
        self.paced_heartbeats = paced_heartbeats
        self.heartbeat_period_ms = heartbeat_period_ms
        self.address = "fed:"
        self.version = "8.0.36"
        self.server_uuid: str | None = UUID
        self.failure: Exception | None = None
        self.connect_failure: Exception | None = None
        self.ended = False
        self.starts: list[BinlogPosition] = []
        self.closed = 0
        self.encoder = EventEncoder()
        self.events: list[bytes] = [self.encoder.format_description(1_700_000_000)]
        self._unread: list[bytes] = []
        self._wake = asyncio.Event()

    def feed(self, *events: bytes) -> None:
        """Say these next; they stand in the file behind those before."""
        self.events += events
        self._unread += events
        self._wake.set()

    def fail(self, failure: Exception) -> None:
        """Break off behind what was fed; the next stream is whole again."""
        self.failure = failure
        self._wake.set()

    def end(self) -> None:
        self.ended = True
        self._wake.set()

    def hosts(self) -> list[Source]:
        return [self]

    def sibling(self) -> FedSource:
        return self

    async def connect(self) -> ServerInfo:
        if self.connect_failure is not None:
            raise self.connect_failure
        return ServerInfo(self.version, Flavour.MYSQL, 1, self.server_uuid, 0, beginning=BinlogPosition(FILE, 4))

    async def query(self, sql: str) -> list[tuple[str | None, ...]]:
        raise AssertionError(sql)

    async def start(self, position: BinlogPosition) -> None:
        self.starts.append(position)
        self.failure = None
        rotate = EventEncoder(checksum=Checksum.NONE).artificial_rotate(position.file, position.position)
        head = rewrite_header(self.events[0], has_checksum=True, end_position=0)
        rest = [raw for raw in self.events if decode_header(raw).end_position > position.position]
        self._unread = [rotate, *([] if position.position == 4 else [head]), *rest]

    async def read(self) -> list[bytes]:
        while not self._unread:
            if self.failure is not None:
                raise self.failure
            if self.ended:
                return []
            self._wake.clear()
            await self._wake.wait()
        events, self._unread = self._unread, []
        return events

    def pending(self) -> bool:
        return bool(self._unread)

    def committed(self, position: BinlogPosition) -> None:
        """Everything is kept."""

    async def close(self) -> None:
        self.closed += 1
