"""The command line of the benchmarks: ``binwire bench`` and ``python -m bench``.

Owns the registry, one row per benchmark in the order they are run, and the two ways a result leaves: a table for people
and a JSON document. Nothing is measured here.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from bench.append import BENCHMARK as APPEND
from bench.capture import BENCHMARK as CAPTURE
from bench.cold import BENCHMARK as COLD
from bench.downconversion import BENCHMARK as DOWNCONVERSION
from bench.environment import environment
from bench.fetch import BENCHMARK as FETCH
from bench.flush import BENCHMARK as FLUSH
from bench.handoff import BENCHMARK as HANDOFF
from bench.harness import (
    Benchmark,
    Figure,
    Result,
    ResultMismatchError,
    UnavailableError,
    everyone,
    nobody,
    run_benchmark,
)
from bench.idle import BENCHMARK as IDLE
from bench.latency import BENCHMARK as LATENCY
from bench.load import LoadError
from bench.read import BENCHMARK as READ
from bench.requests import BENCHMARK as REQUESTS
from bench.restart import BENCHMARK as RESTART
from bench.seek import BENCHMARK as SEEK
from bench.start import BENCHMARK as START

BENCHMARKS: tuple[Benchmark, ...] = (
    CAPTURE,
    FETCH,
    DOWNCONVERSION,
    LATENCY,
    HANDOFF,
    COLD,
    REQUESTS,
    IDLE,
    START,
    APPEND,
    READ,
    SEEK,
    RESTART,
    FLUSH,
)

_HEADINGS = ("benchmark", "measure", "binwire (min … max)", "peer (min … max)", "ratio")


def main(argv: Sequence[str] | None = None) -> int:
    """Run or list benchmarks; return the exit status: 0 done, 1 a result was wrong, 2 wrong usage."""
    options = _parser().parse_args(argv)
    if options.list:
        for benchmark in BENCHMARKS:
            print(f"{benchmark.name:<14} {benchmark.question}")
        return 0
    try:
        results = run(
            options.names, smoke=options.smoke, rounds=options.rounds, wanted=nobody if options.no_peer else everyone
        )
    except (LoadError, ResultMismatchError) as error:
        print(f"binwire bench: {error}", file=sys.stderr)
        return 1
    context = environment()
    print(table(results))
    print(
        f"\n{context['machine']['cpu']}, {context['machine']['cpu_count']} CPUs, {context['machine']['system']}; "
        f"{', '.join(f'{name} {version}' for name, version in context['versions'].items())}; "
        f"commit {context['commit'] or 'unknown'}"
    )
    if options.json:
        document = {**context, "results": [result.to_json() for result in results]}
        content = json.dumps(document, indent=2, ensure_ascii=False)
        options.json.write_text(content + "\n", encoding="utf-8")
    return 0


def run(
    names: Sequence[str] = (),
    *,
    smoke: bool = False,
    rounds: int | None = None,
    wanted: Callable[[str], bool] = everyone,
) -> list[Result]:
    """Run the named benchmarks, or all, and return their results. Raises ResultMismatchError."""
    results: list[Result] = []
    for benchmark in BENCHMARKS:
        if names and benchmark.name not in names:
            continue
        with tempfile.TemporaryDirectory(prefix=f"binwire-bench-{benchmark.name}-") as folder:
            try:
                results += run_benchmark(
                    benchmark, Path(folder), smoke=smoke, rounds=rounds, wanted=wanted, progress=_progress
                )
            except UnavailableError as error:
                print(f"binwire bench: {benchmark.name} is left out: {error}", file=sys.stderr)
    return results


def table(results: Sequence[Result]) -> str:
    """The results as text, one line per measure and peer, columns aligned."""
    rows = [_HEADINGS, *(row for result in results for row in _rows(result))]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADINGS))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines)


def _rows(result: Result) -> Iterator[tuple[str, str, str, str, str]]:
    """One per peer that answers or is missing; one where there is none."""
    unit, head = result.measure.unit, (result.benchmark, result.measure.name)
    ours = _figure(result.binwire, unit) if result.binwire else "no answer"
    for peer in result.peers:
        ratio = result.ratio(peer)
        rounds = "" if result.binwire is None or peer.rounds == result.binwire.rounds else f", {peer.rounds} rounds"
        yield *head, ours, f"{peer.name}: {_figure(peer, unit)}{rounds}", "" if ratio is None else f"{ratio:.1f} ×"
    for reason in result.missing:
        yield *head, ours, f"no peer: {reason}", ""
    if not result.peers and not result.missing:
        yield *head, ours, "no peer", ""


def _figure(figure: Figure, unit: str) -> str:
    spread = figure.spread
    return f"{_number(spread.median)} {unit} ({_number(spread.min)} … {_number(spread.max)})"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _progress(sentence: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\x1b[K{sentence}", end="", file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="binwire bench", description="Measure Binwire, and a peer where one exists.")
    parser.add_argument(
        "names",
        nargs="*",
        type=_benchmark,
        metavar="NAME",
        help=f"what to measure, of {_names()} (default: all)",
    )
    parser.add_argument("--list", action="store_true", help="list the benchmarks and the question each answers")
    parser.add_argument("--smoke", action="store_true", help="small sizes, two rounds: whether it works, not how fast")
    parser.add_argument("--rounds", type=_rounds, metavar="N", help="how often each side runs (default: 5, smoke 2)")
    parser.add_argument("--no-peer", action="store_true", help="measure Binwire alone")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results to FILE as JSON")
    return parser


def _names() -> str:
    return ", ".join(benchmark.name for benchmark in BENCHMARKS)


def _benchmark(text: str) -> str:
    if all(benchmark.name != text for benchmark in BENCHMARKS):
        raise argparse.ArgumentTypeError(f"there is no benchmark {text!r}; there are {_names()}")
    return text


def _rounds(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of rounds; write 1 or more")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
