"""What unmodified clients do when a fixture has requests and groups go wrong: nothing is lost, nothing comes twice.

One client of each library, and the oldest and the newest of Java's; the service's SDK in its group mode. kafka-python's
behaviour is that of `tests/binwire/test_wire_faults.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import pytest
from _pytest.mark import ParameterSet

from binwire.testing import Channel, EmbeddedBroker
from binwire.testing.faults import Faults
from tests.interop.client import Client
from tests.interop.client_matrix import CLIENTS
from tests.interop.client_process import ClientError
from tests.interop.conftest import ClientProcesses

LIBRARIES: Final = (
    *("java-0.10.2.2", "java-1.1.1", "java-4.4.0", "dts-sdk-2.0.0", "confluent-kafka-2.16.1-librdkafka-2.16.0"),
    *("aiokafka-0.14.0", "sarama-1.61.1-V1_0_0_0", "kafkajs-2.2.4"),
)


def _fetches(faults: Faults) -> None:
    faults.fail("Fetch", "NOT_LEADER_FOR_PARTITION", times=2)
    faults.cut("Fetch", 100, after=2)


def _group(faults: Faults) -> None:
    faults.throttle(20)
    faults.fail("SyncGroup", "REBALANCE_IN_PROGRESS")
    faults.fail("OffsetFetch", "COORDINATOR_LOAD_IN_PROGRESS")


def _coordinator(faults: Faults) -> None:
    faults.move_coordinator()


SCRIPTS: Final = {"fetches": _fetches, "the group": _group, "the coordinator": _coordinator}
TELLS: Final = {("sarama-1.61.1-V1_0_0_0", "fetches"): "unexpected EOF"}
"""What a library has its program decide about, which here ends it: the next run reads."""


@pytest.fixture(scope="module")
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker() as broker:
        yield broker


def _named(*names: str) -> list[ParameterSet]:
    wanted = [client for client in CLIENTS if client.name in names]
    assert len(wanted) == len(names)
    return [pytest.param(each, id=each.name, marks=pytest.mark.interop(each.name)) for each in wanted]


@pytest.mark.parametrize("client", _named(*LIBRARIES), indirect=True)
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
    arguments = {"count": len(written), "metadata": "m", **_login(channel, client)}
    if told := TELLS.get((client.name, script)):
        with pytest.raises(ClientError, match=told):
            client_processes.of(client).run("group", **arguments)
    outcome = client_processes.of(client).run("group", **arguments)
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


@pytest.mark.parametrize("client", _named("dts-sdk-2.0.0"), indirect=True)
@pytest.mark.parametrize("mode", ["group", "assign"])
def test_the_sdk_goes_on_at_the_beginning_when_its_checkpoint_has_expired(
    client: Client, client_processes: ClientProcesses, broker: EmbeddedBroker, mode: str
) -> None:
    """It asks by the time of its checkpoint, so that nobody tells it what it has missed."""
    channel = broker.channel("CREATE TABLE t (id INT PRIMARY KEY)")
    login = _login(channel, client)
    client_processes.of(client).run(mode, count=2, metadata="m", **login)
    channel.insert("t", {"id": 1})
    start = channel.faults.expire()
    channel.insert("t", {"id": 2})
    outcome = client_processes.of(client).run(mode, count=4, **login)
    assert [record.offset for record in outcome.records] == [*range(start, start + 4)]
    channel.close()


@pytest.mark.parametrize("client", _named("java-4.4.0"), indirect=True)
def test_java_4_comes_back_by_its_bootstrap_servers(
    client: Client, client_processes: ClientProcesses, broker: EmbeddedBroker
) -> None:
    """Older ones ask only where they were told to."""
    channel = broker.channel("CREATE TABLE t (id INT PRIMARY KEY)")
    written = channel.records()
    fault = channel.faults.advertise("nowhere.invalid", 9092)
    with ThreadPoolExecutor(1) as reading:
        login = _login(channel, client)
        outcome = reading.submit(client_processes.of(client).run, "group", count=len(written), **login)
        fault.wait(2)
        fault.clear()
        assert [record.offset for record in outcome.result().records] == [record.offset for record in written]
    channel.close()
