"""How `binwire init` asks: at a terminal, or not at all.

Without a terminal a question is a `ConfigError` that names the option or variable that answers it; nothing is guessed.
What a source tells is printed with its controls as escapes. A password is typed unseen.
"""

from __future__ import annotations

import os
import sys
from getpass import getpass
from typing import TYPE_CHECKING

from broker.config_rules import ConfigError
from broker.render import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping


class Dialogue:
    """One conversation; `is_interactive` False: nobody is there to answer."""

    def __init__(
        self,
        *,
        is_interactive: bool,
        environment: Mapping[str, str],
        read: Callable[[str], str] = input,
        read_secret: Callable[[str], str] = getpass,
    ) -> None:
        self.is_interactive = is_interactive
        self.environment = environment
        self._read = read
        self._read_secret = read_secret

    def say(self, *lines: str) -> None:
        for line in lines:
            print(printable(line), flush=True)

    def show(self, lines: Iterable[str]) -> None:
        """Lines that are escaped already, colours in them."""
        for line in lines:
            print(line, flush=True)

    def ask(self, question: str, option: str, default: str | None = None) -> str:
        """An answer, `default` for an empty one; `option` gives it without a terminal."""
        if not self.is_interactive:
            if default is not None:
                return default
            raise ConfigError(f"{question}? There is no terminal to ask at; give {option}")
        shown = f" [{default}]" if default is not None else ""
        while not (answer := self._typed(self._read, f"{question}{shown}: ").strip() or default):
            self.say("an answer is needed; Ctrl-C ends this")
        return answer

    def ask_or_nothing(self, question: str) -> str:
        """An answer that may be empty, which it is without a terminal."""
        return self._typed(self._read, f"{question}: ").strip() if self.is_interactive else ""

    def confirm(self, question: str, *, is_agreed: bool) -> bool:
        """Yes, unless it is typed otherwise; without a terminal only if it was agreed to before."""
        if is_agreed or not self.is_interactive:
            return is_agreed
        return self._typed(self._read, f"{question} [Y/n]: ").strip().lower() in ("", "y", "yes")

    def secret(self, question: str, variable: str) -> str:
        """A password: the environment's, or typed; empty where neither is."""
        if (found := self.environment.get(variable)) is not None:
            return found
        return self._typed(self._read_secret, f"{question}: ") if self.is_interactive else ""

    def _typed(self, read: Callable[[str], str], question: str) -> str:
        try:
            return read(printable(question))
        except EOFError:
            raise ConfigError("the answers ended before the questions; nothing was written") from None


def at_terminal() -> Dialogue:
    """With whoever is at this process's terminal, if there is one."""
    interactive = sys.stdin.isatty() and sys.stdout.isatty()
    return Dialogue(is_interactive=interactive, environment=os.environ)
