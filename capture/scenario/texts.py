"""When a collation takes two texts for equal, and which comes first; what is not certain is refused.

Certain are: equal texts; ASCII (letters without case for `_ci`); CJK ideographs, Hangul and most Cyrillic letters,
which are equal to themselves alone. Any other character may be ignored, or stand for up to three others (ß, æ, é), as
languages and versions of the Unicode tables have it: texts that differ for certain in what is left are different, and
the rest raises StatementRefused. Trailing spaces count for nothing but under `binary` and NO PAD collations.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from msgspec import Struct

from capture.scenario.refusal import StatementRefused

_STANDS_FOR_MAX: Final = 3
_STATES_MAX: Final = 20_000
_CERTAIN_RANGES: Final = ((0x20, 0x7E), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xAC00, 0xD7A3), (0x0430, 0x044F))
_UNCERTAIN: Final = frozenset("ией")
"""Cyrillic letters that others are made of by an accent."""


class Collating(Struct, frozen=True):
    """What matters of a collation."""

    name: str
    is_binary: bool
    ignores_case: bool
    pads: bool


@lru_cache(maxsize=64)
def collating(name: str) -> Collating:
    """What matters of a collation, by its name."""
    pads = name != "binary" and "0900" not in name and "nopad" not in name
    return Collating(name, name == "binary" or name.endswith("_bin"), name.endswith("_ci"), pads)


def are_equal(first: str, second: str, collation: str) -> bool:
    """Whether a collation takes two texts for equal. Raises StatementRefused where that is not certain."""
    if first == second:
        return True
    rules = collating(collation)
    folded, other = folded_text(first, collation), folded_text(second, collation)
    if folded == other:
        return True
    if rules.is_binary or (is_certain(folded) and is_certain(other)):
        return False
    if not _may_be_equal(folded, other):
        return False
    raise StatementRefused(
        f"whether {collation} takes {_shown(first)} and {_shown(second)} for equal is not known here; give the "
        f"column a binary collation such as utf8mb4_bin, or choose rows by another column"
    )


def folded_text(text: str, collation: str) -> str:
    """A text so that certainly equal ones are the same."""
    rules = collating(collation)
    if rules.pads:
        text = text.rstrip(" ")
    return "".join(map(_without_case, text)) if rules.ignores_case else text


def _without_case(character: str) -> str:
    lower = character.lower()
    return lower if character.isascii() or is_certain(lower) else character


def is_certain(text: str) -> bool:
    """Whether each character is equal to itself alone."""
    return all(_is_certain(character) for character in text)


def _is_certain(character: str) -> bool:
    number = ord(character)
    return any(first <= number <= last for first, last in _CERTAIN_RANGES) and character not in _UNCERTAIN


def _may_be_equal(first: str, second: str) -> bool:
    """Whether two texts could be equal if each uncertain character stands for up to three others, or none."""
    seen, todo = {(0, 0)}, [(0, 0)]
    while todo:
        here, there = todo.pop()
        if (here, there) == (len(first), len(second)) or len(seen) > _STATES_MAX:
            return True
        following: list[tuple[int, int]] = []
        if here < len(first) and there < len(second) and first[here] == second[there]:
            following.append((here + 1, there + 1))
        if here < len(first) and not _is_certain(first[here]):
            following += [(here + 1, there + count) for count in range(_STANDS_FOR_MAX + 1)]
        if there < len(second) and not _is_certain(second[there]):
            following += [(here + count, there + 1) for count in range(_STANDS_FOR_MAX + 1)]
        for state in following:
            if state[0] <= len(first) and state[1] <= len(second) and state not in seen:
                seen.add(state)
                todo.append(state)
    return False


def order(first: str, second: str, collation: str) -> int:
    """-1, 0 or 1. Raises StatementRefused where the collation's order is not known."""
    if are_equal(first, second, collation):
        return 0
    rules = collating(collation)
    first, second = folded_text(first, collation), folded_text(second, collation)
    if rules.pads:
        length = max(len(first), len(second))
        first, second = first.ljust(length), second.ljust(length)
    if not rules.is_binary and not (_is_ordered(first, rules) and _is_ordered(second, rules)):
        raise StatementRefused(
            f"which of {_shown(first)} and {_shown(second)} comes first in {collation} is not known here; only "
            f"ASCII letters, digits and spaces are ordered"
        )
    return -1 if first < second else 1


def _is_ordered(text: str, rules: Collating) -> bool:
    plain = text.isascii() and all(character.isalnum() or character == " " for character in text)
    return plain and (rules.ignores_case or text.islower() or not any(map(str.isalpha, text)))


def _shown(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:39]}…")
