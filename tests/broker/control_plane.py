"""A running server whose operations a test calls as commands do, in process."""

from __future__ import annotations

import asyncio
import shutil
from typing import TYPE_CHECKING, Any, Self

from broker.app import Application
from broker.config import from_document
from broker.operations.operation import Caller, OperationError, Refusal, call
from broker.operations.table import BY_NAME
from tests.tools.workplace import CHECKOUT

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from broker.channels import ServedChannel
    from broker.config import Config
    from broker.control import ChannelView

RECORDING = CHECKOUT / "broker" / "data" / "demo-shop.000001"
CALLER = Caller("test", "command", "test")


class Control:
    """One data directory and the server on it; a context manager that starts and ends it, as often as is wanted."""

    def __init__(self, folder: Path, *channels: dict[str, Any]) -> None:
        self.folder = folder
        self.channels: list[dict[str, Any]] = list(channels)
        self.app: Application

    def config(self) -> Config:
        listeners = [{"bind": "127.0.0.1:0"}]
        return from_document({"listeners": listeners, "channels": self.channels}, self.folder, {})

    async def __aenter__(self) -> Self:
        self.app = Application(self.config(), read_again=self.config)
        await self.app.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.app.close()

    async def call(self, operation: str, /, **given: Any) -> Any:
        """Raises OperationError."""
        return await call(self.app.plane, BY_NAME[operation], given, CALLER)

    async def refused(self, operation: str, /, **given: Any) -> OperationError:
        """What an operation that must be refused says."""
        try:
            result = await self.call(operation, **given)
        except OperationError as error:
            return error
        raise AssertionError(f"{operation} was done: {result}")

    async def outcome(self, operation: str, /, **given: Any) -> Refusal | None:
        """Why it was refused, None if it was done."""
        try:
            await self.call(operation, **given)
        except OperationError as error:
            return error.refusal
        return None

    async def show(self, channel_id: str) -> ChannelView:
        view: ChannelView = await self.call("show_channel", channel_id=channel_id)
        return view

    def served(self, channel_id: str) -> ServedChannel:
        served = self.app.channels.find(channel_id)
        assert served is not None
        return served

    async def prechecked(self, channel_id: str) -> ChannelView:
        """The channel once its precheck has ended."""
        if (task := self.served(channel_id).prechecking) is not None:
            await asyncio.wait([task])
        return await self.show(channel_id)

    async def create(self, **given: Any) -> str:
        """A channel on a recording, whose precheck has ended; its id."""
        usual: dict[str, Any] = {"source": {"url": f"file://{RECORDING}"}, "objects": ["shop"], "start": "earliest"}
        view: ChannelView = await self.call("create_channel", **(usual | given))
        await self.prechecked(view.id)
        return view.id

    async def started(self, **given: Any) -> str:
        """The same, and it has captured all there is."""
        channel_id = await self.create(**given)
        await self.call("start_channel", channel_id=channel_id)
        await self.served(channel_id).channel.wait_ended()  # type: ignore[attr-defined]
        return channel_id

    async def reached(self, channel_id: str, *states: str) -> ChannelView:
        """The channel once it is in one of these states."""
        await self.served(channel_id).channel.wait_for(*states)  # type: ignore[attr-defined]
        return await self.show(channel_id)

    def copy(self, folder: Path) -> Control:
        """What a process that is killed now leaves behind, for another server."""
        shutil.copytree(self.folder / "data", folder / "data", ignore=shutil.ignore_patterns("*.sock"))
        return Control(folder, *self.channels)
