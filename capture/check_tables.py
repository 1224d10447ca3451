"""What is captured: that the objects exist, and which of their tables keep something from the binlog or the records.

One query over information_schema for each item, whatever the number of tables, and a second one for the few that are
named. Servers compare names there in ways of their own, so that a query finds too much rather than too little, and the
selection decides.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from capture.checking import NAMED_MAX, Finding, failed, identifier, lines, literal, my_cnf, named, passed, warning
from capture.columns import COLUMN_TYPES
from capture.source import Flavour

if TYPE_CHECKING:
    from capture.checking import Look

_NEVER_LOGGED: Final = ("information_schema", "performance_schema")
_TABLE: Final = "table_schema, table_name"
_KEY_NAMES: Final = ("id", "row_id", "binwire_id")


def _where(look: Look, database: str = "table_schema", table: str = "table_name") -> str:
    """The condition that a row of information_schema may concern the objects."""
    whole = sorted({d for d, t in look.objects if t is None})
    conditions = [f"{database} IN ({', '.join(map(literal, whole))})"] if whole else []
    for owner in sorted({d for d, t in look.objects if t is not None} - set(whole)):
        tables = ", ".join(literal(t) for d, t in look.objects if d == owner and t is not None)
        conditions.append(f"({database} = {literal(owner)} AND {table} IN ({tables}))")
    return f"({' OR '.join(conditions)})"


def _select(columns: str, table: str, *conditions: str) -> str:
    """A query of information_schema; names in its conditions are quoted by `literal`."""
    return f"SELECT {columns} FROM information_schema.{table} WHERE {' AND '.join(conditions)}"  # noqa: S608  quoted


async def _tables(look: Look, select: str) -> list[tuple[str, str]]:
    """The tracked ones of the tables that a query names."""
    rows = [(d or "", t or "") for d, t in await look.source.query(select)]
    selection = look.selection
    return [(d, t) for d, t in rows if selection(d, t)]


def _quoted(database: str, table: str) -> str:
    return f"{identifier(database)}.{identifier(table)}"


# ---- objects ----


async def objects(look: Look) -> Finding:
    """Whether what is to be captured is there."""
    if not look.spec.objects:
        return failed("no object is selected", "nothing would be captured", 'objects = ["shop"]  # databases or tables')
    if logged := [text for text in look.spec.objects if text.lower().split(".")[0] in _NEVER_LOGGED]:
        return failed(f"{named(logged)}", "the server makes these tables up: they are in no binlog", _other_objects())
    schemata = await look.source.query("SELECT schema_name FROM information_schema.schemata")
    tables = await _tables(look, _select(_TABLE, "tables", _where(look)))
    selection = look.selection
    databases = {selection.name(name or "", "")[0] for (name,) in schemata}
    found = {selection.name(*table) for table in tables}
    missing = [
        d if t is None else f"{d}.{t}"
        for d, t in look.objects
        if (t is None and d not in databases) or _absent(d, t, found)
    ]
    if missing:
        return failed(
            f"not found, or not visible to this account: {named(missing)}",
            "nothing of these would be captured",
            _other_objects(),
        )
    count = len(look.spec.objects)
    return passed(f"{count} of {count} found, {len(tables):,} table{'s' * (len(tables) != 1)}")


def _absent(database: str, table: str | None, found: set[tuple[str, str]]) -> bool:
    return table is not None and (database, table) not in found


def _other_objects() -> str:
    return "objects = […]  # in this channel's [[channels]]: databases and tables that exist and that it may SELECT"


async def views(look: Look) -> Finding:
    """Objects that are views: their rows are those of other tables."""
    single = [t for _, t in look.objects if t is not None]
    if not single:
        return passed("none is named")
    found = await _tables(
        look,
        _select(_TABLE, "tables", "table_type NOT IN ('BASE TABLE', 'SYSTEM VERSIONED')", _where(look)),
    )
    named_views = [f"{d}.{t}" for d, t in found if look.selection.name(d, t)[1] in single]
    if not named_views:
        return passed("none is named")
    return warning(
        named(named_views), "a view has no rows of its own in the binlog: it gives no records", _other_objects()
    )


# ---- keys ----


async def keys(look: Look) -> Finding:
    """Tables without a primary key or a unique one that is never NULL."""
    every = await _tables(
        look,
        _select(_TABLE, "tables", "table_type IN ('BASE TABLE', 'SYSTEM VERSIONED')", _where(look)),
    )
    keyed = await _tables(
        look,
        _select(_TABLE, "statistics", "non_unique = 0", _where(look))
        + " GROUP BY table_schema, table_name, index_name HAVING SUM(nullable = 'YES') = 0",
    )
    without = sorted(set(every) - set(keyed))
    if not without:
        return passed(f"all of {len(every):,} have one")
    statements = [await _add_key(look, *table) for table in without[:NAMED_MAX]]
    return warning(
        f"{len(without):,} of {len(every):,}: {named([f'{d}.{t}' for d, t in without])}",
        "UPDATE and DELETE of such a table name no row: a consumer must look for it by all of its columns",
        lines(statements),
    )


async def _add_key(look: Look, database: str, table: str) -> str:
    """A column that numbers the rows; the one that does so already, if there is one."""
    rows = await look.source.query(
        _select(
            "column_name, extra", "columns", f"table_schema = {literal(database)}", f"table_name = {literal(table)}"
        )
    )
    for column, extra in rows:
        if "auto_increment" in (extra or "").lower():
            return f"ALTER TABLE {_quoted(database, table)} ADD PRIMARY KEY ({identifier(column or '')});"
    taken = {(column or "").lower() for column, _ in rows}
    name = next((name for name in _KEY_NAMES if name not in taken), _KEY_NAMES[-1])
    return f"ALTER TABLE {_quoted(database, table)} ADD COLUMN {name} BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY;"


# ---- cascades ----


class _ForeignKey(NamedTuple):
    database: str
    table: str
    name: str


async def cascades(look: Look) -> Finding:
    """Foreign keys by which InnoDB changes rows of tracked tables; from 9.6 on the SQL layer may do it, and logs it."""
    rows = await look.source.query(
        _select(
            "constraint_schema, table_name, constraint_name",
            "referential_constraints",
            "(delete_rule IN ('CASCADE', 'SET NULL') OR update_rule IN ('CASCADE', 'SET NULL'))",
            _where(look, "constraint_schema"),
        )
    )
    found = [_ForeignKey(d or "", t or "", name or "") for d, t, name in rows if look.selection(d or "", t or "")]
    hidden = await _hidden_foreign_keys(look)
    if not found and hidden:
        return warning(
            f"not known: this account sees {hidden:,} foreign keys and not what they do",
            "rows that are deleted or changed by a cascade are not in the binlog: consumers keep them as they were",
            lines([f"GRANT SHOW VIEW ON {identifier(d)}.* TO {look.account};" for d in _databases(look)]),
        )
    if not found:
        return passed("none")
    if look.variable("innodb_native_foreign_keys") == "OFF":
        return passed(f"{len(found):,}, whose changes this server logs")
    shown = named([f"{key.name} of {key.database}.{key.table}" for key in found])
    if "innodb_native_foreign_keys" in look.variables:
        remedy = my_cnf("innodb_native_foreign_keys = OFF")
    else:
        remedy = "\n".join([await _without_cascade(look, key) for key in found[:NAMED_MAX]])
        remedy += " -- and change these rows by statements of their own"
    return warning(
        f"{len(found):,}: {shown}",
        "rows that are deleted or changed by a cascade are not in the binlog: consumers keep them as they were",
        remedy,
    )


async def _hidden_foreign_keys(look: Look) -> int:
    """How many foreign keys of tracked tables have rules that MariaDB does not show: SELECT alone is not enough."""
    if look.info.flavour is not Flavour.MARIADB or all(look.grants.has("SHOW VIEW", *one) for one in look.objects):
        return 0
    foreign = ("referenced_table_name IS NOT NULL", "ordinal_position = 1", _where(look))
    return len(await _tables(look, _select(_TABLE, "key_column_usage", *foreign)))


def _databases(look: Look) -> list[str]:
    return sorted({database for database, _ in look.objects})


async def _without_cascade(look: Look, key: _ForeignKey) -> str:
    rows = await look.source.query(
        _select(
            "column_name, referenced_table_schema, referenced_table_name, referenced_column_name",
            "key_column_usage",
            "referenced_table_name IS NOT NULL",
            f"table_schema = {literal(key.database)}",
            f"table_name = {literal(key.table)}",
            f"constraint_name = {literal(key.name)}",
        )
        + " ORDER BY ordinal_position"
    )
    columns = ", ".join(identifier(row[0] or "") for row in rows)
    referenced = ", ".join(identifier(row[3] or "") for row in rows)
    table, parent = _quoted(key.database, key.table), _quoted(rows[0][1] or "", rows[0][2] or "")
    return (
        f"ALTER TABLE {table} DROP FOREIGN KEY {identifier(key.name)};\n"
        f"ALTER TABLE {table} ADD CONSTRAINT {identifier(key.name)} FOREIGN KEY ({columns}) "
        f"REFERENCES {parent} ({referenced});"
    )


# ---- column types ----


async def column_types(look: Look) -> Finding:
    """Types that would stop the channel at the first row."""
    carried = {name for row in COLUMN_TYPES if row.readers for name in row.names}
    rows = await look.source.query(_select("DISTINCT data_type", "columns", _where(look)))
    unknown = sorted({(name or "").lower() for (name,) in rows} - carried)
    if not unknown:
        return passed("all are carried over")
    rows = await look.source.query(
        _select(
            "table_schema, table_name, column_name, data_type",
            "columns",
            _where(look),
            f"data_type IN ({', '.join(map(literal, unknown))})",
        )
    )
    columns = [f"{d}.{t}.{column} ({kind})" for d, t, column, kind in rows if look.selection(d or "", t or "")]
    if not columns:
        return passed("all are carried over")
    return warning(
        named(columns),
        "the channel stops at the first change of such a table",
        "objects = […]  # in this channel's [[channels]]: the tables to capture, without these",
    )
