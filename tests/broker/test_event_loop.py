"""Which event loop a server runs on: uvloop, and asyncio's own where that is missing."""

from __future__ import annotations

import asyncio
import sys

import pytest
import uvloop

from broker import event_loop


async def running() -> type[asyncio.AbstractEventLoop]:
    return type(asyncio.get_running_loop())


def test_uvloop_where_there_is_one() -> None:
    assert event_loop.run(running()) is uvloop.Loop


def test_asyncio_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvloop", None)
    assert event_loop.run(running()) is asyncio.SelectorEventLoop


def test_what_the_coroutine_raises_is_raised() -> None:
    async def fail() -> None:
        raise OSError("no disk")

    with pytest.raises(OSError, match="no disk"):
        event_loop.run(fail())
