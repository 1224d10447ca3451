"""A Binwire server in a process of its own, fed by call and driven by lines: what benchmarks of the Kafka face ask.

The process runs the whole application (data directory, catalog, listener, one channel) over the embedded source, so
that everything behind the source is what a live server runs. On the loopback interface it has a listener without login
(`port`) and one with (`login_port`), which takes the account below.

Requests and answers are JSON lines on standard input and output:

    {"fill": rows, "rows_per_transaction": n}         -> {"high_watermark": …}   orders inserted and visible
    {"pace": transactions, "interval_us": n}          -> {"high_watermark": …}   one row each, stamped, at a steady pace
    {"serve_history": 1}                              -> {"high_watermark": …}   of a log that lies there

A stamped row's STAMP_COLUMN is the monotonic clock in nanoseconds at the moment its transaction was handed to the
source; on Linux that clock is the same for all processes. End of input ends the server.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from bench import orders
from bench.own_process import OwnProcess

if TYPE_CHECKING:
    from broker.app import Application
    from capture.embedded_source import EmbeddedSource
    from storage.log import LogReader

TOPIC: Final = "cn_hangzhou_rm_bench_dtstest_version2"
HISTORY_TOPIC: Final = "cn_hangzhou_rm_history_dtstest_version2"
GROUP: Final = "dtsbench01"
USERNAME: Final = "dtstest"
PASSWORD: Final = "Bench-requests1"  # noqa: S105 — of a server that lives for a minute, on the loopback interface
STAMP_COLUMN: Final = "note"
_FILL_ROWS_AHEAD: Final = 20_000
_CONTROL_RECORDS: Final = 2  # BEGIN and COMMIT
_RECORDS_OF_CREATION: Final = 2  # CREATE DATABASE and CREATE TABLE


class BenchServer:
    """The process, seen from the benchmark; a context manager that ends it."""

    def __init__(self, folder: Path, *, compression: str = "none") -> None:
        self._process = OwnProcess(
            "the benchmark's server", "bench.server", folder / "data", compression, log=folder / "server.log"
        )
        ready = self._process.answer()
        self.host: str = ready["host"]
        self.port: int = ready["port"]
        self.login_port: int = ready["login_port"]
        self.pid = self._process.pid

    def ask(self, **request: int) -> int:
        """Send one request; the high watermark when it is done."""
        self.send(**request)
        return self.result()

    def send(self, **request: int) -> None:
        self._process.send(request)

    def result(self) -> int:
        return int(self._process.answer()["high_watermark"])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.end()


def topic_path(folder: Path, topic: str) -> Path:
    """Where the server that was given `folder` keeps the log of a topic."""
    return folder / "data" / "topics" / f"{topic}-0"


async def _serve(data_directory: Path, compression: Any) -> None:
    from broker.app import Application
    from broker.config import ChannelConfig, Config, GroupConfig, ListenerConfig, Secret
    from capture.embedded_source import EmbeddedSource
    from storage.clock import SystemClock

    listeners = [
        ListenerConfig(bind="127.0.0.1:0", security="PLAINTEXT"),
        ListenerConfig(name="login", bind="127.0.0.1:0"),
    ]
    application = Application(Config(data_dir=str(data_directory), listeners=listeners))
    await application.start()
    source = EmbeddedSource(SystemClock(), database=orders.DATABASE)
    config = ChannelConfig(
        id="bench",
        topic=TOPIC,
        source=Secret("file:///embedded.000001"),
        objects=[orders.DATABASE],
        start="earliest",
        compression=compression,
        groups=[GroupConfig(name="bench", id=GROUP, username=USERNAME, password=Secret(PASSWORD))],
    )
    try:
        channel = await application.add_channel(config, lambda _spec, _clock: source)
        feed = _Feed(source, channel.log)
        await feed.create_table()
        public, login = (application.addresses[listener.name].port for listener in listeners)
        await _handle_requests(feed, application, public, login)
    finally:
        await application.close()


async def _serve_history(application: Application) -> int:
    """Serve a log whose source is no longer there, and whose definitions the catalog never had; the end of the log."""
    from broker.capturing import open_configured_source
    from broker.config import ChannelConfig, Secret

    gone = Secret("file:///gone.000001")
    config = ChannelConfig(id="history", topic=HISTORY_TOPIC, source=gone, objects=[orders.DATABASE])
    await application.catalog.run(application.catalog.lose_definitions, config.id)
    return (await application.add_channel(config, open_configured_source)).log.high_watermark


async def _handle_requests(feed: _Feed, application: Application, port: int, login_port: int) -> None:
    _write({"host": "127.0.0.1", "port": port, "login_port": login_port})
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while line := await lines.readline():
        request = json.loads(line)
        _write({"high_watermark": await _handle(request, feed, application)})


async def _handle(request: Mapping[str, int], feed: _Feed, application: Application) -> int:
    if "serve_history" in request:
        return await _serve_history(application)
    if "fill" in request:
        await feed.fill(request["fill"], request["rows_per_transaction"])
    else:
        await feed.pace(request["pace"], request["interval_us"])
    return feed.expected


class _Feed:
    """Changes by call, and how far the log must come for all of them to be visible (`expected`, an offset)."""

    def __init__(self, source: EmbeddedSource, log: LogReader) -> None:
        self.expected = 0
        self._source = source
        self._log = log

    async def create_table(self) -> None:
        self._source.statement(orders.CREATE_TABLE)
        self.expected += _RECORDS_OF_CREATION
        await self._visible()

    async def fill(self, rows: int, rows_per_transaction: int) -> None:
        for first in range(0, rows, rows_per_transaction):
            numbers = range(first, min(first + rows_per_transaction, rows))
            self._insert(*(orders.order(number) for number in numbers))
            await self._visible(ahead=_FILL_ROWS_AHEAD)
        await self._visible()

    async def pace(self, transactions: int, interval_us: int) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        for number in range(transactions):
            due += interval_us / 1_000_000
            await asyncio.sleep(due - loop.time())
            row = orders.order(number)
            row[STAMP_COLUMN] = str(time.monotonic_ns())
            self._insert(row)
        await self._visible()

    def _insert(self, *rows: dict[str, Any]) -> None:
        self._source.insert(orders.TABLE, *rows)
        self.expected += len(rows) + _CONTROL_RECORDS

    async def _visible(self, ahead: int = 0) -> None:
        """Wait until at most `ahead` of the expected records are not visible yet."""
        grown = asyncio.Event()
        unsubscribe = self._log.subscribe(grown.set)
        try:
            while self._log.high_watermark + ahead < self.expected:
                grown.clear()
                await grown.wait()
        finally:
            unsubscribe()


def _write(answer: Mapping[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    from broker import event_loop

    event_loop.run(_serve(Path(sys.argv[1]), sys.argv[2]))
