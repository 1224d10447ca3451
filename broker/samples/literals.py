"""Texts as literals of programming languages: whatever a text holds, the literal is one token and means that text.

Printable ASCII stands for itself, but for what a language's literal gives a meaning: its quote, its escape character,
what begins an interpolation (Ruby) or a trigraph (C). Everything else is written as an escape, so that neither line
ends nor characters that change the direction of text reach a program. A shell's literal has no escapes: in single
quotes every character stands for itself, and NUL, which no argument can hold, is refused.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

COMMENT_CHARACTERS_MAX: Final = 200
_IN_COMMENTS: Final = frozenset(" ._-,:()@+")


def literal(language_id: str, text: str) -> str:
    """A text in a program. Raises ValueError if the language cannot hold it."""
    return _LITERALS[language_id](text)


def comment(text: str) -> str:
    r"""A text in a comment of any language: letters, digits and a few marks stay, and what could end or begin
    anything (`*/`, a line's end, Java's `\u000a`) does not.
    """
    kept = "".join(each if each.isalnum() or each in _IN_COMMENTS else "?" for each in text)
    return kept if len(kept) <= COMMENT_CHARACTERS_MAX else f"{kept[:COMMENT_CHARACTERS_MAX]}..."


def _quoted(special: str, escape: Callable[[str], str]) -> Callable[[str], str]:
    """Literals in double quotes, in which `special` characters are written behind a backslash."""

    def quote(text: str) -> str:
        def one(character: str) -> str:
            if character in special:
                return f"\\{character}"
            return character if " " <= character <= "~" else escape(character)

        return f'"{"".join(map(one, text))}"'

    return quote


def _wide(character: str) -> str:
    number = ord(character)
    return f"\\u{number:04x}" if number < 1 << 16 else f"\\U{number:08x}"


def _utf16(character: str) -> str:
    r"""One escape for each unit of UTF-16; Java reads `\u000a` as a line's end before it reads the literal, so what
    is ASCII is written in octal.
    """
    if ord(character) < 1 << 7:
        return f"\\{ord(character):03o}"
    data = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{int.from_bytes(data[at : at + 2]):04x}" for at in range(0, len(data), 2))


def _octal(character: str) -> str:
    """One escape of three digits for each byte of UTF-8: a hexadecimal one of C has no end."""
    return "".join(f"\\{byte:03o}" for byte in character.encode())


def _shell(text: str) -> str:
    if "\0" in text:
        raise ValueError("a shell's word cannot hold NUL")
    return shlex.quote(text)


_QUOTE: Final = '"\\'
_LITERALS: Final = {
    "java": _quoted(_QUOTE, _utf16),
    "java-dts": _quoted(_QUOTE, _utf16),
    "python": _quoted(_QUOTE, _wide),
    "go": _quoted(_QUOTE, _wide),
    "node": _quoted(_QUOTE, lambda character: f"\\u{{{ord(character):x}}}"),
    "c": _quoted(f"{_QUOTE}?", _octal),
    "ruby": _quoted(f"{_QUOTE}#", lambda character: f"\\u{{{ord(character):x}}}"),
    "dotnet": _quoted(_QUOTE, _wide),
    "kcat": _shell,
}
