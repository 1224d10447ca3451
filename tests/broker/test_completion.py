"""`binwire completion`: the scripts in the shells themselves."""

from __future__ import annotations

import argparse
import contextlib
import os
import pty
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from bench import __main__ as bench
from bench.client_check import command as client
from broker import call_command, channel_command, cli, completion, group_command
from tests.installed import unavailable
from tests.tools import shells
from tests.tools.workplace import ToolError

Complete = Callable[[str], set[str]]
_TIMEOUT_S = 60

_BASH = """
source {script}
COMP_WORDS=({line}{last})
COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
_binwire
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
_ZSH = """\
{first}autoload -U compinit && compinit -u -d {folder}/dump
source {script}
compadd () {{
    if [[ ${{@[1,(i)(-|--)]}} == *-(O|A|D)\\ * ]]; then builtin compadd "$@"; return; fi
    local -a hits; builtin compadd -A hits "$@"; print -rl -- $hits >> {folder}/hits
}}
comppostfuncs=(exit)
bindkey '^I' complete-word
"""


def _bash(folder: Path, path: Path) -> Complete:
    def complete(line: str) -> set[str]:
        text = _BASH.format(script=path, line=line, last=" ''" if line.endswith(" ") else "")
        command = ["bash", "--noprofile", "--norc", "-u", "-c", text]
        done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, text=True, check=True)
        return {*done.stdout.splitlines()} - {""}

    return complete


def _zsh(folder: Path, path: Path) -> Complete:
    command, first = shells.zsh()
    (folder / "setup").write_text(_ZSH.format(first=first, script=path, folder=folder), encoding="utf-8")

    def complete(line: str) -> set[str]:
        (folder / "hits").unlink(missing_ok=True)
        terminal, theirs = pty.openpty()
        with subprocess.Popen([*command, "-i"], cwd=folder, stdin=theirs, stdout=theirs, stderr=theirs) as process:
            os.close(theirs)
            os.write(terminal, f"source {folder}/setup\n{line}\t".encode())
            with contextlib.suppress(OSError):  # the other side has ended
                while os.read(terminal, 4096):
                    pass
            process.wait(_TIMEOUT_S)
        os.close(terminal)
        return {*(folder / "hits").read_text(encoding="utf-8").split()} if (folder / "hits").exists() else set()

    return complete


def _fish(folder: Path, path: Path) -> Complete:
    command, first = shells.fish()

    def complete(line: str) -> set[str]:
        text = f"{first}source {path}; complete -C '{line}'"
        environment = os.environ | {"HOME": str(folder)}
        done = subprocess.run(
            [*command, "-c", text], cwd=folder, env=environment, stdout=subprocess.PIPE, text=True, check=True
        )
        return {answer.partition("\t")[0] for answer in done.stdout.splitlines()}

    return complete


_SHELLS = {"bash": _bash, "zsh": _zsh, "fish": _fish}


def started(shell: str, folder: Path, script: str) -> Complete:
    """What a shell that has loaded the script offers where Tab is pressed at the end of a line."""
    path = folder / "script"
    path.write_text(script, encoding="utf-8")
    try:
        return _SHELLS[shell](folder, path)
    except ToolError as error:
        unavailable(f"{shell} cannot be had: {error}")
        raise


def offered(complete: Complete, line: str) -> set[str]:
    return {word.rstrip("/") for word in complete(line)}


@pytest.mark.parametrize("shell", _SHELLS)
def test_commands_options_and_values(shell, tmp_path, capsys):
    assert cli.main(["completion", shell]) == 0
    complete = started(shell, tmp_path, capsys.readouterr().out)
    (tmp_path / "one.toml").touch()
    (tmp_path / "one.folder").mkdir()
    assert offered(complete, "binwire ch") == {"check", "channel"}
    assert {"serve", "fixture", "completion", "bench"} <= offered(complete, "binwire ")
    assert offered(complete, "binwire channel re") == {"resume", "rename", "release", "records", "record"}
    assert "client" in offered(complete, "binwire bench c")
    assert offered(complete, "binwire serve --log") == {"--log-level"}
    assert offered(complete, "binwire channel records --wh") == {"--where"}
    assert offered(complete, "binwire serve --log-level w") == {"warning"}
    assert offered(complete, "binwire completion z") == {"zsh"}
    assert offered(complete, "binwire check -c one.t") == {"one.toml"}
    assert offered(complete, "binwire status --data-dir one.") == {"one.folder"}


def test_a_name_with_a_space_is_one_word_of_bash(tmp_path, capsys):
    assert cli.main(["completion", "bash"]) == 0
    complete = started("bash", tmp_path, capsys.readouterr().out)
    (tmp_path / "our orders.toml").touch()
    (tmp_path / "our data").mkdir()
    assert offered(complete, "binwire check -c our") == {"our orders.toml", "our data"}
    assert offered(complete, "binwire status --data-dir our") == {"our data"}


def test_what_is_completed_is_what_the_parsers_take():
    """No command can be missing that `binwire --help` lists, nor can one be offered that is refused."""
    own: completion.Parsers = {"channel": channel_command.command_parser, "group": group_command.command_parser}
    own |= {"call": call_command.command_parser, "bench": bench.command_parser, "bench client": client.command_parser}
    script = completion.script("fish", cli._parser(), own)
    shown = cli._parser().format_help().split("commands:")[1]
    listed = {line.split()[0] for line in shown.splitlines() if line.startswith("    ") and line[4:5].strip()}
    offers = {line.split(" -a ")[1].split()[0] for line in script.splitlines() if "'__binwire_at ' -a " in line}
    assert offers == listed - {"COMMAND"}


@pytest.mark.parametrize("shell", _SHELLS)
def test_no_text_of_help_means_anything_to_a_shell(shell, tmp_path):
    text = 'it\'s [one]: $(touch broken) `touch broken` "x" \\'
    parser = argparse.ArgumentParser(prog="binwire")
    commands = parser.add_subparsers()
    command = commands.add_parser("first", help=text)
    command.add_argument("--value", metavar="N:x", help=text)
    command.add_argument("--other", help=text)
    complete = started(shell, tmp_path, completion.script(shell, parser, {}))
    assert offered(complete, "binwire f") == {"first"}
    assert offered(complete, "binwire first --v") == {"--value"}
    assert not (tmp_path / "broken").exists()


def test_a_shell_that_is_not_known_is_wrong_usage(capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["completion", "tcsh"])
    assert ended.value.code == 2
    assert "tcsh" in capsys.readouterr().err
