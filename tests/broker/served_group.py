"""A server process with one group and no reachable source, and a client in the raw that commits and reads commits.

In the raw, so that nothing is retried or sent again by itself.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import TypeVar

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

TOPIC = "cn_hangzhou_rm_groups_dtstest_version2"
GROUP, USERNAME, PASSWORD = "dtsgroups", "dtstest", "Groups-secret1"
CONFIGURATION = f"""
[[listeners]]
bind = "127.0.0.1:0"

[[channels]]
id = "groups"
topic = "{TOPIC}"
source = "mysql://nobody@127.0.0.1:1"
objects = ["shop"]

[[channels.groups]]
name = "groups"
id = "{GROUP}"
username = "{USERNAME}"
password = "{PASSWORD}"
"""


class CommitClient(RawClient):
    """Commits, and reads what is committed."""

    async def commit(
        self,
        offset: int,
        metadata: str | None = "",
        *,
        member_id: str = "",
        generation: int = -1,
        version: int = 2,
        retention_ms: int = -1,
        timestamp_ms: int = -1,
    ) -> int:
        partition = OffsetCommitPartition(partition=0, offset=offset, timestamp=timestamp_ms, metadata=metadata)
        request = OffsetCommitRequest(
            group_id=GROUP,
            generation_id=generation,
            member_id=member_id,
            retention_time=retention_ms,
            topics=[OffsetCommitTopic(topic=TOPIC, partitions=[partition])],
        )
        response = await self.ask(request, version, OffsetCommitResponse)
        return response.responses[0].partition_responses[0].error_code

    async def committed(self) -> int:
        return (await self.committed_with_metadata())[0]

    async def committed_with_metadata(self) -> tuple[int, str | None]:
        topic = OffsetFetchTopic(topic=TOPIC, partitions=[OffsetFetchPartition(partition=0)])
        response = await self.ask(OffsetFetchRequest(group_id=GROUP, topics=[topic]), 2, OffsetFetchResponse)
        (found,) = response.responses[0].partition_responses
        return found.offset, found.metadata


ClientT = TypeVar("ClientT", bound=CommitClient)


@contextlib.asynccontextmanager
async def connected(server: ServerProcess, client_class: type[ClientT]) -> AsyncIterator[ClientT]:
    """A connection that is logged in."""
    async with client_class(Address(*server.address())) as client:
        await client.log_in(f"{USERNAME}-{GROUP}", PASSWORD)
        yield client
