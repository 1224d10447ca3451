"""A `.sql` file to its statements, each with the line it begins on.

A statement ends with `;` outside strings, comments and names. White space and comments before it are not its text, as
with the mysql client; executable comments are. Left to others: what a statement means.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from capture.dialect import Dialect
from capture.scenario.refusal import StatementRefused
from capture.sql import Kind, SqlSyntaxError, tokenize

_BEFORE: Final = re.compile(
    r"(?:[ \t\n\v\f\r\ufeff]+|#[^\n]*|--(?=[\x00-\x20\x7f]|\Z)[^\n]*|/\*(?!!|M!).*?\*/)*", re.DOTALL
)


class ScriptStatement(NamedTuple):
    """One statement without its semicolon."""

    sql: str
    line: int


def statements(text: str, dialect: Dialect) -> Iterator[ScriptStatement]:
    """The statements in order; raises StatementRefused, with the line, where the text cannot be taken apart."""
    lines = _Lines(text)
    start, is_empty = _beginning(text, 0), True
    tokens = tokenize(text, 0, dialect)
    while True:
        try:
            token = next(tokens)
        except SqlSyntaxError as error:
            raise StatementRefused(f"line {lines.at(start)}: {error}") from None
        ends = token.kind is Kind.PUNCTUATION and token.value == ";"
        if not ends and token.kind is not Kind.END:
            if is_empty and token.kind is Kind.WORD and token.value.upper() == "DELIMITER":
                raise StatementRefused(
                    f"line {lines.at(start)}: DELIMITER introduces stored programs, which are not played"
                )
            is_empty = False
            continue
        if not is_empty:
            yield ScriptStatement(text[start : token.start].rstrip(), lines.at(start))
        if token.kind is Kind.END:
            return
        start, is_empty = _beginning(text, token.end), True


def _beginning(text: str, position: int) -> int:
    """Where the text of a statement begins that is looked for from a position on."""
    found = _BEFORE.match(text, position)
    return position if found is None else found.end()


class _Lines:
    """Line numbers of positions that come in order."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._position, self._line = 0, 1

    def at(self, position: int) -> int:
        self._line += self._text.count("\n", self._position, position)
        self._position = position
        return self._line
