"""The channels a server runs, and those of which only data is left: what each consists of, and `ChannelControl`.

Knows a channel of capture by its shape only (`RunningChannel`), and tells its changes of state to the log: a channel
that stands still says so once, with its sentence, when it happens. Of the disks (`broker/disks.py`) the same.

Left to others: making all of it (`app.py`), what the states mean (`capture/channel.py`).
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import parse_qsl, unquote

from broker.consumption import Consumption
from broker.control import ChannelView, DiskView, PrecheckItem, ProgressView, SourceView
from broker.disks import DiskWatch
from broker.lifecycle import DefinedBy, Situation, allowed
from broker.rate import Rate
from storage.errors import LogReadError
from storage.log import LogReader

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from broker.config import ChannelConfig, Secret
    from broker.offsets import OffsetStore
    from storage.catalog import ChannelRow, GroupRow
    from storage.clock import Clock
    from storage.disk import LogDisk

_log = logging.getLogger("binwire.channel")

OBJECTS_TIMEOUT_S = 60
"""How long whoever changes a channel's objects, or its source, waits to be told whether they are in force."""
PRECHECK_PASSED = "the precheck passed; it waits to be started"
PRECHECK_INTERRUPTED = "the precheck was interrupted; have it run again"
LEFT_THE_FILE = (
    "the configuration file does not name it any more: nothing runs it, and its data is kept; name it there again and "
    "restart, or release it"
)
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
    def ended(self) -> bool: ...
    @property
    def silent_ms(self) -> int | None: ...
    @property
    def records(self) -> int: ...
    @property
    def transactions(self) -> int: ...
    @property
    def reconnects(self) -> int: ...
    @property
    def progress(self) -> tuple[str, float | None] | None: ...


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

    async def close(self, *, orderly: bool = True) -> None: ...


class RunningChannel(Protocol):
    """A channel of capture, as far as it concerns the server; `objects` are those it was asked for last."""

    @property
    def objects(self) -> tuple[str, ...]: ...
    @property
    def refused_objects(self) -> str | None: ...
    @property
    def whitelist_addresses(self) -> tuple[str, ...]: ...
    @property
    def is_running(self) -> bool: ...
    @property
    def prechecked(self) -> tuple[Sequence[Any], int] | None: ...

    async def take_objects(self, objects: tuple[str, ...], data_types: frozenset[str] | None = None) -> None: ...

    async def withdraw_objects(self, objects: tuple[str, ...], data_types: frozenset[str] | None = None) -> None: ...

    async def take_source(self, address: Any) -> None: ...

    async def start(self) -> None: ...

    async def try_again(self) -> None: ...

    async def stop(self) -> None: ...

    async def end(self) -> None: ...

    def status(self) -> Status: ...

    def subscribe(self, callback: Callable[[], None]) -> Callable[[], None]: ...


class Kept:
    """What is kept of a channel that was made by an operation: whether it is started, and its last precheck."""

    def __init__(
        self, *, is_started: bool, items: tuple[PrecheckItem, ...] | None = None, prechecked_ms: int | None = None
    ) -> None:
        self.is_started = is_started
        self.items = items
        self.prechecked_ms = prechecked_ms

    @property
    def failed(self) -> list[PrecheckItem]:
        """The items of the last precheck that keep it from being started."""
        return [item for item in self.items or () if item.outcome == "failed"]


class ServedChannel:
    """A channel with everything that was opened for it; `source` is its address without the password.

    `config` is None for what no configuration describes, `kept` for what was not made by an operation. Whoever changes
    the channel holds `changing`.
    """

    def __init__(
        self,
        channel_id: str,
        name: str,
        source: str,
        channel: RunningChannel,
        log: StoredLog,
        precheck: Callable[..., Awaitable[Sequence[PrecheckItem]]],
        clock: Clock,
        *,
        config: ChannelConfig | None = None,
        kept: Kept | None = None,
        created_ms: int = 0,
    ) -> None:
        """`precheck` looks at the source, for other `objects` or at another `address` if it is given one."""
        self.id = channel_id
        self.name = name
        self.source = source
        self.channel = channel
        self.log = log
        self.precheck = precheck
        self.groups: list[GroupRow] = []
        self.config = config
        self.kept = kept
        self.prechecking: asyncio.Task[None] | None = None
        self.looked: tuple[tuple[PrecheckItem, ...], int] | None = None
        """What the last precheck that somebody asked for found, and when (Unix epoch ms)."""
        if kept is not None and kept.items is not None:
            self.looked = kept.items, kept.prechecked_ms or 0
        self.created_ms = created_ms
        self.defined_by = DefinedBy.FILE if kept is None else DefinedBy.OPERATION
        self.changing = asyncio.Lock()
        self.closers: list[Callable[[], Awaitable[None]]] = []
        """What ends the channel, the first last."""
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
        if status.reason is None or status.ended:
            _log.info("channel is %s", status.reason or status.state, extra=facts)
            return
        facts["retried"] = status.retried_until_ms is not None
        _log.error("channel stands still: %s", status.reason, extra=facts)

    @property
    def objects(self) -> tuple[str, ...]:
        """What the channel was asked to track last."""
        return self.channel.objects

    @property
    def situation(self) -> Situation:
        """The row of `broker/lifecycle.py`'s table that holds now."""
        status = self.channel.status()
        if status.state != "Not Started":
            return Situation.ENDED if status.ended and status.state == "Normal" else Situation(str(status.state))
        if self.channel.is_running or self.kept is None or self.kept.is_started:
            return Situation.CONNECTING
        if self.prechecking is not None:
            return Situation.PRECHECKING
        return Situation.NOT_READY if self.kept.items is None or self.kept.failed else Situation.READY

    @property
    def region(self) -> str | None:
        return None if self.config is None else self.config.region

    @property
    def operations(self) -> tuple[str, ...]:
        """What may be done now."""
        return allowed(self.situation, self.defined_by)

    def _reason(self, situation: Situation, reason: str | None) -> str | None:
        """Why it stands still, if it does."""
        if situation is Situation.READY:
            return PRECHECK_PASSED
        if situation is not Situation.NOT_READY or self.kept is None:
            return reason
        if not (failed := self.kept.failed):
            return PRECHECK_INTERRUPTED
        found = "; ".join(f"{item.name}: {item.found}" for item in failed)
        return f"the precheck failed: {found}; mend that, and have it run again"

    def _progress(self, situation: Situation, status: Status) -> ProgressView | None:
        """What a channel does that is on its way to Normal."""
        if status.progress is not None:
            return ProgressView(*status.progress)
        if situation is Situation.PRECHECKING:
            return ProgressView(f"looking at {self.source}")
        is_connecting = situation is Situation.CONNECTING and self.channel.is_running
        return ProgressView(f"connecting to {self.source}") if is_connecting else None

    def _prechecked(self) -> tuple[tuple[PrecheckItem, ...] | None, int | None]:
        """The last precheck: the one that was asked for, or what a beginning channel found."""
        found, looked = self.channel.prechecked, self.looked
        if found is not None and (looked is None or looked[1] < found[1]):
            return tuple(shown_item(item) for item in found[0]), found[1]
        return (None, None) if looked is None else looked

    def take_precheck(self, items: tuple[PrecheckItem, ...]) -> None:
        """What was found now."""
        now_ms = self._clock.now_ms()
        self.looked = items, now_ms
        if self.kept is not None:
            self.kept.items, self.kept.prechecked_ms = items, now_ms

    async def end_precheck(self) -> None:
        """Have a precheck that is under way end without a result."""
        if self.prechecking is not None:
            self.prechecking.cancel()
            await asyncio.gather(self.prechecking, return_exceptions=True)

    async def stop(self) -> None:
        """End the capture; the log stays readable until its owner closes it."""
        await self.end_precheck()
        try:
            await self.channel.end()
        finally:
            ends, self._ends = self._ends, []
            for end in ends:
                end()

    def view(self, consumption: Consumption, disk_warnings: Mapping[int, str]) -> ChannelView:
        status, log, situation = self.channel.status(), self.log, self.situation
        items, prechecked_ms = self._prechecked()
        config = self.config
        groups = tuple(consumption.view(group, log) for group in self.groups)
        lag_ms = None
        if status.source_time_ms is not None:
            lag_ms = max(0, self._clock.now_ms() - status.source_time_ms) if status.behind else 0
        return ChannelView(
            id=self.id,
            name=self.name,
            topic=log.topic,
            source=self.source,
            state="Prechecking" if situation is Situation.PRECHECKING else str(status.state),
            reason=self._reason(situation, status.reason),
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
            groups=groups,
            defined_by=str(self.defined_by),
            objects=self.channel.objects,
            created_ms=self.created_ms,
            operations=allowed(situation, self.defined_by),
            precheck=items,
            prechecked_ms=prechecked_ms,
            consumption_checkpoint_ms=min(
                (group.consume_timestamp_ms for group in groups if group.consume_timestamp_ms is not None), default=None
            ),
            **({} if config is None else _described(config)),
            silent_ms=status.silent_ms,
            progress=self._progress(situation, status),
            whitelist_addresses=self.channel.whitelist_addresses or _admitted(items),
            records=status.records,
            transactions=status.transactions,
            reconnects=status.reconnects,
            committed_bytes=log.committed_bytes,
        )


class LeftChannel:
    """A channel of which only data is left, or whose log cannot be opened: `sentence` says why, if it is that."""

    def __init__(self, row: ChannelRow, sentence: str | None = None) -> None:
        self.id = row.id
        self.row = row
        self.sentence = sentence
        self.defined_by = DefinedBy.NONE if sentence is None else DefinedBy.OPERATION
        self.changing = asyncio.Lock()

    @property
    def name(self) -> str:
        return self.row.name

    @property
    def region(self) -> str | None:
        """Which nobody kept."""
        return None

    @property
    def situation(self) -> Situation:
        return Situation.LEFT

    @property
    def operations(self) -> tuple[str, ...]:
        return allowed(Situation.LEFT, self.defined_by)

    def view(self, consumption: Consumption) -> ChannelView:
        """It has no state of its own, and nothing of its log is read."""
        return ChannelView(
            id=self.id,
            name=self.row.name,
            topic=self.row.topic,
            source=self.row.source,
            state="Not Started" if self.sentence is None else "Error",
            reason=self.sentence or LEFT_THE_FILE,
            retried_until_ms=None,
            start_offset=0,
            high_watermark=0,
            start_timestamp_ms=None,
            end_timestamp_ms=None,
            position=None,
            records_per_s=0.0,
            lag_ms=None,
            durable_offset=0,
            disk=None,
            damages=(),
            refused_objects=None,
            groups=(),
            defined_by=str(self.defined_by),
            created_ms=self.row.created_ms,
            operations=self.operations,
        )


class Channels:
    """All channels of a server, in the order they were added; its `ChannelControl`."""

    def __init__(self, offsets: OffsetStore, clock: Clock) -> None:
        self.consumption = Consumption(offsets, clock)
        self._served: dict[str, ServedChannel] = {}
        self.left: dict[str, LeftChannel] = {}
        self._disks = DiskWatch(lambda: [(served.log.directory.parent, served.log.disk) for served in self], clock)

    def add(self, served: ServedChannel) -> None:
        self._served[served.id] = served
        served.log.subscribe(self._disks.look)

    def remove(self, channel_id: str) -> None:
        """Forget a channel of either kind."""
        self._served.pop(channel_id, None)
        self.left.pop(channel_id, None)

    def find(self, channel_id: str) -> ServedChannel | None:
        """The channel that is served under this id."""
        return self._served.get(channel_id)

    def ids(self) -> list[str]:
        """Of all channels there are views of, in their order."""
        return [*self._served, *self.left]

    def view(self, channel_id: str) -> ChannelView:
        """What is known of one channel; KeyError for an unknown one."""
        if (served := self._served.get(channel_id)) is not None:
            return served.view(self.consumption, self._disks.warnings())
        return self.left[channel_id].view(self.consumption)

    def __contains__(self, channel_id: str) -> bool:
        return channel_id in self._served

    def __iter__(self) -> Iterator[ServedChannel]:
        return iter(self._served.values())

    def find_log(self, topic: str) -> LogReader | None:
        return next((served.log for served in self if served.log.topic == topic), None)

    def views(self) -> Sequence[ChannelView]:
        warnings = self._disks.warnings()
        served = [served.view(self.consumption, warnings) for served in self]
        return served + [left.view(self.consumption) for left in self.left.values()]

    async def precheck(self, channel_id: str) -> Sequence[PrecheckItem]:
        return await self._served[channel_id].precheck()

    async def start_channel(self, channel_id: str) -> None:
        await self._served[channel_id].channel.start()

    async def stop_channel(self, channel_id: str) -> None:
        await self._served[channel_id].channel.stop()

    def source_address(self, channel_id: str) -> Secret:
        config = self._served[channel_id].config
        if config is None:
            raise KeyError(channel_id)
        return config.source


def shown_item(item: Any) -> PrecheckItem:
    """An item of capture's as it is told."""
    return PrecheckItem(item.name, str(item.outcome), item.found, item.means, item.remedy, item.addresses)


def _admitted(items: Sequence[PrecheckItem] | None) -> tuple[str, ...]:
    """What the source's whitelist must admit, by a precheck."""
    return next((item.addresses for item in items or () if item.addresses), ())


def _described(config: ChannelConfig) -> dict[str, Any]:
    """What a view has of a configuration."""
    return {
        "region": config.region,
        "instance_id": config.instance_id,
        "data_types": tuple(config.data_types),
        "start": str(config.start),
        "retention_ms": config.retention_ms,
        "source_parts": source_parts(config.source.reveal()),
    }


def source_parts(source: str) -> SourceView | None:
    """A server's address as a form has it, without the password; None for files."""
    scheme, _, rest = source.partition("://")
    if scheme == "file":
        return None
    location, _, query = rest.partition("?")
    credentials, _, hosts = location.rpartition("@")
    host = hosts.partition("/")[0]
    name, colon, port = host.rpartition(":")
    parts: dict[str, Any] = {"kind": scheme, "host": unquote(host), "username": unquote(credentials.partition(":")[0])}
    if colon and "," not in host and port.isascii() and port.isdecimal():
        parts |= {"host": unquote(name), "port": int(port)}
    parts |= {key: value for key, value in parse_qsl(query) if key.startswith("tls")}
    if "tls" in parts:
        parts["tls"] = parts["tls"].replace("-", "_")
    return SourceView(**parts)


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


async def take_objects(
    served: ServedChannel, objects: tuple[str, ...], data_types: frozenset[str] | None = None
) -> str:
    """Have a channel track other objects, and say once it streams or stands still what came of it."""
    channel = served.channel
    states = await _states_after(channel, lambda: channel.take_objects(objects, data_types))
    if states is None:
        return f"objects of {served.id}: they are taken when the channel streams again"
    if not states:
        return f"objects of {served.id}: they are taken when the channel is started"
    status = channel.status()
    if channel.refused_objects is not None:
        return f"{served.id}: {channel.refused_objects}"
    if status.reason is not None:
        return f"objects of {served.id}: they are taken when the channel streams again: {status.reason}"
    return f"objects of {served.id}: {', '.join(objects)}"


async def take_source(served: ServedChannel, address: Any) -> str | None:
    """Have a channel read from another address, and see whether it goes on there; why it does not, if it needs somebody
    to act before it streamed.
    """
    states = await _states_after(served.channel, lambda: served.channel.take_source(address))
    status = served.channel.status()
    return None if not states or "Normal" in states or status.retried_until_ms is not None else status.reason


async def _states_after(channel: RunningChannel, change: Callable[[], Awaitable[None]]) -> set[str] | None:
    """Make a change of a channel, and give the states that it had until it streams or stands still: none of one that is
    stopped, which is not waited for; None if it took too long.
    """
    states: set[str] = set()
    settled = asyncio.Event()
    is_stopped = str(channel.status().state) == "Not Started"

    def look() -> None:
        state = str(channel.status().state)
        states.add(state)
        if state not in PASSING:
            settled.set()

    end = channel.subscribe(look)
    try:
        await change()
        if is_stopped:
            return set()
        look()
        async with asyncio.timeout(OBJECTS_TIMEOUT_S):
            await settled.wait()
    except TimeoutError:
        return None
    finally:
        end()
    return states
