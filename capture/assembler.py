"""Steps of the binlog to records and transaction boundaries: what a channel writes, before it is written.

Sans-IO: no log, no loop. `Assembler.take` carries out one step; what it made waits in `pending` until the channel has
written it. Invariant: the first `pending.complete` values belong to transactions that have ended, `pending.positions`
names the ends of exactly those, and the rest is the transaction that is open.

Rows of an XA transaction make no records before it is committed: `held` collects them, the session keeps them and gives
them back by `begin_held` and `take_held`.

Positions in records, as the service's captures have them: a row's sourcePosition is the end of its rows event, its
safeSourcePosition the start of its statement's first TABLE_MAP; BEGIN, COMMIT and DDL have both at the end of their
event. What was prepared stands where XA COMMIT stands: the rows' safeSourcePosition is that event's start. Every
transaction gives BEGIN and COMMIT, also when nothing in it is tracked; DDL is that of the whole instance.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from msgspec import Struct

from capture.envelope import ControlRecords, RecordHead
from capture.errors import ReadAgain, UnsupportedStatement
from capture.events import QueryEvent, RowsEvent, TableMapEvent
from capture.ghost import concerns_ghosts
from capture.position import GtidSet
from capture.prepared import ROWS, TABLE, HeldEvent, HeldReader, HeldRows, SelectionChanged, read_untracked
from capture.record_limit import check_rows, check_statement
from capture.schema import Session
from capture.statements import TABLE_STATEMENTS, Unknown
from capture.table import TableVersion
from capture.task import DDL, DML
from capture.transactions import BinlogWalker, Step, StepKind, savepoint_name, statement_text
from capture.transcoder import Transcoder
from storage.log import GtidInterval, SourcePosition

if TYPE_CHECKING:
    from collections.abc import Sequence

    from capture.query_event import QueryStatus
    from capture.schema import SchemaHistory
    from capture.selection import Selection
    from capture.statements import Statement
    from storage.prepared_file import Frame


# Members of an Enum are looked up anew at each use, which counts where it is done for each event.
_FILE, _ROWS = StepKind.FILE, StepKind.ROWS


class Pending(Struct):
    """What was made and not yet written. Timestamps are the records' Kafka timestamps."""

    values: list[bytes] = []
    timestamps_ms: list[int] = []
    size_bytes: int = 0
    complete: int = 0
    positions: list[SourcePosition] = []


class _Target(NamedTuple):
    """A table id's meaning: the table map it came with, and how to make records of its rows, None if untracked."""

    table_map: TableMapEvent
    transcoder: Transcoder | None


class _GivenBack(NamedTuple):
    """Rows that were held and are carried over now: at `head`, None for their own places; transcoders by table id."""

    reader: HeldReader
    head: RecordHead | None
    transcoders: dict[int, Transcoder | None]


HELD_TRANSCODERS_MAX = 1000
"""Transcoders kept for rows that come back; beyond, all are made again."""


TakenBack = dict[tuple[int, int], list[range]]
"""Rows events of large transactions that were rolled back to a savepoint: by the transaction's boundary, their numbers
in it. Outlives the session that found them."""


class Assembler:
    """Makes the records of one stream. Ids are the offsets the records will have, plus `id_base`."""

    def __init__(
        self,
        walker: BinlogWalker,
        history: SchemaHistory,
        selection: Selection,
        *,
        source_version: str,
        data_types: frozenset[str],
        next_offset: int,
        record_bytes_max: int,
        partial_images: bool,
        id_base: int,
        gtid_set: GtidSet,
        lower_case_table_names: int,
        hides_ghosts: bool = False,
        taken_back: TakenBack | None = None,
    ) -> None:
        self.pending = Pending()
        self.next_offset = next_offset
        self.gtid_set = gtid_set
        """Every transaction up to the last boundary that was read."""
        self.read_ms = 0
        """Our clock when the events at hand arrived."""
        self._transactions = 0
        self.written_was_dropped = False
        """A transaction was rolled back of which the log has a part: it must drop that, then call `realign`."""
        self.held: HeldRows | None = None
        """The XA transaction that is open."""
        self._given_back = _GivenBack(HeldReader(), None, {})
        self._transcoders_of_held: dict[bytes, Transcoder] = {}
        self._walker = walker
        self._history = history
        self._selection = selection
        self._control = ControlRecords(source_version)
        self._source_version = source_version
        self._data_types = data_types
        self._record_bytes_max = record_bytes_max
        self._partial_images = partial_images
        self._id_base = id_base
        self._names_are_folded = lower_case_table_names != 0
        self._hides_ghosts = hides_ghosts
        self._targets: dict[int, _Target] = {}
        self._statement_start: int | None = None
        self._thread_id: int | None = None
        self._written_of_open = 0
        self._savepoints: dict[str, tuple[int, int]] = {}
        """Records and rows events of the open transaction at each."""
        self._rows_events = 0
        """Of the open transaction."""
        self._taken_back: TakenBack = {} if taken_back is None else taken_back

    # ---- what the channel takes away ----

    def written(self, count: int) -> None:
        """The first `count` pending values were appended to the log."""
        pending = self.pending
        self._written_of_open += max(0, count - pending.complete)
        del pending.values[:count], pending.timestamps_ms[:count]
        pending.complete = max(0, pending.complete - count)
        pending.size_bytes = sum(map(len, pending.values))

    def committed(self) -> int:
        """The positions at hand were committed; how many of them ended a transaction."""
        self.pending.positions.clear()
        count, self._transactions = self._transactions, 0
        return count

    def realign(self, next_offset: int) -> None:
        """The log dropped what it had of the open transaction; the next record gets this offset."""
        self.written_was_dropped = False
        self.next_offset = next_offset

    # ---- steps ----

    def take(self, step: Step) -> None:
        """Carry out a step. Raises SchemaMismatch before anything has changed, so that the step can be taken again."""
        _ACTIONS[step.kind](self, step)

    def heartbeat(self, timestamp_s: int) -> None:
        """A HEARTBEAT between two transactions; its position is the last boundary."""
        position = self._walker.position
        text = f"{position.position}@{position.number}"
        record = self._control.heartbeat(
            self._next_id(), timestamp=timestamp_s, source_position=text, read_ms=self.read_ms
        )
        self._add(record, timestamp_s)
        self._complete(SourcePosition(position.number, position.position, None))

    @property
    def next_id(self) -> int:
        """The id of the next record."""
        return self.next_offset + self._id_base

    def take_ready(self, records: Sequence[bytes], timestamps_ms: Sequence[int], next_id: int) -> None:
        """Records that are made already, between two transactions; what comes later has ids from `next_id` on."""
        self.pending.values += records
        self.pending.timestamps_ms += timestamps_ms
        self.pending.size_bytes += sum(map(len, records))
        self.next_offset += len(records)
        self._id_base = next_id - self.next_offset
        position = self._walker.position
        self._complete(SourcePosition(position.number, position.position, None))

    def _nothing(self, step: Step) -> None:
        if step.kind is _FILE:
            self._targets.clear()
        previous = self._walker.previous_gtids
        if previous is not None and not self.gtid_set:
            self.gtid_set = previous.copy()

    def _begin(self, step: Step) -> None:
        self._savepoints.clear()
        self._rows_events = 0
        xid = self._walker.xid
        if xid is not None:
            self.held = HeldRows(xid, step)
            self._statement_start = None
            return
        self._begin_record(step)

    def _begin_record(self, step: Step) -> None:
        event = step.event
        status: QueryStatus | None = None
        self._thread_id = None
        if isinstance(event, QueryEvent):
            self._thread_id, status = event.thread_id, event.status
        self._statement_start = None
        record = self._control.begin(self._next_id(), self._head(step), gtid=self._gtid_text(), status=status)
        self._add(record, step.header.timestamp)

    def _table_map(self, step: Step) -> None:
        event = step.event
        assert isinstance(event, TableMapEvent)
        known = self._targets.get(event.table_id)
        if known is None or known.table_map is not event:
            known = self._targets[event.table_id] = _Target(event, self._transcoder(event))
        if self.held is not None:
            version = None if known.transcoder is None else known.transcoder.table
            self.held.table_map(step, self._raw(step), self._walker.table_id_bytes, version)
            return
        if self._statement_start is None:
            self._statement_start = step.start

    def _transcoder(self, event: TableMapEvent) -> Transcoder | None:
        if DML not in self._data_types or not self._selection(event.database, event.table):
            return None
        return Transcoder(self._history.check(event), event, self._source_version, partial_images=self._partial_images)

    def _rows(self, step: Step) -> None:
        event = step.event
        assert isinstance(event, RowsEvent)
        target = self._targets.get(event.table_id)
        if self.held is not None and target is not None:
            self.held.rows(step, self._raw(step), self._walker.table_id_bytes)
            return
        self._rows_events += 1
        if self._taken_back and self._is_taken_back():
            pass
        elif target is not None and target.transcoder is not None:
            self._add_rows(target.transcoder, event, self._head(step))
        elif target is None and not event.is_dummy:
            raise UnsupportedStatement(f"rows of table id {event.table_id}, which no table map announced")
        if event.ends_statement:
            self._statement_start = None

    def _raw(self, step: Step) -> bytes:
        return self._walker.without_checksum(step)

    def _add_rows(self, transcoder: Transcoder, event: RowsEvent, head: RecordHead) -> None:
        records = transcoder.transcode(event, head, self._next_id())
        size_bytes = sum(map(len, records))
        if size_bytes > self._record_bytes_max:
            check_rows(records, transcoder.table, self._record_bytes_max)
        pending = self.pending
        pending.values += records
        pending.timestamps_ms += [head.timestamp * 1000] * len(records)
        pending.size_bytes += size_bytes
        self.next_offset += len(records)

    # ---- XA transactions ----

    def begin_held(self, begin: Step, commit: Step | None) -> None:
        """Rows that were held follow: BEGIN. With `commit` they all stand where that does, else in their own places."""
        self._begin_record(begin)
        head = None
        if commit is not None:
            head = self._head(commit)._replace(safe_source_position=f"{commit.start}@{self._walker.number}")
        self._given_back = _GivenBack(HeldReader(), head, {})

    def take_held(self, frame: Frame) -> None:
        """Take back a frame of `held`. Raises SelectionChanged where rows were left out that are wanted by now."""
        reader, head, targets = self._given_back
        if frame.kind == TABLE:
            table = reader.table(frame)
            transcoder = None
            if DML in self._data_types and self._selection(table.event.database, table.event.table):
                transcoder = self._transcoders_of_held.get(table.key)
                if transcoder is None:
                    version = TableVersion.from_json(table.definition)
                    transcoder = Transcoder(
                        version, table.event, self._source_version, partial_images=self._partial_images
                    )
                    if len(self._transcoders_of_held) >= HELD_TRANSCODERS_MAX:
                        self._transcoders_of_held.clear()
                    self._transcoders_of_held[table.key] = transcoder
            targets[table.event.table_id] = transcoder
        elif frame.kind == ROWS:
            rows = reader.rows(frame)
            transcoder = targets[rows.event.table_id]
            if transcoder is not None:
                self._add_rows(transcoder, rows.event, head or self._own_head(rows))
        else:
            database, name = read_untracked(frame)
            if DML in self._data_types and self._selection(database, name):
                raise SelectionChanged(f"{database}.{name} was not tracked when the transaction was prepared")

    def _own_head(self, rows: HeldEvent) -> RecordHead:
        number, header = self._walker.number, rows.header
        position, safe = f"{rows.end}@{number}", f"{rows.statement_start}@{number}"
        return RecordHead(header.timestamp, position, safe, self._thread_id, header.server_id, self.read_ms)

    def _prepare(self, step: Step) -> None:
        """XA PREPARE: the transaction's position counts, its rows do not yet."""
        self.held = None
        self._note_gtid()
        self._end_transaction(step)

    def _savepoint(self, step: Step) -> None:
        name = savepoint_name(step)
        if self.held is not None:
            self.held.savepoint(name)
        else:
            self._savepoints[name] = (self._made_of_open(), self._rows_events)

    def _rollback_to(self, step: Step) -> None:
        """Take back the records since a savepoint; the server leaves them in the log where it cannot cut them out.

        Those that the log has already are left out when the transaction is read again.
        """
        name = savepoint_name(step)
        is_known = self.held.rollback_to(name) if self.held is not None else name in self._savepoints
        if not is_known:
            raise UnsupportedStatement(f"ROLLBACK TO {name} at {self._walker.file}:{step.start} names no savepoint")
        if self.held is not None:
            return
        keep, events = self._savepoints[name]
        surplus = self._made_of_open() - keep
        if surplus > len(self.pending.values) - self.pending.complete:
            place = self._walker.position.order
            self._taken_back.setdefault(place, []).append(range(events, self._rows_events))
            raise ReadAgain(f"ROLLBACK TO {name} takes back rows that were already written")
        self._drop(surplus)

    def _is_taken_back(self) -> bool:
        """Whether the rows event at hand was read before, and rolled back to a savepoint behind it."""
        events = self._taken_back.get(self._walker.position.order, ())
        return any(self._rows_events - 1 in span for span in events)

    def _statement(self, step: Step) -> None:
        event = step.event
        assert isinstance(event, QueryEvent)
        undecided = self._history.undecided_charset(step.statements, event.database)
        if undecided is not None:
            raise UnsupportedStatement(
                f"{undecided}: begin with the file that has its CREATE DATABASE, or name it in schema_file"
            )
        text = statement_text(event)
        session = Session.of(event)
        position = (self._walker.number, step.end)
        for change in self._history.apply(step.statements, session, position, text):
            self._forget(change.database, change.table)
        if step.ends_transaction:
            self._note_gtid()
        if DDL in self._data_types and any(_is_ddl(statement) for statement in step.statements):
            self._ddl(step, event, text)
        if step.ends_transaction:
            self._end_transaction(step)

    def _ddl(self, step: Step, event: QueryEvent, text: str) -> None:
        if self._hides_ghosts and concerns_ghosts(step.statements):
            return
        self._thread_id = event.thread_id
        gtid = self._walker.gtid
        record = self._control.ddl(
            self._next_id(),
            self._head(step),
            database=_target_database(step.statements, event.database),
            sql=text,
            gtid=None if gtid is None else gtid.text,
            gtid_set=None if gtid is None else str(self.gtid_set),
            status=event.status,
            commit_timestamp=None,
            lower_case_table_names=self._names_are_folded,
        )
        check_statement(record, text, self._record_bytes_max)
        self._add(record, step.header.timestamp)

    def _forget(self, database: str, table: str) -> None:
        """A table's definition changed: its rows come under a new table id, or at least after a new table map."""
        for table_id in [
            table_id
            for table_id, target in self._targets.items()
            if target.transcoder is not None
            and (target.table_map.database.lower(), target.table_map.table.lower()) == (database.lower(), table.lower())
        ]:
            del self._targets[table_id]

    def _commit(self, step: Step) -> None:
        self.held = None
        record = self._control.commit(self._next_id(), self._head(step), gtid=self._gtid_text())
        self._add(record, step.header.timestamp)
        self._note_gtid()
        self._end_transaction(step)

    def _rollback(self, step: Step) -> None:
        """A transaction that changed nothing in the end: its records go, its position counts."""
        self.held = None
        self.written_was_dropped = self._written_of_open > 0
        self._drop(len(self.pending.values) - self.pending.complete)
        self._note_gtid()
        self._end_transaction(step)

    def _heartbeat(self, step: Step) -> None:
        """Says only that the source lives; the channel paces the records."""

    # ---- records ----

    def _next_id(self) -> int:
        return self.next_offset + self._id_base

    def _head(self, step: Step) -> RecordHead:
        number = self._walker.number
        header, end = step.header, step.end
        position = safe = f"{end}@{number}"
        if self._statement_start is not None and step.kind is _ROWS:
            safe = f"{self._statement_start}@{number}"
        return RecordHead(
            header.timestamp,
            position,
            safe,
            self._thread_id,
            header.server_id,
            self.read_ms,
        )

    def _gtid_text(self) -> str | None:
        gtid = self._walker.gtid
        return None if gtid is None else gtid.text

    def _add(self, record: bytes, timestamp_s: int) -> None:
        pending = self.pending
        pending.values.append(record)
        pending.timestamps_ms.append(timestamp_s * 1000)
        pending.size_bytes += len(record)
        self.next_offset += 1

    def _drop(self, count: int) -> None:
        if count:
            del self.pending.values[-count:], self.pending.timestamps_ms[-count:]
            self.pending.size_bytes = sum(map(len, self.pending.values))
            self.next_offset -= count

    def _made_of_open(self) -> int:
        """Records of the open transaction, written ones included."""
        return self._written_of_open + len(self.pending.values) - self.pending.complete

    # ---- boundaries ----

    def _note_gtid(self) -> None:
        gtid = self._walker.gtid
        if gtid is not None:
            self.gtid_set.add(gtid.key, gtid.number)

    def _end_transaction(self, step: Step) -> None:
        gtid = self._walker.gtid
        interval = None if gtid is None else GtidInterval(gtid.key, gtid.number, gtid.number)
        self._statement_start = None
        if self._taken_back:
            self._forget_taken_back()
        self._transactions += 1
        self._complete(SourcePosition(self._walker.number, step.end, interval))

    def _forget_taken_back(self) -> None:
        for place in [place for place in self._taken_back if place < self._walker.position.order]:
            del self._taken_back[place]

    def _complete(self, position: SourcePosition) -> None:
        self.pending.positions.append(position)
        self.pending.complete = len(self.pending.values)
        self._written_of_open = 0


def _is_ddl(statement: Statement) -> bool:
    """Whether a statement is given as DDL: tables and databases, also where it was not understood."""
    if isinstance(statement, Unknown):
        return True
    return isinstance(statement, TABLE_STATEMENTS) and not getattr(statement, "temporary", False)


def _target_database(statements: Sequence[Statement], default: str) -> str:
    """The database a DDL record names: the one the statement names, else the session's."""
    for statement in statements:
        name = getattr(statement, "database", None)
        table = getattr(statement, "table", None) or next(iter(getattr(statement, "tables", ())), None)
        if table is None and (renames := getattr(statement, "renames", ())):
            table = renames[0][0]
        found = name or getattr(table, "database", None)
        if isinstance(found, str) and found:
            return found
    return default


_ACTIONS = {
    StepKind.NOTHING: Assembler._nothing,
    StepKind.FILE: Assembler._nothing,
    StepKind.BEGIN: Assembler._begin,
    StepKind.TABLE_MAP: Assembler._table_map,
    StepKind.ROWS: Assembler._rows,
    StepKind.SAVEPOINT: Assembler._savepoint,
    StepKind.ROLLBACK_TO: Assembler._rollback_to,
    StepKind.STATEMENT: Assembler._statement,
    StepKind.COMMIT: Assembler._commit,
    StepKind.ROLLBACK: Assembler._rollback,
    StepKind.PREPARE: Assembler._prepare,
    StepKind.XA_COMMIT: Assembler._commit,
    StepKind.XA_ROLLBACK: Assembler._rollback,
    StepKind.HEARTBEAT: Assembler._heartbeat,
}
