"""A source that is away for longer than the retention: what was read of it is deleted, where it was left is not."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.client import KafkaError, RawClient
from tests.live_server import LiveServer
from tests.torture.scene import LOGIN, PASSWORD, ROW_METADATA, TIMEOUT_S, TOPIC, Scene

RETENTION_S = 2
SETTINGS = f'segment_size = "16KiB"\nretention = "{RETENTION_S}s"\nflush_interval = "50ms"'
OFFSET_OUT_OF_RANGE = 1
INSERT = "INSERT INTO items (account, name, note, at) VALUES (%s, 'x', REPEAT('n', 2000), NOW(6))"


@pytest.mark.torture
def test_a_source_that_is_away_for_three_retention_periods_is_resumed_exactly(
    server_factory: Callable[..., LiveServer], tmp_path: Path
) -> None:
    with Scene(server_factory, tmp_path, SETTINGS) as scene:

        def insert(accounts: range) -> None:
            for account in accounts:
                scene.mysql.execute(INSERT, (account,), database=scene.database)

        def is_only_the_newest_left() -> bool:
            return time.monotonic() >= away_until and len(scene.segments()) == 1

        insert(range(60))
        scene.watcher.wait_for_records(60 * 3, TIMEOUT_S)
        scene.mysql.kill()
        away_until = time.monotonic() + 3 * RETENTION_S
        scene.server.wait_for(is_only_the_newest_left, "without its old segments", TIMEOUT_S)
        (channel,) = scene.server.status()["channels"]
        assert channel["state"] == "Error"
        assert channel["start_offset"] == int(scene.segments()[0].stem) > 0
        assert channel["start_timestamp_ms"] <= channel["end_timestamp_ms"]
        with RawClient(*scene.server.address()) as client:
            client.login(LOGIN, PASSWORD)
            with pytest.raises(KafkaError) as refused:
                client.fetch(TOPIC, 0)
        assert refused.value.code == OFFSET_OUT_OF_RANGE
        scene.mysql.start(ROW_METADATA)
        insert(range(60, 90))
        scene.verify()
        assert scene.compared == 60 + 30 + 1
