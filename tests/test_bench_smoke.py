"""Every benchmark runs in smoke size, both sides agree on the result, and the JSON has its form. No speed is judged.

Peers and clients that are fetched are elsewhere: Kafka's in `tests/interop/test_bench_kafka.py`.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from bench import __main__ as cli
from bench.harness import (
    Benchmark,
    Figure,
    Measure,
    Outcome,
    Prepared,
    ResultMismatchError,
    Side,
    Spread,
    UnavailableError,
    percentile,
    run_benchmark,
)
from bench.peers import mysql_replication
from bench.registry import BENCHMARKS

_FIGURE = {"name": str, "min": float, "median": float, "max": float, "rounds": int}


_SERVERS = {"latency": "mysql97"}
"""The server that a benchmark starts."""

_WITH_A_CLIENT = ("backfill",)
"""Those that do not do without a client which is fetched: in the same place as Kafka."""


def _marked(benchmark: Benchmark) -> Any:
    server = _SERVERS.get(benchmark.name)
    return pytest.param(benchmark, marks=[pytest.mark.server(server)] if server else [], id=benchmark.name)


@pytest.mark.parametrize("benchmark", [_marked(each) for each in BENCHMARKS if each.name not in _WITH_A_CLIENT])
def test_smoke(benchmark: Benchmark, tmp_path: Path) -> None:
    try:
        results = run_benchmark(benchmark, tmp_path, smoke=True, wanted=mysql_replication.NAME.__eq__)
    except UnavailableError as error:
        if os.environ.get("CI") == "true":
            pytest.fail(f"{benchmark.name}: {error}", pytrace=False)
        pytest.skip(f"{benchmark.name}: {error}")
    answered = [result.measure for result in results]
    assert answered
    assert answered == [measure for measure in benchmark.measures if measure in answered]
    for result in results:
        assert len(result.result_hash) == 64
        assert result.binwire is not None
        spread = result.binwire.spread
        assert 0 < spread.min <= spread.median <= spread.max


def test_json_and_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "results.json"
    only = ("--peer", mysql_replication.NAME)
    assert cli.main(["--smoke", "--rounds", "1", *only, "--json", str(path), "capture"]) == 0
    document = json.loads(path.read_text(encoding="utf-8"))
    entry, *_ = document["results"]
    (peer,) = entry["peers"]
    assert (entry["benchmark"], entry["measure"], entry["unit"]) == ("capture", "rows", "rows/s")
    _assert_form(entry["binwire"], _FIGURE)
    _assert_form(peer, {**_FIGURE, "ratio": float})
    assert peer["ratio"] == pytest.approx(entry["binwire"]["median"] / peer["median"])
    assert {"cpu", "cpu_count", "memory_gib", "system"} <= document["machine"].keys()
    assert {"python", "fastavro"} <= document["versions"].keys()
    assert "commit" in document
    shown = capsys.readouterr().out
    assert "rows/s" in shown
    assert "mysql-replication" in shown


def _assert_form(found: dict[str, Any], form: Mapping[str, type]) -> None:
    assert list(found) == list(form)
    for name, kind in form.items():
        assert isinstance(found[name], kind), name


def test_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    names = [line.split()[0] for line in lines]
    of_the_server = ["capture", "backfill", "fetch", "downconversion", "latency", "handoff"]
    of_the_server += ["cold", "requests", "idle", "start", "fixture", "memory"]
    of_the_log = ["append", "read", "seek", "search", "console_load", "restart", "flush"]
    assert names == [*of_the_server, *of_the_log]


def test_unknown_benchmark_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["speed"])
    assert ended.value.code == 2
    assert "there is no benchmark 'speed'; there are capture, backfill, " in capsys.readouterr().err


@pytest.mark.parametrize("rounds", ["0", "-1", "x", "1.5"])
def test_a_number_of_rounds_that_is_none_is_wrong_usage(rounds: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main([f"--rounds={rounds}", "start"])
    assert ended.value.code == 2
    assert f"{rounds!r} is not a number of rounds; write 1 or more" in capsys.readouterr().err


def _made_up(ours: list[tuple[float, str]], theirs: list[tuple[float, str]] | None, **options: Any) -> Benchmark:
    """A benchmark whose runs give these values and hashes, in order."""

    def side(name: str, outcomes: list[tuple[float, str]]) -> Side:
        remaining = iter(outcomes)

        def run() -> Outcome:
            value, result_hash = next(remaining)
            return Outcome({"speed": value}, result_hash)

        return Side(name, run)

    @contextlib.contextmanager
    def prepare(_parameters: Any, _folder: Path) -> Any:
        yield Prepared(side("binwire", ours), side("peer", theirs) if theirs else None)

    measure = Measure("speed", "things/s", **options)
    return Benchmark("made-up", "?", (measure,), {}, {}, prepare)


def test_spread_and_ratio(tmp_path: Path) -> None:
    benchmark = _made_up([(30, "a"), (10, "a"), (20, "a")], [(4, "a"), (2, "a"), (5, "a")])
    (result,) = run_benchmark(benchmark, tmp_path, smoke=True, rounds=3)
    (peer,) = result.peers
    assert result.binwire == Figure("binwire", Spread(10, 20, 30), 3)
    assert peer == Figure("peer", Spread(2, 4, 5), 3)
    assert result.ratio(peer) == 5.0


def test_ratio_where_lower_is_better(tmp_path: Path) -> None:
    benchmark = _made_up([(2, "a")], [(10, "a")], higher_is_better=False)
    (result,) = run_benchmark(benchmark, tmp_path, smoke=True, rounds=1)
    assert [result.ratio(peer) for peer in result.peers] == [5.0]


def test_without_peer(tmp_path: Path) -> None:
    (result,) = run_benchmark(_made_up([(2, "a")], None), tmp_path, smoke=True, rounds=1)
    entry = result.to_json()
    assert entry["peers"] == entry["missing"] == []


@pytest.mark.parametrize(("ours", "theirs"), [([(1, "a"), (1, "b")], None), ([(1, "a")], [(1, "b")])])
def test_different_results_are_no_measurement(ours: Any, theirs: Any, tmp_path: Path) -> None:
    with pytest.raises(ResultMismatchError, match="made-up"):
        run_benchmark(_made_up(ours, theirs), tmp_path, smoke=True, rounds=len(ours))


def test_percentile_is_nearest_rank() -> None:
    values = [15.0, 20.0, 35.0, 40.0, 50.0]
    assert [percentile(values, percent) for percent in (5, 30, 40, 50, 100)] == [15, 20, 20, 35, 50]
    assert percentile([7.0], 99) == 7
