"""What the server takes from capture: the one file of the broker that imports it, and only when something is asked for.

Left to others: when any of it is done (`app.py`), what a channel does (`capture/channel.py`).
"""

from __future__ import annotations

import asyncio
import importlib
import random
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from msgspec import json
from msgspec.structs import replace

from broker.channels import shown_item
from broker.config_rules import ConfigError
from storage.clock import SystemClock
from storage.compression import NONE
from storage.directory import catalog_path, topic_path
from storage.errors import StorageError
from storage.records import iter_batches, iter_records

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
    from io import BytesIO

    from broker.config import ChannelConfig, Config
    from broker.control import PrecheckItem
    from broker.enrolment import Enrolled
    from broker.explain import Explanation
    from broker.operations.sources import SourceDesk
    from capture.channel import Channel, ChannelSpec
    from capture.embedded_source import EmbeddedSource
    from capture.position import ResumePoint
    from capture.scenario.player import Player
    from capture.source import Source, SourceAddress
    from storage.catalog import Catalog, GroupRow
    from storage.clock import Clock
    from storage.log import LogReader, RecoveredSource
    from storage.segment_log import SegmentLog

    Closer = Callable[[], Awaitable[None]]
    SourceFactory = Callable[[ChannelSpec, Clock], Source]
    ChangedSource = EmbeddedSource
    ChangeMaker = Callable[[ChangedSource], object]

CHARACTERS_AT_ONCE: Final = 2048
"""Of a scenario's statements, before others on the loop have their turn: about 10 ms of work."""

READER_IDS: Final = (1 << 31, (1 << 32) - 1)  # server ids of those who only look something up


class CallFailedError(Exception):
    """A change asked of an embedded channel cannot be made; one sentence."""


class Opening(NamedTuple):
    """A channel whose log is open, and which nobody sees yet."""

    config: ChannelConfig
    spec: ChannelSpec
    source: SourceFactory
    log: SegmentLog
    enrolled: Sequence[Enrolled]
    made_groups: Sequence[GroupRow]
    created_ms: int
    closers: list[Closer]


class OpenChannel(NamedTuple):
    """A channel that was just opened: what runs it, its log, and its groups in the order of the configuration."""

    channel: Channel
    log: SegmentLog
    group_ids: tuple[str, ...]


class ReadyRecord(NamedTuple):
    """A record that is made already. `timestamp_ms` is the Kafka record's."""

    id: int
    value: bytes
    timestamp_ms: int


class EmbeddedChannel:
    """A channel whose changes come by call. Each call is one transaction, visible to consumers when it returns."""

    def __init__(self, opened: OpenChannel, source: EmbeddedSource, clock: Clock) -> None:
        self.group_id = opened.group_ids[0]
        self._opened = opened
        self._source = source
        self._clock = clock
        self._player: Player | None = None
        self._playing = asyncio.Lock()
        self._free = asyncio.Event()
        """Not set while somebody has the channel to himself."""
        self._free.set()

    @property
    def log(self) -> LogReader:
        """What consumers read."""
        return self._opened.log

    @property
    def source(self) -> EmbeddedSource:
        """Where its changes are made. Whoever changes anything there does it by `change`."""
        return self._source

    async def change(self, make: ChangeMaker) -> int:
        """Have `make` change something; the high watermark once consumers can see it.

        Raises CallFailedError if the source refuses the change or the channel cannot carry it over. What was made
        before the refusal, by a `make` that does several things, is not waited for.
        """
        from capture.errors import CaptureError

        await self._turn()
        try:
            make(self._source)
            await self._opened.channel.wait_visible(self._source.position, waits_for_room=False)
        except CaptureError as error:
            raise CallFailedError(str(error)) from None
        return self._opened.log.high_watermark

    async def play(self, scenario: str) -> int:
        """Play the statements of a `.sql` file; how many there were, once consumers can see what they changed.

        Raises CallFailedError with the line where one is refused; what was committed before it can be seen then.
        """
        from capture.errors import CaptureError
        from capture.scenario.player import Player

        async with self._playing:
            if self._player is None:
                self._player = Player(self._source, self._clock)
            await self._turn()
            count = played = 0
            try:
                with closing(self._player.play(scenario)) as steps:
                    for characters in steps:
                        count += 1
                        played += characters
                        if played >= CHARACTERS_AT_ONCE:
                            played = 0
                            await asyncio.sleep(0)
                            await self._turn()
            except CaptureError as error:
                raise CallFailedError(str(error)) from None
            finally:
                await self.change(lambda source: None)
            return count

    async def interject(self, records: Sequence[ReadyRecord]) -> None:
        """Write ready records behind everything that was called; returns when consumers can see them. They keep their
        ids, or are moved up together where the channel has greater ones. Raises CallFailedError.
        """
        from capture.errors import CaptureError
        from capture.store_records import with_id

        timestamps_ms = [record.timestamp_ms for record in records]
        while True:
            await self._turn()
            channel = self._opened.channel
            try:
                await channel.wait_visible(self._source.position, waits_for_room=False)
            except CaptureError as error:
                raise CallFailedError(str(error)) from None
            shift = max(0, channel.next_id - records[0].id) if self._opened.log.end_offset else 0
            values = [with_id(value, number + shift) if shift else value for number, value, _ in records]
            if channel.interject(values, timestamps_ms, records[-1].id + shift + 1):
                break
            await asyncio.sleep(0)
        await self._opened.log.shown()

    async def change_untracked(self, make: ChangeMaker) -> int:
        """As `change`, with records of the rows that `make` changes whatever the channel tracks; it changes some."""
        from capture.batches import encode
        from capture.errors import CaptureError
        from capture.untracked import everything_since

        async with self.still() as opened:
            since, log = self._source.position, opened.log
            try:
                make(self._source)
                made = await everything_since(self._source, since, opened.channel.spec, log.end_offset, self._clock)
            except CaptureError as error:
                raise CallFailedError(str(error)) from None
            log.append(await encode(log.end_offset, made.values, made.timestamps_ms, len(made.values), NONE))
            log.commit(made.positions)
            return log.high_watermark

    async def write_noops(self, count: int, timestamp_s: int | None) -> int:
        """Write NOOP records, of which the source knows nothing; the high watermark. Raises CallFailedError."""
        from capture.errors import SourceRefused
        from capture.store_records import noop

        try:
            time_s = self._source.time_s(timestamp_s)
        except SourceRefused as error:
            raise CallFailedError(str(error)) from None
        await self.interject([ReadyRecord(index, noop(index, time_s), time_s * 1000) for index in range(count)])
        return self._opened.log.high_watermark

    @asynccontextmanager
    async def still(self) -> AsyncIterator[OpenChannel]:
        """Have the channel to oneself: what was called before is visible, the channel is stopped behind it, and other
        calls wait. Raises CallFailedError if it stands still already.
        """
        from capture.errors import CaptureError

        await self._turn()
        self._free.clear()
        try:
            try:
                await self._opened.channel.wait_visible(self._source.position, waits_for_room=False)
            except CaptureError as error:
                raise CallFailedError(str(error)) from None
            await self._opened.channel.stop()
            try:
                yield self._opened
            finally:
                await self._opened.channel.start()
        finally:
            self._free.set()

    async def _turn(self) -> None:
        while not self._free.is_set():
            await self._free.wait()

    def opening(self, config: ChannelConfig, log: SegmentLog, id_base: int, closers: list[Closer]) -> Opening:
        """What it would be over another log, which is as far."""
        spec = replace(self._opened.channel.spec, id_base=id_base)
        return Opening(config, spec, lambda spec, clock: self._source, log, (), (), 0, closers)

    def go_on_with(self, opened: OpenChannel) -> None:
        """Another channel and log have taken the place of those it had; while it is still."""
        self._opened = opened

    async def begin(self, statements: Sequence[str], database: str) -> None:
        """Run the first statements, in what is the channel's database from now on. Raises CallFailedError."""

        def run(source: EmbeddedSource) -> None:
            source.database = database
            for statement in statements:
                source.statement(statement)

        await self.change(run)

    async def expire(self) -> int:
        """Have everything so far go, as when its time is over, but the HEARTBEAT record that this writes.

        Returns the offset that the log starts with then. Raises CallFailedError.
        """
        await self._turn()
        log = self._opened.log
        while log.end_offset > log.high_watermark:  # a segment does not end in the middle of a transaction
            await log.shown()
            await asyncio.sleep(0)
        log.roll()
        await self.change(lambda source: source.heartbeat())
        await log.flushed()
        log.expire()
        return log.log_start_offset


def new_channel(spec: ChannelSpec, log: SegmentLog, catalog: Catalog, source: SourceFactory, clock: Clock) -> Channel:
    """What runs a channel over its log."""
    from capture.channel import Channel

    channel = Channel(spec, log, catalog, lambda: source(channel.spec, clock), clock)
    return channel


async def open_embedded(
    add_channel: Callable[[ChannelConfig, SourceFactory], Awaitable[OpenChannel]],
    clock: Clock,
    config: ChannelConfig,
    statements: Sequence[str],
    database: str,
    server_version: str | None,
) -> EmbeddedChannel:
    """A channel whose changes come by call, served by `add_channel`; `statements`, run in `database`, are visible then.

    Without `objects` everything is tracked. Raises CallFailedError.
    """
    from capture.embedded_source import SERVER_VERSION, EmbeddedSource
    from capture.errors import CaptureError
    from capture.selection import EVERYTHING

    try:
        source = EmbeddedSource(clock, database=database, server_version=server_version or SERVER_VERSION)
        for statement in statements:
            source.statement(statement)
    except CaptureError as error:
        raise CallFailedError(str(error)) from None
    objects = config.objects or [EVERYTHING]
    try:
        opened = await add_channel(replace(config, objects=objects), lambda spec, clock: source)
        if statements:
            await opened.channel.wait_visible(source.position, waits_for_room=False)
    except (CaptureError, ConfigError, StorageError) as error:
        raise CallFailedError(str(error)) from None
    return EmbeddedChannel(opened, source, clock)


def source_address(config: ChannelConfig, path: str) -> SourceAddress:
    """Where a configured channel reads from; `ConfigError` under `path` if that cannot be read."""
    from capture.source import SourceAddress, SourceAddressError

    try:
        return SourceAddress.parse(config.source.reveal())
    except SourceAddressError as error:
        raise ConfigError(f"{path}.source: {error}") from None


def channel_spec(config: ChannelConfig, path: str) -> ChannelSpec:
    """What a configured channel is to do; `ConfigError` under `path` if its source address cannot be read."""
    from capture.channel import ChannelSpec
    from capture.selection import EVERYTHING, SelectionError, parse_object

    address = source_address(config, path)
    for index, text in enumerate(config.objects):
        try:
            _ = text == EVERYTHING or parse_object(text)
        except SelectionError as error:
            raise ConfigError(f"{path}.objects[{index}]: {error}") from None
    return ChannelSpec(
        id=config.id,
        topic=config.topic_name,
        address=address,
        server_id=config.server_id,
        objects=tuple(config.objects),
        data_types=frozenset(config.data_types),
        start=str(config.start),
        compression=config.compression,
        record_bytes_max=config.record_limit_bytes,
        allow_replica=config.allow_replica,
        row_image=config.row_image,
        retention_ms=config.retention_ms,
        schema_file=config.schema_file,
        ghost_ddl=config.ghost_ddl,
    )


def open_configured_source(spec: ChannelSpec, clock: Clock) -> Source:
    """The source that the address of a channel names."""
    from capture.source import open_source

    return open_source(spec.address, spec.server_id, clock, identity=spec.id)


def source_desk() -> SourceDesk:
    """Who asks sources that are no channel's."""
    from capture.desk import SourceDesk

    return SourceDesk()


def replay_source(paths: Sequence[Path], *, speed: float, gap_ms_max: int) -> SourceFactory:
    """Sources that play binlog files again and again at a live pace, with their times moved to now."""
    from capture.replay_source import ReplaySource

    return lambda spec, clock: ReplaySource(paths, clock, speed=speed, gap_ms_max=gap_ms_max, repeat=True)


def begins_anew(value: bytes) -> bool:
    """Whether a consumer may begin with a record: it belongs to no transaction that began before it."""
    from capture.store_records import head

    return head(value).begins


def moved_record(value: bytes, record_id: int) -> bytes:
    """A record as another store has it."""
    from capture.store_records import with_id

    return with_id(value, record_id)


def snapshot_behind(recovered: RecoveredSource) -> bytes:
    """What tells of the source where a log ends, for a log that begins there."""
    from capture import store_records

    return store_records.snapshot_behind(recovered)


async def run_precheck(
    spec: ChannelSpec,
    clock: Clock,
    data_path: Path,
    objects: tuple[str, ...] | None = None,
    address: SourceAddress | None = None,
) -> Sequence[PrecheckItem]:
    """Look at a channel's source, and at what the data directory already holds of it, without changing anything; with
    `objects` for those in place of its own, with `address` at that.

    Raises StorageError if that data cannot be read.
    """
    await asyncio.to_thread(importlib.import_module, "capture.precheck")
    from capture import precheck

    if objects is not None:
        spec = replace(spec, objects=objects)
    if address is not None:
        spec = replace(spec, address=address)
    resume = await asyncio.to_thread(_stored_resume, spec, data_path)
    source = open_configured_source(spec, clock)
    try:
        results = await precheck.run(source, spec, resume)
    finally:
        await source.close()
    return [shown_item(item) for item in results]


async def explain_record(
    config: Config, index: int, offset: int, record: dict[str, Any], value: bytes, before: int | None
) -> Explanation:
    """What a record of the channel `index` was made of; `before` is a boundary before it in the same binlog file.

    Raises StorageError if the log does not tell where it came from.
    """
    from broker.explain import DefinitionView, EventView, Explanation, Part
    from capture.explain import explain
    from capture.position import PositionError, SourceSnapshot
    from capture.source import open_source
    from storage.catalog_reading import read_schema_versions
    from storage.peek import snapshot_at

    spec = channel_spec(config.channels[index], f"channels[{index}]")
    snapshot = snapshot_at(topic_path(config.data_path, spec.topic), offset)
    if snapshot is None:
        raise StorageError(f"the log of {spec.topic} has no segment with the offset {offset} any more")
    try:
        server = SourceSnapshot.from_bytes(snapshot)
    except PositionError as error:
        raise StorageError(f"the log of {spec.topic}: {error}") from None
    names = [name.replace("\\u002E", ".") for name in (record["objectName"] or "").split(".")]
    rows = read_schema_versions(catalog_path(config.data_path), spec.id, names[0], names[-1])
    # Another id than the channel's: the source would end the stream of the reader that has it.
    source = open_source(spec.address, random.SystemRandom().randint(*READER_IDS), SystemClock())
    found = await explain(source, server, record, value, before, rows)
    events = [
        EventView(event.name, event.place, event.data, [Part(*part) for part in event.parts], event.note)
        for event in found.events
    ]
    definition = None
    if (known := found.definition) is not None:
        table = known.table
        definition = DefinitionView(table.meta_version, known.since, known.statement, table.to_json())
    return Explanation(found.origin, found.position, definition, events, found.missing, found.verdict)


def _stored_resume(spec: ChannelSpec, data_path: Path) -> ResumePoint | None:
    """Where a channel that was started before goes on: behind its last record, else at the start it resolved then."""
    from capture.failover import known_point
    from capture.position import PositionError
    from storage.catalog import stored_start
    from storage.peek import last_source

    last = last_source(topic_path(data_path, spec.topic))
    try:
        return known_point(last, stored_start(catalog_path(data_path), spec.id))
    except PositionError as error:
        raise StorageError(f"channel {spec.id}: {error}") from None


def found_id_base(log: LogReader) -> int | None:
    """The constant by which a log's records have their ids, None if nothing can be read from it."""
    with log.read(log.log_start_offset, 1) as part:
        data = bytes(part.view)
    for batch in iter_batches(data):
        for record in iter_records(batch):
            return int(record_decoder()(record.value or b"")["id"]) - record.offset
    return None


def record_schema() -> dict[str, Any]:
    """The Avro schema that capture writes by, as its file has it."""
    from capture.avro import SCHEMA_FILE

    document: dict[str, Any] = json.decode(SCHEMA_FILE.read_bytes())
    return document


def record_schema_text() -> str:
    """The same as people read it."""
    from capture.avro import SCHEMA_FILE

    return SCHEMA_FILE.read_text("utf-8")


def record_reader() -> Callable[[BytesIO], dict[str, Any]]:
    """What takes one record after the other from a stream, each as `record_decoder` gives it; ValueError for others."""
    from capture.avro import decode_next
    from capture.errors import CaptureError

    def read(stream: BytesIO) -> dict[str, Any]:
        try:
            return decode_next(stream)
        except CaptureError as error:
            raise ValueError(str(error)) from None

    return read


def record_encoder() -> Callable[[dict[str, Any]], bytes]:
    """The way back of `record_decoder`."""
    from capture.avro import encode

    return encode


def record_decoder() -> Callable[[bytes], dict[str, Any]]:
    """What turns a record's bytes into a dictionary, with the schema that capture writes by."""
    from capture.avro import decode, schema

    schema()
    return decode
