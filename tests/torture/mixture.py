"""A load of everything at once against a real server, from one seed, and what a channel must say of it.

Sessions take turns in one thread, so that the order of commits is known. Each statement's rows are asked of the server
by SELECT in the session that changed them, before and after; `expected` collects them, transaction by transaction, as
they are committed. Beside rows of drawn tables with every type: savepoints, rollbacks, huge transactions, XA
transactions that stay open while all else goes on, schema changes and swaps, session and global settings that change
how the same rows are logged, new binlog files, statements about a database that nobody tracks.

`changes` are the schema changes with what they do to rows that are there, for whoever rebuilds tables from records.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pymysql

from tests.capture import generated

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from random import Random
    from types import EllipsisType

    from tests.capture.generated_columns import Cell, Column
    from tests.live_server import LiveServer

TRACKED, SOMETIMES, UNTRACKED = "d", "w", "u"
"""Databases: captured, captured at times, never."""

Image = dict[str, "Cell | EllipsisType"]
"""Cells by column; Ellipsis for one that is not there."""

_HUGE_ROWS = (2_000, 12_000)
_SESSIONS = 3
_OPEN_XA_MAX = 4
_XA_IS_NOT_KNOWN = 1397
_SESSION_START = (
    "SET SESSION time_zone = '+00:00', sql_mode = 'ALLOW_INVALID_DATES'",
    "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
    "SET SESSION innodb_lock_wait_timeout = 5",
)


@dataclass(frozen=True, slots=True)
class Change:
    """One row's change as SELECT saw it. `whole`: the binlog has every column of it."""

    operation: str
    table: str
    before: Image | None
    after: Image | None
    whole: bool


@dataclass(slots=True)
class Expected:
    """A transaction with the rows of tracked tables, or a schema change, known by its marker."""

    rows: list[Change] = field(default_factory=list)
    marker: str = ""


@dataclass(slots=True)
class Table:
    """A table as it is now: `keys` are those of committed rows that nobody has changed and not committed."""

    database: str
    name: str
    columns: dict[str, Column]
    keys: set[int] = field(default_factory=set)
    waiting: int = 0
    """Open transactions that hold its definition."""

    @property
    def full_name(self) -> str:
        return f"{self.database}.{self.name}"

    def shape(self) -> generated.Table:
        return generated.Table(tuple(self.columns.values()), "InnoDB")

    def selected(self, keys: Sequence[int]) -> str:
        shown = "".join(f", {one.select.replace('{}', name)}" for name, one in self.columns.items())
        return f"SELECT id{shown} FROM {self.full_name} WHERE id IN ({', '.join(map(str, keys))}) ORDER BY id"

    def image(self, row: tuple[Any, ...]) -> Image:
        return dict(zip(("id", *self.columns), self.shape().cells(row), strict=True))


class Session:
    """One connection and its open transaction."""

    def __init__(self, server: LiveServer) -> None:
        self.connection = server.connect()
        self.rows: list[Change] = []
        self.touched: list[tuple[Table, int, bool]] = []
        """(table, key, whether it is there) of the open transaction, in order."""
        self.tables: list[Table] = []
        self.whole = True
        for statement in _SESSION_START:
            self.run(statement)

    def run(self, sql: str) -> int:
        with self.connection.cursor() as cursor:
            count: int = cursor.execute(sql)
            return count

    def select(self, table: Table, *keys: int) -> dict[int, Image]:
        with self.connection.cursor() as cursor:
            cursor.execute(table.selected(keys))
            return {row[0]: table.image(row) for row in cursor.fetchall()}

    def holds(self, table: Table) -> None:
        if all(table is not one for one in self.tables):
            self.tables.append(table)
            table.waiting += 1

    def close(self) -> None:
        self.connection.close()


@dataclass(slots=True)
class PreparedXa:
    """What an XA transaction will have done once it is committed."""

    rows: list[Change]
    touched: list[tuple[Table, int, bool]]
    tables: list[Table]


class Mixture:
    """The load. `step` does one thing; `move` goes on at another server that has all of it."""

    def __init__(self, server: LiveServer, random: Random) -> None:
        self._server = server
        self._random = random
        self._key = 0
        self._number = 0
        self._tables: list[Table] = []
        self._xa: dict[str, PreparedXa] = {}
        self.expected: list[Expected] = []
        self.changes: dict[str, Callable[[dict[str, dict[int, Image]]], None]] = {}
        self.captures_sometimes = False
        """Whether the database SOMETIMES is captured now."""
        server.execute_all(*(f"CREATE DATABASE {name}" for name in (TRACKED, SOMETIMES, UNTRACKED)))
        server.execute(f"CREATE TABLE {UNTRACKED}.t (id INT PRIMARY KEY AUTO_INCREMENT, v VARCHAR(50))")
        server.execute(f"CREATE TABLE {TRACKED}.marks (v VARCHAR(50) PRIMARY KEY)")
        self._sessions = [Session(server) for _ in range(_SESSIONS)]
        for database in (TRACKED, TRACKED, TRACKED, TRACKED, SOMETIMES, SOMETIMES):
            self._create(database)
        self._keeps_detached_xa = server.kind != "mysql56"
        self._is_mysql97 = server.kind == "mysql97"
        kinds: list[tuple[Callable[[], None], int]] = [
            (self._transaction, 40),
            (self._alone, 20),
            (self._prepare, 5),
            (self._end_prepared, 5),
            (self._schema_change, 5),
            (self._settings, 10),
            (self._foreign, 8),
            (self._rotate, 1),
            (self._huge, 1),
        ]
        self._kinds = [kind for kind, _ in kinds]
        self._weights = [weight for _, weight in kinds]

    def step(self) -> None:
        (kind,) = self._random.choices(self._kinds, self._weights)
        kind()

    def mark(self, text: str) -> None:
        """A row in a table of its own, which is not among the expected."""
        self._server.execute(f"INSERT INTO {TRACKED}.marks VALUES ('{text}')")

    def leave(self) -> None:
        """Close every session; prepared transactions stay."""
        for session in self._sessions:
            session.close()

    def move(self, server: LiveServer) -> None:
        """Go on at this server, which has all there is (it may be the same, started again)."""
        self._server = server
        self._sessions = [Session(server) for _ in range(_SESSIONS)]

    def finish(self) -> None:
        """End what is prepared, then close."""
        while self._xa:
            self._end_prepared()
        self.leave()

    def states(self) -> dict[str, dict[int, Image]]:
        """Every row of the tracked tables as SELECT shows it."""
        with contextlib.closing(Session(self._server)) as session:
            return {
                table.full_name: session.select(table, *table.keys) if table.keys else {}
                for table in self._tables
                if table.database == TRACKED
            }

    # ---- rows ----

    def _transaction(self) -> None:
        session = self._random.choice(self._sessions)
        session.run("BEGIN")
        self._statements(session, self._random.choice((1, 2, 5, 20)))
        if self._random.random() < 0.25:
            marks = len(session.rows), len(session.touched)
            session.run("SAVEPOINT `a b`")
            self._statements(session, 3)
            if self._random.random() < 0.7:
                session.run("ROLLBACK TO SAVEPOINT `a b`")
                del session.rows[marks[0] :]
                self._undo(session.touched, marks[1])
            self._statements(session, 1)
        if self._random.random() < 0.15:
            session.run("ROLLBACK")
            self._undo(session.touched, 0)
            session.rows = []
        else:
            session.run("COMMIT")
        self._committed(session)

    def _alone(self) -> None:
        session = self._random.choice(self._sessions)
        self._statements(session, 1)
        self._committed(session)

    def _huge(self) -> None:
        session = self._random.choice(self._sessions)
        free = [one for one in self._tables if not one.waiting]
        if not free:
            return
        table = self._random.choice(free)
        session.run("BEGIN")
        left = self._random.choice(_HUGE_ROWS)
        while left > 0:
            self._insert(session, table, 500)
            left -= 500
        self._delete(session, table, [key for one, key, is_there in session.touched if one is table and is_there])
        session.run("COMMIT")
        self._committed(session)

    def _statements(self, session: Session, count: int) -> None:
        for _ in range(count):
            table = self._random.choice(self._tables)
            others = table.waiting - sum(one is table for one in session.tables)
            free = [] if others else sorted(table.keys)  # a scan would wait for the rows that others hold
            kind = self._random.random()
            if kind < 0.45 or not free:
                self._insert(session, table, self._random.choice((1, 1, 3)))
            elif kind < 0.85:
                self._update(session, table, self._random.choice(free))
            else:
                self._delete(session, table, sorted(self._random.sample(free, min(len(free), 2))))

    def _new_key(self) -> int:
        self._key += 1
        return self._key

    def _insert(self, session: Session, table: Table, count: int) -> None:
        session.holds(table)
        keys = [self._new_key() for _ in range(count)]
        values = ", ".join(table.shape().values(key) for key in keys)
        names = ", ".join(("id", *table.columns))
        session.run(f"INSERT INTO {table.full_name} ({names}) VALUES {values}")
        found = session.select(table, *keys)
        session.rows += [Change("INSERT", table.full_name, None, found[key], session.whole) for key in keys]
        session.touched += [(table, key, True) for key in keys]

    def _update(self, session: Session, table: Table, key: int) -> None:
        settable = [(name, one) for name, one in table.columns.items() if not one.is_generated]
        chosen = self._random.sample(settable, self._random.randint(1, len(settable))) if settable else []
        sets = [f"{name} = {one.update.replace('{}', name) if one.update else one.literal()}" for name, one in chosen]
        new_key = key
        if not sets or self._random.random() < 0.1:
            new_key = self._new_key()
            sets.append(f"id = {new_key}")
        before = session.select(table, key)[key]
        session.holds(table)
        if not session.run(f"UPDATE {table.full_name} SET {', '.join(sets)} WHERE id = {key}"):
            return
        after = session.select(table, new_key)[new_key]
        session.rows.append(Change("UPDATE", table.full_name, before, after, session.whole))
        self._take(session, table, key)
        session.touched.append((table, new_key, True))

    def _delete(self, session: Session, table: Table, keys: Sequence[int]) -> None:
        session.holds(table)
        found = session.select(table, *keys)
        session.run(f"DELETE FROM {table.full_name} WHERE id IN ({', '.join(map(str, keys))}) ORDER BY id")
        for key in sorted(keys):
            session.rows.append(Change("DELETE", table.full_name, found[key], None, session.whole))
            self._take(session, table, key)

    @staticmethod
    def _take(session: Session, table: Table, key: int) -> None:
        table.keys.discard(key)
        session.touched.append((table, key, False))

    @staticmethod
    def _undo(touched: list[tuple[Table, int, bool]], mark: int) -> None:
        """What was changed behind a mark is as it was: rows that were there before are there."""
        before = {(id(table), key) for table, key, _ in touched[:mark]}
        made = set()
        for table, key, is_there in touched[mark:]:
            if is_there:
                made.add((id(table), key))
            elif (id(table), key) not in made | before:
                table.keys.add(key)
        del touched[mark:]

    def _committed(self, holder: Session | PreparedXa) -> None:
        """Its rows are there for all, and are expected; nothing is held any more."""
        for table, key, is_there in holder.touched:
            if is_there:
                table.keys.add(key)
            else:
                table.keys.discard(key)
        tracked = {TRACKED, SOMETIMES} if self.captures_sometimes else {TRACKED}
        rows = [row for row in holder.rows if row.table.partition(".")[0] in tracked]
        if rows:
            self.expected.append(Expected(rows))
        self._released(holder)

    @staticmethod
    def _released(holder: Session | PreparedXa) -> None:
        for table in holder.tables:
            table.waiting -= 1
        holder.rows, holder.touched, holder.tables = [], [], []

    # ---- XA ----

    def _prepare(self) -> None:
        name = f"x{self._random.randrange(8)}"
        if name in self._xa or len(self._xa) >= _OPEN_XA_MAX:
            return
        session = Session(self._server) if self._keeps_detached_xa else self._random.choice(self._sessions)
        session.run(f"XA START '{name}'")
        tables, self._tables = self._tables, [one for one in self._tables if one.database == TRACKED]
        if (
            self._server.flavour == "mariadb" or self._random.random() < 0.9
        ):  # MariaDB rolls an empty one back by itself
            self._insert(session, self._random.choice(self._tables), 1)
            self._statements(session, self._random.choice((0, 1, 4, 12)))
        self._tables = tables
        session.run(f"XA END '{name}'")
        session.run(f"XA PREPARE '{name}'")
        self._xa[name] = PreparedXa(session.rows, session.touched, session.tables)
        session.rows, session.touched, session.tables = [], [], []
        if self._keeps_detached_xa:
            session.close()
        else:
            self._end(name, session)

    def _end_prepared(self) -> None:
        if self._xa:
            self._end(self._random.choice(sorted(self._xa)), self._random.choice(self._sessions))

    def _end(self, name: str, session: Session) -> None:
        is_committed = self._random.random() < 0.7
        while True:
            try:
                session.run(f"XA {'COMMIT' if is_committed else 'ROLLBACK'} '{name}'")
            except pymysql.err.MySQLError as error:
                if error.args[0] != _XA_IS_NOT_KNOWN:
                    raise
                continue  # its session has not ended yet
            break
        prepared = self._xa.pop(name)
        if not is_committed:
            self._undo(prepared.touched, 0)
            prepared.rows = []
        self._committed(prepared)

    # ---- definitions ----

    def _create(self, database: str, name: str = "") -> None:
        self._number += 1
        drawn = generated.table(self._random, self._server.kind)
        columns = {f"c{index}": one for index, one in enumerate(drawn.columns)}
        table = Table(database, name or f"t{self._number}", columns)
        self._statement(generated.Table(drawn.columns, "InnoDB").create(table.full_name))
        self.changes[self._marker] = lambda states, name=table.full_name: states.update({name: {}})  # type: ignore[misc]
        self._tables.append(table)

    @property
    def _marker(self) -> str:
        return f"/* change {len(self.changes) + 1} */"

    def _statement(self, sql: str) -> None:
        """Run a schema change that its record is known by. DDL of every database has records."""
        self._sessions[0].run(f"{sql.rstrip()} {self._marker}")
        self.expected.append(Expected(marker=self._marker))

    def _schema_change(self) -> None:
        free = [table for table in self._tables if not table.waiting]
        if len(free) < 2:
            return
        table = self._random.choice(free)
        kind = self._random.choice((self._add, self._add, self._drop_column, self._swap, self._truncate, self._replace))
        kind(table)

    def _add(self, table: Table) -> None:
        """A column that is NULL in the rows that are there, at any place."""
        column = self._drawn_column()
        while not column.definition.endswith(" NULL") or column.definition.endswith("NOT NULL"):
            column = self._drawn_column()
        self._number += 1
        name = f"n{self._number}"
        place = self._random.choice(("", " FIRST", " AFTER id"))
        self._statement(f"ALTER TABLE {table.full_name} ADD COLUMN {name} {column.definition}{place}")
        table.columns[name] = column

        def change(states: dict[str, dict[int, Image]]) -> None:
            for row in states[table_name].values():
                row[name] = None

        table_name = table.full_name
        self.changes[self._marker] = change

    def _drawn_column(self) -> Column:
        return generated.table(self._random, self._server.kind).columns[0]

    def _drop_column(self, table: Table) -> None:
        if len(table.columns) < 2:
            return
        name = self._random.choice(sorted(table.columns))
        self._statement(f"ALTER TABLE {table.full_name} DROP COLUMN {name}")
        del table.columns[name]

        def change(states: dict[str, dict[int, Image]]) -> None:
            for row in states[table_name].values():
                row.pop(name, None)

        table_name = table.full_name
        self.changes[self._marker] = change

    def _swap(self, table: Table) -> None:
        others = [
            one for one in self._tables if one is not table and not one.waiting and one.database == table.database
        ]
        if not others:
            return
        other = self._random.choice(others)
        one, two, between = table.full_name, other.full_name, f"{table.database}.between_them"
        self._statement(f"RENAME TABLE {one} TO {between}, {two} TO {one}, {between} TO {two}")
        table.name, other.name = other.name, table.name

        def change(states: dict[str, dict[int, Image]]) -> None:
            states[one], states[two] = states[two], states[one]

        self.changes[self._marker] = change

    def _truncate(self, table: Table) -> None:
        self._statement(f"TRUNCATE TABLE {table.full_name}")
        table.keys.clear()
        self.changes[self._marker] = lambda states, name=table.full_name: states[name].clear()  # type: ignore[misc]

    def _replace(self, table: Table) -> None:
        """Drop it, and make another one of the same name."""
        self._sessions[0].run(f"DROP TABLE {table.full_name}")
        self._tables.remove(table)
        self._create(table.database, table.name)

    # ---- how it is logged ----

    def _settings(self) -> None:
        session = self._random.choice(self._sessions)
        image = self._random.choice(("FULL", "FULL", "MINIMAL", "NOBLOB"))
        session.run(f"SET SESSION binlog_row_image = '{image}'")
        session.whole = image == "FULL"
        if self._is_mysql97:
            session.run(f"SET SESSION binlog_transaction_compression = {self._random.randrange(2)}")
            # What is changed in part needs the value before, which smaller images lack: the channel stops there.
            options = self._random.choice(("", "PARTIAL_JSON")) if session.whole else ""
            session.run(f"SET SESSION binlog_row_value_options = '{options}'")
        elif self._server.flavour == "mariadb":
            self._server.execute(f"SET GLOBAL log_bin_compress = {self._random.randrange(2)}")
        if self._random.random() < 0.2:
            self._server.execute(f"SET GLOBAL binlog_checksum = '{self._random.choice(('NONE', 'CRC32'))}'")

    def _rotate(self) -> None:
        self._server.execute("FLUSH BINARY LOGS")

    def _foreign(self) -> None:
        """Rows and statements of a database that is not tracked, in every format, alone and beside tracked rows."""
        session = self._random.choice(self._sessions)
        # MariaDB's statements do not tell which databases they change: a channel stops there.
        formats = ("ROW",) if self._server.flavour == "mariadb" else ("STATEMENT", "MIXED", "ROW")
        session.run(f"SET SESSION binlog_format = '{self._random.choice(formats)}'")
        session.run(f"USE {UNTRACKED}")
        session.run("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")  # InnoDB's condition for statements
        session.run("BEGIN")
        session.run("INSERT INTO t (v) VALUES ('secret'), (UUID())")
        session.run("UPDATE t SET v = 'secret 2' WHERE id % 3 = 0")
        session.run("COMMIT")
        session.run("CREATE TEMPORARY TABLE scratch (a INT)")
        session.run("INSERT INTO scratch VALUES (1)")
        session.run("DROP TEMPORARY TABLE scratch")
        session.run("SET SESSION binlog_format = 'ROW'")
        session.run("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
        if self._random.random() < 0.5:
            session.run("BEGIN")
            session.run("INSERT INTO t (v) VALUES ('secret 3')")
            self._statements(session, 2)
            session.run("DELETE FROM t LIMIT 1")
            session.run("COMMIT")
            self._committed(session)
