"""Names of tables as people write them in calls: `table` or `database.table`, quoted as in SQL where one has a dot."""

from __future__ import annotations

import re

_IDENTIFIER = r"(`(?:[^`]|``)+`|[^.]*)"
_TABLE_NAME = re.compile(rf"(?:{_IDENTIFIER}\.)?{_IDENTIFIER}")


def read_table_name(name: str, default: str) -> tuple[str, str]:
    """Database and table; `default` is the database of a name without one. Unquoted, the last dot counts."""
    found = _TABLE_NAME.fullmatch(name)
    database, table = found.groups() if found is not None else name.rsplit(".", 1)
    return _unquoted(database) if database else default, _unquoted(table)


def shown_table_name(database: str | None, table: str) -> str:
    """What reads back to these names."""
    return ".".join(_quoted_if_needed(part) for part in (database, table) if part)


def quoted_table_name(database: str | None, table: str) -> str:
    """As SQL takes any name."""
    return ".".join(_quoted(part) for part in (database, table) if part)


def _unquoted(name: str) -> str:
    return name[1:-1].replace("``", "`") if len(name) > 2 and name[0] == name[-1] == "`" else name


def _quoted_if_needed(name: str) -> str:
    return _quoted(name) if "." in name or "`" in name else name


def _quoted(name: str) -> str:
    return f"`{name.replace('`', '``')}`"
