"""`binwire tail`: which records are shown, from where, and in which form, from a running server."""

from __future__ import annotations

import itertools
import json
import signal
import subprocess
import sys

import pytest

from broker.control import ControlError
from broker.tail import first, last, time_ms
from tests.server_process import ServerProcess
from tests.tools.workplace import CHECKOUT

CONFIGURATION = f"""
[[listeners]]
bind = "127.0.0.1:0"

[[channels]]
id = "shop"
name = "商店"
topic = "shop"
source = "file://{CHECKOUT}/broker/data/demo-shop.000001"
objects = ["shop"]
start = "earliest"

[[channels.groups]]
name = "分析"
username = "dtstest"
password = "Secret-123"
"""
CHANGES = 102
"""Row changes and statements of the recorded shop."""


def decoded(*offsets):
    return [None if offset is None else (offset, {}) for offset in offsets]


def offsets(items):
    return [offset for offset, _ in items]


def test_the_last_are_those_before_the_end_and_all_that_arrive():
    assert offsets(last(decoded(1, 2, 3, None, 4, 5), 2)) == [2, 3, 4, 5]
    assert offsets(last(decoded(1, None), 5)) == [1]
    assert offsets(last(decoded(None, 4), 5)) == [4]


def test_what_arrives_is_shown_at_once():
    shown = last(itertools.chain(decoded(1, None, 2), itertools.repeat(None)), 5)
    assert offsets(itertools.islice(shown, 2)) == [1, 2]


def test_the_first_end_when_there_are_enough():
    endless = itertools.chain(decoded(1, None, 2), ((offset, {}) for offset in itertools.count(3)))
    assert offsets(first(endless, 3, follow=False)) == [1, 2, 3]


def test_following_from_a_time_has_no_end_of_its_own():
    assert offsets(first(decoded(1, 2, None, 3, 4), 2, follow=True)) == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        ("1700000000", 1_700_000_000_000),
        ("2023-11-14T22:13:20Z", 1_700_000_000_000),
        ("2023-11-15 06:13:20.250+08:00", 1_700_000_000_250),
    ],
)
def test_times(text, milliseconds):
    assert time_ms(text) == milliseconds


@pytest.mark.parametrize("text", ["", "noon", "2023-11-14T22:13:20", "-5", "1.5", "２"])
def test_what_is_no_time(text):
    with pytest.raises(ControlError, match="is not a time; write seconds since 1970 or"):
        time_ms(text)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with ServerProcess(tmp_path_factory.mktemp("server"), CONFIGURATION) as server:
        server.wait_for(lambda: server.status()["channels"][0]["high_watermark"] > 2 * CHANGES, "read to its end")
        yield server


def command(server, name, *arguments):
    done = subprocess.run(
        [sys.executable, "-m", "binwire", name, *arguments, "-c", str(server.folder / "binwire.toml")],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def test_the_last_changes_of_a_topic(server):
    code, out, err = command(server, "tail", "shop", "-n", "2")
    assert (code, err) == (0, "")
    assert out.splitlines()[-1] == "          DROP DATABASE shop"
    assert "COMMIT" in out.splitlines()[0]


def test_every_record_as_json(server):
    code, out, _ = command(server, "tail", "shop", "-n", "100000", "--json")
    records = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert [record["offset"] for record in records] == list(range(len(records)))
    changes = [record for record in records if record["operation"] in ("INSERT", "UPDATE", "DELETE", "DDL")]
    assert len(changes) == CHANGES
    [paid] = [record for record in changes if record["operation"] == "UPDATE" and record["after"].get("id") == 1001][:1]
    assert (paid["before"]["status"], paid["after"]["status"]) == ("placed", "paid")


def test_records_from_a_time(server):
    _, out, _ = command(server, "tail", "shop", "--json", "-n", "1")
    end = json.loads(out)["sourceTimestamp"]
    _, out, _ = command(server, "tail", "shop", "--json", "-n", "1", "--from", str(end))
    assert json.loads(out)["sourceTimestamp"] == end
    assert command(server, "tail", "shop", "--json", "--from", str(end + 1)) == (0, "", "")


def _interruptible():
    """A suite that runs in the background of a shell ignores Ctrl-C, and so would what it starts."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_following_shows_what_is_there_and_waits(server):
    arguments = ["tail", "shop", "-f", "--json", "-n", "3", "--data-dir", str(server.data_directory)]
    process = subprocess.Popen(
        [sys.executable, "-m", "binwire", *arguments],
        cwd=CHECKOUT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=_interruptible,
    )
    assert process.stdout is not None
    assert len(list(itertools.islice(process.stdout, 3))) == 3
    process.send_signal(2)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, b"")


def test_a_topic_that_does_not_exist(server):
    assert command(server, "tail", "nowhere") == (
        1, "", "binwire: there is no topic 'nowhere'; `binwire status` lists the topics\n"
    )  # fmt: skip


def test_status_for_people(server):
    code, out, err = command(server, "status")
    assert (code, err) == (0, "")
    assert f"listening on public {server.bootstrap()}\n" in out
    assert "\nchannel shop  商店\n" in out
    assert "\n  topic     shop\n" in out
    assert "\x1b" not in out
    assert out.splitlines()[-1].split()[1:] == ["分析", "dtstest", *"-----"]


def test_status_for_programs(server):
    code, out, err = command(server, "status", "--json")
    assert (code, err) == (0, "")
    [channel] = json.loads(out)["channels"]
    assert channel["high_watermark"] > CHANGES
    assert channel["groups"][0]["username"] == "dtstest"
