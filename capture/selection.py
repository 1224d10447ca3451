"""Which tables a channel tracks: whole databases or single tables, named as the server compares names.

Objects are written `database` or `database.table`; a name with a dot stands in backticks (a backtick in it doubled):
`` `odd.name`.table ``. With lower_case_table_names 1 or 2 the server ignores case, and so does the selection.
`EVERYTHING` in place of a name tracks whatever there is; no configuration says it: servers have tables of their own.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from capture.errors import CaptureError

if TYPE_CHECKING:
    from collections.abc import Iterable

EVERYTHING = ""
_CASED = (
    *((0xC0, 0x21E), (0x222, 0x232), (0x386, 0x3AB), (0x3DA, 0x3EE), (0x400, 0x480), (0x48C, 0x4BE), (0x4C1, 0x4C3)),
    *((0x4C7, 0x4C7), (0x4CB, 0x4CB), (0x4D0, 0x4F4), (0x4F8, 0x4F8), (0x531, 0x556), (0x1E00, 0x1E94)),
    *((0x1EA0, 0x1EF8), (0x1F08, 0x212B), (0x2160, 0x216F), (0x24B6, 0x24CF), (0xFF21, 0xFF3A)),
)
"""Where the letters stand that servers fold (`my_unicase_default` of strings/ctype-utf8.cc; read off LOWER() of every
letter, the same in MySQL 5.6.24 and 9.7.4 and MariaDB 10.11)."""
_FOLDED_OTHERWISE = {"İ": "i"}
_NAME = r"(`(?:[^`]|``)+`|[^`.]+)"
_OBJECT = re.compile(rf"{_NAME}(?:\.{_NAME})?\Z")


def fold_name(name: str) -> str:
    """A name as a server that ignores case stores it: letter by letter, and of Unicode what it knew in 2000."""
    return name.lower() if name.isascii() else "".join(map(_fold_letter, name))


def _fold_letter(letter: str) -> str:
    code = ord(letter)
    if letter.isascii() or any(first <= code <= last for first, last in _CASED):
        return _FOLDED_OTHERWISE.get(letter) or letter.lower()
    return letter


class SelectionError(CaptureError):
    """An object that cannot be read as a database or table."""


def parse_object(text: str) -> tuple[str, str | None]:
    """Read one entry of `objects`: (database, table), table None for the whole database. Raises SelectionError."""
    match = _OBJECT.match(text)
    if match is None:
        raise SelectionError(f"{text!r} in objects is neither a database nor database.table; quote odd names with `")
    database, table = match.groups()
    return _unquote(database), None if table is None or table == "*" else _unquote(table)


def object_text(database: str, table: str | None = None) -> str:
    """The entry of `objects` that `parse_object` reads as this database or table."""
    return ".".join(_as_entry(name) for name in (database, table) if name is not None)


def _as_entry(name: str) -> str:
    return name if name != "*" and re.fullmatch("[^`.]+", name) else "`" + name.replace("`", "``") + "`"


def _unquote(name: str) -> str:
    return name[1:-1].replace("``", "`") if name.startswith("`") else name


class Selection:
    """Answers whether a table is tracked; called with the empty table name, whether anything of a database is."""

    def __init__(self, objects: Iterable[str], lower_case_table_names: int = 0) -> None:
        names = tuple(objects)
        parsed = [parse_object(text) for text in names if text != EVERYTHING]
        self._everything = EVERYTHING in names
        self._folds = lower_case_table_names != 0
        self.databases = frozenset(self._fold(database) for database, table in parsed if table is None)
        self.tables = frozenset((self._fold(database), self._fold(table)) for database, table in parsed if table)
        self._touched = self.databases | {database for database, _ in self.tables}

    def __call__(self, database: str, table: str) -> bool:
        if self._everything:
            return True
        database = self._fold(database)
        if not table:
            return database in self._touched
        return database in self.databases or (database, self._fold(table)) in self.tables

    def keeps(self, database: str, table: str) -> bool:
        """Whether a table's definition is followed: of all tables of a database of which anything is tracked."""
        return self(database, "")

    def name(self, database: str, table: str) -> tuple[str, str]:
        """The names as the server compares them."""
        return self._fold(database), self._fold(table)

    def same(self, one: str, other: str) -> bool:
        """Whether the server takes two names for the same."""
        return self._fold(one) == self._fold(other)

    def _fold(self, name: str) -> str:
        return fold_name(name) if self._folds else name
