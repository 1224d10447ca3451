"""What a check of a source is made of: an item looks, finds something, and says what that means and what mends it.

An outcome is one of three. `passed`; `warning`: the channel runs, and somebody should know what it will not do;
`failed`: a new channel does not begin. What an item found is a fact with its value; what it means is one sentence for
somebody who has never replicated anything; the remedy is the statement or the line of my.cnf or of the configuration
itself, ready to paste, one on each line. What a statement cannot do stands behind it as its comment.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from msgspec import Struct

from capture.dialect import Dialect
from capture.selection import Selection, parse_object

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

    from capture.channel import ChannelSpec
    from capture.grants import Grants
    from capture.position import ResumePoint
    from capture.source import ServerInfo, Source

NAMED_MAX = 5
"""How many tables, keys or grants an item names; the others are counted."""


class Outcome(StrEnum):
    """How an item came out."""

    PASSED = "passed"
    WARNING = "warning"
    FAILED = "failed"


class CheckResult(Struct, frozen=True):
    """One item of a check, looked at. `means` and `remedy` are None when it passed; `addresses` are those that the
    source's whitelist must admit, where the item is about that.
    """

    name: str
    outcome: Outcome
    found: str
    means: str | None = None
    remedy: str | None = None
    addresses: tuple[str, ...] = ()

    @property
    def failed(self) -> bool:
        return self.outcome is Outcome.FAILED


class Finding(NamedTuple):
    """What one item found."""

    outcome: Outcome
    found: str
    means: str | None = None
    remedy: str | None = None
    addresses: tuple[str, ...] = ()


def passed(found: str, addresses: tuple[str, ...] = ()) -> Finding:
    """All is well."""
    return Finding(Outcome.PASSED, found, addresses=addresses)


def warning(found: str, means: str, remedy: str) -> Finding:
    """The channel runs, and somebody should know."""
    return Finding(Outcome.WARNING, found, means, remedy)


def failed(found: str, means: str, remedy: str) -> Finding:
    """A new channel does not begin."""
    return Finding(Outcome.FAILED, found, means, remedy)


class Look(Struct, frozen=True):
    """What an item may look at. `variables` are the server's global ones that `capture/precheck.py` asks for;
    `dormant` is what the account would be granted by roles that are not active.
    """

    source: Source
    spec: ChannelSpec
    info: ServerInfo
    variables: Mapping[str, str]
    grants: Grants
    dormant: Grants
    account: str
    resume: ResumePoint | None

    @property
    def dialect(self) -> Dialect:
        return Dialect.of(self.info.version)

    @property
    def selection(self) -> Selection:
        return Selection(self.spec.objects, self.info.lower_case_table_names)

    @property
    def objects(self) -> list[tuple[str, str | None]]:
        """The objects as the server compares names: (database, table), table None for a whole database."""
        name = self.selection.name
        parsed = map(parse_object, self.spec.objects)
        return [(name(d, "")[0], None if t is None else name(d, t)[1]) for d, t in parsed]

    def variable(self, name: str) -> str:
        """A variable's value, empty for one that the server does not have."""
        return self.variables.get(name, "")

    def number(self, name: str) -> float:
        """A variable's value as a number, 0 for one that the server does not have."""
        return float(self.variable(name) or 0)

    def is_on(self, name: str) -> bool:
        return self.variable(name).upper() in ("ON", "1")


class Item(NamedTuple):
    """One row of a check; `needs` names earlier items without which this one cannot be looked at."""

    name: str
    look: Callable[[Look], Awaitable[Finding]]
    needs: tuple[str, ...] = ()


# ---- words ----


def named(names: Iterable[str], count: int | None = None) -> str:
    """The first of some names, and how many there are beside."""
    listed = list(names)
    total = len(listed) if count is None else count
    shown = ", ".join(listed[:NAMED_MAX])
    return shown if total <= NAMED_MAX else f"{shown} and {total - NAMED_MAX:,} more"


def lines(statements: Sequence[str]) -> str:
    """Statements, one on each line, as many as an item names."""
    return "\n".join(statements[:NAMED_MAX])


def identifier(name: str) -> str:
    """A name in backticks."""
    return "`" + name.replace("`", "``") + "`"


def literal(text: str) -> str:
    """A text as SQL writes it."""
    return "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


def set_global(name: str, value: str) -> str:
    """The statement for now, and what makes it last: sessions that are open keep the value they have."""
    return f"SET GLOBAL {name} = {value}; -- and {name} = {value} under [mysqld] in my.cnf; reconnect its clients"


def my_cnf(*settings: str) -> str:
    """Lines of my.cnf for what only a restart can change."""
    *before, last = settings
    return "\n".join((*before, f"{last}  # under [mysqld] in my.cnf, then restart the server"))


def channel_key(setting: str) -> str:
    """A line of the configuration file."""
    return f"{setting}  # in this channel's [[channels]]"
