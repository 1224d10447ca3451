"""A damaged batch through the Kafka face: what comes before it is served, it is not, and what lies behind it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from broker.apis.fetch import FetchResponse
from broker.apis.list_offsets import (
    ListOffsetsPartition,
    ListOffsetsRequest,
    ListOffsetsResponse,
    ListOffsetsTopic,
)
from broker.errors import ErrorCode
from broker.topics import Topic
from storage.cold import ColdReads
from storage.errors import CorruptLog
from storage.log import resident
from storage.segment_log import SegmentLog
from tests.broker.fakes import TOPIC, make_broker
from tests.broker.test_server import fetch_request, running
from tests.fakes import ManualClock
from tests.storage.samples import FIRST_TIME_MS, append, open_log, position, small

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from broker.context import Broker

RECORDS = 30
DAMAGED = 12


@pytest.fixture
async def log(tmp_path: Path) -> AsyncIterator[SegmentLog]:
    config = small(segment_bytes=1 << 20)
    filled = open_log(tmp_path / "log", config)
    for number in range(RECORDS):
        append(filled, b"record %d" % number, timestamps_ms=[FIRST_TIME_MS + number])
        filled.commit([position(number)])
    with filled.read(DAMAGED, 1) as part:
        wanted = bytes(part.view)
    filled.release()
    path = tmp_path / "log" / f"{0:020d}.log"
    data = path.read_bytes()
    path.write_bytes(data.replace(wanted, wanted.replace(b"record", b"Record")))
    cold = ColdReads()
    opened = SegmentLog.open(tmp_path / "log", TOPIC, config, ManualClock(), boot_id="boot-1", cold=cold)
    yield opened
    opened.release()
    cold.close()


@pytest.fixture
def broker(log: SegmentLog) -> Broker:
    made = make_broker()
    made.topics.add(Topic(TOPIC, log, "damaged"))
    return made


@pytest.mark.parametrize("version", range(8))
async def test_a_damaged_batch_is_an_error_and_the_rest_is_served(broker: Broker, version: int) -> None:
    async with running(broker) as run, run.client() as client:

        async def fetch(offset: int) -> tuple[int, bytes]:
            answer = await client.ask(fetch_request(offset), version, FetchResponse)
            (partition,) = answer.responses[0].partition_responses
            return partition.error_code, bytes(partition.record_set)

        code, records = await fetch(0)
        assert code == 0
        assert b"record %d" % (DAMAGED - 1) in records
        assert b"ecord %d" % DAMAGED not in records
        expected = ErrorCode.KAFKA_STORAGE_ERROR if version >= 6 else ErrorCode.NOT_LEADER_FOR_PARTITION
        for _ in range(2):
            assert await fetch(DAMAGED) == (expected, b"")
        code, records = await fetch(DAMAGED + 1)
        assert code == 0
        assert b"record %d" % (RECORDS - 1) in records


async def test_a_time_in_a_damaged_batch_cannot_be_told_and_one_behind_it_can(broker: Broker) -> None:
    async with running(broker) as run, run.client() as client:

        async def ask(number: int) -> tuple[int, int]:
            wanted = ListOffsetsPartition(partition=0, timestamp=FIRST_TIME_MS + number)
            asked = ListOffsetsRequest(topics=[ListOffsetsTopic(topic=TOPIC, partitions=[wanted])])
            found = await client.ask(asked, 1, ListOffsetsResponse)
            (partition,) = found.responses[0].partition_responses
            return partition.error_code, partition.offset

        assert await ask(DAMAGED - 1) == (0, DAMAGED - 1)
        assert (await ask(DAMAGED))[0] == ErrorCode.NOT_LEADER_FOR_PARTITION
        assert await ask(DAMAGED + 5) == (0, DAMAGED + 5)


async def test_a_status_can_be_told_of_a_damaged_log(log: SegmentLog) -> None:
    assert await resident(lambda: log.log_start_timestamp_ms) == FIRST_TIME_MS
    assert await resident(lambda: log.last_timestamp_ms) == FIRST_TIME_MS + RECORDS - 1
    with pytest.raises(CorruptLog):
        await resident(lambda: log.read(DAMAGED, 1))
    (sentence,) = log.damages
    assert f"offset {DAMAGED}: the record batch does not match its checksum" in sentence
