"""The benchmarks' Kafka brokers and measured consumers, in smoke size: all get the same records. No speed is judged."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bench.harness import run_benchmark
from bench.peers import kafka
from bench.peers.embedded import EMBEDDED, Embedded
from bench.registry import BENCHMARKS

pytestmark = pytest.mark.interop("kafka-1.1.1")

_CLIENTS = ("raw", "kcat", "Java")
_PEERS: dict[str, tuple[kafka.Release | Embedded, ...]] = {
    "backfill": (),
    "fetch": (kafka.KAFKA_1,),
    "fixture": (kafka.KAFKA_4, *EMBEDDED),
    "memory": kafka.RELEASES,
    "requests": (kafka.KAFKA_1,),
    "restart": (kafka.KAFKA_1,),
    "seek": (kafka.KAFKA_1,),
    "start": kafka.RELEASES,
}


@pytest.mark.parametrize("name", _PEERS)
def test_smoke(name: str, tmp_path: Path) -> None:
    (benchmark,) = (benchmark for benchmark in BENCHMARKS if benchmark.name == name)
    benchmark = replace(benchmark, smoke={**benchmark.smoke, "clients": _CLIENTS})
    expected = [peer.name for peer in _PEERS[name]]
    results = run_benchmark(benchmark, tmp_path, smoke=True, rounds=1, wanted=expected.__contains__)
    assert [result.measure for result in results] == list(benchmark.measures)
    assert all(result.missing == () for result in results)
    beside = [[figure.name for figure in result.peers] for result in results]
    assert expected in beside
    assert all(names in ([], expected) for names in beside)
