"""The scenarios of kafka-python, as a process of its own: the version is the one its interpreter has installed."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from typing import Any

import kafka
from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition
from kafka.structs import OffsetAndMetadata

from tests.interop.scenario_loop import emit_record, serve

# 2.1 gave OffsetAndMetadata a third field, which a broker of this age has no place for.
_NO_LEADER_EPOCH = (-1,) if "leader_epoch" in OffsetAndMetadata._fields else ()
# 3.0 keeps trying in its constructor, for half a minute unless told otherwise.
_TRIES_WHILE_CONSTRUCTED = "bootstrap_timeout_ms" in KafkaConsumer.DEFAULT_CONFIG
# Before 2.0 a consumer is told the committed offset only; the admin client is told its metadata too.
_SHOWS_METADATA = int(kafka.__version__.split(".")[0]) >= 2


def _login(arguments: Mapping[str, str]) -> dict[str, Any]:
    encrypted = {"ssl_cafile": arguments["ca"]} if arguments["security"] == "SASL_SSL" else {}
    return {
        "bootstrap_servers": arguments["bootstrap"],
        "client_id": arguments["client_id"],
        "security_protocol": arguments["security"],
        "sasl_mechanism": "PLAIN",
        "sasl_plain_username": arguments["username"],
        "sasl_plain_password": arguments["password"],
        **encrypted,
    }


def _consumer(arguments: Mapping[str, str]) -> KafkaConsumer:
    patience = {"bootstrap_timeout_ms": int(arguments["deadline_ms"])} if _TRIES_WHILE_CONSTRUCTED else {}
    return KafkaConsumer(
        **_login(arguments),
        **patience,
        group_id=arguments["group"],
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        session_timeout_ms=int(arguments["session_timeout_ms"]),
        heartbeat_interval_ms=int(arguments["session_timeout_ms"]) // 10,
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
        consumer.commit({partition: OffsetAndMetadata(following, arguments["metadata"], *_NO_LEADER_EPOCH)})
    return {"count": seen}


def _group(arguments: Mapping[str, str]) -> dict[str, Any]:
    consumer = _consumer(arguments)
    try:
        consumer.subscribe([arguments["topic"]])
        return _read(consumer, TopicPartition(arguments["topic"], 0), arguments)
    finally:
        consumer.close(autocommit=False)


def _hold(arguments: Mapping[str, str]) -> dict[str, Any]:
    """As ``group``, but stay an active member until the process is killed: polling, so that it joins rebalances."""
    consumer = _consumer(arguments)
    consumer.subscribe([arguments["topic"]])
    done = _read(consumer, TopicPartition(arguments["topic"], 0), arguments)
    threading.Thread(target=_poll_forever, args=(consumer,), daemon=True).start()
    return done


def _poll_forever(consumer: KafkaConsumer) -> None:
    while True:
        consumer.poll(timeout_ms=200)


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
    if not _SHOWS_METADATA:
        return _committed_as_listed(arguments)
    consumer, partition = _assigned(arguments)
    try:
        return _offset_and_metadata(consumer.committed(partition, metadata=True))
    finally:
        consumer.close(autocommit=False)


def _committed_as_listed(arguments: Mapping[str, str]) -> dict[str, Any]:
    admin = KafkaAdminClient(**_login(arguments))
    try:
        listed = admin.list_consumer_group_offsets(arguments["group"])
        return _offset_and_metadata(listed.get(TopicPartition(arguments["topic"], 0)))
    finally:
        admin.close()


def _offset_and_metadata(committed: OffsetAndMetadata | None) -> dict[str, Any]:
    if committed is None:
        return {"offset": None, "metadata": None}
    return {"offset": committed.offset, "metadata": committed.metadata}


def _topics(arguments: Mapping[str, str]) -> dict[str, Any]:
    consumer = _consumer(arguments)
    try:
        return {"topics": sorted(consumer.topics())}
    finally:
        consumer.close(autocommit=False)


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
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
