"""Series: what they hold, what a minute becomes, how much memory they take, and that nothing is guessed."""

from __future__ import annotations

import asyncio
import logging
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from broker.monitoring import (
    COARSE_VALUES,
    FINE_STEP_MS,
    FINE_VALUES,
    SLACK_VALUES,
    Monitoring,
    Ring,
    seen,
)
from broker.operations.operation import Caller, OperationError, call
from broker.operations.plane import ControlPlane, LoggedAudit
from broker.operations.table import BY_NAME
from storage.log import NotResident
from tests.broker.views import Shown, channel_view, group_view
from tests.fakes import ManualClock, ManualScheduler

MINUTE_MS = 60_000
BEGIN_MS = 1_700_000_040_000  # a whole minute


class Watched:
    """A monitoring on a clock that moves in whole steps."""

    def __init__(self, *views: Any) -> None:
        self.clock = ManualClock(now_ms=BEGIN_MS)
        self.scheduler = ManualScheduler(self.clock)
        self.channels = Shown(*views)
        self.monitoring = Monitoring(self.channels, self.clock, self.scheduler)

    async def look(self, **changes: Any) -> None:
        """One look, and then a step."""
        if changes:
            self.channels.all[0] = replace(self.channels.all[0], **changes)
        await self.monitoring.look()
        self.clock.advance(FINE_STEP_MS)

    def points(self, name: str, minutes: int = 60, group_id: str | None = None) -> list[tuple[int, float]]:
        shown = self.monitoring.shown(self.channels.all[0].id, minutes)
        assert shown is not None
        [found] = [each for each in shown.series if (each.name, each.group_id) == (name, group_id)]
        return [(at_ms - BEGIN_MS, value) for at_ms, value in found.points]


@given(st.integers(1, 8), st.lists(st.tuples(st.integers(0, 60), st.integers(-5, 5) | st.none()), max_size=60))
def test_a_ring_is_the_newest_values_by_tick(size: int, puts: list[tuple[int, int | None]]) -> None:
    ring, ever, kept = Ring(size), dict[int, float](), dict[int, float]()
    for tick, value in puts:
        ring.put(tick, math.nan if value is None else value)
        ever = {each: known for each, known in ever.items() if each < tick}
        kept = {each: known for each, known in kept.items() if tick - size < each < tick}
        if value is not None:
            ever[tick] = kept[tick] = value
        found = dict(ring.since(tick - size + 1))
        assert kept.items() <= found.items() <= ever.items()
        assert len(ring) <= size + SLACK_VALUES


async def test_rates_are_what_grew_between_looks() -> None:
    watched = Watched(channel_view())
    await watched.look(high_watermark=100, committed_bytes=1_000)
    await watched.look(high_watermark=150, committed_bytes=1_000)
    await watched.look(high_watermark=150, committed_bytes=11_000)
    assert watched.points("records_per_s") == [(5_000, 10.0), (10_000, 0.0)]
    assert watched.points("bytes_per_s") == [(5_000, 0.0), (10_000, 2_000.0)]


async def test_what_is_not_known_has_no_point() -> None:
    watched = Watched(channel_view(groups=(group_view(),)))
    await watched.look(lag_ms=None)
    await watched.look(lag_ms=1_500, groups=(group_view(delay_s=7, remaining=3, offset=5),))
    await watched.look(lag_ms=None, groups=(group_view(offset=15),))
    assert watched.points("delay_s") == [(5_000, 1.5)]
    assert watched.points("delay_s", group_id="dts1") == [(5_000, 7.0)]
    assert watched.points("remaining", group_id="dts1") == [(5_000, 3.0)]
    assert watched.points("records_per_s", group_id="dts1") == [(10_000, 2.0)]


async def test_a_group_that_goes_back_did_not_consume() -> None:
    watched = Watched(channel_view())
    for offset in (100, 20, 30):
        await watched.look(groups=(group_view(offset=offset),))
    assert watched.points("records_per_s", group_id="dts1") == [(5_000, 0.0), (10_000, 2.0)]


async def test_a_minute_is_told_by_the_mean_of_rates_and_the_highest_of_all_else() -> None:
    watched = Watched(channel_view())
    lags = [1_000, 9_000, *[2_000] * 10]
    for step, lag_ms in enumerate(lags):
        await watched.look(lag_ms=lag_ms, high_watermark=step * 10)
    await watched.look()
    assert watched.points("delay_s", minutes=61) == [(0, 9.0)]
    assert watched.points("records_per_s", minutes=61) == [(0, 2.0)]


async def test_a_minute_of_which_nothing_is_known_has_no_point() -> None:
    watched = Watched(channel_view(lag_ms=None))
    for _ in range(13):
        await watched.look()
    assert watched.points("delay_s", minutes=61) == []


async def test_memory_is_bounded_however_long_it_runs() -> None:
    views = [channel_view(id=f"c{number}", groups=(group_view(), group_view(id="dts2"))) for number in range(2)]
    watched = Watched(*views)
    series = 2 * 4 + 4 * 3
    held = []
    for _ in range(26 * 60):
        for _ in range(12):
            watched.clock.advance(FINE_STEP_MS)
            watched.monitoring.note(views)
        held.append(watched.monitoring.values_held)
    assert max(held) <= series * (FINE_VALUES + COARSE_VALUES + 2 * SLACK_VALUES)
    assert held[-1] >= series * (FINE_VALUES + COARSE_VALUES)
    assert len(watched.points("silent_s", minutes=24 * 60)) == 24 * 60
    assert len(watched.points("silent_s", minutes=60)) == FINE_VALUES + 1  # both ends of the hour


async def test_what_is_gone_is_forgotten() -> None:
    watched = Watched(channel_view(groups=(group_view(), group_view(id="dts2"))))
    await watched.look()
    await watched.look(groups=(group_view(),))
    assert watched.monitoring.shown("shop", 60).series[-1].group_id == "dts1"  # type: ignore[union-attr]
    watched.channels.all.clear()
    await watched.monitoring.look()
    assert watched.monitoring.shown("shop", 60) is None
    assert watched.monitoring.values_held == 0


async def test_a_channel_that_was_not_looked_at_yet_has_series_without_points() -> None:
    watched = Watched(channel_view())
    shown = watched.monitoring.shown("shop", 60)
    assert shown is not None
    assert {series.points for series in shown.series} == {()}
    assert shown.states == ()


async def test_a_clock_that_is_set_back_takes_with_it_what_stands_behind_its_time() -> None:
    watched = Watched(channel_view())
    for lag_ms in (1_000, 2_000, 3_000):
        await watched.look(lag_ms=lag_ms)
    watched.clock.set_wall(-2 * FINE_STEP_MS)
    await watched.look(lag_ms=9_000)
    assert watched.points("delay_s") == [(0, 1.0), (5_000, 9.0)]


async def test_a_clock_that_jumps_ahead_leaves_a_gap() -> None:
    watched = Watched(channel_view())
    await watched.look(lag_ms=1_000)
    watched.clock.set_wall(10 * FINE_STEP_MS)
    await watched.look(lag_ms=2_000)
    assert watched.points("delay_s") == [(0, 1.0), (55_000, 2.0)]


async def test_the_loop_goes_on_between_the_channels_of_a_look_and_of_a_minute_that_is_over() -> None:
    watched = Watched(*(channel_view(id=f"channel{number}", groups=(group_view(),)) for number in range(3)))
    held: list[int] = []

    async def watch_it_grow(look: asyncio.Task[None]) -> None:
        while not look.done():
            held.append(watched.monitoring.values_held)
            await asyncio.sleep(0)

    async def look() -> list[int]:
        held.clear()
        await watch_it_grow(asyncio.create_task(watched.look()))
        return list(dict.fromkeys(held))

    assert await look() == [0, 7, 14, 21]
    watched.clock.advance(MINUTE_MS - 2 * FINE_STEP_MS)
    await watched.look()
    before = watched.monitoring.values_held
    assert await look() == [before, before + 14, before + 28, before + 42]


async def test_silence_goes_on_while_there_is_no_session() -> None:
    watched = Watched(channel_view())
    await watched.look(silent_ms=2_000)
    await watched.look(state="Error", silent_ms=None)
    await watched.look(state="Error", silent_ms=None)
    assert watched.points("silent_s") == [(0, 0.0), (5_000, 5.0), (10_000, 10.0)]
    assert watched.monitoring.silent_s("shop") == 10.0


async def test_nothing_is_expected_of_a_source_whose_channel_is_not_started() -> None:
    watched = Watched(channel_view(state="Not Started", silent_ms=None))
    await watched.look()
    assert watched.points("silent_s") == []
    await watched.look(state="Performing Initial Change Tracking")
    assert watched.points("silent_s") == [(5_000, 5.0)]


async def test_nothing_is_expected_of_a_source_of_files_that_ended() -> None:
    watched = Watched(channel_view(reason="the source ended at binlog.000002:4", silent_ms=99_000))
    await watched.look()
    assert watched.monitoring.silent_s("shop") is None


async def test_states_are_told_from_when_they_began() -> None:
    watched = Watched(channel_view())
    for state in ("Normal", "Normal", "Error", "Normal"):
        await watched.look(state=state)
    shown = watched.monitoring.shown("shop", 60)
    assert shown is not None
    spans = [(span.begun_ms - BEGIN_MS, span.state) for span in shown.states]
    assert spans == [(0, "Normal"), (10_000, "Error"), (15_000, "Normal")]
    watched.clock.advance(2 * MINUTE_MS)
    shown = watched.monitoring.shown("shop", 1)
    assert shown is not None
    assert [span.state for span in shown.states] == ["Normal"]


async def test_a_look_follows_each_step_also_after_one_that_failed(caplog: pytest.LogCaptureFixture) -> None:
    watched = Watched(channel_view())
    told: list[int] = []

    def look(now_ms: int, views: Any) -> tuple[()]:
        told.append(now_ms - BEGIN_MS)
        if len(told) == 1:
            raise RuntimeError("a subscriber's fault")
        return ()

    watched.monitoring.subscribe(look)
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            watched.monitoring.start() if not told else watched.scheduler.advance(FINE_STEP_MS)
            await watched.monitoring.settled()
    assert told == [0, 5_000, 10_000]
    assert caplog.text.count("could not be looked at") == 1
    await watched.monitoring.close()
    assert watched.scheduler.pending == 0


async def test_what_is_not_in_memory_is_waited_for_and_what_is_gone_is_passed_over() -> None:
    class Cold(Shown):
        is_cold = True

        def view(self, channel_id: str) -> Any:
            if channel_id == "gone":
                raise KeyError(channel_id)
            if self.is_cold:
                self.is_cold = False

                async def bring_in() -> None:
                    return None

                raise NotResident(bring_in)
            return super().view(channel_id)

    found = await seen(Cold(channel_view(id="gone"), channel_view()))
    assert [view.id for view in found] == ["shop"]


async def test_the_operation_tells_series_and_names_an_unknown_channel() -> None:
    watched = Watched(channel_view())
    await watched.look(lag_ms=1_000)
    plane = ControlPlane(clock=watched.clock, channels=watched.channels, audit=LoggedAudit())  # type: ignore[arg-type]
    plane.monitoring = watched.monitoring
    caller = Caller("somebody", "api", "127.0.0.1")
    operation = BY_NAME["show_series"]
    shown = await call(plane, operation, {"channel_id": "shop", "minutes": "61"}, caller, typed=False)
    assert (shown.step_s, shown.to_ms - shown.from_ms) == (60, 61 * MINUTE_MS)
    with pytest.raises(OperationError, match="there is no channel 'nope'"):
        await call(plane, operation, {"channel_id": "nope"}, caller)
    with pytest.raises(OperationError, match="minutes"):
        await call(plane, operation, {"channel_id": "shop", "minutes": 1441}, caller)
