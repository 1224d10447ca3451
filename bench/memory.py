"""How much memory does a server take, idle and at full load?

The private (anonymous) memory of the process and of all that it started, and beside it the file pages that it has
mapped, which are the page cache's. `idle`: some seconds after it first answered, with a channel that waits for its
source. `full load`: the largest that was seen while it captures as fast as it can from a synthetic MySQL server, ten
consumers follow what it writes, and ten more roam about a log of 100 GB that it serves too (`bench/synthetic.py`: its
batches of 4 MiB are holes on the disk, and pages like others in memory).

The peers are Kafka brokers with the heap of Kafka's own start script (`bench/peers/kafka.py`); a ZooKeeper is not
counted. What is captured here is produced there, batch by batch, by one producer; their roaming consumers read a log of
ordinary size. What each run read is counted: all consumers got everything.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Final, NamedTuple

from bench import captured, material, orders
from bench.client import RawClient
from bench.harness import (
    Benchmark,
    Measure,
    Outcome,
    Parameters,
    Prepared,
    ResultHash,
    ResultMismatchError,
    Side,
    SoughtPeer,
)
from bench.material import Material
from bench.peers import kafka
from bench.peers.kafka import KafkaBroker, Release
from bench.records import offset_after, split_batches, whole_batches
from bench.served import TOPIC, ServedFolder, bytecode_in
from bench.synthetic import Template, write_closed_segments
from bench.synthetic_server import SyntheticServer
from bench.usage import Memory, memory
from storage.records import read_header

_HISTORY: Final = "history"
_HISTORY_TOPIC: Final = "cn_hangzhou_rm_history_dtstest_version2"
_SEGMENT_BYTES: Final = 256 << 20
_VALUE_BYTES: Final = 4 << 20
_FETCH_BYTES: Final = 1 << 20
_FOLLOWING, _ROAMING = 10, 10
_FETCHES_ROAMED: Final = 25
_SAMPLE_S: Final = 0.1
_PAUSE_S: Final = 0.25
_DEFINITIONS: Final = 2
"""Records of the binlog that lie before what is streamed: CREATE DATABASE and CREATE TABLE."""
_BYTES_PER_GB: Final = 1_000_000_000
_KIB_PER_MB: Final = 1_000_000 / 1_024
_MORE: Final = """
[[listeners]]
name = "open"
bind = "127.0.0.1:0"
security = "PLAINTEXT"

[[channels]]
id = "{channel}"
topic = "{topic}"
source = "{source}"
objects = ["{database}"]
"""


class _Place(NamedTuple):
    """Where consumers read: an address, a topic, and the offset at which they begin."""

    host: str
    port: int
    topic: str
    offset: int = 0


@contextlib.contextmanager
def _prepare(parameters: Parameters, folder: Path) -> Iterator[Prepared]:
    binlog = material.write_binlog(
        folder / "mysql-bin.000001", parameters["transactions"], parameters["rows_per_transaction"]
    )
    with bytecode_in(folder / "bytecode"), socket.socket() as nobody, contextlib.ExitStack() as stack:
        nobody.bind(("127.0.0.1", 0))  # not listening: every connection is refused, and nobody else can have the port
        history = _History(folder / "history", parameters["gigabytes"])
        gone = f"mysql://bench@127.0.0.1:{nobody.getsockname()[1]}"
        log = _log(binlog, folder / "log")
        peers = [_kafka(stack, folder, release, log, parameters) for release in kafka.RELEASES]
        ours = Side("binwire", lambda: _run(binlog, history, gone, folder / "served", parameters))
        yield Prepared(ours, *peers, same_result=False)


class _History:
    """A large log, lent to one server after the other."""

    def __init__(self, directory: Path, gigabytes: float) -> None:
        template = Template.sparse(_VALUE_BYTES)
        count = max(_ROAMING, int(gigabytes * _BYTES_PER_GB) // template.size_bytes)
        self._directory = directory
        self.end_offset = write_closed_segments(directory, template, count, _SEGMENT_BYTES)

    @contextlib.contextmanager
    def lent(self, place: Path) -> Iterator[None]:
        """Have it where a server looks for it, which writes nothing to what is there."""
        shutil.rmtree(place)
        self._directory.rename(place)
        try:
            yield
        finally:
            place.rename(self._directory)


def _log(binlog: Material, folder: Path) -> bytes:
    """The batches that a server makes of the binlog."""
    folder.mkdir()
    asyncio.run(
        captured.capture(folder, f"file://{binlog.path}", "earliest", binlog.path.name, binlog.path.stat().st_size)
    )
    segments = sorted((folder / captured.TOPIC).glob("*.log"))
    return b"".join(split_batches(b"".join(each.read_bytes() for each in segments), before=binlog.records))


def _run(binlog: Material, history: _History, gone: str, folder: Path, parameters: Parameters) -> Outcome:
    folder.mkdir()
    server = ServedFolder(folder)
    more = _MORE.format(channel=_HISTORY, topic=_HISTORY_TOPIC, source=gone, database=orders.DATABASE)
    with SyntheticServer(binlog, files=parameters["files"], held=True) as source:
        with server.started(source.url, start="now", more=more):
            server.address()  # it has made the directories
        with history.lent(folder / "data" / "topics" / f"{_HISTORY_TOPIC}-0"):
            server.adopt_log(_HISTORY)
            with server.started(source.url, start="now", more=more):
                address = server.address("open")
                idle = _idle(server.pid, parameters["idle_s"])
                step = history.end_offset // _ROAMING
                roamed = [_Place(*address, _HISTORY_TOPIC, number * step) for number in range(_ROAMING)]
                count = parameters["files"] * (binlog.records - _DEFINITIONS)
                full = _full_load(server.pid, _Place(*address, TOPIC), count, roamed, source.release)
    shutil.rmtree(folder)
    return _outcome(idle, full, count)


def _kafka(
    stack: contextlib.ExitStack, folder: Path, release: Release, log: bytes, parameters: Parameters
) -> SoughtPeer:
    """A broker that has the log once, to be roamed about; every run starts it and has it take the log again."""
    numbers = itertools.count()

    def run(broker: KafkaBroker) -> Outcome:
        topic = f"{TOPIC}-{next(numbers)}"
        with broker.started():
            broker.ask(lambda client: client.fetch(_HISTORY_TOPIC, 0))
            idle = _idle(broker.pid, parameters["idle_s"])
            broker.fill(topic, split_batches(log)[0])
            address = (broker.host, broker.port)
            roamed = [_Place(*address, _HISTORY_TOPIC)] * _ROAMING
            count = parameters["files"] * offset_after(log)
            written = itertools.chain.from_iterable(split_batches(log) for _ in range(parameters["files"]))
            full = _full_load(broker.pid, _Place(*address, topic), count, roamed, lambda: broker.append(topic, written))
        return _outcome(idle, full, count)

    return kafka.ended_peer(stack, folder, _HISTORY_TOPIC, log, run, release)


def _idle(pid: int, seconds: float) -> Memory:
    """What it has when it was left alone for some time."""
    time.sleep(seconds)
    return memory(pid)


def _full_load(
    pid: int, followed: _Place, end_offset: int, roamed: Sequence[_Place], write: Callable[[], object]
) -> Memory:
    """The largest of both that was seen until all who follow had everything that `write` has written."""
    over = threading.Event()
    with ThreadPoolExecutor(1 + _FOLLOWING + _ROAMING) as pool:
        following: list[Future[object]] = [pool.submit(_follow, followed, end_offset) for _ in range(_FOLLOWING)]
        roaming: list[Future[object]] = [pool.submit(_roam, place, over) for place in roamed]
        writing = pool.submit(write)
        seen = [memory(pid)]
        try:
            while not all(each.done() for each in following):
                time.sleep(_SAMPLE_S)
                seen.append(memory(pid))
                for each in (writing, *roaming):
                    if each.done():
                        each.result()
        finally:
            over.set()
        for each in (writing, *following, *roaming):
            each.result()
    return Memory(max(each.anonymous for each in seen), max(each.file for each in seen))


def _follow(place: _Place, end_offset: int) -> None:
    """Read what is written, until it is all there."""
    with RawClient(place.host, place.port) as client:
        offset = place.offset
        while offset < end_offset:
            offset = _fetched(client, place.topic, offset)


def _roam(place: _Place, over: threading.Event) -> None:
    """Read a part of a log again and again, with pauses, so that capture is not held up for long."""
    with RawClient(place.host, place.port) as client:
        while not over.is_set():
            offset = place.offset
            for _ in range(_FETCHES_ROAMED):
                offset = _fetched(client, place.topic, offset)
                if over.wait(_PAUSE_S):
                    return


def _fetched(client: RawClient, topic: str, offset: int) -> int:
    """Fetch from an offset; the one that follows. Raises ResultMismatchError where a batch does not follow another."""
    batches = whole_batches(client.fetch(topic, offset, max_bytes=_FETCH_BYTES).records)
    position = 0
    while position < len(batches):
        header = read_header(batches, position)
        if header.base_offset != offset:
            raise ResultMismatchError(f"benchmark memory: {topic} has {header.base_offset} where {offset} follows")
        position, offset = position + header.size_bytes, header.next_offset
    return offset


def _outcome(idle: Memory, full: Memory, count: int) -> Outcome:
    result = ResultHash()
    result.add(b"%d" % count)
    values = {
        "idle, private": idle.anonymous,
        "idle, file pages": idle.file,
        "full load, private": full.anonymous,
        "full load, file pages": full.file,
    }
    return Outcome({name: kib / _KIB_PER_MB for name, kib in values.items()}, result.hexdigest())


BENCHMARK = Benchmark(
    name="memory",
    question="How much memory does the server take, idle, and at full load beside a log of 100 GB (smoke: 0.1)?",
    measures=tuple(
        Measure(f"{when}, {what}", "MB", higher_is_better=False)
        for when in ("idle", "full load")
        for what in ("private", "file pages")
    ),
    smoke={"gigabytes": 0.1, "transactions": 5, "rows_per_transaction": 20, "files": 2, "idle_s": 0.1},
    full={"gigabytes": 100, "transactions": 200, "rows_per_transaction": 250, "files": 3, "idle_s": 3},
    prepare=_prepare,
)
