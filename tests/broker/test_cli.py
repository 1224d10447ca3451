"""The command line: exit statuses, one sentence for each mistake, nothing loaded that is not needed."""

from __future__ import annotations

import gc
import io
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from binwire import __version__
from broker import cli
from broker.accounts import Verifier
from broker.config import from_document
from broker.config_rules import ConfigError
from storage import compiled
from tests.tools.workplace import CHECKOUT

ACCELERATOR = compiled.state("capture._rows", "storage._framing", "broker.search._scan")
VERSION = f"binwire {__version__}\naccelerator: {ACCELERATOR}\n"


def run(*arguments: str, cwd: Path = CHECKOUT) -> subprocess.CompletedProcess[str]:
    """The command as a person runs it, from any folder."""
    command = [sys.executable, str(CHECKOUT / "binwire" / "__main__.py"), *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=60, check=False)


def test_version_and_its_home():
    done = run("version")
    assert (done.returncode, done.stdout, done.stderr) == (0, VERSION, "")
    assert f'version = "{__version__}"' in (CHECKOUT / "pyproject.toml").read_text("utf-8")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_output_to_a_full_disk_is_a_sentence():
    command = [sys.executable, str(CHECKOUT / "binwire" / "__main__.py"), "version"]
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        done = subprocess.run(command, cwd=CHECKOUT, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    sentence = "binwire: no space left on the disk that is written to; make room there\n"
    assert (done.returncode, done.stderr) == (cli.FAILED, sentence)


def test_the_version_is_an_option_too(capsys):
    with pytest.raises(SystemExit) as exit_:
        cli.main(["--version"])
    assert (exit_.value.code, capsys.readouterr().out) == (0, VERSION.splitlines(keepends=True)[0])


@pytest.mark.parametrize("started", [["-m", "binwire"], [str(CHECKOUT / "binwire" / "__main__.py")]])
def test_it_runs_in_a_folder_with_modules_of_the_same_names(started, tmp_path):
    for name in ("broker", "capture", "storage", "select", "argparse", "pathlib"):
        (tmp_path / f"{name}.py").write_text("raise ImportError('the wrong module')\n", "utf-8")
    command = [sys.executable, *started, "version"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, VERSION, "")


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("nonsense",),
        ("tail",),
        ("demo", "--records", "0"),
        ("demo", "--records", "many"),
        ("demo", "--speed", "-1"),
        ("serve", "--log-level", "loud"),
        ("status", "-c", "a.toml", "--data-dir", "b"),
        ("backup",),
        ("backup", "a", "b"),
        ("fixture", "--http", "127.0.0.1"),
        ("fixture", "--advertised", "0.0.0.0:9092"),
        ("fixture", "--advertised", "kafka.example:0"),
    ],
)
def test_wrong_usage_is_status_2(arguments, capsys):
    with pytest.raises(SystemExit) as exit_:
        cli.main(arguments)
    assert exit_.value.code == cli.USAGE
    told = capsys.readouterr().err
    assert "usage: binwire" in told
    assert "--pipe" not in told


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("serve",), "there is no configuration file binwire.toml; write one, or name another with -c FILE"),
        (("check", "-c", "x.toml"), "there is no configuration file x.toml; write one, or name another with -c FILE"),
        (("status", "-c", "x.toml"), "there is no configuration file x.toml; write one, or name another with -c FILE"),
        (("serve", "-c", "."), "the configuration file . cannot be read: Is a directory"),
        (("status", "--data-dir", "d"), "no server is running on the data directory d; start `binwire serve`"),
        (
            ("verify", "--data-dir", "d"),
            (
                "the data directory d cannot be read (No such file or directory); name one that is there and that this "
                "user may read"
            ),
        ),
        (
            ("backup", "b", "--data-dir", "."),
            (
                ". is not a data directory of Binwire (it has no file `format`); name the one that `data_dir` in the "
                "configuration names"
            ),
        ),
        (
            ("backup", "b", "-c", "x.toml"),
            "there is no configuration file x.toml; write one, or name another with -c FILE",
        ),
        (("tail", "t", "--data-dir", "d"), "no server is running on the data directory d; start `binwire serve`"),
        (
            ("tail", "t", "--data-dir", "d", "--from", "noon"),
            "'noon' is not a time; write seconds since 1970 or 2026-01-31T08:00:00Z",
        ),
    ],
)
def test_a_mistake_is_one_sentence_and_status_1(arguments, sentence, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(arguments) == cli.FAILED
    captured = capsys.readouterr()
    assert captured.err == f"binwire: {sentence}\n"
    assert captured.out == ""
    assert gc.isenabled(), "a start that came to nothing leaves its caller as it was"


def test_a_defect_of_ours_is_not_dressed_as_a_mistake(monkeypatch):
    def fail(arguments):
        raise ZeroDivisionError

    monkeypatch.setattr(cli, "_version", fail)
    with pytest.raises(ZeroDivisionError):
        cli.main(["version"])


def test_ctrl_c_is_told_by_the_status_alone(monkeypatch, capsys):
    def interrupt(arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "_version", interrupt)
    assert cli.main(["version"]) == cli.INTERRUPTED
    assert capsys.readouterr().err == ""


def test_errors_of_every_floor_are_for_people():
    from broker.control import ControlError
    from broker.server import ListenError
    from storage.errors import DataDirectoryInUse

    for error in (ConfigError, ControlError, ListenError, DataDirectoryInUse):
        assert cli._is_for_people(error("x"))
    assert not cli._is_for_people(ValueError("x"))


def test_every_listed_command_says_what_it_does(capsys):
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    listed = capsys.readouterr().out
    for command in (
        "demo",
        "serve",
        "check",
        "tail",
        "status",
        "verify",
        "backup",
        "reload",
        "password",
        "bench",
        "fixture",
        "version",
    ):
        assert f"\n    {command} " in listed


def test_options_of_the_benchmarks_are_theirs():
    done = run("bench", "--list")
    assert done.returncode == 0
    assert "capture" in done.stdout


def test_check_tells_a_configuration_without_channels(tmp_path, capsys):
    (tmp_path / "binwire.toml").write_text('[[listeners]]\nbind = "127.0.0.1:0"\n', "utf-8")
    assert cli.main(["check", "-c", str(tmp_path / "binwire.toml")]) == cli.DONE
    assert capsys.readouterr().out.endswith("\n  ready\n\nthe configuration is valid; it has no channels\n")


def test_a_password_becomes_the_line_that_lets_its_group_in(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", io.StringIO("Secret-123\nmore\n"))
    assert cli.main(["password"]) == cli.DONE
    line = capsys.readouterr().out
    assert "Secret-123" not in line
    group = tomllib.loads(f'name = "a"\nusername = "u"\n{line}')
    channel = {"id": "shop", "topic": "shop", "source": "file:///x/y.000001", "objects": ["shop"], "groups": [group]}
    config = from_document({"channels": [channel]}, Path("/x"), {})
    verifier = config.channels[0].groups[0].password_hash
    assert verifier is not None
    assert Verifier.parse(verifier.reveal()).matches("Secret-123")


def test_a_password_is_asked_for_twice_on_a_terminal(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", Terminal())
    answers = iter(["Secret-123", "Secret-124", "Secret-123", "Secret-123"])
    monkeypatch.setattr("getpass.getpass", lambda prompt: next(answers))
    assert cli.main(["password"]) == cli.FAILED
    assert capsys.readouterr().err == "binwire: the two passwords differ; try again\n"
    assert cli.main(["password"]) == cli.DONE


def test_a_password_that_the_service_would_not_take_is_not_repeated(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", io.StringIO("short\n"))
    assert cli.main(["password"]) == cli.FAILED
    told = capsys.readouterr().err
    assert told.startswith("binwire: password: found a password of 5 characters and 1 kind of character; ")
    assert "short" not in told


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_quick_commands_load_neither_asyncio_nor_a_log():
    program = (
        "import sys; from broker import cli; cli.main(['version']);"
        "print([name for name in ('asyncio', 'structlog', 'msgspec', 'sqlite3', 'fastavro') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=CHECKOUT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
