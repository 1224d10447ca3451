"""The table of README's section "How fast it is", made from the committed results in `bench/results/`.

Owns which figures a reader of the README is shown, and in which words. A benchmark's figures are those of its newest
run in full size, of a commit without changes; one that was never run so is left out. Machine and commits stand below.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bench.harness import Figure, Result
from bench.report import number, times
from bench.results import DIRECTORY, ResultFile, newest


@dataclass(frozen=True)
class Headline:
    """A row: what is asked, and which measures of which benchmark answer it, from best to worst."""

    question: str
    benchmark: str
    measures: tuple[str, ...]


HEADLINES = (
    Headline("binlog file → log, an order table of 11 columns", "capture", ("rows",)),
    Headline("a server's binlog → log, from a server without limits", "capture", ("stream",)),
    Headline("MySQL's binlog → log", "capture", ("dump",)),
    Headline("binlog → log → a librdkafka consumer, all on this machine", "backfill", ("rows",)),
    Headline("log → one client that only reads the socket", "fetch", ("throughput, raw × 1",)),
    Headline("log → kcat, 1 consumer and 20", "fetch", ("throughput, kcat × 1", "throughput, kcat × 20")),
    Headline("log → Java 1.1.1, 1 consumer and 20", "fetch", ("throughput, Java × 1", "throughput, Java × 20")),
    Headline("the server's CPU for that: kcat, 1 consumer and 20", "fetch", ("CPU, kcat × 1", "CPU, kcat × 20")),
    Headline("commit in MySQL → consumer, 100 a second, p50 and p99", "latency", ("p50, 100/s", "p99, 100/s")),
    Headline("the same, 1,000 a second", "latency", ("p50, 1,000/s", "p99, 1,000/s")),
    Headline(
        "the same, beside a backfill", "latency", ("p50, 1,000/s, beside a backfill", "p99, 1,000/s, beside a backfill")
    ),
    Headline("change by call → consumer, p50 and p99", "handoff", ("p50", "p99")),
    Headline("exec → first record fetched by a client that logged in", "start", ("serve",)),
    Headline("a test's broker: exec → first record fetched", "fixture", ("first record",)),
    Headline(
        "a fresh channel (there: a topic) in it, behind 20 ms of rest, and at once; its first row fetched",
        "fixture",
        ("fresh channel, after a rest", "fresh channel", "row in it"),
    ),
    Headline("its private memory with 100 channels", "fixture", ("private memory",)),
    Headline(
        "restart after an orderly end → newest record fetched, over 0.1 and 100 GB",
        "restart",
        ("serve, orderly, 0.1", "serve, orderly, 100"),
    ),
    Headline("the same after a kill", "restart", ("serve, killed, 0.1", "serve, killed, 100")),
    Headline(
        "small fetches, one connection and 1,000", "requests", ("fetches, one connection", "fetches, many connections")
    ),
    Headline(
        "heartbeats, one connection and 1,000",
        "requests",
        ("heartbeats, one connection", "heartbeats, many connections"),
    ),
    Headline("private memory: idle, at full load", "memory", ("idle, private", "full load, private")),
    Headline("private memory of an idle connection", "idle", ("per connection",)),
    Headline(
        "log → a client from before 0.11: converted first, cached",
        "downconversion",
        ("magic 0 of uncompressed, first: throughput", "magic 0 of uncompressed, cached: throughput"),
    ),
    Headline("a seek by time as a client asks it, p50", "seek", ("request p50, small",)),
    Headline(
        "small commits until they are visible, p50: flushed each second, before they are visible",
        "flush",
        ("p50, interval 1 s", "p50, before-visible"),
    ),
)


def speed_table(directory: Path = DIRECTORY) -> str:
    """Markdown."""
    found = newest(directory)
    if not found:
        return "There is no committed result yet; `make bench` writes one."
    lines = ["| question | Binwire | peer | Binwire is better by |", "|---|---|---|---|"]
    shown: list[ResultFile] = []
    for headline in HEADLINES:
        file = found.get(headline.benchmark)
        results = [_result(file, headline.benchmark, name) for name in headline.measures] if file else []
        answered = [result for result in results if result is not None and result.binwire is not None]
        if file is not None and answered:
            lines.append(_row(headline, answered))
            shown.append(file)
    return "\n".join([*lines, "", *_measured_on(shown, found)])


def _row(headline: Headline, results: list[Result]) -> str:
    ours = _values([(result, result.binwire) for result in results])
    names = dict.fromkeys(peer.name for result in results for peer in result.peers)
    peers, ratios = [], []
    for name in names:
        beside = [(result, peer) for result in results for peer in result.peers if peer.name == name]
        peers.append(f"{name}: {_values(list(beside))}")
        ratios.append(", ".join(times(ratio) for result, peer in beside if (ratio := result.ratio(peer)) is not None))
    return f"| {headline.question} | {ours} | {'<br>'.join(peers) or 'none'} | {'<br>'.join(ratios)} |"


def _values(figures: list[tuple[Result, Figure | None]]) -> str:
    """Medians, and the unit once."""
    unit = figures[0][0].measure.unit
    return f"{', '.join(number(figure.spread.median) for _, figure in figures if figure)} {unit}"


def _result(file: ResultFile, benchmark: str, measure: str) -> Result | None:
    found = (result for result in file.results if (result.benchmark, result.measure.name) == (benchmark, measure))
    return next(found, None)


def _measured_on(files: list[ResultFile], found: dict[str, ResultFile]) -> list[str]:
    """A line per machine and commit, and which benchmarks it is for, where there is more than one."""
    lines = []
    distinct = {file.folder_name(): file for file in files}
    for folder, file in distinct.items():
        machine, context = file.context["machine"], file.context
        benchmarks = [name for name, each in found.items() if each is file]
        which = f"{', '.join(benchmarks)}: " if len(distinct) > 1 else ""
        lines.append(
            f"{which}medians of the rounds in [bench/results/{folder}](bench/results/{folder}/results.md), "
            f"{machine['cpu_count']} cores of an {machine['cpu']}, {machine['system'].partition('-')[0]}, "
            f"Python {context['versions']['python']}, commit {context['commit'][:8]}.  "
        )
    return [line if number < len(lines) - 1 else line.rstrip() for number, line in enumerate(lines)]
