"""The brake on guessing: failed logins by user name and by where they come from, and the wait they cost.

A name or an origin with more failures in a minute than its limit leaves free has every attempt,
right or wrong, wait for `BRAKE_DELAY_MS` before it is looked at, and only so many wait at a time; what comes on top is
turned away unseen, to try again. So guessing is slow: a few guesses a second at a name, wherever they come from, and
a few more from one place, over however many names.

Whoever logged in lately from the same place under the same name is braked by failures of that very pair alone: a
guesser elsewhere, or behind the same NAT with other names, does not hold them up. Where name and place are the
guesser's too, they are delayed, and get in among the guesses.

Everything is bounded: names, origins and pairs beyond `REMEMBERED_MAX` are forgotten, the oldest first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from storage.scheduler import sleep

if TYPE_CHECKING:
    from storage.clock import Clock
    from storage.scheduler import Scheduler


class _Limit(NamedTuple):
    failures_free: int
    waiters_max: int


NAME_LIMIT: Final = _Limit(failures_free=10, waiters_max=4)
ORIGIN_LIMIT: Final = _Limit(failures_free=30, waiters_max=16)
FAILURE_WINDOW_MS: Final = 60_000
BRAKE_DELAY_MS: Final = 1_000
REMEMBERED_MAX: Final = 10_000  # keys with failures, and pairs that succeeded

Key = tuple[str, ...]


class _Failures:
    __slots__ = ("count", "since_ms", "waiting")

    def __init__(self, since_ms: int) -> None:
        self.since_ms = since_ms
        self.count = 0
        self.waiting = 0


class Brake:
    """Failures in the last minute, and who waits for them."""

    def __init__(self, clock: Clock, scheduler: Scheduler) -> None:
        self._clock = clock
        self._scheduler = scheduler
        self._failures: dict[Key, _Failures] = {}
        self._familiar: dict[Key, None] = {}

    async def admit(self, name: str, origin: str) -> bool:
        """Wait as long as this attempt has to; False if too many wait already."""
        braking = [
            (failures, limit.waiters_max)
            for key, limit in self._concerned(name, origin)
            if (failures := self._current(key)) is not None and failures.count >= limit.failures_free
        ]
        if any(failures.waiting >= waiters_max for failures, waiters_max in braking):
            return False
        if not braking:
            return True
        for failures, _ in braking:
            failures.waiting += 1
        try:
            await sleep(self._scheduler, BRAKE_DELAY_MS)
        finally:
            for failures, _ in braking:
                failures.waiting -= 1
        return True

    def failed(self, name: str, origin: str) -> None:
        """An attempt was looked at and refused. What the pair did counts for its name and its origin too."""
        for key in dict.fromkeys((("pair", name, origin), ("name", name), ("origin", origin))):
            failures = self._current(key)
            if failures is None:
                _make_room(self._failures)
                failures = _Failures(self._clock.monotonic_ms())
            failures.count += 1
            # Behind all others, so that what goes on is not what is forgotten.
            self._failures.pop(key, None)
            self._failures[key] = failures

    def succeeded(self, name: str, origin: str) -> None:
        """An attempt was right: this pair is known from now on."""
        if (name, origin) not in self._familiar:
            _make_room(self._familiar)
            self._familiar[name, origin] = None

    def forget(self, name: str) -> None:
        """The name is gone or has another password: what succeeded with the old one no longer speaks for anybody."""
        for pair in [pair for pair in self._familiar if pair[0] == name]:
            del self._familiar[pair]

    def _concerned(self, name: str, origin: str) -> tuple[tuple[Key, _Limit], ...]:
        if (name, origin) in self._familiar:
            return ((("pair", name, origin), NAME_LIMIT),)
        return ((("name", name), NAME_LIMIT), (("origin", origin), ORIGIN_LIMIT))

    def _current(self, key: Key) -> _Failures | None:
        failures = self._failures.get(key)
        if failures is None or failures.waiting or self._clock.monotonic_ms() - failures.since_ms < FAILURE_WINDOW_MS:
            return failures
        del self._failures[key]
        return None


def _make_room(remembered: dict[Key, Any]) -> None:
    if len(remembered) >= REMEMBERED_MAX:
        del remembered[next(iter(remembered))]
