"""A source whose changes come by call: statements and rows are encoded as binlog events and read like a server's.

It is a MySQL or MariaDB server of a chosen version (`capture/binlog_form.py`) as far as its binlog goes: one file after
the other, a GTID for each transaction, BEGIN, TABLE_MAP and rows, XID. Tables are those its own statements made,
followed by the same schema history that reads them back.
Events are kept until they are in the log (`committed`), so that a channel may begin again.

Calls are made on the loop's thread; a call that raises leaves nothing behind.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from capture.binlog_form import binlog_form
from capture.ddl_refusals import no_table, refuse, refuse_keys, why_no_ddl
from capture.dialect import Dialect
from capture.encode import EventEncoder
from capture.errors import SchemaMismatch, SourceRefused, UnsupportedStatement
from capture.events import Checksum
from capture.kept_events import KeptEvent, KeptEvents
from capture.position import BINLOG_MAGIC_BYTES, BinlogPosition, file_name
from capture.rewrite import rewrite_header
from capture.row_journal import RowJournal
from capture.schema import SchemaHistory, Session
from capture.source import HEARTBEAT_PERIOD_MS, Flavour, ServerInfo, Source
from capture.statement_events import event_database, event_text
from capture.statements import (
    AlterDatabase,
    CreateDatabase,
    CreateTable,
    CreateTableLike,
    DropDatabase,
    Unknown,
)
from capture.table_names import read_table_name, shown_table_name
from capture.whole_rows import WholeRows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from capture.encode import Row
    from capture.statements import Statement
    from capture.table import TableVersion
    from storage.clock import Clock

    RowChange = tuple[str, str, Sequence[Any], int | None]

SERVER_VERSION = "8.0.36"
FILE_BASE = "embedded"
FILE_BYTES = 1 << 30
"""A file with more than this is followed by the next one, as max_binlog_size does."""

FILE_NUMBER_MAX = (1 << 31) - 1
"""MAX_LOG_UNIQUE_FN_EXT of sql/binlog.h (MySQL 8.0.36)."""

POSITION_MAX = (1 << 63) - 1
TIMESTAMP_S_MAX = (1 << 32) - 1

ROWS_PER_EVENT = 64
THREAD_ID = 8
_ENCODERS = {"insert": "write_rows", "update": "update_rows", "delete": "delete_rows"}


class EmbeddedSource:
    """A source without a server, for fixtures and tests.

    Times are Unix epoch seconds; the default is that of the transaction a call is in, else the clock's now.
    """

    paced_heartbeats = False
    queryable = False
    heartbeat_period_ms = HEARTBEAT_PERIOD_MS

    def __init__(self, clock: Clock, *, database: str = "", server_version: str = SERVER_VERSION) -> None:
        """`database` is the one that names without a database mean."""
        self.database = database
        self._clock = clock
        self._form = binlog_form(server_version)
        self._server_version = server_version
        self._server_uuid = str(uuid4())
        self._dialect = Dialect.of(server_version)
        self._history = SchemaHistory(
            self._dialect,
            lambda database, table: True,
            explicit_defaults_for_timestamp=self._dialect.explicit_defaults_for_timestamp,
        )
        self._table_ids: dict[tuple[str, str], tuple[int, TableVersion]] = {}
        self.rows = WholeRows(cuts_fractions=self._dialect.is_mariadb)
        self.journal = RowJournal()
        self._transactions = 0
        self._open: list[KeptEvent] | None = None
        self._open_time_s = 0
        self._events = KeptEvents()
        self._file_number = 0
        self._encoder = self._form.encoder(server_version)
        self._head = b""
        self._file_begins = BINLOG_MAGIC_BYTES
        self._begin_file(self.time_s(None))

    # ---- changes ----

    def statement(self, sql: str, database: str = "", *, timestamp_s: int | None = None) -> None:
        """A DDL statement; its tables are known to insert, update and delete from then on.

        A database that no statement made yet is created first, by a statement of its own, as on a server.
        Raises UnsupportedStatement for anything that is not DDL of tables or databases, or is not understood, and
        SourceRefused for what a server would refuse by what there is (`capture/ddl_refusals.py`).
        """
        if self._open is not None:
            raise UnsupportedStatement("a statement ends the transaction it is in; call it outside transaction()")
        database = database or self.database
        statements = self._statements(sql)
        with self._all_or_nothing():
            for needed in self._databases_needed(statements, database):
                create = f"CREATE DATABASE `{needed.replace('`', '``')}`"
                self._execute(create, self._statements(create), "", timestamp_s)
            self._execute(sql, statements, database, timestamp_s)

    def create_table(self, sql: str, *, timestamp_s: int | None = None) -> str:
        """One CREATE TABLE statement; the table as it names it. Raises as `statement`."""
        from capture.ddl import parse

        match parse(sql, self._form.sql_mode, self._dialect):
            case [CreateTable(table=table, temporary=False)]:
                self.statement(sql, timestamp_s=timestamp_s)
                return shown_table_name(table.database, table.table)
            case [Unknown(reason=reason)]:
                raise UnsupportedStatement(f"{sql[:80]!r} is not one CREATE TABLE statement: {reason}")
        raise UnsupportedStatement(f"{sql[:80]!r} is not one CREATE TABLE statement with the columns in it")

    def _statements(self, sql: str) -> list[Statement]:
        from capture.ddl import parse

        _require_utf8(sql)
        statements = parse(sql, self._form.sql_mode, self._dialect)
        why = why_no_ddl(sql, statements)
        if why is not None:
            raise UnsupportedStatement(why)
        return statements

    def _databases_needed(self, statements: Sequence[Statement], default: str) -> list[str]:
        """Databases that a statement about tables takes for granted and that are not there."""
        needed = []
        for statement in statements:
            if isinstance(statement, CreateDatabase | DropDatabase | AlterDatabase):
                continue
            created = statement.table.database if isinstance(statement, CreateTable | CreateTableLike) else None
            needed += [default, created or ""]
        return [name for name in dict.fromkeys(needed) if name and not self._history.knows_database(name)]

    def _execute(self, sql: str, statements: Sequence[Statement], database: str, timestamp_s: int | None) -> None:
        time_s = self.time_s(timestamp_s)
        with self._group(time_s, standalone=True):
            text = event_text(sql, statements, database, self._history)
            self._add(self._query(time_s, text, event_database(statements, database)))
            status = self._form.status
            session = Session(database or None, self._form.sql_mode, status.collation_server, flags2=status.flags2)
            position = (self._file_number, self._encoder.position)
            for statement in statements:
                refuse(self._history, statement, database)
                for change in self._history.apply([statement], session, position, sql):
                    if change.unresolved is not None:
                        raise UnsupportedStatement(change.unresolved)
                    if change.new is not None:
                        refuse_keys(change.new)
            self._history.take_rows("")
            self.rows.follow(statements, database)
            self.journal.statements(statements, sql, database)

    @contextmanager
    def _all_or_nothing(self) -> Iterator[None]:
        """Several transactions, and what they say of tables, or none."""
        parts = self._history, self.rows, self.journal, self._events
        restores, transactions = [part.checkpoint() for part in parts], self._transactions
        place = self._file_number, self._file_begins, self._head, self._encoder.position
        try:
            yield
        except BaseException:
            self._transactions = transactions
            self._file_number, self._file_begins, self._head, self._encoder.position = place
            for restore in restores:
                restore()
            raise

    def insert(self, table: str, *rows: Row, timestamp_s: int | None = None) -> None:
        """Rows by column name; columns left out have their default (`capture/whole_rows.py`). Outside `transaction()`
        it is a transaction of its own.
        """
        self._change("insert", table, rows, timestamp_s)

    def update(self, table: str, *pairs: tuple[Row, Row], timestamp_s: int | None = None) -> None:
        """Pairs of (before, after); columns left out of `after` stay what they were."""
        self._change("update", table, pairs, timestamp_s)

    def delete(self, table: str, *rows: Row, timestamp_s: int | None = None) -> None:
        """Rows as they were."""
        self._change("delete", table, rows, timestamp_s)

    def heartbeat(self, *, timestamp_s: int | None = None) -> None:
        """One HEARTBEAT record."""
        self._refuse_inside("a heartbeat")
        time_s = self.time_s(timestamp_s)
        raw = self._encoder.heartbeat(self._file)
        self._events.keep([KeptEvent(self.position, rewrite_header(raw, has_checksum=True, timestamp=time_s))])

    @contextmanager
    def transaction(self, *, timestamp_s: int | None = None, committed_s: int | None = None) -> Iterator[None]:
        """Everything called inside is one transaction, by default committed at its own time; an exception inside drops
        it.
        """
        if self._open is not None:
            raise UnsupportedStatement("transactions cannot be nested; call transaction() once")
        time_s = self.time_s(timestamp_s)
        with self._group(time_s):
            if self._form.gtid_parts is not None:
                self._add(self._query(time_s, "BEGIN", self.database))
            yield
            self._add(
                self._encoder.xid(time_s if committed_s is None else self.time_s(committed_s), self._transactions)
            )

    def change_rows(
        self, changes: Sequence[RowChange], *, timestamp_s: int | None = None, committed_s: int | None = None
    ) -> None:
        """Statements as one transaction: insert, update or delete, the table, its rows (of an update pairs), the time.

        Without any there is no transaction, as on a server.
        """
        if changes:
            with self.transaction(timestamp_s=timestamp_s, committed_s=committed_s):
                for change in changes:
                    self._change(*change)

    def at(self, file_number: int, position: int) -> None:
        """Go on at this place of the binlog, which lies ahead: the next event begins there."""
        self._refuse_inside("a new place")
        place = BinlogPosition(file_name(FILE_BASE, file_number), position)
        if not (1 <= file_number <= FILE_NUMBER_MAX and BINLOG_MAGIC_BYTES <= position <= POSITION_MAX):
            raise SourceRefused(
                f"{position}@{file_number} is no place in a binlog; its files have the numbers 1 to {FILE_NUMBER_MAX}, "
                f"and events begin at {BINLOG_MAGIC_BYTES} or behind"
            )
        if place.order < self.position.order:
            raise SourceRefused(
                f"{position}@{file_number} lies before {self._encoder.position}@{self._file_number}, where the channel "
                f"is; a binlog goes only ahead, so take a place behind that, or a new channel"
            )
        self._file_number = file_number
        rotate = self._encoder.artificial_rotate(self._file, position)
        head = rewrite_header(self._head, has_checksum=True, end_position=0)
        self._file_begins = position
        self._events.keep([KeptEvent(place, rotate), KeptEvent(place, head)])

    def rotate(self, *, timestamp_s: int | None = None) -> None:
        """End the file and begin the next, as FLUSH BINARY LOGS does."""
        self._refuse_inside("a new file")
        self._next_file(self.time_s(timestamp_s))

    def table(self, name: str) -> TableVersion:
        """The definition of a table named `table` or `database.table`. Raises SchemaMismatch."""
        key = self.table_name(name)
        if not self._history.exists(*key):
            raise SchemaMismatch(no_table(*key))
        return self._history.table(*key)

    @property
    def history(self) -> SchemaHistory:
        """The definitions of all its tables, now."""
        return self._history

    def table_name(self, name: str) -> tuple[str, str]:
        """Database and table that `table` or `database.table` names; a name with a dot in it is quoted as in SQL."""
        return read_table_name(name, self.database)

    def _refuse_inside(self, what: str) -> None:
        if self._open is not None:
            raise UnsupportedStatement(f"{what} stands between transactions; call it outside transaction()")

    def _change(self, kind: str, name: str, rows: Sequence[Any], timestamp_s: int | None) -> None:
        if not rows:
            return
        if self._open is None:
            with self.transaction(timestamp_s=timestamp_s):
                self._change(kind, name, rows, timestamp_s)
            return
        time_s = self._open_time_s if timestamp_s is None else self.time_s(timestamp_s)
        table_id, table = self._table(name)
        whole = self.rows.of(kind, table, rows, time_s)
        encode: Callable[..., bytes] = getattr(self._encoder, _ENCODERS[kind])
        before = len(self._open)
        self._add(self._encoder.table_map(time_s, table, table_id))
        for start in range(0, len(whole), ROWS_PER_EVENT):
            piece = whole[start : start + ROWS_PER_EVENT]
            ends = start + ROWS_PER_EVENT >= len(whole)
            self._add(encode(time_s, table, table_id, piece, ends_statement=ends))
        size_bytes = sum(len(event.raw) for event in self._open[before:])
        self.journal.rows(kind, (table.database, table.table), whole, size_bytes)

    def _table(self, name: str) -> tuple[int, TableVersion]:
        """Id and definition of a table named `table` or `database.table`; the id changes with the definition."""
        key = self.table_name(name)
        version = self.table(name)
        known = self._table_ids.get(key)
        if known is None or known[1] is not version:
            known = self._table_ids[key] = (len(self._table_ids) + 100 + self._transactions, version)
        return known

    def _query(self, time_s: int, sql: str, database: str) -> bytes:
        return self._encoder.query(time_s, sql, database=database, thread_id=THREAD_ID, status=self._form.status)

    def _gtid(self, time_s: int, *, standalone: bool) -> bytes:
        if self._form.gtid_parts is None:
            return self._encoder.mariadb_gtid(time_s, 0, self._transactions, standalone=standalone)
        return self._encoder.gtid(time_s, self._server_uuid, self._transactions)

    @contextmanager
    def _group(self, time_s: int, *, standalone: bool = False) -> Iterator[None]:
        """Keep what is added as one GTID's events, all or nothing."""
        start, restores = self._encoder.position, (self.rows.checkpoint(), self.journal.checkpoint())
        self._open, self._open_time_s = [], time_s
        self._transactions += 1
        try:
            self._add(self._gtid(time_s, standalone=standalone))
            yield
        except BaseException:
            self._encoder.position = start
            for restore in restores:
                restore()
            self._transactions -= 1
            raise
        else:
            self._events.keep(self._open)
        finally:
            self._open = None
        if self._encoder.position - self._file_begins > FILE_BYTES and self._file_number < FILE_NUMBER_MAX:
            self._next_file(time_s)

    def _add(self, raw: bytes) -> None:
        assert self._open is not None
        self._open.append(KeptEvent(self.position, raw))

    def _next_file(self, time_s: int) -> None:
        """Leave the file by a ROTATE, which is its last event."""
        if self._file_number >= FILE_NUMBER_MAX:
            raise SourceRefused(f"{self._file} is the last file a binlog can have; take a new channel")
        following = BinlogPosition(file_name(FILE_BASE, self._file_number + 1), BINLOG_MAGIC_BYTES)
        self._events.keep([KeptEvent(following, self._encoder.rotate(time_s, following.file))])
        self._begin_file(time_s)

    def _begin_file(self, time_s: int) -> None:
        self._file_number += 1
        self._file_begins = BINLOG_MAGIC_BYTES
        self._head = self._encoder.format_description(time_s)
        self._events.keep([KeptEvent(self.position, self._head)])

    def time_s(self, timestamp_s: int | None) -> int:
        """The time that a change gets, by default now. Raises SourceRefused for one that no event can have."""
        if timestamp_s is None:
            return self._clock.now_ms() // 1000
        if not 1 <= timestamp_s <= TIMESTAMP_S_MAX:
            raise SourceRefused(
                f"the time {timestamp_s} is none that a binlog can hold; take Unix seconds from 1 to {TIMESTAMP_S_MAX}"
            )
        return timestamp_s

    @property
    def _file(self) -> str:
        return file_name(FILE_BASE, self._file_number)

    @property
    def position(self) -> BinlogPosition:
        """The end of everything called so far: what `Channel.wait_visible` waits for."""
        return BinlogPosition(self._file, self._encoder.position)

    # ---- as a source ----

    @property
    def address(self) -> str:
        return f"embedded:{self._server_uuid}"

    def hosts(self) -> list[Source]:
        return [self]

    def sibling(self) -> EmbeddedSource:
        raise SourceRefused("an embedded source has no second reader")

    async def connect(self) -> ServerInfo:
        return ServerInfo(
            version=self._server_version,
            flavour=Flavour.MARIADB if self._dialect.is_mariadb else Flavour.MYSQL,
            server_id=self._encoder.server_id,
            server_uuid=None if self._dialect.is_mariadb else self._server_uuid,
            lower_case_table_names=0,
            beginning=BinlogPosition(file_name(FILE_BASE, 1), BINLOG_MAGIC_BYTES),
        )

    async def query(self, sql: str) -> list[tuple[str | None, ...]]:
        raise SourceRefused("an embedded source answers no queries")

    async def start(self, position: BinlogPosition) -> None:
        announcement = [EventEncoder(checksum=Checksum.NONE).artificial_rotate(position.file, position.position)]
        if position.position > BINLOG_MAGIC_BYTES:
            announcement.append(rewrite_header(self._head, has_checksum=True, end_position=0))
        self._events.open(position, announcement)

    async def read(self) -> list[bytes]:
        return await self._events.read()

    def pending(self) -> bool:
        return self._events.pending()

    def committed(self, position: BinlogPosition) -> None:
        self._events.let_go(position)

    async def close(self) -> None:
        self._events.close()


def _require_utf8(sql: str) -> None:
    try:
        sql.encode()
    except UnicodeEncodeError as error:
        character = sql[error.start]
        raise UnsupportedStatement(
            f"a statement is UTF-8, which has no {character!r} (character {error.start + 1})"
        ) from None
