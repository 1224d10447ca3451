"""The running server: the one place where storage, capture and the Kafka face are put together.

Start-up, in this order, so that a client that can connect can be served: data directory (lock), catalog, accounts, the
logs of the configured channels, listeners, control socket, then what the catalog is to keep of all this, `ready.json`,
and last the channels themselves. Shutdown is the same list backwards: what talks to clients first, then capture, then
the logs with their last flush, the catalog, and the directory, which is marked as ended in good order only if all of
it was. A start that is refused leaves no new channel, group or log: all rows are written by one transaction, when
nothing is left that could refuse them.

A source that cannot be captured does not keep the server from serving what its log holds: the channel is in state
Error with its sentence, in the log and in `binwire status`. A configuration, address or data directory that cannot be
used ends the start with an exception whose message is one sentence.

Left to others: what a channel does (`capture/channel.py`), what a client may do (`broker/apis`), when to end or to read
the configuration again (`signals.py`).
"""

from __future__ import annotations

import asyncio
import importlib
import itertools
import logging
import os
from contextlib import suppress
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from msgspec.structs import replace

from broker.accounts import Accounts
from broker.capturing import (
    OpenChannel,
    Opening,
    channel_spec,
    found_id_base,
    new_channel,
    open_configured_source,
    open_embedded,
    record_schema,
    run_precheck,
    source_desk,
)
from broker.channels import Channels, Kept, LeftChannel, ServedChannel, take_objects
from broker.config_rules import ConfigError
from broker.context import Broker
from broker.control import ControlServer
from broker.downconvert import DownConverter
from broker.enrolment import Changes, Enrolment, in_words, needing_restart, without_passwords
from broker.group_rules import GROUPS_PER_CHANNEL_MAX
from broker.groups import GroupCoordinator
from broker.lifecycle import DefinedBy
from broker.notices import Notices
from broker.offsets import OffsetStore
from broker.plan import Plan
from broker.provision import cluster_id, listener, log_config
from broker.server import BrokerServer
from broker.topics import Topic, Topics
from storage.catalog import Catalog
from storage.catalog_failures import lost_channel
from storage.clock import SystemClock
from storage.cold import ColdReads
from storage.directory import DataDirectory
from storage.errors import StorageError
from storage.files import Files, VolatileFiles
from storage.log import resident
from storage.scheduler import LoopScheduler, give_way
from storage.segment_log import SegmentLog

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from broker.capturing import Closer, EmbeddedChannel, SourceFactory
    from broker.config import ChannelConfig, Config, GroupConfig
    from broker.console.http import ConsoleServer
    from broker.control import PrecheckItem
    from broker.listener import Address
    from broker.managed import ManagedChannels
    from broker.operations.alerts import Incident
    from broker.operations.plane import ControlPlane
    from broker.search.service import SearchService
    from broker.watching import Watching
    from storage.catalog import ChannelRow
    from storage.clock import Clock


CLOSE_DEADLINE_MS: Final = 5_000  # for answers under way and for clients to go

_log = logging.getLogger("binwire.app")


class Application:
    """One running server over one data directory. `start`, then `close`, once each, on one event loop."""

    def __init__(
        self,
        config: Config,
        clock: Clock | None = None,
        read_again: Callable[[], Config] | None = None,
        *,
        is_volatile: bool = False,
    ) -> None:
        """`read_again` reads the file that `config` came from, as it is then, for `reload`. Of a data directory that
        `is_volatile` nobody keeps anything, so nothing is asked of the medium.
        """
        self._is_volatile = is_volatile
        self.files = VolatileFiles() if is_volatile else Files()
        self._config = config
        self._read_again = read_again
        self.changing = asyncio.Lock()
        """Held while the catalog is brought to a plan, so that no two are made of the same rows."""
        self.clock: Clock = SystemClock() if clock is None else clock
        # Closed in this order, each list from its end: what clients talk to, then what that stands on.
        self._face: list[Closer] = []
        self._floor: list[Closer] = []
        self._directory: DataDirectory | None = None
        self._new_logs: set[Path] = set()
        """Folders of logs that this start made and that no row of the catalog stands for yet."""
        self._verifying: asyncio.Task[None] | None = None
        self._beginning_to_watch: asyncio.Task[None] | None = None
        self.moved_logs: dict[str, Path] = {}
        """Folders of logs that took the place of others, by topic."""
        self.unreleased: dict[str, str] = {}
        """Why logs of topics are still there that are to be deleted."""
        self.addresses: dict[str, Address] = {}

    async def start(self) -> None:
        """Serve. Raises StorageError, ListenError or ConfigError with one sentence; nothing is left open then."""
        try:
            await self._start()
        except BaseException:
            await self.close()
            raise

    async def _start(self) -> None:
        directory = self._directory = DataDirectory.open(self._config.data_path, self.files)
        if directory.crashed:
            _log.warning("the last run did not end in good order; its logs are recovered")
        self.catalog = await asyncio.to_thread(
            Catalog.open, directory.catalog_path, self.files, is_volatile=self._is_volatile
        )
        self._floor.append(self._close_catalog)
        self._scheduler = LoopScheduler()
        self._accounts = Accounts(self.clock, self._scheduler)
        self._enrolment = Enrolment(self._accounts)
        self.offsets = OffsetStore(self.catalog, self.clock)
        self._cold_reads = ColdReads()
        self._floor.append(self._close_cold_reads)
        self.channels = Channels(self.offsets, self.clock)
        self._broker = self._make_broker(await self.catalog.run(cluster_id, self.catalog))
        await self._finish_releases()
        plan = await self.new_plan()
        for index, channel in enumerate(self._config.channels):
            self.serve(await self.open_log(channel, open_configured_source, f"channels[{index}]", plan))
        if documents := await self.catalog.run(self.catalog.documents):
            from broker.managed import open_kept

            await open_kept(self, documents, plan)
        console = self._console = self._new_console()
        self._config = without_passwords(self._config)
        listeners = [
            listener(item, f"listeners[{index}]", self.clock) for index, item in enumerate(self._config.listeners)
        ]
        self._server = BrokerServer(self._broker, listeners)
        self.channels.consumption.watch(self._broker.groups.describe, self._server.sessions)
        self.addresses = await self._server.start()
        self._face += [self._settle_changes, self._close_server]
        if console is not None:
            self._face.append(console.close)
            self.addresses["console"] = await console.start(lambda: self.plane, source_desk)
        control = ControlServer(
            directory.control_socket_path,
            self.channels,
            self._shown_listeners,
            self.reload,
            lambda: self.plane,
            self._open_incidents,
            source_desk,
        )
        self._face.append(control.close)
        await control.start()
        await self.keep(plan)
        directory.write_ready({"listeners": self._shown_listeners(), "pid": os.getpid()})
        await self._start_channels(plan)

    @property
    def server(self) -> BrokerServer:
        """What clients are connected to."""
        return self._server

    def _new_console(self) -> ConsoleServer | None:
        """What serves the control plane; it has the passwords that are in the configuration."""
        if self._config.console is None:
            return None
        from broker.console.http import ConsoleServer

        return ConsoleServer(self._config.console, self.clock, self._scheduler)

    async def _start_channels(self, plan: Plan) -> None:
        for served in self.channels:
            if served.kept is None or served.kept.is_started:
                await served.channel.start()
            elif served.kept.items is None:
                self.managed.begin_precheck(served)
        for row in plan.channels.values():
            if row.id not in self.channels and row.id not in self.channels.left:
                self.channels.left[row.id] = LeftChannel(row)
                _log.warning("channel is not in the configuration: stopped, its data kept", extra={"channel": row.id})
        if not self.catalog.is_verified:
            self._verifying = asyncio.create_task(self._verify_catalog(), name="catalog check")
        self._face.append(self._close_watching)
        self._beginning_to_watch = asyncio.create_task(self._watch_if_asked(), name="watching")

    async def _watch_if_asked(self) -> None:
        """Begin to watch where there are alert rules; what that needs is loaded beside what is served."""
        try:
            rules = await self.catalog.run(self.catalog.alert_rules)
            if rules or self._config.alerts:
                await asyncio.to_thread(importlib.import_module, "broker.watching")
                _ = self.watching
        except StorageError as error:
            _log.error("alerts are not watched for: %s", error)

    @cached_property
    def watching(self) -> Watching:
        """What watches the server, begun when it is first asked for."""
        from broker.watching import Watching

        watching = Watching(self._config, self.catalog, self.channels, self._server, self.clock, self._scheduler)
        watching.start()
        return watching

    def _open_incidents(self) -> list[Incident]:
        """Of a server that is watched: being asked makes it none."""
        return self.watching.alerts.open_incidents() if "watching" in self.__dict__ else []

    async def _close_watching(self) -> None:
        if self._beginning_to_watch is not None:
            self._beginning_to_watch.cancel()
            await asyncio.gather(self._beginning_to_watch, return_exceptions=True)
        if "watching" in self.__dict__:
            await self.watching.close()

    async def _verify_catalog(self) -> None:
        try:
            await asyncio.to_thread(self.catalog.verify)
        except StorageError as error:
            _log.error("%s", error)

    async def _finish_releases(self) -> None:
        """Delete what was to be deleted when an earlier run ended. What cannot be is told, and keeps its topic."""
        topics = await self.catalog.run(self.catalog.releases)
        if topics:
            from broker.managed import delete_log

            for topic in topics:
                try:
                    await delete_log(self, topic)
                except StorageError as error:
                    _log.error("%s", error)

    @cached_property
    def managed(self) -> ManagedChannels:
        """What changes channels by operation."""
        from broker.managed import ManagedChannels

        return ManagedChannels(self)

    @cached_property
    def plane(self) -> ControlPlane:
        """What operations work on; made when the first one is asked for, which needs more code than serving does."""
        from broker.console.audit import AuditLog
        from broker.endpoints import endpoints
        from broker.group_register import GroupRegister
        from broker.operations.plane import ControlPlane

        audit = AuditLog(self._config.data_path, self.clock)
        plane = ControlPlane(clock=self.clock, channels=self.channels, audit=audit)
        plane.listeners = self._shown_listeners
        plane.watching = self.watching
        plane.monitoring = self.watching.monitoring
        plane.alerts = self.watching.alerts
        plane.reload = self.reload
        plane.audit_log = audit
        plane.managed = self.managed
        plane.endpoints = lambda: endpoints(self._config.listeners, self.addresses)
        plane.record_schema = record_schema
        plane.catalog = self.catalog
        plane.topic_directory = self.topic_path
        plane.search = self._new_search()
        plane.sources = source_desk()
        plane.groups = GroupRegister(
            self.catalog,
            self.channels,
            self._enrolment,
            self.offsets,
            self._broker.groups,
            self._server.disconnect,
            self.changing,
        )
        return plane

    def _new_search(self) -> SearchService:
        """What looks through logs for people; where there is a console, logs are made ready for it beforehand."""
        from broker.search.protocol import Log
        from broker.search.service import SearchService

        def logs() -> list[Log]:
            each = [served.log for served in self.channels]
            return [Log(str(self.topic_path(log.topic)), log.log_start_offset, log.high_watermark) for log in each]

        search = SearchService()
        self._face.append(search.close)
        if self._config.console is not None:
            search.make_filters(logs)
        return search

    async def reload(self) -> str:
        """Bring groups and objects to what the configuration file says now, and cut the connections concerned; tell
        what changed, what needs a restart, and what is doubtful about the certificates, which are looked at too.

        Raises ConfigError or StorageError; nothing is changed then.
        """
        if self._read_again is None:
            raise ConfigError("this server was not started from a configuration file")
        async with self.changing:
            config = self._read_again()
            restart = needing_restart(self._config, config)
            wanted = {
                channel.id: channel_spec(channel, f"channels[{index}]").objects
                for index, channel in enumerate(config.channels)
            }
            ours = [served for served in self.channels if served.defined_by is not DefinedBy.OPERATION]
            plan = await self.new_plan()
            planned = [
                (served, plan.add_groups(served.id, channel.groups))
                for channel in config.channels
                for served in ours
                if served.id == channel.id
            ]
            for served, enrolled in planned:
                _require_few(served, len(enrolled), len(plan.made_groups(served.id)))
            await self.keep(plan)
            changes, cut = [], 0
            for served, enrolled in planned:
                named, made = {item.row.id for item in enrolled}, plan.made_groups(served.id)
                before = [row.id for row in served.groups if row.verifier is None or row.id in named]
                changed = self._enrolment.change(served.log.topic, before, enrolled)
                served.groups = [*(item.row for item in enrolled), *made]
                changes.append(changed)
                cut += self._cut(changed)
            if config.alerts or "watching" in self.__dict__:
                self.watching.alerts.take(config)
            doubts = self._server.look_at_certificates()
            if self._console is not None and config.console is not None:
                doubts += (*self._console.take(config.console), *self._console.look_at_certificate())
            for served in ours:
                served.defined_by = DefinedBy.FILE if served.id in wanted else DefinedBy.NONE
        # Beside other changes: a source may let it wait.
        taken = [await self._take_objects(served, wanted[served.id]) for served in ours if served.id in wanted]
        told = "; ".join((in_words(changes, cut, restart), *filter(None, taken), *doubts))
        _log.info("the configuration was read again: %s", told)
        return told

    async def _take_objects(self, served: ServedChannel, objects: tuple[str, ...]) -> str | None:
        """Have a channel track the objects of the file, where they are others; what came of it."""
        async with served.changing:
            if set(objects) == set(served.objects):
                return None
            return await take_objects(served, objects)

    def _cut(self, changed: Changes) -> int:
        """Cut the connections that a change of groups leaves without a valid login, or beyond a quota."""
        concerned = {*changed.removed, *changed.relogged}
        cut = self._server.disconnect(lambda principal: principal.group_id in concerned, "its login is no longer valid")
        quotas = {group_id: self._accounts.connections_max(group_id) for group_id in changed.requoted}
        return cut + sum(self._server.keep_quota(group_id, quota) for group_id, quota in quotas.items())

    async def add_channel(self, config: ChannelConfig, source: SourceFactory) -> OpenChannel:
        """Serve and start one more channel, reading from `source`; `ConfigError` if it cannot be."""
        async with self.changing:
            plan = await self.catalog.run(Plan.read_for, self.catalog, self.clock, config)
            opening = await self.open_log(config, source, f"channel {config.id}", plan)
            await self.keep_with(opening, plan)
            opened = self.serve(opening)
        await opened.channel.start()
        return opened

    async def add_embedded(
        self, config: ChannelConfig, statements: Sequence[str], database: str, server_version: str | None = None
    ) -> EmbeddedChannel:
        """Serve a channel whose changes come by call; `statements`, run in `database`, are visible when it returns.

        Without `objects` everything is tracked. Raises CallFailedError.
        """
        return await open_embedded(self.add_channel, self.clock, config, statements, database, server_version)

    async def remove_channel(self, channel_id: str) -> None:
        """Leave nothing of a channel that was added. Raises StorageError."""
        async with self.changing:
            served = self.channels.find(channel_id)
            assert served is not None
            await self.managed.discard(served)

    async def add_group(self, channel_id: str, config: GroupConfig) -> str:
        """One more group of a channel, which may log in; its id. Raises ConfigError, StorageError."""
        async with self.changing:
            served = self.channels.find(channel_id)
            if served is None:
                raise ConfigError(f"there is no channel {channel_id!r}; it was closed meanwhile")
            if any(row.name == config.name for row in served.groups):
                raise ConfigError(f"channel {channel_id!r} has a group {config.name!r}; give this one another name")
            if len(served.groups) >= GROUPS_PER_CHANNEL_MAX:
                raise ConfigError(f"channel {channel_id!r} has {len(served.groups)} groups, as many as are allowed")
            plan = await self.new_plan()
            (enrolled,) = plan.add_groups(channel_id, [config])
            await self.keep(plan)
            self._enrolment.admit(served.log.topic, enrolled)
            served.groups = [*served.groups, enrolled.row]
        return enrolled.row.id

    async def close(self) -> None:
        """End in good order; what fails on the way is logged, the rest goes on, and the first failure is raised."""
        failures: list[Exception] = []
        while closers := self._face or self._floor:
            try:
                await closers.pop()()
            except Exception as error:
                # Each part gets its chance to end well; how the directory is marked tells the next start.
                _log.exception("a part of the server did not end well")
                failures.append(error)
        directory, self._directory = self._directory, None
        if directory is not None:
            directory.close(orderly=not failures)
        if failures:
            raise failures[0]

    async def _settle_changes(self) -> None:
        """What is being changed comes to its end first, if it does soon; nothing else is begun."""
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_DEADLINE_MS / 1000):
                await self.changing.acquire()

    # --- parts ------------------------------------------------------------------------------------------------------

    def _make_broker(self, cluster: str) -> Broker:
        return Broker(
            cluster_id=cluster,
            topics=Topics(),
            groups=GroupCoordinator(
                self.offsets,
                self.clock,
                self._scheduler,
                min_session_ms=self._config.group_min_session_ms,
                initial_rebalance_ms=self._config.group_initial_rebalance_ms,
            ),
            offsets=self.offsets,
            clock=self.clock,
            scheduler=self._scheduler,
            notices=Notices(self.clock),
            authenticator=self._accounts,
            downconverter=DownConverter(),
            group_ids=self._accounts.group_ids,
        )

    async def _close_cold_reads(self) -> None:
        self._cold_reads.close()

    async def _close_catalog(self) -> None:
        self._accounts.close()
        self.catalog.close()
        if self._verifying is not None:
            await self._verifying

    async def _close_server(self) -> None:
        await self._server.close(CLOSE_DEADLINE_MS)

    # --- for `broker/managed.py` ------------------------------------------------------------------------------------

    def topic_path(self, topic: str) -> Path:
        """Where the log of a topic is, or would be."""
        assert self._directory is not None
        return self.moved_logs.get(topic) or self._directory.topic_path(topic)

    def withdraw_topic(self, name: str) -> Topic | None:
        """Have clients see no such topic from now on."""
        return self._broker.topics.remove(name)

    def offer_topic(self, topic: Topic | None) -> None:
        """Have them see it again."""
        if topic is not None:
            self._broker.topics.add(topic)

    def forget_groups(self, group_ids: Sequence[str]) -> None:
        """Nobody logs in to these groups any more, whose rows are gone; who did is cut off."""
        for group_id in group_ids:
            self._accounts.remove(group_id)
            self._broker.groups.remove(group_id)
            self.offsets.forget(group_id)
            self.channels.consumption.forget(group_id)
        self._server.disconnect(lambda principal: principal.group_id in group_ids, "its channel is released")

    async def end_discarded(self, served: ServedChannel) -> None:
        """End a channel whose log is to be deleted: nothing of it is flushed, and what its groups were committing when
        their rows went goes too.
        """
        await self._end_with_log(served)
        for group in served.groups:
            await self.offsets.delete(group.id)

    async def _end_with_log(self, served: ServedChannel) -> None:
        for closer in served.closers:
            self._forget(closer)
        await served.stop()
        await give_way()  # those whose connections were cut leave the log
        await served.log.close(orderly=False)

    # --- for `broker/store_switch.py` -------------------------------------------------------------------------------

    def folder_beside(self, topic: str) -> Path:
        """Where a log that is to take the place of the topic's can be."""
        assert self._directory is not None
        folder = self._directory.topic_path(topic)
        return next(
            path for number in itertools.count(1) if not (path := folder.with_name(f"{folder.name}.{number}")).exists()
        )

    def open_beside(self, served: ServedChannel, folder: Path) -> tuple[SegmentLog, list[Closer]]:
        """A log in a folder of its own that is to take the place of a channel's, and what ends it. Raises
        StorageError.
        """
        assert served.config is not None
        log = SegmentLog.open(
            folder, served.log.topic, log_config(served.config), self.clock, files=self.files, cold=self._cold_reads
        )
        closers: list[Closer] = [partial(self._close_log, log)]
        self._floor += closers
        return log, closers

    def take_over(self, served: ServedChannel, opening: Opening, cluster: str) -> OpenChannel:
        """Have another log and what fills it take the place of a channel's own, in another cluster: what its groups
        committed goes, and who is connected as one of them is cut off. `end_replaced` has to follow.
        """
        opened = self.serve(opening)
        found, topic = self.channels.find(served.id), self._broker.topics.remove(opened.log.topic)
        assert found is not None
        assert topic is not None
        found.groups, found.created_ms = served.groups, served.created_ms
        self._broker.topics.add(replace(topic, cluster_id=cluster))
        self.moved_logs[topic.name] = opened.log.directory
        group_ids = [group.id for group in served.groups]
        for group_id in group_ids:
            self._broker.groups.remove(group_id)
            self.offsets.forget(group_id)
            self.channels.consumption.forget(group_id)
        self._server.disconnect(lambda principal: principal.group_id in group_ids, "its topic is in another cluster")
        return opened._replace(group_ids=tuple(group_ids))

    async def end_replaced(self, served: ServedChannel) -> None:
        """Have nothing be left of a channel that was taken over from, but its folder."""
        # Behind what its groups were committing, before anybody can log in again.
        await asyncio.gather(*(self.offsets.delete(group.id) for group in served.groups))
        await self._end_with_log(served)

    async def new_plan(self) -> Plan:
        return await self.catalog.run(Plan.read, self.catalog, self.clock)

    async def keep(self, plan: Plan, *writes: Callable[[], None]) -> None:
        """What was planned is durable from here on, and what `writes` write with it."""

        def write() -> None:
            plan.write(self.catalog)
            for each in writes:
                each()

        await self.catalog.run(write)
        self._new_logs.clear()

    async def keep_with(self, opening: Opening, plan: Plan, *writes: Callable[[], None]) -> None:
        """The same for a channel that was opened on a running server, which is closed again if it cannot be kept."""
        try:
            await self.keep(plan, *writes)
        except BaseException:
            # Left open, the log would cut at its end what another try had appended meanwhile.
            await self.end(opening.closers)
            raise

    async def end(self, closers: list[Closer]) -> None:
        """Close what is closed at the server's end otherwise, the last first."""
        while closers:
            closer = closers.pop()
            self._forget(closer)
            await closer()

    def _forget(self, closer: Closer) -> None:
        with suppress(ValueError):  # the server ends, and closes it itself
            self._floor.remove(closer)

    async def open_log(self, config: ChannelConfig, source: SourceFactory, path: str, plan: Plan) -> Opening:
        """Everything about a channel that may be refused: its settings, its log, its groups."""
        assert self._directory is not None
        spec = channel_spec(config, path)
        row = plan.add_channel(config, spec.topic, str(spec.address), path)
        enrolled = plan.add_groups(spec.id, config.groups)
        folder = self.topic_path(spec.topic)
        if not folder.exists():
            self._new_logs.add(folder)
        if spec.topic in self.unreleased:
            raise StorageError(self.unreleased[spec.topic])
        log = SegmentLog.open(
            folder, spec.topic, log_config(config), self.clock, files=self.files, cold=self._cold_reads
        )
        closers: list[Closer] = [partial(self._close_log, log)]
        self._floor += closers
        try:
            for note in log.notes:
                _log.warning("%s", note, extra={"channel": row.id})
            if row.start is None and log.log_start_offset < log.high_watermark:
                row = await self._claimed(row, log, plan)
        except BaseException:
            await self.end(closers)
            raise
        spec = replace(spec, server_id=row.server_id, id_base=row.id_base)
        return Opening(config, spec, source, log, enrolled, plan.made_groups(spec.id), row.created_ms, closers)

    async def _claimed(self, row: ChannelRow, log: SegmentLog, plan: Plan) -> ChannelRow:
        """The row of a channel that does not know of the records in its log: it was lost, or is older than they are."""
        if await self.catalog.run(self.catalog.has_lost_definitions, row.id):
            return row
        if not await self.catalog.run(self.catalog.is_log_offered, row.topic):
            raise lost_channel(self.catalog.path, row.topic, log.directory)
        id_base = await resident(partial(found_id_base, log))
        _log.warning("the log is given to a channel that the catalog did not know", extra={"channel": row.id})
        return plan.claim_log(row, row.id_base if id_base is None else id_base)

    async def _close_log(self, log: SegmentLog) -> None:
        await log.close(orderly=not self._is_volatile)
        if log.directory in self._new_logs:
            with suppress(OSError):  # something came into it: that is not ours to delete
                log.directory.rmdir()

    def serve(self, opening: Opening, kept: Kept | None = None) -> OpenChannel:
        """Let clients see a channel whose log is open; nothing can be refused any more."""
        config, spec, source, log, enrolled, *_ = opening
        log.start()
        channel = new_channel(spec, log, self.catalog, source, self.clock)

        def precheck(**given: Any) -> Awaitable[Sequence[PrecheckItem]]:
            return run_precheck(channel.spec, self.clock, self._config.data_path, **given)

        served = ServedChannel(
            spec.id,
            config.display_name,
            str(spec.address),
            channel,
            log,
            precheck,
            self.clock,
            config=replace(config, groups=[]),  # nothing of a password
            kept=kept,
            created_ms=opening.created_ms,
        )
        served.closers = [*opening.closers, served.stop]
        self._floor.append(served.stop)
        self.channels.add(served)
        before_range_is_start = config.before_range == "start"
        self._broker.topics.add(Topic(spec.topic, log, spec.id, time_before_start_is_start=before_range_is_start))
        for item in enrolled:
            self._enrolment.admit(spec.topic, item)
        for row in opening.made_groups:
            self._enrolment.admit_made(spec.topic, row)
        served.groups = [*(item.row for item in enrolled), *opening.made_groups]
        return OpenChannel(channel, log, tuple(group.id for group in served.groups))

    def _shown_listeners(self) -> dict[str, str]:
        return {name: str(address) for name, address in self.addresses.items()}


def _require_few(served: ServedChannel, filed: int, made: int) -> None:
    """Have the groups of the file fit beside those that operations made. Raises ConfigError."""
    if made and filed + made > GROUPS_PER_CHANNEL_MAX:
        raise ConfigError(
            f"channels.groups of {served.id}: found {filed + made} with those that operations made ({made}); allowed "
            f"are at most {GROUPS_PER_CHANNEL_MAX} together; delete some first"
        )
