"""The helper tables of gh-ost and pt-online-schema-change, by the names that both tools give them.

Both build the new table beside the old one and swap them by a RENAME (gh-ost 1.1 go/base/context.go; Percona Toolkit 3
bin/pt-online-schema-change):

    gh-ost                    _t_gho (the new table), _t_ghc (its journal), _t_del (the old one; or _t_…_del)
    pt-online-schema-change   _t_new (with more underscores where that is taken), _t_old

The schema history follows them like any table, so that the rows behind a swap are read exactly. `ghost_ddl = "service"`
keeps their statements from the consumer, who then meets a swap as the service's consumers do: rows with other columns,
and no DDL record that announced them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import astuple

from capture.statements import TableName

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from capture.statements import Statement

SERVICE = "service"

_GHOST = re.compile(r"_.+_(?:gho|ghc|del)|_+.+_(?:new|old)", re.DOTALL)


def is_ghost(table: str) -> bool:
    """Whether a table has the name of a helper table."""
    return _GHOST.fullmatch(table) is not None


def concerns_ghosts(statements: Iterable[Statement]) -> bool:
    """Whether any of the tables that statements name is a helper table."""
    return any(is_ghost(name.table) for statement in statements for name in _tables(statement))


def _tables(value: object) -> Iterator[TableName]:
    """Every table name in a statement."""
    if isinstance(value, TableName):
        yield value
    else:
        parts = astuple(value) if isinstance(value, Struct) else value if isinstance(value, tuple) else ()
        for item in parts:
            yield from _tables(item)
