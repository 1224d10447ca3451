r"""What an account may do, read from the lines of SHOW GRANTS.

    GRANT SELECT, REPLICATION SLAVE ON *.* TO …      everywhere
    GRANT SELECT ON `shop\_%`.* TO …                 databases by a pattern; with partial_revokes=ON a name as it is
    GRANT SELECT (`a`), INSERT ON `shop`.`t` TO …     a table; a privilege on single columns is none on the table
    REVOKE SELECT ON `shop`.* FROM …                  taken out of what is granted everywhere (partial_revokes)
    GRANT `reader`@`%` TO …   GRANT `reader` TO …     roles, of MySQL and of MariaDB

Roles that are active are expanded by the server. MariaDB prints its own names of some privileges.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from capture.sql import quote_identifier

if TYPE_CHECKING:
    from collections.abc import Iterable

_NAME = r"\*|`(?:[^`]|``)*`"
_LINE = re.compile(rf"(GRANT|REVOKE) (.+?) ON ({_NAME})\.({_NAME}) (?:TO|FROM) ", re.DOTALL)
_ROLE = r"`(?:[^`]|``)+`(?:@`(?:[^`]|``)*`)?"
_ROLES = re.compile(rf"GRANT ({_ROLE}(?:, ?{_ROLE})*) TO ")
_COLUMNS = re.compile(r" \([^)]*\)")
_ALIASES = {"BINLOG MONITOR": "REPLICATION CLIENT", "ALL": "ALL PRIVILEGES"}
_EVERYTHING = "ALL PRIVILEGES"


class _Grant(NamedTuple):
    """One line: `database` and `table` are None for `*`."""

    privileges: frozenset[str]
    database: str | None
    table: str | None


class Grants:
    """The privileges of one account."""

    def __init__(self, grant_lines: Iterable[str] = (), *, patterns: bool = True) -> None:
        """`patterns`: `_` and `%` in the name of a database stand for others."""
        self.roles: list[str] = []
        self._granted: list[_Grant] = []
        self._revoked: list[_Grant] = []
        self._patterns = patterns
        for line in grant_lines:
            if (match := _LINE.match(line)) is not None:
                kept = self._granted if match[1] == "GRANT" else self._revoked
                kept.append(_Grant(_privileges(match[2]), _unquote(match[3]), _unquote(match[4])))
            elif (match := _ROLES.match(line)) is not None:
                self.roles += re.findall(_ROLE, match[1])

    def has(self, privilege: str, database: str | None = None, table: str | None = None) -> bool:
        """Whether a privilege is granted everywhere, on the database (table None), or on the table."""
        return any(self._reaches(grant, privilege, database, table) for grant in self._granted)

    def is_taken_out(self, privilege: str, database: str) -> bool:
        """Whether a database is taken out of what is granted everywhere."""
        return any(grant.database == database and _includes(grant, privilege) for grant in self._revoked)

    def _reaches(self, grant: _Grant, privilege: str, database: str | None, table: str | None) -> bool:
        if not _includes(grant, privilege):
            return False
        if grant.database is None:
            return database is None or not self.is_taken_out(privilege, database)
        if database is None or not self._names(grant.database, database):
            return False
        return grant.table is None or grant.table == table

    def _names(self, granted: str, database: str) -> bool:
        return granted == database or (self._patterns and re.fullmatch(_expression(granted), database) is not None)


def grant_place(database: str, table: str | None, *, patterns: bool) -> str:
    """What stands behind ON in a GRANT for this database or table and nothing else: in the name of a database that is
    granted whole, `_` and `%` stand for others where `patterns`.
    """
    if table is not None:
        return f"{quote_identifier(database)}.{quote_identifier(table)}"
    meant = re.sub(r"([\\_%])", r"\\\1", database) if patterns else database
    return f"{quote_identifier(meant)}.*"


def _privileges(text: str) -> frozenset[str]:
    names = {name.strip().upper() for name in _COLUMNS.sub(" (…)", text).split(",")}
    return frozenset(_ALIASES.get(name, name) for name in names)


def _includes(grant: _Grant, privilege: str) -> bool:
    return privilege in grant.privileges or _EVERYTHING in grant.privileges


def _unquote(name: str) -> str | None:
    return None if name == "*" else name[1:-1].replace("``", "`")


def _expression(pattern: str) -> str:
    r"""A database pattern of a grant, `_` any character, `%` any number of them, `\` before one that is meant."""
    parts = re.findall(r"\\.|.", pattern, re.DOTALL)
    return "".join({"_": ".", "%": ".*"}.get(part, re.escape(part[-1])) for part in parts)
