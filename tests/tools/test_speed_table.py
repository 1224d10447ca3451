"""The README's table of speed: it quotes committed results, and nothing that there is not."""

from __future__ import annotations

from pathlib import Path

from bench.harness import Figure, Measure, Result, Spread
from bench.registry import BENCHMARKS
from bench.results import ResultFile
from tests.tools.speed_table import HEADLINES, speed_table


def _figure(name: str, median: float) -> Figure:
    return Figure(name, Spread(median, median, median), 5)


def _file(taken: str, commit: str, *results: Result, part: str = "") -> ResultFile:
    machine = {"cpu": "EPYC", "cpu_count": 2, "memory_gib": 4, "system": "Linux 6.18.1-vm"}
    context = {"taken": taken, "size": "full", "part": part, "clean": True, "commit": commit, "left_out": {}}
    return ResultFile({**context, "machine": machine, "versions": {"python": "3.11.7"}}, results)


def _result(benchmark: str, name: str, unit: str, ours: float, **peers: float) -> Result:
    measure = Measure(name, unit, higher_is_better=unit.endswith("/s"))
    theirs = tuple(_figure(peer, value) for peer, value in peers.items())
    return Result(benchmark, measure, _figure("binwire", ours), theirs, (), {}, "")


def test_every_headline_is_a_measure_that_there_is() -> None:
    there = {(benchmark.name, measure.name) for benchmark in BENCHMARKS for measure in benchmark.measures}
    wanted = {(headline.benchmark, measure) for headline in HEADLINES for measure in headline.measures}
    assert wanted <= there


def test_without_results_it_says_so(tmp_path: Path) -> None:
    assert speed_table(tmp_path).startswith("There is no committed result yet")


def test_rows_quote_the_newest_results_and_where_they_are_from(tmp_path: Path) -> None:
    capture = _result("capture", "rows", "rows/s", 200_000, canal=100_000, debezium=20_000)
    old = _result("handoff", "p50", "ms", 9)
    _file("2026-01-01 10:00 UTC", "aaaaaaaaaa", capture, old).write(tmp_path, {})
    p50, p99 = _result("handoff", "p50", "ms", 0.5), _result("handoff", "p99", "ms", 1.25, canal=25)
    _file("2026-01-02 10:00 UTC", "bbbbbbbbbb", p50, p99, part="-handoff").write(tmp_path, {})
    lines = speed_table(tmp_path).splitlines()
    question = "binlog file → log, an order table of 11 columns"
    assert (
        lines[2]
        == f"| {question} | 200,000 rows/s | canal: 100,000 rows/s<br>debezium: 20,000 rows/s | 2.0 ×<br>10.0 × |"
    )
    assert lines[3] == "| change by call → consumer, p50 and p99 | 0.5, 1.25 ms | canal: 25 ms | 20.0 × |"
    assert lines[4] == ""
    assert lines[5].startswith("capture: medians of the rounds in [bench/results/2026-01-01-aaaaaaaa](bench/results/")
    assert lines[5].endswith(" 2 cores of an EPYC, Linux 6.18.1, Python 3.11.7, commit aaaaaaaa.  ")
    assert lines[6].startswith("handoff: medians of the rounds in [bench/results/2026-01-02-bbbbbbbb-handoff]")
    assert len(lines) == 7
