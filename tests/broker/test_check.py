"""`binwire check`: what is looked at on this machine, how all of it is shown, and what decides its exit status."""

from __future__ import annotations

import json
import os
import re
import socket
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from broker import check, cli, machine_check
from broker.config import from_document
from broker.control import PrecheckItem
from broker.listener import Address, Listener, Security
from broker.render import COLOURED, PLAIN, width
from tests.server_process import ServerProcess
from tests.tools.workplace import CHECKOUT

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

PASSED = PrecheckItem("binlog_format", "passed", "ROW")
WARNING = PrecheckItem("GTIDs", "warning", "OFF", "there is no failover", "SET GLOBAL a = 1;\nSET GLOBAL b = 2;")
FAILED = PrecheckItem("objects", "failed", "not found: x", "nothing is captured", 'objects = ["y"]')


def shown(items: Sequence[PrecheckItem], columns: int = 200) -> list[str]:
    return list(check.shown("shop", "mysql://repl@h:3306", items, PLAIN, columns))


# ---- the layout ----


def test_items_are_aligned_and_say_what_they_mean_and_what_mends_them() -> None:
    assert shown([PASSED, WARNING, FAILED]) == [
        "shop  mysql://repl@h:3306",
        "  ok       binlog_format  ROW",
        "  warning  GTIDs          OFF",
        "               means: there is no failover",
        "               to do: SET GLOBAL a = 1;",
        "                      SET GLOBAL b = 2;",
        "  FAILED   objects        not found: x",
        "               means: nothing is captured",
        '               to do: objects = ["y"]',
        "  not ready: 1 item failed, 1 warning",
        "",
    ]
    assert shown([PASSED])[-2] == "  ready"
    assert shown([PASSED, WARNING])[-2] == "  ready, 1 warning"


@pytest.mark.parametrize("columns", [60, 80, 110])
def test_sentences_are_broken_and_remedies_are_not(columns: int) -> None:
    remedy = f"GRANT SELECT ON `{'d' * 100}`.* TO 'repl'@'%';"
    item = PrecheckItem("SELECT privilege", "failed", "not granted on " * 12, "nothing can be read " * 12, remedy)
    lines = shown([item], columns)
    assert [line for line in lines if width(line) > columns] == [line for line in lines if remedy in line]
    assert any(line.endswith(remedy) for line in lines)


def test_colours_change_nothing_else() -> None:
    coloured = "\n".join(check.shown("shop", "mysql://h", [PASSED, WARNING, FAILED], COLOURED, 100))
    plain = "\n".join(check.shown("shop", "mysql://h", [PASSED, WARNING, FAILED], PLAIN, 100))
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == plain


def test_what_a_server_says_does_not_reach_the_terminal_as_it_is() -> None:
    item = PrecheckItem("version", "failed", "8.0\x1b[2J", "a\x07b", "x\x1b]0;t")
    assert "\x1b" not in "".join(shown([item]))


# ---- the command ----


def configuration(folder: Path, *, source: str, more: str = "", bind: str = "127.0.0.1:0") -> Path:
    file = folder / "binwire.toml"
    channel = f'[[channels]]\nid = "shop"\ntopic = "t"\nsource = "{source}"\nobjects = ["shop"]\nstart = "earliest"\n'
    file.write_text(f'[[listeners]]\nbind = "{bind}"\n{more}\n{channel}', "utf-8")
    return file


DEMO = f"file://{CHECKOUT}/broker/data/demo-shop.000001"


def test_everything_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = configuration(tmp_path, source=DEMO)
    assert cli.main(["check", "-c", str(file), "--json"]) == cli.DONE
    document = json.loads(capsys.readouterr().out)
    assert document["outcome"] == "passed"
    assert document["machine"]["data_dir"] == str(tmp_path / "data")
    assert [item["name"] for item in document["machine"]["items"]] == ["data directory", "disk", "listener public"]
    [channel] = document["channels"]
    assert (channel["id"], channel["source"], channel["outcome"]) == ("shop", DEMO, "passed")
    for item in (*document["machine"]["items"], *channel["items"]):
        assert set(item) == {"name", "outcome", "found", "means", "remedy", "addresses"}
        assert (item["outcome"], item["means"], item["remedy"]) == ("passed", None, None)
    assert not (tmp_path / "data").exists()


def test_a_source_that_fails_fails_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = configuration(tmp_path, source="file:///nowhere/binlog.000001")
    assert cli.main(["check", "-c", str(file)]) == cli.FAILED
    out = capsys.readouterr().out
    assert (
        "  FAILED   reachable  the binlog file /nowhere/binlog.000001 cannot be read: No such file or directory" in out
    )
    assert cli.main(["check", "-c", str(file), "--json"]) == cli.FAILED
    assert json.loads(capsys.readouterr().out)["outcome"] == "failed"


def test_a_warning_does_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as somebody:
        port = somebody.getsockname()[1]
        file = configuration(tmp_path, source=DEMO, more=f'advertised = "127.0.0.1:{port}"')
        assert cli.main(["check", "-c", str(file)]) == cli.DONE
    out = capsys.readouterr().out
    assert f"  warning  advertised public  127.0.0.1:{port} is answered by something else than this listener" in out
    assert "  ready, 1 warning" in out


# ---- this machine ----


def items(listener: Listener, running: dict[str, str] | None = None) -> dict[str, PrecheckItem]:
    return {item.name: item for item in machine_check._listener(listener, running or {})}


def test_a_port_that_is_taken_fails() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as somebody:
        address = Address("127.0.0.1", somebody.getsockname()[1])
        found = items(Listener("public", address, Security.SASL_PLAINTEXT))["listener public"]
        assert (found.outcome, found.found) == ("failed", f"{address}: Address already in use")
    assert items(Listener("public", address, Security.SASL_PLAINTEXT))["listener public"].outcome == "passed"
    assert items(Listener("p", Address("127.0.0.1", 0), Security.SASL_PLAINTEXT))["listener p"].outcome == "passed"


def test_an_address_of_another_machine_fails() -> None:
    found = items(Listener("public", Address("192.0.2.1", 0), Security.SASL_PLAINTEXT))["listener public"]
    assert found.outcome == "failed"
    assert "192.0.2.1:0: " in found.found


@pytest.fixture
def port() -> int:
    """A port that was free a moment ago."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        return int(listening.getsockname()[1])


def test_an_advertised_address_that_leads_here_and_one_that_does_not(port: int) -> None:
    bind = Address("127.0.0.1", port)
    right = items(Listener("public", bind, Security.SASL_PLAINTEXT, Address("localhost", port)))["advertised public"]
    assert (right.outcome, right.found) == ("passed", f"localhost:{port} leads to this listener")
    wrong = items(Listener("public", bind, Security.SASL_PLAINTEXT, Address("127.0.0.1", 1)))["advertised public"]
    assert wrong.outcome == "warning"
    assert wrong.found == "127.0.0.1:1 cannot be reached from here: Connection refused"
    assert (wrong.remedy or "").startswith('advertised = "host:port"')
    nowhere = Listener("public", bind, Security.SASL_PLAINTEXT, Address("no-such-host.invalid", port))
    assert items(nowhere)["advertised public"].outcome == "warning"


def test_beside_a_running_server(tmp_path: Path, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine_check, "CONNECT_TIMEOUT_S", 0.5)
    text = f'[[listeners]]\nname = "public"\nbind = "127.0.0.1:{port}"\nadvertised = "localhost:{port}"\n'
    with ServerProcess(tmp_path, text) as server:
        running = machine_check._running(server.data_directory)
        assert running == {"public": f"127.0.0.1:{port}"}
        listener = Listener("public", Address("127.0.0.1", port), Security.SASL_PLAINTEXT, Address("localhost", port))
        found = items(listener, dict(running))
        assert found["listener public"].found == f"127.0.0.1:{port}, where the running server has it"
        assert found["advertised public"].outcome == "passed"
        with closing(socket.create_server(("127.0.0.1", 0))) as silent:
            elsewhere = Address("127.0.0.1", silent.getsockname()[1])
            listener = Listener("public", listener.bind, Security.SASL_PLAINTEXT, elsewhere)
            assert items(listener, dict(running))["advertised public"].outcome == "warning"
    assert machine_check._running(server.data_directory) == {}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_data_directory_that_cannot_be_written(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    found = machine_check._data_directory(tmp_path / "data")
    assert (found.outcome, found.found) == (
        "failed",
        f"{tmp_path / 'data'} is not there, and {tmp_path} is not writable",
    )


def test_a_data_directory_that_is_a_file(tmp_path: Path) -> None:
    file = tmp_path / "data"
    file.write_text("")
    found = machine_check._data_directory(file)
    assert (found.outcome, found.found) == ("failed", f"{file} is no directory")
    assert machine_check._data_directory(tmp_path).found == "writable"
    assert machine_check._data_directory(tmp_path / "a" / "b").found == "will be made"


def test_a_disk_that_is_too_small_for_the_segments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    channel = {"id": "c", "topic": "t", "source": DEMO, "objects": ["d"], "segment_size": "1GiB"}
    config = from_document({"channels": [channel]}, tmp_path, {})
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 1 << 30}))
    found = machine_check._disk(config)
    assert (found.outcome, found.found) == (
        "warning",
        "1.0 GiB free, less than 2 segments of each channel (2.0 GiB)",
    )
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 2 << 30}))
    assert machine_check._disk(config).outcome == "passed"
