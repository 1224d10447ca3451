"""The table of what may be done with a channel, cell by cell, and that every operation on a channel stands in it."""

from __future__ import annotations

import pytest

from broker.lifecycle import ALLOWED, FILE_DECIDES, DefinedBy, Situation, allowed
from broker.operations.table import OPERATIONS

COLUMNS = (
    "precheck_channel",
    "start_channel",
    "resume_channel",
    "change_source",
    "change_objects",
    "create_group",
    "change_password",
    "delete_group",
    "list_groups",
    "list_samples",
    "show_sample",
    "search_records",
    "show_record",
    "show_series",
    "rename_channel",
    "preview_release",
    "release_channel",
)
#                          pre sta res src obj  groups: c p d l  samples records series name  release
TABLE = {
    Situation.PRECHECKING: ".   .   .   .   .   . . .   .   . .   . .   .   x   x x",
    Situation.READY: "      x   x   .   x   .   . . .   .   . .   . .   .   x   x x",
    Situation.NOT_READY: "  x   .   .   x   .   . . .   .   . .   . .   .   x   x x",
    Situation.CONNECTING: " .   .   .   .   .   . . .   x   x x   x x   x   x   x x",
    Situation.INITIAL: "    .   .   .   .   .   . . .   .   . .   . .   .   x   x x",
    Situation.NORMAL: "     .   .   .   x   x   x x x   x   x x   x x   x   x   x x",
    Situation.ENDED: "      .   .   x   x   x   x x x   x   x x   x x   x   x   x x",
    Situation.ERROR: "      x   .   x   x   x   x x x   x   x x   x x   x   x   x x",
    Situation.LEFT: "       .   .   .   .   .   . . .   .   . .   . .   .   .   x x",
}
CELLS = [
    (situation, operation, mark == "x")
    for situation, marks in TABLE.items()
    for operation, mark in zip(COLUMNS, marks.split(), strict=True)
]
OF_THE_FILE = {
    "start_channel",
    "rename_channel",
    "change_source",
    "change_objects",
    "preview_release",
    "release_channel",
}
OF_NOBODY = {"start_channel", "rename_channel", "change_source", "change_objects"}


@pytest.mark.parametrize(
    ("situation", "operation", "is_allowed"),
    CELLS,
    ids=[f"{situation}-{operation}" for situation, operation, _ in CELLS],
)
def test_a_cell(situation: Situation, operation: str, is_allowed: bool) -> None:
    assert (operation in allowed(situation, "operation")) is is_allowed
    assert (operation in allowed(situation, "file")) is (is_allowed and operation not in OF_THE_FILE)
    assert (operation in allowed(situation, "none")) is (is_allowed and operation not in OF_NOBODY)


def test_there_is_no_other_cell() -> None:
    assert set(TABLE) == set(ALLOWED) == set(Situation)
    assert {operation for row in ALLOWED.values() for operation in row} == set(COLUMNS)
    assert set(DefinedBy) == {"file", "operation", "none"}
    assert OF_THE_FILE == FILE_DECIDES


def test_every_operation_of_the_table_is_one() -> None:
    """And every operation that changes a channel stands in it."""
    known = {operation.name: operation for operation in OPERATIONS}
    assert set(COLUMNS) <= set(known)
    changes = {
        operation.name
        for operation in OPERATIONS
        if operation.is_change and operation.path.startswith("/channels/{channel_id}")
    }
    assert changes <= set(COLUMNS)
