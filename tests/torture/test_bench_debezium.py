"""Debezium Server, in both of its settings, answers the benchmark that it is the peer of, and ends with it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from bench.harness import run_benchmark
from bench.latency import BENCHMARK, PACES
from bench.peers import debezium_server

pytestmark = [pytest.mark.torture, pytest.mark.server("mysql97")]

_SETTINGS = (debezium_server.DEFAULT, debezium_server.TUNED)


def test_it_answers_in_both_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[subprocess.Popen[bytes]] = []
    enter = debezium_server.DebeziumServer.__enter__

    def noted(server: debezium_server.DebeziumServer) -> debezium_server.DebeziumServer:
        entered = enter(server)
        started.append(entered.process)
        return entered

    monkeypatch.setattr(debezium_server.DebeziumServer, "__enter__", noted)
    results = run_benchmark(BENCHMARK, tmp_path, smoke=True, rounds=1)
    missing = [reason for result in results for reason in result.missing]
    if missing and os.environ.get("CI") != "true":
        pytest.skip(missing[0])
    by_name = {result.measure.name: [peer.name for peer in result.peers] for result in results}
    for pace in PACES:
        assert by_name[f"p99, {pace}"] == [settings.name for settings in _SETTINGS]
    assert [process.poll() is None for process in started] == [False] * len(_SETTINGS)
