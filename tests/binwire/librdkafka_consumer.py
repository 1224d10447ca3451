"""A consumer on librdkafka in a process of its own, for an interpreter that has confluent-kafka.

    argument       a JSON object with `topic` and the consumer's `settings`
    stdin          `commit`: commit what was read, and say what came of it; the end: leave
    stdout         a JSON array per event: ["record", offset], ["error", name], ["throttle", ms], ["assigned", count],
                   ["revoked", count], ["committed", offset], ["commit_failed", name], ["said", text of its log]

The other end: `consumers.py`.
"""

from __future__ import annotations

import json
import logging
import queue
import sys
import threading
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException

POLL_S = 0.05


def say(*event: object) -> None:
    print(json.dumps(event), flush=True)


class Told(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        say("said", record.getMessage())


def read_commands(commands: queue.SimpleQueue[str | None]) -> None:
    for line in sys.stdin:
        commands.put(line.strip())
    commands.put(None)


def commit(consumer: Any) -> None:
    try:
        say("committed", consumer.commit(asynchronous=False)[0].offset)
    except KafkaException as error:
        say("commit_failed", error.args[0].name())


def main() -> None:
    given = json.loads(sys.argv[1])
    logger = logging.getLogger("librdkafka")
    logger.addHandler(Told())
    callbacks = {
        "error_cb": lambda error: say("error", error.name()),
        "throttle_cb": lambda event: say("throttle", round(event.throttle_time * 1000)),
    }
    consumer = Consumer({**given["settings"], "enable.auto.commit": False, **callbacks}, logger=logger)
    consumer.subscribe(
        [given["topic"]],
        on_assign=lambda _, partitions: say("assigned", len(partitions)),
        on_revoke=lambda _, partitions: say("revoked", len(partitions)),
    )
    commands: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    threading.Thread(target=read_commands, args=(commands,), daemon=True).start()
    while True:
        message = consumer.poll(POLL_S)
        if message is not None:
            error: KafkaError | None = message.error()
            say("record", message.offset()) if error is None else say("error", error.name())
        if commands.empty():
            continue
        if commands.get() is None:
            break
        commit(consumer)
    consumer.close()


main()
