"""What does it cost to serve clients from before Kafka 0.11, whose messages are made from stored batches?

One client reads the whole log twice with Fetch 1 (magic 0), then twice with Fetch 3 (magic 1): the first time the
server converts each batch, the second time it has the conversions in its cache, which is large enough for both. Once
over an uncompressed log and once over a compressed one. Megabytes are those that the client receives; beside them
stands what `fetch` says of the same requests where nothing is converted.

The client does not decode: the stored batches, read with Fetch 4, say beforehand where each message ends, and after the
clock has stopped all that was received is compared with messages made from them here. Every round has a server of its
own, so that its first reading is one; a round's hash is that of what the row changes say. There is no peer: a Kafka
broker on the same batches would be the one.
"""

from __future__ import annotations

import contextlib
import itertools
import struct
import tempfile
import time
import zlib
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from bench.client import RawClient
from bench.harness import Benchmark, Measure, Outcome, Parameters, Prepared, ResultHash, ResultMismatchError, Side
from bench.records import content_hash
from bench.server import TOPIC, BenchServer
from storage.records import Record, iter_batches, iter_records

_BYTES_PER_MB: Final = 1_000_000
_CODECS: Final = ("none", "lz4")
_FETCH_VERSIONS: Final = {0: 1, 1: 3}
"""Magic -> the last version of Fetch that gets it."""
_READINGS: Final = ("first", "cached")
_MAGIC_0: Final = struct.Struct(">bbii")
_MAGIC_1: Final = struct.Struct(">bbqii")
_ENTRY: Final = struct.Struct(">qiI")
_NULL: Final = -1


class _Expected(NamedTuple):
    """The messages a client must receive, and the offset of each and where it ends among them."""

    data: bytes
    offsets: Sequence[int]
    ends: Sequence[int]

    @classmethod
    def of(cls, records: Sequence[Record], magic: int) -> _Expected:
        messages = [_message(record, magic) for record in records]
        return cls(
            b"".join(messages), [record.offset for record in records], list(itertools.accumulate(map(len, messages)))
        )


def _message(record: Record, magic: int) -> bytes:
    value = record.value or b""
    head = (
        _MAGIC_1.pack(1, 0, record.timestamp_ms, _NULL, len(value)) if magic else _MAGIC_0.pack(0, 0, _NULL, len(value))
    )
    return _ENTRY.pack(record.offset, 4 + len(head) + len(value), zlib.crc32(value, zlib.crc32(head))) + head + value


@contextlib.contextmanager
def _prepare(parameters: Parameters, folder: Path) -> Iterator[Prepared]:
    yield Prepared(Side("binwire", lambda: _round(parameters, folder)))


def _round(parameters: Parameters, folder: Path) -> Outcome:
    values: dict[str, float] = {}
    result = ResultHash()
    for codec in _CODECS:
        with tempfile.TemporaryDirectory(dir=folder) as own, BenchServer(Path(own), compression=codec) as server:
            filled = server.ask(fill=parameters["rows"], rows_per_transaction=parameters["rows_per_transaction"])
            records = _stored(server, filled, parameters["fetch_bytes"])
            result.add(content_hash(record.value or b"" for record in records).encode())
            for magic in _FETCH_VERSIONS:
                expected = _Expected.of(records, magic)
                for reading in _READINGS:
                    seconds = _read(server, magic, expected, parameters["fetch_bytes"])
                    values[_name(codec, magic, reading, "records")] = len(records) / seconds
                    values[_name(codec, magic, reading, "throughput")] = len(expected.data) / _BYTES_PER_MB / seconds
    return Outcome(values, result.hexdigest())


def _stored(server: BenchServer, high_watermark: int, fetch_bytes: int) -> list[Record]:
    """Every record of the log, from its batches as they lie there."""
    records: list[Record] = []
    with RawClient(server.host, server.port) as client:
        while len(records) < high_watermark:
            fetched = client.fetch(TOPIC, len(records), max_bytes=fetch_bytes)
            records += (record for batch in iter_batches(bytes(fetched.records)) for record in iter_records(batch))
    return records


def _read(server: BenchServer, magic: int, expected: _Expected, fetch_bytes: int) -> float:
    """Read everything in one magic; return the seconds it took."""
    received: list[bytes] = []
    with RawClient(server.host, server.port) as client:
        start = time.perf_counter()
        count = size = 0
        while count < len(expected.offsets):
            fetched = client.fetch_messages(
                TOPIC, expected.offsets[count], _FETCH_VERSIONS[magic], max_bytes=fetch_bytes
            )
            received.append(bytes(fetched.records))
            size += len(fetched.records)
            count = bisect_right(expected.ends, size)
        seconds = time.perf_counter() - start
    if b"".join(received) != expected.data:
        raise ResultMismatchError("benchmark downconversion: what was received is not what the stored batches make")
    return seconds


def _name(codec: str, magic: int, reading: str, figure: str) -> str:
    stored = "uncompressed" if codec == "none" else codec
    return f"magic {magic} of {stored}, {reading}: {figure}"


BENCHMARK = Benchmark(
    name="downconversion",
    question="What do messages of magic 0 and 1 cost, made from stored batches the first time, and out of the cache?",
    measures=tuple(
        Measure(_name(codec, magic, reading, figure), unit)
        for codec in _CODECS
        for magic in _FETCH_VERSIONS
        for reading in _READINGS
        for figure, unit in (("records", "records/s"), ("throughput", "MB/s"))
    ),
    smoke={"rows": 1_000, "rows_per_transaction": 100, "fetch_bytes": 1 << 16},
    full={"rows": 60_000, "rows_per_transaction": 500, "fetch_bytes": 1 << 20},
    prepare=_prepare,
)
