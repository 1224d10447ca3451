"""The coordinator, cell by cell of its state table (`group_table.py`), on a clock that the tests move.

Method: `Scene` brings a group into a state, sends one request and reads off the answer and the state. The group has a
leader, a follower (`known`) and, so that what a request does to others is seen too, somebody who waits: a newcomer's
join while Preparing, a third member's sync while Completing.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from broker.apis import offset_fetch
from broker.apis.offset_fetch import OffsetFetchPartition, OffsetFetchRequest, OffsetFetchTopic
from broker.errors import ErrorCode
from broker.group import GroupState, JoinResult, MemberProtocol, SyncResult
from broker.groups import PROTOCOL_BYTES_MAX, GroupCoordinator
from tests.broker.fakes import TOPIC, MemoryOffsets, make_broker, make_context
from tests.broker.group_table import CELLS, KEEPS_SESSION, STATES
from tests.fakes import ManualClock, ManualScheduler

GROUP = "group-a"
SESSION_MS = 10_000
REBALANCE_MS = 60_000
INITIAL_REBALANCE_MS = 3000
RANGE = (MemberProtocol("range", b"topics"),)
CHANGED = (MemberProtocol("range", b"other topics"),)


class Scene:
    """A coordinator with one group in one state."""

    def __init__(self, state: str = "no group") -> None:
        self.clock = ManualClock()
        self.timers = ManualScheduler(self.clock)
        self.offsets = MemoryOffsets()
        self.groups = GroupCoordinator(
            self.offsets,  # type: ignore[arg-type]
            self.clock,
            self.timers,
            initial_rebalance_ms=INITIAL_REBALANCE_MS,
        )
        self.leader = self.known = "gone"
        self.waiting: list[JoinResult] | list[SyncResult] = []
        self.reach(state)
        assert self.state is STATES[state]

    # Requests

    def join(
        self,
        member_id: str = "",
        protocols: tuple[MemberProtocol, ...] = RANGE,
        *,
        group_id: str = GROUP,
        session_ms: int = SESSION_MS,
        protocol_type: str = "consumer",
    ) -> list[JoinResult]:
        replies: list[JoinResult] = []
        self.groups.join(
            group_id,
            member_id,
            client_id="client",
            client_host="127.0.0.1",
            session_ms=session_ms,
            rebalance_ms=REBALANCE_MS,
            protocol_type=protocol_type,
            protocols=protocols,
            reply=replies.append,
        )
        return replies

    def sync(self, member_id: str, generation: int) -> list[SyncResult]:
        replies: list[SyncResult] = []
        assignments = {self.leader: b"partition 0"} if member_id == self.leader else {}
        self.groups.sync(GROUP, member_id, generation, assignments=assignments, reply=replies.append)
        return replies

    # States

    def reach(self, state: str) -> None:
        if state == "no group":
            return
        (first,) = self._first_generation(self.join())
        if state == "Empty":
            self.groups.leave(GROUP, first.member_id)
            return
        joins = [self.join() for _ in range(2 if state == "Completing" else 1)]
        self.join(first.member_id)
        others = [result.member_id for (result,) in joins]
        self.leader, self.known = first.member_id, others[0]
        if state == "Completing":
            self.waiting = self.sync(others[1], self.generation)
            return
        self.sync(self.leader, self.generation)
        self.sync(self.known, self.generation)
        if state == "Preparing":
            self.waiting = self.join()

    def _first_generation(self, replies: list[JoinResult]) -> list[JoinResult]:
        self.timers.advance(INITIAL_REBALANCE_MS)
        return replies

    @property
    def state(self) -> GroupState | None:
        group = self.groups.describe(GROUP)
        return group.state if group else None

    @property
    def generation(self) -> int:
        group = self.groups.describe(GROUP)
        return group.generation_id if group else 0

    # Rows of the table

    def send(self, request: str) -> str:
        """Send a request as the table names it; its answer in the table's words."""
        name, *details = request.split(", ")
        who = {"known": self.known, "leader": self.leader, "unknown id": "ghost"}.get(details[0] if details else "", "")
        generation = self.generation + (7 if "wrong" in details else 0)
        senders: dict[str, Callable[[], str]] = {
            "join": lambda: self._joined(self.join(who, CHANGED if "changed" in details else RANGE)),
            "sync": lambda: self._synced(self.sync(who, generation), who),
            "heartbeat": lambda: str(int(self.groups.heartbeat(GROUP, who, generation))),
            "leave": lambda: str(int(self.groups.leave(GROUP, who))),
            "commit": lambda: self._committed(who, -1 if "no generation" in details else generation),
            "fetch offsets": self._fetched,
            "delete": lambda: str(int(self.groups.delete(GROUP))),
        }
        return senders[name]()

    def _joined(self, replies: list[JoinResult]) -> str:
        if not replies:
            return "parked"
        (result,) = replies
        if result.error_code:
            assert (result.generation_id, result.protocol, result.leader_id, result.members) == (0, "", "", ())
            return str(int(result.error_code))
        assert (result.generation_id, result.protocol, result.leader_id) == (self.generation, "range", self.leader)
        assert bool(result.members) is (result.member_id == self.leader)
        return "current"

    def _synced(self, replies: list[SyncResult], who: str) -> str:
        if not replies:
            return "parked"
        (result,) = replies
        assert result.assignment == (b"partition 0" if who == self.leader and not result.error_code else b"")
        return str(int(result.error_code)) if result.error_code else "assignment"

    def _committed(self, who: str, generation: int) -> str:
        code = self.groups.commit(GROUP, who, generation)
        if not code:
            self.offsets.put(GROUP, TOPIC, 5)  # what the handler does then
        return str(int(code))

    def _fetched(self) -> str:
        broker = make_broker()
        broker.groups = self.groups
        asked = [OffsetFetchTopic(topic=TOPIC, partitions=[OffsetFetchPartition(partition=0)])]
        response = offset_fetch.handle(make_context(broker, 2), OffsetFetchRequest(group_id=GROUP, topics=asked))
        (answer,) = response.responses[0].partition_responses
        assert (response.error_code, answer.error_code, answer.offset, answer.metadata) == (0, 0, -1, "")
        return "offsets"


@pytest.mark.parametrize(("state", "request_", "cell"), CELLS, ids=lambda value: value.replace(" ", "_"))
async def test_cell(state: str, request_: str, cell: str) -> None:
    scene = Scene(state)
    expected, _, moved = (part.strip() for part in cell.partition("→"))
    assert scene.send(request_) == expected
    assert scene.state is STATES[moved or state]
    _assert_the_waiting_are_answered_if_it_moved(scene, state, moved)


def _assert_the_waiting_are_answered_if_it_moved(scene: Scene, state: str, moved: str) -> None:
    if state == "Completing" and moved:
        code = ErrorCode.NONE if moved == "Stable" else ErrorCode.REBALANCE_IN_PROGRESS
        assert scene.waiting == [SyncResult(code)]
    else:
        assert scene.waiting == []


@pytest.mark.parametrize(("state", "request_", "cell"), KEEPS_SESSION, ids=lambda value: value.replace(" ", "_"))
async def test_which_requests_keep_a_session_alive(state: str, request_: str, cell: str) -> None:
    scene = Scene(state)
    scene.timers.advance(SESSION_MS - 1)
    scene.send(request_)
    scene.timers.advance(1)
    is_member = scene.groups.heartbeat(GROUP, scene.known, scene.generation) is not ErrorCode.UNKNOWN_MEMBER_ID
    assert is_member is (cell == "yes")


# What is checked before the table, in its order: each row breaks the rule that it names, and every one behind it.

_BROKEN_SESSION = {"session_ms": 1}
_BROKEN_GROUP = {"group_id": ""}
_BROKEN_PROTOCOL = {"protocols": ()}
_UNKNOWN = {"member_id": "ghost"}


@pytest.mark.parametrize(
    ("state", "broken", "code"),
    [
        ("Stable", [_BROKEN_GROUP, _BROKEN_SESSION, _BROKEN_PROTOCOL, _UNKNOWN], ErrorCode.INVALID_GROUP_ID),
        ("Stable", [_BROKEN_SESSION, _BROKEN_PROTOCOL, _UNKNOWN], ErrorCode.INVALID_SESSION_TIMEOUT),
        ("no group", [_BROKEN_PROTOCOL, _UNKNOWN], ErrorCode.UNKNOWN_MEMBER_ID),
        ("no group", [_BROKEN_PROTOCOL], ErrorCode.INCONSISTENT_GROUP_PROTOCOL),
        ("Empty", [_BROKEN_PROTOCOL, _UNKNOWN], ErrorCode.INCONSISTENT_GROUP_PROTOCOL),
        ("Stable", [_BROKEN_PROTOCOL, _UNKNOWN], ErrorCode.INCONSISTENT_GROUP_PROTOCOL),
        ("Stable", [{"protocol_type": "connect"}, _UNKNOWN], ErrorCode.INCONSISTENT_GROUP_PROTOCOL),
        ("Empty", [{"protocol_type": ""}], ErrorCode.INCONSISTENT_GROUP_PROTOCOL),
        ("Stable", [{"protocols": (MemberProtocol("sticky", b""),)}], ErrorCode.INCONSISTENT_GROUP_PROTOCOL),
        ("Stable", [_UNKNOWN], ErrorCode.UNKNOWN_MEMBER_ID),
    ],
)
def test_what_a_join_is_checked_for_and_in_which_order(
    state: str, broken: list[dict[str, object]], code: ErrorCode
) -> None:
    arguments: dict[str, object] = {}
    for each in broken:
        arguments |= each
    scene = Scene(state)
    (result,) = scene.join(**arguments)  # type: ignore[arg-type]
    assert result == JoinResult(error_code=code, member_id=str(arguments.get("member_id", "")))
    assert scene.state is STATES[state]
    scene.groups.shut_down()
    (result,) = scene.join(**arguments)  # type: ignore[arg-type]
    assert result.error_code is ErrorCode.COORDINATOR_NOT_AVAILABLE


@pytest.mark.parametrize("state", STATES)
async def test_an_empty_group_id_is_nobodys_for_other_requests(state: str) -> None:
    scene = Scene(state)
    assert scene.groups.heartbeat("", scene.known, 1) is ErrorCode.UNKNOWN_MEMBER_ID
    assert scene.groups.leave("", scene.known) is ErrorCode.UNKNOWN_MEMBER_ID
    assert scene.groups.commit("", "", -1) is ErrorCode.NONE
    assert scene.groups.delete("") is ErrorCode.INVALID_GROUP_ID


@pytest.mark.parametrize(("session_ms", "accepted"), [(5999, False), (6000, True), (300_000, True), (300_001, False)])
def test_the_bounds_of_a_session(session_ms: int, accepted: bool) -> None:
    assert bool(Scene().join(session_ms=session_ms)) is not accepted  # what is accepted waits


def test_what_a_member_may_leave_here_is_bounded() -> None:
    most = (MemberProtocol("range", bytes(PROTOCOL_BYTES_MAX - len("range"))),)
    assert Scene().join(protocols=most) == []
    (refused,) = Scene().join(protocols=(*most, MemberProtocol("r", b"")))
    assert refused.error_code is ErrorCode.INCONSISTENT_GROUP_PROTOCOL


@pytest.mark.parametrize("state", STATES)
def test_a_removed_group_tells_its_members_at_once_and_is_gone(state: str) -> None:
    scene = Scene(state)
    scene.groups.remove(GROUP)
    assert [each.error_code for each in scene.waiting] == [ErrorCode.UNKNOWN_MEMBER_ID] * (
        state in ("Preparing", "Completing")
    )
    assert scene.state is None
    assert scene.timers.pending == 0
    assert scene.groups.heartbeat(GROUP, scene.known, 1) is ErrorCode.UNKNOWN_MEMBER_ID
    (result,) = scene._first_generation(scene.join())
    assert result.generation_id == 1
