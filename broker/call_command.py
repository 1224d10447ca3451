"""`binwire call`: any operation by its name, with its arguments as JSON: what programs and scripts call."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any, Final

from broker.config_rules import ConfigError
from broker.operation_commands import Asking, add_place, run_by
from broker.render import table

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from broker.operations.operation import Operation
    from broker.render import Style

_WITH_SECRETS: Final = frozenset({"administrator", "source"})


def main(arguments: list[str]) -> int:
    """Run it; the exit status."""
    return run_by(_run, command_parser(), arguments)


def command_parser() -> argparse.ArgumentParser:
    """The parser of everything that is typed after it."""
    import argparse

    parser = argparse.ArgumentParser(
        prog="binwire call",
        description="Call any operation of a running server by its name; without NAME, list them.",
        epilog="What is given as KEY=VALUE is JSON, or else text. Secrets come with the JSON object on standard input.",
    )
    parser.add_argument("name", nargs="?", metavar="NAME", help="such as list_channels")
    parser.add_argument("given", nargs="*", metavar="KEY=VALUE", help="an argument of the operation")
    parser.add_argument("--input", action="store_true", help="further arguments: a JSON object on standard input")
    add_place(parser)
    return parser


def _run(asking: Asking, typed: argparse.Namespace) -> int:
    from broker.operations.table import BY_NAME, OPERATIONS

    if typed.name is None:
        return asking.show([_described(each) for each in OPERATIONS], _listed)
    if typed.name not in BY_NAME:
        raise ConfigError(f"there is no operation {typed.name!r}; `binwire call` lists those there are")
    given = dict(map(_pair, typed.given))
    if typed.input:
        given |= _read_input()
    asking.as_json = True
    return asking.show(asking(typed.name, **given), _listed)


def _described(operation: Operation) -> dict[str, Any]:
    keys = list(operation.arguments.__struct_fields__)
    return {"name": operation.name, "arguments": keys, "summary": operation.summary, "is_change": operation.is_change}


def _listed(found: list[dict[str, Any]], style: Style) -> Iterator[str]:
    rows = [(each["name"], each["summary"], " ".join(each["arguments"])) for each in found]
    yield from table(("operation", "what it does", "arguments"), rows, style)


def _pair(text: str) -> tuple[str, Any]:
    key, separator, value = text.partition("=")
    if not separator or not key:
        raise ConfigError(f"found {text!r}; write KEY=VALUE, such as channel_id=shop")
    if key in _WITH_SECRETS or "password" in key:
        raise ConfigError(f"{key} does not belong on a command line, where others see it; use --input")
    try:
        return key, json.loads(value)
    except ValueError:
        return key, value


def _read_input() -> dict[str, Any]:
    try:
        found = json.loads(sys.stdin.read())
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise ConfigError('standard input is not a JSON object; write one such as {"channel_id": "shop"}')
    return found
