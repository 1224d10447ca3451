"""Statements that change rows and are logged as statements: which of them cannot concern what is tracked.

Any session may switch its binlog_format to STATEMENT or MIXED; then no row events say what its statements changed, so
the channel has to stop, unless one of these proves that nothing tracked was touched (`HARMLESS`):

    other databases    the event lists the databases that were changed, by triggers and functions too (MySQL 5.6 on,
                       Q_UPDATED_DB_NAMES, up to 16 of them), and nothing of them is tracked
    temporary table    its only target is a temporary table that the same session made, it calls no function, and it has
                       no comment, which could stand between a function's name and its parenthesis

A MEMORY table is empty after a restart. Its first use is logged as TRUNCATE TABLE, by MySQL 5.x as a bare DELETE FROM
outside a transaction: both are given out as DDL (`emptied_table`), because no rows are named. What servers do not log
at all (cascades, sql_log_bin = 0) no rule can see. Which statement changes rows is `capture/ddl.py`'s business.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from capture.statements import AlterTable, DropTable, RenameTable, RenameTo, TableName, TruncateTable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from capture.query_event import QueryEvent
    from capture.selection import Selection
    from capture.statements import DataChange, Statement

_OF_ONE_TABLE = frozenset({"INSERT", "REPLACE", "UPDATE", "DELETE"})
_EMPTIED = re.compile(rb"DELETE FROM `((?:[^`]|``)+)`\.`((?:[^`]|``)+)`\Z")
_CALL = re.compile(rb"([\w$`\x80-\xff]+)\s*\(")
_COMMENTS = (b"/*", b"--", b"#")
_NO_CALLS = frozenset({b"VALUES", b"VALUE", b"IN", b"AND", b"OR", b"NOT", b"SET", b"WHERE", b"INTO"})

_Table = tuple[str, str]


class DataChanges:
    """Judges the statements of one stream, and follows its temporary tables; without `tracked` none matters."""

    def __init__(self, tracked: Selection | None) -> None:
        self.tracked = tracked
        self._temporary: dict[int, set[_Table]] = {}

    def are_harmless(self, change: DataChange, event: QueryEvent) -> bool:
        """Whether a statement provably touched nothing that is tracked."""
        return self.tracked is None or any(exception.holds(self, change, event) for exception in HARMLESS)

    def follow(self, statements: Sequence[Statement], event: QueryEvent) -> None:
        """Note the temporary tables that a statement makes or drops."""
        for statement in statements:
            if getattr(statement, "temporary", False) and not isinstance(statement, DropTable):
                table = getattr(statement, "table", None)
                assert isinstance(table, TableName)
                self._temporary.setdefault(event.thread_id, set()).add(self._name(table, event))
            elif gone := _names_given_up(statement):
                known = self._temporary.get(event.thread_id, set())
                known.difference_update(self._name(table, event) for table in gone)
                if not known:
                    self._temporary.pop(event.thread_id, None)

    def forget_sessions(self) -> None:
        """The server began anew: its sessions and their tables are gone, and it counts threads from the start again."""
        self._temporary.clear()

    def is_temporary(self, table: TableName, event: QueryEvent) -> bool:
        return self._name(table, event) in self._temporary.get(event.thread_id, ())

    def _name(self, table: TableName, event: QueryEvent) -> _Table:
        database = event.database if table.database is None else table.database
        return (database, table.table) if self.tracked is None else self.tracked.name(database, table.table)


def _names_given_up(statement: Statement) -> Iterable[TableName]:
    """The tables that have another name, or none, behind a statement."""
    if isinstance(statement, DropTable):
        return statement.tables
    if isinstance(statement, RenameTable):
        return [old for old, _ in statement.renames]
    if isinstance(statement, AlterTable) and any(isinstance(made, RenameTo) for made in statement.operations):
        return [statement.table]
    return ()


class HarmlessChange(NamedTuple):
    """A reason why a statement that changes rows may be passed over."""

    name: str
    holds: Callable[[DataChanges, DataChange, QueryEvent], bool]


def _only_other_databases(changes: DataChanges, change: DataChange, event: QueryEvent) -> bool:
    databases = event.status.updated_databases
    assert changes.tracked is not None
    return bool(databases) and not any(changes.tracked(database, "") for database in databases or ())


def _only_a_temporary_table(changes: DataChanges, change: DataChange, event: QueryEvent) -> bool:
    if change.verb not in _OF_ONE_TABLE or change.table is None or not changes.is_temporary(change.table, event):
        return False
    if any(mark in event.sql for mark in _COMMENTS):
        return False
    target = change.table.table.encode("utf-8", "surrogateescape")
    names = {name.strip(b"`") for name in _CALL.findall(event.sql)}
    return all(name == target or name.upper() in _NO_CALLS for name in names)


HARMLESS = (
    HarmlessChange("other databases", _only_other_databases),
    HarmlessChange("temporary table", _only_a_temporary_table),
)


def emptied_table(event: QueryEvent) -> TruncateTable | None:
    """The MEMORY table that a server emptied by this statement, outside a transaction, after its restart."""
    match = _EMPTIED.match(event.sql)
    if match is None:
        return None
    database, table = (part.replace(b"``", b"`").decode("utf-8", "surrogateescape") for part in match.groups())
    return TruncateTable(TableName(database, table))
