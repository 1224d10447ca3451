"""The schema history: what every table looked like at every source position.

Public face of the schema: `Column`, `Key` and `TableVersion` are re-exported from `capture/table.py`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from capture.sql import Dialect
from capture.statements import Statement
from capture.table import Column, Key, TableVersion

__all__ = ["Change", "Column", "Key", "SchemaHistory", "Session", "TableVersion"]

Position = tuple[int, int]  # binlog file number, byte position


@dataclass(frozen=True, slots=True)
class Session:
    """What of the session that ran a statement decides its effect; from the status variables of the Query event.

    `collation_server` and `default_collation_for_utf8mb4` are collation ids; None: the server's own.
    """

    database: str | None
    sql_mode: int = 0
    collation_server: int | None = None
    default_collation_for_utf8mb4: int | None = None
    explicit_defaults_for_timestamp: bool | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """What a statement did to one table: `old` None: created, `new` None: dropped or, with `unresolved`, not known.

    `unresolved` is a sentence: the table changed in a way that could not be followed. `SchemaHistory.resolve` mends
    it with a definition read at a proven position; until then `table` and `check` raise SchemaMismatch with it.
    """

    database: str
    table: str
    old: TableVersion | None
    new: TableVersion | None
    unresolved: str | None = None


class SchemaHistory:
    """Every tracked table, versioned by source position."""

    def __init__(
        self,
        dialect: Dialect,
        tracked: Callable[[str, str], bool],
        *,
        lower_case_table_names: int = 0,
        collation_server: str | None = None,
        explicit_defaults_for_timestamp: bool = True,
    ) -> None:
        """`tracked(database, table)` tells what is kept; `table` is "" when the question is about the database."""
        raise NotImplementedError  # pragma: no cover

    def snapshot_database(self, create_sql: str, position: Position) -> None:
        """Take a database's default charset from its SHOW CREATE DATABASE text."""
        raise NotImplementedError  # pragma: no cover

    def snapshot_table(self, database: str, create_sql: str, position: Position) -> TableVersion:
        """Take a table from its SHOW CREATE TABLE text. Raises SchemaMismatch if the text is not understood."""
        raise NotImplementedError  # pragma: no cover

    def apply(
        self, statements: Sequence[Statement], session: Session, position: Position, sql: str
    ) -> tuple[Change, ...]:
        """Carry out the statements of one Query event that ends at `position`; `sql` is kept with the versions."""
        raise NotImplementedError  # pragma: no cover

    def table(self, database: str, table: str) -> TableVersion:
        """Return the current version. Raises SchemaMismatch if there is none or it is unresolved."""
        raise NotImplementedError  # pragma: no cover
