"""However many channels a session has: each is gone when it is closed."""

from __future__ import annotations

import gc
import os
import threading
from collections import Counter

from broker.app import Application
from broker.config import Config, ListenerConfig
from broker.fixture.call import answer
from broker.fixture.fixture import Fixture
from broker.fixture.table import CALLS

ORDERS = "CREATE TABLE orders (id BIGINT PRIMARY KEY, note VARCHAR(40))"
OURS = ("broker.", "capture.", "storage.")


async def use_one(app: Application, fixture: Fixture) -> None:
    """A channel with two groups, a table, a row, a commit."""
    made = await answer(fixture, CALLS, "channel", {"statements": [ORDERS]})
    channel = {"channel": made["channel"]}
    await answer(fixture, CALLS, "group", channel)
    await answer(fixture, CALLS, "insert", channel | {"table": "orders", "rows": [{"id": 1}]})
    await app.offsets.commit(made["sid"], [(made["topic"], 0, 4, "")])
    await answer(fixture, CALLS, "wait_consumed", channel)
    await answer(fixture, CALLS, "close_channel", channel)


def left(app: Application) -> dict[str, object]:
    """What could be left of a channel, counted."""
    for thread in threading.enumerate():
        if thread.name == "log-upkeep":
            thread.join()
    gc.collect()
    rows = {table: app.catalog._select(f"SELECT count(*) FROM {table}") for table in ("channels", "groups", "offsets")}
    return {
        "rows": rows | {"schema_versions": app.catalog._select("SELECT count(*) FROM schema_versions")},
        "logs": len(os.listdir(app.topic_path("x").parent)),  # noqa: PTH208 — names are enough
        "descriptors": len(os.listdir("/proc/self/fd")),  # noqa: PTH208
        "objects": Counter(
            f"{type(each).__module__}.{type(each).__qualname__}"
            for each in gc.get_objects()
            if str(type(each).__module__).startswith(OURS)
        ),
    }


async def test_what_is_closed_is_gone(tmp_path):
    config = Config(data_dir=str(tmp_path / "data"), listeners=[ListenerConfig(bind="127.0.0.1:0")])
    app = Application(config, is_volatile=True)
    await app.start()
    fixture = Fixture(app)
    await fixture.spares.close()  # each is made when it is asked for
    await use_one(app, fixture)
    await use_one(app, fixture)
    before = left(app)
    for _ in range(20):
        await use_one(app, fixture)
    assert left(app) == before
    assert fixture.names == set()
    await app.close()
