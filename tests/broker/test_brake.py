"""The brake on guessing: who waits for whose failures."""

from __future__ import annotations

import asyncio

import pytest

from broker import brake as brake_module
from broker.brake import BRAKE_DELAY_MS, FAILURE_WINDOW_MS, NAME_LIMIT, ORIGIN_LIMIT, Brake
from tests.fakes import ManualClock, ManualScheduler

NAME, HOME, ELSEWHERE = "dtstest-dtsa", "192.0.2.1", "198.51.100.7"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def timers(clock: ManualClock) -> ManualScheduler:
    return ManualScheduler(clock)


@pytest.fixture
def brake(clock: ManualClock, timers: ManualScheduler) -> Brake:
    return Brake(clock, timers)


def fail(brake: Brake, times: int, name: str = NAME, origin: str = HOME) -> None:
    for _ in range(times):
        brake.failed(name, origin)


async def passes_at_once(brake: Brake, name: str = NAME, origin: str = HOME) -> bool:
    attempt = asyncio.ensure_future(brake.admit(name, origin))
    await asyncio.sleep(0)
    passed = attempt.done() and attempt.result()
    attempt.cancel()
    await asyncio.gather(attempt, return_exceptions=True)
    return passed


async def test_a_few_failures_cost_nothing(brake: Brake) -> None:
    fail(brake, NAME_LIMIT.failures_free - 1)
    assert await passes_at_once(brake)


async def test_a_name_is_braked_from_everywhere_and_other_names_are_not(brake: Brake, timers: ManualScheduler) -> None:
    fail(brake, NAME_LIMIT.failures_free)
    assert not await passes_at_once(brake)
    assert not await passes_at_once(brake, origin=ELSEWHERE)
    assert await passes_at_once(brake, name="other-dtsb")
    attempt = asyncio.ensure_future(brake.admit(NAME, HOME))
    await asyncio.sleep(0)
    timers.advance(BRAKE_DELAY_MS)
    assert await attempt


async def test_an_origin_that_goes_on_over_many_names_is_braked_for_all_of_them(brake: Brake) -> None:
    for number in range(ORIGIN_LIMIT.failures_free):
        fail(brake, 1, name=f"name-{number}")
    assert not await passes_at_once(brake, name="never-tried")
    assert await passes_at_once(brake, name="never-tried", origin=ELSEWHERE)


async def test_so_many_wait_and_the_next_is_turned_away_until_they_are_through(
    brake: Brake, timers: ManualScheduler
) -> None:
    fail(brake, NAME_LIMIT.failures_free)
    waiting = [asyncio.ensure_future(brake.admit(NAME, HOME)) for _ in range(NAME_LIMIT.waiters_max)]
    await asyncio.sleep(0)
    assert not await brake.admit(NAME, ELSEWHERE)
    timers.advance(BRAKE_DELAY_MS)
    assert all(await asyncio.gather(*waiting))
    waiting = [asyncio.ensure_future(brake.admit(NAME, HOME))]
    await asyncio.sleep(0)
    timers.advance(BRAKE_DELAY_MS)
    assert await waiting[0]


async def test_who_gives_up_waiting_makes_room(brake: Brake) -> None:
    fail(brake, NAME_LIMIT.failures_free)
    for _ in range(NAME_LIMIT.waiters_max + 1):
        assert not await passes_at_once(brake)
    attempt = asyncio.ensure_future(brake.admit(NAME, HOME))
    await asyncio.sleep(0)
    assert not attempt.done()
    attempt.cancel()


async def test_a_guesser_elsewhere_does_not_hold_up_who_logged_in_from_home(brake: Brake) -> None:
    brake.succeeded(NAME, HOME)
    fail(brake, 1000, origin=ELSEWHERE)
    assert await passes_at_once(brake)
    assert not await passes_at_once(brake, origin=ELSEWHERE)


async def test_a_guesser_behind_the_same_nat_does_not_either_while_it_tries_other_names(brake: Brake) -> None:
    brake.succeeded(NAME, HOME)
    for number in range(1000):
        fail(brake, 1, name=f"name-{number}")
    assert await passes_at_once(brake)
    assert not await passes_at_once(brake, name="new-dtsc")


async def test_behind_one_nat_and_under_one_name_the_rightful_user_is_delayed(
    brake: Brake, timers: ManualScheduler
) -> None:
    brake.succeeded(NAME, HOME)
    fail(brake, NAME_LIMIT.failures_free)
    attempt = asyncio.ensure_future(brake.admit(NAME, HOME))
    await asyncio.sleep(0)
    assert not attempt.done()
    timers.advance(BRAKE_DELAY_MS)
    assert await attempt


async def test_a_forgotten_name_has_no_known_places_any_more(brake: Brake) -> None:
    brake.succeeded(NAME, HOME)
    brake.forget(NAME)
    fail(brake, NAME_LIMIT.failures_free, origin=ELSEWHERE)
    assert not await passes_at_once(brake)


async def test_the_brake_is_let_go_with_time(brake: Brake, clock: ManualClock) -> None:
    fail(brake, 1000)
    clock.advance(FAILURE_WINDOW_MS - 1)
    assert not await passes_at_once(brake)
    clock.advance(1)
    assert await passes_at_once(brake)


async def test_what_is_remembered_is_bounded_and_who_goes_on_is_not_forgotten(
    brake: Brake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(brake_module, "REMEMBERED_MAX", 8)
    for number in range(100):
        fail(brake, 1, name=f"u-{number}")
        brake.succeeded(f"u-{number}", HOME)
    assert len(brake._failures) == 8
    assert len(brake._familiar) == 8
    assert not await passes_at_once(brake, name="never-tried")
