"""A commit that was answered is there after kill -9: a real server process, killed right behind the answer."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.broker.served_group import CONFIGURATION, CommitClient, connected
from tests.server_process import ServerProcess

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path, CONFIGURATION) as started:
        yield started


async def test_an_answered_commit_is_there_after_kill_9(server: ServerProcess) -> None:
    for offset, metadata in ((17, "1700000000|中文"), (3, ""), (2**62, "x" * 4096)):
        async with connected(server, CommitClient) as client:
            assert await client.commit(offset, metadata) == 0
            server.kill()
        server.start()
        async with connected(server, CommitClient) as client:
            assert await client.committed_with_metadata() == (offset, metadata)


async def test_no_commit_goes_back_when_many_are_under_way(server: ServerProcess) -> None:
    """Each of many connections commits in turn; the last that was answered, or one sent later, is found again."""
    number = 0
    answered: list[int] = []

    async def commit_on(client: CommitClient) -> None:
        nonlocal number
        while True:
            number += 1
            mine = number
            assert await client.commit(mine, None) == 0
            answered.append(mine)

    async def commit_until_killed() -> None:
        async with connected(server, CommitClient) as client:
            await commit_on(client)

    for _ in range(3):
        goal = len(answered) + 100
        tasks = [asyncio.create_task(commit_until_killed()) for _ in range(8)]
        while len(answered) < goal:
            done, _ = await asyncio.wait(tasks, timeout=0.01)
            assert not done
        server.kill()
        await asyncio.gather(*tasks, return_exceptions=True)
        server.start()
        async with connected(server, CommitClient) as client:
            offset, metadata = await client.committed_with_metadata()
        # Eight are under way at a time, and the order in which they arrive is the network's.
        assert max(answered) - 8 <= offset <= number
        assert metadata == ""
