"""What a fixture writes is kept by nobody: nothing of it is asked of the medium."""

from __future__ import annotations

import os

import pytest

from broker.app import Application
from broker.config import Config, ListenerConfig
from broker.fixture.call import answer
from broker.fixture.fixture import Fixture
from broker.fixture.table import CALLS


async def _use(app: Application) -> None:
    """A channel with a table and a row, committed and closed."""
    await app.start()
    fixture = Fixture(app)
    made = await answer(fixture, CALLS, "channel", {"statements": ["CREATE TABLE t (id INT PRIMARY KEY)"]})
    await answer(fixture, CALLS, "insert", {"channel": made["channel"], "table": "t", "rows": [{"id": 1}]})
    await app.offsets.commit(made["sid"], [(made["topic"], 0, 4, "")])
    assert await answer(fixture, CALLS, "committed", {"channel": made["channel"]}) == {"offset": 4, "metadata": ""}
    await answer(fixture, CALLS, "close_channel", {"channel": made["channel"]})
    await app.close()


@pytest.mark.parametrize("is_volatile", [True, False])
async def test_no_flush_of_what_nobody_keeps(tmp_path, monkeypatch, is_volatile):
    flushed: list[int] = []
    monkeypatch.setattr(os, "fsync", flushed.append)
    monkeypatch.setattr(os, "fdatasync", flushed.append, raising=False)
    config = Config(data_dir=str(tmp_path / "data"), listeners=[ListenerConfig(bind="127.0.0.1:0")])
    await _use(Application(config, is_volatile=is_volatile))
    assert (flushed == []) is is_volatile
