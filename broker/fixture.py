"""`binwire fixture`: a broker for one test run, driven by the program that started it over standard input and output.

JSON lines in both directions, one answer for each request, in order. It says `{"ready": {…}}` when clients can log in,
and ends, leaving nothing behind, when standard input ends: it never outlives the process that holds the other end.

    {"id": 1, "call": "channel", "with": {"statements": ["CREATE TABLE …"], "database": "test", "objects": null}}
        -> {"id": 1, "result": {"channel": "c1", "topic": "…", "sid": "…", "username": "…", "password": "…"}}
    {"id": 2, "call": "statement", "with": {"channel": "c1", "sql": "ALTER TABLE …", "timestamp_s": null}}
    {"id": 2, "call": "table", "with": {"channel": "c1", "sql": "CREATE TABLE …", "timestamp_s": null}}
        -> {"id": …, "result": {"high_watermark": 12, "table": "orders"}}
    {"id": 3, "call": "insert", "with": {"channel": "c1", "table": "orders", "rows": [{"id": 1}], "timestamp_s": null}}
    {"id": 4, "call": "update", "with": {…, "rows": [[{before}, {after}]]}}
    {"id": 5, "call": "delete", "with": {…, "rows": [{"id": 1}]}}
    {"id": 6, "call": "heartbeat", "with": {"channel": "c1", "timestamp_s": null}}
        -> {"id": …, "result": {"high_watermark": 12}}
    a call that cannot be done -> {"id": …, "error": "one sentence"}

Values are JSON's own; what JSON cannot say is an object with one key: `{"$bytes": "<base64>"}`, `{"$decimal": "1.50"}`,
`{"$datetime": "2026-01-31T08:00:00"}`, `{"$date": "2026-01-31"}`, `{"$time": "08:00:00"}`, `{"$timedelta_us": -1000}`.
A change is answered when it is visible to consumers.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import gc
import itertools
import json
import os
import secrets
import sys
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from broker import event_loop, logs
from broker.app import Application
from broker.capturing import CallFailedError, EmbeddedChannel, created_table
from broker.config import ChannelConfig, Config, GroupConfig, ListenerConfig, Secret

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

USERNAME: Final = "dtstest"


def run() -> int:
    """Serve until standard input ends; the exit status."""
    logs.configure("warning", environment=os.environ)
    with tempfile.TemporaryDirectory(prefix="binwire-fixture-", ignore_cleanup_errors=True) as folder:
        event_loop.run(_serve(Path(folder)))
    return 0


async def _serve(folder: Path) -> None:
    # Tests of a takeover should not have to wait out Kafka's shortest session.
    app = Application(
        Config(
            data_dir=str(folder / "data"),
            group_min_session_timeout="1ms",
            listeners=[ListenerConfig(bind="127.0.0.1:0")],
        )
    )
    await app.start()
    try:
        address = app.addresses["public"]
        _say({"ready": {"host": address.host, "port": address.port, "pid": os.getpid(), "folder": str(folder)}})
        lines, ended = _input()
        answering = asyncio.create_task(_answer_all(_Calls(app), lines))
        # The end of input counts also while a call waits for something that never comes.
        await asyncio.wait((answering, asyncio.create_task(ended.wait())), return_when=asyncio.FIRST_COMPLETED)
        answering.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await answering
    finally:
        await app.close()


async def _answer_all(calls: _Calls, lines: asyncio.Queue[bytes]) -> None:
    while True:
        _say(await calls.answer(json.loads(await lines.get(), object_hook=_value)))


def _input() -> tuple[asyncio.Queue[bytes], asyncio.Event]:
    """The lines of standard input, read by a thread of their own, and its end."""
    loop, lines, ended = asyncio.get_running_loop(), asyncio.Queue[bytes](), asyncio.Event()

    def read() -> None:
        # Not through sys.stdin, whose lock the interpreter takes at its end while this thread would hold it.
        for line in open(sys.stdin.fileno(), "rb", closefd=False):  # noqa: SIM115  # ends with the process
            loop.call_soon_threadsafe(lines.put_nowait, line)
        loop.call_soon_threadsafe(ended.set)

    threading.Thread(target=read, name="fixture-input", daemon=True).start()
    return lines, ended


def _say(document: Mapping[str, Any]) -> None:
    sys.stdout.write(json.dumps(document, ensure_ascii=True, separators=(",", ":")) + "\n")
    sys.stdout.flush()


def _value(item: dict[str, Any]) -> Any:
    """JSON's objects, or the value that one of the special forms stands for."""
    if len(item) != 1:
        return item
    [(kind, text)] = item.items()
    if kind == "$bytes":
        return base64.b64decode(text)
    if kind == "$decimal":
        from decimal import Decimal

        return Decimal(text)
    from datetime import date, datetime, time, timedelta

    special: dict[str, Callable[[Any], Any]] = {
        "$datetime": datetime.fromisoformat,
        "$date": date.fromisoformat,
        "$time": time.fromisoformat,
        "$timedelta_us": lambda count: timedelta(microseconds=count),
    }
    return special[kind](text) if kind in special else item


class _Calls:
    """The channels of this process and what can be done with them; one method for each call."""

    def __init__(self, app: Application) -> None:
        self._app = app
        self._channels: dict[str, EmbeddedChannel] = {}
        # Also counted when a channel fails: what it left in the data directory is nobody else's.
        self._numbers = itertools.count(1)

    async def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        try:
            method = getattr(self, f"call_{request['call']}", None)
            if method is None:
                raise CallFailedError(f"there is no call {request['call']!r}")
            return {"id": request["id"], "result": await method(**request["with"])}
        except CallFailedError as error:
            return {"id": request["id"], "error": str(error)}

    async def call_channel(self, statements: list[str], database: str, objects: list[str] | None) -> dict[str, Any]:
        name = f"c{next(self._numbers)}"
        password = f"Test-{secrets.token_hex(8)}"
        config = ChannelConfig(
            id=name,
            topic=f"cn_hangzhou_rm_{name}_{USERNAME}_version2",
            source=Secret("file:///embedded.000001"),
            objects=objects or [],
            start="earliest",
            groups=[GroupConfig(name=name, username=USERNAME, password=Secret(password))],
        )
        channel = await self._app.add_embedded(config, statements, database)
        self._channels[name] = channel
        if not gc.isenabled():
            event_loop.collect_from_now()
        return {
            "channel": name,
            "topic": config.topic_name,
            "sid": channel.group_id,
            "username": USERNAME,
            "password": password,
        }

    async def call_statement(self, channel: str, sql: str, timestamp_s: int | None) -> dict[str, int]:
        return await self._do(channel, "statement", sql, timestamp_s=timestamp_s)

    async def call_table(self, channel: str, sql: str, timestamp_s: int | None) -> dict[str, Any]:
        table = created_table(sql)
        return {"table": table, **await self._do(channel, "statement", sql, timestamp_s=timestamp_s)}

    async def call_insert(
        self, channel: str, table: str, rows: list[dict[str, Any]], timestamp_s: int | None
    ) -> dict[str, int]:
        return await self._do(channel, "insert", table, *rows, timestamp_s=timestamp_s)

    async def call_update(
        self, channel: str, table: str, rows: list[list[dict[str, Any]]], timestamp_s: int | None
    ) -> dict[str, int]:
        return await self._do(channel, "update", table, *map(tuple, rows), timestamp_s=timestamp_s)

    async def call_delete(
        self, channel: str, table: str, rows: list[dict[str, Any]], timestamp_s: int | None
    ) -> dict[str, int]:
        return await self._do(channel, "delete", table, *rows, timestamp_s=timestamp_s)

    async def call_heartbeat(self, channel: str, timestamp_s: int | None) -> dict[str, int]:
        return await self._do(channel, "heartbeat", timestamp_s=timestamp_s)

    async def _do(self, channel: str, change: str, *arguments: Any, timestamp_s: int | None) -> dict[str, int]:
        found = self._channels.get(channel)
        if found is None:
            raise CallFailedError(f"there is no channel {channel!r}")
        return {"high_watermark": await found.change(change, *arguments, timestamp_s=timestamp_s)}
