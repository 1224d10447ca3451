"""Sizes and moments as people read and type them, the same everywhere."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

_UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def shown_bytes(size: float) -> str:
    """A size for people."""
    number = 0
    while size >= 1000 and number < len(_UNITS) - 1:
        size, number = size / 1024, number + 1
    return f"{size:.0f} {_UNITS[number]}" if number == 0 or size >= 100 else f"{size:.1f} {_UNITS[number]}"


def shown_moment(timestamp_ms: float) -> str:
    """A moment (Unix epoch) for people."""
    return f"{datetime.fromtimestamp(timestamp_ms / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"


def moment_ms(text: str) -> int | None:
    """A moment (Unix epoch) as people type it, in seconds or as a date with its offset; None if it is neither."""
    if text.isascii() and text.isdecimal():
        return int(text) * 1000
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return None if moment.tzinfo is None else int(moment.timestamp() * 1000)
