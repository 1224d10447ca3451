"""Groups of a real server process over real sockets: what its settings, its restarts and its clients' wishes change.

Clients in the raw, so that nothing is retried or sent again by itself; kafka-python where a whole consumer is needed.
The state table itself is `test_group_table.py`'s.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from kafka import KafkaConsumer, TopicPartition
from kafka.structs import OffsetAndMetadata

from binwire.testing import EmbeddedBroker
from broker.apis.delete_groups import DeleteGroupsRequest, DeleteGroupsResponse
from broker.apis.heartbeat import HeartbeatRequest, HeartbeatResponse
from broker.apis.join_group import GroupProtocol, JoinGroupRequest, JoinGroupResponse
from broker.apis.leave_group import LeaveGroupRequest, LeaveGroupResponse
from broker.apis.sync_group import MemberAssignment, SyncGroupRequest, SyncGroupResponse
from broker.errors import ErrorCode
from tests.broker import served_group
from tests.broker.served_group import GROUP, CommitClient
from tests.server_process import ServerFailedError, ServerProcess

MIN_SESSION_MS = 700
SESSION_MS = 10_000
PARTITION = b"partition 0"
CONFIGURATION = f'group_min_session_timeout = "{MIN_SESSION_MS}ms"\n{served_group.CONFIGURATION}'

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path, CONFIGURATION) as started:
        yield started


class Client(CommitClient):
    """The requests of a group."""

    async def join(self, member_id: str = "", session_ms: int = SESSION_MS) -> JoinGroupResponse:
        request = JoinGroupRequest(
            group_id=GROUP,
            session_timeout=session_ms,
            rebalance_timeout=60_000,
            member_id=member_id,
            protocol_type="consumer",
            group_protocols=[GroupProtocol(protocol_name="range", protocol_metadata=b"")],
        )
        return await self.ask(request, 2, JoinGroupResponse)

    async def sync(self, joined: JoinGroupResponse) -> SyncGroupResponse:
        """The leader gives the partition to the first member."""
        first = [MemberAssignment(member_id=each.member_id, member_assignment=PARTITION) for each in joined.members[:1]]
        request = SyncGroupRequest(
            group_id=GROUP, generation_id=joined.generation_id, member_id=joined.member_id, group_assignment=first
        )
        return await self.ask(request, 1, SyncGroupResponse)

    async def heartbeat(self, member_id: str, generation: int) -> int:
        request = HeartbeatRequest(group_id=GROUP, generation_id=generation, member_id=member_id)
        return (await self.ask(request, 1, HeartbeatResponse)).error_code

    async def leave(self, member_id: str) -> int:
        request = LeaveGroupRequest(group_id=GROUP, member_id=member_id)
        return (await self.ask(request, 1, LeaveGroupResponse)).error_code

    async def delete_group(self) -> int:
        response = await self.ask(DeleteGroupsRequest(groups=[GROUP]), 0, DeleteGroupsResponse)
        return response.group_error_codes[0].error_code


def connected(server: ServerProcess) -> contextlib.AbstractAsyncContextManager[Client]:
    """A connection that is logged in."""
    return served_group.connected(server, Client)


# Settings and wishes


async def test_the_shortest_session_is_the_settings_and_the_first_generation_is_1(server: ServerProcess) -> None:
    async with connected(server) as client:
        refused = await client.join(session_ms=MIN_SESSION_MS - 1)
        assert refused.error_code == ErrorCode.INVALID_SESSION_TIMEOUT
        joined = await client.join(session_ms=MIN_SESSION_MS)
        assert (joined.error_code, joined.generation_id) == (0, 1)


@pytest.mark.parametrize(
    ("version", "retention_ms", "timestamp_ms"),
    [(1, -1, 1), (2, 0, -1), (2, 1, -1), (3, 1, -1)],  # v1 counts the retention from the timestamp
)
async def test_offsets_live_until_the_group_is_deleted_whatever_the_client_wishes(
    server: ServerProcess, version: int, retention_ms: int, timestamp_ms: int
) -> None:
    async with connected(server) as client:
        assert await client.commit(17, version=version, retention_ms=retention_ms, timestamp_ms=timestamp_ms) == 0
        assert await client.committed() == 17
    assert server.stop() == 0
    server.start()
    async with connected(server) as client:
        assert await client.committed() == 17
        member_id = (await client.join()).member_id
        assert await client.delete_group() == ErrorCode.NON_EMPTY_GROUP
        assert await client.committed() == 17
        assert await client.leave(member_id) == 0
        assert await client.committed() == 17
        assert await client.delete_group() == 0
        assert await client.committed() == -1
    server.kill()
    server.start()
    async with connected(server) as client:
        assert await client.committed() == -1
        assert await client.delete_group() == ErrorCode.GROUP_ID_NOT_FOUND


# Restarts


async def test_a_member_is_unknown_to_a_server_that_was_restarted_and_begins_anew(server: ServerProcess) -> None:
    async with connected(server) as client:
        joined = await client.join()
        assert (await client.sync(joined)).member_assignment == PARTITION
        assert await client.commit(5, member_id=joined.member_id, generation=1) == 0
        server.kill()
    server.start()
    async with connected(server) as client:
        assert await client.heartbeat(joined.member_id, 1) == ErrorCode.UNKNOWN_MEMBER_ID
        assert await client.commit(6, member_id=joined.member_id, generation=1) == ErrorCode.UNKNOWN_MEMBER_ID
        assert (await client.join(joined.member_id)).error_code == ErrorCode.UNKNOWN_MEMBER_ID
        again = await client.join()
        assert (again.error_code, again.generation_id) == (0, 1)
        assert await client.committed() == 5


_JOIN_AGAIN = (
    ErrorCode.COORDINATOR_NOT_AVAILABLE,  # while the server ends
    ErrorCode.ILLEGAL_GENERATION,
    ErrorCode.UNKNOWN_MEMBER_ID,
    ErrorCode.REBALANCE_IN_PROGRESS,
)


class Consumer:
    """Does what consumers do, over one connection: joins, syncs, heartbeats; rejoins when told to, connects again when
    cut. Who has the partition commits one offset more than it found, again and again.
    """

    def __init__(self, server: ServerProcess, answered: list[int]) -> None:
        self._server = server
        self._answered = answered
        self._member_id = ""
        self.generation: int | None = None
        self.is_active = False

    async def run(self) -> None:
        while True:
            try:
                async with connected(self._server) as client:
                    while True:
                        await self._live_through_a_generation(client)
            except (OSError, asyncio.IncompleteReadError, ServerFailedError):
                await asyncio.sleep(0.01)  # between a connection that ended and the next attempt, as clients do
            finally:
                self.generation = None

    async def _live_through_a_generation(self, client: Client) -> None:
        joined = await client.join(self._member_id)
        self._member_id = joined.member_id
        if joined.error_code:
            assert joined.error_code in (ErrorCode.UNKNOWN_MEMBER_ID, ErrorCode.COORDINATOR_NOT_AVAILABLE)
            self._member_id = ""
            return
        synced = await client.sync(joined)
        if synced.error_code:
            assert synced.error_code in _JOIN_AGAIN
            return
        self.is_active = synced.member_assignment == PARTITION
        if self.is_active:
            await self._take_over(client)
        self.generation = joined.generation_id
        while (code := await self._go_on(client, joined)) == 0:  # noqa: ASYNC110 — a heartbeat now and then
            await asyncio.sleep(0.02)
        assert code in _JOIN_AGAIN
        self.generation = None

    async def _take_over(self, client: Client) -> None:
        self._next = await client.committed() + 1
        assert self._next > max(self._answered, default=-1), "a commit that was answered is gone"

    async def _go_on(self, client: Client, joined: JoinGroupResponse) -> int:
        if self.is_active:
            code = await client.commit(self._next, member_id=joined.member_id, generation=joined.generation_id)
            if code:
                return code
            self._answered.append(self._next)
            self._next += 1
        return await client.heartbeat(joined.member_id, joined.generation_id)


async def test_a_group_comes_to_rest_after_each_of_many_restarts(server: ServerProcess) -> None:
    """The server ends under a group at work; all come back at once, one is active and goes on behind its commits."""
    answered: list[int] = []
    consumers = [Consumer(server, answered) for _ in range(12)]
    tasks = [asyncio.create_task(each.run()) for each in consumers]

    def is_at_rest() -> bool:
        generations = {each.generation for each in consumers}
        return None not in generations and len(generations) == 1 and sum(each.is_active for each in consumers) == 1

    async def until_at_work_again() -> None:
        goal = len(answered) + 5
        while not (is_at_rest() and len(answered) >= goal):
            done, _ = await asyncio.wait(tasks, timeout=0.01, return_when=asyncio.FIRST_COMPLETED)
            for each in done:
                each.result()

    kills = (True, False, True, True)
    for kill in kills:
        await until_at_work_again()
        if kill:
            server.kill()
        else:
            await asyncio.to_thread(server.stop)
        await asyncio.to_thread(server.start)
    await until_at_work_again()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert answered == sorted(set(answered)), "two were active at a time"
    assert len(answered) >= answered[-1] + 1 - sum(kills), "only a commit under way at a kill is not answered"


# Assign mode


def test_two_clients_of_one_group_both_read_in_assign_mode() -> None:
    """As with the real service; each commits, and the last commit stands, also a lower one."""
    with EmbeddedBroker() as broker:
        channel = broker.channel()
        table = channel.table("CREATE TABLE orders (id BIGINT PRIMARY KEY)")
        table.insert(*({"id": number} for number in range(30)))
        partition = TopicPartition(channel.topic, 0)
        settings = {"group_id": channel.sid, **channel.kafka_python(), "enable_auto_commit": False}
        first, second = KafkaConsumer(**settings), KafkaConsumer(**settings)
        for consumer in (first, second):
            consumer.assign([partition])
            consumer.seek(partition, 0)
        in_turns = [(_next_record(first, partition), _next_record(second, partition)) for _ in range(30)]
        assert all(ours == theirs for ours, theirs in in_turns)
        assert [offset for (offset, _), _ in in_turns] == list(range(30))
        first.commit({partition: OffsetAndMetadata(30, "first")})
        second.commit({partition: OffsetAndMetadata(7, "second")})
        observer = KafkaConsumer(**settings)  # who has it assigned answers from memory
        assert observer.committed(partition, metadata=True) == OffsetAndMetadata(7, "second")
        for consumer in (first, second, observer):
            consumer.close()


def _next_record(consumer: KafkaConsumer, partition: TopicPartition) -> tuple[int, bytes]:
    while not (found := consumer.poll(timeout_ms=200, max_records=1)):
        pass
    (record,) = found[partition]
    return record.offset, record.value
