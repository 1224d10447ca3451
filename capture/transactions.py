"""The shape of a binlog: where each event lies, which transaction it belongs to, and where transactions end.

`BinlogWalker` takes raw events in order and says what each one is for capture (a `Step`): sans-IO, no records, no
schema. The channel makes records of its steps; `capture/scan.py` looks for positions and statements with the same
walker, so that both agree on what a transaction is.

A transaction begins
    MySQL      with the Query BEGIN, a GTID event in front of it if the server writes them
    MariaDB    with its GTID event, unless that says `standalone`: then one statement follows, without COMMIT
    XA         with the Query XA START (MariaDB: with a GTID event that names the XA id)
and ends with XID, the Query COMMIT, or ROLLBACK; an XA transaction with XA_PREPARE, whose rows count only when XA
COMMIT follows, a transaction of its own (with one phase it is the commit itself). Any other statement outside one is a
transaction of its own too. All of one may stand in a TRANSACTION_PAYLOAD: its events share the payload's place.
MariaDB may log an ALTER TABLE twice, when it starts and when it is committed or failed: only the commit counts.
A format description in the middle of one means that the server died: the rest of that transaction will never come,
and its GTID was not executed.

Positions are 64 bits here; events carry the low 32 of them. Invariant: `position` is always a transaction boundary.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from msgspec import Struct, structs

from capture.compressed_events import COMPRESSED_ROWS
from capture.data_changes import emptied_table
from capture.errors import NEW_CHANNEL, MalformedEvent, SourceRefused, UnsupportedEvent, UnsupportedStatement
from capture.event_types import EventType
from capture.events import (
    ARTIFICIAL_FLAG,
    Checksum,
    Event,
    EventDecoder,
    EventHeader,
    FormatDescriptionEvent,
    GtidEvent,
    MariadbGtidEvent,
    MariadbGtidListEvent,
    PreviousGtidsEvent,
    QueryEvent,
    RotateEvent,
    TransactionPayloadEvent,
    XaPrepareEvent,
    decode_header,
)
from capture.payload import events_in
from capture.position import BinlogPosition, GtidSet, mariadb_key, mysql_key
from capture.rows_event import ROWS_EVENTS
from capture.statements import DataChange, TransactionControl, Unknown
from capture.xa import Xid, parse_xid

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from capture.data_changes import DataChanges
    from capture.dialect import Dialect
    from capture.statements import Statement

STATEMENT_SHOWN_CHARACTERS = 120
"""How much of a statement an error text repeats."""

_HIGH_BITS = ~0xFFFFFFFF
_LOW_HALF = 1 << 31

_TYPE_CODE_OFFSET = 4
# Members of an Enum are looked up anew at each use, which counts where it is done for each event.
_ROTATE, _PAYLOAD = int(EventType.ROTATE), int(EventType.TRANSACTION_PAYLOAD)
_TABLE_MAP, _XID, _MARIADB_GTID = int(EventType.TABLE_MAP), int(EventType.XID), int(EventType.MARIADB_GTID)
_FORMAT_DESCRIPTION = int(EventType.FORMAT_DESCRIPTION)
_ROWS_TYPES = frozenset(ROWS_EVENTS) | COMPRESSED_ROWS
_HEARTBEATS = frozenset({EventType.HEARTBEAT, EventType.HEARTBEAT_V2})
_GTIDS = frozenset({EventType.GTID, EventType.GTID_TAGGED, EventType.ANONYMOUS_GTID})
_QUERIES = frozenset({EventType.QUERY, EventType.EXECUTE_LOAD_QUERY, EventType.MARIADB_QUERY_COMPRESSED})
_NEVER_IN_PAYLOAD = (
    _HEARTBEATS
    | _GTIDS
    | {
        EventType.FORMAT_DESCRIPTION,
        EventType.ROTATE,
        EventType.STOP,
        EventType.PREVIOUS_GTIDS,
        EventType.TRANSACTION_PAYLOAD,
    }
)


class StepKind(Enum):
    """What an event is for capture."""

    __hash__ = object.__hash__  # that of Enum is written in Python, and kinds are looked up for each event

    NOTHING = "nothing"
    FILE = "file"
    BEGIN = "begin"
    TABLE_MAP = "table map"
    ROWS = "rows"
    SAVEPOINT = "savepoint"
    ROLLBACK_TO = "rollback to savepoint"
    PAYLOAD = "payload"
    STATEMENT = "statement"
    COMMIT = "commit"
    ROLLBACK = "rollback"
    PREPARE = "xa prepare"
    XA_COMMIT = "xa commit"
    XA_ROLLBACK = "xa rollback"
    HEARTBEAT = "heartbeat"


# As above: each is looked up for each event.
_NOTHING_STEP, _BEGIN_STEP, _COMMIT_STEP = StepKind.NOTHING, StepKind.BEGIN, StepKind.COMMIT
_TABLE_MAP_STEP, _ROWS_STEP, _HEARTBEAT_STEP = StepKind.TABLE_MAP, StepKind.ROWS, StepKind.HEARTBEAT


class Gtid(Struct, frozen=True, gc=False):
    """A transaction's GTID: the key and number of `storage.log.GtidInterval`, and its text."""

    key: bytes
    number: int
    text: str


class Step(Struct, frozen=True):
    """One event. `start` and `end` are its bytes in the file; `ends_transaction`: nothing is open behind it.

    `event` is None where it was not decoded; `statements` is what a Query says, empty for the other kinds. `raw` is the
    event of a TABLE_MAP or ROWS as it came. Within a payload `start` and `end` are the payload's.
    """

    kind: StepKind
    header: EventHeader
    event: Event | None
    start: int
    end: int
    ends_transaction: bool = False
    statements: Sequence[Statement] = ()
    raw: bytes = b""


class BinlogWalker:
    """Follows one stream of events from a transaction boundary on."""

    def __init__(
        self,
        start: BinlogPosition,
        dialect: Dialect,
        *,
        checksum: bool,
        decode_rows: bool = True,
        changes: DataChanges | None = None,
    ) -> None:
        """`checksum`: events before the first format description end with one (`@@binlog_checksum`). `changes` judges
        statements that change rows; without it all of them are refused.
        """
        self._changes = changes
        self.position = start
        """The last transaction boundary: where a new stream can begin without losing or repeating anything."""
        self.left = start
        """Where the file before this one was left by the last ROTATE."""
        self.in_transaction = False
        self.gtid: Gtid | None = None
        """The GTID of the transaction that is open, or of the step just returned."""
        self.xid: Xid | None = None
        """The id of the XA transaction that is open, or of the step just returned; None for all others."""
        self.previous_gtids: GtidSet | None = None
        """What the file's own head says of all files before it, once that was read."""
        self._decoder = EventDecoder(Checksum.CRC32 if checksum else Checksum.NONE)
        self._dialect = dialect
        self._decode_rows = decode_rows
        self._file, self._number = start.file, start.number
        self._end = start.position
        self._pending_gtid = False
        self._alters_nothing = False
        self._is_inside_payload = False

    @property
    def file(self) -> str:
        return self._file

    @property
    def is_open(self) -> bool:
        """Whether a transaction, or what announces one, was begun and not ended."""
        return self.in_transaction or self._pending_gtid

    @property
    def number(self) -> int:
        """The number of the file being read."""
        return self._number

    @property
    def reached_order(self) -> tuple[int, int]:
        """`reached.order`, for comparisons at every event."""
        return self._number, self._end

    @property
    def reached(self) -> BinlogPosition:
        """Where the last event ended, boundary or not."""
        return BinlogPosition(self._file, self._end)

    def walk(self, raw: bytes) -> Step:
        """Take the next event; of a PAYLOAD step the events within are to be taken by `unpack` before the next one.

        Raises MalformedEvent, UnsupportedEvent, UnsupportedStatement, SourceRefused.
        """
        self._is_inside_payload = False
        if self._decode_rows:
            header, event = self._decoder.decode(raw)
            kind = header.type_code
        else:
            kind = raw[_TYPE_CODE_OFFSET] if len(raw) > _TYPE_CODE_OFFSET else 0
            header, event = self._decode(self._decoder, kind, raw)
        if kind in _HEARTBEATS:
            return Step(_HEARTBEAT_STEP, header, event, self._end, self._end)
        if kind == _ROTATE:
            return self._rotate(header, event)
        start, end = self._move(header)
        if kind == _PAYLOAD:
            return Step(StepKind.PAYLOAD, header, event, start, end)
        return self._step(kind, header, event, start, end, raw)

    def unpack(self, step: Step) -> Iterator[Step | None]:
        """The steps within a PAYLOAD step; None where a piece of it completed no event and others may run.

        Raises what `walk` raises.
        """
        if self.in_transaction:
            raise MalformedEvent(f"a transaction begins at {self._file}:{step.start} inside another")
        assert isinstance(step.event, TransactionPayloadEvent)
        self._pending_gtid, has_gtid = True, self._pending_gtid
        if not has_gtid:
            self.gtid = None
        decoder = self._decoder.inside()
        self._is_inside_payload = True
        for raw in events_in(step.event):
            if raw is None:
                yield None
                continue
            kind = raw[_TYPE_CODE_OFFSET]
            if kind in _NEVER_IN_PAYLOAD or not self.is_open:
                raise MalformedEvent(
                    f"the TRANSACTION_PAYLOAD at {self._file}:{step.start} holds an event of type {kind} that cannot "
                    f"stand where it does"
                )
            header, event = self._decode(decoder, kind, raw)
            yield self._step(kind, header, event, step.start, step.end, raw)
        if self.is_open:
            raise MalformedEvent(f"the TRANSACTION_PAYLOAD at {self._file}:{step.start} ends within its transaction")

    def steps(self, raw: bytes) -> Iterator[Step | None]:
        """The step of the next event, or those within it: `walk` and `unpack` in one."""
        step = self.walk(raw)
        if step.kind is StepKind.PAYLOAD:
            yield from self.unpack(step)
        else:
            yield step

    @property
    def table_id_bytes(self) -> int:
        """How table ids stand in the events of the file being read."""
        return self._decoder.table_id_bytes

    def without_checksum(self, step: Step) -> bytes:
        """The raw event of the TABLE_MAP or ROWS step just returned, without the checksum it has in a file."""
        return step.raw if self._is_inside_payload else self._decoder.without_checksum(step.raw)

    def _decode(self, decoder: EventDecoder, kind: int, raw: bytes) -> tuple[EventHeader, Event | None]:
        if not self._decode_rows and (kind in _ROWS_TYPES or kind == EventType.TABLE_MAP):
            return decode_header(raw), None
        return decoder.decode(raw)

    def _step(self, kind: int, header: EventHeader, event: Event | None, start: int, end: int, raw: bytes) -> Step:
        """What an event is that stands at `start` to `end`."""
        if kind in _ROWS_TYPES:
            if not self.in_transaction:
                raise self._outside(start)
            return Step(_ROWS_STEP, header, event, start, end, False, (), raw)
        if kind == _TABLE_MAP:
            if not self.in_transaction:
                raise self._outside(start)
            return Step(_TABLE_MAP_STEP, header, event, start, end, False, (), raw)
        if kind in _QUERIES:
            assert isinstance(event, QueryEvent)
            return self._query(header, event, start, end)
        if kind == _XID:
            return self._finish(_COMMIT_STEP, header, event, start, end)
        if kind in _GTIDS or kind == _MARIADB_GTID:
            return self._begin_group(header, event, start, end)
        if kind in (EventType.FORMAT_DESCRIPTION, EventType.STOP):
            return self._format_description(header, event, start, end)
        if isinstance(event, XaPrepareEvent):
            return self._prepare(header, event, start, end)
        if isinstance(event, PreviousGtidsEvent | MariadbGtidListEvent):
            self.previous_gtids = _previous_gtids(event)
        return self._pass(StepKind.NOTHING, header, event, start, end)

    # ---- positions ----

    def _move(self, header: EventHeader) -> tuple[int, int]:
        """Start and end of an event; those the server made for this reader take no room."""
        _, type_code, _, size_bytes, low_end, flags = header
        if flags & ARTIFICIAL_FLAG or (low_end == 0 and type_code == _FORMAT_DESCRIPTION):
            return self._end, self._end
        if low_end == 0:
            end = self._end + size_bytes
        else:
            end = (self._end & _HIGH_BITS) | low_end
            if end < self._end - _LOW_HALF:
                end += 1 << 32
        self._end = end
        return end - size_bytes, end

    def _rotate(self, header: EventHeader, event: Event | None) -> Step:
        assert isinstance(event, RotateEvent)
        found, known = BinlogPosition(event.file, event.position), BinlogPosition(self._file, self._end)
        if found.base != known.base or found.number < known.number:
            raise SourceRefused(
                f"the source's binlog went from file {known.file} to {found.file}: its binlog was reset or renamed, "
                f"so what follows cannot be joined to what was captured; {NEW_CHANNEL}"
            )
        self.left = known
        self._file, self._number, self._end = found.file, found.number, found.position
        return self._pass(StepKind.FILE, header, event, self._end, self._end)

    def _format_description(self, header: EventHeader, event: Event | None, start: int, end: int) -> Step:
        """A real one inside a transaction: the server died before it could end it."""
        if self._changes is not None and not (isinstance(event, FormatDescriptionEvent) and not event.created):
            self._changes.forget_sessions()  # a server that began, or stops; a new file alone says no time
        if self.in_transaction and start != end:
            self._pending_gtid = False
            return self._finish(StepKind.ROLLBACK, header, event, start, end)
        return self._pass(StepKind.FILE, header, event, start, end)

    # ---- transactions ----

    def _pass(self, kind: StepKind, header: EventHeader, event: Event | None, start: int, end: int) -> Step:
        """An event that neither opens nor ends anything."""
        if not self.is_open:
            self.position = self.reached
        return Step(kind, header, event, start, end, not self.is_open)

    def _begin_group(self, header: EventHeader, event: Event | None, start: int, end: int) -> Step:
        if self.in_transaction:
            raise MalformedEvent(f"a transaction begins at {self._file}:{start} inside another")
        self._pending_gtid = True
        self._alters_nothing = isinstance(event, MariadbGtidEvent) and event.alters_nothing
        if isinstance(event, GtidEvent):
            self.gtid = Gtid(mysql_key(event.sid, event.tag), event.gno, event.text)
        elif isinstance(event, MariadbGtidEvent):
            self.gtid = Gtid(mariadb_key(event.domain_id, event.server_id), event.sequence, event.text)
            if not event.standalone:
                self.in_transaction, self.xid = True, event.xid
                return Step(StepKind.BEGIN, header, event, start, end)
        else:
            self.gtid = None
        return Step(_NOTHING_STEP, header, event, start, end)

    def _finish(
        self,
        kind: StepKind,
        header: EventHeader,
        event: Event | None,
        start: int,
        end: int,
        statements: Sequence[Statement] = (),
    ) -> Step:
        if not self._pending_gtid:
            self.gtid = None
        self.in_transaction = self._pending_gtid = False
        self.position = BinlogPosition(self._file, self._end)
        return Step(kind, header, event, start, end, True, statements)

    def _outside(self, start: int) -> UnsupportedEvent:
        return UnsupportedEvent(
            f"rows outside a transaction at {self._file}:{start}: the binlog does not say where they end"
        )

    # ---- statements ----

    def _query(self, header: EventHeader, event: QueryEvent, start: int, end: int) -> Step:
        sql = event.sql
        if sql == b"BEGIN":
            return self._begin(header, event, start, end)
        if sql == b"COMMIT":
            return self._finish(StepKind.COMMIT, header, event, start, end)
        statements = self._parse(event)
        emptied = None if self.in_transaction else emptied_table(event)
        if emptied is not None:
            statements = (emptied,)
        if self._changes is not None:
            self._changes.follow(statements, event)
        for statement in statements:
            if isinstance(statement, TransactionControl):
                return self._control(statement, header, event, start, end)
            self._refuse_unsafe(statement, event, start)
        if self.in_transaction:
            return Step(StepKind.STATEMENT, header, event, start, end, False, statements)
        kind = StepKind.ROLLBACK if self._pending_gtid and self._alters_nothing else StepKind.STATEMENT
        return self._finish(kind, header, event, start, end, statements)

    def _parse(self, event: QueryEvent) -> Sequence[Statement]:
        from capture.ddl import parse

        return parse(statement_text(event), event.status.sql_mode or 0, self._dialect)

    def _begin(self, header: EventHeader, event: QueryEvent, start: int, end: int) -> Step:
        if self.in_transaction:
            raise MalformedEvent(f"a transaction begins at {self._file}:{start} inside another")
        if not self._pending_gtid:
            self.gtid = None
        self.in_transaction, self.xid = True, None
        return Step(_BEGIN_STEP, header, event, start, end)

    def _prepare(self, header: EventHeader, event: XaPrepareEvent, start: int, end: int) -> Step:
        if not self.in_transaction or self.xid != event.xid:
            raise MalformedEvent(
                f"XA PREPARE {event.xid} at {self._file}:{start} stands behind "
                f"{f'the rows of XA transaction {self.xid}' if self.in_transaction and self.xid else 'no XA START'}"
            )
        return self._finish(StepKind.COMMIT if event.one_phase else StepKind.PREPARE, header, event, start, end)

    def _control(
        self, control: TransactionControl, header: EventHeader, event: QueryEvent, start: int, end: int
    ) -> Step:
        if control.verb.startswith("XA"):
            return self._xa(control, header, event, start, end)
        if control.verb == "BEGIN":
            return self._begin(header, event, start, end)
        if control.verb == "COMMIT":
            return self._finish(StepKind.COMMIT, header, event, start, end)
        if control.verb == "ROLLBACK":
            return self._finish(StepKind.ROLLBACK, header, event, start, end)
        kinds = {"SAVEPOINT": StepKind.SAVEPOINT, "ROLLBACK TO": StepKind.ROLLBACK_TO}
        kind = kinds.get(control.verb, StepKind.NOTHING)
        return Step(kind, header, event, start, end, False, (control,))

    def _xa(self, control: TransactionControl, header: EventHeader, event: QueryEvent, start: int, end: int) -> Step:
        if control.verb == "XA START":
            step = self._begin(header, event, start, end)
            self.xid = self._xid(control, event, start)
            return structs.replace(step, statements=(control,))
        if control.verb == "XA END" and self.in_transaction:
            return Step(StepKind.NOTHING, header, event, start, end, False, (control,))
        if control.verb not in _XA_ENDS:
            raise UnsupportedStatement(f"{_shown(event)} at {self._file}:{start} does not belong there")
        inside, outside = _XA_ENDS[control.verb]
        kind = inside if self.in_transaction else outside
        self.xid = self._xid(control, event, start)
        return self._finish(kind, header, event, start, end, (control,))

    def _xid(self, control: TransactionControl, event: QueryEvent, start: int) -> Xid:
        try:
            return parse_xid(control.name or "")
        except ValueError as error:
            raise UnsupportedStatement(f"{_shown(event)} at {self._file}:{start}: {error}") from error

    def _refuse_unsafe(self, statement: Statement, event: QueryEvent, start: int) -> None:
        """Stop at what may have changed rows without row events."""
        if isinstance(statement, DataChange):
            if self._changes is not None and self._changes.are_harmless(statement, event):
                return
            raise UnsupportedStatement(
                f"{_shown(event)} at {self._file}:{start} changed rows and was logged as a statement, not as rows; "
                f"set binlog_format=ROW for every session of the source, then {NEW_CHANNEL}"
            )
        if isinstance(statement, Unknown) and not statement.tables:
            raise UnsupportedStatement(
                f"{_shown(event)} at {self._file}:{start} is not understood ({statement.reason}), so it may have "
                f"changed tracked tables"
            )


_XA_ENDS = {
    "XA COMMIT": (StepKind.COMMIT, StepKind.XA_COMMIT),
    "XA ROLLBACK": (StepKind.ROLLBACK, StepKind.XA_ROLLBACK),
}
"""What the verb is for the transaction that is open, and where none is: for one that was prepared before."""


def savepoint_name(step: Step) -> str:
    """The name of a SAVEPOINT or ROLLBACK_TO step, as servers compare them."""
    control = step.statements[0]
    assert isinstance(control, TransactionControl)
    return (control.name or "").lower()


def statement_text(event: QueryEvent) -> str:
    """The statement as text, by its client's character set."""
    from capture.charsets import decode_sql

    return decode_sql(event.sql, event.status.charset_client or 0)


def _shown(event: QueryEvent) -> str:
    text = " ".join(statement_text(event).split())
    short = text if len(text) <= STATEMENT_SHOWN_CHARACTERS else text[: STATEMENT_SHOWN_CHARACTERS - 1] + "…"
    return f"the statement {short!r}"


def _previous_gtids(event: PreviousGtidsEvent | MariadbGtidListEvent) -> GtidSet:
    gtid_set = GtidSet()
    if isinstance(event, PreviousGtidsEvent):
        for sid, tag, intervals in event.sets:
            for first, last in intervals:
                gtid_set.add(mysql_key(sid, tag), first, last)
    else:
        for domain, server_id, sequence in event.gtids:
            gtid_set.add(mariadb_key(domain, server_id), sequence)
    return gtid_set
