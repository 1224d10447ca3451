"""Statements that change rows and are logged as statements: which of them cannot concern what is tracked.

Any session may switch its binlog_format to STATEMENT or MIXED; then no row events say what its statements changed, so
the channel has to stop, unless one of these proves that nothing tracked was touched (`HARMLESS`):

    other databases    the event lists the databases that were changed, by triggers and functions too (MySQL 5.6 on,
                       Q_UPDATED_DB_NAMES, up to 16 of them), and nothing of them is tracked
    temporary table    its only target is a temporary table that the same session made, and it calls no function

A MEMORY table is empty after a restart. Its first use is logged as TRUNCATE TABLE, by MySQL 5.x as a bare DELETE FROM
outside a transaction: both are given out as DDL (`emptied_table`), because no rows are named. What servers do not log
at all (cascades, sql_log_bin = 0) no rule can see. Which statement changes rows is `capture/ddl.py`'s business.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from capture.statements import DropTable, TableName, TruncateTable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from capture.query_event import QueryEvent
    from capture.statements import DataChange, Statement

_OF_ONE_TABLE = frozenset({"INSERT", "REPLACE", "UPDATE", "DELETE"})
_EMPTIED = re.compile(rb"DELETE FROM `((?:[^`]|``)+)`\.`((?:[^`]|``)+)`\Z")
_CALL = re.compile(rb"([\w$`\x80-\xff]+)\s*\(")
_NO_CALLS = frozenset({b"VALUES", b"VALUE", b"IN", b"AND", b"OR", b"NOT", b"SET", b"WHERE", b"INTO"})

_Table = tuple[str, str]


class DataChanges:
    """Judges the statements of one stream, and follows its temporary tables; without `tracked` none matters."""

    def __init__(self, tracked: Callable[[str, str], bool] | None) -> None:
        self.tracked = tracked
        self._temporary: dict[int, set[_Table]] = {}

    def are_harmless(self, change: DataChange, event: QueryEvent) -> bool:
        """Whether a statement provably touched nothing that is tracked."""
        return self.tracked is None or any(exception.holds(self, change, event) for exception in HARMLESS)

    def follow(self, statements: Sequence[Statement], event: QueryEvent) -> None:
        """Note the temporary tables that a statement makes or drops."""
        for statement in statements:
            if isinstance(statement, DropTable):
                known = self._temporary.get(event.thread_id, set())
                known.difference_update(_name(table, event) for table in statement.tables)
                if not known:
                    self._temporary.pop(event.thread_id, None)
            elif getattr(statement, "temporary", False):
                table = getattr(statement, "table", None)
                assert isinstance(table, TableName)
                self._temporary.setdefault(event.thread_id, set()).add(_name(table, event))

    def is_temporary(self, table: TableName, event: QueryEvent) -> bool:
        return _name(table, event) in self._temporary.get(event.thread_id, ())


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


def _name(table: TableName, event: QueryEvent) -> _Table:
    return (event.database if table.database is None else table.database).lower(), table.table.lower()
