"""A kafka-python consumer as a program, to be killed: reads, commits, and says so before it goes on.

    python -m tests.torture.group_member '{"topic": …, "group_id": …, settings of KafkaConsumer …}'

One JSON line on standard output for each event: `{"assigned": true}` or `false` after a rebalance, `{"read": [first,
last offset]}`, `{"committed": next offset}` or `{"refused": next offset}`. A batch is read, then committed, then the
next is polled.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from kafka import ConsumerRebalanceListener, KafkaConsumer, TopicPartition
from kafka.errors import CommitFailedError
from kafka.structs import OffsetAndMetadata

BATCH_RECORDS = 20


def say(**event: Any) -> None:
    sys.stdout.write(json.dumps(event) + "\n")
    sys.stdout.flush()


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]
    def on_partitions_revoked(self, revoked: Any) -> None:
        pass

    def on_partitions_assigned(self, assigned: Any) -> None:
        say(assigned=bool(assigned))


def main(settings: dict[str, Any]) -> None:
    partition = TopicPartition(settings.pop("topic"), 0)
    consumer = KafkaConsumer(**{**settings, "api_version": tuple(settings["api_version"])})
    consumer.subscribe([partition.topic], listener=_Listener())
    while True:
        for records in consumer.poll(timeout_ms=200, max_records=BATCH_RECORDS).values():
            say(read=[records[0].offset, records[-1].offset])
            end = records[-1].offset + 1
            try:
                consumer.commit({partition: OffsetAndMetadata(end, str(end))})
            except CommitFailedError:
                say(refused=end)  # somebody else has the partition now, and reads on from the last commit
            else:
                say(committed=end)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
