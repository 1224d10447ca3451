"""How far each consumer group has come, and by which clients: what people are shown of a group.

A group goes on at its committed offset, or, before its first commit, where its client reads. It has consumed up to the
time that the service's SDK commits as metadata (`1698765432`, or that and `|` and more), else up to the time of the
record it goes on at, else, where nothing is left to read, of the last one. `remaining` counts the offsets from there
on; the delay is how long ago that time was, 0 where nothing is left or that time is the data's end. Both are -1 while
no client is connected.

A client is a member of the group, active if the leader assigned it the partition and standing by otherwise; or it
assigns the partition to itself, which is a connection that fetches and that no member has.

Costs: nothing is kept per member, and what is asked often is in memory: a record's time is read where the log has it,
once for each place at which a group stands, by the header of its batch where that says it. Asking raises `NotResident`
rather than wait for the medium.

Left to others: membership (`groups.py`), commits (`offsets.py`), which groups there are (`channels.py`).
"""

from __future__ import annotations

import re
import struct
from collections import Counter
from typing import TYPE_CHECKING, Final, NamedTuple

from broker.control import GroupView, MemberView
from broker.group import GroupState
from broker.topics import PARTITION
from storage.errors import StorageError
from storage.records import iter_batches, iter_times

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from broker.context import Session
    from broker.group import DescribedMember, GroupDescription
    from broker.offsets import OffsetStore
    from storage.catalog import GroupRow
    from storage.clock import Clock
    from storage.log import LogReader

DEFINED_BY_FILE: Final = "file"
DEFINED_BY_OPERATION: Final = "operation"
_COMMITTED_SECONDS: Final = re.compile(r"([1-9]\d{9})(?:\|.*)?", re.ASCII | re.DOTALL)


class _Place(NamedTuple):
    """Where a group stood when its time was looked up."""

    topic: str
    offset: int
    timestamp_ms: int | None


class Consumption:
    """All groups' progress. `watch` names where their clients come from; before it nobody is connected."""

    def __init__(self, offsets: OffsetStore, clock: Clock) -> None:
        self._offsets = offsets
        self._clock = clock
        self._describe: Callable[[str], GroupDescription | None] = lambda group_id: None
        self._sessions: Callable[[str], Sequence[Session]] = lambda group_id: ()
        self._places: dict[str, _Place] = {}

    def watch(
        self, describe: Callable[[str], GroupDescription | None], sessions: Callable[[str], Sequence[Session]]
    ) -> None:
        """`describe` tells of a group's members, `sessions` of the connections that are logged in as the group."""
        self._describe = describe
        self._sessions = sessions

    def forget(self, group_id: str) -> None:
        """The group is deleted."""
        self._places.pop(group_id, None)

    def view(self, group: GroupRow, log: LogReader) -> GroupView:
        """What is shown of a group of the channel with this log. Raises NotResident."""
        committed = self._offsets.committed(group.id).get((log.topic, PARTITION))
        sessions = self._sessions(group.id)
        members = _members(self._describe(group.id), sessions, log.topic)
        offset = _read_up_to(sessions) if committed is None else committed.offset
        metadata = None if committed is None else committed.metadata
        committed_ms = committed_ms_of(metadata)
        consumed_ms = committed_ms
        if consumed_ms is None and offset is not None:
            consumed_ms = self._time_at(group.id, log, offset)
        remaining, delay_s = -1, -1
        if sessions or members:
            remaining = _remaining(log, offset)
            delay_s = 0 if _is_through(log, remaining, committed_ms) else self._delay_s(log, consumed_ms)
        return GroupView(
            id=group.id,
            name=group.name,
            username=group.username,
            offset=None if committed is None else committed.offset,
            metadata=metadata,
            behind=None if committed is None else max(0, log.high_watermark - committed.offset),
            consume_timestamp_ms=consumed_ms,
            remaining=remaining,
            delay_s=delay_s,
            members=members,
            connections=len(sessions),
            defined_by=defined_by(group),
        )

    def _delay_s(self, log: LogReader, consumed_ms: int | None) -> int:
        since_ms = consumed_ms
        if since_ms is None:
            # Nothing was consumed yet, or what was is not there any more: the oldest record is what waits longest.
            since_ms = _readable(lambda: log.log_start_timestamp_ms)
        return -1 if since_ms is None else max(0, self._clock.now_ms() - since_ms) // 1000

    def _time_at(self, group_id: str, log: LogReader, offset: int) -> int | None:
        """The time of the first record at or behind `offset`, of the last one if there is none, None if unknown."""
        if offset >= log.high_watermark:
            return _readable(lambda: log.last_timestamp_ms)
        offset = max(offset, log.log_start_offset)
        place = self._places.get(group_id)
        if place is None or place[:2] != (log.topic, offset):
            timestamp_ms = _readable(lambda: _record_time_ms(log, offset))
            place = self._places[group_id] = _Place(log.topic, offset, timestamp_ms)
        return place.timestamp_ms


def defined_by(group: GroupRow) -> str:
    """Where a group that can log in comes from: of the file's groups the catalog keeps no verifier."""
    return DEFINED_BY_FILE if group.verifier is None else DEFINED_BY_OPERATION


def committed_ms_of(metadata: str | None) -> int | None:
    """The time that a consumer of the service commits as metadata."""
    match = None if metadata is None else _COMMITTED_SECONDS.fullmatch(metadata)
    return None if match is None else int(match[1]) * 1000


def _remaining(log: LogReader, offset: int | None) -> int:
    first = log.log_start_offset if offset is None else max(offset, log.log_start_offset)
    return max(0, log.high_watermark - first)


def _is_through(log: LogReader, remaining: int, committed_ms: int | None) -> bool:
    """Whether nothing waits: the service's SDK commits the offset of the last record, not the one behind it."""
    if not remaining:
        return True
    last_ms = None if committed_ms is None else _readable(lambda: log.last_timestamp_ms)
    return committed_ms is not None and last_ms is not None and committed_ms >= last_ms


def _read_up_to(sessions: Iterable[Session]) -> int | None:
    return max((each.fetch_offset for each in sessions if each.fetch_offset is not None), default=None)


def _readable(ask: Callable[[], int | None]) -> int | None:
    """What a log says, None where the medium or damage keeps it from it: the rest is told all the same."""
    try:
        return ask()
    except (StorageError, OSError):
        return None


def _record_time_ms(log: LogReader, offset: int) -> int | None:
    with log.read(offset, 1) as part:
        for batch in iter_batches(part.view):
            for found, timestamp_ms in iter_times(batch):
                if found >= offset:
                    return timestamp_ms
    return None


# --- clients ----------------------------------------------------------------------------------------------------------


def _members(description: GroupDescription | None, sessions: Iterable[Session], topic: str) -> tuple[MemberView, ...]:
    described = () if description is None else description.members
    is_stable = description is not None and description.state is GroupState.STABLE
    shown = [
        MemberView(
            each.member_id,
            each.client_id,
            each.client_host,
            is_active=is_stable and _has_partition(each, topic),
            since_ms=each.joined_ms,
        )
        for each in described
    ]
    return (*shown, *_self_assigned(described, sessions))


def _self_assigned(members: Iterable[DescribedMember], sessions: Iterable[Session]) -> list[MemberView]:
    """Connections that fetch beyond those of the members, which have one each: told apart by client id and host."""
    fetching = [each for each in sessions if each.fetch_offset is not None]
    if not fetching:
        return []
    expected = Counter((each.client_id, each.client_host) for each in members)
    shown = []
    for session in fetching:
        key = session.client_id, session.client_host
        if expected[key] > 0:
            expected[key] -= 1
        else:
            shown.append(MemberView("", *key, is_active=True, since_ms=session.fetching_since_ms))
    return shown


def _has_partition(member: DescribedMember, topic: str) -> bool:
    """Whether the leader assigned the topic's partition to this member; an assignment that cannot be read has none."""
    try:
        return PARTITION in _assigned(member.assignment, topic)
    except (struct.error, UnicodeDecodeError):
        return False


def _assigned(assignment: bytes, topic: str) -> tuple[int, ...]:
    """The partitions of a topic in a consumer's assignment.

    Layout: version i16, count i32 x (topic string i16, count i32 x partition i32), user data; kafka clients
    ConsumerProtocol.java @1.1.1.
    """
    (count,) = struct.unpack_from(">i", assignment, 2)
    position = 6
    for _ in range(count):
        (length,) = struct.unpack_from(">h", assignment, position)
        position += 2
        if length < 0:
            raise struct.error("a topic without a name")
        name = assignment[position : position + length].decode()
        position += length
        (partitions,) = struct.unpack_from(">i", assignment, position)
        position += 4
        if partitions < 0 or position + 4 * partitions > len(assignment):
            raise struct.error(f"{partitions} partitions do not fit")
        if name == topic:
            return struct.unpack_from(f">{partitions}i", assignment, position)
        position += 4 * partitions
    return ()
