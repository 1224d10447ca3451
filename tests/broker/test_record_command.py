"""`binwire record`: what it takes of a running server's topic, and the demo that plays it."""

from __future__ import annotations

import base64
import json
import re
import signal
import subprocess
import sys
from collections import Counter

import pytest

from binwire.record import decode
from broker.capturing import record_reader
from broker.cli import main
from broker.masking import Masks
from broker.record_command import Stretch, _Answers, _Recorder
from broker.recording import Facts, Recording, RecordingWriter
from capture import avro
from tests.broker.test_recording import record
from tests.broker.test_tail import CHANGES, CONFIGURATION, _interruptible
from tests.server_process import ServerProcess
from tests.tools.workplace import CHECKOUT


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with ServerProcess(tmp_path_factory.mktemp("server"), CONFIGURATION) as server:
        server.wait_for(lambda: server.status()["channels"][0]["high_watermark"] > 2 * CHANGES, "read to its end")
        yield server


@pytest.fixture
def run(server, tmp_path, capsys):
    """Runs the command; exit status, records, output and errors."""

    def run(*arguments, topic="shop"):
        file = tmp_path / "recording"
        status = main(["record", topic, *arguments, "-o", str(file), "--data-dir", str(server.data_directory)])
        said = capsys.readouterr()
        return status, read(file) if file.exists() else None, said.out, said.err

    return run


def read(file):
    with Recording(file) as recording:
        return [decode(each.value) for each in recording.records(record_reader())]


def tailed(server, *arguments):
    """The topic's records as `binwire tail` says them."""
    place = ["-c", str(server.folder / "binwire.toml")]
    done = subprocess.run(
        [sys.executable, "-m", "binwire", "tail", "shop", "--json", "--all", *arguments, *place],
        cwd=CHECKOUT, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_all_that_is_kept(server, run, tmp_path):
    status, records, out, err = run()
    assert (status, err) == (0, "")
    everything = tailed(server, "-n", "100000")
    assert [(each.id, each.operation, each.position, each.timestamp_s) for each in records] == [
        (each["id"], each["operation"], each["sourcePosition"], each["sourceTimestamp"]) for each in everything
    ]
    assert re.fullmatch(
        rf"{tmp_path}/recording: {len(records)} records of shop, [\d.]+ KiB, "
        r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC to \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC\n",
        out,
    )
    with Recording(tmp_path / "recording") as recording:
        facts = recording.facts
    assert (facts.topic, facts.records, facts.masks) == ("shop", len(records), ())
    assert facts.source_version == everything[0]["source"]["version"]
    assert facts.written_by.startswith("binwire ")


@pytest.mark.parametrize("count", [1, 6, 8])
def test_so_many_records_end_with_their_transaction(run, count):
    status, records, _, _ = run("-n", str(count))
    assert status == 0
    assert len(records) >= count
    assert records[-1].operation in ("COMMIT", "DDL")
    opened = Counter(each.operation for each in records)
    assert opened["BEGIN"] == opened["COMMIT"]
    shorter = [each.operation in ("COMMIT", "DDL") for each in records[count - 1 : -1]]
    assert not any(shorter), "an earlier end would have done"


def test_a_stretch_of_time_has_whole_transactions(server, run):
    everything = tailed(server, "-n", "100000")
    times = [each["sourceTimestamp"] for each in everything]
    start, end = times[len(times) // 3], times[2 * len(times) // 3]
    _, records, _, _ = run("--from", str(start), "--to", str(end))
    assert records[0].operation in ("BEGIN", "DDL")
    assert records[-1].operation in ("COMMIT", "DDL")
    assert start <= records[0].timestamp_s
    assert max(each.timestamp_s for each in records if each.operation == "BEGIN") < end
    expected = [each["id"] for each in everything if start <= each["sourceTimestamp"] < end]
    found = [each.id for each in records]
    assert found == list(range(found[0], found[-1] + 1)), "nothing between is left out"
    assert set(expected[5:-5]) <= set(found)


def test_masked_columns_are_in_no_record(server, run):
    plain = json.dumps(tailed(server, "-n", "100000"), ensure_ascii=False)
    assert "placed" in plain
    masks = ("shop.orders.status", "shop.customers.name=text", "shop.orders.id")
    status, records, out, _ = run(*(argument for mask in masks for argument in ("--mask", mask)))
    assert status == 0
    assert "masked: shop.orders.status, shop.orders.id, shop.customers.name=text\n12 statements are in it as typ" in out
    rows = [row for each in records for row in (each.before, each.after) if row is not None and each.table == "orders"]
    assert rows
    assert not {"placed", "paid", "shipped"} & {row["status"] for row in rows}
    customers = [row for each in records for row in (each.before, each.after) if row and each.table == "customers"]
    assert {row["name"] for row in customers} == {"masked"}
    updated = [each for each in records if each.operation == "UPDATE" and each.table == "orders"]
    assert all(each.before["id"] == each.after["id"] for each in updated), "a masked key still tells its row"
    inserted = [each.after["id"] for each in records if each.operation == "INSERT" and each.table == "orders"]
    assert len(set(inserted)) == len(inserted)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--mask", "shop.order.id"], "no row of shop.order was there, for which shop.order.id was given; the tables"),
        (["--mask", "shop.orders.nr"], "shop.orders has no column 'nr' at "),
        (["--from", "4000000000"], "no whole transaction of shop was there to record; nothing was written"),
        (["--from", "2", "--to", "1"], "--to 1 is not later than --from 2"),
        (["--from", "noon"], "'noon' is not a time; write"),
    ],
)
def test_what_cannot_be_recorded_is_said_and_leaves_nothing(run, tmp_path, arguments, sentence):
    status, records, out, err = run(*arguments)
    assert (status, records, out) == (1, None, "")
    assert err.startswith(f"binwire: {sentence}")
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_topic_that_is_not_there(run):
    assert run(topic="nothing")[0] == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_recording_that_waits_and_keeps_it(server, tmp_path, number):
    arguments = ["-n", "100000", "-o", str(tmp_path / "recording"), "--data-dir", str(server.data_directory)]
    process = subprocess.Popen(
        [sys.executable, "-m", "binwire", "record", "shop", *arguments],
        cwd=CHECKOUT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=_interruptible,
    )  # fmt: skip
    try:
        assert process.stderr is not None
        waiting = process.stderr.readline()
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert (process.returncode, err) == (0, "")
    assert (
        waiting == f"{len(read(tmp_path / 'recording'))} records so far; waiting for more, Ctrl-C ends and keeps them\n"
    )
    assert " records of shop, " in out
    assert len(list(tmp_path.iterdir())) == 1


def test_what_came_before_the_server_ended_is_told_to_be_a_part(tmp_path):
    def answer(number, operation):
        value = base64.b64encode(record(number, operation)).decode()
        return {"record": {"offset": number, "timestamp_ms": 0, "value": value}}

    operations = ["COMMIT", "DDL", "BEGIN", "INSERT"]
    recorder = _Recorder(Stretch(0, None, 9), Masks(()))
    with RecordingWriter(tmp_path / "r", Facts(topic="t")) as writer:
        answers = _Answers(iter([answer(number, each) for number, each in enumerate(operations)]))
        assert recorder.record(answers, writer) is False
        assert writer.finish().records == 1
    assert [each.operation for each in read(tmp_path / "r")] == ["DDL"]


def test_the_demo_plays_a_recording(run, tmp_path):
    _, records, _, _ = run("--mask", "shop.orders.status")
    wanted = [each for each in records if each.operation in ("INSERT", "UPDATE", "DELETE", "DDL")]
    arguments = ["--speed", "full", "--records", str(len(wanted))]
    done = subprocess.run(
        [sys.executable, "-m", "binwire", "demo", str(tmp_path / "recording"), *arguments],
        cwd=CHECKOUT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"Binwire demo: {tmp_path}/recording, shop of ")
    shown = re.findall(r"^\d\d:\d\d:\d\d  (INSERT|UPDATE|DELETE|DDL) .*  (\d+@\d+)  offset", done.stdout, re.MULTILINE)
    assert shown == [(each.operation, each.position) for each in wanted]


def test_the_schema_is_printed(capsys):
    assert main(["schema"]) == 0
    assert capsys.readouterr().out == avro.SCHEMA_FILE.read_text("utf-8")
