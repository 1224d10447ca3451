"""The embedded broker and its channels for asynchronous code: the same calls, awaited.

Asyncio is imported by what is called there: for plain code it would be half of what `binwire.testing` takes to load.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self, TypeVar

from binwire.testing.broker import Channel, channel_call, close_call, take_values
from binwire.testing.calls import Call
from binwire.testing.changes import AsyncChanges
from binwire.testing.faults import AsyncFaultyChannel
from binwire.testing.heartbeats import AsyncHeartbeats
from binwire.testing.process import ServerProcess
from binwire.testing.replaying import AsyncReplaying
from binwire.testing.scenarios import AsyncScenarios
from binwire.testing.settings import Settings
from binwire.testing.waiting import AsyncWaiting
from binwire.testing.wire_faults import requests_call

if TYPE_CHECKING:
    from asyncio import Future
    from collections.abc import Mapping, Sequence
    from types import TracebackType

__tracebackhide__ = True  # pytest shows the line of the test

T = TypeVar("T")


class AsyncEmbeddedBroker:
    """A server process: `async with AsyncEmbeddedBroker() as broker`."""

    def __init__(self) -> None:
        self._started: ServerProcess | None = None

    async def start(self) -> Self:
        """Start the server; it is ready when this returns."""
        if self._started is None:
            import asyncio

            starting = asyncio.get_running_loop().run_in_executor(None, ServerProcess)
            try:
                self._started = await asyncio.shield(starting)
            except asyncio.CancelledError:
                starting.add_done_callback(_close_started)
                raise
        return self

    @property
    def _process(self) -> ServerProcess:
        if self._started is None:
            raise RuntimeError("the embedded broker was not started; use it as `async with`, or await start()")
        return self._started

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

    async def channel(
        self,
        *statements: str,
        database: str = "test",
        objects: Sequence[str] | None = None,
        server_version: str | None = None,
        name: str | None = None,
    ) -> AsyncChannel:
        """As `EmbeddedBroker.channel`."""
        call = channel_call(statements, database, objects, server_version, name)
        return AsyncChannel(self._process, await send(self._process, call))

    async def requests(self) -> dict[str, int]:
        """As `EmbeddedBroker.requests`."""
        return await send(self._process, requests_call())

    async def close(self) -> None:
        """End the server and wait until it is gone; closing twice is harmless."""
        if self._started is not None:
            import asyncio

            await asyncio.to_thread(self._started.close)

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


class AsyncChannel(
    AsyncChanges, AsyncHeartbeats, AsyncReplaying, AsyncScenarios, AsyncWaiting, AsyncFaultyChannel, Settings
):
    """As `Channel`, with its calls awaited."""

    name: str
    """As `Channel.name`."""
    _name = ""
    _is_closed = False

    def __init__(self, process: ServerProcess, values: Mapping[str, str]) -> None:
        self._process = process
        self._values = values
        take_values(self, process, values)

    async def close(self) -> None:
        """As `Channel.close`."""
        if not self._is_closed and not self._process.is_closed:
            await self._send(close_call(self._name))
        self._is_closed = True

    def to_plain(self) -> Channel:
        """The same channel, for plain code."""
        return Channel(self._process, self._values)

    def __repr__(self) -> str:
        return f"<AsyncChannel {self.name} of topic {self.topic}>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _send(self, call: Call[T]) -> T:
        return await send(self._process, call)


def _close_started(starting: Future[ServerProcess]) -> None:
    """End a server that nobody waits for any more."""
    if not starting.cancelled() and starting.exception() is None:
        starting.result().close()


async def send(process: ServerProcess, call: Call[T]) -> T:
    """Do a call and wait for its result."""
    import asyncio

    return call.result(await asyncio.wrap_future(process.begin(call.name, call.arguments)))
