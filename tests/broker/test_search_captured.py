"""Searches of a log that capture wrote, against its records decoded by fastavro: what is searched for must be the bytes
that capture writes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, cast

import pytest

from bench import captured
from bench.material import write_binlog
from broker.operations.records import Condition, Operator
from broker.render import plain_value
from broker.search import shown
from broker.search.filters import FilterMaker
from broker.search.protocol import Log, Question
from broker.search.records import KINDS
from broker.search.searching import ALL_KINDS, Searcher
from capture import avro
from storage.records import iter_batches, iter_records


class Captured(NamedTuple):
    log: Log
    records: dict[int, dict[str, Any]]


@pytest.fixture(scope="module")
def captured_log(tmp_path_factory: pytest.TempPathFactory) -> Captured:
    folder = tmp_path_factory.mktemp("captured")
    data = folder / "data"
    data.mkdir()
    binlog = write_binlog(folder / "bench-bin.000001", 5, 20)
    end = binlog.path.name, binlog.path.stat().st_size
    asyncio.run(captured.capture(data, f"file://{binlog.path}", "earliest", *end))
    records = {
        record.offset: avro.decode(record.value or b"")
        for path in captured.segments(data)
        for batch in iter_batches(path.read_bytes())
        for record in iter_records(batch)
    }
    return Captured(Log(str(data / captured.TOPIC), 0, max(records) + 1), records)


def found(searcher: Searcher, log: Log, question: Question) -> list[int]:
    answer = searcher.search(log, question, log.high_watermark, 10_000, 60.0)
    assert not answer.damages
    return [row.offset for row in answer.records]


def cells(record: dict[str, Any], column: str) -> Iterator[dict[str, Any] | None]:
    if isinstance(record["fields"], list):
        place = [field["name"] for field in record["fields"]].index(column)
        for images in (record["beforeImages"], record["afterImages"]):
            if isinstance(images, list):
                yield images[place]


def test_everything_is_found(captured_log: Captured) -> None:
    everything = found(Searcher(), captured_log.log, Question(ALL_KINDS))
    assert everything == sorted(captured_log.records, reverse=True)


@pytest.mark.parametrize("with_filters", [False, True])
def test_each_value_is_found_in_the_records_that_have_it(captured_log: Captured, *, with_filters: bool) -> None:
    log, records = captured_log
    searcher = Searcher()
    if with_filters:
        assert FilterMaker(searcher).run(log, 60.0)
    first = next(record for record in records.values() if record["operation"] == "UPDATE")
    for column in [field["name"] for field in first["fields"]]:
        for cell in cells(first, column):
            operator, value = ("is null", None) if cell is None else ("=", str(plain_value(cell)))
            condition = Condition(column, cast("Operator", operator), value)
            expected = [offset for offset, each in records.items() if cell in list(cells(each, column))]
            question = Question(ALL_KINDS, "shop", "orders", (condition,))
            assert found(searcher, log, question) == sorted(expected, reverse=True), column
            assert expected


def test_records_are_parsed_as_fastavro_decodes_them(captured_log: Captured) -> None:
    for path in sorted(Path(captured_log.log.directory).glob("*.log")):
        for batch in iter_batches(path.read_bytes()):
            for record in iter_records(batch):
                value = record.value or b""
                parsed, decoded = shown.parse(value, 0, len(value)), captured_log.records[record.offset]
                assert KINDS[parsed.kind] == decoded["operation"]
                assert (parsed.record_id, parsed.checkpoint) == (decoded["id"], decoded["sourcePosition"])
                assert parsed.tags == decoded["tags"]
                assert parsed.fields == [(each["name"], each["dataTypeNumber"]) for each in decoded["fields"] or ()]
                detail = shown.detail_of(value, 0, len(value), record.offset, record.timestamp_ms)
                if decoded["operation"] == "DDL":
                    assert detail.ddl == decoded["afterImages"]
                for field, before, after in zip(
                    detail.fields, decoded["beforeImages"] or [], decoded["afterImages"] or [], strict=False
                ):
                    assert field.is_changed == (before != after)
