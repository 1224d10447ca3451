"""Consumer groups that operations make, change and delete while the server runs.

Invariant: a change is durable before it is in effect, and in effect when the call returns: the group's login is known
or gone, the connections that it concerns are cut, members are told so. Deleting clears a group for good: its row, its
commits, its membership. Changes are made one after the other, never beside one that the configuration file brings.

A group of the file has no verifier in the catalog and is not changed here. One that left the file is nobody's: it
cannot log in, keeps its id and its commits, and can be deleted.

Left to others: the rules (`group_rules.py`), what a person is told (`operations/groups.py`), logins (`enrolment.py`).
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

from msgspec.structs import replace

from broker.accounts import Verifier
from broker.consumption import DEFINED_BY_FILE, DEFINED_BY_OPERATION
from broker.provision import new_group_id
from storage.catalog import GroupRow
from storage.log import resident

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from broker.channels import Channels, ServedChannel
    from broker.control import GroupView
    from broker.enrolment import Enrolment
    from broker.groups import GroupCoordinator
    from broker.offsets import OffsetStore
    from broker.principal import Principal
    from storage.catalog import Catalog

T = TypeVar("T")

DEFINED_BY_NONE: Final = "none"


class GroupRefusal(Exception):
    """A change that cannot be made."""


class NoSuchGroup(GroupRefusal):
    """There is no such channel, or the channel has no such group."""


class NameTaken(GroupRefusal):
    """Another group of the channel has this name."""


class TooManyGroups(GroupRefusal):
    """The channel has all the groups it may have."""


class WrongPassword(GroupRefusal):
    """What was given as the group's password is not it."""


class NotMade(GroupRefusal):
    """The group is the file's, or was; `defined_by` says which."""

    def __init__(self, defined_by: str) -> None:
        super().__init__(defined_by)
        self.defined_by = defined_by


class GroupRegister:
    """The groups of a server's channels. `disconnect` cuts connections; `changing` is held while rows are changed."""

    def __init__(
        self,
        catalog: Catalog,
        channels: Channels,
        enrolment: Enrolment,
        offsets: OffsetStore,
        coordinator: GroupCoordinator,
        disconnect: Callable[[Callable[[Principal], bool], str], int],
        changing: asyncio.Lock,
    ) -> None:
        self._catalog = catalog
        self._channels = channels
        self._enrolment = enrolment
        self._offsets = offsets
        self._coordinator = coordinator
        self._disconnect = disconnect
        self._changing = changing

    async def views(self, channel_id: str) -> list[GroupView]:
        """The channel's groups: those that may log in, then those that left the file. Raises NoSuchGroup."""
        served = self._served(channel_id)
        rows = await self._catalog.run(self._catalog.groups, channel_id)
        known = {row.id for row in served.groups}
        views = [await self._view(row, served) for row in served.groups]
        left = [await self._view(row, served) for row in rows if row.id not in known]
        return [*views, *(replace(view, defined_by=DEFINED_BY_NONE) for view in left)]

    async def _view(self, row: GroupRow, served: ServedChannel) -> GroupView:
        return await resident(partial(self._channels.consumption.view, row, served.log))

    async def create(self, channel_id: str, name: str, username: str, password: str, groups_max: int) -> GroupView:
        """A new group of the channel, which may log in.

        Raises GroupRefusal, or StorageError, and then there is none.
        """
        verifier = await asyncio.to_thread(Verifier.create, password)
        return await self._change(self._create(channel_id, name, username, str(verifier), groups_max))

    async def _create(self, channel_id: str, name: str, username: str, verifier: str, groups_max: int) -> GroupView:
        served = self._served(channel_id)
        if len(served.groups) >= groups_max:
            raise TooManyGroups
        rows = await self._catalog.run(self._catalog.groups)
        if any(row.channel_id == channel_id and row.name == name for row in rows):
            raise NameTaken
        taken = {row.id for row in rows}
        group_id = next(found for found in iter(new_group_id, "") if found not in taken)
        row = GroupRow(id=group_id, channel_id=channel_id, name=name, username=username, verifier=verifier)
        await self._catalog.run(self._catalog.put_group, row)
        served.groups = [*served.groups, row]
        self._enrolment.admit_made(served.log.topic, row)
        return await self._view(row, served)

    async def change_password(self, channel_id: str, group_id: str, old: str, new: str) -> int:
        """Have the group log in by another password from now on; how many connections were cut.

        Raises GroupRefusal, or StorageError, and then the old one holds.
        """
        verifier = str(await asyncio.to_thread(Verifier.create, new))
        return await self._change(self._change_password(channel_id, group_id, old, verifier))

    async def _change_password(self, channel_id: str, group_id: str, old: str, verifier: str) -> int:
        served = self._served(channel_id)
        row = await self._row(channel_id, group_id)
        if row.verifier is None:
            raise NotMade(self._defined_by(served, row))
        if not await asyncio.to_thread(_matches, row.verifier, old):
            raise WrongPassword
        row = replace(row, verifier=verifier)
        await self._catalog.run(self._catalog.put_group, row)
        served.groups = [row if each.id == group_id else each for each in served.groups]
        self._enrolment.admit_made(served.log.topic, row)
        return self._cut(group_id, "its password was changed")

    async def delete(self, channel_id: str, group_id: str) -> tuple[GroupRow, int]:
        """Clear the group for good; what it was, and how many connections were cut.

        Raises GroupRefusal, or StorageError, and then it is as it was.
        """
        return await self._change(self._delete(channel_id, group_id))

    async def _delete(self, channel_id: str, group_id: str) -> tuple[GroupRow, int]:
        served = self._served(channel_id)
        row = await self._row(channel_id, group_id)
        if row.verifier is None and self._defined_by(served, row) == DEFINED_BY_FILE:
            raise NotMade(DEFINED_BY_FILE)
        await self._catalog.run(self._catalog.delete_group, group_id)
        served.groups = [each for each in served.groups if each.id != group_id]
        self._enrolment.withdraw(group_id)
        cut = self._cut(group_id, "its group was deleted")
        self._coordinator.remove(group_id)
        self._channels.consumption.forget(group_id)
        # Also what was being committed when the row went.
        await self._offsets.delete(group_id)
        return row, cut

    async def _change(self, change: Coroutine[Any, Any, T]) -> T:
        """Make a change beside no other, to its end also where nobody waits for it any more."""

        async def make() -> T:
            async with self._changing:
                return await change

        return await asyncio.shield(asyncio.ensure_future(make()))

    def _cut(self, group_id: str, reason: str) -> int:
        return self._disconnect(lambda principal: principal.group_id == group_id, reason)

    def _served(self, channel_id: str) -> ServedChannel:
        for served in self._channels:
            if served.id == channel_id:
                return served
        raise NoSuchGroup

    async def _row(self, channel_id: str, group_id: str) -> GroupRow:
        for row in await self._catalog.run(self._catalog.groups, channel_id):
            if row.id == group_id:
                return row
        raise NoSuchGroup

    def _defined_by(self, served: ServedChannel, row: GroupRow) -> str:
        if row.verifier is not None:
            return DEFINED_BY_OPERATION
        return DEFINED_BY_FILE if any(each.id == row.id for each in served.groups) else DEFINED_BY_NONE


def _matches(verifier: str, password: str) -> bool:
    try:
        return Verifier.parse(verifier).matches(password)
    except ValueError:  # damaged: no password fits, and the group can be deleted
        return False
