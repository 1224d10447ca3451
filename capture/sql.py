"""MySQL's lexical rules: SQL text to tokens, for the DDL grammar and the classification of statements.

Rules (MySQL 9 manual, "Language Structure"; sql_lex.cc of MySQL and MariaDB):

- strings '…' and, without ANSI_QUOTES, "…"; a doubled quote is one quote; backslash escapes unless
  NO_BACKSLASH_ESCAPES; identifiers `…` and, with ANSI_QUOTES, "…"; `x'…'`, `b'…'`, `n'…'`, `_charset'…'`
- comments `#…`, `-- …` (a space or control character must follow), `/* … */`; optimizer hints are comments
- executable comments: `/*! … */` always, `/*!50003 … */` from that version on; MariaDB also `/*M! … */`, and it skips
  `/*!50700 …` to `/*!99999 …`, which are meant for MySQL. What is not executed is skipped, comments nested in it too.
- `@user`, `@@system` variables are one token; `.` before a digit after an identifier is a separator, not a number

Invariant: every text either becomes tokens that end with END or raises SqlSyntaxError with the offset; no input makes
it loop. Offsets count characters of the text given. What the tokens mean is `capture/ddl.py`'s business.
"""

import re
from dataclasses import dataclass
from enum import IntEnum, IntFlag


class SqlMode(IntFlag):
    """The bits of sql_mode that change how text is read (sql/query_options.h, sql_class.h)."""

    REAL_AS_FLOAT = 1
    ANSI_QUOTES = 1 << 2
    ORACLE = 1 << 9
    NO_BACKSLASH_ESCAPES = 1 << 20


@dataclass(frozen=True, slots=True)
class Dialect:
    """The server whose statements are read: `flavour` is `"mysql"` or `"mariadb"`."""

    flavour: str
    version: tuple[int, int, int]

    @classmethod
    def of(cls, version: str) -> "Dialect":
        """Read `@@version` (`8.0.34`, `5.6.47-log`, `10.11.6-MariaDB-0+deb12u1`, `5.5.5-10.1.2-MariaDB`)."""
        is_mariadb = "mariadb" in version.lower()
        text = version.removeprefix("5.5.5-") if is_mariadb else version
        numbers = [int(number) for number in re.findall(r"\d+", text.split("-")[0])[:3]]
        major, minor, patch = [*numbers, 0, 0, 0][:3]
        return cls("mariadb" if is_mariadb else "mysql", (major, minor, patch))

    @property
    def is_mariadb(self) -> bool:
        return self.flavour == "mariadb"

    @property
    def number(self) -> int:
        """The version as executable comments write it: 50624, 80034, 101106."""
        major, minor, patch = self.version
        return major * 10000 + minor * 100 + patch
