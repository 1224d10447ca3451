"""How long does a restart take, of a log that is small and of one a thousand times as large?

The logs are synthetic (bench/synthetic.py): closed segments of 256 MiB whose batches are holes, then a tail that the
store itself wrote, half of it flushed. `open` is the opening of the log alone, in this process: after an orderly end;
after a kill, inside of a transaction; and after a loss of power, where all that was not flushed is read. `serve` is the
whole server, from exec until a client that logged in holds the newest records; the server is started after an orderly
end, killed as it serves, and started again over a log whose writer was killed too. Its source is a MySQL address where
nobody answers. What a run leaves behind is put back before the next.

The peer is a Kafka broker with logs of the smaller sizes, all of their bytes there (`bench/peers/kafka.py`), in the
segments of 1 GiB that it makes by default; it is started together with its ZooKeeper, orderly ended or killed likewise.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from bench.client import LATEST, KafkaError, RawClient
from bench.harness import Benchmark, Measure, Outcome, Parameters, Prepared, ResultHash, Side
from bench.peers import kafka
from bench.peers.kafka import KafkaBroker
from bench.served import TOPIC, ServedFolder, bytecode_in
from bench.synthetic import Template, first_ms, write_closed_segments
from storage.clock import SystemClock
from storage.config import LogConfig
from storage.encoding import encode_batch
from storage.log import SourcePosition
from storage.segment import log_path, segment_paths
from storage.segment_log import SegmentLog
from storage.state import state_path

_SEGMENT_BYTES: Final = 256 << 20
_CONFIG: Final = LogConfig(segment_bytes=_SEGMENT_BYTES)
_VALUE_BYTES: Final = 4 << 20
_ROW: Final = bytes(248)
_ROWS_PER_BATCH: Final = 64
_FETCH_BYTES: Final = 1 << 16
_BYTES_PER_MB: Final = 1_000_000
_MS_PER_S: Final = 1_000
_ORDERLY, _KILLED = "orderly", "killed"
_OTHER_BOOT: Final = "another boot"


@contextlib.contextmanager
def _prepare(parameters: Parameters, folder: Path) -> Iterator[Prepared]:
    with bytecode_in(folder / "bytecode"), socket.socket() as nobody, contextlib.ExitStack() as stack:
        nobody.bind(("127.0.0.1", 0))  # not listening: every connection is refused, and nobody else can have the port
        source = f"mysql://bench@127.0.0.1:{nobody.getsockname()[1]}"
        histories = {
            name: _History(folder / name, size_mb * _BYTES_PER_MB, parameters["tail_batches"], source)
            for name, size_mb in parameters["megabytes"].items()
        }
        brokers = functools.cache(lambda jars: _kafkas(stack, folder, jars, parameters))
        peer = kafka.side(lambda jars: _run_kafka(brokers(jars)))
        yield Prepared(Side("binwire", lambda: _run(histories)), peer, same_result=False)


def _run(histories: dict[str, _History]) -> Outcome:
    values: dict[str, float] = {}
    result = ResultHash()
    for name, history in histories.items():
        values[f"open, orderly, {name}"] = history.open_ms(_ORDERLY)
        values[f"open, killed, {name}"] = history.open_ms(_KILLED)
        values[f"open, power lost, {name}"] = history.open_ms(_KILLED, boot_id=_OTHER_BOOT)
        for end in (_ORDERLY, _KILLED):
            values[f"serve, {end}, {name}"], records = history.serve_ms(end)
            result.add(records)
    return Outcome(values, result.hexdigest())


class _History:
    """A data directory with one log, whose tail and state are kept as each way of ending leaves them."""

    def __init__(self, folder: Path, log_bytes: int, tail_batches: int, source: str) -> None:
        folder.mkdir()
        self._kept: dict[str, dict[Path, tuple[bytes, int]]] = {}
        """By the way of ending: the files as they were, without the zeros behind their content, and their sizes."""
        self._source = source
        self._server = ServedFolder(folder)
        self._directory = folder / "data" / "topics" / f"{TOPIC}-0"
        with self._server.started(source), self._server.logged_in():
            pass  # it has made the directory, with a log that is empty
        shutil.rmtree(self._directory)
        self._server.adopt_log()
        template = Template.sparse(_VALUE_BYTES)
        batch_count = max(1, log_bytes // template.size_bytes)
        tail_offset = write_closed_segments(self._directory, template, batch_count, _SEGMENT_BYTES)
        self._tail = log_path(self._directory, tail_offset)
        log = self._open()
        log.attach(lambda: b"")
        for number in range(tail_batches):
            self._append(log, first_ms(batch_count + number))
            log.commit([SourcePosition(1, number)])
            if number == tail_batches // 2:
                log.flush()
        self._append(log, first_ms(batch_count + tail_batches))
        log.release()
        self._keep(_KILLED)
        asyncio.run(self._open().close())
        self._keep(_ORDERLY)

    def open_ms(self, end: str, *, boot_id: str | None = None) -> float:
        """Milliseconds to open the log after it ended so."""
        self._put_back(end)
        begun_s = time.perf_counter()
        log = self._open(boot_id)
        taken_s = time.perf_counter() - begun_s
        log.release()
        return taken_s * _MS_PER_S

    def serve_ms(self, end: str) -> tuple[float, bytes]:
        """Milliseconds until a client has the newest records, and these. After an orderly end, the server is killed."""
        self._put_back(end)
        begun_s = time.perf_counter()
        with self._server.started(self._source):
            with self._server.logged_in() as client:
                records = _newest(client)
            taken_s = time.perf_counter() - begun_s
            if end == _ORDERLY:
                self._server.kill()
        return taken_s * _MS_PER_S, records

    def _open(self, boot_id: str | None = None) -> SegmentLog:
        return SegmentLog.open(self._directory, TOPIC, _CONFIG, SystemClock(), boot_id=boot_id)

    def _append(self, log: SegmentLog, time_ms: int) -> None:
        log.append(encode_batch(log.end_offset, [_ROW] * _ROWS_PER_BATCH, [time_ms] * _ROWS_PER_BATCH))

    def _changed(self) -> tuple[Path, ...]:
        """What a run writes to: the last segment and the state."""
        return *segment_paths(self._tail), state_path(self._directory)

    def _keep(self, end: str) -> None:
        self._kept[end] = {path: (path.read_bytes().rstrip(b"\0"), path.stat().st_size) for path in self._changed()}

    def _put_back(self, end: str) -> None:
        for path in self._changed():
            path.unlink(missing_ok=True)
        for path, (content, size_bytes) in self._kept[end].items():
            with path.open("wb") as file:
                file.write(content)
                file.truncate(size_bytes)
        for path in self._directory.glob("*.source"):
            if path.stem > self._tail.stem:
                path.unlink()


def _newest(client: RawClient) -> bytes:
    """The last batch of the log. Raises KafkaError while there is none."""
    _, end = client.list_offsets(TOPIC, LATEST)
    records = bytes(client.fetch(TOPIC, end - 1, max_bytes=_FETCH_BYTES).records) if end > 0 else b""
    if not records:
        raise KafkaError("there are no records yet")
    return records


def _kafkas(stack: contextlib.ExitStack, folder: Path, jars: str, parameters: Parameters) -> dict[str, KafkaBroker]:
    """A broker per size, which has the batches of our closed segments and is ended."""
    template = Template.sparse(_VALUE_BYTES)
    hole = bytes(template.hole_bytes)
    brokers = {}
    for name in parameters["kafka"]:
        broker = stack.enter_context(KafkaBroker(folder / f"kafka-{name}", jars))
        count = max(1, parameters["megabytes"][name] * _BYTES_PER_MB // template.size_bytes)
        with broker.started():
            broker.append(TOPIC, (template.batch(number, first_ms(number))[0] + hole for number in range(count)))
        brokers[name] = broker
    return brokers


def _run_kafka(brokers: dict[str, KafkaBroker]) -> Outcome:
    values: dict[str, float] = {}
    result = ResultHash()
    for name, broker in brokers.items():
        broker.save_zookeeper()
        for end, end_broker in ((_ORDERLY, broker.kill), (_KILLED, None)):
            values[f"serve, {end}, {name}"] = _serve_kafka_ms(broker, result, end_broker)
            if end_broker is not None:
                broker.restore_zookeeper()
    return Outcome(values, result.hexdigest())


def _serve_kafka_ms(broker: KafkaBroker, result: ResultHash, end_broker: Callable[[], None] | None) -> float:
    begun_s = time.perf_counter()
    with broker.started():
        records = broker.ask(_newest)
        taken_s = time.perf_counter() - begun_s
        if end_broker is not None:
            end_broker()
    result.add(records[:_FETCH_BYTES])
    return taken_s * _MS_PER_S


def _measures(names: tuple[str, ...]) -> tuple[Measure, ...]:
    whats = ("open, orderly", "open, killed", "open, power lost", "serve, orderly", "serve, killed")
    return tuple(Measure(f"{what}, {name}", "ms", higher_is_better=False) for what in whats for name in names)


_NAMES: Final = ("0.1", "1", "10", "100")

BENCHMARK = Benchmark(
    name="restart",
    question="How long does a restart take, by the GB of the log (orderly, killed, power lost; smoke: MB)?",
    measures=_measures(_NAMES),
    smoke={
        "megabytes": dict(zip(_NAMES, (1, 2, 5, 10), strict=True)),
        "kafka": ("0.1",),
        "tail_batches": 4,
    },
    full={
        "megabytes": dict(zip(_NAMES, (100, 1_000, 10_000, 100_000), strict=True)),
        "kafka": ("0.1", "1"),
        "tail_batches": 1_000,
    },
    prepare=_prepare,
)
