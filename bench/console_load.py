"""What do searches in the console cost a server that captures at full rate and is read meanwhile?

A synthetic server (bench/synthetic_server.py) streams a prepared binlog as fast as it is read to `binwire serve`, and a
client follows the topic, 1 MiB at a time. That is done alone, and beside people who search: one asks for the newest
records without a pause, one for a text that no row has, which no filter helps with and which the process works on for
as long as a call lets it. They ask the REST interface of the same server. Both runs are made one after the other, the
order swaps every time, and every run ends when the client has the last record.

`rate kept` is the rate beside searches as a share of the rate alone, `fetch` how many times as long the 99th percentile
of what a fetch took is, each as the middle of the pairs of runs. `CPU` is what the server's own process used beside
searches for a million rows, in seconds: what others do on the machine hardly touches that.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import shutil
import statistics
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

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
from bench.material import Material, write_binlog
from bench.records import offset_after
from bench.served import TOPIC, ServedFolder
from bench.synthetic_server import SyntheticServer
from bench.usage import cpu_seconds

_CONSOLE: Final = """
[console]
bind = "127.0.0.1:0"
"""
_CHANNEL: Final = "bench"
_QUESTIONS: Final[tuple[dict[str, Any], ...]] = (
    {"limit": 20},
    {"conditions": [{"column": "title", "operator": "contains", "value": "nobody orders this"}], "limit": 20},
)
_MS_PER_S: Final = 1_000
_SEARCH_TIMEOUT_S: Final = 120


@dataclass(frozen=True, slots=True)
class _Run:
    """What one run gave."""

    rows_per_s: float
    fetch_p99_ms: float
    cpu_seconds: float
    searches: int


@contextlib.contextmanager
def _prepare(parameters: Parameters, folder: Path) -> Iterator[Prepared]:
    material = write_binlog(folder / "bench-bin.000001", parameters["transactions"], parameters["rows"])
    yield Prepared(Side("binwire", lambda: _outcome(material, parameters, folder)))


def _outcome(material: Material, parameters: Parameters, folder: Path) -> Outcome:
    runs: dict[bool, list[_Run]] = {False: [], True: []}
    for number in range(parameters["pairs"]):
        for searched in (number % 2 == 1, number % 2 == 0):
            runs[searched].append(_run(material, parameters["files"], folder / "served", searched=searched))
    pairs = list(zip(runs[False], runs[True], strict=True))
    rows = material.rows * parameters["files"]
    result = ResultHash()
    result.add(b"%d" % rows)
    return Outcome(
        {
            "rows, alone": statistics.median(run.rows_per_s for run in runs[False]),
            "rows, beside searches": statistics.median(run.rows_per_s for run in runs[True]),
            "rate kept": statistics.median(100 * beside.rows_per_s / alone.rows_per_s for alone, beside in pairs),
            "fetch p99, alone": statistics.median(run.fetch_p99_ms for run in runs[False]),
            "fetch p99, beside searches": statistics.median(run.fetch_p99_ms for run in runs[True]),
            "fetch": statistics.median(beside.fetch_p99_ms / alone.fetch_p99_ms for alone, beside in pairs),
            "CPU, alone": statistics.median(run.cpu_seconds for run in runs[False]) * 1e6 / rows,
            "CPU, beside searches": statistics.median(run.cpu_seconds for run in runs[True]) * 1e6 / rows,
            "searches": statistics.median(run.searches for run in runs[True]),
        },
        result.hexdigest(),
    )


def _run(material: Material, files: int, folder: Path, *, searched: bool) -> _Run:
    folder.mkdir()
    try:
        with SyntheticServer(material, files=files, held=True) as source:
            server = ServedFolder(folder)
            with server.started(source.url, start="now", more=_CONSOLE), server.logged_in() as client:
                with _searching(server, enough=2 if searched else 0) as searches:
                    source.release()
                    before_s = cpu_seconds(server.pid)
                    begun_s = time.perf_counter()
                    taken_ms = _follow(client, source.rows)
                    took_s = time.perf_counter() - begun_s
                    used_s = cpu_seconds(server.pid) - before_s
                return _Run(source.rows / took_s, percentile(taken_ms, 99), used_s, len(searches))
    finally:
        shutil.rmtree(folder)


def _follow(client: Any, rows: int) -> list[float]:
    """Read until there were as many records as rows; what each fetch that brought something took, in milliseconds."""
    offset, taken_ms = 0, []
    while offset < rows:
        begun_s = time.perf_counter()
        offset = max(offset, offset_after(client.fetch(TOPIC, offset).records))
        taken_ms.append((time.perf_counter() - begun_s) * _MS_PER_S)
    return taken_ms


@contextlib.contextmanager
def _searching(server: ServedFolder, *, enough: int) -> Iterator[list[int]]:
    """People who search, each in a thread of his own; what they were answered with. `enough` 0: nobody."""
    answered: list[int] = []
    failed: list[str] = []
    is_over = threading.Event()
    address = server.address("console")

    def search(question: dict[str, Any]) -> None:
        connection = http.client.HTTPConnection(*address, timeout=_SEARCH_TIMEOUT_S)
        body, headers = json.dumps(question), {"Content-Type": "application/json"}
        while not is_over.is_set():
            connection.request("POST", f"/api/v1/channels/{_CHANNEL}/records/search", body, headers)
            answer = connection.getresponse()
            content = answer.read()
            if answer.status != http.client.OK:
                failed.append(content.decode("utf-8", "replace"))
                return
            answered.append(len(content))
        connection.close()

    threads = [threading.Thread(target=search, args=(question,)) for question in _QUESTIONS[:enough]]
    for thread in threads:
        thread.start()
    try:
        yield answered
    finally:
        is_over.set()
        for thread in threads:
            thread.join()
    if failed:
        raise ResultMismatchError(f"console_load: a search was refused: {failed[0]}")


BENCHMARK: Final = Benchmark(
    "console_load",
    "What do searches in the console cost a server that captures at full rate and is read meanwhile?",
    (
        Measure("rows, alone", "rows/s"),
        Measure("rows, beside searches", "rows/s"),
        Measure("rate kept", "%"),
        Measure("fetch p99, alone", "ms", higher_is_better=False),
        Measure("fetch p99, beside searches", "ms", higher_is_better=False),
        Measure("fetch", "times", higher_is_better=False),
        Measure("CPU, alone", "s per million rows", higher_is_better=False),
        Measure("CPU, beside searches", "s per million rows", higher_is_better=False),
        Measure("searches", "answered in a run"),
    ),
    {"transactions": 10, "rows": 100, "files": 1, "pairs": 1},
    {"transactions": 200, "rows": 1_000, "files": 5, "pairs": 3},
    _prepare,
)
