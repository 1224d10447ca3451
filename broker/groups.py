"""The group coordinator: the state table of Kafka 1.1 on a clock and timers that tests drive.

    request                no group    Empty       Preparing      Completing       Stable
    join, no member id     create      → Prep      park           → Prep           → Prep
    join, unknown id       25          25          25             25               25
    join, known id         -           -           park           same: current    follower unchanged: current
                                                                  changed: → Prep  leader or changed: → Prep
    sync                   25          25          25/22/27       park; leader:    assignment
                                                                  → Stable
    heartbeat              25          25          25/22/27       25/27            25/22/0
    leave                  25          25          0              0 → Prep         0 → Prep
    commit, generation <0  store       store       25             27               25
    commit, with one       22          25          25/22/store    27               25/22/store
    delete                 69          0           68             68               68

22 ILLEGAL_GENERATION, 25 UNKNOWN_MEMBER_ID, 27 REBALANCE_IN_PROGRESS, 68 NON_EMPTY_GROUP, 69 GROUP_ID_NOT_FOUND.
Before the table: 15 while shutting down; join: 24 for group id "", 26 for a session timeout out of bounds, 23 for
protocols that no other member shares. OffsetFetch answers in every state and does not come here.

A rebalance completes when every member has a join parked, or when the longest rebalance timeout of its members has
passed: who has not rejoined is out. A session lives on heartbeats, commits, completed joins and syncs, and stands
still while a request of the member is parked. A group that has commits is known even if nobody joined it since the
start. Membership is not kept over a restart: members are told 25 and join again.

Better than 1.1: a member whose first join loses its connection is dropped (nobody knows its id); a known member's
parked join whose connection closes no longer counts as rejoined; a join that is answered with the generation there is
keeps the session; members whose sessions end in the same millisecond go together, where Kafka lets the first of a
hash table wait for the others' rebalance timeout. Kafka: GroupCoordinator.scala, DelayedJoin.scala @1.1.1.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Final

from broker.errors import ErrorCode
from broker.group import Group, GroupState, JoinResult, Member, SyncResult

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from broker.group import GroupDescription, MemberProtocol
    from broker.offsets import OffsetStore
    from storage.clock import Clock
    from storage.scheduler import Scheduler

MIN_SESSION_MS: Final = 6000
"""`group.min.session.timeout.ms`, Kafka's default."""
MAX_SESSION_MS: Final = 300_000
"""`group.max.session.timeout.ms`, Kafka's default."""
INITIAL_REBALANCE_MS: Final = 0
"""`group.initial.rebalance.delay.ms`; Kafka waits 3 s for more members, which with one partition only delays the
first record."""
GROUPS_MAX: Final = 10_000
"""Groups kept at a time; only clients that may use any group id can get there. Beyond it: COORDINATOR_NOT_AVAILABLE."""
MEMBERS_MAX: Final = 1000
"""Members of a group; all but one are standbys of the one partition. Beyond it: COORDINATOR_NOT_AVAILABLE."""
PROTOCOL_BYTES_MAX: Final = 64 * 1024
"""Names and metadata that a member may have kept here and told to the leader; a consumer of one topic needs less than
1 KiB. Beyond it: INCONSISTENT_GROUP_PROTOCOL."""
MEMBER_ID_CLIENT_CHARACTERS_MAX: Final = 255
"""What a member id takes over of the client id; the whole of the longest would not fit into an answer."""

_STABLE_OR_COMPLETING: Final = {GroupState.STABLE, GroupState.COMPLETING_REBALANCE}


class GroupCoordinator:
    """All consumer groups. Replies to joins and syncs come through a function, at once or later, exactly once."""

    def __init__(
        self,
        offsets: OffsetStore,
        clock: Clock,
        scheduler: Scheduler,
        *,
        min_session_ms: int = MIN_SESSION_MS,
        max_session_ms: int = MAX_SESSION_MS,
        initial_rebalance_ms: int = INITIAL_REBALANCE_MS,
    ) -> None:
        self._offsets = offsets
        self._clock = clock
        self._scheduler = scheduler
        self._min_session_ms = min_session_ms
        self._max_session_ms = max_session_ms
        self._initial_rebalance_ms = initial_rebalance_ms
        self._groups: dict[str, Group] = {}
        self._is_active = True

    @property
    def is_active(self) -> bool:
        """False once it shuts down."""
        return self._is_active

    # Requests

    def join(
        self,
        group_id: str,
        member_id: str,
        *,
        client_id: str,
        client_host: str,
        session_ms: int,
        rebalance_ms: int,
        protocol_type: str,
        protocols: Sequence[MemberProtocol],
        reply: Callable[[JoinResult], None],
    ) -> None:
        """Join or rejoin; `member_id` "" asks for a new membership. Answered when the rebalance is complete."""
        group = self._get(group_id)
        code = self._check_join(group_id, group, member_id, session_ms, protocol_type, protocols)
        if code:
            reply(JoinResult(error_code=code, member_id=member_id))
            return
        if group is None:
            group = self._groups[group_id] = Group(group_id)
        if not member_id:
            member = Member(
                member_id=f"{client_id[:MEMBER_ID_CLIENT_CHARACTERS_MAX]}-{uuid.uuid4()}",
                client_id=client_id,
                client_host=client_host,
                session_ms=session_ms,
                rebalance_ms=rebalance_ms,
                protocols=list(protocols),
                joined_ms=self._clock.now_ms(),
            )
            group.add(member, protocol_type)
            group.grew = True
            self._park_join(group, member, reply)
            return
        member = group.members[member_id]
        if group.rebalances_for(member, protocols):
            member.protocols = list(protocols)
            self._park_join(group, member, reply)
        else:
            self._refresh(group, member)
            reply(group.current(member))

    def abandon_join(self, group_id: str, reply: Callable[[JoinResult], None]) -> None:
        """The connection that waits for `reply` is gone."""
        group = self._groups.get(group_id)
        for member in tuple(group.members.values()) if group else ():
            if group and member.join_reply == reply:
                member.join_reply = None
                if member.is_new:
                    self._remove(group, member)
                else:
                    self._refresh(group, member)

    def sync(
        self,
        group_id: str,
        member_id: str,
        generation_id: int,
        *,
        assignments: Mapping[str, bytes],
        reply: Callable[[SyncResult], None],
    ) -> None:
        """Hand in the assignment (leader) or ask for one's part; answered when the leader has handed it in."""
        group = self._groups.get(group_id)
        code = self._check_member(group, member_id, generation_id)
        if code or group is None:
            reply(SyncResult(code))
            return
        member = group.members[member_id]
        if group.state is GroupState.PREPARING_REBALANCE:
            reply(SyncResult(ErrorCode.REBALANCE_IN_PROGRESS))
        elif group.state is GroupState.STABLE:
            self._refresh(group, member)
            reply(SyncResult(ErrorCode.NONE, member.assignment))
        else:
            member.answer_sync(SyncResult(ErrorCode.UNKNOWN_MEMBER_ID))  # superseded by the member's own retry
            member.sync_reply = reply
            if member_id == group.leader_id:
                self._complete_sync(group, assignments)

    def heartbeat(self, group_id: str, member_id: str, generation_id: int) -> ErrorCode:
        """Refresh a member's session; return the code to answer."""
        group = self._groups.get(group_id)
        code = self._check_member(group, member_id, None)
        if code or group is None:
            return code
        if group.state is GroupState.COMPLETING_REBALANCE:
            return ErrorCode.REBALANCE_IN_PROGRESS
        if generation_id != group.generation_id:
            return ErrorCode.ILLEGAL_GENERATION
        self._refresh(group, group.members[member_id])
        return ErrorCode.REBALANCE_IN_PROGRESS if group.state is GroupState.PREPARING_REBALANCE else ErrorCode.NONE

    def leave(self, group_id: str, member_id: str) -> ErrorCode:
        """End a membership; return the code to answer."""
        group = self._groups.get(group_id)
        code = self._check_member(group, member_id, None)
        if not code and group is not None:
            self._remove(group, group.members[member_id])
        return code

    def commit(self, group_id: str, member_id: str, generation_id: int) -> ErrorCode:
        """Decide whether a commit may be stored, which also refreshes the member's session; return the code to
        answer.
        """
        if not self._is_active:
            return ErrorCode.COORDINATOR_NOT_AVAILABLE
        group = self._get(group_id)
        if generation_id < 0 and (group is None or group.state is GroupState.EMPTY):
            return ErrorCode.NONE
        if group is None:
            return ErrorCode.ILLEGAL_GENERATION
        if group.state is GroupState.COMPLETING_REBALANCE:
            return ErrorCode.REBALANCE_IN_PROGRESS
        code = self._check_member(group, member_id, generation_id)
        if not code:
            self._refresh(group, group.members[member_id])
        return code

    def delete(self, group_id: str) -> ErrorCode:
        """Delete a group without members; the caller deletes its commits if the code is NONE."""
        if not self._is_active:
            return ErrorCode.COORDINATOR_NOT_AVAILABLE
        if not group_id:
            return ErrorCode.INVALID_GROUP_ID
        group = self._get(group_id)
        if group is None:
            return ErrorCode.GROUP_ID_NOT_FOUND
        if group.state is not GroupState.EMPTY:
            return ErrorCode.NON_EMPTY_GROUP
        self.remove(group_id)
        return ErrorCode.NONE

    def describe(self, group_id: str) -> GroupDescription | None:
        """Describe a group, None if it has neither members nor commits."""
        group = self._get(group_id)
        return group.description() if group is not None else None

    def list_groups(self) -> list[tuple[str, str]]:
        """List (group id, protocol type) of all groups that have, or had, members or commits."""
        types = dict.fromkeys(self._offsets.group_ids(), "")
        types.update((group.group_id, group.protocol_type) for group in self._groups.values())
        return sorted(types.items())

    # Administration

    def remove(self, group_id: str) -> None:
        """Forget a group whatever its state; its members are told UNKNOWN_MEMBER_ID. Its commits are not touched."""
        group = self._groups.pop(group_id, None)
        if group is not None:
            self._dismiss(group, ErrorCode.UNKNOWN_MEMBER_ID)
            group.move_to(GroupState.DEAD)

    def rebalance(self, group_id: str) -> bool:
        """Have the members of a group join again, unless they do already; whether it was stable."""
        group = self._groups.get(group_id)
        if group is None or group.state is not GroupState.STABLE:
            return False
        self._prepare_rebalance(group)
        return True

    def shut_down(self) -> None:
        """Answer everything parked with COORDINATOR_NOT_AVAILABLE, stop all timers, and refuse what comes."""
        self._is_active = False
        for group in self._groups.values():
            self._dismiss(group, ErrorCode.COORDINATOR_NOT_AVAILABLE)

    def _dismiss(self, group: Group, code: ErrorCode) -> None:
        if group.rebalance_timer is not None:
            group.rebalance_timer.cancel()
        for member in group.members.values():
            _stop_session(member)
            member.answer_join(JoinResult(error_code=code, member_id=member.member_id))
            member.answer_sync(SyncResult(code))

    # Checks

    def _get(self, group_id: str) -> Group | None:
        """Return the group; one that only has commits is Empty."""
        group = self._groups.get(group_id)
        if group is None and self._offsets.committed(group_id):
            group = self._groups[group_id] = Group(group_id)
        return group

    def _check_join(
        self,
        group_id: str,
        group: Group | None,
        member_id: str,
        session_ms: int,
        protocol_type: str,
        protocols: Sequence[MemberProtocol],
    ) -> ErrorCode:
        if not self._is_active:
            return ErrorCode.COORDINATOR_NOT_AVAILABLE
        if not group_id:
            return ErrorCode.INVALID_GROUP_ID
        if not self._min_session_ms <= session_ms <= self._max_session_ms:
            return ErrorCode.INVALID_SESSION_TIMEOUT
        if group is None and member_id:
            return ErrorCode.UNKNOWN_MEMBER_ID
        if sum(len(each.name) + len(each.metadata) for each in protocols) > PROTOCOL_BYTES_MAX:
            return ErrorCode.INCONSISTENT_GROUP_PROTOCOL
        if not (group or Group(group_id)).accepts(protocol_type, protocols):
            return ErrorCode.INCONSISTENT_GROUP_PROTOCOL
        if group is not None and member_id and member_id not in group.members:
            return ErrorCode.UNKNOWN_MEMBER_ID
        if not member_id and not self._has_room(group):
            return ErrorCode.COORDINATOR_NOT_AVAILABLE
        return ErrorCode.NONE

    def _has_room(self, group: Group | None) -> bool:
        if group is not None:
            return len(group.members) < MEMBERS_MAX
        if len(self._groups) >= GROUPS_MAX:
            idle = [each.group_id for each in self._groups.values() if each.state is GroupState.EMPTY]
            for group_id in idle:
                del self._groups[group_id]
        return len(self._groups) < GROUPS_MAX

    def _check_member(self, group: Group | None, member_id: str, generation_id: int | None) -> ErrorCode:
        """Check membership, and the generation if one is given."""
        if not self._is_active:
            return ErrorCode.COORDINATOR_NOT_AVAILABLE
        if group is None or member_id not in group.members:
            return ErrorCode.UNKNOWN_MEMBER_ID
        if generation_id is not None and generation_id != group.generation_id:
            return ErrorCode.ILLEGAL_GENERATION
        return ErrorCode.NONE

    # Rebalances

    def _park_join(self, group: Group, member: Member, reply: Callable[[JoinResult], None]) -> None:
        superseded = JoinResult(error_code=ErrorCode.UNKNOWN_MEMBER_ID, member_id=member.member_id)
        member.answer_join(superseded)
        member.join_reply = reply
        if group.state is not GroupState.PREPARING_REBALANCE:
            self._prepare_rebalance(group)
        else:
            self._maybe_complete_join(group)

    def _prepare_rebalance(self, group: Group) -> None:
        """Ask all members to rejoin, and wait for them as long as the most patient one allows."""
        for member in group.members.values():
            member.assignment = b""
            if member.sync_reply is not None:
                member.answer_sync(SyncResult(ErrorCode.REBALANCE_IN_PROGRESS))
                self._refresh(group, member)
        group.is_initial_rebalance = group.state is GroupState.EMPTY and self._initial_rebalance_ms > 0
        group.move_to(GroupState.PREPARING_REBALANCE)
        wait_ms = max((member.rebalance_ms for member in group.members.values()), default=0)
        if group.is_initial_rebalance:
            group.grew = False
            self._await_more_members(group, wait_ms)
            return
        group.rebalance_timer = self._scheduler.call_later(max(wait_ms, 0), lambda: self._complete_join(group))
        self._maybe_complete_join(group)

    def _await_more_members(self, group: Group, left_ms: int) -> None:
        """Wait out the initial delay, again as long as members keep coming, but not beyond the rebalance timeout."""
        delay_ms = max(min(self._initial_rebalance_ms, left_ms), 0)

        def expire() -> None:
            if group.grew and left_ms > delay_ms:
                group.grew = False
                self._await_more_members(group, left_ms - delay_ms)
            else:
                self._complete_join(group)

        group.rebalance_timer = self._scheduler.call_later(delay_ms, expire)

    def _maybe_complete_join(self, group: Group) -> None:
        if not group.is_initial_rebalance and group.all_joined():
            self._complete_join(group)

    def _complete_join(self, group: Group) -> None:
        """Begin the next generation with those who have rejoined."""
        if group.rebalance_timer is not None:
            group.rebalance_timer.cancel()
            group.rebalance_timer = None
        for member in tuple(group.members.values()):
            if member.join_reply is None:
                _stop_session(member)
                group.discard(member)
        group.is_initial_rebalance = False
        group.begin_generation()
        for member in tuple(group.members.values()):
            member.is_new = False
            member.answer_join(group.current(member))
            self._refresh(group, member)

    def _complete_sync(self, group: Group, assignments: Mapping[str, bytes]) -> None:
        group.move_to(GroupState.STABLE)
        for member in group.members.values():
            member.assignment = assignments.get(member.member_id, b"")
            if member.sync_reply is not None:
                member.answer_sync(SyncResult(ErrorCode.NONE, member.assignment))
                self._refresh(group, member)

    def _remove(self, group: Group, *members: Member) -> None:
        """Let members go, and have the others rebalance."""
        for member in members:
            _stop_session(member)
            group.discard(member)
            member.answer_join(JoinResult(error_code=ErrorCode.UNKNOWN_MEMBER_ID, member_id=member.member_id))
            member.answer_sync(SyncResult(ErrorCode.UNKNOWN_MEMBER_ID))
        if group.state in _STABLE_OR_COMPLETING:
            self._prepare_rebalance(group)
        elif group.state is GroupState.PREPARING_REBALANCE:
            self._maybe_complete_join(group)

    # Sessions

    def _refresh(self, group: Group, member: Member) -> None:
        """Begin the member's session anew. The timer is not moved: when it fires it looks at the deadline."""
        member.deadline_ms = self._clock.monotonic_ms() + member.session_ms
        if member.session_timer is None:
            self._watch(group, member, member.session_ms)

    def _watch(self, group: Group, member: Member, delay_ms: int) -> None:
        member.session_timer = self._scheduler.call_later(delay_ms, lambda: self._look_at_session(group, member))

    def _look_at_session(self, group: Group, member: Member) -> None:
        member.session_timer = None
        if member.is_parked:
            return  # answering it begins the session anew
        left_ms = member.deadline_ms - self._clock.monotonic_ms()
        if left_ms > 0:
            self._watch(group, member, left_ms)
        else:
            self._remove(group, *_silent_with(group, member))


def _silent_with(group: Group, member: Member) -> list[Member]:
    """List who is out with this member: a completed join begins all sessions in the same millisecond, so that those
    who die behind it end in the same one, and none of them may decide how long the others wait.
    """
    return [each for each in group.members.values() if each.deadline_ms == member.deadline_ms and not each.is_parked]


def _stop_session(member: Member) -> None:
    if member.session_timer is not None:
        member.session_timer.cancel()
        member.session_timer = None
