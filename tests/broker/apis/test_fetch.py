"""Fetch: what is answered when, how much of it, and in which record format."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
from kafka.record.memory_records import MemoryRecords

from broker import downconvert
from broker.apis import fetch
from broker.apis.fetch import (
    FetchPartition,
    FetchPartitionResponse,
    FetchRequest,
    FetchResponse,
    FetchTopic,
)
from broker.context import Broker, RequestContext
from broker.errors import ErrorCode
from broker.parked import ENDED_MAX, PendingAnswer
from broker.principal import ANONYMOUS, Principal
from broker.topics import Topic
from broker.wire import VIEW_BYTES_MIN, Encoded, Message, decode
from storage import compression
from storage.compression import Codec
from storage.encoding import encode_batch
from storage.errors import CorruptLog
from storage.log import LogSlice
from storage.records import BatchHeader, iter_values
from tests.broker.fakes import GROUP, TOPIC, USERNAME, make_broker, make_context
from tests.fakes import ManualClock, ManualScheduler
from tests.fakes_log import MemoryLog

T0 = 1_700_000_000_000
ALL_VERSIONS = range(8)
pytestmark = pytest.mark.timeout(30)  # a fetch that is never answered fails soon
STORED_VERSIONS = range(4, 8)
MANY = 1 << 20


@pytest.fixture
def log() -> MemoryLog:
    """Three batches of ten records from offset 100 on."""
    log = MemoryLog(TOPIC, first_offset=100)
    for batch in range(3):
        log.append([f"value {batch}{record}".encode() for record in range(10)], [T0 + batch] * 10)
    return log


def request(offset: int, limit: int = MANY, /, **settings: int) -> FetchRequest:
    """Fetch from `offset`, at most `limit` bytes of the partition; `settings` are fields of the request."""
    partition = FetchPartition(partition=0, fetch_offset=offset, max_bytes=limit)
    values = {"max_wait_time": 500, "min_bytes": 1, **settings}
    return FetchRequest(topics=[FetchTopic(topic=TOPIC, partitions=[partition])], **values)  # type: ignore[arg-type]


async def answer(broker: Broker, version: int, asked: FetchRequest, principal: Principal = ANONYMOUS) -> FetchResponse:
    context = make_context(broker, version, principal)
    result = fetch.handle(context, asked)
    return read(result if isinstance(result, Message) else await result, version)


def read(response: Message, version: int = 4) -> FetchResponse:
    """What a fetch that waited is answered with was written for all who wait for the same."""
    if isinstance(response, Encoded):
        return decode(FetchResponse, version, response.data)
    assert isinstance(response, FetchResponse)
    return response


async def one(broker: Broker, version: int, asked: FetchRequest) -> FetchPartitionResponse:
    response = await answer(broker, version, asked)
    (topic,) = response.responses
    (partition,) = topic.partition_responses
    return partition


def offsets_in(partition: FetchPartitionResponse) -> list[int]:
    records = MemoryRecords(bytes(partition.record_set))
    found: list[int] = []
    while (batch := records.next_batch()) is not None:
        assert batch.validate_crc()
        found += [record.offset for record in batch]
    return found


# Formats


@pytest.mark.parametrize("version", ALL_VERSIONS)
async def test_every_version_reads_everything_in_its_own_magic(log: MemoryLog, version: int) -> None:
    partition = await one(make_broker(log), version, request(100))
    assert offsets_in(partition) == list(range(100, 130))
    assert partition.record_set[16] == (0, 0, 1, 1, 2, 2, 2, 2)[version]
    assert partition.high_watermark == 130


@pytest.mark.parametrize("version", STORED_VERSIONS)
async def test_stored_batches_leave_uncopied_under_a_lease(log: MemoryLog, version: int) -> None:
    context = make_context(make_broker(log), version)
    response = fetch.handle(context, request(115))
    assert isinstance(response, FetchResponse)
    records = response.responses[0].partition_responses[0].record_set
    assert records is log.slices[-1].view
    assert bytes(records) == log.batches[1][2] + log.batches[2][2]
    assert log.leased == 1
    context.release()
    assert log.leased == 0


@pytest.mark.parametrize("version", range(4))
async def test_converted_messages_begin_at_the_fetch_offset_and_keep_no_lease(log: MemoryLog, version: int) -> None:
    partition = await one(make_broker(log), version, request(115))
    assert offsets_in(partition) == list(range(115, 130))
    assert log.leased == 0


async def test_converted_messages_keep_value_time_and_null_key(log: MemoryLog) -> None:
    partition = await one(make_broker(log), 2, request(129))
    batch = MemoryRecords(bytes(partition.record_set)).next_batch()
    (record,) = list(batch)
    assert (record.offset, record.timestamp, record.key, record.value) == (129, T0 + 2, None, b"value 29")


async def test_a_batch_is_converted_once(log: MemoryLog, monkeypatch: pytest.MonkeyPatch) -> None:
    converted: list[int] = []

    def counting(header: BatchHeader, records: bytes) -> Iterator[Any]:
        converted.append(header.base_offset)
        return iter_values(header, records)

    monkeypatch.setattr("broker.downconvert.iter_values", counting)
    broker = make_broker(log)
    await asyncio.gather(*(one(broker, 2, request(100 + number)) for number in range(20)))
    await one(broker, 3, request(100))
    assert converted == [100, 110, 120]


# Limits


@pytest.mark.parametrize("version", STORED_VERSIONS)
async def test_whole_batches_up_to_the_partitions_limit(log: MemoryLog, version: int) -> None:
    size = len(log.batches[0][2])
    assert offsets_in(await one(make_broker(log), version, request(100, 2 * size))) == list(range(100, 120))
    assert offsets_in(await one(make_broker(log), version, request(100, 2 * size - 1))) == list(range(100, 110))


@pytest.mark.parametrize("version", STORED_VERSIONS)
@pytest.mark.parametrize("limit", [0, 1, -1])
async def test_from_v4_on_a_first_batch_comes_whole_even_if_larger(log: MemoryLog, version: int, limit: int) -> None:
    asked = request(100, limit, max_wait_time=0)
    assert offsets_in(await one(make_broker(log), version, asked)) == list(range(100, 110))


async def test_v3_gives_one_whole_message_even_if_larger(log: MemoryLog) -> None:
    assert offsets_in(await one(make_broker(log), 3, request(104, 1))) == [104]


@pytest.mark.parametrize("version", [0, 1, 2])
async def test_before_v3_a_larger_first_message_is_cut_at_the_hard_limit(log: MemoryLog, version: int) -> None:
    whole = bytes((await one(make_broker(log), version, request(104))).record_set)
    partition = await one(make_broker(log), version, request(104, 20))
    assert bytes(partition.record_set) == whole[:20]
    assert partition.error_code == 0


@pytest.mark.parametrize("version", range(4))
async def test_converted_messages_fill_the_limit_to_the_message(log: MemoryLog, version: int) -> None:
    whole = bytes((await one(make_broker(log), version, request(100))).record_set)
    message_bytes = len(whole) // 30
    partition = await one(make_broker(log), version, request(100, 13 * message_bytes + 5))
    assert offsets_in(partition) == list(range(100, 113))


def two_partitions(first_offset: int, second_offset: int, **settings: int) -> FetchRequest:
    asked = request(first_offset, **settings)
    second = FetchPartition(partition=0, fetch_offset=second_offset, max_bytes=MANY)
    asked.topics.append(FetchTopic(topic="second", partitions=[second]))
    return asked


@pytest.mark.parametrize("version", [3, *STORED_VERSIONS])
async def test_later_partitions_keep_to_what_is_left_of_the_request(log: MemoryLog, version: int) -> None:
    broker = make_broker(log)
    broker.topics.add(Topic("second", log, "shop"))
    size = len(bytes((await one(broker, version, request(100))).record_set))
    response = await answer(broker, version, two_partitions(100, 100, max_bytes=1))
    first, second = (topic.partition_responses[0] for topic in response.responses)
    assert offsets_in(first) == ([100] if version == 3 else list(range(100, 110)))
    assert offsets_in(second) == []
    assert second.error_code == 0
    response = await answer(broker, version, two_partitions(130, 100, max_bytes=size))
    first, second = (topic.partition_responses[0] for topic in response.responses)
    assert offsets_in(first) == []
    assert offsets_in(second) == list(range(100, 130)), "the first partition with data, not the first asked for"


@pytest.mark.parametrize("version", ALL_VERSIONS)
async def test_no_response_exceeds_its_own_limit(version: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "RESPONSE_BYTES_MAX", 3000)
    log = MemoryLog(TOPIC)
    for _ in range(20):
        log.append([bytes(400)], [T0])
    asked = request(0, 1 << 30)
    asked.max_bytes = 1 << 30
    partition = await one(make_broker(log), version, asked)
    assert 2500 < len(partition.record_set) <= 3000


CODECS = [codec for codec in compression.CODECS if codec.number]
every_codec = pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.name)


def compressed_log(codec: Codec, batches: int = 3) -> MemoryLog:
    """Batches of fifty records that say their offset, from 0 on."""
    log = MemoryLog(TOPIC)
    for first in range(0, 50 * batches, 50):
        values = [b"the record at offset %d " % offset * 9 for offset in range(first, first + 50)]
        log.append_batch(encode_batch(first, values, [T0 + first] * 50, codec))
    return log


def values_in(partition: FetchPartitionResponse) -> dict[int, bytes]:
    records = MemoryRecords(bytes(partition.record_set))
    found: dict[int, bytes] = {}
    while (batch := records.next_batch()) is not None:
        assert batch.validate_crc()
        found.update((record.offset, record.value) for record in batch)
    return found


@every_codec
@pytest.mark.parametrize("version", ALL_VERSIONS)
async def test_a_fetch_may_begin_inside_a_compressed_batch(codec: Codec, version: int) -> None:
    """Converted, it begins at the very message; stored, with the batch that has it."""
    broker = make_broker(compressed_log(codec))
    for offset in (0, 1, 49, 73, 149):
        found = values_in(await one(broker, version, request(offset)))
        assert list(found) == list(range(offset if version < 4 else offset // 50 * 50, 150))
        assert all(value == b"the record at offset %d " % number * 9 for number, value in found.items())


@every_codec
@pytest.mark.parametrize("version", range(4))
async def test_first_message_rules_hold_inside_a_compressed_batch(codec: Codec, version: int) -> None:
    """Whatever the batch's size on disk, the limit is one of messages; before v3 it is hard, even for the first."""
    broker = make_broker(compressed_log(codec))
    message = bytes((await one(broker, version, request(149))).record_set)
    size = len(message)
    assert offsets_in(await one(broker, version, request(146, 3 * size))) == [146, 147, 148]
    assert offsets_in(await one(broker, version, request(146, 3 * size - 1))) == [146, 147]
    cut = bytes((await one(broker, version, request(149, size - 1))).record_set)
    assert cut == (message if version == 3 else message[:-1])


@every_codec
@pytest.mark.parametrize("version", range(4))
async def test_damage_on_disk_is_an_error_for_who_asks_for_it_only(codec: Codec, version: int) -> None:
    log = compressed_log(codec)
    first, following, data = log.batches[1]
    log.batches[1] = (first, following, data[:-3] + bytes([data[-3] ^ 0x40]) + data[-2:])
    broker = make_broker(log)
    before = await one(broker, version, request(20))
    assert (before.error_code, offsets_in(before)) == (0, list(range(20, 50)))
    damaged = await one(broker, version, request(50))
    assert (damaged.error_code, damaged.high_watermark, bytes(damaged.record_set)) == (6, -1, b"")
    behind = await one(broker, version, request(100))
    assert (behind.error_code, offsets_in(behind)) == (0, list(range(100, 150)))
    assert log.leased == 0


@pytest.mark.parametrize("version", range(4))
async def test_a_converted_answer_is_bounded_by_itself(
    log: MemoryLog, version: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Copies are what an old client costs that does not read; a first message the client takes comes whole yet."""
    size = len(bytes((await one(make_broker(log), version, request(129))).record_set))
    monkeypatch.setattr(fetch, "CONVERTED_BYTES_MAX", 15 * size)
    assert offsets_in(await one(make_broker(log), version, request(100))) == list(range(100, 115))
    monkeypatch.setattr(fetch, "CONVERTED_BYTES_MAX", size - 1)
    assert offsets_in(await one(make_broker(log), version, request(104))) == [104]
    cut = await one(make_broker(log), version, request(104, size - 1))
    assert len(cut.record_set) == (size if version == 3 else size - 1)


async def test_converted_answers_that_nobody_reads_are_bounded_together(
    log: MemoryLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = make_broker(log)
    unread = [await one(broker, 3, request(100))]
    monkeypatch.setattr(downconvert, "ANSWERS_BYTES_MAX", 2 * len(unread[0].record_set))
    unread += [await one(broker, 3, request(100)) for _ in range(3)]
    found = [(offsets[0], len(offsets)) for offsets in map(offsets_in, unread)]
    assert found == [(100, 30), (100, 30), (100, 10), (100, 10)], "the messages of one batch come yet"
    unread.clear()
    assert len(offsets_in(await one(broker, 3, request(100)))) == 30


@pytest.mark.parametrize("version", ALL_VERSIONS)
async def test_a_first_record_larger_than_any_response_comes_if_the_client_takes_it(
    version: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before v3 the partition's limit is the client's only say, and must reach that far; later none is needed."""
    monkeypatch.setattr(fetch, "RESPONSE_BYTES_MAX", 3000)
    monkeypatch.setattr(fetch, "CONVERTED_BYTES_MAX", 1000)
    log = MemoryLog(TOPIC)
    for size in (10, 9000, 10):
        log.append([bytes(size)], [T0])
    asked = request(1, 9100 if version < 3 else 1)
    partition = await one(make_broker(log), version, asked)
    assert offsets_in(partition) == [1]
    assert len(partition.record_set) > 9000


# Errors and values


@pytest.mark.parametrize("version", ALL_VERSIONS)
@pytest.mark.parametrize("offset", [99, 131, -1, 2**62])
async def test_an_offset_out_of_range_is_1_at_once(log: MemoryLog, version: int, offset: int) -> None:
    partition = await one(make_broker(log), version, request(offset, max_wait_time=100_000))
    assert partition == FetchPartitionResponse(partition=0, error_code=ErrorCode.OFFSET_OUT_OF_RANGE)


async def test_every_partition_asked_for_is_answered_with_its_own_error(log: MemoryLog) -> None:
    asked = request(100)
    asked.topics[0].partitions.append(FetchPartition(partition=1, fetch_offset=0, max_bytes=MANY))
    asked.topics.append(
        FetchTopic(topic="unknown", partitions=[FetchPartition(partition=0, fetch_offset=0, max_bytes=MANY)])
    )
    response = await answer(make_broker(log), 4, asked)
    codes = [[each.error_code for each in topic.partition_responses] for topic in response.responses]
    assert codes == [[0, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION], [ErrorCode.UNKNOWN_TOPIC_OR_PARTITION]]
    assert response.responses[1].partition_responses[0].high_watermark == -1


async def test_somebody_elses_topic_is_29(log: MemoryLog) -> None:
    stranger = Principal(USERNAME, GROUP, frozenset({"own topic"}))
    response = await answer(make_broker(log), 4, request(100), stranger)
    assert response.responses[0].partition_responses[0].error_code == ErrorCode.TOPIC_AUTHORIZATION_FAILED


@pytest.mark.parametrize(("version", "code"), [(2, 6), (5, 6), (6, 56), (7, 56)])
async def test_a_corrupt_log_is_told_in_words_the_version_knows(log: MemoryLog, version: int, code: int) -> None:
    def corrupt(*_: object, **__: object) -> None:
        raise CorruptLog("bytes are wrong")

    log.read = corrupt  # type: ignore[assignment]
    assert (await one(make_broker(log), version, request(100))).error_code == code


@pytest.mark.parametrize("version", STORED_VERSIONS)
async def test_isolation_levels_have_kafkas_values(log: MemoryLog, version: int) -> None:
    uncommitted = await one(make_broker(log), version, request(100))
    assert (uncommitted.last_stable_offset, uncommitted.aborted_transactions) == (-1, None)
    committed = await one(make_broker(log), version, request(100, isolation_level=1))
    assert (committed.last_stable_offset, committed.aborted_transactions) == (130, [])
    assert committed.log_start_offset == 100


@pytest.mark.parametrize(("session_id", "epoch", "code"), [(0, -1, 0), (0, 0, 0), (5, -1, 0), (5, 0, 0), (5, 3, 70)])
async def test_sessions_are_declined(log: MemoryLog, session_id: int, epoch: int, code: int) -> None:
    response = await answer(make_broker(log), 7, request(100, session_id=session_id, epoch=epoch))
    assert (response.error_code, response.session_id) == (code, 0)
    assert len(response.responses) == (0 if code else 1)


# Waiting


class Waiting:
    """A broker on a manual clock, and one fetch that was sent to it."""

    def __init__(self, log: MemoryLog) -> None:
        self.log = log
        clock = ManualClock()
        self.timers = ManualScheduler(clock)
        self.broker = make_broker(log)
        self.broker.clock, self.broker.scheduler = clock, self.timers

    def send(self, asked: FetchRequest, version: int = 4) -> asyncio.Task[FetchResponse]:
        return asyncio.create_task(answer(self.broker, version, asked))

    async def settle(self) -> None:
        for _ in range(5):
            await asyncio.sleep(0)

    def assert_nothing_is_registered(self) -> None:
        assert self.log.subscribers == []
        assert len(self.broker.parked) == 0
        assert self.timers.pending == 0


@pytest.fixture
async def waiting(log: MemoryLog) -> Waiting:
    return Waiting(log)


@pytest.mark.parametrize("version", ALL_VERSIONS)
async def test_at_the_end_of_the_log_it_waits_for_growth(waiting: Waiting, version: int) -> None:
    task = waiting.send(request(130), version)
    await waiting.settle()
    waiting.timers.advance(499)
    await waiting.settle()
    assert not task.done()
    waiting.log.append([b"new"], [T0 + 9])
    response = await task
    assert offsets_in(response.responses[0].partition_responses[0]) == [130]
    waiting.assert_nothing_is_registered()


async def test_after_max_wait_it_answers_with_nothing(waiting: Waiting) -> None:
    task = waiting.send(request(130))
    await waiting.settle()
    waiting.timers.advance(500)
    partition = (await task).responses[0].partition_responses[0]
    assert (partition.error_code, len(partition.record_set), partition.high_watermark) == (0, 0, 130)
    waiting.assert_nothing_is_registered()


async def test_it_waits_for_min_bytes_and_gives_what_is_there_when_time_is_over(waiting: Waiting) -> None:
    size = len(waiting.log.batches[0][2])
    task = waiting.send(request(120, min_bytes=3 * size))
    await waiting.settle()
    waiting.log.append([b"small"], [T0])
    await waiting.settle()
    assert not task.done()
    waiting.timers.advance(500)
    assert offsets_in((await task).responses[0].partition_responses[0]) == list(range(120, 131))
    waiting.assert_nothing_is_registered()


async def test_min_bytes_that_the_response_could_never_hold_do_not_wait(waiting: Waiting) -> None:
    task = waiting.send(request(100, min_bytes=2**31 - 1, max_bytes=10))
    assert offsets_in((await task).responses[0].partition_responses[0]) == list(range(100, 110))


async def test_zero_wait_and_no_partitions_answer_at_once(waiting: Waiting) -> None:
    assert isinstance(fetch.handle(make_context(waiting.broker, 4), request(130, max_wait_time=0)), FetchResponse)
    nothing = FetchRequest(max_wait_time=500, min_bytes=1, topics=[])
    assert fetch.handle(make_context(waiting.broker, 4), nothing) == FetchResponse(responses=[])


async def test_a_client_that_goes_away_leaves_nothing_behind(waiting: Waiting) -> None:
    task = waiting.send(request(130))
    await waiting.settle()
    assert len(waiting.log.subscribers) == 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    waiting.assert_nothing_is_registered()


async def test_closing_wakes_what_is_parked(waiting: Waiting) -> None:
    task = waiting.send(request(130, max_wait_time=100_000))
    await waiting.settle()
    waiting.broker.wake_parked()
    assert len((await task).responses) == 1
    waiting.assert_nothing_is_registered()


async def test_what_is_about_to_be_parked_when_the_server_closes_does_not_wait(waiting: Waiting) -> None:
    pending = fetch.handle(make_context(waiting.broker, 4), request(130, max_wait_time=100_000))
    assert not isinstance(pending, Message)
    waiting.broker.wake_parked()
    assert len(read(await pending).responses) == 1
    waiting.assert_nothing_is_registered()


async def test_growth_between_looking_and_subscribing_is_not_missed(log: MemoryLog) -> None:
    context: RequestContext = make_context(make_broker(log), 4)
    pending = fetch.handle(context, request(130, max_wait_time=100_000))
    assert not isinstance(pending, Message)
    log.append([b"new"], [T0])
    response = read(await asyncio.wait_for(asyncio.ensure_future(pending), 5))
    assert offsets_in(response.responses[0].partition_responses[0]) == [130]


async def test_an_absurd_wait_is_bounded(waiting: Waiting) -> None:
    task = waiting.send(request(130, max_wait_time=2**31 - 1))
    await waiting.settle()
    waiting.timers.advance(fetch.MAX_WAIT_MS)
    assert (await task).responses[0].partition_responses[0].error_code == 0


async def test_one_publish_completes_many_waiting_fetches_once_each(waiting: Waiting) -> None:
    tasks = [waiting.send(request(130)) for _ in range(50)]
    await waiting.settle()
    waiting.log.append([b"one"], [T0])
    waiting.log.append([b"two"], [T0])
    responses = await asyncio.gather(*tasks)
    assert {tuple(offsets_in(each.responses[0].partition_responses[0])) for each in responses} == {(130, 131)}
    waiting.assert_nothing_is_registered()


async def test_what_many_wait_for_costs_one_callback_one_timer_and_is_built_once(
    waiting: Waiting, monkeypatch: pytest.MonkeyPatch
) -> None:
    contexts = [make_context(waiting.broker, 4 + number % 2) for number in range(40)]
    pending = [fetch.handle(each, request(130, max_wait_time=500 + number)) for number, each in enumerate(contexts)]
    assert (len(waiting.log.subscribers), waiting.timers.pending) == (1, 1)
    reads: list[tuple[int, ...]] = []
    read_log = waiting.log.read

    def counted(*asked: int, **how: bool) -> LogSlice:
        reads.append(asked)
        return read_log(*asked, **how)

    monkeypatch.setattr(waiting.log, "read", counted)
    waiting.log.append([b"one"], [T0])
    assert reads == []  # whoever appends waits for nobody's answer
    waiting.log.append([b"two"], [T0])
    answers = [await each for each in pending if not isinstance(each, Message)]
    assert len(answers) == 40
    assert len(reads) == 2
    assert len({id(each) for each in answers}) == 2  # one for each version
    assert {tuple(offsets_in(read(answers[0], 4).responses[0].partition_responses[0]))} == {(130, 131)}
    assert waiting.log.leased == 0
    waiting.assert_nothing_is_registered()


async def test_an_answer_is_given_in_the_turn_in_which_it_is_found(waiting: Waiting) -> None:
    turns: list[str] = []
    pending = fetch.handle(make_context(waiting.broker, 4), request(130))
    assert isinstance(pending, PendingAnswer)
    pending.then = lambda _: turns.append("answered")
    waiting.log.append([b"one"], [T0])
    asyncio.get_running_loop().call_soon(turns.append, "what came behind the append")
    await waiting.settle()
    assert turns == ["answered", "what came behind the append"]


async def test_a_large_answer_is_not_copied_for_each_but_leased(waiting: Waiting) -> None:
    contexts = [make_context(waiting.broker, 4) for _ in range(3)]
    pending = [fetch.handle(context, request(130)) for context in contexts]
    waiting.log.append([bytes(VIEW_BYTES_MIN)], [T0])
    answers = [await each for each in pending if not isinstance(each, Message)]
    assert [isinstance(each, FetchResponse) for each in answers] == [True] * 3
    assert waiting.log.leased == 3
    for context in contexts:
        context.release()
    assert waiting.log.leased == 0


async def test_what_differs_is_answered_apart(log: MemoryLog) -> None:
    """Limits, isolation, and what a login may see."""
    broker = make_broker(log)
    stranger = Principal(USERNAME, GROUP, frozenset({"another"}))
    size = len(log.batches[0][2])
    asked = [request(130), request(130, 1), request(130, isolation_level=1), request(131 - 1, max_bytes=7)]
    tasks = [asyncio.create_task(answer(broker, 4, each)) for each in asked]
    refused = await answer(broker, 4, request(130), stranger)
    assert refused.responses[0].partition_responses[0].error_code == ErrorCode.TOPIC_AUTHORIZATION_FAILED
    await asyncio.sleep(0)
    log.append([b"x" * size], [T0])
    first, second, third, fourth = [(await each).responses[0].partition_responses[0] for each in tasks]
    assert first.record_set == second.record_set == third.record_set == fourth.record_set
    assert (first.last_stable_offset, third.last_stable_offset) == (-1, 131)


@pytest.mark.parametrize("fails", ["look", "time", "closing"])
async def test_a_fetch_that_fails_fails_alone(waiting: Waiting, monkeypatch: pytest.MonkeyPatch, fails: str) -> None:
    tasks = [waiting.send(request(130 - number)) for number in (0, 10)]
    other = waiting.send(request(130, min_bytes=1 << 10))
    await waiting.settle()
    assert (await tasks.pop()).responses
    size_between, read_log = waiting.log.size_between, waiting.log.read

    def broken(offset: int, max_bytes: int, **how: Any) -> Any:
        raise RuntimeError("by a mistake of ours")

    monkeypatch.setattr(waiting.log, "size_between", broken)
    monkeypatch.setattr(waiting.log, "read", broken)
    if fails == "look":
        waiting.log.append([b"new"], [T0])
    elif fails == "time":
        waiting.timers.advance(500)
    else:
        waiting.broker.wake_parked()
    for task in (*tasks, other):
        with pytest.raises(RuntimeError):
            await task
    monkeypatch.setattr(waiting.log, "size_between", size_between)
    monkeypatch.setattr(waiting.log, "read", read_log)
    waiting.assert_nothing_is_registered()


async def test_deadlines_are_kept_in_any_order_and_forgotten_with_who_had_them(waiting: Waiting) -> None:
    waits = [700, 300, 500, 300, 900]
    tasks = [waiting.send(request(130, max_wait_time=wait)) for wait in waits]
    await waiting.settle()
    tasks[2].cancel()
    for until_ms, done in ((299, [2]), (300, [1, 2, 3]), (699, [1, 2, 3]), (700, [0, 1, 2, 3])):
        waiting.timers.advance(until_ms - (waiting.broker.clock.monotonic_ms() - 1_000_000))
        await waiting.settle()
        assert [number for number, task in enumerate(tasks) if task.done()] == done
        assert waiting.timers.pending == 1
    waiting.timers.advance(200)
    await tasks[4]
    waiting.assert_nothing_is_registered()


async def test_who_is_answered_over_and_over_leaves_few_deadlines(waiting: Waiting) -> None:
    kept = waiting.send(request(100, max_wait_time=300_000, min_bytes=1 << 20))
    await waiting.settle()
    for number in range(3 * ENDED_MAX):
        pending = fetch.handle(make_context(waiting.broker, 4), request(130 + number, max_wait_time=300_000))
        waiting.log.append([b"new"], [T0])
        assert not isinstance(pending, Message)
        await pending
        assert len(waiting.broker.parked._deadlines) <= ENDED_MAX + 4
    assert not kept.done()
    waiting.broker.wake_parked()
    await kept


@pytest.mark.parametrize("version", [3, 4])
async def test_nothing_is_kept_of_an_answer_that_was_given_before_its_time(waiting: Waiting, version: int) -> None:
    """Converted messages count against all answers' room as long as somebody holds them."""
    kept = waiting.send(request(100, max_wait_time=300_000, min_bytes=1 << 20))
    pending = fetch.handle(make_context(waiting.broker, version), request(130, max_wait_time=300_000))
    await waiting.settle()
    waiting.log.append([b"new"], [T0])
    assert isinstance(pending, PendingAnswer)
    await asyncio.wait([pending])
    assert read(pending.result(), version).responses[0].partition_responses[0].record_set
    gone = weakref.ref(pending)
    del pending
    await waiting.settle()
    assert gone() is None
    assert not kept.done()
    assert waiting.broker.downconverter._answers_bytes == 0
    waiting.broker.wake_parked()
    await kept


# Sparse offsets


@pytest.mark.parametrize("version", ALL_VERSIONS)
async def test_a_fetch_inside_a_gap_begins_after_it(version: int) -> None:
    log = MemoryLog(TOPIC)
    log.append([b"a"], [T0])
    log.append([b"b"], [T0], gap=1000)
    assert offsets_in(await one(make_broker(log), version, request(500))) == [1001]
