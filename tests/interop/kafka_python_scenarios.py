"""The scenarios of kafka-python, as a process of its own: the version is the one its interpreter has installed."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from kafka import KafkaConsumer, TopicPartition
from kafka.structs import OffsetAndMetadata

from tests.interop.scenario_loop import emit_record, serve


def _consumer(arguments: Mapping[str, str]) -> KafkaConsumer:
    return KafkaConsumer(
        bootstrap_servers=arguments["bootstrap"],
        group_id=arguments["group"],
        security_protocol="SASL_PLAINTEXT",
        sasl_mechanism="PLAIN",
        sasl_plain_username=arguments["username"],
        sasl_plain_password=arguments["password"],
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        session_timeout_ms=10_000,
        heartbeat_interval_ms=1_000,
        max_partition_fetch_bytes=int(arguments.get("partition_bytes", 1 << 20)),
    )


def _read(consumer: KafkaConsumer, partition: TopicPartition, arguments: Mapping[str, str]) -> dict[str, Any]:
    """Read exactly ``count`` records, or fail at the deadline; then commit behind the last one if metadata is given."""
    wanted, seen, following = int(arguments["count"]), 0, -1
    deadline = time.monotonic() + int(arguments["deadline_ms"]) / 1000
    while seen < wanted:
        if time.monotonic() > deadline:
            raise TimeoutError(f"read {seen} of {wanted} records before the deadline")
        for record in consumer.poll(timeout_ms=200).get(partition, [])[: wanted - seen]:
            emit_record(record.offset, record.timestamp, record.key, record.value)
            seen, following = seen + 1, record.offset + 1
    if "metadata" in arguments:
        consumer.commit({partition: OffsetAndMetadata(following, arguments["metadata"])})
    return {"count": seen}


def _group(arguments: Mapping[str, str]) -> dict[str, Any]:
    consumer = _consumer(arguments)
    try:
        consumer.subscribe([arguments["topic"]])
        return _read(consumer, TopicPartition(arguments["topic"], 0), arguments)
    finally:
        consumer.close(autocommit=False)


def _assigned(arguments: Mapping[str, str]) -> tuple[KafkaConsumer, TopicPartition]:
    consumer, partition = _consumer(arguments), TopicPartition(arguments["topic"], 0)
    consumer.assign([partition])
    return consumer, partition


def _assign(arguments: Mapping[str, str]) -> dict[str, Any]:
    consumer, partition = _assigned(arguments)
    try:
        consumer.seek(partition, int(arguments["offset"]))
        return _read(consumer, partition, arguments)
    finally:
        consumer.close(autocommit=False)


def _assign_time(arguments: Mapping[str, str]) -> dict[str, Any]:
    consumer, partition = _assigned(arguments)
    try:
        found = consumer.offsets_for_times({partition: int(arguments["timestamp"])})[partition]
        if found is None:
            return {"offset": None, "timestamp": None}
        consumer.seek(partition, found.offset)
        _read(consumer, partition, arguments)
        return {"offset": found.offset, "timestamp": found.timestamp}
    finally:
        consumer.close(autocommit=False)


def _bounds(arguments: Mapping[str, str]) -> dict[str, Any]:
    consumer, partition = _assigned(arguments)
    try:
        begin, end = consumer.beginning_offsets([partition]), consumer.end_offsets([partition])
        return {"begin": begin[partition], "end": end[partition]}
    finally:
        consumer.close(autocommit=False)


def _committed(arguments: Mapping[str, str]) -> dict[str, Any]:
    consumer, partition = _assigned(arguments)
    try:
        committed = consumer.committed(partition, metadata=True)
        return (
            {"offset": committed.offset, "metadata": committed.metadata}
            if committed
            else {"offset": None, "metadata": None}
        )
    finally:
        consumer.close(autocommit=False)


if __name__ == "__main__":
    serve(
        {
            "group": _group,
            "assign": _assign,
            "assign_time": _assign_time,
            "bounds": _bounds,
            "committed": _committed,
        }
    )
