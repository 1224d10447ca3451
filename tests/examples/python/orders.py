"""What every order of a shop costs, kept in memory by following the changes of its table.

Changes come at least once: after a crash, or when the stream moves to another store, some come again. Each is applied
by the row's primary key, so a change that comes twice does no harm, and is committed when it was applied.
"""

from __future__ import annotations

import threading
from decimal import Decimal

from kafka import KafkaConsumer

from binwire.record import Record, decode


class Orders:
    """The amounts of all orders by their ids."""

    def __init__(self) -> None:
        self.amounts: dict[int, Decimal] = {}

    def apply(self, record: Record) -> None:
        """Take one change; records of anything else than rows of `orders` are passed over."""
        if record.table != "orders" or record.operation not in ("INSERT", "UPDATE", "DELETE"):
            return
        if record.before is not None:
            self.amounts.pop(record.before["id"], None)
        if record.after is not None:
            self.amounts[record.after["id"]] = record.after["amount"]


def follow(consumer: KafkaConsumer, orders: Orders, stop: threading.Event) -> None:
    """Apply and commit what comes, until told to stop."""
    while not stop.is_set():
        for messages in consumer.poll(timeout_ms=100).values():
            for message in messages:
                orders.apply(decode(message.value))
            consumer.commit()
    consumer.close(autocommit=False)
