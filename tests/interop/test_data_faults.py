"""What the service's own SDK does about the data that a test fixture can have come: a store switch, NOOPs, and more."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from binwire.testing import Channel, EmbeddedBroker
from tests.interop.client import Client
from tests.interop.client_matrix import DTS_CLIENTS, cells
from tests.interop.client_process import DEADLINE_MS, ClientProcess
from tests.interop.conftest import ClientProcesses

pytestmark = pytest.mark.timeout(2 * DEADLINE_MS / 1000)


@pytest.fixture(scope="module")
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker() as broker:
        yield broker


@pytest.fixture
def channel(broker: EmbeddedBroker) -> Iterator[Channel]:
    with broker.channel() as channel:
        channel.table("CREATE TABLE t (id INT PRIMARY KEY)", timestamp_s=1_700_000_000)
        for number in range(3):
            channel.insert("t", {"id": number}, timestamp_s=1_700_000_000 + 10 * number)
        yield channel


def asked(channel: Channel, count: int, **further: object) -> dict[str, object]:
    """The arguments of a scenario that reads so many records from the first on."""
    login = {"bootstrap": channel.bootstrap_servers, "topic": channel.topic, "group": channel.sid}
    account = {"account": channel.username, "password": channel.password, "client_id": "interop"}
    return {**login, **account, "timestamp": 1_700_000_000, "session_timeout_ms": 10_000, "count": count, **further}


def rows(process: ClientProcess, scenario: str, arguments: dict[str, object]) -> Iterator[list[Any]]:
    """The records that the SDK shows its listener, as they come."""
    process._ask(scenario, {"deadline_ms": DEADLINE_MS, **arguments})
    for kind, content in process._answers(scenario):
        if kind == "row":
            yield content


SWITCHING = cells(client for client in DTS_CLIENTS if client.name == "dts-sdk-2.0.0")
"""One, because it pauses for ten seconds: 1.4.0 and 2.1.4 do the same, in both modes."""


@pytest.mark.parametrize("client", SWITCHING, indirect=True)
def test_the_sdk_begins_anew_by_its_checkpoint_after_a_store_switch(
    client: Client, client_processes: ClientProcesses, channel: Channel
) -> None:
    """It sees the other cluster, ends its consumer, and has no checkpoint but the one it was first given: what it had
    committed is gone.
    """
    process = client_processes.of(client)
    records = channel.records()
    reading = rows(process, "group", asked(channel, 2 * len(records) + 3))
    before = [next(reading) for _ in records]
    channel.faults.store_switch()
    channel.insert("t", {"id": 3})
    after = [*reading]
    assert "Cluster changed from " in process._log.read_text("utf-8", "replace")
    assert [row[0] for row in before] == [record.offset for record in records]
    now = channel.records()
    assert [row[:2] for row in after] == [[record.offset, record.id] for record in now]
    assert [row[2:] for row in after[: len(before)]] == [row[2:] for row in before]
    assert after[-2][3:] == ["INSERT", "test.t", None, {"id": "3"}]


@pytest.mark.parametrize("client", cells(DTS_CLIENTS), indirect=True)
def test_the_sdk_shows_its_listener_whatever_comes(
    client: Client, client_processes: ClientProcesses, broker: EmbeddedBroker
) -> None:
    """NOOPs above two bytes, empty transactions, rows that nobody asked for: to leave them out is the listener's."""
    with broker.channel("CREATE TABLE a.t (id INT)", "CREATE TABLE b.t (id INT)", objects=["b"]) as channel:
        channel.faults.noop(timestamp_s=1_700_000_000)
        channel.faults.empty_transaction()
        channel.faults.untracked("a.t", {"id": 1})
        channel.faults.ghost_alter("b.t", "ADD extra INT")
        channel.insert("b.t", {"id": 2, "extra": 3})
        records = channel.records()
        read = [*rows(client_processes.of(client), "assign", asked(channel, len(records)))]
    assert [row[0] for row in read] == [record.offset for record in records]
    assert [row[3] for row in read] == [record.operation.replace("NOOP", "UNKNOWN") for record in records]
    inserted = {row[4]: row[6] for row in read if row[3] == "INSERT"}
    assert (inserted["a.t"], inserted["b.t"]) == ({"id": "1"}, {"id": "2", "extra": "3"})
    assert [*inserted] == ["a.t", "b._t_ghc", "b.t"]
