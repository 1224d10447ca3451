"""Loop timers: in time, cancelled, and put off after a stall."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable

import pytest

from storage import scheduler
from storage.scheduler import LoopScheduler, give_way, sleep
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


class _Packets(asyncio.Protocol):
    """Hands a packet on as the stream of a source does: to a task that waits for it."""

    def __init__(self) -> None:
        self.arrived = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        self.arrived.set_result(data)


def _loops() -> list[Callable[[], asyncio.AbstractEventLoop]]:
    import uvloop

    return [asyncio.new_event_loop, uvloop.new_event_loop]


@pytest.mark.parametrize("new_loop", _loops(), ids=["asyncio", "uvloop"])
def test_a_packet_becomes_an_answer_between_two_slices(new_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    """The steps are those of a commit that a client waits for: channel, look at who waits, their answers."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        server, sender = socket.socketpair()
        sender.setblocking(False)
        transport, packets = await loop.connect_accepted_socket(_Packets, server)

        async def channel() -> None:
            data = await packets.arrived
            loop.call_soon(loop.call_soon, transport.write, data)

        task = asyncio.create_task(channel())
        await asyncio.sleep(0)
        try:
            sender.send(b"commit")
            await give_way()
            assert sender.recv(100) == b"commit"
            await task
        finally:
            task.cancel()
            transport.abort()
            sender.close()
            await asyncio.sleep(0)

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(main())
