"""A disk that is full, read-only or forbidden under a real server: capture pauses and says why, readers go on, commits
are refused in a way that clients repeat, and when the cause is gone everything arrives, once.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from bench.client import RawClient
from broker.apis.offset_commit import (
    OffsetCommitPartition,
    OffsetCommitRequest,
    OffsetCommitResponse,
    OffsetCommitTopic,
)
from broker.errors import ErrorCode
from broker.listener import Address
from tests.broker.raw_client import RawClient as MessageClient
from tests.live_server import LiveServer
from tests.server_process import ServerFailedError, ServerProcess
from tests.small_disk import ServerOnSmallDisk, SmallDisk
from tests.torture.scene import GROUP_ID, LOGIN, PASSWORD, TIMEOUT_S, TOPIC, Scene

pytestmark = pytest.mark.timeout(240)

ServerFactory = Callable[..., LiveServer]
SEGMENT_BYTES = 1 << 20
SETTINGS = 'segment_size = "1MiB"'
ROWS = (
    "INSERT INTO items (account, amount, name, note, at) "
    "WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < %s) "
    "SELECT i %% 50, i / 100, 'row', REPEAT('x', 1000), '2024-03-01 09:15:00.5' FROM n"
)
COMMITS_MAX = 2000


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with SmallDisk(tmp_path / "disk", size_mib=32) as made:
        yield made


class Trouble:
    """A scene on a small disk."""

    def __init__(self, scene: Scene, disk: SmallDisk) -> None:
        self.scene = scene
        self.disk = disk

    def channel(self) -> dict[str, Any]:
        [channel] = self.scene.server.status()["channels"]
        return dict(channel)

    def insert(self, rows: int) -> None:
        self.scene.mysql.execute("SET SESSION cte_max_recursion_depth = 1000000")
        self.scene.mysql.execute(ROWS, (rows,), database=self.scene.database)

    def goes_on(self) -> None:
        """What is written from now on arrives."""
        self.insert(3)
        before = self.scene.watcher.end_offset
        self.scene.watcher.wait_for_records(before + 1, TIMEOUT_S)
        self.scene.server.wait_for(lambda: self.channel()["state"] == "Normal", "capturing")

    def stands_still(self) -> dict[str, Any]:
        """More than a segment is written, and the channel says why it does not follow."""
        self.insert(2 * SEGMENT_BYTES // 1000)
        self.scene.server.wait_for(lambda: self.channel()["state"] == "Error", "in state Error")
        return self.channel()

    def reads(self) -> None:
        """A consumer that begins now reads from the first record on."""
        with RawClient(*self.scene.server.address()) as client:
            client.login(LOGIN, PASSWORD)
            assert len(client.fetch(TOPIC, 0, max_bytes=1 << 20).records) > 0

    def shown(self) -> str:
        """What `binwire status` prints."""
        command = (sys.executable, "-m", "binwire", "status", "-c", str(self.scene.server.folder / "binwire.toml"))
        return self.disk.run(*command)

    async def commit(self, *offsets: int) -> int:
        """Commit one offset after the other until one is refused; the last answer's error code."""
        async with MessageClient(Address(*self.scene.server.address())) as client:
            await client.log_in(LOGIN, PASSWORD)
            for offset in offsets:
                partition = OffsetCommitPartition(partition=0, offset=offset)
                request = OffsetCommitRequest(
                    group_id=GROUP_ID,
                    generation_id=-1,
                    member_id="",
                    topics=[OffsetCommitTopic(topic=TOPIC, partitions=[partition])],
                )
                response = await client.ask(request, 2, OffsetCommitResponse)
                code = response.responses[0].partition_responses[0].error_code
                if code:
                    break
        return code


async def test_what_a_disk_refuses_pauses_capture_and_nothing_else(
    server_factory: ServerFactory, tmp_path: Path, disk: SmallDisk
) -> None:
    scene = Scene(server_factory, tmp_path, SETTINGS, partial(ServerOnSmallDisk, disk))
    trouble = Trouble(scene, disk)
    topic_folder = f"data/topics/{TOPIC}-0"
    log = disk.inside / topic_folder
    with scene:
        trouble.goes_on()
        assert await trouble.commit(1) == ErrorCode.NONE
        for said, remedy, hinder, mend in (
            ("No space left on device", "make room on its disk", disk.fill, disk.make_room),
            (
                "Read-only file system",
                "see why its file system is read-only",
                lambda: disk.make_read_only("data"),
                lambda: disk.make_writable("data"),
            ),
            (
                "Permission denied",
                "give this user the permission to write there",
                lambda: (disk.outside / topic_folder).chmod(0o500),
                lambda: (disk.outside / topic_folder).chmod(0o700),
            ),
        ):
            hinder()
            channel = trouble.stands_still()
            reason = channel["reason"]
            assert said in reason
            assert str(log) in reason
            assert remedy in reason
            assert channel["retried_until_ms"] > time.time() * 1000
            shown = trouble.shown()
            # Each try may be refused somewhere else: what a person sees is a later one's sentence.
            assert re.search(rf"reason    .*{re.escape(said)}.*{re.escape(remedy)}", shown)
            assert "next      retried until " in shown
            trouble.reads()
            if hinder == disk.fill:
                await _refuses_commits_until_there_is_room(trouble, mend)
            else:
                mend()
            trouble.goes_on()
            assert "state     Normal" in trouble.shown()
        scene.verify()


async def _refuses_commits_until_there_is_room(trouble: Trouble, mend: Callable[[], object]) -> None:
    """The catalog may have some room left in its files."""
    assert await trouble.commit(*range(COMMITS_MAX)) == ErrorCode.COORDINATOR_NOT_AVAILABLE
    mend()
    assert await trouble.commit(7) == ErrorCode.NONE


def test_a_start_on_a_read_only_disk_says_so_and_a_later_one_finds_everything(
    server_factory: ServerFactory, tmp_path: Path, disk: SmallDisk
) -> None:
    scene = Scene(server_factory, tmp_path, SETTINGS, partial(ServerOnSmallDisk, disk))
    trouble = Trouble(scene, disk)
    with scene:
        trouble.goes_on()
        scene.end(kill=True)
        disk.make_read_only("data")
        _refuses_to_start(scene.server, "Read-only file system", disk)
        disk.make_writable("data")
        scene.start()
        trouble.goes_on()
        scene.verify()


def test_a_full_disk_is_served_from_after_a_kill(
    server_factory: ServerFactory, tmp_path: Path, disk: SmallDisk
) -> None:
    """What a start writes takes the place of what it replaces."""
    scene = Scene(server_factory, tmp_path, SETTINGS, partial(ServerOnSmallDisk, disk))
    trouble = Trouble(scene, disk)
    with scene:
        trouble.goes_on()
        disk.fill()
        trouble.stands_still()
        scene.end(kill=True)
        disk.fill()
        scene.start()
        trouble.reads()
        assert "No space left on device" in trouble.stands_still()["reason"]
        disk.make_room()
        trouble.goes_on()
        scene.verify()


@pytest.mark.parametrize("said", ["No space left on device", "Permission denied"])
def test_a_first_start_that_the_disk_refuses_says_so(said: str, tmp_path: Path, disk: SmallDisk) -> None:
    if said == "Permission denied":
        disk.outside.chmod(0o500)
    else:
        disk.fill()
    _refuses_to_start(ServerOnSmallDisk(disk, tmp_path, ""), said, disk)


def _refuses_to_start(server: ServerProcess, said: str, disk: SmallDisk) -> None:
    with pytest.raises(ServerFailedError) as caught:
        server.start()
    [sentence] = str(caught.value).splitlines()[-1:]
    assert said in sentence
    assert str(disk.inside / "data") in sentence
    assert "Traceback" not in str(caught.value)
