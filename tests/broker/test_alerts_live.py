"""Alerts of a whole server: a real MySQL that goes and comes back, a real receiver, restarts, a reload."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from broker.alerts import judging
from broker.app import Application
from broker.config import Config, from_document
from broker.monitoring import FINE_STEP_MS
from broker.operations.operation import Caller, call
from broker.operations.table import BY_NAME
from broker.watching import Watching
from storage.clock import SystemClock
from tests.conftest import ServerFactory
from tests.live_server import LiveServer


class Receiver:
    """An HTTP server that hands on what it is told, one notice at a time."""

    def __init__(self) -> None:
        self.notices: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("ascii").lower()
        size = int(head.partition("content-length: ")[2].split("\r\n")[0])
        document = json.loads(await reader.readexactly(size))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()
        self.notices.put_nowait(document)


@asynccontextmanager
async def receiver() -> AsyncIterator[tuple[Receiver, str]]:
    receiving = Receiver()
    server = await asyncio.start_server(receiving.serve, "127.0.0.1", 0)
    async with server:
        yield receiving, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook"


def configuration(folder: Path, source: str, *alerts: dict[str, Any]) -> Config:
    document = {
        "data_dir": str(folder / "data"),
        "listeners": [{"bind": "127.0.0.1:0"}],
        "channels": [{"id": "shop", "topic": "shop_topic", "source": source, "objects": ["shop"]}],
        "alerts": list(alerts),
    }
    return from_document(document, folder, {})


class Stepping:
    """A clock that is ahead by what a test says."""

    def __init__(self) -> None:
        self._clock = SystemClock()
        self.ahead_ms = 0

    def now_ms(self) -> int:
        return self._clock.now_ms() + self.ahead_ms

    def monotonic_ms(self) -> int:
        return self._clock.monotonic_ms() + self.ahead_ms


class Watched(Application):
    """Whose monitoring and alerts alone live by such a clock: to a session that jumps would be silence."""

    def __init__(self, config: Config, steps: Stepping) -> None:
        super().__init__(config)
        self._steps = steps

    @cached_property
    def watching(self) -> Watching:
        watching = Watching(self._config, self.catalog, self.channels, self._server, self._steps, self._scheduler)
        watching.start()
        return watching

    async def look(self, steps: int = 1) -> None:
        for _ in range(steps):
            self._steps.ahead_ms += FINE_STEP_MS
            await self.watching.monitoring.look()


async def in_state(application: Application, state: str) -> None:
    """Wait for the one channel."""
    [served] = application.channels
    reached = asyncio.Event()

    def look() -> None:
        if str(served.channel.status().state) == state:
            reached.set()

    end = served.channel.subscribe(look)
    look()
    await reached.wait()
    end()


async def do(application: Application, operation: str, **given: Any) -> Any:
    return await call(application.plane, BY_NAME[operation], given, Caller("test", "command", "here"))


async def test_a_source_that_goes_and_comes_back_is_told_once_each(
    tmp_path: Path, server_factory: ServerFactory
) -> None:
    source: LiveServer = server_factory("mysql97")
    source.execute("CREATE DATABASE shop")
    clock, steps = Stepping(), judging.RECOVERY_MS // FINE_STEP_MS + 1
    async with receiver() as (receiving, url):
        rule = {"name": "broken", "kind": "error", "threshold": "30s", "webhooks": [url]}
        config = configuration(tmp_path, source.url(), rule)
        application = Watched(config, clock)
        await application.start()
        try:
            await in_state(application, "Normal")
            await do(application, "list_alerts")
            await application.look(steps)
            await asyncio.to_thread(source.kill)
            await in_state(application, "Error")
            await application.look(10)
            begun = await receiving.notices.get()
            assert (begun["event"], begun["channel_id"], begun["rule_name"]) == ("begun", "shop", "broken")
            assert "shop (shop) is in state Error and is tried again by itself" in begun["sentence"]
            incidents = await do(application, "list_incidents", only_open=True)
            assert incidents.open_count == 1
        finally:
            await application.close()
        # The server is started while the source is away still: the incident goes on.
        application = Watched(config, clock)
        await application.start()
        try:
            await do(application, "list_alerts")
            await in_state(application, "Error")
            await application.look(10)
            await asyncio.to_thread(source.start)
            await in_state(application, "Normal")
            await application.look(steps)
            ended = await receiving.notices.get()
            assert (ended["event"], ended["incident_id"]) == ("ended", begun["incident_id"])
            assert ended["ended_ms"] > ended["begun_ms"] == begun["begun_ms"]
            await application.look(steps)
        finally:
            await application.close()
        assert receiving.notices.empty()


async def test_rules_that_operations_made_are_watched_after_a_restart_without_a_console(tmp_path: Path) -> None:
    config = configuration(tmp_path, "mysql://nobody@127.0.0.1:1")
    async with receiver() as (receiving, url):
        application = Application(config)
        await application.start()
        made = await do(
            application,
            "create_alert",
            name="broken",
            kind="error",
            threshold_s=0,
            targets=[{"kind": "webhook", "address": url}],
        )
        await application.close()
        application = Application(config)
        await application.start()
        try:
            assert application._beginning_to_watch is not None
            await application._beginning_to_watch
            await in_state(application, "Error")
            await do(application, "list_alerts")
            await application.watching.monitoring.look()
            notice = await receiving.notices.get()
            assert (notice["event"], notice["rule_id"]) == ("begun", made.id)
        finally:
            await application.close()
        assert receiving.notices.empty()


async def test_a_reload_brings_the_alerts_of_the_file_into_force(tmp_path: Path) -> None:
    source = "mysql://nobody@127.0.0.1:1"
    rule = {"name": "broken", "kind": "error", "threshold": "0s"}
    config = configuration(tmp_path, source)
    application = Application(config, read_again=lambda: configuration(tmp_path, source, rule))
    await application.start()
    try:
        told = await application.reload()
        assert "restart" not in told
        [shown] = (await do(application, "list_alerts")).rules
        assert (shown.name, shown.defined_by) == ("broken", "file")
        await in_state(application, "Error")
        await application.watching.monitoring.look()
        assert (await do(application, "list_incidents")).open_count == 1
    finally:
        await application.close()


async def test_a_server_without_console_and_rules_watches_nothing(tmp_path: Path) -> None:
    application = Application(configuration(tmp_path, "mysql://nobody@127.0.0.1:1"))
    await application.start()
    try:
        assert application._beginning_to_watch is not None
        await application._beginning_to_watch
        assert "watching" not in vars(application)
    finally:
        await application.close()
