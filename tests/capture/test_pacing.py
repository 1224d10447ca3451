"""HEARTBEAT records: once a second, only while the source is heard, with a time that is known to be complete."""

from __future__ import annotations

import pytest

from capture.pacing import RECORD_PERIOD_MS, HeartbeatPacer
from tests.fakes import ManualClock

NOW_MS = 1_700_000_000_000


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(now_ms=NOW_MS)


def at_end(clock: ManualClock, offset_ms: int = 0) -> HeartbeatPacer:
    pacer = HeartbeatPacer(clock, offset_ms, 5000)
    pacer.at_end = True
    return pacer


def test_one_a_second(clock: ManualClock) -> None:
    pacer = at_end(clock)
    times = []
    for _ in range(40):
        clock.advance(250)
        pacer.heard()
        if pacer.due():
            times.append(pacer.take())
    assert times == [NOW_MS // 1000 + second for second in range(1, 11)]


def test_a_late_timer_does_not_slow_the_pace(clock: ManualClock) -> None:
    pacer = at_end(clock)
    clock.advance(1300)
    assert pacer.due()
    pacer.take()
    clock.advance(700)
    assert pacer.due(), "due at the full second, not a second after the late one"


def test_after_a_stall_there_is_one_not_many(clock: ManualClock) -> None:
    pacer = at_end(clock)
    clock.advance(60_000)
    pacer.heard()
    assert pacer.due()
    pacer.take()
    assert not pacer.due()


def test_a_silent_source_gives_none(clock: ManualClock) -> None:
    pacer = at_end(clock)
    clock.advance(5000)
    assert pacer.due()
    clock.advance(RECORD_PERIOD_MS + 1)
    assert not pacer.due()
    pacer.heard()
    assert pacer.due()


def test_the_time_is_the_sources(clock: ManualClock) -> None:
    pacer = at_end(clock, offset_ms=-90_000)
    assert pacer.time_s() == NOW_MS // 1000 - 90
    pacer.read_event(NOW_MS // 1000)
    assert pacer.time_s() == NOW_MS // 1000, "never behind what was read"


def test_while_behind_the_time_is_the_last_events(clock: ManualClock) -> None:
    pacer = HeartbeatPacer(clock, 0, 5000)
    clock.advance(1000)
    assert not pacer.due(), "nothing is known yet"
    pacer.read_event(NOW_MS // 1000 - 3600)
    pacer.drained()
    assert not pacer.at_end
    assert pacer.due()
    assert pacer.take() == NOW_MS // 1000 - 3600


@pytest.mark.parametrize(("age_s", "at_end"), [(0, True), (1, True), (2, False)])
def test_a_young_last_event_means_the_end(clock: ManualClock, age_s: int, at_end: bool) -> None:
    pacer = HeartbeatPacer(clock, 0, 5000)
    pacer.read_event(NOW_MS // 1000 - age_s)
    pacer.drained()
    assert pacer.at_end == at_end


def test_a_heartbeat_behind_an_old_event_means_the_end(clock: ManualClock) -> None:
    pacer = HeartbeatPacer(clock, 0, 5000)
    pacer.read_event(NOW_MS // 1000 - 3600)
    pacer.read_heartbeat(at_end=True)
    pacer.drained()
    assert pacer.at_end
    assert pacer.time_s() == NOW_MS // 1000


def test_an_old_event_behind_a_heartbeat_means_there_is_more(clock: ManualClock) -> None:
    pacer = HeartbeatPacer(clock, 0, 5000)
    pacer.read_heartbeat(at_end=True)
    pacer.read_event(NOW_MS // 1000 - 60)
    pacer.drained()
    assert not pacer.at_end


def test_in_the_middle_of_what_arrived_late_the_time_is_the_last_events(clock: ManualClock) -> None:
    pacer = at_end(clock)
    clock.advance(60_000)
    pacer.heard()
    pacer.read_event(NOW_MS // 1000 + 1)
    assert pacer.due()
    assert pacer.take() == NOW_MS // 1000 + 1, "what follows is a minute old as well"
