"""Track data changes: the records of a channel's log, looked for and looked at.

Owns the structs and what is refused before anything is read. Reading is done in another process (`broker/search/`).

A page of results comes with a cursor while there is more. A search that has spent its time gives what it found so far
with how far it came; the same question with its cursor goes on from there. Values are shown, never whole: `is_cut` says
so, and `download_value` streams all of one.
"""

from __future__ import annotations

import re
import time
import zlib
from collections.abc import AsyncIterator
from functools import partial
from typing import TYPE_CHECKING, Annotated, Final, Literal, NamedTuple

import msgspec
from msgspec import Meta, Struct

from broker.operations.operation import Download, Operation, OperationError, Refusal
from storage.log import resident

if TYPE_CHECKING:
    from broker.operations.plane import ControlPlane
    from broker.search.protocol import Log, Question, Value
    from broker.search.service import SearchError

LAST_MS: Final = 60_000
"""How far back the newest records are looked for where nothing is asked for."""
_CURSOR: Final = re.compile(r"(\d{1,18})\.(-?\d{1,16})?\.(-?\d{1,16})?\.(\d{1,10})", re.ASCII)

Operator = Literal["=", "!=", "<", "<=", ">", ">=", "contains", "starts with", "is null", "is not null"]
Kind = Literal["INSERT", "UPDATE", "DELETE", "DDL", "BEGIN", "COMMIT", "HEARTBEAT"]
ValueKind = Literal["text", "bytes", "null", "absent"]
Offset = Annotated[int, Meta(ge=0, le=(1 << 63) - 1)]
TimeMs = Annotated[int, Meta(ge=-(10**15), le=10**15)]

DEFAULT_KINDS: Final[tuple[Kind, ...]] = ("INSERT", "UPDATE", "DELETE", "DDL")
"""What is looked for where a question names no kinds."""


class Condition(Struct, frozen=True, forbid_unknown_fields=True):
    """One column's value, before or after the change, held against `value`: numbers as numbers, times as times, text by
    its characters, bytes by their hexadecimal digits behind `0x`. All conditions of a search fit the row before, or the
    row after. A column that a table does not have fits nothing.
    """

    column: Annotated[str, Meta(min_length=1, max_length=256)]
    operator: Operator
    value: Annotated[str, Meta(max_length=65536)] | None = None
    """None for `is null` and `is not null` alone."""


class SearchArguments(Struct, frozen=True, forbid_unknown_fields=True):
    """What is looked for; what is left out or empty is not asked, and all fits. Where nothing at all is asked for, the
    records of the data's last minute are shown. A DDL has a database and no table.
    """

    channel_id: str
    database: str | None = None
    table: str | None = None
    conditions: Annotated[tuple[Condition, ...], Meta(max_length=32)] = ()
    kinds: tuple[Kind, ...] = ()
    from_ms: TimeMs | None = None
    to_ms: TimeMs | None = None
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
    offset: Offset


class ValueArguments(Struct, frozen=True, forbid_unknown_fields=True):
    """Which value: `index` counts the columns, -1 is the statement of a DDL (after)."""

    channel_id: str
    offset: Offset
    index: Annotated[int, Meta(ge=-1, le=4095)]
    side: Literal["before", "after"]


class FieldChange(Struct, frozen=True):
    """One column of a changed row. `before` of an INSERT and `after` of a DELETE are None."""

    name: str
    type_name: str
    charset: str | None
    is_key: bool
    before: ShownValue | None
    after: ShownValue | None
    is_changed: bool


class RecordDetail(RecordRow, frozen=True):
    """A record with all that is in it."""

    fields: tuple[FieldChange, ...]
    ddl: str | None
    context: str | None
    """Of a DDL: the settings it was executed under, as statements."""
    tags: dict[str, str]
    is_ddl_cut: bool = False


async def search_records(plane: ControlPlane, arguments: SearchArguments) -> SearchResult:
    """Look through the log, newest first."""
    from broker.search.service import SearchError

    began_s = time.monotonic()
    _require_values(arguments)
    place = await _place(plane, arguments.channel_id)
    if place is None:
        return SearchResult((), None, None, None, True, 0, 0, 0)
    log, start_ms, end_ms = place
    asked = _question_number(arguments)
    if arguments.cursor is None:
        before, from_ms, to_ms = log.high_watermark, arguments.from_ms, arguments.to_ms
        if _is_empty(arguments) and end_ms is not None:
            from_ms = end_ms - LAST_MS
    else:
        before, from_ms, to_ms = _read_cursor(arguments.cursor, asked)
    question = _question(arguments, from_ms, to_ms)
    try:
        found = await plane.search.search(log, question, before, arguments.limit)
    except SearchError as error:
        raise _refused(error) from None
    cursor = None if found.before is None else _cursor(found.before, from_ms, to_ms, asked)
    return SearchResult(
        found.records, start_ms, end_ms, cursor, cursor is None or len(found.records) >= arguments.limit,
        found.searched_bytes, found.total_bytes, int((time.monotonic() - began_s) * 1000), found.damages,
    )  # fmt: skip


async def show_record(plane: ControlPlane, arguments: RecordArguments) -> RecordDetail:
    """All of one record."""
    from broker.search.service import SearchError

    place = await _place(plane, arguments.channel_id)
    try:
        shown = None if place is None else await plane.search.show(place.log, arguments.offset)
    except SearchError as error:
        raise _refused(error) from None
    if shown is None or shown.record is None:
        raise OperationError(
            Refusal.NOT_FOUND,
            f"there is no record at offset {arguments.offset} of channel {arguments.channel_id}; it may have been "
            f"deleted by retention",
            field="offset",
        )
    return shown.record


async def download_value(
    plane: ControlPlane, channel_id: str, offset: int, index: int, *, is_after: bool
) -> AsyncIterator[Value]:
    """A value's bytes as they lie in the record, in pieces; the first says how many there are and whether they are text
    of which character set. `index` counts the columns, -1 is the statement of a DDL.

    Raises OperationError, before the first piece.
    """
    from broker.search.service import SearchError

    place = await _place(plane, channel_id)
    is_empty = True
    try:
        if place is not None:
            async for piece in plane.search.read_value(place.log, offset, index, is_after=is_after):
                is_empty = False
                yield piece
    except SearchError as error:
        raise _refused(error) from None
    if is_empty:
        raise OperationError(Refusal.NOT_FOUND, f"there is no such value at offset {offset} of channel {channel_id}")


async def download(plane: ControlPlane, arguments: ValueArguments) -> Download:
    """One value as a file of its bytes."""
    pieces = download_value(
        plane, arguments.channel_id, arguments.offset, arguments.index, is_after=arguments.side == "after"
    )
    first = await anext(pieces)

    async def contents() -> AsyncIterator[bytes]:
        yield first.data or b""
        async for piece in pieces:
            yield piece.data or b""

    name = f"record-{arguments.offset}-{arguments.index}-{arguments.side}.{'txt' if first.is_text else 'bin'}"
    return Download(name, "application/octet-stream", first.bytes_total, contents())


# ---- what is asked, in the terms of the search ----


class _Place(NamedTuple):
    log: Log
    start_ms: int | None
    end_ms: int | None


async def _place(plane: ControlPlane, channel_id: str) -> _Place | None:
    """A channel's log as far as it may be read now; None while it has none."""
    from broker.search.protocol import Log

    try:
        view = await resident(partial(plane.channels.view, channel_id))
    except KeyError:
        raise OperationError(Refusal.NOT_FOUND, f"there is no channel {channel_id}", field="channel_id") from None
    reader = plane.channels.find_log(view.topic)
    if reader is None:
        return None
    log = Log(str(plane.topic_directory(view.topic)), reader.log_start_offset, reader.high_watermark)
    return _Place(log, view.start_timestamp_ms, view.end_timestamp_ms)


def _require_values(arguments: SearchArguments) -> None:
    for number, condition in enumerate(arguments.conditions):
        is_about_null = condition.operator in {"is null", "is not null"}
        if is_about_null and condition.value:
            raise _invalid(number, f"{condition.column} {condition.operator} takes no value")
        if not is_about_null and condition.value is None:
            raise _invalid(number, f"{condition.column} {condition.operator} needs a value to compare with")

    try:
        msgspec.msgpack.encode(arguments)
    except UnicodeEncodeError:
        raise OperationError(Refusal.INVALID, "what is looked for is not text: it has half of a character") from None


def _invalid(number: int, sentence: str) -> OperationError:
    return OperationError(Refusal.INVALID, sentence, field=f"conditions[{number}].value")


def _is_empty(arguments: SearchArguments) -> bool:
    """Whether nothing is asked for: the last records are shown then."""
    return not (
        arguments.database
        or arguments.table
        or arguments.conditions
        or arguments.kinds
        or arguments.from_ms is not None
        or arguments.to_ms is not None
    )


def _question(arguments: SearchArguments, from_ms: int | None, to_ms: int | None) -> Question:
    from broker.search.protocol import Question
    from broker.search.records import KINDS

    kinds = sum(1 << KINDS.index(kind) for kind in set(arguments.kinds or DEFAULT_KINDS))
    return Question(kinds, arguments.database or None, arguments.table or None, arguments.conditions, from_ms, to_ms)


def _question_number(arguments: SearchArguments) -> int:
    """What a cursor is bound to; how many are shown at a time may change."""
    return zlib.crc32(msgspec.json.encode(msgspec.structs.replace(arguments, cursor=None, limit=1)))


def _cursor(before: int, from_ms: int | None, to_ms: int | None, asked: int) -> str:
    return ".".join("" if part is None else str(part) for part in (before, from_ms, to_ms, asked))


def _read_cursor(cursor: str, asked: int) -> tuple[int, int | None, int | None]:
    match = _CURSOR.fullmatch(cursor)
    if match is None or int(match[4]) != asked:
        raise OperationError(
            Refusal.INVALID, "the cursor belongs to another search; search again without it", field="cursor"
        )
    before, from_ms, to_ms = (None if not part else int(part) for part in match.groups()[:3])
    return before or 0, from_ms, to_ms


def _refused(error: SearchError) -> OperationError:
    from broker.search.service import TooManySearches

    refusal = Refusal.TOO_MANY_REQUESTS if isinstance(error, TooManySearches) else Refusal.STORAGE_UNAVAILABLE
    return OperationError(refusal, str(error))


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
    Operation(
        "download_value",
        "GET",
        "/channels/{channel_id}/records/{offset}/values/{index}/{side}",
        "records",
        "Download all bytes of one value of a record, as they lie in it",
        ValueArguments,
        Download,
        download,
    ),
)
