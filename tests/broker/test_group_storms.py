"""Restart storms on a manual clock: hundreds of members that join, die and come back, and what that costs.

`Consumer` does what Java's does: joins, syncs, heartbeats every three seconds, rejoins when told to, begins anew when
unknown. A message takes a millisecond to arrive. No deadlines: what is counted are messages and virtual time.
"""

from __future__ import annotations

from random import Random

import pytest

from broker.errors import ErrorCode
from broker.group import GroupState, JoinResult, MemberProtocol, SyncResult
from broker.groups import GroupCoordinator
from tests.broker.fakes import MemoryOffsets
from tests.fakes import ManualClock, ManualScheduler, ManualTimer

GROUP = "group-a"
PARTITION = b"partition 0"
SESSION_MS = 10_000
REBALANCE_MS = 60_000
HEARTBEAT_MS = 3_000
TRANSIT_MS = 1


class Storm:
    """A coordinator, its consumers, and a count of everything they sent."""

    def __init__(self, seed: int, *, initial_rebalance_ms: int = 0) -> None:
        self.chance = Random(seed)
        self.clock = ManualClock()
        self.timers = ManualScheduler(self.clock)
        self.groups = GroupCoordinator(
            MemoryOffsets(),  # type: ignore[arg-type]
            self.clock,
            self.timers,
            initial_rebalance_ms=initial_rebalance_ms,
        )
        self.consumers: list[Consumer] = []
        self.messages = 0
        self.owners: dict[int, set[str]] = {}

    def start(self, count: int) -> list[Consumer]:
        """Consumers that come up within a second."""
        fresh = [Consumer(self) for _ in range(count)]
        self.consumers += fresh
        for each in fresh:
            each.later(self.chance.randrange(1000), each.join)
        return fresh

    def until_stable(self, limit_ms: int) -> int:
        """Let time pass until every living consumer is a member of one Stable generation; how long that took."""
        began_ms = self.clock.monotonic_ms()
        while not self.is_stable:
            self.timers.advance(100)
            assert self.clock.monotonic_ms() - began_ms <= limit_ms, "the group does not come to rest"
        return self.clock.monotonic_ms() - began_ms

    @property
    def is_stable(self) -> bool:
        group = self.groups.describe(GROUP)
        living = [each for each in self.consumers if each.is_alive]
        return (
            group is not None
            and group.state is GroupState.STABLE
            and {each.member_id for each in living} == {each.member_id for each in group.members}
            and all(each.generation == group.generation_id and each.is_settled for each in living)
        )

    @property
    def active(self) -> list[Consumer]:
        return [each for each in self.consumers if each.is_alive and each.assignment == PARTITION]


class Consumer:
    """One client. `kill` is kill -9 with the machine: no leave, and its connection is not seen to close."""

    def __init__(self, storm: Storm) -> None:
        self.storm = storm
        self.is_alive = True
        self.is_settled = False
        self.member_id = ""
        self.generation = 0
        self.assignment = b""
        self.beat: ManualTimer | None = None

    def later(self, ms: int, action: object) -> ManualTimer:
        def run() -> None:
            if self.is_alive:
                self.storm.messages += 1
                action()  # type: ignore[operator]

        return self.storm.timers.call_later(ms, run)

    def kill(self) -> None:
        self.is_alive = False

    def leave(self) -> None:
        self.is_alive = False
        self.storm.messages += 1
        self.storm.groups.leave(GROUP, self.member_id)

    def join(self) -> None:
        self.is_settled = False
        if self.beat is not None:
            self.beat.cancel()
        self.storm.groups.join(
            GROUP,
            self.member_id,
            client_id="c",
            client_host="",
            session_ms=SESSION_MS,
            rebalance_ms=REBALANCE_MS,
            protocol_type="consumer",
            protocols=[MemberProtocol("range", b"")],
            reply=self.joined,
        )

    def joined(self, result: JoinResult) -> None:
        if not self.is_alive:
            return
        if result.error_code:
            self.begin_anew()
            return
        self.member_id, self.generation = result.member_id, result.generation_id
        assignments = {each: b"" for each, _ in result.members}
        if assignments:
            assignments[min(assignments)] = PARTITION
        self.later(TRANSIT_MS, lambda: self.sync(assignments))

    def sync(self, assignments: dict[str, bytes]) -> None:
        self.storm.groups.sync(GROUP, self.member_id, self.generation, assignments=assignments, reply=self.synced)

    def synced(self, result: SyncResult) -> None:
        if not self.is_alive:
            return
        if result.error_code:
            self.again(result.error_code)
            return
        self.assignment, self.is_settled = result.assignment, True
        if result.assignment:
            owners = self.storm.owners.setdefault(self.generation, set())
            owners.add(self.member_id)
            assert len(owners) == 1, "one owner of the partition in a generation"
        self.beat = self.later(HEARTBEAT_MS, self.heartbeat)

    def heartbeat(self) -> None:
        code = self.storm.groups.heartbeat(GROUP, self.member_id, self.generation)
        if code:
            self.again(code)
        else:
            self.beat = self.later(HEARTBEAT_MS, self.heartbeat)

    def again(self, code: ErrorCode) -> None:
        if code is ErrorCode.REBALANCE_IN_PROGRESS:
            self.later(TRANSIT_MS, self.join)
        else:
            self.begin_anew()

    def begin_anew(self) -> None:
        self.member_id = ""
        self.later(TRANSIT_MS, self.join)


@pytest.mark.parametrize("initial_rebalance_ms", [0, 3000])
@pytest.mark.parametrize("count", [10, 300])
def test_many_consumers_that_start_at_once_come_to_rest(count: int, initial_rebalance_ms: int) -> None:
    """Without a delay the first alone makes a generation of its own, the others the second: one rebalance more."""
    storm = Storm(seed=count, initial_rebalance_ms=initial_rebalance_ms)
    storm.start(count)
    took_ms = storm.until_stable(limit_ms=REBALANCE_MS)
    assert took_ms <= 1000 + max(HEARTBEAT_MS, initial_rebalance_ms) + SESSION_MS
    group = storm.groups.describe(GROUP)
    assert group is not None
    assert group.generation_id <= (1 if initial_rebalance_ms else 4)
    assert storm.messages <= 8 * count + 20
    assert len(storm.active) == 1


@pytest.mark.parametrize("seed", range(5))
def test_consumers_that_are_killed_and_started_again_and_again(seed: int) -> None:
    """Each round kills a third without a word, lets some leave, and starts as many anew; nobody alive is ever lost."""
    storm = Storm(seed)
    storm.start(200)
    storm.until_stable(limit_ms=REBALANCE_MS)
    for _ in range(10):
        living = [each for each in storm.consumers if each.is_alive]
        before = storm.messages
        for each in storm.chance.sample(living, len(living) // 3):
            storm.chance.choice((each.kill, each.kill, each.leave))()
        gone = 200 - sum(each.is_alive for each in storm.consumers)
        storm.timers.advance(storm.chance.randrange(2 * SESSION_MS))
        storm.start(gone)
        took_ms = storm.until_stable(limit_ms=3 * SESSION_MS + REBALANCE_MS)
        heartbeats = 200 * (took_ms + 2 * SESSION_MS) // HEARTBEAT_MS
        assert storm.messages - before <= heartbeats + 12 * 200
        assert len(storm.active) == 1
    for each in storm.consumers:
        each.kill()
    storm.timers.advance(2 * SESSION_MS + REBALANCE_MS)
    group = storm.groups.describe(GROUP)
    assert group is not None
    assert group.state is GroupState.EMPTY
    assert storm.timers.pending == 0


def test_a_standby_takes_over_from_each_active_consumer_that_dies() -> None:
    """One after the other, each time within a session and the heartbeat by which the others learn of it."""
    storm = Storm(seed=1)
    storm.start(100)
    storm.until_stable(limit_ms=REBALANCE_MS)
    for _ in range(99):
        (active,) = storm.active
        active.kill()
        took_ms = storm.until_stable(limit_ms=REBALANCE_MS)
        assert took_ms <= SESSION_MS + HEARTBEAT_MS + 200
        (heir,) = storm.active
        assert heir is not active


def test_the_active_consumer_that_leaves_hands_over_with_the_next_heartbeat() -> None:
    storm = Storm(seed=2)
    storm.start(3)
    storm.until_stable(limit_ms=REBALANCE_MS)
    (active,) = storm.active
    active.leave()
    assert storm.until_stable(limit_ms=REBALANCE_MS) <= HEARTBEAT_MS + 200
