"""The whole face in one process: an unmodified kafka-python consumer reads a real segment log over real sockets.

Every record is compared byte for byte with what was appended, in each of the protocol generations that kafka-python can
be told to speak; once also on uvloop. Other clients are in `tests/interop`.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import uvloop
from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError
from kafka.structs import OffsetAndMetadata, OffsetAndTimestamp
from msgspec.structs import replace

from broker.certificate import ServerCertificate
from broker.context import Broker
from broker.group import GroupState
from broker.listener import Address, Listener, Security
from broker.offsets import OffsetStore
from broker.server import BrokerServer
from broker.topics import Topic
from storage.catalog import Catalog
from storage.clock import SystemClock
from storage.config import LogConfig
from storage.encoding import encode_batch
from storage.log import SourcePosition
from storage.segment_log import SegmentLog
from tests import certificates
from tests.broker.fakes import GROUP, PASSWORD, TOPIC, USERNAME, make_broker
from tests.certificates import Certificates

pytestmark = pytest.mark.timeout(120)

PARTITION = TopicPartition(TOPIC, 0)
START_S = 1_700_000_000
API_VERSIONS = [None, (0, 10, 0), (0, 10, 1), (0, 11), (1, 0), (1, 1)]
"""None lets kafka-python find out."""

Record = tuple[int, int, bytes]  # offset, timestamp, value


class Served:
    """A broker with a segment log of known records; clients run in threads."""

    def __init__(self, broker: Broker, log: SegmentLog, address: Address, records: list[Record]) -> None:
        self.broker = broker
        self.log = log
        self.address = address
        self.records = records
        self._threads = ThreadPoolExecutor(max_workers=4)

    def consumer(self, *topics: str, **settings: Any) -> KafkaConsumer:
        defaults = {
            "bootstrap_servers": str(self.address),
            "group_id": GROUP,
            "security_protocol": "SASL_PLAINTEXT",
            "sasl_mechanism": "PLAIN",
            "sasl_plain_username": USERNAME,
            "sasl_plain_password": PASSWORD,
            "auto_offset_reset": "earliest",
            "enable_auto_commit": False,
            "session_timeout_ms": 6000,
            "heartbeat_interval_ms": 200,
        }
        return KafkaConsumer(*topics, **{**defaults, **settings})

    async def run(self, work: Callable[[], Any]) -> Any:
        """Run a client's blocking code beside the server."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def append(self, values: list[bytes], timestamp_s: int) -> None:
        """One more transaction."""
        first = self.log.end_offset
        batch = encode_batch(first, values, [timestamp_s * 1000] * len(values))
        self.log.append(batch)
        self.log.commit([SourcePosition(1, 4 + first, None)])
        self.records += [(first + number, timestamp_s * 1000, value) for number, value in enumerate(values)]


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    async with serving(tmp_path) as run:
        yield run


@contextlib.asynccontextmanager
async def serving(tmp_path: Path, files: Certificates | None = None) -> AsyncIterator[Served]:
    """300 records in 60 batches over several segments, a value of every size up to 64 KiB among them."""
    clock = SystemClock()
    log = SegmentLog.open(tmp_path / f"{TOPIC}-0", TOPIC, LogConfig(segment_bytes=1 << 20), clock, boot_id="boot")
    log.attach(lambda: b"snapshot")
    catalog = Catalog.open(tmp_path / "catalog.db")
    broker = make_broker()
    broker.topics.add(Topic(TOPIC, log, "shop"))
    broker.offsets = OffsetStore(catalog, clock)
    broker.groups._offsets = broker.offsets
    listener = Listener("public", Address("127.0.0.1", 0), Security.SASL_PLAINTEXT)
    if files is not None:
        certificate = ServerCertificate(files.cert, files.key, clock)
        listener = replace(listener, security=Security.SASL_SSL, certificate=certificate)
    server = BrokerServer(broker, [listener])
    address = (await server.start())["public"]
    run = Served(broker, log, address, [])
    sizes = itertools.cycle([1, 10, 100, 1000, 10_000, 1 << 16])
    for batch in range(60):
        run.append([bytes([batch]) * size for size in itertools.islice(sizes, 5)], START_S + batch)
    try:
        yield run
    finally:
        await server.close(2000)
        await log.close(orderly=True)
        catalog.close()


def take(consumer: KafkaConsumer, count: int) -> list[Record]:
    """The next `count` records, however many polls it takes."""
    found: list[Record] = []
    while len(found) < count:
        polled = consumer.poll(timeout_ms=1000, max_records=count - len(found))
        found += [(each.offset, each.timestamp, each.value) for batch in polled.values() for each in batch]
    return found


@pytest.mark.parametrize("api_version", API_VERSIONS, ids=str)
async def test_a_group_reads_everything_commits_and_resumes(served: Served, api_version: Any) -> None:
    def first_half() -> list[Record]:
        consumer = served.consumer(TOPIC, api_version=api_version)
        found = take(consumer, 120)
        consumer.commit({PARTITION: OffsetAndMetadata(120, "1700000024|checkpoint")})
        consumer.close(autocommit=False)
        return found

    def second_half() -> tuple[OffsetAndMetadata, list[Record]]:
        consumer = served.consumer(TOPIC, api_version=api_version)
        committed = consumer.committed(PARTITION, metadata=True)
        found = take(consumer, 180)
        consumer.close(autocommit=False)
        return committed, found

    assert await served.run(first_half) == served.records[:120]
    committed, found = await served.run(second_half)
    assert committed == OffsetAndMetadata(120, "1700000024|checkpoint")
    assert found == served.records[120:]
    described = served.broker.groups.describe(GROUP)
    assert described is not None
    assert described.state is GroupState.EMPTY


@pytest.mark.parametrize("loop_factory", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_a_group_reads_everything_over_tls(tmp_path: Path, loop_factory: Callable[[], Any]) -> None:
    files = certificates.make(tmp_path / "certificates")

    async def scenario() -> None:
        async with serving(tmp_path, files) as served:

            def read() -> list[Record]:
                # kafka-python 2 makes its own context in a way that Python deprecates
                context = files.client_context()
                consumer = served.consumer(TOPIC, security_protocol="SASL_SSL", ssl_context=context)
                found = take(consumer, 300)
                consumer.commit()
                consumer.close(autocommit=False)
                return found

            assert await served.run(read) == served.records

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(scenario())


@pytest.mark.parametrize("api_version", [version for version in API_VERSIONS if version != (0, 10, 0)], ids=str)
@pytest.mark.parametrize("unit", [1, 1000], ids=["seconds", "milliseconds"])
async def test_assign_and_seek_to_a_time_in_either_unit(served: Served, api_version: Any, unit: int) -> None:
    def seek() -> tuple[OffsetAndTimestamp, OffsetAndTimestamp | None, OffsetAndTimestamp, list[Record]]:
        consumer = served.consumer(api_version=api_version)
        consumer.assign([PARTITION])

        def look_up(second: int) -> Any:
            return consumer.offsets_for_times({PARTITION: (START_S + second) * unit})[PARTITION]

        found, after, before = look_up(40), look_up(60), look_up(-100)
        consumer.seek(PARTITION, found.offset)
        records = take(consumer, 100)
        consumer.close(autocommit=False)
        return found, after, before, records

    found, after, before, records = await served.run(seek)
    assert (found.offset, found.timestamp) == (200, (START_S + 40) * unit)
    assert after is None
    assert (before.offset, before.timestamp) == (0, START_S * unit)
    assert records == served.records[200:]


def test_it_is_the_same_on_uvloop(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with serving(tmp_path) as served:
            await test_a_group_reads_everything_commits_and_resumes(served, None)
            await test_assign_and_seek_to_a_time_in_either_unit(served, (1, 1), 1)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(scenario())


async def test_a_waiting_consumer_is_woken_by_the_next_transaction(served: Served) -> None:
    def consume() -> list[Record]:
        consumer = served.consumer(TOPIC, fetch_max_wait_ms=60_000, auto_offset_reset="latest")
        found = take(consumer, 3)
        consumer.close(autocommit=False)
        return found

    consuming = asyncio.ensure_future(served.run(consume))
    while not served.broker.parked:  # noqa: ASYNC110 - the client's thread gets there in its own time
        await asyncio.sleep(0.01)
    served.append([b"one", b"two", b"three"], START_S + 100)
    assert await consuming == served.records[-3:]


async def test_a_standby_takes_over_where_the_active_one_left(served: Served) -> None:
    standby_joined = asyncio.Event()
    loop = asyncio.get_running_loop()

    def active() -> list[Record]:
        consumer = served.consumer(TOPIC)
        found = take(consumer, 50)
        consumer.commit({PARTITION: OffsetAndMetadata(50, "")})
        while not standby_joined.is_set():
            consumer.poll(timeout_ms=50, max_records=1)
        consumer.close(autocommit=False)
        return found

    def standby() -> list[Record]:
        consumer = served.consumer(TOPIC)
        while not consumer.assignment():
            consumer.poll(timeout_ms=50, max_records=1)
            described = served.broker.groups.describe(GROUP)
            if described is not None and len(described.members) == 2 and described.state is GroupState.STABLE:
                loop.call_soon_threadsafe(standby_joined.set)
        consumer.seek(PARTITION, consumer.committed(PARTITION))
        found = take(consumer, 250)
        consumer.close(autocommit=False)
        return found

    first = asyncio.ensure_future(served.run(active))
    while not served.broker.offsets.committed(GROUP):  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    second = await served.run(standby)
    found = await first
    assert found + second == served.records


async def test_a_wrong_password_and_a_foreign_group_are_errors_the_client_shows(served: Served) -> None:
    def wrong_password() -> None:
        served.consumer(TOPIC, sasl_plain_password="wrong", api_version_auto_timeout_ms=500)

    def foreign_group() -> None:
        consumer = served.consumer(TOPIC, group_id="somebody-else")
        try:
            take(consumer, 1)
        finally:
            consumer.close(autocommit=False)

    with pytest.raises(KafkaError):
        await served.run(wrong_password)
    with pytest.raises(KafkaError) as raised:
        await served.run(foreign_group)
    assert type(raised.value).__name__ == "InvalidGroupIdError"
