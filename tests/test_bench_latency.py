"""What `bench/latency.py` takes for an answer, without a server: every order once and in order, or none."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from bench import __main__ as cli
from bench import database as database_module
from bench import orders
from bench.client import Fetched
from bench.database import STAMP_COLUMN, last_coupon
from bench.harness import ResultMismatchError
from bench.latency import Case, Follower, Order
from bench.peers import debezium_server
from storage.encoding import encode_batch

_NUMBERS = range(100, 103)


class _Database:
    def next_numbers(self, count: int) -> range:
        assert count == len(_NUMBERS)
        return _NUMBERS


class _Writer:
    def __init__(self) -> None:
        self.sent: list[dict[str, int]] = []

    def send(self, **request: int) -> None:
        self.sent.append(request)

    def result(self) -> list[int]:
        return [2_000_000 * (number + 1) for number in range(len(_NUMBERS))]


class _Client:
    """Answers with a batch of one order's number each, then with nothing."""

    def __init__(self, numbers: Iterable[int]) -> None:
        self._numbers = list(numbers)
        self._answers: list[bytes] = []
        for offset, number in enumerate(self._numbers):
            row = {"number": number, "coupon": last_coupon(number) if number == _NUMBERS[-1] else None}
            self._answers += [b"", bytes(encode_batch(offset, [json.dumps(row).encode()], [0]))]

    def fetch(self, topic: str, offset: int, **_: int) -> Fetched:
        assert topic == "orders"
        answer = self._answers.pop(0)
        if answer:
            assert offset == len(self._numbers) - len(self._answers) // 2 - 1
        return Fetched(0, memoryview(answer))


def _decode(batches: bytes) -> Iterable[Order]:
    from bench.records import record_values

    for value in record_values(batches):
        number = json.loads(value)["number"]
        yield Order(number, 1_000_000, orders.order(number)["title"])


def _followed(numbers: Iterable[int]) -> tuple[Case, _Writer]:
    client: Any = _Client(numbers)
    database: Any = _Database()
    decode: Any = _decode
    writer: Any = _Writer()
    return Follower(client, "orders", database, decode).follow(writer, len(_NUMBERS), 500), writer


def test_orders_are_asked_for_and_received() -> None:
    case, writer = _followed(_NUMBERS)
    assert writer.sent == [{"first": 100, "count": 3, "interval_us": 500}]
    assert [sent_ns for _, sent_ns in case.arrived_and_sent_ns] == [1_000_000] * 3
    assert case.returned_ns == [2_000_000, 4_000_000, 6_000_000]


@pytest.mark.parametrize("numbers", [[100, 102], [101, 100, 102], [100, 100, 101, 102], [99, 100, 101, 102]])
def test_an_order_that_is_missing_doubled_or_out_of_place_is_no_answer(numbers: list[int]) -> None:
    with pytest.raises(ResultMismatchError, match=f"{len(numbers)} orders arrived where 3 were committed"):
        _followed(numbers)


def test_figures_of_a_case() -> None:
    case = Case([(5_000_000, 1_000_000), (9_000_000, 2_000_000)], [1_500_000, 4_000_000])
    assert case.values("fast") == {
        "p50, fast": 4.0,
        "p99, fast": 7.0,
        "max, fast": 7.0,
        "commit p50, fast": 0.5,
        "commit p99, fast": 2.0,
        "commits, fast": 1_000.0,
    }


@pytest.mark.parametrize("wrapped", [True, False], ids=["with schema", "bare"])
def test_orders_in_an_envelope_of_debezium(wrapped: bool) -> None:
    envelope: dict[str, Any] = {"before": None, "after": {"id": 10_000_007, STAMP_COLUMN: "12"}, "op": "c"}
    value = json.dumps({"schema": {}, "payload": envelope} if wrapped else envelope).encode()
    assert list(debezium_server.decode(bytes(encode_batch(0, [value], [0])))) == [envelope["after"]]


def test_without_a_checkout_it_says_why_and_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(database_module, "_CHECKOUT", tmp_path)
    assert cli.main(["--smoke", "--rounds", "1", "latency"]) == 0
    assert "latency is left out: it needs a MySQL server, which is fetched by" in capsys.readouterr().err
