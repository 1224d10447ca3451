"""What becomes of a benchmark's results: files, tables, pictures and comparisons. Nothing is measured here."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench import __main__ as cli
from bench import compare, plots, registry, report, results, running
from bench.harness import (
    Benchmark,
    Figure,
    Measure,
    Outcome,
    Prepared,
    Result,
    ResultMismatchError,
    Side,
    Spread,
    UnavailableError,
)

CONTEXT = {
    "taken": "2026-11-21 17:20 UTC",
    "size": "full",
    "part": "",
    "left_out": {"latency": "there is no MySQL"},
    "machine": {"cpu": "a CPU", "cpu_count": 2, "memory_gib": 4.0, "system": "Linux 6"},
    "versions": {"python": "3.11.7"},
    "commit": "0123456789abcdef",
    "clean": True,
    "accelerator": "active",
}


def _figure(name: str, median: float, spread: float = 1.0, rounds: int = 5) -> Figure:
    return Figure(name, Spread(median - spread, median, median + spread), rounds)


def _result(
    name: str = "rows", *, unit: str = "rows/s", higher: bool = True, ours: float = 100, **peers: float
) -> Result:
    measure = Measure(name, unit, higher_is_better=higher)
    theirs = tuple(_figure(peer, value) for peer, value in peers.items())
    return Result("capture", measure, _figure("binwire", ours), theirs, (), {"rows": 7}, "hash")


RESULTS = (
    _result(ours=1_000, canal=500, debezium=4_000),
    _result("p50", unit="ms", higher=False, ours=2, debezium=400),
    _result("p99", unit="ms", higher=False, ours=9, debezium=900),
    Result("capture", Measure("theirs", "MB"), None, (_figure("canal <2>", 5),), ("no Java",), {"rows": 7}, "hash"),
)
FILE = results.ResultFile(CONTEXT, RESULTS)


def test_a_run_is_written_and_read_back(tmp_path: Path) -> None:
    folder = FILE.write(tmp_path, {"capture": "How fast?"})
    assert folder.name == "2026-11-21-01234567"
    assert sorted(path.name for path in folder.iterdir()) == ["capture.svg", "results.json", "results.md"]
    assert results.ResultFile.read(folder) == FILE
    assert results.ResultFile.read(folder / "results.json") == FILE


def test_a_part_and_a_changed_tree_have_names_of_their_own(tmp_path: Path) -> None:
    file = results.ResultFile({**CONTEXT, "clean": False, "part": "-smoke-start"}, RESULTS)
    assert file.write(tmp_path, {}).name == "2026-11-21-01234567-changed-smoke-start"


def test_markdown_says_what_and_on_what() -> None:
    text = report.markdown(RESULTS, CONTEXT, {"capture": "How fast?"}, {"capture": "capture.svg"})
    assert "a CPU, 2 CPUs, 4.0 GiB, Linux 6; python 3.11.7; commit 0123456789abcdef\n" in text
    assert "- latency is left out: there is no MySQL\n" in text
    assert "## capture\n\nHow fast?\n\n![capture](capture.svg)\n" in text
    assert "| rows | 1,000 rows/s (999 … 1,001) | canal: 500 rows/s (499 … 501) | 2.0 × |\n" in text
    assert "| rows | 1,000 rows/s (999 … 1,001) | debezium: 4,000 rows/s (3,999 … 4,001) | 0.25 × |\n" in text
    assert "| theirs | no answer | canal <2>: 5 MB (4 … 6) |  |\n" in text
    assert "Parameters: rows 7." in text


def test_a_picture_has_a_bar_per_side_and_a_point_per_percentile() -> None:
    tree = ET.fromstring(plots.picture(RESULTS))
    space = "{http://www.w3.org/2000/svg}"
    bars = [(bar.get("class"), float(bar.get("width", ""))) for bar in tree.iter(f"{space}rect")]
    assert [style for style, _ in bars] == ["ours", "theirs", "theirs", "theirs"]
    assert bars[0][1] == pytest.approx(bars[1][1] * 2, rel=0.01)
    points = [(point.get("class"), float(point.get("cx", ""))) for point in tree.iter(f"{space}circle")]
    assert [style for style, _ in points] == ["ours", "ours", "theirs", "theirs"]
    assert [x for _, x in points] == sorted(x for _, x in points)
    texts = [text.text for text in tree.iter(f"{space}text")]
    assert {"rows (rows/s, more is better)", "p50, p99 (ms, logarithmic, less is better)", "canal <2>"} <= {*texts}
    width = float(tree.get("width", ""))
    assert all(float(bar.get("x", "")) + float(bar.get("width", "")) < width for bar in tree.iter(f"{space}rect"))


def test_a_picture_of_nothing_but_zeros_is_one() -> None:
    flat = [_result(ours=0), _result("p50", unit="ms", ours=0), _result("p99", unit="ms", ours=0)]
    assert ET.fromstring(plots.picture(flat)) is not None


def test_the_newest_full_run_without_changes_counts_for_each_benchmark(tmp_path: Path) -> None:
    def write(taken: str, name: str, **context: Any) -> results.ResultFile:
        file = results.ResultFile({**CONTEXT, "taken": taken, **context}, (_renamed(name),))
        file.write(tmp_path, {})
        return file

    def _renamed(name: str) -> Result:
        return (
            results.ResultFile.read(FILE.write(tmp_path / "other", {}))
            .results[0]
            .__class__(name, Measure("rows", "rows/s"), _figure("binwire", 1), (), (), {}, "")
        )

    write("2026-01-01 10:00 UTC", "capture")
    newer = write("2026-01-02 10:00 UTC", "capture")
    start = write("2026-01-01 11:00 UTC", "start", part="-start")
    write("2026-01-03 10:00 UTC", "capture", clean=False)
    write("2026-01-04 10:00 UTC", "capture", size="quick", part="-quick")
    assert results.newest(tmp_path) == {"capture": newer, "start": start}


# --- comparisons --------------------------------------------------------------------------------------------------


def _written(tmp_path: Path, name: str, *entries: Result, **context: Any) -> str:
    path = tmp_path / name
    path.write_text(results.ResultFile({**CONTEXT, **context}, entries).to_json(), encoding="utf-8")
    return str(path)


def test_two_files_are_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a = _written(tmp_path, "a.json", _result(ours=100), _result("p50", unit="ms", higher=False, ours=10))
    b = _written(tmp_path, "b.json", _result(ours=300), _result("p50", unit="ms", higher=False, ours=9))
    assert cli.main(["--compare", a, b]) == 0
    rows, p50 = capsys.readouterr().out.splitlines()[-2:]
    assert rows.split()[-5:] == ["3.0", "×", "ranges", "are", "apart"]
    assert p50.split()[-4:] == ["1.11", "×", "ranges", "overlap"]


def test_other_parameters_and_machines_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = Result("capture", Measure("rows", "rows/s"), _figure("binwire", 1), (), (), {"rows": 8}, "hash")
    a, b = _written(tmp_path, "a.json", _result()), _written(tmp_path, "b.json", other, machine={"cpu": "another"})
    assert cli.main(["--compare", a, b]) == 0
    shown = capsys.readouterr().out
    assert "other parameters" in shown
    assert "×" not in shown
    assert "The machines differ" in shown


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "b.json' is not; give two results, or two commits"),
        ("{", "is not JSON"),
        ("{}", "has not the form of a result"),
        ("[]", "has not the form of a result"),
        ('{"results": [{"benchmark": "capture"}]}', "has not the form of a result"),
        ('{"results": [{"benchmark": [], "measure": "rows", "unit": "MB/s"}]}', "has not the form of a result"),
        ('{"results": []}', "have no measure in common"),
    ],
)
def test_what_cannot_be_compared_is_one_sentence(
    content: str | None, sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad = _written(tmp_path, "a.json", _result()), tmp_path / "b.json"
    if content is not None:
        bad.write_text(content, encoding="utf-8")
    assert cli.main(["--compare", good, str(bad)]) == cli.WRONG_USAGE
    said = capsys.readouterr().err
    assert said.startswith("binwire bench: ")
    assert sentence in said
    assert said.count("\n") == 1


def test_a_figure_that_is_no_number_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good, bad = _written(tmp_path, "a.json", _result()), tmp_path / "b.json"
    document = json.loads(Path(good).read_text(encoding="utf-8"))
    document["results"][0]["binwire"]["median"] = "abc"
    bad.write_text(json.dumps(document), encoding="utf-8")
    assert cli.main(["--compare", good, str(bad)]) == cli.WRONG_USAGE
    assert "has not the form of a result" in capsys.readouterr().err


def test_commits_run_in_turns_from_work_trees_that_are_gone_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A repository of two commits whose benchmarks are a script; the second finds twice as much."""
    monkeypatch.setattr(compare, "ROOT", tmp_path)
    order = tmp_path / "order"

    def git(*arguments: str) -> None:
        command = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@example.org", *arguments]
        subprocess.run(command, check=True, capture_output=True)

    def commit(found: int) -> None:
        document = json.loads(_file_with(_result(ours=found, peer=1)))
        (tmp_path / "bench" / "__main__.py").write_text(
            "import pathlib, sys\n"
            f"with open({str(order)!r}, 'a') as file: file.write({str(found)!r} + ' ')\n"
            "pathlib.Path(sys.argv[sys.argv.index('--json') + 1])"
            f".write_text({json.dumps(document)!r})\n",
            encoding="utf-8",
        )
        git("add", "-A", "bench")
        git("commit", "-m", "x")
        git("tag", f"found-{found}")

    git("init", "-q")
    (tmp_path / "bench").mkdir()
    (tmp_path / "bench" / "__init__.py").touch()
    commit(100)
    commit(200)
    shown = compare.compare("found-100", "found-200", names=["capture"], rounds=3)
    assert "2.0 ×" in shown
    assert order.read_text().split() == ["100", "200", "200", "100", "100", "200"]
    listed = subprocess.run(
        ["git", "-C", str(tmp_path), "worktree", "list"], capture_output=True, text=True, check=True
    )
    assert listed.stdout.count("\n") == 1
    with pytest.raises(compare.CompareError, match=r"^'HEAD~9' is neither"):
        compare.compare("HEAD~9", "HEAD")


def _file_with(*entries: Result) -> str:
    return results.ResultFile(CONTEXT, entries).to_json()


def test_the_commits_of_a_repository_that_it_is_installed_in_are_not_meant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    monkeypatch.setattr(compare, "ROOT", tmp_path / "site-packages")
    with pytest.raises(compare.CompareError, match="commits are compared in a checkout, which this is not"):
        compare.compare("HEAD", "HEAD")


def test_what_an_old_commit_writes_is_understood() -> None:
    old = {"benchmark": "idle", "measure": "m", "unit": "KiB", "binwire": {"min": 1.0, "median": 2.0, "max": 3.0}}
    result = compare._result_of_a_list({**old, "parameters": {"n": 1}, "hash": "x", "peer": None})
    assert result.binwire == Figure("binwire", Spread(1, 2, 3), 1)
    assert not result.measure.higher_is_better


# --- the command line ---------------------------------------------------------------------------------------------


def _benchmark(name: str, error: Exception | None = None) -> Benchmark:
    @contextlib.contextmanager
    def prepare(_parameters: Any, _folder: Path) -> Iterator[Prepared]:
        if error is not None:
            raise error
        yield Prepared(
            Side("binwire", lambda: Outcome({"speed": 2.0}, "h")),
            Side("Kafka 4", lambda: Outcome({"speed": 1.0}, "h")),
            Side("canal", lambda: Outcome({"speed": 1.0}, "h")),
            versions={"MySQL": "9.7"},
        )

    return Benchmark(name, "?", (Measure("speed", "things/s"),), {"n": 1}, {"n": 2}, prepare)


@pytest.fixture
def made_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Benchmarks of which one works; where results go untold."""
    found = (
        _benchmark("works"),
        _benchmark("lacks", UnavailableError("there is no server")),
        _benchmark("breaks", RuntimeError("the server ended")),
        _benchmark("lies", ResultMismatchError("benchmark lies: a produced 1 where b produced 2")),
    )
    for module in (registry, running, cli):
        monkeypatch.setattr(module, "BENCHMARKS", found)
    monkeypatch.setattr(cli, "DIRECTORY", tmp_path / "own")
    return tmp_path / "own"


def test_one_that_fails_keeps_nobody_else_from_being_measured(
    made_up: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["--rounds", "1"]) == cli.WRONG_RESULT
    shown = capsys.readouterr()
    assert "works" in shown.out
    assert "binwire bench: lacks is left out: there is no server\n" in shown.err
    assert "binwire bench: benchmark lies: a produced 1 where b produced 2\n" in shown.err
    assert "binwire bench: benchmark breaks failed: the server ended\n" in shown.err
    [folder] = made_up.iterdir()
    read = results.ResultFile.read(folder)
    assert read.context["left_out"].keys() == {"lacks", "breaks", "lies"}
    assert read.results[0].parameters == {"n": 2, "MySQL": "9.7"}


def test_where_results_go(made_up: Path, tmp_path: Path) -> None:
    assert cli.main(["--smoke", "works"]) == 0
    assert cli.main(["--smoke", "works", "--results", str(tmp_path / "told")]) == 0
    [told] = (tmp_path / "told").iterdir()
    assert told.name.endswith("-smoke-works")
    assert not made_up.exists()


def test_a_folder_that_cannot_be_written_is_one_sentence(
    made_up: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    assert cli.main(["works", "--rounds", "1", "--results", str(tmp_path / "file")]) == cli.WRONG_RESULT
    assert "the results cannot be written" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "peers"),
    [([], ["Kafka 4", "canal"]), (["--peer", "kafka"], ["Kafka 4"]), (["--no-peer"], []), (["--no-peer", "works"], [])],
)
@pytest.mark.usefixtures("made_up")
def test_peers_are_chosen_by_name(options: list[str], peers: list[str], tmp_path: Path) -> None:
    assert cli.main(["--smoke", "works", "--json", str(tmp_path / "x.json"), *options]) == 0
    (result,) = results.ResultFile.read(tmp_path / "x.json").results
    assert [peer.name for peer in result.peers] == peers


def test_quick_is_python_alone_and_of_benchmarks_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    plans: list[running.Plan] = []

    def run(plan: running.Plan) -> running.Run:
        plans.append(plan)
        return running.Run(FILE, {})

    monkeypatch.setattr(cli, "run", run)
    assert cli.main(["--quick"]) == 0
    (plan,) = plans
    assert {benchmark.name for benchmark in plan.benchmarks} == {*registry.QUICK}
    assert (plan.size, plan.part, plan.wanted("any")) == ("quick", "-quick", False)
    known = {benchmark.name: benchmark.full.keys() for benchmark in registry.BENCHMARKS}
    assert all(changes.keys() <= known[name] for name, changes in registry.QUICK.items())


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--quick", "--smoke"], "--smoke and --quick are two sizes; choose one"),
        (["--no-peer", "--peer", "kafka"], "--no-peer and --peer exclude each other; choose one"),
        (["--quick", "append", "seek"], "--quick has no size for seek; choose of capture,"),
        (
            ["--json", "/no/such/x.json"],
            "cannot be written: there is no folder /no/such; make it first",
        ),
        (["--json", "/"], "/ is a folder; name a file"),
    ],
)
def test_wrong_usage_is_told_before_anything_runs(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    assert ended.value.code == cli.WRONG_USAGE
    assert sentence in capsys.readouterr().err


@pytest.mark.usefixtures("made_up")
def test_kill_ends_a_run_as_ctrl_c_does(monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.getsignal(signal.SIGTERM)

    def run(plan: running.Plan) -> running.Run:
        signal.raise_signal(signal.SIGTERM)
        raise AssertionError

    monkeypatch.setattr(cli, "run", run)
    with pytest.raises(KeyboardInterrupt):
        cli.main(["works"])
    assert signal.getsignal(signal.SIGTERM) == before
