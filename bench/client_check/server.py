"""The server that a client is judged against, in a process of its own, and what it saw of the client.

The process runs the whole application over the embedded source, with one listener that asks for a login. It fills the
log before it is ready, or, given a rate, when it is told to. It notes where clients fetched and what became visible
when; nothing of that touches what they are answered. JSON lines on standard input and output, one answer each:

    (start)      -> {"host", "port"}
    "live"       -> {}                                                     transactions from now on, at the rate
    "seen"       -> {"first": offset | -1, "fetched": offset | -1, "again": n, "committed": offset | -1,
                     "failure": sentence | null}
    "visible"    -> {"visible": [[high watermark, monotonic ns], …]}

`first` is the lowest offset that was asked for, `fetched` the highest: what lies between was had. `again` counts
fetches below the highest. The clock is the monotonic one, which all processes share on Linux. End of input
ends the server.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from bench import orders
from bench.client_check.known_log import KnownLog
from bench.own_process import OwnProcess

if TYPE_CHECKING:
    from broker.app import Application
    from broker.capturing import OpenChannel
    from capture.embedded_source import EmbeddedSource

TOPIC: Final = "cn_hangzhou_rm_bench_dtstest_version2"
GROUP: Final = "dtsbenchclient01"
ACCOUNT: Final = "dtstest"
USERNAME: Final = f"{ACCOUNT}-{GROUP}"
PASSWORD_VARIABLE: Final = "BINWIRE_PASSWORD"  # noqa: S105 — the name of a variable
_FETCH: Final = 1
_ROWS_AHEAD: Final = 20_000


class CheckServer:
    """The process, seen from outside; a context manager that ends it."""

    def __init__(self, folder: Path, log: KnownLog, rate: float, password: str) -> None:
        self._process = OwnProcess(
            "the server",
            "bench.client_check.server",
            *(folder / "data", log.rows, log.rows_per_transaction, rate),
            log=folder / "server.log",
            variables={PASSWORD_VARIABLE: password},
            start_new_session=True,  # Ctrl-C is for the command, and for us, who end it
        )
        try:
            ready = self._process.answer()
        except BaseException:
            self._process.end()
            raise
        self.host: str = ready["host"]
        self.port: int = ready["port"]

    def ask(self, question: str) -> dict[str, Any]:
        """Raises RuntimeError if the server has ended."""
        answer: dict[str, Any] = self._process.ask(question)
        return answer

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.end()


class _Watch:
    """What clients fetched, and when the log grew."""

    def __init__(self) -> None:
        self.first = -1
        self.fetched = -1
        self.again = 0
        self.visible: list[tuple[int, int]] = []

    def fetches(self) -> None:
        """Note every Fetch request of this process's server from now on."""
        from msgspec import structs

        from broker.apis import APIS

        api = APIS[_FETCH]

        def handle(context: Any, request: Any) -> Any:
            for topic in request.topics:
                for partition in topic.partitions if topic.topic == TOPIC else ():
                    offset = partition.fetch_offset
                    self.again += offset < self.fetched
                    self.first = offset if self.first < 0 else min(self.first, offset)
                    self.fetched = max(self.fetched, offset)
            return api.handle(context, request)

        APIS[_FETCH] = structs.replace(api, handle=handle)

    def grows(self, log: Any) -> None:
        """Note how far a log is visible, and since when."""

        def note() -> None:
            self.visible.append((log.high_watermark, time.monotonic_ns()))

        log.subscribe(note)


class _Feed:
    """The transactions of the known log, as the source commits them."""

    def __init__(self, log: KnownLog, source: EmbeddedSource, opened: OpenChannel) -> None:
        self._known = log
        self._source = source
        self._opened = opened

    async def fill(self) -> None:
        """All of them, as fast as they are taken."""
        ahead = 0
        for numbers in self._known.transactions():
            self._insert(numbers)
            ahead += len(numbers)
            if ahead >= _ROWS_AHEAD:
                await self._opened.channel.wait_visible(self._source.position)
                ahead = 0
        await self._opened.channel.wait_visible(self._source.position)

    async def pace(self, rows_per_second: float) -> None:
        """So many rows a second, from now on."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        for numbers in self._known.transactions():
            await asyncio.sleep(due - loop.time())
            self._insert(numbers)
            due += len(numbers) / rows_per_second
        await self._opened.channel.wait_visible(self._source.position)

    def _insert(self, numbers: range) -> None:
        self._source.insert(orders.TABLE, *(orders.order(number) for number in numbers))


async def _serve(data_directory: Path, log: KnownLog, rate: float, password: str) -> None:
    from broker.app import Application
    from broker.config import ChannelConfig, Config, GroupConfig, ListenerConfig, Secret
    from capture.embedded_source import EmbeddedSource
    from storage.clock import SystemClock

    watch = _Watch()
    watch.fetches()
    application = Application(Config(data_dir=str(data_directory), listeners=[ListenerConfig(bind="127.0.0.1:0")]))
    await application.start()
    try:
        source = EmbeddedSource(SystemClock(), database=orders.DATABASE)
        source.statement(orders.CREATE_TABLE)
        config = ChannelConfig(
            id="bench",
            topic=TOPIC,
            source=Secret("file:///embedded.000001"),
            objects=[orders.DATABASE],
            start="earliest",
            groups=[GroupConfig(name="bench", id=GROUP, username=ACCOUNT, password=Secret(password))],
        )
        opened = await application.add_channel(config, lambda _spec, _clock: source)
        watch.grows(opened.log)
        await opened.channel.wait_visible(source.position)
        feed = _Feed(log, source, opened)
        if not rate:
            await feed.fill()
        address = application.addresses["public"]
        _write({"host": address.host, "port": address.port})
        await _answer_all(application, watch, feed, rate)
    finally:
        await application.close()


async def _answer_all(application: Application, watch: _Watch, feed: _Feed, rate: float) -> None:
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    live: asyncio.Task[None] | None = None
    while line := await lines.readline():
        match json.loads(line):
            case "live":
                live = asyncio.create_task(feed.pace(rate))
                _write({})
            case "seen":
                committed = [
                    row.offset
                    for row in await application.catalog.run(application.catalog.offsets)
                    if row.group_id == GROUP and row.topic == TOPIC
                ]
                failure = live.exception() if live and live.done() else None
                _write(
                    {
                        "first": watch.first,
                        "fetched": watch.fetched,
                        "again": watch.again,
                        "committed": max(committed, default=-1),
                        "failure": None if failure is None else str(failure),
                    }
                )
            case _:
                _write({"visible": watch.visible})
    if live:
        live.cancel()


def _write(answer: Mapping[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    from broker import event_loop

    folder, rows, rows_per_transaction, rate = sys.argv[1:]
    known = KnownLog(int(rows), int(rows_per_transaction))
    event_loop.run(_serve(Path(folder), known, float(rate), os.environ[PASSWORD_VARIABLE]))
