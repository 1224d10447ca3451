"""Consumers that do not read, logs that are not in memory, and who must not notice: over real sockets and files."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from broker.apis.fetch import FetchPartition, FetchRequest, FetchResponse, FetchTopic
from broker.apis.list_offsets import (
    ListOffsetsPartition,
    ListOffsetsRequest,
    ListOffsetsResponse,
    ListOffsetsTopic,
)
from broker.channels import readable
from broker.context import Broker
from broker.errors import ErrorCode
from broker.outgoing import WAIT_BYTES, Outgoing
from broker.topics import Topic
from storage.cold import ColdReads
from storage.errors import LogReadError
from storage.log import LogSlice, NotResident, resident
from storage.segment_log import SegmentLog
from tests.broker.fakes import TOPIC, make_broker
from tests.broker.test_server import T0, fetch_request, megabytes, running
from tests.fakes import ManualClock
from tests.fakes_log import MemoryLog
from tests.storage.samples import FIRST_TIME_MS, append, position, small
from tests.storage.test_cold import Cold, GatedFiles, until

pytestmark = pytest.mark.timeout(60)


async def test_any_number_of_slow_consumers_cost_little_and_delay_no_fast_one() -> None:
    """Each asks for 16 MB and reads nothing; what the server holds for it is counted."""
    log = megabytes(16)
    expected = b"".join(batch for _, _, batch in log.batches)
    async with running(make_broker(log)) as run:
        slow = [run.client(receive_bytes=4096) for _ in range(25)]
        for client in slow:
            await client.__aenter__()
            client.send(fetch_request(0), 4)
            client.reader._transport.pause_reading()  # type: ignore[attr-defined]
        await run.until(lambda: sum(each._outgoing.is_paused for each in run.server._clients) == len(slow))
        held = [each._transport.get_write_buffer_size() for each in run.server._clients]
        assert max(held) <= WAIT_BYTES
        assert all(each._core.buffered_bytes == 0 for each in run.server._clients)
        async with run.client() as fast:
            whole = await fast.ask(fetch_request(0), 4, FetchResponse)
            assert bytes(whole.responses[0].partition_responses[0].record_set) == expected
        assert sum(each._outgoing.is_paused for each in run.server._clients) == len(slow)
        for client in slow:
            await client.__aexit__(None, None, None)


async def test_a_publish_is_looked_at_once_for_all_who_wait_for_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """However often one names the partition, and however many publishes there are before the loop's next turn."""
    log = MemoryLog(TOPIC)
    log.append([b"first"], [T0])
    looks = 0
    size_between = log.size_between

    def counted(offset: int, max_bytes: int) -> int:
        nonlocal looks
        looks += 1
        return size_between(offset, max_bytes)

    partitions = [FetchPartition(partition=0, fetch_offset=1, max_bytes=1 << 20)] * 100
    asked = FetchRequest(
        max_wait_time=60_000, min_bytes=1 << 16, topics=[FetchTopic(topic=TOPIC, partitions=partitions)]
    )
    async with running(make_broker(log)) as run:
        clients = [run.client() for _ in range(20)]
        for client in clients:
            await client.__aenter__()
            client.send(asked, 4)
        await run.until(lambda: len(run.server.broker.parked) == len(clients))
        assert len(log.subscribers) == 1
        monkeypatch.setattr(log, "size_between", counted)
        for number in range(10):
            log.append([b"little"], [T0])
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert looks == number + 1
        log.append([bytes(1 << 16)], [T0])
        log.append([b"behind"], [T0])
        await run.until(lambda: len(run.server.broker.parked) == 0)
        assert looks == 11
        for client in clients:
            await client.receive(FetchResponse, 4)
            await client.__aexit__(None, None, None)
        assert log.subscribers == []


# A log that is not in memory


class ColdBroker:
    """A broker with a log of which nothing is in memory, and one that is."""

    def __init__(self, directory: Path) -> None:
        self.files = GatedFiles()
        self.cold = ColdReads(residency=Cold(), clock=ManualClock())
        filled = self._open(directory, None)
        filled.attach(lambda: b"snapshot")
        for number in range(60):
            append(filled, *[bytes(100)] * 5, timestamps_ms=[FIRST_TIME_MS + number] * 5)
            filled.commit([position(number)])
        filled.flush()
        filled.release()
        self.log = self._open(directory, self.cold)
        self.warm = MemoryLog("warm")
        self.warm.append([b"value"], [T0])
        self.broker: Broker = make_broker(self.warm)
        self.broker.topics.add(Topic(TOPIC, self.log, "cold"))
        self.broker.topics.add(Topic("warm", self.warm, "warm"))

    def _open(self, directory: Path, cold: ColdReads | None) -> SegmentLog:
        return SegmentLog.open(directory, TOPIC, small(), ManualClock(), boot_id="boot-1", files=self.files, cold=cold)


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[ColdBroker]:
    made = ColdBroker(tmp_path / "log")
    yield made
    made.files.gate.set()
    made.cold.close()
    made.log.release()


def warm_request() -> FetchRequest:
    partition = FetchPartition(partition=0, fetch_offset=0, max_bytes=1 << 20)
    return FetchRequest(max_wait_time=0, min_bytes=1, topics=[FetchTopic(topic="warm", partitions=[partition])])


async def test_while_a_cold_read_hangs_others_are_answered_and_who_leaves_leaves_nothing(scene: ColdBroker) -> None:
    async with running(scene.broker) as run, run.client() as warm:
        scene.files.gate.clear()
        async with run.client() as cold:
            cold.send(fetch_request(0), 4)
            await run.until(lambda: scene.files.running == 1)
            for _ in range(3):
                answer = await warm.ask(warm_request(), 4, FetchResponse)
                assert len(answer.responses[0].partition_responses[0].record_set)
        await run.until(lambda: run.server.connection_count == 1)
        scene.files.gate.set()
        await until(lambda: not scene.cold.waiting_count)
        async with run.client() as again:
            found = await again.ask(fetch_request(0), 4, FetchResponse)
            assert found.responses[0].partition_responses[0].error_code == 0


@pytest.mark.parametrize("version", range(8))
async def test_an_error_of_the_medium_has_a_code_that_the_version_knows(scene: ColdBroker, version: int) -> None:
    scene.files.failing = True
    async with running(scene.broker) as run, run.client() as client:
        answer = await client.ask(fetch_request(7), version, FetchResponse)
        (partition,) = answer.responses[0].partition_responses
        code = ErrorCode.KAFKA_STORAGE_ERROR if version >= 6 else ErrorCode.NOT_LEADER_FOR_PARTITION
        assert (partition.error_code, partition.high_watermark, bytes(partition.record_set)) == (code, -1, b"")
        wanted = ListOffsetsPartition(partition=0, timestamp=FIRST_TIME_MS + 9)
        times = ListOffsetsRequest(topics=[ListOffsetsTopic(topic=TOPIC, partitions=[wanted])])
        found = await client.ask(times, 1, ListOffsetsResponse)
        assert found.responses[0].partition_responses[0].error_code == ErrorCode.NOT_LEADER_FOR_PARTITION


async def test_a_status_tells_what_can_be_read(scene: ColdBroker) -> None:
    scene.files.failing = True
    assert await resident(lambda: readable(lambda: scene.log.log_start_timestamp_ms)) is None
    assert readable(lambda: 5) == 5

    def refused() -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    assert readable(refused) is None


async def test_a_segment_that_retires_while_it_is_read_is_out_of_range(scene: ColdBroker) -> None:
    async with running(scene.broker) as run, run.client() as client:
        scene.files.gate.clear()
        client.send(fetch_request(0), 4)
        await run.until(lambda: scene.files.running == 1)
        gone = scene.log._segments.remove_oldest(2)
        scene.log.delete(gone)
        scene.files.gate.set()
        answer = await client.receive(FetchResponse, 4)
        assert answer.responses[0].partition_responses[0].error_code == ErrorCode.OFFSET_OUT_OF_RANGE


async def test_closing_does_not_wait_for_a_read_that_hangs(scene: ColdBroker) -> None:
    async with running(scene.broker) as run, run.client() as client:
        scene.files.gate.clear()
        client.send(fetch_request(0), 4)
        await run.until(lambda: scene.files.running == 1)
        await run.server.close(20)
        await run.until(lambda: run.server.connection_count == 0)
    scene.cold.close()
    assert scene.cold.waiting_count == 0


# What the system takes back while a response is on its way


class StuckTransport:
    """Takes one piece, and then no more until told."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.outgoing: Outgoing

    def set_write_buffer_limits(self, high: int, low: int) -> None:
        pass

    def write(self, data: bytes | memoryview) -> None:
        self.written.append(bytes(data))
        self.outgoing.pause()


@pytest.mark.parametrize("fails", [False, True])
async def test_what_was_taken_back_is_asked_for_again_before_the_next_piece(fails: bool) -> None:
    data = os.urandom(1 << 20)
    asked: list[tuple[int, int]] = []
    there = threading.Event()

    def require(start: int, stop: int) -> None:
        asked.append((start, stop))
        if there.is_set() and fails:
            raise LogReadError(os.strerror(errno.EIO))
        if not there.is_set():
            raise NotResident(bring_in)

    async def bring_in() -> None:
        there.set()

    transport, failures, sent = StuckTransport(), list[str](), list[bool]()
    lease = LogSlice(memoryview(data), require)
    outgoing = transport.outgoing = Outgoing(transport, lambda: sent.append(True), failures.append)
    assert not outgoing.send([b"head", lease.view], [lease])
    assert asked == []  # the handler looked just now
    while not sent and not failures:
        outgoing.resume()
        await asyncio.sleep(0)
    assert asked
    if fails:
        assert failures == [os.strerror(errno.EIO)]
        assert b"".join(transport.written) != b"head" + data
    else:
        assert b"".join(transport.written) == b"head" + data
        assert failures == []
