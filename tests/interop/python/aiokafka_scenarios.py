"""The scenarios of aiokafka, as a process of its own: the version is the one its interpreter has installed.

The event loop runs in a thread for the life of the process, because a member of a group lives on its loop: the
scenarios are coroutines handed to it one after the other.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.structs import OffsetAndMetadata, TopicPartition

from tests.interop.scenario_loop import Scenario, emit_record, serve

_held: list[asyncio.Task[None]] = []


def _login(arguments: Mapping[str, str]) -> dict[str, Any]:
    encrypted = arguments["security"] == "SASL_SSL"
    return {
        "bootstrap_servers": arguments["bootstrap"],
        "client_id": arguments["client_id"],
        "security_protocol": arguments["security"],
        "ssl_context": ssl.create_default_context(cafile=arguments["ca"]) if encrypted else None,
        "sasl_mechanism": "PLAIN",
        "sasl_plain_username": arguments["username"],
        "sasl_plain_password": arguments["password"],
    }


async def _started(arguments: Mapping[str, str]) -> AIOKafkaConsumer:
    consumer = AIOKafkaConsumer(
        **_login(arguments),
        group_id=arguments["group"],
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        session_timeout_ms=int(arguments["session_timeout_ms"]),
        heartbeat_interval_ms=int(arguments["session_timeout_ms"]) // 10,
        max_partition_fetch_bytes=int(arguments.get("partition_bytes", 1 << 20)),
    )
    try:
        await consumer.start()
    except BaseException:
        await consumer.stop()
        raise
    return consumer


@asynccontextmanager
async def _assigned(arguments: Mapping[str, str]) -> AsyncIterator[tuple[AIOKafkaConsumer, TopicPartition]]:
    consumer, partition = await _started(arguments), TopicPartition(arguments["topic"], 0)
    try:
        consumer.assign([partition])
        yield consumer, partition
    finally:
        await consumer.stop()


async def _read(consumer: AIOKafkaConsumer, arguments: Mapping[str, str]) -> dict[str, Any]:
    """Read exactly ``count`` records, or fail at the deadline; then commit behind the last one if metadata is given."""
    wanted, seen, following = int(arguments["count"]), 0, -1
    partition = TopicPartition(arguments["topic"], 0)
    loop = asyncio.get_running_loop()
    deadline = loop.time() + int(arguments["deadline_ms"]) / 1000
    while seen < wanted:
        if loop.time() > deadline:
            raise TimeoutError(f"read {seen} of {wanted} records before the deadline")
        for record in (await consumer.getmany(timeout_ms=200, max_records=wanted - seen)).get(partition, []):
            emit_record(record.offset, record.timestamp, record.key, record.value)
            seen, following = seen + 1, record.offset + 1
    if "metadata" in arguments:
        await consumer.commit({partition: OffsetAndMetadata(following, arguments["metadata"])})
    return {"count": seen}


async def _group(arguments: Mapping[str, str]) -> dict[str, Any]:
    consumer = await _started(arguments)
    try:
        consumer.subscribe([arguments["topic"]])
        return await _read(consumer, arguments)
    finally:
        await consumer.stop()


async def _hold(arguments: Mapping[str, str]) -> dict[str, Any]:
    """As ``group``, but stay an active member until the process is killed: reading on, so that it joins rebalances."""
    consumer = await _started(arguments)
    consumer.subscribe([arguments["topic"]])
    done = await _read(consumer, arguments)
    _held.append(asyncio.create_task(_poll_forever(consumer)))
    return done


async def _poll_forever(consumer: AIOKafkaConsumer) -> None:
    while True:
        await consumer.getmany(timeout_ms=200)


async def _assign(arguments: Mapping[str, str]) -> dict[str, Any]:
    async with _assigned(arguments) as (consumer, partition):
        consumer.seek(partition, int(arguments["offset"]))
        return await _read(consumer, arguments)


async def _assign_time(arguments: Mapping[str, str]) -> dict[str, Any]:
    async with _assigned(arguments) as (consumer, partition):
        found = (await consumer.offsets_for_times({partition: int(arguments["timestamp"])}))[partition]
        if found is None:
            return {"offset": None, "timestamp": None}
        consumer.seek(partition, found.offset)
        await _read(consumer, arguments)
        return {"offset": found.offset, "timestamp": found.timestamp}


async def _bounds(arguments: Mapping[str, str]) -> dict[str, Any]:
    async with _assigned(arguments) as (consumer, partition):
        begin, end = await consumer.beginning_offsets([partition]), await consumer.end_offsets([partition])
        return {"begin": begin[partition], "end": end[partition]}


async def _committed(arguments: Mapping[str, str]) -> dict[str, Any]:
    """The consumer is told the committed offset only; the admin client, where it lists offsets, its metadata too."""
    from aiokafka.admin import AIOKafkaAdminClient

    admin = AIOKafkaAdminClient(**_login(arguments))
    await admin.start()
    try:
        listed = await admin.list_consumer_group_offsets(arguments["group"])
    finally:
        await admin.close()
    committed = listed.get(TopicPartition(arguments["topic"], 0))
    return {"offset": committed.offset, "metadata": committed.metadata} if committed else {"offset": None}


async def _topics(arguments: Mapping[str, str]) -> dict[str, Any]:
    consumer = await _started(arguments)
    try:
        return {"topics": sorted(await consumer.topics())}
    finally:
        await consumer.stop()


def _on_the_loop(
    loop: asyncio.AbstractEventLoop,
    scenario: Callable[[Mapping[str, str]], Coroutine[Any, Any, dict[str, Any]]],
) -> Scenario:
    return lambda arguments: asyncio.run_coroutine_threadsafe(scenario(arguments), loop).result()


def _main() -> None:
    logging.basicConfig(level=logging.WARNING)
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()
    scenarios = {
        "group": _group,
        "hold": _hold,
        "assign": _assign,
        "assign_time": _assign_time,
        "bounds": _bounds,
        "committed": _committed,
        "topics": _topics,
    }
    serve({name: _on_the_loop(loop, scenario) for name, scenario in scenarios.items()})


if __name__ == "__main__":
    _main()
