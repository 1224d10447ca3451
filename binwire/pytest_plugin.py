"""A plugin of pytest: a broker for the test run, a fresh channel for each test, and what it held where a test fails.

    def test_orders(binwire_channel):
        orders = binwire_channel.table("CREATE TABLE orders (id BIGINT PRIMARY KEY)")
        orders.insert(id=1)

The broker starts with the first test that asks for a channel; with pytest-xdist each worker has its own. Loaded by
every run of pytest beside which Binwire is installed, so it imports nothing but pytest before a fixture is used.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from binwire.testing import AsyncChannel, Channel, EmbeddedBroker

SHOWN_RECORDS = 20
SHOWN_CHARACTERS = 500
"""Of a record's line."""


@pytest.fixture(scope="session")
def binwire_broker() -> Iterator[EmbeddedBroker]:
    """An embedded broker that serves until the test run ends."""
    from binwire.testing import EmbeddedBroker

    with EmbeddedBroker() as broker:
        yield broker


@pytest.fixture
def binwire_channel(binwire_broker: EmbeddedBroker) -> Iterator[Channel]:
    """A fresh channel with a topic and a consumer group of its own."""
    with binwire_broker.channel() as channel:
        yield channel


@pytest.fixture
def binwire_async_channel(binwire_channel: Channel) -> AsyncChannel:
    """The same for asynchronous tests, whichever plugin runs them on asyncio."""
    return binwire_channel.to_async()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Say what the channels of a test that failed held then."""
    report = yield
    if report.when == "call" and report.failed and "binwire.testing" in sys.modules:
        report.sections += [(f"Binwire {name}", text) for name, text in _channels(item)]
    return report


def _channels(item: pytest.Item) -> Iterator[tuple[str, str]]:
    """What there is to say of each channel among the values of a test's fixtures, by its name."""
    from binwire.testing import AsyncChannel, Channel

    channels = [value for value in getattr(item, "funcargs", {}).values() if isinstance(value, (Channel, AsyncChannel))]
    for name, channel in {channel.name: channel for channel in channels}.items():
        yield f"channel {name}", _described(channel)


def _described(channel: Any) -> str:
    """A channel's last records, and what its own group committed."""
    from binwire.testing import Channel, EmbeddedBrokerError

    plain: Channel = channel if isinstance(channel, Channel) else channel.to_plain()
    try:
        committed, records = plain.committed(), plain.records(last=SHOWN_RECORDS)
    except EmbeddedBrokerError as error:
        return f"its records cannot be shown: {error}"
    lines = [_cut(str(record)) for record in records] or ["it has no records"]
    said = "nothing" if committed is None else f"{committed.offset} {committed.metadata}".rstrip()
    return "\n".join((*lines, f"committed by its group: {said}"))


def _cut(line: str) -> str:
    return line if len(line) <= SHOWN_CHARACTERS else f"{line[:SHOWN_CHARACTERS]}… ({len(line)} characters)"
