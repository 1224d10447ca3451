"""What a source has that can be tracked: its databases and tables, searched and paged by the source itself.

Only what is asked for travels, a page of names: a server may have 20,000 tables. The schemas that servers keep for
themselves are left out, and so are views, which have no rows of their own in a binlog. A name comes with the entry that
`objects` has for it, so that odd names need no thought.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import Struct

from capture.selection import object_text
from capture.sql import quote_string

if TYPE_CHECKING:
    from collections.abc import Sequence

    from capture.source import Source

SYSTEM_SCHEMAS: Final = ("information_schema", "performance_schema", "mysql", "sys", "ndbinfo")
_HAS_ROWS: Final = "table_type IN ('BASE TABLE', 'SYSTEM VERSIONED')"


class DatabaseFound(Struct, frozen=True):
    """A database, its entry in `objects`, and how many tables it has that this account may see."""

    name: str
    object: str
    tables: int


class TableFound(Struct, frozen=True):
    """A table and its entry in `objects`."""

    database: str
    name: str
    object: str


async def databases(source: Source, search: str, offset: int, limit: int) -> tuple[int, list[DatabaseFound]]:
    """How many databases have `search` in their names, in any case, and those from `offset` on in their order."""
    where = " AND ".join([_not_the_servers("schema_name"), *_contains("schema_name", search)])
    total = await _count(source, f"information_schema.schemata WHERE {where}")
    rows = await source.query(
        f"SELECT schema_name FROM information_schema.schemata WHERE {where} "  # noqa: S608  quoted
        f"ORDER BY schema_name LIMIT {limit} OFFSET {offset}"
    )
    names = [name for (name,) in rows if name is not None]
    counts = await _tables_of(source, names)
    return total, [DatabaseFound(name, object_text(name), counts.get(name, 0)) for name in names]


async def tables(
    source: Source, within: Sequence[str], search: str, offset: int, limit: int
) -> tuple[int, list[TableFound]]:
    """How many tables have `search` in their names, and those from `offset` on, by database and name; only tables of
    the databases `within`, if it names any. A `search` with a dot is for database and table together.
    """
    name = "CONCAT(table_schema, '.', table_name)" if "." in search else "table_name"
    place = [f"table_schema IN ({', '.join(map(quote_string, within))})"] if within else []
    where = " AND ".join([*place, _not_the_servers("table_schema"), _HAS_ROWS, *_contains(name, search)])
    total = await _count(source, f"information_schema.tables WHERE {where}")
    rows = await source.query(
        f"SELECT table_schema, table_name FROM information_schema.tables WHERE {where} "  # noqa: S608  quoted
        f"ORDER BY table_schema, table_name LIMIT {limit} OFFSET {offset}"
    )
    return total, [TableFound(d, t, object_text(d, t)) for d, t in rows if d is not None and t is not None]


async def _count(source: Source, of: str) -> int:
    return int((await source.query(f"SELECT COUNT(*) FROM {of}"))[0][0] or 0)  # noqa: S608  quoted


async def _tables_of(source: Source, names: Sequence[str]) -> dict[str, int]:
    if not names:
        return {}
    rows = await source.query(
        f"SELECT table_schema, COUNT(*) FROM information_schema.tables "  # noqa: S608  quoted
        f"WHERE table_schema IN ({', '.join(map(quote_string, names))}) AND {_HAS_ROWS} GROUP BY table_schema"
    )
    return {name: int(count or 0) for name, count in rows if name is not None}


def _not_the_servers(column: str) -> str:
    return f"LOWER({column}) NOT IN ({', '.join(map(quote_string, SYSTEM_SCHEMAS))})"


def _contains(column: str, search: str) -> list[str]:
    """The condition that a name has this text in it, letter for letter: `%` and `_` mean themselves."""
    if not search:
        return []
    meant = search.encode("utf-8", "replace").decode()
    for special in ("\\", "%", "_"):
        meant = meant.replace(special, f"\\{special}")
    return [f"LOWER({column}) LIKE LOWER({quote_string(f'%{meant}%')})"]
