"""The line protocol itself, with a client of a few lines: results arrive unchanged, failures are told."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.decoded import Record
from tests.interop.client_process import ClientError, ClientProcess

_PROGRAM = """
import sys
from tests.interop.scenario_loop import emit, emit_record, serve

def records(arguments):
    emit_record(7, 1_700_000_000_000, None, bytes(range(256)))
    emit_record(9, -1, b"", None)
    emit("row", [7, "龙井", None])
    return arguments

def fails(arguments):
    emit_record(1, 2, None, b"x")
    print("what the library logged", file=sys.stderr, flush=True)
    raise ValueError("no such topic")

def hangs(arguments):
    sys.stdin.read()

def ends(arguments):
    sys.exit(3)

serve({"records": records, "fails": fails, "hangs": hangs, "ends": ends})
"""


@pytest.fixture
def process(tmp_path: Path) -> Iterator[ClientProcess]:
    running = ClientProcess((sys.executable, "-c", _PROGRAM), tmp_path / "client")
    yield running
    running.close()


def test_records_rows_and_values(process: ClientProcess) -> None:
    outcome = process.run("records", metadata="1700000000|前半=a", offset=5, deadline_ms=60_000)
    assert outcome.records == [Record(7, 1_700_000_000_000, None, bytes(range(256))), Record(9, -1, b"", None)]
    assert outcome.rows == [[7, "龙井", None]]
    assert outcome.values == {"metadata": "1700000000|前半=a", "offset": "5", "deadline_ms": "60000"}


def test_a_failure_is_told_and_the_next_scenario_runs(process: ClientProcess) -> None:
    with pytest.raises(ClientError, match="fails: ValueError: no such topic") as failure:
        process.run("fails")
    assert "what the library logged" in str(failure.value)
    assert process.run("records").rows == [[7, "龙井", None]]


def test_a_client_that_hangs_is_ended(process: ClientProcess) -> None:
    with pytest.raises(ClientError, match="the client process ended"):
        process.run("hangs", deadline_ms=100)


def test_a_client_that_ends_is_told(process: ClientProcess) -> None:
    with pytest.raises(ClientError, match="the client process ended"):
        process.run("ends")
