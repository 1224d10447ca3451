"""How fast does a consumer get an old binlog: from MySQL's protocol through the log to librdkafka, all on one machine?

`binwire serve` begins an empty channel at a synthetic MySQL server (`bench/synthetic_server.py`), which logged it in
and holds the dump back; a consumer (`bench/consumers/consume.c`) waits for the topic's records, logged in, as a user's
does. The clock runs from the moment the dump is let go until the consumer has the last row. Source, server and consumer
share the machine's CPUs; what the server's process itself used is shown beside it.

The consumer has compared every batch's checksum, seen that offsets follow each other, and counted the rows; after the
clock has stopped, the last one is decoded: it is the row that the binlog ends with, and what the log has at its offset.
There is no peer: none takes both ends.
"""

from __future__ import annotations

import contextlib
import itertools
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from bench import material, orders
from bench.consumers import LastRow, Topic, librdkafka_command, reading_rows
from bench.harness import (
    Benchmark,
    Measure,
    Outcome,
    Parameters,
    PeerMissingError,
    Prepared,
    ResultMismatchError,
    Side,
    UnavailableError,
)
from bench.material import Material
from bench.records import content_hash, offset_after, record_values, rows, split_batches
from bench.served import LOGIN, TOPIC, ServedFolder, bytecode_in
from bench.synthetic_server import SyntheticServer
from bench.usage import cpu_seconds

_NS_PER_S: Final = 1_000_000_000
_ROWS_PER_MILLION: Final = 1_000_000
_OFFSET_BYTES: Final = 8


@contextlib.contextmanager
def _prepare(parameters: Parameters, folder: Path) -> Iterator[Prepared]:
    try:
        consumer = librdkafka_command()
    except PeerMissingError as error:
        raise UnavailableError(f"it needs librdkafka, which cannot be had: {error}") from None
    binlog = material.write_binlog(
        folder / "mysql-bin.000001", parameters["transactions"], parameters["rows_per_transaction"]
    )
    with bytecode_in(folder / "bytecode"):
        yield Prepared(Side("binwire", lambda: _run(binlog, parameters, folder / "served", consumer)))


def _run(binlog: Material, parameters: Parameters, folder: Path, consumer: tuple[str, ...]) -> Outcome:
    folder.mkdir()
    served = ServedFolder(folder)
    with (
        SyntheticServer(binlog, files=parameters["files"], held=True) as source,
        served.started(source.url, start="now"),
    ):
        topic = Topic(*served.address(), TOPIC, source.rows, LOGIN)
        with reading_rows(consumer, topic) as ended:
            before_s = cpu_seconds(served.pid)
            begun_ns = source.release()
            last = ended()
            used_s = cpu_seconds(served.pid) - before_s
    _require_end(last, parameters, folder / "data" / "topics" / f"{TOPIC}-0")
    shutil.rmtree(folder)
    seconds = (last.received_ns - begun_ns) / _NS_PER_S
    measured = {"rows": source.rows / seconds, "CPU": used_s / (source.rows / _ROWS_PER_MILLION)}
    return Outcome(measured, content_hash([last.value]))


def _require_end(last: LastRow, parameters: Parameters, directory: Path) -> None:
    """The last row is the one that the binlog ends with, and the log's own. Raises ResultMismatchError."""
    [row] = rows([last.value])
    # What a transaction inserts is deleted two transactions later.
    expected = orders.order((parameters["transactions"] - 2) * parameters["rows_per_transaction"] - 1)["id"]
    found = row["operation"], row["beforeImages"][0]["value"]
    if found != ("DELETE", str(expected)):
        raise ResultMismatchError(f"benchmark backfill: the last row is {found} where {expected} is deleted last")
    if last.value != _value_at(directory, last.offset):
        raise ResultMismatchError(f"benchmark backfill: the consumer got another record {last.offset} than the log has")


def _value_at(directory: Path, offset: int) -> bytes:
    """The value of a record, as it lies in the log."""
    segment = max(path for path in directory.glob("*.log") if int(path.stem) <= offset)
    for batch in split_batches(segment.read_bytes()):
        base_offset, end = int.from_bytes(batch[:_OFFSET_BYTES], "big"), offset_after(batch)
        if offset < end:
            return next(itertools.islice(record_values(batch), offset - base_offset, None))
    raise ResultMismatchError(f"benchmark backfill: the log has no record {offset}")


BENCHMARK = Benchmark(
    name="backfill",
    question="How many row changes per second go from a binlog through the log to librdkafka, all on one machine?",
    measures=(Measure("rows", "rows/s"), Measure("CPU", "s/million rows", higher_is_better=False)),
    smoke={"transactions": 5, "rows_per_transaction": 20, "files": 2},
    full={"transactions": 200, "rows_per_transaction": 250, "files": 8},
    prepare=_prepare,
)
