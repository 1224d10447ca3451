"""The coordinator's state table as data, to be held beside Kafka 1.1's: GroupCoordinator.scala @1.1.1.

A cell says what a request in that state is answered with, and, behind an arrow, which state the group is in then;
without an arrow it stays in its state. Answers:

    0, 22 …       the error code; 22 ILLEGAL_GENERATION, 25 UNKNOWN_MEMBER_ID, 27 REBALANCE_IN_PROGRESS,
                  68 NON_EMPTY_GROUP, 69 GROUP_ID_NOT_FOUND
    parked        the answer waits
    current       a join is answered with the generation that there is
    assignment    a sync is answered with the member's part
    offsets       committed offsets are answered, -1 where there is none
    .             nobody can send this: the group has no such member

Where a cell of Kafka's table has several codes, its checks are rows here. `known` is a follower, `changed`
means other metadata than before; the generation is the group's own unless it is `wrong`. There is no column for Dead: a
deleted group is forgotten in the same turn, so that no request meets one (Kafka's threads can).
"""

from __future__ import annotations

from typing import Final

from broker.group import GroupState

STATES: Final = {
    "no group": None,
    "Empty": GroupState.EMPTY,
    "Preparing": GroupState.PREPARING_REBALANCE,
    "Completing": GroupState.COMPLETING_REBALANCE,
    "Stable": GroupState.STABLE,
}

_TABLE: Final = """
request                    | no group            | Empty               | Preparing            | Completing          | Stable
join, no member id         | parked → Preparing  | parked → Preparing  | parked               | parked → Preparing  | parked → Preparing
join, unknown id           | 25                  | 25                  | 25                   | 25                  | 25
join, known                | .                   | .                   | parked               | current             | current
join, known, changed       | .                   | .                   | parked               | parked → Preparing  | parked → Preparing
join, leader               | .                   | .                   | parked               | current             | parked → Preparing
join, leader, changed      | .                   | .                   | parked               | parked → Preparing  | parked → Preparing
sync, unknown id           | 25                  | 25                  | 25                   | 25                  | 25
sync, known, wrong         | .                   | .                   | 22                   | 22                  | 22
sync, known                | .                   | .                   | 27                   | parked              | assignment
sync, leader               | .                   | .                   | 27                   | assignment → Stable | assignment
heartbeat, unknown id      | 25                  | 25                  | 25                   | 25                  | 25
heartbeat, known, wrong    | .                   | .                   | 22                   | 27                  | 22
heartbeat, known           | .                   | .                   | 27                   | 27                  | 0
leave, unknown id          | 25                  | 25                  | 25                   | 25                  | 25
leave, known               | .                   | .                   | 0                    | 0 → Preparing       | 0 → Preparing
leave, leader              | .                   | .                   | 0                    | 0 → Preparing       | 0 → Preparing
commit, no generation      | 0 → Empty           | 0                   | 25                   | 27                  | 25
commit, unknown id         | 22                  | 25                  | 25                   | 27                  | 25
commit, known, wrong       | .                   | .                   | 22                   | 27                  | 22
commit, known              | .                   | .                   | 0                    | 27                  | 0
fetch offsets              | offsets             | offsets             | offsets              | offsets             | offsets
delete                     | 69                  | 0 → no group        | 68                   | 68                  | 68
"""  # noqa: E501 — one row, one line

_KEEPS_SESSION: Final = """
request                    | Preparing           | Completing          | Stable
join, known                | .                   | yes                 | yes
sync, known, wrong         | no                  | no                  | no
sync, known                | no                  | .                   | yes
heartbeat, known, wrong    | no                  | no                  | no
heartbeat, known           | yes                 | no                  | yes
commit, known, wrong       | no                  | no                  | no
commit, known              | yes                 | no                  | yes
fetch offsets              | no                  | no                  | no
"""


def _cells(table: str) -> list[tuple[str, str, str]]:
    """(state, request, cell) of a table, without what cannot happen."""
    heading, *rows = [[cell.strip() for cell in line.split("|")] for line in table.strip().splitlines()]
    return [
        (state, row[0], cell) for row in rows for state, cell in zip(heading[1:], row[1:], strict=True) if cell != "."
    ]


CELLS: Final = _cells(_TABLE)
KEEPS_SESSION: Final = _cells(_KEEPS_SESSION)
