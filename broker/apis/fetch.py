"""Fetch (key 1, v0-v7): record batches from the log, waiting for growth.

Behaviour (ReplicaManager.fetchMessages@1.1.1):
- Answered at once if max_wait_time <= 0, no partition is asked for, any partition has an error, or min_bytes are
  there; else the request is parked (`parked.py`): it completes exactly once — enough bytes, time over, or the server
  closing — and is then answered by the same code with what is there. Who waits for the same is looked at once, and a
  small answer is built once for all of them. Every requested partition is answered.
- Batches go out as they lie in the log: the response holds views of the mapping, leased until they are written. What
  is not in memory is brought there first, without holding the loop, and the answer is looked up again.
- Values: on error high watermark, LSO and log start are -1. Read-uncommitted: LSO -1, aborted_transactions null;
  read-committed: LSO = high watermark, aborted_transactions empty. Codes are those that Java tolerates here: 1, 3,
  29, 56, else -1.
- Sessions are declined: session_id 0 and a full answer, which makes clients send full requests; an incremental
  request for a session that never was gets FETCH_SESSION_ID_NOT_FOUND. Forgotten topics mean nothing without a
  session.

Records and limits per version:
- v0-v1 magic 0; v2-v3 magic 1; v4 and later magic 2, as stored. A partition max_bytes below 0 counts as 0.
- v0-v2: max_bytes of a partition is hard, and the only limit of a first message: of one that is larger its first
  max_bytes are sent, which clients report (RecordTooLargeException in Java 0.10.0) or answer with a larger fetch
  (sarama).
- v0-v3: a damaged batch is an error for who asks for it; messages before it are served.
- v3 and later (KIP-74): the first partition in request order that has data gets at least one whole message or batch;
  later ones keep to what is left of the request's max_bytes. Never a partial message (Java 0.10.1 loops on one, 1.1
  throws).

Fields: v1 throttle_time_ms; v3 max_bytes of the request; v4 isolation_level, LSO, aborted_transactions; v5
log_start_offset; v7 sessions.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

from broker.downconvert import message_span
from broker.errors import ErrorCode
from broker.wire import INT8, INT16, INT32, INT64, RECORDS, STRING, Array, Message, encoded, wire
from storage.errors import CorruptLog, OffsetOutOfRange, StorageError
from storage.log import NotResident, resident

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from broker.context import RequestContext
    from broker.topics import Topic

RESPONSE_BYTES_MAX: Final = 50 * 1024 * 1024
"""Records of one response, whatever the request allows: Java's `fetch.max.bytes`, and half of what librdkafka (~100
MB) and sarama (100 MiB) accept, so that one more batch does not exceed them.
"""

CONVERTED_BYTES_MAX: Final = 4 * 1024 * 1024
"""Messages made for one partition of a response beyond the first: they are copied, so this is what a client from before
0.11 costs that asks and does not read, while stored batches are leased.
"""

MAX_WAIT_MS: Final = 5 * 60 * 1000
"""Longest a fetch is parked, below the ten minutes after which an idle connection is closed."""

READ_COMMITTED: Final = 1
INITIAL_EPOCHS: Final = frozenset({0, -1})


class FetchPartition(Message):
    """A partition and where to read it."""

    partition: int = wire(INT32)
    fetch_offset: int = wire(INT64)
    log_start_offset: int = wire(INT64, since=5, default=-1)
    max_bytes: int = wire(INT32)


class FetchTopic(Message):
    """A topic to read."""

    topic: str = wire(STRING)
    partitions: list[FetchPartition] = wire(Array(FetchPartition))


class ForgottenTopic(Message):
    """Partitions to drop from a session."""

    topic: str = wire(STRING)
    partitions: list[int] = wire(Array(INT32))


class FetchRequest(Message):
    """What to read and how long to wait for it."""

    replica_id: int = wire(INT32, default=-1)
    max_wait_time: int = wire(INT32)
    min_bytes: int = wire(INT32)
    max_bytes: int = wire(INT32, since=3, default=RESPONSE_BYTES_MAX)
    isolation_level: int = wire(INT8, since=4, default=0)
    session_id: int = wire(INT32, since=7, default=0)
    epoch: int = wire(INT32, since=7, default=-1)
    topics: list[FetchTopic] = wire(Array(FetchTopic))
    forgotten_topics: list[ForgottenTopic] = wire(Array(ForgottenTopic), since=7, default=[])


class AbortedTransaction(Message):
    """A transaction whose records a read-committed client must skip; there are none here."""

    producer_id: int = wire(INT64)
    first_offset: int = wire(INT64)


class FetchPartitionResponse(Message):
    """The records of one partition. `record_set` is any buffer."""

    partition: int = wire(INT32)
    error_code: int = wire(INT16, default=0)
    high_watermark: int = wire(INT64, default=-1)
    last_stable_offset: int = wire(INT64, since=4, default=-1)
    log_start_offset: int = wire(INT64, since=5, default=-1)
    aborted_transactions: list[AbortedTransaction] | None = wire(
        Array(AbortedTransaction, nullable_since=4), since=4, default=None
    )
    record_set: bytes | memoryview = wire(RECORDS, default=b"")


class FetchTopicResponse(Message):
    """The records of one topic."""

    topic: str = wire(STRING)
    partition_responses: list[FetchPartitionResponse] = wire(Array(FetchPartitionResponse))


class FetchResponse(Message):
    """The records read."""

    throttle_time_ms: int = wire(INT32, since=1, default=0)
    error_code: int = wire(INT16, since=7, default=0)
    session_id: int = wire(INT32, since=7, default=0)
    responses: list[FetchTopicResponse] = wire(Array(FetchTopicResponse))


class RecordRules(Struct, frozen=True):
    """What a Fetch version may return. `hard_limit`: a partition's max_bytes holds even for its first message."""

    magic: int
    hard_limit: bool


RULES: Final = (
    RecordRules(magic=0, hard_limit=True),
    RecordRules(magic=0, hard_limit=True),
    RecordRules(magic=1, hard_limit=True),
    RecordRules(magic=1, hard_limit=False),
    RecordRules(magic=2, hard_limit=False),
    RecordRules(magic=2, hard_limit=False),
    RecordRules(magic=2, hard_limit=False),
    RecordRules(magic=2, hard_limit=False),
)
"""One row per version, in order."""


def handle(context: RequestContext, request: FetchRequest) -> Message | Awaitable[Message]:
    """Answer now if the rules allow it, else park."""
    if request.epoch not in INITIAL_EPOCHS:
        return FetchResponse(error_code=ErrorCode.FETCH_SESSION_ID_NOT_FOUND, responses=[])
    if len(request.topics) > 1 or any(len(topic.partitions) > 1 for topic in request.topics):
        request.topics = _distinct(request.topics)
    _remember(context, request)
    try:
        return _attempt(context, request)
    except NotResident:
        return _when_resident(context, request)


def _remember(context: RequestContext, request: FetchRequest) -> None:
    """Have the session know where it reads, for those who look at the group."""
    if request.topics and request.topics[0].partitions:
        session = context.session
        if session.fetch_offset is None:
            session.fetching_since_ms = context.broker.clock.now_ms()
            session.client_id = context.client_id or ""
        session.fetch_offset = request.topics[0].partitions[0].fetch_offset


def _attempt(context: RequestContext, request: FetchRequest) -> Message | Awaitable[Message]:
    return _answer(context, request) if _is_due(context, request) else _park(context, request)


async def _when_resident(context: RequestContext, request: FetchRequest) -> Message:
    """Bring in what the answer needs, and answer."""
    answer = await resident(lambda: _attempt(context, request))
    return answer if isinstance(answer, Message) else await answer


def _distinct(topics: list[FetchTopic]) -> list[FetchTopic]:
    """Return each partition once, as last asked for (a map in Kafka, too): what is parked is looked at with every
    publish of its logs.
    """
    asked: dict[str, dict[int, FetchPartition]] = {}
    for topic in topics:
        asked.setdefault(topic.topic, {}).update((each.partition, each) for each in topic.partitions)
    return [FetchTopic(topic=name, partitions=list(partitions.values())) for name, partitions in asked.items()]


def _answer(context: RequestContext, request: FetchRequest) -> FetchResponse | Awaitable[FetchResponse]:
    context.release()  # what was leased before something was found not to be in memory
    if RULES[context.api_version].magic < 2:
        return _answer_converted(context, request)
    return _answer_stored(context, request)


def _is_due(context: RequestContext, request: FetchRequest) -> bool:
    """Tell whether the request must be answered without (further) waiting."""
    if request.max_wait_time <= 0 or context.broker.is_closing:
        return True
    wanted = min(request.min_bytes, request.max_bytes, RESPONSE_BYTES_MAX)
    partition_count = 0
    for topic in request.topics:
        for partition in topic.partitions:
            partition_count += 1
            found = context.broker.topics.find(context.session.principal, topic.topic, partition.partition)
            if isinstance(found, ErrorCode):
                return True
            try:
                wanted -= found.log.size_between(partition.fetch_offset, max(partition.max_bytes, 0))
            except StorageError:
                return True
    return wanted <= 0 or not partition_count


def _park(context: RequestContext, request: FetchRequest) -> Awaitable[Message]:
    """Wait for bytes, time or the server's end."""
    broker = context.broker
    logs = list(dict.fromkeys(topic.log for topic in _topics(context, request)))
    delay_ms = min(request.max_wait_time, MAX_WAIT_MS)
    return broker.parked.park(_Parked(context, request), logs, delay_ms, broker.clock, broker.scheduler)


class _Parked:
    """A fetch that waits (`parked.Fetch`)."""

    __slots__ = ("_context", "_request")

    def __init__(self, context: RequestContext, request: FetchRequest) -> None:
        self._context = context
        self._request = request

    def look(self, known: dict[Any, Any]) -> Message | asyncio.Future[Message] | None:
        """Answer if it is due. What is found, and written if it is small, serves all who ask the same."""
        asked = _asked(self._context, self._request)
        if asked not in known:
            known[asked] = self._find()
        found = known[asked]
        return self.answer() if found is _DUE else found

    def _find(self) -> Message | object | None:
        """The answer to all who ask this, `_DUE` if each is to have one of its own, None if it is not due."""
        context, request = self._context, self._request
        try:
            if not _is_due(context, request):
                return None
            if RULES[context.api_version].magic < 2:
                return _DUE
            answer = _answer_stored(context, request)
        except NotResident:
            return _DUE
        shared = encoded(answer, context.api_version)
        context.release()
        return shared if shared is not None else _DUE

    def answer(self) -> Message | asyncio.Future[Message]:
        """Answer with what there is; who has to wait for the medium, or for a conversion, does so in a task."""
        context, request = self._context, self._request
        try:
            answer = _answer(context, request)
        except NotResident:
            answer = _answer_when_resident(context, request)
        return answer if isinstance(answer, FetchResponse) else asyncio.ensure_future(answer)


_DUE: Final = object()


def _asked(context: RequestContext, request: FetchRequest) -> tuple[object, ...]:
    """What an answer depends on, beside the logs."""
    find, principal = context.broker.topics.find, context.session.principal
    partitions = []
    for topic in request.topics:
        for each in topic.partitions:
            found = find(principal, topic.topic, each.partition)
            seen = found if isinstance(found, ErrorCode) else found.log
            partitions.append((topic.topic, seen, each.partition, each.fetch_offset, each.max_bytes))
    return (context.api_version, request.min_bytes, request.max_bytes, request.isolation_level, *partitions)


def _topics(context: RequestContext, request: FetchRequest) -> list[Topic]:
    found = (context.broker.topics.find(context.session.principal, topic.topic) for topic in request.topics)
    return [topic for topic in found if not isinstance(topic, ErrorCode)]


async def _answer_when_resident(context: RequestContext, request: FetchRequest) -> FetchResponse:
    """Bring in what the answer needs, and answer, due or not."""
    answer = await resident(lambda: _answer(context, request))
    return answer if isinstance(answer, FetchResponse) else await answer


class _Budget:
    """What is left of a response's bytes; `is_first` until a partition had data."""

    __slots__ = ("is_first", "remaining")

    def __init__(self, request: FetchRequest) -> None:
        self.remaining = min(max(request.max_bytes, 0), RESPONSE_BYTES_MAX)
        self.is_first = True

    def limit(self, partition: FetchPartition) -> int:
        return min(max(partition.max_bytes, 0), self.remaining)

    def spend(self, size_bytes: int) -> None:
        if size_bytes:
            self.is_first = False
            self.remaining = max(self.remaining - size_bytes, 0)


def _answer_stored(context: RequestContext, request: FetchRequest) -> FetchResponse:
    """Answer with views of the log (v4 and later)."""
    budget = _Budget(request)

    def read(topic: Topic, partition: FetchPartition) -> memoryview:
        lease = topic.log.read(partition.fetch_offset, budget.limit(partition), at_least_one=budget.is_first)
        context.leases.append(lease)
        budget.spend(len(lease))
        return lease.view

    responses = []
    for topic in request.topics:
        partitions = []
        for partition in topic.partitions:
            found = context.broker.topics.find(context.session.principal, topic.topic, partition.partition)
            try:
                records = b"" if isinstance(found, ErrorCode) else read(found, partition)
            except StorageError as storage_error:
                found, records = _storage_code(storage_error, context.api_version), b""
            partitions.append(_partition(request, partition, found, records))
        responses.append(FetchTopicResponse(topic=topic.topic, partition_responses=partitions))
    return FetchResponse(responses=responses)


async def _answer_converted(context: RequestContext, request: FetchRequest) -> FetchResponse:
    """Answer with converted messages (v0-v3)."""
    budget = _Budget(request)
    responses = []
    for topic in request.topics:
        partitions = []
        for partition in topic.partitions:
            found = context.broker.topics.find(context.session.principal, topic.topic, partition.partition)
            records: bytes | memoryview = b""
            if not isinstance(found, ErrorCode):
                try:
                    records = await _read_converted(context, found, partition, budget)
                except StorageError as storage_error:
                    found = _storage_code(storage_error, context.api_version)
            partitions.append(_partition(request, partition, found, records))
        responses.append(FetchTopicResponse(topic=topic.topic, partition_responses=partitions))
    return FetchResponse(responses=responses)


async def _read_converted(
    context: RequestContext, topic: Topic, partition: FetchPartition, budget: _Budget
) -> bytes | memoryview:
    """Return whole messages from the fetch offset on, or, where the limit is hard, part of one that exceeds it."""
    rules = RULES[context.api_version]
    limit = budget.limit(partition)
    room = min(limit, CONVERTED_BYTES_MAX)
    messages: list[memoryview] = []
    at_least_one = rules.hard_limit or budget.is_first
    wanted = room if at_least_one else limit
    if rules.hard_limit and budget.is_first:
        limit = max(partition.max_bytes, 0)
    with await resident(lambda: topic.log.read(partition.fetch_offset, wanted, at_least_one=at_least_one)) as stored:
        try:
            async for converted in context.broker.downconverter.convert(topic.name, stored.view, rules.magic):
                start, end, first_end = message_span(converted, partition.fetch_offset, room)
                if end == start and not messages:
                    end = _end_of_first(start, first_end, limit, rules, is_first=budget.is_first)
                if start < end:
                    messages.append(converted.data[start:end])
                    room -= end - start
                if end < converted.data.nbytes or room <= 0:
                    break
        except CorruptLog:
            if not messages:
                raise
    if not messages:
        return b""
    records = context.broker.downconverter.answer(messages)
    budget.spend(len(records))
    return records


def _end_of_first(start: int, end: int, limit: int, rules: RecordRules, *, is_first: bool) -> int:
    """Return where a first message ends, larger than the room for further ones or not; `start` if it must not go."""
    if end - start <= limit or (is_first and not rules.hard_limit):
        return end
    return start + limit if rules.hard_limit else start


def _partition(
    request: FetchRequest, partition: FetchPartition, found: Topic | ErrorCode, records: bytes | memoryview
) -> FetchPartitionResponse:
    if isinstance(found, ErrorCode):
        return FetchPartitionResponse(partition=partition.partition, error_code=found)
    high_watermark = found.log.high_watermark
    committed = request.isolation_level == READ_COMMITTED
    return FetchPartitionResponse(
        partition=partition.partition,
        high_watermark=high_watermark,
        last_stable_offset=high_watermark if committed else -1,
        log_start_offset=found.log.log_start_offset,
        aborted_transactions=[] if committed else None,
        record_set=records,
    )


def _storage_code(storage_error: StorageError, api_version: int) -> ErrorCode:
    """Return what a client is told; KAFKA_STORAGE_ERROR is known from v6 on, before it Kafka says
    NOT_LEADER_FOR_PARTITION.
    """
    if isinstance(storage_error, OffsetOutOfRange):
        return ErrorCode.OFFSET_OUT_OF_RANGE
    return ErrorCode.KAFKA_STORAGE_ERROR if api_version >= 6 else ErrorCode.NOT_LEADER_FOR_PARTITION


def error(version: int, request: FetchRequest, code: ErrorCode, message: str | None = None) -> FetchResponse:
    """Answer every partition with `code`."""
    return FetchResponse(
        responses=[
            FetchTopicResponse(
                topic=topic.topic,
                partition_responses=[
                    FetchPartitionResponse(partition=partition.partition, error_code=code)
                    for partition in topic.partitions
                ],
            )
            for topic in request.topics
        ]
    )
