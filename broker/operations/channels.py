"""Operations on channels: what there is, making one, its precheck, start, source, objects, name, release.

Owns the words: what is refused and why, what goes with a channel, what was done. What is allowed when is
`broker/lifecycle.py`; the doing is `broker/managed.py`. A change that was begun is brought to its end whether or not
whoever asked waits for it, and of one channel one change at a time.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

from msgspec import Struct
from msgspec.structs import asdict

from broker.channels import LeftChannel, ServedChannel
from broker.config_rules import ConfigError
from broker.control import ChannelView, PrecheckItem
from broker.lifecycle import FILE_DECIDES, DefinedBy, Situation
from broker.managed import ObjectsRefused, PrecheckFailed, ReleaseNotAllowed, SourceStays
from broker.operations.operation import Operation, OperationError, Refusal
from broker.operations.sources import SourceArguments, what_to_take_back
from storage.log import resident

if TYPE_CHECKING:
    from broker.operations.plane import ControlPlane

T = TypeVar("T")

PAGE_SIZE: Final = 20
PAGE_SIZE_MAX: Final = 500
DataTypes = tuple[Literal["dml", "ddl"], ...]

_running: Final[set[asyncio.Task[Any]]] = set()


class ListChannelsArguments(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`region`: of these only. `search`: a part of the id or the name, in any case."""

    region: str | None = None
    search: str = ""
    page: int = 1
    page_size: int = PAGE_SIZE


class ChannelList(Struct, frozen=True):
    """One page of the channels that match; `total` counts them all, `regions` are those that there are."""

    channels: tuple[ChannelView, ...]
    total: int
    page: int
    page_size: int
    regions: tuple[str, ...]


class ChannelArguments(Struct, frozen=True, forbid_unknown_fields=True):
    """Which channel."""

    channel_id: str


class CreateChannelArguments(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A new channel. Its id is generated, and so are a name and an instance that are not given; the topic is made of
    region, instance and the source's account. What is not given is as in a configuration file.
    """

    source: SourceArguments
    objects: tuple[str, ...]
    name: str | None = None
    region: str | None = None
    instance_id: str | None = None
    data_types: DataTypes | None = None
    start: str | int | None = None
    retention: str | None = None
    retention_size: str | None = None
    segment_size: str | None = None
    flush: Literal["interval", "before-visible"] | None = None
    flush_interval: str | None = None
    flush_size: str | None = None
    compression: Literal["none", "gzip", "snappy", "lz4"] | None = None
    record_bytes_max: str | None = None
    before_range: Literal["start", "nothing"] | None = None
    allow_replica: bool | None = None
    ghost_ddl: Literal["follow", "service"] | None = None
    row_image: Literal["full", "any"] | None = None
    server_id: int | None = None


class RenameChannelArguments(Struct, frozen=True, forbid_unknown_fields=True):
    """A name need not be unique."""

    channel_id: str
    name: str


class PrecheckChannelArguments(Struct, frozen=True, forbid_unknown_fields=True):
    """`wait`: for what is found; without it the channel is Prechecking when this returns."""

    channel_id: str
    wait: bool = False


class ChangeObjectsArguments(Struct, frozen=True, forbid_unknown_fields=True):
    """All objects that are to be tracked from now on; without `data_types` those stay as they are."""

    channel_id: str
    objects: tuple[str, ...]
    data_types: DataTypes | None = None


class ChangeSourceArguments(Struct, frozen=True, forbid_unknown_fields=True):
    """The whole of the source, its password too: the one that is kept is sent nowhere else."""

    channel_id: str
    source: SourceArguments


class SourceChanged(Struct, frozen=True):
    """What came of it in one sentence, and the channel as it is now."""

    message: str
    channel: ChannelView


class ObjectsChanged(Struct, frozen=True):
    """What came of it in one sentence, and the channel as it is now."""

    message: str
    channel: ChannelView


class ReleasePreview(Struct, frozen=True):
    """What goes with a channel and what to take back at its source, in sentences; `confirm` is to be repeated."""

    channel_id: str
    name: str
    goes: tuple[str, ...]
    take_back: tuple[str, ...]
    confirm: str


class ReleaseChannelArguments(Struct, frozen=True, forbid_unknown_fields=True):
    """`confirm` repeats the id, because what is deleted does not come back."""

    channel_id: str
    confirm: str = ""


class ReleaseChannelsArguments(Struct, frozen=True, forbid_unknown_fields=True):
    """`confirm` is `release N channels`, with their number."""

    channel_ids: tuple[str, ...]
    confirm: str = ""


class Released(Struct, frozen=True):
    """What became of one channel: `refusal` None means that it is gone for good."""

    channel_id: str
    message: str
    take_back: tuple[str, ...] = ()
    refusal: str | None = None


class ReleasedChannels(Struct, frozen=True):
    """Of each channel that was named."""

    channels: tuple[Released, ...]


# ---- looking ----


async def list_channels(plane: ControlPlane, arguments: ListChannelsArguments) -> ChannelList:
    """A page of channels in the order in which they were added; only those on it are looked at closely."""
    for name, greatest in (("page", 1 << 31), ("page_size", PAGE_SIZE_MAX)):
        found = getattr(arguments, name)
        if not 1 <= found <= greatest:
            sentence = f"{name}: found {found}; allowed is a number from 1 to {greatest}"
            raise OperationError(Refusal.INVALID, sentence, field=name)
    every = plane.managed.every()
    region, search = arguments.region or None, arguments.search.casefold()
    matching = [
        one.id
        for one in every
        if (region is None or one.region == region) and (search in one.id.casefold() or search in one.name.casefold())
    ]
    first = (arguments.page - 1) * arguments.page_size
    views = [await _view(plane, one) for one in matching[first : first + arguments.page_size]]
    regions = tuple(sorted({one.region for one in every if one.region is not None}))
    shown = tuple(view for view in views if view is not None)
    return ChannelList(shown, len(matching), arguments.page, arguments.page_size, regions)


async def show_channel(plane: ControlPlane, arguments: ChannelArguments) -> ChannelView:
    """All that is known of a channel now."""
    view = await _view(plane, arguments.channel_id)
    if view is None:
        raise _unknown(arguments.channel_id)
    return view


async def _view(plane: ControlPlane, channel_id: str) -> ChannelView | None:
    """None if it is gone."""
    try:
        return await resident(partial(plane.managed.view, channel_id))
    except KeyError:
        return None


# ---- changing ----


async def create_channel(plane: ControlPlane, arguments: CreateChannelArguments) -> ChannelView:
    """Make a channel; its precheck is under way when this returns."""
    settings = {key: value for key, value in asdict(arguments).items() if key not in ("source", "objects")}
    settings |= {"source": arguments.source.address(), "objects": list(arguments.objects)}
    with _told_fields():
        served = await _to_its_end(plane.managed.create(settings))
    return await show_channel(plane, ChannelArguments(served.id))


async def rename_channel(plane: ControlPlane, arguments: RenameChannelArguments) -> ChannelView:
    """Give a channel another name."""

    async def rename() -> None:
        async with _changing(plane, arguments.channel_id, "rename_channel") as served:
            with _told_fields():
                await plane.managed.rename(served, arguments.name)

    await _to_its_end(rename())
    return await show_channel(plane, ChannelArguments(arguments.channel_id))


async def precheck_channel(plane: ControlPlane, arguments: PrecheckChannelArguments) -> ChannelView:
    """Look at the channel's source again."""
    looking: Awaitable[None] | None = None
    async with _changing(plane, arguments.channel_id, "precheck_channel") as served:
        looking = plane.managed.begin_precheck(served)
    if arguments.wait:
        await asyncio.wait([looking])
    return await show_channel(plane, ChannelArguments(arguments.channel_id))


async def start_channel(plane: ControlPlane, arguments: ChannelArguments) -> ChannelView:
    """Start a channel whose precheck passed; from then on it starts with the server."""

    async def start() -> None:
        async with _changing(plane, arguments.channel_id, "start_channel") as served:
            await plane.managed.start(served)

    await _to_its_end(start())
    return await show_channel(plane, arguments)


async def resume_channel(plane: ControlPlane, arguments: ChannelArguments) -> ChannelView:
    """Have a channel that stands still try again now."""

    async def resume() -> None:
        async with _changing(plane, arguments.channel_id, "resume_channel") as served:
            await served.channel.try_again()

    await _to_its_end(resume())
    return await show_channel(plane, arguments)


async def change_objects(plane: ControlPlane, arguments: ChangeObjectsArguments) -> ObjectsChanged:
    """Have other objects tracked: after a precheck with them, in force from that moment and not before."""

    async def change() -> str:
        async with _changing(plane, arguments.channel_id, "change_objects") as served:
            with _told_fields():
                return await plane.managed.change_objects(served, arguments.objects, arguments.data_types)

    told = await _to_its_end(change())
    return ObjectsChanged(told, await show_channel(plane, ChannelArguments(arguments.channel_id)))


async def change_source(plane: ControlPlane, arguments: ChangeSourceArguments) -> SourceChanged:
    """Have a channel go on at another address, or by another account, of the same server, after a precheck there."""
    source = arguments.source.address()

    async def change() -> str:
        async with _changing(plane, arguments.channel_id, "change_source") as served:
            stays = f"the source stays {served.source}"
            try:
                with _told_fields():
                    return await plane.managed.change_source(served, source)
            except PrecheckFailed as error:
                sentence, details = f"{stays}: {error}", _details(error.items)
                raise OperationError(Refusal.PRECHECK_FAILED, sentence, details=details) from None
            except SourceStays as error:
                raise OperationError(Refusal.PRECHECK_FAILED, f"{stays}: {error}", field="source") from None

    told = await _to_its_end(change())
    return SourceChanged(told, await show_channel(plane, ChannelArguments(arguments.channel_id)))


# ---- releasing ----


async def preview_release(plane: ControlPlane, arguments: ChannelArguments) -> ReleasePreview:
    """What a release deletes for good, and what it leaves at the source."""
    found = _require(plane, arguments.channel_id, "preview_release")
    take_back = await what_to_take_back(plane, found.id)
    return ReleasePreview(found.id, found.name, await plane.managed.what_goes(found), take_back, found.id)


async def release_channel(plane: ControlPlane, arguments: ReleaseChannelArguments) -> Released:
    """Delete a channel with everything that belongs to it, for good."""
    channel_id = arguments.channel_id
    _require(plane, channel_id, "release_channel")
    if arguments.confirm != channel_id:
        sentence = f"confirm: found {arguments.confirm!r}; repeat the channel's id, {channel_id}, to delete it for good"
        raise OperationError(Refusal.INVALID, sentence, field="confirm")
    return await _to_its_end(_release(plane, channel_id))


async def release_channels(plane: ControlPlane, arguments: ReleaseChannelsArguments) -> ReleasedChannels:
    """Delete several channels for good, each for itself: what is refused of one does not keep the others."""
    channel_ids = list(dict.fromkeys(arguments.channel_ids))
    wanted = f"release {len(channel_ids)} channels"
    if not channel_ids:
        raise OperationError(Refusal.INVALID, "channel_ids: found none; name one channel or more", field="channel_ids")
    if arguments.confirm != wanted:
        sentence = f"confirm: found {arguments.confirm!r}; write {wanted!r} to delete them for good"
        raise OperationError(Refusal.INVALID, sentence, field="confirm")

    async def release_each() -> tuple[Released, ...]:
        return tuple([await _tried(_release(plane, channel_id), channel_id) for channel_id in channel_ids])

    return ReleasedChannels(await _to_its_end(release_each()))


async def _release(plane: ControlPlane, channel_id: str) -> Released:
    async with _held(plane, channel_id, "release_channel") as found:
        name, take_back = found.name, await what_to_take_back(plane, channel_id)
        try:
            await plane.managed.release(found)
        except ReleaseNotAllowed:
            _require(plane, channel_id, "release_channel")
            raise
    return Released(channel_id, f"the channel {name!r} and all that belonged to it is deleted for good", take_back)


async def _tried(release: Coroutine[Any, Any, Released], channel_id: str) -> Released:
    from storage.errors import StorageError

    try:
        return await release
    except OperationError as error:
        return Released(channel_id, str(error), refusal=error.refusal)
    except StorageError as error:
        return Released(channel_id, str(error), refusal=Refusal.STORAGE_UNAVAILABLE)


# ---- plumbing ----


def _unknown(channel_id: str) -> OperationError:
    return OperationError(Refusal.NOT_FOUND, f"there is no channel {channel_id!r}; list_channels shows those there are")


def _require(plane: ControlPlane, channel_id: str, operation: str) -> ServedChannel | LeftChannel:
    """The channel, if the operation is allowed with it now. Raises OperationError."""
    found = plane.managed.find(channel_id)
    if found is None:
        raise _unknown(channel_id)
    if operation in found.operations:
        return found
    if found.defined_by == DefinedBy.FILE and operation in FILE_DECIDES:
        raise OperationError(
            Refusal.DEFINED_BY_FILE,
            f"the channel {channel_id} is defined by the configuration file; change that, then run `binwire reload`",
        )
    if operation == "start_channel" and found.situation is Situation.NOT_READY and isinstance(found, ServedChannel):
        failed = [] if found.kept is None else found.kept.failed
        told = "; ".join(f"{item.name}: {item.found}" for item in failed) or "it was interrupted"
        sentence = f"the precheck of the channel {channel_id} has not passed ({told}); mend that, and have it run again"
        raise OperationError(Refusal.PRECHECK_FAILED, sentence, details=_details(tuple(failed)))
    allowed = ", ".join(found.operations) or "nothing"
    raise OperationError(
        Refusal.NOT_ALLOWED_NOW,
        f"{operation} is not allowed with the channel {channel_id}, which is {found.situation}; allowed now: {allowed}",
        details={"state": str(found.situation), "allowed": list(found.operations)},
    )


@asynccontextmanager
async def _held(plane: ControlPlane, channel_id: str, operation: str) -> AsyncIterator[ServedChannel | LeftChannel]:
    """The channel, with nobody else changing it, if the operation is allowed then. Raises OperationError."""
    async with _require(plane, channel_id, operation).changing:
        yield _require(plane, channel_id, operation)


@asynccontextmanager
async def _changing(plane: ControlPlane, channel_id: str, operation: str) -> AsyncIterator[ServedChannel]:
    """The same for what only a channel that is served can do; what comes of it otherwise becomes a refusal."""
    async with _held(plane, channel_id, operation) as found:
        assert isinstance(found, ServedChannel)
        try:
            yield found
        except PrecheckFailed as error:
            sentence = f"{error}; see to it and try again" if error.items else "the precheck has not been made yet"
            raise OperationError(Refusal.PRECHECK_FAILED, sentence, details=_details(error.items)) from None
        except ObjectsRefused as error:
            raise OperationError(Refusal.PRECHECK_FAILED, str(error), field="objects") from None


def _details(items: tuple[PrecheckItem, ...]) -> list[dict[str, Any]]:
    return [asdict(item) for item in items]


@contextmanager
def _told_fields() -> Iterator[None]:
    """What breaks a rule of the configuration is told with the name of the argument."""
    try:
        yield
    except ConfigError as error:
        sentence = str(error).removeprefix("channel.").removeprefix("channel: ")
        key = sentence.partition(":")[0]
        field = key if key.partition("[")[0] in CreateChannelArguments.__struct_fields__ else None
        raise OperationError(Refusal.INVALID, sentence, field=field) from None


async def _to_its_end(change: Coroutine[Any, Any, T]) -> T:
    """Do it whether or not whoever asked still waits: half of a change is none."""
    task = asyncio.ensure_future(change)
    _running.add(task)
    task.add_done_callback(_running.discard)
    return await asyncio.shield(task)


ROWS: Final = (
    Operation(
        "list_channels",
        "GET",
        "/channels",
        "channels",
        "Channels, filtered and paged",
        ListChannelsArguments,
        ChannelList,
        list_channels,
    ),
    Operation(
        "create_channel",
        "POST",
        "/channels",
        "channels",
        "Make a channel and look at its source",
        CreateChannelArguments,
        ChannelView,
        create_channel,
        is_change=True,
    ),
    Operation(
        "show_channel",
        "GET",
        "/channels/{channel_id}",
        "channels",
        "All that is known of a channel",
        ChannelArguments,
        ChannelView,
        show_channel,
    ),
    Operation(
        "rename_channel",
        "PATCH",
        "/channels/{channel_id}",
        "channels",
        "Give a channel another name",
        RenameChannelArguments,
        ChannelView,
        rename_channel,
        is_change=True,
    ),
    Operation(
        "precheck_channel",
        "POST",
        "/channels/{channel_id}/precheck",
        "channels",
        "Look at a channel's source again",
        PrecheckChannelArguments,
        ChannelView,
        precheck_channel,
        is_change=True,
    ),
    Operation(
        "start_channel",
        "POST",
        "/channels/{channel_id}/start",
        "channels",
        "Start a channel whose precheck passed",
        ChannelArguments,
        ChannelView,
        start_channel,
        is_change=True,
    ),
    Operation(
        "resume_channel",
        "POST",
        "/channels/{channel_id}/resume",
        "channels",
        "Have a channel that stands still try again now",
        ChannelArguments,
        ChannelView,
        resume_channel,
        is_change=True,
    ),
    Operation(
        "change_objects",
        "PUT",
        "/channels/{channel_id}/objects",
        "channels",
        "Track other databases and tables, after a precheck with them",
        ChangeObjectsArguments,
        ObjectsChanged,
        change_objects,
        is_change=True,
    ),
    Operation(
        "change_source",
        "PUT",
        "/channels/{channel_id}/source",
        "channels",
        "Read from another address or by another account of the same server, after a precheck there",
        ChangeSourceArguments,
        SourceChanged,
        change_source,
        is_change=True,
    ),
    Operation(
        "preview_release",
        "GET",
        "/channels/{channel_id}/release",
        "channels",
        "What a release deletes for good, and what it leaves at the source",
        ChannelArguments,
        ReleasePreview,
        preview_release,
    ),
    Operation(
        "release_channel",
        "DELETE",
        "/channels/{channel_id}",
        "channels",
        "Delete a channel with all that belongs to it, for good",
        ReleaseChannelArguments,
        Released,
        release_channel,
        is_change=True,
    ),
    Operation(
        "release_channels",
        "POST",
        "/channels/release",
        "channels",
        "Delete several channels for good",
        ReleaseChannelsArguments,
        ReleasedChannels,
        release_channels,
        is_change=True,
    ),
)
