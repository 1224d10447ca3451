"""How channels and groups went: every few seconds a look at all of them, kept in memory as series for plots.

A series is two rings of values: one for each `FINE_STEP_MS` of the last hour, one for each minute of the last day. A
minute's value is folded from the fine ones when it is over: rates as their mean, all else as its highest, so that a
short delay is still seen a day later. Values stand at ticks of the wall clock and are 4 bytes each; NaN is what was
not known. So a series takes at most `(FINE_VALUES + COARSE_VALUES + 2 * SLACK_VALUES) * 4` bytes, 9.2 KB, of which
there are four for each channel and three for each group; nothing is done for each record. What is gone from the server
is forgotten.

A clock that is set back takes with it what stands behind its new time; one that jumps ahead leaves a gap.

Left to others: what a channel says of itself (`channels.py`), what is made of the looks (`alerts/watch.py`).
"""

from __future__ import annotations

import asyncio
import logging
import math
from array import array
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from broker.operations.monitoring import Series, ShownSeries, StateSpan
from storage.log import resident
from storage.scheduler import give_way

if TYPE_CHECKING:
    from broker.control import ChannelView, GroupView
    from storage.clock import Clock
    from storage.scheduler import Scheduler, Timer

FINE_STEP_MS: Final = 5_000
FINE_VALUES: Final = 720
COARSE_STEP_MS: Final = 60_000
COARSE_VALUES: Final = 1_440
SLACK_VALUES: Final = 64
"""A ring is cut to its size when it is this much over, not at each value."""
STATES_MAX: Final = 1_000
"""Changes of state of a channel that are known; one that breaks every few seconds has more in a day."""
FINE_MINUTES: Final = FINE_VALUES * FINE_STEP_MS // 60_000
NORMAL: Final = "Normal"
UNSTARTED: Final = frozenset({"Not Started", "Prechecking"})
"""States in which nothing is expected from a source."""

NAN: Final = math.nan
_log = logging.getLogger("binwire.monitoring")

Look = Callable[[int, "Sequence[ChannelView]"], "Iterable[None]"]


class Ring:
    """Values at consecutive ticks, the newest `size` of them and at most `SLACK_VALUES` more."""

    __slots__ = ("_end", "_size", "_values")

    def __init__(self, size: int) -> None:
        self._size = size
        self._values = array("f")
        self._end = 0
        """The tick behind the last value."""

    def __len__(self) -> int:
        return len(self._values)

    def put(self, tick: int, value: float) -> None:
        """The value at a tick: behind the last one, or in place of it and what follows it."""
        values = self._values
        if not values or tick - self._end >= self._size or self._end - tick >= len(values):
            del values[:]
        elif tick < self._end:
            del values[tick - self._end :]
        else:
            values.extend([NAN] * (tick - self._end))
        values.append(value)
        self._end = tick + 1
        if len(values) > self._size + SLACK_VALUES:
            del values[: len(values) - self._size]

    def since(self, tick: int) -> Iterator[tuple[int, float]]:
        """The known values from a tick on, each with its own."""
        first = max(self._end - len(self._values), tick)
        for index in range(first - self._end, 0):
            value = self._values[index]
            if value == value:
                yield self._end + index, value


class Kind(NamedTuple):
    """What a line shows, and how a minute is told by one value."""

    name: str
    unit: str
    fold: Callable[[Sequence[float]], float]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


RECORDS_RATE: Final = Kind("records_per_s", "records/s", _mean)
BYTES_RATE: Final = Kind("bytes_per_s", "bytes/s", _mean)
DELAY: Final = Kind("delay_s", "s", max)
SILENT: Final = Kind("silent_s", "s", max)
REMAINING: Final = Kind("remaining", "messages", max)

CHANNEL_KINDS: Final = (RECORDS_RATE, BYTES_RATE, DELAY, SILENT)
GROUP_KINDS: Final = (RECORDS_RATE, DELAY, REMAINING)


class Line:
    """One series in both resolutions."""

    __slots__ = ("coarse", "fine", "kind")

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.fine = Ring(FINE_VALUES)
        self.coarse = Ring(COARSE_VALUES)

    def fold(self, minute: int) -> None:
        """Tell a minute that is over by one value."""
        first, end = (minute * COARSE_STEP_MS // FINE_STEP_MS, (minute + 1) * COARSE_STEP_MS // FINE_STEP_MS)
        known = [value for tick, value in self.fine.since(first) if tick < end]
        self.coarse.put(minute, self.kind.fold(known) if known else NAN)

    def points(self, minutes: int, now_ms: int) -> tuple[tuple[int, float], ...]:
        ring, step_ms = (self.fine, FINE_STEP_MS) if minutes <= FINE_MINUTES else (self.coarse, COARSE_STEP_MS)
        first = -(-(now_ms - minutes * 60_000) // step_ms)
        return tuple((tick * step_ms, value) for tick, value in ring.since(first))


class _Counted:
    """How fast something grows, from look to look."""

    __slots__ = ("_at_ms", "_value")

    def __init__(self) -> None:
        self._value: int | None = None
        self._at_ms = 0

    def per_s(self, value: int | None, monotonic_ms: int) -> float:
        """NaN at the first look; what goes back (offsets may be committed anew) did not grow."""
        before, then_ms = self._value, self._at_ms
        self._value, self._at_ms = value, monotonic_ms
        if value is None or before is None or monotonic_ms <= then_ms:
            return NAN
        return max(0, value - before) * 1000 / (monotonic_ms - then_ms)


class _Group:
    def __init__(self) -> None:
        self.lines = tuple(Line(kind) for kind in GROUP_KINDS)
        self._consumed = _Counted()

    def values(self, view: GroupView, monotonic_ms: int) -> tuple[float, ...]:
        return (
            self._consumed.per_s(view.offset, monotonic_ms),
            NAN if view.delay_s < 0 else view.delay_s,
            NAN if view.remaining < 0 else view.remaining,
        )


class _Channel:
    def __init__(self, monotonic_ms: int) -> None:
        self.lines = tuple(Line(kind) for kind in CHANNEL_KINDS)
        self.groups: dict[str, _Group] = {}
        self.states: deque[StateSpan] = deque(maxlen=STATES_MAX)
        self.silent_s: float | None = None
        self.is_heard = False
        """Whether `silent_s` counts from when something was heard, and not from when that began to be expected."""
        self._records, self._bytes = _Counted(), _Counted()
        self._heard_ms = monotonic_ms

    def values(self, view: ChannelView, monotonic_ms: int) -> tuple[float, ...]:
        self._listen(view, monotonic_ms)
        return (
            self._records.per_s(view.high_watermark, monotonic_ms),
            self._bytes.per_s(view.committed_bytes, monotonic_ms),
            NAN if view.lag_ms is None else view.lag_ms / 1000,
            NAN if self.silent_s is None else self.silent_s,
        )

    def all_lines(self) -> Iterator[Line]:
        """Its own and those of its groups."""
        yield from self.lines
        for group in self.groups.values():
            yield from group.lines

    def _listen(self, view: ChannelView, monotonic_ms: int) -> None:
        """A channel whose session ended hears nothing either, though it has nobody to hear."""
        has_ended = view.state == NORMAL and view.reason is not None  # a source of files: there is nothing more to hear
        if has_ended or view.state in UNSTARTED:
            self._heard_ms, self.silent_s, self.is_heard = monotonic_ms, None, False
            return
        if view.silent_ms is not None and monotonic_ms - view.silent_ms >= self._heard_ms:
            self._heard_ms, self.is_heard = monotonic_ms - view.silent_ms, True
        self.silent_s = (monotonic_ms - self._heard_ms) / 1000

    def note_state(self, state: str, now_ms: int) -> None:
        while self.states and self.states[-1].begun_ms > now_ms:
            self.states.pop()  # the clock was set back
        if not self.states or self.states[-1].state != state:
            self.states.append(StateSpan(now_ms, state))


class Viewed(Protocol):
    """What is looked at, channel by channel."""

    def ids(self) -> Sequence[str]: ...

    def view(self, channel_id: str) -> ChannelView: ...


async def seen(channels: Viewed) -> list[ChannelView]:
    """Views of all channels, with the loop given back between them: a thousand groups take a hundred milliseconds."""
    views = []
    for channel_id in channels.ids():
        with suppress(KeyError):  # it was released meanwhile
            views.append(await resident(partial(channels.view, channel_id)))
        await give_way()
    return views


class Monitoring:
    """Looks at all channels each `FINE_STEP_MS`, between `start` and `close`, and keeps what it saw."""

    def __init__(self, channels: Viewed, clock: Clock, scheduler: Scheduler) -> None:
        self._channels = channels
        self._clock = clock
        self._scheduler = scheduler
        self._timer: Timer | None = None
        self._looking: asyncio.Task[None] | None = None
        self._kept: dict[str, _Channel] = {}
        self._minute = 0
        self._looks: list[Look] = []

    def subscribe(self, look: Look) -> None:
        """Have `look(now_ms, views)` gone through at each look, with the loop given back between its pieces."""
        self._looks.append(look)

    def start(self) -> None:
        self._timer = self._scheduler.call_later(FINE_STEP_MS, self.start)
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look(), name="monitoring")

    async def settled(self) -> None:
        """Wait for a look that is under way."""
        if self._looking is not None:
            await asyncio.gather(self._looking, return_exceptions=True)

    async def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._looking is not None:
            self._looking.cancel()
        await self.settled()

    async def _look(self) -> None:
        try:
            await self.look()
        except Exception:
            # Whatever one look stumbles over, the next one comes: alerts depend on it.
            _log.exception("the channels could not be looked at")

    async def look(self) -> None:
        """Look once."""
        for _ in self._noted(await seen(self._channels)):
            await give_way()

    def note(self, views: Sequence[ChannelView]) -> None:
        """Keep what was seen, and tell it."""
        for _ in self._noted(views):
            pass

    def _noted(self, views: Sequence[ChannelView]) -> Iterator[None]:
        """A channel at a time: a thousand groups take forty milliseconds when a minute is over."""
        now_ms = self._clock.now_ms()
        tick, minute = now_ms // FINE_STEP_MS, now_ms // COARSE_STEP_MS
        over = self._minute if minute > self._minute > 0 else None
        self._minute = minute
        for view in views:
            if over is not None and (kept := self._kept.get(view.id)) is not None:
                for line in kept.all_lines():
                    line.fold(over)
            self._note(view, tick, now_ms)
            yield
        for gone in self._kept.keys() - {view.id for view in views}:
            del self._kept[gone]
        for look in self._looks:
            yield from look(now_ms, views)

    def _note(self, view: ChannelView, tick: int, now_ms: int) -> None:
        monotonic_ms = self._clock.monotonic_ms()
        kept = self._kept.setdefault(view.id, _Channel(monotonic_ms))
        kept.note_state(view.state, now_ms)
        _put(kept.lines, tick, kept.values(view, monotonic_ms))
        for group in view.groups:
            lines = kept.groups.setdefault(group.id, _Group())
            _put(lines.lines, tick, lines.values(group, monotonic_ms))
        for gone in kept.groups.keys() - {group.id for group in view.groups}:
            del kept.groups[gone]

    @property
    def values_held(self) -> int:
        """Values of all series, each of 4 bytes."""
        return sum(len(line.fine) + len(line.coarse) for kept in self._kept.values() for line in kept.all_lines())

    def silent_s(self, channel_id: str) -> float | None:
        """How long nothing was heard of a channel's source, connected or not; None: nothing is expected of it."""
        kept = self._kept.get(channel_id)
        return None if kept is None else kept.silent_s

    def is_heard(self, channel_id: str) -> bool:
        """Whether that counts from when something was heard: not at first after a start of the server."""
        kept = self._kept.get(channel_id)
        return kept is not None and kept.is_heard

    def shown(self, channel_id: str, minutes: int) -> ShownSeries | None:
        """The series of a channel over the last minutes; None if there is none with this id."""
        kept = self._kept.get(channel_id)
        if kept is None and channel_id in self._channels.ids():
            kept = _Channel(self._clock.monotonic_ms())  # made since the last look: nothing is known of it yet
        if kept is None:
            return None
        now_ms = self._clock.now_ms()
        from_ms = now_ms - minutes * 60_000
        lines = [(None, line) for line in kept.lines]
        grouped = [(group_id, line) for group_id, group in kept.groups.items() for line in group.lines]
        return ShownSeries(
            channel_id=channel_id,
            step_s=(FINE_STEP_MS if minutes <= FINE_MINUTES else COARSE_STEP_MS) // 1000,
            from_ms=from_ms,
            to_ms=now_ms,
            series=tuple(
                Series(line.kind.name, line.kind.unit, group_id, line.points(minutes, now_ms))
                for group_id, line in (*lines, *grouped)
            ),
            states=_spans_since(kept.states, from_ms),
        )


def _put(lines: Sequence[Line], tick: int, values: Sequence[float]) -> None:
    for line, value in zip(lines, values, strict=True):
        line.fine.put(tick, value)


def _spans_since(states: Sequence[StateSpan], from_ms: int) -> tuple[StateSpan, ...]:
    """The states from a time on, with the one that held then."""
    spans = list(states)
    first = max((index for index, span in enumerate(spans) if span.begun_ms <= from_ms), default=0)
    return tuple(spans[first:])
