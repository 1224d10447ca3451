"""Channels made ahead."""

from __future__ import annotations

import asyncio

import pytest

from broker.capturing import CallFailedError
from broker.fixture.spares import SPARES, Spares


class Maker:
    """Makes numbers, and holds each until it is let go."""

    def __init__(self, *, held: bool = False) -> None:
        self.made = 0
        self.error: CallFailedError | None = None
        self.may_go = asyncio.Event()
        if not held:
            self.may_go.set()
        self.full = asyncio.Event()

    async def make(self) -> int:
        await self.may_go.wait()
        if self.error is not None:
            raise self.error
        self.made += 1
        if self.made == SPARES:
            self.full.set()
        return self.made


async def test_spares_are_made_while_nothing_is_called_until_there_are_enough():
    maker = Maker()
    spares = Spares(maker.make)
    spares.begin()
    await maker.full.wait()
    spares.begin()
    await spares.close()
    assert maker.made == SPARES
    assert [await spares.take() for _ in range(SPARES)] == [*range(1, SPARES + 1)]
    assert maker.made == SPARES
    assert await spares.take() == SPARES + 1


async def test_a_call_takes_the_one_that_is_being_made():
    maker = Maker(held=True)
    spares = Spares(maker.make)
    spares.begin()
    taking = asyncio.create_task(spares.take())
    await asyncio.sleep(0)
    maker.may_go.set()
    assert await taking == 1
    assert maker.made == 1
    await spares.close()


async def test_what_cannot_be_made_ahead_is_told_when_it_is_asked_for():
    maker = Maker()
    maker.error = CallFailedError("no room")
    spares = Spares(maker.make)
    spares.begin()
    with pytest.raises(CallFailedError, match="no room"):
        await spares.take()
    await spares.close()


async def test_none_is_made_when_it_is_closed():
    maker = Maker()
    spares = Spares(maker.make)
    await spares.close()
    spares.called()
    spares.begin()
    await asyncio.sleep(0)
    assert maker.made == 0
