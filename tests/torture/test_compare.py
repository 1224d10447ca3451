"""The judge of the torture tests, judged: streams that are right pass, and each kind of wrong one is noticed."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import fastavro
import pytest

from tests.decoded import Record, Row, Transaction, record_schema
from tests.torture.scene import compare

_INTEGER = "com.alibaba.dts.formats.avro.Integer"


def _record(offset: int, operation: str, number: int | None = None, ddl: str | None = None) -> Record:
    """A record; a row change inserts the number."""
    image = None if number is None else [(_INTEGER, {"precision": 4, "value": str(number)})]
    content: dict[str, Any] = {
        "version": 0,
        "id": 1000 + offset,
        "sourceTimestamp": 1,
        "sourcePosition": "4@1",
        "source": {"sourceType": "MySQL", "version": "9.7.4"},
        "operation": operation,
        "objectName": None if number is None else "shop.t",
        "fields": None if number is None else [{"name": "n", "dataTypeNumber": 3}],
        "beforeImages": None,
        "afterImages": ddl if ddl is not None else image,
    }
    buffer = io.BytesIO()
    fastavro.schemaless_writer(buffer, record_schema(), content)
    return Record(offset, 1000, None, buffer.getvalue())


def _stream(*items: str | int) -> list[Record]:
    """Records from their operations; a number is an INSERT of it, other text than an operation a DDL."""
    records = []
    for offset, item in enumerate(items):
        if isinstance(item, int):
            records.append(_record(offset, "INSERT", number=item))
        elif item in ("BEGIN", "COMMIT", "HEARTBEAT"):
            records.append(_record(offset, item))
        else:
            records.append(_record(offset, "DDL", ddl=item))
    return records


def _inserts(*numbers: int) -> Transaction:
    return Transaction(rows=[Row("INSERT", "shop.t", None, {"n": number}) for number in numbers])


_GOOD = ("HEARTBEAT", "BEGIN", 1, 2, "COMMIT", "ALTER TABLE t", "BEGIN", "COMMIT", "BEGIN", 3, "COMMIT")
_EXPECTED = [_inserts(1, 2), Transaction(ddl="ALTER TABLE t"), _inserts(3)]


def test_a_right_stream_passes() -> None:
    compare(_stream(*_GOOD), {0, 1, 5, 6, 8, 11}, _EXPECTED)


@pytest.mark.parametrize("mark", [2, 3, 4, 7, 9, 10])
def test_a_high_watermark_inside_a_transaction(mark: int) -> None:
    with pytest.raises(AssertionError, match="half transactions were visible"):
        compare(_stream(*_GOOD), {mark}, _EXPECTED)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (("BEGIN", 1, "COMMIT", "ALTER TABLE t", "BEGIN", 3, "COMMIT"), "transaction 0"),
        (("BEGIN", 2, 1, "COMMIT", "ALTER TABLE t", "BEGIN", 3, "COMMIT"), "transaction 0"),
        (("BEGIN", 1, 2, "COMMIT", "BEGIN", 1, 2, "COMMIT", "ALTER TABLE t", "BEGIN", 3, "COMMIT"), "transaction 1"),
        (("ALTER TABLE t", "BEGIN", 1, 2, "COMMIT", "BEGIN", 3, "COMMIT"), "transaction 0"),
        (("BEGIN", 1, 2, "COMMIT", "ALTER TABLE u", "BEGIN", 3, "COMMIT"), "transaction 1"),
        (("BEGIN", 1, 2, "COMMIT", "ALTER TABLE t"), "missing or doubled"),
        ((*_GOOD, "BEGIN", 3, "COMMIT"), "missing or doubled"),
        (("BEGIN", 1, "BEGIN", 2, "COMMIT"), "inside a transaction"),
        (("BEGIN", 1, "HEARTBEAT", 2, "COMMIT"), "inside a transaction"),
        ((1, 2, "COMMIT"), "outside a transaction"),
        (("COMMIT",), "without BEGIN"),
        (("BEGIN", 1), "ends inside a transaction"),
    ],
)
def test_wrong_streams(wrong: tuple[str | int, ...], message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        compare(_stream(*wrong), {0}, _EXPECTED)


@pytest.mark.parametrize("change", [lambda r: r[:3] + r[4:], lambda r: [*r[:3], *r[2:]]], ids=["lost", "doubled"])
def test_ids_without_order(change: Callable[[list[Record]], list[Record]]) -> None:
    """Empty transactions hide a lost or doubled heartbeat from the comparison, their ids do not."""
    heartbeats = change(_stream(*["HEARTBEAT"] * 8))
    with pytest.raises(AssertionError):
        compare(heartbeats, {0}, [])
