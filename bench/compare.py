"""Two results side by side: how many times better the second is, and whether the rounds of both overlap.

Given files, it reads them. Given commits, it checks both out beside this checkout and runs them in turns with this
interpreter, without peers: a process per commit, benchmark and round, the order swapped every round, so that whatever
the machine is doing meanwhile meets both. Ranges that overlap say that more rounds, or a quieter machine, are needed.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from bench.harness import ROUNDS_FULL, ROUNDS_SMOKE, Figure, Measure, Result, Spread
from bench.registry import BENCHMARKS
from bench.report import aligned, span, times
from bench.results import ROOT, ResultFile, ResultFileError
from bench.running import progress

_ERROR_SHOWN: Final = 300
_BUILD: Final = "hatch_build.py"
Results = dict[tuple[str, str], Result]


class CompareError(Exception):
    """What was given cannot be compared; one sentence says why."""


def compare(a: str, b: str, *, names: Sequence[str] = (), smoke: bool = False, rounds: int | None = None) -> str:
    """The comparison as a table. Raises CompareError."""
    if Path(a).exists() and Path(b).exists():
        files = [_read(a), _read(b)]
        machines = {json.dumps(file.context.get("machine"), sort_keys=True) for file in files}
        first, second = (
            {key: result for key, result in _by_name(file.results).items() if not names or key[0] in names}
            for file in files
        )
        note = "" if len(machines) == 1 else "\n\nThe machines differ: the ratios compare them, too."
        return comparison(a, b, first, second) + note
    if not (ROOT / ".git").exists():  # and whatever repository this is installed in is not meant
        raise CompareError(
            f"{a!r} and {b!r} are not both files, and commits are compared in a checkout, which this is not"
        )
    there = [text for text in (a, b) if Path(text).exists()]
    if len(there) == 1 and not _is_revision(there[0]):
        other = b if there == [a] else a
        raise CompareError(f"{there[0]!r} is a file and {other!r} is not; give two results, or two commits")
    revisions = [_revision(text) for text in (a, b)]
    rounds = rounds or (ROUNDS_SMOKE if smoke else ROUNDS_FULL)
    with _checked_out(revisions) as folders:
        values = _run_in_turns(folders, names, smoke=smoke, rounds=rounds)
    return comparison(a, b, *values)


def comparison(a: str, b: str, first: Results, second: Results) -> str:
    """A row per measure that both have. Raises CompareError where there is none."""
    rows: list[Sequence[str]] = [("benchmark", "measure", "A (min … max)", "B (min … max)", "B is better", "")]
    for key, theirs in second.items():
        ours = first.get(key)
        if ours is None or ours.binwire is None or theirs.binwire is None:
            continue
        if any(theirs.parameters.get(name, value) != value for name, value in ours.parameters.items()):
            ratio, verdict = None, "other parameters"
        else:
            ratio = replace(theirs, peers=(ours.binwire,)).ratio(ours.binwire)
            verdict = "ranges overlap" if _overlap(ours.binwire.spread, theirs.binwire.spread) else "ranges are apart"
        unit = theirs.measure.unit
        shown = "" if ratio is None else times(ratio)
        rows.append((*key, span(ours.binwire, unit), span(theirs.binwire, unit), shown, verdict))
    if len(rows) == 1:
        raise CompareError(f"{a} and {b} have no measure in common")
    return f"A  {a}\nB  {b}\n\n{aligned(rows)}"


def _overlap(one: Spread, other: Spread) -> bool:
    return one.min <= other.max and other.min <= one.max


def _by_name(results: Sequence[Result]) -> Results:
    return {(result.benchmark, result.measure.name): result for result in results}


def _read(path: str) -> ResultFile:
    try:
        return ResultFile.read(Path(path))
    except ResultFileError as error:
        raise CompareError(str(error)) from None


# --- commits ------------------------------------------------------------------------------------------------------


def _is_revision(text: str) -> bool:
    return not _rev_parse(text).returncode


def _revision(text: str) -> str:
    """The commit that a name means in this checkout."""
    done = _rev_parse(text)
    if done.returncode:
        raise CompareError(
            f"{text!r} is neither a result that binwire bench wrote nor a commit of this checkout; give two of either"
        )
    return done.stdout.strip()


def _rev_parse(text: str) -> subprocess.CompletedProcess[str]:
    return _git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{text}^{{commit}}")


def _git(*arguments: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=False)
    except OSError as error:
        raise CompareError(f"git, which commits are compared with, cannot be run: {error.strerror}") from None


@contextlib.contextmanager
def _checked_out(revisions: Sequence[str]) -> Iterator[list[Path]]:
    """A work tree per commit, which are gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="binwire-bench-compare-") as folder, contextlib.ExitStack() as stack:
        trees = []
        for number, revision in enumerate(revisions):
            tree = Path(folder) / f"{number}-{revision[:8]}"
            # Before it is there, and twice by force: git locks what it has not finished checking out.
            stack.callback(_git, "worktree", "remove", "--force", "--force", str(tree))
            done = _git("worktree", "add", "--detach", "--quiet", str(tree), revision)
            if done.returncode:
                raise CompareError(f"commit {revision[:8]} cannot be checked out: {_last_line(done.stderr)}")
            if (tree / _BUILD).is_file():
                # Where it cannot be compiled, both run as Python; the build says so itself.
                subprocess.run([sys.executable, _BUILD], cwd=tree, check=False, stdout=subprocess.DEVNULL)
            trees.append(tree)
        yield trees


def _run_in_turns(folders: Sequence[Path], names: Sequence[str], *, smoke: bool, rounds: int) -> list[Results]:
    """Every round in a process of its own; per commit the medians of the rounds, gathered."""
    gathered: list[dict[tuple[str, str], list[Result]]] = [{} for _ in folders]
    turn = list(zip(folders, gathered, strict=True))
    for name in names or [benchmark.name for benchmark in BENCHMARKS]:
        for round_number in range(rounds):
            for folder, results in turn if round_number % 2 == 0 else reversed(turn):
                progress(f"{name}: round {round_number + 1} of {rounds}, {folder.name[2:]}")
                for result in _run_once(folder, name, smoke=smoke):
                    results.setdefault((result.benchmark, result.measure.name), []).append(result)
    progress("")
    return [{key: _together(results) for key, results in each.items()} for each in gathered]


def _run_once(folder: Path, name: str, *, smoke: bool) -> tuple[Result, ...]:
    """One round of one commit; nothing where that has no such benchmark."""
    output = folder.parent / "round.json"
    output.unlink(missing_ok=True)
    command = [sys.executable, "-m", "bench", "--no-peer", "--rounds", "1", "--json", str(output)]
    command += [*(["--smoke"] if smoke else []), name]
    environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": ""}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    _remove_own_results(folder)
    if not output.is_file():
        if "there is no benchmark" in done.stderr:
            return ()
        raise CompareError(f"{name} of commit {folder.name[2:]} failed: {_last_line(done.stderr)}")
    document = json.loads(output.read_text(encoding="utf-8"))
    if isinstance(document, list):
        return tuple(_result_of_a_list(entry) for entry in document)
    return ResultFile.read(output).results


def _remove_own_results(folder: Path) -> None:
    """A commit that writes results by itself has a clean tree again for its next round."""
    subprocess.run(["git", "-C", str(folder), "clean", "-fdq", "bench/results"], capture_output=True, check=False)


def _result_of_a_list(entry: dict[str, object]) -> Result:
    """What `--json` wrote up to version 0.1: a list of measures, without saying which direction is better."""
    spread, unit, parameters = entry["binwire"], str(entry["unit"]), entry["parameters"]
    assert isinstance(spread, dict)
    assert isinstance(parameters, dict)
    measure = Measure(str(entry["measure"]), unit, higher_is_better=unit.endswith("/s"))
    figure = Figure("binwire", Spread(**spread), 1)
    return Result(str(entry["benchmark"]), measure, figure, (), (), parameters, str(entry["hash"]))


def _together(results: Sequence[Result]) -> Result:
    """Rounds of one commit as one result."""
    medians = [result.binwire.spread.median for result in results if result.binwire]
    figure = Figure("binwire", Spread.of(medians), len(medians)) if medians else None
    return replace(results[0], binwire=figure)


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["it said nothing"])[-1][:_ERROR_SHOWN]
