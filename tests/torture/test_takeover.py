"""kill -9 of the active consumer of a group, again and again: a standby takes over and nothing is left out.

Real kafka-python consumers in processes of their own, all of one group on the one partition. Whoever reads is killed,
a new one is started in its place, and the next to read must go on where the last commit says: at the last one that a
consumer was answered, or at one that was on its way when its consumer was killed. Counted in kills and records, not in
seconds.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any, Self

import pytest

from bench.client import LATEST, RawClient
from binwire.testing import Channel, EmbeddedBroker, Table
from tests.tools.workplace import CHECKOUT

_MEMBERS = 3
_KILLS_SHORT = 3
_KILLS_LONG = 60
_ROWS = 50
_PATIENCE_S = 120  # only a failure waits this long
_SETTINGS = {"session_timeout_ms": 2000, "heartbeat_interval_ms": 300, "enable_auto_commit": False}


class Member:
    """A consumer's process; what it says goes to a queue shared by all."""

    def __init__(self, channel: Channel, events: queue.Queue[tuple[Member, dict[str, Any]]]) -> None:
        settings = {"topic": channel.topic, "group_id": channel.sid, **channel.kafka_python(), **_SETTINGS}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.torture.group_member", json.dumps(settings)],
            cwd=CHECKOUT,
            stdout=subprocess.PIPE,
        )
        self._events = events
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                if line.endswith(b"\n"):
                    self._events.put((self, json.loads(line)))
        self._events.put((self, {"ended": self._process.wait()}))

    def kill(self) -> None:
        """End it with SIGKILL; everything it said until then is in the queue when this returns."""
        self._process.kill()
        self._process.wait()
        self._reader.join()


class Group:
    """The members, and what is known of their reading."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._events: queue.Queue[tuple[Member, dict[str, Any]]] = queue.Queue()
        self._members: list[Member] = []
        self._position: dict[Member, int] = {}
        self._unanswered: set[int] = set()  # read up to here, and what came of the commit is not known
        self.committed = 0
        self.read: set[int] = set()

    def __enter__(self) -> Self:
        for _ in range(_MEMBERS):
            self.start_one()
        return self

    def __exit__(self, *_: object) -> None:
        for member in self._members:
            member.kill()

    def start_one(self) -> None:
        self._members.append(Member(self._channel, self._events))

    def kill(self, member: Member) -> None:
        self._members.remove(member)
        member.kill()

    def next_reader(self) -> Member:
        """Wait until somebody reads, and check that it reads on where it has to."""
        while True:
            member, event = self._events.get(timeout=_PATIENCE_S)
            if self._note(member, event):
                return member

    def drain(self) -> None:
        """Take note of what was said already."""
        while not self._events.empty():
            self._note(*self._events.get())

    def _note(self, member: Member, event: dict[str, Any]) -> bool:
        assert event.get("ended", -signal.SIGKILL) == -signal.SIGKILL, "a consumer ended by itself"
        if "committed" in event:
            self.committed = max(self.committed, event["committed"])
        self._unanswered -= {event.get("committed"), event.get("refused")}
        if "assigned" in event:
            self._position.pop(member, None)
        if "read" not in event:
            return False
        first, last = event["read"]
        if member in self._position:
            assert first == self._position[member], "records were left out or repeated"
        else:
            self._takes_over_at(first)
        self._position[member] = last + 1
        self._unanswered.add(last + 1)
        self.read |= set(range(first, last + 1))
        return True

    def _takes_over_at(self, offset: int) -> None:
        """Check that it is the last commit; it is known from now on, also if nobody was told."""
        assert offset == self.committed or offset in self._unanswered, "this was never committed"
        assert offset >= self.committed, "a commit went back"
        self.committed = offset


@pytest.fixture
def channel() -> Iterator[tuple[Channel, Table]]:
    with EmbeddedBroker() as broker:
        channel = broker.channel()
        yield channel, channel.table("CREATE TABLE orders (id BIGINT PRIMARY KEY)")


@pytest.mark.timeout(300)
def test_few_takeovers(channel: tuple[Channel, Table]) -> None:
    _kill_the_active_one(*channel, kills=_KILLS_SHORT)


@pytest.mark.torture
@pytest.mark.timeout(3600)
def test_many_takeovers(channel: tuple[Channel, Table]) -> None:
    _kill_the_active_one(*channel, kills=int(os.environ.get("BINWIRE_KILLS", _KILLS_LONG)))


def _kill_the_active_one(channel: Channel, table: Table, kills: int) -> None:
    with Group(channel) as group:
        key = 0
        for _ in range(kills):
            table.insert(*({"id": key + number} for number in range(_ROWS)))
            key += _ROWS
            group.kill(group.next_reader())
            group.start_one()
            group.drain()
        end = _high_watermark(channel)
        while len(group.read) < end:
            group.next_reader()
    assert group.read == set(range(end))
    assert end > kills * _ROWS


def _high_watermark(channel: Channel) -> int:
    host, port = channel.kafka_python()["bootstrap_servers"].split(":")
    with RawClient(host, int(port)) as client:
        client.login(channel.login, channel.password)
        return client.list_offsets(channel.topic, LATEST)[1]
