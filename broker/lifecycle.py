"""What may be done with a channel: one table of situations and operations, which everything that asks goes by.

A situation is a state by the service's own name, and where a state alone does not decide, what it stands beside:

    Prechecking                          the source of a new channel is being looked at
    Not Started                          the precheck passed, and somebody may start it
    Not Started, precheck failed         what failed is to be mended and looked at again first
    Not Started, connecting              it was started and has not reached its source yet
    Performing Initial Change Tracking   start position and snapshot are being made durable
    Normal                               the stream runs
    Normal, the source ended             binlog files that have nothing more
    Error                                retried until a time, or waiting for somebody
    left over                            nothing runs it any more: only its data is here

Where the source is may be changed while nothing is on its way: what failed at a precheck, and an account whose password
was changed at the source, are mended so.

Who defined a channel decides too. What the configuration file defines is changed there and nowhere else; of what no
definition is left nothing is changed, but it may be released.

What changes something is refused where the table does not have it. What only shows stands in it for those who offer it,
and whoever asks elsewhere is shown what there is.

Left to others: what the operations do (`broker/operations/`), how a state comes about (`capture/channel.py`,
`broker/managed.py`).
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping


class DefinedBy(StrEnum):
    """Where a channel's definition is. `NONE`: it left the file, and nobody has it."""

    FILE = "file"
    OPERATION = "operation"
    NONE = "none"


class Situation(StrEnum):
    """The rows of the table."""

    PRECHECKING = "Prechecking"
    READY = "Not Started"
    NOT_READY = "Not Started, precheck failed"
    CONNECTING = "Not Started, connecting"
    INITIAL = "Performing Initial Change Tracking"
    NORMAL = "Normal"
    ENDED = "Normal, the source ended"
    ERROR = "Error"
    LEFT = "left over"


_ALWAYS: Final = frozenset({"rename_channel", "preview_release", "release_channel"})
_VIEWS: Final = frozenset(
    {
        "list_groups",
        "list_samples",
        "show_sample",
        "search_records",
        "show_record",
        "show_series",
    }
)
_RUNS: Final = _ALWAYS | _VIEWS | {"change_source", "change_objects", "create_group", "change_password", "delete_group"}

ALLOWED: Final[Mapping[Situation, frozenset[str]]] = {
    Situation.PRECHECKING: _ALWAYS,
    Situation.READY: _ALWAYS | {"precheck_channel", "change_source", "start_channel"},
    Situation.NOT_READY: _ALWAYS | {"precheck_channel", "change_source"},
    Situation.CONNECTING: _ALWAYS | _VIEWS,
    Situation.INITIAL: _ALWAYS,
    Situation.NORMAL: _RUNS,
    Situation.ENDED: _RUNS | {"resume_channel"},
    Situation.ERROR: _RUNS | {"resume_channel", "precheck_channel"},
    Situation.LEFT: frozenset({"preview_release", "release_channel"}),
}
"""The whole of what may be done when."""

FILE_DECIDES: Final = frozenset(
    {"start_channel", "rename_channel", "change_source", "change_objects", "preview_release", "release_channel"}
)
"""What is done with a channel of the file by changing the file."""
NOBODY_DECIDES: Final = FILE_DECIDES - {"preview_release", "release_channel"}
"""What needs a definition."""


def allowed(situation: Situation, defined_by: str) -> tuple[str, ...]:
    """The operations that may be done now, by name."""
    barred = {DefinedBy.FILE: FILE_DECIDES, DefinedBy.NONE: NOBODY_DECIDES}.get(DefinedBy(defined_by), frozenset())
    return tuple(sorted(ALLOWED[situation] - barred))
