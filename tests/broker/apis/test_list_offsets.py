"""ListOffsets: ends, times in both units, and the range's edges."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from broker.apis import list_offsets
from broker.apis.list_offsets import (
    ListOffsetsPartition,
    ListOffsetsPartitionResponse,
    ListOffsetsRequest,
    ListOffsetsResponse,
    ListOffsetsTopic,
)
from broker.context import Broker, RequestContext
from broker.errors import ErrorCode
from broker.principal import ANONYMOUS, Principal
from broker.topics import Topic
from storage.encoding import encode_batch
from tests.broker.fakes import GROUP, TOPIC, USERNAME, make_broker, make_context
from tests.fakes_log import MemoryLog
from tests.storage.samples import Sample, open_log, position, release_all, reopen_copy, small

FIRST_S = 1_700_000_000
LAST_S = FIRST_S + 20


@pytest.fixture(autouse=True)
def descriptors_returned() -> Iterator[None]:
    yield
    release_all()


@pytest.fixture
def log() -> MemoryLog:
    """Offsets 100-102 at 0, 10 and 20 s; source time goes back in between."""
    log = MemoryLog(TOPIC, first_offset=100)
    for second in (0, 10, 5, 20):
        log.append([b"value"], [(FIRST_S + second) * 1000])
    return log


def answer(context: RequestContext, asked: ListOffsetsRequest) -> ListOffsetsResponse:
    """The answer out of what is in memory, which is all of these logs."""
    response = list_offsets.handle(context, asked)
    assert isinstance(response, ListOffsetsResponse)
    return response


def ask(
    broker: Broker, version: int, timestamp: int, *, most: int = 1, name: str = TOPIC, who: Principal = ANONYMOUS
) -> ListOffsetsPartitionResponse:
    partition = ListOffsetsPartition(partition=0, timestamp=timestamp, max_num_offsets=most)
    asked = ListOffsetsRequest(topics=[ListOffsetsTopic(topic=name, partitions=[partition])])
    response = answer(make_context(broker, version, who), asked)
    return response.responses[0].partition_responses[0]


@pytest.mark.parametrize("version", [1, 2])
async def test_the_ends_have_no_timestamp(log: MemoryLog, version: int) -> None:
    broker = make_broker(log)
    latest, earliest = ask(broker, version, -1), ask(broker, version, -2)
    assert (latest.error_code, latest.timestamp, latest.offset) == (0, -1, 104)
    assert (earliest.error_code, earliest.timestamp, earliest.offset) == (0, -1, 100)


@pytest.mark.parametrize("version", [1, 2])
async def test_an_empty_log_has_ends_too(version: int) -> None:
    broker = make_broker(MemoryLog(TOPIC))
    assert ask(broker, version, -1).offset == 0
    assert ask(broker, version, -2).offset == 0
    assert ask(broker, version, FIRST_S).offset == -1


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(
    ("second", "offset", "found"),
    [(-5, 100, 0), (0, 100, 0), (1, 101, 10), (10, 101, 10), (11, 103, 20), (20, 103, 20)],
)
async def test_a_time_finds_the_first_record_at_or_after_it_in_the_unit_asked(
    log: MemoryLog, version: int, second: int, offset: int, found: int
) -> None:
    broker = make_broker(log)
    in_seconds = ask(broker, version, FIRST_S + second)
    assert (in_seconds.timestamp, in_seconds.offset) == (FIRST_S + found, offset)
    in_ms = ask(broker, version, (FIRST_S + second) * 1000)
    assert (in_ms.timestamp, in_ms.offset) == ((FIRST_S + found) * 1000, offset)


@pytest.mark.parametrize("version", [1, 2])
async def test_after_the_last_record_there_is_nothing(log: MemoryLog, version: int) -> None:
    for timestamp in (LAST_S + 1, LAST_S * 1000 + 1, 10**11 - 1, 2**63 - 1):
        found = ask(make_broker(log), version, timestamp)
        assert (found.error_code, found.timestamp, found.offset) == (0, -1, -1)


@pytest.mark.parametrize("version", [1, 2])
async def test_a_topic_may_find_nothing_before_its_first_record(log: MemoryLog, version: int) -> None:
    broker = make_broker(log)
    broker.topics.add(Topic(TOPIC, log, "shop", time_before_start_is_start=False))
    assert ask(broker, version, FIRST_S - 1).offset == -1
    assert ask(broker, version, FIRST_S).offset == 100


async def test_the_two_units_meet_at_10_to_the_11(log: MemoryLog) -> None:
    broker = make_broker(log)
    assert ask(broker, 1, 10**11).timestamp == FIRST_S * 1000
    assert ask(broker, 1, 0).timestamp == FIRST_S


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("timestamp", [-3, -4, -(10**11), -(2**63)])
async def test_other_negative_times_lie_before_the_range(log: MemoryLog, version: int, timestamp: int) -> None:
    broker = make_broker(log)
    found = ask(broker, version, timestamp)
    assert (found.timestamp, found.offset) == (FIRST_S, 100)
    broker.topics.add(Topic(TOPIC, log, "shop", time_before_start_is_start=False))
    assert ask(broker, version, timestamp).offset == -1


@pytest.mark.parametrize("isolation", [0, 1])
async def test_without_transactions_the_isolation_level_changes_nothing(log: MemoryLog, isolation: int) -> None:
    partitions = [ListOffsetsPartition(partition=0, timestamp=-1)]
    asked = ListOffsetsRequest(isolation_level=isolation, topics=[ListOffsetsTopic(topic=TOPIC, partitions=partitions)])
    response = answer(make_context(make_broker(log), 2), asked)
    assert response.responses[0].partition_responses[0].offset == 104


def by_looking_at_each(records: list[Sample], timestamp: int, *, before_is_start: bool) -> tuple[int, int]:
    """What v1 and v2 have to answer: the first record at or after the time, in the unit asked in."""
    is_seconds = timestamp < 10**11
    asked_ms = timestamp * 1000 if is_seconds else timestamp
    if not before_is_start and records and asked_ms < records[0].timestamp_ms:
        return -1, -1
    for record in records:
        if record.timestamp_ms >= asked_ms:
            return (record.timestamp_ms // 1000 if is_seconds else record.timestamp_ms), record.offset
    return -1, -1


@pytest.mark.parametrize("seed", range(20))
async def test_on_a_real_log_with_gaps_and_times_that_go_back(tmp_path: Path, seed: int) -> None:
    """Several segments, offsets left out between them, source time that jumps, and a transaction not committed yet."""
    chance = Random(seed)
    log = open_log(tmp_path / "log", small(segment_bytes=600, index_interval_bytes=100))
    records: list[Sample] = []
    for number in range(chance.randint(1, 40)):
        times = [(FIRST_S + chance.randint(-30, 30) + number) * 1000 for _ in range(chance.randint(1, 4))]
        values = [bytes(chance.randint(0, 60)) for _ in times]
        first = log.end_offset
        log.append(encode_batch(first, values, times))
        log.commit([position(number + 1)])
        records += [Sample(first + each, times[each], values[each]) for each in range(len(times))]
        if chance.random() < 0.1:
            log = reopen_copy(log, boot_id=f"boot-{number}")  # the machine lost power: the next offset leaves a gap
            records = [each for each in records if each.offset < log.high_watermark]
    log.append(encode_batch(log.end_offset, [b"not committed"], [(FIRST_S + 10_000) * 1000]))
    for before_is_start in (True, False):
        broker = make_broker()
        broker.topics.add(Topic(TOPIC, log, "shop", time_before_start_is_start=before_is_start))
        for second in (*range(-80, 120, 3), 10_000):
            for timestamp in (FIRST_S + second, (FIRST_S + second) * 1000 + chance.choice((0, 1, 999))):
                found = ask(broker, chance.choice((1, 2)), timestamp)
                expected = by_looking_at_each(records, timestamp, before_is_start=before_is_start)
                assert (found.timestamp, found.offset) == expected, timestamp
        assert ask(broker, 1, -1).offset == log.high_watermark
        assert ask(broker, 1, -2).offset == log.log_start_offset


@pytest.mark.parametrize(
    ("timestamp", "most", "offsets"),
    [
        (-1, 1, [104]),
        (-1, 2, [104, 100]),
        (-1, 0, []),
        (-2, 1, [100]),
        (-2, 5, [100]),
        (FIRST_S, 1, [100]),
        (FIRST_S - 1, 1, []),
        (FIRST_S * 1000, 1, [100]),
        (FIRST_S * 1000 - 1, 1, []),
        (LAST_S + 99, 1, [100]),
        (-1, -1, []),
    ],
)
async def test_v0_lists_offsets(log: MemoryLog, timestamp: int, most: int, offsets: list[int]) -> None:
    assert ask(make_broker(log), 0, timestamp, most=most).offsets == offsets


@pytest.mark.parametrize("version", [0, 1, 2])
async def test_errors_stand_at_the_partition(log: MemoryLog, version: int) -> None:
    broker = make_broker(log)
    unknown = ask(broker, version, -1, name="unknown")
    assert (unknown.error_code, unknown.offsets, unknown.offset) == (ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, [], -1)
    stranger = Principal(USERNAME, GROUP, frozenset({"own"}))
    assert ask(broker, version, -1, who=stranger).error_code == ErrorCode.TOPIC_AUTHORIZATION_FAILED


async def test_a_partition_asked_for_twice_is_42_from_v1_on(log: MemoryLog) -> None:
    partitions = [ListOffsetsPartition(partition=0, timestamp=-1) for _ in range(2)]
    asked = ListOffsetsRequest(topics=[ListOffsetsTopic(topic=TOPIC, partitions=partitions)])
    for version, code in ((0, 0), (1, ErrorCode.INVALID_REQUEST), (2, ErrorCode.INVALID_REQUEST)):
        response = answer(make_context(make_broker(log), version), asked)
        assert [each.error_code for each in response.responses[0].partition_responses] == [code, code]
