"""The embedded broker and its channels, for plain code; `asynchronous.py` has them for asynchronous code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self, TypeVar

from binwire.testing.calls import Call, nothing
from binwire.testing.changes import Changes
from binwire.testing.faults import FaultyChannel
from binwire.testing.heartbeats import Heartbeats
from binwire.testing.process import ServerProcess
from binwire.testing.replaying import Replaying
from binwire.testing.scenarios import Scenarios
from binwire.testing.settings import Settings
from binwire.testing.waiting import Waiting
from binwire.testing.wire_faults import requests_call

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

    from binwire.testing.asynchronous import AsyncChannel

__tracebackhide__ = True  # pytest shows the line of the test

T = TypeVar("T")


class EmbeddedBroker:
    """A server process. Use it as a context manager, or `close()` it; ready to serve when the constructor returns."""

    def __init__(self) -> None:
        self._process = ServerProcess()

    @property
    def host(self) -> str:
        """The listener's address."""
        return self._process.host

    @property
    def port(self) -> int:
        """The listener's port, a free one."""
        return self._process.port

    @property
    def bootstrap_servers(self) -> str:
        """`host:port` of the listener, as Kafka clients take it."""
        return f"{self.host}:{self.port}"

    def channel(
        self,
        *statements: str,
        database: str = "test",
        objects: Sequence[str] | None = None,
        server_version: str | None = None,
        name: str | None = None,
    ) -> Channel:
        """A fresh channel with a topic and a consumer group of its own.

        `statements` are run first, in the default database `database`, and arrive as DDL records. `objects` are the
        databases and tables (`db`, `db.table`) to track; by default everything. `server_version` is what the source
        says it is, by default 8.0.36. `name` becomes part of the topic's name; by default it is a new one.
        """
        return Channel(self._process, self._send(channel_call(statements, database, objects, server_version, name)))

    def requests(self) -> dict[str, int]:
        """How many requests have come so far, by the name of the API."""
        return self._send(requests_call())

    def close(self) -> None:
        """End the server and wait until it is gone; closing twice is harmless."""
        self._process.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _send(self, call: Call[T]) -> T:
        return send(self._process, call)


class Channel(Changes, Heartbeats, Replaying, Scenarios, Waiting, FaultyChannel, Settings):
    """One topic, its consumer group, the way to make changes appear in it, and what consumers did with them."""

    name: str
    """Part of the topic's name, and what calls of other languages name it by."""
    _name = ""
    _is_closed = False

    def __init__(self, process: ServerProcess, values: Mapping[str, str]) -> None:
        self._process = process
        self._values = values
        take_values(self, process, values)

    def close(self) -> None:
        """End the channel and cut its consumers off; nothing of it is left. Closing twice is harmless."""
        if not self._is_closed and not self._process.is_closed:
            self._send(close_call(self._name))
        self._is_closed = True

    def to_async(self) -> AsyncChannel:
        """The same channel, for asynchronous code."""
        from binwire.testing.asynchronous import AsyncChannel

        return AsyncChannel(self._process, self._values)

    def __repr__(self) -> str:
        return f"<Channel {self.name} of topic {self.topic}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _send(self, call: Call[T]) -> T:
        return send(self._process, call)


def send(process: ServerProcess, call: Call[T]) -> T:
    """Do a call and wait for its result."""
    return call.result(process.result(process.begin(call.name, call.arguments)))


def channel_call(
    statements: Sequence[str],
    database: str,
    objects: Sequence[str] | None,
    server_version: str | None,
    name: str | None,
) -> Call[Any]:
    """The call that makes a channel."""
    if isinstance(objects, str):
        raise TypeError(f"objects is a list of databases and tables, not {objects!r}; write [{objects!r}]")
    arguments = {
        "statements": [*statements],
        "database": database,
        "objects": None if objects is None else [*objects],
        "server_version": server_version,
        "name": name,
    }
    return Call("channel", arguments, lambda values: values)


def close_call(channel: str) -> Call[None]:
    """The call that ends a channel."""
    return Call("close_channel", {"channel": channel}, nothing)


def take_values(channel: Any, process: ServerProcess, values: Mapping[str, str]) -> None:
    """Have a new channel know what the server says of it."""
    channel._name = channel.name = values["channel"]
    channel.bootstrap_servers = f"{process.host}:{process.port}"
    channel.topic = values["topic"]
    channel.sid = values["sid"]
    channel.username = values["username"]
    channel.password = values["password"]
