"""Track data changes: the records of a channel's log, looked for and looked at.

Owns the structs and what is refused before anything is read. Reading is done in another process (`broker/search/`).

A page of results comes with a cursor while there is more. A search that has spent its time gives what it found so far
with how far it came; the same question with its cursor goes on from there. Values are shown, never whole: `is_cut` says
so, and `download_value` streams all of one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final, Literal

from msgspec import Meta, Struct

from broker.operations.operation import Operation

if TYPE_CHECKING:
    from broker.operations.plane import ControlPlane

Operator = Literal["=", "!=", "<", "<=", ">", ">=", "contains", "starts with", "is null", "is not null"]
Kind = Literal["INSERT", "UPDATE", "DELETE", "DDL", "BEGIN", "COMMIT", "HEARTBEAT"]
ValueKind = Literal["text", "bytes", "null", "absent"]

DEFAULT_KINDS: Final[tuple[Kind, ...]] = ("INSERT", "UPDATE", "DELETE", "DDL")
"""What is looked for where a question names no kinds."""


class Condition(Struct, frozen=True, forbid_unknown_fields=True):
    """One column's value, before or after the change, held against `value`; numbers as numbers, times as times, text by
    its characters, bytes by their hexadecimal digits behind `0x`. A column that a table does not have fits nothing.
    """

    column: Annotated[str, Meta(min_length=1, max_length=256)]
    operator: Operator
    value: Annotated[str, Meta(max_length=65536)] | None = None
    """None for `is null` and `is not null` alone."""


class SearchArguments(Struct, frozen=True, forbid_unknown_fields=True):
    """What is looked for; what is left out is not asked. Without `from_ms` and `to_ms` the last minute of the data."""

    channel_id: str
    database: str | None = None
    table: str | None = None
    conditions: Annotated[tuple[Condition, ...], Meta(max_length=32)] = ()
    kinds: tuple[Kind, ...] = ()
    from_ms: int | None = None
    to_ms: int | None = None
    limit: Annotated[int, Meta(ge=1, le=500)] = 20
    cursor: str | None = None
    """Of the answer before: go on behind it. Everything else has to be as it was."""


class ShownValue(Struct, frozen=True):
    """A value as it can be shown: text, or the hexadecimal digits of bytes that are none."""

    kind: ValueKind
    text: str | None = None
    bytes_total: int = 0
    """Of the whole value, however much of it `text` has."""
    is_cut: bool = False


class KeyValue(Struct, frozen=True):
    """A column of the primary key, or of the key that stands in for one, and its value."""

    column: str
    value: ShownValue


class RecordRow(Struct, frozen=True):
    """A record in a list."""

    offset: int
    record_id: int
    database: str | None
    table: str | None
    primary_key: tuple[KeyValue, ...]
    kind: str
    checkpoint: str
    """Position and file number in the binlog, as in `102420@188`."""
    timestamp_ms: int


class SearchResult(Struct, frozen=True):
    """What was found, newest first."""

    records: tuple[RecordRow, ...]
    range_start_ms: int | None
    """Source time of the first record there is; None while there is none."""
    range_end_ms: int | None
    cursor: str | None
    """Asks for more; None when everything was looked through."""
    is_complete: bool
    """False: time was spent before `limit` records were found or everything was looked through; ask on by `cursor`."""
    searched_bytes: int
    total_bytes: int
    elapsed_ms: int
    damages: tuple[str, ...] = ()
    """What could not be read on the way, a sentence each."""


class RecordArguments(Struct, frozen=True, forbid_unknown_fields=True):
    """Which record."""

    channel_id: str
    offset: Annotated[int, Meta(ge=0)]


class FieldChange(Struct, frozen=True):
    """One column of a changed row. `before` of an INSERT and `after` of a DELETE are None."""

    name: str
    type_name: str
    charset: str | None
    is_key: bool
    before: ShownValue | None
    after: ShownValue | None
    is_changed: bool


class RecordDetail(Struct, frozen=True):
    """A record with all that is in it."""

    offset: int
    record_id: int
    database: str | None
    table: str | None
    primary_key: tuple[KeyValue, ...]
    kind: str
    checkpoint: str
    timestamp_ms: int
    fields: tuple[FieldChange, ...]
    ddl: str | None
    context: str | None
    """Of a DDL: the settings it was executed under, as statements."""
    tags: dict[str, str]
    is_ddl_cut: bool = False


class TrackedTable(Struct, frozen=True):
    """A table that the channel knows the definition of."""

    database: str
    table: str


class TrackedTables(Struct, frozen=True):
    """The tables of a channel, by name."""

    tables: tuple[TrackedTable, ...]


class TrackedTablesArguments(Struct, frozen=True, forbid_unknown_fields=True):
    """Whose tables."""

    channel_id: str


async def search_records(plane: ControlPlane, arguments: SearchArguments) -> SearchResult:
    """Look through the log, newest first."""
    raise NotImplementedError


async def show_record(plane: ControlPlane, arguments: RecordArguments) -> RecordDetail:
    """All of one record."""
    raise NotImplementedError


ROWS: Final = (
    Operation(
        "search_records",
        "POST",
        "/channels/{channel_id}/records/search",
        "records",
        "Look for records by database, table, values, kinds and time, newest first",
        SearchArguments,
        SearchResult,
        search_records,
    ),
    Operation(
        "show_record",
        "GET",
        "/channels/{channel_id}/records/{offset}",
        "records",
        "Show one record with the values before and after the change",
        RecordArguments,
        RecordDetail,
        show_record,
    ),
)
