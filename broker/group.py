"""One consumer group: its state, its members, and what follows from them alone. Timers and requests are
`groups.py`'s.

    state                 action                                              moves to
    Empty                 no members; simple commits stand; first join        PreparingRebalance, Dead
    PreparingRebalance    members have to rejoin; joins are parked            CompletingRebalance, Empty, Dead
    CompletingRebalance   the leader has to assign; syncs are parked          Stable, PreparingRebalance, Dead
    Stable                everybody has an assignment and heartbeats          PreparingRebalance, Dead
    Dead                  deleted; nothing refers to it any more

Generations start at 0 and grow with every completed join: the first that a client sees is 1 (Java 0.10.0 neither
leaves nor heartbeats at 0). The leader is the member that joined first; when it goes, the one that joined first of
the rest. Kafka: GroupMetadata.scala and MemberMetadata.scala @1.1.1, whose names the states bear on the wire.
"""

from __future__ import annotations

from collections import Counter
from enum import Enum
from typing import TYPE_CHECKING, Final, NamedTuple

from msgspec import Struct

from broker.errors import ErrorCode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from storage.scheduler import Timer


class GroupState(Enum):
    """The states, by their names in DescribeGroups."""

    EMPTY = "Empty"
    PREPARING_REBALANCE = "PreparingRebalance"
    COMPLETING_REBALANCE = "CompletingRebalance"
    STABLE = "Stable"
    DEAD = "Dead"


LEGAL_MOVES: Final = {
    GroupState.EMPTY: {GroupState.PREPARING_REBALANCE, GroupState.DEAD},
    GroupState.PREPARING_REBALANCE: {GroupState.COMPLETING_REBALANCE, GroupState.EMPTY, GroupState.DEAD},
    GroupState.COMPLETING_REBALANCE: {GroupState.STABLE, GroupState.PREPARING_REBALANCE, GroupState.DEAD},
    GroupState.STABLE: {GroupState.PREPARING_REBALANCE, GroupState.DEAD},
    GroupState.DEAD: set(),
}


class MemberProtocol(NamedTuple):
    """An assignment strategy that a member supports, and its metadata (opaque)."""

    name: str
    metadata: bytes


class JoinResult(Struct, frozen=True, kw_only=True):
    """The answer to a join; `members` (id, metadata for the chosen protocol) is filled for the leader only."""

    error_code: ErrorCode = ErrorCode.NONE
    generation_id: int = 0
    protocol: str = ""
    leader_id: str = ""
    member_id: str
    members: tuple[tuple[str, bytes], ...] = ()


class SyncResult(Struct, frozen=True):
    """The answer to a sync."""

    error_code: ErrorCode
    assignment: bytes = b""


class DescribedMember(Struct, frozen=True):
    """A member, for people and tools; metadata and assignment are empty unless the group is Stable."""

    member_id: str
    client_id: str
    client_host: str
    metadata: bytes
    assignment: bytes
    joined_ms: int | None = None


class GroupDescription(Struct, frozen=True):
    """A group, for people and tools; the protocol is "" unless the group is Stable."""

    state: GroupState
    protocol_type: str
    protocol: str
    generation_id: int
    members: tuple[DescribedMember, ...]


class Member(Struct, kw_only=True, eq=False):
    """A member. A parked request is its reply function; while one is parked the session does not expire.

    `is_new` until the answer to its first join is on its way: until then nobody knows its id.
    """

    member_id: str
    client_id: str
    client_host: str
    session_ms: int
    rebalance_ms: int
    protocols: list[MemberProtocol]
    joined_ms: int | None = None
    assignment: bytes = b""
    is_new: bool = True
    join_reply: Callable[[JoinResult], None] | None = None
    sync_reply: Callable[[SyncResult], None] | None = None
    deadline_ms: int = 0
    session_timer: Timer | None = None

    @property
    def is_parked(self) -> bool:
        return self.join_reply is not None or self.sync_reply is not None

    def metadata(self, protocol: str) -> bytes:
        """Return the member's metadata for a protocol it supports."""
        return next(each.metadata for each in self.protocols if each.name == protocol)

    def answer_join(self, result: JoinResult) -> None:
        """Answer the parked join, if there is one."""
        reply, self.join_reply = self.join_reply, None
        if reply is not None:
            reply(result)

    def answer_sync(self, result: SyncResult) -> None:
        """Answer the parked sync, if there is one."""
        reply, self.sync_reply = self.sync_reply, None
        if reply is not None:
            reply(result)


class Group(Struct, eq=False):
    """A group. `rebalance_timer` runs in PreparingRebalance; `grew` is set by members who join a group's first
    rebalance.
    """

    group_id: str
    state: GroupState = GroupState.EMPTY
    generation_id: int = 0
    protocol_type: str = ""
    protocol: str = ""
    leader_id: str = ""
    members: dict[str, Member] = {}
    rebalance_timer: Timer | None = None
    is_initial_rebalance: bool = False
    grew: bool = False

    def move_to(self, state: GroupState) -> None:
        """Change the state; a move that the table does not have is our bug."""
        assert state in LEGAL_MOVES[self.state], f"group {self.group_id}: {self.state} to {state}"
        self.state = state

    def add(self, member: Member, protocol_type: str) -> None:
        """Take a member in; the first one leads and names the protocol type."""
        if not self.members:
            self.protocol_type = protocol_type
            self.leader_id = member.member_id
        self.members[member.member_id] = member

    def discard(self, member: Member) -> None:
        """Let a member go; the leadership passes on."""
        del self.members[member.member_id]
        if self.leader_id == member.member_id:
            self.leader_id = next(iter(self.members), "")

    def common_protocols(self) -> set[str]:
        """List the protocols that all members support."""
        supported = [{each.name for each in member.protocols} for member in self.members.values()]
        return set.intersection(*supported) if supported else set()

    def accepts(self, protocol_type: str, protocols: Iterable[MemberProtocol]) -> bool:
        """Tell whether a member with these protocols can work with the others (23 if not)."""
        names = {each.name for each in protocols}
        if self.state is GroupState.EMPTY:
            return bool(names) and bool(protocol_type)
        if protocol_type != self.protocol_type:
            return False
        return not names.isdisjoint(self.common_protocols()) if self.members else bool(names)

    def all_joined(self) -> bool:
        """Tell whether every member has a join parked."""
        return all(member.join_reply is not None for member in self.members.values())

    def begin_generation(self) -> None:
        """Complete a rebalance: choose the protocol by vote and count the generation."""
        self.generation_id += 1
        if not self.members:
            self.protocol = ""
            self.move_to(GroupState.EMPTY)
            return
        candidates = self.common_protocols()
        votes = Counter(
            next(each.name for each in member.protocols if each.name in candidates) for member in self.members.values()
        )
        self.protocol = votes.most_common(1)[0][0]
        self.move_to(GroupState.COMPLETING_REBALANCE)

    def current(self, member: Member) -> JoinResult:
        """Return the answer to a join of the current generation."""
        is_leader = member.member_id == self.leader_id
        return JoinResult(
            generation_id=self.generation_id,
            protocol=self.protocol,
            leader_id=self.leader_id,
            member_id=member.member_id,
            members=tuple((each.member_id, each.metadata(self.protocol)) for each in self.members.values())
            if is_leader
            else (),
        )

    def rebalances_for(self, member: Member, protocols: Sequence[MemberProtocol]) -> bool:
        """Tell whether a known member's join needs a rebalance, or only the answer that it may have missed."""
        changed = list(protocols) != member.protocols
        if self.state is GroupState.COMPLETING_REBALANCE:
            return changed
        if self.state is GroupState.STABLE:
            return changed or member.member_id == self.leader_id
        return True

    def description(self) -> GroupDescription:
        """Return what people and tools may know of the group."""
        stable = self.state is GroupState.STABLE
        return GroupDescription(
            state=self.state,
            protocol_type=self.protocol_type,
            protocol=self.protocol if stable else "",
            generation_id=self.generation_id,
            members=tuple(
                DescribedMember(
                    member.member_id,
                    member.client_id,
                    member.client_host,
                    member.metadata(self.protocol) if stable else b"",
                    member.assignment if stable else b"",
                    member.joined_ms,
                )
                for member in self.members.values()
            ),
        )
