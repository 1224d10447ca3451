"""The peers of the benchmark of capture that read a real server's binlog, in smoke size: each sees every value of it.

No speed is judged.
"""

from __future__ import annotations

import base64
import contextlib
import datetime as dt
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from bench import orders
from bench.capture import BENCHMARK, run_server
from bench.harness import Measure, PeerMissingError, ResultMismatchError, run_benchmark
from bench.peers import canal, debezium, maxwell, reader
from bench.peers.reader import Reading
from bench.shop_server import NEWEST, OLDEST, History, ShopServer, history, shop_server

pytestmark = pytest.mark.interop

_TORTURE = (pytest.mark.torture, pytest.mark.timeout(600))
_TRANSACTIONS, _ROWS = 4, 7
_COLUMNS = tuple(orders.order(0))
_EPOCH = dt.datetime.fromtimestamp(0, dt.UTC).replace(tzinfo=None)
_DUMP, _STREAM = list(reader.measures(reader.DUMP)), list(reader.measures(reader.STREAM))

Row = dict[str, Any]
Change = tuple[str, Row | None, Row | None]


@contextlib.contextmanager
def _had() -> Iterator[None]:
    try:
        yield
    except PeerMissingError as error:
        if os.environ.get("CI") == "true":
            pytest.fail(str(error), pytrace=False)
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def servers() -> Iterator[Callable[[str], ShopServer]]:
    started: dict[str, ShopServer] = {}
    with contextlib.ExitStack() as stack:

        def get(kind: str) -> ShopServer:
            if kind not in started:
                with _had():
                    started[kind] = stack.enter_context(shop_server(kind, _TRANSACTIONS, _ROWS))
            return started[kind]

        yield get


@pytest.mark.parametrize(
    ("name", "find", "measures"),
    [
        pytest.param(canal.NAME, canal.program, [*_STREAM, *_DUMP], id="canal"),
        pytest.param(debezium.NAME, debezium.class_path, _DUMP, marks=_TORTURE, id="debezium"),
        pytest.param(maxwell.NAME, maxwell.class_path, _DUMP, marks=_TORTURE, id="maxwell"),
    ],
)
def test_smoke(name: str, find: Callable[[], str], measures: list[Measure], tmp_path: Path) -> None:
    with _had():
        find()
    results = run_benchmark(BENCHMARK, tmp_path, smoke=True, rounds=1, wanted=name.__eq__)
    assert [result.missing for result in results] == [()] * len(results)
    assert [result.measure for result in results if result.peers] == measures
    for result in results:
        assert result.binwire is not None
        assert result.binwire.spread.min > 0
        assert all(peer.name == name and peer.spread.min > 0 for peer in result.peers)


def test_canal_sees_every_value(servers: Callable[[str], ShopServer], tmp_path: Path) -> None:
    with _had():
        program = canal.program()
    read = canal.read(program, servers(NEWEST), tmp_path, "-print")
    _assert_all(read, servers(NEWEST).history, _of_canal)


@pytest.mark.torture
@pytest.mark.timeout(600)
def test_debezium_sees_every_value(servers: Callable[[str], ShopServer], tmp_path: Path) -> None:
    with _had():
        jars = debezium.class_path()
    read = debezium.read(jars, servers(NEWEST), tmp_path, "print")
    _assert_all(read, servers(NEWEST).history, _of_debezium)


@pytest.mark.torture
@pytest.mark.timeout(600)
def test_maxwell_sees_every_value(servers: Callable[[str], ShopServer], tmp_path: Path) -> None:
    with _had():
        jars = maxwell.class_path()
    read = maxwell.read(jars, servers(OLDEST), tmp_path, "-Dprint=true")
    _assert_all(read, servers(OLDEST).history, _of_maxwell)


@pytest.mark.server("mysql97")
def test_what_was_not_seen_is_no_measurement(servers: Callable[[str], ShopServer], tmp_path: Path) -> None:
    server = servers(NEWEST)
    more = replace(server, history=replace(server.history, ids=server.history.ids + 1))
    with pytest.raises(ResultMismatchError, match=r"^binwire saw History"):
        run_server(more, tmp_path / "data", reader.DUMP)
    assert run_server(server, tmp_path / "data", reader.DUMP).values.keys() == {measure.name for measure in _DUMP}


def _assert_all(read: Reading, expected: History, change: Callable[[Any], Change]) -> None:
    assert {kind: read.said[kind] for kind in asdict(expected)} == asdict(expected)
    assert [change(json.loads(line)) for line in read.lines[:-1]] == list(_changes())


def _changes() -> Iterator[Change]:
    """What the statements of the shop's server change, in order, as the values that were written."""
    for number in range(_TRANSACTIONS):
        for placed in _placed(number):
            yield "insert", None, placed
        for placed in _placed(number - 1):
            yield "update", placed, orders.paid(placed)
        for placed in _placed(number - 2):
            yield "delete", orders.paid(placed), None


def _placed(number: int) -> Iterator[Row]:
    return map(orders.order, range(number * _ROWS, (number + 1) * _ROWS)) if number >= 0 else iter(())


def test_what_a_binlog_holds_is_what_its_changes_are() -> None:
    changes = list(_changes())
    kinds = [sum(1 for kind, *_ in changes if kind == wanted) for wanted in ("insert", "update", "delete")]
    ids = sum((after or before or {})["id"] for _, before, after in changes)
    assert history(_TRANSACTIONS, _ROWS) == History(*kinds, ids)  # type: ignore[call-arg]
    assert history(1, _ROWS).rows == _ROWS


def _time(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text)


def _instant(text: str) -> dt.datetime:
    """TIMESTAMP, which go-mysql and Maxwell print in the zone of the process."""
    return _time(text).astimezone(dt.UTC)


def _of_canal(line: dict[str, Any]) -> Change:
    rows = [_canal_row(image) for image in line["images"]]
    before, after = {"insert": (None, rows[0]), "update": (rows[0], rows[-1]), "delete": (rows[0], None)}[
        line["action"]
    ]
    return line["action"], before, after


def _canal_row(image: list[Any]) -> Row:
    row = dict(zip(_COLUMNS, image, strict=True))
    # A TEXT is bytes to it, which its JSON has in base64.
    note = row["note"] and base64.b64decode(row["note"]).decode()
    paid_at = row["paid_at"] and _instant(row["paid_at"])
    times = {"placed_at": _time(row["placed_at"]), "paid_at": paid_at}
    return {**row, "amount": Decimal(row["amount"]), "note": note, **times}


def _of_debezium(event: dict[str, Any]) -> Change:
    event = event.get("payload", event)
    kind = {"c": "insert", "u": "update", "d": "delete"}[event["op"]]
    return kind, _debezium_row(event["before"]), _debezium_row(event["after"])


def _debezium_row(row: Row | None) -> Row | None:
    if row is None:
        return None
    amount = Decimal(int.from_bytes(base64.b64decode(row["amount"]), "big", signed=True)) / 100
    placed_at = _EPOCH + dt.timedelta(milliseconds=row["placed_at"])
    return {**row, "amount": amount, "placed_at": placed_at, "paid_at": row["paid_at"] and _time(row["paid_at"])}


def _of_maxwell(change: dict[str, Any]) -> Change:
    data = _maxwell_row(change["data"])
    match change["type"]:
        case "insert":
            return "insert", None, data
        case "delete":
            return "delete", data, None
        case _:
            return "update", _maxwell_row({**change["data"], **change["old"]}), data


def _maxwell_row(row: Row) -> Row:
    times = {"placed_at": _time(row["placed_at"]), "paid_at": row["paid_at"] and _instant(row["paid_at"])}
    return {**row, "amount": Decimal(str(row["amount"])), **times}
