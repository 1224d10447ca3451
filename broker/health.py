"""Whether the server is healthy, and whether it is ready: what `/healthz` and `/readyz` answer.

*Healthy* is a server that answers, whose catalog takes a durable write, and whose data directory takes a file. One that
is not should be looked at, and restarted if it does not come to itself: as a liveness probe. The source plays no part
in it: a server is not healed by a restart because a database is away.

*Ready* is a server that is healthy and whose Kafka listeners take connections: clients may be sent to it. A channel in
Error does not make it unready, for its log is served all the same; who wants to wait for channels asks for them:
`/readyz?channel=ID` (several times, if need be) is ready only if each of these is in state Normal.

Writes are tried at most every `TRIED_MS`, however often is asked, one at a time, and are given `DEADLINE_S`.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from broker.monitoring import seen
from storage.errors import StorageError

if TYPE_CHECKING:
    from broker.control import ChannelView
    from broker.monitoring import Viewed
    from storage.catalog import Catalog
    from storage.clock import Clock

TRIED_MS: Final = 5_000
DEADLINE_S: Final = 5.0
SETTING: Final = "health was asked for at"
NORMAL: Final = "Normal"


class Check(Struct, frozen=True):
    """One thing that was looked at; `found` says in a sentence what is wrong, None if nothing is."""

    name: str
    is_well: bool
    found: str | None = None


class Verdict(Struct, frozen=True):
    """The whole: `meaning` says in a sentence what that is for who asked."""

    is_well: bool
    meaning: str
    checks: tuple[Check, ...]
    states: dict[str, int] = {}
    """How many channels are in which state."""
    channels: dict[str, str] = {}
    """The state of each channel by its id."""

    def public(self) -> Verdict:
        """What somebody may know who did not log in: no paths, addresses, names."""
        checks = tuple(Check(check.name, check.is_well) for check in self.checks)
        return Verdict(self.is_well, self.meaning, checks, self.states)


class Health:
    """Answers for one server; `is_serving` says whether its Kafka listeners take connections."""

    def __init__(
        self, catalog: Catalog, data_path: Path, channels: Viewed, is_serving: Callable[[], bool], clock: Clock
    ) -> None:
        self._catalog = catalog
        self._data_path = data_path
        self._channels = channels
        self._is_serving = is_serving
        self._clock = clock
        self._tried_ms: int | None = None
        self._trial: asyncio.Task[tuple[Check, ...]] | None = None
        self._under_way: dict[str, asyncio.Future[None]] = {}

    async def healthy(self) -> Verdict:
        checks = await self._written()
        is_well = all(check.is_well for check in checks)
        meaning = "the server is alive and can write" if is_well else "the server cannot write what it has to keep"
        return Verdict(is_well, meaning, checks)

    async def ready(self, wanted: Sequence[str] = ()) -> Verdict:
        views = await seen(self._channels)
        states = {view.id: view.state for view in views}
        checks = (*await self._written(), _listening(self._is_serving()), *(_normal(each, views) for each in wanted))
        is_well = all(check.is_well for check in checks)
        meaning = "Kafka clients are served" if is_well else f"not ready: {', '.join(_failing(checks))}"
        return Verdict(is_well, meaning, checks, dict(Counter(states.values())), states)

    async def _written(self) -> tuple[Check, ...]:
        """What came of the last trial, of a new one if that is long ago."""
        now_ms = self._clock.monotonic_ms()
        is_old = self._tried_ms is None or now_ms - self._tried_ms >= TRIED_MS
        if self._trial is None or (is_old and self._trial.done()):
            self._tried_ms = now_ms
            self._trial = asyncio.create_task(self._try(), name="health")
        return await asyncio.shield(self._trial)

    async def _try(self) -> tuple[Check, ...]:
        now = str(self._clock.now_ms())
        catalog = self._check("catalog", lambda: self._catalog.run(self._catalog.set_setting, SETTING, now))
        disk = self._check("data directory", lambda: asyncio.to_thread(_write_a_file, self._data_path))
        return tuple(await asyncio.gather(catalog, disk))

    async def _check(self, name: str, write: Callable[[], Awaitable[None]]) -> Check:
        """Of a disk that hangs one write is under way, not one more at each trial until no thread is left."""
        work = self._under_way.get(name)
        if work is None or work.done():
            work = self._under_way[name] = asyncio.ensure_future(write())
            work.add_done_callback(_ended)
        try:
            async with asyncio.timeout(DEADLINE_S):
                await asyncio.shield(work)
        except TimeoutError:
            return Check(name, False, f"a write has not ended after {DEADLINE_S:.0f} s")
        except (StorageError, OSError) as error:
            return Check(name, False, str(error))
        return Check(name, True)


def _ended(work: asyncio.Future[None]) -> None:
    """What it failed of is told to who still waits for it, if somebody does."""
    if not work.cancelled():
        work.exception()


def _write_a_file(folder: Path) -> None:
    """One that never has a name where the system knows such, and none afterwards."""
    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
        file.write(b"\0")


def _listening(is_serving: bool) -> Check:
    return Check("listeners", is_serving, None if is_serving else "no Kafka listener takes connections")


def _normal(channel_id: str, views: Sequence[ChannelView]) -> Check:
    name = f"channel {channel_id}"
    view = next((view for view in views if view.id == channel_id), None)
    if view is None:
        return Check(name, False, "there is no such channel")
    if view.state == NORMAL:
        return Check(name, True)
    return Check(name, False, f"it is in state {view.state}" + (f": {view.reason}" if view.reason else ""))


def _failing(checks: Sequence[Check]) -> list[str]:
    return [check.name for check in checks if not check.is_well]


Query = Mapping[str, Sequence[str]]
