"""Log lines that strangers can cause: each kind once in a while, with how many were left out.

A line belongs to a key: what happened, on which listener, from where. After one of a key is written the next ones of
that key are counted for `QUIET_MS`, and the next that is written tells the count. There are at most `KEYS_MAX` keys;
when so many hosts make trouble that they do not suffice, what the others cause counts as one kind.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Hashable

    from storage.clock import Clock

QUIET_MS: Final = 60_000
KEYS_MAX: Final = 1_000
_OTHERS: Final = "others"

_log = logging.getLogger("binwire.connections")


class _Told:
    __slots__ = ("at_ms", "left_out")

    def __init__(self, at_ms: int) -> None:
        self.at_ms = at_ms
        self.left_out = 0


class Notices:
    """What was told when."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._told: dict[Hashable, _Told] = {}

    def tell(self, level: int, key: Hashable, text: str) -> None:
        """Log a line, unless one of this key was lately."""
        now_ms = self._clock.monotonic_ms()
        if key not in self._told and len(self._told) >= KEYS_MAX:
            self._forget(now_ms)
            if len(self._told) >= KEYS_MAX:
                key = _OTHERS
        told = self._told.get(key)
        if told is not None and now_ms - told.at_ms < QUIET_MS:
            told.left_out += 1
            return
        more = f" (and {told.left_out} more times since the last such line)" if told and told.left_out else ""
        self._told[key] = _Told(now_ms)
        _log.log(level, "%s%s", text, more)

    def _forget(self, now_ms: int) -> None:
        for key, told in tuple(self._told.items()):
            if now_ms - told.at_ms >= QUIET_MS:
                del self._told[key]
