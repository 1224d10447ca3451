"""`binwire bench client`: what it says of clients that read well, and of clients that do not. No speed is judged."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from bench import __main__ as cli
from bench.client_check import client, command
from bench.client_check.client import filled_in
from bench.client_check.known_log import KnownLog
from bench.client_check.verdict import Seen, Verdict, _ms
from bench.client_check.witness import Witness, lags_ms

TOPIC = "shop"
LOG = KnownLog(rows=5, rows_per_transaction=3)
"""DDL at 0 and 1; BEGIN 2, rows 3 to 5, COMMIT 6; BEGIN 7, rows 8 and 9, COMMIT 10."""


def test_the_known_log_says_what_stands_where() -> None:
    assert LOG.end == 11
    assert [offset for offset, kind in enumerate(LOG.kinds()) if kind] == [3, 4, 5, 8, 9]
    assert len(LOG.kinds()) == LOG.end
    assert [list(numbers) for numbers in LOG.transactions()] == [[0, 1, 2], [3, 4]]
    exact = KnownLog(rows=6, rows_per_transaction=3)
    assert (exact.end, len(exact.kinds())) == (12, 12)


def _witness(*lines: object) -> Witness:
    witness = Witness(LOG, TOPIC)
    witness.take("".join(f"{line}\n" for line in lines).encode(), 1)
    return witness


def test_all_of_it_in_order_is_well() -> None:
    witness = _witness(*range(11))
    assert witness.complete
    assert (witness.records, witness.missing().number) == (11, 0)
    assert not any(count.number for count in (witness.doubled, witness.reordered, witness.wrong, witness.other))


@pytest.mark.parametrize(
    "form",
    [
        "{}",
        "{} 1700000000 key",
        "{}\tvalue",
        "shop 0 {}",
        '{{"topic": "shop", "offset": {}, "payload": "\x01"}}',
        "shop 0 {} more",
        '{{"offset": {}, "x": [1]}}',
        "{}\r",
    ],
)
def test_a_line_has_one_of_the_forms(form: str) -> None:
    assert _witness(*(form.format(offset) for offset in range(11))).complete


def test_lines_may_come_in_pieces() -> None:
    witness, text = Witness(LOG, TOPIC), "".join(f"{offset}\n" for offset in range(11)).encode()
    for number in range(len(text) - 1):
        witness.take(text[number : number + 1], number)
    assert witness.records == 10
    witness.end(100)
    assert witness.complete
    assert witness.arrived_ns[10] == 100


def test_what_is_lost_is_named_in_ranges() -> None:
    witness = _witness(0, 1, 2, 5, 6, 7, 8, 10)
    assert not witness.complete
    assert str(witness.missing()) == "3 (offsets 3 to 4, offset 9)"


def test_who_reports_rows_alone_is_not_asked_for_the_rest() -> None:
    assert _witness(3, 4, 5, 8, 9).complete
    assert str(_witness(3, 4, 9).missing()) == "2 (offsets 5 to 8)"
    assert not _witness(2, 3, 4, 5, 8, 9).complete


def test_what_comes_again_is_doubled_and_no_more() -> None:
    witness = _witness(0, 1, 2, 3, 2, 3, *range(4, 11))
    assert witness.complete
    assert str(witness.doubled) == "2 (offset 2, offset 3)"
    assert witness.reordered.number == 0


def test_what_comes_late_is_reordered() -> None:
    witness = _witness(0, 1, 4, 2, 3, *range(5, 11))
    assert witness.complete
    assert str(witness.reordered) == "2 (offset 2 after 4, offset 3 after 4)"


@pytest.mark.parametrize(
    "line", ["11", "99999999999", "other 0 3", "shop 1 3", '{"offset": -1}', '{"offset": 3, "topic": "x"}']
)
def test_what_the_log_does_not_have_is_wrong(line: str) -> None:
    witness = _witness(line)
    assert (witness.wrong.number, witness.records) == (1, 0)


@pytest.mark.parametrize(
    "line",
    ["ready", "-1", "1.5", "3x", "0x3", "{", "{}", '{"offset": "3"}', '{"offset": true}', "9" * 5000, "[3]", "٣"],
)
def test_any_other_line_says_nothing(line: str) -> None:
    witness = _witness(line)
    assert (witness.other.number, witness.records, witness.wrong.number) == (1, 0, 0)


def test_bytes_without_lines_are_not_kept() -> None:
    witness = Witness(LOG, TOPIC)
    for _ in range(5):
        witness.take(b"\xff" * (1 << 20), 1)
    assert witness.other.number > 0
    assert len(witness._rest) <= 1 << 20


def test_lag_counts_from_when_a_record_was_visible() -> None:
    arrived = [1_000_000, 0, 5_000_000, 9_000_000, 12_000_000]
    visible = [(1, 500_000), (3, 4_000_000), (4, 4_500_000)]
    assert lags_ms(arrived, visible, 0) == [0.5, 1.0, 4.5]
    assert lags_ms(arrived, visible, 3) == [4.5]


def test_placeholders_are_replaced_and_other_braces_stay() -> None:
    values = {"topic": "t", "password": "p"}
    assert filled_in(["-t", "{topic}", "{topic}:{x} {}", "{password}"], values) == ["-t", "t", "t:{x} {}", "p"]


# --- with a server ------------------------------------------------------------------------------------------------


def _judge(
    tmp_path: Path, program: str, *options: str, records: int = 200, quiet: str = "0.2"
) -> tuple[int, dict[str, Any]]:
    """Run a Python program as the client; exit status and document."""
    script, output = tmp_path / "client.py", tmp_path / "verdict.json"
    script.write_text(textwrap.dedent(program), encoding="utf-8")
    own = ["--records", str(records), "--quiet", quiet, "--json", str(output), *options]
    status = cli.main(["client", *own, "--", sys.executable, str(script)])
    document: dict[str, Any] = json.loads(output.read_text(encoding="utf-8"))
    return status, document


def _program_of_the_help() -> str:
    """The Python example of --help, as a user copies it."""
    program = command._EPILOG.partition("    import os\n")[2].partition("\n\n")[0]
    return "import os\n" + textwrap.dedent(program)


def test_the_python_example_of_the_help_reads_everything(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, document = _judge(tmp_path, _program_of_the_help(), records=1_000)
    shown = capsys.readouterr().out
    assert status == 0, shown
    assert "every record once and in order" in shown
    assert (document["seen"], document["fetched"], document["faults"]) == (1_022, 1_022, [])
    assert document["judged_by"] == "lines"
    assert document["lag_ms"] is None
    assert document["records_per_second"] > 0
    assert document["cpu_seconds"] > 0
    assert document["log"] == {"records": 1_022, "rows": 1_000, "rows_per_transaction": 100} | dict.fromkeys(
        ("rows_per_second", "rows_per_second_reached")
    )
    assert {"machine", "versions", "commit"} <= document.keys()


def test_live_records_have_a_lag(tmp_path: Path) -> None:
    status, document = _judge(tmp_path, _program_of_the_help(), "--rate", "400", "--rows-per-transaction", "2")
    assert (status, document["seen"]) == (0, 2 + 2 * 200)
    lag = document["lag_ms"]
    assert 0 < lag["p50"] <= lag["p90"] <= lag["p99"] <= lag["max"]
    assert document["log"]["rows_per_second_reached"] > 0


def test_a_rate_that_was_not_reached_is_told() -> None:
    def shown(seconds: float, rate: float = 4.0) -> str:
        visible = [(2, 0), (7, 1_000_000_000), (11, 1_000_000_000 + int(seconds * 1e9))]
        seen = Seen(0, 0, 0.0, None, None, 0, 11, 0, -1, visible)
        return next(Verdict(["x"], LOG, rate, _witness(*range(11)), seen).lines())

    assert shown(0.5).endswith("; 4 rows a second, live")
    assert shown(0.5, rate=1e6).endswith(
        "; 1,000,000 rows a second, live (only 4 were reached: this machine is too busy)"
    )
    assert shown(1.0).endswith("; 4 rows a second, live (only 2 were reached: this machine is too busy)")


def test_a_client_that_prints_nothing_is_judged_by_what_it_fetched_and_committed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    program = _program_of_the_help().replace("print(record.offset, flush=True)", "pass")
    assert "pass" in program
    status, document = _judge(tmp_path, program, "--rate", "1000")
    assert status == 0
    assert document["judged_by"] == "fetches and commits"
    assert document["fetched"] == document["seen"] == 2 + 3 * 200
    assert "what it did with the records is not known" in capsys.readouterr().out


_ALL = "import os\nseen = list(range(int(os.environ['BINWIRE_RECORDS'])))\n{}\nfor each in seen: print(each)\n"


def test_a_client_that_began_at_the_end_did_not_fetch_everything(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    program = _program_of_the_help().replace("print(record.offset, flush=True)", "pass")
    status, document = _judge(tmp_path, program.replace("earliest", "latest"))
    assert (status, document["fetched_from"], document["fetched"]) == (cli.WRONG_RESULT, 222 - 16, 222 - 16)
    assert "it fetched from offset 206 on, and nothing before" in capsys.readouterr().out


def test_lags_are_written_without_exponents() -> None:
    assert [_ms(value) for value in (0.5678, 12.345, 123.4, 2_345.6)] == ["0.568 ms", "12.3 ms", "123 ms", "2,346 ms"]


@pytest.mark.parametrize(
    ("change", "options", "fault"),
    [
        (
            "del seen[7:9]; seen.insert(4, 2); seen.insert(20, seen.pop(18)); seen.append(10 ** 9)",
            [],
            (
                "records missing: 2 (offsets 7 to 8); records doubled: 1 (offset 2); "
                "records reordered: 1 (offset 19 after 21); records not of this log: 1 ('1000000000')"
            ),
        ),
        (
            "import time; [print(each) for each in seen[:5]]; time.sleep(600)",
            ["--time-limit", "1"],
            "the time limit of",
        ),
        ("[print(each) for each in seen]; os.abort()", [], "the command was ended by SIGABRT"),
        ("seen = ['rubbish', '\\0' * 99]", [], "it fetched nothing"),
    ],
)
def test_what_a_client_does_wrong_is_a_fault(
    change: str, options: list[str], fault: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, document = _judge(tmp_path, _ALL.format(change), *options)
    assert status == cli.WRONG_RESULT
    assert fault in "; ".join(document["faults"])
    assert fault in capsys.readouterr().out.splitlines()[-1]


def test_a_client_that_goes_on_is_ended_with_all_that_it_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ignores the first signal and leaves a child behind; both are gone, and what they wrote counts."""
    monkeypatch.setattr(client, "_ORDERLY_END_S", 0.2)
    program = _ALL.format("") + (
        "import signal, subprocess, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        f"open({str(tmp_path / 'child')!r}, 'w').write(str(child.pid))\n"
        "time.sleep(600)\n"
    )
    status, document = _judge(tmp_path, program)
    assert (status, document["faults"], document["status"]) == (0, [], None)
    pid = int((tmp_path / "child").read_text())
    state = Path(f"/proc/{pid}/stat")
    assert not state.exists() or state.read_text().rpartition(")")[2].split()[0] == "Z"


def test_the_password_is_in_the_environment_and_in_no_argument(tmp_path: Path) -> None:
    program = _ALL.format(
        "import pathlib, sys\n"
        "secret = os.environ['BINWIRE_PASSWORD']\n"
        "lines = [path.read_bytes() for path in pathlib.Path('/proc').glob('[0-9]*/cmdline')]\n"
        "assert len(secret) > 8 and not any(secret.encode() in line for line in lines)\n"
        "config = pathlib.Path(os.environ['BINWIRE_CONFIG'])\n"
        "assert secret in config.read_text() and config.stat().st_mode & 0o777 == 0o600\n"
        "assert os.environ['KCAT_CONFIG'] == str(config)"
    )
    status, document = _judge(tmp_path, program)
    assert (status, document["faults"]) == (0, [])


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "there is no command; write it behind --"),
        (["--"], "there is no command; write it behind --"),
        (["--records", "0", "--", "true"], "'0' is not a whole number from 1 to 100000000"),
        (["--rate", "nan", "--", "true"], "'nan' is not a number above 0 and below 1000000000"),
        (["--json", "/no/such/x", "--", "true"], "no folder /no/such; make it first"),
        (["--bogus", "--", "true"], "unrecognized arguments: --bogus"),
        (
            ["--records", "1", "--", "/no/such/program"],
            "'/no/such/program' cannot be started: No such file or directory",
        ),
    ],
)
def test_wrong_usage_is_one_sentence(arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["client", *arguments])
    assert ended.value.code == cli.WRONG_USAGE
    assert capsys.readouterr().err.splitlines()[-1].endswith(sentence + ("" if "no command" not in sentence else _REST))


_REST = ", as in: binwire bench client -- kcat -C -t {topic} …"


def test_it_is_reached_by_the_front_door(tmp_path: Path) -> None:
    """The first `--` is the outer command line's; a second one is the command's own."""
    from broker.cli import main

    script = tmp_path / "client.py"
    script.write_text(_ALL.format("import sys; assert sys.argv[1:] == ['--', '-x', os.environ['BINWIRE_TOPIC']]"))
    arguments = [sys.executable, str(script), "--", "-x", "{topic}"]
    assert main(["bench", "client", "--records", "10", "--", *arguments]) == 0


def test_a_server_that_cannot_serve_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "executable", shutil.which("false"))
    assert cli.main(["client", "--records", "1", "--", "true"]) == cli.WRONG_RESULT
    assert capsys.readouterr().err.startswith("binwire bench client: the server ended with status 1")


def test_no_process_outlives_a_command_that_cannot_be_started(capfd: pytest.CaptureFixture[str]) -> None:
    before = _children()
    with pytest.raises(SystemExit):
        cli.main(["client", "--records", "1", "--", "/no/such/program"])
    assert _children() <= before


def _children() -> set[str]:
    """Processes of this one, whoever started them: a session's servers are among them."""
    return {pid for path in Path("/proc/self/task").glob("*/children") for pid in path.read_text().split()}


@pytest.mark.interop("kcat")
@pytest.mark.parametrize("form", ["%o\\n", "%t %p %o\\n"])
def test_the_kcat_example_of_the_help_reads_everything(form: str, tmp_path: Path) -> None:
    from tests.tools.librdkafka import kcat_command
    from tests.tools.workplace import ToolError

    try:
        kcat = kcat_command()
    except ToolError as error:
        pytest.skip(f"kcat: {error}")
    assert "kcat -C -t {topic} -o beginning -u -f '%o\\n'" in command._EPILOG.replace("\\\\", "\\")
    output = tmp_path / "verdict.json"
    arguments = [*kcat, "-C", "-t", "{topic}", "-o", "beginning", "-u", "-f", form]
    assert cli.main(["client", "--records", "2000", "--quiet", "0.2", "--json", str(output), "--", *arguments]) == 0
    assert json.loads(output.read_text())["seen"] == 2_042
