"""What the tests know about one client: how its process starts, what its public API can express, what it says.

Owns the columns of the client matrix and the row type; the rows are in ``families/``. A cell of the matrix passes
(perhaps with a note of what its proof lacks), is n/a with the reason (the client's public API cannot express it), or is
refused by the client with its own message (a newer client that refuses brokers of this age on its own account).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final

import pytest

from tests.decoded import Record
from tests.tools.workplace import NotPublishedError, ToolError

Command = tuple[str, ...]

COLUMNS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "plain": "connects and authenticates over SASL_PLAINTEXT, and reads",
        "tls": "the same over SASL_SSL, verifying the certificate against the test's own authority",
        "topics": "lists topics: its channel's, and no other",
        "subscribe": "reads the known log in group mode byte for byte: key, value, timestamp, offset",
        "assign": "the same by assignment, from an offset in the middle",
        "commit": "commits with metadata, and reads both back",
        "resume": "a new consumer of the group goes on where the committed offset says",
        "seek_seconds": "looks an offset up by a time in seconds, is answered in seconds, and reads on from there",
        "seek_milliseconds": "looks an offset up by a time in milliseconds, is answered in milliseconds, and reads on",
        "takeover": "a standby of the group takes over when the active consumer is killed with -9, without loss",
        "wrong_password": "says that it was refused, or that it could not read; the right password works behind it",
    }
)
KEEPS_TRYING: Final = "read 0 of 1 records before the deadline"
INVALID_GROUP: Final = "InvalidGroupIdException: The configured groupId is invalid"
ANSWER: Final = ("offset", "timestamp")
_BY_ASSIGNMENT: Final = ("plain", "tls", "assign")
_NO_TIME: Final = -1
PURPOSES: Final = ("", "commit", "resume", "takeover")


@dataclass(frozen=True, slots=True, eq=False)
class Client:
    """One client library in one version.

    ``not_applicable`` says for a column what the public API lacks; ``refuses`` is what the client says (a regular
    expression) when it refuses this broker's age altogether. ``wrong_password`` and ``foreign_group`` are what it says
    then (regular expressions): a client that cannot be told why it was refused keeps trying.

    What the columns do not ask, and further tests do: ``lookup_answer`` is what its look-up by time shows of the answer
    (``offset``, ``timestamp``, both or neither); ``shows_bounds``: it can ask for the log's first and end offset;
    ``too_large`` is what it says (a regular expression) of a record larger than its partition limit, if it cannot get
    it whole. ``resumes_by_time``: it takes up not at the committed offset but at the committed time, so that what has
    that very time comes again. ``purposes`` are what it needs a consumer group each for, so that no test meets
    another's commits; that of the first, "", never commits.

    ``no_assigned_times`` says why records that it reads by assignment have no times, if it is so: what is left of the
    cells that read that way passes, and the matrix says what they leave out.
    """

    name: str
    family: str
    command: Callable[[], Command]
    representative: bool = False
    not_applicable: Mapping[str, str] = field(default_factory=dict)
    refuses: str | None = None
    wrong_password: str = KEEPS_TRYING
    foreign_group: str = INVALID_GROUP
    lookup_answer: tuple[str, ...] = ANSWER
    shows_bounds: bool = True
    too_large: str | None = None
    resumes_by_time: bool = False
    no_assigned_times: str | None = None
    purposes: tuple[str, ...] = PURPOSES

    def __post_init__(self) -> None:
        unknown = set(self.not_applicable) - set(COLUMNS)
        assert not unknown, f"{self.name}: the matrix has no column {unknown}"

    def can(self, column: str) -> bool:
        """Whether the public API can express this column and the client speaks to us at all."""
        return self.refuses is None and column not in self.not_applicable

    def by_assignment(self, records: list[Record]) -> list[Record]:
        """These records as the client shows them when it reads by assignment."""
        if self.no_assigned_times is None:
            return records
        return [replace(record, timestamp_ms=_NO_TIME) for record in records]

    def leaves_out(self, column: str) -> str | None:
        """What the proof of a column lacks though its test passes."""
        return self.no_assigned_times if column in _BY_ASSIGNMENT else None

    def group_id(self, purpose: str = "") -> str:
        """The id of the client's own consumer group for a purpose."""
        assert purpose in self.purposes
        return "dts" + "".join(character for character in self.name + purpose if character.isalnum())

    @property
    def group_ids(self) -> list[str]:
        return [self.group_id(purpose) for purpose in self.purposes]

    def start_command(self) -> Command:
        """The command of the client's process; skips or fails the test when the client cannot be had."""
        return had(self.name, self.command)


def had(name: str, command: Callable[[], Command]) -> Command:
    """The command of a program that has to be fetched; skips or fails the test when it cannot be had.

    It fails where ``CI=true``, so that a matrix with holes is never taken for a full one, unless the public registries
    do not publish this version: no set-up of ours can change that.
    """
    try:
        return command()
    except NotPublishedError as error:
        pytest.skip(f"untested: {error}")
    except ToolError as error:
        reason = f"{name} cannot be had: {error}"
        if os.environ.get("CI") == "true":
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
