"""What unmodified clients do when a fixture has requests and groups go wrong: nothing is lost, nothing comes twice.

One client of each library that commits, and the oldest and the newest of Java's; the service's SDK in its group mode.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest

from binwire.testing import Channel, EmbeddedBroker
from binwire.testing.faults import Faults
from tests.interop.client import Client
from tests.interop.client_matrix import CLIENTS
from tests.interop.conftest import ClientProcesses

LIBRARIES: Final = (
    *("java-0.10.2.2", "java-1.1.1", "java-2.8.2", "java-4.4.0", "dts-sdk-2.0.0"),
    *("c-librdkafka-0.11.6", "confluent-kafka-2.16.1-librdkafka-2.16.0"),
    *("kafka-python-3.0.12", "aiokafka-0.14.0", "sarama-1.61.1-V1_0_0_0", "franz-go-1.22.2", "kafkajs-2.2.4"),
)
SCRIPTS: Final[dict[str, Callable[[Faults], object]]] = {
    "refused fetches": lambda faults: faults.fail("Fetch", "NOT_LEADER_FOR_PARTITION", times=2),
    "an answer that breaks off": lambda faults: faults.cut("Fetch", 100),
    "throttling": lambda faults: faults.throttle(20),
    "a coordinator that moves": lambda faults: faults.move_coordinator(),
    "a coordinator that loads": lambda faults: faults.fail("OffsetFetch", "COORDINATOR_LOAD_IN_PROGRESS"),
    "a join that is not known": lambda faults: faults.fail("SyncGroup", "REBALANCE_IN_PROGRESS"),
}


@pytest.fixture(scope="module")
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker() as broker:
        yield broker


@pytest.mark.parametrize(
    "client",
    [
        pytest.param(each, id=each.name, marks=pytest.mark.interop(each.name))
        for each in CLIENTS
        if each.name in LIBRARIES
    ],
    indirect=True,
)
@pytest.mark.parametrize("script", SCRIPTS)
def test_everything_is_read_once_and_committed(
    client: Client, client_processes: ClientProcesses, broker: EmbeddedBroker, script: str
) -> None:
    channel = broker.channel()
    table = channel.table("CREATE TABLE t (id INT PRIMARY KEY)")
    for number in range(3):
        table.insert(id=number)
    written = channel.records()
    SCRIPTS[script](channel.faults)
    outcome = client_processes.of(client).run("group", count=len(written), metadata="m", **_login(channel, client))
    assert [record.offset for record in outcome.records] == [record.offset for record in written]
    channel.wait_consumed()
    channel.close()


def _login(channel: Channel, client: Client) -> dict[str, Any]:
    """The arguments by which a client's scenarios log in, as `scenario_loop.py` has them."""
    return {
        "bootstrap": channel.bootstrap_servers,
        "security": "SASL_PLAINTEXT",
        "topic": channel.topic,
        "group": channel.sid,
        "account": channel.username,
        "username": channel.login,
        "password": channel.password,
        "client_id": client.name,
        "session_timeout_ms": "6000",
        "timestamp": channel.records()[0].timestamp_s,
    }
