"""What the benchmark of capture says of peers that cannot be had, and of a reader that failed or saw something else."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from bench import shop_server as servers
from bench.capture import BENCHMARK
from bench.harness import PeerMissingError, ResultMismatchError, run_benchmark
from bench.peers import canal, debezium, java_program, maxwell, reader
from bench.peers.reader import Reading
from bench.shop_server import history
from tests.interop import go_clients, java_clients

PROGRAMS = pytest.mark.parametrize(
    "find", [canal.program, debezium.class_path, maxwell.class_path], ids=["canal", "debezium", "maxwell"]
)


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """All the programs there are, and where clients are installed: empty."""
    programs = tmp_path / "programs"
    programs.mkdir()
    monkeypatch.setenv("PATH", str(programs))
    for module in (go_clients, java_clients):
        monkeypatch.setattr(module, "CLIENTS_DIRECTORY", tmp_path / "clients")
    return programs


def _say(tools: Path, *names: str, sentence: str) -> None:
    """Have programs that say something and fail, except when they are asked for their version."""
    for name in names:
        path = tools / name
        path.write_text(f"#!/bin/sh\n[ \"$1\" = version ] || {{ echo '{sentence}' >&2; exit 1; }}\n", encoding="utf-8")
        path.chmod(0o755)


@PROGRAMS
def test_without_its_tools_a_peer_is_missing_with_a_sentence(find: Callable[[], str], tools: Path) -> None:
    with pytest.raises(PeerMissingError, match=r"cannot be had: (go|java) is not on the PATH: install [^\n]*$"):
        find()


@PROGRAMS
def test_without_a_registry_a_peer_is_missing_with_a_sentence(find: Callable[[], str], tools: Path) -> None:
    _say(tools, "go", "java", "javac", "mvn", sentence="[ERROR] no route to host")
    with pytest.raises(
        PeerMissingError, match=r"cannot be had: [^\n]*(Maven|go build)[^\n]*: \[ERROR\] no route to host$"
    ):
        find()


@PROGRAMS
def test_outside_a_checkout_a_peer_is_missing_with_a_sentence(
    find: Callable[[], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def require(name: str) -> None:
        raise PeerMissingError(f"{name} is fetched by the tools of a checkout, and this is none")

    for module in (canal, java_program):
        monkeypatch.setattr(module, "require_checkout", require)
    monkeypatch.setattr(servers, "_CHECKOUT", tmp_path)
    with pytest.raises(PeerMissingError, match=r"the tools of a checkout, and this is none$"):
        find()
    with (
        pytest.raises(PeerMissingError, match=r"^a MySQL server is fetched by the tools of a checkout"),
        servers.shop_server(servers.NEWEST, 1, 1),
    ):
        pass


def test_where_no_server_can_be_had_the_file_is_measured_and_the_reason_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(servers, "_CHECKOUT", tmp_path)
    monkeypatch.setattr(java_clients, "program_class_path", lambda *_: "jars")
    results = run_benchmark(BENCHMARK, tmp_path, smoke=True, rounds=1, wanted=debezium.NAME.__eq__)
    assert [result.measure for result in results if result.measure in reader.measures(reader.DUMP)] == []
    assert [result.measure for result in results][-3:] == list(reader.measures(reader.STREAM))
    for result in results:
        (reason,) = result.missing
        assert reason.startswith("a MySQL server is fetched by the tools of a checkout")


def test_a_reader_that_fails_is_told_with_what_it_printed(tmp_path: Path) -> None:
    failing = ("sh", "-c", "echo 'no such table' >&2; exit 3")
    with pytest.raises(RuntimeError, match="reader ended with status 3:\nno such table"):
        reader.read("reader", failing, tmp_path)
    with pytest.raises(RuntimeError, match="reader ended with status 0"):
        reader.read("reader", ("true",), tmp_path)


def test_a_reader_that_saw_something_else_is_no_measurement(tmp_path: Path) -> None:
    expected = history(3, 5)
    said = {**asdict(expected), "timed_rows": 10, "seconds": 0.5, "cpu_seconds": 0.25}
    read = Reading((json.dumps(said),), 2048)
    assert reader.outcome("reader", read, expected).values == {"dump": 20, "dump-cpu": 25_000, "dump-memory": 2}
    for kind, amount in itertools.product(asdict(expected), (-1, 1)):
        other = replace(expected, **{kind: asdict(expected)[kind] + amount})
        with pytest.raises(ResultMismatchError, match=r"^reader saw History"):
            reader.outcome("reader", read, other)
