"""What the benchmarks do where their peer, or enough open files, cannot be had, and what a peer's bytes are cut to."""

from __future__ import annotations

import contextlib
import json
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bench import peers
from bench.consumers import Kcat, librdkafka_command
from bench.harness import (
    Benchmark,
    Measure,
    Outcome,
    PeerMissingError,
    Prepared,
    Result,
    ResultMismatchError,
    Side,
    SoughtPeer,
    UnavailableError,
    everyone,
    nobody,
    run_benchmark,
)
from bench.load import LoadError, allow_connections
from bench.peers import kafka
from bench.records import split_batches, whole_batches, without_leader_epochs
from bench.report import table
from bench.usage import cpu_seconds, memory
from storage.encoding import encode_batch

BATCHES = [encode_batch(offset, [b"value"] * 2, [1, 2]) for offset in (0, 2, 4)]


def test_without_java_there_is_no_peer_and_the_reason_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    @contextlib.contextmanager
    def prepare(_parameters: object, _folder: Path) -> Iterator[Prepared]:
        yield Prepared(Side("binwire", lambda: Outcome({"speed": 1.0}, "same")), kafka.side(lambda _: Outcome({}, "")))

    benchmark = Benchmark("made-up", "?", (Measure("speed", "things/s"),), {}, {}, prepare)
    results = run_benchmark(benchmark, tmp_path, smoke=True)
    assert "no peer: java is not on the PATH" in table(results)
    entry = json.loads(json.dumps(results[0].to_json()))
    assert entry["peers"] == []
    assert [reason.startswith("java is not on the PATH") for reason in entry["missing"]] == [True]
    (alone,) = run_benchmark(benchmark, tmp_path, smoke=True, wanted=nobody)
    assert alone.missing == ()


def test_outside_a_checkout_nobody_elses_tests_are_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "__file__", str(tmp_path / "bench" / "peers" / "__init__.py"))
    with pytest.raises(PeerMissingError, match="the tools of a checkout, and this is none"):
        kafka.class_path(kafka.KAFKA_1)
    with pytest.raises(PeerMissingError, match=r"^kcat is fetched by the tools of a checkout"):
        Kcat(tmp_path)
    with pytest.raises(PeerMissingError, match=r"^librdkafka is fetched by the tools of a checkout"):
        librdkafka_command()


def test_a_client_that_cannot_be_had_is_told_with_every_result() -> None:
    @contextlib.contextmanager
    def prepare(_parameters: object, _folder: Path) -> Iterator[Prepared]:
        yield Prepared(Side("binwire", lambda: Outcome({"speed": 1.0}, "same")), missing=["no kcat here"])

    measures = (Measure("speed", "things/s"), Measure("speed by kcat", "things/s"))
    (result,) = run_benchmark(Benchmark("made-up", "?", measures, {}, {}, prepare), Path(), smoke=True)
    assert (result.measure.name, result.missing) == ("speed", ("no kcat here",))


def test_cpu_and_memory_of_another_process_are_seen() -> None:
    program = "import sys; block = b'x' * 50_000_000; sum(range(10**6)); print('there', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        ["sh", "-c", f'"{sys.executable}" -c "{program}"; true'], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"there\n"
        assert memory(process.pid).anonymous > 50_000_000 // 1024
        assert memory(process.pid).file > 0
        assert cpu_seconds(process.pid) > 0
        with pytest.raises(UnavailableError, match="does not say how much memory process 0 has"):
            memory(0)


def _run(*sides: Side | SoughtPeer, rounds: int = 2, wanted: Callable[[str], bool] = everyone) -> list[Result]:
    """A benchmark of `both` and `one` with these sides, the first of them ours."""

    @contextlib.contextmanager
    def prepare(_parameters: object, _folder: Path) -> Iterator[Prepared]:
        yield Prepared(*sides)  # type: ignore[arg-type]

    measures = (Measure("both", "things/s"), Measure("one", "things/s"), Measure("none", "things/s"))
    benchmark = Benchmark("made-up", "?", measures, {}, {}, prepare)
    return run_benchmark(benchmark, Path(), smoke=True, rounds=rounds, wanted=wanted)


def _side(name: str, result_hash: str = "same", /, **values: float) -> Side:
    return Side(name, lambda: Outcome(values, result_hash))


def test_a_side_answers_what_it_can() -> None:
    ours, theirs = _side("binwire", both=2.0), _side("peer", both=1.0, one=3.0)
    both, one = _run(ours, theirs)
    assert [(peer.name, both.ratio(peer)) for peer in both.peers] == [("peer", 2.0)]
    assert one.binwire is None
    assert [(peer.name, one.ratio(peer)) for peer in one.peers] == [("peer", None)]
    assert "no answer" in table([one])
    (alone,) = _run(_side("binwire", one=1.0), _side("peer", both=1.0))[1:]
    assert (alone.peers, alone.missing) == ((), ())
    assert json.loads(json.dumps(one.to_json()))["binwire"] is None


def test_several_peers_stand_beside_one_measure() -> None:
    (result,) = _run(_side("binwire", both=6.0), _side("slow", both=2.0), _side("fast", both=12.0))
    assert [(peer.name, result.ratio(peer)) for peer in result.peers] == [("slow", 3.0), ("fast", 0.5)]


def test_only_the_wanted_peers_are_looked_for() -> None:
    def find() -> Side:
        raise AssertionError

    (result,) = _run(_side("binwire", both=1.0), SoughtPeer("b", find), _side("c", both=1.0), wanted="c".__eq__)
    assert [peer.name for peer in result.peers] == ["c"]


def test_a_peer_of_fewer_rounds_says_so() -> None:
    runs: list[str] = []

    def side(name: str, rounds: int | None) -> Side:
        def run() -> Outcome:
            runs.append(name)
            return Outcome({"both": 1.0}, "same")

        return Side(name, run, rounds=rounds)

    (result,) = _run(side("binwire", None), side("slow", 2), rounds=4)
    assert runs == ["binwire", "slow", "slow", "binwire", "binwire", "binwire"]
    assert [peer.rounds for peer in result.peers] == [2]
    assert result.to_json()["binwire"]["rounds"] == 4
    assert ", 2 rounds" in table([result])


def test_every_peer_that_shares_the_result_must_agree() -> None:
    ours, agreeing = _side("binwire", both=1.0), _side("agreeing", both=1.0)
    with pytest.raises(ResultMismatchError, match="wrong produced other where binwire produced same"):
        _run(ours, agreeing, _side("wrong", "other", both=1.0))
    apart = Side("apart", lambda: Outcome({"both": 1.0}, "other"), same_result=False)
    assert [len(result.peers) for result in _run(ours, agreeing, apart)] == [2]


def test_the_runs_of_a_peer_that_shares_no_result_must_agree_with_each_other() -> None:
    hashes = iter(("one", "other"))
    apart = Side("apart", lambda: Outcome({"both": 1.0}, next(hashes)), same_result=False)
    with pytest.raises(ResultMismatchError, match="apart produced other where apart produced one"):
        _run(_side("binwire", both=1.0), apart)


def test_many_connections_raise_the_limit_of_open_files_or_say_what_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    limits = [(1024, 4096)]
    monkeypatch.setattr(resource, "getrlimit", lambda _: limits[-1])
    monkeypatch.setattr(resource, "setrlimit", lambda _, each: limits.append(each))
    allow_connections(20)
    assert limits == [(1024, 4096)]
    allow_connections(1000)
    assert limits == [(1024, 4096), (1500, 4096)]
    with pytest.raises(LoadError, match=r"^4000 connections need 4500 open files, and 4096 are all"):
        allow_connections(4000)


@pytest.mark.parametrize("more", [0, 1, 11, 12, 60, 61, len(BATCHES[2]) - 1])
def test_a_batch_that_is_cut_off_does_not_count(more: int) -> None:
    whole = BATCHES[0] + BATCHES[1]
    assert bytes(whole_batches(memoryview(whole + BATCHES[2][:more]))) == whole


def test_batches_are_split_and_compared_without_what_is_the_brokers_own() -> None:
    assert split_batches(b"".join(BATCHES)) == BATCHES
    assert split_batches(b"".join(BATCHES) + bytes(100), before=6) == BATCHES
    assert split_batches(b"".join(BATCHES), before=4) == BATCHES[:2]
    other = bytearray(b"".join(BATCHES))
    other[12:16] = b"\0\0\0\x07"
    assert without_leader_epochs(bytes(other)) == without_leader_epochs(b"".join(BATCHES))
