"""The demo as a newcomer runs it: what it shows, that the printed values work, and how it ends."""

from __future__ import annotations

import itertools
import os
import pty
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import kafka
import pytest

from broker.demo import Connection, kcat_command, python_command
from tests import decoded
from tests.tools.workplace import CHECKOUT

COMMAND = [sys.executable, "-m", "binwire", "demo"]
NAMES = ["dtsConnectIp", "dtsConnectPort", "topic", "sid", "username", "password", "startTimeStamp"]


@pytest.fixture
def temporary(tmp_path) -> dict[str, str]:
    """An environment whose temporary directory is the test's own, so that what is left behind is seen."""
    (tmp_path / "tmp").mkdir()
    return {key: value for key, value in os.environ.items() if key != "NO_COLOR"} | {"TMPDIR": str(tmp_path / "tmp")}


def values(text: str) -> dict[str, str]:
    """The connection values that the demo printed, by name."""
    return dict(re.findall(rf"^  ({'|'.join(NAMES)}) +(\S+)$", text, re.MULTILINE))


def test_so_many_records_and_nothing_left_behind(temporary, tmp_path):
    before = int(time.time())
    done = subprocess.run(
        [*COMMAND, "--records", "45", "--speed", "100"],
        cwd=CHECKOUT, env=temporary, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert list((tmp_path / "tmp").iterdir()) == []
    printed = values(done.stdout)
    assert list(printed) == NAMES
    assert before <= int(printed["startTimeStamp"]) <= time.time()
    shown = re.findall(r"^\d\d:\d\d:\d\d  (INSERT|UPDATE|DELETE|DDL) ", done.stdout, re.MULTILINE)
    assert len(shown) == 45
    assert set(shown) == {"INSERT", "UPDATE", "DELETE", "DDL"}
    assert "\x1b" not in done.stdout
    assert re.search(r"^          status       placed  +≠ paid$", done.stdout, re.MULTILINE)
    assert "龙井茶 250g" in done.stdout


def test_a_terminal_has_colours(temporary):
    main, other = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, "--records", "20", "--speed", "100"],
        cwd=CHECKOUT, env=temporary | {"TERM": "xterm"}, stdin=other, stdout=other, stderr=other,
    )  # fmt: skip
    os.close(other)
    shown = b""
    try:
        while piece := os.read(main, 65536):
            shown += piece
    except OSError:
        pass  # Linux reports the end of a terminal as an error
    os.close(main)
    assert process.wait(60) == 0
    assert b"\x1b[1;32mINSERT" in shown


def test_the_printed_values_are_those_a_consumer_needs(temporary, tmp_path):
    process = subprocess.Popen(COMMAND, cwd=CHECKOUT, env=temporary, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        head = "".join(itertools.takewhile(lambda line: not line.startswith("Changes as"), process.stdout))
        printed = values(head)
        consumer = kafka.KafkaConsumer(
            printed["topic"],
            bootstrap_servers=f"{printed['dtsConnectIp']}:{printed['dtsConnectPort']}",
            group_id=printed["sid"],
            security_protocol="SASL_PLAINTEXT",
            sasl_mechanism="PLAIN",
            sasl_plain_username=f"{printed['username']}-{printed['sid']}",
            sasl_plain_password=printed["password"],
            auto_offset_reset="earliest",
        )
        first = decoded.decode_value(next(consumer).value)
        consumer.close()
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert first["afterImages"] == "CREATE DATABASE shop DEFAULT CHARACTER SET utf8mb4"
    assert first["sourceTimestamp"] >= int(printed["startTimeStamp"])
    assert process.returncode == 0
    assert list((tmp_path / "tmp").iterdir()) == []


def run_pasted(command: str, wanted: int) -> list[str]:
    """Run a command as if it was pasted into a shell in the demo's folder; its first lines."""
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    shell = ["/bin/sh", "-c", f"exec {command}"]
    process = subprocess.Popen(shell, cwd=CHECKOUT, env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        return list(itertools.islice(process.stdout, wanted))
    finally:
        process.kill()
        process.communicate()


def test_the_printed_python_command_can_be_pasted(temporary):
    process = subprocess.Popen(COMMAND, cwd=CHECKOUT, env=temporary, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        head = "".join(itertools.takewhile(lambda line: not line.startswith("Changes as"), process.stdout))
        [command] = re.findall(r"^\S+ -c 'from kafka .*", head, re.MULTILINE | re.DOTALL)
        first, second = run_pasted(command, 2)
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert re.fullmatch(r"0 \d{13} \d+\n", first)
    assert re.fullmatch(r"1 \d{13} \d+\n", second)
    assert process.returncode == 0


def test_a_reader_that_has_enough_ends_it_quietly(temporary, tmp_path):
    command = f"{sys.executable} -m binwire demo --speed 100 | head -n 30 > /dev/null"
    done = subprocess.run(
        ["/bin/sh", "-c", command], cwd=CHECKOUT, env=temporary, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stderr == ""
    assert list((tmp_path / "tmp").iterdir()) == []


def test_commands_hold_every_value():
    connection = Connection("127.0.0.1", 4711, "topic", "dtsid", "user", "Pass-word1", 1_700_000_000)
    for lines in (kcat_command(connection), python_command(connection)):
        text = "\n".join(lines)
        for value in ("127.0.0.1:4711", "topic", "dtsid", "user-dtsid", "Pass-word1", "SASL_PLAINTEXT", "PLAIN"):
            assert value in text


def test_the_recording_is_that_of_the_scenario():
    recording = Path(CHECKOUT / "broker" / "data" / "demo-shop.000001").read_bytes()
    scenario = (CHECKOUT / "tests" / "scenarios" / "demo_shop.sql").read_text("utf-8")
    statements = [line for line in scenario.splitlines() if line.startswith(("CREATE", "ALTER", "RENAME", "DROP"))]
    assert len(statements) == 12
    for statement in statements:
        assert statement.encode() in recording
