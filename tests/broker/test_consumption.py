"""How far a group has come and who reads it: from commits, metadata, members and connections, and what that costs."""

from __future__ import annotations

import struct
import threading
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka import KafkaConsumer, TopicPartition

from broker.consumption import Consumption, _assigned, committed_ms_of
from broker.context import Session
from broker.control import GroupView
from broker.group import DescribedMember, GroupDescription, GroupState
from broker.listener import Address, Listener, Security
from broker.principal import NOBODY
from broker.sasl import SaslExchange
from storage.catalog import GroupRow
from storage.errors import LogReadError
from storage.log import LogSlice, NotResident
from tests.broker import served_group
from tests.broker.fakes import MemoryOffsets
from tests.fakes import ManualClock
from tests.fakes_log import MemoryLog
from tests.server_process import ServerProcess
from tests.tools.workplace import CHECKOUT

GROUP = GroupRow("dtsa", "shop", "analytics", "dtstest", None)
NOW_MS = 1_700_000_100_000
FIRST_MS = 1_700_000_000_000


def session(client_id: str = "reader", host: str = "10.0.0.1", offset: int | None = None) -> Session:
    return Session(
        listener=Listener("public", Address("127.0.0.1", 0), Security.SASL_PLAINTEXT),
        address=Address("127.0.0.1", 1),
        client_host=host,
        sasl=SaslExchange(needs_login=True),
        principal=NOBODY,
        client_id=client_id,
        fetch_offset=offset,
        fetching_since_ms=None if offset is None else 5,
    )


def assignment(*topics: tuple[str, tuple[int, ...]]) -> bytes:
    found = struct.pack(">hi", 0, len(topics))
    for name, partitions in topics:
        encoded = name.encode()
        found += struct.pack(
            f">h{len(encoded)}si{len(partitions)}i", len(encoded), encoded, len(partitions), *partitions
        )
    return found + struct.pack(">i", -1)


class World:
    """A log of ten records, a second each, in three batches; a group's commits, members and connections."""

    def __init__(self) -> None:
        self.offsets: Any = MemoryOffsets()
        self.clock = ManualClock(NOW_MS)
        self.log = MemoryLog()
        self.sessions: list[Session] = []
        self.members: list[DescribedMember] = []
        self.state = GroupState.STABLE
        for first, count in ((0, 4), (4, 1), (5, 5)):
            times = [FIRST_MS + 1000 * number for number in range(first, first + count)]
            self.log.append([b"v"] * count, times)
        self.consumption = Consumption(cast("Any", self.offsets), self.clock)
        self.consumption.watch(lambda group_id: self._description(), lambda group_id: self.sessions)

    def _description(self) -> GroupDescription | None:
        if not self.members:
            return None
        return GroupDescription(self.state, "consumer", "range", 1, tuple(self.members))

    def member(self, client_id: str, assigned: bytes = b"", host: str = "10.0.0.1") -> None:
        self.members.append(DescribedMember(f"{client_id}-1", client_id, host, b"", assigned, 77))

    def view(self) -> GroupView:
        return self.consumption.view(GROUP, self.log)

    def commit(self, offset: int, metadata: str = "") -> None:
        self.offsets.put("dtsa", "shop", offset)
        if metadata:
            committed = self.offsets.committed("dtsa")["shop", 0]
            self.offsets.committed("dtsa")["shop", 0] = type(committed)(offset, metadata, 0)


@pytest.fixture
def world() -> World:
    return World()


# How far


def test_nobody_is_connected(world: World) -> None:
    assert world.view() == GroupView("dtsa", "analytics", "dtstest", None, None, None)
    world.commit(4)
    view = world.view()
    assert (view.offset, view.behind, view.remaining, view.delay_s) == (4, 6, -1, -1)
    assert view.consume_timestamp_ms == FIRST_MS + 4000


@pytest.mark.parametrize("offset", range(11))
def test_a_group_goes_on_at_the_record_it_committed(world: World, offset: int) -> None:
    world.commit(offset)
    world.sessions = [session()]
    view = world.view()
    last = min(offset, 9)
    assert view.consume_timestamp_ms == FIRST_MS + 1000 * last
    assert view.remaining == 10 - offset
    assert view.delay_s == (0 if offset == 10 else (NOW_MS - FIRST_MS) // 1000 - offset)


def test_the_time_that_the_services_sdk_commits_counts_first(world: World) -> None:
    world.commit(4, "1700000002")
    assert world.view().consume_timestamp_ms == 1_700_000_002_000
    assert world.log.slices == []


@pytest.mark.parametrize(("seconds", "delay_s"), [(8, 92), (9, 0), (10, 0)])
def test_who_commits_the_time_of_the_last_record_waits_for_nothing(world: World, seconds: int, delay_s: int) -> None:
    """The service's SDK commits the offset of a record that it has consumed."""
    world.commit(9, str(FIRST_MS // 1000 + seconds))
    world.sessions = [session()]
    view = world.view()
    assert (view.remaining, view.delay_s) == (1, delay_s)


@pytest.mark.parametrize("metadata", ["1698765432", "1698765432|more", "1698765432|"])
def test_times_in_metadata(metadata: str) -> None:
    assert committed_ms_of(metadata) == 1_698_765_432_000


@pytest.mark.parametrize(
    "metadata", [None, "", "NO_METADATA", "169876543", "16987654321", "0698765432", "x1698765432", "١٦٩٨٧٦٥٤٣٢"]
)
def test_other_metadata_is_no_time(metadata: str | None) -> None:
    assert committed_ms_of(metadata) is None


def test_a_group_that_is_behind_the_data_waits_for_the_oldest_record(world: World) -> None:
    world.commit(1)
    world.log.log_start_offset = 5
    world.sessions = [session()]
    view = world.view()
    assert (view.behind, view.remaining, view.consume_timestamp_ms) == (9, 5, FIRST_MS + 5000)


def test_a_gap_is_passed_over(world: World) -> None:
    world.log.append([b"v"], [FIRST_MS + 50_000], gap=7)
    world.commit(12)
    assert world.view().consume_timestamp_ms == FIRST_MS + 50_000


def test_before_its_first_commit_a_group_is_where_its_client_reads(world: World) -> None:
    world.sessions = [session()]
    view = world.view()
    assert (view.consume_timestamp_ms, view.remaining, view.delay_s) == (None, 10, 100)
    world.sessions = [session(offset=3), session(offset=6)]
    view = world.view()
    assert (view.offset, view.behind) == (None, None)
    assert (view.consume_timestamp_ms, view.remaining, view.delay_s) == (FIRST_MS + 6000, 4, 94)


def test_an_empty_log_has_nothing_to_wait_for(world: World) -> None:
    world.log = MemoryLog()
    world.sessions = [session(offset=0)]
    view = world.view()
    assert (view.consume_timestamp_ms, view.remaining, view.delay_s) == (None, 0, 0)


def test_a_clock_behind_the_sources_gives_no_negative_delay(world: World) -> None:
    world.clock.set_wall(-200_000)
    world.commit(2)
    world.sessions = [session()]
    assert world.view().delay_s == 0


# What it costs


def test_a_place_is_looked_up_once(world: World) -> None:
    world.commit(2)
    for _ in range(5):
        world.view()
    assert len(world.log.slices) == 1
    world.commit(3)
    world.view()
    assert len(world.log.slices) == 2
    world.commit(10)
    world.view()
    assert len(world.log.slices) == 2
    assert world.log.leased == 0


def test_members_cost_no_reading(world: World) -> None:
    world.commit(2)
    for number in range(2000):
        world.member(f"m{number}", assignment(("shop", (0,))) if number == 0 else assignment())
    view = world.view()
    assert len(view.members) == 2000
    assert sum(each.is_active for each in view.members) == 1
    assert len(world.log.slices) == 1


def test_what_is_not_in_memory_is_not_touched(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def bring_in() -> None:
        return

    def cold(offset: int, max_bytes: int) -> LogSlice:
        raise NotResident(bring_in)

    world.commit(2)
    monkeypatch.setattr(world.log, "read", cold)
    with pytest.raises(NotResident):
        world.view()


def test_what_the_medium_does_not_give_back_is_not_known(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(offset: int, max_bytes: int) -> LogSlice:
        raise LogReadError("shop", "input/output error")

    world.commit(2)
    world.sessions = [session()]
    monkeypatch.setattr(world.log, "read", broken)
    view = world.view()
    assert (view.consume_timestamp_ms, view.remaining) == (None, 8)


def test_nobody_asks_for_views_who_does_not_wait_for_what_is_on_the_medium() -> None:
    """`resident(channels.views)` brings in what is not in memory, where a plain call fails; `_status` is asked so."""
    asking = [
        f"{path.name}: {line.strip()}"
        for path in sorted((CHECKOUT / "broker").rglob("*.py"))
        for line in path.read_text("utf-8").splitlines()
        if ".views()" in line
    ]
    assert asking == ['control.py: "channels": [to_builtins(view) for view in self._channels.views()],']


# Who


def shown(view: GroupView) -> list[tuple[str, str, bool, int | None]]:
    return [(each.member_id, each.client_id, each.is_active, each.since_ms) for each in view.members]


def test_one_is_active_and_the_others_stand_by(world: World) -> None:
    world.member("a", assignment(("other", (0,)), ("shop", (0,))))
    world.member("b", assignment(("shop", ())))
    world.member("c", assignment(("other", (0, 1))))
    world.sessions = [session("a"), session("a", offset=4), session("b")]
    view = world.view()
    assert shown(view) == [("a-1", "a", True, 77), ("b-1", "b", False, 77), ("c-1", "c", False, 77)]
    assert (view.connections, view.remaining) == (3, 6)


def test_nobody_is_active_while_a_group_rebalances(world: World) -> None:
    world.state = GroupState.PREPARING_REBALANCE
    world.member("a", assignment(("shop", (0,))))
    world.sessions = [session("a", offset=4)]
    assert shown(world.view()) == [("a-1", "a", False, 77)]


def test_who_assigns_the_partition_itself_is_shown(world: World) -> None:
    world.member("a", assignment(("shop", (0,))))
    world.sessions = [
        session("a", offset=1),
        session("a", offset=2),
        session("b", offset=3),
        session("b"),
        session("c"),
    ]
    assert shown(world.view()) == [("a-1", "a", True, 77), ("", "a", True, 5), ("", "b", True, 5)]


def test_a_member_without_a_login_counts_as_a_client(world: World) -> None:
    world.member("anonymous", assignment(("shop", (0,))))
    view = world.view()
    assert (view.connections, view.remaining) == (0, 10)


def test_an_assignment_is_read_as_far_as_it_goes() -> None:
    whole = assignment(("before", (3,)), ("shop", (0, 5)), ("behind", ()))
    assert _assigned(whole, "shop") == (0, 5)
    assert _assigned(whole, "behind") == ()
    assert _assigned(whole, "nowhere") == ()
    for end in range(len(whole) - 4):
        with pytest.raises((struct.error, UnicodeDecodeError)):
            _assigned(whole[:end], "nowhere")


@given(st.binary(max_size=60))
def test_no_assignment_of_a_strangers_does_harm(data: bytes) -> None:
    world = World()
    world.member("a", data)
    world.member("b", struct.pack(">hi", 0, 2**31 - 1) + data)
    assert len(world.view().members) == 2


@pytest.mark.parametrize("length", [-1, -32768, 32767])
def test_a_length_that_cannot_be_ends_the_reading(length: int) -> None:
    with pytest.raises(struct.error):
        _assigned(struct.pack(">hih", 0, 2**31 - 1, length) + b"x" * 20, "shop")


# With real consumers


class Reading(threading.Thread):
    """A consumer at work, until it is ended."""

    def __init__(self, consumer: KafkaConsumer) -> None:
        super().__init__(daemon=True)
        self._consumer = consumer
        self._ending = threading.Event()
        self.start()

    def run(self) -> None:
        while not self._ending.is_set():
            self._consumer.poll(timeout_ms=100)
        self._consumer.close()

    def end(self) -> None:
        self._ending.set()
        self.join()


def test_real_consumers_subscribe_stand_by_and_assign(tmp_path: Path) -> None:
    with ServerProcess(tmp_path, served_group.CONFIGURATION) as server:

        def consumer(client_id: str) -> KafkaConsumer:
            return KafkaConsumer(
                bootstrap_servers=server.bootstrap(),
                group_id=served_group.GROUP,
                client_id=client_id,
                security_protocol="SASL_PLAINTEXT",
                sasl_mechanism="PLAIN",
                sasl_plain_username=f"{served_group.USERNAME}-{served_group.GROUP}",
                sasl_plain_password=served_group.PASSWORD,
                enable_auto_commit=False,
                heartbeat_interval_ms=100,
                api_version=(1, 0, 0),
            )

        def group() -> dict[str, Any]:
            [found] = server.status()["channels"][0]["groups"]
            return cast("dict[str, Any]", found)

        def members() -> dict[str, bool]:
            return {each["client_id"]: each["is_active"] for each in group()["members"]}

        first, second, itself = consumer("first"), consumer("second"), consumer("itself")
        first.subscribe([served_group.TOPIC])
        second.subscribe([served_group.TOPIC])
        itself.assign([TopicPartition(served_group.TOPIC, 0)])
        itself.seek(TopicPartition(served_group.TOPIC, 0), 0)
        readers = {"first": Reading(first), "second": Reading(second), "itself": Reading(itself)}

        def active() -> list[str]:
            return sorted(name for name, is_active in members().items() if is_active)

        server.wait_for(lambda: len(members()) == 3 and len(active()) == 2, "read by three, of whom one stands by")
        assert active()[-1] in ("itself", "second")
        [gone] = [name for name in active() if name != "itself"]
        [left] = {"first", "second"} - {gone}
        readers.pop(gone).end()
        server.wait_for(lambda: members() == {left: True, "itself": True}, "read by the one that stood by")
        for reader in readers.values():
            reader.end()
        server.wait_for(lambda: group()["connections"] == 0 and not members(), "without clients")
        assert (group()["remaining"], group()["delay_s"]) == (-1, -1)
