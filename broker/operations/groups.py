"""Operations on consumer groups, and on what a consumer needs: sample code and the Avro schema of records.

A group of the file is shown and not changed here. A deleted group is gone for good: its login, its commits, its
membership. A new password is in force at once, and whoever is connected by the old one is cut.

Left to others: the rules (`broker/group_rules.py`), making a change (`broker/group_register.py`), how far a group has
come (`broker/consumption.py`), the programs (`broker/samples/`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NoReturn

from msgspec import Struct

from broker import group_register as register
from broker.config import Secret
from broker.control import GroupView
from broker.group_rules import GROUPS_PER_CHANNEL_MAX, allowed_name, allowed_username, broken_password
from broker.operations.channels import ChannelArguments, show_channel
from broker.operations.operation import Done, NoArguments, Operation, OperationError, Refusal
from broker.samples import LANGUAGES, Sample, SampleLanguage, sample

if TYPE_CHECKING:
    from broker.operations.plane import ControlPlane

SHOWN_CHARACTERS_MAX: Final = 128


class GroupList(Struct, frozen=True):
    """The consumer groups of a channel, and how many it may have."""

    groups: tuple[GroupView, ...]
    groups_max: int


class CreateGroupArguments(Struct, frozen=True, forbid_unknown_fields=True):
    """A new group; its id is generated. Clients log in as `<username>-<id>`; the password is given twice."""

    channel_id: str
    name: str
    username: str
    password: Secret
    password_again: Secret


class ChangePasswordArguments(Struct, frozen=True, forbid_unknown_fields=True):
    """The group's password as it is, and twice what it is to be."""

    channel_id: str
    group_id: str
    old_password: Secret
    password: Secret
    password_again: Secret


class DeleteGroupArguments(Struct, frozen=True, forbid_unknown_fields=True):
    """Which group; `confirm` repeats its id, because what is deleted does not come back."""

    channel_id: str
    group_id: str
    confirm: str = ""


class SampleArguments(Struct, frozen=True, forbid_unknown_fields=True):
    """A program in which language, for which group (the channel's first if it is left out) and which listener (the
    first).
    """

    channel_id: str
    language: str
    group_id: str | None = None
    listener: str | None = None


async def list_groups(plane: ControlPlane, arguments: ChannelArguments) -> GroupList:
    """The groups with their consumption."""
    channel = await show_channel(plane, arguments)
    try:
        views = await plane.groups.views(channel.id)
    except register.NoSuchGroup:
        sentence = f"of channel {channel.id} only data is left, and nobody can log in to it"
        raise OperationError(Refusal.NOT_ALLOWED_NOW, f"{sentence}; release it, or put it back into the file") from None
    return GroupList(tuple(views), GROUPS_PER_CHANNEL_MAX)


async def create_group(plane: ControlPlane, arguments: CreateGroupArguments) -> GroupView:
    """Make a group; it may log in when this returns."""
    await _require_allowed(plane, arguments.channel_id, "create_group")
    for field, found, allowed in (
        ("name", arguments.name, allowed_name(arguments.name)),
        ("username", arguments.username, allowed_username(arguments.username)),
    ):
        if allowed is not None:
            raise _invalid(field, f"found {_shown(found)}; allowed is {allowed}")
    _require_password(arguments.password, arguments.password_again)
    channel_id, name = arguments.channel_id, arguments.name
    try:
        return await plane.groups.create(
            channel_id, name, arguments.username, arguments.password.reveal(), GROUPS_PER_CHANNEL_MAX
        )
    except register.TooManyGroups:
        sentence = f"channel {channel_id} has {GROUPS_PER_CHANNEL_MAX} consumer groups, which is all it may have"
        raise OperationError(Refusal.LIMIT_REACHED, f"{sentence}; delete one first") from None
    except register.NameTaken:
        raise _invalid("name", f"found {name!r}; channel {channel_id} has a group of this name") from None
    except register.NoSuchGroup:
        _raise_no_channel(channel_id)


async def change_password(plane: ControlPlane, arguments: ChangePasswordArguments) -> Done:
    """Have a group log in by another password."""
    await _require_allowed(plane, arguments.channel_id, "change_password")
    _require_password(arguments.password, arguments.password_again)
    group_id = arguments.group_id
    try:
        cut = await plane.groups.change_password(
            arguments.channel_id, group_id, arguments.old_password.reveal(), arguments.password.reveal()
        )
    except register.WrongPassword:
        sentence = f"it is not the password of group {group_id}; type the one its clients log in with now"
        raise _invalid("old_password", sentence) from None
    except register.NotMade as error:
        raise _not_made(arguments.channel_id, group_id, error.defined_by) from None
    except register.NoSuchGroup:
        _raise_no_group(arguments.channel_id, group_id)
    return Done(f"group {group_id} logs in by its new password from now on; connections cut: {cut}")


async def delete_group(plane: ControlPlane, arguments: DeleteGroupArguments) -> Done:
    """Clear a group for good."""
    await _require_allowed(plane, arguments.channel_id, "delete_group")
    group_id = arguments.group_id
    if arguments.confirm != group_id:
        sentence = f"found {_shown(arguments.confirm)}; to delete the group with its consumption for good give its id"
        raise _invalid("confirm", f"{sentence} {group_id}")
    try:
        group, cut = await plane.groups.delete(arguments.channel_id, group_id)
    except register.NotMade as error:
        raise _not_made(arguments.channel_id, group_id, error.defined_by) from None
    except register.NoSuchGroup:
        _raise_no_group(arguments.channel_id, group_id)
    gone = "its login, what it has consumed and its members are cleared for good"
    return Done(f"group {group_id} ({group.name}) is deleted: {gone}; connections cut: {cut}")


async def list_samples(plane: ControlPlane, arguments: ChannelArguments) -> tuple[SampleLanguage, ...]:
    """The languages there are programs in."""
    await show_channel(plane, ChannelArguments(arguments.channel_id))
    return LANGUAGES


async def show_sample(plane: ControlPlane, arguments: SampleArguments) -> Sample:
    """A program that reads the channel, with everything filled in but the password."""
    channel = await show_channel(plane, ChannelArguments(arguments.channel_id))
    group: GroupView | None = None
    if arguments.group_id is not None:
        group = next((each for each in channel.groups if each.id == arguments.group_id), None)
        if group is None:
            _raise_no_group(channel.id, arguments.group_id)
    elif channel.groups:
        group = channel.groups[0]
    endpoints = plane.endpoints()
    endpoint = next((each for each in endpoints if arguments.listener in (None, each.listener)), None)
    if endpoint is None:
        names = ", ".join(each.listener for each in endpoints)
        raise _invalid("listener", f"found {_shown(arguments.listener or '')}; allowed are {names}")
    if arguments.language not in (language.id for language in LANGUAGES):
        names = ", ".join(language.id for language in LANGUAGES)
        raise _invalid("language", f"found {_shown(arguments.language)}; allowed are {names}")
    return sample(arguments.language, channel, group, endpoint)


async def show_schema(plane: ControlPlane, arguments: NoArguments) -> dict[str, Any]:
    """The Avro schema of every record's value, as in `record.avsc`."""
    return plane.record_schema()


# --- pieces -----------------------------------------------------------------------------------------------------------


async def _require_allowed(plane: ControlPlane, channel_id: str, operation: str) -> None:
    """Have the channel be in a state in which its groups may be changed."""
    channel = await show_channel(plane, ChannelArguments(channel_id))
    if operation not in channel.operations:
        sentence = f"channel {channel_id} is in state {channel.state}; its groups can be changed in Normal and Error"
        raise OperationError(Refusal.NOT_ALLOWED_NOW, sentence)


def _require_password(password: Secret, again: Secret) -> None:
    if (broken := broken_password(password.reveal())) is not None:
        raise _invalid("password", broken)
    if password != again:
        raise _invalid("password_again", "the two passwords differ; give the same one twice")


def _not_made(channel_id: str, group_id: str, defined_by: str) -> OperationError:
    if defined_by == register.DEFINED_BY_NONE:
        sentence = f"group {group_id} left the configuration file and cannot log in; put it back there, or delete it"
        return OperationError(Refusal.NOT_ALLOWED_NOW, sentence)
    sentence = f"group {group_id} of channel {channel_id} is defined by the file; edit that, then `binwire reload`"
    return OperationError(Refusal.DEFINED_BY_FILE, sentence)


def _invalid(field: str, sentence: str) -> OperationError:
    return OperationError(Refusal.INVALID, f"{field}: {sentence}", field=field)


def _shown(found: str) -> str:
    """What was given, as a refusal repeats it."""
    if len(found) <= SHOWN_CHARACTERS_MAX:
        return repr(found)
    return f"{found[:SHOWN_CHARACTERS_MAX]!r} and more, {len(found)} characters"


def _raise_no_channel(channel_id: str) -> NoReturn:
    raise OperationError(Refusal.NOT_FOUND, f"there is no channel {channel_id!r}", field="channel_id")


def _raise_no_group(channel_id: str, group_id: str) -> NoReturn:
    raise OperationError(Refusal.NOT_FOUND, f"channel {channel_id} has no group {group_id!r}", field="group_id")


_GROUPS: Final = "/channels/{channel_id}/groups"
_GROUP: Final = "/channels/{channel_id}/groups/{group_id}"
_SAMPLES: Final = "/channels/{channel_id}/samples"

ROWS: Final = (
    Operation(
        "list_groups",
        "GET",
        _GROUPS,
        "groups",
        "Consumer groups, how far each has come, and by which clients",
        ChannelArguments,
        GroupList,
        list_groups,
    ),
    Operation(
        "create_group",
        "POST",
        _GROUPS,
        "groups",
        "Create a consumer group",
        CreateGroupArguments,
        GroupView,
        create_group,
        is_change=True,
    ),
    Operation(
        "change_password",
        "POST",
        f"{_GROUP}/password",
        "groups",
        "Change the password of a consumer group; its connections are cut",
        ChangePasswordArguments,
        Done,
        change_password,
        is_change=True,
    ),
    Operation(
        "delete_group",
        "DELETE",
        _GROUP,
        "groups",
        "Delete a consumer group with its consumption, for good",
        DeleteGroupArguments,
        Done,
        delete_group,
        is_change=True,
    ),
    Operation(
        "list_samples",
        "GET",
        _SAMPLES,
        "samples",
        "Languages with sample code",
        ChannelArguments,
        tuple[SampleLanguage, ...],
        list_samples,
    ),
    Operation(
        "show_sample",
        "GET",
        f"{_SAMPLES}/{{language}}",
        "samples",
        "A whole consumer of this channel in one language; the password is a placeholder",
        SampleArguments,
        Sample,
        show_sample,
    ),
    Operation(
        "show_schema",
        "GET",
        "/schema",
        "samples",
        "The Avro schema of the records",
        NoArguments,
        dict[str, Any],
        show_schema,
    ),
)
