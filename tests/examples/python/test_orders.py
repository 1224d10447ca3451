"""Tests of `orders.py`; the channel of each, its table and its changes come from Binwire's pytest plugin."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal

import pytest
from kafka import KafkaConsumer
from orders import Orders, follow

from binwire.testing import Channel, Table


@pytest.fixture
def table(binwire_channel: Channel) -> Table:
    return binwire_channel.table("CREATE TABLE orders (id BIGINT PRIMARY KEY, amount DECIMAL(9,2) NOT NULL)")


@contextmanager
def following(channel: Channel) -> Iterator[Orders]:
    """The program, running in a thread."""
    consumer = KafkaConsumer(channel.topic, group_id=channel.sid, enable_auto_commit=False, **channel.kafka_python())
    orders, stop = Orders(), threading.Event()
    thread = threading.Thread(target=follow, args=(consumer, orders, stop))
    thread.start()
    try:
        yield orders
    finally:
        stop.set()
        thread.join()


def test_rows_that_come_change_and_go(binwire_channel: Channel, table: Table) -> None:
    with following(binwire_channel) as orders:
        table.insert({"id": 1, "amount": Decimal("9.90")}, {"id": 2, "amount": 20})
        table.update(({"id": 1, "amount": Decimal("9.90")}, {"id": 1, "amount": Decimal("8.50")}))
        table.delete(id=2, amount=20)
        binwire_channel.wait_consumed()
        assert orders.amounts == {1: Decimal("8.50")}


def test_a_restart_goes_on_where_it_was(binwire_channel: Channel, table: Table) -> None:
    with following(binwire_channel):
        table.insert(id=1, amount=10)
        binwire_channel.wait_consumed()
    table.insert(id=2, amount=20)
    with following(binwire_channel) as restarted:
        binwire_channel.wait_consumed()
        assert restarted.amounts == {2: 20}


def test_a_connection_that_breaks_loses_nothing(binwire_channel: Channel, table: Table) -> None:
    binwire_channel.faults.cut("Fetch", after_bytes=20)
    with following(binwire_channel) as orders:
        table.insert(id=1, amount=10)
        binwire_channel.wait_consumed()
        assert orders.amounts == {1: 10}


def test_changes_that_come_again_change_nothing(binwire_channel: Channel, table: Table) -> None:
    """As after a switch of the store behind the channel, which brings a stretch of the stream once more."""
    with following(binwire_channel) as orders:
        table.insert(id=1, amount=10)
        table.update(({"id": 1, "amount": 10}, {"id": 1, "amount": 30}))
        binwire_channel.wait_consumed()
    for record in binwire_channel.records():
        orders.apply(record)
    assert orders.amounts == {1: 30}
