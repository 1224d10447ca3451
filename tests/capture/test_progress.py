"""What a channel tells of its way to the stream, on a real server: each step a sentence, and how far it is."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from capture.channel import State
from capture.mysql_source import MysqlSource
from capture.position import BinlogPosition
from capture.precheck import ITEMS
from capture.progress import Progress, through
from capture.source import SourceAddress
from storage.clock import SystemClock
from tests.capture.world import World, running

if TYPE_CHECKING:
    from pathlib import Path

    from capture.channel import Channel
    from tests.live_server import LiveServer

TABLES = 20


class WatchedSource(MysqlSource):
    """Looks at its channel whenever it is asked something."""

    channel: Channel
    seen: list[tuple[State, Progress | None]]

    async def query(self, sql: str) -> list[tuple[str | None, ...]]:
        self.look()
        return await super().query(sql)

    def sibling(self) -> MysqlSource:
        self.look()  # a stretch of the binlog is gone through now
        return super().sibling()

    def look(self) -> None:
        status = self.channel.status()
        self.seen.append((status.state, status.progress))


@pytest.mark.parametrize("start", ["now", "earliest"])
async def test_each_step_is_told(server: LiveServer, tmp_path: Path, start: str) -> None:
    database = server.fresh_database()
    server.execute_all("FLUSH LOGS", *(f"CREATE TABLE t{number} (id INT PRIMARY KEY)" for number in range(TABLES)),
                       database=database)  # fmt: skip
    world = World(tmp_path, SystemClock())
    source = WatchedSource(SourceAddress.parse(server.url()), 4721, world.clock)
    source.seen = []
    channel = source.channel = world.channel(lambda: source, database, start=start)
    assert channel.status().progress is None
    async with running(channel):
        assert channel.status().progress is None
        [(user,)] = server.execute("SELECT USER()")
        assert channel.whitelist_addresses[0] == user.rpartition("@")[2]
    await world.close()
    told = {state: [progress for at, progress in source.seen if at is state] for state in State}
    assert not any(told[State.NORMAL] + told[State.ERROR])
    checked = [progress.sentence for progress in told[State.PRECHECKING] if progress is not None]
    assert f"looking at keys: item {[item.name for item in ITEMS].index('keys') + 1} of {len(ITEMS)}" in checked
    tracked = [progress for progress in told[State.INITIAL] if progress is not None]
    assert len(tracked) == len(told[State.INITIAL]) >= TABLES
    sentences = [progress.sentence for progress in tracked]
    assert sentences[0] == f"looking for the start position: {start}"
    reading = [progress for progress in tracked if progress.sentence.startswith("reading the definitions of tables: ")]
    assert [progress.sentence for progress in reading[:TABLES]] == [
        f"reading the definitions of tables: {number} of {TABLES}" for number in range(TABLES)
    ]
    fractions = [progress.fraction for progress in reading[:TABLES]]
    assert fractions == [number / TABLES for number in range(TABLES)]
    if start == "earliest":
        assert any(re.match("looking for statements that changed definitions between ", one) for one in sentences)


@pytest.mark.parametrize(
    ("at", "end", "expected"),
    [(4, 104, 0.0), (54, 104, 0.5), (204, 104, 1.0), (4, 4, None)],
)
def test_the_part_of_a_stretch(at: int, end: int, expected: float | None) -> None:
    file = "binlog.000007"
    assert through(BinlogPosition(file, 4), BinlogPosition(file, at), BinlogPosition(file, end)) == expected
    assert through(BinlogPosition("binlog.000006", 4), BinlogPosition(file, at), BinlogPosition(file, end)) is None
