"""What consumers did and what they get: commits, waiting for them, the records themselves, more groups.

Everything written so far is consumed when a group has committed at or behind the last row change or DDL, by Kafka's
convention (the offset to go on at) or that of the service's SDK (the offset of the last record, its time as metadata).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from binwire.testing.calls import AsyncSender, Call, Sender, nothing
from binwire.testing.settings import Settings

if TYPE_CHECKING:
    from binwire.record import Record

__tracebackhide__ = True  # pytest shows the line of the test

WAIT_TIMEOUT_S = 10.0


class Committed(NamedTuple):
    """What a group committed."""

    offset: int
    metadata: str


class Waiting(Sender):
    """A channel's consumers. A group is given as one, or by name or id; by default it is the channel's own."""

    def group(self, name: str | None = None) -> Group:
        """Another consumer group of the channel."""
        return Group(self, self._send(_group(self._name, name)))

    def committed(self, group: BaseGroup | str | None = None) -> Committed | None:
        """What a group committed; None before its first commit."""
        return self._send(_committed(self._name, group))

    def wait_consumed(self, group: BaseGroup | str | None = None, *, timeout_s: float = WAIT_TIMEOUT_S) -> None:
        """Return when a group has consumed everything written so far; EmbeddedBrokerError after `timeout_s`."""
        self._send(_wait_consumed(self._name, group, timeout_s))

    def records(self, *, last: int | None = None) -> list[Record]:
        """Everything that consumers can read, decoded; with `last` no more than so many records at its end."""
        return self._send(_records(self._name, last))


class AsyncWaiting(AsyncSender):
    """The same, for asynchronous code."""

    async def group(self, name: str | None = None) -> AsyncGroup:
        """As `Waiting.group`."""
        return AsyncGroup(self, await self._send(_group(self._name, name)))

    async def committed(self, group: BaseGroup | str | None = None) -> Committed | None:
        """As `Waiting.committed`."""
        return await self._send(_committed(self._name, group))

    async def wait_consumed(self, group: BaseGroup | str | None = None, *, timeout_s: float = WAIT_TIMEOUT_S) -> None:
        """As `Waiting.wait_consumed`."""
        await self._send(_wait_consumed(self._name, group, timeout_s))

    async def records(self, *, last: int | None = None) -> list[Record]:
        """As `Waiting.records`."""
        return await self._send(_records(self._name, last))


class BaseGroup(Settings):
    """A consumer group of a channel, with an account of its own."""

    def __init__(self, channel: Any, values: dict[str, str]) -> None:
        self._channel = channel
        self.name = values["group"]
        self.bootstrap_servers = channel.bootstrap_servers
        self.topic = channel.topic
        self.sid = values["sid"]
        self.username = values["username"]
        self.password = values["password"]


class Group(BaseGroup):
    """A group of a `Channel`."""

    _channel: Waiting

    def committed(self) -> Committed | None:
        """As `Waiting.committed`, of this group."""
        return self._channel.committed(self)

    def wait_consumed(self, *, timeout_s: float = WAIT_TIMEOUT_S) -> None:
        """As `Waiting.wait_consumed`, of this group."""
        self._channel.wait_consumed(self, timeout_s=timeout_s)


class AsyncGroup(BaseGroup):
    """A group of an `AsyncChannel`."""

    _channel: AsyncWaiting

    async def committed(self) -> Committed | None:
        """As `Waiting.committed`, of this group."""
        return await self._channel.committed(self)

    async def wait_consumed(self, *, timeout_s: float = WAIT_TIMEOUT_S) -> None:
        """As `Waiting.wait_consumed`, of this group."""
        await self._channel.wait_consumed(self, timeout_s=timeout_s)


def _group(channel: str, name: str | None) -> Call[dict[str, str]]:
    return Call("group", {"channel": channel, "name": name}, lambda result: result)


def _committed(channel: str, group: BaseGroup | str | None) -> Call[Committed | None]:
    arguments = {"channel": channel, "group": _group_name(group)}
    return Call("committed", arguments, lambda found: None if found is None else Committed(**found))


def _wait_consumed(channel: str, group: BaseGroup | str | None, timeout_s: float) -> Call[None]:
    arguments = {"channel": channel, "group": _group_name(group), "timeout_s": timeout_s}
    return Call("wait_consumed", arguments, nothing)


def _group_name(group: BaseGroup | str | None) -> str | None:
    return group.sid if isinstance(group, BaseGroup) else group


def _records(channel: str, last: int | None) -> Call[list[Record]]:
    return Call("records", {"channel": channel, "last": last, "as_bytes": True}, _decoded)


def _decoded(found: list[dict[str, Any]]) -> list[Record]:
    from binwire.record import decode

    return [decode(each["value"], offset=each["offset"]) for each in found]
