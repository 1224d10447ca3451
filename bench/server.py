"""A Binwire server in a process of its own, fed by call and driven by lines: what `fetch` and `latency` ask.

The process runs the whole application (data directory, catalog, listener, one channel) over the embedded source, so
that everything behind the source is what a live server runs. The listener is PLAINTEXT on the loopback interface.

Requests and answers are JSON lines on standard input and output:

    {"fill": rows, "rows_per_transaction": n}         -> {"high_watermark": …}   orders inserted and visible
    {"pace": transactions, "interval_us": n}          -> {"high_watermark": …}   one row each, stamped, at a steady pace

A stamped row's STAMP_COLUMN is the monotonic clock in nanoseconds at the moment its transaction was handed to the
source; on Linux that clock is the same for all processes. End of input ends the server.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from bench import orders

if TYPE_CHECKING:
    from capture.embedded_source import EmbeddedSource
    from storage.segment_log import SegmentLog

TOPIC: Final = "cn_hangzhou_rm_bench_dtstest_version2"
STAMP_COLUMN: Final = "note"
_FILL_ROWS_AHEAD: Final = 20_000


class BenchServer:
    """The process, seen from the benchmark; a context manager that ends it."""

    def __init__(self, folder: Path) -> None:
        root = str(Path(__file__).resolve().parent.parent)
        self._log = (folder / "server.log").open("wb")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.server", str(folder / "data")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))},
        )
        ready = self._answer()
        self.host: str = ready["host"]
        self.port: int = ready["port"]

    def ask(self, **request: int) -> int:
        """Send one request; the high watermark when it is done."""
        self.send(**request)
        return self.result()

    def send(self, **request: int) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        self._process.stdin.flush()

    def result(self) -> int:
        return int(self._answer()["high_watermark"])

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._log.flush()
            log = Path(self._log.name).read_text(encoding="utf-8", errors="replace")
            raise RuntimeError(f"the benchmark's server ended with status {self._process.wait()}:\n{log[-4000:]}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()
        self._log.close()


async def _serve(data_directory: Path) -> None:
    from broker.app import Application
    from broker.config import ChannelConfig, Config, ListenerConfig, Secret
    from capture.embedded_source import EmbeddedSource

    listener = ListenerConfig(bind="127.0.0.1:0", security="PLAINTEXT")
    application = Application(Config(data_dir=str(data_directory), listeners=[listener]))
    await application.start()
    source = EmbeddedSource()
    source.statement(orders.CREATE_TABLE, orders.DATABASE)
    config = ChannelConfig(
        id="bench", topic=TOPIC, source=Secret("embedded://"), objects=[orders.DATABASE], start="earliest"
    )
    channel = await application.add_channel(config, lambda _spec, _clock: source)
    try:
        await _handle_requests(source, channel.log, application.addresses[listener.name].port)
    finally:
        await application.close()


async def _handle_requests(source: EmbeddedSource, log: SegmentLog, port: int) -> None:
    _write({"host": "127.0.0.1", "port": port})
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while line := await lines.readline():
        request = json.loads(line)
        if "fill" in request:
            await _fill(source, log, request["fill"], request["rows_per_transaction"])
        else:
            await _pace(source, log, request["pace"], request["interval_us"])
        _write({"high_watermark": log.high_watermark})


async def _fill(source: EmbeddedSource, log: SegmentLog, rows: int, rows_per_transaction: int) -> None:
    visible = _Growth(log)
    for first in range(0, rows, rows_per_transaction):
        numbers = range(first, min(first + rows_per_transaction, rows))
        source.insert(orders.TABLE, *(orders.order(number) for number in numbers))
        visible.expect(len(numbers) + _CONTROL_RECORDS)
        await visible.reached(slack=_FILL_ROWS_AHEAD)
    await visible.reached()


async def _pace(source: EmbeddedSource, log: SegmentLog, transactions: int, interval_us: int) -> None:
    visible = _Growth(log)
    loop = asyncio.get_running_loop()
    due = loop.time()
    for number in range(transactions):
        due += interval_us / 1_000_000
        await asyncio.sleep(due - loop.time())
        row = orders.order(number)
        row[STAMP_COLUMN] = str(time.monotonic_ns())
        source.insert(orders.TABLE, row)
        visible.expect(1 + _CONTROL_RECORDS)
    await visible.reached()


_CONTROL_RECORDS: Final = 2
"""BEGIN and COMMIT."""


class _Growth:
    """Waits until as many records are visible as were expected since it was made; heartbeats only add to them."""

    def __init__(self, log: SegmentLog) -> None:
        self._log = log
        self._wanted = log.high_watermark

    def expect(self, records: int) -> None:
        self._wanted += records

    async def reached(self, slack: int = 0) -> None:
        if self._log.high_watermark + slack >= self._wanted:
            return
        grown = asyncio.Event()
        unsubscribe = self._log.subscribe(grown.set)
        try:
            while self._log.high_watermark + slack < self._wanted:
                grown.clear()
                await grown.wait()
        finally:
            unsubscribe()


def _write(answer: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(_serve(Path(sys.argv[1])))
