"""The channels a server runs: what each consists of, and `ChannelControl` over all of them.

Knows a channel of capture by its shape only (`RunningChannel`), and tells its changes of state to the log: a channel
that stands still says so once, with its sentence, when it happens. Of the disks (`broker/disks.py`) the same.

Left to others: making all of it (`app.py`), what the states mean (`capture/channel.py`).
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Protocol

from broker.consumption import Consumption
from broker.control import ChannelView, DiskView, PrecheckItem
from broker.disks import DiskWatch
from broker.rate import Rate
from storage.errors import LogReadError
from storage.log import LogReader

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from broker.offsets import OffsetStore
    from storage.catalog import GroupRow
    from storage.clock import Clock
    from storage.disk import LogDisk

_log = logging.getLogger("binwire.channel")

OBJECTS_TIMEOUT_S = 60
"""How long whoever changes a channel's objects waits to be told whether they are in force."""
PASSING = frozenset({"Not Started", "Prechecking", "Performing Initial Change Tracking"})
"""States of a channel that is on its way to another."""


class Status(Protocol):
    """What a channel says of itself; times are Unix epoch ms, `retried_until_ms` None: somebody has to act."""

    @property
    def state(self) -> str: ...
    @property
    def reason(self) -> str | None: ...
    @property
    def retried_until_ms(self) -> int | None: ...
    @property
    def position(self) -> str | None: ...
    @property
    def source_time_ms(self) -> int | None: ...
    @property
    def behind(self) -> bool: ...
    @property
    def silent_ms(self) -> int | None: ...
    @property
    def records(self) -> int: ...
    @property
    def transactions(self) -> int: ...
    @property
    def reconnects(self) -> int: ...


class StoredLog(LogReader, Protocol):
    """A log on a disk of ours."""

    @property
    def directory(self) -> Path: ...
    @property
    def durable_offset(self) -> int: ...
    @property
    def committed_bytes(self) -> int: ...
    @property
    def disk(self) -> LogDisk | None: ...
    @property
    def damages(self) -> tuple[str, ...]: ...


class RunningChannel(Protocol):
    """A channel of capture, as far as it concerns the server; `objects` are those it was asked for last."""

    @property
    def objects(self) -> tuple[str, ...]: ...
    @property
    def refused_objects(self) -> str | None: ...

    async def take_objects(self, objects: tuple[str, ...]) -> None: ...

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    def status(self) -> Status: ...

    def subscribe(self, callback: Callable[[], None]) -> Callable[[], None]: ...


class ServedChannel:
    """A channel with everything that was opened for it; `source` is its address without the password."""

    def __init__(
        self,
        channel_id: str,
        name: str,
        source: str,
        channel: RunningChannel,
        log: StoredLog,
        precheck: Callable[[], Awaitable[Sequence[PrecheckItem]]],
        clock: Clock,
    ) -> None:
        self.id = channel_id
        self.name = name
        self.source = source
        self.channel = channel
        self.log = log
        self.precheck = precheck
        self.groups: list[GroupRow] = []
        self._clock = clock
        self._rate = Rate(lambda: log.high_watermark, clock)
        self._ends = [log.subscribe(self._rate.sample), channel.subscribe(self._tell_state)]
        self._told: tuple[str, str | None] | None = None

    def _tell_state(self) -> None:
        status = self.channel.status()
        if self._told == (status.state, status.reason):
            return
        self._told = (status.state, status.reason)
        facts: dict[str, Any] = {"channel": self.id, "state": str(status.state)}
        if status.reason is None:
            _log.info("channel is %s", status.state, extra=facts)
            return
        facts["retried"] = status.retried_until_ms is not None
        _log.error("channel stands still: %s", status.reason, extra=facts)

    @property
    def objects(self) -> tuple[str, ...]:
        """What the channel was asked to track last."""
        return self.channel.objects

    async def stop(self) -> None:
        """End the capture; the log stays readable until its owner closes it."""
        try:
            await self.channel.stop()
        finally:
            for end in self._ends:
                end()

    def view(self, consumption: Consumption, disk_warnings: Mapping[int, str]) -> ChannelView:
        status, log = self.channel.status(), self.log
        lag_ms = None
        if status.source_time_ms is not None:
            lag_ms = max(0, self._clock.now_ms() - status.source_time_ms) if status.behind else 0
        return ChannelView(
            id=self.id,
            name=self.name,
            topic=log.topic,
            source=self.source,
            state=str(status.state),
            reason=status.reason,
            retried_until_ms=status.retried_until_ms,
            start_offset=log.log_start_offset,
            high_watermark=log.high_watermark,
            start_timestamp_ms=readable(lambda: log.log_start_timestamp_ms),
            end_timestamp_ms=readable(lambda: log.last_timestamp_ms),
            position=status.position,
            records_per_s=self._rate.per_second(),
            lag_ms=lag_ms,
            durable_offset=log.durable_offset,
            disk=_disk_view(log.disk, disk_warnings),
            damages=log.damages,
            refused_objects=self.channel.refused_objects,
            groups=tuple(consumption.view(group, log) for group in self.groups),
            silent_ms=status.silent_ms,
            records=status.records,
            transactions=status.transactions,
            reconnects=status.reconnects,
            committed_bytes=log.committed_bytes,
        )


class Channels:
    """All channels of a server, in the order they were added; its `ChannelControl`."""

    def __init__(self, offsets: OffsetStore, clock: Clock) -> None:
        self.consumption = Consumption(offsets, clock)
        self._served: dict[str, ServedChannel] = {}
        self._disks = DiskWatch(lambda: [(served.log.directory.parent, served.log.disk) for served in self], clock)

    def add(self, served: ServedChannel) -> None:
        self._served[served.id] = served
        served.log.subscribe(self._disks.look)

    def __contains__(self, channel_id: str) -> bool:
        return channel_id in self._served

    def __iter__(self) -> Iterator[ServedChannel]:
        return iter(self._served.values())

    def find_log(self, topic: str) -> LogReader | None:
        return next((served.log for served in self if served.log.topic == topic), None)

    def views(self) -> Sequence[ChannelView]:
        warnings = self._disks.warnings()
        return [served.view(self.consumption, warnings) for served in self]

    async def precheck(self, channel_id: str) -> Sequence[PrecheckItem]:
        return await self._served[channel_id].precheck()

    async def start_channel(self, channel_id: str) -> None:
        await self._served[channel_id].channel.start()

    async def stop_channel(self, channel_id: str) -> None:
        await self._served[channel_id].channel.stop()


def _disk_view(disk: LogDisk | None, warnings: Mapping[int, str]) -> DiskView | None:
    if disk is None:
        return None
    warning = warnings.get(disk.device)
    return DiskView(disk.used_bytes, disk.needed_bytes, disk.free_bytes, disk.bytes_per_s, warning)


def readable(time_ms: Callable[[], int | None]) -> int | None:
    """A time of a log, None if the medium does not give it back, or the system no file to read it by: what else there
    is to tell is told all the same.
    """
    try:
        return time_ms()
    except (LogReadError, OSError):
        return None


async def take_objects(served: ServedChannel, objects: tuple[str, ...]) -> str:
    """Have a channel track other objects, and say once it streams or stands still what came of it."""
    channel, settled = served.channel, asyncio.Event()
    is_stopped = str(channel.status().state) == "Not Started"

    def look() -> None:
        if str(channel.status().state) not in PASSING:
            settled.set()

    end = channel.subscribe(look)
    try:
        await channel.take_objects(objects)
        if is_stopped:
            return f"objects of {served.id}: they are taken when the channel is started"
        look()
        async with asyncio.timeout(OBJECTS_TIMEOUT_S):
            await settled.wait()
    except TimeoutError:
        return f"objects of {served.id}: they are taken when the channel streams again"
    finally:
        end()
    status = channel.status()
    if channel.refused_objects is not None:
        return f"{served.id}: {channel.refused_objects}"
    if status.reason is not None:
        return f"objects of {served.id}: they are taken when the channel streams again: {status.reason}"
    return f"objects of {served.id}: {', '.join(objects)}"
