"""Loop timers: in time, cancelled, and put off after a stall."""

from __future__ import annotations

import asyncio
import time

import pytest

from storage import scheduler
from storage.scheduler import LoopScheduler, sleep
from tests.fakes import ManualClock, ManualScheduler


async def test_a_timer_fires_once_and_not_before_its_time() -> None:
    loop = asyncio.get_running_loop()
    fired: asyncio.Future[float] = loop.create_future()
    started = loop.time()
    LoopScheduler().call_later(20, lambda: fired.set_result(loop.time()))
    assert await fired - started >= 0.019


async def test_a_cancelled_timer_does_not_fire() -> None:
    fired: list[str] = []
    loop = asyncio.get_running_loop()
    timers = LoopScheduler()
    timers.call_later(1, lambda: fired.append("cancelled")).cancel()
    done: asyncio.Future[None] = loop.create_future()
    timers.call_later(5, lambda: done.set_result(None))
    await done
    assert fired == []


async def test_after_a_stall_deadlines_shift_by_as_long_as_it_lasted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler, "STALL_MS", 20)
    loop = asyncio.get_running_loop()
    fired: asyncio.Future[float] = loop.create_future()
    order: list[str] = []
    LoopScheduler().call_later(50, lambda: fired.set_result(loop.time()))
    loop.call_later(0.04, lambda: order.append("what came meanwhile"))
    time.sleep(0.1)  # noqa: ASYNC251 - the stall itself
    back = loop.time()
    assert await fired - back >= 0.04
    assert order == ["what came meanwhile"]


async def test_a_long_stall_puts_a_timer_off_by_no_more_than_its_own_length(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler, "STALL_MS", 20)
    loop = asyncio.get_running_loop()
    order: list[str] = []
    long_after: asyncio.Future[None] = loop.create_future()
    LoopScheduler().call_later(1, lambda: order.append("put off by its length"))
    time.sleep(0.1)  # noqa: ASYNC251 - the stall itself
    loop.call_later(0.09, lambda: order.append("put off by the stall"))
    loop.call_later(0.09, long_after.set_result, None)
    await long_after
    assert order == ["put off by its length", "put off by the stall"]


async def test_a_timer_put_off_can_still_be_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler, "STALL_MS", 20)
    fired: list[str] = []
    loop = asyncio.get_running_loop()
    timer = LoopScheduler().call_later(1, lambda: fired.append("fired"))
    time.sleep(0.03)  # noqa: ASYNC251
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    timer.cancel()
    done: asyncio.Future[None] = loop.create_future()
    loop.call_later(0.06, done.set_result, None)
    await done
    assert fired == []


async def test_sleep_lasts_as_long_as_asked() -> None:
    timers = ManualScheduler(ManualClock())
    sleeping = asyncio.ensure_future(sleep(timers, 1000))
    await asyncio.sleep(0)
    timers.advance(999)
    await asyncio.sleep(0)
    assert not sleeping.done()
    timers.advance(1)
    await sleeping


async def test_a_cancelled_sleep_leaves_no_timer() -> None:
    timers = ManualScheduler(ManualClock())
    sleeping = asyncio.ensure_future(sleep(timers, 1000))
    await asyncio.sleep(0)
    assert timers.pending == 1
    sleeping.cancel()
    await asyncio.gather(sleeping, return_exceptions=True)
    assert timers.pending == 0
