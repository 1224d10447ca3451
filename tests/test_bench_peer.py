"""What the benchmarks do where their peer, or enough open files, cannot be had, and what a peer's bytes are cut to."""

from __future__ import annotations

import contextlib
import functools
import json
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import __main__ as cli
from bench.harness import (
    Benchmark,
    Measure,
    Outcome,
    PeerMissingError,
    Prepared,
    ResultMismatchError,
    Side,
    run_benchmark,
)
from bench.load import LoadError, allow_connections
from bench.peers import kafka
from bench.records import split_batches, whole_batches, without_leader_epochs
from storage.encoding import encode_batch

BATCHES = [encode_batch(offset, [b"value"] * 2, [1, 2]) for offset in (0, 2, 4)]


def test_without_java_there_is_no_peer_and_the_reason_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    @contextlib.contextmanager
    def prepare(_parameters: object, _folder: Path) -> Iterator[Prepared]:
        peer = functools.partial(kafka.side, lambda _: Outcome({}, ""))
        yield Prepared(Side("binwire", lambda: Outcome({"speed": 1.0}, "same")), peer)

    benchmark = Benchmark("made-up", "?", (Measure("speed", "things/s"),), {}, {}, prepare)
    results = run_benchmark(benchmark, tmp_path, smoke=True)
    assert "no peer: java is not on the PATH" in cli.table(results)
    entry = json.loads(json.dumps(results[0].to_json({})))
    assert (entry["peer"], entry["ratio"]) == (None, None)
    assert entry["peer_missing"].startswith("java is not on the PATH")
    (alone,) = run_benchmark(benchmark, tmp_path, smoke=True, with_peer=False)
    assert alone.peer_missing is None


def test_outside_a_checkout_nobody_elses_tests_are_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka, "__file__", str(tmp_path / "bench" / "peers" / "kafka.py"))
    with pytest.raises(PeerMissingError, match="the tools of a checkout, and this is none"):
        kafka.class_path()


def test_a_peer_answers_what_it_can(tmp_path: Path) -> None:
    @contextlib.contextmanager
    def prepare(_parameters: object, _folder: Path) -> Iterator[Prepared]:
        ours = Side("binwire", lambda: Outcome({"both": 2.0, "ours": 1.0}, "a"))
        yield Prepared(ours, Side("peer", lambda: Outcome({"both": 1.0}, "b")), same_result=False)

    measures = (Measure("both", "things/s"), Measure("ours", "things/s"))
    both, alone = run_benchmark(Benchmark("made-up", "?", measures, {}, {}, prepare), tmp_path, smoke=True)
    assert (both.peer_name, both.ratio) == ("peer", 2.0)
    assert (alone.peer_name, alone.peer, alone.ratio) == (None, None, None)


def test_several_peers_are_a_result_each(tmp_path: Path) -> None:
    @contextlib.contextmanager
    def prepare(_parameters: object, _folder: Path) -> Iterator[Prepared]:
        def side(name: str, value: float) -> Side:
            return Side(name, lambda: Outcome({"speed": value}, "same"))

        yield Prepared(side("binwire", 6.0), side("slow", 2.0), other_peers=(side("fast", 12.0),))

    results = run_benchmark(
        Benchmark("made-up", "?", (Measure("speed", "things/s"),), {}, {}, prepare), tmp_path, smoke=True
    )
    assert [(result.peer_name, result.ratio) for result in results] == [("slow", 3.0), ("fast", 0.5)]


def test_every_peer_that_shares_the_result_must_agree(tmp_path: Path) -> None:
    @contextlib.contextmanager
    def prepare(_parameters: object, _folder: Path) -> Iterator[Prepared]:
        def side(name: str, result_hash: str) -> Side:
            return Side(name, lambda: Outcome({"speed": 1.0}, result_hash))

        yield Prepared(side("binwire", "same"), side("agreeing", "same"), other_peers=(side("wrong", "other"),))

    with pytest.raises(ResultMismatchError, match="wrong produced other"):
        run_benchmark(Benchmark("made-up", "?", (Measure("speed", "things/s"),), {}, {}, prepare), tmp_path, smoke=True)


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
