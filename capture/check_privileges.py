"""What the account must be allowed to do: replicate, ask for positions, and read the definitions of tables.

A role that was granted and is not active gives nothing: the remedy is to make it a default, not to grant once more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from capture.checking import Finding, Outcome, failed, lines, named, passed, warning
from capture.grants import Grants, grant_place
from capture.source import Flavour

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from capture.checking import Look
    from capture.source import ServerInfo, Source


async def read_grants(source: Source, info: ServerInfo, variables: Mapping[str, str]) -> tuple[Grants, Grants]:
    """What the account is granted, and what its roles would grant it if they were active."""
    patterns = variables.get("partial_revokes", "OFF") != "ON"
    granted = Grants(await _lines(source, "SHOW GRANTS"), patterns=patterns)
    if not granted.roles:
        return granted, Grants()
    if info.flavour is not Flavour.MARIADB:
        using = f"SHOW GRANTS FOR CURRENT_USER() USING {', '.join(granted.roles)}"
        return granted, Grants(await _lines(source, using), patterns=patterns)
    if len(granted.roles) > 1 or (await source.query("SELECT CURRENT_ROLE()"))[0][0] is not None:
        return granted, Grants()
    return granted, Grants(await _lines_in_role(source, granted.roles[0]), patterns=patterns)


async def _lines_in_role(source: Source, role: str) -> list[str]:
    """MariaDB shows what a role grants to those who have it active, one at a time; this session only."""
    await source.query(f"SET ROLE {role}")
    try:
        return await _lines(source, "SHOW GRANTS")
    finally:
        await source.query("SET ROLE NONE")


async def _lines(source: Source, statement: str) -> list[str]:
    return [row[0] for row in await source.query(statement) if row[0] is not None]


async def account(source: Source) -> str:
    """The account the server took this reader for, as a GRANT names it."""
    rows = await source.query("SELECT CURRENT_USER()")
    user, _, host = (rows[0][0] or "").rpartition("@")
    return "@".join("'" + name.replace("'", "''") + "'" for name in (user, host))


# ---- items ----


def global_privilege(name: str, means: str) -> Callable[[Look], Awaitable[Finding]]:
    """A privilege that is granted everywhere or not at all."""

    async def look_at(look: Look) -> Finding:
        if look.grants.has(name):
            return passed("granted")
        if look.dormant.has(name):
            return failed("granted to a role that is not active", means, _activate(look))
        return failed("not granted", means, f"GRANT {name} ON *.* TO {look.account};")

    return look_at


def object_privilege(name: str, outcome: Outcome, means: str) -> Callable[[Look], Awaitable[Finding]]:
    """A privilege on every object of the channel."""

    async def look_at(look: Look) -> Finding:
        lacking = [one for one in look.objects if not look.grants.has(name, *one)]
        if not lacking:
            return passed("granted on all objects")
        patterns = look.variable("partial_revokes") != "ON"
        places = [grant_place(database, table, patterns=False) for database, table in lacking]
        if all(look.dormant.has(name, *one) for one in lacking):
            found, remedy = f"granted on {named(places)} to a role that is not active", _activate(look)
        else:
            taken_out = any(look.grants.is_taken_out(name, database) for database, _ in lacking)
            found = f"{'taken away (partial revoke)' if taken_out else 'not granted'} on {named(places)}"
            meant = [grant_place(database, table, patterns=patterns) for database, table in lacking]
            remedy = lines([f"GRANT {name} ON {place} TO {look.account};" for place in meant])
        return (failed if outcome is Outcome.FAILED else warning)(found, means, remedy)

    return look_at


def _activate(look: Look) -> str:
    if look.info.flavour is Flavour.MARIADB:
        return f"SET DEFAULT ROLE {look.grants.roles[0]} FOR {look.account};"
    return f"SET DEFAULT ROLE ALL TO {look.account};"
