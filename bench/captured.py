"""A channel that captures a source into a fresh log, up to a position: what the benchmarks of capture run.

In a process of its own (``python -m bench.captured DIRECTORY ADDRESS START FILE POSITION``, on the server's own event
loop) it prints as JSON how long that took: {"seconds", "cpu_seconds"}. That clock starts when the stream runs:
connecting, looking over the source and reading definitions stand outside.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from bench import orders

TOPIC: Final = "cn_hangzhou_rm_bench_dtstest_version2"
_SERVER_ID: Final = 57_010


@dataclass(frozen=True, slots=True)
class Took:
    """The time of the clock, and of all the process's threads on CPUs."""

    seconds: float
    cpu_seconds: float


async def capture(data_directory: Path, address: str, start: str, file: str, position: int) -> tuple[Took, Took]:
    """Capture until everything before file and position is visible: how long since the channel's start, and since its
    stream ran. Raises CaptureError.
    """
    from capture.channel import Channel, ChannelSpec, State
    from capture.errors import CaptureError
    from capture.position import BinlogPosition
    from capture.source import SourceAddress, open_source
    from storage.catalog import Catalog, ChannelRow
    from storage.clock import SystemClock
    from storage.config import LogConfig
    from storage.segment_log import SegmentLog

    clock, catalog = SystemClock(), Catalog.open(data_directory / "catalog.db")
    log = SegmentLog.open(data_directory / TOPIC, TOPIC, LogConfig(), clock)
    log.start()
    parsed = SourceAddress.parse(address)
    spec = ChannelSpec("bench", TOPIC, parsed, _SERVER_ID, (orders.DATABASE,), frozenset({"dml", "ddl"}), start)
    catalog.put_channel(
        ChannelRow(spec.id, spec.id, TOPIC, str(parsed), 0, None, "[]", 0, clock.now_ms(), "Not Started", None)
    )
    channel = Channel(spec, log, catalog, lambda: open_source(parsed, _SERVER_ID, clock), clock)
    running: list[Took] = []
    failed = asyncio.get_running_loop().create_future()

    def note() -> None:
        status = channel.status()
        if status.state is State.NORMAL and not running:
            running.append(_now())
        elif status.state is State.ERROR and not failed.done():  # tried again, it would be another measurement
            failed.set_exception(CaptureError(status.reason or "the channel stands still"))

    channel.subscribe(note)
    started = _now()
    await channel.start()
    visible = asyncio.ensure_future(channel.wait_visible(BinlogPosition(file, position)))
    for future in (await asyncio.wait({visible, failed}, return_when=asyncio.FIRST_COMPLETED))[0]:
        future.result()
    ended = _now()
    await channel.stop()
    await log.close(orderly=True)
    catalog.close()
    return _between(started, ended), _between(running[0], ended)


def _now() -> Took:
    return Took(time.perf_counter(), time.process_time())


def _between(first: Took, last: Took) -> Took:
    return Took(last.seconds - first.seconds, last.cpu_seconds - first.cpu_seconds)


def segments(data_directory: Path) -> list[Path]:
    """The files of the log, in order."""
    return sorted((data_directory / TOPIC).glob("*.log"))


def _main(data_directory: str, address: str, start: str, file: str, position: str) -> None:
    from broker.event_loop import run

    _, measured = run(capture(Path(data_directory), address, start, file, int(position)))
    print(json.dumps(asdict(measured)))


if __name__ == "__main__":
    _main(*sys.argv[1:])
