"""A broker for tests: a real server in a process of its own, whose changes come by call instead of from a database.

    from binwire.testing import EmbeddedBroker

    with EmbeddedBroker() as broker:
        channel = broker.channel()
        orders = channel.table("CREATE TABLE orders (id BIGINT PRIMARY KEY, note VARCHAR(40))")
        orders.insert(id=1, note="first")
        consumer = KafkaConsumer(channel.topic, group_id=channel.sid, **channel.kafka_python())
        …
        channel.wait_consumed()

Changes are encoded as binlog events and go through the same code as those of a live MySQL. The server ends when the
broker is closed, and by itself when the process that started it is gone. Standard library only, and nothing of the
server is imported here: whatever packages a project has, they meet none of ours.

Each area has a file with what both kinds of channel do: the calls it makes, then the class for plain and the one for
asynchronous code (`changes.py`, …). `broker.py` and `asynchronous.py` put them together, `process.py` is the way to the
server. Fixtures of pytest are in `binwire/pytest_plugin.py`.
"""

from __future__ import annotations

from binwire.testing.asynchronous import AsyncChannel, AsyncEmbeddedBroker
from binwire.testing.broker import Channel, EmbeddedBroker
from binwire.testing.changes import AsyncTable, Row, Table
from binwire.testing.faults import AsyncFaults, Faults
from binwire.testing.process import EmbeddedBrokerError
from binwire.testing.waiting import AsyncGroup, Committed, Group
from binwire.testing.wire_faults import AsyncScriptedFault, Connection, ScriptedFault

__all__ = [
    "AsyncChannel",
    "AsyncEmbeddedBroker",
    "AsyncFaults",
    "AsyncGroup",
    "AsyncScriptedFault",
    "AsyncTable",
    "Channel",
    "Committed",
    "Connection",
    "EmbeddedBroker",
    "EmbeddedBrokerError",
    "Faults",
    "Group",
    "Row",
    "ScriptedFault",
    "Table",
]
