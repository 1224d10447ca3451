"""A commit that was answered is there after kill -9: a real server process, killed right behind the answer.

Clients in the raw, so that nothing is retried or sent again by itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from broker.apis.offset_commit import (
    OffsetCommitPartition,
    OffsetCommitRequest,
    OffsetCommitResponse,
    OffsetCommitTopic,
)
from broker.apis.offset_fetch import (
    OffsetFetchPartition,
    OffsetFetchRequest,
    OffsetFetchResponse,
    OffsetFetchTopic,
)
from broker.listener import Address
from tests.broker.raw_client import RawClient
from tests.server_process import ServerProcess

TOPIC = "cn_hangzhou_rm_commits_dtstest_version2"
GROUP, USERNAME, PASSWORD = "dtscommits", "dtstest", "Commit-secret1"
CONFIGURATION = f"""
[[listeners]]
bind = "127.0.0.1:0"

[[channels]]
id = "commits"
topic = "{TOPIC}"
source = "mysql://nobody@127.0.0.1:1"
objects = ["shop"]

[[channels.groups]]
name = "commits"
id = "{GROUP}"
username = "{USERNAME}"
password = "{PASSWORD}"
"""

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path, CONFIGURATION) as started:
        yield started


class Client(RawClient):
    """Commits and reads what is committed."""

    def __init__(self, server: ServerProcess) -> None:
        super().__init__(Address(*server.address()))

    async def commit(self, offset: int, metadata: str | None) -> int:
        partition = OffsetCommitPartition(partition=0, offset=offset, metadata=metadata)
        topic = OffsetCommitTopic(topic=TOPIC, partitions=[partition])
        request = OffsetCommitRequest(group_id=GROUP, topics=[topic])
        response = await self.ask(request, 2, OffsetCommitResponse)
        return response.responses[0].partition_responses[0].error_code

    async def committed(self) -> tuple[int, str | None]:
        topic = OffsetFetchTopic(topic=TOPIC, partitions=[OffsetFetchPartition(partition=0)])
        response = await self.ask(OffsetFetchRequest(group_id=GROUP, topics=[topic]), 2, OffsetFetchResponse)
        (found,) = response.responses[0].partition_responses
        return found.offset, found.metadata


async def test_an_answered_commit_is_there_after_kill_9(server: ServerProcess) -> None:
    for offset, metadata in ((17, "1700000000|中文"), (3, ""), (2**62, "x" * 4096)):
        async with Client(server) as client:
            await client.log_in(f"{USERNAME}-{GROUP}", PASSWORD)
            assert await client.commit(offset, metadata) == 0
            server.kill()
        server.start()
        async with Client(server) as client:
            await client.log_in(f"{USERNAME}-{GROUP}", PASSWORD)
            assert await client.committed() == (offset, metadata)


async def test_no_commit_goes_back_when_many_are_under_way(server: ServerProcess) -> None:
    """Each of many connections commits in turn; the last that was answered, or one sent later, is found again."""
    number = 0
    answered: list[int] = []

    async def commit_on(client: Client) -> None:
        nonlocal number
        while True:
            number += 1
            mine = number
            assert await client.commit(mine, None) == 0
            answered.append(mine)

    async def commit_until_killed() -> None:
        async with Client(server) as client:
            await client.log_in(f"{USERNAME}-{GROUP}", PASSWORD)
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
        async with Client(server) as client:
            await client.log_in(f"{USERNAME}-{GROUP}", PASSWORD)
            offset, metadata = await client.committed()
        # Eight are under way at a time, and the order in which they arrive is the network's.
        assert max(answered) - 8 <= offset <= number
        assert metadata == ""
