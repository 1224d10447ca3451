"""What a channel does before it streams, told to whoever looks: a sentence, and which part of it is done.

What takes long takes a `Tell` and calls it as it goes on, often; it costs a call and no more. Loads nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from capture.position import BinlogPosition

    Tell = Callable[[str, float | None], None]


class Progress(NamedTuple):
    """What is being done now; `fraction` from 0 to 1, None if nobody knows."""

    sentence: str
    fraction: float | None = None


def quiet(sentence: str, fraction: float | None = None) -> None:
    """For those who tell nobody."""


def through(start: BinlogPosition, at: BinlogPosition, end: BinlogPosition) -> float | None:
    """The part of a stretch of the binlog that lies before `at`, None across files, whose sizes nobody asked for."""
    if not start.number == at.number == end.number or end.position <= start.position:
        return None
    return min(1.0, max(0.0, (at.position - start.position) / (end.position - start.position)))
