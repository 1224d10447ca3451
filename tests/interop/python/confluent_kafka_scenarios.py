"""The scenarios of confluent-kafka, as a process of its own: the version is the one its interpreter has installed."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from confluent_kafka import OFFSET_END, Consumer, KafkaError, KafkaException, TopicPartition

from tests.interop.scenario_loop import emit_record, serve

_WAIT_S = 30.0
_POLL_S = 0.2


class _Refused:
    """The first error the library reports that no waiting heals."""

    def __init__(self) -> None:
        self.error: KafkaError | None = None

    def __call__(self, error: KafkaError) -> None:
        if error.code() == KafkaError._AUTHENTICATION and self.error is None:
            self.error = error


@contextmanager
def _consumer(arguments: Mapping[str, str]) -> Iterator[tuple[Consumer, _Refused]]:
    consumer, refused = _open(arguments)
    try:
        yield consumer, refused
    finally:
        consumer.close()


def _open(arguments: Mapping[str, str]) -> tuple[Consumer, _Refused]:
    refused = _Refused()
    settings = {
        "bootstrap.servers": arguments["bootstrap"],
        "security.protocol": arguments["security"],
        "sasl.mechanisms": "PLAIN",
        "sasl.username": arguments["username"],
        "sasl.password": arguments["password"],
        "client.id": arguments["client_id"],
        "group.id": arguments["group"],
        "enable.auto.commit": False,
        "auto.offset.reset": "earliest",
        "session.timeout.ms": int(arguments["session_timeout_ms"]),
        "heartbeat.interval.ms": int(arguments["session_timeout_ms"]) // 10,
        "max.partition.fetch.bytes": int(arguments.get("partition_bytes", 1 << 20)),
        "check.crcs": True,
        "error_cb": refused,
    }
    if "response_bytes" in arguments:
        settings["receive.message.max.bytes"] = int(arguments["response_bytes"])
    if arguments["security"] == "SASL_SSL":
        settings["ssl.ca.location"] = arguments["ca"]
    return Consumer(settings), refused


def _read(consumer: Consumer, refused: _Refused, arguments: Mapping[str, str]) -> dict[str, Any]:
    """Read exactly ``count`` records, or fail at the deadline; then commit behind the last one if metadata is given."""
    wanted, seen, following = int(arguments["count"]), 0, -1
    deadline = time.monotonic() + int(arguments["deadline_ms"]) / 1000
    while seen < wanted:
        if time.monotonic() > deadline:
            raise TimeoutError(f"read {seen} of {wanted} records before the deadline")
        message = consumer.poll(_POLL_S)
        if refused.error:
            raise KafkaException(refused.error)
        if message is None:
            continue
        if message.error():
            raise KafkaException(message.error())
        emit_record(message.offset(), message.timestamp()[1], message.key(), message.value())
        seen, following = seen + 1, message.offset() + 1
    if "metadata" in arguments:
        _commit(consumer, arguments["topic"], following, arguments["metadata"])
    return {"count": seen}


def _commit(consumer: Consumer, topic: str, offset: int, metadata: str) -> None:
    try:
        position = TopicPartition(topic, 0, offset, metadata)
    except TypeError:  # before 2.0 a position had no place for metadata
        position = TopicPartition(topic, 0, offset)
    (answer,) = consumer.commit(offsets=[position], asynchronous=False)
    if answer.error:
        raise KafkaException(answer.error)


def _group(arguments: Mapping[str, str]) -> dict[str, Any]:
    with _consumer(arguments) as (consumer, refused):
        consumer.subscribe([arguments["topic"]])
        return _read(consumer, refused, arguments)


def _hold(arguments: Mapping[str, str]) -> dict[str, Any]:
    """As ``group``, but stay an active member until the process is killed: polling, so that it joins rebalances."""
    consumer, refused = _open(arguments)
    consumer.subscribe([arguments["topic"]])
    done = _read(consumer, refused, arguments)
    threading.Thread(target=_poll_forever, args=(consumer,), daemon=True).start()
    return done


def _poll_forever(consumer: Consumer) -> None:
    while True:
        consumer.poll(_POLL_S)


def _assign(arguments: Mapping[str, str]) -> dict[str, Any]:
    with _consumer(arguments) as (consumer, refused):
        consumer.assign([TopicPartition(arguments["topic"], 0, int(arguments["offset"]))])
        return _read(consumer, refused, arguments)


def _assign_time(arguments: Mapping[str, str]) -> dict[str, Any]:
    with _consumer(arguments) as (consumer, refused):
        asked = TopicPartition(arguments["topic"], 0, int(arguments["timestamp"]))
        (found,) = consumer.offsets_for_times([asked], timeout=_WAIT_S)
        if found.error:
            raise KafkaException(found.error)
        if found.offset == OFFSET_END:
            return {"offset": None}
        consumer.assign([found])
        _read(consumer, refused, arguments)
        return {"offset": found.offset}


def _bounds(arguments: Mapping[str, str]) -> dict[str, Any]:
    with _consumer(arguments) as (consumer, _):
        begin, end = consumer.get_watermark_offsets(TopicPartition(arguments["topic"], 0), timeout=_WAIT_S)
        return {"begin": begin, "end": end}


def _committed(arguments: Mapping[str, str]) -> dict[str, Any]:
    with _consumer(arguments) as (consumer, _):
        (found,) = consumer.committed([TopicPartition(arguments["topic"], 0)], timeout=_WAIT_S)
        if found.error:
            raise KafkaException(found.error)
        return {"offset": found.offset, "metadata": found.metadata or ""}


def _topics(arguments: Mapping[str, str]) -> dict[str, Any]:
    with _consumer(arguments) as (consumer, _):
        return {"topics": sorted(consumer.list_topics(timeout=_WAIT_S).topics)}


if __name__ == "__main__":
    serve(
        {
            "group": _group,
            "hold": _hold,
            "assign": _assign,
            "assign_time": _assign_time,
            "bounds": _bounds,
            "committed": _committed,
            "topics": _topics,
        }
    )
