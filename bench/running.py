"""Runs benchmarks one after the other and gathers what they gave.

One that cannot be run here, or whose result was wrong, is left out and named with its reason; the others go on.
"""

from __future__ import annotations

import datetime as dt
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bench.environment import environment
from bench.harness import Benchmark, Result, ResultMismatchError, UnavailableError, everyone, run_benchmark
from bench.load import LoadError
from bench.registry import BENCHMARKS, QUICK, QUICK_ROUNDS
from bench.results import ResultFile


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be run: these benchmarks (all when there is no name), in this size, with these peers."""

    names: Sequence[str] = ()
    smoke: bool = False
    quick: bool = False
    rounds: int | None = None
    wanted: Callable[[str], bool] = everyone

    @property
    def benchmarks(self) -> tuple[Benchmark, ...]:
        chosen = self.names or ([*QUICK] if self.quick else [benchmark.name for benchmark in BENCHMARKS])
        return tuple(benchmark for benchmark in BENCHMARKS if benchmark.name in chosen)

    @property
    def size(self) -> str:
        return "quick" if self.quick else "smoke" if self.smoke else "full"

    @property
    def part(self) -> str:
        """What names the result of less than everything."""
        size = "" if self.size == "full" else f"-{self.size}"
        return size + "".join(f"-{name}" for name in dict.fromkeys(self.names))


@dataclass(frozen=True, slots=True)
class Run:
    """What a run gave; `wrong` are the benchmarks whose sides did not agree, or that failed, with the sentence."""

    file: ResultFile
    wrong: dict[str, str]


def run(plan: Plan) -> Run:
    """Run what is planned; nothing is raised for what is left out or wrong."""
    results: list[Result] = []
    left_out: dict[str, str] = {}
    wrong: dict[str, str] = {}
    taken = dt.datetime.now(dt.UTC)
    context = environment()  # before: a commit made meanwhile is not what was measured
    for benchmark in plan.benchmarks:
        try:
            results += _run(benchmark, plan)
        except UnavailableError as error:
            left_out[benchmark.name] = str(error)
        except (LoadError, ResultMismatchError) as error:
            wrong[benchmark.name] = str(error)
        except Exception as error:
            # A defect, or a process that died: an hour's figures of the others are not lost for it.
            traceback.print_exc()
            wrong[benchmark.name] = f"benchmark {benchmark.name} failed: {error}"
    progress("")
    context |= {
        "taken": f"{taken:%Y-%m-%d %H:%M} UTC",
        "size": plan.size,
        "part": plan.part,
        "left_out": left_out | wrong,
    }
    return Run(ResultFile(context, tuple(results)), wrong)


def _run(benchmark: Benchmark, plan: Plan) -> list[Result]:
    rounds = plan.rounds or (QUICK_ROUNDS if plan.quick else None)
    if plan.quick:
        benchmark = replace(benchmark, full={**benchmark.full, **QUICK.get(benchmark.name, {})})
    with tempfile.TemporaryDirectory(prefix=f"binwire-bench-{benchmark.name}-") as folder:
        return run_benchmark(
            benchmark, Path(folder), smoke=plan.smoke, rounds=rounds, wanted=plan.wanted, progress=progress
        )


def progress(sentence: str) -> None:
    """Show what is going on, where somebody looks."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{sentence}", end="", file=sys.stderr, flush=True)
