"""Channels made by operations: made, looked at, started, changed, renamed, and released for good.

What such a channel is stands in the catalog (`documents`), in the form of its table in a configuration file, as JSON;
its source's password stands in a table of its own and is joined to the address where the source is opened. Started
channels start with the server, others wait as they were; one whose log cannot be opened is shown with the reason and
can be released.

Invariants: each step is durable before it shows, and a process that is killed between two of them leaves nothing that
the next start does not finish.

    create    note the topic for deletion | make the log | channel, document, password in and the note out, as one
    start     note that it is started | start
    source    document and password, as one | go on there; what capture refuses there is put back the same way
    release   stop | channel, groups, offsets, definitions, document out and the topic noted for deletion, as one |
              cut the clients | delete the log | forget the note

A noted topic is deleted by the next start, before any log is opened; while it is there, no channel gets that topic.

Left to others: what may be done when (`lifecycle.py`), the words for people (`operations/channels.py`).
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import shutil
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec.structs import asdict, replace

from broker.channels import Kept, LeftChannel, ServedChannel, take_objects, take_source
from broker.config import ChannelConfig, Secret
from broker.config_rules import ConfigError, check_channel
from broker.control import ChannelView, PrecheckItem
from broker.group_rules import NAME_CHARACTERS_MAX, allowed_name
from broker.provision import GROUP_ID_CHARACTERS, GROUP_ID_PREFIX
from storage.catalog import ChannelRow
from storage.catalog_control import DocumentRow
from storage.errors import StorageError
from storage.words import shown_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from broker.app import Application
    from broker.plan import Plan
    from storage.files import Files

CHANNEL_ID_CHARACTERS: Final = 15
DEFAULT_REGION: Final = "local"
_SHOWN_NAME_CHARACTERS: Final = 60

_log = logging.getLogger("binwire.managed")


class ObjectsRefused(Exception):
    """Other objects did not come into force; one sentence."""


class ReleaseNotAllowed(Exception):
    """The channel is the file's again: a reading of the file took it back while its release waited."""


class SourceStays(Exception):
    """Another source did not come into force; why, in one sentence."""


class PrecheckFailed(Exception):
    """What a precheck found stands against it."""

    def __init__(self, items: Sequence[PrecheckItem]) -> None:
        self.items = tuple(items)
        self.failed = [item for item in items if item.outcome == "failed"]
        found = "; ".join(f"{item.name}: {item.found}" for item in self.failed)
        super().__init__(f"the precheck failed: {found}")


# --- documents ------------------------------------------------------------------------------------------------------


def split_password(source: str) -> tuple[str, str | None]:
    """A source's address without its password, and the password as it stands there, percent-encoded."""
    scheme, separator, rest = source.partition("://")
    credentials, at, location = rest.rpartition("@")
    if scheme == "file" or not at:
        return source, None
    user, colon, password = credentials.partition(":")
    return f"{scheme}{separator}{user}@{location}", password if colon else None


def join_password(source: str, password: str | None) -> str:
    """The address again with its password."""
    if password is None:
        return source
    scheme, separator, rest = source.partition("://")
    user, _, location = rest.rpartition("@")
    return f"{scheme}{separator}{user}:{password}@{location}"


def to_document(config: ChannelConfig) -> tuple[str, str | None]:
    """A configuration as the catalog keeps it, and the password that it keeps elsewhere."""
    source, password = split_password(config.source.reveal())
    fields = {name: value for name, value in asdict(config).items() if value is not None and name != "groups"}
    return json.dumps(fields | {"source": source}, ensure_ascii=False), password


def from_document(row: DocumentRow, password: str | None) -> ChannelConfig:
    """The configuration again. Raises ConfigError if it cannot be read."""
    path = f"channel {row.channel_id}"
    try:
        fields = json.loads(row.document)
        source = Secret(join_password(fields.pop("source"), password))
        config = msgspec.convert(fields | {"source": source}, ChannelConfig)
    except (ValueError, KeyError, AttributeError, msgspec.ValidationError) as error:
        raise ConfigError(f"{path}: what the catalog has of it cannot be read ({error})") from None
    check_channel(path, config)
    return config


def _kept(row: DocumentRow) -> Kept:
    items = None
    if row.precheck is not None:
        try:
            items = msgspec.json.decode(row.precheck, type=tuple[PrecheckItem, ...])
        except msgspec.MsgspecError:
            _log.warning("the last precheck is not known any more", extra={"channel": row.channel_id})
    return Kept(is_started=bool(row.is_started), items=items, prechecked_ms=row.prechecked_ms)


def _row(served: ServedChannel) -> DocumentRow:
    """What the catalog is to have of a channel."""
    assert served.config is not None
    assert served.kept is not None
    items = served.kept.items
    return DocumentRow(
        served.id,
        to_document(served.config)[0],
        int(served.kept.is_started),
        None if items is None else msgspec.json.encode(items).decode(),
        served.kept.prechecked_ms,
    )


# --- ids and names --------------------------------------------------------------------------------------------------


def new_channel_id() -> str:
    """An id in the service's form."""
    return GROUP_ID_PREFIX + "".join(random.SystemRandom().choices(GROUP_ID_CHARACTERS, k=CHANNEL_ID_CHARACTERS))


def default_name(config: ChannelConfig) -> str:
    """What a channel is called that nobody gave a name: its first object and its source's host."""
    location = config.source.reveal().partition("://")[2].partition("?")[0]
    host = location.rpartition("@")[2].partition("/")[0] or location.rpartition("/")[2]
    objects = (
        config.objects[0] if len(config.objects) == 1 else f"{config.objects[0]} and {len(config.objects) - 1} more"
    )
    return f"{objects[:_SHOWN_NAME_CHARACTERS]} at {host[:_SHOWN_NAME_CHARACTERS]}"


def check_name(name: str) -> None:
    """Raises ConfigError for what cannot be a channel's name; the rule is that of a group's."""
    if (allowed := allowed_name(name)) is not None:
        raise ConfigError(f"name: found {name[:NAME_CHARACTERS_MAX]!r}; allowed are {allowed}")


# --- a start --------------------------------------------------------------------------------------------------------


async def open_kept(app: Application, documents: Sequence[DocumentRow], plan: Plan) -> None:
    """Serve the channels that were made by operations, as they were when the server ended."""
    from broker.capturing import open_configured_source

    def age(document: DocumentRow) -> tuple[int, str]:
        row = plan.channels.get(document.channel_id)
        return (0 if row is None else row.created_ms, document.channel_id)

    for document in sorted(documents, key=age):
        channel_id = document.channel_id
        if channel_id in app.channels:
            _log.warning("the file defines a channel that was made by an operation", extra={"channel": channel_id})
            plan.superseded.append(channel_id)
            continue
        password = await app.catalog.run(app.catalog.source_password, channel_id)
        known = plan.channels.get(channel_id)
        try:
            config = from_document(document, password)
            opening = await app.open_log(config, open_configured_source, f"channel {channel_id}", plan)
        except (ConfigError, StorageError) as error:
            # One that cannot be served keeps no other from being served, and can still be released.
            _log.error("channel cannot be opened: %s", error, extra={"channel": channel_id})
            row = known or _unknown_row(channel_id)
            sentence = f"{error}; then restart `binwire serve`, or release the channel"
            app.channels.left[channel_id] = LeftChannel(row, sentence)
            continue
        app.serve(opening, _kept(document))


def _unknown_row(channel_id: str) -> ChannelRow:
    return ChannelRow(channel_id, channel_id, "", "", 0, None, "[]", 0, 0, "", None)


async def delete_log(app: Application, topic: str) -> None:
    """Delete the log of a noted topic, and forget the note. Raises StorageError, and the note stays."""
    folder = app.topic_path(topic)
    try:
        await asyncio.to_thread(_delete_folder, folder, app.files)
    except OSError as error:
        app.unreleased[topic] = (
            f"the log {folder} of a released channel could not be deleted ({error.strerror or error}); delete it, or "
            "see to it and restart `binwire serve`"
        )
        raise StorageError(app.unreleased[topic]) from error
    await app.catalog.run(app.catalog.end_release, topic)
    app.unreleased.pop(topic, None)
    app.moved_logs.pop(topic, None)


def _size_bytes(folder: Path) -> int:
    """What the files of a log take of their disk; those that go meanwhile are not counted."""
    from storage.files import Files

    files, total = Files(), 0
    for file in folder.glob("*"):
        with suppress(OSError):
            total += files.occupied_bytes(file)
    return total


def _delete_folder(folder: Path, files: Files) -> None:
    if folder.is_dir() and not folder.is_symlink():
        shutil.rmtree(folder)
    else:
        folder.unlink(missing_ok=True)
    files.sync_directory(folder.parent)


# --- changes --------------------------------------------------------------------------------------------------------


class ManagedChannels:
    """What changes the channels of a running server. Whoever calls has seen that it is allowed (`lifecycle.py`) and
    holds the channel's `changing`.
    """

    def __init__(self, app: Application) -> None:
        self._app = app

    def find(self, channel_id: str) -> ServedChannel | LeftChannel | None:
        """The channel of this id, served or not."""
        channels = self._app.channels
        return channels.find(channel_id) or channels.left.get(channel_id)

    def every(self) -> list[ServedChannel | LeftChannel]:
        """All channels, in the order they were added."""
        channels = self._app.channels
        return [*channels, *channels.left.values()]

    def view(self, channel_id: str) -> ChannelView:
        """What is known of a channel; KeyError for an unknown one."""
        return self._app.channels.view(channel_id)

    async def what_goes(self, found: ServedChannel | LeftChannel) -> tuple[str, ...]:
        """What a release deletes for good, in sentences."""
        catalog = self._app.catalog
        topic = found.row.topic if isinstance(found, LeftChannel) else found.log.topic
        size_bytes = await asyncio.to_thread(_size_bytes, self._app.topic_path(topic)) if topic else 0
        groups = await catalog.run(catalog.groups, found.id)
        records = ""
        if isinstance(found, ServedChannel):
            first, end = found.log.log_start_offset, found.log.high_watermark
            records = f", offsets {first} to {end - 1}" if end > first else ", which has no record yet"
        goes = [f"the topic {topic} with all its data: {shown_bytes(size_bytes)}{records}"] if topic else []
        goes += [f"the consumer group {row.id} ({row.name}) with its login and what it committed" for row in groups]
        return (*goes, "the history of its tables' definitions", "its settings and the password of its source")

    async def create(self, settings: Mapping[str, Any]) -> ServedChannel:
        """A new channel whose source is being looked at when this returns.

        `settings` are keys of a channel's table without id and topic. Raises ConfigError that names the key,
        StorageError.
        """
        from broker.capturing import open_configured_source

        app = self._app
        async with app.changing:
            plan = await app.new_plan()
            channel_id = next(found for found in iter(new_channel_id, "") if found not in plan.channels)
            config = _new_config(channel_id, settings)
            topic = config.topic_name
            folder = app.topic_path(topic)
            owner = next((f"channel {row.id!r}" for row in plan.channels.values() if row.topic == topic), None)
            if owner is not None or folder.exists():
                raise ConfigError(
                    f"instance_id: found {config.instance_id!r}, but {owner or folder} has the data of the topic "
                    f"{topic!r}, which region, instance_id and account make; give another instance_id"
                )
            document, password = to_document(config)
            await app.catalog.run(app.catalog.note_release, topic)
            try:
                opening = await app.open_log(config, open_configured_source, "channel", plan)
                writes = [
                    partial(app.catalog.put_document, DocumentRow(channel_id, document, 0, None, None)),
                    partial(app.catalog.end_release, topic),
                ]
                if password is not None:
                    writes.append(partial(app.catalog.set_source_password, channel_id, password))
                await app.keep_with(opening, plan, *writes)
            except BaseException:
                await asyncio.shield(self._abandon(topic))
                raise
            app.serve(opening, Kept(is_started=False))
        served = app.channels.find(channel_id)
        assert served is not None
        self.begin_precheck(served)
        return served

    async def _abandon(self, topic: str) -> None:
        """Undo what was noted, if it was."""
        app = self._app
        try:
            if topic in await app.catalog.run(app.catalog.releases):
                await delete_log(app, topic)
        except StorageError as error:
            _log.warning("%s", error)

    def begin_precheck(self, served: ServedChannel) -> asyncio.Task[None]:
        """Look at the channel's source; one that is not started is Prechecking until that is done."""
        if served.prechecking is None:
            served.prechecking = asyncio.create_task(self._precheck(served), name=f"precheck {served.id}")
        return served.prechecking

    async def _precheck(self, served: ServedChannel) -> None:
        try:
            served.take_precheck(await self.look(served))
            if served.kept is not None:
                await self._keep(served)
        except StorageError as error:
            _log.warning("the precheck is not kept: %s", error, extra={"channel": served.id})
        finally:
            served.prechecking = None

    async def look(self, served: ServedChannel, **given: Any) -> tuple[PrecheckItem, ...]:
        """What a precheck finds now, with other `objects` or at another `address` if one is given; nothing is changed.
        Whatever keeps it from looking is an item that failed.
        """
        try:
            return tuple(await served.precheck(**given))
        except StorageError as error:
            return (PrecheckItem("data directory", "failed", str(error), "nothing can be looked at"),)
        except Exception as error:
            _log.exception("a precheck failed by a mistake in Binwire", extra={"channel": served.id})
            found = f"it failed by a mistake in Binwire ({type(error).__name__}: {error})"
            return (PrecheckItem("precheck", "failed", found, "nothing can be looked at"),)

    async def start(self, served: ServedChannel) -> None:
        """Start a channel whose precheck passed. Raises PrecheckFailed, StorageError."""
        kept = served.kept
        assert kept is not None
        if kept.failed or kept.items is None:
            raise PrecheckFailed(kept.items or ())
        kept.is_started = True
        try:
            await self._keep(served)
        except BaseException:
            kept.is_started = False
            raise
        await served.channel.start()

    async def rename(self, served: ServedChannel, name: str) -> None:
        """Raises ConfigError, StorageError."""
        check_name(name)
        assert served.config is not None
        before, named = served.config, replace(served.config, name=name)
        served.config, served.name = named, name
        try:
            await self._keep(served)
        except BaseException:
            served.config, served.name = before, before.display_name
            raise

    async def change_objects(
        self, served: ServedChannel, objects: tuple[str, ...], data_types: Sequence[str] | None
    ) -> str:
        """Have other objects tracked, and other types of changes, from where the log ends, once a precheck has passed
        with them; what came of it.

        Raises ConfigError, PrecheckFailed, ObjectsRefused, StorageError: the objects are as they were then.
        """
        assert served.config is not None
        before = served.config
        changed = replace(before, objects=list(objects), data_types=list(data_types or before.data_types))
        check_channel("channel", changed)
        items = await self.look(served, objects=objects)
        if any(item.outcome == "failed" for item in items):
            raise PrecheckFailed(items)
        served.take_precheck(items)
        served.config = changed
        try:
            await self._keep(served)
        except BaseException:
            served.config = before
            raise
        told = await take_objects(served, objects, frozenset(changed.data_types))
        if served.channel.refused_objects is None:
            return told
        served.config = before
        await served.channel.withdraw_objects(tuple(before.objects), frozenset(before.data_types))
        await self._keep(served)
        raise ObjectsRefused(told)

    async def change_source(self, served: ServedChannel, source: Secret) -> str:
        """Have the channel read from another address, or by another account, from where its log ends, once a precheck
        has passed there; what came of it. That it is the same server capture proves, in the precheck as where it goes
        on.

        Raises ConfigError, PrecheckFailed, SourceStays, StorageError: the source is as it was then.
        """
        from broker.capturing import source_address

        before = served.config
        assert before is not None
        # The topic is made of the account where none is named, and its data stays under it.
        changed = replace(before, source=source, topic=served.log.topic)
        check_channel("channel", changed)
        address = source_address(changed, "channel")
        items = await self.look(served, address=address)
        is_started = served.kept is not None and served.kept.is_started
        # A started channel goes on without a table that was dropped: that must not keep a password from being changed.
        harmless = {"objects"} if is_started else set()
        if any(item.outcome == "failed" and item.name not in harmless for item in items):
            raise PrecheckFailed(items)
        await served.end_precheck()  # one that is under way looks at the source before
        looked = served.looked
        await self._keep_source(served, changed, str(address), items)
        reason = await take_source(served, address)
        if reason is None:
            return self._told_source(served)
        await self._keep_source(served, before, str(source_address(before, "channel")), looked and looked[0])
        still = await take_source(served, source_address(before, "channel"))
        raise SourceStays(reason if still is None else f"{reason}; at {served.source} it stands still: {still}")

    async def _keep_source(
        self, served: ServedChannel, config: ChannelConfig, shown: str, items: tuple[PrecheckItem, ...] | None
    ) -> None:
        """The channel has this source, durably, and what a precheck found there; else it is as it was."""
        before, kept, looked = (served.config, served.source), served.kept, served.looked
        assert kept is not None
        found = kept.items, kept.prechecked_ms
        served.config, served.source = config, shown
        if items is not None:
            served.take_precheck(items)
        try:
            catalog, password = self._app.catalog, to_document(config)[1]
            await catalog.run(catalog.put_source, _row(served), shown, password)
        except BaseException:
            (served.config, served.source), served.looked = before, looked
            kept.items, kept.prechecked_ms = found
            raise

    def _told_source(self, served: ServedChannel) -> str:
        status = served.channel.status()
        if str(status.state) == "Normal":
            return f"{served.id} goes on at {served.source}"
        if status.reason is not None:
            return f"{served.id} goes on at {served.source} when it can: {status.reason}"
        return f"{served.id} reads from {served.source} when it is started"

    async def _keep(self, served: ServedChannel) -> None:
        """What the channel is now is durable."""
        await self._app.catalog.run(self._app.catalog.put_document, _row(served))

    async def release(self, found: ServedChannel | LeftChannel) -> None:
        """Delete the channel with everything that belongs to it, for good.

        Raises StorageError: before anything was deleted the channel goes on; after that the rest goes at the next
        start, which the sentence says. Raises ReleaseNotAllowed if the file has taken the channel back meanwhile.
        """
        app = self._app
        async with app.changing:
            if "release_channel" not in found.operations:
                raise ReleaseNotAllowed(found.id)
            if isinstance(found, LeftChannel):
                await self._release_left(found)
            else:
                await self.discard(found)

    async def _release_left(self, left: LeftChannel) -> None:
        app, topic = self._app, left.row.topic
        rows = await app.catalog.run(app.catalog.groups, left.id)
        if topic:
            await app.catalog.run(app.catalog.release_channel, left.id, topic)
        else:
            await app.catalog.run(app.catalog.delete_channel, left.id)
        app.forget_groups([row.id for row in rows])
        app.channels.remove(left.id)
        if topic:
            await delete_log(app, topic)

    async def discard(self, served: ServedChannel) -> None:
        """Leave nothing of a channel, whoever defines it. Raises StorageError, as `release`."""
        app, topic = self._app, served.log.topic
        was_running, withdrawn = served.channel.is_running, app.withdraw_topic(topic)
        await served.end_precheck()
        await served.channel.stop()
        try:
            rows = await app.catalog.run(app.catalog.groups, served.id)
            await app.catalog.run(app.catalog.release_channel, served.id, topic)
        except BaseException:
            app.offer_topic(withdrawn)
            if was_running:
                await served.channel.start()
            raise
        app.channels.remove(served.id)
        app.forget_groups([row.id for row in rows])
        await app.end_discarded(served)
        await delete_log(app, topic)


def _new_config(channel_id: str, settings: Mapping[str, Any]) -> ChannelConfig:
    given = {key: value for key, value in settings.items() if value not in (None, "")}
    try:
        config = msgspec.convert(
            {"id": channel_id, "region": DEFAULT_REGION, "instance_id": channel_id} | given, ChannelConfig
        )
    except msgspec.ValidationError as error:
        raise ConfigError(str(error)) from None
    check_channel("channel", config)
    name = config.name or default_name(config)
    if config.name is not None:
        check_name(name)
    return replace(config, name=name)
