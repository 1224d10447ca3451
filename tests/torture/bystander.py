"""A consumer that behaves well while others do not: it must notice nothing of them.

It is a member of its own group and, round after round, reads the whole log from its first offset, compares every byte,
heartbeats, commits, reads the commit back and looks at the metadata. It remembers how long the slowest answer took.
"""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TypeVar

from broker.apis.fetch import FetchPartition, FetchRequest, FetchResponse, FetchTopic
from broker.apis.heartbeat import HeartbeatRequest, HeartbeatResponse
from broker.apis.join_group import GroupProtocol, JoinGroupRequest, JoinGroupResponse
from broker.apis.metadata import MetadataRequest, MetadataResponse
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
from broker.apis.sync_group import MemberAssignment, SyncGroupRequest, SyncGroupResponse
from broker.listener import Address
from broker.wire import Message
from storage.records import iter_batches
from tests.broker.raw_client import RawClient

MessageT = TypeVar("MessageT", bound=Message)
ROUND_PAUSE_S = 0.02
FETCH_BYTES = 1 << 20


class Bystander(threading.Thread):
    """Runs until `stop`, which raises what it found wrong. `expected` is the log's bytes as they lie on disk."""

    def __init__(
        self, address: tuple[str, int], topic: str, group: str, username: str, password: str, expected: bytes
    ) -> None:
        super().__init__(name="bystander", daemon=True)
        self.rounds = 0
        self.slowest_s = 0.0
        self._address = Address(*address)
        self._topic = topic
        self._group = group
        self._login = (username, password)
        self._expected = expected
        self._stopping = threading.Event()
        self._failure: BaseException | None = None

    def stop(self) -> None:
        """End, and raise what went wrong."""
        self._stopping.set()
        self.join()
        if self._failure is not None:
            raise self._failure

    def run(self) -> None:
        try:
            asyncio.run(self._consume())
        except BaseException as failure:
            self._failure = failure

    async def _consume(self) -> None:
        async with RawClient(self._address) as client:
            await client.log_in(*self._login)
            generation, member = await self._join(client)
            while not self._stopping.is_set():
                assert await self._read_all(client) == self._expected, "the log reads differently"
                beat = HeartbeatRequest(group_id=self._group, generation_id=generation, member_id=member)
                assert (await self._ask(client, beat, 1, HeartbeatResponse)).error_code == 0
                await self._commit(client, generation, member)
                told = await self._ask(client, MetadataRequest(topics=None), 5, MetadataResponse)
                assert [(each.topic, each.error_code) for each in told.topic_metadata] == [(self._topic, 0)]
                self.rounds += 1
                await asyncio.sleep(ROUND_PAUSE_S)

    async def _ask(self, client: RawClient, request: Message, version: int, cls: type[MessageT]) -> MessageT:
        began = time.monotonic()
        answer = await client.ask(request, version, cls)
        self.slowest_s = max(self.slowest_s, time.monotonic() - began)
        return answer

    async def _join(self, client: RawClient) -> tuple[int, str]:
        join = JoinGroupRequest(
            group_id=self._group,
            session_timeout=300_000,
            rebalance_timeout=300_000,
            member_id="",
            protocol_type="consumer",
            group_protocols=[GroupProtocol(protocol_name="range", protocol_metadata=b"topics")],
        )
        joined = await self._ask(client, join, 2, JoinGroupResponse)
        mine = MemberAssignment(member_id=joined.member_id, member_assignment=b"partition 0")
        sync = SyncGroupRequest(
            group_id=self._group,
            generation_id=joined.generation_id,
            member_id=joined.member_id,
            group_assignment=[mine],
        )
        assert (await self._ask(client, sync, 1, SyncGroupResponse)).member_assignment == b"partition 0"
        return joined.generation_id, joined.member_id

    async def _read_all(self, client: RawClient) -> bytes:
        offset, whole = 0, b""
        while len(whole) < len(self._expected):
            partition = FetchPartition(partition=0, fetch_offset=offset, max_bytes=FETCH_BYTES)
            topics = [FetchTopic(topic=self._topic, partitions=[partition])]
            request = FetchRequest(max_wait_time=1000, min_bytes=1, max_bytes=FETCH_BYTES, topics=topics)
            answer = await self._ask(client, request, 4, FetchResponse)
            (read,) = answer.responses[0].partition_responses
            assert read.error_code == 0
            assert len(read.record_set), "nothing came"
            whole += bytes(read.record_set)
            *_, last = iter_batches(bytes(read.record_set))
            offset = last.header.next_offset
        return whole

    async def _commit(self, client: RawClient, generation: int, member: str) -> None:
        note = f"round {self.rounds}"
        offsets = [OffsetCommitPartition(partition=0, offset=self.rounds, metadata=note)]
        commit = OffsetCommitRequest(
            group_id=self._group,
            generation_id=generation,
            member_id=member,
            topics=[OffsetCommitTopic(topic=self._topic, partitions=offsets)],
        )
        stored = await self._ask(client, commit, 3, OffsetCommitResponse)
        assert stored.responses[0].partition_responses[0].error_code == 0
        asked = [OffsetFetchTopic(topic=self._topic, partitions=[OffsetFetchPartition(partition=0)])]
        request = OffsetFetchRequest(group_id=self._group, topics=asked)
        (read,) = (await self._ask(client, request, 3, OffsetFetchResponse)).responses[0].partition_responses
        assert (read.offset, read.metadata) == (self.rounds, note)
