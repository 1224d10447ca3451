"""How long does it take to find one row in a log of 100 million, looked for by a value, through the console's search?

The log holds one day of inserted orders (bench/orders.py), encoded as capture encodes them, 1,000 to a transaction and
batch, in segments of 256 MiB and compressed by LZ4, as such a log would be kept. What varies from row to row: id,
customer, amount, note, time, position. The filters of its segments are made by the search process, as behind a console,
and that is timed by its CPU time. Then rows drawn at random are looked for, by their primary key, by a text that no
other row has, and by both with a time; and one value that no row has. Each answer must be that row and no other.

`first` is the first search, which starts the process. `scan` is a search that no filter helps (`contains` two
digits of a number, and nothing has them), which goes over the newest part of the log within one call.

Times are wall-clock, of the call that a handler makes. The log is in memory, as far as that holds it. The process has
a low priority, so what else the machine does is in the figures.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import resource
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from bench import orders
from bench.harness import (
    Benchmark,
    Measure,
    Outcome,
    Parameters,
    Prepared,
    ResultHash,
    ResultMismatchError,
    Side,
    percentile,
)
from broker.operations.records import Condition
from broker.search.protocol import Log, Question
from broker.search.searching import ALL_KINDS
from broker.search.service import SearchService
from capture import avro
from storage.clock import SystemClock
from storage.compression import codec_named
from storage.config import LogConfig
from storage.encoding import encode_batch
from storage.log import SourcePosition
from storage.segment_log import SegmentLog

_BATCH_ROWS: Final = 1_000
_FIRST_S: Final = 1_709_284_500
_DAY_S: Final = 86_400
_FIRST_ID: Final = 1_000_000_000
_MS_PER_S: Final = 1_000
_SEED: Final = 7
_RECORD_ID: Final = 1 << 33
"""Ids of records begin here, so that all of them take as many bytes."""
_VARINT_BITS: Final = 7


class _Row(NamedTuple):
    """What varies from row to row; every text is as long in all rows."""

    number: int

    @property
    def id(self) -> str:
        return str(_FIRST_ID + self.number)

    @property
    def note(self) -> str:
        return f"leave at door {self.number * 2_654_435_761 % (1 << 32):08x}"


def write_log(directory: Path, rows: int, codec: str, segment_bytes: int) -> Log:
    """The log, ended orderly, its last segment closed by nothing but that."""
    template = _template()
    low = [bytes((number & 0x7F | 0x80, number >> _VARINT_BITS | 0x80)) for number in range(1 << 2 * _VARINT_BITS)]

    def values(first: int) -> Iterator[bytes]:
        for number in range(first, min(first + _BATCH_ROWS, rows)):
            record_id = _RECORD_ID + number << 1
            high = record_id >> 2 * _VARINT_BITS
            yield template % (
                low[record_id & 0x3FFF] + bytes((high & 0x7F | 0x80, high >> 7 & 0x7F | 0x80, high >> 14 & 0x7F)),
                1_000_000_000 + number * 10,
                _FIRST_ID + number,
                100_000 + number * 7919 % 900_000,
                number * 104_729 % 10_000_000,
                number * 2_654_435_761 % (1 << 32),
            )

    async def write() -> None:
        config = LogConfig(segment_bytes=segment_bytes, retention_ms=None)
        log = SegmentLog.open(directory, "bench", config, SystemClock())
        log.attach(lambda: b"")
        for first in range(0, rows, _BATCH_ROWS):
            made = list(values(first))
            time_ms = second_of(first, rows) * _MS_PER_S
            log.append(encode_batch(first, made, [time_ms] * len(made), codec_named(codec)))
            log.commit([SourcePosition(1, first + 4)])
            await log.settle()
        await log.close()

    asyncio.run(write())
    return Log(str(directory), 0, rows)


def second_of(number: int, rows: int) -> int:
    """When a row was inserted: all of them within a day."""
    return _FIRST_S + number // _BATCH_ROWS * _BATCH_ROWS * _DAY_S // rows


def _template() -> bytes:
    """A record of capture's form with places for what varies, in which all texts are of one length."""
    row = orders.order(0)
    marks = {"id": "1" * 10, "customer_id": "2" * 6, "amount": "3" * 7 + ".50", "note": "leave at door " + "4" * 8}
    cells = {
        "id": {"class": "Integer", "precision": 8, "value": marks["id"]},
        "customer_id": {"class": "Integer", "precision": 4, "value": marks["customer_id"]},
        "status": {"class": "Integer", "precision": 1, "value": "0"},
        "quantity": {"class": "Integer", "precision": 4, "value": "3"},
        "amount": {"class": "Decimal", "value": marks["amount"], "precision": 12, "scale": 2},
        "currency": _text("CNY"),
        "title": _text(row["title"]),
        "note": _text(marks["note"]),
        "coupon": None,
        "placed_at": _moment(),
        "paid_at": None,
    }
    record = {
        "version": 0,
        "id": _RECORD_ID,
        "sourceTimestamp": _FIRST_S,
        "sourcePosition": "5" * 10 + "@188",
        "safeSourcePosition": "4@188",
        "sourceTxid": "0",
        "source": {"sourceType": "MySQL", "version": "8.0.36"},
        "operation": "INSERT",
        "objectName": orders.TABLE,
        "processTimestamps": None,
        "tags": {
            "pk_uk_info": '{"PRIMARY":["id"]}',
            "metaVersion": "3109599372",
            "thread_id": "8",
            "readerThroughoutTime": "1709284500123",
            "server_id": "1",
        },
        "fields": [{"name": name, "dataTypeNumber": orders.COLUMN_TYPE_NUMBERS[name]} for name in cells],
        "beforeImages": None,
        "afterImages": list(cells.values()),
        "bornTimestamp": _FIRST_S,
    }
    encoded = avro.encode(record)
    encoded = encoded.replace(b"%", b"%%")
    for mark, place in (
        (encoded[1:6], b"%b"),
        (b"5" * 10, b"%010d"),
        (b"1" * 10, b"%010d"),
        (b"2" * 6, b"%06d"),
        (b"3" * 7, b"%07d"),
        (b"4" * 8, b"%08x"),
    ):
        assert encoded.count(mark) == 1, mark
        encoded = encoded.replace(mark, place)
    return encoded


def _text(value: str) -> dict[str, object]:
    return {"class": "Character", "charset": "utf8mb4", "value": value.encode()}


def _moment() -> dict[str, object]:
    names = ("year", "month", "day", "hour", "minute", "second", "millis")
    return {"class": "DateTime", **dict(zip(names, (2024, 3, 1, 9, 15, 0, 0), strict=True))}


# ---- what is asked ----


@contextlib.contextmanager
def _prepare(parameters: Parameters, folder: Path) -> Iterator[Prepared]:
    directory = folder / "bench-0"
    log = write_log(directory, parameters["rows"], parameters["codec"], parameters["segment_bytes"])
    yield Prepared(Side("binwire", lambda: asyncio.run(_run(log, parameters))))


async def _run(log: Log, parameters: Parameters) -> Outcome:
    _forget_filters(log)
    rows, result = parameters["rows"], ResultHash()
    made_s = await _make_filters(log)
    service = SearchService()
    first_s = await _find(service, log, rows // 2, _by_id(rows // 2), result)
    randomly = random.Random(_SEED)
    taken: dict[str, list[float]] = {"id": [], "text": [], "absent": []}
    for _ in range(parameters["searches"]):
        number = randomly.randrange(rows)
        taken["id"].append(await _find(service, log, number, _by_id(number), result))
        taken["text"].append(await _find(service, log, number, _by_note(number, rows), result))
        absent = Question(ALL_KINDS, conditions=(Condition("id", "=", str(_FIRST_ID + rows + number)),))
        taken["absent"].append(await _find(service, log, None, absent, result))
    scanned = await service.search(
        log, Question(ALL_KINDS, conditions=(Condition("customer_id", "contains", "99999999"),)), rows, 1
    )
    await service.close()
    log_bytes, filter_bytes = _size_of(log, "*.log"), _size_of(log, "*.filter")
    values = {f"{name}, {kind}": percentile(times, percent) * _MS_PER_S for kind, times in taken.items()
              for name, percent in (("p50", 50), ("longest", 100))}  # fmt: skip
    scanned_share = scanned.searched_bytes / max(1, scanned.total_bytes)
    return Outcome(
        {
            "first": first_s * _MS_PER_S,
            **values,
            "scan": rows * scanned_share / 1e6,
            "making": made_s / (rows / 1e6),
            "filters": 100 * filter_bytes / log_bytes,
            "log": log_bytes / rows,
        },
        result.hexdigest(),
    )


def _forget_filters(log: Log) -> None:
    for path in Path(log.directory).glob("*.filter"):
        path.unlink()


def _size_of(log: Log, pattern: str) -> int:
    return sum(path.stat().st_size for path in Path(log.directory).glob(pattern))


async def _make_filters(log: Log) -> float:
    """Have them made by a process of its own; the CPU time that it took, its start included."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    service = SearchService()
    await service.make_all_filters(log)
    await service.close()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _by_id(number: int) -> Question:
    return Question(ALL_KINDS, conditions=(Condition("id", "=", _Row(number).id),))


def _by_note(number: int, rows: int) -> Question:
    at_ms = second_of(number, rows) * _MS_PER_S
    condition = Condition("note", "=", _Row(number).note)
    return Question(ALL_KINDS, "shop", "orders", (condition,), at_ms - 1, at_ms)


async def _find(service: SearchService, log: Log, number: int | None, question: Question, result: ResultHash) -> float:
    """Look through all of the log; the seconds it took. Raises ResultMismatchError: something else was found."""
    begun_s = time.perf_counter()
    found: list[int] = []
    before: int | None = log.high_watermark
    while before is not None:
        answer = await service.search(log, question, before, 20)
        if answer.damages:
            raise ResultMismatchError(f"search: {answer.damages[0]}")
        found += [record.offset for record in answer.records]
        before = answer.before
    taken_s = time.perf_counter() - begun_s
    if found != ([] if number is None else [number]):
        raise ResultMismatchError(f"search: asked for row {number}, found {found[:5]}")
    result.add(b"%d" % (-1 if number is None else number))
    return taken_s


BENCHMARK: Final = Benchmark(
    "search",
    "How long does it take to find one row in a log of 100 million by a value?",
    (
        *(
            Measure(f"{name}, {kind}", "ms", higher_is_better=False)
            for kind in ("id", "text", "absent")
            for name in ("p50", "longest")
        ),
        Measure("first", "ms", higher_is_better=False),
        Measure("scan", "million rows in a call"),
        Measure("making", "CPU s per million rows", higher_is_better=False),
        Measure("filters", "% of the log", higher_is_better=False),
        Measure("log", "bytes per row", higher_is_better=False),
    ),
    {"rows": 20_000, "codec": "lz4", "segment_bytes": 1 << 18, "searches": 3},
    {"rows": 100_000_000, "codec": "lz4", "segment_bytes": 256 << 20, "searches": 50},
    _prepare,
)
