"""The group coordinator, cell by cell of its state table, on a clock that the tests move.

Goal: every request in every state gives the code and the next state that Kafka 1.1 gives. Method: `Bench` brings a
group into a state, sends one request, and looks at replies and state; nothing here knows the insides.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from broker.errors import ErrorCode
from broker.group import GroupState, JoinResult, MemberProtocol, SyncResult
from broker.groups import GROUPS_MAX, MEMBERS_MAX, GroupCoordinator
from broker.offsets import CommittedOffset
from tests.broker.fakes import MemoryOffsets
from tests.fakes import ManualClock, ManualScheduler

GROUP = "group-a"
SESSION_MS = 10_000
REBALANCE_MS = 60_000
RANGE = MemberProtocol("range", b"topics")
OTHER_RANGE = MemberProtocol("range", b"other topics")
ROUND_ROBIN = MemberProtocol("roundrobin", b"topics")

NONE = ErrorCode.NONE
UNKNOWN = ErrorCode.UNKNOWN_MEMBER_ID
GENERATION = ErrorCode.ILLEGAL_GENERATION
REBALANCE = ErrorCode.REBALANCE_IN_PROGRESS


class Bench:
    """A coordinator and shorthand for its requests. A parked sync is an empty list of replies."""

    def __init__(self, **settings: int) -> None:
        self.clock = ManualClock()
        self.timers = ManualScheduler(self.clock)
        self.offsets = MemoryOffsets()
        self.groups = GroupCoordinator(self.offsets, self.clock, self.timers, **settings)  # type: ignore[arg-type]

    def join(
        self,
        member_id: str = "",
        *protocols: MemberProtocol,
        session_ms: int = SESSION_MS,
        rebalance_ms: int = REBALANCE_MS,
        group_id: str = GROUP,
        protocol_type: str = "consumer",
    ) -> Pending:
        pending = Pending()
        self.groups.join(
            group_id,
            member_id,
            client_id="client",
            client_host="127.0.0.1",
            session_ms=session_ms,
            rebalance_ms=rebalance_ms,
            protocol_type=protocol_type,
            protocols=list(protocols or (RANGE,)),
            reply=pending.reply,
        )
        return pending

    def sync(self, member_id: str, generation: int, assignments: dict[str, bytes] | None = None) -> list[SyncResult]:
        replies: list[SyncResult] = []
        self.groups.sync(GROUP, member_id, generation, assignments=assignments or {}, reply=replies.append)
        return replies

    def heartbeat(self, member_id: str, generation: int) -> ErrorCode:
        return self.groups.heartbeat(GROUP, member_id, generation)

    def leave(self, member_id: str) -> ErrorCode:
        return self.groups.leave(GROUP, member_id)

    def commit(self, member_id: str, generation: int) -> ErrorCode:
        return self.groups.commit(GROUP, member_id, generation)

    @property
    def state(self) -> GroupState | None:
        group = self.groups.describe(GROUP)
        return group.state if group else None

    def is_in(self, state: GroupState | None) -> bool:
        return self.state is state

    @property
    def generation(self) -> int:
        group = self.groups.describe(GROUP)
        assert group is not None
        return group.generation_id

    def rejoin(self, *member_ids: str, protocol: MemberProtocol = RANGE) -> list[JoinResult]:
        """All of these members rejoin, which completes the rebalance."""
        return [pending.result for pending in [self.join(member_id, protocol) for member_id in member_ids]]

    # States

    def completing(self) -> tuple[str, str]:
        """Leader and follower of generation 2, the leader has to assign."""
        leader = self.join().result.member_id
        follower = self.join()
        assert self.is_in(GroupState.PREPARING_REBALANCE)
        self.rejoin(leader)
        assert self.is_in(GroupState.COMPLETING_REBALANCE)
        assert self.generation == 2
        return leader, follower.result.member_id

    def stable(self) -> tuple[str, str]:
        """Leader with everything and standby, generation 2."""
        leader, follower = self.completing()
        self.sync(leader, 2, {leader: b"partition 0", follower: b"nothing"})
        assert self.is_in(GroupState.STABLE)
        return leader, follower

    def preparing(self) -> tuple[str, str, Pending]:
        """Leader and follower of generation 2 have to rejoin, a newcomer is parked."""
        leader, follower = self.stable()
        newcomer = self.join()
        assert self.is_in(GroupState.PREPARING_REBALANCE)
        return leader, follower, newcomer

    def empty(self) -> str:
        """No members, generation 2; returns the id of the one that left."""
        member = self.join().result.member_id
        assert self.leave(member) is NONE
        assert self.is_in(GroupState.EMPTY)
        return member


class Pending:
    """The reply to a join, when it comes."""

    def __init__(self) -> None:
        self.replies: list[JoinResult] = []

    def reply(self, result: JoinResult) -> None:
        self.replies.append(result)

    @property
    def result(self) -> JoinResult:
        (only,) = self.replies
        return only

    @property
    def is_parked(self) -> bool:
        return not self.replies


@pytest.fixture
def bench() -> Bench:
    return Bench()


# Join


def test_the_first_join_makes_generation_1_and_a_leader_who_is_told_the_members(bench: Bench) -> None:
    result = bench.join().result
    assert result.error_code is NONE
    assert result.generation_id == 1
    assert result.leader_id == result.member_id
    assert result.member_id.startswith("client-")
    assert result.protocol == "range"
    assert result.members == ((result.member_id, b"topics"),)
    assert bench.is_in(GroupState.COMPLETING_REBALANCE)


def test_join_without_id_in_empty_starts_a_rebalance(bench: Bench) -> None:
    bench.empty()
    assert bench.join().result.generation_id == 3


def test_join_without_id_in_preparing_is_parked(bench: Bench) -> None:
    leader, follower, newcomer = bench.preparing()
    second = bench.join()
    assert newcomer.is_parked
    assert second.is_parked
    results = bench.rejoin(leader, follower)
    assert {each.generation_id for each in (*results, newcomer.result, second.result)} == {3}
    assert len(results[0].members) == 4
    assert results[1].members == ()
    assert {each.leader_id for each in (*results, newcomer.result)} == {leader}


def test_join_without_id_in_completing_answers_parked_syncs_27(bench: Bench) -> None:
    _, follower = bench.completing()
    waiting = bench.sync(follower, 2)
    assert waiting == []
    newcomer = bench.join()
    assert waiting == [SyncResult(REBALANCE)]
    assert newcomer.is_parked
    assert bench.is_in(GroupState.PREPARING_REBALANCE)


def test_join_without_id_in_stable_starts_a_rebalance(bench: Bench) -> None:
    leader, follower = bench.stable()
    assert bench.join().is_parked
    assert bench.is_in(GroupState.PREPARING_REBALANCE)
    assert bench.heartbeat(follower, 2) is REBALANCE
    assert bench.heartbeat(leader, 2) is REBALANCE


@pytest.mark.parametrize("state", ["none", "empty", "preparing", "completing", "stable"])
def test_join_with_an_unknown_id_is_25_in_every_state(bench: Bench, state: str) -> None:
    if state != "none":
        getattr(bench, state)()
    before = bench.state
    result = bench.join("ghost").result
    assert result == JoinResult(error_code=UNKNOWN, member_id="ghost")
    assert bench.is_in(before)


def test_join_with_a_known_id_in_preparing_is_parked_and_updates(bench: Bench) -> None:
    leader, follower, newcomer = bench.preparing()
    rejoined = bench.join(follower, OTHER_RANGE)
    assert rejoined.is_parked
    bench.rejoin(leader)
    assert rejoined.result.generation_id == 3
    bench.sync(leader, 3)
    described = bench.groups.describe(GROUP)
    assert described is not None
    assert {each.metadata for each in described.members if each.member_id == follower} == {b"other topics"}
    assert newcomer.result.error_code is NONE


def test_join_with_a_known_id_in_completing_repeats_the_answer(bench: Bench) -> None:
    leader, follower = bench.completing()
    again = bench.join(leader).result
    assert again.generation_id == 2
    assert len(again.members) == 2
    assert bench.join(follower).result.members == ()
    assert bench.is_in(GroupState.COMPLETING_REBALANCE)


def test_join_with_a_known_id_and_other_metadata_in_completing_starts_over(bench: Bench) -> None:
    _, follower = bench.completing()
    assert bench.join(follower, OTHER_RANGE).is_parked
    assert bench.is_in(GroupState.PREPARING_REBALANCE)


def test_join_of_an_unchanged_follower_in_stable_repeats_the_answer(bench: Bench) -> None:
    _, follower = bench.stable()
    assert bench.join(follower).result.generation_id == 2
    assert bench.is_in(GroupState.STABLE)


def test_join_of_the_leader_or_of_a_changed_follower_in_stable_rebalances(bench: Bench) -> None:
    leader, follower = bench.stable()
    assert bench.join(leader).is_parked
    assert bench.is_in(GroupState.PREPARING_REBALANCE)
    bench.rejoin(follower)
    bench.sync(leader, 3)
    assert bench.is_in(GroupState.STABLE)
    assert bench.join(follower, OTHER_RANGE).is_parked
    assert bench.is_in(GroupState.PREPARING_REBALANCE)


@pytest.mark.parametrize("session_ms", [5999, 300_001, -1, 0])
def test_a_session_timeout_out_of_bounds_is_26(bench: Bench, session_ms: int) -> None:
    assert bench.join(session_ms=session_ms).result.error_code is ErrorCode.INVALID_SESSION_TIMEOUT
    assert bench.is_in(None)


def test_an_empty_group_id_is_24(bench: Bench) -> None:
    assert bench.join(group_id="").result.error_code is ErrorCode.INVALID_GROUP_ID


def test_protocols_that_no_other_member_shares_are_23(bench: Bench) -> None:
    bench.stable()
    refused = bench.join("", ROUND_ROBIN).result
    assert refused.error_code is ErrorCode.INCONSISTENT_GROUP_PROTOCOL
    assert bench.join("", RANGE, protocol_type="connect").result.error_code is ErrorCode.INCONSISTENT_GROUP_PROTOCOL
    assert bench.is_in(GroupState.STABLE)


def test_a_first_member_without_protocols_or_type_is_23() -> None:
    bench = Bench()
    replies: list[JoinResult] = []
    for protocol_type, protocols in (("consumer", []), ("", [RANGE])):
        bench.groups.join(
            GROUP,
            "",
            client_id="",
            client_host="",
            session_ms=SESSION_MS,
            rebalance_ms=0,
            protocol_type=protocol_type,
            protocols=protocols,
            reply=replies.append,
        )
    assert [each.error_code for each in replies] == [ErrorCode.INCONSISTENT_GROUP_PROTOCOL] * 2


def test_the_protocol_is_chosen_by_vote_among_what_all_support(bench: Bench) -> None:
    sticky = MemberProtocol("sticky", b"")
    first = bench.join("", sticky, RANGE, ROUND_ROBIN).result.member_id
    second = bench.join("", ROUND_ROBIN, RANGE)
    third = bench.join("", ROUND_ROBIN, RANGE)
    bench.join(first, sticky, RANGE, ROUND_ROBIN)
    assert {second.result.protocol, third.result.protocol} == {"roundrobin"}


def test_a_rebalance_ends_without_those_who_do_not_rejoin(bench: Bench) -> None:
    leader, follower, newcomer = bench.preparing()
    bench.join(follower)
    # the leader's session would end it sooner: it keeps heartbeating and still does not rejoin
    for _ in range(REBALANCE_MS // 5000 - 1):
        bench.timers.advance(5000)
        assert bench.heartbeat(leader, 2) is REBALANCE
    assert newcomer.is_parked
    bench.timers.advance(5000)
    assert newcomer.result.leader_id == follower
    assert bench.heartbeat(leader, 3) is UNKNOWN


def test_the_rebalance_waits_as_long_as_its_most_patient_member_allows(bench: Bench) -> None:
    patient = bench.join(rebalance_ms=200_000, session_ms=300_000).result.member_id
    newcomer = bench.join(rebalance_ms=1000)
    bench.timers.advance(199_999)
    assert newcomer.is_parked
    bench.timers.advance(1)
    assert newcomer.result.leader_id == newcomer.result.member_id
    assert bench.heartbeat(patient, 2) is UNKNOWN


def test_a_rebalance_nobody_joins_leaves_the_group_empty(bench: Bench) -> None:
    bench.stable()
    bench.timers.advance(SESSION_MS)
    assert bench.is_in(GroupState.EMPTY)
    assert bench.timers.pending == 0


# The first rebalance of a group, with a delay


def test_the_first_rebalance_waits_for_more_members_while_they_come() -> None:
    bench = Bench(initial_rebalance_ms=3000)
    first = bench.join()
    bench.timers.advance(2000)
    second = bench.join()
    bench.timers.advance(2999)  # the first delay ended at 3000 and was extended, as the second came meanwhile
    assert first.is_parked
    bench.timers.advance(1001)
    assert first.result.generation_id == second.result.generation_id == 1
    assert len(first.result.members) == 2


def test_the_first_rebalance_does_not_wait_beyond_the_rebalance_timeout() -> None:
    bench = Bench(initial_rebalance_ms=3000)
    first = bench.join(rebalance_ms=5000)
    bench.timers.advance(2000)
    bench.join(rebalance_ms=5000)
    bench.timers.advance(2500)
    bench.join(rebalance_ms=5000)
    assert first.is_parked
    bench.timers.advance(500)
    assert len(first.result.members) == 3


# Sync


def test_sync_without_a_group_is_25(bench: Bench) -> None:
    assert bench.sync("ghost", 1) == [SyncResult(UNKNOWN)]


def test_sync_in_empty_is_25(bench: Bench) -> None:
    gone = bench.empty()
    assert bench.sync(gone, 2) == [SyncResult(UNKNOWN)]


def test_sync_in_preparing_is_27(bench: Bench) -> None:
    leader, _, _ = bench.preparing()
    assert bench.sync(leader, 2) == [SyncResult(REBALANCE)]
    assert bench.sync(leader, 1) == [SyncResult(GENERATION)]
    assert bench.sync("ghost", 2) == [SyncResult(UNKNOWN)]


def test_sync_in_completing_parks_until_the_leader_assigns(bench: Bench) -> None:
    leader, follower = bench.completing()
    assert bench.sync(follower, 1) == [SyncResult(GENERATION)]
    waiting = bench.sync(follower, 2)
    assert waiting == []
    assert bench.sync(leader, 2, {leader: b"all"}) == [SyncResult(NONE, b"all")]
    assert waiting == [SyncResult(NONE, b"")]  # the leader left it out: empty, not null
    assert bench.is_in(GroupState.STABLE)


def test_sync_in_stable_gives_the_assignment_again(bench: Bench) -> None:
    leader, follower = bench.stable()
    assert bench.sync(leader, 2) == [SyncResult(NONE, b"partition 0")]
    assert bench.sync(follower, 2) == [SyncResult(NONE, b"nothing")]
    assert bench.sync(follower, 1) == [SyncResult(GENERATION)]
    assert bench.sync("ghost", 2) == [SyncResult(UNKNOWN)]


# Heartbeat


def test_heartbeat_without_a_group_or_members_is_25(bench: Bench) -> None:
    assert bench.heartbeat("ghost", 1) is UNKNOWN
    gone = bench.empty()
    assert bench.heartbeat(gone, 2) is UNKNOWN


def test_heartbeat_in_preparing_is_27_and_keeps_the_session(bench: Bench) -> None:
    leader, follower, newcomer = bench.preparing()
    assert bench.heartbeat("ghost", 2) is UNKNOWN
    assert bench.heartbeat(leader, 1) is GENERATION
    for _ in range(4):
        bench.timers.advance(SESSION_MS - 1)
        assert bench.heartbeat(leader, 2) is REBALANCE
    assert bench.heartbeat(follower, 2) is UNKNOWN  # it kept silent
    assert newcomer.is_parked


def test_heartbeat_in_completing_is_27_whatever_the_generation_and_does_not_keep_the_session(bench: Bench) -> None:
    leader, follower = bench.completing()
    assert bench.heartbeat(follower, 2) is REBALANCE
    assert bench.heartbeat(follower, 99) is REBALANCE
    assert bench.heartbeat("ghost", 2) is UNKNOWN
    bench.timers.advance(SESSION_MS - 1)
    assert bench.heartbeat(leader, 2) is REBALANCE
    bench.timers.advance(1)
    assert bench.heartbeat(leader, 2) is UNKNOWN


def test_heartbeat_in_stable_checks_the_generation_and_keeps_the_session(bench: Bench) -> None:
    leader, follower = bench.stable()
    assert bench.heartbeat("ghost", 2) is UNKNOWN
    assert bench.heartbeat(leader, 1) is GENERATION
    for _ in range(5):
        bench.timers.advance(SESSION_MS - 1)
        assert bench.heartbeat(leader, 2) is NONE
        assert bench.heartbeat(follower, 2) is NONE
    assert bench.is_in(GroupState.STABLE)


# Leave


@pytest.mark.parametrize("state", ["none", "empty", "preparing", "completing", "stable"])
def test_leave_of_a_stranger_is_25(bench: Bench, state: str) -> None:
    if state != "none":
        getattr(bench, state)()
    assert bench.leave("ghost") is UNKNOWN


def test_leave_in_preparing_may_complete_the_rebalance(bench: Bench) -> None:
    leader, follower, newcomer = bench.preparing()
    bench.join(follower)
    assert bench.leave(leader) is NONE
    assert newcomer.result.leader_id == follower
    assert bench.is_in(GroupState.COMPLETING_REBALANCE)


def test_leave_in_completing_starts_over(bench: Bench) -> None:
    leader, follower = bench.completing()
    waiting = bench.sync(follower, 2)
    assert bench.leave(leader) is NONE
    assert waiting == [SyncResult(REBALANCE)]
    assert bench.is_in(GroupState.PREPARING_REBALANCE)
    assert bench.rejoin(follower)[0].leader_id == follower


def test_leave_in_stable_hands_over_to_the_standby(bench: Bench) -> None:
    leader, follower = bench.stable()
    assert bench.leave(leader) is NONE
    assert bench.heartbeat(follower, 2) is REBALANCE
    (result,) = bench.rejoin(follower)
    assert (result.generation_id, result.leader_id) == (3, follower)
    assert bench.sync(follower, 3, {follower: b"partition 0"}) == [SyncResult(NONE, b"partition 0")]


def test_leave_of_the_last_member_empties_the_group(bench: Bench) -> None:
    leader, follower = bench.stable()
    bench.leave(leader)
    bench.leave(follower)
    assert bench.is_in(GroupState.EMPTY)
    assert bench.timers.pending == 0


# Commit


def test_commit_without_a_group(bench: Bench) -> None:
    assert bench.commit("", -1) is NONE
    assert bench.commit("ghost", 1) is GENERATION


def test_commit_in_empty(bench: Bench) -> None:
    gone = bench.empty()
    assert bench.commit("", -1) is NONE
    assert bench.commit(gone, 2) is UNKNOWN


def test_commit_in_preparing(bench: Bench) -> None:
    leader, _, _ = bench.preparing()
    assert bench.commit("", -1) is UNKNOWN
    assert bench.commit("ghost", 2) is UNKNOWN
    assert bench.commit(leader, 1) is GENERATION
    assert bench.commit(leader, 2) is NONE  # the generation that ends may still commit


def test_commit_in_completing_is_27_for_everybody(bench: Bench) -> None:
    leader, _ = bench.completing()
    assert bench.commit("", -1) is REBALANCE
    assert bench.commit(leader, 2) is REBALANCE
    assert bench.commit("ghost", 1) is REBALANCE


def test_commit_in_stable_keeps_the_session(bench: Bench) -> None:
    leader, follower = bench.stable()
    assert bench.commit("", -1) is UNKNOWN
    assert bench.commit(leader, 1) is GENERATION
    for _ in range(4):
        bench.timers.advance(SESSION_MS - 1)
        assert bench.commit(leader, 2) is NONE
        bench.heartbeat(follower, 2)
    assert bench.is_in(GroupState.STABLE)


# Delete


def test_delete(bench: Bench) -> None:
    assert bench.groups.delete("") is ErrorCode.INVALID_GROUP_ID
    assert bench.groups.delete(GROUP) is ErrorCode.GROUP_ID_NOT_FOUND
    bench.empty()
    assert bench.groups.delete(GROUP) is NONE
    assert bench.is_in(None)
    assert bench.groups.delete(GROUP) is ErrorCode.GROUP_ID_NOT_FOUND


@pytest.mark.parametrize("state", ["preparing", "completing", "stable"])
def test_delete_of_a_group_with_members_is_68(bench: Bench, state: str) -> None:
    getattr(bench, state)()
    assert bench.groups.delete(GROUP) is ErrorCode.NON_EMPTY_GROUP


def test_a_group_with_commits_only_is_empty_and_can_be_deleted(bench: Bench) -> None:
    bench.offsets.stored[GROUP] = {("topic", 0): CommittedOffset(5, "", 0)}
    assert bench.groups.list_groups() == [(GROUP, "")]
    assert bench.commit("ghost", 1) is UNKNOWN  # Empty, not unknown
    assert bench.is_in(GroupState.EMPTY)
    assert bench.groups.delete(GROUP) is NONE


# Sessions


def test_a_silent_member_is_out_after_its_session_and_its_standby_takes_over(bench: Bench) -> None:
    leader, follower = bench.stable()
    bench.timers.advance(SESSION_MS - 1)
    assert bench.heartbeat(follower, 2) is NONE
    bench.timers.advance(1)
    assert bench.heartbeat(leader, 2) is UNKNOWN
    assert bench.heartbeat(follower, 2) is REBALANCE
    assert bench.rejoin(follower)[0].leader_id == follower


@pytest.mark.parametrize("impatient_first", [True, False])
def test_members_whose_sessions_end_together_are_out_together_and_nobody_waits_for_them(
    bench: Bench, impatient_first: bool
) -> None:
    """A completed join begins all sessions in the same millisecond; the third member would have waited the 60 s of one
    of the dead, depending on which of them was looked at first.
    """
    patience_ms = (500, REBALANCE_MS) if impatient_first else (REBALANCE_MS, 500)
    first = bench.join(rebalance_ms=patience_ms[0]).result.member_id
    parked = [bench.join(rebalance_ms=patience_ms[1]), bench.join(rebalance_ms=1000, session_ms=30_000)]
    bench.rejoin(first)
    living = parked[1].result.member_id
    bench.sync(first, 2)
    bench.timers.advance(SESSION_MS)
    assert bench.is_in(GroupState.PREPARING_REBALANCE)
    newcomer = bench.join()
    bench.timers.advance(999)
    assert bench.heartbeat(living, 2) is REBALANCE
    assert newcomer.is_parked
    bench.timers.advance(1)
    assert newcomer.result.members == ((newcomer.result.member_id, b"topics"),)
    assert bench.heartbeat(living, 3) is UNKNOWN


def test_a_parked_join_does_not_expire(bench: Bench) -> None:
    leader, follower, newcomer = bench.preparing()
    rejoined = bench.join(follower)
    for _ in range(4):
        bench.timers.advance(SESSION_MS - 1)
        bench.heartbeat(leader, 2)
    assert rejoined.is_parked
    bench.rejoin(leader)
    assert rejoined.result.error_code is NONE
    assert newcomer.result.error_code is NONE


def test_a_parked_sync_does_not_expire_but_a_leader_that_does_not_assign_does(bench: Bench) -> None:
    leader, follower = bench.completing()
    waiting = bench.sync(follower, 2)
    bench.timers.advance(SESSION_MS)
    assert waiting == [SyncResult(REBALANCE)]
    assert bench.heartbeat(leader, 2) is UNKNOWN
    assert bench.rejoin(follower)[0].leader_id == follower


def test_completing_a_rebalance_begins_the_session_anew(bench: Bench) -> None:
    leader, _, _ = bench.preparing()
    bench.timers.advance(SESSION_MS - 1)  # the follower never rejoins
    rejoined = bench.join(leader)
    bench.timers.advance(1)
    assert rejoined.result.generation_id == 3
    bench.timers.advance(SESSION_MS - 1)
    assert bench.heartbeat(leader, 3) is REBALANCE
    assert bench.sync(leader, 3)[0].error_code is NONE


# Connections that go away


def test_a_first_join_whose_connection_closes_leaves_no_ghost(bench: Bench) -> None:
    leader, follower, newcomer = bench.preparing()
    bench.groups.abandon_join(GROUP, newcomer.reply)
    results = bench.rejoin(leader, follower)
    assert len(results[0].members) == 2
    assert newcomer.is_parked


def test_an_abandoned_rejoin_no_longer_counts_but_the_member_may_come_back(bench: Bench) -> None:
    leader, follower, newcomer = bench.preparing()
    lost = bench.join(follower)
    bench.groups.abandon_join(GROUP, lost.reply)
    bench.join(leader)
    assert newcomer.is_parked
    again = bench.join(follower)
    assert again.result.generation_id == 3
    assert lost.is_parked


def test_an_abandoned_rejoin_expires_with_its_session(bench: Bench) -> None:
    leader, follower, newcomer = bench.preparing()
    lost = bench.join(follower)
    bench.groups.abandon_join(GROUP, lost.reply)
    bench.join(leader)
    bench.timers.advance(SESSION_MS)
    assert len(newcomer.replies) == 1
    assert bench.heartbeat(follower, 3) is UNKNOWN


def test_a_retried_join_answers_the_one_it_supersedes(bench: Bench) -> None:
    _, follower, _ = bench.preparing()
    first = bench.join(follower)
    second = bench.join(follower)
    assert first.result.error_code is UNKNOWN
    assert second.is_parked


def test_a_session_that_stood_still_begins_anew_with_the_assignment(bench: Bench) -> None:
    leader = bench.join(session_ms=300_000).result.member_id
    follower = bench.join(session_ms=6000)
    bench.rejoin(leader)
    waiting = bench.sync(follower.result.member_id, 2)
    bench.timers.advance(20_000)  # longer than the follower's session: it waits for the leader
    bench.sync(leader, 2, {leader: b"all"})
    assert waiting == [SyncResult(NONE)]
    bench.timers.advance(5999)
    assert bench.is_in(GroupState.STABLE)
    bench.timers.advance(1)
    assert bench.heartbeat(follower.result.member_id, 2) is UNKNOWN


def test_the_longest_client_id_still_gives_an_id_that_can_be_answered(bench: Bench) -> None:
    replies: list[JoinResult] = []
    bench.groups.join(
        GROUP,
        "",
        client_id="é" * 16_383,
        client_host="",
        session_ms=SESSION_MS,
        rebalance_ms=0,
        protocol_type="consumer",
        protocols=[RANGE],
        reply=replies.append,
    )
    assert len(replies[0].member_id.encode()) < 1000


# Limits, administration, description


def test_a_group_takes_so_many_members_and_no_more(bench: Bench) -> None:
    replies = [bench.join() for _ in range(MEMBERS_MAX)]
    assert bench.join().result.error_code is ErrorCode.COORDINATOR_NOT_AVAILABLE
    assert all(len(each.replies) <= 1 for each in replies)


def test_idle_groups_make_room_for_new_ones(bench: Bench) -> None:
    for number in range(GROUPS_MAX):
        result = bench.join(group_id=f"group-{number}").result
        if number:
            bench.groups.leave(f"group-{number}", result.member_id)
    assert bench.join(group_id="one more").result.error_code is NONE
    assert [name for name, _ in bench.groups.list_groups()] == ["group-0", "one more"]


def test_shutting_down_answers_what_is_parked_and_refuses_the_rest(bench: Bench) -> None:
    leader, follower, newcomer = bench.preparing()
    bench.groups.shut_down()
    gone = ErrorCode.COORDINATOR_NOT_AVAILABLE
    assert newcomer.result.error_code is gone
    assert bench.join().result.error_code is gone
    assert bench.sync(leader, 2) == [SyncResult(gone)]
    assert bench.heartbeat(follower, 2) is gone
    assert bench.leave(follower) is gone
    assert bench.commit("", -1) is gone
    assert bench.groups.delete(GROUP) is gone
    assert bench.timers.pending == 0
    bench.groups.shut_down()
    assert len(newcomer.replies) == 1


def test_removing_a_group_tells_its_members(bench: Bench) -> None:
    _, follower = bench.completing()
    waiting = bench.sync(follower, 2)
    bench.groups.remove(GROUP)
    assert waiting == [SyncResult(UNKNOWN)]
    assert bench.is_in(None)
    assert bench.timers.pending == 0
    bench.groups.remove(GROUP)


@pytest.mark.parametrize("build", [Bench.preparing, Bench.completing])
def test_only_a_stable_group_shows_protocol_and_assignments(bench: Bench, build: Callable[[Bench], object]) -> None:
    build(bench)
    described = bench.groups.describe(GROUP)
    assert described is not None
    assert described.protocol_type == "consumer"
    assert described.protocol == ""
    assert {(each.metadata, each.assignment) for each in described.members} == {(b"", b"")}


def test_a_stable_group_shows_everything(bench: Bench) -> None:
    leader, follower = bench.stable()
    described = bench.groups.describe(GROUP)
    assert described is not None
    assert described.protocol == "range"
    assert [(each.member_id, each.client_id, each.client_host, each.assignment) for each in described.members] == [
        (leader, "client", "127.0.0.1", b"partition 0"),
        (follower, "client", "127.0.0.1", b"nothing"),
    ]
    assert bench.groups.list_groups() == [(GROUP, "consumer")]
