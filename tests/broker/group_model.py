"""A second, slow coordinator of one group, written from Kafka's table and nothing of ours: what the real one is held
against.

Time is a number that `advance` moves; there are no timers, only deadlines, looked at in the order in which they pass.
Members are numbers, because who waits for its first answer has no id yet. All that is answered goes to `answers`, by
the number of its request. The first rebalance of a group begins without delay. What Kafka leaves to the order of a
hash table is settled: members whose sessions end in the same millisecond go together.
"""

from __future__ import annotations

from dataclasses import dataclass, field

EMPTY, PREPARING, COMPLETING, STABLE = "Empty", "PreparingRebalance", "CompletingRebalance", "Stable"


@dataclass
class ModelMember:
    """A member; `join` and `sync` are the numbers of its parked requests, `deadline_ms` None while one is parked."""

    number: int
    session_ms: int
    rebalance_ms: int
    protocols: tuple[str, ...]
    metadata: int
    join: int | None = None
    sync: int | None = None
    deadline_ms: int | None = None
    assignment: bytes = b""
    has_id: bool = False


@dataclass
class ModelGroup:
    """The group. `answers`: request number -> (code, generation, leader, protocol) or (code, assignment)."""

    now_ms: int = 0
    state: str = EMPTY
    generation: int = 0
    members: list[ModelMember] = field(default_factory=list)
    protocol: str = ""
    rebalance_ends_ms: int | None = None
    answers: dict[int, tuple[object, ...]] = field(default_factory=dict)

    @property
    def leader(self) -> int | None:
        """The one of the members that joined first."""
        return self.members[0].number if self.members else None

    def find(self, number: int) -> ModelMember | None:
        return next((each for each in self.members if each.number == number), None)

    # Requests

    def join(
        self,
        request: int,
        number: int | None,
        new: ModelMember | None,
        protocols: tuple[str, ...],
        metadata: int,
    ) -> None:
        if self.state != EMPTY and self.members and not set(protocols) & self._common():
            self.answers[request] = (23,)
            return
        if new is not None:
            self.members.append(new)
            new.join = request
            self._rebalance()
            return
        member = self.find(number) if number is not None else None
        if member is None:
            self.answers[request] = (25,)
            return
        changed = (protocols, metadata) != (member.protocols, member.metadata)
        is_leader = member.number == self.leader
        if (self.state == COMPLETING and not changed) or (self.state == STABLE and not changed and not is_leader):
            self._keep(member)
            self._answer_join(request)
            return
        member.protocols, member.metadata = protocols, metadata
        if member.join is not None:
            self.answers[member.join] = (25,)
        member.join, member.deadline_ms = request, None
        self._rebalance()

    def abandon(self, request: int) -> None:
        """The connection that waits for the answer to a join is gone."""
        for member in tuple(self.members):
            if member.join == request:
                member.join = None
                if member.has_id:
                    self._keep(member)
                else:
                    self._remove(member)

    def sync(self, request: int, number: int, generation: int, assignments: dict[int, bytes]) -> None:
        member = self.find(number)
        if member is None:
            self.answers[request] = (25, b"")
        elif generation != self.generation:
            self.answers[request] = (22, b"")
        elif self.state == PREPARING:
            self.answers[request] = (27, b"")
        elif self.state == STABLE:
            self._keep(member)
            self.answers[request] = (0, member.assignment)
        else:
            if member.sync is not None:
                self.answers[member.sync] = (25, b"")
            member.sync, member.deadline_ms = request, None
            if member.number == self.leader:
                self.state = STABLE
                for each in self.members:
                    each.assignment = assignments.get(each.number, b"")
                self._answer_syncs(0)

    def heartbeat(self, number: int, generation: int) -> int:
        member = self.find(number)
        if member is None:
            return 25
        if self.state == COMPLETING:
            return 27
        if generation != self.generation:
            return 22
        self._keep(member)
        return 27 if self.state == PREPARING else 0

    def leave(self, number: int) -> int:
        member = self.find(number)
        if member is None:
            return 25
        self._remove(member)
        return 0

    def commit(self, number: int | None, generation: int) -> int:
        if generation < 0 and self.state == EMPTY:
            return 0
        if self.state == COMPLETING:
            return 27
        member = self.find(number) if number is not None else None
        if member is None:
            return 25
        if generation != self.generation:
            return 22
        self._keep(member)
        return 0

    def delete(self) -> int:
        return 0 if self.state == EMPTY else 68

    def dismiss(self) -> None:
        """The group is removed: who waits is told, and nothing of it stays."""
        for member in self.members:
            if member.join is not None:
                self.answers[member.join] = (25,)
            if member.sync is not None:
                self.answers[member.sync] = (25, b"")
        self.members.clear()
        self.state, self.generation, self.rebalance_ends_ms = EMPTY, 0, None

    def advance(self, ms: int) -> None:
        """Let time pass, deadline by deadline."""
        until_ms = self.now_ms + ms
        while True:
            passed = [each.deadline_ms for each in self.members if each.deadline_ms is not None]
            if self.rebalance_ends_ms is not None:
                passed.append(self.rebalance_ends_ms)
            if not passed or min(passed) > until_ms:
                break
            self.now_ms = min(passed)
            if self.rebalance_ends_ms == self.now_ms:
                self._complete()
                continue
            self._remove(*[each for each in self.members if each.deadline_ms == self.now_ms])
        self.now_ms = until_ms

    # What follows

    def _common(self) -> set[str]:
        common = set(self.members[0].protocols)
        for member in self.members:
            common &= set(member.protocols)
        return common

    def _keep(self, member: ModelMember) -> None:
        """A sign of life; while a request is parked there is nothing to keep."""
        if member.join is None and member.sync is None:
            member.deadline_ms = self.now_ms + member.session_ms

    def _answer_join(self, request: int) -> None:
        self.answers[request] = (0, self.generation, self.leader, self.protocol)

    def _answer_syncs(self, code: int) -> None:
        for member in self.members:
            if member.sync is not None:
                self.answers[member.sync] = (code, b"" if code else member.assignment)
                member.sync = None
                self._keep(member)

    def _rebalance(self) -> None:
        if self.state != PREPARING:
            self.state = PREPARING
            self._answer_syncs(27)
            self.rebalance_ends_ms = self.now_ms + max((each.rebalance_ms for each in self.members), default=0)
        if all(each.join is not None for each in self.members):
            self._complete()

    def _complete(self) -> None:
        self.members = [each for each in self.members if each.join is not None]
        self.generation += 1
        self.rebalance_ends_ms = None
        if not self.members:
            self.state = EMPTY
            return
        self.state = COMPLETING
        self.protocol = self._vote()
        for member in self.members:
            assert member.join is not None
            self._answer_join(member.join)
            member.join, member.has_id = None, True
            self._keep(member)

    def _vote(self) -> str:
        common = self._common()
        votes = [next(each for each in member.protocols if each in common) for member in self.members]
        return max(votes, key=votes.count)

    def _remove(self, *members: ModelMember) -> None:
        for member in members:
            self.members.remove(member)
            if member.join is not None:
                self.answers[member.join] = (25,)
            if member.sync is not None:
                self.answers[member.sync] = (25, b"")
        self._rebalance()
