"""What the commands `binwire channel`, `group` and `call` share: where the server is, secrets, confirmations, output.

A secret is typed at a terminal, or comes from the environment or as a line of standard input; an argument of a command
is seen by everybody who may list processes. What cannot be taken back is confirmed by typing it, or by `--yes`.

Left to others: asking the server (`remote.py`), the commands themselves.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TextIO

from broker.config_rules import ConfigError
from broker.remote import Local, call, web
from broker.render import style_for

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable, Mapping

    from broker.remote import Place
    from broker.render import Style

    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]
    Run = Callable[["Asking", argparse.Namespace], int]

CONFIG_FILE: Final = "binwire.toml"
DONE: Final = 0
NOT_DONE: Final = 1


class Asking:
    """A server to ask, and whether answers are wanted as JSON."""

    def __init__(self, place: Place, *, as_json: bool) -> None:
        self.place = place
        self.as_json = as_json

    def __call__(self, operation: str, **given: Any) -> Any:
        """An operation's result. What is None is not said. Raises OperationError or ControlError."""
        return call(self.place, operation, {key: value for key, value in given.items() if value is not None})

    def show(self, result: Any, lines: Callable[[Any, Style], Iterable[str]]) -> int:
        """Print a result, for people by `lines`."""
        if self.as_json:
            from broker.operations.operation import builtins

            print(json.dumps(builtins(result), ensure_ascii=False, indent=2))
        else:
            print(*lines(result, style_for(terminal=sys.stdout.isatty(), environment=os.environ)), sep="\n")
        return DONE


def run(parser: argparse.ArgumentParser, arguments: list[str]) -> int:
    """Do what was typed, by the command that was; the exit status."""
    return run_by(None, parser, arguments)


def run_by(run_command: Run | None, parser: argparse.ArgumentParser, arguments: list[str]) -> int:
    """Do what was typed, by this function or the command's own; the exit status."""
    typed = parser.parse_args(arguments)
    chosen: Run = typed.run if run_command is None else run_command
    return chosen(Asking(_place(typed), as_json=typed.json), typed)


def new_parser(name: str, description: str) -> tuple[argparse.ArgumentParser, Subparsers]:
    """The parser of a command that has commands of its own."""
    import argparse

    parser = argparse.ArgumentParser(
        prog=f"binwire {name}",
        description=description,
        epilog="Exit status: 0 done, 1 not done (one sentence on standard error), 2 wrong usage.",
    )
    return parser, parser.add_subparsers(title="commands", metavar="COMMAND", required=True)


def add(commands: Subparsers, name: str, run_command: Run, help_text: str) -> argparse.ArgumentParser:
    """One of them, which takes where the server is."""
    parser = commands.add_parser(name, help=help_text, description=f"{help_text[0].upper()}{help_text[1:]}.")
    parser.set_defaults(run=run_command)
    add_place(parser)
    return parser


def add_place(parser: argparse.ArgumentParser) -> None:
    """Where the server is, and in which form it is to answer."""
    place = parser.add_mutually_exclusive_group()
    place.add_argument(
        "-c",
        "--config",
        type=Path,
        default=Path(CONFIG_FILE),
        metavar="FILE",
        help="the server's configuration (default: %(default)s)",
    )
    place.add_argument("--data-dir", type=Path, metavar="DIR", help="the server's data directory")
    place.add_argument("--url", metavar="URL", help="the address of the server's console, such as https://host:18080")
    parser.add_argument(
        "--token-file", type=Path, metavar="FILE", help="a token for --url (default: the environment's BINWIRE_TOKEN)"
    )
    parser.add_argument("--json", action="store_true", help="the answer as JSON")


def _place(typed: argparse.Namespace) -> Place:
    if typed.url is not None:
        return web(typed.url, typed.token_file)
    if typed.data_dir is not None:
        return Local(typed.data_dir)
    from broker.config import data_directory

    return Local(data_directory(typed.config))


# --- secrets and confirmations ----------------------------------------------------------------------------------------


class Secrets:
    """Secrets one after the other: of the environment, of a terminal, or of the lines of standard input."""

    def __init__(self, stdin: TextIO | None = None, environment: Mapping[str, str] | None = None) -> None:
        self._stdin = sys.stdin if stdin is None else stdin
        self._environment = os.environ if environment is None else environment

    def ask(self, what: str, variable: str) -> str:
        """One secret. Raises ConfigError if there is none."""
        if variable in self._environment:
            return self._environment[variable]
        if self._stdin.isatty():
            from getpass import getpass

            try:
                return getpass(f"{what}: ")
            except EOFError:
                raise ConfigError(f"no {what} was typed; try again") from None
        line = self._stdin.readline()
        if not line:
            raise ConfigError(f"standard input has no line for the {what}; write it there, or set {variable}")
        return line.rstrip("\r\n")

    def ask_twice(self, what: str, variable: str) -> tuple[str, str]:
        """A new secret, and the same once more: a terminal asks again, where something else gives it it is one."""
        found = self.ask(what, variable)
        if variable in self._environment or not self._stdin.isatty():
            return found, found
        return found, self.ask("once more", variable)


def confirmed(what: str, wanted: str, *, is_sure: bool, stdin: TextIO | None = None) -> bool:
    """Whether somebody typed `wanted`, after being told `what` that means; without a terminal only `--yes` is sure."""
    if is_sure:
        return True
    source = sys.stdin if stdin is None else stdin
    if not source.isatty():
        raise ConfigError(f"{what} Nobody is at a terminal to confirm it; add --yes")
    print(what, file=sys.stderr)
    print(f"Type {wanted} to go on: ", end="", file=sys.stderr, flush=True)
    return source.readline().strip() == wanted


def not_confirmed() -> int:
    """Say that nothing was done."""
    print("binwire: what was typed is something else; nothing was deleted", file=sys.stderr)
    return NOT_DONE
