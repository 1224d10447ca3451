"""The coordinator against a model (`group_model.py`), under any sequence of requests and pauses.

After every step both must have answered the same requests in the same way and be in the same state. Beside that, what
has to hold whatever the model says: a generation is never begun twice and has one owner of the partition; a request is
answered once at most; nobody is out before its session or the rebalance ended; no timer outlives what it watches.

Every step takes two milliseconds. Members whose sessions end in one of them go together, and a rebalance that ends
there drops those same members: no order of timers decides anything. The sequences are the same in every run;
BINWIRE_EXAMPLES=N plays N others.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from broker.group import JoinResult, MemberProtocol, SyncResult
from broker.groups import GroupCoordinator
from tests.broker.fakes import MemoryOffsets
from tests.broker.group_model import EMPTY, ModelGroup, ModelMember
from tests.fakes import ManualClock, ManualScheduler

GROUP = "group-a"
OWNER = b"partition 0"
SESSIONS_MS = st.sampled_from((6_000, 10_000, 30_000))
REBALANCES_MS = st.sampled_from((500, 15_500, 40_500))
PROTOCOLS = st.sampled_from((("range",), ("range", "roundrobin"), ("roundrobin", "range"), ("roundrobin",)))
PAUSES_MS = st.sampled_from((1_000, 3_000, 5_000, 6_000, 9_000, 20_000))
METADATA = st.integers(0, 1)
PICK = st.integers(0, 1 << 16)
EXAMPLES = 300


class CoordinatorAgainstModel(RuleBasedStateMachine):
    """Clients are played here: a member that was given an id is known by its number from then on."""

    @initialize()
    def begin(self) -> None:
        self.clock = ManualClock()
        self.timers = ManualScheduler(self.clock)
        self.groups = GroupCoordinator(MemoryOffsets(), self.clock, self.timers)  # type: ignore[arg-type]
        self.model = ModelGroup()
        self.requests = 0
        self.joins: dict[int, int] = {}  # request -> member's number
        self.replies: dict[int, Callable[[JoinResult], None]] = {}
        self.answers: dict[int, list[JoinResult | SyncResult]] = {}
        self.ids: dict[int, str] = {}  # member's number -> id, of those that were told it
        self.abandoned: set[int] = set()
        self.owners: dict[int, set[str]] = {}
        self.leaders: dict[int, str] = {}
        self.generation_before = 0

    # Requests

    @rule(session_ms=SESSIONS_MS, rebalance_ms=REBALANCES_MS, protocols=PROTOCOLS, metadata=METADATA)
    def join(self, session_ms: int, rebalance_ms: int, protocols: tuple[str, ...], metadata: int) -> None:
        request = self._next_request()
        self.joins[request] = request
        new = ModelMember(request, session_ms, rebalance_ms, protocols, metadata)
        self.model.join(request, None, new, protocols, metadata)
        self._join(request, "", protocols, metadata, session_ms, rebalance_ms)

    @precondition(lambda self: self.ids)
    @rule(pick=PICK, protocols=PROTOCOLS, metadata=METADATA)
    def rejoin_changed(self, pick: int, protocols: tuple[str, ...], metadata: int) -> None:
        self._rejoin(self._pick(pick), protocols, metadata)

    @precondition(lambda self: self.ids)
    @rule(pick=PICK)
    def rejoin(self, pick: int) -> None:
        number = self._pick(pick)
        member = self.model.find(number)
        self._rejoin(number, member.protocols if member else ("range",), member.metadata if member else 0)

    @precondition(lambda self: self.model.members)
    @rule()
    def all_rejoin(self) -> None:
        """What clients do when they are told of a rebalance."""
        for member in tuple(self.model.members):
            if member.has_id and member.join is None and self.model.find(member.number) is member:
                self._rejoin(member.number, member.protocols, member.metadata)

    @precondition(lambda self: self.ids)
    @rule(pick=PICK, owner=PICK, wrong=st.sampled_from((0, 0, 0, 1, -1)))
    def sync(self, pick: int, owner: int, wrong: int) -> None:
        self._sync(self._pick(pick), self._pick(owner), wrong)

    @precondition(lambda self: self.model.members)
    @rule()
    def followers_sync(self) -> None:
        """What clients do when they have joined; the leader may keep them waiting."""
        for member in tuple(self.model.members[1:]):
            if member.has_id:
                self._sync(member.number, member.number, 0)

    @precondition(lambda self: self.model.members and self.model.members[0].has_id)
    @rule(owner=PICK)
    def leader_syncs(self, owner: int) -> None:
        self._sync(self.model.members[0].number, self._pick(owner), 0)

    @rule(session_ms=SESSIONS_MS, newcomers=st.integers(0, 3), owner=PICK)
    def become_stable(self, session_ms: int, newcomers: int, owner: int) -> None:
        """What a group comes to when nobody is in the way: without it most sequences end in an empty one."""
        for _ in range(newcomers if self.model.members else max(newcomers, 1)):
            self.join(session_ms, 15_500, ("range", "roundrobin"), 0)
        self.all_rejoin()
        if self.model.members and self.model.members[0].has_id:
            self.followers_sync()
            self.leader_syncs(owner)

    @rule(ms=st.sampled_from((1_000, 3_000, 5_000)), silent=PICK)
    def live_on(self, ms: int, silent: int) -> None:
        """Time passes, and all but one are heard."""
        self.pause(ms)
        for member in tuple(self.model.members):
            if member.has_id and member.number != silent % (self.requests + 1):
                self._step()
                generation = self.model.generation
                code = self.groups.heartbeat(GROUP, self.ids[member.number], generation)
                assert code == self.model.heartbeat(member.number, generation)

    @precondition(lambda self: self.ids)
    @rule(pick=PICK, wrong=st.sampled_from((0, 0, 0, 1, -1)))
    def heartbeat(self, pick: int, wrong: int) -> None:
        number, generation = self._pick(pick), self.model.generation + wrong
        self._step()
        assert self.groups.heartbeat(GROUP, self.ids[number], generation) == self.model.heartbeat(number, generation)

    @precondition(lambda self: self.ids)
    @rule(pick=PICK)
    def leave(self, pick: int) -> None:
        number = self._pick(pick)
        self._step()
        assert self.groups.leave(GROUP, self.ids[number]) == self.model.leave(number)

    @precondition(lambda self: self.ids)
    @rule(pick=PICK, wrong=st.sampled_from((0, 0, 0, 1, -1)))
    def commit(self, pick: int, wrong: int) -> None:
        number, generation = self._pick(pick), self.model.generation + wrong
        self._step()
        known = self.groups.describe(GROUP) is not None
        expected = self.model.commit(number, generation) if known else 0 if generation < 0 else 22
        assert self.groups.commit(GROUP, self.ids[number], generation) == expected

    @rule()
    def commit_without_generation(self) -> None:
        self._step()
        assert self.groups.commit(GROUP, "", -1) == self.model.commit(None, -1)

    @rule(pick=PICK)
    def lose_a_connection(self, pick: int) -> None:
        waiting = [each for each in self.joins if not self.answers[each] and each not in self.abandoned]
        if waiting:
            request = waiting[pick % len(waiting)]
            self._step()
            self.abandoned.add(request)
            self.model.abandon(request)
            self.groups.abandon_join(GROUP, self.replies[request])

    @rule(ms=PAUSES_MS)
    def pause(self, ms: int) -> None:
        self.model.advance(ms)
        self.timers.advance(ms)

    @rule(pick=PICK)
    def remove_the_group(self, pick: int) -> None:
        if pick % 8:
            return  # seldom
        self._step()
        self.model.dismiss()
        self.groups.remove(GROUP)
        self.owners.clear()
        self.leaders.clear()
        self.generation_before = 0

    # What has to hold

    @invariant()
    def both_answered_the_same(self) -> None:
        for request, answers in self.answers.items():
            assert len(answers) <= 1, "a request is answered once"
            expected = self.model.answers.get(request)
            assert [self._in_words_of_the_model(each) for each in answers] == ([expected] if expected else [])

    @invariant()
    def both_are_in_the_same_state(self) -> None:
        group = self.groups.describe(GROUP)
        if group is None:
            assert (self.model.state, self.model.members) == (EMPTY, [])
            return
        assert (group.state.value, group.generation_id) == (self.model.state, self.model.generation)
        assert len(group.members) == len(self.model.members)
        known = {self.ids[each.number] for each in self.model.members if each.number in self.ids}
        assert known <= {each.member_id for each in group.members}
        assert group.generation_id >= self.generation_before
        self.generation_before = group.generation_id

    @invariant()
    def no_timer_outlives_what_it_watches(self) -> None:
        rebalances = self.model.rebalance_ends_ms is not None
        assert self.timers.pending <= len(self.model.members) + rebalances

    def teardown(self) -> None:
        if not hasattr(self, "timers"):
            return
        self.pause(60_000 * (2 + len(self.model.members)))
        self.both_answered_the_same()
        self.both_are_in_the_same_state()
        assert self.model.state == EMPTY, "everybody fell silent"
        assert self.timers.pending == 0
        assert all(answers or request in self.abandoned for request, answers in self.answers.items())

    # Pieces

    def _step(self) -> None:
        self.model.advance(2)
        self.timers.advance(2)

    def _next_request(self) -> int:
        self._step()
        self.requests += 1
        self.answers[self.requests] = []
        return self.requests

    def _pick(self, pick: int) -> int:
        numbers = list(self.ids)
        return numbers[pick % len(numbers)]

    def _rejoin(self, number: int, protocols: tuple[str, ...], metadata: int) -> None:
        if number not in self.ids:
            return
        request = self._next_request()
        self.joins[request] = number
        if self.groups.describe(GROUP) is None:
            self.model.answers[request] = (25,)
        else:
            self.model.join(request, number, None, protocols, metadata)
        self._join(request, self.ids[number], protocols, metadata, 10_000, 15_500)

    def _join(
        self,
        request: int,
        member_id: str,
        protocols: tuple[str, ...],
        metadata: int,
        session_ms: int,
        rebalance_ms: int,
    ) -> None:
        def reply(result: JoinResult) -> None:
            self.answers[request].append(result)
            if not result.error_code and request not in self.abandoned:
                self.ids[self.joins[request]] = result.member_id
                leader = self.leaders.setdefault(result.generation_id, result.leader_id)
                assert leader == result.leader_id, "a generation is begun once"

        self.replies[request] = reply
        self.groups.join(
            GROUP,
            member_id,
            client_id="client",
            client_host="127.0.0.1",
            session_ms=session_ms,
            rebalance_ms=rebalance_ms,
            protocol_type="consumer",
            protocols=[MemberProtocol(name, b"%d" % metadata) for name in protocols],
            reply=reply,
        )

    def _sync(self, number: int, owner: int, wrong: int) -> None:
        request = self._next_request()
        generation = self.model.generation + wrong
        self.model.sync(request, number, generation, {owner: OWNER})
        member_id = self.ids[number]

        def reply(result: SyncResult) -> None:
            self.answers[request].append(result)
            if result.assignment:
                self.owners.setdefault(generation, set()).add(member_id)
                assert len(self.owners[generation]) == 1, "one owner of the partition in a generation"

        self.groups.sync(GROUP, member_id, generation, assignments={self.ids[owner]: OWNER}, reply=reply)

    def _in_words_of_the_model(self, answer: JoinResult | SyncResult) -> tuple[object, ...]:
        if isinstance(answer, SyncResult):
            return int(answer.error_code), answer.assignment
        if answer.error_code:
            return (int(answer.error_code),)
        numbers = {member_id: number for number, member_id in self.ids.items()}
        return 0, answer.generation_id, numbers.get(answer.leader_id), answer.protocol


TestCoordinatorAgainstModel = CoordinatorAgainstModel.TestCase
TestCoordinatorAgainstModel.settings = settings(
    max_examples=int(os.environ.get("BINWIRE_EXAMPLES", EXAMPLES)),
    stateful_step_count=60,
    derandomize="BINWIRE_EXAMPLES" not in os.environ,
    suppress_health_check=list(HealthCheck),
)


# Sequences that once ended differently: two members fell silent behind the same completed join, and which of them was
# looked at first decided how long the third had to wait.

Machine = CoordinatorAgainstModel


def _play(*steps: Callable[[Machine], None]) -> None:
    machine = Machine()
    machine.begin()
    for step in (*steps, Machine.teardown):
        step(machine)
        machine.both_answered_the_same()
        machine.both_are_in_the_same_state()
        machine.no_timer_outlives_what_it_watches()


def _join(session_ms: int, rebalance_ms: int) -> Callable[[Machine], None]:
    return lambda machine: machine.join(session_ms, rebalance_ms, ("range",), 0)


def _pause(ms: int) -> Callable[[Machine], None]:
    return lambda machine: machine.pause(ms)


_TWO_FALL_SILENT_BESIDE_A_THIRD = (
    _join(10_000, 500),
    _join(30_000, 500),
    Machine.all_rejoin,
    _pause(9_000),
    _join(10_000, 15_500),
    Machine.all_rejoin,
    lambda machine: machine.leader_syncs(0),
    _pause(1_000),
    Machine.all_rejoin,
    _pause(1_000),
    _pause(9_000),
)


def test_the_dead_do_not_delay_the_answer_to_who_joins_behind_them() -> None:
    _play(*_TWO_FALL_SILENT_BESIDE_A_THIRD, _join(6_000, 500), _pause(1_000))


def test_the_dead_do_not_decide_whether_who_is_left_was_too_late() -> None:
    _play(*_TWO_FALL_SILENT_BESIDE_A_THIRD, lambda machine: machine.live_on(1_000, 0))


def test_the_dead_do_not_decide_when_a_group_that_fell_silent_is_empty() -> None:
    _play(
        _join(10_000, 500),
        _pause(1_000),
        _join(10_000, 15_500),
        Machine.all_rejoin,
        _pause(9_000),
        _join(30_000, 500),
        Machine.all_rejoin,
        _pause(20_000),
    )
