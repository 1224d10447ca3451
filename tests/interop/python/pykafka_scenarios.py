"""The scenarios of pykafka, as a process of its own. It has no SASL, so it reads from a listener without login only.

It speaks as to a broker of 0.9: Fetch 1 (records without timestamps), OffsetCommit 1, the group calls' version 0.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from pykafka import KafkaClient, Topic
from pykafka.common import OffsetType

from tests.interop.scenario_loop import emit_record, serve

_NO_TIMESTAMP = -1


@contextmanager
def _reading(consumer: Any) -> Iterator[Any]:
    try:
        yield consumer
    finally:
        consumer.stop()


def _topic(arguments: Mapping[str, str]) -> tuple[KafkaClient, Topic]:
    """The topic, and the client that must outlive it: a topic holds it by a weak reference."""
    client = KafkaClient(hosts=arguments["bootstrap"], broker_version="0.9.0")
    return client, client.topics[arguments["topic"]]


def _settings(arguments: Mapping[str, str]) -> dict[str, Any]:
    return {
        "consumer_timeout_ms": int(arguments["deadline_ms"]),
        "fetch_message_max_bytes": int(arguments["partition_bytes"]),
        "auto_commit_enable": False,
        "auto_offset_reset": OffsetType.EARLIEST,
    }


def _read(consumer: Any, arguments: Mapping[str, str], wanted_from: int = 0) -> dict[str, Any]:
    """Read ``count`` records; committing is of what was consumed, and takes no metadata."""
    wanted, seen = int(arguments["count"]), 0
    for message in consumer:
        if message.offset < wanted_from:
            continue
        assert message.protocol_version == 0
        emit_record(message.offset, _NO_TIMESTAMP, message.partition_key, message.value)
        seen += 1
        if seen == wanted:
            break
    if seen < wanted:
        raise TimeoutError(f"read {seen} of {wanted} records before the deadline")
    if "metadata" in arguments:
        consumer.commit_offsets()
    return {"count": seen}


def _group(arguments: Mapping[str, str]) -> dict[str, Any]:
    _client, topic = _topic(arguments)
    session_timeout_ms = int(arguments["session_timeout_ms"])
    consumer = topic.get_balanced_consumer(
        arguments["group"].encode(),
        managed=True,
        heartbeat_interval_ms=session_timeout_ms // 10,
        **_settings(arguments),
    )
    with _reading(consumer):
        return _read(consumer, arguments)


def _assign(arguments: Mapping[str, str]) -> dict[str, Any]:
    _client, topic = _topic(arguments)
    offset = int(arguments["offset"])
    with _reading(topic.get_simple_consumer(**_settings(arguments), auto_start=False)) as consumer:
        consumer.start()
        if offset:  # a consumer with a group would commit where it goes to
            consumer.reset_offsets([(topic.partitions[0], offset - 1)])  # behind this one
        return _read(consumer, arguments, offset)


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    serve({"group": _group, "assign": _assign})
